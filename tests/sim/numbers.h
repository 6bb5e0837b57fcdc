/* Numbers: counters, registers that are written and swapped, and counters that read another one in
 * their turns; and clients who call them, and ask again where nobody knows. */
#ifndef NUMBERS_H
#define NUMBERS_H

#include "world.h"

/* ---- the actors ---- */

typedef struct {
    stamp         stamp;
    counter_state c;
} number_state;

typedef struct {
    int64_t arg, expected;
    int64_t spend_ms;               /* how long the turn takes */
    int64_t fails;                  /* the handler refuses in the end */
} input;

static francis_result turn_begin(francis_ctx *ctx, input *in, number_state **out)
{
    number_state *s = (number_state *)francis_state(ctx);
    (void)memcpy(in, ctx->input.data, sizeof *in);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    if (!counter_whole(&s->c))
        return francis_fail(ctx, FRANCIS_ERR_CORRUPT, "half a state: %lld", (long long)s->c.n);
    if (in->spend_ms > 0)
        francis_sim_spend(ctx, in->spend_ms);
    *out = s;
    return FRANCIS_OK;
}

static void number_put(francis_ctx *ctx, number_state *s, int64_t n)
{
    counter_put(&s->c, n);
    stamp_put(ctx, &s->stamp);
}

/* What was written before a refusal must never be seen. */
static francis_result turn_end(francis_ctx *ctx, const input *in, int64_t value)
{
    if (in->fails)
        return francis_fail(ctx, FRANCIS_ERR_USER, "refused after it has written");
    return francis_reply(ctx, &value, sizeof value);
}

static francis_result on_increment(francis_ctx *ctx)
{
    input          in;
    number_state  *s = NULL;
    francis_result r = turn_begin(ctx, &in, &s);
    if (r != FRANCIS_OK)
        return r;
    number_put(ctx, s, s->c.n + 1);
    return turn_end(ctx, &in, s->c.n);
}

static francis_result on_read(francis_ctx *ctx)
{
    input          in;
    number_state  *s = NULL;
    francis_result r = turn_begin(ctx, &in, &s);
    return r != FRANCIS_OK ? r : francis_reply(ctx, &s->c.n, sizeof s->c.n);
}

static francis_result on_write(francis_ctx *ctx)
{
    input          in;
    number_state  *s = NULL;
    francis_result r = turn_begin(ctx, &in, &s);
    if (r != FRANCIS_OK)
        return r;
    number_put(ctx, s, in.arg);
    return turn_end(ctx, &in, s->c.n);
}

static francis_result on_swap(francis_ctx *ctx)
{
    input          in;
    number_state  *s = NULL;
    int64_t        before;
    francis_result r = turn_begin(ctx, &in, &s);
    if (r != FRANCIS_OK)
        return r;
    before = s->c.n;
    if (before == in.expected)
        number_put(ctx, s, in.arg);
    return turn_end(ctx, &in, before);
}

/* Counts, once it has read an actor of another kind, wherever that lives. */
static francis_result on_passed(francis_ctx *ctx)
{
    francis_call  *call = (francis_call *)ctx->local;
    input          in;
    number_state  *s = NULL;
    francis_result r;
    if (call->result != FRANCIS_OK)
        return francis_fail(ctx, FRANCIS_ERR_USER + 1, "it cannot be read: %.200s", call->error);
    r = turn_begin(ctx, &in, &s);
    if (r != FRANCIS_OK)
        return r;
    number_put(ctx, s, s->c.n + 1);
    return turn_end(ctx, &in, s->c.n);
}

static francis_result on_pass(francis_ctx *ctx)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    input         in;
    char          id[16];
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)memset(call, 0, sizeof *call);
    (void)memcpy(&in, ctx->input.data, sizeof in);
    (void)snprintf(id, sizeof id, "a%lld", (long long)in.expected);
    call->async = true;
    call->timeout_ms = 2000;
    (void)francis_invoke(ctx, "counter", id, "read", &in, sizeof in, call);
    return francis_await(ctx, on_passed, call);
}

static const char *const method_names[] = { "increment", "read", "write", "swap" };

static const francis_method methods[] = {
    { "increment", on_increment, FRANCIS_INVOKE, sizeof(input) },
    { "pass", on_pass, FRANCIS_INVOKE, sizeof(input) },
    { "read", on_read, FRANCIS_INVOKE, sizeof(input) },
    { "read", on_read, FRANCIS_PEEK, sizeof(input) },
    { "write", on_write, FRANCIS_INVOKE, sizeof(input) },
    { "swap", on_swap, FRANCIS_INVOKE, sizeof(input) },
    FRANCIS_METHODS_END
};

static const char *const kinds[KINDS] = { "counter", "register", "passer" };

static unsigned kind_of(const campaign *c, unsigned actor)
{
    return c->actors < KINDS ? 0 : actor % KINDS;
}

/* ---- calls ---- */

static void client_think(client *k);
static void client_go(void *user);

static void op_done(op *o, int64_t value)
{
    campaign *c = o->world;
    if (o->fails)
        francis_sim_fail(c->sim, "operation %zu was to be refused, and is done",
                         (size_t)(o - c->ops));
    if (o->op.outcome == LINEAR_DONE) {
        if (value != o->op.value)
            francis_sim_fail(c->sim, "operation %zu on actor %u was answered with %lld, now %lld",
                             (size_t)(o - c->ops), o->actor, (long long)o->op.value,
                             (long long)value);
        return;
    }
    o->op.outcome = LINEAR_DONE;
    o->op.end = ++c->moment;
    o->op.value = value;
    o->maybe = false;
    c->done++;
    c->last[o->actor] = o->op.kind == LINEAR_WRITE ? o->op.arg : value;
}

/* An attempt has come to nothing, or perhaps not. */
static void op_failed(op *o, francis_outcome_kind outcome)
{
    if (o->op.outcome == LINEAR_DONE)
        return;
    if (outcome == FRANCIS_OUTCOME_UNKNOWN && !o->fails)    /* that is never done */
        o->maybe = true;
    o->world->unknown += outcome == FRANCIS_OUTCOME_UNKNOWN;
    o->op.outcome = o->maybe ? LINEAR_MAYBE : LINEAR_NOT;
    o->op.end = ++o->world->moment;
}

static void on_done(francis_call *call)
{
    client   *k = (client *)call->user;
    op       *o = k->now;
    campaign *c = k->world;
    int64_t   value = 0;
    francis_result r = call->result;
    if (o == NULL || call != &o->call)
        return;                     /* it was given up when its host died */
    result_count(c, r, kinds[kind_of(c, o->actor)], call->error != NULL ? call->error : "");
    francis_sim_note(c->sim, "client %d: %s on actor %u: %s %.90s", k->number,
                     method_names[o->op.kind], o->actor, francis_result_name(r),
                     call->error != NULL ? call->error : "");
    if (r == FRANCIS_OK && call->size == sizeof value) {
        (void)memcpy(&value, call->data, sizeof value);
        op_done(o, value);
    } else {
        if (o->again && o->op.outcome == LINEAR_DONE && call->from_handler)
            francis_sim_fail(c->sim, "what was done is refused when it is asked for again");
        op_failed(o, r == FRANCIS_OK ? FRANCIS_OUTCOME_UNKNOWN : francis_outcome(r));
    }
    francis_call_free(call);
    o->under_way = false;
    k->now = NULL;
    if (pick(c, 4) == 0)
        client_go(k);               /* at once: in the same step of its host */
    else
        client_think(k);
}

/* A host that is silent for too long would be left, and the same again the next time. */
static unsigned spend_most(campaign *c)
{
    bool long_one = pick(c, 4) == 0;
    return long_one && c->deadline_ms > 400 ? (unsigned)c->deadline_ms / 10 : 40;
}

static op *op_new(campaign *c, client *k)
{
    op      *o = &c->ops[c->count];
    unsigned chance = pick(c, 100), kind;
    if (c->count >= c->ops_max || c->settling)
        return NULL;
    (void)memset(o, 0, sizeof *o);
    o->world = c;
    o->actor = pick(c, 3) == 0 ? pick(c, c->actors < 3 ? c->actors : 3) : pick(c, c->actors);
    kind = kind_of(c, o->actor);
    o->op.kind = chance < 35 ? LINEAR_READ : kind != 1 ? LINEAR_INCREMENT
                             : chance < 70             ? LINEAR_WRITE
                                                       : LINEAR_SWAP;
    o->passes = kind == 2 && o->op.kind == LINEAR_INCREMENT;
    o->peek = o->op.kind == LINEAR_READ && pick(c, 2) == 0;
    o->keyed = o->op.kind != LINEAR_READ && pick(c, 2) == 0;
    o->fails = o->op.kind != LINEAR_READ && pick(c, 12) == 0;
    if (c->slow_turns && pick(c, 10) == 0)
        o->spend_ms = 1 + (int64_t)pick(c, spend_most(c));
    o->op.client = k->number;
    o->op.arg = (int64_t)c->count + 1;      /* nobody else writes this */
    o->op.expected = c->last[o->actor];
    if (o->passes)
        o->op.expected = pick(c, c->actors / KINDS) * KINDS;
    o->op.begin = ++c->moment;
    o->op.outcome = LINEAR_MAYBE;
    (void)snprintf(o->request_id, sizeof o->request_id, "w%zu", c->count);
    c->count++;
    return o;
}

/* One that is perhaps done, or that was answered: to be asked for again. */
static op *op_old(campaign *c)
{
    size_t from = c->count > 200 ? c->count - 200 : 0, i;
    if (c->settling) {
        for (i = 0; i < c->count; i++)
            if (c->ops[i].keyed && c->ops[i].maybe && !c->ops[i].under_way)
                return &c->ops[i];
        return NULL;
    }
    if (c->count == 0)
        return NULL;
    i = from + pick(c, (unsigned)(c->count - from));
    return c->ops[i].keyed && !c->ops[i].under_way && !c->ops[i].fails &&
                   (c->ops[i].maybe || c->ops[i].op.outcome == LINEAR_DONE)
               ? &c->ops[i]
               : NULL;
}

static void op_begin(client *k, op *o)
{
    campaign    *c = k->world;
    francis_ctx *ctx = francis_sim_ctx(c->sim, k->host);
    input        in = { o->op.arg, o->op.expected, o->spend_ms, o->fails };
    char         id[16];
    id_of(o->actor, id);
    (void)memset(&o->call, 0, sizeof o->call);
    o->call.on_done = on_done;
    o->call.user = k;
    o->call.timeout_ms = pick(c, 6) == 0 ? 20 + (int64_t)pick(c, 300) : 5000;
    o->call.request_id = o->keyed ? o->request_id : NULL;
    o->under_way = true;
    k->now = o;
    if (o->peek)
        (void)francis_peek(ctx, kinds[kind_of(c, o->actor)], id, "read", &in, sizeof in, &o->call);
    else
        (void)francis_invoke(ctx, kinds[kind_of(c, o->actor)], id,
                             o->passes ? "pass" : method_names[o->op.kind], &in, sizeof in,
                             &o->call);
    if (k->now == o && o->call.result != FRANCIS_PENDING)
        on_done(&o->call);          /* refused at once */
}

static void client_go(void *user)
{
    client   *k = (client *)user;
    campaign *c = k->world;
    op       *o = NULL;
    if (k->now != NULL)
        return;
    if (francis_sim_running(c->sim, k->host) == NULL || c->member[k->host].paused) {
        client_think(k);            /* a client of a host that is stopped is stopped as well */
        return;
    }
    if (c->settling || pick(c, 5) == 0)
        o = op_old(c);
    if (o != NULL)
        o->again = true;
    else
        o = op_new(c, k);
    if (o != NULL)
        op_begin(k, o);
    else
        client_think(k);
}

static void client_think(client *k)
{
    campaign *c = k->world;
    if (francis_sim_at(c->sim, k->host, 1 + (int64_t)pick(c, c->think_ms), client_go, k) !=
        FRANCIS_OK)
        francis_sim_fail(c->sim, "no memory");
}

#endif
