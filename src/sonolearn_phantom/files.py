"""Write a cine as DICOM: Ultrasound Multi-frame Image Storage (PS3.3 A.7) with its region (PS3.3 C.8.5.5)."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from sonolearn_phantom.patient import MACHINES, Patient
from sonolearn_phantom.picture import Image
from sonolearn_phantom.screen import Layout, exam_date


def write_mp4(path: Path, frames: list[Image], frame_rate: int) -> None:
    """Write `frames`, each (height, width, 3) uint8 RGB with even sides, at `frame_rate` frames / s.

    One thread codes, so that the same frames give the same bytes.
    """
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(frame_rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast", "threads": "1", "x264-params": "threads=1"}
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


KINDS = ("RGB", "MONOCHROME2", "JPEG YBR_FULL_422", "JPEG MONOCHROME2")
"""The forms in turn: colour and grey without compression, colour and grey as JPEG baseline."""
_ROOT = "1.2.826.0.1.3680043.8.498."
_JPEG_QUALITY = 90


def write_dicom(
    path: Path, frames: list[Image], patient: Patient, layout: Layout, scan: int, kind: str, flow: bool = False
) -> None:
    """Write `frames`, each (height, width, 3) uint8 RGB, as one DICOM file of a `kind` in `KINDS`.

    `flow` says that the frames show colour Doppler.

    All ids follow from the patient's seed and index and the number of the `scan`, and no time of writing is stored:
    the same frames give the same bytes.
    """
    colour = "RGB" in kind or "YBR" in kind
    pixels = np.stack(frames if colour else [frame_grey(frame) for frame in frames])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(patient, "instance", str(scan))
    meta.ImplementationClassUID = generate_uid(_ROOT, entropy_srcs=["sonolearn phantom"])
    meta.ImplementationVersionName = "SONOLEARN"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    _describe_patient(data, patient)
    _describe_study(data, patient, scan)
    _describe_image(data, patient, pixels, kind)
    data.UltrasoundColorDataPresent = int(flow)
    _describe_regions(data, layout)
    if kind.startswith("JPEG"):
        _compress(data, pixels)
    else:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        raw = pixels.tobytes()
        data.PixelData = raw + b"\0" * (len(raw) % 2)
        data["PixelData"].VR = "OB"
    data.save_as(path, enforce_file_format=True)


def frame_grey(frame: Image) -> Image:
    """The grey values (height, width) of an RGB frame, as Pillow's luma (ITU-R 601)."""
    return np.asarray(Pillow.fromarray(frame).convert("L"))


def _describe_patient(data: Dataset, patient: Patient) -> None:
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName = patient.person
    data.PatientID = patient.name
    data.PatientBirthDate = f"19{84 + patient.index % 15}{1 + patient.index % 12:02d}{1 + patient.index % 28:02d}"
    data.PatientSex = "F"
    data.PregnancyStatus = 3


def _describe_study(data: Dataset, patient: Patient, scan: int) -> None:
    maker, model = MACHINES[patient.machine]
    day = exam_date(patient)
    data.SOPClassUID = UltrasoundMultiFrameImageStorage
    data.SOPInstanceUID = _uid(patient, "instance", str(scan))
    data.StudyInstanceUID = _uid(patient, "study")
    data.SeriesInstanceUID = _uid(patient, "series")
    data.StudyDate = data.SeriesDate = data.ContentDate = day
    data.StudyTime, data.SeriesTime, data.ContentTime = "101500", "101500", f"10{15 + scan % 45:02d}30"
    data.AcquisitionDateTime = f"{day}{data.ContentTime}"
    data.AccessionNumber = f"A{patient.index + 1:06d}"
    data.ReferringPhysicianName = ""
    data.StudyID = "1"
    data.StudyDescription = "Synthetic fetal heart"
    data.SeriesNumber = 1
    data.InstanceNumber = scan
    data.Modality = "US"
    data.Laterality = ""
    data.PatientOrientation = ""
    data.Manufacturer = maker
    data.ManufacturerModelName = model
    data.InstitutionName = "Phantom Hospital"
    data.DeviceSerialNumber = f"{4000 + 7 * patient.machine}"
    data.SoftwareVersions = "1.0"


def _describe_image(data: Dataset, patient: Patient, pixels: Image, kind: str) -> None:
    colour = pixels.ndim == 4
    data.ImageType = ["ORIGINAL", "PRIMARY", "FETAL HEART", "0001"]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = kind.removeprefix("JPEG ")
    if colour:
        data.PlanarConfiguration = 0
    data.NumberOfFrames, data.Rows, data.Columns = pixels.shape[:3]
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelRepresentation = 0
    data.FrameTime = f"{1000 / patient.frame_rate:.6f}"
    data.FrameIncrementPointer = 0x00181063
    data.CineRate = data.RecommendedDisplayFrameRate = patient.frame_rate
    data.StartTrim, data.StopTrim = 1, pixels.shape[0]
    data.HeartRate = round(patient.heart_rate)
    data.BurnedInAnnotation = "YES"
    data.LossyImageCompression = "01" if kind.startswith("JPEG") else "00"


def _describe_regions(data: Dataset, layout: Layout) -> None:
    regions = []
    probe = layout.probe
    for row, column in layout.views:
        region = Dataset()
        region.RegionSpatialFormat = 1  # 2D
        region.RegionDataType = 1  # tissue
        region.RegionFlags = 0b10  # high priority, protected from scaling
        region.RegionLocationMinX0, region.RegionLocationMinY0 = column, row
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = column + probe.width - 1, row + probe.height - 1
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
        region.PhysicalDeltaX = region.PhysicalDeltaY = probe.pixel / 10
        region.ReferencePixelX0, region.ReferencePixelY0 = (round(value) for value in probe.face)
        region.ReferencePixelPhysicalValueX = region.ReferencePixelPhysicalValueY = 0.0
        region.TransducerFrequency = 5000
        regions.append(region)
    data.SequenceOfUltrasoundRegions = regions


def _compress(data: FileDataset, pixels: Image) -> None:
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    coded = []
    for frame in pixels:
        buffer = io.BytesIO()
        Pillow.fromarray(frame).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling="4:2:2")
        coded.append(buffer.getvalue())
    data.PixelData = encapsulate(coded)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.LossyImageCompressionRatio = f"{pixels.nbytes / sum(map(len, coded)):.2f}"
    data.LossyImageCompressionMethod = "ISO_10918_1"


def _uid(patient: Patient, *what: str) -> UID:
    return generate_uid(_ROOT, entropy_srcs=[str(patient.seed), str(patient.index), *what])
