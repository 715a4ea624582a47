#!/usr/bin/env bash
# Train on rows in the request and wait until the job has ended.
set -euo pipefail
source "$(dirname "$0")/common.sh"

"$(dirname "$0")/define.sh" > /dev/null
job=$(call "$URL/train" -d '{
  "model": "colors",
  "data": {
    "inputs": [[0.9, 0.1], [0.8, 0.0], [1.0, 0.2], [0.1, 0.9], [0.0, 0.8], [0.2, 1.0], [0.1, 0.1], [0.0, 0.2], [0.2, 0.0]],
    "labels": ["red", "red", "red", "green", "green", "green", "blue", "blue", "blue"]
  },
  "epochs": 200,
  "batch_size": "full"
}' | field id)
call "$URL/jobs/$job?wait=30" | pretty
