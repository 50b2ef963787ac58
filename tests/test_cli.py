"""The command line: what it lists, what it refuses and in which words, and that files of options say the same."""

from __future__ import annotations

import dataclasses
import inspect
import re
import resource
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sonolearn import cli, options
from sonolearn.cli import COMMANDS
from sonolearn.recipes import recipe
from stores import write_store

# The shortest arguments with which each command can be called.
SHORTEST = {
    "phantom": ["out"], "prepare": ["scans", "--out", "out"], "pretrain": ["store", "--out", "out"],
    "suggest": ["store", "--out", "out"], "embed": ["store", "--out", "out.npz"],
    "classify": ["store", "--out", "out"], "predict": ["scan", "--out", "out"],
    "deidentify": ["scan", "--out", "out"], "dicom": ["run", "--out", "out"],
    "watch": ["inbox", "--out", "out"], "report": ["run", "--out", "page.html"], "demo": ["--out", "out"],
    "study plan": ["cpu", "--out", "out"], "study run": ["cpu", "--out", "out"],
    "study status": ["out"], "study report": ["out"], "doctor": [],
}  # fmt: skip

# Other values than the defaults, of every kind of option: what a person may well change.
CHANGED = {
    "phantom": ["--patients", "3", "--text", "false", "--labelled", "0.25"],
    "prepare": ["--split", "0.5", "0.25", "0.25", "--columns.plane=trimester", "--patient_pattern", "7", "--key", "k"],
    "pretrain": ["--views.blur", "1", "0", "--barlow_twins.projector", "32", "--optimizer.weight_decay", "1e-05",
                 "--encoder_args", "{channels: [4, 8]}", "--max_steps", "3"],
    "suggest": ["--count", "5", "--method", "k_medoids", "--init", "run", "--seed", "3"],
    "embed": ["--image_size", "64", "--encoder", "resnet18", "--precision", "32-true"],
    "classify": ["--fractions", "0.1", "1.0", "--mode", "knn", "--draw", "suggested", "--name", "ours",
                 "--views.randaugment", "2", "5"],
    "predict": ["--classifier", "run", "--frame_skip", "1", "--engine", "torch", "--cleaning.marks", "keep",
                "--batch", "8"],
    "deidentify": ["--dates", "shift", "--retain_device", "true", "--unclear", "keep", "--patient_pattern", "7"],
    "dicom": ["--keep_identity", "true", "--best_frames", "false", "--key", "k"],
    "watch": ["--classifier", "run", "--send_to", "http://127.0.0.1:8042/dicom-web", "--once", "true", "--poll", "5"],
    "report": [],
    "demo": ["--seeds", "2"],
    "study plan": ["--time", "false", "--workers", "3", "--weights", "ImageNet=a b.safetensors", "ours=c"],
    "study run": ["--only", "mode=linear,knn", "pool=", "--engine", "ray", "--address", "auto", "--threads", "2",
                  "--unlabelled", "a", "b, c", "--labelled", "d", "--retry_failed", "true"],
    "study status": [],
    "study report": [],
    "doctor": ["--encoder", "resnet18"],
}  # fmt: skip


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the commands were called with, instead of doing their work."""
    calls: list[dict[str, Any]] = []

    def recorder(function: Callable[..., Any]) -> Callable[..., Any]:
        def record(**arguments: Any) -> None:
            calls.append(arguments)

        record.__doc__ = function.__doc__
        return record

    for name, command in COMMANDS.items():
        recording = dataclasses.replace(command, function=recorder(command.function), failed=bool)
        monkeypatch.setitem(COMMANDS, name, recording)
    return calls


@pytest.fixture
def refused(called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """The one line with which a command line is refused; words are split at spaces."""

    def refuse(line: str) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main(line.split())
        assert stop.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("sonolearn: ")
        assert printed.err.count("\n") == 1
        assert called == []
        return printed.err.removeprefix("sonolearn: ").strip()

    return refuse


def printed_by(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 0
    return capsys.readouterr().out


# Help


def test_help_lists_every_command_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed_by(capsys, "--help").splitlines()
    for name in COMMANDS:
        assert any(re.match(rf"  {name} +\w.*\.$", line) for line in lines), name


def test_help_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "sonolearn", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: others may use the machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_no_help_imports_torch_or_another_heavy_library() -> None:
    script = (
        "import sys; from sonolearn import cli\n"
        "for words in [['--help'], *[[*name.split(), '--help'] for name in cli.COMMANDS]]:\n"
        "    try: cli.main(words)\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'timm', 'pandas', 'cv2', 'h5py', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def options_of(kind: type, prefix: str = "") -> Iterator[str]:
    """Dotted names of all options of a config dataclass."""
    types = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = types[field.name]
        if dataclasses.is_dataclass(inner):
            yield from options_of(typing.cast(type, inner), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_is_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = COMMANDS[name]
    parser = options.make_parser(name, command)
    actions = {action.dest: action for action in parser._actions}
    paths = {"out", command.positional} & set(inspect.signature(command.function).parameters)
    expected = {*(options_of(command.config) if command.config else ()), *paths}
    assert expected <= set(actions)
    for option in expected:
        assert len((actions[option].help or "").split()) >= 2 or actions[option].help == "The class.", option
    shown = printed_by(capsys, *name.split(), "--help")
    for option in expected - {command.positional, "out"}:
        assert f"--{option}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_documents_its_arguments(name: str) -> None:
    function = COMMANDS[name].function
    documented = {p.arg_name: p.description for p in options.about_function(function).params}
    arguments = set(inspect.signature(function).parameters)
    assert set(documented) == arguments
    assert all(documented.values())
    assert options.about_function(function).short_description.endswith(".")


# What is not there


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("pretran store --out out", "pretrain"),
        ("clasify store --out out", "classify"),
        ("prepare scans --out out --frame_skipp 3", "frame_skip"),
        ("pretrain store --out out --batch_sze 3", "batch_size"),
        ("pretrain store --out out --batch_sze=3", "batch_size"),
        ("pretrain store --out out --views.blr 1 0", "views.blur"),
        ("pretrain store --out out --veiws.blur 1 0", "views.blur"),
        ("pretrain store --out out --barlow_twins.projektor 32", "barlow_twins.projector"),
        ("prepare scans --out out --columns.plain=trimester", "columns.plane"),
        ('prepare scans --out out --columns {"plain":"x"}', "columns.plane"),
        ("classify store --out out --fraction 1", "fractions"),
        ("study rn cpu --out out", "study run"),
        ("studdy run cpu --out out", "study run"),
        ("study run cpu --out out --worker 3", "workers"),
        ("demo --out out --seedz 1", "seed"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(line: str, nearest: str, refused: Callable[[str], str]) -> None:
    assert f"did you mean {nearest}?" in refused(line)


def test_an_option_is_never_guessed_from_its_beginning(refused: Callable[[str], str]) -> None:
    assert "there is no option batch" in refused("pretrain store --out out --batch 32")


def test_a_word_like_nothing_is_answered_with_where_to_look(refused: Callable[[str], str]) -> None:
    assert refused("xyzzy") == "there is no command xyzzy; `sonolearn --help` lists them"
    assert "`sonolearn report --help` lists them" in refused("report run --out page.html --xyzzy")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("batch_sze: 3", "batch_size"),
        ("views:\n  blr: [1, 0]", "views.blur"),
        ("barlow_twins: {projektor: [32]}", "barlow_twins.projector"),
        ("store: [a]", "stores"),
    ],
)
def test_a_mistyped_key_of_a_file_is_answered_with_file_and_nearest(
    text: str, nearest: str, refused: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "options.yaml").write_text(text)
    answer = refused(f"pretrain store --out out --config {tmp_path / 'options.yaml'}")
    assert answer.startswith(f"{tmp_path / 'options.yaml'}: there is no option")
    assert f"did you mean {nearest}?" in answer


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("batch_size: [3", "is not valid YAML (line 1)"),
        ("a: 1\nb: :\n", "is not valid YAML (line 2)"),
        ("- 1", "holds no `option: value`"),
        ("", "holds no `option: value`"),
    ],
)
def test_a_file_that_is_no_file_of_options_is_refused(
    text: str, fault: str, refused: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "options.yaml").write_text(text)
    answer = refused(f"pretrain store --out out --config {tmp_path / 'options.yaml'}")
    assert answer == f"--config {tmp_path / 'options.yaml'}: {fault}; --print_config prints an example"


def test_a_missing_file_of_options_is_named(refused: Callable[[str], str]) -> None:
    answer = refused("pretrain store --out out --config nowhere.yaml")
    assert answer == "--config nowhere.yaml: cannot be read (No such file or directory); give a YAML file"


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("phantom", "out"), ("prepare scans", "--out"), ("pretrain", "stores and --out"), ("classify --out a", "store"),
        ("predict scan", "--out"), ("report run", "--out"), ("demo", "--out"),
    ],
)  # fmt: skip
def test_missing_paths_are_named(line: str, missing: str, refused: Callable[[str], str]) -> None:
    assert refused(line) == f"{line.split()[0]}: {missing} missing; --help says what to give"


def test_an_argument_too_many_is_named(refused: Callable[[str], str]) -> None:
    assert refused("classify a b --out c") == "classify: b is an argument too many; --help says what to give"


def test_study_alone_lists_its_four_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["study", "--help"])
    assert stop.value.code == 0
    listed = re.findall(r"^  (study \w+|\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert listed == ["study plan", "study run", "study status", "study report"]


def test_no_command_prints_the_overview_and_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 2
    assert "commands:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"sonolearn \d+\.\d+\.\d+\S*\n", printed_by(capsys, "--version"))


# Options that are true or false


@pytest.mark.parametrize(
    ("line", "profile", "small_stem"),
    [
        ("--profile", True, False),
        ("--profile --small_stem", True, True),
        ("--small_stem true --profile", True, True),
        ("--profile false --small_stem", False, True),
        ("--profile=true --batch_size 32", True, False),
    ],
)
def test_a_flag_may_stand_alone(line: str, profile: bool, small_stem: bool) -> None:
    config = cli.parse("pretrain", ["store", "--out", "run", *line.split()])["config"]
    assert (config.profile, config.small_stem) == (profile, small_stem)


# Wrong values


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("pretrain s --out o --batch_size many", "--batch_size many: give a whole number"),
        ("pretrain s --out o --batch_size 2.5", "--batch_size 2.5: give a whole number"),
        ("pretrain s --out o --batch_size", "--batch_size: give a whole number"),
        ("pretrain s --out o --views.flip often", "--views.flip often: give a number"),
        ("pretrain s --out o --views.blur 1", "--views.blur [1]: give 2 numbers"),
        ("phantom --out o", "phantom: `out` is positional: give it without --out"),
        ("pretrain s --out o --small_stem maybe", "--small_stem maybe: give true or false"),
        ("pretrain s --out o --max_steps few", "--max_steps few: give a whole number, or null"),
        ("pretrain s --out o --recipe studdy", "--recipe studdy: give adapt, study or paper, or null"),
        (
            "pretrain s --out o --method byoll",
            "--method byoll: give autoencoder, inpainting, simclr, moco, byol, barlow_twins or vicreg",
        ),
        ("pretrain s --out o --accelerator gpu", "--accelerator gpu: give auto, cpu, cuda or mps"),
        ("pretrain s --out o --encoder_args wide", "--encoder_args wide: give names and values, such as {name: 3}"),
        ("classify s --out o --mode banana", "--mode banana: give finetune, linear or knn"),
        ("classify s --out o --lr nan", "--lr nan: give a number"),
        ("study run cpu --out o --only mode", "--only mode: give COLUMN=VALUE, such as mode=linear"),
        ("study run cpu --out o --workers 0", "--workers 0: give at least 1"),
        ("study run cpu --out o --engine slurm", "--engine slurm: give local or ray"),
        ("study run cpu --out o --address auto", "--address: goes with --engine ray"),
        ("study run cpu --out o --only", "--only: give one or more texts"),
        (
            "prepare in --out o --cleaning.reject blurred",
            "--cleaning.reject blurred: give one or more of blank, menu, spectral, split, rendering, doppler, dark, "
            "small, frozen",
        ),
        (
            "study plan cpu --out o --weights a.safetensors",
            "--weights a.safetensors: give NAME=FILE, the name as in the plan's initialisations",
        ),
        (
            "prepare s --out o --columns plane",
            "--columns 'plane': give options of its own: image, plane, patient, split, machine, scan, frame",
        ),
        ("prepare s --out o --split 0.5 0.5", "--split [0.5, 0.5]: give 3 numbers"),
    ],
)
def test_a_wrong_value_is_answered_with_what_is_accepted(line: str, answer: str, refused: Callable[[str], str]) -> None:
    assert refused(line).replace('"', "'") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("views: 3", "views 3: give options of its own: name, crop_scale, "),
        ("views: {blur: [1, often]}", "--views.blur often: give 2 numbers"),
        ("epochs: null", "epochs has no value: give a whole number"),
        ("precision: 8", "--precision 8: give auto, 32-true, bf16-mixed or 16-mixed"),
        ("batch_size: yes", "--batch_size True: give a whole number"),
    ],
)
def test_a_wrong_value_in_a_file_is_answered_alike(
    text: str, answer: str, refused: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "options.yaml").write_text(text)
    assert answer in refused(f"pretrain store --out out --config {tmp_path / 'options.yaml'}")


# Values


def test_several_numbers_need_no_brackets(called: list[dict[str, Any]]) -> None:
    for words, expected in (
        (["0.1", "1.0"], (0.1, 1.0)), (["1.0"], (1.0,)), (["[0.5,1]"], (0.5, 1.0)), (["1e-2", "5e-1"], (0.01, 0.5)),
    ):  # fmt: skip
        cli.main(["classify", "store", "--out", "out", "--fractions", *words])
        assert called.pop()["config"].fractions == expected
    cli.main(["classify", "store", "--out", "out", "--fractions=0.5"])
    assert called.pop()["config"].fractions == (0.5,)
    cli.main(["prepare", "--labels", "t.csv", "--split", "0.5", "0.25", "0.25", "--out", "out"])
    assert called.pop()["config"].split == (0.5, 0.25, 0.25)
    cli.main(["pretrain", "--barlow_twins.projector", "32", "16", "--out", "out", "store", "other"])
    assert called[0]["config"].barlow_twins.projector == (32, 16)
    assert called[0]["stores"] == [Path("store"), Path("other")]


def test_several_texts_need_no_brackets_and_may_hold_anything(called: list[dict[str, Any]]) -> None:
    only = ["mode=linear,knn", "pool=few patients, 96 frames", "initialisation=a: [b] 'c'", "seed=0"]
    cli.main(["study", "run", "cpu", "--only", *only, "--out", "out"])
    assert called[0]["config"].only == tuple(only)
    cli.main(["study", "run", "--only=seed=1", "--unlabelled", "a", "1.0", "--workers", "2", "--out", "out", "cpu"])
    config = called[1]["config"]
    assert (config.only, config.unlabelled, config.workers) == (("seed=1",), ("a", "1.0"), 2)
    assert called[1]["plan"] == Path("cpu")


def test_nested_options_change_that_option_alone(called: list[dict[str, Any]]) -> None:
    cli.main(["prepare", "scans", "--out", "out", "--columns.plane=trimester"])
    columns = called[0]["config"].columns
    assert columns == dataclasses.replace(type(columns)(), plane="trimester")


@pytest.mark.parametrize("name", COMMANDS)
def test_without_options_a_command_gets_the_defaults(name: str, called: list[dict[str, Any]]) -> None:
    cli.main([*name.split(), *SHORTEST[name]])
    kind = COMMANDS[name].config
    if kind:
        # A recipe is taken without being asked for.
        assert called[0]["config"] == (recipe() if name == "pretrain" else kind())
    if SHORTEST[name]:
        assert called[0]["study" if name in ("study status", "study report") else "out"] == Path(SHORTEST[name][-1])


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("changed", [False, True])
def test_a_printed_config_fed_back_is_the_same_call(
    name: str, changed: bool, called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [*name.split(), *SHORTEST[name], *(CHANGED[name] if changed else [])]
    (tmp_path / "options.yaml").write_text(printed_by(capsys, *words, "--print_config"))
    cli.main(words)
    cli.main([*name.split(), "--config", str(tmp_path / "options.yaml")])
    assert called[0] == called[1]
    if changed and COMMANDS[name].config:
        assert called[0]["config"] != COMMANDS[name].config()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_config_printed_without_paths_is_a_template(
    name: str, called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "options.yaml").write_text(printed_by(capsys, *name.split(), "--print_config"))
    cli.main([*name.split(), *SHORTEST[name], "--config", str(tmp_path / "options.yaml")])
    cli.main([*name.split(), *SHORTEST[name]])
    assert called[0] == called[1]


def test_paths_may_stand_in_a_file(called: list[dict[str, Any]], tmp_path: Path) -> None:
    for name, paths in (
        ("phantom", {"out": "o"}), ("prepare", {"paths": ["a", "b"], "out": "o"}),
        ("prepare", {"labels": "t.csv", "out": "o"}), ("pretrain", {"stores": ["a", "b"], "out": "o"}),
        ("classify", {"store": "a", "out": "o"}), ("report", {"runs": ["a"], "out": "o"}),
    ):  # fmt: skip
        (tmp_path / "options.yaml").write_text(yaml.safe_dump(paths))
        cli.main([*name.split(), "--config", str(tmp_path / "options.yaml")])
        call = called.pop()
        for key, value in paths.items():
            assert call[key] == ([Path(p) for p in value] if isinstance(value, list) else Path(value))


def test_the_command_line_wins_over_a_file_and_a_later_file_over_an_earlier(
    called: list[dict[str, Any]], tmp_path: Path
) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("epochs: 1\nbatch_size: 10\nseed: 1\nout: nowhere")
    two.write_text("epochs: 2\nbatch_size: 20")
    cli.main(["pretrain", "store", "--epochs", "3", "--out", "out", "--config", str(one), f"--config={two}"])
    config = called[0]["config"]
    assert (config.epochs, config.batch_size, config.seed, called[0]["out"]) == (3, 20, 1, Path("out"))


# How a command ends


@pytest.mark.parametrize(
    ("error", "code", "answer"),
    [
        (KeyboardInterrupt(), 130, "interrupted; run the same command to continue"),
        (cli.Interrupted("out: stopped"), 130, "out: stopped"),
        (cli.UserError("a.csv: is empty; fill it"), 2, "a.csv: is empty; fill it"),
        (FileNotFoundError(2, "No such file or directory", "gone.csv"), 2, "gone.csv: No such file or directory; "),
        (OSError(5, "Input/output error"), 2, "phantom: Input/output error; "),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**arguments: Any) -> None:
        raise error

    fail.__doc__ = COMMANDS["phantom"].function.__doc__
    monkeypatch.setitem(COMMANDS, "phantom", dataclasses.replace(COMMANDS["phantom"], function=fail))
    with pytest.raises(SystemExit) as stop:
        cli.main(["phantom", "out"])
    assert stop.value.code == code
    printed = capsys.readouterr()
    assert printed.err.startswith(f"sonolearn: {answer}")
    assert printed.err.count("\n") == 1


def test_a_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**arguments: Any) -> None:
        raise ZeroDivisionError

    fail.__doc__ = COMMANDS["phantom"].function.__doc__
    monkeypatch.setitem(COMMANDS, "phantom", dataclasses.replace(COMMANDS["phantom"], function=fail))
    with pytest.raises(ZeroDivisionError):
        cli.main(["phantom", "out"])


class Held(Exception):  # noqa: N818 - no error, a place reached
    """Raised in place of a lock, with the folder that was to be held."""


@pytest.mark.parametrize("command", ["phantom", "prepare", "pretrain", "classify", "predict", "demo", "study run"])
def test_every_command_holds_the_folder_that_it_writes(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold(folder: Path | str) -> None:
        raise Held(str(folder))

    for place in ("commands", "ssl.pretrain", "study.run"):
        monkeypatch.setattr(f"sonolearn.{place}.alone_in", hold)
    out, store = str(tmp_path / "out"), str(write_store(tmp_path / "store"))
    words = {"phantom": [out], "demo": ["--out", out], "study run": ["demo", "--out", out]}
    more = ["--init", "random", "--encoder", "test_resnet", "--accelerator", "cpu"] if command == "pretrain" else []
    with pytest.raises(Held) as held:
        cli.main([*command.split(), *words.get(command, [store, "--out", out, *more])])
    assert str(held.value) == out


def test_a_name_that_no_file_can_have_is_one_sentence(refused: Callable[[str], str]) -> None:
    answer = "--config a\N{REPLACEMENT CHARACTER}b: cannot be read (embedded null byte)"
    assert refused("phantom out --config a\0b").startswith(answer)


def test_a_method_that_is_no_word_is_one_sentence(refused: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text("method: []\n")
    assert "--method" in refused(f"pretrain s --out o --config {tmp_path / 'options.yaml'}")
