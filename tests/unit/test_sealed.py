"""What proves both sides of a lease can be read by its borrower only."""

import pytest

from ramshare.errors import RamshareError
from ramshare.sealed import SealingKeys, Secrets, UnreadableGrantError, seal

pytestmark = pytest.mark.unit

SECRETS = Secrets("borrower-proves-itself", "lender-proves-itself")


def test_secrets_come_out_as_they_went_in_and_are_never_sealed_alike() -> None:
    keys = SealingKeys()
    first, second = seal(SECRETS, keys.public), seal(SECRETS, keys.public)
    assert first != second
    assert keys.open(first) == keys.open(second) == SECRETS
    assert "proves-itself" not in first + repr(SECRETS)
    assert len(first) <= 256


@pytest.mark.parametrize("sealed", ["", "no base64!", "QUJD" * 30, "ü"])
def test_what_is_not_sealed_to_us_is_refused_in_words(sealed: str) -> None:
    with pytest.raises(UnreadableGrantError):
        SealingKeys().open(sealed)


def test_a_grant_for_another_key_is_refused() -> None:
    with pytest.raises(UnreadableGrantError, match="another key"):
        SealingKeys().open(seal(SECRETS, SealingKeys().public))


def test_a_grant_without_the_lenders_proof_is_refused() -> None:
    keys = SealingKeys()
    with pytest.raises(UnreadableGrantError, match="lacks a secret"):
        keys.open(seal(Secrets("only-one-side", ""), keys.public))


@pytest.mark.parametrize("key", ["", "short", "A" * 44, "ü"])
def test_nothing_is_sealed_to_what_is_no_key(key: str) -> None:
    with pytest.raises(RamshareError):
        seal(SECRETS, key)
