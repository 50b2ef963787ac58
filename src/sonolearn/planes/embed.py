"""`sonolearn embed`: the features of every frame of stores, as a table for other programs.

A row a frame: `store` (name of its folder), `row` in its frames.h5, `scan` and `patient` (pseudonyms), `frame` (number
in the recording), `plane` and `split` (empty where a frame has no label), and `features`, float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from sonolearn.config import ClassifyConfig, EmbedConfig
from sonolearn.console import UserError, progress, say
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.typical import Features
from sonolearn.runs import writing
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.encoders import check_init
from sonolearn.ssl.features import extract, read_images
from sonolearn.ssl.frames import FramePool, all_frames
from sonolearn.store.store import Frames, Store

ENDINGS = (".parquet", ".npz")
AT_ONCE = 1024
"""Frames that are in memory at once."""


def embed(stores: Sequence[Path], out: Path, config: EmbedConfig) -> Path:
    """Write the features of all frames of the stores, in their order, whole or not at all.

    Args:
        stores: labelled or not.
        out: a file that ends in .parquet (features are a list a row) or .npz (an array a column; features (N, F)).
        config: encoder, image size, device.

    Returns:
        `out`.

    Raises:
        UserError: another ending, a folder in the way, no such initialisation or store, features that are not finite.
    """
    if out.suffix not in ENDINGS:
        raise UserError(f"--out {out}: give a file that ends in {' or '.join(ENDINGS)}")
    if out.is_dir():
        raise UserError(f"{out}: is a folder; name a file, such as --out {out / 'features.parquet'}")
    initialisation = initialisation_of(config)
    check_init(config, initialisation.image_size)
    pool = all_frames([Store(path) for path in stores])
    table, about = describe_frames(pool), json.dumps(initialisation.describe())
    parts = features_of(pool, initialisation, config)
    with writing(out, checksum=False) as temporary:  # anywhere, not in a run
        if out.suffix == ".npz":
            _write_npz(temporary, table, np.concatenate(list(parts)), about)
        else:
            _write_parquet(temporary, table, parts, about)
    patients = table["patient"].nunique()
    say(f"{out}: features of {len(table)} frames of {patients} patients by {initialisation.name}")
    return out


def initialisation_of(config: EmbedConfig) -> Initialisation:
    """The encoder that the options name, as `classify` knows it."""
    shared = ("encoder", "init", "encoder_args", "small_stem", "image_size", "precision", "accelerator")
    return Initialisation(ClassifyConfig(**{name: getattr(config, name) for name in shared}))


def features_of(pool: FramePool, initialisation: Initialisation, config: EmbedConfig) -> Iterator[Features]:
    """Features of the pool's frames in its order, (n, F), in chunks that memory is sure to hold.

    Raises:
        UserError: features are not finite.
    """
    encoder, card = initialisation.load(0)
    fabric = make_fabric(config.accelerator, config.precision)
    with progress("embed", len(pool)) as bar:
        for start in range(0, len(pool), AT_ONCE):
            images = _images(pool, slice(start, start + AT_ONCE), initialisation.image_size)
            features = extract(encoder, card, images, fabric)
            if not torch.isfinite(features).all():
                raise UserError("the encoder's features are not finite; give --precision 32-true, or another --init")
            yield np.asarray(features.cpu().numpy(), np.float32)
            bar.advance(len(images))


def _images(pool: FramePool, part: slice, size: int) -> Frames:
    """Frames of the pool as the encoder takes them, (n, size, size) uint8."""
    stores, rows = pool.store_of_frame[part], pool.row_of_frame[part]
    images = np.empty((len(rows), size, size), np.uint8)
    for number, store in enumerate(pool.stores):
        images[stores == number] = read_images(store, rows[stores == number], size)
    return images


def describe_frames(pool: FramePool) -> pd.DataFrame:
    """A row a frame of the pool: store, row, scan, frame, patient, plane, split; texts are empty where unknown."""
    tables = []
    for number, store in enumerate(pool.stores):
        rows = pool.row_of_frame[pool.store_of_frame == number]
        table = pd.DataFrame({"store": store.path.resolve().name, "row": rows})
        table["scan"] = store.scans["scan"].to_numpy(object)[store.scan_of_frame[rows]]
        table["frame"] = store.number_of_frame[rows]
        table["patient"] = store.patient_of_frame[rows]
        for column in ("plane", "split"):
            known = {} if store.labels is None else dict(zip(store.labels["row"], store.labels[column], strict=True))
            table[column] = [known.get(row, "") for row in rows.tolist()]
        table.index = pd.Index(np.flatnonzero(pool.store_of_frame == number))
        tables.append(table)
    return pd.concat(tables).sort_index()


def _write_npz(file: Path, table: pd.DataFrame, features: Features, about: str) -> None:
    columns = {
        name: np.array(column, str if column.dtype == object or name not in ("row", "frame") else None)
        for name, column in table.items()
    }
    with file.open("wb") as target:
        np.savez(target, features=features, initialisation=np.array(about), **columns)  # type: ignore[arg-type]


def _write_parquet(file: Path, table: pd.DataFrame, parts: Iterator[Features], about: str) -> None:
    described = pa.Table.from_pandas(table, preserve_index=False)
    done, writer = 0, None
    try:
        for features in parts:
            lists = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
            part = described.slice(done, len(features)).append_column("features", lists)
            part = part.replace_schema_metadata({**(part.schema.metadata or {}), b"sonolearn": about.encode()})
            writer = writer or pq.ParquetWriter(file, part.schema)
            writer.write_table(part)
            done += len(features)
    finally:
        if writer is not None:
            writer.close()
