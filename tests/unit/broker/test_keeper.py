"""The set of files: whole at every moment, private, and told to running brokers."""

import contextlib
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ramshare.broker import keeper
from ramshare.broker.cluster import AccountError, Cluster, bundle_of
from ramshare.broker.store import NoSetError, Store, StoreError
from ramshare.bus.api import BrokerUnreachableError
from ramshare.bus.tls import Certificate
from ramshare.settings import BrokerSettings

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNTS = ("cli.al", "cli.al-2", "dashboard", "lender.hosta", "manager")


class Told:
    """Brokers that do as they are told, or are away."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.away = False

    def restart(self, which: str) -> str:
        self.calls.append(("restart", which))
        return f"the {which}' broker does not run here" if self.away else ""

    def clear_state(self, settings: BrokerSettings, client: str) -> list[str]:
        assert stat.S_IMODE(settings.key_file.stat().st_mode) == 0o600
        if self.away:
            raise BrokerUnreachableError("no broker")
        self.calls.append(("clear", settings.port))
        return [f"ramshare/v1/state/{client}/memory"]


class Stops(Told):
    """Somebody presses Ctrl-C while a broker is started again."""

    def restart(self, which: str) -> str:
        raise KeyboardInterrupt


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "broker", durable=False)
    keeper.init(made, Cluster(accounts=ACCOUNTS, guests=("web1",), data=str(tmp_path)), NOW)
    return made


def contents(store: Store) -> dict[str, bytes]:
    return dict(store.load()[1])


def test_keys_are_for_their_owner_only_and_so_is_where_they_lie(store: Store) -> None:
    root = store.current.resolve()
    keys = list(root.rglob("*.key"))
    assert len(keys) == 2 + 2 + 1 + len(ACCOUNTS) + 1
    for key in keys:
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE((root / key.relative_to(root).parts[0]).stat().st_mode) == 0o700


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_bundle_may_become_a_directory_that_others_pass_through(tmp_path: Path, umask: int) -> None:
    """`scp -p` gives `/etc/ramshare` the bundle's mode, and below it lie the files of the brokers' own user."""
    before = os.umask(umask)
    try:
        store = Store(tmp_path / "broker", durable=False)
        keeper.init(store, Cluster(accounts=ACCOUNTS, data=str(tmp_path)), NOW)
    finally:
        os.umask(before)
    bundle = store.current / "bundles/host.hosta"
    modes = {path: stat.S_IMODE((bundle / path).stat().st_mode) for path in (".", "..", "tls", "ramshare.env")}
    assert modes == {".": 0o755, "..": 0o700, "tls": 0o700, "ramshare.env": 0o644}


def test_a_bundle_has_what_one_machine_needs_and_no_other_ones_key(store: Store) -> None:
    bundle = store.current / "bundles" / "guest.web1"
    assert {path.name for path in (bundle / "tls").iterdir()} == {"ca.crt", "guest.web1.crt", "guest.web1.key"}
    assert "RAMSHARE_BROKER_PORT=8884" in (bundle / "ramshare.env").read_text()
    assert bundle_of("cli.al-2", ACCOUNTS) == "cli.al"
    assert bundle_of("cli.bo-2", ACCOUNTS) == "cli.bo-2", "somebody who is called so"


def test_an_interrupted_change_leaves_the_old_set(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(store)
    opened = os.open
    for fails_at in (1, 5, 20):
        calls = iter(range(1_000))

        def open_(path: Any, *args: Any, at: int = fails_at, calls: Any = calls, **kwargs: Any) -> int:
            if "set-" in str(path) and next(calls) == at:
                raise KeyboardInterrupt
            return opened(path, *args, **kwargs)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(os, "open", open_)
            keeper.renew(store, ["lender.hosta"], timedelta(1), NOW, Told())
        assert contents(store) == before
        assert len(list((store.directory / "sets").iterdir())) == 1


def test_an_interrupted_init_leaves_no_set_and_may_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, cluster = Store(tmp_path / "broker", durable=False), Cluster(accounts=ACCOUNTS, data=str(tmp_path))

    def interrupted(*_args: Any, **_kwargs: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "open", interrupted)
        keeper.init(store, cluster, NOW)
    assert not store.exists
    keeper.init(store, cluster, NOW)
    assert {entry.account for entry in keeper.entries(store)} >= set(ACCOUNTS)
    assert len(list((store.directory / "sets").iterdir())) == 1


@pytest.mark.parametrize("stopped_by", ["Ctrl-C", "a broker that was away"])
def test_a_renewal_that_no_broker_was_started_for_is_ended_by_the_next_one(store: Store, stopped_by: str) -> None:
    cluster, files = store.load()
    store.replace(cluster, {**files, "guests/rules.json": b"{}", "hosts/rules.json": b"{}"})
    told = Told()
    told.away = stopped_by != "Ctrl-C"
    with pytest.raises(KeyboardInterrupt) if stopped_by == "Ctrl-C" else contextlib.nullcontext():
        keeper.renew(store, [], timedelta(1), NOW, Stops() if stopped_by == "Ctrl-C" else told)
    told = Told()
    assert keeper.renew(store, [], timedelta(1), NOW, told).problems == ()
    assert told.calls == [("restart", "hosts"), ("restart", "guests")]
    told = Told()
    keeper.renew(store, [], timedelta(1), NOW, told)
    assert told.calls == []


def test_a_disk_that_is_full_is_told_and_leaves_the_old_set(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(store)

    def full(path: Any, *_args: Any, **_kwargs: Any) -> int:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched, pytest.raises(StoreError, match="No space left on device") as caught:
        patched.setattr(os, "open", full)
        keeper.add(store, ["guest.web2"], NOW, Told())
    assert "unchanged" in caught.value.hint
    assert contents(store) == before


def test_a_new_account_leaves_the_others_certificates_alone(store: Store) -> None:
    before, told = contents(store), Told()
    done = keeper.add(store, ["guest.web2"], NOW, told)
    assert done.problems == ()
    after = contents(store)
    assert {path for path in before if path.endswith(".key")} < set(after)
    assert all(after[path] == before[path] for path in before if path.endswith((".crt", ".key")))
    assert told.calls == [("restart", "hosts"), ("restart", "guests")]
    assert keeper.add(store, ["lender.hostb"], NOW, Told()).sentences[0].startswith("lender.hostb: ")


def test_a_revoked_account_is_thrown_out_before_its_state_is_cleared_on_both_brokers(store: Store) -> None:
    told = Told()
    done = keeper.revoke(store, "guest.web1", NOW, told)
    assert told.calls == [("restart", "hosts"), ("restart", "guests"), ("clear", 8884), ("clear", 8883)]
    assert done.sentences[0] == "guest.web1 is revoked"
    assert done.problems == ()
    cluster, files = store.load()
    assert cluster.guests == ()
    assert not any("web1" in path for path in files)
    assert b"web1" not in files["guests/rules.json"] + files["hosts/rules.json"]


def test_a_revocation_that_no_broker_heard_of_can_be_told_again(store: Store) -> None:
    told = Told()
    told.away = True
    done = keeper.revoke(store, "lender.hosta", NOW, told, within_s=0)
    assert "ramshare broker revoke lender.hosta" in done.problems[1]
    told.away = False
    assert keeper.revoke(store, "lender.hosta", NOW, told).problems == ()
    assert told.calls[-2:] == [("restart", "hosts"), ("clear", 8883)]
    keeper.revoke(store, "lender.hosta", NOW, told)
    assert told.calls[-2:] == [("clear", 8883), ("clear", 8883)], "who goes by the newest set is not started again"
    with pytest.raises(AccountError, match="no account"):
        keeper.revoke(store, "lender.never", NOW, told)


def test_a_name_that_comes_back_after_a_revocation_has_another_certificate(store: Store) -> None:
    keeper.revoke(store, "guest.web1", NOW, Told())
    keeper.add(store, ["guest.web1"], NOW, Told())
    cluster, _ = store.load()
    assert [revoked.client for revoked in cluster.revoked] == ["guest.web1"]
    assert cluster.guests == ("web1",)


def test_what_expires_soon_is_warned_of_and_renewed(store: Store) -> None:
    assert keeper.warnings(keeper.entries(store), NOW) == []
    late = NOW + timedelta(days=380)
    assert len(keeper.warnings(keeper.entries(store), late)) == len(ACCOUNTS) + 1 + 3
    before = contents(store)
    done = keeper.renew(store, [], timedelta(days=60), late, Told())
    assert "lender.hosta" in done.sentences[0]
    assert keeper.warnings(keeper.entries(store), late) == []
    assert contents(store)["ca/hosts.crt"] == before["ca/hosts.crt"]
    assert any(sentence.endswith("host.hosta/tls") for sentence in done.sentences), "ramshare.env has settings by now"


def test_rights_of_an_earlier_version_are_brought_up_to_date_and_those_brokers_started_again(store: Store) -> None:
    cluster, files = store.load()
    store.replace(cluster, {**files, "hosts/rules.json": b"{}", "guests/mosquitto.conf": b"listener 1"})
    told = Told()
    done = keeper.renew(store, [], timedelta(days=60), NOW, told)
    assert done.sentences == (
        "no certificate expires within 60 days",
        "brought up to date: the rights on the hosts' broker",
        "brought up to date: the guests' broker's settings",
    )
    assert told.calls == [("restart", "hosts"), ("restart", "guests")]
    now = contents(store)
    assert {path for path in files if files[path] != now[path]} <= {"hosts/revoked.crl", "guests/revoked.crl"}


def test_where_nothing_is_due_nothing_is_written_or_started_again(store: Store) -> None:
    before, told = contents(store), Told()
    done = keeper.renew(store, [], timedelta(days=60), NOW, told)
    assert done.sentences == ("no certificate expires within 60 days", "rights and settings are up to date")
    assert contents(store) == before
    assert told.calls == []


@pytest.mark.parametrize(
    "name", ["all", "web1", "root.x", "lender", "manager.", "lender/x", "lender.+", "", f"guest.{'x' * 60}"]
)
def test_a_name_that_no_account_can_have_changes_nothing(store: Store, name: str) -> None:
    before = contents(store)
    with pytest.raises(AccountError):
        keeper.add(store, ["guest.web7", name], NOW, Told())
    assert contents(store) == before


def test_each_of_several_managers_has_its_own_certificate_in_the_same_place_of_its_bundle(store: Store) -> None:
    keeper.add(store, ["manager.hosta", "manager.hostb"], NOW, Told())
    bundles = store.current / "bundles"
    for client in ("manager", "manager.hosta", "manager.hostb"):
        assert Certificate.read(bundles / client / "tls" / "manager.crt").name == client
    assert {entry.account for entry in keeper.entries(store)} >= {"manager.hosta", "manager.hostb"}
    keeper.revoke(store, "manager.hosta", NOW, Told())
    assert not keeper.cluster_of(**store.load()[0].model_dump()).has("manager.hosta")


def test_an_account_that_is_there_is_not_made_again(store: Store) -> None:
    with pytest.raises(AccountError, match="already"):
        keeper.add(store, ["manager"], NOW, Told())


def test_without_a_set_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoSetError) as caught:
        keeper.entries(Store(tmp_path))
    assert "ramshare broker init" in caught.value.hint


def test_a_set_that_was_damaged_is_told(store: Store) -> None:
    (store.current / "cluster.json").write_text('{"accounts": ["no name"]}')
    with pytest.raises(StoreError, match=r"cluster\.json"):
        keeper.entries(store)
