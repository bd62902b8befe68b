"""`ramshare schemas`: write the generated contract, or say whether the written one is stale."""

from pathlib import Path
from typing import Annotated

import typer

from ramshare.cli import options as opts
from ramshare.cli.arguments import JsonOption
from ramshare.cli.output import out, print_json
from ramshare.errors import RamshareError

SCHEMAS_EXAMPLE = "Example: ramshare schemas --check schemas"


class StaleError(RamshareError):
    """The written contract is not what the messages say."""

    code = "stale"


def schemas(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the contract lies.")] = Path("schemas"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if it is stale.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the AsyncAPI document and one JSON Schema per message, generated from the code."""
    from ramshare.contract import asyncapi as contract

    opts.of(ctx, as_json=as_json)
    stale = sorted(str(name) for name in contract.stale(directory))
    if check and stale:
        raise StaleError(f"stale in {directory}: {', '.join(stale)}", f"write it again: ramshare schemas {directory}")
    if not check:
        contract.write(directory)
    if as_json:
        print_json({"directory": str(directory), "written": stale})
    elif stale:
        out().print(f"{directory}: wrote {len(stale)} file(s).")
    else:
        out().print(f"{directory} is up to date.")
