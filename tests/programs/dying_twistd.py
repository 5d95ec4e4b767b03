"""
``palingenesis start`` with a twistd whose daemon dies.

Usage: ``dying_twistd.py KIND [ARGUMENT ...]``; with ``told`` the child tells its parent why, with
``silent`` it dies later, and only its log says why. The arguments are the command's.
"""

from __future__ import annotations

import sys

from palingenesis.cli import start
from palingenesis.cli.main import main

KINDS = {
    "told": (
        "sys.exit('An error has occurred: the disk is full\\n"
        "Please look at log file for more information.')"
    ),
    "silent": (
        "options = dict(a[2:].split('=', 1) for a in sys.argv if a[:2] == '--' and '=' in a); "
        "open(options['logfile'], 'w').write('begins\\nthe disk is full\\n\\n'); "
        "open(options['pidfile'], 'w').write('4194304')"
    ),
}

code = f"import sys; {KINDS[sys.argv.pop(1)]}"
start.twistd_command = lambda: [sys.executable, "-c", code]  # type: ignore[attr-defined]
sys.exit(main())
