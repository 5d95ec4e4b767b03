"""
Rows that the daemon does not pass yet, and why.

A row that begins to pass fails its run until it is taken out here.
"""

from __future__ import annotations

#: The reason by test, for each agent.
EXPECTED: dict[str, dict[str, str]] = {}
#: Where a version differs from that; None if it passes there.
DIFFERENT: dict[str, dict[str, str | None]] = {
    "claude@2.1.150": {
        "test_revived_by_typing": "nothing is typed yet",
    },
}


def fault(agent: str, version: str, test: str) -> str | None:
    """Return why a row is not passed yet; None if it is."""
    different = DIFFERENT.get(f"{agent}@{version}", {})
    return different[test] if test in different else EXPECTED.get(agent, {}).get(test)
