"""Networks in files of other programs, ONNX and skops: read without trust, and made checkpoints of a model."""
