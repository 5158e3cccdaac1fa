"""Stand-in; see the package."""

import json
from pathlib import Path
from typing import Any


def write_json_to_file(filename: str, obj: Any, **kwargs: Any) -> None:
    Path(filename).write_text(json.dumps(obj, indent=2, **kwargs), encoding="utf-8")
