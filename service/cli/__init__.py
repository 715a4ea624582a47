"""The command line: processes, keys and upkeep."""
