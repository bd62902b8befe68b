"""What did not arrive of what a lender has said: found by what the rest of it says, and asked for again. Pure.

A broker whose queue for the manager is full drops without a word. A lender that is online has an offer, and the offer
says how much is lent, so exports that are missing are noticed.
"""

GAP_S = 5.0
"""A lender publishes export and offer one after the other; what is missing for so long is not on its way."""
AGAIN_S = 60.0
"""Who was asked and still says too little is asked again a minute later."""
MOST_AT_ONCE = 50
"""Asked in one turn: a broker that has dropped some has much to do."""


class Gaps:
    """Lenders of which something is missing, and since when."""

    def __init__(self) -> None:
        self._ask_at_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._ask_at_s)

    def note(self, lender: str, now_s: float, *, missing: bool) -> None:
        """Note whether something is missing of a lender."""
        if not missing:
            self._ask_at_s.pop(lender, None)
        elif lender not in self._ask_at_s:
            self._ask_at_s[lender] = now_s + GAP_S

    def due(self, now_s: float) -> list[str]:
        """Return whom to ask now to say everything again; each of them is due again later."""
        found = [lender for lender, at_s in self._ask_at_s.items() if at_s <= now_s][:MOST_AT_ONCE]
        for lender in found:
            self._ask_at_s[lender] = now_s + AGAIN_S
        return found
