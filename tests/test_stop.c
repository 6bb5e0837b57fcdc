/* Processes that are stopped (SIGSTOP) and go on (SIGCONT), at each named step of what a host does.
 *
 * Each case of the table at the end is a process of its own, the director: it starts two or three
 * hosts, each a process again, and tells them through shared memory what to call and where to stop.
 * A host stops itself, by raise(SIGSTOP) in a handler or inside its VFS, so that the place is
 * exact. The cases wait most of the time, so several of them run at once.
 *
 * All increments are booked: those answered with OK, and no others, are in the database at the end
 * of each case, exactly once. An argument of the program is a pattern for the names of cases. */
#include "support/t.h"

#include "support/child.h"
#include "support/counters.h"

#include <fnmatch.h>
#include <stdatomic.h>
#include <sys/mman.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

enum {
    HOSTS  = 3,                     /* of one case: A, which is stopped, B, C */
    SLOTS  = 512,                   /* calls of one host */
    COUNTS = 4096,                  /* the largest count that is followed */
    ACTORS = 16,                    /* that are booked */
    PAGE_BYTES = 20000
};

/* Where a host stops. */
typedef enum {
    NOWHERE,
    /* outside the write transaction */
    LOOP,                           /* the application's own thread, between two calls */
    PEEK,                           /* in the handler of a peek that has read the state */
    INVOKE,                         /* in the handler of an invoke that has changed the state */
    FLUSHED,                        /* the same, after a flush */
    CALL,                           /* in a handler that is about to call another actor */
    NEXT,                           /* right before DATABASE-next is taken, */
    HAS_NEXT,                       /* right after, */
    HAS_WRITER,                     /* and with DATABASE-writer, before BEGIN */
    COMMITTED,                      /* after COMMIT, with DATABASE-writer still taken, */
    LEFT,                           /* and after that is given up, before the answer */
    LOOK,                           /* at the start of a look at the own row, */
    LOOKED,                         /* when it has found no challenge, */
    LOOK_OVER,                      /* and when it has seen that its lock file is still there */
    READ,                           /* in the read of a page, by a connection that only reads */
    READING,                        /* the same, with a mark in the log that it reads there */
    COPY_BACK,                      /* in a checkpoint that lets others write */
    /* inside it, or with the write lock for another reason */
    BEGUN,
    WRITE,
    WRITTEN,
    SYNC,
    SYNCED,
    COMMIT,                         /* all is written, the lock is still held */
    RESTART_COPY,                   /* in a checkpoint that restarts the log: others cannot write */
    RESTART
} stop_step;

typedef enum { ASK_INVOKE, ASK_PEEK, ASK_LIST, ASK_HALT, ASK_WATCH } ask_kind;

enum { SLOT_FREE, SLOT_ASKED, SLOT_UNDER_WAY, SLOT_DONE };

typedef struct {                    /* one call that a host is to make */
    atomic_int     state;
    ask_kind       kind;
    bool           blocking;        /* it waits for the answer, and may run the turn itself */
    char           type[16], id[16], method[16], request[16];
    int64_t        asked_ms, done_ms;
    francis_result result;
    int64_t        value;           /* of the reply; LIST: how many items */
    char           error[300];
} slot;

typedef struct {
    atomic_uint  count;
    atomic_llong at_ms;             /* of the last */
    char         text[300];
} log_book;

typedef struct {                    /* a host, as its process and the director see it */
    /* how it is to be; before it starts */
    char     name;                  /* 'A', 'B', 'C' */
    char     path[512];
    int      workers;
    bool     nonblocking, kill_stuck;
    int64_t  deadline_ms, lease_ms, margin_ms, busy_timeout_ms;
    uint64_t wal_bytes_max;
    /* what it is to do now */
    atomic_int  armed, countdown;   /* a stop_step, at its so many-th time */
    atomic_int  slow_sync_ms;       /* each sync of the log takes so long */
    atomic_bool quit, deaf;         /* deaf: the application does not poll */
    atomic_uint linger, linger_count;   /* who has stopped goes on only when this is in the log, so
                                       often; the other threads go on at once */
    slot        slots[SLOTS];
    /* what it says */
    atomic_bool  serves;
    char         first_id[40];
    francis_stats  stats;           /* of the last ASK_WATCH */
    francis_health health;
    log_book     log[1000];
    atomic_uint  looks, writes;     /* reads of the database begun; files changed or synced */
    atomic_llong peek_saw, peek_ended_after;
} host_box;

typedef struct {
    atomic_llong acknowledged;      /* the largest count that the successor has answered */
    host_box     hosts[HOSTS];
} shared_memory;

#if defined(__linux__)              /* elsewhere nobody tells who has a lock */
#define NAMES_PROCESS true
#else
#define NAMES_PROCESS false
#endif

static shared_memory *shared;
static host_box      *me;           /* in the process of a host */

/* A file, for a mapping of memory alone is not in POSIX; it has no name any more. */
static void shared_begin(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)sizeof *shared), 0);
    shared = (shared_memory *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                                   0);
    assert_true((void *)shared != MAP_FAILED);
    (void)close(fd);
    (void)unlink(path);
}

/* It does not outlive its parent, even if it is stopped then. */
static void dies_with_parent(void)
{
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

/* ---- in the process of a host: stopping ---- */

static void stop_at(stop_step step)
{
    unsigned id;
    int64_t  end;
    if (atomic_load(&me->armed) != (int)step || atomic_fetch_sub(&me->countdown, 1) != 1)
        return;
    atomic_store(&me->armed, NOWHERE);
    (void)raise(SIGSTOP);
    id = atomic_load(&me->linger);
    end = t_ms() + 5000;            /* if it never comes that is what the case is about */
    while (id != 0 && atomic_load(&me->log[id].count) < atomic_load(&me->linger_count)
           && t_ms() < end)
        t_yield();
}

static void stop_if(bool condition, stop_step step)
{
    if (condition)
        stop_at(step);
}

/* A VFS between SQLite and its default one, that knows which step a call is. */
enum { FILE_DB, FILE_WAL, FILE_NEXT, FILE_WRITER, FILE_HOST, FILE_OTHER };
enum { SHM_WRITE = 0, SHM_READERS = 3 };    /* locks of the log's index */

typedef struct {
    sqlite3_file  base;
    int           kind;
    sqlite3_file *real;             /* behind this struct */
} step_file;

static sqlite3_vfs  step_vfs;
static sqlite3_vfs *real_vfs;
static atomic_bool  in_write;       /* this process has the write lock */

static sqlite3_file *real_of(sqlite3_file *file) { return ((step_file *)file)->real; }
static int           kind_of(const sqlite3_file *file) { return ((const step_file *)file)->kind; }
static bool          writing(void) { return atomic_load(&in_write); }

static void changes_file(void)
{
    (void)atomic_fetch_add(&me->writes, 1);
}

static int step_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int step_read(sqlite3_file *file, void *data, int size, sqlite3_int64 at)
{
    int kind = kind_of(file);
    stop_if(!writing() && (kind == FILE_DB || kind == FILE_WAL), READ);
    return real_of(file)->pMethods->xRead(real_of(file), data, size, at);
}

static int step_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at)
{
    int kind = kind_of(file), rc;
    changes_file();
    stop_if(kind == FILE_WAL && writing(), WRITE);
    stop_if(kind == FILE_DB, writing() ? RESTART_COPY : COPY_BACK);
    rc = real_of(file)->pMethods->xWrite(real_of(file), data, size, at);
    stop_if(kind == FILE_WAL && writing(), WRITTEN);
    return rc;
}

static int step_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    changes_file();
    stop_if(kind_of(file) == FILE_WAL && writing(), RESTART);
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

/* Nothing is synced: power is not cut here, and the disk of a busy machine takes seconds. */
static int step_sync(sqlite3_file *file, int flags)
{
    bool ours = kind_of(file) == FILE_WAL && writing();
    int  slow = atomic_load(&me->slow_sync_ms);
    (void)flags;
    changes_file();
    stop_if(ours, SYNC);
    if (ours && slow > 0) {
        struct timespec t = { slow / 1000, slow % 1000 * 1000000L };
        (void)nanosleep(&t, NULL);
    }
    stop_if(ours, SYNCED);
    return SQLITE_OK;
}

static int step_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int step_lock(sqlite3_file *file, int level)
{
    int  kind = kind_of(file), rc;
    bool takes = level == SQLITE_LOCK_RESERVED;
    stop_if(takes && kind == FILE_NEXT, NEXT);
    rc = real_of(file)->pMethods->xLock(real_of(file), level);
    stop_if(takes && rc == SQLITE_OK && kind == FILE_NEXT, HAS_NEXT);
    stop_if(takes && rc == SQLITE_OK && kind == FILE_WRITER, HAS_WRITER);
    return rc;
}

static int step_unlock(sqlite3_file *file, int level)
{
    bool leaves = level == SQLITE_LOCK_SHARED && kind_of(file) == FILE_WRITER;
    int  rc;
    stop_if(leaves, COMMITTED);
    rc = real_of(file)->pMethods->xUnlock(real_of(file), level);
    stop_if(leaves, LEFT);
    return rc;
}

static int step_check(sqlite3_file *file, int *held)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), held);
}

static int step_control(sqlite3_file *file, int op, void *arg)
{
    int rc = real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
    stop_if(op == SQLITE_FCNTL_HAS_MOVED && kind_of(file) == FILE_HOST, LOOK_OVER);
    return rc;
}

static int step_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int step_device(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int step_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static int step_shm_lock(sqlite3_file *file, int at, int count, int flags)
{
    bool locks = (flags & SQLITE_SHM_LOCK) != 0, shared_lock = (flags & SQLITE_SHM_SHARED) != 0;
    bool reads = at >= SHM_READERS && shared_lock, writes = at == SHM_WRITE && !shared_lock;
    int  rc;
    stop_if(reads && locks && !writing(), LOOK);
    stop_if(reads && !locks && !writing(), LOOKED);
    stop_if(writes && !locks, COMMIT);
    if (writes && !locks)
        atomic_store(&in_write, false);
    rc = real_of(file)->pMethods->xShmLock(real_of(file), at, count, flags);
    if (rc != SQLITE_OK || !locks)
        return rc;
    if (reads)
        (void)atomic_fetch_add(&me->looks, 1);
    if (writes)
        atomic_store(&in_write, true);
    stop_if(reads && !writing(), READING);
    stop_if(writes, BEGUN);
    return rc;
}

static void step_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int step_shm_unmap(sqlite3_file *file, int erase)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), erase);
}

static const sqlite3_io_methods step_methods = {
    2,
    step_close,
    step_read,
    step_write,
    step_truncate,
    step_sync,
    step_size,
    step_lock,
    step_unlock,
    step_check,
    step_control,
    step_sector,
    step_device,
    step_shm_map,
    step_shm_lock,
    step_shm_barrier,
    step_shm_unmap,
    NULL,
    NULL
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

static int step_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *flags_out)
{
    step_file *f = (step_file *)file;
    int        rc;
    (void)vfs;
    (void)memset(f, 0, sizeof *f);
    f->real = (sqlite3_file *)(void *)((char *)file + ((sizeof *f + 15) & ~(size_t)15));
    f->kind = FILE_OTHER;
    if ((flags & SQLITE_OPEN_WAL) != 0)
        f->kind = FILE_WAL;
    else if (name != NULL && ends_with(name, "-next"))
        f->kind = FILE_NEXT;
    else if (name != NULL && ends_with(name, "-writer"))
        f->kind = FILE_WRITER;
    else if (name != NULL && strstr(name, ".db-host-") != NULL)
        f->kind = FILE_HOST;
    else if (name != NULL && ends_with(name, ".db"))
        f->kind = FILE_DB;
    rc = real_vfs->xOpen(real_vfs, name, f->real, flags, flags_out);
    if (f->real->pMethods != NULL)
        f->base.pMethods = &step_methods;
    return rc;
}

static void step_vfs_register(void)
{
    assert_int_equal(sqlite3_initialize(), SQLITE_OK);
    real_vfs = sqlite3_vfs_find(NULL);
    assert_non_null(real_vfs);
    step_vfs = *real_vfs;
    step_vfs.szOsFile = real_vfs->szOsFile + (int)((sizeof(step_file) + 15) & ~(size_t)15);
    step_vfs.pNext = NULL;
    step_vfs.zName = "steps";
    step_vfs.xOpen = step_open;
    assert_int_equal(sqlite3_vfs_register(&step_vfs, 0), SQLITE_OK);
}

/* ---- in the process of a host: actors ---- */

/* Notes for the director what it has read, and what the others had answered when it ended. */
static francis_result get_and_stop(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    atomic_store(&me->peek_saw, c->n);
    stop_at(PEEK);
    atomic_store(&me->peek_ended_after, atomic_load(&shared->acknowledged));
    return francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result increment_and_stop(francis_ctx *ctx)
{
    francis_result r = counter_increment(ctx);
    stop_at(INVOKE);
    return r;
}

static francis_result increment_flush_and_stop(francis_ctx *ctx)
{
    francis_result r = counter_increment(ctx);
    if (r == FRANCIS_OK)
        r = francis_flush(ctx, NULL);
    if (r != FRANCIS_OK)
        return r;
    stop_at(FLUSHED);
    return counter_increment(ctx);
}

/* Two effects, here and there, that stand on the state as it was. */
static francis_result stop_and_call(francis_ctx *ctx)
{
    francis_result r;
    stop_at(CALL);
    r = francis_invoke(ctx, "counter", "effect", "increment", NULL, 0, NULL);
    return r == FRANCIS_OK ? counter_increment(ctx) : r;
}

static const francis_method counter_methods[] = {
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    { "stop", increment_and_stop, FRANCIS_INVOKE, 0 },
    { "get_stop", get_and_stop, FRANCIS_PEEK, 0 },
    { "flush_stop", increment_flush_and_stop, FRANCIS_INVOKE, 0 },
    { "call_stop", stop_and_call, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static francis_result page_put(francis_ctx *ctx)
{
    uint8_t *s = (uint8_t *)francis_state(ctx);
    int64_t  n;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)memcpy(&n, s, sizeof n);
    n++;
    (void)memset(s, (int)(n & 255), PAGE_BYTES);
    (void)memcpy(s, &n, sizeof n);
    return francis_reply(ctx, &n, sizeof n);
}

static const francis_method page_methods[] = {
    { "put", page_put, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

/* ---- in the process of a host: what the director asks for ---- */

static francis_call  host_calls[SLOTS];
static francis_host *host;
static atomic_bool   helper_ends;

static void host_log(const francis_log *record, void *user)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    log_book              *book;
    (void)user;
    (void)pthread_mutex_lock(&lock);
    if (record->id < 1000) {
        book = &me->log[record->id];
        (void)snprintf(book->text, sizeof book->text, "%s", record->message);
        atomic_store(&book->at_ms, t_ms());
        (void)atomic_fetch_add(&book->count, 1);
    }
    (void)fprintf(stderr, "%lld %c: %s: %s\n", (long long)t_ms(), me->name, record->name,
                  record->message);
    (void)pthread_mutex_unlock(&lock);
}

static void slot_done(slot *s, francis_result r, int64_t value, const char *error)
{
    s->result = r;
    s->value = value;
    (void)snprintf(s->error, sizeof s->error, "%s", error != NULL ? error : "");
    s->done_ms = t_ms();
    atomic_store(&s->state, SLOT_DONE);
}

static void slot_call_done(slot *s, const francis_call *call)
{
    int64_t value = 0;
    if (call->result == FRANCIS_OK && call->size == sizeof value)
        (void)memcpy(&value, call->data, sizeof value);
    slot_done(s, call->result, value, call->error);
}

static void slot_on_done(francis_call *call)
{
    slot_call_done((slot *)call->user, call);
}

static void slot_list(slot *s)
{
    francis_list   list = { .what = FRANCIS_LIST_STATES };
    francis_result r;
    int64_t        n = 0;
    while ((r = francis_list_next(francis_host_ctx(host), &list)) == FRANCIS_OK)
        n++;
    slot_done(s, r == FRANCIS_DONE ? FRANCIS_OK : r, n, list.error);
    francis_list_free(&list);
}

static void slot_run(slot *s)
{
    francis_ctx   *ctx = francis_host_ctx(host);
    francis_call  *call = &host_calls[s - me->slots];
    francis_result r = FRANCIS_OK;

    atomic_store(&s->state, SLOT_UNDER_WAY);
    (void)memset(call, 0, sizeof *call);
    call->user = s;
    call->on_done = s->blocking ? NULL : slot_on_done;
    call->request_id = s->request[0] != '\0' ? s->request : NULL;
    switch (s->kind) {
    case ASK_LIST:
        slot_list(s);
        return;
    case ASK_WATCH:
        francis_stats_get(host, &me->stats);
        francis_health_get(host, &me->health);
        slot_done(s, FRANCIS_OK, 0, NULL);
        return;
    case ASK_INVOKE:
        r = francis_invoke(ctx, s->type, s->id, s->method, NULL, 0, call);
        break;
    case ASK_PEEK:
        r = francis_peek(ctx, s->type, s->id, s->method, NULL, 0, call);
        break;
    case ASK_HALT:
        r = francis_halt(ctx, s->type, s->id, call);
        break;
    }
    if (r != FRANCIS_PENDING)
        slot_call_done(s, call);
}

/* With workers a thread of the application that waits for its calls, beside the one that does not.
 * Without there is only one, which does both. */
static void slots_run(bool blocking, bool others)
{
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&me->slots[i].state) == SLOT_ASKED
            && (me->slots[i].blocking ? blocking : others))
            slot_run(&me->slots[i]);
}

static void *helper_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&helper_ends)) {
        slots_run(true, false);
        t_yield();
    }
    return NULL;
}

static void host_body(void **state)
{
    static const francis_platform platform = { .version = 1, .sqlite_vfs = "steps" };
    host_box                     *box = (host_box *)*state;
    bool                          threads = box->workers != FRANCIS_NO_WORKERS;
    pthread_t                     helper;
    const francis_actor_desc      types[] = {
        { .type = "counter", .methods = counter_methods, .state_size = sizeof(counter_state),
          .idle_timeout_ms = FRANCIS_FOREVER, .nonblocking = box->nonblocking },
        { .type = "page", .methods = page_methods, .state_size = PAGE_BYTES,
          .idle_timeout_ms = FRANCIS_FOREVER },
        { .type = NULL }
    };
    francis_host_desc desc = { .database = box->path, .workers = box->workers,
                               .health_deadline_ms = box->deadline_ms, .lease_ms = box->lease_ms,
                               .lease_margin_ms = box->margin_ms,
                               .busy_timeout_ms = box->busy_timeout_ms,
                               .kill_stuck_host = box->kill_stuck,
                               .wal_bytes_max = box->wal_bytes_max,
                               .timeout_ms = FRANCIS_SECONDS(100), .platform = &platform,
                               .on_log = host_log, .log_level = FRANCIS_LOG_DEBUG };
    dies_with_parent();
    me = box;
    step_vfs_register();
    host = t_start(&desc, types);
    francis_stats_get(host, &box->stats);
    (void)snprintf(box->first_id, sizeof box->first_id, "%s", box->stats.host_id);
    if (threads)
        assert_int_equal(pthread_create(&helper, NULL, helper_main, NULL), 0);
    atomic_store(&box->serves, true);
    while (!atomic_load(&box->quit)) {
        stop_at(LOOP);              /* behind it comes what the director has asked meanwhile */
        if (!atomic_load(&box->deaf))
            slots_run(!threads, true);
        if (threads || atomic_load(&box->deaf))
            t_yield();
        else
            (void)francis_poll(host, 1);
    }
    if (threads) {
        atomic_store(&helper_ends, true);
        (void)pthread_join(helper, NULL);
    }
    francis_close(host);
}

/* ---- the director: hosts ---- */

typedef struct {
    host_box *box;
    pid_t     pid;
    bool      stopped, ended, may_end;
    int       status;
    int       slots;                /* used so far */
} actor_host;

static actor_host hosts[HOSTS];
#define A (&hosts[0])
#define B (&hosts[1])
#define C (&hosts[2])

/* Time for what has to end soon, and how much longer all takes here. */
static int64_t slower(int64_t ms) { return t_slow() ? ms * 5 / 2 : ms; }
static int64_t soon(void) { return t_slow() ? 60000 : 20000; }

static void a_moment(void)          /* so that who asks again and again does nothing else */
{
    struct timespec t = { 0, 4000000 };
    (void)nanosleep(&t, NULL);
}

/* What has become of the hosts. None may end that was not asked to. */
static void hosts_look(void)
{
    for (int i = 0; i < HOSTS; i++) {
        actor_host *h = &hosts[i];
        int         status = 0;
        if (h->pid == 0 || h->ended || waitpid(h->pid, &status, WNOHANG | WUNTRACED) != h->pid)
            continue;
        if (WIFSTOPPED(status)) {
            h->stopped = true;
            continue;
        }
        h->ended = true;
        h->status = status;
        if (!h->may_end)
            fail_msg("host %c ended by itself, status %d", h->box->name, status);
    }
}

/* As t_until, and the hosts are looked after meanwhile. */
#define case_until(condition)                                                      \
    do {                                                                           \
        int64_t case_end_ = t_ms() + (t_slow() ? 120000 : 60000);                  \
        while (hosts_look(), !(condition)) {                                       \
            if (t_ms() > case_end_)                                                \
                fail_msg("never came true: %s", #condition);                       \
            t_yield();                                                             \
        }                                                                          \
    } while (0)

static void host_start(actor_host *h)
{
    h->pid = child_start(host_body, h->box);
    h->ended = h->stopped = false;
}

static void host_serves(const actor_host *h)
{
    case_until(atomic_load(&h->box->serves));
}

static void arm(actor_host *h, stop_step step, int nth)
{
    atomic_store(&h->box->countdown, nth);
    atomic_store(&h->box->armed, (int)step);
}

static void stops(const actor_host *h)
{
    case_until(h->stopped);
    (void)fprintf(stderr, "%lld %c stopped\n", (long long)t_ms(), h->box->name);
}

static void goes_on(actor_host *h)
{
    assert_true(h->stopped && !h->ended);
    (void)fprintf(stderr, "%lld %c goes on\n", (long long)t_ms(), h->box->name);
    h->stopped = false;
    assert_int_equal(kill(h->pid, SIGCONT), 0);
}

static void is_killed(actor_host *h)
{
    h->may_end = true;
    assert_int_equal(kill(h->pid, SIGKILL), 0);
    case_until(h->ended);
    assert_true(WIFSIGNALED(h->status));
    (void)fprintf(stderr, "%lld %c is dead\n", (long long)t_ms(), h->box->name);
}

static void host_leaves(actor_host *h)
{
    if (h->pid == 0 || h->ended)
        return;
    h->may_end = true;
    atomic_store(&h->box->quit, true);
    case_until(h->ended);
    if (!WIFEXITED(h->status) || WEXITSTATUS(h->status) != 0)
        fail_msg("host %c left with status %d", h->box->name, h->status);
}

static unsigned logged(const actor_host *h, unsigned id)
{
    return atomic_load(&h->box->log[id].count);
}

static bool says(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        return true;
    print_error("'%s' does not say '%s'\n", text, part);
    return false;
}

/* ---- the director: calls, and the books ---- */

typedef struct {
    char    id[16];
    int     ok, unknown;            /* increments that were answered so */
    int64_t last;                   /* the largest answer */
    bool    seen[COUNTS];
} account;

static account accounts[ACTORS];

static account *account_of(const char *id)
{
    for (int i = 0; i < ACTORS; i++) {
        if (accounts[i].id[0] == '\0')
            (void)snprintf(accounts[i].id, sizeof accounts[i].id, "%s", id);
        if (strcmp(accounts[i].id, id) == 0)
            return &accounts[i];
    }
    fail_msg("too many actors");
    return NULL;
}

/* The one that was free for longest. */
static slot *slot_free(actor_host *h)
{
    slot *s;
    do
        s = &h->box->slots[h->slots++ % SLOTS];
    while (atomic_load(&s->state) != SLOT_FREE);
    (void)memset(s->request, 0, sizeof s->request);
    return s;
}

static slot *slot_ask(slot *s, ask_kind kind, const char *type, const char *id, const char *method)
{
    s->kind = kind;
    (void)snprintf(s->type, sizeof s->type, "%s", type);
    (void)snprintf(s->id, sizeof s->id, "%s", id);
    (void)snprintf(s->method, sizeof s->method, "%s", method);
    s->asked_ms = t_ms();
    atomic_store(&s->state, SLOT_ASKED);
    return s;
}

static slot *ask(actor_host *h, ask_kind kind, bool blocking, const char *type, const char *id,
                 const char *method)
{
    slot *s = slot_free(h);
    s->blocking = blocking;
    return slot_ask(s, kind, type, id, method);
}

/* The same piece of work, wherever it is asked for. */
static slot *ask_keyed(actor_host *h, const char *id, const char *method, const char *request)
{
    slot *s = slot_free(h);
    s->blocking = false;
    (void)snprintf(s->request, sizeof s->request, "%s", request);
    return slot_ask(s, ASK_INVOKE, "counter", id, method);
}

static bool done(slot *s) { return atomic_load(&s->state) == SLOT_DONE; }

/* Waits for the answer, and books it; what has a request id may be answered twice, and is booked by
 * the case. The slot keeps what it says until it is asked again. */
static francis_result answer(slot *s)
{
    account *a;
    case_until(done(s));
    if (s->kind == ASK_INVOKE && strcmp(s->type, "counter") == 0 && s->request[0] == '\0') {
        a = account_of(s->id);
        if (s->result == FRANCIS_OK) {
            if (s->value < 1 || s->value >= COUNTS || a->seen[s->value])
                fail_msg("%s: %lld is answered twice, or no count at all", s->id,
                         (long long)s->value);
            a->seen[s->value] = true;
            a->ok++;
            if (s->value > a->last)
                a->last = s->value;
        } else if (francis_outcome(s->result) == FRANCIS_OUTCOME_UNKNOWN) {
            a->unknown++;
        }
    }
    atomic_store(&s->state, SLOT_FREE);
    return s->result;
}

/* An answer that will never come: its process was killed. */
static void give_up(slot *s)
{
    if (done(s))
        (void)answer(s);
    else
        account_of(s->id)->unknown++;
}

static void answer_is(slot *s, francis_result expected)
{
    francis_result r = answer(s);
    if (r != expected)
        fail_msg("%s of %s is %s, not %s: %lld %s", s->method, s->id, francis_result_name(r),
                 francis_result_name(expected), (long long)s->value, s->error);
}

static slot *begin_increment(actor_host *h, const char *id)
{
    return ask(h, ASK_INVOKE, false, "counter", id, "increment");
}

static int64_t increment(actor_host *h, const char *id)
{
    slot *s = begin_increment(h, id);
    answer_is(s, FRANCIS_OK);
    return s->value;
}

static void watch(actor_host *h)
{
    answer_is(ask(h, ASK_WATCH, false, "", "", "watch"), FRANCIS_OK);
}

/* Increments until one is done; before that only MOVED, to owner, is right. */
static int64_t increment_when_free(actor_host *h, const char *id, const actor_host *owner)
{
    int64_t value = 0, end = t_ms() + soon();
    for (;;) {
        slot          *s = begin_increment(h, id);
        francis_result r = answer(s);
        if (r == FRANCIS_OK)
            return s->value;
        value = t_ms();
        if (r != FRANCIS_ERR_MOVED || !says(s->error, owner->box->first_id))
            fail_msg("%s at host %c: %s %s", id, h->box->name, francis_result_name(r), s->error);
        if (value > end)
            fail_msg("host %c does not get %s", h->box->name, id);
        a_moment();
    }
}

/* Increments until one is done, whatever is in between that is worth a retry. */
static int64_t increment_soon(actor_host *h, const char *id)
{
    int64_t end = t_ms() + soon();
    for (;;) {
        slot          *s = begin_increment(h, id);
        francis_result r = answer(s);
        if (r == FRANCIS_OK)
            return s->value;
        if (!francis_retryable(r) || t_ms() > end)
            fail_msg("host %c does not serve %s: %s %s", h->box->name, id, francis_result_name(r),
                     s->error);
        a_moment();
    }
}

/* What is stored is what was answered with OK, once; what has no answer may be there or not. */
static void books_agree(const char *path)
{
    sqlite3 *db = raw_open(path);
    for (int i = 0; i < ACTORS && accounts[i].id[0] != '\0'; i++) {
        account      *a = &accounts[i];
        counter_state c;
        int64_t       n = 0;
        (void)raw_state(db, "counter", a->id, &c, sizeof c);
        if (!counter_whole(&c))
            fail_msg("%s: half a state is stored", a->id);
        for (int64_t k = 1; k <= c.n && k < COUNTS; k++)
            n += a->seen[k];
        if (n != a->ok || c.n < a->ok || c.n > a->ok + a->unknown)
            fail_msg("%s: %lld is stored, %d were answered with OK (%lld of them in it), %d have "
                     "no answer",
                     a->id, (long long)c.n, a->ok, (long long)n, a->unknown);
    }
    raw_check(db);
    (void)sqlite3_close(db);
}

static int64_t raw_number(const char *path, const char *sql, const char *a)
{
    sqlite3 *db = raw_open(path);
    int64_t  n = raw_int(db, sql, a, NULL);
    (void)sqlite3_close(db);
    return n;
}

/* Everybody leaves; the books are compared. */
static void curtain(void)
{
    for (int i = 0; i < HOSTS; i++)
        host_leaves(&hosts[i]);
    books_agree(A->box->path);
    assert_int_equal(raw_number(A->box->path, "SELECT count(*) FROM francis_active_actors"
                                              " WHERE host_id NOT IN (SELECT host_id FROM"
                                              " francis_ext_hosts WHERE evicted = 1)", NULL),
                     0);
}

/* ---- the cases ---- */

/* How the stopped host runs its turns. */
typedef enum {
    WORKERS,                        /* two, calls are asynchronous */
    NO_WORKERS,                     /* asynchronous, too, all in francis_poll */
    INLINE,                         /* two, of a nonblocking type that runs on the thread which
                                       waits for the call */
    NO_WORKERS_INLINE               /* the same, on the only thread */
} run_mode;

typedef enum {
    GOES_ON,
    LINGERS,                        /* the thread that stopped is the last to hear of an eviction */
    IS_KILLED
} what_then;

typedef struct stop_case {
    void      (*run)(const struct stop_case *c);
    const char *name;
    stop_step   step;
    run_mode    mode;
    what_then   then;
    bool        asked;              /* somebody asks for the actors of the one that stops */
    bool        halts;              /* it hibernates the actor when it stops, else it calls it */
    bool        released;           /* B gives the actor up again, before the other goes on */
} stop_case;

static bool waits(const stop_case *c) { return c->mode == INLINE || c->mode == NO_WORKERS_INLINE; }

/* Hosts with the same short times; a case changes what it wants before it starts them. */
static void cast(const stop_case *c)
{
    for (int i = 0; i < HOSTS; i++) {
        host_box *b = &shared->hosts[i];
        hosts[i].box = b;
        b->name = (char)('A' + i);
        if (getcwd(b->path, sizeof b->path - 8) == NULL)
            fail_msg("getcwd: %s", strerror(errno));
        (void)strcat(b->path, "/case.db");
        b->workers = 2;
        b->deadline_ms = slower(800);
        b->lease_ms = slower(200);
        b->margin_ms = slower(40);
        b->busy_timeout_ms = FRANCIS_SECONDS(60);
    }
    if (c->mode == NO_WORKERS || c->mode == NO_WORKERS_INLINE)
        A->box->workers = FRANCIS_NO_WORKERS;
    A->box->nonblocking = c->mode == INLINE;
}

static void both_serve(void)
{
    host_start(A);
    host_serves(A);
    host_start(B);
    host_serves(B);
}

/* The call that will stop at the step, or NULL where that needs none. */
static slot *trigger(const stop_case *c)
{
    switch (c->step) {
    case LOOP:
    case LOOK:
    case LOOKED:
    case LOOK_OVER: return NULL;
    case PEEK:    return ask(A, ASK_PEEK, waits(c), "counter", "hot", "get_stop");
    case INVOKE:  return ask(A, ASK_INVOKE, waits(c), "counter", "hot", "stop");
    case FLUSHED: return ask(A, ASK_INVOKE, waits(c), "counter", "hot", "flush_stop");
    case CALL:    return ask(A, ASK_INVOKE, waits(c), "counter", "hot", "call_stop");
    default:      break;
    }
    if (c->halts)
        return ask(A, ASK_HALT, waits(c), "counter", "hot", "halt");
    return ask(A, ASK_INVOKE, waits(c), "counter", "hot", "increment");
}

enum { LATE = 12 };

typedef struct {                    /* of case_evicted */
    slot   *first;                  /* the call that stops; NULL = none */
    slot   *late[LATE];             /* others that A answers when it goes on */
    int     count;
    bool    committed;              /* the first, and what was in its transaction */
    int64_t known, quiet;           /* counts before A stops */
    int64_t taken_at;               /* the first that B has answered, */
    int64_t hot_seen, quiet_seen;   /* and the last */
} scene;

/* What a stopped host answers once it goes on: nothing is OK any more, but what was committed
 * before somebody else took the actor, or after he had given it up. */
static void late_answer(const stop_case *c, const scene *e, slot *s)
{
    francis_result r = answer(s);
    bool           writes = s->kind == ASK_INVOKE, hot = strcmp(s->id, "hot") == 0;
    int64_t        seen = hot ? e->hot_seen : e->quiet_seen;
    if (r == FRANCIS_ERR_EVICTED || r == FRANCIS_ERR_MOVED)
        return;
    if (r == FRANCIS_OK && writes && hot && e->committed && s->value < e->taken_at)
        return;
    if (r == FRANCIS_OK && c->released && s->value >= seen + (writes ? 1 : 0))
        return;
    fail_msg("%s of %s after SIGCONT: %s %lld %s; %lld was acknowledged", s->method, s->id,
             francis_result_name(r), (long long)s->value, s->error, (long long)seen);
}

/* What the one gets whose turn was under way: that has run, so MOVED would be wrong. */
static void stopped_answer(const stop_case *c, const scene *e, slot *s)
{
    francis_result r = answer(s);
    if (c->halts)                   /* whatever that is called, the actor is not here any more */
        return;
    if (e->committed && r == FRANCIS_OK && s->value < e->taken_at)
        return;                     /* it is done, nothing else is true */
    if (!e->committed
        && (r == FRANCIS_ERR_EVICTED || (c->step == FLUSHED && r == FRANCIS_ERR_UNKNOWN)))
        return;
    fail_msg("%s of %s that was stopped: %s %lld %s", s->method, s->id, francis_result_name(r),
             (long long)s->value, s->error);
}

static void evicted_stops(const stop_case *c, scene *e)
{
    unsigned looks;
    for (int i = 0; i < 3; i++)
        (void)increment(A, "hot");
    e->known = account_of("hot")->last;
    e->quiet = increment(A, "quiet");
    (void)increment(B, "other");
    (void)account_of("effect");     /* of which nothing may be stored */
    looks = atomic_load(&A->box->looks);
    case_until(atomic_load(&A->box->looks) > looks + 3);    /* the first reads the schema, too */
    if (c->then == LINGERS) {       /* a handler even until the host has come back */
        bool handler = c->step == PEEK || c->step == INVOKE || c->step == FLUSHED
                       || c->step == CALL;
        atomic_store(&A->box->linger_count, handler ? 2 : 1);
        atomic_store(&A->box->linger, handler ? 101 : 104);
    }
    arm(A, c->step, 1);
    e->first = trigger(c);
    if (e->first != NULL && !waits(c)) {
        for (int i = 0; i < 3; i++)
            e->late[e->count++] = begin_increment(A, "hot");
        e->late[e->count++] = ask(A, ASK_PEEK, false, "counter", "hot", "get");
    }
    stops(A);
}

/* B gets the actors, and writes. */
static void evicted_taken(const stop_case *c, scene *e)
{
    int64_t begin = t_ms(), took, least = A->box->lease_ms + B->box->margin_ms;
    e->taken_at = increment_when_free(B, "hot", A);
    took = t_ms() - begin;
    if (least < B->box->deadline_ms)
        least = B->box->deadline_ms;
    if (took < least || took > 2 * B->box->deadline_ms + soon())
        fail_msg("B had the actor after %lld ms", (long long)took);
    if (c->halts)
        assert_int_equal(e->taken_at, e->known + 1);
    else if (e->committed)
        assert_true(e->taken_at > e->known + 1);
    else
        assert_int_equal(e->taken_at, e->known + 1 + (c->step == FLUSHED));
    account_of("hot")->unknown += c->step == FLUSHED;
    for (int i = 0; i < 4; i++)
        (void)increment(B, "hot");
    e->quiet_seen = increment(B, "quiet");
    assert_int_equal(e->quiet_seen, e->quiet + 1);
    e->hot_seen = account_of("hot")->last;
    atomic_store(&shared->acknowledged, e->hot_seen);
    watch(B);
    assert_int_equal(B->box->stats.evictions, 1);
    assert_int_equal(logged(B, 105), 1);
    assert_true(says(B->box->log[105].text, A->box->first_id));
    if (c->released) {
        answer_is(ask(B, ASK_HALT, false, "counter", "hot", "halt"), FRANCIS_OK);
        answer_is(ask(B, ASK_HALT, false, "counter", "quiet", "halt"), FRANCIS_OK);
    }
}

/* What A has taken of the queue holds B up once, no more: each wait for it is 100 ms at least, so
 * soon there are some commits in a row that cannot have waited, unless all of them do. */
static void evicted_queue(const stop_case *c)
{
    enum { WRITES = 12 };
    int64_t begin, took, end = t_ms() + soon();
    if (c->released)
        return;
    do {
        begin = t_ms();
        for (int i = 0; i < WRITES; i++)
            (void)increment(B, "other");
        took = t_ms() - begin;
        if (t_ms() > end)
            fail_msg("%d commits beside a stopped process took %lld ms", WRITES, (long long)took);
    } while (took >= WRITES * 50);
}

static void evicted_goes_on(const stop_case *c, scene *e)
{
    for (int i = 0; i < 4; i++) {   /* the first things that it does */
        const char *one = i < 2 ? "hot" : "quiet", *other = i < 2 ? "quiet" : "hot";
        e->late[e->count++] = ask(A, ASK_PEEK, i % 2 == 0, "counter", one, "get");
        e->late[e->count++] = ask(A, ASK_INVOKE, i % 2 == 0, "counter", other, "increment");
    }
    goes_on(A);
    for (int i = 0; i < e->count; i++)
        late_answer(c, e, e->late[i]);
    if (e->first != NULL)
        stopped_answer(c, e, e->first);
    if (c->step == PEEK)            /* else this case proves nothing */
        assert_true(atomic_load(&A->box->peek_ended_after) > atomic_load(&A->box->peek_saw));
    (void)increment_soon(A, "fresh");
    watch(A);
    assert_int_equal(A->box->stats.lives, 2);
    assert_string_not_equal(A->box->stats.host_id, A->box->first_id);
    assert_int_equal(A->box->stats.evictions, 0);
    assert_int_equal(logged(A, 104), 1);
}

/* A stops outside its write transaction, for longer than the deadline, while B asks for its actor.
 * B gets it, not before the time is up, and commits more. A goes on: it writes nothing over that,
 * shows nothing old, tells all who wait the truth, and comes back under another id. Would catch: a
 * fence that is checked before the transaction and not in it; a lease that is renewed from the end
 * of a look, not from its start; a reply that leaves on a lease that has run out; what was sealed
 * in one life and is committed in the next; locks of the queue that are waited for without end; B
 * killing A though it holds nothing back. */
static void case_evicted(const stop_case *c)
{
    scene e;
    cast(c);
    (void)memset(&e, 0, sizeof e);
    e.committed = c->step == COMMITTED || c->step == LEFT;
    A->box->deadline_ms = FRANCIS_SECONDS(60);      /* A suspects nobody */
    B->box->kill_stuck = true;      /* no reason to use it */
    both_serve();
    evicted_stops(c, &e);
    evicted_taken(c, &e);
    evicted_queue(c);
    evicted_goes_on(c, &e);
    if (c->released) {              /* who has it now is not said, only that it works */
        answer_is(ask(A, ASK_PEEK, waits(c), "counter", "fresh", "get"), FRANCIS_OK);
    } else {
        answer_is(ask(A, ASK_PEEK, waits(c), "counter", "hot", "get"), FRANCIS_ERR_MOVED);
        assert_int_equal(increment(B, "hot"), e.hot_seen + 1);
        answer_is(ask(B, ASK_HALT, false, "counter", "hot", "halt"), FRANCIS_OK);
        assert_int_equal(increment_soon(A, "hot"), e.hot_seen + 2);
    }
    watch(B);
    assert_int_equal(B->box->stats.evictions, 1);
    assert_int_equal(B->box->stats.lives, 1);
    assert_int_equal(logged(B, 111), 0);
    curtain();
}

/* A piece of work with a request id is stopped at A, asked for again at B when that has the actor,
 * and goes on at A, which asks again by itself until it gets the actor back. Both have the same
 * answer: it was done once. Would catch: records of request ids that do not move with the actor. */
static void case_keyed(const stop_case *c)
{
    slot   *first, *again;
    int64_t before;
    cast(c);
    A->box->deadline_ms = FRANCIS_SECONDS(60);
    both_serve();
    (void)increment(A, "hot");
    (void)increment(B, "other");
    arm(A, c->step, 1);
    first = ask_keyed(A, "hot", c->step == INVOKE ? "stop" : "increment", "work");
    stops(A);
    before = increment_when_free(B, "hot", A);
    assert_int_equal(before, c->step == LEFT ? 3 : 2);
    again = ask_keyed(B, "hot", c->step == INVOKE ? "stop" : "increment", "work");
    answer_is(again, FRANCIS_OK);
    assert_int_equal(again->value, c->step == LEFT ? 2 : 3);
    account_of("hot")->seen[again->value] = true;
    account_of("hot")->ok++;
    (void)increment(B, "hot");
    goes_on(A);
    (void)increment_soon(A, "fresh");
    answer_is(ask(B, ASK_HALT, false, "counter", "hot", "halt"), FRANCIS_OK);
    answer_is(first, FRANCIS_OK);
    assert_int_equal(first->value, again->value);
    assert_int_equal(increment_soon(A, "hot"), 5);
    curtain();
}

/* A stops for several leases in the middle of a peek, and nobody asks for its actors: it has to
 * look at its row before the answer leaves, and then the answer is right. Would catch: a host that
 * takes every long pause for an eviction. */
static void case_not_missed(const stop_case *c)
{
    slot   *first;
    int64_t begin;
    cast(c);
    both_serve();
    (void)increment(A, "hot");
    (void)increment(A, "hot");
    (void)increment(B, "other");
    arm(A, PEEK, 1);
    first = trigger(c);
    stops(A);
    begin = t_ms();
    case_until(t_ms() - begin > 4 * A->box->lease_ms);
    goes_on(A);
    answer_is(first, FRANCIS_OK);
    assert_int_equal(first->value, 2);
    if (A->box->workers == FRANCIS_NO_WORKERS)      /* else another thread may look first */
        assert_true(logged(A, 110) >= 1);
    assert_int_equal(increment(A, "hot"), 3);
    watch(A);
    assert_int_equal(A->box->stats.lives, 1);
    assert_int_equal(logged(A, 104) + logged(B, 105) + logged(B, 108), 0);
    curtain();
}

/* One that joins while nobody can write: its process is known, but not yet its id. */
static slot *stop_inside(const stop_case *c, bool joins)
{
    slot *s = NULL;
    if (joins) {
        arm(A, c->step, 1);
        host_start(A);
        stops(A);
        return NULL;
    }
    host_start(A);
    host_serves(A);
    for (int i = 0; i < 3; i++)
        (void)increment(A, "hot");
    arm(A, c->step, 1);
    while (!A->stopped) {           /* for a checkpoint it takes some */
        if (c->step == RESTART_COPY || c->step == RESTART) {
            s = ask(A, ASK_INVOKE, false, "page", "p", "put");
            case_until(done(s) || A->stopped);
            if (done(s)) {
                answer_is(s, FRANCIS_OK);
                s = NULL;
            }
        } else {
            s = begin_increment(A, "hot");
            case_until(A->stopped);
        }
    }
    return s;
}

/* What all the others can still do, and what not. */
static void others_wait(bool joins)
{
    slot *calls[4], *peek;
    int   count = 0, peeks = 0;
    char  process[40];

    calls[count++] = begin_increment(B, "busy");
    calls[count++] = begin_increment(B, "new");
    calls[count++] = begin_increment(B, joins ? "other" : "hot");
    calls[count++] = ask(B, ASK_INVOKE, false, "page", "q", "put");
    while (!done(calls[0]) || !done(calls[1]) || !done(calls[2]) || !done(calls[3])) {
        peek = ask(B, ASK_PEEK, peeks % 2 == 0, "counter", "mine", "get");
        answer_is(peek, FRANCIS_OK);
        assert_int_equal(peek->value, 2);
        answer_is(ask(B, ASK_LIST, false, "", "", "list"), FRANCIS_OK);
        peeks++;
        hosts_look();
    }
    if (peeks < 5)
        fail_msg("%d peeks while writes waited", peeks);
    (void)snprintf(process, sizeof process, "process %ld ", (long)A->pid);
    if (!NAMES_PROCESS)
        process[0] = '\0';
    for (int i = 0; i < count; i++) {
        answer_is(calls[i], FRANCIS_ERR_LOCKED);
        if (calls[i]->done_ms - calls[i]->asked_ms < B->box->busy_timeout_ms * 9 / 10)
            fail_msg("LOCKED after %lld ms",
                     (long long)(calls[i]->done_ms - calls[i]->asked_ms));
        assert_true(says(calls[i]->error, process));
        assert_true(joins || !NAMES_PROCESS || says(calls[i]->error, A->box->first_id));
    }
    watch(B);
    assert_true(B->box->health.busy_age_ms > 0);
    assert_int_equal(B->box->health.busy_process, NAMES_PROCESS ? A->pid : 0);
    assert_true(logged(B, 206) >= 1);
    assert_true(says(B->box->log[206].text, process));
    assert_true(joins || !NAMES_PROCESS || says(B->box->log[206].text, A->box->first_id));
    assert_int_equal(B->box->stats.evictions + logged(B, 105) + logged(B, 111), 0);
    assert_int_equal(raw_number(B->box->path, "SELECT count(*) FROM francis_ext_hosts WHERE"
                                              " evicted = 1", NULL), 0);
    hosts_look();
    assert_true(A->stopped && !A->ended);
}

/* A stops, or dies, with the write lock. Nobody can take over from it, but the others go on reading
 * and say who it is, and all is well when it goes on or is dead. Would catch: peeks that wait for
 * the committer; a lease that needs a write; writes that wait for ever, or that are said to have
 * failed and are committed later; a wait that is blamed on the wrong one; an eviction of one that
 * cannot answer because it is in the middle of writing. */
static void case_inside(const stop_case *c)
{
    bool  joins = strstr(c->name, "joining") != NULL;
    slot *first;

    cast(c);
    B->box->busy_timeout_ms = slower(1600);
    if (c->step == RESTART_COPY || c->step == RESTART)
        A->box->wal_bytes_max = 128 * 1024;
    host_start(B);
    host_serves(B);
    for (int i = 0; i < 2; i++)
        (void)increment(B, "mine");
    (void)increment(B, "busy");
    first = stop_inside(c, joins);
    others_wait(joins);
    if (c->asked) {                 /* once more: by now kill_stuck_host would have killed it */
        int64_t begin = t_ms();     /* and what B gives up has waited for a while already */
        case_until(t_ms() - begin > B->box->busy_timeout_ms / 2);
        others_wait(joins);
        case_until(t_ms() - begin > B->box->deadline_ms + 1500);
        assert_int_equal(logged(B, 111), 0);
        assert_true(A->stopped && !A->ended);
    }

    if (c->then == IS_KILLED) {
        is_killed(A);
        if (first != NULL)
            give_up(first);
    } else {
        goes_on(A);
        if (first != NULL)
            answer_is(first, FRANCIS_OK);
        host_serves(A);
        (void)increment_soon(A, "hot");
    }
    (void)increment(B, "busy");
    (void)increment(B, "new");
    if (c->then == IS_KILLED) {     /* by proof, at once */
        int64_t begin = t_ms();
        (void)increment(B, "hot");
        assert_true(t_ms() - begin < soon());
    }
    case_until((watch(B), B->box->health.busy_age_ms == 0 && B->box->health.busy_process == 0));
    assert_int_equal(B->box->stats.lives, 1);
    assert_int_equal(B->box->stats.evictions, c->then == IS_KILLED && !joins ? 1 : 0);
    assert_int_equal(logged(A, 104) + logged(B, 104) + logged(B, 111), 0);
    curtain();
}

/* The same with kill_stuck_host. Would catch: a switch that does nothing; a kill before the time is
 * up; a host that waits for a dead one. */
static void case_kill(const stop_case *c)
{
    slot   *first, *waiting;
    int64_t begin;
    char    process[40];
    cast(c);
    if (!NAMES_PROCESS)
        child_skip("the system does not tell who has a lock");
    B->box->kill_stuck = true;
    both_serve();
    (void)increment(A, "hot");
    (void)increment(B, "busy");
    arm(A, c->step, 1);
    first = begin_increment(A, "hot");
    stops(A);
    A->may_end = true;
    begin = t_ms();
    waiting = begin_increment(B, "busy");
    case_until(A->ended);
    assert_true(WIFSIGNALED(A->status));
    assert_int_equal(WTERMSIG(A->status), SIGKILL);
    assert_true(t_ms() - begin >= B->box->deadline_ms);
    give_up(first);
    answer_is(waiting, FRANCIS_OK);
    (void)increment(B, "hot");
    (void)snprintf(process, sizeof process, "process %ld ", (long)A->pid);
    assert_int_equal(logged(B, 111), 1);
    assert_true(says(B->box->log[111].text, process));
    watch(B);
    assert_int_equal(B->box->stats.evictions, 1);
    curtain();
}

/* Two hosts whose disk is so slow that the third waits much longer than the deadline, for two
 * commits. It kills neither. Would catch: a clock that runs since it has begun to wait, not since
 * the last commit of anybody. */
static void case_kill_not_slow(const stop_case *c)
{
    enum { ROUNDS = 10 };           /* until chance has let C go before B */
    slot   *calls[3];
    int     slow_ms = (int)slower(1600);
    int64_t longest = 0;
    cast(c);
    for (int i = 0; i < HOSTS; i++) {
        hosts[i].box->deadline_ms = slower(2200);
        hosts[i].box->lease_ms = slower(500);
        hosts[i].box->kill_stuck = true;
        host_start(&hosts[i]);
        host_serves(&hosts[i]);
    }
    (void)increment(A, "a");
    (void)increment(B, "b");
    (void)increment(C, "c");
    atomic_store(&A->box->slow_sync_ms, slow_ms);
    atomic_store(&C->box->slow_sync_ms, slow_ms);
    for (int i = 0; i < ROUNDS && longest <= B->box->deadline_ms; i++) {
        calls[0] = begin_increment(A, "a");
        case_until((watch(A), A->box->health.commit_age_ms > 20));
        calls[2] = begin_increment(C, "c");
        case_until((watch(C), C->box->health.commit_age_ms > 20));
        calls[1] = begin_increment(B, "b");
        for (int k = 0; k < 3; k++)
            answer_is(calls[k], FRANCIS_OK);
        if (calls[1]->done_ms - calls[1]->asked_ms > longest)
            longest = calls[1]->done_ms - calls[1]->asked_ms;
    }
    assert_true(longest > B->box->deadline_ms);     /* else this case proves nothing */
    atomic_store(&A->box->slow_sync_ms, 0);
    atomic_store(&C->box->slow_sync_ms, 0);
    assert_int_equal(logged(A, 111) + logged(B, 111) + logged(C, 111), 0);
    curtain();
}

/* Somebody who is no host has the write lock, for several deadlines; all hosts wait for him, one of
 * them at the head of the queue. Would catch: who is first in the queue is taken for the one that
 * holds the others up, and killed. */
static void case_kill_not_waiting(const stop_case *c)
{
    slot    *calls[3];
    sqlite3 *db;
    int64_t  begin;
    cast(c);
    for (int i = 0; i < HOSTS; i++) {
        hosts[i].box->kill_stuck = true;
        host_start(&hosts[i]);
        host_serves(&hosts[i]);
    }
    (void)increment(A, "a");
    (void)increment(B, "b");
    (void)increment(C, "c");
    db = raw_open(A->box->path);
    raw_exec(db, "BEGIN IMMEDIATE");
    calls[0] = begin_increment(A, "a");
    calls[1] = begin_increment(B, "b");
    calls[2] = begin_increment(C, "c");
    begin = t_ms();
    case_until(logged(A, 206) > 0 && logged(B, 206) > 0 && logged(C, 206) > 0
               && t_ms() - begin > 4 * A->box->deadline_ms);
    for (int i = 0; i < HOSTS; i++) {
        watch(&hosts[i]);
        if (hosts[i].box->health.busy_process != (NAMES_PROCESS ? (int64_t)getpid() : 0))
            fail_msg("host %c blames process %lld", hosts[i].box->name,
                     (long long)hosts[i].box->health.busy_process);
    }
    raw_exec(db, "COMMIT");
    (void)sqlite3_close(db);
    for (int i = 0; i < 3; i++)
        answer_is(calls[i], FRANCIS_OK);
    assert_int_equal(logged(A, 111) + logged(B, 111) + logged(C, 111), 0);
    curtain();
}

/* A stops with DATABASE-writer, and does not write; B goes without, and stops inside its write
 * transaction. C must not kill A, which holds nobody up, but B. Would catch: the queue is taken for
 * the lock. */
static void case_kill_not_queued(const stop_case *c)
{
    slot   *first, *second, *waiting;
    int64_t begin;
    cast(c);
    C->box->kill_stuck = true;
    for (int i = 0; i < HOSTS; i++) {
        hosts[i].box->deadline_ms = slower(800);
        host_start(&hosts[i]);
        host_serves(&hosts[i]);
    }
    (void)increment(A, "a");
    (void)increment(B, "b");
    (void)increment(C, "c");
    arm(A, HAS_WRITER, 1);
    first = begin_increment(A, "a");
    stops(A);
    arm(B, WRITE, 1);
    second = begin_increment(B, "b");
    stops(B);
    B->may_end = true;              /* it is the one that may be killed */
    waiting = begin_increment(C, "c");
    begin = t_ms();
    case_until(B->ended || (!NAMES_PROCESS && t_ms() - begin > 4 * C->box->deadline_ms));
    assert_true(A->stopped && !A->ended);
    if (B->ended) {
        give_up(second);
        assert_true(says(C->box->log[111].text, B->box->first_id));
    } else {
        goes_on(B);
        answer_is(second, FRANCIS_OK);
    }
    answer_is(waiting, FRANCIS_OK);
    goes_on(A);
    answer_is(first, FRANCIS_OK);
    curtain();
}

static int64_t wal_size(void)
{
    char wal[600];
    return raw_file_size(raw_beside(wal, A->box->path, "-wal"));
}

/* A stops in a read, or in a checkpoint beside which others can write. They do, the log grows
 * meanwhile, and shrinks when A goes on. If A is asked for it is evicted as ever. Would catch: a
 * host that waits for a foreign reader; a log that never gets small again. */
static void case_reading(const stop_case *c)
{
    enum { LIMIT = 256 * 1024 };
    slot   *list = NULL;
    int64_t grown, end, pages;
    cast(c);
    A->box->deadline_ms = FRANCIS_SECONDS(60);
    A->box->wal_bytes_max = c->step == COPY_BACK ? 0 : LIMIT;
    B->box->wal_bytes_max = LIMIT;
    host_start(A);
    host_serves(A);
    (void)increment(A, "hot");
    if (c->step == COPY_BACK) {     /* it does that by itself, when enough is written */
        arm(A, c->step, 1);
        while (!A->stopped) {
            slot *s = ask(A, ASK_INVOKE, false, "page", "p", "put");
            case_until(done(s) || A->stopped);
            if (done(s))
                answer_is(s, FRANCIS_OK);
        }
    }
    host_start(B);
    host_serves(B);
    for (int i = 0; i < 3; i++)     /* what A knows of the file is old now: it has to read */
        (void)increment(B, "other");
    if (c->step != COPY_BACK) {
        arm(A, c->step, 1);
        list = ask(A, ASK_LIST, false, "", "", "list");
        stops(A);
    }
    for (pages = 0; pages < 60; pages++)
        answer_is(ask(B, ASK_INVOKE, false, "page", "q", "put"), FRANCIS_OK);
    grown = wal_size();
    assert_true(grown > 2 * LIMIT); /* else this case proves nothing */
    if (c->asked)
        (void)increment_when_free(B, "hot", A);
    goes_on(A);
    if (list != NULL) {
        answer_is(list, FRANCIS_OK);
        assert_true(list->value >= 2);
    }
    end = t_ms() + soon();
    do {
        answer_is(ask(B, ASK_INVOKE, false, "page", "q", "put"), FRANCIS_OK);
        if (t_ms() > end)
            fail_msg("the log had %lld bytes, and still has %lld", (long long)grown,
                     (long long)wal_size());
    } while (wal_size() > 2 * LIMIT);
    (void)increment_soon(A, "fresh");
    watch(A);
    assert_int_equal(A->box->stats.lives, c->asked ? 2 : 1);
    assert_int_equal(logged(B, 105), c->asked ? 1 : 0);
    curtain();
}

/* B asks again and again for an actor of A, which is well and has nothing to do. Would catch: a
 * host that is idle and so does not see its challenge; a challenge for each call; one that has
 * answered and is not believed. */
static void case_idle_answers(const stop_case *c)
{
    int64_t begin, elapsed, challenges;
    cast(c);
    A->box->deadline_ms = FRANCIS_SECONDS(60);
    both_serve();
    (void)increment(A, "hot");
    begin = t_ms();
    while ((elapsed = t_ms() - begin) < 6 * B->box->deadline_ms) {
        slot *s = begin_increment(B, "hot");
        answer_is(s, FRANCIS_ERR_MOVED);
        assert_true(says(s->error, A->box->first_id));
        a_moment();
    }
    case_until(raw_number(A->box->path, "SELECT challenge = answer FROM francis_ext_hosts WHERE"
                                        " host_id = ?1", A->box->first_id) == 1);
    challenges = raw_number(A->box->path, "SELECT challenge FROM francis_ext_hosts WHERE"
                                          " host_id = ?1", A->box->first_id);
    /* Each is judged after a deadline; then comes the next one. */
    if (challenges < 3 || challenges > elapsed / B->box->deadline_ms + 1)
        fail_msg("%lld challenges in %lld ms", (long long)challenges, (long long)elapsed);
    case_until(logged(B, 108) == (unsigned)challenges);
    assert_int_equal(logged(A, 109), challenges);
    assert_int_equal(raw_number(A->box->path, "SELECT challenge FROM francis_ext_hosts WHERE"
                                              " host_id = ?1", B->box->first_id), 0);
    assert_int_equal(increment(A, "hot"), 2);
    watch(A);
    watch(B);
    assert_int_equal(A->box->stats.lives, 1);
    assert_int_equal(B->box->stats.evictions, 0);
    assert_int_equal(logged(A, 104) + logged(B, 105), 0);
    curtain();
}

/* Nobody asks anybody for anything: no challenge, not a byte is written, for many leases, however
 * often the hosts look at their rows. Would catch: heartbeats that wear flash. */
static void case_idle_writes_nothing(const stop_case *c)
{
    sqlite3 *db;
    int64_t  version, wal, file;
    unsigned writes_a, writes_b, looks_a, looks_b;
    cast(c);
    both_serve();
    (void)increment(A, "hot");
    (void)increment(B, "other");
    db = raw_open(A->box->path);
    do {                            /* until what belongs to the start is over */
        version = raw_int(db, "PRAGMA data_version", NULL, NULL);
        looks_a = atomic_load(&A->box->looks);
        looks_b = atomic_load(&B->box->looks);
        case_until(atomic_load(&A->box->looks) > looks_a + 3
                   && atomic_load(&B->box->looks) > looks_b + 3);
    } while (version != raw_int(db, "PRAGMA data_version", NULL, NULL));
    writes_a = atomic_load(&A->box->writes);
    writes_b = atomic_load(&B->box->writes);
    wal = wal_size();
    file = raw_file_size(A->box->path);
    looks_a = atomic_load(&A->box->looks);
    looks_b = atomic_load(&B->box->looks);
    case_until(atomic_load(&A->box->looks) >= looks_a + 30
               && atomic_load(&B->box->looks) >= looks_b + 30);
    assert_int_equal(raw_int(db, "PRAGMA data_version", NULL, NULL), version);
    assert_int_equal(atomic_load(&A->box->writes), writes_a);
    assert_int_equal(atomic_load(&B->box->writes), writes_b);
    assert_int_equal(wal_size(), wal);
    assert_int_equal(raw_file_size(A->box->path), file);
    assert_int_equal(raw_int(db, "SELECT sum(challenge) FROM francis_ext_hosts", NULL, NULL), 0);
    (void)sqlite3_close(db);
    assert_int_equal(logged(A, 108) + logged(B, 108), 0);
    curtain();
}

/* The application of a host without workers is busy with something else for longer than the
 * deadline. Would catch: an answer that needs no poll, from a thread that there must not be; a host
 * that does not come back. */
static void case_does_not_poll(const stop_case *c)
{
    slot   *peek;
    int64_t taken_at;
    cast(c);
    A->box->deadline_ms = FRANCIS_SECONDS(60);
    both_serve();
    (void)increment(A, "hot");
    atomic_store(&A->box->deaf, true);
    taken_at = increment_when_free(B, "hot", A);
    assert_int_equal(taken_at, 2);
    (void)increment(B, "hot");
    peek = ask(A, ASK_PEEK, waits(c), "counter", "hot", "get");
    atomic_store(&A->box->deaf, false);
    if (answer(peek) == FRANCIS_OK)
        fail_msg("an old state is shown: %lld", (long long)peek->value);
    (void)increment_soon(A, "fresh");
    watch(A);
    assert_int_equal(A->box->stats.lives, 2);
    assert_int_equal(logged(A, 104), 1);
    curtain();
}

/* The age of the lease, as the watchdog sees it, on a host that does nothing. Would catch: a
 * renewal that needs commits; an age that is counted from another clock, or grows without end. */
static void case_lease_age(const stop_case *c)
{
    unsigned looks;
    int      samples = 0, old = 0, renewed = 0;
    int64_t  before = 0;
    cast(c);
    A->box->lease_ms = slower(1200);
    A->box->deadline_ms = slower(4800);
    both_serve();
    looks = atomic_load(&A->box->looks);
    while (atomic_load(&A->box->looks) < looks + 12) {      /* four leases */
        watch(A);
        assert_true(A->box->health.lease_age_ms >= 0);
        samples++;
        old += A->box->health.lease_age_ms > A->box->lease_ms;
        renewed += A->box->health.lease_age_ms < before;
        before = A->box->health.lease_age_ms;
        a_moment();
        hosts_look();
    }
    if (samples < 20 || renewed < 6 || old > samples / 5)
        fail_msg("%d samples, %d above the lease, %d renewals", samples, old, renewed);
    assert_int_equal(B->box->stats.evictions + logged(A, 104), 0);
    curtain();
}

/* Two hosts with different times. The challenger waits for whatever is longer: its own deadline, or
 * the lease of the other with its own margin. Would catch: everybody believing that the others have
 * the times that it has itself. */
static void case_different_times(const stop_case *c)
{
    int64_t least, waited, begin;
    cast(c);
    A->box->deadline_ms = slower(8000);
    A->box->lease_ms = slower(c->asked ? 2400 : 150);       /* asked: the longer lease */
    B->box->deadline_ms = slower(c->asked ? 400 : 1500);
    B->box->lease_ms = slower(120);
    B->box->margin_ms = slower(100);
    least = c->asked ? A->box->lease_ms + B->box->margin_ms : B->box->deadline_ms;
    both_serve();
    (void)increment(A, "hot");
    arm(A, LOOP, 1);                /* once: it goes on in time, and stays */
    stops(A);
    answer_is(begin_increment(B, "hot"), FRANCIS_ERR_MOVED);
    case_until(logged(B, 108) == 1);
    begin = atomic_load(&B->box->log[108].at_ms);
    case_until(t_ms() - begin > least / 2);
    assert_int_equal(logged(B, 105), 0);
    goes_on(A);
    case_until(logged(A, 109) == 1);
    case_until(t_ms() - begin > 2 * least);
    assert_int_equal(increment(A, "hot"), 2);
    do {                            /* it has answered: now it is challenged anew */
        answer_is(begin_increment(B, "hot"), FRANCIS_ERR_MOVED);
        a_moment();
    } while (logged(B, 108) == 1 && t_ms() - begin < 2 * least + soon());
    case_until(logged(B, 108) == 2);
    case_until(logged(A, 109) == 2);
    case_until(t_ms() - atomic_load(&B->box->log[108].at_ms) > 2 * least);
    assert_int_equal(logged(B, 105), 0);

    arm(A, LOOP, 1);                /* twice: it does not go on in time */
    stops(A);
    assert_int_equal(increment_when_free(B, "hot", A), 3);
    waited = atomic_load(&B->box->log[105].at_ms) - atomic_load(&B->box->log[108].at_ms);
    if (waited + 2 < least)         /* the two clocks are read one after the other */
        fail_msg("evicted after %lld ms, it must be %lld", (long long)waited, (long long)least);
    goes_on(A);
    (void)increment_soon(A, "fresh");
    watch(A);
    assert_int_equal(A->box->stats.lives, 2);
    curtain();
}

static int64_t hosts_that_stand(void)
{
    return raw_number(A->box->path, "SELECT count(*) FROM francis_ext_hosts WHERE evicted = 0",
                      NULL);
}

/* A and B challenge each other, then both stop until both times are up, and go on at once: each
 * has an eviction to do before it has answered for itself. Would catch: both do it. */
static void case_each_other(const stop_case *c)
{
    enum { ROUNDS = 4 };
    uint64_t evictions = 0;
    char     id[16];
    cast(c);
    for (int i = 0; i < 2; i++) {
        hosts[i].box->deadline_ms = slower(600);
        hosts[i].box->lease_ms = slower(150);
    }
    both_serve();
    for (int i = 0; i < ROUNDS; i++) {
        unsigned challenges_a = logged(A, 108), challenges_b = logged(B, 108);
        int64_t  begin;
        (void)snprintf(id, sizeof id, "a%d", i);
        (void)increment_soon(A, id);
        (void)snprintf(id, sizeof id, "b%d", i);
        (void)increment_soon(B, id);
        do {
            (void)snprintf(id, sizeof id, "b%d", i);
            answer_is(begin_increment(A, id), FRANCIS_ERR_MOVED);
        } while (hosts_look(), logged(A, 108) == challenges_a);
        arm(A, LOOP, 1);
        stops(A);
        do {
            (void)snprintf(id, sizeof id, "a%d", i);
            answer_is(begin_increment(B, id), FRANCIS_ERR_MOVED);
        } while (hosts_look(), logged(B, 108) == challenges_b);
        arm(B, LOOP, 1);
        stops(B);
        begin = t_ms();
        case_until(t_ms() - begin > 2 * A->box->deadline_ms);
        goes_on(i % 2 == 0 ? A : B);
        goes_on(i % 2 == 0 ? B : A);
        begin = t_ms();
        case_until((assert_true(hosts_that_stand() >= 1), t_ms() - begin > A->box->deadline_ms));
        case_until(hosts_that_stand() == 2);
        (void)snprintf(id, sizeof id, "fresh%d", i);
        (void)increment_soon(A, id);
        (void)snprintf(id, sizeof id, "other%d", i);
        (void)increment_soon(B, id);
        watch(A);
        watch(B);
        assert_true(A->box->stats.evictions + B->box->stats.evictions <= evictions + 1);
        evictions = A->box->stats.evictions + B->box->stats.evictions;
        assert_int_equal(A->box->stats.lives - 1, B->box->stats.evictions);
        assert_int_equal(B->box->stats.lives - 1, A->box->stats.evictions);
    }
    curtain();
}

/* ---- the table ---- */

#define CASE(run, name, step, mode, then, asked) \
    { run, name, step, mode, then, asked, false, false }
#define STEP(step, mode) \
    CASE(case_evicted, "evicted: " #step ", " #mode, step, mode, GOES_ON, true)
#define LINGER(step, mode) \
    CASE(case_evicted, "evicted, lingers: " #step ", " #mode, step, mode, LINGERS, true)
#define HALT(step, mode) \
    { case_evicted, "evicted: halt, " #step ", " #mode, step, mode, GOES_ON, true, true, false }
#define GIVEN_UP(step, mode) \
    { case_evicted, "evicted, given up: " #step ", " #mode, step, mode, GOES_ON, true, false, true }
#define KEYED(step, mode) \
    CASE(case_keyed, "evicted: request id, " #step ", " #mode, step, mode, GOES_ON, true)
#define GIVEN_UP_BOTH(step) GIVEN_UP(step, WORKERS), GIVEN_UP(step, NO_WORKERS)
#define STEP_BOTH(step)  STEP(step, WORKERS), STEP(step, NO_WORKERS)
#define STEP_ALL(step)   STEP_BOTH(step), STEP(step, INLINE), STEP(step, NO_WORKERS_INLINE)
#define INSIDE(step, mode, then) \
    CASE(case_inside, "inside: " #step ", " #mode ", " #then, step, mode, then, false)
#define INSIDE_BOTH(step) INSIDE(step, WORKERS, GOES_ON), INSIDE(step, WORKERS, IS_KILLED)

static const stop_case cases[] = {
    STEP_ALL(LOOP),
    STEP_ALL(PEEK),
    STEP_ALL(INVOKE),
    STEP_BOTH(FLUSHED),
    STEP_BOTH(NEXT),
    STEP_BOTH(HAS_NEXT),
    STEP_BOTH(HAS_WRITER),
    STEP_BOTH(COMMITTED),
    STEP_BOTH(LEFT),
    STEP_BOTH(LOOK),
    STEP_BOTH(LOOKED),
    STEP_BOTH(LOOK_OVER),
    STEP(CALL, WORKERS),
    HALT(NEXT, WORKERS),
    HALT(HAS_WRITER, NO_WORKERS),
    HALT(HAS_NEXT, WORKERS),
    LINGER(PEEK, WORKERS),
    LINGER(PEEK, INLINE),
    LINGER(INVOKE, WORKERS),
    LINGER(INVOKE, INLINE),
    LINGER(FLUSHED, WORKERS),
    LINGER(CALL, WORKERS),
    LINGER(NEXT, WORKERS),
    LINGER(HAS_NEXT, WORKERS),
    LINGER(HAS_WRITER, WORKERS),
    LINGER(COMMITTED, WORKERS),
    LINGER(LEFT, WORKERS),
    LINGER(LOOK_OVER, WORKERS),
    GIVEN_UP_BOTH(LOOP),
    GIVEN_UP_BOTH(PEEK),
    GIVEN_UP_BOTH(INVOKE),
    GIVEN_UP_BOTH(NEXT),
    GIVEN_UP_BOTH(HAS_WRITER),
    GIVEN_UP_BOTH(LEFT),
    KEYED(INVOKE, WORKERS),
    KEYED(INVOKE, NO_WORKERS),
    KEYED(HAS_NEXT, WORKERS),
    KEYED(LEFT, WORKERS),
    CASE(case_not_missed, "not missed: WORKERS", PEEK, WORKERS, GOES_ON, false),
    CASE(case_not_missed, "not missed: NO_WORKERS", PEEK, NO_WORKERS, GOES_ON, false),
    CASE(case_not_missed, "not missed: INLINE", PEEK, INLINE, GOES_ON, false),
    CASE(case_not_missed, "not missed: NO_WORKERS_INLINE", PEEK, NO_WORKERS_INLINE, GOES_ON, false),
    INSIDE_BOTH(BEGUN),
    INSIDE_BOTH(WRITE),
    INSIDE_BOTH(WRITTEN),
    INSIDE_BOTH(SYNC),
    INSIDE_BOTH(SYNCED),
    INSIDE_BOTH(COMMIT),
    INSIDE_BOTH(RESTART_COPY),
    INSIDE_BOTH(RESTART),
    INSIDE(WRITE, NO_WORKERS, GOES_ON),
    INSIDE(SYNC, NO_WORKERS, IS_KILLED),
    CASE(case_inside, "inside: WRITE, for longer", WRITE, WORKERS, GOES_ON, true),
    CASE(case_inside, "inside: joining, GOES_ON", WRITE, WORKERS, GOES_ON, false),
    CASE(case_inside, "inside: joining, IS_KILLED", WRITE, WORKERS, IS_KILLED, false),
    CASE(case_kill, "kill_stuck_host: BEGUN", BEGUN, WORKERS, IS_KILLED, false),
    CASE(case_kill, "kill_stuck_host: SYNC", SYNC, NO_WORKERS, IS_KILLED, false),
    CASE(case_kill_not_slow, "kill_stuck_host: not who is slow", NOWHERE, WORKERS, GOES_ON, false),
    CASE(case_kill_not_waiting, "kill_stuck_host: not who waits", NOWHERE, WORKERS, GOES_ON, false),
    CASE(case_kill_not_queued, "kill_stuck_host: not who is in the queue", NOWHERE, WORKERS,
         GOES_ON, false),
    CASE(case_reading, "reading: READ", READ, WORKERS, GOES_ON, false),
    CASE(case_reading, "reading: READ, asked for", READ, WORKERS, GOES_ON, true),
    CASE(case_reading, "reading: READING", READING, WORKERS, GOES_ON, false),
    CASE(case_reading, "reading: READING, asked for", READING, NO_WORKERS, GOES_ON, true),
    CASE(case_reading, "reading: COPY_BACK", COPY_BACK, WORKERS, GOES_ON, false),
    CASE(case_reading, "reading: COPY_BACK, asked for", COPY_BACK, NO_WORKERS, GOES_ON, true),
    CASE(case_idle_answers, "idle host answers: WORKERS", NOWHERE, WORKERS, GOES_ON, true),
    CASE(case_idle_answers, "idle host answers: NO_WORKERS", NOWHERE, NO_WORKERS, GOES_ON, true),
    CASE(case_idle_writes_nothing, "idle hosts write nothing: WORKERS", NOWHERE, WORKERS,
         GOES_ON, false),
    CASE(case_idle_writes_nothing, "idle hosts write nothing: NO_WORKERS", NOWHERE, NO_WORKERS,
         GOES_ON, false),
    CASE(case_does_not_poll, "does not poll: NO_WORKERS", NOWHERE, NO_WORKERS, GOES_ON, true),
    CASE(case_does_not_poll, "does not poll: NO_WORKERS_INLINE", NOWHERE, NO_WORKERS_INLINE,
         GOES_ON, true),
    CASE(case_lease_age, "age of the lease: WORKERS", NOWHERE, WORKERS, GOES_ON, false),
    CASE(case_lease_age, "age of the lease: NO_WORKERS", NOWHERE, NO_WORKERS, GOES_ON, false),
    CASE(case_different_times, "different times: the longer lease", NOWHERE, WORKERS,
         GOES_ON, true),
    CASE(case_different_times, "different times: the longer deadline", NOWHERE, WORKERS,
         GOES_ON, false),
    CASE(case_each_other, "each other: WORKERS", NOWHERE, WORKERS, GOES_ON, true),
    CASE(case_each_other, "each other: NO_WORKERS", NOWHERE, NO_WORKERS, GOES_ON, true),
};

enum { CASES = sizeof cases / sizeof cases[0] };

/* ---- several cases at once ---- */

static struct {
    pid_t pid;                      /* its director, and the group of all its processes */
    bool  ended;
    int   status;
    char  text[512];                /* where it says what happened */
} runs[CASES];

static int         selected[CASES]; /* in the order of the table */
static struct CMUnitTest tests[CASES];
static int         tests_count, started, running;

/* In a directory of its own, so that the names of all files of a case are short and the same. */
static void director_body(void **state)
{
    const stop_case *c = (const stop_case *)*state;
    int              i = (int)(c - cases), fd;
    char             dir[480];
    (void)setpgid(0, 0);
    dies_with_parent();
    fd = open(runs[i].text, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    (void)dup2(fd, STDERR_FILENO);
    (void)close(fd);
    (void)snprintf(dir, sizeof dir, "%s/case%d", t_dir(), i);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(chdir(dir), 0);
    shared_begin("shared");
    c->run(c);
}

static void runs_look(void)
{
    for (int i = 0; i < CASES; i++)
        if (runs[i].pid > 0 && !runs[i].ended
            && waitpid(runs[i].pid, &runs[i].status, WNOHANG) == runs[i].pid) {
            runs[i].ended = true;
            running--;
            (void)kill(-runs[i].pid, SIGKILL);  /* hosts that a failed case has left behind */
        }
    while (running < (t_slow() ? 4 : 8) && started < tests_count) {
        int i = selected[started++];
        (void)snprintf(runs[i].text, sizeof runs[i].text, "%s/case%d.txt", t_dir(), i);
        runs[i].pid = child_start(director_body, (void *)(uintptr_t)&cases[i]);
        running++;
    }
}

static void print_text(const char *path)
{
    char  line[600];
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        print_error("    %s", line);
    if (f != NULL)
        (void)fclose(f);
}

static void test_case(void **state)
{
    int     i = (int)((const stop_case *)*state - cases);
    int64_t end = t_ms() + (t_slow() ? 280000 : 120000);
    while (runs_look(), !runs[i].ended) {
        if (t_ms() > end)
            (void)kill(-runs[i].pid, SIGKILL);
        t_yield();
    }
    if (WIFEXITED(runs[i].status) && WEXITSTATUS(runs[i].status) == 0)
        return;
    if (WIFEXITED(runs[i].status) && WEXITSTATUS(runs[i].status) == CHILD_SKIPPED)
        skip();
    print_text(runs[i].text);
    fail_msg("%s: status %d", cases[i].name, runs[i].status);
}

/* Cases that were begun and are not wanted any more. */
static int end_all(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++)
        if (runs[i].pid > 0 && !runs[i].ended) {
            (void)kill(-runs[i].pid, SIGKILL);
            (void)child_wait(runs[i].pid);
        }
    return 0;
}

int main(int argc, char **argv)
{
    int failed;
    (void)t_dir();                  /* one for all processes */
    for (int i = 0; i < CASES; i++) {
        if (argc > 1 && fnmatch(argv[1], cases[i].name, 0) != 0)
            continue;
        selected[tests_count] = i;
        tests[tests_count].name = cases[i].name;
        tests[tests_count].test_func = test_case;
        tests[tests_count++].initial_state = (void *)(uintptr_t)&cases[i];
    }
    failed = _cmocka_run_group_tests("stop", tests, (size_t)tests_count, NULL, end_all);
    t_clean();
    return failed == 0 ? 0 : 1;
}
