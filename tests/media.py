"""Small ultrasound-like files for tests: speckled sectors as DICOM, video and stills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

Frames = NDArray[np.uint8]


def speckle(frames: int, height: int = 96, width: int = 128, seed: int = 0) -> Frames:
    """(n, H, W) uint8: a bright, moving, speckled box from (20, 30) to (-10, -20) on black."""
    random = np.random.default_rng(seed)
    picture = np.zeros((frames, height, width), np.uint8)
    noise = random.normal(110, 40, (frames, height - 30, width - 50))
    picture[:, 20:-10, 30:-20] = np.clip(noise, 20, 255)
    return picture


def fan(frames: int, height: int = 240, width: int = 320, seed: int = 0) -> Frames:
    """(n, H, W) uint8: a fan of speckle as coarse as a machine's, which moves from frame to frame, on black."""
    random = np.random.default_rng(seed)
    tissue = cv2.GaussianBlur(random.rayleigh(1, (height + 4 * frames, width + 4 * frames)), (0, 0), 1.5)
    tissue = np.clip(70 * tissue**2 - 20, 15, 230)
    down, across = np.mgrid[:height, :width].astype(float)
    depth, angle = (
        np.hypot(down + 0.25 * height, across - width / 2),
        np.arctan2(across - width / 2, down + 0.25 * height),
    )
    inside = (depth > 0.4 * height) & (depth < 1.15 * height) & (np.abs(angle) < 0.6)
    return np.stack([np.where(inside, tissue[4 * n :, 3 * n :][:height, :width], 0) for n in range(frames)]).astype(
        np.uint8
    )


def written(frames: Frames, text: str, x: int, y: int, scale: float = 0.4, grey: int = 230) -> Frames:
    """The same frames with a line of text, its left lower corner at (x, y)."""
    frames = frames.copy()
    for frame in frames:
        cv2.putText(frame, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, grey, 1, cv2.LINE_AA)
    return frames


def write_video(path: Path, frames: Frames, codec: str = "mpeg4", pixels: str = "yuv420p", rate: int = 25) -> Path:
    """Encode (n, H, W) grey or (n, H, W, 3) RGB frames with PyAV; the ending names the container."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.bit_rate = 4_000_000
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "gray" if picture.ndim == 2 else "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_dicom(
    path: Path, pixels: NDArray[Any] | list[bytes], syntax: UID = ExplicitVRLittleEndian, **elements: Any
) -> Path:
    """Write a DICOM file from (n, H, W[, 3]) values, or from compressed frames with Rows and Columns given."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    dataset.Modality = "US"
    dataset.NumberOfFrames = len(pixels)
    if isinstance(pixels, list):
        dataset.BitsAllocated, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 8, 3, "YBR_FULL_422"
        dataset.PixelData = encapsulate(pixels)
    else:
        dataset.Rows, dataset.Columns = pixels.shape[1:3]
        dataset.BitsAllocated = pixels.dtype.itemsize * 8
        dataset.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
        dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 4 else "MONOCHROME2"
        dataset.PixelData = pixels.tobytes()
    dataset.PlanarConfiguration = 0
    dataset.PixelRepresentation = 0
    for name, value in elements.items():
        setattr(dataset, name, value)
    if "BitsStored" not in dataset:
        dataset.BitsStored = dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    dataset["PixelData"].is_undefined_length = isinstance(pixels, list)
    dataset.save_as(path, enforce_file_format=True)
    return path


def region(x0: int, y0: int, x1: int, y1: int, spatial: int = 1, data: int = 1, delta_cm: float = 0.02) -> Dataset:
    """An item of the sequence of ultrasound regions; the ends are included, as DICOM has it."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, data, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = delta_cm
    return item


def write_still(path: Path, seed: int, height: int = 96, width: int = 128) -> Path:
    """Write one speckled still."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(speckle(1, height, width, seed)[0]).save(path)
    return path
