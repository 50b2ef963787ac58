"""The package as it is handed out: the same bytes for everybody, whole, and at work far from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import sonolearn

ROOT = Path(__file__).parents[1]
VERSION = sonolearn.__version__
WHEEL, SDIST = f"sonolearn-{VERSION}-py3-none-any.whl", f"sonolearn-{VERSION}.tar.gz"


def build(out: Path) -> Path:
    """Wheel and sdist of the checkout, made by the build backend of this environment: no network."""
    asked = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(asked, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


def tracked(folder: str) -> set[str]:
    """What Git knows below a folder; another witness than the build backend."""
    if not (ROOT / ".git").exists():
        pytest.skip("no Git checkout")
    asked = [
        "git",
        "-c",
        "safe.directory=*",
        "-C",
        str(ROOT),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        folder,
    ]
    return set(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.slow
def test_building_twice_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    again = build(tmp_path)
    for name in (WHEEL, SDIST):
        assert (again / name).read_bytes() == (built / name).read_bytes(), name


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_both_packages_and_no_other(built: Path) -> None:
    names = {name for name in zipfile.ZipFile(built / WHEEL).namelist() if ".dist-info/" not in name}
    assert names == {name.removeprefix("src/") for name in tracked("src")}
    assert {"sonolearn/templates/page.html.j2", "sonolearn/study/plans/demo.yaml", "sonolearn/py.typed"} <= names


@pytest.mark.slow
def test_the_sdist_is_the_checkout(built: Path) -> None:
    with tarfile.open(built / SDIST) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert names - {"PKG-INFO"} == tracked(".")


@pytest.fixture(scope="module")
def elsewhere(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sonolearn` of a fresh environment with the wheel in it; the libraries are those of this environment."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    asked = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(built / WHEEL)]
    subprocess.run(asked, check=True)
    own = sysconfig.get_path("purelib", vars={"base": str(folder / "venv")})
    (Path(own) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.with_name("sonolearn")


def printed(executable: Path | str, folder: Path, *words: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run([executable, *words], cwd=folder, env=clean, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_an_installed_wheel_finds_its_plans_and_templates_and_knows_itself(elsewhere: Path, tmp_path: Path) -> None:
    shipped = "import pathlib, sonolearn.study.plan as p; p.read_plan(pathlib.Path('demo')); print(p.__file__)"
    found = printed(elsewhere.with_name("python"), tmp_path, "-c", shipped)
    assert found.startswith(str(elsewhere.parents[1]))
    assert printed(elsewhere, tmp_path, "--version").split() == ["sonolearn", VERSION]
    states = {each["what"]: each["state"] for each in json.loads(printed(elsewhere, tmp_path, "doctor", "--json"))}
    assert states["packages"] == "ok"
    small = ["--patients", "3", "--size", "112", "--frames", "4", "--scans", "1", "--stills", "1", "--workers", "1"]
    printed(elsewhere, tmp_path, "phantom", "phantom", *small)
    printed(elsewhere, tmp_path, "prepare", "phantom/scans", "--size", "64", "--workers", "1", "--out", "scans")
    assert "</html>" in (tmp_path / "scans" / "report.html").read_text(encoding="utf-8")
