"""`sonolearn doctor`: whether this machine can do what the commands need, and what to do where it cannot."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from sonolearn.config import DoctorConfig
from sonolearn.console import UserError, one_line
from sonolearn.version import __version__

SHARED_MEMORY = Path("/dev/shm")
LEAST_DISK, LEAST_SHARED_MEMORY = 2 << 30, 1 << 30
"""Bytes: what the demo leaves behind, four times over; the batches on their way from eight loader processes."""

NOT_FOR_USERS = {"all", "benchmarks", "dev", "docs"}
"""Extras that are made of others, or are for those who change the code."""


@dataclass(frozen=True)
class Finding:
    """What was found at one place.

    Attributes:
        what: what was looked at.
        state: ok; note: some commands or options will not work, or slower; fault: nothing will.
        found: what is there.
        remedy: what to do; empty if ok.
    """

    what: str
    state: Literal["ok", "note", "fault"]
    found: str
    remedy: str = ""


def examine(config: DoctorConfig) -> list[Finding]:
    """Look at everything, the base first."""
    return [
        Finding("sonolearn", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        *packages(),
        device(),
        shared_memory(),
        *folder(config.folder),
        weights(config.encoder),
    ]


def show(findings: list[Finding]) -> None:
    """Print a line a finding, the remedy behind it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    styles = {"ok": "green", "note": "yellow", "fault": "red"}
    for finding in findings:
        remedy = f"\n-> {finding.remedy}" if finding.remedy else ""
        table.add_row(Text(finding.state, styles[finding.state]), finding.what, Text(finding.found + remedy))
    Console().print(table, highlight=False)


def packages() -> Iterator[Finding]:
    """Whether what the base and each extra require is installed, in versions that they support."""
    try:
        requirements = [Requirement(text) for text in metadata.requires("sonolearn") or ()]
        extras = metadata.metadata("sonolearn").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", "note", "sonolearn runs from its sources", "pip install sonolearn")
        return
    for extra in ["", *(extra for extra in extras if extra not in NOT_FOR_USERS)]:
        wanted = [each for each in requirements if _is_for(each, extra)]
        wrong = [problem for each in wanted if (problem := _problem(each))]
        name = f"extra {extra}" if extra else "packages"
        if not wrong:
            yield Finding(name, "ok", f"{len(wanted)} of {len(wanted)} installed")
        else:
            install = "pip install --upgrade " + (f"'sonolearn[{extra}]'" if extra else "sonolearn")
            yield Finding(name, "note" if extra else "fault", ", ".join(wrong), install)


def device() -> Finding:
    """What trains and predicts: a GPU, or the cores of this machine."""
    cores = f"{os.cpu_count()} CPU cores"
    try:
        import torch
        import torchvision  # noqa: F401 - one that does not fit torch fails here
    except ModuleNotFoundError as error:
        return Finding("device", "note", f"{cores}, no {error.name}", "to train: pip install 'sonolearn[train]'")
    except (ImportError, OSError, RuntimeError) as error:
        again = "install both anew: pip install --force-reinstall torch torchvision"
        return Finding("device", "fault", f"torch and torchvision do not work: {one_line(error)}", again)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Finding("device", "ok", f"{', '.join(names)}; {cores}")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", f"Apple GPU (mps); {cores}")
    if shutil.which("nvidia-smi"):
        why = f"{cores}; torch {torch.__version__} does not see the NVIDIA GPU"
        return Finding("device", "note", why, "install a torch for your driver's CUDA: https://pytorch.org")
    return Finding("device", "ok", f"{cores}, no GPU")


def shared_memory() -> Finding:
    """Room for the batches that loader processes hand over."""
    if not SHARED_MEMORY.is_dir():
        return Finding("shared memory", "ok", f"no {SHARED_MEMORY} on this system")
    free = shutil.disk_usage(SHARED_MEMORY).free
    found = f"{_gib(free)} free in {SHARED_MEMORY}"
    if free >= LEAST_SHARED_MEMORY:
        return Finding("shared memory", "ok", found)
    return Finding("shared memory", "note", found, "enlarge it (docker run --shm-size 8g), or give --workers 0")


def folder(path: Path) -> Iterator[Finding]:
    """Whether files can be written there, and how many."""
    try:
        with tempfile.NamedTemporaryFile(dir=path) as file:
            file.write(b"sonolearn")
            file.flush()
    except OSError as error:
        why = f"{path}: {error.strerror or error}"
        yield Finding("folder", "fault", why, "name one that you may write: sonolearn doctor --folder FOLDER")
        return
    yield Finding("folder", "ok", f"{path.absolute()} can be written")
    free = shutil.disk_usage(path).free
    if free >= LEAST_DISK:
        yield Finding("disk", "ok", f"{_gib(free)} free")
    else:
        yield Finding("disk", "fault", f"{_gib(free)} free", f"free {_gib(LEAST_DISK)}, or take another --folder")


def weights(encoder: str) -> Finding:
    """Where `--init imagenet` finds the weights of an encoder: our folder, else timm's cache, else the network."""
    name = f"weights of {encoder}"
    try:
        from sonolearn.ssl.encoders import cached_imagenet_file, imagenet_file
    except ModuleNotFoundError as error:
        return Finding(name, "note", f"no {error.name} to load them", "to train: pip install 'sonolearn[train]'")
    try:
        found = imagenet_file(encoder) or cached_imagenet_file(encoder)
    except UserError as error:
        return Finding(name, "note", str(error), "one file, or another --encoder")
    if found:
        return Finding(name, "ok", str(found))
    return Finding(
        name, "note", "not on this machine; pretrain will download them",
        "without a network give --init FILE, set SONOLEARN_WEIGHTS to a folder of them, or start from --init random",
    )  # fmt: skip


def _is_for(requirement: Requirement, extra: str) -> bool:
    """Whether the base (no extra), or an extra beyond it, requires it on this machine."""
    if requirement.name == "sonolearn":
        return False
    always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if not extra:
        return always
    return not always and requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _problem(requirement: Requirement) -> str:
    """What is wrong with an installed package; empty if nothing is."""
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} missing"
    fits = requirement.specifier.contains(found, prereleases=True)
    return "" if fits else f"{requirement.name} {found}, not {requirement.specifier}"


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
