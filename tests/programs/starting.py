"""
Run the ``palingenesis`` command with another program in the place of twistd.

Usage: ``starting.py PROGRAM ARGUMENT ... -- [ARGUMENT ...]``; the program is one of the modules
beside this one, and the arguments after ``--`` are the command's.
"""

from __future__ import annotations

import sys
from pathlib import Path

from palingenesis.cli import start
from palingenesis.cli.main import main

end = sys.argv.index("--")
name, *arguments = sys.argv[1:end]
command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *arguments]
vars(start)["twistd_command"] = lambda: command
sys.exit(main(sys.argv[end + 1 :]))
