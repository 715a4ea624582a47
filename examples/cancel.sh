#!/usr/bin/env bash
# Pause, resume, cancel and delete a long job. It stops between two batches; its checkpoints outlive it.
set -euo pipefail
source "$(dirname "$0")/common.sh"

until_state() { until [ "$(call "$URL/jobs/$job" | field state)" = "$1" ]; do sleep 0.1; done; echo "$1"; }
job=$(call "$URL/train" -d '{
  "model": {"name": "endless", "hidden": [32]},
  "data": {"inputs": [[0], [1], [2], [3]], "labels": ["low", "low", "high", "high"]},
  "epochs": 10000000
}' | field id)
until_state running
call -X POST "$URL/jobs/$job/pause" > /dev/null && until_state paused
call -X POST "$URL/jobs/$job/resume" > /dev/null && until_state running
call -X POST "$URL/jobs/$job/cancel" > /dev/null
call "$URL/jobs/$job?wait=30" | field state
echo "its newest checkpoint: $(call "$URL/jobs/$job" | field checkpoint)"
call -X DELETE "$URL/jobs/$job"
echo "deleted, with its events"
