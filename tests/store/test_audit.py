"""The page of a prepared data set: right totals, the doubtful first with reasons, and nothing but pseudonyms."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sonolearn.store.audit import CARDS, REJECTED_CARDS, write_report

OPTIONS = {"size": 256, "cleaning": {"sector": True, "marks": "telea"}}


def scan(name: str, **changes: Any) -> dict[str, Any]:
    """A scan that raises no doubt."""
    return {
        "scan": name, "patient": "P-1", "machine": "Voluson E8", "kind": "dicom", "frames": 50, "taken": 50,
        "refused_frames": "{}", "height": 480, "width": 640, "x0": 160, "y0": 90, "x1": 480, "y1": 330,
        "sector_from": "image", "shape": "fan", "sector_cost": 0.01, "marks": 0.0, "texts": 0, "picture": "", **changes,
    }  # fmt: skip


def refused(name: str, reason: str = "doppler", **changes: Any) -> dict[str, Any]:
    message = "most frames are in colour"
    return {
        "scan": name, "kind": "video", "reason": reason, "message": message, "share": 0.8, "picture": "", **changes
    }  # fmt: skip


def raw(folder: Path, scans: Sequence[dict[str, Any]], rejected: Sequence[dict[str, Any]] = (), **options: Any) -> str:
    kept, out = pd.DataFrame(scans, columns=list(scan(""))), pd.DataFrame(rejected, columns=list(refused("")))
    page = write_report(folder, kept, out, {**OPTIONS, **options})
    assert page == folder / "report.html"
    return page.read_text(encoding="utf-8")


def words(page: str) -> str:
    """What a reader sees."""
    text = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(text))


def section(page: str, name: str) -> str:
    """Raw text of one of the sections first, rejected and others."""
    return page.split(f'<h2 id="{name}"')[1].split("<section")[0]


def cards(page: str, name: str) -> list[str]:
    """The scans shown in a section, in their order."""
    return re.findall(r"<h[34]>(S-[\w]+)", section(page, name))


def test_totals_are_those_of_the_tables(tmp_path: Path) -> None:
    scans = [
        scan("S-1", frames=1300, taken=1500, refused_frames=json.dumps({"doppler": 150, "frozen": 50}), marks=0.01),
        scan("S-2", patient="P-2", machine="EPIQ 7", frames=200, taken=200, texts=2, sector_from="dicom", shape=""),
        scan("S-3", machine="", frames=300, taken=300, refused_frames=""),
    ]
    text = words(raw(tmp_path, scans, [refused("S-4"), refused("S-5"), refused("S-6", "truncated", share=np.nan)]))
    head = "Scans kept 3 Scans rejected 3 Patients 2 Machines 2 Frames kept 1 800 Frames left out 200"
    assert f"{head} Scans with marks 1 Texts inside 2" in text
    assert "kept 1 800 90 % doppler 150 7.5 % frozen 50 2.5 %" in text
    assert "fan, found in the picture 2 67 % the machine's region 1 33 %" in text
    assert "Rejected scans doppler 2 67 % truncated 1 33 %" in text
    assert "Voluson E8 1 1 1 300 13 % 0" in text


DOUBTS = {
    "Outline: the shape fits the echoes badly: cost 0.12, doubtful above 0.05.": {"sector_cost": 0.12},
    "Painted over: 8.0 % of the sector.": {"marks": 0.08},
    "Text inside: 5 groups that look like text.": {"texts": 5},
    "Frames left out: 60 % of those read (doppler 28, frozen 2).": {
        "frames": 20, "refused_frames": '{"frozen": 2, "doppler": 28}'
    },
    "Whole screen: no sector was found": {"sector_from": "whole", "shape": "", "sector_cost": np.nan},
}  # fmt: skip


@pytest.mark.parametrize("reason", DOUBTS)
def test_a_doubtful_scan_comes_first_with_the_reason_in_words(reason: str, tmp_path: Path) -> None:
    page = raw(tmp_path, [scan("S-1"), scan("S-2", **DOUBTS[reason])])
    assert cards(page, "first") == ["S-2"]
    assert cards(page, "others") == ["S-1"]
    assert reason in words(section(page, "first"))
    assert "nan" not in words(page)


def test_the_worst_scan_is_the_first(tmp_path: Path) -> None:
    scans = [scan("S-1", sector_cost=0.06), scan("S-2", sector_cost=0.3), scan("S-3", marks=0.09)]
    assert cards(raw(tmp_path, scans), "first") == ["S-2", "S-3", "S-1"]


def test_whole_screens_are_no_doubt_where_nobody_asked_to_crop(tmp_path: Path) -> None:
    page = raw(tmp_path, [scan("S-1", sector_from="whole", shape="", sector_cost=np.nan)], cleaning={"sector": False})
    assert "No kept scan raised a doubt" in page
    assert cards(page, "others") == ["S-1"]


def test_rejected_scans_stand_by_reason_with_message_the_nearly_kept_first(tmp_path: Path) -> None:
    table = [
        refused("S-1", "truncated", message="ends before its last frame", share=np.nan),
        refused("S-2", share=1.0),
        refused("S-3", share=0.52),
        refused("S-4", share=np.nan),
    ]
    page = raw(tmp_path, [scan("S-9")], table)
    assert cards(page, "rejected") == ["S-3", "S-2", "S-4", "S-1"]
    text = words(section(page, "rejected"))
    assert "doppler 3 scans S-3 video · 52 % of the frames doppler: most frames are in colour" in text
    assert "truncated 1 scan S-1 video truncated: ends before its last frame" in text


def test_long_lists_are_cut_off_and_say_so(tmp_path: Path) -> None:
    scans = [scan(f"S-{n}") for n in range(CARDS + 1300)] + [scan(f"S-d{n}", texts=9) for n in range(CARDS + 2)]
    page = raw(tmp_path, scans, [refused(f"S-r{n}") for n in range(REJECTED_CARDS + 1)] + [refused("S-t", "truncated")])
    assert [len(cards(page, name)) for name in ("first", "rejected", "others")] == [CARDS, REJECTED_CARDS + 1, CARDS]
    assert "2 more are not shown here: see scans.csv" in words(section(page, "first"))
    assert "1 more are not shown here: see rejected.csv" in words(section(page, "rejected"))
    assert "1 300 more are not shown here: see scans.csv" in words(section(page, "others"))


def test_pictures_are_files_beside_the_page_with_their_size(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    Image.new("RGB", (484, 240)).save(tmp_path / "report" / "S-1.jpg")
    page = raw(tmp_path, [scan("S-1", picture="S-1.jpg"), scan("S-2", picture="gone.jpg"), scan("S-3", picture=np.nan)])
    assert re.findall(r"<img [^>]+>", page) == [
        '<img src="report/S-1.jpg" width="484" height="240" loading="lazy" alt="Screens and clean frames of S-1">'
    ]


def test_the_page_needs_no_network_and_escapes_what_comes_from_files(tmp_path: Path) -> None:
    bad = "<script>alert('x')</script>"
    page = raw(tmp_path, [scan("S-1", machine=bad, kind=bad)], [refused("S-2", message=bad, reason=bad)], size=bad)
    assert bad not in page
    assert words(page).count(bad) >= 4
    assert not re.search(r"https?:|url\(|<link|<script src", page)


def test_the_options_are_shown_with_the_names_that_they_have_on_the_command_line(tmp_path: Path) -> None:
    assert "Made with size 256 cleaning.sector True cleaning.marks telea" in words(raw(tmp_path, [scan("S-1")]))


def test_an_empty_data_set_has_a_page(tmp_path: Path) -> None:
    text = words(raw(tmp_path, []))
    assert "Scans kept 0" in text
    assert "No scan was rejected" in text


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    before = raw(tmp_path, [scan("S-1")])
    with pytest.raises(ValueError, match="property name"):
        raw(tmp_path, [scan("S-2", refused_frames="{broken")])
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", ".checksums"}
