# Used by the other scripts: the URL of the service and three small functions.
URL=${SERVICE_URL:-http://127.0.0.1:8000}

# Send a request and print the response. If the request fails, print the error on standard error and return non-zero.
call() {
  local status=0 answer
  answer=$(mktemp)
  curl --silent --show-error --fail-with-body --output "$answer" "$@" || status=$?
  if [ "$status" = 0 ]; then cat "$answer"; else cat "$answer" >&2; fi
  rm "$answer"
  return "$status"
}

# Print a field of the JSON object on standard input: field data 0 id → .data[0].id. Fails without a message if the
# input is empty because a call failed.
field() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda d, k: d[int(k) if isinstance(d, list) else k], sys.argv[1:], json.loads(sys.stdin.read() or sys.exit(1))))' "$@"; }

# Indent the JSON on standard input; lists of numbers stay on one line.
pretty() { python3 -c 'import json, re, sys; print(re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), json.dumps(json.loads(sys.stdin.read() or sys.exit(1)), indent=2, ensure_ascii=False)))'; }
