#!/bin/sh
# Runs linkroom on a Redis Cluster of three primaries and three replicas, with three nodes behind the
# balancer of deploy/, all as processes of this machine. Ctrl-C ends everything and removes its data.
#
# PORT is that of the balancer (8080), REDIS_PORT the first of the cluster's six (7101).
set -eu
cd "$(dirname "$0")/.."

program=${CARGO_TARGET_DIR:-target}/debug/linkroom
port=${PORT:-8080}
first=${REDIS_PORT:-7101}
nodes=
name=cluster
. scripts/lib.sh

# SIGINT ends a node without the time that its clients have to move to another one.
stop_nodes() {
  for process in $nodes; do kill -INT "$process" 2>/dev/null || true; done
  for process in $nodes; do wait "$process" 2>/dev/null || true; done
  stop
}
trap stop_nodes EXIT
trap 'exit 0' INT TERM

start_redis() {
  mkdir "$work/$1"
  redis-server --port "$1" --bind 127.0.0.1 --dir "$work/$1" --save '' --appendonly yes \
    --cluster-enabled yes --cluster-node-timeout 2000 --cluster-require-full-coverage no >"$work/$1/log" &
  processes="$! $processes"
}

is_whole() {
  for number in 0 1 2 3 4 5; do
    redis-cli -p $((first + number)) CLUSTER INFO 2>/dev/null | grep -q cluster_state:ok || return 1
  done
}

start_cluster() {
  addresses=
  for number in 0 1 2 3 4 5; do
    start_redis $((first + number))
    addresses="$addresses 127.0.0.1:$((first + number))"
  done
  for number in 0 1 2 3 4 5; do
    log=$work/$((first + number))/log
    eventually grep -Eqs 'Ready to accept|Failed listening' "$log" || fail "$(cat "$log")"
    grep -q 'Ready to accept' "$log" || fail "$(grep 'Failed' "$log"); set REDIS_PORT"
  done
  # shellcheck disable=SC2086 # the addresses are words
  redis-cli --cluster create $addresses --cluster-replicas 1 --cluster-yes >"$work/log" 2>&1 ||
    fail "$(cat "$work/log")"
  eventually is_whole || fail "the cluster does not come up: $(cat "$work/log")"
}

start_node() {
  REDIS_URL=redis-cluster://127.0.0.1:$first?node=127.0.0.1:$((first + 1))\&node=127.0.0.1:$((first + 2)) \
    LISTEN_ADDR=127.0.0.1:0 TRUSTED_PROXIES=127.0.0.1 "$program" >"$work/$1.out" 2>"$work/$1.log" &
  nodes="$nodes $!"
  eventually grep -qs 'linkroom: open' "$work/$1.out" || fail "$(cat "$work/$1.log")"
  url=$(sed 's/.*open //' "$work/$1.out")
  eventually "$program" health --url "$url" >"$work/$1.health" || fail "$(cat "$work/$1.health")"
  servers="${servers:-}server ${url#http://} max_fails=0; "
}

# The shipped configuration, with these nodes in place of its two.
start_balancer() {
  nginx=$(command -v nginx || echo /usr/sbin/nginx)
  temporary=$(for kind in client_body proxy fastcgi uwsgi scgi; do
    printf '%s_temp_path %s/%s; ' $kind "$work" $kind
  done)
  sed -e "s|server node-a:8080 .*|$servers|" -e '/server node-b:8080 /d' \
    -e "s|listen 8080;|listen 127.0.0.1:$port;|" -e "s|access_log off;|& $temporary|" \
    deploy/nginx.conf >"$work/nginx.conf"
  "$nginx" -p "$work" -c "$work/nginx.conf" -e "$work/nginx.log" \
    -g "daemon off; pid $work/nginx.pid;" &
  processes="$! $processes"
  eventually "$program" health --live --url "http://127.0.0.1:$port" >"$work/health" ||
    fail "$(cat "$work/health" "$work/nginx.log"); if the port is taken, set PORT"
}

start_cluster
for letter in a b c; do start_node $letter; done
start_balancer
cat <<END
linkroom: open http://127.0.0.1:$port

Which shard holds the room abc12345:
  redis-cli -c -p $first EVAL "return string.match(redis.call('INFO', 'server'), 'tcp_port:%d+')" 1 'room:{ab}c12345'
Its shards, their slots and replicas:
  redis-cli --cluster check 127.0.0.1:$first

Ctrl-C ends everything.
END
# Not until a first one ends: kill a Redis or a node, and see that the others go on.
wait
