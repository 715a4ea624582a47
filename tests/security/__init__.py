"""Short forms of `make security`."""
