"""What `ramshare lab scale` makes of what borrowers were told."""

import pytest

from ramshare_lab.experiments.scale.judge import Asked, Held, Latency, growth, latency, lent_twice

pytestmark = pytest.mark.unit
GIB = 1 << 30


def asked(*held: Held) -> Asked:
    return Asked(0.0, at_s=0.0, answered_s=0.01, held=list(held))


def held(lease: str, borrower: str, since_s: float, until_s: float, *, lender: str = "lender.a") -> Held:
    return Held(lease, lender, borrower, GIB, since_s, until_s)


def test_leases_that_fit_are_lent_once() -> None:
    assert lent_twice([asked(held("l1", "x", 0, 5)), asked(held("l2", "y", 1, 4))], 2 * GIB) == []


def test_a_lender_that_lent_more_than_it_has_is_named() -> None:
    (found,) = lent_twice([asked(held("l1", "x", 0, 5)), asked(held("l2", "y", 1, 4))], GIB)
    assert "lender.a lent" in found


def test_memory_that_came_back_is_lent_again_at_that_very_moment() -> None:
    assert lent_twice([asked(held("l1", "x", 0, 2)), asked(held("l2", "y", 2, 4))], GIB) == []


def test_one_lease_of_two_borrowers_is_named_even_one_after_the_other() -> None:
    (found,) = lent_twice([asked(held("l1", "x", 0, 1)), asked(held("l1", "y", 2, 3))], GIB)
    assert found == "l1 of lender.a is held by x, y"


def test_a_lease_that_never_came_back_is_held_for_ever() -> None:
    kept = asked(Held("l1", "lender.a", "x", GIB, 0.0))
    assert not kept.over
    assert lent_twice([kept, asked(held("l2", "y", 1e6, 1e6 + 1))], GIB)


def test_a_request_is_over_when_it_is_refused_or_all_is_given_back() -> None:
    assert Asked(0.0, refusal="busy").over
    assert asked(held("l1", "x", 0, 1)).over
    assert not Asked(0.0).over


def test_percentiles_are_of_what_was_measured() -> None:
    assert latency([float(n) for n in range(1, 101)]) == Latency(50e3, 99e3)
    assert latency([]).p50_ms is None


def test_growth_needs_both_figures() -> None:
    assert growth(3.0, 2.0) == 1.5
    assert growth(None, 2.0) is None
    assert growth(3.0, None) is None
