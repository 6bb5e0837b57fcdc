/* A fair lock. Who has to wait is parked, without a turn and without a thread, until the holder
 * releases. The holder is durable. Those who wait live as long as the activation: they get MOVED
 * when it ends, and ask again.
 * Usage: lock [DATABASE] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>
#include <string.h>

enum { WAITERS = 100, ERR_NOT_YOURS = FRANCIS_ERR_USER + 1 };

typedef struct { char holder[40]; } lock;
typedef struct { char who[40]; uint64_t ticket; } waiter;
typedef struct { uint32_t first, count; waiter queue[WAITERS]; } waiters;   /* not durable */

/* The input of both methods is the name of who asks. */
static void input_name(francis_ctx *ctx, char name[40])
{
    (void)snprintf(name, 40, "%.*s", (int)ctx->input.size, (const char *)ctx->input.data);
}

static francis_result acquire(francis_ctx *ctx)
{
    lock    *l = (lock *)francis_state(ctx);
    waiters *w = (waiters *)ctx->instance;
    waiter  *last;

    if (ctx->input.size == 0)
        return francis_fail(ctx, FRANCIS_ERR_BAD_INPUT, "who asks?");
    if (l->holder[0] == '\0') {
        input_name(ctx, l->holder);
        return FRANCIS_OK;
    }
    if (w->count == WAITERS)
        return francis_fail(ctx, FRANCIS_ERR_BUSY, "too many wait for '%s'", ctx->id);
    last = &w->queue[(w->first + w->count++) % WAITERS];
    input_name(ctx, last->who);
    last->ticket = francis_defer(ctx);                  /* the turn ends, the caller waits on */
    return FRANCIS_OK;
}

static francis_result release(francis_ctx *ctx)
{
    lock    *l = (lock *)francis_state(ctx);
    waiters *w = (waiters *)ctx->instance;
    char     who[40] = "";

    if (ctx->input.size != 0)
        input_name(ctx, who);
    if (strcmp(l->holder, who) != 0)
        return francis_fail(ctx, ERR_NOT_YOURS, "'%s' is held by '%s'", ctx->id, l->holder);
    memset(l, 0, sizeof *l);
    while (w->count > 0) {
        waiter *next = &w->queue[w->first];
        w->first = (w->first + 1) % WAITERS;
        w->count--;
        if (francis_answer(ctx, next->ticket, FRANCIS_OK, NULL, 0) == FRANCIS_OK) {
            memcpy(l->holder, next->who, sizeof l->holder);
            break;                                      /* the answer leaves with the commit */
        }                                               /* else STALE: he gave up waiting */
    }
    return FRANCIS_OK;
}

static const francis_method lock_methods[] = {
    { "acquire", acquire, FRANCIS_INVOKE, 0 },
    { "release", release, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static void ask(francis_ctx *ctx, const char *method, const char *who, francis_call *call)
{
    (void)francis_invoke(ctx, "lock", "printer", method, who, strlen(who), call);
}

static void show(const char *who, const francis_call *call)
{
    printf("%s: %s\n", who, call->result == FRANCIS_OK ? "has it" : call->error);
}

static void demo(francis_ctx *ctx)
{
    francis_call ann = { 0 }, bob = { .async = true }, eve = { .async = true, .timeout_ms = 50 },
                 dan = { .async = true };

    ask(ctx, "acquire", "ann", &ann);
    show("ann", &ann);
    ask(ctx, "acquire", "bob", &bob);                   /* these three are parked, in this order */
    ask(ctx, "acquire", "eve", &eve);
    ask(ctx, "acquire", "dan", &dan);
    printf("eve: %s\n", francis_result_name(francis_wait(ctx, &eve)));  /* she waits 50 ms only */
    ask(ctx, "release", "eve", &ann);
    printf("eve may not release: %s\n", ann.error);
    ask(ctx, "release", "ann", &ann);
    (void)francis_wait(ctx, &bob);
    show("bob", &bob);
    ask(ctx, "release", "bob", &ann);
    (void)francis_wait(ctx, &dan);
    show("dan", &dan);
    ask(ctx, "release", "dan", &ann);
    printf("free: %s\n", ann.result == FRANCIS_OK ? "yes" : ann.error);
    francis_call_free(&ann);
    francis_call_free(&bob);
    francis_call_free(&eve);
    francis_call_free(&dan);
}

int main(int argc, char **argv)
{
    francis_host      *host  = NULL;
    francis_host_desc  desc  = { .database = argc > 1 ? argv[1] : "lock.db" };
    francis_actor_desc actor = { .type = "lock", .methods = lock_methods,
                                 .state_size = sizeof(lock), .instance_size = sizeof(waiters) };

    francis_open(&host, &desc);
    francis_register(host, &actor);
    francis_result r = francis_start(host);
    if (r != FRANCIS_OK)
        fprintf(stderr, "lock: %s\n", francis_host_error(host));
    else
        demo(francis_host_ctx(host));
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
