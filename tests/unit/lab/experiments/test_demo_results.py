"""The demo's results: the JSON's shape, the ratios, the table, the charts."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ramshare_lab.experiments.demo.chart import demo_chart
from ramshare_lab.experiments.demo.results import Demo, Lease, ModeTimes, Throughput, demo
from ramshare_lab.experiments.demo.table import COSTS_AND_PROTECTS, table
from ramshare_lab.experiments.results import DiskModel, Four, Mode, ResultsError, rates, ratio, save
from ramshare_lab.load.fio import Raw
from ramshare_lab.load.thrash_lines import Pattern, Result

pytestmark = pytest.mark.unit

LOCAL = Four(sequential_read=3.3, sequential_write=3, random_read=0.8, random_write=0.7)
MOVE = Four(sequential_read=14, sequential_write=9, random_read=6.8, random_write=5.6)
PAIR = Four(sequential_read=12, sequential_write=8, random_read=6.5, random_write=5)
MIRROR = Four(sequential_read=22, sequential_write=3, random_read=9.9, random_write=0.9)
CEILING = Four(sequential_read=70, sequential_write=45, random_read=112, random_write=56)


def results(*, safe: bool = False, bad_pages: int = 0) -> Demo:
    modes: dict[Mode, ModeTimes] = {"move": ModeTimes(attach_s=31.25, return_s=44)}
    if safe:
        modes["mirror"] = ModeTimes(attach_s=35, return_s=0.8)
        modes["pair"] = ModeTimes(attach_s=40, return_s=30)
    return demo(
        accel="tcg",
        disk_model=DiskModel(iops=120, bytes_per_s=100_000_000),
        data_size_bytes=400 << 20,
        block_size_bytes=4096,
        throughput=Throughput(
            local=LOCAL, move=MOVE, ceiling=CEILING, pair=PAIR if safe else None, mirror=MIRROR if safe else None
        ),
        raw=Raw(random_read_mb_s=7.7, random_read_latency_us=512.123456, sequential_read_mb_s=88),
        leases=[Lease(lender="lender.hosta", bytes=320 << 20), Lease(lender="lender.hostb", bytes=320 << 20)],
        modes=modes,
        bad_pages=bad_pages,
        secrets_found=[],
    )


def run(pattern: Pattern, mb_s: float) -> Result:
    return Result(
        command=pattern,
        operations=1,
        bytes=4096,
        seconds=1,
        mb_s=mb_s,
        bad_pages=0,
        secrets_found=[],
        bad_pages_total=0,
        sigbus=0,
        stall_s=0,
        block_bytes=4096,
    )


def rendered(shown: Demo, width: int) -> str:
    written = io.StringIO()
    Console(width=width, file=written).print(table(shown))
    return written.getvalue()


def test_the_json_has_every_field_that_scripts_rely_on(tmp_path: Path) -> None:
    save(results(), tmp_path / "results" / "demo.json")
    saved = json.loads((tmp_path / "results" / "demo.json").read_text())
    assert set(saved) == {
        "accel", "disk_model", "data_size_bytes", "block_size_bytes", "throughput_mb_s", "speedup", "efficiency",
        "raw", "leases", "attach_s", "return_s", "modes", "bad_pages", "secrets_found",
    }  # fmt: skip
    four = {"sequential_read", "sequential_write", "random_read", "random_write"}
    assert {place: set(values) for place, values in saved["throughput_mb_s"].items()} == dict.fromkeys(
        ("local", "move", "ceiling"), four
    )
    assert saved["speedup"]["move"] == pytest.approx(
        {"sequential_read": 4.2424, "sequential_write": 3, "random_read": 8.5, "random_write": 8}
    )
    assert saved["efficiency"]["move"]["sequential_write"] == pytest.approx(0.2)
    assert saved["raw"]["random_read_latency_us"] == 512.12
    assert saved["leases"][1] == {"lender": "lender.hostb", "bytes": 335544320}
    assert (saved["attach_s"], saved["return_s"], saved["bad_pages"]) == (31.25, 44.0, 0)
    assert "mirror" not in json.dumps(saved)


def test_the_mirror_stands_beside_the_move_in_the_same_shape() -> None:
    both = results(safe=True)
    assert both.speedup.mirror is not None and both.efficiency.mirror is not None
    assert both.speedup.mirror.random_read == pytest.approx(9.9 / 0.8)
    assert both.efficiency.mirror.random_read == pytest.approx(9.9 / 112)
    assert (both.attach_s, both.modes["mirror"].attach_s) == (31.25, 35)


def test_what_was_saved_says_the_same_when_it_is_read(tmp_path: Path) -> None:
    save(results(safe=True), tmp_path / "demo.json")
    read = Demo.model_validate_json((tmp_path / "demo.json").read_text())
    assert read.throughput_mb_s.mirror == MIRROR and read.leases == results().leases


def test_rates_need_all_four_patterns_and_work_done_in_each() -> None:
    full = {pattern: run(pattern, 2.5) for pattern in Pattern}
    assert rates(full) == Four(sequential_read=2.5, sequential_write=2.5, random_read=2.5, random_write=2.5)
    with pytest.raises(ResultsError, match="nothing was finished in random_read"):
        rates({**full, Pattern.RANDOM_READ: run(Pattern.RANDOM_READ, 0)})
    del full[Pattern.SEQUENTIAL_WRITE]
    with pytest.raises(ResultsError, match="not measured: sequential_write"):
        rates(full)


def test_rates_and_times_of_different_modes_do_not_make_results() -> None:
    with pytest.raises(ResultsError, match=r"rates of .* but times of"):
        demo(
            accel="kvm",
            disk_model=DiskModel(iops=120, bytes_per_s=1),
            data_size_bytes=1,
            block_size_bytes=1,
            throughput=Throughput(local=LOCAL, move=MOVE, ceiling=CEILING, mirror=MIRROR),
            raw=Raw(random_read_mb_s=1, random_read_latency_us=1, sequential_read_mb_s=1),
            leases=[Lease(lender="lender.hosta", bytes=1)],
            modes={"move": ModeTimes(attach_s=1, return_s=1)},
            bad_pages=0,
            secrets_found=[],
        )


rate = st.floats(min_value=1e-3, max_value=1e5)
fours = st.builds(Four, sequential_read=rate, sequential_write=rate, random_read=rate, random_write=rate)


@given(fours, fours)
def test_a_ratio_times_its_base_is_the_figure(above: Four, below: Four) -> None:
    ratios = ratio(above, below)
    for pattern in Pattern:
        assert ratios.of(pattern) * below.of(pattern) == pytest.approx(above.of(pattern))


def test_the_table_shows_places_by_pattern_with_the_speedup() -> None:
    lines = rendered(results(safe=True), 120).splitlines()
    assert next(x for x in lines if "pair" in x).split()[3:] == [
        "12",
        "(3.6×)",
        "8",
        "(2.7×)",
        "6.5",
        "(8.1×)",
        "5",
        "(7.1×)",
    ]
    places = [x.split("  ")[1] for x in lines if "×)" in x]
    assert places == ["remote memory: move", "remote memory: pair", "remote memory: mirror"]
    assert "no page lost" in " ".join(lines)


def test_the_table_says_what_each_mode_costs_and_protects_where_all_were_measured() -> None:
    assert COSTS_AND_PROTECTS in " ".join(rendered(results(safe=True), 200).split())
    assert COSTS_AND_PROTECTS[:20] not in rendered(results(), 200)


def test_bad_pages_cannot_be_overlooked() -> None:
    assert "3 BAD PAGES" in rendered(results(bad_pages=3), 100)


@pytest.mark.parametrize("safe", [False, True])
def test_the_chart_is_a_png_of_a_readable_size(tmp_path: Path, safe: bool) -> None:
    data = demo_chart(results(safe=safe), tmp_path / "made" / "demo.png").read_bytes()
    assert data.startswith(b"\x89PNG") and int.from_bytes(data[16:20], "big") >= 1200
