"""The `ramshare` command: its options, its commands, and how each ends: with an exit code of `errors.ExitCode`."""

import importlib
import importlib.metadata
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from ramshare import __version__
from ramshare.cli import doctor, drain, listen, run, schemas, status, volumes
from ramshare.cli.options import Options, Outside
from ramshare.cli.output import out, show_error
from ramshare.errors import ExitCode, MissingPartError, RamshareError

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed or not done in time, 2 wrong usage or setting, 3 no broker, "
    "4 credentials refused, 5 request refused, 6 a tool or privilege is missing, 130 Ctrl-C."
)


GROUPS = {
    "bench": "Measure the bus, or memory and swap as the paper does.",
    "lab": "The whole cluster on one machine: real broker, agents, targets and kernels. Needs root.",
    "policy": "Replay recorded traces through the surplus policies and compare them.",
}
"""Groups of commands that the lab (the distribution `ramshare-lab`) brings, and what help says of them.

Found by their entry points, and imported only when one of their commands is called: drawing and numbers take longer to
load than the rest.
"""
OWN_GROUPS = {"broker": "The brokers' files: accounts and their certificates, rights, configuration."}
"""Groups of ours, imported only when one of their commands is called: certificates need a library of their own."""
ENTRY_POINTS = "ramshare.commands"
GET_THE_LAB = "pip install ramshare-lab, or from a checkout: pip install . ./agents/ramshare_lab"


class Commands(TyperGroup):
    """Loads groups late, and turns every failure of a command into one line on standard error and its exit code."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and the arguments left."""
        if args and args[0] in OWN_GROUPS:
            module = importlib.import_module(f"ramshare.cli.{args[0]}")
            return args[0], typer.main.get_group(module.app), args[1:]
        if args and args[0] in GROUPS:
            return args[0], _load(args[0]), args[1:]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except RamshareError as error:
            found = ctx.find_object(Options)
            show_error(error, as_json=found is not None and found.as_json)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    epilog=EXIT_CODES,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        out().print(f"ramshare {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    ctx: typer.Context,
    broker: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The broker; RAMSHARE_BROKER_HOST.")] = None,
    tls: Annotated[
        Path | None,
        typer.Option(
            help="Directory with ca.crt, and ACCOUNT.crt and .key; RAMSHARE_TLS_DIRECTORY, ~/.config/ramshare/tls."
        ),
    ] = None,
    client: Annotated[str | None, typer.Option(help="Account, by default cli.<user>; RAMSHARE_CLIENT.")] = None,
    root: Annotated[str | None, typer.Option(help="First part of every topic; RAMSHARE_ROOT.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Plain TCP and a password, no TLS; RAMSHARE_BROKER_INSECURE.")
    ] = False,
    password_file: Annotated[
        Path | None,
        typer.Option(help="With --insecure: file with the password, or a directory with one per account."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say on standard error what is done.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Lend the idle memory of one host to the live swap of another."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    ctx.obj = Options(broker, tls, client, root, insecure, password_file, outside=ctx.obj or Outside())


def _add(name: str, command: Callable[..., None], example: str) -> None:
    app.command(name, epilog=example)(command)


_add("run", run.run, run.RUN_EXAMPLE)
_add("borrow", volumes.borrow, volumes.BORROW_EXAMPLE)
_add("return", volumes.return_, volumes.RETURN_EXAMPLE)
_add("status", status.status, status.STATUS_EXAMPLE)
_add("watch", status.watch, status.WATCH_EXAMPLE)
_add("listen", listen.listen, listen.LISTEN_EXAMPLE)
_add("why", status.why, status.WHY_EXAMPLE)
_add("drain", drain.drain, drain.DRAIN_EXAMPLE)
_add("undrain", drain.undrain, drain.UNDRAIN_EXAMPLE)
_add("doctor", doctor.doctor, doctor.DOCTOR_EXAMPLE)
_add("schemas", schemas.schemas, schemas.SCHEMAS_EXAMPLE)


def _load(name: str) -> Any:
    """Import a group. Raises `MissingPartError` saying how to get the lab, or the library of its that is missing."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS, name=name)
    if not found:
        raise MissingPartError(f"ramshare {name} is part of the lab, which is not installed", GET_THE_LAB)
    try:
        return typer.main.get_group(next(iter(found)).load())
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package in ("", "ramshare"):
            raise
        raise MissingPartError(f"ramshare {name} needs the Python package {package}", GET_THE_LAB) from missing


def _add_group(name: str) -> None:
    """Have help and completion know a group that `resolve_command` loads."""

    def group() -> None:
        """Replaced by the group itself."""

    app.command(name, help=(GROUPS | OWN_GROUPS)[name])(group)


for _name in (*OWN_GROUPS, *GROUPS):
    _add_group(_name)


def main() -> None:
    """Run the command line."""
    app(prog_name="ramshare")


if __name__ == "__main__":
    main()
