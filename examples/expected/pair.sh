#!/bin/sh
# Usage: sh pair.sh PROGRAM SCRATCHDIR
# Three processes on one file: the first has all actors, the others name it; an address is given
# once; kill -9 of the first and the others go on with its actors; each count is printed once.
set -eu
program=$1
scratch=$2
db=$scratch/pair.db
names='ann bob eve'
pids=
dog=

fail() {
    printf 'pair: %s\n' "$*" >&2
    # shellcheck disable=SC2086  # words
    [ -z "$pids" ] || kill -9 $pids 2>/dev/null || true
    kill "$dog" 2>/dev/null || true
    exit 1
}

start() { # LETTER PORT; leaves the pid in $pid
    # shellcheck disable=SC2086  # words
    "$program" "$db" "127.0.0.1:$2" $names >"$scratch/$1" 2>"$scratch/$1.err" &
    pid=$!
    pids="$pids $pid"
}

# Waits until each name has a line with this in one of the files.
until_all() { # WHAT PATTERN LETTER...
    what=$1
    pattern=$2
    shift 2
    for name in $names; do
        while ! (cd "$scratch" && cat "$@") | grep "^$name$pattern" >/dev/null; do
            kill -0 "$dog" 2>/dev/null || fail "after two minutes: $what"
            sleep 0.1 2>/dev/null || sleep 1
        done
    done
}

ends() { # PID EXPECTED-STATUS
    status=0
    wait "$1" || status=$?
    [ "$status" = "$2" ] || fail "ends with $status, not $2: $(cat "$scratch"/*.err)"
}

rm -rf "$db" "$db"-*
sleep 120 >/dev/null 2>&1 &
dog=$!
start a 7001
a=$pid
until_all 'the first does not count' ' 3$' a

# -- the others know who has them, and an address belongs to one process
start b 7002
b=$pid
start c 7003
c=$pid
until_all 'the second does not name the first' ': .* lives on host .* at 127.0.0.1:7001$' b
until_all 'the third does not name the first' ': .* lives on host .* at 127.0.0.1:7001$' c
status=0
"$program" "$db" 127.0.0.1:7001 ann >"$scratch/d" 2>"$scratch/d.err" || status=$?
[ "$status" = 1 ] || fail "a second process with the same address ends with $status, not 1"
grep '127.0.0.1:7001 belongs to host' "$scratch/d.err" >/dev/null ||
    fail "about an address in use: $(cat "$scratch/d.err")"

# -- the first dies
kill -9 "$a"
ends "$a" 137
until_all 'nobody goes on' ' [0-9]' b c
kill -TERM "$b" "$c"
ends "$b" 0
ends "$c" 0

# -- no count twice; none is missing but the one that was committed and not printed at the kill
for name in $names; do
    cat "$scratch/a" "$scratch/b" "$scratch/c" | sed -n "s/^$name \([0-9]*\)\$/\1/p" |
        sort -n >"$scratch/counts"
    awk '$1 == last { print $1 " twice"; bad = 1 }
         $1 > last + 1 { gaps += $1 - last - 1 }
         { last = $1 }
         END { if (gaps > 1) print gaps " are missing"; exit bad || gaps > 1 }' \
        "$scratch/counts" >&2 || fail "the counts of $name"
done

# -- they are there for the next one, and of the old ones nothing is left behind
start e 7001
until_all 'a later process does not count' ' [0-9]' e
kill -TERM "$pid"
ends "$pid" 0
for name in $names; do
    last=$(cat "$scratch/a" "$scratch/b" "$scratch/c" | sed -n "s/^$name \([0-9]*\)\$/\1/p" |
        sort -n | tail -n 1)
    grep "^$name $((last + 1))\$" "$scratch/e" >/dev/null || fail "$name does not go on from $last"
done
for file in "$db"-host-*; do
    [ ! -e "$file" ] || fail "$file is left"
done
kill "$dog" 2>/dev/null || true
