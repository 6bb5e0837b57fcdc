/* Several processes on one file. Start it two or three times, each with an address of its own and
 * with the same names: each name is an actor, which counts where it lives. Kill one process with
 * kill -9: its actors go on in the others at once, and no count is lost. Stop one with kill -STOP:
 * the same after some seconds; when it goes on it is a new host, and asks the others.
 * Usage: pair DATABASE HOST:PORT NAME... It ends in order with SIGTERM or SIGINT. */
#define _POSIX_C_SOURCE 200809L
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { PAUSE_MS = 100 };

typedef struct { int64_t count; } member;
typedef struct { const char *id; char error[512]; } name;       /* and what was said of it last */

static francis_host *host;

static francis_result work(francis_ctx *ctx)                    /* what shall go on for ever */
{
    member *m = (member *)francis_state(ctx);

    if (m == NULL)
        return FRANCIS_ERR_NOMEM;
    m->count++;
    return francis_reply(ctx, &m->count, sizeof m->count);
}

static const francis_method member_methods[] = {
    { "work", work, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

/* Every process asks for every actor. Whoever asks first after its host has died gets it. */
static void ask(name *n)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(francis_host_ctx(host), "member", n->id, "work", NULL, 0,
                                      &call);
    if (r == FRANCIS_OK)
        printf("%s %lld\n", n->id, (long long)*(const int64_t *)call.data);
    else if (strcmp(n->error, call.error) != 0)                 /* it lives elsewhere: news */
        printf("%s: %s\n", n->id, call.error);
    (void)snprintf(n->error, sizeof n->error, "%s", call.error);
    francis_call_free(&call);
}

static void on_signal(int number)
{
    (void)number;
    francis_stop(host);                                         /* allowed in a signal handler */
}

int main(int argc, char **argv)
{
    francis_host_desc  desc  = { .health_deadline_ms = FRANCIS_SECONDS(2) };
    francis_actor_desc actor = { .type = "member", .methods = member_methods,
                                 .state_size = sizeof(member) };
    struct sigaction   stop  = { .sa_handler = on_signal };
    name               names[16] = { { 0 } };

    if (argc < 4 || argc > 3 + 16) {
        fprintf(stderr, "usage: pair DATABASE HOST:PORT NAME... (1 to 16)\n");
        return 2;
    }
    desc.database = argv[1];
    desc.address = argv[2];
    for (int i = 3; i < argc; i++)
        names[i - 3].id = argv[i];
    francis_open(&host, &desc);
    francis_register(host, &actor);
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    francis_result r = francis_start(host);
    while (r == FRANCIS_OK) {
        for (int i = 0; i < argc - 3; i++)
            ask(&names[i]);
        (void)fflush(stdout);
        r = francis_poll(host, PAUSE_MS);                       /* STOPPED: it is over */
    }
    bool failed = francis_host_error(host)[0] != '\0';
    if (failed)
        fprintf(stderr, "pair: %s\n", francis_host_error(host));
    francis_close(host);
    return failed ? 1 : 0;
}
