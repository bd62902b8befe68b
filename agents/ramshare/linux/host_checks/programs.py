"""Whether an agent has the rights and the programs that its work takes."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from ramshare.errors import ExitCode
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.programs import tools_of
from ramshare.linux.run import find_tool, packages_of


@dataclass(frozen=True)
class Programs:
    """What of it is there."""

    role: str
    missing: tuple[str, ...] = ()
    root: bool = True


def observer(role: str) -> Callable[[Host], Programs]:
    """Return what looks for the programs of one role."""

    def observe(_host: Host) -> Programs:
        return Programs(role, tuple(tool for tool in tools_of(role) if find_tool(tool) is None), os.geteuid() == 0)

    return observe


def judge(facts: Programs) -> list[Finding]:
    """Name the packages to install; one line for all of them."""
    found = []
    if not facts.root:
        found.append(
            Finding(f"a {facts.role} needs root", "run it with sudo", blocks=True, exit_code=ExitCode.MISSING_PART)
        )
    if facts.missing:
        what, mend = f"not installed: {', '.join(facts.missing)}", f"apt-get install {packages_of(facts.missing)}"
        found.append(Finding(what, mend, blocks=True, exit_code=ExitCode.MISSING_PART))
    return found
