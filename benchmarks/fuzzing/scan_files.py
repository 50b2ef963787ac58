"""Small sound scans of every kind that is read: DICOM, video, stills."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    JPEG2000,
    MPEG4HP41,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
)

Frames = NDArray[Any]


def sector(frames: int, height: int = 96, width: int = 128) -> Frames:
    """(n, H, W) uint8: a sector of moving speckle on black."""
    random = np.random.default_rng(0)
    tissue = cv2.GaussianBlur(random.rayleigh(1, (height + 4 * frames, width + 4 * frames)), (0, 0), 1.5)
    tissue = np.clip(70 * tissue**2 - 20, 15, 230)
    y, x = np.mgrid[:height, :width].astype(float)
    depth, angle = np.hypot(y + 0.25 * height, x - width / 2), np.arctan2(x - width / 2, y + 0.25 * height)
    inside = (depth > 0.4 * height) & (depth < 1.15 * height) & (np.abs(angle) < 0.6)
    moved = [np.where(inside, tissue[4 * n :, 3 * n :][:height, :width], 0) for n in range(frames)]
    return np.stack(moved).astype(np.uint8)


GREY = sector(3)
RGB = np.repeat(GREY[..., None], 3, axis=3)


def write_dicoms(folder: Path) -> None:
    """DICOM files of many transfer syntaxes and headers."""
    written: dict[str, Callable[[Path], None]] = {
        "explicit": lambda p: _dicom(p, GREY, regions=True),
        "implicit": lambda p: _dicom(p, GREY, ImplicitVRLittleEndian),
        "big": lambda p: _dicom(p, GREY.astype(np.uint16) * 16, ExplicitVRBigEndian, BitsStored=12, HighBit=11),
        "rgb": lambda p: _dicom(p, RGB),
        "planes": lambda p: _dicom(p, RGB.transpose(0, 3, 1, 2), PlanarConfiguration=1, Rows=96, Columns=128),
        "still": lambda p: _dicom(p, GREY[:1], WindowCenter="100", WindowWidth="180", VOILUTFunction="SIGMOID"),
        "palette": lambda p: _dicom(p, GREY, **_palette()),
        "deflated": lambda p: _dicom(p, GREY, DeflatedExplicitVRLittleEndian),
        "rle": lambda p: _encoded(p, RLELossless),
        "jpegls": lambda p: _compressed(p, [_by_ffmpeg(f, "jpegls", "gray") for f in GREY], JPEGLSLossless, grey=True),
        "j2k": lambda p: _compressed(p, [_still(f, "JPEG2000") for f in GREY], JPEG2000Lossless, grey=True),
        "j2k_colour": lambda p: _compressed(p, [_still(f, "JPEG2000") for f in RGB], JPEG2000),
        "jpeg": lambda p: _compressed(p, [_still(f, "JPEG") for f in RGB], JPEGBaseline8Bit, vector=True),
        "jpeg_grey": lambda p: _compressed(p, [_still(f, "JPEG") for f in GREY], JPEGBaseline8Bit, grey=True),
        "extended": lambda p: _compressed(p, [_still(f, "JPEG") for f in RGB], JPEGBaseline8Bit, extended=True),
        "lossless": lambda p: _compressed(p, [_by_ffmpeg(f, "ljpeg", "yuvj444p") for f in RGB], JPEGLosslessSV1),
        "video": lambda p: _compressed(p, [_video_bytes()], MPEG4HP41),
    }  # fmt: skip
    for name, write in written.items():
        write(folder / f"{name}.dcm")


def _dicom(
    path: Path, pixels: Frames, syntax: UID = ExplicitVRLittleEndian, regions: bool = False, **more: Any
) -> None:
    dataset = _header(syntax, len(pixels), pixels.ndim == 4, 8 * pixels.dtype.itemsize)
    dataset.Rows, dataset.Columns = pixels.shape[1:3]
    if regions:
        dataset.SequenceOfUltrasoundRegions = [_region()]
    dataset.PixelData = pixels.astype(
        pixels.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")
    ).tobytes()
    _save(dataset, path, more)


def _header(syntax: UID, frames: int, colour: bool, bits: int = 8) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("1.2.3.4")
    dataset.Modality, dataset.PatientID, dataset.Manufacturer = "US", "P1", "Phantom"
    dataset.NumberOfFrames, dataset.FrameTime = frames, "33.3"
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    dataset.PlanarConfiguration, dataset.PixelRepresentation = 0, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    return dataset


def _region() -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 5, 5
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 120, 90
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = 0.02
    return item


def _save(dataset: Dataset, path: Path, more: dict[str, Any]) -> None:
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    dataset.save_as(path, enforce_file_format=True)


def _palette() -> dict[str, Any]:
    table = {"PhotometricInterpretation": "PALETTE COLOR"}
    values = (np.arange(256, dtype="<u2") * 257).tobytes()
    for colour in ("Red", "Green", "Blue"):
        table[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]  # type: ignore[assignment]
        table[f"{colour}PaletteColorLookupTableData"] = values  # type: ignore[assignment]
    return table


def _encoded(path: Path, syntax: UID) -> None:
    """Compressed by pydicom's own encoders."""
    dataset = _header(ExplicitVRLittleEndian, len(GREY), colour=False)
    dataset.Rows, dataset.Columns = GREY.shape[1:]
    dataset.PixelData = GREY.tobytes()
    dataset["PixelData"].VR = "OB"
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def _compressed(
    path: Path, streams: list[bytes], syntax: UID, grey: bool = False, extended: bool = False, vector: bool = False
) -> None:
    dataset = _header(syntax, len(GREY), colour=not grey)
    dataset.Rows, dataset.Columns = GREY.shape[1:]
    if not grey:
        dataset.PhotometricInterpretation = "YBR_FULL_422"
    if vector:
        dataset.FrameTimeVector = ["0", "30", "40"]
    if extended:
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
            streams
        )
    else:
        dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].is_undefined_length = True
    _save(dataset, path, {})


def _still(pixels: Frames, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _by_ffmpeg(pixels: Frames, codec: str, kind: str) -> bytes:
    """A still, compressed losslessly by an encoder of FFmpeg."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = kind, Fraction(1, 25)
    encoder.options = {"strict": "-2"}
    frame = av.VideoFrame.from_ndarray(pixels, "gray" if pixels.ndim == 2 else "rgb24").reformat(format=kind)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def _video_bytes() -> bytes:
    file = io.BytesIO()
    _encode(file, "libx264", "yuv420p", "mp4")
    return file.getvalue()


VIDEOS = {
    "h264.mp4": ("libx264", "yuv420p"), "deep.mp4": ("libx265", "yuv420p10le"), "mpeg4.mov": ("mpeg4", "yuv420p"),
    "mjpeg.avi": ("mjpeg", "yuvj420p"), "raw.avi": ("rawvideo", "yuv420p"), "lossless.mkv": ("ffv1", "yuv420p"),
    "vp9.webm": ("libvpx-vp9", "yuv420p"), "mpeg1.mpg": ("mpeg1video", "yuv420p"), "h264.ts": ("libx264", "yuv420p"),
    "wmv.wmv": ("wmv2", "yuv420p"), "packed.mov": ("prores_ks", "yuv422p10le"), "mpeg4.3gp": ("mpeg4", "yuv420p"),
    "gif.gif": ("gif", "rgb8"),
}  # fmt: skip
"""Name of each file, its codec and its pixel format."""


def write_videos(folder: Path) -> None:
    """Videos of many containers and codecs."""
    for name, (codec, pixels) in VIDEOS.items():
        _encode(str(folder / name), codec, pixels)


def _encode(target: Any, codec: str, pixels: str, container: str | None = None) -> None:
    with av.open(target, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, pixels
        for picture in sector(6):
            frame = av.VideoFrame.from_ndarray(picture, "gray")
            file.mux(stream.encode(frame.reformat(format=pixels)))
        file.mux(stream.encode())


def write_stills(folder: Path) -> None:
    """Stills of many formats and depths."""
    grey, rgb = Image.fromarray(GREY[0]), Image.fromarray(RGB[0])
    deep = GREY[0].astype(np.uint16) * 16
    grey.save(folder / "grey.png")
    rgb.convert("RGBA").save(folder / "clear.png")
    rgb.quantize(64).save(folder / "palette.png")
    Image.fromarray(deep).save(folder / "deep.png", dpi=(100, 120))
    cv2.imwrite(str(folder / "deep_colour.png"), np.dstack([deep] * 3))
    rgb.save(folder / "colour.jpg", quality=90)
    turned = Image.Exif()
    turned[0x0112] = 6
    grey.save(folder / "turned.jpg", quality=90, exif=turned)
    rgb.save(folder / "progressive.jpeg", progressive=True)
    rgb.save(folder / "colour.bmp")
    grey.save(folder / "grey.bmp")
    grey.save(folder / "raw.tif")
    rgb.save(folder / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(deep).save(folder / "deep.tiff", compression="tiff_adobe_deflate")
    grey.save(folder / "pages.tif", save_all=True, append_images=[Image.fromarray(frame) for frame in GREY[1:]])
    rgb.save(folder / "jpeg.tif", compression="jpeg")
    rgb.save(folder / "lossy.webp")
    rgb.save(folder / "lossless.webp", lossless=True)
