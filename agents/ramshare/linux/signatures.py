"""What lies on a device that is not swap, so that nobody is told to format what holds somebody's data.

`blkid` reads the device itself (`--probe`), not its cache. Used by the borrower when it refuses a volume.
"""

from ramshare.errors import RamshareError
from ramshare.linux.run import Commands

_NOTHING_FOUND = 2
_SEVERAL = 8
"""blkid(8): nothing that it knows; more than one thing, so that it does not say which."""

_NAMES = {
    "LVM2_member": "an LVM physical volume",
    "crypto_LUKS": "an encrypted device (LUKS)",
    "linux_raid_member": "a member of an md RAID",
    "swsuspend": "a hibernated system",
    "swap": "swap of another machine's page size",
}


def found_on(runner: Commands, device: str) -> str | None:
    """Say what lies on `device`, as in "an ext4 file system (label data)"; empty if nothing that is known does.

    None if that cannot be found out: then it must be taken for somebody's.
    """
    argv = ["blkid", "--probe", "--output", "export", device]
    try:
        done = runner.run(argv, ok=(0, _NOTHING_FOUND, _SEVERAL))
    except RamshareError:
        return None
    if done.returncode == _SEVERAL:
        return "more than one thing (wipefs shows them)"
    found = dict(line.partition("=")[::2] for line in done.stdout.splitlines() if "=" in line)
    kind, table = found.get("TYPE", ""), found.get("PTTYPE", "")
    if kind:
        what = _NAMES.get(kind, f"{_article(kind)} {kind} file system" if _is_filesystem(found) else kind)
    elif table:
        what = f"a partition table ({table})"
    else:
        return ""
    label = found.get("LABEL", "").replace("\\", "")
    return f"{what} (label {label})" if label else what


def _is_filesystem(found: dict[str, str]) -> bool:
    return found.get("USAGE") == "filesystem"


def _article(word: str) -> str:
    return "an" if word[:1] in "aeiou" or word.startswith("xfs") else "a"
