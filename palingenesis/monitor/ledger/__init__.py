"""The ledger: what the monitor did and saw, one JSON object a line, synced before it counts."""

from palingenesis.monitor.ledger.file import (
    ENTRIES_LIMIT,
    HOUR,
    LEDGER_NAME,
    OLD_NAME,
    Attempt,
    Entry,
    Event,
    History,
    Ledger,
    LedgerError,
    Stop,
    Sums,
)

__all__ = [
    "ENTRIES_LIMIT",
    "HOUR",
    "LEDGER_NAME",
    "OLD_NAME",
    "Attempt",
    "Entry",
    "Event",
    "History",
    "Ledger",
    "LedgerError",
    "Stop",
    "Sums",
]
