"""The command line: each command is a function of `sonolearn.commands`, its options are the fields of its config."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser, set_parsing_settings

import sonolearn
from sonolearn import commands, config
from sonolearn.console import Interrupted, UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Command:
    """A function, its config dataclass, and its positional argument with how often that may be given."""

    function: Callable[..., Any]
    config: type | None
    positional: str | None = None
    count: str | None = None


COMMANDS = {
    "phantom": Command(commands.phantom, config.PhantomConfig, "out"),
    "prepare": Command(commands.prepare, config.PrepareConfig, "paths", "*"),
    "pretrain": Command(commands.pretrain, config.PretrainConfig, "stores", "+"),
    "classify": Command(commands.classify, config.ClassifyConfig, "store"),
    "report": Command(commands.report, None, "runs", "+"),
    "demo": Command(commands.demo, config.DemoConfig),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit code 0, 2 for the user's mistakes, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        raise SystemExit(0 if words else EXIT_USER_ERROR)
    if words[0] == "--version":
        print(f"sonolearn {sonolearn.__version__}")
        raise SystemExit(0)
    try:
        run(words[0], words[1:])
    except Interrupted as error:
        _stop(str(error), EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        _stop("interrupted; run the same command to go on", EXIT_INTERRUPTED)
    except UserError as error:
        _stop(str(error), EXIT_USER_ERROR)


def run(name: str, words: Sequence[str]) -> None:
    """Parse the options of one command and call its function."""
    if name not in COMMANDS:
        raise UserError(f"there is no command {name}{_nearest(name, COMMANDS)}; `sonolearn --help` lists them")
    command = COMMANDS[name]
    parser = make_parser(name, command)
    options = parser.parse_args(join_lists(words, command.config)).as_dict()
    options.pop("config", None)
    paths = {key: options.pop(key) for key in (command.positional, "out", "labels") if key in options}
    if command.config is not None:
        paths["config"] = _build(command.config, options)
    command.function(**paths)


def overview() -> str:
    """What `sonolearn --help` prints."""
    lines = ["usage: sonolearn COMMAND [options]", "", (sonolearn.__doc__ or "").splitlines()[0], "", "commands:"]
    lines += [f"  {name:10} {_about(command.function).short_description}" for name, command in COMMANDS.items()]
    lines += [
        "",
        "`sonolearn COMMAND --help` lists its options; every command takes --config FILE.yaml, --print_config.",
    ]
    return "\n".join(lines)


def make_parser(name: str, command: Command) -> Parser:
    """The parser of one command: its paths, then an option for each field of its config."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    about = _about(command.function)
    helps = {p.arg_name: p.description for p in about.params}
    parser = Parser(prog=f"sonolearn {name}", description=about.short_description, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    if command.positional:
        count: dict[str, Any] = {"nargs": command.count} if command.count else {}
        parser.add_argument(command.positional, type=Path, help=helps[command.positional], **count)
    for option in ("labels", "out"):
        if option in helps and option != command.positional:
            parser.add_argument(f"--{option}", type=Path, required=option == "out", help=helps[option])
    if command.config is not None:
        parser.add_class_arguments(command.config, None)
    return parser


class Parser(ArgumentParser):
    """A parser whose errors are one sentence, with the nearest valid option where one was mistyped."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a `UserError` instead of printing the usage and leaving."""
        sentence = " ".join(message.split())
        unknown = re.search(r"(?:unrecognized arguments: |[Kk]ey ['\"]?)(?:--)?([\w.]+)", sentence)
        known = [action.dest for action in self._actions]
        if unknown and unknown.group(1) not in known:
            word = unknown.group(1)
            raise UserError(f"{self.prog}: there is no option {word}{_nearest(word, known)}; --help lists them") from ex
        value = re.search(r'[Kk]ey "([\w.]+)": Expected an? (.+?)\. Got value: (.*)', sentence)
        if value:
            wanted = re.sub(r"typing\.Literal|<class '(\w+)'>", r"\1", value.group(2))
            raise UserError(f"--{value.group(1)} {value.group(3)}: give {wanted}") from ex
        raise UserError(f"{self.prog}: {sentence}") from ex


def join_lists(words: Sequence[str], kind: type | None) -> list[str]:
    """Write `--fractions 0.1 1.0` as `--fractions=[0.1,1.0]`, for every option that takes several numbers."""
    lists = set(_list_options(kind)) if kind else set()
    joined: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        end = position
        while word in lists and end < len(words) and _is_number(words[end]):
            end += 1
        joined.append(f"{word}=[{','.join(words[position:end])}]" if end > position else word)
        position = end
    return joined


def _list_options(kind: type, prefix: str = "--") -> list[str]:
    """Dotted options of a config dataclass whose fields are tuples."""
    types, found = typing.get_type_hints(kind), list[str]()
    for field in dataclasses.fields(kind):
        inner = types[field.name]
        if dataclasses.is_dataclass(inner):
            found += _list_options(typing.cast(type, inner), f"{prefix}{field.name}.")
        elif typing.get_origin(inner) is tuple:
            found.append(prefix + field.name)
    return found


def _build(kind: type, options: dict[str, Any]) -> Any:
    """A config dataclass, and those nested in it, from parsed options."""
    types, values = typing.get_type_hints(kind), dict(options)
    for field in dataclasses.fields(kind):
        inner, value = types[field.name], values.get(field.name)
        if dataclasses.is_dataclass(inner) and isinstance(value, dict):
            values[field.name] = _build(typing.cast(type, inner), value)
        elif typing.get_origin(inner) is tuple and isinstance(value, list):
            values[field.name] = tuple(value)
    return kind(**values)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _nearest(word: str, known: typing.Iterable[str]) -> str:
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {matches[0]}?" if matches else ""


def _about(function: Callable[..., Any]) -> Any:
    return parse_docstring(function.__doc__ or "")


def _stop(sentence: str, code: int) -> NoReturn:
    print(f"sonolearn: {sentence}", file=sys.stderr)
    raise SystemExit(code)
