#!/usr/bin/env bash
# Show the history of the newest job of the model colors: one record per epoch, here the last three.
set -euo pipefail
source "$(dirname "$0")/common.sh"

"$(dirname "$0")/train_inline.sh" > /dev/null
job=$(call "$URL/jobs?model=colors&limit=1" | field data 0 id)
call -H 'Accept: application/x-ndjson' "$URL/jobs/$job/history" | tail -n 3
