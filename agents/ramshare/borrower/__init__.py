"""The borrower: puts a live swap volume on leases and brings it home."""
