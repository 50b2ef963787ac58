"""Headers that break the standard: what is readable in them is used, and nothing else is lost by the rest."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.pixels import apply_voi_lut
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from media import fan, region, write_dicom
from sonolearn.scans import dicom_header
from sonolearn.scans.find import find_sources, open_scan
from sonolearn.scans.scan import Frame, Rejected, Scan

GREY = fan(6, 60, 80)


def with_text(path: Path, **texts: bytes) -> Path:
    """A small cine, with elements written as these bytes, which pydicom would not write."""
    write_dicom(path, GREY)
    dataset = dcmread(path)
    for name, text in texts.items():
        tag = Tag(tag_for_keyword(name))
        value = text + b" " * (len(text) % 2)
        dataset._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    dataset.save_as(path)
    return path


def opened(path: Path) -> tuple[Scan, list[Frame]]:
    """A scan, and its frames, which are those of the cine."""
    scan = open_scan(path)
    frames = list(scan.frames())
    assert np.array_equal(np.stack([frame.pixels for frame in frames]), GREY)
    return scan, frames


@pytest.mark.parametrize(
    "texts",
    [
        {"PixelSpacing": b"0,25\\0,25"},
        {"PixelSpacing": b" 0,25 \\0.25\0"},
        {"PixelSpacing": b"0.25\\0.25000000000000000001"},
    ],
)
def test_a_decimal_comma_is_a_point(tmp_path: Path, texts: dict[str, bytes]) -> None:
    assert opened(with_text(tmp_path / "a.dcm", **texts))[0].mm_per_px == 0.25


@pytest.mark.parametrize("texts", [{"FrameTime": b"33,3"}, {"CineRate": b"30.03"}, {"CineRate": b"30,03"}])
def test_so_it_is_in_rates(tmp_path: Path, texts: dict[str, bytes]) -> None:
    scan, frames = opened(with_text(tmp_path / "a.dcm", **texts))
    assert scan.fps == pytest.approx(30.03, abs=0.001)
    assert frames[5].time == pytest.approx(5 / 30.03, abs=1e-4)


@pytest.mark.parametrize(
    "texts",
    [
        {"PixelSpacing": b"0.25\\", "FrameTime": b""}, {"PixelSpacing": b"none", "CineRate": b"fast"},
        {"WindowCenter": b"", "WindowWidth": b""}, {"WindowCenter": b"\\", "WindowWidth": b"x\\y"},
        {"RescaleSlope": b"", "RescaleIntercept": b""}, {"FrameTimeVector": b"\\\\\\\\\\"},
        {"NumberOfFrames": b"six"}, {"NumberOfFrames": b"6\\6"}, {"NumberOfFrames": b"6.0"}, {"NumberOfFrames": b"-6"},
        {"PatientID": b"\xff\xfe"}, {"SOPClassUID": b"no uid"}, {"Manufacturer": b"\xe4\xf6"},
        {"PhotometricInterpretation": b"monochrome2 "}, {"PhotometricInterpretation": b"GREYSCALE"},
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, texts: dict[str, bytes]) -> None:
    scan, frames = opened(with_text(tmp_path / "a.dcm", **texts))
    assert (scan.fps, scan.mm_per_px, scan.count) == (None, None, 6)
    assert np.isnan([frame.time for frame in frames]).all()


def test_times_that_a_vector_lacks_are_as_most_others(tmp_path: Path) -> None:
    _, frames = opened(with_text(tmp_path / "a.dcm", FrameTimeVector=b"0\\20\\\\20\\60,0\\20"))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.02, 0.04, 0.06, 0.12, 0.14])


def test_a_vector_of_another_length_is_not_the_frames(tmp_path: Path) -> None:
    scan, frames = opened(with_text(tmp_path / "a.dcm", FrameTimeVector=b"0\\20\\20", FrameTime=b"50"))
    assert scan.fps == 20
    assert frames[2].time == pytest.approx(0.1)


def test_a_damaged_sequence_of_regions_costs_the_regions_alone(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", GREY, SequenceOfUltrasoundRegions=[region(1, 2, 30, 40)])
    assert len(opened(file)[0].regions) == 1
    dataset = dcmread(file)
    item = dataset.SequenceOfUltrasoundRegions[0]
    item.PhysicalDeltaX = None
    del item.RegionLocationMaxX1
    dataset.save_as(file)
    assert opened(file)[0].regions[0].mm_per_px is None


# Windows


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", "sigmoid ", None])
@pytest.mark.parametrize(("centre", "width"), [(1200, 900), (2000.5, 0.5), (100, 1), (2048, 4096)])
def test_voi_lut_functions_are_those_of_pydicom(
    tmp_path: Path, function: str | None, centre: float, width: float
) -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(1, 64, 64)
    elements: dict[str, Any] = {} if function is None else {"VOILUTFunction": function}
    if function in ("LINEAR", None) and width < 1:
        return  # means nothing (PS3.3 C.11.2.1.2.1)
    file = write_dicom(tmp_path / "a.dcm", values, BitsStored=12, WindowCenter=centre, WindowWidth=width, **elements)
    dataset = dcmread(file)
    dataset.VOILUTFunction = (function or "LINEAR").strip()
    expected = apply_voi_lut(values[0], dataset) / 4095 * 255
    (frame,) = open_scan(file).frames()
    assert np.abs(frame.pixels - expected).max() <= 0.51


def test_a_window_that_means_nothing_is_none(tmp_path: Path) -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(1, 64, 64)
    plain, strange = (
        write_dicom(tmp_path / f"{n}.dcm", values, BitsStored=12, **elements)
        for n, elements in enumerate(({}, {"WindowCenter": 5, "WindowWidth": -3}))
    )
    assert np.array_equal(next(open_scan(plain).frames()).pixels, next(open_scan(strange).frames()).pixels)


# Files


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [True, False])
def test_files_without_preamble_are_found_and_read(tmp_path: Path, syntax: Any, meta: bool) -> None:
    data = write_dicom(tmp_path / "a.dcm", GREY, syntax).read_bytes()
    (tmp_path / "a.dcm").unlink()
    start = 132 if meta else 144 + int.from_bytes(data[140:144], "little")
    (tmp_path / "IM0001").write_bytes(data[start:])
    assert [source.name for source in find_sources([tmp_path])] == ["IM0001"]
    opened(tmp_path / "IM0001")


def test_what_begins_with_other_bytes_is_not_taken_for_dicom(tmp_path: Path) -> None:
    for name, data in {
        "text": b"a text", "short": b"\x08\0", "zeros": bytes(500), "tag": b"\x08\0\x08\0CS" + bytes(500),
        "long": b"\x08\0\x05\0\xf0\xff\xff\xff" + bytes(500),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
    assert find_sources([tmp_path]) == []


def test_deflated_files_are_read(tmp_path: Path) -> None:
    opened(write_dicom(tmp_path / "a.dcm", GREY, DeflatedExplicitVRLittleEndian))


def test_a_deflated_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", GREY, DeflatedExplicitVRLittleEndian)
    data = file.read_bytes()
    for name, changed in (("b.dcm", data[: len(data) // 2]), ("c.dcm", data[:400] + bytes(50) + data[450:])):
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(Rejected) as caught:
            list(open_scan(tmp_path / name).frames())
        assert caught.value.reason in ("damaged", "truncated"), name


def test_a_deflated_file_is_inflated_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_dicom(tmp_path / "a.dcm", GREY, DeflatedExplicitVRLittleEndian)
    data = file.read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = b"".join([deflate.compress(bytes(1 << 20)) for _ in range(200)]) + deflate.flush()
    file.write_bytes(data[:start] + bomb)
    monkeypatch.setattr(dicom_header, "_MOST_INFLATED", 20_000_000)
    tracemalloc.start()
    with pytest.raises(Rejected, match="inflates to more than 20 MB") as caught:
        open_scan(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason == "too_large"
    assert peak < 60_000_000
