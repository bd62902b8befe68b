"""What a guest may ask of its host, and everything that it may not: name, learn, or ask too often."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from kit.borrower_scene import Scene
from kit.hands import VOLUME, FakeGuestDisks
from kit.memory_bus import MemoryBus
from ramshare.borrower.guest_requests import ASKS, CANNOT, CLAIM_STALE_S, NOT_YOURS, TWO_HOSTS, WHY_NOT
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import (
    BorrowMemory,
    BorrowOwnSwap,
    BorrowVolume,
    Drain,
    Request,
    ReturnOwnSwap,
    ReturnVolume,
)
from ramshare.messages.state import GuestClaim, Mode, VolumePhase
from ramshare.settings import GuestAllowance

pytestmark = pytest.mark.unit

MIRROR = {"web1": GuestAllowance(VOLUME, Mode.MIRROR)}


class GuestScene(Scene):
    """A host whose guest web1 swaps to its volume."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.vms = FakeGuestDisks(web1=(VOLUME,))
        self.disks = self.vms
        self.web1 = self.bus("guest.web1")

    def ask(self, request: Request, bus: MemoryBus | None = None) -> "Future[Reply]":
        future = (bus or self.web1).ask("host", request, 60.0)
        self.settle()
        return future

    def asks(self, request: Request) -> Reply:
        future = self.ask(request)
        self.advance(20)
        return future.result(0)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[GuestScene]:
    scene = GuestScene(tmp_path)
    yield scene
    scene.close()
    assert scene.errors.seen == []


def open_to_guests(scene: GuestScene, **allowed: Any) -> GuestScene:
    scene.lender("x", 9, committed=9)
    scene.ready(guests=allowed or MIRROR, hypervisor="test")
    scene.advance(5)
    return scene


# ---- what it may


def test_a_guest_borrows_for_its_own_swap_and_brings_it_home(scene: GuestScene) -> None:
    open_to_guests(scene)
    reply = scene.asks(BorrowOwnSwap())
    assert (reply.error, reply.sentence) == (None, "your swap goes to remote memory, by mirror")
    assert (scene.volume().phase, scene.volume().mode) == (VolumePhase.ATTACHED, Mode.MIRROR)
    assert scene.asks(BorrowOwnSwap()).sentence == "it is on remote memory already"
    reply = scene.asks(ReturnOwnSwap())
    assert (reply.error, reply.sentence) == (None, "your swap comes home to the local disk")
    scene.advance(20)
    assert (scene.volume().phase, scene.lent()) == (VolumePhase.HOME, 0)
    assert scene.kinds().count("guest-asked") == 3


def test_the_owner_of_the_host_sets_the_mode_and_the_most(scene: GuestScene) -> None:
    open_to_guests(scene, web1=GuestAllowance(VOLUME, Mode.MOVE, 2))
    too_much = scene.asks(BorrowOwnSwap(size_bytes=3))
    assert (too_much.error, "at most" in too_much.sentence) == (ErrorCode.NOT_ALLOWED, True)
    assert scene.lent() == 0
    assert scene.asks(BorrowOwnSwap()).ok
    assert (scene.volume().mode, scene.volume().remote_bytes) == (Mode.MOVE, 2)


def test_a_guest_may_take_less_than_its_host_allows(scene: GuestScene) -> None:
    open_to_guests(scene, web1=GuestAllowance(VOLUME, Mode.MOVE, 3))
    assert scene.asks(BorrowOwnSwap(size_bytes=1)).ok
    assert scene.volume().remote_bytes == 1


def test_a_volume_that_its_hosts_owner_attached_is_left_as_it_is(scene: GuestScene) -> None:
    open_to_guests(scene)
    scene.borrow(Mode.MOVE)
    assert scene.asks(BorrowOwnSwap()).sentence == "it is on remote memory already"
    assert scene.volume().mode is Mode.MOVE


# ---- what it may not


def test_without_the_owners_word_nobody_hears_a_guest(scene: GuestScene) -> None:
    scene.lender("x", 9)
    scene.ready()
    future = scene.ask(BorrowOwnSwap())
    scene.advance(10)
    assert not future.done()
    assert scene.lent() == 0


@pytest.mark.parametrize("guest", ["web2", "web1.evil", "web"])
def test_another_guest_is_not_served_whatever_it_is_called(scene: GuestScene, guest: str) -> None:
    open_to_guests(scene)
    future = scene.ask(BorrowOwnSwap(), scene.bus(f"guest.{guest}"))
    scene.advance(10)
    assert not future.done()
    assert scene.lent() == 0


@pytest.mark.parametrize("server", ["borrower.b", "manager", "lender.x", "all"])
@pytest.mark.parametrize("lax", [False, True], ids=["by the broker", "by the agents"])
def test_a_guest_can_ask_nobody_but_its_host(scene: GuestScene, server: str, lax: bool) -> None:
    open_to_guests(scene)
    scene.broker.lax = lax
    need = BorrowMemory(volume=VOLUME, size_bytes=1, mode=Mode.MIRROR, initiator="iqn.x:web1")
    for request in (BorrowVolume(volume=VOLUME), ReturnVolume(volume=VOLUME), need, Drain(), BorrowOwnSwap()):
        topic = f"ramshare/v1/request/{server}/guest.web1/{request.VERB}"
        scene.broker.publish("guest.web1", topic, request.to_json())
    scene.advance(20)
    assert (scene.lent(), scene.model.tagged) == (0, False)
    assert not any(lender.asked for lender in scene.lenders.values())


@pytest.mark.parametrize("as_client", ["guest.web1", "borrower.b", "cli.al"])
def test_nobody_speaks_in_a_guests_name(scene: GuestScene, as_client: str) -> None:
    open_to_guests(scene)
    topic = f"ramshare/v1/request/host/{as_client}/borrow"
    for author in ("guest.web2", "cli.al", "lender.x"):
        if author != as_client:
            scene.broker.publish(author, topic, BorrowOwnSwap().to_json())
    scene.advance(10)
    assert scene.lent() == 0


def test_a_volume_named_in_the_payload_is_not_read(scene: GuestScene) -> None:
    open_to_guests(scene)
    payload = BorrowOwnSwap().to_json().replace(b"{", b'{"volume": "vg0/other", "mode": "move", "host": "b",', 1)
    scene.broker.publish("guest.web1", "ramshare/v1/request/host/guest.web1/borrow", payload)
    scene.advance(20)
    assert (scene.volume().volume, scene.volume().mode) == (VOLUME, Mode.MIRROR)


def test_what_is_refused_tells_nothing_of_the_cluster(scene: GuestScene) -> None:
    scene.lender("secretive", 2)
    scene.ready(guests=MIRROR, hypervisor="test")
    scene.advance(5)
    reply = scene.asks(BorrowOwnSwap())
    assert (reply.error, reply.sentence) == (ErrorCode.NO_CAPACITY, WHY_NOT[ErrorCode.NO_CAPACITY])
    scene.host.refuses = (ErrorCode.NOT_SWAP, "vg0/swap holds an ext4 file system of web9")
    assert scene.asks(BorrowOwnSwap()).sentence == CANNOT


def test_no_answer_names_a_host_a_volume_a_lender_or_a_lease(scene: GuestScene) -> None:
    open_to_guests(scene)
    for request in (BorrowOwnSwap(), BorrowOwnSwap(), ReturnOwnSwap(), BorrowOwnSwap(size_bytes=1)):
        scene.asks(request)
    told = [(p.topic, p.payload) for _, p in scene.broker.published if "/reply/guest." in p.topic]
    assert len(told) == 4
    for topic, payload in told:
        assert topic == "ramshare/v1/reply/guest.web1/host"
        reply = Reply.model_validate_json(payload)
        assert (reply.instance, reply.seq) == ("", 0), "a count of the host's messages would tell what it does"
        for word in (b"borrower", b"lender", b"vg0", b"lease", b'"leases"'):
            assert word not in payload.replace(b"ramshare-borrower", b""), payload


def test_a_guest_that_asks_too_often_is_told_so_and_nothing_is_done(scene: GuestScene) -> None:
    open_to_guests(scene)
    replies = [scene.ask(ReturnOwnSwap()).result(0) for _ in range(ASKS.burst + 3)]
    assert [reply.error for reply in replies[ASKS.burst :]] == [ErrorCode.BUSY] * 3
    assert "too often" in replies[-1].sentence
    scene.advance(11)
    assert scene.ask(ReturnOwnSwap()).result(0).ok


def test_a_flood_is_dropped_before_it_is_read(scene: GuestScene) -> None:
    open_to_guests(scene)
    futures = [scene.web1.ask("host", ReturnOwnSwap(), 60.0) for _ in range(500)]
    scene.settle()
    assert sum(future.done() for future in futures) <= 30


def test_the_same_request_twice_is_one(scene: GuestScene) -> None:
    open_to_guests(scene)
    request = BorrowOwnSwap()
    first, again = scene.asks(request), scene.asks(request)
    assert first.sentence == again.sentence
    assert scene.kinds().count("guest-asked") == 1


# ---- whose is whose


def test_two_guests_with_one_disk_are_both_refused(scene: GuestScene) -> None:
    open_to_guests(scene)
    scene.vms.of = {"web1": (VOLUME,), "web2": (VOLUME,)}  # seen first when it asks
    reply = scene.asks(BorrowOwnSwap())
    assert (reply.error, reply.sentence) == (ErrorCode.CONFLICT, NOT_YOURS)
    assert scene.lent() == 0


def test_a_volume_that_has_just_changed_its_owner_is_not_the_old_ones(scene: GuestScene) -> None:
    open_to_guests(scene)
    scene.vms.of = {"web2": (VOLUME,)}
    assert scene.asks(BorrowOwnSwap()).sentence == NOT_YOURS
    scene.advance(10)
    assert not scene.ask(BorrowOwnSwap()).done(), "it is not heard any more"
    assert scene.lent() == 0


def test_a_guest_that_left_is_not_heard_and_its_claim_ends(scene: GuestScene) -> None:
    open_to_guests(scene)
    assert isinstance(scene.state("borrower.b", "guest/web1"), GuestClaim)
    scene.vms.change()
    scene.advance(3)
    assert scene.state("borrower.b", "guest/web1") is None
    assert not scene.ask(ReturnOwnSwap()).done()


def test_a_guest_that_two_hosts_claim_is_refused_until_one_lets_go(scene: GuestScene) -> None:
    open_to_guests(scene)
    other = scene.bus("borrower.c")
    other.set_state("guest/web1", GuestClaim(guest="web1"))
    scene.settle()
    reply = scene.asks(BorrowOwnSwap())
    assert (reply.error, reply.sentence) == (ErrorCode.CONFLICT, TWO_HOSTS)
    other.set_state("guest/web1", None)
    assert scene.asks(BorrowOwnSwap()).ok


def test_the_claim_of_a_host_that_died_counts_for_minutes_only(scene: GuestScene) -> None:
    scene.bus("borrower.c").set_state("guest/web1", GuestClaim(guest="web1"))
    open_to_guests(scene)
    assert scene.asks(BorrowOwnSwap()).sentence == TWO_HOSTS
    scene.advance(CLAIM_STALE_S)
    assert scene.asks(BorrowOwnSwap()).ok


def test_a_claim_of_another_guest_or_by_another_name_counts_for_nothing(scene: GuestScene) -> None:
    open_to_guests(scene)
    other = scene.bus("borrower.c")
    other.set_state("guest/web2", GuestClaim(guest="web2"))
    other.set_state("guest/web1", GuestClaim(guest="web2"))
    scene.settle()
    assert scene.asks(BorrowOwnSwap()).ok


def test_a_hypervisor_that_does_not_answer_means_no(scene: GuestScene) -> None:
    open_to_guests(scene)
    scene.vms.gone = True
    reply = scene.asks(BorrowOwnSwap())
    assert (reply.error, scene.lent()) == (ErrorCode.NOT_READY, 0)


def test_a_guest_that_has_just_arrived_is_asked_for_patience(scene: GuestScene) -> None:
    scene.vms.of = {}
    open_to_guests(scene)
    scene.vms.change(web1=(VOLUME,))
    scene.advance(1)
    assert scene.ask(BorrowOwnSwap()).result(0).error is ErrorCode.NOT_READY
    scene.advance(3)
    assert scene.asks(BorrowOwnSwap()).ok


def test_while_a_person_borrows_for_it_a_guest_waits_its_turn(scene: GuestScene) -> None:
    open_to_guests(scene)
    scene.lenders["lender.x"].silent = True
    scene.tell("cli.al", BorrowVolume(volume=VOLUME))
    scene.advance(1)
    assert scene.asks(ReturnOwnSwap()).sentence == WHY_NOT[ErrorCode.BUSY]
