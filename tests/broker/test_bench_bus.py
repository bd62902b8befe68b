"""The bus's benchmark on a real broker: it runs, and TCP_NODELAY is what makes the difference."""

from pathlib import Path

import pytest

from ramshare.linux.run import SystemRunner
from ramshare_lab.experiments.bus.scenario import TARGET_MS, as_json, measure

pytestmark = pytest.mark.broker


def test_a_request_takes_less_than_the_target_and_far_less_than_without_nodelay(tmp_path: Path) -> None:
    results = measure(SystemRunner(), tmp_path, rounds=200)
    told = as_json(results)
    assert told["met"], told
    cases = {row.case: row for row in results}
    assert cases["ramshare bus"].p50_ms < TARGET_MS
    assert cases["bare paho, no TCP_NODELAY anywhere"].p50_ms > 4 * cases["ramshare bus"].p50_ms
