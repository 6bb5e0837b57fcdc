/* examples/worker.c as a cluster: three processes on one database that are killed, stopped and
 * ended while clients count in them over HTTP, and while alarms and jobs do. T_WORKER is the
 * program. With T_LONG the alarms and jobs are ten times as many, for a minute. */
#include "support/t.h"

#include "support/workers.h"

static worker  workers[WORKERS_MAX];
static counted all;
static timed   later;

static bool slow(void) { return getenv("T_SLOW") != NULL; }

static int set_up(void **state)
{
    (void)state;
    (void)memset(workers, 0, sizeof workers);
    (void)memset(&all, 0, sizeof all);
    (void)memset(&later, 0, sizeof later);
    later.workers = workers;
    later.workers_count = WORKERS_MAX;
    all.workers = workers;
    all.workers_count = WORKERS_MAX;
    all.ids = WORKER_IDS;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&all.allowed, 0);
    (void)counted_end(&all);
    atomic_store(&later.leave, true);
    (void)timed_end(&later);
    for (int i = 0; i < WORKERS_MAX; i++)
        worker_kill(&workers[i]);
    return 0;
}

static void start(int count, const char *wait_ms, const char *deadline_ms)
{
    const char *database = t_database();
    for (int i = 0; i < count; i++) {
        workers[i].program = getenv("T_WORKER");
        workers[i].database = database;
        workers[i].wait_ms = wait_ms;
        workers[i].deadline_ms = deadline_ms;
        if (!worker_start(&workers[i]))
            fail_msg("worker %d does not start", i);
    }
}

/* All workers have the same counts, and these are what the books say. */
static void check_counts(void)
{
    char    text[200];
    int64_t sum = -1;
    for (int i = 0; i < WORKERS_MAX; i++) {
        int64_t other = counted_check(&all, &workers[i], text, sizeof text);
        if (other < 0)
            fail_msg("worker %d: %s", i, text);
        if (i > 0)
            assert_int_equal(other, sum);
        sum = other;
    }
    print_message("%d acknowledged, %d unknown, %d repeated; the sum is %lld\n",
                  counted_sum(all.done), counted_sum(all.unknown), atomic_load(&all.again),
                  (long long)sum);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Increments over a hundred ids, while one worker after the other is killed and started again: none
 * that was acknowledged is lost, none is done twice, and the others answer for every id soon. */
static void test_kill(void **state)
{
    enum { KILLS = 5 };
    int64_t took[KILLS];
    int     step = slow() ? 400 : 2000;         /* of increments, for each kill */
    (void)state;
    start(WORKERS_MAX, NULL, NULL);
    assert_true(counted_begin(&all, 4));
    for (int k = 0; k < KILLS; k++) {
        worker *victim = &workers[k % WORKERS_MAX];
        counted_allow(&all, step);
        assert_true(counted_until(&all, k * step + step / 2));
        worker_kill(victim);
        took[k] = counted_answers_ms(&all, &workers[(k + 1) % WORKERS_MAX]);
        assert_true(took[k] >= 0);
        assert_true(worker_start(victim));
    }
    assert_true(counted_end(&all));
    qsort(took, KILLS, sizeof took[0], compare);
    print_message("after a kill every id answered within %lld ms (median of %d; at most %lld)\n",
                  (long long)took[KILLS / 2], KILLS, (long long)took[KILLS - 1]);
    assert_int_equal(counted_settled(&all), KILLS * step);
    assert_true(counted_sum(all.unknown) <= KILLS * 4 * WORKERS_MAX);   /* clients x connections */
    check_counts();
    for (int i = 0; i < WORKERS_MAX; i++)
        assert_true(worker_stop(&workers[i]));
}

/* Sends a request, and does not wait for its answer; returns the connection. */
static int send_post(const worker *w, const char *path)
{
    char text[200];
    int  fd = http_open(w->port);
    int  size = snprintf(text, sizeof text,
                         "POST %s HTTP/1.1\r\nHost: worker\r\nContent-Length: 0\r\n\r\n", path);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
    return fd;
}

static void want_all(int fds[WORKER_IDS])
{
    for (int i = 0; i < all.ids; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/peek/myactor/%d/get", i);
        fds[i] = send_post(&workers[1], path);
    }
}

static void want_none(const int fds[WORKER_IDS])
{
    for (int i = 0; i < all.ids; i++)
        (void)close(fds[i]);
}

/* Stops the first worker until the second or third one has evicted it, which they do when they want
 * its actors. If it has been stopped while it had the write lock of the database it cannot be, and
 * is stopped at another moment. */
static void stop_until_evicted(void)
{
    int     fds[WORKER_IDS];
    int64_t until = t_ms() + WORKER_PATIENCE_MS;
    assert_int_equal(kill(workers[0].pid, SIGSTOP), 0);
    want_all(fds);
    while (worker_number(&workers[1], "/status", "evictions") < 1 &&
           worker_number(&workers[2], "/status", "evictions") < 1) {
        assert_true(t_ms() < until);
        if (worker_number(&workers[1], "/healthz", "busy_process") == workers[0].pid ||
            worker_number(&workers[2], "/healthz", "busy_process") == workers[0].pid) {
            assert_int_equal(kill(workers[0].pid, SIGCONT), 0);
            worker_nap();
            assert_int_equal(kill(workers[0].pid, SIGSTOP), 0);
            want_none(fds);         /* they may have been told that the database is busy */
            want_all(fds);
        }
        worker_nap();
    }
    want_none(fds);
}

/* A worker is stopped until the others have evicted it and gone on with its actors, and continues:
 * it changes nothing of what they have written since, and serves again. */
static void test_stop(void **state)
{
    int64_t     start_ms;
    int         step = slow() ? 300 : 1500, fd = -1;
    http_answer a;
    (void)state;
    start(WORKERS_MAX, NULL, "3000");
    assert_true(counted_begin(&all, 4));
    counted_allow(&all, step);
    assert_true(counted_until(&all, step / 2));
    assert_true(worker_status(&workers[0], "myactor") > 0); /* else there is nothing to take over */
    stop_until_evicted();
    for (int i = 1; i < WORKERS_MAX; i++)
        assert_true(counted_answers_ms(&all, &workers[i]) >= 0);
    for (int i = 0; i < all.ids; i++)           /* each one is changed by its successor */
        t_until(counted_try(&all, &workers[1], &fd, i));
    (void)close(fd);
    start_ms = worker_ms();
    assert_int_equal(kill(workers[0].pid, SIGCONT), 0);
    do
        (void)http_once(workers[0].port, "POST", "/invoke/myactor/other/increment", "", &a);
    while (a.outcome != HTTP_DONE && worker_ms() < start_ms + WORKER_PATIENCE_MS);
    print_message("continued, it served again after %lld ms\n",
                  (long long)(worker_ms() - start_ms));
    assert_int_equal(a.outcome, HTTP_DONE);
    assert_true(counted_end(&all));             /* what had been sent to it as well */
    assert_true(worker_status(&workers[0], "lives") >= 2);
    check_counts();
}

/* -- requests that take long ------------------------------------------------------------------- */

enum { WAITING = 20 };

/* Whether each of them is in its turn: a call that waits for another one, here or there. They are
 * asked for at the last worker, which has known the first one from its start. */
static bool waiting_all(int count)
{
    const worker *asked = &workers[count - 1];
    int64_t       here = worker_status(asked, "myactor");
    int64_t       there = count > 1 ? worker_status(&workers[0], "myactor") : 0;
    return here + there == WAITING && worker_status(asked, "calls_in_flight") == WAITING + here
        && (count == 1 || worker_status(&workers[0], "calls_in_flight") == 2 * there);
}

static void waiting_begin(int *fds, int count)
{
    for (int i = 0; i < WAITING; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/invoke/myactor/w%d/increment-wait", i);
        fds[i] = send_post(&workers[count - 1], path);
    }
    t_until(waiting_all(count));
}

/* As many as wait do not keep others from being answered. */
static void test_wait(void **state)
{
    int fds[WAITING];
    (void)state;
    start(1, "3600000", NULL);
    waiting_begin(fds, 1);
    all.workers_count = 1;
    assert_true(counted_begin(&all, 2));
    counted_allow(&all, 200);
    assert_true(counted_end(&all));
    assert_int_equal(counted_sum(all.done), 200);
    assert_int_equal(worker_status(&workers[0], "calls_in_flight"), 2 * WAITING);
    for (int i = 0; i < WAITING; i++)
        (void)close(fds[i]);
}

/* Two workers are told to end while calls from one to the other are under way: each is answered. */
static void test_end(void **state)
{
    int fds[WAITING];
    (void)state;
    start(2, "8000", NULL);
    waiting_begin(fds, 2);
    assert_true(worker_status(&workers[1], "calls_out") > 0);
    assert_int_equal(kill(workers[0].pid, SIGTERM), 0);
    assert_int_equal(kill(workers[1].pid, SIGTERM), 0);
    assert_true(worker_ended(&workers[0]));
    assert_true(worker_ended(&workers[1]));
    for (int i = 0; i < WAITING; i++) {
        http_answer a;
        (void)memset(&a, 0, sizeof a);
        assert_true(http_read(fds[i], worker_ms() + WORKER_PATIENCE_MS, &a));
        http_understand(&a);
        assert_int_equal(a.status, 200);
        (void)close(fds[i]);
    }
}

/* -- alarms and jobs --------------------------------------------------------------------------- */

/* One request to a worker, the status of its answer, and what its text has to contain. */
static void ask(int w, const char *method, const char *path, const char *body, int status,
                const char *wanted, http_answer *a)
{
    (void)http_once(workers[w].port, method, path, body, a);
    if (a->status != status || strstr(a->text, wanted) == NULL)
        fail_msg("%s %s %s is not answered %d %s: %s", method, path, body, status, wanted, a->text);
}

static int64_t count_of(int w, const char *id)
{
    http_answer a;
    char        path[64];
    (void)snprintf(path, sizeof path, "/peek/myactor/%s/get", id);
    (void)http_once(workers[w].port, "POST", path, "", &a);
    return a.out;
}

/* Dispatches a job at the first worker and leaves its path: /job/ID. */
static void dispatch(const char *actor_and_method, const char *body, char path[64])
{
    http_answer a;
    char        to[64];
    const char *id;
    (void)snprintf(to, sizeof to, "/job/myactor/%s", actor_and_method);
    ask(0, "POST", to, body, 200, "{\"jobId\":\"", &a);
    id = strstr(a.text, "\"jobId\":\"") + 9;
    (void)snprintf(path, 64, "/job/%.*s", (int)strcspn(id, "\""), id);
}

static bool answers(int w, const char *path, int status, const char *wanted)
{
    http_answer a;
    (void)http_once(workers[w].port, "GET", path, "", &a);
    return a.status == status && strstr(a.text, wanted) != NULL;
}

/* An alarm is set at one worker, listed and deleted at the other; one that is due counts once. */
static void test_alarms(void **state)
{
    static const char path[] = "/alarm/myactor/ann/increment", list[] = "/alarms/myactor/ann";
    http_answer       a;
    (void)state;
    start(2, NULL, NULL);
    ask(1, "GET", list, "", 200, "\r\n\r\n[]\n", &a);
    ask(0, "POST", path, "{\"dueTime\":\"2099-12-31T23:59:59.250+01:00\",\"interval\":\"90s\","
        "\"ttl\":\"2100-01-01T00:00:00Z\",\"data\":{\"Hello\":[1,null,\"World\"]}}", 200, "{}", &a);
    ask(1, "GET", list, "", 200, "\"dueTime\":\"2099-12-31T22:59:59.250Z\"", &a);
    ask(1, "GET", list, "", 200, "\"interval\":\"PT1M30S\",\"ttl\":\"2100-01-01T00:00:00.000Z\","
        "\"data\":{\"Hello\":[1,null,\"World\"]},\"status\":\"waiting\",\"attempts\":0", &a);
    ask(1, "DELETE", path, "", 200, "{}", &a);
    ask(0, "DELETE", path, "", 404, "\"code\":\"not_found\"", &a);
    ask(0, "GET", list, "", 200, "\r\n\r\n[]\n", &a);
    ask(0, "POST", path, "{\"delay\":100}", 200, "{}", &a);
    t_until(count_of(1, "ann") == 1);
    t_until(answers(0, list, 200, "\r\n\r\n[]\n"));
    assert_int_equal(count_of(0, "ann"), 1);
}

/* Jobs: one that waits is found and cancelled, a key stands for one piece of work, one that fails
 * dies and can be brought back, one that is rejected is done after all. */
static void test_jobs(void **state)
{
    char        path[64], other[64], of_ann[100];
    http_answer a;
    (void)state;
    start(2, NULL, NULL);
    dispatch("ann/increment", "{\"delay\":3600000,\"idempotencyKey\":\"k\",\"data\":7}", path);
    dispatch("ann/increment", "{\"delay\":3600000,\"idempotencyKey\":\"k\",\"data\":7}", other);
    assert_string_equal(path, other);
    ask(1, "POST", "/job/myactor/ann/fail", "{\"idempotencyKey\":\"k\"}", 409, "exists", &a);
    ask(1, "GET", path, "", 200, "\"data\":7,\"status\":\"waiting\",\"attempts\":0", &a);
    ask(1, "GET", path, "", 200, "\"method\":\"increment\",\"type\":\"myactor\",\"id\":\"ann\","
        "\"idempotencyKey\":\"k\",\"failedTime\":null", &a);
    (void)snprintf(of_ann, sizeof of_ann, "/job/myactor/bob/%s", path + 5);
    ask(1, "DELETE", of_ann, "", 404, "\"not_found\"", &a);
    (void)snprintf(of_ann, sizeof of_ann, "/job/myactor/ann/%s", path + 5);
    ask(1, "DELETE", of_ann, "", 200, "{}", &a);
    ask(0, "DELETE", of_ann, "", 404, "\"not_found\"", &a);
    ask(0, "GET", path, "", 404, "\"not_found\"", &a);
    dispatch("bob/increment", "{\"idempotencyKey\":\"k\"}", path);
    t_until(count_of(1, "bob") == 1);
    t_until(answers(1, path, 404, "\"not_found\""));
    ask(1, "POST", "/job/myactor/bob/increment", "{\"idempotencyKey\":\"k\"}", 200,
        "{\"jobId\":null}", &a);
    dispatch("dan/reject", "", path);
    t_until(count_of(1, "dan") == 1);
    ask(1, "POST", "/invoke/myactor/eve/schedule-job", "", 200, "\"jobId\":\"", &a);
    t_until(count_of(1, "eve") == 1);
    assert_int_equal(count_of(0, "bob"), 1);
    assert_int_equal(count_of(0, "dan"), 1);
}

static void test_dead_jobs(void **state)
{
    char        path[64], retry[80], of_ann[100];
    http_answer a;
    const char *id;
    (void)state;
    start(2, NULL, NULL);
    dispatch("ann/fail", "{\"data\":\"x\"}", path);
    t_until(answers(1, path, 200, "\"status\":\"dead\""));
    ask(0, "GET", path, "", 200, "\"attempts\":3,\"error\":\"attempt 3 of 3", &a);
    (void)snprintf(retry, sizeof retry, "%s/retry", path);
    ask(1, "POST", retry, "", 200, "{\"jobId\":\"", &a);
    ask(0, "GET", path, "", 404, "\"not_found\"", &a);
    ask(0, "POST", retry, "", 404, "\"not_found\"", &a);
    ask(1, "POST", "/job/myactor/ann/frob", "", 404, "\"unknown_method\"", &a);
    dispatch("ann/fail", "", path);
    t_until(answers(1, path, 200, "\"status\":\"dead\""));
    id = path + 5;
    (void)snprintf(of_ann, sizeof of_ann, "/job/myactor/ann/%s", id);
    ask(1, "DELETE", of_ann, "", 200, "{}", &a);
    ask(1, "GET", path, "", 404, "\"not_found\"", &a);
    assert_int_equal(count_of(0, "ann"), 0);
}

/* Alarms go off once a second and jobs come, while one worker after the other is killed and started
 * again: each occurrence and each job has its effect once, and none is lost. */
static void test_later(void **state)
{
    bool many = getenv("T_LONG") != NULL;
    int  kills = many ? 6 : 3;
    char text[256];
    (void)state;
    later.ids = many ? 200 : 20;
    later.runs = many ? 60 : 15;
    later.jobs = many ? 2000 : 200;
    start(WORKERS_MAX, NULL, NULL);
    assert_true(timed_begin(&later));
    for (int k = 0; k < kills; k++) {
        worker *victim = &workers[k % WORKERS_MAX];
        t_until(atomic_load(&later.sent) >= (k + 1) * later.jobs / kills);
        worker_kill(victim);
        assert_true(worker_start(victim));
    }
    assert_true(timed_end(&later));
    if (!timed_until(&later, &workers[0], text, sizeof text))
        fail_msg("%s", text);
    print_message("%d jobs, %d alarms with %d occurrences each, %d kills: each effect once;"
                  " all was there %lld ms after the last one was due\n", later.jobs, later.ids,
                  later.runs, kills, (long long)(timed_now() - timed_due(&later, later.ids - 1)
                              - (int64_t)TIMED_INTERVAL_MS * (later.runs - 1)));
    for (int i = 0; i < WORKERS_MAX; i++) {
        assert_int_equal(timed_lack(&later, &workers[i], text, sizeof text), 0);
        t_until(worker_status(&workers[i], "queue_alarms") == 0);
        assert_int_equal(worker_number(&workers[i], "/healthz", "overdue_age_ms"), 0);
    }
    for (int i = 0; i < later.ids; i++) {
        (void)snprintf(text, sizeof text, "/alarms/myactor/t%d", i);
        assert_true(answers(i % WORKERS_MAX, text, 200, "\r\n\r\n[]\n"));
    }
    for (int i = 0; i < WORKERS_MAX; i++)
        assert_true(worker_stop(&workers[i]));
}

#define WORKER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WORKER_TEST(test_kill),
        WORKER_TEST(test_stop),
        WORKER_TEST(test_wait),
        WORKER_TEST(test_end),
        WORKER_TEST(test_alarms),
        WORKER_TEST(test_jobs),
        WORKER_TEST(test_dead_jobs),
        WORKER_TEST(test_later),
    };
    int failed;
    if (getenv("T_WORKER") == NULL) {
        print_error("T_WORKER is not set: ./build.sh test worker\n");
        return 2;
    }
    (void)setenv("FRANCIS_CLUSTER_KEY", "the tests are the only ones to know this key", 1);
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("worker", tests, NULL, NULL);
    t_clean();
    return failed;
}
