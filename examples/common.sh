# Read by the other scripts: where the service is, and three small helpers.
URL=${SERVICE_URL:-http://127.0.0.1:8000}

# One request; prints the answer, or fails with the problem that the service tells, on standard error.
call() {
  local status=0 answer
  answer=$(mktemp)
  curl --silent --show-error --fail-with-body --output "$answer" "$@" || status=$?
  if [ "$status" = 0 ]; then cat "$answer"; else cat "$answer" >&2; fi
  rm "$answer"
  return "$status"
}

# A field of the JSON object on standard input: field data 0 id → .data[0].id. Fails quietly where a failed call gave nothing.
field() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda d, k: d[int(k) if isinstance(d, list) else k], sys.argv[1:], json.loads(sys.stdin.read() or sys.exit(1))))' "$@"; }

# JSON on standard input, indented; long lists of numbers stay on one line.
pretty() { python3 -c 'import json, re, sys; print(re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), json.dumps(json.loads(sys.stdin.read() or sys.exit(1)), indent=2, ensure_ascii=False)))'; }
