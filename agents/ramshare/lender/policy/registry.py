"""The policies that can be chosen by name; used by the lender's settings, the replay and the command line."""

from collections.abc import Callable

from ramshare.errors import RamshareError
from ramshare.lender.policy.model import Policy
from ramshare.lender.policy.window import WindowMax

DEFAULT_POLICY = "max24h"

_MAKERS: dict[str, Callable[[], Policy]] = {
    "max24h": WindowMax,
}


def policy_names() -> tuple[str, ...]:
    """Return every policy's name, the default first."""
    return (DEFAULT_POLICY, *sorted(name for name in _MAKERS if name != DEFAULT_POLICY))


def make_policy(name: str = DEFAULT_POLICY) -> Policy:
    """Build a fresh policy. Raises `RamshareError` for a name that nobody has."""
    maker = _MAKERS.get(name)
    if maker is None:
        raise RamshareError(f"there is no surplus policy named {name!r}", f"choose one of: {', '.join(policy_names())}")
    return maker()
