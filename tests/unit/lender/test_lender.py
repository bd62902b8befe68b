"""The lender's agent with fake hands: it has the last word on what is lent, and takes it back in the promised order."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.hands import GIB, FakeExports, FakePolicy, FakeSampler
from kit.memory_bus import MemoryBus
from kit.world import MIB, World
from ramshare.agent import Agent, Runtime
from ramshare.bus.api import RequestArrived
from ramshare.errors import RamshareError
from ramshare.lender.agent import START_AGAIN_S, Lender
from ramshare.lender.exports.store import Exports
from ramshare.lender.hands import Hands
from ramshare.linux.hypervisor import BalloonNote, Guest, Hypervisor, HypervisorError, NullHypervisor
from ramshare.linux.memory import MemoryUnreadableError
from ramshare.messages.replies import ErrorCode, ExportReply, Reply
from ramshare.messages.requests import Drain, ExportLease, ReleaseLease, Request, Undrain, Vacate
from ramshare.messages.state import Export, Lease, LeasePhase, Memory, Mode, Offer, SealingKey
from ramshare.sealed import SealingKeys, Secrets
from ramshare.settings import HostSettings, LenderSettings

pytestmark = pytest.mark.unit


class Obedient(Agent):
    """A borrower that gives a lease back some seconds after it was asked to, or never."""

    def __init__(self, bus: MemoryBus, runtime: Runtime, exports: FakeExports) -> None:
        super().__init__(bus, runtime)
        self.exports = exports
        self.asked: list[Vacate] = []
        self.obeys = True

    def begin(self) -> None:
        self.handle(Vacate, self._vacate)

    def tick(self) -> float:
        return 60.0

    def _vacate(self, arrived: RequestArrived[Vacate]) -> Reply | None:
        request = arrived.request
        self.asked.append(request)
        if self.obeys:
            for lease in request.leases:
                self.exports.sessions.discard(lease)
                self.bus.ask(arrived.client, ReleaseLease(lease=lease), 10.0)
        return Reply(request_id=request.request_id)


class Scene(World):
    """One lender, host a, with its manager and borrower b as plain clients."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.exports = FakeExports(directory)
        self.policy = FakePolicy()
        self.sampler = FakeSampler()
        self.manager = self.bus("manager")
        self.clients: dict[str, MemoryBus] = {"manager": self.manager}
        self.numbers = iter(range(10_000))
        self.keys = SealingKeys()
        for borrower in ("borrower.b", "borrower.c"):
            self.tell_key(borrower, self.keys)

    def tell_key(self, borrower: str, keys: SealingKeys | None) -> None:
        message = SealingKey(public_key=keys.public).to_json() if keys else b""
        self.broker.publish(borrower, f"ramshare/v1/state/{borrower}/key", message, retain=True)

    def lender(self, hypervisor: Hypervisor | None = None, share_bytes: int | None = None, **changes: Any) -> Lender:
        settings = LenderSettings(**{"reserve_bytes": 512 * MIB, "directory": self.exports.marker.parent, **changes})
        hands = Hands(
            exports=cast("Exports", self.exports),
            portal="10.0.0.1:3260",
            sampler=self.sampler,
            policy=self.policy,
            hypervisor=hypervisor or NullHypervisor(),
            share_bytes=share_bytes,
        )

        def make(bus: MemoryBus, runtime: Runtime) -> Lender:
            return Lender(bus, HostSettings(host="a"), settings, hands, runtime)

        lender = cast("Lender", self.start(make, "lender.a"))
        self.advance(1)
        return lender

    def borrower(self) -> Obedient:
        return cast("Obedient", self.start(lambda bus, runtime: Obedient(bus, runtime, self.exports), "borrower.b"))

    def ask(self, client: str, request: Request) -> "Future[Reply]":
        if client in self.agents:
            bus = cast("MemoryBus", self.agents[client].bus)
        else:
            bus = self.clients.setdefault(client, cast("MemoryBus", self.clients.get(client)) or self.bus(client))
        future = bus.ask("lender.a", request, 60.0)
        self.settle()
        return future

    def export(self, mib: int, lease: str = "", **changes: Any) -> Reply:
        fields: dict[str, Any] = {"borrower": "borrower.b", "initiator": "iqn.2026-11.test:b", "mode": Mode.MIRROR}
        lease = lease or f"l{next(self.numbers)}"
        request = ExportLease(lease=lease, size_bytes=mib * MIB, **{**fields, **changes})
        return self.ask("manager", request).result()

    def attach(self, mib: int, lease: str, **changes: Any) -> None:
        assert self.export(mib, lease, **changes).ok
        self.exports.sessions.add(lease)
        self.advance(3)

    def offer(self) -> Offer:
        found = self.state("lender.a", "offer")
        assert isinstance(found, Offer)
        return found

    def lent(self) -> int:
        return sum(record.size_bytes for record in self.exports.records.values())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()
    assert scene.errors.seen == []


# ---- offering and exporting


def test_the_offer_is_the_policys_word_with_its_reason(scene: Scene) -> None:
    scene.lender()
    offer = scene.offer()
    assert (offer.capacity_bytes // MIB, offer.free_bytes // MIB, offer.exportable) == (992, 992, True)
    assert "the guests use little" in offer.reason


def test_an_export_is_granted_shown_and_taken_off_the_offer(scene: Scene) -> None:
    scene.lender()
    reply = scene.export(400, "l1")
    assert isinstance(reply, ExportReply)
    assert reply.grant is not None
    assert (reply.grant.lease, reply.grant.portal, reply.grant.size_bytes) == ("l1", "10.0.0.1:3260", 400 * MIB)
    shown = scene.state("lender.a", "export/l1")
    assert isinstance(shown, Export)
    assert (shown.borrower, shown.phase, shown.connected) == ("borrower.b", LeasePhase.EXPORTED, False)
    assert scene.offer().free_bytes == scene.offer().capacity_bytes - 400 * MIB
    assert scene.offer().lent_bytes == 400 * MIB


def secrets_of(scene: Scene, reply: Reply) -> Secrets:
    assert isinstance(reply, ExportReply)
    assert reply.grant is not None
    return scene.keys.open(reply.grant.sealed_secrets.get_secret_value())


def test_the_secrets_travel_sealed_to_the_borrowers_own_key_and_nobody_else_can_read_them(scene: Scene) -> None:
    scene.lender()
    assert secrets_of(scene, scene.export(400, "l1")) == Secrets("secret-of-l1", "proof-of-l1")
    assert not [p.topic for _, p in scene.broker.published if b"-of-l1" in p.payload]


def test_a_key_that_somebody_else_publishes_for_a_borrower_is_not_sealed_to(scene: Scene) -> None:
    scene.lender()
    forged = SealingKey(public_key=SealingKeys().public).to_json()
    for topic in ("state/borrower.b/key", "state/manager/key", "state/guest.b/key"):
        scene.broker.publish("manager", f"ramshare/v1/{topic}", forged, retain=True)
    assert secrets_of(scene, scene.export(400, "l1")).borrower == "secret-of-l1"


def test_a_borrower_that_restarts_is_granted_by_its_new_key(scene: Scene) -> None:
    scene.lender()
    scene.keys = SealingKeys()
    scene.tell_key("borrower.b", scene.keys)
    assert secrets_of(scene, scene.export(400, "l1")).borrower == "secret-of-l1"


def test_nothing_is_made_for_a_borrower_without_a_key(scene: Scene) -> None:
    scene.lender()
    scene.tell_key("borrower.b", None)
    reply = scene.export(400, "l1")
    assert reply.error is ErrorCode.NOT_READY
    assert "has not published the key" in reply.sentence
    assert scene.lent() == 0


def test_a_lease_that_is_asked_for_again_is_the_same_lease(scene: Scene) -> None:
    scene.lender()
    first, again = scene.export(400, "l1"), scene.export(400, "l1")
    assert isinstance(first, ExportReply)
    assert isinstance(again, ExportReply)
    assert first.grant is not None
    assert again.grant is not None
    sealed = {"sealed_secrets"}
    assert first.grant.model_dump(exclude=sealed) == again.grant.model_dump(exclude=sealed)
    assert secrets_of(scene, first) == secrets_of(scene, again)
    assert scene.lent() == 400 * MIB


def test_the_lender_refuses_what_it_cannot_cover_whatever_the_manager_thinks(scene: Scene) -> None:
    scene.lender()
    assert scene.export(800).ok
    reply = scene.export(400)
    assert reply.error is ErrorCode.NO_CAPACITY
    assert "192 MiB" in reply.sentence
    assert scene.lent() == 800 * MIB


def test_a_move_may_use_committed_memory_only(scene: Scene) -> None:
    scene.lender(committed_bytes=256 * MIB)
    assert scene.export(300, mode=Mode.MOVE).error is ErrorCode.NO_CAPACITY
    assert scene.export(200, mode=Mode.MOVE).ok
    assert scene.export(100, mode=Mode.MOVE).error is ErrorCode.NO_CAPACITY
    assert scene.export(100, mode=Mode.MIRROR).ok


def test_two_exports_at_the_same_time_do_not_get_the_same_bytes(scene: Scene) -> None:
    scene.lender()
    scene.worker.hold()
    requests = [
        ExportLease(
            lease=lease,
            borrower="borrower.b",
            initiator="iqn.2026-11.test:b",
            size_bytes=600 * MIB,
            mode=Mode.MIRROR,
        )
        for lease in ("l1", "l2")
    ]
    futures = [scene.ask("manager", request) for request in requests]
    scene.worker.go_on()
    scene.settle()
    assert [future.result().error for future in futures] == [None, ErrorCode.NO_CAPACITY]


def test_an_export_that_fails_leaves_the_offer_as_it_was(scene: Scene) -> None:
    scene.lender()
    before = scene.offer().free_bytes
    scene.exports.fails = RamshareError("tgtadm: no space left on device")
    reply = scene.export(400)
    assert reply.error is ErrorCode.FAILED
    assert "no space" in reply.sentence
    scene.exports.fails = None
    scene.advance(6)
    assert scene.offer().free_bytes == before
    assert scene.states("lender.a", "export/") == {}


def test_only_the_manager_has_memory_exported(scene: Scene) -> None:
    scene.broker.lax = True  # the rules would refuse it before the agent does
    scene.lender()
    request = ExportLease(
        lease="l1", borrower="borrower.b", initiator="iqn.2026-11.test:b", size_bytes=MIB, mode=Mode.MIRROR
    )
    for client in ("borrower.b", "cli.al", "lender.c"):
        assert scene.ask(client, request).result().error is ErrorCode.NOT_ALLOWED
    assert scene.lent() == 0


def test_a_lender_that_cannot_start_says_so_offers_nothing_and_tries_again(scene: Scene) -> None:
    scene.exports.fails = RamshareError("tgtd does not answer")
    scene.lender()
    assert not scene.offer().exportable
    assert scene.export(100).error is ErrorCode.NOT_READY
    scene.exports.fails = None
    scene.advance(START_AGAIN_S + 7)
    assert scene.offer().exportable


def test_a_lender_whose_target_listens_elsewhere_offers_nothing_says_why_and_keeps_what_is_lent(scene: Scene) -> None:
    scene.lender()
    assert scene.export(100).ok
    scene.exports.misplaced = "the target serves 0.0.0.0:3260, and it was told to serve 10.0.0.1:3260 only"
    scene.advance(30)
    offer = scene.offer()
    assert (offer.free_bytes, offer.lent_bytes, offer.exportable) == (0, 100 * MIB, False)
    assert "told to serve 10.0.0.1:3260 only" in offer.reason
    assert scene.export(10, "l2").error is ErrorCode.NO_CAPACITY
    assert scene.lent() == 100 * MIB, "nothing is asked back for it"
    scene.exports.misplaced = ""
    scene.advance(10)
    assert scene.offer().exportable


def test_a_lender_that_cannot_start_for_its_address_says_that_in_its_offer(scene: Scene) -> None:
    scene.exports.fails = RamshareError("another program listens at 10.0.0.1:3260")
    scene.exports.misplaced = "another program listens at 10.0.0.1:3260"
    scene.lender()
    scene.advance(10)
    assert scene.offer().reason == "nothing is offered: another program listens at 10.0.0.1:3260"


def test_a_host_whose_own_swap_is_remote_offers_nothing_until_it_is_home(scene: Scene) -> None:
    scene.lender()
    own = scene.bus("borrower.a")
    lease = Lease(
        lease="l9", lender="lender.c", volume="vg/swap", size_bytes=1, mode=Mode.MIRROR, phase=LeasePhase.ATTACHED
    )
    own.set_state("lease/l9", lease)
    scene.advance(1)
    assert (scene.offer().exportable, scene.offer().capacity_bytes) == (False, 0)
    assert scene.export(100).error is ErrorCode.NO_CAPACITY
    own.set_state("lease/l9", None)
    scene.advance(1)
    assert scene.offer().exportable


def test_memory_that_is_lent_is_not_counted_as_used_by_the_host_itself(scene: Scene) -> None:
    scene.lender()
    before = scene.policy.samples[-1].used_bytes
    scene.export(400)
    scene.sampler.available_bytes -= 400 * MIB
    scene.advance(6)
    assert scene.policy.samples[-1].used_bytes == before


# ---- giving back


def test_a_borrower_gives_its_lease_back_and_the_memory_is_offered_again(scene: Scene) -> None:
    scene.lender()
    before = scene.offer().free_bytes
    scene.export(400, "l1")
    assert scene.ask("borrower.b", ReleaseLease(lease="l1")).result().ok
    assert scene.offer().free_bytes == before
    assert scene.state("lender.a", "export/l1") is None
    assert len(scene.events("released")) == 1


@pytest.mark.parametrize(
    ("client", "lease", "code"),
    [
        ("borrower.c", "l1", ErrorCode.NOT_ALLOWED),
        ("cli.al", "l1", ErrorCode.NOT_ALLOWED),
        ("borrower.b", "l7", ErrorCode.UNKNOWN_LEASE),
        ("manager", "l7", ErrorCode.UNKNOWN_LEASE),
    ],
)
def test_a_release_is_refused_to_strangers_and_for_unknown_leases(
    scene: Scene, client: str, lease: str, code: ErrorCode
) -> None:
    scene.broker.lax = True  # the rules would refuse it before the agent does
    scene.lender()
    scene.export(400, "l1")
    assert scene.ask(client, ReleaseLease(lease=lease)).result().error is code
    assert scene.lent() == 400 * MIB


def test_a_lender_that_has_just_started_denies_no_lease_that_it_may_have(scene: Scene) -> None:
    scene.exports.fails = RamshareError("the RAM file system is busy")
    scene.lender()
    assert scene.ask("borrower.b", ReleaseLease(lease="l1")).result().error is ErrorCode.NOT_READY


def test_a_lease_with_an_open_session_is_not_removed_by_a_release(scene: Scene) -> None:
    scene.lender()
    scene.attach(400, "l1")
    assert scene.ask("manager", ReleaseLease(lease="l1")).result().error is ErrorCode.IN_USE
    assert scene.lent() == 400 * MIB
    assert isinstance(scene.state("lender.a", "export/l1"), Export)


def test_an_honest_release_waits_behind_no_crowd_of_small_leases(scene: Scene) -> None:
    scene.lender()
    scene.export(400, "l1")
    scene.worker.hold()
    crowd = [
        ExportLease(
            lease=f"tiny{n}",
            borrower="borrower.c",
            initiator="iqn.2026-11.test:c",
            size_bytes=4 * MIB,
            mode=Mode.MIRROR,
        )
        for n in range(100)
    ]
    for request in crowd:
        scene.ask("manager", request)
    release = scene.ask("borrower.b", ReleaseLease(lease="l1"))
    before: list[int] = []
    scene.exports.on_removed = lambda _lease: before.append(len(scene.exports.records))
    scene.worker.go_on()
    scene.settle()
    assert release.result().ok
    assert (before, len(scene.exports.records)) == ([0], 100), "nothing was made before it"


@pytest.mark.parametrize("size_bytes", [1, 4 * MIB - 1])
def test_no_lease_is_smaller_than_the_smallest(scene: Scene, size_bytes: int) -> None:
    scene.lender()
    request = ExportLease(
        lease="l1", borrower="borrower.b", initiator="iqn.2026-11.test:b", size_bytes=size_bytes, mode=Mode.MIRROR
    )
    reply = scene.ask("manager", request).result()
    assert (reply.error, "the smallest lease is 4 MiB" in reply.sentence) == (ErrorCode.BAD_REQUEST, True)
    assert scene.lent() == 0


def test_memory_that_is_back_is_announced_once_though_two_ask_for_it(scene: Scene) -> None:
    scene.lender()
    scene.export(400, "l1")
    scene.worker.hold()
    futures = [scene.ask(client, ReleaseLease(lease="l1")) for client in ("borrower.b", "manager")]
    scene.worker.go_on()
    scene.settle()
    assert all(future.result().ok for future in futures)
    assert len(scene.events("released")) == 1


# ---- reclaim


def test_the_smallest_sufficient_set_is_asked_back_when_less_can_be_lent(scene: Scene) -> None:
    scene.lender()
    borrower = scene.borrower()
    for mib, lease in ((400, "big"), (200, "middle"), (100, "small")):
        scene.attach(mib, lease)
    scene.policy.lendable_bytes = 520 * MIB
    scene.advance(10)
    assert [request.leases for request in borrower.asked] == [("middle",)]
    assert borrower.asked[0].size_bytes == 200 * MIB
    assert scene.exports.removed == [("middle", False)]
    assert scene.offer().lent_bytes == 500 * MIB


def test_a_mirror_whose_borrower_lets_the_deadline_pass_is_cut_off(scene: Scene) -> None:
    scene.lender(vacate_within_s=10.0)
    borrower = scene.borrower()
    borrower.obeys = False
    scene.attach(400, "l1")
    scene.policy.lendable_bytes = 0
    while not borrower.asked:
        scene.advance(1)
    scene.advance(8)
    assert scene.exports.removed == []
    scene.advance(4)
    assert scene.exports.removed == [("l1", True)]
    assert len(scene.events("released")) == 1


def test_a_mirror_whose_borrower_is_gone_is_cut_off_too(scene: Scene) -> None:
    scene.lender()
    scene.attach(400, "l1")
    scene.policy.lendable_bytes = 0
    scene.advance(20)
    assert scene.exports.removed == [("l1", True)]


def test_committed_memory_is_not_called_back_when_the_policy_says_less(scene: Scene) -> None:
    scene.lender(committed_bytes=512 * MIB)
    borrower = scene.borrower()
    scene.attach(400, "l1", mode=Mode.MOVE)
    scene.policy.lendable_bytes = 0
    scene.advance(60)
    assert borrower.asked == []
    assert scene.lent() == 400 * MIB


def test_a_drain_asks_everything_back_and_never_cuts_a_move_off_but_reminds(scene: Scene) -> None:
    scene.lender(committed_bytes=512 * MIB)
    borrower = scene.borrower()
    borrower.obeys = False
    scene.attach(400, "l1", mode=Mode.MOVE)
    scene.attach(100, "l2")
    reply = scene.ask("cli.al", Drain()).result()
    assert "500 MiB" in reply.sentence
    scene.advance(60)
    assert scene.exports.removed == [("l2", True)]
    assert "l1" in scene.exports.records
    assert len([request for request in borrower.asked if "l1" in request.leases]) > 3
    borrower.obeys = True
    scene.advance(15)
    assert scene.exports.removed[-1] == ("l1", False)


def test_a_drained_host_offers_nothing_until_undrain_over_a_restart_too(scene: Scene) -> None:
    scene.lender()
    assert scene.ask("cli.al", Drain()).result().ok
    assert (scene.offer().exportable, scene.offer().draining) == (False, True)
    scene.kill("lender.a")
    scene.lender()
    assert (scene.offer().exportable, scene.offer().draining) == (False, True)
    assert scene.ask("cli.al", Undrain()).result().ok
    assert (scene.offer().exportable, scene.offer().draining) == (True, False)


def test_a_host_below_its_reserve_asks_memory_back(scene: Scene) -> None:
    scene.lender()
    borrower = scene.borrower()
    scene.attach(400, "l1")
    scene.sampler.available_bytes = 300 * MIB
    scene.advance(8)
    assert [request.leases for request in borrower.asked] == [("l1",)]


# ---- restart


def test_exports_outlive_the_agent(scene: Scene) -> None:
    scene.lender()
    scene.attach(400, "l1")
    scene.kill("lender.a")
    scene.lender()
    scene.advance(3)
    shown = scene.state("lender.a", "export/l1")
    assert isinstance(shown, Export)
    assert (shown.phase, shown.connected) == (LeasePhase.ATTACHED, True)
    assert scene.offer().lent_bytes == 400 * MIB
    assert scene.exports.removed == []


def test_what_an_earlier_run_left_retained_is_cleared(scene: Scene) -> None:
    scene.lender()
    scene.export(400, "l1")
    scene.export(100, "l2")
    scene.kill("lender.a")
    del scene.exports.records["l1"]
    scene.lender()
    scene.advance(2)
    assert set(scene.states("lender.a", "export/")) == {"export/l2"}


def test_after_a_broker_that_forgot_everything_it_is_all_there_again(scene: Scene) -> None:
    scene.lender()
    scene.export(400, "l1")
    scene.broker.restart(keep=[])
    scene.advance(2)
    assert isinstance(scene.state("lender.a", "export/l1"), Export)
    assert scene.offer().lent_bytes == 400 * MIB


# ---- whatever is asked


@given(
    script=st.lists(
        st.one_of(
            st.tuples(st.just("export"), st.integers(4, 700), st.booleans()),
            st.tuples(st.just("release"), st.integers(0, 8), st.booleans()),
            st.tuples(st.just("lendable"), st.integers(0, 1500), st.booleans()),
            st.tuples(st.just("wait"), st.integers(1, 20), st.booleans()),
        ),
        max_size=25,
    )
)
@settings(max_examples=40)
def test_never_more_is_lent_than_may_be_and_ledger_and_topics_agree(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int, bool]]
) -> None:
    scene = Scene(tmp_path_factory.mktemp("lender"))
    scene.lender(committed_bytes=128 * MIB, limit_bytes=1200 * MIB)
    scene.borrower()
    made: list[str] = []
    for what, number, flag in script:
        if what == "export":
            before = scene.offer()
            lease = f"l{len(made)}"
            mode = Mode.MOVE if flag else Mode.MIRROR
            granted = scene.export(number, lease, mode=mode).ok
            assert granted == (number * MIB <= (before.committed_free_bytes if flag else before.free_bytes))
            made += [lease] if granted else []
        elif what == "release" and made:
            scene.ask("borrower.b", ReleaseLease(lease=made[number % len(made)]))
        elif what == "lendable":
            scene.policy.lendable_bytes = number * MIB
        else:
            scene.advance(number)
        assert scene.lent() <= 1200 * MIB
        assert scene.offer().lent_bytes == scene.lent()
        assert set(scene.states("lender.a", "export/")) == {f"export/{lease}" for lease in scene.exports.records}
    scene.advance(30)
    moved = sum(r.size_bytes for r in scene.exports.records.values() if r.mode is Mode.MOVE)
    assert moved <= 128 * MIB
    assert scene.lent() <= max(scene.offer().capacity_bytes, moved)
    scene.close()
    assert scene.errors.seen == []


class OneGuest:
    """A hypervisor with one guest of 4 GiB whose balloon obeys."""

    present = True

    def __init__(self) -> None:
        self.guest: Guest | None = Guest("u1", "web1", 4096 * MIB, 4096 * MIB)

    @property
    def actual_mib(self) -> int:
        return self.guest.actual_bytes // MIB if self.guest else 0

    def start(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change

    def stop(self) -> None:
        pass

    def guests(self) -> tuple[Guest, ...]:
        return (self.guest,) if self.guest else ()

    def write_note(self, uuid: str, note: BalloonNote | None) -> None:
        pass

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        assert self.guest is not None
        self.guest = Guest("u1", "web1", 4096 * MIB, target_bytes)


class Ballooning:
    """A lender with one guest that uses 1000 of its 4096 MiB, on a host that has 1 GiB besides."""

    def __init__(self, scene: Scene, lendable_mib: int) -> None:
        self.scene, self.hypervisor = scene, OneGuest()
        self.lender = scene.lender(self.hypervisor)
        self.guest = scene.bus("guest.web1")
        self.exported_mib = 0
        scene.policy.lendable_bytes = lendable_mib * MIB
        for _ in range(30):
            self.measure()
            self.report(1000)

    def report(self, used_mib: int) -> None:
        has = self.hypervisor.actual_mib
        used_mib = min(used_mib, has - 10)  # the rest is in its swap
        sizes = {"total_bytes": has * MIB, "available_bytes": (has - used_mib) * MIB, "used_bytes": used_mib * MIB}
        self.guest.set_state("memory", Memory(**sizes, interval_s=5.0))
        self.scene.advance(2)

    def export(self, mib: int) -> None:
        assert self.scene.export(mib).ok
        self.exported_mib += mib

    def measure(self) -> None:
        free_mib = 1024 + 4096 - self.hypervisor.actual_mib - self.exported_mib
        self.scene.sampler.available_bytes = free_mib * MIB


def test_a_loan_does_not_make_the_balloons_give_back_what_it_was_made_of(scene: Scene) -> None:
    host = Ballooning(scene, lendable_mib=2000)
    held = host.hypervisor.actual_mib
    assert held == pytest.approx(4096 - 1488, abs=17)
    host.export(1500)
    for _ in range(10):
        scene.advance(1)
        assert host.hypervisor.actual_mib == held
        host.measure()


def test_what_was_just_lent_is_not_offered_again_before_the_host_shows_it(scene: Scene) -> None:
    host = Ballooning(scene, lendable_mib=8000)
    free = scene.offer().free_bytes
    host.export(300)
    assert scene.offer().free_bytes <= free - 300 * MIB


def test_a_guest_gets_no_more_than_the_host_has_and_the_rest_as_soon_as_a_lease_is_back(scene: Scene) -> None:
    borrower = scene.borrower()
    host = Ballooning(scene, lendable_mib=3000)
    scene.exports.sessions.add("l0")
    host.export(2200)
    for _ in range(5):
        host.measure()
        host.report(1000)
    host.measure()
    spare_mib = 1024 + 4096 - host.hypervisor.actual_mib - 2200
    before = host.hypervisor.actual_mib
    borrower.obeys = False
    host.report(2500)
    assert before < host.hypervisor.actual_mib <= before + spare_mib
    assert borrower.asked, "the lease is asked back, although the policy would lend as much as before"
    host.exported_mib = 0
    scene.exports.sessions.discard("l0")
    assert scene.ask("borrower.b", ReleaseLease(lease="l0")).result().ok
    for _ in range(5):
        host.measure()
        host.report(2500)
    assert host.hypervisor.actual_mib >= 2500 * 1.2


def test_what_nobody_has_borrowed_goes_back_to_its_guest_even_on_a_host_that_has_nothing_left(scene: Scene) -> None:
    host = Ballooning(scene, lendable_mib=2000)
    assert host.hypervisor.actual_mib < 2700
    scene.policy.lendable_bytes = 0
    scene.sampler.available_bytes = 0
    for _ in range(8):
        host.report(3500)
    assert host.hypervisor.actual_mib == 4096


@pytest.mark.parametrize(("share_bytes", "told"), [(None, 9.0), (8 * GIB, None)])
def test_pressure_of_a_machine_that_several_hosts_share_is_nobodys(
    scene: Scene, share_bytes: int | None, told: float | None
) -> None:
    scene.sampler.psi_some = 9.0
    scene.lender(share_bytes=share_bytes)
    assert scene.policy.samples[-1].psi_some == told


class Silent(OneGuest):
    """A hypervisor that does not answer."""

    def guests(self) -> tuple[Guest, ...]:
        raise HypervisorError("libvirtd is being started")


def test_a_lender_that_cannot_see_its_guests_yet_asks_nothing_back_for_that(scene: Scene) -> None:
    scene.lender(OneGuest())
    borrower = scene.borrower()
    scene.attach(400, "l1")
    scene.kill("lender.a")
    scene.lender(Silent())
    scene.advance(30)
    assert not scene.offer().exportable
    assert borrower.asked == []
    assert scene.lent() == 400 * MIB


def test_a_guests_spare_memory_comes_to_the_host_and_back_before_it_swaps(scene: Scene) -> None:
    hypervisor = OneGuest()
    lender = scene.lender(hypervisor)
    guest = scene.bus("guest.web1")
    scene.sampler.available_bytes = 1 * GIB
    scene.policy.lendable_bytes = 2000 * MIB

    def report(used_mib: int) -> None:
        has = hypervisor.actual_mib
        memory = Memory(
            total_bytes=has * MIB, available_bytes=(has - used_mib) * MIB, used_bytes=used_mib * MIB, interval_s=5.0
        )
        guest.set_state("memory", memory)
        scene.advance(2)

    for _ in range(30):
        report(1000)
        scene.sampler.available_bytes = GIB + 4096 * MIB - hypervisor.actual_mib * MIB
    assert lender.reports.heard == {"web1"}
    assert 2000 <= scene.offer().capacity_bytes // MIB + 16 < 2033
    assert hypervisor.actual_mib == pytest.approx(4096 - 1488, abs=17)
    scene.policy.lendable_bytes = 500 * MIB  # it suddenly needs its memory
    report(2550)
    assert hypervisor.actual_mib >= 2550 * 1.2
    assert scene.offer().capacity_bytes <= 500 * MIB
    hypervisor.guest = None  # migrated away: it is nobody's business here any more
    scene.advance(3)
    assert lender.reports.heard == frozenset()
    assert not list(lender.reports.said)


def test_memory_that_cannot_be_read_ends_new_loans_and_no_old_one(scene: Scene) -> None:
    scene.lender()
    scene.borrower()
    scene.attach(512, "old")

    def unreadable() -> Memory:
        raise MemoryUnreadableError("/proc/meminfo does not say how much memory there is")

    scene.sampler.sample = unreadable  # type: ignore[method-assign]
    scene.advance(30)
    assert scene.offer().free_bytes == 0
    assert "/proc/meminfo does not say" in scene.offer().reason
    assert scene.lent() == 512 * MIB
    assert not scene.export(64, "new").ok


# ---- of several managers the newest is obeyed


def test_an_order_of_a_manager_that_was_replaced_is_refused_and_changes_nothing(scene: Scene) -> None:
    scene.lender()
    assert scene.export(64, "l1", generation=8).ok
    refused = scene.export(64, "l2", generation=7)
    assert refused.error is ErrorCode.OUTDATED
    released = scene.ask("manager", ReleaseLease(lease="l1", generation=7)).result()
    assert released.error is ErrorCode.OUTDATED
    assert list(scene.exports.records) == ["l1"]
    assert scene.offer().generation == 8, "others learn of it"


def test_whom_it_obeys_outlasts_the_lenders_agent(scene: Scene) -> None:
    scene.lender()
    assert scene.export(64, "l1", generation=8).ok
    scene.kill("lender.a")
    scene.lender()
    assert scene.export(64, "l2", generation=7).error is ErrorCode.OUTDATED


def test_a_borrower_gives_back_whatever_manager_is_active(scene: Scene) -> None:
    scene.lender()
    assert scene.export(64, "l1", generation=8).ok
    assert scene.ask("borrower.b", ReleaseLease(lease="l1")).result().ok
