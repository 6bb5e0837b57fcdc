/* One turn asks 100 other actors at once. Nothing blocks, so it runs with and without threads; here
 * without.
 * Usage: fanout [DATABASE] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>

enum { SHARDS = 100 };

typedef struct { int64_t value; } shard;

static francis_result shard_set(francis_ctx *ctx)
{
    shard *s = (shard *)francis_state(ctx);
    *s = *(const shard *)ctx->input.data;                   /* its size was checked */
    return FRANCIS_OK;
}

static francis_result shard_value(francis_ctx *ctx)
{
    return francis_reply(ctx, francis_state(ctx), sizeof(shard));
}

static francis_result total_done(francis_ctx *ctx)          /* the same turn goes on */
{
    francis_call *part = (francis_call *)ctx->local;
    int64_t       sum = 0;
    int           missing = 0;

    for (int i = 0; i < SHARDS; i++) {
        if (part[i].result == FRANCIS_OK)
            sum += ((const shard *)part[i].data)->value;
        else
            missing++;
    }
    return francis_replyf(ctx, "{\"sum\":%lld,\"missing\":%d}", (long long)sum, missing);
}

static francis_result total(francis_ctx *ctx)
{
    francis_call *part = (francis_call *)francis_alloc(ctx, SHARDS * sizeof *part);  /* zeroed */
    char          id[FRANCIS_NAME_SIZE];

    if (part == NULL)
        return FRANCIS_ERR_NOMEM;
    for (int i = 0; i < SHARDS; i++) {
        (void)snprintf(id, sizeof id, "shard-%d", i);
        part[i].async      = true;
        part[i].timeout_ms = FRANCIS_SECONDS(2);
        (void)francis_peek(ctx, "shard", id, "value", NULL, 0, &part[i]);
    }
    return francis_await(ctx, total_done, part);            /* no thread waits meanwhile */
}

static const francis_method shard_methods[] = {
    { "set",   shard_set,   FRANCIS_INVOKE, sizeof(shard) },
    { "value", shard_value, FRANCIS_PEEK,   0 },
    FRANCIS_METHODS_END
};
static const francis_method total_methods[] = {
    { "total", total, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};

/* Shard i gets the value i. */
static francis_result fill(francis_ctx *ctx)
{
    static francis_call call[SHARDS];
    francis_result      worst = FRANCIS_OK;
    char                id[FRANCIS_NAME_SIZE];

    for (int i = 0; i < SHARDS; i++) {
        shard s = { i };
        (void)snprintf(id, sizeof id, "shard-%d", i);
        call[i].async = true;
        (void)francis_invoke(ctx, "shard", id, "set", &s, sizeof s, &call[i]);
    }
    for (int i = 0; i < SHARDS; i++) {
        if (francis_wait(ctx, &call[i]) != FRANCIS_OK)
            worst = call[i].result;
        francis_call_free(&call[i]);
    }
    return worst;
}

int main(int argc, char **argv)
{
    francis_host      *host   = NULL;
    francis_host_desc  desc   = { .database = argc > 1 ? argv[1] : "fanout.db",
                                  .workers = FRANCIS_NO_WORKERS };
    francis_actor_desc totals = { .type = "total", .methods = total_methods };
    francis_actor_desc shards = { .type = "shard", .methods = shard_methods,
                                  .state_size = sizeof(shard) };
    francis_call       call   = { 0 };
    francis_result     r;

    francis_open(&host, &desc);
    francis_register(host, &totals);
    francis_register(host, &shards);
    if ((r = francis_start(host)) != FRANCIS_OK)
        fprintf(stderr, "fanout: %s\n", francis_host_error(host));
    else if ((r = fill(francis_host_ctx(host))) != FRANCIS_OK)
        fprintf(stderr, "fanout: %s\n", francis_strerror(r));
    else if ((r = francis_peek(francis_host_ctx(host), "total", "all", "total", NULL, 0, &call)) !=
             FRANCIS_OK)
        fprintf(stderr, "fanout: %s\n", call.error);
    else
        printf("%.*s\n", (int)call.size, (const char *)call.data);
    francis_call_free(&call);
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
