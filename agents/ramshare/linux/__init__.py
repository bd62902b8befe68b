"""One module per tool or kernel interface of the host; `run.py` is the only one that starts processes."""
