"""What the manager asks of the retained topics: who may be asked, who lends, who borrows, what is abandoned. No I/O.

The manager owns nothing. This is a cache of what lenders and borrowers say of themselves, and may be thrown away at any
time. Everybody is believed of himself only.
"""

import logging
from collections import Counter
from operator import itemgetter
from typing import Any

from ramshare.bus.api import StateArrived
from ramshare.manager.gaps import Gaps
from ramshare.manager.presence import COUNTED, Presence
from ramshare.messages.base import Message
from ramshare.messages.names import target_of
from ramshare.messages.state import Export, Lease, LeasePhase, Offer
from ramshare.retained import STALE_AFTER_S, ClientState, Retained
from ramshare.topics import name, role

log = logging.getLogger(__name__)

SHOWN_WITHIN_S = 60.0
"""A lender shows a lease before it grants it; one that has lost its connection meanwhile does so within a heartbeat."""


class Cluster(Retained):
    """Every agent's newest words, the leases that this manager granted, and the manager's questions about them.

    Nothing here grows with the cluster: what a question needs is kept by the borrower, the lender or the lease that it
    is about, and what changed is noted in `changed_hosts` and `changed_leases` for those who keep something of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._granted: dict[tuple[str, str], tuple[str, float]] = {}
        """Lender and lease to borrower, and since when; for as long as the lender shows the lease."""
        self._unshown: set[tuple[str, str]] = set()
        """Of those, the ones that their lender does not show."""
        self._exports_to: dict[str, dict[tuple[str, str], Export]] = {}
        """Host of the borrower to lender and lease to export."""
        self._shown_by: dict[str, set[str]] = {}
        """Lease to the lenders that show it: one, unless somebody claims another's."""
        self.unconnected: dict[tuple[str, str], Export] = {}
        """Lender and lease to export, of those without a session."""
        self._leases_of: Counter[str] = Counter()
        """Host to the number of leases that its borrower has, by its own word."""
        self._exports_of: Counter[str] = Counter()
        """Host to the number of exports of its lender."""
        self._shown_bytes_of: Counter[str] = Counter()
        """Lender to bytes of its exports."""
        self.presence = Presence()
        self.gaps = Gaps()
        self.changed_hosts: set[str] = set()
        self.changed_leases: set[str] = set()

    # --- what is folded in

    def take(self, arrived: StateArrived, said_s: float) -> None:
        """Fold in one topic of a lender or borrower, unless it contradicts its own name; others are not remembered.

        A stored one is a sign of life as far as its heartbeat is young, and the broker alone has a clock for that: it
        says how long it would still keep the word.
        """
        now_s = said_s
        if arrived.retained:
            said_s = min(now_s, now_s + (arrived.expires_s or float("-inf")) - STALE_AFTER_S)
        if role(arrived.client) not in COUNTED:
            return
        if not _plausible(arrived):
            log.warning("ignored: state/%s/%s speaks of something else", arrived.client, arrived.path)
            return
        before = self._message(arrived.client, arrived.path)
        super().take(arrived, said_s)
        self._note(arrived.client, arrived.path, before)
        self._note_presence(arrived.client, now_s)

    def confirm(self, client: str, at_s: float) -> None:
        """Note that a client was heard at `at_s`, whatever it says; minus infinity: it does not answer."""
        view = self.by_client.get(client)
        if view is not None:
            view.heard_s, view.fresh = at_s, at_s > float("-inf")
            self._note_presence(client, at_s)

    def doubt(self) -> None:
        """See `Retained`."""
        super().doubt()
        for client, view in self.by_client.items():
            self._note_presence(client, view.heard_s)

    def settle(self) -> None:
        """See `Retained`."""
        doubted = [
            (client, path, view.messages[path]) for client, view in self.by_client.items() for path in view.doubted
        ]
        super().settle()
        for client, path, before in doubted:
            self._note(client, path, before)
            self._note_presence(client, float("-inf"))

    def pass_time(self, now_s: float) -> None:
        """Note who has been silent for too long by now."""
        for client in self.presence.silent(now_s):
            self._note_presence(client, now_s)

    def grant(self, lender: str, lease: str, borrower: str, now_s: float) -> None:
        """Note a lease that this manager granted: its lender is believed who has it."""
        before, _ = self._granted.get((lender, lease), (borrower, 0.0))
        self._changed(lease, before)
        self._granted[lender, lease] = (borrower, now_s)
        if self.get(lender, f"export/{lease}", Export) is None:
            self._unshown.add((lender, lease))
        self._changed(lease, borrower)

    def forget_grants(self, now_s: float) -> None:
        """Forget the leases that their lenders do not show, or show no more."""
        for key in list(self._unshown):
            borrower, since_s = self._granted[key]
            if now_s - since_s > SHOWN_WITHIN_S:
                del self._granted[key]
                self._unshown.discard(key)
                self._changed(key[1], borrower)

    # --- what is asked

    def vouched(self, lender: str, export: Export) -> bool:
        """Whether more than its lender's word says who has a lease: the borrower's own, or that we granted it."""
        own = self.get(export.borrower, f"lease/{export.lease}", Lease)
        granted, _ = self._granted.get((lender, export.lease), ("", 0.0))
        return granted == export.borrower or (own is not None and own.lender == lender)

    def usable(self, view: ClientState, now_s: float) -> bool:
        """Whether an agent may be asked now: online, and heard not long ago, by this manager or by the broker."""
        return view.online and not view.stale(now_s)

    def to_confirm(self, client: str) -> bool:
        """Whether only the broker's memory says that a client is there, and it has not been asked in vain."""
        view = self.by_client.get(client)
        return view is not None and view.online and not view.fresh and view.heard_s > float("-inf")

    def heard_since(self, client: str, since_s: float) -> bool:
        """Whether a client has said anything itself since then."""
        view = self.by_client.get(client)
        return view is not None and view.fresh and view.heard_s >= since_s

    def portal_of(self, lender: str) -> str | None:
        """Return where a lender says that it serves, by its newest offer."""
        view = self.by_client.get(lender)
        offer = offer_of(view) if view else None
        return offer.portal if offer else None

    def unheard(self) -> list[str]:
        """Return the lenders and borrowers that are online by their retained status but have not spoken to us yet."""
        return sorted(self.presence.unheard)

    def abandoned(self, export: Export, now_s: float) -> bool:
        """Whether an export has no session and none is to come: it never had one, or its borrower does not know it."""
        if export.connected:
            return False
        borrower = self.by_client.get(export.borrower)
        if export.phase is LeasePhase.EXPORTED or borrower is None:
            return export.phase is LeasePhase.EXPORTED
        return self.usable(borrower, now_s) and f"lease/{export.lease}" not in borrower.messages

    def exports_to(self, borrower: str) -> list[tuple[str, Export]]:
        """Return lender and export of what lenders say that a borrower has, by lender and lease."""
        found = self._exports_to.get(name(borrower), {})
        return [(lender, export) for (lender, _), export in sorted(found.items()) if export.borrower == borrower]

    def exports_of_lease(self, lease: str) -> list[tuple[str, Export]]:
        """Return lender and export of all that show a lease, by lender."""
        found = ((lender, self.get(lender, f"export/{lease}", Export)) for lender in self._shown_by.get(lease, ()))
        return sorted(((lender, export) for lender, export in found if export is not None), key=itemgetter(0))

    def borrows(self, host: str) -> bool:
        """Whether a host's own swap is remote, by its own word or our grant; it must not lend (deadlock).

        No lender can say so of another host.
        """
        if self._leases_of[host]:
            return True
        return any(self.vouched(lender, export) for (lender, _), export in self._exports_to.get(host, {}).items())

    def lends(self, host: str) -> bool:
        """Whether a host has memory lent out; it must not borrow."""
        return self._exports_of[host] > 0

    def held_by(self, borrower: str) -> dict[tuple[str, str], int]:
        """Return lender and lease to bytes of what a borrower has: by its own word, and by our grants."""
        own = self.by_client.get(borrower)
        said = {(lease.lender, lease.lease): lease.size_bytes for lease in own.of_kind(Lease)} if own else {}
        return said | {
            (lender, export.lease): export.size_bytes
            for lender, export in self.exports_to(borrower)
            if self.vouched(lender, export)
        }

    # --- inside

    def _message(self, client: str, path: str) -> Message | None:
        view = self.by_client.get(client)
        return view.messages.get(path) if view else None

    def _note(self, client: str, path: str, before: Message | None) -> None:
        """Keep what the questions need in line with a topic that may have changed."""
        now = self._message(client, path)
        if isinstance(before, Export):
            self._note_export(client, before, -1)
        if isinstance(now, Export):
            self._note_export(client, now, +1)
        if isinstance(before, Lease) or isinstance(now, Lease):
            self._leases_of[name(client)] += isinstance(now, Lease) - isinstance(before, Lease)
            self.changed_leases.add(path.rpartition("/")[2])
        if now is not before:
            self.changed_hosts.add(name(client))

    def _note_export(self, lender: str, export: Export, step: int) -> None:
        key, host = (lender, export.lease), name(export.borrower)
        self._exports_of[name(lender)] += step
        self._shown_bytes_of[lender] += step * export.size_bytes
        if step > 0:
            self._exports_to.setdefault(host, {})[key] = export
            self._shown_by.setdefault(export.lease, set()).add(lender)
            if not export.connected:
                self.unconnected[key] = export
            self._unshown.discard(key)
        else:
            _drop(self._exports_to, host, key)
            _drop(self._shown_by, export.lease, lender)
            self.unconnected.pop(key, None)
            if key in self._granted:
                self._unshown.add(key)
        self._changed(export.lease, export.borrower)

    def _note_presence(self, client: str, said_s: float) -> None:
        view = self.by_client.get(client)
        now_s = max(said_s, view.heard_s) if view is not None else said_s
        usable = view is not None and now_s > float("-inf") and self.usable(view, now_s)
        if view is None or role(client) == "lender":
            self.gaps.note(client, now_s, missing=view is not None and self._misses(view))
        if self.presence.note(client, view, usable=usable):
            self.changed_hosts.add(name(client))
        if view is not None and usable:
            self.presence.expect(client, view.heard_s + STALE_AFTER_S)

    def _misses(self, view: ClientState) -> bool:
        """Whether a lender that is online said more than has arrived."""
        offer = view.messages.get("offer")
        if not view.online:
            return False
        return not isinstance(offer, Offer) or offer.lent_bytes > self._shown_bytes_of[view.client]

    def _changed(self, lease: str, borrower: str) -> None:
        self.changed_leases.add(lease)
        self.changed_hosts.add(name(borrower))


def _drop(index: Any, key: Any, inner: Any) -> None:
    """Take `inner` out of a dictionary or set under `key`, which goes with the last one."""
    kept = index.get(key, {})
    kept.pop(inner, None) if isinstance(kept, dict) else kept.discard(inner)
    if not kept:
        index.pop(key, None)


def _plausible(arrived: StateArrived) -> bool:
    """Whether a message speaks of the lease that its topic names, and a lender of nothing but its own host."""
    message, author = arrived.message, name(arrived.client)
    if "." not in arrived.client:
        return False
    if isinstance(message, Export | Lease) and not arrived.path.endswith(f"/{message.lease}"):
        return False
    if isinstance(message, Export) and message.target != target_of(author, message.lease):
        return False
    return not isinstance(message, Export | Offer) or message.host == author


def offer_of(view: ClientState) -> Offer | None:
    """Return the offer of the run that is online now; one that an earlier run left behind is nobody's word any more."""
    found, status = view.messages.get("offer"), view.messages.get("status")
    current = status is not None and found is not None and found.instance == status.instance
    return found if isinstance(found, Offer) and current else None
