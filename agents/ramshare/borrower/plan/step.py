"""What the borrower's files ask of any step of a plan; the steps themselves are in `steps.py`. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, dataclass_transform

from ramshare.messages.events import EventKind

WORKING_S = 1.0
"""Between two looks at a volume that the kernel, a lender or the manager is working on."""
STEADY_S = 30.0
"""Between two looks at a volume that is where it should be; its sessions are watched every second.

LVM itself is asked less often, see `machine/lvm_cache.py`."""


@dataclass(frozen=True)
class Leaving:
    """A lease that goes as soon as nothing lies on it."""

    lease: str
    lender: str
    device: str

    def __str__(self) -> str:
        return self.lease


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class AnyStep:
    """A step changes LVM, is told as a step and followed by a look at once, unless its class says something else.

    Every subclass is a frozen dataclass.
    """

    says: ClassVar[str]
    """The step as a sentence; fields are filled in by name."""
    event: ClassVar[EventKind | None] = EventKind.STEP
    """What is told when it was applied; None if it is no news."""
    look_again_s: ClassVar[float] = 0.0
    """How long until the next look; a step that seems to have had no effect is not repeated before `WORKING_S`."""
    retry_s: ClassVar[float | None] = None
    """How long until the next try after it failed; None for longer and longer."""
    uses_lvm: ClassVar[bool] = True
    """Whether LVM has a part in it: then LVM must be asked first, what it said a while ago is not enough."""
    waits_for_writes: ClassVar[bool] = False
    """Whether the volume's I/O stops until all writes under way are done, see `write_backlog.py`."""
    cuts_off: ClassVar[bool] = False
    """Whether what it gives back is in the volume group still."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    @property
    def given_back(self) -> tuple[Leaving, ...]:
        """Leases (a field `leaving`) that their lenders can have back as soon as the step was applied."""
        leaving: tuple[Leaving, ...] = vars(self).get("leaving", ())
        return leaving

    @property
    def about_lease(self) -> str | None:
        """The one lease (a field `lease`) that the step is about."""
        return vars(self).get("lease")

    @property
    def progress_percent(self) -> float:
        """How far the work is that people wait for (a field or attribute `percent`)."""
        return getattr(self, "percent", 0.0)

    def __str__(self) -> str:
        """Return the sentence; a field `note` says what is out of the ordinary."""
        fields = vars(self)
        sentence = self.says.format(**{name: _shown(name, value) for name, value in fields.items()})
        return f"{sentence}: {fields['note']}" if fields.get("note") else sentence


def _shown(name: str, value: object) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / (1 << 20):.0f} MiB"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none known"
    return str(value)
