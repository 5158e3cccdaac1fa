"""What a railway's servers would know."""

from __future__ import annotations

DEPARTURES = ["08:15", "12:40", "17:05"]
_ROUTES = ["from York to Leeds", "from Bath to Bristol", "from Derby to Sheffield", "from Perth to Dundee"]


def fare_pounds(origin: str, destination: str) -> int:
    """The price of one ticket: 24 to 72 pounds, the same in both directions."""
    return 24 + sum(ord(letter) for letter in (origin + destination).lower() if letter.isalpha()) % 49


def in_pounds(amount: float) -> str:
    return f"{amount:.2f} pounds"


def is_booking(code: str) -> bool:
    """Codes that begin with NR0 were never given out."""
    return not code.upper().startswith("NR0")


def route_of(code: str) -> str:
    return _ROUTES[_number(code) % len(_ROUTES)]


def price_of(code: str) -> int:
    return 15 + _number(code) % 40


def is_late(train_number: str) -> bool:
    """Trains whose number ends in 99 have a bad day, every day."""
    return train_number.endswith("99")


def reference(kind: str, text: str) -> str:
    """A case number that depends on the case alone, such as LP-3021."""
    return f"{kind}-{1000 + sum(ord(letter) * place for place, letter in enumerate(text, 1)) % 9000}"


def _number(code: str) -> int:
    return int("".join(letter for letter in code if letter.isdigit()) or 0)
