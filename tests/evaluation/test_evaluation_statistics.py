from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.evaluation.statistics import (
    Interval,
    Paired,
    mcnemar_exact,
    more_needed,
    noninferiority_size,
    paired_difference,
    percentile,
    t_quantile,
    tango_interval,
    tango_statistic,
    wilson,
)


# Newcombe, Stat. Med. 17 (1998) 857, table I, method 3; the last rows: what few end-to-end tests prove.
@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (12, 12, 0.7575, 1.0),
        (80, 100, 0.7112, 0.8666),
        (537, 559, 0.9411, 0.9739),
    ],
)
def test_wilson_published(successes: int, total: int, low: float, high: float) -> None:
    interval = wilson(successes, total)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 400), st.data())
def test_wilson_contains_the_rate_and_mirrors(total: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, total))
    interval = wilson(successes, total)
    mirrored = wilson(total - successes, total)
    assert successes / total in interval
    assert 0 <= interval.low <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirrored.high)


def test_wilson_refuses_nonsense() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)
    with pytest.raises(ValueError, match="not possible"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence=1.0)


# Bentur 2009 as in Fagerland et al., Stat. Med. 33 (2014) 2850; Altman et al., Statistics with Confidence, table 6.2.
@pytest.mark.parametrize(
    ("pairs", "difference", "low", "high", "p_value"),
    [
        (Paired(1, 1, 7, 12), -0.2857, -0.507, -0.026, 0.0703),
        (Paired(14, 5, 0, 22), 0.1220, 0.011, 0.226, 0.0625),
    ],
)
def test_paired_published(pairs: Paired, difference: float, low: float, high: float, p_value: float) -> None:
    interval = paired_difference(pairs)
    assert pairs.difference == pytest.approx(difference, abs=5e-5)
    assert interval.low == pytest.approx(low, abs=5e-4)
    assert interval.high == pytest.approx(high, abs=5.5e-4)
    assert mcnemar_exact(pairs) == pytest.approx(p_value, abs=5e-5)


@given(*[st.integers(0, 60)] * 4)
def test_paired_interval_mirrors_when_the_models_change_places(
    both: int, first: int, second: int, neither: int
) -> None:
    pairs, swapped = Paired(both, first, second, neither), Paired(both, second, first, neither)
    interval, other = paired_difference(pairs), paired_difference(swapped)
    assert interval.low == pytest.approx(-other.high)
    assert -1 <= interval.low <= pairs.difference <= interval.high <= 1
    assert mcnemar_exact(pairs) == mcnemar_exact(swapped)
    assert 0 < mcnemar_exact(pairs) <= 1


def test_tango_published() -> None:
    # Bentur 2009 as in Fagerland et al., Stat. Med. 33 (2014) 2850.
    interval = tango_interval(1, 7, 21, 1.959964)
    assert interval.low == pytest.approx(-0.517, abs=5e-4)
    assert interval.high == pytest.approx(-0.026, abs=5e-4)


@given(st.integers(1, 400), st.floats(0.5, 4))
def test_tango_of_models_that_never_differ(total: int, critical: float) -> None:
    """Tango's interval then has a closed form, that of Wilson's for no failure."""
    interval = tango_interval(0, 0, total, critical)
    assert interval.high == pytest.approx(critical**2 / (total + critical**2))
    assert interval.low == pytest.approx(-interval.high)


@given(*[st.integers(0, 60)] * 3, st.floats(0.5, 4))
def test_tango_mirrors_contains_and_is_mcnemars_at_0(both: int, first: int, second: int, critical: float) -> None:
    total = both + first + second
    interval, swapped = tango_interval(first, second, total, critical), tango_interval(second, first, total, critical)
    assert interval.low == pytest.approx(-swapped.high, abs=1e-9)
    assert -1 <= interval.low <= (first - second) / max(1, total) <= interval.high <= 1
    if first + second:
        at_0 = tango_statistic(first, second, total, 0.0)
        assert at_0 == pytest.approx((first - second) / (first + second) ** 0.5)


# Table of Student's t.
@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [(0.95, 5, 2.015), (0.95, 10, 1.812), (0.95, 28, 1.701), (0.975, 5, 2.571), (0.975, 30, 2.042), (0.5, 7, 0.0)],
)
def test_t_quantile(probability: float, freedom: int, value: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(value, abs=1e-3)


def test_pairs_are_counted_in_order() -> None:
    pairs = Paired.of([True, True, False, False, True], [True, False, True, False, True])
    assert pairs == Paired(2, 1, 1, 1)
    assert pairs.discordant == pytest.approx(0.4)
    assert Paired.of([], []).difference == 0.0
    assert paired_difference(Paired.of([], [])) == Interval(-1.0, 1.0)
    with pytest.raises(ValueError, match="shorter"):
        Paired.of([True], [])


@pytest.mark.parametrize(
    ("discordant", "margin", "size"),
    [(0.02, 0.02, 309), (0.04, 0.02, 619), (0.10, 0.02, 1546), (0.02, 0.03, 137), (0.10, 0.03, 687), (0.10, 0.05, 247)],
)
def test_noninferiority_size(discordant: float, margin: float, size: int) -> None:
    assert noninferiority_size(discordant, margin) == pytest.approx(size, abs=1)


def test_noninferiority_needs_a_margin() -> None:
    with pytest.raises(ValueError, match="margin"):
        noninferiority_size(0.1, 0)


def test_more_needed_is_the_first_size_that_proves() -> None:
    assert more_needed(12, 12, 0.8) == 4
    assert wilson(16, 16).low >= 0.8 > wilson(15, 15).low
    assert more_needed(100, 100, 0.8) == 0
    assert more_needed(8, 10, 0.8) is None
    assert more_needed(0, 0, 0.8) is None
    assert more_needed(801, 1000, 0.8, limit=500) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0, 1))
def test_percentile_lies_between_the_extremes(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found is not None
    assert min(values) <= found <= max(values) * (1 + 1e-12)


def test_percentile_interpolates() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([7], 0.9) == 7
    assert percentile([], 0.5) is None
