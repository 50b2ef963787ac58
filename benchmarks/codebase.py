"""How much code there is, and how much of it one runs through: the table in CONTRIBUTING.md.

    python -m benchmarks.codebase

Lines are all lines of the package (`src/sonolearn`), blank ones and docstrings included. Files run through are those
files of the package in which at least one function is called while the job runs, in this process and its forks.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import sonolearn

PACKAGE = Path(sonolearn.__file__).parent
LONG = 40  # lines, from `def` to the last one, without the docstring

ENCODER = "test_resnet"  # timm's smallest
PLAN = """
data: {{labelled: {folder}/labelled, unlabelled: [{folder}/scans]}}
encoders: {{small: {{encoder: test_resnet}}}}
image_size: 32
pretrain: {{init: random, batch_size: 8, max_steps: 2, workers: 0, accelerator: cpu}}
methods: {{barlow_twins: {{}}}}
initialisations: {{random: {{}}}}
modes: {{linear: {{}}}}
fractions: [1.0]
seeds: 1
"""


def functions() -> Iterator[tuple[int, str]]:
    """Length in lines without the docstring, and place, of every function of the package."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
                length = (node.end_lineno or 0) - node.lineno + 1 - docstring
                yield length, f"{file.relative_to(PACKAGE)}:{node.lineno} {node.name}"


def files_run_through(job: Callable[[], object]) -> set[str]:
    """Files of the package whose functions are called while `job` runs, here and in forked processes."""
    seen = set[str]()
    with tempfile.NamedTemporaryFile() as log:

        def note(frame: FrameType, event: str, _: Any) -> None:
            name = frame.f_code.co_filename
            function = frame.f_code.co_flags & inspect.CO_OPTIMIZED and not frame.f_code.co_name.startswith("<")
            if event == "call" and function and name not in seen:
                seen.add(name)
                os.write(log.fileno(), f"{name}\n".encode())

        threading.setprofile(note)
        sys.setprofile(note)
        try:
            job()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
        called = Path(log.name).read_text(encoding="utf-8").splitlines()
    return {str(Path(name).relative_to(PACKAGE)) for name in called if name.endswith(".py")}


def jobs(folder: Path) -> dict[str, Callable[[], object]]:
    """The five jobs, each of which uses what those before it wrote."""
    from sonolearn.config import ClassifyConfig, PhantomConfig, PrepareConfig
    from sonolearn.config.study import StudyRunConfig

    sonolearn.phantom(folder / "phantom", PhantomConfig(patients=8))
    one, *_ = sorted((folder / "phantom" / "scans").rglob("*.dcm"))
    sonolearn.prepare([], folder / "labelled", folder / "phantom" / "labels.csv", PrepareConfig(size=32))
    sonolearn.prepare(folder / "phantom" / "scans", folder / "scans", None, PrepareConfig(size=32, frame_skip=20))
    (folder / "plan.yaml").write_text(PLAN.format(folder=folder), encoding="utf-8")
    start = {"encoder": ENCODER, "init": "random"}
    short = {"max_steps": 2, "batch_size": 8, "image_size": 32, "workers": 0, "accelerator": "cpu"}
    linear = ClassifyConfig(**start, mode="linear", fractions=(1.0,), seeds=1, image_size=32, accelerator="cpu")
    return {
        "Barlow Twins training": lambda: sonolearn.pretrain(
            folder / "scans", folder / "bt", sonolearn.recipe("barlow_twins", **start, **short)
        ),
        "linear evaluation": lambda: sonolearn.classify(folder / "labelled", folder / "linear", linear),
        "one study": lambda: sonolearn.commands.study_run(folder / "plan.yaml", folder / "study", StudyRunConfig()),
        "its page": lambda: sonolearn.commands.study_report(folder / "study"),
        "one DICOM": lambda: sonolearn.prepare(one, folder / "one", None, PrepareConfig(size=32)),
    }


def main() -> None:
    """Print the table."""
    files = list(PACKAGE.rglob("*.py"))
    found = sorted(functions(), reverse=True)
    print(f"lines {sum(len(file.read_text(encoding='utf-8').splitlines()) for file in files)}, files {len(files)}")
    print(f"longest function {found[0][0]} ({found[0][1]}), over {LONG} lines: {sum(n > LONG for n, _ in found)}")
    with tempfile.TemporaryDirectory() as folder:
        for name, job in jobs(Path(folder)).items():
            through = files_run_through(job)
            print(f"files run through, {name}: {len(through)}\n    {' '.join(sorted(through))}")


if __name__ == "__main__":
    main()
