"""The optional packages of work in a hospital."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sonolearn.console import UserError

_PACKAGES = frozenset(("highdicom", "pynetdicom", "dicomweb_client"))


@contextmanager
def needs_hospital() -> Iterator[None]:
    """Name the extra when one of its packages is missing.

    Raises:
        UserError: it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in _PACKAGES:
            raise
        raise UserError(f"{error.name} is not installed: pip install 'sonolearn[hospital]'") from error
