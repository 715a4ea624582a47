#!/usr/bin/env bash
# Ask how far answers can be trusted, and why they are as they are. The version has five members, and each one has held
# out a fifth of the rows.
set -euo pipefail
source "$(dirname "$0")/common.sh"

if ! call "$URL/datasets/passengers" > /dev/null 2>&1; then
  awk 'BEGIN {
    srand(1); print "age,sex,fare,survived"
    for (row = 0; row < 400; row++) {
      age = int(rand() * 80); sex = rand() < 0.6 ? "male" : "female"; fare = int(rand() * rand() * 200)
      chance = (sex == "female") * 2 + (age < 12) * 1.5 + fare / 100 - 1.5 + (rand() - 0.5) * 2
      print age "," sex "," fare "," (chance > 0 ? "yes" : "no")
    }
  }' | call "$URL/datasets?name=passengers&label=survived" -H 'Content-Type: text/csv' --data-binary @- > /dev/null
fi
job=$(call "$URL/train" -d '{
  "model": {"name": "passengers", "hidden": [16]}, "data": "passengers", "folds": 5, "epochs": 20
}' | field id)
call "$URL/jobs/$job?wait=60" | field state
echo "two rows, one of which is like no other: sets that cover 9 of 10 rows, uncertainty, report and reasons:"
call "$URL/predict" -d '{
  "model": "passengers",
  "rows": [{"age": 31, "sex": "male", "fare": 8}, {"age": 300, "sex": "female", "fare": 4000}],
  "coverage": 0.9, "uncertainty": true, "report": true, "explain": true
}' | pretty
echo "a file of rows, with a column of sets and one of uncertainty:"
printf 'age,sex,fare\n31,male,8\n9,female,70\n' |
  call "$URL/predict?model=passengers&coverage=0.9&uncertainty=true" -H 'Content-Type: text/csv' --data-binary @-
echo "what the sets cover of the rows of a dataset, and what the version relies on:"
call "$URL/evaluate" -d '{"model": "passengers", "data": "passengers", "coverage": 0.9, "importance": true}' |
  python3 -c 'import json, sys; found = json.load(sys.stdin); print(json.dumps({name: found[name] for name in ("sets", "importance")}))' |
  pretty
