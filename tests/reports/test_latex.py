"""Tables in LaTeX: whatever names hold, environments and braces balance, and no special letter stands raw."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.fake_study import Wish, study_of
from sonolearn.reports.page import write_page
from sonolearn.reports.tables import Cell, Table, escape, latex

ODD = ("<b>&_%", "4CH", "$x^2#{}~\\")
COMMANDS = r"\\textbackslash\{\}|\\text[a-z]+\{\}|\{''\}|\$\\?[a-z]+\$|\$-\$|\\[{}%_&#$]"


@given(st.text(alphabet=st.sampled_from('ab %_&#${}~^\\<>|"±−≈●–\n')))
def test_no_special_letter_stays_raw(text: str) -> None:
    left = re.sub(COMMANDS, "", escape(text))
    assert not re.search(r"[%_&#${}^\\<>|\"±−≈●–\n]", left)


def test_a_table_has_as_many_cells_in_each_line_as_columns() -> None:
    rows = [[Cell("a & b"), Cell("0.5 ± 0.1", "0.4 to 0.6", "best")], [Cell("c"), Cell("")]]
    lines = [
        line for line in latex(Table("t", "A_b", [Cell("x"), Cell("5 %")], rows)).splitlines() if line.endswith(r"\\")
    ]
    assert len(lines) == 4  # head, row, its note, row
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [1] * 4
    assert lines[1] == r"a \& b & \textbf{$\bullet$ 0.5 $\pm$ 0.1} \\"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("tables")
    write_page(study_of(Wish(planes=ODD, failures=1, modes=("linear",), embeddings=False)), out)
    return sorted((out / "tables").glob("*.tex"))


def test_every_table_of_a_page_is_balanced(tables: list[Path]) -> None:
    assert {"data.tex", "failures.tex", "pretrainings.tex", "scores_resnet18_linear.tex"} <= {t.name for t in tables}
    for table in tables:
        text = re.sub(r"^%.*\n", "", table.read_text())
        begun, ended = (re.findall(rf"\\{word}\{{(\w+)\}}", text) for word in ("begin", "end"))
        assert begun == ended[::-1] == ["table", "tabular"]
        bare = re.sub(r"\\[\\{}%_&#$]", "", text)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        assert "%" not in bare


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tables_compile(tables: list[Path], tmp_path: Path) -> None:
    inputs = "\n".join(rf"\input{{{table}}}" for table in tables)
    (tmp_path / "all.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{inputs}\end{{document}}"
    )
    subprocess.run(["pdflatex", "-halt-on-error", "all.tex"], cwd=tmp_path, check=True, capture_output=True)
