#!/bin/sh
# Usage: sh reminders.sh PROGRAM SCRATCHDIR
# One reminder for two additions, none after a checkout, each order shipped once though its first
# attempt fails, and nothing for an empty cart.
set -eu
program=$1
scratch=$2
db=$scratch/reminders.db

expect() { # NUMBER-SHIPPED
    cat >"$scratch/wanted" <<END
ann, you still have milk, bread in your cart
shipping milk, bread to ann (attempt 2)
shipping eggs to bob (attempt 2)
checkout: the cart of 'bob' is empty
$1 shipped
END
    "$program" "$db" >"$scratch/out" 2>"$scratch/err"
    diff "$scratch/wanted" "$scratch/out" >&2 || {
        cat "$scratch/err" >&2
        exit 1
    }
}

rm -rf "$db" "$db"-*
expect 2
expect 4
