#!/bin/sh
# Builds the image of the Dockerfile with buildah, and checks it: it is small, it has no other
# program than linkroom, and a node in it works. Nothing is kept but target/image.
#
#   scripts/image.sh               from the base that the Dockerfile names
#   scripts/image.sh debootstrap   from a base of Debian's packages and this machine's Rust, where no
#                                  registry of images is within reach; needs root
set -eu
cd "$(dirname "$0")/.."

# Maximum bytes of the image.
most=40000000

place=$PWD/target/image
name=image
. scripts/lib.sh

for program in buildah redis-server curl; do
  command -v $program >/dev/null || fail "please install $program"
done
# Files that are copied, not mounted over each other: that works where mounting is forbidden, as in a container.
mkdir -p "$place"
export CONTAINERS_STORAGE_CONF="$place/storage.conf"
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "vfs"
graphroot = "$place/storage"
runroot = "$place/run"
END

# Debian with a C compiler. Rust is mounted at build time.
make_base() {
  command -v debootstrap >/dev/null || fail "please install debootstrap"
  if ! buildah inspect --type image linkroom-base >/dev/null 2>&1; then
    echo "image: making a base with debootstrap"
    debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev bookworm "$work/debian" \
      >"$work/log" 2>&1 || fail "$(tail -5 "$work/log")"
    base=$(buildah from scratch)
    buildah add --quiet "$base" "$work/debian" / >/dev/null
    buildah config --env PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      --env CARGO_HOME=/usr/local/cargo "$base"
    buildah commit --quiet --rm "$base" linkroom-base >/dev/null
  fi
  set -- --build-arg RUST=localhost/linkroom-base \
    --volume "$(rustc --print sysroot):/usr/local/rust:ro" \
    --volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry"
  build "$@"
}

build() {
  buildah build --isolation chroot --format docker --tag linkroom "$@" .
}

case "${1:-}" in
  '') build ;;
  debootstrap) make_base ;;
  *) fail "use: scripts/image.sh [debootstrap]" ;;
esac

container=$(buildah from localhost/linkroom)
root=$(buildah mount "$container")
bytes=$(du --summarize --bytes "$root" | cut -f1)
[ "$bytes" -lt "$most" ] || fail "it has $bytes bytes, more than $most"
others=$(find "$root" -type f -perm /111 ! -name linkroom ! -name '*.so*')
[ -z "$others" ] || fail "there are programs: $others"

start_private_redis
# By its name: names are resolved in the image too.
port=$((redis_port + 7))
buildah config --env REDIS_URL="redis://localhost:$redis_port" --env LISTEN_ADDR="127.0.0.1:$port" "$container"
buildah run --isolation chroot "$container" -- linkroom >"$work/node.log" 2>&1 &
node=$!
processes="$node $processes"
is_healthy() {
  buildah run --isolation chroot "$container" -- linkroom health >"$work/health" 2>&1
}
eventually is_healthy || fail "it is not ready: $(cat "$work/health" "$work/node.log")"
curl -sf "http://127.0.0.1:$port/" | grep -q '<title>' || fail "it has no web client"
# Without certificates, the reason would be another one.
buildah run --isolation chroot "$container" -- linkroom health --url "https://localhost:$redis_port" >"$work/tls" 2>&1 || true
! grep -q certificate "$work/tls" || fail "$(cat "$work/tls")"
files=$(find "$root" -type f | wc -l)
kill "$node"
wait "$node" || true
buildah rm "$container" >/dev/null
echo "image: linkroom has $bytes bytes in $files files; $(cat "$work/health")"
