#!/bin/sh
# Usage: sh sqlite_handle.sh PROGRAM SCRATCHDIR
# The actors and the application's own table live in one file.
set -eu
program=$1
scratch=$2
db=$scratch/site.db

rm -rf "$db" "$db"-*
for n in 1 2 3; do
    out=$("$program" "$db")
    if [ "$out" != "hits $n
visits $n" ]; then
        printf 'sqlite_handle: run %s prints %s\n' "$n" "$out" >&2
        exit 1
    fi
done
