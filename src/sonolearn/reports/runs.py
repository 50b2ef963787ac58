"""`sonolearn report`: one self-contained HTML page of pre-training and classify runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sonolearn.console import UserError
from sonolearn.pages import svg_uri, template
from sonolearn.planes.initialisation import NAMES
from sonolearn.planes.results import mean_sd
from sonolearn.reports.figures import label_curves, lower_end
from sonolearn.reports.pretraining import pretrain_section
from sonolearn.reports.wording import EXPLAINED, MODES, counted, listed, percent, signed, summary_of, warnings_of
from sonolearn.runs import RUN_FILE, write_text
from sonolearn.study.read import (
    ClassifyRun,
    Difference,
    PretrainRun,
    baseline_of,
    command_of,
    paired_differences,
    read_run,
    stores_of,
)


@dataclass(frozen=True)
class ModeSection:
    """One mode on one store.

    Attributes:
        title: of the mode.
        explained: what the mode does.
        summary: sentences.
        figure: SVG of macro F1 against label fraction.
        scores: a group a label fraction, with a row a run.
        compared: name of the baseline, None where there is none.
        per_class: a group a run, with a row a plane.
        per_class_fractions: the label fractions of its columns.
        matrices: confusion matrices.
    """

    title: str
    explained: str
    summary: str
    figure: str
    scores: list[dict[str, Any]]
    compared: str | None
    per_class: list[dict[str, Any]]
    per_class_fractions: list[str]
    matrices: list[dict[str, Any]]


def mode_section(mode: str, runs: list[ClassifyRun], styles: dict[str, int], floor: float) -> ModeSection:
    """Everything that the report shows of the runs of one store and mode."""
    baseline = baseline_of(runs) if len(runs) > 1 else None
    fractions = sorted({fraction for run in runs for fraction in run.fractions})
    ends = list(dict.fromkeys((fractions[0], fractions[-1])))
    return ModeSection(
        title=MODES[mode],
        explained=EXPLAINED[mode],
        summary=summary_of(runs),
        figure=label_curves(runs, styles, floor),
        scores=score_groups(runs, baseline, fractions),
        compared=baseline.name if baseline else None,
        per_class=[_per_class(run, ends) for run in runs],
        per_class_fractions=[percent(fraction) for fraction in ends],
        matrices=[matrix(run, fraction) for run in runs for fraction in ends if fraction in run.fractions],
    )


def score_groups(runs: list[ClassifyRun], baseline: ClassifyRun | None, fractions: list[float]) -> list[dict[str, Any]]:
    """The big table: for every label fraction a row a run with its scores and its difference from the baseline."""
    differences = {
        (run.name, difference.fraction): difference
        for run in runs
        if baseline is not None and run is not baseline
        for difference in paired_differences(run, baseline)
    }
    groups = []
    for fraction in fractions:
        present = [run for run in runs if fraction in run.fractions]
        rows = [_score_row(run, fraction, differences.get((run.name, fraction))) for run in present]
        groups.append({"fraction": percent(fraction), "rows": rows})
    return groups


def _score_row(run: ClassifyRun, fraction: float, difference: Difference | None) -> dict[str, Any]:
    row = run.summary[run.summary["fraction"] == fraction].iloc[0]
    least, most = int(row["train_patients_min"]), int(row["train_patients_max"])
    return {
        "name": run.name,
        "images": int(row["train_images"]),
        "patients": str(least) if least == most else f"{least}\N{EN DASH}{most}",
        "seeds": int(row["seeds"]),
        "macro_f1": mean_sd(row["macro_f1_mean"], row["macro_f1_sd"]),
        "interval": f"{row['macro_f1_low']:.3f} to {row['macro_f1_high']:.3f}",
        "balanced_accuracy": mean_sd(row["balanced_accuracy_mean"], row["balanced_accuracy_sd"]),
        "accuracy": mean_sd(row["accuracy_mean"], row["accuracy_sd"]),
        "difference": signed(difference.mean) if difference else "",
        "difference_interval": _interval(difference) if difference else "",
        "shown": bool(difference and difference.shown),
    }


def _interval(difference: Difference) -> str:
    if math.isnan(difference.low):
        return "no interval"
    return f"{signed(difference.low)} to {signed(difference.high)}"


def _per_class(run: ClassifyRun, ends: list[float]) -> dict[str, Any]:
    """A row a plane with support, and precision, recall and F1 (means over seeds) at each of `ends`."""
    rows = []
    for plane in run.planes:
        of_plane = run.per_class[run.per_class["plane"] == plane]
        cells = []
        for fraction in ends:
            at = of_plane[of_plane["fraction"] == fraction]
            cells += [_mean(at["precision"]), _mean(at["recall"]), mean_sd(at["f1"].mean(), at["f1"].std(ddof=1))]
        support = run.store["parts"]["test"]["planes"][plane]
        rows.append({"plane": plane, "support": support, "cells": cells if support else ["none"] * len(cells)})
    return {"name": run.name, "rows": rows}


def _mean(values: Any) -> str:
    return f"{values.mean():.3f}" if len(values) else "none"


def matrix(run: ClassifyRun, fraction: float) -> dict[str, Any]:
    """The confusion matrix at one label fraction, counts added over seeds: share of each true plane, and count."""
    at = run.confusion[run.confusion["fraction"] == fraction]
    sums = at.groupby(["plane", "predicted"])["images"].sum()
    counts = np.array([[int(sums[truth, predicted]) for predicted in run.planes] for truth in run.planes])
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    rows = [
        {
            "plane": truth,
            "cells": [
                {"count": int(n), "share": round(float(s), 3), "percent": f"{100 * s:.0f}" if total else ""}
                for n, s in zip(counts[i], shares[i], strict=True)
            ],
        }
        for i, (truth, (total,)) in enumerate(zip(run.planes, totals, strict=True))
    ]
    seeds = int(at["seed"].nunique())
    return {"name": run.name, "fraction": percent(fraction), "planes": run.planes, "rows": rows, "seeds": seeds}


def report(runs: Sequence[Path], out: Path) -> Path:
    """Write one page about finished runs; it needs no network, no script and no other file.

    Args:
        runs: folders of pre-training and classify runs in any mix.
        out: the HTML file.

    Returns:
        `out`.

    Raises:
        UserError: no runs, a folder that is not a finished run, or a page that cannot be written.
    """
    if not runs:
        raise UserError("report needs at least one run; give the folders of `pretrain` and `classify` runs")
    if out.is_dir():
        raise UserError(f"{out}: is a folder; name a file, such as --out {out / 'report.html'}")
    found = [read_run(Path(path)) for path in dict.fromkeys(Path(run).resolve() for run in runs)]
    classified = [run for run in found if isinstance(run, ClassifyRun)]
    pretrained = [run for run in found if isinstance(run, PretrainRun)]
    names = unique_names(classified)
    classified = [replace(run, name=name) for run, name in zip(classified, names, strict=True)]
    runs_in_order: list[PretrainRun | ClassifyRun] = [*pretrained, *classified]
    sections = [_store_section(runs_of_store) for runs_of_store in by_store(classified)]
    page = template("runs.html.j2", svg=svg_uri, glue=_glue).render(
        title=_title(sections, pretrained),
        sections=sections,
        pretrained=[pretrain_section(run) for run in pretrained],
        reproduce=[_reproduce(run) for run in runs_in_order],
        run_file=RUN_FILE,
    )
    write_text(out, page, checksum=False)  # anywhere, not in a run
    return out


def by_store(runs: list[ClassifyRun]) -> list[list[ClassifyRun]]:
    """Runs of the same frames and labels together; figures are never averaged or compared across stores."""
    fingerprints = dict.fromkeys(run.store["fingerprint"] for run in runs)
    return [[run for run in runs if run.store["fingerprint"] == fingerprint] for fingerprint in fingerprints]


def unique_names(runs: list[ClassifyRun]) -> list[str]:
    """Names of the initialisations, with the run's folder where two of one store and mode are called the same."""
    keys = [(run.store["fingerprint"], run.mode, run.name) for run in runs]
    count = Counter(keys)
    return [f"{run.name} ({run.folder})" if count[key] > 1 else run.name for run, key in zip(runs, keys, strict=True)]


def _store_section(runs: list[ClassifyRun]) -> dict[str, Any]:
    styles = {name: number for number, name in enumerate(dict.fromkeys(run.name for run in runs))}
    modes = [mode for mode in MODES if any(run.mode == mode for run in runs)]
    floor = lower_end(runs)
    return {
        "store": runs[0].store,
        "warnings": warnings_of(runs),
        "from_zero": floor == 0,
        "modes": [mode_section(mode, [run for run in runs if run.mode == mode], styles, floor) for mode in modes],
    }


def _reproduce(run: PretrainRun | ClassifyRun) -> dict[str, Any]:
    machine = run.record["machine"]
    return {
        "folder": run.folder,
        "command": command_of(run).split(" --"),
        "hash": run.record["hash"],
        "data": ", ".join(f"{name} {fingerprint}" for name, fingerprint in run.record["data"].items()),
        "version": run.record["sonolearn"],
        "machine": f"{machine['processor']}, {counted(machine['cores'], None, 'core')}, {machine['system']}, "
        f"Python {machine['python']}",
        "stores": stores_of(run),
    }


def _title(sections: list[dict[str, Any]], pretrained: list[PretrainRun]) -> str:
    if not sections:
        methods = {NAMES.get(run.summary["method"], run.summary["method"]) for run in pretrained}
        return f"Pre-training with {listed(sorted(methods))}"
    names = dict.fromkeys(section["store"]["name"] for section in sections)
    return f"Plane classification on {listed(list(names))}"


def _glue(text: str) -> str:
    """No line break within 0.812 ± 0.034 or 5 %."""
    return text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}").replace(" %", "\N{NO-BREAK SPACE}%")
