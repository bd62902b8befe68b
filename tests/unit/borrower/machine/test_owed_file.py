"""What a lender could not be told outlives the agent."""

from pathlib import Path

import pytest

from ramshare.borrower.machine.owed_file import OwedFile

pytestmark = pytest.mark.unit


def test_a_later_run_knows_what_was_owed_at_last(tmp_path: Path) -> None:
    OwedFile(tmp_path / "new").write({"l1": "lender.hosta", "l2": "lender.hostb"})
    OwedFile(tmp_path / "new").write({"l1": "lender.hosta"})
    assert OwedFile(tmp_path / "new").read() == {"l1": "lender.hosta"}


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "owed.json").write_text(text)
    assert OwedFile(tmp_path).read() == {}


def test_a_directory_that_cannot_be_written_does_not_stop_the_agent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    OwedFile(tmp_path / "file").write({"l1": "lender.hosta"})
    assert OwedFile(tmp_path / "file").read() == {}
