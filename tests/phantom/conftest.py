"""One patient for the tests that need no other."""

from __future__ import annotations

import pytest

from sonolearn_phantom import Fetus, Patient


@pytest.fixture(scope="session")
def fetus() -> Fetus:
    """A patient of seed 0."""
    return Fetus(Patient.draw(0, 3))
