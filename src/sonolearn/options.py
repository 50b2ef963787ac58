"""From the words of a command line and from YAML files to a config dataclass, with every mistake in one sentence."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser, set_parsing_settings

from sonolearn.console import UserError


@dataclass(frozen=True)
class Command:
    """A function, its config dataclass, and its positional argument with how often that may be given."""

    function: Callable[..., Any]
    config: type | None
    positional: str | None = None
    count: str | None = None
    layer: Callable[[Sequence[str], Mapping[str, Any]], dict[str, Any]] | None = None
    """Defaults that depend on other options: from the words and the YAML files, nested options."""


def make_parser(name: str, command: Command) -> Parser:
    """The parser of one command: its paths, then an option for each field of its config."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    about = about_function(command.function)
    helps = {p.arg_name: p.description for p in about.params}
    parser = Parser(prog=f"sonolearn {name}", description=about.short_description, allow_abbrev=False)
    parser.options = command.config
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

    options: type | None = None
    """The config dataclass, for saying what an option takes."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a `UserError` instead of printing the usage and leaving."""
        sentence = " ".join(message.split())
        unknown = re.search(r"unrecognized arguments: (-*)([\w.]+)", sentence)
        inside = re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", sentence)
        missing = re.search(r"the following arguments are required: (.*)", sentence)
        value = re.search(r'[Kk]ey "([\w.]+)".*(?:Got value:|Given value:|Unable to load config) (.*)', sentence)
        alone = re.search(r"argument --([\w.]+): expected (?:one|at least one) argument", sentence)
        if unknown:
            self.refuse_unknown(unknown[2], unknown[1], ex)
        if inside:
            self.refuse_unknown(f"{inside[1]}.{inside[2]}", "--", ex)
        if missing:
            named = [name if self._is_positional(name) else f"--{name}" for name in missing[1].split(", ")]
            raise UserError(f"{self.command}: {' and '.join(named)} missing; --help says what to give") from ex
        if alone:
            raise UserError(f"--{alone[1]}: give {in_words(self.type_of(alone[1]))}") from ex
        if value:
            raise UserError(f"--{value[1]} {value[2]}: give {in_words(self.type_of(value[1]))}") from ex
        raise UserError(f"{self.command}: {sentence}") from ex

    @property
    def command(self) -> str:
        """Name of the command."""
        return self.prog.removeprefix("sonolearn ")

    @property
    def known(self) -> list[str]:
        """Dotted names of all options and arguments."""
        return [action.dest for action in self._actions]

    def refuse_unknown(self, word: str, dashes: str = "", cause: Exception | None = None, where: str = "") -> NoReturn:
        """Raise the error of an option that does not exist, or of an argument too many."""
        if not dashes and not where:
            raise UserError(f"{self.command}: {word} is an argument too many; --help says what to give") from cause
        if dashes and self._is_positional(word):
            raise UserError(f"{self.command}: give {word} as a word of its own, without {dashes}{word}") from cause
        hint = nearest(word, self.known)
        if where == self.prog:
            options = [name for name in self.known if "." not in name and name != "help"]
            listed = "" if hint else f"; it takes {', '.join(options)}"
        else:
            listed = f"{'' if hint else ';'} `sonolearn {self.command} --help` lists them"
        raise UserError(f"{where or self.command}: there is no option {word}{hint}{listed}") from cause

    def type_of(self, option: str) -> Any:
        """Type of a dotted option; None for the paths of the command."""
        kind: Any = self.options
        for name in option.split("."):
            kind = typing.get_type_hints(kind).get(name) if dataclasses.is_dataclass(kind) else None
        return kind

    def _is_positional(self, name: str) -> bool:
        return any(action.dest == name and not action.option_strings for action in self._actions)


def read_yaml(parser: Parser, file: Path) -> dict[str, Any]:
    """Read a file of options.

    Raises:
        UserError: it is missing or no YAML, names an option that does not exist, or gives it no value.
    """
    found = load_yaml(file, f"--config {file}", "--print_config prints an example")
    _check_keys(parser, file, found)
    return found


def load_yaml(file: Path, named: str, remedy: str) -> dict[Any, Any]:
    """The names and values that a YAML file holds.

    Args:
        file: the file.
        named: how errors call it.
        remedy: where an example is to be had.

    Raises:
        UserError: it is missing or no YAML, or holds something else.
    """
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{named}: cannot be read ({error.strerror}); give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise UserError(f"{named}: is no YAML{line}; {remedy}") from error
    if not isinstance(found, dict):
        raise UserError(f"{named}: holds no `option: value`; {remedy}")
    return found


def read_options(kind: type, found: Mapping[str, Any], where: str, defaults: Mapping[str, Any] | None = None) -> Any:
    """A config dataclass from a part of a YAML file that was read already.

    Args:
        kind: the dataclass.
        found: its options, nested as in the file.
        where: names file and part in errors, such as "cpu.yaml, methods.simclr".
        defaults: nested options that go over the dataclass's own defaults.

    Raises:
        UserError: an option does not exist, or its value makes no sense.
    """
    parser = Parser(prog=where, allow_abbrev=False, exit_on_error=True)
    parser.options = kind
    parser.add_class_arguments(kind, None)
    given = _groups_by_name(kind, found)
    _check_keys(parser, where, given)
    parser.set_defaults(flat(defaults or {}))
    try:
        return build(kind, parser.parse_object(given).as_dict())
    except UserError as error:
        raise UserError(f"{where}: {str(error).removeprefix(where).lstrip(': ')}") from error


def _groups_by_name(kind: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """`views: ultrasound` as `views: {name: ultrasound}`, for every group of options that has a name."""
    types = typing.get_type_hints(kind)
    named = {o for o, t in types.items() if dataclasses.is_dataclass(t) and "name" in typing.get_type_hints(t)}
    return {o: {"name": value} if o in named and isinstance(value, str) else value for o, value in found.items()}


def _check_keys(parser: Parser, file: Path | str, found: dict[Any, Any], prefix: str = "") -> None:
    for key, value in found.items():
        name = f"{prefix}{key}"
        if name not in parser.known:
            parser.refuse_unknown(name, where=str(file))
        kind = parser.type_of(name)
        if dataclasses.is_dataclass(kind) and isinstance(value, dict):
            _check_keys(parser, file, value, f"{name}.")
        elif dataclasses.is_dataclass(kind) or (value is None and kind and type(None) not in typing.get_args(kind)):
            raise UserError(f"{file}: {name} {'has no value' if value is None else value}: give {in_words(kind)}")


def in_words(kind: Any) -> str:
    """What an option of this type takes, for people."""
    inner = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) is typing.Literal:
        return _either([str(choice) for choice in inner])
    if type(None) in typing.get_args(kind):
        return f"{in_words(inner[0])}, or null"
    if typing.get_origin(kind) is tuple:
        count = "one or more" if Ellipsis in inner else str(len(inner))
        return f"{count} {_WORDS[inner[0]].split(maxsplit=1)[1]}s"
    if dataclasses.is_dataclass(kind):
        return f"options of its own: {', '.join(field.name for field in dataclasses.fields(kind))}"
    return _WORDS.get(typing.get_origin(kind) or kind, "a path, or a list of paths where it takes several")


_WORDS: dict[Any, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path",
    dict: "names and values, such as {name: 3}",
}  # fmt: skip


def name_groups(words: Sequence[str], kind: type | None) -> list[str]:
    """Write `--views ultrasound` as `--views.name=ultrasound`, for every group of options that has a name."""
    types = typing.get_type_hints(kind) if kind else {}
    groups = {
        f"--{option}"
        for option, inner in types.items()
        if dataclasses.is_dataclass(inner) and "name" in {field.name for field in dataclasses.fields(inner)}
    }
    named: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        named.append(f"{option}.name{equals}{value}" if option in groups else word)
    return named


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options under their dotted names."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def config_first(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The files given with --config, and all words with these in front: the command line wins over files."""
    files, others, rest = list[str](), list[str](), list(words)
    while rest:
        word = rest.pop(0)
        if word == "--config" and rest:
            files.append(rest.pop(0))
        elif word.startswith("--config="):
            files.append(word.removeprefix("--config="))
        else:
            others.append(word)
    front = [word for file in files for word in ("--config", file)]
    return [Path(file) for file in files], [*front, *others]


def bare_flags(words: Sequence[str], kind: type | None) -> list[str]:
    """Write `--profile` as `--profile=true`, for every option that is true or false and has no value behind it."""
    types = typing.get_type_hints(kind) if kind else {}
    flags = {f"--{option}" for option, inner in types.items() if inner is bool}
    after = [*words[1:], "--"]
    bare = [word in flags and follows.startswith("--") for word, follows in zip(words, after, strict=False)]
    return [f"{word}=true" if alone else word for word, alone in zip(words, bare, strict=True)]


def join_lists(words: Sequence[str], kind: type | None) -> list[str]:
    """Write `--fractions 0.1 1.0` as `--fractions=[0.1,1.0]`, for every option that takes several values.

    Numbers end where something else begins, texts at the next option.
    """
    lists = dict(_list_options(kind)) if kind else {}
    joined: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        option, equals, value = word.partition("=")
        if equals and option in lists and value[:1] not in "[(":
            word = f"{option}={_as_list([value], lists[option])}"
        end = position
        while word in lists and end < len(words) and _goes_on(words[end], lists[word]):
            end += 1
        joined.append(f"{word}={_as_list(words[position:end], lists[word])}" if end > position else word)
        position = end
    return joined


def _goes_on(word: str, texts: bool) -> bool:
    """Whether a word is a further value of an option that takes several texts, or several numbers."""
    return word[:1] not in "-[(" if texts else _is_number(word)


def _as_list(values: Sequence[str], texts: bool) -> str:
    """The values as YAML has a list of them; texts may hold anything."""
    return json.dumps(list(values)) if texts else f"[{','.join(values)}]"


def _list_options(kind: type, prefix: str = "--") -> Iterator[tuple[str, bool]]:
    """Dotted options of a config dataclass whose fields are tuples, and whether they are of texts."""
    types = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = types[field.name]
        if dataclasses.is_dataclass(inner):
            yield from _list_options(typing.cast(type, inner), f"{prefix}{field.name}.")
        elif typing.get_origin(inner) is tuple:
            yield prefix + field.name, typing.get_args(inner)[0] is str


def build(kind: type, options: dict[str, Any]) -> Any:
    """A config dataclass, and those nested in it, from parsed options."""
    types, values = typing.get_type_hints(kind), dict(options)
    for field in dataclasses.fields(kind):
        inner, value = types[field.name], values.get(field.name)
        if dataclasses.is_dataclass(inner) and isinstance(value, dict):
            values[field.name] = build(typing.cast(type, inner), value)
        elif typing.get_origin(inner) is tuple and isinstance(value, list):
            values[field.name] = tuple(value)
    return kind(**values)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """A question that names the most similar of the `known` words, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def about_function(function: Callable[..., Any]) -> Any:
    """The parsed docstring of a command's function."""
    return parse_docstring(function.__doc__ or "")
