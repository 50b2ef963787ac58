"""What a fresh process loads before it is asked for anything: nothing heavy, so that help comes at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "cv2", "h5py", "jinja2", "lightning_fabric", "lightning_utilities", "matplotlib", "optuna",
    "pandas", "PIL", "pydicom", "ray", "rich", "scipy", "sklearn", "timm", "torch", "torchvision",
}  # fmt: skip
"""Each takes longer to load than a person should wait for `--help`."""


def loaded_by(statement: str) -> set[str]:
    """Names of the modules in a fresh process after a statement."""
    program = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ended.stderr.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import sonolearn",
        "from sonolearn.cli import main; main(['--help'])",
        "from sonolearn.cli import main; main(['study', '--help'])",
        "from sonolearn.cli import main; main(['--version'])",
        "from sonolearn.cli import main; main(['pretrain', '--help'])",
        "from sonolearn.cli import main; main(['classify', '--help'])",
    ],
)
def test_help_loads_nothing_heavy(statement: str) -> None:
    loaded = loaded_by(statement)
    assert "sonolearn" in loaded
    assert not HEAVY & loaded


@pytest.mark.parametrize("statement", ["import sonolearn", "from sonolearn.cli import main; main(['--help'])"])
def test_neither_import_nor_help_loads_the_parser_of_options(statement: str) -> None:
    assert not {"jsonargparse", "yaml", "docstring_parser"} & loaded_by(statement)
