"""HTML pages: one look for all of them, and numbers as people read them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from sonolearn.version import __version__


def template(name: str, **filters: Callable[..., object]) -> Template:
    """A template, which may extend `page.html.j2`; all values are escaped, and none may be missing.

    Args:
        name: its file in `sonolearn/templates`.
        filters: more filters, by name.
    """
    environment = Environment(loader=PackageLoader("sonolearn"), autoescape=True, undefined=StrictUndefined)
    environment.globals["version"] = __version__
    environment.filters |= {"hash_of_script": lambda file: _hash_of(environment.get_template(file).render()), **filters}
    return environment.get_template(name)


def _hash_of(script: str) -> str:
    """What a page's policy allows a script by (CSP level 3, 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def svg_uri(svg: str) -> str:
    """An SVG as the source of an image in a page that stands alone."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def grouped(number: int) -> str:
    """12345 as 12 345, with a space that does not break."""
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")


def percent(share: float) -> str:
    """0.123 as 12 %, 0.0123 as 1.2 %, 0 as 0 %."""
    return f"{100 * share:.{0 if share == 0 or share >= 0.0995 else 1}f}\N{NO-BREAK SPACE}%"
