"""A borrower's host without any I/O: what LVM and iSCSI do with a plan's steps, page by page, and what may befall it.

It is stricter than the real tools: a step that would lose, lock up or be refused is an `AssertionError`. Sizes are
extents of one byte, so that a page's place can be told one by one.
"""

from dataclasses import dataclass, field

from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.comparison import Comparison
from ramshare.borrower.plan.view import Goal, Heard, Layout, LeaseView, Link, MoveView, VolumeView
from ramshare.messages.state import Mode

LOCAL = "local"
DISK = "/dev/vda2"


@dataclass
class Lent:
    """A lease, at both ends."""

    lease: str
    size: int
    lender: str = ""
    alive: bool = True
    """The lender and its memory exist."""
    cut: bool = False
    """The network between is down for a while."""
    session: bool = False
    node: bool = False
    granted: bool = True
    in_vg: bool = False
    leg_failed: bool = False
    marked: bool = False
    """Tagged as lost."""
    encrypted: bool = True
    keys: int = 0
    """How many keys it has had on this host."""
    opened: bool = False
    """The encrypted device is there, under the newest key."""
    compared: Comparison | None = None
    labelled_under: int = 0
    """The key under which it joined the group: with any other its label cannot be read."""

    @property
    def device(self) -> str:
        return f"/dev/disk-{self.lease}"

    @property
    def link(self) -> Link:
        if not self.session:
            return Link.NONE
        return Link.UP if self.alive and not self.cut else Link.DOWN

    @property
    def missing(self) -> bool:
        """LVM cannot find the physical volume."""
        return self.in_vg and (not self.alive or not self.session or not self.readable)

    @property
    def readable(self) -> bool:
        return not self.encrypted or (self.opened and self.labelled_under == self.keys)


@dataclass
class Moving:
    """A pvmove: page to destination, and how many more ticks it needs."""

    targets: dict[int, str]
    ticks: int = 3


@dataclass
class Host:
    """One volume of `size` pages on a local disk that has room for just that volume."""

    size: int
    goal: Goal = Goal.HOME
    mode: Mode = Mode.MIRROR
    part: int = 0
    """How many of its pages are to be on leases; 0 for all."""
    tagged: bool = False
    automatic: bool = False
    only_if_faster: bool = False
    pages: list[str] = field(default_factory=list)
    """Where each page lies."""
    leg: list[str] | None = None
    """raid1: where each page lies a second time."""
    sync: float = 100.0
    write_mostly: bool = False
    degraded: bool = False
    reserved: int = 0
    move: Moving | None = None
    leases: dict[str, Lent] = field(default_factory=dict)
    vacate: set[str] = field(default_factory=set)
    nothing_to_borrow: bool = False
    asked_in_vain: bool = False
    told_lost: set[str] = field(default_factory=set)
    capacity: int = 0
    """What the manager can still find in the cluster."""
    largest: int = 3
    """Lenders are small: no lease is larger."""
    encrypt: bool = True
    """What leases are asked for from now on."""
    lease_read_s: float = 0.001
    home_read_s: float = 0.02
    """What a read takes, from a lease and at home."""
    delivers: bool = True
    """False: lenders grant leases that nobody can log in to."""
    lost_pages: set[int] = field(default_factory=set)
    released: list[str] = field(default_factory=list)
    made: int = 0

    def __post_init__(self) -> None:
        self.pages = self.pages or [LOCAL] * self.size

    # ---- what the borrower sees

    def used(self, lease: str) -> int:
        copies = [*self.pages, *(self.leg or []), *(self.move.targets.values() if self.move else [])]
        return copies.count(lease)

    def view(self) -> VolumeView:
        layout = Layout.MOVING if self.move else Layout.RAID1 if self.leg else Layout.LINEAR
        return VolumeView(
            volume="vg0/swap",
            size_bytes=self.size,
            goal=self.goal,
            mode=self.mode,
            layout=layout,
            part_bytes=self.part if self.mode is Mode.MOVE else 0,
            local_bytes=self.pages.count(LOCAL),
            local_devices=(DISK,),
            leases=tuple(self._lease_view(self.leases[name]) for name in sorted(self.leases)),
            sync_percent=self.sync if self.leg else 100.0,
            write_mostly=self.write_mostly,
            degraded=self.degraded,
            move=self._move_view(),
            reserved_bytes=self.reserved,
            tagged=self.tagged,
            automatic=self.automatic,
            only_if_faster=self.only_if_faster,
            heard=Heard(
                vacate=frozenset(self.vacate),
                nothing_to_borrow=self.nothing_to_borrow,
                asked_in_vain=self.asked_in_vain,
                told_lost=frozenset(self.told_lost),
            ),
        )

    def hear(self, heard: Heard) -> None:
        """Be told by the bus."""
        self.vacate, self.nothing_to_borrow = set(heard.vacate), heard.nothing_to_borrow
        self.asked_in_vain = heard.asked_in_vain
        self.told_lost = set(heard.told_lost)

    def _lease_view(self, lent: Lent) -> LeaseView:
        return LeaseView(
            lease=lent.lease,
            lender=lent.lender or f"lender.of-{lent.lease}",
            size_bytes=lent.size,
            can_login=lent.granted or lent.node,
            link=lent.link,
            device=lent.device if lent.session and (lent.opened or not lent.encrypted) else None,
            disk=f"{lent.device}-bare" if lent.session else None,
            encrypted=lent.encrypted,
            in_vg=lent.in_vg,
            used_bytes=self.used(lent.lease),
            compared=lent.compared,
            lost=lent.marked or lent.missing or lent.leg_failed,
        )

    def _move_view(self) -> MoveView | None:
        if self.move is None:
            return None
        sources = {self.pages[page] for page in self.move.targets} - {LOCAL}
        return MoveView(50.0, frozenset(sources), frozenset(self.move.targets.values()) - {LOCAL})

    # ---- what the tools do

    def apply(self, step: s.Step) -> None:
        match step:
            case s.Login(lease):
                self._login(self.leases[lease])
            case s.Compare(lease, device):
                assert device == self.leases[lease].device
                assert LOCAL in self.pages, "there is nothing to compare with"
                self.leases[lease].compared = Comparison(self.lease_read_s, self.home_read_s)
            case s.Join(lease, device):
                self._join(self.leases[lease], device)
            case s.StartMove(source, destinations, size_bytes):
                self._start_move(source, destinations, size_bytes)
            case s.AbortMove():
                assert self.move is not None
                self._whole_group()
                self.move = None
            case s.RescueMove(leases):
                self._rescue_move(leases)
            case s.TellLoss(leases):
                assert not self.told_lost.issuperset(leases), "told a second time"
                self.told_lost |= set(leases)
            case s.WriteOff(leases):
                self._write_off(leases)
            case s.StartMirror(devices):
                self._start_mirror(devices)
            case s.PreferRemote(devices):
                assert self.leg is not None
                assert self.sync == 100.0, "LVM refuses write-mostly before the legs are in sync"
                assert devices == (DISK,)
                self.write_mostly = True
            case s.SplitLeg(devices, leaving):
                self._split_leg(devices)
                for goes in leaving:
                    self._leave(self.leases[goes.lease], goes.device)
                    self._logout(self.leases[goes.lease])
            case s.CutOffLeases(leaving):
                assert self.leg is not None, "the only copy of pages would be cut off"
                assert not self.degraded or all(page == LOCAL for page in self.pages)
                for goes in leaving:
                    self.leases[goes.lease].session = self.leases[goes.lease].opened = False
            case s.DropFailedLeg(leases):
                self._drop_lost(leases)
            case s.ReserveHome(devices, size_bytes):
                self._whole_group()
                assert devices == (DISK,)
                assert self.reserved == 0, "the placeholder exists"
                assert size_bytes <= self.free_local(), "no room for the placeholder"
                self.reserved = size_bytes
            case s.FreeHome():
                self._whole_group()
                self.reserved = 0
            case s.Leave(lease, device):
                self._leave(self.leases[lease], device)
            case s.Logout(lease):
                self._logout(self.leases[lease])
            case s.AskForMemory(size_bytes):
                self._ask(size_bytes)
            case s.Release(lease):
                self._release(self.leases[lease])
            case s.Forget():
                assert not self.leases, "leases would be forgotten"
                self.tagged = False
            case s.Wait() | s.Done():
                pass
        self.check()

    def free_local(self) -> int:
        coming = list(self.move.targets.values()).count(LOCAL) if self.move else 0
        return self.size - self.pages.count(LOCAL) - coming - self.reserved

    def _whole_group(self) -> None:
        missing = [lent.lease for lent in self.leases.values() if lent.missing]
        assert not missing, f"LVM refuses to change a group that misses {missing}"

    def _of_device(self, device: str) -> Lent:
        found = [lent for lent in self.leases.values() if lent.device == device]
        assert found, f"no such device: {device}"
        assert found[0].in_vg, f"{device} is not in the group"
        return found[0]

    def _login(self, lent: Lent) -> None:
        assert lent.granted or lent.node, "no grant and no node record"
        assert not lent.session or (lent.encrypted and not lent.opened)
        if not lent.alive:
            lent.node = lent.granted = False  # refused: there is no such target any more
        elif not lent.cut:
            lent.session = lent.node = True
            if lent.encrypted and not lent.opened:
                lent.opened, lent.keys = True, lent.keys + 1

    def _join(self, lent: Lent, device: str) -> None:
        self._whole_group()
        assert device == lent.device
        assert lent.link is Link.UP, "a label is written to a dead disk"
        assert not lent.in_vg
        assert lent.opened is lent.encrypted, "what is encrypted joins by its encrypted device only"
        lent.in_vg, lent.labelled_under = True, lent.keys

    def _start_move(self, source: str, destinations: tuple[str, ...], size: int) -> None:
        self._whole_group()
        assert self.move is None
        assert self.leg is None, "a leg of the mirror would be moved"
        place = LOCAL if source == DISK else self._of_device(source).lease
        room = dict.fromkeys(destinations, 0)
        for device in destinations:
            room[device] = self.free_local() if device == DISK else self._room(self._of_device(device))
        targets: dict[int, str] = {}
        for page in [page for page, where in enumerate(self.pages) if where == place][: size or self.size]:
            device = next((d for d in destinations if room[d]), "")
            assert device, f"no room for the pages of {source} on {destinations}"
            assert device != source
            room[device] -= 1
            targets[page] = LOCAL if device == DISK else self._of_device(device).lease
        assert targets, f"there is nothing on {source}"
        self.move = Moving(targets)

    def _room(self, lent: Lent) -> int:
        return lent.size - self.used(lent.lease)

    def _rescue_move(self, leases: tuple[str, ...]) -> None:
        assert self.move is not None
        for lease in leases:
            assert lease in self.move.targets.values()
        self.move = None
        self._forget_devices(lease for lease in leases if not self.used(lease))

    def _write_off(self, leases: tuple[str, ...]) -> None:
        assert all(not self.leases[lease].alive or not self.leases[lease].session for lease in leases), "still there"
        assert self.leg is None
        assert self.told_lost.issuperset(leases), "their loss was not told"
        lying_there = {page for page, where in enumerate(self.pages) if where in leases}
        assert lying_there, "there is nothing to write off"
        assert lying_there <= self.lost_pages, "a page that could have been saved"
        self.move, self.reserved, self.pages = None, 0, [LOCAL] * self.size
        for lent in self.leases.values():
            lent.in_vg = False
        self._forget_devices(leases)

    def _start_mirror(self, devices: tuple[str, ...]) -> None:
        self._whole_group()
        assert self.leg is None
        assert self.move is None
        assert set(self.pages) == {LOCAL}, "the local leg would not be whole"
        room = {device: self._room(self._of_device(device)) for device in devices}
        assert sum(room.values()) >= self.size, "no room for the leg"
        places = [self._of_device(device).lease for device in devices for _ in range(room[device])]
        self.leg, self.sync, self.write_mostly, self.degraded = places[: self.size], 0.0, False, False

    def _split_leg(self, devices: tuple[str, ...]) -> None:
        self._whole_group()
        assert self.leg is not None
        assert not self.degraded, "a failed leg is not healthy enough to be split off"
        assert {self._of_device(device).lease for device in devices} == set(self.leg), (
            "all of the leg's devices, no other"
        )
        self.leg, self.write_mostly = None, False

    def _drop_lost(self, leases: tuple[str, ...]) -> None:
        assert self.move is None
        self.leg, self.write_mostly, self.degraded = None, False, False
        for lent in self.leases.values():
            lent.leg_failed = False
            assert not (lent.missing and self.used(lent.lease)), "vgreduce would throw the volume away"
        self._forget_devices([*leases, *(lent.lease for lent in self.leases.values() if lent.missing)])

    def _forget_devices(self, leases: object) -> None:
        for lease in list(leases):  # type: ignore[call-overload]
            self.leases[lease].in_vg = False
            self.leases[lease].marked = True

    def _leave(self, lent: Lent, device: str) -> None:
        self._whole_group()
        assert device == lent.device
        assert not self.used(lent.lease), "pages of the volume lie on it"
        lent.in_vg = False

    def _logout(self, lent: Lent) -> None:
        assert not self.used(lent.lease), "pages of the volume lie on it"
        assert not lent.in_vg, "the group would miss it"
        lent.session = lent.node = lent.granted = lent.opened = False

    def _ask(self, size: int) -> None:
        assert size > 0
        if size > self.capacity:
            self.nothing_to_borrow = True
            return
        self.nothing_to_borrow = self.asked_in_vain = False
        self.capacity -= size
        self.tagged = True
        while size > 0:
            self.made += 1
            part = min(size, self.largest)
            self.leases[f"l{self.made}"] = Lent(f"l{self.made}", part, encrypted=self.encrypt)
            size -= part

    def _release(self, lent: Lent) -> None:
        assert not self.used(lent.lease), "pages of the volume lie on it"
        assert not lent.in_vg
        assert not lent.session
        del self.leases[lent.lease]
        self.vacate.discard(lent.lease)
        self.released.append(lent.lease)

    # ---- what happens by itself

    def tick(self) -> None:
        """The kernel copies on, unless a device that it needs does not answer."""
        if self.move is not None and all(self._answers(x) for x in self._moved_between()):
            self.move.ticks -= 1
            if self.move.ticks <= 0:
                for page, target in self.move.targets.items():
                    self.pages[page] = target
                self.move = None
        if self.leg is not None and not self.degraded:
            self.sync = min(100.0, self.sync + 34.0)
        self.check()

    def _moved_between(self) -> set[str]:
        assert self.move is not None
        return ({self.pages[page] for page in self.move.targets} | set(self.move.targets.values())) - {LOCAL}

    def _answers(self, lease: str) -> bool:
        return self.leases[lease].link is Link.UP

    # ---- what may befall it

    def kill(self, lease: str) -> None:
        """The lender dies and its memory with it."""
        lent = self.leases[lease]
        lent.alive = False
        for page, where in enumerate(self.pages):
            if where == lease:
                self.lost_pages.add(page)
        self._leg_fails(lent)

    def cut(self, lease: str) -> None:
        """The network to the lender breaks; md throws its leg out, a linear volume waits."""
        self.leases[lease].cut = True
        self._leg_fails(self.leases[lease])

    def mend(self, lease: str) -> None:
        """The network is back; so is the session, if there was one."""
        self.leases[lease].cut = False

    def _leg_fails(self, lent: Lent) -> None:
        if self.leg is not None and lent.lease in self.leg:
            self.degraded = True
            for other in set(self.leg):
                self.leases[other].leg_failed = True

    def reboot(self) -> None:
        """Sessions and keys end, node records stay; a mirror comes up without its remote leg."""
        for lent in self.leases.values():
            lent.session = lent.granted = lent.opened = False
            if lent.encrypted:
                self.lost_pages |= {page for page, where in enumerate(self.pages) if where == lent.lease}
            self._leg_fails(lent)
        self.crash_agent()

    def crash_agent_before_encryption(self) -> None:
        """The agent dies between a login and the encrypted device over its disk."""
        for lent in self.leases.values():
            lent.opened = lent.opened and lent.in_vg
        self.crash_agent()

    def crash_agent(self) -> None:
        """Grants that were not used and what was said on the bus are forgotten."""
        self.hear(Heard())
        for lent in self.leases.values():
            lent.granted = False

    # ---- what must hold at any time

    def check(self) -> None:
        assert len(self.pages) == self.size
        assert self.free_local() >= 0, "the volume could not go home"
        assert self.reserved + self.pages.count(LOCAL) <= self.size
        for lease, lent in self.leases.items():
            assert self.used(lease) <= lent.size, f"more on {lease} than it holds"
            assert not self.used(lease) or lent.in_vg
        if self.leg is not None:
            assert set(self.pages) == {LOCAL}, "a mirror's local leg must be whole"
