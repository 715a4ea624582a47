#!/usr/bin/env bash
# Import a checkpoint file as the next version of the model colors. Here, the file is downloaded first.
set -euo pipefail
source "$(dirname "$0")/common.sh"

"$(dirname "$0")/train_inline.sh" > /dev/null
checkpoint=$(call "$URL/models/colors/checkpoints?limit=1" | field data 0 id)
file=$(mktemp --suffix=.h5)
call "$URL/checkpoints/$checkpoint/file" > "$file"
call "$URL/models/colors/checkpoints" --data-binary "@$file" -H 'Content-Type: application/x-hdf5' | pretty
rm "$file"
