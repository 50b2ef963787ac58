"""The page of a study, or of runs of `pretrain` and `classify`; and the files that a study's page has beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import yaml

from sonolearn.console import UserError, duration
from sonolearn.pages import grouped, svg_uri, template
from sonolearn.reports.confusions import confusion_figure, confusion_table, plane_table, reliability_figure
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
    summary,
    verdict,
    warnings_of,
    widest,
    without_folders,
)
from sonolearn.reports.gains import gain_figure
from sonolearn.reports.pretraining import monitor_figures, pretrain_section, pretraining_table, pretrainings_shown
from sonolearn.reports.ranks import rank_figure
from sonolearn.reports.tables import (
    Table,
    error_tables,
    gain_tables,
    latex,
    other_score_tables,
    plane_tables,
    score_tables,
    table_of,
)
from sonolearn.reports.wording import EXPLAINED, counted, listed, setting_title, slugs
from sonolearn.runs import RUN_FILE, write_text, writing
from sonolearn.statistics.analysis import Analysis, analysis_of
from sonolearn.statistics.variance import PoolEffect
from sonolearn.study.read import PretrainRun, command_of
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
            f"part and plane; frames of {results.store['frame_size']} px. No patient is in two parts.{named}", shown,
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


@dataclass(frozen=True)
class Reproduction:
    """How to make it again.

    Attributes:
        intro: what `texts` are.
        texts: a plan, or commands, each with a line on where it was run.
        facts: versions, machine, hashes and times, by name.
    """

    intro: str
    texts: Sequence[tuple[str, str]]
    facts: Mapping[str, str]


def reproduction(results: StudyResults) -> Reproduction:
    """The plan of a study, or the commands of runs; names of folders only."""
    if results.sources:
        return Reproduction(
            "Options that are not shown had their defaults, which follow from the method, its recipe and its views. "
            f"Each run folder holds all of them in {RUN_FILE}; stores and encoders are named by their folders.",
            [(command_of(run), _made(run.record)) for run in results.sources],
            {},
        )
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
    return Reproduction(
        "The plan as it was run; stores and encoders are named by their folders. Each run with its hashes is a row of "
        "tables/runs.csv.",
        [(yaml.safe_dump(plan, sort_keys=False, allow_unicode=True, width=100).strip(), "")],
        {key: value for key, value in facts.items() if value},
    )


def _made(record: Mapping[str, Any]) -> str:
    """Hash, data, version and machine of a run."""
    machine = record["machine"]
    data = ", ".join(f"{name} {fingerprint}" for name, fingerprint in record["data"].items())
    cores = counted(machine["cores"], None, "core")
    where = f"{machine['processor']}, {cores}, {machine['system']}, Python {machine['python']}"
    return f"run {record['hash']} · {data} · sonolearn {record['sonolearn']} · {where}"


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
    """

    title: str = ""
    paragraphs: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()


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
        scores, others, names = self.analysis.scores, self.analysis.other_scores, self.analysis.names
        blocks = [Block(drawings=[overview(scores, self.looks)])]
        for setting, title in self.titles.items():
            rows, slug = _of(scores, setting), self.slugs[setting]
            alone = each_alone(rows, self.looks, f"curves_{slug}")
            sentences = [EXPLAINED.get(setting[1], ""), *answers(self.analysis, *setting, smallest=True)]
            tables = [
                *score_tables(rows, names, title, f"scores_{slug}"),
                *other_score_tables(_of(others, setting), names, title, f"other_scores_{slug}"),
            ]
            blocks.append(Block(title, [s for s in sentences if s], [alone] if alone else [], tables))
        return Part("Macro F1 against the label fraction", "", blocks, {"scores": scores, "other_scores": others})

    def gains(self) -> Part | None:
        """Gain over the baselines: ImageNet and random."""
        gains, blocks = self.analysis.gains, []
        for baseline in self.results.baselines:
            against = gains[gains["other"] == baseline]
            encoders = list(dict.fromkeys(against["encoder"]))
            for encoder, name in zip(encoders, slugs([("gain_over", baseline, one) for one in encoders]), strict=True):
                rows = against[against["encoder"] == encoder]
                title = f"Over {baseline}{f', {encoder}' if len(encoders) > 1 else ''}"
                tables = [table for setting in self.titles for table in self._gain_tables(rows, setting, baseline)]
                blocks.append(Block(title, (), [gain_figure(rows, self.looks, name)], tables))
        pairs = pd.DataFrame(self.analysis.statistics.pairs)
        files = {"gains": gains, "all_pairs": pairs}
        intro = "The same labels and the same test patients on both sides of each comparison."
        return Part("Gain over ImageNet and over random weights", intro, blocks, files) if blocks else None

    def _gain_tables(self, rows: pd.DataFrame, setting: tuple[str, str], baseline: str) -> list[Table]:
        own, (name,) = _of(rows, setting), slugs([("gain_over", baseline, self.slugs[setting])])
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
        """Confusion matrices of each encoder and mode, and how well each plane is told."""
        names, given = self.analysis.names, (self.analysis.runs, self.results.predictions, self.results.planes)
        table, planes = confusion_table(*given), plane_table(*given)
        blocks = []
        for setting, title in self.titles.items():
            slug = self.slugs[setting]
            drawing = confusion_figure(_of(table, setting), names, self.results.planes, f"confusion_{slug}")
            blocks.append(
                Block(title, (), [drawing], plane_tables(_of(planes, setting), names, title, f"planes_{slug}"))
            )
        return Part("Confusion", "", blocks, {"confusion": table, "planes": planes})

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


@dataclass(frozen=True)
class Page:
    """A page, and what may be written beside it.

    Attributes:
        html: it stands alone: it needs no network, no script and no other file.
        drawings: its figures.
        tables: its tables.
        files: what the tables show, unrounded, by name.
    """

    html: str
    drawings: Sequence[Drawing]
    tables: Sequence[Table]
    files: Mapping[str, pd.DataFrame]


def page_of(results: StudyResults) -> Page:
    """Make the page; equal results give equal pages.

    Raises:
        UserError: there is neither a downstream run nor a pre-training, or a picture is broken.
    """
    parts, shown, data_tables, files = list[Part](), dict[str, Any](), list[Table](), dict[str, pd.DataFrame]()
    failures = [failure_table(results.failures)] if len(results.failures) else []
    if len(results.runs):
        analysis = analysis_of(results.runs, results.predictions, results.planes, results.baselines)
        made = Parts(results, analysis)
        parts = list(made.all())
        data_tables, data = data_card(results)
        files = {"data": data, "runs": results.runs}
        shown = {
            "several": len(analysis.names) > 1,
            "summary": {title: summary(analysis, *setting) for setting, title in made.titles.items()},
            "basis": basis(results, analysis),
            "warnings": warnings_of(results, analysis),
        }
    html = template("report.html.j2", glue=glue, svg=svg_uri).render(
        title=results.title,
        parts=parts,
        pretrained=[pretrain_section(run) for run in results.sources if isinstance(run, PretrainRun)],
        cams=sheets(results.cams),
        data_tables=data_tables,
        reproduction=reproduction(results),
        failures=failures,
        **shown,
    )
    blocks = [block for part in parts for block in part.blocks]
    return Page(
        html,
        [drawing for block in blocks for drawing in block.drawings],
        [*(table for block in blocks for table in block.tables), *data_tables, *failures],
        {name: frame for part in parts for name, frame in part.files.items()} | files,
    )


def write_report(results: StudyResults, out: Path) -> Path:
    """Write the page alone.

    Args:
        results: of a study, or of runs.
        out: the HTML file.

    Returns:
        `out`.

    Raises:
        UserError: a broken picture, or a page that cannot be written.
    """
    if out.is_dir():
        raise UserError(f"{out}: is a folder; name a file, such as --out {out / 'report.html'}")
    write_text(out, page_of(results).html, checksum=False)  # anywhere, not in a run
    return out


def write_page(results: StudyResults, out: Path) -> Path:
    """Write the page of a study with its tables and figures.

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
    page = page_of(results)
    for earlier in (*(out / "tables").glob("*.[ct][se][vx]"), *(out / "figures").glob("*.[sp][vn]g")):
        earlier.unlink()
    for name, frame in page.files.items():
        with writing(out / "tables" / f"{name}.csv", checksum=False) as temporary:
            frame.to_csv(temporary, index=False)
    for table in page.tables:
        write_text(out / "tables" / f"{table.name}.tex", latex(table), checksum=False)
    for drawing in page.drawings:
        write_text(out / "figures" / f"{drawing.name}.svg", drawing.svg, checksum=False)
        with writing(out / "figures" / f"{drawing.name}.png", checksum=False) as temporary:
            temporary.write_bytes(drawing.png)
    write_text(out / "index.html", page.html, checksum=False)
    return out / "index.html"
