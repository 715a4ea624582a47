"""Kernels: how the calls of a training step run, one NumPy call after the other or compiled."""
