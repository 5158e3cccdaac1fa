"""Files written completely or not at all, and the fingerprints that tell whether anything changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rasa_ft.errors import RasaFtError


def cache_folder() -> Path:
    """Where prepared weights and vectors are kept between projects: ``RASA_FT_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("RASA_FT_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "rasa_ft"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rasa_ft"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rasa_ft"


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; False also for names that no system takes, being too long."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 through a temporary file and a rename; halves of characters become ``?``.

    Raises:
        RasaFtError: the disk is full or the folder is not writable; an old file is left as it was.
    """
    write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_text`, for bytes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON with a stable key order as given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, non-ASCII kept."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``path`` when the block ends without an error.

    Whatever stood at ``path`` stays untouched until then, and for good if the block raises.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        yield draft
        draft.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            path.replace(old / path.name)
            draft.replace(path)
            shutil.rmtree(old)
        else:
            draft.replace(path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def fingerprint(*parts: Any) -> str:
    """SHA-256 (64 hex digits) of JSON-compatible values, bytes, or files and folders given as `Path`."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in _pieces(part):
            digest.update(len(piece).to_bytes(8, "big"))
            digest.update(piece)
    return digest.hexdigest()


def _pieces(part: Any) -> Iterator[bytes]:
    if isinstance(part, bytes):
        yield part
    elif isinstance(part, Path) and part.is_dir():
        for file in sorted(file for file in part.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
            yield str(file.relative_to(part)).encode()
            yield file.read_bytes()
    elif isinstance(part, Path):
        yield part.read_bytes()
    else:
        yield json.dumps(part, sort_keys=True, ensure_ascii=False, default=str).encode()


def _write_error(path: Path, error: OSError) -> RasaFtError:
    reason = error.strerror or str(error)
    return RasaFtError(f"cannot write {path}: {reason.lower()}", hint="Free some space or choose another folder.")
