"""How the encrypted device over a leased disk is called, and how it is told from other device-mapper devices."""

DIRECTORY = "/dev/mapper/"
PREFIX = "ramshare-"
UUID_PREFIX = "CRYPT-"
"""Of what libcryptsetup makes."""


def mapper_name(lease: str) -> str:
    """Return the device-mapper name of a lease's encrypted device."""
    return f"{PREFIX}{lease}"


def mapper_of(lease: str) -> str:
    """Return the path of a lease's encrypted device."""
    return f"{DIRECTORY}{mapper_name(lease)}"
