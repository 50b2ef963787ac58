"""The best frame of each plane of a scan as one DICOM file: a multi-frame secondary capture (PS3.3 A.8.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import MultiFrameGrayscaleByteSecondaryCaptureImageStorage

from sonolearn.cleaning.clean import clean
from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.config import CleaningConfig
from sonolearn.deploy.dicom_frames import FrameFile
from sonolearn.deploy.dicom_report import MANUFACTURER, Model, plane_code
from sonolearn.scans.find import open_guarded
from sonolearn.scans.scan import Pixels
from sonolearn.version import __version__

UNCLEAR = THRESHOLDS.sector.unclear

_PATIENT_AND_STUDY = (
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber", "PatientIdentityRemoved",
    "DeidentificationMethod", "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified",
)  # fmt: skip


def read_frames(
    path: Path, wanted: Mapping[str, int], step: int, cleaning: CleaningConfig
) -> tuple[dict[str, Pixels], bool]:
    """Cleaned frames of a scan, in their place on the screen, and whether the outline around them is clear.

    Args:
        path: the file.
        wanted: number of a frame, from 0, by plane.
        step: every n-th frame is read, as `predict` did; and no further than the last that is wanted.
        cleaning: as `predict` cleaned.

    Raises:
        Rejected: the file is damaged by now.
    """
    cleaned = clean(open_guarded([path]), None, step, config=cleaning)
    found: dict[int, Pixels] = {}
    for frame in cleaned.frames:
        if frame.index in wanted.values():
            found[frame.index] = frame.pixels
        if frame.index >= max(wanted.values()):
            break
    return {plane: found[index] for plane, index in wanted.items() if index in found}, cleaned.misfit < UNCLEAR


def write_best_frames(
    path: Path, source: Dataset, frames: Mapping[str, Pixels], numbers: Mapping[str, int], model: Model,
    uid: Callable[[str], str], readable: bool,
) -> None:  # fmt: skip
    """Write the file.

    Args:
        path: where to.
        source: header of the instance that the frames are of, under the identity that the file is to have.
        frames: (H, W) uint8 by plane, at least one.
        numbers: of the frames in the source, from 0.
        model: what chose them.
        uid: gives UIDs, for the same text the same.
        readable: whether text of the screen may be left on the frames.
    """
    image = Dataset()
    for name in _PATIENT_AND_STUDY:
        if name in source:
            image[name] = source[name]
    image.SOPClassUID = MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    image.SOPInstanceUID, image.SeriesInstanceUID = uid("best frames"), uid("series of best frames")
    image.Modality, image.ConversionType, image.Laterality = "US", "WSD", ""
    image.SeriesNumber, image.InstanceNumber, image.PatientOrientation = 9902, 1, ""
    image.SeriesDescription = "sonolearn best frames"
    image.Manufacturer, image.ManufacturerModelName = MANUFACTURER, model.name
    image.SoftwareVersions, image.DeviceSerialNumber = __version__, model.version
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ContentDate, image.ContentTime = source.get("ContentDate") or "", source.get("ContentTime") or ""
    labels = [plane_code(plane).meaning for plane in frames]
    image.DerivationDescription = f"Best frames of {', '.join(labels)}: sector kept, marks filled, grey"[:1024]
    image.BurnedInAnnotation = "YES" if readable else "NO"
    image.NumberOfFrames = len(frames)
    if len(frames) > 1:
        image.FrameIncrementPointer, image.FrameLabelVector = 0x00182002, [label[:16] for label in labels]
    image.PresentationLUTShape, image.RescaleIntercept, image.RescaleSlope = "IDENTITY", 0, 1
    image.RescaleType = "US"
    image.SourceImageSequence = Sequence([_reference(source, [numbers[plane] + 1 for plane in frames])])
    with FrameFile(path.parent) as file:
        for frame in frames.values():
            file.add(frame)
        file.save(path, image)


def _reference(source: Dataset, numbers: list[int]) -> Dataset:
    """The source image, and which of its frames (PS3.3 C.7.6.12)."""
    item, purpose = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    if int(source.get("NumberOfFrames") or 1) > 1:
        item.ReferencedFrameNumber = numbers
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    return item
