"""The commands, as Python functions: what the command line calls, and what a notebook may call.

Each takes its paths (texts will do) and one config dataclass, and imports what it needs when it is called, so that
`--help` need not wait for torch. Two that write into one folder take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sonolearn.checksums import naming_damage
from sonolearn.config import (
    ClassifyConfig,
    DeidentifyConfig,
    DemoConfig,
    DicomConfig,
    DoctorConfig,
    EmbedConfig,
    PhantomConfig,
    PredictConfig,
    PrepareConfig,
    PretrainConfig,
    SuggestConfig,
    WatchConfig,
)
from sonolearn.config.study import StudyPlanConfig, StudyRunConfig
from sonolearn.extras import naming_extras
from sonolearn.runs import AnyPath, alone_in, paths_of

if TYPE_CHECKING:
    import pandas as pd

    from sonolearn.doctor import Finding
    from sonolearn.store.store import Store

Paths = AnyPath | Sequence[AnyPath]


def phantom(out: AnyPath, config: PhantomConfig | None = None) -> Path:
    """Render synthetic fetal-heart scans (DICOM, MP4) and labelled stills (PNG), with ground truth.

    Args:
        out: the folder to write: scans/, stills/, labels.csv, truth/.
        config: how many patients, and what is on the pictures.

    Returns:
        The folder.
    """
    from sonolearn_phantom import generate

    with alone_in(out), naming_damage(out):
        return generate(Path(out), config or PhantomConfig())


def prepare(paths: Paths, out: AnyPath, labels: AnyPath | None = None, config: PrepareConfig | None = None) -> Store:
    """Read scans and stills, clean them, and write a store of grey frames.

    Args:
        paths: files and folders of unlabelled scans and stills; none where `labels` is given.
        out: the store's folder; started again with the same options it continues, with more paths it grows.
        labels: a label table (CSV), or a folder with one sub-folder a plane.
        config: size, frame skip, patients, split, ...

    Returns:
        The store, opened.
    """
    from sonolearn.store.prepare import prepare as run
    from sonolearn.store.pseudonyms import private_folder

    with alone_in(out), naming_damage(out, private_folder(Path(out), config.key if config else None)):
        return run(paths, out, labels, config or PrepareConfig())


def pretrain(stores: Paths, out: AnyPath, config: PretrainConfig | None = None) -> Path:
    """Pre-train an encoder without labels on the frames of one or several stores.

    Args:
        stores: folders made by `prepare`; of a labelled store only the training part is used.
        out: the run folder; the same call continues an interrupted run, bit for bit on CPU.
        config: method, encoder, views, length, ...

    Returns:
        The run folder, with encoder.safetensors, metrics.csv and views.png.
    """
    from sonolearn.recipes import recipe

    config = config or recipe()
    if config.profile:
        from sonolearn.ssl.profile import profile as run
    else:
        from sonolearn.ssl.pretrain import pretrain as run
    with naming_damage(*paths_of(stores), out, config.init, config.knn_store or out):
        return run(paths_of(stores), Path(out), config)


def suggest(stores: Paths, out: AnyPath, config: SuggestConfig | None = None) -> pd.DataFrame:
    """Suggest the frames to label first: typical, diverse, and spread over patients.

    Args:
        stores: folders made by `prepare`; of a labelled store only the training part is used.
        out: the folder of the sheet: suggested.csv to fill in for `prepare --labels`, its frames, and a page.
        config: what computes the features, how many frames, ...

    Returns:
        The table, the frame to label first on top.
    """
    from sonolearn.planes.suggest import suggest as run

    with alone_in(out):
        return run(paths_of(stores), Path(out), config or SuggestConfig())


def embed(stores: Paths, out: AnyPath, config: EmbedConfig | None = None) -> Path:
    """Write the features of every frame, for other programs.

    Args:
        stores: folders made by `prepare`.
        out: the file, which ends in .parquet or .npz.
        config: what computes the features, ...

    Returns:
        The file.
    """
    from sonolearn.planes.embed import embed as run

    return run(paths_of(stores), Path(out), config or EmbedConfig())


def classify(store: AnyPath, out: AnyPath, config: ClassifyConfig | None = None) -> pd.DataFrame:
    """Train plane classifiers on few labels and test them, over label fractions and seeds.

    Args:
        store: a labelled store.
        out: the run folder; the same call continues an interrupted run.
        config: initialisation, mode, fractions, seeds, ...

    Returns:
        A row a fraction and seed: macro F1, balanced accuracy, accuracy, images and patients behind them.
    """
    from sonolearn.planes.classify import classify as run
    from sonolearn.ssl.failures import naming_failures

    config = config or ClassifyConfig()
    with alone_in(out), naming_damage(store, *config.unlabelled, out, config.init), naming_failures("--batch_size"):
        return run(Path(store), Path(out), config)


def predict(paths: Paths, out: AnyPath, config: PredictConfig | None = None) -> pd.DataFrame:
    """Say which planes new scans show, frame by frame, with a classifier that `classify` saved.

    Args:
        paths: files and folders of scans and stills.
        out: the run folder; the same call continues an interrupted run, with more paths it grows.
        config: classifier, frame skip, cleaning, engine, ...

    Returns:
        A row a scan: its plane, the share of its frames that show it, mean probabilities, or why it was rejected.
    """
    from sonolearn.deploy.predict import predict as run
    from sonolearn.ssl.failures import naming_failures

    config = config or PredictConfig()
    with alone_in(out), naming_damage(out, config.classifier or out), naming_failures("--batch"):
        return run(paths_of(paths), Path(out), config)


def deidentify(paths: Paths, out: AnyPath, config: DeidentifyConfig | None = None) -> pd.DataFrame:
    """Write DICOM copies of scans that name nobody: the sector alone, and a header by PS3.15 Annex E.

    Args:
        paths: files and folders of scans and stills.
        out: the folder; the same call continues where it stopped, and takes more paths.
        config: dates, device, cleaning, ...

    Returns:
        A row a scan: pseudonyms, frames, how many are black, or why it was rejected.
    """
    from sonolearn.deploy.deidentify import deidentify as run
    from sonolearn.store.pseudonyms import private_folder

    config = config or DeidentifyConfig()
    with alone_in(out), naming_damage(out, private_folder(Path(out), config.key)):
        return run(paths_of(paths), Path(out), config)


def dicom(run: AnyPath, out: AnyPath, config: DicomConfig | None = None) -> list[Path]:
    """Write what `predict` found as DICOM: a Structured Report a scan, and its best frames.

    Args:
        run: a run of `predict`.
        out: the folder; files that are there stay.
        config: identity, best frames, key.

    Returns:
        The files.
    """
    with naming_extras():
        from sonolearn.deploy.dicom_out import dicom as write
    with alone_in(out), naming_damage(run):
        return write(Path(run), Path(out), config or DicomConfig())


def watch(source: AnyPath, out: AnyPath, config: WatchConfig | None = None) -> dict[str, int]:
    """Classify what arrives in a folder or an archive (DICOMweb), and send Structured Reports back.

    Args:
        source: a folder, or the URL of the archive's DICOMweb root.
        out: the folder of ledger, predictions and reports; the same call goes on.
        config: classifier, where to send, ...

    Returns:
        Scans by state: sent, rejected, duplicate, ...
    """
    with naming_extras():
        from sonolearn.deploy.watch import watch as run
    return run(str(source), Path(out), config or WatchConfig())


def report(runs: Paths, out: AnyPath) -> Path:
    """Write one self-contained HTML page about pre-training and classification runs.

    Args:
        runs: run folders of `pretrain` and `classify`, in any mix; those of `classify` on one labelled store.
        out: the HTML file.

    Returns:
        The HTML file.
    """
    from sonolearn.reports.page import write_report
    from sonolearn.study.from_runs import read_runs

    with naming_damage(*paths_of(runs)):
        return write_report(read_runs(paths_of(runs)), Path(out))


def demo(out: AnyPath, config: DemoConfig | None = None) -> Path:
    """The complete workflow on the phantom, in under five minutes on two cores.

    Args:
        out: the folder for everything.
        config: seeds.

    Returns:
        The page with what was measured.
    """
    from sonolearn.demo import demo as run

    with alone_in(out):
        return run(Path(out), config or DemoConfig())


def doctor(config: DoctorConfig | None = None) -> list[Finding]:
    """Look at what this machine has: packages, devices, memory, disk, weights; with a remedy for what is missing.

    Args:
        config: the folder for stores and runs, the encoder.

    Returns:
        What was found, and the remedies.
    """
    from sonolearn.doctor import examine, show

    findings = examine(config or DoctorConfig())
    show(findings)
    return findings


def study_plan(plan: AnyPath, out: AnyPath, config: StudyPlanConfig | None = None) -> pd.DataFrame:
    """Print the runs of a plan, and how long they will take.

    Args:
        plan: a YAML file, or the name of a shipped plan: demo, cpu, study.
        out: the study's folder.
        config: where data lie; whether to take a few steps of each kind of training to time them.

    Returns:
        A row a kind of training.
    """
    from sonolearn.study.overview import show_plan

    with naming_damage(out):
        return show_plan(Path(plan), Path(out), config or StudyPlanConfig())


def study_run(plan: AnyPath, out: AnyPath, config: StudyRunConfig | None = None) -> pd.DataFrame:
    """Run what is missing of a plan: pre-trainings, and classifiers over label fractions and seeds.

    Args:
        plan: a YAML file, or the name of a shipped plan: demo, cpu, study.
        out: the study's folder; the same call continues where it stopped.
        config: where data lie, how much at a time, which runs.

    Returns:
        A row a finished downstream run.
    """
    from sonolearn.study.run import run_study

    with naming_damage(out):
        return run_study(Path(plan), Path(out), config or StudyRunConfig())


def study_status(study: AnyPath) -> pd.DataFrame:
    """Print how far a study is.

    Args:
        study: the study's folder.

    Returns:
        A row an initialisation, pool and mode: planned, finished, failed.
    """
    from sonolearn.study.overview import show_status

    with naming_damage(study):
        return show_status(Path(study))


def study_report(study: AnyPath) -> Path:
    """Write the page of a study, its tables (CSV, LaTeX) and its figures (SVG, PNG).

    Args:
        study: the study's folder; the page is STUDY/report/index.html.

    Returns:
        The page.
    """
    from sonolearn.reports.page import write_page
    from sonolearn.study.folder import StudyFolder
    from sonolearn.study.results import read_results

    page = Path(study) / "report"
    with naming_damage(study):
        results = read_results(StudyFolder(Path(study)))
        with alone_in(page):
            return write_page(results, page)
