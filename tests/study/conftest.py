from __future__ import annotations

from pathlib import Path

import pytest

from planes.labelled_store import tiny, write_store
from sonolearn.config.study import StudyRunConfig
from sonolearn.planes.classify import classify
from sonolearn.recipes import recipe
from sonolearn.study import run as study_run
from sonolearn.study.folder import StudyFolder
from study.fake_runs import write_pretrain_run
from study.small_study import HereEngine, write_plan, write_stores


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pre-training run "bt", linear runs "random" and "pretrained" on one store, and a kNN run "other" on another."""
    folder = tmp_path_factory.mktemp("study")
    store, other = write_store(folder / "hearts"), write_store(folder / "clinic", stills=3)
    made = {name: folder / name for name in ("random", "pretrained", "other")}
    made["bt"] = write_pretrain_run(
        folder / "bt", recipe("barlow_twins", None, encoder="test_resnet", epochs=20, image_size=32)
    )
    classify(store, made["random"], tiny(seeds=3))
    classify(store, made["pretrained"], tiny(seeds=3, init=str(made["bt"]), encoder=None))
    classify(other, made["other"], tiny("knn", fractions=(1.0,), seeds=1))
    return made


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stores of the small study: labelled and scans; tests only read them."""
    return write_stores(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """The folder of the small study, run without a disturbance; the plan lies beside it. Tests only read it."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_run, "make_engine", lambda folder, config: HereEngine(folder))
        study_run.run_study(write_plan(folder / "plan.yaml", small_data), folder / "out", StudyRunConfig())
    return folder / "out"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[HereEngine]:
    """Lets studies do their tasks in this process; the engines that were made, the latest last."""
    made: list[HereEngine] = []

    def make(folder: StudyFolder, config: StudyRunConfig) -> HereEngine:
        made.append(HereEngine(folder))
        return made[-1]

    monkeypatch.setattr(study_run, "make_engine", make)
    return made
