"""The data card, how to make the study again, and what failed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
import yaml

from sonolearn.console import UserError
from sonolearn.pages import grouped
from sonolearn.study.page.identity import machine_without_names, plan_without_paths, without_folders
from sonolearn.study.page.tables import Table, table_of
from sonolearn.study.results import StudyResults
from sonolearn.study.words import duration, listed

WIDEST = 1600
"""Widest picture in the page, px."""


def data_card(results: StudyResults) -> tuple[list[Table], pd.DataFrame]:
    """Patients, images and planes of each part; test images of each machine. Second, the same as one table."""
    parts = results.store["parts"]
    lines = ["patients", "images", *results.planes]
    numbers = pd.DataFrame({
        name: [part["patients"], part["images"], *(part["planes"][plane] for plane in results.planes)]
        for name, part in parts.items()
    }, index=lines)  # fmt: skip
    heads = [line.capitalize() if line in lines[:2] else line for line in lines]
    shown = pd.DataFrame({"": heads, **{name: [grouped(int(n)) for n in numbers[name]] for name in parts}})
    machines = results.store["machines"]
    named = f" Machines: {listed(list(machines))}." if machines else ""
    tables = [
        table_of(
            "data", f"Labelled store {results.store['name']}, fingerprint {results.store['fingerprint']}: images by "
            f"part and plane. No patient is in two parts.{named}", shown,
        )
    ]  # fmt: skip
    by_machine = results.images.groupby("machine").agg(patients=("patient", "nunique"), images=("row", "size"))
    if len(by_machine) > 1:
        rows = pd.DataFrame({
            "Machine": [name or "unknown" for name in by_machine.index],
            **{what.capitalize(): by_machine[what].astype(str).to_list() for what in ("patients", "images")},
        })  # fmt: skip
        tables.append(table_of("machines", "The test part by machine.", rows))
    return tables, numbers.rename_axis("what").reset_index()


def reproduction(results: StudyResults) -> dict[str, Any]:
    """The plan as YAML, versions, machine, hashes and times; names of folders only."""
    plan = plan_without_paths(results.plan, results.planes)
    runs = results.runs
    facts = {
        "sonolearn": listed(sorted(set(runs["sonolearn"].astype(str)))),
        **{key.capitalize(): value for key, value in machine_without_names(results.machine).items()},
        "Store": f"{results.store['name']}, {results.store['fingerprint']}",
        "Data": listed(sorted(set(runs["data_hash"].astype(str)))),
        "Settings": f"{runs['config_hash'].nunique()} different, see config_hash in tables/runs.csv",
        "All trainings": duration(results.seconds),
        "From start to end": duration(results.wall_seconds),
    }
    return {
        "plan": yaml.safe_dump(plan, sort_keys=False, allow_unicode=True, width=100).strip(),
        "facts": {key: value for key, value in facts.items() if value},
    }


def failure_table(failures: pd.DataFrame) -> Table:
    """Tasks that failed, with their errors; no paths."""
    texts = failures[["task", "error"]].astype(str).map(without_folders)
    return table_of("failures", "Tasks that failed, and why.", texts.rename(columns=str.capitalize), 2)


def sheets(cams: Mapping[str, bytes]) -> list[dict[str, str]]:
    """Grad-CAM sheets as data URIs: JPEGs, for PNGs of speckle take megabytes."""
    return [{"label": label, "uri": _picture(label, png)} for label, png in cams.items()]


def _picture(label: str, png: bytes) -> str:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"the Grad-CAM sheet of {label} is not a picture; delete it and run the study again")
    height, width = picture.shape[:2]
    if width > WIDEST:
        picture = cv2.resize(picture, (WIDEST, round(height * WIDEST / width)), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"
