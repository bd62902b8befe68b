"""`ramshare drain` and `undrain`: have a host give back all that it lent, before it is rebooted, and lend again."""

from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ramshare.cli import options as opts
from ramshare.cli.arguments import JsonOption, TimeoutOption, WaitOption
from ramshare.cli.follow import StillWaitingError
from ramshare.cli.output import err, note, out, print_json, size
from ramshare.cli.session import POLL_S, Session, connected, require_host
from ramshare.messages.requests import Drain, Undrain
from ramshare.messages.state import Offer

DRAIN_EXAMPLE = "Example: ramshare drain hosta --timeout 120 && ssh hosta reboot"
UNDRAIN_EXAMPLE = "Example: ramshare undrain hosta"
HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="A host that lends.")]


def drain(
    ctx: typer.Context,
    host: HostArgument,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a host take back all its memory and offer nothing until `undrain`.

    Waits until the last lease is back. Ctrl-C only stops the watching: the host goes on draining.
    """
    options = opts.of(ctx, as_json=as_json)
    started_s = options.outside.clock()
    with connected(options) as session:
        session.look(host)
        lender = session.require("lender", require_host(host))
        reply = session.ask(lender, Drain())
        if wait:
            _wait(session, host, None if timeout is None else started_s + timeout)
        offer = session.snapshot.offer(host)
    result = _result(host, offer, options.outside.clock() - started_s)
    if as_json:
        print_json(result)
    elif wait:
        out().print(f"{host} is drained: all memory is back after {result['seconds']:.1f} s.")
    else:
        out().print(f"{host} has begun: {reply.sentence or 'draining'}", soft_wrap=True)


def undrain(ctx: typer.Context, host: HostArgument, as_json: JsonOption = False) -> None:
    """Let a drained host offer its memory again."""
    options = opts.of(ctx, as_json=as_json)
    started_s = options.outside.clock()
    with connected(options) as session:
        session.look(host)
        lender = session.require("lender", require_host(host))
        reply = session.ask(lender, Undrain())
        offer = session.snapshot.offer(host)
    if as_json:
        print_json({**_result(host, offer, options.outside.clock() - started_s), "done": True, "draining": False})
    else:
        out().print(f"{host} lends again: {reply.sentence or 'its next offer follows'}", soft_wrap=True)


def _wait(session: Session, host: str, until_s: float | None) -> None:
    """Show how the lent bytes come back. Raises `StillWaitingError`."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    first = session.snapshot.offer(host)
    most = first.lent_bytes if first else 0
    try:
        with Progress(*columns, TimeElapsedColumn(), console=err(), disable=not err().is_terminal) as progress:
            task = progress.add_task(f"draining {host}", total=max(most, 1))
            while not _drained(offer := session.snapshot.offer(host)):
                lent = offer.lent_bytes if offer else most
                if until_s is not None and session.clock() > until_s:
                    raise StillWaitingError(
                        f"{host} still has {size(lent)} lent", "it goes on draining; ramshare status shows its leases"
                    )
                most = max(most, lent)
                text = f"draining {host}: {size(lent)} still lent"
                progress.update(task, total=max(most, 1), completed=most - lent, description=text)
                session.next(POLL_S)
    except KeyboardInterrupt:
        note(f"Stopped watching; {host} goes on draining. Follow it: ramshare watch. Undo it: ramshare undrain {host}")
        raise


def _drained(offer: Offer | None) -> bool:
    return offer is not None and offer.draining and offer.lent_bytes == 0


def _result(host: str, offer: Offer | None, took_s: float) -> dict[str, Any]:
    return {
        "host": host,
        "done": _drained(offer),
        "draining": offer.draining if offer else None,
        "lent_bytes": offer.lent_bytes if offer else None,
        "seconds": round(took_s, 3),
    }
