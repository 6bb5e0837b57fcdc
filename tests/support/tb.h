/* What the behaviour tests share: an actor type that runs whatever function it is handed, gates
 * that hold a turn open with and without threads, a diary for the order of events, a clock that is
 * turned by hand, and a host that is checked for leaks when it is closed. */
#ifndef TB_H
#define TB_H

#include "t.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>

/* -- one test, in one of the two modes --------------------------------------------------------- */

typedef struct tb_memory {          /* of one host: what its allocator hook gave out */
    atomic_flag busy;
    size_t      bytes, peak, calls;
    atomic_bool refuse;
} tb_memory;

typedef struct tb_world {
    francis_host     *host;
    francis_ctx      *ctx;          /* the one for outside of turns */
    francis_host_desc desc;         /* what it was opened with */
    char              path[512];
    t_log             log;
    tb_memory         memory;
    pthread_mutex_t   lock;
    char              diary[4096];
    char              error[2048];  /* text and number of the last tb_invoke or tb_peek */
    int64_t           value;
    bool              from_handler;
    francis_call     *calls[2048];
    unsigned          calls_count;
} tb_world;

static tb_world  *tb;               /* of the test that runs */
static int        tb_workers;       /* and its mode */
static bool       tb_quick;         /* the types of tb_open are nonblocking */
static bool       tb_polling;       /* the test's own thread is inside francis_poll */
static atomic_int tb_wrong;         /* checks that failed where cmocka cannot be called */

/* For handlers, callbacks and threads: counted, and found by tb_close. */
#define tb_check(condition)                                                                \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            print_error("%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);     \
            atomic_fetch_add(&tb_wrong, 1);                                                \
        }                                                                                  \
    } while (0)

T_UNUSED static bool tb_inline(void)
{
    return tb_workers == FRANCIS_NO_WORKERS;
}

/* Repetitions: fewer where each step is slow. */
T_UNUSED static int tb_times(int normal, int slow)
{
    const char *value = getenv("T_SLOW");
    return value != NULL && strcmp(value, "1") == 0 ? slow : normal;
}

typedef struct tb_mode {
    int  workers;
    bool quick;
} tb_mode;

static tb_mode tb_mode_inline  = { FRANCIS_NO_WORKERS, false };
static tb_mode tb_mode_workers = { 2, false };
static tb_mode tb_mode_quick   = { 2, true };

T_UNUSED static int tb_setup(void **state)
{
    tb = (tb_world *)calloc(1, sizeof *tb);
    if (tb == NULL || pthread_mutex_init(&tb->lock, NULL) != 0 ||
        pthread_mutex_init(&tb->log.lock, NULL) != 0)
        return -1;
    atomic_flag_clear(&tb->memory.busy);
    tb_workers = ((const tb_mode *)*state)->workers;
    tb_quick   = ((const tb_mode *)*state)->quick;
    tb_polling = false;
    atomic_store(&tb_wrong, 0);
    return 0;
}

/* A host that a failed test left open stays as it is: its memory must not go away under it. */
T_UNUSED static int tb_teardown(void **state)
{
    (void)state;
    if (tb->host == NULL) {
        for (unsigned i = 0; i < tb->calls_count; i++)
            free(tb->calls[i]);
        free(tb);
    }
    tb = NULL;
    return atomic_load(&tb_wrong) == 0 ? 0 : -1;
}

#define TB_INLINE(f)  { #f ", no workers", f, tb_setup, tb_teardown, &tb_mode_inline }
#define TB_WORKERS(f) { #f ", 2 workers", f, tb_setup, tb_teardown, &tb_mode_workers }
#define TB_QUICK(f)   { #f ", nonblocking", f, tb_setup, tb_teardown, &tb_mode_quick }
#define TB_BOTH(f)    TB_INLINE(f), TB_WORKERS(f)
#define TB_EACH(f)    TB_INLINE(f), TB_WORKERS(f), TB_QUICK(f)

/* The argument, if there is one, is a pattern: only the tests whose names match it are run. */
#define TB_MAIN(tests)                                                                     \
    int main(int argc, char **argv)                                                        \
    {                                                                                      \
        int failed;                                                                        \
        (void)tb_mode_inline;                                                              \
        (void)tb_mode_workers;                                                             \
        (void)tb_mode_quick;                                                               \
        if (argc > 1)                                                                      \
            cmocka_set_test_filter(argv[1]);                                               \
        failed = cmocka_run_group_tests(tests, NULL, NULL);                                \
        t_clean();                                                                         \
        return failed == 0 ? 0 : 1;                                                        \
    }

/* -- the diary: what happened, in which order -------------------------------------------------- */

T_UNUSED static void tb_note(const char *word)
{
    (void)pthread_mutex_lock(&tb->lock);
    if (strlen(tb->diary) + strlen(word) + 2 < sizeof tb->diary) {
        if (tb->diary[0] != '\0')
            strcat(tb->diary, " ");
        strcat(tb->diary, word);
    }
    (void)pthread_mutex_unlock(&tb->lock);
}

/* How often the word stands in it. */
T_UNUSED static int tb_noted(const char *word)
{
    int    n    = 0;
    size_t size = strlen(word);
    (void)pthread_mutex_lock(&tb->lock);
    for (const char *p = tb->diary; (p = strstr(p, word)) != NULL; p += size) {
        if ((p == tb->diary || p[-1] == ' ') && (p[size] == ' ' || p[size] == '\0'))
            n++;
    }
    (void)pthread_mutex_unlock(&tb->lock);
    return n;
}

/* Compares and begins a new page. */
#define tb_diary(expected)                                                                 \
    do {                                                                                   \
        char tb_page_[sizeof tb->diary];                                                   \
        (void)pthread_mutex_lock(&tb->lock);                                               \
        memcpy(tb_page_, tb->diary, sizeof tb_page_);                                      \
        tb->diary[0] = '\0';                                                               \
        (void)pthread_mutex_unlock(&tb->lock);                                             \
        assert_string_equal(tb_page_, (expected));                                         \
    } while (0)

/* -- the host ---------------------------------------------------------------------------------- */

/* Plain counters on purpose: the host must never call it from two threads at once, and a thread
 * checker sees it if it does. */
T_UNUSED static void *tb_alloc(void *old, size_t size_old, size_t size_new, void *user)
{
    tb_memory *m = (tb_memory *)user;
    void      *p = NULL;
    tb_check(!atomic_flag_test_and_set_explicit(&m->busy, memory_order_relaxed));
    tb_check(old != NULL || size_old == 0);
    m->calls++;
    if (size_new == 0) {
        free(old);
        m->bytes -= size_old;
    } else if (!atomic_load_explicit(&m->refuse, memory_order_relaxed) &&
               (p = realloc(old, size_new)) != NULL) {
        m->bytes = m->bytes - size_old + size_new;
        if (m->bytes > m->peak)
            m->peak = m->bytes;
    }
    atomic_flag_clear_explicit(&m->busy, memory_order_relaxed);
    return p;
}

/* The desc of a test's host: its own new file, the mode of the test, hooks that check. */
T_UNUSED static francis_host_desc tb_desc(void)
{
    francis_host_desc d;
    memset(&d, 0, sizeof d);
    if (tb->path[0] == '\0')
        (void)snprintf(tb->path, sizeof tb->path, "%s", t_database());
    d.database   = tb->path;
    d.workers    = tb_workers;
    d.durability = FRANCIS_SURVIVES_CRASH;
    d.on_alloc   = tb_alloc;
    d.alloc_user = &tb->memory;
    d.on_log     = t_log_sink;
    d.log_user   = &tb->log;
    d.log_level  = FRANCIS_LOG_DEBUG;
    return d;
}

T_UNUSED static void tb_start(const francis_host_desc *desc, const francis_actor_desc *types)
{
    tb->desc = *desc;
    tb->host = t_start(desc, types);
    tb->ctx  = francis_host_ctx(tb->host);
    assert_non_null(tb->ctx);
}

/* Waits for everything and looks for what is left over, and for what happens to a host only when
 * something is wrong with its database. */
T_UNUSED static void tb_stop(void)
{
    static const unsigned never[] = { 104, 105, 107, 108, 202, 203, 204, 205, 207, 209, 210, 303 };
    francis_close(tb->host);
    tb->host = NULL;
    tb->ctx  = NULL;
    if (tb->desc.on_alloc == tb_alloc)
        assert_int_equal(tb->memory.bytes, 0);
    for (unsigned i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (tb->log.count[never[i]] > 0)
            fail_msg("log record %u: %s", never[i], tb->log.last[never[i]]);
    }
    assert_int_equal(atomic_load(&tb_wrong), 0);
}

/* Does what is due without threads; with them it gives the processor away. */
T_UNUSED static void tb_pump(void)
{
    if (tb->host != NULL && tb->desc.workers == FRANCIS_NO_WORKERS) {
        tb_polling = true;
        (void)francis_poll(tb->host, 5);
        tb_polling = false;
    } else {
        t_yield();
    }
}

/* t_until that keeps a host without workers going. */
#define tb_until(condition)                                                                \
    do {                                                                                   \
        int64_t tb_end_ = t_ms() + 60000;                                                  \
        while (!(condition)) {                                                             \
            if (t_ms() > tb_end_)                                                          \
                fail_msg("never came true: %s", #condition);                               \
            tb_pump();                                                                     \
        }                                                                                  \
    } while (0)

/* The same for threads and handlers, where cmocka cannot be called. */
#define tb_wait_for(condition)                                                             \
    do {                                                                                   \
        int64_t tb_end_ = t_ms() + 60000;                                                  \
        while (!(condition) && t_ms() < tb_end_)                                           \
            t_yield();                                                                     \
        tb_check(condition);                                                               \
    } while (0)

T_UNUSED static francis_stats tb_stats(void)
{
    francis_stats s;
    francis_stats_get(tb->host, &s);
    return s;
}

T_UNUSED static francis_health tb_health(void)
{
    francis_health h;
    francis_health_get(tb->host, &h);
    return h;
}

/* -- an actor that does what it is told -------------------------------------------------------- */

typedef struct tb_job {             /* the input of every call; the function is in this program */
    francis_handler run;
    void           *arg;
    int64_t         n;
} tb_job;

T_UNUSED static tb_job tb_job_of(const francis_ctx *ctx)
{
    tb_job job = { NULL, NULL, 0 };
    if (ctx->input.data != NULL && ctx->input.size == sizeof job)
        memcpy(&job, ctx->input.data, sizeof job);
    return job;
}

T_UNUSED static void *tb_arg(const francis_ctx *ctx)
{
    return tb_job_of(ctx).arg;
}

T_UNUSED static francis_result tb_do(francis_ctx *ctx)
{
    tb_job job = tb_job_of(ctx);
    return job.run == NULL ? FRANCIS_ERR_BAD_INPUT : job.run(ctx);
}

static const francis_method tb_methods[] = {
    { "do", tb_do, FRANCIS_INVOKE, sizeof(tb_job) },
    { "do", tb_do, FRANCIS_PEEK,   sizeof(tb_job) },
    FRANCIS_METHODS_END
};

#define TB_TYPE(name) .type = name, .methods = tb_methods, .state_size = sizeof(int64_t)

static const francis_actor_desc tb_types[] = {
    { TB_TYPE("a") }, { TB_TYPE("b") }, { TB_TYPE("c") }, { .type = NULL }
};

/* The host that most tests need. */
T_UNUSED static void tb_open(void)
{
    francis_host_desc d = tb_desc();
    if (tb_quick) {
        static const francis_actor_desc quick[] = {
            { TB_TYPE("a"), .nonblocking = true }, { TB_TYPE("b"), .nonblocking = true },
            { TB_TYPE("c"), .nonblocking = true }, { .type = NULL }
        };
        tb_start(&d, quick);
    } else {
        tb_start(&d, tb_types);
    }
}

/* A call that outlives the function which made it; freed after the host. */
T_UNUSED static francis_call *tb_new(void)
{
    francis_call *call = (francis_call *)calloc(1, sizeof *call);
    if (call == NULL || tb->calls_count == sizeof tb->calls / sizeof tb->calls[0])
        abort();
    (void)pthread_mutex_lock(&tb->lock);
    tb->calls[tb->calls_count++] = call;
    (void)pthread_mutex_unlock(&tb->lock);
    return call;
}

T_UNUSED static francis_result tb_invoke_with(francis_ctx *ctx, const char *type, const char *id,
                                              francis_handler run, void *arg, francis_call *call)
{
    tb_job job = { run, arg, 0 };
    return francis_invoke(ctx, type, id, "do", &job, sizeof job, call);
}

T_UNUSED static francis_result tb_peek_with(francis_ctx *ctx, const char *type, const char *id,
                                            francis_handler run, void *arg, francis_call *call)
{
    tb_job job = { run, arg, 0 };
    return francis_peek(ctx, type, id, "do", &job, sizeof job, call);
}

T_UNUSED static francis_result tb_send(francis_ctx *ctx, const char *type, const char *id,
                                       francis_handler run, void *arg)
{
    tb_job job = { run, arg, 0 };
    return francis_send(ctx, type, id, "do", &job, sizeof job);
}

T_UNUSED static int64_t tb_number(const francis_call *call)
{
    int64_t v = INT64_MIN;
    if (call->data != NULL && call->size == sizeof v)
        memcpy(&v, call->data, sizeof v);
    return v;
}

/* From outside, waiting; number and error text are in tb->value and tb->error. */
T_UNUSED static francis_result tb_invoke_opt(const char *type, const char *id, francis_handler run,
                                             void *arg, francis_call options)
{
    francis_call   call = options;
    francis_result r    = tb_invoke_with(tb->ctx, type, id, run, arg, &call);
    tb->value           = tb_number(&call);
    tb->from_handler    = call.from_handler;
    (void)snprintf(tb->error, sizeof tb->error, "%s", call.error != NULL ? call.error : "(none)");
    assert_int_equal(call.result, r);
    francis_call_free(&call);
    return r;
}

T_UNUSED static francis_result tb_invoke(const char *type, const char *id, francis_handler run,
                                         void *arg)
{
    francis_call options;
    memset(&options, 0, sizeof options);
    return tb_invoke_opt(type, id, run, arg, options);
}

T_UNUSED static francis_result tb_peek_opt(const char *type, const char *id, francis_handler run,
                                           void *arg, francis_call options)
{
    francis_call   call = options;
    francis_result r    = tb_peek_with(tb->ctx, type, id, run, arg, &call);
    tb->value           = tb_number(&call);
    tb->from_handler    = call.from_handler;
    (void)snprintf(tb->error, sizeof tb->error, "%s", call.error != NULL ? call.error : "(none)");
    assert_int_equal(call.result, r);
    francis_call_free(&call);
    return r;
}

T_UNUSED static francis_result tb_peek(const char *type, const char *id, francis_handler run,
                                       void *arg)
{
    francis_call options;
    memset(&options, 0, sizeof options);
    return tb_peek_opt(type, id, run, arg, options);
}

/* From outside, not waiting; fails the test unless it is under way. */
T_UNUSED static francis_call *tb_begin(const char *type, const char *id, francis_handler run,
                                       void *arg)
{
    francis_call *call = tb_new();
    call->async        = true;
    t_result(tb_invoke_with(tb->ctx, type, id, run, arg, call), FRANCIS_PENDING);
    return call;
}

T_UNUSED static francis_call *tb_begin_timeout(const char *type, const char *id,
                                               francis_handler run, void *arg, int64_t timeout_ms)
{
    francis_call *call = tb_new();
    call->async        = true;
    call->timeout_ms   = timeout_ms;
    t_result(tb_invoke_with(tb->ctx, type, id, run, arg, call), FRANCIS_PENDING);
    return call;
}

T_UNUSED static francis_call *tb_begin_peek(const char *type, const char *id, francis_handler run,
                                            void *arg)
{
    francis_call *call = tb_new();
    call->async        = true;
    t_result(tb_peek_with(tb->ctx, type, id, run, arg, call), FRANCIS_PENDING);
    return call;
}

T_UNUSED static francis_result tb_join(francis_call *call)
{
    return francis_wait(tb->ctx, call);
}

/* -- handlers for it --------------------------------------------------------------------------- */

T_UNUSED static francis_result tb_reply(francis_ctx *ctx, int64_t value)
{
    return francis_reply(ctx, &value, sizeof value);
}

T_UNUSED static francis_result tb_nothing(francis_ctx *ctx)
{
    (void)ctx;
    return FRANCIS_OK;
}

/* One more; the new value is the reply. */
T_UNUSED static francis_result tb_add(francis_ctx *ctx)
{
    int64_t *value = (int64_t *)francis_state(ctx);
    if (value == NULL)
        return FRANCIS_ERR_NOMEM;
    ++*value;
    return tb_reply(ctx, *value);
}

T_UNUSED static francis_result tb_get(francis_ctx *ctx)
{
    const int64_t *value = (const int64_t *)francis_state(ctx);
    if (value == NULL)
        return FRANCIS_ERR_NOMEM;
    return tb_reply(ctx, *value);
}

/* Writes, and fails. */
T_UNUSED static francis_result tb_refuse(francis_ctx *ctx)
{
    int64_t *value = (int64_t *)francis_state(ctx);
    if (value != NULL)
        *value += 1000;
    (void)tb_reply(ctx, 1000);
    return francis_fail(ctx, FRANCIS_ERR_USER + 7, "not %s, says %s", "today", ctx->id);
}

/* Notes the word that is the argument. */
T_UNUSED static francis_result tb_say(francis_ctx *ctx)
{
    tb_note((const char *)tb_arg(ctx));
    return FRANCIS_OK;
}

/* tb_say that writes, so that its reply waits for a commit. */
T_UNUSED static francis_result tb_say_add(francis_ctx *ctx)
{
    tb_note((const char *)tb_arg(ctx));
    return tb_add(ctx);
}

T_UNUSED static int64_t tb_value(const char *type, const char *id)
{
    t_ok(tb_peek(type, id, tb_get, NULL));
    return tb->value;
}

/* What is committed, asked of the database and not of the actor; -1 = there is none. */
T_UNUSED static int64_t tb_stored(const char *type, const char *id)
{
    francis_call   call;
    int64_t        v;
    francis_result r;
    memset(&call, 0, sizeof call);
    r = francis_state_read(tb->ctx, type, id, &call);
    v = r == FRANCIS_ERR_NOT_FOUND ? -1 : tb_number(&call);
    if (r != FRANCIS_ERR_NOT_FOUND)
        t_ok(r);
    francis_call_free(&call);
    return v;
}

/* -- gates ------------------------------------------------------------------------------------- */

/* A turn that is open until the test answers its ticket: it awaits, so it works in both modes. */
typedef struct tb_gate {
    francis_call     call;
    _Atomic uint64_t ticket;
    atomic_int       entered, left;
    francis_handler  then;          /* what the turn ends with; NULL = tb_add, in a peek tb_get */
} tb_gate;

T_UNUSED static francis_result tb_held(francis_ctx *ctx)
{
    tb_gate       *gate = (tb_gate *)tb_arg(ctx);
    francis_result r    = gate->call.result;
    atomic_fetch_add(&gate->left, 1);
    if (r != FRANCIS_OK)
        return r;
    if (gate->then != NULL)
        return gate->then(ctx);
    return ctx->kind == FRANCIS_PEEK ? tb_get(ctx) : tb_add(ctx);
}

T_UNUSED static francis_result tb_hold(francis_ctx *ctx)
{
    tb_gate *gate = (tb_gate *)tb_arg(ctx);
    uint64_t ticket;
    memset(&gate->call, 0, sizeof gate->call);
    ticket = francis_expect(ctx, &gate->call);
    if (ticket == 0)
        return gate->call.result;
    atomic_store(&gate->ticket, ticket);
    atomic_fetch_add(&gate->entered, 1);
    return francis_await(ctx, tb_held, NULL);
}

/* Static memory of the test, so that a turn which a failed test leaves behind finds it. */
T_UNUSED static void tb_gate_reset(tb_gate *gate)
{
    memset(gate, 0, sizeof *gate);
}

T_UNUSED static francis_result tb_release(tb_gate *gate)
{
    return francis_answer(tb->ctx, atomic_load(&gate->ticket), FRANCIS_OK, NULL, 0);
}

/* Begins a call that holds the actor, and waits until it does. */
T_UNUSED static francis_call *tb_begin_hold(const char *type, const char *id, tb_gate *gate)
{
    francis_call *call;
    tb_gate_reset(gate);
    call = tb_begin(type, id, tb_hold, gate);
    tb_until(atomic_load(&gate->entered) == 1);
    return call;
}

/* A handler that does not return: for tests with workers. */
typedef struct tb_latch {
    atomic_int  entered, left;
    atomic_bool open;
} tb_latch;

T_UNUSED static void tb_latch_wait(tb_latch *latch)
{
    int64_t end = t_ms() + 120000;
    atomic_fetch_add(&latch->entered, 1);
    while (!atomic_load(&latch->open) && t_ms() < end)
        t_yield();
    tb_check(atomic_load(&latch->open));
    atomic_fetch_add(&latch->left, 1);
}

T_UNUSED static francis_result tb_block(francis_ctx *ctx)
{
    tb_latch_wait((tb_latch *)tb_arg(ctx));
    return tb_add(ctx);
}

/* -- a turn that calls on ---------------------------------------------------------------------- */

/* Calls one actor from a turn and awaits the answer: works in both modes. */
typedef struct tb_relay {
    const char     *type, *id;      /* whom */
    francis_handler run;            /* what he does */
    void           *arg;
    bool            peek;
    int64_t         timeout_ms;
    francis_call    call;
    francis_result  result;         /* what came of it */
    char            error[1200];
    int64_t         value;
    atomic_int      entered, done;
} tb_relay;

T_UNUSED static francis_result tb_relay_done(francis_ctx *ctx)
{
    tb_relay *relay = (tb_relay *)ctx->local;
    relay->result   = relay->call.result;
    relay->value    = tb_number(&relay->call);
    (void)snprintf(relay->error, sizeof relay->error, "%s",
                   relay->call.error != NULL ? relay->call.error : "(none)");
    atomic_fetch_add(&relay->done, 1);
    if (relay->result != FRANCIS_OK)
        return francis_fail_text(ctx, relay->result, relay->error);
    return tb_reply(ctx, relay->value);
}

T_UNUSED static francis_result tb_relay_go(francis_ctx *ctx, tb_relay *relay)
{
    memset(&relay->call, 0, sizeof relay->call);
    relay->call.async      = true;
    relay->call.timeout_ms = relay->timeout_ms;
    atomic_fetch_add(&relay->entered, 1);
    if (relay->peek)
        (void)tb_peek_with(ctx, relay->type, relay->id, relay->run, relay->arg, &relay->call);
    else
        (void)tb_invoke_with(ctx, relay->type, relay->id, relay->run, relay->arg, &relay->call);
    return francis_await(ctx, tb_relay_done, relay);
}

T_UNUSED static francis_result tb_relay_run(francis_ctx *ctx)
{
    return tb_relay_go(ctx, (tb_relay *)tb_arg(ctx));
}

/* The same, but a thread waits: with workers only. */
T_UNUSED static francis_result tb_relay_block(francis_ctx *ctx)
{
    tb_relay    *relay = (tb_relay *)tb_arg(ctx);
    francis_call call;
    memset(&call, 0, sizeof call);
    call.timeout_ms = relay->timeout_ms;
    atomic_fetch_add(&relay->entered, 1);
    relay->result = relay->peek ? tb_peek_with(ctx, relay->type, relay->id, relay->run, relay->arg,
                                               &call)
                                : tb_invoke_with(ctx, relay->type, relay->id, relay->run,
                                                 relay->arg, &call);
    relay->value  = tb_number(&call);
    (void)snprintf(relay->error, sizeof relay->error, "%s", call.error);
    atomic_fetch_add(&relay->done, 1);
    if (relay->result != FRANCIS_OK)
        return francis_fail_text(ctx, relay->result, relay->error);
    return tb_reply(ctx, relay->value);
}

/* -- callbacks --------------------------------------------------------------------------------- */

typedef struct tb_seen {            /* by an on_done; call->user */
    atomic_int     count;
    francis_result result;
    int64_t        value;
    pthread_t      thread;
    bool           polling;
} tb_seen;

T_UNUSED static void tb_on_done(francis_call *call)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;    /* two calls may share a seen */
    tb_seen               *seen = (tb_seen *)call->user;
    (void)pthread_mutex_lock(&lock);
    seen->result  = call->result;
    seen->value   = tb_number(call);
    seen->thread  = pthread_self();
    seen->polling = tb_inline() && tb_polling;
    (void)pthread_mutex_unlock(&lock);
    atomic_fetch_add(&seen->count, 1);
}

/* -- the process ------------------------------------------------------------------------------- */

/* Entries of a directory of /proc. */
T_UNUSED static int tb_entries(const char *path)
{
    int            n   = 0;
    DIR           *dir = opendir(path);
    struct dirent *e;
    if (dir == NULL)
        return -1;
    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] != '.')
            n++;
    }
    (void)closedir(dir);
    return n;
}

T_UNUSED static int tb_threads(void)
{
    return tb_entries("/proc/self/task");
}

T_UNUSED static int tb_descriptors(void)
{
    return tb_entries("/proc/self/fd");
}

/* -- a clock that is turned by hand ------------------------------------------------------------ */

/* Without workers only: waiting takes no time, it moves the clock. */
typedef struct tb_clock {
    francis_platform platform;
    int64_t          monotonic_ns, wall_ms;
    uint64_t         seed;
    unsigned         random_calls, waits;
    bool             random_fails;
} tb_clock;

T_UNUSED static int64_t tb_clock_monotonic(void *user)
{
    return ((tb_clock *)user)->monotonic_ns;
}

T_UNUSED static int64_t tb_clock_wall(void *user)
{
    return ((tb_clock *)user)->wall_ms;
}

T_UNUSED static int tb_clock_random(void *data, size_t size, void *user)
{
    tb_clock      *c = (tb_clock *)user;
    unsigned char *p = (unsigned char *)data;
    c->random_calls++;
    if (c->random_fails)
        return -1;
    for (size_t i = 0; i < size; i++) {
        c->seed = c->seed * 6364136223846793005u + 1442695040888963407u;
        p[i]    = (unsigned char)(c->seed >> 56);
    }
    return 0;
}

T_UNUSED static void tb_clock_move(tb_clock *c, int64_t ns)
{
    int64_t ms = c->monotonic_ns / 1000000;
    c->monotonic_ns += ns;
    c->wall_ms += c->monotonic_ns / 1000000 - ms;
}

T_UNUSED static int tb_clock_poll(struct pollfd *fds, size_t count, int64_t timeout_ns, void *user)
{
    tb_clock *c = (tb_clock *)user;
    c->waits++;
    for (size_t i = 0; i < count; i++)
        fds[i].revents = 0;
    if (timeout_ns > 0)
        tb_clock_move(c, timeout_ns);
    return 0;
}

T_UNUSED static void tb_clock_set(tb_clock *c, francis_host_desc *desc)
{
    memset(c, 0, sizeof *c);
    c->monotonic_ns          = INT64_C(5000000000);
    c->wall_ms               = INT64_C(1770000000000);
    c->seed                  = 42;
    c->platform.version      = 1;
    c->platform.monotonic_ns = tb_clock_monotonic;
    c->platform.wall_ms      = tb_clock_wall;
    c->platform.random       = tb_clock_random;
    c->platform.poll         = tb_clock_poll;
    c->platform.user         = c;
    desc->platform           = &c->platform;
    desc->workers            = FRANCIS_NO_WORKERS;
}

/* Lets the host live for so long on this clock. */
T_UNUSED static void tb_clock_run(tb_clock *c, int64_t ms)
{
    int64_t end = c->monotonic_ns + ms * 1000000;
    while (c->monotonic_ns < end) {
        int64_t left = (end - c->monotonic_ns + 999999) / 1000000;
        tb_polling   = true;
        if (francis_poll(tb->host, left) != FRANCIS_OK) {
            tb_polling = false;
            break;
        }
        tb_polling = false;
    }
}

#endif
