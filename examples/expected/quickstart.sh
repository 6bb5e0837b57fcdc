#!/bin/sh
# Usage: sh quickstart.sh PROGRAM SCRATCHDIR
# The whole contract: order, errors, bad lines, restart, answers while the input stays open,
# kill -9, a second process on the file, addresses, output that nobody reads, a database that cannot
# be opened.
set -eu
program=$1
scratch=$2
db=$scratch/quickstart.db
pid=
dog=

fail() {
    printf 'quickstart: %s\n' "$*" >&2
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    [ -z "$dog" ] || kill "$dog" 2>/dev/null || true
    exit 1
}

fresh() {
    rm -rf "$db" "$db"-*
}

same() { # WHAT: out is as wanted
    cmp "$scratch/wanted" "$scratch/out" >&2 || {
        diff "$scratch/wanted" "$scratch/out" | head -n 20 >&2
        fail "$1"
    }
}

# Starts the program between two fifos: its input is descriptor 3, its output descriptor 4. A
# watchdog kills it after two minutes, so that no read here waits for ever.
start() { # OPTION...
    rm -f "$scratch/in.fifo" "$scratch/out.fifo"
    mkfifo "$scratch/in.fifo" "$scratch/out.fifo"
    "$program" "$db" "$@" <"$scratch/in.fifo" >"$scratch/out.fifo" &
    pid=$!
    (
        trap 'kill "$nap"; exit' TERM
        sleep 120 &
        nap=$!
        wait "$nap"
        kill -9 "$pid"
    ) >/dev/null 2>&1 &
    dog=$!
    exec 3>"$scratch/in.fifo" 4<"$scratch/out.fifo"
}

line() { # EXPECTED-LINE
    got=
    IFS= read -r got <&4 || fail "ends, where '$1' is expected"
    [ "$got" = "$1" ] || fail "prints '$got', not '$1'"
}

finish() { # EXPECTED-STATUS
    status=0
    wait "$pid" || status=$?
    kill "$dog" 2>/dev/null || true
    pid=
    dog=
    [ "$status" = "$1" ] || fail "ends with $status, not $1"
}

# -- each method, in order; the state is there after a restart
fresh
cat >"$scratch/in" <<'END'
a get
a increment
b increment
a increment
a fail
a get
b get
a reset
a increment
END
cat >"$scratch/wanted" <<'END'
a 0
a 1
b 1
a 2
a error: asked to fail
a 2
b 1
a 0
a 1
END
"$program" "$db" <"$scratch/in" >"$scratch/out" || fail "ends with $?"
same "the methods"
printf 'a get\nb get\nb increment' | "$program" "$db" >"$scratch/out" || fail "ends with $?"
printf 'a 1\nb 1\nb 2\n' >"$scratch/wanted"
same "after a restart, and without the last newline"
"$program" "$db" </dev/null >"$scratch/out" || fail "ends with $? without input"
[ ! -s "$scratch/out" ] || fail "prints something without input"

# -- lines that cannot be read get an error in their place; names that the library refuses, too
id255=$(awk 'BEGIN { for (i = 0; i < 255; i++) printf "x" }')
{
    printf 'a get\n'
    printf '\n'
    printf '   \n'
    printf 'a\n'
    printf 'a get more\n'
    printf '%sy get\n' "$id255"
    printf 'a %sy\n' "$id255"
    printf 'a\000 get\n'
    printf 'a get\000\n'
    awk 'BEGIN { for (i = 0; i < 100000; i++) printf "long " }'
    printf '\n'
    awk 'BEGIN { for (i = 0; i < 200000; i++) printf "z"; print " get" }'
    printf ' \ta   get \r\n'
    printf '%s increment\n' "$id255"
    printf 'a no-such-method\n'
    printf 'a/b get\n'
    printf 'a get\n'
    awk 'BEGIN { for (i = 0; i < 100000; i++) printf "z" }'
} >"$scratch/in"
"$program" "$db" <"$scratch/in" >"$scratch/out" || fail "ends with $? after bad lines"
sed -e 's/^error: ..*/error: .../' -e 's/ error: ..*/ error: .../' "$scratch/out" >"$scratch/short"
mv "$scratch/short" "$scratch/out"
{
    printf 'a 1\n'
    for _ in 1 2 3 4 5 6 7 8 9 10; do printf 'error: ...\n'; done
    printf 'a 1\n'
    printf '%s 1\n' "$id255"
    printf 'a error: ...\n'
    printf 'a/b error: ...\n'
    printf 'a 1\n'
    printf 'error: ...\n'
} >"$scratch/wanted"
same "bad lines"

# -- who writes one line and waits is answered at once; half a line holds nothing back
fresh
start
for n in 1 2 3; do
    printf 'i increment\n' >&3
    line "i $n"
done
printf 'i get\ni incr' >&3
line 'i 3'
printf 'ement\nbad\ni fail\n' >&3
line 'i 4'
line 'error: expected two words: ID METHOD'
line 'i error: asked to fail'

# -- a second process on the same file serves what the first does not have, and tells who has that
printf 'i get\nj increment\n' | "$program" "$db" >"$scratch/out" || fail "a second process: $?"
sed 's/host [0-9a-f-]*/host ID/' "$scratch/out" >"$scratch/short"
mv "$scratch/short" "$scratch/out"
printf 'i error: counter/i lives on host ID, which has no address\nj 1\n' >"$scratch/wanted"
same "a second process on the file"
printf 'i increment\n' >&3
line 'i 5'
exec 3>&-
if IFS= read -r got <&4; then fail "prints '$got' at the end of the input"; fi
exec 4<&-
finish 0

# -- an address: others tell it, and it is given once, until its process is killed
fresh
start --address 127.0.0.1:7000
printf 'i increment\n' >&3
line 'i 1'
printf 'i get\nj increment\n' | "$program" --address '[::1]:7001' "$db" >"$scratch/out" ||
    fail "a second process with an address: $?"
sed 's/host [0-9a-f-]*/host ID/' "$scratch/out" >"$scratch/short"
mv "$scratch/short" "$scratch/out"
printf 'i error: counter/i lives on host ID at 127.0.0.1:7000\nj 1\n' >"$scratch/wanted"
same "a second process with an address"
status=0
"$program" "$db" --address 127.0.0.1:7000 <"$scratch/in" >"$scratch/out" 2>"$scratch/err" ||
    status=$?
[ "$status" = 1 ] || fail "a second process with the same address ends with $status, not 1"
[ ! -s "$scratch/out" ] || fail "a second process with the same address prints something"
grep '^quickstart: .*127.0.0.1:7000' "$scratch/err" >/dev/null || fail "the address is not named"
kill -9 "$pid"
finish 137
exec 3>&- 4<&-
printf 'i increment\n' | "$program" "$db" --address 127.0.0.1:7000 >"$scratch/out" \
    2>"$scratch/err" || fail "ends with $? at the address of a killed one"
printf 'i 2\n' >"$scratch/wanted"
same "after kill -9, at the same address"

# -- other options are refused
for bad in '--address' '--adress 127.0.0.1:7000' '-x' 'another.db'; do
    status=0
    # shellcheck disable=SC2086  # words
    "$program" "$db" $bad </dev/null >"$scratch/out" 2>"$scratch/err" || status=$?
    [ "$status" = 2 ] || fail "ends with $status, not 2: $bad"
    [ ! -s "$scratch/out" ] || fail "prints something: $bad"
    grep '^usage: quickstart' "$scratch/err" >/dev/null || fail "does not say how: $bad"
done
for bad in 127.0.0.1 127.0.0.1:0 127.0.0.1:65536 ::1:7000 ''; do
    status=0
    "$program" "$db" --address "$bad" </dev/null >"$scratch/out" 2>"$scratch/err" || status=$?
    [ "$status" = 1 ] || fail "ends with $status, not 1, with the address '$bad'"
    grep "^quickstart: .*'$bad'" "$scratch/err" >/dev/null || fail "does not name '$bad'"
done

# -- many lines for many counters, compared with what awk makes of them
fresh
awk 'BEGIN {
    srand(7)
    split("increment increment increment get reset fail", method, " ")
    for (i = 0; i < 30000; i++)
        print "k" int(rand() * (i % 3 == 0 ? 3 : 500)), method[1 + int(rand() * 6)]
}' >"$scratch/in"
awk '{
    if ($2 == "increment") count[$1]++
    if ($2 == "reset") count[$1] = 0
    print $1, $2 == "fail" ? "error: asked to fail" : count[$1] + 0
}' "$scratch/in" >"$scratch/wanted"
"$program" "$db" <"$scratch/in" >"$scratch/out" || fail "ends with $? after many lines"
same "many lines"

# -- kill -9 in the middle of work: what was printed is there afterwards, what was not asked is not
fresh
: >"$scratch/seen"
for round in 1 2 3; do
    start
    awk 'BEGIN { for (i = 0; i < 100000; i++) print "k" i % 37, "increment" }' >&3 2>/dev/null &
    feeder=$!
    exec 3>&-
    awk -v pid="$pid" '{ print } NR == 500 { system("kill -9 " pid) }' <&4 >>"$scratch/seen"
    exec 4<&-
    finish 137
    wait "$feeder" || true
    awk 'BEGIN { for (i = 0; i < 37; i++) print "k" i, "get" }' >"$scratch/in"
    "$program" "$db" <"$scratch/in" >"$scratch/out" || fail "ends with $? after kill -9"
    awk -v round="$round" '
        FILENAME == ARGV[1] { if (NF == 2 && $2 + 0 > seen[$1] + 0) seen[$1] = $2; next }
        $2 + 0 < seen[$1] + 0 { print $1 " is " $2 ", but " seen[$1] " was printed"; bad = 1 }
        $2 + 0 > round * 2703 { print $1 " is " $2 ", more than was asked for"; bad = 1 }
        { lines++ }
        END { exit bad || lines != 37 }
    ' "$scratch/seen" "$scratch/out" >&2 || fail "round $round of kill -9"
done

# -- nobody reads the output: exit code 1
fresh
start
printf 'p increment\n' >&3
line 'p 1'
exec 4<&-
printf 'p increment\np increment\n' >&3
exec 3>&-
finish 1
if [ -c /dev/full ]; then
    status=0
    printf 'p increment\n' | "$program" "$db" >/dev/full 2>"$scratch/err" || status=$?
    [ "$status" = 1 ] || fail "ends with $status on a full device, not 1"
fi
status=0
printf 'p increment\n' | "$program" "$db" >&- 2>"$scratch/err" || status=$?
[ "$status" = 1 ] || fail "ends with $status without an output, not 1"

# -- what is no database is refused with a message
mkdir -p "$scratch/directory"
awk 'BEGIN { for (i = 0; i < 1000; i++) print "this is no database" }' >"$scratch/text"
for bad in "$scratch/directory" "$scratch/text" "$scratch/no/such/directory/x.db"; do
    status=0
    "$program" "$bad" </dev/null >"$scratch/out" 2>"$scratch/err" || status=$?
    [ "$status" = 1 ] || fail "ends with $status on $bad, not 1"
    grep '^quickstart: ..' "$scratch/err" >/dev/null || fail "no message about $bad"
done
