"""What a monitor lets go of, and that it still runs afterwards."""

import os
from pathlib import Path

import pytest

from kit.memory_bus import MemoryBroker, MemoryBus
from ramshare.agent import Runtime
from ramshare.linux.footprint import Mapping, clean_files, let_go
from ramshare.monitor.agent import TIDY_EVERY_S, Monitor
from ramshare.settings import HostSettings

pytestmark = pytest.mark.unit

SMAPS = """\
00400000-00500000 r-xp 00000000 08:01 77 /usr/bin/python3
Rss:                 900 kB
Anonymous:             0 kB
00600000-00610000 r--p 00100000 08:01 77 /usr/bin/python3
Rss:                  64 kB
Anonymous:             8 kB
00610000-00620000 rw-p 00110000 08:01 77 /usr/bin/python3
Anonymous:             0 kB
01000000-02000000 r--p 00000000 00:00 0 [heap]
Anonymous:             0 kB
7f0000000000-7f0000002000 r--p 00000000 08:01 78 /usr/lib/libc.so.6
Anonymous:             0 kB
"""


def test_only_file_pages_that_nobody_wrote_or_may_write_are_let_go() -> None:
    assert list(clean_files(SMAPS.splitlines())) == [Mapping(0x400000, 0x100000), Mapping(0x7F0000000000, 0x2000)]


def test_a_process_goes_on_after_it_let_go() -> None:
    before = os.getpid()
    assert let_go() > 0
    assert os.getpid() == before
    assert sorted(str(n) for n in range(12))[2] == "10"


def test_where_there_are_no_maps_nothing_is_let_go(tmp_path: Path) -> None:
    assert let_go(tmp_path) == 0


def test_a_monitor_tidies_up_after_its_second_report_and_then_seldom() -> None:
    now_s, tidied = [1000.0], []
    runtime = Runtime(lambda: now_s[0])
    bus = MemoryBus(MemoryBroker(), "guest.web1")
    bus.connect()
    monitor = Monitor(bus, HostSettings(host="web1"), tidy=lambda: tidied.append(now_s[0]), runtime=runtime)
    for _ in range(int(TIDY_EVERY_S / 5) + 3):
        monitor.tick()
        now_s[0] += 5.0
    assert tidied == [1005.0, 1005.0 + TIDY_EVERY_S]
