/* A tour of the whole public API on two hosts that share a file and call each other, while
 * something fails: each answer is the usual one or one that the fault explains, and a model knows
 * afterwards what may have happened: what was acknowledged once, what was refused never, what is
 * unknown at most once.
 *
 *     tour_init(&tour);  tour.usual = ...;  tour.ctx[0] = ...
 *     tour_all(&tour);
 *     tour_stored(&tour, db);              when all is healed, and nothing is pending */
#ifndef FAULT_TOUR_H
#define FAULT_TOUR_H

#include "errands.h"

#include <poll.h>

enum { TOUR_COUNTERS = 4, TOUR_ECHO = 700 };

static const char tour_key[] = "the key of a cluster in which calls fail";

typedef struct tour {
    francis_host *host[2];
    francis_ctx  *ctx[2];
    unsigned      round;
    counter_model counters[TOUR_COUNTERS], flushed, relayed, device, keyed, talked, told, news;
    /* Whether it is the usual answer; else it must be one that the fault explains. */
    bool        (*usual)(francis_result r, francis_result usual, const char *what);
    int64_t     (*now_ms)(void);
    void        (*pass)(int64_t ms);        /* lets the hosts move on, for at most so long */
    bool          threads;          /* handlers may wait */
} tour;

#define tour_until(t, condition)                                                   \
    do {                                                                           \
        int64_t tour_end_ = (t)->now_ms() + 60000;                                 \
        for (; !(condition); (t)->pass(100))                                       \
            if ((t)->now_ms() > tour_end_)                                         \
                fail_msg("never came true: %s", #condition);                       \
    } while (0)

typedef struct {
    uint64_t        parked;         /* a ticket */
    francis_stream *kept;
} tour_instance;

static _Atomic uint64_t tour_ticket;        /* of the device; 0 = none yet */
static atomic_int       tour_relayed;       /* 0 = not called, 1 = called, 2 = it has been done */
static atomic_int       tour_ended;
static atomic_bool      tour_parked;

/* ---- the actors ---- */

static francis_result tour_increment(francis_ctx *ctx)
{
    unsigned char  bytes[8];
    void          *some = francis_alloc(ctx, 100);
    francis_result r = francis_interrupted(ctx);
    if (r == FRANCIS_OK && some == NULL)
        r = FRANCIS_ERR_NOMEM;
    if (r == FRANCIS_OK && francis_now(ctx) < 1000)
        r = francis_fail(ctx, FRANCIS_ERR_CORRUPT, "it is %lld", (long long)francis_now(ctx));
    if (r == FRANCIS_OK && francis_random(ctx, bytes, sizeof bytes) != FRANCIS_OK)
        r = francis_fail(ctx, FRANCIS_ERR_USER + 9, "no randomness");
    return r == FRANCIS_OK ? counter_increment(ctx) : r;
}

static francis_result tour_refuse(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    c->n += 1000;                   /* undone by the refusal */
    return francis_fail_text(ctx, FRANCIS_ERR_USER + 3, "it does not want to");
}

static francis_result tour_flush(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    francis_result r;
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    r = francis_flush(ctx, NULL);
    return r == FRANCIS_OK ? francis_reply(ctx, &c->n, sizeof c->n) : r;
}

static francis_result tour_relay_end(francis_ctx *ctx)
{
    const francis_call *call = (const francis_call *)ctx->local;
    if (call->result != FRANCIS_OK)
        return francis_fail(ctx, call->result, "the other one: %s", call->error);
    atomic_store(&tour_relayed, 2);
    return francis_reply(ctx, call->data, call->size);
}

static francis_result tour_relay(francis_ctx *ctx)
{
    francis_call  *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    francis_result r;
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    call->async = true;
    r = francis_invoke(ctx, "tour", "relayed0", "increment", NULL, 0, call);
    if (r != FRANCIS_PENDING)
        return r;
    atomic_store(&tour_relayed, 1);
    return francis_await(ctx, tour_relay_end, call);
}

/* Waits with its thread for another one that does the same, as often as the input says. */
static francis_result tour_nest(francis_ctx *ctx)
{
    const char    *rest = (const char *)ctx->input.data;
    francis_call   call = { 0 };
    char           id[40];
    francis_result r;
    if (ctx->input.size == 0)
        return FRANCIS_OK;
    (void)snprintf(id, sizeof id, "nest%zu", ctx->input.size - 1);
    r = francis_invoke(ctx, "tour", id, "nest", rest, ctx->input.size - 1, &call);
    return r == FRANCIS_OK ? r : francis_fail(ctx, r, "the next one: %s", call.error);
}

static francis_result tour_device_end(francis_ctx *ctx)
{
    const francis_call *call = (const francis_call *)ctx->local;
    return call->result == FRANCIS_OK ? counter_increment(ctx) : call->result;
}

static francis_result tour_device(francis_ctx *ctx)
{
    francis_call  *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    francis_result r;
    uint64_t       ticket;
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    call->timeout_ms = 2000;
    ticket = francis_expect(ctx, call);
    if (ticket == 0)
        return call->result;
    r = francis_await(ctx, tour_device_end, call);
    if (r == FRANCIS_PENDING)
        atomic_store(&tour_ticket, ticket);
    return r;
}

static francis_result tour_park(francis_ctx *ctx)
{
    uint64_t ticket = francis_defer(ctx);
    if (ticket == 0)
        return FRANCIS_ERR_NOMEM;
    ((tour_instance *)ctx->instance)->parked = ticket;
    atomic_store(&tour_parked, true);
    return FRANCIS_OK;
}

static francis_result tour_unpark(francis_ctx *ctx)
{
    uint64_t      *ticket = &((tour_instance *)ctx->instance)->parked;
    francis_result r = FRANCIS_ERR_STALE;
    if (*ticket != 0)
        r = francis_answer(ctx, *ticket, FRANCIS_OK, "free", 4);
    if (r == FRANCIS_OK)
        *ticket = 0;
    return r == FRANCIS_ERR_STALE ? FRANCIS_ERR_USER + 4 : r;
}

/* What was read and could not be written yet stays in local. */
typedef struct {
    char   bytes[200];
    size_t size;
} tour_talking;

/* Sends back what comes, and at the end the count, which that raises. */
static francis_result tour_talk_on(francis_ctx *ctx)
{
    tour_talking  *t = (tour_talking *)ctx->local;
    counter_state *c;
    francis_result r = FRANCIS_OK;
    while (r == FRANCIS_OK) {
        if (t->size == 0)
            r = francis_stream_read(ctx, ctx->stream, t->bytes, sizeof t->bytes, &t->size);
        if (r == FRANCIS_OK)
            r = francis_stream_write(ctx, ctx->stream, t->bytes, t->size);
        if (r == FRANCIS_OK)
            t->size = 0;
    }
    if (r == FRANCIS_PENDING)
        return francis_await(ctx, tour_talk_on, t);
    if (r != FRANCIS_DONE)
        return r;
    c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    return francis_stream_write(ctx, ctx->stream, &c->n, sizeof c->n);
}

static francis_result tour_talk(francis_ctx *ctx)
{
    tour_talking  *t = (tour_talking *)francis_alloc(ctx, sizeof *t);
    francis_result r = francis_stream_set_type(ctx->stream, "text/tour");
    if (t == NULL || r != FRANCIS_OK)
        return FRANCIS_ERR_NOMEM;
    return francis_await(ctx, tour_talk_on, t);
}

static francis_result tour_subscribe(francis_ctx *ctx)
{
    tour_instance *i = (tour_instance *)ctx->instance;
    francis_stream_close(i->kept);
    i->kept = ctx->stream;
    francis_stream_keep(ctx->stream);
    return FRANCIS_OK;
}

/* Whoever listens hears of it, unless it was not done. */
static francis_result tour_publish(francis_ctx *ctx)
{
    tour_instance *i = (tour_instance *)ctx->instance;
    counter_state *c = (counter_state *)francis_state(ctx);
    francis_result r;
    if (i->kept == NULL)
        return francis_fail(ctx, FRANCIS_ERR_USER + 4, "nobody listens");
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    r = francis_stream_write(ctx, i->kept, &c->n, sizeof c->n);
    if (r == FRANCIS_OK)
        return francis_reply(ctx, &c->n, sizeof c->n);
    francis_stream_close(i->kept);
    i->kept = NULL;
    return francis_fail(ctx, FRANCIS_ERR_USER + 4, "nobody listens any more");
}

static francis_result tour_unsubscribe(francis_ctx *ctx)
{
    tour_instance *i = (tour_instance *)ctx->instance;
    francis_result r;
    if (i->kept == NULL)
        return francis_fail(ctx, FRANCIS_ERR_USER + 4, "nobody listens");
    r = francis_stream_end(ctx, i->kept);
    francis_stream_close(i->kept);
    i->kept = NULL;
    return r == FRANCIS_OK ? r : FRANCIS_ERR_USER + 4;
}

static const francis_method tour_methods[] = {
    { "increment", tour_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    { "refuse", tour_refuse, FRANCIS_INVOKE, 0 },
    { "flush", tour_flush, FRANCIS_INVOKE, 0 },
    { "relay", tour_relay, FRANCIS_INVOKE, 0 },
    { "nest", tour_nest, FRANCIS_INVOKE, 0 },
    { "device", tour_device, FRANCIS_INVOKE, 0 },
    { "park", tour_park, FRANCIS_INVOKE, 0 },
    { "unpark", tour_unpark, FRANCIS_INVOKE, 0 },
    { "talk", tour_talk, FRANCIS_STREAM, 0 },
    { "subscribe", tour_subscribe, FRANCIS_STREAM, 0 },
    { "publish", tour_publish, FRANCIS_INVOKE, 0 },
    { "unsubscribe", tour_unsubscribe, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

/* All that a turn can do to bytes; what it leaves is its input. */
static francis_result tour_note(francis_ctx *ctx)
{
    francis_bytes  b;
    francis_result r = francis_state_delete(ctx);
    if (r == FRANCIS_OK)
        r = francis_state_set(ctx, ctx->input.data, ctx->input.size);
    if (r == FRANCIS_OK)
        r = francis_state_expire(ctx, FRANCIS_HOURS(1000));
    b = francis_state_get(ctx);
    return r == FRANCIS_OK ? francis_replyf(ctx, "%zu", b.size) : r;
}

static const francis_method tour_note_methods[] = {
    { "note", tour_note, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

T_UNUSED static const francis_actor_desc tour_types[] = {
    { .type = "tour", .methods = tour_methods, .state_size = sizeof(counter_state),
      .instance_size = sizeof(tour_instance), .alarm = tour_increment,
      .placement = FRANCIS_PLACE_RANDOM },
    { .type = "note", .methods = tour_note_methods, .placement = FRANCIS_PLACE_RANDOM },
    { .type = NULL }
};

/* ---- the tour ---- */

T_UNUSED static void tour_init(tour *t)
{
    (void)memset(t, 0, sizeof *t);
    for (unsigned i = 0; i < TOUR_COUNTERS; i++)
        model_init(&t->counters[i], "c", i);
    model_init(&t->flushed, "flushed", 0);
    model_init(&t->relayed, "relayed", 0);
    model_init(&t->device, "device", 0);
    model_init(&t->keyed, "keyed", 0);
    model_init(&t->talked, "talked", 0);
    model_init(&t->told, "told", 0);
    model_init(&t->news, "news", 0);
}

static void tour_note_end(francis_call *call) { atomic_fetch_add((atomic_int *)call->user, 1); }

/* An increment of some kind; the model learns what came of it. */
static francis_result tour_add(tour *t, int at, counter_model *m, const char *method)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(t->ctx[at], "tour", m->id, method, m->id, strlen(m->id),
                                      &call);
    (void)t->usual(r, FRANCIS_OK, method);
    model_answer(m, r, call.data, call.size);
    if (r != FRANCIS_OK && (call.error == NULL || call.error[0] == '\0'))
        fail_msg("%s: %s, and no word why", method, francis_result_name(r));
    francis_call_free(&call);
    return r;
}

static void tour_calls(tour *t, int at)
{
    francis_ctx   *ctx = t->ctx[at];
    francis_call   call = { 0 };
    francis_result r;
    char           id[40];

    for (int i = 0; i < TOUR_COUNTERS; i++)
        (void)tour_add(t, at, &t->counters[i], "increment");
    for (int i = 0; i < TOUR_COUNTERS; i++) {
        r = francis_peek(ctx, "tour", t->counters[i].id, "get", NULL, 0, &call);
        if (t->usual(r, FRANCIS_OK, "peek"))
            assert_in_range(*(const int64_t *)call.data, t->counters[i].lo, t->counters[i].hi);
    }
    (void)tour_add(t, at, &t->flushed, "flush");
    r = francis_invoke(ctx, "tour", "c0", "refuse", NULL, 0, &call);
    if (t->usual(r, FRANCIS_ERR_USER + 3, "refuse")) {
        assert_true(call.from_handler);
        assert_string_equal(call.error, "it does not want to");
    }
    (void)snprintf(id, sizeof id, "request-%u", t->round++);
    call.request_id = id;
    r = francis_invoke(ctx, "tour", t->keyed.id, "increment", NULL, 0, &call);
    (void)t->usual(r, FRANCIS_OK, "increment by request id");
    model_answer(&t->keyed, r, call.data, call.size);
    francis_call_free(&call);
    r = francis_send(ctx, "tour", t->news.id, "increment", NULL, 0);
    t->news.hi += t->usual(r, FRANCIS_OK, "send");
}

static void tour_async(tour *t, int at)
{
    francis_call   call = { .async = true }, told = { .on_done = tour_note_end,
                                                      .user = &tour_ended };
    counter_model *m = &t->counters[1];
    francis_result r;

    atomic_store(&tour_ended, 0);
    r = francis_invoke(t->ctx[at], "tour", m->id, "increment", NULL, 0, &call);
    if (t->usual(r, FRANCIS_PENDING, "async")) {
        r = francis_wait(t->ctx[at], &call);
        (void)t->usual(r, FRANCIS_OK, "wait");
        model_answer(m, r, call.data, call.size);
    }
    francis_call_free(&call);
    m = &t->counters[2];
    r = francis_invoke(t->ctx[at], "tour", m->id, "increment", NULL, 0, &told);
    if (t->usual(r, FRANCIS_PENDING, "on_done")) {
        tour_until(t, atomic_load(&tour_ended) != 0);
        assert_int_equal(atomic_load(&tour_ended), 1);
        (void)t->usual(told.result, FRANCIS_OK, "on_done");
        model_answer(m, told.result, told.data, told.size);
    }
    francis_call_free(&told);
}

/* One of the hosts knows the ticket. */
static void tour_answer(tour *t)
{
    uint64_t ticket = atomic_exchange(&tour_ticket, 0);
    for (int i = 0; i < 2 && ticket != 0; i++)
        (void)francis_answer(t->ctx[i], ticket, FRANCIS_OK, NULL, 0);
}

static void tour_waits(tour *t, int at)
{
    francis_ctx   *ctx = t->ctx[at];
    francis_call   call = { .on_done = tour_note_end, .user = &tour_ended };
    francis_result r;

    atomic_store(&tour_relayed, 0);
    r = francis_invoke(ctx, "tour", "relays", "relay", NULL, 0, NULL);
    (void)t->usual(r, FRANCIS_OK, "relay");
    t->relayed.hi += atomic_load(&tour_relayed) > 0;
    if (atomic_load(&tour_relayed) == 2)
        t->relayed.lo = t->relayed.lo + 1;
    else
        assert_true(r != FRANCIS_OK);

    if (t->threads)
        (void)t->usual(francis_invoke(ctx, "tour", "nest5", "nest", "12345", 5, NULL), FRANCIS_OK,
                       "nest");

    atomic_store(&tour_ticket, 0);
    atomic_store(&tour_ended, 0);
    r = francis_invoke(ctx, "tour", t->device.id, "device", NULL, 0, &call);
    if (t->usual(r, FRANCIS_PENDING, "device")) {
        tour_until(t, (tour_answer(t), atomic_load(&tour_ended) != 0));
        assert_int_equal(atomic_load(&tour_ended), 1);
        (void)t->usual(call.result, FRANCIS_OK, "device");
        model_answer(&t->device, call.result, call.data, call.size);
    }
    francis_call_free(&call);

    atomic_store(&tour_ended, 0);
    atomic_store(&tour_parked, false);
    r = francis_invoke(ctx, "tour", "lot", "park", NULL, 0, &call);
    if (t->usual(r, FRANCIS_PENDING, "park")) {
        tour_until(t, atomic_load(&tour_parked) || atomic_load(&tour_ended) != 0);
        r = francis_invoke(ctx, "tour", "lot", "unpark", NULL, 0, NULL);
        if (r != FRANCIS_ERR_USER + 4)      /* his activation has been lost, or his call */
            (void)t->usual(r, FRANCIS_OK, "unpark");
        tour_until(t, atomic_load(&tour_ended) != 0);
        assert_int_equal(atomic_load(&tour_ended), 1);
        assert_true(r != FRANCIS_ERR_USER + 4 || call.result != FRANCIS_OK);
        if (t->usual(call.result, FRANCIS_OK, "park"))
            assert_memory_equal(call.data, "free", 4);
    }
    francis_call_free(&call);
}

/* The state of an actor is this text; NULL = none. Only if that can be read. */
static void tour_read(tour *t, int at, const char *id, const char *text)
{
    francis_call   call = { 0 };
    francis_result r = francis_state_read(t->ctx[at], "note", id, &call);
    if (t->usual(r, text != NULL ? FRANCIS_OK : FRANCIS_ERR_NOT_FOUND, "state_read")
        && text != NULL) {
        assert_int_equal(call.size, strlen(text));
        assert_memory_equal(call.data, text, call.size);
    }
    francis_call_free(&call);
}

static void tour_state(tour *t, int at)
{
    francis_ctx   *ctx = t->ctx[at];
    francis_call   call = { 0 };
    francis_result r;
    char           id[32];

    (void)snprintf(id, sizeof id, "note%u", t->round++);
    r = francis_invoke(ctx, "note", id, "note", "four", 4, &call);
    if (t->usual(r, FRANCIS_OK, "note"))
        assert_memory_equal(call.data, "4", 1);
    if (francis_outcome(r) != FRANCIS_OUTCOME_UNKNOWN) {
        tour_read(t, at, id, r == FRANCIS_OK ? "four" : NULL);
        r = francis_state_write(ctx, "note", id, "other", 5, 0, &call);
        if (t->usual(r, FRANCIS_OK, "state_write"))
            tour_read(t, at, id, "other");
        r = francis_purge(ctx, "note", id, &call);
        if (t->usual(r, FRANCIS_OK, "purge"))
            tour_read(t, at, id, NULL);
    }
    r = francis_halt(ctx, "tour", "c1", &call);
    if (r != FRANCIS_ERR_NOT_ACTIVE)
        (void)t->usual(r, FRANCIS_OK, "halt");
    (void)t->usual(francis_halt_all(ctx, &call), FRANCIS_OK, "halt_all");
    francis_call_free(&call);
}

/* Bytes there and back; an end is an end, and never a cut. */
static void tour_stream(tour *t, int at)
{
    francis_stream_desc d = { .type = "tour", .id = t->talked.id, .method = "talk",
                              .content_type = "text/plain" };
    francis_stream     *s = NULL;
    char                out[TOUR_ECHO], in[TOUR_ECHO + sizeof(int64_t) + 1];
    size_t              got = 0, n;
    francis_result      r = francis_stream_open(t->ctx[at], &d, &s);

    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 7 + i / 251);
    if (r == FRANCIS_OK)
        r = francis_stream_write(t->ctx[at], s, out, sizeof out);
    if (r == FRANCIS_OK)
        r = francis_stream_end(t->ctx[at], s);
    for (; r == FRANCIS_OK && got < sizeof in; got += n)
        r = francis_stream_read(t->ctx[at], s, in + got, sizeof in - got, &n);
    if (t->usual(r, FRANCIS_DONE, "stream")) {
        assert_int_equal(got, TOUR_ECHO + sizeof(int64_t));
        assert_string_equal(francis_stream_type(s), "text/tour");
    } else if (s != NULL && francis_stream_error(s)[0] == '\0') {
        fail_msg("a stream has ended with %s, and no word why", francis_result_name(r));
    }
    assert_memory_equal(in, out, got < TOUR_ECHO ? got : TOUR_ECHO);
    if (got == TOUR_ECHO + sizeof(int64_t))
        model_answer(&t->talked, FRANCIS_OK, in + TOUR_ECHO, sizeof(int64_t));
    else
        t->talked.hi++;
    francis_stream_close(s);
}

static francis_result tour_hear(tour *t, int at, francis_stream *s, int64_t *number)
{
    francis_result r = FRANCIS_OK;
    size_t         got = 0, n;
    while (r == FRANCIS_OK && got < sizeof *number) {
        r = francis_stream_read(t->ctx[at], s, (char *)number + got, sizeof *number - got, &n);
        got += n;
    }
    return r;
}

/* Who listens hears of each change that was made, in order, or that he does not hear any more. */
static void tour_kept(tour *t, int at)
{
    francis_stream_desc d = { .type = "tour", .id = t->told.id, .method = "subscribe" };
    francis_stream     *s = NULL;
    francis_result      r = francis_stream_open(t->ctx[at], &d, &s), ended;
    int64_t             number = 0, last = t->told.lo, hi = t->told.hi + 2;

    for (int i = 0; i < 2 && t->usual(r, FRANCIS_OK, "kept stream"); i++) {
        francis_call call = { 0 };
        ended = francis_invoke(t->ctx[1 - at], "tour", t->told.id, "publish", NULL, 0, &call);
        if (ended != FRANCIS_ERR_USER + 4)
            (void)t->usual(ended, FRANCIS_OK, "publish");
        model_answer(&t->told, ended, call.data, call.size);
        francis_call_free(&call);
        if (ended != FRANCIS_OK)
            break;
        r = tour_hear(t, at, s, &number);
        if (r == FRANCIS_OK && (number <= last || number > hi))
            fail_msg("told of %lld after %lld", (long long)number, (long long)last);
        last = number;
    }
    if (r == FRANCIS_OK) {
        ended = francis_invoke(t->ctx[at], "tour", t->told.id, "unsubscribe", NULL, 0, NULL);
        if (ended == FRANCIS_OK)
            while ((r = tour_hear(t, at, s, &number)) == FRANCIS_OK)
                continue;
        if (ended == FRANCIS_OK)
            (void)t->usual(r, FRANCIS_DONE, "kept stream");
        else if (ended != FRANCIS_ERR_USER + 4)
            (void)t->usual(ended, FRANCIS_OK, "unsubscribe");
    }
    francis_stream_close(s);
}

/* An alarm for which the rules of a time zone are read. */
static void tour_zone(tour *t, int at)
{
    francis_alarm  a = { .type = "tour", .id = "zone", .name = "z",
                         .repeat = "TZ=Europe/Rome 0 9 * * 1-5" };
    bool           there = access("/usr/share/zoneinfo/Europe/Rome", R_OK) == 0;
    francis_result r = francis_alarm_set(t->ctx[at], &a, NULL);
    (void)t->usual(r, there ? FRANCIS_OK : FRANCIS_ERR_INVALID, "alarm_set");
    r = francis_alarm_delete(t->ctx[at], &a, NULL);
    if (r != FRANCIS_ERR_NOT_FOUND)
        (void)t->usual(r, FRANCIS_OK, "alarm_delete");
}

static void tour_lists(tour *t, int at)
{
    static const francis_list_kind kinds[] = { FRANCIS_LIST_STATES, FRANCIS_LIST_ACTIVE,
                                               FRANCIS_LIST_HOSTS, FRANCIS_LIST_TYPES };
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        francis_list   list = { .what = kinds[i], .with_data = true };
        francis_result r;
        while ((r = francis_list_next(t->ctx[at], &list)) == FRANCIS_OK)
            assert_non_null(list.cursor);
        (void)t->usual(r, FRANCIS_DONE, "list_next");
        francis_list_free(&list);
    }
}

/* What a host tells of itself, whatever its state is. */
static void tour_facts(tour *t, int at)
{
    francis_host     *h = t->host[at];
    francis_host_desc desc;
    francis_stats     stats;
    francis_health    health;
    struct pollfd     fds[64];
    char              pem[1024];
    francis_result    r;

    francis_desc_get(h, &desc);
    assert_true(desc.message_bytes_max > 0);
    francis_stats_get(h, &stats);
    francis_health_get(h, &health);
    assert_true(health.turn_age_ms >= 0);
    assert_true(francis_host_ctx(h) == t->ctx[at] && francis_host_error(h) != NULL);
    assert_true(francis_fd(h) >= -1 && francis_timeout(h) >= FRANCIS_FOREVER);
    assert_in_range(francis_pollfds(h, fds, 64), t->threads ? 0 : 1, 64);
    (void)t->usual(francis_poll(h, 0), FRANCIS_OK, "poll");
    assert_int_equal(francis_version_number(), FRANCIS_VERSION_NUMBER);
    assert_non_null(francis_build_info());
    r = francis_ca_pem(tour_key, pem, sizeof pem);
    if (t->usual(r, FRANCIS_OK, "ca_pem"))
        assert_non_null(strstr(pem, "BEGIN CERTIFICATE"));
    else
        assert_string_equal(pem, "");
    assert_true(francis_retryable(FRANCIS_ERR_BUSY) && francis_strerror(r)[0] != '\0');
    assert_true(francis_result_name(r)[0] != '\0');
}

/* All of it through one of the two hosts. */
static void tour_at(tour *t, int at)
{
    tour_calls(t, at);
    tour_async(t, at);
    tour_waits(t, at);
    tour_stream(t, at);
    tour_kept(t, at);
    tour_zone(t, at);
    tour_lists(t, at);
    tour_facts(t, at);
    tour_state(t, at);
}

/* What is stored agrees with all that was answered. */
T_UNUSED static void tour_stored(tour *t, sqlite3 *db)
{
    for (int i = 0; i < TOUR_COUNTERS; i++)
        model_stored(&t->counters[i], db, "tour");
    model_stored(&t->flushed, db, "tour");
    model_stored(&t->relayed, db, "tour");
    model_stored(&t->device, db, "tour");
    model_stored(&t->keyed, db, "tour");
    model_stored(&t->talked, db, "tour");
    model_stored(&t->told, db, "tour");
    model_stored(&t->news, db, "tour");
}

#endif
