"""Label tables: what is read, and the one sentence each mistake gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from media import write_still
from sonolearn.config import Columns
from sonolearn.console import UserError
from sonolearn.data.labels import patient_in, read_labels

GOOD = "image,plane,patient\na.png,4CH,p1\nb.png,3VV/3VT,p2\n"


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        write_still(folder / name, number)
    (folder / "labels.csv").write_text(text, encoding=encoding)
    return folder / "labels.csv"


def mistake(folder: Path, text: str, columns: Columns | None = None, pattern: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read_labels(table(folder, text), columns or Columns(), pattern)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder}/labels.csv: ")


def test_a_table_is_read_in_the_order_of_its_images(tmp_path: Path) -> None:
    path = table(tmp_path, "image,plane,patient,machine,frame\nb.png,3VV/3VT, p2 ,V830,3\na.png,4CH,p1,,\n")
    read = read_labels(path, Columns(), None)
    assert read["plane"].tolist() == ["4CH", "3VV/3VT"]
    assert read["patient"].tolist() == ["p1", "p2"]
    assert read["frame"].tolist() == [-1, 3]
    assert read["line"].tolist() == [3, 2]
    assert read["path"].tolist() == [tmp_path / "a.png", tmp_path / "b.png"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_spreadsheets(tmp_path: Path, encoding: str, separator: str) -> None:
    read = read_labels(table(tmp_path, GOOD.replace(",", separator), encoding), Columns(), None)
    assert read["plane"].tolist() == ["4CH", "3VV/3VT"]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, GOOD.replace("plane", "view").replace("patient", "exam id"))
    assert read_labels(path, Columns(plane="view", patient="exam id"), None)["plane"].tolist() == ["4CH", "3VV/3VT"]


MISTAKES = [
    ("image,plane,patient\na.png,4CH,p1\nx.png,LVOT,p2\ny.png,LVOT,p2\n",
     r"2 of 3 images do not exist \(x.png, y.png\); .* relative to"),
    ("image,view,patient\na.png,4CH,p1\n",
     r"has no column 'plane'; it has .*--columns.plane"),
    ("image,planes,patient\na.png,4CH,p1\n",
     r"has no column 'plane'; did you mean 'planes'\? Name it with --columns.plane"),
    ("image,plane\na.png,4CH\n",
     r"has no column 'patient', .* --columns.patient, or give --patient_pattern"),
    ("image,plane,patient\na.png,4CH,p1\nb.png,4CH,p2\n",
     r"all images are of one plane \(4CH\); .* at least two"),
    ("image,plane,patient\na.png,4CH,p1\nb.png,LVOT,p2\na.png,4CH,p1\n",
     r"rows 2, 4 are the same image; delete all but one"),
    ("image,plane,patient\na.png,4CH,p1\nb.png,LVOT,p2\n./a.png,LVOT,p1\n",
     r"rows 2, 4 give the same image two values for plane"),
    ("image,plane,patient\na.png,4CH,p1\nb.png,LVOT,p2\na.png,4CH,p9\n",
     r"rows 2, 4 give the same image two values for patient"),
    ("image,plane,patient\na.png,,p1\nb.png,LVOT,p2\n",
     r"row 2 has no value in column 'plane'; fill it in"),
    ("image,plane,patient\na.png,4CH,p1\nb.png,LVOT,\n",
     r"row 3 has no value in column 'patient'; fill it in"),
    ("image,plane,patient,split\na.png,4CH,p1,train\nb.png,LVOT,p2,\n",
     r"row 3 has no value in column 'split'; fill it in for all"),
    ("image,plane,patient,split\na.png,4CH,p1,train\nb.png,LVOT,p2,dev\n",
     r"row 3 says 'dev' in column 'split'; write train, valid, test"),
    ("image,plane,patient,frame\na.png,4CH,p1,1\nb.png,LVOT,p2,x\n",
     r"row 3 has no whole number from 0 in column 'frame'"),
    ("image,plane,patient\n",
     "has no rows"),
    ("",
     "cannot be read as CSV"),
    ('image,plane,patient\n"a.png,4CH,p1\n',
     "cannot be read as CSV|do not exist|has no value"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), MISTAKES)
def test_each_mistake_is_named_with_its_remedy(tmp_path: Path, text: str, sentence: str) -> None:
    assert re.match(sentence, mistake(tmp_path, text))


def test_an_unknown_column_suggests_the_nearest(tmp_path: Path) -> None:
    assert mistake(tmp_path, GOOD, Columns(patient="patients")).startswith(
        "has no column 'patients'; did you mean 'patient'?"
    )


def test_another_encoding_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, GOOD.replace("p1", "Jürgen"), "latin-1")
    with pytest.raises(UserError, match="UTF-8"):
        read_labels(path, Columns(), None)


def test_a_folder_a_class(tmp_path: Path) -> None:
    for name in ("4CH/p1_a.png", "4CH/p2/x.png", "LVOT/p1_b.png"):
        write_still(tmp_path / name, len(name))
    (tmp_path / "LVOT/notes.txt").write_text("x")
    read = read_labels(tmp_path, Columns(), r"p\d")
    assert list(zip(read["name"], read["plane"], read["patient"], strict=True)) == [
        ("4CH/p1_a.png", "4CH", "p1"), ("4CH/p2/x.png", "4CH", "p2"), ("LVOT/p1_b.png", "LVOT", "p1"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="make a folder for each plane"):
        read_labels(tmp_path / "LVOT", Columns(), None)


@pytest.mark.parametrize(
    ("pattern", "found"), [(r"pat\d+", "pat12"), (r"pat(\d+)", "12"), (r"site(\d)", None), (r"(x)?pat", "pat")]
)
def test_the_patient_in_a_path(pattern: str, found: str | None) -> None:
    assert patient_in("siteA/pat12/clip.mp4", pattern) == found
