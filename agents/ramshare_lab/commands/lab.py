"""`ramshare lab …`: the cluster on one machine, the demo and the paper's figures. All of it needs root."""

import os
import time
from typing import Annotated

import typer

from ramshare.broker.conf import HOSTS_PORT
from ramshare.cli.output import note
from ramshare.linux.run import SystemRunner, require_root
from ramshare.topics import DASHBOARD
from ramshare_lab.cluster.broker import tls_directory
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.netns import SWITCH_ADDRESS
from ramshare_lab.cluster.reaper import sweep
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.spec import PERSON, LabSpec, address_of
from ramshare_lab.cluster.visit import visit
from ramshare_lab.experiments.demo.command import demo
from ramshare_lab.experiments.evaluate.command import EVALUATE_EXAMPLE, evaluate
from ramshare_lab.experiments.faults.command import faults
from ramshare_lab.experiments.guest.command import guest
from ramshare_lab.experiments.paper.command import paper
from ramshare_lab.experiments.react.command import REACT_EXAMPLE, react
from ramshare_lab.experiments.scale.command import SCALE_EXAMPLE, scale
from ramshare_lab.options import Accel, Name, interruptible
from ramshare_lab.show import showing

app = typer.Typer(
    no_args_is_help=True,
    help="The whole cluster on one machine: real broker, agents, targets and kernels. Needs root.",
    epilog="Example: ramshare lab demo",
)

app.command(epilog="Example: ramshare lab demo --results results")(demo)
app.command(epilog=EVALUATE_EXAMPLE)(evaluate)
app.command(epilog="Example: ramshare lab faults --only mirror-lender")(faults)
app.command(epilog="Example: ramshare lab guest --mode move")(guest)
app.command(epilog="Example: ramshare lab paper --seconds 2")(paper)
app.command(epilog=REACT_EXAMPLE)(react)
app.command(epilog=SCALE_EXAMPLE)(scale)


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
        options = ["--broker", SWITCH_ADDRESS, "--tls", str(tls_directory(state_dir / "broker", PERSON))]
        ramshare([*options, *command], prog_name="ramshare")


@app.command(epilog="Example: ramshare lab listen --name demo")
def listen(name: Name = "lab") -> None:
    """Show every topic of a running lab as mosquitto_sub sees it."""
    with visit(name) as state_dir:
        tls = tls_directory(state_dir / "broker", DASHBOARD)
        where = ["-V", "5", "-h", SWITCH_ADDRESS, "-p", str(HOSTS_PORT), "--cafile", f"{tls}/ca.crt"]
        where += ["--cert", f"{tls}/{DASHBOARD}.crt", "--key", f"{tls}/{DASHBOARD}.key"]
        topics = ["-t", "ramshare/v1/#", "-v"]
        process = SystemRunner().spawn(["mosquitto_sub", *where, *topics], pipes=True, die_with_parent=True)
        assert process.stdout is not None
        for line in process.stdout:
            typer.echo(line, nl=False)
    raise typer.Exit(process.wait())


@app.command(epilog="Example: ramshare lab clean")
def clean() -> None:
    """Remove what a crash of the machine left of any lab; running labs are not touched."""
    require_root("cleaning up after labs")
    for sentence in sweep(SystemRunner()):
        note(sentence)
