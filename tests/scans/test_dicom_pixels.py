"""Frames of DICOM files whose header is wrong about them: the pixels themselves tell, or the reason is true."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import convert_color_space, get_encoder, pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from media import Frames, fan, write_dicom
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Rejected

GREY = fan(6, 60, 80)
RGB = np.repeat(GREY[..., None], 3, axis=3)
RGB[:, 20:30, 30:50] = (200, 30, 30)


def jpegs(frames: Frames, **options: Any) -> list[bytes]:
    """Each frame as a JPEG of Pillow's."""
    return [encoded(frame, "JPEG", quality=95, **options) for frame in frames]


def encoded(frame: Frames, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, kind, **options)
    return file.getvalue()


def by_pillow(streams: list[bytes]) -> np.ndarray[Any, Any]:
    """What is shown: (n, H, W) grey or (n, H, W, 3) RGB."""
    return np.stack([np.asarray(Image.open(io.BytesIO(stream))) for stream in streams])


def write_jpegs(
    path: Path, streams: list[bytes], value: bytes | None = None, syntax: UID = JPEGBaseline8Bit, **elements: Any
) -> Path:
    """A file of compressed frames; `value` are the bytes of its pixel element, where they are not to be right."""
    elements = {"Rows": 60, "Columns": 80} | elements
    write_dicom(path, streams, syntax, **elements)
    if value is not None:
        dataset = dcmread(path)
        dataset.PixelData = value
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    return path


def without(path: Path, *names: str) -> Path:
    """The same file without some elements."""
    dataset = dcmread(path)
    for name in names:
        del dataset[name]
    dataset.save_as(path)
    return path


def read(path: Path, colour: bool = True) -> np.ndarray[Any, Any]:
    scan = open_scan(path)
    frames = np.stack([frame.pixels for frame in scan.frames(colour=colour)])
    assert len(frames) == scan.count
    return frames


def reason(path: Path) -> str:
    with pytest.raises(Rejected) as caught:
        list(open_scan(path).frames())
    return f"{caught.value.reason}: {caught.value.message}"


def close(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], levels: float = 2) -> bool:
    """The same but for rounding between colour spaces."""
    return found.shape == expected.shape and float(np.abs(found.astype(int) - expected).mean()) < levels


# How many frames there are


@pytest.mark.parametrize("promised", [None, 1, 4, ""])
def test_frames_are_counted_in_the_file(tmp_path: Path, promised: int | str | None) -> None:
    native, compressed = write_dicom(tmp_path / "a.dcm", GREY), write_jpegs(tmp_path / "b.dcm", jpegs(GREY))
    for file in (native, compressed):
        dataset = dcmread(file)
        dataset.NumberOfFrames = promised
        if promised is None:
            del dataset.NumberOfFrames
        dataset.save_as(file)
    assert np.array_equal(read(native), GREY)
    assert np.array_equal(read(compressed), by_pillow(jpegs(GREY)))


def test_bytes_behind_the_promised_frames_that_are_no_frame_are_left_alone(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", GREY, NumberOfFrames=6, PixelData=GREY.tobytes() + bytes(100))
    assert np.array_equal(read(file), GREY)


@pytest.mark.parametrize("compressed", [False, True])
def test_fewer_frames_than_promised_are_refused(tmp_path: Path, compressed: bool) -> None:
    make = (lambda path, **e: write_jpegs(path, jpegs(GREY), **e)) if compressed else write_dicom_of(GREY)
    file = make(tmp_path / "a.dcm", NumberOfFrames=9)
    assert reason(file) == "truncated: holds 6 of the 9 frames that its header promises"


def write_dicom_of(frames: Frames) -> Any:
    return lambda path, **elements: write_dicom(path, frames, **elements)


def test_more_frames_than_any_scan_has_are_refused_before_they_are_read(tmp_path: Path) -> None:
    many = write_dicom(tmp_path / "a.dcm", np.zeros((300_001, 1, 1), np.uint8))
    assert reason(many).startswith("too_large: has 300001 frames")
    promised = write_dicom(tmp_path / "b.dcm", GREY, NumberOfFrames=2_000_000_000)
    assert reason(promised).startswith("truncated: holds 6 of the 2000000000 frames")


def test_a_frame_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    large = encoded(np.zeros((9000, 9000), np.uint8), "JPEG")
    file = write_jpegs(tmp_path / "a.dcm", [large], Rows=60, Columns=80)
    assert reason(file).startswith("too_large: has 9000 x 9000 pixels")


# Where compressed frames begin


def table(streams: list[bytes], offsets: list[int]) -> bytes:
    good = encapsulate(streams, has_bot=False)
    return good[:4] + struct.pack(f"<I{len(offsets)}I", 4 * len(offsets), *offsets) + good[8:]


@pytest.mark.parametrize("kind", ["zero", "origin", "too long", "one", "lacks one", "none", "no item", "split"])
def test_frames_are_found_whatever_the_offset_table_says(tmp_path: Path, kind: str) -> None:
    streams = jpegs(GREY)
    right = list(struct.unpack("<6I", encapsulate(streams, has_bot=True)[8:32]))
    value = {
        "zero": table(streams, [0] * 6), "origin": table(streams, [offset + 32 for offset in right]),
        "too long": table(streams, [offset + 8 * n for n, offset in enumerate(right)]), "one": table(streams, [0]),
        "lacks one": table(streams, right[:5]), "none": table(streams, []), "no item": table(streams, [])[8:],
        "split": encapsulate(streams, fragments_per_frame=3, has_bot=False),
    }[kind]  # fmt: skip
    assert np.array_equal(read(write_jpegs(tmp_path / "a.dcm", streams, value)), by_pillow(streams))


def test_an_extended_offset_table_may_be_right_or_wrong(tmp_path: Path) -> None:
    streams = jpegs(GREY)
    value, offsets, lengths = encapsulate_extended(streams)
    for name, moved in (("a.dcm", 0), ("b.dcm", 20)):
        wrong = struct.pack("<6Q", *(offset + moved for offset in struct.unpack("<6Q", offsets)))
        file = write_jpegs(
            tmp_path / name, streams, value, ExtendedOffsetTable=wrong, ExtendedOffsetTableLengths=lengths,
            SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2",
        )  # fmt: skip
        if not moved:
            assert close(read(file), pixel_array(file), 0.1)
        assert np.array_equal(read(file), by_pillow(streams))


def test_the_mark_at_the_end_of_compressed_frames_may_be_missing(tmp_path: Path) -> None:
    file = write_jpegs(tmp_path / "a.dcm", jpegs(GREY))
    data = file.read_bytes()
    file.write_bytes(data[: data.rfind(b"\xfe\xff\xdd\xe0")])
    assert np.array_equal(read(file), by_pillow(jpegs(GREY)))


def test_compressed_frames_may_have_a_length(tmp_path: Path) -> None:
    file = write_jpegs(tmp_path / "a.dcm", jpegs(GREY))
    data = file.read_bytes()
    place = data.rfind(b"OB\0\0\xff\xff\xff\xff")
    value = data[place + 8 : -8]  # without the end mark
    file.write_bytes(data[: place + 4] + struct.pack("<I", len(value)) + value)
    assert np.array_equal(read(file), by_pillow(jpegs(GREY)))


def test_rle_frames_are_one_fragment_each(tmp_path: Path) -> None:
    encoder = get_encoder(RLELossless)
    options = {
        "rows": 60, "columns": 80, "samples_per_pixel": 3, "bits_allocated": 8, "bits_stored": 8,
        "pixel_representation": 0, "photometric_interpretation": "RGB", "number_of_frames": 1,
        "planar_configuration": 0,
    }  # fmt: skip
    streams = [encoder.encode(frame, **options) for frame in RGB]
    for planar in (0, 1):
        file = write_jpegs(tmp_path / "a.dcm", streams, syntax=RLELossless, PhotometricInterpretation="RGB",
                           PlanarConfiguration=planar)  # fmt: skip
        assert np.array_equal(read(without(file, "NumberOfFrames")), RGB)


# What the header says of samples, bits and colours


def test_a_grey_header_over_colour_and_a_colour_header_over_grey(tmp_path: Path) -> None:
    colour, grey = jpegs(RGB), jpegs(GREY)
    file = write_jpegs(tmp_path / "a.dcm", colour, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    assert close(read(file), by_pillow(colour))
    assert np.array_equal(read(write_jpegs(tmp_path / "b.dcm", grey)), by_pillow(grey))


@pytest.mark.parametrize("planar", [0, 1])
def test_planar_configuration_says_nothing_of_a_codestream(tmp_path: Path, planar: int) -> None:
    file = write_jpegs(tmp_path / "a.dcm", jpegs(RGB), PlanarConfiguration=planar)
    assert close(read(file), by_pillow(jpegs(RGB)))
    streams = [encoded(frame, "JPEG2000", no_jp2=True, irreversible=False) for frame in RGB]
    file = write_jpegs(
        tmp_path / "b.dcm", streams, syntax=JPEG2000Lossless, PhotometricInterpretation="YBR_RCT",
        PlanarConfiguration=planar,
    )  # fmt: skip
    assert np.array_equal(read(file), RGB)


def test_size_and_depth_are_those_of_the_codestream(tmp_path: Path) -> None:
    swapped = write_jpegs(tmp_path / "a.dcm", jpegs(GREY), Rows=80, Columns=60)
    assert np.array_equal(read(swapped), by_pillow(jpegs(GREY)))
    assert (open_scan(swapped).height, open_scan(swapped).width) == (60, 80)
    deep = write_jpegs(tmp_path / "b.dcm", jpegs(GREY), BitsAllocated=16, BitsStored=12, SamplesPerPixel=1,
                       PhotometricInterpretation="MONOCHROME2")  # fmt: skip
    assert np.array_equal(read(deep), by_pillow(jpegs(GREY)))


@pytest.mark.parametrize(
    ("label", "streams"),
    [
        ("RGB", jpegs(RGB)),
        ("YBR_FULL_422", jpegs(RGB, keep_rgb=True)),
        ("RGB", [stream.replace(b"JFIF", b"none") for stream in jpegs(RGB)]),
    ],
)
def test_a_colour_space_that_the_label_denies_is_seen_in_the_picture(
    tmp_path: Path, label: str, streams: list[bytes]
) -> None:
    file = write_jpegs(tmp_path / "a.dcm", streams, PhotometricInterpretation=label)
    assert close(read(file), by_pillow(jpegs(RGB)))
    luma = read(file, colour=False)
    grey = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in RGB])
    assert close(luma if luma.ndim == 3 else luma.mean(axis=3), grey, 4)


@pytest.mark.parametrize("space", ["RGB", "YBR_FULL"])
def test_ybr_422_whose_chroma_is_whole(tmp_path: Path, space: str) -> None:
    """As decompressors write that leave the old label."""
    stored = np.stack([convert_color_space(frame, "RGB", space) for frame in RGB])
    file = write_dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation="YBR_FULL_422")
    assert close(read(file), RGB)


def halved(ybr: Frames) -> bytes:
    """(n, H, W, 3) as two luma values, then their Cb and Cr (PS3.3 C.7.6.3.1.2)."""
    pairs = ybr.reshape(-1, 2, 3)
    return np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=1).tobytes()


def test_ybr_422_whose_chroma_is_halved(tmp_path: Path) -> None:
    ybr = np.stack([convert_color_space(frame, "RGB", "YBR_FULL") for frame in RGB])
    file = write_dicom(tmp_path / "a.dcm", ybr, PhotometricInterpretation="YBR_FULL_422", PixelData=halved(ybr))
    assert np.array_equal(read(file), pixel_array(file))
    assert close(read(without(file, "NumberOfFrames")), RGB)
    # The retired kind has the levels of video: 16 to 235, and 16 to 240 (PS3.3 C.7.6.3.1.2 of 2001).
    video = ybr.astype(float)
    video[..., 0] = 16 + video[..., 0] * 219 / 255
    video[..., 1:] = 128 + (video[..., 1:] - 128) * 224 / 255
    file = write_dicom(tmp_path / "b.dcm", ybr, PhotometricInterpretation="YBR_PARTIAL_422",
                       PixelData=halved(np.rint(video).astype(np.uint8)))  # fmt: skip
    assert close(read(file, colour=False), ybr[..., 0], 1)
    assert close(read(file), RGB, 3)


def test_retired_colour_spaces_are_named(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", RGB, PhotometricInterpretation="HSV")
    assert reason(file) == "unsupported: colours written as HSV are not supported"


def test_packed_pixels_are_named(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", GREY, BitsAllocated=12, BitsStored=12)
    assert reason(file) == "unsupported: pixels of 12 bits are not supported"


@pytest.mark.parametrize("name", ["PlanarConfiguration", "PixelRepresentation", "BitsStored", "HighBit",
                                  "BitsAllocated", "PhotometricInterpretation", "SamplesPerPixel"])  # fmt: skip
def test_missing_elements_take_the_values_that_viewers_take(tmp_path: Path, name: str) -> None:
    assert np.array_equal(read(without(write_dicom(tmp_path / "a.dcm", RGB), name)), RGB)
    assert np.array_equal(read(without(write_dicom(tmp_path / "b.dcm", GREY), name)), GREY)


def test_eight_bits_in_sixteen(tmp_path: Path) -> None:
    grey = write_dicom(tmp_path / "a.dcm", GREY.astype(np.uint16), BitsStored=8)
    assert np.array_equal(read(grey), GREY)
    colour = write_dicom(tmp_path / "b.dcm", RGB.astype(np.uint16), BitsStored=8)
    assert np.array_equal(read(colour), RGB)


def test_colours_of_sixteen_bits_lose_the_lower_ones(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", RGB.astype(np.uint16) * 16 + 7, BitsStored=12)
    assert np.array_equal(read(file), RGB)


def test_bits_at_the_upper_end(tmp_path: Path) -> None:
    """Twelve bits from bit 15 down, as in ACR-NEMA; or so by the header alone."""
    right = read(write_dicom(tmp_path / "a.dcm", GREY.astype(np.uint16) << 4, BitsStored=12))
    for name, values in (("b.dcm", GREY.astype(np.uint16) << 8), ("c.dcm", GREY.astype(np.uint16) << 4)):
        file = write_dicom(tmp_path / name, values, BitsStored=12)
        dataset = dcmread(file)
        dataset.HighBit = 15
        dataset.save_as(file)
        assert np.array_equal(read(file), right)


def test_an_overlay_in_the_unused_bits_is_not_seen(tmp_path: Path) -> None:
    values = GREY.astype(np.uint16) << 4
    drawn = values.copy()
    drawn[:, 20:30] |= 0x8000
    files = [write_dicom(tmp_path / f"{n}.dcm", v, BitsStored=12) for n, v in enumerate((values, drawn))]
    assert np.array_equal(read(files[0]), read(files[1]))


def test_one_bit_a_pixel(tmp_path: Path) -> None:
    mask = GREY > 100
    packed = np.packbits(mask, bitorder="little").tobytes()
    file = write_dicom(tmp_path / "a.dcm", mask.astype(np.uint8), BitsAllocated=1, BitsStored=1, PixelData=packed)
    assert np.array_equal(read(file), mask * np.uint8(255))


# Transfer syntaxes


def test_a_syntax_that_the_codestream_denies(tmp_path: Path) -> None:
    streams = [encoded(frame, "JPEG2000", no_jp2=True) for frame in GREY]
    file = write_jpegs(tmp_path / "a.dcm", streams, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    assert np.array_equal(read(file), GREY)
    file = write_jpegs(tmp_path / "b.dcm", jpegs(GREY), syntax=JPEG2000)
    assert np.array_equal(read(file), by_pillow(jpegs(GREY)))


def test_so_does_a_lossless_jpeg_that_is_called_baseline(tmp_path: Path, shared_data: Path) -> None:
    real = shared_data / "dicom" / "JPGLosslessP14SV1_1s_1f_8b.dcm"
    dataset = dcmread(real)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(tmp_path / "a.dcm")
    assert np.array_equal(read(tmp_path / "a.dcm"), read(real))


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_the_missing_part_of_a_frame_is_not_filled_with_grey(tmp_path: Path, kind: str) -> None:
    options = {"no_jp2": True} if kind == "JPEG2000" else {}
    streams = [encoded(frame, kind, **options) for frame in RGB]
    streams[3] = streams[3][: len(streams[3]) // 2]
    syntax = JPEG2000Lossless if kind == "JPEG2000" else JPEGBaseline8Bit
    file = write_jpegs(tmp_path / "a.dcm", streams, syntax=syntax, PhotometricInterpretation="YBR_FULL_422")
    assert reason(file) == "damaged: frame 3 cannot be decoded: it is damaged or cut off"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEGBaseline8Bit])
def test_without_a_transfer_syntax_the_file_itself_tells(tmp_path: Path, syntax: UID) -> None:
    file = tmp_path / "a.dcm"
    if syntax == JPEGBaseline8Bit:
        write_jpegs(file, jpegs(GREY))
    else:
        write_dicom(file, GREY, syntax)
    dataset = dcmread(file)
    del dataset.file_meta.TransferSyntaxUID
    dataset.save_as(file, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian,
                    enforce_file_format=False)  # fmt: skip
    assert np.array_equal(read(file), by_pillow(jpegs(GREY)) if syntax == JPEGBaseline8Bit else GREY)


@pytest.mark.parametrize(("last", "name"), [("110", "JPEG XL Lossless"), ("111", "JPEG XL JPEG Recomp"), ("112", "XL")])
def test_jpeg_xl_is_named(tmp_path: Path, last: str, name: str) -> None:
    file = write_jpegs(tmp_path / "a.dcm", [b"\xff\x0a" + bytes(98)], syntax=HTJ2KLossless)
    file.write_bytes(file.read_bytes().replace(HTJ2KLossless.encode(), f"1.2.840.10008.1.2.4.{last}".encode()))
    assert reason(file).startswith("unsupported: transfer syntax")
    assert name in reason(file)


def test_lossy_jpeg_of_twelve_bits_is_unsupported_and_not_damaged(tmp_path: Path) -> None:
    stream = jpegs(GREY)[0].replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c")
    file = write_jpegs(tmp_path / "a.dcm", [stream], syntax=JPEGExtended12Bit, BitsAllocated=16, BitsStored=12,
                       SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")  # fmt: skip
    assert reason(file) == "unsupported: lossy JPEG of 12 bits is not supported"
