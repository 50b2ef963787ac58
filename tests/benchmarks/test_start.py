"""The benchmark of the start: its rows and ceilings, and that what it starts ends well."""

from __future__ import annotations

from math import isfinite
from subprocess import CalledProcessError

import pytest

from benchmarks.start import COMMANDS, rows, start


def test_import_and_help_have_ceilings() -> None:
    found = {row.figure: row for row in rows(quick=True)}
    assert set(found) == {name for name in COMMANDS if "nothing" not in name}
    assert all(row.ratio and isfinite(row.ratio) for row in found.values())
    assert [row.target for row in found.values()] == [1, 1, None]
    assert "300 ms" in found["`import sonolearn`"].against
    assert "500 ms" in found["`sonolearn --help`"].against


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(CalledProcessError):
        start(["-c", "raise SystemExit(1)"])
