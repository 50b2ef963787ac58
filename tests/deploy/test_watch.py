"""`watch` with a real Orthanc: every scan gets one report, whatever is stopped, killed or started twice in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
from filelock import FileLock

from media import fan, write_dicom
from sonolearn import cli
from sonolearn.config.hospital import WatchConfig
from sonolearn.console import UserError
from sonolearn.deploy.archive import Archive, ArchiveError
from sonolearn.deploy.ledger import Ledger
from sonolearn.deploy.watch import watch

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PROGRAM = shutil.which("Orthanc")
REAL = pytest.mark.skipif(PROGRAM is None or not PLUGIN.exists(), reason="needs orthanc and orthanc-dicomweb")


class Orthanc:
    """A server on loopback, with its storage in `home`."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/dicom-web"
        self.settings = home / "orthanc.json"
        self.settings.write_text(json.dumps({
            "StorageDirectory": str(home / "db"), "IndexDirectory": str(home / "db"), "HttpPort": port,
            "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True},
        }))  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(PROGRAM), str(self.settings)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(150):
            try:
                requests.get(f"{self.root}/system", timeout=1)
                return
            except requests.RequestException:
                time.sleep(0.1)
        raise AssertionError("Orthanc did not start")

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def reports(self) -> list[str]:
        """UIDs of the reports that it has."""
        return [found.uid for found in Archive(self.url).instances(Modality="SR")]


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path)
    server.start()
    yield server
    server.stop()


def cines(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    for n in range(count):
        file = folder / f"{n}.dcm"
        uids = {"StudyInstanceUID": f"1.2.3.{n + 1}", "SeriesInstanceUID": f"1.2.3.{n + 1}.1"}
        write_dicom(file, fan(4, 120, 160, seed=n), **uids, SOPInstanceUID=f"1.2.3.{n + 1}.1.1", PatientID=f"P{n}")
        os.utime(file, (1e9, 1e9))


def options(classifier: Path, **more: object) -> WatchConfig:
    return WatchConfig(classifier=classifier, once=True, **more)  # type: ignore[arg-type]


@REAL
def test_a_server_that_was_stopped_and_started_gets_each_report_once(
    tmp_path: Path, orthanc: Orthanc, classifier_path: Path
) -> None:
    cines(tmp_path / "in", 2)
    config = options(classifier_path, send_to=orthanc.url)
    orthanc.stop()
    with pytest.raises(ArchiveError, match="does not answer; is the archive running there"):
        watch(str(tmp_path / "in"), tmp_path / "out", config)
    orthanc.start()
    assert watch(str(tmp_path / "in"), tmp_path / "out", config) == {"sent": 2}
    orthanc.stop()
    orthanc.start()
    assert watch(str(tmp_path / "in"), tmp_path / "out", config) == {"sent": 2}
    assert len(orthanc.reports()) == 2


@REAL
def test_scans_of_an_archive_get_their_report_in_their_study(
    tmp_path: Path, orthanc: Orthanc, classifier_path: Path
) -> None:
    cines(tmp_path / "in", 2)
    for file in (tmp_path / "in").iterdir():
        Archive(orthanc.url).send(file)
    assert watch(orthanc.url, tmp_path / "out", options(classifier_path)) == {"sent": 2}
    studies = {found.study for found in Archive(orthanc.url).instances(Modality="SR")}
    assert studies == {"1.2.3.1", "1.2.3.2"}
    assert not list((tmp_path / "out" / "incoming").iterdir())


@REAL
def test_a_watcher_that_was_killed_while_it_sent_sends_nothing_twice(
    tmp_path: Path, orthanc: Orthanc, classifier_path: Path
) -> None:
    cines(tmp_path / "in", 1)
    script = (
        "import os, signal, sys\nfrom sonolearn import cli\nfrom sonolearn.deploy.archive import Archive\n"
        "send = Archive.send\n"
        "def killed(self, file):\n    send(self, file)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Archive.send = killed\ncli.main(sys.argv[1:])\n"
    )
    given = ["watch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--send_to", orthanc.url, "--once", "true"]
    given += ["--classifier", str(classifier_path)]
    assert subprocess.run([sys.executable, "-c", script, *given], check=False).returncode == -signal.SIGKILL
    sent = orthanc.reports()
    assert len(sent) == 1
    cli.main(given)
    assert orthanc.reports() == sent


def test_a_second_watcher_is_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".sonolearn-watch.lock"), pytest.raises(UserError, match="another `sonolearn watch`"):
        watch(str(tmp_path), tmp_path / "out", WatchConfig(send_to="http://localhost:1"))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(200, "answers text/html, not DICOMweb"), (401, "refuses access; set SONOLEARN_ARCHIVE_USER"), (500, "500")],
)
def test_an_answer_that_is_none_is_one_sentence(status: int, sentence: str) -> None:
    class Html(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Html)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ArchiveError, match=sentence):
            list(Archive(f"http://127.0.0.1:{server.server_port}").instances())
    finally:
        server.shutdown()
        server.server_close()


def test_passwords_cross_no_network_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOLEARN_ARCHIVE_USER", "ward")
    with pytest.raises(UserError, match="credentials need https"):
        Archive("http://archive.example/dicom-web")


def test_a_ledger_puts_off_what_failed_and_keeps_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.due("a")
    ledger.failed("a", "refused")
    assert not ledger.due("a")
    ledger.close()
    assert Ledger(tmp_path / "ledger.sqlite").counts() == {"waiting": 1}


@pytest.mark.parametrize("obeys", [True, False])
def test_an_archive_with_short_pages_is_read_to_its_end(obeys: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Archive, verb: str, path: str, **asked: dict[str, str]) -> requests.Response:
        first = int(asked["params"]["offset"]) if obeys else 0
        tags = ("0020000D", "0020000E", "00080018")
        rows = [{tag: {"Value": [f"1.2.{number}"]} for tag in tags} for number in range(first, min(first + 3, 7))]
        found = requests.Response()
        found.status_code, found._content = 200, json.dumps(rows).encode()
        return found

    monkeypatch.setattr(Archive, "_ask", answer)
    uids = [instance.uid for instance in Archive("http://127.0.0.1:1/dicom-web").instances(Modality="US")]
    assert uids == [f"1.2.{number}" for number in range(7 if obeys else 3)]
