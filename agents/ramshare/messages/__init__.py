"""Wire models: frozen pydantic classes without any I/O, one file per kind of channel."""
