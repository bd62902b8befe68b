"""Guests of whom no hypervisor tells: their owner says how large they are, and nothing that they say adds to that."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.lender.guests.by_hand import Parts, believable, divide, unknown
from ramshare.policy.intake import HostIntake, View
from ramshare.policy.model import GuestSample, HostSample

pytestmark = pytest.mark.unit

GIB = float(1 << 30)
NOW_S = 1_700_000_000.0
SIZES = {"web1": int(2 * GIB), "web2": int(1 * GIB), "old": None}
HONEST = GuestSample("web1", NOW_S, 2 * GIB, 1 * GIB)


def view_of(parts: Parts) -> View:
    expected = frozenset(guest.guest for guest in parts.guests)
    sample = HostSample("a", NOW_S, parts.capacity_bytes, parts.used_bytes, parts.guests, expected)
    return HostIntake().read(sample)


def read(*said: GuestSample, before: float = 0.0) -> View:
    return view_of(divide(8 * GIB, 3 * GIB, (), said, SIZES, NOW_S, {"web1": before}))


ALL = (HONEST, replace(HONEST, guest="web2", capacity_bytes=GIB, used_bytes=0.5 * GIB))


def test_host_and_guests_add_up_to_what_the_host_shows() -> None:
    assert (read(*ALL).capacity_bytes, read(*ALL).free_bytes) == (8 * GIB, 5 * GIB)


@pytest.mark.parametrize(
    "lie",
    [
        {"capacity_bytes": float(1 << 50), "used_bytes": 0.0},
        {"used_bytes": 0.0},
        {"used_bytes": 2 * GIB},
        {"capacity_bytes": 1.0, "used_bytes": 1.0},
    ],
)
def test_no_claim_inside_its_size_changes_what_the_host_has_free(lie: dict[str, float]) -> None:
    view = read(replace(HONEST, **lie), ALL[1])  # type: ignore[arg-type]
    assert (view.capacity_bytes, view.free_bytes) == (8 * GIB, 5 * GIB)


@pytest.mark.parametrize("lie", [{"used_bytes": float(1 << 50)}, {"used_bytes": 2 * GIB + 1}, {"at_s": NOW_S - 3600}])
def test_what_cannot_be_and_silence_cost_the_guests_own_size_and_no_more(lie: dict[str, float]) -> None:
    for said in ((replace(HONEST, **lie), ALL[1]), (ALL[1],)):  # type: ignore[arg-type]
        view = read(*said)
        assert (view.capacity_bytes, view.free_bytes) == (8 * GIB, 3 * GIB)
        view = read(*said, before=GIB)
        assert (view.free_bytes, view.demand_bytes) == (4 * GIB, 2 * GIB), "what it used is not counted twice"


def test_only_believable_reports_say_what_a_guest_used() -> None:
    said = (replace(HONEST, used_bytes=3 * GIB), ALL[1], replace(HONEST, guest="old"))
    assert believable(said, SIZES, NOW_S) == {"web2": 0.5 * GIB}


def test_a_guest_of_unknown_size_lets_nothing_of_it_be_lent_and_is_named() -> None:
    claim = GuestSample("old", NOW_S, 100 * GIB, 0.0)
    assert read(*ALL, claim).free_bytes == 5 * GIB
    assert unknown(SIZES, ()).keys() == {"old"}
    assert unknown(SIZES, ("old",)) == {}, "the hypervisor tells"


def test_what_the_hypervisor_says_of_a_guest_goes_before_the_settings() -> None:
    seen = GuestSample("web1", NOW_S, 4 * GIB, 1 * GIB)
    parts = divide(8 * GIB, 1 * GIB, (seen,), (), SIZES, NOW_S)
    assert [guest.capacity_bytes for guest in parts.guests] == [4 * GIB, 1 * GIB]


amounts = st.floats() | st.floats(0, 1 << 51) | st.integers(0, 10).map(lambda n: n * GIB)
claims = st.builds(
    GuestSample,
    guest=st.sampled_from(["web1", "web2", "old", "stranger"]),
    at_s=st.floats(NOW_S - 100, NOW_S + 100) | st.just(0.0),
    capacity_bytes=amounts,
    used_bytes=amounts,
    psi_some=st.none() | st.floats(0, 100),
)
sizes = st.fixed_dictionaries({name: st.none() | st.integers(1, 6 << 30) for name in ("web1", "web2", "old")})


@given(
    said=st.lists(claims, max_size=5),
    sizes=sizes,
    total=st.integers(1, 16),
    used=st.floats(0, 1),
    before=st.dictionaries(st.sampled_from(["web1", "web2"]), st.floats(0, 1 << 51)),
)
def test_nothing_that_guests_say_adds_to_what_is_free_or_takes_more_than_their_sizes(
    said: list[GuestSample], sizes: dict[str, int | None], total: int, used: float, before: dict[str, float]
) -> None:
    total_bytes, used_bytes = total * GIB, used * total * GIB
    view = view_of(divide(total_bytes, used_bytes, (), said, sizes, NOW_S, before))
    told = float(sum(size or 0 for size in sizes.values()))
    assert view.free_bytes <= max(0.0, total_bytes - used_bytes) + max(0.0, told - total_bytes) + 1
    assert view.free_bytes >= min(total_bytes - used_bytes, max(total_bytes, told) - used_bytes - told) - 1
    assert view.capacity_bytes == pytest.approx(max(total_bytes, told))
