"""A cluster of hundreds of hosts replayed from recorded memory use, in virtual time, under several ways of lending."""
