"""`ramshare borrow` and `ramshare return`: ask a borrower, then show how the volume's pages move."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ramshare.bus.api import StateArrived
from ramshare.cli import options as opts
from ramshare.cli.output import UsageError, err, note, one_line, out, print_json, size
from ramshare.cli.placing import foresee
from ramshare.cli.progress import Following, Goal
from ramshare.cli.session import POLL_S, RequestRefusedError, Session, connected, require_host
from ramshare.cli.tables import alerts, placement
from ramshare.errors import ExitCode, RamshareError
from ramshare.messages.base import VolumeName
from ramshare.messages.replies import AttachReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowVolume, Request, ReturnVolume
from ramshare.messages.state import Mode, Volume
from ramshare.settings import HostSettings, load

BORROW_EXAMPLE = """Example: ramshare borrow vg0/swap --host hostb --mode mirror --min-lenders 2"""
RETURN_EXAMPLE = """Example: ramshare return vg0/swap --host hostb"""
_VOLUME: TypeAdapter[str] = TypeAdapter(VolumeName)

VolumeArgument = Annotated[str, typer.Argument(metavar="VG/LV", help="The swap volume, as LVM names it.")]
HostOption = Annotated[str | None, typer.Option(help="Host of the volume; by default this machine.", metavar="HOST")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, with progress.")]
TimeoutOption = Annotated[
    float | None, typer.Option(help="Stop waiting after so many seconds; the work itself goes on.", min=0.1, max=1e6)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of words.")]


class VolumeFailedError(RamshareError):
    """The borrower gave up."""

    code = "volume-failed"


class StillWaitingError(RamshareError):
    """The time given is over; the work goes on."""

    code = "still-waiting"


def borrow(
    ctx: typer.Context,
    volume: VolumeArgument,
    host: HostOption = None,
    mode: Annotated[
        Mode, typer.Option(help="mirror: also on the local disk, survives a lender's death. move: faster writes.")
    ] = Mode.MIRROR,
    min_lenders: Annotated[int, typer.Option(help="Spread over at least so many lenders.", min=1, max=64)] = 1,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be asked and who could lend.")
    ] = False,
) -> None:
    """Put a live swap volume's pages on other hosts' memory.

    The volume stays in use. Ctrl-C only stops the watching: the borrower goes on.
    """
    options = opts.of(ctx, as_json=as_json)
    request = BorrowVolume(volume=check_volume(volume), mode=mode, min_lenders=min_lenders)
    where = require_host(host or load(HostSettings).host)
    with connected(options) as session:
        session.collect()
        if dry_run:
            foreseen = foresee(session.snapshot, where, request)
            if as_json:
                print_json(foreseen)
            else:
                out().print(*alerts(foreseen.obstacles), foreseen.sentence, sep="\n", soft_wrap=True)
            raise typer.Exit(ExitCode.OK if foreseen.possible else ExitCode.REFUSED)
        _carry_out(session, where, request, "attach", wait=wait, timeout_s=timeout, as_json=as_json)


def return_(
    ctx: typer.Context,
    volume: VolumeArgument,
    host: HostOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a volume's pages home to the local disk and give the leases back."""
    options = opts.of(ctx, as_json=as_json)
    request = ReturnVolume(volume=check_volume(volume))
    where = require_host(host or load(HostSettings).host)
    with connected(options) as session:
        session.collect()
        _carry_out(session, where, request, "return", wait=wait, timeout_s=timeout, as_json=as_json)


def check_volume(text: str) -> str:
    """Return a volume's name that can be part of a topic. Raises `UsageError`."""
    try:
        return _VOLUME.validate_python(text.removeprefix("/dev/"))
    except ValidationError as error:
        raise UsageError(
            f"{text[:80]!r} is not a volume", "write VG/LV as lvs shows it, for example vg0/swap"
        ) from error


def _carry_out(
    session: Session, host: str, request: Request, goal: Goal, *, wait: bool, timeout_s: float | None, as_json: bool
) -> None:
    assert isinstance(request, BorrowVolume | ReturnVolume)
    borrower = session.require("borrower", host)
    started_s = time.monotonic()
    reply = session.ask(borrower, request)
    mode = request.mode if isinstance(request, BorrowVolume) else None
    following = Following(borrower, request.volume, goal, reply, mode)
    following.start(session.snapshot.get(borrower, following.path, Volume))
    if wait:
        _wait(session, following, host, None if timeout_s is None else started_s + timeout_s)
    if as_json:
        print_json(_result(following, host, time.monotonic() - started_s))
    else:
        out().print(_sentence(following, host, time.monotonic() - started_s, waited=wait), soft_wrap=True)


def _wait(session: Session, following: Following, host: str, until_s: float | None) -> None:
    """Follow the volume to its goal. Raises `VolumeFailedError` or `StillWaitingError`."""
    verb = "attaching" if following.goal == "attach" else "returning"
    try:
        with _shown(verb, following) as show:
            while not following.done and not following.failed:
                if until_s is not None and time.monotonic() > until_s:
                    step = following.newest.step if following.newest else "nothing heard yet"
                    raise StillWaitingError(
                        f"{following.volume} is not done yet: {step}", f"{host} goes on; follow it with ramshare watch"
                    )
                arrival = session.next(POLL_S)
                if isinstance(arrival, StateArrived):
                    following.see(arrival)
                following.online = session.snapshot.online(following.borrower)
                show(session.connected)
    except KeyboardInterrupt:
        note(f"Stopped watching; the borrower of {host} goes on {verb} {following.volume}.")
        other = "return" if following.goal == "attach" else "borrow"
        note(f"Follow it: ramshare watch. The other way: ramshare {other} {following.volume} --host {host}")
        raise
    if following.failed:
        raise VolumeFailedError(
            f"{verb} {following.volume}: {following.failed}",
            f"ramshare status shows its pages; ramshare return {following.volume} --host {host} ends the tries",
        )
    found = following.newest
    if following.goal == "attach" and following.mode and found and found.mode not in (None, following.mode):
        raise RequestRefusedError(
            ErrorCode.CONFLICT,
            f"{following.volume} was attached already, by {found.mode}; it was left so",
            f"first: ramshare return {following.volume} --host {host}",
        )


@contextmanager
def _shown(verb: str, following: Following) -> Iterator[Any]:
    """Show a bar on a terminal, otherwise one line for each new step."""
    console, last = err(), ""

    def text(connected_now: bool) -> str:
        if not connected_now:
            return "the broker is away; the work goes on"
        if not following.online:
            return f"{following.borrower} is away; it goes on when it is back"
        found = following.newest
        return one_line(found.step or found.phase) if found else "asked"

    if not console.is_terminal:

        def line(connected_now: bool) -> None:
            nonlocal last
            if text(connected_now) != last:
                last = text(connected_now)
                note(f"{following.volume}: {last}")

        yield line
        return
    columns = (TextColumn("{task.fields[volume]}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task(verb, total=100.0, volume=following.volume)

        def bar(connected_now: bool) -> None:
            found = following.newest
            percent = 100.0 if following.done else found.progress_percent if found else 0.0
            progress.update(task, completed=percent, description=text(connected_now))

        bar(True)
        yield bar


def _result(following: Following, host: str, took_s: float) -> dict[str, Any]:
    """Return the keys of the JSON: a volume as in `ramshare status --json`, and what the borrower answered."""
    found, reply = following.newest, following.reply
    return {
        "volume": following.volume,
        "host": host,
        "done": following.done,
        "phase": found.phase if found else None,
        "mode": found.mode if found else None,
        "size_bytes": found.size_bytes if found else None,
        "local_bytes": found.local_bytes if found else None,
        "remote_bytes": found.remote_bytes if found else None,
        "placement": list(found.placement) if found else [],
        "leases": list(reply.leases) if isinstance(reply, AttachReply) else list(found.leases) if found else [],
        "lenders": list(reply.lenders) if isinstance(reply, AttachReply) else [],
        "sentence": reply.sentence,
        "seconds": round(took_s, 3),
    }


def _sentence(following: Following, host: str, took_s: float, *, waited: bool) -> str:
    found, reply = following.newest, following.reply
    if not waited:
        return one_line(f"{host} has begun: {reply.sentence or following.volume}. Follow it: ramshare watch")
    if following.goal == "return":
        return f"{following.volume} of {host} is home again after {took_s:.1f} s; its leases are given back."
    where = placement(found.placement) if found and found.placement else _lenders(reply)
    amount = size(found.remote_bytes) if found else "its pages"
    return one_line(f"{following.volume} of {host} is attached after {took_s:.1f} s: {amount} remote ({where}).")


def _lenders(reply: Reply) -> str:
    return ", ".join(reply.lenders) if isinstance(reply, AttachReply) and reply.lenders else "see ramshare status"
