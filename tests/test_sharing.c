/* Several hosts on one file, in one process and in several: who serves an actor, how one changes
 * hands, what a host leaves behind when it leaves and when it is killed, what keeps it from
 * joining, and what a row that somebody has forged can do. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE                 /* unshare, syscall */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64        /* as the library: its statfs is the one below */
#endif
#include "support/t.h"

#include "support/hosts.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#endif

/* -- a file system of any kind ----------------------------------------------------------------- */

#if defined(__linux__)
static char          fake_directory[600];   /* below here statfs tells fake_type */
static unsigned long fake_type;
static atomic_int    fake_asked;

/* In place of libc's. */
int statfs(const char *path, struct statfs *out)
{
    if (syscall(SYS_statfs, path, out) != 0)
        return -1;
    if (fake_directory[0] != '\0' &&
        strncmp(path, fake_directory, strlen(fake_directory)) == 0) {
        out->f_type = (__typeof__(out->f_type))fake_type;
        atomic_fetch_add(&fake_asked, 1);
    }
    return 0;
}
#endif

/* -- what all tests use ------------------------------------------------------------------------ */

static const francis_method methods[] = {
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};

#define COUNTER(name) .type = name, .methods = methods, .state_size = sizeof(counter_state)

static const francis_actor_desc types[] = {
    { COUNTER("counter") },
    { COUNTER("brief"), .idle_timeout_ms = 30 },
    { COUNTER("few"), .concurrency_max = 2 },
    { .type = NULL }
};
static const francis_actor_desc other_types[] = { { COUNTER("other") }, { .type = NULL } };

static hosts_near near[4];
static t_log      spare;            /* of hosts that do not even open */
static int        workers;          /* of the hosts of the test that runs */

static int mode_inline = FRANCIS_NO_WORKERS;
static int mode_workers = 2;

static int setup(void **state)
{
    workers = **(int **)state;
    (void)alarm(t_slow() ? 250 : 100);  /* a test that hangs ends here */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)alarm(0);
    hosts_far_clear();
    (void)memset(hosts_all, 0, sizeof hosts_all);
#if defined(__linux__)
    fake_directory[0] = '\0';
#endif
    return 0;
}

#define INLINE(f)  { #f " (no workers)", f, setup, teardown, &mode_inline }
#define WORKERS(f) { #f " (2 workers)", f, setup, teardown, &mode_workers }
#define BOTH(f)    INLINE(f), WORKERS(f)

static francis_host_desc desc_of(const char *path)
{
    return hosts_desc(path, workers);
}

/* A copy of a path that stays. */
static const char *database(char buffer[512])
{
    (void)snprintf(buffer, 512, "%s", t_database());
    return buffer;
}

static void says(const char *text, const char *word)
{
    if (strstr(text, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, word);
}

static int64_t rows_of(sqlite3 *db, const char *host_id)
{
    return raw_int(db,
                   "SELECT (SELECT count(*) FROM francis_hosts WHERE host_id = ?1)"
                   " + (SELECT count(*) FROM francis_ext_hosts WHERE host_id = ?1)"
                   " + (SELECT count(*) FROM francis_host_actor_types WHERE host_id = ?1)"
                   " + (SELECT count(*) FROM francis_active_actors WHERE host_id = ?1)",
                   host_id, NULL);
}

static int64_t rows_at_all(sqlite3 *db)
{
    return raw_int(db,
                   "SELECT (SELECT count(*) FROM francis_hosts)"
                   " + (SELECT count(*) FROM francis_ext_hosts)"
                   " + (SELECT count(*) FROM francis_host_actor_types)"
                   " + (SELECT count(*) FROM francis_active_actors)",
                   NULL, NULL);
}

static int64_t stored(sqlite3 *db, const char *type, const char *id)
{
    counter_state c;
    (void)raw_state(db, type, id, &c, sizeof c);
    assert_true(counter_whole(&c));
    return c.n;
}

static bool there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The database is all that is left: no lock, no queue, no log. */
static void nothing_beside(const char *path)
{
    char name[256] = "";
    int  n = hosts_files(path, "-", name);
    if (n != 0)
        fail_msg("%d files are left beside the database, %s is one", n, name);
}

/* The call has met an actor that lives elsewhere. */
static void moved_text(francis_result r, const char *error, const char *actor, const char *host_id,
                       const char *address)
{
    char text[200];
    t_result(r, FRANCIS_ERR_MOVED);
    if (address != NULL)
        (void)snprintf(text, sizeof text, "%s lives on host %s at %s", actor, host_id, address);
    else
        (void)snprintf(text, sizeof text, "%s lives on host %s, which has no address", actor,
                       host_id);
    says(error, text);
}

/* -- who serves an actor ----------------------------------------------------------------------- */

static int listed(hosts_near *n, francis_list_kind what, const char *type, const char *id,
                  const char *host, const char *name)
{
    francis_list   list = { .what = what, .type = type, .id = id };
    francis_result r;
    int            count = 0;
    while ((r = francis_list_next(n->ctx, &list)) == FRANCIS_OK)
        count += (host == NULL || strcmp(list.item.host, host) == 0)
              && (name == NULL || strcmp(list.item.name, name) == 0);
    t_result(r, FRANCIS_DONE);
    francis_list_free(&list);
    return count;
}

/* Three hosts in this process: each actor is served by the one that claimed it, the others say
 * where it lives. Would catch: two activations of one actor; hosts of one process that share what
 * they must not share (a lock that counts per process is one); a text that names the wrong host; a
 * host that takes rows or files of the others along when it leaves, or leaves its own. */
static void test_one_process(void **state)
{
    static const char *const addresses[] = { "127.0.0.1:7001", "[::1]:65535", NULL };
    enum { ACTORS = 12 };
    char          path[512];
    counter_model models[ACTORS];
    sqlite3      *db;
    (void)state;
    database(path);
    for (int i = 0; i < 3; i++) {
        francis_host_desc desc = desc_of(path);
        desc.address = addresses[i];
        hosts_near_open(&near[i], &desc, types);
    }
    db = raw_open(path);
    for (int i = 0; i < 3; i++) {
        char address[60];
        (void)snprintf(address, sizeof address, "-%s", near[i].id);
        assert_int_equal(raw_int(db,
                                 "SELECT count(*) FROM francis_hosts h JOIN francis_ext_hosts e"
                                 " ON e.host_id = h.host_id WHERE h.host_id = ?1"
                                 " AND h.host_address = ?2 AND e.evicted = 0 AND e.lease_ms = 5000"
                                 " AND e.challenge = e.answer",
                                 near[i].id, addresses[i] != NULL ? addresses[i] : address),
                         1);
        assert_int_equal(raw_int(db, "SELECT process FROM francis_ext_hosts WHERE host_id = ?1",
                                 near[i].id, NULL),
                         getpid());
        assert_true(there(hosts_lock(path, near[i].id)));
        assert_int_equal(listed(&near[0], FRANCIS_LIST_HOSTS, NULL, NULL, near[i].id,
                                addresses[i]), 1);
        assert_int_equal(listed(&near[1], FRANCIS_LIST_TYPES, NULL, NULL, near[i].id, NULL), 3);
    }
    assert_int_equal(raw_int(db, "SELECT value FROM francis_metadata WHERE key = 'ext-version'",
                             NULL, NULL), 3);
    for (unsigned a = 0; a < ACTORS; a++) {
        model_init(&models[a], "a", a);
        t_ok(hosts_add(&near[a % 3], "counter", &models[a]));
    }
    for (int round = 0; round < 3; round++) {
        for (unsigned a = 0; a < ACTORS; a++) {
            char actor[48];
            (void)snprintf(actor, sizeof actor, "counter/%.32s", models[a].id);
            for (unsigned h = 0; h < 3; h++) {
                francis_call   call = { 0 };
                francis_result r = hosts_add(&near[h], "counter", &models[a]);
                if (h == a % 3) {
                    t_ok(r);
                    continue;
                }
                moved_text(r, near[h].error, actor, near[a % 3].id, addresses[a % 3]);
                r = francis_peek(near[h].ctx, "counter", models[a].id, "get", NULL, 0, &call);
                moved_text(r, call.error, actor, near[a % 3].id, addresses[a % 3]);
                assert_false(call.from_handler);
                francis_call_free(&call);
                (void)francis_send(near[h].ctx, "counter", models[a].id, "increment", NULL, 0);
            }
        }
    }
    for (unsigned a = 0; a < ACTORS; a++) {
        t_ok(hosts_add(&near[a % 3], "counter", &models[a]));
        assert_int_equal(models[a].lo, 5);      /* nothing that was sent elsewhere has come */
        assert_int_equal(listed(&near[(a + 1) % 3], FRANCIS_LIST_ACTIVE, "counter", models[a].id,
                                near[a % 3].id, NULL), 1);
    }
    for (int i = 0; i < 3; i++) {
        francis_stats stats = hosts_stats(&near[i]);
        assert_int_equal(stats.evictions, 0);
        assert_int_equal(stats.lives, 1);
        assert_int_equal(stats.active, ACTORS / 3);
    }
    for (int i = 0; i < 3; i++) {
        char id[40];
        (void)snprintf(id, sizeof id, "%s", near[i].id);
        hosts_near_close(&near[i]);
        assert_int_equal(rows_of(db, id), 0);
        assert_false(there(hosts_lock(path, id)));
        if (i == 2)
            break;
        assert_int_equal(hosts_files(path, "-next", NULL) + hosts_files(path, "-writer", NULL), 2);
        for (unsigned a = 0; a < ACTORS; a++)   /* those of the one that has left go to the next */
            if (a % 3 <= (unsigned)i)
                t_ok(hosts_add(&near[i + 1], "counter", &models[a]));
            else if (a % 3 == 2 && i == 0)
                t_result(hosts_add(&near[1], "counter", &models[a]), FRANCIS_ERR_MOVED);
        assert_int_equal(t_logged(near[i + 1].log, 105), 0);
    }
    assert_int_equal(rows_at_all(db), 0);
    for (unsigned a = 0; a < ACTORS; a++)
        model_stored(&models[a], db, "counter");
    raw_check(db);
    (void)sqlite3_close(db);
    nothing_beside(path);
}

/* Three processes ask for the same actors at the same moment. Would catch: a claim that is two
 * steps, so that two hosts win; a MOVED that names one that has not got it. */
static void test_race_for_actors(void **state)
{
    enum { HOSTS = 3 };
    int       actors = t_slow() ? 15 : 60;
    char      path[512];
    hosts_far far[HOSTS];
    sqlite3  *db;
    int       won[HOSTS] = { 0 };
    (void)state;
    database(path);
    (void)memset(far, 0, sizeof far);
    for (int h = 0; h < HOSTS; h++) {
        far[h].types = types;
        far[h].desc = hosts_desc(path, h == 0 ? FRANCIS_NO_WORKERS : workers);
        hosts_far_start(&far[h]);
    }
    for (int h = 0; h < HOSTS; h++)
        hosts_tell(&far[h], HOSTS_OPEN, NULL, NULL, 0);
    for (int h = 0; h < HOSTS; h++) {
        assert_true(hosts_hear(&far[h]));
        t_ok(far[h].report.result);
    }
    for (int a = 0; a < actors; a++) {
        char id[16];
        int  winner = -1;
        (void)snprintf(id, sizeof id, "r%d", a);
        for (int round = 0; round < 2; round++) {
            for (int h = 0; h < HOSTS; h++)
                hosts_tell(&far[(h + a) % HOSTS], HOSTS_ADD, "counter", id, 0);
            for (int h = 0; h < HOSTS; h++) {
                assert_true(hosts_hear(&far[h]));
                if (far[h].report.result != FRANCIS_OK) {
                    t_result(far[h].report.result, FRANCIS_ERR_MOVED);
                    continue;
                }
                if (round == 1)
                    assert_int_equal(winner, h);
                else if (winner >= 0)
                    fail_msg("hosts %d and %d have both got %s", winner, h, id);
                winner = h;
                assert_int_equal(far[h].report.value, round + 1);
            }
            assert_in_range(winner, 0, HOSTS - 1);
            for (int h = 0; h < HOSTS; h++)
                if (h != winner)
                    says(far[h].report.error, far[winner].report.host_id);
        }
        won[winner]++;
    }
    print_message("won: %d, %d, %d\n", won[0], won[1], won[2]);
    for (int h = 0; h < HOSTS; h++) {
        t_ok(hosts_order(&far[h], HOSTS_LOOK, NULL, NULL));
        assert_int_equal(far[h].report.evictions, 0);
        assert_int_equal(far[h].report.lives, 1);
        hosts_far_end(&far[h]);
    }
    nothing_beside(path);
    db = raw_open(path);
    assert_int_equal(rows_at_all(db), 0);
    for (int a = 0; a < actors; a++) {
        char id[16];
        (void)snprintf(id, sizeof id, "r%d", a);
        assert_int_equal(stored(db, "counter", id), 2);
    }
    raw_check(db);
    (void)sqlite3_close(db);
}

/* Four actors that wander between three processes under load. Would catch: an increment that was
 * acknowledged and is lost, because its host read the state before the last owner wrote it, or
 * wrote after it had let go. */
static void test_wandering_actors(void **state)
{
    enum { HOSTS = 3 };
    char      path[512];
    hosts_far far[HOSTS];
    int64_t   sums[4] = { 0 };
    sqlite3  *db;
    (void)state;
    database(path);
    (void)memset(far, 0, sizeof far);
    for (int h = 0; h < HOSTS; h++) {
        far[h].types = types;
        far[h].desc = hosts_desc(path, workers);
        hosts_far_start(&far[h]);
    }
    for (int h = 0; h < HOSTS; h++)
        t_ok(hosts_order(&far[h], HOSTS_OPEN, NULL, NULL));
    for (int h = 0; h < HOSTS; h++)
        hosts_tell(&far[h], HOSTS_LOAD, "counter", "w", t_slow() ? 150 : 600);
    for (int h = 0; h < HOSTS; h++) {
        assert_true(hosts_hear(&far[h]));
        if (far[h].report.result != FRANCIS_OK)
            fail_msg("%s: %s", francis_result_name(far[h].report.result), far[h].report.error);
        for (int a = 0; a < 4; a++)
            sums[a] += far[h].report.done[a];
        assert_int_equal(far[h].report.evictions, 0);
        assert_int_equal(far[h].report.logged[207], 0);
        hosts_far_end(&far[h]);
    }
    db = raw_open(path);
    for (int a = 0; a < 4; a++) {
        char id[16];
        (void)snprintf(id, sizeof id, "w%d", a);
        assert_int_equal(stored(db, "counter", id), sums[a]);
    }
    (void)sqlite3_close(db);
}

/* -- changing hands ---------------------------------------------------------------------------- */

/* Would catch: a halt that is answered before others may have the actor; a claim that brings an old
 * state; an idle actor whose row stays. */
static void test_released(void **state)
{
    char              path[512];
    francis_host_desc desc;
    hosts_far         far = { .types = types };
    counter_model     halted, idle, remote;
    (void)state;
    database(path);
    desc = desc_of(path);
    far.desc = desc;
    hosts_far_start(&far);
    hosts_near_open(&near[0], &desc, types);
    hosts_near_open(&near[1], &desc, types);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    model_init(&halted, "halted", 0);
    for (int i = 0; i < 10; i++) {          /* at once, there and back */
        t_ok(hosts_add(&near[i % 2], "counter", &halted));
        t_result(hosts_add(&near[1 - i % 2], "counter", &halted), FRANCIS_ERR_MOVED);
        t_result(francis_halt(near[1 - i % 2].ctx, "counter", halted.id, NULL),
                 FRANCIS_ERR_NOT_ACTIVE);   /* it is not for others to stop it */
        t_ok(hosts_add(&near[i % 2], "counter", &halted));
        t_ok(francis_halt(near[i % 2].ctx, "counter", halted.id, NULL));
    }
    assert_int_equal(halted.lo, 20);
    model_init(&remote, "remote", 0);
    for (int i = 0; i < 5; i++) {           /* between processes */
        t_ok(hosts_order_add(&far, "counter", &remote));
        t_result(hosts_add(&near[0], "counter", &remote), FRANCIS_ERR_MOVED);
        t_ok(hosts_order(&far, HOSTS_HALT, "counter", remote.id));
        t_ok(hosts_add(&near[0], "counter", &remote));
        t_result(hosts_order_add(&far, "counter", &remote), FRANCIS_ERR_MOVED);
        says(far.report.error, near[0].id);
        t_ok(francis_halt(near[0].ctx, "counter", remote.id, NULL));
    }
    assert_int_equal(remote.lo, 10);
    model_init(&idle, "idle", 0);
    for (int i = 0; i < 4; i++) {           /* when it has been idle for 30 ms */
        t_ok(hosts_add(&near[i % 2], "brief", &idle));
        hosts_until(hosts_add(&near[1 - i % 2], "brief", &idle) == FRANCIS_OK);
        hosts_until(hosts_stats(&near[1 - i % 2]).active == 0);
    }
    assert_int_equal(idle.lo, 8);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hosts_stats(&near[i]).evictions, 0);
        hosts_near_close(&near[i]);
    }
    hosts_far_end(&far);
    nothing_beside(path);
}

/* A host leaves with more actors than are deleted in one batch. Would catch: rows that stay for
 * somebody to sweep, a successor that takes the host for a dead one. */
static void test_leave_with_many(void **state)
{
    int               many = t_slow() ? 1100 : 2500;
    char              path[512], id[40];
    francis_host_desc desc;
    hosts_far         far = { .types = types };
    counter_model     m;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    far.desc = desc;
    hosts_far_start(&far);
    hosts_near_open(&near[0], &desc, types);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    (void)snprintf(id, sizeof id, "%s", far.report.host_id);
    t_ok(hosts_order_many(&far, HOSTS_ADD_MANY, "counter", "m", many));
    db = raw_open(path);
    assert_int_equal(rows_of(db, id), many + 2 + 3);
    t_ok(hosts_order(&far, HOSTS_CLOSE, NULL, NULL));
    assert_int_equal(rows_of(db, id), 0);
    assert_false(there(hosts_lock(path, id)));
    model_init(&m, "m", 0);
    m.lo = m.hi = 1;
    t_ok(hosts_add(&near[0], "counter", &m));
    assert_int_equal(hosts_stats(&near[0]).evictions, 0);
    assert_int_equal(t_logged(near[0].log, 105), 0);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));    /* and comes back, as another one */
    assert_string_not_equal(far.report.host_id, id);
    hosts_far_end(&far);
    hosts_near_close(&near[0]);
    (void)sqlite3_close(db);
    nothing_beside(path);
}

/* -- killed ------------------------------------------------------------------------------------ */

/* A process that is killed while it works. Would catch: a failover that waits for a deadline, a
 * state that was acknowledged and is not there, or more than that; rows, placements and files of
 * the dead that stay; an eviction that is counted twice. */
static void test_killed(void **state)
{
    enum { ROUNDS = 4 };
    int               many = t_slow() ? 1100 : 2500;
    char              path[512];
    francis_host_desc desc;
    hosts_far         far[ROUNDS];
    counter_model     m;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    (void)memset(far, 0, sizeof far);
    for (int i = 0; i < ROUNDS; i++) {
        far[i].desc = desc;
        far[i].types = types;
        hosts_far_start(&far[i]);
    }
    hosts_near_open(&near[0], &desc, types);
    hosts_near_open(&near[1], &desc, types);
    db = raw_open(path);
    model_init(&m, "m", 1);         /* in turn one of ADD_MANY's, and the one that runs */
    for (int i = 0; i < ROUNDS; i++) {
        char    id[40];
        int64_t begin;
        int     reports = 5 + i * 7;
        t_ok(hosts_order(&far[i], HOSTS_OPEN, NULL, NULL));
        (void)snprintf(id, sizeof id, "%s", far[i].report.host_id);
        if (i == 0) {
            t_ok(hosts_order_many(&far[i], HOSTS_ADD_MANY, "counter", "m", many));
            m.lo = m.hi = 1;
        }
        hosts_tell(&far[i], HOSTS_RUN, "counter", m.id, 0);
        while (reports-- > 0) {
            assert_true(hosts_hear(&far[i]));
            model_answer(&m, far[i].report.result, &far[i].report.value, sizeof m.lo);
        }
        (void)kill(far[i].pid, SIGKILL);
        while (hosts_hear(&far[i]))
            model_answer(&m, far[i].report.result, &far[i].report.value, sizeof m.lo);
        hosts_far_kill(&far[i]);
        m.hi++;                     /* one more may have been under way */
        begin = t_ms();
        t_ok(hosts_add(&near[0], "counter", &m));
        print_message("taken over after %d ms\n", (int)(t_ms() - begin));
        assert_true(t_ms() - begin < (t_slow() ? 10000 : 2000));
        assert_int_equal(hosts_stats(&near[0]).evictions, i + 1);
        assert_false(there(hosts_lock(path, id)));
        if (workers == FRANCIS_NO_WORKERS) {    /* not swept yet: nobody has polled */
            char address[60];
            (void)snprintf(address, sizeof address, "evicted %s", id);
            assert_int_equal(raw_int(db,
                                     "SELECT count(*) FROM francis_hosts h JOIN francis_ext_hosts e"
                                     " ON e.host_id = h.host_id WHERE h.host_id = ?1"
                                     " AND e.evicted = 1 AND h.host_address = ?2", id, address),
                             1);
        }
        hosts_until(t_logged(near[0].log, 105) == (unsigned)i + 1);
        says(hosts_said(&near[0], 105), id);
        assert_int_equal(listed(&near[1], FRANCIS_LIST_HOSTS, NULL, NULL, id, NULL), 0);
        assert_int_equal(listed(&near[1], FRANCIS_LIST_ACTIVE, NULL, NULL, id, NULL), 0);
        assert_int_equal(listed(&near[1], FRANCIS_LIST_TYPES, NULL, NULL, id, NULL), 0);
        if (i == 0) {               /* his other actors go to whoever wants them */
            counter_model other;
            model_init(&other, "m", 7);
            other.lo = other.hi = 1;
            t_ok(hosts_add(&near[1], "counter", &other));
            t_result(hosts_add(&near[0], "counter", &other), FRANCIS_ERR_MOVED);
        }
        hosts_until(rows_of(db, id) == 0);
        assert_int_equal(hosts_stats(&near[1]).evictions, 0);
        t_ok(hosts_add(&near[0], "counter", &m));
        t_ok(francis_halt(near[0].ctx, "counter", m.id, NULL));
    }
    assert_int_equal(hosts_stats(&near[0]).evictions, ROUNDS);
    hosts_near_close(&near[0]);
    hosts_near_close(&near[1]);
    model_stored(&m, db, "counter");
    assert_int_equal(rows_at_all(db), 0);
    raw_check(db);
    (void)sqlite3_close(db);
    nothing_beside(path);
}

/* Would catch: a host that was seen alive a moment before its end and is then believed in for long;
 * one that joins and does not clear away the dead. */
static void test_killed_and_noticed(void **state)
{
    char              path[512], id[40];
    francis_host_desc desc;
    hosts_far         far[2];
    counter_model     m;
    int64_t           begin;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    (void)memset(far, 0, sizeof far);
    for (int i = 0; i < 2; i++) {
        far[i].desc = desc;
        far[i].types = types;
        hosts_far_start(&far[i]);
    }
    hosts_near_open(&near[0], &desc, types);
    t_ok(hosts_order(&far[0], HOSTS_OPEN, NULL, NULL));
    model_init(&m, "m", 0);
    t_ok(hosts_order_add(&far[0], "counter", &m));
    t_result(hosts_add(&near[0], "counter", &m), FRANCIS_ERR_MOVED);
    hosts_far_kill(&far[0]);
    begin = t_ms();
    hosts_until(hosts_add(&near[0], "counter", &m) == FRANCIS_OK);
    assert_true(t_ms() - begin < (t_slow() ? 10000 : 2000));
    assert_int_equal(m.lo, 2);

    t_ok(hosts_order(&far[1], HOSTS_OPEN, NULL, NULL));
    (void)snprintf(id, sizeof id, "%s", far[1].report.host_id);
    t_ok(hosts_order_many(&far[1], HOSTS_ADD_MANY, "counter", "x", 5));
    hosts_far_kill(&far[1]);
    hosts_near_open(&near[1], &desc, types);    /* nobody has asked for his actors */
    assert_int_equal(hosts_stats(&near[1]).evictions, 1);
    hosts_until(t_logged(near[1].log, 105) == 1);
    says(hosts_said(&near[1], 105), id);
    assert_false(there(hosts_lock(path, id)));
    db = raw_open(path);
    hosts_until(rows_of(db, id) == 0);
    (void)sqlite3_close(db);
    assert_int_equal(hosts_stats(&near[0]).evictions, 1);
    hosts_near_close(&near[1]);
    hosts_near_close(&near[0]);
    nothing_beside(path);
}

/* A child of the host's process outlives it, with all its descriptors. Would catch: a proof of life
 * that is inherited, so that the dead looks alive for as long as his child does. */
static void test_killed_child_lives(void **state)
{
    char              path[512];
    francis_host_desc desc;
    hosts_far         far = { .types = types };
    counter_model     m;
    pid_t             child;
    int64_t           begin;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    desc.address = "localhost:7001";
    far.desc = desc;
    hosts_far_start(&far);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    model_init(&m, "m", 0);
    t_ok(hosts_order_add(&far, "counter", &m));
    (void)hosts_order(&far, HOSTS_FORK, NULL, NULL);
    child = (pid_t)far.report.value;
    assert_true(child > 0);
    t_ok(hosts_order_add(&far, "counter", &m));
    hosts_far_kill(&far);
    begin = t_ms();
    hosts_near_open(&near[0], &desc, types);    /* under the same address */
    t_ok(hosts_add(&near[0], "counter", &m));
    assert_true(t_ms() - begin < (t_slow() ? 10000 : 2000));
    assert_int_equal(hosts_stats(&near[0]).evictions, 1);
    assert_int_equal(kill(child, 0), 0);        /* it does live */
    (void)kill(child, SIGKILL);
    t_ok(hosts_add(&near[0], "counter", &m));
    db = raw_open(path);
    hosts_until(rows_of(db, far.report.host_id) == 0);
    (void)sqlite3_close(db);
    hosts_near_close(&near[0]);
    nothing_beside(path);
}

/* The last host leaves before it has swept what a dead one has left. Would catch: a dead host that
 * keeps the files of the queue; rows of it that nobody ever sweeps. */
static void test_leave_before_sweep(void **state)
{
    char              path[512];
    francis_host_desc desc;
    hosts_far         far = { .types = types };
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    far.desc = desc;
    hosts_far_start(&far);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    t_ok(hosts_order_many(&far, HOSTS_ADD_MANY, "counter", "m", 20));
    hosts_far_kill(&far);
    hosts_near_open(&near[0], &desc, types);
    hosts_near_close(&near[0]);
    nothing_beside(path);
    desc.sweep_interval_ms = 50;
    hosts_near_open(&near[0], &desc, types);
    db = raw_open(path);
    hosts_until(rows_of(db, far.report.host_id) == 0);
    assert_int_equal(hosts_stats(&near[0]).evictions, 0);   /* it was evicted before */
    hosts_near_close(&near[0]);
    assert_int_equal(rows_at_all(db), 0);
    (void)sqlite3_close(db);
}

/* A process that is stopped for good, evicted, and killed then. Would catch: a lock file that
 * stays, because nobody looks for a host that has no row. */
static void test_stopped_then_killed(void **state)
{
    char              path[512], id[40];
    francis_host_desc desc;
    hosts_far         far = { .types = types };
    counter_model     m;
    sqlite3          *db;
    int               status;
    (void)state;
    database(path);
    desc = desc_of(path);
    desc.health_deadline_ms = t_slow() ? 3000 : 600;
    far.desc = desc;
    hosts_far_start(&far);
    hosts_near_open(&near[0], &desc, types);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    (void)snprintf(id, sizeof id, "%s", far.report.host_id);
    model_init(&m, "m", 0);
    t_ok(hosts_order_add(&far, "counter", &m));
    assert_int_equal(kill(far.pid, SIGSTOP), 0);
    assert_int_equal(waitpid(far.pid, &status, WUNTRACED), far.pid);
    hosts_until(hosts_add(&near[0], "counter", &m) == FRANCIS_OK);
    assert_int_equal(m.lo, 2);
    assert_int_equal(hosts_stats(&near[0]).evictions, 1);
    hosts_far_kill(&far);
    db = raw_open(path);
    hosts_until(rows_of(db, id) == 0);
    (void)sqlite3_close(db);
    assert_false(there(hosts_lock(path, id)));
    hosts_near_close(&near[0]);
    nothing_beside(path);
}

/* -- addresses --------------------------------------------------------------------------------- */

static void refused_beside(const francis_host_desc *desc, const char *address, const char *id)
{
    hosts_near *n = &near[3];
    t_result(hosts_near_try(n, desc, types), FRANCIS_ERR_EXISTS);
    says(n->error, address);
    says(n->error, id);
    hosts_near_close(n);
}

/* Would catch: two hosts under one address, in one process or in two; a refused one that takes the
 * lock, the rows or the queue of the first one along; a stopped process that is taken for a dead
 * one; a dead one that keeps its address. */
static void test_same_address(void **state)
{
    char              path[512], id[40];
    francis_host_desc desc;
    hosts_far         far[2];
    counter_model     m;
    sqlite3          *db;
    int               status;
    (void)state;
    database(path);
    desc = desc_of(path);
    desc.address = "node-1.example:7001";
    (void)memset(far, 0, sizeof far);
    for (int i = 0; i < 2; i++) {
        far[i].desc = desc;
        far[i].types = types;
        hosts_far_start(&far[i]);
    }
    hosts_near_open(&near[0], &desc, types);
    model_init(&m, "m", 0);
    t_ok(hosts_add(&near[0], "counter", &m));
    for (int i = 0; i < 3; i++) {
        refused_beside(&desc, desc.address, near[0].id);
        t_result(hosts_order(&far[0], HOSTS_OPEN, NULL, NULL), FRANCIS_ERR_EXISTS);
        says(far[0].report.error, desc.address);
        says(far[0].report.error, near[0].id);
        t_ok(hosts_add(&near[0], "counter", &m));
    }
    assert_int_equal(hosts_stats(&near[0]).lives, 1);
    desc.address = "node-1.example:7002";       /* another port is another address */
    hosts_near_open(&near[1], &desc, types);
    t_result(hosts_add(&near[1], "counter", &m), FRANCIS_ERR_MOVED);
    says(near[1].error, "at node-1.example:7001");
    hosts_near_close(&near[1]);
    hosts_near_close(&near[0]);                 /* has left: it is free */
    desc.address = "node-1.example:7001";
    t_ok(hosts_order(&far[0], HOSTS_OPEN, NULL, NULL));
    (void)snprintf(id, sizeof id, "%s", far[0].report.host_id);
    t_ok(hosts_order_add(&far[0], "counter", &m));
    assert_int_equal(kill(far[0].pid, SIGSTOP), 0);
    assert_int_equal(waitpid(far[0].pid, &status, WUNTRACED), far[0].pid);
    refused_beside(&desc, desc.address, id);
    assert_int_equal(kill(far[0].pid, SIGCONT), 0);
    t_ok(hosts_order_add(&far[0], "counter", &m));
    refused_beside(&desc, desc.address, id);
    hosts_far_kill(&far[0]);
    t_ok(hosts_order(&far[1], HOSTS_OPEN, NULL, NULL));     /* at once */
    assert_string_not_equal(far[1].report.host_id, id);
    assert_int_equal(far[1].report.evictions, 1);
    assert_int_equal(far[1].report.logged[105], 1);
    t_ok(hosts_order_add(&far[1], "counter", &m));
    refused_beside(&desc, desc.address, far[1].report.host_id);
    db = raw_open(path);
    t_until(rows_of(db, id) == 0);
    (void)sqlite3_close(db);
    hosts_far_end(&far[1]);
    nothing_beside(path);
}

/* In memory there are no others: an address is free there. Would catch: a look beside a database
 * that is no file. */
static void test_address_in_memory(void **state)
{
    francis_host_desc desc = desc_of(":memory:");
    counter_model     m[2];
    (void)state;
    desc.address = "localhost:7001";
    desc.hosts_max = 1;
    for (int i = 0; i < 2; i++) {
        hosts_near_open(&near[i], &desc, types);
        model_init(&m[i], "m", 0);
    }
    for (int i = 0; i < 6; i++)
        t_ok(hosts_add(&near[i % 2], "counter", &m[i % 2]));
    hosts_near_close(&near[0]);
    hosts_near_close(&near[1]);
    assert_false(there(":memory:-next"));
}

/* -- rows that somebody has forged, files that somebody has deleted ---------------------------- */

static void place(sqlite3 *db, const char *id, const char *host_id)
{
    char sql[300];
    (void)snprintf(sql, sizeof sql,
                   "INSERT OR REPLACE INTO francis_active_actors (actor_type, actor_id, host_id,"
                   " actor_idle_timeout, actor_activation) VALUES ('counter', '%s', '%s', 0, 1)",
                   id, host_id);
    raw_exec(db, sql);
}

/* A turn that writes is refused, its state unchanged; the next call says what holds from now on. */
static void refused_turn(hosts_near *n, counter_model *m, sqlite3 *db)
{
    int64_t  before = stored(db, "counter", m->id);
    unsigned logged = t_logged(n->log, 207);
    t_result(hosts_add(n, "counter", m), FRANCIS_ERR_EVICTED);
    says(n->error, m->id);
    hosts_until(t_logged(n->log, 207) == logged + 1);
    assert_int_equal(stored(db, "counter", m->id), before);
}

/* The placement of an active actor is changed under its host. Would catch: a turn that is written
 * although the actor is another's, which is a lost update; an activation that goes on from its old
 * state; a row of a host that is gone which keeps the actor from everybody. */
static void test_forged_placement(void **state)
{
    char              path[512], dead[40];
    francis_host_desc desc;
    hosts_far         far = { .types = types };
    counter_model     m[6], witness;
    uint64_t          evictions;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    far.desc = desc;
    hosts_far_start(&far);
    hosts_near_open(&near[0], &desc, types);
    hosts_near_open(&near[1], &desc, types);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    (void)snprintf(dead, sizeof dead, "%s", far.report.host_id);
    db = raw_open(path);
    for (unsigned i = 0; i < 6; i++) {
        model_init(&m[i], "f", i);
        t_ok(hosts_add(&near[0], "counter", &m[i]));
    }
    model_init(&witness, "witness", 0);

    place(db, m[0].id, near[1].id);             /* another host, which lives */
    refused_turn(&near[0], &m[0], db);
    t_result(hosts_add(&near[0], "counter", &m[0]), FRANCIS_ERR_MOVED);
    says(near[0].error, near[1].id);
    t_ok(hosts_add(&near[1], "counter", &m[0]));
    t_result(hosts_add(&near[0], "counter", &m[0]), FRANCIS_ERR_MOVED);
    t_ok(hosts_add(&near[1], "counter", &m[0]));
    assert_int_equal(m[0].lo, 3);

    place(db, m[1].id, "ghost");                /* one that never was */
    refused_turn(&near[0], &m[1], db);
    t_ok(hosts_add(&near[0], "counter", &m[1]));
    assert_int_equal(raw_int(db, "SELECT host_id = ?2 FROM francis_active_actors"
                                 " WHERE actor_id = ?1", m[1].id, near[0].id), 1);
    place(db, m[1].id, "ghost");                /* another host is faster this time */
    t_ok(hosts_add(&near[1], "counter", &m[1]));
    refused_turn(&near[0], &m[1], db);
    t_result(hosts_add(&near[0], "counter", &m[1]), FRANCIS_ERR_MOVED);
    t_ok(hosts_add(&near[1], "counter", &m[1]));
    assert_int_equal(m[1].lo, 4);

    raw_exec(db, "INSERT INTO francis_hosts (host_id, host_address, host_last_health_check)"
                 " VALUES ('gone', 'evicted gone', 1); INSERT INTO francis_ext_hosts (host_id,"
                 " evicted, started, process, settled, challenge, answer, lease_ms)"
                 " VALUES ('gone', 1, 1, 1, 0, 0, 0, 5000)");
    place(db, m[2].id, "gone");                 /* one that is evicted */
    refused_turn(&near[0], &m[2], db);
    evictions = hosts_stats(&near[0]).evictions;
    t_ok(hosts_add(&near[0], "counter", &m[2]));
    assert_int_equal(hosts_stats(&near[0]).evictions, evictions);
    assert_int_equal(m[2].lo, 2);

    raw_exec(db, "DELETE FROM francis_active_actors WHERE actor_id = 'f3'");
    refused_turn(&near[0], &m[3], db);          /* no row says that it still has the actor */
    t_ok(hosts_add(&near[1], "counter", &m[3]));
    t_result(hosts_add(&near[0], "counter", &m[3]), FRANCIS_ERR_MOVED);
    t_ok(hosts_add(&near[1], "counter", &m[3]));
    assert_int_equal(m[3].lo, 3);

    raw_exec(db, "DELETE FROM francis_active_actors WHERE actor_id = 'f4'");
    t_ok(francis_halt(near[0].ctx, "counter", m[4].id, NULL));  /* nothing to delete */
    t_ok(hosts_add(&near[1], "counter", &m[4]));
    place(db, m[4].id, near[0].id);             /* who has it meanwhile, and lets go of it */
    t_ok(hosts_add(&near[0], "counter", &m[4]));
    t_ok(francis_halt(near[0].ctx, "counter", m[4].id, NULL));
    hosts_until(raw_int(db, "SELECT count(*) FROM francis_active_actors WHERE actor_id = ?1",
                        m[4].id, NULL) == 0);
    refused_turn(&near[1], &m[4], db);
    t_ok(hosts_add(&near[1], "counter", &m[4]));
    assert_int_equal(m[4].lo, 4);

    t_ok(hosts_order_add(&far, "counter", &witness));
    hosts_far_kill(&far);
    place(db, m[5].id, dead);                   /* one that is dead, which nobody knows yet */
    refused_turn(&near[0], &m[5], db);
    evictions = hosts_stats(&near[0]).evictions;
    t_ok(hosts_add(&near[0], "counter", &m[5]));
    t_ok(hosts_add(&near[1], "counter", &witness));
    assert_int_equal(hosts_stats(&near[0]).evictions + hosts_stats(&near[1]).evictions,
                     evictions + 1);
    assert_int_equal(m[5].lo, 2);

    assert_int_equal(hosts_stats(&near[0]).lives, 1);
    assert_int_equal(hosts_stats(&near[1]).lives, 1);
    hosts_until(rows_of(db, dead) == 0 && rows_of(db, "gone") == 0);
    hosts_near_close(&near[0]);
    hosts_near_close(&near[1]);
    for (int i = 0; i < 6; i++)
        model_stored(&m[i], db, "counter");
    raw_exec(db, "DELETE FROM francis_active_actors WHERE host_id = 'ghost'");
    assert_int_equal(rows_at_all(db), 0);
    raw_check(db);
    (void)sqlite3_close(db);
    nothing_beside(path);
}

/* A host whose row is gone, or marked, by somebody's hand. Would catch: turns that are written
 * without a standing; calls that had not begun and are lost; a host that does not come back. */
static void test_forged_host(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        char              path[512], sql[300], id[40];
        francis_host_desc desc;
        counter_model     warm, cold;
        sqlite3          *db;
        database(path);
        desc = desc_of(path);
        desc.address = "localhost:7001";
        hosts_near_open(&near[0], &desc, types);
        db = raw_open(path);
        model_init(&warm, "warm", 0);
        model_init(&cold, "cold", 0);
        t_ok(hosts_add(&near[0], "counter", &warm));
        (void)snprintf(id, sizeof id, "%s", near[0].id);
        (void)snprintf(sql, sizeof sql,
                       variant == 0
                           ? "BEGIN; DELETE FROM francis_hosts WHERE host_id = '%s'; COMMIT"
                           : "BEGIN; UPDATE francis_ext_hosts SET evicted = 1 WHERE host_id ="
                             " '%s'; UPDATE francis_hosts SET host_address = 'evicted x'; COMMIT",
                       id);
        raw_exec(db, sql);
        t_result(hosts_add(&near[0], "counter", &warm), FRANCIS_ERR_EVICTED);
        t_ok(hosts_add(&near[0], "counter", &warm));
        t_ok(hosts_add(&near[0], "counter", &cold));
        assert_int_equal(warm.lo, 2);
        hosts_until(t_logged(near[0].log, 104) == 1);
        assert_int_equal(hosts_stats(&near[0]).lives, 2);
        assert_string_not_equal(hosts_stats(&near[0]).host_id, id);
        assert_int_equal(hosts_stats(&near[0]).evictions, 0);
        assert_false(there(hosts_lock(path, id)));
        assert_true(there(hosts_lock(path, hosts_stats(&near[0]).host_id)));

        hosts_near_close(&near[0]);
        model_stored(&warm, db, "counter");
        model_stored(&cold, db, "counter");
        (void)sqlite3_close(db);
    }
}

/* An evicted host finds out by the claim of an actor that was not there. Would catch: a call that
 * fails although nothing of it had begun. */
static void test_cold_call_of_evicted(void **state)
{
    static const char *const how[] = {
        "DELETE FROM francis_ext_hosts; DELETE FROM francis_hosts",
        "UPDATE francis_ext_hosts SET evicted = 1"
    };
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        char              path[512];
        francis_host_desc desc;
        counter_model     warm, cold;
        sqlite3          *db;
        database(path);
        desc = desc_of(path);
        hosts_near_open(&near[0], &desc, types);
        db = raw_open(path);
        model_init(&warm, "warm", 0);
        model_init(&cold, "cold", 0);
        t_ok(hosts_add(&near[0], "counter", &warm));
        raw_exec(db, "BEGIN");
        raw_exec(db, how[variant]);
        raw_exec(db, "COMMIT");
        t_ok(hosts_add(&near[0], "counter", &cold));
        t_ok(hosts_add(&near[0], "counter", &warm));
        assert_int_equal(warm.lo, 2);
        assert_int_equal(hosts_stats(&near[0]).lives, 2);
        hosts_until(t_logged(near[0].log, 104) == 1);
        hosts_near_close(&near[0]);
        model_stored(&warm, db, "counter");
        model_stored(&cold, db, "counter");
        (void)sqlite3_close(db);
    }
}

/* Somebody tidies up beside the database. Would catch: a host that goes on without its proof of
 * life, which is dead to all others; a lost update when they take its actors; a host that evicts
 * itself and counts that; queue files that keep writers apart that must meet. */
static void test_deleted_lock_file(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        char              path[512], beside[600], id[40];
        francis_host_desc desc;
        int64_t           forget;
        counter_model     m, other;
        sqlite3          *db;
        database(path);
        desc = desc_of(path);
        desc.health_deadline_ms = t_slow() ? 8000 : 2000;
        desc.address = "localhost:7001";
        hosts_near_open(&near[0], &desc, types);
        desc.address = NULL;
        hosts_near_open(&near[1], &desc, types);
        model_init(&m, "m", 0);
        model_init(&other, "o", 0);
        for (int i = 0; i < 3; i++)
            t_ok(hosts_add(&near[0], "counter", &m));
        t_ok(hosts_add(&near[1], "counter", &other));
        (void)snprintf(id, sizeof id, "%s", near[0].id);
        forget = t_ms() + 60;       /* what one host has seen of the other a moment ago */
        hosts_until(t_ms() > forget);
        assert_int_equal(unlink(hosts_lock(path, id)), 0);
        if (variant == 0) {         /* it notices by itself */
            int64_t begin = t_ms();
            hosts_until(hosts_stats(&near[0]).lives == 2);
            print_message("noticed after %d ms\n", (int)(t_ms() - begin));
            t_ok(hosts_add(&near[0], "counter", &m));
            assert_int_equal(m.lo, 4);
            assert_int_equal(hosts_stats(&near[0]).evictions, 0);
            assert_int_equal(hosts_stats(&near[1]).evictions, 0);
        } else {                    /* another one does */
            francis_result r;
            t_ok(hosts_add(&near[1], "counter", &m));
            assert_int_equal(m.lo, 4);
            r = hosts_add(&near[0], "counter", &m);
            if (r != FRANCIS_ERR_MOVED)     /* it may have found out by then */
                t_result(r, FRANCIS_ERR_EVICTED);
            hosts_until(hosts_stats(&near[0]).lives == 2);
            t_result(hosts_add(&near[0], "counter", &m), FRANCIS_ERR_MOVED);
            t_ok(hosts_add(&near[1], "counter", &m));
            assert_int_equal(m.lo, 5);
            assert_in_range(hosts_stats(&near[1]).evictions, 0, 1);
        }
        hosts_until(t_logged(near[0].log, 104) == 1);
        assert_string_not_equal(hosts_stats(&near[0]).host_id, id);
        assert_true(there(hosts_lock(path, hosts_stats(&near[0]).host_id)));
        assert_false(there(hosts_lock(path, id)));
        db = raw_open(path);
        assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts WHERE host_address = ?1",
                                 "localhost:7001", NULL), 1);
        hosts_until(rows_of(db, id) == 0);

        assert_int_equal(unlink(raw_beside(beside, path, "-next")), 0);
        assert_int_equal(unlink(raw_beside(beside, path, "-writer")), 0);
        for (int i = 0; i < 20; i++) {
            t_ok(hosts_add(&near[1], "counter", &other));
            hosts_pump();
        }
        hosts_near_close(&near[0]);
        hosts_near_close(&near[1]);
        model_stored(&m, db, "counter");
        model_stored(&other, db, "counter");
        assert_int_equal(rows_at_all(db), 0);
        (void)sqlite3_close(db);
        nothing_beside(path);
    }
}

/* -- how many ---------------------------------------------------------------------------------- */

/* Would catch: a limit that counts the actors of all hosts, or of another type; a place that does
 * not become free when its actor leaves. */
static void test_concurrency_max(void **state)
{
    char              path[512];
    francis_host_desc desc;
    counter_model     m[6], free_one;
    (void)state;
    database(path);
    desc = desc_of(path);
    hosts_near_open(&near[0], &desc, types);
    hosts_near_open(&near[1], &desc, types);
    model_init(&free_one, "free", 0);
    for (unsigned i = 0; i < 6; i++)
        model_init(&m[i], "few", i);
    t_ok(hosts_add(&near[0], "few", &m[0]));
    t_ok(hosts_add(&near[0], "few", &m[1]));
    t_result(hosts_add(&near[0], "few", &m[2]), FRANCIS_ERR_NO_HOST);
    t_ok(hosts_add(&near[0], "counter", &free_one));
    t_ok(hosts_add(&near[1], "few", &m[2]));        /* there is room */
    t_result(hosts_add(&near[1], "few", &m[0]), FRANCIS_ERR_MOVED);
    t_ok(hosts_add(&near[1], "few", &m[3]));        /* which an actor elsewhere has not taken */
    t_result(hosts_add(&near[1], "few", &m[4]), FRANCIS_ERR_NO_HOST);
    t_result(hosts_add(&near[0], "few", &m[4]), FRANCIS_ERR_NO_HOST);
    t_ok(francis_halt(near[0].ctx, "few", m[0].id, NULL));
    t_ok(hosts_add(&near[0], "few", &m[4]));
    t_result(hosts_add(&near[0], "few", &m[5]), FRANCIS_ERR_NO_HOST);
    hosts_near_close(&near[1]);
    t_ok(francis_halt(near[0].ctx, "few", m[1].id, NULL));
    t_ok(hosts_add(&near[0], "few", &m[3]));
    hosts_near_close(&near[0]);
}

static void hosts_max_refused(const francis_host_desc *desc, francis_result expected,
                              const char *value)
{
    hosts_near *n = &near[3];
    t_result(hosts_near_try(n, desc, types), expected);
    says(n->error, "hosts_max");
    if (value != NULL)
        says(n->error, value);
    hosts_near_close(n);
}

/* Would catch: dead hosts that count, one that left that counts, hosts of one file with different
 * limits, a limit that outlives the hosts which agreed on it, a refused host that stays behind. */
static void test_hosts_max(void **state)
{
    char              path[512];
    francis_host_desc desc;
    hosts_far         far = { .types = types };
    counter_model     m;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    desc.hosts_max = 2;
    far.desc = desc;
    hosts_far_start(&far);
    model_init(&m, "m", 0);
    hosts_near_open(&near[0], &desc, types);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    hosts_max_refused(&desc, FRANCIS_ERR_LOCKED, "2");
    desc.hosts_max = 3;
    hosts_max_refused(&desc, FRANCIS_ERR_INVALID, "3");
    hosts_max_refused(&desc, FRANCIS_ERR_INVALID, "2");
    desc.hosts_max = 1;
    hosts_max_refused(&desc, FRANCIS_ERR_INVALID, "1");
    desc.hosts_max = 0;
    hosts_max_refused(&desc, FRANCIS_ERR_INVALID, "0");
    desc.hosts_max = 2;
    assert_int_equal(hosts_files(path, "-host-", NULL), 2);
    t_ok(hosts_order(&far, HOSTS_CLOSE, NULL, NULL));   /* one leaves */
    hosts_near_open(&near[1], &desc, types);
    hosts_max_refused(&desc, FRANCIS_ERR_LOCKED, NULL);
    hosts_near_close(&near[1]);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    t_ok(hosts_order_add(&far, "counter", &m));
    hosts_max_refused(&desc, FRANCIS_ERR_LOCKED, NULL);
    hosts_far_kill(&far);                               /* one dies */
    hosts_near_open(&near[1], &desc, types);
    t_ok(hosts_add(&near[1], "counter", &m));
    hosts_max_refused(&desc, FRANCIS_ERR_LOCKED, NULL);
    db = raw_open(path);
    hosts_until(rows_of(db, far.report.host_id) == 0);
    hosts_near_close(&near[1]);
    hosts_near_close(&near[0]);
    desc.hosts_max = 1;                                 /* nobody lives: the newcomer decides */
    hosts_near_open(&near[0], &desc, types);
    hosts_max_refused(&desc, FRANCIS_ERR_LOCKED, "1");
    hosts_near_close(&near[0]);
    desc.hosts_max = 0;                                 /* no limit */
    for (int i = 0; i < 3; i++)
        hosts_near_open(&near[i], &desc, types);
    desc.hosts_max = UINT32_MAX;
    hosts_max_refused(&desc, FRANCIS_ERR_INVALID, "4294967295");
    for (int i = 0; i < 3; i++)
        hosts_near_close(&near[i]);
    hosts_near_open(&near[0], &desc, types);
    hosts_near_open(&near[1], &desc, types);
    hosts_near_close(&near[0]);
    hosts_near_close(&near[1]);
    assert_int_equal(rows_at_all(db), 0);
    (void)sqlite3_close(db);
    nothing_beside(path);
}

/* -- options ----------------------------------------------------------------------------------- */

static void bad_option(const francis_host_desc *desc, const char *name, const char *value)
{
    francis_host  *host = NULL;
    francis_host_desc d = *desc;
    d.on_log = t_log_sink;
    d.log_user = &spare;
    t_result(francis_open(&host, &d), FRANCIS_ERR_INVALID);
    says(francis_host_error(host), name);
    if (value != NULL)
        says(francis_host_error(host), value);
    t_result(francis_start(host), FRANCIS_ERR_INVALID);     /* it sticks */
    francis_close(host);
}

/* Each option one past each of its limits, and what does not go together. Would catch: a value that
 * is taken and means something else, a text that does not help. */
static void test_options(void **state)
{
    static const struct {
        int64_t     deadline, lease, margin;
        const char *name, *value;
    } bad[] = {
        { -1, 0, 0, "health_deadline_ms", "-1" },
        { 399, 0, 0, "health_deadline_ms", "399" },
        { INT64_MIN, 0, 0, "health_deadline_ms", "-9223372036854775808" },
        { 86400001, 0, 0, "health_deadline_ms", "86400001" },
        { INT64_MAX, 0, 0, "health_deadline_ms", "9223372036854775807" },
        { 0, -1, 0, "lease_ms", "-1" },
        { 0, 99, 0, "lease_ms", "99" },
        { 0, INT64_MAX, 0, "lease_ms", "9223372036854775807" },
        { 0, 0, -1, "lease_margin_ms", "-1" },
        { 0, 0, 9, "lease_margin_ms", "9" },
        { 0, 0, INT64_MAX, "lease_margin_ms", "9223372036854775807" },
        { 1000, 951, 0, "lease_ms", "951" },        /* with 50 of margin */
        { 1000, 951, 0, "lease_margin_ms", "50" },
        { 1000, 951, 0, "health_deadline_ms", "1000" },
        { 1000, 0, 751, "lease_margin_ms", "751" }, /* with 250 of lease */
        { 1000, 500, 501, "lease_ms", "500" },
        { 0, 20001, 0, "health_deadline_ms", "20000" }
    };
    static const struct {
        int64_t deadline, lease, margin, as_deadline, as_lease, as_margin;
    } good[] = {
        { 0, 0, 0, 20000, 5000, 1000 },
        { 400, 0, 0, 400, 100, 20 },
        { 1000, 950, 0, 1000, 950, 50 },
        { 1000, 0, 750, 1000, 250, 750 },
        { 1000, 500, 500, 1000, 500, 500 },
        { 0, 100, 10, 20000, 100, 10 },
        { 86400000, 0, 0, 86400000, 21600000, 4320000 }
    };
    char              path[512], address[] = "localhost:7001";
    francis_host_desc desc, is;
    (void)state;
    database(path);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        desc = desc_of(path);
        desc.health_deadline_ms = bad[i].deadline;
        desc.lease_ms = bad[i].lease;
        desc.lease_margin_ms = bad[i].margin;
        bad_option(&desc, bad[i].name, bad[i].value);
    }
    assert_false(there(path));
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        desc = desc_of(path);
        desc.health_deadline_ms = good[i].deadline;
        desc.lease_ms = good[i].lease;
        desc.lease_margin_ms = good[i].margin;
        hosts_near_open(&near[0], &desc, types);
        francis_desc_get(near[0].host, &is);
        assert_int_equal(is.health_deadline_ms, good[i].as_deadline);
        assert_int_equal(is.lease_ms, good[i].as_lease);
        assert_int_equal(is.lease_margin_ms, good[i].as_margin);
        hosts_near_close(&near[0]);
    }
    desc = desc_of(path);
    hosts_near_open(&near[0], &desc, types);
    francis_desc_get(near[0].host, &is);
    assert_null(is.address);
    assert_int_equal(is.hosts_max, 0);
    assert_false(is.any_filesystem);
    assert_false(is.kill_stuck_host);
    hosts_near_close(&near[0]);
    desc.address = address;
    desc.hosts_max = UINT32_MAX;
    desc.any_filesystem = true;
    desc.kill_stuck_host = true;
    hosts_near_open(&near[0], &desc, types);
    (void)memset(address, 'x', sizeof address - 1);         /* it is copied */
    francis_desc_get(near[0].host, &is);
    assert_string_equal(is.address, "localhost:7001");
    assert_int_equal(is.hosts_max, UINT32_MAX);
    assert_true(is.any_filesystem);
    assert_true(is.kill_stuck_host);
    hosts_near_close(&near[0]);
}

/* Would catch: an address that nobody can connect to, found out when somebody wants to. */
static void test_addresses(void **state)
{
    static const char *const bad[] = {
        "", ":", "host", "host:", ":7000", "host:0", "host:00", "host:65536", "host:99999999999",
        "host:4294967297", "host:18446744073709551617", "host:-1", "host:+1", "host: 1", "host:1 ",
        " host:1", "ho st:1", "host:1a", "host:0x10", "host:http", "host:7000/", "host\n:1",
        "::1", "::1:7000", "[::1]", "[::1]:", "[::1]7000", "[::1:7000", "::1]:7000", "[]:7000",
        "[::1]:0", "[::1]:65536", "[::1]]:", "a:b:7000"
    };
    static const char *const good[] = {
        "a:1", "host:65535", "10.0.0.1:80", "[::1]:7000", "[fe80::1%eth0]:1", "node-1.example:7001"
    };
    char              path[512], text[300];
    francis_host     *host = NULL;
    francis_host_desc desc;
    (void)state;
    database(path);
    desc = desc_of(path);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        desc.address = bad[i];
        bad_option(&desc, "address", bad[i]);
    }
    (void)memset(text, 'x', sizeof text);
    (void)snprintf(text + 251, sizeof text - 251, ":7000");     /* 256 bytes */
    desc.address = text;
    bad_option(&desc, "address", "255");
    (void)memset(text, 'x', sizeof text);
    (void)snprintf(text + 250, sizeof text - 250, ":7000");     /* 255 */
    for (size_t i = 0; i <= sizeof good / sizeof good[0]; i++) {
        counter_model m;
        char          word[320];
        desc.address = i < sizeof good / sizeof good[0] ? good[i] : text;
        model_init(&m, "m", 0);
        hosts_near_open(&near[0], &desc, types);
        m.hi = 1000;
        t_ok(hosts_add(&near[0], "counter", &m));
        (void)snprintf(word, sizeof word, "at %s", desc.address);
        assert_int_equal(listed(&near[0], FRANCIS_LIST_HOSTS, NULL, NULL, NULL, desc.address), 1);
        desc.address = NULL;
        hosts_near_open(&near[1], &desc, types);
        t_result(hosts_add(&near[1], "counter", &m), FRANCIS_ERR_MOVED);
        says(near[1].error, word);
        hosts_near_close(&near[1]);
        hosts_near_close(&near[0]);
    }
    desc.on_log = t_log_sink;
    desc.log_user = &spare;
    desc.address = "-node:7000";    /* in a row that is how "none" begins: not to be confused */
    t_result(francis_open(&host, &desc), FRANCIS_ERR_INVALID);
    francis_close(host);
}

/* -- where the file lies ----------------------------------------------------------------------- */

#if defined(__linux__)
static void place_refused(const francis_host_desc *desc, const char *word)
{
    francis_host_desc d = *desc;
    francis_host     *host = NULL;
    t_result(francis_open(&host, desc), FRANCIS_ERR_INVALID);
    says(francis_host_error(host), word);
    says(francis_host_error(host), "any_filesystem");
    t_result(francis_start(host), FRANCIS_ERR_INVALID);
    francis_close(host);
    d.any_filesystem = true;
    hosts_near_open(&near[0], &d, types);
    hosts_near_close(&near[0]);
}

/* Would catch: two machines on one file, which destroy it; an ordinary disk that is refused; a link
 * into a network directory. */
static void test_file_systems(void **state)
{
    static const struct {
        unsigned long type;
        const char   *name;
    } refused[] = {
        { 0x6969, "NFS" }, { 0x517b, "SMB" }, { 0xff534d42, "CIFS" }, { 0xfe534d42, "SMB2" },
        { 0x01021997, "9p" }, { 0x65735546, "FUSE" }, { 0x65735546, "virtiofs" },
        { 0x00c36400, "Ceph" }, { 0x0bd00bd0, "Lustre" }
    };
    static const unsigned long fine[] = {   /* ext4, tmpfs, btrfs, xfs, overlay, f2fs, zfs */
        0xef53, 0x01021994, 0x9123683e, 0x58465342, 0x794c7630, 0xf2f52010, 0x2fc12fc1
    };
    char              path[600], link[512], here[1024];
    francis_host_desc desc;
    (void)state;
    (void)snprintf(fake_directory, sizeof fake_directory, "%s/net", t_dir());
    (void)mkdir(fake_directory, 0755);
    (void)realpath(fake_directory, path);
    (void)snprintf(fake_directory, sizeof fake_directory, "%.590s", path);
    (void)snprintf(path, sizeof path, "%.580s/x.db", fake_directory);
    desc = desc_of(path);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        fake_type = refused[i].type;
        atomic_store(&fake_asked, 0);
        place_refused(&desc, refused[i].name);
        if (atomic_load(&fake_asked) == 0)
            fail_msg("statfs was not called");
    }
    (void)snprintf(link, sizeof link, "%s/link.db", t_dir());
    (void)unlink(link);
    assert_int_equal(symlink(path, link), 0);
    desc.database = link;           /* what counts is where the file is */
    place_refused(&desc, "Lustre");
    desc.database = "x.db";         /* and not how it is called */
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(fake_directory), 0);
    place_refused(&desc, "Lustre");
    assert_int_equal(chdir(here), 0);
    (void)snprintf(link, sizeof link, "file:%.500s", path);
    desc.database = link;
    place_refused(&desc, "Lustre");
    desc.database = path;
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        fake_type = fine[i];
        hosts_near_open(&near[0], &desc, types);
        hosts_near_close(&near[0]);
    }
    (void)unlink(t_path("link.db"));
    desc.database = ":memory:";     /* lies nowhere */
    fake_type = 0x6969;
    hosts_near_open(&near[0], &desc, types);
    hosts_near_close(&near[0]);
}

static void mount_body(void **state)
{
    static const char *const names[] = { "m.db", "a b.db", "back\\slash.db" };
    char                     real[512], path[512], link[512];
    francis_host_desc        desc;
    (void)state;
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        child_skip("no mount namespace of our own");
    (void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int fd;
        (void)snprintf(real, sizeof real, "%s/real%d.db", t_dir(), (int)i);
        (void)snprintf(path, sizeof path, "%s/%s", t_dir(), names[i]);
        desc = desc_of(real);
        hosts_near_open(&near[0], &desc, types);
        hosts_near_close(&near[0]);
        fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        (void)close(fd);
        if (mount(real, path, NULL, MS_BIND, NULL) != 0)
            child_skip("mounting is not permitted");
        desc.database = path;
        place_refused(&desc, "mount point");
        (void)snprintf(link, sizeof link, "%s/link%d.db", t_dir(), (int)i);
        assert_int_equal(symlink(path, link), 0);
        desc.database = link;
        place_refused(&desc, "mount point");
        (void)snprintf(path, sizeof path, "%s/%s2", t_dir(), names[i]);     /* is another file */
        desc.database = path;
        hosts_near_open(&near[0], &desc, types);
        hosts_near_close(&near[0]);
    }
    (void)snprintf(path, sizeof path, "%s/dir", t_dir());
    (void)mkdir(path, 0755);
    if (mount(t_dir(), path, NULL, MS_BIND, NULL) != 0)
        child_skip("mounting is not permitted");
    (void)snprintf(path, sizeof path, "%s/dir/real0.db", t_dir());      /* its log is there, too */
    desc.database = path;
    hosts_near_open(&near[0], &desc, types);
    hosts_near_close(&near[0]);
}

/* Two containers that are given one file each have a log of their own beside it. Would catch: rows
 * that were acknowledged to the one and overwritten by the other. */
static void test_mount_point(void **state)
{
    (void)state;
    child_run(mount_body, NULL);
}
#endif

/* -- other implementations, other versions ----------------------------------------------------- */

static int64_t wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void go_host(sqlite3 *db, const char *id, const char *address, int64_t age_ms)
{
    char sql[400];
    (void)snprintf(sql, sizeof sql,
                   "INSERT OR REPLACE INTO francis_hosts (host_id, host_address,"
                   " host_last_health_check) VALUES ('%s', '%s', %lld)", id, address,
                   (long long)(wall_ms() - age_ms));
    raw_exec(db, sql);
}

/* Hosts of the other implementation of the format know nothing of our locks. Would catch: one that
 * lives and is run over; one that is long dead and keeps the file for ever. */
static void test_go_host(void **state)
{
    char              path[512];
    francis_host_desc desc;
    hosts_near       *n = &near[2];
    counter_model     m;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    desc.address = "localhost:7001";
    hosts_near_open(&near[0], &desc, types);
    model_init(&m, "m", 0);
    t_ok(hosts_add(&near[0], "counter", &m));
    hosts_near_close(&near[0]);
    db = raw_open(path);
    for (int i = 0; i < 2; i++) {
        francis_result r;
        go_host(db, "go-1", "10.0.0.1:9000", i == 0 ? 0 : 15000);
        place(db, m.id, "go-1");
        r = hosts_near_try(n, &desc, types);
        t_result(r, FRANCIS_ERR_LOCKED);
        says(n->error, "go-1");
        hosts_near_close(n);
        assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL), 1);
        assert_int_equal(hosts_files(path, "-host-", NULL), 0);
    }
    go_host(db, "go-1", "localhost:7001", 21000);   /* with our address, too */
    hosts_near_open(&near[0], &desc, types);
    assert_int_equal(hosts_stats(&near[0]).evictions, 1);
    hosts_until(t_logged(near[0].log, 105) == 1);
    says(hosts_said(&near[0], 105), "go-1");
    t_ok(hosts_add(&near[0], "counter", &m));
    assert_int_equal(m.lo, 2);
    hosts_until(rows_of(db, "go-1") == 0);
    go_host(db, "go-2", "10.0.0.1:9000", 0);        /* it comes while we are there */
    place(db, "theirs", "go-2");
    t_ok(hosts_add(&near[0], "counter", &m));
    t_result(francis_invoke(near[0].ctx, "counter", "theirs", "increment", NULL, 0, NULL),
             FRANCIS_ERR_MOVED);
    desc.address = NULL;
    t_result(hosts_near_try(n, &desc, types), FRANCIS_ERR_LOCKED);
    hosts_near_close(n);
    go_host(db, "go-2", "10.0.0.1:9000", 21000);    /* and is gone */
    t_ok(francis_invoke(near[0].ctx, "counter", "theirs", "increment", NULL, 0, NULL));
    assert_int_equal(hosts_stats(&near[0]).evictions, 2);
    hosts_until(rows_of(db, "go-2") == 0);
    hosts_near_close(&near[0]);
    assert_int_equal(rows_at_all(db), 0);
    (void)sqlite3_close(db);
    nothing_beside(path);
}

typedef struct {
    const francis_host_desc *desc;
    francis_result           result;
} starter;

static void *start_beside(void *arg)
{
    starter *s = (starter *)arg;
    s->result = hosts_near_try(&near[2], s->desc, types);
    return NULL;
}

/* One of them joins while a host of ours waits for it to end its transaction. Would catch: a look
 * at its row with a clock that was read before. */
static void test_go_host_meanwhile(void **state)
{
    char              path[512], beside[600];
    francis_host_desc desc;
    starter           s = { &desc, FRANCIS_PENDING };
    pthread_t         thread;
    sqlite3          *db;
    int64_t           end;
    (void)state;
    database(path);
    desc = desc_of(path);
    hosts_near_open(&near[0], &desc, types);
    hosts_near_close(&near[0]);
    db = raw_open(path);
    raw_exec(db, "BEGIN IMMEDIATE");
    assert_int_equal(pthread_create(&thread, NULL, start_beside, &s), 0);
    t_until(there(raw_beside(beside, path, "-writer")));    /* it is in the queue */
    for (end = t_ms() + 20; t_ms() < end;)
        t_yield();
    go_host(db, "go-1", "10.0.0.1:9000", 0);
    raw_exec(db, "COMMIT");
    (void)pthread_join(thread, NULL);
    t_result(s.result, FRANCIS_ERR_LOCKED);
    hosts_near_close(&near[2]);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts WHERE host_address ="
                                 " '10.0.0.1:9000'", NULL, NULL), 1);
    (void)sqlite3_close(db);
}

/* Would catch: a file of a later version that is opened, changed, or blamed on something else. */
static void test_newer_levels(void **state)
{
    static const struct {
        const char *key, *level, *word;
    } cases[] = {
        { "ext-version", "4", "4.4" }, { "ext-version", "4294967298", "newer" },
        { "migrations-version", "5", "5.3" }, { "migrations-version", "x", "newer" }
    };
    char              path[512], sql[200];
    francis_host_desc desc;
    hosts_near       *n = &near[2];
    counter_model     m;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    hosts_near_open(&near[0], &desc, types);
    model_init(&m, "m", 0);
    t_ok(hosts_add(&near[0], "counter", &m));
    db = raw_open(path);
    for (int beside = 1; beside >= 0; beside--) {   /* while another host lives, and alone */
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            raw_exec(db, "CREATE TEMP TABLE kept AS SELECT * FROM francis_metadata");
            (void)snprintf(sql, sizeof sql, "UPDATE francis_metadata SET value = '%s'"
                                            " WHERE key = '%s'", cases[i].level, cases[i].key);
            raw_exec(db, sql);
            t_result(hosts_near_try(n, &desc, types), FRANCIS_ERR_SCHEMA);
            says(n->error, cases[i].word);
            hosts_near_close(n);
            assert_int_equal(raw_int(db, "SELECT value = ?2 FROM francis_metadata WHERE key = ?1",
                                     cases[i].key, cases[i].level), 1);
            raw_exec(db, "INSERT OR REPLACE INTO francis_metadata SELECT * FROM temp.kept;"
                         " DROP TABLE temp.kept");
        }
        if (beside)
            hosts_near_close(&near[0]);
    }
    hosts_near_open(&near[0], &desc, types);
    t_ok(hosts_add(&near[0], "counter", &m));
    hosts_near_close(&near[0]);
    model_stored(&m, db, "counter");
    (void)sqlite3_close(db);
}

/* Turns a file of today into one of ext level 1, with a host that was killed in those days. */
static void make_level_1(sqlite3 *db)
{
    static const char *const tables[] = { "alarms", "dead_jobs" };
    raw_exec(db, "BEGIN;"
                 " CREATE TEMP TABLE kept AS SELECT host_id, evicted, started, process, settled"
                 " FROM francis_ext_hosts;"
                 " DROP TABLE francis_ext_hosts;"
                 " CREATE TABLE francis_ext_hosts(host_id TEXT NOT NULL PRIMARY KEY,"
                 " evicted INTEGER NOT NULL, started INTEGER NOT NULL, process INTEGER NOT NULL,"
                 " settled INTEGER NOT NULL) WITHOUT ROWID, STRICT;"
                 " INSERT INTO francis_ext_hosts SELECT * FROM temp.kept; DROP TABLE temp.kept;"
                 " DROP TRIGGER francis_ext_alarms_moved; DROP INDEX francis_ext_alarms_look_idx;"
                 " DROP INDEX francis_ext_dead_hooks_idx;"
                 " CREATE INDEX francis_alarm_due_time_idx ON francis_alarms(alarm_due_time);"
                 " UPDATE francis_metadata SET value = '1' WHERE key = 'ext-version';"
                 " INSERT INTO francis_hosts VALUES ('old', '-old', 1700000000000);"
                 " INSERT INTO francis_ext_hosts VALUES ('old', 0, 1700000000000, 1, 5);"
                 " INSERT INTO francis_active_actors VALUES ('counter', 'c0', 'old', 300000, 1)");
    for (size_t i = 0; i < 2; i++) {
        char name[64], sql[200];
        for (;;) {
            (void)snprintf(sql, sizeof sql, "SELECT name FROM pragma_table_info('francis_%s')"
                                            " WHERE name GLOB 'ext_*'", tables[i]);
            if (!raw_text(db, sql, name, sizeof name))
                break;
            (void)snprintf(sql, sizeof sql, "ALTER TABLE francis_%s DROP COLUMN %s", tables[i],
                           name);
            raw_exec(db, sql);
        }
    }
    raw_exec(db, "COMMIT");
}

/* Would catch: states, versions or request ids that an upgrade of the file loses; a host of the old
 * days that counts as alive because its row has no lease. */
static void test_migration(void **state)
{
    char              path[512];
    francis_host_desc desc;
    counter_model     m[3];
    francis_call      call = { .request_id = "once" };
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    hosts_near_open(&near[0], &desc, types);
    for (unsigned i = 0; i < 3; i++) {
        model_init(&m[i], "c", i);
        for (unsigned k = 0; k <= i; k++)
            t_ok(hosts_add(&near[0], "counter", &m[i]));
    }
    t_ok(francis_invoke(near[0].ctx, "counter", "keyed", "increment", NULL, 0, &call));
    hosts_near_close(&near[0]);
    db = raw_open(path);
    make_level_1(db);
    hosts_near_open(&near[0], &desc, types);
    assert_int_equal(t_logged(near[0].log, 201), 1);
    assert_int_equal(t_logged(near[0].log, 200), 0);
    assert_int_equal(raw_int(db, "SELECT value FROM francis_metadata WHERE key = 'ext-version'",
                             NULL, NULL), 3);
    assert_int_equal(raw_int(db,
                             "SELECT count(*) FROM pragma_table_info('francis_ext_hosts')"
                             " WHERE name IN ('challenge', 'answer', 'lease_ms')", NULL, NULL), 3);
    assert_int_equal(hosts_stats(&near[0]).evictions, 1);
    says(hosts_said(&near[0], 105), "old");
    for (unsigned i = 0; i < 3; i++) {
        t_ok(hosts_add(&near[0], "counter", &m[i]));
        assert_int_equal(m[i].lo, i + 2);
    }
    call = (francis_call){ .request_id = "once" };
    t_ok(francis_invoke(near[0].ctx, "counter", "keyed", "increment", NULL, 0, &call));
    assert_int_equal(*(const int64_t *)call.data, 1);   /* the first answer again */
    francis_call_free(&call);
    assert_int_equal(stored(db, "counter", "keyed"), 1);
    hosts_near_open(&near[1], &desc, types);
    assert_int_equal(t_logged(near[1].log, 201), 0);   /* once is enough */
    t_result(hosts_add(&near[1], "counter", &m[0]), FRANCIS_ERR_MOVED);
    hosts_until(rows_of(db, "old") == 0);
    hosts_near_close(&near[0]);
    hosts_near_close(&near[1]);
    for (unsigned i = 0; i < 3; i++)
        model_stored(&m[i], db, "counter");
    raw_check(db);
    (void)sqlite3_close(db);
    nothing_beside(path);
}

/* A newer program comes while one of the former level is at work. Would catch: tables that change
 * under a host that does not know them; a refusal without the name of who is in the way; one that
 * stays when he is gone. */
static void test_migration_beside(void **state)
{
    char              path[512], process[40];
    francis_host_desc desc;
    counter_model     m;
    hosts_far         far;
    sqlite3          *db;
    (void)state;
    database(path);
    desc = desc_of(path);
    (void)memset(&far, 0, sizeof far);
    far.desc = desc;
    far.types = types;
    hosts_far_start(&far);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    model_init(&m, "m", 0);
    t_ok(hosts_order_add(&far, "counter", &m));
    db = raw_open(path);
    make_level_1(db);               /* the process that lives is older than that, as far as can be
                                       seen from outside */
    t_result(hosts_near_try(&near[0], &desc, types), FRANCIS_ERR_LOCKED);
    says(near[0].error, far.report.host_id);
    (void)snprintf(process, sizeof process, "process %ld", (long)far.pid);
    says(near[0].error, process);
    says(near[0].error, "4.1");
    hosts_near_close(&near[0]);
    assert_int_equal(raw_int(db, "SELECT value FROM francis_metadata WHERE key = 'ext-version'",
                             NULL, NULL), 1);
    assert_int_equal(raw_int(db,
                             "SELECT count(*) FROM pragma_table_info('francis_ext_hosts')"
                             " WHERE name IN ('challenge', 'answer', 'lease_ms')", NULL, NULL), 0);
    hosts_far_kill(&far);
    hosts_near_open(&near[0], &desc, types);
    assert_int_equal(t_logged(near[0].log, 201), 1);
    t_ok(hosts_add(&near[0], "counter", &m));
    hosts_until(rows_of(db, "old") == 0);
    hosts_near_close(&near[0]);
    model_stored(&m, db, "counter");
    (void)sqlite3_close(db);
    nothing_beside(path);
}

/* Processes that start at the same moment, on a file that is new or of an old level. Would catch: a
 * schema that is made twice, BUSY where SQLite does not wait by itself (journal mode), the files of
 * the queue that the first one to leave takes from those that come. */
static void test_start_at_once(void **state)
{
    enum { HOSTS = 4 };
    int       rounds = t_slow() ? 4 : 12;
    hosts_far far[HOSTS];
    (void)state;
    (void)memset(far, 0, sizeof far);
    for (int h = 0; h < HOSTS; h++) {
        far[h].types = types;
        far[h].desc = hosts_desc("none", workers);
        hosts_far_start(&far[h]);
    }
    for (int i = 0; i < rounds; i++) {
        char          path[512];
        sqlite3      *db;
        counter_model m;
        int64_t       count = 0;
        database(path);
        model_init(&m, "c", 0);
        if (i % 2 == 1) {
            t_ok(hosts_order(&far[0], HOSTS_OPEN, path, NULL));
            t_ok(hosts_order(&far[0], HOSTS_CLOSE, NULL, NULL));
            db = raw_open(path);
            make_level_1(db);
            (void)sqlite3_close(db);
        }
        for (int h = 0; h < HOSTS; h++)
            hosts_tell(&far[(h + i) % HOSTS], HOSTS_OPEN, path, NULL, 0);
        for (int h = 0; h < HOSTS; h++) {
            assert_true(hosts_hear(&far[h]));
            if (far[h].report.result != FRANCIS_OK)
                fail_msg("round %d, host %d: %s", i, h, far[h].report.error);
            count += (int64_t)far[h].report.logged[i % 2 == 1 ? 201 : 200];
        }
        assert_int_equal(count, 1);     /* by one of them */
        for (int h = 0; h < HOSTS; h++)
            hosts_tell(&far[h], HOSTS_ADD, "counter", m.id, 0);
        count = 0;
        for (int h = 0; h < HOSTS; h++) {
            assert_true(hosts_hear(&far[h]));
            count += far[h].report.result == FRANCIS_OK;
        }
        assert_int_equal(count, 1);
        db = raw_open(path);
        t_until(rows_of(db, "old") == 0);
        for (int h = 0; h < HOSTS; h++)     /* and leave at once */
            hosts_tell(&far[h], HOSTS_CLOSE, NULL, NULL, 0);
        for (int h = 0; h < HOSTS; h++)
            assert_true(hosts_hear(&far[h]));
        assert_int_equal(hosts_files(path, "-host-", NULL), 0);
        assert_int_equal(hosts_files(path, "-next", NULL), 0);
        assert_int_equal(hosts_files(path, "-writer", NULL), 0);
        assert_int_equal(rows_at_all(db), 0);
        assert_int_equal(stored(db, "counter", m.id), 1);
        (void)sqlite3_close(db);
    }
    for (int h = 0; h < HOSTS; h++)
        hosts_far_end(&far[h]);
}

/* -- clocks ------------------------------------------------------------------------------------ */

static _Atomic int64_t wall_step[2];

static int64_t stepped_wall_ms(void *user)
{
    return wall_ms() + atomic_load((_Atomic int64_t *)user);
}

/* The clocks of two hosts are set, together and one at a time, a year to and fro. Would catch: life
 * and death that depend on the time of day. */
static void test_clock_steps(void **state)
{
    static const int64_t year = FRANCIS_DAYS(365);
    static const int64_t steps[][2] = { { 365, 365 }, { -365, -365 }, { 365, 0 }, { 0, -365 } };
    francis_platform     platforms[2] = { { .version = 1 }, { .version = 1 } };
    int64_t              deadline = t_slow() ? 5000 : 1000;
    char                 path[512];
    counter_model        m[2], shared;
    sqlite3             *db;
    (void)state;
    database(path);
    for (int h = 0; h < 2; h++) {
        francis_host_desc desc = desc_of(path);
        atomic_store(&wall_step[h], 0);
        platforms[h].wall_ms = stepped_wall_ms;
        platforms[h].user = (void *)&wall_step[h];
        desc.platform = &platforms[h];
        desc.health_deadline_ms = deadline;
        hosts_near_open(&near[h], &desc, types);
        model_init(&m[h], "m", (unsigned)h);
        t_ok(hosts_add(&near[h], "counter", &m[h]));
    }
    model_init(&shared, "shared", 0);
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        int64_t end = t_ms() + deadline + deadline / 3;
        for (int h = 0; h < 2; h++)
            atomic_store(&wall_step[h], steps[s][h] / 365 * year);
        while (t_ms() < end) {          /* longer than a deadline, with suspicion in each moment */
            for (int h = 0; h < 2; h++) {
                t_ok(hosts_add(&near[h], "counter", &m[h]));
                t_result(hosts_add(&near[1 - h], "counter", &m[h]), FRANCIS_ERR_MOVED);
                t_ok(hosts_add(&near[h], "counter", &shared));
                t_ok(francis_halt(near[h].ctx, "counter", shared.id, NULL));
            }
            hosts_pump();
        }
    }
    for (int h = 0; h < 2; h++) {
        assert_int_equal(hosts_stats(&near[h]).evictions, 0);
        assert_int_equal(hosts_stats(&near[h]).lives, 1);
        assert_int_equal(t_logged(near[h].log, 104), 0);
        assert_int_equal(t_logged(near[h].log, 105), 0);
        assert_true(t_logged(near[h].log, 108) > 0);   /* there was something to survive */
        hosts_near_close(&near[h]);
    }
    db = raw_open(path);
    for (int h = 0; h < 2; h++)
        model_stored(&m[h], db, "counter");
    model_stored(&shared, db, "counter");
    (void)sqlite3_close(db);
}

/* -- singletons -------------------------------------------------------------------------------- */

static atomic_int bootstrapped;

static francis_result bootstrap(francis_ctx *ctx)
{
    atomic_fetch_add(&bootstrapped, 1);
    return counter_increment(ctx);
}

static void looks_pass(void)        /* hosts look after their singletons once a second */
{
    int64_t begin = t_ms();
    hosts_until(t_ms() - begin > 2500);
}

/* There is one for all hosts, and a bootstrap that finds it on another host has nothing to do.
 * Would catch: a second one; a bootstrap that is repeated for ever, and complained about. */
static void test_singleton(void **state)
{
    static const francis_actor_desc one[] = {
        { COUNTER("one"), .singleton = true, .bootstrap = bootstrap }, { .type = NULL }
    };
    char              path[512];
    francis_host_desc desc;
    counter_model     m;
    (void)state;
    database(path);
    desc = desc_of(path);
    (void)memset(&m, 0, sizeof m);
    (void)snprintf(m.id, sizeof m.id, "singleton");
    atomic_store(&bootstrapped, 0);
    hosts_near_open(&near[0], &desc, one);
    hosts_until(atomic_load(&bootstrapped) == 1);
    m.hi = 1;                       /* from the outside it is at work, or has been */
    t_ok(hosts_add(&near[0], "one", &m));
    assert_int_equal(m.lo, 2);
    hosts_near_open(&near[1], &desc, one);
    t_result(hosts_add(&near[1], "one", &m), FRANCIS_ERR_MOVED);
    for (int i = 0; i < 50; i++) {
        hosts_pump();
        t_ok(hosts_add(&near[0], "one", &m));
    }
    assert_int_equal(atomic_load(&bootstrapped), 1);
    assert_int_equal(hosts_stats(&near[1]).bootstraps_failed, 0);
    assert_int_equal(t_logged(near[1].log, 306), 0);
    looks_pass();
    hosts_near_close(&near[0]);
    hosts_until(atomic_load(&bootstrapped) == 2);       /* by the one that is left */
    m.hi++;
    t_ok(hosts_add(&near[1], "one", &m));
    assert_int_equal(m.lo, 54);
    hosts_near_close(&near[1]);
    hosts_near_open(&near[0], &desc, one);      /* a new start of a host: once more */
    hosts_until(atomic_load(&bootstrapped) == 3);
    hosts_near_close(&near[0]);
    nothing_beside(path);
}

/* The host of a singleton dies, and nobody calls. Would catch: one that sleeps until somebody calls
 * it; survivors that bootstrap it one after the other, or again and again; one that hibernates and
 * is woken. */
static void test_singleton_taken_over(void **state)
{
    static const francis_actor_desc one[] = {
        { COUNTER("one"), .singleton = true, .bootstrap = bootstrap }, { .type = NULL }
    };
    char              path[512];
    francis_host_desc desc;
    hosts_far         far;
    counter_model     m;
    sqlite3          *db;
    hosts_near       *has, *other;
    (void)state;
    database(path);
    desc = desc_of(path);
    (void)memset(&m, 0, sizeof m);
    (void)snprintf(m.id, sizeof m.id, "singleton");
    atomic_store(&bootstrapped, 0); /* in this process */
    (void)memset(&far, 0, sizeof far);
    far.desc = desc;
    far.types = one;
    hosts_far_start(&far);
    t_ok(hosts_order(&far, HOSTS_OPEN, NULL, NULL));
    db = raw_open(path);            /* bootstrapped over there: it has a state */
    t_until(raw_int(db, "SELECT count(*) FROM francis_actor_state", NULL, NULL) == 1);
    (void)sqlite3_close(db);
    m.hi = 1;
    t_ok(hosts_order_add(&far, "one", &m));
    assert_int_equal(m.lo, 2);
    hosts_near_open(&near[0], &desc, one);
    hosts_near_open(&near[1], &desc, one);
    looks_pass();
    assert_int_equal(atomic_load(&bootstrapped), 0);

    hosts_far_kill(&far);
    hosts_until(atomic_load(&bootstrapped) == 1);
    m.hi++;
    looks_pass();
    has = hosts_add(&near[0], "one", &m) == FRANCIS_OK ? &near[0] : &near[1];
    other = has == &near[0] ? &near[1] : &near[0];
    t_result(hosts_add(other, "one", &m), FRANCIS_ERR_MOVED);
    t_ok(hosts_add(has, "one", &m));
    assert_int_equal(atomic_load(&bootstrapped), 1);
    assert_int_equal(m.lo, has == &near[0] ? 5 : 4);

    t_ok(francis_halt(has->ctx, "one", "singleton", NULL));
    looks_pass();
    assert_int_equal(atomic_load(&bootstrapped), 1);
    t_ok(hosts_add(has, "one", &m));
    looks_pass();
    hosts_near_close(has);          /* it leaves */
    hosts_until(atomic_load(&bootstrapped) == 2);
    m.hi++;
    t_ok(hosts_add(other, "one", &m));
    hosts_near_close(other);
    nothing_beside(path);
}

/* -- what an operator does --------------------------------------------------------------------- */

static void owned_elsewhere(francis_result r, const francis_call *call, const char *id)
{
    moved_text(r, call->error, "counter/m0", id, "localhost:7001");
    assert_int_equal(francis_outcome(r), FRANCIS_OUTCOME_NOT_RUN);
    assert_true(francis_retryable(r));
}

/* State of an actor that lives on another host, written from here. Would catch: a write under the
 * owner's cache, which his next turn undoes; a purge of what he goes on with. */
static void test_admin(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {     /* the type is served here, too, or not */
        char              path[512];
        francis_host_desc desc;
        counter_model     m;
        counter_state     c;
        francis_call      call = { 0 };
        francis_ctx      *ctx;
        sqlite3          *db;
        database(path);
        desc = desc_of(path);
        desc.address = "localhost:7001";
        hosts_near_open(&near[0], &desc, types);
        desc.address = NULL;
        hosts_near_open(&near[1], &desc, variant == 0 ? other_types : types);
        ctx = near[1].ctx;
        db = raw_open(path);
        model_init(&m, "m", 0);
        t_ok(hosts_add(&near[0], "counter", &m));
        counter_put(&c, 100);
        for (int i = 0; i < 2; i++) {
            owned_elsewhere(francis_state_write(ctx, "counter", m.id, &c, sizeof c, 0, &call),
                            &call, near[0].id);
            owned_elsewhere(francis_state_write(ctx, "counter", m.id, NULL, 0, 0, &call), &call,
                            near[0].id);
            owned_elsewhere(francis_purge(ctx, "counter", m.id, &call), &call, near[0].id);
            t_result(francis_halt(ctx, "counter", m.id, &call),
                     variant == 0 ? FRANCIS_ERR_UNKNOWN_TYPE : FRANCIS_ERR_NOT_ACTIVE);
            t_ok(francis_halt_all(ctx, &call));
            t_ok(francis_state_read(ctx, "counter", m.id, &call));
            assert_int_equal(call.size, sizeof c);
            assert_int_equal(((const counter_state *)call.data)->n, m.lo);
            t_ok(hosts_add(&near[0], "counter", &m));
        }
        /* With a request id francis itself asks again, until the owner lets go. */
        call = (francis_call){ .request_id = "set", .async = true, .timeout_ms = 30000 };
        t_result(francis_state_write(ctx, "counter", m.id, &c, sizeof c, 0, &call),
                 FRANCIS_PENDING);
        for (int i = 0; i < 20; i++) {
            t_ok(hosts_add(&near[0], "counter", &m));
            hosts_pump();
        }
        assert_int_equal(call.result, FRANCIS_PENDING);
        t_ok(francis_halt(near[0].ctx, "counter", m.id, NULL));
        t_ok(francis_wait(ctx, &call));
        francis_call_free(&call);
        assert_int_equal(stored(db, "counter", m.id), 100);
        (void)francis_halt(ctx, "counter", m.id, NULL);
        m.lo = m.hi = 100;
        t_ok(hosts_add(&near[0], "counter", &m));       /* the owner again, with what was put */
        t_ok(francis_halt(near[0].ctx, "counter", m.id, NULL));
        t_ok(francis_purge(ctx, "counter", m.id, NULL));
        assert_false(raw_state(db, "counter", m.id, &c, sizeof c));
        hosts_near_close(&near[0]);
        hosts_near_close(&near[1]);
        (void)sqlite3_close(db);
        nothing_beside(path);
    }
}

/* -- other ways to a file ---------------------------------------------------------------------- */

/* One host has the application's handle, the other the path. Would catch: a handle's host that
 * keeps the file to itself, or takes no part in the queue and the proof of life. */
static void test_handle_beside_path(void **state)
{
    char              path[512];
    francis_host_desc desc, with_handle;
    counter_model     m;
    sqlite3          *db = NULL;
    (void)state;
    database(path);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                                    SQLITE_OPEN_FULLMUTEX, NULL), SQLITE_OK);
    with_handle = desc_of(NULL);
    with_handle.sqlite = db;
    with_handle.address = "localhost:7001";
    hosts_near_open(&near[0], &with_handle, types);
    desc = desc_of(path);
    hosts_near_open(&near[1], &desc, types);
    model_init(&m, "m", 0);
    for (int i = 0; i < 6; i++) {
        t_ok(hosts_add(&near[i % 2], "counter", &m));
        t_result(hosts_add(&near[1 - i % 2], "counter", &m), FRANCIS_ERR_MOVED);
        t_ok(francis_halt(near[i % 2].ctx, "counter", m.id, NULL));
    }
    t_ok(hosts_add(&near[0], "counter", &m));
    hosts_near_close(&near[0]);
    t_ok(hosts_add(&near[1], "counter", &m));
    assert_int_equal(hosts_stats(&near[1]).evictions, 0);
    hosts_near_close(&near[1]);
    model_stored(&m, db, "counter");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    nothing_beside(path);
}

/* Two sets of tables in one file share nothing but the queue. Would catch: an actor of the one that
 * is taken for one of the other, a host that takes the queue from the others when it leaves. */
static void test_two_prefixes(void **state)
{
    char              path[512];
    francis_host_desc desc[2];
    counter_model     m[2];
    (void)state;
    database(path);
    for (int i = 0; i < 2; i++) {
        desc[i] = desc_of(path);
        desc[i].address = "localhost:7001";
        desc[i].table_prefix = i == 0 ? "one" : "two";
        hosts_near_open(&near[i], &desc[i], types);
        model_init(&m[i], "m", 0);
    }
    for (int i = 0; i < 10; i++)
        t_ok(hosts_add(&near[i % 2], "counter", &m[i % 2]));
    hosts_near_close(&near[0]);
    for (int i = 0; i < 10; i++)
        t_ok(hosts_add(&near[1], "counter", &m[1]));
    hosts_near_open(&near[0], &desc[0], types);
    for (int i = 0; i < 10; i++)
        t_ok(hosts_add(&near[i % 2], "counter", &m[i % 2]));
    assert_int_equal(m[0].lo, 10);
    assert_int_equal(m[1].lo, 20);
    assert_int_equal(hosts_stats(&near[1]).lives, 1);
    hosts_near_close(&near[1]);
    hosts_near_close(&near[0]);
    nothing_beside(path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_one_process),
        BOTH(test_race_for_actors),
        BOTH(test_wandering_actors),
        BOTH(test_released),
        BOTH(test_leave_with_many),
        BOTH(test_killed),
        BOTH(test_killed_and_noticed),
        BOTH(test_killed_child_lives),
        BOTH(test_leave_before_sweep),
        BOTH(test_stopped_then_killed),
        BOTH(test_same_address),
        BOTH(test_address_in_memory),
        BOTH(test_forged_placement),
        BOTH(test_forged_host),
        BOTH(test_cold_call_of_evicted),
        BOTH(test_deleted_lock_file),
        BOTH(test_concurrency_max),
        BOTH(test_hosts_max),
        INLINE(test_options),
        INLINE(test_addresses),
#if defined(__linux__)
        INLINE(test_file_systems),
        INLINE(test_mount_point),
#endif
        BOTH(test_go_host),
        INLINE(test_go_host_meanwhile),
        INLINE(test_newer_levels),
        BOTH(test_migration),
        BOTH(test_migration_beside),
        BOTH(test_start_at_once),
        BOTH(test_clock_steps),
        BOTH(test_singleton),
        BOTH(test_singleton_taken_over),
        BOTH(test_admin),
        BOTH(test_handle_beside_path),
        BOTH(test_two_prefixes)
    };
    int failed;
    (void)pthread_mutex_init(&spare.lock, NULL);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("sharing", tests, NULL, NULL);
    t_clean();
    return failed;
}
