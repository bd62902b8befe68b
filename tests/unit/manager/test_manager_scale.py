"""The manager's own time for a request and for a heartbeat does not grow with the cluster: 300 hosts against 30."""

import pytest

from kit.manager_scale import ScaledManager

pytestmark = pytest.mark.unit

REQUESTS = 60
GROWTH = 2.0
"""Measured 1.1; the manager that looked at everybody for every request and arrival grew with the square: over 50."""


def per_request_s(hosts: int) -> float:
    """The least of three runs: what else the machine does only adds."""
    manager = ScaledManager(hosts)
    runs = []
    for run in range(3):
        manager.busy_s = 0.0
        for number in range(REQUESTS // 3):
            reply = manager.borrow(run * REQUESTS + number)
            assert reply.ok, reply.sentence
        runs.append(manager.busy_s)
    return min(runs) / (REQUESTS // 3)


def per_heartbeat_s(hosts: int) -> float:
    manager = ScaledManager(hosts)
    runs = []
    for _ in range(3):
        manager.busy_s = 0.0
        for number in range(100):
            manager.heartbeat(number)
        runs.append(manager.busy_s)
    return min(runs) / 100


def test_a_request_takes_the_same_at_ten_times_as_many_hosts() -> None:
    assert per_request_s(300) < GROWTH * per_request_s(30)


def test_a_heartbeat_takes_the_same_at_ten_times_as_many_hosts() -> None:
    assert per_heartbeat_s(300) < GROWTH * per_heartbeat_s(30)


def test_everybody_is_known_when_it_serves_and_no_byte_is_lent_twice() -> None:
    manager = ScaledManager(300)
    assert manager.manager.ready
    grants = [grant for number in range(100) for grant in manager.borrow(number).grants]
    assert len({grant.lease for grant in grants}) == 100
    assert len({grant.lender for grant in grants}) == 100, "the one with the most free memory, each time another"
