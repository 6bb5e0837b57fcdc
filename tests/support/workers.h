/* Processes of examples/worker.c on one database, clients that count in them over HTTP, and the
 * books of what they were told; alarms and jobs that count in them later. Without cmocka: the demo
 * uses it, too.
 *
 *     worker  w = { .program = "build/worker", .database = path };
 *     counted all = { .workers = &w, .workers_count = 1, .ids = 10 };
 *     worker_start(&w);                        fork and exec; it answers when this returns true
 *     counted_begin(&all, 4);                  clients, which count while they may (all.allowed)
 *     counted_allow(&all, 1000);
 *     counted_end(&all);                       they have done what they may
 *     counted_check(&all, &w, text, size);     every count is one that the books allow
 *
 *     timed later = { .workers = &w, .workers_count = 1, .ids = 10, .runs = 5, .jobs = 100 };
 *     timed_begin(&later);                     sets alarms, and dispatches jobs for a while
 *     timed_end(&later);                       all have been acknowledged
 *     timed_until(&later, &w, text, size);     each has had its effect, and had it once */
#ifndef WORKERS_H
#define WORKERS_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#ifndef T_UNUSED
#if defined(__GNUC__)
#define T_UNUSED __attribute__((unused))
#else
#define T_UNUSED
#endif
#endif

enum {
    WORKERS_MAX   = 3,
    WORKER_IDS    = 100,
    WORKER_COUNTS = 4096,           /* the largest count of an id that is followed */
    WORKER_PATIENCE_MS = 60000
};

T_UNUSED static int64_t worker_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

T_UNUSED static void worker_nap(void)
{
    struct timespec t = { 0, 1000000 };
    (void)nanosleep(&t, NULL);
}

/* -- HTTP -------------------------------------------------------------------------------------- */

typedef enum { HTTP_DONE, HTTP_NOT_RUN, HTTP_FAILED, HTTP_UNKNOWN } http_outcome;

typedef struct {
    int          status;            /* 0 = there was no answer */
    http_outcome outcome;           /* what it means for the work */
    int64_t      out;               /* the count, if there was one; else -1 */
    char         text[2048];        /* head and body */
} http_answer;

T_UNUSED static int http_open(int port)
{
    struct sockaddr_in to;
    int                fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    (void)memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return -1;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* The length of what has to be there before the answer is complete; 0 = not known yet. */
T_UNUSED static size_t http_length(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n"), *line = text;
    if (end == NULL)
        return 0;
    while ((line = strstr(line, "\r\n")) != NULL && line < end) {
        line += 2;
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            return (size_t)(end + 4 - text) + (size_t)strtoul(line + 15, NULL, 10);
    }
    return (size_t)(end + 4 - text);
}

T_UNUSED static bool http_read(int fd, int64_t until_ms, http_answer *a)
{
    size_t got = 0;
    for (;;) {
        struct pollfd p = { fd, POLLIN, 0 };
        int64_t       left = until_ms - worker_ms();
        ssize_t       n;
        if (left <= 0 || got + 1 >= sizeof a->text)
            return false;
        if (poll(&p, 1, left > 1000 ? 1000 : (int)left) <= 0)
            continue;
        n = recv(fd, a->text + got, sizeof a->text - 1 - got, 0);
        if (n <= 0)
            return false;
        got += (size_t)n;
        a->text[got] = '\0';
        if (http_length(a->text) != 0 && got >= http_length(a->text))
            return true;
    }
}

T_UNUSED static void http_understand(http_answer *a)
{
    const char *out = strstr(a->text, "\"Out\":"), *outcome = strstr(a->text, "\"outcome\":\"");
    a->status = (int)strtol(a->text + strcspn(a->text, " "), NULL, 10);
    a->outcome = HTTP_UNKNOWN;
    if (a->status == 200)
        a->outcome = HTTP_DONE;
    else if (outcome != NULL && strncmp(outcome + 11, "not_run", 7) == 0)
        a->outcome = HTTP_NOT_RUN;
    else if (outcome != NULL && strncmp(outcome + 11, "failed", 6) == 0)
        a->outcome = HTTP_FAILED;
    if (out != NULL)
        a->out = strtoll(out + 6, NULL, 10);
}

/* Whether the other end has closed it, so that a request over it would say nothing. */
T_UNUSED static bool http_is_over(int fd)
{
    char          c;
    struct pollfd p = { fd, POLLIN, 0 };
    return poll(&p, 1, 0) > 0 && recv(fd, &c, 1, MSG_PEEK) <= 0;
}

/* One request over *fd, which is opened if it is -1 and closed after a failure. */
T_UNUSED static http_outcome http_ask(int *fd, int port, const char *method, const char *path,
                                      const char *body, http_answer *a)
{
    char   request[512];
    size_t size;
    (void)memset(a, 0, sizeof *a);
    a->out = -1;
    a->outcome = HTTP_NOT_RUN;
    if (*fd >= 0 && http_is_over(*fd)) {
        (void)close(*fd);
        *fd = -1;
    }
    if (*fd < 0 && (*fd = http_open(port)) < 0)
        return a->outcome;
    size = (size_t)snprintf(request, sizeof request,
                            "%s %s HTTP/1.1\r\nHost: worker\r\nContent-Length: %zu\r\n\r\n%s",
                            method, path, strlen(body), body);
    a->outcome = HTTP_UNKNOWN;
    if (send(*fd, request, size, MSG_NOSIGNAL) == (ssize_t)size &&
        http_read(*fd, worker_ms() + WORKER_PATIENCE_MS, a)) {
        http_understand(a);
        return a->outcome;
    }
    (void)close(*fd);
    *fd = -1;
    return a->outcome;
}

/* The same over a connection of its own. */
T_UNUSED static http_outcome http_once(int port, const char *method, const char *path,
                                       const char *body, http_answer *a)
{
    int fd = -1;
    (void)http_ask(&fd, port, method, path, body, a);
    if (fd >= 0)
        (void)close(fd);
    return a->outcome;
}

/* -- processes --------------------------------------------------------------------------------- */

typedef struct {
    const char *program, *database;
    const char *wait_ms, *deadline_ms;      /* NULL = the program's defaults */
    const char *log;                        /* a file for what it says; NULL = our own stderr */
    int         port, host_port;            /* 0 = chosen at the first start */
    pid_t       pid;
} worker;

/* A port that was free a moment ago. None that the system gives to clients: these could take the
 * port of a worker that has been killed, and one that tries to reach it could reach itself. */
T_UNUSED static int worker_free_port(void)
{
    static unsigned next;
    int             port = 0;
    if (next == 0)
        next = (unsigned)worker_ms() * 31u + (unsigned)getpid() * 7919u;
    while (port == 0) {
        struct sockaddr_in at;
        int                fd = socket(AF_INET, SOCK_STREAM, 0);
        (void)memset(&at, 0, sizeof at);
        at.sin_family = AF_INET;
        at.sin_port = htons((uint16_t)(20000 + next++ % 12000));
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (fd < 0)
            return 0;
        if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
            port = ntohs(at.sin_port);
        (void)close(fd);
    }
    return port;
}

/* In the child, where little is allowed. */
T_UNUSED static void worker_exec(const worker *w, char *const *args, int out)
{
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    (void)dup2(out, STDOUT_FILENO);
    if (w->log != NULL)
        (void)dup2(out, STDERR_FILENO);
    (void)execv(w->program, args);
    _exit(127);
}

T_UNUSED static bool worker_spawn(worker *w)
{
    char        http[32], host[32];
    const char *wait_ms = w->wait_ms != NULL ? w->wait_ms : "25000";
    const char *deadline_ms = w->deadline_ms != NULL ? w->deadline_ms : "0";
    const char *log = w->log != NULL ? w->log : "/dev/null";
    int         out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    const char *args[] = { w->program, "-worker-address", http, "-actor-host-address", host, "-db",
                           w->database, "-wait-ms", wait_ms, "-health-deadline-ms", deadline_ms,
                           NULL };
    if (w->port == 0) {
        w->port = worker_free_port();
        w->host_port = worker_free_port();
    }
    (void)snprintf(http, sizeof http, "127.0.0.1:%d", w->port);
    (void)snprintf(host, sizeof host, "127.0.0.1:%d", w->host_port);
    w->pid = fork();
    if (w->pid == 0)
        worker_exec(w, (char *const *)(uintptr_t)args, out);
    (void)close(out);
    return w->pid > 0;
}

/* Whether it says that it is healthy, within a minute. */
T_UNUSED static bool worker_answers(const worker *w)
{
    http_answer a;
    int64_t     until = worker_ms() + WORKER_PATIENCE_MS;
    while (worker_ms() < until) {
        if (http_once(w->port, "GET", "/healthz", "", &a) == HTTP_DONE)
            return true;
        if (waitpid(w->pid, NULL, WNOHANG) == w->pid) {
            (void)fprintf(stderr, "a worker has ended at its start\n");
            return false;
        }
        worker_nap();
    }
    return false;
}

T_UNUSED static bool worker_start(worker *w)
{
    return worker_spawn(w) && worker_answers(w);
}

T_UNUSED static void worker_kill(worker *w)
{
    if (w->pid <= 0)
        return;
    (void)kill(w->pid, SIGKILL);
    (void)waitpid(w->pid, NULL, 0);
    w->pid = 0;
}

/* Waits for the end of one that has been told to; whether it was a good one. */
T_UNUSED static bool worker_ended(worker *w)
{
    int status = -1;
    (void)waitpid(w->pid, &status, 0);
    w->pid = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

T_UNUSED static bool worker_stop(worker *w)
{
    (void)kill(w->pid, SIGTERM);
    return worker_ended(w);
}

/* A number of what it tells under /status or /healthz; -1: there is none. */
T_UNUSED static int64_t worker_number(const worker *w, const char *path, const char *name)
{
    http_answer a;
    char        key[64];
    const char *at;
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    (void)http_once(w->port, "GET", path, "", &a);
    at = strstr(a.text, key);
    return at != NULL ? strtoll(at + strlen(key), NULL, 10) : -1;
}

T_UNUSED static int64_t worker_status(const worker *w, const char *name)
{
    return worker_number(w, "/status", name);
}

/* -- the books --------------------------------------------------------------------------------- */

typedef struct counted {
    worker      *workers;
    int          workers_count;
    int          ids;               /* "0", "1", ... */
    atomic_int   done[WORKER_IDS], unknown[WORKER_IDS];
    atomic_uint  seen[WORKER_IDS][WORKER_COUNTS / 32];  /* counts that were answered */
    atomic_int   twice;             /* of them, those that came more than once */
    atomic_int   again;             /* repeated, since nothing had been done */
    atomic_int   begun;             /* increments that are settled or under way */
    atomic_int   allowed;           /* how many may be begun */
    atomic_bool  leave;
    pthread_t    clients[8];
    int          clients_count;
} counted;

T_UNUSED static void counted_seen(counted *all, int id, int64_t count)
{
    unsigned bit = 1u << (count & 31);
    if (count <= 0 || count >= WORKER_COUNTS ||
        (atomic_fetch_or(&all->seen[id][count / 32], bit) & bit) != 0)
        (void)atomic_fetch_add(&all->twice, 1);
}

/* One attempt at an increment, put into the books; false: nothing has been done. */
T_UNUSED static bool counted_try(counted *all, const worker *w, int *fd, int id)
{
    http_answer a;
    char        path[64];
    (void)snprintf(path, sizeof path, "/invoke/myactor/%d/increment", id);
    switch (http_ask(fd, w->port, "POST", path, "{\"In\":1}", &a)) {
    case HTTP_DONE:
        counted_seen(all, id, a.out);
        (void)atomic_fetch_add(&all->done[id], 1);
        return true;
    case HTTP_UNKNOWN:
        (void)atomic_fetch_add(&all->unknown[id], 1);
        return true;
    default:
        (void)atomic_fetch_add(&all->again, 1);
        worker_nap();
        return false;
    }
}

T_UNUSED static int counted_random(unsigned *random, int below)
{
    *random = *random * 1103515245u + 12345u;
    return (int)((*random >> 16) % (unsigned)below);
}

/* One increment: repeated until it is done, or nobody can say whether it is. */
T_UNUSED static void counted_one(counted *all, int *fds, unsigned *random)
{
    int id = counted_random(random, all->ids), w;
    do
        w = counted_random(random, all->workers_count);
    while (!counted_try(all, &all->workers[w], &fds[w], id) && !atomic_load(&all->leave));
}

T_UNUSED static void *counted_client(void *arg)
{
    counted *all = (counted *)arg;
    int      fds[WORKERS_MAX] = { -1, -1, -1 };
    unsigned random = (unsigned)(uintptr_t)&fds ^ (unsigned)worker_ms();
    while (!atomic_load(&all->leave)) {
        if (atomic_fetch_add(&all->begun, 1) < atomic_load(&all->allowed)) {
            counted_one(all, fds, &random);
        } else {
            (void)atomic_fetch_sub(&all->begun, 1);
            worker_nap();
        }
    }
    for (int i = 0; i < WORKERS_MAX; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    return NULL;
}

T_UNUSED static bool counted_begin(counted *all, int clients)
{
    for (; all->clients_count < clients; all->clients_count++)
        if (pthread_create(&all->clients[all->clients_count], NULL, counted_client, all) != 0)
            return false;
    return true;
}

T_UNUSED static void counted_allow(counted *all, int more)
{
    (void)atomic_fetch_add(&all->allowed, more);
}

T_UNUSED static int counted_sum(const atomic_int *each)
{
    int sum = 0;
    for (int i = 0; i < WORKER_IDS; i++)
        sum += atomic_load(&each[i]);
    return sum;
}

T_UNUSED static int counted_settled(const counted *all)
{
    return counted_sum(all->done) + counted_sum(all->unknown);
}

/* Waits until so many increments are settled; false: not within minutes. */
T_UNUSED static bool counted_until(const counted *all, int settled)
{
    int64_t until = worker_ms() + 4 * WORKER_PATIENCE_MS;
    while (counted_settled(all) < settled && worker_ms() < until)
        worker_nap();
    return counted_settled(all) >= settled;
}

/* Lets the clients do what they may, and go. */
T_UNUSED static bool counted_end(counted *all)
{
    bool all_done = counted_until(all, atomic_load(&all->allowed));
    atomic_store(&all->leave, true);
    for (; all->clients_count > 0; all->clients_count--)
        (void)pthread_join(all->clients[all->clients_count - 1], NULL);
    return all_done;
}

/* The count of an id as a worker has it; -1: it does not answer within a minute. */
T_UNUSED static int64_t counted_peek(const worker *w, int id, int *fd)
{
    http_answer a;
    char        path[64];
    int64_t     until = worker_ms() + WORKER_PATIENCE_MS;
    (void)snprintf(path, sizeof path, "/peek/myactor/%d/get", id);
    while (http_ask(fd, w->port, "POST", path, "", &a) != HTTP_DONE && worker_ms() < until)
        worker_nap();
    return a.out;
}

/* Milliseconds until a worker has answered for each id; -1: it did not. */
T_UNUSED static int64_t counted_answers_ms(const counted *all, const worker *w)
{
    int64_t start = worker_ms();
    int     fd = -1;
    bool    well = true;
    for (int i = 0; i < all->ids; i++)
        well = counted_peek(w, i, &fd) >= 0 && well;
    if (fd >= 0)
        (void)close(fd);
    return well ? worker_ms() - start : -1;
}

/* Compares each count, as a worker has it, with the books: all that was acknowledged, and at most
 * what nobody could tell besides. Returns the sum; -1: text says what is wrong. */
T_UNUSED static int64_t counted_check(const counted *all, const worker *w, char *text, size_t size)
{
    int64_t sum = 0;
    int     fd = -1;
    for (int i = 0; i < all->ids && sum >= 0; i++) {
        int     done = atomic_load(&all->done[i]), unknown = atomic_load(&all->unknown[i]);
        int64_t count = counted_peek(w, i, &fd);
        if (count < done || count > done + unknown) {
            (void)snprintf(text, size, "myactor/%d has %lld: %d acknowledged, %d unknown", i,
                           (long long)count, done, unknown);
            sum = -1;
        } else {
            sum += count;
        }
    }
    if (sum >= 0 && atomic_load(&all->twice) != 0) {
        (void)snprintf(text, size, "%d counts were answered twice", atomic_load(&all->twice));
        sum = -1;
    }
    if (fd >= 0)
        (void)close(fd);
    return sum;
}

/* -- what happens later ------------------------------------------------------------------------ */

enum { TIMED_INTERVAL_MS = 1000, TIMED_AHEAD_MS = 3000, TIMED_DELAY_MS = 2000 };

/* Each of the actors "t0", "t1", ... has an alarm that goes off once a second, so many times, and
 * meanwhile jobs come to them in turn. Both count in the actor. */
typedef struct timed {
    worker     *workers;
    int         workers_count;
    int         ids, runs, jobs;    /* actors; occurrences of each alarm; jobs in all */
    int64_t     first_ms;           /* when the first alarm is due first, Unix time */
    unsigned    random;             /* of whoever asks: first the caller, then the sender */
    atomic_int  sent;               /* jobs that were acknowledged */
    atomic_bool leave;
    pthread_t   sender;
    bool        is_sending;
} timed;

T_UNUSED static int64_t timed_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

T_UNUSED static int64_t timed_due(const timed *all, int id)
{
    return all->first_ms + (int64_t)TIMED_INTERVAL_MS * id / all->ids;
}

/* Asks one worker or another until it is done: what is asked for may be asked for twice. */
T_UNUSED static bool timed_ask(timed *all, const char *path, const char *body)
{
    http_answer a;
    int64_t     until = worker_ms() + WORKER_PATIENCE_MS;
    do {
        int w = counted_random(&all->random, all->workers_count);
        if (http_once(all->workers[w].port, "POST", path, body, &a) == HTTP_DONE)
            return true;
        worker_nap();
    } while (worker_ms() < until && !atomic_load(&all->leave));
    (void)fprintf(stderr, "POST %s %s: %s\n", path, body, a.text);
    return false;
}

T_UNUSED static bool timed_set(timed *all, int id)
{
    char    path[64], body[200];
    int64_t due_ms = timed_due(all, id);
    (void)snprintf(path, sizeof path, "/alarm/myactor/t%d/increment", id);
    (void)snprintf(body, sizeof body,
                   "{\"dueTime\":%lld,\"interval\":%d,\"ttl\":%lld,\"missed\":\"all\"}",
                   (long long)due_ms, TIMED_INTERVAL_MS,
                   (long long)due_ms + (int64_t)TIMED_INTERVAL_MS * (all->runs - 1));
    return timed_ask(all, path, body);
}

T_UNUSED static bool timed_dispatch(timed *all, int job)
{
    char path[64], body[100];
    (void)snprintf(path, sizeof path, "/job/myactor/t%d/increment", job % all->ids);
    (void)snprintf(body, sizeof body, "{\"idempotencyKey\":\"job-%d\",\"delay\":%d}", job,
                   counted_random(&all->random, TIMED_DELAY_MS));
    return timed_ask(all, path, body);
}

/* Dispatches the jobs, spread over the time that the alarms take. */
T_UNUSED static void *timed_sender(void *arg)
{
    timed *all = (timed *)arg;
    for (int i = 0; i < all->jobs && !atomic_load(&all->leave); i++) {
        int64_t at = all->first_ms + (int64_t)TIMED_INTERVAL_MS * all->runs * i / all->jobs;
        while (timed_now() < at && !atomic_load(&all->leave))
            worker_nap();
        if (timed_dispatch(all, i))
            (void)atomic_fetch_add(&all->sent, 1);
    }
    return NULL;
}

/* Sets the alarms, of which none is due yet, and lets the jobs come. */
T_UNUSED static bool timed_begin(timed *all)
{
    all->first_ms = timed_now() + TIMED_AHEAD_MS;
    for (int i = 0; i < all->ids; i++)
        if (!timed_set(all, i))
            return false;
    all->is_sending = pthread_create(&all->sender, NULL, timed_sender, all) == 0;
    return all->is_sending;
}

/* Whether all jobs have been acknowledged, once no more come; or leaves them. */
T_UNUSED static bool timed_end(timed *all)
{
    if (all->is_sending)
        (void)pthread_join(all->sender, NULL);
    all->is_sending = false;
    return atomic_load(&all->sent) == all->jobs;
}

/* A number of an answer; -1: there is none. */
T_UNUSED static int64_t timed_number(const http_answer *a, const char *name)
{
    char        key[64];
    const char *at;
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    at = a->outcome == HTTP_DONE ? strstr(a->text, key) : NULL;
    return at != NULL ? strtoll(at + strlen(key), NULL, 10) : -1;
}

/* What one actor has: 1 = all that is to come, 0 = not yet, or it does not answer; -1 = something
 * that must not be. */
T_UNUSED static int timed_look(const timed *all, const worker *w, int *fd, int id, char *text,
                               size_t size)
{
    http_answer a;
    char        path[64];
    int         jobs = all->jobs / all->ids + (id < all->jobs % all->ids);
    int64_t     runs, again, first, last, count;
    (void)snprintf(path, sizeof path, "/peek/myactor/t%d/occurrences", id);
    (void)http_ask(fd, w->port, "POST", path, "", &a);
    runs = timed_number(&a, "runs");
    again = timed_number(&a, "again");
    first = timed_number(&a, "firstDue") - timed_due(all, id);
    last = timed_number(&a, "lastDue") - timed_due(all, id);
    (void)snprintf(path, sizeof path, "/peek/myactor/t%d/get", id);
    (void)http_ask(fd, w->port, "POST", path, "", &a);
    count = a.out;
    (void)snprintf(text, size,
                   "t%d has counted %lld of %d; %lld of %d occurrences, %lld of them out of order,"
                   " from %lld to %lld ms", id, (long long)count, all->runs + jobs,
                   (long long)runs, all->runs, (long long)again, (long long)first, (long long)last);
    if (runs > all->runs || count > all->runs + jobs || again > 0 || (runs > 0 && first != 0))
        return -1;
    if (runs < all->runs || count < all->runs + jobs)
        return 0;
    return last == (int64_t)TIMED_INTERVAL_MS * (all->runs - 1) ? 1 : -1;
}

/* How many actors lack something yet, the last of them in text; -1: see there. */
T_UNUSED static int timed_lack(const timed *all, const worker *w, char *text, size_t size)
{
    char one[200];
    int  fd = -1, lack = 0;
    text[0] = '\0';
    for (int i = 0; i < all->ids && lack >= 0; i++) {
        int well = timed_look(all, w, &fd, i, one, sizeof one);
        if (well < 1)
            (void)snprintf(text, size, "%s", one);
        lack = well < 0 ? -1 : lack + (well == 0);
    }
    if (fd >= 0)
        (void)close(fd);
    return lack;
}

/* Waits until each actor has all; false: one has what it must not have, or it takes minutes. */
T_UNUSED static bool timed_until(const timed *all, const worker *w, char *text, size_t size)
{
    int64_t until = worker_ms() + 4 * WORKER_PATIENCE_MS;
    int     lack;
    while ((lack = timed_lack(all, w, text, size)) > 0 && worker_ms() < until)
        worker_nap();
    return lack == 0;
}

#endif
