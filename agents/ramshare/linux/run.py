"""The one place that starts processes.

Every other module hands argv lists to a `Runner` (`Commands` where nothing is left running); tests hand in a fake that
knows the commands it may see. Output is always in the C locale, secrets never reach a message or a log, and a failure
reads as a line to paste into a shell.
"""

import contextlib
import logging
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from ramshare.errors import MissingPartError, RamshareError

log = logging.getLogger(__name__)

MASK = "***"
DEFAULT_TIMEOUT_S = 60.0
SHOWN_MOST, SAID_MOST = 300, 3000
"""Characters of a command line, and of what the command said, that go into an error."""

PACKAGE_OF_TOOL = {
    "blkid": "util-linux",
    "blockdev": "util-linux",
    "busybox": "busybox-static",
    "cc": "gcc",
    "cpio": "cpio",
    "cryptsetup": "cryptsetup-bin",
    "depmod": "kmod",
    "dmsetup": "dmsetup",
    "dpkg-deb": "dpkg",
    "fio": "fio",
    "ip": "iproute2",
    "iscsiadm": "open-iscsi",
    "iscsid": "open-iscsi",
    "ldd": "libc-bin",
    "libvirtd": "libvirt-daemon",
    "linux.uml": "user-mode-linux",
    "losetup": "mount",
    "lvchange": "lvm2",
    "lvconvert": "lvm2",
    "lvcreate": "lvm2",
    "lvm": "lvm2",
    "lvremove": "lvm2",
    "lvs": "lvm2",
    "mkswap": "util-linux",
    "modprobe": "kmod",
    "mosquitto": "mosquitto",
    "mosquitto_passwd": "mosquitto",
    "mosquitto_sub": "mosquitto-clients",
    "mount": "mount",
    "pvchange": "lvm2",
    "pvcreate": "lvm2",
    "pvmove": "lvm2",
    "pvremove": "lvm2",
    "pvs": "lvm2",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "swapoff": "mount",
    "swapon": "mount",
    "tgtadm": "tgt",
    "tgtd": "tgt",
    "umount": "mount",
    "unshare": "util-linux",
    "vgcfgbackup": "lvm2",
    "vgcfgrestore": "lvm2",
    "vgextend": "lvm2",
    "vgreduce": "lvm2",
    "vgs": "lvm2",
    "virsh": "libvirt-clients",
}
"""Debian package that brings each tool, for the error that a missing one gets."""


@dataclass(frozen=True)
class Completed:
    """A finished command: its argv, exit status and what it printed."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str = ""
    stderr: str = ""


class CommandError(RamshareError):
    """A command ended with a status that its caller did not accept, or ran out of time.

    Its message holds all that the command said: the last line alone is often only "failed".
    """

    def __init__(self, done: Completed, reason: str, shown: str) -> None:
        cause = in_one_line(done.stderr) or in_one_line(done.stdout)
        line = shown if len(shown) <= SHOWN_MOST else f"{shown[:SHOWN_MOST]} …"
        super().__init__(f"{reason}: {line}" + (f": {cause}" if cause else ""))
        self.done = done


class Commands(Protocol):
    """Runs commands to their end; here, or in a virtual machine of the lab."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        ok: Sequence[int] = (0,),
        stdin: str = "",
        secrets: Sequence[str] = (),
    ) -> Completed:
        """Run to the end. Raises `CommandError` (a status outside `ok`, a time-out) or `MissingPartError` (no tool)."""
        ...


class Runner(Commands, Protocol):
    """Runs and starts commands; `SystemRunner` for real, `tests/kit/fakes.py` for tests."""

    def spawn(
        self,
        argv: Sequence[str],
        *,
        log_path: Path | None = None,
        env: Mapping[str, str] | None = None,
        die_with_parent: bool = False,
        pipes: bool = False,
    ) -> "subprocess.Popen[str]":
        """Start and return at once; output goes to `log_path`, to text pipes, or nowhere."""
        ...


def in_one_line(text: str) -> str:
    """Return what a command printed as one line: each different line once, in order."""
    said = "; ".join(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    return said if len(said) <= SAID_MOST else f"{said[: SAID_MOST // 2]} … {said[-SAID_MOST // 2 :]}"


def shown(argv: Sequence[str], secrets: Sequence[str] = ()) -> str:
    """Return `argv` as one shell line with every secret masked.

    LVM's `--config` is left out: it is long and only pins what a person's own line need not pin.
    """
    line = shlex.join(_without_config(argv))
    for secret in filter(None, secrets):
        line = line.replace(shlex.quote(secret), MASK).replace(secret, MASK)
    return line


def _without_config(argv: Sequence[str]) -> list[str]:
    words = list(argv)
    at = words.index("--config") if "--config" in words else len(words)
    if any(PACKAGE_OF_TOOL.get(Path(word).name) == "lvm2" for word in words[:at]):
        del words[at : at + 2]
    return words


def require_tools(tools: Sequence[str]) -> None:
    """Raise `MissingPartError` naming the Debian packages of the tools that are not on PATH."""
    missing = [tool for tool in tools if find_tool(tool) is None]
    if missing:
        raise MissingPartError(f"not installed: {', '.join(missing)}", f"apt-get install {packages_of(missing)}")


def packages_of(tools: Sequence[str]) -> str:
    """Return the Debian packages that bring the tools, as `apt-get install` takes them."""
    return " ".join(sorted({PACKAGE_OF_TOOL.get(tool, tool) for tool in tools}))


def find_tool(tool: str) -> str | None:
    """Return the absolute path of `tool`, looking in the system directories too (a service's PATH may lack them)."""
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin:/usr/bin:/bin")


def require_root(what: str) -> None:
    """Raise `MissingPartError` unless this process is root."""
    if os.geteuid() != 0:
        raise MissingPartError(f"{what} needs root", "run it with sudo")


class SystemRunner:
    """Runs commands on this machine, optionally all of them behind a prefix such as `ip netns exec NAME`."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._prefix = tuple(prefix)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        ok: Sequence[int] = (0,),
        stdin: str = "",
        secrets: Sequence[str] = (),
    ) -> Completed:
        """See `Runner.run`."""
        full = self._resolve(argv)
        line = shown(full, secrets)
        started = time.monotonic()
        try:
            done = subprocess.run(
                full,
                input=stdin,
                capture_output=True,
                # What tools print may hold names of others in any encoding.
                encoding="utf-8",
                errors="backslashreplace",
                timeout=timeout_s,
                env=_environment(None),
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            said = [_mask(_text(part), secrets) for part in (expired.stdout, expired.stderr)]
            raise CommandError(Completed(tuple(argv), -1, *said), f"no end after {timeout_s:g} s", line) from expired
        result = Completed(tuple(argv), done.returncode, _mask(done.stdout, secrets), _mask(done.stderr, secrets))
        log.debug("%s -> %d in %.2f s", line, done.returncode, time.monotonic() - started)
        if done.returncode not in ok:
            raise CommandError(result, f"exit status {done.returncode}", line)
        return result

    def spawn(
        self,
        argv: Sequence[str],
        *,
        log_path: Path | None = None,
        env: Mapping[str, str] | None = None,
        die_with_parent: bool = False,
        pipes: bool = False,
    ) -> "subprocess.Popen[str]":
        """See `Runner.spawn`. `die_with_parent` makes the kernel kill the child when this thread's process ends."""
        full = self._resolve(argv)
        if die_with_parent:
            full = [_tool("setpriv"), "--pdeathsig", "KILL", "--", *full]
        log.debug("start %s", shlex.join(full))
        with contextlib.ExitStack() as stack:
            out: IO[str] | int = subprocess.DEVNULL
            if log_path is not None:
                out = stack.enter_context(log_path.open("a"))
            return subprocess.Popen(
                full,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else out,
                stderr=subprocess.STDOUT if pipes else out,
                env=_environment(env),
                encoding="utf-8",
                errors="backslashreplace",
                bufsize=1,
            )

    def _resolve(self, argv: Sequence[str]) -> list[str]:
        full = [*self._prefix, *argv]
        return [_tool(full[0]), *full[1:]]


def _tool(name: str) -> str:
    path = find_tool(name)
    if path is None:
        require_tools([name])
        raise AssertionError("unreachable")
    return path


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", **(extra or {})}


def _text(part: str | bytes | None) -> str:
    """Return what a command that was ended had printed; Python hands it out undecoded."""
    return part.decode(errors="backslashreplace") if isinstance(part, bytes) else part or ""


def _mask(text: str, secrets: Sequence[str]) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, MASK)
    return text
