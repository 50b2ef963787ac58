"""What `watch` did with each scan, in SQLite: a restart or a kill loses no scan and sends no report twice."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from sonolearn.console import UserError

LONGEST = 600.0
"""Seconds; no scan waits longer for its next try."""
FINISHED = ("sent", "rejected", "duplicate")


class Ledger:
    """A row a scan: `waiting`, `sending` (asked, not yet confirmed), `sent`, `rejected` or `duplicate`.

    Raises:
        UserError: the file is not a ledger.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._data = sqlite3.connect(file, isolation_level=None)  # each statement is on disk when it returns
            self._data.execute("PRAGMA synchronous=FULL")
            self._data.execute(
                "CREATE TABLE IF NOT EXISTS scans (name TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT 'waiting',"
                " report TEXT, reason TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,"
                " next_try REAL NOT NULL DEFAULT 0)"
            )
        except sqlite3.DatabaseError as error:
            raise UserError(f"{file}: is no ledger of `watch` or cannot be written; give another --out") from error

    def due(self, name: str) -> bool:
        """Note a scan that may be new; whether its turn has come."""
        self._data.execute("INSERT OR IGNORE INTO scans (name) VALUES (?)", (name,))
        state, at = self._data.execute("SELECT state, next_try FROM scans WHERE name=?", (name,)).fetchone()
        return state not in FINISHED and at <= time.time()

    def state(self, name: str) -> str:
        """What became of a scan."""
        row = self._data.execute("SELECT state FROM scans WHERE name=?", (name,)).fetchone()
        return str(row[0]) if row else "waiting"

    def sent_before(self, report: str) -> bool:
        """Whether a report of this UID was sent, for whichever scan."""
        query = "SELECT 1 FROM scans WHERE report=? AND state='sent'"
        return self._data.execute(query, (report,)).fetchone() is not None

    def note(self, name: str, state: str, report: str | None = None, reason: str = "") -> None:
        """Write what became of a scan."""
        self._data.execute(
            "UPDATE scans SET state=?, report=COALESCE(?, report), reason=? WHERE name=?", (state, report, reason, name)
        )

    def failed(self, name: str, reason: str) -> None:
        """Put a scan off: 2, 4, 8, ... seconds, at most `LONGEST`."""
        (tries,) = self._data.execute("SELECT tries + 1 FROM scans WHERE name=?", (name,)).fetchone()
        at = time.time() + min(2.0 ** min(tries, 20), LONGEST)
        self._data.execute("UPDATE scans SET tries=?, next_try=?, reason=? WHERE name=?", (tries, at, reason, name))

    def counts(self) -> dict[str, int]:
        """Scans by state."""
        return dict(self._data.execute("SELECT state, COUNT(*) FROM scans GROUP BY state ORDER BY state"))

    def close(self) -> None:
        """Close the file."""
        self._data.close()
