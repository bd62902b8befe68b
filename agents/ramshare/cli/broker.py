"""`ramshare broker …`: makes and keeps the brokers' files: certificates, rights, configuration, bundles to copy."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ramshare.broker import guard, keeper, matrix
from ramshare.broker.conf import GUESTS_PORT, HOSTS_PORT, PLUGIN
from ramshare.broker.files import GUESTS, HOSTS, UNIT
from ramshare.broker.size import Size
from ramshare.broker.store import Store
from ramshare.bus.admin import clear_state, until_stored
from ramshare.cli import options as opts
from ramshare.cli.arguments import JsonOption
from ramshare.cli.output import UsageError, note, one_line, out, print_json
from ramshare.errors import ExitCode, RamshareError
from ramshare.linux.run import Runner, SystemRunner
from ramshare.settings import BrokerSettings
from ramshare.topics import DASHBOARD, DEFAULT_ROOT, MANAGER

app = typer.Typer(
    no_args_is_help=True,
    help="The brokers' files: certificates, rights, configuration. Run it on the brokers' machine, as root.",
    epilog="Example: ramshare broker init --address 10.0.0.5 --hosts hosta,hostb --guests web1 --people alice",
)
DIRECTORY = Path("/etc/ramshare/broker")
Directory = Annotated[Path, typer.Option("--directory", "-d", help="Where the set of files is kept.")]
TERMINALS = 3
"""Accounts of a person: the broker holds one connection for each."""


@app.command(
    epilog="Example: ramshare broker init --address 10.0.0.5 --hosts hosta,hostb --guests web1,web2 --size 1000:10000"
)
def init(
    ctx: typer.Context,
    address: Annotated[
        list[str], typer.Option(help="Name or address of the brokers' machine; the first is what agents use.")
    ],
    hosts: Annotated[str, typer.Option(help="Hosts that lend or borrow: hosta,hostb,…")] = "",
    guests: Annotated[str, typer.Option(help="Guests with a monitor: web1,web2,…")] = "",
    managers: Annotated[
        str,
        typer.Option(help="Hosts with a manager each, one active, others standing by: hosta,hostb; by default one."),
    ] = "",
    people: Annotated[str, typer.Option(help="Who gives commands, by login name: alice,bob; three terminals each.")] = (
        "root"
    ),
    guests_address: Annotated[
        list[str] | None, typer.Option(help="Where guests reach their broker, if not at --address.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The hosts' broker's.")] = HOSTS_PORT,
    guests_port: Annotated[int, typer.Option(min=1, max=65535, help="The guests' broker's.")] = GUESTS_PORT,
    size: Annotated[
        str, typer.Option(metavar="HOSTS[:GUESTS]", help="What the brokers are made for, if more than are named here.")
    ] = "",
    root: Annotated[str, typer.Option(help="First part of every topic.")] = DEFAULT_ROOT,
    owner: Annotated[str, typer.Option(help="User that Mosquitto runs as; empty: who runs this.")] = "mosquitto",
    data: Annotated[Path, typer.Option(help="Where the hosts' broker keeps its database.")] = Path(
        "/var/lib/mosquitto"
    ),
    plugin: Annotated[Path, typer.Option(help="Mosquitto's dynamic-security plugin.")] = Path(PLUGIN),
    seen_at: Annotated[
        Path | None, typer.Option(help="Where the brokers find --directory/current, if elsewhere (a container).")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace the set that is there: all certificates are made anew.")] = False,
    directory: Directory = DIRECTORY,
    as_json: JsonOption = False,
) -> None:
    """Make everything both brokers and all accounts need: a lender's and a borrower's for each host, and so on."""
    opts.of(ctx, as_json=as_json)
    store = Store(directory)
    if store.exists and not force:
        raise UsageError(
            f"{directory} has a set already", "ramshare broker add adds accounts; --force makes all anew, for everybody"
        )
    made_for = Size.parse(size) if size else Size()
    accounts = [*(f"{MANAGER}.{host}" for host in _names(managers)), DASHBOARD] if managers else [MANAGER, DASHBOARD]
    accounts += [f"{role}.{host}" for host in _names(hosts) for role in ("lender", "borrower")]
    accounts += [f"cli.{one}" for person in _names(people) for one in _terminals(person)]
    cluster = keeper.cluster_of(
        accounts=accounts,
        guests=_names(guests),
        addresses=address,
        guests_addresses=guests_address or address,
        port=port,
        guests_port=guests_port,
        root=root,
        owner=owner,
        data=str(data),
        plugin=str(plugin),
        seen_at=str(seen_at or ""),
        for_hosts=made_for.hosts,
        for_guests=made_for.guests,
    )
    keeper.init(store, cluster, opts.utc_now())
    if as_json:
        print_json({"directory": str(store.current), "accounts": len(cluster.accounts), "guests": len(cluster.guests)})
        return
    out().print(
        f"{len(cluster.accounts)} accounts on the hosts' broker (port {port}), {len(cluster.guests)} on the guests' "
        f"({guests_port}): {store.current}"
    )
    note("Copy each bundle to its machine: ramshare broker show says which; keys are secrets.")
    _tell_units(store, cluster.size)


@app.command(epilog="Example: ramshare broker add guest.web3 lender.hostc borrower.hostc cli.bob")
def add(
    ctx: typer.Context,
    account: Annotated[list[str], typer.Argument(help="role.name: guest.web3, lender.hostc, cli.bob, …")],
    directory: Directory = DIRECTORY,
    as_json: JsonOption = False,
) -> None:
    """Make accounts. Brokers that know of them are started again: agents are back within seconds."""
    opts.of(ctx, as_json=as_json)
    _tell(keeper.add(Store(directory), account, opts.utc_now(), Services()), as_json)


@app.command(epilog="Example: ramshare broker revoke guest.web3")
def revoke(
    ctx: typer.Context,
    account: Annotated[str, typer.Argument(help="The account to take away.")],
    directory: Directory = DIRECTORY,
    as_json: JsonOption = False,
) -> None:
    """Take an account away: its certificate is no longer valid, its connection ends, what it had stored is cleared.

    Safe to repeat, for brokers that were away.
    """
    opts.of(ctx, as_json=as_json)
    _tell(keeper.revoke(Store(directory), account, opts.utc_now(), Services()), as_json)


@app.command("guard", epilog="Runs as the service ramshare-broker-guard.")
def run_guard(ctx: typer.Context, directory: Directory = DIRECTORY) -> None:
    """Watch over the hosts' broker: a lender or borrower that stores more than any needs (16 MiB) is revoked.

    One account could fill the broker otherwise. Ends by Ctrl-C.
    """
    opts.of(ctx)
    while True:
        guard.watch(Store(directory), Services(), opts.utc_now, lambda text: note(one_line(text)))


@app.command(epilog="Example: ramshare broker renew, once a month; ramshare broker renew lender.hosta")
def renew(
    ctx: typer.Context,
    account: Annotated[list[str] | None, typer.Argument(help="Only these; by default what expires soon.")] = None,
    within_days: Annotated[int, typer.Option(min=1, max=397, help="What expires so soon is renewed.")] = 60,
    directory: Directory = DIRECTORY,
    as_json: JsonOption = False,
) -> None:
    """Make new certificates where old ones expire soon, the brokers' own included; old ones stay valid till then.

    Rights and settings of an earlier version of ramshare are brought up to date.
    """
    opts.of(ctx, as_json=as_json)
    _tell(
        keeper.renew(Store(directory), account or [], timedelta(days=within_days), opts.utc_now(), Services()), as_json
    )


@app.command(epilog="Example: ramshare broker show --json")
def show(ctx: typer.Context, directory: Directory = DIRECTORY, as_json: JsonOption = False) -> None:
    """List accounts, their bundles, and when certificates expire."""
    opts.of(ctx, as_json=as_json)
    store = Store(directory)
    found = keeper.entries(store)
    if as_json:
        print_json({"directory": str(store.current), "accounts": [entry.as_json() for entry in found]})
        return
    table = Table("account", "broker", "valid until", "bundle", box=None, pad_edge=False)
    for entry in found:
        table.add_row(*(Text(one_line(cell)) for cell in (entry.account, entry.broker, _day(entry.ends), entry.bundle)))
    out().print(table)
    for warning in keeper.warnings(found, opts.utc_now()):
        note(f"! {warning}")


@app.command("matrix", epilog="Example: ramshare broker matrix")
def show_matrix(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Print what each role may read (r) and write (w): on its own topics, and on those of others."""
    opts.of(ctx, as_json=as_json)
    found = matrix.table()
    if as_json:
        print_json({"rows": [{"channel": channel, "whose": whose, **cells} for channel, whose, cells in found]})
        return
    table = Table("topic", "whose", *matrix.ROLES, box=None, pad_edge=False)
    for channel, whose, cells in found:
        table.add_row(channel, whose, *(cells[kind] or "-" for kind in matrix.ROLES))
    out().print(table)


class Services:
    """The brokers as services of this machine; implements `guard.Watched`."""

    def __init__(self, runner: Runner | None = None) -> None:
        self._runner = runner or SystemRunner()

    def restart(self, which: str) -> str:
        """Start a broker again if it runs; return what went wrong, or nothing."""
        unit = f"ramshare-broker@{which}"
        try:
            if self._runner.run(["systemctl", "is-active", "--quiet", unit], ok=range(256)).returncode == 0:
                self._runner.run(["systemctl", "restart", unit])
                return ""
        except RamshareError as error:
            return f"{unit} was not started again: {error.message}"
        return f"{unit} does not run as a service here: start the {which}' broker again, it goes by the old rules"

    def clear_state(self, settings: BrokerSettings, client: str) -> list[str]:
        """Clear what an account had stored; return the topics."""
        return clear_state(settings, client)

    def until_stored(self, settings: BrokerSettings, note: Callable[[str, int], str]) -> str:
        """Tell `note` of every stored topic; implements `guard.Watched`."""
        return until_stored(settings, note)


def _tell(done: keeper.Done, as_json: bool) -> None:
    if as_json:
        print_json({"done": list(done.sentences), "not_done": list(done.problems)})
    else:
        for sentence in done.sentences:
            out().print(Text(one_line(sentence)), soft_wrap=True)
        for problem in done.problems:
            note(f"! {problem}")
    if done.problems:
        raise typer.Exit(ExitCode.FAILED)


def _tell_units(store: Store, size: Size) -> None:
    """Say where systemd has to allow a broker more than the unit's own file does."""
    for which, bounds in ((HOSTS, size.hosts_broker), (GUESTS, size.guests_broker)):
        if not bounds.is_default:
            units = f"/etc/systemd/system/ramshare-broker@{which}.service.d"
            note(
                f"The {which}' broker may need {bounds.resident_bytes >> 20:,} MiB and {bounds.descriptors:,} "
                "descriptors. Once, on the brokers' machine: "
                f"install -D -m 644 {store.current / which / UNIT} {units}/size.conf; systemctl daemon-reload"
            )


def _names(text: str) -> list[str]:
    return [name for name in text.replace(" ", "").split(",") if name]


def _terminals(person: str) -> list[str]:
    return [person, *(f"{person}-{number}" for number in range(2, TERMINALS + 1))]


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
