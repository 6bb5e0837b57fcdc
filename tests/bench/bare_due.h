/* The limit of alarms and jobs: SQLite alone that does what each of them has to do, on a file which
 * a host has made, so that tables, indexes and triggers are the same. */
#ifndef BENCH_BARE_DUE_H
#define BENCH_BARE_DUE_H

#include "bare.h"

#define DUE_ID_SIZE 40
#define DUE_TYPE    "sleeper"

typedef struct {                    /* a row of the file, and the actor that it wakes */
    char alarm[DUE_ID_SIZE], actor[DUE_ID_SIZE];
} due_row;

typedef struct {
    bare_db       b;                /* of which .put is not used */
    sqlite3_stmt *insert, *claim, *consume, *state, *find;
    due_row      *found;            /* the next ones, in the order in which they are due */
    unsigned      found_count, at, most;
    uint64_t      made;             /* rows, so far */
} due_db;

/* Of a row that was the n-th to be made: a UUIDv7 of that moment. */
static void due_row_name(due_row *r, uint64_t n, uint64_t actor)
{
    (void)snprintf(r->alarm, sizeof r->alarm, "0193%04x-%04x-7000-8000-%012lx",
                   (unsigned)(n >> 16) & 0xffff, (unsigned)n & 0xffff,
                   (unsigned long)(n * 0x9E3779B97F4A7C15u >> 16));
    (void)snprintf(r->actor, sizeof r->actor, "user-%lu", (unsigned long)actor);
}

static void due_bind(due_db *d, sqlite3_stmt *s, int at, const char *text)
{
    if (sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC) != SQLITE_OK)
        die("sqlite: %s", sqlite3_errmsg(d->b.db));
}

/* The columns are those that francis_alarm_set and francis_job_dispatch write. */
static void due_open(due_db *d, const char *path)
{
    (void)memset(d, 0, sizeof *d);
    d->b.random = 1;
    if (sqlite3_open_v2(path, &d->b.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        die("sqlite: %s: %s", path, sqlite3_errmsg(d->b.db));
    bare_exec(&d->b, "pragma synchronous=full; pragma temp_store=memory; "
                     "pragma wal_autocheckpoint=4096");
    d->b.begin = bare_prepare(&d->b, "begin immediate");
    d->b.commit = bare_prepare(&d->b, "commit");
    d->insert = bare_prepare(&d->b,
        "insert into francis_alarms (alarm_id, actor_type, actor_id, alarm_name, alarm_due_time, "
        "alarm_kind, job_method, ext_look, ext_wake, ext_anchor, ext_policy, ext_hash, "
        "ext_attempts, ext_crashes, ext_started) "
        "values (?1, '" DUE_TYPE "', ?2, ?3, ?4, ?5, ?6, ?4, ?4, ?4, 0, 0, 0, 0, 0)");
    d->claim = bare_prepare(&d->b, "insert into francis_active_actors values ('" DUE_TYPE "', ?1, "
                                   "'bare', 300000, 0)");
    d->consume = bare_prepare(&d->b, "delete from francis_alarms where alarm_id = ?1");
    d->state = bare_prepare(&d->b,
        "insert into francis_actor_state values ('" DUE_TYPE "', ?1, ?2, null) "
        "on conflict (actor_type, actor_id) do update set "
        "actor_state_data = excluded.actor_state_data, "
        "actor_state_expiration_time = excluded.actor_state_expiration_time");
    d->find = bare_prepare(&d->b,
        "select alarm_id, actor_id from francis_alarms where actor_type = '" DUE_TYPE "' "
        "order by ext_look, alarm_id limit ?1");
}

static void due_close(due_db *d)
{
    (void)sqlite3_finalize(d->insert);
    (void)sqlite3_finalize(d->claim);
    (void)sqlite3_finalize(d->consume);
    (void)sqlite3_finalize(d->state);
    (void)sqlite3_finalize(d->find);
    free(d->found);
    bare_close(&d->b);
}

static void due_insert(due_db *d, const due_row *r, const char *name, bool job, int64_t due_ms)
{
    due_bind(d, d->insert, 1, r->alarm);
    due_bind(d, d->insert, 2, r->actor);
    due_bind(d, d->insert, 3, name);
    due_bind(d, d->insert, 5, job ? "job" : "alarm");
    if (sqlite3_bind_int64(d->insert, 4, due_ms) != SQLITE_OK)
        die("sqlite: %s", sqlite3_errmsg(d->b.db));
    if (job)
        due_bind(d, d->insert, 6, "work");
    bare_step(&d->b, d->insert);
}

/* Alarms that are due one after the other: the first at first_ms, per_ms in a millisecond; each of
 * another one of so many actors, in no order of their ids. */
static void due_fill(due_db *d, const char *name, unsigned count, unsigned actors, int64_t first_ms,
                     double per_ms)
{
    const uint64_t step = 7368787;  /* a prime, so that none comes twice */
    due_row        r = { .alarm = "" };
    unsigned       i;
    bare_exec(&d->b, "pragma synchronous=off; pragma cache_size=-524288");
    bare_step(&d->b, d->b.begin);
    for (i = 0; i < count; i++) {
        due_row_name(&r, d->made, d->made * step % actors);
        d->made++;
        due_insert(d, &r, name, false, first_ms + (int64_t)(i / per_ms));
        if (i % 1024 == 0)
            check_interrupted();
    }
    bare_step(&d->b, d->b.commit);
    bare_exec(&d->b, "pragma synchronous=full; pragma cache_size=-2000; "
                     "pragma wal_checkpoint(truncate)");
}

static int64_t due_number(due_db *d, const char *sql)
{
    sqlite3_stmt *s = bare_prepare(&d->b, sql);
    int64_t       v;
    if (sqlite3_step(s) != SQLITE_ROW)
        die("sqlite: %s: %s", sql, sqlite3_errmsg(d->b.db));
    v = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    return v;
}

/* The next rows that are due, at most so many. */
static void due_find(due_db *d, unsigned most)
{
    if (most > d->most) {
        free(d->found);
        d->found = (due_row *)calloc(most, sizeof *d->found);
        if (d->found == NULL)
            die("no memory");
        d->most = most;
    }
    d->at = d->found_count = 0;
    if (sqlite3_bind_int64(d->find, 1, most) != SQLITE_OK)
        die("sqlite: %s", sqlite3_errmsg(d->b.db));
    while (d->found_count < most && sqlite3_step(d->find) == SQLITE_ROW) {
        due_row *r = &d->found[d->found_count++];
        (void)snprintf(r->alarm, sizeof r->alarm, "%s",
                       (const char *)sqlite3_column_text(d->find, 0));
        (void)snprintf(r->actor, sizeof r->actor, "%s",
                       (const char *)sqlite3_column_text(d->find, 1));
    }
    (void)sqlite3_reset(d->find);
}

static void due_put_state(due_db *d, const char *actor)
{
    union {
        int64_t count;
        char    bytes[STATE_SIZE];
    } state;
    (void)memset(&state, 0, sizeof state);
    state.count = 1;
    due_bind(d, d->state, 1, actor);
    if (sqlite3_bind_blob(d->state, 2, state.bytes, STATE_SIZE, SQLITE_STATIC) != SQLITE_OK)
        die("sqlite: %s", sqlite3_errmsg(d->b.db));
    bare_step(&d->b, d->state);
}

static void due_consume(due_db *d, const due_row *r)
{
    due_bind(d, d->consume, 1, r->alarm);
    bare_step(&d->b, d->consume);
    due_put_state(d, r->actor);
}

/* What an alarm of an inactive actor comes to: per second, of those that were found. */
static double due_alarms(due_db *d, unsigned batch, double seconds)
{
    const double   start = now_s();
    const unsigned from = d->at;
    double         t = start;
    unsigned       i;
    while (t - start < seconds && d->at + batch <= d->found_count) {
        bare_step(&d->b, d->b.begin);
        for (i = 0; i < batch; i++) {
            const due_row *r = &d->found[d->at++];
            due_bind(d, d->claim, 1, r->actor);
            bare_step(&d->b, d->claim);
            due_consume(d, r);
        }
        bare_step(&d->b, d->b.commit);
        t = now_s();
    }
    check_interrupted();
    if (d->at == from)
        die("too few alarms are left");
    return (d->at - from) / (t - start);
}

/* What was found, each when its time comes: all that are due by then in one transaction. times: how
 * many ms late each was committed. */
static void due_paced(due_db *d, double rate, double *times)
{
    const double   start = now_s();
    const unsigned first = d->at;
    while (d->at < d->found_count) {
        double   now = now_s() - start;
        unsigned from = d->at, i;
        if ((from - first) / rate > now) {
            sleep_s((from - first) / rate - now);
            continue;
        }
        bare_step(&d->b, d->b.begin);
        for (; d->at < d->found_count && d->at - from < 1024 && (d->at - first) / rate <= now;
             d->at++) {
            due_bind(d, d->claim, 1, d->found[d->at].actor);
            bare_step(&d->b, d->claim);
            due_consume(d, &d->found[d->at]);
        }
        bare_step(&d->b, d->b.commit);
        now = now_s() - start;
        for (i = from; i < d->at; i++)
            times[i - first] = (now - (i - first) / rate) * 1e3;
    }
}

/* What a job of an active actor comes to: per second. One transaction makes some, and does those
 * that the one before it has made. */
static double due_jobs(due_db *d, unsigned batch, double seconds)
{
    const double start = now_s();
    double       t = start;
    due_row     *two = (due_row *)calloc(2 * (size_t)batch, sizeof *two);
    char         name[DUE_ID_SIZE + 4];
    uint64_t     n;
    unsigned     i;
    if (two == NULL)
        die("no memory");
    for (n = 0; n < 2 || t - start < seconds; n++) {
        bare_step(&d->b, d->b.begin);
        for (i = 0; i < batch; i++) {
            due_row *r = &two[n % 2 * batch + i];
            if (n > 0)
                due_consume(d, &two[(n + 1) % 2 * batch + i]);
            due_row_name(r, ++d->made, next_random(&d->b.random) % ACTORS);
            (void)snprintf(name, sizeof name, "//%s", r->alarm);
            due_insert(d, r, name, true, 0);
        }
        bare_step(&d->b, d->b.commit);
        t = now_s();
    }
    bare_exec(&d->b, "delete from francis_alarms");
    free(two);
    check_interrupted();
    return (double)((n - 1) * batch) / (t - start);
}

#endif /* BENCH_BARE_DUE_H */
