/* Two hosts of a library without threads share a file and call each other over TLS, in one process
 * and one thread. Ends with 0 if all is well. */
#define _POSIX_C_SOURCE 200809L
#include "francis.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct { int64_t count; } counter;

static francis_result increment(francis_ctx *ctx)
{
    counter *c = (counter *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    c->count++;
    return francis_reply(ctx, &c->count, sizeof c->count);
}

static const francis_method methods[] = {
    { "increment", increment, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static int refuse(const char *what, const char *detail)
{
    (void)fprintf(stderr, "%s: %s\n", what, detail);
    return 1;
}

/* A port that was free a moment ago. */
static void free_address(char address[40])
{
    struct sockaddr_in in;
    socklen_t          size = (socklen_t)sizeof in;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)bind(fd, (const struct sockaddr *)&in, size);
    (void)getsockname(fd, (struct sockaddr *)&in, &size);
    (void)close(fd);
    (void)snprintf(address, 40, "127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
}

static francis_host *hosts[2];

static francis_result start(int which, const char *path)
{
    francis_host_desc  desc;
    francis_actor_desc actor;
    char               address[40];

    free_address(address);
    memset(&desc, 0, sizeof desc);
    memset(&actor, 0, sizeof actor);
    desc.database    = path;
    desc.address     = address;
    desc.cluster_key = "a secret of thirty-two bytes, or more";
    desc.workers     = FRANCIS_NO_WORKERS;
    actor.type       = "counter";
    actor.methods    = methods;
    actor.state_size = sizeof(counter);
    actor.placement  = FRANCIS_PLACE_LOCAL;
    (void)francis_open(&hosts[which], &desc);
    (void)francis_register(hosts[which], &actor);
    return francis_start(hosts[which]);
}

static void on_done(francis_call *call) { *(bool *)call->user = true; }

/* One increment by way of a host, while both move on; the new count, or 0 if it failed. */
static int64_t add(int which)
{
    francis_call call;
    bool         done  = false;
    int64_t      count = 0;
    time_t       end   = time(NULL) + 60;

    memset(&call, 0, sizeof call);
    call.on_done = on_done;
    call.user    = &done;
    (void)francis_invoke(francis_host_ctx(hosts[which]), "counter", "a", "increment", NULL, 0,
                         &call);
    while (!done && time(NULL) < end) {
        (void)francis_poll(hosts[which], 1);
        (void)francis_poll(hosts[1 - which], 1);
    }
    if (done && call.result == FRANCIS_OK && call.size == sizeof count)
        memcpy(&count, call.data, sizeof count);
    else
        (void)refuse("call", done ? call.error : "no answer");
    francis_call_free(&call);
    return count;
}

/* A host that would have threads. */
static int with_workers(int workers)
{
    francis_host_desc desc;
    francis_host     *host = NULL;
    const char       *error;
    int               bad;

    memset(&desc, 0, sizeof desc);
    desc.database = ":memory:";
    desc.workers  = workers;
    bad   = francis_open(&host, &desc) != FRANCIS_ERR_INVALID;
    error = francis_host_error(host);
    if (bad || strstr(error, "FRANCIS_NO_THREADS") == NULL)
        bad = refuse("with workers", error);
    francis_close(host);
    return bad;
}

int main(void)
{
    const char   *dir = getenv("TMPDIR");
    char          path[512];
    francis_stats stats;
    uint64_t      activations = 0;
    int           i;
    int           bad = 0;

    if (strstr(francis_build_info(), "FRANCIS_NO_THREADS=1") == NULL)
        return refuse("build", francis_build_info());
    bad |= with_workers(0) | with_workers(2);
    (void)snprintf(path, sizeof path, "%s/no-threads.db", dir != NULL ? dir : "/tmp");
    (void)remove(path);
    for (i = 0; i < 2; i++)
        if (start(i, path) != FRANCIS_OK)
            return refuse("start", francis_host_error(hosts[i]));
    for (i = 1; i <= 10 && !bad; i++)
        bad = add(i % 2) != i && refuse("count", "not what was added");
    for (i = 0; i < 2; i++) {
        francis_stats_get(hosts[i], &stats);
        activations += stats.activations;
    }
    if (activations != 1)
        bad = refuse("hosts", "the actor was not on one of them all the time");
    francis_close(hosts[0]);
    francis_close(hosts[1]);
    (void)remove(path);
    return bad;
}
