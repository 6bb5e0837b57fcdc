/* Every call of the library to SQLite fails in turn: the first prepare, the second, ...; once, and
 * from then on; while a host starts on a file that others have left behind, while it works, and
 * while it stops. SQLite itself is well meanwhile: what fails is what it answers, as when it has no
 * memory. After each: what was acknowledged is stored, what was refused is not, nothing is
 * stranded, the host works again, and the file is whole.
 *
 * One host without workers, whose time passes only when it has nothing to do. */
#define FRANCIS_IMPLEMENTATION
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- calls that fail ---- */

enum { CALL_PREPARE, CALL_STEP, CALL_BIND, CALL_COLUMN, CALL_EXEC, CALL_PRINT, CALL_OPEN, CALLS };

static struct {
    int           call;             /* which fails; -1 = none */
    int           code;
    unsigned long countdown, fired, made;
    bool          from_then_on, failing;
} sqlite_fault = { .call = -1 };

static bool fails(int call)
{
    bool now = false;
    if (call != sqlite_fault.call)
        return false;
    sqlite_fault.made++;
    if (sqlite_fault.countdown > 0 && --sqlite_fault.countdown == 0)
        now = true;
    if (!now && !sqlite_fault.failing)
        return false;
    sqlite_fault.failing = sqlite_fault.from_then_on;
    sqlite_fault.fired++;
    return true;
}

static int try_prepare_v2(sqlite3 *db, const char *sql, int size, sqlite3_stmt **out,
                          const char **tail)
{
    *out = NULL;
    return fails(CALL_PREPARE) ? sqlite_fault.code : sqlite3_prepare_v2(db, sql, size, out, tail);
}

static int try_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned flags,
                          sqlite3_stmt **out, const char **tail)
{
    *out = NULL;
    return fails(CALL_PREPARE) ? sqlite_fault.code
                               : sqlite3_prepare_v3(db, sql, size, flags, out, tail);
}

static int try_step(sqlite3_stmt *stmt)
{
    return fails(CALL_STEP) ? sqlite_fault.code : sqlite3_step(stmt);
}

/* Only what has to be copied, or is a key, may fail: the rest is a number, or stays where it is. */
static int try_bind_text(sqlite3_stmt *stmt, int at, const char *text, int size,
                         void (*release)(void *))
{
    bool may = at == 1 || at == 4 || at == 14 || release == SQLITE_TRANSIENT;
    return may && fails(CALL_BIND) ? sqlite_fault.code
                                   : sqlite3_bind_text(stmt, at, text, size, release);
}

static int try_bind_blob64(sqlite3_stmt *stmt, int at, const void *data, sqlite3_uint64 size,
                           void (*release)(void *))
{
    return fails(CALL_BIND) ? sqlite_fault.code
                            : sqlite3_bind_blob64(stmt, at, data, size, release);
}

static const unsigned char *try_column_text(sqlite3_stmt *stmt, int at)
{
    return fails(CALL_COLUMN) ? NULL : sqlite3_column_text(stmt, at);
}

static const void *try_column_blob(sqlite3_stmt *stmt, int at)
{
    return fails(CALL_COLUMN) ? NULL : sqlite3_column_blob(stmt, at);
}

static int try_exec(sqlite3 *db, const char *sql, int (*row)(void *, int, char **, char **),
                    void *user, char **error)
{
    return fails(CALL_EXEC) ? sqlite_fault.code : sqlite3_exec(db, sql, row, user, error);
}

static char *try_vmprintf(const char *format, va_list args)
{
    return fails(CALL_PRINT) ? NULL : sqlite3_vmprintf(format, args);
}

static int try_open_v2(const char *path, sqlite3 **out, int flags, const char *vfs)
{
    *out = NULL;
    return fails(CALL_OPEN) ? sqlite_fault.code : sqlite3_open_v2(path, out, flags, vfs);
}

#define sqlite3_prepare_v2 try_prepare_v2
#define sqlite3_prepare_v3 try_prepare_v3
#define sqlite3_step try_step
#define sqlite3_bind_text try_bind_text
#define sqlite3_bind_blob64 try_bind_blob64
#define sqlite3_column_text try_column_text
#define sqlite3_column_blob try_column_blob
#define sqlite3_exec try_exec
#define sqlite3_vmprintf try_vmprintf
#define sqlite3_open_v2 try_open_v2
#include "francis.h"
#undef sqlite3_prepare_v2
#undef sqlite3_prepare_v3
#undef sqlite3_step
#undef sqlite3_bind_text
#undef sqlite3_bind_blob64
#undef sqlite3_column_text
#undef sqlite3_column_blob
#undef sqlite3_exec
#undef sqlite3_vmprintf
#undef sqlite3_open_v2

#include "support/errands.h"
#include "support/tb.h"

typedef enum { IN_START, IN_WORK, IN_STOP } phase;

typedef struct {
    const char *what;
    int         call, code;
} kind;

static const kind kinds[] = {
    { "prepare, out of memory", CALL_PREPARE, SQLITE_NOMEM },
    { "prepare, I/O error", CALL_PREPARE, SQLITE_IOERR_READ },
    { "step, out of memory", CALL_STEP, SQLITE_NOMEM },
    { "step, I/O error", CALL_STEP, SQLITE_IOERR },
    { "step, busy", CALL_STEP, SQLITE_BUSY },
    { "bind", CALL_BIND, SQLITE_NOMEM },
    { "column", CALL_COLUMN, SQLITE_NOMEM },
    { "exec", CALL_EXEC, SQLITE_IOERR },
    { "exec, out of memory", CALL_EXEC, SQLITE_NOMEM },
    { "printf", CALL_PRINT, SQLITE_NOMEM },
    { "open", CALL_OPEN, SQLITE_CANTOPEN },
};

/* ---- the world ---- */

enum { COUNTERS = 3 };

static francis_result counter_upgrade(francis_ctx *ctx)
{
    (void)ctx;
    return FRANCIS_OK;              /* as it is */
}

static const francis_method counter_methods[] = {
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};
static const francis_actor_desc counter_type = {
    .type = "counter", .methods = counter_methods, .state_size = sizeof(counter_state),
    .state_version = 2, .upgrade = counter_upgrade, .requests_kept_max = 1000000
};

static struct {
    const kind     *kind;
    unsigned long   n, lives;
    bool            forever;
    phase           phase;
    char            path[512];
    tb_clock        clock;
    t_log           log;
    francis_host   *host;
    francis_ctx    *ctx;
    errands         errands;
    counter_model   counters[COUNTERS], placed;
} w;

static void complain(const char *what, francis_result r)
{
    fail_msg("%s, call %lu%s, phase %d: %s: %s (%s)", w.kind->what, w.n,
             w.forever ? " and all later ones" : "", (int)w.phase, what, francis_result_name(r),
             francis_host_error(w.host));
}

/* Nothing but what such a failure may do to a call. */
static bool usual(francis_result r, francis_result expected, const char *what)
{
    if (r == expected)
        return true;
    if (sqlite_fault.fired == 0)
        complain(what, r);
    switch (r) {
    case FRANCIS_ERR_NOMEM:
    case FRANCIS_ERR_STORAGE:
    case FRANCIS_ERR_LOCKED:
    case FRANCIS_ERR_UNKNOWN:
    case FRANCIS_ERR_EVICTED:
    case FRANCIS_ERR_CORRUPT:
    case FRANCIS_ERR_DEADLINE:
        return false;
    default:
        complain(what, r);
        return false;
    }
}

static void polls(int times)
{
    while (times-- > 0)
        t_ok(francis_poll(w.host, 1));
}

static void arm(phase now)
{
    if (w.phase != now)
        return;
    sqlite_fault.call = w.kind->call;
    sqlite_fault.code = w.kind->code;
    sqlite_fault.countdown = w.n;
    sqlite_fault.from_then_on = w.forever;
}

static void disarm(void)
{
    sqlite_fault.call = -1;
    sqlite_fault.failing = false;
}

/* What hosts that have ended without leaving have left behind: one of which nobody knows yet that
 * it is dead, one that is evicted; their actors, what had expired, an alarm that was due. */
static void leave_behind(void)
{
    sqlite3 *db = raw_open(w.path);
    raw_exec(db, "PRAGMA synchronous=OFF");
    raw_exec(db,
             "INSERT OR IGNORE INTO francis_hosts(host_id, host_address, host_last_health_check)"
             " VALUES('dead', '-dead', 1), ('evicted', 'evicted evicted', 1);"
             "INSERT OR IGNORE INTO francis_ext_hosts(host_id, evicted, started, process, settled,"
             " challenge, answer, lease_ms) VALUES('dead', 0, 1, 1, 0, 0, 0, 5000),"
             " ('evicted', 1, 1, 1, 0, 0, 0, 5000);"
             "INSERT OR IGNORE INTO francis_host_actor_types(host_id, actor_type,"
             " actor_idle_timeout, actor_concurrency_limit) VALUES('dead', 'counter', 0, 0),"
             " ('evicted', 'counter', 0, 0);"
             "INSERT OR REPLACE INTO francis_active_actors(actor_type, actor_id, host_id,"
             " actor_idle_timeout, actor_activation) VALUES('counter', 'placed0', 'dead', 0, 1),"
             " ('errand', 'alarmed0', 'dead', 0, 1), ('counter', 'c0', 'evicted', 0, 1);"
             "INSERT OR REPLACE INTO francis_actor_state(actor_type, actor_id, actor_state_data,"
             " actor_state_expiration_time) VALUES('counter', 'expired', x'00', 1);"
             "INSERT OR REPLACE INTO francis_ext_state VALUES('counter', 'expired', 1);"
             "INSERT OR REPLACE INTO francis_ext_requests"
             " VALUES('counter', 'expired', 'r', 1, x'00', 1);"
             "DELETE FROM francis_metadata WHERE key = 'last-cleanup'");
    (void)sqlite3_close(db);
}

static francis_result try_start(void)
{
    static francis_host_desc desc;
    w.host = NULL;
    memset(&desc, 0, sizeof desc);
    desc.database = w.path;
    desc.on_log = t_log_sink;
    desc.log_user = &w.log;
    desc.durability = FRANCIS_SURVIVES_NOTHING;   /* what fails is not the disk */
    desc.busy_timeout_ms = 100;
    desc.sweep_interval_ms = 100;
    tb_clock_set(&w.clock, &desc);
    w.clock.seed = ++w.lives;       /* no id comes twice */
    (void)francis_open(&w.host, &desc);
    (void)francis_register(w.host, &counter_type);
    (void)francis_register(w.host, &errand_type);
    return francis_start(w.host);
}

/* Starts, while something may fail: then it says what, and a second try is as good as a first. */
static void start(void)
{
    francis_result r = try_start();
    disarm();
    if (r != FRANCIS_OK) {
        (void)usual(r, FRANCIS_OK, "start");
        if (francis_host_error(w.host)[0] == '\0')
            complain("start fails and does not say why", r);
        francis_close(w.host);
        t_ok(try_start());
    }
    w.ctx = francis_host_ctx(w.host);
}

static void count_all(void)
{
    francis_call   call = { 0 };
    francis_result r;
    for (unsigned i = 0; i < COUNTERS; i++)
        (void)usual(model_increment(&w.counters[i], w.ctx, "counter"), FRANCIS_OK, "increment");
    (void)usual(model_increment(&w.placed, w.ctx, "counter"), FRANCIS_OK, "increment of the dead");
    r = francis_halt(w.ctx, "counter", w.counters[1].id, NULL);
    if (r != FRANCIS_ERR_NOT_ACTIVE)
        (void)usual(r, FRANCIS_OK, "halt");
    r = francis_state_read(w.ctx, "counter", w.counters[0].id, &call);
    if (r != FRANCIS_ERR_NOT_FOUND || w.counters[0].lo > 0)
        (void)usual(r, FRANCIS_OK, "state_read");
    if (r == FRANCIS_OK) {
        counter_state c;
        memcpy(&c, call.data, sizeof c);
        assert_in_range(c.n, w.counters[0].lo, w.counters[0].hi);
    }
    (void)usual(francis_state_write(w.ctx, "counter", "other", "12345678abcdefgh", 16, 5000, &call),
                FRANCIS_OK, "state_write");
    (void)usual(francis_state_write(w.ctx, "elsewhere", "other", "1", 1, 0, &call), FRANCIS_OK,
                "state_write of a type of nobody");
    r = francis_state_write(w.ctx, "elsewhere", "other", NULL, 0, 0, &call);
    if (r != FRANCIS_ERR_NOT_FOUND)
        (void)usual(r, FRANCIS_OK, "deletion of that");
    call.request_id = "once";
    (void)usual(francis_invoke(w.ctx, "counter", "keyed", "increment", NULL, 0, &call), FRANCIS_OK,
                "increment with a request id");
    francis_call_free(&call);
}

static void list_all(void)
{
    for (int what = FRANCIS_LIST_STATES; what <= FRANCIS_LIST_TYPES; what++) {
        francis_list   list = { .what = (francis_list_kind)what, .with_data = true };
        francis_result r;
        while ((r = francis_list_next(w.ctx, &list)) == FRANCIS_OK)
            continue;
        (void)usual(r, FRANCIS_DONE, "list_next");
        francis_list_free(&list);
    }
}

/* On a good SQLite all that is pending comes to its end, and the host works. */
static void recover(void)
{
    int64_t end = t_ms() + 60000;
    while (model_increment(&w.counters[0], w.ctx, "counter") != FRANCIS_OK) {
        if (t_ms() > end)
            complain("never works again", FRANCIS_ERR_DEADLINE);
        polls(1);
    }
    errands_tidy(&w.errands);
    while (errands_pending(&w.errands) != 0) {
        if (t_ms() > end)
            complain("something is stranded", FRANCIS_ERR_DEADLINE);
        tb_clock_move(&w.clock, INT64_C(1000000000));
        polls(1);
    }
}

static void all_stored(void)
{
    sqlite3      *db = raw_open(w.path);
    counter_state c;
    for (unsigned i = 0; i < COUNTERS; i++)
        model_stored(&w.counters[i], db, "counter");
    model_stored(&w.placed, db, "counter");
    w.errands.db = db;
    errands_stored(&w.errands);
    (void)raw_state(db, "counter", "keyed", &c, sizeof c);
    assert_true(c.n <= 1);          /* however often it was asked for */
    raw_check(db);
    (void)sqlite3_close(db);
}

static bool errand_died(void)
{
    return errand_is_dead(&w.errands);
}

/* One life of a host in which the n-th call fails. False = there were not so many. */
static bool live_once(void)
{
    sqlite_fault.fired = sqlite_fault.made = 0;
    leave_behind();
    arm(IN_START);
    start();
    w.errands.ctx = w.ctx;
    w.errands.db = raw_open(w.path);
    errands_prepare(&w.errands);
    while (!errand_died())
        polls(1);
    arm(IN_WORK);
    count_all();
    errands_ask(&w.errands);
    list_all();
    polls(10);
    tb_clock_move(&w.clock, INT64_C(200000000));
    polls(10);
    disarm();
    recover();
    (void)sqlite3_close(w.errands.db);
    arm(IN_STOP);
    francis_close(w.host);
    w.host = NULL;
    disarm();
    all_stored();
    return sqlite_fault.fired > 0;
}

static void new_world(void)
{
    memset(&w, 0, sizeof w);
    (void)pthread_mutex_init(&w.log.lock, NULL);
    (void)snprintf(w.path, sizeof w.path, "%s", t_database());
    errands_init(&w.errands);
    w.errands.usual = usual;
    for (unsigned i = 0; i < COUNTERS; i++)
        model_init(&w.counters[i], "c", i);
    model_init(&w.placed, "placed", 0);
    w.kind = &kinds[0];
    t_ok(try_start());              /* makes the tables */
    francis_close(w.host);
}

/* The first life is one in which nothing fails, to see how many calls there are. */
static void sweep(phase when, bool forever, unsigned long tries)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        unsigned long step, tried = 0;
        new_world();
        w.kind = &kinds[i];
        w.phase = when;
        w.forever = forever;
        assert_false(live_once());
        step = 1 + sqlite_fault.made / tries;
        for (w.n = 1 + i % step; live_once(); w.n += step)
            tried++;
        print_message("%s%s: %lu tried, 1 of %lu\n", kinds[i].what, forever ? " from then on" : "",
                      tried, step);
    }
}

/* Would catch: a start on half of what it needs, a lock that stays behind, a dead host that is
 * never missed because the look at it has failed. */
static void test_start(void **state)
{
    (void)state;
    sweep(IN_START, false, t_slow() ? 6 : 20);
    sweep(IN_START, true, t_slow() ? 2 : 5);
}

/* Would catch: a failure that is taken for "there is none", a result that is lost between a
 * statement and its caller, an alarm that is stranded, a statement that stays bound or open. */
static void test_work(void **state)
{
    (void)state;
    sweep(IN_WORK, false, t_slow() ? 4 : 16);
}

static void test_work_from_then_on(void **state)
{
    (void)state;
    sweep(IN_WORK, true, t_slow() ? 2 : 4);
}

/* Would catch: a host that cannot be started again because the last one did not leave. */
static void test_stop(void **state)
{
    (void)state;
    sweep(IN_STOP, false, t_slow() ? 4 : 10);
    sweep(IN_STOP, true, t_slow() ? 2 : 4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_work_from_then_on),
        cmocka_unit_test(test_stop),
    };
    int failed;
    (void)tb_mode_inline;
    (void)tb_mode_workers;
    (void)tb_mode_quick;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("sqlite_calls", tests, NULL, NULL);
    t_clean();
    return failed;
}
