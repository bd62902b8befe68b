"""What long commands show while they run."""

import io

import pytest
from rich.console import Console

from ramshare_lab import stages


def test_a_stage_and_its_step_are_shown_on_a_terminal_with_their_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(stages, "err", lambda: terminal)
    with stages.showing() as show:
        show.stage("cut [unknown] off")
        show.progress(0.5, "page [7]")
    assert isinstance(terminal.file, io.StringIO)
    drawn = terminal.file.getvalue()
    assert "cut [unknown] off" in drawn
    assert "page [7]" in drawn
