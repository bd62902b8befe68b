"""The policies that can be chosen by name; used by the lender's settings, the replay and the command line."""

from collections.abc import Callable

from ramshare.errors import ExitCode, RamshareError
from ramshare.policy.baselines import Infiniswap, Memtrade, Senpai, WindowMax
from ramshare.policy.model import Policy
from ramshare.policy.rhythm import Rhythm

DEFAULT_POLICY = Rhythm.name

_MAKERS: dict[str, Callable[[float], Policy]] = {
    Rhythm.name: Rhythm,
    WindowMax.name: WindowMax,
    Memtrade.name: Memtrade,
    Infiniswap.name: Infiniswap,
    Senpai.name: Senpai,
}


class UnknownPolicyError(RamshareError):
    """A name that no policy has."""

    exit_code = ExitCode.USAGE


def policy_names() -> tuple[str, ...]:
    """Return every policy's name, the default first."""
    return tuple(_MAKERS)


def make_policy(name: str = DEFAULT_POLICY, caution: float = 1.0, pace: float = 1.0) -> Policy:
    """Build a fresh policy. `caution` multiplies its margin or reserve, `pace` the default policy's windows.

    Raises `UnknownPolicyError` for a name that nobody has.
    """
    maker = _MAKERS.get(name)
    if maker is None:
        known = ", ".join(policy_names())
        raise UnknownPolicyError(f"there is no surplus policy named {name!r}", f"choose one of: {known}")
    return Rhythm(caution, pace) if maker is Rhythm else maker(caution)
