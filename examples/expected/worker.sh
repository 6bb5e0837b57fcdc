#!/bin/sh
# Usage: sh worker.sh PROGRAM SCRATCHDIR
# Two workers on one file: each route, counts that are the same through both, what errors look like,
# a request that is repeated and done once, alarms and jobs, the options, and an end with code 0.
set -eu
program=$1
scratch=$2
db=$scratch/worker.db
FRANCIS_CLUSTER_KEY='a key that only this script will ever know'
export FRANCIS_CLUSTER_KEY
pids=

command -v curl >/dev/null 2>&1 || {
    printf 'no curl\n'
    exit 77
}

fail() {
    printf 'worker: %s\n' "$*" >&2
    cat "$scratch"/*.err >&2
    # shellcheck disable=SC2086  # words
    [ -z "$pids" ] || kill -9 $pids 2>/dev/null || true
    exit 1
}

ask() { # STATUS BODY CURL-ARGUMENT...: one request, and what its answer must be
    status=$1
    body=$2
    shift 2
    got=$(curl -s -S -m 60 -w '%{http_code}' "$@") || fail "curl $*: exit code $?"
    [ "$got" = "$body
$status" ] || fail "curl $* is answered $got, not $body $status"
}

refused() { # STATUS CODE OUTCOME CURL-ARGUMENT...
    status=$1
    code=$2
    outcome=$3
    shift 3
    got=$(curl -s -S -m 60 -w '%{http_code}' "$@") || fail "curl $*: exit code $?"
    case $got in
    "{\"code\":\"$code\",\"message\":\""*"\",\"outcome\":\"$outcome\"}
$status") ;;
    *) fail "curl $* is answered $got, not $status $code, $outcome" ;;
    esac
}

until_count() { # COUNT ID: asks until an actor has it
    tries=0
    until [ "$(curl -s -S -m 60 -X POST "$B/peek/myactor/$2/get")" = "{\"Out\":$1}" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "myactor/$2 does not come to $1 within a minute"
        sleep 0.1 2>/dev/null || sleep 1
    done
}

start() { # LETTER ARGUMENT...; leaves the pid in $pid
    letter=$1
    shift
    "$program" "$@" >"$scratch/$letter.out" 2>"$scratch/$letter.err" &
    pid=$!
    pids="$pids $pid"
    tries=0
    until [ -s "$scratch/$letter.out" ]; do
        kill -0 "$pid" 2>/dev/null || fail "does not start"
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "has not started within a minute"
        sleep 0.1 2>/dev/null || sleep 1
    done
}

ends() { # PID EXPECTED-STATUS
    status=0
    wait "$1" || status=$?
    [ "$status" = "$2" ] || fail "ends with $status, not $2"
}

rm -rf "$db" "$db"-*
start a -worker-address 127.0.0.1:18081 -actor-host-address 127.0.0.1:17571 -db "$db" -wait-ms 500
a=$pid
start b --worker-address=127.0.0.1:18082 --actor-host-address 127.0.0.1:17572 --db "$db" \
    --wait-ms=500
b=$pid
A=http://127.0.0.1:18081
B=http://127.0.0.1:18082
[ "$(cat "$scratch/a.out")" = "worker: $A" ] || fail "prints $(cat "$scratch/a.out")"

# -- the same counts through both
ask 200 '{"Out":1}' -d '{"In":1}' $A/invoke/myactor/ann/increment
ask 200 '{"Out":2}' -d '{"In":1}' $B/invoke/myactor/ann/increment
ask 200 '{"Out":3}' -X POST $A/invoke/myactor/ann/increment
ask 200 '{"Out":3}' -d '{"In":1}' $B/peek/myactor/ann/whatever
ask 200 '{"Out":3}' -d '{"In":1}' $A/peek/myactor/ann/increment-wait
ask 200 '{"Out":4}' -d '{"In":1}' $B/invoke/myactor/ann/increment-wait
ask 200 '{"Out":1}' -d '{"In":1}' $B/invoke/myactor/bob/increment
ask 200 '{"Out":0}' -d '{"In":1}' $A/invoke/myactor/ann/reset
ask 200 '{"Out":1}' -d '{"In":1}' $A/invoke/myactor/ann/increment
ask 200 '{"Out":0}' -d '{"In":1}' $A/invoke/myactor/ann/reset-wait

# -- a repeat is the same work
ask 200 '{"Out":1}' -H 'Idempotency-Key: one' -X POST $A/invoke/myactor/eve/increment
ask 200 '{"Out":1}' -H 'Idempotency-Key: one' -X POST $B/invoke/myactor/eve/increment
refused 409 exists not_run -H 'Idempotency-Key: one' -X POST $B/invoke/myactor/eve/reset
ask 200 '{"Out":1}' -X POST $B/peek/myactor/eve/get

# -- what is refused
refused 400 bad_input not_run -d '{"In":"one"}' $A/invoke/myactor/ann/increment
refused 400 bad_input not_run -d '{"In":' $A/invoke/myactor/ann/increment
refused 400 bad_input not_run -d '[1]' $A/peek/myactor/ann/get
refused 400 invalid not_run -d '{}' $A/invoke/myactor//increment
refused 404 unknown_method failed -d '{}' $A/invoke/myactor/ann/frob
refused 404 unknown_type not_run -d '{}' $A/invoke/other/ann/increment
refused 404 not_found not_run -d '{}' $A/invoke/myactor/ann/increment/more
refused 404 not_found not_run $A/
refused 405 invalid not_run $A/invoke/myactor/ann/increment
refused 405 invalid not_run -X POST $A/status
awk 'BEGIN { for (i = 0; i < 200; i++) printf "                " }' >"$scratch/large"
refused 413 too_large not_run --data-binary "@$scratch/large" $A/invoke/myactor/ann/increment
refused 404 not_active not_run -X POST $A/halt/myactor/nobody
ask 200 '{"Out":0}' -X POST $B/peek/myactor/ann/get

# -- alarms
ask 200 '[]' $A/alarms/myactor/fay
ask 200 '{}' -d '{"dueTime":"2099-01-02T03:04:05+01:00","interval":"1h","data":["x"]}' \
    $A/alarm/myactor/fay/one
ask 200 '{}' -d '{"dueTime":4071002645000}' $B/alarm/myactor/fay/two
one='{"dueTime":"2099-01-02T02:04:05.000Z","interval":"PT1H","ttl":null,"data":["x"],'
two='{"dueTime":"2099-01-02T02:04:05.000Z","interval":null,"ttl":null,"data":null,'
rest='"status":"waiting","attempts":0,"error":null,"name"'
ask 200 "[$one$rest:\"one\"},$two$rest:\"two\"}]" $B/alarms/myactor/fay
ask 200 "[$two$rest:\"two\"}]" "$B/alarms/myactor/fay?after=one"
ask 200 '{}' -X DELETE $A/alarm/myactor/fay/two
ask 200 "[$one$rest:\"one\"}]" $A/alarms/myactor/fay
refused 404 not_found not_run -X DELETE $B/alarm/myactor/fay/two
refused 405 invalid not_run $A/alarm/myactor/fay/one
for body in '{"dueTime":"soon"}' '{"dueTime":true}' '{"interval":[]}' '{"missed":"none"}' \
    '{"cron":"@daily"}' '[]' '{'; do
    refused 400 bad_input not_run -d "$body" $A/alarm/myactor/fay/three
done
refused 400 invalid not_run -d '{"interval":"often"}' $A/alarm/myactor/fay/three
ask 200 '{}' -d '{"dueTime":"2020-01-02T03:04:05.678Z"}' $A/alarm/myactor/gus/increment
until_count 1 gus
ask 200 '{"runs":1,"again":0,"firstDue":1577934245678,"lastDue":1577934245678}' -X POST \
    $B/peek/myactor/gus/occurrences

# -- jobs
job=$(curl -s -S -m 60 -d '{"delay":3600000,"cron":"0 9 * * mon"}' $A/job/myactor/fay/increment |
    sed 's/^{"jobId":"\(.*\)"}$/\1/')
curl -s -S -m 60 "$B/job/$job" >"$scratch/job" || fail "has no job"
grep "\"interval\":\"0 9 \* \* 1\",.*\"jobId\":\"$job\",\"method\":\"increment\"" "$scratch/job" \
    >/dev/null || fail "has the job $(cat "$scratch/job")"
refused 404 not_found not_run -X DELETE "$A/job/myactor/ann/$job"
ask 200 '{}' -X DELETE "$A/job/myactor/fay/$job"
refused 404 not_found not_run "$B/job/$job"
refused 404 not_found not_run -X POST "$B/job/$job/retry"
refused 404 not_found not_run -X POST "$B/job/$job/again"
refused 404 unknown_method failed -X POST $A/job/myactor/fay/frob
refused 400 bad_input not_run -d '{"cron":"@daily","interval":"1h"}' $A/job/myactor/fay/increment
refused 400 invalid not_run -d '{"cron":"0 0 30 2 *"}' $A/job/myactor/fay/increment
curl -s -S -m 60 -X POST $A/invoke/myactor/gus/schedule-job >"$scratch/job"
grep '^{"Out":1,"jobId":"[0-9a-f-]*"}$' "$scratch/job" >/dev/null ||
    fail "is answered $(cat "$scratch/job")"
until_count 2 gus
ask 200 '{}' -X DELETE $A/alarm/myactor/fay/one

# -- what the hosts tell
for url in $A $B; do
    curl -s -S -m 60 "$url"/status >"$scratch/status" || fail "no status"
    where='"host_id":"[0-9a-f-]*","address":"127.0.0.1:1757[12]"'
    much='"activations":{"myactor":[0-9]*},"connections":[0-9]*'
    grep "^{$where,$much,\"counters\":{.*\"turns\":[0-9]*,.*}}\$" "$scratch/status" \
        >/dev/null || fail "has the status $(cat "$scratch/status")"
    curl -s -S -f -m 60 "$url"/healthz >"$scratch/health" || fail "is not healthy"
    grep '^{"healthy":true,"ready":true,"draining":false,' "$scratch/health" >/dev/null ||
        fail "has the health $(cat "$scratch/health")"
    ask 200 '{}' -X POST "$url"/halt-all
done
for url in $A $B; do
    curl -s -S -m 60 "$url"/status | grep '"myactor":0}' >/dev/null || fail "has not halted all"
done
ask 200 '{"Out":1}' -X POST $B/invoke/myactor/ann/increment

# -- one leaves, the other goes on
kill -TERM "$a"
ends "$a" 0
ask 200 '{"Out":2}' -X POST $B/invoke/myactor/ann/increment
ask 200 '{"Out":1}' -X POST $B/peek/myactor/bob/get
kill -TERM "$b"
ends "$b" 0

# -- how it is not to be started
for option in -frob --db '-worker-address'; do
    status=0
    "$program" "$option" >"$scratch/c.out" 2>"$scratch/c.err" || status=$?
    [ "$status" = 2 ] || fail "$option ends with $status, not 2"
done
status=0
(unset FRANCIS_CLUSTER_KEY && exec "$program" -db "$db") >"$scratch/c.out" 2>"$scratch/c.err" ||
    status=$?
[ "$status" = 2 ] || fail "without a key it ends with $status, not 2"
status=0
"$program" -db "$db" -worker-address nonsense >"$scratch/c.out" 2>"$scratch/c.err" || status=$?
[ "$status" = 1 ] || fail "with nonsense for an address it ends with $status, not 1"
