/* A process with a host forks. The child has a copy of all memory, of all descriptors, and of no
 * thread; it must not do anything to the database, and the parent must not notice it. */
#include "support/t.h"

#include "support/child.h"
#include "support/counters.h"

#include <dirent.h>
#include <poll.h>
#include <stdatomic.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Sends back what comes. */
static francis_result flow(francis_ctx *ctx)
{
    char           data[16];
    size_t         size;
    francis_result r;
    while ((r = francis_stream_read(ctx, ctx->stream, data, sizeof data, &size)) == FRANCIS_OK)
        if ((r = francis_stream_write(ctx, ctx->stream, data, size)) != FRANCIS_OK)
            return r;
    if (r == FRANCIS_PENDING)
        return francis_await(ctx, flow, NULL);
    return r == FRANCIS_DONE ? FRANCIS_OK : r;
}

static const francis_method methods[] = {
    { "flow", flow, FRANCIS_STREAM, 0 },
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};

static atomic_int deactivated;      /* of this process */

static francis_result goes(francis_ctx *ctx)
{
    (void)ctx;
    atomic_fetch_add(&deactivated, 1);
    return FRANCIS_OK;
}

static const francis_actor_desc types[] = {
    { .type = "counter", .methods = methods, .state_size = sizeof(counter_state),
      .deactivate = goes },
    { .type = NULL }
};

static t_log logs;

static francis_host_desc fork_desc(const char *path, bool workers)
{
    francis_host_desc desc = { .database = path,
                               .workers = workers ? 2 : FRANCIS_NO_WORKERS,
                               .timeout_ms = FRANCIS_SECONDS(60),
                               .busy_timeout_ms = 300,
                               .on_log = t_log_sink,
                               .log_user = &logs };
    return desc;
}

/* A host beside it, in this process: the one that there is counts as alive, and has this actor. */
static void still_there(francis_host *host, const francis_host_desc *desc, const char *id)
{
    francis_host *second = t_start(desc, types);
    francis_call  call = { 0 };
    francis_stats stats;
    char          owner[60];
    francis_stats_get(host, &stats);
    (void)snprintf(owner, sizeof owner, "host %s", stats.host_id);
    t_result(francis_invoke(francis_host_ctx(second), "counter", id, "increment", NULL, 0, &call),
             FRANCIS_ERR_MOVED);
    if (strstr(call.error, owner) == NULL)
        fail_msg("\"%s\" does not name %s", call.error, owner);
    francis_call_free(&call);
    francis_stats_get(second, &stats);
    assert_int_equal(stats.evictions, 0);
    francis_close(second);
}

static int lock_files(const char *path)
{
    const char    *slash = strrchr(path, '/');
    char           prefix[100];
    DIR           *d = opendir(t_dir());
    struct dirent *e;
    int            n = 0;
    assert_non_null(d);
    (void)snprintf(prefix, sizeof prefix, "%s-host-", slash + 1);
    while ((e = readdir(d)) != NULL)
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    (void)closedir(d);
    return n;
}

/* The same with all that may be scheduled, and with a stream that the parent has opened. */
static int child_uses_more(francis_host *host, francis_stream *stream)
{
    francis_ctx        *ctx = francis_host_ctx(host);
    francis_stream_desc flow = { .type = "counter", .id = "c0", .method = "flow" };
    francis_stream     *other = stream;
    francis_alarm       alarm = { .type = "counter", .id = "c0", .name = "n" };
    francis_job         job = { .type = "counter", .id = "c0", .method = "m" };
    struct pollfd       fds[4];
    char                data[4];
    size_t              size = 4;

    if (francis_alarm_set(ctx, &alarm, NULL) != FRANCIS_ERR_USAGE)
        return 30;
    if (francis_alarm_delete(ctx, &alarm, NULL) != FRANCIS_ERR_USAGE)
        return 31;
    if (francis_job_dispatch(ctx, &job, NULL) != FRANCIS_ERR_USAGE)
        return 32;
    if (francis_job_cancel(ctx, "id", NULL) != FRANCIS_ERR_USAGE)
        return 33;
    if (francis_job_retry(ctx, "id", NULL) != FRANCIS_ERR_USAGE)
        return 34;
    if (francis_stream_open(ctx, &flow, &other) != FRANCIS_ERR_USAGE || other != NULL)
        return 35;
    if (francis_stream_read(ctx, stream, data, sizeof data, &size) != FRANCIS_ERR_USAGE ||
        size != 0)
        return 36;
    if (francis_stream_write(ctx, stream, "x", 1) != FRANCIS_ERR_USAGE)
        return 37;
    if (francis_stream_end(ctx, stream) != FRANCIS_ERR_USAGE)
        return 38;
    if (francis_stream_set_type(stream, "a/b") != FRANCIS_ERR_USAGE)
        return 39;
    if (francis_stream_type(stream)[0] != '\0' || francis_stream_error(stream)[0] != '\0')
        return 40;
    francis_stream_keep(stream);
    francis_stream_close(stream);   /* it is the parent's */
    if (francis_run(host) != FRANCIS_ERR_USAGE)
        return 41;
    if (francis_fd(host) != -1 || francis_timeout(host) != FRANCIS_FOREVER)
        return 42;
    (void)francis_pollfds(host, fds, 4);
    return 0;
}

/* What the child does with the parent's host. Returns the number of the step that was wrong, for
 * the asserts belong to the parent. */
static int child_uses_host(francis_host *host, francis_call *under_way)
{
    francis_ctx   *ctx = francis_host_ctx(host);
    francis_call   call = { 0 };
    francis_list   list = { .what = FRANCIS_LIST_STATES };
    francis_stats  stats;
    francis_health health;
    francis_actor_desc more = { .type = "more", .methods = methods };

    if (francis_invoke(ctx, "counter", "c0", "increment", NULL, 0, &call) != FRANCIS_ERR_USAGE)
        return 10;
    if (call.error == NULL || call.error[0] == '\0')
        return 11;
    call.async = true;
    if (francis_invoke(ctx, "counter", "c0", "increment", NULL, 0, &call) != FRANCIS_ERR_USAGE)
        return 12;
    call.async = false;
    if (francis_peek(ctx, "counter", "c0", "get", NULL, 0, &call) != FRANCIS_ERR_USAGE)
        return 13;
    if (francis_send(ctx, "counter", "c0", "increment", NULL, 0) != FRANCIS_ERR_USAGE)
        return 14;
    if (francis_state_read(ctx, "counter", "c0", &call) != FRANCIS_ERR_USAGE)
        return 15;
    if (francis_state_write(ctx, "counter", "c0", NULL, 0, 0, &call) != FRANCIS_ERR_USAGE)
        return 16;
    if (francis_purge(ctx, "counter", "c0", &call) != FRANCIS_ERR_USAGE)
        return 17;
    if (francis_halt(ctx, "counter", "c0", &call) != FRANCIS_ERR_USAGE)
        return 18;
    if (francis_halt_all(ctx, &call) != FRANCIS_ERR_USAGE)
        return 19;
    if (francis_list_next(ctx, &list) != FRANCIS_ERR_USAGE)
        return 20;
    francis_list_free(&list);
    if (francis_poll(host, 0) != FRANCIS_ERR_USAGE)
        return 21;
    if (francis_start(host) != FRANCIS_ERR_USAGE)
        return 22;
    if (francis_register(host, &more) != FRANCIS_ERR_USAGE)
        return 23;
    if (under_way != NULL) {        /* the parent's call; here nobody will answer it */
        francis_result r = francis_wait(ctx, under_way);
        if (r == FRANCIS_OK || r == FRANCIS_PENDING)
            return 24;
        francis_call_free(under_way);
    }
    francis_call_free(&call);
    francis_stats_get(host, &stats);
    francis_health_get(host, &health);
    (void)francis_host_error(host);
    (void)francis_timeout(host);
    francis_stop(host);             /* must not stop the parent's, whose pipe it shares */
    francis_close(host);
    if (atomic_load(&deactivated) != 0)
        return 25;
    return 0;
}

/* Would catch: a child that writes through the inherited connection, that waits for threads which
 * it does not have, that takes the parent's lock file or row with it, that wakes or stops the
 * parent through a shared descriptor. */
static void test_child_uses_host(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = fork_desc(path, (variant & 1) != 0);
        francis_host     *host = t_start(&desc, types);
        francis_ctx      *ctx = francis_host_ctx(host);
        francis_call      under_way = { .async = true };
        counter_model     m;
        int               files, status;
        pid_t             pid;
        model_init(&m, "c", 0);
        t_ok(model_increment(&m, ctx, "counter"));
        files = lock_files(path);
        if ((variant & 2) != 0)     /* with workers perhaps answered already; without: not */
            t_result(francis_invoke(ctx, "counter", "c0", "increment", NULL, 0, &under_way),
                     FRANCIS_PENDING);
        (void)fflush(stdout);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            atomic_store(&deactivated, 0);
            _exit(child_uses_host(host, variant == 2 ? &under_way : NULL));
        }
        status = child_wait_for(pid, 60000);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("variant %d: the child ends with status %d, step %d", variant, status,
                     WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        if ((variant & 2) != 0) {
            t_ok(francis_wait(ctx, &under_way));
            model_answer(&m, under_way.result, under_way.data, under_way.size);
            francis_call_free(&under_way);
        }
        for (int i = 0; i < 5; i++)
            t_ok(model_increment(&m, ctx, "counter"));
        t_ok(francis_poll(host, 0));
        assert_int_equal(lock_files(path), files);
        still_there(host, &desc, "c0");
        t_ok(model_increment(&m, ctx, "counter"));
        francis_close(host);
        {
            sqlite3 *db = raw_open(path);
            model_stored(&m, db, "counter");
            raw_check(db);
            (void)sqlite3_close(db);
        }
    }
}

/* Would catch: a child that ends, reads or closes what the parent streams, or waits for it. */
static void test_child_uses_stream(void **state)
{
    (void)state;
    for (int workers = 0; workers < 2; workers++) {
        francis_host_desc   desc = fork_desc(t_database(), workers != 0);
        francis_host       *host = t_start(&desc, types);
        francis_ctx        *ctx = francis_host_ctx(host);
        francis_stream_desc open = { .type = "counter", .id = "c0", .method = "flow" };
        francis_stream     *stream;
        char                data[16];
        size_t              size;
        int                 status;
        pid_t               pid;
        t_ok(francis_stream_open(ctx, &open, &stream));
        t_ok(francis_stream_write(ctx, stream, "ab", 2));
        t_ok(francis_stream_read(ctx, stream, data, sizeof data, &size));
        assert_int_equal(size, 2);
        (void)fflush(stdout);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(child_uses_more(host, stream));
        status = child_wait_for(pid, 60000);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("the child ends with status %d, step %d", status,
                     WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        t_ok(francis_stream_write(ctx, stream, "cd", 2));
        t_ok(francis_stream_end(ctx, stream));
        t_ok(francis_stream_read(ctx, stream, data, sizeof data, &size));
        assert_memory_equal(data, "cd", 2);
        t_result(francis_stream_read(ctx, stream, data, sizeof data, &size), FRANCIS_DONE);
        francis_stream_close(stream);
        francis_close(host);
    }
}

/* A child that just ends, without a word to the host; and one that opens a host of its own. Would
 * catch: a handler at exit, state of the process that is shared between hosts. */
static void test_child_goes_its_own_way(void **state)
{
    const char       *path = t_database();
    char              other[512];
    francis_host_desc desc = fork_desc(path, false);
    francis_host     *host;
    counter_model     m;
    int               status;
    pid_t             pid;
    (void)state;
    (void)snprintf(other, sizeof other, "%s", t_database());
    host = t_start(&desc, types);
    model_init(&m, "c", 0);
    t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
    (void)fflush(stdout);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(0);
    assert_int_equal(child_wait_for(pid, 60000), 0);
    t_ok(model_increment(&m, francis_host_ctx(host), "counter"));

    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        francis_host_desc own = fork_desc(other, false);
        francis_host     *mine = NULL;
        int               wrong = 0;
        (void)francis_open(&mine, &own);
        (void)francis_register(mine, &types[0]);
        if (francis_start(mine) != FRANCIS_OK)
            wrong = 1;
        else if (francis_invoke(francis_host_ctx(mine), "counter", "c0", "increment", NULL, 0,
                                NULL) != FRANCIS_OK)
            wrong = 2;
        francis_close(mine);
        francis_close(host);
        _exit(wrong);
    }
    status = child_wait_for(pid, 60000);
    assert_int_equal(status, 0);
    t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
    still_there(host, &desc, "c0");
    francis_close(host);
    {
        sqlite3 *db = raw_open(other);
        counter_state c;
        assert_true(raw_state(db, "counter", "c0", &c, sizeof c));
        assert_int_equal(c.n, 1);
        (void)sqlite3_close(db);
    }
}

typedef struct {
    francis_ctx  *ctx;
    unsigned      number;
    atomic_bool  *stop;
    counter_model model;
    const char   *wrong;
} load;

static void *load_thread(void *arg)
{
    load *l = (load *)arg;
    while (!atomic_load(l->stop)) {
        francis_call   call = { 0 };
        francis_result r = francis_invoke(l->ctx, "counter", l->model.id, "increment", NULL, 0,
                                          &call);
        if (r != FRANCIS_OK || *(const int64_t *)call.data != l->model.lo + 1)
            l->wrong = francis_result_name(r);
        l->model.lo = ++l->model.hi;
        francis_call_free(&call);
        if (l->wrong != NULL)
            break;
    }
    return NULL;
}

/* Forks at random moments while the other threads hold whatever locks they hold. Would catch: a
 * child that waits in francis_close, or in any call, for a lock whose owner does not exist there.
 */
static void test_fork_under_load(void **state)
{
    enum { LOADS = 3 };
    const char       *path = t_database();
    francis_host_desc desc = fork_desc(path, true);
    francis_host     *host;
    static atomic_bool stop;        /* static: they outlive a test that fails */
    static load        loads[LOADS];
    pthread_t         threads[LOADS];
    sqlite3          *db;
    (void)state;
    if (SANITIZED) {
        print_message("skipped: a sanitizer's allocator has locks that do not survive a fork\n");
        skip();
    }
    host = t_start(&desc, types);
    atomic_init(&stop, false);
    (void)memset(loads, 0, sizeof loads);
    for (unsigned i = 0; i < LOADS; i++) {
        loads[i].ctx = francis_host_ctx(host);
        loads[i].stop = &stop;
        model_init(&loads[i].model, "load", i);
        assert_int_equal(pthread_create(&threads[i], NULL, load_thread, &loads[i]), 0);
    }
    for (int i = 0; i < (t_slow() ? 20 : 150); i++) {
        int   status;
        pid_t pid;
        (void)fflush(stdout);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            atomic_store(&deactivated, 0);
            if (i % 3 == 0) {       /* close alone, which must not wait either */
                francis_close(host);
                _exit(0);
            }
            _exit(child_uses_host(host, NULL));
        }
        status = child_wait_for(pid, 20000);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("fork %d: the child ends with status %d, step %d", i, status,
                     WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < LOADS; i++) {
        (void)pthread_join(threads[i], NULL);
        if (loads[i].wrong != NULL)
            fail_msg("a caller of the parent got %s", loads[i].wrong);
        assert_true(loads[i].model.lo > 0);
    }
    still_there(host, &desc, "load0");
    francis_close(host);
    db = raw_open(path);
    for (int i = 0; i < LOADS; i++)
        model_stored(&loads[i].model, db, "counter");
    raw_check(db);
    (void)sqlite3_close(db);
}

typedef struct {
    const char *path;
    bool        workers;
    int         ready[2], go[2], done[2];
} orphan;

/* The parent: a host, and a child that outlives it. */
static void orphan_body(void **state)
{
    orphan           *o = (orphan *)*state;
    francis_host_desc desc = fork_desc(o->path, o->workers);
    francis_host     *host = t_start(&desc, types);
    int64_t           n = 0;
    pid_t             pid;
    char              c;
    (void)close(o->ready[0]);
    (void)close(o->go[1]);
    (void)close(o->done[0]);
    for (int i = 0; i < 10; i++) {
        t_ok(francis_invoke(francis_host_ctx(host), "counter", "c0", "increment", NULL, 0, NULL));
        n++;
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(o->ready[1]);
        if (!child_read(o->go[0], &c, 1))   /* the test has failed: no orphan is left */
            _exit(0);
        francis_close(host);
        child_write(o->done[1], "x", 1);
        (void)child_read(o->go[0], &c, 1);
        _exit(0);
    }
    child_write(o->ready[1], &n, sizeof n);
    for (;;)
        (void)pause();
}

/* The parent is killed, its child lives on with all its descriptors. Would catch: a liveness lock
 * that is inherited (flock, OFD), so that the dead looks alive; a close in the orphan that takes
 * away the files of the new host. */
static void test_parent_killed_child_lives(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = fork_desc(path, variant != 0);
        orphan            o = { .path = path, .workers = variant != 0 };
        francis_host     *host;
        francis_call      call = { 0 };
        counter_model     m;
        int64_t           n = 0, begin;
        pid_t             pid;
        char              c;
        sqlite3          *db;

        assert_int_equal(pipe(o.ready), 0);
        assert_int_equal(pipe(o.go), 0);
        assert_int_equal(pipe(o.done), 0);
        pid = child_start(orphan_body, &o);
        (void)close(o.ready[1]);
        (void)close(o.go[0]);
        (void)close(o.done[1]);
        assert_true(child_read(o.ready[0], &n, sizeof n));
        child_kill(pid);
        begin = t_ms();
        host = t_start(&desc, types);
        model_init(&m, "c", 0);
        m.lo = m.hi = n;
        t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
        print_message("taken over after %d ms\n", (int)(t_ms() - begin));
        assert_true(t_ms() - begin < (t_slow() ? 20000 : 2000));
        child_write(o.go[1], "x", 1);       /* now the orphan closes */
        assert_true(child_read(o.done[0], &c, 1));
        for (int i = 0; i < 5; i++)
            t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
        t_ok(francis_state_read(francis_host_ctx(host), "counter", "c0", &call));
        francis_call_free(&call);
        still_there(host, &desc, "c0");
        (void)close(o.go[1]);               /* and ends */
        (void)close(o.ready[0]);
        (void)close(o.done[0]);
        t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
        francis_close(host);
        db = raw_open(path);
        model_stored(&m, db, "counter");
        raw_check(db);
        (void)sqlite3_close(db);
        assert_int_equal(lock_files(path), 0);
    }
}

/* A program that the application starts inherits nothing of ours. Would catch: a descriptor without
 * close-on-exec, which keeps a deleted log or a timer alive, or is written to by mistake. */
static void test_exec_inherits_nothing(void **state)
{
    (void)state;
    if (access("/proc/self/fd", R_OK) != 0) {
        print_message("skipped: no /proc/self/fd\n");
        skip();
    }
    for (int variant = 0; variant < 2; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = fork_desc(path, variant != 0);
        francis_host     *host;
        char              line[1000];
        int               before = 0, lines = 0;
        FILE             *f = popen("ls -l /proc/self/fd", "r");
        assert_non_null(f);
        while (fgets(line, sizeof line, f) != NULL)
            before++;
        (void)pclose(f);
        host = t_start(&desc, types);
        t_ok(francis_invoke(francis_host_ctx(host), "counter", "c0", "increment", NULL, 0, NULL));
        f = popen("ls -l /proc/self/fd", "r");
        assert_non_null(f);
        while (fgets(line, sizeof line, f) != NULL) {
            lines++;
            if (strstr(line, path) != NULL || strstr(line, "eventfd") != NULL ||
                strstr(line, "eventpoll") != NULL || strstr(line, "timerfd") != NULL)
                fail_msg("a child inherits %s", line);
        }
        (void)pclose(f);
        assert_int_equal(lines, before);
        t_ok(francis_invoke(francis_host_ctx(host), "counter", "c0", "increment", NULL, 0, NULL));
        francis_close(host);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child_uses_host),
        cmocka_unit_test(test_child_uses_stream),
        cmocka_unit_test(test_child_goes_its_own_way),
        cmocka_unit_test(test_fork_under_load),
        cmocka_unit_test(test_parent_killed_child_lives),
        cmocka_unit_test(test_exec_inherits_nothing),
    };
    int failed;
    (void)pthread_mutex_init(&logs.lock, NULL);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("fork", tests, NULL, NULL);
    t_clean();
    return failed;
}
