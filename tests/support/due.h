/* What the tests of alarms and jobs share, on top of ta.h: actors that write down what they are
 * woken for, time that passes by hand where there are no workers, and looks at what is scheduled.
 *
 * An alarm or job whose data is a ta_job runs that; any other adds one to the actor's number. */
#ifndef DUE_H
#define DUE_H

#include "ta.h"

/* -- what has run ------------------------------------------------------------------------------ */

typedef struct {
    francis_turn_kind kind;
    char              type[32], id[64], name[FRANCIS_NAME_SIZE];
    char              text[64];     /* the input, if it is short */
    size_t            size;
    uint32_t          attempt, attempts_max;
    int64_t           due_ms, now_ms;
    char              request_id[300], job_id[64];
    francis_result    result;
    char              error[200];
} due_run;

static struct {
    pthread_mutex_t lock;
    unsigned        count;
    due_run         runs[8192];
} due_runs = { .lock = PTHREAD_MUTEX_INITIALIZER };

T_UNUSED static void due_write_down(francis_ctx *ctx)
{
    due_run *r;
    (void)pthread_mutex_lock(&due_runs.lock);
    if (due_runs.count == sizeof due_runs.runs / sizeof due_runs.runs[0])
        due_runs.count--;           /* the last one only: there are too many anyway */
    r = &due_runs.runs[due_runs.count++];
    (void)memset(r, 0, sizeof *r);
    r->kind = ctx->kind;
    r->size = ctx->input.size;
    r->attempt = ctx->attempt;
    r->attempts_max = ctx->attempts_max;
    r->due_ms = ctx->due_ms;
    r->now_ms = francis_now(ctx);
    r->result = ctx->result;
    (void)snprintf(r->type, sizeof r->type, "%s", ctx->type);
    (void)snprintf(r->id, sizeof r->id, "%s", ctx->id);
    (void)snprintf(r->name, sizeof r->name, "%s", ctx->method);
    (void)snprintf(r->request_id, sizeof r->request_id, "%s", ctx->request_id);
    (void)snprintf(r->job_id, sizeof r->job_id, "%s", ctx->job_id);
    (void)snprintf(r->error, sizeof r->error, "%s", ctx->error != NULL ? ctx->error : "(NULL)");
    if (ctx->input.size > 0 && ctx->input.size < sizeof r->text)
        (void)memcpy(r->text, ctx->input.data, ctx->input.size);
    (void)pthread_mutex_unlock(&due_runs.lock);
}

T_UNUSED static unsigned due_count(void)
{
    unsigned n;
    (void)pthread_mutex_lock(&due_runs.lock);
    n = due_runs.count;
    (void)pthread_mutex_unlock(&due_runs.lock);
    return n;
}

/* Those of this actor and name (of any, where NULL is given). */
T_UNUSED static unsigned due_count_of(const char *id, const char *name)
{
    unsigned n = 0;
    (void)pthread_mutex_lock(&due_runs.lock);
    for (unsigned i = 0; i < due_runs.count; i++)
        if ((id == NULL || strcmp(due_runs.runs[i].id, id) == 0) &&
            (name == NULL || strcmp(due_runs.runs[i].name, name) == 0))
            n++;
    (void)pthread_mutex_unlock(&due_runs.lock);
    return n;
}

/* The i-th run, from 0. */
T_UNUSED static due_run due_at(unsigned i)
{
    due_run r;
    (void)pthread_mutex_lock(&due_runs.lock);
    if (i >= due_runs.count) {
        (void)pthread_mutex_unlock(&due_runs.lock);
        fail_msg("there have not been %u runs", i + 1);
    }
    r = due_runs.runs[i];
    (void)pthread_mutex_unlock(&due_runs.lock);
    return r;
}

T_UNUSED static void due_forget(void)
{
    (void)pthread_mutex_lock(&due_runs.lock);
    due_runs.count = 0;
    (void)pthread_mutex_unlock(&due_runs.lock);
}

/* The runs so far were due at these times since then, in this order; then forgets them. */
T_UNUSED static void due_were(const char *what, int64_t since, const int64_t *times, unsigned count)
{
    char     text[1024] = "";
    bool     same;
    unsigned i;
    (void)pthread_mutex_lock(&due_runs.lock);
    same = due_runs.count == count;
    for (i = 0; i < due_runs.count; i++) {
        size_t used = strlen(text);
        same = same && i < count && due_runs.runs[i].due_ms == since + times[i];
        (void)snprintf(text + used, sizeof text - used, " %lld",
                       (long long)(due_runs.runs[i].due_ms - since));
    }
    due_runs.count = 0;
    (void)pthread_mutex_unlock(&due_runs.lock);
    if (same)
        return;
    print_error("%s: ran for%s, not", what, text);
    for (i = 0; i < count; i++)
        print_error(" %lld", (long long)times[i]);
    print_error("\n");
    fail();
}

/* -- actors ------------------------------------------------------------------------------------ */

T_UNUSED static francis_result due_handler(francis_ctx *ctx)
{
    due_write_down(ctx);
    return ctx->input.size == sizeof(ta_job) ? ta_handler(ctx) : ta_add(ctx, NULL);
}

T_UNUSED static francis_result due_failed(francis_ctx *ctx)
{
    due_write_down(ctx);
    return FRANCIS_OK;
}

#define DUE_TYPE(name)                                                                     \
    .type = name, .methods = ta_methods, .state_size = sizeof(ta_number), .alarm = due_handler, \
    .job = due_handler, .job_failed = due_failed

typedef struct {
    atomic_int     left;            /* fails so often, */
    francis_result with;            /* with this; 0 = USER + 3 */
} due_failure;

T_UNUSED static francis_result due_fail(francis_ctx *ctx, void *arg)
{
    due_failure *f = (due_failure *)arg;
    if (atomic_fetch_sub(&f->left, 1) <= 0)
        return ta_add(ctx, NULL);
    (void)ta_add(ctx, NULL);        /* that does not stay */
    return francis_fail(ctx, f->with != 0 ? f->with : FRANCIS_ERR_USER + 3, "attempt %u of %s",
                        ctx->attempt, ctx->id);
}

/* -- time -------------------------------------------------------------------------------------- */

/* Without workers the clocks stand still but for what due_pass lets pass; they begin here. */
#define DUE_START INT64_C(1800000000000)    /* 2027-01-15 08:00:00 UTC */

/* Later than any test runs, on any clock: 2100-01-01. */
#define DUE_FAR   INT64_C(4102444800000)

T_UNUSED static int due_setup(void **state)
{
    due_forget();
    ta_clock_init();
    return ta_setup(state);
}

#define DUE_INLINE(f)  { #f " (no workers)", f, due_setup, ta_teardown, &ta_mode_inline }
#define DUE_WORKERS(f) { #f " (2 workers)", f, due_setup, ta_teardown, &ta_mode_workers }
#define DUE_BOTH(f)    DUE_INLINE(f), DUE_WORKERS(f)

/* Opens the host of the test: without workers on clocks by hand. */
T_UNUSED static void due_open_with(francis_host_desc desc, const francis_actor_desc *types)
{
    if (desc.durability == FRANCIS_SURVIVES_POWER_CUT)
        desc.durability = FRANCIS_SURVIVES_CRASH;
    if (desc.platform == NULL && ta_inline())
        desc.platform = &ta_clocks;
    ta_open(&desc, types);
}

T_UNUSED static void due_open(const francis_actor_desc *types)
{
    francis_host_desc desc = { .workers = 0 };
    due_open_with(desc, types);
}

T_UNUSED static int64_t due_now(void)
{
    return francis_now(ta->ctx);
}

/* Whether time is the test's. */
T_UNUSED static bool due_by_hand(void)
{
    return ta->desc.platform == &ta_clocks;
}

/* Does all that can be done at this moment. */
T_UNUSED static void due_rest(void)
{
    int i;
    for (i = 0; i < 100000; i++) {
        (void)francis_poll(ta->host, 0);
        if (i >= 3 && francis_timeout(ta->host) != 0)
            return;
    }
    fail_msg("the loop does not come to rest");
}

/* So much time passes on the clocks by hand, in such steps at most. */
T_UNUSED static void due_pass_by(int64_t ms, int64_t step)
{
    assert_true(due_by_hand());
    due_rest();
    while (ms > 0) {
        int64_t now = ms < step ? ms : step;
        (void)atomic_fetch_add(&ta_mono_now, now);
        (void)atomic_fetch_add(&ta_wall_now, now);
        ms -= now;
        due_rest();
    }
}

T_UNUSED static void due_pass(int64_t ms)
{
    due_pass_by(ms, 50);
}

/* Lets time pass without the host. */
T_UNUSED static void due_away(int64_t ms)
{
    (void)atomic_fetch_add(&ta_mono_now, ms);
    (void)atomic_fetch_add(&ta_wall_now, ms);
}

T_UNUSED static void due_moves(void)
{
    if (ta->host == NULL || !ta_inline()) {
        t_yield();
        return;
    }
    if (due_by_hand())
        due_away(1);
    (void)francis_poll(ta->host, due_by_hand() ? 0 : 1);
}

/* ta_until on any clock. */
#define due_until(condition)                                                       \
    do {                                                                           \
        int64_t due_end_ = t_ms() + 60000;                                         \
        while (!(condition)) {                                                     \
            if (t_ms() > due_end_)                                                 \
                fail_msg("never came true: %s", #condition);                       \
            due_moves();                                                           \
        }                                                                          \
    } while (0)

/* Whether the host has heard that it is to stop. */
T_UNUSED static bool due_draining(void)
{
    francis_health h;
    francis_health_get(ta->host, &h);
    return h.draining;
}

/* What was due has run. By hand five seconds pass; else an alarm that is set now has to come after
 * all that was due before it. */
T_UNUSED static void due_quiet(const char *type)
{
    francis_alarm last = { .type = type, .id = "quiet", .name = "quiet", .delay_ms = 30 };
    unsigned      before = due_count_of("quiet", "quiet");
    if (due_by_hand()) {
        due_pass(5000);
        return;
    }
    t_ok(francis_alarm_set(ta->ctx, &last, NULL));
    due_until(due_count_of("quiet", "quiet") > before);
}

/* -- what is scheduled ------------------------------------------------------------------------- */

typedef struct {
    char           type[64], id[300], name[300], repeat[100], error[300], job_id[64];
    char           request_id[300], cursor[1000], text[64];
    bool           has_data;
    size_t         size;
    int64_t        created_ms, due_ms, until_ms, failed_ms;
    francis_status status;
    uint32_t       attempts;
} due_item;

T_UNUSED static void due_copy(due_item *out, const francis_list *list)
{
    const francis_item *i = &list->item;
    (void)memset(out, 0, sizeof *out);
    (void)snprintf(out->type, sizeof out->type, "%s", i->type);
    (void)snprintf(out->id, sizeof out->id, "%s", i->id);
    (void)snprintf(out->name, sizeof out->name, "%s", i->name);
    (void)snprintf(out->repeat, sizeof out->repeat, "%s", i->repeat);
    (void)snprintf(out->error, sizeof out->error, "%s", i->error);
    (void)snprintf(out->job_id, sizeof out->job_id, "%s", i->job_id);
    (void)snprintf(out->request_id, sizeof out->request_id, "%s", i->request_id);
    (void)snprintf(out->cursor, sizeof out->cursor, "%s", list->cursor);
    out->has_data = i->data != NULL;
    out->size = i->size;
    if (i->data != NULL && i->size < sizeof out->text)
        (void)memcpy(out->text, i->data, i->size);
    out->created_ms = i->created_ms;
    out->due_ms = i->due_ms;
    out->until_ms = i->until_ms;
    out->failed_ms = i->failed_ms;
    out->status = i->status;
    out->attempts = i->attempts;
}

/* The first one that fits the filters; out may be NULL. */
T_UNUSED static bool due_find(francis_list_kind what, const char *type, const char *id,
                              const char *name, due_item *out)
{
    francis_list list = { .what = what, .type = type, .id = id, .name = name, .with_data = true };
    francis_result r = francis_list_next(ta->ctx, &list);
    if (r != FRANCIS_DONE && r != FRANCIS_OK)
        fail_msg("list: %s: %s", francis_result_name(r), list.error);
    if (r == FRANCIS_OK && out != NULL)
        due_copy(out, &list);
    francis_list_free(&list);
    return r == FRANCIS_OK;
}

T_UNUSED static unsigned due_rows(francis_list_kind what, const char *type, const char *id)
{
    francis_list   list = { .what = what, .type = type, .id = id };
    unsigned       n = 0;
    francis_result r;
    while ((r = francis_list_next(ta->ctx, &list)) == FRANCIS_OK)
        n++;
    if (r != FRANCIS_DONE)
        fail_msg("list: %s: %s", francis_result_name(r), list.error);
    francis_list_free(&list);
    return n;
}

/* -- many turns that are held at once ---------------------------------------------------------- */

enum { DUE_HELD_MAX = 4096 };

typedef struct {
    atomic_int       arrived, inside, most;
    _Atomic uint64_t tickets[DUE_HELD_MAX];
    int              answered;      /* of the test's own thread */
} due_crowd;

typedef struct {
    francis_call call;
    due_crowd   *crowd;
} due_crowd_turn;

T_UNUSED static francis_result due_crowd_on(francis_ctx *ctx)
{
    due_crowd_turn *t = (due_crowd_turn *)ctx->local;
    (void)atomic_fetch_sub(&t->crowd->inside, 1);
    return t->call.result == FRANCIS_OK ? ta_add(ctx, NULL) : t->call.result;
}

/* A ta_fn: stays in its turn until it is let on, then adds one. */
T_UNUSED static francis_result due_join_crowd(francis_ctx *ctx, void *arg)
{
    due_crowd      *crowd = (due_crowd *)arg;
    due_crowd_turn *t = (due_crowd_turn *)francis_alloc(ctx, sizeof *t);
    int             now, most = atomic_load(&crowd->most);
    uint64_t        ticket;
    if (t == NULL)
        return FRANCIS_ERR_NOMEM;
    t->crowd = crowd;
    t->call.timeout_ms = FRANCIS_FOREVER;
    ticket = francis_expect(ctx, &t->call);
    if (ticket == 0)
        return t->call.result;
    now = atomic_fetch_add(&crowd->inside, 1) + 1;
    while (now > most && !atomic_compare_exchange_weak(&crowd->most, &most, now)) {
    }
    now = atomic_fetch_add(&crowd->arrived, 1);
    ta_check(now < DUE_HELD_MAX);
    if (now < DUE_HELD_MAX)
        atomic_store(&crowd->tickets[now], ticket);
    return francis_await(ctx, due_crowd_on, t);
}

/* Lets on all that have come. */
T_UNUSED static void due_let_crowd(due_crowd *crowd)
{
    while (crowd->answered < DUE_HELD_MAX && crowd->answered < atomic_load(&crowd->arrived)) {
        uint64_t ticket = atomic_load(&crowd->tickets[crowd->answered]);
        if (ticket == 0)
            return;                 /* it is just being written */
        crowd->answered++;
        t_ok(francis_answer(ta->ctx, ticket, FRANCIS_OK, NULL, 0));
    }
}

#endif
