#!/usr/bin/env bash
# Define a model: 2 inputs, one hidden layer, three classes. The same definition again is fine.
set -euo pipefail
source "$(dirname "$0")/common.sh"

call "$URL/models" -d '{
  "name": "colors",
  "inputs": 2,
  "classes": ["red", "green", "blue"],
  "layers": [{"type": "dense", "units": 16}, {"type": "relu"}, {"type": "dense", "units": 3}, {"type": "softmax"}],
  "optimizer": {"type": "adam", "learning_rate": 0.01}
}' | pretty
