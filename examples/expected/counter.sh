#!/bin/sh
# Usage: sh counter.sh PROGRAM SCRATCHDIR
# Each run counts one more; a database that cannot be opened is named on stderr, exit code 1.
set -eu
program=$1
scratch=$2
db=$scratch/counter.db

fail() {
    printf 'counter: %s\n' "$*" >&2
    exit 1
}

rm -rf "$db" "$db"-*
for n in 1 2 3; do
    out=$("$program" "$db") || fail "run $n fails"
    [ "$out" = "hello $n" ] || fail "run $n prints '$out'"
done

mkdir -p "$scratch/directory"
if "$program" "$scratch/directory" >"$scratch/out" 2>"$scratch/err"; then
    fail "a directory is accepted as a database"
fi
[ ! -s "$scratch/out" ] || fail "something is printed without a database"
grep '^counter: .' "$scratch/err" >/dev/null || fail "no message about the directory"
