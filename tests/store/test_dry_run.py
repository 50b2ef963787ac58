"""`prepare --dry_run N`: a small store of N scans in OUT/dry-run, to look at its page; nothing else happens in OUT."""

from __future__ import annotations

from pathlib import Path

import pytest

from media import write_still
from sonolearn.config import PrepareConfig
from sonolearn.console import UserError
from sonolearn.store.prepare import prepare
from sonolearn.store.pseudonyms import read_sources
from sonolearn.store.store import Store
from sonolearn.store.write import check_free

CONFIG = PrepareConfig(size=32, workers=1)


def dry(count: int, size: int = 32) -> PrepareConfig:
    return PrepareConfig(size=size, workers=1, dry_run=count)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        write_still(tmp_path / f"in/{number}/{number}.png", number)
    return tmp_path / "in"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_it_takes_scans_from_all_over_and_names_its_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = prepare([folder], tmp_path / "store", None, dry(4))
    assert store.path == tmp_path / "store" / "dry-run"
    assert len(Store(store.path).scans) == 4
    assert [Path(path).stem for path in read_sources(tmp_path / "sonolearn-private")["path"]] == ["0", "3", "6", "9"]
    assert str(store.path / "report.html") in capsys.readouterr().err
    assert (store.path / "report.html").is_file()
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["dry-run"]


def test_it_takes_all_where_there_are_fewer(folder: Path, tmp_path: Path) -> None:
    assert len(prepare([folder], tmp_path / "store", None, dry(50)).scans) == 12


def test_the_real_run_may_have_other_options(folder: Path, tmp_path: Path) -> None:
    prepare([folder], tmp_path / "store", None, dry(3))
    store = prepare([folder], tmp_path / "store", None, PrepareConfig(size=48, workers=1))
    fresh = prepare([folder], tmp_path / "fresh", None, PrepareConfig(size=48, workers=1))
    found = {name: data for name, data in contents(store.path).items() if not name.startswith("dry-run")}
    assert found == contents(fresh.path)


def test_it_is_made_anew_each_time_beside_a_store_that_it_leaves_as_it_was(folder: Path, tmp_path: Path) -> None:
    prepare([folder], tmp_path / "store", None, CONFIG)
    before = contents(tmp_path / "store")
    prepare([folder], tmp_path / "store", None, dry(5))
    store = prepare([folder], tmp_path / "store", None, dry(2, size=48))
    assert (len(store.scans), store.size) == (2, 48)
    assert {n: d for n, d in contents(tmp_path / "store").items() if not n.startswith("dry-run")} == before


def test_images_of_a_label_table_are_looked_at_without_their_labels(folder: Path, tmp_path: Path) -> None:
    # One patient of each plane: too few for a split, which a dry run does not make.
    rows = [f"{n}/{n}.png,{'4CH' if n < 6 else 'LVOT'},P{n // 6}" for n in range(12)]
    (folder / "labels.csv").write_text("\n".join(["image,plane,patient", *rows]))
    store = prepare([], tmp_path / "store", folder / "labels.csv", dry(2))
    assert store.labels is None
    assert len(store.scans) == 2


def test_a_folder_that_was_killed_at_its_first_write_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / ".frames.h5.123.tmp").touch()
    check_free(tmp_path)
    (tmp_path / "photo.png").touch()
    with pytest.raises(UserError, match="exists and is not a store"):
        check_free(tmp_path)


@pytest.mark.parametrize("inside", ["photo.png", "dry-run/photo.png"])
def test_a_folder_with_something_else_is_left_alone(folder: Path, tmp_path: Path, inside: str) -> None:
    write_still(tmp_path / "album" / inside, 1)
    before = contents(tmp_path / "album")
    with pytest.raises(UserError, match="exists and is not a store"):
        prepare([folder], tmp_path / "album", None, dry(2))
    assert contents(tmp_path / "album") == before
