/* A program that runs until SIGINT or SIGTERM, with a singleton that counts its starts.
 * Usage: service [DATABASE] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>

typedef struct { int64_t starts; } service;

static francis_result bootstrap(francis_ctx *ctx)       /* once at each start of the host */
{
    service       *s = (service *)francis_state(ctx);
    francis_result r;

    s->starts++;
    if ((r = francis_flush(ctx, NULL)) != FRANCIS_OK)   /* durable before the world hears of it */
        return r;
    printf("start %lld\n", (long long)s->starts);
    (void)fflush(stdout);
    return FRANCIS_OK;
}

static francis_result deactivate(francis_ctx *ctx)      /* does not come after a crash */
{
    (void)ctx;
    printf("stopped\n");
    (void)fflush(stdout);
    return FRANCIS_OK;
}

int main(int argc, char **argv)
{
    francis_host      *host  = NULL;
    francis_host_desc  desc  = { .database = argc > 1 ? argv[1] : "service.db" };
    francis_actor_desc actor = { .type = "service", .state_size = sizeof(service),
                                 .deactivate = deactivate, .singleton = true,
                                 .bootstrap = bootstrap };

    francis_open(&host, &desc);
    francis_register(host, &actor);
    francis_result r = francis_run(host);               /* tells what open and register met, too */
    if (r != FRANCIS_OK)
        fprintf(stderr, "service: %s\n", francis_host_error(host));
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
