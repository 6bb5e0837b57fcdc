/* The limits: what SQLite, a mutex and an indirect call cost with nothing around them. */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include "base.h"

#include <pthread.h>
#include <sqlite3.h>

#define ACTORS     10000u
#define STATE_SIZE 64

/* The ids of the actors, the same on both sides. */
static char actor_ids[ACTORS][16];

static void actor_ids_init(void)
{
    unsigned i;
    for (i = 0; i < ACTORS; i++)
        (void)snprintf(actor_ids[i], sizeof actor_ids[i], "user-%u", i);
}

typedef struct {
    sqlite3      *db;
    sqlite3_stmt *begin, *put, *commit;
    uint64_t      random;
    int64_t       count;
} bare_db;

static void bare_exec(bare_db *b, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(b->db, sql, NULL, NULL, &error) != SQLITE_OK)
        die("sqlite: %s: %s", sql, error);
}

static sqlite3_stmt *bare_prepare(bare_db *b, const char *sql)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v3(b->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK)
        die("sqlite: %s: %s", sql, sqlite3_errmsg(b->db));
    return s;
}

static void bare_step(bare_db *b, sqlite3_stmt *s)
{
    if (sqlite3_step(s) != SQLITE_DONE)
        die("sqlite: %s", sqlite3_errmsg(b->db));
    (void)sqlite3_reset(s);
}

static void bare_put(bare_db *b, unsigned actor)
{
    union {
        int64_t count;
        char    bytes[STATE_SIZE];
    } state;
    (void)memset(&state, 0, sizeof state);
    state.count = ++b->count;
    if (sqlite3_bind_text(b->put, 1, "counter", 7, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_text(b->put, 2, actor_ids[actor], -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_blob(b->put, 3, state.bytes, STATE_SIZE, SQLITE_STATIC) != SQLITE_OK)
        die("sqlite: %s", sqlite3_errmsg(b->db));
    bare_step(b, b->put);
}

/* The table, the pragmas and the size of the log are those of a server host. */
static void bare_open(bare_db *b, const char *name)
{
    char     path[PATH_SIZE];
    unsigned i;
    (void)memset(b, 0, sizeof *b);
    b->random = 1;
    if (sqlite3_open_v2(scratch_path(path, name), &b->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        die("sqlite: %s: %s", path, sqlite3_errmsg(b->db));
    bare_exec(b, "pragma page_size=4096; pragma journal_mode=wal; pragma synchronous=full; "
                 "pragma foreign_keys=on; pragma temp_store=memory; "
                 "pragma wal_autocheckpoint=4096");
    bare_exec(b, "create table francis_actor_state (actor_type text not null, "
                 "actor_id text not null, actor_state_data blob not null, "
                 "actor_state_expiration_time integer, primary key (actor_type, actor_id)) "
                 "without rowid, strict");
    bare_exec(b, "create index francis_actor_state_expiration on "
                 "francis_actor_state (actor_state_expiration_time) "
                 "where actor_state_expiration_time is not null");
    b->begin = bare_prepare(b, "begin immediate");
    b->commit = bare_prepare(b, "commit");
    b->put = bare_prepare(b, "insert into francis_actor_state values (?1, ?2, ?3, null) "
                             "on conflict (actor_type, actor_id) do update set "
                             "actor_state_data = excluded.actor_state_data, "
                             "actor_state_expiration_time = excluded.actor_state_expiration_time");
    bare_step(b, b->begin);
    for (i = 0; i < ACTORS; i++)
        bare_put(b, i);
    bare_step(b, b->commit);
}

static void bare_close(bare_db *b)
{
    (void)sqlite3_finalize(b->begin);
    (void)sqlite3_finalize(b->put);
    (void)sqlite3_finalize(b->commit);
    if (sqlite3_close(b->db) != SQLITE_OK)
        die("sqlite: close: %s", sqlite3_errmsg(b->db));
}

static void bare_batch(bare_db *b, unsigned batch)
{
    unsigned i;
    bare_step(b, b->begin);
    for (i = 0; i < batch; i++)
        bare_put(b, next_random(&b->random) % ACTORS);
    bare_step(b, b->commit);
}

/* Rows per second with this batch size. */
static double bare_rows(bare_db *b, unsigned batch, double seconds)
{
    double   start = now_s(), end = start + seconds, t = start;
    uint64_t n = 0;
    while (t < end) {
        bare_batch(b, batch);
        n += batch;
        t = now_s();
    }
    check_interrupted();
    return (double)n / (t - start);
}

/* Until the log has its size and is overwritten: a commit that makes it longer costs twice. */
static void bare_warm(bare_db *b)
{
    (void)bare_rows(b, 1024, opt.quick ? 0.05 : 0.4);
}

typedef int (*bare_function)(int);

static int bare_nothing(int x)
{
    return x + 1;
}

static bare_function volatile bare_pointer = bare_nothing;

/* Nanoseconds of an indirect call and an uncontended mutex pair. */
static double bare_call_ns(unsigned count)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    double                 start = now_s();
    unsigned               i;
    int                    x = 0;
    for (i = 0; i < count; i++) {
        (void)pthread_mutex_lock(&mutex);
        x = bare_pointer(x & 1023);
        (void)pthread_mutex_unlock(&mutex);
    }
    check_interrupted();
    if (x < 0)
        die("no number");
    return (now_s() - start) * 1e9 / count;
}

#endif /* BENCH_BARE_H */
