"""Counts the operators that torch runs, and the largest tensor that one of them makes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "unique", "equal"}
"""Operators that make the program wait for the values of a GPU."""


class Operators(TorchDispatchMode):
    """While open, counts what is computed; backward passes on a CPU included.

    Attributes:
        calls: how often each operator ran, by its name; a multi-tensor operator counts once, whatever its tensors.
        largest: elements of the largest new tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.largest = Counter[str](), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.calls[func.overloadpacket.__name__] += 1
        # What changes a tensor in place, or shows it in another shape, makes none.
        if not any(result.alias_info for result in func._schema.returns):
            tensors = made if isinstance(made, (list, tuple)) else [made]
            self.largest = max([self.largest, *(t.numel() for t in tensors if isinstance(t, Tensor))])
        return made
