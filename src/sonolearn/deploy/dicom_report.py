"""What `predict` found in a scan as a DICOM Structured Report: TID 1500 of PS3.16, through highdicom.

The report has a group of measurements of the whole scan, and one for each plane that frames show: the plane as a coded
Image View (111031, DCM), the frames that show it, and the probability as Certainty of Finding (111012, DCM) in percent:
its mean over the scan, and its maximum at the best frame. The observer is a device, the classifier.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurement,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from sonolearn.version import __version__

SCHEME = "99SONOLEARN"
MANUFACTURER = "sonolearn"
_VIEWS = {
    "4ch": codes.SCT.FourChamber, "a4c": codes.SCT.FourChamber, "fourchamber": codes.SCT.FourChamber,
    "5ch": codes.SCT.FiveChamber, "a5c": codes.SCT.FiveChamber,
    "2ch": codes.SCT.TwoChamber, "a2c": codes.SCT.TwoChamber,
    "rvot": codes.SCT.RightVentricularOutflowTractView,
    "plax": codes.SCT.ParasternalLongAxis, "psax": codes.SCT.ParasternalShortAxis,
    "alax": codes.SCT.ApicalLongAxis,
}  # fmt: skip
_LONGEST_VALUE = 16  # characters of a code value (PS3.3 8.1)


def plane_code(plane: str) -> CodedConcept:
    """The code of a plane: SNOMED CT where it has one for that view (CID 12226, CID 6), else this program's own scheme.

    A name that is too long for a code value has its hash instead.
    """
    known = _VIEWS.get(re.sub(r"[^a-z0-9]", "", plane.lower()))
    if known is not None:
        return CodedConcept(known.value, known.scheme_designator, known.meaning)
    value = (
        plane if len(plane) <= _LONGEST_VALUE and plane.isascii() else hashlib.sha256(plane.encode()).hexdigest()[:16]
    )
    return CodedConcept(value.replace("\\", "/"), SCHEME, plane.replace("\\", "/")[:64])


@dataclass(frozen=True)
class Model:
    """What classified: its name and its version, the hash of its file."""

    name: str
    version: str


def structured_report(
    source: Dataset, scan: str, plane: str, frames: pd.DataFrame, model: Model, uid: Callable[[str], str]
) -> ComprehensiveSR:
    """The report of one scan.

    Args:
        source: header of the instance that was classified, under the identity that the report is to have.
        scan: pseudonym of the scan, its tracking identifier.
        plane: of the scan.
        frames: rows of predictions.csv: `frame` from 0, `plane`, and p_NAME from 0 to 1 of each plane.
        model: what classified.
        uid: gives UIDs, for the same text the same.

    Returns:
        A Comprehensive SR document, complete, preliminary and unverified.
    """
    algorithm = AlgorithmIdentification(model.name, model.version, manufacturer=MANUFACTURER)
    means = frames.filter(regex="^p_").astype(float).mean()
    shown = [name for name in frames["plane"].dropna().unique() if f"p_{name}" in frames]
    groups = [_group(source, uid, algorithm, f"{scan}", plane, _mean(means, plane), None)]
    for name in sorted(shown, key=lambda name: -means[f"p_{name}"]):
        numbers = [int(frame) + 1 for frame in frames.loc[frames["plane"] == name, "frame"]]
        best = frames.iloc[frames[f"p_{name}"].argmax()]
        measured = [*_mean(means, name), _best(source, int(best["frame"]) + 1, float(best[f"p_{name}"]))]
        groups.append(_group(source, uid, algorithm, f"{scan} {name}", name, measured, numbers))
    device = DeviceObserverIdentifyingAttributes(
        uid(f"device {model.name} {model.version}"), name=model.name, manufacturer_name=MANUFACTURER,
        model_name=model.name, serial_number=model.version,
    )  # fmt: skip
    content = MeasurementReport(
        ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device)),
        procedure_reported=codes.SCT.ImagingProcedure, imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )  # fmt: skip
    return ComprehensiveSR(
        [source], content, uid("series of reports"), 9901, uid("report"), 1, MANUFACTURER, is_complete=True,
        manufacturer_model_name=model.name, software_versions=__version__, device_serial_number=model.version,
        series_description="sonolearn planes", specific_character_set="ISO_IR 192",
        coding_schemes=[
            CodingSchemeIdentificationItem(SCHEME, name="Planes as named by those who labelled them",
                                           responsible_organization=MANUFACTURER),
        ],
    )  # fmt: skip


def _group(
    source: Dataset, uid: Callable[[str], str], algorithm: AlgorithmIdentification, tracked: str, plane: str,
    measurements: Sequence[Measurement], numbers: Sequence[int] | None,
) -> MeasurementsAndQualitativeEvaluations:  # fmt: skip
    """The plane of a scan, or of some frames of it."""
    numbers = numbers if int(source.get("NumberOfFrames") or 1) > 1 else None
    image = SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID, numbers)
    return MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(UID(uid(f"tracked {tracked}")), tracked), algorithm_id=algorithm, measurements=measurements,
        qualitative_evaluations=[QualitativeEvaluation(codes.DCM.ImageView, plane_code(plane))], source_images=[image],
    )  # fmt: skip


def _mean(means: pd.Series, plane: str) -> list[Measurement]:
    """The mean probability of a plane; of what is not a plane of the classifier there is none."""
    if f"p_{plane}" not in means:
        return []
    return [_certainty(float(means[f"p_{plane}"]), codes.SCT.Mean)]


def _best(source: Dataset, number: int, probability: float) -> Measurement:
    numbers = [number] if int(source.get("NumberOfFrames") or 1) > 1 else None
    image = SourceImageForMeasurement(source.SOPClassUID, source.SOPInstanceUID, numbers)
    return _certainty(probability, codes.SCT.Maximum, [image])


def _certainty(
    probability: float, derivation: Code, images: Sequence[SourceImageForMeasurement] | None = None
) -> Measurement:
    return Measurement(
        codes.DCM.CertaintyOfFinding, round(100 * probability, 3), codes.UCUM.Percent, derivation=derivation,
        referenced_images=images,
    )  # fmt: skip
