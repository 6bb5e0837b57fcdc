#!/bin/sh
# Usage: sh gateway.sh PROGRAM SCRATCHDIR
# A fifo takes the place of the serial line and echoes each command; /dev/null is a device that
# never answers. The client is a C program, built here, since a shell cannot send datagrams.
set -eu
program=$1
scratch=$2
db=$scratch/gateway.db
cc=${CC:-cc}

fail() {
    printf 'gateway: %s\n' "$*" >&2
    kill -9 "$pid" "$dog" 2>/dev/null || true
    exit 1
}

cat >"$scratch/client.c" <<'END'
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* client PORT MESSAGE...: sends each message, prints as many answers. */
int main(int argc, char **argv)
{
    struct sockaddr_in to;
    struct pollfd      in = { socket(AF_INET, SOCK_DGRAM, 0), POLLIN, 0 };
    char               text[1024];

    memset(&to, 0, sizeof to);
    to.sin_family      = AF_INET;
    to.sin_port        = htons((unsigned short)atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(in.fd, (struct sockaddr *)&to, sizeof to) != 0)
        return 1;
    for (int i = 2; i < argc; i++)
        if (send(in.fd, argv[i], strlen(argv[i]), 0) < 0)
            return 1;
    for (int i = 2; i < argc; i++) {
        if (poll(&in, 1, 60000) != 1)
            return 1;
        ssize_t n = recv(in.fd, text, sizeof text, 0);
        if (n < 0)
            return 1;
        printf("%.*s\n", (int)n, text);
    }
    return 0;
}
END
$cc -std=c99 -o "$scratch/client" "$scratch/client.c"

start() { # SERIAL-LINE; leaves pid, dog and port
    rm -f "$scratch/out"
    mkfifo "$scratch/out"
    "$program" "$db" "$1" 0 >"$scratch/out" &
    pid=$!
    (
        trap 'kill "$nap"; exit' TERM
        sleep 120 &
        nap=$!
        wait "$nap"
        kill -9 "$pid"
    ) >/dev/null 2>&1 &
    dog=$!
    IFS=' ' read -r word port <"$scratch/out" || fail "does not start"
    [ "$word" = port ] || fail "prints '$word', not its port"
}

stop() {
    status=0
    kill -TERM "$pid"
    wait "$pid" || status=$?
    [ "$status" = 0 ] || fail "ends with $status, not 0"
    kill "$dog" 2>/dev/null || true
}

expect() { # EXPECTED-OUTPUT MESSAGE...
    wanted=$1
    shift
    out=$("$scratch/client" "$port" "$@") || fail "no answer to '$*'"
    [ "$out" = "$wanted" ] || fail "'$*' is answered '$out', not '$wanted'"
}

rm -rf "$db" "$db"-* "$scratch/line"
mkfifo "$scratch/line"
start "$scratch/line"
expect '1: on' 'lamp on'
expect '2: off' 'lamp off'
expect '1: up' 'blind up'
"$scratch/client" "$port" 'a/b x' >"$scratch/answer" || fail "no answer to a bad id"
grep / "$scratch/answer" >/dev/null || fail "a bad id is answered: $(cat "$scratch/answer")"
"$scratch/client" "$port" '' >"$scratch/answer" || fail "no answer to an empty message"
stop

start /dev/null
expect "'lamp' is silent" 'lamp on'
expect "the line is in use
'lamp' is silent" 'lamp on' 'blind up'
stop

start "$scratch/line"
expect '3: on' 'lamp on'
stop
