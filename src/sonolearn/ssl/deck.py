"""Cards dealt hand after hand: all equally often, in a fresh order each time; any hand is known without the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonolearn.runs import generator_for


@dataclass(frozen=True)
class Deck:
    """A deck that is shuffled anew whenever all its cards were dealt, also in the middle of a hand.

    No card is twice in a hand of at most as many cards as the deck has.

    Attributes:
        cards: their number; they are called 0 ... cards - 1.
        hand: number of cards in a hand.
        seed: of the order, as `generator_for` takes it.
    """

    cards: int
    hand: int
    seed: tuple[int | str, ...]

    def deal(self, number: int) -> list[tuple[int, int]]:
        """Hand `number` (from 0): the round (from 0; a card is dealt once a round) and the card, for each."""
        rounds, places = np.divmod(np.arange(number * self.hand, (number + 1) * self.hand), self.cards)
        orders = {int(r): self._order(int(r)) for r in np.unique(rounds)}
        return [(int(r), int(orders[int(r)][place])) for r, place in zip(rounds, places, strict=True)]

    def _order(self, number: int) -> NDArray[np.int64]:
        """Order of round `number`: a shuffle, but the hand that it finds begun is filled with cards not in it.

        This hangs on the round before, and so on, back to one that begins with a hand. Where the deck has twice as many
        cards as a hand, what is put off does not reach the end of its round: then one round back is enough.
        """
        back = number % (self.hand // math.gcd(self.cards, self.hand)) if self.hand <= self.cards else 0
        back = min(back, 1) if 2 * self.hand <= self.cards else back
        order = self._shuffle(number - back)
        for later in range(number - back + 1, number + 1):
            begun = later * self.cards % self.hand
            shuffle = self._shuffle(later)
            fill = shuffle[~np.isin(shuffle, order[len(order) - begun :])][: self.hand - begun] if begun else shuffle
            order = np.concatenate([fill, shuffle[~np.isin(shuffle, fill)]])
        return order

    def _shuffle(self, number: int) -> NDArray[np.int64]:
        return generator_for(*self.seed, number).permutation(self.cards)
