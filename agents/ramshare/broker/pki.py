"""Certificates: one authority for the hosts' broker, one for the guests', and what each signs. EC keys on P-256.

The only module that needs the `cryptography` library (pip extra `broker`): agents and commands use certificates with
what Python has.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from ramshare.errors import MissingPartError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise MissingPartError(
        "certificates are made with the Python library cryptography, which is missing", "pip install 'ramshare[broker]'"
    ) from None

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=397)
"""Of every certificate but the authorities': what browsers allow at most; `renew` is due once a year."""
EARLIER = timedelta(hours=1)
"""Certificates are valid from so long ago, for clocks that are a little behind."""

_NOTHING_ELSE = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM. The key is a secret."""

    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"Pair({name_in(self.cert)!r})"


def new_authority(name: str, now: datetime) -> Pair:
    """Return a new authority, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key.public_key(), now, AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **_NOTHING_ELSE)
    builder = builder.add_extension(usage, critical=True)
    identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return _pair(builder.add_extension(identity, critical=False).sign(key, hashes.SHA256()), key)


def new_client(authority: Pair, client: str, now: datetime, life: timedelta = LIFE) -> Pair:
    """Return a client's certificate; the common name is the account's."""
    return _issue(authority, client, now, life, ExtendedKeyUsageOID.CLIENT_AUTH, ())


def new_server(authority: Pair, addresses: tuple[str, ...], now: datetime, life: timedelta = LIFE) -> Pair:
    """Return a broker's certificate for the names and addresses under which it is reached, the first one its name."""
    return _issue(authority, addresses[0][:64], now, life, ExtendedKeyUsageOID.SERVER_AUTH, addresses)


def new_revocations(authority: Pair, serials: tuple[int, ...], now: datetime) -> bytes:
    """Return the list of revoked certificates. It is valid as long as its authority: an expired one locks all out."""
    cert = x509.load_pem_x509_certificate(authority.cert)
    builder = x509.CertificateRevocationListBuilder().issuer_name(cert.subject)
    builder = builder.last_update(now - EARLIER).next_update(cert.not_valid_after_utc)
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - EARLIER).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(_key(authority), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def serial_of(cert: bytes) -> int:
    """Return a certificate's number, which a list of revocations names."""
    return x509.load_pem_x509_certificate(cert).serial_number


def expires_at(cert: bytes) -> datetime:
    """Return the moment from which a certificate is no longer valid."""
    return x509.load_pem_x509_certificate(cert).not_valid_after_utc


def name_in(cert: bytes) -> str:
    """Return the common name in a certificate."""
    found = x509.load_pem_x509_certificate(cert).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _issue(
    authority: Pair, name: str, now: datetime, life: timedelta, usage: x509.ObjectIdentifier, addresses: tuple[str, ...]
) -> Pair:
    signer = x509.load_pem_x509_certificate(authority.cert)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name_in(authority.cert), key.public_key(), now, life)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    allowed = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **_NOTHING_ELSE)
    builder = builder.add_extension(allowed, critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    signed_by = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
    found = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signed_by)
    builder = builder.add_extension(found, critical=False)
    if addresses:
        names = x509.SubjectAlternativeName([_general_name(address) for address in addresses])
        builder = builder.add_extension(names, critical=False)
    return _pair(builder.sign(_key(authority), hashes.SHA256()), key)


def _builder(
    name: str, issuer: str, public: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + life)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _key(authority: Pair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _pair(cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(cert.public_bytes(pem), private)
