"""Keeps the set of broker files: init, add, revoke, renew. Each writes a whole new set, then starts the brokers again.

The files come first: a broker goes by them when it starts. What could not be done is named in `Done.problems` with the
command that mends it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from ramshare.broker import pki
from ramshare.broker.cluster import AccountError, Cluster, Revoked, bundle_of, certificate_of, check_account
from ramshare.broker.files import BUNDLES, DERIVED, FIREWALL, GUESTS, HOSTS, due_within, make_files
from ramshare.broker.rights import BRIDGE, GUEST
from ramshare.broker.store import Store
from ramshare.broker.telling import BACK_WITHIN_S, Brokers, clear
from ramshare.topics import role

WARN_DAYS = 30


@dataclass(frozen=True)
class Done:
    """What a command did, and what it could not do."""

    sentences: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """An account with its certificate, or a broker with its own."""

    account: str
    broker: str
    ends: datetime
    bundle: str

    def as_json(self) -> dict[str, str]:
        """Return what scripts read."""
        return {
            "account": self.account,
            "broker": self.broker,
            "valid_until": self.ends.isoformat(),
            "bundle": self.bundle,
        }


def cluster_of(**fields: object) -> Cluster:
    """Return a checked cluster. Raises `AccountError` saying what cannot be."""
    for client in (*_strings(fields["accounts"]), *(f"{GUEST}.{guest}" for guest in _strings(fields["guests"]))):
        check_account(client)
    try:
        return Cluster.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AccountError(f"{where}: {str(first['input'])[:80]!r}: {first['msg']}") from error


def init(store: Store, cluster: Cluster, now: datetime) -> None:
    """Make a set, everything new. Raises `StoreError`."""
    store.replace(cluster, make_files(cluster, PurePosixPath(store.current), now))


def add(store: Store, clients: Sequence[str], now: datetime, brokers: Brokers) -> Done:
    """Make accounts. Raises `AccountError` before anything is changed."""
    cluster, old = store.load()
    new = cluster
    for client in clients:
        new = new.having(client)
    files = make_files(new, PurePosixPath(store.current), now, old)
    store.replace(new, files, owed=_brokers_of(clients))
    told = tuple(f"{c}: {store.current / BUNDLES / bundle_of(c, new.accounts)}" for c in clients)
    return Done(told, _start_again(store, brokers))


def revoke(store: Store, client: str, now: datetime, brokers: Brokers, within_s: float = BACK_WITHIN_S) -> Done:
    """Take an account away; again, if it is revoked already. Raises `AccountError`.

    The brokers get `within_s` to be there again, so that what the account had stored can be cleared.
    """
    cluster, old = store.load()
    again = not cluster.has(client) and any(revoked.client == client for revoked in cluster.revoked)
    if again:
        new, files = cluster, old
    else:
        without = cluster.without(client)
        cert = old[f"{BUNDLES}/{certificate_of(client, cluster.accounts)}.crt"]
        mark = Revoked(client=client, serial=str(pki.serial_of(cert)), at=now)
        new = without.model_copy(update={"revoked": (*cluster.revoked, mark)})
        files = make_files(new, PurePosixPath(store.current), now, old)
        store.replace(new, files, owed=_brokers_of([client]))
    problems = _start_again(store, brokers)
    cleared, kept = clear(brokers, new, files, client, now, within_s)
    retry = (f"and then again: ramshare broker revoke {client}",) if problems and not kept else ()
    return Done((f"{client} is revoked", *cleared), (*problems, *retry, *kept))


def renew(store: Store, clients: Sequence[str], within: timedelta, now: datetime, brokers: Brokers) -> Done:
    """Make new certificates for `clients`, or for everybody whose certificate expires within a time.

    Rights and settings that this version of ramshare makes otherwise are brought up to date too.
    """
    cluster, old = store.load()
    for client in clients:
        if not cluster.has(client):
            raise AccountError(f"there is no account {client}", "ramshare broker show lists them")
    soon = due_within(within, now)
    made: list[str] = []

    def due(account: str, cert: bytes) -> bool:
        wanted = account in clients if clients else soon(account, cert)
        made.extend([account] * wanted)
        return wanted

    files = make_files(cluster, PurePosixPath(store.current), now, old, due)
    news = {path: what for path, what in DERIVED.items() if files[path] != old.get(path)}
    told = [f"no certificate expires within {within.days} days"]
    if made:
        bundles = sorted({bundle_of(client, cluster.accounts) for client in made if cluster.has(client)})
        copies = [f"copy again: {store.current / BUNDLES / bundle / 'tls'}" for bundle in bundles]
        told = [f"new certificates: {', '.join(made)}", *copies]
    told += [f"brought up to date: {what}" for what in news.values()] or ["rights and settings are up to date"]
    if made or news:
        own = {"hosts broker": HOSTS, "guests broker": GUESTS, BRIDGE: GUESTS}
        concerned = {own[name] for name in made if name in own}
        concerned |= {which for which in (HOSTS, GUESTS) for path in news if path.startswith(which) or path == FIREWALL}
        store.replace(cluster, files, owed=concerned)
    return Done(tuple(told), _start_again(store, brokers))


def entries(store: Store) -> list[Entry]:
    """Return every account and both brokers with their certificates."""
    cluster, files = store.load()
    found = [
        Entry(client, GUESTS if role(client) == GUEST else HOSTS, pki.expires_at(files[path]), str(Path(path).parts[1]))
        for client in (*cluster.accounts, *cluster.guest_accounts)
        if (path := f"{BUNDLES}/{certificate_of(client, cluster.accounts)}.crt") in files
    ]
    found += [
        Entry(f"{which} broker", which, pki.expires_at(files[f"{which}/server.crt"]), "") for which in (HOSTS, GUESTS)
    ]
    return [*found, Entry("bridge", HOSTS, pki.expires_at(files[f"{GUESTS}/bridge.crt"]), "")]


def warnings(found: Iterable[Entry], now: datetime) -> list[str]:
    """Return a sentence for each certificate that expires within `WARN_DAYS`."""
    soon = [(entry, (entry.ends - now).days) for entry in found]
    return [
        f"the certificate of {entry.account} expires in {max(0, days)} days: ramshare broker renew"
        for entry, days in soon
        if days < WARN_DAYS
    ]


def _start_again(store: Store, brokers: Brokers) -> tuple[str, ...]:
    """Start the brokers again that do not go by the newest set yet; return what went wrong.

    Those that an interrupted command left behind are among them.
    """
    problems = []
    for one in sorted(store.owed(), reverse=True):  # the hosts first: the bridge finds theirs there
        if problem := brokers.restart(one):
            problems.append(problem)
        else:
            store.settle(one)
    return tuple(problems)


def _brokers_of(clients: Iterable[str]) -> list[str]:
    """Return the brokers that go by other rules when these accounts come or go: a guest's name is known to both."""
    return [HOSTS, GUESTS] if any(role(client) == GUEST for client in clients) else [HOSTS]


def _strings(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, (list, tuple)) else []
