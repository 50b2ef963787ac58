"""Devices: memory that a training step frees is there for the next one."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from sonolearn.ssl.devices import make_fabric
if sys.argv[1] == "kept":
    make_fabric("cpu", "32-true")
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(6):
    last = faults()
print(last)
"""


def pages_touched_again(how: str) -> int:
    """Page faults of making a tensor of 64 MB where one of that size was just freed, in a fresh process."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(ended.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults of glibc on Linux")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    assert pages_touched_again("kept") < 100
    # The other way about, so that this test would notice if it counted nothing; huge pages fault less often.
    assert pages_touched_again("given back") > 20
