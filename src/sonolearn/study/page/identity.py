"""What must not reach a page: folders of a machine, with the names of people and hosts in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# A drive or server, a home, the working folder or a leading slash; words such as "and/or" or 3VV/3VT stay. Folders may
# hold spaces (names of people do), so that a sentence with two paths may lose the words between them.
_ROOT = r"(?:[A-Za-z]:[\\/]|\\\\|~\w*[\\/]|\.{1,2}[\\/]|file:/+|/+)(?=\S)"
_PATH = re.compile(rf"(?<![\w.]){_ROOT}(?:[^\\/:'\",;()<>\n]+[\\/])*([^\s\\/:'\",;()<>]*)")
_KEYS = re.compile(r"host|user|node|login|path$", re.IGNORECASE)


def without_folders(text: str) -> str:
    """`text` with only the last name of every path that begins at a root, a drive, a home or the working folder."""
    return _PATH.sub(lambda found: found[1] or "a folder", text)


def plan_without_paths(plan: Any, planes: tuple[str, ...] = ()) -> Any:
    """A plan in plain JSON whose paths are names of folders and files; plane names may hold slashes."""
    if isinstance(plan, Mapping):
        return {
            key if key in planes else _short(str(key)): plan_without_paths(value, planes) for key, value in plan.items()
        }
    if isinstance(plan, list | tuple):
        return [plan_without_paths(value, planes) for value in plan]
    return _short(plan) if isinstance(plan, str) and plan not in planes else plan


def _short(text: str) -> str:
    """A path becomes its last name; a sentence loses the paths within it; names of model hubs stay."""
    if re.match(r"hf[-_]hub:", text):
        return text
    if re.match(_ROOT, text):
        return re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    found = without_folders(text)
    return found.rstrip("/").split("/")[-1] if "/" in found and not re.search(r"\s", found) else found


def machine_without_names(machine: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a machine, without entries that name it or its users."""
    return {key: without_folders(str(value)) for key, value in machine.items() if not _KEYS.search(key)}
