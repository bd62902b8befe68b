"""The cluster on one machine: native hosts in network namespaces, virtual machines for those that swap or report."""
