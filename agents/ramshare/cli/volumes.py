"""`ramshare borrow` and `ramshare return`: ask a borrower, then show how the volume's pages move."""

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from ramshare.cli import options as opts
from ramshare.cli.arguments import HostOption, JsonOption, TimeoutOption, VolumeArgument, WaitOption
from ramshare.cli.dry_run import foresee
from ramshare.cli.follow import Following, Goal, stop_waiting, wait_for
from ramshare.cli.output import UsageError, one_line, out, parse_duration, parse_size, print_json, size
from ramshare.cli.own_swap import ask_host
from ramshare.cli.session import Session, connected, require_host
from ramshare.cli.tables import alerts, placement
from ramshare.errors import ExitCode
from ramshare.linux.dm import volume_of_device
from ramshare.linux.lvm_names import volume_of_path
from ramshare.messages.base import VolumeName
from ramshare.messages.replies import AttachReply, Reply
from ramshare.messages.requests import MAX_WAIT_S, BorrowOwnSwap, BorrowVolume, Request, ReturnOwnSwap, ReturnVolume
from ramshare.messages.state import Volume
from ramshare.settings import HostSettings, ModeChoice, load

BORROW_EXAMPLE = "Example: ramshare borrow vg0/swap --host hostb --mode mirror --min-lenders 2"
RETURN_EXAMPLE = "Example: ramshare return vg0/swap --host hostb"
_VOLUME: TypeAdapter[str] = TypeAdapter(VolumeName)


def borrow(
    ctx: typer.Context,
    volume: VolumeArgument = None,
    host: HostOption = None,
    mode: Annotated[
        ModeChoice,
        typer.Option(
            help="mirror: also on the local disk. pair: on two lenders each, fast and safe. move: on one, lost with it."
            " auto: as the host's owner has set, else pair where the cluster can, else mirror."
        ),
    ] = ModeChoice.AUTO,
    min_lenders: Annotated[int, typer.Option(help="Spread over at least so many lenders.", min=1, max=64)] = 1,
    encrypt: Annotated[
        bool | None,
        typer.Option(
            "--encrypt/--no-encrypt",
            help="Whether lenders get encrypted pages only. Not encrypted costs less CPU, and lenders' owners can read "
            "and change what is swapped out. Default: the borrower's setting, which is to encrypt.",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--size", metavar="SIZE", help="Only so much of it, for example 2G; the rest stays at home (move)."
        ),
    ] = None,
    at_most: Annotated[
        bool, typer.Option("--at-most", help="Take less if the cluster has less; the rest stays at home (move).")
    ] = False,
    wait_for_memory: Annotated[
        str | None,
        typer.Option(
            "--wait-for-memory",
            metavar="TIME",
            help="If the cluster has no memory now, stand in line for so long, for example 10m. Who waits is served in "
            "turn, one borrower after the other; Ctrl-C, `ramshare return` and the end of the borrower's agent end it.",
        ),
    ] = None,
    only_if_faster: Annotated[
        bool,
        typer.Option(
            "--only-if-faster",
            help="Give the memory back unused unless it reads at least twice as fast as the local disk does now.",
        ),
    ] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be asked and who could lend.")
    ] = False,
) -> None:
    """Put a live swap volume's pages on other hosts' memory.

    The volume stays in use. Ctrl-C only stops the watching: the borrower goes on, unless it waits for memory yet.

    Inside a guest, as root and without a volume: for the guest's own swap, if its host's owner allows it.
    """
    options = opts.of(ctx, as_json=as_json)
    if volume is None:
        _only(ctx, "part", "as_json")
        ask_host(BorrowOwnSwap(size_bytes=None if part is None else parse_size(part)), as_json=as_json)
        return
    where, here = _place(host)
    request = BorrowVolume(
        volume=check_volume(volume, here=here),
        mode=mode.mode,
        min_lenders=min_lenders,
        encrypt=encrypt,
        size_bytes=None if part is None else parse_size(part),
        at_most=at_most,
        only_if_faster=only_if_faster,
        wait_s=0.0 if wait_for_memory is None else parse_duration(wait_for_memory, MAX_WAIT_S),
    )
    with connected(options) as session:
        session.look(where)
        if dry_run:
            foreseen = foresee(session, where, request)
            if as_json:
                print_json(foreseen)
            else:
                out().print(*alerts(foreseen.obstacles), foreseen.sentence, sep="\n", soft_wrap=True)
            raise typer.Exit(ExitCode.OK if foreseen.possible else ExitCode.REFUSED)
        _carry_out(session, where, request, "attach", wait=wait, timeout_s=timeout, as_json=as_json)


def return_(
    ctx: typer.Context,
    volume: VolumeArgument = None,
    host: HostOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a volume's pages home to the local disk and give the leases back.

    Inside a guest, as root and without a volume: the guest's own swap.
    """
    options = opts.of(ctx, as_json=as_json)
    if volume is None:
        _only(ctx, "as_json")
        ask_host(ReturnOwnSwap(), as_json=as_json)
        return
    where, here = _place(host)
    request = ReturnVolume(volume=check_volume(volume, here=here))
    with connected(options) as session:
        session.look(where)
        _carry_out(session, where, request, "return", wait=wait, timeout_s=timeout, as_json=as_json)


def _only(ctx: typer.Context, *meant: str) -> None:
    """Raise `UsageError` if an option was given that means nothing where no volume is named."""
    told = [p for p in ctx.params if p not in meant and _is_given(ctx, p)]
    if told:
        raise UsageError(
            "no volume is named: write VG/LV as lvs shows it on the volume's host, for example vg0/swap",
            "a guest that asks for its own swap says nothing but --size and --json: its host's owner has set the rest",
        )


def _is_given(ctx: typer.Context, parameter: str) -> bool:
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def _place(host: str | None) -> tuple[str, bool]:
    """Return the volume's host, and whether that is this machine: another one's device names mean nothing here."""
    this = load(HostSettings).host
    where = require_host(host or this)
    return where, where == this


def check_volume(text: str, *, here: bool = True) -> str:
    """Return `VG/LV` of a volume as people name it: `/dev/mapper/…`; on its own host (`here`) `/dev/dm-N` or a UUID.

    Raises `UsageError`.
    """
    found = volume_of_path(text) or (volume_of_device(text) if here else None)
    try:
        return _VOLUME.validate_python(found)
    except ValidationError as error:
        raise UsageError(
            f"{text[:80]!r} is not a volume{' of this host' if here else ''}",
            "write VG/LV as lvs shows it on the volume's host, for example vg0/swap",
        ) from error


def _carry_out(
    session: Session, host: str, request: Request, goal: Goal, *, wait: bool, timeout_s: float | None, as_json: bool
) -> None:
    assert isinstance(request, BorrowVolume | ReturnVolume)
    borrower = session.require("borrower", host)
    started_s = session.clock()
    wait_s = request.wait_s if isinstance(request, BorrowVolume) else 0.0
    try:
        reply = session.ask(borrower, request)
    except KeyboardInterrupt:
        if wait_s:
            stop_waiting(session, borrower, request.volume)
        raise
    mode = request.mode if isinstance(request, BorrowVolume) else None
    if isinstance(reply, AttachReply):
        mode = mode or reply.mode
    following = Following(borrower, request.volume, goal, reply, mode)
    following.start(session.snapshot.get(borrower, following.path, Volume))
    if wait:
        wait_for(session, following, host, None if timeout_s is None else started_s + timeout_s)
    if as_json:
        print_json(_result(following, host, session.clock() - started_s))
    else:
        out().print(_sentence(following, host, session.clock() - started_s, waited=wait), soft_wrap=True)


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
