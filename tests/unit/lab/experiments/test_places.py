"""The volume in many places: which labs that takes, what the goals compare, and what table and chart show."""

from pathlib import Path

import pytest

from ramshare_lab.experiments.demo.scenario import DemoPlan
from ramshare_lab.experiments.places.command import caption, places_chart, places_table
from ramshare_lab.experiments.places.results import Place, Places, goals
from ramshare_lab.experiments.places.scenario import MODES, TARGETS
from ramshare_lab.experiments.results import DiskModel, Four
from ramshare_lab.load.fio import Raw

pytestmark = pytest.mark.unit


def place(name: str, *, read: float, write: float, random_write: float | None = None) -> Place:
    four = Four(sequential_read=read, random_read=read, sequential_write=write, random_write=random_write or write)
    return Place(name=name, swap_mb_s=four)


def places(*found: Place, bad_pages: int = 0) -> Places:
    return Places(
        accel="tcg",
        disk_model=DiskModel(iops=120, bytes_per_s=100_000_000),
        lenders="virtual machines",
        data_size_bytes=256 << 20,
        block_size_bytes=4096,
        seconds=60.0,
        places=found,
        goals=goals(found),
        bad_pages=bad_pages,
    )


MOVE = place("move", read=10.0, write=10.0)


def test_a_goal_counts_its_worst_pattern_and_only_where_both_places_were_measured() -> None:
    assert goals([MOVE]) == ()
    slow = Place(name="nbd", swap_mb_s=MOVE.swap_mb_s.model_copy(update={"random_write": 12.5}))
    (goal,) = goals([MOVE, slow])
    assert goal.reached == pytest.approx(0.8)
    assert not goal.met


def test_a_pair_is_held_against_move_in_reads_and_writes_and_against_the_mirror() -> None:
    pair = place("pair", read=9.5, write=7.5, random_write=7.0)
    mirror = place("mirror", read=9.0, write=2.0, random_write=1.5)
    assert {goal.name: goal.met for goal in goals([MOVE, pair, mirror])} == {
        "pair / move, reads": True,
        "pair / move, writes": True,
        "pair / mirror, random writes": False,
    }


def test_only_the_labs_of_wanted_places_are_built() -> None:
    assert [visit.only(["nbd", "mirror"]).names for visit in MODES] == [("mirror", "nbd")]
    assert [visit.only(["move (LIO)"]).names for visit in TARGETS] == [(), ("move",)]
    assert [visit.only([]).names for visit in MODES] == [visit.names for visit in MODES]


def test_a_lenders_virtual_machine_can_hold_the_whole_volume() -> None:
    from ramshare_lab.experiments.places.scenario import _lab

    spec = _lab(TARGETS[1], DemoPlan(), "t", "tcg")
    assert (spec.target, spec.vm_lender_names) == ("lio", ("hosta",))
    assert spec.lender_bytes > spec.swap_bytes


def test_table_and_chart_show_every_place(tmp_path: Path) -> None:
    raw = Raw(random_read_mb_s=8.0, random_read_latency_us=500.0, sequential_read_mb_s=200.0)
    found = places(MOVE.model_copy(update={"raw": raw}), place("nbd", read=8.0, write=8.0))
    assert list(places_table(found).columns[0].cells) == ["move", "nbd"]
    assert "move / nbd, all patterns: 1.25 (goal 1: met)" in caption(found)
    assert places_chart(found, tmp_path / "modes.png").stat().st_size > 10_000


def test_bad_pages_are_shouted() -> None:
    assert "3 BAD PAGES" in caption(places(MOVE, bad_pages=3))
