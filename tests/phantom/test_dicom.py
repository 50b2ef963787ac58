"""The DICOM files are valid Ultrasound Multi-frame Images, and two independent readers see the rendered pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.config import RAISE
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage
from pydicom.valuerep import validate_value

from sonolearn.config import PhantomConfig
from sonolearn_phantom import Fetus
from sonolearn_phantom.files import KINDS, frame_grey, write_dicom
from sonolearn_phantom.recording import Recording, record_scan

# PS3.3 table A.7-1, mandatory modules of the Ultrasound Multi-frame Image, with their type 1 and 2 attributes.
MANDATORY = {
    "Patient": "PatientName PatientID PatientBirthDate PatientSex",
    "General Study": "StudyInstanceUID StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber",
    "General Series": "Modality SeriesInstanceUID SeriesNumber",
    "General Equipment": "Manufacturer",
    "General Image": "InstanceNumber PatientOrientation ContentDate ContentTime",
    "Image Pixel": "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit "
    "PixelRepresentation PixelData",
    "Cine": "FrameTime",
    "Multi-frame": "NumberOfFrames FrameIncrementPointer",
    "US Region Calibration": "SequenceOfUltrasoundRegions",
    "US Image": "ImageType LossyImageCompression UltrasoundColorDataPresent",
    "SOP Common": "SOPClassUID SOPInstanceUID SpecificCharacterSet",
}
# PS3.3 table C.8-17, type 1 attributes of a region.
REGION = (
    "RegionLocationMinX0 RegionLocationMinY0 RegionLocationMaxX1 RegionLocationMaxY1 PhysicalUnitsXDirection "
    "PhysicalUnitsYDirection PhysicalDeltaX PhysicalDeltaY RegionSpatialFormat RegionDataType RegionFlags"
)


@pytest.fixture(scope="module")
def recording(fetus: Fetus) -> Recording:
    return record_scan(fetus, 1, PhantomConfig(frames=3, size=96, callipers=1.0))


@pytest.fixture(params=KINDS)
def written(request: pytest.FixtureRequest, recording: Recording, fetus: Fetus, tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "scan.dcm"
    write_dicom(path, recording.frames, fetus.patient, recording.layout, 1, request.param)
    return path, request.param


def expected(recording: Recording, kind: str) -> NDArray[np.uint8]:
    """The frames as a reader should see them."""
    return np.stack([frame_grey(frame) if "MONOCHROME" in kind else frame for frame in recording.frames])


def test_two_readers_see_the_rendered_pixels(written: tuple[Path, str], recording: Recording) -> None:
    path, kind = written
    wanted = expected(recording, kind)
    by_pydicom = pydicom.dcmread(path).pixel_array
    by_gdcm = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    for found in (by_pydicom, by_gdcm):
        assert found.shape == wanted.shape
        if kind.startswith("JPEG"):
            assert np.abs(found.astype(int) - wanted).mean() < 4
        else:
            np.testing.assert_array_equal(found, wanted)
    assert np.abs(by_pydicom.astype(int) - by_gdcm).mean() < 1.5


def test_mandatory_attributes_are_there(written: tuple[Path, str]) -> None:
    data = pydicom.dcmread(written[0])
    missing = {module: name for module, names in MANDATORY.items() for name in names.split() if name not in data}
    assert not missing
    region = data.SequenceOfUltrasoundRegions[0]
    assert not [name for name in REGION.split() if name not in region]
    assert data.SOPClassUID == data.file_meta.MediaStorageSOPClassUID == UltrasoundMultiFrameImageStorage
    assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
    for element in data:
        if isinstance(element.value, str):
            validate_value(element.VR, element.value, RAISE)


def test_transfer_syntax_colour_and_loss_agree(written: tuple[Path, str]) -> None:
    path, kind = written
    data = pydicom.dcmread(path)
    coded = kind.startswith("JPEG")
    assert data.file_meta.TransferSyntaxUID == (JPEGBaseline8Bit if coded else ExplicitVRLittleEndian)
    assert data.LossyImageCompression == ("01" if coded else "00")
    assert ("LossyImageCompressionRatio" in data) == coded
    assert data.PhotometricInterpretation == kind.removeprefix("JPEG ")
    assert data.UltrasoundColorDataPresent == 0
    assert data.SamplesPerPixel == (1 if "MONOCHROME" in kind else 3)


def test_cine_rate_and_frame_time_agree(written: tuple[Path, str], fetus: Fetus) -> None:
    data = pydicom.dcmread(written[0])
    assert data.CineRate == fetus.patient.frame_rate
    assert float(data.FrameTime) == pytest.approx(1000 / fetus.patient.frame_rate, rel=1e-4)
    assert data[data.FrameIncrementPointer].keyword == "FrameTime"


def test_region_is_calibrated_and_holds_the_sector(
    written: tuple[Path, str], recording: Recording, fetus: Fetus
) -> None:
    region = pydicom.dcmread(written[0]).SequenceOfUltrasoundRegions[0]
    assert (region.RegionSpatialFormat, region.RegionDataType, region.PhysicalUnitsXDirection) == (1, 1, 3)
    rows, columns = np.nonzero(recording.masks["sector"])
    assert region.RegionLocationMinX0 <= columns.min() <= columns.max() <= region.RegionLocationMaxX1
    assert region.RegionLocationMinY0 <= rows.min() <= rows.max() <= region.RegionLocationMaxY1
    # Along the middle beam the sector is as deep as the picture's depth.
    middle = (region.RegionLocationMinX0 + region.RegionLocationMaxX1) // 2
    deep = recording.masks["sector"][:, middle].sum() * region.PhysicalDeltaY * 10
    assert deep == pytest.approx(fetus.patient.depth, rel=0.04)


def test_ids_follow_from_the_seed_and_differ_between_scans(fetus: Fetus, recording: Recording, tmp_path: Path) -> None:
    files = []
    for name, scan in (("a", 1), ("b", 1), ("c", 2)):
        files.append(tmp_path / name)
        write_dicom(files[-1], recording.frames, fetus.patient, recording.layout, scan, "MONOCHROME2")
    assert files[0].read_bytes() == files[1].read_bytes()
    first, other = pydicom.dcmread(files[0]), pydicom.dcmread(files[2])
    assert first.SOPInstanceUID != other.SOPInstanceUID
    assert first.StudyInstanceUID == other.StudyInstanceUID
