"""`ramshare status`, `watch` and `why`: what the retained topics say, once or as it changes."""

from collections import deque
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.text import Text

from ramshare.bus.api import EventArrived
from ramshare.cli import options as opts
from ramshare.cli import tables
from ramshare.cli.arguments import JsonOption, LimitOption, OneHostOption
from ramshare.cli.focus import DEFAULT_LIMIT, Focus, known, of_host
from ramshare.cli.output import age, err, out, print_json, size, stream_json
from ramshare.cli.report import build
from ramshare.cli.rows import HostRow, Why
from ramshare.cli.session import COLLECT_S, POLL_S, Session, UnknownNameError, connected, named, require_host
from ramshare.messages.state import Decisions

STATUS_EXAMPLE = "Example: ramshare status --json | jq '.volumes[] | {volume, phase, remote_bytes}'"
WATCH_EXAMPLE = "Example: ramshare watch --for 60"
WHY_EXAMPLE = "Example: ramshare why hosta"
REFRESH_S, IDLE_REFRESH_S = 0.25, 1.0
"""At most four pictures a second, smooth for the eye; one where only the ages change."""
SHOWN_EVENTS = 12
_EVENTS = Text("Events, newest last; Ctrl-C ends", style="bold")


def status(
    ctx: typer.Context,
    as_json: JsonOption = False,
    host: OneHostOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
) -> None:
    """Show the cluster: hosts, volumes and where their pages really are, leases, guests, agents.

    Every fact comes with its age. Warnings name what is missing, old or contradictory. Of a large cluster each table
    shows what needs attention first; totals are always of all, and --json leaves nothing out. With more than 1,000
    lending hosts it shows totals, who is away and the volumes, or one --host; --limit 0 and --json read everything.
    """
    options = opts.of(ctx, as_json=as_json)
    with connected(options) as session:
        everything = host is None and (as_json or limit == 0)
        snapshot = session.collect() if everything else session.look(host)
        report = build(snapshot, session.broker, session.wall())
    if host is not None:
        report = of_host(report, host)
        if not known(report):
            raise UnknownNameError(f"nobody named {host} has said anything", "ramshare status")
    if as_json:
        stream_json(report)
    else:
        out().print(tables.status(report, Focus(limit)))


def watch(
    ctx: typer.Context,
    for_s: Annotated[float | None, typer.Option("--for", help="End after so many seconds.", min=0.1, max=1e9)] = None,
    host: OneHostOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
) -> None:
    """Show the same as `status`, live, with the newest events beneath. Ctrl-C ends it."""
    options = opts.of(ctx)
    until_s = None if for_s is None else options.outside.clock() + for_s
    with connected(options) as session:
        session.bus.watch_events()
        session.look(host, COLLECT_S if for_s is None else min(COLLECT_S, for_s))
        _live(session, until_s, host, Focus(limit))


def _live(session: Session, until_s: float | None, host: str | None, focus: Focus) -> None:
    """Draw until the time is over: the whole screen of a terminal, or elsewhere one picture at the end."""
    events: deque[Text] = deque(maxlen=SHOWN_EVENTS)
    drawn_s, news = 0.0, True
    console = out()
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while until_s is None or session.clock() < until_s:
            arrival = session.next(POLL_S)
            if isinstance(arrival, EventArrived):
                events.append(tables.event_line(arrival))
            news = news or arrival is not None
            if session.clock() - drawn_s >= (REFRESH_S if news else IDLE_REFRESH_S):
                drawn_s, news = session.clock(), False
                height = console.height if console.is_terminal else None
                live.update(_picture(session, events, height, host, focus), refresh=True)


def _picture(
    session: Session, events: deque[Text], height: int | None, host: str | None, focus: Focus
) -> RenderableType:
    """Return the cluster and the newest events beneath it; at a given height both keep their share of the screen."""
    above: list[RenderableType] = []
    if not session.connected:
        above += tables.alerts(["the broker is away: this is the last that was heard"])
    report = build(session.snapshot, session.broker, session.wall())
    above.append(tables.status(of_host(report, host) if host is not None else report, focus))
    if height is None:
        return Group(*above, *([Text(), _EVENTS, *events] if events else []))
    shown = max(1, min(SHOWN_EVENTS, height // 4))
    screen = Layout()
    screen.split_column(Layout(Group(*above)), Layout(Group(_EVENTS, *list(events)[-shown:]), size=shown + 1))
    return screen


def why(
    ctx: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host that lends, or borrows by itself.")],
    as_json: JsonOption = False,
) -> None:
    """Tell why a host offers what it offers, and why it borrows by itself or not: the last decisions and their numbers.

    Decisions about borrowing are there where the host's owner allows that (RAMSHARE_BORROWER_AUTO).
    """
    options = opts.of(ctx, as_json=as_json)
    lender, borrower = f"lender.{require_host(host)}", f"borrower.{host}"
    with connected(options) as session:
        report = build(session.look(host), session.broker, session.wall())
        decisions, demand = (session.snapshot.get(x, "decisions", Decisions) for x in (lender, borrower))
        lost = demand is not None and not session.snapshot.online(borrower)
    found = next((row for row in report.hosts if row.host == host), None)
    if found is None and demand is None:
        known = named([row.host for row in report.hosts]) or "none"
        raise UnknownNameError(
            f"no host named {host} has offered anything or borrows by itself; known: {known}", "ramshare status"
        )
    told = Why(
        offer=found,
        decisions=list(decisions.decisions) if decisions else [],
        demand=list(demand.decisions) if demand else [],
    )
    if as_json:
        print_json(told)
        return
    if lost:
        err().print(*tables.alerts([f"{borrower} is offline: these are its last words"]))
    if found is not None:
        _tell_offer(lender, found)
    _tell_decisions("Decisions, newest last", told.decisions)
    _tell_decisions("Decisions to borrow and return, newest last", told.demand)


def _tell_offer(lender: str, found: HostRow) -> None:
    if found.stale:
        err().print(*tables.alerts([f"{lender} is offline or silent: this is its last word, {age(found.age_s)} old"]))
    out().print(
        f"{found.host} offers {size(found.free_bytes)} more ({size(found.lent_bytes)} lent of "
        f"{size(found.capacity_bytes)}), said {age(found.age_s)} ago:",
        soft_wrap=True,
    )
    out().print(Text(f"  {found.reason}"), soft_wrap=True)


def _tell_decisions(title: str, decisions: list[str]) -> None:
    if decisions:
        out().print(Text(title, style="bold"))
    for decision in decisions:
        out().print(Text(f"  {decision}"), soft_wrap=True)
