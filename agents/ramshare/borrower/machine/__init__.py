"""The borrower on its machine: looks, applies steps, cleans up after the dead. `api.py` says which thread does what."""
