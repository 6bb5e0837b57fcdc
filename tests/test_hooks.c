/* What the application hangs into a host, and what a host tells of itself: allocator, log,
 * counters, ages, clock, randomness, profiles. */
#define _POSIX_C_SOURCE 200809L
#include "raw_sqlite.h"
#include "tb.h"

#include <signal.h>

#define OPTIONS(...) ((francis_call){ __VA_ARGS__ })

/* -- allocator --------------------------------------------------------------------------------- */

/* An allocator that knows every block: its size stands before it. */
typedef struct strict_block {
    _Alignas(max_align_t) size_t size;  /* so is what comes behind it */
    uint64_t magic;
} strict_block;

typedef struct strict {
    atomic_flag busy;
    size_t      bytes, blocks, peak;
    size_t      max;                /* 0 = no limit */
} strict;

#define STRICT_MAGIC UINT64_C(0x5ca1ab1e0ddba115)

static void *strict_alloc(void *old, size_t size_old, size_t size_new, void *user)
{
    strict       *s     = (strict *)user;
    strict_block *block = NULL, *fresh = NULL;
    tb_check(!atomic_flag_test_and_set_explicit(&s->busy, memory_order_relaxed));
    if (old != NULL) {
        block = (strict_block *)old - 1;
        tb_check(block->magic == STRICT_MAGIC);
        tb_check(block->size == size_old);
    } else {
        tb_check(size_old == 0);
    }
    if (size_new > 0 && (s->max == 0 || s->bytes - size_old + size_new <= s->max) &&
        (fresh = (strict_block *)malloc(sizeof *fresh + size_new)) != NULL) {
        fresh->size  = size_new;
        fresh->magic = STRICT_MAGIC;
        memset(fresh + 1, 0xa5, size_new);          /* always another place, never clean */
        if (block != NULL)
            memcpy(fresh + 1, old, size_old < size_new ? size_old : size_new);
        s->bytes += size_new;
        s->blocks++;
        if (s->bytes > s->peak)
            s->peak = s->bytes;
    }
    if (block != NULL && (size_new == 0 || fresh != NULL)) {
        s->bytes -= block->size;
        s->blocks--;
        memset(block, 0x5a, sizeof *block + block->size);
        free(block);
    }
    atomic_flag_clear_explicit(&s->busy, memory_order_relaxed);
    return fresh != NULL ? fresh + 1 : NULL;
}

/* Would catch: a block that is freed with a wrong size or not at all, an allocator that is
 * called by two threads at once, memory that is believed to be zeroed, an account that does not
 * agree. */
static francis_result scratch(francis_ctx *ctx)
{
    for (size_t size = 1; size < 5000; size += 977) {
        unsigned char *p = (unsigned char *)francis_alloc(ctx, size);
        tb_check(p != NULL && (uintptr_t)p % _Alignof(max_align_t) == 0);
        for (size_t i = 0; p != NULL && i < size; i++)
            tb_check(p[i] == 0);
        if (p != NULL)
            memset(p, 0xff, size);
    }
    return tb_add(ctx);
}

static void *churn(void *arg)
{
    const char *id = (const char *)arg;
    for (int i = 0; i < 50; i++) {
        tb_check(tb_invoke_with(tb->ctx, "a", id, scratch, NULL, NULL) == FRANCIS_OK);
        tb_check(tb_peek_with(tb->ctx, "b", id, tb_get, NULL, NULL) == FRANCIS_OK);
    }
    return NULL;
}

static void allocator(void **state)
{
    static const char *const ids[] = { "1", "2", "3", "4" };
    static strict            s;
    static tb_relay          relay;
    francis_host_desc        d = tb_desc();
    pthread_t                thread[4];
    (void)state;
    memset(&s, 0, sizeof s);
    d.on_alloc   = strict_alloc;
    d.alloc_user = &s;
    tb_start(&d, tb_types);
    memset(&relay, 0, sizeof relay);
    relay.type = "c";
    relay.id   = "1";
    relay.run  = tb_add;
    if (tb_inline()) {
        for (int i = 0; i < 4; i++)
            (void)churn((void *)(uintptr_t)ids[i]);
    } else {
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, churn, (void *)(uintptr_t)ids[i]),
                             0);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_join(thread[i], NULL), 0);
    }
    t_ok(tb_invoke("a", "1", tb_relay_run, &relay));
    t_result(tb_invoke("a", "1", tb_refuse, NULL), FRANCIS_ERR_USER + 7);
    t_ok(tb_invoke_opt("a", "1", tb_add, NULL, OPTIONS(.request_id = "k")));
    (void)tb_begin("a", "1", tb_add, NULL);         /* left to close */
    t_ok(francis_halt_all(tb->ctx, NULL));
    if (tb_inline()) {
        assert_true(tb_stats().memory_bytes == s.bytes);
        assert_true(tb_stats().memory_bytes_peak >= s.bytes);
        assert_true(tb_stats().memory_bytes_peak <= s.peak);
    }
    tb_stop();
    assert_int_equal(s.bytes, 0);
    assert_int_equal(s.blocks, 0);
    assert_true(s.peak > 0);
}

/* Would catch: a host that takes more than it may, dies of it, or does not recover. */
static void memory_limit(void **state)
{
    static char       bytes[65536];
    static tb_gate    gate;
    static strict     s;
    francis_host_desc d = tb_desc();
    francis_call     *held, *call[200];
    int               count = 0, refused = 0;
    static const francis_method methods[] = {
        { "do", tb_do, FRANCIS_INVOKE, sizeof(tb_job) }, { "eat", tb_nothing, FRANCIS_INVOKE, 0 },
        { "do", tb_do, FRANCIS_PEEK, sizeof(tb_job) }, FRANCIS_METHODS_END
    };
    const francis_actor_desc types[] = {
        { .type = "a", .methods = methods, .state_size = sizeof(int64_t) }, { .type = NULL }
    };
    (void)state;
    memset(&s, 0, sizeof s);
    d.on_alloc         = strict_alloc;
    d.alloc_user       = &s;
    d.memory_bytes_max = 3 * 1024 * 1024;
    tb_start(&d, types);
    held = tb_begin_hold("a", "1", &gate);
    for (; count < 200 && refused == 0; count++) {
        francis_result r;
        call[count]        = tb_new();
        call[count]->async = true;
        r = francis_invoke(tb->ctx, "a", "1", "eat", bytes, sizeof bytes, call[count]);
        if (r != FRANCIS_PENDING) {
            t_result(r, FRANCIS_ERR_NOMEM);
            refused++;
        }
        assert_true(tb_stats().memory_bytes <= 3 * 1024 * 1024);
    }
    assert_int_equal(refused, 1);
    assert_true(count >= 8);
    t_ok(tb_release(&gate));
    for (int i = 0; i < count - 1; i++)
        t_ok(tb_join(call[i]));
    t_ok(tb_join(held));
    t_ok(francis_invoke(tb->ctx, "a", "1", "eat", bytes, sizeof bytes, NULL));
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    assert_true(tb_stats().memory_bytes_peak <= 3 * 1024 * 1024);
    tb_stop();
    assert_int_equal(s.bytes, 0);
}

/* -- log --------------------------------------------------------------------------------------- */

static const struct log_row {
    unsigned          id;
    const char       *name;
    francis_log_level level;
    const char       *area;
} log_rows[] = {
#define ROW(number, row_name, row_level, row_area) \
    { number, #row_name, FRANCIS_LOG_##row_level, row_area },
    FRANCIS_LOGS(ROW)
#undef ROW
};

typedef struct log_watch {
    pthread_mutex_t lock;
    unsigned        count[1000];
    unsigned        bad;
    int64_t         begin_ms;
} log_watch;

static int64_t wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void log_watcher(const francis_log *r, void *user)
{
    log_watch            *w   = (log_watch *)user;
    const struct log_row *row = NULL;
    bool                  good;
    for (size_t i = 0; i < sizeof log_rows / sizeof log_rows[0]; i++) {
        if (log_rows[i].id == r->id)
            row = &log_rows[i];
    }
    good = row != NULL && r->name != NULL && r->area != NULL && r->message != NULL &&
           r->host != NULL && r->type != NULL && r->actor != NULL && r->trace != NULL &&
           r->file != NULL && r->line > 0;
    good = good && strcmp(row->name, r->name) == 0 && strcmp(row->area, r->area) == 0 &&
           row->level == r->level && strlen(r->message) > 0;
    good = good && r->time_ms >= w->begin_ms - 1000 && r->time_ms <= wall_ms() + 1000;
    if (good && r->id == 300)
        good = strcmp(r->type, "bad") == 0 && strcmp(r->actor, "apple") == 0 &&
               r->result == FRANCIS_ERR_USER + 3 && strlen(r->host) > 0;
    if (good && r->id == 101)
        good = strlen(r->host) > 0 && strcmp(r->type, "") == 0 && strcmp(r->actor, "") == 0;
    (void)pthread_mutex_lock(&w->lock);
    if (good)
        w->count[r->id]++;
    else
        w->bad++;
    (void)pthread_mutex_unlock(&w->lock);
}

static francis_result up_bad(francis_ctx *ctx)
{
    return francis_fail(ctx, FRANCIS_ERR_USER + 3, "%s is rotten", ctx->id);
}

static francis_result impossible(francis_ctx *ctx)
{
    (void)ctx;
    return 77;
}

static unsigned watched(log_watch *w, unsigned id)
{
    unsigned n;
    (void)pthread_mutex_lock(&w->lock);
    n = w->count[id];
    (void)pthread_mutex_unlock(&w->lock);
    return n;
}

/* Would catch: records below the level that was asked for, or above it that are missing; a field
 * that is NULL; an id, name, level or area that is not the one of the list. */
static void log_levels(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("bad"), .activate = up_bad }, { TB_TYPE("a") }, { .type = NULL }
    };
    (void)state;
    for (int level = FRANCIS_LOG_DEFAULT; level <= FRANCIS_LOG_DEBUG; level++) {
        static log_watch  w;
        francis_host_desc d      = tb_desc();
        int               really = level == FRANCIS_LOG_DEFAULT ? FRANCIS_LOG_WARNING : level;
        memset(&w, 0, sizeof w);
        assert_int_equal(pthread_mutex_init(&w.lock, NULL), 0);
        w.begin_ms  = wall_ms();
        d.on_log    = log_watcher;
        d.log_user  = &w;
        d.log_level = (francis_log_level)level;
        tb_start(&d, types);
        t_result(tb_invoke("bad", "apple", tb_add, NULL), FRANCIS_ERR_USER + 3);
        assert_true(tb_invoke("a", "1", impossible, NULL) != FRANCIS_OK);
        t_ok(tb_send(tb->ctx, "a", "1", tb_refuse, NULL));
        t_ok(tb_invoke("a", "1", tb_add, NULL));
        if (really == FRANCIS_LOG_DEBUG)
            tb_until(watched(&w, 307) == 1);
        tb_stop();
        assert_int_equal(w.bad, 0);
        for (size_t i = 0; i < sizeof log_rows / sizeof log_rows[0]; i++) {
            if ((int)log_rows[i].level > really)
                assert_int_equal(w.count[log_rows[i].id], 0);
        }
        assert_int_equal(w.count[300], really >= FRANCIS_LOG_WARNING ? 1 : 0);
        assert_int_equal(w.count[305], really >= FRANCIS_LOG_WARNING ? 1 : 0);
        for (unsigned id = 100; id <= 103; id++)
            assert_int_equal(w.count[id], really >= FRANCIS_LOG_INFO ? 1 : 0);
        (void)pthread_mutex_destroy(&w.lock);
    }
}

/* Would catch: a host without a log hook that is silent when something is wrong, or talks when
 * nothing is. */
static void log_to_stderr(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("bad"), .activate = up_bad }, { .type = NULL }
    };
    int    fds[2], status = -1;
    char   text[8192];
    size_t size = 0;
    pid_t  pid;
    (void)state;
    tb->desc = tb_desc();
    assert_int_equal(pipe(fds), 0);
    (void)fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        francis_host_desc d;
        francis_host     *host = NULL;
        memset(&d, 0, sizeof d);
        d.database = tb->path;
        d.workers  = tb_workers;
        if (dup2(fds[1], 2) != 2)
            _exit(2);
        (void)francis_open(&host, &d);
        (void)francis_register(host, &types[0]);
        if (francis_start(host) != FRANCIS_OK)
            _exit(3);
        if (write(2, "|", 1) != 1)
            _exit(4);
        if (tb_invoke_with(francis_host_ctx(host), "bad", "apple", tb_add, NULL, NULL) !=
            FRANCIS_ERR_USER + 3)
            _exit(5);
        francis_close(host);
        if (write(2, "|", 1) != 1)                  /* a record may come later than the answer */
            _exit(4);
        _exit(0);
    }
    (void)close(fds[1]);
    for (ssize_t n; size < sizeof text - 1 &&
                    (n = read(fds[0], text + size, sizeof text - 1 - size)) > 0;)
        size += (size_t)n;
    text[size] = '\0';
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    if (text[0] != '|' || size < 3 || text[size - 1] != '|' || strstr(text, "apple") == NULL ||
        strstr(text, "rotten") == NULL)
        fail_msg("on stderr: '%s'", text);
}

/* -- counters ---------------------------------------------------------------------------------- */

/* Would catch: counters that are not counted, counted twice, or never return to nothing. */
static void counters(void **state)
{
    francis_stats before, after;
    (void)state;
    tb_open();
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    before = tb_stats();
    assert_true(strlen(before.host_id) > 0);
    assert_int_equal(before.activations, 1);
    assert_int_equal(before.active, 1);
    for (int i = 0; i < 3; i++)
        t_ok(tb_invoke("a", "1", tb_add, NULL));
    t_result(tb_invoke("a", "1", tb_refuse, NULL), FRANCIS_ERR_USER + 7);
    for (int i = 0; i < 2; i++)
        t_ok(tb_peek("a", "1", tb_get, NULL));
    for (int i = 0; i < 3; i++)
        t_ok(tb_invoke_opt("a", "1", tb_add, NULL, OPTIONS(.request_id = "k")));
    t_result(tb_invoke("nosuch", "1", tb_add, NULL), FRANCIS_ERR_UNKNOWN_TYPE);
    tb_until(tb_stats().calls_in_flight == 0);
    after = tb_stats();
    assert_int_equal(after.turns - before.turns, 5);        /* 3 + 1 refused + 1 keyed */
    assert_int_equal(after.turns_failed - before.turns_failed, 1);
    assert_int_equal(after.turns_stuck, 0);
    assert_int_equal(after.peeks - before.peeks, 2);
    assert_int_equal(after.replays - before.replays, 2);
    assert_int_equal(after.commits - before.commits, 4);
    assert_int_equal(after.commit_turns - before.commit_turns, 4);
    assert_true(after.commit_rows - before.commit_rows >= 4);
    assert_true(after.bytes_written > before.bytes_written);
    assert_int_equal(after.commits_failed, 0);
    assert_int_equal(after.commits_unknown, 0);
    assert_true(after.calls_local - before.calls_local >= 9);
    assert_true(after.calls_refused > before.calls_refused);
    assert_int_equal(after.activations, 1);
    assert_int_equal(after.queue_turns, 0);
    assert_int_equal(after.queue_commits, 0);
    assert_int_equal(after.threads_blocked, 0);
    assert_true(after.memory_bytes > 0 && after.memory_bytes_peak >= after.memory_bytes);
    assert_true(after.wal_bytes > 0);
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));
    after = tb_stats();
    assert_int_equal(after.active, 0);
    assert_int_equal(after.deactivations, 1);
    tb_stop();
}

/* Would catch: writes that nobody asked for: a flash memory that wears out for nothing. */
static francis_result write_the_same(francis_ctx *ctx)
{
    volatile int64_t *value = (volatile int64_t *)francis_state(ctx);
    int64_t           was   = *value;
    *value                  = was + 1;
    *value                  = was;
    return tb_reply(ctx, was);
}

static void nothing_written(void **state)
{
    francis_stats before, after;
    (void)state;
    tb_open();
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    before = tb_stats();
    for (int i = 0; i < 30; i++) {
        t_ok(tb_invoke("a", "1", tb_get, NULL));
        t_ok(tb_invoke("a", "1", write_the_same, NULL));
        t_ok(tb_peek("a", "1", tb_get, NULL));
        t_result(tb_invoke("a", "1", tb_refuse, NULL), FRANCIS_ERR_USER + 7);
    }
    after = tb_stats();
    assert_int_equal(after.commits, before.commits);
    assert_int_equal(after.commit_turns, before.commit_turns);
    assert_int_equal(after.commit_rows, before.commit_rows);
    assert_int_equal(after.bytes_written, before.bytes_written);
    tb_stop();
}

/* Would catch: queue depths that are not those of the queues. */
static void queues(void **state)
{
    static tb_gate gate;
    francis_call  *held, *call[5];
    uint64_t       in_flight;
    (void)state;
    tb_open();
    held      = tb_begin_hold("a", "1", &gate);
    in_flight = tb_stats().calls_in_flight;
    assert_in_range(in_flight, 1, 2);
    for (int i = 0; i < 5; i++)
        call[i] = tb_begin("a", "1", tb_add, NULL);
    tb_until(tb_stats().queue_turns == 5);
    assert_int_equal(tb_stats().calls_in_flight, in_flight + 5);
    t_ok(tb_release(&gate));
    for (int i = 0; i < 5; i++)
        t_ok(tb_join(call[i]));
    t_ok(tb_join(held));
    tb_until(tb_stats().queue_turns == 0 && tb_stats().calls_in_flight == 0);
    tb_stop();
}

/* -- commits that are held up ------------------------------------------------------------------ */

/* Would catch: a host that does not gather turns while it cannot commit, answers before it can,
 * does not tell that it is held up, or holds up what needs no commit. */
static void commit_held_up(void **state)
{
    enum { ACTORS = 20 };
    francis_host_desc d = tb_desc();
    francis_call     *call[ACTORS];
    francis_stats     before, after;
    sqlite3          *raw;
    (void)state;
    d.busy_timeout_ms = 60000;
    tb_start(&d, tb_types);
    for (int i = 0; i < ACTORS; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(tb_peek("a", id, tb_get, NULL));
    }
    t_ok(tb_invoke("b", "1", tb_add, NULL));
    tb_until(tb_stats().queue_commits == 0);
    before = tb_stats();
    assert_int_equal(tb_health().commit_age_ms, 0);
    raw = raw_open(tb->path);
    raw_exec(raw, "BEGIN IMMEDIATE");
    for (int i = 0; i < ACTORS; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        call[i] = tb_begin("a", id, tb_say_add, "sealed");
    }
    tb_until(tb_noted("sealed") == ACTORS);
    tb_until(tb_health().commit_age_ms >= 50);
    tb_until(tb_stats().queue_commits > 0);
    assert_int_equal(tb_value("b", "1"), 1);        /* nothing of it waits for the lock */
    for (int i = 0; i < ACTORS; i++)
        t_result(call[i]->result, FRANCIS_PENDING);
    assert_int_equal(tb_stats().commits, before.commits);
    raw_exec(raw, "ROLLBACK");
    for (int i = 0; i < ACTORS; i++) {
        t_ok(tb_join(call[i]));
        assert_int_equal(tb_number(call[i]), 1);
    }
    after = tb_stats();
    assert_int_equal(after.commit_turns - before.commit_turns, ACTORS);
    assert_in_range(after.commits - before.commits, 1, 4);
    tb_until(tb_health().commit_age_ms == 0 && tb_stats().queue_commits == 0);
    (void)sqlite3_close(raw);
    tb_stop();
}

/* Would catch: a caller who is told that nothing was written although the commit is under way; a
 * sealed turn that a deadline or a cancelled call takes back. */
static void deadline_after_sealing(void **state)
{
    static tb_seen    seen;
    francis_host_desc d = tb_desc();
    francis_call     *call, *gone, *after;
    sqlite3          *raw;
    int64_t           begin;
    (void)state;
    memset(&seen, 0, sizeof seen);
    d.busy_timeout_ms = 60000;
    tb_start(&d, tb_types);
    t_ok(tb_peek("a", "1", tb_get, NULL));
    t_ok(tb_peek("a", "2", tb_get, NULL));
    tb_until(tb_stats().queue_commits == 0);
    raw = raw_open(tb->path);
    raw_exec(raw, "BEGIN IMMEDIATE");
    begin         = t_ms();
    call          = tb_begin_timeout("a", "1", tb_say_add, "sealed", 300);
    gone          = tb_new();
    gone->on_done = tb_on_done;
    gone->user    = &seen;
    t_result(tb_invoke_with(tb->ctx, "a", "2", tb_say_add, "sealed", gone), FRANCIS_PENDING);
    tb_until(tb_noted("sealed") == 2);
    tb_until(tb_health().commit_age_ms > 0);
    after = tb_begin("a", "1", tb_add, NULL);       /* the actor itself goes on */
    t_result(tb_join(call), FRANCIS_ERR_UNKNOWN);
    assert_true(t_ms() - begin >= 300);
    assert_true(strlen(call->error) > 0);
    francis_call_free(gone);
    raw_exec(raw, "ROLLBACK");
    t_ok(tb_join(after));
    assert_int_equal(tb_number(after), 2);
    assert_int_equal(tb_value("a", "2"), 1);
    assert_int_equal(tb_stored("a", "1"), 2);
    assert_int_equal(tb_stored("a", "2"), 1);
    (void)sqlite3_close(raw);
    tb_stop();
    assert_int_equal(atomic_load(&seen.count), 0);
}

/* -- health ------------------------------------------------------------------------------------ */

/* Would catch: a watchdog that is fed although a handler hangs, or bites although all is well. */
static void health(void **state)
{
    static tb_latch   latch;
    static tb_gate    gate;
    francis_host_desc d = tb_desc();
    francis_call     *call;
    (void)state;
    memset(&latch, 0, sizeof latch);
    tb->desc = d;
    t_ok(francis_open(&tb->host, &d));
    t_ok(francis_register(tb->host, &tb_types[0]));
    t_ok(francis_register(tb->host, &tb_types[1]));
    assert_false(tb_health().ready);
    t_ok(francis_start(tb->host));
    tb->ctx = francis_host_ctx(tb->host);
    assert_true(tb_health().ready);
    assert_false(tb_health().draining);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    tb_until(tb_health().turn_age_ms == 0 && tb_health().commit_age_ms == 0);
    assert_in_range(tb_health().step_age_ms, 0, 20000);
    if (!tb_inline()) {
        call = tb_begin("a", "1", tb_block, &latch);
        t_until(atomic_load(&latch.entered) == 1);
        t_until(tb_health().turn_age_ms >= 30);
        assert_in_range(tb_health().step_age_ms, 0, 20000);
        atomic_store(&latch.open, true);
        t_ok(tb_join(call));
        t_until(tb_health().turn_age_ms == 0);
    }
    call = tb_begin_hold("a", "1", &gate);
    francis_stop(tb->host);
    tb_until(tb_health().draining);
    t_ok(tb_release(&gate));
    t_ok(tb_join(call));
    while (francis_poll(tb->host, 1000) == FRANCIS_OK) {}
    assert_false(tb_health().ready);
    tb_stop();
}

/* -- the platform ------------------------------------------------------------------------------ */

static tb_clock the_clock;

/* Would catch: a time that is asked elsewhere than at the platform: a clock of the system's, a wait
 * that really waits. */
static int64_t    done_at_ns;
static francis_result age_in_turn(francis_ctx *ctx)
{
    francis_health h;
    int64_t        now = francis_now(ctx);
    tb_check(now == the_clock.wall_ms);
    tb_clock_move(&the_clock, INT64_C(700000000));
    tb_check(francis_now(ctx) == now);              /* fixed within a turn */
    francis_health_get(ctx->host, &h);
    if (h.turn_age_ms < 700 || h.turn_age_ms > 1000) {
        print_error("turn_age_ms is %" PRId64 "\n", h.turn_age_ms);
        tb_check(false);
    }
    return tb_reply(ctx, now);
}

static void done_when(francis_call *call)
{
    done_at_ns = the_clock.monotonic_ns;
    tb_on_done(call);
}

static francis_result down_when(francis_ctx *ctx)
{
    (void)ctx;
    tb_note("down");
    done_at_ns = the_clock.monotonic_ns;
    return FRANCIS_OK;
}

static void fake_clock(void **state)
{
    francis_host_desc d = tb_desc();
    int64_t           first;
    (void)state;
    tb_clock_set(&the_clock, &d);
    tb_start(&d, tb_types);
    assert_true(the_clock.random_calls > 0);
    t_ok(tb_invoke("a", "1", age_in_turn, NULL));
    first = tb->value;
    t_ok(tb_invoke("a", "1", age_in_turn, NULL));
    assert_true(tb->value >= first + 700);
    assert_true(francis_now(tb->ctx) == the_clock.wall_ms);
    tb_stop();
}

static void a_month(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .idle_timeout_ms = FRANCIS_FOREVER },
        { TB_TYPE("d"), .idle_timeout_ms = FRANCIS_DAYS(1), .deactivate = down_when },
        { .type = NULL }
    };
    static tb_gate    gate;
    static tb_seen    seen;
    francis_host_desc d     = tb_desc();
    int64_t           begin = t_ms(), start;
    int               days  = tb_times(30, 11);
    francis_call     *held, *call;
    (void)state;
    tb_clock_set(&the_clock, &d);
    tb_start(&d, types);
    memset(&seen, 0, sizeof seen);

    start = the_clock.monotonic_ns;
    t_ok(tb_invoke("d", "1", tb_add, NULL));
    tb_gate_reset(&gate);
    held = tb_begin_timeout("a", "1", tb_hold, &gate, FRANCIS_FOREVER);
    tb_until(atomic_load(&gate.entered) == 1);
    call             = tb_new();
    call->on_done    = done_when;
    call->user       = &seen;
    call->timeout_ms = FRANCIS_HOURS(2);
    t_result(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, call), FRANCIS_PENDING);
    tb_clock_run(&the_clock, FRANCIS_HOURS(2) - 60000);
    assert_int_equal(atomic_load(&seen.count), 0);
    tb_clock_run(&the_clock, 120000);
    assert_int_equal(atomic_load(&seen.count), 1);
    t_result(seen.result, FRANCIS_ERR_DEADLINE);
    assert_in_range((done_at_ns - start) / 1000000, FRANCIS_HOURS(2), FRANCIS_HOURS(2) + 5000);

    call->timeout_ms = FRANCIS_DAYS(10);
    t_result(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, call), FRANCIS_PENDING);
    assert_int_equal(tb_noted("down"), 0);
    tb_clock_run(&the_clock, FRANCIS_DAYS(1));
    assert_int_equal(tb_noted("down"), 1);
    assert_in_range((done_at_ns - start) / 1000000, FRANCIS_DAYS(1), FRANCIS_DAYS(1) + 5000);
    tb_clock_run(&the_clock, FRANCIS_DAYS(days) - FRANCIS_DAYS(1) - FRANCIS_HOURS(2));
    assert_int_equal(atomic_load(&seen.count), 2);
    t_result(seen.result, FRANCIS_ERR_DEADLINE);
    assert_int_equal(atomic_load(&gate.left), 0);   /* who has no limit still waits */
    t_ok(tb_release(&gate));
    t_ok(tb_join(held));
    assert_true(t_ms() - begin < 60000);
    assert_int_equal(tb_value("d", "1"), 1);
    tb_stop();
}

/* Would catch: an actor that sleeps although it is used again and again. */
static void idle_restarts(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("d"), .idle_timeout_ms = 1000, .deactivate = down_when }, { .type = NULL }
    };
    francis_host_desc d = tb_desc();
    (void)state;
    tb_clock_set(&the_clock, &d);
    tb_start(&d, types);
    for (int i = 1; i <= 20; i++) {
        if (i % 2 == 0)
            t_ok(tb_invoke("d", "1", tb_add, NULL));
        else
            t_ok(tb_peek("d", "1", tb_get, NULL));
        tb_clock_run(&the_clock, 900);
        assert_int_equal(tb_noted("down"), 0);
    }
    tb_clock_run(&the_clock, 1200);                 /* twice the time at most */
    assert_int_equal(tb_noted("down"), 1);
    assert_int_equal(tb_stats().activations, 1);
    tb_stop();
}

/* Would catch: a deadline or an idle time that reads the wall clock, which may jump. */
static void wall_clock_jumps(void **state)
{
    static const int64_t jumps[] = { FRANCIS_DAYS(3650), -FRANCIS_DAYS(7300), 0, FRANCIS_HOURS(1) };
    static const francis_actor_desc types[] = {
        { TB_TYPE("a") }, { TB_TYPE("d"), .idle_timeout_ms = 60000, .deactivate = down_when },
        { .type = NULL }
    };
    static tb_gate    gate;
    static tb_seen    seen;
    francis_host_desc d = tb_desc();
    francis_call     *held, *call;
    (void)state;
    tb_clock_set(&the_clock, &d);
    tb_start(&d, types);
    for (int i = 0; i < 4; i++) {
        memset(&seen, 0, sizeof seen);
        tb_gate_reset(&gate);
        held = tb_begin_timeout("a", "1", tb_hold, &gate, FRANCIS_FOREVER);
        tb_until(atomic_load(&gate.entered) == 1);
        t_ok(tb_invoke("d", "1", tb_add, NULL));
        call             = tb_new();
        call->on_done    = done_when;
        call->user       = &seen;
        call->timeout_ms = 50000;
        t_result(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, call), FRANCIS_PENDING);
        the_clock.wall_ms += jumps[i];
        if (i == 2)
            the_clock.wall_ms = 1000;               /* 1970 */
        tb_clock_run(&the_clock, 40000);
        assert_int_equal(atomic_load(&seen.count), 0);
        assert_int_equal(tb_noted("down"), i);
        tb_clock_run(&the_clock, 15000);
        assert_int_equal(atomic_load(&seen.count), 1);
        t_result(seen.result, FRANCIS_ERR_DEADLINE);
        tb_clock_run(&the_clock, 10000);
        assert_int_equal(tb_noted("down"), i + 1);
        t_ok(tb_release(&gate));
        t_ok(tb_join(held));
    }
    tb_stop();
}

/* Would catch: randomness from elsewhere, or a failure of it that is passed off as random. */
static void randomness(void **state)
{
    unsigned char bytes[4][64];
    char          host_id[3][40];
    (void)state;
    for (int i = 0; i < 3; i++) {
        francis_host_desc d;
        tb->path[0] = '\0';
        d           = tb_desc();
        tb_clock_set(&the_clock, &d);
        the_clock.seed = i < 2 ? 7 : 8;
        tb_start(&d, tb_types);
        t_ok(francis_random(tb->ctx, bytes[i], sizeof bytes[i]));
        if (i == 0)
            t_ok(francis_random(tb->ctx, bytes[3], sizeof bytes[3]));
        memcpy(host_id[i], tb_stats().host_id, sizeof host_id[i]);
        tb_stop();
    }
    assert_memory_equal(bytes[0], bytes[1], 64);
    assert_memory_not_equal(bytes[0], bytes[2], 64);
    assert_memory_not_equal(bytes[0], bytes[3], 64);
    assert_string_equal(host_id[0], host_id[1]);
    assert_string_not_equal(host_id[0], host_id[2]);

    {
        francis_host_desc d;
        francis_host     *host = NULL;
        francis_result    r;
        tb->path[0] = '\0';
        d           = tb_desc();
        d.on_alloc  = NULL;
        tb_clock_set(&the_clock, &d);
        the_clock.random_fails = true;
        (void)francis_open(&host, &d);
        r = francis_start(host);
        if (r == FRANCIS_OK) {
            static const unsigned char zero[64];
            r = francis_random(francis_host_ctx(host), bytes[0], 64);
            assert_memory_equal(bytes[0], zero, 64);
        }
        t_result(r, FRANCIS_ERR_INTERNAL);
        francis_close(host);
    }

    tb->path[0] = '\0';                             /* the real one */
    tb_open();
    memset(bytes, 0, sizeof bytes);
    t_ok(francis_random(tb->ctx, bytes[0], 64));
    t_ok(francis_random(tb->ctx, bytes[1], 64));
    assert_memory_not_equal(bytes[0], bytes[1], 64);
    assert_memory_not_equal(bytes[0], bytes[2], 64);
    tb_stop();
}

/* -- options ----------------------------------------------------------------------------------- */

/* Would catch: a default that is another than documented, an option that is not taken. */
static void defaults(void **state)
{
    francis_host_desc d, found;
    long              cores = sysconf(_SC_NPROCESSORS_ONLN);
    (void)state;
    for (int flash = 0; flash <= 1; flash++) {
        tb->path[0] = '\0';
        d           = tb_desc();
        memset(&d, 0, sizeof d);
        d.database = tb->path;
        d.profile  = flash == 1 ? FRANCIS_PROFILE_FLASH : FRANCIS_PROFILE_SERVER;
        tb_start(&d, tb_types);
        memset(&found, 0xa5, sizeof found);
        francis_desc_get(tb->host, &found);
        assert_string_equal(found.database, tb->path);
        assert_true(found.database != tb->path);
        assert_string_equal(found.table_prefix, "francis");
        assert_in_range(found.workers, 1, cores > 0 ? cores : 1);
        assert_int_equal(found.blocked_max, 64);
        assert_int_equal(found.profile, d.profile);
        assert_int_equal(found.durability, FRANCIS_SURVIVES_POWER_CUT);
        assert_false(found.no_signal_handlers);
        assert_int_equal(found.timeout_ms, 30000);
        assert_int_equal(found.stop_timeout_ms, 30000);
        assert_int_equal(found.busy_timeout_ms, 5000);
        assert_int_equal(found.commit_window_ms, flash == 1 ? 20 : 0);
        assert_int_equal(found.sweep_interval_ms, 600000);
        assert_int_equal(found.calls_max, 65536);
        assert_int_equal(found.state_bytes_max, 1024 * 1024);
        assert_int_equal(found.message_bytes_max, 4 * 1024 * 1024);
        assert_int_equal(found.wal_bytes_max, (flash == 1 ? 1 : 16) * 1024 * 1024);
        assert_int_equal(found.log_level, FRANCIS_LOG_WARNING);
        tb_stop();
    }
    tb->path[0]        = '\0';
    d                  = tb_desc();
    d.blocked_max      = 7;
    d.timeout_ms       = FRANCIS_FOREVER;
    d.commit_window_ms = 3;
    d.calls_max        = 99;
    tb_start(&d, tb_types);
    francis_desc_get(tb->host, &found);
    assert_int_equal(found.workers, tb_workers);
    assert_int_equal(found.blocked_max, 7);
    assert_int_equal(found.timeout_ms, FRANCIS_FOREVER);
    assert_int_equal(found.commit_window_ms, 3);
    assert_int_equal(found.calls_max, 99);
    tb_stop();
}

/* Would catch: a profile or durability that does not work, loses data of a closed host, or is not
 * what the file then has. */
static void profiles(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        francis_host_desc d;
        sqlite3          *raw;
        tb->path[0]  = '\0';
        d            = tb_desc();
        d.profile    = i % 2 == 0 ? FRANCIS_PROFILE_SERVER : FRANCIS_PROFILE_FLASH;
        d.durability = (francis_durability)(i / 2);
        for (int round = 1; round <= 2; round++) {
            tb_start(&d, tb_types);
            t_ok(tb_invoke("a", "1", tb_add, NULL));
            assert_int_equal(tb->value, round);
            tb_stop();
        }
        raw = raw_open(tb->path);
        assert_int_equal(raw_int(raw, "PRAGMA page_size", NULL, NULL), i % 2 == 0 ? 4096 : 1024);
        assert_int_equal(raw_int(raw, "SELECT count(*) FROM pragma_journal_mode WHERE "
                                      "journal_mode = 'wal'", NULL, NULL), 1);
        (void)sqlite3_close(raw);
    }
}

/* Would catch: a window that is not kept, kept twice, or does not gather anything. */
static void commit_window(void **state)
{
    static const struct {
        francis_profile profile;
        int64_t         window_ms, at_least, at_most;
    } cases[] = { { FRANCIS_PROFILE_SERVER, 500, 500, 900 },
                  { FRANCIS_PROFILE_SERVER, 0, 0, 15 },
                  { FRANCIS_PROFILE_FLASH, 0, 20, 39 },
                  { FRANCIS_PROFILE_FLASH, 100, 100, 190 } };
    (void)state;
    for (int k = 0; k < 4; k++) {
        francis_host_desc d;
        francis_stats     before, after;
        francis_call     *call[10];
        int64_t           begin;
        tb->path[0] = '\0';
        d           = tb_desc();
        tb_clock_set(&the_clock, &d);
        d.profile          = cases[k].profile;
        d.commit_window_ms = cases[k].window_ms;
        tb_start(&d, tb_types);
        for (int i = 0; i < 10; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%d", i);
            t_ok(tb_invoke("a", id, tb_get, NULL));
        }
        tb_clock_run(&the_clock, 3000);
        begin = the_clock.monotonic_ns;
        t_ok(tb_invoke("a", "0", tb_add, NULL));
        assert_in_range((the_clock.monotonic_ns - begin) / 1000000, cases[k].at_least,
                        cases[k].at_most);
        before = tb_stats();
        for (int i = 0; i < 10; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%d", i);
            call[i] = tb_begin("a", id, tb_add, NULL);
        }
        for (int i = 0; i < 10; i++)
            t_ok(tb_join(call[i]));
        after = tb_stats();
        assert_int_equal(after.commit_turns - before.commit_turns, 10);
        assert_int_equal(after.commits - before.commits, 1);
        tb_stop();
    }
}

/* Would catch: a linked implementation that is another than the header, and does not say so. */
static void version(void **state)
{
    const char *p = francis_build_info();
    (void)state;
    assert_int_equal(francis_version_number(), FRANCIS_VERSION_NUMBER);
    assert_true(strlen(p) > 0);
    for (;;) {                                      /* NAME=value words */
        const char *end   = strchr(p, ' ');
        const char *equal = strchr(p, '=');
        assert_true(equal != NULL && equal > p && (end == NULL || equal < end));
        if (end == NULL)
            break;
        p = end + 1;
    }
    assert_non_null(strstr(francis_build_info(), "DEBUG="));
}

static const struct CMUnitTest tests[] = {
    TB_BOTH(allocator),
    TB_BOTH(memory_limit),
    TB_BOTH(log_levels),
    TB_BOTH(log_to_stderr),
    TB_BOTH(counters),
    TB_BOTH(nothing_written),
    TB_BOTH(queues),
    TB_BOTH(commit_held_up),
    TB_BOTH(deadline_after_sealing),
    TB_BOTH(health),
    TB_INLINE(fake_clock),
    TB_INLINE(a_month),
    TB_INLINE(idle_restarts),
    TB_INLINE(wall_clock_jumps),
    TB_INLINE(randomness),
    TB_BOTH(defaults),
    TB_BOTH(profiles),
    TB_INLINE(commit_window),
    TB_INLINE(version),
};

TB_MAIN(tests)
