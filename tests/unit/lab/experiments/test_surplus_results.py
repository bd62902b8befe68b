"""`results/surplus.json`: what several measurements fill in, what a slowdown is, the table."""

from pathlib import Path

import pytest
from rich.console import Console

from ramshare_lab.experiments.surplus.command import surplus_table
from ramshare_lab.experiments.surplus.results import SurplusResults, SurplusRound, add, load_surplus, noise, slowdown

pytestmark = pytest.mark.unit


def told(alone: float = 100.0, lent: float = 100.0, pages: int = 0) -> SurplusRound:
    return SurplusRound(
        freed_to_offer_s=30.0,
        host_gained_bytes=1 << 28,
        demand_to_memory_s=0.9,
        offer_falls_s=0.1,
        lease_back_s=1.3,
        fill_s=1.9,
        fill_alone_s=1.6,
        swapped_pages=pages,
        lent_rates=(lent, lent * 5, lent / 5),
        alone_rates=(alone, alone * 5, alone / 5),
    )


def test_a_slowdown_is_time_with_lending_over_time_without() -> None:
    assert slowdown([told(100, 80)]) == pytest.approx(0.25)
    assert slowdown([told(100, 100), told(100, 125), told(100, 100)]) == pytest.approx(0.0)


def test_a_machine_that_gets_slower_by_itself_is_no_slowdown_by_lending() -> None:
    rounds = [told(100 - 10 * n, 95 - 10 * n) for n in range(6)]
    assert slowdown(rounds) == pytest.approx(0.0, abs=0.01)


def test_a_slowdown_comes_with_its_standard_error() -> None:
    assert noise([told(100, 100), told(100, 100)]) == 0.0
    assert noise([told(120, 100), told(120, 120), told(120, 100), told(120, 120)]) == pytest.approx(0.0577, abs=1e-3)
    assert noise([told()]) is None


def test_each_measurement_fills_in_its_part_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results" / "surplus.json"
    path.parent.mkdir()
    add(path, SurplusResults(monitor_rss_bytes=29_000_000))
    add(path, SurplusResults(demand_to_memory_s=0.9, guest_swapped_pages=0, guest_slowdown=0.01, rounds=(told(),)))
    merged = load_surplus(path)
    assert (merged.monitor_rss_bytes, merged.guest_swapped_pages, merged.rounds) == (29_000_000, 0, (told(),))


def test_the_table_says_whether_the_target_was_met() -> None:
    console = Console(width=160)
    for slower, verdict in ((0.01, "met"), (0.03, "MISSED")):
        rounds = (told(pages=3), told(pages=7), told(pages=5))
        with console.capture() as captured:
            console.print(surplus_table(SurplusResults(rounds=rounds, guest_slowdown=slower, guest_slowdown_noise=0.1)))
        assert f"target 2: {verdict}" in captured.get()
        (row,) = (line for line in captured.get().splitlines() if "swapped out" in line)
        assert [cell.strip() for cell in row.split("│")[2:4]] == ["5", "7"]
