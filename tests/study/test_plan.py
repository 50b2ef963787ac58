"""Plans: what they may say, what every mistake is answered with, and how many runs the shipped ones come to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from planes.labelled_store import write_store
from sonolearn.config.study import StudyDataConfig
from sonolearn.console import UserError
from sonolearn.recipes import classify_recipe, recipe
from sonolearn.store.store import Store
from sonolearn.study.grid import Grid, chosen
from sonolearn.study.plan import read_plan, shipped
from study.small_study import PLAN, merged, write_plan


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """The one sentence with which a plan is refused: the small one with changes, or a text."""

    def refuse(text: str | None = None, here: StudyDataConfig | None = None, **changes: Any) -> str:
        path = tmp_path / "plan.yaml"
        path.write_text(text) if text is not None else write_plan(path, **changes)
        with pytest.raises(UserError) as error:
            read_plan(path, here)
        sentence = str(error.value)
        assert "\n" not in sentence
        assert "Traceback" not in sentence
        return sentence

    return refuse


# A mistyped word is answered with the file, the place and the nearest that exists


@pytest.mark.parametrize(
    ("changes", "place", "nearest"),
    [
        ({"metods": {}}, "plan.yaml: there is no option metods", "methods"),
        ({"seedz": 3}, "plan.yaml: there is no option seedz", "seeds"),
        ({"data": {"labeled": "x"}}, "plan.yaml, data: there is no option labeled", "labelled"),
        ({"methods": {"simclrr": {}}}, "plan.yaml, methods.simclrr", "simclr"),
        ({"methods": {"ours": {"method": "byoll"}}}, "plan.yaml, methods.ours", "byol"),
        ({"methods": {"simclr": {"bach_size": 4}}}, "plan.yaml, methods.simclr: there is no option bach_size",
         "batch_size"),
        ({"methods": {"simclr": {"views": {"blr": [1, 0]}}}}, "plan.yaml, methods.simclr: there is no option views.blr",
         "views.blur"),
        ({"methods": {"simclr": {"optimizer": {"weight_decai": 0}}}},
         "plan.yaml, methods.simclr: there is no option optimizer.weight_decai", "optimizer.weight_decay"),
        ({"methods": {"simclr": {"encoders": ["smal"]}}}, "plan.yaml, methods.simclr: the plan has no encoder smal",
         "small"),
        ({"pretrain": {"maxsteps": 3}}, "plan.yaml, methods.barlow_twins: there is no option maxsteps", "max_steps"),
        ({"encoders": {"small": {"encodr": "test_resnet"}}}, "plan.yaml, encoders.small: there is no option encodr",
         "encoder"),
        ({"pools": {"few": {"patient": 3}}}, "plan.yaml, pools.few: there is no option patient", "patients"),
        ({"pools": {"few": {"methods": ["barlow_twin"]}}}, "plan.yaml, pools.few: the plan has no method barlow_twin",
         "barlow_twins"),
        ({"initialisations": {"random": {"inti": "random"}}},
         "plan.yaml, initialisations.random: there is no option inti", "init"),
        ({"initialisations": {"random": {"encoders": ["smll"]}}},
         "plan.yaml, initialisations.random: the plan has no encoder smll", "small"),
        ({"modes": {"finetun": {}}}, "plan.yaml: there is no mode finetun", "finetune"),
        ({"modes": {"linear": {"solvr": "logistic"}}}, "plan.yaml, modes.linear: there is no option solvr", "solver"),
        ({"classify": {"epoch": 3}}, "plan.yaml, modes.finetune: there is no option epoch", "epochs"),
    ],
)  # fmt: skip
def test_a_mistyped_word_is_answered_with_the_place_and_the_nearest(
    changes: dict[str, Any], place: str, nearest: str, refused: Callable[..., str]
) -> None:
    answer = refused(**changes)
    assert answer.startswith(place)
    assert f"did you mean {nearest}?" in answer


def test_a_word_like_nothing_is_answered_with_all_there_are(refused: Callable[..., str]) -> None:
    answer = refused(xyzzy=1)
    assert answer.startswith("plan.yaml: there is no option xyzzy; it takes ")
    assert all(name in answer for name in ("methods", "encoders", "fractions", "pretrain_seeds"))


def test_the_name_of_weights_must_be_an_initialisation(refused: Callable[..., str]) -> None:
    here = StudyDataConfig(weights=("ImageNt=a.safetensors",))
    answer = refused(here=here, initialisations={"random": {}, "ImageNet": {}})
    assert answer == "--weights ImageNt: plan.yaml has no such initialisation; did you mean ImageNet?"


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("mod=linear", "--only mod=linear: there is no column mod; did you mean mode? columns are "),
        ("mode=lineer", "--only mode=lineer: no run has mode lineer; did you mean linear?"),
        ("fraction=0.7", "--only fraction=0.7: no run has fraction 0.7"),
        ("encoder=smal", "--only encoder=smal: no run has encoder smal; did you mean small?"),
    ],
)
def test_only_is_answered_with_the_nearest_column_and_value(word: str, answer: str, small_grid: Grid) -> None:
    with pytest.raises(UserError) as error:
        chosen(small_grid.downstream, [word])
    assert str(error.value).startswith(answer)


@pytest.mark.parametrize(
    ("words", "count"),
    [(["mode=linear"], 12), (["fraction=1"], 18), (["fraction=0.50,1.00"], 36), (["mode=linear,knn", "seed=0"], 12),
     (["pool="], 24), (["pool=few patients"], 12), (["initialisation=random", "mode=finetune"], 4)],
)  # fmt: skip
def test_only_narrows_the_choice(words: list[str], count: int, small_grid: Grid) -> None:
    found = chosen(small_grid.downstream, words)
    assert len(found) == count
    order = [run.run for run in small_grid.downstream]
    assert [run.run for run in found] == [name for name in order if name in {run.run for run in found}]


# What makes no sense


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("title: [3", r"plan.yaml: is not valid YAML \(line \d\); the shipped plans show how a plan looks"),
        ("- 1", "plan.yaml: holds no `option: value`; the shipped plans show how a plan looks"),
        ("", "plan.yaml: holds no `option: value`; the shipped plans show how a plan looks"),
        ("encoders: {small: test_resnet}", "plan.yaml, encoders.small: is no `option: value`; give its options, or "),
    ],
)
def test_a_file_that_is_no_plan_is_refused(text: str, fault: str, refused: Callable[..., str]) -> None:
    assert re.search(fault, refused(text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match=r"plan.yaml: is not valid YAML; the shipped plans show"):
        read_plan(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"seeds": "two"}, "seeds two: give a whole number"),
        ({"seeds": 0}, "seeds 0: give at least 1"),
        ({"fractions": [0, 1]}, "fractions"),
        ({"fractions": [1.5]}, "give shares above 0, at most 1"),
        ({"overlap": "ignore"}, "overlap ignore: give warn or refuse"),
        ({"methods": 3}, "methods 3: give names and values"),
        ({"methods": {"simclr": {"encoders": 3}}}, "plan.yaml, methods.simclr: encoders 3: give a list"),
        ({"methods": {"simclr": {"batch_size": "many"}}}, "plan.yaml, methods.simclr: --batch_size many: give a whole"),
        ({"methods": {"simclr": {"seed": 3}}}, "plan.yaml, methods.simclr: seed is set by the plan itself"),
        ({"modes": {"linear": {"unlabelled": ["scans"]}}}, "plan.yaml, modes.linear: a study learns from its"),
        ({"modes": {"linear": {"fractions": [1]}}}, "plan.yaml, modes.linear: fractions is set by the plan itself"),
        ({"pools": {"few": {"patients": "all"}}}, "plan.yaml, pools.few: --patients all: give a whole number, or null"),
        ({"methods": {}, "pools": {}, "initialisations": {}}, "names neither methods nor initialisations"),
        ({"initialisations": {"barlow_twins": {}}}, "barlow_twins is a method and an initialisation; rename one"),
        ({"encoders": {}}, "encoders: name at least one"),
    ],
)  # fmt: skip
def test_a_value_without_sense_is_answered_with_what_is_accepted(
    changes: dict[str, Any], answer: str, refused: Callable[..., str]
) -> None:
    sentence = refused(**changes)
    assert answer in sentence
    assert sentence.startswith("plan.yaml")


def test_a_plan_without_data_says_what_to_give(refused: Callable[..., str]) -> None:
    assert refused(data={}) == (
        "plan.yaml: names no labelled store; give --labelled STORE, or data.labelled in the plan"
    )
    assert refused(data={"labelled": "labelled"}) == (
        "plan.yaml: names nothing to pre-train on; give --unlabelled STORE, or data.unlabelled"
    )


def test_a_plan_that_is_nowhere_is_answered_with_the_shipped_ones() -> None:
    with pytest.raises(UserError) as error:
        read_plan(Path("cpuu"))
    assert str(error.value).startswith("cpuu: no such plan; did you mean cpu? shipped plans are ")


# What a plan says


def test_paths_of_a_plan_start_at_its_folder_and_those_of_the_command_line_here(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    file = write_plan(tmp_path / "plans" / "plan.yaml", initialisations={"ours": {"init": "encoder.safetensors"}})
    plan = read_plan(file)
    assert plan.data.labelled == tmp_path / "plans" / "labelled"
    assert plan.data.unlabelled == (tmp_path / "plans" / "scans",)
    assert plan.starts["ours"].init == str(tmp_path / "plans" / "encoder.safetensors")
    here = StudyDataConfig(Path("store"), ("a", "b"), ("ours=file.safetensors",))
    plan = read_plan(file, here)
    assert (plan.data.labelled, plan.data.unlabelled) == (Path("store"), (Path("a"), Path("b")))
    assert plan.starts["ours"].init == "file.safetensors"


def test_a_methods_own_options_go_over_those_of_all_and_its_recipe_below_both(tmp_path: Path) -> None:
    methods = {"moco": {"moco": {"queue": 64}, "batch_size": 4}, "second": {"method": "vicreg", "epochs": 2}}
    file = write_plan(tmp_path / "plan.yaml", methods=methods, pools={}, pretrain=merged(PLAN["pretrain"], seed_=None))
    with pytest.raises(UserError, match="there is no option seed_"):
        read_plan(file)
    plan = read_plan(write_plan(tmp_path / "plan.yaml", methods=methods, pools={}))
    moco, second = (plan.methods[name].configs["small"] for name in ("moco", "second"))
    assert (moco.method, moco.moco.queue, moco.batch_size, moco.epochs, moco.max_steps) == ("moco", 64, 4, 1000, 3)
    assert (second.method, second.batch_size, second.epochs) == ("vicreg", 8, 2)
    # The queue of MoCo's recipe differs from that of the dataclass; views come from each method's recipe.
    assert moco.views == recipe("moco", None).views
    assert second.optimizer == recipe("vicreg", None).optimizer
    assert moco.encoder == "test_resnet"
    assert moco.image_size == 32


def test_a_plan_that_names_no_recipe_takes_those_of_the_command_line(tmp_path: Path) -> None:
    options = {"image_size": 32, "pretrain": {}, "classify": {}, "modes": {"finetune": {}, "linear": {"epochs": 3}}}
    plan = read_plan(write_plan(tmp_path / "plan.yaml", methods={"simclr": {}}, pools={}, **options))
    assert plan.methods["simclr"].configs["small"] == recipe("simclr", encoder="test_resnet", image_size=32)
    assert plan.modes["finetune"] == classify_recipe(mode="finetune", image_size=32)
    assert plan.modes["linear"] == classify_recipe(mode="linear", image_size=32, epochs=3)


def test_recipes_and_presets_of_a_plan_bring_their_numbers(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "pretrain": {"recipe": "study"}, "methods": {"simclr": {"views": "ultrasound"}, "moco": {"recipe": None}},
        "classify": {"recipe": "study"}, "modes": {"finetune": {"views": "gentle"}, "linear": {"recipe": "adapt"}},
    }  # fmt: skip
    plan = read_plan(write_plan(tmp_path / "plan.yaml", pools={}, **options))
    simclr, moco = (plan.methods[name].configs["small"] for name in ("simclr", "moco"))
    small: dict[str, Any] = {"encoder": "test_resnet", "image_size": 32}
    assert simclr == recipe("simclr", "study", views={"name": "ultrasound"}, **small)
    assert moco == recipe("moco", None, **small)
    assert plan.modes["finetune"] == classify_recipe("study", mode="finetune", image_size=32, views={"name": "gentle"})
    assert plan.modes["linear"] == classify_recipe(mode="linear", image_size=32)


def test_the_plan_study_is_the_studys_protocol() -> None:
    plan = read_plan(Path("study"), StudyDataConfig(Path("store"), ("scans",)))
    for name, method in plan.methods.items():
        (config,) = method.configs.values()
        own = {"encoder": "resnet50", "image_size": 256, "epochs": 100, "checkpoint_minutes": 10}
        assert config == recipe(name, "study", **own), name  # type: ignore[arg-type]
    assert plan.modes == {mode: classify_recipe("study", mode=mode, image_size=256) for mode in ("finetune", "linear")}


@pytest.mark.parametrize("name", ["cpu", "demo"])
def test_plans_for_the_phantom_start_from_random_weights(name: str) -> None:
    plan = read_plan(Path(name))
    configs = [config for method in plan.methods.values() for config in method.configs.values()]
    assert {(config.recipe, config.init) for config in configs} == {(None, "random")}
    assert {(config.recipe, config.valid) for config in plan.modes.values()} == {("study", "whole")}


def test_a_pretraining_may_start_from_an_initialisation_of_the_plan(tmp_path: Path) -> None:
    changes = {
        "encoders": {"small": {"encoder": "test_resnet"}, "other": {"encoder": "test_vit"}},
        "initialisations": {"ImageNet": {"encoders": ["small"]}, "ours": {"init": "ours.safetensors"}},
        "methods": {
            "moco": {"init": "imagenet"},
            "simclr": {"init": "ours"},
            "byol": {"init": "random"},
            "vicreg": {"init": "more.safetensors"},
        },
        "pools": {},
    }
    file = write_plan(tmp_path / "plan.yaml", **changes)
    plan = read_plan(file, StudyDataConfig(weights=("ImageNet=given.safetensors",)))
    found = {name: [config.init for config in method.configs.values()] for name, method in plan.methods.items()}
    assert found == {
        "moco": ["given.safetensors", "imagenet"],  # the plan's ImageNet is for one of the encoders
        "simclr": [str(tmp_path / "ours.safetensors")] * 2,
        "byol": ["random"] * 2,
        "vicreg": [str(tmp_path / "more.safetensors")] * 2,
    }


def test_options_may_be_left_empty(tmp_path: Path) -> None:
    file = write_plan(tmp_path / "plan.yaml", pools=None, methods={"simclr": None}, modes={"linear": None})
    plan = read_plan(file)
    assert (list(plan.methods), list(plan.pools), list(plan.modes)) == (["simclr"], [], ["linear"])


# Shipped plans


@pytest.fixture(scope="module")
def small_grid(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Grid:
    return grid_of(write_plan(tmp_path_factory.mktemp("plan") / "plan.yaml", small_data))


def grid_of(file: Path) -> Grid:
    plan = read_plan(file)
    assert plan.data.labelled
    return Grid(plan, Store(plan.data.labelled), [Store(path) for path in plan.data.unlabelled])


def test_the_small_plan_has_the_runs_that_it_says(small_grid: Grid) -> None:
    assert len(small_grid.pretrainings) == 4
    assert len(small_grid.downstream) == (1 + 1 + 1) * 3 * 2 * 2


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_plan_reads_and_names_real_encoders(name: str) -> None:
    import timm

    here = StudyDataConfig(Path("store"), ("scans",))
    plan = read_plan(Path(name), here)
    assert plan.name == name
    for encoder in plan.encoders.values():
        assert encoder.encoder in timm.list_models()
    for method in plan.methods.values():
        assert method.configs


def test_the_cpu_plan_has_more_than_500_trainings(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "labelled"))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"not read before it is needed")
    plan = read_plan(Path("cpu"), StudyDataConfig(weights=(f"ImageNet={weights}",)))
    assert plan.phantom
    grid = Grid(plan, store, [store])
    modes = [run.mode for run in grid.downstream]
    raw = yaml.safe_load(shipped()["cpu"].read_text())
    # Seven methods and five pools, once a seed; random weights of two encoders; ImageNet's of one.
    starts = 7 + 5 + 2 + 1
    each = len(raw["fractions"]) * raw["seeds"]
    assert len(grid.downstream) == starts * len(raw["modes"]) * each
    assert modes.count("linear") == modes.count("finetune") == modes.count("knn") == starts * each
    assert modes.count("linear") + modes.count("finetune") >= 500
    assert len(grid.pretrainings) == 12 * raw["seeds"]
