#!/usr/bin/env bash
# Evaluate a model on labelled rows, first on rows in the request and then on a dataset.
set -euo pipefail
source "$(dirname "$0")/common.sh"

"$(dirname "$0")/train_inline.sh" > /dev/null
echo "six new rows for the model colors, one of them with an unexpected label:"
call "$URL/evaluate" -d '{
  "model": "colors",
  "data": {
    "inputs": [[0.9, 0.0], [1.0, 0.1], [0.0, 0.9], [0.1, 1.0], [0.0, 0.0], [0.9, 0.1]],
    "labels": ["red", "red", "green", "green", "blue", "blue"]
  },
  "top_k": 2
}' | pretty
"$(dirname "$0")/train_dataset.sh" > /dev/null
echo "version 1 of the model corners on the dataset it was trained on:"
call "$URL/evaluate" -d '{"model": "corners", "version": 1, "data": {"dataset": "corners"}}' | pretty
