"""Independent readers and validators of DICOM files; tests skip, with the reason, where one is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset


def printed_by(*words: str | Path) -> str:
    """What a program of Debian's dcmtk or dicom3tools says about a file."""
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"{words[0]} is not installed (apt-get install dcmtk dicom3tools)")
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def dciodvfy_errors(path: Path) -> list[str]:
    """What dciodvfy of dicom3tools finds wrong; its warnings are left out."""
    return [line for line in printed_by("dciodvfy", path).splitlines() if line.startswith("Error")]


def validator_errors(path: Path) -> list[str]:
    """What dicom-validator finds wrong, by the standard that it downloads: $DICOM_STANDARD, or ~/dicom-validator."""
    from dicom_validator.spec_reader.edition_reader import EditionReader
    from dicom_validator.validator.dicom_file_validator import DicomFileValidator

    home = Path(os.environ.get("DICOM_STANDARD", Path.home() / "dicom-validator"))
    editions = sorted(folder.name for folder in home.glob("20*") if (folder / "docbook").is_dir())
    if not editions:
        pytest.skip("the standard is not here: run `validate_iods --edition current FILE` once, with a network")
    info = EditionReader(home).load_dicom_info(editions[-1])
    found = DicomFileValidator(info).validate(path)
    return [str(result) for result in found.values() if result.errors]


def elements(data: Dataset) -> Iterator[tuple[str, object]]:
    """Every element, nested ones too: its tag and its value."""
    for element in data.iterall():
        if element.VR != "SQ":
            yield str(element.tag), element.value
