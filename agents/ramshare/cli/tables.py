"""Rows as Rich tables. Pure: a report in, something to print out."""

from collections.abc import Callable, Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ramshare.bus.api import EventArrived
from ramshare.cli.focus import EVERYTHING, Focus, R
from ramshare.cli.output import age, clock, one_line, size
from ramshare.cli.rows import AgentRow, GuestRow, HostRow, LeaseRow, Report, VolumeRow
from ramshare.messages.events import Event, EventKind

_PHASE_STYLE = {"attached": "green", "home": "", "failed": "bold red", "lost": "bold red"}
_ALARMING = {EventKind.FAILED, EventKind.PAGES_LOST, EventKind.LEG_LOST, EventKind.REFUSED}
Cell = str | Text


def status(report: Report, focus: Focus = EVERYTHING) -> RenderableType:
    """Return the whole of `ramshare status`: alerts first, then hosts, volumes, leases, guests and agents.

    The totals are those of the whole report, whatever rows are shown.
    """
    parts: list[RenderableType] = [*alerts(focus.sentences(report.warnings)), summary(report)]
    parts += _shown(hosts, *focus.of(report.hosts))
    parts += _shown(volumes, *focus.of(report.volumes))
    parts += _shown(leases, *focus.of(report.leases))
    parts += _shown(guests, *focus.of(report.guests))
    parts += _shown(agents, *focus.of(report.agents))
    if report.narrow:
        parts += [Text(), Text("A large cluster: these are totals and volumes. --host NAME shows one, --limit 0 all.")]
    return Group(*parts)


def _shown(table: Callable[[list[R]], Table], rows: list[R], hidden: int) -> list[RenderableType]:
    if not rows:
        return []
    parts: list[RenderableType] = [Text(), table(rows)]
    if hidden:
        parts.append(Text(f"and {hidden} more, none in more need of attention; --host NAME shows one, --limit 0 all"))
    return parts


def alerts(sentences: Iterable[str]) -> list[Text]:
    """Return warnings as lines that stand out."""
    return [Text(f"! {one_line(sentence)}", style="bold yellow") for sentence in sentences]


def summary(report: Report) -> Text:
    """Return the cluster in one line."""
    all_ = report.totals
    count = report.manager.waiting if report.manager else 0
    waiting = f" {count} request(s) wait for memory." if count else ""
    return Text(
        f"{all_.hosts} lending host(s), {all_.hosts_there} there: "
        f"{size(all_.capacity_bytes)} lendable, {size(all_.lent_bytes)} lent, {size(all_.free_bytes)} free. "
        f"{all_.volumes} volume(s), {size(all_.remote_bytes)} of swap on remote memory.{waiting}{_managers(report)}"
    )


def _managers(report: Report) -> str:
    """Say who makes loans, where it could be another."""
    if report.manager is None or not report.manager.active or not report.manager.standbys:
        return ""
    return f" {report.manager.client} makes loans; standing by: {', '.join(report.manager.standbys)}."


def hosts(rows: Sequence[HostRow]) -> Table:
    """The manager's database: what every host can lend."""
    cells = [
        (
            row.host,
            _presence(row.online, row.stale),
            "draining" if row.draining else "yes" if row.exportable else "no",
            size(row.capacity_bytes),
            size(row.lent_bytes),
            size(row.free_bytes),
            size(row.committed_bytes),
            row.address,
            _age(row.age_s, row.stale),
            row.reason,
        )
        for row in rows
    ]
    heads = ("host", "lender", "exportable", ">capacity", ">lent", ">free", ">committed", "address", ">age", "why")
    return _table("Hosts that lend", heads, cells)


def volumes(rows: Sequence[VolumeRow]) -> Table:
    """Where every swap volume's pages are."""
    cells = [
        (
            row.volume,
            row.host,
            ", ".join(row.guests) or "-",
            Text(_phase(row.phase, row.progress_percent), style=_PHASE_STYLE.get(row.phase, "cyan")),
            row.mode or "-",
            size(row.size_bytes),
            size(row.local_bytes),
            size(row.remote_bytes),
            placement(row.placement),
            _age(row.age_s, row.stale),
            row.step,
        )
        for row in rows
    ]
    heads = ("volume", "host", "guest", "phase", "mode", ">size", ">local", ">remote", "pages lie on", ">age", "step")
    return _table("Volumes (LVM's own words)", heads, cells)


def leases(rows: Sequence[LeaseRow]) -> Table:
    """Every lease, as both ends see it."""
    cells = [
        (
            row.lease,
            row.lender,
            row.borrower,
            row.volume or "-",
            size(row.size_bytes),
            row.mode,
            row.lender_phase or Text("no export", style="bold red"),
            row.borrower_phase or "-",
            {True: "yes", False: "no", None: "-"}[row.connected],
            _age(row.age_s, row.stale),
        )
        for row in rows
    ]
    heads = (
        "lease",
        "lender",
        "borrower",
        "volume",
        ">size",
        "mode",
        "lender says",
        "borrower says",
        "session",
        ">age",
    )
    return _table("Leases", heads, cells)


def guests(rows: Sequence[GuestRow]) -> Table:
    """Memory inside guests and hosts."""
    cells = [
        (
            row.client,
            size(row.total_bytes),
            size(row.available_bytes),
            size(row.swap_used_bytes),
            f"{row.swap_in_bytes_s / 1e6:.1f}",
            f"{row.swap_out_bytes_s / 1e6:.1f}",
            "-" if row.psi_some_avg10 is None else f"{row.psi_some_avg10:.1f} %",
            _age(row.age_s, row.stale),
        )
        for row in rows
    ]
    heads = ("reported by", ">memory", ">available", ">swap used", ">in MB/s", ">out MB/s", ">waiting", ">age")
    return _table("Memory", heads, cells)


def agents(rows: Sequence[AgentRow]) -> Table:
    """Who is there."""
    cells = [
        (row.client, _presence(row.online, row.stale), row.version or "-", _age(row.age_s, row.stale)) for row in rows
    ]
    return _table("Agents", ("agent", "status", "version", ">last heard"), cells)


def placement(segments: Sequence[str]) -> str:
    """Return LVM's segments in words: `/dev/vdb 300 MiB, lender.hosta 200 MiB`."""
    told = []
    for segment in segments:
        where, _, size_bytes = segment.rpartition(" ")
        told.append(f"{where} {size(int(size_bytes))}" if where and size_bytes.isdecimal() else segment)
    return ", ".join(told) or "-"


def event_line(arrived: EventArrived) -> Text:
    """Return an event as a line of the story: time, client, sentence."""
    event = arrived.message
    line = Text(clock(event.at), style="dim")
    line.append(f"  {arrived.client:<18} ", style="cyan")
    kind = event.kind if isinstance(event, Event) else arrived.kind
    style = "bold red" if kind in _ALARMING else ""
    line.append(one_line(event.sentence if isinstance(event, Event) else arrived.kind), style=style)
    return line


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a table; a head that begins with `>` is of a column of figures."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for head in heads:
        figures = head.startswith(">")
        table.add_column(
            head.lstrip(">"),
            justify="right" if figures else "left",
            no_wrap=figures,
            overflow="fold",
            ratio=None,
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row))
    return table


def _presence(online: bool, stale: bool) -> Text:
    if not online:
        return Text("offline", style="bold red")
    return Text("silent", style="bold yellow") if stale else Text("online", style="green")


def _age(age_s: float, stale: bool) -> Text:
    return Text(age(age_s), style="bold yellow" if stale else "")


def _phase(phase: str, progress_percent: float) -> str:
    moving = phase in ("attaching", "detaching", "repairing")
    return f"{phase} {progress_percent:.0f} %" if moving else phase
