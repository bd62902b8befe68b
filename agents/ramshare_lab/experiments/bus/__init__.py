"""What a request and its reply cost."""
