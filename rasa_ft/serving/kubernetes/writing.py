"""Writes a deployment's folder, or tells how it would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import unified_diff
from pathlib import Path

from rasa_ft.errors import DataError, UsageError
from rasa_ft.files import fresh_folder
from rasa_ft.serving.kubernetes.overlay import MARK, OWN_COMPONENT
from rasa_ft.yaml_source import load_yaml


def added_components(folder: Path) -> tuple[str, ...]:
    """What people added to the components of the deployment in ``folder``; nothing if there is none.

    Raises:
        DataError: its kustomization.yaml cannot be read.
    """
    path = folder / "kustomization.yaml"
    if not path.is_file() or not _read(path).startswith(MARK):
        return ()
    content = load_yaml(path)
    listed = content.get("components") if isinstance(content, dict) else None
    if not isinstance(listed, list) or OWN_COMPONENT not in listed:
        raise DataError(f"{path} has no component `{OWN_COMPONENT}` any more.", hint="Delete the folder to begin anew.")
    return tuple(map(str, listed[listed.index(OWN_COMPONENT) + 1 :]))


def write_deployment(files: Mapping[str, str], folder: Path) -> None:
    """Put ``files`` into ``folder``, all of them or none; an older deployment there is replaced.

    Raises:
        UsageError: there is something in the folder that is not ours.
        RasaFtError: it cannot be written.
    """
    _check_ours(files, folder)
    with fresh_folder(folder) as draft:
        for name, text in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(text, encoding="utf-8")


def deployment_diff(files: Mapping[str, str], folder: Path) -> str:
    """What writing would change, as a unified diff; empty if nothing.

    Raises:
        UsageError: there is something in the folder that is not ours.
    """
    _check_ours(files, folder)
    present = {path.relative_to(folder).as_posix() for path in _files(folder)}
    return "".join(
        line
        for name in sorted(present | set(files))
        for line in _one_diff(name, _read(folder / name) if name in present else "", files.get(name, ""))
    )


def _one_diff(name: str, old: str, new: str) -> Iterator[str]:
    lines = unified_diff(old.splitlines(), new.splitlines(), f"a/{name}", f"b/{name}", lineterm="")
    return (f"{line}\n" for line in lines)


def _check_ours(files: Mapping[str, str], folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder} is a file, not a folder.")
    present = list(_files(folder))
    if not present:
        return
    top = folder / "kustomization.yaml"
    if not top.is_file() or not _read(top).startswith(MARK):
        raise UsageError(
            f"--output {folder} holds something that `deploy` did not write.", hint="Name another folder, or empty it."
        )
    own = ("manifests/", "model/")
    for path in present:
        name = path.relative_to(folder).as_posix()
        if name not in files and not name.startswith(own):
            raise UsageError(
                f"{path} was not written by `deploy` and would be lost.",
                hint="Keep what is yours beside this folder, and name it below `model` in its kustomization.yaml.",
            )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir()) if folder.is_dir() else iter(())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
