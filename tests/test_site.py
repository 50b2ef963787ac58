"""The documentation site builds strictly, holds every page, and documents every name of the Python interface."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sonolearn

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    asked = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert built.returncode == 0, built.stderr
    return out


@pytest.mark.slow
def test_the_site_has_every_page_and_no_source_file(site: Path) -> None:
    pages = {page.relative_to(DOCS).with_suffix("") for page in DOCS.rglob("*.md")}
    for page in pages:
        made = site / (page.parent if page.name == "index" else page) / "index.html"
        assert made.is_file(), f"{page} is not in the nav of mkdocs.yml"
    assert list(site.rglob("*.py")) == []


@pytest.mark.slow
def test_the_python_interface_is_documented_with_arguments_and_results(site: Path) -> None:
    page = (site / "reference" / "api" / "index.html").read_text(encoding="utf-8")
    for name in set(sonolearn.__all__) - {"__version__"}:
        assert re.search(rf'id="sonolearn\.\w+\.{name}"', page), name
    assert page.count("Returns:") >= len(sonolearn.__all__) - 1


@pytest.mark.slow
def test_every_link_of_every_page_leads_to_a_file_of_the_site(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links begin at the root of the server
            continue
        for target in re.findall(r'(?:href|src)="([^"#?:]+)(?:#[^"]*)?"', page.read_text(encoding="utf-8")):
            linked = (page.parent / target).resolve()
            assert linked.is_file() or (linked / "index.html").is_file(), f"{page.relative_to(site)}: {target}"
