"""Nelder and Mead's simplex search (The Computer Journal 7, 1965), as SciPy has it, to the bit.

Finding the sector alone needs it; SciPy would be a fifth of a light install, and 0.7 s of each worker.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def minimise(
    cost: Callable[[Points], float], simplex: Points, evaluations: int, cost_tolerance: float, tolerance: float = 1e-4
) -> tuple[Points, float]:
    """The point of least cost that is found.

    Args:
        cost: of a point (D,).
        simplex: (D + 1, D) where the search starts; left as it is.
        evaluations: calls of `cost` at most.
        cost_tolerance: the search ends where the costs of the simplex differ by no more than this ...
        tolerance: ... and its coordinates by no more than this.

    Returns:
        The point (D,) and its cost.
    """
    search = _Search(cost, simplex, evaluations)
    while search.left and not search.narrow(tolerance, cost_tolerance):
        try:
            search.step()
        except _Spent:
            pass
        finally:
            search.sort()
    return search.points[0], float(search.costs[0])


class _Spent(Exception):  # noqa: N818 - the evaluations are used up in the middle of a step
    pass


class _Search:
    """The simplex, best point first, and how many evaluations are left."""

    def __init__(self, cost: Callable[[Points], float], simplex: Points, evaluations: int) -> None:
        self.cost, self.left = cost, evaluations
        self.points, self.costs = simplex.copy(), np.full(len(simplex), np.inf)
        try:
            for number, point in enumerate(self.points):
                self.costs[number] = self.of(point)
        except _Spent:
            pass
        self.sort()

    def of(self, point: Points) -> float:
        if not self.left:
            raise _Spent
        self.left -= 1
        return self.cost(point)

    def sort(self) -> None:
        order = np.argsort(self.costs)
        self.points, self.costs = self.points[order], self.costs[order]

    def narrow(self, tolerance: float, cost_tolerance: float) -> bool:
        wide = np.abs(self.points[1:] - self.points[0]).max() > tolerance
        return not wide and bool(np.abs(self.costs[0] - self.costs[1:]).max() <= cost_tolerance)

    def step(self) -> None:
        """Reflect the worst point; expand, contract or shrink by what that gives."""
        worst, middle = self.points[-1], np.add.reduce(self.points[:-1], 0) / (len(self.points) - 1)
        reflected = 2 * middle - worst
        cost = self.of(reflected)
        if cost < self.costs[0]:
            expanded = 3 * middle - 2 * worst
            expanded_cost = self.of(expanded)
            self.replace(*((expanded, expanded_cost) if expanded_cost < cost else (reflected, cost)))
        elif cost < self.costs[-2]:
            self.replace(reflected, cost)
        else:
            outside = cost < self.costs[-1]
            contracted = 1.5 * middle - 0.5 * worst if outside else 0.5 * middle + 0.5 * worst
            contracted_cost = self.of(contracted)
            if contracted_cost <= cost if outside else contracted_cost < self.costs[-1]:
                self.replace(contracted, contracted_cost)
            else:
                self.shrink()

    def replace(self, point: Points, cost: float) -> None:
        self.points[-1], self.costs[-1] = point, cost

    def shrink(self) -> None:
        for number in range(1, len(self.points)):
            self.points[number] = self.points[0] + 0.5 * (self.points[number] - self.points[0])
            self.costs[number] = self.of(self.points[number])
