"""The command line: each command is a function of `sonolearn.commands`, its options are the fields of its config."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import sonolearn
from sonolearn import commands, config, recipes
from sonolearn.command import Command, bare_flags, config_first, flat, join_lists, name_groups, nearest
from sonolearn.config.study import StudyPlanConfig, StudyRunConfig
from sonolearn.console import Interrupted, UserError, as_json, for_terminal, quiet
from sonolearn.extras import naming_extras

EXIT_FAULT = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


STUDY = "study"
"""The command whose second word says what to do."""

COMMANDS = {
    "phantom": Command(commands.phantom, config.PhantomConfig, "out"),
    "prepare": Command(commands.prepare, config.PrepareConfig, "paths", "*"),
    "pretrain": Command(commands.pretrain, config.PretrainConfig, "stores", "+", recipes.layer_asked_for),
    "suggest": Command(commands.suggest, config.SuggestConfig, "stores", "+"),
    "embed": Command(commands.embed, config.EmbedConfig, "stores", "+"),
    "classify": Command(commands.classify, config.ClassifyConfig, "store", layer=recipes.classify_layer_asked_for),
    "predict": Command(commands.predict, config.PredictConfig, "paths", "+"),
    "deidentify": Command(commands.deidentify, config.DeidentifyConfig, "paths", "+"),
    "dicom": Command(commands.dicom, config.DicomConfig, "run"),
    "watch": Command(commands.watch, config.WatchConfig, "source"),
    "report": Command(commands.report, None, "runs", "+"),
    "study plan": Command(commands.study_plan, StudyPlanConfig, "plan"),
    "study run": Command(commands.study_run, StudyRunConfig, "plan"),
    "study status": Command(commands.study_status, None, "study"),
    "study report": Command(commands.study_report, None, "study"),
    "demo": Command(commands.demo, config.DemoConfig),
    "doctor": Command(
        commands.doctor, config.DoctorConfig, failed=lambda findings: any(f.state == "fault" for f in findings)
    ),
}

ANSWERS = {
    "--json": "the result as JSON on standard output, and nothing else there",
    "--quiet": "neither messages nor progress; warnings stay",
}
"""Words that every command takes, anywhere: how it answers."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit code 0, 1 where `doctor` finds a fault, 2 for the user's mistakes, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    asked = words[1:] if words[:1] == [STUDY] else words
    if not asked or asked[0] in ("-h", "--help"):
        print(overview(words[0] if asked is not words else ""))
        raise SystemExit(0 if asked else EXIT_USER_ERROR)
    if words[0] == "--version":
        print(f"sonolearn {sonolearn.__version__}")
        raise SystemExit(0)
    try:
        run(*command_of(words))
    except Interrupted as error:
        _stop(str(error), EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        _stop("interrupted; run the same command to continue", EXIT_INTERRUPTED)
    except UserError as error:
        _stop(str(error), EXIT_USER_ERROR)
    except OSError as error:
        # A file that vanishes, a broken disk: nothing that a traceback would help with.
        _stop(
            f"{error.filename or words[0]}: {error.strerror or error}; check it and run the same command",
            EXIT_USER_ERROR,
        )


def command_of(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The name of the command, of one word or of two, and the words that follow it."""
    count = 2 if words[0] == STUDY and len(words) > 1 else 1
    return " ".join(words[:count]), words[count:]


def run(name: str, words: Sequence[str]) -> None:
    """Parse the options of one command, call its function, and answer as asked."""
    arguments = parse(name, words)
    command = COMMANDS[name]
    with quiet("--quiet" in words), naming_extras():
        if "--json" in words:
            with contextlib.redirect_stdout(sys.stderr):
                result = command.function(**arguments)
            print(as_json(result))
        else:
            result = command.function(**arguments)
    if command.failed(result):
        raise SystemExit(EXIT_FAULT)


def parse(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Arguments of the function of a command: its paths, and `config` where it has one."""
    from sonolearn.options import build, make_parser, read_yaml  # the parser takes longer to load than help to print

    if name not in COMMANDS:
        raise UserError(f"there is no command {name}{nearest(name, COMMANDS) or ';'} `sonolearn --help` lists them")
    command = COMMANDS[name]
    parser = make_parser(name, command)
    files, words = config_first([word for word in words if word not in ANSWERS])
    from_files = {key: value for file in files for key, value in read_yaml(parser, file).items()}
    words = name_groups(words, command.config)
    if command.layer:
        parser.set_defaults(flat(command.layer(words, from_files)))
    options = parser.parse_args(join_lists(bare_flags(words, command.config), command.config)).as_dict()
    options.pop("config", None)
    if command.count == "*" and not options[name := str(command.positional)]:
        # argparse takes an absent list of arguments for an empty one, whatever a file says.
        options[name] = [Path(path) for path in from_files.get(name) or ()]
    paths = {key: options.pop(key) for key in (command.positional, "out", "labels") if key in options}
    if command.config is not None:
        paths["config"] = build(command.config, options)
    return paths


def overview(first: str = "") -> str:
    """What `sonolearn --help` prints, or `sonolearn study --help`: the commands whose first word is `first`."""
    lines = ["usage: sonolearn COMMAND [options]", "", (sonolearn.__doc__ or "").splitlines()[0], "", "commands:"]
    shown = {name: command for name, command in COMMANDS.items() if name.startswith(first)}
    lines += [f"  {name:12} {command.summary}" for name, command in shown.items()]
    lines += [
        "",
        "`sonolearn COMMAND --help` lists its options; every command takes --config FILE.yaml, --print_config,",
        f"{' and '.join(f'{word} ({meaning})' for word, meaning in ANSWERS.items())}.",
    ]
    return "\n".join(lines)


def _stop(sentence: str, code: int) -> NoReturn:
    print(f"sonolearn: {for_terminal(' '.join(sentence.splitlines()))}", file=sys.stderr)
    raise SystemExit(code)
