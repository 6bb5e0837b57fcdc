#!/bin/sh
# demo.sh QUICKSTART TEXT CLUSTER WORKER: counts the words of a text in durable actors, one for each
# word, compares the counts with sort and uniq; then kills the program in the middle of another run
# to show that nothing it had acknowledged is lost; then three workers are a cluster, and one of
# them is killed, and two more while alarms and jobs are due (cluster.c). Ends with 0 if all is as
# it says, in less than a minute.
set -eu
quickstart=$1 text=$2 cluster=$3 worker=$4
LC_ALL=C
export LC_ALL

dir=$(mktemp -d "${TMPDIR:-/tmp}/francis-demo.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT HUP TERM

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}

# Milliseconds, where date can tell.
now() {
    ns=$(date +%s%N)
    case $ns in
    *[!0-9]*) echo "$(date +%s)000" ;;
    *) echo "${ns%??????}" ;;
    esac
}

# counted FILE: the last count that was answered for each word, as lines "WORD COUNT".
counted() { awk '{ last[$1] = $2 } END { for (word in last) print word, last[word] }' "$1" | sort; }

# tallied FILE: how often each word comes at the start of a line, as lines "WORD COUNT".
tallied() { cut -d ' ' -f 1 "$1" | sort | uniq -c | awk '{ print $2, $1 }' | sort; }

tr -cs '[:alpha:]' '\n' < "$text" | tr '[:upper:]' '[:lower:]' |
    sed -e '/^$/d' -e 's/$/ increment/' > "$dir/feed"
lines=$(wc -l < "$dir/feed" | tr -d ' ')
tallied "$dir/feed" > "$dir/expected"
actors=$(wc -l < "$dir/expected" | tr -d ' ')

echo "== 1. A book, word by word"
echo "$text has $lines words, $actors different ones. Each of these gets an actor of its own,"
echo "whose count is committed to a SQLite database before the answer is printed."
start=$(now)
"$quickstart" "$dir/book.db" < "$dir/feed" > "$dir/answers" || fail "quickstart ended with $?"
ms=$(($(now) - start))
[ "$ms" -gt 0 ] || ms=1
counted "$dir/answers" > "$dir/counts"
echo
echo "The ten most frequent:"
sort -k 2,2nr -k 1,1 "$dir/counts" | head -n 10 | awk '{ printf "%8d  %s\n", $2, $1 }'
echo
cmp -s "$dir/expected" "$dir/counts" || {
    diff "$dir/expected" "$dir/counts" | head -n 20
    fail "sort and uniq count otherwise (<)"
}
echo "sort and uniq come to the same counts for all $actors words."
echo "$lines turns in $((ms / 1000)).$((ms % 1000 / 100)) seconds:" \
    "$((lines * 1000 / ms)) durable turns a second."

echo
echo "== 2. kill -9 in the middle"
# The answers go through a pipe, so that the kill comes at a certain one and not at a certain time.
# What quickstart had written before it died is still read to the end.
half=$((lines / 2))
mkfifo "$dir/pipe"
"$quickstart" "$dir/killed.db" < "$dir/feed" > "$dir/pipe" &
victim=$!
awk -v half=$half -v kill="kill -9 $victim" -v out="$dir/acknowledged" \
    '{ print > out } NR == half { system(kill) }' < "$dir/pipe"
code=0
wait "$victim" || code=$?
[ $code = 137 ] || fail "quickstart should have been killed, and ended with $code"
# A line without its end was never an answer.
[ -z "$(tail -c 1 "$dir/acknowledged")" ] || sed '$d' "$dir/acknowledged" > "$dir/whole"
[ ! -f "$dir/whole" ] || mv "$dir/whole" "$dir/acknowledged"
acknowledged=$(wc -l < "$dir/acknowledged" | tr -d ' ')
[ "$acknowledged" -lt "$lines" ] || fail "it was through before the kill came"
! grep -q ' error:' "$dir/acknowledged" || fail "$(grep ' error:' "$dir/acknowledged" | sed 1q)"
echo "The same words again, into a new database; at answer $half the program was killed with -9."
echo "It had acknowledged $acknowledged of $lines words."

# Started again on the same file, and asked for each word. Answers come in the order of the feed, so
# what was acknowledged are its first lines.
sed 's/ .*/ get/' "$dir/expected" > "$dir/asked"
"$quickstart" "$dir/killed.db" < "$dir/asked" > "$dir/stored" || fail "the restart ended with $?"
[ "$(wc -l < "$dir/stored")" -eq "$actors" ] || fail "the restart did not answer each question"
head -n "$acknowledged" "$dir/feed" > "$dir/sent"
tallied "$dir/sent" > "$dir/promised"
counted "$dir/acknowledged" > "$dir/said"
cmp -s "$dir/promised" "$dir/said" || fail "the answers before the kill do not follow the feed"
awk -v dir="$dir" '
    FILENAME == dir "/promised" { promised[$1] = $2; next }
    FILENAME == dir "/expected" { sent[$1] = $2; next }
    {
        if ($2 !~ /^[0-9]+$/ || $2 + 0 < promised[$1] + 0 || $2 + 0 > sent[$1]) {
            print $1 ": stored " $2 ", acknowledged " promised[$1] + 0 ", sent at most " sent[$1]
            bad = 1
        }
        sum += $2
    }
    END { print sum + 0 > (dir "/sum"); exit bad }' \
    "$dir/promised" "$dir/expected" "$dir/stored" || fail "counts were lost or made up, see above"
more=$(($(cat "$dir/sum") - acknowledged))
echo "Started again on the same database it was asked for every word: each of the $actors counts"
echo "is at least what had been acknowledged and at most what had been sent. $more more had been"
echo "stored when the kill came; their answers were still on the way. Nothing was lost."

echo
echo "== 3. A cluster"
mkdir "$dir/cluster"
"$cluster" "$worker" "$dir/cluster" || {
    [ ! -f "$dir/cluster/worker.log" ] || cat "$dir/cluster/worker.log"
    fail "the cluster did not hold, see above"
}
