"""All kinds of inputs."""

from __future__ import annotations

from benchmarks.fuzzing import options, own_files, scans, tables
from benchmarks.fuzzing.kind import Kind

KINDS: tuple[Kind, ...] = (*scans.KINDS, *tables.KINDS, *own_files.KINDS, *options.KINDS)
SCANS = frozenset(kind.name for kind in scans.KINDS)
"""Kinds whose readers may die: `prepare` reads them in processes of their own."""


def kind_named(name: str) -> Kind:
    """The kind of this name."""
    return next(kind for kind in KINDS if kind.name == name)


def loaded(heavy: bool) -> None:
    """Load what inputs need, so that processes forked from this one need not."""
    import sonolearn.options
    import sonolearn.scans.dicom
    import sonolearn.store.prepare
    import sonolearn.study.plan  # noqa: F401

    if heavy:
        from benchmarks.killing.forked import loaded as all_loaded

        all_loaded()
