"""CHAP secrets that only the borrower can read: sealed by the lender, opened on the borrower's host.

They travel through broker and manager, which see a sealed box (libsodium: X25519, XSalsa20-Poly1305). A lender seals to
the key that the borrower itself publishes, on a topic that nobody else may write: a manager that handed on a key of its
own would read every secret. The key pair is made when the borrower's agent starts and dies with it; what an earlier run
was granted is in open-iscsi's node records, or is not used. Needs PyNaCl, which only lenders and borrowers install.
"""

import base64
import binascii
from dataclasses import dataclass, field

from ramshare.errors import MissingPartError, RamshareError

try:
    from nacl.exceptions import CryptoError
    from nacl.public import PrivateKey, PublicKey, SealedBox
except ImportError as _error:  # a guest's monitor does without
    raise MissingPartError("PyNaCl is not installed", "pip install 'ramshare[host]', or python3-nacl") from _error


class UnreadableGrantError(RamshareError):
    """A grant was sealed to another key than this run's."""


@dataclass(frozen=True)
class Secrets:
    """What the two sides of a lease prove themselves by; never shown."""

    borrower: str = field(repr=False)
    """The borrower proves that it is who the lease was granted to."""
    lender: str = field(repr=False)
    """The lender's target proves that it is who granted the lease."""


def seal(secrets: Secrets, public_key: str) -> str:
    """Return the secrets as only the holder of the private key can read them. Raises `RamshareError` for no key."""
    try:
        key = PublicKey(base64.b64decode(public_key, validate=True))
    except (ValueError, TypeError, CryptoError) as error:
        raise RamshareError(f"not a public key: {public_key[:60]!r}") from error
    box = SealedBox(key).encrypt(f"{secrets.borrower}\n{secrets.lender}".encode())
    return base64.b64encode(box).decode()


class SealingKeys:
    """The key pair of one run of a borrower."""

    def __init__(self) -> None:
        self._private = PrivateKey.generate()
        self.public = base64.b64encode(bytes(self._private.public_key)).decode()

    def open(self, sealed: str) -> Secrets:
        """Return what was sealed to `public`. Raises `UnreadableGrantError` for anything else."""
        try:
            box = SealedBox(self._private).decrypt(base64.b64decode(sealed, validate=True))
            borrower, _, lender = box.decode().partition("\n")
        except (CryptoError, binascii.Error, ValueError, TypeError) as error:
            raise UnreadableGrantError("the grant is sealed to another key than ours", "borrow again") from error
        if not borrower or not lender:
            raise UnreadableGrantError("the grant lacks a secret", "borrow again")
        return Secrets(borrower, lender)
