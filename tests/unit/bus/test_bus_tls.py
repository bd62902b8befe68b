"""What is said of a certificate that no broker would take, before one is asked."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ramshare.broker import pki
from ramshare.bus.tls import Certificate, CertificateError, check_certificate, expiry_warning, open_context
from ramshare.settings import BrokerSettings

pytestmark = pytest.mark.unit

NOW = datetime.now(UTC).replace(microsecond=0)
CA = pki.new_authority("ramshare hosts authority", NOW)
OTHER_CA = pki.new_authority("somebody else", NOW)


def settings(tmp_path: Path, pair: pki.Pair, authority: pki.Pair = CA, client: str = "lender.hosta") -> BrokerSettings:
    for name, content in (("ca.crt", authority.cert), (f"{client}.crt", pair.cert), (f"{client}.key", pair.key)):
        (tmp_path / name).write_bytes(content)
    return BrokerSettings(client=client, tls_directory=tmp_path)


def own(name: str = "lender.hosta", authority: pki.Pair = CA, days: int = 100) -> pki.Pair:
    return pki.new_client(authority, name, NOW, timedelta(days=days))


def test_a_certificate_of_ours_is_taken(tmp_path: Path) -> None:
    found = check_certificate(settings(tmp_path, own()), NOW)
    assert (found.name, found.issuer) == ("lender.hosta", "ramshare hosts authority")
    open_context(settings(tmp_path, own()))


@pytest.mark.parametrize(
    ("pair", "now", "said", "hint"),
    [
        (own("guest.web1"), NOW, "is for 'guest.web1', not for lender.hosta", "ramshare broker renew lender.hosta"),
        (own(authority=OTHER_CA), NOW, "is issued by 'somebody else'", "ramshare broker renew"),
        (pki.new_authority("lender.hosta", NOW), NOW, "is self-signed", "ramshare broker renew"),
        (own(), NOW + timedelta(days=101), "has expired on", "ramshare broker renew"),
        (own(), NOW - timedelta(hours=5), "is not valid before", "clock: timedatectl"),
    ],
    ids=["wrong role", "foreign", "self-signed", "expired", "clock behind"],
)
def test_what_is_wrong_is_named_with_the_remedy(
    tmp_path: Path, pair: pki.Pair, now: datetime, said: str, hint: str
) -> None:
    with pytest.raises(CertificateError) as caught:
        check_certificate(settings(tmp_path, pair), now)
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("missing", ["ca.crt", "lender.hosta.crt", "lender.hosta.key"])
def test_a_file_that_is_missing_or_none_is_named(tmp_path: Path, missing: str) -> None:
    there = settings(tmp_path, own())
    (tmp_path / missing).write_text("nonsense")
    with pytest.raises(CertificateError, match=missing):
        open_context(there)
    (tmp_path / missing).unlink()
    with pytest.raises(CertificateError, match=missing) as caught:
        open_context(there)
    assert "ramshare broker init" in caught.value.hint


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    there = settings(tmp_path, own())
    there.key_file.write_bytes(own().key)
    with pytest.raises(CertificateError, match="belongs to another certificate"):
        open_context(there)


def test_thirty_days_before_its_end_a_certificate_is_warned_of(tmp_path: Path) -> None:
    cert = Certificate.read(settings(tmp_path, own()).cert_file)
    assert expiry_warning(cert, NOW + timedelta(days=69)) == ""
    assert "lender.hosta expires in 29 days" in expiry_warning(cert, NOW + timedelta(days=70, hours=1))
