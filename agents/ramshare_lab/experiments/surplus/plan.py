"""What `ramshare bench surplus` measures: the sizes, and the lab for them."""

from dataclasses import dataclass

from ramshare_lab.cluster.spec import LabSpec
from ramshare_lab.cluster.vm_spec import MIB

GUEST, LENDER = "web1", "lender.hosta"
GUEST_BYTES = 512 * MIB
WORK_BYTES = 48 * MIB
"""What the guest's own work goes through, at random; it stays in the guest's memory all the time."""
DEMAND_BYTES = 256 * MIB
"""Twice what the guest has free while its memory is lent, and little less than what it has free without lending."""
SWAP_BYTES = 320 * MIB
"""More than half of what both balloons hold: the lease cannot stay when one guest needs its memory."""
RESERVE_BYTES, HOST_BYTES = 32 * MIB, 64 * MIB
"""The lender's host has hardly anything itself: what it lends comes out of its guests."""
POLICY_PACE = 0.005
"""The policy's hours become seconds: its 1.5 h of recent use are 27 s."""


@dataclass(frozen=True)
class SurplusPlan:
    """What is measured."""

    rounds: int = 6
    work_s: float = 1.0
    work_samples: int = 15
    policy_pace: float = POLICY_PACE

    def lab(self, name: str, accel: str = "") -> LabSpec:
        """Return the lab for it."""
        return LabSpec(
            name=name,
            lenders=1,
            guests=2,
            libvirt=True,
            guest_memory_bytes=GUEST_BYTES,
            guest_swap_bytes=256 * MIB,
            host_bytes=HOST_BYTES,
            swap_bytes=SWAP_BYTES,
            lender_bytes=2 * GUEST_BYTES,
            committed_bytes=0,
            accel=accel,
            env={
                "RAMSHARE_LENDER_RESERVE_BYTES": str(RESERVE_BYTES),
                "RAMSHARE_LENDER_POLICY_PACE": str(self.policy_pace),
            },
        )
