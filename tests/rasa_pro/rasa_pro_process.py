"""rasa-pro in a process of an environment of its own, asked to read files."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VARIABLE = "RASA_FT_RASA_PRO_PYTHON"
READER = Path(__file__).with_name("reader.py")
# Nothing is sent anywhere, and no licence is given: what would ask for one fails.
SETTINGS = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "RASA_TELEMETRY_ENABLED": "false",
    "RASA_PRO_BETA_STUB_CUSTOM_ACTION": "true",
    "PYTHONDONTWRITEBYTECODE": "1",
}
LICENCES = ("RASA_LICENSE", "RASA_PRO_LICENSE")


class Refused(Exception):
    """rasa-pro's reader refused a file; the message is its own."""


class RasaPro:
    """`reader.py` in its own process, one for all tests."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def read(self, kind: str, **request: Any) -> Any:
        """What the reader of that kind found; paths are made absolute.

        Raises:
            Refused: it took the file for a wrong one.
        """
        paths = {name: str(value.absolute()) for name, value in request.items() if isinstance(value, Path)}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"read": kind, **request, **paths}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"rasa-pro's reader broke off:\n{self._log.read_text(errors='replace')[-4000:]}"
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["found"]


@contextmanager
def rasa_pro_of(python: str, home: Path) -> Iterator[RasaPro]:
    """A reader on that Python; it works in ``home`` and writes its log there."""
    environment = {name: value for name, value in os.environ.items() if name not in LICENCES}
    log = home / "log.txt"
    with (
        log.open("w") as stream,
        subprocess.Popen(
            [python, str(READER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            encoding="utf-8",
            cwd=home,
            env={**environment, **SETTINGS, "HOME": str(home)},
        ) as process,
    ):
        yield RasaPro(process, log)
        assert process.stdin is not None
        process.stdin.close()
