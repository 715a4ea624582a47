"""Versions as files that other programs run: preprocessing and networks as one ONNX graph."""
