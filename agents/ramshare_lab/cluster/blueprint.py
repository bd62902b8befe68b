"""From a lab's description to its parts: which virtual machines, and which agents with which settings. Pure."""

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from ramshare.settings import BrokerSettings
from ramshare_lab.cluster.agents import PACKAGE_ROOT, AgentSpec
from ramshare_lab.cluster.netns import MTU, PREFIX_LENGTH
from ramshare_lab.cluster.spec import LENDER_NAMES, LabSpec, address_of, mac_of
from ramshare_lab.cluster.vm_spec import LENDER_BASE_BYTES, MIB, DiskSpec, VmSpec

SWITCH = "switch"
"""Where the manager runs, with the broker."""
TLS_IN_VM = Path("/var/lib/ramshare/tls")
"""Where a virtual machine finds its bundle's certificates."""
DIRECTORY_IN_VM = Path("/run/ramshare/lender")
_VM_LENDER_ENV = {
    "RAMSHARE_LENDER_DIRECTORY": str(DIRECTORY_IN_VM),
    "RAMSHARE_LENDER_RESERVE_BYTES": str(32 * MIB),
}
"""A lender in a VM has that memory only; one on this machine leaves the default reserve to all the others."""


def vm_specs(spec: LabSpec, state_dir: Path, disks: Path, add_tap: Callable[[str, str], str]) -> list[VmSpec]:
    """Return the virtual machines; `add_tap` makes a name and an address into the name of a network device."""
    borrowers = dict.fromkeys(spec.borrower_names, (spec.memory_bytes, spec.disk_bytes))
    guests = dict.fromkeys(spec.guest_names, (spec.guest_memory_bytes, spec.guest_swap_bytes))
    lenders = dict.fromkeys(spec.vm_lender_names, (spec.lender_bytes + LENDER_BASE_BYTES, 0))
    roles = {**dict.fromkeys(borrowers, "borrower"), **dict.fromkeys(lenders, "lender")}
    return [
        VmSpec(
            lab=spec.name,
            name=name,
            role=roles.get(name, "guest"),
            state_dir=state_dir / "vm" / name,
            address=address_of(name),
            prefix_length=PREFIX_LENGTH,
            mac=mac_of(name),
            tap=add_tap(name, address_of(name)),
            mtu=MTU,
            memory_bytes=memory_bytes,
            vcpus=spec.vcpus if name in borrowers else 1,
            disk=_disk(spec, disks / f"{name}.raw", disk_bytes),
            second_disk=_disk(spec, disks / f"{name}-2.raw", spec.second_disk_bytes if name in borrowers else 0),
            swap_bytes=spec.swap_bytes if name in borrowers else disk_bytes,
            ceiling_bytes=spec.ceiling_bytes if name in borrowers else 0,
            rotational=spec.rotational,
            swap_queue=spec.swap_queue,
        )
        for name, (memory_bytes, disk_bytes) in (lenders | borrowers | guests).items()
    ]


def _disk(spec: LabSpec, path: Path, size_bytes: int) -> DiskSpec | None:
    if not size_bytes:
        return None
    return DiskSpec(path, size_bytes, spec.disk_iops, spec.disk_bytes_per_s, spec.sector_bytes)


def agent_specs(
    spec: LabSpec,
    state_dir: Path,
    settings: Callable[[str], BrokerSettings],
    hypervisor: str = "",
) -> list[AgentSpec]:
    """Return the agents. The first lender has the guests; it learns of them from `hypervisor`, where there is one."""

    def agent(role: str, host: str, tls: Path | None = None, extra: Mapping[str, str] | None = None) -> AgentSpec:
        client = {"manager": "manager", "monitor": f"guest.{host}"}.get(role, f"{role}.{host}")
        env = _common_env(host, settings(client), tls)
        return AgentSpec(client, role, host, {**env, **(extra or {}), **spec.env}, spec.agent_module)

    def lender(name: str) -> AgentSpec:
        in_vm = name in spec.vm_lender_names
        env = _lender_env(spec, name, state_dir, hypervisor) | (_VM_LENDER_ENV if in_vm else {})
        return agent("lender", name, TLS_IN_VM if in_vm else None, env)

    return [
        agent("manager", SWITCH),
        *(lender(name) for name in spec.lender_names),
        *(agent("borrower", name, TLS_IN_VM) for name in spec.borrower_names),
        *(agent("monitor", name, TLS_IN_VM) for name in spec.guest_names),
    ]


def _common_env(host: str, broker: BrokerSettings, tls: Path | None) -> dict[str, str]:
    """Return the settings that every agent needs; nothing comes from this machine's own `/etc/ramshare`."""
    return {
        "PYTHONPATH": str(PACKAGE_ROOT),
        "RAMSHARE_ENV_FILE": "/dev/null",
        "RAMSHARE_BROKER_HOST": broker.broker_host,
        "RAMSHARE_BROKER_PORT": str(broker.port),
        "RAMSHARE_CLIENT": str(broker.client),
        "RAMSHARE_HOST": host,
        "RAMSHARE_TLS_DIRECTORY": str(tls or broker.tls_directory),
    }


def _lender_env(spec: LabSpec, name: str, state_dir: Path, hypervisor: str) -> dict[str, str]:
    guests = spec.guest_names if name == LENDER_NAMES[0] else ()
    committed_bytes = spec.lender_bytes if spec.committed_bytes is None else spec.committed_bytes
    return {
        "RAMSHARE_LENDER_CAPACITY_BYTES": str(spec.host_capacity_bytes(name)),
        "RAMSHARE_LENDER_ADDRESS": address_of(name),
        "RAMSHARE_LENDER_TARGET": spec.target,
        "RAMSHARE_LENDER_CONTROL_PORT": str(control_port(spec, name)),
        "RAMSHARE_LENDER_LIMIT_BYTES": str(spec.lender_bytes),
        "RAMSHARE_LENDER_COMMITTED_BYTES": str(committed_bytes),
        "RAMSHARE_LENDER_DIRECTORY": str(state_dir / "lender" / name),
        "RAMSHARE_LENDER_GUESTS": json.dumps({} if hypervisor else dict.fromkeys(guests, spec.guest_memory_bytes)),
        "RAMSHARE_LENDER_HYPERVISOR": hypervisor if guests else "",
    }


def control_port(spec: LabSpec, lender: str) -> int:
    """Return a lender's tgtd control port: their sockets are shared by all labs, and 0 is the machine's own tgtd."""
    return 30 + 10 * (zlib.crc32(spec.name.encode()) % 3000) + spec.lender_names.index(lender)
