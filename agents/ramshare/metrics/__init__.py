"""Prometheus metrics of an agent: off unless asked for, read-only, and without a part in what the agent decides.

They are taken where an agent meets the world: what it says on the bus (`bus.py`), and how long its steps took. An agent
without metrics imports none of this but `off.py`.
"""
