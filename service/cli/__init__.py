"""The command line: processes and upkeep."""
