/* Counting actors, and a model of what must be stored after any sequence of answers.
 *
 * The state holds the count twice, so that half a write is seen. An answer moves the model: DONE:
 * exactly one more, and the reply says how many; NOT_RUN, FAILED: no change, now and for ever;
 * UNKNOWN: one more or not, until a later reply settles it. */
#ifndef COUNTERS_H
#define COUNTERS_H

#include "raw_sqlite.h"

typedef struct {
    int64_t n;
    int64_t check;                  /* ~n; 0 as long as n is */
} counter_state;

typedef struct {
    char    id[32];
    int64_t lo, hi;                 /* the count is in here */
    int64_t done, refused, unknown; /* answers so far */
} counter_model;

T_UNUSED static bool counter_whole(const counter_state *c)
{
    return c->n == 0 ? c->check == 0 : c->check == ~c->n;
}

T_UNUSED static void counter_put(counter_state *c, int64_t n)
{
    c->n = n;
    c->check = n == 0 ? 0 : ~n;
}

T_UNUSED static francis_result counter_increment(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (!counter_whole(c))
        return francis_fail(ctx, FRANCIS_ERR_CORRUPT, "half a state: %lld", (long long)c->n);
    counter_put(c, c->n + 1);
    return francis_reply(ctx, &c->n, sizeof c->n);
}

T_UNUSED static francis_result counter_get(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (!counter_whole(c))
        return francis_fail(ctx, FRANCIS_ERR_CORRUPT, "half a state: %lld", (long long)c->n);
    return francis_reply(ctx, &c->n, sizeof c->n);
}

/* Changes the state and fails: nothing may stay. */
T_UNUSED static francis_result counter_refuse(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    c->n += 1000;
    return francis_fail(ctx, FRANCIS_ERR_USER + 3, "refused at %d", 3);
}

T_UNUSED static void model_init(counter_model *m, const char *prefix, unsigned number)
{
    (void)memset(m, 0, sizeof *m);
    (void)snprintf(m->id, sizeof m->id, "%s%u", prefix, number);
}

/* The answer to one increment; value is the reply (only looked at with OK). */
T_UNUSED static void model_answer(counter_model *m, francis_result r, const void *data, size_t size)
{
    int64_t value = 0;
    switch (francis_outcome(r)) {
    case FRANCIS_OUTCOME_DONE:
        m->done++;
        if (data == NULL || size != sizeof value)
            fail_msg("%s: done, but the reply has %zu bytes", m->id, size);
        (void)memcpy(&value, data, sizeof value);
        if (value < m->lo + 1 || value > m->hi + 1)
            fail_msg("%s: the reply counts %lld, it should be %lld to %lld", m->id,
                     (long long)value, (long long)m->lo + 1, (long long)m->hi + 1);
        m->lo = m->hi = value;
        break;
    case FRANCIS_OUTCOME_NOT_RUN:
    case FRANCIS_OUTCOME_FAILED:
        m->refused++;
        break;
    case FRANCIS_OUTCOME_UNKNOWN:
        m->unknown++;
        m->hi++;
        break;
    }
}

/* One increment of the actor, with its answer put into the model. */
T_UNUSED static francis_result model_increment(counter_model *m, francis_ctx *ctx, const char *type)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(ctx, type, m->id, "increment", NULL, 0, &call);
    if (r != call.result)
        fail_msg("%s: returned %d, the call says %d", m->id, r, call.result);
    model_answer(m, r, call.data, call.size);
    francis_call_free(&call);
    return r;
}

/* What is stored agrees with the model, seen from outside. */
T_UNUSED static void model_stored(counter_model *m, sqlite3 *db, const char *type)
{
    counter_state c;
    (void)raw_state(db, type, m->id, &c, sizeof c);
    if (!counter_whole(&c))
        fail_msg("%s: half a state is stored: %lld, %lld", m->id, (long long)c.n,
                 (long long)c.check);
    if (c.n < m->lo || c.n > m->hi)
        fail_msg("%s: %lld is stored, it should be %lld to %lld (%lld done, %lld refused, %lld "
                 "unknown)",
                 m->id, (long long)c.n, (long long)m->lo, (long long)m->hi, (long long)m->done,
                 (long long)m->refused, (long long)m->unknown);
    m->lo = m->hi = c.n;
}

#endif
