"""What a command of the command line is; loads nothing that `--help` would have to wait for."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Command:
    """A function, its config dataclass, and its positional argument with how often that may be given."""

    function: Callable[..., Any]
    config: type | None
    positional: str | None = None
    count: str | None = None
    layer: Callable[[Sequence[str], Mapping[str, Any]], dict[str, Any]] | None = None
    """Defaults that depend on other options: from the words and the YAML files, nested options."""

    failed: Callable[[Any], bool] = lambda result: False
    """Whether a result of the function means that something is wrong: exit code 1."""

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


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
    """Dotted options of a config dataclass whose fields are tuples, and whether they are of texts or paths."""
    types = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = types[field.name]
        if dataclasses.is_dataclass(inner):
            yield from _list_options(typing.cast(type, inner), f"{prefix}{field.name}.")
        elif typing.get_origin(inner) is tuple:
            yield prefix + field.name, typing.get_args(inner)[0] in (str, Path)


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options under their dotted names."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """A question that names the most similar of the `known` words, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
