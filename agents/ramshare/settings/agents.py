"""The settings of a machine and of each of its agents."""

import socket
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from ramshare.messages.base import (
    LEAST_LEASE_BYTES,
    Bytes,
    Count,
    HostName,
    Portal,
    PositiveBytes,
    Seconds,
)
from ramshare.settings.base import Settings
from ramshare.settings.forms import AllowedVolumes, Directory, GuestAllowances, Guests, ModeChoice, none_if_empty


class HostSettings(Settings):
    """What every agent on a machine shares."""

    host: HostName = Field(
        default_factory=lambda: socket.gethostname().partition(".")[0],
        validate_default=True,
        description="This machine's name in the cluster, with or without its domain; by default without.",
    )
    guest_socket: Path = Field(
        default=Path("/run/ramshare-monitor/ask"),
        description="In a guest: where `ramshare borrow` finds the monitor, which asks the host for it.",
    )
    sample_interval_s: Seconds = Field(default=5.0, description="Time between two memory reports.")
    log_level: str = "INFO"
    metrics_listen: Annotated[Portal | None, BeforeValidator(none_if_empty)] = Field(
        default=None,
        description="Serve Prometheus metrics here, for example 127.0.0.1:9390, to whoever can reach it; empty: do "
        "not. A manager takes this port, a lender the next one, a borrower the one after, a monitor the third after.",
    )

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("use DEBUG, INFO, WARNING or ERROR")
        return value.upper()


class LenderSettings(Settings):
    """What a host lends and where it keeps it."""

    PREFIX: ClassVar[str] = "RAMSHARE_LENDER_"

    address: str = Field(
        default="",
        description="This host's address that borrowers log in to, and the only one that is served; by default the "
        "route's own. IPv4, IPv6, or a name of exactly one address.",
    )
    port: int = Field(default=3260, ge=1, le=65535)
    target: Literal["tgt", "lio"] = Field(
        default="tgt",
        description="What serves leases: tgt (a daemon of its own), or lio (the kernel itself, no process to kill).",
    )
    control_port: int = Field(
        default=0, ge=0, le=32767, description="tgtd -C; several per machine need different ones."
    )
    limit_bytes: Bytes | None = Field(default=None, description="Never lend more than this.")
    committed_bytes: Bytes = Field(default=0, description="Set aside by the owner for good: may back a move.")
    reserve_bytes: Bytes = Field(default=512 << 20, description="Always left to the host itself.")
    directory: Directory = Field(
        default=Path("/run/ramshare/lender"), description="Mount point of the RAM file system."
    )
    guests: Guests = Field(
        default={},
        description="Guests on this host where no hypervisor tells, with the memory of each: web1:2GiB,web2:512MiB, "
        'or JSON, {"web1": "2GiB"}. Of one without a size nothing is lent.',
    )
    hypervisor: str = Field(
        default="",
        description="Whose guests' balloons to use, as libvirt names it: qemu:///system, xen:///; empty: none.",
    )
    policy: str = Field(default="", description="Surplus policy by name; empty: the default one.")
    policy_caution: float = Field(
        default=1.0, ge=0, le=100, description="Multiplies the margin that the policy keeps for surges."
    )
    vacate_within_s: Seconds = Field(
        default=9.0, description="Deadline given to borrowers on reclaim: memory is to be back in 10 s, cut off or not."
    )


class LenderLabSettings(Settings):
    """For the lab: what lets several lenders play hosts on one machine, in minutes. No host needs any of it."""

    PREFIX: ClassVar[str] = "RAMSHARE_LENDER_"

    capacity_bytes: Bytes | None = Field(default=None, description="This host's share of the machine.")
    policy_pace: float = Field(default=1.0, gt=0, le=10, description="Multiplies the default policy's windows.")


class BorrowerSettings(Settings):
    """Where a borrower keeps what must outlast its agent."""

    PREFIX: ClassVar[str] = "RAMSHARE_BORROWER_"

    directory: Directory = Field(default=Path("/var/lib/ramshare/borrower"))
    ask_timeout_s: Seconds = 20.0
    mode: ModeChoice = Field(
        default=ModeChoice.AUTO, description="How a volume is attached where a request does not say: see `ModeChoice`."
    )
    encrypt: bool = Field(
        default=True, description="Encrypt pages on leases (dm-crypt), where a request does not say otherwise."
    )
    home_within_s: Seconds = Field(
        default=300.0, le=800, description="How long a shutdown waits for volumes to come home (ramshare-home.service)."
    )
    hypervisor: str = Field(
        default="",
        description="Whose guests have which volume as their disk, as libvirt names it: qemu:///system, xen:///; "
        "empty: nobody is asked.",
    )
    patience_s: Seconds = Field(
        default=90.0, description="How long swap waits for a lost lender that has the only copy (move), 5 to 3600."
    )
    auto: AllowedVolumes = Field(
        default={},
        description="Volumes to borrow for without being asked while they are in a swap storm, each with its mode and "
        "the most to borrow: vg0/swap=move:2GiB,vg0/web1=mirror. Empty: none. `ramshare why HOST` says what is done.",
    )
    guests: GuestAllowances = Field(
        default={},
        description="Guests whose administrators may ask, from inside, to borrow for their own swap and to return it, "
        "each with its volume, mode and the most to borrow: web1=vg0/swap:move:2GiB. Needs HYPERVISOR, which says that "
        "the volume is the guest's disk. Empty: none.",
    )
    auto_quiet_s: Annotated[float, Field(ge=5, le=86400, allow_inf_nan=False)] = Field(
        default=600.0, description="Nobody has swapped to it for so long: what AUTO borrowed goes home."
    )
    auto_loans_per_hour: int = Field(default=4, ge=0, le=60, description="AUTO borrows no more often, all together.")
    auto_limit_bytes: Bytes | None = Field(default=None, description="AUTO borrows no more than this, all together.")

    @model_validator(mode="after")
    def _guests_are_known(self) -> Self:
        if self.guests and not self.hypervisor:
            raise ValueError(
                "RAMSHARE_BORROWER_GUESTS needs RAMSHARE_BORROWER_HYPERVISOR, which says whose disk is whose"
            )
        return self


class ManagerSettings(Settings):
    """In which pieces the cluster lends, and what one borrower may have of it."""

    PREFIX: ClassVar[str] = "RAMSHARE_MANAGER_"

    least_lease_bytes: PositiveBytes = Field(
        default=LEAST_LEASE_BYTES, description="No lease is smaller: each costs its lender a target."
    )
    borrower_limit_bytes: Bytes = Field(
        default=64 << 30, description="Most that one borrower may have lent at a time, all its volumes together."
    )
    borrower_limit_leases: Count = Field(
        default=64, description="Most leases of one borrower at a time; one request may be spread over 64."
    )
