"""Every source gives square pixels, turned as its file says: a circle is a circle, and its size in mm is kept."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pydicom.uid import MPEG4HP41

from media import region, write_dicom
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Geometry, Scan

RADIUS, MM = 60, 0.1  # of the circle, in px of the right picture; side of these


def circle(aspect: float) -> np.ndarray[Any, Any]:
    """(H, W) as stored: a circle whose stored pixels are `aspect` times as wide as high, an arrow to its right."""
    height, width = 240, 320
    right = np.zeros((height, width), np.uint8)
    cv2.circle(right, (width // 2, height // 2), RADIUS, 200, -1)
    right[height // 2 - 4 : height // 2 + 4, width // 2 + RADIUS :] = 120
    down, across = max(1, 1 / aspect), max(1, aspect)
    return np.asarray(cv2.resize(right, (round(width / across), round(height / down)), interpolation=cv2.INTER_AREA))


def extent(scan: Scan, height: int = 240, width: int = 320) -> tuple[float, float]:
    """Height and width of the circle in the first frame, which has this size."""
    frame = next(scan.frames())
    assert frame.pixels.shape[:2] == (scan.height, scan.width) == (height, width)
    grey = frame.pixels if frame.pixels.ndim == 2 else frame.pixels[..., 1]
    inside = grey > 160
    return float(inside.any(axis=1).sum()), float(inside.any(axis=0).sum())


def is_round(scan: Scan, **size: int) -> bool:
    return all(abs(side - 2 * RADIUS) <= 3 for side in extent(scan, **size))


OBLONG = [0.5, 0.8, 1.25, 1.6]


@pytest.mark.parametrize("aspect", OBLONG)
@pytest.mark.parametrize("by", ["PixelSpacing", "PixelAspectRatio", "region"])
def test_dicom_pixels_become_square(tmp_path: Path, aspect: float, by: str) -> None:
    down, across = MM * max(1, 1 / aspect), MM * max(1, aspect)
    item = region(10, 20, 100, 90)
    item.PhysicalDeltaX, item.PhysicalDeltaY = across / 10, down / 10
    elements = {
        "PixelSpacing": {"PixelSpacing": [down, across]},
        "PixelAspectRatio": {"PixelAspectRatio": [round(1000 * down), round(1000 * across)]},
        "region": {"SequenceOfUltrasoundRegions": [item]},
    }[by]
    scan = open_scan(write_dicom(tmp_path / "a.dcm", circle(aspect)[None], **elements))
    assert is_round(scan)
    if by == "PixelSpacing":
        assert scan.mm_per_px == pytest.approx(MM)
    if by == "region":
        (found,) = scan.regions
        assert found.mm_per_px == pytest.approx(MM)
        assert (found.x0, found.x1) == (round(10 * across / MM), round(101 * across / MM))
        assert (found.y0, found.y1) == (round(20 * down / MM), round(91 * down / MM))


def test_the_largest_region_of_tissue_tells_and_regions_unlike_it_have_no_scale(tmp_path: Path) -> None:
    tissue, doppler, strip = region(0, 0, 150, 150), region(0, 0, 50, 50), region(0, 150, 200, 230, spatial=3)
    tissue.PhysicalDeltaX = 0.025
    strip.PhysicalDeltaX = 9
    file = write_dicom(tmp_path / "a.dcm", circle(1.25)[None], SequenceOfUltrasoundRegions=[doppler, tissue, strip])
    scan = open_scan(file)
    assert is_round(scan)
    assert [found.mm_per_px for found in scan.regions] == [None, pytest.approx(0.2), None]


@pytest.mark.parametrize("aspect", [1.0, 1.015, 0.01, 40.0])
def test_pixels_that_are_square_within_rounding_or_absurd_stay_as_they_are(tmp_path: Path, aspect: float) -> None:
    frame = circle(1)
    scan = open_scan(write_dicom(tmp_path / "a.dcm", frame[None], PixelSpacing=[MM, MM * aspect]))
    assert np.array_equal(next(scan.frames()).pixels, frame)
    assert scan.mm_per_px == (pytest.approx(MM * aspect) if 0.9 < aspect < 1.1 else None)


def video(path: Path, frame: np.ndarray[Any, Any], aspect: Fraction, codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frame.shape
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect.limit_denominator(100)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "gray")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("aspect", OBLONG)
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.mpeg", "mpeg2video"), ("a.avi", "mpeg4")]
)
def test_video_pixels_become_square(tmp_path: Path, name: str, codec: str, aspect: float) -> None:
    if codec == "mpeg2video":  # knows the shape of the whole picture alone: 4:3
        aspect = 1.25
    assert is_round(open_scan(video(tmp_path / name, circle(aspect), Fraction(aspect), codec)))


def test_so_do_those_of_a_video_inside_dicom(tmp_path: Path) -> None:
    stream = video(tmp_path / "a.mp4", circle(1.25), Fraction(5, 4)).read_bytes()
    plain = write_dicom(tmp_path / "a.dcm", [stream], MPEG4HP41, Rows=240, Columns=256, NumberOfFrames=3)
    assert is_round(open_scan(plain))
    spaced = write_dicom(
        tmp_path / "b.dcm", [stream], MPEG4HP41, Rows=240, Columns=256, NumberOfFrames=3, PixelSpacing=[MM, MM * 1.25]
    )
    assert is_round(open_scan(spaced))
    assert open_scan(spaced).mm_per_px == pytest.approx(MM)


@pytest.mark.parametrize("aspect", OBLONG)
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp"])
def test_pixels_of_stills_become_square(tmp_path: Path, ending: str, aspect: float) -> None:
    dpi = (200 / max(1, aspect), 200 / max(1, 1 / aspect))
    Image.fromarray(circle(aspect)).save(tmp_path / f"a.{ending}", dpi=dpi)
    assert is_round(open_scan(tmp_path / f"a.{ending}"))


# Turning


def by_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """A copy of an MP4 whose track is shown by (a, b, c, d) of its matrix (ISO/IEC 14496-12 8.3.2)."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    place = data.find(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.with_name("turned.mp4").write_bytes(data)
    return path.with_name("turned.mp4")


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_a_video_is_turned_as_opencv_turns_it(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    file = by_matrix(video(tmp_path / "a.mp4", circle(1), Fraction(1)), matrix)
    expected = cv2.cvtColor(cv2.VideoCapture(str(file)).read()[1], cv2.COLOR_BGR2GRAY)
    scan = open_scan(file)
    (frame, *_), (colour, *_) = scan.frames(), scan.frames(colour=True)
    assert frame.pixels.shape == expected.shape == (scan.height, scan.width)
    assert np.abs(frame.pixels.astype(int) - expected).mean() < 2
    assert np.abs(colour.pixels[..., 1].astype(int) - expected).mean() < 2


@pytest.mark.parametrize(
    ("matrix", "axes"), [((-1, 0, 0, 1), np.fliplr), ((1, 0, 0, -1), np.flipud), ((0, 1, 1, 0), np.transpose)]
)
def test_a_video_is_mirrored(tmp_path: Path, matrix: tuple[int, int, int, int], axes: Any) -> None:
    file = video(tmp_path / "a.mp4", circle(1), Fraction(1))
    expected = axes(next(open_scan(file).frames()).pixels)
    assert np.array_equal(next(open_scan(by_matrix(file, matrix)).frames()).pixels, expected)


def test_a_turned_video_of_oblong_pixels(tmp_path: Path) -> None:
    file = by_matrix(video(tmp_path / "a.mp4", circle(1.25), Fraction(5, 4)), (0, 1, -1, 0))
    assert is_round(open_scan(file), height=320, width=240)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "lzw.tif"])
def test_a_still_is_turned_as_pillow_turns_it(tmp_path: Path, ending: str, orientation: int) -> None:
    stored = Image.fromarray(np.repeat(circle(1)[..., None], 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = orientation
    tiff = {"compression": "tiff_lzw" if "lzw" in ending else None, "tiffinfo": {0x0112: orientation}}
    options = tiff if "tif" in ending else {"exif": exif, "quality": 95, "lossless": True}
    stored.save(tmp_path / f"a.{ending}", **options)
    turned = Image.new("RGB", stored.size)
    turned.paste(stored)
    turned.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(turned))[..., 1].astype(int)
    scan = open_scan(tmp_path / f"a.{ending}")
    for colour in (False, True):
        (frame,) = scan.frames(colour=colour)
        grey = frame.pixels if frame.pixels.ndim == 2 else frame.pixels[..., 1]
        assert grey.shape == expected.shape == (scan.height, scan.width)
        assert np.abs(grey - expected).mean() < 1


@given(turns=st.integers(0, 3), mirrored=st.booleans(), aspect=st.floats(0.4, 2.9))
def test_what_is_shown_has_the_size_that_is_told(turns: int, mirrored: bool, aspect: float) -> None:
    geometry = Geometry(aspect, mirrored, turns)
    pixels, chroma = geometry.show(np.zeros((40, 60, 3), np.uint8), np.zeros((20, 30, 2), np.uint8))
    assert pixels.shape == (*geometry.size(40, 60), 3)
    assert chroma is not None
    assert chroma.shape == ((30, 20, 2) if turns % 2 else (20, 30, 2))
