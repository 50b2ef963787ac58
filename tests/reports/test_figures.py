"""What figures are made of: labels that stay apart, looks that differ, counts that are right, maps that repeat."""

from __future__ import annotations

import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import confusion_matrix

from reports.fake_study import SKILLS, Wish, study_of
from sonolearn.reports.confusions import confusion_table
from sonolearn.reports.embeddings import embedding_figures, flat_map
from sonolearn.reports.figures import COLOURS, SMALL, looks, readable, spread
from sonolearn.reports.gains import reach_of
from sonolearn.reports.wording import slugs, wrapped
from sonolearn.statistics.analysis import confusions_by_run

PLACES = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(np.array)


@given(PLACES)
def test_labels_keep_their_order_their_distance_and_the_panel(wanted: np.ndarray) -> None:
    found = spread(wanted, 0.05, 0.0, 1.0)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(found[order]) >= 0.05 - 1e-9).all()
    assert found.min() >= -1e-9
    assert found.max() <= 1 + 1e-9


def test_labels_move_as_little_as_they_can() -> None:
    wanted = np.array([0.5, 0.52, 0.1, 0.55])
    found = spread(wanted, 0.1, 0.0, 1.0)
    apart = [{"type": "ineq", "fun": lambda x, i=i, j=j: x[j] - x[i] - 0.1} for i, j in ((2, 0), (0, 1), (1, 3))]
    best = minimize(lambda x: ((x - wanted) ** 2).sum(), found, constraints=apart, bounds=[(0, 1)] * 4)
    assert found == pytest.approx(best.x, abs=1e-3)


def test_labels_that_do_not_fit_stand_as_close_as_they_must() -> None:
    assert spread(np.full(5, 0.9), 0.5, 0.0, 1.0) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_twelve_initialisations_differ_in_colour_or_marker_and_line() -> None:
    found = looks(list(SKILLS))
    assert len({(look.colour, look.marker) for look in found.values()}) == 12
    for colour in COLOURS:
        same = [look for look in found.values() if look.colour == colour]
        assert len({(look.marker, str(look.line), look.fill) for look in same}) == len(same)


@pytest.mark.parametrize("colour", COLOURS)
def test_text_stands_out_on_white(colour: str) -> None:
    channels = np.array(mpl.colors.to_rgb(readable(colour)))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.5


def test_confusions_are_those_of_scikit_learn() -> None:
    results = study_of(Wish(initialisations=2, modes=("linear",), embeddings=False))
    table = confusion_table(results.runs, results.predictions, results.planes)
    chosen = results.runs.query("initialisation == 'ImageNet' and fraction == 1.0")["run"]
    own = results.predictions[results.predictions["run"].isin(chosen)]
    expected = confusion_matrix(own["plane"].astype(str), own["predicted"].astype(str), labels=results.planes)
    found = table.query("initialisation == 'ImageNet' and fraction == 1.0")
    assert (found["images"].to_numpy().reshape(5, 5) == expected).all()
    assert found.groupby("plane")["share"].sum().to_numpy() == pytest.approx(np.ones(5))
    by_run = confusions_by_run(results.predictions, results.planes)
    assert (sum(by_run[run].sum(0) for run in chosen) == expected).all()
    assert by_run[chosen.iloc[0]].shape == (12, 5, 5)


def test_equal_features_give_equal_maps_and_constant_ones_none() -> None:
    features = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    first, second = flat_map(features), flat_map(features)
    assert first is not None
    assert second is not None
    assert first.shape == (40, 2)
    assert (first == second).all()
    assert flat_map(np.ones((40, 8), np.float32)) is None
    assert flat_map(features[:3]) is None


def test_maps_put_what_lies_in_one_direction_together() -> None:
    draw = np.random.default_rng(0)
    group = np.repeat([0, 1], 20)
    directions = np.eye(6)[group] + 0.05 * draw.normal(size=(40, 6))
    places = flat_map((directions * draw.uniform(0.1, 50, (40, 1))).astype(np.float32))
    assert places is not None
    inside = [places[group == g].std(0).max() for g in (0, 1)]
    assert np.linalg.norm(places[group == 0].mean(0) - places[group == 1].mean(0)) > 2 * max(inside)


def test_many_patients_share_looks_and_the_caption_says_so() -> None:
    for patients, said in ((12, False), (30, True)):
        results = study_of(Wish(initialisations=1, modes=("linear",), patients=patients))
        (drawing,) = embedding_figures(results.embeddings, results.images, results.planes)
        assert (f"{patients} patients share 24 looks" in drawing.caption) == said


def test_a_reach_holds_every_difference() -> None:
    gains = pd.DataFrame({"mean": [0.31, -0.02, np.nan], "low": [0.2, -9.0, np.nan], "high": [0.4, 9.0, np.nan]})
    assert reach_of(gains) >= 0.31
    assert reach_of(gains.assign(mean=0.0, low=np.nan, high=np.nan)) == 0.02


def test_no_text_of_the_page_is_below_7_pt() -> None:
    from sonolearn.reports.figures import PAGE_STYLE

    assert min([SMALL, *(size for key, size in PAGE_STYLE.items() if re.search(r"labelsize|titlesize|font", key)
                         and isinstance(size, float))]) >= 7  # fmt: skip


@given(st.lists(st.text(max_size=6), max_size=6))
def test_file_names_differ_and_are_plain(names: list[str]) -> None:
    found = slugs([(name,) for name in names])
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in found)


def test_long_titles_break_once() -> None:
    assert wrapped("inpainting autoencoder, 1 %", 15) == "inpainting\nautoencoder, 1 %"
    assert wrapped("autoencoder", 5) == "autoencoder"
