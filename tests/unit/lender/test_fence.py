"""Whom a lender obeys: the newest manager it has heard of, after a restart of its agent, too."""

import pytest

from ramshare.desk import RefusedError
from ramshare.generation import NONE, Generation
from ramshare.lender.fence import Fence
from ramshare.messages.replies import ErrorCode

pytestmark = pytest.mark.unit


def test_the_newest_manager_is_obeyed_and_no_older_one() -> None:
    fence = Fence()
    assert fence.admit(Generation(7, "manager.a"))
    assert not fence.admit(Generation(7, "manager.a")), "nothing new"
    assert fence.admit(Generation(8, "manager.b"))
    with pytest.raises(RefusedError, match=r"generation 7 of manager\.a is over: manager\.b \(8\) took over") as caught:
        fence.admit(Generation(7, "manager.a"))
    assert caught.value.code is ErrorCode.OUTDATED
    assert fence.newest == Generation(8, "manager.b")


def test_of_two_managers_with_one_number_one_is_obeyed() -> None:
    fence = Fence(Generation(7, "manager.b"))
    with pytest.raises(RefusedError):
        fence.admit(Generation(7, "manager.a"))


def test_a_manager_that_knows_of_no_generations_is_obeyed_where_none_was_heard_of() -> None:
    assert Fence(NONE).admit(Generation(0, "manager"))
    with pytest.raises(RefusedError):
        Fence(Generation(1, "manager")).admit(Generation(0, "manager"))
