"""Decode frames while others are cleaned and others classified: on all cores, in order and in flat memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


def overlapped(
    items: Iterator[Item], function: Callable[[Item], Result], threads: int, in_thread: Callable[[], None]
) -> Iterator[tuple[Item, Result]]:
    """Each item with what the function makes of it, in order.

    The thread that calls this makes the items; `threads` others compute, one item each. At most two items a thread are
    waiting or being computed.

    Args:
        items: made one at a time, in the calling thread.
        function: called in the other threads, for several items at the same time.
        threads: how many.
        in_thread: called first in each of them.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads, initializer=in_thread)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            while waiting and (len(waiting) >= 2 * threads or waiting[0][1].done()):
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ahead(items: Iterator[Item], most: int) -> Iterator[Item]:
    """The same items; another thread makes up to `most` of them before they are asked for.

    Raises:
        Exception: what making an item raises, where that item would have come.
    """
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, end) for _ in range(most))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield cast("Item", item)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
