"""`ramshare lab …`: the cluster on one machine, the demo and the paper's figures. All of it needs root."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from ramshare.bench import results_table
from ramshare.bench.figures import demo_chart
from ramshare.bench.results import save, to_json
from ramshare.cli import lab_measure
from ramshare.cli.faults import fault_line, faults_table
from ramshare.cli.output import note, out
from ramshare.cli.stages import Accel, Name, Results, interruptible, showing
from ramshare.errors import ExitCode
from ramshare.lab.cluster import BROKER_PORT, Lab
from ramshare.lab.demo import DemoPlan, run_demo
from ramshare.lab.faults.case import FaultReport
from ramshare.lab.netns import SWITCH_ADDRESS
from ramshare.lab.reaper import sweep
from ramshare.lab.remote import RemoteShell
from ramshare.lab.spec import PERSON, LabSpec, address_of
from ramshare.lab.visit import visit
from ramshare.linux.run import SystemRunner, require_root
from ramshare.messages.state import Mode

app = typer.Typer(
    no_args_is_help=True,
    help="The whole cluster on one machine: real broker, agents, targets and kernels. Needs root.",
    epilog="Example: ramshare lab demo",
)


@app.command(epilog="Example: ramshare lab demo --results results")
def demo(
    name: Name = "demo",
    results: Results = Path("results"),
    seconds: Annotated[float, typer.Option(min=1.0, max=600.0, help="Time for each access pattern.")] = 5.0,
    modes: Annotated[list[Mode] | None, typer.Option("--mode", help="Ways to attach; both by default.")] = None,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/demo.json instead of the table.")] = False,
) -> None:
    """Lend the memory of two hosts to the live swap of a third and measure what it gains (about 6 minutes)."""
    if modes and Mode.MOVE not in modes:
        raise typer.BadParameter("the demo's figures are of the move; add --mode move")
    plan = DemoPlan(seconds=seconds, mirror=not modes or Mode.MIRROR in modes)
    with interruptible(), showing() as show:
        measured = run_demo(plan, name, accel, show)
    save(measured, results / "demo.json")
    chart = demo_chart(measured, results / "demo.png")
    if as_json:
        typer.echo(to_json(measured), nl=False)
        return
    out().print(results_table.table(measured))
    note(f"written: {results / 'demo.json'}, {chart}")


@app.command(epilog="Example: ramshare lab faults --only mirror-lender")
def faults(
    name: Name = "faults",
    results: Results = Path("results"),
    only: Annotated[list[str] | None, typer.Option(help="Cases whose name begins so; all by default.")] = None,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/faults.json instead of the table.")] = False,
) -> None:
    """Break every part of a running cluster and prove that no page is lost (about 45 minutes for all cases)."""
    from ramshare.lab.faults.suite import run_suite, select

    cases = select(only or [])
    with interruptible(), showing() as show:

        def told(so_far: FaultReport) -> None:
            show.note(fault_line(so_far.rows[-1]))
            save(so_far, results / "faults.json")

        report = run_suite(cases, name=name, accel=accel, logs=results / "faults", say=show.stage, on_row=told)
    if as_json:
        typer.echo(to_json(report), nl=False)
    else:
        out().print(faults_table(report))
        note(f"written: {results / 'faults.json'}")
    if not all(row.survived for row in report.rows):
        raise typer.Exit(ExitCode.FAILED)


app.command(epilog="Example: ramshare lab guest --mode move")(lab_measure.guest)
app.command(epilog="Example: ramshare lab paper --seconds 2")(lab_measure.paper)


@app.command(epilog="Example: ramshare lab up --lenders 3, then in another terminal: ramshare lab status")
def up(
    name: Name = "lab",
    lenders: Annotated[int, typer.Option(min=1, max=6)] = 2,
    guests: Annotated[int, typer.Option(min=0, max=4, help="VMs with a monitor on the first lender's host.")] = 1,
    accel: Accel = "",
) -> None:
    """Start a cluster and keep it until Ctrl-C."""
    spec = LabSpec(name=name, lenders=lenders, guests=guests, accel=accel)
    with interruptible(), showing() as show, Lab(spec, show.stage):
        show.stage("running; Ctrl-C takes it down")
        show.note(f"commands against it: ramshare lab cli --name {name} -- status")
        show.note(f"a shell command on the borrower's host: ramshare lab exec --name {name} hostx -- lvs -a")
        while True:
            time.sleep(1.0)


@app.command(
    "exec",
    context_settings={"ignore_unknown_options": True},
    epilog="Example: ramshare lab exec hostx -- lvs -a -o name,devices",
)
def execute(
    host: Annotated[str, typer.Argument(help="A VM of the lab: hostx, web1, …")],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
    name: Name = "lab",
) -> None:
    """Run a command inside a virtual machine of a running lab."""
    with visit(name):
        done = RemoteShell(address_of(host)).run(command, timeout_s=600.0, ok=range(256))
    typer.echo(done.stdout, nl=False)
    typer.echo(done.stderr, nl=False, err=True)
    raise typer.Exit(done.returncode)


@app.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Example: ramshare lab cli -- borrow vg0/swap --host hostx",
)
def cli(
    command: Annotated[list[str], typer.Argument(help="A ramshare command and its arguments, after --.")],
    name: Name = "lab",
) -> None:
    """Run any ramshare command (status, watch, borrow, return, …) against a running lab's broker."""
    from ramshare.cli.main import app as ramshare

    with visit(name) as state_dir:
        os.environ["RAMSHARE_CLIENT"] = PERSON
        options = ["--broker", f"{SWITCH_ADDRESS}:{BROKER_PORT}"]
        options += ["--password-file", str(state_dir / "broker" / "accounts")]
        ramshare([*options, *command], prog_name="ramshare")


@app.command(epilog="Example: ramshare lab listen --name demo")
def listen(name: Name = "lab") -> None:
    """Show every topic of a running lab as mosquitto_sub sees it."""
    with visit(name) as state_dir:
        _write_options(state_dir)
        topics = ["-V", "5", "-h", SWITCH_ADDRESS, "-u", "dashboard", "-i", "dashboard", "-t", "ramshare/v1/#", "-v"]
        # It reads the password from a file of options, so that none stands on a command line.
        environment = {"XDG_CONFIG_HOME": str(state_dir / "listen")}
        process = SystemRunner().spawn(["mosquitto_sub", *topics], env=environment, pipes=True, die_with_parent=True)
        assert process.stdout is not None
        for line in process.stdout:
            typer.echo(line, nl=False)
    raise typer.Exit(process.wait())


def _write_options(state_dir: Path) -> None:
    password = (state_dir / "broker" / "accounts" / "dashboard").read_text().strip()
    options = state_dir / "listen" / "mosquitto_sub"
    options.parent.mkdir(mode=0o700, exist_ok=True)
    options.touch(0o600)
    options.write_text(f"-P {password}\n")


@app.command(epilog="Example: ramshare lab clean")
def clean() -> None:
    """Remove what a crash of the machine left of any lab; running labs are not touched."""
    require_root("cleaning up after labs")
    for sentence in sweep(SystemRunner()):
        note(sentence)
