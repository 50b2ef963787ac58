"""The parts of the page in their order, each a title with paragraphs, figures and tables; empty ones are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sonolearn.study.page.analysis import BASELINES, Analysis
from sonolearn.study.page.canvas import Drawing, Look, looks
from sonolearn.study.page.confusions import confusion_figure, confusion_table
from sonolearn.study.page.curves import each_alone, overview
from sonolearn.study.page.embeddings import embedding_figures
from sonolearn.study.page.gains import gain_figure
from sonolearn.study.page.pretrainings import monitor_figures, pretraining_table, pretrainings_shown
from sonolearn.study.page.ranks import rank_figure
from sonolearn.study.page.reliability import reliability_figure
from sonolearn.study.page.score_tables import error_tables, gain_tables, score_tables
from sonolearn.study.page.sizes import size_figure
from sonolearn.study.page.tables import Table
from sonolearn.study.page.wording import setting_title, slugs
from sonolearn.study.page.words import answers
from sonolearn.study.results import StudyResults
from sonolearn.study.statistics.variance import PoolEffect
from sonolearn.study.statistics.variance_words import verdict, widest
from sonolearn.study.statistics.words import ranked
from sonolearn.study.words import EXPLAINED


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
