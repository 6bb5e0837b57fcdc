/* A shopping cart: state of variable size, here a JSON array. It vanishes after 30 days without a
 * change.
 * Usage: cart [DATABASE [USER [add JSON-VALUE | show | checkout]]] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>
#include <string.h>

enum { ERR_EMPTY = FRANCIS_ERR_USER + 1 };

/* The state is absent while the cart is empty. The input is one JSON value. */
static francis_result cart_add(francis_ctx *ctx)
{
    francis_bytes old  = francis_state_get(ctx);
    size_t        size = old.size + ctx->input.size + 3;
    char         *cart = (char *)francis_alloc(ctx, size);      /* freed with the turn */

    if (ctx->input.size == 0)
        return francis_fail(ctx, FRANCIS_ERR_BAD_INPUT, "what?");
    if (cart == NULL)
        return FRANCIS_ERR_NOMEM;
    if (old.data == NULL)
        (void)snprintf(cart, size, "[%.*s]", (int)ctx->input.size, (const char *)ctx->input.data);
    else
        (void)snprintf(cart, size, "%.*s,%.*s]", (int)(old.size - 1), (const char *)old.data,
                       (int)ctx->input.size, (const char *)ctx->input.data);
    francis_state_set(ctx, cart, strlen(cart));         /* a refused write fails the turn */
    francis_state_expire(ctx, FRANCIS_DAYS(30));
    return francis_reply(ctx, cart, strlen(cart));
}

static francis_result cart_show(francis_ctx *ctx)
{
    francis_bytes cart = francis_state_get(ctx);
    return cart.data != NULL ? francis_reply(ctx, cart.data, cart.size)
                             : francis_reply(ctx, "[]", 2);
}

static francis_result cart_checkout(francis_ctx *ctx)
{
    francis_bytes cart = francis_state_get(ctx);

    if (cart.data == NULL)
        return francis_fail(ctx, ERR_EMPTY, "the cart of '%s' is empty", ctx->id);
    francis_reply(ctx, cart.data, cart.size);           /* copied; leaves once it is emptied */
    return francis_state_delete(ctx);
}

static const francis_method cart_methods[] = {
    { "add",      cart_add,      FRANCIS_INVOKE, 0 },
    { "checkout", cart_checkout, FRANCIS_INVOKE, 0 },
    { "show",     cart_show,     FRANCIS_PEEK,   0 },
    FRANCIS_METHODS_END
};

int main(int argc, char **argv)
{
    const char        *user   = argc > 2 ? argv[2] : "user-42";
    const char        *method = argc > 3 ? argv[3] : "show";
    const char        *value  = argc > 4 ? argv[4] : NULL;
    francis_host      *host   = NULL;
    francis_host_desc  desc   = { .database = argc > 1 ? argv[1] : "cart.db" };
    francis_actor_desc actor  = { .type = "cart", .methods = cart_methods };
    francis_call       call   = { 0 };

    francis_open(&host, &desc);
    francis_register(host, &actor);
    francis_result r = francis_start(host);
    if (r != FRANCIS_OK) {
        fprintf(stderr, "cart: %s\n", francis_host_error(host));
    } else {
        r = francis_invoke(francis_host_ctx(host), "cart", user, method, value,
                           value != NULL ? strlen(value) : 0, &call);
        if (r == FRANCIS_OK)
            printf("%.*s\n", (int)call.size, (const char *)call.data);
        else
            fprintf(stderr, "cart: %s\n", call.error);
        francis_call_free(&call);
    }
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
