/* Several hosts on one file: in this process, and in processes of their own that do what they are
 * told over a pipe and report it.
 *
 *     hosts_far far = { .types = types, .desc = hosts_desc(path, 2) };
 *     hosts_far_start(&far);                   while there is no host in this process yet
 *     hosts_near_open(&near, &desc, types);
 *     t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
 *     t_ok(hosts_order(&far, HOSTS_ADD, "counter", "a"));
 *     hosts_far_kill(&far);
 *
 * The types have a method "increment" as of counters.h. */
#ifndef HOSTS_H
#define HOSTS_H

#include "address.h"
#include "child.h"
#include "counters.h"

#include <dirent.h>
#include <poll.h>

/* The desc of a host that several tests need. */
T_UNUSED static francis_host_desc hosts_desc(const char *path, int workers)
{
    francis_host_desc desc = { .database = path,
                               .workers = workers,
                               .durability = FRANCIS_SURVIVES_CRASH,
                               .timeout_ms = FRANCIS_SECONDS(60),
                               .busy_timeout_ms = FRANCIS_SECONDS(20),
                               .log_level = FRANCIS_LOG_DEBUG };
    return desc;
}

/* -- in this process --------------------------------------------------------------------------- */

typedef struct {
    francis_host *host;
    francis_ctx  *ctx;
    t_log        *log;              /* while it is open */
    char          id[40];
    char          error[1100];      /* text of the last call, or of the host that did not start */
} hosts_near;

static hosts_near *hosts_all[8];    /* those that are open */

/* Opens and starts; says how that went. hosts_near_close is due in any case. What a failed test has
 * left open goes on with a log of its own. */
T_UNUSED static francis_result hosts_near_try(hosts_near *n, const francis_host_desc *desc,
                                              const francis_actor_desc *types)
{
    francis_host_desc d = *desc;
    francis_stats     stats;
    francis_result    r;
    size_t            i = 0;
    (void)memset(n, 0, sizeof *n);
    n->log = (t_log *)calloc(1, sizeof *n->log);
    if (n->log == NULL)
        abort();
    (void)pthread_mutex_init(&n->log->lock, NULL);
    d.on_log = t_log_sink;
    d.log_user = n->log;
    while (hosts_all[i] != NULL)
        i++;
    hosts_all[i] = n;
    (void)francis_open(&n->host, &d);
    for (; types->type != NULL; types++)
        (void)francis_register(n->host, types);
    r = francis_start(n->host);
    n->ctx = francis_host_ctx(n->host);
    (void)snprintf(n->error, sizeof n->error, "%s", francis_host_error(n->host));
    francis_stats_get(n->host, &stats);
    (void)snprintf(n->id, sizeof n->id, "%s", stats.host_id);
    return r;
}

T_UNUSED static void hosts_near_open(hosts_near *n, const francis_host_desc *desc,
                                     const francis_actor_desc *types)
{
    if (hosts_near_try(n, desc, types) != FRANCIS_OK)
        fail_msg("the host does not start: %s", n->error);
}

T_UNUSED static void hosts_near_close(hosts_near *n)
{
    francis_close(n->host);
    n->host = NULL;
    free(n->log);
    n->log = NULL;
    for (size_t i = 0; i < sizeof hosts_all / sizeof hosts_all[0]; i++)
        if (hosts_all[i] == n)
            hosts_all[i] = NULL;
}

T_UNUSED static francis_stats hosts_stats(const hosts_near *n)
{
    francis_stats stats;
    francis_stats_get(n->host, &stats);
    return stats;
}

/* Lets the hosts of this process that have no threads move on. */
T_UNUSED static void hosts_pump(void)
{
    for (size_t i = 0; i < sizeof hosts_all / sizeof hosts_all[0]; i++)
        if (hosts_all[i] != NULL)
            (void)francis_poll(hosts_all[i]->host, 0);
    t_yield();
}

/* t_until that keeps them going. */
#define hosts_until(condition)                                                     \
    do {                                                                           \
        int64_t hosts_end_ = t_ms() + 60000;                                       \
        while (!(condition)) {                                                     \
            if (t_ms() > hosts_end_)                                               \
                fail_msg("never came true: %s", #condition);                       \
            hosts_pump();                                                          \
        }                                                                          \
    } while (0)

/* The last message of this number; a record may come a moment after the answer. */
T_UNUSED static const char *hosts_said(hosts_near *n, unsigned id)
{
    static char text[200];
    hosts_until(t_logged(n->log, id) > 0);
    (void)pthread_mutex_lock(&n->log->lock);
    (void)memcpy(text, n->log->last[id], sizeof text);
    (void)pthread_mutex_unlock(&n->log->lock);
    return text;
}

/* One increment; the model learns what came of it, near.error its text. */
T_UNUSED static francis_result hosts_add(hosts_near *n, const char *type, counter_model *m)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(n->ctx, type, m->id, "increment", NULL, 0, &call);
    (void)snprintf(n->error, sizeof n->error, "%s", call.error != NULL ? call.error : "");
    model_answer(m, r, call.data, call.size);
    francis_call_free(&call);
    return r;
}

/* -- in processes of their own ----------------------------------------------------------------- */

typedef enum {
    HOSTS_OPEN,                     /* the host; its id and error text are in each report */
    HOSTS_ADD,                      /* one increment of type/id */
    HOSTS_ADD_MANY,                 /* of type/id0, type/id1, ...: count of them */
    HOSTS_RUN,                      /* of type/id, one report each, until it is killed */
    HOSTS_LOAD,                     /* count increments, each of one of type/id0 to type/id3 */
    HOSTS_HALT,                     /* type/id */
    HOSTS_FORK,                     /* a child that does nothing: its process is in value */
    HOSTS_LOOK,                     /* nothing but the report */
    HOSTS_CLOSE                     /* the host; it may be opened again */
} hosts_op;

typedef struct {
    hosts_op op;
    int      count;
    char     type[16], id[32];
    char     path[512];             /* OPEN: another database than that of the desc; "" = that */
} hosts_task;

typedef struct {
    francis_result result;
    int64_t        value;           /* the reply */
    int64_t        done[4];         /* LOAD: answers per actor */
    uint64_t       evictions, lives, calls_in, calls_out;
    unsigned       logged[300];
    char           host_id[40];
    char           error[1100];
} hosts_report;

typedef struct {
    francis_host_desc         desc;
    const francis_actor_desc *types;
    CMUnitTestFunction        body;     /* what the process does; NULL = hosts_far_body */
    pid_t                     pid;
    int                       to, from;
    hosts_report              report;   /* the last one */
} hosts_far;

static int   hosts_pipes[64];       /* our ends, which further children must not keep open */
static pid_t hosts_pids[32];        /* those that have not ended */

T_UNUSED static void hosts_pipe_keep(int fd, bool keep)
{
    for (size_t i = 0; i < sizeof hosts_pipes / sizeof hosts_pipes[0]; i++) {
        if (hosts_pipes[i] == (keep ? 0 : fd)) {
            hosts_pipes[i] = keep ? fd : 0;
            return;
        }
    }
}

T_UNUSED static void hosts_pid_keep(pid_t pid, bool keep)
{
    for (size_t i = 0; i < sizeof hosts_pids / sizeof hosts_pids[0]; i++) {
        if (hosts_pids[i] == (keep ? 0 : pid)) {
            hosts_pids[i] = keep ? pid : 0;
            return;
        }
    }
}

T_UNUSED static void hosts_far_report(const hosts_near *n, hosts_report *report, int fd)
{
    (void)snprintf(report->error, sizeof report->error, "%s", n->error);
    if (n->host != NULL) {
        francis_stats stats = hosts_stats(n);
        (void)snprintf(report->host_id, sizeof report->host_id, "%s", stats.host_id);
        report->evictions = stats.evictions;
        report->lives = stats.lives;
        report->calls_in = stats.calls_in;
        report->calls_out = stats.calls_out;
    }
    for (unsigned i = 0; i < 300 && n->log != NULL; i++)
        report->logged[i] = t_logged(n->log, i);
    child_write(fd, report, sizeof *report);
}

T_UNUSED static void hosts_far_add(hosts_near *n, const char *type, const char *id,
                                   hosts_report *report)
{
    francis_call call = { 0 };
    report->result = francis_invoke(n->ctx, type, id, "increment", NULL, 0, &call);
    (void)snprintf(n->error, sizeof n->error, "%s", call.error != NULL ? call.error : "");
    if (report->result == FRANCIS_OK)
        (void)memcpy(&report->value, call.data, sizeof report->value);
    francis_call_free(&call);
}

/* Increments whatever it gets; where the actor lives elsewhere it goes on to the next one, and now
 * and then it lets go of one. */
T_UNUSED static void hosts_far_load(hosts_near *n, const hosts_task *task, hosts_report *report)
{
    unsigned random = (unsigned)getpid();
    char     id[48];
    for (int i = 0; i < task->count; i++) {
        random = random * 1103515245u + 12345u;
        (void)snprintf(id, sizeof id, "%s%u", task->id, random >> 16 & 3);
        hosts_far_add(n, task->type, id, report);
        if (report->result == FRANCIS_OK)
            report->done[random >> 16 & 3]++;
        else if (report->result != FRANCIS_ERR_MOVED)
            return;
        if ((random >> 20 & 7) == 0)
            (void)francis_halt(n->ctx, task->type, id, NULL);
    }
    report->result = FRANCIS_OK;
}

T_UNUSED static void hosts_far_obey(hosts_far *far, hosts_near *n, const hosts_task *task,
                                    hosts_report *report, int out)
{
    francis_host_desc desc = far->desc;
    char              id[48];
    pid_t             pid;
    switch (task->op) {
    case HOSTS_OPEN:
        if (task->path[0] != '\0')
            desc.database = task->path;
        report->result = hosts_near_try(n, &desc, far->types);
        if (report->result != FRANCIS_OK)
            hosts_near_close(n);
        break;
    case HOSTS_ADD:
        hosts_far_add(n, task->type, task->id, report);
        break;
    case HOSTS_ADD_MANY:
        report->result = FRANCIS_OK;
        for (int i = 0; i < task->count && report->result == FRANCIS_OK; i++) {
            (void)snprintf(id, sizeof id, "%s%d", task->id, i);
            hosts_far_add(n, task->type, id, report);
        }
        break;
    case HOSTS_RUN:
        for (;;) {
            hosts_far_add(n, task->type, task->id, report);
            hosts_far_report(n, report, out);
        }
    case HOSTS_LOAD:
        hosts_far_load(n, task, report);
        break;
    case HOSTS_HALT:
        report->result = francis_halt(n->ctx, task->type, task->id, NULL);
        break;
    case HOSTS_FORK:
        pid = fork();
        if (pid == 0) {
            (void)alarm(300);
            for (;;)
                (void)pause();
        }
        report->value = pid;
        break;
    case HOSTS_CLOSE:
        hosts_near_close(n);
        break;
    case HOSTS_LOOK:
        break;
    }
}

/* The ends of other processes' pipes that a child has got with its memory. */
T_UNUSED static void hosts_pipes_close(void)
{
    for (size_t i = 0; i < sizeof hosts_pipes / sizeof hosts_pipes[0]; i++)
        if (hosts_pipes[i] != 0)
            (void)close(hosts_pipes[i]);
}

/* The child. Its host goes on while it waits to be told something. */
T_UNUSED static void hosts_far_body(void **state)
{
    static hosts_near n;
    hosts_far        *far = (hosts_far *)*state;
    hosts_task        task;
    int               in = far->to, out = far->from;
    hosts_pipes_close();
    for (;;) {
        hosts_report  report = { 0 };
        struct pollfd fds[2] = { { in, POLLIN, 0 }, { -1, POLLIN, 0 } };
        bool          inline_host = n.host != NULL && far->desc.workers == FRANCIS_NO_WORKERS;
        if (inline_host)
            fds[1].fd = francis_fd(n.host);
        (void)poll(fds, 2, inline_host && fds[1].fd < 0 ? 5 : -1);
        if (inline_host)
            (void)francis_poll(n.host, 0);
        if (fds[0].revents == 0)
            continue;
        if (!child_read(in, &task, sizeof task))
            break;
        hosts_far_obey(far, &n, &task, &report, out);
        hosts_far_report(&n, &report, out);
    }
    if (n.host != NULL)
        hosts_near_close(&n);
}

/* Starts the process. Its host is opened when it is told so. */
T_UNUSED static void hosts_far_start(hosts_far *far)
{
    int to[2], from[2], mine_to, mine_from;
    if (pipe(to) != 0 || pipe(from) != 0)
        fail_msg("pipe: %s", strerror(errno));
    mine_to = to[1];
    mine_from = from[0];
    hosts_pipe_keep(mine_to, true);
    hosts_pipe_keep(mine_from, true);
    far->to = to[0];
    far->from = from[1];
    (void)signal(SIGPIPE, SIG_IGN);
    far->pid = child_start(far->body != NULL ? far->body : hosts_far_body, far);
    hosts_pid_keep(far->pid, true);
    (void)close(to[0]);
    (void)close(from[1]);
    far->to = mine_to;
    far->from = mine_from;
}

/* Tells it something, and does not wait. */
T_UNUSED static void hosts_tell(hosts_far *far, hosts_op op, const char *type, const char *id,
                                int count)
{
    hosts_task task;
    (void)memset(&task, 0, sizeof task);
    task.op = op;
    task.count = count;
    if (op == HOSTS_OPEN && type != NULL)
        (void)snprintf(task.path, sizeof task.path, "%s", type);
    else if (type != NULL)
        (void)snprintf(task.type, sizeof task.type, "%s", type);
    if (id != NULL)
        (void)snprintf(task.id, sizeof task.id, "%s", id);
    if (write(far->to, &task, sizeof task) != (ssize_t)sizeof task)
        fail_msg("a process with a host does not listen any more");
}

/* Its next report; false: it has ended. */
T_UNUSED static bool hosts_hear(hosts_far *far)
{
    return child_read(far->from, &far->report, sizeof far->report);
}

T_UNUSED static francis_result hosts_order_many(hosts_far *far, hosts_op op, const char *type,
                                                const char *id, int count)
{
    hosts_tell(far, op, type, id, count);
    if (!hosts_hear(far))
        fail_msg("a process with a host has ended, see above");
    return far->report.result;
}

T_UNUSED static francis_result hosts_order(hosts_far *far, hosts_op op, const char *type,
                                           const char *id)
{
    return hosts_order_many(far, op, type, id, 1);
}

/* One increment there, put into the model. */
T_UNUSED static francis_result hosts_order_add(hosts_far *far, const char *type, counter_model *m)
{
    francis_result r = hosts_order(far, HOSTS_ADD, type, m->id);
    model_answer(m, r, &far->report.value, sizeof far->report.value);
    return r;
}

T_UNUSED static void hosts_far_forget(hosts_far *far)
{
    (void)close(far->to);
    (void)close(far->from);
    hosts_pipe_keep(far->to, false);
    hosts_pipe_keep(far->from, false);
    hosts_pid_keep(far->pid, false);
    far->pid = 0;
}

/* After a test: what a failed one has left behind. */
T_UNUSED static void hosts_far_clear(void)
{
    for (size_t i = 0; i < sizeof hosts_pids / sizeof hosts_pids[0]; i++) {
        if (hosts_pids[i] != 0)
            child_kill(hosts_pids[i]);
        hosts_pids[i] = 0;
    }
}

T_UNUSED static void hosts_far_kill(hosts_far *far)
{
    child_kill(far->pid);
    hosts_far_forget(far);
}

/* It closes its host and ends. */
T_UNUSED static void hosts_far_end(hosts_far *far)
{
    pid_t pid = far->pid;
    int   status;
    hosts_far_forget(far);          /* it hears of it by the end of its pipe */
    status = child_wait_for(pid, 60000);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("a process with a host ended with status %d, see above", status);
}

/* -- what lies beside the database ------------------------------------------------------------- */

/* How many files are there whose names begin with that of the database and this; the last of them
 * in name, if wanted. */
T_UNUSED static int hosts_files(const char *path, const char *suffix, char name[256])
{
    char           prefix[300], dir[512];
    const char    *slash = strrchr(path, '/');
    DIR           *d;
    struct dirent *e;
    int            n = 0;
    (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    (void)snprintf(prefix, sizeof prefix, "%s%s", slash + 1, suffix);
    d = opendir(dir);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
            continue;
        n++;
        if (name != NULL)
            (void)snprintf(name, 256, "%s", e->d_name);
    }
    (void)closedir(d);
    return n;
}

/* DATABASE-host-ID */
T_UNUSED static const char *hosts_lock(const char *path, const char *id)
{
    static char name[600];
    (void)snprintf(name, sizeof name, "%s-host-%s", path, id);
    return name;
}

#endif
