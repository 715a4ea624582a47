# Read by the other scripts: where the service is, and three small helpers.
URL=${SERVICE_URL:-http://127.0.0.1:8000}

# One request; prints the answer, and fails with the problem that the service tells.
call() { curl --silent --show-error --fail-with-body "$@"; }

# A field of the JSON object on standard input: field job id → .job.id
field() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda d, k: d[k], sys.argv[1:], json.load(sys.stdin)))' "$@"; }

# JSON on standard input, indented; long lists of numbers stay on one line.
pretty() { python3 -c 'import json, re, sys; print(re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), json.dumps(json.load(sys.stdin), indent=2, ensure_ascii=False)))'; }
