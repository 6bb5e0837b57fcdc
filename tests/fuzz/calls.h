/* The public functions in any order, with arguments good and bad, on two hosts that share a file,
 * while hosts are killed and stopped, links are cut, disks and memory fail. Whatever was
 * acknowledged is there in the end, what was refused is not; no call ends with a result that
 * nobody knows; nothing leaks; and when all is healed all goes on. */
#ifndef FUZZ_CALLS_H
#define FUZZ_CALLS_H

#include "rows.h"

enum {
    FUZZ_MEMBERS = 2, FUZZ_ACTORS = 3, FUZZ_REQUESTS = 3, FUZZ_SLOTS = 6, FUZZ_ENDS = 3,
    FUZZ_OPS_MAX = 60, FUZZ_NAME_MAX = 400
};

typedef enum fuzz_work { FUZZ_WORK_NONE, FUZZ_WORK_MAYBE, FUZZ_WORK_DONE } fuzz_work;

typedef struct fuzz_member {        /* one life of a host */
    int      host;
    unsigned life;
} fuzz_member;

typedef struct fuzz_slot {          /* a call that is under way */
    francis_call call;
    fuzz_member  by;
    bool         used;
    unsigned     actor, key;        /* FUZZ_REQUESTS = without one */
} fuzz_slot;

typedef struct fuzz_end {
    francis_stream *stream;
    fuzz_member     by;
} fuzz_end;

static struct {
    francis_sim *sim;
    int64_t      low[FUZZ_ACTORS], high[FUZZ_ACTORS];   /* between these is the count */
    fuzz_work    keyed[FUZZ_ACTORS][FUZZ_REQUESTS];
    fuzz_slot    slots[FUZZ_SLOTS];
    fuzz_end     ends[FUZZ_ENDS];
    uint64_t     ticket;
    char         job[64], cursor[600];
} calls;

static const char *const fuzz_actor_ids[FUZZ_ACTORS] = { "a", "b", "c" };

/* ---- actors ---- */

static francis_result fuzz_on_answered(francis_ctx *ctx)
{
    fuzz_count *c = (fuzz_count *)francis_state(ctx);

    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    c->n++;
    return francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result fuzz_ask_other(francis_ctx *ctx)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);

    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    call->async = true;
    call->timeout_ms = 1000;
    (void)francis_invoke(ctx, "other", "x", "any", NULL, 0, call);
    return francis_await(ctx, fuzz_on_answered, call);
}

static void fuzz_arm(francis_ctx *ctx, bool job)
{
    francis_alarm alarm;
    francis_job   work;

    memset(&alarm, 0, sizeof alarm);
    memset(&work, 0, sizeof work);
    alarm.name = "soon";
    work.method = "work";
    alarm.delay_ms = work.delay_ms = 700;
    alarm.repeat = "PT2S";
    fuzz_known(job ? francis_job_dispatch(ctx, &work, NULL) : francis_alarm_set(ctx, &alarm, NULL));
}

/* Counts one more, unless it fails; the first byte of its input says what it does besides. */
static francis_result fuzz_on_count(francis_ctx *ctx)
{
    fuzz_count *c = (fuzz_count *)francis_state(ctx);
    unsigned    what = ctx->input.size > 0 ? *(const unsigned char *)ctx->input.data : 0;

    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    switch (what % 12) {
    case 1: fuzz_known(francis_flush(ctx, NULL)); break;
    case 2: fuzz_arm(ctx, false); break;
    case 3: fuzz_arm(ctx, true); break;
    case 4: return fuzz_ask_other(ctx);
    case 5: c->n += 1000; return francis_fail(ctx, FRANCIS_ERR_USER + 5, "refused");
    case 6: fuzz_known(francis_halt(ctx, NULL, NULL, NULL)); break;
    case 7: fuzz_known(francis_send(ctx, "other", "x", "any", "hello", 5)); break;
    case 8: calls.ticket = francis_defer(ctx); break;
    case 9: francis_sim_spend(ctx, 300); break;
    case 10: fuzz_known(francis_invoke(ctx, "other", "x", "any", NULL, 0, NULL)); break;
    case 11: return FRANCIS_ERR_INTERNAL + (francis_result)what;     /* one that is not known */
    default: break;
    }
    c->n++;
    return francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result fuzz_on_other(francis_ctx *ctx)
{
    unsigned what = ctx->input.size > 0 ? *(const unsigned char *)ctx->input.data : 0;

    if (ctx->kind == FRANCIS_PEEK)
        return francis_reply(ctx, "seen", 4);
    if (what % 4 == 3)
        fuzz_known(francis_state_expire(ctx, 1 + (int64_t)what * 50));
    if (what % 4 == 2)
        return francis_state_delete(ctx);
    return francis_state_set(ctx, ctx->input.data, ctx->input.size);
}

/* Says again what it hears. */
static francis_result fuzz_on_stream(francis_ctx *ctx)
{
    unsigned char  data[300];
    size_t         size = 0;
    francis_result r;

    while ((r = francis_stream_read(ctx, ctx->stream, data, sizeof data, &size)) == FRANCIS_OK) {
        fuzz_must(size > 0 && size <= sizeof data);
        r = francis_stream_write(ctx, ctx->stream, data, size);
        if (r != FRANCIS_OK && r != FRANCIS_PENDING)
            return r;
    }
    if (r == FRANCIS_PENDING)
        return francis_await(ctx, fuzz_on_stream, NULL);
    return r == FRANCIS_DONE ? FRANCIS_OK : r;
}

static const francis_method fuzz_call_methods[] = {
    { "count", fuzz_on_count, FRANCIS_INVOKE, 0 },
    { "read", fuzz_on_read, FRANCIS_PEEK, 0 },
    { "exact", fuzz_on_read, FRANCIS_PEEK, 8 },
    { "echo", fuzz_on_stream, FRANCIS_STREAM, 0 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc fuzz_call_types[] = {
    { .type = "counter", .methods = fuzz_call_methods, .state_size = sizeof(fuzz_count),
      .alarm = fuzz_on_due, .job = fuzz_on_due, .requests_kept_ms = FRANCIS_DAYS(1000),
      .retry_delay_ms = 300, .mailbox_max = 4 },
    { .type = "other", .invoke = fuzz_on_other, .peek = fuzz_on_other, .alarm = fuzz_on_due,
      .job = fuzz_on_due, .idle_timeout_ms = 500, .concurrency_max = 2 },
    { .type = NULL }
};

/* ---- what is known of counts ---- */

static fuzz_member fuzz_member_now(int host)
{
    fuzz_member m = { host, frn_sim_slot_at(calls.sim, host)->lives };

    if (francis_sim_running(calls.sim, host) == NULL)
        m.life = 0;
    return m;
}

static bool fuzz_member_lives(fuzz_member m)
{
    return m.life != 0 && fuzz_member_now(m.host).life == m.life;
}

static void fuzz_counted(unsigned actor, unsigned key, francis_result r, bool lives)
{
    fuzz_work *work = key < FUZZ_REQUESTS ? &calls.keyed[actor][key] : NULL;
    fuzz_work  before = work != NULL ? *work : FUZZ_WORK_NONE;

    if (r == FRANCIS_OK && before != FUZZ_WORK_DONE) {
        calls.low[actor]++;
        calls.high[actor] += before == FUZZ_WORK_NONE;
        before = FUZZ_WORK_DONE;
    } else if (before == FUZZ_WORK_NONE &&
               (!lives || francis_outcome(r) == FRANCIS_OUTCOME_UNKNOWN)) {
        calls.high[actor]++;
        before = FUZZ_WORK_MAYBE;
    }
    if (work != NULL)
        *work = before;
}

static void fuzz_call_check(const francis_call *call, francis_result r)
{
    fuzz_known(r);
    if (r == FRANCIS_PENDING)
        return;
    fuzz_must(call->result == r && call->error != NULL && strlen(call->error) < 2000);
    fuzz_must(call->size == 0 || call->data != NULL);
}

static void fuzz_slot_over(fuzz_slot *s, francis_result r)
{
    fuzz_counted(s->actor, s->key, r, fuzz_member_lives(s->by));
    if (fuzz_member_lives(s->by))
        francis_call_free(&s->call);
    memset(s, 0, sizeof *s);
}

/* What belonged to hosts that are gone is not touched any more. */
static void fuzz_forget(void)
{
    for (int i = 0; i < FUZZ_SLOTS; i++)
        if (calls.slots[i].used && !fuzz_member_lives(calls.slots[i].by))
            fuzz_slot_over(&calls.slots[i], FRANCIS_ERR_UNKNOWN);
    for (int i = 0; i < FUZZ_ENDS; i++)
        if (calls.ends[i].stream != NULL && !fuzz_member_lives(calls.ends[i].by))
            calls.ends[i].stream = NULL;
}

/* ---- arguments ---- */

static const char *fuzz_any_name(char text[FUZZ_NAME_MAX])
{
    static const size_t sizes[] = { 0, 1, 254, 255, 256, 399 };
    unsigned            kind = fuzz_byte();
    char               *given;
    size_t              size;

    if (kind >= 64)
        return fuzz_usual_text();
    if (kind % 8 == 0)
        return NULL;
    if (kind % 8 == 1)
        return "a/b";
    if (kind % 8 == 2)
        return "francis.cron";
    if (kind % 8 < 6) {
        size = sizes[kind / 8 % FRN_COUNT(sizes)];
        memset(text, 'n', size);
        text[size] = '\0';
        return text;
    }
    given = fuzz_text(kind / 8);
    (void)snprintf(text, FUZZ_NAME_MAX, "%s", given);
    free(given);
    return text;
}

static const char *fuzz_some_type(void) { return fuzz_byte() % 2 == 0 ? "counter" : "other"; }

static int64_t fuzz_some_ms(void)
{
    static const int64_t ms[] = { 0, 1, 50, 2000, -2, FRANCIS_HOURS(1), INT64_MIN, 400 };
    return ms[fuzz_byte() % FRN_COUNT(ms)];
}

static const char *fuzz_some_repeat(void)
{
    static const char *const repeats[] = { NULL, "", "PT1S", "* * * * *", "@hourly", "x", "P1M",
                                           "TZ=CET-1CEST,M3.5.0,M10.5.0/3 30 2 * * *" };
    return repeats[fuzz_byte() % FRN_COUNT(repeats)];
}

/* Sizes about what is allowed, in memory of just that size. */
static void *fuzz_some_data(size_t *size)
{
    static const size_t sizes[] = { 0, 1, 8, 100, 4096, 20000, 20001, 70000 };
    void               *data;

    *size = sizes[fuzz_byte() % FRN_COUNT(sizes)];
    data = calloc(1, *size + (*size == 0));
    fuzz_must(data != NULL);
    if (*size > 0)
        *(unsigned char *)data = (unsigned char)fuzz_byte();
    return data;
}

/* ---- what is done ---- */

static void fuzz_begin_call(francis_call *call, unsigned key)
{
    static const char *const keys_of[] = { "k0", "k1", "k2", NULL };

    memset(call, 0, sizeof *call);
    call->timeout_ms = fuzz_some_ms() % FRANCIS_HOURS(1);
    call->request_id = keys_of[key < FUZZ_REQUESTS ? key : FUZZ_REQUESTS];
    call->active_only = fuzz_byte() % 16 == 15;
}

static void fuzz_do_count(int host)
{
    francis_call   call;
    unsigned       actor = fuzz_byte() % FUZZ_ACTORS, key = fuzz_byte() % (2 * FUZZ_REQUESTS);
    unsigned char  what = (unsigned char)fuzz_byte();
    fuzz_member    by = fuzz_member_now(host);
    francis_result r;

    fuzz_begin_call(&call, key);
    r = francis_invoke(francis_sim_ctx(calls.sim, host), "counter", fuzz_actor_ids[actor], "count",
                       &what, what != 0, &call);
    fuzz_call_check(&call, r);
    fuzz_counted(actor, key, r, fuzz_member_lives(by));
    francis_call_free(&call);
}

static void fuzz_do_count_async(int host)
{
    fuzz_slot     *s = &calls.slots[fuzz_byte() % FUZZ_SLOTS];
    unsigned char  what = (unsigned char)fuzz_byte();
    francis_result r;

    if (s->used)
        return;
    s->actor = fuzz_byte() % FUZZ_ACTORS;
    s->key = fuzz_byte() % (2 * FUZZ_REQUESTS);
    s->by = fuzz_member_now(host);
    fuzz_begin_call(&s->call, s->key);
    s->call.async = s->used = true;
    r = francis_invoke(francis_sim_ctx(calls.sim, host), "counter", fuzz_actor_ids[s->actor],
                       "count", &what, what != 0, &s->call);
    fuzz_call_check(&s->call, r);
    if (r != FRANCIS_PENDING)
        fuzz_slot_over(s, r);
}

static void fuzz_do_slot(bool wait)
{
    fuzz_slot     *s = &calls.slots[fuzz_byte() % FUZZ_SLOTS];
    francis_result r = FRANCIS_ERR_UNKNOWN;

    if (!s->used)
        return;
    if (wait) {
        r = francis_wait(francis_sim_ctx(calls.sim, s->by.host), &s->call);
        fuzz_call_check(&s->call, r);
    }
    fuzz_slot_over(s, r);
}

static void fuzz_do_peek(int host)
{
    static const char *const methods_of[] = { "read", "exact", "count", "no" };
    francis_call             call;
    size_t                   size;
    void                    *data = fuzz_some_data(&size);
    unsigned                 actor = fuzz_byte() % FUZZ_ACTORS;
    francis_result           r;

    fuzz_begin_call(&call, FUZZ_REQUESTS);
    r = francis_peek(francis_sim_ctx(calls.sim, host), "counter", fuzz_actor_ids[actor],
                     methods_of[fuzz_byte() % FRN_COUNT(methods_of)], data, size, &call);
    fuzz_call_check(&call, r);
    francis_call_free(&call);
    free(data);
}

/* Names and sizes of any kind. What reaches a counter is not one that counts. */
static void fuzz_do_odd(int host)
{
    francis_ctx *ctx = francis_sim_ctx(calls.sim, host);
    char         texts[3][FUZZ_NAME_MAX];
    francis_call call;
    size_t       size;
    void        *data = fuzz_some_data(&size);
    const char  *type = fuzz_any_name(texts[0]), *id = fuzz_any_name(texts[1]);
    const char  *method = fuzz_any_name(texts[2]);
    int64_t      expire_ms = fuzz_some_ms();
    bool         counts = type == NULL || strcmp(type, "counter") == 0;

    fuzz_begin_call(&call, fuzz_byte() % (2 * FUZZ_REQUESTS));
    switch (fuzz_byte() % 8) {
    case 0: fuzz_known(francis_invoke(ctx, type, id, method, data, size, &call)); break;
    case 1: fuzz_known(francis_peek(ctx, type, id, method, data, size, &call)); break;
    case 2: fuzz_known(francis_send(ctx, type, id, method, data, size)); break;
    case 3: fuzz_known(francis_state_read(ctx, type, id, &call)); break;
    case 4:
        if (!counts)
            fuzz_known(francis_state_write(ctx, type, id, data, size, expire_ms, &call));
        break;
    case 5:
        if (!counts)
            fuzz_known(francis_purge(ctx, type, id, &call));
        break;
    case 6: fuzz_known(francis_halt(ctx, type, id, &call)); break;
    default: fuzz_known(francis_halt_all(ctx, NULL)); break;
    }
    francis_call_free(&call);
    free(data);
}

static void fuzz_do_alarm(int host)
{
    francis_ctx  *ctx = francis_sim_ctx(calls.sim, host);
    char          texts[3][FUZZ_NAME_MAX];
    francis_alarm a;
    size_t        size;
    void         *data = fuzz_some_data(&size);

    memset(&a, 0, sizeof a);
    a.type = fuzz_some_type();
    a.id = fuzz_any_name(texts[0]);
    a.name = fuzz_any_name(texts[1]);
    a.data = data;
    a.size = size;
    a.delay_ms = fuzz_some_ms();
    a.due_ms = fuzz_byte() % 8 == 0 ? fuzz_64() : 0;
    a.repeat = fuzz_some_repeat();
    a.repeat_ms = fuzz_byte() % 8 == 0 ? fuzz_some_ms() : 0;
    a.until_ms = fuzz_byte() % 8 == 0 ? fuzz_64() : 0;
    a.missed = (francis_missed)(fuzz_byte() % 4);
    a.missed_max = fuzz_byte();
    a.wait_for_clock = fuzz_byte() % 2 == 1;
    fuzz_known(fuzz_byte() % 4 == 3 ? francis_alarm_delete(ctx, &a, NULL)
                                    : francis_alarm_set(ctx, &a, NULL));
    free(data);
}

static void fuzz_do_job(int host)
{
    char         texts[3][FUZZ_NAME_MAX];
    francis_job  j;
    francis_call call;
    size_t       size;
    void        *data = fuzz_some_data(&size);

    memset(&j, 0, sizeof j);
    j.type = fuzz_some_type();
    j.id = fuzz_any_name(texts[0]);
    j.method = fuzz_any_name(texts[1]);
    j.data = data;
    j.size = size;
    j.delay_ms = fuzz_some_ms();
    j.repeat = fuzz_some_repeat();
    j.request_id = fuzz_byte() % 2 == 0 ? NULL : fuzz_any_name(texts[2]);
    fuzz_begin_call(&call, FUZZ_REQUESTS);
    fuzz_known(francis_job_dispatch(francis_sim_ctx(calls.sim, host), &j, &call));
    if (call.result == FRANCIS_OK)
        (void)snprintf(calls.job, sizeof calls.job, "%.*s", (int)call.size,
                       call.data != NULL ? (const char *)call.data : "");
    francis_call_free(&call);
    free(data);
}

static void fuzz_do_job_again(int host)
{
    francis_ctx *ctx = francis_sim_ctx(calls.sim, host);
    char         text[FUZZ_NAME_MAX];
    unsigned     what = fuzz_byte();
    const char  *id = what < 128 ? calls.job : fuzz_any_name(text);

    fuzz_known(what % 2 == 0 ? francis_job_cancel(ctx, id, NULL)
                             : francis_job_retry(ctx, id, NULL));
}

static void fuzz_do_list(int host)
{
    char           texts[4][FUZZ_NAME_MAX];
    francis_list   l;
    unsigned       what = fuzz_byte(), filters = fuzz_byte();
    francis_result r;

    memset(&l, 0, sizeof l);
    l.what = (francis_list_kind)(what % 8);
    l.with_data = what >= 128;
    l.limit = filters / 16;
    l.type = (filters & 1) != 0 ? fuzz_any_name(texts[0]) : NULL;
    l.id = (filters & 2) != 0 ? fuzz_any_name(texts[1]) : NULL;
    l.name = (filters & 4) != 0 ? fuzz_any_name(texts[2]) : NULL;
    if ((filters & 8) != 0)
        l.after = fuzz_byte() % 2 == 0 ? calls.cursor : fuzz_any_name(texts[3]);
    for (int i = 0; i < 20; i++) {
        r = francis_list_next(francis_sim_ctx(calls.sim, host), &l);
        fuzz_known(r);
        if (r != FRANCIS_OK)
            break;
        fuzz_must(l.item.type != NULL && l.item.id != NULL && l.item.name != NULL);
        (void)snprintf(calls.cursor, sizeof calls.cursor, "%s", l.cursor);
    }
    francis_list_free(&l);
}

static void fuzz_on_ready(francis_stream *stream, void *user)
{
    (void)stream;
    (void)user;
}

static void fuzz_do_open(int host)
{
    fuzz_end           *e = &calls.ends[fuzz_byte() % FUZZ_ENDS];
    char                text[FUZZ_NAME_MAX];
    francis_stream_desc d;

    if (e->stream != NULL)
        return;
    memset(&d, 0, sizeof d);
    d.type = "counter";
    d.id = fuzz_actor_ids[fuzz_byte() % FUZZ_ACTORS];
    d.method = fuzz_byte() % 8 == 7 ? fuzz_any_name(text) : "echo";
    d.bytes_max = fuzz_byte() % 8 == 7 ? 50 : 0;
    d.timeout_ms = fuzz_some_ms();
    d.on_ready = fuzz_on_ready;
    e->by = fuzz_member_now(host);
    fuzz_known(francis_stream_open(francis_sim_ctx(calls.sim, host), &d, &e->stream));
    if (!fuzz_member_lives(e->by))
        e->stream = NULL;
}

static void fuzz_do_stream(unsigned what)
{
    fuzz_end       *e = &calls.ends[fuzz_byte() % FUZZ_ENDS];
    francis_ctx    *ctx = francis_sim_ctx(calls.sim, e->by.host);
    unsigned char   in[200];
    size_t          size = 0;
    void           *data;
    francis_result  r;

    if (e->stream == NULL)
        return;
    switch (what) {
    case 0:
        data = fuzz_some_data(&size);
        fuzz_known(francis_stream_write(ctx, e->stream, data, size));
        free(data);
        break;
    case 1:
        r = francis_stream_read(ctx, e->stream, in, fuzz_byte() % sizeof in, &size);
        fuzz_known(r);
        fuzz_must(size <= sizeof in && (r == FRANCIS_OK) == (size > 0));
        fuzz_must(francis_stream_error(e->stream) != NULL);
        break;
    case 2: fuzz_known(francis_stream_end(ctx, e->stream)); break;
    default:
        francis_stream_close(e->stream);
        e->stream = NULL;
        break;
    }
}

static void fuzz_do_answer(int host)
{
    size_t size;
    void  *data = fuzz_some_data(&size);

    fuzz_known(francis_answer(francis_sim_ctx(calls.sim, host),
                              fuzz_byte() % 4 == 3 ? (uint64_t)fuzz_64() : calls.ticket, FRANCIS_OK,
                              data, size));
    free(data);
}

static void fuzz_do_look(int host)
{
    francis_host     *h = francis_sim_running(calls.sim, host);
    francis_stats     stats;
    francis_health    health;
    francis_host_desc desc;
    unsigned char     some[40];

    francis_stats_get(h, &stats);
    francis_health_get(h, &health);
    francis_desc_get(h, &desc);
    fuzz_must(stats.lives >= 1 && stats.host_id[0] != '\0' && desc.timeout_ms > 0);
    fuzz_known(francis_random(francis_host_ctx(h), some, sizeof some));
    fuzz_known(francis_start(h));
    fuzz_known(francis_register(h, &fuzz_call_types[0]));
    fuzz_must(francis_host_error(h) != NULL && francis_now(francis_host_ctx(h)) > 0);
}

/* ---- what happens to the world ---- */

static void fuzz_kill_later(void *user)
{
    francis_sim_kill(calls.sim, *(const int *)user);
}

static void fuzz_mischief(int host)
{
    static int     hosts[FUZZ_MEMBERS] = { 0, 1 };
    unsigned       what = fuzz_byte(), n = fuzz_byte();
    francis_sim   *w = calls.sim;

    switch (what % 12) {
    case 0: francis_sim_kill(w, host); break;
    case 1: francis_sim_stop(w, host); break;
    case 2: fuzz_known(francis_sim_start(w, host)); break;
    case 3: francis_sim_power_cut(w, 0); break;
    case 4: francis_sim_link(w, host, 1 - host, n % 2 == 0); break;
    case 5: francis_sim_clock(w, host, ((int64_t)n - 128) * 3600000, 0); break;
    case 6:
    case 7:
        francis_sim_after(w, host, (francis_sim_event)(n % FRANCIS_SIM_EVENTS), 1 + n / 8,
                          (francis_sim_action)(what / 12 % 4));
        break;
    case 8: (void)francis_sim_at(w, FRANCIS_SIM_ALL, n, fuzz_kill_later, &hosts[host]); break;
    case 9: francis_sim_pause(w, host); break;
    case 10: francis_sim_resume(w, host); break;
    default: francis_sim_disk_room(w, 0, n % 2 == 0 ? FRANCIS_FOREVER : 1000 * (int64_t)n); break;
    }
}

static void fuzz_do_one(unsigned what)
{
    int host = what >= 128;

    if (what % 16 == 14) {
        fuzz_mischief(host);
        return;
    }
    if (what % 16 == 15) {
        francis_sim_run(calls.sim, (int64_t)fuzz_byte() * fuzz_byte() + 1);
        return;
    }
    if (francis_sim_running(calls.sim, host) == NULL || frn_sim_slot_at(calls.sim, host)->paused)
        return;
    switch (what % 16) {
    case 0:
    case 1: fuzz_do_count(host); break;
    case 2: fuzz_do_count_async(host); break;
    case 3: fuzz_do_slot(fuzz_byte() % 4 != 0); break;
    case 4: fuzz_do_peek(host); break;
    case 5:
    case 6: fuzz_do_odd(host); break;
    case 7: fuzz_do_alarm(host); break;
    case 8: fuzz_do_job(host); break;
    case 9: fuzz_do_job_again(host); break;
    case 10: fuzz_do_list(host); break;
    case 11: fuzz_do_open(host); break;
    case 12: fuzz_do_stream(fuzz_byte() % 4); break;
    default:
        fuzz_do_answer(host);
        fuzz_do_look(host);
        break;
    }
}

/* ---- a world ---- */

/* All goes on again, and the counts are what they can be. */
static void fuzz_heal(void)
{
    static const francis_sim_faults none;
    francis_sim                    *w = calls.sim;
    francis_call                    call;
    int64_t                         n;

    francis_sim_link(w, FRANCIS_SIM_ALL, FRANCIS_SIM_ALL, true);
    francis_sim_disk_room(w, 0, FRANCIS_FOREVER);
    francis_sim_faults_set(w, FRANCIS_SIM_ALL, &none);
    for (int i = 0; i < FUZZ_MEMBERS; i++) {
        for (int e = 0; e < FRANCIS_SIM_EVENTS; e++)
            francis_sim_after(w, i, (francis_sim_event)e, 0, FRANCIS_SIM_FAIL);
        francis_sim_resume(w, i);
    }
    francis_sim_run(w, 30000);      /* what was to happen later has happened */
    fuzz_forget();
    for (int i = 0; i < FUZZ_MEMBERS; i++)
        if (francis_sim_running(w, i) == NULL)
            fuzz_must(francis_sim_start(w, i) == FRANCIS_OK);
    for (int i = 0; i < FUZZ_SLOTS; i++)
        if (calls.slots[i].used)
            fuzz_slot_over(&calls.slots[i], francis_wait(francis_sim_ctx(w, calls.slots[i].by.host),
                                                         &calls.slots[i].call));
    for (int i = 0; i < FUZZ_ENDS; i++)
        francis_stream_close(calls.ends[i].stream);
    memset(&call, 0, sizeof call);
    for (unsigned i = 0; i < FUZZ_ACTORS; i++) {
        for (int tries = 0; tries < 20; tries++) {
            if (francis_peek(francis_sim_ctx(w, (int)i % FUZZ_MEMBERS), "counter",
                             fuzz_actor_ids[i], "read", NULL, 0, &call) == FRANCIS_OK)
                break;
            francis_sim_run(w, 3000);
        }
        fuzz_must(call.result == FRANCIS_OK && call.size == sizeof n);
        memcpy(&n, call.data, sizeof n);
        fuzz_must(calls.low[i] <= n && n <= calls.high[i]);
    }
    francis_call_free(&call);
}

static void fuzz_calls(const uint8_t *data, size_t size)
{
    static const char *const addresses[] = { "10.0.0.1:7571", "10.0.0.2:7571" };
    francis_host_desc        desc[FUZZ_MEMBERS];

    fuzz_in.at = data;
    fuzz_in.end = data + size;
    memset(&calls, 0, sizeof calls);
    memset(desc, 0, sizeof desc);
    calls.sim = fuzz_world_open(1 + fuzz_byte() % 4);
    for (int i = 0; i < FUZZ_MEMBERS; i++) {
        desc[i].database = "calls.db";
        desc[i].address = addresses[i];
        desc[i].cluster_key = cluster_key;
        desc[i].timeout_ms = 3000;
        desc[i].stop_timeout_ms = 2000;
        desc[i].health_deadline_ms = 8000;
        desc[i].message_bytes_max = 20000;
        desc[i].state_bytes_max = 8192;
        desc[i].calls_max = 12;
        desc[i].log_level = FRANCIS_LOG_ERROR;
        fuzz_must(francis_sim_host(calls.sim, 0, &desc[i], fuzz_call_types) == i);
        fuzz_must(francis_sim_start(calls.sim, i) == FRANCIS_OK);
    }
    francis_sim_run(calls.sim, 100);
    for (int i = 0; i < FUZZ_OPS_MAX && fuzz_in.at < fuzz_in.end; i++) {
        fuzz_do_one(fuzz_byte());
        fuzz_forget();
    }
    fuzz_heal();
    for (int i = 0; i < FUZZ_MEMBERS; i++)
        francis_sim_stop(calls.sim, i);
    fuzz_world_close(calls.sim);
}

#endif
