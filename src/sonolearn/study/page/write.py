"""`write_page`: the page of a study, with its tables as CSV and LaTeX and its figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sonolearn.console import UserError
from sonolearn.pages import svg_uri, template
from sonolearn.runs import write_text, writing
from sonolearn.study.page.analysis import analysis_of
from sonolearn.study.page.canvas import Drawing
from sonolearn.study.page.card import data_card, failure_table, reproduction, sheets
from sonolearn.study.page.latex import latex
from sonolearn.study.page.parts import Part, Parts
from sonolearn.study.page.tables import Table
from sonolearn.study.page.words import answers, basis, glue, warnings_of
from sonolearn.study.results import StudyResults


def write_page(results: StudyResults, out: Path) -> Path:
    """Write one page about a study; it needs no network, no script and no other file.

    Args:
        results: of the study; at least one downstream run.
        out: a folder. It gets index.html; tables/*.csv, unrounded, and *.tex, for `\\input` with booktabs; and
            figures/*.svg and *.png, 180 mm wide, 200 dots per inch. Equal results give equal files; what an earlier
            page left there is taken away.

    Returns:
        out/index.html.

    Raises:
        UserError: no run is finished, a picture is broken, or the folder cannot be written.
    """
    if results.runs.empty:
        raise UserError(f"{out}: no run of the study is finished, so there is nothing to report; run the study first")
    analysis = analysis_of(results.runs, results.predictions, results.planes)
    made = Parts(results, analysis)
    parts = list(made.all())
    data_tables, data = data_card(results)
    failures = [failure_table(results.failures)] if len(results.failures) else []
    page = template("sonolearn.study", "study.html.j2", glue=glue, svg=svg_uri).render(
        title=results.title,
        answers={title: answers(analysis, *setting, smallest=False) for setting, title in made.titles.items()},
        basis=basis(results, analysis),
        warnings=warnings_of(results, analysis),
        parts=parts,
        cams=sheets(results.cams),
        data_tables=data_tables,
        reproduction=reproduction(results),
        failures=failures,
    )
    shown = [table for part in parts for block in part.blocks for table in (*block.tables, *block.hidden)]
    for earlier in (*(out / "tables").glob("*.[ct][se][vx]"), *(out / "figures").glob("*.[sp][vn]g")):
        earlier.unlink()
    _write_tables(out / "tables", parts, [*shown, *data_tables, *failures], {"data": data, "runs": results.runs})
    _write_figures(out / "figures", [figure for part in parts for block in part.blocks for figure in block.drawings])
    write_text(out / "index.html", page, checksum=False)
    return out / "index.html"


def _write_tables(folder: Path, parts: Iterable[Part], tables: Iterable[Table], more: dict[str, pd.DataFrame]) -> None:
    for part in parts:
        more = more | dict(part.files)
    for name, frame in more.items():
        with writing(folder / f"{name}.csv", checksum=False) as temporary:
            frame.to_csv(temporary, index=False)
    for table in tables:
        write_text(folder / f"{table.name}.tex", latex(table), checksum=False)


def _write_figures(folder: Path, drawings: Iterable[Drawing]) -> None:
    for drawing in drawings:
        write_text(folder / f"{drawing.name}.svg", drawing.svg, checksum=False)
        with writing(folder / f"{drawing.name}.png", checksum=False) as temporary:
            temporary.write_bytes(drawing.png)
