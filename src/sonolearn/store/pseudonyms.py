"""Pseudonyms of patients and scans, and the private folder that holds their key and the linking table.

A pseudonym is an HMAC-SHA256 (RFC 2104) with a random key: the same person is the same pseudonym in every store of a
project, and without the key nobody can try out names or numbers. The folder `sonolearn-private` is the only place where
file names stand beside pseudonyms.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sonolearn.checksums import intact
from sonolearn.console import UserError, warn
from sonolearn.runs import alone_in, naming_disk_errors, writing

if TYPE_CHECKING:
    import pandas as pd  # at run time where it is needed: each process that reads scans imports this file


PRIVATE = "sonolearn-private"
KEY_FILE, SOURCES, README = "key", "sources.csv", "README.txt"
SOURCE_COLUMNS = ("store", "scan", "patient", "outcome", "reason", "path", "bytes", "changed")
_KEY_BYTES = 32
_README = """This folder is private: keep it, and give it to nobody.

key          makes pseudonyms of patient ids and scans. Without it the same patient cannot be recognised again;
             whoever has it can test whether a known patient is in your data.
sources.csv  the linking table: which file became which pseudonym.

Stores, runs and reports hold pseudonyms only and can be shared without this folder.
"""


@dataclass(frozen=True)
class Pseudonyms:
    """Gives pseudonyms; can be sent to worker processes."""

    key: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """Names the key without giving it away: eight hex digits."""
        return hashlib.sha256(b"sonolearn key id" + self.key).hexdigest()[:8]

    def patient(self, raw_id: str) -> str:
        """Pseudonym of a patient, such as P-1a2b3c4d5e6f; spaces around the id do not count."""
        return f"P-{self._digest('patient', raw_id.strip())[:12]}"

    def unknown_patient(self, content: str) -> str:
        """Pseudonym of the patient of a file that names none: each file is a patient of its own."""
        return f"P-{self._digest('file', content)[:12]}"

    def scan(self, content: str) -> str:
        """Pseudonym of a scan, such as S-1a2b3c4d5e6f7a8b, from the hash of its files: not from their names."""
        return f"S-{self._digest('scan', content)[:16]}"

    def uid(self, uid: str) -> str:
        """The DICOM UID that stands for another: 2.25 and 122 random-looking bits, as of a UUID (PS3.5 B.2)."""
        return f"2.25.{uuid.UUID(hex=self._digest('uid', uid.strip())[:32], version=4).int}"

    def days(self, patient: str) -> int:
        """By how many days the dates of a patient, given by the pseudonym, go back: 1 to 3650."""
        return 1 + int(self._digest("days", patient)[:12], 16) % 3650

    def _digest(self, what: str, text: str) -> str:
        return hmac.new(self.key, f"{what}\0{text}".encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def private_folder(store: Path, named: Path | None) -> Path:
    """The folder of the key: the named one, else `sonolearn-private` beside the store or in a folder above."""
    if named is not None:
        return named
    beside = store.absolute().parent
    return next((f / PRIVATE for f in (beside, *beside.parents) if (f / PRIVATE).is_dir()), beside / PRIVATE)


def open_private(folder: Path) -> Pseudonyms:
    """Read the key of a private folder; make both where there are none.

    Raises:
        UserError: the key is damaged or cannot be read, or the folder cannot be made.
    """
    file = folder / KEY_FILE
    with naming_disk_errors(folder):
        if not file.exists():
            _make(folder)
        text = intact(file).read_text(encoding="ascii", errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise UserError(f"{file}: is not a key of sonolearn; restore it from a copy")
    return Pseudonyms(key)


def _make(folder: Path) -> None:
    # Of two commands that start together, the second takes the key of the first.
    with alone_in(folder):
        if (folder / KEY_FILE).exists():
            return
        try:
            folder.chmod(0o700)
        except OSError:
            warn(f"{folder}: its permissions cannot be set, so others may be able to read it; --key keeps it elsewhere")
        (folder / README).write_text(_README, encoding="utf-8")
        with writing(folder / KEY_FILE) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_hex(_KEY_BYTES) + "\n", encoding="ascii")


def read_sources(folder: Path) -> pd.DataFrame:
    """The linking table, all columns text; empty where there is none.

    Raises:
        UserError: it cannot be read as a table.
    """
    import pandas as pd

    file = folder / SOURCES
    if not file.exists():
        return pd.DataFrame(columns=list(SOURCE_COLUMNS), dtype=str)
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{file}: cannot be read as a table; restore or delete it") from error
    return table.reindex(columns=list(SOURCE_COLUMNS), fill_value="")


def update_sources(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Add rows to the linking table, in place of those with the same store and path; whole or not at all."""
    import pandas as pd

    with alone_in(folder):
        table = pd.concat([read_sources(folder), pd.DataFrame(rows, columns=list(SOURCE_COLUMNS), dtype=str)])
        table = table.drop_duplicates(["store", "path"], keep="last")
        # Without a checksum: people sort and filter it, and a wrong line only lets its file be read again.
        with writing(folder / SOURCES, checksum=False) as temporary:
            temporary.touch(mode=0o600)
            table.to_csv(temporary, index=False)
