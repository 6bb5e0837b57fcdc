/* examples/worker.c as a cluster: three processes on one database that are killed, stopped and
 * ended while clients count in them over HTTP. T_WORKER is the program. */
#include "support/t.h"

#include "support/workers.h"

static worker  workers[WORKERS_MAX];
static counted all;

static bool slow(void) { return getenv("T_SLOW") != NULL; }

static int set_up(void **state)
{
    (void)state;
    (void)memset(workers, 0, sizeof workers);
    (void)memset(&all, 0, sizeof all);
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

/* Stops the first worker until the second or third one has evicted it, which they do when they want
 * its actors. If it has been stopped while it had the write lock of the database it cannot be, and
 * is stopped at another moment. */
static void stop_until_evicted(void)
{
    int     fds[WORKER_IDS];
    int64_t until = t_ms() + WORKER_PATIENCE_MS;
    assert_int_equal(kill(workers[0].pid, SIGSTOP), 0);
    for (int i = 0; i < all.ids; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/peek/myactor/%d/get", i);
        fds[i] = send_post(&workers[1], path);
    }
    while (worker_number(&workers[1], "/status", "evictions") < 1 &&
           worker_number(&workers[2], "/status", "evictions") < 1) {
        assert_true(t_ms() < until);
        if (worker_number(&workers[1], "/healthz", "busy_process") == workers[0].pid ||
            worker_number(&workers[2], "/healthz", "busy_process") == workers[0].pid) {
            assert_int_equal(kill(workers[0].pid, SIGCONT), 0);
            worker_nap();
            assert_int_equal(kill(workers[0].pid, SIGSTOP), 0);
        }
        worker_nap();
    }
    for (int i = 0; i < all.ids; i++)
        (void)close(fds[i]);
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

#define WORKER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WORKER_TEST(test_kill),
        WORKER_TEST(test_stop),
        WORKER_TEST(test_wait),
        WORKER_TEST(test_end),
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
