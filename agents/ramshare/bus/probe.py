"""One connection to the broker and its end: whether an account gets in. For `ramshare doctor`."""

from ramshare.bus.session import Session
from ramshare.settings import BrokerSettings

PROBE_TIMEOUT_S = 5.0


def try_account(settings: BrokerSettings, client: str, timeout_s: float = PROBE_TIMEOUT_S) -> None:
    """Connect as `client`, to each broker of several, and leave again.

    Raises `BrokerUnreachableError` or `NotAuthorisedError`.

    Whoever is connected under this name is thrown out: not for one that runs.
    """
    for broker in settings.brokers:
        session = Session(broker, client, None, clean_start=False)
        try:
            session.open(timeout_s)
            session.disconnect()
        finally:
            session.release()
