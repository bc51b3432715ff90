#!/bin/sh
# Runs the README's tour as a reader would paste it, against a private node and a private Redis,
# and compares what is printed with what the README shows.
#
# Between `<!-- tour -->` and `<!-- /tour -->` every ```sh block is run, all in one shell, and the
# ```text block after it is what it prints. Ids, tokens, times and counts differ from run to run
# and are not compared. A ```shell block stays open until Ctrl-C, and is not run.
set -eu
cd "$(dirname "$0")/.."

program=${CARGO_TARGET_DIR:-target}/debug/linkroom
name=readme-tour
. scripts/lib.sh

start_node() {
  REDIS_URL=redis://127.0.0.1:$redis_port LISTEN_ADDR=127.0.0.1:0 "$program" \
    >"$work/node.out" 2>"$work/node.log" &
  processes="$! $processes"
  eventually grep -qs 'linkroom: open' "$work/node.out" || fail "$(cat "$work/node.log")"
  node_port=$(sed 's/.*://' "$work/node.out")
  eventually curl -sf -o "$work/ready" "http://127.0.0.1:$node_port/readyz" || fail "never ready"
}

# Maps the reader's localhost:8080 to our node, and redis-cli to our Redis, with the output format
# of a terminal.
curl() { command curl --connect-to "localhost:8080:127.0.0.1:$node_port" "$@"; }
redis_cli() { command redis-cli -p "$redis_port" --no-raw "$@"; }

# Writes the blocks to NN.sh, and their expected output to NN.text.
cut_blocks() {
  awk -v work="$work" '
    /^<!-- tour -->$/ { tour = 1 }
    /^<!-- \/tour -->$/ { tour = 0 }
    /^```/ && file != "" { file = ""; next }
    tour && /^```sh$/ { block++; file = sprintf("%s/%02d.sh", work, block) }
    tour && /^```text$/ { file = sprintf("%s/%02d.text", work, block) }
    file != "" && !/^```/ { print > file }' README.md
}

# Replaces values that differ from run to run by their kind.
leave_out_chance() {
  sed -E \
    -e 's/lr_[A-Za-z0-9._-]+/TOKEN/g' \
    -e 's/[0-9]{13}-[0-9]+/MESSAGE/g' \
    -e 's/"[0-9a-f]{16}"/"SESSION"/g' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/TIME/g' \
    -e 's/^retry: [0-9]+/retry: N/' \
    -e 's/\(integer\) [0-9]+/(integer) N/g' \
    -e 's/"roomId":"[0-9A-Za-z]+"/"roomId":"ROOM"/g' \
    -e 's|/r/[0-9A-Za-z]+|/r/ROOM|g' |
    awk 1 # ends the last line
}

start_private_redis
start_node
cut_blocks
[ -e "$work/01.sh" ] || fail "README.md has no tour"
alias redis-cli=redis_cli
for block in "$work"/??.sh; do
  # A reader's shell continues after an error.
  set +eu
  # shellcheck disable=SC1090 # the blocks are in README.md
  . "$block" >"$block.printed" 2>&1
  set -eu
  [ -e "${block%.sh}.text" ] || : >"${block%.sh}.text"
  leave_out_chance <"${block%.sh}.text" >"$block.expected"
  leave_out_chance <"$block.printed" >"$block.compared"
  diff -u --label README.md --label printed "$block.expected" "$block.compared" || {
    echo "--- the block:" >&2
    cat "$block" >&2
    fail "this prints something else than README.md shows"
  }
done
echo "readme-tour: $(find "$work" -name '??.sh' | wc -l) blocks print what README.md shows"
