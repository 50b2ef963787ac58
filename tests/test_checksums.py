"""Checksums: damage is found, and neither an interruption nor a full disk is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonolearn.checksums import CHECKSUMS, checksum_of, current_lines, intact, note
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
