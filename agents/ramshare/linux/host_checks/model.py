"""What a check is and what it finds; how to add one stands in the package's docstring."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from ramshare.errors import ExitCode, RamshareError
from ramshare.linux.run import Commands

Facts = TypeVar("Facts")


@dataclass(frozen=True)
class Finding:
    """Something on this host that works against us."""

    what: str
    """What it is and what it does to us, as one sentence without a full stop."""
    mend: str
    """The command that mends it, or shows the place to mend."""
    blocks: bool = False
    """Whether the agent cannot do its work before that is mended: `--check` fails."""
    exit_code: ExitCode = ExitCode.FAILED
    """What a command that is stopped by it ends with."""
    check: str = field(default="", compare=False)
    """The name of the check that found it."""

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}"


@dataclass(frozen=True)
class Host:
    """The machine that is looked at."""

    runner: Commands
    root: Path = Path("/")
    """Below it lie `etc`, `proc`, `sys`, `dev`; a test has a directory of its own."""


@dataclass(frozen=True)
class Check(Generic[Facts]):
    """One question: `observe` looks at the host, the pure `judge` says what it means."""

    name: str
    roles: frozenset[str]
    """The agents it concerns."""
    observe: Callable[[Host], Facts]
    judge: Callable[[Facts], list[Finding]]
    by_tools: bool = False
    """Whether it can only look with root's rights and the role's tools: without them it is left out."""

    def findings(self, host: Host) -> list[Finding]:
        """Look and judge. Never raises: what cannot be looked at is said."""
        try:
            facts = self.observe(host)
        except (RamshareError, OSError, ValueError) as error:
            found = [Finding(f"{self.name} could not be checked: {error}", "mend that, then check again")]
        else:
            found = self.judge(facts)
        return [replace(finding, check=self.name) for finding in found]
