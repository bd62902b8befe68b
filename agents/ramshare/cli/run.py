"""`ramshare run ROLE`: become the agent. The process is replaced, so that an agent keeps no command line in memory."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from ramshare.cli import options as opts
from ramshare.settings import KINDS, LenderLabSettings


def _settings() -> str:
    """Return a paragraph for each setting: its variable, what it is for, and what it is if nobody says."""
    lines = []
    for kind in KINDS:
        if kind is LenderLabSettings:
            continue
        for name, field in kind.model_fields.items():
            default = (
                "" if field.default_factory or field.default in (None, "", {}) else f" ({field.default} by default)"
            )
            lines.append(f"{kind.PREFIX}{name.upper()}: {field.description or name.replace('_', ' ')}{default}")
    return "\n\n".join(lines)


_FOR_THE_LAB = ", ".join(LenderLabSettings.PREFIX + name.upper() for name in LenderLabSettings.model_fields)
RUN_EXAMPLE = f"""Example: RAMSHARE_ENV_FILE=./hosta.env ramshare run lender --check

Settings:

{_settings()}

For the lab, where one machine plays several hosts: {_FOR_THE_LAB}."""


class Role(StrEnum):
    """The four agents; `ramshare.launch` knows them by these names."""

    MONITOR = "monitor"
    LENDER = "lender"
    MANAGER = "manager"
    BORROWER = "borrower"


def run(
    ctx: typer.Context,
    role: Annotated[Role, typer.Argument(help="Which agent to run on this machine.")],
    check: Annotated[bool, typer.Option("--check", help="Only say whether the configuration is usable.")] = False,
) -> None:
    """Run an agent in the foreground.

    Settings come from RAMSHARE_... variables or /etc/ramshare/ramshare.env.
    """
    argv = [sys.executable, "-m", "ramshare.launch", role.value, *(["--check"] if check else [])]
    os.execve(sys.executable, argv, opts.of(ctx).environment())
