/* A test of actors in a simulated world, and the bug that it finds.
 *
 * Accounts move money: a transfer takes it from one account and pays it into another one, which may
 * live on another host. The first version forgets that a call may have happened although its answer
 * was lost: it pays again, and money comes out of nothing. The test runs both versions in hundreds
 * of worlds in which hosts are killed and links break, each of its own seed, and counts the money.
 *
 *     cc simtest.c -lsqlite3 -lmbedtls -lmbedx509 -lmbedcrypto -lpthread
 *     ./simtest                  both versions, 200 worlds each
 *     ./simtest bad 17           one world of the version that is wrong, with all that happens
 *     ./simtest good 17 */
#define FRANCIS_SIM
#define FRANCIS_IMPLEMENTATION
#include "francis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS = 3, ACCOUNTS = 6, TRANSFERS = 40, START_MONEY = 1000 };

/* ---- the application: what is tested ---- */

typedef struct {
    int64_t balance;
    bool    opened;
} account;

typedef struct {                    /* input of both methods */
    int64_t amount;
    char    to[16];
    char    id[16];                 /* of the transfer */
} payment;

static account *account_of(francis_ctx *ctx)
{
    account *a = (account *)francis_state(ctx);
    if (a != NULL && !a->opened) {
        a->opened = true;
        a->balance = START_MONEY;
    }
    return a;
}

static francis_result on_balance(francis_ctx *ctx)
{
    account *a = account_of(ctx);
    return a == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, &a->balance, sizeof a->balance);
}

static francis_result on_deposit(francis_ctx *ctx)
{
    account *a = account_of(ctx);
    payment  p;
    if (a == NULL)
        return FRANCIS_ERR_NOMEM;
    memcpy(&p, ctx->input.data, sizeof p);
    a->balance += p.amount;
    return FRANCIS_OK;
}

/* Goes on when the deposit was answered. Only now is the money taken, with this turn. */
static francis_result on_paid(francis_ctx *ctx)
{
    francis_call *call = (francis_call *)ctx->local;
    account      *a = account_of(ctx);
    payment       p;
    if (call->result != FRANCIS_OK)
        return francis_fail(ctx, FRANCIS_ERR_USER, "not paid: %s", call->error);
    if (a == NULL)
        return FRANCIS_ERR_NOMEM;
    memcpy(&p, ctx->input.data, sizeof p);
    a->balance -= p.amount;
    return FRANCIS_OK;
}

/* Pays first. When that fails, or the turn itself does, whoever wants the transfer asks for it
 * again: the deposit must then not be made a second time, so it needs a name. The bug is that it
 * has none. */
static francis_result transfer(francis_ctx *ctx, bool named)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    payment       p;
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    memset(call, 0, sizeof *call);
    memcpy(&p, ctx->input.data, sizeof p);
    call->async = true;
    call->request_id = named ? p.id : NULL;
    (void)francis_invoke(ctx, "account", p.to, "deposit", &p, sizeof p, call);
    return francis_await(ctx, on_paid, call);
}

static francis_result on_transfer_bad(francis_ctx *ctx)  { return transfer(ctx, false); }
static francis_result on_transfer_good(francis_ctx *ctx) { return transfer(ctx, true); }

static const francis_method methods_bad[] = {
    { "balance", on_balance, FRANCIS_INVOKE, 0 },
    { "deposit", on_deposit, FRANCIS_INVOKE, sizeof(payment) },
    { "transfer", on_transfer_bad, FRANCIS_INVOKE, sizeof(payment) },
    FRANCIS_METHODS_END
};

static const francis_method methods_good[] = {
    { "balance", on_balance, FRANCIS_INVOKE, 0 },
    { "deposit", on_deposit, FRANCIS_INVOKE, sizeof(payment) },
    { "transfer", on_transfer_good, FRANCIS_INVOKE, sizeof(payment) },
    FRANCIS_METHODS_END
};

static const francis_actor_desc bad[] = {
    { .type = "account", .methods = methods_bad, .state_size = sizeof(account) },
    { .type = NULL }
};

static const francis_actor_desc good[] = {
    { .type = "account", .methods = methods_good, .state_size = sizeof(account) },
    { .type = NULL }
};

/* ---- the test ---- */

/* A host that runs, at random; those that do not are started now and then. */
static francis_ctx *any_host(francis_sim *w)
{
    int host = (int)francis_sim_random(w, HOSTS);
    while (francis_sim_running(w, host) == NULL && francis_sim_start(w, host) != FRANCIS_OK)
        francis_sim_run(w, 100);
    return francis_sim_ctx(w, host);
}

/* Asks until it is done. The transfer has a name as well, so that it is made once. */
static void make_transfer(francis_sim *w, int number)
{
    uint64_t       a = francis_sim_random(w, ACCOUNTS), b = francis_sim_random(w, ACCOUNTS - 1);
    payment        p = { .amount = 1 + (int64_t)francis_sim_random(w, 100) };
    char           from[16];
    francis_result r;
    (void)snprintf(p.id, sizeof p.id, "t%d", number);
    (void)snprintf(from, sizeof from, "a%d", (int)a);
    (void)snprintf(p.to, sizeof p.to, "a%d", (int)((a + 1 + b) % ACCOUNTS));
    do {
        francis_call call = { .request_id = p.id, .timeout_ms = 3000 };
        r = francis_invoke(any_host(w), "account", from, "transfer", &p, sizeof p, &call);
        francis_sim_note(w, "%s: %d from %s to %s: %s", p.id, (int)p.amount, from, p.to,
                         francis_result_name(r));
        francis_call_free(&call);
        if (r != FRANCIS_OK)
            francis_sim_run(w, 50);
    } while (r != FRANCIS_OK);
}

/* What may happen at any moment, also in the midst of a transfer. */
static void mischief(void *user)
{
    francis_sim *w = (francis_sim *)user;
    int          host = (int)francis_sim_random(w, HOSTS);
    switch (francis_sim_random(w, 3)) {
    case 0:
        francis_sim_kill(w, host);
        break;
    case 1:
        francis_sim_after(w, host, FRANCIS_SIM_SEND, 1 + francis_sim_random(w, 5),
                          FRANCIS_SIM_FAIL);        /* its connection breaks */
        break;
    default:
        francis_sim_after(w, host, FRANCIS_SIM_SYNC, 1, FRANCIS_SIM_KILL);
        break;
    }
    (void)francis_sim_at(w, FRANCIS_SIM_ALL, 10 + (int64_t)francis_sim_random(w, 200), mischief, w);
}

static int64_t count_money(francis_sim *w)
{
    int64_t sum = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        francis_result r;
        do {
            francis_call call = { 0 };
            char         id[16];
            (void)snprintf(id, sizeof id, "a%d", i);
            r = francis_invoke(any_host(w), "account", id, "balance", NULL, 0, &call);
            if (r == FRANCIS_OK)
                sum += *(const int64_t *)call.data;
            francis_call_free(&call);
        } while (r != FRANCIS_OK);
    }
    return sum;
}

/* One world. Whether the money is still the same. */
static bool run(const francis_actor_desc *types, uint64_t seed, bool verbose)
{
    francis_sim_desc  desc = { .seed = seed, .verbose = verbose, .trace_lines = 12,
                               .replay = types == bad ? "./simtest bad" : "./simtest good",
                               .faults = { .latency_us = 500, .jitter_us = 2000,
                                           .sync_us = 1000 } };
    francis_host_desc hosts[HOSTS];
    char              address[HOSTS][32];
    francis_sim      *w = NULL;
    int64_t           money;
    bool              failed;
    if (francis_sim_open(&w, &desc) != FRANCIS_OK)
        return false;
    memset(hosts, 0, sizeof hosts);
    for (int i = 0; i < HOSTS; i++) {
        (void)snprintf(address[i], sizeof address[i], "10.0.0.%d:7571", i + 1);
        hosts[i].database = "bank.db";
        hosts[i].address = address[i];
        hosts[i].cluster_key = "a key for a cluster of the simulator";
        hosts[i].log_level = FRANCIS_LOG_ERROR;
        (void)francis_sim_host(w, 0, &hosts[i], types);
    }
    mischief(w);
    for (int i = 0; i < TRANSFERS; i++)
        make_transfer(w, i);
    money = count_money(w);
    if (money != (int64_t)ACCOUNTS * START_MONEY)
        francis_sim_fail(w, "there were %d, and are %d", ACCOUNTS * START_MONEY, (int)money);
    failed = francis_sim_failed(w);
    if (verbose)
        printf("hash %016llx\n", (unsigned long long)francis_sim_hash(w));
    francis_sim_close(w);
    return !failed;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        const francis_actor_desc *types = strcmp(argv[1], "bad") == 0 ? bad : good;
        return run(types, strtoull(argv[2], NULL, 10), true) ? 0 : 1;
    }
    for (uint64_t seed = 1;; seed++) {
        if (seed > 200) {
            printf("the bug was not found\n");
            return 1;
        }
        if (!run(bad, seed, false)) {
            printf("bad: world %d has found it\n", (int)seed);
            break;
        }
    }
    for (uint64_t seed = 1; seed <= 200; seed++)
        if (!run(good, seed, false)) {
            printf("good: world %d has failed\n", (int)seed);
            return 1;
        }
    printf("good: 200 worlds, and the money is right in each\n");
    return 0;
}
