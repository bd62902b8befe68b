"""Guests under a real libvirt: what they can spare is lent, comes back on demand, and outlives what breaks."""

import os
from collections.abc import Callable, Iterator

import pytest

from ramshare.bus.mqtt import MqttBus
from ramshare.errors import MissingPartError
from ramshare.messages.requests import Drain, Undrain
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.libvirt_host import require_libvirt
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.surplus.plan import (
    DEMAND_BYTES,
    GUEST_BYTES,
    HOST_BYTES,
    LENDER,
    RESERVE_BYTES,
    SurplusPlan,
)
from ramshare_lab.experiments.surplus.results import SurplusResults
from ramshare_lab.experiments.surplus.scenario import SurplusRun

try:
    require_libvirt()
    MISSING = ""
except MissingPartError as missing:
    MISSING = f"{missing.message}: {missing.hint}"

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
    pytest.mark.skipif(bool(MISSING), reason=MISSING or "libvirt is there"),
]

PLAN = SurplusPlan(rounds=1, work_samples=1, policy_pace=0.001)
FEW_PAGES = DEMAND_BYTES // 4096 // 10
"""Of what was demanded; none on a quiet machine, while without early warning a third of it is swapped out."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    pytest.importorskip("libvirt", reason="libvirt's Python library is not installed")
    with Lab(PLAN.lab("tsurplus")) as running:
        yield running


@pytest.fixture(scope="module")
def measured(lab: Lab) -> SurplusResults:
    return SurplusRun(lab, PLAN, print).run()


@pytest.fixture
def operator(lab: Lab) -> Iterator[Operator]:
    with Operator(MqttBus(lab.broker.settings("cli.lab"), "cli.lab"), "borrower.hostx") as connected:
        yield connected


def until(operator: Operator, reached: Callable[[], bool], timeout_s: float = 60.0) -> None:
    offer = operator.offer(LENDER)
    assert operator.until(reached, timeout_s), f"not within {timeout_s:g} s; {offer}"


def offered_bytes(operator: Operator) -> int:
    offer = operator.offer(LENDER)
    return 0 if offer is None else offer.free_bytes


def test_what_a_guest_frees_is_lent_and_comes_back_on_a_sudden_demand(measured: SurplusResults) -> None:
    (told,) = measured.rounds or ()
    assert measured.lent_bytes is not None and measured.lent_bytes > HOST_BYTES - RESERVE_BYTES
    assert told.host_gained_bytes > 100 * MIB
    assert told.demand_to_memory_s < 20.0
    assert told.lease_back_s < 20.0
    assert told.swapped_pages < FEW_PAGES
    assert measured.bad_pages == 0


def test_a_libvirtd_that_crashes_ends_no_guest_and_the_lender_goes_on(
    lab: Lab, measured: SurplusResults, operator: Operator
) -> None:
    assert lab.libvirt is not None
    machines = lab.libvirt.virsh("list", "--uuid")
    lab.libvirt.kill()
    lab.libvirt.wait_ready()
    assert lab.libvirt.virsh("list", "--uuid") == machines
    operator.ask(LENDER, Drain())
    until(operator, lambda: all(lab.vms[name].balloon_actual_bytes() == GUEST_BYTES for name in lab.spec.guest_names))
    operator.ask(LENDER, Undrain())
    until(operator, lambda: offered_bytes(operator) > 200 * MIB)


def test_a_guest_that_stops_and_one_that_starts_are_followed(
    lab: Lab, measured: SurplusResults, operator: Operator
) -> None:
    guest = lab.vms["web2"]
    guest.stop()
    until(operator, lambda: offered_bytes(operator) > GUEST_BYTES)  # all that it had, and what the other can spare
    guest.start()
    until(operator, lambda: offered_bytes(operator) < GUEST_BYTES // 2)
    guest.wait_ready()
    lab.start_agents_on("web2")
    until(operator, lambda: guest.balloon_actual_bytes() < GUEST_BYTES - 100 * MIB)
