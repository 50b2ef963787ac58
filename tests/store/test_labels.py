"""Label tables: what is read, and the one sentence each mistake gets."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from media import write_still
from sonolearn.config import Columns
from sonolearn.console import UserError
from sonolearn.store.labels import patient_in, read_labels

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
     "has no rows"),
    ('image,plane,patient\n"a.png,4CH,p1\n',
     "cannot be read as CSV"),
    ("image,plane,patient\na.png,4CH,p1,x\nb.png,LVOT,p2\n",
     "row 2 has more values than the header has columns; put values that contain ',' into quotes"),
    ("image,plane,patient,plane\na.png,4CH,p1,A\nb.png,LVOT,p2,B\n",
     "has 2 columns 'plane'; rename or delete all but one"),
    ("sep=;\nimage;plane;patient\na.png;4CH;p1\nb.png;LVOT;p2\n",
     "its first line, sep=;, is not the header; delete that line"),
    ("image,plane,patient\na,4CH,p1\nb,LVOT,p2\n",
     r"2 of 2 images do not exist \(a, b\), but they do with the ending .png; add it in column 'image'"),
    ("image,plane,patient\n\na.png,4CH,p1\n\nb.png,LVOT,NaN\n",
     "row 5 has no value in column 'patient'"),
    ("image,plane,patient,frame\na.png,4CH,p1,1\nb.png,LVOT,p2,99999999999999999999\n",
     r"row 3 has no whole number from 0 in column 'frame'"),
    ('image,plane,patient\na.png,4CH,p1\n"x\ny.png",LVOT,p2\n',
     r"1 of 2 images do not exist \(x y.png\); .* relative to"),
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


@pytest.mark.parametrize(
    "text",
    [
        "image,plane,patient\na.png,4CH,p1,\nb.png,3VV/3VT,p2,\n",  # rows that end in a separator, unlike the header
        "image,plane,patient,,\na.png,4CH,p1,,\nb.png,3VV/3VT,p2\n,,,,\n",
        'image,note,note,plane,patient\na.png,1,2,4CH,p1\nb.png,,"x, ""y""",3VV/3VT,p2\n',  # columns of no interest
        "\n\nimage;plane;patient\ra.png;4CH;p1\r\rb.png;3VV/3VT;p2",
    ],
)
def test_tables_that_are_untidy_but_plain(tmp_path: Path, text: str) -> None:
    read = read_labels(table(tmp_path, text), Columns(), None)
    assert read[["name", "plane", "patient"]].to_numpy().tolist() == [
        ["a.png", "4CH", "p1"],
        ["b.png", "3VV/3VT", "p2"],
    ]


def test_numbers_that_pandas_wrote_beside_missing_ones(tmp_path: Path) -> None:
    read = read_labels(table(tmp_path, "image,plane,patient,frame\na.png,A,p,3.0\nb.png,B,q,nan\n"), Columns(), None)
    assert read["frame"].tolist() == [3, -1]


def test_letters_composed_and_decomposed_are_the_same(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Lä.png") for form in ("NFC", "NFD"))
    write_still(tmp_path / apart, 7)
    text = f"image,plane,patient\na.png,{composed},p1\nb.png,{apart},p2\n{composed},X,p3\n"
    read = read_labels(table(tmp_path, text), Columns(), None)
    assert set(read["plane"]) == {composed, "X"}
    assert tmp_path / apart in list(read["path"])


def test_a_class_and_a_patient_spelt_two_ways_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "image,plane,patient\na.png,LVOT,Ann 1\nb.png,lv-ot,ann1\nc.png,RVOT,Bea\n"
    read_labels(table(tmp_path, text), Columns(), None)
    said = capsys.readouterr().err
    assert "the planes 'LVOT' and 'lv-ot' are spelt nearly alike but count as two" in said
    assert "some patients' ids differ only in case, spaces or hyphens" in said
    assert "Ann" not in said
    read_labels(table(tmp_path, GOOD), Columns(), None)
    assert capsys.readouterr().err == ""
    read_labels(table(tmp_path, GOOD.replace("4CH", "NaN")), Columns(), None)
    assert "'NaN' counts as a plane like any other; delete its rows if" in capsys.readouterr().err
