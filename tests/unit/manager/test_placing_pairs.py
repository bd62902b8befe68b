"""The lenders of a pair: two sets with none in both, one on committed memory; what is said without."""

import re
from itertools import product

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ramshare.manager.placement import Candidate, Need
from ramshare.manager.placing_pairs import EXACT_UP_TO, place_pair

pytestmark = pytest.mark.unit

MIB = 1 << 20


def need(size_mib: int, min_lenders: int = 1, overhead_mib: int = 8) -> Need:
    return Need(size_mib * MIB, 4 * MIB, overhead_mib * MIB, min_lenders)


def lender(name: str, free_mib: int, committed_mib: int | None = None) -> Candidate:
    return Candidate(name, free_mib * MIB, (free_mib if committed_mib is None else committed_mib) * MIB)


CLUSTERS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=6).map(
    lambda rows: [lender(f"lender.h{i}", max(row), min(row)) for i, row in enumerate(rows)]
)
NEEDS = st.builds(need, st.integers(1, 400), st.integers(1, 4), st.sampled_from([0, 4, 8]))
half_met = settings(suppress_health_check=[HealthCheck.filter_too_much])


@half_met
@given(NEEDS, CLUSTERS)
def test_both_legs_are_whole_fit_their_lenders_and_have_none_in_common(wanted: Need, cluster: list[Candidate]) -> None:
    shares = place_pair(wanted, wanted, cluster).shares
    assume(shares)
    known = {c.lender: c for c in cluster}
    legs = {leg: [s for s in shares if s.leg == leg] for leg in (1, 2)}
    assert not {s.lender for s in legs[1]} & {s.lender for s in legs[2]}
    assert len({s.lender for s in shares}) == len(shares)
    for leg, parts in legs.items():
        payload = sum(s.size_bytes - wanted.overhead_bytes for s in parts)
        assert wanted.size_bytes <= payload < wanted.size_bytes + wanted.grain_bytes, leg
    assert all(s.size_bytes <= known[s.lender].committed_bytes for s in legs[1])
    assert all(s.size_bytes <= known[s.lender].free_bytes for s in legs[2])


@given(NEEDS, CLUSTERS)
def test_a_pair_is_found_wherever_there_is_one_and_with_no_lender_too_many(
    wanted: Need, cluster: list[Candidate]
) -> None:
    def carried(chosen: list[Candidate]) -> bool:
        rooms = [wanted.room(c.free_bytes) for c in chosen]
        return sum(rooms) >= wanted.grains and all(rooms) and len(rooms) >= min(wanted.min_lenders, wanted.grains)

    counts = [
        len(first) + len(second)
        for legs in product((0, 1, 2), repeat=len(cluster))
        if carried(first := [c.committed for c, leg in zip(cluster, legs, strict=True) if leg == 1])
        and carried(second := [c for c, leg in zip(cluster, legs, strict=True) if leg == 2])
    ]
    placed = place_pair(wanted, wanted, cluster)
    assert len(placed.shares) == min(counts, default=0), placed.reason


def test_a_pair_is_found_in_a_large_cluster_of_small_lenders() -> None:
    cluster = [lender(f"lender.h{i:02}", 108) for i in range(4 * EXACT_UP_TO)]
    shares = place_pair(need(2000), need(2000), cluster).shares
    assert sum(s.size_bytes - 8 * MIB for s in shares if s.leg == 1) == 2000 * MIB
    assert sum(s.size_bytes - 8 * MIB for s in shares if s.leg == 2) == 2000 * MIB


def test_what_a_lender_refused_is_found_elsewhere_but_not_at_a_lender_of_the_other_leg() -> None:
    cluster = [lender("lender.a", 500), lender("lender.b", 500), lender("lender.c", 200)]
    placed = place_pair(need(0), need(100), cluster, {"lender.a": 1})
    assert [(s.lender, s.leg) for s in placed.shares] == [("lender.b", 2)]
    assert not place_pair(need(0), need(100), cluster[:1], {"lender.a": 1}).shares


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ([lender("lender.a", 50)], "the cluster can lend 40 MiB now"),
        ([lender("lender.a", 500)], "only one set can be had.*by mirror or move instead"),
        (
            [lender("lender.a", 500, 20), lender("lender.b", 500, 40)],
            "only 44 MiB.*committed; borrow by mirror instead",
        ),
        ([], "the cluster can lend 0 MiB now"),
    ],
)
def test_it_says_what_is_missing_and_what_could_be_had_instead(cluster: list[Candidate], said: str) -> None:
    placed = place_pair(need(100), need(100), cluster)
    assert not placed.shares
    assert re.search(said, placed.reason), placed.reason
