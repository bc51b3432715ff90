#!/bin/sh
# Mutation test of the chaos test: applies each patch in mutations/ to a copy of the source, one
# after the other, and expects the chaos test to fail.
#
# usage: tests/chaos/bite.sh [FOLDER [PATCH…]]   FOLDER keeps the copy, its build and the logs
set -eu
cd "$(git rev-parse --show-toplevel)"
folder=${1:-$(mktemp -d)}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- tests/chaos/mutations/*.patch
mkdir -p "$folder/copy"
git ls-files -co --exclude-standard | while IFS= read -r file; do
    [ ! -e "$file" ] || echo "$file"
done | tar -cf - -T - | tar -xf - -C "$folder/copy"
export CARGO_TARGET_DIR="$folder/target"

missed=0
for patch; do
    name=$(basename "$patch" .patch)
    log=$folder/$name.log
    patch --quiet --no-backup-if-mismatch -p1 -d "$folder/copy" <"$patch"
    (cd "$folder/copy" && cargo test --locked --test chaos --no-run) >"$log" 2>&1
    if (cd "$folder/copy" && cargo test --locked --test chaos) >>"$log" 2>&1; then
        echo "$name: NOT caught, see $log"
        missed=1
    else
        echo "$name: caught by"
        grep -o '^\[[^]]*\]' "$log" | sort | uniq -c
    fi
    patch --quiet --no-backup-if-mismatch -p1 -R -d "$folder/copy" <"$patch"
done
exit $missed
