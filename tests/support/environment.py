"""The environment of the programs that tests start."""

from __future__ import annotations

import os

from tests.support.checkout import PROGRAMS

#: What belongs to the user that runs the tests: their sessions, places and services.
_PREFIXES = ("PALINGENESIS_", "XDG_", "LISTEN_")
_NAMES = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "NOTIFY_SOCKET")

#: The modules of tests whose processes measure their coverage: beside the unit tests, these run
#: nearly all of what any test does. Measuring costs each process a fifth of a second of a
#: processor, and twice its time from then on.
MEASURED = frozenset(
    f"tests.process.test_{name}"
    for name in (
        "clients",
        "config",
        "demo",
        "facts",
        "live",
        "machine",
        "main",
        "notify",
        "notify_post",
        "processes",
        "readiness",
        "report",
        "restart",
        "revive",
        "sessions",
        "start_stop",
        "steering",
        "trial",
        "trust",
        "web_daemon",
    )
)


def apart(home: str, runtime: str, **further: str) -> dict[str, str]:
    """
    Make an environment in which no program finds what belongs to the user.

    :param home: the home directory; the default places of other environments are in it too.
    :param runtime: the runtime directory.
    :param further: what is set besides; ``PYTHONPATH`` is extended.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_PREFIXES) and name not in _NAMES
    }
    own = {"HOME": home, "XDG_RUNTIME_DIR": runtime, "PALINGENESIS_TEST_PLACE": home}
    variables = kept | own | further
    modules = [str(PROGRAMS / "elsewhere"), further.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, modules))}


def unmeasured(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment whose processes measure no coverage."""
    return {k: v for k, v in environment.items() if not k.startswith("COVERAGE_")}
