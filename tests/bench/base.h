/* What every measurement needs: time, medians, a scratch directory, rows and their report. */
#ifndef BENCH_BASE_H
#define BENCH_BASE_H

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 64
#define PATH_SIZE  512

typedef struct {
    double   v[ROUNDS_MAX];
    unsigned n;
} samples;

typedef struct {
    bool        json, quick, verbose;
    const char *wanted[32];         /* names or beginnings of names; none = all */
    unsigned    wanted_count;
    char        dir[PATH_SIZE];     /* scratch, "" = none */
} bench_options;

static bench_options         opt;
static pid_t                 children[2];   /* 0 = none */
static volatile sig_atomic_t interrupted;

// ---- the end, and the scratch directory

static void scratch_remove(void)
{
    char           path[PATH_SIZE + 300];
    DIR           *d;
    struct dirent *e;
    if (opt.dir[0] == '\0')
        return;
    d = opendir(opt.dir);
    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", opt.dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL)
        (void)closedir(d);
    (void)rmdir(opt.dir);
    opt.dir[0] = '\0';
}

#if defined(__GNUC__) || defined(__clang__)
__attribute__((noreturn, format(printf, 1, 2)))
#endif
static void
die(const char *format, ...)
{
    va_list args;
    int     i;
    (void)fflush(stdout);
    (void)fprintf(stderr, "bench: ");
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "\n");
    for (i = 0; i < 2; i++)
        if (children[i] > 0)
            (void)kill(children[i], SIGKILL);
    scratch_remove();
    _exit(1);                       /* hosts may be open and their threads running */
}

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static void check_interrupted(void)
{
    if (interrupted)
        die("interrupted");
}

/* On the disk that the project is built on; /tmp is often memory, where a sync costs nothing. */
static void scratch_make(const char *wish)
{
    const char *candidates[4];
    unsigned    i, n = 0;
    if (wish != NULL)
        candidates[n++] = wish;
    else {
        candidates[n++] = "build";
        if (getenv("TMPDIR") != NULL)
            candidates[n++] = getenv("TMPDIR");
        candidates[n++] = "/tmp";
    }
    for (i = 0; i < n; i++) {
        char path[PATH_SIZE];
        if (snprintf(path, sizeof path, "%s/bench-XXXXXX", candidates[i]) >= (int)sizeof path - 64)
            continue;
        if (mkdtemp(path) != NULL) {
            (void)strcpy(opt.dir, path);
            return;
        }
    }
    die("no directory for scratch files: %s", strerror(errno));
}

static const char *scratch_path(char out[PATH_SIZE], const char *name)
{
    if (snprintf(out, PATH_SIZE, "%s/%s", opt.dir, name) >= PATH_SIZE)
        die("path too long");
    return out;
}

// ---- time and numbers

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void sleep_s(double seconds)
{
    double end = now_s() + seconds;
    for (;;) {
        double          left = end - now_s();
        struct timespec t;
        check_interrupted();
        if (left <= 0)
            return;
        t.tv_sec = (time_t)left;
        t.tv_nsec = (long)((left - (double)t.tv_sec) * 1e9);
        (void)nanosleep(&t, NULL);
    }
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median_of(double *v, size_t n)
{
    if (n == 0)
        return 0;
    qsort(v, n, sizeof v[0], compare_doubles);
    return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void sample_add(samples *s, double v)
{
    if (s->n < ROUNDS_MAX)
        s->v[s->n++] = v;
}

static double sample_median(const samples *s)
{
    double v[ROUNDS_MAX];
    (void)memcpy(v, s->v, sizeof v);
    return median_of(v, s->n);
}

/* Of the undisturbed rounds: for what only computes, disturbances do nothing but add. */
static double sample_low(const samples *s)
{
    double v[ROUNDS_MAX];
    (void)memcpy(v, s->v, sizeof v);
    (void)median_of(v, s->n);       /* sorts */
    return v[s->n / 8];
}

static void sample_print(const char *name, const samples *s)
{
    unsigned i;
    if (!opt.verbose)
        return;
    (void)fprintf(stderr, "  %-22s", name);
    for (i = 0; i < s->n; i++)
        (void)fprintf(stderr, " %.4g", s->v[i]);
    (void)fprintf(stderr, "\n");
}

// ---- rows

/* value and limit are in the row's unit, ratio = value / limit, goal bounds the ratio. Where there
 * is nothing to be measured beside it (memory, code size, idling) the limit is the figure allowed
 * and the goal is 1. GOAL_NONE: for information, goal is null and met is true. */
typedef enum { GOAL_NONE, GOAL_AT_MOST, GOAL_AT_LEAST } goal_kind;

#define ROWS(X) \
    X(invoke_inline,      "ns", "invoke, no write, idle actor, nonblocking type, without workers") \
    X(peek_inline,        "ns", "the same as a peek") \
    X(invoke_nonblocking, "ns", "the same invoke with workers: it runs on the thread that calls") \
    X(invoke_ordinary,    "ns", "invoke of an ordinary type, without workers") \
    X(invoke_workers,     "ns", "invoke of an ordinary type: handed to a worker and back") \
    X(turns_many,         "turns/s", "durable turns, 10,000 actors, many callers, workers") \
    X(turns_many_inline,  "turns/s", "the same without workers") \
    X(turns_hot,          "turns/s", "durable turns of one actor, many callers, workers") \
    X(turns_hot_inline,   "turns/s", "the same without workers") \
    X(activations,        "1/s", "activations of 10,000 cold actors, many callers, workers") \
    X(activations_inline, "1/s", "the same without workers") \
    X(turn_single,        "us", "one durable turn, one caller, workers") \
    X(turn_single_inline, "us", "the same without workers") \
    X(memory,             "bytes", "of an idle activation, over its id and state") \
    X(code_size,          "bytes", "text of the implementation, -Os") \
    X(idle_wakeups,       "1/s", "voluntary context switches of an idle host, workers") \
    X(idle_wakeups_inline, "1/s", "the same without workers") \
    X(idle_rss,           "MiB", "resident memory of an idle host, workers") \
    X(idle_rss_inline,    "MiB", "the same without workers") \
    X(pair,               "turns/s", "durable turns of two processes on one file, workers") \
    X(pair_inline,        "turns/s", "the same without workers") \
    X(neighbour_wait,     "ms", "p99 of single turns beside a process with 2,048 calls in flight") \
    X(failover,           "ms", "from kill -9 of a host to the first answer of another one") \
    X(remote_inline,      "us", "call to another host, 64 bytes each way, one caller, no workers") \
    X(remote_inline_16k,  "us", "the same, 16 KiB each way") \
    X(remote_workers,     "us", "call to another host, 64 bytes, one caller, workers on both") \
    X(remote_workers_16k, "us", "the same, 16 KiB each way") \
    X(remote_quick,       "us", "call to another host, 64 bytes, workers, nonblocking type") \
    X(remote_quick_16k,   "us", "the same, 16 KiB each way") \
    X(remote_many_inline, "calls/s", "calls to another host, 64 bytes, many callers, no workers") \
    X(remote_many_inline_16k, "calls/s", "the same, 16 KiB each way") \
    X(remote_many,        "calls/s", "calls to another host, 64 bytes, many callers, workers") \
    X(remote_many_16k,    "calls/s", "the same, 16 KiB each way") \
    X(stream_inline,      "MB/s", "a stream to another host, 16 KiB per write, no workers") \
    X(stream,             "MB/s", "the same with workers on both") \
    X(handshakes,         "1/s", "connections that a host accepts, one after the other") \
    X(remote_failover,    "ms", "from kill -9 of a host to the answer of a call through another") \
    X(alarms_fired,       "1/s", "overdue alarms of inactive actors, a million in the file") \
    X(alarms_fired_inline, "1/s", "the same without workers") \
    X(jobs,               "jobs/s", "dispatched, run and done, 10,000 active actors, workers") \
    X(jobs_inline,        "jobs/s", "the same without workers") \
    X(pending_start,      "ms", "from start to the first call, a million alarms in the file") \
    X(pending_start_inline, "ms", "the same without workers") \
    X(pending_rss,        "MiB", "resident memory of that host, over one with an empty file") \
    X(pending_rss_inline, "MiB", "the same without workers") \
    X(late_quarter,       "ms", "lateness, p99, of alarms at a quarter of SQLite's rate") \
    X(late_quarter_inline, "ms", "the same without workers") \
    X(late_half,          "ms", "lateness, p99, at half of it") \
    X(late_half_inline,   "ms", "the same without workers") \
    X(late_all,           "ms", "lateness, p99, at all of it") \
    X(late_all_inline,    "ms", "the same without workers") \
    X(alarm_soon,         "ms", "lateness, median, of an alarm 50 ms ahead on an idle host") \
    X(alarm_soon_inline,  "ms", "the same without workers")

typedef enum {
#define X(name, unit, text) ROW_##name,
    ROWS(X)
#undef X
    ROW_COUNT
} row_id;

static const struct {
    const char *name, *unit, *text;
} rows[ROW_COUNT] = {
#define X(name, unit, text) { #name, unit, text },
    ROWS(X)
#undef X
};

static bool row_wanted(row_id id)
{
    unsigned i;
    for (i = 0; i < opt.wanted_count; i++)
        if (strncmp(rows[id].name, opt.wanted[i], strlen(opt.wanted[i])) == 0)
            return true;
    return opt.wanted_count == 0;
}

static bool rows_wanted(row_id first, row_id last)
{
    int id;
    for (id = (int)first; id <= (int)last; id++)
        if (row_wanted((row_id)id))
            return true;
    return false;
}

static void report_head(void)
{
    if (!opt.json)
        (void)printf("%-22s %12s %-8s %12s %8s %10s  %s\n", "name", "value", "unit", "limit",
                     "ratio", "goal", "met");
    (void)fflush(stdout);
}

static void number_text(char out[32], double v)
{
    double m = v < 0 ? -v : v;
    (void)snprintf(out, 32, "%.*f", m >= 1000 ? 0 : m >= 100 ? 1 : 2, v);
}

static void report(row_id id, double value, double limit, goal_kind kind, double goal)
{
    double ratio = limit > 0 ? value / limit : 0;
    bool   met = kind == GOAL_NONE || (kind == GOAL_AT_MOST ? ratio <= goal : ratio >= goal);
    char   v[32], l[32], g[32] = "-";
    if (!row_wanted(id))
        return;
    if (opt.json) {
        (void)strcpy(g, "null");
        if (kind != GOAL_NONE)
            (void)snprintf(g, sizeof g, "%.6g", goal);
        (void)printf("{\"name\": \"%s\", \"unit\": \"%s\", \"value\": %.6g, \"limit\": %.6g, "
                     "\"ratio\": %.6g, \"goal\": %s, \"met\": %s}\n",
                     rows[id].name, rows[id].unit, value, limit, ratio, g, met ? "true" : "false");
    } else {
        number_text(v, value);
        number_text(l, limit);
        if (kind != GOAL_NONE)
            (void)snprintf(g, sizeof g, "%s %.2f", kind == GOAL_AT_MOST ? "<=" : ">=", goal);
        (void)printf("%-22s %12s %-8s %12s %8.2f %10s  %s\n", rows[id].name, v, rows[id].unit, l,
                     ratio, g, kind == GOAL_NONE ? "-" : met ? "yes" : "NO");
    }
    (void)fflush(stdout);
}

static void skip(row_id id, const char *why)
{
    if (row_wanted(id))
        (void)fprintf(stderr, "bench: %s skipped: %s\n", rows[id].name, why);
}

#endif /* BENCH_BASE_H */
