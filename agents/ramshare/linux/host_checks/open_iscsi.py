"""What `iscsid.conf` decides for every session of the host, whatever a node record says, and the host's own name."""

from dataclasses import dataclass

from ramshare.errors import MissingPartError
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.iscsiadm import read_initiator_name


@dataclass(frozen=True)
class InitiatorSettings:
    """The daemon's own settings, and why the host has no name if it has none."""

    safe_logout: bool = False
    nameless: MissingPartError | None = None


def observe(host: Host) -> InitiatorSettings:
    """Read open-iscsi's two files."""
    nameless = None
    try:
        read_initiator_name(host.root / "etc/iscsi/initiatorname.iscsi")
    except MissingPartError as error:
        nameless = error
    try:
        lines = (host.root / "etc/iscsi/iscsid.conf").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    values = {key.strip(): value.strip().lower() for key, value in settings.items()}
    return InitiatorSettings(values.get("iscsid.safe_logout") == "yes", nameless)


def judge(facts: InitiatorSettings) -> list[Finding]:
    """Say what keeps a borrower from opening its sessions, or from ending them."""
    found = []
    if facts.nameless is not None:
        found.append(Finding(facts.nameless.message, facts.nameless.hint, blocks=True))
    if facts.safe_logout:
        found.append(
            Finding(
                "iscsid.safe_logout is Yes: iscsiadm refuses to end a session that swap lies on, so that a dead lender "
                "cannot be cut off",
                "set iscsid.safe_logout = No in /etc/iscsi/iscsid.conf, then `systemctl restart iscsid`",
                blocks=True,
            )
        )
    return found
