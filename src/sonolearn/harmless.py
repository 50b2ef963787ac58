"""Text from files (class names, makes of machines, file names), made so that no program takes it for more than text.

Pages escape it and LaTeX tables too; here is what concerns spreadsheets and terminals.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"\s*[=+\-@]")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)


def no_formula(text: str) -> str:
    """Text that spreadsheets do not compute: an apostrophe stands before what begins like a formula; numbers stay.

    >>> no_formula("=1+1"), no_formula("-1.5"), no_formula("4CH")
    ("'=1+1", '-1.5', '4CH')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def one_line(text: object) -> str:
    """Text with a space for each run of line breaks, tabs and characters that cannot be printed.

    >>> one_line("4CH\\x1b[31m\\n")
    '4CH [31m'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def for_terminal(text: str) -> str:
    """Lines of text without the control characters by which a terminal would move, colour or answer.

    >>> for_terminal("a\\x1b[2J\\n")
    'a�[2J\\n'
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _controls(letter) else letter for letter in text)


def _controls(letter: str) -> bool:
    return letter not in "\n\t" and (ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0)
