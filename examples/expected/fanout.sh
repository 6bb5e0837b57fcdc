#!/bin/sh
# Usage: sh fanout.sh PROGRAM SCRATCHDIR
set -eu
program=$1
scratch=$2
db=$scratch/fanout.db

rm -rf "$db" "$db"-*
for run in 1 2; do
    out=$("$program" "$db")
    if [ "$out" != '{"sum":4950,"missing":0}' ]; then
        printf 'fanout: run %s prints %s\n' "$run" "$out" >&2
        exit 1
    fi
done
