"""
Default places in a test's own directory instead of ``/run/user/UID`` and ``/tmp``.

A daemon of the user's own may listen at the real ones: no program of a test asks it anything.
"""

import contextlib
import os

if place := os.environ.get("PALINGENESIS_TEST_PLACE"):
    with contextlib.suppress(ImportError):
        from palingenesis import paths

        paths._of_the_session = f"{place}/session-{{}}".format
        paths._last_resort = f"{place}/last-resort-{{}}".format
