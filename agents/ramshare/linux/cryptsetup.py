"""Encryption between a leased disk and LVM (dm-crypt in plain mode): a lender keeps pages that it cannot read.

There is no header and no passphrase: the key is random, goes to the kernel by standard input, is kept nowhere and dies
with the machine. Encryption hides pages from the lender and the wire; it does not notice that they were changed there.

Swap on it makes progress when memory is short: dm-crypt encrypts into pages of a mempool of its own, on work queues
with a rescuer (`WQ_MEM_RECLAIM`; kernel: drivers/md/dm-crypt.c). Used by the borrower.
"""

import base64
import secrets
from collections.abc import Callable

from ramshare.linux.crypt_names import mapper_name
from ramshare.linux.dm import Dmsetup, exists
from ramshare.linux.run import Commands

CIPHER = "aes-xts-plain64"
KEY_BITS = 512
"""Of XTS, so AES-256. A hash of just that length makes the key of the random text on standard input."""
HASH = "sha512"
_TIMEOUT_S = 60.0


class Cryptsetup:
    """Encrypted devices over leased disks. Every operation may be repeated."""

    def __init__(self, runner: Commands, exists: Callable[[str], bool] = exists) -> None:
        """Take what says whether there is a device-mapper device of a name."""
        self._runner = runner
        self._dm = Dmsetup(runner)
        self._exists = exists

    def open(self, lease: str, disk: str) -> None:
        """Put the lease's encrypted device over `disk`, under a new key.

        One that is left over another disk goes first; raises `CommandError` if that is in use.
        """
        self.close(lease)
        key = base64.b64encode(secrets.token_bytes(KEY_BITS // 8)).decode()
        argv = ["cryptsetup", "open", "--batch-mode", "--type", "plain", "--cipher", CIPHER]
        argv += ["--key-size", str(KEY_BITS), "--hash", HASH]
        # The lender sees which blocks are read and written anyway; told which are free, it has their memory back.
        argv += ["--allow-discards", disk, mapper_name(lease)]
        self._runner.run(argv, timeout_s=_TIMEOUT_S, stdin=key, secrets=[key])

    def close(self, lease: str, *, when_unused: bool = False) -> None:
        """Take the lease's encrypted device, and its key, away; none is success.

        One that is in use is a `CommandError`, or is left to the kernel for the moment when nobody uses it.
        """
        # Mostly there is none, and a process costs much while swap storms.
        if self._exists(mapper_name(lease)):
            self._dm.remove(mapper_name(lease), deferred=when_unused, patient=True)
