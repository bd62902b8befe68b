"""Whatever breaks inside a lender while it serves: its clients get an answer, and the lease can be asked for again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.faults import Faults
from kit.hands import FakeExports, FakePolicy, FakeSampler
from kit.loop_watch import what_the_loop_touches
from kit.memory_bus import MemoryBus
from kit.world import MIB, World
from ramshare.agent import Runtime
from ramshare.errors import RamshareError
from ramshare.lender.agent import Lender
from ramshare.lender.hands import Hands
from ramshare.messages.requests import Drain, ExportLease, ReleaseLease, Request, Undrain
from ramshare.messages.state import Mode, Offer, SealingKey
from ramshare.sealed import SealingKeys
from ramshare.settings import HostSettings, LenderSettings

pytestmark = pytest.mark.unit

SEAMS = (
    "exports.create",
    "exports.remove",
    "exports.drain",
    "exports.look",
    "sampler.sample",
    "policy.decide",
    "policy.snapshot",
    "bus.set_state",
    "bus.event",
    "bus.answer",
)
ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: RamshareError("tgtadm: no space left on device"),
    lambda: OSError(28, "No space left on device"),
    lambda: ValueError("x" * 5000),
    lambda: KeyError("l1"),
    lambda: ZeroDivisionError(),
)
REQUESTS: dict[str, tuple[str, Callable[[], Request]]] = {
    "export": (
        "manager",
        lambda: ExportLease(
            lease="l1", borrower="borrower.b", initiator="iqn.2026-11.test:b", size_bytes=64 * MIB, mode=Mode.MIRROR
        ),
    ),
    "release": ("borrower.b", lambda: ReleaseLease(lease="l1")),
    "drain": ("cli.al", Drain),
    "undrain": ("cli.al", Undrain),
}


class Scene(World):
    """A lender all of whose hands, and whose bus, can be made to fail."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.faults = Faults()
        self.exports = FakeExports(directory)
        self.clients = {client: self.bus(client) for client, _ in REQUESTS.values()}
        self.clients["borrower.b"].set_state("key", SealingKey(public_key=SealingKeys().public))

        def make(bus: MemoryBus, runtime: Runtime) -> Lender:
            on = self.faults.on
            hands = Hands(
                exports=on("exports", self.exports, ("create", "remove", "drain", "look")),
                portal="10.0.0.1:3260",
                sampler=on("sampler", FakeSampler(), ("sample",)),
                policy=on("policy", FakePolicy(), ("decide", "snapshot")),
            )
            settings = LenderSettings(directory=self.exports.marker.parent)
            faulty = on("bus", bus, ("set_state", "event", "answer", "ask"))
            return Lender(faulty, HostSettings(host="a"), settings, hands, runtime)

        self.start(make, "lender.a")
        self.advance(2)

    def ask(self, what: str) -> bool:
        """Ask, and return whether it was granted; there must be an answer."""
        client, request = REQUESTS[what]
        future = self.clients[client].ask("lender.a", request(), 60.0)
        self.advance(2)
        assert future.done(), f"{what} got no answer"
        return future.result().ok


Breaks = tuple[str, Callable[[], Exception], int]
BREAKS = st.tuples(st.sampled_from(SEAMS), st.sampled_from(ERRORS), st.integers(0, 5))


@given(script=st.lists(st.tuples(st.sampled_from(sorted(REQUESTS)), st.lists(BREAKS, max_size=2)), max_size=8))
@settings(max_examples=100, deadline=None)
def test_every_request_is_answered_whatever_breaks_and_nothing_is_wedged(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, list[Breaks]]]
) -> None:
    scene = Scene(tmp_path_factory.mktemp("lender"))
    for what, breaks in script:
        for seam, error, after in breaks:
            scene.faults.arm(seam, error(), after)
        scene.ask(what)
    scene.faults.armed.clear()
    scene.advance(10)
    assert set(scene.states("lender.a", "export/")) == {f"export/{lease}" for lease in scene.exports.records}
    assert scene.ask("undrain")
    assert scene.ask("export")
    assert set(scene.exports.records) == {"l1"}
    assert set(scene.states("lender.a", "export/")) == {"export/l1"}
    assert scene.ask("release")
    scene.advance(6)
    offer = scene.state("lender.a", "offer")
    assert isinstance(offer, Offer)
    assert (offer.lent_bytes, offer.draining, scene.exports.records) == (0, False, {})
    scene.close()


@pytest.mark.parametrize(
    ("what", "seam", "after"),
    [
        ("export", "exports.create", 0),
        ("export", "bus.answer", 0),
        ("export", "bus.event", 0),
        *(("export", "bus.set_state", after) for after in range(2)),
        ("drain", "exports.drain", 0),
        *(("drain", "bus.set_state", after) for after in range(2)),
    ],
)
def test_a_request_that_met_a_fault_can_be_made_again(tmp_path: Path, what: str, seam: str, after: int) -> None:
    scene = Scene(tmp_path)
    scene.faults.arm(seam, ZeroDivisionError("on purpose"), after)
    scene.ask(what)
    assert scene.faults.happened == [seam]
    assert scene.ask(what)
    scene.close()


def test_the_loop_of_a_lender_touches_no_file(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with what_the_loop_touches(scene.worker, tmp_path) as seen:
        for what in ("export", "release", "drain", "undrain"):
            assert scene.ask(what)
        scene.advance(200)
    assert {path.name for path in tmp_path.iterdir()} == {"learnt-by-policy"}, "it was saved meanwhile"
    assert seen == []
    scene.close()
