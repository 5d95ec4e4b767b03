"""
Default places in a test's own directory instead of ``/run/user/UID`` and ``/tmp``.

A daemon of the user's own may listen at the real ones: no program of a test asks it anything.
"""

import contextlib
import os

with contextlib.suppress(ImportError):
    # Python imports one module of this name; see ``tests/simulated_mac``.
    import simulated_macos as simulated_macos  # type: ignore[import-not-found]

if place := os.environ.get("PALINGENESIS_TEST_PLACE"):
    with contextlib.suppress(ImportError):
        from palingenesis import paths

        paths._of_the_session = f"{place}/session-{{}}".format
        paths._last_resort = f"{place}/last-resort-{{}}".format

if "PALINGENESIS_TEST_KILL" in os.environ:
    import kill_at as kill_at  # type: ignore[import-not-found]
