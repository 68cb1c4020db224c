"""The formats on the wire: bytes go in, events come out. Pure."""
