"""What long commands show while they run."""

import io

import pytest
from rich.console import Console

from ramshare_lab.show import showing

pytestmark = pytest.mark.unit


def test_a_stage_and_its_step_are_shown_on_a_terminal_with_their_brackets() -> None:
    drawn = io.StringIO()
    with showing(Console(file=drawn, force_terminal=True, width=120)) as show:
        show.stage("cut [unknown] off")
        show.progress(0.5, "page [7]")
    assert "cut [unknown] off" in drawn.getvalue()
    assert "page [7]" in drawn.getvalue()
