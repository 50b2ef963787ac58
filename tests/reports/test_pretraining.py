"""The section of a pre-training: method, views and positives in words, monitors, pictures, a collapse said aloud."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args, get_type_hints

import cv2
import numpy as np
import pandas as pd
import pytest

from reports.test_runs import text_of, words_of
from sonolearn.commands import report
from sonolearn.config import Method, PretrainConfig, Recipe, ViewsConfig
from sonolearn.console import UserError
from sonolearn.recipes import recipe
from sonolearn.reports.figures import training_curve
from sonolearn.reports.pretraining import RECIPES_IN_WORDS, VIEWS_IN_WORDS, monitor_curves, monitored
from sonolearn.ssl.monitors import collapse_in_words
from sonolearn.study.read import PretrainRun, read_run
from study.fake_runs import MONITORED, write_old_run, write_pretrain_run

HEADINGS = {
    "autoencoder": "Autoencoder", "inpainting": "Inpainting autoencoder", "simclr": "SimCLR", "moco": "MoCo",
    "byol": "BYOL", "barlow_twins": "Barlow Twins", "vicreg": "VICReg",
}  # fmt: skip
NEARBY = recipe("simclr", None, positives={"name": "nearby_frames", "seconds": 0.2})


def page_of(run: Path) -> str:
    return text_of(report([run], run.parent / "page.html"))


def shown(folder: Path, config: PretrainConfig, monitors: dict[str, float] | None = None) -> str:
    return words_of(page_of(write_pretrain_run(folder, config, monitors)))


def pretrain_run(path: Path) -> PretrainRun:
    run = read_run(path)
    assert isinstance(run, PretrainRun)
    return run


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_has_its_name_as_heading(method: Method, tmp_path: Path) -> None:
    page = page_of(write_pretrain_run(tmp_path / "run", recipe(method, None)))
    assert f"<h3>{HEADINGS[method]} <small>run</small></h3>" in page


@pytest.mark.parametrize(
    ("config", "sentences"),
    [
        (recipe("byol", None), "Views: those of the study. Pairs: two views of the same frame."),
        (
            recipe("byol"),
            "Recipe: adapt, a short training that goes on from other weights. Views: made for ultrasound ",
        ),
        (recipe("autoencoder"), "goes on from other weights. Views: those of the study. "),
        (recipe("byol", views={"name": "gentle"}), "Views: gentle (slight crops, rotations, and changes of "),
        (recipe("byol", "paper"), "Recipe: that of the method's own paper. Views: those of the method's own paper. "),
        (recipe("byol", "study"), "Recipe: that of the study. Views: those of the study. "),
        (
            recipe("byol", None, views={"flip": 0.1, "rotation": 9}),
            "Views: those of the study, but for flip and rotation.",
        ),
        (
            recipe("byol", None, views={"name": "ultrasound"}),
            "Views: made for ultrasound (attenuation, gain, speckle, ",
        ),
        (NEARBY, "Pairs: a view of a frame, and one of another frame of its scan at most 0.2 s away."),
        (recipe("autoencoder", None), "One view of each frame is taken, and rebuilt from its features."),
        (recipe("inpainting", None), "a rectangle of it is noise, and the whole view is rebuilt."),
    ],
)
def test_recipe_views_and_pairs_are_said_in_words(config: PretrainConfig, sentences: str, tmp_path: Path) -> None:
    assert sentences in shown(tmp_path / "run", config)


@pytest.mark.parametrize(
    ("config", "caption"),
    [
        (recipe("byol", None), "The first batch: each frame (top) and its two views,"),
        (NEARBY, "The first batch: the two frames of each pair (top) and a view of each,"),
        (recipe("autoencoder", None), "The first batch: each frame (top) and its view,"),
        (recipe("inpainting", None), "its view as the encoder sees it, a rectangle of it noise, and the whole view."),
    ],
)
def test_the_caption_of_the_views_names_the_rows(config: PretrainConfig, caption: str, tmp_path: Path) -> None:
    assert caption in shown(tmp_path / "run", config)


def test_monitors_are_drawn_listed_and_explained(tmp_path: Path) -> None:
    words = shown(tmp_path / "run", recipe("simclr", None))
    listed = "Last standard deviation 0.520 Last effective rank 17.2 Last alignment 0.250 Last uniformity −1.50 What"
    assert listed in words
    assert "What the encoder makes of frames of held-out patients: standard deviation, 1 where features point" in words
    assert "They tell whether frames are still told apart, not how well planes are." in words
    assert "kNN" not in words
    assert "Monitors of the encoder against optimiser step" in (tmp_path / "page.html").read_text()


def test_knn_accuracy_is_shown_where_it_was_measured(tmp_path: Path) -> None:
    words = shown(tmp_path / "run", recipe("simclr", None), {"knn_accuracy": 0.75})
    assert "Last kNN accuracy 0.750" in words
    assert "the balanced accuracy of nearest neighbours" in words


def test_a_method_of_one_view_has_no_alignment(tmp_path: Path) -> None:
    words = shown(tmp_path / "run", recipe("autoencoder", None), {"alignment": math.nan})
    assert "alignment" not in words
    assert "Last uniformity" in words


def test_monitors_of_training_frames_are_not_called_held_out(tmp_path: Path) -> None:
    run = write_pretrain_run(tmp_path / "run", recipe("inpainting", None, valid_patients=0.0), valid_frames=0)
    words = words_of(page_of(run))
    assert words.count("training frames (no patient was held out)") == 2
    assert "held-out patients" not in words


def test_a_panel_a_monitor_over_all_its_steps(tmp_path: Path) -> None:
    metrics = pretrain_run(write_pretrain_run(tmp_path / "run", recipe("simclr", None))).metrics
    rows = monitored(metrics)
    assert list(rows) == ["step", *MONITORED]
    assert list(rows["step"]) == [0, 10, 20]
    drawings = [monitor_curves(metrics), monitor_curves(metrics.assign(knn_accuracy=0.5))]
    assert [drawing.count('<g id="axes_') for drawing in drawings if drawing] == [3, 4]


def test_the_training_curve_is_the_same_with_and_without_monitors(tmp_path: Path) -> None:
    metrics = pretrain_run(write_pretrain_run(tmp_path / "run", recipe("simclr", None))).metrics
    assert training_curve(metrics) == training_curve(metrics[metrics["part"] != "monitor"])


def test_a_collapse_is_a_visible_warning(tmp_path: Path) -> None:
    figures = {"feature_std": 0.001, "effective_rank": 1.02}
    run = write_pretrain_run(tmp_path / "run", recipe("vicreg", None), figures, collapsed=True)
    page = page_of(run)
    warning = page.split('<aside class="warnings">')[1].split("</aside>")[0]
    assert collapse_in_words(figures).removeprefix("the ") in words_of(warning)
    assert '<aside class="warnings">' not in page_of(write_pretrain_run(tmp_path / "well", recipe("vicreg", None)))


def test_a_collapse_with_figures_missing_is_a_warning_too(tmp_path: Path) -> None:
    run = write_pretrain_run(tmp_path / "run", recipe("vicreg", None), {"effective_rank": math.nan}, collapsed=True)
    assert "The encoder has collapsed" in page_of(run)


def test_what_was_rebuilt_is_shown_where_there_is_a_picture(tmp_path: Path) -> None:
    run = write_pretrain_run(tmp_path / "run", recipe("inpainting", None))
    page = page_of(run)
    assert "Frames and what was rebuilt of them" in page
    assert "the whole view (top), what the encoder was given, and what was rebuilt of it (bottom)." in page
    assert page.count("data:image/jpeg;base64,") == 2
    (run / "rebuilt.png").unlink()
    assert "rebuilt of" not in page_of(run)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    run = write_pretrain_run(tmp_path / "run", recipe("inpainting", None))
    (run / "rebuilt.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"rebuilt\.png is not a picture"):
        report([run], tmp_path / "page.html")


def test_a_wide_contact_sheet_is_made_smaller(tmp_path: Path) -> None:
    run = write_pretrain_run(tmp_path / "run", recipe("byol", None))
    noise = np.random.default_rng(0).integers(0, 255, (600, 2800), np.uint8)
    cv2.imwrite(str(run / "views.png"), noise)
    report([run], tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 0.7 * noise.size


def test_a_run_of_before_there_were_monitors_is_still_shown(tmp_path: Path) -> None:
    run = write_old_run(tmp_path / "old")
    page = page_of(run)
    words = words_of(page)
    assert "Barlow Twins old" in words
    assert "Last valid loss 0.5" in words
    assert "Loss of the pre-training." in words
    for new in ("Views: ", "Pairs: ", "Recipe: ", "Monitors", "<aside", "nan"):
        assert new not in page
    assert monitor_curves(pd.read_csv(run / "metrics.csv")) is None


def test_equal_runs_with_monitors_give_equal_pages(tmp_path: Path) -> None:
    run = write_pretrain_run(tmp_path / "run", recipe("inpainting", None), {"knn_accuracy": 0.5})
    assert page_of(run) == page_of(run)


def test_every_recipe_and_preset_has_its_words() -> None:
    assert set(RECIPES_IN_WORDS) == set(get_args(Recipe))
    assert set(VIEWS_IN_WORDS) == set(get_args(get_type_hints(ViewsConfig)["name"]))
