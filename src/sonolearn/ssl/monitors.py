"""Monitors: does the encoder still tell frames apart? Computed on held-out patients while it is trained.

All look at the encoder's features, which every method has and which are what remains:

- `feature_std`: standard deviation of the length-normalised features, times the root of their number (Chen & He, CVPR
  2021, section 4.1): 1 where they point in all directions alike, 0 where all frames give the same;
- `effective_rank`: RankMe (Garrido et al., ICML 2023), the exponential of the entropy of the singular values: how many
  dimensions are in use, 1 to min(N, F);
- `alignment`: mean squared distance of the normalised features of two views of a sample, 0 to 4, and `uniformity`: log
  of the mean of exp(-2 d^2) over different samples, 0 (all alike) down to -4 (Wang & Isola, ICML 2020);
- `knn_accuracy`: balanced accuracy of nearest neighbours from the training to the validation part of a labelled store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sonolearn.ssl.devices import gather

MONITORS = ("feature_std", "effective_rank", "alignment", "uniformity", "knn_accuracy")

# Below either, frames are hardly told apart. Constant features have a deviation of 0 and a rank of 1. Random weights
# were never below 0.08 and 7 (four encoders, phantom and HC18), healthy runs never below 0.16 and 4.5: see
# docs/methods.md.
COLLAPSED_STD = 0.05
COLLAPSED_RANK = 2.0

# More samples change the figures by less than a percent and cost the square in time.
SAMPLES = 1024


@torch.no_grad()
def monitor(encoder: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """The monitors of an encoder in evaluation mode, over the batches of all processes.

    Args:
        encoder: (N, 1, H, W) to (N, F).
        batches: first and second views; of a method that has one view, the same twice.

    Returns:
        All of `MONITORS` but knn_accuracy; alignment is NaN where the views are the same.
    """
    features: list[tuple[Tensor, Tensor]] = []
    alike = True
    for first, second in batches:
        same = first is second
        one = gather(encoder(first).float())
        features.append((one, one if same else gather(encoder(second).float())))
        alike &= same
        if sum(len(f) for f, _ in features) >= SAMPLES:
            break
    if not features:
        return {}
    first, second = (torch.cat(parts)[:SAMPLES] for parts in zip(*features, strict=True))
    return {
        "feature_std": feature_std(first),
        "effective_rank": effective_rank(first),
        "alignment": math.nan if alike else alignment(first, second),
        "uniformity": uniformity(first),
    }


def feature_std(features: Tensor) -> float:
    """Mean over the dimensions of the standard deviation of the normalised (N, F) features, times sqrt(F)."""
    unit = normalize(features.double(), dim=1)
    return float(unit.std(dim=0, correction=0).mean()) * math.sqrt(features.shape[1])


def effective_rank(features: Tensor) -> float:
    """RankMe, equation 1: exp of the entropy of the singular values of the (N, F) features, each over their sum."""
    matrix = features.double()
    # The smaller of the two Gram matrices has the squares of the singular values for eigenvalues.
    gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
    singular = torch.linalg.eigvalsh(gram.cpu()).clamp(min=0).sqrt()
    share = singular / singular.sum().clamp(min=1e-300) + 1e-7
    return float(torch.exp(-(share * share.log()).sum()))


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of the normalised (N, F) features of two views."""
    return float((normalize(first.double(), dim=1) - normalize(second.double(), dim=1)).square().sum(dim=1).mean())


def uniformity(features: Tensor) -> float:
    """Log of the mean of exp(-2 d^2) over all pairs of different samples, d the distance of normalised features."""
    distances = torch.pdist(normalize(features.double(), dim=1).cpu())
    return float(torch.logsumexp(-2 * distances.square(), dim=0)) - math.log(len(distances))


def has_collapsed(figures: dict[str, float]) -> bool:
    """Whether monitored features say that the encoder gives all frames the same."""
    return bool(figures) and (figures["feature_std"] < COLLAPSED_STD or figures["effective_rank"] < COLLAPSED_RANK)


def collapse_in_words(figures: dict[str, float]) -> str:
    """One sentence about a collapse and what to do."""
    return (
        f"the encoder has collapsed, it hardly tells frames apart (standard deviation {figures['feature_std']:.2g}, "
        f"effective rank {figures['effective_rank']:.1f}); lower --optimizer.lr, or raise --batch_size"
    )
