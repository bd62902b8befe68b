"""What a policy learnt, over a restart of the lender."""

from pathlib import Path

import pytest

from ramshare.lender.learnt import FILE_NAME, SAVE_EVERY_S, Learnt
from ramshare.policy.model import HostSample
from ramshare.policy.registry import make_policy

pytestmark = pytest.mark.unit
GIB = 1 << 30
NOW_S = 1_800_000_000.0


def test_what_was_learnt_outlasts_the_lender(tmp_path: Path) -> None:
    before, after = make_policy(), make_policy()
    for minute in range(60):
        before.decide(HostSample("a", NOW_S + 60 * minute, 8.0 * GIB, 2.0 * GIB))
    saved = Learnt(tmp_path / FILE_NAME, before)
    saved.write(saved.snapshot())
    found = Learnt(tmp_path / FILE_NAME, after)
    found.restore(found.read())
    assert after.snapshot() == before.snapshot() != make_policy().snapshot()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"policy": "rhythm", "version": 2, "hosts": {"a": 7}}', "\x00" * 9])
def test_a_damaged_file_costs_the_knowledge_and_nothing_else(tmp_path: Path, damage: str) -> None:
    (tmp_path / FILE_NAME).write_text(damage)
    policy = make_policy()
    found = Learnt(tmp_path / FILE_NAME, policy)
    found.restore(found.read())
    assert policy.snapshot() == make_policy().snapshot()


def test_it_is_saved_every_few_minutes() -> None:
    learnt = Learnt(Path(FILE_NAME), make_policy())
    moments = (100.0, 99.0 + SAVE_EVERY_S, 100.0 + SAVE_EVERY_S, 101.0 + SAVE_EVERY_S, 100.0 + 2 * SAVE_EVERY_S)
    assert [learnt.due(now_s) for now_s in moments] == [False, False, True, False, True]


def test_a_file_system_that_takes_nothing_is_survived(tmp_path: Path) -> None:
    learnt = Learnt(tmp_path / "absent" / FILE_NAME, make_policy())
    learnt.write(learnt.snapshot())
    assert learnt.read() is None
