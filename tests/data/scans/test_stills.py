"""Stills of all kinds become 8-bit grey or RGB; a cut-off one is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from media import speckle
from sonolearn.data.cleaning.grey import to_grey
from sonolearn.data.scans.find import open_scan
from sonolearn.data.scans.scan import Rejected


def first(path: Path, colour: bool = False) -> np.ndarray:
    return next(open_scan(path).frames(colour=colour)).pixels


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "jpg"])
def test_grey_stills_agree_with_opencv(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a.{ending}"
    Image.fromarray(speckle(1)[0]).save(file)
    assert np.array_equal(first(file), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))


def test_colour_jpeg_gives_luma_or_rgb(tmp_path: Path) -> None:
    rgb = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), (15, 15), 0)
    Image.fromarray(rgb).save(tmp_path / "a.jpg", quality=95)
    expected = cv2.imread(str(tmp_path / "a.jpg"))
    assert np.abs(first(tmp_path / "a.jpg", colour=True).astype(int) - expected[..., ::-1]).max() <= 3
    assert np.abs(first(tmp_path / "a.jpg").astype(int) - cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY)).max() <= 2


@pytest.mark.parametrize("subsampling", [0, 2])  # 4:4:4 and 4:2:0
def test_a_jpegs_chroma_is_that_of_pillow(tmp_path: Path, subsampling: int) -> None:
    rgb = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), (15, 15), 0)
    Image.fromarray(rgb).save(tmp_path / "a.jpg", quality=95, subsampling=subsampling)
    (frame,) = open_scan(tmp_path / "a.jpg").frames()
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(image.convert("YCbCr")).astype(int)  # from the decoded RGB
    assert frame.chroma is not None
    assert np.abs(frame.pixels - expected[..., 0]).max() <= 2
    assert np.abs(frame.chroma - expected[..., 1:]).max() <= 2


def test_other_stills_come_in_rgb_or_grey_without_chroma(tmp_path: Path) -> None:
    grey = speckle(1)[0]
    Image.fromarray(grey).save(tmp_path / "grey.jpg")
    Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(tmp_path / "a.png")
    for name, dimensions in (("grey.jpg", 2), ("a.png", 3)):
        (frame,) = open_scan(tmp_path / name).frames()
        assert frame.chroma is None
        assert frame.pixels.ndim == dimensions


def test_sixteen_bits_lose_the_lower_eight(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255], [256, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert first(tmp_path / "a.png").tolist() == [[0, 0], [1, 255]]


def test_transparency_lies_on_black(tmp_path: Path) -> None:
    rgba = np.array([[[200, 200, 200, 0], [200, 200, 200, 255]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert to_grey(first(tmp_path / "a.png")).tolist() == [[0, 200]]


def test_a_palette_gives_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    assert first(tmp_path / "a.png").tolist() == [[[0, 0, 0], [10, 200, 30]]]


def test_pages_of_a_tiff_are_a_sequence(tmp_path: Path) -> None:
    frames = speckle(4)
    pages = [Image.fromarray(f) for f in frames]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    scan = open_scan(tmp_path / "a.tif")
    assert (scan.kind, scan.count) == ("sequence", 4)
    assert np.array_equal(np.stack([f.pixels for f in scan.frames(step=2)]), frames[::2])


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp"])
def test_a_still_cut_off_is_refused(tmp_path: Path, ending: str) -> None:
    whole, cut = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    Image.fromarray(speckle(1)[0]).save(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(Rejected, match="damaged or cut off"):
        first(cut)
