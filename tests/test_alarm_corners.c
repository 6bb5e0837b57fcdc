/* Alarms and jobs where chance seldom leads: keys with the same hash, rows that change while they
 * are read, news of what nobody here knows, changes that a turn asks for beside others that are on
 * their way, memory that is full of what is due, and a system without randomness; and hosts of
 * which somebody has heard. The program contains the library, so that it can do between two steps
 * of the host what another thread or another host would do just then. */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function" /* the library's, with one host alone */
#endif

#define FRANCIS_IMPLEMENTATION
#include "francis.h"

#include "support/address.h"
#include "support/due.h"
#include "support/raw_sqlite.h"

#define RUN(fn, arg)    .data = &(const ta_job){ fn, arg }, .size = sizeof(ta_job)
#define COUNT(table)    ((unsigned)(sizeof(table) / sizeof(table)[0]))
#define SET(...)        t_ok(set(&(const francis_alarm){ .type = "num", __VA_ARGS__ }))

enum { POSTPONED = 505 };           /* log record */

static francis_result no_thanks(francis_ctx *ctx)
{
    return francis_fail(ctx, FRANCIS_ERR_REJECTED, "not here");
}

static const francis_method sized[] = {
    { "ring", due_handler, FRANCIS_ALARM, 4 },
    { "work", due_handler, FRANCIS_JOB, 4 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc types[] = {
    { DUE_TYPE("num"), .retry_delay_ms = 1000 },
    { DUE_TYPE("other"), .retry_delay_ms = 1000 },
    { DUE_TYPE("shut"), .activate = no_thanks, .attempts_max = 2, .retry_delay_ms = 1000 },
    { .type = "sized", .methods = sized },
    { .type = "plain", .methods = ta_methods },
    TA_END
};

static sqlite3 *db;

static void corners_open(void)
{
    due_open(types);
    db = raw_open(ta->path);
}

static void corners_close(void)
{
    raw_check(db);
    (void)sqlite3_close(db);
    ta_close();
}

static francis_result set(const francis_alarm *a)
{
    return francis_alarm_set(ta->ctx, a, NULL);
}

static int64_t rows_of(const char *actor)
{
    return raw_int(db, "SELECT count(*) FROM francis_alarms WHERE actor_id = ?1", actor, NULL);
}

/* ---- one record by itself ---- */

static frn_alarm alarm_of(frn_mem *m, const char *type, const char *actor, const char *name)
{
    const char *texts[FRN_TEXTS] = { type, actor, name, "", "" };
    frn_alarm   a;

    memset(&a, 0, sizeof a);
    assert_true(frn_alarm_set_texts(m, &a, texts));
    return a;
}

/* Would catch: a request id where there is none, a text of cron taken for an interval, a time read
 * out of an id that has none. */
static void test_texts(void **state)
{
    (void)state;
    assert_true(frn_job_is_keyed("/r") && frn_job_is_keyed("/r/"));
    assert_false(frn_job_is_keyed("/") || frn_job_is_keyed("//id") || frn_job_is_keyed("r"));
    assert_true(frn_repeat_is_cron("0 * * * *") && frn_repeat_is_cron("TZ=UTC 0 * * * *"));
    assert_true(frn_repeat_is_cron("TZ=UTC"));
    assert_false(frn_repeat_is_cron("") || frn_repeat_is_cron("PT1H"));
    assert_false(frn_repeat_is_cron("TZ=UTC PT1H"));
    assert_true(frn_uuid_time("018f3b1e-0000-7000-8000-000000000001") == INT64_C(0x018f3b1e0000));
    assert_true(frn_uuid_time("018f3b1e-0000-4000-8000-000000000001") == 0);
    assert_true(frn_uuid_time("018f3b1e-000g-7000-8000-000000000001") == 0);
    assert_true(frn_uuid_time("018f3b1e-0000-7") == 0);
    assert_true(frn_uuid_time("018f3b1e-0000-7000-8000-0000000000011") == 0);
}

/* Would catch: two alarms that are taken for one, or a change that is taken for none. */
static void test_same(void **state)
{
    frn_mem   m;
    frn_alarm a, b;

    (void)state;
    memset(&m, 0, sizeof m);
    m.fn = ta_alloc;
    m.user = &ta->memory;
    (void)pthread_mutex_init(&m.lock, NULL);
    a = alarm_of(&m, "num", "a", "x");
    b = alarm_of(&m, "num", "a", "x");
    assert_true(frn_alarm_same_key(&a, &b) && frn_alarm_same(&a, &b));
#define DIFFERS(field)                       \
    do {                                     \
        b.field = 1;                         \
        assert_false(frn_alarm_same(&a, &b)); \
        b.field = 0;                         \
    } while (0)
    DIFFERS(anchor_ms);
    DIFFERS(until_ms);
    DIFFERS(missed);
    DIFFERS(missed_max);
    DIFFERS(wait_for_clock);
#undef DIFFERS
    a.data = frn_buf_copy(&m, "one", 3);
    assert_false(frn_alarm_same(&a, &b) || frn_alarm_same(&b, &a));
    b.data = frn_buf_copy(&m, "two", 3);
    assert_false(frn_alarm_same(&a, &b));
    frn_buf_drop(&m, b.data);
    b.data = frn_buf_copy(&m, "one", 3);
    assert_true(frn_alarm_same(&a, &b));
    frn_buf_drop(&m, a.data);
    frn_buf_drop(&m, b.data);
    a.data = frn_buf_copy(&m, "", 0);
    b.data = NULL;
    assert_true(frn_alarm_same(&a, &b) && frn_alarm_same(&b, &a));      /* no bytes are like none */
    frn_alarm_clear(&m, &b);
    {
        const char *texts[FRN_TEXTS] = { "num", "a", "x", "", "PT1H" };
        assert_true(frn_alarm_set_texts(&m, &b, texts));
        assert_true(frn_alarm_same_key(&a, &b));
        assert_false(frn_alarm_same(&a, &b));
        frn_alarm_clear(&m, &b);
    }
    b = alarm_of(&m, "other", "a", "x");
    assert_false(frn_alarm_same_key(&a, &b));
    frn_alarm_clear(&m, &b);
    b = alarm_of(&m, "num", "b", "x");
    assert_false(frn_alarm_same_key(&a, &b));
    frn_alarm_clear(&m, &b);
    b = alarm_of(&m, "num", "a", "y");
    assert_false(frn_alarm_same_key(&a, &b));
    frn_alarm_clear(&m, &a);
    frn_alarm_clear(&m, &b);
    assert_true(m.used == 0);
    (void)pthread_mutex_destroy(&m.lock);
}

/* Would catch: one that is found for another, because their hashes are the same. */
static void test_collision(void **state)
{
    static const char *const keys[][3] = {
        { "num", "a", "x" }, { "num", "a", "y" }, { "num", "b", "x" }, { "other", "a", "x" }
    };
    static frn_due dues[COUNT(keys)];
    francis_host  *h;
    uint64_t       hash;
    unsigned       i;

    (void)state;
    due_open(types);
    h = ta->host;
    frn_lock(h);
    hash = frn_key_hash(h, "num", "a", "x");
    for (i = 0; i < COUNT(keys); i++) {
        memset(&dues[i], 0, sizeof dues[i]);
        dues[i].a = alarm_of(&h->mem, keys[i][0], keys[i][1], keys[i][2]);
        assert_true(frn_map_add(&h->mem, &h->dues, &dues[i].node, hash));
    }
    assert_ptr_equal(frn_due_find(h, "num", "a", "x"), &dues[0]);
    frn_map_remove(&h->dues, &dues[0].node);
    assert_null(frn_due_find(h, "num", "a", "x"));
    for (i = 0; i < COUNT(keys); i++) {
        if (i > 0)
            frn_map_remove(&h->dues, &dues[i].node);
        frn_alarm_clear(&h->mem, &dues[i].a);
    }
    frn_unlock(h);
    ta_close();
}

/* What a look has read is older than a change if that was noted since; also if there were more
 * changes than are kept. Would catch: a row that comes back as it was. */
static void test_changes(void **state)
{
    francis_host *h;
    frn_alarm     a, b;
    uint64_t      since;
    unsigned      i;

    (void)state;
    due_open(types);
    h = ta->host;
    frn_lock(h);
    a = alarm_of(&h->mem, "num", "a", "x");
    b = alarm_of(&h->mem, "num", "b", "x");
    since = h->due_changes;
    assert_false(frn_due_changed_since(h, since, &a));
    frn_due_note(h, &a);
    assert_true(frn_due_changed_since(h, since, &a));
    assert_false(frn_due_changed_since(h, since + 1, &a));
    for (i = 1; i < FRN_DUE_CHANGES; i++)
        frn_due_note(h, &a);
    assert_false(frn_due_changed_since(h, since, &b));
    frn_due_note(h, &a);
    assert_true(frn_due_changed_since(h, since, &b));
    frn_alarm_clear(&h->mem, &a);
    frn_alarm_clear(&h->mem, &b);
    frn_unlock(h);
    ta_close();
}

/* ---- news of a commit, when what it is about is not known here, or is another one ---- */

static frn_due *known(const char *actor, const char *name)
{
    return frn_due_find(ta->host, "num", actor, name);
}

/* Tells the host of one record. Lock held. */
static void news_of(const char *type, frn_record_op op, const char *id, const char *actor,
                    int64_t due_ms, int64_t next_ms, francis_result result)
{
    frn_record *r = frn_record_new(&ta->host->mem, op);

    assert_non_null(r);
    r->a = alarm_of(&ta->host->mem, type, actor, "x");
    (void)snprintf(r->a.id, sizeof r->a.id, "%s", id);
    r->a.due_ms = r->a.wake_ms = due_ms;
    r->next_ms = next_ms;
    r->result = result;
    frn_record_done(ta->host, r);
    frn_record_free(&ta->host->mem, r);
}

static void news(frn_record_op op, const char *id, const char *actor, int64_t due_ms,
                 int64_t next_ms, francis_result result)
{
    news_of("num", op, id, actor, due_ms, next_ms, result);
}

/* Would catch: news of an earlier alarm of that name that are taken for those of the one that is
 * there now; an alarm that was armed again and is known to nobody. */
static void test_news(void **state)
{
    static const frn_record_op about[] = { FRN_RECORD_CONSUME, FRN_RECORD_REARM,
                                           FRN_RECORD_ATTEMPT, FRN_RECORD_BURY };
    char     id[40];
    int64_t  due, later;
    unsigned i;

    (void)state;
    corners_open();
    due = due_now() + 1000;
    later = due + 500;
    SET(.id = "a", .name = "x", .due_ms = due, .repeat = "1h");
    frn_lock(ta->host);
    assert_non_null(known("a", "x"));
    (void)snprintf(id, sizeof id, "%s", known("a", "x")->a.id);
    for (i = 0; i < COUNT(about); i++) {
        news(about[i], "another id", "a", due, later, FRANCIS_OK);
        news(about[i], "another id", "b", due, about[i] == FRN_RECORD_REARM ? later : 0,
             FRANCIS_OK);
        assert_non_null(known("a", "x"));
        assert_string_equal(known("a", "x")->a.id, id);
        assert_true(known("a", "x")->a.due_ms == due);
        assert_int_equal(known("a", "x")->state, FRN_DUE_WAITING);
    }
    news(FRN_RECORD_ATTEMPT, id, "c", due, 0, FRANCIS_OK);
    news(FRN_RECORD_BURY, id, "c", due, 0, FRANCIS_OK);
    known("a", "x")->state = FRN_DUE_WRITING;
    news(FRN_RECORD_BURY, "another id", "a", due, 0, FRANCIS_OK);
    news(FRN_RECORD_ATTEMPT, "another id", "a", due, 0, FRANCIS_OK);
    assert_int_equal(known("a", "x")->state, FRN_DUE_WRITING);
    known("a", "x")->state = FRN_DUE_WAITING;
    assert_null(known("c", "x"));
    news(FRN_RECORD_ATTEMPT, id, "a", due + 1, 0, FRANCIS_OK);  /* of another occurrence, */
    news(FRN_RECORD_ATTEMPT, id, "a", due, 0, FRANCIS_OK);      /* and of one that waits */
    news(FRN_RECORD_BURY, id, "a", due, 0, FRANCIS_OK);
    news((frn_record_op)99, id, "a", due, 0, FRANCIS_OK);
    assert_non_null(known("a", "x"));
    assert_true(known("a", "x")->a.wake_ms == due);
    assert_non_null(known("b", "x"));           /* armed again: whoever had it, it is known now */
    assert_true(known("b", "x")->a.due_ms == later);
    news(FRN_RECORD_REARM, known("b", "x")->a.id, "b", later, due + 3600000, FRANCIS_OK);
    assert_null(known("b", "x"));               /* and is too far away to be kept in mind */
    news_of("plain", FRN_RECORD_SET, id, "p", due, 0, FRANCIS_OK);
    news_of("plain", FRN_RECORD_REARM, id, "p", due, later, FRANCIS_OK);
    news_of("plain", FRN_RECORD_BURY, id, "p", due, later, FRANCIS_OK);
    assert_null(frn_due_find(ta->host, "plain", "p", "x"));     /* nothing of that type runs here */
    news(FRN_RECORD_REARM, id, "a", due, later, FRANCIS_ERR_NOT_FOUND);
    assert_null(known("a", "x"));               /* it is not there: a look finds what is */
    frn_unlock(ta->host);
    due_pass(3000);
    assert_int_equal(due_count_of("b", NULL), 0);
    assert_true(raw_int(db, "SELECT count(*) FROM francis_alarms", NULL, NULL) == 1);
    corners_close();
}

/* Would catch: a change of no known kind that is taken for done. */
static void test_no_such_change(void **state)
{
    frn_record r;

    (void)state;
    memset(&r, 0, sizeof r);
    r.op = (frn_record_op)99;
    assert_int_equal(frn_sqlite_write_record(NULL, NULL, &r), SQLITE_MISUSE);
}

/* ---- a store that lets the test do something in the middle of a read or a commit ---- */

static struct {
    pthread_mutex_t      lock;
    const frn_store_ops *real;
    frn_store_ops        ops;
    frn_read_kind        kind;
    void               (*after)(frn_read *read);    /* once, after a read of that kind, */
    bool                 before;                    /* or before it */
    atomic_bool          hold, held;                /* commits wait while hold is set */
} spy = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* What is to be done about this read, once. */
static void (*spy_take(frn_read_kind kind, bool *before))(frn_read *read)
{
    void (*after)(frn_read *) = NULL;

    (void)pthread_mutex_lock(&spy.lock);
    if (kind == spy.kind) {
        after = spy.after;
        spy.after = NULL;
    }
    *before = spy.before;
    (void)pthread_mutex_unlock(&spy.lock);
    return after;
}

static void spy_read(frn_store *store, frn_read *read)
{
    bool before;
    void (*after)(frn_read *) = spy_take(read->kind, &before);

    if (after != NULL && before)
        after(read);
    spy.real->read(store, read);
    if (after != NULL && !before)
        after(read);
}

static void spy_commit(frn_store *store, frn_part *parts)
{
    int64_t end = t_ms() + 60000;

    while (atomic_load(&spy.hold) && t_ms() < end) {
        atomic_store(&spy.held, true);
        t_yield();
    }
    spy.real->commit(store, parts);
}

/* When nothing is read or written. */
static void spy_open(frn_read_kind kind, void (*after)(frn_read *read))
{
    frn_store *store = ta->host->store;

    frn_lock(ta->host);
    while (ta->host->looking || ta->host->committing) {
        frn_unlock(ta->host);
        t_yield();
        frn_lock(ta->host);
    }
    if (store->ops != &spy.ops) {
        spy.real = store->ops;
        spy.ops = *store->ops;
        spy.ops.read = spy_read;
        spy.ops.commit = spy_commit;
        store->ops = &spy.ops;
    }
    (void)pthread_mutex_lock(&spy.lock);
    spy.kind = kind;
    spy.after = after;
    spy.before = false;
    (void)pthread_mutex_unlock(&spy.lock);
    frn_unlock(ta->host);
}

/* What a failed disk says. */
static void read_fails(frn_read *read)
{
    read->result = FRANCIS_ERR_STORAGE;
    (void)snprintf(read->error, sizeof read->error, "the disk is gone");
}

/* Another thread's commit has deleted a/x. */
static void it_is_deleted(frn_read *read)
{
    frn_due *e;

    (void)read;
    raw_exec(db, "DELETE FROM francis_alarms WHERE actor_id = 'a'");
    frn_lock(ta->host);
    e = known("a", "x");
    assert_non_null(e);
    news(FRN_RECORD_DELETE, e->a.id, "a", e->a.due_ms, 0, FRANCIS_OK);
    assert_null(known("a", "x"));
    frn_unlock(ta->host);
}

static void deleted_and_fails(frn_read *read)
{
    it_is_deleted(read);
    read_fails(read);
}

/* Sets a/x, lets it be hindered once so that its row is read before it runs, and does that in the
 * middle of the read. */
static void doubted(void (*then)(frn_read *read))
{
    frn_due *e;

    due_forget();
    SET(.id = "a", .name = "x", .due_ms = due_now() + 100);
    frn_lock(ta->host);
    e = known("a", "x");
    assert_non_null(e);
    e->doubt = true;
    e->sure = false;
    frn_unlock(ta->host);
    spy_open(FRN_READ_ALARM, then);
    due_pass(100);
    assert_true(spy.after == NULL);
}

/* Would catch: a row that is freed while it is read, one that runs although it was deleted
 * meanwhile, one that is given up because it could not be read. */
static void test_changed_while_read(void **state)
{
    unsigned told;

    (void)state;
    corners_open();
    doubted(it_is_deleted);
    due_pass(5000);
    assert_int_equal(due_count(), 0);
    doubted(deleted_and_fails);
    due_pass(5000);
    assert_int_equal(due_count(), 0);
    told = t_logged(&ta->log, POSTPONED);
    doubted(read_fails);
    assert_int_equal(due_count(), 0);
    assert_int_equal(t_logged(&ta->log, POSTPONED), told + 1);
    due_pass(1000);
    assert_int_equal(due_count_of("a", "x"), 1);
    assert_int_equal(rows_of("a"), 0);
    corners_close();
}

/* The loop hears that it is to stop. */
static void it_stops(frn_read *read)
{
    (void)read;
    francis_stop(ta->host);
    frn_lock(ta->host);
    frn_drain_begin(ta->host);
    frn_unlock(ta->host);
}

/* Another thread finds out that this host has been evicted. */
static void it_is_evicted(frn_read *read)
{
    (void)read;
    frn_lock(ta->host);
    frn_host_lose(ta->host, "somebody thinks that it is dead");
    frn_unlock(ta->host);
}

/* b/x and c/x are due, and their rows are to be read before they run. */
static void two_doubted(void)
{
    static const char *const both[] = { "b", "c" };
    due_forget();
    for (unsigned i = 0; i < 2; i++) {
        SET(.id = both[i], .name = "x", .due_ms = due_now() + 200);
        frn_lock(ta->host);
        known(both[i], "x")->doubt = true;
        known(both[i], "x")->sure = false;
        frn_unlock(ta->host);
    }
    due_rest();
    due_away(200);
}

/* Would catch: alarms that are fired by a host that is stopping, or are lost by it. */
static void test_stops_while_reading(void **state)
{
    (void)state;
    corners_open();
    two_doubted();
    spy_open(FRN_READ_ALARM, it_stops);
    while (francis_poll(ta->host, 0) == FRANCIS_OK)
        due_away(1);
    assert_true(spy.after == NULL);
    assert_int_equal(rows_of("b") + rows_of("c"), 2 - (int)due_count());
    assert_true(due_count() < 2);
    corners_close();
}

/* The same of one that is evicted just then: it joins again, and what it knew is looked for anew.
 * Would catch: one that is lost, and one that runs under a name that is not its host's any more. */
static void test_evicted_while_reading(void **state)
{
    static const frn_read_kind kinds[] = { FRN_READ_ALARM, FRN_READ_DUE, FRN_READ_HOOKS };
    uint32_t                   life = 0;

    (void)state;
    corners_open();
    for (unsigned i = 0; i < COUNT(kinds); i++) {
        two_doubted();
        spy_open(kinds[i], it_is_evicted);
        if (i > 0) {
            frn_lock(ta->host);
            frn_due_look_soon(ta->host);
            frn_unlock(ta->host);
        }
        life = ta->host->life;
        due_until(due_count() >= 2 && rows_of("b") + rows_of("c") == 0);
        due_pass(2000);
        assert_int_equal(due_count_of("b", "x"), 1);
        assert_int_equal(due_count_of("c", "x"), 1);
        assert_true(spy.after == NULL);
        assert_int_equal(ta->host->life, life + 1);
    }
    corners_close();
}

static void it_is_set_anew(frn_read *read)
{
    frn_record *r = frn_record_new(&ta->host->mem, FRN_RECORD_SET);

    assert_non_null(r);
    it_is_deleted(read);
    raw_exec(db, "INSERT INTO francis_alarms(alarm_id, actor_type, actor_id, alarm_name,"
             " alarm_due_time) VALUES('anew', 'num', 'a', 'x', 1)");
    frn_lock(ta->host);
    r->a = alarm_of(&ta->host->mem, "num", "a", "x");
    (void)snprintf(r->a.id, sizeof r->a.id, "anew");
    r->a.due_ms = r->a.wake_ms = 1;
    frn_due_made(ta->host, r);
    frn_record_free(&ta->host->mem, r);
    frn_unlock(ta->host);
}

/* Another thread's commit has put it off. */
static void it_is_moved(frn_read *read)
{
    frn_record *r = frn_record_new(&ta->host->mem, FRN_RECORD_SET);
    frn_due    *e;

    (void)read;
    assert_non_null(r);
    raw_exec(db, "UPDATE francis_alarms SET alarm_due_time = 1800000000001, alarm_data = NULL"
             " WHERE actor_id = 'a'");
    frn_lock(ta->host);
    e = known("a", "x");
    assert_non_null(e);
    frn_alarm_copy(&r->a, &e->a);
    frn_buf_drop(&ta->host->mem, r->a.data);
    r->a.data = NULL;
    r->a.due_ms = r->a.wake_ms = DUE_START + 1;
    frn_due_made(ta->host, r);
    frn_record_free(&ta->host->mem, r);
    frn_unlock(ta->host);
}

static void it_was_there(frn_read *read)
{
    (void)read;
}

/* Another host says that a/x is no more. Would catch: a hint that is believed without a look, one
 * that is looked after twice, and a look of yesterday that ends what was set today. */
static void test_hints(void **state)
{
    static void (*const then[])(frn_read *read) = { it_was_there, it_is_deleted, it_is_set_anew,
                                                    it_is_deleted, it_is_set_anew, it_is_moved };
    static ta_gate      gate;

    (void)state;
    corners_open();
    for (unsigned i = 0; i < COUNT(then); i++) {
        ta_gate_init(&gate, NULL);
        due_forget();
        SET(.id = "a", .name = "x", .due_ms = due_now(), RUN(ta_hold, &gate));
        due_until(atomic_load(&gate.arrived) == 1);
        spy_open(FRN_READ_ALARM, then[i]);
        spy.before = i >= 3;
        raw_exec(db, "UPDATE francis_alarms SET ext_error = 'changed' WHERE actor_id = 'a'");
        due_away(1500);             /* it has run for long, and the file was changed, too */
        frn_lock(ta->host);
        frn_due_hinted(ta->host, "num", "a", "x");
        frn_due_hinted(ta->host, "num", "a", "x");
        frn_due_hinted(ta->host, "num", "a", "y");
        frn_unlock(ta->host);
        due_rest();
        assert_true(spy.after == NULL);
        (void)francis_answer(ta->ctx, atomic_load(&gate.tickets[0]), FRANCIS_OK, NULL, 0);
        due_pass(3000);
        assert_int_equal(rows_of("a"), 0);
        assert_int_equal(due_count_of("a", "x"), i < 2 || i == 3 ? 1 : 2);
    }
    corners_close();
}

/* ---- rows that others have written ---- */

/* One is replaced by another with its name, behind our back. Would catch: the old one that runs, or
 * both. */
static void test_replaced_row(void **state)
{
    (void)state;
    corners_open();
    SET(.id = "a", .name = "x", .due_ms = due_now() + 1500, .data = "old", .size = 3);
    due_rest();
    raw_exec(db, "UPDATE francis_alarms SET alarm_id = 'another', alarm_data = x'6e6577'"
             " WHERE actor_id = 'a'");
    due_pass(3000);
    assert_int_equal(due_count_of("a", "x"), 1);
    assert_string_equal(due_at(0).text, "new");
    assert_int_equal(rows_of("a"), 0);
    corners_close();
}

static francis_result delete_late(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_alarm_delete(ctx, &(const francis_alarm){ .name = "x" }, NULL) == FRANCIS_OK);
    return FRANCIS_OK;
}

/* Times at the ends of all time. Would catch: missed ones that are counted for ever, a cap of
 * nothing that drops them all, one of the far future that no turn can see. */
static void test_ends_of_time(void **state)
{
    (void)state;
    corners_open();
    SET(.id = "late", .name = "x", .due_ms = DUE_FAR);
    raw_exec(db, "UPDATE francis_alarms SET ext_wake = 9223372036854775807");
    t_ok(ta_do("num", "late", delete_late, NULL));
    assert_int_equal(rows_of("late"), 0);
    SET(.id = "all", .name = "x", .due_ms = due_now() - 4500, .repeat = "1s",
        .missed = FRANCIS_MISSED_ALL, .missed_max = 3);
    due_until(due_count_of("all", "x") == 3);
    due_rest();
    assert_int_equal(due_count_of("all", "x"), 3);
    t_ok(francis_purge(ta->ctx, "num", "all", NULL));
    due_forget();
    raw_exec(db, "INSERT INTO francis_alarms(alarm_id, actor_type, actor_id, alarm_name,"
             " alarm_due_time, alarm_interval, ext_policy) VALUES"
             " ('1', 'num', 'uncapped', 'x', 1800000000000 - 3500, 'PT1S', 2),"
             " ('2', 'num', 'ancient', 'x', -99999999999999, 'P1D', 2 + 256 * 3)");
    due_pass(2000);
    assert_true(due_count_of("uncapped", "x") >= 4);
    assert_int_equal(due_count_of("ancient", "x"), 3);
    assert_true(raw_int(db, "SELECT alarm_due_time FROM francis_alarms WHERE actor_id = 'ancient'",
                        NULL, NULL) > due_now());
    corners_close();
}

/* The row of a job goes away while it runs for the last time. Would catch: a dead job that was
 * cancelled. */
static void test_nothing_to_bury(void **state)
{
    static due_failure failure = { 1, FRANCIS_ERR_PERMANENT };
    static ta_gate     gate;
    francis_job        job = { .type = "num", .id = "a", .method = "work", RUN(ta_hold, &gate) };

    (void)state;
    ta_gate_init(&gate, NULL);
    gate.then = due_fail;
    gate.then_arg = &failure;
    corners_open();
    t_ok(francis_job_dispatch(ta->ctx, &job, NULL));
    due_until(atomic_load(&gate.arrived) == 1);
    raw_exec(db, "DELETE FROM francis_alarms");
    ta_let(&gate, 0);
    due_pass(3000);
    assert_int_equal(ta_stats().jobs_dead, 0);
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, NULL, NULL), 0);
    assert_int_equal(due_count(), 1);           /* and job_failed was not called */
    corners_close();
}

/* More dead jobs than one look reads, whose deaths nobody has been told of; some are tried later.
 * Would catch: those behind that are never told. */
static void test_many_hooks(void **state)
{
    (void)state;
    corners_open();
    raw_exec(db, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1199)"
             " INSERT INTO francis_dead_jobs(job_id, actor_type, actor_id, job_method, attempts,"
             " failed_at, original_due, ext_hook_at) SELECT 'hook' || i, 'num', 'dead' || (i % 10),"
             " 'work', 1, 1, 1, 1800000000000 + CASE WHEN i = 300 OR i = 1199 THEN 10000 ELSE"
             " i - 2000 END FROM n");
    due_until(due_count() == 1198);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_dead_jobs WHERE ext_hook_at IS NOT"
                             " NULL", NULL, NULL), 2);
    due_pass(12000);
    assert_int_equal(due_count(), 1200);
    assert_int_equal(due_at(1199).kind, FRANCIS_JOB_FAILED);
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, NULL, NULL), 1200);
    /* the last one that a look reads is not due yet, and one more is behind it */
    raw_exec(db, "UPDATE francis_dead_jobs SET ext_hook_at = 1800000000000 + CASE WHEN job_id IN"
             " ('hook0', 'hook1') THEN 60000 ELSE 0 END WHERE CAST(substr(job_id, 5) AS INTEGER)"
             " < 513");
    due_until(due_count() == 1200 + 511);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_dead_jobs WHERE ext_hook_at IS NOT"
                             " NULL", NULL, NULL), 2);
    due_pass_by(60000, 500);
    assert_int_equal(due_count(), 1200 + 513);
    corners_close();
}

/* ---- one that may have ended its host ---- */

/* It waits until it is alone, but not for ever; and all others wait for it, but not for ever.
 * Would catch: one slow turn for which everything waits. */
static void test_alone(void **state)
{
    static ta_gate slow, bad;

    (void)state;
    ta_gate_init(&slow, NULL);
    ta_gate_init(&bad, NULL);
    corners_open();
    SET(.id = "slow", .name = "x", .due_ms = due_now(), RUN(ta_hold, &slow));
    SET(.id = "bad", .name = "x", .due_ms = DUE_FAR, RUN(ta_hold, &bad));
    SET(.id = "gone", .name = "x", .due_ms = DUE_FAR);
    due_until(atomic_load(&slow.arrived) == 1);
    raw_exec(db, "UPDATE francis_alarms SET alarm_due_time = 1 WHERE actor_id = 'bad';"
             " UPDATE francis_alarms SET alarm_due_time = 2 WHERE actor_id = 'gone';"
             " UPDATE francis_alarms SET ext_started = 1 WHERE actor_id IN ('bad', 'gone')");
    due_until(ta->host->due_alone_wanted);
    SET(.id = "good", .name = "x", .due_ms = due_now());
    due_pass(500);
    assert_int_equal(atomic_load(&bad.arrived), 0);
    assert_int_equal(due_count_of("good", "x"), 0);         /* the suspicious ones are first, */
    due_until(due_count_of("good", "x") == 1);              /* but not for ever; */
    due_until(atomic_load(&bad.arrived) == 1);              /* nor do they wait for the slow one */
    assert_int_equal(due_count_of("slow", "x"), 1);
    SET(.id = "next", .name = "x", .due_ms = due_now());
    due_until(due_count_of("next", "x") == 1);
    assert_int_equal(atomic_load(&bad.inside), 1);
    t_ok(francis_alarm_delete(ta->ctx, &(const francis_alarm){ .type = "num", .id = "gone",
                                                              .name = "x" }, NULL));
    ta_let(&bad, 0);
    ta_let(&slow, 0);
    due_pass(3000);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_alarms", NULL, NULL), 0);
    SET(.id = "last", .name = "x", .due_ms = due_now());
    due_pass(5);
    assert_int_equal(due_count_of("last", "x"), 1);         /* nobody waits any more */
    corners_close();
}

/* It is marked in the file before it runs, and the file is locked for too long. Would catch: one
 * that runs without a mark, or never again. */
static void test_mark_refused(void **state)
{
    francis_host_desc desc = { .busy_timeout_ms = 500 };
    unsigned          told;

    (void)state;
    due_open_with(desc, types);
    db = raw_open(ta->path);
    SET(.id = "bad", .name = "x", .due_ms = DUE_FAR);
    raw_exec(db, "UPDATE francis_alarms SET alarm_due_time = 1;"
             " UPDATE francis_alarms SET ext_started = 1");
    raw_exec(db, "BEGIN IMMEDIATE");
    told = t_logged(&ta->log, POSTPONED);
    due_until(t_logged(&ta->log, POSTPONED) > told);
    assert_int_equal(due_count(), 0);
    raw_exec(db, "ROLLBACK");
    due_until(due_count() == 1 && rows_of("bad") == 0);
    corners_close();
}

/* While it runs the file says that another host has its actor. Would catch: one that is freed under
 * its turn. */
static void test_placed_elsewhere(void **state)
{
    static ta_gate gate;
    char           own[64];

    (void)state;
    ta_gate_init(&gate, NULL);
    corners_open();
    SET(.id = "a", .name = "x", .due_ms = due_now(), RUN(ta_hold, &gate));
    due_until(atomic_load(&gate.arrived) == 1);
    assert_true(raw_text(db, "SELECT host_id FROM francis_active_actors WHERE actor_id = 'a'", own,
                         sizeof own));
    raw_exec(db, "INSERT INTO francis_ext_hosts(host_id, evicted, started, process, settled)"
             " VALUES('another', 0, 1, 1, 1);"
             " UPDATE francis_active_actors SET host_id = 'another' WHERE actor_id = 'a'");
    frn_lock(ta->host);
    frn_due_look_soon(ta->host);
    frn_unlock(ta->host);
    due_rest();
    frn_lock(ta->host);
    assert_non_null(known("a", "x"));
    assert_int_equal(known("a", "x")->state, FRN_DUE_FIRING);
    frn_unlock(ta->host);
    raw_exec(db, "DELETE FROM francis_ext_hosts WHERE host_id = 'another'");
    (void)raw_int(db, "UPDATE francis_active_actors SET host_id = ?1 WHERE actor_id = 'a'", own,
                  NULL);
    ta_let(&gate, 0);
    due_pass(3000);
    assert_int_equal(due_count(), 1);
    assert_int_equal(rows_of("a"), 0);
    corners_close();
}

/* ---- more than fits ---- */

static francis_result set_crowd(francis_ctx *ctx, void *arg)
{
    static char data[512 * 1024];
    const int  *size = (const int *)arg;

    for (int i = 0; i < 48; i++) {
        char          name[16];
        francis_alarm a = { .type = "num", .name = name, .due_ms = due_now() + 1500, .data = data,
                            .size = (size_t)*size };
        (void)snprintf(name, sizeof name, "%d", i);
        a.id = i % 2 == 0 ? "even" : "odd";
        ta_check(francis_alarm_set(ctx, &a, NULL) == FRANCIS_OK);
    }
    return FRANCIS_OK;
}

/* 24 MiB of data are due at once; 16 MiB are kept in mind. Would catch: those beyond that are
 * forgotten, or memory without an end. */
static void test_much_data(void **state)
{
    int    size = 512 * 1024;
    size_t before;

    (void)state;
    corners_open();
    t_ok(ta_do("num", "setter", set_crowd, &size));
    due_rest();
    frn_lock(ta->host);
    assert_true(ta->host->dues_bytes <= FRN_NEAR_BYTES + 2u * 512 * 1024);
    assert_true(ta->host->dues.count < 48);
    frn_unlock(ta->host);
    before = ta->memory.bytes;
    assert_true(before < 40u * 1024 * 1024);
    due_pass(1400);
    assert_int_equal(due_count(), 0);
    due_until(due_count() == 48 && rows_of("even") + rows_of("odd") == 0);
    corners_close();
}

/* ---- who has no file to share, and who has no randomness ---- */

/* Nobody else can change a database in memory. Would catch: a host that looks once a second
 * although there is nothing to look for. */
static void test_in_memory(void **state)
{
    francis_host_desc desc = { .database = ":memory:", .platform = &ta_clocks };

    (void)state;
    ta_open(&desc, types);
    SET(.id = "a", .name = "x", .due_ms = due_now() + 500, .repeat = "1h");
    due_pass(600);
    assert_int_equal(due_count_of("a", "x"), 1);
    t_ok(francis_alarm_delete(ta->ctx, &(const francis_alarm){ .type = "num", .id = "a",
                                                              .name = "x" }, NULL));
    due_pass_by(3700000, 1000);     /* until it is known that nothing comes */
    assert_true(francis_timeout(ta->host) > 1000);
    SET(.id = "b", .name = "x", .due_ms = due_now() + 100);
    assert_true(francis_timeout(ta->host) <= 100);
    due_pass(200);
    assert_int_equal(due_count_of("b", "x"), 1);
    ta_close();
}

static atomic_bool no_random;

/* Time by hand, on clocks that due.h does not know. */
static void pass(int64_t ms)
{
    for (due_rest(); ms > 0; ms -= 500) {
        due_away(500);
        due_rest();
    }
}

static int random_or_not(void *data, size_t size, void *user)
{
    frn_plat real;

    (void)user;
    memset(&real, 0, sizeof real);
    return !atomic_load(&no_random) && frn_plat_random(&real, data, size) ? 0 : -1;
}

/* Would catch: two with one id, a refusal that leaves something behind, a job that is repeated and
 * whose later occurrences die with one of them. */
static void test_no_randomness(void **state)
{
    static const francis_platform platform = { .version = 1, .wall_ms = ta_wall_ms,
                                               .monotonic_ns = ta_monotonic_ns,
                                               .random = random_or_not };
    static due_failure failure = { 1000, FRANCIS_ERR_PERMANENT };
    francis_host_desc  desc = { .platform = &platform };
    francis_alarm      alarm = { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR };
    francis_job        job = { .type = "num", .id = "j", .method = "work", .repeat = "1h",
                               .due_ms = DUE_START + 100, RUN(due_fail, &failure) };
    char               id[64];

    (void)state;
    atomic_store(&no_random, false);
    atomic_store(&failure.left, 1000);
    due_open_with(desc, types);
    db = raw_open(ta->path);
    t_ok(francis_job_dispatch(ta->ctx, &job, &ta->last));
    pass(1000);
    assert_true(raw_text(db, "SELECT job_id FROM francis_dead_jobs", id, sizeof id));
    assert_int_equal(rows_of("j"), 1);
    atomic_store(&no_random, true);
    t_result(francis_alarm_set(ta->ctx, &alarm, &ta->last), FRANCIS_ERR_INTERNAL);
    assert_non_null(strstr(ta->last.error, "randomness"));
    t_result(francis_job_dispatch(ta->ctx, &job, &ta->last), FRANCIS_ERR_INTERNAL);
    t_result(francis_job_retry(ta->ctx, id, &ta->last), FRANCIS_ERR_INTERNAL);
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, NULL, NULL), 1);
    pass(3700000);                  /* it dies again, and now no id can be made for the next one */
    assert_int_equal(rows_of("j"), 1);
    atomic_store(&no_random, false);
    pass(20000);
    assert_int_equal(rows_of("j"), 1);
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, NULL, NULL), 2);
    t_ok(francis_alarm_set(ta->ctx, &alarm, &ta->last));
    corners_close();
}

/* ---- results ---- */

/* A handler passes on that something was cancelled, an alarm is rejected, and a job by an actor
 * that does not wake up. Would catch: an attempt that counts although it was not the handler's
 * fault, an alarm that nobody wants and that never ends, a job that is given up. */
static void test_passed_on(void **state)
{
    static due_failure cancelled = { 3, FRANCIS_ERR_CANCELLED };
    static due_failure rejected = { 1, FRANCIS_ERR_REJECTED };
    francis_job        job = { .type = "num", .id = "c", .method = "work",
                               RUN(due_fail, &cancelled) };
    francis_job        shut = { .type = "shut", .id = "s", .method = "work" };
    due_item           i;

    (void)state;
    atomic_store(&cancelled.left, 3);
    atomic_store(&rejected.left, 1);
    corners_open();
    t_ok(francis_job_dispatch(ta->ctx, &job, NULL));
    SET(.id = "r", .name = "x", .due_ms = due_now(), RUN(due_fail, &rejected));
    t_ok(francis_job_dispatch(ta->ctx, &shut, NULL));
    due_pass(5000);
    assert_int_equal(due_count_of("c", "work"), 4);
    for (unsigned k = 0; k < due_count(); k++)
        if (strcmp(due_at(k).id, "c") == 0)
            assert_int_equal(due_at(k).attempt, 1);
    assert_int_equal(due_count_of("r", "x"), 2);
    assert_int_equal(ta_stats().alarms_failed, 1);
    due_pass(20000);
    assert_int_equal(due_count_of("s", NULL), 0);
    assert_true(due_find(FRANCIS_LIST_JOBS, "shut", "s", NULL, &i));
    assert_int_equal(i.attempts, 0);
    corners_close();
}

/* Actors of two types have the same id. Would catch: a purge that takes the other one's, and one
 * that misses what has run before. */
static void test_purge_of_one_type(void **state)
{
    francis_alarm other = { .type = "other", .id = "a", .name = "x" };

    (void)state;
    corners_open();
    SET(.id = "a", .name = "x", .due_ms = due_now(), .repeat_ms = 500);
    other.due_ms = due_now() + 1000;
    t_ok(set(&other));
    due_pass(600);
    assert_int_equal(due_count_of("a", "x"), 2);
    t_ok(francis_purge(ta->ctx, "num", "a", NULL));
    due_pass(3000);
    assert_int_equal(due_count_of("a", "x"), 3);
    assert_string_equal(due_at(2).type, "other");
    assert_int_equal(rows_of("a"), 0);
    corners_close();
}

/* ---- what is asked for, in turns and outside ---- */

/* The id that a call has brought. */
static void id_of(char id[64], const francis_call *call)
{
    id[0] = '\0';
    ta_check(call->size == 36);
    if (call->size == 36)
        (void)snprintf(id, 64, "%s", (const char *)call->data);
}

static francis_result after_its_end(francis_ctx *ctx, void *arg)
{
    francis_alarm alarm = { .name = "x", .due_ms = DUE_FAR };

    (void)arg;
    frn_lock(ctx->host);
    frn_turn_kill(ctx->host, FRN_TURN(ctx), FRANCIS_ERR_CANCELLED, "somebody has cancelled it");
    frn_unlock(ctx->host);
    ta_check(francis_alarm_set(ctx, &alarm, NULL) == FRANCIS_ERR_CANCELLED);
    return FRANCIS_OK;
}

static francis_result too_many(francis_ctx *ctx, void *arg)
{
    francis_result r = FRANCIS_OK;

    (void)arg;
    for (int i = 0; i <= FRN_RECORDS_MAX && r == FRANCIS_OK; i++) {
        char          name[16];
        francis_alarm a = { .name = name, .due_ms = DUE_FAR };
        (void)snprintf(name, sizeof name, "%d", i);
        r = francis_alarm_set(ctx, &a, NULL);
        ta_check(r == (i < FRN_RECORDS_MAX ? FRANCIS_OK : FRANCIS_ERR_TOO_LARGE));
    }
    return FRANCIS_OK;
}

/* Would catch: a call struct in use that is torn out of its call, input of another size that a
 * handler reads, a turn that is over and still changes something, a turn without an end. */
static void test_refusals(void **state)
{
    static ta_gate gate;
    francis_alarm  alarm = { .type = "sized", .id = "a", .name = "ring", .due_ms = DUE_FAR,
                             .data = "1234", .size = 4 };
    francis_job    job = { .type = "sized", .id = "a", .method = "work", .due_ms = DUE_FAR,
                           .data = "1234", .size = 3 };
    char           name[100];
    francis_call  *call;

    (void)state;
    ta_gate_init(&gate, NULL);
    corners_open();
    t_ok(francis_alarm_set(ta->ctx, &alarm, &ta->last));
    alarm.size = 3;
    t_result(francis_alarm_set(ta->ctx, &alarm, &ta->last), FRANCIS_ERR_BAD_INPUT);
    assert_non_null(strstr(ta->last.error, "takes 4 bytes, not 3"));
    t_result(francis_job_dispatch(ta->ctx, &job, &ta->last), FRANCIS_ERR_BAD_INPUT);
    alarm.size = 4;
    alarm.missed = (francis_missed)(FRANCIS_MISSED_ALL + 1);
    t_result(francis_alarm_set(ta->ctx, &alarm, &ta->last), FRANCIS_ERR_INVALID);
    alarm.missed = (francis_missed)-1;
    t_result(francis_alarm_set(ta->ctx, &alarm, &ta->last), FRANCIS_ERR_INVALID);
    alarm.missed = FRANCIS_MISSED_ONCE;
    (void)memset(name, '0', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    t_result(francis_job_cancel(ta->ctx, name, &ta->last), FRANCIS_ERR_NOT_FOUND);
    t_result(francis_job_retry(ta->ctx, name, &ta->last), FRANCIS_ERR_NOT_FOUND);
    call = ta_begin("num", "h", ta_hold, &gate);
    due_until(atomic_load(&gate.arrived) == 1);
    t_result(francis_alarm_set(ta->ctx, &alarm, call), FRANCIS_ERR_USAGE);
    t_result(francis_job_cancel(ta->ctx, name, call), FRANCIS_ERR_USAGE);
    ta_let(&gate, 0);
    t_ok(ta_end(call));
    t_result(ta_do("num", "a", after_its_end, NULL), FRANCIS_ERR_CANCELLED);
    assert_int_equal(due_rows(FRANCIS_LIST_ALARMS, "num", NULL), 0);
    t_result(ta_do("num", "a", too_many, NULL), FRANCIS_ERR_TOO_LARGE);
    assert_int_equal(due_rows(FRANCIS_LIST_ALARMS, "num", NULL), 0);
    corners_close();
}

static const francis_alarm x_of_b = { .type = "num", .id = "b", .name = "x", .due_ms = DUE_FAR };
static const francis_alarm y_of_b = { .type = "num", .id = "b", .name = "y", .due_ms = DUE_FAR };
static const francis_job   r_of_b = { .type = "num", .id = "b", .method = "work", .due_ms = DUE_FAR,
                                      .request_id = "r" };

static francis_result dispatch_in(francis_ctx *ctx, const francis_job *job, char id[64])
{
    francis_call   call = { 0 };
    francis_result r = francis_job_dispatch(ctx, job, &call);

    id[0] = '\0';
    if (r == FRANCIS_OK)
        id_of(id, &call);
    francis_call_free(&call);
    return r;
}

/* A turn and what it has changed itself. */
static francis_result sees_itself(francis_ctx *ctx, void *arg)
{
    char        *dead = (char *)arg;            /* in: a dead job; out: one that lives */
    francis_call call = { 0 };
    char         first[64], same[64], anew[64];

    ta_check(francis_alarm_set(ctx, &x_of_b, &call) == FRANCIS_OK && call.size == 0);
    ta_check(dispatch_in(ctx, &r_of_b, first) == FRANCIS_OK);
    ta_check(dispatch_in(ctx, &r_of_b, same) == FRANCIS_OK && strcmp(first, same) == 0);
    ta_check(francis_job_retry(ctx, first, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_job_cancel(ctx, first, NULL) == FRANCIS_OK);
    ta_check(francis_job_cancel(ctx, first, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(dispatch_in(ctx, &r_of_b, anew) == FRANCIS_OK && strcmp(first, anew) != 0);
    ta_check(dispatch_in(ctx, &r_of_b, same) == FRANCIS_OK && strcmp(anew, same) == 0);
    ta_check(francis_alarm_delete(ctx, &y_of_b, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_job_retry(ctx, dead, &call) == FRANCIS_OK);
    id_of(first, &call);
    ta_check(francis_job_retry(ctx, dead, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_job_cancel(ctx, "no such id", NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_alarm_delete(ctx, &x_of_b, NULL) == FRANCIS_OK);
    ta_check(francis_alarm_delete(ctx, &x_of_b, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_job_cancel(ctx, first, NULL) == FRANCIS_OK);
    (void)snprintf(dead, 64, "%s", anew);
    francis_call_free(&call);
    return FRANCIS_OK;
}

/* In: the id of a stored job with the request id r. Out: that of the one instead of it. */
static francis_result replaces(francis_ctx *ctx, void *arg)
{
    char       *id = (char *)arg, anew[64];
    francis_job other = r_of_b;

    other.method = "another";
    ta_check(dispatch_in(ctx, &r_of_b, anew) == FRANCIS_OK && strcmp(id, anew) == 0);
    ta_check(francis_job_cancel(ctx, id, NULL) == FRANCIS_OK);
    ta_check(dispatch_in(ctx, &other, anew) == FRANCIS_OK && strcmp(id, anew) != 0);
    (void)snprintf(id, 64, "%s", anew);
    return FRANCIS_OK;
}

static francis_result contradicts(francis_ctx *ctx, void *arg)
{
    francis_job one = r_of_b, two = r_of_b;
    char        id[64];

    (void)arg;
    one.request_id = two.request_id = "another";
    two.method = "another";
    ta_check(dispatch_in(ctx, &one, id) == FRANCIS_OK);
    ta_check(dispatch_in(ctx, &two, id) == FRANCIS_ERR_EXISTS);
    return FRANCIS_OK;
}

/* The id of an alarm is that of no job. */
static francis_result cancels_alarm(francis_ctx *ctx, void *arg)
{
    ta_check(francis_job_cancel(ctx, (const char *)arg, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_job_retry(ctx, (const char *)arg, NULL) == FRANCIS_ERR_NOT_FOUND);
    return FRANCIS_OK;
}

/* What the actor has is gone with its purge, and what it sets behind that stays. */
static francis_result purges_itself(francis_ctx *ctx, void *arg)
{
    char id[64];

    ta_check(francis_purge(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    ta_check(francis_alarm_delete(ctx, &x_of_b, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(dispatch_in(ctx, &r_of_b, id) == FRANCIS_OK && strcmp(id, (char *)arg) != 0);
    (void)snprintf((char *)arg, 64, "%s", id);
    return FRANCIS_OK;
}

/* Would catch: a turn that is told of a job which it has cancelled itself, or that a job is dead
 * which is only on its way. */
static void test_turn_sees_itself(void **state)
{
    static due_failure failure = { 1, FRANCIS_ERR_PERMANENT };
    francis_job        dying = { .type = "num", .id = "d", .method = "work",
                                 RUN(due_fail, &failure) };
    char               id[64], dead[64];

    (void)state;
    atomic_store(&failure.left, 1);
    corners_open();
    t_ok(francis_job_dispatch(ta->ctx, &dying, NULL));
    due_until(raw_text(db, "SELECT job_id FROM francis_dead_jobs", dead, sizeof dead));
    t_ok(ta_do("num", "a", sees_itself, dead));
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, NULL, NULL), 0);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_alarms", NULL, NULL), 1);
    assert_true(raw_text(db, "SELECT alarm_id FROM francis_alarms", id, sizeof id));
    assert_string_equal(id, dead);
    t_ok(ta_do("num", "a", replaces, id));
    assert_true(raw_text(db, "SELECT alarm_id FROM francis_alarms WHERE job_method = 'another'",
                         dead, sizeof dead));
    assert_string_equal(dead, id);
    t_result(ta_do("num", "a", contradicts, NULL), FRANCIS_ERR_EXISTS);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_alarms", NULL, NULL), 1);
    t_ok(set(&x_of_b));
    assert_true(raw_text(db, "SELECT alarm_id FROM francis_alarms WHERE alarm_name = 'x'", id,
                         sizeof id));
    t_ok(ta_do("num", "a", cancels_alarm, id));
    t_ok(francis_job_cancel(ta->ctx, dead, NULL));
    t_ok(francis_job_dispatch(ta->ctx, &r_of_b, &ta->last));
    id_of(id, &ta->last);
    t_ok(ta_do("num", "b", purges_itself, id));
    assert_true(raw_text(db, "SELECT alarm_id FROM francis_alarms", dead, sizeof dead));
    assert_string_equal(dead, id);
    corners_close();
}

static francis_result deletes_blindly(francis_ctx *ctx, void *arg)
{
    (void)arg;
    spy_open(FRN_READ_ALARM, read_fails);
    ta_check(francis_alarm_delete(ctx, &x_of_b, NULL) == FRANCIS_ERR_STORAGE);
    return FRANCIS_OK;
}

static francis_result dispatches_blindly(francis_ctx *ctx, void *arg)
{
    char id[64];

    (void)arg;
    spy_open(FRN_READ_ALARM, read_fails);
    ta_check(dispatch_in(ctx, &r_of_b, id) == FRANCIS_ERR_STORAGE);
    return FRANCIS_OK;
}

/* The file cannot be read. Would catch: a turn that is told that there is nothing, and commits. */
static void test_turn_is_blind(void **state)
{
    (void)state;
    corners_open();
    t_ok(set(&x_of_b));
    t_result(ta_do("num", "a", deletes_blindly, NULL), FRANCIS_ERR_STORAGE);
    t_result(ta_do("num", "a", dispatches_blindly, NULL), FRANCIS_ERR_STORAGE);
    assert_int_equal(rows_of("b"), 1);
    corners_close();
}

/* -- beside a commit that is on its way -- */

static struct {
    char        job[64];            /* that is stored */
    char        keyed[64];          /* that the first turn has dispatched */
    atomic_bool asked;
} beside;

static francis_result changes(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(dispatch_in(ctx, &r_of_b, beside.keyed) == FRANCIS_OK);
    ta_check(francis_alarm_set(ctx, &y_of_b, NULL) == FRANCIS_OK);
    ta_check(francis_purge(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    return FRANCIS_OK;
}

static francis_result asks(francis_ctx *ctx, void *arg)
{
    francis_alarm x = x_of_b;
    francis_job   other = r_of_b;
    char          id[64];

    (void)arg;
    ta_check(dispatch_in(ctx, &r_of_b, id) == FRANCIS_OK && strcmp(id, beside.keyed) == 0);
    other.request_id = "new";
    ta_check(dispatch_in(ctx, &other, id) == FRANCIS_OK && strcmp(id, beside.keyed) != 0);
    ta_check(francis_job_cancel(ctx, beside.job, NULL) == FRANCIS_OK);
    ta_check(francis_alarm_delete(ctx, &y_of_b, NULL) == FRANCIS_OK);
    x.id = "purged";
    ta_check(francis_alarm_delete(ctx, &x, NULL) == FRANCIS_ERR_NOT_FOUND);
    x.type = "other";
    ta_check(francis_alarm_delete(ctx, &x, NULL) == FRANCIS_OK);
    ta_check(francis_alarm_delete(ctx, &x_of_b, NULL) == FRANCIS_OK);
    atomic_store(&beside.asked, true);
    return FRANCIS_OK;
}

/* Would catch: a turn that does not see what others have changed and is not in the file yet. */
static void test_beside_a_commit(void **state)
{
    francis_alarm x = x_of_b;
    francis_job   job = { .type = "num", .id = "b", .method = "work", .due_ms = DUE_FAR };
    francis_call *zero = NULL, *one, *two;

    (void)state;
    atomic_store(&beside.asked, false);
    corners_open();
    t_ok(set(&x));
    x.id = "purged";
    t_ok(set(&x));
    x.type = "other";
    t_ok(set(&x));
    t_ok(francis_job_dispatch(ta->ctx, &job, &ta->last));
    id_of(beside.job, &ta->last);
    t_ok(ta_do("num", "purged", ta_add, NULL));
    t_ok(ta_do("num", "asker", ta_add, NULL));
    t_ok(ta_do("other", "first", ta_add, NULL));
    spy_open(FRN_READ_ALARM, NULL);
    atomic_store(&spy.held, false);
    atomic_store(&spy.hold, !ta_inline());
    if (ta_inline())                /* with workers the commit has to begin with the other one */
        zero = ta_begin("other", "first", ta_add, NULL);
    one = ta_begin("num", "purged", changes, NULL);
    ta_until(ta_inline() || atomic_load(&spy.held));
    two = ta_begin("num", "asker", asks, NULL);
    ta_until(atomic_load(&beside.asked));
    atomic_store(&spy.hold, false);
    if (zero != NULL)
        t_ok(ta_end(zero));
    t_ok(ta_end(one));
    t_ok(ta_end(two));
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_alarms", NULL, NULL), 2);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_alarms WHERE alarm_name = '/r' AND"
                             " alarm_id = ?1", beside.keyed, NULL), 1);
    corners_close();
}

/* Nobody waits any more for what is being written. Would catch: an answer into a call that is over,
 * or a change that is undone with it. */
static void test_timeout_while_written(void **state)
{
    francis_call *call;

    (void)state;
    corners_open();
    spy_open(FRN_READ_ALARM, NULL);
    atomic_store(&spy.held, false);
    atomic_store(&spy.hold, true);
    call = ta_new();
    call->async = true;
    call->timeout_ms = 50;
    t_result(francis_alarm_set(ta->ctx, &x_of_b, call), FRANCIS_PENDING);
    ta_until(atomic_load(&spy.held));
    t_result(ta_end(call), FRANCIS_ERR_UNKNOWN);
    atomic_store(&spy.hold, false);
    due_until(rows_of("b") == 1);
    t_ok(francis_alarm_delete(ta->ctx, &x_of_b, NULL));
    corners_close();
}

/* ---- three hosts, which do not all serve the same ---- */

static atomic_int picky_no, picky_yes, picky_wrong;

/* The host of the test wants none of it. */
static francis_result picky(francis_ctx *ctx)
{
    if (ctx->host == ta->host) {
        (void)atomic_fetch_add(&picky_no, 1);
        return FRANCIS_ERR_REJECTED;
    }
    (void)atomic_fetch_add(strcmp(ctx->type, "picky") == 0 ? &picky_yes : &picky_wrong, 1);
    return FRANCIS_OK;
}

/* Would catch: a job that stays with the host that does not want it, one that goes to a host that
 * does not serve it, a hint that goes there. */
static void test_picky_hosts(void **state)
{
    static const francis_actor_desc all[] = {
        { DUE_TYPE("num") }, { .type = "picky", .job = picky }, TA_END
    };
    static const francis_actor_desc some[] = { { .type = "picky", .job = picky }, TA_END };
    static const francis_actor_desc none[] = { { .type = "solo", .job = picky }, TA_END };
    static t_log      logs[2];
    static char       addresses[3][40];
    francis_host_desc desc = { .address = addresses[2],
                               .cluster_key = "a key of thirty-two bytes or more" };
    francis_host     *others[2];

    (void)state;
    atomic_store(&picky_no, 0);
    atomic_store(&picky_yes, 0);
    for (unsigned i = 0; i < 3; i++)
        free_address(addresses[i]);
    due_open_with(desc, all);
    db = raw_open(ta->path);
    desc = ta->desc;
    desc.on_alloc = NULL;
    desc.on_log = t_log_sink;
    for (unsigned i = 0; i < 2; i++) {
        (void)pthread_mutex_init(&logs[i].lock, NULL);
        desc.log_user = &logs[i];
        desc.address = addresses[i];
        others[i] = t_start(&desc, i == 0 ? some : none);
    }
    frn_lock(ta->host);
    while (ta->host->phase == FRN_HOST_RUNNING
           && frn_type_hosts(ta->host, frn_type_find(ta->host, "picky")) < 2) {
        frn_unlock(ta->host);
        t_yield();
        frn_lock(ta->host);
    }
    frn_unlock(ta->host);
    for (unsigned i = 0; i < 24; i++) {
        char        id[16];
        francis_job job = { .type = "picky", .id = id, .method = "work" };
        (void)snprintf(id, sizeof id, "%u", i);
        t_ok(francis_job_dispatch(ta->ctx, &job, NULL));
        SET(.id = id, .name = "x", .due_ms = due_now());
    }
    SET(.id = "far", .name = "x", .due_ms = DUE_FAR);
    t_ok(francis_alarm_delete(ta->ctx, &(const francis_alarm){ .type = "num", .id = "far",
                                                              .name = "x" }, NULL));
    due_until(atomic_load(&picky_yes) == 24 && due_count() == 24);
    due_until(raw_int(db, "SELECT count(*) FROM francis_alarms", NULL, NULL) == 0);
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, NULL, NULL), 0);
    assert_int_equal(atomic_load(&picky_wrong), 0);
    for (unsigned i = 0; i < 2; i++)
        francis_close(others[i]);
    corners_close();
}

/* ---- hosts of which somebody has heard ---- */

static frn_peer *heard_of(const char *id, const char *types_text, size_t types_size)
{
    frn_owner owner;
    frn_peer *p;

    memset(&owner, 0, sizeof owner);
    (void)snprintf(owner.id, sizeof owner.id, "%s", id);
    owner.address[0] = '-';
    p = frn_peer_get(ta->host, &owner);
    assert_non_null(p);
    if (types_size > 0)
        p->types = frn_buf_copy(&ta->host->mem, types_text, types_size);
    return p;
}

/* Would catch: hosts that are kept in mind for ever, one that is forgotten while it is judged or is
 * in the file, news of a forgotten one. */
static void test_peers_are_forgotten(void **state)
{
    francis_host *h;
    frn_write     w;

    (void)state;
    due_open(types);
    h = ta->host;
    frn_lock(h);
    frn_peer_trust(h, heard_of("unlisted", "", 0));
    frn_peer_trust(h, heard_of("listed", "", 0));
    frn_peer_trust(h, heard_of("judged", "", 0));
    frn_peer_find(h, "listed")->listed = true;
    frn_peer_find(h, "judged")->state = FRN_PEER_JUDGED;
    memset(&w, 0, sizeof w);
    w.op = FRN_WRITE_CHALLENGE;
    w.id = "nobody";
    frn_peer_over(h, &w, FRANCIS_OK);
    assert_null(frn_peer_find(h, "nobody"));
    due_away(FRANCIS_MINUTES(10) - 1);
    frn_timers_run(h);
    assert_non_null(frn_peer_find(h, "unlisted"));
    due_away(1);
    frn_timers_run(h);
    assert_null(frn_peer_find(h, "unlisted"));
    assert_non_null(frn_peer_find(h, "listed"));
    assert_non_null(frn_peer_find(h, "judged"));
    frn_peer_free(h, frn_peer_find(h, "listed"));
    frn_peer_free(h, frn_peer_find(h, "judged"));
    frn_unlock(h);
    ta_close();
}

/* A host comes that serves all. Would catch: a singleton, or what has to stay here, that is sent
 * there; a type that it does not serve. */
static void test_spread(void **state)
{
    static const francis_actor_desc some[] = {
        { .type = "many", .methods = ta_methods },
        { .type = "one", .methods = ta_methods, .singleton = true },
        { .type = "here", .methods = ta_methods, .placement = FRANCIS_PLACE_LOCAL },
        { .type = "unknown", .methods = ta_methods },
        { .type = "idle", .methods = ta_methods },
        TA_END
    };
    static const char served[] = "many\0one\0here\0idle";
    francis_host     *h;
    frn_peer         *p;

    (void)state;
    due_open(some);
    for (unsigned i = 0; i < 4; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "%u", i);
        t_ok(ta_do("many", id, ta_nothing, NULL));
        t_ok(ta_do("here", id, ta_nothing, NULL));
        t_ok(ta_do("unknown", id, ta_nothing, NULL));
    }
    t_ok(ta_do("one", FRN_SINGLETON, ta_nothing, NULL));
    h = ta->host;
    frn_lock(h);
    p = heard_of("another", served, sizeof served);
    p->listed = true;
    frn_spread_begin(h, p);
    assert_int_equal(frn_type_find(h, "many")->spread, 2);      /* half of them */
    assert_int_equal(frn_type_find(h, "one")->spread, 0);
    assert_int_equal(frn_type_find(h, "here")->spread, 0);
    assert_int_equal(frn_type_find(h, "unknown")->spread, 0);
    assert_int_equal(frn_type_find(h, "idle")->spread, 0);
    frn_type_find(h, "many")->spread = 0;
    frn_peer_free(h, p);
    frn_unlock(h);
    ta_close();
}

static const struct CMUnitTest tests[] = {
    DUE_INLINE(test_texts),             DUE_INLINE(test_same),
    DUE_INLINE(test_collision),         DUE_INLINE(test_changes),
    DUE_INLINE(test_news),              DUE_INLINE(test_no_such_change),
    DUE_INLINE(test_changed_while_read), DUE_INLINE(test_stops_while_reading),
    DUE_INLINE(test_evicted_while_reading), DUE_INLINE(test_hints),
    DUE_INLINE(test_replaced_row),      DUE_INLINE(test_ends_of_time),
    DUE_INLINE(test_nothing_to_bury),   DUE_INLINE(test_many_hooks),
    DUE_INLINE(test_alone),             DUE_INLINE(test_mark_refused),
    DUE_INLINE(test_placed_elsewhere),  DUE_INLINE(test_much_data),
    DUE_INLINE(test_in_memory),         DUE_INLINE(test_no_randomness),
    DUE_INLINE(test_passed_on),         DUE_INLINE(test_purge_of_one_type),
    DUE_BOTH(test_refusals),            DUE_BOTH(test_turn_sees_itself),
    DUE_BOTH(test_turn_is_blind),       DUE_BOTH(test_beside_a_commit),
    DUE_INLINE(test_peers_are_forgotten), DUE_INLINE(test_spread),
    DUE_WORKERS(test_timeout_while_written), DUE_WORKERS(test_picky_hosts),
};

TA_MAIN(tests)
