#!/bin/sh
# Usage: sh admin.sh PROGRAM SCRATCHDIR
# States are set, listed in the order of their ids, read, deleted, forgotten; jobs that nobody runs
# are dispatched, listed, cancelled; errors say their outcome.
set -eu
program=$1
scratch=$2
db=$scratch/admin.db

fail() {
    printf 'admin: %s\n' "$*" >&2
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
expect '' states
expect '' set note b 'the second'
expect '' set note a 'the first'
expect '' set other a x
expect 'the first' get note a
expect 'note a 9
note b 10' states note
expect 'note a 9
note b 10
other a 1' states
expect '' delete note a
refused 'get: not_found, not_run: ' get note a
refused 'delete: not_found, not_run: ' delete note a
refused ', not_run: ' halt note b
expect '' forget note b
expect '' forget note b
expect 'other a 1' states
expect '' active
refused 'get: invalid, not_run: ' get note 'a/b'
refused 'get: invalid, not_run: ' get
refused 'frob: invalid, not_run: ' frob note b
[ "$("$program" "$db" hosts | wc -l)" -eq 1 ] || fail "there is not just one host"

job=$("$program" "$db" dispatch note c shred) || fail "cannot dispatch"
"$program" "$db" jobs note | grep "^note c shred $job due [0-9]*, 0 attempts \$" >/dev/null ||
    fail "has not the job $job: $("$program" "$db" jobs note)"
expect '' jobs other
expect '' alarms
expect '' dead
refused 'retry: not_found, not_run: ' retry "$job"
expect '' cancel "$job"
refused 'cancel: not_found, not_run: ' cancel "$job"
expect '' jobs
refused 'dispatch: invalid, not_run: ' dispatch note c
"$program" "$db" dispatch note c shred >"$scratch/out" || fail "cannot dispatch again"
expect '' forget note c
expect '' jobs
