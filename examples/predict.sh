#!/usr/bin/env bash
# Request predictions from the newest version, which is the default, and from a given version or alias.
set -euo pipefail
source "$(dirname "$0")/common.sh"

"$(dirname "$0")/train_inline.sh" > /dev/null
echo "two rows, with the two most probable classes of each:"
call "$URL/predict" -d '{"model": "colors", "inputs": [[0.9, 0.1], [0.1, 0.8]], "top_k": 2}' | pretty
echo "one row as a flat array, from version 1:"
call "$URL/predict" -d '{"model": "colors", "inputs": [0.1, 0.1], "version": 1}' | pretty
echo "an alias, and a prediction from it:"
call -X PUT "$URL/models/colors/aliases/stable" -d '{"version": 1}' | pretty
call "$URL/predict" -d '{"model": "colors", "inputs": [0.1, 0.1], "version": "stable"}' | pretty
