"""
Print on standard error which modules are loaded after an import, and after a call.

Usage: ``imported.py MODULE[:FUNCTION] [ARGUMENT ...]``; the function finds the arguments in
``sys.argv``, and what it returns is the exit status. ``python -S`` leaves out what a debugger
or coverage would import for themselves.
"""

from __future__ import annotations

import sys
from importlib import import_module

module, _, function = sys.argv.pop(1).partition(":")
loaded = import_module(module)
status = getattr(loaded, function)() if function else 0
print(*sys.modules, file=sys.stderr)
sys.exit(status)
