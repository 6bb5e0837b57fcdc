/* The simulator: the same seed gives the same run; each fault has its effect, and francis survives
 * it; a crash takes what a crash may take and no more; and nothing of the real machine is used. */
#define FRANCIS_SIM
#define FRANCIS_IMPLEMENTATION
#include "support/t.h"

#include "support/counters.h"

#include <dirent.h>

enum { HOSTS = 3, SEEDS = 40 };

static const char key[] = "the key of a cluster that is made up";

static francis_result read_count(francis_ctx *ctx)
{
    const counter_state *c = (const counter_state *)francis_state(ctx);
    return c == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result increment(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    counter_put(c, c->n + 1);
    return francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result slow(francis_ctx *ctx)
{
    francis_sim_spend(ctx, 700);
    return increment(ctx);
}

static const francis_method methods[] = {
    { "increment", increment, FRANCIS_INVOKE, 0 },
    { "read", read_count, FRANCIS_PEEK, 0 },
    { "slow", slow, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc types[] = {
    { .type = "counter", .methods = methods, .state_size = sizeof(counter_state),
      .idle_timeout_ms = FRANCIS_DAYS(30) },
    { .type = NULL }
};

/* ---- a world of a few hosts ---- */

typedef struct {
    francis_sim      *sim;
    francis_host_desc desc[HOSTS];
    char              address[HOSTS][32];
    char              lines[200][300];
    unsigned          count;
} world;

static void keep_line(const char *line, void *user)
{
    world *w = (world *)user;
    (void)snprintf(w->lines[w->count++ % 200], sizeof w->lines[0], "%s", line);
}

static void world_begin(world *w, uint64_t seed, int hosts, const francis_sim_desc *more)
{
    francis_sim_desc desc = { 0 };
    (void)memset(w, 0, sizeof *w);
    if (more != NULL)
        desc = *more;
    desc.seed = seed;
    desc.on_report = keep_line;
    desc.user = w;
    t_ok(francis_sim_open(&w->sim, &desc));
    for (int i = 0; i < hosts; i++) {
        francis_host_desc *d = &w->desc[i];
        (void)snprintf(w->address[i], sizeof w->address[i], "10.0.0.%d:7571", i + 1);
        d->database = "made-up.db";
        d->address = w->address[i];
        d->cluster_key = key;
        d->health_deadline_ms = 20000;
        d->sweep_interval_ms = FRANCIS_HOURS(1);
        d->timeout_ms = 20000;
        assert_int_equal(francis_sim_host(w->sim, 0, d, types), i);
        t_ok(francis_sim_start(w->sim, i));
    }
    francis_sim_run(w->sim, 100);   /* they know each other */
}

/* Nothing is left of it, and it has found nothing. */
static void world_end(world *w, int hosts)
{
    sqlite3 *db = NULL;
    for (int i = 0; i < hosts; i++)
        francis_sim_stop(w->sim, i);
    assert_int_equal(sqlite3_open_v2("made-up.db", &db, SQLITE_OPEN_READWRITE,
                                     francis_sim_vfs(w->sim, 0)), SQLITE_OK);
    raw_check(db);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL), 0);
    (void)sqlite3_close(db);
    if (francis_sim_failed(w->sim))
        fail_msg("%s", w->lines[0]);
    francis_sim_close(w->sim);
}

static francis_result call(world *w, int host, const char *method, const char *id, int64_t *value)
{
    francis_call   c = { 0 };
    francis_result r = francis_invoke(francis_sim_ctx(w->sim, host), "counter", id, method, NULL, 0,
                                      &c);
    if (r == FRANCIS_OK && value != NULL)
        *value = *(const int64_t *)c.data;
    francis_call_free(&c);
    return r;
}

static int64_t count_of(world *w, int host, const char *id)
{
    int64_t        value = -1;
    francis_call   c = { 0 };
    t_ok(francis_peek(francis_sim_ctx(w->sim, host), "counter", id, "read", NULL, 0, &c));
    (void)memcpy(&value, c.data, sizeof value);
    francis_call_free(&c);
    return value;
}

/* On which of two hosts the only actor lives, once they agree; the other one is connected to it. */
static int home_of(world *w, const char *id)
{
    francis_stats stats;
    t_ok(call(w, 0, "increment", id, NULL));
    francis_sim_run(w->sim, 1000);  /* it may move to the host that came last */
    t_ok(call(w, 0, "increment", id, NULL));
    t_ok(call(w, 1, "increment", id, NULL));
    francis_stats_get(francis_sim_running(w->sim, 0), &stats);
    return stats.active == 1 ? 0 : 1;
}

/* ---- the same again ---- */

static uint64_t eventful(uint64_t seed)
{
    static const francis_sim_desc desc = {
        .faults = { .latency_us = 300, .jitter_us = 2000, .net_split = 100000, .net_loss = 20000,
                    .net_reset = 3000, .sync_us = 2000, .disk_stall = 2000, .sync_error = 5000,
                    .write_error = 1000, .no_memory = 300 }
    };
    world    w;
    uint64_t hash;
    world_begin(&w, seed, 0, &desc);
    for (int i = 0; i < HOSTS; i++) {
        w.desc[i].database = "made-up.db";
        (void)snprintf(w.address[i], sizeof w.address[i], "10.0.0.%d:7571", i + 1);
        w.desc[i].address = w.address[i];
        w.desc[i].cluster_key = key;
        (void)francis_sim_host(w.sim, 0, &w.desc[i], types);
    }
    for (int round = 0; round < 30; round++) {
        int  host = (int)francis_sim_random(w.sim, HOSTS);
        char id[8];
        (void)snprintf(id, sizeof id, "a%d", round % 7);
        if (francis_sim_running(w.sim, host) == NULL)
            (void)francis_sim_start(w.sim, host);
        if (francis_sim_running(w.sim, host) != NULL)
            (void)call(&w, host, "increment", id, NULL);
        if (round % 8 == 5)
            francis_sim_kill(w.sim, host);
        if (round == 20)
            francis_sim_power_cut(w.sim, 0);
        francis_sim_run(w.sim, (int64_t)francis_sim_random(w.sim, 300));
    }
    hash = francis_sim_hash(w.sim);
    assert_false(francis_sim_failed(w.sim));
    francis_sim_close(w.sim);
    return hash;
}

static void test_same_again(void **state)
{
    uint64_t first = eventful(1);
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++)
        assert_true(eventful(seed) == eventful(seed));
    assert_true(eventful(1) == first);      /* whatever was before */
    assert_true(eventful(2) != first);
}

/* What the test does is part of it. */
static void test_notes_count(void **state)
{
    world    w;
    uint64_t hash[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        world_begin(&w, 5, 1, NULL);
        francis_sim_note(w.sim, "note %d", i);
        hash[i] = francis_sim_hash(w.sim);
        world_end(&w, 1);
    }
    assert_true(hash[0] != hash[1]);
}

/* ---- what a crash takes ---- */

/* How many of the acknowledged ones are missing afterwards. */
static int64_t lost(uint64_t seed, francis_durability durability, bool power)
{
    world   w;
    int64_t acked = 0, there;
    world_begin(&w, seed, 0, NULL);
    w.desc[0].database = "made-up.db";
    w.desc[0].durability = durability;
    assert_int_equal(francis_sim_host(w.sim, 0, &w.desc[0], types), 0);
    t_ok(francis_sim_start(w.sim, 0));
    for (int i = 0; i < 20; i++)
        t_ok(call(&w, 0, "increment", "x", &acked));
    if (power)
        francis_sim_power_cut(w.sim, 0);
    else
        francis_sim_kill(w.sim, 0);
    assert_null(francis_sim_running(w.sim, 0));
    t_ok(francis_sim_start(w.sim, 0));
    there = count_of(&w, 0, "x");
    world_end(&w, 1);
    return acked - there;
}

static void test_crash_takes_no_more(void **state)
{
    int64_t sum = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        assert_int_equal(lost(seed, FRANCIS_SURVIVES_POWER_CUT, true), 0);
        assert_int_equal(lost(seed, FRANCIS_SURVIVES_POWER_CUT, false), 0);
        assert_int_equal(lost(seed, FRANCIS_SURVIVES_CRASH, false), 0);
        sum += lost(seed, FRANCIS_SURVIVES_CRASH, true);
    }
    assert_true(sum > 0);           /* the power does take what was not synced */
}

/* Killed in the n-th write, sync or allocation, for each n there is. */
static void crash_in(francis_sim_event event, francis_sim_action action)
{
    for (uint64_t n = 1;; n++) {
        world    w;
        int64_t  acked = 0, sent = 0, value, there;
        uint64_t before;
        bool     died;
        world_begin(&w, n, 1, NULL);
        before = francis_sim_events(w.sim, 0, event);
        francis_sim_after(w.sim, 0, event, n, action);
        for (int i = 0; i < 6 && francis_sim_running(w.sim, 0) != NULL; i++) {
            sent++;
            if (call(&w, 0, "increment", "x", &value) == FRANCIS_OK)
                acked = value;
        }
        francis_sim_after(w.sim, 0, event, 0, action);
        died = francis_sim_running(w.sim, 0) == NULL;
        assert_true(died || francis_sim_events(w.sim, 0, event) - before < n);
        if (died)
            t_ok(francis_sim_start(w.sim, 0));
        there = count_of(&w, 0, "x");
        if (there < acked || there > sent)
            fail_msg("killed in call %d: %lld sent, %lld acknowledged, %lld there", (int)n,
                     (long long)sent, (long long)acked, (long long)there);
        world_end(&w, 1);
        if (!died)
            return;
    }
}

static void test_crash_everywhere(void **state)
{
    (void)state;
    crash_in(FRANCIS_SIM_WRITE, FRANCIS_SIM_KILL);
    crash_in(FRANCIS_SIM_SYNC, FRANCIS_SIM_KILL);
    crash_in(FRANCIS_SIM_WRITE, FRANCIS_SIM_POWER_CUT);
    crash_in(FRANCIS_SIM_SYNC, FRANCIS_SIM_POWER_CUT);
    crash_in(FRANCIS_SIM_READ, FRANCIS_SIM_KILL);
}

/* ---- each fault ---- */

static void test_disk_faults(void **state)
{
    static const struct {
        francis_sim_event  event;
        francis_sim_action action;
        francis_result     result;
    } faults[] = {
        { FRANCIS_SIM_WRITE, FRANCIS_SIM_FULL, FRANCIS_ERR_FULL },
        { FRANCIS_SIM_WRITE, FRANCIS_SIM_FAIL, FRANCIS_ERR_STORAGE },
        { FRANCIS_SIM_SYNC, FRANCIS_SIM_FAIL, FRANCIS_ERR_STORAGE },
        { FRANCIS_SIM_ALLOC, FRANCIS_SIM_FAIL, FRANCIS_ERR_NOMEM },
    };
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        world   w;
        int64_t value;
        world_begin(&w, i, 1, NULL);
        t_ok(call(&w, 0, "increment", "x", NULL));
        francis_sim_after(w.sim, 0, faults[i].event, 1, faults[i].action);
        t_result(call(&w, 0, "increment", "x", NULL), faults[i].result);
        t_ok(call(&w, 0, "increment", "x", &value));
        assert_int_equal(value, 2);     /* the failed one has left nothing */
        world_end(&w, 1);
    }
}

static void test_disk_room(void **state)
{
    world w;
    char  id[16];
    int   n;
    (void)state;
    world_begin(&w, 1, 1, NULL);
    francis_sim_disk_room(w.sim, 0, 300000);
    for (n = 0; n < 500; n++) {
        (void)snprintf(id, sizeof id, "x%d", n);
        if (call(&w, 0, "increment", id, NULL) != FRANCIS_OK)
            break;
    }
    assert_in_range(n, 5, 400);
    t_result(call(&w, 0, "increment", id, NULL), FRANCIS_ERR_FULL);
    francis_sim_disk_room(w.sim, 0, FRANCIS_FOREVER);
    t_ok(call(&w, 0, "increment", id, NULL));
    world_end(&w, 1);
}

/* A disk that could not sync, and takes what is left to be safe from then on. Claims are not synced
 * by themselves, so their frames are such a rest. What is acknowledged later must not need them. */
static void forgetful(uint64_t seed, bool killed)
{
    static const francis_sim_faults bad = { .sync_error = 1000000, .sync_forgets = true },
                                    none = { 0 };
    world   w;
    int64_t acked = 0;
    char    id[8];
    world_begin(&w, seed, 1, NULL);
    t_ok(call(&w, 0, "increment", "x", NULL));
    for (int i = 0; i < 5; i++) {
        (void)snprintf(id, sizeof id, "y%d", i);
        assert_int_equal(count_of(&w, 0, id), 0);
    }
    francis_sim_faults_set(w.sim, 0, &bad);
    t_result(call(&w, 0, "increment", "x", NULL), FRANCIS_ERR_UNKNOWN);
    francis_sim_faults_set(w.sim, 0, &none);
    if (killed)
        francis_sim_kill(w.sim, 0);
    if (killed)
        t_ok(francis_sim_start(w.sim, 0));
    for (int i = 0; i < 5; i++)
        t_ok(call(&w, 0, "increment", "x", &acked));
    francis_sim_power_cut(w.sim, 0);
    t_ok(francis_sim_start(w.sim, 0));
    assert_int_equal(count_of(&w, 0, "x"), acked);
    world_end(&w, 1);
}

/* Of a sync that failed all hear who have the file open: who only wants to leave then does. That
 * he has would be undone by a third one who leaves right behind him and still takes him to live. */
static void test_leave_after_failed_sync(void **state)
{
    static const francis_sim_faults bad = { .sync_error = 1000000, .sync_forgets = true },
                                    none = { 0 };
    world w;
    int   home, other;
    (void)state;
    world_begin(&w, 1, 3, NULL);
    francis_sim_stop(w.sim, 2);
    home = home_of(&w, "x");
    other = 1 - home;
    t_ok(francis_state_write(francis_sim_ctx(w.sim, other), "unknown here", "y", "z", 1, 0, NULL));
    francis_sim_faults_set(w.sim, home, &bad);
    t_result(call(&w, home, "increment", "x", NULL), FRANCIS_ERR_UNKNOWN);
    francis_sim_faults_set(w.sim, home, &none);
    francis_sim_stop(w.sim, home);
    t_ok(francis_sim_start(w.sim, 2));
    francis_sim_stop(w.sim, other);
    world_end(&w, 3);
}

static void test_forgetful_disk(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        forgetful(seed, false);
        forgetful(seed, true);
    }
}

/* Wrong bytes of the file itself are noticed, or are of no consequence. */
static void test_read_damage(void **state)
{
    static const francis_sim_faults bad = { .read_damage = 300000 }, none = { 0 };
    unsigned noticed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world w;
        world_begin(&w, seed, 1, NULL);
        t_ok(call(&w, 0, "increment", "x", NULL));
        francis_sim_stop(w.sim, 0);
        francis_sim_faults_set(w.sim, 0, &bad);
        if (francis_sim_start(w.sim, 0) != FRANCIS_OK) {
            noticed++;
            francis_sim_faults_set(w.sim, 0, &none);
            t_ok(francis_sim_start(w.sim, 0));
            assert_int_equal(count_of(&w, 0, "x"), 1);
        }
        francis_sim_close(w.sim);
    }
    assert_true(noticed > 0);
}

/* How long a call to an actor of another host takes. */
static int64_t remote_ms(const francis_sim_faults *faults)
{
    world   w;
    int64_t begin, took;
    int     home;
    world_begin(&w, 3, 2, NULL);
    home = home_of(&w, "x");
    francis_sim_faults_set(w.sim, FRANCIS_SIM_ALL, faults);
    begin = francis_sim_now_ms(w.sim);
    for (int i = 0; i < 10; i++)
        t_ok(call(&w, 1 - home, "increment", "x", NULL));
    took = francis_sim_now_ms(w.sim) - begin;
    assert_int_equal(count_of(&w, 0, "x"), 13);
    world_end(&w, 2);
    return took;
}

static void test_slow_network(void **state)
{
    int64_t plain = remote_ms(&(francis_sim_faults){ .latency_us = 100 });
    (void)state;
    assert_in_range(plain, 1, 20);
    assert_in_range(remote_ms(&(francis_sim_faults){ .latency_us = 50000 }), 1000, 1100);
    assert_true(remote_ms(&(francis_sim_faults){ .latency_us = 100, .net_loss = 300000 }) >
                plain + 200);
    assert_true(remote_ms(&(francis_sim_faults){ .latency_us = 100, .bytes_per_ms = 2 }) >
                plain + 200);
    assert_true(remote_ms(&(francis_sim_faults){ .latency_us = 100, .net_split = 1000000 }) >=
                plain);
    assert_true(remote_ms(&(francis_sim_faults){ .latency_us = 100, .sync_us = 50000 }) >
                plain + 100);
}

static void test_reset(void **state)
{
    world         w;
    int64_t       value;
    francis_stats stats;
    int           from;
    (void)state;
    world_begin(&w, 1, 2, NULL);
    from = 1 - home_of(&w, "x");
    francis_sim_after(w.sim, from, FRANCIS_SIM_SEND, 1, FRANCIS_SIM_FAIL);
    (void)call(&w, from, "increment", "x", NULL);
    t_ok(call(&w, from, "increment", "x", &value));
    assert_in_range(value, 4, 5);
    francis_stats_get(francis_sim_running(w.sim, from), &stats);
    assert_true(stats.reconnects > 0);
    world_end(&w, 2);
}

/* Either direction is enough to stop a call, and it goes on when the link is up. */
static void test_cut_links(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        world        w;
        int          home;
        francis_call c = { .async = true, .timeout_ms = 15000 };
        world_begin(&w, 1, 2, NULL);
        home = home_of(&w, "x");
        francis_sim_link(w.sim, way == 0 ? home : 1 - home, way == 0 ? 1 - home : home, false);
        t_result(francis_invoke(francis_sim_ctx(w.sim, 1 - home), "counter", "x", "increment",
                                NULL, 0, &c), FRANCIS_PENDING);
        francis_sim_run(w.sim, 400);
        assert_int_equal(c.result, FRANCIS_PENDING);
        assert_int_equal(count_of(&w, home, "x"), way == 0 ? 4 : 3);    /* it arrived, or not */
        francis_sim_link(w.sim, FRANCIS_SIM_ALL, FRANCIS_SIM_ALL, true);
        t_ok(francis_wait(francis_sim_ctx(w.sim, 1 - home), &c));
        francis_call_free(&c);
        assert_int_equal(count_of(&w, home, "x"), 4);
        world_end(&w, 2);
    }
}

/* One that is paused for too long is evicted, and comes back as another one. */
static void test_pause(void **state)
{
    world         w;
    int           home;
    francis_stats stats;
    (void)state;
    world_begin(&w, 1, 2, NULL);
    home = home_of(&w, "x");
    francis_sim_pause(w.sim, home);
    francis_sim_run(w.sim, 500);
    francis_sim_resume(w.sim, home);
    t_ok(call(&w, 1 - home, "increment", "x", NULL));
    francis_stats_get(francis_sim_running(w.sim, home), &stats);
    assert_int_equal(stats.lives, 1);
    francis_sim_pause(w.sim, home);
    while (call(&w, 1 - home, "increment", "x", NULL) != FRANCIS_OK)
        assert_true(francis_sim_now_ms(w.sim) < 60000);
    francis_sim_resume(w.sim, home);
    francis_sim_run(w.sim, 3000);
    francis_stats_get(francis_sim_running(w.sim, home), &stats);
    assert_int_equal(stats.lives, 2);
    world_end(&w, 2);
}

/* A handler that takes its time, and what happens beside it. */
static void flag(void *user)
{
    ++*(int *)user;
}

static bool flagged(void *user)
{
    return *(const int *)user > 0;
}

static void test_time(void **state)
{
    world         w;
    int           beside = 0, never = 0;
    int64_t       begin;
    francis_stats stats;
    (void)state;
    world_begin(&w, 1, 0, NULL);
    w.desc[0].database = "made-up.db";
    w.desc[0].health_deadline_ms = FRANCIS_HOURS(20);   /* so that nothing happens for long */
    w.desc[0].sweep_interval_ms = FRANCIS_DAYS(1);
    assert_int_equal(francis_sim_host(w.sim, 0, &w.desc[0], types), 0);
    t_ok(francis_sim_start(w.sim, 0));
    begin = francis_sim_now_ms(w.sim);
    t_ok(francis_sim_at(w.sim, FRANCIS_SIM_ALL, 300, flag, &beside));
    t_ok(call(&w, 0, "slow", "x", NULL));
    assert_int_equal(beside, 1);
    assert_in_range(francis_sim_now_ms(w.sim) - begin, 700, 705);
    begin = francis_sim_now_ms(w.sim);
    t_result(francis_sim_until(w.sim, flagged, &never, 500), FRANCIS_ERR_DEADLINE);
    assert_int_equal(francis_sim_now_ms(w.sim) - begin, 500);
    t_ok(francis_sim_at(w.sim, 0, 40, flag, &never));
    t_ok(francis_sim_until(w.sim, flagged, &never, 500));
    assert_int_equal(francis_sim_now_ms(w.sim) - begin, 540);
    francis_sim_run(w.sim, FRANCIS_DAYS(30) - FRANCIS_MINUTES(1));
    francis_stats_get(francis_sim_running(w.sim, 0), &stats);
    assert_int_equal(stats.active, 1);
    francis_sim_run(w.sim, FRANCIS_MINUTES(2));     /* it hibernates after thirty days */
    francis_stats_get(francis_sim_running(w.sim, 0), &stats);
    assert_int_equal(stats.active, 0);
    world_end(&w, 1);
}

static francis_result say_time(francis_ctx *ctx)
{
    int64_t now = francis_now(ctx);
    return francis_reply(ctx, &now, sizeof now);
}

static void test_clock(void **state)
{
    static const francis_method     own[] = { { "time", say_time, FRANCIS_INVOKE, 0 },
                                              FRANCIS_METHODS_END };
    static const francis_actor_desc clock[] = { { .type = "counter", .methods = own },
                                                { .type = NULL } };
    world   w;
    int64_t at[3];
    (void)state;
    world_begin(&w, 1, 0, NULL);
    w.desc[0].database = "made-up.db";
    assert_int_equal(francis_sim_host(w.sim, 0, &w.desc[0], clock), 0);
    t_ok(francis_sim_start(w.sim, 0));
    t_ok(call(&w, 0, "time", "x", &at[0]));
    assert_in_range(at[0], INT64_C(1893456000000), INT64_C(1893456000000) + 1000);
    francis_sim_clock(w.sim, 0, -FRANCIS_DAYS(1), 100000);      /* by a tenth too fast */
    t_ok(call(&w, 0, "time", "x", &at[1]));
    assert_in_range(at[0] - at[1], FRANCIS_DAYS(1) - 100, FRANCIS_DAYS(1));
    francis_sim_run(w.sim, 100000);
    t_ok(call(&w, 0, "time", "x", &at[2]));
    assert_in_range(at[2] - at[1], 109900, 110100);
    world_end(&w, 1);
}

/* ---- what random worlds have found ---- */

typedef struct {
    int64_t done, told;
} errand_state;

static int errand_runs;

/* Input "no": it fails for good, until it was told that it is dead. "later": attempt 1 fails. */
static francis_result errand_run(francis_ctx *ctx)
{
    errand_state *s = (errand_state *)francis_state(ctx);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    errand_runs++;
    s->done++;
    if (strcmp((const char *)ctx->input.data, "no") == 0 && s->told == 0)
        return FRANCIS_ERR_PERMANENT;
    if (strcmp((const char *)ctx->input.data, "later") == 0 && ctx->attempt == 1)
        return FRANCIS_ERR_USER;
    return FRANCIS_OK;
}

static francis_result errand_told(francis_ctx *ctx)
{
    errand_state *s = (errand_state *)francis_state(ctx);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->told++;
    return FRANCIS_OK;
}

static francis_result errand_read(francis_ctx *ctx)
{
    const errand_state *s = (const errand_state *)francis_state(ctx);
    return s == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, s, sizeof *s);
}

/* Reads until its caller has ended. */
static francis_result errand_listen(francis_ctx *ctx)
{
    errand_state  *s = (errand_state *)francis_state(ctx);
    char           data[16];
    size_t         size;
    francis_result r;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    while ((r = francis_stream_read(ctx, ctx->stream, data, sizeof data, &size)) == FRANCIS_OK)
        ;
    if (r == FRANCIS_DONE && ctx->kind == FRANCIS_STREAM)
        s->done++;
    return r == FRANCIS_PENDING ? francis_await(ctx, errand_listen, NULL)
                                : r == FRANCIS_DONE ? FRANCIS_OK : r;
}

static const francis_method errand_methods[] = {
    { "run", errand_run, FRANCIS_JOB, 0 },
    { "run", errand_told, FRANCIS_JOB_FAILED, 0 },
    { "read", errand_read, FRANCIS_PEEK, 0 },
    { "listen", errand_listen, FRANCIS_STREAM, 0 },
    { "listen", errand_listen, FRANCIS_PEEK_STREAM, 0 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc errand_types[] = {
    { .type = "errand", .methods = errand_methods, .state_size = sizeof(errand_state),
      .retry_delay_ms = 3000, .idle_timeout_ms = FRANCIS_DAYS(1) },
    { .type = NULL }
};

static void errand_world(world *w, int hosts)
{
    world_begin(w, 1, 0, NULL);
    for (int i = 0; i < hosts; i++) {
        francis_host_desc *d = &w->desc[i];
        (void)snprintf(w->address[i], sizeof w->address[i], "10.0.0.%d:7571", i + 1);
        d->database = "made-up.db";
        d->address = w->address[i];
        d->cluster_key = key;
        assert_int_equal(francis_sim_host(w->sim, 0, d, errand_types), i);
        t_ok(francis_sim_start(w->sim, i));
    }
    francis_sim_run(w->sim, 6000);  /* they know each other */
    errand_runs = 0;
}

static void errand_dispatch(world *w, int host, const char *input, int64_t delay_ms, char id[40])
{
    francis_call c = { 0 };
    francis_job  job = { .type = "errand", .id = "x", .method = "run", .data = input,
                         .size = strlen(input) + 1, .delay_ms = delay_ms };
    t_ok(francis_job_dispatch(francis_sim_ctx(w->sim, host), &job, &c));
    (void)snprintf(id, 40, "%.*s", (int)c.size, (const char *)c.data);
    francis_call_free(&c);
}

static errand_state errand_get(world *w, int host)
{
    errand_state s = { 0, 0 };
    francis_call c = { 0 };
    t_ok(francis_peek(francis_sim_ctx(w->sim, host), "errand", "x", "read", NULL, 0, &c));
    (void)memcpy(&s, c.data, sizeof s);
    francis_call_free(&c);
    return s;
}

static int errand_home(world *w)
{
    francis_stats stats;
    francis_stats_get(francis_sim_running(w->sim, 0), &stats);
    return stats.active == 1 ? 0 : 1;
}

/* Both hosts know of it. The one that is not the first looks whether it is over, and dead is over:
 * it runs once, and its death is told once. */
static void test_dead_is_over(void **state)
{
    world w;
    char  id[40];
    (void)state;
    errand_world(&w, 2);
    errand_dispatch(&w, 0, "no", 1500, id);
    while (errand_runs == 0)
        francis_sim_run(w.sim, 1);
    francis_sim_run(w.sim, 50);
    t_ok(francis_halt(francis_sim_ctx(w.sim, errand_home(&w)), "errand", "x", NULL));
    francis_sim_run(w.sim, 5000);
    assert_int_equal(errand_get(&w, 0).told, 1);
    assert_int_equal(errand_runs, 1);
    world_end(&w, 2);
}

/* So it is when its actor has come to the other host meanwhile. */
static void test_moved_is_over(void **state)
{
    world w;
    char  id[40];
    int   home;
    (void)state;
    errand_world(&w, 2);
    errand_dispatch(&w, 0, "yes", 1500, id);
    while (errand_runs == 0)
        francis_sim_run(w.sim, 1);
    francis_sim_run(w.sim, 20);
    home = errand_home(&w);
    francis_sim_stop(w.sim, home);
    assert_int_equal(errand_get(&w, 1 - home).done, 1);
    francis_sim_run(w.sim, 3000);
    assert_int_equal(errand_runs, 1);
    world_end(&w, 2);
}

/* The second attempt has its time, on the other host, too. */
static void test_attempt_has_its_time(void **state)
{
    world w;
    char  id[40];
    int   home;
    (void)state;
    errand_world(&w, 2);
    errand_dispatch(&w, 0, "later", 1500, id);
    while (errand_runs == 0)
        francis_sim_run(w.sim, 1);
    francis_sim_run(w.sim, 20);
    home = errand_home(&w);
    francis_sim_stop(w.sim, home);
    assert_int_equal(errand_get(&w, 1 - home).done, 0);
    francis_sim_run(w.sim, 2000);
    assert_int_equal(errand_runs, 1);
    francis_sim_run(w.sim, 3000);
    assert_int_equal(errand_runs, 2);
    assert_int_equal(errand_get(&w, 1 - home).done, 1);
    world_end(&w, 2);
}

/* Brought back by a clock that is behind: it is done once. */
static void test_brought_back_early(void **state)
{
    world        w;
    char         id[40];
    francis_call c = { 0 };
    (void)state;
    errand_world(&w, 1);
    errand_dispatch(&w, 0, "no", 0, id);
    francis_sim_run(w.sim, 1000);
    assert_int_equal(errand_get(&w, 0).told, 1);
    francis_sim_clock(w.sim, 0, -10000, 0);
    t_ok(francis_job_retry(francis_sim_ctx(w.sim, 0), id, &c));
    francis_call_free(&c);
    francis_sim_run(w.sim, 30000);
    assert_int_equal(errand_get(&w, 0).done, 1);
    assert_int_equal(errand_runs, 2);
    world_end(&w, 1);
}

typedef struct {
    world          *w;
    int             host;
    francis_result  result;
} listener;

static void listener_ready(francis_stream *stream, void *user)
{
    listener *l = (listener *)user;
    char      data[16];
    size_t    size;
    l->result = francis_stream_read(francis_sim_ctx(l->w->sim, l->host), stream, data, sizeof data,
                                    &size);
}

/* A stream is broken off when its caller's host stops: whether its turn will have been, that host
 * cannot know, unless it is one that changes nothing. */
static void test_stop_breaks_streams(void **state)
{
    (void)state;
    for (int peek = 0; peek < 2; peek++) {
        world               w;
        listener            l = { &w, 0, FRANCIS_PENDING };
        francis_stream_desc d = { .type = "errand", .id = "x", .method = "listen",
                                  .peek = peek != 0, .on_ready = listener_ready, .user = &l };
        francis_stream     *s = NULL;
        errand_world(&w, 2);
        (void)errand_get(&w, 0);
        l.host = 1 - errand_home(&w);
        t_ok(francis_stream_open(francis_sim_ctx(w.sim, l.host), &d, &s));
        listener_ready(s, &l);
        francis_sim_run(w.sim, 100);
        t_result(l.result, FRANCIS_PENDING);
        francis_sim_stop(w.sim, l.host);
        t_result(l.result, peek ? FRANCIS_ERR_STOPPED : FRANCIS_ERR_UNKNOWN);
        world_end(&w, 2);
    }
}

static void resume_first(void *user)
{
    francis_sim_resume(((world *)user)->sim, 0);
}

/* One that stops in the midst of a write goes on with it, or is dead. */
static void test_pause_in_a_call(void **state)
{
    (void)state;
    for (int event = FRANCIS_SIM_WRITE; event <= FRANCIS_SIM_SYNC; event++) {
        world   w;
        int64_t begin, value;
        world_begin(&w, 1, 1, NULL);
        t_ok(call(&w, 0, "increment", "x", NULL));
        begin = francis_sim_now_ms(w.sim);
        francis_sim_after(w.sim, 0, (francis_sim_event)event, 1, FRANCIS_SIM_PAUSE);
        t_ok(francis_sim_at(w.sim, FRANCIS_SIM_ALL, 900, resume_first, &w));
        t_ok(call(&w, 0, "increment", "x", &value));
        assert_int_equal(value, 2);
        assert_in_range(francis_sim_now_ms(w.sim) - begin, 900, 950);
        world_end(&w, 1);
    }
}

/* ---- the rest ---- */

static void test_tls(void **state)
{
    static const francis_sim_desc desc = { .tls = true };
    world                         w;
    (void)state;
    world_begin(&w, 1, 2, &desc);
    t_ok(call(&w, 0, "increment", "x", NULL));
    t_ok(call(&w, 1, "increment", "x", NULL));
    francis_sim_run(w.sim, FRANCIS_DAYS(3));        /* certificates are renewed meanwhile */
    t_ok(call(&w, 1, "increment", "x", NULL));
    assert_int_equal(count_of(&w, 0, "x"), 3);
    world_end(&w, 2);
}

static void test_report(void **state)
{
    static const francis_sim_desc desc = { .replay = "./mytest --seed", .trace_lines = 20 };
    world                         w;
    bool                          seed = false, replay = false, note = false;
    (void)state;
    world_begin(&w, 77, 1, &desc);
    assert_int_equal(w.count, 0);
    francis_sim_note(w.sim, "a cat has seen it");
    francis_sim_fail(w.sim, "%d and %d are one", 1, 1);
    assert_true(francis_sim_failed(w.sim));
    assert_in_range(w.count, 3, 22);
    for (unsigned i = 0; i < w.count; i++) {
        seed = seed || strcmp(w.lines[i], "francis_sim: seed 77: 1 and 1 are one") == 0;
        replay = replay || strstr(w.lines[i], "./mytest --seed 77") != NULL;
        note = note || strstr(w.lines[i], "a cat has seen it") != NULL;
    }
    assert_true(seed && replay && note);
    francis_sim_close(w.sim);
}

static int entries(const char *path)
{
    DIR *dir = opendir(path);
    int  n = 0;
    while (dir != NULL && readdir(dir) != NULL)
        n++;
    if (dir != NULL)
        (void)closedir(dir);
    return n;
}

/* No thread, no descriptor, no file. */
static void test_nothing_real(void **state)
{
    world w;
    char  here[4096];
    int   threads = entries("/proc/self/task"), fds = entries("/proc/self/fd"), files;
    (void)state;
    assert_non_null(getcwd(here, sizeof here));
    files = entries(here);
    world_begin(&w, 1, HOSTS, NULL);
    for (int i = 0; i < HOSTS; i++)
        t_ok(call(&w, i, "increment", "x", NULL));
    assert_int_equal(entries("/proc/self/task"), threads);
    assert_int_equal(entries("/proc/self/fd"), fds);
    assert_int_equal(entries(here), files);
    world_end(&w, HOSTS);
}

static void test_platform_is_checked(void **state)
{
    francis_platform  half = { .version = 1, .net_connect = frn_sim_net_connect };
    francis_host_desc desc = { .database = ":memory:", .platform = &half,
                               .workers = FRANCIS_NO_WORKERS, .log_level = FRANCIS_LOG_ERROR };
    francis_host     *host = NULL;
    (void)state;
    half.net_connect = (int (*)(const char *, void *))NULL;
    half.net_close = frn_sim_net_close;
    t_result(francis_open(&host, &desc), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(francis_host_error(host), "sockets"));
    francis_close(host);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_again),
        cmocka_unit_test(test_notes_count),
        cmocka_unit_test(test_crash_takes_no_more),
        cmocka_unit_test(test_crash_everywhere),
        cmocka_unit_test(test_disk_faults),
        cmocka_unit_test(test_disk_room),
        cmocka_unit_test(test_leave_after_failed_sync),
        cmocka_unit_test(test_forgetful_disk),
        cmocka_unit_test(test_read_damage),
        cmocka_unit_test(test_slow_network),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_cut_links),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_dead_is_over),
        cmocka_unit_test(test_moved_is_over),
        cmocka_unit_test(test_attempt_has_its_time),
        cmocka_unit_test(test_brought_back_early),
        cmocka_unit_test(test_stop_breaks_streams),
        cmocka_unit_test(test_pause_in_a_call),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_nothing_real),
        cmocka_unit_test(test_platform_is_checked),
    };
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
