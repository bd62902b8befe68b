"""The plan of `make paper`, what becomes of its measurements, and its two charts."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.errors import RamshareError
from ramshare_lab.experiments.paper.charts import block_chart, data_chart
from ramshare_lab.experiments.paper.plan import (
    FIGURE2_BLOCKS,
    PAPER_FIGURE3_DATA_MB,
    SWAP_FILL,
    Plan,
    estimated_s,
    plan,
)
from ramshare_lab.experiments.paper.results import Paper, merge
from ramshare_lab.experiments.paper.scenario import PaperPlan, describe, meminfo_bytes, minutes
from ramshare_lab.experiments.results import DiskModel, ResultsError, to_json
from ramshare_lab.experiments.sweeps import ORDER, Key, Point, measure, measure_patterns
from ramshare_lab.load.thrash import Thrash
from ramshare_lab.load.thrash_lines import Pattern, Result

pytestmark = pytest.mark.unit

MIB = 1 << 20
LAB = plan(256 * MIB, 640 * MIB)


def result(mb_s: float) -> Result:
    return Result.model_validate(
        dict.fromkeys(("operations", "bytes", "bad_pages", "bad_pages_total", "sigbus", "stall_s", "block_bytes"), 0)
        | {"command": "run", "seconds": 1, "mb_s": mb_s}
    )


def measured(what: Plan, mb_s: float) -> dict[Key, Result]:
    return {
        (session.data_bytes, point.block_bytes, point.pattern): result(mb_s)
        for session in what.sessions
        for point in session.points
    }


def merged(local: dict[Key, Result], remote: dict[Key, Result]) -> Paper:
    disk = DiskModel(iops=120, bytes_per_s=100_000_000)
    return merge(LAB, local, remote, accel="tcg", disk_model=disk, mode="move", bad_pages=0)


def test_the_lab_gets_the_papers_ratios_of_data_to_usable_ram() -> None:
    assert LAB.figure2.data_bytes / (256 * MIB) == pytest.approx(1024 / 900, rel=1e-3)
    ratios = [session.data_bytes / (256 * MIB) for session in LAB.figure3]
    assert ratios == pytest.approx([size / 900 for size in (512, 768, 1024, 1536, 2048)], rel=1e-3)


def test_a_machine_with_more_swap_gets_the_papers_largest_sizes_too() -> None:
    assert len(plan(256 * MIB, 1200 * MIB).figure3) == 7


def test_the_point_that_both_figures_share_is_measured_once() -> None:
    assert len(LAB.sessions) == 5
    assert len({session.data_bytes for session in LAB.sessions}) == 5


def test_reads_come_before_writes_and_sequential_ones_before_random_ones() -> None:
    patterns = [point.pattern for point in LAB.figure2.points]
    assert patterns == sorted(patterns, key=ORDER.index)
    assert ORDER == (Pattern.SEQUENTIAL_READ, Pattern.RANDOM_READ, Pattern.SEQUENTIAL_WRITE, Pattern.RANDOM_WRITE)
    assert len(patterns) == 4 * len(FIGURE2_BLOCKS)


def test_one_place_takes_minutes_not_hours() -> None:
    assert 120 < estimated_s(LAB, init_mb_s=23) < 360


@given(st.integers(64 * MIB, 1 << 40), st.integers(0, 1 << 42))
def test_no_plan_asks_for_more_than_fits(usable_ram_bytes: int, swap_bytes: int) -> None:
    try:
        made = plan(usable_ram_bytes, swap_bytes)
    except RamshareError as refused:
        assert "too few" in refused.message
        return
    for session in made.sessions:
        assert session.data_bytes <= usable_ram_bytes + swap_bytes * SWAP_FILL
        assert session.data_bytes % 4096 == 0


def test_too_little_swap_is_refused_and_says_how_much_would_do() -> None:
    with pytest.raises(RamshareError, match="give it"):
        plan(256 * MIB, 1 * MIB)


def test_points_are_measured_in_order_on_a_real_array() -> None:
    points = [Point(64, Pattern.SEQUENTIAL_READ), Point(4096, Pattern.RANDOM_WRITE)]
    seen: list[Point] = []
    with Thrash.local(MIB) as thrash:
        thrash.init()
        got = measure(thrash, points, 0.01, on_point=lambda point, _: seen.append(point))
        four = measure_patterns(thrash, 1024, 0.01)
    assert seen == points
    assert list(got) == [(MIB, 64, Pattern.SEQUENTIAL_READ), (MIB, 4096, Pattern.RANDOM_WRITE)]
    assert tuple(four) == ORDER and all(one.mb_s > 0 for one in four.values())


def test_ratios_are_remote_over_local_at_every_point() -> None:
    paper = merged(measured(LAB, 2.0), measured(LAB, 9.0))
    assert [point.block_size_bytes for point in paper.figure2] == list(FIGURE2_BLOCKS)
    assert [point.data_size_bytes for point in paper.figure3] == [session.data_bytes for session in LAB.figure3]
    assert {point.ratio.of(pattern) for point in paper.figure2 + paper.figure3 for pattern in Pattern} == {4.5}
    assert json.loads(to_json(paper))["figure3"][0]["remote_mb_s"]["random_read"] == 9.0


def test_points_that_an_interrupted_run_left_out_are_left_out_of_the_figures() -> None:
    remote = measured(LAB, 9.0)
    del remote[LAB.figure3[-1].data_bytes, 1024, Pattern.RANDOM_WRITE]
    assert len(merged(measured(LAB, 2.0), remote).figure3) == len(LAB.figure3) - 1


def test_both_charts_are_drawn_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    paper = merged(measured(LAB, 2.0), measured(LAB, 9.0))
    for draw, name in ((block_chart, "figure2.png"), (data_chart, "figure3.png")):
        assert draw(paper, tmp_path / name).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ResultsError, match="no point"):
        block_chart(merged({}, {}), tmp_path / "none.png")


def test_sizes_are_read_from_meminfo_and_from_a_processs_status() -> None:
    assert meminfo_bytes("MemTotal:  272000 kB\nHugePages_Total:       0\n", "MemTotal") == 272000 * 1024
    assert meminfo_bytes("Name:\tthrash\nGroups:\t \nRssAnon:\t  160 kB\n", "RssAnon") == 160 * 1024
    with pytest.raises(KeyError):
        meminfo_bytes("MemTotal: 1 kB\n", "RssAnon")


def test_the_papers_plan_holds_its_largest_ratio_and_a_quarter_of_an_hour() -> None:
    sweep = PaperPlan().sweep(150 * MIB)
    assert len(sweep.figure3) == len(PAPER_FIGURE3_DATA_MB)
    assert 8 < minutes(sweep) < 15
    assert "2 × 56 points" in describe(sweep)
