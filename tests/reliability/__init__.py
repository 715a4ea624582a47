"""Short forms of the promises of docs/reliability.md."""
