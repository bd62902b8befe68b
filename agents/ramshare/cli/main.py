"""The `ramshare` command: its options, its commands, and how each ends: with an exit code of `errors.ExitCode`."""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ramshare import __version__
from ramshare.cli import bench, drain, listen, run, schemas, status, volumes
from ramshare.cli.options import OpenBus, Options, open_mqtt
from ramshare.cli.output import note, out, show_error
from ramshare.errors import ExitCode, RamshareError

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed or not done in time, 2 wrong usage or setting, 3 no broker, "
    "4 credentials refused, 5 request refused, 6 a tool or privilege is missing, 130 Ctrl-C."
)


class Commands(TyperGroup):
    """Turns every failure of a command into one line on standard error and its exit code."""

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
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with the MQTT password, or a directory with one per account; RAMSHARE_PASSWORD_FILE."),
    ] = None,
    client: Annotated[str | None, typer.Option(help="Account, by default cli.<user>; RAMSHARE_CLIENT.")] = None,
    root: Annotated[str | None, typer.Option(help="First part of every topic; RAMSHARE_ROOT.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say on standard error what is done.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Lend the idle memory of one host to the live swap of another."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    opened: OpenBus = ctx.obj if callable(ctx.obj) else open_mqtt
    ctx.obj = Options(broker, password_file, client, root, opened)


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
_add("schemas", schemas.schemas, schemas.SCHEMAS_EXAMPLE)
app.add_typer(bench.app, name="bench")


def _add_group(name: str, extra: str, purpose: str) -> None:
    """Add a group of commands from a module of its own; where its libraries are missing, say how to get them."""
    try:
        module = importlib.import_module(f"ramshare.cli.{name}")
    except ModuleNotFoundError as missing:
        needed = missing.name or ""
        if needed.startswith("ramshare."):
            return

        def explain() -> None:
            note(f"error: ramshare {name} needs the Python package {needed}")
            note(f"try: pip install 'ramshare[{extra}]'")
            raise typer.Exit(ExitCode.MISSING_PART)

        app.command(name, help=f"{purpose} (not installed)")(explain)
        return
    app.add_typer(module.app, name=name)


_add_group("lab", "bench", "The cluster on one machine")
_add_group("policy", "policy", "Replay and compare surplus policies")


def main() -> None:
    """Run the command line."""
    app(prog_name="ramshare")


if __name__ == "__main__":
    main()
