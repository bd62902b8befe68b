"""The lender: decides what a host can spare, exports it, takes it back."""
