from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.recipe.scrubbing.surrogates import Kind, Surrogates, is_nobodys, squeezed


def luhn(number: str) -> bool:
    digits = [int(digit) for digit in squeezed(number)]
    doubled = [sum(divmod(2 * digit, 10)) if index % 2 else digit for index, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def iban_is_valid(iban: str) -> bool:
    plain = squeezed(iban).upper()
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def shape(text: str) -> str:
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "0", text))


@pytest.mark.parametrize(
    ("kind", "original"),
    [
        ("email", "anna.becker79@firma.de"),
        ("phone", "+49 151 23456789"),
        ("phone", "0151/2345678"),
        ("phone", "07911 123456"),
        ("phone", "(212) 736-5000"),
        ("phone", "+1 212 736 5000"),
        ("phone", "06 12 34 56 78"),
        ("phone", "+48 601 234 567"),
        ("phone", "736-5000"),
        ("phone", "612345678"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "GB29NWBK60161331926819"),
        ("card", "4539 1488 0343 6467"),
        ("card", "371449635398432"),
    ],
)
def test_surrogates_belong_to_nobody(kind: Kind, original: str) -> None:
    surrogate = Surrogates(1).of(kind, original)
    assert surrogate != original
    assert is_nobodys(kind, surrogate)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("name", "Anna Becker", "anna becker"),
        ("email", "Anna@firma.de", "anna@firma.de"),
        ("phone", "0151 234 56789", "0151/23456789"),
        ("iban", "DE89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        ("number", "KX-48213", "kx 48213"),
    ],
)
def test_the_same_datum_has_the_same_surrogate_however_it_is_written(kind: Kind, one: str, other: str) -> None:
    surrogates = Surrogates(1)
    assert squeezed(surrogates.of(kind, one)) == squeezed(surrogates.of(kind, other))
    if kind not in ("name", "email"):
        assert shape(surrogates.of(kind, one)) == shape(one)


def test_a_number_with_and_without_its_country_is_the_same() -> None:
    surrogates = Surrogates(1)
    abroad, at_home = surrogates.of("phone", "+49 151 2345678"), surrogates.of("phone", "0151 2345678")
    assert squeezed(abroad).removeprefix("49") == squeezed(at_home).removeprefix("0")


def test_names_and_addresses_of_one_person_belong_together() -> None:
    surrogates = Surrogates(1)
    first, last = surrogates.of("name", "Anna Becker").split()
    assert surrogates.of("name", "ANNA") == first.upper()
    assert surrogates.of("email", "anna.becker@firma.de").split("@")[0] == f"{first}.{last}".lower()
    assert surrogates.of("name", "Ludwig van Becker").split()[1:] == ["van", last]
    assert re.fullmatch(
        r"\d\d \w+ Street, \w+ [A-Z]{2}\d \d[A-Z]{2}", surrogates.of("text", "12 Baker Street, London NW1 6XE")
    )


def test_check_digits_stay_as_right_or_wrong_as_they_were() -> None:
    surrogates = Surrogates(1)
    for original in ("DE89 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00", "GB29NWBK60161331926819"):
        assert iban_is_valid(surrogates.of("iban", original)) == iban_is_valid(original)
    for original in ("4539 1488 0343 6467", "4539 1488 0343 6468", "371449635398431", "6011000990139425"):
        assert luhn(surrogates.of("card", original)) == luhn(original)


def test_the_seed_decides() -> None:
    assert Surrogates(1).of("name", "Anna Becker") == Surrogates(1).of("name", "Anna Becker")
    assert Surrogates(1).of("name", "Anna Becker") != Surrogates(2).of("name", "Anna Becker")


def test_what_is_to_be_avoided_is_avoided() -> None:
    given_freely = Surrogates(1).of("name", "Anna")
    assert Surrogates(1, avoid={given_freely.lower()}).of("name", "Anna") != given_freely


@given(st.sets(st.text("abcdeäöü", min_size=2, max_size=6), min_size=2, max_size=40))
def test_different_names_stay_different(names: set[str]) -> None:
    surrogates = Surrogates(3)
    assert len({surrogates.of("name", name) for name in names}) == len(names)


@given(st.sets(st.from_regex(r"\+49 1[567]\d \d{7}", fullmatch=True), max_size=150))
def test_different_numbers_stay_different(numbers: set[str]) -> None:
    surrogates = Surrogates(3)
    found = {surrogates.of("phone", number) for number in numbers}
    assert len(found) == len(numbers)
    assert all(is_nobodys("phone", number) for number in found)


@pytest.mark.parametrize("kind", ["email", "phone", "iban", "card", "number", "name", "text"])
@given(text=st.text(max_size=40))
def test_any_text_has_a_surrogate(kind: Kind, text: str) -> None:
    Surrogates(1).of(kind, text)
    is_nobodys(kind, text)
