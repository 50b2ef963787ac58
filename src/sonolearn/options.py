"""From the words of a command line and from YAML files to a config dataclass, with every mistake in one sentence."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser, set_parsing_settings

from sonolearn.command import Command, flat, nearest
from sonolearn.console import UserError


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
            raise UserError(f"{self.command}: `{word}` is positional: give it without {dashes}{word}") from cause
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
    found = load_yaml(file, f"--config {' '.join(str(file).splitlines())}", "--print_config prints an example")
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
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise UserError(f"{named}: is not valid YAML{line}; {remedy}") from error
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise UserError(f"{named}: cannot be read ({getattr(error, 'strerror', error)}); give a YAML file") from error
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
        if typing.get_origin(inner[0]) is typing.Literal:
            return f"{count} of {', '.join(map(str, typing.get_args(inner[0])))}"
        return f"{count} {_WORDS[inner[0]].split(maxsplit=1)[1]}s"
    if dataclasses.is_dataclass(kind):
        return f"options of its own: {', '.join(field.name for field in dataclasses.fields(kind))}"
    return _WORDS.get(typing.get_origin(kind) or kind, "a path, or a list of paths where it takes several")


_WORDS: dict[Any, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path",
    dict: "names and values, such as {name: 3}",
}  # fmt: skip


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


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def about_function(function: Callable[..., Any]) -> Any:
    """The parsed docstring of a command's function."""
    return parse_docstring(function.__doc__ or "")
