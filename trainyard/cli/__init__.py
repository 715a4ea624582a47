"""The command `trainyard`: a client of the service in a terminal, and the commands that run the service."""
