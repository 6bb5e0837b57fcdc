/* Streams: bytes there and back while one turn runs, between all kinds of hosts. Each test runs in
 * several modes: caller and actor on one host with workers or without, and on two hosts. */
#include "support/t.h"

#include "support/address.h"
#include "support/child.h"
#include "support/fault_alloc.h"

#include <signal.h>
#include <stdatomic.h>

typedef enum {
    HERE,                           /* one host, with workers */
    ALONE,                          /* one host, without */
    THERE,                          /* the actor on another host, all with workers */
    THERE_ALONE,                    /* the caller's host without */
    MODES
} mode;

static const char key[] = "a key of the cluster, long enough to be one";

enum { BIG = 1024 * 1024, BUFFER = 64 * 1024 };

static struct {
    mode          mode;
    francis_host *caller, *server;  /* the same if the actor is here */
    francis_ctx  *ctx;
    t_log         log;
    const char   *path;
} it;

/* What handlers see and wait for; of one test at a time. */
static struct {
    atomic_int  door;               /* handlers pass stages of a turn when it is open so far */
    atomic_int  at;                 /* and say where they are */
    atomic_long wrote;              /* bytes that a handler could write */
    atomic_int  last;               /* a result that it has got */
    atomic_int  runs;
    char        type[300];
} seen;

static unsigned char pattern(size_t i) { return (unsigned char)(i * 7 + i / 251); }

/* ---- the actors ---- */

/* In a handler a test cannot fail: its caller hears what was wrong. */
#define expect(actual, expected)                                                   \
    do {                                                                           \
        francis_result expect_ = (actual);                                         \
        if (expect_ != (expected))                                                 \
            return francis_fail(ctx, FRANCIS_ERR_USER + 99, "%s is %s", #actual,   \
                                francis_result_name(expect_));                     \
    } while (0)

typedef struct {
    int64_t n;
} box_state;

typedef struct {
    size_t          at, size, keep;
    francis_stream *kept;
    unsigned char   part[1000];
} box_instance;                     /* of one turn at a time */

static char much[600000];

static box_instance *instance_of(francis_ctx *ctx) { return (box_instance *)ctx->instance; }

/* Goes on when the test opens the door so far; also where no thread may wait. */
static bool passed(francis_ctx *ctx, int stage)
{
    atomic_store(&seen.at, stage);
    while (atomic_load(&seen.door) < stage && francis_interrupted(ctx) == FRANCIS_OK
           && it.mode != ALONE)
        t_yield();
    return atomic_load(&seen.door) >= stage;
}

/* What PENDING means in a handler. */
static francis_result again(francis_ctx *ctx, francis_result r, francis_handler handler)
{
    return r == FRANCIS_PENDING ? francis_await(ctx, handler, NULL) : r;
}

/* Sends back what comes. */
static francis_result box_echo_on(francis_ctx *ctx)
{
    box_instance  *b = instance_of(ctx);
    francis_result r = FRANCIS_OK;
    while (r == FRANCIS_OK) {
        if (b->size == 0)
            r = francis_stream_read(ctx, ctx->stream, b->part, sizeof b->part, &b->size);
        if (r == FRANCIS_OK)
            r = francis_stream_write(ctx, ctx->stream, b->part, b->size);
        if (r == FRANCIS_OK)
            b->size = 0;
    }
    return r == FRANCIS_DONE ? FRANCIS_OK : again(ctx, r, box_echo_on);
}

static francis_result box_echo(francis_ctx *ctx)
{
    instance_of(ctx)->size = 0;
    (void)snprintf(seen.type, sizeof seen.type, "%s", francis_stream_type(ctx->stream));
    (void)francis_stream_set_type(ctx->stream, "text/echo");
    if (ctx->input.size > 0)
        expect(francis_stream_write(ctx, ctx->stream, ctx->input.data, ctx->input.size),
               FRANCIS_OK);
    return box_echo_on(ctx);
}

/* Counts and checks what comes, stores and answers it. */
static francis_result box_sum(francis_ctx *ctx)
{
    box_instance  *b = instance_of(ctx);
    box_state     *state = (box_state *)francis_state(ctx);
    size_t         n;
    francis_result r;
    while ((r = francis_stream_read(ctx, ctx->stream, b->part, sizeof b->part, &n)) == FRANCIS_OK)
        for (size_t i = 0; i < n; i++, b->at++)
            if (b->part[i] != pattern(b->at))
                return francis_fail(ctx, FRANCIS_ERR_USER, "byte %zu is wrong", b->at);
    if (r != FRANCIS_DONE)
        return again(ctx, r, box_sum);
    state->n = (int64_t)b->at;
    b->at = 0;
    return francis_stream_write(ctx, ctx->stream, &state->n, sizeof state->n);
}

static francis_result box_pour_on(francis_ctx *ctx)
{
    box_instance  *b = instance_of(ctx);
    francis_result r = FRANCIS_OK;
    while (r == FRANCIS_OK && b->at < b->keep) {
        size_t n = b->keep - b->at < sizeof b->part ? b->keep - b->at : sizeof b->part;
        for (size_t i = 0; i < n; i++)
            b->part[i] = pattern(b->at + i);
        r = francis_stream_write(ctx, ctx->stream, b->part, n);
        if (r == FRANCIS_OK)
            b->at += n;
        atomic_store(&seen.wrote, (long)b->at);
    }
    if (r != FRANCIS_PENDING)
        atomic_store(&seen.last, r);
    return again(ctx, r, box_pour_on);
}

/* input: how many bytes */
static francis_result box_pour(francis_ctx *ctx)
{
    box_instance *b = instance_of(ctx);
    b->at = 0;
    b->keep = (size_t)strtoul((const char *)ctx->input.data, NULL, 10);
    return box_pour_on(ctx);
}

/* Refuses, after as many bytes as the input says. */
static francis_result box_refuse(francis_ctx *ctx)
{
    unsigned char byte = 'x';
    for (unsigned long i = strtoul((const char *)ctx->input.data, NULL, 10); i > 0; i--)
        expect(francis_stream_write(ctx, ctx->stream, &byte, 1), FRANCIS_OK);
    return francis_fail(ctx, FRANCIS_ERR_USER + 7, "%s does not want to", ctx->id);
}

/* Changes the state, streams, and ends as it is told: input "ok" or "no". */
static francis_result box_gated(francis_ctx *ctx)
{
    box_state *state = (box_state *)francis_state(ctx);
    bool       ok = strcmp((const char *)ctx->input.data, "ok") == 0;
    state->n++;
    atomic_store(&seen.last, francis_stream_write(ctx, ctx->stream, "secret", 6));
    if (!passed(ctx, 1))
        return FRANCIS_ERR_USER + 1;
    return ok ? FRANCIS_OK : FRANCIS_ERR_USER + 2;
}

/* As much as may be streamed behind an unsaved change, one more, and again after a flush. */
static francis_result box_full(francis_ctx *ctx)
{
    static char bytes[BUFFER];
    box_state  *state = (box_state *)francis_state(ctx);
    state->n++;
    expect(francis_stream_write(ctx, ctx->stream, bytes, sizeof bytes), FRANCIS_OK);
    expect(francis_stream_write(ctx, ctx->stream, bytes, 1), FRANCIS_ERR_TOO_LARGE);
    if (it.mode == ALONE)           /* nobody reads meanwhile, so there would be no room */
        return FRANCIS_OK;
    expect(francis_flush(ctx, NULL), FRANCIS_OK);
    return francis_stream_write(ctx, ctx->stream, bytes, sizeof bytes);
}

/* Changes the state, takes that back, and changes it again; ends as it is told. */
static francis_result box_waver(francis_ctx *ctx)
{
    box_state *state = (box_state *)francis_state(ctx);
    if (state == NULL)
        return FRANCIS_ERR_NOMEM;
    state->n++;
    expect(francis_stream_write(ctx, ctx->stream, "a", 1), FRANCIS_OK);
    state->n--;
    expect(francis_stream_write(ctx, ctx->stream, "b", 1), FRANCIS_OK);
    if (strcmp((const char *)ctx->input.data, "back") == 0)
        return FRANCIS_OK;
    state->n++;
    expect(francis_stream_write(ctx, ctx->stream, "c", 1), FRANCIS_OK);
    return strcmp((const char *)ctx->input.data, "no") == 0 ? FRANCIS_ERR_USER + 2 : FRANCIS_OK;
}

/* Makes each part of a long answer durable before the next one. */
static francis_result box_flood(francis_ctx *ctx)
{
    box_state     *state = (box_state *)francis_state(ctx);
    francis_result r = FRANCIS_OK;
    while (r == FRANCIS_OK && state->n < 200) {
        state->n++;
        r = francis_stream_write(ctx, ctx->stream, much, 20000);
        if (r == FRANCIS_OK)
            r = francis_flush(ctx, NULL);
        atomic_store(&seen.wrote, (long)state->n * 20000);
    }
    return r;
}

/* Answers much, and reads nothing. */
static francis_result box_deaf(francis_ctx *ctx)
{
    expect(francis_stream_write(ctx, ctx->stream, much, sizeof much), FRANCIS_OK);
    return passed(ctx, 1) ? FRANCIS_OK : francis_interrupted(ctx);
}

static francis_result box_add(francis_ctx *ctx)
{
    box_state *state = (box_state *)francis_state(ctx);
    state->n++;
    return francis_reply(ctx, &state->n, sizeof state->n);
}

static francis_result box_get(francis_ctx *ctx)
{
    const box_state *state = (const box_state *)francis_state(ctx);
    return francis_reply(ctx, &state->n, sizeof state->n);
}

/* Streams what an earlier turn has stored. */
static francis_result box_show(francis_ctx *ctx)
{
    const box_state *state = (const box_state *)francis_state(ctx);
    return francis_stream_write(ctx, ctx->stream, &state->n, sizeof state->n);
}

static francis_result box_subscribe(francis_ctx *ctx)
{
    box_instance *b = instance_of(ctx);
    francis_stream_close(b->kept);
    b->kept = ctx->stream;
    francis_stream_keep(ctx->stream);
    if (ctx->input.size > 0) {      /* fails after all: the stream is there, and of no use */
        ((box_state *)francis_state(ctx))->n++;
        expect(francis_stream_write(ctx, ctx->stream, "never", 5), FRANCIS_OK);
        return FRANCIS_ERR_USER + 3;
    }
    return FRANCIS_OK;
}

/* Tells the subscriber; with input "state" it is a change, with "no" one that fails. */
static francis_result box_publish(francis_ctx *ctx)
{
    box_instance *b = instance_of(ctx);
    box_state    *state = (box_state *)francis_state(ctx);
    const char   *how = (const char *)ctx->input.data;
    int           r;
    if (state == NULL)
        return FRANCIS_ERR_NOMEM;
    if (ctx->input.size > 0)
        state->n++;
    if (b->kept == NULL)
        return FRANCIS_ERR_NOT_FOUND;
    r = francis_stream_write(ctx, b->kept, "news!", 5);
    if (ctx->input.size > 0 && !passed(ctx, 1))
        return FRANCIS_ERR_USER + 1;
    if (ctx->input.size > 0 && strcmp(how, "no") == 0)
        return FRANCIS_ERR_USER + 2;
    if (r != FRANCIS_OK && r != FRANCIS_ERR_BUSY) {
        francis_stream_close(b->kept);
        b->kept = NULL;
    }
    return r;
}

/* Much for the subscriber, and a change with each. */
static francis_result box_shout(francis_ctx *ctx)
{
    ((box_state *)francis_state(ctx))->n++;
    return francis_stream_write(ctx, instance_of(ctx)->kept, much, 20000);
}

/* Ends the subscription, and keeps what is left of it. */
static francis_result box_fall_silent(francis_ctx *ctx)
{
    return francis_stream_end(ctx, instance_of(ctx)->kept);
}

static francis_result box_unsubscribe(francis_ctx *ctx)
{
    box_instance  *b = instance_of(ctx);
    francis_result r;
    if (b->kept == NULL)
        return FRANCIS_ERR_NOT_FOUND;
    r = francis_stream_end(ctx, b->kept);
    francis_stream_close(b->kept);
    b->kept = NULL;
    return r;
}

/* Reads until somebody ends it, in a turn that has changed something. */
static francis_result box_hold(francis_ctx *ctx)
{
    unsigned char byte;
    size_t        n;
    box_state    *state = (box_state *)francis_state(ctx);
    francis_result r;
    state->n = 1000;
    atomic_store(&seen.at, 1);
    while ((r = francis_stream_read(ctx, ctx->stream, &byte, 1, &n)) == FRANCIS_OK)
        continue;
    if (r != FRANCIS_PENDING)
        atomic_store(&seen.last, r);
    return again(ctx, r == FRANCIS_DONE ? FRANCIS_OK : r, box_hold);
}

/* Answers with a byte, then stays for longer than the deadline. */
static francis_result box_late(francis_ctx *ctx)
{
    if (strcmp((const char *)ctx->input.data, "byte") == 0)
        expect(francis_stream_write(ctx, ctx->stream, "b", 1), FRANCIS_OK);
    if (!passed(ctx, 1))
        return francis_interrupted(ctx);
    return francis_stream_write(ctx, ctx->stream, "e", 1);
}

/* Input: id of another box, whose answer to "pour" of 100,000 bytes it counts. */
static francis_result box_relay(francis_ctx *ctx)
{
    francis_stream_desc d = { .type = "box", .id = (const char *)ctx->input.data, .method = "pour",
                              .data = "100000", .size = 6 };
    box_instance       *b = instance_of(ctx);
    francis_stream     *s = b->kept;
    size_t              n;
    francis_result      r = FRANCIS_OK;
    if (s == NULL)
        r = francis_stream_open(ctx, &d, &b->kept);
    s = b->kept;
    while (r == FRANCIS_OK
           && (r = francis_stream_read(ctx, s, b->part, sizeof b->part, &n)) == FRANCIS_OK)
        b->at += n;
    if (r == FRANCIS_PENDING)
        return francis_await(ctx, box_relay, NULL);
    if (r != FRANCIS_DONE) {
        (void)francis_fail(ctx, r, "%s", francis_stream_error(s));
        francis_stream_close(s);
        b->kept = NULL;
        return r;
    }
    b->kept = NULL;                 /* left to the end of the turn */
    return francis_replyf(ctx, "%zu", b->at);
}

/* An asynchronous call that it gives up must not keep it waiting. */
static francis_result box_gives_up_on(francis_ctx *ctx)
{
    return francis_replyf(ctx, "went on");
}

static francis_result box_gives_up(francis_ctx *ctx)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    uint64_t      ticket = francis_expect(ctx, call);
    if (ticket == 0)
        return FRANCIS_ERR_USER;
    francis_call_free(call);
    return francis_await(ctx, box_gives_up_on, NULL);
}

static francis_result box_wrong(francis_ctx *ctx)
{
    unsigned char   byte;
    size_t          n;
    francis_stream *s = ctx->stream;
    static char     long_type[FRANCIS_TYPE_MAX + 2];
    (void)memset(long_type, 't', sizeof long_type - 1);
    expect(francis_stream_read(francis_host_ctx(ctx->host), s, &byte, 1, &n), FRANCIS_ERR_USAGE);
    expect(francis_stream_read(ctx, s, &byte, 0, &n), FRANCIS_ERR_INVALID);
    expect(francis_stream_read(ctx, s, NULL, 1, &n), FRANCIS_ERR_INVALID);
    expect(francis_stream_write(ctx, s, NULL, 1), FRANCIS_ERR_INVALID);
    expect(francis_stream_write(ctx, s, "", 0), FRANCIS_OK);
    expect(francis_stream_set_type(s, NULL), FRANCIS_ERR_INVALID);
    expect(francis_stream_set_type(s, long_type), FRANCIS_ERR_INVALID);
    expect(francis_stream_set_type(s, "text/plain"), FRANCIS_OK);
    expect(francis_stream_write(ctx, s, "x", 1), FRANCIS_OK);
    expect(francis_stream_set_type(s, "text/late"), FRANCIS_ERR_USAGE);
    expect(francis_stream_end(ctx, s), FRANCIS_OK);
    expect(francis_stream_write(ctx, s, "x", 1), FRANCIS_ERR_USAGE);
    expect(francis_stream_end(ctx, s), FRANCIS_ERR_USAGE);
    atomic_store(&seen.at, 2);
    return FRANCIS_OK;
}

/* A shared turn that writes state fails, and what it streams of that stays secret no less. */
static francis_result box_peek_writes(francis_ctx *ctx)
{
    ((box_state *)francis_state(ctx))->n += 5;
    return FRANCIS_OK;
}

/* Closes its own stream, with input "end" after it has ended it. */
static francis_result box_closes(francis_ctx *ctx)
{
    ((box_state *)francis_state(ctx))->n = 7;
    expect(francis_stream_write(ctx, ctx->stream, "x", 1), FRANCIS_OK);
    if (ctx->input.size > 0)
        expect(francis_stream_end(ctx, ctx->stream), FRANCIS_OK);
    francis_stream_close(ctx->stream);
    return FRANCIS_OK;
}

/* Keeps its stream, and thinks better of it. */
static francis_result box_regrets(francis_ctx *ctx)
{
    expect(francis_stream_write(ctx, ctx->stream, "x", 1), FRANCIS_OK);
    francis_stream_keep(ctx->stream);
    francis_stream_close(ctx->stream);
    return FRANCIS_OK;
}

static francis_stream *lent;        /* what an activation has kept */

static francis_result box_lends(francis_ctx *ctx)
{
    lent = ctx->stream;
    return box_subscribe(ctx);
}

/* What another actor has kept is no business of this one; to keep it once more changes nothing. */
static francis_result box_borrows(francis_ctx *ctx)
{
    unsigned char byte;
    size_t        n;
    francis_stream_keep(lent);
    expect(francis_stream_write(ctx, lent, "x", 1), FRANCIS_ERR_USAGE);
    expect(francis_stream_read(ctx, lent, &byte, 1, &n), FRANCIS_ERR_USAGE);
    expect(francis_stream_end(ctx, lent), FRANCIS_ERR_USAGE);
    return FRANCIS_OK;
}

/* Sends back what comes, and counts it. */
static francis_result box_counts(francis_ctx *ctx)
{
    unsigned char  byte;
    size_t         n;
    francis_result r;
    while ((r = francis_stream_read(ctx, ctx->stream, &byte, 1, &n)) == FRANCIS_OK) {
        expect(francis_stream_write(ctx, ctx->stream, &byte, 1), FRANCIS_OK);
        (void)atomic_fetch_add(&seen.runs, 1);
    }
    return r == FRANCIS_DONE ? FRANCIS_OK : again(ctx, r, box_counts);
}

static const francis_method methods[] = {
    { "regrets", box_regrets, FRANCIS_STREAM, 0 },
    { "lends", box_lends, FRANCIS_STREAM, 0 },
    { "counts", box_counts, FRANCIS_STREAM, 0 },
    { "borrows", box_borrows, FRANCIS_INVOKE, 0 },
    { "echo", box_echo, FRANCIS_STREAM, 0 },
    { "sum", box_sum, FRANCIS_STREAM, 0 },
    { "pour", box_pour, FRANCIS_STREAM, 0 },
    { "pour", box_pour, FRANCIS_PEEK_STREAM, 0 },
    { "refuse", box_refuse, FRANCIS_STREAM, 0 },
    { "gated", box_gated, FRANCIS_STREAM, 0 },
    { "full", box_full, FRANCIS_STREAM, 0 },
    { "waver", box_waver, FRANCIS_STREAM, 0 },
    { "flood", box_flood, FRANCIS_STREAM, 0 },
    { "deaf", box_deaf, FRANCIS_STREAM, 0 },
    { "show", box_show, FRANCIS_PEEK_STREAM, 0 },
    { "subscribe", box_subscribe, FRANCIS_STREAM, 0 },
    { "hold", box_hold, FRANCIS_STREAM, 0 },
    { "closes", box_closes, FRANCIS_STREAM, 0 },
    { "late", box_late, FRANCIS_STREAM, 0 },
    { "wrong", box_wrong, FRANCIS_STREAM, 0 },
    { "peek writes", box_peek_writes, FRANCIS_PEEK_STREAM, 0 },
    { "publish", box_publish, FRANCIS_INVOKE, 0 },
    { "shout", box_shout, FRANCIS_INVOKE, 0 },
    { "fall silent", box_fall_silent, FRANCIS_INVOKE, 0 },
    { "unsubscribe", box_unsubscribe, FRANCIS_INVOKE, 0 },
    { "add", box_add, FRANCIS_INVOKE, 0 },
    { "get", box_get, FRANCIS_PEEK, 0 },
    { "relay", box_relay, FRANCIS_INVOKE, 0 },
    { "gives up", box_gives_up, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

/* ---- hosts ---- */

static francis_host *host_start(const francis_host_desc *desc, bool serves, int64_t idle_ms)
{
    const francis_actor_desc types[] = {
        { .type = "box", .methods = methods, .state_size = sizeof(box_state),
          .instance_size = sizeof(box_instance), .idle_timeout_ms = idle_ms },
        { .type = NULL }
    };
    const francis_actor_desc none[] = {
        { .type = "other", .methods = methods, .state_size = sizeof(box_state),
          .instance_size = sizeof(box_instance) },
        { .type = NULL }
    };
    return t_start(desc, serves ? types : none);
}

static bool there(void) { return it.mode == THERE || it.mode == THERE_ALONE; }

/* The caller's host does not serve boxes where the actor is to be there. */
static void open_with(void **state, francis_host_desc d, int64_t idle_ms)
{
    char address[2][40];
    it.mode = *(const mode *)*state;
    (void)memset(&seen, 0, sizeof seen);
    (void)memset(it.log.count, 0, sizeof it.log.count);
    it.path = t_database();
    d.database = it.path;
    d.durability = FRANCIS_SURVIVES_CRASH;
    d.on_log = t_log_sink;
    d.log_user = &it.log;
    d.workers = it.mode == ALONE ? FRANCIS_NO_WORKERS : 2;
    if (there()) {
        free_address(address[0]);
        d.cluster_key = key;
        d.address = address[0];
    }
    it.server = host_start(&d, true, idle_ms);
    it.caller = it.server;
    if (there()) {
        free_address(address[1]);
        d.address = address[1];
        d.workers = it.mode == THERE_ALONE ? FRANCIS_NO_WORKERS : 2;
        it.caller = host_start(&d, false, 0);
    }
    it.ctx = francis_host_ctx(it.caller);
}

static void open_hosts(void **state)
{
    francis_host_desc d = { .name = "" };
    open_with(state, d, 0);
}

static void pump(void)
{
    if (it.mode == ALONE || it.mode == THERE_ALONE)
        (void)francis_poll(it.caller, 1);
    else
        t_yield();
}

#define until(condition)                                                           \
    do {                                                                           \
        int64_t until_end_ = t_ms() + 60000;                                       \
        while (!(condition)) {                                                     \
            if (t_ms() > until_end_)                                               \
                fail_msg("never came true: %s", #condition);                       \
            pump();                                                                \
        }                                                                          \
    } while (0)

static francis_stats stats_of(francis_host *host)
{
    francis_stats s;
    francis_stats_get(host, &s);
    return s;
}

/* Nothing of any stream is left. */
static void close_hosts(void)
{
    until(stats_of(it.caller).streams == 0 && stats_of(it.server).streams == 0);
    until(stats_of(it.caller).calls_in_flight == 0 && stats_of(it.server).calls_in_flight == 0);
    if (it.caller != it.server)
        francis_close(it.caller);
    francis_close(it.server);
}

static francis_stream_desc box(const char *id, const char *method, const char *input)
{
    francis_stream_desc d = { .type = "box", .id = id, .method = method };
    if (input != NULL) {
        d.data = input;
        d.size = strlen(input);
    }
    return d;
}

static francis_stream *begin(const francis_stream_desc *d)
{
    francis_stream *s = NULL;
    t_ok(francis_stream_open(it.ctx, d, &s));
    assert_non_null(s);
    return s;
}

static francis_stream *begin_box(const char *id, const char *method, const char *input)
{
    francis_stream_desc d = box(id, method, input);
    return begin(&d);
}

/* Reads to the end and checks it against the pattern; how many bytes. How it ended in *r. */
static size_t drain(francis_stream *s, francis_result *r)
{
    unsigned char part[5000];
    size_t        at = 0, n;
    while ((*r = francis_stream_read(it.ctx, s, part, sizeof part, &n)) == FRANCIS_OK) {
        assert_in_range(n, 1, sizeof part);
        for (size_t i = 0; i < n; i++, at++)
            if (part[i] != pattern(at))
                fail_msg("byte %zu is wrong", at);
    }
    assert_int_equal(n, 0);
    return at;
}

static int64_t number_of(const char *id)
{
    francis_call call = { 0 };
    int64_t      n;
    t_ok(francis_peek(it.ctx, "box", id, "get", NULL, 0, &call));
    n = *(const int64_t *)call.data;
    francis_call_free(&call);
    return n;
}

static francis_result invoke(const char *id, const char *method, const char *input)
{
    size_t size = input != NULL ? strlen(input) : 0;
    return francis_invoke(it.ctx, "box", id, method, input, size, NULL);
}

/* ---- tests ---- */

static void on_ready_count(francis_stream *s, void *user)
{
    (void)s;
    (void)atomic_fetch_add((atomic_int *)user, 1);
}

/* Both directions at once, and no thread waits. Would catch: bytes that are lost, doubled or out of
 * order; a side that is never told that it may go on. */
static void echo_of(size_t size)
{
    atomic_int          ready = 0;
    francis_stream_desc d = box("echo", "echo", NULL);
    unsigned char       in[3000], out[7000];
    size_t              wrote = 0, got = 0, n;
    bool                ended = false;
    francis_result      r = FRANCIS_PENDING, w;
    francis_stream     *s;
    d.on_ready = on_ready_count;
    d.user = &ready;
    s = begin(&d);
    while (r != FRANCIS_DONE) {
        int before = atomic_load(&ready);
        w = FRANCIS_OK;
        while (wrote < size && w == FRANCIS_OK) {
            n = size - wrote < sizeof in ? size - wrote : sizeof in;
            for (size_t i = 0; i < n; i++)
                in[i] = pattern(wrote + i);
            w = francis_stream_write(it.ctx, s, in, n);
            if (w == FRANCIS_OK)
                wrote += n;
            else
                t_result(w, FRANCIS_PENDING);
        }
        if (wrote == size && !ended) {
            t_ok(francis_stream_end(it.ctx, s));
            ended = true;
        }
        while ((r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) == FRANCIS_OK)
            for (size_t i = 0; i < n; i++, got++)
                if (out[i] != pattern(got))
                    fail_msg("byte %zu is wrong", got);
        if (r == FRANCIS_DONE)
            break;
        t_result(r, FRANCIS_PENDING);
        until(atomic_load(&ready) != before);
    }
    assert_int_equal(got, size);
    assert_string_equal(francis_stream_type(s), "text/echo");
    assert_string_equal(francis_stream_error(s), "");
    francis_stream_close(s);
}

static void test_echo(void **state)
{
    open_hosts(state);
    echo_of(0);
    echo_of(1);
    echo_of(BUFFER - 1);
    echo_of(BUFFER);
    echo_of(BUFFER + 1);
    echo_of(BIG);
    close_hosts();
}

/* Would catch: an input that is taken for the first bytes, or the other way round; an end that
 * comes before the last byte; an answer that leaves before its turn is stored. */
static void test_upload(void **state)
{
    static unsigned char bytes[BIG];
    francis_result       r;
    francis_stream      *s;
    int64_t              n;
    size_t               size;
    open_hosts(state);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = pattern(i);
    for (int round = 0; round < 2; round++) {
        s = begin_box("u", "sum", round == 0 ? NULL : "an input");
        for (size_t at = 0; at < sizeof bytes; at += size) {
            size = sizeof bytes - at < 100000 ? sizeof bytes - at : 100000;
            t_ok(francis_stream_write(it.ctx, s, bytes + at, size));
        }
        t_ok(francis_stream_end(it.ctx, s));
        t_result(francis_stream_write(it.ctx, s, "x", 1), FRANCIS_ERR_USAGE);
        t_ok(francis_stream_read(it.ctx, s, &n, sizeof n, &size));
        assert_int_equal(size, sizeof n);
        assert_int_equal(n, BIG);
        t_result(francis_stream_read(it.ctx, s, &n, sizeof n, &size), FRANCIS_DONE);
        t_result(francis_stream_read(it.ctx, s, &n, sizeof n, &size), FRANCIS_DONE);
        francis_stream_close(s);
        assert_int_equal(number_of("u"), BIG);
    }
    s = begin_box("d", "pour", "1048576");
    assert_int_equal(drain(s, &r), BIG);
    t_result(r, FRANCIS_DONE);
    t_result(francis_stream_write(it.ctx, s, "x", 1), FRANCIS_ERR_STALE);
    t_ok(francis_stream_end(it.ctx, s));
    francis_stream_close(s);
    close_hosts();
}

static void test_types(void **state)
{
    char                long_type[FRANCIS_TYPE_MAX + 2];
    francis_stream_desc d = box("t", "echo", "the input");
    francis_stream     *s;
    char                out[20];
    size_t              n;
    open_hosts(state);
    (void)memset(long_type, 't', sizeof long_type);
    long_type[FRANCIS_TYPE_MAX + 1] = '\0';
    d.content_type = long_type;
    t_result(francis_stream_open(it.ctx, &d, &s), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(francis_stream_error(s), "FRANCIS_TYPE_MAX"));
    francis_stream_close(s);
    long_type[FRANCIS_TYPE_MAX] = '\0';
    s = begin(&d);
    t_result(francis_stream_set_type(s, "x"), FRANCIS_ERR_USAGE);
    t_ok(francis_stream_end(it.ctx, s));
    t_ok(francis_stream_read(it.ctx, s, out, sizeof out, &n));
    assert_int_equal(n, 9);
    assert_memory_equal(out, "the input", 9);
    assert_string_equal(seen.type, long_type);
    assert_string_equal(francis_stream_type(s), "text/echo");
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    francis_stream_close(s);
    s = begin_box("w", "wrong", NULL);
    t_ok(francis_stream_read(it.ctx, s, out, sizeof out, &n));
    assert_string_equal(francis_stream_type(s), "text/plain");
    until(atomic_load(&seen.at) == 2);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    francis_stream_close(s);
    close_hosts();
}

/* Would catch: a refusal that reads as an end; words that are lost on the way. */
static void test_refusals(void **state)
{
    francis_stream_desc d;
    francis_stream     *s;
    char                out[20];
    size_t              n;
    open_hosts(state);
    s = begin_box("r", "refuse", "0");
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_USER + 7);
    assert_non_null(strstr(francis_stream_error(s), "r does not want to"));
    t_result(francis_stream_write(it.ctx, s, "x", 1), FRANCIS_ERR_USER + 7);
    francis_stream_close(s);
    s = begin_box("r", "refuse", "5");
    for (n = 0; n < 5;) {           /* what was on its way may be cut off, but not replaced */
        size_t         part;
        francis_result r = francis_stream_read(it.ctx, s, out, sizeof out, &part);
        if (r == FRANCIS_ERR_USER + 7)
            break;
        t_ok(r);
        n += part;
    }
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_USER + 7);
    assert_non_null(strstr(francis_stream_error(s), "r does not want to"));
    francis_stream_close(s);

    s = begin_box("r", "peek writes", NULL);        /* alone it may */
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    francis_stream_close(s);
    d = box("r", "peek writes", NULL);
    d.peek = true;
    s = begin(&d);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_READ_ONLY);
    francis_stream_close(s);
    d = box("not active", "echo", NULL);
    d.active_only = true;
    (void)francis_stream_open(it.ctx, &d, &s);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_NOT_ACTIVE);
    francis_stream_close(s);
    t_result(invoke("r", "echo", NULL), FRANCIS_ERR_UNKNOWN_METHOD);
    d = box("r", "add", NULL);
    (void)francis_stream_open(it.ctx, &d, &s);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_UNKNOWN_METHOD);
    francis_stream_close(s);
    d = box(NULL, "echo", NULL);
    d.type = NULL;
    t_result(francis_stream_open(it.ctx, &d, &s), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(francis_stream_error(s), "type and id"));
    francis_stream_close(s);
    d = box("no/slash", "add", NULL);
    t_result(francis_stream_open(it.ctx, &d, &s), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(francis_stream_error(s), "id"));
    francis_stream_close(s);
    d.type = "nobody";
    d.id = "x";
    t_result(francis_stream_open(it.ctx, &d, &s), FRANCIS_ERR_UNKNOWN_TYPE);
    francis_stream_close(s);
    t_result(francis_stream_open(it.ctx, NULL, &s), FRANCIS_ERR_INVALID);
    francis_stream_close(s);
    francis_stream_close(NULL);
    assert_int_equal(number_of("r"), 5);
    close_hosts();
}

/* Would catch: bytes that show a change before it is committed, or one that never will be. */
static void test_gate(void **state)
{
    atomic_int          ready = 0;
    francis_stream_desc d = box("g", "gated", "ok");
    francis_stream     *s;
    char                out[20];
    size_t              n, all;
    francis_result      r;
    open_hosts(state);
    if (it.mode == ALONE)
        atomic_store(&seen.door, 1);
    d.on_ready = on_ready_count;
    d.user = &ready;
    s = begin(&d);
    until(atomic_load(&seen.at) == 1);
    if (it.mode != ALONE) {         /* there the turn is over already */
        t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_PENDING);
        assert_int_equal(stats_of(it.server).commit_turns, 0);
    }
    atomic_store(&seen.door, 1);
    until((r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) != FRANCIS_PENDING);
    t_ok(r);
    assert_int_equal(n, 6);
    assert_memory_equal(out, "secret", 6);
    assert_int_equal(stats_of(it.server).commit_turns, 1);
    until((r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) != FRANCIS_PENDING);
    t_result(r, FRANCIS_DONE);
    francis_stream_close(s);
    assert_int_equal(number_of("g"), 1);

    s = begin_box("g", "gated", "no");
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_USER + 2);
    francis_stream_close(s);
    assert_int_equal(number_of("g"), 1);

    s = begin_box("f", "full", NULL);
    for (all = 0; (r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) == FRANCIS_OK; all += n)
        continue;
    t_result(r, FRANCIS_DONE);
    assert_int_equal(all, it.mode == ALONE ? BUFFER : 2 * BUFFER);
    francis_stream_close(s);
    close_hosts();
}

/* A turn that takes its change back, and makes it again. Would catch: bytes that are taken for
 * those of another packet, out of order, or of a turn that has failed. */
static void test_waver(void **state)
{
    static const struct {
        const char *input, *bytes;
        int64_t     n;
    } of[] = { { "ok", "abc", 1 }, { "no", "", 1 }, { "back", "ab", 1 }, { "ok", "abc", 2 } };
    open_hosts(state);
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        francis_stream *s = begin_box("w", "waver", of[i].input);
        char            out[10];
        size_t          n, all = 0;
        francis_result  r;
        while ((r = francis_stream_read(it.ctx, s, out + all, sizeof out - all, &n)) == FRANCIS_OK)
            all += n;
        t_result(r, strcmp(of[i].input, "no") == 0 ? FRANCIS_ERR_USER + 2 : FRANCIS_DONE);
        assert_int_equal(all, strlen(of[i].bytes));
        assert_memory_equal(out, of[i].bytes, all);
        francis_stream_close(s);
        assert_int_equal(number_of("w"), of[i].n);
    }
    close_hosts();
}

/* All that is there now; how many bytes. */
static size_t swallow(francis_stream *s, francis_result *r)
{
    static char out[50000];
    size_t      all = 0, n;
    while ((*r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) == FRANCIS_OK)
        all += n;
    return all;
}

/* Turns that change something, for a subscriber who does not read. Would catch: a queue without an
 * end; an actor that stays awake when all has been read. */
static void test_kept_changes(void **state)
{
    francis_host_desc   none = { .name = "" };
    atomic_int          ready = 0;
    francis_stream_desc d = box("c", "subscribe", NULL);
    francis_stream     *s;
    francis_result      r;
    size_t              all = 0;
    int                 count = 0;
    open_with(state, none, 100);
    d.on_ready = on_ready_count;
    d.user = &ready;
    s = begin(&d);
    until(invoke("c", "publish", NULL) == FRANCIS_OK);
    while ((r = invoke("c", "shout", NULL)) == FRANCIS_OK && count < 200)
        count++;
    t_result(r, FRANCIS_ERR_BUSY);
    assert_int_equal(number_of("c"), count);
    t_ok(invoke("c", "fall silent", NULL));
    until((all += swallow(s, &r), r) != FRANCIS_PENDING);
    t_result(r, FRANCIS_DONE);
    assert_int_equal(all, 5 + count * 20000);
    until(stats_of(it.server).active == 0);
    francis_stream_close(s);
    close_hosts();
}

/* What turns have written that failed does not count. */
static void test_kept_failures(void **state)
{
    francis_stream_desc d = box("c", "subscribe", NULL);
    francis_stream     *s;
    char                out[10];
    size_t              n;
    open_hosts(state);
    atomic_store(&seen.door, 1);
    d.bytes_max = 15;
    s = begin(&d);
    until(invoke("c", "publish", NULL) == FRANCIS_OK);
    for (int i = 0; i < 5; i++)
        t_result(invoke("c", "publish", "no"), FRANCIS_ERR_USER + 2);
    t_ok(invoke("c", "publish", "state"));
    t_ok(invoke("c", "publish", NULL));
    for (int i = 0; i < 3; i++)
        t_ok(francis_stream_read(it.ctx, s, out, 5, &n));
    t_result(invoke("c", "publish", NULL), FRANCIS_ERR_TOO_LARGE);
    francis_stream_close(s);
    close_hosts();
}

/* Byte for byte there and back, for one who reads as soon as he is told, and asks for the next one
 * at once, a little later each time. Would catch: that he asks just when his on_ready returns, and
 * is never told again. */
static void test_asks_at_once(void **state)
{
    enum { ROUNDS = 4000, LATER = 600 };
    atomic_int          ready = 0;
    francis_stream_desc d = box("a", "echo", NULL);
    francis_stream     *s;
    francis_result      r;
    char                out[10];
    size_t              n;
    open_hosts(state);
    d.on_ready = on_ready_count;
    d.user = &ready;
    s = begin(&d);
    for (int round = 0; round < ROUNDS; round++) {
        int before = atomic_load(&ready);
        t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_PENDING);
        t_ok(francis_stream_write(it.ctx, s, "x", 1));
        do {
            for (int i = 0; i < 100000 && atomic_load(&ready) == before; i++)
                continue;           /* he who sleeps comes too late */
            until(atomic_load(&ready) != before);
            for (int i = 0; i < round % LATER; i++)
                (void)atomic_load(&ready);
            before = atomic_load(&ready);
            r = francis_stream_read(it.ctx, s, out, sizeof out, &n);
        } while (r == FRANCIS_PENDING);
        t_ok(r);
        assert_int_equal(n, 1);
    }
    francis_stream_close(s);
    close_hosts();
}

typedef struct {
    atomic_int in, out, closed;
} slow_reader;

/* Reads all there is, so that it is to be told again, and takes its time. */
static void on_ready_slow(francis_stream *s, void *user)
{
    slow_reader *reader = (slow_reader *)user;
    char         out[10];
    size_t       n;
    int64_t      begin_ms = t_ms();
    while (francis_stream_read(it.ctx, s, out, sizeof out, &n) == FRANCIS_OK)
        continue;
    atomic_store(&reader->in, 1);
    while (t_ms() - begin_ms < 300 && atomic_load(&reader->closed) == 0)
        t_yield();
    atomic_store(&reader->out, 1);
}

/* Would catch: a stream that is freed while its on_ready runs in another thread. */
static void test_close_waits(void **state)
{
    slow_reader         reader = { 0 };
    francis_stream_desc d = box("s", "echo", NULL);
    francis_stream     *s;
    char                out[10];
    size_t              n;
    open_hosts(state);
    if (it.mode == HERE || it.mode == THERE) {      /* else it runs in this thread */
        d.on_ready = on_ready_slow;
        d.user = &reader;
        s = begin(&d);
        t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_PENDING);
        t_ok(francis_stream_write(it.ctx, s, "x", 1));
        until(atomic_load(&reader.in) == 1);
        francis_stream_close(s);
        atomic_store(&reader.closed, 1);
        assert_int_equal(atomic_load(&reader.out), 1);
    }
    close_hosts();
}

/* One stream from its beginning to its end, however that comes. */
static void attempt(const char *method, const char *input)
{
    atomic_int          ready = 0;
    francis_stream_desc d = box("n", method, input);
    francis_stream     *s;
    francis_result      r;
    d.content_type = "text/plain";
    d.on_ready = on_ready_count;
    d.user = &ready;
    r = francis_stream_open(it.ctx, &d, &s);
    if (r == FRANCIS_OK)
        (void)francis_stream_write(it.ctx, s, much, 3000);
    if (r == FRANCIS_OK)
        (void)francis_stream_write(it.ctx, s, much, 1);
    if (r == FRANCIS_OK)
        (void)francis_stream_end(it.ctx, s);
    if (r == FRANCIS_OK && strcmp(method, "subscribe") == 0) {
        (void)invoke("n", "publish", NULL);
        (void)invoke("n", "publish", "state");
        (void)invoke("n", "unsubscribe", NULL);
    }
    for (int64_t end = t_ms() + 200; r == FRANCIS_OK && t_ms() < end; pump()) {
        (void)swallow(s, &r);
        r = r == FRANCIS_PENDING || r == FRANCIS_ERR_NOMEM ? FRANCIS_OK : r;
    }
    francis_stream_close(s);
}

/* Each allocation of the caller's host fails once. Would catch: what leaks then, or is used after
 * it was freed; a stream or a call that is never over. */
static void test_no_memory(void **state)
{
    static const struct {
        const char *method, *input;
    } of[] = { { "echo", "input" }, { "waver", "ok" }, { "subscribe", NULL } };
    static fault_alloc memory;
    francis_host_desc  d = { .on_alloc = fault_alloc_fn, .alloc_user = &memory };
    const char        *wrong;
    fault_alloc_init(&memory);
    open_with(state, d, 0);
    atomic_store(&seen.door, 1);
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        unsigned long n = 0, fired;
        do {
            fault_alloc_fail(&memory, ++n, false);
            attempt(of[i].method, of[i].input);
            fired = fault_alloc_fired(&memory);
            fault_alloc_heal(&memory);
            (void)invoke("n", "unsubscribe", NULL);
            until(stats_of(it.caller).streams == 0 && stats_of(it.caller).calls_in_flight == 0);
        } while (fired > 0);
        assert_true(n > 10);
    }
    close_hosts();
    wrong = fault_alloc_check(&memory);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

/* A turn that streams and flushes, in turns, for a reader who does not read. */
static void test_flood(void **state)
{
    francis_stream *s;
    francis_result  r;
    long            before = -1;
    int64_t         changed = 0;
    open_hosts(state);
    if (it.mode == ALONE) {         /* it cannot wait there in the midst of that */
        close_hosts();
        return;
    }
    s = begin_box("f", "flood", NULL);
    while (before <= 0 || t_ms() - changed < 500) {
        if (atomic_load(&seen.wrote) != before || before <= 0) {
            before = atomic_load(&seen.wrote);
            changed = t_ms();
        }
        pump();
    }
    assert_in_range(before, 20000, 1500 * 1024);
    assert_int_equal(swallow(s, &r), 4000000);
    t_result(r, FRANCIS_DONE);
    francis_stream_close(s);
    close_hosts();
}

/* The handler ends without having read what has come, and its answer is not read yet. Would catch:
 * a writer that waits for a reader who is gone. */
static void test_deaf(void **state)
{
    atomic_int          ready = 0;
    francis_stream_desc d = box("d", "deaf", NULL);
    francis_stream     *s;
    francis_result      r;
    size_t              wrote = 0, all = 0;
    open_hosts(state);
    if (it.mode == ALONE)
        atomic_store(&seen.door, 1);
    d.on_ready = on_ready_count;
    d.user = &ready;
    s = begin(&d);
    until(atomic_load(&seen.at) == 1);
    while (wrote < BIG) {
        r = francis_stream_write(it.ctx, s, much, 10000);
        if (r == FRANCIS_OK) {
            wrote += 10000;
            continue;
        }
        if (r == FRANCIS_ERR_STALE) /* all of the answer is here already */
            break;
        t_result(r, FRANCIS_PENDING);
        if (atomic_load(&seen.door) == 0) {
            int64_t full = t_ms();
            until(t_ms() - full > 200);     /* so that all of it is there */
            atomic_store(&seen.door, 1);
        }
        until(atomic_exchange(&ready, 0) > 0);
    }
    t_ok(francis_stream_end(it.ctx, s));
    until((all += swallow(s, &r), r) != FRANCIS_PENDING);
    t_result(r, FRANCIS_DONE);
    assert_int_equal(all, sizeof much);
    francis_stream_close(s);
    close_hosts();
}

/* A long input, and nothing behind it. Would catch: an end that overtakes the input. */
static void test_input(void **state)
{
    static unsigned char input[500000];
    francis_stream_desc  d = box("i", "echo", NULL);
    francis_stream      *s;
    francis_result       r;
    open_hosts(state);
    for (size_t i = 0; i < sizeof input; i++)
        input[i] = pattern(i);
    d.data = input;
    d.size = sizeof input;
    s = begin(&d);
    t_ok(francis_stream_end(it.ctx, s));
    assert_int_equal(drain(s, &r), sizeof input);
    t_result(r, FRANCIS_DONE);
    francis_stream_close(s);
    close_hosts();
}

/* The actor has moved from where the caller believes it to be. Would catch: the end of what the
 * former host has refused, taken for that of the answer. */
static void test_moved(void **state)
{
    const francis_actor_desc types[] = {
        { .type = "box", .methods = methods, .state_size = sizeof(box_state),
          .instance_size = sizeof(box_instance), .placement = FRANCIS_PLACE_LOCAL },
        { .type = NULL }
    };
    char              address[40];
    francis_host_desc d = { .workers = 2, .cluster_key = key, .on_log = t_log_sink,
                            .log_user = &it.log, .durability = FRANCIS_SURVIVES_CRASH };
    francis_host     *other;
    francis_stream   *s;
    francis_result    r;
    open_hosts(state);
    if (!there()) {
        close_hosts();
        return;
    }
    for (int i = 0; i < 2; i++)     /* the second time it is found there, and remembered */
        assert_int_equal(number_of("m"), 0);
    free_address(address);
    d.address = address;
    d.database = it.path;
    other = t_start(&d, types);
    t_ok(francis_halt(francis_host_ctx(it.server), "box", "m", NULL));
    t_ok(francis_invoke(francis_host_ctx(other), "box", "m", "add", NULL, 0, NULL));
    assert_int_equal(stats_of(other).active, 1);
    s = begin_box("m", "pour", "1000");
    assert_int_equal(drain(s, &r), 1000);
    t_result(r, FRANCIS_DONE);
    francis_stream_close(s);
    assert_int_equal(stats_of(other).active, 1);
    until(stats_of(other).streams == 0);
    francis_close(other);
    close_hosts();
}

/* A turn that only looks streams what an earlier one has stored, whose commit is not over yet.
 * Would catch: a stream that goes around the gate. */
static void test_earlier_turns(void **state)
{
    francis_host_desc   d = { .commit_window_ms = 300 };
    francis_stream_desc show = box("e", "show", NULL);
    francis_call        call = { .async = true };
    francis_stream     *s;
    int64_t             value = 0;
    size_t              n;
    open_with(state, d, 0);
    show.peek = true;
    assert_int_equal(number_of("e"), 0);
    for (int i = 1; i <= 3; i++) {
        t_result(francis_invoke(it.ctx, "box", "e", "add", NULL, 0, &call), FRANCIS_PENDING);
        s = begin(&show);
        t_ok(francis_stream_read(it.ctx, s, &value, sizeof value, &n));
        if (value == i)             /* it has seen the turn, so the turn is committed */
            assert_int_equal(stats_of(it.server).commit_turns, i);
        else
            assert_int_equal(value, i - 1);
        t_result(francis_stream_read(it.ctx, s, &value, sizeof value, &n), FRANCIS_DONE);
        francis_stream_close(s);
        t_ok(francis_wait(it.ctx, &call));
        francis_call_free(&call);
    }
    close_hosts();
}

/* Would catch: a subscriber that hears of what is not stored, or of nothing; one that keeps his
 * actor from working, or for ever awake. */
static void test_keep(void **state)
{
    francis_host_desc   none = { .name = "" };
    atomic_int          ready = 0;
    francis_stream_desc d = box("k", "subscribe", NULL);
    francis_call        call = { .async = true };
    francis_stream     *s;
    char                out[20];
    size_t              n;
    francis_result      r;
    open_with(state, none, 200);
    d.on_ready = on_ready_count;
    d.user = &ready;
    s = begin(&d);
    until(invoke("k", "publish", NULL) == FRANCIS_OK);
    until((r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) != FRANCIS_PENDING);
    t_ok(r);
    assert_memory_equal(out, "news!", 5);

    if (it.mode == ALONE)
        atomic_store(&seen.door, 1);
    t_result(francis_invoke(it.ctx, "box", "k", "publish", "state", 5, &call), FRANCIS_PENDING);
    until(atomic_load(&seen.at) == 1);
    if (it.mode != ALONE)
        t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_PENDING);
    atomic_store(&seen.door, 1);
    t_ok(francis_wait(it.ctx, &call));
    francis_call_free(&call);
    until((r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) != FRANCIS_PENDING);
    t_ok(r);
    t_result(invoke("k", "publish", "no"), FRANCIS_ERR_USER + 2);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_PENDING);
    assert_int_equal(number_of("k"), 1);

    while ((r = invoke("k", "publish", NULL)) == FRANCIS_OK)
        continue;                   /* nobody reads: bounded, and said */
    t_result(r, FRANCIS_ERR_BUSY);
    n = 0;
    do {
        size_t part = 0;
        r = francis_stream_read(it.ctx, s, out, 5, &part);
        n += part;
    } while (r == FRANCIS_OK);
    t_result(r, FRANCIS_PENDING);
    assert_true(n >= BUFFER / 20);       /* so small ones cost more than their bytes */
    until(invoke("k", "publish", NULL) == FRANCIS_OK);

    assert_int_equal(stats_of(it.server).active, 1);
    t_ok(invoke("k", "unsubscribe", NULL));
    while ((r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) != FRANCIS_DONE) {
        if (r == FRANCIS_PENDING)
            pump();
        else
            t_ok(r);
    }
    francis_stream_close(s);
    until(stats_of(it.server).active == 0);
    close_hosts();
}

/* Who reads keeps the actor awake, who is gone does not; and an actor that goes tells him. */
static void test_kept_life(void **state)
{
    francis_host_desc none = { .name = "" };
    francis_stream   *s;
    char              out[20];
    size_t            n;
    int64_t           begin_ms;
    open_with(state, none, 100);
    s = begin_box("l", "subscribe", NULL);
    until(invoke("l", "publish", NULL) == FRANCIS_OK);
    t_ok(francis_stream_read(it.ctx, s, out, sizeof out, &n));
    begin_ms = t_ms();
    until(t_ms() - begin_ms > 500);
    assert_int_equal(stats_of(it.server).active, 1);
    t_ok(francis_halt(it.ctx, "box", "l", NULL));
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_MOVED);
    francis_stream_close(s);

    s = begin_box("l", "subscribe", NULL);
    until(invoke("l", "publish", NULL) == FRANCIS_OK);
    francis_stream_close(s);
    until(invoke("l", "publish", NULL) != FRANCIS_OK);
    until(stats_of(it.server).active == 0);
    s = begin_box("l", "subscribe", NULL);
    until(invoke("l", "publish", NULL) == FRANCIS_OK);
    francis_stream_close(s);        /* now without a turn that finds out */
    until(stats_of(it.server).active == 0);

    s = begin_box("l", "subscribe", "fails");
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_USER + 3);
    francis_stream_close(s);
    t_result(invoke("l", "publish", NULL), FRANCIS_ERR_USER + 3);   /* of the stream it still has */
    assert_int_equal(number_of("l"), 0);
    until(stats_of(it.server).active == 0);
    close_hosts();
}

/* Would catch: a turn that goes on for nobody, and what it has written of nobody's will. */
static void test_close(void **state)
{
    francis_stream *s;
    open_hosts(state);
    s = begin_box("c", "hold", NULL);
    until(atomic_load(&seen.at) == 1);
    t_ok(francis_stream_write(it.ctx, s, "x", 1));
    francis_stream_close(s);
    until(atomic_load(&seen.last) == FRANCIS_ERR_CANCELLED || it.mode == ALONE);
    assert_int_equal(number_of("c"), 0);

    s = begin_box("c", "pour", "1048576");          /* before its first byte was read */
    francis_stream_close(s);
    until(stats_of(it.server).streams == 0);
    s = begin_box("c", "pour", "1048576");
    until(atomic_load(&seen.wrote) > 0);
    francis_stream_close(s);
    assert_int_equal(number_of("c"), 0);

    s = begin_box("c", "hold", NULL);               /* this is an end, no cut: it is stored */
    t_ok(francis_stream_end(it.ctx, s));
    {
        char   out[4];
        size_t n;
        t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    }
    francis_stream_close(s);
    assert_int_equal(number_of("c"), 1000);
    close_hosts();
}

/* Would catch: a turn that is stored while its caller is told that it was cancelled. */
static void test_handler_closes(void **state)
{
    francis_stream *s;
    char            out[4];
    size_t          n;
    open_hosts(state);
    s = begin_box("h", "closes", NULL);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_CANCELLED);
    francis_stream_close(s);
    assert_int_equal(number_of("h"), 0);
    s = begin_box("h", "closes", "end");
    t_ok(francis_stream_read(it.ctx, s, out, sizeof out, &n));
    assert_int_equal(n, 1);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    francis_stream_close(s);
    assert_int_equal(number_of("h"), 7);
    close_hosts();
}

/* Would catch: a stream that is used by whoever knows where it lies, one that is not gone although
 * it was closed. */
static void test_kept_is_its_own(void **state)
{
    francis_stream *s;
    char            out[10];
    size_t          n;
    francis_result  r;
    open_hosts(state);
    s = begin_box("k", "lends", NULL);
    francis_stream_keep(s);         /* nothing that a caller could do */
    until(invoke("k", "publish", NULL) == FRANCIS_OK);
    t_ok(invoke("other", "borrows", NULL));
    t_result(francis_stream_write(francis_host_ctx(it.server), lent, "x", 1), FRANCIS_ERR_USAGE);
    t_ok(invoke("k", "publish", NULL));
    for (int i = 0; i < 2; i++) {
        t_ok(francis_stream_read(it.ctx, s, out, 5, &n));
        assert_int_equal(n, 5);
        assert_memory_equal(out, "news!", 5);
    }
    t_ok(invoke("k", "unsubscribe", NULL));
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    francis_stream_close(s);

    s = begin_box("r", "regrets", NULL);
    while ((r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) == FRANCIS_OK)
        continue;
    t_result(r, FRANCIS_ERR_CANCELLED);
    francis_stream_close(s);
    close_hosts();
}

typedef struct {
    atomic_int calls, bytes;
} eager_reader;

/* Reads all there is, asks for more, and gets it before it returns. */
static void on_ready_eager(francis_stream *s, void *user)
{
    eager_reader *reader = (eager_reader *)user;
    int64_t       end = t_ms() + 60000;
    char          out[10];
    size_t        n;
    while (francis_stream_read(it.ctx, s, out, sizeof out, &n) == FRANCIS_OK)
        (void)atomic_fetch_add(&reader->bytes, (int)n);
    if (atomic_fetch_add(&reader->calls, 1) > 0)
        return;
    (void)francis_stream_write(it.ctx, s, "y", 1);
    while (atomic_load(&seen.runs) < 2 && t_ms() < end)
        t_yield();
}

/* Would catch: bytes that come while somebody is just being told of others, and of which he never
 * hears. */
static void test_told_again(void **state)
{
    eager_reader        reader = { 0 };
    francis_stream_desc d = box("e", "counts", NULL);
    francis_stream     *s;
    char                out[10];
    size_t              n;
    open_hosts(state);
    d.on_ready = on_ready_eager;
    d.user = &reader;
    s = begin(&d);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_PENDING);
    t_ok(francis_stream_write(it.ctx, s, "x", 1));
    until(atomic_load(&reader.bytes) == 2);
    assert_true(atomic_load(&reader.calls) >= 2);
    francis_stream_close(s);
    close_hosts();
}

static void on_ready_close(francis_stream *s, void *user)
{
    francis_stream_close(s);
    (void)atomic_fetch_add((atomic_int *)user, 1);
}

/* Would catch: a stream that is used once more after its on_ready has closed it. */
static void test_closed_when_told(void **state)
{
    atomic_int          closes = 0;
    francis_stream_desc d = box("e", "counts", NULL);
    francis_stream     *s;
    char                out[10];
    size_t              n;
    open_hosts(state);
    d.on_ready = on_ready_close;
    d.user = &closes;
    s = begin(&d);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_PENDING);
    t_ok(francis_stream_write(it.ctx, s, "x", 1));
    until(atomic_load(&closes) == 1);
    close_hosts();
    assert_int_equal(atomic_load(&closes), 1);
}

/* Would catch: a writer that fills the memory of a reader who does not read. */
static void test_back_pressure(void **state)
{
    francis_stream_desc d = box("b", "pour", "4000000");
    francis_result      r;
    francis_stream     *s;
    long                before = -1;
    int64_t             changed = 0;
    open_hosts(state);
    d.peek = true;
    s = begin(&d);
    while (before <= 0 || t_ms() - changed < 300) { /* until it has stood still for a while */
        if (atomic_load(&seen.wrote) != before || before <= 0) {
            before = atomic_load(&seen.wrote);
            changed = t_ms();
        }
        pump();
    }
    assert_in_range(before, 1, 1500 * 1024);
    assert_true(stats_of(it.server).memory_bytes < 8u * 1024 * 1024);
    assert_true(stats_of(it.caller).memory_bytes < 8u * 1024 * 1024);
    assert_int_equal(number_of("b"), 0);    /* others go past it */
    assert_int_equal(drain(s, &r), 4000000);
    t_result(r, FRANCIS_DONE);
    francis_stream_close(s);
    close_hosts();
}

/* Each limit, and one past it. */
static void test_limits(void **state)
{
    francis_host_desc   few = { .streams_max = 4, .message_bytes_max = 200000 };
    static char         big[200001];
    francis_stream_desc d = box("m", "pour", "10000");
    francis_stream     *s, *held[4];
    char                out[20];
    size_t              n, count = 0;
    francis_result      r;
    open_with(state, few, 0);
    d.bytes_max = 10000;
    s = begin(&d);
    assert_int_equal(drain(s, &r), 10000);
    t_result(r, FRANCIS_DONE);
    francis_stream_close(s);
    d.bytes_max = 9999;
    s = begin(&d);
    (void)drain(s, &r);
    t_result(r, FRANCIS_ERR_TOO_LARGE);
    francis_stream_close(s);
    d = box("m", "hold", NULL);
    d.bytes_max = 10;
    s = begin(&d);
    t_ok(francis_stream_write(it.ctx, s, "0123456789", 10));
    t_result(francis_stream_write(it.ctx, s, "x", 1), FRANCIS_ERR_TOO_LARGE);
    t_ok(francis_stream_end(it.ctx, s));
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    francis_stream_close(s);
    d.bytes_max = 0;
    s = begin(&d);
    t_ok(francis_stream_write(it.ctx, s, big, 200000));
    t_result(francis_stream_write(it.ctx, s, big, 200001), FRANCIS_ERR_TOO_LARGE);
    t_ok(francis_stream_end(it.ctx, s));
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    francis_stream_close(s);
    d = box("m", "echo", NULL);
    d.data = big;
    d.size = 200001;
    t_result(francis_stream_open(it.ctx, &d, &s), FRANCIS_ERR_TOO_LARGE);
    francis_stream_close(s);

    d = box("m", "hold", NULL);
    do                              /* two ends each where both are here */
        r = francis_stream_open(it.ctx, &d, &held[count++]);
    while (r == FRANCIS_OK && count < 4);
    if (r == FRANCIS_OK) {
        t_result(francis_stream_open(it.ctx, &d, &s), FRANCIS_ERR_BUSY);
        assert_non_null(strstr(francis_stream_error(s), "streams_max"));
        francis_stream_close(s);
    }
    while (count > 0)
        francis_stream_close(held[--count]);
    close_hosts();
}

/* Would catch: a deadline that never comes, or one that cuts a stream that flows. */
static void test_deadline(void **state)
{
    francis_stream_desc d = box("t", "late", "");
    francis_stream     *s;
    char                out[20];
    size_t              n;
    int64_t             begin_ms;
    open_hosts(state);
    if (it.mode == ALONE) {         /* a handler that waits has all the time there is */
        close_hosts();
        return;
    }
    d.timeout_ms = 300;
    s = begin(&d);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_ERR_DEADLINE);
    francis_stream_close(s);
    d = box("t", "late", "byte");
    d.timeout_ms = 300;
    s = begin(&d);
    begin_ms = t_ms();
    t_ok(francis_stream_read(it.ctx, s, out, sizeof out, &n));
    until(t_ms() - begin_ms > 700);
    atomic_store(&seen.door, 1);
    t_ok(francis_stream_read(it.ctx, s, out, sizeof out, &n));
    assert_memory_equal(out, "e", 1);
    t_result(francis_stream_read(it.ctx, s, out, sizeof out, &n), FRANCIS_DONE);
    francis_stream_close(s);
    close_hosts();
}

/* Streams out of turns, to others and to oneself. */
static void test_turns(void **state)
{
    francis_call call = { 0 };
    open_hosts(state);
    for (int i = 0; i < 2; i++) {
        t_ok(francis_invoke(it.ctx, "box", "a", "relay", "b", 1, &call));
        assert_string_equal((const char *)call.data, i == 0 ? "100000" : "200000");
    }
    t_result(francis_invoke(it.ctx, "box", "a", "relay", "a", 1, &call), FRANCIS_ERR_DEADLOCK);
    t_ok(francis_invoke(it.ctx, "box", "a", "gives up", NULL, 0, &call));
    assert_string_equal((const char *)call.data, "went on");
    francis_call_free(&call);
    close_hosts();
}

/* A host that stops: what runs may finish, who subscribes is told, nobody hangs. */
static void test_stop(void **state)
{
    francis_host_desc soon = { .stop_timeout_ms = 500 };
    francis_stream   *kept, *held;
    char              out[20];
    size_t            n;
    francis_result    r;
    open_with(state, soon, 0);
    if (!there()) {                 /* there is nobody left to be told */
        close_hosts();
        return;
    }
    kept = begin_box("s", "subscribe", NULL);
    until(invoke("s", "publish", NULL) == FRANCIS_OK);
    t_ok(francis_stream_read(it.ctx, kept, out, sizeof out, &n));
    held = begin_box("h", "hold", NULL);
    until(atomic_load(&seen.at) == 1);
    francis_close(it.server);
    r = francis_stream_read(it.ctx, kept, out, sizeof out, &n);
    t_result(r, FRANCIS_ERR_MOVED);
    r = francis_stream_read(it.ctx, held, out, sizeof out, &n);
    t_result(r, FRANCIS_ERR_CANCELLED);
    francis_stream_close(kept);
    francis_stream_close(held);
    francis_close(it.caller);
}

/* Streams that nobody has closed go with their host. */
static void test_left_open(void **state)
{
    francis_stream *s[3];
    int64_t         begin_ms;
    open_hosts(state);
    s[0] = begin_box("o", "subscribe", NULL);
    s[1] = begin_box("o2", "pour", "1048576");
    s[2] = begin_box("o3", "hold", NULL);
    until(atomic_load(&seen.wrote) > 0 && atomic_load(&seen.at) == 1);
    t_ok(francis_stream_write(it.ctx, s[2], "some bytes", 10));
    if (!there()) {                 /* else their turns would have stop_timeout_ms to finish */
        francis_stream_close(s[1]);
        francis_stream_close(s[2]);
    }
    begin_ms = t_ms();
    if (it.caller != it.server)
        francis_close(it.caller);
    assert_true(t_ms() - begin_ms < FRANCIS_SECONDS(30));   /* it waits for none of them */
    francis_close(it.server);
}

/* The process of the actor's host is killed in the midst of an answer. Would catch: a cut that
 * reads as an end. */
static char child_address[40];

static void child_serves(void **state)
{
    francis_host_desc d = { .database = it.path, .workers = 2, .address = child_address,
                            .cluster_key = key, .on_log = t_log_sink, .log_user = &it.log };
    (void)state;
    (void)host_start(&d, true, 0);
    for (;;)
        (void)pause();
}

static void test_killed(void **state)
{
    char              address[40];
    francis_host_desc d = { .workers = 2, .cluster_key = key, .address = address,
                            .on_log = t_log_sink, .log_user = &it.log };
    francis_stream   *s;
    francis_result    r;
    char              out[1000];
    size_t            n;
    pid_t             pid;
    it.mode = THERE;
    (void)state;
    (void)memset(&seen, 0, sizeof seen);
    d.database = it.path = t_database();
    free_address(child_address);
    pid = child_start(child_serves, NULL);
    free_address(address);
    it.caller = it.server = host_start(&d, false, 0);
    it.ctx = francis_host_ctx(it.caller);
    until((francis_stream_open(it.ctx, &(francis_stream_desc){ .type = "box", .id = "x",
                                                               .method = "pour", .data = "16000000",
                                                               .size = 8 }, &s) == FRANCIS_OK
           && francis_stream_read(it.ctx, s, out, sizeof out, &n) == FRANCIS_OK)
          || (francis_stream_close(s), false));
    (void)kill(pid, SIGKILL);
    (void)child_wait(pid);
    while ((r = francis_stream_read(it.ctx, s, out, sizeof out, &n)) == FRANCIS_OK)
        continue;
    t_result(r, FRANCIS_ERR_UNKNOWN);
    francis_stream_close(s);
    close_hosts();
}

#define EACH(test)                                                                              \
    { #test " (here)", test, NULL, NULL, (void *)(uintptr_t)&modes[HERE] },                     \
    { #test " (alone)", test, NULL, NULL, (void *)(uintptr_t)&modes[ALONE] },                   \
    { #test " (there)", test, NULL, NULL, (void *)(uintptr_t)&modes[THERE] },                   \
    { #test " (there, alone)", test, NULL, NULL, (void *)(uintptr_t)&modes[THERE_ALONE] }

#define HERE_ONLY(test)                                                                         \
    { #test " (here)", test, NULL, NULL, (void *)(uintptr_t)&modes[HERE] }

#define ALONE_ONLY(test)                                                                        \
    { #test " (alone)", test, NULL, NULL, (void *)(uintptr_t)&modes[ALONE] }

int main(int argc, char **argv)
{
    static const mode       modes[MODES] = { HERE, ALONE, THERE, THERE_ALONE };
    const struct CMUnitTest tests[] = {
        EACH(test_echo),          EACH(test_upload),    EACH(test_types),
        EACH(test_refusals),      EACH(test_gate),      EACH(test_earlier_turns),
        EACH(test_keep),          EACH(test_kept_life), EACH(test_close),
        EACH(test_back_pressure), EACH(test_limits),    EACH(test_deadline),
        EACH(test_handler_closes), EACH(test_kept_is_its_own), HERE_ONLY(test_told_again),
        EACH(test_closed_when_told),
        EACH(test_waver),         EACH(test_flood),     EACH(test_deaf),
        EACH(test_input),         EACH(test_moved),     EACH(test_kept_changes),
        EACH(test_kept_failures), EACH(test_close_waits), HERE_ONLY(test_asks_at_once),
        EACH(test_turns),         EACH(test_stop),      EACH(test_left_open),
        ALONE_ONLY(test_no_memory), cmocka_unit_test(test_killed),
    };
    int failed;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    (void)pthread_mutex_init(&it.log.lock, NULL);
    failed = cmocka_run_group_tests_name("streams", tests, NULL, NULL);
    t_clean();
    return failed == 0 ? 0 : 1;
}
