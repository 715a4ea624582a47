#!/usr/bin/env bash
# Try twelve learning rates and networks side by side, stop the bad ones early, and predict with the best one.
set -euo pipefail
source "$(dirname "$0")/common.sh"

if ! call "$URL/datasets/digits" > /dev/null 2>&1; then
  call "$URL/datasets?name=digits&label=digit" -H 'Content-Type: text/csv' \
    --data-binary "@$(dirname "$0")/digits.csv" > /dev/null
fi
job=$(call "$URL/sweeps" -d '{
  "train": {"data": "digits", "model": {"name": "best-digits"}, "optimizer": "adam", "epochs": 9},
  "search": {"type": "halving", "trials": 12, "factor": 3},
  "over": {
    "/optimizer/learning_rate": {"min": 0.0001, "max": 0.1, "scale": "log"},
    "/model/hidden": [[32], [64], [64, 64]]
  }
}' | field id)
call "$URL/jobs/$job?wait=60" > /dev/null
call "$URL/jobs/$job" | field state
best=$(call "$URL/jobs/$job" | field best member)
echo "trial $best of 12: $(call "$URL/jobs/$job" | field members $((best - 1)) values)"
echo "right on held-out rows: $(call "$URL/jobs/$job" | field metrics validation_accuracy)"
