/* cluster WORKER DIRECTORY: three processes of examples/worker.c are one cluster. Tells what
 * happens when one of them is killed under load, and while alarms and jobs are due; ends with 0 if
 * all of it is as it says. */
#include "workers.h"

enum { LOAD = 3000, CLIENTS = 4 };

static worker      workers[WORKERS_MAX];
static counted     all = { .workers = workers, .workers_count = WORKERS_MAX, .ids = WORKER_IDS };
static timed       later = { .workers = workers, .workers_count = WORKERS_MAX, .ids = 20,
                             .runs = 8, .jobs = 200 };
static const char *directory;
static const char  names[] = "ABC";

static void fail(const char *what, const char *detail)
{
    printf("FAILED: %s: %s\n", what, detail);
    for (int i = 0; i < WORKERS_MAX; i++)
        worker_kill(&workers[i]);
    exit(1);
}

static void start(void)
{
    static char database[512], log[512];
    (void)snprintf(database, sizeof database, "%s/cluster.db", directory);
    (void)snprintf(log, sizeof log, "%s/worker.log", directory);
    printf("Three processes of examples/worker.c, one database, one key:\n");
    for (int i = 0; i < WORKERS_MAX; i++) {
        workers[i].database = database;
        workers[i].log = log;
        if (!worker_start(&workers[i]))
            fail("a worker", "does not start");
        printf("    %c  http://127.0.0.1:%d\n", names[i], workers[i].port);
    }
}

static void call_through_each(void)
{
    http_answer a;
    printf("\nOne actor, called through each of them:\n");
    for (int i = 0; i < WORKERS_MAX; i++) {
        if (http_once(workers[i].port, "POST", "/invoke/myactor/hello/increment", "{\"In\":1}", &a)
                != HTTP_DONE ||
            a.out != i + 1)
            fail("myactor/hello", a.text);
        printf("    POST http://127.0.0.1:%d/invoke/myactor/hello/increment  {\"Out\":%lld}\n",
               workers[i].port, (long long)a.out);
    }
}

static void show_where(const char *when)
{
    printf("%s", when);
    for (int i = 0; i < WORKERS_MAX; i++)
        if (workers[i].pid != 0)
            printf("  %c has %lld", names[i], (long long)worker_status(&workers[i], "myactor"));
    printf("\n");
}

/* The same counts everywhere, and what the clients were told. */
static void compare(void)
{
    char    text[200];
    int64_t sum = -1;
    for (int i = 0; i < WORKERS_MAX; i++) {
        int64_t other = counted_check(&all, &workers[i], text, sizeof text);
        if (other < 0)
            fail("the counts", text);
        if (i > 0 && other != sum)
            fail("the counts", "differ between two workers");
        sum = other;
    }
    printf("Each of the three has the same %d counts. Their sum is %lld: %d acknowledged,"
           " %d unknown.\n", all.ids, (long long)sum, counted_sum(all.done),
           counted_sum(all.unknown));
}

static void count(int64_t *ms)
{
    int64_t from = worker_ms();
    counted_allow(&all, LOAD);
    if (!counted_until(&all, atomic_load(&all.allowed)))
        fail("the clients", "are not answered");
    *ms = worker_ms() - from + 1;
}

static void count_in_peace(void)
{
    int64_t ms;
    printf("\n%d clients count in %d actors, each time through one of the three at random.\n",
           CLIENTS, all.ids);
    if (!counted_begin(&all, CLIENTS))
        fail("a thread", "cannot be created");
    count(&ms);
    printf("%d increments in %lld.%lld s. An actor lives on one of them; the others call it there,"
           "\nover TLS. Active actors:",
           LOAD, (long long)ms / 1000, (long long)ms % 1000 / 100);
    show_where("");
    compare();
    if (counted_sum(all.unknown) != 0)
        fail("an increment", "has no known outcome, though nothing has happened");
}

static void kill_under_load(void)
{
    int64_t ms;
    int     before = counted_settled(&all);
    printf("\nThe clients go on, and in the middle of it B is killed with kill -9.\n");
    counted_allow(&all, LOAD);
    if (!counted_until(&all, before + LOAD / 3))
        fail("the clients", "are not answered");
    worker_kill(&workers[1]);
    ms = counted_answers_ms(&all, &workers[0]);
    if (ms < 0)
        fail("an actor", "does not answer any more");
    printf("After %lld ms all %d actors had answered through A, also those that had been on B.\n",
           (long long)ms, all.ids);
    show_where("Active actors:");
}

static void come_back(void)
{
    http_answer a;
    int64_t     ms = worker_ms();
    if (!worker_start(&workers[1]))
        fail("B", "does not start again");
    printf("\nB is back %lld ms after it was started again", (long long)(worker_ms() - ms));
    if (http_once(workers[1].port, "POST", "/invoke/myactor/hello/increment", "{\"In\":1}", &a)
            != HTTP_DONE ||
        a.out != WORKERS_MAX + 1)
        fail("myactor/hello through B", a.text);
    printf(": myactor/hello answers {\"Out\":%lld}.\n", (long long)a.out);
    if (!counted_end(&all))
        fail("the clients", "are not answered");
    printf("The clients are through. %d times nothing had been done and they asked again; %d times"
           "\nnobody could tell whether it had been.\n", atomic_load(&all.again),
           counted_sum(all.unknown));
    compare();
    printf("No acknowledged increment was lost, and none was done twice.\n");
}

/* Two are killed, one after the other, each in the middle of what comes. */
static void go_off_under_kill(void)
{
    char text[256];
    printf("\n%d actors get an alarm that goes off once a second, %d times, and %d jobs come to"
           " them.\n", later.ids, later.runs, later.jobs);
    if (!timed_begin(&later))
        fail("an alarm", "cannot be set");
    for (int i = 1; i <= 2; i++) {
        int64_t until = worker_ms() + WORKER_PATIENCE_MS;
        while (atomic_load(&later.sent) < i * later.jobs / 3 && worker_ms() < until)
            worker_nap();
        worker_kill(&workers[i]);
        printf("%c is killed with kill -9, and started again.\n", names[i]);
        if (!worker_start(&workers[i]))
            fail("a worker", "does not start again");
    }
    if (!timed_end(&later))
        fail("the jobs", "are not taken");
    if (!timed_until(&later, &workers[0], text, sizeof text))
        fail("the alarms and jobs", text);
    printf("Each of the %d jobs has had its effect once, and so has each of the %d occurrences of"
           "\nthe alarms, with its own time. None was lost.\n", later.jobs, later.ids * later.runs);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    directory = argv[2];
    for (int i = 0; i < WORKERS_MAX; i++)
        workers[i].program = argv[1];
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)setenv("FRANCIS_CLUSTER_KEY", "a demo may use a key that anybody can read", 1);
    (void)signal(SIGPIPE, SIG_IGN);
    start();
    call_through_each();
    count_in_peace();
    kill_under_load();
    come_back();
    go_off_under_kill();
    for (int i = 0; i < WORKERS_MAX; i++)
        if (!worker_stop(&workers[i]))
            fail("a worker", "does not end well");
    return 0;
}
