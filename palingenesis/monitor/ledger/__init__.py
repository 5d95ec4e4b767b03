"""The ledger: what the monitor did and saw, one JSON object a line, synced before it counts."""

from palingenesis.monitor.ledger.file import LEDGER_NAME, LedgerError
from palingenesis.monitor.ledger.history import ENTRIES_LIMIT, HOUR, Attempt, History, Name
from palingenesis.monitor.ledger.ledger import Ledger
from palingenesis.monitor.ledger.records import Entry, Stop

__all__ = [
    "ENTRIES_LIMIT",
    "HOUR",
    "LEDGER_NAME",
    "Attempt",
    "Entry",
    "History",
    "Ledger",
    "LedgerError",
    "Name",
    "Stop",
]
