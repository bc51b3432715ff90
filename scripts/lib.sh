# What the scripts that run servers share. To be sourced in the repository's root, with `name` set, which begins
# every message. `work` is a folder of this run; it ends with the script, and so do `processes`, in their order.

work=$(mktemp -d)
processes=

stop() {
  trap - EXIT
  for process in $processes; do
    kill "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap stop EXIT

fail() {
  echo "$name: $*" >&2
  exit 1
}

# eventually COMMAND...: waits until it succeeds, 30 seconds at most.
eventually() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || return 1
    sleep 0.05
  done
}

# Starts a Redis of this run on `redis_port`. If another one uses the port, ours exits, and the next port is tried.
start_private_redis() {
  redis_port=$((20000 + $$ % 10000))
  for _ in 1 2 3 4 5; do
    redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --dir "$work" >"$work/redis.log" &
    processes="$! $processes"
    eventually grep -Eqs 'Ready to accept|Failed listening' "$work/redis.log" || true
    if grep -q 'Ready to accept' "$work/redis.log"; then return; fi
    redis_port=$((redis_port + 1))
  done
  fail "no private Redis: $(cat "$work/redis.log")"
}
