/* A host and a peer that has the key, but whose words are not as they should be: heads of calls and
 * of streams that nobody would write, answers that are none, streams that end in the wrong place.
 * Each gets a refusal that says so, or is passed over; nothing of it reaches an actor, no call is
 * left without an answer, and the host goes on serving those who speak properly. */
#define FRANCIS_IMPLEMENTATION
#include "support/nets.h"

#include "support/address.h"
#include "support/counters.h"

static francis_host *real;          /* without workers: moves in move() */
static char          real_id[40], real_address[40], database[512];
static host         *peer;
static uint64_t      number = 100;  /* of the peer's next call */

static void move(void)
{
    (void)francis_poll(real, 0);
    nets_step();
}

#define move_until(condition)                                                      \
    do {                                                                           \
        int64_t move_end_ = t_ms() + 60000;                                        \
        while (!(condition)) {                                                     \
            if (t_ms() > move_end_)                                                \
                fail_msg("never came true: %s", #condition);                       \
            move();                                                                \
        }                                                                          \
    } while (0)

/* ---- actors ---- */

static unsigned streamed;           /* handlers of streams that have begun */

/* Sends back what comes, behind its input. */
static francis_result echo(francis_ctx *ctx)
{
    char           data[64];
    size_t         size;
    francis_result r = FRANCIS_OK;
    if (ctx->local == NULL) {
        streamed++;
        r = ctx->stream == NULL ? FRANCIS_ERR_USAGE
          : ctx->input.size > 0 ? francis_stream_write(ctx, ctx->stream, ctx->input.data,
                                                       ctx->input.size)
                                : FRANCIS_OK;
    }
    while (r == FRANCIS_OK) {
        r = francis_stream_read(ctx, ctx->stream, data, sizeof data, &size);
        if (r == FRANCIS_OK)
            r = francis_stream_write(ctx, ctx->stream, data, size);
    }
    if (r == FRANCIS_PENDING)
        return francis_await(ctx, echo, ctx);
    return r == FRANCIS_DONE ? FRANCIS_OK : r;
}

static const francis_method methods[] = {
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    { "echo", echo, FRANCIS_STREAM, 0 },
    { "look", echo, FRANCIS_PEEK_STREAM, 0 },
    FRANCIS_METHODS_END
};
static const francis_actor_desc counter_type = {
    .type = "counter", .methods = methods, .state_size = sizeof(counter_state)
};

static t_log logs;

static int setup(void **state)
{
    francis_host_desc  desc = { .cluster_key = cluster_key, .address = real_address,
                                .workers = FRANCIS_NO_WORKERS, .on_log = t_log_sink,
                                .log_user = &logs, .message_bytes_max = 1000, .streams_max = 3 };
    francis_actor_desc types[2];
    francis_stats      figures;
    nets_setup(state);
    (void)snprintf(database, sizeof database, "%s", t_database());
    desc.database = database;
    free_address(real_address);
    memset(types, 0, sizeof types);
    types[0] = counter_type;
    real = t_start(&desc, types);
    francis_stats_get(real, &figures);
    (void)snprintf(real_id, sizeof real_id, "%s", figures.host_id);
    peer = host_new("peer", NULL);
    streamed = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    nets_end();
    francis_close(real);
    return 0;
}

/* ---- words ---- */

typedef struct {
    const char *what;
    uint64_t    items, version, op, flags;
    const char *host, *type, *id, *method;
    int64_t     left_ms;
    const char *request_id;
    int64_t     expire_ms;
    unsigned    chain, chain_items;     /* entries, and items of each */
    int64_t     input_size;             /* from 13 items on */
    const char *content_type;
    uint64_t    bytes_max;
    size_t      cut;                    /* bytes that are missing at the end */
    francis_result result;              /* what is expected */
} words;

static words good(void)
{
    words w = { .what = "good", .items = 12, .version = 1, .host = real_id, .type = "counter",
                .id = "a", .method = "increment", .left_ms = 30000, .chain_items = 3,
                .bytes_max = 1 << 20 };
    return w;
}

static frn_buf *head_of(const words *w)
{
    frn_pack p;
    frn_buf *b;
    frn_pack_init(&p, &peer->base->mem);
    frn_pack_array(&p, (size_t)w->items);
    frn_pack_uint(&p, w->version);
    frn_pack_uint(&p, w->op);
    frn_pack_uint(&p, w->flags);
    frn_pack_text(&p, w->host);
    frn_pack_text(&p, w->type);
    frn_pack_text(&p, w->id);
    frn_pack_text(&p, w->method);
    frn_pack_int(&p, w->left_ms);
    frn_pack_text(&p, w->request_id);
    frn_pack_text(&p, NULL);
    frn_pack_int(&p, w->expire_ms);
    frn_pack_array(&p, w->chain);
    for (unsigned i = 0; i < w->chain; i++) {
        frn_pack_array(&p, w->chain_items);
        frn_pack_text(&p, "counter");
        frn_pack_text(&p, "caller");
        if (w->chain_items > 2)
            frn_pack_uint(&p, i);
    }
    if (w->items >= 15) {
        frn_pack_int(&p, w->input_size);
        frn_pack_text(&p, w->content_type);
        frn_pack_uint(&p, w->bytes_max);
    }
    b = frn_pack_end(&p);
    assert_non_null(b);
    b->size -= w->cut;
    return b;
}

static void head_free(frn_buf *b, const words *w)
{
    b->size += w->cut;
    frn_buf_drop(&peer->base->mem, b);
}

static frn_net_event *hear(frn_net_kind kind, uint64_t handle)
{
    frn_net_event *e = NULL;
    move_until((e = take(peer, kind, handle)) != NULL);
    return e;
}

/* What the host answers to these words, as a call. */
static francis_result say(const words *w)
{
    frn_answer_head a;
    frn_buf        *head = w->items == 0 ? NULL : head_of(w);
    frn_net_event  *e;
    t_ok(frn_net_call(peer->net, real_id, real_address, ++number, head, NULL, false, FRN_NEVER));
    if (head != NULL)
        head_free(head, w);
    e = hear(FRN_NET_REPLY, number);
    if (!frn_answer_unpack(e->head, &a))
        fail_msg("%s: it does not answer", w->what);
    if (a.result != FRANCIS_OK && a.text[0] == '\0')
        fail_msg("%s: %s, and no word why", w->what, francis_result_name(a.result));
    done(peer, e);
    return a.result;
}

static int64_t counted(const char *id)
{
    francis_call  call_ = { 0 };
    counter_state c;
    memset(&c, 0, sizeof c);
    if (francis_state_read(francis_host_ctx(real), "counter", id, &call_) == FRANCIS_OK)
        memcpy(&c, call_.data, sizeof c);
    francis_call_free(&call_);
    return c.n;
}

/* ---- calls of the peer's ---- */

/* Would catch: a head that is taken for what it resembles, a turn on behalf of a host that was not
 * meant, a malformed one that ends the connection of all others, or is not answered at all. */
static void test_heads_of_calls(void **state)
{
    words list[40], w;
    size_t n = 0;
    (void)state;
#define SAY(what_, change, expected)                                               \
    do {                                                                           \
        list[n] = good();                                                          \
        list[n].what = what_;                                                      \
        list[n].result = expected;                                                 \
        w = list[n];                                                               \
        change;                                                                    \
        list[n++] = w;                                                             \
    } while (0)
    SAY("nothing", w.items = 0, FRANCIS_ERR_INVALID);
    SAY("11 items", w.items = 11, FRANCIS_ERR_INVALID);
    SAY("65 items", w.items = 65, FRANCIS_ERR_INVALID);
    SAY("version 0", w.version = 0, FRANCIS_ERR_INVALID);
    SAY("no such op", w.op = FRN_OP_WIRE_END, FRANCIS_ERR_INVALID);
    SAY("an op of ours alone", w.op = FRN_OP_RECORD, FRANCIS_ERR_INVALID);
    SAY("less time than for ever", w.left_ms = -2, FRANCIS_ERR_INVALID);
    SAY("expired", w.expire_ms = -1, FRANCIS_ERR_INVALID);
    SAY("cut", w.cut = 1, FRANCIS_ERR_INVALID);
    SAY("cut more", w.cut = 20, FRANCIS_ERR_INVALID);
    SAY("a chain of 33", w.chain = 33, FRANCIS_ERR_INVALID);
    SAY("a link of 2 items", (w.chain = 1, w.chain_items = 2), FRANCIS_ERR_INVALID);
    SAY("another host", w.host = "somebody", FRANCIS_ERR_MOVED);
    SAY("no type", w.type = "", FRANCIS_ERR_INVALID);
    SAY("a type of nobody", w.type = "unknown", FRANCIS_ERR_UNKNOWN_TYPE);
    SAY("a bad id", w.id = "a/b", FRANCIS_ERR_INVALID);
    SAY("a method of nobody", w.method = "unknown", FRANCIS_ERR_UNKNOWN_METHOD);
    SAY("a stream's method", w.method = "echo", FRANCIS_ERR_UNKNOWN_METHOD);
    SAY("no bootstrap", w.op = FRN_OP_BOOTSTRAP, FRANCIS_ERR_UNKNOWN_METHOD);
#undef SAY
    for (size_t i = 0; i < n; i++) {
        francis_result r = say(&list[i]);
        if (r != list[i].result)
            fail_msg("%s: %s, not %s", list[i].what, francis_result_name(r),
                     francis_result_name(list[i].result));
    }
    assert_int_equal(counted("a"), 0);
    w = good();
    t_ok(say(&w));
    assert_int_equal(counted("a"), 1);
}

/* What is unusual, and allowed. Would catch: a longer head of a later version that is refused. */
static void test_allowed_calls(void **state)
{
    words w = good();
    (void)state;
    w.items = 13;                   /* of a later version: what is behind is passed over */
    t_ok(say(&w));
    w = good();
    w.version = 2;
    w.left_ms = FRANCIS_FOREVER;
    t_ok(say(&w));
    w = good();
    w.chain = 2;
    w.chain_items = 3;
    t_ok(say(&w));
    w = good();
    w.chain = FRANCIS_CHAIN_MAX;
    t_ok(say(&w));
    assert_int_equal(counted("a"), 4);
    w = good();
    w.flags = FRN_WIRE_ONE_WAY;
    t_ok(say(&w));
    move_until(counted("a") == 5);
    w = good();
    w.request_id = "once";
    t_ok(say(&w));
    t_ok(say(&w));
    assert_int_equal(counted("a"), 6);
    w = good();
    w.op = FRN_OP_HINT;             /* of a row that is not there, and a type of nobody */
    t_ok(say(&w));
    w.type = "unknown";
    w.host = "somebody";
    t_ok(say(&w));
    w.op = FRN_OP_HELLO;
    t_ok(say(&w));
    w = good();
    w.op = FRN_OP_PURGE;
    t_ok(say(&w));
    assert_int_equal(counted("a"), 0);
    w = good();
    w.left_ms = 0;                  /* late, but perhaps there is still a moment */
    {
        francis_result r = say(&w);
        assert_true(r == FRANCIS_OK || r == FRANCIS_ERR_DEADLINE);
    }
}

/* A call with the head of a stream is a call. Would catch: a handler of streams that runs without
 * one, a caller who is told that memory is short, and so tries again. */
static void test_call_as_stream(void **state)
{
    words w = good();
    (void)state;
    w.items = 15;
    w.method = "echo";
    t_result(say(&w), FRANCIS_ERR_UNKNOWN_METHOD);
    assert_int_equal(streamed, 0);
    w.method = "increment";
    w.request_id = "r";
    t_ok(say(&w));
    t_ok(say(&w));
    assert_int_equal(counted("a"), 1);
}

/* ---- streams of the peer's ---- */

static words good_stream(void)
{
    words w = good();
    w.items = 15;
    w.method = "echo";
    w.input_size = -1;
    return w;
}

static uint64_t open_stream(const words *w)
{
    frn_buf *head = head_of(w);
    t_ok(frn_net_stream_open(peer->net, real_id, real_address, ++number, head));
    head_free(head, w);
    return number;
}

/* How the host answers a stream, by a head or by breaking it off with one. */
static francis_result stream_answer(const words *w, uint64_t handle)
{
    frn_answer_head a;
    frn_net_event  *e = NULL;
    move_until((e = take(peer, FRN_NET_HEAD, handle)) != NULL ||
               (e = take(peer, FRN_NET_RESET, handle)) != NULL ||
               (e = take(peer, FRN_NET_FAILED, handle)) != NULL);
    if (!frn_answer_unpack(e->head, &a))
        fail_msg("%s: no answer (%s)", w->what, e->text);
    if (a.result != FRANCIS_OK && a.text[0] == '\0')
        fail_msg("%s: %s, and no word why", w->what, francis_result_name(a.result));
    done(peer, e);
    (void)frn_net_cancel(peer->net, handle);
    return a.result;
}

/* A stream from its head to its end, as it should be, with its input in two pieces. */
static void stream_works(void)
{
    words          w = good_stream();
    uint64_t       handle;
    char           got[64] = "";
    size_t         size = 0, took = 0;
    frn_net_event *e = NULL;
    w.input_size = 6;
    handle = open_stream(&w);
    t_ok(frn_net_stream_write(peer->net, handle, "abcd", 4, &took));
    for (int i = 0; i < 20; i++)
        move();
    t_ok(frn_net_stream_write(peer->net, handle, "efgh", 4, &took));
    frn_net_stream_end(peer->net, handle);
    done(peer, hear(FRN_NET_HEAD, handle));
    while (size < 8) {
        e = hear(FRN_NET_CHUNK, handle);
        assert_true(size + e->body->size <= 8);
        memcpy(got + size, FRN_BYTES(e->body), e->body->size);
        size += e->body->size;
        frn_net_stream_consumed(peer->net, handle, e->body->size);
        done(peer, e);
    }
    assert_string_equal(got, "abcdefgh");
    done(peer, hear(FRN_NET_END, handle));
}

/* Would catch: a stream that begins with a head that makes no sense, an input that takes memory for
 * what its head only claims. */
static void test_heads_of_streams(void **state)
{
    words  list[20], w;
    size_t n = 0;
    (void)state;
#define SAY(what_, change, expected)                                               \
    do {                                                                           \
        list[n] = good_stream();                                                   \
        list[n].what = what_;                                                      \
        list[n].result = expected;                                                 \
        w = list[n];                                                               \
        change;                                                                    \
        list[n++] = w;                                                             \
    } while (0)
    SAY("no stream", w.items = 12, FRANCIS_ERR_INVALID);
    SAY("cut", w.cut = 2, FRANCIS_ERR_INVALID);
    SAY("no method", w.op = FRN_OP_PURGE, FRANCIS_ERR_INVALID);
    SAY("less than no input", w.input_size = -2, FRANCIS_ERR_INVALID);
    SAY("too much input", w.input_size = 1001, FRANCIS_ERR_INVALID);
    SAY("another host", w.host = "somebody", FRANCIS_ERR_MOVED);
    SAY("a type of nobody", w.type = "unknown", FRANCIS_ERR_UNKNOWN_TYPE);
    SAY("no stream's method", w.method = "increment", FRANCIS_ERR_UNKNOWN_METHOD);
    SAY("a peek of that", w.flags = FRN_WIRE_PEEK, FRANCIS_ERR_UNKNOWN_METHOD);
    SAY("a link of 2 items", (w.chain = 1, w.chain_items = 2), FRANCIS_ERR_INVALID);
#undef SAY
    for (size_t i = 0; i < n; i++) {
        francis_result r = stream_answer(&list[i], open_stream(&list[i]));
        if (r != list[i].result)
            fail_msg("%s: %s, not %s", list[i].what, francis_result_name(r),
                     francis_result_name(list[i].result));
    }
    assert_int_equal(streamed, 0);
    stream_works();
    assert_int_equal(streamed, 1);
}

/* Would catch: a handler that begins with half of its input, bytes beyond the limit that are
 * delivered, an end of a stream that is left in the host when its other end has gone. */
static void test_streams_that_break(void **state)
{
    words         w = good_stream();
    size_t        took = 0;
    uint64_t      handle;
    francis_stats figures;
    (void)state;
    w.what = "an end within the input";
    w.input_size = 10;
    handle = open_stream(&w);
    t_ok(frn_net_stream_write(peer->net, handle, "abc", 3, &took));
    frn_net_stream_end(peer->net, handle);
    t_result(stream_answer(&w, handle), FRANCIS_ERR_INVALID);
    assert_int_equal(streamed, 0);

    w.what = "closed within the input";
    handle = open_stream(&w);
    t_ok(frn_net_stream_write(peer->net, handle, "abc", 3, &took));
    move_until((francis_stats_get(real, &figures), figures.streams == 1));
    (void)frn_net_cancel(peer->net, handle);
    move_until((francis_stats_get(real, &figures), figures.streams == 0));
    assert_int_equal(streamed, 0);

    w.what = "more than bytes_max";
    w.input_size = -1;
    w.bytes_max = 5;
    handle = open_stream(&w);
    t_ok(frn_net_stream_write(peer->net, handle, "abcdef", 6, &took));
    t_result(stream_answer(&w, handle), FRANCIS_ERR_TOO_LARGE);

    w.what = "closed while it runs";
    w.bytes_max = 1000;
    handle = open_stream(&w);
    t_ok(frn_net_stream_write(peer->net, handle, "abc", 3, &took));
    done(peer, hear(FRN_NET_CHUNK, handle));
    (void)frn_net_cancel(peer->net, handle);
    move_until((francis_stats_get(real, &figures), figures.streams == 0));
    stream_works();
}

/* Would catch: streams that are counted, and never given back. */
static void test_too_many_streams(void **state)
{
    words         w = good_stream();
    uint64_t      open[3];
    francis_stats figures;
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            open[i] = open_stream(&w);
        move_until((francis_stats_get(real, &figures), figures.streams == 3));
        t_result(stream_answer(&w, open_stream(&w)), FRANCIS_ERR_BUSY);
        for (int i = 0; i < 3; i++)
            (void)frn_net_cancel(peer->net, open[i]);
        move_until((francis_stats_get(real, &figures), figures.streams == 0));
    }
    stream_works();
}

/* ---- answers of the peer's ---- */

static sqlite3_file *lock_file;
static const char   *lock_name;

/* The peer in the database, as a host that lives: rows, and the lock that says so; and actors that
 * are placed on it. */
static void enlist(const char *actors)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3     *db = raw_open(database);
    char         path[700], full[1200], sql[1500];
    int          flags = 0;
    lock_file = (sqlite3_file *)calloc(1, (size_t)vfs->szOsFile);
    assert_non_null(lock_file);
    (void)snprintf(path, sizeof path, "%s-host-peer", database);
    assert_int_equal(vfs->xFullPathname(vfs, path, (int)sizeof full, full), SQLITE_OK);
    lock_name = sqlite3_create_filename(full, "", "", 0, NULL);
    assert_int_equal(vfs->xOpen(vfs, lock_name, lock_file, SQLITE_OPEN_MAIN_DB |
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &flags), SQLITE_OK);
    assert_int_equal(lock_file->pMethods->xWrite(lock_file, "", 1, 0), SQLITE_OK);
    assert_int_equal(lock_file->pMethods->xLock(lock_file, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_int_equal(lock_file->pMethods->xLock(lock_file, SQLITE_LOCK_RESERVED), SQLITE_OK);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO francis_hosts(host_id, host_address, host_last_health_check)"
                   " VALUES('peer', '%s', 1);"
                   "INSERT INTO francis_ext_hosts(host_id, evicted, started, process, settled,"
                   " challenge, answer, lease_ms) VALUES('peer', 0, 1, 1, 0, 0, 0, 5000);"
                   "INSERT INTO francis_host_actor_types(host_id, actor_type, actor_idle_timeout,"
                   " actor_concurrency_limit) VALUES('peer', 'counter', 0, 0);"
                   "WITH RECURSIVE i(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM i WHERE n < 99)"
                   " INSERT INTO francis_active_actors(actor_type, actor_id, host_id,"
                   " actor_idle_timeout, actor_activation) SELECT 'counter', '%s' || n, 'peer', 0,"
                   " 1 FROM i", peer->address, actors);
    raw_exec(db, sql);
    (void)sqlite3_close(db);
}

static void delist(void)
{
    (void)lock_file->pMethods->xUnlock(lock_file, SQLITE_LOCK_NONE);
    (void)lock_file->pMethods->xClose(lock_file);
    (void)unlink(lock_name);
    sqlite3_free_filename(lock_name);
    free(lock_file);
}

typedef struct {
    const char    *what;
    size_t         items;
    int64_t        result;
    uint64_t       flags;
    const char    *text, *owner, *address;
    bool           none;            /* no head at all */
    size_t         cut;
    francis_result invoked, peeked; /* what the caller is told */
} saying;

static frn_buf *answer_of(const saying *a)
{
    frn_pack p;
    frn_pack_init(&p, &peer->base->mem);
    frn_pack_array(&p, a->items);
    frn_pack_int(&p, a->result);
    frn_pack_uint(&p, a->flags);
    frn_pack_text(&p, a->text);
    frn_pack_text(&p, a->owner);
    frn_pack_text(&p, a->address);
    frn_pack_uint(&p, 0);
    if (a->items > 6)
        frn_pack_text(&p, "a/b");
    return frn_pack_end(&p);
}

/* The peer answers the next call of the host with this. */
static void answer(const saying *a)
{
    frn_buf       *head = a->none ? NULL : answer_of(a);
    frn_net_event *e = hear(FRN_NET_REQUEST, 0);
    if (head != NULL)
        head->size -= a->cut;
    frn_net_answer(peer->net, e->handle, head, NULL);
    if (head != NULL)
        head->size += a->cut;
    frn_buf_drop(&peer->base->mem, head);
    done(peer, e);
}

static francis_result told(francis_call *c)
{
    move_until(c->result != FRANCIS_PENDING);
    return c->result;
}

/* Would catch: an answer that is none and that is believed, a caller who is told that nothing has
 * happened although nobody knows, one who waits for ever. */
static void test_answers(void **state)
{
    static const saying list[] = {
        { "as it should be", 7, FRANCIS_OK, 0, "", "", "", false, 0, FRANCIS_OK, FRANCIS_OK },
        { "without content type", 6, FRANCIS_OK, 0, "", "", "", false, 0, FRANCIS_OK, FRANCIS_OK },
        { "nothing", 7, 0, 0, "", "", "", true, 0, FRANCIS_ERR_UNKNOWN, FRANCIS_ERR_TRANSPORT },
        { "5 items", 5, 0, 0, "", "", "", false, 0, FRANCIS_ERR_UNKNOWN, FRANCIS_ERR_TRANSPORT },
        { "cut", 7, 0, 0, "", "", "", false, 3, FRANCIS_ERR_UNKNOWN, FRANCIS_ERR_TRANSPORT },
        { "pending", 7, FRANCIS_PENDING, 0, "", "", "", false, 0, FRANCIS_ERR_UNKNOWN,
          FRANCIS_ERR_TRANSPORT },
        { "a result of nobody", 7, 998, 0, "", "", "", false, 0, FRANCIS_ERR_UNKNOWN,
          FRANCIS_ERR_TRANSPORT },
        { "refused", 7, FRANCIS_ERR_BUSY, 0, "no", "", "", false, 0, FRANCIS_ERR_BUSY,
          FRANCIS_ERR_BUSY },
        { "of the handler", 7, FRANCIS_ERR_USER + 7, FRN_WIRE_FROM_HANDLER, "no", "", "", false, 0,
          FRANCIS_ERR_USER + 7, FRANCIS_ERR_USER + 7 },
        { "moved, says the handler", 7, FRANCIS_ERR_MOVED, FRN_WIRE_FROM_HANDLER, "no", "", "",
          false, 0, FRANCIS_ERR_MOVED, FRANCIS_ERR_MOVED },
    };
    (void)state;
    enlist("on");
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        for (int peeks = 0; peeks < 2; peeks++) {
            francis_call   c = { .async = true, .timeout_ms = 60000 };
            francis_result expected = peeks ? list[i].peeked : list[i].invoked;
            char           id[20];
            (void)snprintf(id, sizeof id, "on%zu", 2 * i + (size_t)peeks);
            t_result(peeks ? francis_peek(francis_host_ctx(real), "counter", id, "get", NULL, 0, &c)
                           : francis_invoke(francis_host_ctx(real), "counter", id, "increment",
                                            NULL, 0, &c), FRANCIS_PENDING);
            answer(&list[i]);
            if (told(&c) != expected)
                fail_msg("%s: %s, not %s (%s)", list[i].what, francis_result_name(c.result),
                         francis_result_name(expected), c.error);
            francis_call_free(&c);
        }
    delist();
}

/* The peer says that the actor is elsewhere: here, at a host of which nobody has heard, at itself.
 * Would catch: a call that goes in circles for ever, or that is dropped. */
static void test_sent_elsewhere(void **state)
{
    saying        a = { "moved", 7, FRANCIS_ERR_MOVED, 0, "elsewhere", "", "", false, 0, 0, 0 };
    francis_call  c = { .async = true, .timeout_ms = 60000 };
    francis_call  late = { .async = true, .timeout_ms = 500 };
    sqlite3      *db;
    (void)state;
    enlist("on");
    t_result(francis_invoke(francis_host_ctx(real), "counter", "on1", "increment", NULL, 0, &c),
             FRANCIS_PENDING);
    answer(&a);                     /* nobody says where; it is asked again */
    answer(&a);
    a.owner = "peer";               /* that is himself */
    a.address = peer->address;
    answer(&a);
    db = raw_open(database);        /* it has left him, and may be placed here */
    raw_exec(db, "DELETE FROM francis_active_actors WHERE actor_id = 'on1'");
    (void)sqlite3_close(db);
    a.owner = real_id;
    a.address = real_address;
    answer(&a);
    t_ok(told(&c));
    assert_int_equal(counted("on1"), 1);
    francis_call_free(&c);

    a.owner = "peer";
    a.address = peer->address;
    t_result(francis_invoke(francis_host_ctx(real), "counter", "on2", "increment", NULL, 0, &late),
             FRANCIS_PENDING);
    while (late.result == FRANCIS_PENDING) {    /* in circles: until its time is up */
        frn_net_event *e = take(peer, FRN_NET_REQUEST, 0);
        if (e != NULL) {
            frn_buf *head = answer_of(&a);
            frn_net_answer(peer->net, e->handle, head, NULL);
            frn_buf_drop(&peer->base->mem, head);
            done(peer, e);
        }
        move();
    }
    assert_int_equal(francis_outcome(late.result), FRANCIS_OUTCOME_NOT_RUN);
    francis_call_free(&late);
    delist();
}

/* Streams of the host's, to the peer. */
static francis_result stream_told(francis_stream *s)
{
    char           data[16];
    size_t         size;
    francis_result r;
    int64_t        end = t_ms() + 60000;
    while ((r = francis_stream_read(francis_host_ctx(real), s, data, sizeof data, &size)) ==
               FRANCIS_PENDING || r == FRANCIS_OK) {
        if (t_ms() > end)
            fail_msg("the stream does not end");
        move();
    }
    return r;
}

static void ready(francis_stream *stream, void *user)
{
    (void)stream;
    (void)user;
}

/* Would catch: a stream whose answer is none and that goes on, one that the other side has broken
 * off and that ends as if it were whole. */
static void test_answers_to_streams(void **state)
{
    static const saying list[] = {
        { "as it should be", 7, FRANCIS_OK, 0, "", "", "", false, 0, FRANCIS_DONE, FRANCIS_DONE },
        { "nothing", 7, 0, 0, "", "", "", true, 0, FRANCIS_ERR_UNKNOWN, FRANCIS_ERR_TRANSPORT },
        { "5 items", 5, 0, 0, "", "", "", false, 0, FRANCIS_ERR_UNKNOWN, FRANCIS_ERR_TRANSPORT },
        { "refused", 7, FRANCIS_ERR_BUSY, 0, "no", "", "", false, 0, FRANCIS_ERR_BUSY,
          FRANCIS_ERR_BUSY },
        { "of the handler", 7, FRANCIS_ERR_USER + 7, FRN_WIRE_FROM_HANDLER, "no", "", "", false, 0,
          FRANCIS_ERR_USER + 7, FRANCIS_ERR_USER + 7 },
    };
    (void)state;
    enlist("on");
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        for (int how = 0; how < 4; how++) {
            bool                peeks = (how & 1) != 0, breaks = (how & 2) != 0;
            francis_stream_desc d = { .type = "counter", .method = peeks ? "look" : "echo",
                                      .peek = peeks, .timeout_ms = 60000, .on_ready = ready };
            francis_result      expected = peeks ? list[i].peeked : list[i].invoked;
            francis_stream     *s = NULL;
            frn_buf            *head = list[i].none ? NULL : answer_of(&list[i]);
            frn_net_event      *e;
            char                id[20];
            (void)snprintf(id, sizeof id, "on%zu", 4 * i + (size_t)how);
            d.id = id;
            t_ok(francis_stream_open(francis_host_ctx(real), &d, &s));
            e = hear(FRN_NET_STREAM, 0);
            if (breaks) {           /* instead of an answer, with that as the reason */
                frn_net_stream_reset(peer->net, e->handle, FRANCIS_ERR_BUSY, head);
                if (list[i].result == FRANCIS_OK)
                    expected = peeks ? FRANCIS_ERR_TRANSPORT : FRANCIS_ERR_UNKNOWN;
            } else {
                frn_net_stream_head(peer->net, e->handle, head);
                frn_net_stream_end(peer->net, e->handle);
            }
            frn_buf_drop(&peer->base->mem, head);
            done(peer, e);
            if (stream_told(s) != expected)
                fail_msg("%s%s%s: not %s: %s", list[i].what, peeks ? ", peek" : "",
                         breaks ? ", broken off" : "", francis_result_name(expected),
                         francis_stream_error(s));
            francis_stream_close(s);
            host_drop_events(peer);
        }
    delist();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_heads_of_calls),
        TEST(test_allowed_calls),
        TEST(test_call_as_stream),
        TEST(test_heads_of_streams),
        TEST(test_streams_that_break),
        TEST(test_too_many_streams),
        TEST(test_answers),
        TEST(test_sent_elsewhere),
        TEST(test_answers_to_streams),
    };
    int failed;
    (void)pthread_mutex_init(&logs.lock, NULL);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("words", tests, NULL, NULL);
    t_clean();
    return failed;
}
