"""Headers that name nobody: the Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E.

The profile lists what must go. Here it is the other way round: only what is listed here is even read, everything else
goes, private elements, comments and nested sequences among it. What is kept is numbers, codes of transducers, and the
make of the machine. UIDs are replaced by others that follow from the key, so that copies keep together as series and
studies. Two options of the profile can be chosen: modified dates, and the identity of the device. A test holds the
result against the profile's own table (E.1-1).
"""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code
from pydicom.uid import UID, UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from sonolearn.config.hospital import DeidentifyConfig
from sonolearn.scans.dicom_header import data_set, number, numbers
from sonolearn.scans.scan import printable
from sonolearn.store.pseudonyms import Pseudonyms
from sonolearn.version import __version__

IMAGE_CLASSES = (UltrasoundImageStorage, UltrasoundMultiFrameImageStorage)
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_NUMBERS = (
    "SeriesNumber", "InstanceNumber", "CineRate", "RecommendedDisplayFrameRate", "FrameTime", "FrameTimeVector",
    "FrameDelay", "StartTrim", "StopTrim", "HeartRate", "MechanicalIndex", "BoneThermalIndex", "CranialThermalIndex",
    "SoftTissueThermalIndex", "DepthOfScanField", "PixelSpacing", "LossyImageCompressionRatio",
)  # fmt: skip
_CODES = {
    "TransducerType": frozenset(
        ("LINEAR", "CURVED LINEAR", "SECTOR", "SECTOR PHASED", "CURVED PHASED", "LINEAR PHASED")
    ),
    "LossyImageCompression": frozenset(("00", "01")),
    "LossyImageCompressionMethod": frozenset(
        ("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_13818_2", "ISO_14496_10", "ISO_23008_2")
    ),
}  # the defined terms of PS3.3; a value that is none of them may be anything
_MAKE = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")
_DEVICE = ("DeviceSerialNumber", "StationName")
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_TIMES = ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime")
_EMPTY = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "SeriesNumber",
          "InstanceNumber", "PatientBirthDate", "PatientSex", "PatientOrientation", "Laterality", "Manufacturer",
          "ContentDate", "ContentTime")  # fmt: skip
"""Elements of the image's modules that must be there, and may be empty (type 2)."""
_REGIONS = "SequenceOfUltrasoundRegions"
_NUMERIC = frozenset(("US", "SS", "UL", "SL", "FD", "FL", "DS", "IS"))
_ACROSS = ("RegionLocationMinX0", "RegionLocationMaxX1", "ReferencePixelX0")
_DOWN = ("RegionLocationMinY0", "RegionLocationMaxY1", "ReferencePixelY0")
_BASIC = Code("113100", "DCM", "Basic Application Confidentiality Profile")
_PIXELS = Code("113101", "DCM", "Clean Pixel Data Option")
_MODIFIED_DATES = Code("113107", "DCM", "Retain Longitudinal Temporal Information Modified Dates Option")
_DEVICE_IDENTITY = Code("113109", "DCM", "Retain Device Identity Option")


def read_kept(path: Path, config: DeidentifyConfig) -> Dataset:
    """Those elements of a DICOM file that may be kept in some form; nothing else is read.

    Raises:
        Exception: pydicom's, of a damaged header.
    """
    names = [*_UIDS, *_NUMBERS, *_CODES, *_MAKE, *_DATES, *_TIMES, _REGIONS, "Rows", "Columns", "SOPClassUID"]
    names += [*_DEVICE, "DeviceUID"] if config.retain_device else []
    with warnings.catch_warnings(), data_set(path) as file:
        warnings.simplefilter("ignore")  # they may quote the header
        return dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(names))


def clean_header(
    kept: Dataset, patient: str, content: str, frames: int, shape: tuple[int, int], pseudonyms: Pseudonyms,
    config: DeidentifyConfig,
) -> Dataset:  # fmt: skip
    """The header of a de-identified copy, without its pixels.

    Args:
        kept: of `read_kept`; empty for a video or an image.
        patient: pseudonym, as name and id.
        content: names the content of the source; UIDs that it lacks follow from it.
        frames: how many the copy has.
        shape: height and width in px of the copy, whose pixels are square.
        pseudonyms: give the UIDs and the days by which dates are moved.
        config: dates and device.
    """
    header = Dataset()
    for name in _EMPTY:
        setattr(header, name, None if dictionary_VR(name) == "IS" else "")
    header.SpecificCharacterSet = "ISO_IR 192"
    header.Modality = "US"
    header.SOPClassUID = sop_class_of(str(kept.get("SOPClassUID") or ""), frames)
    header.PatientID, header.PatientName = patient, f"{patient}^"
    for name in _UIDS:
        setattr(header, name, pseudonyms.uid(str(kept.get(name) or "") or f"{name} {content}"))
    _copy_numbers(kept, header, _NUMBERS)
    _copy_terms(kept, header)
    for name in (*_MAKE, *(_DEVICE if config.retain_device else ())):
        if text := printable(kept.get(name)):
            setattr(header, name, text)
    if config.retain_device and UID(str(kept.get("DeviceUID") or "")).is_valid:
        header.DeviceUID = kept.DeviceUID
    if config.dates == "shift":
        _shift_dates(kept, header, pseudonyms.days(patient))
    _place_regions(kept, header, shape)
    _say_how(header, config)
    return header


def sop_class_of(source: str, frames: int) -> UID:
    """The kind of image of a copy: that of its source, if that is ultrasound and not of one frame too few."""
    if source == UltrasoundImageStorage and frames == 1:
        return UltrasoundImageStorage
    return UltrasoundMultiFrameImageStorage if source in IMAGE_CLASSES or frames > 1 else UltrasoundImageStorage


def _copy_numbers(source: Dataset, target: Dataset, names: tuple[str, ...]) -> None:
    """Copy values that are numbers through and through: text in them would be a value that breaks the standard."""
    for name in names:
        found = numbers(source, name)
        if name in source and found and all(value == value for value in found):
            whole = dictionary_VR(name) in ("IS", "US", "UL", "SS", "SL")
            values = [int(value) if whole else _decimal(value) for value in found]
            setattr(target, name, values if len(values) > 1 else values[0])


def _decimal(value: float) -> float:
    """A number that fits the 16 characters of a decimal string."""
    return float(f"{value:.9g}")


def _copy_terms(source: Dataset, target: Dataset) -> None:
    for name, terms in _CODES.items():
        value = source.get(name)
        found = [str(part).strip().upper() for part in ([value] if isinstance(value, str) else value or ())]
        if found and terms.issuperset(found):
            setattr(target, name, found if len(found) > 1 else found[0])


def _shift_dates(source: Dataset, target: Dataset, days: int) -> None:
    """Move dates back; times of day stay where their date does."""
    for date, time in zip(_DATES, _TIMES, strict=True):
        try:
            moved = datetime.strptime(str(source.get(date) or "").strip(), "%Y%m%d") - timedelta(days=days)
        except (ValueError, OverflowError):
            continue
        setattr(target, date, f"{moved:%Y%m%d}")
        clock = str(source.get(time) or "").strip().partition(".")[0]
        if clock.isdigit() and len(clock) == 6:
            setattr(target, time, clock)


def _place_regions(source: Dataset, target: Dataset, shape: tuple[int, int]) -> None:
    """The ultrasound regions (PS3.3 C.8.5.5) with their numbers alone, and spacings, for square pixels."""
    down, across = (
        side / (number(source, name) or side) for side, name in zip(shape, ("Rows", "Columns"), strict=True)
    )
    regions = []
    for item in source.get(_REGIONS) or ():
        region = Dataset()
        _copy_numbers(item, region, tuple(e.keyword for e in item if e.keyword and e.VR in _NUMERIC))
        for names, factor in ((_DOWN, down), (_ACROSS, across)):
            for name in names:
                if name in region:
                    setattr(region, name, round(region[name].value * factor))
        for name, factor in (("PhysicalDeltaY", down), ("PhysicalDeltaX", across)):
            if name in region:
                setattr(region, name, region[name].value / factor)
        regions.append(region)
    if regions:
        setattr(target, _REGIONS, Sequence(regions))
    if "PixelSpacing" in target:
        sides = zip(target.PixelSpacing, (down, across), strict=True)
        target.PixelSpacing = [_decimal(side / factor) for side, factor in sides]


def _say_how(header: Dataset, config: DeidentifyConfig) -> None:
    """Say by which profile and options it was done (PS3.15 E.1.1)."""
    methods = [_BASIC, _PIXELS]
    methods += [_MODIFIED_DATES] if config.dates == "shift" else []
    methods += [_DEVICE_IDENTITY] if config.retain_device else []
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = f"sonolearn {__version__} deidentify"
    header.DeidentificationMethodCodeSequence = Sequence([_coded(method) for method in methods])
    header.LongitudinalTemporalInformationModified = "MODIFIED" if config.dates == "shift" else "REMOVED"
    header.BurnedInAnnotation = "NO"


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item
