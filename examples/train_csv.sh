#!/usr/bin/env bash
# Upload a CSV file of 1,797 handwritten digits and train with a fifth of it as validation data.
set -euo pipefail
source "$(dirname "$0")/common.sh"

if ! call "$URL/datasets/digits" > /dev/null 2>&1; then
  call "$URL/datasets?name=digits&label=digit" -H 'Content-Type: text/csv' \
    --data-binary "@$(dirname "$0")/digits.csv" | pretty
fi
job=$(call "$URL/train" -d '{
  "model": {"name": "digits", "hidden": [64, 64]},
  "data": {"dataset": "digits"},
  "validation": {"fraction": 0.2},
  "epochs": 30,
  "checkpoint": {"every_epochs": 10, "keep": 2}
}' | field id)
call "$URL/jobs/$job?wait=60" | pretty
