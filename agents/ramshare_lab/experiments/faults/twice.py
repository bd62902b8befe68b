"""An agent to which the broker delivers every request twice, as MQTT may at QoS 1: `python -m …faults.twice ROLE`."""

import sys

from ramshare.bus.core import CoreBus
from ramshare.bus.wire import Packet
from ramshare.launch import main

_once = CoreBus.on_packet


def _twice(bus: CoreBus, packet: Packet) -> None:
    _once(bus, packet)
    if "/request/" in packet.topic:
        _once(bus, packet)


if __name__ == "__main__":
    setattr(CoreBus, "on_packet", _twice)  # noqa: B010 (a method of a class that is not ours to change)
    sys.exit(main())
