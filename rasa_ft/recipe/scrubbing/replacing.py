"""Personal data replaced by surrogates in texts, regular expressions and slot values, however they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate

from rasa_ft.recipe.scrubbing.personal_data import Finding
from rasa_ft.recipe.scrubbing.surrogates import TOKEN, Surrogates, squeezed

# The first of these decides where one piece of data was found as several kinds.
_ORDER = ("email", "iban", "card", "phone", "name", "number", "text")
_WORDS = ("name", "text")
# What may stand between the words of a name, and between the digits of a number.
_BETWEEN_WORDS = r"[\s_.,/'’&-]"
_BETWEEN_DIGITS = r"[\s./()-]"
# Underscores are no letters here: names of tests are texts too.
_START, _END = r"(?<![^\W_])", r"(?![^\W_])"
_START_IN_PATTERN = rf"(?:{_START}|(?<=\\b))"
# Scripts without blanks between words: Chinese, Japanese, Thai.
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
# So many characters of a datum are looked up first.
_INDEXED = 3
# Regular expressions built from the data of one text; a suite has few texts with many.
_CACHED = 4096


class Replacer:
    """A `rasa_ft.recipe.scrubbing.case_texts.Writer` that replaces ``findings``, all at once and the longest first.

    ``base``: another one, whose findings are replaced too.
    """

    def __init__(self, findings: Iterable[Finding], surrogates: Surrogates, base: Replacer | None = None) -> None:
        self._surrogates = surrogates
        self._base = base
        self._by_text: dict[str, Finding] = {}
        self._by_start: dict[str, list[str]] = {}
        for finding in sorted(findings, key=lambda finding: (_ORDER.index(finding.kind), finding.text)):
            key = squeezed(finding.text)
            if key and key not in self._by_text:
                self._by_text[key] = finding
                self._by_start.setdefault("" if _UNSPACED.search(key) else key[:_INDEXED], []).append(key)

    def text(self, text: str) -> str:
        return self._replaced(text, in_pattern=False)

    def pattern(self, pattern: str) -> str:
        """The data are found with and without backslashes, and with ``\\s`` for a blank."""
        return self._replaced(pattern, in_pattern=True)

    def value(self, value: str | int, slot: str | None) -> str | int:
        if isinstance(value, str):
            return self.text(value)
        new = self.text(str(value))
        return int(new) if new.isdecimal() else value

    def stated(self, text: str) -> Sequence[Finding]:
        """Those that stand in ``text``."""
        return [finding for finding in self._candidates(text) if _expression((finding,), False).search(text)]

    def _replaced(self, text: str, *, in_pattern: bool) -> str:
        findings = self._candidates(unescaped(text) if in_pattern else text)
        if not findings:
            return text

        def surrogate(match: re.Match[str]) -> str:
            finding = findings[int((match.lastgroup or "k0")[1:])]
            if not in_pattern:
                return self._surrogates.of(finding.kind, match[0])
            return re.escape(self._surrogates.of(finding.kind, unescaped(match[0])))

        return _expression(findings, in_pattern).sub(surrogate, text)

    def _candidates(self, text: str) -> tuple[Finding, ...]:
        """Those that may stand in ``text``; the longest first."""
        words = [word.lower() for word in TOKEN.findall(text)]
        starts = [0, *accumulate(map(len, words))][:-1]
        found = self._starting_at("".join(words), starts)
        return tuple(found[key] for key in sorted(found, key=lambda key: (-len(key), key)))

    def _starting_at(self, plain: str, starts: Sequence[int]) -> dict[str, Finding]:
        found = {key: self._by_text[key] for key in self._by_start.get("", ()) if key in plain}
        for start in starts:
            for length in range(1, _INDEXED + 1):
                for key in self._by_start.get(plain[start : start + length], ()):
                    if plain.startswith(key, start):
                        found[key] = self._by_text[key]
        return found if self._base is None else {**found, **self._base._starting_at(plain, starts)}


def unescaped(pattern: str) -> str:
    """What a simple regular expression stands for: blanks for ``\\s``, and no backslashes."""
    return re.sub(r"\\([^A-Za-z])", r"\1", re.sub(r"\\[bAZ]", "", re.sub(r"\\s[+*]?", " ", pattern)))


@lru_cache(_CACHED)
def _expression(findings: tuple[Finding, ...], in_pattern: bool) -> re.Pattern[str]:
    """Group k0, k1, ... for each of them."""
    write: Callable[[Finding], str] = _in_pattern if in_pattern else _in_text
    start = _START_IN_PATTERN if in_pattern else _START

    def group(number: int, finding: Finding) -> str:
        found = f"(?P<k{number}>{write(finding)})"
        return found if _UNSPACED.search(finding.text) else f"{start}{found}{_END}"

    return re.compile("|".join(group(number, finding) for number, finding in enumerate(findings)), re.IGNORECASE)


def _in_text(finding: Finding) -> str:
    if finding.kind == "email":
        return re.escape(finding.text)
    if finding.kind in _WORDS:
        return f"{_BETWEEN_WORDS}+".join(map(re.escape, TOKEN.findall(finding.text)))
    return r"\+?" + f"{_BETWEEN_DIGITS}*".join(squeezed(finding.text))


def _in_pattern(finding: Finding) -> str:
    if finding.kind == "email":
        return "".join(rf"\\?{re.escape(character)}" for character in finding.text)
    words = finding.kind in _WORDS
    between = rf"(?:\\s[+*]?|\\?{_BETWEEN_WORDS if words else _BETWEEN_DIGITS})"
    if words:
        return f"{between}+".join(map(re.escape, TOKEN.findall(finding.text)))
    return r"(?:\\?\+)?" + f"{between}*".join(squeezed(finding.text))
