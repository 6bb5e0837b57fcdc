/* What the tests of registration, turns, state and limits share: one world per test (a host in one
 * of the two modes of execution, its log, its memory), actors that run whatever function a test
 * hands them, gates that hold a turn open without holding a thread, and a look into the database
 * file from outside. */
#ifndef TA_H
#define TA_H

#include "t.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdalign.h>

/* -- the world of one test --------------------------------------------------------------------- */

typedef struct {                    /* not atomic: the hook is never called twice at once */
    size_t bytes;
    size_t peak;
} ta_memory;

typedef struct {
    francis_host      *host;
    francis_ctx       *ctx;         /* the one for outside of turns */
    francis_host_desc  desc;
    char               path[512];   /* of the database */
    francis_call       last;        /* of the last ta_do, ta_look */
    t_log              log;
    ta_memory          memory;
    pthread_mutex_t    lock;
    char               diary[4096];
    francis_call      *calls[8192];
    unsigned           calls_count;
} ta_world;

static ta_world  *ta;               /* of the test that runs */
static int        ta_workers;       /* and its mode */
static atomic_int ta_wrong;         /* checks that failed where cmocka must not jump */

/* For handlers, callbacks and other threads; found when the host is closed. */
#define ta_check(condition)                                                                \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            print_error("%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);     \
            (void)atomic_fetch_add(&ta_wrong, 1);                                          \
        }                                                                                  \
    } while (0)

T_UNUSED static bool ta_inline(void)
{
    return ta_workers == FRANCIS_NO_WORKERS;
}

/* Repetitions: fewer where each step is slow. */
T_UNUSED static int ta_times(int normal, int slow)
{
    const char *value = getenv("T_SLOW");
    return value != NULL && value[0] == '1' ? slow : normal;
}

T_UNUSED static int ta_setup(void **state)
{
    ta = (ta_world *)calloc(1, sizeof *ta);
    if (ta == NULL || pthread_mutex_init(&ta->lock, NULL) != 0 ||
        pthread_mutex_init(&ta->log.lock, NULL) != 0)
        return -1;
    ta_workers = *(const int *)*state;
    atomic_store(&ta_wrong, 0);
    (void)alarm((unsigned)ta_times(120, 600));  /* a test that hangs ends here */
    return 0;
}

/* A host that a failed test left open stays: the memory that it uses must not go away under it. */
T_UNUSED static int ta_teardown(void **state)
{
    unsigned i;
    (void)state;
    (void)alarm(0);
    if (ta->host == NULL) {
        for (i = 0; i < ta->calls_count; i++)
            free(ta->calls[i]);
        (void)pthread_mutex_destroy(&ta->lock);
        (void)pthread_mutex_destroy(&ta->log.lock);
        free(ta);
    }
    ta = NULL;
    return atomic_load(&ta_wrong) == 0 ? 0 : -1;
}

static int ta_mode_inline  = FRANCIS_NO_WORKERS;
static int ta_mode_workers = 2;

#define TA_INLINE(f)  { #f " (no workers)", f, ta_setup, ta_teardown, &ta_mode_inline }
#define TA_WORKERS(f) { #f " (2 workers)", f, ta_setup, ta_teardown, &ta_mode_workers }
#define TA_BOTH(f)    TA_INLINE(f), TA_WORKERS(f)

/* An argument of the program is a pattern: only the tests whose names match it are run. */
#define TA_MAIN(tests)                                                                     \
    int main(int argc, char **argv)                                                        \
    {                                                                                      \
        int failed;                                                                        \
        (void)ta_mode_inline;                                                              \
        (void)ta_mode_workers;                                                             \
        if (argc > 1)                                                                      \
            cmocka_set_test_filter(argv[1]);                                               \
        failed = cmocka_run_group_tests(tests, NULL, NULL);                                \
        t_clean();                                                                         \
        return failed == 0 ? 0 : 1;                                                        \
    }

T_UNUSED static void *ta_alloc(void *old, size_t size_old, size_t size_new, void *user)
{
    ta_memory *m = (ta_memory *)user;
    void      *p;
    if (size_new == 0) {
        ta_check(m->bytes >= size_old);
        m->bytes -= size_old;
        free(old);
        return NULL;
    }
    p = realloc(old, size_new);
    if (p == NULL)
        return NULL;
    ta_check(old != NULL || size_old == 0);
    m->bytes += size_new;
    m->bytes -= size_old;
    if (m->bytes > m->peak)
        m->peak = m->bytes;
    return p;
}

/* Fills in what a test left open: the mode, a new database, log and allocator of the world. */
T_UNUSED static void ta_desc(const francis_host_desc *desc)
{
    ta->desc = *desc;
    if (ta->desc.workers == 0)
        ta->desc.workers = ta_workers;
    if (ta->desc.database == NULL && ta->desc.sqlite == NULL) {
        if (ta->path[0] == '\0')
            (void)snprintf(ta->path, sizeof ta->path, "%s", t_database());
        ta->desc.database = ta->path;
    } else if (ta->desc.database != NULL && ta->desc.database != ta->path) {
        (void)snprintf(ta->path, sizeof ta->path, "%s", ta->desc.database);
        ta->desc.database = ta->path;
    }
    if (ta->desc.on_log == NULL) {
        ta->desc.on_log = t_log_sink;
        ta->desc.log_user = &ta->log;
        ta->desc.log_level = FRANCIS_LOG_DEBUG;
    }
    if (ta->desc.on_alloc == NULL) {
        ta->desc.on_alloc = ta_alloc;
        ta->desc.alloc_user = &ta->memory;
    }
}

/* Opens and starts the host of the test. types ends with .type == NULL; a second ta_open after
 * ta_close finds the same database. */
T_UNUSED static void ta_open(const francis_host_desc *desc, const francis_actor_desc *types)
{
    static const francis_host_desc none;
    ta_desc(desc != NULL ? desc : &none);
    ta->host = t_start(&ta->desc, types);
    ta->ctx = francis_host_ctx(ta->host);
}

/* Closes it: all memory must have come back, and all checks in handlers must have held. */
T_UNUSED static void ta_close(void)
{
    unsigned i;
    int      wrong;
    francis_call_free(&ta->last);
    for (i = 0; i < ta->calls_count; i++) {
        francis_call_free(ta->calls[i]);
        free(ta->calls[i]);
    }
    ta->calls_count = 0;
    francis_close(ta->host);
    ta->host = NULL;
    ta->ctx = NULL;
    wrong = atomic_exchange(&ta_wrong, 0);
    if (wrong != 0)
        fail_msg("%d checks in handlers or callbacks did not hold", wrong);
    if (ta->desc.alloc_user == &ta->memory)
        assert_int_equal(ta->memory.bytes, 0);
}

/* Lets the host move a little: its loop, where there is one, else the other threads. */
T_UNUSED static void ta_step(void)
{
    if (ta_inline() && ta->host != NULL)
        (void)francis_poll(ta->host, 1);
    else
        t_yield();
}

/* Waits for something that has to happen. */
#define ta_until(condition)                                                        \
    do {                                                                           \
        int64_t ta_end_ = t_ms() + 60000;                                          \
        while (!(condition)) {                                                     \
            if (t_ms() > ta_end_)                                                  \
                fail_msg("never came true: %s", #condition);                       \
            ta_step();                                                             \
        }                                                                          \
    } while (0)

/* -- the diary: what happened, in which order -------------------------------------------------- */

T_UNUSED static void ta_note(const char *word)
{
    (void)pthread_mutex_lock(&ta->lock);
    if (strlen(ta->diary) + strlen(word) + 2 < sizeof ta->diary) {
        if (ta->diary[0] != '\0')
            (void)strcat(ta->diary, " ");
        (void)strcat(ta->diary, word);
    }
    (void)pthread_mutex_unlock(&ta->lock);
}

T_UNUSED static bool ta_noted(const char *word)
{
    bool        found = false;
    size_t      length = strlen(word);
    const char *p;
    (void)pthread_mutex_lock(&ta->lock);
    for (p = ta->diary; !found && (p = strstr(p, word)) != NULL; p++)
        found = (p == ta->diary || p[-1] == ' ') && (p[length] == '\0' || p[length] == ' ');
    (void)pthread_mutex_unlock(&ta->lock);
    return found;
}

T_UNUSED static void ta_diary_is(const char *expected)
{
    char copy[sizeof ta->diary];
    (void)pthread_mutex_lock(&ta->lock);
    (void)memcpy(copy, ta->diary, sizeof copy);
    ta->diary[0] = '\0';
    (void)pthread_mutex_unlock(&ta->lock);
    assert_string_equal(copy, expected);
}

/* -- actors that do what they are told --------------------------------------------------------- */

typedef francis_result (*ta_fn)(francis_ctx *ctx, void *arg);

typedef struct {
    ta_fn fn;
    void *arg;
} ta_job;

T_UNUSED static francis_result ta_handler(francis_ctx *ctx)
{
    ta_job job;
    (void)memcpy(&job, ctx->input.data, sizeof job);
    return job.fn(ctx, job.arg);
}

static const francis_method ta_methods[] = {
    { "do", ta_handler, FRANCIS_INVOKE, sizeof(ta_job) },
    { "look", ta_handler, FRANCIS_PEEK, sizeof(ta_job) },
    FRANCIS_METHODS_END
};

typedef struct {
    int64_t n;
    int64_t m;
    char    text[16];
} ta_number;

/* A struct, and bytes of any size. */
#define TA_NUM  { .type = "num", .methods = ta_methods, .state_size = sizeof(ta_number) }
#define TA_BLOB { .type = "blob", .methods = ta_methods }
#define TA_END  { .type = NULL }

static const francis_actor_desc ta_both[] = { TA_NUM, TA_BLOB, TA_END };

/* One call that is waited for; ta->last has what it brought. */
T_UNUSED static francis_result ta_do(const char *type, const char *id, ta_fn fn, void *arg)
{
    ta_job job;
    job.fn = fn;
    job.arg = arg;
    return francis_invoke(ta->ctx, type, id, "do", &job, sizeof job, &ta->last);
}

T_UNUSED static francis_result ta_look(const char *type, const char *id, ta_fn fn, void *arg)
{
    ta_job job;
    job.fn = fn;
    job.arg = arg;
    return francis_peek(ta->ctx, type, id, "look", &job, sizeof job, &ta->last);
}

/* A call struct that lives until ta_close. */
T_UNUSED static francis_call *ta_new(void)
{
    francis_call *call = (francis_call *)calloc(1, sizeof *call);
    if (call == NULL || ta->calls_count == sizeof ta->calls / sizeof ta->calls[0])
        fail_msg("too many calls");
    ta->calls[ta->calls_count++] = call;
    return call;
}

/* The same, begun only; ta_end waits for it. */
T_UNUSED static francis_call *ta_begin(const char *type, const char *id, ta_fn fn, void *arg)
{
    francis_call *call = ta_new();
    ta_job        job;
    job.fn = fn;
    job.arg = arg;
    call->async = true;
    (void)francis_invoke(ta->ctx, type, id, "do", &job, sizeof job, call);
    return call;
}

T_UNUSED static francis_call *ta_begin_look(const char *type, const char *id, ta_fn fn, void *arg)
{
    francis_call *call = ta_new();
    ta_job        job;
    job.fn = fn;
    job.arg = arg;
    call->async = true;
    (void)francis_peek(ta->ctx, type, id, "look", &job, sizeof job, call);
    return call;
}

T_UNUSED static francis_result ta_end(francis_call *call)
{
    return francis_wait(ta->ctx, call);
}

T_UNUSED static int64_t ta_int(const francis_call *call)
{
    int64_t n;
    if (call->data == NULL || call->size != sizeof n)
        fail_msg("the reply has %zu bytes", call->size);
    (void)memcpy(&n, call->data, sizeof n);
    return n;
}

T_UNUSED static francis_result ta_nothing(francis_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return FRANCIS_OK;
}

/* Adds *arg, or one. */
T_UNUSED static francis_result ta_add(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->n += arg != NULL ? *(const int64_t *)arg : 1;
    return francis_reply(ctx, &s->n, sizeof s->n);
}

T_UNUSED static francis_result ta_get(francis_ctx *ctx, void *arg)
{
    const ta_number *s = (const ta_number *)francis_state(ctx);
    (void)arg;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    return francis_reply(ctx, &s->n, sizeof s->n);
}

/* Replies the bytes of a variable state; no reply where there is none. */
T_UNUSED static francis_result ta_bytes(francis_ctx *ctx, void *arg)
{
    francis_bytes b = francis_state_get(ctx);
    (void)arg;
    return b.data == NULL ? FRANCIS_OK : francis_reply(ctx, b.data, b.size);
}

/* arg: a string. */
T_UNUSED static francis_result ta_put(francis_ctx *ctx, void *arg)
{
    return francis_state_set(ctx, arg, strlen((const char *)arg));
}

T_UNUSED static francis_result ta_drop(francis_ctx *ctx, void *arg)
{
    (void)arg;
    return francis_state_delete(ctx);
}

/* What an actor's turn sees; NULL expected: no state. */
T_UNUSED static void ta_blob_is(const char *id, const char *expected)
{
    t_ok(ta_do("blob", id, ta_bytes, NULL));
    if (expected == NULL) {
        assert_null(ta->last.data);
        return;
    }
    assert_non_null(ta->last.data);
    assert_string_equal((const char *)ta->last.data, expected);
    assert_int_equal(ta->last.size, strlen(expected));
}

T_UNUSED static void ta_num_is(const char *type, const char *id, int64_t expected)
{
    t_ok(ta_do(type, id, ta_get, NULL));
    assert_int_equal(ta_int(&ta->last), expected);
}

/* What could happen by now has happened: without threads the loop has come to rest; with them,
 * other calls have gone through the same workers again and again. */
T_UNUSED static void ta_settle(const char *type)
{
    int i;
    for (i = 0; i < 20; i++) {
        if (ta_inline()) {
            (void)francis_poll(ta->host, 0);
        } else {
            t_ok(ta_do(type, i % 2 == 0 ? "settle a" : "settle b", ta_nothing, NULL));
            t_yield();
        }
    }
}

T_UNUSED static francis_stats ta_stats(void)
{
    francis_stats stats;
    francis_stats_get(ta->host, &stats);
    return stats;
}

/* -- gates: turns that wait to be let on, in both modes, with no thread held ------------------- */

typedef struct {
    atomic_int              arrived;    /* turns that have come so far */
    atomic_int              inside;     /* turns that are between their beginning and their end */
    atomic_int              most;       /* how many that were at once */
    _Atomic uint64_t        tickets[64];
    const char             *name;       /* notes "name<" and "name>" into the diary, if set */
    ta_fn                   then;       /* what the turn does when it is let on; NULL = nothing */
    void                   *then_arg;
} ta_gate;

typedef struct {
    francis_call call;
    ta_gate     *gate;
} ta_gate_turn;

T_UNUSED static void ta_gate_init(ta_gate *gate, const char *name)
{
    (void)memset(gate, 0, sizeof *gate);
    gate->name = name;
}

T_UNUSED static void ta_gate_note(const ta_gate *gate, const char *mark)
{
    char word[64];
    if (gate->name == NULL)
        return;
    (void)snprintf(word, sizeof word, "%s%s", gate->name, mark);
    ta_note(word);
}

T_UNUSED static francis_result ta_gate_on(francis_ctx *ctx)
{
    ta_gate_turn  *turn = (ta_gate_turn *)ctx->local;
    ta_gate       *gate = turn->gate;
    francis_result r = turn->call.result;
    if (r == FRANCIS_OK && gate->then != NULL)
        r = gate->then(ctx, gate->then_arg);
    ta_gate_note(gate, ">");
    (void)atomic_fetch_sub(&gate->inside, 1);
    return r;
}

/* A ta_fn: stays in its turn until the test lets it on. Several may come at the same time. */
T_UNUSED static francis_result ta_hold(francis_ctx *ctx, void *arg)
{
    ta_gate      *gate = (ta_gate *)arg;
    ta_gate_turn *turn = (ta_gate_turn *)francis_alloc(ctx, sizeof *turn);
    int           now = atomic_fetch_add(&gate->inside, 1) + 1;
    int           most = atomic_load(&gate->most), i;
    uint64_t      ticket, zero;
    while (now > most && !atomic_compare_exchange_weak(&gate->most, &most, now)) {
    }
    if (turn == NULL)
        return FRANCIS_ERR_NOMEM;
    turn->gate = gate;
    ticket = francis_expect(ctx, &turn->call);
    if (ticket == 0)
        return turn->call.result;
    ta_gate_note(gate, "<");
    for (i = 0; i < 64; i++) {
        zero = 0;
        if (atomic_compare_exchange_strong(&gate->tickets[i], &zero, ticket))
            break;
    }
    (void)atomic_fetch_add(&gate->arrived, 1);
    return francis_await(ctx, ta_gate_on, turn);
}

/* Lets on the turn that came as number i (from 0). */
T_UNUSED static void ta_let(ta_gate *gate, int i)
{
    ta_until(atomic_load(&gate->arrived) > i);
    t_ok(francis_answer(ta->ctx, atomic_load(&gate->tickets[i]), FRANCIS_OK, NULL, 0));
}

/* -- the database from outside ----------------------------------------------------------------- */

#define TA_NONE INT64_MIN           /* no row, or NULL */

/* The first column of the first row, over a connection of its own. In handlers it never fails the
 * test by a jump: TA_NONE is an error, too. */
T_UNUSED static int64_t ta_sql(const char *path, const char *format, ...)
{
    sqlite3      *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t       value = TA_NONE;
    char         *sql;
    va_list       args;
    int           rc;
    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(db, 10000);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
        value = sqlite3_column_int64(statement, 0);
    else if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        print_error("%s: %s\n", sql, db != NULL ? sqlite3_errmsg(db) : "no memory");
    ta_check(rc == SQLITE_ROW || rc == SQLITE_DONE);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    sqlite3_free(sql);
    return value;
}

/* The bytes that are stored for an actor: how many, -1 where there is no row. */
T_UNUSED static int64_t ta_stored(const char *path, const char *type, const char *id, void *data,
                                  size_t size)
{
    sqlite3      *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t       length = -1;
    int           rc;
    rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(db, 10000);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db,
                                "SELECT actor_state_data FROM francis_actor_state"
                                " WHERE actor_type = ?1 AND actor_id = ?2",
                                -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 1, type, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(statement, 2, id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        length = sqlite3_column_bytes(statement, 0);
        if (length > 0 && data != NULL)
            (void)memcpy(data, sqlite3_column_blob(statement, 0),
                         (size_t)length < size ? (size_t)length : size);
    } else if (rc != SQLITE_DONE) {
        print_error("francis_actor_state: %s\n", db != NULL ? sqlite3_errmsg(db) : "no memory");
        ta_check(rc == SQLITE_DONE);
    }
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    return length;
}

/* The count that is stored for an actor with a ta_number; TA_NONE where there is no row. */
T_UNUSED static int64_t ta_stored_n(const char *type, const char *id)
{
    ta_number s;
    (void)memset(&s, 0, sizeof s);
    return ta_stored(ta->path, type, id, &s, sizeof s) < 0 ? TA_NONE : s.n;
}

T_UNUSED static int64_t ta_stored_expiry(const char *type, const char *id)
{
    return ta_sql(ta->path,
                  "SELECT actor_state_expiration_time FROM francis_actor_state"
                  " WHERE actor_type = %Q AND actor_id = %Q",
                  type, id);
}

/* -- clocks that are turned by hand ------------------------------------------------------------ */

static _Atomic int64_t ta_wall_now;     /* what wall_ms says */
static _Atomic int64_t ta_mono_now;     /* in ms, where the monotonic clock is replaced, too */

T_UNUSED static int64_t ta_wall_ms(void *user)
{
    (void)user;
    return atomic_load(&ta_wall_now);
}

T_UNUSED static int64_t ta_monotonic_ns(void *user)
{
    (void)user;
    return atomic_load(&ta_mono_now) * 1000000;
}

/* A wall clock by hand beside the real monotonic one, and both by hand (without workers only). */
static const francis_platform ta_wall = { .version = 1, .wall_ms = ta_wall_ms };
static const francis_platform ta_clocks = { .version = 1, .wall_ms = ta_wall_ms,
                                            .monotonic_ns = ta_monotonic_ns };

T_UNUSED static void ta_clock_init(void)
{
    (void)ta_wall;
    (void)ta_clocks;
    atomic_store(&ta_wall_now, INT64_C(1800000000000));     /* 2027 */
    atomic_store(&ta_mono_now, INT64_C(1000000));
}

#endif
