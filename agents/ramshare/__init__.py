"""ramshare lends the idle memory of one host to the live swap of another."""

__version__ = "0.1.0"
