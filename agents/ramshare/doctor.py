"""Whether this machine can do an agent's work: its settings, the machine itself, its certificate, the broker.

One list of findings for `ramshare doctor`, and for `ramshare-agent ROLE --check`, which leaves the broker out: nothing
is wrong with a service that starts before its broker. What is looked at on the machine stands in `linux/host_checks/`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ramshare.errors import ExitCode, RamshareError
from ramshare.linux.host_checks import registry
from ramshare.linux.host_checks.model import Check, Finding, Host
from ramshare.linux.proc import read
from ramshare.settings import BrokerSettings, unknown_variables

_PROGRAMS = ("ramshare-agent", "ramshare.launch")
_SHORT_LIVED = frozenset({"--check", "--mount", "--home"})
"""With these an agent's program ends by itself and holds no connection of the agent's."""


@dataclass(frozen=True)
class Patient:
    """One role on one machine, and how its parts are looked at. Tests give their own."""

    role: str
    host: Host
    settings: Callable[[], BrokerSettings]
    """Loads every setting of the role. Raises `RamshareError` for what cannot be used."""
    try_account: Callable[[BrokerSettings], None]
    """Connects once. Raises what a refusal or a missing broker raises."""
    certificate: Callable[[BrokerSettings], str] = lambda _settings: ""
    """Looks at the account's certificate: returns what is to be warned of. Raises what makes it useless."""
    checks: tuple[Check[Any], ...] = registry.CHECKS


def examine(patient: Patient, *, broker: bool = True) -> list[Finding]:
    """Return what works against the agent, what stops it first; `broker`: also whether the broker lets it in."""
    settings, found = _settings(patient)
    found += registry.findings(patient.role, patient.host, patient.checks)
    if settings is not None:
        found += (of_it := _certificate(patient, settings))
        if broker and not any(finding.blocks for finding in of_it):
            found += _broker(patient, settings)
    return sorted(found, key=lambda finding: not finding.blocks)


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """Return what a command ends with: what the first finding that stops the agent says, or that all is well."""
    return next((finding.exit_code for finding in findings if finding.blocks), ExitCode.OK)


def _settings(patient: Patient) -> tuple[BrokerSettings | None, list[Finding]]:
    try:
        settings = patient.settings()
        return settings, _unknown_variables()
    except RamshareError as error:
        return None, [_stops(error, "the settings")]


def _unknown_variables() -> list[Finding]:
    """Variables that look like settings and are none: what they were to set is not set."""
    unknown = unknown_variables()
    meant = [f"{name} (did you mean {alike}?)" if alike else name for name, alike in unknown.items()]
    if not meant:
        return []
    what, mend = (
        f"no such setting: {', '.join(meant)}",
        "`ramshare run --help` lists every setting; look into the environment and the settings file",
    )
    return [Finding(what, mend, blocks=True, exit_code=ExitCode.USAGE, check="the settings")]


def _certificate(patient: Patient, settings: BrokerSettings) -> list[Finding]:
    try:
        warning = patient.certificate(settings)
    except RamshareError as error:
        return [_stops(error, "the certificate")]
    mend = f"on the brokers' machine: ramshare broker renew {settings.client}, then copy its bundle here again"
    return [Finding(warning, mend, check="the certificate")] if warning else []


def _broker(patient: Patient, settings: BrokerSettings) -> list[Finding]:
    """Ask an agent that runs, by what it told systemd; connect in the place of one that does not."""
    if _runs(patient):
        return _says_itself(patient)
    try:
        patient.try_account(settings)
    except RamshareError as error:
        return [_stops(error, "the broker")]
    return []


def _runs(patient: Patient) -> bool:
    """Whether the agent runs on this machine: a second connection under its name would throw it out."""
    for place in (patient.host.root / "proc").glob("[0-9]*/cmdline"):
        try:
            words = read(place).split("\0")
        except OSError:
            continue
        named = any(word.endswith(_PROGRAMS) and role == patient.role for word, role in pairwise(words))
        if named and not _SHORT_LIVED.intersection(words):
            return True
    return False


def _says_itself(patient: Patient) -> list[Finding]:
    unit = f"ramshare-{patient.role}.service"
    argv = ["systemctl", "show", "--property=ActiveState,StatusText", unit]
    try:
        shown = patient.host.runner.run(argv).stdout
    except RamshareError:
        return []  # no systemd here: nobody to ask
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    status = said.get("StatusText", "")
    if said.get("ActiveState") == "inactive" or status.startswith("online"):
        return []
    what = f"the {patient.role} runs and is not online: {status or 'its broker has not answered yet'}"
    mend = f"journalctl -u {unit} -n 20 says why"
    return [Finding(what, mend, blocks=True, exit_code=ExitCode.NO_BROKER, check="the broker")]


def _stops(error: RamshareError, check: str) -> Finding:
    mend = error.hint or "mend that, then look again"
    return Finding(error.message, mend, blocks=True, exit_code=error.exit_code, check=check)
