"""What a lab is built of, before anything starts."""

from pathlib import Path

import pytest

from ramshare.settings import BrokerSettings, HostSettings, LenderSettings, load
from ramshare_lab.cluster.agents import AgentSpec
from ramshare_lab.cluster.blueprint import TLS_IN_VM, agent_specs, control_port, vm_specs
from ramshare_lab.cluster.spec import OPERATORS, LabSpec
from ramshare_lab.cluster.vm_spec import MIB, VmSpec

pytestmark = pytest.mark.unit

SPEC = LabSpec(
    name="t", lenders=2, borrowers=2, guests=2, committed_bytes=100 * MIB, env={"RAMSHARE_LOG_LEVEL": "debug"}
)
STATE = Path("/state")


def settings(client: str) -> BrokerSettings:
    return BrokerSettings(broker_host="10.77.0.1", client=client, tls_directory=Path("/set") / client)


def agents(hypervisor: str = "") -> dict[str, AgentSpec]:
    specs = agent_specs(SPEC, STATE, settings, hypervisor)
    return {spec.name: spec for spec in specs}


def machines(spec: LabSpec = SPEC) -> dict[str, VmSpec]:
    return {vm.name: vm for vm in vm_specs(spec, STATE, Path("/disks"), lambda name, _address: f"tap-{name}")}


def test_every_account_that_is_no_persons_has_an_agent() -> None:
    assert set(agents()) == set(SPEC.clients) - set(OPERATORS)


def test_borrowers_and_guests_are_machines_and_their_agents_run_there() -> None:
    inside = {spec.host for spec in agents().values() if spec.env["RAMSHARE_TLS_DIRECTORY"] == str(TLS_IN_VM)}
    assert inside == set(machines()) == {"hostx", "hosty", "web1", "web2"}
    assert len({vm.address for vm in machines().values()} | {vm.mac for vm in machines().values()}) == 8


def test_only_a_machine_that_swaps_has_a_disk() -> None:
    assert {name: vm.disk is not None for name, vm in machines().items()} == {
        "hostx": True,
        "hosty": True,
        "web1": False,
        "web2": False,
    }
    swapping = machines(LabSpec(name="t", guest_swap_bytes=64 * MIB))["web1"]
    assert swapping.disk is not None
    assert swapping.disk.size_bytes == swapping.swap_bytes == 64 * MIB


@pytest.mark.parametrize("hypervisor", ["", "qemu+unix:///system"])
def test_the_settings_are_what_agents_accept(monkeypatch: pytest.MonkeyPatch, hypervisor: str) -> None:
    seen = []
    for name in ("lender.hosta", "lender.hostb"):
        for key, value in agents(hypervisor)[name].env.items():
            monkeypatch.setenv(key, value)
        assert load(BrokerSettings).client == name
        assert load(HostSettings).host == name.partition(".")[2]
        seen.append(load(LenderSettings))
    first, second = seen
    assert first.guests == ({} if hypervisor else dict.fromkeys(("web1", "web2"), SPEC.guest_memory_bytes))
    assert (first.hypervisor, second.hypervisor, second.guests) == (hypervisor, "", {})
    assert first.committed_bytes == 100 * MIB
    assert first.control_port != second.control_port


def test_labs_do_not_share_a_control_port() -> None:
    assert control_port(SPEC, "hosta") != control_port(LabSpec(name="other"), "hosta")


def test_lenders_by_lio_are_virtual_machines_with_memory_for_what_they_lend() -> None:
    spec = LabSpec(lenders=2, guests=0, target="lio")
    found = machines(spec)
    assert {name: found[name].role for name in found} == {"hosta": "lender", "hostb": "lender", "hostx": "borrower"}
    assert found["hosta"].memory_bytes > spec.lender_bytes
    assert found["hosta"].disk is None
    env = {agent.name: agent.env for agent in agent_specs(spec, STATE, settings)}["lender.hosta"]
    assert env["RAMSHARE_LENDER_TARGET"] == "lio"
    assert env["RAMSHARE_TLS_DIRECTORY"] == str(TLS_IN_VM)
    assert not env["RAMSHARE_LENDER_DIRECTORY"].startswith(str(STATE))


def test_lenders_by_tgt_are_virtual_machines_only_where_that_is_asked_for() -> None:
    assert "hosta" not in machines(LabSpec(guests=0))
    assert "hosta" in machines(LabSpec(guests=0, lenders_in_vms=True))
