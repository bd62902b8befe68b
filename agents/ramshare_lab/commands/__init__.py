"""The groups that the lab adds to `ramshare`; each experiment's own command stands in its folder."""
