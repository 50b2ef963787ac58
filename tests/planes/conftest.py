from __future__ import annotations

from pathlib import Path

import pytest

from planes.labelled_store import write_store


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tests only read: 3 planes, 8 + 3 + 4 patients of 2 stills a plane."""
    return write_store(tmp_path_factory.mktemp("planes") / "store")
