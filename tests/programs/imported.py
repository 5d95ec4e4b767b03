"""
Import modules, call a function, and print on standard error which modules are loaded then.

Usage: ``imported.py MODULE[,MODULE ...][:FUNCTION] [ARGUMENT ...]``. The function is the last
module's; it finds the arguments in ``sys.argv``, and what it returns is the exit status
if it does not end the process itself.
``python -S`` leaves out what a debugger or coverage would import for themselves.
"""

from __future__ import annotations

import sys
from importlib import import_module

names, _, function = sys.argv.pop(1).partition(":")
loaded = [import_module(name) for name in names.split(",")]
try:
    sys.exit(getattr(loaded[-1], function)() if function else 0)
finally:
    print(*sys.modules, file=sys.stderr)
