#!/bin/sh
# Usage: sh service.sh PROGRAM SCRATCHDIR
# The singleton counts its starts; SIGTERM ends the program in order, with code 0; a
# kill -9 loses no start that was printed.
set -eu
program=$1
scratch=$2
db=$scratch/service.db

fail() {
    printf 'service: %s\n' "$*" >&2
    kill -9 "$dog" 2>/dev/null || true
    exit 1
}

start() { # leaves the pid in $pid, and its output to be read from descriptor 4
    rm -f "$scratch/fifo"
    mkfifo "$scratch/fifo"
    "$program" "$db" >"$scratch/fifo" &
    pid=$!
    (
        trap 'kill "$nap"; exit' TERM
        sleep 120 &
        nap=$!
        wait "$nap"
        kill -9 "$pid"
    ) >/dev/null 2>&1 &
    dog=$!
    exec 4<"$scratch/fifo"
}

line() { # EXPECTED-LINE
    got=
    IFS= read -r got <&4 || fail "ends, where '$1' is expected"
    [ "$got" = "$1" ] || fail "prints '$got', not '$1'"
}

finish() { # EXPECTED-STATUS
    status=0
    wait "$pid" || status=$?
    [ "$status" = "$1" ] || fail "ends with $status, not $1"
    kill "$dog" 2>/dev/null || true
    exec 4<&-
}

rm -rf "$db" "$db"-*
start
line 'start 1'
kill -TERM "$pid"
line 'stopped'
finish 0
start
line 'start 2'
kill -9 "$pid"
finish 137
start
line 'start 3'
kill -TERM "$pid"
line 'stopped'
finish 0
