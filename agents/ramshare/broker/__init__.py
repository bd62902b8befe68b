"""The brokers: who may do what, certificates, configuration, and the set of files that all of it makes up."""
