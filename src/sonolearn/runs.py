"""Run folders, files that are whole or not there, and seeds: what every room needs to be repeatable.

A run folder holds `run.json`: the whole configuration, the fingerprint of the data and the hash of both. A command that
finds another hash there refuses to continue, so that nobody's run is resumed with other settings or other data. While a
command works in a folder, every other one waits, see `alone_in`.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import multiprocessing
import os
import platform
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonolearn.checksums import CHECKSUMS, intact, note
from sonolearn.console import UserError, say
from sonolearn.version import __version__

if TYPE_CHECKING:
    from filelock import BaseFileLock

AnyPath = Path | str
RUN_FILE = "run.json"
LOCK, LOCK_OWNER = ".lock", ".lock-owner"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})  # what disks without flock answer

# Options that do not change results: a run may be resumed with others.
NOT_HASHED = frozenset(
    {"workers", "checkpoint_minutes", "log_every", "accelerator", "devices", "num_nodes", "name", "key", "knn_store"}
    | {"compile", "profile", "save_classifiers", "unlabelled"}
)


def seed_for(*parts: int | str) -> int:
    """A 63-bit seed from any number of integers and words, the same on every machine.

    Every random draw of the package names what it is for, e.g. `seed_for(seed, "views", epoch, sample)`, so that
    no draw depends on what was drawn before it, on the number of workers, or on an interruption.
    """
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(*parts: int | str) -> np.random.Generator:
    """A numpy generator seeded by `seed_for`."""
    return np.random.default_rng(seed_for(*parts))


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: dataclasses become dicts, tuples lists, paths strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def hash_of(value: Any) -> str:
    """Twelve hex digits that name `value` (anything that `plain` takes)."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()[:12]


def hash_file(path: Path) -> str:
    """Twelve hex digits that name the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def paths_of(given: AnyPath | Iterable[AnyPath]) -> list[Path]:
    """One path or several, as paths; a text is one path, not its letters.

    >>> paths_of("/data/scans")
    [PosixPath('/data/scans')]
    """
    return [Path(path) for path in ([given] if isinstance(given, AnyPath) else given)]


@contextmanager
def writing(path: Path, checksum: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it when the block ends well: readers never see half a file.

    Args:
        path: the file.
        checksum: note its checksum, so that `sonolearn.checksums.intact` finds later damage.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if checksum:
                note(path, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def is_leftover(name: str) -> bool:
    """Whether a file of this name is not part of what a folder holds: a lock, checksums, or a file half written."""
    return name.startswith((LOCK, CHECKSUMS)) or (name.startswith(".") and name.endswith(".tmp"))


@contextmanager
def alone_in(folder: AnyPath) -> Iterator[None]:
    """Hold a folder, made if there is none: other processes that want it wait until this one ends, however it ends.

    What was made and is still empty at the end is removed.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    folder = Path(folder)
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A loader process that runs its user's script again would wait for its own parent.
        raise UserError('put what your script does under `if __name__ == "__main__":`, or give workers=0')
    lock: BaseFileLock | None = None
    with naming_disk_errors(folder):
        while lock is None:
            made = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # whoever held it has just removed it
                lock = _locked(folder)
    try:
        yield
    finally:
        # Removed while it is held: whoever has opened it meanwhile sees that it is gone, and takes a new one.
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            for path in made:
                path.rmdir()


def _locked(folder: Path) -> BaseFileLock:
    """The lock of a folder, held; on disks without locks (some network disks) a file that names its owner."""
    from filelock import FileLock, SoftFileLock, Timeout  # takes 0.1 s to load, in vain for --help

    for lock in (FileLock(folder / LOCK, fallback_to_soft=False), SoftFileLock(folder / LOCK_OWNER)):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{folder}: another sonolearn works there; waiting until it ends ({lock.lock_file})")
            lock.acquire()
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            continue
        return lock
    raise UserError(f"{folder}: its disk has no locks; choose another one")


class DiskFull(UserError):  # noqa: N818 - said as it is
    """No space was left; nothing but freeing some helps."""


@contextmanager
def naming_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or an unwritable folder into one sentence about `path`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = _system_error(error)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message = f"{path}: the disk is full; free some space and run the same command again to continue"
            raise DiskFull(message) from error
        if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise UserError(f"{path}: cannot write there; choose a folder that you may write to") from error
        raise


def _system_error(error: BaseException | None) -> int | None:
    """The system's number of an error; torch raises its own over it, HDF5 and safetensors hide it in their text."""
    if error is None:
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    hidden = re.search(r"(?:errno = |os error )(\d+)", str(error))
    return int(hidden[1]) if hidden else _system_error(error.__context__)


def write_text(path: Path, text: str, checksum: bool = True) -> None:
    """Write a text file, whole or not at all; file names in it that are not UTF-8 get their bytes as escapes."""
    with writing(path, checksum) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any, checksum: bool = True) -> None:
    """Write `value` (anything that `plain` takes) as JSON, whole or not at all."""
    write_text(path, json.dumps(plain(value), indent=2) + "\n", checksum)


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a `UserError`."""
    try:
        return json.loads(intact(path).read_text(encoding="utf-8"))
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; is {path.parent} what you meant to name?") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); restore the file or make the folder again") from error


def claim(folder: Path, command: str, config: Any, data: Mapping[str, str], unused: Collection[str] = ()) -> str:
    """Make `folder` the run of this command, configuration and data, or check that it already is; return the hash.

    Args:
        folder: the run folder.
        command: name of the command, such as "pretrain".
        config: the config dataclass; options that do not change results are left out of the hash.
        data: what the run reads and a fingerprint of each.
        unused: more options that change nothing.

    Raises:
        UserError: the folder holds something else, or a run with other settings or data, which are named.
    """
    description = _description(command, config, data, unused)
    name = hash_of(description)
    file = folder / RUN_FILE
    if file.exists():
        found = read_json(file)
        if not isinstance(found, dict) or found.get("hash") != name:
            differing = _differences(found, description) if isinstance(found, dict) else []
            differ = f"{', '.join(differing) or 'its format'} {'differ' if len(differing) > 1 else 'differs'}"
            raise UserError(f"{folder}: holds another run ({differ}); give another --out, or delete it to start anew")
        return name
    if folder.exists() and (not folder.is_dir() or any(not is_leftover(path.name) for path in folder.iterdir())):
        raise UserError(f"{folder}: exists and is not a run of this command; give another --out")
    write_json(file, {**description, "hash": name, "sonolearn": __version__, "machine": machine()})
    return name


def run_hash(command: str, config: Any, data: Mapping[str, str], unused: Collection[str] = ()) -> str:
    """The hash that `claim` would give a run, known before there is a folder; arguments as there."""
    return hash_of(_description(command, config, data, unused))


def hashed_settings(config: Any, unused: Collection[str] = ()) -> dict[str, Any]:
    """The options of a config dataclass that results depend on."""
    return {k: v for k, v in plain(config).items() if k not in NOT_HASHED and k not in unused}


def _description(command: str, config: Any, data: Mapping[str, str], unused: Collection[str]) -> dict[str, Any]:
    return {"command": command, "config": hashed_settings(config, unused), "data": dict(sorted(data.items()))}


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Dotted names of the entries that differ between two descriptions of a run."""
    flat_found, flat_wanted = dict(flat(found)), dict(flat(wanted))
    sections = ("command", "config", "data")
    names = [n for n in {*flat_found, *flat_wanted} if n.split(".")[0] in sections]
    return sorted(n.removeprefix("config.") for n in names if flat_found.get(n) != flat_wanted.get(n))


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested mappings with dotted names: {"a": {"b": 1}} gives ("a.b", 1)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def machine() -> dict[str, str | int]:
    """What ran it: processor count and kind, system, Python. No host or user name."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
