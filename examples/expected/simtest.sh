#!/bin/sh
# Usage: sh simtest.sh PROGRAM SCRATCHDIR
# The version with the bug is found out, the one without it is not; a world can be repeated.
set -eu
program=$1
scratch=$2

fail() {
    printf 'simtest: %s\n' "$*" >&2
    exit 1
}

"$program" > "$scratch/out" 2> "$scratch/err" || fail "exit code $?"
seed=$(sed -n 's/^bad: world \([0-9]*\) has found it$/\1/p' "$scratch/out")
[ -n "$seed" ] || fail "the bug is not found"
grep -q '^good: 200 worlds, and the money is right in each$' "$scratch/out" || fail "good is bad"
grep -q "^francis_sim: to repeat it: ./simtest bad $seed\$" "$scratch/err" ||
    fail "nobody says how to repeat it"

hash_of() { # VERSION SEED
    "$program" "$@" 2> /dev/null | sed -n 's/^hash \([0-9a-f]\{16\}\)$/\1/p'
}

! "$program" bad "$seed" > /dev/null 2>&1 || fail "world $seed is not found out again"
[ -n "$(hash_of bad "$seed")" ] || fail "no hash"
[ "$(hash_of bad "$seed")" = "$(hash_of bad "$seed")" ] || fail "world $seed is another one now"
[ "$(hash_of good 1)" != "$(hash_of good 2)" ] || fail "all worlds are one"
