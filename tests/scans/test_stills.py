"""Stills of all kinds become 8-bit grey or RGB; a cut-off one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from media import fan, speckle
from sonolearn.cleaning.grey import to_grey
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Rejected


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


GREY = fan(1)[0]
RGB = cv2.merge([GREY, GREY // 2, GREY // 3])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("picture", [GREY, RGB])
def test_bits_in_sixteen_are_those_in_use(
    tmp_path: Path, ending: str, bits: int, picture: np.ndarray[Any, Any]
) -> None:
    scaled = (picture.astype(np.uint16) << (bits - 8)) + (0x5A >> (16 - bits))
    cv2.imwrite(str(tmp_path / f"a.{ending}"), scaled)
    found = first(tmp_path / f"a.{ending}")
    assert np.array_equal(found[..., ::-1] if picture.ndim == 3 else found, picture)


def test_a_dark_picture_of_a_sequence_stays_dark(tmp_path: Path) -> None:
    values = [fan(1)[0].astype(np.uint16) << 4, fan(1)[0].astype(np.uint16)]
    for number, picture in enumerate(values):
        Image.fromarray(picture).save(tmp_path / f"f{number}.png")
    bright, dark = open_scan(tmp_path).frames()
    assert np.array_equal(bright.pixels, GREY)
    assert np.array_equal(dark.pixels, GREY >> 4)
    (alone,) = open_scan(tmp_path).frames(only=[1])
    assert np.array_equal(alone.pixels, dark.pixels)


def test_deep_transparent_pixels_lie_on_black(tmp_path: Path) -> None:
    alpha = np.full(GREY.shape, 65535, np.uint16)
    alpha[:100] = 0
    rgba = np.dstack([GREY.astype(np.uint16) << 4] * 3 + [alpha])
    cv2.imwrite(str(tmp_path / "a.png"), rgba)
    found = to_grey(first(tmp_path / "a.png"))
    assert not found[:100].any()
    assert np.array_equal(found[100:], GREY[100:])


@pytest.mark.parametrize("bits", [1, 8, 12, 16])
def test_tiff_in_which_zero_is_white(tmp_path: Path, bits: int) -> None:
    if bits == 1:
        picture = Image.fromarray(GREY > 90)
        picture.save(tmp_path / "a.tif", tiffinfo={262: 0})
        assert np.array_equal(first(tmp_path / "a.tif") > 0, GREY > 90)
        return
    full = (1 << bits) - 1
    stored = full - (GREY.astype(np.uint16) << (bits - 8))
    plain = tmp_path / "a.tif"
    Image.fromarray(stored.astype(np.uint8) if bits == 8 else stored).save(plain)
    data = bytearray(plain.read_bytes())
    entry = data.find(b"\x06\x01\x03\0\x01\0\0\0\x01\0")  # PhotometricInterpretation 1: 0 is black
    data[entry + 8] = 0
    plain.write_bytes(data)
    assert np.array_equal(first(plain), GREY)


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


def test_thumbnails_and_masks_in_a_tiff_are_no_frames(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY)
    small = picture.resize((80, 60))
    picture.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    small.save(tmp_path / "b.tif", save_all=True, append_images=[picture])
    mask = Image.fromarray(GREY > 90)
    mask.encoderinfo = {"tiffinfo": {254: 4}}
    picture.save(tmp_path / "c.tif", save_all=True, append_images=[mask])
    for name in "abc":
        scan = open_scan(tmp_path / f"{name}.tif")
        (frame,) = scan.frames()
        assert (scan.kind, scan.count) == ("still", 1), name
        assert np.array_equal(frame.pixels, GREY)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path, ending: str) -> None:
    Image.new("1" if ending != "jpg" else "L", (7000, 6000)).save(tmp_path / f"a.{ending}")
    with pytest.raises(Rejected, match="has 7000 x 6000 pixels") as caught:
        open_scan(tmp_path / f"a.{ending}")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp"])
def test_a_still_cut_off_is_refused(tmp_path: Path, ending: str) -> None:
    whole, cut = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    Image.fromarray(speckle(1)[0]).save(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(Rejected, match="damaged or cut off"):
        first(cut)
