"""A patient who must not be found again: what the header says of her, and a check that a file holds none of it."""

from __future__ import annotations

from pathlib import Path

HEADER = {
    "PatientName": "Featherstonehaugh^Wilhelmina", "PatientID": "NHS4857773456", "PatientBirthDate": "19870423",
    "AccessionNumber": "ACC99173", "InstitutionName": "Saint Erkenwald Hospital", "StudyDate": "20240229",
    "ReferringPhysicianName": "Cholmondeley^Peregrine", "OperatorsName": "Marjoribanks", "StudyID": "STU55512",
    "PatientComments": "twins after IVF", "StationName": "ROOM7SCANNER", "DeviceSerialNumber": "SN8675309",
}  # fmt: skip
SECRETS = [
    "Featherstonehaugh", "Wilhelmina", "NHS4857773456", "4857773456", "19870423", "ACC99173", "Erkenwald", "20240229",
    "Cholmondeley", "Peregrine", "Marjoribanks", "STU55512", "twins after", "ROOM7SCANNER", "SN8675309",
    "Fotherington", "fetus_of", "labels_of",
]  # fmt: skip


def assert_no_secret(data: bytes, where: object, home: Path) -> None:
    for secret in [*SECRETS, str(home)]:
        for encoding in ("utf-8", "utf-16-le"):
            assert secret.lower().encode(encoding) not in data.lower(), f"{secret} in {where}"
