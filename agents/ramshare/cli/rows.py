"""The documented keys of `ramshare status --json`. Sizes are bytes; `age_s` is the time since the fact was published.

`stale`: whoever says it is offline or has missed its heartbeats, so it may not be true any more.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class HostRow(_Row):
    """A host that may lend. The lender's own words where it has any, else the manager's record of it."""

    host: str
    lender: str
    address: str
    online: bool
    exportable: bool
    """The manager's word (it also knows whether the host itself borrows); the lender's own without a manager."""
    draining: bool
    capacity_bytes: int
    lent_bytes: int
    free_bytes: int
    committed_bytes: int
    committed_free_bytes: int
    reason: str
    age_s: float
    stale: bool


class VolumeRow(_Row):
    """A swap volume as its host's borrower sees it: where LVM says that its pages are."""

    volume: str
    host: str
    phase: str
    mode: str | None
    progress_percent: float
    size_bytes: int
    local_bytes: int
    remote_bytes: int
    placement: list[str]
    leases: list[str]
    step: str
    guests: list[str]
    """That have it as a disk, where the borrower can ask the hypervisor."""
    age_s: float
    stale: bool


class LeaseRow(_Row):
    """A lease, put together from its lender's export and its borrower's lease."""

    lease: str
    lender: str
    borrower: str
    volume: str | None
    size_bytes: int
    mode: str
    lender_phase: str | None
    """None: the lender has no such export."""
    borrower_phase: str | None
    """None: the borrower knows nothing of it."""
    connected: bool | None
    address: str | None
    target: str | None
    reason: str
    age_s: float
    stale: bool


class GuestRow(_Row):
    """Memory of a guest or host, as its monitor reports it."""

    client: str
    total_bytes: int
    available_bytes: int
    swap_used_bytes: int
    swap_in_bytes_s: float
    swap_out_bytes_s: float
    psi_some_avg10: float | None
    age_s: float
    stale: bool


class AgentRow(_Row):
    """An agent; `age_s` is the time since it last said anything."""

    client: str
    role: str
    online: bool
    stale: bool
    version: str
    age_s: float


class ManagerRow(_Row):
    """The manager that makes loans, or would: whether it serves."""

    client: str
    active: bool
    generation: int
    """Of its claim; 0: none."""
    standbys: list[str]
    """The other managers that are online."""
    online: bool
    stale: bool
    ready: bool
    reason: str
    waiting: int
    """Requests that wait for memory."""
    age_s: float


class TotalsRow(_Row):
    """The cluster in sum. Of a large one it is the manager's word; `ramshare status --json` counts all."""

    hosts: int
    """That lend, or have."""
    hosts_there: int
    capacity_bytes: int
    """Of the hosts that are there, as the two below."""
    lent_bytes: int
    free_bytes: int
    volumes: int
    remote_bytes: int
    """Of the volumes, what lies on leases."""


class Report(_Row):
    """All of `ramshare status --json`. Sizes are bytes, ages seconds since the fact was published."""

    at: datetime
    broker: str
    complete: bool
    narrow: bool = False
    """Of a large cluster only totals and volumes, or one host, were asked for."""
    warnings: list[str]
    manager: ManagerRow | None
    totals: TotalsRow
    hosts: list[HostRow]
    volumes: list[VolumeRow]
    leases: list[LeaseRow]
    guests: list[GuestRow]
    agents: list[AgentRow]


class Why(_Row):
    """The keys of `ramshare why --json`."""

    offer: HostRow | None
    """Null for a host that does not lend."""
    decisions: list[str]
    """Newest last: time, bytes, reason."""
    demand: list[str]
    """Of a borrower that may borrow by itself, newest last: time, volume, what was decided, reason."""
