"""What a lender could not be told outlives the agent."""

from pathlib import Path

import pytest

from ramshare.borrower.releases import Owed

pytestmark = pytest.mark.unit


def test_a_later_run_knows_what_is_owed_until_it_is_settled(tmp_path: Path) -> None:
    Owed(tmp_path).add("l1", "lender.hosta")
    later = Owed(tmp_path)
    later.load()
    assert later.all() == {"l1": "lender.hosta"}
    later.settle("l1")
    last = Owed(tmp_path)
    last.load()
    assert last.all() == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "owed.json").write_text(text)
    owed = Owed(tmp_path)
    owed.load()
    assert owed.all() == {}


def test_a_directory_that_cannot_be_written_does_not_stop_the_agent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    owed = Owed(tmp_path / "file")
    owed.add("l1", "lender.hosta")
    assert owed.all() == {"l1": "lender.hosta"}
