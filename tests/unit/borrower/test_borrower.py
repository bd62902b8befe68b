"""The borrower's agent on the model of a host: whom it asks, what it says, and what it does when nobody answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from kit.borrower_scene import Scene
from kit.borrowing_host import LOCAL
from kit.hands import VOLUME
from ramshare.agent import Agent
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.releasing import RELEASE_TRIES
from ramshare.bus.api import RequestArrived
from ramshare.errors import RamshareError
from ramshare.manager.lending import LOGIN_WITHIN_S
from ramshare.messages.replies import AttachReply, BorrowReply, ErrorCode, Grant, Reply
from ramshare.messages.requests import BorrowMemory, BorrowVolume, ReturnVolume, Vacate
from ramshare.messages.state import Lease, LeasePhase, Mode, VolumePhase

pytestmark = pytest.mark.unit


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()
    assert scene.errors.seen == []


def test_a_volume_goes_out_over_two_lenders_and_home_again_with_everything_given_back(scene: Scene) -> None:
    scene.lender("x", 3)
    scene.lender("y", 3)
    scene.ready()
    reply = scene.borrow()
    assert isinstance(reply, AttachReply)
    assert set(reply.lenders) == {"lender.x", "lender.y"}
    assert (scene.volume().phase, scene.volume().local_bytes, scene.volume().remote_bytes) == ("attached", 4, 4)
    assert len(scene.states("borrower.b", "lease/")) == 2
    assert scene.lent() == 6, "each lease has a byte of overhead"
    assert scene.bring_back().ok
    assert scene.volume().phase is VolumePhase.HOME
    assert (scene.lent(), scene.states("borrower.b", "lease/"), scene.model.tagged) == (0, {}, False)
    assert [k for k in scene.kinds() if k != "step"] == ["attached", "lease-ended", "lease-ended", "detached"]


def test_each_step_is_said_once(scene: Scene) -> None:
    scene.lender("x", 9)
    scene.ready().borrow()
    assert scene.kinds().count("step") == 4, "ask was the request's own; log in, join, mirror, prefer remote"


def test_a_move_shows_where_the_pages_are(scene: Scene) -> None:
    scene.lender("x", 9, committed=9)
    scene.ready().borrow(Mode.MOVE)
    volume = scene.volume()
    assert (volume.local_bytes, volume.remote_bytes, volume.phase) == (0, 4, "attached")
    assert volume.placement[0].startswith("lender.x ")


def test_borrowing_twice_is_one_loan(scene: Scene) -> None:
    scene.lender("x", 30)
    scene.ready()
    request = BorrowVolume(volume=VOLUME, mode=Mode.MIRROR)
    first, again = scene.tell("cli.al", request), scene.tell("cli.al", request)
    scene.advance(10)
    other = scene.borrow()
    assert first.result().ok
    assert again.result().ok
    assert other.sentence == "already borrowed"
    assert scene.lent() == 5


def test_two_operators_at_the_same_moment_make_one_loan(scene: Scene) -> None:
    lender = scene.lender("x", 30)
    lender.answers_late = []
    scene.ready()
    first = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    second = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    for answer in lender.answers_late:
        answer()
    scene.advance(5)
    assert first.result().ok
    assert second.result().error is ErrorCode.BUSY
    assert scene.lent() == 5


def test_a_return_during_a_borrow_is_told_to_come_again(scene: Scene) -> None:
    lender = scene.lender("x", 30)
    lender.answers_late = []
    scene.ready()
    scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    request = ReturnVolume(volume=VOLUME)
    assert scene.tell("cli.al", request).result().error is ErrorCode.BUSY
    for answer in lender.answers_late:
        answer()
    scene.advance(5)
    assert scene.tell("cli.al", request).result().ok
    scene.advance(20)
    assert scene.lent() == 0


def test_a_refusal_of_the_manager_reaches_the_operator_and_changes_nothing(scene: Scene) -> None:
    scene.lender("x", 2)
    scene.ready()
    reply = scene.borrow()
    assert reply.error is ErrorCode.NO_CAPACITY
    assert not scene.model.tagged
    assert scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR)) is not None


class ForgingManager(Agent):
    """Says of another lender's target that it is what was asked for."""

    def begin(self) -> None:
        self.handle(BorrowMemory, self._grant)

    def tick(self) -> float:
        return 60.0

    def _grant(self, arrived: RequestArrived[BorrowMemory]) -> Reply:
        grant = Grant(
            lease="l1",
            lender="lender.x",
            portal="10.0.0.1:3260",
            target="iqn.2026-11.io.ramshare:y.l1",
            size_bytes=arrived.request.size_bytes + arrived.request.overhead_bytes,
            chap_user="l1",
            sealed_secrets=SecretStr("secret-of-lease"),
        )
        return BorrowReply(request_id=arrived.request.request_id, grants=(grant,))


def test_a_grant_of_somebody_elses_target_is_refused_and_nothing_is_written_down(scene: Scene) -> None:
    scene.start(ForgingManager, "manager")
    scene.borrower()
    scene.advance(5)
    reply = scene.borrow()
    assert (reply.error, "not how lender.x calls l1" in reply.sentence) == (ErrorCode.FAILED, True)
    assert (scene.model.tagged, scene.host.grants) == (False, {})


def test_without_a_manager_the_operator_is_told_so(scene: Scene) -> None:
    scene.borrower()
    scene.settle()
    future = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    scene.advance(60)
    assert future.result().error is ErrorCode.NOT_READY
    assert "manager" in future.result().sentence


def test_an_unknown_volume_is_refused(scene: Scene) -> None:
    scene.ready()
    future = scene.tell("cli.al", BorrowVolume(volume="vg0/nothing", mode=Mode.MIRROR))
    scene.settle()
    assert future.result().error is ErrorCode.UNKNOWN_VOLUME
    again = scene.tell("cli.al", ReturnVolume(volume="vg0/nothing"))
    assert again.result().error is ErrorCode.UNKNOWN_VOLUME


def test_what_is_at_home_may_be_returned_again(scene: Scene) -> None:
    scene.ready()
    reply = scene.bring_back()
    assert reply.ok
    assert "at home" in reply.sentence


# ---- restarts


def test_a_restarted_agent_goes_on_where_its_predecessor_was(scene: Scene) -> None:
    scene.lender("x", 9, committed=9)
    scene.ready()
    scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MOVE))
    for _ in range(40):
        scene.advance(0.25)
        if scene.model.move is not None:
            break
    assert scene.model.move is not None
    scene.kill("borrower.b")
    scene.borrower()
    scene.advance(20)
    assert set(scene.model.pages) != {LOCAL}
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_an_agent_that_died_before_it_logged_in_gives_the_grants_back_and_gets_others(scene: Scene) -> None:
    lender = scene.lender("x", 30)
    scene.ready()
    scene.host.fails = RamshareError("iscsiadm: killed")
    scene.borrow()
    old = set(lender.exports)
    scene.kill("borrower.b")
    scene.model.crash_agent()
    scene.borrower()
    scene.advance(20)
    assert scene.volume().phase is VolumePhase.ATTACHED
    assert scene.lent() == 5
    assert set(lender.released) == old


def test_state_that_a_predecessor_left_behind_is_cleared(scene: Scene) -> None:
    scene.lender("x", 9)
    scene.ready().borrow()
    lease = next(iter(scene.model.leases))
    scene.kill("borrower.b")
    scene.model.__init__(4)  # type: ignore[misc]
    assert isinstance(scene.state("borrower.b", f"lease/{lease}"), Lease)
    scene.borrower()
    scene.advance(5)
    assert scene.states("borrower.b", "lease/") == {}
    assert scene.states("borrower.b", "volume/") == {}


# ---- memory called back


def test_a_mirrored_lease_that_is_called_back_is_given_back_at_once_and_replaced(scene: Scene) -> None:
    lender = scene.lender("x", 9)
    scene.ready().borrow()
    scene.lender("y", 20)
    lease = next(iter(lender.exports))
    lender.capacity_bytes = 0
    lender.offer()
    assert scene.vacate("lender.x", lease).result().ok
    scene.advance(3)
    assert lender.exports == {}
    scene.advance(15)
    assert scene.volume().phase is VolumePhase.ATTACHED
    assert {lent.lender for lent in scene.model.leases.values()} == {"lender.y"}


def test_a_mirrored_lease_that_its_owner_took_back_was_never_lost(scene: Scene) -> None:
    lender = scene.lender("x", 9)
    scene.ready().borrow()
    lease = next(iter(lender.exports))
    lender.capacity_bytes = 0
    scene.vacate("lender.x", lease)
    scene.advance(10)
    phases = scene.lease_phases(lease)
    assert LeasePhase.LOST not in phases
    assert phases[phases.index(LeasePhase.ATTACHED) :][1:] == [LeasePhase.DETACHING, LeasePhase.RELEASED]
    assert "leg-lost" not in scene.kinds()
    assert VolumePhase.REPAIRING not in scene.volume_phases()


def test_a_lease_whose_lender_does_not_take_back_what_it_wanted_is_on_its_way_not_released(scene: Scene) -> None:
    lender = scene.lender("x", 9)
    scene.ready().borrow()
    lease = next(iter(lender.exports))
    lender.silent = True
    scene.vacate("lender.x", lease)
    scene.advance(120)
    assert lease not in scene.model.leases, "the volume does not wait for ever"
    assert not {LeasePhase.LOST, LeasePhase.RELEASED}.intersection(scene.lease_phases(lease))
    lender.silent = False
    scene.advance(30)
    assert lender.released == [lease]


def test_the_dead_are_lost_even_while_they_are_wanted_back(scene: Scene) -> None:
    x, y = scene.lender("x", 3), scene.lender("y", 3)
    scene.ready().borrow()
    (dead,), (wanted,) = x.exports, y.exports
    scene.kill("lender.x")
    scene.model.kill(dead)
    scene.vacate("lender.y", wanted)
    scene.advance(60)
    assert LeasePhase.LOST in scene.lease_phases(dead)
    assert "leg-lost" in scene.kinds()


def test_a_moved_lease_that_is_called_back_goes_to_another_lender(scene: Scene) -> None:
    lender = scene.lender("x", 5, committed=5)
    scene.ready().borrow(Mode.MOVE)
    scene.lender("y", 5, committed=5)
    scene.vacate("lender.x", *lender.exports)
    scene.advance(15)
    assert lender.exports == {}
    assert LOCAL not in scene.model.pages
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_moved_lease_that_is_called_back_comes_home_if_nobody_else_has_memory(scene: Scene) -> None:
    lender = scene.lender("x", 5, committed=5)
    scene.ready().borrow(Mode.MOVE)
    lender.capacity_bytes = 0
    scene.vacate("lender.x", *lender.exports)
    scene.advance(10)
    assert lender.exports == {}
    assert set(scene.model.pages) == {LOCAL}
    assert "no memory" not in scene.volume().step


def test_a_vacate_is_followed_even_while_the_manager_is_being_asked_for_something_else(scene: Scene) -> None:
    x = scene.lender("x", 3)
    y = scene.lender("y", 3)
    scene.ready().borrow()
    x.capacity_bytes = 0
    x.offer()
    scene.kill("manager")
    scene.vacate("lender.x", *x.exports)
    scene.advance(3)
    assert x.exports == {}
    scene.vacate("lender.y", *y.exports)
    scene.advance(3)
    assert y.exports == {}, "the manager's silence lasts longer than this"


def test_a_return_is_not_undone_by_memory_that_was_asked_for_before(scene: Scene) -> None:
    x = scene.lender("x", 3)
    scene.lender("y", 3)
    scene.ready().borrow()
    z = scene.lender("z", 9)
    z.answers_late = []
    x.capacity_bytes = 0
    x.offer()
    scene.vacate("lender.x", *x.exports)
    scene.advance(3)
    assert z.answers_late, "a replacement is being made"
    scene.tell("cli.al", ReturnVolume(volume=VOLUME))
    for answer in z.answers_late:
        answer()
    z.answers_late = None
    scene.advance(20)
    assert scene.volume().phase is VolumePhase.HOME
    assert scene.lent() == 0


def test_vacate_is_refused_for_what_is_unknown_somebody_elses_or_overdue(scene: Scene) -> None:
    scene.broker.lax = True  # the rules would refuse it before the agent does
    x = scene.lender("x", 9)
    scene.lender("evil", 1)
    scene.ready().borrow()
    lease = next(iter(x.exports))
    assert scene.vacate("lender.x", "nobody-knows").result().error is ErrorCode.UNKNOWN_LEASE
    assert scene.vacate("lender.evil", lease).result().error is ErrorCode.NOT_ALLOWED
    assert scene.vacate("lender.x", lease, within_s=-5).result().error is ErrorCode.DEADLINE_PASSED
    assert scene.tell("cli.al", Vacate.until((lease,), 1, 10)).result().error is ErrorCode.NOT_ALLOWED
    scene.advance(10)
    assert lease in x.exports
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_vacate_that_also_names_a_lease_that_is_gone_is_followed_for_the_rest(scene: Scene) -> None:
    x = scene.lender("x", 9)
    scene.ready().borrow()
    x.capacity_bytes = 0
    scene.vacate("lender.x", "gone-already", *x.exports)
    scene.advance(10)
    assert x.exports == {}


def test_a_borrower_that_has_just_started_asks_the_lender_to_come_again(scene: Scene) -> None:
    x = scene.lender("x", 9)
    scene.ready().borrow()
    scene.kill("borrower.b")
    scene.borrower()
    lease = next(iter(x.exports))
    future = x.bus.ask("borrower.b", Vacate.until((lease,), 1, 10), 60.0)
    scene.agents["borrower.b"].turn()
    x.turn()
    assert future.result().error is ErrorCode.NOT_READY


# ---- lenders that die


def test_a_dead_lenders_leg_is_dropped_and_replaced_without_waiting_for_it(scene: Scene) -> None:
    x = scene.lender("x", 9)
    scene.ready().borrow()
    scene.lender("y", 9)
    lease = next(iter(x.exports))
    scene.kill("lender.x")
    scene.model.kill(lease)
    scene.advance(31)
    assert "leg-lost" in scene.kinds()
    scene.advance(10)
    assert scene.volume().phase is VolumePhase.ATTACHED
    assert {lent.lender for lent in scene.model.leases.values()} == {"lender.y"}
    assert not scene.model.lost_pages


def test_a_dead_lender_that_comes_back_is_told_what_nobody_needs_any_more(scene: Scene) -> None:
    x = scene.lender("x", 9)
    scene.ready().borrow()
    lease = next(iter(x.exports))
    exports = {lease: x.exports[lease].model_copy(update={"connected": False})}
    scene.kill("lender.x")
    scene.model.kill(lease)
    scene.lender("y", 9)
    scene.advance(60)
    scene.kill("borrower.b")
    scene.borrower()
    back = scene.lender("x", 9, exports=exports)
    scene.advance(30)
    assert back.released == [lease]


def test_a_lender_that_does_not_answer_a_release_does_not_hold_the_volume_for_ever(scene: Scene) -> None:
    x = scene.lender("x", 9)
    scene.ready().borrow()
    x.silent = True
    scene.tell("cli.al", ReturnVolume(volume=VOLUME))
    scene.advance(25 * RELEASE_TRIES + 60)
    assert scene.volume().phase is VolumePhase.HOME
    x.silent = False
    scene.advance(30)
    assert x.exports == {}


def test_lost_pages_are_reported_with_their_size(scene: Scene) -> None:
    x = scene.lender("x", 5, committed=5)
    scene.ready().borrow(Mode.MOVE)
    lease = next(iter(x.exports))
    scene.kill("lender.x")
    scene.model.kill(lease)
    scene.advance(40)
    assert scene.kinds().count("pages-lost") == 1
    assert lease not in scene.model.leases, "and then written off"


# ---- failing steps, silent managers


def test_a_step_that_fails_is_shown_said_once_and_tried_again_less_and_less_often(scene: Scene) -> None:
    scene.lender("x", 9)
    scene.ready()
    host = scene.host
    host.fails = RamshareError("vgextend: the disk is on fire")
    scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    scene.advance(100)
    assert "on fire" in scene.volume().step
    assert scene.kinds().count("failed") == 1
    host.fails = None
    scene.advance(70)
    assert scene.volume().phase is VolumePhase.ATTACHED


@pytest.mark.parametrize(
    ("mode", "kind"), [(Mode.MIRROR, s.Join), (Mode.MIRROR, s.StartMirror), (Mode.MOVE, s.StartMove)]
)
def test_a_step_that_never_works_is_given_up_and_the_leases_go_back(
    scene: Scene, mode: Mode, kind: type[s.Step]
) -> None:
    scene.lender("x", 9, committed=9)
    scene.ready()
    host = scene.host
    host.fails, host.fails_at = RamshareError("1 extents needed, but only 0 available"), (kind,)
    assert scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=mode)).result().ok
    scene.advance(120)
    assert scene.lent() > 0, "it is tried for a while"
    scene.advance(240)
    assert (scene.lent(), scene.model.tagged) == (0, False)
    volume = scene.volume()
    assert (volume.phase, volume.leases) == (VolumePhase.FAILED, ())
    assert "gave up (could not" in volume.step
    assert "only 0 available" in volume.step
    host.fails = None
    assert scene.borrow(mode).ok, "and may be asked for again"
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_person_who_wants_it_home_after_that_hears_that_it_is(scene: Scene) -> None:
    scene.lender("x", 9)
    scene.ready()
    host = scene.host
    host.fails, host.fails_at = RamshareError("no"), (s.Join,)
    scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    scene.advance(360)
    assert scene.volume().phase is VolumePhase.FAILED
    assert scene.bring_back().ok
    assert scene.volume().phase is VolumePhase.HOME


def test_a_lease_that_is_too_small_alone_goes_back_after_minutes_and_the_volume_is_attached_when_there_is_memory(
    scene: Scene,
) -> None:
    x, y = scene.lender("x", 3), scene.lender("y", 3)
    scene.ready().borrow()
    [wanted] = y.exports
    y.capacity_bytes = 0
    scene.vacate("lender.y", wanted)
    scene.advance(120)
    assert x.lent_bytes() == 3, "more memory may come soon"
    scene.advance(400)
    assert x.lent_bytes() == 0
    scene.lender("z", 9)
    scene.advance(90)
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_manager_that_died_before_it_replied_is_asked_the_same_again(scene: Scene) -> None:
    x = scene.lender("x", 30)
    x.answers_late = []
    scene.ready()
    future = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    assert len(x.exports) == 1
    scene.kill("manager")
    x.answers_late = None
    scene.manager()
    scene.advance(30)
    assert future.result().ok
    assert scene.lent() == 5, "the successor went on with the loan that its predecessor had begun"
    scene.advance(LOGIN_WITHIN_S + 10)
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_dry_run_tells_who_would_lend_and_changes_nothing(scene: Scene) -> None:
    scene.lender("x", 3)
    scene.lender("y", 3)
    scene.ready()
    before, said = dict(scene.broker.retained()), scene.kinds()
    reply = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR, dry_run=True)).result()
    assert isinstance(reply, AttachReply)
    assert [(share.lender, share.size_bytes) for share in reply.shares] == [("lender.x", 3), ("lender.y", 3)]
    assert (reply.size_bytes, reply.leases) == (4, ())
    assert (scene.lent(), scene.model.tagged, scene.kinds()) == (0, False, said)
    assert scene.broker.retained().keys() == before.keys()
    assert [lender.asked for lender in scene.lenders.values()] == [[], []]
    assert scene.borrow().ok, "and the same may be borrowed then"


def test_a_dry_run_is_refused_with_the_words_of_the_real_thing(scene: Scene) -> None:
    scene.lender("x", 3)
    scene.ready()
    for mode in Mode:
        foretold = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=mode, dry_run=True)).result()
        real = scene.borrow(mode)
        assert (foretold.error, foretold.sentence) == (real.error, real.sentence)
        assert foretold.error is ErrorCode.NO_CAPACITY
    unknown = scene.tell("cli.al", BorrowVolume(volume="vg/other", dry_run=True)).result()
    assert unknown.error is ErrorCode.UNKNOWN_VOLUME


def test_a_dry_run_neither_waits_for_a_borrow_nor_lets_a_second_one_in(scene: Scene) -> None:
    lender = scene.lender("x", 9)
    scene.ready()
    lender.answers_late = []
    first = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    assert (
        scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR, dry_run=True)).result().error
        is ErrorCode.BUSY
    )
    assert scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR)).result().error is ErrorCode.BUSY
    lender.answers_late[0]()
    scene.advance(5)
    assert first.result().ok


def test_a_dry_run_for_what_is_attached_says_so(scene: Scene) -> None:
    scene.lender("x", 9)
    scene.ready().borrow()
    reply = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR, dry_run=True)).result()
    assert isinstance(reply, AttachReply)
    assert (reply.sentence, reply.lenders, reply.shares) == ("already borrowed", ("lender.x",), ())


def test_who_names_no_mode_gets_a_pair_where_two_lenders_can_be_had(scene: Scene) -> None:
    scene.lender("x", 30, committed=30)
    scene.lender("y", 30)
    scene.ready()
    foretold = scene.tell("cli.al", BorrowVolume(volume=VOLUME, dry_run=True)).result()
    future = scene.tell("cli.al", BorrowVolume(volume=VOLUME))
    scene.advance(1)
    for reply in (foretold, future.result()):
        assert isinstance(reply, AttachReply)
        assert (reply.error, reply.mode, set(reply.lenders)) == (None, Mode.PAIR, {"lender.x", "lender.y"})
    assert "leg 1: lender.x" in foretold.sentence


def test_who_names_no_mode_gets_a_mirror_where_one_lender_is_all_there_is_and_is_told_why(scene: Scene) -> None:
    scene.lender("x", 30)
    scene.ready()
    foretold = scene.tell("cli.al", BorrowVolume(volume=VOLUME, dry_run=True)).result()
    request = BorrowVolume(volume=VOLUME)
    first, again = scene.tell("cli.al", request), scene.tell("cli.al", request)
    scene.advance(10)
    for reply in (foretold, first.result(), again.result()):
        assert isinstance(reply, AttachReply)
        assert (reply.error, reply.mode) == (None, Mode.MIRROR)
        assert reply.sentence.startswith("by mirror, since a pair needs two sets of lenders")
        assert "instead" not in reply.sentence
    assert scene.volume().mode is Mode.MIRROR
    assert scene.lent() == 5


def test_who_names_no_mode_is_refused_where_nothing_can_be_had(scene: Scene) -> None:
    scene.lender("x", 2)
    scene.ready()
    reply = scene.tell("cli.al", BorrowVolume(volume=VOLUME)).result()
    assert reply.error is ErrorCode.NO_CAPACITY


def test_who_names_no_mode_for_what_is_attached_leaves_it_as_it_is(scene: Scene) -> None:
    scene.lender("x", 30)
    scene.ready().borrow(Mode.MIRROR)
    reply = scene.tell("cli.al", BorrowVolume(volume=VOLUME)).result()
    assert isinstance(reply, AttachReply)
    assert (reply.sentence, reply.mode) == ("already borrowed", Mode.MIRROR)
