"""Which manager makes loans: claims, silence, pauses; and whatever happens to messages, managers and clocks."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ramshare.desk import RefusedError
from ramshare.generation import Generation
from ramshare.lender.fence import Fence
from ramshare.manager.leadership import AWAY_S, FAR_AHEAD, HEARTBEAT_S, LISTEN_AGAIN_S, SILENT_S, Leadership
from ramshare.messages.base import MAX_SEQ

pytestmark = pytest.mark.unit

WALL_S = 1_795_000_000.0


def active(me: str = "manager.a", now_s: float = 0.0) -> Leadership:
    one = Leadership(me)
    one.turn(now_s, WALL_S, ready=True)
    assert one.leads(now_s)
    return one


def test_a_manager_that_is_alone_makes_loans_at_once_and_not_before_it_heard_everybody() -> None:
    one = Leadership("manager")
    one.turn(0.0, WALL_S, ready=False)
    assert not one.leads(0.0)
    one.turn(1.0, WALL_S, ready=True)
    assert one.leads(1.0)
    assert one.leads(100.0), "without another there is nobody who could have taken over"


def test_a_second_one_stands_by_as_long_as_the_first_says_its_claim() -> None:
    one, two = active(), Leadership("manager.b")
    assert one.mine is not None
    for second in range(60):
        two.hear("manager.a", one.mine.number, float(second), live=second > 0)
        two.turn(second + 0.9, WALL_S, ready=True)
        assert not two.leads(second + 0.9)
        assert two.other(second + 0.9) == one.mine


def test_it_takes_over_when_the_first_falls_silent_with_a_higher_generation() -> None:
    one, two = active(), Leadership("manager.b")
    assert one.mine is not None
    two.hear("manager.a", one.mine.number, 0.0, live=True)
    at = 0.0
    while not two.leads(at):
        at += 0.5
        two.turn(at, WALL_S, ready=True)
    assert at <= SILENT_S
    assert two.mine is not None and two.mine > one.mine


def test_it_takes_over_at_once_when_the_first_says_goodbye() -> None:
    two = Leadership("manager.b")
    two.hear("manager.a", 7, 0.0, live=True)
    two.hear_status("manager.a", online=False)
    two.turn(0.1, WALL_S, ready=True)
    assert two.leads(0.1)


@pytest.mark.parametrize("status_first", [True, False])
def test_the_stored_claim_of_one_that_is_offline_delays_nobody(status_first: bool) -> None:
    two = Leadership("manager.b")
    if status_first:
        two.hear_status("manager.a", online=False)
    two.hear("manager.a", 10**10, 0.0, live=False)
    if not status_first:
        two.hear_status("manager.a", online=False)
    two.turn(0.5, WALL_S, ready=True)
    assert two.mine == Generation(10**10 + 1, "manager.b")


def test_who_hears_a_higher_claim_gives_way_and_the_higher_one_stays() -> None:
    one, two = active("manager.a"), active("manager.b")
    assert one.mine is not None and two.mine is not None
    one.hear("manager.b", two.mine.number, 0.1, live=True)
    two.hear("manager.a", one.mine.number, 0.1, live=True)
    one.turn(0.2, WALL_S, ready=True)
    two.turn(0.2, WALL_S, ready=True)
    assert (one.leads(0.2), two.leads(0.2)) == (False, True), "of one number the names decide"


def test_one_that_was_stopped_gives_no_order_before_it_has_listened() -> None:
    one = active()
    one.hear_status("manager.b", online=True)
    woken = AWAY_S + 1.0
    assert not one.leads(woken), "not even before its next turn"
    one.turn(woken, WALL_S, ready=True)
    assert not one.leads(woken)
    one.turn(woken + LISTEN_AGAIN_S, WALL_S, ready=True)
    assert one.leads(woken + LISTEN_AGAIN_S), "nobody took over"


def test_one_that_stands_by_and_was_stopped_takes_over_from_nobody_who_is_there() -> None:
    two = Leadership("manager.b")
    two.hear("manager.a", 7, 0.0, live=True)
    two.turn(1.0, WALL_S, ready=True)
    two.turn(60.0, WALL_S, ready=True)
    assert not two.leads(60.0)
    two.hear("manager.a", 7, 60.0 + HEARTBEAT_S, live=True)
    two.turn(60.0 + LISTEN_AGAIN_S, WALL_S, ready=True)
    assert not two.leads(60.0 + LISTEN_AGAIN_S)


def test_a_lender_that_obeyed_a_newer_one_makes_it_claim_anew() -> None:
    one = active()
    assert one.mine is not None
    one.hear_lender(one.mine.number + 40, WALL_S)
    one.turn(1.0, WALL_S, ready=True)
    assert one.mine.number == int(WALL_S) + 41


def test_a_lender_that_obeyed_another_of_the_same_number_makes_it_claim_anew() -> None:
    one = active("manager.a")
    assert one.mine is not None
    one.hear_lender(one.mine.number, WALL_S, "manager.a")
    one.turn(0.5, WALL_S, ready=True)
    assert one.mine.number == int(WALL_S)
    one.hear_lender(one.mine.number, WALL_S, "manager.b")
    one.turn(1.0, WALL_S, ready=True)
    assert one.mine.number == int(WALL_S) + 1


def test_no_lender_can_use_up_the_numbers() -> None:
    one = active()
    one.hear_lender(MAX_SEQ, WALL_S)
    one.turn(1.0, WALL_S, ready=True)
    assert one.mine == Generation(int(WALL_S), "manager.a")
    one.hear_lender(int(WALL_S) + FAR_AHEAD, WALL_S)
    one.turn(2.0, WALL_S, ready=True)
    assert one.mine is not None and one.mine.number < MAX_SEQ // 1000


CAPACITY = 4
NAMES = ("manager.a", "manager.b", "manager.c")


@dataclass
class Office:
    """A manager of the model: the real decision, and orders as the real one gives them."""

    leadership: Leadership
    clock_s: float = 100.0
    wall_s: float = WALL_S
    stopped: bool = False
    cut_off: bool = False
    lease_number: int = 0


@dataclass
class Host:
    """A lender of the model: the real fence, kept beside the leases; the last word on its own memory."""

    fence: Fence = field(default_factory=Fence)
    leases: dict[str, int] = field(default_factory=dict)
    """Lease to loan."""
    obeyed: list[Generation] = field(default_factory=list)

    def export(self, order: Generation, lease: str, loan: int) -> bool:
        self.fence.admit(order)
        self.obeyed.append(order)
        if lease not in self.leases and len(self.leases) >= CAPACITY:
            return False
        return self.leases.setdefault(lease, loan) == loan

    def release(self, order: Generation, lease: str) -> None:
        self.fence.admit(order)
        self.obeyed.append(order)
        self.leases.pop(lease, None)


@dataclass(frozen=True)
class Parcel:
    """A message under way: claim, word of a lender, order, answer or grant."""

    to: str
    kind: str
    order: Generation
    lease: str = ""
    loan: int = 0


class AnyInterleaving(RuleBasedStateMachine):
    """Managers stop, die, are cut off and come back; messages are late, lost, doubled and overtaken; clocks differ."""

    @initialize(apart_s=st.lists(st.integers(-20_000, 20_000), min_size=3, max_size=3))
    def begin(self, apart_s: list[int]) -> None:
        self.managers = {
            name: Office(Leadership(name), wall_s=WALL_S + s) for name, s in zip(NAMES, apart_s, strict=True)
        }
        self.lenders = {f"lender.{host}": Host() for host in "xy"}
        self.under_way: list[Parcel] = []
        self.granted: dict[tuple[str, str], int] = {}
        """Lender and lease to the loan that was granted it."""
        self.claimed: dict[str, list[int]] = {name: [] for name in NAMES}

    # --- what happens

    @rule(name=st.sampled_from(NAMES), dt_s=st.sampled_from([0.1, 0.5, 1.0, 2.0, 4.0]))
    def time_passes_for_a_manager(self, name: str, dt_s: float) -> None:
        self._turn(name, dt_s)

    @rule(dt_s=st.sampled_from([0.5, 1.0]), turns=st.integers(1, 8))
    def time_passes(self, dt_s: float, turns: int) -> None:
        for _ in range(turns):
            for name in NAMES:
                self._turn(name, dt_s)

    @rule(name=st.sampled_from(NAMES), lender=st.sampled_from("xy"), loan=st.integers(1, 5))
    def a_manager_has_memory_exported(self, name: str, lender: str, loan: int) -> None:
        one = self.managers[name]
        if not one.stopped and one.leadership.leads(one.clock_s) and one.leadership.mine is not None:
            one.lease_number += 1
            lease = f"l{loan}-{one.lease_number % 3}"
            self._send(name, Parcel(f"lender.{lender}", "export", one.leadership.mine, lease, loan))

    @rule(name=st.sampled_from(NAMES), lender=st.sampled_from("xy"), data=st.data())
    def a_manager_takes_a_lease_back(self, name: str, lender: str, data: st.DataObject) -> None:
        one, leases = self.managers[name], sorted(self.lenders[f"lender.{lender}"].leases)
        if leases and not one.stopped and one.leadership.leads(one.clock_s) and one.leadership.mine is not None:
            lease = data.draw(st.sampled_from(leases))
            self._send(name, Parcel(f"lender.{lender}", "release", one.leadership.mine, lease))

    @rule(data=st.data(), again=st.booleans())
    def something_arrives(self, data: st.DataObject, again: bool) -> None:
        if self.under_way:
            parcel = data.draw(st.sampled_from(self.under_way))
            if not again:
                self.under_way.remove(parcel)
            self._arrive(parcel)

    @rule(data=st.data())
    def something_is_lost(self, data: st.DataObject) -> None:
        if self.under_way:
            self.under_way.remove(data.draw(st.sampled_from(self.under_way)))

    @rule(name=st.sampled_from(NAMES), stopped=st.booleans())
    def a_manager_is_stopped_or_goes_on(self, name: str, stopped: bool) -> None:
        self.managers[name].stopped = stopped

    @rule(name=st.sampled_from(NAMES), cut_off=st.booleans())
    def a_manager_is_cut_off_or_back(self, name: str, cut_off: bool) -> None:
        one = self.managers[name]
        if one.cut_off and not cut_off:
            one.leadership.listen_again(one.clock_s)
        one.cut_off = cut_off

    @rule(name=st.sampled_from(NAMES), seen=st.booleans())
    def a_manager_dies_and_starts_without_any_memory(self, name: str, seen: bool) -> None:
        self.managers[name].leadership = Leadership(name)
        for other in set(NAMES) - {name} if seen else ():
            self.managers[other].leadership.hear_status(name, online=False)

    @rule(lender=st.sampled_from("xy"), reboots=st.booleans())
    def a_lender_starts_again(self, lender: str, reboots: bool) -> None:
        host = self.lenders[f"lender.{lender}"]
        if reboots:
            self.lenders[f"lender.{lender}"] = Host()
            self.granted = {key: loan for key, loan in self.granted.items() if key[0] != f"lender.{lender}"}
        else:
            host.fence = Fence(host.fence.newest)

    @rule(number=st.integers(0, MAX_SEQ), name=st.sampled_from(NAMES))
    def a_lender_lies(self, number: int, name: str) -> None:
        one = self.managers[name]
        one.leadership.hear_lender(number, one.wall_s)

    # --- what must hold

    @invariant()
    def no_byte_is_lent_twice(self) -> None:
        for host in getattr(self, "lenders", {}).values():
            assert len(host.leases) <= CAPACITY

    @invariant()
    def every_granted_export_belongs_to_one_loan(self) -> None:
        for (lender, lease), loan in getattr(self, "granted", {}).items():
            assert self.lenders[lender].leases.get(lease, loan) == loan

    @invariant()
    def no_order_of_an_older_generation_was_obeyed(self) -> None:
        for host in getattr(self, "lenders", {}).values():
            assert host.obeyed == sorted(host.obeyed)

    @invariant()
    def a_claim_is_never_an_older_one_of_the_same_run(self) -> None:
        for name, one in getattr(self, "managers", {}).items():
            if one.leadership.mine is not None:
                assert one.leadership.mine.manager == name
                assert one.leadership.mine.number < MAX_SEQ

    def teardown(self) -> None:
        """When all is quiet, one manager serves, and every lender obeys it."""
        if not hasattr(self, "managers"):
            return
        for one in self.managers.values():
            one.stopped = one.cut_off = False
        for _ in range(30):
            for name in NAMES:
                self._turn(name, 0.5)
            for lender in self.lenders:
                self._say(lender)
            while self.under_way:
                self._arrive(self.under_way.pop(0))
        leading = [one for one in self.managers.values() if one.leadership.leads(one.clock_s)]
        assert len(leading) == 1
        for host in self.lenders.values():
            assert leading[0].leadership.mine is not None
            host.fence.admit(leading[0].leadership.mine)

    # --- inside

    def _turn(self, name: str, dt_s: float) -> None:
        one = self.managers[name]
        one.clock_s += dt_s
        one.wall_s += dt_s
        if one.stopped:
            return
        one.leadership.turn(one.clock_s, one.wall_s, ready=not one.cut_off)
        if one.leadership.mine is not None:
            for other in set(NAMES) - {name}:
                self._send(name, Parcel(other, "claim", one.leadership.mine))

    def _send(self, by: str, parcel: Parcel) -> None:
        if by not in self.managers or not self.managers[by].cut_off:
            self.under_way.append(parcel)

    def _say(self, lender: str) -> None:
        for name in NAMES:
            self._send(lender, Parcel(name, "word", self.lenders[lender].fence.newest))

    def _arrive(self, parcel: Parcel) -> None:
        if parcel.to in self.lenders:
            self._order(self.lenders[parcel.to], parcel)
            return
        one = self.managers[parcel.to]
        if one.cut_off:
            return
        if parcel.kind == "claim":
            one.leadership.hear(parcel.order.manager, parcel.order.number, one.clock_s, live=True)
        elif parcel.kind == "word":
            one.leadership.hear_lender(parcel.order.number, one.wall_s, parcel.order.manager)
        elif parcel.kind == "made" and one.leadership.leads(one.clock_s) and one.leadership.mine == parcel.order:
            lender, lease = parcel.lease.split()
            if lease in self.lenders[lender].leases:
                assert self.granted.setdefault((lender, lease), parcel.loan) == parcel.loan

    def _order(self, host: Host, parcel: Parcel) -> None:
        before = dict(host.leases)
        try:
            if parcel.kind == "release":
                host.release(parcel.order, parcel.lease)
            elif host.export(parcel.order, parcel.lease, parcel.loan):
                made = f"{parcel.to} {parcel.lease}"
                self._send(parcel.to, Parcel(parcel.order.manager, "made", parcel.order, made, parcel.loan))
        except RefusedError:
            assert parcel.order < host.fence.newest
            assert host.leases == before, "a refused order changes nothing"


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
