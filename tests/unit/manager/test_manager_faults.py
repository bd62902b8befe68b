"""Whatever breaks inside a manager while it makes a loan: the borrower gets an answer, and no memory stays held."""

from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.faults import Faults
from kit.memory_bus import MemoryBus
from kit.world import MIB, READY_S, FakeBorrower, FakeLender, World
from ramshare.agent import Runtime
from ramshare.manager.agent import Manager
from ramshare.manager.lending import EXPORT_TIMEOUT_S, LOGIN_WITHIN_S

pytestmark = pytest.mark.unit

SEAMS = ("bus.set_state", "bus.event", "bus.ask", "bus.answer")
Breaks = tuple[str, int]


class Scene(World):
    """Two lenders of 400 MiB each, a borrower, and a manager whose bus can be made to fail."""

    step_s = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.faults = Faults()

        def manager(bus: MemoryBus, runtime: Runtime) -> Manager:
            return Manager(self.faults.on("bus", bus, ("set_state", "event", "ask", "answer")), runtime)

        make: Callable[[MemoryBus, Runtime], FakeLender] = lambda bus, runtime: FakeLender(bus, runtime, 400 * MIB)  # noqa: E731
        self.start(manager, "manager")
        self.lenders = [cast("FakeLender", self.start(make, f"lender.{host}")) for host in ("x", "y")]
        self.borrower = FakeBorrower(self, "b")
        self.advance(READY_S)


@given(script=st.lists(st.lists(st.tuples(st.sampled_from(SEAMS), st.integers(0, 5)), max_size=2), max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_loan_is_answered_whatever_breaks_and_no_memory_stays_held(script: list[list[Breaks]]) -> None:
    scene = Scene()
    for breaks in script:
        for seam, after in breaks:
            scene.faults.arm(seam, ZeroDivisionError("on purpose"), after)
        future = scene.borrower.ask(600 * MIB)
        scene.advance(EXPORT_TIMEOUT_S + 1)
        assert future.done()
        scene.faults.armed.clear()
        scene.advance(LOGIN_WITHIN_S + 70)  # grants that nobody uses are taken back
        assert [lender.exports for lender in scene.lenders] == [{}, {}]
    assert scene.borrower.borrow(600 * MIB).ok
    scene.close()
