/* kill -9 at random moments under load, hundreds of times on one file. A child runs a host and
 * writes into a pipe what it sends and what is acknowledged; the parent kills it and starts the
 * next one. At the end every acknowledged increment is there, none is half there, there are no more
 * than were sent and no two acknowledgements for the same count. TEST_SEED=number repeats a run. */
#include "support/t.h"

#include "support/child.h"
#include "support/counters.h"

#include <dirent.h>
#include <poll.h>

enum {
    SMALL   = 40,                   /* actors with a state of a hundred bytes, */
    LARGE   = 8,                    /* of several pages, */
    HOT     = 2,                    /* and two that get every third call */
    ACTORS  = SMALL + LARGE + HOT,
    VALUES  = 1 << 17,              /* the largest count that is followed */
    THREADS = 4,
    KEYED   = 5                     /* actors of the keyed test */
};

/* Two fields that must agree, padding that must fit to them, and a checksum over all. */
#define CRASH_STATE(name, words) \
    typedef struct {             \
        int64_t  n;              \
        int64_t  check;          \
        uint64_t fill[words];    \
        uint64_t sum;            \
    } name
CRASH_STATE(small_state, 10);
CRASH_STATE(large_state, 1500);

static uint64_t crash_sum(const void *data, size_t words)
{
    const uint64_t *w = (const uint64_t *)data;
    uint64_t        h = 14695981039346656037u;
    for (size_t i = 0; i < words; i++)
        h = (h ^ w[i]) * 1099511628211u;
    return h;
}

/* Zeroes, or whole; the words without the sum, which is the last one. */
static bool crash_whole(const uint64_t *w, size_t words)
{
    if (w[0] == 0) {
        for (size_t i = 0; i < words; i++)
            if (w[i] != 0)
                return false;
        return true;
    }
    for (size_t i = 2; i < words - 1; i++)
        if (w[i] != w[0] * 2654435761u + i)
            return false;
    return w[1] == ~w[0] && w[words - 1] == crash_sum(w, words - 1);
}

static francis_result crash_step(francis_ctx *ctx, size_t words)
{
    uint64_t *w = (uint64_t *)francis_state(ctx);
    int64_t   n;
    if (w == NULL)
        return FRANCIS_ERR_NOMEM;
    if (!crash_whole(w, words))
        return francis_fail(ctx, FRANCIS_ERR_CORRUPT, "half a state at %llu",
                            (unsigned long long)w[0]);
    w[0]++;
    w[1] = ~w[0];
    for (size_t i = 2; i < words - 1; i++)
        w[i] = w[0] * 2654435761u + i;
    w[words - 1] = crash_sum(w, words - 1);
    n = (int64_t)w[0];
    return francis_reply(ctx, &n, sizeof n);
}

static francis_result small_increment(francis_ctx *ctx)
{
    return crash_step(ctx, sizeof(small_state) / 8);
}

static francis_result large_increment(francis_ctx *ctx)
{
    return crash_step(ctx, sizeof(large_state) / 8);
}

static const francis_method small_methods[] = {
    { "increment", small_increment, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};
static const francis_method large_methods[] = {
    { "increment", large_increment, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};
static const francis_actor_desc types[] = {
    { .type = "small", .methods = small_methods, .state_size = sizeof(small_state),
      .requests_kept_max = 1000000, .requests_kept_ms = FRANCIS_HOURS(10) },
    { .type = "large", .methods = large_methods, .state_size = sizeof(large_state) },
    { .type = NULL }
};

static const char *actor_type(unsigned actor)
{
    return actor >= SMALL && actor < SMALL + LARGE ? "large" : "small";
}

static void actor_id(unsigned actor, char id[16])
{
    (void)snprintf(id, 16, "actor%u", actor);
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

static unsigned pick_actor(uint64_t *x)
{
    return pick(x, 3) == 0 ? SMALL + LARGE + pick(x, HOT) : pick(x, SMALL + LARGE);
}

/* ---- the child ---- */

typedef struct {                    /* less than PIPE_BUF, so each is written in one piece */
    char     kind;                  /* S sent, A acknowledged, K the same of a keyed call, F failed,
                                       U unknown, R ready */
    uint8_t  thread;
    uint16_t actor;
    uint32_t number;                /* R: ms since the start; K: the key */
    int64_t  value;
} record;

typedef struct {
    const char *path;
    int         fd;
    uint64_t    random;
    int64_t     begin_ms;
    bool        workers, small_wal, window;
    uint32_t    next_key[THREADS];
    francis_ctx *ctx;
} crash_child;

static void tell(int fd, char kind, unsigned thread, unsigned actor, uint32_t number, int64_t value)
{
    record r;
    (void)memset(&r, 0, sizeof r);
    r.kind = kind;
    r.thread = (uint8_t)thread;
    r.actor = (uint16_t)actor;
    r.number = number;
    r.value = value;
    child_write(fd, &r, sizeof r);
}

/* The asserts of the test program belong to its main thread. */
static void child_dies(const char *what, francis_result r, const char *error)
{
    (void)fprintf(stderr, "%s: %s %s\n", what, francis_result_name(r), error);
    _exit(4);
}

static void tell_answer(const crash_child *c, unsigned thread, unsigned actor,
                        const francis_call *call)
{
    switch (francis_outcome(call->result)) {
    case FRANCIS_OUTCOME_DONE:
        if (call->size != sizeof(int64_t))
            child_dies("OK without a reply", call->result, call->error);
        tell(c->fd, 'A', thread, actor, 0, *(const int64_t *)call->data);
        break;
    case FRANCIS_OUTCOME_UNKNOWN:
        tell(c->fd, 'U', thread, actor, (uint32_t)call->result, 0);
        break;
    default:
        if (call->result == FRANCIS_ERR_CORRUPT)
            child_dies("half a state", call->result, call->error);
        tell(c->fd, 'F', thread, actor, (uint32_t)call->result, 0);
        break;
    }
}

static francis_host *child_host(crash_child *c)
{
    francis_host_desc desc = { .database = c->path,
                               .workers = c->workers ? 2 : FRANCIS_NO_WORKERS,
                               .timeout_ms = FRANCIS_SECONDS(60),
                               .wal_bytes_max = c->small_wal ? 65536 : 0,
                               .commit_window_ms = c->window ? 1 : 0,
                               .log_level = FRANCIS_LOG_ERROR };
    francis_host     *host = t_start(&desc, types);
    francis_call      call = { 0 };
    char              id[16];
    c->ctx = francis_host_ctx(host);
    actor_id(0, id);
    tell(c->fd, 'S', 0, 0, 0, 0);
    t_ok(francis_invoke(c->ctx, "small", id, "increment", NULL, 0, &call));
    tell_answer(c, 0, 0, &call);
    tell(c->fd, 'R', 0, 0, (uint32_t)(t_ms() - c->begin_ms), 0);
    francis_call_free(&call);
    return host;
}

/* Callers of a host with workers: each waits for its call. */
static void *caller(void *arg)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned        threads;
    crash_child           *c = (crash_child *)arg;
    unsigned               me;
    uint64_t               x;
    (void)pthread_mutex_lock(&lock);
    me = threads++;
    (void)pthread_mutex_unlock(&lock);
    x = c->random + me;
    for (;;) {
        unsigned     actor = pick_actor(&x);
        francis_call call = { 0 };
        char         id[16];
        actor_id(actor, id);
        if (pick(&x, 40) == 0)      /* so that there are claims and releases, too */
            (void)francis_halt(c->ctx, actor_type(actor), id, NULL);
        tell(c->fd, 'S', me, actor, 0, 0);
        (void)francis_invoke(c->ctx, actor_type(actor), id, "increment", NULL, 0, &call);
        tell_answer(c, me, actor, &call);
        francis_call_free(&call);
    }
    return NULL;
}

/* Never returns: it is killed. */
static void crash_body(void **state)
{
    crash_child *c = (crash_child *)*state;
    (void)child_host(c);
    if (c->workers) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, caller, c), 0);
        (void)pthread_join(threads[0], NULL);
    } else {
        enum { BATCH = 16 };
        francis_call calls[BATCH];
        unsigned     actors[BATCH];
        for (;;) {
            unsigned count = 1 + pick(&c->random, BATCH);
            char     id[16];
            (void)memset(calls, 0, sizeof calls);
            for (unsigned i = 0; i < count; i++) {
                actors[i] = pick_actor(&c->random);
                actor_id(actors[i], id);
                calls[i].async = true;
                tell(c->fd, 'S', 0, actors[i], 0, 0);
                t_result(francis_invoke(c->ctx, actor_type(actors[i]), id, "increment", NULL, 0,
                                        &calls[i]),
                         FRANCIS_PENDING);
            }
            for (unsigned i = 0; i < count; i++) {
                (void)francis_wait(c->ctx, &calls[i]);
                tell_answer(c, 0, actors[i], &calls[i]);
                francis_call_free(&calls[i]);
            }
            if (pick(&c->random, 10) == 0) {
                actor_id(actors[0], id);
                (void)francis_halt(c->ctx, actor_type(actors[0]), id, NULL);
            }
        }
    }
}

/* Keyed calls one after the other, from the first that was not acknowledged. */
static void *keyed_caller(void *arg)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned        threads;
    crash_child           *c = (crash_child *)arg;
    unsigned               me;
    (void)pthread_mutex_lock(&lock);
    me = threads++;
    (void)pthread_mutex_unlock(&lock);
    for (uint32_t key = c->next_key[me];; key++) {
        char           id[16], request[40];
        francis_call   call = { .request_id = request };
        francis_result r;
        actor_id(1 + key % KEYED, id);
        (void)snprintf(request, sizeof request, "thread %u key %u", me, key);
        r = francis_invoke(c->ctx, "small", id, "increment", NULL, 0, &call);
        if (r != FRANCIS_OK || call.size != sizeof(int64_t))
            child_dies("a keyed call", r, call.error);
        tell(c->fd, 'K', me, 1 + key % KEYED, key, *(const int64_t *)call.data);
        francis_call_free(&call);
    }
    return NULL;
}

static void keyed_body(void **state)
{
    crash_child *c = (crash_child *)*state;
    (void)child_host(c);
    if (c->workers) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, keyed_caller, c), 0);
        (void)pthread_join(threads[0], NULL);
    } else {
        (void)keyed_caller(c);
    }
}

/* ---- the parent ---- */

typedef struct {
    uint64_t sent[ACTORS], acked[ACTORS], failed[ACTORS], unknown[ACTORS];
    int64_t  largest[ACTORS];
    uint8_t *seen[ACTORS];          /* which counts have been acknowledged */
    uint64_t records, acks;
    unsigned lives, answered;       /* children, and those that lived to their first answer */
    uint32_t slowest_ms;            /* from the fork to the first answer */
    uint32_t next_key[THREADS];
} books;

static void books_begin(books *b)
{
    (void)memset(b, 0, sizeof *b);
    for (int i = 0; i < ACTORS; i++) {
        b->seen[i] = (uint8_t *)calloc(VALUES / 8, 1);
        assert_non_null(b->seen[i]);
    }
}

static void books_end(books *b)
{
    for (int i = 0; i < ACTORS; i++)
        free(b->seen[i]);
}

static void books_enter(books *b, const record *r)
{
    b->records++;
    assert_true(r->actor < ACTORS);
    switch (r->kind) {
    case 'S':
        b->sent[r->actor]++;
        break;
    case 'K':
    case 'A':
        if (r->kind == 'K') {
            assert_true(r->thread < THREADS);
            if (r->number != b->next_key[r->thread]++)
                fail_msg("thread %u acknowledges key %u, not %u", r->thread, r->number,
                         b->next_key[r->thread] - 1);
        }
        if (r->value <= 0 || r->value >= VALUES)
            fail_msg("actor %u counts %lld", r->actor, (long long)r->value);
        if ((b->seen[r->actor][r->value / 8] >> (r->value % 8) & 1) != 0)
            fail_msg("actor %u: %lld has been acknowledged twice: an increment is lost", r->actor,
                     (long long)r->value);
        b->seen[r->actor][r->value / 8] |= (uint8_t)(1 << (r->value % 8));
        if (r->value > b->largest[r->actor])
            b->largest[r->actor] = r->value;
        b->acked[r->actor]++;
        b->acks++;
        break;
    case 'F':
        b->failed[r->actor]++;
        break;
    case 'U':
        b->unknown[r->actor]++;
        break;
    case 'R':
        b->answered++;
        if (r->number > b->slowest_ms)
            b->slowest_ms = r->number;
        break;
    default:
        fail_msg("a record of kind %d", r->kind);
    }
}

/* Runs one child until it has been killed: after so many acknowledgements and then a little, or,
 * with none, some time after its start. */
static void one_life(books *b, crash_child *c, CMUnitTestFunction body, unsigned acks,
                     unsigned more_us)
{
    struct timespec begin, now;
    int             fds[2], status;
    uint64_t        target = b->acks + acks;
    record          r;
    pid_t           pid;

    assert_int_equal(pipe(fds), 0);
    b->lives++;
    c->fd = fds[1];
    c->begin_ms = t_ms();
    (void)memcpy(c->next_key, b->next_key, sizeof c->next_key);
    pid = child_start(body, c);
    (void)close(fds[1]);
    while (b->acks < target) {
        struct pollfd p = { fds[0], POLLIN, 0 };
        if (poll(&p, 1, 60000) <= 0) {
            child_kill(pid);
            fail_msg("the child says nothing for a minute");
        }
        if (!child_read(fds[0], &r, sizeof r)) {
            status = child_wait(pid);
            fail_msg("the child ended by itself, status %d", status);
        }
        books_enter(b, &r);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    do                              /* any moment, to the microsecond: no sleep is so exact */
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000 + (now.tv_nsec - begin.tv_nsec) / 1000 <
           (long)more_us);
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (child_read(fds[0], &r, sizeof r))    /* what it said before it died counts */
        books_enter(b, &r);
    (void)close(fds[0]);
    status = child_wait(pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("the child ended by itself, status %d", status);
}

/* So many lock files of hosts are beside the database. A process that dies between making the file
 * and committing its row leaves one that nobody knows of; no other may stay. */
static int lock_files(const char *path)
{
    const char    *slash = strrchr(path, '/');
    char           prefix[100];
    DIR           *d = opendir(t_dir());
    struct dirent *e;
    int            n = 0;
    assert_non_null(d);
    assert_non_null(slash);
    (void)snprintf(prefix, sizeof prefix, "%s-host-", slash + 1);
    while ((e = readdir(d)) != NULL)
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    (void)closedir(d);
    return n;
}

static int64_t stored_count(sqlite3 *db, const char *type, const char *id)
{
    large_state s;
    size_t      size = strcmp(type, "large") == 0 ? sizeof(large_state) : sizeof(small_state);
    (void)raw_state(db, type, id, &s, size);
    if (!crash_whole((const uint64_t *)(const void *)&s, size / 8))
        fail_msg("%s/%s: half a state is stored", type, id);
    return s.n;
}

static unsigned lives(unsigned normal, unsigned slow)
{
    return t_slow() ? slow : normal;
}

static int64_t first_answer_limit_ms(void)
{
    return t_slow() ? 30000 : 3000;
}

/* Would catch: an acknowledgement before the sync, a batch of which half survives, an activation
 * that begins before the log has been recovered, a lock or lease of the dead that has to be waited
 * for, a heap of rows and files that grows with each crash. */
static void test_kill_under_load(void **state)
{
    const char    *path = t_database();
    const unsigned rounds = lives(220, 24);
    uint64_t       x = seed;
    uint64_t       sent = 0, acked = 0, counted = 0;
    books          b;
    sqlite3       *db;
    (void)state;
    books_begin(&b);
    for (unsigned i = 0; i < rounds; i++) {
        crash_child c = { .path = path, .random = next_random(&x), .workers = pick(&x, 2) != 0,
                          .small_wal = pick(&x, 2) != 0, .window = pick(&x, 4) == 0 };
        /* every fifth while it still opens, the others under load */
        unsigned    acks = pick(&x, 5) == 0 ? 0 : 1 + pick(&x, 150);
        one_life(&b, &c, crash_body, acks, pick(&x, acks == 0 ? 20000 : 2500));
    }
    {                               /* a last one cleans up after the dead, and leaves in peace */
        francis_host_desc desc = { .database = path, .workers = FRANCIS_NO_WORKERS,
                                   .sweep_interval_ms = 20, .log_level = FRANCIS_LOG_ERROR };
        francis_host     *host = t_start(&desc, types);
        for (unsigned a = 0; a < ACTORS; a++) {
            francis_call call = { 0 };
            char         id[16];
            actor_id(a, id);
            t_ok(francis_invoke(francis_host_ctx(host), actor_type(a), id, "increment", NULL, 0,
                                &call));
            b.sent[a]++;
            if (*(const int64_t *)call.data < b.largest[a] + 1)
                fail_msg("actor %u continues with %lld after %lld", a,
                         (long long)*(const int64_t *)call.data, (long long)b.largest[a]);
            francis_call_free(&call);
        }
        db = raw_open(path);
        t_until((t_ok(francis_poll(host, 5)),
                 raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL) == 1));
        assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_active_actors", NULL, NULL),
                         ACTORS);
        (void)sqlite3_close(db);
        francis_close(host);
    }
    db = raw_open(path);
    for (unsigned a = 0; a < ACTORS; a++) {
        char    id[16];
        int64_t n;
        actor_id(a, id);
        n = stored_count(db, actor_type(a), id);
        if (n < (int64_t)b.acked[a] + 1 || n < b.largest[a])
            fail_msg("actor %u: %llu were acknowledged, up to %lld; %lld are there", a,
                     (unsigned long long)b.acked[a], (long long)b.largest[a], (long long)n);
        if (n > (int64_t)(b.sent[a] - b.failed[a]))
            fail_msg("actor %u: %llu were sent, %llu of them failed; %lld are there", a,
                     (unsigned long long)b.sent[a], (unsigned long long)b.failed[a], (long long)n);
        sent += b.sent[a];
        acked += b.acked[a];
        counted += (uint64_t)n;
    }
    raw_check(db);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL), 0);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_active_actors", NULL, NULL), 0);
    (void)sqlite3_close(db);
    assert_in_range(lock_files(path), 0, b.lives - b.answered);
    print_message(
        "%u kills: %llu sent, %llu acknowledged, %llu there; slowest first answer %u ms\n", rounds,
        (unsigned long long)sent, (unsigned long long)acked, (unsigned long long)counted,
        b.slowest_ms);
    assert_true(acked > rounds);    /* there was a load */
    assert_true(b.slowest_ms < first_answer_limit_ms());
    books_end(&b);
}

/* A call with a request id that was under way at the kill is made again by the next process. Would
 * catch: a record that is not in the same commit as its work, in either direction. */
static void test_keyed_exactly_once(void **state)
{
    const char    *path = t_database();
    const unsigned rounds = lives(100, 14);
    uint64_t       x = seed + 1, total = 0, keys[1 + KEYED] = { 0 };
    books          b;
    sqlite3       *db;
    (void)state;
    books_begin(&b);
    for (unsigned i = 0; i < rounds; i++) {
        crash_child c = { .path = path, .random = next_random(&x), .workers = pick(&x, 2) != 0,
                          .small_wal = pick(&x, 2) != 0 };
        /* the first answer of each life is that of a plain call to actor 0 */
        one_life(&b, &c, keyed_body, 2 + pick(&x, 60), pick(&x, 1500));
    }
    {                               /* the ones that were under way at the last kill */
        francis_host_desc desc = { .database = path, .workers = FRANCIS_NO_WORKERS,
                                   .log_level = FRANCIS_LOG_ERROR };
        francis_host     *host = t_start(&desc, types);
        for (unsigned t = 0; t < THREADS; t++) {
            char         id[16], request[40];
            uint32_t     key = b.next_key[t]++;
            francis_call call = { .request_id = request };
            actor_id(1 + key % KEYED, id);
            (void)snprintf(request, sizeof request, "thread %u key %u", t, key);
            t_ok(francis_invoke(francis_host_ctx(host), "small", id, "increment", NULL, 0, &call));
            francis_call_free(&call);
            for (uint32_t k = 0; k <= key; k++)
                keys[1 + k % KEYED]++;
        }
        francis_close(host);
    }
    db = raw_open(path);
    for (unsigned a = 1; a <= KEYED; a++) {
        char    id[16];
        int64_t n;
        actor_id(a, id);
        n = stored_count(db, "small", id);
        if (n != (int64_t)keys[a])
            fail_msg("%s: %llu keys, %lld increments", id, (unsigned long long)keys[a],
                     (long long)n);
        total += keys[a];
    }
    raw_check(db);
    (void)sqlite3_close(db);
    print_message("%u kills, %llu keyed increments, each exactly once\n", rounds,
                  (unsigned long long)total);
    assert_true(total > rounds);
    books_end(&b);
}

/* The file is being created when the process dies. Would catch: a half-made schema that the next
 * one takes for a whole one, or cannot get past. */
static void test_kill_while_creating(void **state)
{
    const unsigned rounds = lives(60, 10);
    uint64_t       x = seed + 2;
    unsigned       began = 0;
    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        const char *path = t_database();
        crash_child c = { .path = path, .random = next_random(&x), .workers = pick(&x, 2) != 0 };
        books       b;
        books_begin(&b);
        one_life(&b, &c, crash_body, 0, pick(&x, t_slow() ? 200000 : 40000));
        began += b.acks > 0;
        {
            francis_host_desc desc = { .database = path, .workers = FRANCIS_NO_WORKERS,
                                       .log_level = FRANCIS_LOG_ERROR };
            francis_host     *host = t_start(&desc, types);
            francis_call      call = { 0 };
            t_ok(francis_invoke(francis_host_ctx(host), "small", "actor0", "increment", NULL, 0,
                                &call));
            assert_true(*(const int64_t *)call.data >= b.largest[0] + 1);
            francis_call_free(&call);
            francis_close(host);
        }
        assert_in_range(lock_files(path), 0, b.lives - b.answered);
        raw_remove(path);
        books_end(&b);
    }
    print_message("%u kills while the file is created, %u of them after the first answer\n", rounds,
                  began);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_under_load),
        cmocka_unit_test(test_keyed_exactly_once),
        cmocka_unit_test(test_kill_while_creating),
    };
    const char *text = getenv("TEST_SEED");
    int         failed;
    seed = text != NULL ? strtoull(text, NULL, 0)
                        : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
    print_message("TEST_SEED=%llu\n", (unsigned long long)seed);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("crash", tests, NULL, NULL);
    t_clean();
    return failed;
}
