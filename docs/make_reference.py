"""Write docs/reference/commands.md, and the keys of plans in study.md, from the code: no option is described twice.

    python docs/make_reference.py

A test compares the pages with what this makes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docstring_parser import parse, parse_from_object

from sonolearn.cli import COMMANDS
from sonolearn.command import Command
from sonolearn.config.study import PoolPlan, StartPlan, StudyData, StudyPlan
from sonolearn.options import read_options
from sonolearn.runs import plain

PAGE = Path(__file__).parent / "reference" / "commands.md"
STUDY_PAGE = Path(__file__).parent / "reference" / "study.md"
BEGIN, END = "<!-- plan keys -->\n", "<!-- /plan keys -->"

INTRODUCTION = """# Commands

This page is made from the code by `docs/make_reference.py`; do not edit it.

Options are written `--name value`. Several numbers follow each other: `--fractions 0.01 0.1 1.0`. Options of a group
have a dot: `--views.flip 0`. `true` and `false` are written out. Every command also takes

- `--help`: its options, their types and defaults;
- `--config FILE.yaml`: any of its options from a YAML file; give it first, the command line wins over it;
- `--print_config`: write that YAML file to standard output and stop;
- `--json`: its result alone as JSON on standard output: a table as a list of rows, a store or page as its path;
- `--quiet`: neither messages nor progress; warnings stay.

Exit codes: 0 done; 1 `doctor` found a fault; 2 a mistake that you can mend, said in one sentence; 130 interrupted, what
was done is kept.
Messages and progress go to standard error, results to standard output.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(_section(name, command) for name, command in COMMANDS.items())])


def study_page(text: str) -> str:
    """The page of studies with the tables of a plan's keys between its marks made anew."""
    parts = {
        "A plan has these keys:": StudyPlan(encoders={"name": {}}),
        "`data`:": StudyData(),
        "Each of `pools`:": PoolPlan(),
        "Each of `initialisations`:": StartPlan(),
    }
    blocks = []
    for title, config in parts.items():
        rows = [
            f"| `{option}` | {'required' if option == 'encoders' and config.encoders else value} | {meaning} |"
            for option, value, meaning in options(config)
        ]
        blocks.append("\n".join([title, "", "| key | default | meaning |", "|---|---|---|", *rows, ""]))
    own = (
        "Each of `encoders` takes `encoder`, `encoder_args` and `small_stem`; `pretrain` and each of `methods` the\n"
        "options of [pretrain](commands.md#pretrain); `classify` and each of `modes` those of\n"
        "[classify](commands.md#classify); `data.phantom` and `data.prepare` those of [phantom](commands.md#phantom)\n"
        "and [prepare](commands.md#prepare).\n"
    )
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:start] + "\n".join([*blocks, own]) + text[end:]


def _section(name: str, command: Command) -> str:
    about = parse(command.function.__doc__ or "")
    helps = {p.arg_name: " ".join((p.description or "").split()) for p in about.params}
    lines = [f"## {name}", "", about.short_description or "", "", f"    {_usage(name, command, helps)}", ""]
    lines += ["| option | default | meaning |", "|---|---|---|"]
    if command.positional:
        lines.append(f"| `{command.positional.upper()}` | | {_sentence(helps[command.positional])} |")
    for option in ("labels", "out"):
        if option in helps and option != command.positional:
            default = "required" if option == "out" else "none"
            lines.append(f"| `--{option}` | {default} | {_sentence(helps[option])} |")
    if command.config is not None:
        # A recipe that is taken without being asked for sets defaults, too.
        defaults = read_options(command.config, {}, name, command.layer([], {}) if command.layer else None)
        lines += [f"| `--{option}` | {value} | {meaning} |" for option, value, meaning in options(defaults)]
    return "\n".join([*lines, ""])


def _usage(name: str, command: Command, helps: dict[str, str]) -> str:
    words = ["sonolearn", name]
    if command.positional:
        place = command.positional.upper()
        words.append({None: place, "*": f"[{place} ...]", "+": f"{place} [{place} ...]"}[command.count])
    if "labels" in helps:
        words.append("[--labels LABELS]")
    if "out" in helps and command.positional != "out":
        words.append("--out OUT")
    return " ".join([*words, "[options]"] if command.config else words)


def options(config: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Option, default and meaning of every field of a config dataclass and of those nested in it."""
    meanings = _meanings(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from options(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", _default(value), meanings[field.name]


def _meanings(kind: type) -> dict[str, str]:
    """The docstring below each field, those of its base classes included."""
    found: dict[str, str] = {}
    for base in reversed([k for k in kind.__mro__ if dataclasses.is_dataclass(k)]):
        found |= {p.arg_name: " ".join((p.description or "").split()) for p in parse_from_object(base).params}
    return found


def _default(value: Any) -> str:
    value = plain(value)
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return f"`{' '.join(f'{v:.4g}' if isinstance(v, float) else str(v) for v in value)}`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    STUDY_PAGE.write_text(study_page(STUDY_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
