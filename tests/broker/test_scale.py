"""A simulated cluster on a real broker: ten times as many hosts take the manager no longer for a request."""

from pathlib import Path

import pytest

from ramshare.linux.run import SystemRunner
from ramshare_lab.experiments.scale import results
from ramshare_lab.experiments.scale.scenario import Plan, cores, measure
from ramshare_lab.show import showing

pytestmark = pytest.mark.broker

RATE = 20.0
GROWTH = 2.5
"""Of the manager's CPU for a request; measured 1.0. One that looked at everybody took 10 times as much."""


@pytest.mark.timeout(400)
def test_three_hundred_hosts_take_the_manager_as_long_for_a_request_as_thirty(tmp_path: Path) -> None:
    with showing() as show:
        sizes = [
            measure(SystemRunner(), tmp_path / str(hosts), Plan(hosts, 1, 5.0, (RATE,), 5.0, restart=hosts == 30), show)
            for hosts in (30, 300)
        ]
    found = results.scale(cores(), sizes, RATE)
    print(f"time per request at 300 hosts against 30: CPU {found.growth_cpu}, median grant {found.growth_p50}")
    assert found.growth_cpu is not None
    assert found.growth_cpu < GROWTH
    for size in sizes:
        assert size.known == size.hosts, "everybody is known when it serves"
        assert size.lent_twice == []
        assert size.dropped == 0
        load = size.at(RATE)
        assert load is not None
        assert load.granted == load.asked
    assert sizes[0].serving_again_s is not None
