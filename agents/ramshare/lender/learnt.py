"""Keeps what the policy has learnt over a restart of the lender, beside the exports on the RAM file system.

A host that starts anew learns anew; a lender that was only restarted goes on where it was. A file that is missing or
damaged costs the knowledge and nothing else. `read` and `write` are for the worker thread, the rest for the loop.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

from ramshare.linux.plain_file import create_plain, read_plain
from ramshare.policy.model import Policy

log = logging.getLogger(__name__)

SAVE_EVERY_S = 180.0
FILE_NAME = "learnt-by-policy"
"""Not `.json`: those beside it are records of exports."""
MAX_BYTES = 16 << 20
"""A snapshot of one host is some 100 KB; what is larger is none of ours."""


class Learnt:
    """A policy's knowledge and its file. Neither `read` nor `write` raises for what the file system does."""

    def __init__(self, path: Path, policy: Policy) -> None:
        self._path = path
        self._policy = policy
        self._next_s = 0.0

    def read(self) -> Any:
        """Return what the file holds, None for nothing that could be used."""
        try:
            return json.loads(read_plain(self._path, MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            log.warning("what the policy had learnt is lost: %s: %s", self._path, error)
            return None

    def restore(self, found: Any) -> None:
        """Hand the policy what was read."""
        if found is not None:
            self._policy.restore(found)

    def due(self, now_s: float) -> bool:
        """Return whether it is time to save: every few minutes, the first time after one such time."""
        due = 0.0 < self._next_s <= now_s
        if due or self._next_s == 0.0:
            self._next_s = now_s + SAVE_EVERY_S
        return due

    def snapshot(self) -> str:
        """Return what the file is to hold."""
        return json.dumps(self._policy.snapshot())

    def write(self, snapshot: str) -> None:
        """Save, in one step."""
        part = self._path.with_name(self._path.name + ".part")
        try:
            with os.fdopen(create_plain(part), "w") as stream:
                stream.write(snapshot)
            part.replace(self._path)
        except OSError as error:
            log.warning("cannot save what the policy has learnt: %s", error)
