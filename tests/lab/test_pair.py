"""Swap on two lenders' memory at once: there and home in a storm, and through the death of one of them, every page."""

from collections.abc import Iterator

import pytest

from ramshare.bus.mqtt import MqttBus
from ramshare.linux.lvm import Lvm
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.faults.targets import kill_target
from ramshare_lab.load.thrash import Thrash, command

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

SWAP_BYTES = 160 * MIB
DATA_BYTES = 168 * MIB
WITHIN_S = 300.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(
        LabSpec(name="pair", lenders=3, guests=0, swap_bytes=SWAP_BYTES, lender_bytes=SWAP_BYTES + 24 * MIB)
    ) as lab:
        yield lab


@pytest.fixture(scope="module")
def operator(lab: Lab) -> Iterator[Operator]:
    with Operator(MqttBus(lab.broker.settings("cli.lab"), "cli.lab"), "borrower.hostx") as connected:
        connected.wait_ready(SWAP_BYTES)
        yield connected


def test_a_thrashing_process_keeps_every_page_through_a_lenders_death_and_the_ways_there_and_home(
    lab: Lab, operator: Operator
) -> None:
    with Thrash(lab.borrower.shell.open(command(DATA_BYTES))) as thrash:
        thrash.init()
        thrash.start_storm(20)
        assert operator.borrow(VOLUME).mode is Mode.PAIR, "the best that can be had, since nobody named a mode"
        attached = operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
        assert (attached.mode, attached.local_bytes) == (Mode.PAIR, 0)
        first = {lease.lender for lease in operator.leases()}
        assert len(first) == 2, "each leg has a lender of its own"
        dead = sorted(first)[0]
        lab.network.cut(dead.partition(".")[2])
        kill_target(lab, dead)

        def replaced() -> bool:
            volume = operator.volume(VOLUME)
            whole = volume is not None and volume.phase is VolumePhase.ATTACHED
            return whole and dead not in {lease.lender for lease in operator.leases()}

        assert operator.until(replaced, WITHIN_S), operator.volume(VOLUME)
        again = operator.volume(VOLUME)
        assert again is not None
        assert again.local_bytes == 0
        lab.network.mend(dead.partition(".")[2])
        operator.send_home(VOLUME)
        operator.follow(VOLUME, VolumePhase.HOME, WITHIN_S)
        storm = thrash.stop_storm()
        checked = thrash.check()
    assert storm.operations > 0
    assert (storm.bad_pages, checked.bad_pages_total) == (0, 0)
    operator.listen(5.0)
    state = Lvm(lab.borrower.shell, udev=False).report()
    assert [pv.name for pv in state.pvs] == ["/dev/vda"]
    assert [(lv.name, lv.layout, lv.tags) for lv in state.lvs] == [("swap", "linear", frozenset())]
