"""Settings: the environment before the file, and errors that name the variable."""

import os
from pathlib import Path

import pytest

from ramshare.messages.state import Mode
from ramshare.settings import (
    BorrowerSettings,
    BrokerSettings,
    GuestAllowance,
    HostSettings,
    LenderSettings,
    SettingsError,
    load,
    read_env_file,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [name for name in os.environ if name.startswith("RAMSHARE_")]:
        monkeypatch.delenv(variable)
    path = tmp_path / "ramshare.env"
    monkeypatch.setenv("RAMSHARE_ENV_FILE", str(path))
    return path


def test_a_file_is_read_as_systemd_and_shells_would(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(
        "# a comment\n; another\n\nA=1\nexport B = two words \nC='it # stays'\nD=\"quoted\" # not this\nE=\nF=x#y\n"
        'G=["web1", "web2"]\n'
    )
    assert read_env_file(path) == {
        "A": "1",
        "B": "two words",
        "C": "it # stays",
        "D": "quoted",
        "E": "",
        "F": "x#y",
        "G": '["web1", "web2"]',
    }


def test_without_a_file_the_defaults_hold(env_file: Path) -> None:
    found = load(BrokerSettings)
    assert (found.port, found.broker_insecure) == (8883, False)


def test_without_tls_only_if_told(env_file: Path) -> None:
    env_file.write_text("RAMSHARE_BROKER_INSECURE=1\n")
    assert load(BrokerSettings).port == 1883


def test_the_environment_goes_before_the_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("RAMSHARE_HOST=filed\nRAMSHARE_SAMPLE_INTERVAL_S=7\n")
    monkeypatch.setenv("RAMSHARE_HOST", "told")
    found = load(HostSettings)
    assert (found.host, found.sample_interval_s) == ("told", 7.0)


def test_the_lenders_variables_have_their_own_prefix(env_file: Path) -> None:
    env_file.write_text("RAMSHARE_LENDER_LIMIT_BYTES=1048576\n")
    assert load(LenderSettings).limit_bytes == 1 << 20


@pytest.mark.parametrize(
    ("text", "guests"),
    [
        ("", {}),
        ("[]", {}),
        ("{}", {}),
        ("web1:2GiB", {"web1": 2 << 30}),
        ("web1:2GiB, db.example.org:512M,", {"web1": 2 << 30, "db.example.org": 512 << 20}),
        ('{"web1": 2147483648, "web2": "1.5G"}', {"web1": 2 << 30, "web2": 3 << 29}),
        ('["web1:2GiB", "web2"]', {"web1": 2 << 30, "web2": None}),
        ('["web1", "web2"]', {"web1": None, "web2": None}),
    ],
)
def test_guests_are_named_with_their_sizes_and_those_of_older_settings_have_none(
    env_file: Path, text: str, guests: dict[str, int | None]
) -> None:
    env_file.write_text(f"RAMSHARE_LENDER_GUESTS={text}\n")
    assert load(LenderSettings).guests == guests


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("RAMSHARE_BROKER_PORT=many", "RAMSHARE_BROKER_PORT"),
        ("RAMSHARE_BROKER_PORT=70000", "RAMSHARE_BROKER_PORT"),
        ("RAMSHARE_CLIENT=no spaces", "RAMSHARE_CLIENT"),
        ("this says nothing", "line 1"),
    ],
)
def test_an_unusable_value_is_told_by_the_name_of_its_variable(env_file: Path, line: str, named: str) -> None:
    env_file.write_text(line)
    with pytest.raises(SettingsError, match=named):
        load(BrokerSettings)


@pytest.mark.parametrize(
    "text",
    [
        "web1",
        "web1:2GiB,web2",
        '{"a": 1}',
        '{"a": true}',
        '{"a": -5}',
        '{"a": [1]}',
        '{"a": "big"}',
        '{"a": 1e300}',
        "web1:2",
        "web1:2GiB,web1:3GiB",
        "web 1:2GiB",
        ":2GiB",
        "web1:9999999T",
        "[1, 2]",
        '["web1"',
        "[" * 5000,
    ],
)
def test_guests_that_cannot_be_meant_are_refused(env_file: Path, text: str) -> None:
    env_file.write_text(f"RAMSHARE_LENDER_GUESTS={text}")
    with pytest.raises(SettingsError, match="RAMSHARE_LENDER_GUESTS"):
        load(LenderSettings)


def test_what_is_no_text_is_a_clear_error(env_file: Path) -> None:
    env_file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot read"):
        load(HostSettings)


def test_a_password_that_is_no_text_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"secret\xff")
    with pytest.raises(SettingsError, match="not UTF-8") as caught:
        _ = BrokerSettings(password_file=path).password
    assert "secret" not in repr(caught.value)
    assert caught.value.__cause__ is None


# ---- volumes that are borrowed for by themselves


def test_volumes_that_are_borrowed_for_by_themselves(env_file: Path) -> None:
    env_file.write_text("RAMSHARE_BORROWER_AUTO= vg0/swap=move:2GiB, vg0/web-1=mirror ,\n")
    assert load(BorrowerSettings).auto == {"vg0/swap": (Mode.MOVE, 2 << 30), "vg0/web-1": (Mode.MIRROR, None)}


def test_by_default_nothing_is_borrowed_by_itself(env_file: Path) -> None:
    assert load(BorrowerSettings).auto == {}
    env_file.write_text("RAMSHARE_BORROWER_AUTO=\n")
    assert load(BorrowerSettings).auto == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("vg0/swap", "says no mode"),
        ("vg0/swap=", "says no mode"),
        ("vg0/swap=auto", "says no mode"),
        ("vg0/swap:2GiB", "says no mode"),
        ("=move", "no volume as lvs shows it"),
        ("/dev/vg0/swap=move", "no volume as lvs shows it"),
        ("swap=move", "no volume as lvs shows it"),
        ("vg0/swap=move:lots", "size"),
        ("vg0/swap=move:", "size"),
        ("vg0/swap=move:-1G", "size"),
        ("vg0/swap=move:2", "less than a lease"),
        ("vg0/swap=move,vg0/swap=mirror", "named twice"),
        ("vg0/swap=move;vg0/web1=move", "size|says no mode"),
    ],
)
def test_a_volume_that_cannot_be_meant_is_refused_by_name(env_file: Path, text: str, why: str) -> None:
    env_file.write_text(f"RAMSHARE_BORROWER_AUTO='{text}'\n")
    with pytest.raises(SettingsError, match=rf"(?s)RAMSHARE_BORROWER_AUTO.*({why})"):
        load(BorrowerSettings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("QUIET_S", "1"), ("QUIET_S", "nan"), ("LOANS_PER_HOUR", "-1"), ("LOANS_PER_HOUR", "1.5"), ("LIMIT_BYTES", "-1")],
)
def test_budgets_that_mean_nothing_are_refused(env_file: Path, name: str, value: str) -> None:
    env_file.write_text(f"RAMSHARE_BORROWER_AUTO_{name}={value}\n")
    with pytest.raises(SettingsError, match=f"RAMSHARE_BORROWER_AUTO_{name}"):
        load(BorrowerSettings)


# ---- guests that may ask


def test_guests_that_may_ask_are_named_with_volume_mode_and_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMSHARE_BORROWER_HYPERVISOR", "qemu:///system")
    monkeypatch.setenv("RAMSHARE_BORROWER_GUESTS", "web1=vg0/swap:move:2GiB, web2.example.org=vg0/swap2:mirror,")
    assert load(BorrowerSettings).guests == {
        "web1": GuestAllowance("vg0/swap", Mode.MOVE, 2 << 30),
        "web2.example.org": GuestAllowance("vg0/swap2", Mode.MIRROR, None),
    }


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("web1", "says no volume and mode"),
        ("web1=vg0/swap", "says no volume and mode"),
        ("web1=:move", "no volume"),
        ("web1=vg0/swap:fast", "says no mode"),
        ("web1=swap:move", "no volume"),
        ("web 1=vg0/swap:move", "no guest's name"),
        ("web1=vg0/swap:move:none", "not a size"),
        ("web1=vg0/a:move,web1=vg0/b:move", "named twice"),
        ("web1=vg0/a:move,web2=vg0/a:mirror", "for two guests"),
    ],
)
def test_guests_that_may_ask_are_refused_with_what_to_write(
    monkeypatch: pytest.MonkeyPatch, text: str, wrong: str
) -> None:
    monkeypatch.setenv("RAMSHARE_BORROWER_HYPERVISOR", "qemu:///system")
    monkeypatch.setenv("RAMSHARE_BORROWER_GUESTS", text)
    with pytest.raises(SettingsError, match=wrong):
        load(BorrowerSettings)


def test_guests_may_not_ask_where_nobody_says_whose_disk_is_whose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMSHARE_BORROWER_GUESTS", "web1=vg0/swap:move")
    with pytest.raises(SettingsError, match="needs RAMSHARE_BORROWER_HYPERVISOR"):
        load(BorrowerSettings)


@pytest.mark.parametrize(
    ("written", "port", "tried"),
    [
        ("10.0.0.5", None, ["10.0.0.5:8883"]),
        ("10.0.0.5,10.0.0.6", None, ["10.0.0.5:8883", "10.0.0.6:8883"]),
        (" brokera , brokerb:8999 ", 8884, ["brokera:8884", "brokerb:8999"]),
        ("[fd00::5]:1,[fd00::6]", None, ["fd00::5:1", "fd00::6:8883"]),
        ("", None, ["127.0.0.1:8883"]),
    ],
)
def test_several_brokers_are_tried_in_order(written: str, port: int | None, tried: list[str]) -> None:
    found = BrokerSettings.model_validate({"broker_hosts": written, "broker_port": port})
    assert [one.broker for one in found.brokers] == tried
    assert found.broker == ", ".join(tried)
    assert found.broker_host == found.brokers[0].broker_host, "where only one can be meant it is the first"


@pytest.mark.parametrize("written", ["a b", "a:0", "a:70000", "a:b", "fd00::5", "a,,b:x", ":1883"])
def test_what_is_no_list_of_brokers_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("RAMSHARE_BROKER_HOSTS", written)
    with pytest.raises(SettingsError, match=r"RAMSHARE_BROKER_HOSTS.*HOST or HOST:PORT"):
        load(BrokerSettings)
