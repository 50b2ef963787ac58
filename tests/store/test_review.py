"""The private page: readable crops in one file, for its owner only, and a warning above all."""

from __future__ import annotations

import base64
import html
import io
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from sonolearn.store.review import write_review


def crop(shade: int) -> bytes:
    """A small JPEG."""
    file = io.BytesIO()
    Image.new("L", (40, 12), shade).save(file, "JPEG")
    return file.getvalue()


def test_the_page_holds_every_crop_as_it_was_under_its_scan(tmp_path: Path) -> None:
    crops = [("S-1", "text", crop(10)), ("S-2", "text", crop(20)), ("S-1", "logo", crop(30))]
    write_review(tmp_path / "texts.html", crops)
    page = (tmp_path / "texts.html").read_text(encoding="utf-8")
    first, second = page.split("<h3>")[1:]
    for part, expected in ((first, [crops[0], crops[2]]), (second, [crops[1]])):
        assert part.startswith(expected[0][0])
        pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', part)
        assert [base64.b64decode(picture) for picture in pictures] == [jpeg for _, _, jpeg in expected]
        assert re.findall(r"<figcaption>(\w+)", part) == [kind for _, kind, _ in expected]
    assert "3 crops of 2 scans" in page


@pytest.mark.parametrize("crops", [[], [("S-1", "text", crop(0))]])
def test_it_says_above_all_that_it_must_not_leave_the_hospital(
    crops: list[tuple[str, str, bytes]], tmp_path: Path
) -> None:
    write_review(tmp_path / "texts.html", crops)
    content = (tmp_path / "texts.html").read_text(encoding="utf-8").split("</header>")[1]
    assert re.sub(r"<[^>]+>|\s+", " ", content).strip().startswith("This page must not leave the hospital")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    write_review(tmp_path / "texts.html", [])
    assert (tmp_path / "texts.html").stat().st_mode & 0o777 == 0o600


def test_it_needs_no_network_and_escapes(tmp_path: Path) -> None:
    write_review(tmp_path / "texts.html", [("S-<1>", "<b>text", crop(0))])
    page = (tmp_path / "texts.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "S-<1>" in html.unescape(page)
    assert not re.search(r"https?:|url\(|<link|<script", page)
