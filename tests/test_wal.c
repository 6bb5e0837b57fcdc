/* The write-ahead log stays small while somebody reads. SQLite alone lets it grow without end
 * beside readers that overlap, and never gives the room back; a device with a small flash dies of
 * that. */
#include "support/t.h"

#include "support/counters.h"

#include <stdatomic.h>

enum {
    STATES  = 1500,                 /* listed; several pages of a list */
    WRITERS = 40,
    BYTES   = 2000,
    LIMIT   = 512 * 1024
};

static t_log logs;

static francis_result put(francis_ctx *ctx)
{
    uint8_t *s = (uint8_t *)francis_state(ctx);
    int64_t  n;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)memcpy(&n, s, sizeof n);
    n++;
    (void)memset(s, (int)(n & 255), BYTES);
    (void)memcpy(s, &n, sizeof n);
    return francis_reply(ctx, &n, sizeof n);
}

static const francis_method methods[] = {
    { "put", put, FRANCIS_INVOKE, 0 },
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};
static const francis_actor_desc types[] = {
    { .type = "listed", .methods = methods, .state_size = sizeof(counter_state) },
    { .type = "writer", .methods = methods, .state_size = BYTES },
    { .type = NULL }
};

typedef struct {
    char              path[512], wal[600];
    francis_host_desc desc;
    francis_host     *host;
    francis_ctx      *ctx;
    int64_t           largest;      /* of the file, seen after a commit */
    uint64_t          largest_stat;
    uint64_t          commits;
} wal_world;

static void world_start(wal_world *w, bool workers)
{
    (void)memset(w, 0, sizeof *w);
    (void)snprintf(w->path, sizeof w->path, "%s", t_database());
    (void)raw_beside(w->wal, w->path, "-wal");
    w->desc.database = w->path;
    w->desc.workers = workers ? 2 : FRANCIS_NO_WORKERS;
    w->desc.timeout_ms = FRANCIS_SECONDS(60);
    w->desc.wal_bytes_max = LIMIT;
    w->desc.durability = FRANCIS_SURVIVES_CRASH;    /* the size is the subject, not the sync */
    w->desc.on_log = t_log_sink;
    w->desc.log_user = &logs;
    w->host = t_start(&w->desc, types);
    w->ctx = francis_host_ctx(w->host);
}

static void look(wal_world *w)
{
    francis_stats s;
    int64_t       size = raw_file_size(w->wal);
    francis_stats_get(w->host, &s);
    if (size > w->largest)
        w->largest = size;
    if (s.wal_bytes > w->largest_stat)
        w->largest_stat = s.wal_bytes;
}

/* So many commits, each of about five pages with what belongs to it, one batch after the other. */
static void commit_some(wal_world *w, int count)
{
    for (int i = 0; i < count; i++) {
        char id[24];
        (void)snprintf(id, sizeof id, "w%u", (unsigned)(w->commits++ % WRITERS));
        t_ok(francis_invoke(w->ctx, "writer", id, "put", NULL, 0, NULL));
        look(w);
    }
}

static void make_states(wal_world *w)
{
    enum { AT_ONCE = 250 };
    static francis_call calls[AT_ONCE];
    for (int first = 0; first < STATES; first += AT_ONCE) {
        (void)memset(calls, 0, sizeof calls);
        for (int i = 0; i < AT_ONCE; i++) {
            char id[24];
            (void)snprintf(id, sizeof id, "s%05d", first + i);
            calls[i].async = true;
            t_result(francis_invoke(w->ctx, "listed", id, "increment", NULL, 0, &calls[i]),
                     FRANCIS_PENDING);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            t_ok(francis_wait(w->ctx, &calls[i]));
            francis_call_free(&calls[i]);
        }
    }
}

/* Above the limit until the next checkpoint; a batch more, and what the readers of a moment delay.
 */
static int64_t bound(void)
{
    return 3 * (int64_t)LIMIT;
}

static unsigned how_many(unsigned normal, unsigned slow)
{
    return t_slow() ? slow : normal;
}

/* A list that is held open between its pages, for as long as it takes to write thirty times the
 * limit. Would catch: a read transaction that lasts from one page to the next; a list that, the
 * transaction being gone, misses items or brings some twice. */
static void test_list_held_open(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        wal_world      w;
        francis_list   list = { .what = FRANCIS_LIST_STATES, .type = "listed", .with_data = true };
        francis_result r;
        int            n = 0;
        world_start(&w, variant != 0);
        make_states(&w);
        w.largest = 0;
        while ((r = francis_list_next(w.ctx, &list)) == FRANCIS_OK) {
            char id[24];
            (void)snprintf(id, sizeof id, "s%05d", n++);
            assert_string_equal(list.item.id, id);
            assert_int_equal(list.item.size, sizeof(counter_state));
            if (n % 100 == 50)      /* in the middle of pages and between them */
                commit_some(&w, (int)how_many(150, 40));
            if (n % 300 == 1)
                commit_some(&w, 1);
        }
        t_result(r, FRANCIS_DONE);
        assert_int_equal(n, STATES);
        francis_list_free(&list);
        print_message("%s: %llu commits beside a list, WAL at most %lld bytes\n",
                      variant != 0 ? "workers" : "no workers", (unsigned long long)w.commits,
                      (long long)w.largest);
        assert_true(w.largest > 0);
        assert_true(w.largest <= bound());
        assert_true(w.largest_stat > 0 && w.largest_stat <= (uint64_t)bound());
        francis_close(w.host);
        assert_int_equal(raw_file_size(w.wal), -1); /* the last one out takes it away */
    }
}

typedef struct {
    wal_world  *w;
    atomic_bool stop;
    atomic_int  lists;
} lister;

static void *list_again_and_again(void *arg)
{
    lister *l = (lister *)arg;
    while (!atomic_load(&l->stop)) {
        francis_list   list = { .what = FRANCIS_LIST_STATES, .type = "listed" };
        francis_result r;
        int            n = 0;
        while ((r = francis_list_next(l->w->ctx, &list)) == FRANCIS_OK)
            n++;
        francis_list_free(&list);
        if (r != FRANCIS_DONE || n != STATES) {
            (void)fprintf(stderr, "a list ends with %s after %d\n", francis_result_name(r), n);
            abort();
        }
        atomic_fetch_add(&l->lists, 1);
    }
    return NULL;
}

/* Lists without a pause, overlapping, from two threads: at no moment is there no reader. Would
 * catch: a checkpoint that hopes for a quiet moment (337 MB in four seconds with SQLite's own). */
static void test_lists_without_pause(void **state)
{
    wal_world w;
    lister    l;
    pthread_t threads[2];
    (void)state;
    world_start(&w, true);
    make_states(&w);
    w.largest = 0;
    l.w = &w;
    atomic_init(&l.stop, false);
    atomic_init(&l.lists, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, list_again_and_again, &l), 0);
    commit_some(&w, (int)how_many(3000, 400));
    t_until(atomic_load(&l.lists) >= 4);
    atomic_store(&l.stop, true);
    for (int i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    print_message("%llu commits beside %d lists, WAL at most %lld bytes\n",
                  (unsigned long long)w.commits, atomic_load(&l.lists), (long long)w.largest);
    assert_true(w.largest <= bound());
    francis_close(w.host);
}

/* A reader that is not ours: nobody can make it let go, but commits go on, the size is told, and
 * when it has ended the log shrinks, the file too. Would catch: commits that fail or wait for the
 * reader, a log that stays as large as it once was. */
static void test_foreign_reader(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        wal_world     w;
        francis_stats s;
        sqlite3      *db;
        int64_t       before, grown;
        unsigned      warned = t_logged(&logs, 209);
        world_start(&w, variant != 0);
        make_states(&w);
        db = raw_open(w.path);
        raw_exec(db, "BEGIN");
        before = raw_int(db, "SELECT count(*) FROM francis_actor_state", NULL, NULL);
        commit_some(&w, (int)how_many(600, 200));
        grown = raw_file_size(w.wal);
        francis_stats_get(w.host, &s);
        assert_true(grown > LIMIT); /* else this test proves nothing */
        assert_true(s.wal_bytes > (uint64_t)LIMIT);
        assert_true(t_logged(&logs, 209) > warned); /* somebody should know */
        assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_actor_state", NULL, NULL),
                         before);   /* its view has not moved */
        raw_exec(db, "COMMIT");
        t_until((commit_some(&w, 1), raw_file_size(w.wal) <= (int64_t)LIMIT * 2));
        francis_stats_get(w.host, &s);
        assert_true(s.wal_bytes <= (uint64_t)LIMIT * 2);
        print_message("%s: WAL %lld bytes beside a foreign reader, then %lld\n",
                      variant != 0 ? "workers" : "no workers", (long long)grown,
                      (long long)raw_file_size(w.wal));
        w.largest = 0;              /* and it stays small */
        commit_some(&w, (int)how_many(500, 100));
        assert_true(w.largest <= bound());
        (void)sqlite3_close(db);
        francis_close(w.host);
    }
}

/* A foreign reader that is there when the host leaves: close does not wait for it, and the next
 * host finds everything. */
static void test_foreign_reader_at_close(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        wal_world w, again;
        sqlite3  *db;
        int64_t   begin;
        world_start(&w, variant != 0);
        commit_some(&w, WRITERS * 3);
        db = raw_open(w.path);
        raw_exec(db, "BEGIN");
        assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_actor_state", NULL, NULL),
                         WRITERS);
        commit_some(&w, WRITERS * 3);
        begin = t_ms();
        francis_close(w.host);
        assert_true(t_ms() - begin < 10000);
        again = w;
        again.host = t_start(&w.desc, types);
        for (unsigned i = 0; i < WRITERS; i++) {
            francis_call call = { 0 };
            char         id[24];
            (void)snprintf(id, sizeof id, "w%u", i);
            t_ok(francis_invoke(francis_host_ctx(again.host), "writer", id, "put", NULL, 0, &call));
            assert_int_equal(*(const int64_t *)call.data, 7);
            francis_call_free(&call);
        }
        raw_exec(db, "COMMIT");
        (void)sqlite3_close(db);
        francis_close(again.host);
    }
}

/* The limits of the profiles, as the host resolves them, and held. Would catch: a flash profile
 * that writes sixteen megabytes of log on a device that has sixty-four. */
static void test_limits_of_the_profiles(void **state)
{
    static const struct {
        francis_profile profile;
        uint64_t        limit;
    } table[] = { { FRANCIS_PROFILE_SERVER, 16u << 20 }, { FRANCIS_PROFILE_FLASH, 1u << 20 } };
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char       *path = t_database();
        francis_host_desc desc = { .database = path, .workers = FRANCIS_NO_WORKERS,
                                   .profile = table[i].profile, .commit_window_ms = 1,
                                   .durability = FRANCIS_SURVIVES_CRASH }, resolved;
        francis_host     *host = t_start(&desc, types);
        char              wal[600];
        int64_t           largest = 0;
        francis_desc_get(host, &resolved);
        assert_int_equal(resolved.wal_bytes_max, table[i].limit);
        if (table[i].profile == FRANCIS_PROFILE_FLASH) {
            for (int k = 0; k < (int)how_many(1500, 200); k++) {
                char id[24];
                (void)snprintf(id, sizeof id, "w%d", k % WRITERS);
                t_ok(francis_invoke(francis_host_ctx(host), "writer", id, "put", NULL, 0, NULL));
                if (raw_file_size(raw_beside(wal, path, "-wal")) > largest)
                    largest = raw_file_size(wal);
            }
            print_message("flash profile: WAL at most %lld bytes\n", (long long)largest);
            assert_true(largest <= 3 * (int64_t)table[i].limit);
        }
        francis_close(host);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_held_open),
        cmocka_unit_test(test_lists_without_pause),
        cmocka_unit_test(test_foreign_reader),
        cmocka_unit_test(test_foreign_reader_at_close),
        cmocka_unit_test(test_limits_of_the_profiles),
    };
    int failed;
    (void)pthread_mutex_init(&logs.lock, NULL);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("wal", tests, NULL, NULL);
    t_clean();
    return failed;
}
