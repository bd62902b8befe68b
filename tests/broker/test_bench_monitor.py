"""The monitor's cost, measured on a real process and a real broker."""

from pathlib import Path

import pytest

from ramshare.linux.run import SystemRunner
from ramshare_lab.experiments.monitor.scenario import MonitorSilentError, measure
from ramshare_lab.experiments.results import ResultsError
from ramshare_lab.experiments.surplus.results import SurplusResults, add, load_surplus

pytestmark = pytest.mark.broker


def test_a_monitor_is_small_and_idle(tmp_path: Path) -> None:
    found = measure(SystemRunner(), tmp_path, seconds=4.0, interval_s=0.5)
    assert (found.monitor_reports or 0) >= 5
    assert 10_000_000 < (found.monitor_rss_bytes or 0) < 40_000_000  # generous: another Python, code not compiled yet
    assert 0.0 <= (found.monitor_cpu_share or 0.0) < 0.1


def test_a_silent_monitor_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(MonitorSilentError):
        measure(SystemRunner(), tmp_path, seconds=1.0, interval_s=1.0, patience_s=-2.5)


def test_measurements_add_up_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "surplus.json"
    add(path, SurplusResults(monitor_rss_bytes=1, guest_swapped_pages=0))
    add(path, SurplusResults(monitor_rss_bytes=2, guest_slowdown=0.01))
    assert load_surplus(path) == SurplusResults(monitor_rss_bytes=2, guest_swapped_pages=0, guest_slowdown=0.01)
    path.write_text("[")
    with pytest.raises(ResultsError):
        add(path, SurplusResults())
