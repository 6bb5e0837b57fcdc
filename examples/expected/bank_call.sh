#!/bin/sh
# Usage: sh bank_call.sh PROGRAM SCRATCHDIR
# A transfer is booked once however often it is asked for; a refused one gives the money back; one
# without funds books nothing.
set -eu
program=$1
scratch=$2
db=$scratch/bank.db

fail() {
    printf 'bank_call: %s\n' "$*" >&2
    exit 1
}

expect() { # EXPECTED-STATUS EXPECTED-OUTPUT ARGUMENT...
    status=$1
    wanted=$2
    shift 2
    got=0
    out=$("$program" "$db" "$@") || got=$?
    [ "$got" = "$status" ] || fail "'$*' ends with $got, not $status: $out"
    [ "$out" = "$wanted" ] || fail "'$*' prints '$out', not '$wanted'"
}

rm -rf "$db" "$db"-*
expect 0 'sent
alice 3750
bob 1250' 1250 tx-1
expect 0 'sent
alice 3750
bob 1250' 1250 tx-1
expect 0 "refused: there is no account 'carol'
alice 3750
bob 1250" 50 tx-2 carol
expect 1 'alice is short: 3750 cents, 3751 needed
alice 3750
bob 1250' 3751 tx-3
expect 0 'sent
alice 0
bob 5000' 3750 tx-4
