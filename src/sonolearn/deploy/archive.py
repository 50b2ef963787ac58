"""An archive by DICOMweb (PS3.18): what it has (QIDO-RS), an instance (WADO-RS), and a report back (STOW-RS).

Credentials and TLS come from the environment alone: SONOLEARN_ARCHIVE_USER and _PASSWORD, or _TOKEN; _CA (a file of
certificates to trust), _CERT and _KEY (the client's own).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import requests

from sonolearn.console import UserError, one_line

_PAGE, _SECONDS = 200, (10, 120)
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"


class ArchiveError(UserError):
    """The archive did not do what was asked; `down` where it would do nothing else either."""

    def __init__(self, message: str, down: bool = False) -> None:
        super().__init__(message)
        self.down = down


@dataclass(frozen=True)
class Instance:
    """An instance by its UIDs."""

    study: str
    series: str
    uid: str

    @property
    def path(self) -> str:
        """Its address below the archive's."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.uid}"


class Archive:
    """A DICOMweb server.

    Args:
        url: the root of its services, such as http://localhost:8042/dicom-web.

    Raises:
        UserError: no such URL, or a password that would cross a network unencrypted.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise UserError("the archive's URL must be http(s)://HOST/PATH; give credentials as SONOLEARN_ARCHIVE_USER")
        self._url, self._name = url.rstrip("/"), parts.netloc
        self._session = requests.Session()
        self._session.trust_env = False  # neither ~/.netrc nor a proxy gets to see a patient
        user, token = _setting("USER"), _setting("TOKEN")
        if (user or token) and parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise UserError(f"{self._name}: credentials need https; give its https:// URL")
        if user:
            self._session.auth = user, _setting("PASSWORD") or ""
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.verify = _setting("CA") or True
        certificate, key = _setting("CERT"), _setting("KEY")
        if certificate:
            self._session.cert = (certificate, key) if key else certificate

    def instances(self, **filters: str) -> Iterator[Instance]:
        """The instances that match attributes, such as Modality="US", page by page."""
        offset, seen = 0, set[Instance]()
        while True:
            query = {**filters, "limit": str(_PAGE), "offset": str(offset)}
            answer = self._ask("GET", "/instances", params=query, headers={"Accept": "application/dicom+json"})
            try:
                rows: list[dict[str, Any]] = answer.json() if answer.content else []
                found = [Instance(*(str(row[tag]["Value"][0]) for tag in (_STUDY, _SERIES, _INSTANCE))) for row in rows]
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise self._no_dicomweb(answer) from error
            # Some archives give fewer than asked for, some the first page for ever.
            new = [instance for instance in found if instance not in seen]
            if not new:
                return
            yield from new
            seen.update(new)
            offset += len(found)

    def fetch(self, instance: Instance) -> bytes:
        """The file of an instance."""
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        answer = self._ask("GET", instance.path, headers={"Accept": accept})
        kind = f"Content-Type: {answer.headers.get('Content-Type', '')}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(kind + answer.content)
        part = next(message.iter_parts(), None) if message.is_multipart() else None
        if part is None:
            raise self._no_dicomweb(answer)
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes) or content[128:132] != b"DICM":
            raise self._no_dicomweb(answer)
        return content

    def send(self, file: Path) -> None:
        """Store a DICOM file; an archive that has it already keeps one."""
        boundary = uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        answer = self._ask(
            "POST", "/studies", data=head + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode(),
            headers={"Content-Type": kind, "Accept": "application/dicom+json"},
        )  # fmt: skip
        try:
            stored = answer.json().get("00081199", {}).get("Value")  # Referenced SOP Sequence: what was stored
        except (ValueError, AttributeError) as error:
            raise self._no_dicomweb(answer) from error
        if not stored:
            raise ArchiveError(f"{self._name}: refused {file.name}; see the archive's log for the reason")

    def has(self, uid: str) -> bool:
        """Whether it holds an instance of this UID."""
        return next(self.instances(SOPInstanceUID=uid), None) is not None

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(method, self._url + path, timeout=_SECONDS, **options)
        except requests.exceptions.SSLError as error:
            raise ArchiveError(f"{self._name}: TLS failed; set SONOLEARN_ARCHIVE_CA, _CERT and _KEY", True) from error
        except (requests.RequestException, OSError) as error:
            raise ArchiveError(f"{self._name}: does not answer; is the archive running there?", True) from error
        if answer.status_code in (401, 403):
            raise ArchiveError(f"{self._name}: refuses access; set SONOLEARN_ARCHIVE_USER and _PASSWORD", True)
        if not answer.ok:
            said = one_line(answer.reason or "")
            down = answer.status_code in (404, 429) or answer.status_code >= 500
            raise ArchiveError(f"{self._name}: answers {answer.status_code} {said} to {method}; see its log", down)
        return answer

    def _no_dicomweb(self, answer: requests.Response) -> ArchiveError:
        kind = one_line(answer.headers.get("Content-Type", "nothing")).partition(";")[0]
        return ArchiveError(f"{self._name}: answers {kind}, not DICOMweb; give the URL of its DICOMweb root", True)


def _setting(name: str) -> str | None:
    return os.environ.get(f"SONOLEARN_ARCHIVE_{name}") or None
