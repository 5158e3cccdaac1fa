"""Importing a project's own Python package without leaving a trace in this process.

Several assistants may each have a package called ``actions``. Its modules are therefore visible to ``import`` only
while they are imported or run.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from rasa_ft.errors import DataError, MissingRequirement

_lock = threading.RLock()


class ProjectModules:
    """The modules of one project folder, imported once."""

    def __init__(self, project: Path) -> None:
        self._project = str(project.resolve())
        self._names = _own_names(self._project)
        self._own: dict[str, ModuleType] = {}
        self._hidden: dict[str, ModuleType] = {}
        self._users = 0

    @contextmanager
    def visible(self) -> Iterator[None]:
        """The project's modules can be imported inside the block, under their own names."""
        with _lock:
            self._users += 1
            if self._users == 1:
                self._show()
        try:
            yield
        finally:
            with _lock:
                self._users -= 1
                if self._users == 0:
                    self._hide()

    def load_package(self, name: str) -> tuple[ModuleType, ...]:
        """The package ``name`` of the project, with everything below it.

        Raises:
            DataError: it does not exist, or importing it fails; says which exception where.
        MissingRequirement: it imports a package that is not installed.
        """
        importlib.invalidate_caches()
        with self.visible():
            package = _imported(name, self._project)
            below = pkgutil.walk_packages(package.__path__, f"{name}.") if hasattr(package, "__path__") else ()
            names = sorted(info.name for info in below)
            return (package, *(_imported(module, self._project) for module in names))

    def _show(self) -> None:
        self._hidden = self._loaded()
        for name in self._hidden:
            del sys.modules[name]
        sys.modules.update(self._own)
        sys.path.insert(0, self._project)

    def _hide(self) -> None:
        sys.path.remove(self._project)
        self._own = self._loaded()
        for name in self._own:
            del sys.modules[name]
        sys.modules.update(self._hidden)

    def _loaded(self) -> dict[str, ModuleType]:
        """Loaded modules that have a name which means one of the project's own modules."""
        return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in self._names}


def _own_names(project: str) -> frozenset[str]:
    """Top-level modules in the folder, less those that would stand in the way of Python or of us."""
    names = {info.name for info in pkgutil.iter_modules([project])}
    return frozenset(names - sys.stdlib_module_names - {"rasa_ft", "rasa_sdk"})


def _imported(name: str, project: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _missing(name, project, error) from error
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        raise DataError(
            f"the actions module '{name}' cannot be imported from {project}: {type(error).__name__}: {error}",
            hint="actions_module in endpoints.yml names a package in the project's folder.",
        ) from error


def _missing(name: str, project: str, error: ModuleNotFoundError) -> DataError | MissingRequirement:
    """Either the actions module itself is not there, or something that it imports."""
    missing = (error.name or "").partition(".")[0]
    if not missing or missing in _own_names(project) or name.partition(".")[0] == missing:
        return DataError(
            f"the actions module '{name}' cannot be imported from {project}: {type(error).__name__}: {error}",
            hint="actions_module in endpoints.yml names a package in the project's folder.",
        )
    hint = f"Install it in the environment of rasa_ft, for example with `pip install {missing}`."
    if missing in ("rasa", "rasa_plus"):
        hint = "It is a part of rasa-pro, which needs a licence: install that, or take the import out of the actions."
    return MissingRequirement(
        f"the actions module '{name}' of {project} imports '{missing}', which is not installed.", hint=hint
    )
