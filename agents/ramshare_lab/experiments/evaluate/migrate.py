"""What a cluster does without lending: nothing, or live migration of whole guests. Pure.

The paper's argument for lending is that a guest moves only to a host that has room for all of it: a cluster with enough
memory in pieces still swaps.
"""

import numpy as np

from ramshare_lab.experiments.evaluate.play import Outcome, Sums
from ramshare_lab.experiments.evaluate.scene import Floats, Scene


def stay(scene: Scene) -> Outcome:
    """Return what becomes of a scene in which every guest stays where it is."""
    return _run(scene, migrating=False)


def migrate(scene: Scene) -> Outcome:
    """Return what becomes of it when a host that runs short sends its smallest guest that helps to where it fits.

    At most one guest leaves a host in a step. The freest host that has room for the whole guest gets it, and keeps it.
    """
    return _run(scene, migrating=True)


def _run(scene: Scene, *, migrating: bool) -> Outcome:
    sums, moved = Sums(scene), 0
    memory = np.array([host.memory_bytes for host in scene.hosts])
    guests: list[list[Floats]] = [list(host.guests_bytes) for host in scene.hosts]
    demand = np.array([host.demand_bytes for host in scene.hosts])
    for step in range(scene.warmup_steps, scene.warmup_steps + scene.steps):
        if migrating:
            for host in np.flatnonzero(demand[:, step] > memory):
                moved += _send_away(int(host), step, demand, memory, guests)
        short = np.clip(demand[:, step] - memory, 0.0, None)
        sums.add(float(np.minimum(demand[:, step], memory).sum()), float(short.sum()), 0.0)
    return sums.outcome("migration" if migrating else "disk", len(memory), migrations=moved)


def _send_away(host: int, step: int, demand: Floats, memory: Floats, guests: list[list[Floats]]) -> bool:
    room = memory - demand[:, step]
    short_bytes = -room[host]
    best = int(np.argmax(room))
    fitting = [guest for guest in guests[host] if 0 < guest[step] <= room[best]]
    helping = [guest for guest in fitting if guest[step] >= short_bytes] or fitting
    if not helping or best == host:
        return False
    chosen = min(helping, key=lambda guest: (abs(guest[step] - short_bytes), guest[step]))
    for number, other in enumerate(guests[host]):
        if other is chosen:
            del guests[host][number]
            break
    guests[best].append(chosen)
    demand[host] -= chosen
    demand[best] += chosen
    return True
