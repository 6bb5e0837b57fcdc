/* What the tests share: scratch directories, waiting for a condition, hosts for one test. */
#ifndef T_H
#define T_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "francis.h"

#if defined(__GNUC__)
#define T_UNUSED __attribute__((unused))
#else
#define T_UNUSED
#endif

/* Asserts that a francis call gave just this result, and prints names instead of numbers. */
#define t_result(actual, expected) t_result_at((actual), (expected), #actual, __FILE__, __LINE__)
#define t_ok(actual)               t_result(actual, FRANCIS_OK)

T_UNUSED static void t_result_at(francis_result actual, francis_result expected, const char *what,
                                 const char *file, int line)
{
    if (actual == expected)
        return;
    print_error("%s is %s (%d), not %s (%d)\n", what, francis_result_name(actual), actual,
                francis_result_name(expected), expected);
    _fail(file, line);
}

T_UNUSED static int64_t t_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits until the condition holds; fails the test when it does not within sixty seconds. Between
 * two looks it gives the processor away. */
#define t_until(condition)                                                         \
    do {                                                                           \
        int64_t t_end_ = t_ms() + 60000;                                           \
        while (!(condition)) {                                                     \
            if (t_ms() > t_end_)                                                   \
                fail_msg("never came true: %s", #condition);                       \
            t_yield();                                                             \
        }                                                                          \
    } while (0)

T_UNUSED static void t_yield(void)
{
    struct timespec t = { 0, 200000 };
    (void)nanosleep(&t, NULL);
}

/* A scratch directory of this process, removed by t_clean(). */
T_UNUSED static const char *t_dir(void)
{
    static char dir[256];
    if (dir[0] == '\0') {
        const char *base = getenv("TMPDIR");
        (void)snprintf(dir, sizeof dir, "%s/francis-test-XXXXXX", base != NULL ? base : "/tmp");
        if (mkdtemp(dir) == NULL) {
            perror(dir);
            exit(2);
        }
    }
    return dir;
}

/* DIR/NAME in one of eight rotating buffers. */
T_UNUSED static const char *t_path(const char *name)
{
    static char     paths[8][512];
    static unsigned next;
    char           *p = paths[next++ % 8];
    (void)snprintf(p, sizeof paths[0], "%s/%s", t_dir(), name);
    return p;
}

/* The path of a database that does not exist yet: another one at each call. */
T_UNUSED static const char *t_database(void)
{
    static unsigned number;
    char            name[32];
    (void)snprintf(name, sizeof name, "%u.db", number++);
    return t_path(name);
}

T_UNUSED static void t_clean(void)
{
    char command[320];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", t_dir());
    if (system(command) != 0)
        print_error("cannot remove %s\n", t_dir());
}

/* A log sink that counts by id, for tests that name the log records they expect. */
typedef struct {
    pthread_mutex_t lock;
    unsigned        count[1000];
    char            last[1000][200];
} t_log;

T_UNUSED static void t_log_sink(const francis_log *record, void *user)
{
    t_log *log = (t_log *)user;
    (void)pthread_mutex_lock(&log->lock);
    if (record->id < 1000) {
        log->count[record->id]++;
        (void)snprintf(log->last[record->id], sizeof log->last[0], "%s", record->message);
    }
    (void)pthread_mutex_unlock(&log->lock);
}

T_UNUSED static unsigned t_logged(t_log *log, unsigned id)
{
    unsigned n;
    (void)pthread_mutex_lock(&log->lock);
    n = log->count[id];
    (void)pthread_mutex_unlock(&log->lock);
    return n;
}

/* Opens a host, registers the types up to .type == NULL, starts it; or fails the test. */
T_UNUSED static francis_host *t_start(const francis_host_desc  *desc,
                                      const francis_actor_desc *types)
{
    francis_host *host = NULL;
    (void)francis_open(&host, desc);
    for (; types != NULL && types->type != NULL; types++)
        (void)francis_register(host, types);
    if (francis_start(host) != FRANCIS_OK)
        fail_msg("the host does not start: %s", francis_host_error(host));
    return host;
}

#endif
