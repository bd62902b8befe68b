"""The borrower's hands on its host: looks, applies one step, cleans up after the dead. Runs on the worker thread."""
