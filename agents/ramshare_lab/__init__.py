"""The lab: the whole cluster on one machine, and everything that is measured and broken in it. Not in the product."""
