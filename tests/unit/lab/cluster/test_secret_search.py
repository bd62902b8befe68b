"""The search for secrets finds each kind in each form, says where, and never shows one."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare_lab.cluster.secret_search import Secret, crypt_keys, in_files, search

pytestmark = pytest.mark.unit

SECRET = Secret("chap_secret of l1", b"0pen-Sesame-123")


@pytest.mark.parametrize(
    "leak",
    [
        SECRET.value,
        base64.b64encode(SECRET.value),
        SECRET.value.hex().encode(),
        SECRET.value.hex().upper().encode(),
        b'{"chap_secret":"' + SECRET.value + b'"}',
    ],
)
def test_a_secret_is_found_in_any_form_and_not_shown(leak: bytes) -> None:
    searched = search([SECRET], [("log/lender.log", b"..." + leak + b"..."), ("log/other.log", b"nothing")])
    assert searched.found == ("chap_secret of l1 is in log/lender.log",)
    assert (searched.secrets, searched.places) == (1, 2)


@given(value=st.binary(min_size=8, max_size=64), before=st.binary(max_size=50), after=st.binary(max_size=50))
def test_whatever_stands_around_it_a_secret_is_found(value: bytes, before: bytes, after: bytes) -> None:
    assert search([Secret("it", value)], [("there", before + value + after)]).found == ("it is in there",)


def test_what_is_kept_by_design_is_a_secret_and_all_else_a_place(tmp_path: Path) -> None:
    record, password, key, log = (tmp_path / name for name in ("l1.json", "password", "key.pem", "agent.log"))
    record.write_text(json.dumps({"lease": "l1", "chap_user": "l1", "chap_secret": "0pen-Sesame-123"}))
    password.write_text("correct-horse-battery\n")
    key.write_text("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n")
    log.write_text("logged in with 0pen-Sesame-123, correct-horse-battery, MC4CAQAwBQYDK2VwBCIEIA")
    for path in (record, password, key):
        path.chmod(0o600)
    secrets, places = in_files(tmp_path)
    assert {secret.what for secret in secrets} == {
        "chap_secret of l1",
        "the password password",
        "the private key key.pem",
    }
    assert [where for where, _ in places] == ["agent.log"]
    assert len(search(secrets, places).found) == 3


def test_a_record_that_everybody_may_read_is_a_leak_itself(tmp_path: Path) -> None:
    for name, mode in (("kept.json", 0o600), ("copy.json", 0o644)):
        (tmp_path / name).write_text(json.dumps({"lease": "l1", "chap_secret": "0pen-Sesame-123"}))
        (tmp_path / name).chmod(mode)
    assert search(*in_files(tmp_path)).found == ("chap_secret of l1 is in copy.json",)


def test_the_keys_of_encrypted_leases_are_known_from_the_kernel() -> None:
    table = (
        "vg0-swap: 0 819200 linear 254:0 2048\n"
        f"ramshare-l1: 0 409600 crypt aes-xts-plain64 {'0f' * 32} 0 8:16 0\n"
        "other: 0 8 crypt aes-xts-plain64 :32:logon:key 0 8:16 0\n"
    )
    (key,) = crypt_keys(table)
    assert key == Secret("the key of ramshare-l1", bytes.fromhex("0f" * 32))
