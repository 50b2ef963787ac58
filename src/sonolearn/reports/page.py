"""`write_page`: the page of a study, with its tables as CSV and LaTeX and its figures as SVG and PNG."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import yaml

from sonolearn.console import UserError, duration
from sonolearn.pages import grouped, svg_uri, template
from sonolearn.reports.confusions import confusion_figure, confusion_table, reliability_figure
from sonolearn.reports.curves import each_alone, overview, size_figure
from sonolearn.reports.embeddings import embedding_figures
from sonolearn.reports.figures import Drawing, Look, looks
from sonolearn.reports.findings import (
    answers,
    basis,
    glue,
    machine_without_names,
    plan_without_paths,
    ranked,
    verdict,
    warnings_of,
    widest,
    without_folders,
)
from sonolearn.reports.gains import gain_figure
from sonolearn.reports.pretraining import monitor_figures, pretraining_table, pretrainings_shown
from sonolearn.reports.ranks import rank_figure
from sonolearn.reports.tables import Table, error_tables, gain_tables, latex, score_tables, table_of
from sonolearn.reports.wording import EXPLAINED, listed, setting_title, slugs
from sonolearn.runs import write_text, writing
from sonolearn.statistics.analysis import BASELINES, Analysis, analysis_of
from sonolearn.statistics.variance import PoolEffect
from sonolearn.study.results import StudyResults

WIDEST = 1600
"""Widest picture in the page, px."""


def data_card(results: StudyResults) -> tuple[list[Table], pd.DataFrame]:
    """Patients, images and planes of each part; test images of each machine. Second, the same as one table."""
    parts = results.store["parts"]
    lines = ["patients", "images", *results.planes]
    numbers = pd.DataFrame({
        name: [part["patients"], part["images"], *(part["planes"][plane] for plane in results.planes)]
        for name, part in parts.items()
    }, index=lines)  # fmt: skip
    heads = [line.capitalize() if line in lines[:2] else line for line in lines]
    shown = pd.DataFrame({"": heads, **{name: [grouped(int(n)) for n in numbers[name]] for name in parts}})
    machines = results.store["machines"]
    named = f" Machines: {listed(list(machines))}." if machines else ""
    tables = [
        table_of(
            "data", f"Labelled store {results.store['name']}, fingerprint {results.store['fingerprint']}: images by "
            f"part and plane. No patient is in two parts.{named}", shown,
        )
    ]  # fmt: skip
    by_machine = results.images.groupby("machine").agg(patients=("patient", "nunique"), images=("row", "size"))
    if len(by_machine) > 1:
        rows = pd.DataFrame({
            "Machine": [name or "unknown" for name in by_machine.index],
            **{what.capitalize(): by_machine[what].astype(str).to_list() for what in ("patients", "images")},
        })  # fmt: skip
        tables.append(table_of("machines", "The test part by machine.", rows))
    return tables, numbers.rename_axis("what").reset_index()


def reproduction(results: StudyResults) -> dict[str, Any]:
    """The plan as YAML, versions, machine, hashes and times; names of folders only."""
    plan = plan_without_paths(results.plan, results.planes)
    runs = results.runs
    facts = {
        "sonolearn": listed(sorted(set(runs["sonolearn"].astype(str)))),
        **{key.capitalize(): value for key, value in machine_without_names(results.machine).items()},
        "Store": f"{results.store['name']}, {results.store['fingerprint']}",
        "Data": listed(sorted(set(runs["data_hash"].astype(str)))),
        "Settings": f"{runs['config_hash'].nunique()} different, see config_hash in tables/runs.csv",
        "All trainings": duration(results.seconds),
        "From start to end": duration(results.wall_seconds),
    }
    return {
        "plan": yaml.safe_dump(plan, sort_keys=False, allow_unicode=True, width=100).strip(),
        "facts": {key: value for key, value in facts.items() if value},
    }


def failure_table(failures: pd.DataFrame) -> Table:
    """Tasks that failed, with their errors; no paths."""
    texts = failures[["task", "error"]].astype(str).map(without_folders)
    return table_of("failures", "Tasks that failed, and why.", texts.rename(columns=str.capitalize), 2)


def sheets(cams: Mapping[str, bytes]) -> list[dict[str, str]]:
    """Grad-CAM sheets as data URIs: JPEGs, for PNGs of speckle take megabytes."""
    return [{"label": label, "uri": _picture(label, png)} for label, png in cams.items()]


def _picture(label: str, png: bytes) -> str:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"the Grad-CAM sheet of {label} is not a picture; delete it and run the study again")
    height, width = picture.shape[:2]
    if width > WIDEST:
        picture = cv2.resize(picture, (WIDEST, round(height * WIDEST / width)), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"


@dataclass(frozen=True)
class Block:
    """What stands under one heading of a part, in this order.

    Attributes:
        title: a smaller heading; none where empty.
        paragraphs: sentences.
        drawings: figures.
        tables: tables.
        hidden: tables that are written as LaTeX but not shown.
    """

    title: str = ""
    paragraphs: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    hidden: Sequence[Table] = ()


@dataclass(frozen=True)
class Part:
    """A part of the page.

    Attributes:
        title: its heading.
        intro: what it is about.
        blocks: what it holds.
        files: tables written as CSV, unrounded, by name.
    """

    title: str
    intro: str
    blocks: Sequence[Block]
    files: Mapping[str, pd.DataFrame]


class Parts:
    """Makes the parts; one object a page, so that initialisations look alike in all figures."""

    def __init__(self, results: StudyResults, analysis: Analysis) -> None:
        """Take the results and what the statistics made of them."""
        self.results, self.analysis = results, analysis
        self.looks: dict[str, Look] = looks(analysis.names)
        encoders = len({encoder for encoder, _ in analysis.settings})
        self.titles = {setting: setting_title(*setting, encoders) for setting in analysis.settings}
        self.slugs = dict(zip(analysis.settings, slugs(analysis.settings), strict=True))

    def all(self) -> Iterator[Part]:
        """The parts that have material."""
        made = (
            self.scores(), self.gains(), self.sizes(), self.ranks(), self.confusions(), self.calibration(),
            self.pretrainings(), self.embeddings(),
        )  # fmt: skip
        return (part for part in made if part)

    def scores(self) -> Part:
        """Curves, and a block an encoder and mode with the big table."""
        scores = self.analysis.scores
        blocks = [Block(drawings=[overview(scores, self.looks)])]
        for setting, title in self.titles.items():
            rows, slug = _of(scores, setting), self.slugs[setting]
            alone = each_alone(rows, self.looks, f"curves_{slug}")
            sentences = [EXPLAINED.get(setting[1], ""), *answers(self.analysis, *setting, smallest=True)]
            tables = score_tables(rows, self.analysis.names, title, f"scores_{slug}")
            blocks.append(Block(title, [s for s in sentences if s], [alone] if alone else [], tables))
        return Part("Macro F1 against the label fraction", "", blocks, {"scores": scores})

    def gains(self) -> Part | None:
        """Gain over ImageNet and over random."""
        gains, blocks = self.analysis.gains, []
        for baseline in BASELINES:
            against = gains[gains["other"] == baseline]
            encoders = list(dict.fromkeys(against["encoder"]))
            for number, encoder in enumerate(encoders):
                rows = against[against["encoder"] == encoder]
                name = f"gain_over_{baseline.lower()}_{slugs([(one,) for one in encoders])[number]}"
                title = f"Over {baseline}{f', {encoder}' if len(encoders) > 1 else ''}"
                tables = [table for setting in self.titles for table in self._gain_tables(rows, setting, baseline)]
                blocks.append(Block(title, (), [gain_figure(rows, self.looks, name)], (), tables))
        pairs = pd.DataFrame(self.analysis.statistics.pairs)
        files = {"gains": gains, "all_pairs": pairs}
        intro = "The same labels and the same test patients on both sides of each comparison."
        return Part("Gain over ImageNet and over random weights", intro, blocks, files) if blocks else None

    def _gain_tables(self, rows: pd.DataFrame, setting: tuple[str, str], baseline: str) -> list[Table]:
        own, name = _of(rows, setting), f"gain_over_{baseline.lower()}_{self.slugs[setting]}"
        return gain_tables(own, self.analysis.names, self.titles[setting], name) if len(own) else []

    def sizes(self) -> Part | None:
        """Variance against size."""
        pools = self.analysis.pools
        if pools.empty:
            return None
        effects = pd.DataFrame(self.analysis.effects)
        sentences = self._verdicts()
        if not sentences:
            sentences = [
                "No two pools differ in patients alone or in frames alone, so that the two cannot be told apart."
            ]
        files = {"pools": pools} | ({"pool_effects": effects.drop(columns="steps")} if len(effects) else {})
        intro = "Do encoders learn more from more patients, or from more frames of the same patients?"
        return Part("Variance against size", intro, [Block("", sentences, [size_figure(pools)])], files)

    def _verdicts(self) -> list[str]:
        """A paragraph an encoder and mode: what was found over all initialisations together."""
        found = dict[tuple[str, str], list[PoolEffect]]()
        for effect in self.analysis.effects:
            found.setdefault((effect.encoder, effect.mode), []).append(effect)
        encoders = len({encoder for encoder, _ in (*self.titles, *found)})
        return [
            f"{setting_title(*setting, encoders)}. {' '.join(verdict(effect) for effect in widest(effects))}"
            for setting, effects in found.items()
        ]

    def ranks(self) -> Part | None:
        """Mean ranks with a critical difference."""
        found = {(one.encoder, one.mode): one for one in self.analysis.statistics.ranks if one.described_blocks}
        ranks = {self.titles[setting]: found[setting] for setting in self.titles if setting in found}
        if not ranks:
            return None
        table = pd.DataFrame([
            {"encoder": one.encoder, "mode": one.mode, "initialisation": name, "described": described, "tested": tested,
             "units": one.blocks, "critical_difference": one.critical_difference}
            for one in found.values()
            for name, described, tested in zip(one.names, one.described, one.tested, strict=True)
        ])  # fmt: skip
        encoders = list(dict.fromkeys(encoder for encoder, _ in self.titles))
        blocks = []
        for encoder, slug in zip(encoders, slugs([(one,) for one in encoders]), strict=True):
            own = {title: one for title, one in ranks.items() if one.encoder == encoder}
            sentences = [f"{title}. {ranked(one)}" if len(own) > 1 else ranked(one) for title, one in own.items()]
            if own:
                drawing = rank_figure(own, self.looks, f"ranks_{slug}")
                blocks.append(Block(encoder if len(encoders) > 1 else "", sentences, [drawing]))
        return Part("Ranks", "", blocks, {"ranks": table})

    def confusions(self) -> Part:
        """Confusion matrices of each encoder and mode."""
        table = confusion_table(self.analysis.runs, self.results.predictions, self.results.planes)
        blocks = []
        for setting, title in self.titles.items():
            name = f"confusion_{self.slugs[setting]}"
            drawing = confusion_figure(_of(table, setting), self.analysis.names, self.results.planes, name)
            blocks.append(Block(title, (), [drawing]))
        return Part("Confusion", "", blocks, {"confusion": table})

    def calibration(self) -> Part | None:
        """Reliability curves and calibration errors."""
        errors, curves, names = self.analysis.errors, self.analysis.curves, self.analysis.names
        if errors.empty:
            return None
        blocks = []
        for setting, title in self.titles.items():
            slug, rows = self.slugs[setting], _of(errors, setting)
            if len(rows):
                drawing = reliability_figure(_of(curves, setting), names, f"reliability_{slug}")
                blocks.append(Block(title, (), [drawing], error_tables(rows, names, title, f"calibration_{slug}")))
        intro = (
            "Whether a classifier that gives the plane it names a probability of 0.8 is right in 8 of 10 such cases."
        )
        return Part("Calibration", intro, blocks, {"calibration": errors, "reliability": curves})

    def pretrainings(self) -> Part | None:
        """Monitors of the pre-trainings of the main comparison, and a table of all."""
        table = pretraining_table(self.results.runs, self.results.pretrained)
        if table.empty:
            return None
        main = table[table["pretrain"].isin(self.analysis.runs["pretrain"])]
        drawings = monitor_figures(main, self.results.pretrained)
        intro = "Monitors tell whether frames are still told apart, not how well planes are."
        shown = [Block("", (), drawings, [pretrainings_shown(table)])]
        return Part("Pre-trainings", intro, shown, {"pretrainings": table})

    def embeddings(self) -> Part | None:
        """Maps of the features of the test images."""
        drawings = embedding_figures(self.results.embeddings, self.results.images, self.results.planes)
        return Part("Features of the test images", "", [Block("", (), drawings)], {}) if drawings else None


def _of(frame: pd.DataFrame, setting: tuple[str, str]) -> pd.DataFrame:
    return frame[(frame["encoder"] == setting[0]) & (frame["mode"] == setting[1])]


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
    page = template("study.html.j2", glue=glue, svg=svg_uri).render(
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
