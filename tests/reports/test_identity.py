"""Paths lose their folders, in every notation; words with slashes stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonolearn.reports.findings import machine_without_names, plan_without_paths, without_folders

WORD = st.text(alphabet="abcdefgh", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/anna/runs/a: out of memory", "a: out of memory"),
        ("cannot read '/data/Anna Smith/x.h5'", "cannot read 'x.h5'"),
        (r"C:\Users\anna\x.h5 is broken", "x.h5 is broken"),
        (r"\\server\anna\x.h5 is broken", "x.h5 is broken"),
        ("see ~/stores/hearts, ../anna/b, ~anna/c", "see hearts, b, c"),
        ("3VV/3VT and/or 4CH: 5 / 6 images", "3VV/3VT and/or 4CH: 5 / 6 images"),
    ],
)
def test_only_the_last_name_of_a_path_stays(text: str, shown: str) -> None:
    assert without_folders(text) == shown


@given(st.lists(WORD, min_size=2, max_size=5), st.sampled_from(["/", "~/", "../", "./", "C:/", "file:///"]))
def test_no_folder_of_a_path_survives(names: list[str], root: str) -> None:
    assert without_folders(f"error in {root}{'/'.join(names)} here") == f"error in {names[-1]} here"


def test_a_plan_keeps_planes_patterns_and_hubs() -> None:
    plan = {
        "data": {"labelled": "/home/anna/hearts", "unlabelled": ["../anna/scans", "stores/b"], "pattern": r"PH\d+"},
        "encoders": {"a": {"encoder": "hf-hub:timm/resnet50"}},
        "planes": ["3VV/3VT"],
        "seeds": 3,
    }
    assert plan_without_paths(plan, ("3VV/3VT",)) == {
        "data": {"labelled": "hearts", "unlabelled": ["scans", "b"], "pattern": r"PH\d+"},
        "encoders": {"a": {"encoder": "hf-hub:timm/resnet50"}},
        "planes": ["3VV/3VT"],
        "seeds": 3,
    }


def test_a_machine_has_no_name() -> None:
    assert machine_without_names({"cores": 4, "hostname": "ward7", "user": "anna"}) == {"cores": "4"}
