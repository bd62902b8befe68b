"""TLS with certificates, both ways, and what to tell a person when it fails.

Mosquitto ends the connection of a client whose certificate it does not accept without saying why (no TLS alert reaches
the client), so a client looks at its own certificate: before it connects, and again to explain a refusal.
"""

import _ssl
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ramshare.bus.api import BrokerUnreachableError, NotAuthorisedError
from ramshare.errors import RamshareError
from ramshare.settings import BrokerSettings

WARN_DAYS = 30
"""A certificate that expires so soon is warned of."""
RENEW = "on the brokers' machine: ramshare broker renew, then copy the bundles it names"
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _NO_ISSUER = 9, 10, 18, 19, 20
_NO_HOST, _NO_ADDRESS = 62, 64
"""X509_V_ERR_… of OpenSSL's x509_vfy.h."""
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"})
_GET_ANOTHER = "on the brokers' machine: ramshare broker renew {client}, then copy its bundle here again"


class CertificateError(NotAuthorisedError):
    """The files of a certificate are missing, unreadable, or cannot be used."""


class ForeignBrokerError(NotAuthorisedError):
    """Whoever answers at the broker's address is not the broker of this cluster, as far as can be seen."""


class SilentRefusalError(NotAuthorisedError):
    """The broker ended the connection right after the handshake, which is how Mosquitto refuses a certificate."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says."""

    name: str
    issuer: str
    begins: datetime
    ends: datetime
    self_signed: bool

    @classmethod
    def read(cls, path: Path) -> "Certificate":
        """Read a PEM file. Raises `CertificateError`."""
        try:
            path.read_bytes()
            # The one way that Python has to read one from a file; the cryptography library is no part of a guest.
            found = _ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
        except OSError as error:
            why = error.strerror or "it is not a certificate in PEM form"
            raise CertificateError(f"cannot read the certificate {path}: {why}", _bundle_hint(path)) from error
        subject, issuer = (_common_name(found[part]) for part in ("subject", "issuer"))
        begins, ends = (_moment(found[part]) for part in ("notBefore", "notAfter"))
        return cls(subject, issuer, begins, ends, found["subject"] == found["issuer"])


def open_context(settings: BrokerSettings, now: datetime | None = None) -> ssl.SSLContext:
    """Return TLS 1.3 with this client's certificate.

    Raises `CertificateError` for a certificate that no broker of ours would take, naming what is wrong and the remedy.
    """
    check_certificate(settings, now or datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        why = getattr(error, "strerror", "") or "it is not a certificate in PEM form"
        raise CertificateError(f"cannot read {settings.ca_file}: {why}", _bundle_hint(settings.ca_file)) from error
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
        why = "it belongs to another certificate" if reason == "KEY_VALUES_MISMATCH" else reason
        raise CertificateError(f"cannot use the key {settings.key_file}: {why}", _bundle_hint(settings.key_file)) from (
            error
        )
    return context


def check_certificate(settings: BrokerSettings, now: datetime) -> Certificate:
    """Return this client's certificate. Raises `CertificateError` if it cannot be right, whatever the broker."""
    own, authority = Certificate.read(settings.cert_file), Certificate.read(settings.ca_file)
    problem = _problem(own, authority, settings, now)
    if problem:
        hint = _GET_ANOTHER.format(client=settings.client)
        if now < own.begins:
            hint = "look at this machine's clock: timedatectl"
        raise CertificateError(f"the certificate {settings.cert_file} {problem}", hint)
    return own


def expiry_warning(cert: Certificate, now: datetime) -> str:
    """Return a sentence if the certificate expires within `WARN_DAYS`, else nothing."""
    return expiry_of(cert.name, cert.ends, now)


def expiry_of(name: str, ends: datetime, now: datetime) -> str:
    """Return the same of a certificate that is only known by name."""
    days = (ends - now).total_seconds() / 86400
    return f"the certificate of {name} expires in {max(0, int(days))} days" if days <= WARN_DAYS else ""


def explain(error: ssl.SSLError, settings: BrokerSettings) -> RamshareError:
    """Return what a failed handshake means."""
    code = getattr(error, "verify_code", 0)
    where = settings.broker
    if code in (_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _NO_ISSUER):
        return ForeignBrokerError(
            f"the broker at {where} shows a certificate that {settings.ca_file} has not signed",
            "is it the right broker? hosts use the hosts' broker (port 8883), guests the guests' (8884)",
        )
    if code == _EXPIRED:
        return ForeignBrokerError(
            f"the certificate of the broker at {where} has expired, says this machine's clock ({_clock()})",
            "look at the clock (timedatectl); on the brokers' machine: ramshare broker renew, then reload the brokers",
        )
    if code == _NOT_YET_VALID:
        return ForeignBrokerError(
            f"the certificate of the broker at {where} is not valid yet, says this machine's clock ({_clock()})",
            "this machine's clock is behind: timedatectl",
        )
    if code in (_NO_HOST, _NO_ADDRESS):
        return ForeignBrokerError(
            f"the certificate of the broker at {where} is not for {settings.broker_host}",
            "use the name or address that `ramshare broker init --address` was given (RAMSHARE_BROKER_HOST)",
        )
    if isinstance(error, ssl.SSLEOFError) or error.reason in _NO_TLS:
        return ForeignBrokerError(
            f"what answers at {where} does not speak TLS",
            "is the port right? 8883 for hosts, 8884 for guests; a plain broker needs RAMSHARE_BROKER_INSECURE=1",
        )
    return BrokerUnreachableError(f"no TLS with the broker at {where}: {error.reason or error}", "see its log")


def explain_silence(settings: BrokerSettings) -> SilentRefusalError:
    """Return what it means that the broker ended the connection before it said anything."""
    own = Certificate.read(settings.cert_file)
    return SilentRefusalError(
        f"the broker at {settings.broker} ended the connection: it does not take the certificate of {own.name}, "
        f"issued by {own.issuer!r}, valid until {own.ends:%Y-%m-%d}",
        f"was it revoked, or is the broker's clock off? {_GET_ANOTHER.format(client=settings.client)}",
    )


def _problem(own: Certificate, authority: Certificate, settings: BrokerSettings, now: datetime) -> str:
    if own.name != settings.client:
        return f"is for {own.name!r}, not for {settings.client}"
    if own.self_signed:
        return "is self-signed: no broker takes it"
    if own.issuer != authority.name:
        return f"is issued by {own.issuer!r}, but {settings.ca_file} is {authority.name!r}"
    if now < own.begins:
        return f"is not valid before {own.begins:%Y-%m-%d %H:%M} UTC, and this machine's clock says {_clock(now)}"
    if now >= own.ends:
        return f"has expired on {own.ends:%Y-%m-%d} (this machine's clock says {_clock(now)})"
    return ""


def _bundle_hint(path: Path) -> str:
    return f"copy the bundle that `ramshare broker init` made to {path.parent}; RAMSHARE_TLS_DIRECTORY names the place"


def _no_password() -> bytes:
    raise ValueError("it is encrypted, and nobody is there to give a password")


def _clock(now: datetime | None = None) -> str:
    return f"{now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def _common_name(parts: object) -> str:
    found = [value for group in parts for key, value in group if key == "commonName"]  # type: ignore[attr-defined]
    return found[0] if found else ""


def _moment(text: object) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(text)), UTC)
