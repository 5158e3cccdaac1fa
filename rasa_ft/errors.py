"""Every error that a user can cause, as one small tree.

    RasaFtError                   exit 1   base class: one sentence, maybe a place in a file and a hint
    ├── DataError                 exit 1   a file is missing, broken or inconsistent
    ├── UsageError                exit 2   options that do not go together
    ├── GateNotMet                exit 3   the run was fine, the result is below the gate
    ├── MissingRequirement        exit 4   something has to be installed first
    ├── ServerError               exit 1   a model server did not start or is not healthy
    ├── BudgetExceeded            exit 1   the next call would cost more than allowed: nothing goes on from there
    └── LLMError                  exit 1   a language model gave no usable answer
        ├── LLMUnavailable                 not reachable, timed out, 5xx: worth retrying
        │   └── RateLimited                429: worth retrying later (``retry_after`` seconds)
        ├── LLMRefused                     4xx: key, model name or request are wrong, retrying is useless
        │   └── RequestRejected            the request is at fault; another model would not answer it either
        └── NotRecorded                    the recorded model has no answer for this message

``str(error)`` is what the user reads: what happened, where, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, order=True)
class Location:
    """A place in a file; lines and columns count from 1, ``end_line`` is the last line that belongs to it.

    ``column`` 0: not known. It is no part of what makes two places equal.
    """

    file: Path
    line: int
    end_line: int = 0
    column: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class RasaFtError(Exception):
    """Base of all errors shown to the user without a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, location: Location | None = None, hint: str | None = None) -> None:
        self.message = message
        self.location = location
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        place = f"{self.location}: " if self.location else ""
        hint = f"\n  {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


class DataError(RasaFtError):
    """A file is missing, broken or inconsistent."""

    # What it was collected from; empty for a single problem.
    parts: tuple[DataError, ...] = ()

    @classmethod
    def collected(cls, errors: Sequence[DataError]) -> DataError:
        """One error that shows all of ``errors``; the only one itself if there is just one."""
        errors = [part for error in errors for part in error.parts or (error,)]
        if len(errors) == 1:
            return errors[0]
        listing = "\n".join(f"- {error}" for error in errors)
        found = cls(f"{len(errors)} problems:\n{listing}")
        found.parts = tuple(errors)
        return found


class UsageError(RasaFtError):
    """Options that do not go together."""

    exit_code = 2


class GateNotMet(RasaFtError):
    """Everything ran; a result is below its gate."""

    exit_code = 3


class MissingRequirement(RasaFtError):
    """Something has to be installed or configured first; the hint names the command."""

    exit_code = 4


class ServerError(RasaFtError):
    """A model server did not start, died, or is not healthy."""


class LLMError(RasaFtError):
    """A language model gave no usable answer."""


class LLMUnavailable(LLMError):
    """The model could not be reached, timed out or answered 5xx; worth retrying."""


class RateLimited(LLMUnavailable):
    """429; ``retry_after`` is the server's wish in seconds, if it said one."""

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class LLMRefused(LLMError):
    """4xx: key, model name or parameters are wrong; retrying is useless."""


class RequestRejected(LLMRefused):
    """The request itself is at fault: its parameters, its length, its content; another model would say the same."""


class NotRecorded(LLMError):
    """The recorded model has no answer for this message."""


class BudgetExceeded(RasaFtError):
    """The next call would exceed the budget; everything answered so far is kept.

    No `LLMError`, since nobody may take it for a single failed call and go on.
    """
