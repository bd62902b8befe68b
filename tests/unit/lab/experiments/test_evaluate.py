"""The cluster in virtual time: deterministic, nothing lent twice, nobody lends while it is short itself."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.policy.registry import make_policy
from ramshare_lab.experiments.evaluate.ledger import Ledger
from ramshare_lab.experiments.evaluate.migrate import migrate, stay
from ramshare_lab.experiments.evaluate.play import play
from ramshare_lab.experiments.evaluate.report import draw, evaluation, table
from ramshare_lab.experiments.evaluate.rules import GIB, Rule, most_free, rules, slabs_of_the_freest, two_choices
from ramshare_lab.experiments.evaluate.scene import Host, Scene, SceneError, make_scene
from ramshare_lab.policies.trace import HostTrace

pytestmark = pytest.mark.unit

STEP_S = 300


def recorded(hours: float = 12.0, guests: int = 3, seed: int = 0) -> HostTrace:
    """A recorded host whose guests come and go."""
    random = np.random.default_rng(seed)
    at_s = np.arange(0, round(hours * 3600), STEP_S, dtype=np.int64)
    used = np.abs(np.cumsum(random.normal(0, 1, (len(at_s), guests)), axis=0)) * GIB
    return HostTrace(
        "recorded",
        at_s,
        np.arange(0, (len(at_s) + 1) * guests, guests, dtype=np.int64),
        [f"g{number}" for number in range(guests)] * len(at_s),
        np.full(used.size, 64.0 * GIB),
        used.reshape(-1),
    )


def scene(seed: int = 1, hosts: int = 12, in_use: float = 0.5) -> Scene:
    traces = [recorded(seed=number) for number in range(3)]
    return make_scene(traces, hosts=hosts, hours=4, warmup_hours=2, seed=seed, in_use=in_use)


def test_the_same_seed_gives_the_same_figures_and_another_gives_others() -> None:
    def outcomes(seed: int) -> list[object]:
        return [play(scene(seed), rule) for rule in rules(np.random.default_rng(seed))]

    assert outcomes(1) == outcomes(1)
    assert outcomes(1) != outcomes(2)


def test_the_cluster_is_loaded_as_asked() -> None:
    for in_use in (0.3, 0.6):
        assert stay(scene(in_use=in_use)).memory_in_use == pytest.approx(in_use, abs=1e-6)


def test_a_trace_that_is_too_short_is_refused_with_its_length() -> None:
    with pytest.raises(SceneError, match="the longest is 11"):
        make_scene([recorded()], hosts=2, hours=24, warmup_hours=1, seed=1)


def test_hosts_that_use_nothing_cannot_be_loaded() -> None:
    idle = replace(recorded(), guest_used_bytes=np.zeros(3 * len(recorded().at_s)))
    with pytest.raises(SceneError, match="idle"):
        make_scene([idle], hosts=2, hours=4, warmup_hours=1, seed=1)


def test_nobody_lends_more_than_its_policy_allows_or_while_it_is_short_itself() -> None:
    here = scene(in_use=0.6)
    seen: list[tuple[float, float]] = []

    def spying(need_bytes: float, free_bytes: Mapping[str, float]) -> dict[str, float]:
        chosen = most_free(need_bytes, free_bytes)
        seen.extend((size_bytes, free_bytes[lender]) for lender, size_bytes in chosen.items())
        return chosen

    found = play(here, Rule("ramshare", make_policy, spying))
    assert found.loans == len(seen) > 0
    assert all(size_bytes <= free for size_bytes, free in seen)
    assert found.disk_bytes < stay(here).disk_bytes
    assert found.memory_in_use > stay(here).memory_in_use


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["lend", "revoke", "return"]),
            st.sampled_from("abc"),
            st.sampled_from("xyz"),
            st.integers(1, 9),
        )
    )
)
def test_what_is_lent_is_what_is_held_whatever_happens(steps: list[tuple[str, str, str, int]]) -> None:
    ledger = Ledger()
    for at_s, (what, lender, borrower, size_bytes) in enumerate(steps):
        match what:
            case "lend":
                ledger.lend(lender, borrower, size_bytes, at_s)
            case "revoke":
                before = ledger.lent_bytes(lender)
                ledger.revoke(lender, size_bytes, at_s)
                assert ledger.lent_bytes(lender) <= max(0.0, before - size_bytes)
            case "return":
                before = ledger.held_bytes(borrower)
                ledger.give_back(borrower, size_bytes)
                assert before - size_bytes <= ledger.held_bytes(borrower) <= before
        assert sum(map(ledger.lent_bytes, "abc")) == sum(map(ledger.held_bytes, "xyz"))
    assert ledger.tally.early_bytes <= ledger.tally.revoked_bytes <= ledger.tally.lent_bytes


@pytest.mark.parametrize("choose", [most_free, slabs_of_the_freest(GIB), two_choices(np.random.default_rng(1), GIB)])
@given(
    need=st.integers(1, 50 * GIB), free=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 20 * GIB).map(float))
)
def test_no_choice_takes_more_than_a_lender_has(
    choose: Callable[[float, Mapping[str, float]], dict[str, float]], need: int, free: dict[str, float]
) -> None:
    chosen = choose(need, free)
    assert all(0 < size_bytes <= free[lender] for lender, size_bytes in chosen.items())


def pieces(*guests: float, memory: float) -> Host:
    return Host(f"host{memory}", memory, np.array([[guest, guest] for guest in guests], dtype=np.float64))


def test_a_guest_moves_only_to_a_host_that_has_room_for_all_of_it() -> None:
    enough_in_pieces = Scene((pieces(6, 6, memory=8), pieces(4, memory=8), pieces(4, memory=8)), 300, 0, 2)
    assert migrate(enough_in_pieces) == replace(stay(enough_in_pieces), rule="migration")
    fits = Scene((pieces(6, 6, memory=8), pieces(1, memory=8)), 300, 0, 2)
    moved = migrate(fits)
    assert (moved.migrations, moved.disk_bytes) == (1, 0)


def test_results_are_told_and_drawn(tmp_path: Path) -> None:
    here = scene()
    outcomes = [stay(here), migrate(here), *(play(here, rule) for rule in rules(np.random.default_rng(1)))]
    found = evaluation("recorded", 1, here, outcomes, 1.0)
    assert [row.rule for row in found.rows] == ["disk", "migration", "ramshare", "infiniswap", "memtrade"]
    assert found.rows[0].off_disk == 0.0
    assert table(found).row_count == 5
    assert draw(found, tmp_path / "evaluate.png").stat().st_size > 10_000
