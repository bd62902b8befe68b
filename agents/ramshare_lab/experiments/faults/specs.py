"""The labs that fault cases are played in."""

from ramshare_lab.cluster.spec import LabSpec
from ramshare_lab.cluster.vm_spec import MIB

SWAP_BYTES = 224 * MIB
PATIENCE_S = 15
"""How long a move waits for a lost lender; 90 s by default, which the suite has no time for."""


def usual_spec(name: str, **changes: object) -> LabSpec:
    """Return the suite's usual lab: each lender has room for half of the volume, and a third stands by."""
    shape: dict[str, object] = {
        "name": name,
        "lenders": 3,
        "guests": 0,
        "swap_bytes": SWAP_BYTES,
        "lender_bytes": SWAP_BYTES // 2 + 16 * MIB,
        "env": {"RAMSHARE_BORROWER_PATIENCE_S": str(PATIENCE_S)},
    }
    return LabSpec(**{**shape, **changes})  # type: ignore[arg-type]
