"""What `ramshare lab guest` and `ramshare lab paper` show and write, also of a run that was broken off."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from ramshare.messages.state import Mode
from ramshare_lab.experiments.guest.command import guest_table
from ramshare_lab.experiments.guest.scenario import GuestRun, Passage, Stay
from ramshare_lab.experiments.paper.command import paper_table, write_paper
from ramshare_lab.experiments.paper.plan import FIGURE2_BLOCKS, plan
from ramshare_lab.experiments.paper.results import Paper, merge
from ramshare_lab.experiments.results import DiskModel
from ramshare_lab.experiments.sweeps import Key, Session
from ramshare_lab.load.thrash_lines import Pattern, Result

pytestmark = pytest.mark.unit

MIB = 1024 * 1024
SWEEP = plan(100 * MIB, 500 * MIB)


def result(mb_s: float) -> Result:
    figures = {"operations": 1, "bytes": 1, "seconds": 1.0, "bad_pages": 0, "bad_pages_total": 0, "sigbus": 0}
    return Result(command="x", mb_s=mb_s, stall_s=0.0, block_bytes=1, **figures)


def measured(sessions: tuple[Session, ...], mb_s: float) -> dict[Key, Result]:
    return {(s.data_bytes, p.block_bytes, p.pattern): result(mb_s) for s in sessions for p in s.points}


def paper(remote: tuple[Session, ...]) -> Paper:
    """What a run leaves that has measured everything locally and these sessions remotely."""
    local = measured(SWEEP.sessions, 2.0)
    disk = DiskModel(iops=120, bytes_per_s=100_000_000)
    there = measured(remote, 9.0)
    return merge(SWEEP, local, there, accel="tcg", disk_model=disk, mode="move", bad_pages=0)


def shown(table: object) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_a_run_broken_off_on_the_local_disk_writes_nothing(tmp_path: Path) -> None:
    assert write_paper(paper(()), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_broken_off_on_remote_memory_keeps_what_was_measured_in_both_places(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = write_paper(paper((SWEEP.figure2,)), tmp_path)
    assert [path.name for path in written] == ["paper.json", "figure2.png", "figure3.png"]
    saved = json.loads((tmp_path / "paper.json").read_text())
    assert len(saved["figure2"]) == len(FIGURE2_BLOCKS)
    assert len(saved["figure3"]) == 1, "the size that both figures share"
    assert saved["figure3"][0]["ratio"]["random_read"] == 4.5


def test_the_papers_table_has_a_row_for_each_point() -> None:
    complete = paper(SWEEP.sessions)
    text = shown(paper_table(complete, "Figure 3", complete.figure3))
    assert text.count("4.5×") == len(complete.figure3) * len(Pattern)
    assert "no page lost" in text


@pytest.mark.parametrize(
    ("boot_ids", "bad_pages", "told"),
    [(("a",), 0, "never restarted"), (("a", "b"), 0, "RESTARTED"), (("a",), 3, "3 BAD PAGES")],
)
def test_the_guests_table_says_what_went_wrong(boot_ids: tuple[str, ...], bad_pages: int, told: str) -> None:
    passage = Passage(seconds=20.0, accesses=900, stall_s=0.4, bad_pages=bad_pages)
    stay = Stay(
        out=passage,
        home=passage,
        placement=("lender.hosta /dev/sda 1",),
        remote_bytes=1,
        read_from_leases_bytes=2_300_000,
        random_read_mb_s=1.0,
    )
    run = GuestRun(
        accel="tcg",
        guest_memory_bytes=1,
        data_size_bytes=1,
        boot_s=1.0,
        boot_ids=boot_ids,
        uptime_s=99.0,
        longest_gap_s=2.0,
        local_random_read_mb_s=1.0,
        stays={Mode.MOVE: stay},
        bad_pages=bad_pages,
    )
    text = shown(guest_table(run))
    assert told in text
    assert "2.3 MB" in text
