"""Linear evaluation: a linear head on the features of a frozen encoder; a pure function of tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from sonolearn.config import ClassifyConfig
from sonolearn.planes.head import Best, Fitted, Probabilities, batches_of, class_weights, make_head, mean_loss
from sonolearn.runs import seed_for


def fit_linear(
    train: Tensor,
    targets: NDArray[np.int64],
    valid: Tensor,
    valid_targets: NDArray[np.int64],
    classes: int,
    config: ClassifyConfig,
    seed: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> Fitted:
    """Train a linear head, keep the epoch with the best validation balanced accuracy.

    Args:
        train: (n, F) float32 features of the subset in use.
        targets: (n,) their classes.
        valid: (m, F) features of the validation part.
        valid_targets: (m,) their classes.
        classes: C.
        config: epochs, batch size, learning rate, dropout, `standardise`.
        seed: of the head, order and dropout.
        on_epoch: called after every epoch, for a progress bar.

    Raises:
        UserError: the loss is not finite.
    """
    shift, scale = standardisation(train) if config.standardise else (train.new_zeros(1), train.new_ones(1))
    inputs, truth = (train - shift) * scale, torch.from_numpy(targets).to(train.device)
    valid_inputs = (valid - shift) * scale
    weights = class_weights(targets, classes).to(train.device)
    head = make_head(train.shape[1], classes, seed).to(train.device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    best, step = Best(), 0
    for epoch in range(1, config.epochs + 1):
        losses = []
        for batch in batches_of(len(train), config.batch_size, seed, epoch):
            if step == config.max_steps:
                break
            step += 1
            chosen = torch.from_numpy(batch).to(train.device)
            features = _dropped(inputs[chosen], config.dropout, seed_for(seed, "dropout", step))
            loss = cross_entropy(head(features), truth[chosen], weight=weights)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.detach())
        if not losses:
            break
        best.offer(head, epoch, mean_loss(losses, step), valid_targets, _predict(head, valid_inputs))
        on_epoch()
    best.restore(head)
    return Fitted(lambda features: _predict(head, (features - shift) * scale), best.epoch, best.score, best.history)


def standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale of a batch norm without affine, from all features of the subset in use at once.

    These are the exact statistics that batch norm approaches by running averages. It adds 1e-5 to the variance, which
    would silence encoders with small features: those of random weights in evaluation mode differ by 1e-6 from image to
    image. Nothing is added here, so that results do not depend on the scale of the features. A feature that is
    constant in the subset, but for the rounding of float32, says nothing about it and gets scale 0.

    Args:
        features: (n, F).

    Returns:
        (F,) shift and (F,) scale; standardised features are (features - shift) x scale.
    """
    variance, mean = torch.var_mean(features.double(), dim=0, correction=0)
    constant = variance <= 1e-11 * mean.square()
    scale = torch.where(constant, 0, variance.rsqrt())
    return mean.to(features.dtype), scale.to(features.dtype)


def _dropped(features: Tensor, rate: float, seed: int) -> Tensor:
    """Dropout that draws from `seed` and leaves the generators of others alone."""
    with torch.random.fork_rng(devices=[features.device] if features.is_cuda else []):
        if features.is_cuda:
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        return dropout(features, rate)


def _predict(head: nn.Linear, inputs: Tensor) -> Probabilities:
    with torch.no_grad():
        return np.asarray(head(inputs).softmax(1).cpu().numpy(), dtype=np.float32)
