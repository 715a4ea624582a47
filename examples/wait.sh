#!/usr/bin/env bash
# Wait for a job in two ways: with one request that returns when the job has ended, and by following its events.
set -euo pipefail
source "$(dirname "$0")/common.sh"

job=$(call "$URL/train" -d '{
  "model": {"name": "waiting", "hidden": [8]},
  "data": {"inputs": [[0], [1], [2], [3]], "labels": ["low", "low", "high", "high"]},
  "epochs": 5
}' | field id)
echo "at the end: $(call "$URL/jobs/$job?wait=30" | field state)"
echo "its events, a stream that ends with the job:"
curl --silent --show-error --fail-with-body --no-buffer "$URL/jobs/$job/events" -H 'Accept: text/event-stream'
