"""What a lab consists of: sizes, names and addresses, fixed before anything starts."""

import re
from dataclasses import dataclass, field
from typing import Literal

from ramshare.errors import ExitCode, RamshareError
from ramshare_lab.cluster.vm_spec import BORROWER_BASE_BYTES, DISK_BYTES_PER_S, DISK_IOPS, GUEST_MEMORY_BYTES, MIB

LENDER_NAMES = ("hosta", "hostb", "hostc", "hostd", "hoste", "hostf")
BORROWER_NAMES = ("hostx", "hosty", "hostz")
GUEST_NAMES = ("web1", "web2", "web3", "web4")
PERSON = "cli.admin"
"""Account of a person who looks in from another terminal; with more for further terminals, as an account holds one."""
OPERATORS = ("cli.lab", PERSON, f"{PERSON}-2", f"{PERSON}-3", f"{PERSON}-4", "dashboard")
"""Accounts of the lab's own operator, of a person, and of whoever only reads."""

NAME_PATTERN = re.compile(r"[a-z][a-z0-9]{0,11}")

VOLUME = "vg0/swap"
"""The borrower's swap volume."""


class LabSpecError(RamshareError):
    """A lab of this shape cannot be built."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class LabSpec:
    """The shape of one lab; the defaults are the demo's."""

    name: str = "lab"
    lenders: int = 2
    guests: int = 1
    """VMs with a monitor, all on the first lender's host."""
    borrowers: int = 1
    lender_bytes: int = 400 * MIB
    """The most that each lender lends."""
    committed_bytes: int | None = None
    """Of it, what is set aside for good; None for all. The rest depends on what the host's guests report."""
    target: Literal["tgt", "lio"] = "tgt"
    """What serves leases; LIO is a kernel's, so such lenders are virtual machines."""
    lenders_in_vms: bool = False
    """Lenders are virtual machines with tgt, too, to compare the two side by side."""
    swap_bytes: int = 600 * MIB
    ceiling_bytes: int = 0
    """Size of the RAM disk in a borrower's VM for the measurement without a network; 0 for none."""
    memory_bytes: int = BORROWER_BASE_BYTES
    vcpus: int = 1
    disk_iops: int = DISK_IOPS
    disk_bytes_per_s: int = DISK_BYTES_PER_S
    sector_bytes: int = 512
    """Of a borrower's local disk."""
    second_disk_bytes: int = 0
    """Of a second disk in each borrower, with which the lab does nothing; 0 for none."""
    rotational: bool = True
    swap_queue: bool = True
    """Borrowers swap through a loop device, as a host should (`ramshare-swap@.service`)."""
    guest_memory_bytes: int = GUEST_MEMORY_BYTES
    guest_swap_bytes: int = 0
    """Swap of each guest, on a local disk like a borrower's; 0 for none."""
    libvirt: bool = False
    """Guests run under a libvirtd of the lab, and the first lender uses their balloons."""
    host_bytes: int | None = None
    """What the first lender's host has besides its guests' memory; None for what it may lend."""
    agents: bool = True
    """False: only broker, network and VMs; agents are started one by one."""
    accel: str = ""
    """`kvm` or `tcg`; empty to find out."""
    agent_module: str = "ramshare.launch"
    """What is run as an agent; a fault case puts itself in between."""
    env: dict[str, str] = field(default_factory=dict)
    """More environment for every agent, for example shorter intervals."""

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise LabSpecError(f"{self.name!r} is no name for a lab", "up to 12 letters and digits, a letter first")
        for wanted, names in (
            (self.lenders, LENDER_NAMES),
            (self.borrowers, BORROWER_NAMES),
            (self.guests, GUEST_NAMES),
        ):
            if not 0 <= wanted <= len(names):
                raise LabSpecError(f"{wanted} hosts of one kind are not possible", f"0 to {len(names)}")
        if self.guests and not self.lenders:
            raise LabSpecError("guests need a lender's host to be on")

    @property
    def lender_names(self) -> tuple[str, ...]:
        """Hosts that lend."""
        return LENDER_NAMES[: self.lenders]

    @property
    def vm_lender_names(self) -> tuple[str, ...]:
        """Lenders that are virtual machines: all of them or none."""
        return self.lender_names if self.lenders_in_vms or self.target == "lio" else ()

    @property
    def borrower_names(self) -> tuple[str, ...]:
        """Hosts that borrow."""
        return BORROWER_NAMES[: self.borrowers]

    @property
    def guest_names(self) -> tuple[str, ...]:
        """Guests of the first lender's host."""
        return GUEST_NAMES[: self.guests]

    @property
    def clients(self) -> tuple[str, ...]:
        """Every MQTT account of this lab."""
        return (
            "manager",
            *(f"lender.{name}" for name in self.lender_names),
            *(f"borrower.{name}" for name in self.borrower_names),
            *(f"guest.{name}" for name in self.guest_names),
            *OPERATORS,
        )

    @property
    def disk_bytes(self) -> int:
        """Size of a borrower's local disk: the volume, and room for a mirror's metadata extents."""
        return self.swap_bytes + 64 * MIB

    def host_capacity_bytes(self, lender: str) -> int:
        """Return what a lender's host has: what may be lent, and its guests' memory, no more."""
        if lender != LENDER_NAMES[0]:
            return self.lender_bytes
        own_bytes = self.lender_bytes if self.host_bytes is None else self.host_bytes
        return own_bytes + self.guest_memory_bytes * self.guests


def address_of(name: str) -> str:
    """Return the address of a host or VM in the lab's network."""
    for base, names in ((11, LENDER_NAMES), (21, BORROWER_NAMES), (31, GUEST_NAMES)):
        if name in names:
            return f"10.77.0.{base + names.index(name)}"
    raise LabSpecError(f"no host is called {name}")


def mac_of(name: str) -> str:
    """Return the MAC address of a VM: its IP address in hexadecimal behind QEMU's prefix."""
    return "52:54:00:4d:00:" + f"{int(address_of(name).rpartition('.')[2]):02x}"
