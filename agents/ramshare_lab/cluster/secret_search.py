"""Whether any secret of a running lab lies where none may be: logs, databases with retained topics, process lists.

Secrets are collected where they are kept by design (a lender's records, password files, private keys, the keys of
dm-crypt), and looked for, in every form in which one may leak, in everything else. What is found is named by what it is
and where; the secret itself is never shown.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.run import Commands
from ramshare_lab.cluster.lab import Lab

LARGEST_BYTES = 64 << 20
"""Larger files are RAM images and disks: pages of swap, which is another matter."""
SHORTEST = 8
"""A secret shorter than that would be found everywhere."""
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(.+?)\s+-----END", re.S)
_PROCESSES = ("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; dmesg; dmsetup table; true")
_CRYPT_KEYS = ("dmsetup", "table", "--showkeys", "--target", "crypt")


@dataclass(frozen=True)
class Secret:
    """One secret and what it is."""

    what: str
    value: bytes

    def forms(self) -> set[bytes]:
        """Return how it may stand in a text: as it is, in base64, in hexadecimal."""
        encoded = base64.b64encode(self.value).rstrip(b"=")
        hexadecimal = self.value.hex().encode()
        return {self.value, encoded, hexadecimal, hexadecimal.upper()}


@dataclass(frozen=True)
class Searched:
    """What a search went through, and what it found: one sentence each, empty if all is well."""

    secrets: int
    places: int
    found: tuple[str, ...]


def search(secrets: Iterable[Secret], places: Iterable[tuple[str, bytes]]) -> Searched:
    """Look for every secret in every place (name, content)."""
    forms = {form: secret for secret in secrets if len(secret.value) >= SHORTEST for form in secret.forms()}
    count, found = 0, []
    for place, content in places:
        count += 1
        found += [f"{secret.what} is in {place}" for form, secret in forms.items() if form in content]
    return Searched(len({secret.value for secret in forms.values()}), count, tuple(sorted(set(found))))


def in_files(directory: Path) -> tuple[list[Secret], list[tuple[str, bytes]]]:
    """Return the secrets that files keep by design, and all other files: a record that keeps one is no place for it."""
    secrets, places = [], []
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            continue
        content, where = path.read_bytes(), str(path.relative_to(directory))
        kept = list(_kept(path, content, where))
        if kept:
            secrets += kept
        else:
            places.append((where, content))
    return secrets, places


def _kept(path: Path, content: bytes, where: str) -> Iterator[Secret]:
    private = not path.stat().st_mode & 0o077
    for key in _KEY.findall(content):
        lines = key.split()
        yield Secret(f"the private key {where}", max(lines, key=len))
    if private and path.suffix == ".json":
        yield from _chap(content)
    if private and len(content) <= 200 and re.fullmatch(rb"[\x21-\x7e]{12,}\s*", content):
        yield Secret(f"the password {where}", content.strip())


def _chap(content: bytes) -> Iterator[Secret]:
    try:
        fields = json.loads(content)
    except ValueError:
        return
    if not isinstance(fields, dict):
        return
    for name, value in fields.items():
        if "secret" in name and isinstance(value, str):
            yield Secret(f"{name} of {fields.get('lease', 'a lease')}", value.encode())


def crypt_keys(table: str) -> Iterator[Secret]:
    """Return the keys in the output of `dmsetup table --showkeys`: raw, as the kernel has them."""
    for line in table.splitlines():
        words = line.split()
        key = words[words.index("crypt") + 2 :][:1] if "crypt" in words else []
        if key and re.fullmatch(r"([0-9a-f]{2}){8,}", key[0]):
            yield Secret(f"the key of {words[0].rstrip(':')}", bytes.fromhex(key[0]))


def search_lab(lab: Lab, more: Iterable[tuple[str, bytes]] = ()) -> Searched:
    """Search a running lab: its directory, the processes of this machine and of its virtual machines, and `more`."""
    secrets, places = in_files(lab.state_dir)
    machines: list[tuple[str, Commands]] = [("this machine", lab.runner)]
    machines += [(vm.spec.name, vm.shell) for vm in lab.vms.values()]
    for name, runner in machines:
        secrets += crypt_keys(_told(runner, _CRYPT_KEYS))
        places.append((f"the processes and the kernel's words of {name}", _told(runner, _PROCESSES).encode()))
    return search(secrets, [*places, *more])


def _told(runner: Commands, argv: tuple[str, ...]) -> str:
    return runner.run(argv, timeout_s=30.0, ok=range(256)).stdout
