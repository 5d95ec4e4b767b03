"""
Rows that the daemon does not pass yet, and why.

A row that begins to pass fails its run ("unexpected success"), until it is taken out here.
"""

from __future__ import annotations

#: The reason, by agent and test.
EXPECTED: dict[tuple[str, str], str] = {}
