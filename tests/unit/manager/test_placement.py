"""Who lends how much: every share fits, the need is met exactly, no lender too many, and always the same answer."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ramshare.manager.placement import MAX_LENDERS, Candidate, Need, lendable_bytes, place

pytestmark = pytest.mark.unit

MIB = 1 << 20

NEEDS = st.builds(
    Need,
    size_bytes=st.integers(1, 6000 * MIB),
    grain_bytes=st.sampled_from([1, 4096, 4 * MIB, 4 * MIB, 64 * MIB]),
    overhead_bytes=st.sampled_from([0, 0, 4 * MIB, 4 * MIB + 1, 70 * MIB]),
    min_lenders=st.integers(1, 5),
)
CLUSTERS = st.lists(st.integers(0, 3000 * MIB), max_size=7).map(
    lambda sizes: [Candidate(f"lender.h{i}", size) for i, size in enumerate(sizes)]
)


def payload_rooms(need: Need, cluster: list[Candidate]) -> dict[str, int]:
    """What each lender could carry, as payload bytes, computed the plain way."""
    return {
        c.lender: max(0, c.free_bytes - need.overhead_bytes) // need.grain_bytes * need.grain_bytes for c in cluster
    }


def test_less_will_do_where_that_was_said() -> None:
    cluster = [Candidate("lender.a", 20 * MIB), Candidate("lender.b", 12 * MIB)]
    need = Need(size_bytes=100 * MIB, grain_bytes=4 * MIB, overhead_bytes=4 * MIB)
    assert not place(need, cluster).shares
    shares = place(replace(need, at_most=True), cluster).shares
    assert {share.lender: share.size_bytes for share in shares} == {"lender.a": 20 * MIB, "lender.b": 12 * MIB}
    small = replace(need, size_bytes=8 * MIB, at_most=True)
    assert [share.size_bytes for share in place(small, cluster).shares] == [12 * MIB]
    assert not place(replace(need, at_most=True), []).shares


half_met = settings(suppress_health_check=[HealthCheck.filter_too_much])
"""Clusters that can serve and clusters that cannot are both wanted; each test passes the other kind over."""


@half_met
@given(NEEDS, CLUSTERS)
def test_every_share_fits_its_lender_and_the_payloads_cover_the_need_exactly(
    need: Need, cluster: list[Candidate]
) -> None:
    placement = place(need, cluster)
    assume(placement.shares)
    free = {c.lender: c.free_bytes for c in cluster}
    payloads = [share.size_bytes - need.overhead_bytes for share in placement.shares]
    assert all(share.size_bytes <= free[share.lender] for share in placement.shares)
    assert all(payload > 0 and payload % need.grain_bytes == 0 for payload in payloads)
    assert need.size_bytes <= sum(payloads) < need.size_bytes + need.grain_bytes
    assert len({share.lender for share in placement.shares}) == len(placement.shares)


@half_met
@given(NEEDS, CLUSTERS)
def test_no_smaller_set_of_lenders_could_have_served(need: Need, cluster: list[Candidate]) -> None:
    placement = place(need, cluster)
    assume(placement.shares)
    grains = -(-need.size_bytes // need.grain_bytes)
    wanted = min(need.min_lenders, grains)
    assert len(placement.shares) >= wanted
    rooms = payload_rooms(need, cluster)
    for fewer in range(wanted, len(placement.shares)):
        for some in combinations(rooms, fewer):
            able = all(rooms[c] for c in some) and sum(rooms[c] for c in some) >= grains * need.grain_bytes
            assert not able, f"{some} would have been enough"


@half_met
@given(NEEDS, CLUSTERS)
def test_a_request_is_refused_only_if_it_cannot_be_met_and_says_how_much_could(
    need: Need, cluster: list[Candidate]
) -> None:
    placement = place(need, cluster)
    assume(not placement.shares)
    rooms = [room for room in payload_rooms(need, cluster).values() if room]
    grains = -(-need.size_bytes // need.grain_bytes)
    assert len(rooms) < min(need.min_lenders, grains) or sum(rooms) < need.size_bytes
    assert placement.reason
    if len(rooms) >= min(need.min_lenders, grains):
        assert f"{sum(rooms) // MIB} MiB" in placement.reason


@given(NEEDS, CLUSTERS)
def test_what_it_says_could_be_lent_can_be_lent(need: Need, cluster: list[Candidate]) -> None:
    able = lendable_bytes(need, cluster)
    assume(able > 0)
    assert place(Need(able, need.grain_bytes, need.overhead_bytes), cluster).shares
    assert not place(Need(able + 1, need.grain_bytes, need.overhead_bytes), cluster).shares


@given(NEEDS, CLUSTERS, st.randoms(use_true_random=False))
def test_the_order_in_which_lenders_were_heard_does_not_matter(
    need: Need, cluster: list[Candidate], random: object
) -> None:
    shuffled = sorted(cluster, key=lambda c: c.lender, reverse=True)
    assert place(need, shuffled) == place(need, cluster)


def test_two_hosts_with_one_gigabyte_each_serve_a_guest_that_needs_two() -> None:
    placement = place(Need(2000 * MIB, 4 * MIB), [Candidate("lender.a", 1024 * MIB), Candidate("lender.b", 1024 * MIB)])
    assert {share.lender for share in placement.shares} == {"lender.a", "lender.b"}


def test_bytes_are_divided_in_proportion_to_what_is_free() -> None:
    placement = place(
        Need(900 * MIB, 4 * MIB, min_lenders=2), [Candidate("lender.a", 2000 * MIB), Candidate("lender.b", 1000 * MIB)]
    )
    assert {share.lender: share.size_bytes for share in placement.shares} == {
        "lender.a": 600 * MIB,
        "lender.b": 300 * MIB,
    }


def test_no_more_lenders_are_taken_than_one_reply_can_carry() -> None:
    crowd = [Candidate(f"lender.h{i}", 10 * MIB) for i in range(100)]
    assert len(place(Need(10 * MIB * MAX_LENDERS, MIB), crowd).shares) == MAX_LENDERS
    assert not place(Need(10 * MIB * MAX_LENDERS + 1, MIB), crowd).shares


def test_a_spread_that_nobody_can_give_is_refused_by_name() -> None:
    placement = place(Need(100 * MIB, 4 * MIB, min_lenders=3), [Candidate("lender.a", 500 * MIB)])
    assert "at least 3 lenders" in placement.reason
