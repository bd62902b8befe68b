"""`ramshare-agent ROLE`: runs one agent in the foreground, for service managers and for `ramshare run`.

Imports as little as it can and the role's code last, because a monitor lives in every guest: no command line library,
nothing of the other roles.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ramshare import __version__, audit
from ramshare.agent import Agent, serve
from ramshare.bus.api import Bus
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import ExitCode, RamshareError
from ramshare.linux import service_manager
from ramshare.metrics.off import watcher_for
from ramshare.settings import (
    BorrowerSettings,
    BrokerSettings,
    HostSettings,
    LenderLabSettings,
    LenderSettings,
    ManagerSettings,
    SettingsError,
    load,
    unknown_variables,
)
from ramshare.topics import MANAGER, BadTopicError, Root, StateTopic

if TYPE_CHECKING:
    from ramshare.doctor import Patient
    from ramshare.linux.hypervisor import Hypervisor

ROLES = ("monitor", "lender", "manager", "borrower")
CLIENT_ROLE = {"monitor": "guest"}
"""Where the first part of the client's name is not the role: a monitor speaks for the guest it runs in."""

SHORTEST_HEARTBEAT_S = 1.0
"""Below it the heartbeat would be all that an agent does."""

_JOURNAL_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Log levels as the journal reads them at the start of a line, see sd-daemon(3)."""

log = logging.getLogger("ramshare.launch")


def main(
    argv: Sequence[str] | None = None,
    serve: Callable[[Agent], None] = serve,
    patient: "Callable[[str], Patient] | None" = None,
) -> int:
    """Run the agent that the command line names; return its exit code. `serve` runs it; `patient` is checked."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.home and arguments.role != "borrower":
        parser.error("--home is for a borrower")
    if arguments.mount and arguments.role != "lender":
        parser.error("--mount is for a lender")
    if arguments.check:
        set_up_logging(logging.getLevelName(logging.WARNING))
        return check_host((patient or patient_of)(arguments.role))
    try:
        host = load(HostSettings)
        set_up_logging(host.log_level)
        if arguments.home:
            bring_home(host)
            return ExitCode.OK
        if arguments.mount:
            mount_ramdisk()
            return ExitCode.OK
        broker = broker_settings(arguments.role, host.host)
        watcher = watcher_for(arguments.role, host.metrics_listen)
        build = builder(arguments.role, host, told=watcher.step)
        for name in unknown_variables():
            log.warning("%s is no setting of ramshare: it is not read", name)
        assert broker.client is not None
        agent = build(watcher.bus(broker, broker.client))
        agent.heartbeat_s = broker.announce_interval_s
        agent.service_manager = service_manager.take_from(os.environ)
        watcher.watch(agent)
        with watcher:
            serve(agent)
    except RamshareError as error:
        sys.stderr.write(f"error: {_one_line(str(error))}\n")
        return error.exit_code
    return ExitCode.OK


def bring_home(settings: HostSettings) -> None:
    """Bring this host's volumes home, whatever the broker. Raises `RamshareError` naming those not home in time."""
    from ramshare.borrower import homeward
    from ramshare.borrower.machine.this_machine import this_machine
    from ramshare.linux.run import SystemRunner

    def open_bus() -> Bus:
        broker = broker_settings("borrower", settings.host)
        assert broker.client is not None
        return MqttBus(broker, broker.client)

    borrower = load(BorrowerSettings)
    homeward.bring_home(this_machine(SystemRunner(), borrower), borrower.home_within_s, open_bus)


def mount_ramdisk() -> None:
    """Mount the lender's RAM file system where all see it: a service that is shut in sees its own mounts alone.

    Where LIO is to serve, have the kernel ready for it, too: such a service may load no module. Raises
    `MissingPartError` without root, `RamdiskError` for a place that is taken.
    """
    from ramshare.linux.lio import load_lio
    from ramshare.linux.ramdisk import Ramdisk
    from ramshare.linux.run import SystemRunner, require_root

    settings = load(LenderSettings)
    require_root("mounting a lender's memory")
    Ramdisk(SystemRunner(), settings.directory).mount()
    if settings.target == "lio":
        load_lio(SystemRunner())


def check_host(patient: "Patient") -> ExitCode:
    """Say whether this machine lets the agent work, without a word to the broker. Returns the exit code."""
    from ramshare.doctor import examine, exit_code

    found = examine(patient, broker=False)
    for finding in found:
        sys.stderr.write(f"{'error' if finding.blocks else 'warning'}: {_one_line(str(finding))}\n")
    if (code := exit_code(found)) is ExitCode.OK:
        broker = patient.settings()
        sys.stdout.write(f"the configuration is valid: {broker.client} at {broker.broker}\n")
    return code


def patient_of(role: str) -> "Patient":
    """Return this machine as it is looked at for one role."""
    from ramshare.bus.probe import try_account
    from ramshare.bus.tls import check_certificate, expiry_warning
    from ramshare.doctor import Patient
    from ramshare.linux.host_checks.model import Host
    from ramshare.linux.run import SystemRunner

    def settings() -> BrokerSettings:
        host = load(HostSettings)
        broker = broker_settings(role, host.host)
        watcher_for(role, host.metrics_listen)
        builder(role, host, require=lambda _role: None)
        return broker

    def account(broker: BrokerSettings) -> None:
        assert broker.client is not None
        try_account(broker, broker.client)

    def certificate(broker: BrokerSettings) -> str:
        now = datetime.now(UTC)
        return "" if broker.broker_insecure else expiry_warning(check_certificate(broker, now), now)

    return Patient(role, Host(SystemRunner()), settings, account, certificate)


def broker_settings(role: str, host: str) -> BrokerSettings:
    """Return where to connect and as whom, everything checked that can be without a broker. Raises `SettingsError`."""
    found = load(BrokerSettings)
    Root.of(found.root)
    first = CLIENT_ROLE.get(role, role)
    client = found.client or (_manager_of(found) if role == MANAGER else f"{first}.{host}")
    try:
        StateTopic(client, "status")
    except BadTopicError as error:
        raise SettingsError(
            f"RAMSHARE_CLIENT: {error.message}", "RAMSHARE_HOST is part of it if it is not set"
        ) from error
    begin, _, name = client.partition(".")
    if begin != first or not (name or role == MANAGER):
        alone = f"{MANAGER} or " if role == MANAGER else ""
        wanted = f"it must be {alone}{first}.NAME, for example {first}.{host}"
        raise SettingsError(
            f"RAMSHARE_CLIENT: {client} is not a name for a {role}",
            f"{wanted}; the rights of an account follow from it",
        )
    if found.announce_interval_s < SHORTEST_HEARTBEAT_S:
        raise SettingsError(f"RAMSHARE_ANNOUNCE_INTERVAL_S: at least {SHORTEST_HEARTBEAT_S:g} s")
    if found.broker_insecure:
        _ = found.password
    elif found.password_file is not None:
        raise SettingsError(
            "RAMSHARE_PASSWORD_FILE: accounts have certificates now (RAMSHARE_TLS_DIRECTORY)",
            "copy the bundle of `ramshare broker init`; for plain TCP say RAMSHARE_BROKER_INSECURE=1",
        )
    return found.model_copy(update={"client": client})


def _manager_of(found: BrokerSettings) -> str:
    """Return which manager this is: of several each has a certificate of its own, all have the same settings."""
    from ramshare.bus.tls import Certificate, CertificateError

    settings = found.model_copy(update={"client": MANAGER})
    try:
        return MANAGER if found.broker_insecure else Certificate.read(settings.cert_file).name
    except CertificateError:
        return MANAGER  # who connects says what is wrong with the file


def builder(
    role: str,
    host: HostSettings,
    require: Callable[[str], None] | None = None,
    told: Callable[[str, str, float], None] = lambda _step, _outcome, _took_s: None,
) -> Callable[[Bus], Agent]:
    """Return what makes the agent from a bus, its settings loaded and its tools found (by `require`).

    A borrower's steps are `told`: name, outcome, seconds.

    Raises `SettingsError`, or `MissingPartError` naming the package or the privilege that is missing.
    """
    require = require or _require
    if role == "monitor":
        from ramshare.linux.footprint import share_one_heap
        from ramshare.linux.pressure_watch import PressureWatch
        from ramshare.monitor.agent import Monitor
        from ramshare.monitor.door import SocketDoor

        share_one_heap()
        return lambda bus: Monitor(bus, host, watch=PressureWatch(), door=SocketDoor(host.guest_socket))
    if role == "lender":
        from ramshare.lender.agent import Lender
        from ramshare.lender.hands import hands_of
        from ramshare.linux.run import SystemRunner
        from ramshare.policy.registry import DEFAULT_POLICY, make_policy

        lender, lab = load(LenderSettings), load(LenderLabSettings)
        make_policy(lender.policy or DEFAULT_POLICY)
        require(role)
        hypervisor = _hypervisor(lender.hypervisor)
        return lambda bus: Lender(bus, host, lender, hands_of(host, lender, lab, SystemRunner(), hypervisor))
    if role == "borrower":
        from ramshare.borrower.agent import Borrower
        from ramshare.borrower.machine.this_machine import this_machine
        from ramshare.linux.run import SystemRunner
        from ramshare.metrics.steps import timed

        borrower = load(BorrowerSettings)
        require(role)
        hypervisor = _hypervisor(borrower.hypervisor)
        return lambda bus: Borrower(bus, borrower, timed(this_machine(SystemRunner(), borrower, hypervisor), told))
    from ramshare.manager.agent import Manager

    manager = load(ManagerSettings)
    return lambda bus: Manager(bus, settings=manager)


def set_up_logging(level: str) -> None:
    """Log to standard error, one line a record; the journal gets its own level marks and no second time."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(for_journal=writes_to_journal()))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger(audit.LOGGER).setLevel(logging.INFO)


def writes_to_journal(stream: int = 2) -> bool:
    """Whether a file descriptor is the journal's socket, which `JOURNAL_STREAM` names (see systemd.exec(5))."""
    try:
        status = os.fstat(stream)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class LineFormatter(logging.Formatter):
    """A record as one line, a traceback included; without the time where the journal keeps it."""

    def __init__(self, *, for_journal: bool) -> None:
        super().__init__("%(name)s: %(message)s" if for_journal else "%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = _one_line(super().format(record))
        return f"<{_JOURNAL_LEVELS.get(record.levelno, 5)}>{line}" if self._for_journal else line


def _hypervisor(uri: str) -> "Hypervisor":
    if not uri:
        from ramshare.linux.hypervisor import NullHypervisor

        return NullHypervisor()
    from ramshare.linux.libvirt_guests import LibvirtGuests

    return LibvirtGuests(uri)


def _require(role: str) -> None:
    from ramshare.linux.programs import tools_of
    from ramshare.linux.run import require_root, require_tools

    require_root(f"a {role}")
    require_tools(tools_of(role))


def _one_line(text: str) -> str:
    return " | ".join(part.strip() for part in text.splitlines() if part.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ramshare-agent",
        description="Run one agent of ramshare in the foreground.",
        epilog="Settings: RAMSHARE_... variables, or /etc/ramshare/ramshare.env (RAMSHARE_ENV_FILE names another).",
    )
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--check", action="store_true", help="say whether the configuration is usable, and end")
    parser.add_argument(
        "--home", action="store_true", help="a borrower only: bring every volume home, and end (ramshare-home.service)"
    )
    parser.add_argument(
        "--mount",
        action="store_true",
        help="a lender only: mount its RAM file system, and end (ramshare-lender.service)",
    )
    parser.add_argument("--version", action="version", version=f"ramshare {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
