"""Checksums: damage is found, and neither an interruption nor a full disk is taken for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonolearn.checksums import CHECKSUMS, checksum_of, current_lines, intact, naming_damage, note
from sonolearn.console import UserError
from sonolearn.runs import write_text


def test_the_hash_is_xxh3() -> None:
    """The value that xxHash's own test suite gives for no input."""
    assert checksum_of(b"") == 0x2D06800538D394C2
    assert checksum_of(memoryview(b"ab")) == checksum_of(b"ab") != checksum_of(b"ba")


def test_a_file_as_it_was_written_passes_and_a_copied_folder_too(tmp_path: Path) -> None:
    write_text(tmp_path / "old" / "a.csv", "1,2")
    (tmp_path / "old").rename(tmp_path / "new")
    assert intact(tmp_path / "new" / "a.csv").read_text() == "1,2"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(content=st.binary(min_size=1, max_size=200), data=st.data())
def test_any_damage_is_found(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    file = tmp_path / "file"
    (tmp_path / CHECKSUMS).unlink(missing_ok=True)
    file.write_bytes(content)
    note(file)
    place = data.draw(st.integers(0, len(content) - 1))
    flipped = bytes([*content[:place], content[place] ^ (1 << data.draw(st.integers(0, 7))), *content[place + 1 :]])
    for damaged in (flipped, content[:place], content + b"\0"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"file: is damaged \(its checksum is wrong\); restore it from a copy"):
            intact(file)
    file.write_bytes(content)
    assert intact(file) == file


def test_what_something_else_wrote_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x")
    assert intact(tmp_path / "other") == tmp_path / "other"
    write_text(tmp_path / "mine", "x")
    assert intact(tmp_path / "other") == tmp_path / "other"


def test_a_kill_before_or_after_a_file_gets_its_name_leaves_it_intact(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    (tmp_path / "new").write_text("new")
    note(tmp_path / "file", tmp_path / "new")
    assert intact(tmp_path / "file").read_text() == "old"
    (tmp_path / "new").replace(tmp_path / "file")
    assert intact(tmp_path / "file").read_text() == "new"


def test_a_line_that_was_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with (tmp_path / CHECKSUMS).open("a") as lines:
        lines.write("\n0123456789ab")
    write_text(tmp_path / "file", "new")
    assert intact(tmp_path / "file").read_text() == "new"


def test_current_lines_depend_on_the_files_alone(tmp_path: Path) -> None:
    for folder, steps in (("once", "ab"), ("often", "bxaba")):
        for name in steps:
            write_text(tmp_path / folder / name, name)
    (tmp_path / "often" / "x").unlink()
    assert current_lines(tmp_path / "once") == current_lines(tmp_path / "often") != ""


# Failures over files that nobody can vouch for


def written_before(folder: Path, *names: str) -> None:
    """Files with checksums, a minute old."""
    for name in names:
        write_text(folder / name, name)
        os.utime(folder / name, (1, 1))


def fail(folder: Path) -> None:
    with naming_damage(folder):
        raise KeyError("fraction")


def test_a_failure_over_files_as_they_were_written_stays_as_it_is(tmp_path: Path) -> None:
    written_before(tmp_path, "a.csv", "units/b.json")
    (tmp_path / "frames.h5").write_text("has checksums of its own")
    (tmp_path / ".lock").touch()
    with pytest.raises(KeyError):
        fail(tmp_path)
    with pytest.raises(KeyError):
        fail(tmp_path / "nothing there")


def test_what_the_failing_command_wrote_itself_is_not_blamed(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("no checksum yet")
    os.utime(tmp_path / "new.csv", (2**33, 2**33))  # after the command began
    with pytest.raises(KeyError):
        fail(tmp_path)


@pytest.mark.parametrize("how", ["changed", "without a checksum", "changed deep inside"])
def test_a_failure_over_other_files_is_one_sentence_that_names_the_file(tmp_path: Path, how: str) -> None:
    written_before(tmp_path, "a.csv", "units/b.json")
    file = tmp_path / {"changed": "a.csv", "without a checksum": "c.csv", "changed deep inside": "units/b.json"}[how]
    file.write_text("other")
    os.utime(file, (1, 1))
    with pytest.raises(UserError) as caught:
        fail(tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{file}: is not as sonolearn wrote it, or has no checksum that would tell")
    assert "KeyError in test_checksums.py line " in said
    assert "restore it from a copy, or delete it or its folder" in said
    assert "\n" not in said


def test_the_damaged_file_is_named_before_one_without_a_checksum(tmp_path: Path) -> None:
    written_before(tmp_path, "b.csv")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("other")
        os.utime(tmp_path / name, (1, 1))
    with pytest.raises(UserError, match=r"b\.csv: is not as sonolearn wrote it"):
        fail(tmp_path)


@pytest.mark.parametrize("error", [UserError("said already"), PermissionError(13, "denied"), MemoryError()])
def test_what_has_a_sentence_of_its_own_keeps_it(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "a.csv").write_text("no checksum")
    with pytest.raises(type(error)) as caught, naming_damage(tmp_path):
        raise error
    assert caught.value is error
