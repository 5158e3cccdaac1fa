"""Model archives: an assistant's files in one ``.tar.gz``, written the same way every time and read with suspicion.

A gzipped POSIX (ustar) tar of regular files only: first ``manifest.json``, then ``assistant/<name>`` in sorted order.
The manifest lists every file with size and SHA-256. Reading never unpacks through `tarfile`: each header is parsed by
itself, each content compared with the manifest, and only then anything is written.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rasa_ft.errors import DataError, RasaFtError
from rasa_ft.files import cache_folder, fresh_folder, write_bytes

FORMAT = "rasa_ft assistant"
VERSION = 1
SUFFIX = ".tar.gz"
MANIFEST = "manifest.json"
_ROOT = "assistant/"
_CONFIG = "config.yml"

MAX_FILES = 10_000
MAX_CONTENT = 256 * 1024**2
_MAX_MANIFEST = 8 * 1024**2
_BLOCK = 512
_MAX_TAR = MAX_CONTENT + _MAX_MANIFEST + 4 * _BLOCK * MAX_FILES
# Text shrinks to a tenth; only a bomb is thousands of times larger than its archive. Little ones are let through.
_MAX_RATIO = 200
_RATIO_COUNTS_FROM = 16 * 1024**2

# Separators of other systems.
_NOT_PORTABLE = frozenset("\\:")
_NOT_FOR_FOLDERS = re.compile(r"[^A-Za-z0-9_-]+")
_KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.DIRTYPE: "a folder",
}
# What an archive made by the original has at its top.
_FOREIGN = ("metadata.json", "components", "fingerprint.json")


@dataclass(frozen=True)
class Entry:
    """One file of the assistant; ``name`` is relative to its folder, with ``/``."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an archive says about itself.

    ``sources`` are the paths of config, domain, data and endpoints in the project that it was made from; inside the
    archive they have their usual names. ``created`` is a time in ISO format.
    """

    created: str
    rasa_ft: str
    assistant_id: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Entry, ...] = ()

    @property
    def content(self) -> str:
        """SHA-256 of all names and files: equal for equal assistants, whenever they were packed."""
        lines = "".join(f"{entry.sha256} {entry.name}\n" for entry in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True)
class Archive:
    """A checked archive in memory: each file's bytes by name."""

    manifest: Manifest
    contents: Mapping[str, bytes]


class _Refused(Exception):
    """Why an archive is not taken; the sentence goes after its path."""


# --- writing ---------------------------------------------------------------------------------------------------------


def entries_of(contents: Mapping[str, bytes]) -> tuple[Entry, ...]:
    """The manifest's entries for files given by name, sorted."""
    return tuple(Entry(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(contents.items()))


def write_archive(path: Path, archive: Archive) -> None:
    """Write ``archive`` completely or not at all; the same archive gives the same bytes.

    Raises:
        DataError: a name or the size of the whole is not for archives.
    """
    try:
        _check_files(archive.manifest.files)
        tar = _tar(archive)
        data = _gzipped(tar)
        if _is_bomb(len(tar), len(data)):
            raise _Refused("its files repeat themselves too much")
    except _Refused as refusal:
        raise DataError(f"the assistant cannot be packed: {refusal}.") from None
    write_bytes(path, data)


def _tar(archive: Archive) -> bytes:
    document = {"format": FORMAT, "version": VERSION, **asdict(archive.manifest)}
    manifest = json.dumps(document, indent=1, ensure_ascii=False).encode()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as tar:
        _add(tar, MANIFEST, manifest)
        for entry in archive.manifest.files:
            _add(tar, f"{_ROOT}{entry.name}", archive.contents[entry.name])
    return stream.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    try:
        tar.addfile(member, io.BytesIO(data))
    except ValueError:
        raise _Refused(f"the name {name.removeprefix(_ROOT)} is too long") from None


def _gzipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    # Neither a file name nor a time in the header.
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=9, mtime=0) as packed:
        packed.write(data)
    return stream.getvalue()


# --- reading ---------------------------------------------------------------------------------------------------------


def read_archive(path: Path) -> Archive:
    """The archive at ``path``, every byte of it checked.

    Raises:
        DataError: it is not an archive of ours, is damaged, or is built to do harm; one sentence says which.
    """
    try:
        return _parsed(_unzipped(path))
    except _Refused as refusal:
        raise DataError(f"{path} {refusal}.", hint="`rasa train` makes archives.") from None


def _unzipped(path: Path) -> bytes:
    if not path.is_file():
        raise _Refused("is not a file" if path.exists() else "does not exist")
    chunks: list[bytes] = []
    total = 0
    try:
        with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) as stream:
            while chunk := stream.read(1024**2):
                chunks.append(chunk)
                total += len(chunk)
                if total > _MAX_TAR or _is_bomb(total, raw.tell()):
                    raise _Refused("grows too large when it is unpacked")
    except EOFError:
        raise _Refused("is cut off") from None
    except (gzip.BadGzipFile, zlib.error):
        raise _Refused("is damaged" if chunks else "is not a .tar.gz archive") from None
    except OSError as error:
        raise _Refused(f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    return b"".join(chunks)


def _is_bomb(size: int, packed: int) -> bool:
    return size > max(_RATIO_COUNTS_FROM, _MAX_RATIO * packed)


def _parsed(tar: bytes) -> Archive:
    first = next(_headers(tar), None)
    if first is None or first[0].name != MANIFEST:
        raise _Refused(_foreign(tar))
    members = _members(tar)
    manifest = _manifest(next(members)[1])
    expected = {f"{_ROOT}{entry.name}": entry for entry in manifest.files}
    contents: dict[str, bytes] = {}
    for member, data in members:
        entry = expected.get(member.name)
        if entry is None:
            raise _Refused(f"holds {_shown(member.name)}, which its manifest does not list")
        if entry.name in contents:
            raise _Refused(f"holds {_shown(entry.name)} twice")
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise _Refused(f"holds another {_shown(entry.name)} than its manifest lists")
        contents[entry.name] = data
    missing = next((entry.name for entry in manifest.files if entry.name not in contents), None)
    if missing is not None:
        raise _Refused(f"lacks {_shown(missing)}, which its manifest lists")
    return Archive(manifest, contents)


def _members(tar: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Every member with its content; only regular files, one header each."""
    for member, start in _headers(tar):
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            kind = _KINDS.get(member.type, "an entry that is not a plain file")
            raise _Refused(f"holds {kind}: {_shown(member.name)}")
        yield member, tar[start : start + member.size]


def _headers(tar: bytes) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """(header, where its content starts) of every member; past the last one there must be zeros only."""
    offset = count = 0
    while (block := tar[offset : offset + _BLOCK]).strip(b"\0"):
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError):
            raise _Refused("is damaged" if offset else "is not a .tar.gz archive") from None
        start = offset + _BLOCK
        end = start + -(-member.size // _BLOCK) * _BLOCK
        count += 1
        if count > MAX_FILES + 1:
            raise _Refused(f"holds more than {MAX_FILES} files")
        if member.size < 0 or end > len(tar):
            raise _Refused("is cut off or damaged")
        yield member, start
        offset = end
    rest = tar[offset:]
    if len(rest) < 2 * _BLOCK:
        raise _Refused("is cut off" if offset else "is not a .tar.gz archive")
    if rest.strip(b"\0"):
        raise _Refused("is damaged")


def _foreign(tar: bytes) -> str:
    """What an archive is that does not begin with our manifest."""
    names: set[str] = set()
    try:
        for member, _ in _headers(tar):
            names.add(member.name.removeprefix("./").partition("/")[0])
    except _Refused:
        pass  # what was seen before the damage is enough to tell
    if names.intersection(_FOREIGN):
        return (
            "was trained by Rasa; this engine runs an assistant's folder, or an archive that its own `rasa train` made"
        )
    return "is not an archive of an assistant"


def _manifest(data: bytes) -> Manifest:
    try:
        if len(data) > _MAX_MANIFEST:
            raise ValueError
        document = json.loads(data)
        json.dumps(document, ensure_ascii=False).encode()  # half a character has no place in a name
        if document["format"] != FORMAT:
            raise ValueError
        version = int(document["version"])
        manifest = _manifest_of(document) if version <= VERSION else None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise _Refused("has a broken manifest") from None
    if manifest is None:
        raise _Refused(f"has format version {version}; this rasa_ft reads up to {VERSION}, so update it")
    _check_files(manifest.files)
    if not any(entry.name == _CONFIG for entry in manifest.files):
        raise _Refused(f"lacks {_CONFIG}")
    return manifest


def _manifest_of(document: Mapping[str, Any]) -> Manifest:
    identifier = document["assistant_id"]
    return Manifest(
        created=str(document["created"]),
        rasa_ft=str(document["rasa_ft"]),
        assistant_id=None if identifier is None else str(identifier),
        sources={str(name): str(path) for name, path in dict(document["sources"]).items()},
        files=tuple(_entry(item) for item in document["files"]),
    )


def _entry(item: Mapping[str, Any]) -> Entry:
    name, size, digest = item["name"], item["size"], item["sha256"]
    if not isinstance(name, str) or type(size) is not int or size < 0 or not isinstance(digest, str):
        raise ValueError
    return Entry(name, size, digest)


def _check_files(entries: tuple[Entry, ...]) -> None:
    """Names that mean one place each, below the folder, on every system; and not too much of everything."""
    if len(entries) > MAX_FILES:
        raise _Refused(f"holds more than {MAX_FILES} files")
    if sum(entry.size for entry in entries) > MAX_CONTENT:
        raise _Refused(f"holds more than {MAX_CONTENT // 1024**2} MB")
    seen: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        path = PurePosixPath(entry.name)
        if not _is_plain(entry.name):
            raise _Refused(f"holds a file with an unsafe name: {_shown(entry.name)}")
        # Some file systems know neither upper case nor different forms of accents.
        key = _folded(entry.name)
        if key in seen:
            raise _Refused(f"holds {_shown(entry.name)} twice")
        seen.add(key)
        folders.update(_folded(str(parent)) for parent in path.parents)
    clash = next(iter(sorted(seen & folders)), None)
    if clash is not None:
        raise _Refused(f"holds {_shown(clash)} both as a file and as a folder")


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    return name.isprintable() and _NOT_PORTABLE.isdisjoint(name) and not any(part in ("", ".", "..") for part in parts)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _shown(name: str) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}…'"


# --- on disk ---------------------------------------------------------------------------------------------------------


def open_archive(path: Path, cache: Path | None = None) -> Path:
    """The folder with the unpacked assistant, below ``cache`` (default: the user's cache folder).

    It is named after assistant and content, so that the same assistant is unpacked once; if something was changed
    there, it is unpacked anew.

    Raises:
        DataError: as `read_archive`.
    """
    archive = read_archive(path)
    name = _NOT_FOR_FOLDERS.sub("-", archive.manifest.assistant_id or "assistant")[:40]
    folder = (cache or cache_folder() / "assistants") / f"{name}-{archive.manifest.content[:16]}"
    if not _is_unpacked(archive.manifest, folder):
        try:
            _unpack(archive, folder)
        except RasaFtError:
            # Somebody else may have been faster.
            if not _is_unpacked(archive.manifest, folder):
                raise
    return folder


def _unpack(archive: Archive, folder: Path) -> None:
    with fresh_folder(folder) as draft:
        for name, data in archive.contents.items():
            file = draft / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def _is_unpacked(manifest: Manifest, folder: Path) -> bool:
    """Whether the folder holds exactly these files; what Python compiled does not count."""
    found = {file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    if found != {folder / entry.name for entry in manifest.files}:
        return False
    return all(
        hashlib.sha256((folder / entry.name).read_bytes()).hexdigest() == entry.sha256 for entry in manifest.files
    )


def newest_archive(folder: Path) -> Path:
    """The archive in ``folder`` that was written last.

    Raises:
        DataError: there is none.
    """
    archives = [file for file in folder.glob(f"*{SUFFIX}") if file.is_file()]
    if not archives:
        raise DataError(f"there is no archive in {folder}.", hint="`rasa train` writes one.")
    return max(archives, key=lambda file: (file.stat().st_mtime_ns, file.name))
