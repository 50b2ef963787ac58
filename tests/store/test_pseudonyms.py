"""Pseudonyms, their key and the linking table."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sonolearn.console import UserError
from sonolearn.store.pseudonyms import Pseudonyms, open_private, private_folder, read_sources, update_sources


def row(path: str, outcome: str = "stored", store: str = "/s") -> dict[str, str]:
    return {
        "store": store,
        "scan": "S-1",
        "patient": "P-1",
        "outcome": outcome,
        "reason": "",
        "path": path,
        "bytes": "1",
        "changed": "2",
    }


def test_a_pseudonym_is_the_hmac_of_the_stripped_id() -> None:
    expected = hmac.new(b"k" * 32, b"patient\x00Doe^Jane", hashlib.sha256).hexdigest()[:12]
    assert Pseudonyms(b"k" * 32).patient(" Doe^Jane\n") == f"P-{expected}"
    assert Pseudonyms(b"l" * 32).patient("Doe^Jane") != f"P-{expected}"
    assert "k" * 32 not in repr(Pseudonyms(b"k" * 32))


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "sonolearn-private"
    first = open_private(folder)
    assert open_private(folder) == first
    assert first != open_private(tmp_path / "other")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert "private" in (folder / "README.txt").read_text()
    assert sorted(p.name for p in folder.iterdir()) == [".checksums", "README.txt", "key"]


def test_two_commands_that_start_together_take_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: open_private(tmp_path / "p").key, range(8)))
    assert len(keys) == 1


def test_the_folder_is_searched_upwards(tmp_path: Path) -> None:
    assert private_folder(tmp_path / "a/b/store", None) == tmp_path / "a/b/sonolearn-private"
    (tmp_path / "sonolearn-private").mkdir()
    assert private_folder(tmp_path / "a/b/store", None) == tmp_path / "sonolearn-private"
    assert private_folder(tmp_path / "store", tmp_path / "mine") == tmp_path / "mine"


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("not a key")
    with pytest.raises(UserError, match="is not a key"):
        open_private(tmp_path)
    assert (tmp_path / "key").read_text() == "not a key"


def test_rows_replace_those_of_the_same_store_and_path(tmp_path: Path) -> None:
    update_sources(tmp_path, [row("a"), row('b, "c"\n')])
    update_sources(tmp_path, [row("a", "rejected"), row("a", store="/t")])
    table = read_sources(tmp_path)
    assert sorted(zip(table["store"], table["path"], table["outcome"], strict=True)) == [
        ("/s", "a", "rejected"), ("/s", "b, \"c\"\n", "stored"), ("/t", "a", "stored"),
    ]  # fmt: skip
    assert stat.S_IMODE((tmp_path / "sources.csv").stat().st_mode) == 0o600


def test_updates_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: update_sources(tmp_path, [row(str(i))]), range(24)))
    assert set(read_sources(tmp_path)["path"]) == {str(i) for i in range(24)}


def test_a_disk_without_permissions_and_hard_links_will_do_and_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for name in ("chmod", "link"):
        monkeypatch.setattr(os, name, refuse)
    first = open_private(tmp_path / "p")
    assert "its permissions cannot be set, so others may be able to read it" in capsys.readouterr().err
    assert open_private(tmp_path / "p") == first


def test_a_parent_that_may_only_be_read_is_said_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(UserError, match="sonolearn-private: cannot write there; choose a folder that you may write to"):
        open_private(tmp_path / "sonolearn-private")


def test_a_key_of_which_a_digit_has_changed_is_refused(tmp_path: Path) -> None:
    """It would be a key, too, but nobody would be recognised."""
    open_private(tmp_path)
    key = (tmp_path / "key").read_text()
    (tmp_path / "key").write_text(f"{int(key[0], 16) ^ 1:x}{key[1:]}")
    with pytest.raises(UserError, match="key: is damaged"):
        open_private(tmp_path)


def test_names_that_are_not_utf8_have_pseudonyms(tmp_path: Path) -> None:
    name = os.fsdecode(b"M\xfcller")
    expected = hmac.new(b"k" * 32, b"patient\0M\xfcller", hashlib.sha256).hexdigest()[:12]
    assert Pseudonyms(b"k" * 32).patient(name) == f"P-{expected}"
