"""The commands that README tells an administrator to type, read out of it."""

import re
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
TITLE = "On a real cluster"
EVERYWHERE = "every machine"
PLACES = {"the brokers' machine": "hosta", "host A": "hosta", "host X": "hostx", "guest web1": "web1"}
"""README's words for a machine to the one of the test that stands for it."""
INSTEAD = {
    "RESERVE_BYTES=4294967296": "RESERVE_BYTES=67108864",
    "COMMITTED_BYTES=8589934592": "COMMITTED_BYTES=134217728",
    "web1:2GiB": "web1:128MiB",
    "-L 4G": "-L 64M",
    "watch --for 60": "watch --for 2",
}
"""What README says, to what is typed on machines with less than a GiB of memory."""
INSTALLERS = ("apt-get ", "PIPX_HOME=")
"""How lines begin that bring something over the network."""


@dataclass(frozen=True)
class Block:
    """A block of commands, and where they are to be typed: its first line, `# on host A`."""

    where: str
    script: str


def section(title: str) -> str:
    """Return what stands below a heading of the second level. Raises `LookupError`."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"README has no section {title!r}")
    return found[1]


def blocks(text: str) -> list[Block]:
    """Return the blocks of shell commands in order. Raises `LookupError` for one that does not say where it belongs."""
    found = []
    for indent, body in re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        first, _, script = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE).partition("\n")
        if not first.startswith("# on "):
            raise LookupError(f"a block does not say where it is to be typed: {first!r}")
        found.append(Block(first.removeprefix("# on ").strip(), script))
    return found


def commands_for_small_machines() -> list[Block]:
    """Return README's blocks, sizes and times apart. Raises `LookupError` where README says something else by now."""
    found = blocks(section(TITLE))
    whole = "".join(block.script for block in found)
    for words in INSTEAD:
        if words not in whole:
            raise LookupError(f"README does not say {words!r} any more")
    return [Block(block.where, _replaced(block.script)) for block in found]


def is_installer(line: str) -> bool:
    """Whether a line brings something over the network."""
    return line.startswith(INSTALLERS)


def _replaced(script: str) -> str:
    for words, other in INSTEAD.items():
        script = script.replace(words, other)
    return script
