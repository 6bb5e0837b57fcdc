/* Alarms and jobs whose effects are counted, for tests in which something fails meanwhile. Each of
 * them adds one to an actor of its own; a model says how often that must have happened: what was
 * acknowledged once, what was refused never, what is unknown at most once. */
#ifndef ERRANDS_H
#define ERRANDS_H

#include "counters.h"

#include <stdatomic.h>

typedef struct errands {
    francis_ctx  *ctx;
    sqlite3      *db;               /* a connection of the test's own */
    unsigned      round;
    counter_model alarmed, replaced, deleted, worked, keyed, cancelled, orders, ordered, dying,
        revived;
    char          dead_id[64];      /* of the job that waits to be revived */
    /* Whether it is the usual answer; else it must be one that the fault explains. */
    bool        (*usual)(francis_result r, francis_result usual, const char *what);
} errands;

static atomic_bool errand_dies;     /* the job "perhaps" dies at once */

static francis_result errand_run(francis_ctx *ctx)
{
    if (strcmp(ctx->method, "die") == 0 && ctx->kind == FRANCIS_JOB)
        return FRANCIS_ERR_PERMANENT;
    if (strcmp(ctx->method, "perhaps") == 0 && atomic_load(&errand_dies))
        return FRANCIS_ERR_PERMANENT;
    return counter_increment(ctx);
}

/* job_failed: of "perhaps" it does nothing. */
static francis_result errand_failed(francis_ctx *ctx)
{
    return strcmp(ctx->method, "die") == 0 ? counter_increment(ctx) : FRANCIS_OK;
}

/* A turn that counts itself, an alarm and a job of another actor; all of it or nothing. */
static francis_result errand_order(francis_ctx *ctx)
{
    francis_alarm far = { .name = "far", .delay_ms = 3600000 };
    francis_alarm soon = { .type = "errand", .id = "ordered0", .name = "soon" };
    francis_job   job = { .type = "errand", .id = "ordered0", .method = "work" };
    francis_job   never = { .method = "work", .delay_ms = 3600000 };
    francis_call  call = { 0 };
    char          id[64];
    francis_result r = francis_alarm_set(ctx, &soon, NULL);
    if (r == FRANCIS_OK)
        r = francis_job_dispatch(ctx, &job, NULL);
    if (r == FRANCIS_OK)
        r = francis_alarm_set(ctx, &far, NULL);
    if (r == FRANCIS_OK)
        r = francis_alarm_delete(ctx, &far, NULL);
    if (r == FRANCIS_OK)
        r = francis_job_dispatch(ctx, &never, &call);
    if (r == FRANCIS_OK) {
        (void)snprintf(id, sizeof id, "%s", (const char *)call.data);
        r = francis_job_cancel(ctx, id, NULL);
    }
    return r == FRANCIS_OK ? counter_increment(ctx) : r;
}

static const francis_method errand_methods[] = {
    { "order", errand_order, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};

T_UNUSED static const francis_actor_desc errand_type = {
    .type = "errand", .methods = errand_methods, .state_size = sizeof(counter_state),
    .alarm = errand_run, .job = errand_run, .job_failed = errand_failed, .attempts_max = 100,
    .retry_delay_ms = 1, .requests_kept_max = 1000000
};

T_UNUSED static void errands_init(errands *e)
{
    (void)memset(e, 0, sizeof *e);
    model_init(&e->alarmed, "alarmed", 0);
    model_init(&e->replaced, "replaced", 0);
    model_init(&e->deleted, "deleted", 0);
    model_init(&e->worked, "worked", 0);
    model_init(&e->keyed, "keyed", 0);
    model_init(&e->cancelled, "cancelled", 0);
    model_init(&e->orders, "orders", 0);
    model_init(&e->ordered, "ordered", 0);
    model_init(&e->dying, "dying", 0);
    model_init(&e->revived, "revived", 0);
}

/* Something was asked for that adds one. */
static void errand_asked(const errands *e, counter_model *m, francis_result r, const char *what)
{
    (void)e->usual(r, FRANCIS_OK, what);
    if (francis_outcome(r) == FRANCIS_OUTCOME_DONE)
        m->lo++;
    if (francis_outcome(r) == FRANCIS_OUTCOME_DONE || francis_outcome(r) == FRANCIS_OUTCOME_UNKNOWN)
        m->hi++;
}

static int64_t errands_pending(const errands *e)
{
    return raw_int(e->db, "SELECT (SELECT count(*) FROM francis_alarms) + (SELECT count(*) FROM"
                   " francis_dead_jobs WHERE ext_hook_at IS NOT NULL)", NULL, NULL);
}

/* Before anything fails: a job dies. The caller lets the host move until errand_is_dead. */
T_UNUSED static void errands_prepare(errands *e)
{
    francis_job  job = { .type = "errand", .id = e->revived.id, .method = "perhaps" };
    francis_call call = { 0 };
    atomic_store(&errand_dies, true);
    t_ok(francis_job_dispatch(e->ctx, &job, &call));
    (void)snprintf(e->dead_id, sizeof e->dead_id, "%s", (const char *)call.data);
    francis_call_free(&call);
}

T_UNUSED static bool errand_is_dead(const errands *e)
{
    if (raw_int(e->db, "SELECT 1 FROM francis_dead_jobs WHERE job_id = ?1 AND ext_hook_at IS NULL",
                e->dead_id, NULL) != 1)
        return false;
    atomic_store(&errand_dies, false);
    return true;
}

static void errands_alarms(errands *e)
{
    francis_alarm alarm = { .type = "errand", .id = e->alarmed.id, .name = "now",
                            .data = "some data", .size = 9 };
    francis_result r;

    alarm.due_ms = francis_now(e->ctx) - 1;
    errand_asked(e, &e->alarmed, francis_alarm_set(e->ctx, &alarm, NULL), "alarm_set");
    alarm.id = e->replaced.id;
    alarm.due_ms = 0;
    alarm.delay_ms = 3600000;
    alarm.repeat = "1h";
    (void)e->usual(francis_alarm_set(e->ctx, &alarm, NULL), FRANCIS_OK, "alarm_set far");
    alarm.delay_ms = 0;
    alarm.repeat = NULL;
    errand_asked(e, &e->replaced, francis_alarm_set(e->ctx, &alarm, NULL), "alarm_set again");
    alarm.id = e->deleted.id;
    alarm.delay_ms = 3600000;
    r = francis_alarm_set(e->ctx, &alarm, NULL);
    (void)e->usual(r, FRANCIS_OK, "alarm_set to delete");
    r = e->usual(r, FRANCIS_OK, "alarm_set") ? francis_alarm_delete(e->ctx, &alarm, NULL)
                                             : FRANCIS_OK;
    (void)e->usual(r, FRANCIS_OK, "alarm_delete");
}

static void errands_jobs(errands *e)
{
    francis_job    job = { .type = "errand", .id = e->worked.id, .method = "work",
                           .data = "some data", .size = 9 };
    francis_call   call = { 0 };
    char           key[32], id[64] = "";
    int64_t        lo = e->keyed.lo;
    francis_result r;

    errand_asked(e, &e->worked, francis_job_dispatch(e->ctx, &job, &call), "job_dispatch");
    (void)snprintf(key, sizeof key, "key%u", e->round);
    job.request_id = key;
    job.id = e->keyed.id;
    errand_asked(e, &e->keyed, francis_job_dispatch(e->ctx, &job, &call), "job_dispatch keyed");
    r = francis_job_dispatch(e->ctx, &job, &call);
    (void)e->usual(r, FRANCIS_OK, "job_dispatch again");
    if (r == FRANCIS_OK)            /* whatever became of the first */
        e->keyed.lo = e->keyed.hi = lo + 1;
    else if (francis_outcome(r) == FRANCIS_OUTCOME_UNKNOWN && e->keyed.hi == lo)
        e->keyed.hi++;
    job.request_id = NULL;
    job.id = e->cancelled.id;
    job.delay_ms = 3600000;
    r = francis_job_dispatch(e->ctx, &job, &call);
    if (e->usual(r, FRANCIS_OK, "job_dispatch far")) {
        (void)snprintf(id, sizeof id, "%s", (const char *)call.data);
        (void)e->usual(francis_job_cancel(e->ctx, id, &call), FRANCIS_OK, "job_cancel");
    }
    job.delay_ms = 0;
    job.id = e->dying.id;
    job.method = "die";
    errand_asked(e, &e->dying, francis_job_dispatch(e->ctx, &job, &call), "job_dispatch to die");
    errand_asked(e, &e->revived, francis_job_retry(e->ctx, e->dead_id, &call), "job_retry");
    francis_call_free(&call);
}

static void errands_lists(const errands *e)
{
    static const francis_list_kind kinds[] = { FRANCIS_LIST_ALARMS, FRANCIS_LIST_JOBS,
                                               FRANCIS_LIST_DEAD_JOBS };
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        francis_list   list = { .what = kinds[i], .type = "errand", .with_data = true };
        francis_result r;
        while ((r = francis_list_next(e->ctx, &list)) == FRANCIS_OK)
            assert_string_equal(list.item.type, "errand");
        (void)e->usual(r, FRANCIS_DONE, "list_next");
        francis_list_free(&list);
    }
}

/* Asks for all of them, while something fails. */
T_UNUSED static void errands_ask(errands *e)
{
    francis_call   call = { 0 };
    francis_result r;
    e->round++;
    errands_alarms(e);
    errands_jobs(e);
    r = francis_invoke(e->ctx, "errand", e->orders.id, "order", NULL, 0, &call);
    (void)e->usual(r, FRANCIS_OK, "order");
    model_answer(&e->orders, r, call.data, call.size);
    errands_lists(e);
    (void)e->usual(francis_purge(e->ctx, "errand", e->deleted.id, &call), FRANCIS_OK, "purge");
    francis_call_free(&call);
}

/* What may be left and is not due for an hour: forgotten. Nothing fails any more. */
T_UNUSED static void errands_tidy(errands *e)
{
    sqlite3_stmt *s = NULL;
    francis_alarm alarm = { .type = "errand", .id = e->replaced.id, .name = "now" };
    francis_alarm other = { .type = "errand", .id = e->deleted.id, .name = "now" };
    francis_result r;
    if (raw_int(e->db, "SELECT 1 FROM francis_alarms WHERE actor_id = ?1 AND alarm_interval IS NOT"
                " NULL", e->replaced.id, NULL) == 1)
        t_ok(francis_alarm_delete(e->ctx, &alarm, NULL));
    r = francis_alarm_delete(e->ctx, &other, NULL);
    if (r != FRANCIS_ERR_NOT_FOUND)
        t_ok(r);
    assert_int_equal(sqlite3_prepare_v2(e->db, "SELECT alarm_id FROM francis_alarms WHERE actor_id"
                                        " = ?1", -1, &s, NULL), SQLITE_OK);
    (void)sqlite3_bind_text(s, 1, e->cancelled.id, -1, SQLITE_STATIC);
    while (sqlite3_step(s) == SQLITE_ROW)
        t_ok(francis_job_cancel(e->ctx, (const char *)sqlite3_column_text(s, 0), NULL));
    (void)sqlite3_finalize(s);
}

/* When nothing is pending any more. */
T_UNUSED static void errands_stored(errands *e)
{
    counter_model *const all[] = { &e->alarmed, &e->replaced, &e->deleted, &e->worked, &e->keyed,
                                   &e->cancelled, &e->orders, &e->dying, &e->revived };
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++)
        model_stored(all[i], e->db, "errand");
    e->ordered.lo = e->ordered.hi = 2 * e->orders.lo;
    model_stored(&e->ordered, e->db, "errand");
}

#endif
