#!/usr/bin/env bash
# Download the newest checkpoint of the model colors and read it with h5py.
set -euo pipefail
source "$(dirname "$0")/common.sh"

"$(dirname "$0")/train_inline.sh" > /dev/null
checkpoint=$(call "$URL/models/colors/checkpoints?limit=1" | field data 0 id)
file=$(mktemp --suffix=.h5)
call "$URL/checkpoints/$checkpoint/file" > "$file"
python=$(dirname "$0")/../.venv/bin/python
"$([ -x "$python" ] && echo "$python" || echo python3)" "$(dirname "$0")/read_checkpoint.py" "$file"
rm "$file"
