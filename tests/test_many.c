/* Many processes on one file: 2 to 8 hosts, each a process of its own, that are killed, stopped and
 * waked up at random, started at once, that are greedy or large.
 *
 * What the children send, and what is answered, stands in memory that they share with the parent:
 * it outlives kill -9, and it orders what happens in different processes. Before each call a child
 * looks up the largest count that anybody has seen of the actor; no answer may be older than that.
 * TEST_SEED=number repeats the choices of a run. */
#include "support/t.h"

#include "support/child.h"
#include "support/counters.h"
#include "support/fault_vfs.h"

#include <dirent.h>
#include <stdatomic.h>
#include <sys/mman.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

enum {
    SLOTS   = 8,                    /* processes at once */
    ACTORS  = 48,                   /* that all of them call */
    VALUES  = 1 << 17,              /* the largest count that is followed */
    THREADS = 3,
    WAITS   = 1 << 16               /* waits of the light one */
};

/* ---- memory that all processes of a test see ---- */

typedef struct {
    /* the books: what was sent and answered, by actor */
    atomic_llong sent[ACTORS], acked[ACTORS], failed[ACTORS], unknown[ACTORS];
    atomic_llong seen_max[ACTORS];  /* the largest count that an answer has shown */
    atomic_uint  seen[ACTORS][VALUES / 32];     /* which have been acknowledged */
    atomic_uint  logged[1000], result[1000];    /* by number */
    atomic_llong peeks;
    /* by process */
    atomic_llong answers[SLOTS];    /* of its present life */
    atomic_llong served[SLOTS][ACTORS];
    atomic_bool  ready[SLOTS], leave[SLOTS];
    atomic_llong first_ms;          /* the longest from a fork to the first answer */
    /* of single tests */
    atomic_int   go, stage;
    atomic_llong done[SLOTS];
    atomic_llong bytes, commits, turns;
    atomic_uint  waits;
    atomic_uint  wait_us[WAITS];
    unsigned     step, step_file, step_inside;  /* where the killed one was */
} common;

static common *all;

/* A file, for a mapping of memory alone is not in POSIX; it has no name any more. */
static void common_begin(void)
{
    char path[300];
    int  fd;
    (void)snprintf(path, sizeof path, "%s/common", t_dir());
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)sizeof *all), 0);
    all = (common *)mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true((void *)all != MAP_FAILED);
    (void)close(fd);
    (void)unlink(path);
}

static void common_end(void)
{
    (void)munmap(all, sizeof *all);
    all = NULL;
}

static void raise_to(atomic_llong *most, long long value)
{
    long long old = atomic_load(most);
    while (old < value && !atomic_compare_exchange_weak(most, &old, value))
        continue;
}

/* ---- children ---- */

static pid_t children[64];          /* those that a test which fails would leave behind */

static pid_t child_new(CMUnitTestFunction body, void *arg)
{
    pid_t pid = child_start(body, arg);
    for (unsigned i = 0; i < sizeof children / sizeof children[0]; i++)
        if (children[i] == 0) {
            children[i] = pid;
            return pid;
        }
    child_kill(pid);
    fail_msg("too many children");
    return -1;
}

static void child_gone(pid_t pid)
{
    for (unsigned i = 0; i < sizeof children / sizeof children[0]; i++)
        if (children[i] == pid)
            children[i] = 0;
}

/* It has to be there still, running or stopped. */
static void child_sigkill(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    status = child_wait(pid);
    child_gone(pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("a child ended by itself, status %d", status);
}

static void child_ends_well(pid_t pid)
{
    int status = child_wait_for(pid, 120000);
    child_gone(pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("a child ended with status %d", status);
}

/* Nobody has ended by himself. */
static void children_live(void)
{
    for (unsigned i = 0; i < sizeof children / sizeof children[0]; i++) {
        int status = 0;
        if (children[i] == 0 || waitpid(children[i], &status, WNOHANG) == 0)
            continue;
        children[i] = 0;
        fail_msg("a child ended by itself, status %d", status);
    }
}

/* As t_until, and no child dies meanwhile. */
#define many_until(condition) t_until((children_live(), (condition)))

static int many_setup(void **state)
{
    (void)state;
    common_begin();
    return 0;
}

/* A child that is stopped would stay for ever. */
static int many_teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof children / sizeof children[0]; i++)
        if (children[i] != 0) {
            (void)kill(children[i], SIGKILL);
            (void)waitpid(children[i], NULL, 0);
            children[i] = 0;
        }
    common_end();
    return 0;
}

/* In the child: it does not outlive the parent, even if it is stopped then. */
static void child_begins(void)
{
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

/* The end of a body; cmocka would say something for each of a thousand children. */
static void child_ends(francis_host *host)
{
    francis_close(host);
    _exit(0);
}

/* The asserts of the test program belong to its main thread. */
static void child_dies(const char *what, francis_result r, const char *error)
{
    (void)fprintf(stderr, "%s: %s %s\n", what, francis_result_name(r), error);
    _exit(4);
}

static unsigned times(unsigned normal, unsigned slow)
{
    return t_slow() ? slow : normal;
}

/* ---- randomness that can be repeated ---- */

static uint64_t seed;

static uint64_t next_random(uint64_t *x)
{
    uint64_t z = (*x += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static unsigned pick(uint64_t *x, unsigned below)
{
    return (unsigned)(next_random(x) % below);
}

/* Any moment, to the microsecond: no sleep is so exact. */
static void spin_us(unsigned us)
{
    struct timespec begin, now;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000 + (now.tv_nsec - begin.tv_nsec) / 1000 <
           (long)us);
}

static int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- actors ---- */

static const francis_method counter_methods[] = {
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};

enum { PAGE_BYTES = 2000 };

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

static const francis_actor_desc types[] = {
    { .type = "counter", .methods = counter_methods, .state_size = sizeof(counter_state),
      .idle_timeout_ms = FRANCIS_FOREVER },
    { .type = "page", .methods = page_methods, .state_size = PAGE_BYTES },
    { .type = NULL }
};

static void actor_id(unsigned actor, char id[16])
{
    (void)snprintf(id, 16, "actor%u", actor);
}

static void count_logs(const francis_log *record, void *user)
{
    (void)user;
    if (record->id < 1000)
        (void)atomic_fetch_add(&all->logged[record->id], 1);
    if (record->level == FRANCIS_LOG_ERROR && record->id != 104 &&
        record->result != FRANCIS_ERR_LOCKED && record->result != FRANCIS_ERR_EVICTED)
        (void)fprintf(stderr, "%s: %s\n", record->name, record->message);
}

static unsigned logged(unsigned id)
{
    return atomic_load(&all->logged[id]);
}

/* ---- what is beside the database ---- */

/* Another database that does not exist yet. */
static const char *new_path(char out[300])
{
    (void)snprintf(out, 300, "%s", t_database());
    return out;
}

/* How many lock files of hosts are there. A process that dies between making the file and
 * committing its row leaves one that nobody knows of; no other may stay, and nothing else either
 * once the last host has left. */
static unsigned lock_files(const char *path)
{
    const char    *base = strrchr(path, '/') + 1;
    size_t         length = strlen(base);
    DIR           *d = opendir(t_dir());
    struct dirent *e;
    unsigned       n = 0;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, base, length) != 0 || e->d_name[length] != '-')
            continue;
        if (strncmp(e->d_name + length, "-host-", 6) == 0)
            n++;
        else
            fail_msg("left behind: %s", e->d_name);
    }
    (void)closedir(d);
    return n;
}

static void remove_all(const char *path)
{
    const char    *base = strrchr(path, '/') + 1;
    DIR           *d = opendir(t_dir());
    struct dirent *e;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL)
        if (strncmp(e->d_name, base, strlen(base)) == 0)
            (void)unlink(t_path(e->d_name));
    (void)closedir(d);
}

/* Everybody has left in peace. */
static void nothing_is_left(const char *path, unsigned lock_files_max)
{
    sqlite3 *db;
    unsigned n;
    db = raw_open(path);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL), 0);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_ext_hosts", NULL, NULL), 0);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_active_actors", NULL, NULL), 0);
    raw_check(db);
    (void)sqlite3_close(db);
    n = lock_files(path);
    if (n > lock_files_max)
        fail_msg("%u lock files are left, there may be %u", n, lock_files_max);
}

/* ---- a process that calls whatever it can ---- */

typedef struct {
    const char   *path;
    unsigned      slot;
    uint64_t      random;
    int64_t       begin_ms, deadline_ms, busy_ms;
    unsigned      peeks, actors;    /* of a hundred calls; how many are called */
    bool          workers, small_wal, window, stops, direct, halts;
    francis_host *host;
    francis_ctx  *ctx;
} storm_child;

typedef struct {                    /* who calls: a thread, or the loop of a process without */
    storm_child *c;
    uint64_t     random;
    unsigned     home[8];           /* actors that answered lately: they live here */
} caller;

typedef struct {
    francis_call call;
    unsigned     actor;
    bool         peek;
    long long    least;             /* the answer must show so much */
} storm_call;

static void storm_begin_call(caller *k, storm_call *s, bool async)
{
    char id[16];
    s->actor = pick(&k->random, 2) != 0 ? k->home[pick(&k->random, 8)]
                                        : pick(&k->random, k->c->actors);
    s->peek = pick(&k->random, 100) < k->c->peeks;
    s->call.async = async;
    s->least = atomic_load(&all->seen_max[s->actor]);
    actor_id(s->actor, id);
    if (s->peek) {
        (void)francis_peek(k->c->ctx, "counter", id, "get", NULL, 0, &s->call);
    } else {
        (void)atomic_fetch_add(&all->sent[s->actor], 1);
        (void)francis_invoke(k->c->ctx, "counter", id, "increment", NULL, 0, &s->call);
    }
}

/* An actor elsewhere; a host that was evicted; a stopped process that has the database. */
static bool storm_expects(const storm_child *c, francis_result r)
{
    return r == FRANCIS_ERR_MOVED || (r == FRANCIS_ERR_EVICTED && c->stops) ||
           (r == FRANCIS_ERR_LOCKED && (c->stops || t_slow()));
}

static void storm_end_call(caller *k, storm_call *s)
{
    francis_result r = s->call.result;
    int64_t        n = 0;
    char           text[100];
    if (r >= 0 && r < 1000)
        (void)atomic_fetch_add(&all->result[r], 1);
    if (r == FRANCIS_OK) {
        if (s->call.data == NULL || s->call.size != sizeof n)
            child_dies("OK without a reply", r, "");
        (void)memcpy(&n, s->call.data, sizeof n);
        (void)snprintf(text, sizeof text, "actor %u: %lld after %lld was seen", s->actor,
                       (long long)n, s->least);
        if (n < 0 || n >= VALUES || n < s->least + (s->peek ? 0 : 1))
            child_dies(s->peek ? "a stale peek" : "an increment is lost", r, text);
        raise_to(&all->seen_max[s->actor], n);
        k->home[pick(&k->random, 8)] = s->actor;
    } else if (!storm_expects(k->c, r)) {
        child_dies("a call", r, s->call.error);
    }
    if (s->peek) {
        (void)atomic_fetch_add(&all->peeks, 1);
    } else if (r == FRANCIS_OK) {
        unsigned bit = 1u << (n % 32);
        if ((atomic_fetch_or(&all->seen[s->actor][n / 32], bit) & bit) != 0)
            child_dies("acknowledged twice", r, text);
        (void)atomic_fetch_add(&all->acked[s->actor], 1);
    } else if (francis_outcome(r) == FRANCIS_OUTCOME_UNKNOWN) {
        (void)atomic_fetch_add(&all->unknown[s->actor], 1);
    } else {
        (void)atomic_fetch_add(&all->failed[s->actor], 1);
    }
    (void)atomic_fetch_add(&all->answers[k->c->slot], 1);
    if (r == FRANCIS_OK)
        (void)atomic_fetch_add(&all->served[k->c->slot][s->actor], 1);
    francis_call_free(&s->call);
}

/* So that actors move while their host goes on. */
static void storm_halt(caller *k)
{
    char           id[16];
    francis_result r;
    actor_id(k->home[pick(&k->random, 8)], id);
    r = francis_halt(k->c->ctx, "counter", id, NULL);
    if (r != FRANCIS_OK && r != FRANCIS_ERR_NOT_ACTIVE && !storm_expects(k->c, r))
        child_dies("a halt", r, "");
}

static bool storm_leaves(const storm_child *c)
{
    return atomic_load(&all->leave[c->slot]);
}

/* Callers of a host with workers: each waits for its call. */
static void *storm_thread(void *arg)
{
    caller *k = (caller *)arg;
    while (!storm_leaves(k->c)) {
        storm_call s;
        (void)memset(&s, 0, sizeof s);
        if (k->c->halts && pick(&k->random, 40) == 0)
            storm_halt(k);
        storm_begin_call(k, &s, false);
        storm_end_call(k, &s);
    }
    return NULL;
}

static void storm_loop(caller *k)
{
    enum { BATCH = 16 };
    storm_call s[BATCH];
    while (!storm_leaves(k->c)) {
        unsigned count = 1 + pick(&k->random, BATCH);
        (void)memset(s, 0, sizeof s);
        if (count % 4 == 0) {       /* each at once */
            storm_begin_call(k, &s[0], false);
            storm_end_call(k, &s[0]);
            continue;
        }
        for (unsigned i = 0; i < count; i++)
            storm_begin_call(k, &s[i], true);
        for (unsigned i = 0; i < count; i++) {
            (void)francis_wait(k->c->ctx, &s[i].call);
            storm_end_call(k, &s[i]);
        }
        if (k->c->halts && pick(&k->random, 8) == 0)
            storm_halt(k);
    }
}

static void storm_start(storm_child *c)
{
    francis_host_desc  desc = { .database = c->path,
                                .workers = c->workers ? 2 : FRANCIS_NO_WORKERS,
                                .health_deadline_ms = c->deadline_ms,
                                .busy_timeout_ms = c->busy_ms,
                                .timeout_ms = FRANCIS_SECONDS(100),
                                .wal_bytes_max = c->small_wal ? 65536 : 0,
                                .commit_window_ms = c->window ? 1 : 0,
                                .on_log = count_logs, .log_level = FRANCIS_LOG_DEBUG };
    francis_actor_desc type = types[0];
    char               address[40];
    francis_result     r;
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", 7000 + c->slot);
    desc.address = address;
    type.nonblocking = c->direct;
    for (;;) {
        (void)francis_open(&c->host, &desc);
        (void)francis_register(c->host, &type);
        r = francis_start(c->host);
        if (r == FRANCIS_OK)
            break;
        /* only while a stopped process keeps the database */
        if (r != FRANCIS_ERR_LOCKED || !c->stops)
            child_dies("a start", r, francis_host_error(c->host));
        francis_close(c->host);
        t_yield();
    }
    c->ctx = francis_host_ctx(c->host);
}

/* Lives until it is killed, or asked to leave. */
static void storm_body(void **state)
{
    storm_child *c = (storm_child *)*state;
    caller       k[THREADS];
    storm_call   first;
    child_begins();
    storm_start(c);
    for (unsigned i = 0; i < THREADS; i++) {
        k[i].c = c;
        k[i].random = c->random + i;
        for (unsigned j = 0; j < 8; j++)
            k[i].home[j] = pick(&k[i].random, c->actors);
    }
    (void)memset(&first, 0, sizeof first);
    storm_begin_call(&k[0], &first, false);
    storm_end_call(&k[0], &first);
    if (!c->stops)
        raise_to(&all->first_ms, t_ms() - c->begin_ms);
    atomic_store(&all->ready[c->slot], true);
    if (c->workers) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, &k[i]), 0);
        for (int i = 0; i < THREADS; i++)
            (void)pthread_join(threads[i], NULL);
    } else {
        storm_loop(&k[0]);
    }
    child_ends(c->host);
}

/* ---- many of them, and the parent that kills ---- */

typedef struct {
    char        path[300];
    uint64_t    random;
    int64_t     deadline_ms, busy_ms;
    bool        stops;
    pid_t       pid[SLOTS];         /* 0 = none */
    int64_t     until_ms[SLOTS];    /* stopped until then; 0 = it runs */
    bool        suspect[SLOTS];     /* was stopped in its present life */
    storm_child child[SLOTS];
    unsigned    lives, kills, early, stopped, left, loose;
} storm;

static void storm_open(storm *s, uint64_t random, bool stops)
{
    (void)memset(s, 0, sizeof *s);
    (void)new_path(s->path);
    s->random = random;
    s->stops = stops;
    s->deadline_ms = stops ? t_slow() ? 1000 : 400 : FRANCIS_SECONDS(60);
    s->busy_ms = stops ? 300 : t_slow() ? 60000 : 20000;
}

static void storm_fork(storm *s, unsigned slot)
{
    storm_child *c = &s->child[slot];
    (void)memset(c, 0, sizeof *c);
    c->path = s->path;
    c->slot = slot;
    c->random = next_random(&s->random);
    c->deadline_ms = s->deadline_ms;
    c->busy_ms = s->busy_ms;
    c->stops = s->stops;
    c->workers = pick(&s->random, 2) != 0;
    c->direct = pick(&s->random, 2) != 0;
    c->halts = true;
    c->actors = ACTORS;
    c->peeks = pick(&s->random, 2) != 0 ? 20 : 98;
    c->small_wal = pick(&s->random, 2) != 0;
    c->window = pick(&s->random, 4) == 0;
    c->begin_ms = t_ms();
    atomic_store(&all->ready[slot], false);
    atomic_store(&all->leave[slot], false);
    atomic_store(&all->answers[slot], 0);
    s->until_ms[slot] = 0;
    s->suspect[slot] = false;
    s->pid[slot] = child_new(storm_body, c);
    s->lives++;
}

static void storm_kill(storm *s, unsigned slot)
{
    child_sigkill(s->pid[slot]);
    s->pid[slot] = 0;
    s->until_ms[slot] = 0;
    s->kills++;
    /* it may have been about to join, at first or once more */
    s->early += !atomic_load(&all->ready[slot]);
    s->loose += !atomic_load(&all->ready[slot]) || s->suspect[slot];
}

static void storm_wake(storm *s, unsigned slot)
{
    assert_int_equal(kill(s->pid[slot], SIGCONT), 0);
    s->until_ms[slot] = 0;
}

static void storm_leave(storm *s, unsigned slot)
{
    if (s->until_ms[slot] != 0)
        storm_wake(s, slot);
    atomic_store(&all->leave[slot], true);
    child_ends_well(s->pid[slot]);
    s->pid[slot] = 0;
    s->left++;
}

/* Killed on its way out, or perhaps it was faster. */
static void storm_kill_leaving(storm *s, unsigned slot)
{
    int status;
    atomic_store(&all->leave[slot], true);
    spin_us(pick(&s->random, t_slow() ? 20000 : 3000));
    assert_int_equal(kill(s->pid[slot], SIGKILL), 0);
    status = child_wait(s->pid[slot]);
    child_gone(s->pid[slot]);
    if (WIFSIGNALED(status) ? WTERMSIG(status) != SIGKILL : WEXITSTATUS(status) != 0)
        fail_msg("a child that was to leave ended with status %d", status);
    s->pid[slot] = 0;
    s->kills++;
    s->loose++;                     /* its row may be gone, and its lock file not yet */
}

/* The next one comes alone, gets everything at once, and the books balance. */
static void storm_close(storm *s)
{
    francis_host_desc desc = { .database = s->path, .workers = FRANCIS_NO_WORKERS,
                               .sweep_interval_ms = 20, .on_log = count_logs,
                               .log_level = FRANCIS_LOG_DEBUG };
    francis_host     *host;
    sqlite3          *db;
    long long         sent = 0, acked = 0, failed = 0, counted = 0;
    int64_t           begin = t_ms(), took;
    host = t_start(&desc, types);
    for (unsigned a = 0; a < ACTORS; a++) {
        francis_call call = { 0 };
        char         id[16];
        int64_t      n;
        actor_id(a, id);
        t_ok(francis_invoke(francis_host_ctx(host), "counter", id, "increment", NULL, 0, &call));
        n = *(const int64_t *)call.data;
        if (n < atomic_load(&all->seen_max[a]) + 1)
            fail_msg("actor %u continues with %lld after %lld", a, (long long)n,
                     atomic_load(&all->seen_max[a]));
        francis_call_free(&call);
    }
    took = t_ms() - begin;
    db = raw_open(s->path);
    t_until((t_ok(francis_poll(host, 5)),
             raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL) == 1));
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_active_actors", NULL, NULL),
                     ACTORS);
    for (unsigned a = 0; a < ACTORS; a++) {
        counter_state c;
        char          id[16];
        actor_id(a, id);
        assert_true(raw_state(db, "counter", id, &c, sizeof c));
        if (!counter_whole(&c))
            fail_msg("actor %u: half a state is stored", a);
        c.n--;                      /* the one of just now */
        if (c.n < atomic_load(&all->acked[a]) || c.n < atomic_load(&all->seen_max[a]))
            fail_msg("actor %u: %lld were acknowledged, up to %lld; %lld are there", a,
                     atomic_load(&all->acked[a]), atomic_load(&all->seen_max[a]), (long long)c.n);
        if (c.n > atomic_load(&all->sent[a]) - atomic_load(&all->failed[a]))
            fail_msg("actor %u: %lld were sent, %lld of them failed; %lld are there", a,
                     atomic_load(&all->sent[a]), atomic_load(&all->failed[a]), (long long)c.n);
        sent += atomic_load(&all->sent[a]);
        acked += atomic_load(&all->acked[a]);
        failed += atomic_load(&all->failed[a]);
        counted += c.n;
        assert_int_equal(atomic_load(&all->unknown[a]), 0); /* no disk has failed */
    }
    (void)sqlite3_close(db);
    francis_close(host);
    print_message("%u lives, %u kills (%u before the first answer), %u stopped, %u left in peace; "
                  "%lld sent, %lld acknowledged, %lld failed, %lld there; %lld peeks; first answer "
                  "after at most %lld ms; the last host has all actors after %lld ms\n",
                  s->lives, s->kills, s->early, s->stopped, s->left, sent, acked, failed, counted,
                  atomic_load(&all->peeks), atomic_load(&all->first_ms), (long long)took);
    print_message("moved %u, evicted %u, locked %u; took over %u, was evicted %u, challenged %u, "
                  "answered %u, lease ran out %u, busy %u\n",
                  atomic_load(&all->result[FRANCIS_ERR_MOVED]),
                  atomic_load(&all->result[FRANCIS_ERR_EVICTED]),
                  atomic_load(&all->result[FRANCIS_ERR_LOCKED]), logged(105), logged(104),
                  logged(108), logged(109), logged(110), logged(206));
    assert_true(acked > s->kills);  /* there was a load */
    assert_true(atomic_load(&all->peeks) > 0);
    assert_int_equal(logged(207), 0);   /* the last line of defence was not needed */
    assert_true(took < (t_slow() ? 60000 : 5000));
    nothing_is_left(s->path, s->loose);
}

/* 2 to 8 processes, killed at random, some while they open, and started again at once with the same
 * address. Would catch: an acknowledgement before the commit; two hosts that own one actor (a count
 * acknowledged twice, a stale peek); a dead host whose actors, address or locks have to be waited
 * for; a host that is taken for dead and lives; a lock of the writers' queue that dies with its
 * holder; a heap of rows and files that grows with each crash. */
static void test_kill_under_load(void **state)
{
    const unsigned rounds = times(240, 60);
    unsigned       width = 8;
    storm          s;
    (void)state;
    storm_open(&s, seed, false);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned victim, absent;
        if (pick(&s.random, 10) == 0)
            width = 2 + pick(&s.random, SLOTS - 1);
        absent = pick(&s.random, 3) == 0 ? pick(&s.random, width) : SLOTS;
        for (unsigned k = 0; k < SLOTS; k++)
            if (k < width && s.pid[k] == 0 && k != absent)
                storm_fork(&s, k);
            else if (k >= width && s.pid[k] != 0)
                storm_leave(&s, k);
        do
            victim = pick(&s.random, width);
        while (s.pid[victim] == 0);
        if (pick(&s.random, 5) == 0) {      /* every fifth while it still opens */
            storm_kill(&s, victim);
            storm_fork(&s, victim);
            spin_us(pick(&s.random, t_slow() ? 200000 : 20000));
            storm_kill(&s, victim);
        } else {
            long long target = 1 + pick(&s.random, 150);
            many_until(atomic_load(&all->answers[victim]) >= target);
            spin_us(pick(&s.random, 2500));
            switch (pick(&s.random, 8)) {
            case 0:  storm_leave(&s, victim); break;
            case 1:  storm_kill_leaving(&s, victim); break;
            default: storm_kill(&s, victim); break;
            }
        }
    }
    for (unsigned k = 0; k < SLOTS; k++)
        if (s.pid[k] != 0) {
            if (pick(&s.random, 2) != 0)
                storm_leave(&s, k);
            else
                storm_kill(&s, k);
        }
    assert_int_equal(logged(104), 0);       /* nobody who lives is evicted */
    assert_true(logged(105) > 0);
    storm_close(&s);
    assert_true(atomic_load(&all->first_ms) < (t_slow() ? 60000 : 5000));
}

/* The same load; processes are stopped at random, some for longer than the deadline, and go on or
 * are killed then. Would catch: a host that answers from memory, or writes, what others have taken
 * over while it slept; a sleeper whose actors nobody gets; one that does not find back. */
static void test_stop_under_load(void **state)
{
    const int64_t length = t_slow() ? 30000 : 8000;
    int64_t       begin, next, end;
    unsigned      width = 5;
    storm         s;
    (void)state;
    storm_open(&s, seed + 1, true);
    begin = next = t_ms();
    end = begin + length;
    /* until somebody has come back and found himself evicted a few times */
    while (t_ms() < end || (logged(104) < 10 && t_ms() < begin + 5 * length)) {
        unsigned k, asleep = 0;
        children_live();
        for (k = 0; k < SLOTS; k++) {
            if (s.until_ms[k] != 0 && t_ms() >= s.until_ms[k])
                storm_wake(&s, k);
            asleep += s.until_ms[k] != 0;
        }
        if (t_ms() < next) {
            t_yield();
            continue;
        }
        next = t_ms() + pick(&s.random, 150);
        if (pick(&s.random, 12) == 0)
            width = 3 + pick(&s.random, SLOTS - 3);
        for (k = 0; k < SLOTS; k++)
            if (k < width && s.pid[k] == 0)
                storm_fork(&s, k);
        k = pick(&s.random, width);
        if (pick(&s.random, 8) == 0) {
            storm_kill(&s, k);      /* asleep, on its way up, or at work */
        } else if (s.until_ms[k] == 0 && asleep < width / 2) {
            spin_us(pick(&s.random, 2500));
            assert_int_equal(kill(s.pid[k], SIGSTOP), 0);
            s.until_ms[k] = t_ms() + (int64_t)pick(&s.random, (unsigned)(4 * s.deadline_ms));
            s.suspect[k] = true;
            s.stopped++;
        }
    }
    for (unsigned k = 0; k < SLOTS; k++)
        if (s.pid[k] != 0 && s.until_ms[k] != 0)
            storm_wake(&s, k);
    for (unsigned k = 0; k < SLOTS; k++)    /* and all work again */
        if (s.pid[k] != 0) {
            long long target = atomic_load(&all->answers[k]) + 100;
            many_until(atomic_load(&all->answers[k]) >= target);
            if (pick(&s.random, 2) != 0)
                storm_leave(&s, k);
            else
                storm_kill(&s, k);
        }
    assert_true(logged(104) > 0);
    assert_true(logged(105) > 0);
    assert_true(logged(108) > 0);
    storm_close(&s);
}

/* ---- one that sleeps, looked at closely ---- */

enum { SLEEPER_ACTORS = 8 };

static long long in_flight(void)
{
    long long n = 0;
    for (unsigned a = 0; a < SLEEPER_ACTORS; a++)
        n += atomic_load(&all->sent[a]) - atomic_load(&all->acked[a]) -
             atomic_load(&all->failed[a]);
    return n;
}

static bool serves_all(unsigned slot, const long long before[SLEEPER_ACTORS])
{
    for (unsigned a = 0; a < SLEEPER_ACTORS; a++)
        if (atomic_load(&all->served[slot][a]) <= before[a])
            return false;
    return true;
}

/* All actors of the one that sleeps, one more each. */
static void take_over(francis_host *host)
{
    int64_t begin = t_ms();
    for (unsigned a = 0; a < SLEEPER_ACTORS; a++) {
        francis_call   call = { 0 };
        francis_result r;
        char           id[16];
        actor_id(a, id);
        (void)atomic_fetch_add(&all->sent[a], 1);
        do {
            r = francis_invoke(francis_host_ctx(host), "counter", id, "increment", NULL, 0, &call);
            if (r != FRANCIS_OK && r != FRANCIS_ERR_MOVED)
                fail_msg("%s: %s", francis_result_name(r), call.error);
            if (t_ms() - begin > 60000)
                fail_msg("%s is not taken over", id);
            (void)francis_poll(host, 1);
        } while (r != FRANCIS_OK);
        (void)atomic_fetch_add(&all->acked[a], 1);
        raise_to(&all->seen_max[a], *(const int64_t *)call.data);
        francis_call_free(&call);
    }
}

/* Falls asleep, outside of its transactions, with increments that wait for their turn to be
 * committed, or while it only looks; loses all actors; wakes up. */
static void sleep_once(francis_host *host, sqlite3 *db, pid_t pid, bool writes)
{
    const unsigned evictions = logged(104);
    long long      before[SLEEPER_ACTORS];
    int            status = 0;
    t_ok(francis_halt_all(francis_host_ctx(host), NULL));
    for (unsigned a = 0; a < SLEEPER_ACTORS; a++)
        before[a] = atomic_load(&all->served[0][a]);
    many_until((t_ok(francis_poll(host, 0)), serves_all(0, before)));
    many_until(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
    if (writes)
        many_until(in_flight() > 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    while (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
        t_yield();                  /* all of its threads */
    raw_exec(db, "COMMIT");
    take_over(host);
    assert_int_equal(kill(pid, SIGCONT), 0);
    many_until((t_ok(francis_poll(host, 0)), logged(104) > evictions));
}

/* A process is stopped at a chosen moment, all its actors are taken over and changed, and it wakes
 * up with all its threads at work. Would catch: an answer that leaves before the host has looked
 * whether it stands; a batch from before the sleep that is written after it. */
static void test_wake_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        char              path[300];
        storm_child       c = { .path = new_path(path), .random = seed + i, .stops = true,
                                .deadline_ms = t_slow() ? 1000 : 400, .busy_ms = 60000,
                                .actors = SLEEPER_ACTORS, .workers = i % 3 != 0,
                                .direct = i % 3 == 1, .peeks = i < 3 ? 100 : 30 };
        francis_host_desc desc = { .database = path, .workers = FRANCIS_NO_WORKERS,
                                   .health_deadline_ms = c.deadline_ms, .on_log = count_logs,
                                   .log_level = FRANCIS_LOG_DEBUG };
        francis_host     *host;
        sqlite3          *db;
        pid_t             pid;
        (void)memset((void *)all, 0, sizeof *all);
        pid = child_new(storm_body, &c);
        many_until(atomic_load(&all->ready[0]));
        host = t_start(&desc, types);
        db = raw_open(path);
        (void)sqlite3_busy_timeout(db, 0);  /* its waiting is not fair: the child would starve us */
        for (unsigned k = 0; k < 2; k++)
            sleep_once(host, db, pid, i >= 3);
        (void)sqlite3_close(db);
        child_sigkill(pid);
        take_over(host);
        francis_close(host);
        print_message("%s%s, %s: evicted %u times, lease ran out %u times, %lld peeks\n",
                      c.workers ? "workers" : "no workers", c.direct ? " (direct)" : "",
                      i < 3 ? "looks" : "writes", logged(104), logged(110),
                      atomic_load(&all->peeks));
        assert_int_equal(logged(207), 0);
    }
}

/* ---- a process that is killed at each step ---- */

/* What others can see of a process on a file. A read, or a question, changes nothing: to die
 * before it is to die after the step before it. */
enum {
    STEP_OPEN,
    STEP_WRITE,
    STEP_SYNC,
    STEP_TRUNCATE,
    STEP_LOCK,
    STEP_UNLOCK,
    STEP_SHM_MAP,
    STEP_SHM_LOCK,
    STEP_SHM_UNLOCK,
    STEP_SHM_BARRIER,               /* between the two copies of the header, and elsewhere */
    STEP_SHM_UNMAP,
    STEP_CLOSE,
    STEP_DELETE,
    STEPS
};

static const char *const step_names[STEPS] = {
    "open", "write", "sync", "truncate", "lock", "unlock", "map", "shm lock", "shm unlock",
    "barrier", "unmap", "close", "delete"
};
static const char *const step_files[FAULT_FILES] = { "database", "log", "proof of life", "queue" };

static struct {
    fault_vfs          disk;        /* fails nothing; counts nothing that is of interest here */
    sqlite3_io_methods methods;     /* its methods, a step before each */
    unsigned long      left;        /* steps to go; 0 = for ever */
    bool               inside;      /* a write transaction: the lock of the writer is held */
} killer;

static void killer_step(unsigned step, unsigned kind)
{
    if (killer.left > 0 && --killer.left == 0) {
        all->step = step;
        all->step_file = (unsigned)fault_bit(kind);
        all->step_inside = killer.inside;
        (void)raise(SIGKILL);
    }
}

/* The files of the writers' queue are opened as databases, too. */
static unsigned killer_kind_of(const char *name, int flags)
{
    const char *dash = name != NULL ? strrchr(name, '-') : NULL;
    if (dash != NULL && (strcmp(dash, "-next") == 0 || strcmp(dash, "-writer") == 0))
        return FAULT_OTHER;
    return fault_kind(name, flags);
}

static unsigned killer_kind(sqlite3_file *file)
{
    return ((fault_file *)file)->kind;
}

static int killer_close(sqlite3_file *file)
{
    killer_step(STEP_CLOSE, killer_kind(file));
    return fault_x_close(file);
}

static int killer_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at)
{
    killer_step(STEP_WRITE, killer_kind(file));
    return fault_x_write(file, data, size, at);
}

static int killer_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    killer_step(STEP_TRUNCATE, killer_kind(file));
    return fault_x_truncate(file, size);
}

static int killer_sync(sqlite3_file *file, int flags)
{
    killer_step(STEP_SYNC, killer_kind(file));
    return fault_x_sync(file, flags);
}

static int killer_lock(sqlite3_file *file, int level)
{
    killer_step(STEP_LOCK, killer_kind(file));
    return fault_x_lock(file, level);
}

static int killer_unlock(sqlite3_file *file, int level)
{
    killer_step(STEP_UNLOCK, killer_kind(file));
    return fault_x_unlock(file, level);
}

static int killer_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    killer_step(STEP_SHM_MAP, killer_kind(file));
    return fault_x_shm_map(file, page, size, extend, out);
}

static int killer_shm_lock(sqlite3_file *file, int at, int count, int flags)
{
    int rc;
    killer_step((flags & SQLITE_SHM_LOCK) != 0 ? STEP_SHM_LOCK : STEP_SHM_UNLOCK,
                killer_kind(file));
    rc = fault_x_shm_lock(file, at, count, flags);
    if (at == 0 && (flags & SQLITE_SHM_EXCLUSIVE) != 0 && rc == SQLITE_OK)
        killer.inside = (flags & SQLITE_SHM_LOCK) != 0;
    return rc;
}

static void killer_shm_barrier(sqlite3_file *file)
{
    killer_step(STEP_SHM_BARRIER, killer_kind(file));
    fault_x_shm_barrier(file);
}

static int killer_shm_unmap(sqlite3_file *file, int erase)
{
    killer_step(STEP_SHM_UNMAP, killer_kind(file));
    return fault_x_shm_unmap(file, erase);
}

static int killer_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                       int *flags_out)
{
    int rc;
    killer_step(STEP_OPEN, killer_kind_of(name, flags));
    rc = fault_x_open(vfs, name, file, flags, flags_out);
    if (rc == SQLITE_OK) {
        ((fault_file *)file)->kind = killer_kind_of(name, flags);
        file->pMethods = &killer.methods;
    }
    return rc;
}

static int killer_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    killer_step(STEP_DELETE, killer_kind_of(name, 0));
    return fault_x_delete(vfs, name, sync);
}

static void killer_register(void)
{
    if (fault_vfs_register(&killer.disk, "killer") != SQLITE_OK)
        fail_msg("no VFS");
    killer.disk.vfs.xOpen = killer_open;
    killer.disk.vfs.xDelete = killer_delete;
    killer.methods = *fault_methods();
    killer.methods.xClose = killer_close;
    killer.methods.xWrite = killer_write;
    killer.methods.xTruncate = killer_truncate;
    killer.methods.xSync = killer_sync;
    killer.methods.xLock = killer_lock;
    killer.methods.xUnlock = killer_unlock;
    killer.methods.xShmMap = killer_shm_map;
    killer.methods.xShmLock = killer_shm_lock;
    killer.methods.xShmBarrier = killer_shm_barrier;
    killer.methods.xShmUnmap = killer_shm_unmap;
}

/* The actors of a step test: four that live on the host that dies first, the others on nobody; one
 * whose calls have request ids. */
enum { OF_THE_DEAD = 4, STEP_ACTORS = 10, KEYED = STEP_ACTORS };

enum { STAGE_NONE, STAGE_ASKED, STAGE_LIVES, STAGE_DEAD };

typedef struct {
    char          path[300];
    unsigned long step;
} step_child;

static void step_call(francis_ctx *ctx, unsigned actor)
{
    francis_call call = { 0 };
    char         id[16];
    actor_id(actor, id);
    (void)atomic_fetch_add(&all->sent[actor], 1);
    t_ok(francis_invoke(ctx, "counter", id, "increment", NULL, 0, &call));
    raise_to(&all->seen_max[actor], *(const int64_t *)call.data);
    francis_call_free(&call);
}

static int64_t step_keyed(francis_ctx *ctx)
{
    francis_call call = { .request_id = "once" };
    int64_t      n;
    t_ok(francis_invoke(ctx, "counter", "keyed", "increment", NULL, 0, &call));
    n = *(const int64_t *)call.data;
    francis_call_free(&call);
    return n;
}

/* The first to die: it has a few actors, and is killed in peace. */
static void step_first_body(void **state)
{
    const step_child *c = (const step_child *)*state;
    francis_host_desc desc = { .database = c->path, .workers = FRANCIS_NO_WORKERS,
                               .address = "127.0.0.1:7001",
                               .durability = FRANCIS_SURVIVES_CRASH, .on_log = count_logs,
                               .log_level = FRANCIS_LOG_DEBUG };
    francis_host     *host;
    child_begins();
    t_until(atomic_load(&all->stage) == STAGE_LIVES);
    host = t_start(&desc, types);
    for (unsigned a = 0; a < OF_THE_DEAD; a++)
        step_call(francis_host_ctx(host), a);
    atomic_store(&all->ready[1], true);
    for (;;)
        t_ok(francis_poll(host, 1000));
}

/* The one that is killed at a step. A small log, so that there are checkpoints. */
static void step_body(void **state)
{
    const step_child *c = (const step_child *)*state;
    francis_platform  platform = { .version = 1, .sqlite_vfs = "killer" };
    francis_host_desc desc = { .database = c->path, .workers = FRANCIS_NO_WORKERS,
                               .address = "127.0.0.1:7002", .wal_bytes_max = 40000,
                               .on_log = count_logs, .log_level = FRANCIS_LOG_DEBUG,
                               .platform = &platform };
    francis_host     *host;
    francis_ctx      *ctx;
    francis_call      calls[STEP_ACTORS];
    char              id[16];
    child_begins();
    killer_register();
    t_until(atomic_load(&all->go) != 0);
    killer.left = c->step;
    host = t_start(&desc, types);
    ctx = francis_host_ctx(host);
    step_call(ctx, OF_THE_DEAD);            /* claim, turn */
    if (atomic_load(&all->stage) == STAGE_NONE) {
        atomic_store(&all->stage, STAGE_ASKED);
        t_until(atomic_load(&all->stage) == STAGE_DEAD);
    }
    step_call(ctx, 0);                      /* evict, take over */
    (void)memset(calls, 0, sizeof calls);
    for (unsigned a = 2; a < STEP_ACTORS; a++) {        /* many in one transaction */
        actor_id(a, id);
        calls[a].async = true;
        (void)atomic_fetch_add(&all->sent[a], 1);
        t_result(francis_invoke(ctx, "counter", id, "increment", NULL, 0, &calls[a]),
                 FRANCIS_PENDING);
    }
    for (unsigned a = 2; a < STEP_ACTORS; a++) {
        t_ok(francis_wait(ctx, &calls[a]));
        raise_to(&all->seen_max[a], *(const int64_t *)calls[a].data);
        francis_call_free(&calls[a]);
    }
    actor_id(0, id);
    t_ok(francis_halt(ctx, "counter", id, NULL));       /* release */
    (void)atomic_fetch_add(&all->sent[KEYED], 1);
    raise_to(&all->seen_max[KEYED], step_keyed(ctx));
    t_ok(francis_invoke(ctx, "page", "one", "put", NULL, 0, NULL));
    for (unsigned i = 0; i < 3; i++)        /* sweep */
        t_ok(francis_poll(host, 0));
    child_ends(host);                       /* leave */
}

typedef struct {
    unsigned long killed, inside;
    unsigned      hit[STEPS][FAULT_FILES];
    int64_t       slowest_ms;
} step_totals;

/* The first one lives, and dies. */
static void step_first(pid_t *pid)
{
    atomic_store(&all->stage, STAGE_LIVES);
    t_until(atomic_load(&all->ready[1]));
    child_sigkill(*pid);
    *pid = 0;
    atomic_store(&all->stage, STAGE_DEAD);
}

/* One life that ends at the given step, and what the next host finds. Returns false if the life was
 * over before. beside: the next host has been there all the time, and the first one comes and
 * dies while the second is at work; else it comes afterwards, and the first one is dead before. */
static bool step_once(unsigned long step, bool beside, step_totals *totals)
{
    step_child        c = { .step = step };
    francis_host_desc desc = { .database = new_path(c.path), .workers = FRANCIS_NO_WORKERS,
                               .address = "127.0.0.1:7003", .sweep_interval_ms = 5,
                               .durability = FRANCIS_SURVIVES_CRASH, .on_log = count_logs,
                               .log_level = FRANCIS_LOG_DEBUG };
    francis_host     *host = NULL;
    francis_ctx      *ctx;
    pid_t             first, second;
    int               status;
    int64_t           begin, n;
    bool              killed;
    char              where[100], id[16];
    sqlite3          *db;
    francis_call      calls[STEP_ACTORS];

    (void)memset((void *)all, 0, sizeof *all);
    first = child_new(step_first_body, &c);     /* while nothing is open here */
    second = child_new(step_body, &c);
    if (beside)
        host = t_start(&desc, types);
    else
        step_first(&first);
    atomic_store(&all->go, 1);
    while (waitpid(second, &status, WNOHANG) == 0) {
        if (first != 0 && atomic_load(&all->stage) == STAGE_ASKED)
            step_first(&first);
        t_yield();
    }
    child_gone(second);
    if (first != 0)
        child_sigkill(first);
    killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!killed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        fail_msg("the child ended with status %d", status);
    (void)snprintf(where, sizeof where, "killed at step %lu: %s of %s, %s a transaction", step,
                   step_names[all->step], step_files[all->step_file],
                   all->step_inside ? "inside" : "outside");
    begin = t_ms();
    if (host == NULL)
        host = t_start(&desc, types);
    ctx = francis_host_ctx(host);
    (void)memset(calls, 0, sizeof calls);
    for (unsigned a = 0; a < STEP_ACTORS; a++) {
        actor_id(a, id);
        calls[a].async = true;
        t_result(francis_invoke(ctx, "counter", id, "increment", NULL, 0, &calls[a]),
                 FRANCIS_PENDING);
    }
    for (unsigned a = 0; a < STEP_ACTORS; a++) {
        if (francis_wait(ctx, &calls[a]) != FRANCIS_OK)
            fail_msg("%s: actor %u: %s", where, a, calls[a].error);
        n = *(const int64_t *)calls[a].data;
        if (n < atomic_load(&all->seen_max[a]) + 1 || n > atomic_load(&all->sent[a]) + 1)
            fail_msg("%s: actor %u: %lld sent, %lld seen, then %lld", where, a,
                     atomic_load(&all->sent[a]), atomic_load(&all->seen_max[a]), (long long)n);
        francis_call_free(&calls[a]);
    }
    if (step_keyed(ctx) != 1)       /* a second try, or the first */
        fail_msg("%s: what has a request id was done twice", where);
    if (t_ms() - begin > totals->slowest_ms)
        totals->slowest_ms = t_ms() - begin;
    francis_close(host);
    if (!killed || step % 64 == 1) {        /* not each time: dead hosts are not swept at once */
        host = t_start(&desc, types);
        db = raw_open(c.path);
        t_until((t_ok(francis_poll(host, 5)),
                 raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL) == 1));
        (void)sqlite3_close(db);
        francis_close(host);
        nothing_is_left(c.path, killed ? 1 : 0);
    }
    remove_all(c.path);
    totals->killed += killed;
    totals->inside += killed && all->step_inside;
    totals->hit[all->step][all->step_file] += killed;
    return killed;
}

static void step_all(bool beside)
{
    static const struct {           /* without these the scenario would be another one */
        unsigned step, file;
    } must[] = {
        { STEP_OPEN, 0 }, { STEP_LOCK, 0 }, { STEP_SHM_LOCK, 0 }, { STEP_WRITE, 1 },
        { STEP_SYNC, 1 }, { STEP_SHM_BARRIER, 0 }, { STEP_SHM_UNLOCK, 0 }, { STEP_WRITE, 0 },
        { STEP_SYNC, 0 }, { STEP_OPEN, 2 }, { STEP_LOCK, 2 }, { STEP_DELETE, 2 }, { STEP_OPEN, 3 },
        { STEP_LOCK, 3 }, { STEP_UNLOCK, 3 }, { STEP_CLOSE, 0 }
    };
    step_totals   totals;
    uint64_t      x = seed + 2 + beside;
    unsigned long step = 1, stride = t_slow() ? 4 : 1;
    unsigned      missed = 0;       /* steps in a row that were not reached */
    (void)memset(&totals, 0, sizeof totals);
    while (missed < (stride == 1 ? 8 : 1)) {        /* who waits for others takes more steps */
        missed = step_once(step, beside, &totals) ? 0 : missed + 1;
        step += stride == 1 ? 1 : 1 + pick(&x, (unsigned)(2 * stride));
    }
    print_message("%lu kills until step %lu, %lu of them inside a transaction; the next one has "
                  "all actors after at most %lld ms\n",
                  totals.killed, step, totals.inside, (long long)totals.slowest_ms);
    for (unsigned i = 0; i < STEPS; i++)
        for (unsigned k = 0; k < FAULT_FILES; k++)
            if (totals.hit[i][k] > 0)
                print_message("  %u x %s of %s\n", totals.hit[i][k], step_names[i], step_files[k]);
    assert_true(totals.inside > 0 && totals.inside < totals.killed);
    assert_true(totals.slowest_ms < (t_slow() ? 60000 : 5000));
    if (stride == 1)
        for (unsigned i = 0; i < sizeof must / sizeof must[0]; i++)
            if (totals.hit[must[i].step][must[i].file] == 0)
                fail_msg("never killed at %s of %s", step_names[must[i].step],
                         step_files[must[i].file]);
}

/* The next host comes when both are dead. Would catch: any step after which something is lost,
 * there twice, or in the way. */
static void test_kill_at_each_step(void **state)
{
    (void)state;
    step_all(false);
}

/* The next host is there all the time. Would catch the same, and what a living host remembers of
 * one that has died. */
static void test_kill_at_each_step_beside(void **state)
{
    (void)state;
    step_all(true);
}

/* ---- short lives ---- */

typedef struct {
    const char *path;
    bool        dies;
} short_child;

static void short_body(void **state)
{
    const short_child *c = (const short_child *)*state;
    francis_host_desc  desc = { .database = c->path, .workers = FRANCIS_NO_WORKERS,
                                .on_log = count_logs };
    francis_host      *host;
    child_begins();
    host = t_start(&desc, types);
    t_ok(francis_invoke(francis_host_ctx(host), "counter", "short", "increment", NULL, 0, NULL));
    if (c->dies)
        (void)raise(SIGKILL);
    child_ends(host);
}

/* A program that runs for a moment now and then, and dies now and then. Would catch: what the dead
 * leave behind is cleaned up by those only who stay for a while, or by nobody once the one who
 * evicted them is dead, too, so that it grows. */
static void test_short_lives(void **state)
{
    char              path[300];
    francis_host_desc desc = { .database = new_path(path), .workers = FRANCIS_NO_WORKERS,
                               .on_log = count_logs, .log_level = FRANCIS_LOG_DEBUG };
    francis_host     *host;
    sqlite3          *db;
    int64_t           begin, hosts;
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        short_child c = { path, i != 5 && i != 6 };
        pid_t       pid = child_new(short_body, &c);
        int         status = child_wait(pid);
        child_gone(pid);
        assert_true(c.dies ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                           : WIFEXITED(status) && WEXITSTATUS(status) == 0);
        if (i == 6)                 /* the second one that leaves in peace, alone */
            nothing_is_left(path, 0);
    }
    host = t_start(&desc, types);   /* one that stays for a while */
    db = raw_open(path);
    begin = t_ms();
    do {
        t_ok(francis_poll(host, 5));
        hosts = raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL);
        if (t_ms() - begin > (t_slow() ? 30000 : 5000))
            fail_msg("%lld dead hosts are not swept", (long long)hosts - 1);
    } while (hosts > 1);
    (void)sqlite3_close(db);
    francis_close(host);
    nothing_is_left(path, 0);
}

/* ---- a fresh file ---- */

typedef struct {
    const char *path;
    unsigned    slot;
    bool        workers;
} fresh_child;

static void fresh_body(void **state)
{
    const fresh_child *c = (const fresh_child *)*state;
    francis_host_desc  desc = { .database = c->path,
                                .workers = c->workers ? 1 : FRANCIS_NO_WORKERS,
                                .on_log = count_logs, .log_level = FRANCIS_LOG_DEBUG };
    francis_host      *host;
    francis_call       call = { 0 };
    francis_result     r;
    char               address[40], id[16];
    child_begins();
    (void)snprintf(address, sizeof address, "[::1]:%u", 7000 + c->slot);
    desc.address = address;
    actor_id(c->slot, id);
    (void)atomic_fetch_add(&all->stage, 1);
    t_until(atomic_load(&all->go) != 0);
    host = t_start(&desc, types);
    t_ok(francis_invoke(francis_host_ctx(host), "counter", id, "increment", NULL, 0, &call));
    r = francis_invoke(francis_host_ctx(host), "counter", "of all", "increment", NULL, 0, &call);
    if (r == FRANCIS_OK)
        (void)atomic_fetch_add(&all->acked[0], 1);
    else
        t_result(r, FRANCIS_ERR_MOVED);
    francis_call_free(&call);
    raise_to(&all->first_ms, t_ms() - (int64_t)atomic_load(&all->turns));
    if (c->slot % 2 == 0) {         /* at once, or when all are there */
        (void)atomic_fetch_add(&all->done[0], 1);
        t_until(atomic_load(&all->done[0]) == 2);
    }
    child_ends(host);
}

/* Three processes open a file that does not exist yet, at the same moment. Would catch: a journal
 * mode or a schema that is refused as locked at once (SQLite does not wait there), a schema made
 * twice or half, files of the queue that vanish under one who has just come. */
static void test_fresh_file_at_once(void **state)
{
    const unsigned rounds = times(200, 60);
    uint64_t       x = seed + 4;
    long long      slowest = 0;
    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        fresh_child   c[3];
        pid_t         pid[3];
        char          path[300];
        counter_state n;
        sqlite3      *db;
        (void)new_path(path);
        (void)memset((void *)all, 0, sizeof *all);
        for (unsigned k = 0; k < 3; k++) {
            c[k].path = path;
            c[k].slot = k;
            c[k].workers = pick(&x, 2) != 0;
            pid[k] = child_new(fresh_body, &c[k]);
        }
        many_until(atomic_load(&all->stage) == 3);
        atomic_store(&all->turns, t_ms());
        atomic_store(&all->go, 1);
        for (unsigned k = 0; k < 3; k++)
            child_ends_well(pid[k]);
        db = raw_open(path);
        assert_true(raw_state(db, "counter", "of all", &n, sizeof n));
        assert_true(n.n >= 1 && n.n == atomic_load(&all->acked[0]));
        for (unsigned k = 0; k < 3; k++) {
            char id[16];
            actor_id(k, id);
            assert_true(raw_state(db, "counter", id, &n, sizeof n));
            assert_int_equal(n.n, 1);
        }
        (void)sqlite3_close(db);
        nothing_is_left(path, 0);
        assert_int_equal(logged(104) + logged(105) + logged(202) + logged(206) + logged(207), 0);
        if (atomic_load(&all->first_ms) > slowest)
            slowest = atomic_load(&all->first_ms);
        remove_all(path);
    }
    print_message("%u files, three hosts each; all serve after at most %lld ms\n", rounds, slowest);
}

/* ---- greedy neighbours ---- */

enum { HEAVY_ACTORS = 2000, HEAVY_WINDOW = 512, HEAVY_WINDOW_WORKERS = 1024 };

typedef struct {
    const char *path;
    unsigned    slot;
    bool        workers;
} neighbour;

static francis_host *neighbour_start(const neighbour *c)
{
    francis_host_desc desc = { .database = c->path,
                               .workers = c->workers ? 2 : FRANCIS_NO_WORKERS,
                               .timeout_ms = FRANCIS_SECONDS(100),
                               .busy_timeout_ms = FRANCIS_SECONDS(60), .on_log = count_logs,
                               .log_level = FRANCIS_LOG_DEBUG };
    child_begins();
    return t_start(&desc, types);
}

/* So many calls are in flight all the time, without a pause: large batches, back to back. */
static void heavy_body(void **state)
{
    static francis_call calls[HEAVY_WINDOW_WORKERS];
    const neighbour    *c = (const neighbour *)*state;
    const unsigned      window = c->workers ? HEAVY_WINDOW_WORKERS : HEAVY_WINDOW;
    francis_host       *host = neighbour_start(c);
    francis_ctx        *ctx = francis_host_ctx(host);
    francis_stats       stats;
    unsigned            next = 0;
    for (unsigned long i = 0; i < HEAVY_ACTORS || !atomic_load(&all->leave[c->slot]); i++) {
        francis_call *call = &calls[i % window];
        char          id[32];
        if (i >= window) {
            t_ok(francis_wait(ctx, call));
            (void)atomic_fetch_add(&all->done[c->slot], 1);
        }
        if (i == HEAVY_ACTORS)
            atomic_store(&all->ready[c->slot], true);
        call->async = true;
        (void)snprintf(id, sizeof id, "heavy%u-%u", c->slot, next++ % HEAVY_ACTORS);
        t_result(francis_invoke(ctx, "counter", id, "increment", NULL, 0, call), FRANCIS_PENDING);
    }
    for (unsigned i = 0; i < window; i++)
        t_ok(francis_wait(ctx, &calls[i]));
    francis_stats_get(host, &stats);
    (void)atomic_fetch_add(&all->commits, (long long)stats.commits);
    (void)atomic_fetch_add(&all->turns, (long long)stats.commit_turns);
    child_ends(host);
}

/* One turn, a moment of quiet, one turn; while all->go says so. */
static void light_body(void **state)
{
    const neighbour *c = (const neighbour *)*state;
    francis_host    *host = neighbour_start(c);
    francis_ctx     *ctx = francis_host_ctx(host);
    uint64_t         x = seed + c->slot;
    t_ok(francis_invoke(ctx, "counter", "light", "increment", NULL, 0, NULL));
    atomic_store(&all->ready[c->slot], true);
    while (!atomic_load(&all->leave[c->slot])) {
        struct timespec quiet = { 0, (long)pick(&x, 4000) * 1000 };
        int64_t         begin;
        (void)nanosleep(&quiet, NULL);
        if (atomic_load(&all->go) == 0)
            continue;
        begin = now_us();
        t_ok(francis_invoke(ctx, "counter", "light", "increment", NULL, 0, NULL));
        if (atomic_load(&all->waits) < WAITS)
            atomic_store(&all->wait_us[atomic_fetch_add(&all->waits, 1)],
                         (unsigned)(now_us() - begin));
    }
    child_ends(host);
}

static int compare_unsigned(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? -1 : x > y;
}

/* Turns per second of a process, for so long. */
static double rate_for(unsigned slot, int64_t ms)
{
    long long before = atomic_load(&all->done[slot]);
    int64_t   begin = now_us(), end = begin + ms * 1000;
    many_until(now_us() >= end);
    return (double)(atomic_load(&all->done[slot]) - before) * 1e6 / (double)(now_us() - begin);
}

static const char *mode_name(bool workers)
{
    return workers ? "workers" : "no workers";
}

static void fair_pair(bool heavy_workers, bool light_workers)
{
    static unsigned waits[WAITS];
    neighbour       c[2] = { { .slot = 0, .workers = heavy_workers },
                             { .slot = 1, .workers = light_workers } };
    char            path[300];
    pid_t           pid[2];
    double          alone = 0, beside = 0, best = 0;
    unsigned        n;
    (void)memset((void *)all, 0, sizeof *all);
    c[0].path = c[1].path = new_path(path);
    pid[0] = child_new(heavy_body, &c[0]);
    pid[1] = child_new(light_body, &c[1]);
    many_until(atomic_load(&all->ready[0]) && atomic_load(&all->ready[1]));
    /* what else the machine does comes and goes: the best round counts */
    for (unsigned i = 0; i < 3 || (i < 15 && best < 0.5); i++) {
        double quiet, busy;
        atomic_store(&all->go, 0);
        quiet = rate_for(0, 200);
        atomic_store(&all->go, 1);
        busy = rate_for(0, 400);
        if (quiet > 0 && busy / quiet > best) {
            alone = quiet;
            beside = busy;
            best = busy / quiet;
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&all->leave[1 - i], true);     /* the light one goes first */
        child_ends_well(pid[1 - i]);
    }
    n = atomic_load(&all->waits);
    for (unsigned i = 0; i < n; i++)
        waits[i] = atomic_load(&all->wait_us[i]);
    assert_true(n > 10);
    qsort(waits, n, sizeof waits[0], compare_unsigned);
    print_message("%s beside a heavy one with %s: %u waits, p50 %.1f ms, p99 %.1f ms, max %.1f ms; "
                  "%.0f turns/s alone (%.0f per commit), %.0f beside it\n",
                  mode_name(light_workers), mode_name(heavy_workers), n, waits[n / 2] / 1e3,
                  waits[n * 99 / 100] / 1e3, waits[n - 1] / 1e3, alone,
                  (double)atomic_load(&all->turns) / (double)(atomic_load(&all->commits) + 1),
                  beside);
    /* without two of them: a disk stalls now and then, and there is one turn at a time */
    assert_true(waits[n * 99 / 100 - 2] < (t_slow() ? 10000000 : 500000));
    assert_true(best >= (t_slow() ? 0.2 : 0.5));
    nothing_is_left(path, 0);
}

/* One commits batches of hundreds without a pause, the other one single turns. Would catch: a
 * queue in which the one that has just written is the first again (seconds of waiting with
 * SQLite's own), and one that makes the heavy one wait for nothing. */
static void test_light_beside_heavy(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        fair_pair((i & 1) != 0, (i & 2) != 0);
}

/* Four of them. Would catch: a queue that serves some, and not others. */
static void test_four_heavy(void **state)
{
    enum { HEAVY = 4 };
    neighbour c[HEAVY];
    pid_t     pid[HEAVY];
    char      path[300];
    bool      fair = false;
    (void)state;
    (void)new_path(path);
    for (unsigned i = 0; i < HEAVY; i++) {
        c[i].path = path;
        c[i].slot = i;
        c[i].workers = i % 2 != 0;
        pid[i] = child_new(heavy_body, &c[i]);
    }
    for (unsigned i = 0; i < HEAVY; i++)
        many_until(atomic_load(&all->ready[i]));
    /* a while in which somebody else has the processors proves nothing */
    for (unsigned round = 0; round < 4 && !fair; round++) {
        long long before[HEAVY], got[HEAVY], sum = 0;
        int64_t   end = t_ms() + times(3000, 5000);
        for (unsigned i = 0; i < HEAVY; i++)
            before[i] = atomic_load(&all->done[i]);
        many_until(t_ms() >= end);
        for (unsigned i = 0; i < HEAVY; i++) {
            got[i] = atomic_load(&all->done[i]) - before[i];
            sum += got[i];
        }
        fair = true;
        for (unsigned i = 0; i < HEAVY; i++) {
            print_message("%s: %lld turns, %.0f %% of its share\n", mode_name(c[i].workers), got[i],
                          100.0 * HEAVY * (double)got[i] / (double)sum);
            fair = fair && got[i] * 4 * HEAVY >= sum;
        }
    }
    for (unsigned i = 0; i < HEAVY; i++)
        atomic_store(&all->leave[i], true);
    for (unsigned i = 0; i < HEAVY; i++)
        child_ends_well(pid[i]);
    assert_true(fair);
    nothing_is_left(path, 0);
}

/* ---- a large host dies ---- */

typedef struct {
    const char *path;
    unsigned    actors;
    bool        workers;
} large_child;

static void large_body(void **state)
{
    static francis_call calls[1024];
    const large_child  *c = (const large_child *)*state;
    francis_host_desc   desc = { .database = c->path,
                                 .workers = c->workers ? 2 : FRANCIS_NO_WORKERS,
                                 .timeout_ms = FRANCIS_SECONDS(200),
                                 .durability = FRANCIS_SURVIVES_CRASH, .on_log = count_logs,
                                 .log_level = FRANCIS_LOG_DEBUG };
    francis_host       *host;
    francis_ctx        *ctx;
    child_begins();
    host = t_start(&desc, types);
    ctx = francis_host_ctx(host);
    for (unsigned i = 0; i < c->actors + 1024; i++) {
        francis_call *call = &calls[i % 1024];
        char          id[16];
        if (i >= 1024 && i - 1024 < c->actors)
            t_ok(francis_wait(ctx, call));
        if (i >= c->actors)
            continue;
        actor_id(i, id);
        call->async = true;
        t_result(francis_invoke(ctx, "counter", id, "increment", NULL, 0, call), FRANCIS_PENDING);
    }
    atomic_store(&all->ready[0], true);
    for (;;)
        (void)francis_poll(host, 1000);
}

static void large_call(francis_ctx *ctx, unsigned actor, int64_t expected)
{
    francis_call call = { 0 };
    char         id[16];
    actor_id(actor, id);
    t_ok(francis_invoke(ctx, "counter", id, "increment", NULL, 0, &call));
    assert_int_equal(*(const int64_t *)call.data, expected);
    francis_call_free(&call);
}

/* The first call that is not MOVED any more: a host that lived a moment ago is not looked for again
 * at once. Returns the microseconds of that call alone, *all_us those of all. */
static int64_t first_call(francis_ctx *ctx, int64_t *all_us)
{
    int64_t        begin = now_us(), last;
    francis_call   call = { 0 };
    francis_result r;
    do {
        last = now_us();
        r = francis_invoke(ctx, "counter", "actor0", "increment", NULL, 0, &call);
        if (r == FRANCIS_ERR_MOVED && last - begin < 60000000)
            t_yield();
        else
            t_ok(r);
    } while (r != FRANCIS_OK);
    last = now_us() - last;
    *all_us = now_us() - begin;
    assert_int_equal(*(const int64_t *)call.data, 2);
    francis_call_free(&call);
    return last;
}

/* A host with so many actors is killed. Another one, which was there before, takes over. Returns
 * the microseconds of the call that evicts. */
static int64_t large_once(unsigned actors, bool workers)
{
    char              path[300];
    large_child       c = { new_path(path), actors, workers };
    francis_host_desc desc = { .database = c.path, .workers = FRANCIS_NO_WORKERS,
                               .durability = FRANCIS_SURVIVES_CRASH, .on_log = count_logs,
                               .log_level = FRANCIS_LOG_DEBUG };
    francis_host     *host;
    francis_ctx      *ctx;
    francis_stats     stats;
    francis_call      call = { 0 };
    pid_t             pid;
    int64_t           begin, first, evicting, longest = 0, left, seen = INT64_MAX, swept;
    unsigned          steps = 0, next = 1;
    sqlite3          *db;
    (void)memset((void *)all, 0, sizeof *all);
    pid = child_new(large_body, &c);
    many_until(atomic_load(&all->ready[0]));
    host = t_start(&desc, types);
    ctx = francis_host_ctx(host);
    t_result(francis_invoke(ctx, "counter", "actor0", "increment", NULL, 0, &call),
             FRANCIS_ERR_MOVED);
    francis_call_free(&call);
    t_ok(francis_invoke(ctx, "counter", "another", "increment", NULL, 0, NULL));
    child_sigkill(pid);

    evicting = first_call(ctx, &first);
    francis_stats_get(host, &stats);
    assert_int_equal(stats.evictions, 1);
    db = raw_open(c.path);
    do {                            /* swept while calls go on, also to actors of the dead one */
        begin = now_us();
        large_call(ctx, next++, 2);
        if (now_us() - begin > longest)
            longest = now_us() - begin;
        t_ok(francis_poll(host, 0));
        left = raw_int(db,
                       "SELECT count(*) FROM francis_active_actors WHERE host_id <>"
                       " (SELECT host_id FROM francis_ext_hosts WHERE evicted = 0)",
                       NULL, NULL);
        steps += left < seen;
        swept = seen == INT64_MAX ? 0 : seen - left;
        seen = left;
        if (swept > 5000)           /* a batch is a thousand; a few may pass between two looks */
            fail_msg("%lld placements were swept at once", (long long)swept);
    } while (left > 0 && next < actors);
    t_until((t_ok(francis_poll(host, 5)),
             raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL) == 1));
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_active_actors", NULL, NULL),
                     (int64_t)next + 1);
    (void)sqlite3_close(db);
    large_call(ctx, actors - 1, 2);
    francis_close(host);
    print_message("%u actors (%s): first answer after %.1f ms, that call %.2f ms; swept in %u "
                  "steps beside %u calls, the longest %.1f ms\n",
                  actors, mode_name(workers), (double)first / 1e3, (double)evicting / 1e3, steps,
                  next, (double)longest / 1e3);
    assert_true(steps >= 1 && steps * 5000 + 5000 >= actors);
    assert_true(first < (t_slow() ? 60000000 : 5000000));
    assert_true(longest < (t_slow() ? 60000000 : 2000000));
    nothing_is_left(c.path, 0);
    remove_all(c.path);
    return evicting;
}

/* Would catch: an eviction that touches each placement, a first call that waits for the sweep, a
 * sweep in one transaction that all others wait for, placements that are never swept. */
static void test_large_host_dies(void **state)
{
    const unsigned large = times(100000, 50000);
    int64_t        few = INT64_MAX, many;
    (void)state;
    for (int i = 0; i < 3; i++) {
        int64_t us = large_once(1000, i % 2 != 0);
        few = us < few ? us : few;
    }
    many = large_once(large, false);
    if (!t_slow()) {
        int64_t us = large_once(large, true);
        many = us < many ? us : many;
    }
    print_message("1000 actors: %.2f ms, %u actors: %.2f ms\n", (double)few / 1e3, large,
                  (double)many / 1e3);
    assert_true(many <= 20 * few + 50000);
}

/* ---- the log of several writers ---- */

enum { LOG_LIMIT = 512 * 1024, LOG_ACTORS = 40 };

static void log_body(void **state)
{
    const neighbour  *c = (const neighbour *)*state;
    francis_host_desc desc = { .database = c->path,
                               .workers = c->workers ? 2 : FRANCIS_NO_WORKERS,
                               .wal_bytes_max = LOG_LIMIT, .timeout_ms = FRANCIS_SECONDS(100),
                               .durability = FRANCIS_SURVIVES_CRASH, .on_log = count_logs,
                               .log_level = FRANCIS_LOG_DEBUG };
    francis_host     *host;
    francis_ctx      *ctx;
    francis_stats     stats;
    child_begins();
    host = t_start(&desc, types);
    ctx = francis_host_ctx(host);
    atomic_store(&all->ready[c->slot], true);
    for (unsigned i = 0; !atomic_load(&all->leave[c->slot]); i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "page%u-%u", c->slot, i % LOG_ACTORS);
        t_ok(francis_invoke(ctx, "page", id, "put", NULL, 0, NULL));
        if (i % 50 == 0) {          /* readers, too */
            francis_list list = { .what = FRANCIS_LIST_STATES, .type = "page", .with_data = true };
            while (francis_list_next(ctx, &list) == FRANCIS_OK)
                continue;
            t_result(list.result, FRANCIS_DONE);
            francis_list_free(&list);
        }
        (void)atomic_fetch_add(&all->done[c->slot], 1);
    }
    francis_stats_get(host, &stats);
    (void)atomic_fetch_add(&all->bytes, (long long)stats.bytes_written);
    child_ends(host);
}

/* Would catch: checkpoints that wait for a moment in which no other process reads or writes, a
 * limit that each process has for itself. */
static void test_log_of_three(void **state)
{
    enum { WRITERS = 3 };
    const long long turns = times(3000, 300);
    neighbour       c[WRITERS];
    pid_t           pid[WRITERS];
    char            path[300], wal[600];
    int64_t         largest = 0;
    (void)state;
    (void)raw_beside(wal, new_path(path), "-wal");
    for (unsigned i = 0; i < WRITERS; i++) {
        c[i].path = path;
        c[i].slot = i;
        c[i].workers = i % 2 != 0;
        pid[i] = child_new(log_body, &c[i]);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        many_until((largest = raw_file_size(wal) > largest ? raw_file_size(wal) : largest,
                    atomic_load(&all->done[i]) >= turns));
    for (unsigned i = 0; i < WRITERS; i++)
        atomic_store(&all->leave[i], true);
    for (unsigned i = 0; i < WRITERS; i++)
        child_ends_well(pid[i]);
    print_message("%lld, %lld and %lld turns, %lld bytes written, a log of at most %lld bytes, "
                  "over its limit %u times\n",
                  atomic_load(&all->done[0]), atomic_load(&all->done[1]),
                  atomic_load(&all->done[2]), atomic_load(&all->bytes), (long long)largest,
                  logged(209));
    assert_true(atomic_load(&all->bytes) > 8 * (long long)LOG_LIMIT);   /* else it proves nothing */
    assert_true(largest > 0 && largest <= 4 * (int64_t)LOG_LIMIT);
    nothing_is_left(path, 0);
}

#define MANY(f) cmocka_unit_test_setup_teardown(f, many_setup, many_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        MANY(test_kill_under_load),
        MANY(test_stop_under_load),
        MANY(test_wake_up),
        MANY(test_kill_at_each_step),
        MANY(test_kill_at_each_step_beside),
        MANY(test_short_lives),
        MANY(test_fresh_file_at_once),
        MANY(test_light_beside_heavy),
        MANY(test_four_heavy),
        MANY(test_large_host_dies),
        MANY(test_log_of_three),
    };
    const char *text = getenv("TEST_SEED");
    int         failed;
    seed = text != NULL ? strtoull(text, NULL, 0)
                        : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
    print_message("TEST_SEED=%llu\n", (unsigned long long)seed);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("many", tests, NULL, NULL);
    t_clean();
    return failed;
}
