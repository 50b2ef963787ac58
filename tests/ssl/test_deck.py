"""Dealing cards: all equally often, never twice in a hand, and any hand without those before it."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from sonolearn.runs import generator_for
from sonolearn.ssl.batches import Deck

DECKS = st.builds(Deck, st.integers(1, 30), st.integers(1, 20), st.tuples(st.integers(0, 99), st.just("test")))


def dealt_in_order(deck: Deck, hands: int) -> list[tuple[int, int]]:
    """The rule played from the first hand on: of the shuffled cards, those not yet in the open hand come first."""
    dealt: list[tuple[int, int]] = []
    for number in range(hands * deck.hand // deck.cards + 1):
        waiting = list(generator_for(*deck.seed, number).permutation(deck.cards))
        while waiting:
            begun = [card for _, card in dealt[len(dealt) // deck.hand * deck.hand :]]
            fitting = [card for card in waiting if deck.cards < deck.hand or card not in begun]
            waiting.remove(fitting[0])
            dealt.append((number, int(fitting[0])))
    return dealt[: hands * deck.hand]


@given(DECKS)
def test_any_hand_is_the_one_that_dealing_from_the_start_comes_to(deck: Deck) -> None:
    hands = 12
    dealt = dealt_in_order(deck, hands)
    for number in reversed(range(hands)):
        assert deck.deal(number) == dealt[number * deck.hand : (number + 1) * deck.hand]


@given(DECKS, st.integers(1, 60))
def test_cards_are_dealt_equally_often_and_once_a_round(deck: Deck, hands: int) -> None:
    dealt = [card for number in range(hands) for card in deck.deal(number)]
    assert len(set(dealt)) == len(dealt) == hands * deck.hand
    counts = Counter(card for _, card in dealt)
    uses = [counts[card] for card in range(deck.cards)]
    assert sum(uses) == len(dealt)
    assert max(uses) - min(uses) <= 1


@given(DECKS, st.integers(0, 10**6))
def test_no_card_is_twice_in_a_hand_of_at_most_the_deck(deck: Deck, number: int) -> None:
    assume(deck.hand <= deck.cards)
    assert len({card for _, card in deck.deal(number)}) == deck.hand


def test_rounds_and_seeds_have_orders_of_their_own() -> None:
    orders = [[card for _, card in Deck(40, 40, seed).deal(n)] for seed in ((0,), (1,)) for n in (0, 1)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_every_card_is_equally_likely_to_end_and_to_begin_a_hand() -> None:
    """7 cards in hands of 3: hands are open at the ends of rounds, whose rule could prefer a card."""
    hands = np.array([[card for _, card in Deck(7, 3, (seed, "fair")).deal(n)] for seed in range(700) for n in (2, 4)])
    for place in range(3):
        counts = np.bincount(hands[:, place], minlength=7)
        assert abs(counts - 200).max() < 5 * np.sqrt(200 * 6 / 7)
