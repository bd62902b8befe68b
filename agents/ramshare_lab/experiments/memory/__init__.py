"""The paper's microbenchmark on this machine, without a cluster."""
