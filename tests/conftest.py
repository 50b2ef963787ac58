"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from commands import Commands

# How long an example takes depends on what else the machine does, and says nothing about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`sonolearn` as an executable that starts at once, for tests of processes: signals, exit codes, scripts."""
    started = Commands(tmp_path_factory.mktemp("bin"))
    yield started.executable
    started.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real ultrasound data beside the checkout (or $SONOLEARN_DATA); tests skip where it is missing."""
    folder = Path(os.environ.get("SONOLEARN_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found: {folder.name} beside the checkout, or set SONOLEARN_DATA")
    return folder
