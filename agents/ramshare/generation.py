"""One manager's time in office, by which its orders are told from those of a manager that it replaced. Pure.

Managers claim them (`manager/leadership.py`), lenders refuse the orders of older ones (`lender/fence.py`).
"""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Generation:
    """Of two the newer one is the greater: by number, and of one number by name, so that no two managers are equal."""

    number: int = 0
    manager: str = ""


NONE = Generation()
"""Before any manager; a manager of an earlier version gives orders of number 0, too."""
