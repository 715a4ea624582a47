"""The HDF5 files: one module a layout, and how a file is written durably or read without trust."""
