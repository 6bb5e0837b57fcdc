#!/bin/sh
# Usage: sh upgrade.sh PROGRAM SCRATCHDIR
# Version 1 stores; version 2 takes that over, again and again; version 1 refuses what version 2
# stored. Version 2 alone starts from zero.
set -eu
program=$1
scratch=$2
db=$scratch/upgrade.db

fail() {
    printf 'upgrade: %s\n' "$*" >&2
    exit 1
}

expect() { # EXPECTED-OUTPUT ARGUMENT...
    wanted=$1
    shift
    out=$("$program" "$@") || fail "'$*' fails"
    [ "$out" = "$wanted" ] || fail "'$*' prints '$out', not '$wanted'"
}

rm -rf "$db" "$db"-* "$scratch/new.db" "$scratch/new.db"-*
expect 'ada has 1250' "$db" 1
expect 'ada has 1250' "$db" 1
expect 'ada has 1250, flags 0' "$db" 2
expect 'ada has 1250, flags 0' "$db" 2
expect ' has 0, flags 0' "$scratch/new.db" 2
if "$program" "$db" 1 >"$scratch/out" 2>"$scratch/err"; then
    fail "version 1 takes the state of version 2"
fi
grep '(schema)' "$scratch/err" >/dev/null || fail "version 1: $(cat "$scratch/err")"
expect 'ada has 1250, flags 0' "$db" 2
