"""Makes plain ``rasa …`` work: a small script beside ``rasa-ft``, put there and taken away on request only.

Never done on installation: overwriting another package's script would break that package when either is uninstalled.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rasa_ft.errors import RasaFtError
from rasa_ft.files import write_text

_MARK = "made by rasa-ft plugin enable"
_SCRIPT = f"""\
#!{{python}}
# {_MARK}; `rasa-ft plugin disable` takes it away again.
import sys

try:
    from rasa_ft.cli.main import main
except ModuleNotFoundError:
    sys.exit(f"rasa_ft is no longer installed here; delete {{{{__file__}}}}.")

main()
"""


def script_path() -> Path:
    """Where the ``rasa`` command of this Python environment stands or would stand."""
    return Path(sysconfig.get_path("scripts")) / ("rasa.cmd" if os.name == "nt" else "rasa")


def is_enabled() -> bool:
    """Whether the ``rasa`` command of this environment is ours."""
    path = script_path()
    return path.is_file() and _MARK in path.read_text(encoding="utf-8", errors="replace")


def enable() -> Path:
    """Put the ``rasa`` script in place; doing it again changes nothing.

    Raises:
        RasaFtError: the environment has a ``rasa`` command of somebody else's.
    """
    path = script_path()
    if path.exists() and not is_enabled():
        raise RasaFtError(
            f"{path} belongs to {_owner()}, which is left as it is.",
            hint="Use `rasa-ft …` here, or enable the plugin in an environment without it.",
        )
    script = _SCRIPT.format(python=sys.executable)
    if os.name == "nt":
        script = f'@rem {_MARK}\r\n@"{sys.executable}" -m rasa_ft %*\r\n'
    write_text(path, script)
    path.chmod(0o755)
    return path


def disable() -> bool:
    """Take our script away; False if there was none."""
    if not is_enabled():
        return False
    script_path().unlink()
    return True


def _owner() -> str:
    for package in ("rasa-pro", "rasa"):
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return "another package"
