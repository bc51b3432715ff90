#!/bin/sh
# Installs what `make run`, `make watch` or `make test` needs and this machine lacks.
#
#   scripts/setup.sh run     a C compiler (Rust's linker) and redis-server
#   scripts/setup.sh watch   also entr, which runs a command when files change
#   scripts/setup.sh cluster   also nginx
#   scripts/setup.sh test    also Chromium, fonts, Node.js, nginx, OpenSSL, Prometheus, Python, rustfmt and
#                            clippy; and in target/python what tests/openapi needs
#
# Installed programs are left as they are, whatever their version. If nothing is missing, it prints
# nothing and changes nothing.
set -eu
cd "$(dirname "$0")/.."

have() { command -v "$1" >/dev/null 2>&1; }

missing=
# want COMMAND PACKAGE...: notes the packages if the command is missing.
want() {
  have "$1" && return
  shift
  missing="$missing $*"
}

want_for_running() {
  want cc gcc libc6-dev
  want redis-server redis-server
}

# Its folder is not in everybody's PATH.
want_nginx() {
  [ -x /usr/sbin/nginx ] || want nginx nginx-light
}

want_for_testing() {
  want_for_running
  want setpriv util-linux
  want chromium chromium
  want node nodejs
  want npm npm
  want openssl openssl
  want_nginx
  want promtool prometheus
  # Debian's Python lacks the module for virtual environments.
  python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3 python3-venv"
  # Without fonts for them Chromium draws Korean and emoji as empty boxes.
  has_korean_font || missing="$missing fonts-noto-cjk"
  has_emoji_font || missing="$missing fonts-noto-color-emoji"
}

has_korean_font() {
  have fc-list && fc-list :lang=ko | grep -q .
}

has_emoji_font() {
  have fc-list && fc-list :lang=und-zsye | grep -q .
}

fail() {
  echo "setup: $*" >&2
  exit 1
}

install_packages() {
  have apt-get || fail "please install (named here as in Debian):$missing"
  sudo=
  if [ "$(id -u)" -ne 0 ]; then
    sudo=sudo
    have sudo || fail "root or sudo is needed to install:$missing"
  fi
  echo "setup: installing$missing"
  log=$(mktemp)
  trap clean_up EXIT
  forbid_services
  # shellcheck disable=SC2086 # the packages are words
  if ! { apt_get update && apt_get install --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    fail "apt-get could not install:$missing"
  fi
  if [ "$policy" ] && have systemctl; then
    for service in redis-server nginx prometheus; do
      case "$missing" in
        *"$service"*) $sudo systemctl --quiet disable "$service.service" 2>/dev/null || true ;;
      esac
    done
  fi
}

apt_get() {
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 "$@"
}

# Debian starts the services that it installs, now and at every boot. linkroom starts a
# redis-server of its own, or uses the one that you run; a third one is not wanted.
policy=
forbid_services() {
  [ -e /usr/sbin/policy-rc.d ] && return
  policy=/usr/sbin/policy-rc.d
  printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
  $sudo chmod 755 "$policy"
}

clean_up() {
  rm -f "$log"
  [ -z "$policy" ] || $sudo rm -f "$policy"
}

add_rust_component() {
  cargo "$1" --version >/dev/null 2>&1 && return
  have rustup || fail "please install cargo-$1"
  rustup --quiet component add "$2"
}

# Only the versions and hashes in the list.
install_python_tools() {
  list=tests/openapi/requirements.txt
  tools=target/python
  if cmp -s "$list" "$tools/installed" && "$tools/bin/python" -c ''; then return; fi
  echo "setup: installing $list into $tools"
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$list"
  cp "$list" "$tools/installed"
}

have cargo || fail "please install Rust: https://rustup.rs"
case "${1:-}" in
  run) want_for_running ;;
  cluster)
    want_for_running
    want_nginx
    ;;
  watch)
    want_for_running
    want entr entr
    ;;
  test)
    want_for_testing
    add_rust_component fmt rustfmt
    add_rust_component clippy clippy
    ;;
  *) fail "use: scripts/setup.sh run|cluster|watch|test" ;;
esac
[ -z "$missing" ] || install_packages
[ "$1" != test ] || install_python_tools
