"""Node records, login and logout: exact commands, and a secret that never stands in one."""

import stat
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from kit.fakes import FakeRunner
from kit.linux_data import NODE_RECORD, SITE_ISCSID_CONF
from ramshare.errors import MissingPartError, RamshareError
from ramshare.linux.iscsi_record import authentication, own_record
from ramshare.linux.iscsiadm import (
    MIRROR_PARAMETERS,
    MOVE_PARAMETERS,
    Iscsiadm,
    LoginError,
    SessionParameters,
    changed_record,
    portal_of,
    read_initiator_name,
)
from ramshare.linux.run import CommandError
from ramshare.messages.base import InitiatorName

pytestmark = pytest.mark.unit

IQN = "iqn.2026-01.net.ramshare:lease1"
PORTAL = "10.77.0.11:3260"
NODE = ("iscsiadm", "-m", "node")
SECRET = "secretsecret1"


@pytest.fixture
def runner(tmp_path: Path) -> FakeRunner:
    """A fake whose `-o new` writes the record that the real tool wrote on Debian 12."""

    def new(argv: tuple[str, ...]) -> None:
        record = tmp_path / argv[6] / argv[8].replace(":", ",") / "default"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(NODE_RECORD)
        record.chmod(0o600)

    return FakeRunner().handle(*NODE, "-o", "new", "-T", "*", "-p", "*", handler=new)


def test_a_node_record_gets_parameters_and_secret_by_file_not_by_command_line(
    runner: FakeRunner, tmp_path: Path
) -> None:
    Iscsiadm(runner, tmp_path).create_node(PORTAL, IQN, MIRROR_PARAMETERS, user="u1", secret=SECRET)
    assert runner.calls == [(*NODE, "-o", "new", "-T", IQN, "-p", f"{PORTAL},1")]
    assert not runner.said(SECRET)
    record = tmp_path / IQN / "10.77.0.11,3260,1" / "default"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    settings = dict(line.split(" = ") for line in record.read_text().splitlines() if " = " in line)
    assert settings["node.session.auth.authmethod"] == "CHAP"
    assert settings["node.session.auth.username"] == "u1"
    assert settings["node.session.auth.password"] == SECRET
    assert settings["node.startup"] == settings["node.conn[0].startup"] == "manual"
    assert settings["node.session.timeo.replacement_timeout"] == "4"
    assert settings["node.conn[0].timeo.noop_out_interval"] == "1"
    assert list(record.parent.iterdir()) == [record]


def test_a_target_must_prove_itself_by_the_secret_that_the_lender_gave(runner: FakeRunner, tmp_path: Path) -> None:
    Iscsiadm(runner, tmp_path).create_node(
        PORTAL, IQN, MIRROR_PARAMETERS, user="u1", secret=SECRET, target_user="u1.target", target_secret="another-one"
    )
    record = (tmp_path / IQN / "10.77.0.11,3260,1" / "default").read_text()
    assert "node.session.auth.username_in = u1.target\n" in record
    assert "node.session.auth.password_in = another-one\n" in record
    assert not runner.said("another-one")


def test_a_changed_record_keeps_what_it_had_and_its_frame() -> None:
    changed = changed_record(NODE_RECORD, {"node.startup": "automatic", "node.new": "1"})
    before, after = NODE_RECORD.splitlines(), changed.splitlines()
    assert after[0] == before[0]
    assert after[-1] == before[-1] == "# END RECORD"
    assert after[-2] == "node.new = 1"
    kept = [line for line in before if not line.startswith("node.startup")]
    assert [line for line in after if line in kept] == kept


@pytest.mark.parametrize("secret", ["", SECRET])
@pytest.mark.parametrize("parameters", [MIRROR_PARAMETERS, MOVE_PARAMETERS])
def test_a_record_says_everything_itself_whatever_iscsid_conf_holds(secret: str, parameters: SessionParameters) -> None:
    site = changed_record(NODE_RECORD, fields(SITE_ISCSID_CONF))
    wanted = parameters.settings() | authentication("u1", secret)
    ours, theirs = fields(own_record(NODE_RECORD, wanted)), fields(own_record(site, wanted))
    assert theirs == ours
    assert not [key for key in ours if key in fields(SITE_ISCSID_CONF) and key not in wanted]


def test_nobody_elses_secret_or_initiator_is_in_a_record() -> None:
    site = changed_record(NODE_RECORD, fields(SITE_ISCSID_CONF))
    without, chap = (own_record(site, MOVE_PARAMETERS.settings() | authentication("u1", s)) for s in ("", SECRET))
    for record in (without, chap):
        assert not any(word in record for word in ("san-", "sansecret", "targetsecret", "_in =", "somebody", "eth9"))
    assert fields(without)["node.session.auth.authmethod"] == "None"
    assert fields(chap)["node.session.auth.chap_algs"] == "MD5"


def test_every_field_of_debians_record_is_either_ours_or_what_the_node_is() -> None:
    node = ("node.name", "node.tpgt", "node.discovery_", "node.conn[0].address", "node.conn[0].port", "iface.")
    said = MIRROR_PARAMETERS.settings() | authentication("u", "s")
    assert [key for key in fields(NODE_RECORD) if key not in said and not key.startswith(node)] == []


def test_a_field_that_only_newer_versions_know_stays() -> None:
    newer = changed_record(NODE_RECORD, {"node.session.new_in_3": "7"})
    assert fields(own_record(newer, MOVE_PARAMETERS.settings()))["node.session.new_in_3"] == "7"


def test_a_record_that_was_cut_off_is_whole_afterwards() -> None:
    half = NODE_RECORD[: len(NODE_RECORD) // 2]
    whole = own_record(half, MOVE_PARAMETERS.settings())
    assert fields(whole).items() >= MOVE_PARAMETERS.settings().items()
    assert whole.endswith("# END RECORD\n")


def fields(text: str) -> dict[str, str]:
    return dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)


def test_changing_a_record_twice_is_changing_it_once() -> None:
    settings = MOVE_PARAMETERS.settings() | {"node.session.auth.password": SECRET}
    once = changed_record(NODE_RECORD, settings)
    assert changed_record(once, settings) == once


@pytest.mark.parametrize("status", [0, 15])
def test_a_login_that_worked_or_had_worked_before_is_success(status: int, tmp_path: Path) -> None:
    runner = FakeRunner().on(*NODE, "-T", IQN, "-p", PORTAL, "--login", returncode=status)
    Iscsiadm(runner, tmp_path).login(PORTAL, IQN)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (24, LoginError, "refused our name or secret"),
        (8, LoginError, "nobody answers"),
        (4, LoginError, "nobody answers"),
        (20, MissingPartError, "iscsid"),
        (5, LoginError, "failed"),
    ],
)
def test_a_failed_login_says_why(status: int, error: type[RamshareError], words: str, tmp_path: Path) -> None:
    runner = FakeRunner().on(*NODE, "-T", IQN, "-p", PORTAL, "--login", returncode=status, stderr="iscsiadm: no")
    with pytest.raises(error, match=words) as caught:
        Iscsiadm(runner, tmp_path).login(PORTAL, IQN)
    if isinstance(caught.value, LoginError):
        assert caught.value.status == status


def test_logging_out_and_forgetting_what_is_gone_is_success(tmp_path: Path) -> None:
    runner = FakeRunner()
    runner.on(*NODE, "-T", IQN, "-p", PORTAL, "--logout", returncode=21)
    runner.on(*NODE, "-o", "delete", "-T", IQN, "-p", PORTAL, returncode=21)
    tool = Iscsiadm(runner, tmp_path)
    tool.logout(PORTAL, IQN)
    tool.delete_node(PORTAL, IQN)


def test_a_logout_that_failed_is_not_success(tmp_path: Path) -> None:
    runner = FakeRunner().on(*NODE, "-T", IQN, "-p", PORTAL, "--logout", returncode=10)
    with pytest.raises(CommandError, match="exit status 10"):
        Iscsiadm(runner, tmp_path).logout(PORTAL, IQN)


def test_records_are_listed_without_starting_anything(runner: FakeRunner, tmp_path: Path) -> None:
    tool = Iscsiadm(runner, tmp_path)
    assert tool.nodes() == []
    tool.create_node(PORTAL, IQN, MOVE_PARAMETERS)
    runner.calls.clear()
    assert tool.nodes() == [(PORTAL, IQN)]
    assert runner.calls == []


def test_the_initiator_name_is_read_and_its_absence_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "initiatorname.iscsi"
    with pytest.raises(MissingPartError, match="open-iscsi"):
        read_initiator_name(path)
    path.write_text("## a comment\n")
    with pytest.raises(MissingPartError, match="iscsi-iname"):
        read_initiator_name(path)
    path.write_text("## a comment\nInitiatorName=iqn.1993-08.org.debian:01:abc\n")
    assert read_initiator_name(path) == "iqn.1993-08.org.debian:01:abc"
    path.write_bytes(b"InitiatorName=iqn.\xff\n")
    with pytest.raises(MissingPartError, match="not UTF-8"):
        read_initiator_name(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("InitiatorName=iqn.2004-10.com.ubuntu:01:a_b/C@d\n", "iqn.2004-10.com.ubuntu:01:a_b/C@d"),
        ("  InitiatorName = eui.02004567A425678D  \n", "eui.02004567A425678D"),
        ("#InitiatorName=iqn.old\nInitiatorName=\nInitiatorName=iqn.new\nInitiatorName=iqn.later\n", "iqn.new"),
        ("InitiatorName=iqn.x:a#b\r\n", "iqn.x:a#b"),
        ("InitiatorName=rack 7 host\n", "rack 7 host"),
        ("InitiatorName=iqn.2026-01.example.münchen:host\n", "iqn.2026-01.example.münchen:host"),
        (f"InitiatorName=iqn.{'x' * 219}\n", f"iqn.{'x' * 219}"),
    ],
)
def test_a_name_that_open_iscsi_takes_is_taken_and_travels(text: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "initiatorname.iscsi"
    path.write_text(text)
    assert read_initiator_name(path) == name
    assert TypeAdapter(InitiatorName).validate_python(name) == name


@pytest.mark.parametrize("name", ["", " iqn.x", "iqn.x ", "iqn\n.x", "iqn\0x", "x" * 224])
def test_a_name_that_could_not_stand_in_that_file_does_not_travel(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(InitiatorName).validate_python(name)


def test_portals_of_both_address_families() -> None:
    assert portal_of("10.0.0.1") == "10.0.0.1:3260"
    assert portal_of("fd00::1", 3261) == "[fd00::1]:3261"
