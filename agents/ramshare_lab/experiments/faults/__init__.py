"""The fault suite: what `ramshare lab faults` does to a running cluster, and how it judges the outcome."""
