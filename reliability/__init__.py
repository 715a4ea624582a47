"""What must hold under kills, power cuts, failing disks and hostile files: a module a promise, each with its figure."""
