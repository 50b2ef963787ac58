"""`sonolearn report`: one self-contained HTML page of pre-training and classify runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonolearn.console import UserError
from sonolearn.pages import svg_uri, template
from sonolearn.planes.initialisation import NAMES
from sonolearn.runs import RUN_FILE, write_text
from sonolearn.study.commands import command_of, stores_of
from sonolearn.study.figures import lower_end
from sonolearn.study.pretraining import pretrain_section
from sonolearn.study.read import ClassifyRun, PretrainRun, read_run
from sonolearn.study.sections import mode_section
from sonolearn.study.words import MODES, counted, listed, warnings_of


def report(runs: Sequence[Path], out: Path) -> Path:
    """Write one page about finished runs; it needs no network, no script and no other file.

    Args:
        runs: folders of pre-training and classify runs in any mix.
        out: the HTML file.

    Returns:
        `out`.

    Raises:
        UserError: no runs, a folder that is no finished run, or a page that cannot be written.
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
    page = template("sonolearn.study", "report.html.j2", svg=svg_uri, glue=_glue).render(
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
