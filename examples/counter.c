/* The smallest whole program: a counter that survives the program. Each run prints one more.
 * cc counter.c -o counter -lsqlite3 -lmbedtls -lmbedx509 -lmbedcrypto -lpthread
 * Usage: counter [DATABASE] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>

typedef struct { int64_t count; } counter;

static francis_result increment(francis_ctx *ctx)
{
    counter *c = (counter *)francis_state(ctx);            /* zeroed the first time */
    c->count++;                                            /* the turn commits it */
    return francis_reply(ctx, &c->count, sizeof c->count); /* leaves once it is durable */
}

static const francis_method counter_methods[] = {
    { "increment", increment, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

int main(int argc, char **argv)
{
    francis_host      *host  = NULL;
    francis_host_desc  desc  = { .database = argc > 1 ? argv[1] : "counter.db" };
    francis_actor_desc actor = { .type = "counter", .methods = counter_methods,
                                 .state_size = sizeof(counter) };
    francis_call       call  = { 0 };

    francis_open(&host, &desc);
    francis_register(host, &actor);
    francis_result r = francis_start(host);                /* tells what open met, too */
    if (r != FRANCIS_OK) {
        fprintf(stderr, "counter: %s\n", francis_host_error(host));
    } else {
        r = francis_invoke(francis_host_ctx(host), "counter", "hello", "increment", NULL, 0, &call);
        if (r == FRANCIS_OK)
            printf("hello %lld\n", (long long)*(const int64_t *)call.data);
        else
            fprintf(stderr, "counter: %s\n", call.error);
        francis_call_free(&call);
    }
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
