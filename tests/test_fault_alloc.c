/* Every allocation of the whole public API fails in turn: the first, the second, ... until none is
 * left; once, and from then on; without workers and with two. After each: no crash, no block left
 * after close, no answer but the usual one or NOMEM, nothing acknowledged lost and nothing refused
 * stored, and the host works again as soon as there is memory. The allocator itself notices wrong
 * sizes, foreign pointers and two calls at once. */
#include "support/t.h"

#include "support/counters.h"
#include "support/errands.h"
#include "support/fault_alloc.h"

#include <stdatomic.h>

enum { COUNTERS = 3, MEMO_BYTES = 300, STREAM_PIECE = 400, STREAM_PIECES = 8, BUFFER_BYTES = 1000 };

typedef struct {
    uint64_t        parked;         /* a ticket */
    francis_stream *kept;
} counter_instance;

typedef struct {
    const char       *title;
    bool              workers, forever;
    unsigned long     n;            /* the allocation that fails */
    unsigned          round;
    fault_alloc       memory;
    t_log             log;
    char              path[512];
    francis_host_desc desc;
    francis_host     *host;
    francis_ctx      *ctx;
    counter_model     counters[COUNTERS];
    counter_model     flushed, relayed, device, news, keyed, talked, told;
} world;

static world            w;
static _Atomic uint64_t ticket;     /* of the device or the parked call; 0 = none yet */
static atomic_int       relay_stage;    /* 0 not called, 1 called, 2 answered */
static atomic_int       relay_result;
static atomic_int       ended;      /* on_done so often */
static atomic_int       upgrades;
static atomic_int       ready;      /* on_ready so often */

static const char *workers_text(void)
{
    return w.workers ? "workers" : "no workers";
}

/* True if the result is the usual one, false if it is NOMEM and an allocation has failed; anything
 * else fails the test. */
static bool usual_at(francis_result r, francis_result usual, const char *what, int line)
{
    if (r == usual)
        return true;
    if (r == FRANCIS_ERR_NOMEM && fault_alloc_fired(&w.memory) > 0)
        return false;
    print_error("%s, %s, allocation %lu fails%s: %s is %s, not %s (line %d): %s\n", w.title,
                workers_text(), w.n, w.forever ? " from then on" : "", what,
                francis_result_name(r), francis_result_name(usual), line,
                w.host != NULL ? francis_host_error(w.host) : "");
    _fail(__FILE__, line);
    return false;
}
#define usual(call, expected) usual_at((call), (expected), #call, __LINE__)

/* Waits for the condition; without workers the host moves only meanwhile. */
#define w_until(condition)                              \
    do {                                                \
        int64_t end_ = t_ms() + 60000;                  \
        while (!(condition)) {                          \
            if (t_ms() > end_)                          \
                fail_msg("%s, allocation %lu: never came true: %s", w.title, w.n, #condition); \
            if (w.workers)                              \
                t_yield();                              \
            else                                        \
                t_ok(francis_poll(w.host, 1));          \
        }                                               \
    } while (0)

/* ---- actors ---- */

static francis_result flush_twice(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    francis_result r;
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    r = francis_flush(ctx, NULL);
    if (r != FRANCIS_OK)
        return r;
    counter_put(c, c->n + 1);
    return francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result relay_end(francis_ctx *ctx)
{
    francis_call  *call = (francis_call *)ctx->local;
    counter_state *c;
    atomic_store(&relay_result, call->result);
    atomic_store(&relay_stage, 2);
    if (call->result != FRANCIS_OK)
        return francis_fail(ctx, call->result, "the other one: %s", call->error);
    c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    return francis_replyf(ctx, "%lld and %lld", (long long)c->n,
                          (long long)*(const int64_t *)call->data);
}

static francis_result relay(francis_ctx *ctx)
{
    francis_call  *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    francis_result r;
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    call->async = true;
    r = francis_invoke(ctx, "counter", "relayed0", "increment", NULL, 0, call);
    if (r != FRANCIS_PENDING)
        return r;
    atomic_store(&relay_stage, 1);
    return francis_await(ctx, relay_end, call);
}

static francis_result device_end(francis_ctx *ctx)
{
    francis_call  *call = (francis_call *)ctx->local;
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (call->result != FRANCIS_OK)
        return call->result;
    counter_put(c, c->n + 1);
    return francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result device_begin(francis_ctx *ctx)
{
    francis_call  *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    francis_result r;
    uint64_t       t;
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    call->timeout_ms = FRANCIS_SECONDS(30);
    t = francis_expect(ctx, call);
    if (t == 0)
        return call->result;
    r = francis_await(ctx, device_end, call);
    if (r == FRANCIS_PENDING)
        atomic_store(&ticket, t);
    return r;
}

static francis_result park(francis_ctx *ctx)
{
    uint64_t t = francis_defer(ctx);
    if (t == 0)
        return FRANCIS_ERR_NOMEM;
    ((counter_instance *)ctx->instance)->parked = t;
    return FRANCIS_OK;
}

static francis_result unpark(francis_ctx *ctx)
{
    uint64_t      *t = &((counter_instance *)ctx->instance)->parked;
    francis_result r = FRANCIS_OK;
    if (*t != 0)
        r = francis_answer(ctx, *t, FRANCIS_OK, "free", 4);
    if (r == FRANCIS_OK)
        *t = 0;
    return r;
}

static francis_result tell_news(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    (void)francis_send(ctx, "counter", "news0", "increment", NULL, 0);
    return francis_reply(ctx, &c->n, sizeof c->n);
}

/* What PENDING means in a handler. */
static francis_result go_on(francis_ctx *ctx, francis_result r, francis_handler next, void *local)
{
    return r == FRANCIS_PENDING ? francis_await(ctx, next, local) : r;
}

typedef struct {
    char            bytes[STREAM_PIECE];
    size_t          size;           /* read, and not written yet */
    francis_stream *other;
    int64_t         answer;
    size_t          got;
} talk_turn;

static francis_result talk_on(francis_ctx *ctx);

/* Sends back what comes; at the end the count, which that raises. */
static francis_result talk_run(francis_ctx *ctx, talk_turn *t)
{
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
    if (r != FRANCIS_DONE)
        return go_on(ctx, r, talk_on, t);
    c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    r = francis_stream_write(ctx, ctx->stream, &c->n, 3);
    if (r == FRANCIS_OK)
        r = francis_stream_write(ctx, ctx->stream, (const char *)&c->n + 3, sizeof c->n - 3);
    return r;
}

static francis_result talk_on(francis_ctx *ctx)
{
    return talk_run(ctx, (talk_turn *)ctx->local);
}

static francis_result talk(francis_ctx *ctx)
{
    talk_turn     *t = (talk_turn *)francis_alloc(ctx, sizeof *t);
    francis_result r = francis_stream_set_type(ctx->stream, "text/talk");
    if (t == NULL || r != FRANCIS_OK)
        return FRANCIS_ERR_NOMEM;
    return talk_run(ctx, t);
}

/* Two pieces of what an earlier turn may not have committed yet. */
static francis_result show(francis_ctx *ctx)
{
    const counter_state *c = (const counter_state *)francis_state(ctx);
    francis_result       r;
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    r = francis_stream_write(ctx, ctx->stream, &c->n, 3);
    if (r == FRANCIS_OK)
        r = francis_stream_write(ctx, ctx->stream, (const char *)&c->n + 3, sizeof c->n - 3);
    return r == FRANCIS_OK ? francis_stream_end(ctx, ctx->stream) : r;
}

static francis_result subscribe(francis_ctx *ctx)
{
    counter_instance *i = (counter_instance *)ctx->instance;
    francis_stream_close(i->kept);
    i->kept = ctx->stream;
    francis_stream_keep(ctx->stream);
    return FRANCIS_OK;
}

static francis_result publish(francis_ctx *ctx)
{
    counter_instance *i = (counter_instance *)ctx->instance;
    counter_state    *c = (counter_state *)francis_state(ctx);
    francis_result    r;
    if (i->kept == NULL)
        return FRANCIS_ERR_NOT_FOUND;
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    r = francis_stream_write(ctx, i->kept, &c->n, sizeof c->n);
    if (r == FRANCIS_OK)
        return francis_reply(ctx, &c->n, sizeof c->n);
    francis_stream_close(i->kept);
    i->kept = NULL;
    return r;
}

/* The end of the subscription, with a change of the state or without. */
static francis_result unsubscribe(francis_ctx *ctx)
{
    counter_instance *i = (counter_instance *)ctx->instance;
    counter_state    *c = (counter_state *)francis_state(ctx);
    francis_result    r;
    if (i->kept == NULL)
        return FRANCIS_ERR_NOT_FOUND;
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (ctx->input.size > 0)
        counter_put(c, c->n + 1);
    r = francis_stream_end(ctx, i->kept);
    if (r == FRANCIS_OK)
        r = francis_reply(ctx, &c->n, sizeof c->n);
    francis_stream_close(i->kept);
    i->kept = NULL;
    return r;
}

static francis_result forward_on(francis_ctx *ctx);

/* What the other one answers: an echo of two bytes and a count. */
static francis_result forward_run(francis_ctx *ctx, talk_turn *t)
{
    francis_result r;
    char           byte;
    size_t         n;
    while ((r = francis_stream_read(ctx, t->other, &byte, 1, &n)) == FRANCIS_OK) {
        if (t->got >= 2 && t->got < 2 + sizeof t->answer)
            ((char *)&t->answer)[t->got - 2] = byte;
        t->got++;
    }
    if (r != FRANCIS_DONE)
        return go_on(ctx, r, forward_on, t);
    return t->got != 2 + sizeof t->answer ? FRANCIS_ERR_CORRUPT
                                          : francis_reply(ctx, &t->answer, sizeof t->answer);
}

static francis_result forward_on(francis_ctx *ctx)
{
    return forward_run(ctx, (talk_turn *)ctx->local);
}

static francis_result forward(francis_ctx *ctx)
{
    francis_stream_desc d = { .type = "counter", .id = (const char *)ctx->input.data,
                              .method = "talk", .content_type = "text/plain" };
    talk_turn          *t = (talk_turn *)francis_alloc(ctx, sizeof *t);
    francis_result      r;
    if (t == NULL)
        return FRANCIS_ERR_NOMEM;
    r = francis_stream_open(ctx, &d, &t->other);
    if (r == FRANCIS_OK)
        r = francis_stream_write(ctx, t->other, "hi", 2);
    if (r == FRANCIS_OK)
        r = francis_stream_end(ctx, t->other);
    return r == FRANCIS_OK ? forward_run(ctx, t) : r;
}

static francis_result halt_self(francis_ctx *ctx)
{
    return francis_halt(ctx, NULL, NULL, NULL);
}

static const francis_method counter_methods[] = {
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    { "refuse", counter_refuse, FRANCIS_INVOKE, 0 },
    { "flush", flush_twice, FRANCIS_INVOKE, 0 },
    { "relay", relay, FRANCIS_INVOKE, 0 },
    { "device", device_begin, FRANCIS_INVOKE, 0 },
    { "park", park, FRANCIS_INVOKE, 0 },
    { "unpark", unpark, FRANCIS_INVOKE, 0 },
    { "news", tell_news, FRANCIS_INVOKE, 0 },
    { "halt", halt_self, FRANCIS_INVOKE, 0 },
    { "talk", talk, FRANCIS_STREAM, 0 },
    { "show", show, FRANCIS_PEEK_STREAM, 0 },
    { "subscribe", subscribe, FRANCIS_STREAM, 0 },
    { "publish", publish, FRANCIS_INVOKE, 0 },
    { "unsubscribe", unsubscribe, FRANCIS_INVOKE, 0 },
    { "forward", forward, FRANCIS_INVOKE, 0 },
    { "four", counter_increment, FRANCIS_INVOKE, 4 },
    FRANCIS_METHODS_END
};

static francis_result memo_put(francis_ctx *ctx)
{
    return francis_state_set(ctx, ctx->input.data, ctx->input.size);
}

static francis_result memo_get(francis_ctx *ctx)
{
    francis_bytes b = francis_state_get(ctx);
    return b.data == NULL ? FRANCIS_ERR_USER + 1 : francis_reply(ctx, b.data, b.size);
}

static francis_result memo_drop(francis_ctx *ctx)
{
    return francis_state_delete(ctx);
}

static francis_result memo_expire(francis_ctx *ctx)
{
    return francis_state_expire(ctx, FRANCIS_HOURS(1));
}

static francis_result memo_purge(francis_ctx *ctx)
{
    return francis_purge(ctx, NULL, NULL, NULL);
}

static const francis_method memo_methods[] = {
    { "put", memo_put, FRANCIS_INVOKE, 0 },
    { "get", memo_get, FRANCIS_PEEK, 0 },
    { "drop", memo_drop, FRANCIS_INVOKE, 0 },
    { "expire", memo_expire, FRANCIS_INVOKE, 0 },
    { "purge", memo_purge, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

/* Its life is its state: how often it came and went. */
static francis_result guest_come(francis_ctx *ctx)
{
    void *scratch = francis_alloc(ctx, 100);
    return scratch == NULL ? FRANCIS_ERR_NOMEM : FRANCIS_OK;
}

static francis_result guest_go(francis_ctx *ctx)
{
    int64_t *downs = (int64_t *)francis_state(ctx);
    if (downs == NULL)
        return FRANCIS_ERR_NOMEM;
    (*downs)++;
    return FRANCIS_OK;
}

static francis_result guest_greet(francis_ctx *ctx)
{
    return francis_reply(ctx, "hello", 5);
}

static const francis_method guest_methods[] = {
    { "greet", guest_greet, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static francis_result boss_boot(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (ctx->input.size != 4)
        return FRANCIS_ERR_BAD_INPUT;
    counter_put(c, c->n + 1);
    return FRANCIS_OK;
}

/* A new version of memo keeps the length in front. */
static francis_result memo_upgrade(francis_ctx *ctx)
{
    uint8_t bytes[8 + MEMO_BYTES] = { 0 };
    atomic_fetch_add(&upgrades, 1);
    if (ctx->state_version != 0 || ctx->input.size > MEMO_BYTES)
        return FRANCIS_ERR_CORRUPT;
    bytes[0] = (uint8_t)(ctx->input.size & 255);
    bytes[1] = (uint8_t)(ctx->input.size >> 8);
    (void)memcpy(bytes + 8, ctx->input.data, ctx->input.size);
    return francis_state_set(ctx, bytes, 8 + ctx->input.size);
}

/* ---- the host of a round ---- */

static void register_all(uint32_t memo_version, francis_result results[4])
{
    francis_actor_desc counter = { .type = "counter", .methods = counter_methods,
                                   .state_size = sizeof(counter_state),
                                   .instance_size = sizeof(counter_instance) };
    francis_actor_desc memo = { .type = "memo", .methods = memo_methods,
                                .state_version = memo_version,
                                .upgrade = memo_version > 0 ? memo_upgrade : NULL };
    francis_actor_desc guest = { .type = "guest", .methods = guest_methods,
                                 .state_size = sizeof(int64_t), .activate = guest_come,
                                 .deactivate = guest_go };
    francis_actor_desc boss = { .type = "boss", .methods = counter_methods, .singleton = true,
                                .state_size = sizeof(counter_state), .bootstrap = boss_boot,
                                .bootstrap_data = "boot", .bootstrap_size = 4 };
    results[0] = francis_register(w.host, &counter);
    results[1] = francis_register(w.host, &memo);
    results[2] = francis_register(w.host, &guest);
    results[3] = francis_register(w.host, &boss);
}

static void open_good(uint32_t memo_version)
{
    francis_result r[4];
    fault_alloc_init(&w.memory);
    w.host = NULL;
    t_ok(francis_open(&w.host, &w.desc));
    register_all(memo_version, r);
    for (int i = 0; i < 4; i++)
        t_ok(r[i]);
    t_ok(francis_start(w.host));
    w.ctx = francis_host_ctx(w.host);
}

static void close_and_check(void)
{
    const char *wrong;
    francis_close(w.host);
    w.host = NULL;
    wrong = fault_alloc_check(&w.memory);
    if (wrong != NULL)
        fail_msg("%s, %s, allocation %lu fails%s: %s", w.title,
                 workers_text(), w.n, w.forever ? " from then on" : "",
                 wrong);
}

/* With memory again everything must go at the first try. */
static void works_again(void)
{
    francis_stats s;
    fault_alloc_heal(&w.memory);
    for (int i = 0; i < COUNTERS; i++) {
        francis_result r = model_increment(&w.counters[i], w.ctx, "counter");
        if (r != FRANCIS_OK)
            fail_msg("%s, allocation %lu%s: afterwards the host answers %s: %s", w.title, w.n,
                     w.forever ? " and all later ones" : "", francis_result_name(r),
                     francis_host_error(w.host));
    }
    w_until((francis_stats_get(w.host, &s), s.calls_in_flight == 0 && s.streams == 0));
}

static void all_stored(void)
{
    sqlite3 *db = raw_open(w.path);
    for (int i = 0; i < COUNTERS; i++)
        model_stored(&w.counters[i], db, "counter");
    model_stored(&w.flushed, db, "counter");
    model_stored(&w.relayed, db, "counter");
    model_stored(&w.device, db, "counter");
    model_stored(&w.news, db, "counter");
    model_stored(&w.keyed, db, "counter");
    model_stored(&w.talked, db, "counter");
    model_stored(&w.told, db, "counter");
    (void)sqlite3_close(db);
}

static void world_begin(const char *title, bool workers, bool forever)
{
    (void)memset(&w, 0, sizeof w);
    (void)pthread_mutex_init(&w.log.lock, NULL);
    w.title = title;
    w.workers = workers;
    w.forever = forever;
    (void)snprintf(w.path, sizeof w.path, "%s", t_database());
    w.desc.database = w.path;
    w.desc.workers = workers ? 2 : FRANCIS_NO_WORKERS;
    w.desc.durability = FRANCIS_SURVIVES_CRASH;     /* syncs are not the subject */
    w.desc.timeout_ms = FRANCIS_SECONDS(60);
    w.desc.stream_buffer_bytes = BUFFER_BYTES;
    w.desc.on_alloc = fault_alloc_fn;
    w.desc.alloc_user = &w.memory;
    w.desc.on_log = t_log_sink;
    w.desc.log_user = &w.log;
    for (unsigned i = 0; i < COUNTERS; i++)
        model_init(&w.counters[i], "counter", i);
    model_init(&w.flushed, "flushed", 0);
    model_init(&w.relayed, "relayed", 0);
    model_init(&w.device, "device", 0);
    model_init(&w.news, "news", 0);
    model_init(&w.keyed, "keyed", 0);
    model_init(&w.talked, "talked", 0);
    model_init(&w.told, "told", 0);
}

/* ---- scenarios: each may be stopped by a lack of memory at any point ---- */

static void scenario_calls(void)
{
    francis_call call = { 0 };

    for (int i = 0; i < COUNTERS; i++)
        (void)usual(model_increment(&w.counters[i], w.ctx, "counter"), FRANCIS_OK);
    if (usual(francis_peek(w.ctx, "counter", "counter0", "get", NULL, 0, &call), FRANCIS_OK)) {
        assert_int_equal(call.size, sizeof(int64_t));
        assert_true(*(const int64_t *)call.data == w.counters[0].lo);
    }
    /* An error of the application arrives with its code, even when its text does not fit. */
    if (usual(francis_invoke(w.ctx, "counter", "counter0", "refuse", "x", 1, &call),
              FRANCIS_ERR_USER + 3))
        assert_true(call.from_handler);
    (void)usual(francis_invoke(w.ctx, "counter", "counter0", "nothing", NULL, 0, &call),
                FRANCIS_ERR_UNKNOWN_METHOD);
    (void)usual(francis_invoke(w.ctx, "counter", "counter0", "four", "12345", 5, &call),
                FRANCIS_ERR_BAD_INPUT);
    (void)usual(francis_invoke(w.ctx, "counter", "a/b", "increment", NULL, 0, &call),
                FRANCIS_ERR_INVALID);
    call.active_only = true;
    (void)usual(francis_invoke(w.ctx, "counter", "nobody", "get", NULL, 0, &call),
                FRANCIS_ERR_NOT_ACTIVE);
    francis_call_free(&call);
}

static void scenario_flush(void)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(w.ctx, "counter", w.flushed.id, "flush", NULL, 0, &call);
    /* A turn that fails after its flush has written something: UNKNOWN is the truth then. */
    if ((r != FRANCIS_ERR_UNKNOWN || fault_alloc_fired(&w.memory) == 0) && usual(r, FRANCIS_OK)) {
        int64_t n = *(const int64_t *)call.data;
        if (n < w.flushed.lo + 2 || n > w.flushed.hi + 2)
            fail_msg("flush: %lld, should be %lld to %lld", (long long)n,
                     (long long)w.flushed.lo + 2, (long long)w.flushed.hi + 2);
        w.flushed.lo = w.flushed.hi = n;
    } else {
        w.flushed.hi++;             /* what was flushed stays */
    }
    francis_call_free(&call);
}

static void note_end(francis_call *call)
{
    atomic_fetch_add((atomic_int *)call->user, 1);
}

static void scenario_async(void)
{
    francis_call calls[4] = { { 0 } };
    bool         sent[4];
    int          callbacks = 0;

    atomic_store(&ended, 0);
    for (int i = 0; i < 4; i++) {   /* two waited for, two with a callback */
        francis_result r;
        calls[i].async = i < 2;
        calls[i].on_done = i < 2 ? NULL : note_end;
        calls[i].user = &ended;
        r = francis_invoke(w.ctx, "counter", w.counters[i % COUNTERS].id, "increment", NULL, 0,
                           &calls[i]);
        sent[i] = usual(r, FRANCIS_PENDING);
        callbacks += sent[i] && i >= 2;
    }
    for (int i = 0; i < 2; i++)
        if (sent[i])
            (void)usual(francis_wait(w.ctx, &calls[i]), FRANCIS_OK);
    w_until(atomic_load(&ended) >= callbacks);
    assert_int_equal(atomic_load(&ended), callbacks);
    for (int i = 0; i < 4; i++) {
        if (sent[i]) {
            (void)usual(calls[i].result, FRANCIS_OK);
            /* 0 and 3 are the same actor: the later one knows of the earlier */
            model_answer(&w.counters[i % COUNTERS], calls[i].result, calls[i].data, calls[i].size);
        }
        francis_call_free(&calls[i]);
    }
    /* One that is cancelled at once: done or not, but never half. */
    (void)memset(&calls[0], 0, sizeof calls[0]);
    calls[0].async = true;
    if (usual(francis_invoke(w.ctx, "counter", w.counters[2].id, "increment", NULL, 0, &calls[0]),
              FRANCIS_PENDING))
        w.counters[2].hi++;
    francis_call_free(&calls[0]);
}

static void scenario_await(void)
{
    francis_call   call = { 0 };
    francis_result r;

    atomic_store(&relay_stage, 0);
    r = francis_invoke(w.ctx, "counter", w.counters[0].id, "relay", NULL, 0, &call);
    if (usual(r, FRANCIS_OK)) {
        w.counters[0].lo++;
        w.counters[0].hi++;
        assert_int_equal(atomic_load(&relay_stage), 2);
        assert_non_null(call.data);
    }
    if (atomic_load(&relay_stage) == 1)
        w.relayed.hi++;             /* called, and the answer never seen */
    else if (atomic_load(&relay_stage) == 2 && atomic_load(&relay_result) == FRANCIS_OK) {
        w.relayed.lo++;
        w.relayed.hi++;
    }
    francis_call_free(&call);
}

static void scenario_device(void)
{
    francis_call   call = { 0 };
    francis_result r;

    atomic_store(&ticket, 0);
    atomic_store(&ended, 0);
    call.on_done = note_end;
    call.user = &ended;
    r = francis_invoke(w.ctx, "counter", w.device.id, "device", NULL, 0, &call);
    if (usual(r, FRANCIS_PENDING)) {
        w_until(atomic_load(&ticket) != 0 || atomic_load(&ended) != 0);
        if (atomic_load(&ticket) != 0 && atomic_load(&ended) == 0) {
            r = francis_answer(w.ctx, atomic_load(&ticket), FRANCIS_OK, "ready", 5);
            if (r != FRANCIS_ERR_STALE && !usual(r, FRANCIS_OK)) {
                fault_alloc_heal(&w.memory);    /* not answered; nobody else will */
                t_ok(francis_answer(w.ctx, atomic_load(&ticket), FRANCIS_OK, "ready", 5));
            }
        }
        w_until(atomic_load(&ended) != 0);
        (void)usual(call.result, FRANCIS_OK);
        model_answer(&w.device, call.result, call.data, call.size);
        if (call.result == FRANCIS_OK)  /* answered once, and nobody waits any more */
            (void)usual(francis_answer(w.ctx, atomic_load(&ticket), FRANCIS_OK, NULL, 0),
                        FRANCIS_ERR_STALE);
    }
    francis_call_free(&call);
}

static void scenario_defer(void)
{
    francis_call   parked = { 0 };
    francis_result r;

    atomic_store(&ended, 0);
    parked.on_done = note_end;
    parked.user = &ended;
    if (usual(francis_invoke(w.ctx, "counter", "lot", "park", NULL, 0, &parked), FRANCIS_PENDING)) {
        r = francis_invoke(w.ctx, "counter", "lot", "unpark", NULL, 0, NULL);
        if (!usual(r, FRANCIS_OK)) {
            fault_alloc_heal(&w.memory);
            t_ok(francis_invoke(w.ctx, "counter", "lot", "unpark", NULL, 0, NULL));
        }
        w_until(atomic_load(&ended) != 0);
        /* If the activation was lost for want of memory its parked caller was let go. */
        if (parked.result == FRANCIS_ERR_MOVED) {
            assert_true(fault_alloc_fired(&w.memory) > 0);
        } else if (usual(parked.result, FRANCIS_OK)) {
            assert_int_equal(parked.size, 4);
            assert_memory_equal(parked.data, "free", 4);
        }
    }
    francis_call_free(&parked);
}

static void scenario_state(void)
{
    francis_call call = { 0 };
    uint8_t      text[MEMO_BYTES];
    bool         put;

    (void)memset(text, 'x', sizeof text);
    put = usual(francis_invoke(w.ctx, "memo", "m", "put", text, sizeof text, &call), FRANCIS_OK);
    if (put && usual(francis_peek(w.ctx, "memo", "m", "get", NULL, 0, &call), FRANCIS_OK)) {
        assert_int_equal(call.size, sizeof text);
        assert_memory_equal(call.data, text, sizeof text);
    }
    if (put && usual(francis_state_read(w.ctx, "memo", "m", &call), FRANCIS_OK))
        assert_int_equal(call.size, sizeof text);
    (void)usual(francis_invoke(w.ctx, "memo", "m", "expire", NULL, 0, &call), FRANCIS_OK);
    /* From outside it is a turn of the actor. */
    put = usual(francis_state_write(w.ctx, "memo", "m", "short", 5, 0, &call), FRANCIS_OK);
    if (put && usual(francis_state_read(w.ctx, "memo", "m", &call), FRANCIS_OK)) {
        assert_int_equal(call.size, 5);
        assert_memory_equal(call.data, "short", 5);
    }
    put = usual(francis_invoke(w.ctx, "memo", "m", "drop", NULL, 0, &call), FRANCIS_OK);
    if (put)
        (void)usual(francis_state_read(w.ctx, "memo", "m", &call), FRANCIS_ERR_NOT_FOUND);
    if (usual(francis_invoke(w.ctx, "memo", "m", "put", text, 20, &call), FRANCIS_OK) &&
        usual(francis_purge(w.ctx, "memo", "m", &call), FRANCIS_OK))
        (void)usual(francis_state_read(w.ctx, "memo", "m", &call), FRANCIS_ERR_NOT_FOUND);
    (void)usual(francis_invoke(w.ctx, "memo", "m", "purge", NULL, 0, &call), FRANCIS_OK);
    francis_call_free(&call);
}

static void list_all(francis_list_kind what, const char *type, bool with_data, unsigned at_least)
{
    francis_list   list = { .what = what, .type = type, .with_data = with_data };
    francis_result r;
    unsigned       n = 0;
    while ((r = francis_list_next(w.ctx, &list)) == FRANCIS_OK) {
        n++;
        assert_non_null(list.cursor);
        if (with_data && strcmp(list.item.type, "counter") == 0)
            assert_int_equal(list.item.size, sizeof(counter_state));
    }
    assert_int_equal(r, list.result);
    if (usual(r, FRANCIS_DONE))
        assert_true(n >= at_least);
    else
        assert_non_null(list.error);
    francis_list_free(&list);
}

static void scenario_list(void)
{
    unsigned made = 0;
    for (int i = 0; i < COUNTERS; i++)
        made += usual(model_increment(&w.counters[i], w.ctx, "counter"), FRANCIS_OK);
    list_all(FRANCIS_LIST_STATES, NULL, true, made);
    list_all(FRANCIS_LIST_STATES, "counter", false, made);
    list_all(FRANCIS_LIST_ACTIVE, NULL, false, made);
    list_all(FRANCIS_LIST_HOSTS, NULL, false, 1);
    list_all(FRANCIS_LIST_TYPES, NULL, false, 4);
}

static void scenario_life(void)
{
    francis_call call = { 0 };
    bool         came;

    came = usual(francis_invoke(w.ctx, "guest", "g", "greet", NULL, 0, &call), FRANCIS_OK);
    if (came)
        (void)usual(francis_halt(w.ctx, "guest", "g", &call), FRANCIS_OK);
    came = usual(francis_invoke(w.ctx, "guest", "g", "greet", NULL, 0, &call), FRANCIS_OK);
    (void)usual(francis_invoke(w.ctx, "counter", "c", "halt", NULL, 0, &call), FRANCIS_OK);
    (void)usual(francis_halt_all(w.ctx, &call), FRANCIS_OK);
    /* Whatever failed: with memory the actor comes back, and its going down is not for ever. */
    fault_alloc_heal(&w.memory);
    t_ok(francis_invoke(w.ctx, "guest", "g", "greet", NULL, 0, &call));
    t_ok(francis_invoke(w.ctx, "counter", "c", "increment", NULL, 0, &call));
    francis_call_free(&call);
}

static void scenario_send(void)
{
    francis_result r;
    /* A send may be lost, but not doubled. */
    r = francis_send(w.ctx, "counter", w.news.id, "increment", NULL, 0);
    if (usual(r, FRANCIS_OK))
        w.news.hi++;
    w.news.hi++;                    /* the one that the turn sends */
    r = francis_invoke(w.ctx, "counter", w.counters[1].id, "news", NULL, 0, NULL);
    if (usual(r, FRANCIS_OK)) {
        w.counters[1].lo++;
        w.counters[1].hi++;
    } else {
        w.news.hi--;                /* nothing leaves a turn that failed */
    }
}

static void scenario_request_ids(void)
{
    char           id[40];
    francis_result r;
    bool           late;
    int64_t        first = 0;
    model_init(&w.keyed, "keyed", w.round); /* a new one: what is kept is loaded with the actor */
    (void)snprintf(id, sizeof id, "request-%u", w.round);
    for (int i = 0; i < 3; i++) {   /* asked three times, done once, answered the same */
        /* francis itself asks again, as long as there is time */
        francis_call call = { .request_id = id };
        if (w.forever)
            call.timeout_ms = t_slow() ? 2000 : 60;
        r = francis_invoke(w.ctx, "counter", w.keyed.id, "increment", NULL, 0, &call);
        /* Time may be up in the midst of an attempt; asking again with all of it settles that. */
        late = call.timeout_ms != 0 && (r == FRANCIS_ERR_DEADLINE || r == FRANCIS_ERR_UNKNOWN);
        if (late || !usual(r, FRANCIS_OK)) {
            fault_alloc_heal(&w.memory);
            call.timeout_ms = 0;
            t_ok(francis_invoke(w.ctx, "counter", w.keyed.id, "increment", NULL, 0, &call));
        }
        assert_int_equal(call.size, sizeof first);
        if (first == 0) {
            (void)memcpy(&first, call.data, sizeof first);
            model_answer(&w.keyed, FRANCIS_OK, call.data, call.size);
        }
        assert_memory_equal(call.data, &first, sizeof first);
        francis_call_free(&call);
    }
    {
        francis_call call = { .request_id = id };
        (void)usual(francis_invoke(w.ctx, "counter", w.keyed.id, "get", NULL, 0, &call),
                    FRANCIS_ERR_EXISTS);
        francis_call_free(&call);
    }
}

/* ---- scenarios of streams ---- */

typedef struct {
    francis_stream *s;
    size_t          wrote, got;
    bool            ended, gives_up;
    int64_t         count;          /* what comes behind the echo */
    size_t          count_size;
} talker;

static void note_ready(francis_stream *s, void *user)
{
    (void)s;
    atomic_fetch_add((atomic_int *)user, 1);
}

static char echo_byte(size_t i)
{
    return (char)(i * 7 + i / 251);
}

/* A lack of memory that has not ended the stream: nothing is lost, the same step may be tried
 * again, unless the test wants to give up. */
static bool unharmed(talker *t, francis_result r)
{
    if (r != FRANCIS_ERR_NOMEM || t->gives_up || francis_stream_error(t->s)[0] != '\0')
        return false;
    assert_true(fault_alloc_fired(&w.memory) > 0);
    fault_alloc_heal(&w.memory);
    return true;
}

/* One piece, or the end behind the last. */
static francis_result talker_write(talker *t)
{
    char           bytes[STREAM_PIECE];
    francis_result r;
    if (t->wrote == STREAM_PIECES * STREAM_PIECE) {
        r = t->ended ? (francis_result)FRANCIS_OK : francis_stream_end(w.ctx, t->s);
        t->ended = t->ended || r == FRANCIS_OK;
        return r;
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = echo_byte(t->wrote + i);
    do
        r = francis_stream_write(w.ctx, t->s, bytes, sizeof bytes);
    while (unharmed(t, r));
    if (r == FRANCIS_OK)
        t->wrote += sizeof bytes;
    return r;
}

/* What comes is the echo and the count, whatever fails. */
static francis_result talker_read(talker *t)
{
    char           bytes[300];
    size_t         n;
    francis_result r;
    do
        r = francis_stream_read(w.ctx, t->s, bytes, sizeof bytes, &n);
    while (unharmed(t, r));
    assert_true(r == FRANCIS_OK ? n > 0 : n == 0);
    for (size_t i = 0; i < n; i++, t->got++) {
        if (t->got < STREAM_PIECES * STREAM_PIECE) {
            if (bytes[i] != echo_byte(t->got))
                fail_msg("%s, allocation %lu: byte %zu is wrong", w.title, w.n, t->got);
        } else {
            assert_true(t->count_size < sizeof t->count);
            ((char *)&t->count)[t->count_size++] = bytes[i];
        }
    }
    return r;
}

/* Bytes of the count show that the turn was committed, its end that all was said. */
static void talker_close(talker *t, francis_result r)
{
    if (r == FRANCIS_DONE) {
        assert_int_equal(t->got, STREAM_PIECES * STREAM_PIECE + sizeof t->count);
        assert_string_equal(francis_stream_type(t->s), "text/talk");
    } else if (t->s != NULL && !t->gives_up) {
        assert_string_not_equal(francis_stream_error(t->s), "");
    }
    if (t->count_size == sizeof t->count)
        model_answer(&w.talked, FRANCIS_OK, &t->count, sizeof t->count);
    else if (t->count_size > 0 || t->gives_up || r == FRANCIS_ERR_UNKNOWN)
        w.talked.hi++;
    francis_stream_close(t->s);
}

static bool talker_open(talker *t, bool tells)
{
    francis_stream_desc d = { .type = "counter", .id = w.talked.id, .method = "talk",
                              .content_type = "text/plain", .on_ready = tells ? note_ready : NULL,
                              .user = &ready };
    francis_result      r = francis_stream_open(w.ctx, &d, &t->s);
    if (usual(r, FRANCIS_OK))
        return true;
    talker_close(t, r);
    return false;
}

/* Who gives up a stream for want of memory does not hear what became of its turn. */
static void usual_end(francis_result r)
{
    if (r == FRANCIS_ERR_UNKNOWN && fault_alloc_fired(&w.memory) > 0)
        return;
    (void)usual(r, FRANCIS_DONE);
}

/* A thread that waits, piece by piece. */
static void talk_waiting(bool gives_up)
{
    talker         t = { .gives_up = gives_up };
    francis_result r = FRANCIS_OK;
    if (!talker_open(&t, false))
        return;
    while (r == FRANCIS_OK && !t.ended) {
        r = talker_write(&t);
        while (r == FRANCIS_OK && t.got < t.wrote)
            r = talker_read(&t);
    }
    while (r == FRANCIS_OK)
        r = talker_read(&t);
    usual_end(r);
    talker_close(&t, r);
}

/* A loop that is told when to try again, with both directions full. */
static void talk_told(bool gives_up)
{
    talker         t = { .gives_up = gives_up };
    francis_result in = FRANCIS_PENDING, out;
    if (!talker_open(&t, true))
        return;
    while (in == FRANCIS_PENDING) {
        int before = atomic_load(&ready);
        do
            out = talker_write(&t);
        while (out == FRANCIS_OK && !t.ended);
        do
            in = talker_read(&t);
        while (in == FRANCIS_OK);
        if (out != FRANCIS_OK && out != FRANCIS_PENDING && in == FRANCIS_PENDING)
            in = out;
        if (in == FRANCIS_PENDING)
            w_until(atomic_load(&ready) != before);
    }
    usual_end(in);
    talker_close(&t, in);
}

/* With memory a stream must go at the first try. Counted from the healing on: until then what
 * other threads still ask for fails, too. */
static void streams_work(void)
{
    unsigned long fired;
    fault_alloc_heal(&w.memory);
    fired = fault_alloc_fired(&w.memory);
    talk_waiting(false);
    talk_told(false);
    assert_int_equal(fault_alloc_fired(&w.memory), fired);
    if (w.talked.lo != w.talked.hi)
        fail_msg("%s, allocation %lu: streams do not work afterwards", w.title, w.n);
}

static void scenario_stream(void)
{
    talk_waiting(false);
    streams_work();
}

static void scenario_stream_closed(void)
{
    talk_waiting(true);
    streams_work();
}

static void scenario_stream_told(void)
{
    talk_told(false);
    streams_work();
}

static void scenario_stream_told_closed(void)
{
    talk_told(true);
    streams_work();
}

/* So many wait, one for the other, that there is no record left of a call or of one who waits. */
static void scenario_stream_many(void)
{
    enum { MANY = 36, BEFORE = 30 };        /* two records each, of 64 at first */
    talker many[MANY];
    (void)memset(many, 0, sizeof many);
    fault_alloc_heal(&w.memory);
    for (int i = 0; i < MANY; i++) {
        if (i == BEFORE)
            fault_alloc_fail(&w.memory, w.n, w.forever);
        if (!talker_open(&many[i], true))
            many[i].s = NULL;
        else
            (void)usual(talker_read(&many[i]), FRANCIS_PENDING);
    }
    for (int i = 0; i < MANY; i++)
        francis_stream_close(many[i].s);
    streams_work();
}

/* Out of a turn to another actor. */
static void scenario_stream_forward(void)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(w.ctx, "counter", "forwards", "forward", w.talked.id,
                                      strlen(w.talked.id), &call);
    if (usual(r, FRANCIS_OK))
        model_answer(&w.talked, r, call.data, call.size);
    else
        w.talked.hi++;              /* the other one's turn is not undone */
    francis_call_free(&call);
    streams_work();
}

/* Reads a number; a cut inside it is never an end. */
static francis_result read_number(francis_stream *s, int64_t *number)
{
    talker         t = { .s = s };
    francis_result r = FRANCIS_OK;
    size_t         got = 0, n;
    while (got < sizeof *number) {
        r = francis_stream_read(w.ctx, s, (char *)number + got, sizeof *number - got, &n);
        got += n;
        if (r != FRANCIS_OK && !unharmed(&t, r))
            break;
    }
    assert_true(r != FRANCIS_DONE || got == 0);
    return r;
}

/* A shared turn, behind one that is being committed. */
static void scenario_stream_peek(void)
{
    francis_stream_desc d = { .type = "counter", .id = w.talked.id, .method = "show",
                              .peek = true };
    francis_call        call = { .async = true };
    francis_stream     *s;
    int64_t             number = 0, lo = w.talked.lo, hi = w.talked.hi + 1;
    bool sent = usual(francis_invoke(w.ctx, "counter", w.talked.id, "increment", NULL, 0, &call),
                      FRANCIS_PENDING);
    if (usual(francis_stream_open(w.ctx, &d, &s), FRANCIS_OK)
        && usual(read_number(s, &number), FRANCIS_OK)) {
        assert_in_range(number, lo, hi);
        if (usual(read_number(s, &lo), FRANCIS_DONE) && number > w.talked.hi)
            w.talked.hi = number - 1;
    }
    francis_stream_close(s);
    if (sent && usual(francis_wait(w.ctx, &call), FRANCIS_OK))
        model_answer(&w.talked, FRANCIS_OK, call.data, call.size);
    francis_call_free(&call);
    streams_work();
}

/* One change that the subscriber is told of. Has it been made he must hear of it. */
static francis_result tell(francis_stream *s, const char *method, const char *input)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(w.ctx, "counter", w.told.id, method, input, strlen(input),
                                      &call);
    int64_t        number = 0;
    if (r == FRANCIS_ERR_NOT_FOUND)
        assert_true(fault_alloc_fired(&w.memory) > 0);
    else if (strcmp(method, "publish") == 0 || input[0] != '\0')
        model_answer(&w.told, r, call.data, call.size);
    if (r == FRANCIS_OK && strcmp(method, "publish") == 0) {
        t_ok(read_number(s, &number));
        assert_int_equal(number, *(const int64_t *)call.data);
    }
    francis_call_free(&call);
    return r;
}

/* How a subscription ends where nobody has ended it. */
static void cut(francis_stream *s)
{
    int64_t        number;
    francis_result r = read_number(s, &number);
    assert_true(fault_alloc_fired(&w.memory) > 0);
    if (r != FRANCIS_ERR_MOVED && r != FRANCIS_ERR_CANCELLED)
        t_result(r, FRANCIS_ERR_NOMEM);
    assert_string_not_equal(francis_stream_error(s), "");
}

static void kept_ends(const char *input)
{
    francis_stream_desc d = { .type = "counter", .id = w.told.id, .method = "subscribe" };
    francis_stream     *s;
    int64_t             number;
    bool                there = usual(francis_stream_open(w.ctx, &d, &s), FRANCIS_OK);
    for (int i = 0; i < 2 && there; i++)
        there = tell(s, "publish", "") == FRANCIS_OK;
    if (there)
        there = tell(s, "unsubscribe", input) == FRANCIS_OK;
    if (there)
        t_result(read_number(s, &number), FRANCIS_DONE);
    else if (s != NULL && francis_stream_error(s)[0] != '\0')
        cut(s);
    francis_stream_close(s);
}

static void scenario_stream_kept(void)
{
    kept_ends("");
    kept_ends("with a change");
    fault_alloc_heal(&w.memory);
    t_ok(francis_halt_all(w.ctx, NULL));    /* with what it keeps of nobody */
    streams_work();
}

/* He who reads goes first; then the actor hears of it, and may hibernate. */
static void scenario_stream_left(void)
{
    francis_stream_desc d = { .type = "counter", .id = w.told.id, .method = "subscribe" };
    francis_stream     *s;
    francis_result      r;
    bool                there = usual(francis_stream_open(w.ctx, &d, &s), FRANCIS_OK);
    there = there && tell(s, "publish", "") == FRANCIS_OK;
    francis_stream_close(s);
    if (there) {
        r = francis_invoke(w.ctx, "counter", w.told.id, "publish", NULL, 0, NULL);
        if (r != FRANCIS_ERR_NOT_FOUND)
            (void)usual(r, FRANCIS_ERR_CANCELLED);
    }
    there = usual(francis_stream_open(w.ctx, &d, &s), FRANCIS_OK);
    if (there && tell(s, "publish", "") == FRANCIS_OK)
        (void)usual(francis_halt(w.ctx, "counter", w.told.id, NULL), FRANCIS_OK);
    fault_alloc_heal(&w.memory);
    t_ok(francis_halt_all(w.ctx, NULL));
    if (there)
        assert_true(read_number(s, &(int64_t){ 0 }) != FRANCIS_DONE);
    francis_stream_close(s);
    streams_work();
}

static unsigned stride(void)
{
    return t_slow() ? 7 : 1;
}

/* Opens a good host, lets the n-th allocation of the scenario fail, for each n until none does. */
static void sweep(const char *title, void (*scenario)(void))
{
    for (int variant = 0; variant < 4; variant++) {
        unsigned long total = 0;
        world_begin(title, (variant & 1) != 0, (variant & 2) != 0);
        for (w.n = 1;; w.n += stride()) {
            unsigned long fired;
            w.round++;
            open_good(0);
            fault_alloc_fail(&w.memory, w.n, w.forever);
            scenario();
            fired = fault_alloc_fired(&w.memory);
            works_again();
            close_and_check();
            all_stored();
            if (fired == 0)
                break;
            total++;
        }
        /* A scenario in which nothing can fail would prove nothing. */
        assert_true(total > 0);
        print_message("%s, %s, %s: %lu allocations failed\n", title,
                      workers_text(), w.forever ? "from then on" : "once",
                      total);
    }
}

/* Would catch: a turn half done, an activation that stays broken, an error that is not NOMEM, a
 * mailbox entry that leaks, when memory runs out in a plain call. */
static void test_calls(void **state)
{
    (void)state;
    sweep("calls", scenario_calls);
}

/* Would catch: a flush that says OK and was not committed, or a turn that goes on after one that
 * failed. */
static void test_flush(void **state)
{
    (void)state;
    sweep("flush", scenario_flush);
}

/* Would catch: a callback that comes twice or never, a call that stays PENDING, one that is freed
 * while the engine still points to it. */
static void test_async(void **state)
{
    (void)state;
    sweep("async", scenario_async);
}

/* Would catch: a suspended turn that is never resumed, or whose memory goes too early. */
static void test_await(void **state)
{
    (void)state;
    sweep("await", scenario_await);
}

/* Would catch: a ticket that is given out and not known, an answer that is lost although it was
 * accepted. */
static void test_device(void **state)
{
    (void)state;
    sweep("device", scenario_device);
}

/* Would catch: a parked caller who waits for ever. */
static void test_defer(void **state)
{
    (void)state;
    sweep("defer", scenario_defer);
}

/* Would catch: a state that is cut off, a cache that disagrees with the file. */
static void test_state(void **state)
{
    (void)state;
    sweep("state", scenario_state);
}

/* Would catch: a list that ends with DONE before its end, a page that leaks. */
static void test_list(void **state)
{
    (void)state;
    sweep("list", scenario_list);
}

/* Would catch: an actor that is neither active nor gone. */
static void test_life(void **state)
{
    (void)state;
    sweep("life", scenario_life);
}

/* Would catch: a send that runs twice, or although its turn failed. */
static void test_send(void **state)
{
    (void)state;
    sweep("send", scenario_send);
}

/* Would catch: a keyed call that is done twice because its record was not stored with it. */
static void test_request_ids(void **state)
{
    (void)state;
    sweep("request ids", scenario_request_ids);
}

/* Would catch: an end where there was a cut, bytes that are lost, doubled or of nobody, a number
 * that was never stored, when memory runs out while somebody waits for a stream. */
static void test_streams(void **state)
{
    (void)state;
    sweep("streams", scenario_stream);
    sweep("streams, closed", scenario_stream_closed);
}

/* The same for one who is told. Would catch: an on_ready that never comes. */
static void test_streams_told(void **state)
{
    (void)state;
    sweep("streams, told", scenario_stream_told);
    sweep("streams, told, closed", scenario_stream_told_closed);
    sweep("many streams", scenario_stream_many);
}

/* Would catch: a turn that waits for a stream for ever, or leaves one behind. */
static void test_stream_turns(void **state)
{
    (void)state;
    sweep("streams of turns", scenario_stream_forward);
    sweep("streams of peeks", scenario_stream_peek);
}

/* Would catch: a subscriber who is not told of a change that was made, or takes a cut for an end;
 * an actor that keeps a stream of nobody. */
static void test_stream_kept(void **state)
{
    (void)state;
    sweep("kept streams", scenario_stream_kept);
    sweep("left streams", scenario_stream_left);
}

/* Open, register, start, stop and close themselves. Would catch: a host that is half open, a lock
 * file or thread that stays behind, a start that says OK and serves nothing. */
static void test_open_close(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        unsigned long total = 0;
        world_begin("open", (variant & 1) != 0, (variant & 2) != 0);
        for (w.n = 1;; w.n += stride()) {
            francis_result r, registered[4];
            unsigned long  fired;
            if (w.n % 5 == 1)       /* every now and then with a file that does not exist yet */
                raw_remove(w.path);
            for (int i = 0; i < COUNTERS && w.n % 5 == 1; i++)
                w.counters[i].lo = w.counters[i].hi = 0;
            fault_alloc_init(&w.memory);
            fault_alloc_fail(&w.memory, w.n, w.forever);
            w.host = NULL;
            (void)usual(francis_open(&w.host, &w.desc), FRANCIS_OK);
            register_all(0, registered);
            for (int i = 0; i < 4; i++)
                (void)usual(registered[i], FRANCIS_OK);
            r = francis_start(w.host);
            if (usual(r, FRANCIS_OK)) {
                w.ctx = francis_host_ctx(w.host);
                for (int i = 0; i < COUNTERS; i++)
                    (void)usual(model_increment(&w.counters[i], w.ctx, "counter"), FRANCIS_OK);
                fired = fault_alloc_fired(&w.memory);
                works_again();
                /* The rest of the sweep reaches stop and close. */
                if (w.forever && fired != 0)
                    fault_alloc_fail(&w.memory, 1 + w.n % 40, true);
                else if (fired == 0)
                    fault_alloc_fail(&w.memory, 1 + w.n % 40, false);
                francis_stop(w.host);
            } else {
                fired = 1;
                if (w.host != NULL && francis_host_error(w.host)[0] == '\0')
                    fail_msg("open, %s, allocation %lu%s: the start fails and does not say why",
                             workers_text(), w.n, w.forever ? " and all later ones" : "");
            }
            close_and_check();

            /* Nothing is in the way of the next one. */
            fault_alloc_init(&w.memory);
            w.host = NULL;
            t_ok(francis_open(&w.host, &w.desc));
            register_all(0, registered);
            t_ok(francis_start(w.host));
            w.ctx = francis_host_ctx(w.host);
            works_again();
            close_and_check();
            all_stored();
            if (fired == 0)
                break;
            total++;
        }
        assert_true(total > 0);
        print_message("open and close, %s, %s: %lu allocations failed\n",
                      workers_text(), w.forever ? "from then on" : "once",
                      total);
    }
}

/* Stop and close with actors that write when they go down. Would catch: a close that leaks, hangs
 * or loses what was acknowledged when there is no memory for the going down. */
static void test_close(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        world_begin("close", (variant & 1) != 0, (variant & 2) != 0);
        for (w.n = 1; w.n < 80; w.n += stride()) {
            francis_call call = { 0 };
            open_good(0);
            works_again();
            t_ok(francis_invoke(w.ctx, "guest", "g", "greet", NULL, 0, NULL));
            t_ok(francis_invoke(w.ctx, "guest", "h", "greet", NULL, 0, NULL));
            call.async = true;      /* one is under way, and is cancelled by the close */
            t_result(
                francis_invoke(w.ctx, "counter", w.counters[0].id, "increment", NULL, 0, &call),
                FRANCIS_PENDING);
            w.counters[0].hi++;
            fault_alloc_fail(&w.memory, w.n, w.forever);
            francis_call_free(&call);
            close_and_check();
            all_stored();
        }
    }
}

/* The handler that brings an old state up to date. Would catch: an upgrade that is lost, done twice
 * on its own result, or leaves the old bytes under the new version. */
static void test_upgrade(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        world_begin("upgrade", (variant & 1) != 0, (variant & 2) != 0);
        for (w.n = 1;; w.n += stride()) {
            francis_call  call = { 0 };
            unsigned long fired;
            char          id[32];
            (void)snprintf(id, sizeof id, "old%lu", w.n);
            open_good(0);
            t_ok(francis_invoke(w.ctx, "memo", id, "put", "abc", 3, NULL));
            close_and_check();
            open_good(1);
            fault_alloc_fail(&w.memory, w.n, w.forever);
            (void)usual(francis_peek(w.ctx, "memo", id, "get", NULL, 0, &call), FRANCIS_OK);
            fired = fault_alloc_fired(&w.memory);
            works_again();
            t_ok(francis_peek(w.ctx, "memo", id, "get", NULL, 0, &call));
            assert_int_equal(call.size, 8 + 3);
            assert_memory_equal((const char *)call.data + 8, "abc", 3);
            francis_call_free(&call);
            close_and_check();
            if (fired == 0)
                break;
        }
        assert_true(w.n > 1);
        assert_true(atomic_load(&upgrades) > 0);
    }
}

/* memory_bytes_max is a limit, not an advice. Would catch: memory that is not counted, a host that
 * does not recover when it has reached its limit. */
static void test_memory_limit(void **state)
{
    enum { LIMIT = 2 * 1024 * 1024 };
    char *large;
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        francis_call  calls[8] = { { 0 } };
        francis_stats s;
        unsigned      refused = 0;
        world_begin("limit", variant != 0, false);
        w.desc.memory_bytes_max = LIMIT;
        open_good(0);
        large = (char *)calloc(1, 500000);
        assert_non_null(large);
        for (int i = 0; i < 8; i++) {   /* together more than the limit */
            francis_result r;
            calls[i].async = true;
            r = francis_invoke(w.ctx, "memo", "big", "put", large, 500000, &calls[i]);
            if (r != FRANCIS_PENDING) {
                t_result(r, FRANCIS_ERR_NOMEM);
                refused++;
            }
        }
        for (int i = 0; i < 8; i++) {
            francis_result r = francis_wait(w.ctx, &calls[i]);
            if (r != FRANCIS_OK)
                t_result(r, FRANCIS_ERR_NOMEM);
            francis_call_free(&calls[i]);
        }
        assert_true(refused > 0);
        assert_true(w.memory.bytes_peak <= LIMIT);
        francis_stats_get(w.host, &s);
        assert_true(s.memory_bytes <= LIMIT && s.memory_bytes_peak <= LIMIT);
        assert_true(s.memory_bytes_peak >= 1000000);
        t_ok(francis_halt_all(w.ctx, NULL));
        works_again();
        t_ok(francis_invoke(w.ctx, "memo", "big", "put", large, 500000, NULL));
        free(large);
        close_and_check();
    }
}

/* The same round again and again needs no more memory than at first. Would catch: whatever is kept
 * until close and so escapes the books of the other tests. */
static void test_steady(void **state)
{
    void (*const scenarios[])(void) = { scenario_calls, scenario_flush, scenario_async,
                                        scenario_await, scenario_device, scenario_defer,
                                        scenario_state, scenario_list, scenario_life,
                                        scenario_send, scenario_stream, scenario_stream_told,
                                        scenario_stream_forward, scenario_stream_peek,
                                        scenario_stream_kept, scenario_stream_left };
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        size_t       before = 0, after = 0;
        const int    rounds = t_slow() ? 30 : 150;
        world_begin("steady", variant != 0, false);
        open_good(0);
        for (int round = 0; round < rounds; round++) {
            for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
                scenarios[i]();
            works_again();
            t_ok(francis_halt_all(w.ctx, NULL));
            /* the largest of the first third against the largest of the last */
            if (round < rounds / 3 && fault_alloc_bytes(&w.memory) > before)
                before = fault_alloc_bytes(&w.memory);
            if (round >= rounds - rounds / 3 && fault_alloc_bytes(&w.memory) > after)
                after = fault_alloc_bytes(&w.memory);
        }
        print_message("outstanding between rounds: %zu bytes, later %zu\n", before, after);
        assert_true(after <= before + before / 4 + 4096);
        close_and_check();
        all_stored();
    }
}

/* ---- SQLite's own memory ---- */

static sqlite3_mem_methods sqlite_real;
static atomic_long         sqlite_countdown;    /* 0 = none fails */
static atomic_bool         sqlite_forever, sqlite_failing;
static atomic_ulong        sqlite_fired;

static bool sqlite_fails(void)
{
    if (!atomic_load(&sqlite_failing)) {
        if (atomic_load(&sqlite_countdown) <= 0 || atomic_fetch_sub(&sqlite_countdown, 1) != 1)
            return false;
        atomic_store(&sqlite_failing, atomic_load(&sqlite_forever));
    }
    atomic_fetch_add(&sqlite_fired, 1);
    return true;
}

static void *sqlite_alloc(int size)
{
    return sqlite_fails() ? NULL : sqlite_real.xMalloc(size);
}

static void *sqlite_realloc(void *old, int size)
{
    return sqlite_fails() ? NULL : sqlite_real.xRealloc(old, size);
}

static void sqlite_heal(void)
{
    atomic_store(&sqlite_countdown, 0);
    atomic_store(&sqlite_failing, false);
}

/* SQLite runs out of memory at each of its own allocations while the host works. Would catch: a
 * commit taken for done or for failed when it is not, a statement that is not reset, a host that
 * takes a lack of memory for a damaged file. */
static void test_sqlite_memory(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        const unsigned step = t_slow() ? 23 : 3;
        unsigned long  total = 0;
        world_begin("SQLite's memory", (variant & 1) != 0, (variant & 2) != 0);
        for (w.n = 1;; w.n += step) {
            unsigned long fired;
            open_good(0);
            atomic_store(&sqlite_fired, 0);
            atomic_store(&sqlite_forever, w.forever);
            atomic_store(&sqlite_countdown, (long)w.n);
            for (int i = 0; i < 2 * COUNTERS; i++) {
                francis_result r = model_increment(&w.counters[i % COUNTERS], w.ctx, "counter");
                if (r != FRANCIS_OK && r != FRANCIS_ERR_NOMEM && r != FRANCIS_ERR_STORAGE &&
                    r != FRANCIS_ERR_UNKNOWN)
                    fail_msg("SQLite's allocation %lu fails: %s", w.n, francis_result_name(r));
                if (r != FRANCIS_OK)
                    assert_true(atomic_load(&sqlite_fired) > 0);
                if (i == 2)
                    (void)francis_halt(w.ctx, "counter", w.counters[0].id, NULL);
            }
            {
                francis_call call = { 0 };
                (void)francis_state_read(w.ctx, "counter", w.counters[1].id, &call);
                francis_call_free(&call);
            }
            fired = atomic_load(&sqlite_fired);
            sqlite_heal();
            /* Perhaps it has to open the file anew first, but then it goes on. */
            for (int i = 0; i < COUNTERS; i++)
                t_until(model_increment(&w.counters[i], w.ctx, "counter") == FRANCIS_OK);
            close_and_check();
            all_stored();
            if (fired == 0)
                break;
            total++;
        }
        assert_true(total > 0);
        print_message("SQLite's own, %s, %s: %lu allocations failed\n",
                      workers_text(), w.forever ? "from then on" : "once",
                      total);
    }
}

/* The same while it opens. Would catch: a start that succeeds on half a schema. */
static void test_sqlite_memory_at_open(void **state)
{
    unsigned long total = 0;
    (void)state;
    world_begin("SQLite's memory at open", false, false);
    for (w.n = 1;; w.n += t_slow() ? 97 : 7) {
        francis_result r, registered[4];
        unsigned long  fired;
        if (w.n % 3 == 0) {
            raw_remove(w.path);
            for (int i = 0; i < COUNTERS; i++)
                w.counters[i].lo = w.counters[i].hi = 0;
        }
        fault_alloc_init(&w.memory);
        atomic_store(&sqlite_fired, 0);
        atomic_store(&sqlite_forever, (w.n & 1) != 0);
        atomic_store(&sqlite_countdown, (long)w.n);
        w.host = NULL;
        (void)francis_open(&w.host, &w.desc);
        register_all(0, registered);
        r = francis_start(w.host);
        fired = atomic_load(&sqlite_fired);
        sqlite_heal();
        if (r != FRANCIS_OK) {
            assert_true(fired > 0);
            if (r != FRANCIS_ERR_NOMEM)
                t_result(r, FRANCIS_ERR_STORAGE);
        } else {
            w.ctx = francis_host_ctx(w.host);
            for (int i = 0; i < COUNTERS; i++)
                t_until(model_increment(&w.counters[i], w.ctx, "counter") == FRANCIS_OK);
        }
        close_and_check();
        open_good(0);
        works_again();
        close_and_check();
        all_stored();
        if (fired == 0)
            break;
        total++;
    }
    assert_true(total > 0);
    print_message("SQLite's own at open: %lu allocations failed\n", total);
}

/* ---- alarms and jobs ---- */

static errands errand;

static bool usual_errand(francis_result r, francis_result expected, const char *what)
{
    if (r == FRANCIS_ERR_UNKNOWN && fault_alloc_fired(&w.memory) > 0)
        return false;               /* it is done, and there was no memory to say so */
    return usual_at(r, expected, what, __LINE__);
}

static void open_errands(void)
{
    fault_alloc_init(&w.memory);
    w.host = NULL;
    t_ok(francis_open(&w.host, &w.desc));
    t_ok(francis_register(w.host, &errand_type));
    t_ok(francis_start(w.host));
    errand.ctx = w.ctx = francis_host_ctx(w.host);
    errand.db = raw_open(w.path);
}

/* Lets what is due begin, and fail. */
static void let_fire(void)
{
    for (int i = 0; i < 20; i++) {
        if (w.workers)
            t_yield();
        else
            t_ok(francis_poll(w.host, 0));
    }
}

/* Would catch: an alarm that is stranded until the next start, one that runs twice or although it
 * was refused, a job that is done and there still, an attempt that is counted for a lack of memory,
 * a dead job nobody is told of. */
static void test_errands(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        const unsigned step = t_slow() ? 43 : 11;       /* each waits for what is tried again */
        unsigned long  total = 0;
        world_begin("alarms and jobs", (variant & 1) != 0, (variant & 2) != 0);
        errands_init(&errand);
        errand.usual = usual_errand;
        for (w.n = 1 + 3 * (unsigned)variant;; w.n += step) {
            unsigned long fired;
            open_errands();
            errands_prepare(&errand);
            w_until(errand_is_dead(&errand));
            fault_alloc_fail(&w.memory, w.n, w.forever);
            errands_ask(&errand);
            let_fire();
            fired = fault_alloc_fired(&w.memory);
            fault_alloc_heal(&w.memory);
            errands_tidy(&errand);
            w_until(errands_pending(&errand) == 0);
            errands_stored(&errand);
            (void)sqlite3_close(errand.db);
            close_and_check();
            if (fired == 0)
                break;
            total++;
        }
        assert_true(total > 0);
        print_message("alarms and jobs, %s, %s: %lu allocations failed\n", workers_text(),
                      w.forever ? "from then on" : "once", total);
    }
}

/* A test that has failed leaves its host behind, whose threads go on with the books of all of
 * them. What would be said of the tests after it is not true then, so they do not run. */
static int nobody_left(void **state)
{
    (void)state;
    if (w.host == NULL || !w.workers)
        return 0;
    print_error("not run: the host of a test that has failed is still there (%s)\n", w.title);
    return -1;
}

#define ALONE(test) cmocka_unit_test_setup(test, nobody_left)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ALONE(test_open_close),
        ALONE(test_close),
        ALONE(test_calls),
        ALONE(test_flush),
        ALONE(test_async),
        ALONE(test_await),
        ALONE(test_device),
        ALONE(test_defer),
        ALONE(test_state),
        ALONE(test_list),
        ALONE(test_life),
        ALONE(test_send),
        ALONE(test_request_ids),
        ALONE(test_streams),
        ALONE(test_streams_told),
        ALONE(test_stream_turns),
        ALONE(test_stream_kept),
        ALONE(test_upgrade),
        ALONE(test_memory_limit),
        ALONE(test_steady),
        ALONE(test_errands),
        ALONE(test_sqlite_memory),
        ALONE(test_sqlite_memory_at_open),
    };
    sqlite3_mem_methods methods;
    int                 failed;
    /* Before SQLite is used for the first time. */
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_real) != SQLITE_OK)
        return 2;
    methods = sqlite_real;
    methods.xMalloc = sqlite_alloc;
    methods.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        return 2;
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("fault_alloc", tests, NULL, NULL);
    t_clean();
    return failed;
}
