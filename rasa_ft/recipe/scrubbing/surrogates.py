"""Surrogates: what stands in the place of personal data, of the same kind and shape, and nobody's.

Equal data get equal surrogates however they are written (``0151 234`` and ``0151234``), different data different ones.
Formats with check digits stay as valid, or as invalid, as they were. Sources of the ranges that belong to nobody:
e-mail: RFC 2606; phone: NANP 555-01XX, Ofcom (UK), ARCEP (France), Bundesnetzagentur (Germany), numbers for drama use;
cards: issuer numbers of the public test cards; IBAN: bank code 0000 or XXXX.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection
from typing import Literal

Kind = Literal["email", "phone", "iban", "card", "number", "name", "text"]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOKEN = re.compile(r"[^\W_]+")
_WORD_OR_NUMBER = re.compile(r"[^\W\d_]+|\d+")
_STARTS = _listed(
    """
    Ab Al Am Ar Bal Bel Bren Cal Cor Cos Dan Dar Del Dor El Er Fal Fen Fer Gal Gil Gor Hal Har Hel Is Jas Jor
    Kal Kel Kor Lan Lor Lu Mal Mar Mel Mor Nal Nor Ol Or Pal Per Pol Quin Ran Ros Sal Sel Sor Tal Tor Ul Val Ver
    Vin Wal Wil Yor Zan
    """
)
_MIDDLES = _listed("a do e fi ga la li ma mo na ne ri ro sa ta ti va vi")
_ENDS = _listed(
    """
    ander ane ara aris bek bert bin da dan dell den dine dis dor dra fred gan gard ger ian ica ide ina ine ion
    is ita ker lan lena lin lis lo lund man mar mer mina mond na nell nic nora on ova ran ric rin ris ron sen
    shaw son stan ta ten ton tra trik van ver vik wen wick win wood ya zen
    """
)
# Small words of names and addresses that say nothing about anybody.
KEPT = frozenset(
    _listed(
        """
    al ap bin d da das de del della den der des di do dos du e el i ibn la las le les los ten ter van vom von y
    zu avenue ave road rd street st strasse straße str lane ln drive dr square sq court ct place pl boulevard
    blvd way weg allee gasse platz rue via calle plaza apartment apt flat floor house no unit suite box po
    com example net org
    """
    )
)
_EMAIL_DOMAINS = ("example.com", "example.org", "example.net")
_NOBODYS_DOMAIN = re.compile(r"(?:^|[@.])(?:example\.(?:com|org|net)|(?:test|example|invalid|localhost))$")
# National numbers by country; "#" is any digit. Further entries are for the case that the first is used up.
_DRAMA = {
    "1": tuple(f"{area}55501##" for area in _listed("202 212 213 305 312 404 415 503 512 617 702 808")),
    "44": ("1632960###", "2079460###", "1134960###"),
    "44 mobile": ("7700900###",),
    "33": ("19900####", "26191####"),
    "33 mobile": ("63998####",),
    "49": ("3023125###", "6990009###", "4066969###", "2214710###", "8999998###"),
    "49 mobile": ("176040690##", "3023125###"),
}
_MOBILE = {"44": "7", "33": "67", "49": "1"}
_TWO_DIGIT_COUNTRIES = frozenset(
    _listed(
        """
    20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84
    86 90 91 92 93 94 95 98
    """
    )
)
_TEST_ISSUERS = {"2": "222300", "3": "378282", "4": "400000", "5": "555555", "6": "601111"}
_NOBODYS_CARD = re.compile("|".join([*_TEST_ISSUERS.values(), "411111", "424242", "510510", "371449", "305693"]))
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
# Tries until a surrogate that repeats another is taken: there are ten digits for more than ten one-digit numbers.
_TRIES = 400


def squeezed(text: str) -> str:
    """Letters and digits only, in lower case: equal for all ways to write a number or a name."""
    return "".join(TOKEN.findall(text)).lower()


def is_nobodys(kind: Kind, text: str) -> bool:
    """Whether the value is out of a range that belongs to nobody, as surrogates are; never so for names and texts."""
    plain = squeezed(text).upper()
    match kind:
        case "email":
            return _NOBODYS_DOMAIN.search(text.lower()) is not None
        case "phone":
            return _is_nobodys_phone(text)
        case "card":
            return _NOBODYS_CARD.match(plain) is not None
        case "iban":
            return set(plain[4:8]) <= set("0X")
    return False


class Surrogates:
    """Gives surrogates that depend on ``seed``, the value, and (where two would be equal) on those given before.

    Args:
        avoid: words and numbers, in lower case, that no surrogate of a word or number may be.
    """

    def __init__(self, seed: int, avoid: Collection[str] = ()) -> None:
        self._key = str(seed).encode()
        self._avoid = frozenset(avoid)
        self._given: dict[tuple[str, str], str] = {}
        self._used: set[tuple[str, str]] = set()
        self._countries: dict[str, str] = {}

    def of(self, kind: Kind, original: str) -> str:
        """The surrogate, written as ``original`` is: letter case, blanks and other separators are kept."""
        plain = squeezed(original)
        match kind:
            case "email":
                return self._once("email", original.lower(), lambda number: self._email(original, number))
            case "phone" if plain.isdecimal() and len(plain) >= 7:
                return _filled(original, self._phone(original))
            case "card" if plain.isdecimal() and len(plain) >= 12:
                return _filled(original, self._once("card", plain, lambda number: self._card(plain, number)))
            case "iban" if _IBAN.fullmatch(plain.upper()):
                return _filled(original, self._once("iban", plain, lambda number: self._iban(plain.upper(), number)))
            case "phone" | "card" | "iban" | "number":
                return _filled(original, self._number(plain))
        return self._words(original)

    # --- words -------------------------------------------------------------------------------------------------------

    def _words(self, original: str) -> str:
        tokens = TOKEN.findall(original)
        kept = {token for token in tokens if token.lower() in KEPT}
        kept = kept if set(tokens) - kept else set()
        return TOKEN.sub(lambda match: match[0] if match[0] in kept else self._token(match[0]), original)

    def _token(self, token: str) -> str:
        if any(character.isdigit() for character in token) or len(token) == 1:
            return _filled(token, self._number(token.lower()))
        word = self._once("word", token.casefold(), lambda number: self._word(token.casefold(), number))
        return word.upper() if token.isupper() else word if token[0].isupper() else word.lower()

    def _word(self, token: str, number: int) -> str:
        chance = self._chance("word", token, number)
        chance, start = divmod(chance, len(_STARTS))
        chance, end = divmod(chance, len(_ENDS))
        middle = _MIDDLES[chance % len(_MIDDLES)] if number > 20 else ""
        return _STARTS[start] + middle + _ENDS[end]

    def _number(self, plain: str) -> str:
        return self._once("number", plain, lambda number: self._like(plain, f"number {number}"))

    def _like(self, plain: str, purpose: str) -> str:
        """Digits for digits and letters for letters; no zero in front where there was none."""
        found = []
        for index, character in enumerate(plain):
            chance = self._chance(purpose, plain, index)
            if character.isdecimal():
                first = index == 0 and character != "0"
                found.append(str(1 + chance % 9 if first else chance % 10))
            else:
                found.append("abcdefghjkmnpqrstuvwxyz"[chance % 23])
        return "".join(found)

    # --- formats -----------------------------------------------------------------------------------------------------

    def _email(self, original: str, number: int) -> str:
        local, _, domain = original.rpartition("@")

        def other(match: re.Match[str]) -> str:
            return self._number(match[0]) if match[0].isdecimal() else self._token(match[0])

        extra = str(number) if number >= len(_EMAIL_DOMAINS) else ""
        choice = self._chance("domain", domain.lower(), 0) + number
        return f"{_WORD_OR_NUMBER.sub(other, local)}{extra}@{_EMAIL_DOMAINS[choice % len(_EMAIL_DOMAINS)]}"

    def _phone(self, original: str) -> str:
        prefix, country, national = _phone_parts(original)
        if prefix.endswith(country):
            self._countries.setdefault(national, country)
        country = self._countries.get(national, country)
        mobile = national[:1] in _MOBILE.get(country, "-")
        patterns = _DRAMA.get(f"{country} mobile" if mobile else country)
        if country == "?" and len(national) == 7:
            patterns = ("55501##",)

        def one(number: int) -> str:
            if patterns is None:
                return "000" + self._like(national, f"phone {number}")[3:]
            chance = self._chance("phone", national, number)
            pattern = patterns[0] if number < _TRIES // 2 and mobile else patterns[chance // 10_000 % len(patterns)]
            digits = f"{chance % 10_000:04d}"[-pattern.count("#") :]
            return pattern.rstrip("#") + digits

        return prefix + self._once("phone", f"{country} {national}", one)

    def _card(self, plain: str, number: int) -> str:
        issuer = _TEST_ISSUERS.get(plain[0], "400000")
        digits = issuer + self._like(plain, f"card {number}")[len(issuer) : -1]
        check = -_luhn(digits + "0") % 10
        return digits + str(check if _luhn(plain) == 0 else (check + 1) % 10)

    def _iban(self, plain: str, number: int) -> str:
        bank = "".join("0" if character.isdecimal() else "X" for character in plain[4:8])
        account = bank + self._like(plain, f"iban {number}").upper()[8:]
        check = 98 - _mod97(f"{account}{plain[:2]}00")
        valid = _mod97(plain[4:] + plain[:4]) == 1
        return f"{plain[:2]}{check if valid else check % 97 + 1:02d}{account}"

    # --- chance ------------------------------------------------------------------------------------------------------

    def _once(self, family: str, plain: str, make: Callable[[int], str]) -> str:
        """The value given before, else the first of ``make`` that is new and not to be avoided."""
        known = self._given.get((family, plain))
        if known is None:
            known = self._given[family, plain] = self._new(family, plain, make)
            self._used.add((family, known.lower()))
        return known

    def _new(self, family: str, plain: str, make: Callable[[int], str]) -> str:
        fallback = plain
        for candidate in map(make, range(_TRIES)):
            lower = candidate.lower()
            if lower == plain:
                continue
            if (family, lower) not in self._used and lower not in self._avoid:
                return candidate
            fallback = candidate
        return fallback

    def _chance(self, purpose: str, plain: str, number: int) -> int:
        message = f"{purpose}\n{number}\n{plain}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.digest(self._key, message, hashlib.sha256)[:8])


def _phone_parts(text: str) -> tuple[str, str, str]:
    """Digits before the national number, the country's code (as far as it can be told) and the national number."""
    digits = squeezed(text)
    if text.lstrip(" (").startswith("+") or digits.startswith("00"):
        dialled = 2 if digits.startswith("00") else 0
        rest = digits[dialled:]
        size = 1 if rest[:1] in ("1", "7") else 2 if rest[:2] in _TWO_DIGIT_COUNTRIES else 3
        national = rest[size:] if rest[size:].startswith("000") else rest[size:].lstrip("0")
        return digits[: dialled + size], rest[:size], national
    if digits.startswith("0"):
        return "0", {10: "33", 11: "44"}.get(len(digits), "49"), digits[1:].lstrip("0")
    if len(digits) == 11 and digits[0] == "1":
        return "1", "1", digits[1:]
    return "", "1" if len(digits) == 10 else "?", digits


def _is_nobodys_phone(text: str) -> bool:
    prefix, country, national = _phone_parts(text)
    if country == "1" or (country == "?" and len(national) == 7):
        return re.fullmatch(r"(?:\d{3})?55501\d\d", national) is not None
    # Without its country a number may be of any.
    countries = ("33", "44", "49") if prefix == "0" else (country,)
    patterns = [*(pattern for at in countries for pattern in (*_DRAMA.get(at, ()), *_DRAMA.get(f"{at} mobile", ())))]
    drama = any(re.fullmatch(pattern.replace("#", r"\d"), national) for pattern in patterns)
    return drama or national.startswith("000") or squeezed(text).startswith("000")


def _filled(original: str, plain: str) -> str:
    """``original`` with its letters and digits replaced by those of ``plain`` in turn, which may be more or fewer."""
    left = list(plain)
    found: list[str] = []
    total = sum(map(str.isalnum, original))
    for character in original:
        if not character.isalnum():
            found.append(character)
            continue
        total -= 1
        taken = [left.pop(0)] if left and total else left
        found.extend(new.upper() if character.isupper() else new.lower() for new in taken)
    return "".join(found).rstrip(" -/.(")


def _luhn(digits: str) -> int:
    """0 for a valid number: https://en.wikipedia.org/wiki/Luhn_algorithm."""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10


def _mod97(characters: str) -> int:
    """Letters count as 10 to 35 (ISO 7064, ISO 13616)."""
    return int("".join(str(int(character, 36)) for character in characters)) % 97
