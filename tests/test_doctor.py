"""`sonolearn doctor` says what is there, finds what is not, names the remedy, and its exit code tells scripts."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from sonolearn import cli, doctor
from sonolearn.config import DoctorConfig
from sonolearn.doctor import Finding, examine, folder, packages, shared_memory, weights

Usage = namedtuple("Usage", "total used free")


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_whatever_is_not_ok_has_a_remedy(tmp_path: Path) -> None:
    found = examine(DoctorConfig(folder=tmp_path))
    assert all(bool(finding.remedy) == (finding.state != "ok") for finding in found)
    assert {"packages", "device", "shared memory", "folder", "disk"} <= set(by_name(found))


REQUIRED = ["numpy>=1", "absent>=2", "pandas>=999", "sonolearn[train]; extra == 'all'", "gone; extra == 'train'"]


def test_packages_that_are_missing_or_too_old_are_faults_of_the_base_and_notes_of_an_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRED)
    about = metadata.metadata("sonolearn")
    monkeypatch.setattr(type(about), "get_all", lambda self, key: ["train", "all", "dev"])
    found = by_name(list(packages()))
    assert set(found) == {"packages", "extra train"}
    assert found["packages"].state == "fault"
    assert found["packages"].found == f"absent missing, pandas {metadata.version('pandas')}, not >=999"
    assert found["extra train"] == Finding(
        "extra train", "note", "gone missing", "pip install --upgrade 'sonolearn[train]'"
    )


def test_what_is_installed_is_counted() -> None:
    found = by_name(list(packages()))["packages"]
    assert (found.state, found.remedy) == ("ok", "")


def test_little_shared_memory_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SHARED_MEMORY", Path("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(64 << 20, 0, 64 << 20))
    found = shared_memory()
    assert (found.state, "0.1 GiB free" in found.found, "--shm-size" in found.remedy) == ("note", True, True)


def test_a_folder_that_is_missing_and_a_full_disk_are_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.state for finding in folder(tmp_path / "none")] == ["fault"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, 0))
    assert [(finding.what, finding.state) for finding in folder(tmp_path)] == [("folder", "ok"), ("disk", "fault")]
    assert list(tmp_path.iterdir()) == []


def test_weights_are_looked_for_where_pretrain_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("SONOLEARN_WEIGHTS", raising=False)
    assert weights("tf_efficientnet_lite0").state == "note"
    file = tmp_path / "tf_efficientnet_lite0.in1k.safetensors"
    file.touch()
    monkeypatch.setenv("SONOLEARN_WEIGHTS", str(tmp_path))
    assert weights("tf_efficientnet_lite0") == Finding("weights of tf_efficientnet_lite0", "ok", str(file))
    (tmp_path / "tf_efficientnet_lite0.safetensors").touch()
    assert "are both weights" in weights("tf_efficientnet_lite0").found


def test_the_exit_code_is_1_exactly_where_there_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--json", "--folder", str(tmp_path / "none")])
    assert stop.value.code == 1
    printed = capsys.readouterr().out
    found = json.loads(printed[printed.rindex("\n[") :])  # the table of the first call stands before
    assert {finding["what"]: finding["state"] for finding in found}["folder"] == "fault"
