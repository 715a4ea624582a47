"""Other servers that serve the same network: what each runs, in an environment of its own."""
