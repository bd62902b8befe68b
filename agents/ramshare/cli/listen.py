"""`ramshare listen`: the cluster's events, as a story for people or as JSON lines for scripts."""

from typing import Annotated

import typer

from ramshare.bus.api import Disconnected, EventArrived
from ramshare.cli import options as opts
from ramshare.cli.output import note, out, print_json
from ramshare.cli.session import POLL_S, connected
from ramshare.cli.tables import event_line

LISTEN_EXAMPLE = "Example: ramshare listen --json | jq -r 'select(.kind == \"failed\") | .sentence'"


def listen(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
    count: Annotated[int | None, typer.Option(help="End after so many events.", min=1)] = None,
    for_s: Annotated[float | None, typer.Option("--for", help="End after so many seconds.", min=0.1, max=1e9)] = None,
) -> None:
    """Print what happens from now on: time, who, and one sentence. Ctrl-C ends it."""
    options = opts.of(ctx, as_json=as_json)
    until_s = None if for_s is None else options.outside.clock() + for_s
    left = count
    console = out()
    with connected(options) as session:
        session.bus.watch_events()
        note("Listening; Ctrl-C ends it.")
        while (left is None or left > 0) and (until_s is None or session.clock() < until_s):
            arrival = session.next(POLL_S)
            if isinstance(arrival, Disconnected):
                note("The broker is away; what happens meanwhile is not heard.")
            if not isinstance(arrival, EventArrived):
                continue
            left = None if left is None else left - 1
            if as_json:
                print_json({"client": arrival.client, **arrival.message.model_dump(mode="json")}, indent=None)
            else:
                console.print(event_line(arrival), soft_wrap=True)
