from __future__ import annotations

from pathlib import Path

import pytest

from planes.labelled_store import tiny, write_store
from sonolearn.planes.classify import classify
from sonolearn.recipes import recipe
from study.fake_runs import write_pretrain_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pre-training run "bt", linear runs "random" and "pretrained" on one store, and a kNN run "other" on another."""
    folder = tmp_path_factory.mktemp("study")
    store, other = write_store(folder / "hearts"), write_store(folder / "clinic", stills=3)
    made = {name: folder / name for name in ("random", "pretrained", "other")}
    made["bt"] = write_pretrain_run(folder / "bt", recipe(encoder="test_resnet", epochs=20, image_size=32))
    classify(store, made["random"], tiny(seeds=3))
    classify(store, made["pretrained"], tiny(seeds=3, init=str(made["bt"]), encoder=None))
    classify(other, made["other"], tiny("knn", fractions=(1.0,), seeds=1))
    return made
