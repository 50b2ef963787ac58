"""`embed`: every frame of every store, with whose it is, in files that other programs read without us."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from planes.labelled_store import write_store as write_labelled_store
from sonolearn import cli
from sonolearn.config import ClassifyConfig, EmbedConfig
from sonolearn.console import UserError
from sonolearn.planes import embed as room
from sonolearn.planes.embed import embed
from sonolearn.planes.initialisation import Initialisation
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.encoders import Card, build, save_encoder
from sonolearn.ssl.features import extract, read_images
from sonolearn.store.store import Store
from stores import write_store

TEXTS = ("store", "scan", "patient", "plane", "split")


def tiny(encoder: Path) -> EmbedConfig:
    return EmbedConfig(init=str(encoder), accelerator="cpu", precision="32-true")


def read(file: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Columns and features of a file of either kind."""
    if file.suffix == ".parquet":
        table = pd.read_parquet(file)
        return table.drop(columns="features"), np.stack(table["features"].to_list())
    with np.load(file, allow_pickle=False) as arrays:
        columns = ("store", "row", "scan", "frame", "patient", "plane", "split")
        return pd.DataFrame({name: arrays[name] for name in columns}), arrays["features"]


@pytest.mark.parametrize("ending", [".parquet", ".npz"])
def test_every_frame_has_its_features_its_pseudonyms_and_its_plane_where_known(
    ending: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "AT_ONCE", 32)
    stores = [write_store(tmp_path / "scans", patients=3, frames=7), write_labelled_store(tmp_path / "hearts")]
    table, features = read(embed(stores, tmp_path / f"features{ending}", tiny(encoder)))
    network, card = Initialisation(ClassifyConfig(init=str(encoder))).load(0)
    fabric = make_fabric("cpu", "32-true")
    first = 0
    for path in stores:
        store = Store(path)
        rows = np.arange(len(store))
        own = table.iloc[first : first + len(store)]
        assert own["row"].tolist() == rows.tolist()
        assert set(own["store"]) == {path.name}
        assert own["patient"].tolist() == store.patient_of_frame.tolist()
        assert own["scan"].tolist() == store.scans["scan"].to_numpy()[store.scan_of_frame].tolist()
        assert own["frame"].tolist() == store.number_of_frame.tolist()
        for column in ("plane", "split"):
            assert own[column].tolist() == ([""] * len(rows) if store.labels is None else store.labels[column].tolist())
        expected = extract(network, card, read_images(store, rows, 32), fabric).numpy()
        np.testing.assert_allclose(features[first : first + len(store)], expected, rtol=1e-4, atol=1e-5)
        first += len(store)
    assert len(table) == first
    assert features.dtype == np.float32


def test_both_kinds_of_file_hold_the_same(encoder: Path, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", patients=3, frames=4)
    files = [embed([store], tmp_path / name, tiny(encoder)) for name in ("a.parquet", "b.npz")]
    (one, features), (other, others) = map(read, files)
    assert (features == others).all()
    for column in one:
        assert one[column].tolist() == other[column].tolist()


@pytest.mark.parametrize("name", ["features.csv", "features", "features.parquet.gz"])
def test_another_ending_is_refused_before_data_are_read(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["embed", "nowhere", "--init", "random", "--out", str(tmp_path / name)])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"sonolearn: --out {tmp_path / name}: give a file that ends in .parquet or .npz\n"


def test_a_folder_in_the_way_is_named(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "features.npz").mkdir()
    with pytest.raises(UserError, match=r"is a folder; name a file, such as --out .*features\.npz/features\.parquet"):
        embed([write_store(tmp_path / "store")], tmp_path / "features.npz", tiny(encoder))


@pytest.mark.parametrize("ending", [".parquet", ".npz"])
def test_features_that_are_not_finite_are_refused_and_nothing_is_written(ending: str, tmp_path: Path) -> None:
    network = build(Card("test_resnet"), 0)
    for weights in network.parameters():
        weights.data.mul_(1e20)
    save_encoder(tmp_path / "e.safetensors", network, Card("test_resnet", image_size=32))
    with pytest.raises(UserError, match="features are not finite"):
        embed([write_store(tmp_path / "store")], tmp_path / f"f{ending}", tiny(tmp_path / "e.safetensors"))
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"e.safetensors", "store"}
    assert list(tmp_path.glob("*.tmp")) == []
