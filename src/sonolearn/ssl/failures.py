"""What goes wrong in devices and loader processes, in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from sonolearn.console import UserError


@contextmanager
def naming_failures(option: str) -> Iterator[None]:
    """Turn too little memory of whatever kind, and errors that loader processes found, into a `UserError`.

    Args:
        option: what to lower where memory is too small.
    """
    try:
        yield
    except UserError as error:
        if "Original Traceback" not in str(error):
            raise
        # torch hands over the error of a loader process as the text of its traceback.
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from error
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError":  # by its name: to predict by ONNX Runtime needs no torch
            raise UserError(f"the GPU has too little memory ({_first_line(error)}); lower {option}") from error
        if "shared memory" in str(error):
            free = shutil.disk_usage("/dev/shm").free / 2**20
            raise UserError(
                f"/dev/shm, through which loader processes pass batches on, is too small ({free:.0f} MiB free); "
                f"enlarge it (docker run --shm-size 8g), lower {option} or --workers, or give --workers 0"
            ) from error
        if "can't allocate memory" in str(error) or "DataLoader worker (pid" in str(error):
            raise UserError(f"memory ran out ({_first_line(error)}); lower {option} or --workers") from error
        raise


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
