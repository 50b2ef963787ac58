"""Help, messages, docstrings and docs keep to plain technical English: forms that crept in before stay out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [page for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if page.name != "CHANGELOG.md"]
SOURCES = [*(ROOT / "src").rglob("*.py"), *PAGES]
NOUNS = "store|run|study|record|encoder|image|video|scan|picture|classifier|YAML|regular expression"

FORBIDDEN = {
    rf"(?<!there )\b(?:is|was) no (?:{NOUNS})\b": "is not a ...",
    r"as a word of its own": "is positional",
    r"\bmend (?:it|the)\b": "correct",
    r"\bso many (?:of the )?(?:frames|patients|scans|stored|steps|workers|processes)": "a number of ...",
    r"whole road": "complete workflow",
    r"(?:before you|to) go on\b": "continue",
    r"\bin-domain\b(?! pre-training)": "in-domain pre-training",
    r"\bF1 macro\b|\bmacro-F1\b": "macro F1",
    r"\bfinetun(?:ing|ed)\b": "fine-tuning, fine-tuned",
}
"""Pattern, and what to say instead; docs/reference/glossary.md lists the field's terms."""


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_file_uses_a_form_that_the_glossary_replaces(pattern: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in SOURCES
        if file.name != "glossary.md"
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == [], f"write instead: {FORBIDDEN[pattern]}"
