"""Many L2-regularised multinomial logistic regressions at once, each solved to its unique optimum.

All images of a subset, all classes and all strengths of the regularisation are columns of one matrix product, so that
a step of a hundred heads costs little more than a step of one. No optimum leaves the span of the images, W = X^T A, so
the search runs over A with the Gram matrix X X^T (Kimeldorf & Wahba, 1971): one product of it with all columns a step,
however many features there are. The method is nonlinear conjugate gradients (Polak & Ribiere, 1969, restarted where
their factor is negative) with steps by the exact curvature along the line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sonolearn.console import UserError

TOLERANCE = 3e-5
"""A head is finished when its gradient is shorter than this share of lambda ||W||, the pull of the regularisation.

The objective curves by at least lambda, so W is then nearer to the optimum than this share of its length (as far as
the bias, which is not regularised, has settled), and in most directions far nearer.
"""
SMALL = 1e-12
"""Squares below it are rounding: features that say nothing."""
MOST_STEPS = 20_000
FLAT = 0.3
"""A step along a line is accepted where the slope has fallen to this share of the slope at its start."""


def optima(inputs: Tensor, weights: Tensor, truth: Tensor, strengths: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise sum_i weights_i x cross-entropy_i + (strength / 2) ||W||^2 over W and a bias that is not penalised.

    A class without an image gets the weight 0 and the bias -inf, hence the probability 0.

    Args:
        inputs: (S, n, F) float64 features of S subsets of n images.
        weights: (S, n) float64, above 0: what each image counts for; they add up to 1 in each subset.
        truth: (S, C, n) float64, 1 where the image is of the class and 0 elsewhere.
        strengths: (L,) float64, above 0.

    Returns:
        (S, L, C, F) W and (S, L, C) bias for each subset and strength.

    Raises:
        UserError: a head has not reached `TOLERANCE` after `MOST_STEPS` steps.
    """
    mean = weights[:, None] @ inputs  # The bias takes up any shift; around the mean it hardly depends on W.
    centred = inputs - mean
    search = _Search(centred, weights, truth, strengths)
    found = torch.zeros(len(inputs), len(strengths), *truth.shape[1:]).to(inputs)
    bias = found[..., :1].clone()
    open_strengths = torch.arange(len(strengths), device=inputs.device)
    for _ in range(MOST_STEPS):
        unfinished = search.unfinished().any(0).flatten()
        if not unfinished.all():
            finished = open_strengths[~unfinished]
            found[:, finished] = search.at.coefficients[:, ~unfinished]
            bias[:, finished] = search.length * search.at.offset[:, ~unfinished]
            open_strengths = open_strengths[unfinished]
            search.narrow(unfinished)
        if not len(open_strengths):
            matrix = (found.flatten(1, 2) @ centred).view(*found.shape[:3], -1)
            return matrix, (bias - matrix @ mean[:, None].mT).squeeze(3)
        search.turn()
        search.step()
    raise UserError(
        f"the linear head with regularisation {strengths[open_strengths[0]]:g} has not converged in {MOST_STEPS} "
        "steps; leave small values out of --regularisations, or give --standardise shared"
    )


class Vector(NamedTuple):
    """A point, gradient or direction for every head: weights W = X^T A and a bias.

    The bias is the weight of a constant feature, so that the scale of that feature can be chosen for fast convergence.

    Attributes:
        coefficients: (S, L, C, n) A.
        image: (S, L, C, n) X W, the logits without the bias.
        offset: (S, L, C, 1) weight of the constant feature.
    """

    coefficients: Tensor
    image: Tensor
    offset: Tensor

    def plus(self, factor: Tensor, other: Vector) -> Vector:
        """Self + factor x other, with (S, L, 1, 1) factors."""
        return Vector(*(torch.addcmul(one, factor, two) for one, two in zip(self, other, strict=True)))

    def of_weights(self, other: Vector) -> Tensor:
        """(S, L, 1, 1) inner product of both W."""
        return _inner(self.image, other.coefficients)

    def dot(self, other: Vector) -> Tensor:
        """(S, L, 1, 1) inner product of W and constant feature."""
        return self.of_weights(other) + _inner(self.offset, other.offset)

    def kept(self, chosen: Tensor) -> Vector:
        """Only some of the strengths."""
        return Vector(*(part[:, chosen] for part in self))


class _Search:
    """Where every head stands, and its step towards its optimum; heads do not influence each other."""

    def __init__(self, inputs: Tensor, weights: Tensor, truth: Tensor, strengths: Tensor) -> None:
        """Start from W = 0 and bias 0."""
        self.multiply = gram_product(inputs)
        self.weights, self.truth, self.strengths = weights[:, None, None], truth[:, None], strengths.view(1, -1, 1, 1)
        zero = torch.zeros(len(inputs), len(strengths), *truth.shape[1:]).to(inputs)
        absent = torch.where(truth.sum(2) > 0, 0, -torch.inf)[:, None, :, None]
        self.at = Vector(zero, zero, zero[..., :1] + absent)
        self.logits = zero + absent
        self.probabilities = self.logits.softmax(2)
        self.residual = self.weights * (self.probabilities - self.truth)
        # The constant feature is as long as the features are in the direction that tells the classes apart.
        apart = _inner(self.residual, self.multiply(self.residual)) / _inner(
            self.residual, self.residual / self.weights
        )
        self.length = torch.where(apart > SMALL, apart, 1)[:, :1].sqrt()
        self.gradient = self._gradient()
        self.square = self.gradient.dot(self.gradient)
        self.last, self.last_square, self.direction = self.gradient, self.square, self.gradient
        self.started = False

    def unfinished(self) -> Tensor:
        """(S, L, 1, 1) whether the gradient is still too long."""
        pull = self.strengths.square() * self.at.of_weights(self.at)
        return self.square > TOLERANCE**2 * torch.maximum(pull, SMALL * self.length.square())

    def narrow(self, chosen: Tensor) -> None:
        """Go on with some of the strengths: those that no subset needs any more cost nothing then."""
        for name in ("at", "gradient", "last", "direction"):
            setattr(self, name, getattr(self, name).kept(chosen))
        for name in ("strengths", "logits", "probabilities", "residual", "square", "last_square"):
            setattr(self, name, getattr(self, name)[:, chosen])

    def turn(self) -> None:
        """The next direction: against the gradient, bent towards the direction before."""
        downhill = Vector(*(-part for part in self.gradient))
        if self.started:
            bend = ((self.square - self.gradient.dot(self.last)) / self.last_square).clamp(min=0)
            self.direction = downhill.plus(bend.nan_to_num(), self.direction)
        else:
            self.direction, self.started = downhill, True

    def step(self) -> None:
        """Go along the direction to where it is nearly level, and take the gradient there."""
        way = self.direction.image + self.length * self.direction.offset
        pull = self.strengths * self.at.of_weights(self.direction)
        bow = self.strengths * self.direction.of_weights(self.direction)
        slope = _inner(self.residual, way) + pull
        likely = self.probabilities * way
        bent = self.weights * (likely - self.probabilities * likely.sum(2, keepdim=True))
        moving = self.unfinished() & (slope < 0)
        length = torch.where(moving, -slope / (_inner(bent, way) + bow), 0)
        low, high = torch.zeros_like(length), torch.full_like(length, torch.inf)
        start = self.logits
        while True:
            self.logits = torch.addcmul(start, length, way)
            self.probabilities = self.logits.softmax(2)
            self.residual = self.weights * (self.probabilities - self.truth)
            there = _inner(self.residual, way) + pull + length * bow
            far = moving & (there.abs() > FLAT * slope.abs()) & (high - low > 1e-12 * length)
            if not far.any():
                break
            low, high = torch.where(there < 0, length, low), torch.where(there < 0, high, length)
            length = torch.where(far, torch.where(high.isinf(), 2 * length, (low + high) / 2), length)
        self.at = self.at.plus(length, self.direction)
        self.last, self.last_square = self.gradient, self.square
        self.gradient = self._gradient()
        self.square = self.gradient.dot(self.gradient)

    def _gradient(self) -> Vector:
        """Its coefficients are the residuals of the images and the pull of the regularisation."""
        return Vector(
            torch.addcmul(self.residual, self.strengths, self.at.coefficients),
            torch.addcmul(self.multiply(self.residual), self.strengths, self.at.image),
            self.length * self.residual.sum(3, keepdim=True),
        )


def gram_product(inputs: Tensor) -> Callable[[Tensor], Tensor]:
    """Multiplication of (S, L, C, n) by the (S, n, n) Gram matrix of (S, n, F) inputs, the cheaper way round."""
    if inputs.shape[1] <= 2 * inputs.shape[2]:
        gram = inputs @ inputs.mT
        return lambda columns: (columns.flatten(1, 2) @ gram).view_as(columns)
    return lambda columns: ((columns.flatten(1, 2) @ inputs) @ inputs.mT).view_as(columns)


def _inner(one: Tensor, two: Tensor) -> Tensor:
    """(S, L, 1, 1) sum of the products of two (S, L, C, n)."""
    return (one.flatten(2)[:, :, None] @ two.flatten(2)[..., None]).view(*one.shape[:2], 1, 1)
