"""Forty planted bugs, each of which a named test must find: the proof that tests still see every kind of fault.

    python tests/mutations.py            # all, about five minutes on one core
    python tests/mutations.py 3 17       # some, by number

Run by hand. The package is copied to a temporary folder; each bug in turn replaces a text that occurs once in it, and
the tests that are named with the bug run on the copy. A bug is caught if one of them fails. Neither files nor tests
are named by their place, so that both may move; a text or test that is gone is reported, and is to be brought up to
date here.
"""

# ruff: noqa: T201 - what is found is printed
from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
TIMEOUT = 600
"""Seconds after which tests are stopped; an endless loop counts as caught."""


HEAVY = (
    "cv2", "h5py", "hypothesis", "lightly.loss", "lightning_fabric", "matplotlib.pyplot", "onnxruntime", "pandas",
    "pydicom", "scipy.stats", "sklearn.metrics", "statsmodels.api", "timm", "torch", "torchvision",
)  # fmt: skip
"""What takes long to import, and is the same for all bugs."""


@dataclass(frozen=True)
class Bug:
    """A planted bug."""

    room: str
    what: str
    old: str
    """A text that occurs once in the package."""
    new: str
    tests: str
    """Names of test functions, separated by spaces; with their file as FILE::NAME where several have the name."""


# fmt: off
BUGS = (
    Bug("reading", "DICOM: of 16 bits the lower 8 are shown",
        "(stored >> max(0, bits - 8)).astype(np.uint8)", "(stored & 255).astype(np.uint8)",
        "test_colours_of_sixteen_bits_lose_the_lower_ones"),
    Bug("reading", "video: times do not start at 0",
        "time = stamp - self._start", "time = stamp",
        "test_where_times_are_missing_or_go_back_frames_are_evenly_spaced"),
    Bug("reading", "stills: EXIF orientation 6 is turned the other way",
        "6: (False, 3)", "6: (False, 1)",
        "test_a_still_is_turned_as_pillow_turns_it"),
    Bug("cleaning", "what lies outside the sector is kept",
        "crop = np.asarray(cv2.bitwise_and(crop, found.sector.mask))", "crop = np.asarray(crop)",
        "test_everything_outside_the_sector_is_black"),
    Bug("cleaning", "coloured marks are not inpainted",
        "drawn = drawn | marks.coloured_marks(strokes, mask)", "pass",
        "test_dim_coloured_strokes_that_come_and_go_are_filled"),
    Bug("cleaning", "the near field at rest is cut off",
        "whole.cost < shape.cost + _GAINED", "whole.cost < 0",
        "test_tissue_that_rests_under_the_probe_belongs_to_the_picture"),
    Bug("store", "a damaged frame is read without a word",
        "if checksum_of(frame.data) != self.checksum_of_frame.item(row):", "if False:",
        "test_a_frame_that_is_not_as_it_was_written_is_found_wherever_it_is_read"),
    Bug("store", "frames lose their numbers in the recording",
        'np.array([i for block in blocks for i in block.row["index"]], np.int32)',
        "np.array([i for block in blocks for i in range(block.count)], np.int32)",
        "test_frames_keep_their_numbers_in_the_recording_also_when_the_store_grows"),
    Bug("labels", "classes are numbered as the table happens to list them",
        'tuple(sorted(self.labels["plane"].unique()))', 'tuple(self.labels["plane"].unique())',
        "test_planes_are_sorted_whatever_the_order_of_the_table"),
    Bug("labels", "a class may be missing from a small label fraction",
        "min(len(rows), max(1, round(fraction * len(rows))))", "round(fraction * len(rows))",
        "test_fractions_nest_and_keep_one_image_of_each_class"),
    Bug("splits", "a patient in two parts is not refused",
        "shared = parts[parts.map(len) > 1]", "shared = parts[parts.map(len) > 2]",
        "test_a_shared_patient_is_named"),
    Bug("splits", "SSL also learns from patients held out for its validation",
        "return pool.of(~mask), pool.of(mask)", "return pool, pool.of(mask)",
        "test_held_out_patients_are_in_no_training_frame"),
    Bug("pseudonyms", "pseudonyms do not depend on the key",
        "hmac.new(self.key,", 'hmac.new(b"",',
        "test_a_pseudonym_is_the_hmac_of_the_stripped_id"),
    Bug("SSL", "SimCLR: a view is compared with itself",
        '.fill_diagonal_(float("-inf"))', "",
        "test_simclr::test_value_and_gradients_equal"),
    Bug("SSL", "MoCo: new keys always take the same places of the queue",
        "self.oldest += len(keys)", "self.oldest += 0",
        "test_the_queue_is_a_ring_that_holds_the_latest_keys_whatever_the_batches"),
    Bug("SSL", "MoCo: the momentum encoder never moves",
        "follow(self.momentum_encoder, self.encoder, momentum)", "pass",
        "test_after_each_step_every_copy_in_a_method_has_followed_its_own_network"),
    Bug("SSL", "BYOL: the target's projector never moves",
        "follow(self.target_projector, self.projector, momentum)", "pass",
        "test_after_each_step_every_copy_in_a_method_has_followed_its_own_network"),
    Bug("SSL", "Barlow Twins: the diagonal counts as redundancy, too",
        "off_diagonal = total - diagonal.square().sum()", "off_diagonal = total",
        "test_barlow_twins::test_value_and_gradients_equal"),
    Bug("SSL", "VICReg: variances are divided by N instead of N - 1",
        "variances = centred.square().sum(dim=0) / (count - 1)", "variances = centred.square().sum(dim=0) / count",
        "test_vicreg::test_value_and_gradients_equal"),
    Bug("SSL", "autoencoder: absolute instead of squared error",
        "(self.rebuild(first).float() - second).square()", "(self.rebuild(first).float() - second).abs()",
        "test_the_loss_is_torchs_mean_squared_error"),
    Bug("SSL", "inpainting: nothing is erased",
        "return [erase(first, hole.erase_scale, hole.erase_ratio, rng), first]", "return [first, first]",
        "test_the_input_is_the_clean_view_but_for_a_rectangle_of_the_asked_size"),
    Bug("views", "the second view is blurred as often as the first",
        "config.blur[which]", "config.blur[0]",
        "test_first_and_second_views_are_blurred_each_as_often_as_asked_for"),
    Bug("loader", "every epoch has the same order",
        'generator_for(seed, "order", epoch).permutation(samples)',
        'generator_for(seed, "order").permutation(samples)',
        "test_without_patients_per_batch_the_order_is_the_shuffle_of_each_epoch_cut_up"),
    Bug("resume", "the optimiser's momentum is lost",
        'optimizer.load_state_dict(state["optimizer"])', "pass",
        "test_every_method_goes_on_exactly_where_it_was"),
    Bug("optimiser", "LARS leaves the decay out of its trust ratio",
        "trust_coeff * weight / (gradient + decay * weight + EPSILON)", "trust_coeff * weight / (gradient + EPSILON)",
        "test_a_ratio_is_the_papers"),
    Bug("optimiser", "the cosine does not reach its end",
        "(step - warmup) / (steps - 1 - warmup)", "(step - warmup) / (steps - warmup)",
        "test_schedule_rises_to_one_and_falls_to_its_end_at_the_last_step"),
    Bug("encoders", "images are not divided by their deviation",
        "images.sub_(255 * mean).div_(255 * std)", "images.sub_(255 * mean).div_(255)",
        "test_normalise_is_mean_and_deviation_of_grey_values"),
    Bug("encoders", "the first layer is the mean of the colour channels, not their sum",
        "adapt_input_conv(1, weight)", "weight.mean(1, keepdim=True)",
        "test_colour_weights_give_grey_images_the_features_of_their_rgb_copy_exactly"),
    Bug("heads", "logistic regression leaves class weights out",
        "self.class_weights[truth] / len(truth)", "torch.ones_like(self.class_weights)[truth] / len(truth)",
        "test_a_head_equals_that_of_scikit_learn"),
    Bug("heads", "folds of the cross-validation share patients",
        "splitter.split(own, own, theirs)", "splitter.split(own, own, np.arange(len(own)))",
        "test_folds_share_no_patient_and_what_is_learnt_from_shows_every_class"),
    Bug("fine-tuning", "the mixture counts from the wrong end",
        "torch.lerp(tensor, end[name].to(tensor), share)", "torch.lerp(tensor, end[name].to(tensor), 1 - share)",
        "test_a_mixture_lies_its_share_of_the_way_from_start_to_end"),
    Bug("knn", "neighbours vote without the temperature",
        "votes = (nearest / temperature).softmax(1)", "votes = nearest.softmax(1)",
        "test_each_of_k_neighbours_votes_with_the_exponential_of_its_cosine_over_the_temperature"),
    Bug("metrics", "macro F1 is the micro average",
        'f1_score(truth, predicted, labels=present, average="macro", zero_division=0)',
        'f1_score(truth, predicted, labels=present, average="micro", zero_division=0)',
        "test_macro_f1_averages_over_the_classes_of_the_truth"),
    Bug("statistics", "the bootstrap redraws no patients",
        "counts = times @ chunk", "counts = np.ones_like(times) @ chunk",
        "test_draws_are_those_of_the_tables_of_a_run"),
    Bug("statistics", "Holm's correction may fall with rising p",
        "np.maximum.accumulate(raised)", "raised",
        "test_the_largest_of_all_smaller_ones_times_how_many_are_left_counts"),
    Bug("statistics", "intervals leave out the variance over patients",
        "sources = [over_units(values), over_patients(drawn, trainings.patients)]", "sources = [over_units(values)]",
        "test_one_patient_shows_nothing"),
    Bug("study", "a classifier does not wait for its pre-training",
        "if _needed(task) not in self._open:", "if True:",
        "test_what_needs_a_pretraining_waits_for_it_and_for_nothing_else"),
    Bug("report", "texts are not escaped in pages",
        "autoescape=True", "autoescape=False",
        "test_the_page_needs_no_network_and_escapes_what_comes_from_files"),
    Bug("predict", "frames are numbered from 0, whatever their place in the recording",
        "index = np.array([frame.index for frame in frames], np.int64)", "index = np.arange(len(frames))",
        "test_every_frame_has_the_probabilities_of_the_stores_frame"),
    Bug("predict", "an ONNX graph with other probabilities is used",
        "if not np.allclose(found, expected, atol=TOLERANCE, rtol=0):", "if False:",
        "test_probabilities_are_compared_when_the_graph_is_made"),
)
# fmt: on


def main(numbers: Iterable[int]) -> int:
    """Try the bugs of these numbers, from 1; the exit code is 1 unless all are caught."""
    chosen = [(number, BUGS[number - 1]) for number in numbers]
    caught = 0
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True  # of a file that changes twice within a second
    for name in HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "src"
        shutil.copytree(ROOT / "src", package, ignore=shutil.ignore_patterns("__pycache__"))
        tests = [test for _, bug in chosen for test in places(bug.tests.split()) or []]
        if not passes(list(dict.fromkeys(tests)), package):
            raise SystemExit("the tests fail without any bug: mend that first")
        for number, bug in chosen:
            started = time.monotonic()
            outcome = tried(bug, package)
            caught += outcome == "caught"
            print(f"{number:3}  {outcome:7}  {time.monotonic() - started:5.0f} s  {bug.room}: {bug.what}", flush=True)
    print(f"{caught} of {len(chosen)} caught")
    return int(caught < len(chosen))


def tried(bug: Bug, package: Path) -> str:
    """Plant a bug, run its tests and take it out again: caught, missed, or what is to be brought up to date."""
    tests = places(bug.tests.split())
    files = [file for file in package.rglob("*.py") if bug.old in file.read_text(encoding="utf-8")]
    if len(files) != 1 or files[0].read_text(encoding="utf-8").count(bug.old) != 1:
        return "no text" if not files else "2 texts"
    if tests is None:
        return "no test"
    sound = files[0].read_text(encoding="utf-8")
    files[0].write_text(sound.replace(bug.old, bug.new), encoding="utf-8")
    try:
        return "missed" if passes(tests, package) else "caught"
    finally:
        files[0].write_text(sound, encoding="utf-8")


def places(names: list[str]) -> list[str] | None:
    """The tests of these names as pytest wants them; None where one is gone."""
    found = []
    for name in names:
        stem, _, name = name.rpartition("::")
        defined = re.compile(rf"^def {name}\(", re.MULTILINE)
        there = TESTS.rglob(f"{stem or 'test_*'}.py")
        files = [file for file in there if defined.search(file.read_text(encoding="utf-8"))]
        if not files:
            return None
        found += [f"{file}::{name}" for file in files]
    return found


def passes(tests: list[str], package: Path) -> bool:
    """Whether all tests pass on this copy of the package, in a process forked from this one, which has loaded torch."""
    with tempfile.TemporaryFile() as printed:
        process = os.fork()
        if process == 0:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
            os._exit(run(tests, package))
        end = time.monotonic() + TIMEOUT
        while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return False
            time.sleep(0.02)
        code = os.waitstatus_to_exitcode(ended[1])
        if code > 1:
            printed.seek(0)
            raise SystemExit(f"{' '.join(tests)} did not run:\n{printed.read().decode()}")
    return code == 0


def run(tests: list[str], package: Path) -> int:
    """Run tests on this copy of the package, up to the first that fails; pytest's exit code."""
    import pytest

    os.environ["PYTHONPATH"] = os.pathsep.join((str(package), str(ROOT)))  # of processes that tests start
    sys.path[:0] = [str(package), str(ROOT)]
    os.chdir(ROOT)
    return int(pytest.main(["-x", "-n", "0", *tests]))


if __name__ == "__main__":
    raise SystemExit(main(map(int, sys.argv[1:]) if sys.argv[1:] else range(1, len(BUGS) + 1)))
