#!/bin/sh
# Writes the table of settings in README.md from `linkroom --help`, so that the two agree.
# With --check it only compares them.
set -eu
cd "$(dirname "$0")/.."

program=${CARGO_TARGET_DIR:-target}/debug/linkroom
begin='<!-- settings: written by make settings-table -->'
end='<!-- /settings -->'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One option of the help is a line with its flag, then its description, then [env: …] and
# [default: …], if it has them.
table() {
  echo '| Setting | Default | Meaning |'
  echo '|---|---|---|'
  env -i "$program" --help | awk '
    function flush() {
      if (name != "") printf "| `%s` | %s | %s |\n", name, value, text
      name = value = text = ""
    }
    /^ +(-[a-zA-Z], )?--/ { flush(); next }
    /^ +\[env: / { sub(/^ +\[env: /, ""); sub(/=?\]$/, ""); name = $0; next }
    /^ +\[default: / { sub(/^ +\[default: /, ""); sub(/\]$/, ""); value = "`" $0 "`"; next }
    /^ +Possible values:$/ { text = text ":"; next }
    /^ +- / { sub(/^ +- /, ""); sub(/^[^:]*/, "`&`"); gsub(/ +/, " "); text = text (text ~ /:$/ ? " " : "; ") $0; next }
    NF { sub(/^ +/, ""); gsub(/\|/, "\\|"); text = text (text == "" ? "" : " ") $0 }
    END { flush() }'
}

# The README with everything between the two marks replaced by standard input.
with_table() {
  awk -v begin="$begin" -v end="$end" -v table="$work/table" '
    $0 == end { inside = 0 }
    !inside { print }
    $0 == begin { inside = 1; while ((getline line < table) > 0) print line }' README.md
}

table >"$work/table"
with_table >"$work/README.md"
if [ "${1:-}" = --check ]; then
  diff -u README.md "$work/README.md" || {
    echo "README.md and linkroom --help differ: run make settings-table" >&2
    exit 1
  }
else
  cat "$work/README.md" >README.md
fi
