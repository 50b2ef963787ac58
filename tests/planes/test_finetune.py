"""Full fine-tuning: reproducible, independent of loader processes, and using no more than its subset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from planes.labelled_store import tiny
from sonolearn.console import UserError
from sonolearn.data.store import Store
from sonolearn.planes import finetune
from sonolearn.planes import views as views_room
from sonolearn.planes.finetune import fit_finetune
from sonolearn.planes.head import Fitted
from sonolearn.planes.images import Labelled, grey_statistics, labelled
from sonolearn.planes.views import EpochBatches, TrainingViews, make_loader
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.encoders import Card, build
from sonolearn.ssl.features import read_images


@pytest.fixture(scope="module")
def parts(store_path: Path) -> dict[str, tuple[np.ndarray, Labelled]]:
    store = Store(store_path)
    assert store.labels is not None
    found = {name: labelled(store, group) for name, group in store.labels.groupby("split")}
    return {str(name): (read_images(store, part.rows, 32), part) for name, part in found.items()}


def fit(parts: dict, seed: int = 0, take: int | None = None, **options: object) -> Fitted:
    images, labels = parts["train"]
    rows = labels.rows[:take]
    subset = (images[:take], labels.at(rows))
    config = tiny("finetune", **options)
    encoder = build(Card("test_resnet"), seed)
    return fit_finetune(encoder, subset, parts["valid"], 3, config, seed, make_fabric("cpu", "32-true"))


def probabilities(fitted: Fitted, parts: dict) -> np.ndarray:
    return fitted.predict(torch.from_numpy(parts["test"][0]))


def test_same_seed_is_bit_equal_with_0_and_2_loader_processes_and_other_seeds_differ(parts: dict) -> None:
    alone = probabilities(fit(parts, workers=0), parts)
    torch.rand(7)  # whatever was drawn before must not matter
    assert (alone == probabilities(fit(parts, workers=2), parts)).all()
    assert (alone != probabilities(fit(parts, seed=1), parts)).any()


def test_what_can_be_separated_is_learnt(parts: dict) -> None:
    fitted = fit(parts, epochs=15, lr=3e-3, randaugment=(1, 1), dropout=0.0)
    assert (probabilities(fitted, parts).argmax(1) == parts["test"][1].targets).mean() > 0.9
    assert fitted.best_epoch == 1 + int(np.argmax([row["valid_balanced_accuracy"] for row in fitted.history]))


@pytest.mark.parametrize("take", [2, 17])
def test_a_last_batch_of_one_does_not_break_batch_norm(parts: dict, take: int) -> None:
    assert np.isfinite(probabilities(fit(parts, take=take, epochs=1, batch_size=16), parts)).all()


def test_training_stops_at_max_steps_and_the_cut_epoch_counts(parts: dict) -> None:
    fitted = fit(parts, epochs=10, max_steps=4, batch_size=16)  # 3 steps an epoch
    assert [row["epoch"] for row in fitted.history] == [1, 2]


def test_normalisation_and_class_weights_come_from_the_subset(parts: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list = []
    original = finetune.normalise
    monkeypatch.setattr(finetune, "normalise", lambda f, m, s: seen.append((m, s)) or original(f, m, s))
    monkeypatch.setattr(finetune, "class_weights", lambda t, c: seen.append(len(t)) or torch.ones(c))
    fit(parts, take=6, epochs=1)
    pixels = parts["train"][0][:6] / 255
    assert seen[0] == 6
    assert seen[1] == pytest.approx((pixels.mean(), pixels.std()))
    assert len(set(seen[1:])) == 1  # validation is normalised in the same way


def test_a_loss_that_is_not_finite_names_its_step(parts: dict) -> None:
    with pytest.raises(UserError, match="not finite at step"):
        fit(parts, lr=1e30, epochs=4)


def test_views_depend_on_seed_epoch_and_image_only(parts: dict) -> None:
    images, labels = parts["train"]
    views = TrainingViews(images, labels.rows, (5, 5), seed=0)
    first = views[1, 3]
    torch.rand(3)
    assert first.dtype == torch.uint8
    assert first.shape == (32, 32)
    assert torch.equal(first, views[1, 3])
    assert any(not torch.equal(views[1, i], views[2, i]) for i in range(5))
    assert any(not torch.equal(views[1, i], TrainingViews(images, labels.rows, (5, 5), 1)[1, i]) for i in range(5))
    # In a smaller subset the image stands elsewhere, and has the same views.
    smaller = TrainingViews(images[3:4], labels.rows[3:4], (5, 5), seed=0)
    assert torch.equal(first, smaller[1, 0])


def test_each_image_has_one_view_an_epoch_and_batches_come_whole(parts: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = parts["train"]
    drawn: list[int] = []
    original = views_room.randaugment
    monkeypatch.setattr(views_room, "randaugment", lambda *a: drawn.append(1) or original(*a))
    stacked: list[int] = []
    stack = torch.stack
    monkeypatch.setattr(torch, "stack", lambda *a, **k: stacked.append(1) or stack(*a, **k))
    views, batches = TrainingViews(images, labels.rows, (5, 5), 0), EpochBatches(len(labels), 16, 2, 0)
    found = list(make_loader(views, batches, workers=0, pin=False))
    assert len(drawn) == 2 * len(labels)
    assert not stacked  # a batch is written in place, not put together from single views
    for epoch in (0, 1):
        of_epoch = found[epoch * len(found) // 2 : (epoch + 1) * len(found) // 2]
        assert sorted(torch.cat([positions for _, positions in of_epoch]).tolist()) == list(range(len(labels)))
        for frames, positions in of_epoch:
            assert frames.dtype == torch.uint8
            assert torch.equal(frames, stack([views[epoch + 1, int(position)] for position in positions]))


class Looks(TorchDispatchMode):
    """Counts looks at single numbers, each of which makes a GPU's queue run dry."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "_local_scalar_dense" in str(func) or "nonzero" in str(func)
        return func(*args, **(kwargs or {}))


def test_more_steps_do_not_look_at_more_numbers(parts: dict) -> None:
    counts = []
    for batch_size in (24, 6):
        with Looks() as looks:
            fit(parts, epochs=2, batch_size=batch_size, randaugment=(1, 1))
        counts.append(looks.count)
    assert counts[0] == counts[1]


def test_what_a_step_takes_is_moved_without_waiting(parts: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.dtype] = []
    moved: list[torch.dtype] = []
    original = torch.Tensor.to

    def watched(tensor: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        if isinstance(arguments[0], torch.device):
            (moved if options.get("non_blocking") else waited).append(tensor.dtype)
        return original(tensor, *arguments, **options)

    counts = []
    for batch_size in (24, 6):
        waited.clear()
        moved.clear()
        with monkeypatch.context() as watching:
            watching.setattr(torch.Tensor, "to", watched)
            fit(parts, epochs=1, batch_size=batch_size, randaugment=(1, 1))
        counts.append(len(waited))
        assert Counter(moved) == dict.fromkeys((torch.uint8, torch.int64), 48 // batch_size)  # views and positions
    assert counts[0] == counts[1]  # once a training and for validation, not in steps


def test_without_randaugment_views_are_flips(parts: dict) -> None:
    images, labels = parts["train"]
    views, image = TrainingViews(images, labels.rows, (0, 0), seed=0), torch.from_numpy(images[0])
    flips = [image, image.flip(0), image.flip(1), image.flip((0, 1))]
    found = [next(i for i, flip in enumerate(flips) if torch.equal(views[epoch, 0], flip)) for epoch in range(30)]
    assert set(found) == {0, 1, 2, 3}


def test_grey_statistics_equal_numpy_and_a_blank_image_divides_by_no_zero(parts: dict) -> None:
    images = parts["train"][0]
    assert grey_statistics(images) == pytest.approx(((images / 255).mean(), (images / 255).std()))
    assert grey_statistics(np.zeros((2, 4, 4), np.uint8)) == (0, 1 / 255)
