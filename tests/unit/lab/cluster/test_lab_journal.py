"""What was written down is undone, newest first, past failures, and nothing else is touched."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare_lab.cluster.journal import MARKER, Entry, Journal, boot_id, marked_processes, start_time
from ramshare_lab.cluster.reaper import owner
from ramshare_lab.cluster.undo import Undo, mounts_below

pytestmark = pytest.mark.unit

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:35 / /run/lab/one/ram rw - ramfs ramfs rw
41 40 0:36 / /run/lab/one/ram/inner\\040dir rw - tmpfs tmpfs rw
42 22 0:37 / /run/lab/onemore rw - tmpfs tmpfs rw
"""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def marked() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of a run called `unit-run`, which forked it away from its parent's knowledge."""
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARKER: "unit-run"}) as process:
        yield process
        process.kill()


def run_entry(run_id: str = "unit-run", boot: str = "") -> Entry:
    return Entry("run", {"id": run_id, "pid": 1, "start": 1, "boot": boot or boot_id()})


def test_entries_come_back_as_written(journal: Journal) -> None:
    journal.record("namespace", name="ramshare-x-switch")
    journal.record("process", pid=7, start=99)
    assert [(e.kind, e.text("name"), e.number("pid")) for e in journal.entries()] == [
        ("namespace", "ramshare-x-switch", 0),
        ("process", "", 7),
    ]


def test_a_half_written_last_line_is_left_out(journal: Journal) -> None:
    journal.record("directory", path="/x")
    with journal.path.open("a") as out:
        out.write('{"kind": "process", "pi')
    assert [entry.kind for entry in journal.entries()] == ["directory"]


def test_a_missing_journal_is_an_empty_one(journal: Journal) -> None:
    assert journal.entries() == []


def test_the_owner_is_the_living_orchestrator_and_no_process_with_a_recycled_pid(journal: Journal) -> None:
    own = os.getpid()
    journal.record("run", id="a", pid=own, start=start_time(own) or 0, boot=boot_id())
    assert owner(journal.entries()) == own
    recycled = [Entry("run", {"id": "a", "pid": own, "start": (start_time(own) or 0) - 1})]
    assert owner(recycled) is None


def test_a_process_is_found_by_the_mark_it_inherited_and_ended(marked: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 5
    while marked_processes("unit-run") != [marked.pid]:
        assert time.monotonic() < deadline
    assert Undo(FakeRunner()).all([run_entry()]) == []
    assert marked.wait(5) == -9


def test_a_process_whose_start_time_differs_is_spared(marked: "subprocess.Popen[bytes]") -> None:
    entry = Entry("process", {"pid": marked.pid, "start": (start_time(marked.pid) or 0) + 1})
    assert Undo(FakeRunner()).all([run_entry("other-run"), entry]) == []
    assert marked.poll() is None


def test_after_another_boot_only_directories_are_left_to_remove(
    tmp_path: Path, marked: "subprocess.Popen[bytes]"
) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    entries = [
        run_entry(boot="another boot"),
        Entry("process", {"pid": marked.pid, "start": start_time(marked.pid) or 0}),
        Entry("directory", {"path": str(directory)}),
    ]
    assert Undo(FakeRunner()).all(entries) == []
    assert marked.poll() is None and not directory.exists()


def test_a_failure_is_reported_does_not_stop_the_rest_and_keeps_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, disks = tmp_path / "state", tmp_path / "disks"
    state.mkdir()
    disks.mkdir()
    (state / "journal.jsonl").write_text(json.dumps({"kind": "run"}))
    monkeypatch.setattr(Undo, "_mounts", _busy)
    entries = [
        run_entry("nobody"),
        Entry("directory", {"path": str(state)}),
        Entry("directory", {"path": str(disks)}),
    ]
    failures = Undo(FakeRunner()).all(entries)
    assert [line.split(" failed")[0] for line in failures] == [
        "unmounting below " + str(disks),
        "unmounting below " + str(state),
        "removing " + str(state),
    ]
    assert state.exists() and not disks.exists()


def _busy(self: Undo, entry: Entry) -> None:
    if entry.kind == "directory":
        raise RuntimeError("target is busy")


def test_mounts_are_found_below_a_directory_and_not_beside_it() -> None:
    assert mounts_below(Path("/run/lab/one"), MOUNTINFO) == [
        Path("/run/lab/one/ram"),
        Path("/run/lab/one/ram/inner dir"),
    ]
    assert mounts_below(Path("/run/lab/two"), MOUNTINFO) == []
