#!/usr/bin/env bash
# Upload a dataset as JSON. Then define and train a model in one request; its inputs and classes come from the data.
set -euo pipefail
source "$(dirname "$0")/common.sh"

name=corners
if ! call "$URL/datasets/$name" > /dev/null 2>&1; then
  call "$URL/datasets" -d '{
    "name": "corners",
    "inputs": [[0, 0], [0, 1], [1, 0], [1, 1], [0.1, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.9]],
    "labels": ["same", "different", "different", "same", "same", "different", "different", "same"]
  }' | pretty
fi
job=$(call "$URL/train" -d '{
  "model": {"name": "corners", "hidden": [16]},
  "data": {"dataset": "corners"},
  "optimizer": {"type": "adam", "learning_rate": 0.02},
  "epochs": 300, "batch_size": "full"
}' | field id)
call "$URL/jobs/$job?wait=30" | pretty
