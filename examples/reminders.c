/* A shopping cart that reminds its owner. What a turn sets and dispatches is part of the turn: the
 * reminder is there with the cart, the order is there when the cart is empty, or neither is. Both
 * survive kill -9: the next start goes on with them.
 * Usage: reminders [DATABASE] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>
#include <string.h>

enum { REMIND_MS = 300, RETRY_MS = 100, PATIENCE_MS = 60000 };
enum { ERR_EMPTY = FRANCIS_ERR_USER + 1, ERR_NO_VAN };

/* -- a cart: its state is a list of things, absent while it is empty --------------------------- */
static francis_result cart_add(francis_ctx *ctx)
{
    francis_bytes old    = francis_state_get(ctx);
    size_t        size   = old.size + ctx->input.size + 3;
    char         *cart   = (char *)francis_alloc(ctx, size);
    francis_alarm remind = { .name = "remind", .delay_ms = REMIND_MS };

    if (cart == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)snprintf(cart, size, "%s%s%.*s", old.data != NULL ? (const char *)old.data : "",
                   old.data != NULL ? ", " : "", (int)ctx->input.size,
                   (const char *)ctx->input.data);
    francis_alarm_set(ctx, &remind, NULL);              /* the same name: moves the reminder */
    return francis_state_set(ctx, cart, strlen(cart));
}

/* The state belongs to the turn and is changed once. What is printed is outside of it: after a
 * crash right here it is printed once more. */
static francis_result cart_remind(francis_ctx *ctx)
{
    printf("%s, you still have %s in your cart\n", ctx->id,
           (const char *)francis_state_get(ctx).data);
    return FRANCIS_OK;
}

static francis_result cart_checkout(francis_ctx *ctx)
{
    francis_bytes cart   = francis_state_get(ctx);
    size_t        size   = cart.size + strlen(ctx->id) + 5;
    char         *order  = (char *)francis_alloc(ctx, size);
    francis_alarm remind = { .name = "remind" };

    if (cart.data == NULL)
        return francis_fail(ctx, ERR_EMPTY, "the cart of '%s' is empty", ctx->id);
    if (order == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)snprintf(order, size, "%s to %s", (const char *)cart.data, ctx->id);
    francis_job ship = { .type = "warehouse", .id = "main", .method = "ship", .data = order,
                         .size = strlen(order) };
    francis_job_dispatch(ctx, &ship, NULL);             /* a refusal would fail the turn */
    francis_alarm_delete(ctx, &remind, NULL);           /* that it has gone off already does not */
    return francis_state_delete(ctx);
}

static const francis_method cart_methods[] = {
    { "add",      cart_add,      FRANCIS_INVOKE, 0 },
    { "checkout", cart_checkout, FRANCIS_INVOKE, 0 },
    { "remind",   cart_remind,   FRANCIS_ALARM,  0 },
    FRANCIS_METHODS_END
};

/* -- the warehouse ----------------------------------------------------------------------------- */
typedef struct { int64_t shipped; } warehouse;

static francis_result warehouse_ship(francis_ctx *ctx)
{
    warehouse *w = (warehouse *)francis_state(ctx);

    if (ctx->attempt == 1)                              /* the same job again, a little later */
        return francis_fail(ctx, ERR_NO_VAN, "there is no van");
    w->shipped++;
    printf("shipping %s (attempt %u)\n", (const char *)ctx->input.data, ctx->attempt);
    return FRANCIS_OK;
}

static francis_result warehouse_shipped(francis_ctx *ctx)
{
    return francis_replyf(ctx, "%lld", (long long)((warehouse *)francis_state(ctx))->shipped);
}

static const francis_method warehouse_methods[] = {
    { "ship",    warehouse_ship,    FRANCIS_JOB,  0 },
    { "shipped", warehouse_shipped, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};

/* -- a day in the shop ------------------------------------------------------------------------- */
static void ask(francis_ctx *ctx, const char *who, const char *method, const char *thing)
{
    francis_call call = { 0 };

    if (francis_invoke(ctx, "cart", who, method, thing, strlen(thing), &call) != FRANCIS_OK)
        printf("%s: %s\n", method, call.error);
    francis_call_free(&call);
}

/* The number of reminders and orders that are to come. */
static int pending(francis_ctx *ctx)
{
    francis_list list[] = { { .what = FRANCIS_LIST_ALARMS, .type = "cart" },
                            { .what = FRANCIS_LIST_JOBS, .type = "warehouse" } };
    int          count = 0;

    for (int i = 0; i < 2; i++) {
        while (francis_list_next(ctx, &list[i]) == FRANCIS_OK)
            count++;
        francis_list_free(&list[i]);
    }
    return count;
}

static void wait_for_all(francis_host *host)
{
    francis_ctx *ctx   = francis_host_ctx(host);
    int64_t      until = francis_now(ctx) + PATIENCE_MS;

    while (pending(ctx) > 0 && francis_now(ctx) < until && francis_poll(host, 20) == FRANCIS_OK)
        continue;
}

static void day(francis_host *host)
{
    francis_ctx *ctx  = francis_host_ctx(host);
    francis_call call = { 0 };

    wait_for_all(host);                                 /* what a killed run has left */
    ask(ctx, "ann", "add", "milk");
    ask(ctx, "ann", "add", "bread");
    wait_for_all(host);                                 /* one reminder, for both */
    ask(ctx, "ann", "checkout", "");
    wait_for_all(host);
    ask(ctx, "bob", "add", "eggs");
    ask(ctx, "bob", "checkout", "");
    wait_for_all(host);                                 /* no reminder */
    ask(ctx, "bob", "checkout", "");
    if (francis_peek(ctx, "warehouse", "main", "shipped", NULL, 0, &call) == FRANCIS_OK)
        printf("%s shipped\n", (const char *)call.data);
    francis_call_free(&call);
}

int main(int argc, char **argv)
{
    francis_host      *host  = NULL;
    francis_host_desc  desc  = { .database = argc > 1 ? argv[1] : "reminders.db" };
    francis_actor_desc carts = { .type = "cart", .methods = cart_methods };
    francis_actor_desc house = { .type = "warehouse", .methods = warehouse_methods,
                                 .state_size = sizeof(warehouse), .retry_delay_ms = RETRY_MS };

    francis_open(&host, &desc);
    francis_register(host, &carts);
    francis_register(host, &house);
    francis_result r = francis_start(host);
    if (r == FRANCIS_OK)
        day(host);
    else
        fprintf(stderr, "reminders: %s\n", francis_host_error(host));
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
