"""Our tags on logical volumes: what the operator wants, and the leases meant for it.

Kept in the volume group's own metadata on the local disk, so they outlive the agent and the machine, and are written
*before* the first login: whatever a crash leaves behind can be told from a stranger's work.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ramshare.borrower.plan.view import Goal
from ramshare.linux.lvm_state import LvmState
from ramshare.messages.state import Mode

PREFIX = "ramshare."
HOME_SUFFIX = "_ramshare_home"
"""Name of the placeholder volume that keeps a moved volume's place on the local disk."""


@dataclass(frozen=True)
class LeaseTag:
    """A lease that belongs to the volume; `size_bytes` is what the volume may put on it, `leg` where in a pair.

    A `lost` lease is one whose lender died or came back without it: it is only there to be cleaned up.
    """

    lease: str
    host: str
    size_bytes: int
    lost: bool = False
    leg: int = 0

    def __str__(self) -> str:
        leg = f":{self.leg}" if self.leg else ""
        return f"{PREFIX}{'lost' if self.lost else 'lease'}={self.lease}:{self.host}:{self.size_bytes}{leg}"

    def of_leg(self, leg: int) -> "LeaseTag":
        """Return the tag that takes this one's place when the lease is for that leg of a pair."""
        return replace(self, leg=leg)

    def as_lost(self) -> "LeaseTag":
        """Return the tag that takes this one's place when the lease is lost."""
        return replace(self, lost=True)


@dataclass(frozen=True)
class Terms:
    """On what terms a volume is borrowed for; a new loan's take the place of the last one's."""

    automatic: bool = False
    """The demand policy asked for it, which may bring it home again."""
    only_if_faster: bool = False
    """It is given back unused unless its leases are clearly faster than the local disk."""

    @property
    def tags(self) -> list[str]:
        """Return the tags that say so."""
        return [*([_AUTOMATIC] if self.automatic else []), *([_ONLY_IF_FASTER] if self.only_if_faster else [])]


PLAIN_TERMS = Terms()
"""A person's loan, without conditions."""


@dataclass(frozen=True)
class Tags:
    """All of our tags on one volume."""

    goal: Goal = Goal.HOME
    mode: Mode | None = None
    leases: tuple[LeaseTag, ...] = ()
    encrypt: bool = True
    """Whether leases that it gets are encrypted."""
    home: frozenset[str] = frozenset()
    """UUIDs of the local physical volumes that it lay on before it was attached: names change, disks do not."""
    part_bytes: int = 0
    """How much of the volume is to be on leases; 0 for all."""
    terms: Terms = PLAIN_TERMS
    present: bool = False


def pv_tag(lease: str) -> str:
    """Return the tag of the physical volume that is this lease."""
    return f"{PREFIX}lease={lease}"


PV_ENCRYPTED = f"{PREFIX}encrypted"
"""Tag of the physical volume of a lease whose pages are encrypted; its key dies with the machine."""
_NO_ENCRYPTION = f"{PREFIX}encrypt=no"
_AUTOMATIC = f"{PREFIX}by=policy"
_ONLY_IF_FASTER = f"{PREFIX}only=faster"
_WISHES = ("goal", "mode", "encrypt", "part", "by", "only")
WISHES = tuple(f"{PREFIX}{wish}=" for wish in _WISHES)
"""How tags begin that say what is wanted of a volume; a new wish takes the old one's place."""


def lease_of_pv(tags: Iterable[str]) -> str | None:
    """Return the lease that a physical volume is, or None for a local disk."""
    prefix = f"{PREFIX}lease="
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), None)


def encrypt_tags(encrypt: bool) -> list[str]:
    """Return the tags that say whether leases are encrypted from now on: none if they are."""
    return [] if encrypt else [_NO_ENCRYPTION]


def goal_tags(goal: Goal, mode: Mode) -> list[str]:
    """Return the tags that say what is wanted."""
    return [f"{PREFIX}goal={goal}", f"{PREFIX}mode={mode}"]


def home_tag(pv_uuid: str) -> str:
    """Return the tag that says which local physical volume a volume comes home to."""
    return f"{PREFIX}home={pv_uuid}"


def part_tags(part_bytes: int) -> list[str]:
    """Return the tag that says how much of the volume is to be on leases; none for all of it (0)."""
    return [f"{PREFIX}part={part_bytes}"] if part_bytes else []


def unencrypted(state: LvmState) -> frozenset[str]:
    """Return the leases that LVM gets as they are: those in a group without the mark, and those meant to join so."""
    joined = {lease: pv.tags for pv in state.pvs if (lease := lease_of_pv(pv.tags)) is not None}
    meant = {tag.lease for lv in state.lvs if not (tags := parse(lv.tags)).encrypt for tag in tags.leases}
    clear = {lease for lease, tags in joined.items() if PV_ENCRYPTED not in tags}
    return frozenset(clear | (meant - joined.keys()))


def ours(tags: Iterable[str]) -> list[str]:
    """Return those of a volume's tags that are ours."""
    return sorted(tag for tag in tags if tag.startswith(PREFIX))


def parse(tags: Iterable[str]) -> Tags:
    """Read a volume's tags; what is not ours or damaged is passed over."""
    goal, mode, leases, home, part_bytes = Goal.HOME, None, [], set(), 0
    mine = ours(tags)
    for tag in mine:
        key, _, value = tag.removeprefix(PREFIX).partition("=")
        if key == "goal" and value in set(Goal):
            goal = Goal(value)
        elif key == "mode" and value in set(Mode):
            mode = Mode(value)
        elif key == "part" and value.isdecimal():
            part_bytes = int(value)
        elif key == "home" and value:
            home.add(value)
        elif key in ("lease", "lost"):
            lease, host, size, leg = [*value.split(":"), "", "", ""][:4]
            if lease and host and size.isdigit():
                number = int(leg) if leg in ("1", "2") else 0
                leases.append(LeaseTag(lease, host, int(size), lost=key == "lost", leg=number))
    return Tags(
        goal=goal,
        mode=mode,
        leases=tuple(sorted(leases, key=lambda tag: tag.lease)),
        encrypt=_NO_ENCRYPTION not in mine,
        home=frozenset(home),
        part_bytes=part_bytes,
        terms=Terms(_AUTOMATIC in mine, _ONLY_IF_FASTER in mine),
        present=bool(mine),
    )
