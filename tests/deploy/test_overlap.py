"""Overlap: in order, at the same time, and few items at a time; and items that are made ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from sonolearn.deploy.frames import ahead, overlapped


def nothing() -> None:
    return


def test_results_come_in_order_whatever_takes_longest() -> None:
    def slow_if_even(number: int) -> int:
        time.sleep(0.01 * (number % 2 == 0))
        return number**2

    assert list(overlapped(iter(range(20)), slow_if_even, 3, nothing)) == [(n, n**2) for n in range(20)]


def test_items_are_made_while_others_are_computed() -> None:
    computing, made = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        assert computing.wait(10)  # the first is being computed, and not finished, when the second is made
        made.set()
        yield 1

    def compute(number: int) -> int:
        computing.set()
        assert made.wait(10)
        return number

    assert [result for _, result in overlapped(items(), compute, 1, nothing)] == [0, 1]


def test_as_many_items_are_computed_at_the_same_time_as_there_are_threads() -> None:
    barrier = threading.Barrier(3, timeout=10)
    assert len(list(overlapped(iter(range(6)), lambda _: barrier.wait(), 3, nothing))) == 6


def test_at_most_two_items_a_thread_are_held() -> None:
    held, most = 0, 0

    def items() -> Iterator[int]:
        nonlocal held, most
        for number in range(40):
            held += 1
            most = max(most, held)
            yield number

    for _ in overlapped(items(), lambda number: time.sleep(0.001), 2, nothing):
        held -= 1
    assert held == 0
    assert most <= 4 + 1  # and one that the caller has


def test_a_fault_reaches_the_caller_and_ends_the_threads() -> None:
    def fail(number: int) -> None:
        raise ValueError(f"of {number}")

    before = threading.active_count()
    with pytest.raises(ValueError, match="of 0"):
        list(overlapped(iter(range(9)), fail, 2, nothing))
    assert threading.active_count() == before


# Made ahead


def test_items_made_ahead_are_the_same_in_order() -> None:
    assert list(ahead(iter(range(20)), 3)) == list(range(20))
    assert list(ahead(iter([None, 0]), 3)) == [None, 0]
    assert list(ahead(iter(()), 3)) == []


def test_they_are_made_in_one_other_thread_and_no_more_than_asked_for() -> None:
    makers, made, taken, most = set(), 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal made, most
        for number in range(30):
            makers.add(threading.get_ident())
            made += 1
            most = max(most, made - taken)
            yield number

    for _ in ahead(items(), 4):
        time.sleep(0.002)  # longer than making one
        taken += 1
    assert len(makers) == 1
    assert makers != {threading.get_ident()}
    assert 1 < most <= 5  # four ahead, and the one that is in use


def test_an_item_that_cannot_be_made_raises_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("the fourth")

    made = ahead(items(), 8)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(made)


def test_who_stops_early_leaves_no_thread() -> None:
    before = threading.active_count()
    made = ahead(iter(range(10**9)), 4)
    assert next(made) == 0
    assert threading.active_count() == before + 1
    made.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
