"""What a move is held against."""

import pytest

from ramshare_lab.experiments.moves.command import moves_table
from ramshare_lab.experiments.moves.results import Floor, Moves, Trip, series

pytestmark = pytest.mark.unit

FLOOR = Floor(disk_read_mb_s=100.0, disk_write_mb_s=80.0, lease_read_mb_s=200.0)


def trip(move_s: float) -> Trip:
    return Trip(move_s=move_s, whole_s=move_s + 4, stall_s=0.5)


def test_a_move_takes_at_least_what_the_slower_disk_takes_in_order() -> None:
    assert FLOOR.least_s("out", 400_000_000) == 4.0
    assert FLOOR.least_s("home", 400_000_000) == 5.0
    assert Floor(disk_read_mb_s=500, disk_write_mb_s=500, lease_read_mb_s=50).least_s("home", 400_000_000) == 8.0


def test_the_median_is_held_against_the_goal() -> None:
    assert series("home", "idle", [trip(6.4), trip(9.0), trip(5.0)], 5.0).met
    missed = series("home", "idle", [trip(6.6), trip(6.6), trip(1.0)], 5.0)
    assert missed.ratio == pytest.approx(1.32)
    assert not missed.met


def test_the_table_has_a_row_for_each_way_and_load() -> None:
    rows = tuple(series(way, "idle", [trip(6.0)], 5.0) for way in ("out", "home"))
    measured = Moves(accel="tcg", size_bytes=4 << 20, disk_iops=120, floor=FLOOR, bad_pages=0, series=rows)
    assert moves_table(measured).row_count == 2
