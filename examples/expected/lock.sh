#!/bin/sh
# Usage: sh lock.sh PROGRAM SCRATCHDIR
# Who waits gets the lock in the order of asking; who gave up is passed over.
set -eu
program=$1
scratch=$2
db=$scratch/lock.db

rm -rf "$db" "$db"-*
cat >"$scratch/wanted" <<'END'
ann: has it
eve: deadline
eve may not release: 'printer' is held by 'ann'
bob: has it
dan: has it
free: yes
END
for run in 1 2; do
    "$program" "$db" >"$scratch/out"
    if ! diff "$scratch/wanted" "$scratch/out" >&2; then
        printf 'lock: run %s prints other lines\n' "$run" >&2
        exit 1
    fi
done
