/* Rows of alarms and dead jobs that this library has not written: garbage in each column, and what
 * the Go implementation writes, which knows nothing of our columns. Whatever they say, the host
 * goes on with all others; what cannot be understood is logged and lies still. */
#include "support/due.h"
#include "support/raw_sqlite.h"

static const francis_actor_desc types[] = { { DUE_TYPE("counter") }, { .type = NULL } };

static sqlite3 *db;

static void rows_open(void)
{
    due_open(types);
    db = raw_open(ta->path);
}

static void rows_close(void)
{
    raw_check(db);
    (void)sqlite3_close(db);
    ta_close();
}

/* A row as Go inserts it: id, actor, name, due, interval, kind, method, cron. */
static void go_row(const char *id, const char *actor, const char *name, int64_t due,
                   const char *interval, const char *kind, const char *method, const char *cron)
{
    sqlite3_stmt *s = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO francis_alarms(alarm_id, actor_type,"
                                        " actor_id, alarm_name, alarm_due_time, alarm_interval,"
                                        " alarm_kind, job_method, alarm_cron) VALUES(?1, 'counter',"
                                        " ?2, ?3, ?4, ?5, ?6, ?7, ?8)", -1, &s, NULL), SQLITE_OK);
    (void)sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 2, actor, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 3, name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(s, 4, due);
    (void)sqlite3_bind_text(s, 5, interval, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 6, kind, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 7, method, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 8, cron, -1, SQLITE_STATIC);
    if (sqlite3_step(s) != SQLITE_DONE)
        fail_msg("%s: %s", id, sqlite3_errmsg(db));
    (void)sqlite3_finalize(s);
}

static int64_t row_count(const char *actor)
{
    return raw_int(db, "SELECT count(*) FROM francis_alarms WHERE actor_id = ?1", actor, NULL);
}

/* An alarm, a job and a row that only a look at the file finds still run. */
static void others_go_on(void)
{
    static unsigned number;
    char            id[32];
    francis_alarm   alarm = { .type = "counter", .id = id, .name = "other" };
    francis_job     job = { .type = "counter", .id = id, .method = "other" };
    (void)snprintf(id, sizeof id, "other%u", number++);
    t_ok(francis_alarm_set(ta->ctx, &alarm, NULL));
    t_ok(francis_job_dispatch(ta->ctx, &job, NULL));
    go_row(id, id, "found", due_now() - 1, NULL, "alarm", NULL, NULL);
    due_until(due_count_of(id, NULL) == 3 && row_count(id) == 0);
}

/* ---- as Go writes them ---- */

/* Would catch: a look by our own columns that misses rows without them; a method, name or data that
 * is lost; a request id cut out of a name that is none. */
static void test_go_rows(void **state)
{
    due_run r;
    (void)state;
    rows_open();
    go_row("018f3b1e-0000-7000-8000-000000000001", "a", "ring", due_now() - 5, NULL, "alarm", NULL,
           NULL);
    go_row("018f3b1e-0000-7000-8000-000000000002", "b", "report", due_now() + 300, NULL, "job",
           "print", NULL);
    go_row("018f3b1e-0000-7000-8000-000000000003", "c", "x", due_now(), NULL, "job", "print", NULL);
    raw_exec(db, "UPDATE francis_alarms SET alarm_lease_id = alarm_id || 'L',"
             " alarm_lease_expiration_time = 9000000000000");
    due_until(due_count() == 3 && row_count("a") + row_count("b") + row_count("c") == 0);
    for (unsigned i = 0; i < 3; i++) {
        r = due_at(i);
        if (strcmp(r.id, "a") == 0) {
            assert_int_equal(r.kind, FRANCIS_ALARM);
            assert_string_equal(r.name, "ring");
        } else {
            assert_int_equal(r.kind, FRANCIS_JOB);
            assert_string_equal(r.name, "print");
            assert_non_null(strstr(r.request_id, "018f3b1e-"));     /* its own, not a piece */
        }
    }
    others_go_on();
    rows_close();
}

/* Go moves a row without our columns, forward and back. Would catch: a row that runs at its old
 * time, or that is looked for only then. */
static void test_go_moves(void **state)
{
    francis_alarm alarm = { .type = "counter", .id = "a", .name = "moved", .delay_ms = 3600000 };
    (void)state;
    rows_open();
    t_ok(francis_alarm_set(ta->ctx, &alarm, NULL));
    due_quiet("counter");
    assert_int_equal(due_count_of("a", "moved"), 0);
    raw_exec(db, "UPDATE francis_alarms SET alarm_due_time = 1700000000000 WHERE actor_id = 'a'");
    due_until(due_count_of("a", "moved") == 1 && row_count("a") == 0);
    alarm.delay_ms = 1500;          /* it is in memory already when it is moved away */
    t_ok(francis_alarm_set(ta->ctx, &alarm, NULL));
    raw_exec(db, "UPDATE francis_alarms SET alarm_due_time = alarm_due_time + 3600000"
             " WHERE actor_id = 'a'");
    due_quiet("counter");
    if (due_by_hand())
        assert_int_equal(due_count_of("a", "moved"), 2);    /* begun in vain, and not stored */
    assert_int_equal(row_count("a"), 1);
    assert_int_equal(ta_stored_n("counter", "a"), 1);
    rows_close();
}

/* Would catch: an interval in ISO 8601 or a cron text that is not understood or is rewritten, and a
 * repetition that is counted from elsewhere. */
static void test_go_repeats(void **state)
{
    char    text[64];
    int64_t first = 0;
    (void)state;
    rows_open();
    first = due_now() - 100;
    go_row("018f3b1e-0000-7000-8000-000000000001", "iso", "tick", first, "PT0.7S", "alarm", NULL,
           NULL);
    go_row("018f3b1e-0000-7000-8000-000000000002", "cron", "work", first, NULL, "job", "print",
           "CRON_TZ=UTC */5 * * * *");
    due_until(due_count_of("iso", "tick") >= 3 && due_count_of("cron", "print") == 1);
    due_until(raw_int(db, "SELECT alarm_due_time FROM francis_alarms WHERE actor_id = 'cron'", NULL,
                      NULL) % 300000 == 0);
    assert_true((raw_int(db, "SELECT alarm_due_time FROM francis_alarms WHERE actor_id = 'iso'",
                         NULL, NULL) - first) % 700 == 0);
    assert_true(raw_text(db, "SELECT alarm_interval FROM francis_alarms WHERE actor_id = 'iso'",
                         text, sizeof text));
    assert_string_equal(text, "PT0.7S");
    assert_true(raw_text(db, "SELECT alarm_cron FROM francis_alarms WHERE actor_id = 'cron'", text,
                         sizeof text));
    assert_string_equal(text, "CRON_TZ=UTC */5 * * * *");
    rows_close();
}

/* A dead job of Go's has neither name nor schedule. Would catch: one that cannot be retried or
 * forgotten, or whose job_failed is called although it was told of long ago. */
static void test_go_dead(void **state)
{
    francis_call call = { 0 };
    (void)state;
    rows_open();
    raw_exec(db, "INSERT INTO francis_dead_jobs(job_id, actor_type, actor_id, job_method, job_data,"
             " attempts, last_error, failed_at, original_due) VALUES"
             " ('018f3b1e-0000-7000-8000-000000000001', 'counter', 'a', 'print', x'41', 3, NULL,"
             " 1700000000000, 1700000000000),"
             " ('018f3b1e-0000-7000-8000-000000000002', 'counter', 'a', '', NULL, 3, 'why',"
             " 1700000000000, 1700000000000)");
    due_quiet("counter");
    assert_int_equal(due_count_of("a", NULL), 0);
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, "counter", "a"), 2);
    t_ok(francis_job_retry(ta->ctx, "018f3b1e-0000-7000-8000-000000000001", &call));
    assert_int_equal(call.size, 36);
    due_until(due_count_of("a", "print") == 1 && row_count("a") == 0);
    t_ok(francis_job_cancel(ta->ctx, "018f3b1e-0000-7000-8000-000000000002", NULL));
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, "counter", "a"), 0);
    francis_call_free(&call);
    rows_close();
}

/* ---- garbage ---- */

/* Would catch: a schedule that nobody understands which stops the rest, or is tried without a
 * pause. */
static void test_bad_schedules(void **state)
{
    static const char *const bad[] = { "", "P", "PT", "soon", "PT-5S", "P9999999999Y", "-1",
                                       "PT1E9S", "1x", "P1Y2M3DT4H5M6.7.8S" };
    char     id[40], actor[8];
    unsigned i, n = sizeof bad / sizeof bad[0], logged;
    (void)state;
    rows_open();
    for (i = 0; i < n; i++) {
        (void)snprintf(actor, sizeof actor, "b%u", i);
        (void)snprintf(id, sizeof id, "018f3b1e-0000-7000-8000-0000000000%02u", 2 * i);
        go_row(id, actor, "bad", due_now(), i > 0 ? bad[i] : "0", "alarm", NULL, NULL);
        (void)snprintf(id, sizeof id, "018f3b1e-0000-7000-8000-0000000000%02u", 2 * i + 1);
        go_row(id, actor, "/bad", due_now(), NULL, "job", "work", i > 0 ? bad[i] : "61 * * * *");
    }
    due_until(t_logged(&ta->log, 506) >= 2 * n);
    logged = t_logged(&ta->log, 506);
    others_go_on();
    due_quiet("counter");
    assert_int_equal(t_logged(&ta->log, 506), logged);      /* they lie still */
    assert_int_equal(due_count_of(NULL, "bad") + due_count_of(NULL, "work"), 0);
    for (i = 0; i < n; i++) {
        (void)snprintf(actor, sizeof actor, "b%u", i);
        assert_int_equal(row_count(actor), 2);
    }
    rows_close();
}

/* Each time of the schedule's and of ours at its extremes. Would catch: an overflow, an endless
 * loop, a host that waits for one and forgets the others. */
static void test_bad_times(void **state)
{
    static const char *const times[] = { "-9223372036854775808", "9223372036854775807", "0", "-1",
                                         "253402300800000" };
    static const char *const columns[] = { "alarm_due_time", "ext_wake", "ext_look", "ext_anchor",
                                           "alarm_ttl_time", "ext_policy", "ext_attempts",
                                           "ext_crashes", "ext_started", "ext_hash" };
    static const char *const repeats[] = { NULL, "PT10S", "P1M" };
    unsigned number = 0;
    (void)state;
    rows_open();
    for (unsigned c = 0; c < sizeof columns / sizeof columns[0]; c++)
        for (unsigned t = 0; t < sizeof times / sizeof times[0]; t++)
            for (unsigned r = 0; r < sizeof repeats / sizeof repeats[0]; r++) {
                char sql[300], id[40], actor[16];
                (void)snprintf(id, sizeof id, "018f3b1e-0000-7000-8000-%012u", number);
                (void)snprintf(actor, sizeof actor, "t%u", number++);
                go_row(id, actor, "time", due_now() - 50, repeats[r], "alarm", NULL, NULL);
                (void)snprintf(sql, sizeof sql, "UPDATE francis_alarms SET %s = %s WHERE alarm_id ="
                               " '%s'", columns[c], times[t], id);
                raw_exec(db, sql);
            }
    for (unsigned p = 0; p < 16; p++) {     /* all that the low bits of the policy can say */
        char sql[300], id[40];
        (void)snprintf(id, sizeof id, "018f3b1e-0000-7000-8000-%012u", number++);
        go_row(id, "policy", id, due_now() - 5000, "PT1S", "alarm", NULL, NULL);
        (void)snprintf(sql, sizeof sql, "UPDATE francis_alarms SET ext_policy = %u WHERE alarm_id ="
                       " '%s'", p | 512, id);
        raw_exec(db, sql);
    }
    others_go_on();
    due_until(due_count_of("policy", NULL) >= 16);
    others_go_on();
    (void)due_rows(FRANCIS_LIST_ALARMS, NULL, NULL);        /* and all of it can be listed */
    raw_exec(db, "DELETE FROM francis_alarms");
    others_go_on();
    rows_close();
}

/* Ids and names of a megabyte, empty ones, and some with what names may not have. Would catch: a
 * cut id that is found again and again, a text copied into too little room. */
static void test_bad_names(void **state)
{
    static char big[1048577];
    char        id[40];
    unsigned    longs = 0;
    (void)state;
    (void)memset(big, 'n', sizeof big - 1);
    rows_open();
    for (unsigned i = 0; i < 300; i++) {    /* more than one look reads, the same at the front */
        char wide[80];
        (void)snprintf(wide, sizeof wide, "018f3b1e-0000-7000-8000-000000000001-%u", i);
        go_row(wide, "wide", wide, due_now(), NULL, "alarm", NULL, NULL);
    }
    go_row(big, "wide", "long id", due_now(), NULL, "alarm", NULL, NULL);
    go_row("short", "short", "short", due_now(), NULL, "alarm", NULL, NULL);
    (void)snprintf(id, sizeof id, "018f3b1e-0000-7000-8000-000000000002");
    go_row(id, "long", big, due_now(), NULL, "alarm", NULL, NULL);
    id[35] = '3';
    go_row(id, "long", "method", due_now(), NULL, "job", big, NULL);
    id[35] = '4';
    go_row(id, big, "actor", due_now(), NULL, "alarm", NULL, NULL);
    id[35] = '5';
    go_row(id, "long", "interval", due_now(), big, "alarm", NULL, NULL);
    id[35] = '6';
    go_row(id, "", "", due_now(), NULL, "alarm", NULL, NULL);
    id[35] = '7';
    go_row(id, "a/b", "//", due_now(), NULL, "job", "", NULL);
    id[35] = '8';
    go_row(id, "kind", "kind", due_now(), NULL, "neither", NULL, NULL);
    others_go_on();
    due_until(due_count_of("short", "short") == 1 && row_count("short") == 0);
    others_go_on();
    for (unsigned i = 0; i < due_count(); i++)
        longs += strcmp(due_at(i).id, "wide") == 0;
    assert_int_equal(longs, 0);
    assert_int_equal(row_count("wide"), 301);
    rows_close();
}

static void hook_row(const char *id, const char *at, const char *tries, const char *result)
{
    char sql[400];
    (void)snprintf(sql, sizeof sql, "INSERT INTO francis_dead_jobs(job_id, actor_type, actor_id,"
                   " job_method, attempts, failed_at, original_due, ext_hook_at, ext_hook_attempts,"
                   " ext_result) VALUES('%s', 'counter', 'dead', 'work', 1, 0, 0, %s, %s, %s)", id,
                   at, tries, result);
    raw_exec(db, sql);
}

/* Would catch: a hook that is called for ever, or that keeps others from being called. */
static void test_bad_dead(void **state)
{
    char wide[80];
    (void)state;
    rows_open();
    hook_row("h0", "-9223372036854775808", "0", "0");
    hook_row("h1", "0", "9223372036854775807", "-9223372036854775808");
    hook_row("h2", "1", "-1", "123456789");
    hook_row("h3", "9223372036854775807", "0", "1");
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(wide, sizeof wide, "018f3b1e-0000-7000-8000-000000000001-%u", i);
        hook_row(wide, "1", "0", "1");
    }
    hook_row("h4", "2", "0", "1");
    due_until(raw_int(db, "SELECT count(*) FROM francis_dead_jobs WHERE job_id LIKE 'h_' AND"
                      " ext_hook_at IS NULL", NULL, NULL) == 4);
    others_go_on();
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, "counter", "dead"), 305);
    t_ok(francis_purge(ta->ctx, "counter", "dead", NULL));
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, "counter", "dead"), 0);
    rows_close();
}

/* Tables without our constraints, and nothing where something has to be. Would catch: a NULL that
 * is taken for a lack of memory, so that nothing of its type is found any more. */
static void test_nulls(void **state)
{
    (void)state;
    rows_open();
    (void)sqlite3_close(db);
    francis_close(ta->host);
    db = raw_open(ta->path);
    raw_exec(db, "DROP TRIGGER francis_active_actors_delete_trigger; DROP TABLE francis_alarms;"
             " CREATE TABLE francis_alarms(alarm_id, actor_type, actor_id, alarm_name,"
             " alarm_due_time, alarm_interval, alarm_ttl_time, alarm_data, alarm_lease_id,"
             " alarm_lease_expiration_time, alarm_kind DEFAULT 'alarm', job_method, alarm_cron,"
             " ext_look DEFAULT 0, ext_wake, ext_anchor, ext_policy DEFAULT 0, ext_hash DEFAULT 0,"
             " ext_attempts DEFAULT 0, ext_crashes DEFAULT 0, ext_started DEFAULT 0, ext_error);"
             " CREATE UNIQUE INDEX francis_alarm_ref_idx ON francis_alarms(actor_type, actor_id,"
             " alarm_name);"
             " INSERT INTO francis_alarms(alarm_id, actor_type, ext_look) VALUES(NULL, 'counter',"
             " 0), ('n1', 'counter', 0);"
             " INSERT INTO francis_alarms(alarm_id, actor_type, actor_id, alarm_name, ext_look)"
             " VALUES('n2', 'counter', 'x', NULL, 0), ('n3', 'counter', 'x', 'y', 0)");
    ta->host = NULL;
    due_open(types);
    others_go_on();
    (void)sqlite3_close(db);
    ta_close();
}

static const struct CMUnitTest tests[] = {
    DUE_BOTH(test_go_rows),   DUE_BOTH(test_go_moves),  DUE_INLINE(test_go_repeats),
    DUE_BOTH(test_go_dead),   DUE_BOTH(test_bad_schedules), DUE_BOTH(test_bad_times),
    DUE_BOTH(test_bad_names), DUE_BOTH(test_bad_dead),  DUE_INLINE(test_nulls),
};

TA_MAIN(tests)
