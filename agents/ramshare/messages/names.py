"""Names that lender and borrower must agree on: the iSCSI target of a lease."""

import re

PREFIX = "iqn.2026-11.io.ramshare"
_TARGET = re.compile(rf"^{re.escape(PREFIX)}:(?P<host>[a-z0-9_.-]+)\.(?P<lease>[a-z0-9][a-z0-9-]*)$")


def target_of(host: str, lease: str) -> str:
    """Return the IQN under which `host` exports `lease`; iSCSI names are lower case (RFC 3722)."""
    return f"{PREFIX}:{host.lower()}.{lease}"


def lease_of(target: str) -> str | None:
    """Return the lease that an IQN stands for, or None if it is not one of ours."""
    found = _TARGET.fullmatch(target)
    return found["lease"] if found else None
