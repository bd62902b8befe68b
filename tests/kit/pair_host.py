"""The model of a borrower's host (`borrowing_host.py`) with raid1 volumes of any number of legs: for pairs.

LVM's own rules are kept: legs are added and dropped only while those that stay have every page, a failed or half-made
leg is no copy, and `vgreduce` throws nothing away that a good leg holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from kit.borrowing_host import DISK, LOCAL, Host, Lent
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.view import Goal, Layout, LegView, Link, VolumeView
from ramshare.messages.state import Mode

EXTENT = 0
"""Of the leg's metadata; leases are larger by it, which the model leaves out."""


@dataclass
class Copy:
    """One leg: where each page of it lies."""

    places: list[str]
    sync: float = 0.0
    failed: bool = False

    @property
    def good(self) -> bool:
        return self.sync >= 100.0 and not self.failed


@dataclass
class PairHost(Host):
    """`copies` has all legs of a raid1, and is empty while the volume is linear (`pages`)."""

    mode: Mode = Mode.PAIR
    copies: list[Copy] = field(default_factory=list)
    lenders: dict[int, int] = field(default_factory=lambda: {1: 100, 2: 100})
    """Memory that can still be had for each leg."""
    exclude: tuple[str, ...] = ()

    def places(self) -> list[list[str]]:
        return [copy.places for copy in self.copies] if self.copies else [self.pages]

    def used(self, lease: str) -> int:
        return sum(places.count(lease) for places in self.places())

    def view(self) -> VolumeView:
        local = [copy for copy in self.copies if LOCAL in copy.places]
        seen = replace(
            super().view(),
            layout=Layout.RAID1 if self.copies else Layout.LINEAR,
            local_bytes=max(places.count(LOCAL) for places in self.places()),
            sync_percent=min((copy.sync for copy in self.copies), default=100.0),
            degraded=any(copy.failed for copy in self.copies),
            local_failed=any(copy.failed for copy in local),
            legs=tuple(self._leg_view(copy) for copy in self.copies),
        )
        leases = tuple(
            replace(x, leg=self.leg_of(x.lease), lost=self._is_lost(self.leases[x.lease])) for x in seen.leases
        )
        return replace(seen, leases=leases)

    def leg_of(self, lease: str) -> int:
        return int(lease[1]) if lease[0] == "p" else 0

    def _is_lost(self, lent: Lent) -> bool:
        return lent.marked or lent.missing

    def _leg_view(self, copy: Copy) -> LegView:
        leases = [self.leases[place] for place in set(copy.places) - {LOCAL}]
        there = [lent for lent in leases if not lent.missing]
        return LegView(
            devices=tuple(sorted({lent.device for lent in there} | ({DISK} if LOCAL in copy.places else set()))),
            leases=frozenset(lent.lease for lent in there),
            is_local=LOCAL in copy.places,
            in_sync=copy.sync >= 100.0,
            failed=copy.failed or any(lent.missing for lent in leases),
        )

    # ---- what the tools do

    def _start_mirror(self, devices: tuple[str, ...], copies: int = 2) -> None:
        self._whole_group()
        assert copies == max(1, len(self.copies)) + 1
        assert all(copy.good for copy in self.copies), "LVM adds no leg while another is not in sync"
        if devices == (DISK,):
            assert self.free_local() >= self.size, "no room at home"
            places = [LOCAL] * self.size
        else:
            room = {device: self._room(self._of_device(device)) for device in devices}
            assert sum(room.values()) >= self.size, "no room for the leg"
            places = [self._of_device(device).lease for device in devices for _ in range(room[device])][: self.size]
        taken = {place for copy in self.places() for place in copy}
        assert not taken & set(places), "both copies would lie on one lease"
        theirs = {self._lender(lease) for lease in taken - {LOCAL}}
        assert self._all_going(taken) or not theirs & {self._lender(x) for x in places if x != LOCAL}
        if not self.copies:
            self.copies = [Copy(self.pages, 100.0)]
        self.copies.append(Copy(places))
        self.write_mostly = self.write_mostly and LOCAL not in places

    def _all_going(self, leases: Iterable[str]) -> bool:
        return any(lease in self.vacate for lease in leases)

    def _lender(self, lease: str) -> str:
        return self.leases[lease].lender or f"lender.of-{lease}"

    def _split(self, devices: tuple[str, ...], copies: int) -> None:
        self._whole_group()
        dropped = [copy for copy in self.copies if set(self._leg_view(copy).devices) & set(devices)]
        assert {d for copy in dropped for d in self._leg_view(copy).devices} == set(devices), "whole legs only"
        stay = [copy for copy in self.copies if copy not in dropped]
        assert len(stay) == copies
        assert any(copy.good for copy in stay), "no whole copy would stay"
        self._keep(stay)

    def _keep(self, stay: list[Copy]) -> None:
        if len(stay) == 1:
            assert stay[0].good, "the volume would be made of a leg that is not whole"
            self.pages, self.copies, self.write_mostly = stay[0].places, [], False
        else:
            self.copies = stay
            self.write_mostly = self.write_mostly and any(LOCAL in copy.places for copy in stay)

    def apply(self, step: s.Step) -> None:
        match step:
            case s.StartMirror(devices, copies):
                self._start_mirror(devices, copies)
            case s.SplitLeg(devices, leaving, copies):
                self._split(devices, copies)
                for goes in leaving:
                    lent = self.leases[goes.lease]
                    self._leave(lent, goes.device)
                    self._logout(lent)
            case s.PreferRemote(devices):
                assert all(copy.good for copy in self.copies)
                assert devices == (DISK,)
                self.write_mostly = True
            case s.CutOffLeases(leaving):
                cut = {goes.lease for goes in leaving}
                stay = [copy for copy in self.copies if not cut & set(copy.places)]
                assert any(copy.good for copy in stay), "the only copy of pages would be cut off"
                for goes in leaving:
                    self.leases[goes.lease].session = False
                    self._leg_fails(self.leases[goes.lease])
            case s.DropFailedLeg(leases):
                if self.copies:
                    self._keep([copy for copy in self.copies if not self._leg_view(copy).failed])
                for lent in self.leases.values():
                    assert not (lent.missing and self.used(lent.lease)), "vgreduce would throw the volume away"
                self._forget_devices({*leases, *(x.lease for x in self.leases.values() if x.missing)})
            case s.WriteOff(leases):
                assert self.told_lost.issuperset(leases), "their loss was not told"
                assert not any(copy.good and not self._leg_view(copy).failed for copy in self.copies)
                self.copies, self.reserved, self.pages, self.write_mostly = [], 0, [LOCAL] * self.size, False
                for lent in self.leases.values():
                    lent.in_vg = False
                self._forget_devices(leases)
            case s.AskForMemory(size_bytes, exclude, leg):
                assert leg in (1, 2), "a pair's leases know their leg"
                self._ask_for_leg(size_bytes, exclude, leg)
            case _:
                super().apply(step)
                return
        self.check()

    def _ask_for_leg(self, size: int, exclude: tuple[str, ...], leg: int) -> None:
        self.exclude = exclude
        if size > self.lenders[leg]:
            self.nothing_to_borrow = True
            return
        self.nothing_to_borrow = self.asked_in_vain = False
        self.lenders[leg] -= size
        self.tagged = True
        while size > 0:
            self.made += 1
            part = min(size, self.largest)
            self.leases[f"p{leg}-{self.made}"] = Lent(f"p{leg}-{self.made}", part, encrypted=self.encrypt)
            size -= part

    def free_local(self) -> int:
        held = sum(LOCAL in places for places in self.places())
        return self.size * (1 - held) - self.reserved

    # ---- what happens by itself, and what may befall it

    def tick(self) -> None:
        source = any(copy.good for copy in self.copies)
        for copy in self.copies:
            if source and not copy.failed:
                copy.sync = min(100.0, copy.sync + 34.0)
        self.check()

    def kill(self, lease: str) -> None:
        lent = self.leases[lease]
        lent.alive = False
        if not self.copies and lease in self.pages:
            self.lost_pages |= {page for page, where in enumerate(self.pages) if where == lease}
        self._leg_fails(lent)

    def _leg_fails(self, lent: Lent) -> None:
        """md throws a leg out unless it is the last that has every page."""
        for copy in self.copies:
            others = any(other.good for other in self.copies if other is not copy)
            if lent.lease in copy.places and others:
                copy.failed = True

    def check(self) -> None:
        assert self.free_local() >= 0, "the volume could not go home"
        for lease, lent in self.leases.items():
            assert all(p.count(lease) <= lent.size for p in self.places()), f"more on {lease} than it holds"
            assert not self.used(lease) or lent.in_vg

    @property
    def where(self) -> list[set[str]]:
        """Where the copies lie, by kind: `local`, or the leg that its leases are for."""
        return [{LOCAL if x == LOCAL else str(self.leg_of(x)) for x in places} for places in self.places()]

    @property
    def safe(self) -> bool:
        """Whether some copy has every page and all its leases live."""
        whole = self.copies or [Copy(self.pages, 100.0)]
        return any(
            copy.good and all(x == LOCAL or (self.leases[x].alive and self.leases[x].session) for x in copy.places)
            for copy in whole
        )


def at_rest(host: PairHost) -> bool:
    """Whether the pair is as it should be."""
    view = host.view()
    return (
        view.goal is Goal.ATTACHED
        and host.where in ([{"1"}, {"2"}], [{"2"}, {"1"}])
        and host.reserved >= host.size
        and all(lease.link is Link.UP and not lease.lost for lease in view.leases)
    )
