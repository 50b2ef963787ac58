"""What `predict` found, as DICOM: reports that say what its tables say, valid, and under the identity asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from highdicom.sr import srread
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from dicom_peers import dciodvfy_errors, printed_by, validator_errors
from identities import HEADER, assert_no_secret
from media import fan, write_dicom, write_video, written
from sonolearn import cli
from sonolearn.config import PredictConfig
from sonolearn.config.hospital import DeidentifyConfig, DicomConfig
from sonolearn.console import UserError
from sonolearn.deploy.deidentify import deidentify
from sonolearn.deploy.dicom_out import dicom
from sonolearn.deploy.dicom_report import plane_code
from sonolearn.deploy.predict import predict

UIDS = {"StudyInstanceUID": "1.2.4857773456.1", "SeriesInstanceUID": "1.2.4857773456.2"}


def classify(home: Path, classifier: Path) -> Path:
    """A run of `predict` over one DICOM cine with identities in header and picture, and one video."""
    (home / "in").mkdir(parents=True)
    pixels = written(fan(16, 240, 320, seed=3), "FEATHERSTONEHAUGH NHS4857773456", 8, 14)
    write_dicom(home / "in" / "Wilhelmina.dcm", pixels, **HEADER, **UIDS, FrameTime=40)
    write_video(home / "in" / "video.mp4", fan(6, seed=4))
    options = PredictConfig(classifier=classifier, accelerator="cpu", engine="torch", frame_skip=2, threads=1)
    predict([home / "in"], home / "run", options)
    return home / "run"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, classifier_path: Path) -> Path:
    """A run with its documents under pseudonyms (`out`) and under the patient's name (`named`)."""
    home = tmp_path_factory.mktemp("hospital")
    run = classify(home, classifier_path)
    dicom(run, home / "out", DicomConfig())
    dicom(run, home / "named", DicomConfig(keep_identity=True))
    return home


def only(folder: Path, ending: str) -> Path:
    (file,) = folder.glob(f"*{ending}")
    return file


def frames_of(home: Path) -> pd.DataFrame:
    """The rows of predictions.csv of the scan that is DICOM."""
    table = pd.read_csv(home / "run" / "predictions.csv")
    return table[table["scan"] == only(home / "out", ".sr.dcm").name.partition(".")[0]]


def test_the_command_says_what_it_wrote(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["dicom", str(home / "run"), "--out", str(tmp_path / "out"), "--key", str(home / "sonolearn-private")])
    assert "2 DICOM files with pseudonyms; 1 scans are not DICOM and have none" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("*.dcm"))) == 2


def test_a_report_says_what_the_tables_say(home: Path) -> None:
    table = frames_of(home)
    report = srread(only(home / "named", ".sr.dcm"))
    scan, *planes = report.content.get_image_measurement_groups()
    whole = pd.read_csv(home / "run" / "scans.csv").set_index("scan").loc[table["scan"].iloc[0]]
    assert view(scan) == plane_code(whole["plane"])
    assert certainty(scan, "Mean") == pytest.approx(100 * table[f"p_{whole['plane']}"].mean(), abs=1e-3)
    assert [view(group) for group in planes] == [
        plane_code(name) for name in sorted(table["plane"].unique(), key=lambda p: -table[f"p_{p}"].mean())
    ]
    for group in planes:
        name = next(name for name in table["plane"].unique() if plane_code(name) == view(group))
        assert certainty(group, "Maximum") == pytest.approx(100 * table[f"p_{name}"].max(), abs=1e-3)
        (image,) = group.source_images
        assert image.referenced_sop_instance_uid == dcmread(home / "in" / "Wilhelmina.dcm").SOPInstanceUID
        assert list(image.referenced_frame_numbers) == [f + 1 for f in table.loc[table["plane"] == name, "frame"]]
        best = table.loc[table[f"p_{name}"].idxmax(), "frame"]
        (measured,) = (m for m in group.get_measurements() if m.derivation == codes.SCT.Maximum)
        assert list(measured.referenced_images[0].referenced_frame_numbers) == [best + 1]


def view(group: object) -> object:
    (evaluation,) = group.get_qualitative_evaluations(codes.DCM.ImageView)  # type: ignore[attr-defined]
    return evaluation.value


def certainty(group: object, derivation: str) -> float:
    wanted = getattr(codes.SCT, derivation)
    measured = [m for m in group.get_measurements(codes.DCM.CertaintyOfFinding) if m.derivation == wanted]  # type: ignore[attr-defined]
    assert measured[0].unit == codes.UCUM.Percent
    return float(measured[0].value)


def test_the_observer_is_the_classifier_with_its_version(home: Path) -> None:
    text = printed_by("dsrdump", only(home / "out", ".sr.dcm"))
    version = dcmread(only(home / "out", ".sr.dcm")).DeviceSerialNumber
    assert 'Observer Type")=(121007,DCM,"Device")' in text
    assert 'Device Observer Name")="sonolearn plane classifier"' in text
    assert f'Device Observer Serial Number")="{version}"' in text
    assert f'Algorithm Version")="{version}"' in text


@pytest.mark.parametrize("errors", [dciodvfy_errors, validator_errors])
@pytest.mark.parametrize("folder", ["out", "named"])
def test_documents_are_valid(home: Path, folder: str, errors: Callable[[Path], list[str]]) -> None:
    for ending in (".sr.dcm", ".sc.dcm"):
        assert errors(only(home / folder, ending)) == []


def test_by_default_nobody_is_named_and_references_lead_to_the_deidentified_copy(home: Path) -> None:
    for file in (home / "out").glob("*.dcm"):
        assert_no_secret(file.read_bytes(), file, home)
    deidentify([home / "in" / "Wilhelmina.dcm"], home / "copies", DeidentifyConfig())
    copy = dcmread(only(home / "copies" / "scans", ".dcm"))
    report, capture = dcmread(only(home / "out", ".sr.dcm")), dcmread(only(home / "out", ".sc.dcm"))
    assert report.StudyInstanceUID == capture.StudyInstanceUID == copy.StudyInstanceUID
    assert report.PatientID == capture.PatientID == copy.PatientID
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (instance,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert instance.ReferencedSOPInstanceUID == copy.SOPInstanceUID
    assert instance.ReferencedSOPClassUID == copy.SOPClassUID
    np.testing.assert_array_equal(np.atleast_3d(shown(capture)), np.atleast_3d(best_of(copy, capture)))


def shown(capture: Dataset) -> np.ndarray:
    pixels = capture.pixel_array
    return pixels if pixels.ndim == 3 else pixels[None]


def best_of(copy: Dataset, capture: Dataset) -> np.ndarray:
    (reference,) = capture.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == copy.SOPInstanceUID
    numbers = np.atleast_1d(reference.ReferencedFrameNumber).astype(int)
    return copy.pixel_array[numbers - 1]


def test_inside_the_hospital_documents_join_the_patients_study(home: Path) -> None:
    for ending, modality in ((".sr.dcm", "SR"), (".sc.dcm", "US")):
        data = dcmread(only(home / "named", ending))
        assert (data.PatientName, data.PatientID) == (HEADER["PatientName"], HEADER["PatientID"])
        assert (data.StudyInstanceUID, data.AccessionNumber) == (UIDS["StudyInstanceUID"], HEADER["AccessionNumber"])
        assert data.SeriesInstanceUID != UIDS["SeriesInstanceUID"]
        assert data.Modality == modality


def test_uids_follow_from_scan_classifier_and_identity(home: Path, tmp_path: Path) -> None:
    dicom(home / "run", tmp_path / "again", DicomConfig(key=home / "sonolearn-private"))
    for ending in (".sr.dcm", ".sc.dcm"):
        first, again, named = (
            dcmread(only(folder, ending)) for folder in (home / "out", tmp_path / "again", home / "named")
        )
        assert first.SOPInstanceUID == again.SOPInstanceUID != named.SOPInstanceUID
        assert first.SeriesInstanceUID == again.SeriesInstanceUID


@pytest.mark.parametrize(
    ("plane", "code"),
    [("4CH", "399214001"), ("four chamber", "399214001"), ("RVOT", "399195005"), ("PLAX", "399139001")],
)
def test_planes_that_snomed_knows_have_its_code(plane: str, code: str) -> None:
    assert (plane_code(plane).value, plane_code(plane).scheme_designator) == (code, "SCT")


@pytest.mark.parametrize("plane", ["3VV/3VT", "none of these", "a name of more than sixteen characters", "Küche"])
def test_other_planes_have_a_code_of_a_declared_private_scheme(plane: str) -> None:
    code = plane_code(plane)
    assert (code.scheme_designator, code.meaning) == ("99SONOLEARN", plane)
    assert len(code.value) <= 16


def test_the_private_scheme_is_declared(home: Path) -> None:
    (scheme,) = dcmread(only(home / "out", ".sr.dcm")).CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99SONOLEARN"


def test_best_frames_with_text_left_are_written_for_the_hospital_alone(
    tmp_path: Path, classifier_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sonolearn.deploy import best_frames

    monkeypatch.setattr(best_frames, "UNCLEAR", 0.0)
    run = classify(tmp_path, classifier_path)
    dicom(run, tmp_path / "out", DicomConfig())
    dicom(run, tmp_path / "named", DicomConfig(keep_identity=True))
    assert not list((tmp_path / "out").glob("*.sc.dcm"))
    assert dcmread(only(tmp_path / "named", ".sc.dcm")).BurnedInAnnotation == "YES"


def test_mistakes_are_one_sentence(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is .what you meant|is .* what you meant"):
        dicom(tmp_path / "nothing", tmp_path / "out", DicomConfig(key=home / "sonolearn-private"))
    with pytest.raises(UserError, match="another key"):
        dicom(home / "run", tmp_path / "out", DicomConfig(key=tmp_path / "other"))
    deidentify([home / "in" / "Wilhelmina.dcm"], tmp_path / "copies", DeidentifyConfig())
    with pytest.raises(UserError, match="is not a run of `sonolearn predict`"):
        dicom(tmp_path / "copies", tmp_path / "out", DicomConfig(key=home / "sonolearn-private"))


def test_a_source_that_has_gone_is_named_by_its_pseudonym(tmp_path: Path, classifier_path: Path) -> None:
    run = classify(tmp_path, classifier_path)
    (tmp_path / "in" / "Wilhelmina.dcm").unlink()
    with pytest.raises(UserError, match=r"the file of S-\w+ is gone"):
        dicom(run, tmp_path / "out", DicomConfig())
