"""`ramshare doctor`: whether this machine can monitor, lend or borrow, and the command that mends what is wrong."""

import socket
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.text import Text

from ramshare.cli import options as opts
from ramshare.cli.arguments import JsonOption
from ramshare.cli.output import one_line, out, print_json
from ramshare.cli.run import Role
from ramshare.doctor import examine, exit_code
from ramshare.errors import ExitCode

DOCTOR_EXAMPLE = """Example: sudo ramshare doctor --role borrower

Exit code: 0 if the machine can do the work (without --role: any of it), else that of the first thing that stops it:
1 the machine itself, 2 a setting, 3 no broker, 4 the broker refuses, 6 a program, module or right is missing."""
ROLES = (Role.MONITOR, Role.LENDER, Role.BORROWER)


class FindingReport(BaseModel):
    """One thing that works against a role."""

    check: str
    what: str
    mend: str
    stops: bool


class RoleReport(BaseModel):
    """What was found for one role."""

    role: str
    able: bool
    exit_code: int
    findings: list[FindingReport]


class DoctorReport(BaseModel):
    """What was found on this machine."""

    host: str
    roles: list[RoleReport]


def doctor(
    ctx: typer.Context,
    role: Annotated[
        Role | None, typer.Option("--role", help="Only this agent; by default all but the manager.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether this machine can monitor, lend or borrow, and what mends what is wrong.

    Looks at settings, rights and programs, the kernel, LVM, multipath, iSCSI, swap, the clock and the broker. Changes
    nothing. An agent that runs is asked how it is; in the place of one that does not, the broker is called once.
    """
    options = opts.of(ctx, as_json=as_json)
    roles = ROLES if role is None else (role,)
    report = DoctorReport(host=socket.gethostname(), roles=[_report(options, each) for each in roles])
    if as_json:
        print_json(report)
    else:
        out().print(*(_told(each) for each in report.roles), sep="\n", soft_wrap=True)
    if not any(each.able for each in report.roles):
        raise typer.Exit(report.roles[0].exit_code)


def _report(options: opts.Options, role: Role) -> RoleReport:
    found = examine(options.outside.patient(role.value))
    told = [FindingReport(check=f.check, what=f.what, mend=f.mend, stops=f.blocks) for f in found]
    code = exit_code(found)
    return RoleReport(role=role.value, able=code is ExitCode.OK, exit_code=int(code), findings=told)


def _told(report: RoleReport) -> Text:
    words = ("can", "bold green") if report.able else ("cannot", "bold red")
    verb = {"monitor": "monitor", "lender": "lend", "borrower": "borrow", "manager": "manage"}[report.role]
    text = Text.assemble("this machine ", words, f" {verb}")
    for finding in report.findings:
        mark = ("stops", "red") if finding.stops else ("warning", "yellow")
        text.append_text(Text.assemble("\n  ", mark, f": {one_line(finding.what)}\n    mend: {one_line(finding.mend)}"))
    return text
