"""A scan that goes wrong is rejected with a reason that tells nothing of the file; a user's mistake is none of its."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sonolearn.console import UserError
from sonolearn.scans import find as guarded
from sonolearn.scans.find import open_guarded, own_fault
from sonolearn.scans.scan import Frame, Rejected, Scan


def breaking(error: Exception) -> Scan:
    """A scan whose reading fails."""

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        raise error
        yield

    return Scan("video", 4, 4, read, count=3)


def opened_as(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> Scan:
    monkeypatch.setattr(guarded, "open_scan", lambda paths: scan)
    return open_guarded([Path("secret name.mp4")])


def test_what_a_decoder_raises_while_frames_are_read_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = opened_as(breaking(ValueError("of Jane Doe")), monkeypatch)
    with pytest.raises(Rejected) as stop:
        list(scan.frames())
    assert stop.value.reason == "unreadable"
    assert "Jane" not in str(stop.value)


@pytest.mark.parametrize("error", [UserError("the disk is full"), Rejected("blank", "shows nothing")])
def test_what_is_said_already_is_passed_on(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error), match=str(error)):
        list(opened_as(breaking(error), monkeypatch).frames())


def test_a_fault_of_ours_names_the_place_and_not_what_the_file_holds() -> None:
    try:
        int("Jane Doe")
    except ValueError as error:
        rejected = own_fault(error)
    assert rejected.reason == "failed"
    assert "ValueError in test_guarded.py line" in str(rejected)
    assert "Jane" not in str(rejected)
