#!/usr/bin/env bash
# Define a model with 2 inputs, one hidden layer and three classes. Sending the same definition again is allowed.
set -euo pipefail
source "$(dirname "$0")/common.sh"

call "$URL/models" -d '{
  "name": "colors",
  "inputs": 2,
  "classes": ["red", "green", "blue"],
  "layers": [{"type": "dense", "units": 16}, {"type": "relu"}, {"type": "dense", "units": 3}, {"type": "softmax"}],
  "optimizer": {"type": "adam", "learning_rate": 0.01}
}' | pretty
