"""The lab's operator: what it knows of a cluster, also after the broker was away."""

import pytest

from kit.cli_world import CliWorld, export, lease, offer
from kit.memory_bus import MemoryBus
from ramshare_lab.cluster.operator import Operator

pytestmark = pytest.mark.unit
SOON_S = 5.0


def test_it_forgets_what_the_broker_forgot_and_nobody_says_again() -> None:
    world = CliWorld()
    world.lender(offer("hosta")).tell("export/l1", export())
    world.lender(offer("hostb"))
    world.borrower("hostc").tell("lease/l1", lease())
    with Operator(MemoryBus(world.broker, "cli.lab"), "borrower.hostc") as operator:
        assert operator.until(lambda: operator.retained.settled, SOON_S)
        assert [found.lease for found in operator.exports("lender.hosta")] == ["l1"]
        assert [found.lease for found in operator.leases()] == ["l1"]
        world.broker.crash("lender.hosta")
        world.broker.restart(keep=[])
        assert operator.until(lambda: operator.offer("lender.hosta") is None, SOON_S)
        assert operator.exports() == []
        assert operator.offer("lender.hostb") is not None
