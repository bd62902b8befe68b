"""The target: its listing is read right, and every change is exact, repeatable and keeps the secret to itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from kit.linux_data import TGT_SHOW
from ramshare.errors import RamshareError
from ramshare.linux.disk_identity import disk_id
from ramshare.linux.portal import Portal
from ramshare.linux.run import CommandError
from ramshare.linux.target import Export, LunInfo, TargetBusyError, TargetInfo, TargetSession
from ramshare.linux.tgt import TARGET_PARAMETERS, Tgt
from ramshare.linux.tgt_show import TgtShowError, parse_targets

pytestmark = pytest.mark.unit

ADM = ("tgtadm", "-C", "7", "--lld", "iscsi", "--op")
PROOF = "by-which-the-target-proves-itself"
SECRET = "secretsecret1"
EXPORT = Export(3, "iqn.x:new", Path("/run/ram/new.img"), "iqn.x:hostb", "u3", SECRET, thin=True, serial="lease3")


class Accounts:
    """Stands in for tgtd's account list behind its control socket."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def create(self, control_port: int, user: str, secret: str) -> bool:
        assert control_port == 7
        if user in self.secrets:
            return False
        self.secrets[user] = secret
        return True

    def delete(self, argv: tuple[str, ...]) -> None:
        self.secrets.pop(argv[argv.index("--user") + 1])


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
def runner(accounts: Accounts) -> FakeRunner:
    """A fake tgtd that takes anything and lists two exports with one session each."""
    fake = FakeRunner().on(*ADM, ...)
    fake.on(*ADM, "show", "--mode", "target", stdout=TGT_SHOW)
    return fake.handle(*ADM, "delete", "--mode", "account", ..., handler=accounts.delete)


@pytest.fixture
def tgt(runner: FakeRunner, accounts: Accounts) -> Tgt:
    return Tgt(runner, 7, account_creator=accounts.create)


def changes(runner: FakeRunner) -> list[str]:
    return [" ".join(call[6:]) for call in runner.calls if call[6] != "show"]


# Reading


def test_targets_units_access_accounts_and_sessions_are_read() -> None:
    first, second = parse_targets(TGT_SHOW)
    assert first == TargetInfo(
        tid=1,
        iqn="iqn.2026-01.net.ramshare:lease1",
        state="ready",
        luns=(LunInfo(1, "/run/ramshare/lease1.img", "lease1", True, "IET     00010001"),),
        initiators=("iqn.1993-08.org.debian:01:hostb",),
        sessions=(TargetSession(1, "iqn.1993-08.org.debian:01:hostb", "10.77.0.2", 0),),
        accounts=("u1",),
    )
    assert (second.tid, second.accounts) == (2, ("u2",))


def test_no_target_is_an_empty_list() -> None:
    assert parse_targets("") == []


@pytest.mark.parametrize(
    "text", ["what?", "    State: ready", "Target x: y", "Target 1: a\n    LUN information:\n            Type: disk"]
)
def test_something_else_than_a_listing_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(TgtShowError):
        parse_targets(text)


# Changing


def test_an_export_lets_its_initiator_in_last(tgt: Tgt, runner: FakeRunner, accounts: Accounts) -> None:
    tgt.export(EXPORT)
    assert accounts.secrets == {"u3": SECRET}
    assert not runner.said(SECRET)
    steps = changes(runner)
    assert steps[0] == "new --mode target --tid 3 --targetname iqn.x:new"
    assert steps[1 : 1 + len(TARGET_PARAMETERS)] == [
        f"update --mode target --tid 3 --name {name} --value {value}" for name, value in TARGET_PARAMETERS.items()
    ]
    assert steps[1 + len(TARGET_PARAMETERS) :] == [
        "bind --mode account --tid 3 --user u3",
        "new --mode logicalunit --tid 3 --lun 1 --backing-store /run/ram/new.img --bstype rdwr",
        "update --mode logicalunit --tid 3 --lun 1 --params rotation_rate=1,thin_provisioning=1,"
        f"vendor_id=RAMSHARE,product_id=LEASE,scsi_id={disk_id('iqn.x:new')},scsi_sn=lease3",
        "bind --mode target --tid 3 --initiator-name iqn.x:hostb",
    ]
    assert "ALL" not in " ".join(steps)


def test_a_target_proves_itself_by_an_account_of_its_own_before_anybody_is_let_in(
    tgt: Tgt, runner: FakeRunner, accounts: Accounts
) -> None:
    tgt.export(replace(EXPORT, proof_user="u3.target", proof_secret=PROOF))
    assert accounts.secrets == {"u3": SECRET, "u3.target": PROOF}
    assert not runner.said(PROOF)
    steps = changes(runner)
    assert "bind --mode account --tid 3 --user u3.target --outgoing" in steps
    assert steps[-1] == "bind --mode target --tid 3 --initiator-name iqn.x:hostb"


def test_the_account_by_which_a_target_proves_itself_is_known_and_goes_with_it() -> None:
    listing = TGT_SHOW.replace("        u2\n", "        u2\n        u2.target (outgoing)\n")
    assert listing != TGT_SHOW
    assert parse_targets(listing)[1].accounts == ("u2", "u2.target")


def test_the_secrets_are_not_part_of_what_an_export_prints() -> None:
    assert SECRET not in repr(EXPORT)
    assert PROOF not in repr(replace(EXPORT, proof_secret=PROOF))


def test_what_exists_already_is_success(tgt: Tgt, runner: FakeRunner) -> None:
    runner.on(*ADM, "new", "--mode", "target", ..., returncode=22, stderr="tgtadm: this target already exists")
    runner.on(
        *ADM,
        "new",
        "--mode",
        "logicalunit",
        ...,
        returncode=22,
        stderr="tgtadm: this logical unit number already exists",
    )
    runner.on(*ADM, "bind", "--mode", "*", ..., returncode=22, stderr="tgtadm: this access control rule already exists")
    tgt.create_target(1, "iqn.2026-01.net.ramshare:lease1")
    tgt.add_lun(1, Path("/x"), "iqn.x:new")
    tgt.bind(1, "iqn.x:hostb")


def test_a_name_or_number_that_another_target_has_is_an_error(tgt: Tgt, runner: FakeRunner) -> None:
    runner.on(*ADM, "new", "--mode", "target", ..., returncode=22, stderr="tgtadm: this target already exists")
    with pytest.raises(CommandError):
        tgt.create_target(5, "iqn.2026-01.net.ramshare:lease1")
    with pytest.raises(CommandError):
        tgt.create_target(1, "iqn.x:other")


def test_an_account_that_exists_gets_the_new_secret(tgt: Tgt, accounts: Accounts) -> None:
    accounts.secrets["u3"] = "old"
    tgt.add_account(3, "u3", SECRET)
    assert accounts.secrets == {"u3": SECRET}


def test_any_other_refusal_is_an_error(tgt: Tgt, runner: FakeRunner) -> None:
    runner.on(*ADM, "new", "--mode", "logicalunit", ..., returncode=22, stderr="tgtadm: invalid request")
    with pytest.raises(CommandError, match="invalid request"):
        tgt.add_lun(1, Path("/not/there"), "iqn.x:new")


def test_a_target_in_use_is_only_removed_by_force_and_shut_first(
    tgt: Tgt, runner: FakeRunner, accounts: Accounts
) -> None:
    accounts.secrets["u1"] = SECRET
    with pytest.raises(TargetBusyError, match="hostb"):
        tgt.delete_target("iqn.2026-01.net.ramshare:lease1")
    assert changes(runner) == []
    tgt.delete_target("iqn.2026-01.net.ramshare:lease1", force=True)
    assert changes(runner) == [
        "unbind --mode target --tid 1 --initiator-name iqn.1993-08.org.debian:01:hostb",
        "delete --mode conn --tid 1 --sid 1 --cid 0",
        "delete --mode target --force --tid 1",
        "delete --mode account --user u1",
    ]
    assert accounts.secrets == {}


def test_removing_what_is_gone_is_success(tgt: Tgt, runner: FakeRunner) -> None:
    tgt.delete_target("iqn.x:never")
    assert changes(runner) == []


def test_a_daemon_is_started_once_at_the_portal_and_port(tgt: Tgt, runner: FakeRunner) -> None:
    runner.on("tgtd", ...)
    runner.on(*ADM, "show", "--mode", "lld", returncode=107)
    assert not tgt.ready()
    assert tgt.start_daemon(Portal.parse("10.77.0.11:3261")) is not None
    assert tgt.start_daemon(Portal.parse("[fd00:0::1]:3260")) is not None
    assert [process.args for process in runner.spawned] == [
        ("tgtd", "-f", "-C", "7", "--iscsi", "portal=10.77.0.11:3261"),
        ("tgtd", "-f", "-C", "7", "--iscsi", "portal=[fd00::1]:3260"),
    ]
    runner.on(*ADM, "show", "--mode", "lld")
    assert tgt.ready()
    assert tgt.start_daemon(Portal.parse("10.77.0.11:3261")) is None


def test_where_a_daemon_listens_is_read_and_none_that_runs_listens_nowhere(tgt: Tgt, runner: FakeRunner) -> None:
    runner.on(*ADM, "show", "--mode", "portal", stdout="Portal: [::]:3260,1\nPortal: 0.0.0.0:3260,1\n")
    assert tgt.portals() == {Portal.parse("[::]:3260"), Portal.parse("0.0.0.0:3260")}
    runner.on(*ADM, "show", "--mode", "portal", stdout="")
    assert tgt.portals() == frozenset()
    runner.on(*ADM, "show", "--mode", "portal", returncode=107)
    assert tgt.portals() == frozenset()
    runner.on(*ADM, "show", "--mode", "portal", stdout="Target 1: iqn.x:y")
    with pytest.raises(TgtShowError):
        tgt.portals()


def test_a_daemon_that_answers_with_an_error_is_not_taken_for_none(tgt: Tgt, runner: FakeRunner) -> None:
    runner.on(*ADM, "show", "--mode", "lld", returncode=22)
    with pytest.raises(CommandError):
        tgt.ready()


@pytest.mark.parametrize("port", [-1, 32_768])
def test_a_control_port_that_tgtd_cannot_have_is_refused(port: int) -> None:
    with pytest.raises(RamshareError, match="control port"):
        Tgt(FakeRunner(), port)
