"""What the tests share: a broker in memory with the rules of the real one, fakes of tools, hosts and worlds."""
