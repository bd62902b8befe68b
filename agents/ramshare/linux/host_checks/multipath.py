"""Whether multipath leaves leased disks alone: a map over one takes it away from LVM.

Every lease has a WWID of its own, so two are never taken for two paths to one disk; but where maps are made of single
paths, too, or a disk is claimed until it is known to have one path only, that does not help. How multipath decides
stands in multipath.conf(5): a path is left out if anything of the blacklist names it that no exception of the same kind
(device, wwid, protocol, devnode) takes back.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ramshare.linux.disk_identity import NAA_PREFIX, PRODUCT, VENDOR
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.run import CommandError

CONFIGURATION = "/etc/multipath/conf.d/ramshare.conf"
MEND = (
    f'mkdir -p /etc/multipath/conf.d && printf \'blacklist {{\\n device {{\\n  vendor "^{VENDOR}"\\n'
    f'  product "^{PRODUCT}"\\n }}\\n wwid "^3{NAA_PREFIX}"\\n}}\\n\' > {CONFIGURATION} && '
    f"multipathd reconfigure && sed -i '/^.3{NAA_PREFIX}/d' /etc/multipath/wwids"
)
"""Writes the file, ends maps over leased disks, and takes those out of multipath's list of all that it ever mapped: LVM
goes by it and refuses such a disk as a multipath component."""
MAPS_EVERYTHING = frozenset({"no", "off", "greedy"})
"""Values of `find_multipaths` with which a single path is mapped at once."""

_OURS = {
    "wwid": (f"3{NAA_PREFIX}" + "0" * 25, f"3{NAA_PREFIX}" + "f" * 25),
    "protocol": ("scsi:iscsi",),
    "devnode": ("sdb", "sdq", "sdaa"),
}
"""Leased disks, as each kind of entry names them: only what names all of these names every leased disk."""


@dataclass(frozen=True)
class MultipathFacts:
    """What multipath goes by, as it says itself; None where there is none."""

    config: str | None
    """`multipathd show config`, or `multipath -t` where the daemon does not run."""


@dataclass
class _Section:
    name: str
    values: list[tuple[str, str]] = field(default_factory=list)
    inner: list["_Section"] = field(default_factory=list)


def observe(host: Host) -> MultipathFacts:
    """Ask the daemon, which may go by older files than those that lie there; else what the next one would go by."""
    if not any((host.root / place).exists() for place in ("usr/sbin/multipath", "sbin/multipath", "usr/bin/multipath")):
        return MultipathFacts(None)
    if (host.root / "run/multipathd.pid").exists():  # else asking would have systemd start it
        with contextlib.suppress(CommandError):
            return MultipathFacts(host.runner.run(["multipathd", "show", "config"]).stdout)
    return MultipathFacts(host.runner.run(["multipath", "-t"]).stdout)


def judge(facts: MultipathFacts) -> list[Finding]:
    """Say if leased disks are not left out; where single paths are mapped, no lease could be used."""
    if facts.config is None or leaves_out(facts.config):
        return []
    mode = _last(parse(facts.config), "defaults", "find_multipaths")
    if mode in MAPS_EVERYTHING:
        what = f"multipath makes a map of every leased disk (find_multipaths {mode}), and LVM cannot have the disk then"
        return [Finding(what, MEND, blocks=True)]
    return [Finding(f"multipath is not told to leave leased disks alone (find_multipaths {mode or 'unset'})", MEND)]


def leaves_out(config: str) -> bool:
    """Whether a configuration keeps every leased disk out of multipath."""
    sections = parse(config)
    excluded, excepted = _of(sections, "blacklist"), _of(sections, "blacklist_exceptions")
    if any(map(_names_device, excluded)) and not any(map(_names_device, excepted)):
        return True
    return any(
        all(_named(excluded, kind, ours) for ours in samples) and not any(_named(excepted, kind, x) for x in samples)
        for kind, samples in _OURS.items()
    )


def parse(config: str) -> list[_Section]:
    """Return the outermost sections of a configuration; lines that say nothing are passed over."""
    top = _Section("")
    _read(iter(config.splitlines()), top)
    return top.inner


def _read(lines: Iterator[str], into: _Section) -> None:
    for raw in lines:
        line = re.sub(r'^((?:[^"#!]|"[^"]*")*)[#!].*$', r"\1", raw).strip()
        if line == "}":
            return
        if line.endswith("{"):
            inner = _Section(line[:-1].strip())
            into.inner.append(inner)
            _read(lines, inner)
        elif line:
            name, _, value = line.partition(" ") if " " in line else line.partition("\t")
            into.values.append((name, value.strip().strip('"')))


def _of(sections: list[_Section], name: str) -> list[_Section]:
    return [section for section in sections if section.name == name]


def _last(sections: list[_Section], section: str, name: str) -> str:
    found = [value for part in _of(sections, section) for key, value in part.values if key == name]
    return found[-1] if found else ""


def _named(sections: list[_Section], kind: str, ours: str) -> bool:
    return any(_matches(value, ours) for part in sections for key, value in part.values if key == kind)


def _names_device(section: _Section) -> bool:
    for device in _of(section.inner, "device"):
        said = dict(device.values)
        if said and _matches(said.get("vendor", ""), VENDOR) and _matches(said.get("product", ""), PRODUCT):
            return True
    return False


def _matches(pattern: str, text: str) -> bool:
    """Whether multipath takes `text` for `pattern`: an extended regular expression, `!` before it inverts."""
    wanted = not pattern.startswith("!")
    try:
        return bool(re.search(pattern.removeprefix("!"), text)) is wanted
    except re.error:
        return False
