"""Stand-in; see the package."""

import json
from pathlib import Path
from typing import Any


def read_json_file(filename: str) -> Any:
    return json.loads(Path(filename).read_text(encoding="utf-8"))
