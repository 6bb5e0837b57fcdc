/* Alarms and jobs outlive whatever happens to processes: kill -9 at every point of their way, jobs
 * that kill their process, several hosts on one file of which some are killed, stopped or leave,
 * handlers that are slower than every lease; and files with a million alarms.
 *
 * What counts is the ledger of each actor: how often each occurrence has had its effect. */
#include "support/t.h"

#include "support/hosts.h"

#include "support/fault_vfs.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { LEDGER = 128, ACTORS = 24 };

/* ---- memory that all processes of a test see ---- */

typedef struct {
    unsigned long reads;            /* of pages, from the start to the first answer */
    unsigned long alarm_reads;      /* for an alarm that is set, runs, and is gone */
    size_t        peak;
    int64_t       rss;              /* kB, at the end */
} cost;

typedef struct {
    atomic_int  countdown;          /* the process that takes it from 1 to 0 dies there */
    atomic_int  points, hooks;
    atomic_int  runs[LEDGER];       /* of handlers, by the index of the occurrence */
    atomic_int  inside[LEDGER], most[LEDGER];
    atomic_int  pid[LEDGER];        /* where it ran last */
    atomic_int  told[LEDGER];       /* what francis_interrupted said */
    atomic_bool open, leave;
    atomic_uint logged[1000];
    cost        few, many;
} common;

static common *all;

static int setup(void **state)
{
    char path[300];
    int  fd;
    (void)state;
    (void)alarm(t_slow() ? 280 : 200);  /* a test that hangs ends here */
    (void)snprintf(path, sizeof path, "%s/common", t_dir());
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)sizeof *all) != 0)
        return -1;
    all = (common *)mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    (void)unlink(path);
    return (void *)all == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)alarm(0);
    hosts_far_clear();
    (void)memset(hosts_all, 0, sizeof hosts_all);
    (void)munmap(all, sizeof *all);
    return 0;
}

/* One of the points at which a process may be killed. */
static void point(void)
{
    (void)atomic_fetch_add(&all->points, 1);
    if (atomic_load(&all->countdown) > 0 && atomic_fetch_sub(&all->countdown, 1) == 1)
        (void)kill(getpid(), SIGKILL);
}

static void count_logs(const francis_log *record, void *user)
{
    (void)user;
    if (record->id < 1000)
        (void)atomic_fetch_add(&all->logged[record->id], 1);
}

/* ---- the actor ---- */

typedef struct {
    uint8_t count[LEDGER];
    int64_t last_due;               /* of a series that must have no gap */
} ledger;

typedef enum {
    ADDS, DIES_FOR_GOOD, FAILS, FAILS_FIRST, SENDS, KILLS, WAITS, WAITS_TO_BE_TOLD, SERIES
} what;

typedef struct {                    /* the data of an alarm or job */
    int     index;                  /* of the first occurrence, in the ledger */
    what    does;
    int64_t base, interval;         /* of a repetition */
} task;

static francis_result send_more(francis_ctx *ctx, const task *t)
{
    task           next = { t->index + 1, ADDS, 0, 0 }, other = { t->index + 2, ADDS, 0, 0 };
    francis_alarm  a = { .name = "sent", .data = &next, .size = sizeof next };
    francis_job    j = { .type = ctx->type, .id = "b", .method = "sent", .data = &other,
                         .size = sizeof other };
    francis_result r = francis_alarm_set(ctx, &a, NULL);
    return r != FRANCIS_OK ? r : francis_job_dispatch(ctx, &j, NULL);
}

static void wait_in_turn(francis_ctx *ctx, int index, bool told)
{
    int64_t end = t_ms() + 120000;
    while (!atomic_load(&all->open) && t_ms() < end) {
        francis_result r = francis_interrupted(ctx);
        if (r != FRANCIS_OK)
            atomic_store(&all->told[index], r);
        if (told && r != FRANCIS_OK)
            return;
        t_yield();
    }
}

static francis_result work(francis_ctx *ctx)
{
    ledger        *l = (ledger *)francis_state(ctx);
    francis_result r = FRANCIS_OK;
    task           t;
    int            index, now;
    if (l == NULL || ctx->input.size != sizeof t)
        return FRANCIS_ERR_NOMEM;
    (void)memcpy(&t, ctx->input.data, sizeof t);
    index = t.index + (t.interval > 0 && t.does != SERIES
                           ? (int)((ctx->due_ms - t.base) / t.interval) : 0);
    (void)atomic_fetch_add(&all->runs[index], 1);
    atomic_store(&all->pid[index], (int)getpid());
    now = atomic_fetch_add(&all->inside[index], 1) + 1;
    if (now > atomic_load(&all->most[index]))
        atomic_store(&all->most[index], now);
    point();
    l->count[index]++;
    switch (t.does) {
    case DIES_FOR_GOOD: r = francis_fail(ctx, FRANCIS_ERR_PERMANENT, "never"); break;
    case FAILS:         r = francis_fail(ctx, FRANCIS_ERR_USER, "not so"); break;
    case FAILS_FIRST:   r = ctx->due_ms == t.base ? FRANCIS_ERR_PERMANENT : FRANCIS_OK; break;
    case SENDS:         r = send_more(ctx, &t); break;
    case KILLS:         (void)kill(getpid(), SIGKILL); break;
    case WAITS:         wait_in_turn(ctx, index, false); break;
    case WAITS_TO_BE_TOLD:
        wait_in_turn(ctx, index, true);
        break;
    case SERIES:
        if (l->last_due != 0 && ctx->due_ms != l->last_due + t.interval)
            l->count[index + 1]++;  /* a gap, or a second time */
        l->last_due = ctx->due_ms;
        break;
    case ADDS: break;
    }
    point();
    (void)atomic_fetch_sub(&all->inside[index], 1);
    return r;
}

static francis_result told_of_death(francis_ctx *ctx)
{
    ledger *l = (ledger *)francis_state(ctx);
    task    t;
    if (l == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)memcpy(&t, ctx->input.data, sizeof t);
    point();
    l->count[t.index + 10]++;
    (void)atomic_fetch_add(&all->hooks, 1);
    return FRANCIS_OK;
}

static francis_result touch(francis_ctx *ctx)
{
    int64_t n = francis_state(ctx) != NULL;
    return francis_reply(ctx, &n, sizeof n);
}

static const francis_method methods[] = {
    { "increment", touch, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc types[] = {
    { .type = "ledger", .methods = methods, .state_size = sizeof(ledger), .alarm = work,
      .job = work, .job_failed = told_of_death, .attempts_max = 2, .retry_delay_ms = 1 },
    { .type = NULL }
};

static francis_host_desc desc_of(const char *path, int workers)
{
    francis_host_desc desc = hosts_desc(path, workers);
    desc.on_log = count_logs;
    return desc;
}

static int64_t wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void set(francis_ctx *ctx, const char *id, const char *name, task t, francis_alarm a)
{
    francis_call   call = { 0 };
    francis_result r;
    a.type = "ledger";
    a.id = id;
    a.name = name;
    a.data = &t;
    a.size = sizeof t;
    r = francis_alarm_set(ctx, &a, &call);
    if (r != FRANCIS_OK)
        fail_msg("%s: %s", name, call.error);
    francis_call_free(&call);
}

static void dispatch(francis_ctx *ctx, const char *id, task t, francis_job j, char out[40])
{
    francis_call   call = { 0 };
    francis_result r;
    j.type = "ledger";
    j.id = id;
    j.method = "work";
    j.data = &t;
    j.size = sizeof t;
    r = francis_job_dispatch(ctx, &j, &call);
    if (r != FRANCIS_OK)
        fail_msg("dispatch: %s", call.error);
    if (out != NULL)
        (void)snprintf(out, 40, "%.*s", (int)call.size, (const char *)call.data);
    francis_call_free(&call);
}

static unsigned rows(francis_ctx *ctx, francis_list_kind kind)
{
    francis_list   list = { .what = kind };
    unsigned       n = 0;
    francis_result r;
    while ((r = francis_list_next(ctx, &list)) == FRANCIS_OK)
        n++;
    t_result(r, FRANCIS_DONE);
    francis_list_free(&list);
    return n;
}

/* What the ledger says: "index*count ...", only what is not 0. */
static const char *ledger_of(const char *path, const char *id)
{
    static char text[1024];
    sqlite3    *db = raw_open(path);
    ledger      l;
    text[0] = '\0';
    (void)raw_state(db, "ledger", id, &l, sizeof l);
    (void)sqlite3_close(db);
    for (int i = 0; i < LEDGER; i++) {
        size_t used = strlen(text);
        if (l.count[i] == 1)
            (void)snprintf(text + used, sizeof text - used, "%s%d", used > 0 ? " " : "", i);
        else if (l.count[i] > 1)
            (void)snprintf(text + used, sizeof text - used, "%s%d*%u", used > 0 ? " " : "", i,
                           l.count[i]);
    }
    return text;
}

static uint8_t count_of(const char *path, const char *id, int index)
{
    sqlite3 *db = raw_open(path);
    ledger   l;
    (void)raw_state(db, "ledger", id, &l, sizeof l);
    (void)sqlite3_close(db);
    return l.count[index];
}

/* ---- kill -9 at every point ---- */

static int on_trace(unsigned type, void *user, void *p, void *x)
{
    (void)type;
    (void)user;
    (void)p;
    (void)x;
    point();
    return 0;
}

/* The beginning and the end of each statement are points. */
static francis_result open_traced(sqlite3 **db, const char *database, int flags, void *user)
{
    (void)user;
    if (sqlite3_open_v2(database, db, flags, NULL) != SQLITE_OK)
        return FRANCIS_ERR_STORAGE;
    (void)sqlite3_trace_v2(*db, SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE, on_trace, NULL);
    return FRANCIS_OK;
}

enum { FIRED = 6, DONE = 3, DEAD = 3 };
static const char *const ledger_a = "0 1 2 3 4 5 16 17 18 20 21";
static const char *const ledger_b = "22";

/* What there is to do, in a file of its own that nobody has begun to work on. */
static void make_work(const char *path)
{
    static const francis_actor_desc none[] = {
        { .type = "other", .methods = methods, .state_size = 8 }, { .type = NULL }
    };
    francis_host_desc desc = desc_of(path, FRANCIS_NO_WORKERS);
    francis_host     *host = t_start(&desc, none);
    francis_ctx      *ctx = francis_host_ctx(host);
    int64_t           now = wall_ms(), base = now - 30000;
    set(ctx, "a", "x", (task){ 0, ADDS, 0, 0 }, (francis_alarm){ .due_ms = now });
    set(ctx, "a", "r", (task){ 1, ADDS, base, 10000 },
        (francis_alarm){ .due_ms = base, .repeat = "10s", .until_ms = base + 20000,
                         .missed = FRANCIS_MISSED_ALL });
    set(ctx, "a", "sender", (task){ 20, SENDS, 0, 0 }, (francis_alarm){ .due_ms = now });
    dispatch(ctx, "a", (task){ 4, ADDS, 0, 0 }, (francis_job){ .due_ms = now }, NULL);
    dispatch(ctx, "a", (task){ 5, ADDS, 0, 0 }, (francis_job){ .due_ms = now, .request_id = "r" },
             NULL);
    dispatch(ctx, "a", (task){ 6, DIES_FOR_GOOD, 0, 0 }, (francis_job){ .due_ms = now }, NULL);
    dispatch(ctx, "a", (task){ 7, FAILS, 0, 0 }, (francis_job){ .due_ms = now }, NULL);
    dispatch(ctx, "a", (task){ 8, FAILS_FIRST, now - FRANCIS_HOURS(1) - 5000, FRANCIS_HOURS(1) },
             (francis_job){ .due_ms = now - FRANCIS_HOURS(1) - 5000, .repeat = "1h" }, NULL);
    francis_close(host);
}

static void copy_file(const char *from, const char *to)
{
    char  buffer[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t n;
    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0)
        assert_int_equal(fwrite(buffer, 1, n, out), n);
    (void)fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* The child: does the work until it is done or the process is killed. */
static void worker_body(void **state)
{
    const char       *path = (const char *)*state;
    francis_host_desc desc = desc_of(path, FRANCIS_NO_WORKERS);
    int               countdown = atomic_exchange(&all->countdown, 0);
    francis_host     *host;
    francis_stats     s;
    int64_t           end = t_ms() + 60000;
    desc.on_database = open_traced;
    host = t_start(&desc, types);
    atomic_store(&all->points, 0);
    atomic_store(&all->countdown, countdown);
    do {
        (void)francis_poll(host, 1);
        francis_stats_get(host, &s);
        if (t_ms() > end)
            fail_msg("fired %d, done %d, dead %d, hooks %d", (int)s.alarms_fired, (int)s.jobs_done,
                     (int)s.jobs_dead, atomic_load(&all->hooks));
    } while (s.alarms_fired < FIRED || s.jobs_done < DONE || s.jobs_dead < DEAD ||
             atomic_load(&all->hooks) < DEAD);
    francis_close(host);
}

/* Finishes what is left and looks at the books. */
static void finish(const char *path, int at)
{
    francis_host_desc desc = desc_of(path, FRANCIS_NO_WORKERS);
    francis_host     *host = t_start(&desc, types);
    francis_ctx      *ctx = francis_host_ctx(host);
    sqlite3          *db = raw_open(path);
    int64_t           end = t_ms() + 60000;
    while (rows(ctx, FRANCIS_LIST_ALARMS) > 0 || rows(ctx, FRANCIS_LIST_JOBS) != 1 ||
           raw_int(db, "SELECT count(*) FROM francis_dead_jobs WHERE ext_hook_at IS NOT NULL",
                   NULL, NULL) > 0) {
        t_ok(francis_poll(host, 1));
        if (t_ms() > end)
            fail_msg("killed at %d: %u alarms, %u jobs are left; a: %s", at,
                     rows(ctx, FRANCIS_LIST_ALARMS), rows(ctx, FRANCIS_LIST_JOBS),
                     ledger_of(path, "a"));
    }
    assert_int_equal(rows(ctx, FRANCIS_LIST_DEAD_JOBS), DEAD);
    raw_check(db);
    (void)sqlite3_close(db);
    francis_close(host);
    if (strcmp(ledger_of(path, "a"), ledger_a) != 0)
        fail_msg("killed at %d: a has %s", at, ledger_of(path, "a"));
    if (strcmp(ledger_of(path, "b"), ledger_b) != 0)
        fail_msg("killed at %d: b has %s", at, ledger_of(path, "b"));
}

/* Would catch: an effect that is there without its completion, or a completion without its effect;
 * a dead job without its next occurrence, a hook that is lost. */
static void test_kill_at_every_point(void **state)
{
    char work_path[512], path[512];
    int  at = 1, points, step = t_slow() ? 11 : 1;
    (void)state;
    (void)snprintf(work_path, sizeof work_path, "%s", t_database());
    make_work(work_path);
    for (;; at += step) {
        int status;
        (void)snprintf(path, sizeof path, "%s", t_database());
        copy_file(work_path, path);
        atomic_store(&all->hooks, 0);
        atomic_store(&all->countdown, at);
        status = child_wait_for(child_start(worker_body, path), 120000);
        points = atomic_load(&all->points);
        atomic_store(&all->countdown, 0);
        if (at % 5 == 0) {          /* and once more */
            atomic_store(&all->countdown, 1 + at * 7919 % 97);
            (void)child_wait_for(child_start(worker_body, path), 120000);
            atomic_store(&all->countdown, 0);
        }
        finish(path, at);
        raw_remove(path);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            break;
        }
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
    print_message("killed at %d points\n", at / step);
    assert_true(points > 50);
}

/* ---- jobs that kill ---- */

static void crowd_body(void **state)
{
    const char       *path = (const char *)*state;
    francis_host_desc desc = desc_of(path, 2);
    francis_host     *host = t_start(&desc, types);
    int64_t           end = t_ms() + 120000;
    while (!atomic_load(&all->leave) && t_ms() < end)
        t_yield();
    francis_close(host);
}

/* Would catch: a job that kills every host it comes to, for ever; neighbours that are taken for it;
 * an outcome that depends on how many of them there are. */
static void test_crashing(void **state)
{
    enum { GOOD = 12, MOST = 60 };
    static const struct {
        bool        job, same_actor;
        const char *repeat;
    } list[] = { { true, false, NULL }, { true, true, "1h" }, { false, false, NULL },
                 { false, true, "1h" } };
    (void)state;
    for (size_t k = 0; k < sizeof list / sizeof list[0]; k++) {
        const char       *path = t_database();
        francis_host_desc desc = desc_of(path, FRANCIS_NO_WORKERS);
        static const francis_actor_desc none[] = {
            { .type = "other", .methods = methods, .state_size = 8 }, { .type = NULL }
        };
        francis_host *host = t_start(&desc, none);
        francis_ctx  *ctx = francis_host_ctx(host);
        francis_list  dead = { .what = FRANCIS_LIST_DEAD_JOBS };
        char          bad[40] = "", id[16], due[24];
        int           lives = 0, status;
        int64_t       now = wall_ms();
        bool          over = false;
        (void)memset(all, 0, sizeof *all);
        (void)snprintf(due, sizeof due, "%lld", (long long)now);
        for (int i = 0; i < GOOD; i++) {
            (void)snprintf(id, sizeof id, "%d", i);
            if (i % 2)
                set(ctx, id, "good", (task){ i, ADDS, 0, 0 }, (francis_alarm){ .due_ms = now });
            else
                dispatch(ctx, id, (task){ i, ADDS, 0, 0 }, (francis_job){ .due_ms = now }, NULL);
        }
        (void)snprintf(id, sizeof id, "%s", list[k].same_actor ? "3" : "bad");
        if (list[k].job)
            dispatch(ctx, id, (task){ 50, KILLS, 0, 0 },
                     (francis_job){ .due_ms = now, .repeat = list[k].repeat }, bad);
        else
            set(ctx, id, "bad", (task){ 50, KILLS, 0, 0 },
                (francis_alarm){ .due_ms = now, .repeat = list[k].repeat });
        francis_close(host);
        while (!over) {
            pid_t pid = child_start(crowd_body, (void *)(uintptr_t)path);
            lives++;
            assert_true(lives < MOST);
            for (;;) {
                sqlite3 *db;
                if (waitpid(pid, &status, WNOHANG) == pid)
                    break;
                db = raw_open(path);
                /* dead and told, or given up; and nothing else is left but its next occurrence */
                over = raw_int(db, "SELECT count(*) FROM francis_alarms"
                                   " WHERE alarm_due_time <= CAST(?1 AS INTEGER)",
                               due, NULL) == 0 &&
                       (!list[k].job || atomic_load(&all->hooks) == 1);
                (void)sqlite3_close(db);
                if (over) {
                    atomic_store(&all->leave, true);
                    status = child_wait_for(pid, 60000);
                    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                    break;
                }
                (void)nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
            }
            if (!over)
                assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        }
        assert_int_equal(atomic_load(&all->runs[50]), 5);           /* crashes_max */
        assert_int_equal(lives, 6);
        host = t_start(&desc, none);
        ctx = francis_host_ctx(host);
        assert_int_equal(rows(ctx, FRANCIS_LIST_DEAD_JOBS), list[k].job);
        if (list[k].job) {
            t_ok(francis_list_next(ctx, &dead));
            assert_string_equal(dead.item.job_id, bad);
            if (strstr(dead.item.error, "crash") == NULL && strstr(dead.item.error, "end") == NULL)
                fail_msg("the dead letter says \"%s\"", dead.item.error);
            francis_list_free(&dead);
        }
        francis_close(host);
        for (int i = 0; i < GOOD; i++) {
            (void)snprintf(id, sizeof id, "%d", i);
            assert_int_equal(count_of(path, id, i), 1);
        }
        assert_int_equal(count_of(path, list[k].same_actor ? "3" : "bad", 50), 0);
        assert_int_equal(count_of(path, list[k].same_actor ? "3" : "bad", 60), list[k].job);
        raw_remove(path);
    }
}

/* ---- several hosts ---- */

/* Would catch: an alarm that runs where its actor is not, or nowhere, or twice. */
static void test_where(void **state)
{
    char              path[512];
    francis_host_desc desc;
    hosts_far         far[2] = { { .types = types }, { .types = types } };
    hosts_near        near;
    (void)state;
    (void)snprintf(path, sizeof path, "%s", t_database());
    desc = hosts_desc(path, 2);
    far[0].desc = far[1].desc = desc;
    hosts_far_start(&far[0]);
    hosts_far_start(&far[1]);
    desc.workers = FRANCIS_NO_WORKERS;
    hosts_near_open(&near, &desc, types);
    t_ok(hosts_order(&far[0], HOSTS_OPEN, NULL, NULL));
    t_ok(hosts_order(&far[1], HOSTS_OPEN, NULL, NULL));
    t_ok(hosts_order(&far[0], HOSTS_ADD, "ledger", "there"));
    t_ok(hosts_order(&far[1], HOSTS_ADD, "ledger", "doomed"));
    t_ok(hosts_order(&far[1], HOSTS_ADD, "ledger", "doomed later"));
    t_ok(francis_invoke(near.ctx, "ledger", "here", "increment", NULL, 0, NULL));
    set(near.ctx, "nowhere", "x", (task){ 1, ADDS, 0, 0 }, (francis_alarm){ .delay_ms = 10 });
    set(near.ctx, "there", "x", (task){ 2, ADDS, 0, 0 }, (francis_alarm){ .delay_ms = 10 });
    dispatch(near.ctx, "there", (task){ 3, ADDS, 0, 0 }, (francis_job){ .delay_ms = 10 }, NULL);
    set(near.ctx, "here", "x", (task){ 4, ADDS, 0, 0 }, (francis_alarm){ .delay_ms = 10 });
    set(near.ctx, "doomed later", "x", (task){ 6, ADDS, 0, 0 },
        (francis_alarm){ .delay_ms = 3000 });
    hosts_until(count_of(path, "nowhere", 1) == 1 && count_of(path, "there", 2) == 1 &&
                count_of(path, "there", 3) == 1 && count_of(path, "here", 4) == 1);
    assert_int_equal(atomic_load(&all->pid[2]), far[0].pid);
    assert_int_equal(atomic_load(&all->pid[3]), far[0].pid);
    assert_int_equal(atomic_load(&all->pid[4]), getpid());
    hosts_far_kill(&far[1]);
    set(near.ctx, "doomed", "x", (task){ 5, ADDS, 0, 0 }, (francis_alarm){ .delay_ms = 10 });
    hosts_until(count_of(path, "doomed", 5) == 1 && count_of(path, "doomed later", 6) == 1);
    assert_true(rows(near.ctx, FRANCIS_LIST_ALARMS) + rows(near.ctx, FRANCIS_LIST_JOBS) == 0);
    for (int i = 1; i <= 6; i++)
        assert_int_equal(atomic_load(&all->runs[i]), 1);
    hosts_far_end(&far[0]);
    hosts_near_close(&near);
}

/* Would catch: a job elsewhere that cannot be cancelled once it runs, or counts nevertheless. Hosts
 * that can call each other tell it, too. */
static void test_cancel_elsewhere(void **state)
{
    (void)state;
    for (int cluster = 0; cluster < 2; cluster++) {
        char              path[512], id[40], mine[40], its[40];
        francis_host_desc desc;
        hosts_far         far = { .types = types };
        hosts_near        near;
        (void)memset(all, 0, sizeof *all);
        (void)snprintf(path, sizeof path, "%s", t_database());
        free_address(mine);
        free_address(its);
        desc = hosts_desc(path, 2);
        desc.cluster_key = cluster ? "a key of at least thirty-two bytes" : NULL;
        desc.address = cluster ? its : NULL;
        far.desc = desc;
        hosts_far_start(&far);
        desc.workers = FRANCIS_NO_WORKERS;
        desc.address = cluster ? mine : NULL;
        hosts_near_open(&near, &desc, types);
        t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
        t_ok(hosts_order(&far, HOSTS_ADD, "ledger", "a"));
        dispatch(near.ctx, "a", (task){ 1, WAITS_TO_BE_TOLD, 0, 0 }, (francis_job){ .due_ms = 1 },
                 id);
        hosts_until(atomic_load(&all->inside[1]) == 1);
        assert_int_equal(atomic_load(&all->pid[1]), far.pid);
        t_ok(francis_job_cancel(near.ctx, id, NULL));
        t_result(francis_job_cancel(near.ctx, id, NULL), FRANCIS_ERR_NOT_FOUND);
        if (!cluster)
            atomic_store(&all->open, true);
        hosts_until(atomic_load(&all->inside[1]) == 0);
        if (cluster)
            assert_int_equal(atomic_load(&all->told[1]), FRANCIS_ERR_CANCELLED);
        /* the actor goes on, and nothing of it is left */
        dispatch(near.ctx, "a", (task){ 2, ADDS, 0, 0 }, (francis_job){ .due_ms = 1 }, NULL);
        hosts_until(count_of(path, "a", 2) == 1);
        assert_string_equal(ledger_of(path, "a"), "2");
        assert_int_equal(atomic_load(&all->runs[1]), 1);
        assert_int_equal(rows(near.ctx, FRANCIS_LIST_DEAD_JOBS), 0);
        hosts_far_end(&far);
        hosts_near_close(&near);
    }
}

/* Would catch: a series that stands still, loses or repeats one when its host leaves in peace. */
static void test_hand_over(void **state)
{
    char              path[512];
    francis_host_desc desc;
    hosts_far         far = { .types = types };
    hosts_near        near;
    int64_t           base;
    (void)state;
    (void)snprintf(path, sizeof path, "%s", t_database());
    desc = hosts_desc(path, 2);
    far.desc = desc;
    hosts_far_start(&far);
    desc.workers = FRANCIS_NO_WORKERS;
    hosts_near_open(&near, &desc, types);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    t_ok(hosts_order(&far, HOSTS_ADD, "ledger", "a"));
    base = wall_ms();
    set(near.ctx, "a", "x", (task){ 1, SERIES, base, 50 },
        (francis_alarm){ .due_ms = base, .repeat_ms = 50, .missed = FRANCIS_MISSED_ALL });
    hosts_until(count_of(path, "a", 1) >= 5);
    assert_int_equal(atomic_load(&all->pid[1]), far.pid);
    hosts_far_end(&far);
    hosts_until(atomic_load(&all->pid[1]) == getpid() && count_of(path, "a", 1) >= 40);
    assert_int_equal(count_of(path, "a", 2), 0);
    t_ok(francis_alarm_delete(near.ctx, &(francis_alarm){ .type = "ledger", .id = "a",
                                                          .name = "x" }, NULL));
    hosts_near_close(&near);
}

/* Would catch: a handler that is repeated elsewhere because it is slower than a lease; one whose
 * host was stopped, taken for dead, and then wakes up and counts. */
static void test_slow_and_stopped(void **state)
{
    for (int stopping = 0; stopping < 2; stopping++) {
        char              path[512];
        francis_host_desc desc;
        hosts_far         far = { .types = types };
        hosts_near        near;
        int64_t           end;
        (void)state;
        (void)memset(all, 0, sizeof *all);
        (void)snprintf(path, sizeof path, "%s", t_database());
        desc = hosts_desc(path, 2);
        desc.health_deadline_ms = t_slow() ? 3000 : 1000;
        far.desc = desc;
        hosts_far_start(&far);
        desc.workers = FRANCIS_NO_WORKERS;
        hosts_near_open(&near, &desc, types);
        t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
        t_ok(hosts_order(&far, HOSTS_ADD, "ledger", "a"));
        set(near.ctx, "a", "x", (task){ 1, WAITS, 0, 0 }, (francis_alarm){ .delay_ms = 1 });
        set(near.ctx, "a", "behind", (task){ 2, ADDS, 0, 0 }, (francis_alarm){ .delay_ms = 2 });
        hosts_until(atomic_load(&all->inside[1]) == 1);
        assert_int_equal(atomic_load(&all->pid[1]), far.pid);
        if (stopping) {
            int status;
            assert_int_equal(kill(far.pid, SIGSTOP), 0);
            assert_int_equal(waitpid(far.pid, &status, WUNTRACED), far.pid);
            assert_true(WIFSTOPPED(status));
        }
        end = t_ms() + 3 * desc.health_deadline_ms;
        while (t_ms() < end && !stopping) {                 /* several leases */
            hosts_pump();
            assert_int_equal(atomic_load(&all->runs[1]), 1);
        }
        if (stopping) {             /* it is taken over, and done here */
            atomic_store(&all->open, true);
            hosts_until(count_of(path, "a", 1) == 1 && count_of(path, "a", 2) == 1);
            assert_int_equal(atomic_load(&all->pid[1]), getpid());
            assert_int_equal(kill(far.pid, SIGCONT), 0);
            hosts_until(atomic_load(&all->inside[1]) == 0);
            hosts_until((t_ok(hosts_order(&far, HOSTS_LOOK, NULL, NULL)), far.report.lives == 2));
        } else {
            atomic_store(&all->open, true);
            hosts_until(count_of(path, "a", 2) == 1);
            assert_int_equal(atomic_load(&all->most[1]), 1);
        }
        assert_string_equal(ledger_of(path, "a"), "1 2");
        assert_int_equal(rows(near.ctx, FRANCIS_LIST_ALARMS), 0);
        hosts_far_end(&far);
        hosts_near_close(&near);
    }
}

/* A process with a host that runs until it is killed or told to leave. */
typedef struct {
    char path[512];
    int  workers;
} storm_child;

static void storm_body(void **state)
{
    const storm_child *c = (const storm_child *)*state;
    francis_host_desc  desc = desc_of(c->path, c->workers);
    francis_host      *host = t_start(&desc, types);
    int64_t            end = t_ms() + 200000;
    while (!atomic_load(&all->leave) && t_ms() < end) {
        if (c->workers == FRANCIS_NO_WORKERS)
            (void)francis_poll(host, 10);
        else
            t_yield();
    }
    francis_close(host);
}

enum { STORM_HOSTS = 4, SERIES_MS = 100, JOBS = 600 };

/* Would catch: an occurrence or a job that is lost or counts twice, when of several hosts one is
 * killed and started again all the time. */
static void test_storm(void **state)
{
    static storm_child child[STORM_HOSTS];
    static const francis_actor_desc none[] = {
        { .type = "other", .methods = methods, .state_size = 8 }, { .type = NULL }
    };
    const int         times = t_slow() ? 40 : 100;
    francis_host_desc desc;
    francis_host     *host;
    francis_ctx      *ctx;
    pid_t             pids[STORM_HOSTS];
    char              path[512], id[16];
    int64_t           base, end;
    unsigned          kills = 0, random = (unsigned)getpid();
    sqlite3          *db;
    (void)state;
    (void)snprintf(path, sizeof path, "%s", t_database());
    desc = desc_of(path, FRANCIS_NO_WORKERS);
    host = t_start(&desc, none);
    ctx = francis_host_ctx(host);
    base = wall_ms() + 500;
    for (int i = 0; i < ACTORS; i++) {
        (void)snprintf(id, sizeof id, "%d", i);
        set(ctx, id, "tick", (task){ 0, SERIES, base, SERIES_MS },
            (francis_alarm){ .due_ms = base, .repeat_ms = SERIES_MS,
                             .missed = FRANCIS_MISSED_ALL, .missed_max = 1000000,
                             .until_ms = base + (times - 1) * SERIES_MS });
    }
    for (int i = 0; i < JOBS; i++) {
        (void)snprintf(id, sizeof id, "%d", i % ACTORS);
        dispatch(ctx, id, (task){ 10 + i / ACTORS, ADDS, 0, 0 },
                 (francis_job){ .due_ms = base + i * (int64_t)times * SERIES_MS / JOBS }, NULL);
    }
    francis_close(host);
    for (int i = 0; i < STORM_HOSTS; i++) {
        (void)snprintf(child[i].path, sizeof child[i].path, "%s", path);
        child[i].workers = i % 2 ? FRANCIS_NO_WORKERS : 2;
        pids[i] = child_start(storm_body, &child[i]);
        hosts_pid_keep(pids[i], true);
    }
    end = t_ms() + (base - wall_ms()) + times * SERIES_MS;
    while (t_ms() < end) {
        unsigned        who;
        struct timespec pause = { 0, 0 };
        random = random * 1103515245u + 12345u;
        who = random >> 16 & 3;
        pause.tv_nsec = (long)(50 + (random >> 18 & 255)) * 1000000;
        (void)nanosleep(&pause, NULL);
        hosts_pid_keep(pids[who], false);
        child_kill(pids[who]);
        kills++;
        pids[who] = child_start(storm_body, &child[who]);
        hosts_pid_keep(pids[who], true);
    }
    db = raw_open(path);
    t_until(raw_int(db, "SELECT count(*) FROM francis_alarms", NULL, NULL) == 0);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_dead_jobs", NULL, NULL), 0);
    (void)sqlite3_close(db);
    atomic_store(&all->leave, true);
    for (int i = 0; i < STORM_HOSTS; i++) {
        int status = child_wait_for(pids[i], 60000);
        hosts_pid_keep(pids[i], false);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (int i = 0; i < ACTORS; i++) {
        ledger l;
        db = raw_open(path);
        (void)snprintf(id, sizeof id, "%d", i);
        assert_true(raw_state(db, "ledger", id, &l, sizeof l));
        (void)sqlite3_close(db);
        if (l.count[0] != times || l.count[1] != 0)
            fail_msg("actor %d: %u of %d occurrences, %u gaps", i, l.count[0], times, l.count[1]);
        for (int k = 0; k < JOBS / ACTORS; k++)
            if (l.count[10 + k] != 1)
                fail_msg("actor %d: job %d counts %u times", i, k, l.count[10 + k]);
    }
    assert_int_equal(atomic_load(&all->logged[501]) + atomic_load(&all->logged[503]), 0);
    print_message("%u kills\n", kills);
    assert_true(kills > 5);
}

/* ---- a million ---- */

static fault_vfs        disk;
static francis_platform counting = { .version = 1, .sqlite_vfs = "durable" };

typedef struct {
    size_t bytes, peak;
} memory;

static void *count_memory(void *old, size_t size_old, size_t size_new, void *user)
{
    memory *m = (memory *)user;
    void   *p = NULL;
    if (size_new == 0) {
        free(old);
        m->bytes -= size_old;
        return NULL;
    }
    p = realloc(old, size_new);
    if (p != NULL) {
        m->bytes = m->bytes - size_old + size_new;
        if (m->bytes > m->peak)
            m->peak = m->bytes;
    }
    return p;
}

static int64_t resident_kb(void)
{
    char    line[200];
    int64_t kb = 0;
    FILE   *f = fopen("/proc/self/status", "r");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = atoll(line + 6);
    (void)fclose(f);
    return kb;
}

static cost costs_of(const char *path)
{
    static memory     m;
    francis_host_desc desc = desc_of(path, FRANCIS_NO_WORKERS);
    francis_host     *host;
    francis_ctx      *ctx;
    francis_stats     s;
    cost              c;
    (void)memset(&m, 0, sizeof m);
    (void)memset(&c, 0, sizeof c);
    desc.platform = &counting;
    desc.on_alloc = count_memory;
    desc.alloc_user = &m;
    fault_vfs_heal(&disk);
    host = t_start(&desc, types);
    ctx = francis_host_ctx(host);
    t_ok(francis_invoke(ctx, "ledger", "first", "increment", NULL, 0, NULL));
    c.reads = fault_vfs_count(&disk, FAULT_READ, FAULT_DB | FAULT_WAL);
    fault_vfs_heal(&disk);
    set(ctx, "first", "x", (task){ 1, ADDS, 0, 0 }, (francis_alarm){ .delay_ms = 1500 });
    do {
        t_ok(francis_poll(host, 10));
        francis_stats_get(host, &s);
    } while (s.alarms_fired == 0);
    c.alarm_reads = fault_vfs_count(&disk, FAULT_READ, FAULT_DB | FAULT_WAL);
    c.peak = m.peak;
    c.rss = resident_kb();
    francis_close(host);
    assert_int_equal(m.bytes, 0);
    return c;
}

static void add_alarms(const char *path, int64_t count, int64_t due_ms, int64_t every,
                       const char *prefix)
{
    sqlite3 *db = raw_open(path);
    char     sql[1000];
    task     t = { 2, ADDS, 0, 0 };
    char     data[2 * sizeof t + 1];
    for (size_t i = 0; i < sizeof t; i++)
        (void)snprintf(data + 2 * i, 3, "%02x", ((const unsigned char *)&t)[i]);
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA synchronous = OFF; BEGIN;"
                   "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %lld)"
                   " INSERT INTO francis_alarms(alarm_id, actor_type, actor_id, alarm_name,"
                   " alarm_due_time, alarm_data, ext_look)"
                   " SELECT printf('%%08x-%s-7000-8000-%%012x', i, i), 'ledger',"
                   " printf('%s%%d', i), 'x', %lld + i * %lld, x'%s', %lld + i * %lld FROM n;"
                   "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
                   (long long)count - 1, prefix, prefix, (long long)due_ms, (long long)every, data,
                   (long long)due_ms, (long long)every);
    raw_exec(db, sql);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_alarms"
                                 " WHERE actor_id GLOB ?1 || '*'", prefix, NULL), count);
    (void)sqlite3_close(db);
}

typedef struct {
    const char *path;
    cost       *out;
} costing;

static void costs_body(void **state)
{
    costing *c = (costing *)*state;
    *c->out = costs_of(c->path);
}

/* Would catch: a start that looks at every alarm, a memory that holds them, a look for what is due
 * that goes through what is not. Each file is opened in a process of its own. */
static void test_million(void **state)
{
    const int64_t count = t_slow() ? 100000 : 1000000;
    char          empty[512], full[512];
    cost         *few = &all->few, *many = &all->many;
    (void)state;
    (void)snprintf(empty, sizeof empty, "%s", t_database());
    (void)snprintf(full, sizeof full, "%s", t_database());
    child_run(costs_body, &(costing){ empty, few });
    child_run(costs_body, &(costing){ full, few });         /* makes the file */
    add_alarms(full, count, wall_ms() + FRANCIS_HOURS(1), 100, "abcd");
    child_run(costs_body, &(costing){ empty, few });
    child_run(costs_body, &(costing){ full, many });
    print_message("%lld alarms: %lu reads (%lu), an alarm %lu (%lu), %zu bytes (%zu), rss %lld kB"
                  " (%lld)\n",
                  (long long)count, many->reads, few->reads, many->alarm_reads, few->alarm_reads,
                  many->peak, few->peak, (long long)many->rss, (long long)few->rss);
    /* B-trees are deeper, that is all */
    assert_in_range(many->reads, 0, few->reads + 100);
    assert_in_range(many->alarm_reads, 0, few->alarm_reads + 200);
    assert_in_range(many->peak, 0, few->peak + 4 * 1024 * 1024);
    if (!t_slow())
        assert_in_range(many->rss, 0, few->rss + 64 * 1024);
    raw_remove(full);
}

/* Would catch: many that are overdue at once and are all taken into memory, or of which some are
 * never found. */
static void test_many_overdue(void **state)
{
    const int64_t     count = t_slow() ? 3000 : 30000;
    const char       *path = t_database();
    static memory     m;
    francis_host_desc desc = desc_of(path, FRANCIS_NO_WORKERS);
    francis_host     *host = t_start(&desc, types);
    francis_stats     s;
    int64_t           end;
    sqlite3          *db;
    (void)state;
    francis_close(host);
    add_alarms(path, count, 1, 1, "abcd");
    (void)memset(&m, 0, sizeof m);
    desc.on_alloc = count_memory;
    desc.alloc_user = &m;
    host = t_start(&desc, types);
    end = t_ms() + 120000;
    do {
        (void)francis_poll(host, 10);
        francis_stats_get(host, &s);
        assert_true(t_ms() < end);
    } while (s.alarms_fired < (uint64_t)count);
    assert_int_equal(s.alarms_fired, count);
    print_message("%lld overdue: peak %zu bytes, %llu active\n", (long long)count, m.peak,
                  (unsigned long long)s.active);
    francis_close(host);
    db = raw_open(path);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_alarms", NULL, NULL), 0);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_actor_state WHERE"
                                 " substr(hex(actor_state_data), 5, 2) = '01'", NULL, NULL), count);
    (void)sqlite3_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kill_at_every_point),
        TEST(test_crashing),
        TEST(test_where),
        TEST(test_cancel_elsewhere),
        TEST(test_hand_over),
        TEST(test_slow_and_stopped),
        TEST(test_storm),
        TEST(test_million),
        TEST(test_many_overdue),
    };
    int failed;
    if (fault_vfs_register(&disk, "durable") != SQLITE_OK)
        return 2;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("durable", tests, NULL, NULL);
    t_clean();
    return failed == 0 ? 0 : 1;
}
