"""A cluster on one machine: virtual machines, network namespaces, a broker, agents, and how all of it ends."""
