"""DICOM: what is decoded agrees with independent readers, and what cannot be is refused with a true reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_voi_lut
from pydicom.uid import MPEG4HP41, UID

from media import region, speckle, write_dicom, write_video
from sonolearn.cleaning.grey import luma_and_chroma, to_grey
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Rejected

INSTALLED = (
    "examples_rgb_color.dcm",
    "examples_palette.dcm",
    "examples_jpeg2k.dcm",
    "examples_ybr_color.dcm",
    "ExplVR_BigEnd.dcm",
)


def installed(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


def colours(path: Path) -> np.ndarray[Any, Any]:
    return np.stack([frame.pixels for frame in open_scan(path).frames(colour=True)])


def greys(path: Path) -> np.ndarray[Any, Any]:
    return np.stack([to_grey(frame.pixels) for frame in open_scan(path).frames()])


def reason(path: Path) -> str:
    with pytest.raises(Rejected) as caught:
        list(open_scan(path).frames())
    return caught.value.reason


@pytest.mark.parametrize("name", INSTALLED)
def test_pixels_agree_with_simpleitk(name: str) -> None:
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(installed(name)))).astype(int)
    found = colours(installed(name)).astype(int)
    expected = expected.reshape(found.shape)
    # GDCM and Pillow round YBR to RGB differently by a few levels; anything else would differ by far more.
    assert np.abs(found - expected).mean() < 1.5


def test_real_files_agree_with_simpleitk_in_number_and_size(shared_data: Path) -> None:
    files = sorted((shared_data / "dicom").glob("*.dcm"))
    assert len(files) == 12
    for file in files:
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        scan = open_scan(file)
        frames = list(scan.frames(colour=True))
        assert len(frames) == (expected.shape[0] if expected.ndim > 2 else 1) == scan.count, file.name
        height, width = expected.shape[1:3]
        if file.name == "color-pl.dcm":  # its PixelAspectRatio is 4\\3
            height = height * 4 // 3
        assert frames[0].pixels.shape[:2] == (height, width) == (scan.height, scan.width), file.name


def test_luma_is_the_grey_of_the_colours() -> None:
    file = installed("examples_ybr_color.dcm")
    expected = np.stack([cv2.cvtColor(c, cv2.COLOR_RGB2GRAY) for c in colours(file)]).astype(int)
    difference = np.abs(greys(file) - expected)
    assert difference.mean() < 0.5  # colours that RGB cannot hold are clipped, so a few pixels differ by more
    assert difference.max() <= 8


def test_the_chroma_of_ybr_is_as_it_is_stored(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    stored = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]] for frame in rgb])
    file = write_dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation="YBR_FULL")
    for frame, expected, colour in zip(
        open_scan(file).frames(), stored, open_scan(file).frames(colour=True), strict=True
    ):
        assert np.array_equal(frame.pixels, expected[..., 0])
        assert np.array_equal(frame.chroma, expected[..., 1:])
        assert colour.chroma is None


def test_the_chroma_of_a_real_ybr_file_is_that_of_its_colours() -> None:
    scan = open_scan(installed("examples_ybr_color.dcm"))
    (frame,), (colour,) = scan.frames(only=[3]), scan.frames(only=[3], colour=True)
    expected = cv2.cvtColor(colour.pixels, cv2.COLOR_RGB2YCrCb)[..., [2, 1]].astype(int)
    assert frame.chroma is not None
    assert np.abs(frame.chroma - expected).mean() < 0.5  # colours that RGB cannot hold are clipped


def test_rgb_palette_and_grey_come_without_chroma_and_cleaning_takes_it_from_the_colours(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3), np.uint8)
    (frame,) = open_scan(write_dicom(tmp_path / "a.dcm", rgb)).frames()
    assert frame.chroma is None
    luma, chroma = luma_and_chroma(frame)
    expected = cv2.cvtColor(rgb[0], cv2.COLOR_RGB2YCrCb)
    assert chroma is not None
    assert np.array_equal(luma, expected[..., 0])
    assert np.array_equal(chroma, expected[..., [2, 1]])
    (grey,) = open_scan(write_dicom(tmp_path / "b.dcm", speckle(1))).frames()
    assert luma_and_chroma(grey)[1] is None
    (palette,) = open_scan(installed("examples_palette.dcm")).frames()
    assert palette.chroma is None
    assert palette.pixels.ndim == 3


def test_every_third_frame_is_that_of_the_cine() -> None:
    file = installed("examples_ybr_color.dcm")
    frames = list(open_scan(file).frames(step=3))
    assert [f.index for f in frames] == list(range(0, 30, 3))
    assert frames[2].time == pytest.approx(6 * 0.033333, abs=1e-4)
    assert np.array_equal(frames[4].pixels, list(open_scan(file).frames())[12].pixels)


def test_chosen_frames_only(tmp_path: Path) -> None:
    values = speckle(6)
    file = write_dicom(tmp_path / "a.dcm", values)
    frames = list(open_scan(file).frames(only=[1, 4]))
    assert [f.index for f in frames] == [1, 4]
    assert np.array_equal(frames[1].pixels, values[4])


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    values = speckle(2)
    file = write_dicom(tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(greys(file), 255 - values)


def test_planar_colours_are_the_same_as_interleaved(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    file = write_dicom(tmp_path / "a.dcm", np.ascontiguousarray(values.transpose(0, 3, 1, 2)), Rows=20, Columns=30,
                       SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=1)  # fmt: skip
    assert np.array_equal(colours(file), values)


def test_sixteen_bits_without_window_take_their_whole_range(tmp_path: Path) -> None:
    values = np.array([[[0, 1000], [2048, 4095]]], np.uint16)
    file = write_dicom(tmp_path / "a.dcm", values, BitsStored=12)
    assert greys(file).tolist() == [[[0, 62], [128, 255]]]


def test_a_window_is_that_of_pydicom(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (1, 20, 30)).astype(np.uint16)
    file = write_dicom(tmp_path / "a.dcm", values, BitsStored=12, WindowCenter=[1200, 1], WindowWidth=[900, 1],
                       RescaleSlope=2, RescaleIntercept=-300)  # fmt: skip
    expected = apply_voi_lut(values[0].astype(float) * 2 - 300, dcmread(file))
    expected = (expected - expected.min()) / (expected.max() - expected.min()) * 255
    assert np.abs(greys(file)[0] - expected).max() <= 0.51


def test_signed_values(tmp_path: Path) -> None:
    values = np.array([[[-32768, 0], [16384, 32767]]], np.int16)
    file = write_dicom(tmp_path / "a.dcm", values, PixelRepresentation=1)
    assert greys(file).tolist() == [[[0, 128], [191, 255]]]


def test_h264_inside_dicom(tmp_path: Path) -> None:
    values = speckle(12)
    stream = write_video(tmp_path / "a.mp4", values, codec="libx264").read_bytes()
    file = write_dicom(tmp_path / "a.dcm", [stream], MPEG4HP41, Rows=96, Columns=128, NumberOfFrames=12, FrameTime=40)
    found = greys(file)
    assert found.shape == values.shape
    assert np.abs(found.astype(int) - values).mean() < 6
    short = write_dicom(tmp_path / "b.dcm", [stream], MPEG4HP41, Rows=96, Columns=128, NumberOfFrames=13)
    assert reason(short) == "truncated"


def test_frame_time_vector_gives_the_times(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", speckle(3), FrameTimeVector=[0, 10, 30])
    assert [f.time for f in open_scan(file).frames()] == pytest.approx([0, 0.01, 0.04])


def test_header_of_a_scan(tmp_path: Path) -> None:
    names = {"PatientID": " 17 ", "Manufacturer": "GE\n", "ManufacturerModelName": "V830"}
    regions = [region(30, 20, 107, 85)]
    file = write_dicom(tmp_path / "a.dcm", speckle(2), SequenceOfUltrasoundRegions=regions, CineRate=20, **names)
    scan = open_scan(file)
    assert (scan.machine, scan.patient_id, scan.fps, scan.kind) == ("GE V830", "17", 20.0, "dicom")
    assert scan.regions[0].mm_per_px == pytest.approx(0.2)
    assert (scan.regions[0].x1, scan.regions[0].y1) == (108, 86)
    assert "17" not in repr(scan)


@pytest.mark.parametrize("cut", [0.5, 0.999])
@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "examples_rgb_color.dcm", "examples_jpeg2k.dcm"])
def test_a_file_cut_off_is_refused(tmp_path: Path, name: str, cut: float) -> None:
    data = installed(name).read_bytes()
    file = tmp_path / "a.dcm"
    file.write_bytes(data[: int(len(data) * cut)])
    assert reason(file) in ("truncated", "damaged")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.dcm"
    text.write_text("this is no DICOM file" * 20)
    assert reason(text) == "not_dicom"
    report = dcmread(installed("examples_rgb_color.dcm"))
    for name in ("PixelData", "Rows", "Columns"):
        delattr(report, name)
    report.save_as(tmp_path / "report.dcm")
    assert reason(tmp_path / "report.dcm") == "no_pixels"
    only_header = dcmread(installed("examples_rgb_color.dcm"), stop_before_pixels=True)
    only_header.save_as(tmp_path / "header.dcm")
    assert reason(tmp_path / "header.dcm") == "no_pixels"


def test_an_unknown_transfer_syntax_is_named(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", [b"\0" * 100], UID("1.2.840.10008.1.2.4.94"), Rows=96, Columns=128)
    with pytest.raises(Rejected, match="JPIP") as caught:
        open_scan(file)
    assert caught.value.reason == "unsupported"


def test_no_text_of_the_header_is_in_a_reason(tmp_path: Path) -> None:
    report = dcmread(installed("examples_rgb_color.dcm"))
    report.SOPClassUID = "1.2.826.99.4711"
    del report.Rows
    report.save_as(tmp_path / "a.dcm")
    with pytest.raises(Rejected) as caught:
        open_scan(tmp_path / "a.dcm")
    assert "4711" not in caught.value.message


def test_dicom_is_known_by_its_preamble_not_its_name(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "IM_0001", speckle(1))
    assert open_scan(file).kind == "dicom"
