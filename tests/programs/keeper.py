"""
Take a keeper's lock, say whether that went well, and hold it until standard input ends.

Usage: ``keeper.py DIRECTORY``, the state directory.
"""

from __future__ import annotations

import sys

from palingenesis.monitor.keeper import Keeper

keeper = Keeper(sys.argv[1])
print(keeper.take(), flush=True)
sys.stdin.read()
