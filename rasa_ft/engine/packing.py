"""Which files of a project an archive needs: those that the engine reads, and no secrets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from rasa_ft import __version__
from rasa_ft.calm.checks.findings import place_of
from rasa_ft.calm.flows.loading import flow_files
from rasa_ft.calm.project.assistant import Assistant, Sources
from rasa_ft.calm.project.domain import domain_files
from rasa_ft.calm.project.options import find_file
from rasa_ft.engine.archive import SUFFIX, Archive, Manifest, entries_of, newest_archive, read_archive, write_archive
from rasa_ft.errors import DataError, Location
from rasa_ft.yaml_source import load_yaml, location_of

# Keys of config.yml and endpoints.yml whose values are paths of files or folders that are read when it runs.
_PATH_KEYS = ("prompt_template", "prompt", "recordings", "cafile")
_SEARCH_POLICY = "EnterpriseSearchPolicy"
_DOCS = "docs"
# What else is taken along where a project has it.
_EXTRAS = ("prompts", "finetune_data.yml")
# Agents are not run, but flows that call them must be recognised.
_AGENTS = "sub_agents"

_SECRET_FILES = re.compile(
    r"\.env.*|credentials\.ya?ml|id_(rsa|dsa|ecdsa|ed25519).*|.*\.(pem|key|p12|pfx|jks|keystore)"
)
_SECRET_KEYS = re.compile(r"(.*_)?(password|passwd|secret|token|api_?key|secret_access_key|private_key)", re.IGNORECASE)
_SECRET_URL = re.compile(r"\w+://[^/\s:@]+:(?!\$)[^/\s@]+@")
_CACHES = frozenset({"__pycache__", "node_modules", "site-packages"})
_ENVIRONMENT = "pyvenv.cfg"

_FIRST_WORDS = (
    *("amber", "brave", "calm", "clear", "crisp", "eager", "early", "fair", "fresh", "gentle", "glad", "green"),
    *("keen", "kind", "light", "lively", "lucky", "mellow", "merry", "neat", "plain", "quick", "quiet", "ready"),
    *("silver", "sound", "steady", "sunny", "swift", "warm", "wise", "young"),
)
_SECOND_WORDS = (
    *("acorn", "alder", "badger", "beacon", "birch", "brook", "canoe", "cedar", "comet", "crane", "delta", "ember"),
    *("falcon", "fern", "harbour", "heron", "island", "juniper", "kite", "lantern", "maple", "meadow", "orchard"),
    *("otter", "pebble", "pine", "raven", "river", "sparrow", "summit", "tide", "willow"),
)


@dataclass(frozen=True)
class Packed:
    """``path`` is the archive; ``unchanged``: it was there already and holds the same files.

    ``left_out`` are files that were not taken since they may hold secrets.
    """

    path: Path
    manifest: Manifest
    unchanged: bool = False
    left_out: tuple[Path, ...] = ()


def pack(assistant: Assistant, out: Path, *, name: str | None = None, force: bool = False) -> Packed:
    """Write ``assistant`` as an archive into folder ``out``, or find that its newest archive is the same.

    Args:
        name: the file's name; default: the time and two words that stand for the content.
        force: write it although nothing has changed.

    Raises:
        DataError: a file that is needed lies outside of the project, or a secret is written out in endpoints.yml.
    """
    files = _Files(assistant)
    contents = {name: file.read_bytes() for name, file in sorted(files.found.items())}
    now = datetime.now().astimezone()
    manifest = Manifest(
        created=now.astimezone(UTC).isoformat(timespec="seconds"),
        rasa_ft=__version__,
        assistant_id=assistant.config.assistant_id,
        sources=_names(_sources(assistant)),
        files=entries_of(contents),
    )
    left_out = tuple(sorted(files.left_out))
    fixed = out / (name if name.endswith(SUFFIX) else f"{name}{SUFFIX}") if name else None
    same = None if force else _same(out, fixed, manifest)
    if same is not None:
        return replace(same, left_out=left_out)
    path = fixed or out / f"{now:%Y%m%d-%H%M%S}-{words(manifest.content)}{SUFFIX}"
    write_archive(path, Archive(manifest, contents))
    return Packed(path, manifest, left_out=left_out)


def words(content: str) -> str:
    """Two words for a hash: ``quiet-heron``."""
    number = int(content[:8], 16)
    first, second = number % len(_FIRST_WORDS), number // len(_FIRST_WORDS) % len(_SECOND_WORDS)
    return f"{_FIRST_WORDS[first]}-{_SECOND_WORDS[second]}"


def _same(out: Path, fixed: Path | None, manifest: Manifest) -> Packed | None:
    """The archive that is there, if it holds the same files and was made by the same version."""
    try:
        path = fixed or newest_archive(out)
        old = read_archive(path).manifest
    except DataError:
        return None
    return Packed(path, old, True) if (old.content, old.rasa_ft) == (manifest.content, manifest.rasa_ft) else None


def _sources(assistant: Assistant) -> Sources:
    assert assistant.sources is not None  # noqa: S101 - loaded from files
    return assistant.sources


def _names(sources: Sources) -> dict[str, str]:
    """Where the four came from, below the project where they lie there."""
    paths = {name: getattr(sources, name) for name in ("config", "domain", "data", "endpoints")}
    return {name: _below(path, sources.project) for name, path in paths.items() if path is not None}


def _below(path: Path, folder: Path) -> str:
    real, base = path.resolve(), folder.resolve()
    return real.relative_to(base).as_posix() if real.is_relative_to(base) else real.name


class _Files:
    """What goes into the archive: ``found`` maps names there to files here."""

    def __init__(self, assistant: Assistant) -> None:
        self.sources = _sources(assistant)
        self.project = self.sources.project
        self.found: dict[str, Path] = {}
        self.left_out: set[Path] = set()
        self._add_configuration()
        self._add_contents()
        self._add_named_files()
        if _SEARCH_POLICY in assistant.config.policies:
            self._add_documents(assistant.config.policies[_SEARCH_POLICY])
        for name in _EXTRAS:
            self._add_place(self.project / name)
        if (self.project / _AGENTS).is_dir():
            self._add_agents(self.project / _AGENTS)
        self._add_code(assistant)

    def _add(self, name: str, file: Path) -> None:
        self.found.setdefault(name, file)

    def _add_configuration(self) -> None:
        self._add("config.yml", self.sources.config)
        if self.sources.endpoints is not None:
            self._add("endpoints.yml", self.sources.endpoints)
        check_secrets(file for file in (self.sources.config, self.sources.endpoints) if file is not None)

    def _add_contents(self) -> None:
        """Domain and data, under the names that a project usually has for them."""
        domain, data = self.sources.domain, self.sources.data
        for file in domain_files(domain):
            self._add(f"domain/{file.relative_to(domain).as_posix()}" if domain.is_dir() else "domain.yml", file)
        for file in flow_files(data):
            self._add(f"data/{file.relative_to(data).as_posix()}" if data.is_dir() else f"data/{data.name}", file)

    def _add_named_files(self) -> None:
        for file in (self.sources.config, self.sources.endpoints):
            for node, key, written in _named_paths(load_yaml(file) if file is not None else None):
                place = find_file(written, self._folders)
                if place.is_file():
                    self._add(_inside(written, node, key), place)
                elif place.is_dir():
                    self._add_below(_inside(written, node, key), place)

    @property
    def _folders(self) -> tuple[Path, Path]:
        return self.project, self.sources.config.parent

    def _add_documents(self, policy: Mapping[str, Any]) -> None:
        """The folder of document search, of which only text files are read."""
        store = policy.get("vector_store")
        written = str((store.get("source") if isinstance(store, Mapping) else None) or _DOCS)
        folder = self.project / written
        if folder.is_dir():
            self._add_below(_inside(written, policy, "vector_store"), folder, only=".txt")

    def _add_place(self, place: Path) -> None:
        if place.is_dir():
            self._add_below(place.name, place)
        elif place.is_file():
            self._add(place.name, place)

    def _add_below(self, name: str, folder: Path, only: str = "") -> None:
        """Files that nobody named: less those that may be secrets and links to somewhere else."""
        allowed = (self.project.resolve(), folder.resolve())
        for file in files_below(folder):
            real = file.resolve()
            secret = any(_SECRET_FILES.fullmatch(place.name) for place in (file, real))
            if secret or not any(real.is_relative_to(base) for base in allowed):
                self.left_out.add(file)
            elif file.name.endswith(only):
                self._add(f"{name}/{file.relative_to(folder).as_posix()}", file)

    def _add_agents(self, folder: Path) -> None:
        for file in files_below(folder):
            if file.suffix in (".yml", ".yaml"):
                try:
                    secret = any(_written_secrets(file))
                except DataError:  # such as a variable that is not set: nobody needs it here
                    secret = True
                if secret:
                    self.left_out.add(file)
                else:
                    self._add(f"{_AGENTS}/{file.relative_to(folder).as_posix()}", file)

    def _add_code(self, assistant: Assistant) -> None:
        """The actions that run in this process and generators of the project's own, with what they import from it."""
        pending = [*_code_names(assistant.endpoints.get("action_endpoint")), *_component_modules(self.sources.config)]
        done: set[str] = set()
        while pending:
            module = pending.pop().partition(".")[0]
            if module in done:
                continue
            done.add(module)
            places = (self.project / module, self.project / f"{module}.py")
            place = next((place for place in places if place.exists()), None)
            if place is not None:
                self._add_place(place)
                for file in [place] if place.is_file() else files_below(place):
                    pending.extend(_imports(file) if file.suffix == ".py" else ())


def _named_paths(node: Any) -> Iterator[tuple[Any, str, str]]:
    """(mapping, key, path as written) of everything below ``node`` that names a file."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in _PATH_KEYS and isinstance(value, str):
                yield node, key, value
            else:
                yield from _named_paths(value)
    elif isinstance(node, list):
        for item in node:
            yield from _named_paths(item)


def _inside(written: str, node: Any, key: str) -> str:
    """The path as a name in the archive."""
    path = PurePosixPath(Path(written).as_posix())
    if path.is_absolute() or Path(written).is_absolute() or ".." in path.parts:
        raise DataError(
            f"'{written}' leads out of the project, so it cannot go into an archive.",
            location=location_of(node, key),
            hint="Put it into the project's folder.",
        )
    return str(path)


def files_below(folder: Path) -> list[Path]:
    """Files in order of names, without caches, virtual environments, other archives and what is hidden."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            skipped = path.is_symlink() or path.name in _CACHES or (path / _ENVIRONMENT).exists()
            found += [] if skipped else files_below(path)
        elif path.is_file() and not path.name.endswith((".pyc", ".pyo", SUFFIX)):
            found.append(path)
    return found


# --- code ------------------------------------------------------------------------------------------------------------


def _code_names(endpoint: Any) -> list[str]:
    module = endpoint.get("actions_module") if isinstance(endpoint, Mapping) else None
    return [str(module)] if module else []


def _component_modules(config: Path) -> list[str]:
    """Modules of components that are named with their module."""
    content = load_yaml(config)
    nodes = [*(content.get("pipeline") or []), *(content.get("policies") or [])]
    return [str(node["name"]) for node in nodes if "." in str(node["name"])]


def _imports(file: Path) -> Iterator[str]:
    """Modules that a Python file imports by their whole names, anywhere in it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


# --- secrets ---------------------------------------------------------------------------------------------------------


def check_secrets(files: Iterable[Path]) -> None:
    """
    Raises:
        DataError: every password, token or key that is written out instead of named as ``${VARIABLE}``.
    """
    errors = [
        DataError(
            f"'{key}' is written out and would go into the archive.",
            location=place,
            hint=f"Write ${{{key.upper()}}} there and set the variable.",
        )
        for file in files
        for key, place in _written_secrets(file)
    ]
    if errors:
        raise DataError.collected(errors)


def _written_secrets(file: Path) -> Iterator[tuple[str, Location]]:
    lines = file.read_text(encoding="utf-8").split("\n")
    for node, key, value in _texts(load_yaml(file)):
        place = place_of(node, key)
        line = lines[place.line - 1]
        # The value as written: variables in it have been replaced when it was read.
        written = re.search(rf"{re.escape(key)}['\"]?\s*:\s*['\"]?(.*)", line)
        named = any(text.startswith("$") or "${" in text for text in (value, written[1] if written else ""))
        if (_SECRET_KEYS.fullmatch(key) and not named) or _SECRET_URL.search(line):
            yield key, place


def _texts(node: Any) -> Iterator[tuple[Any, str, str]]:
    """(mapping, key, text) of every text that is not empty."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(value, str) and value:
                yield node, str(key), value
            else:
                yield from _texts(value)
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item)
