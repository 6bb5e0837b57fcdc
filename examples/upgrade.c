/* A program whose version 2 stores another struct than its version 1. Growing a struct at its end
 * needs none of this: old bytes stay, new ones are zero.
 * Usage: upgrade [DATABASE [1|2]] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>
#include <string.h>

typedef struct { int32_t cents; char name[16]; } account_v1;
typedef struct { int64_t cents; char name[32]; uint32_t flags; uint32_t unused; } account;

/* -- version 1 --------------------------------------------------------------------------------- */
static francis_result show_v1(francis_ctx *ctx)
{
    account_v1 *a = (account_v1 *)francis_state(ctx);

    if (a->name[0] == '\0') {
        (void)snprintf(a->name, sizeof a->name, "%s", ctx->id);
        a->cents = 1250;
    }
    return francis_replyf(ctx, "%s has %ld", a->name, (long)a->cents);
}

static const francis_method methods_v1[] = {
    { "show", show_v1, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

/* -- version 2 --------------------------------------------------------------------------------- */
static francis_result upgrade(francis_ctx *ctx)     /* at activation: another version is stored */
{
    account *a = (account *)francis_state(ctx);     /* zeroed; the input holds the stored bytes */

    if (ctx->state_version == 1 && ctx->input.size == sizeof(account_v1)) {
        const account_v1 *old = (const account_v1 *)ctx->input.data;
        a->cents = old->cents;
        memcpy(a->name, old->name, sizeof old->name);
        return FRANCIS_OK;
    }
    return francis_fail(ctx, FRANCIS_ERR_SCHEMA, "account of version %lu",
                        (unsigned long)ctx->state_version);
}

static francis_result show(francis_ctx *ctx)
{
    const account *a = (const account *)francis_state(ctx);
    return francis_replyf(ctx, "%s has %lld, flags %lu", a->name, (long long)a->cents,
                          (unsigned long)a->flags);
}

static const francis_method methods[] = {
    { "show", show, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};

int main(int argc, char **argv)
{
    francis_host      *host   = NULL;
    francis_host_desc  desc   = { .database = argc > 1 ? argv[1] : "upgrade.db" };
    francis_actor_desc actor1 = { .type = "account", .methods = methods_v1,
                                  .state_size = sizeof(account_v1), .state_version = 1 };
    francis_actor_desc actor2 = { .type = "account", .methods = methods,
                                  .state_size = sizeof(account), .state_version = 2,
                                  .upgrade = upgrade };
    francis_call       call   = { 0 };
    bool               old    = argc > 2 && strcmp(argv[2], "1") == 0;

    francis_open(&host, &desc);
    francis_register(host, old ? &actor1 : &actor2);
    francis_result r = francis_start(host);
    if (r != FRANCIS_OK) {
        fprintf(stderr, "upgrade: %s\n", francis_host_error(host));
    } else {
        r = francis_invoke(francis_host_ctx(host), "account", "ada", "show", NULL, 0, &call);
        if (r == FRANCIS_OK)
            printf("%.*s\n", (int)call.size, (const char *)call.data);
        else
            fprintf(stderr, "upgrade: %s (%s)\n", call.error, francis_result_name(r));
        francis_call_free(&call);
    }
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
