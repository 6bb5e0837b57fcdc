/* Parts of a test in a process of their own, for what kills it or must not share anything with it.
 * The body may use all assertions: in the child it runs as a group of its own, whose result becomes
 * the exit code. Fork while no host with threads and no database is open in the parent. */
#ifndef CHILD_H
#define CHILD_H

#include "t.h"

#include <fcntl.h>
#include <signal.h>

#define CHILD_SKIPPED 77

/* To be called in the body instead of skip(). */
T_UNUSED static void child_skip(const char *why)
{
    print_error("skipped: %s\n", why);
    _exit(CHILD_SKIPPED);
}

/* All that a child does. */
T_UNUSED static void child_main(CMUnitTestFunction body, void *arg)
{
    struct CMUnitTest test = { "child", body, NULL, NULL, arg };
    int               quiet = open("/dev/null", O_WRONLY);
    int               failed;
    if (quiet >= 0)
        (void)dup2(quiet, STDOUT_FILENO);
    (void)unsetenv("CMOCKA_MESSAGE_OUTPUT");    /* failures as plain text, to stderr */
    cmocka_set_test_filter(NULL);
    failed = _cmocka_run_group_tests("child", &test, 1, NULL, NULL);
    _exit(failed != 0 ? 1 : 0);
}

/* Starts body(&arg) in a child. */
T_UNUSED static pid_t child_start(CMUnitTestFunction body, void *arg)
{
    pid_t pid;
    (void)fflush(stdout);
    (void)fflush(stderr);
    pid = fork();
    if (pid < 0)
        fail_msg("fork: %s", strerror(errno));
    if (pid == 0)
        child_main(body, arg);
    return pid;
}

/* Waits for the end of a child; returns the wait status. */
T_UNUSED static int child_wait(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail_msg("waitpid: %s", strerror(errno));
    return status;
}

/* Waits for the end of a child that has to end by itself within a time. */
T_UNUSED static int child_wait_for(pid_t pid, int64_t timeout_ms)
{
    int64_t end = t_ms() + timeout_ms;
    int     status = 0;
    for (;;) {
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid)
            return status;
        if (r < 0 && errno != EINTR)
            fail_msg("waitpid: %s", strerror(errno));
        if (t_ms() > end) {
            (void)kill(pid, SIGKILL);
            (void)child_wait(pid);
            fail_msg("a child did not end within %lld ms", (long long)timeout_ms);
        }
        t_yield();
    }
}

T_UNUSED static void child_kill(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)child_wait(pid);
}

/* Runs body(&arg) in a child; the test fails if it fails, and is skipped if it says so. */
T_UNUSED static void child_run(CMUnitTestFunction body, void *arg)
{
    int status = child_wait(child_start(body, arg));
    if (WIFSIGNALED(status))
        fail_msg("the child died of signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == CHILD_SKIPPED)
        skip();
    if (WEXITSTATUS(status) != 0)
        fail_msg("the child failed, see above");
}

/* Reads exactly size bytes; false at the end of the pipe. */
T_UNUSED static bool child_read(int fd, void *data, size_t size)
{
    char *p = (char *)data;
    while (size > 0) {
        ssize_t n = read(fd, p, size);
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Writes exactly size bytes (at most PIPE_BUF: in one piece). */
T_UNUSED static void child_write(int fd, const void *data, size_t size)
{
    ssize_t n;
    do
        n = write(fd, data, size);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)size)
        _exit(3);
}

#endif
