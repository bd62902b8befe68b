"""Keeps what the policy has learnt over a restart of the lender, beside the exports on the RAM file system.

A host that starts anew learns anew; a lender that was only restarted goes on where it was. A file that is missing or
damaged costs the knowledge and nothing else.
"""

import json
import logging
from pathlib import Path

from ramshare.policy.model import Policy

log = logging.getLogger(__name__)

SAVE_EVERY_S = 180.0
FILE_NAME = "learnt-by-policy"
"""Not `.json`: those beside it are records of exports."""
MAX_BYTES = 16 << 20
"""A snapshot of one host is some 100 KB; what is larger is none of ours."""


class Learnt:
    """The file. Nothing of it raises."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next_s = 0.0

    def restore(self, policy: Policy) -> None:
        """Hand the policy what it knew."""
        try:
            if self._path.stat().st_size > MAX_BYTES:
                raise ValueError("it is too large")
            policy.restore(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            log.warning("what the policy had learnt is lost: %s: %s", self._path, error)

    def save_if_due(self, policy: Policy, now_s: float) -> None:
        """Save every few minutes; the first time after one such time."""
        if self._next_s == 0.0:
            self._next_s = now_s + SAVE_EVERY_S
        elif now_s >= self._next_s:
            self._next_s = now_s + SAVE_EVERY_S
            self.save(policy)

    def save(self, policy: Policy) -> None:
        """Save now, in one step."""
        part = self._path.with_name(self._path.name + ".part")
        try:
            part.write_text(json.dumps(policy.snapshot()))
            part.replace(self._path)
        except (OSError, ValueError) as error:
            log.warning("cannot save what the policy has learnt: %s", error)
