/* A transfer between two accounts by a call from one to the other. The callee commits by itself and
 * is not undone when the caller fails. So the caller stores what is pending, flushes, calls with a
 * request id, and settles what came of it. Crash where you like, and ask again with the same id
 * within a day (see main): money is neither lost nor doubled.
 * Usage: bank_call [DATABASE [CENTS [TRANSFER-ID [TO]]]] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERR_FUNDS = FRANCIS_ERR_USER + 1, ERR_NO_ACCOUNT, ERR_PENDING };

typedef struct { int64_t cents; char to[64], id[40]; } transfer;
typedef struct { int64_t cents, is_open; transfer pending; } account;

static francis_result account_send(francis_ctx *ctx)
{
    const transfer *t    = (const transfer *)ctx->input.data;   /* its size was checked */
    account        *a    = (account *)francis_state(ctx);
    francis_call    call = { .timeout_ms = FRANCIS_SECONDS(5), .request_id = t->id };
    francis_result  r;

    if (strcmp(a->pending.id, t->id) != 0) {        /* else a crash came between flush and answer */
        if (a->pending.id[0] != '\0')
            return francis_fail(ctx, FRANCIS_ERR_BUSY, "'%s' is not settled", a->pending.id);
        if (a->cents < t->cents)
            return francis_fail(ctx, ERR_FUNDS, "%lld cents, %lld needed", (long long)a->cents,
                                (long long)t->cents);
        a->cents -= t->cents;
        a->pending = *t;
        if ((r = francis_flush(ctx, NULL)) != FRANCIS_OK)   /* durable before anybody is told */
            return r;
    }
    r = francis_invoke(ctx, "account", t->to, "credit", t, sizeof *t, &call);
    if (r != FRANCIS_OK && !call.from_handler)
        return francis_fail(ctx, ERR_PENDING, "%s", call.error);    /* the same again, later */
    if (r != FRANCIS_OK)
        a->cents += t->cents;                       /* refused. What writes is a reply, no error */
    memset(&a->pending, 0, sizeof a->pending);
    return r == FRANCIS_OK ? francis_replyf(ctx, "sent")
                           : francis_replyf(ctx, "refused: %s", call.error);
}

static francis_result account_credit(francis_ctx *ctx)
{
    const transfer *t = (const transfer *)ctx->input.data;
    account        *a = (account *)francis_state(ctx);

    if (a->is_open == 0)
        return francis_fail(ctx, ERR_NO_ACCOUNT, "there is no account '%s'", ctx->id);
    a->cents += t->cents;
    return FRANCIS_OK;
}

static francis_result account_open(francis_ctx *ctx)        /* may be repeated */
{
    account *a = (account *)francis_state(ctx);

    if (a->is_open == 0)
        a->cents = *(const int64_t *)ctx->input.data;
    a->is_open = 1;
    return FRANCIS_OK;
}

static francis_result account_balance(francis_ctx *ctx)
{
    return francis_reply(ctx, &((const account *)francis_state(ctx))->cents, sizeof(int64_t));
}

static const francis_method account_methods[] = {
    { "send",    account_send,    FRANCIS_INVOKE, sizeof(transfer) },
    { "credit",  account_credit,  FRANCIS_INVOKE, sizeof(transfer) },
    { "open",    account_open,    FRANCIS_INVOKE, sizeof(int64_t) },
    { "balance", account_balance, FRANCIS_PEEK,   0 },
    FRANCIS_METHODS_END
};

static void print_balance(francis_ctx *ctx, const char *who)
{
    francis_call call = { 0 };

    if (francis_peek(ctx, "account", who, "balance", NULL, 0, &call) == FRANCIS_OK)
        printf("%s %lld\n", who, (long long)*(const int64_t *)call.data);
    else
        printf("%s: %s\n", who, call.error);
    francis_call_free(&call);
}

static francis_result run(francis_ctx *ctx, const transfer *t)
{
    francis_call   call  = { .request_id = t->id };         /* repeated by francis; done once */
    int64_t        first = 5000, none = 0;
    francis_result r;

    r = francis_invoke(ctx, "account", "alice", "open", &first, sizeof first, NULL);
    if (r == FRANCIS_OK)
        r = francis_invoke(ctx, "account", "bob", "open", &none, sizeof none, NULL);
    if (r != FRANCIS_OK)
        return r;
    r = francis_invoke(ctx, "account", "alice", "send", t, sizeof *t, &call);
    if (r == FRANCIS_OK)
        printf("%.*s\n", (int)call.size, (const char *)call.data);
    else if (r == ERR_FUNDS)
        printf("alice is short: %s\n", call.error);
    else
        printf("ask again with the same transfer id: %s\n", call.error);
    francis_call_free(&call);
    print_balance(ctx, "alice");
    print_balance(ctx, "bob");
    return r;
}

int main(int argc, char **argv)
{
    francis_host      *host  = NULL;
    francis_host_desc  desc  = { .database = argc > 1 ? argv[1] : "bank.db" };
    francis_actor_desc actor = { .type = "account", .methods = account_methods,
                                 .state_size = sizeof(account),
                                 .requests_kept_max = 1000,     /* how many, and how long */
                                 .requests_kept_ms = FRANCIS_DAYS(1) };
    transfer           t;

    memset(&t, 0, sizeof t);                        /* the id answers for each byte of the input */
    t.cents = argc > 2 ? strtoll(argv[2], NULL, 10) : 1250;
    (void)snprintf(t.id, sizeof t.id, "%s", argc > 3 ? argv[3] : "tx-0001");
    (void)snprintf(t.to, sizeof t.to, "%s", argc > 4 ? argv[4] : "bob");
    francis_open(&host, &desc);
    francis_register(host, &actor);
    francis_result r = francis_start(host);
    if (r != FRANCIS_OK)
        fprintf(stderr, "bank_call: %s\n", francis_host_error(host));
    else
        r = run(francis_host_ctx(host), &t);
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
