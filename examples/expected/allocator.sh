#!/bin/sh
# Usage: sh allocator.sh PROGRAM SCRATCHDIR
# A call that finds no memory fails alone; afterwards all works; nothing is left over.
set -eu
program=$1
scratch=$2
db=$scratch/device.db

rm -rf "$db" "$db"-*
cat >"$scratch/wanted" <<'END'
ping: ok
keep: ok
keep, little memory: no_memory
keep, again: ok
watchdog: fed
left over: 0 bytes
END
if ! "$program" "$db" >"$scratch/out" 2>"$scratch/err"; then
    cat "$scratch/err" >&2
    exit 1
fi
diff "$scratch/wanted" "$scratch/out" >&2
grep '^<3> host host_started: ' "$scratch/err" >/dev/null || {
    printf 'allocator: the start is not in the log\n' >&2
    exit 1
}
