from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_ft.evaluation.clustered import (
    LEAST_CORRELATION,
    MIN_CONVERSATIONS,
    Cluster,
    Rates,
    clustered_interval,
    conversations_needed,
    design_effect,
    judged_effect,
)
from rasa_ft.evaluation.statistics import Interval, noninferiority_size, tango_statistic

# Obuchowski, Stat. Med. 17 (1998) 1495: glands of 21 patients, (glands, right by PET, right by SPECT).
GLANDS = (3, 3, 3, 1, 3, 4, 3, 2, 2, 1, 3, 2, 3, 2, 2, 3, 3, 3, 2, 1, 2)
PET = (0, 2, 3, 1, 2, 4, 3, 2, 2, 1, 2, 2, 3, 2, 0, 2, 2, 2, 2, 1, 2)
SPECT = (2, 3, 3, 1, 3, 4, 3, 2, 1, 1, 2, 2, 3, 2, 2, 2, 2, 3, 2, 1, 2)
# Donner and Petryshen, Psychiatry Res. 28 (1989) 41: 29 psychiatrists, (patients, only patient says yes, only doctor).
PATIENTS = (7, 6, 7, 6, 4, 6, 5, 8, 4, 7, 3, 6, 7, 6, 5, 4, 6, 5, 4, 3, 5, 4, 4, 2, 3, 2, 2, 3, 1)
ONLY_PATIENT = (0, 1, 1, 1, 0, 3, 3, 3, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0)
ONLY_DOCTOR = (4, 2, 3, 2, 1, 3, 0, 2, 2, 4, 2, 4, 3, 2, 1, 3, 1, 2, 0, 0, 0, 2, 1, 2, 2, 0, 0, 1, 1)
THYROIDS = [Cluster(n, max(0, a - b), max(0, b - a)) for n, a, b in zip(GLANDS, PET, SPECT, strict=True)]
PSYCHIATRY = [Cluster(*counts) for counts in zip(PATIENTS, ONLY_PATIENT, ONLY_DOCTOR, strict=True)]


@st.composite
def clusters(draw: st.DrawFn) -> list[Cluster]:
    found = []
    for _ in range(draw(st.integers(2, 40))):
        total = draw(st.integers(1, 7))
        first = draw(st.integers(0, total))
        found.append(Cluster(total, first, draw(st.integers(0, total - first))))
    return found


# As reported by Durkalski et al., Stat. Med. 22 (2003) 2417; McNemar's statistic is the same without the design effect.
@pytest.mark.parametrize(("data", "mcnemar", "obuchowski"), [(THYROIDS, 4.5, 2.86), (PSYCHIATRY, 11.85, 7.19)])
def test_published_tests_of_clustered_pairs(data: list[Cluster], mcnemar: float, obuchowski: float) -> None:
    rates = Rates.of(data)
    statistic = tango_statistic(rates.only_first, rates.only_second, rates.messages, 0.0) ** 2
    assert statistic == pytest.approx(mcnemar, abs=5e-3)
    assert statistic / design_effect(data, around=0.0) == pytest.approx(obuchowski, abs=5e-3)


def test_design_effect_by_hand() -> None:
    # All mistakes of a conversation of four together: four messages say what one would.
    together = [Cluster(4, 0, 4), Cluster(4)] * 200
    assert design_effect(together) == pytest.approx(4, rel=0.01)
    alone = [Cluster(1, 0, 1), Cluster(1)] * 200
    assert design_effect(alone) == pytest.approx(1, rel=0.01)
    assert design_effect([Cluster(4)] * 5) == 1.0
    assert judged_effect([Cluster(4)] * 5) == pytest.approx(1 + 3 * LEAST_CORRELATION)
    assert judged_effect(together) == design_effect(together)


@given(clusters())
def test_interval_contains_what_was_observed_and_mirrors(data: list[Cluster]) -> None:
    interval = clustered_interval(data)
    mirrored = clustered_interval([Cluster(c.total, c.only_second, c.only_first) for c in data])
    assert -1 <= interval.low <= Rates.of(data).difference <= interval.high <= 1
    assert interval.low == pytest.approx(-mirrored.high, abs=1e-9)


@given(clusters(), st.integers(2, 4))
def test_more_of_the_same_narrows_the_interval(data: list[Cluster], times: int) -> None:
    few, many = clustered_interval(data), clustered_interval(data * times)
    assert many.high - many.low <= few.high - few.low + 1e-9


@given(clusters(), st.floats(0.01, 0.2), st.floats(0.01, 0.2))
def test_less_risk_is_a_wider_interval(data: list[Cluster], alpha: float, other: float) -> None:
    strict, loose = (clustered_interval(data, risk) for risk in sorted((alpha, other)))
    assert strict.low <= loose.low + 1e-9
    assert loose.high <= strict.high + 1e-9


def test_one_conversation_says_nothing() -> None:
    assert clustered_interval([]) == Interval(-1.0, 1.0)
    assert clustered_interval([Cluster(7)]) == Interval(-1.0, 1.0)
    assert judged_effect([]) == 1.0
    assert conversations_needed([], 0.05) is None


@given(clusters(), st.floats(0.01, 0.3))
def test_a_stated_size_is_never_below_the_minimum(data: list[Cluster], margin: float) -> None:
    size = conversations_needed(data, margin)
    assert size is None or size >= MIN_CONVERSATIONS


def test_the_stated_size_is_the_first_that_proves_without_mistakes() -> None:
    size = conversations_needed([Cluster(4)] * 5, 0.05)
    assert size is not None
    assert clustered_interval([Cluster(4)] * size).low >= -0.05
    assert clustered_interval([Cluster(4)] * (size - 1)).low < -0.05


def test_the_stated_size_is_about_the_simple_formula_for_independent_messages() -> None:
    # Equally good models that differ on 4 % of single messages; the simple formula leaves out what the margin adds.
    data = [Cluster(1, 1, 0), Cluster(1, 0, 1), *[Cluster(1)] * 48] * 20
    size = conversations_needed(data, 0.02, power=0.8)
    assert size == pytest.approx(noninferiority_size(0.04, 0.02), rel=0.15)


def test_more_mistakes_and_a_smaller_margin_ask_for_more() -> None:
    few = [*[Cluster(4)] * 45, *[Cluster(4, 0, 1)] * 2]
    many = [*[Cluster(4)] * 45, *[Cluster(4, 0, 1)] * 5]
    sizes = [
        conversations_needed(few, 0.1),
        conversations_needed(few, 0.05),
        conversations_needed(many, 0.05),
    ]
    assert sizes == sorted(size for size in sizes if size is not None)
    assert len(set(sizes)) == 3
    # A twentieth of the messages wrong, and a margin of a twentieth: which side it is cannot be found.
    assert conversations_needed([*[Cluster(4)] * 4, Cluster(4, 0, 1)], 0.05) is None
    # Far behind is settled as well, the other way round.
    assert conversations_needed([Cluster(4, 0, 1)] * 30, 0.05) == MIN_CONVERSATIONS
