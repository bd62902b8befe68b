"""Only a volume that is swap, and swap once, is borrowed for."""

from collections.abc import Callable

from ramshare.desk import RefusedError
from ramshare.linux.swap import SwapUse
from ramshare.messages.replies import ErrorCode


def require_swap(volume: str, use: SwapUse, found_on: Callable[[str], str | None]) -> None:
    """Raise `RefusedError` for a volume that is not swap, saying what lies on it, and for one that is swap twice.

    `found_on` is asked only of a volume that is not swap, see `signatures.found_on`.
    """
    if len(use.active) > 1:
        raise RefusedError(
            ErrorCode.CONFLICT,
            f"this host swaps to {volume} twice, by {' and '.join(use.active)}, and each overwrites the other's pages: "
            f"reboot with one of them, or end what is swapped out and swapoff {use.active[0]}",
        )
    if use.is_swap:
        return
    found = found_on(f"/dev/{volume}")
    if found == "":
        advice = f"nothing that blkid knows lies on it: if it is free, mkswap /dev/{volume} makes it swap"
    else:
        advice = f"it holds {found or 'what cannot be told'}: name a volume that was made for swap"
    raise RefusedError(ErrorCode.NOT_SWAP, f"{volume} is not swap; {advice}")
