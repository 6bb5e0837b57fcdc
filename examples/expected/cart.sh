#!/bin/sh
# Usage: sh cart.sh PROGRAM SCRATCHDIR
# A cart is filled over several runs, ordered once, and empty afterwards; carts are apart.
set -eu
program=$1
scratch=$2
db=$scratch/cart.db

fail() {
    printf 'cart: %s\n' "$*" >&2
    exit 1
}

expect() { # EXPECTED-OUTPUT ARGUMENT...
    wanted=$1
    shift
    out=$("$program" "$db" "$@") || fail "'$*' fails"
    [ "$out" = "$wanted" ] || fail "'$*' prints '$out', not '$wanted'"
}

refused() { # EXPECTED-MESSAGE ARGUMENT...
    wanted=$1
    shift
    if "$program" "$db" "$@" >"$scratch/out" 2>"$scratch/err"; then
        fail "'$*' is not refused"
    fi
    grep -F -e "$wanted" "$scratch/err" >/dev/null || fail "'$*': $(cat "$scratch/err")"
}

rm -rf "$db" "$db"-*
expect '[]' ann show
expect '["milk"]' ann add '"milk"'
expect '["milk",3]' ann add 3
expect '[{"a":1}]' bob add '{"a":1}'
expect '["milk",3]' ann show
refused "what?" ann add
expect '["milk",3]' ann checkout
refused "the cart of 'ann' is empty" ann checkout
expect '[]' ann show
expect '[{"a":1}]' bob show
refused cart: ann no-such-method
refused cart: 'a/b' show
