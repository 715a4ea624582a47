"""HDF5 files: one module per layout, durable writes, and reading of untrusted files."""
