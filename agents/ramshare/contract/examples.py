"""One example payload per message of the contract, as it could be seen on the bus during a loan of 256 MiB.

They stand in the AsyncAPI document and the JSON Schemas, and tests hold them against both.
"""

from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from ramshare.messages import events, replies, requests, state
from ramshare.messages.base import Message

_AT = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
_SIZE = 256 << 20
_VG, _LENDER, _BORROWER, _PORTAL = "vg0/swap", "lender.hosta", "borrower.hostb", "10.0.0.1:3260"
_LEASE = "lease-1a2b3c"
_TARGET, _INITIATOR = "iqn.2026-01.ramshare:hosta:lease-1a2b3c", "iqn.1993-08.org.debian:01:hostb"
_ID = "9f1c2d3e4b5a69788796a5b4c3d2e1f0"
_MIRROR, _ATTACHED = state.Mode.MIRROR, state.LeasePhase.ATTACHED

_GRANT = replies.Grant(
    lease=_LEASE,
    lender=_LENDER,
    portal=_PORTAL,
    target=_TARGET,
    size_bytes=_SIZE,
    chap_user=_LEASE,
    sealed_secrets=SecretStr("an-example-only"),
)

_STATES: tuple[Message, ...] = (
    state.Status(status="online", version="0.1.0"),
    state.Memory(
        total_bytes=4 << 30,
        available_bytes=3 << 30,
        used_bytes=1 << 30,
        swap_total_bytes=1 << 30,
        refaults_s=0.0,
        psi_some_avg10=0.0,
        psi_full_avg10=0.0,
        interval_s=5.0,
    ),
    state.Offer(
        host="hosta",
        portal=_PORTAL,
        capacity_bytes=1 << 30,
        lent_bytes=_SIZE,
        free_bytes=(1 << 30) - _SIZE,
        exportable=True,
        reason="2.0 GiB free on the host, 1.0 GiB kept in reserve.",
    ),
    state.Export(
        lease=_LEASE,
        host="hosta",
        borrower=_BORROWER,
        initiator=_INITIATOR,
        target=_TARGET,
        portal=_PORTAL,
        size_bytes=_SIZE,
        mode=_MIRROR,
        phase=state.LeasePhase.EXPORTED,
        connected=True,
        created_at=_AT,
        login_by=_AT + timedelta(seconds=60),
    ),
    state.Lease(lease=_LEASE, lender=_LENDER, volume=_VG, size_bytes=_SIZE, mode=_MIRROR, phase=_ATTACHED),
    state.Volume(
        volume=_VG,
        size_bytes=_SIZE,
        phase=state.VolumePhase.ATTACHED,
        mode=_MIRROR,
        progress_percent=100.0,
        local_bytes=_SIZE,
        remote_bytes=_SIZE,
        placement=(f"/dev/vda {_SIZE}", f"{_LENDER} {_SIZE}"),
        leases=(_LEASE,),
    ),
    state.HostRecord(
        host="hosta",
        lender=_LENDER,
        address=_PORTAL,
        online=True,
        exportable=True,
        capacity_bytes=1 << 30,
        lent_bytes=_SIZE,
        free_bytes=(1 << 30) - _SIZE,
        reason="2.0 GiB free on the host, 1.0 GiB kept in reserve.",
    ),
    state.LeaseRecord(
        lease=_LEASE,
        host="hosta",
        address=_PORTAL,
        target=_TARGET,
        size_bytes=_SIZE,
        borrower=_BORROWER,
        mode=_MIRROR,
        phase=_ATTACHED,
    ),
    state.ManagerState(
        ready=True,
        lenders=2,
        borrowers=1,
        leases=1,
        capacity_bytes=2 << 30,
        lent_bytes=_SIZE,
        free_bytes=(2 << 30) - _SIZE,
        reason="Serving.",
    ),
    state.GuestClaim(guest="web1"),
    state.SealingKey(public_key="hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="),
    state.Claim(generation=1768469400, answered=("l0a1b2c3d4e-",)),
    state.Decisions(decisions=("2026-01-15T09:30:00Z 1073741824 The host has 2.0 GiB free.",)),
)

_REQUESTS: tuple[Message, ...] = (
    requests.BorrowVolume(request_id=_ID, volume=_VG, mode=_MIRROR, min_lenders=1),
    requests.ReturnVolume(request_id=_ID, volume=_VG),
    requests.BorrowOwnSwap(request_id=_ID, size_bytes=_SIZE),
    requests.ReturnOwnSwap(request_id=_ID),
    requests.BorrowMemory(
        request_id=_ID,
        volume=_VG,
        size_bytes=_SIZE,
        overhead_bytes=4 << 20,
        mode=_MIRROR,
        initiator=_INITIATOR,
    ),
    requests.ExportLease(
        request_id=_ID, lease=_LEASE, borrower=_BORROWER, initiator=_INITIATOR, size_bytes=_SIZE, mode=_MIRROR
    ),
    requests.ReleaseLease(request_id=_ID, lease=_LEASE),
    requests.Vacate(request_id=_ID, leases=(_LEASE,), size_bytes=_SIZE, deadline=_AT + timedelta(seconds=10)),
    requests.Drain(request_id=_ID),
    requests.Undrain(request_id=_ID),
    requests.Announce(request_id=_ID),
    requests.Confirm(request_id=_ID),
)

_REPLIES: tuple[Message, ...] = (
    replies.Reply(
        request_id=_ID,
        error=replies.ErrorCode.NO_CAPACITY,
        sentence="The cluster can lend 768 MiB now; ask for less, or wait.",
    ),
    replies.ExportReply(request_id=_ID, grant=_GRANT, sentence="Exported."),
    replies.BorrowReply(request_id=_ID, grants=(_GRANT,), sentence="hosta has the most free memory."),
    replies.AttachReply(request_id=_ID, leases=(_LEASE,), lenders=(_LENDER,), sentence="Attaching has begun."),
)

_EVENTS: tuple[Message, ...] = (
    events.Event(
        kind=events.EventKind.EXPORTED,
        sentence="Exported 256 MiB to hostb.",
        lease=_LEASE,
        peer=_BORROWER,
        size_bytes=_SIZE,
    ),
)

EXAMPLES: dict[type[Message], Message] = {
    type(example): example.stamped("5c0ffee012345678", number, _AT)
    for number, example in enumerate((*_STATES, *_REQUESTS, *_REPLIES, *_EVENTS), start=1)
}
"""Model to example, for every message that travels by itself."""
