"""The ledger: what the monitor did and saw, one JSON object a line, synced before it counts."""

from palingenesis.monitor.ledger.file import LEDGER_NAME, OLD_NAME, Ledger, LedgerError
from palingenesis.monitor.ledger.history import ENTRIES_LIMIT, Attempt, History, Sums
from palingenesis.monitor.ledger.records import HOUR, Entry, Stop

__all__ = [
    "ENTRIES_LIMIT",
    "HOUR",
    "LEDGER_NAME",
    "OLD_NAME",
    "Attempt",
    "Entry",
    "History",
    "Ledger",
    "LedgerError",
    "Stop",
    "Sums",
]
