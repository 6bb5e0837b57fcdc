#!/bin/sh
# Usage: sh feed.sh PROGRAM SCRATCHDIR
# A member hears what is said, the history grows from run to run, and what is uploaded is what the
# command sum says of it: nothing at all, a few bytes, and more than fits into any buffer.
set -eu
program=$1
scratch=$2
db=$scratch/feed.db

fail() {
    printf 'feed: %s\n' "$*" >&2
    exit 1
}

said='ann: is anybody here?
bob: I am'
past=

expect() { # uploads $scratch/in
    past=${past:+$past
}$said
    size=$(wc -c <"$scratch/in")
    sum=$(sum <"$scratch/in" | cut -d ' ' -f 1 | sed 's/^0*\(.\)/\1/')
    wanted="heard
$said
history
$past
$sum $((size))"
    out=$("$program" "$db" <"$scratch/in") || fail "fails"
    [ "$out" = "$wanted" ] || fail "prints '$out', not '$wanted'"
}

rm -rf "$db" "$db"-*
: >"$scratch/in"
expect
printf 'abc' >"$scratch/in"
expect
awk 'BEGIN { for (i = 0; i < 300000; i++) print i, i * 7 }' >"$scratch/in"
expect

# Input that breaks off is not stored, and does not look like an end.
if "$program" "$db" <"$scratch" >"$scratch/out" 2>"$scratch/err"; then
    fail "a directory can be uploaded"
fi
grep -F 'cannot be read' "$scratch/err" >/dev/null || fail "prints '$(cat "$scratch/err")'"
