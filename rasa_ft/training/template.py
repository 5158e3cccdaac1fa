"""The student's prompt template on its way from the data to the model: which file it is, and whether it is still it.

Whoever asks the model must render with the very template that its rows were rendered with. The manifest of a training
run therefore keeps the template's hash among its inputs, and params.yaml of prepare-data among its hashes.
"""

from __future__ import annotations

import json
from pathlib import Path

from rasa_ft.errors import DataError
from rasa_ft.files import fingerprint
from rasa_ft.yaml_source import load_yaml

PROMPT_FILE = "student_prompt.jinja2"
_MANIFEST = "manifest.json"
_PARAMS = "params.yaml"


def template_hash(path: Path) -> str:
    """SHA-256 (64 hex digits) of a template's content."""
    return fingerprint(path)


def template_of_data(rows: Path) -> Path | None:
    """The template that the rows in a file were rendered with: in the file's folder or up to two above it."""
    places = list(rows.resolve().parents)[:3]
    return next((folder / PROMPT_FILE for folder in places if (folder / PROMPT_FILE).is_file()), None)


def check_template(template: Path, model: Path, data: Path) -> None:
    """Raise if ``template`` is known not to be the one that ``model`` learned with.

    The manifest of the training run (beside the model or one folder up) decides; without it, params.yaml of ``data``
    does, for a template that stands there. Where neither says anything, nothing is checked.

    Raises:
        DataError: names both files and what to do.
    """
    manifest = next((place / _MANIFEST for place in (model, model.parent) if (place / _MANIFEST).is_file()), None)
    record, wanted = manifest, _hash_in_manifest(manifest)
    if wanted is None and template.parent == data:
        record, wanted = data / _PARAMS, _hash_in_params(data / _PARAMS)
    if wanted is not None and wanted != template_hash(template):
        raise DataError(
            f"{template} is not the prompt template that the model was trained with: {record} has another hash for it.",
            hint="Undo the change, or run prepare-data and train again; the model knows no other prompt.",
        )


def _hash_in_manifest(manifest: Path | None) -> str | None:
    try:
        return str(json.loads(manifest.read_text(encoding="utf-8"))["inputs"][PROMPT_FILE]) if manifest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash_in_params(params: Path) -> str | None:
    try:
        return str(load_yaml(params)["hashes"]["student_prompt"])
    except (DataError, KeyError, TypeError):
        return None
