/* Several hosts on one file that call each other: where actors go, what comes back, and what a call
 * is told when the host of its actor dies. Hosts in this process, and children that are killed. */
#include "support/t.h"

#include "support/address.h"
#include "support/child.h"
#include "support/raw_sqlite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { HOSTS = 3, IDS = 60 };

static const char key[] = "a key of the cluster, long enough to be one";

/* ---- the actors ---- */

static francis_result count_add(francis_ctx *ctx)
{
    int64_t *n = (int64_t *)francis_state(ctx);
    if (n == NULL)
        return FRANCIS_ERR_NOMEM;
    *n += 1;
    return francis_reply(ctx, n, sizeof *n);
}

static francis_result count_get(francis_ctx *ctx)
{
    const int64_t *n = (const int64_t *)francis_state(ctx);
    return n == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, n, sizeof *n);
}

static francis_result count_where(francis_ctx *ctx)
{
    francis_stats s;
    francis_stats_get(ctx->host, &s);
    return francis_reply(ctx, s.host_id, strlen(s.host_id));
}

static francis_result count_refuse(francis_ctx *ctx)
{
    int64_t *n = (int64_t *)francis_state(ctx);
    if (n != NULL)
        *n = -1;                    /* undone by the refusal */
    return francis_fail(ctx, FRANCIS_ERR_USER + 7, "%s does not want to", ctx->id);
}

static francis_result count_echo(francis_ctx *ctx)
{
    return francis_reply(ctx, ctx->input.data, ctx->input.size);
}

static francis_result count_slow(francis_ctx *ctx)
{
    int64_t *n = (int64_t *)francis_state(ctx);
    if (n != NULL)
        *n += 1000;
    while (francis_interrupted(ctx) == FRANCIS_OK)
        t_yield();
    return FRANCIS_OK;              /* too late: nothing of it is kept */
}

/* input: "id id id ...": calls the first with the rest. The last one adds one to itself. */
static francis_result count_chain(francis_ctx *ctx)
{
    const char  *rest = (const char *)ctx->input.data, *blank;
    char         id[FRANCIS_NAME_SIZE];
    francis_call call = { 0 };
    if (ctx->input.size == 0)
        return count_add(ctx);
    blank = strchr(rest, ' ');
    (void)snprintf(id, sizeof id, "%.*s", blank != NULL ? (int)(blank - rest) : (int)strlen(rest),
                   rest);
    rest = blank != NULL ? blank + 1 : "";
    if (francis_invoke(ctx, "counter", id, "chain", rest, strlen(rest), &call) != FRANCIS_OK)
        return francis_fail(ctx, call.result, "%s", call.error);
    return francis_reply(ctx, call.data, call.size);
}

static const francis_method methods[] = {
    { "add", count_add, FRANCIS_INVOKE, 0 },       { "get", count_get, FRANCIS_PEEK, 0 },
    { "where", count_where, FRANCIS_PEEK, 0 },     { "refuse", count_refuse, FRANCIS_INVOKE, 0 },
    { "echo", count_echo, FRANCIS_INVOKE, 0 },     { "slow", count_slow, FRANCIS_INVOKE, 0 },
    { "chain", count_chain, FRANCIS_INVOKE, 0 },   FRANCIS_METHODS_END
};

/* ---- hosts ---- */

static francis_host *hosts[HOSTS];
static francis_ctx  *ctxs[HOSTS];
static t_log         logs;
static const char   *path;

static francis_host_desc host_desc(const char *address)
{
    francis_host_desc d = { .database = path, .workers = 2, .address = address, .cluster_key = key,
                            .on_log = t_log_sink, .log_user = &logs };
    return d;
}

static francis_host *host_start(const francis_host_desc *desc)
{
    const francis_actor_desc types[] = {
        { .type = "counter", .methods = methods, .state_size = sizeof(int64_t) }, { .type = NULL }
    };
    return t_start(desc, types);
}

static void open_hosts(int count)
{
    path = t_database();
    for (int i = 0; i < count; i++) {
        char              address[40];
        francis_host_desc d;
        free_address(address);
        d = host_desc(address);
        hosts[i] = host_start(&d);
        ctxs[i] = francis_host_ctx(hosts[i]);
    }
}

static void close_hosts(void)
{
    for (int i = 0; i < HOSTS; i++) {
        francis_close(hosts[i]);
        hosts[i] = NULL;
    }
}

static int64_t add(int host, const char *id)
{
    francis_call call = { 0 };
    int64_t      n;
    francis_result r = francis_invoke(ctxs[host], "counter", id, "add", NULL, 0, &call);
    if (r != FRANCIS_OK)
        fail_msg("add to %s through host %d: %s: %s", id, host, francis_result_name(r), call.error);
    n = *(const int64_t *)call.data;
    francis_call_free(&call);
    return n;
}

static int64_t get(int host, const char *id)
{
    francis_call call = { 0 };
    int64_t      n;
    t_ok(francis_peek(ctxs[host], "counter", id, "get", NULL, 0, &call));
    n = *(const int64_t *)call.data;
    francis_call_free(&call);
    return n;
}

/* Which host an actor lives on: its number. */
static int home(const char *id)
{
    francis_call call = { 0 };
    int          where = -1;
    t_ok(francis_peek(ctxs[0], "counter", id, "where", NULL, 0, &call));
    for (int i = 0; i < HOSTS; i++) {
        francis_stats s;
        francis_stats_get(hosts[i], &s);
        if (strcmp(s.host_id, (const char *)call.data) == 0)
            where = i;
    }
    francis_call_free(&call);
    return where;
}

/* Calls until each host has one of these actors; ids[i] lives on host i. */
static void one_on_each(char ids[HOSTS][16])
{
    int found = 0;
    (void)memset(ids, 0, HOSTS * sizeof ids[0]);
    for (int i = 0; found < HOSTS && i < 300; i++) {
        char id[16];
        int  at;
        (void)snprintf(id, sizeof id, "x%d", i);
        at = home(id);
        assert_in_range(at, 0, HOSTS - 1);
        if (ids[at][0] == '\0') {
            (void)snprintf(ids[at], sizeof ids[at], "%s", id);
            found++;
        }
    }
    assert_int_equal(found, HOSTS);
}

/* Waits until each host knows the others. */
static void all_know_all(int count)
{
    for (int i = 0; i < count; i++) {
        francis_stats s;
        char          id[16];
        int           n = 0;
        t_until((francis_stats_get(hosts[i], &s), s.calls_out > 0
                 || ((void)snprintf(id, sizeof id, "k%d-%d", i, n++), (void)add(i, id), false)));
    }
}

/* ---- tests ---- */

/* Would catch: two activations, a lost or doubled turn, a host that keeps everything to itself. */
static void test_spread(void **state)
{
    uint64_t active = 0;
    (void)state;
    open_hosts(HOSTS);
    all_know_all(HOSTS);
    for (int round = 0; round < 3 * HOSTS; round++)
        for (int i = 0; i < IDS; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "a%d", i);
            assert_int_equal(add(round % HOSTS, id), round + 1);
        }
    for (int i = 0; i < HOSTS; i++) {
        francis_stats s;
        francis_stats_get(hosts[i], &s);
        active += s.active;
        assert_true(s.active >= IDS / HOSTS / 3);
        assert_true(s.calls_out > 0 && s.calls_in > 0);
        assert_true(s.connections >= 1);
    }
    assert_true(active >= IDS);
    for (int i = 0; i < IDS; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "a%d", i);
        assert_int_equal(get(i % HOSTS, id), 3 * HOSTS);
    }
    close_hosts();
}

static uint64_t active_on(int host)
{
    francis_stats s;
    francis_stats_get(hosts[host], &s);
    return s.active;
}

static uint64_t activations_on(int host)
{
    francis_stats s;
    francis_stats_get(hosts[host], &s);
    return s.activations;
}

/* All actors are on one host when the others come back. Would catch: a cluster that stays lopsided
 * after a restart; an actor that is taken away from those who use it; one that is lost on the
 * way. */
static void test_spread_again(void **state)
{
    char     id[16];
    uint64_t before, active = 0;
    (void)state;
    open_hosts(1);
    for (int i = 0; i < 4 * IDS; i++) {
        (void)snprintf(id, sizeof id, "s%d", i);
        assert_int_equal(add(0, id), 1);
    }
    before = activations_on(0);
    assert_int_equal(before, 4 * IDS);
    for (int i = 1; i < HOSTS; i++) {
        char              address[40];
        francis_host_desc d;
        free_address(address);
        d = host_desc(address);
        hosts[i] = host_start(&d);
        ctxs[i] = francis_host_ctx(hosts[i]);
    }
    t_until((add(0, "busy"), active_on(0) <= 4 * IDS * 6 / 10));
    for (int i = 0; i < 4 * IDS; i++) {
        (void)snprintf(id, sizeof id, "s%d", i);
        assert_int_equal(add(i % HOSTS, id), 2);
    }
    for (int i = 0; i < HOSTS; i++) {
        active += active_on(i);
        assert_true(active_on(i) >= IDS / 3);
    }
    assert_true(active >= 4 * IDS);
    close_hosts();
}

/* A device boots in 1970 and learns the time later: its certificate follows, so that a host that
 * comes then can reach it, and it can reach that one. */
static atomic_llong clock_ms;

static int64_t wall_of_device(void *user)
{
    (void)user;
    return atomic_load(&clock_ms);
}

static void test_clock_is_set(void **state)
{
    francis_platform  device = { .version = 1, .wall_ms = wall_of_device };
    francis_host_desc d;
    char              address[2][40], ids[16];
    (void)state;
    atomic_store(&clock_ms, 60000);
    path = t_database();
    for (int i = 0; i < 2; i++) {
        free_address(address[i]);
        d = host_desc(address[i]);
        d.platform = &device;
        d.health_deadline_ms = 2000;
        hosts[i] = host_start(&d);
        ctxs[i] = francis_host_ctx(hosts[i]);
        if (i == 0)                 /* the clock is set between the two */
            atomic_store(&clock_ms, INT64_C(1795000000000));
    }
    for (int n = 0; n < 40; n++) {  /* both ways, whichever of them dials */
        francis_call call = { .timeout_ms = 30000 };
        (void)snprintf(ids, sizeof ids, "c%d", n);
        t_until(francis_invoke(ctxs[n % 2], "counter", ids, "get", NULL, 0, &call) == FRANCIS_OK);
        francis_call_free(&call);
        assert_int_equal(add(n % 2, ids), 1);
        assert_int_equal(add((n + 1) % 2, ids), 2);
    }
    close_hosts();
}

/* Everything that a call can bring, from an actor of another host. */
static void test_answers(void **state)
{
    char         ids[HOSTS][16];
    francis_call call = { 0 };
    char        *big = (char *)malloc(4u * 1024 * 1024 + 1);
    (void)state;
    open_hosts(HOSTS);
    all_know_all(HOSTS);
    one_on_each(ids);
    assert_non_null(big);
    for (size_t i = 0; i <= 4u * 1024 * 1024; i++)
        big[i] = (char)(i * 7 + i / 251);

    t_result(francis_invoke(ctxs[0], "counter", ids[1], "refuse", NULL, 0, &call),
             FRANCIS_ERR_USER + 7);
    assert_true(call.from_handler);
    assert_non_null(strstr(call.error, "does not want to"));
    assert_int_equal(get(2, ids[1]), 0);
    t_result(francis_invoke(ctxs[0], "counter", ids[1], "nothing", NULL, 0, &call),
             FRANCIS_ERR_UNKNOWN_METHOD);
    assert_false(call.from_handler);
    t_result(francis_invoke(ctxs[0], "nobody", "x", "add", NULL, 0, &call),
             FRANCIS_ERR_UNKNOWN_TYPE);
    for (size_t size = 0; size <= 4u * 1024 * 1024; size = size * 13 + 1) {
        t_ok(francis_invoke(ctxs[0], "counter", ids[2], "echo", big, size, &call));
        assert_int_equal(call.size, size);
        assert_memory_equal(call.data, big, size);
    }
    t_ok(francis_invoke(ctxs[0], "counter", ids[2], "echo", big, 4u * 1024 * 1024, &call));
    assert_int_equal(call.size, 4u * 1024 * 1024);
    assert_memory_equal(call.data, big, call.size);
    t_result(francis_invoke(ctxs[0], "counter", ids[2], "echo", big, 4u * 1024 * 1024 + 1, &call),
             FRANCIS_ERR_TOO_LARGE);

    call.active_only = true;
    t_ok(francis_peek(ctxs[0], "counter", ids[1], "get", NULL, 0, &call));
    t_result(francis_peek(ctxs[0], "counter", "never called", "get", NULL, 0, &call),
             FRANCIS_ERR_NOT_ACTIVE);
    call.active_only = false;

    call.timeout_ms = 200;          /* its host ends the turn, and says so */
    t_result(francis_invoke(ctxs[0], "counter", ids[1], "slow", NULL, 0, &call),
             FRANCIS_ERR_DEADLINE);
    assert_int_equal(francis_outcome(call.result), FRANCIS_OUTCOME_FAILED);
    call.timeout_ms = 0;
    assert_int_equal(get(0, ids[1]), 0);
    call.async = true;              /* nobody waits any more: the turn is ended there, too */
    t_result(francis_invoke(ctxs[0], "counter", ids[2], "slow", NULL, 0, &call), FRANCIS_PENDING);
    francis_call_free(&call);
    call.async = false;
    assert_int_equal(get(0, ids[2]), 0);
    francis_call_free(&call);
    free(big);
    close_hosts();
}

/* A piece of work under one request id, asked for through all hosts, is done once. */
static void test_request_ids(void **state)
{
    char         ids[HOSTS][16];
    francis_call call = { .request_id = "the one" };
    (void)state;
    open_hosts(HOSTS);
    all_know_all(HOSTS);
    one_on_each(ids);
    for (int i = 0; i < 3 * HOSTS; i++) {
        t_ok(francis_invoke(ctxs[i % HOSTS], "counter", ids[1], "add", NULL, 0, &call));
        assert_int_equal(*(const int64_t *)call.data, 1);
    }
    t_result(francis_invoke(ctxs[2], "counter", ids[1], "echo", "x", 1, &call), FRANCIS_ERR_EXISTS);
    t_ok(francis_halt(ctxs[0], "counter", ids[1], NULL));      /* also after it has moved */
    t_ok(francis_invoke(ctxs[2], "counter", ids[1], "add", NULL, 0, &call));
    assert_int_equal(*(const int64_t *)call.data, 1);
    francis_call_free(&call);
    close_hosts();
}

/* Calls out of turns, over all hosts and back. Would catch: a wait for oneself that ends with the
 * deadline only, or one that is seen where there is none. */
static void test_chains(void **state)
{
    char         ids[HOSTS][16], path_ids[100];
    francis_call call = { .timeout_ms = 20000 };
    (void)state;
    open_hosts(HOSTS);
    all_know_all(HOSTS);
    one_on_each(ids);
    (void)snprintf(path_ids, sizeof path_ids, "%s %s", ids[2], "end");
    t_ok(francis_invoke(ctxs[0], "counter", ids[1], "chain", path_ids, strlen(path_ids), &call));
    assert_int_equal(get(1, "end"), 1);
    (void)snprintf(path_ids, sizeof path_ids, "%s %s", ids[2], ids[1]);
    t_result(francis_invoke(ctxs[0], "counter", ids[1], "chain", path_ids, strlen(path_ids), &call),
             FRANCIS_ERR_DEADLOCK);
    assert_non_null(strstr(call.error, ids[2]));
    francis_call_free(&call);
    close_hosts();
}

/* State and life of an actor from a host on which it does not live. */
static void test_from_afar(void **state)
{
    char         ids[HOSTS][16];
    int64_t      n = 41;
    francis_call call = { 0 };
    (void)state;
    open_hosts(HOSTS);
    all_know_all(HOSTS);
    one_on_each(ids);
    t_ok(francis_state_write(ctxs[0], "counter", ids[1], &n, sizeof n, 0, NULL));
    assert_int_equal(add(2, ids[1]), 42);
    t_ok(francis_halt(ctxs[0], "counter", ids[1], NULL));
    call.active_only = true;
    t_result(francis_peek(ctxs[2], "counter", ids[1], "get", NULL, 0, &call),
             FRANCIS_ERR_NOT_ACTIVE);
    t_result(francis_halt(ctxs[2], "counter", ids[1], &call), FRANCIS_ERR_NOT_ACTIVE);
    call.active_only = false;
    assert_int_equal(add(2, ids[1]), 43);
    t_ok(francis_purge(ctxs[0], "counter", ids[1], NULL));
    assert_int_equal(get(2, ids[1]), 0);
    francis_call_free(&call);
    close_hosts();
}

/* A host leaves under calls: its actors go on elsewhere, and no caller hears of it. */
static void test_leaving(void **state)
{
    char ids[HOSTS][16];
    (void)state;
    open_hosts(HOSTS);
    all_know_all(HOSTS);
    one_on_each(ids);
    for (int i = 0; i < 5; i++)
        assert_int_equal(add(0, ids[1]), i + 1);
    francis_close(hosts[1]);
    hosts[1] = NULL;
    assert_int_equal(add(0, ids[1]), 6);
    assert_int_equal(add(2, ids[1]), 7);
    close_hosts();
}

/* ---- who does not belong ---- */

static void test_other_key(void **state)
{
    const francis_actor_desc others[] = {
        { .type = "other", .methods = methods, .state_size = sizeof(int64_t) }, { .type = NULL }
    };
    char              address[40], ids[HOSTS][16];
    francis_host_desc d;
    francis_host     *stranger;
    francis_call      call = { .timeout_ms = 1500 };
    (void)state;
    open_hosts(HOSTS);
    all_know_all(HOSTS);
    one_on_each(ids);
    free_address(address);
    d = host_desc(address);
    d.cluster_key = "another key, which is long enough as well";
    stranger = t_start(&d, others);     /* no actor can move there */
    {
        francis_result r = francis_invoke(francis_host_ctx(stranger), "counter", ids[1], "add",
                                          NULL, 0, &call);
        if (r != FRANCIS_ERR_TRANSPORT && r != FRANCIS_ERR_MOVED && r != FRANCIS_ERR_DEADLINE)
            fail_msg("%s: %s", francis_result_name(r), call.error);
        assert_int_not_equal(francis_outcome(r), FRANCIS_OUTCOME_UNKNOWN);
    }
    assert_int_equal(get(0, ids[1]), 0);
    assert_true(t_logged(&logs, 405) > 0);
    francis_call_free(&call);
    francis_close(stranger);
    close_hosts();
}

/* Would catch: bytes of anybody that reach more than the handshake, or hurt the calls beside it. */
static void test_garbage(void **state)
{
    francis_host_desc d;
    int               fds[40];
    struct sockaddr_in in;
    (void)state;
    open_hosts(HOSTS);
    all_know_all(HOSTS);
    francis_desc_get(hosts[1], &d);
    (void)memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons((uint16_t)atoi(strrchr(d.address, ':') + 1));
    for (unsigned i = 0; i < 40; i++) {
        char bytes[512];
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_true(fds[i] >= 0);
        assert_int_equal(connect(fds[i], (const struct sockaddr *)&in, sizeof in), 0);
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (char)(i * 31 + k * 17);
        if (i % 2 == 0)             /* the others say nothing */
            (void)!send(fds[i], bytes, sizeof bytes, MSG_NOSIGNAL);
        assert_int_equal(add(0, "beside"), (int64_t)i + 1);
    }
    for (unsigned i = 0; i < 40; i++)
        (void)close(fds[i]);
    close_hosts();
}

static void refused(const francis_host_desc *d, francis_result expected, const char *word)
{
    francis_host    *host = NULL;
    francis_result   r = francis_open(&host, d);
    if (r == FRANCIS_OK)
        r = francis_start(host);
    t_result(r, expected);
    if (strstr(francis_host_error(host), word) == NULL)
        fail_msg("'%s' does not say '%s'", francis_host_error(host), word);
    assert_null(strstr(francis_host_error(host), "secret"));
    francis_close(host);
}

static void test_options(void **state)
{
    char               address[40];
    francis_host_desc  d;
    struct sockaddr_in in;
    int                fd;
    (void)state;
    path = t_database();
    free_address(address);
    d = host_desc(address);
    d.cluster_key = "a secret of thirty-one bytes...";
    refused(&d, FRANCIS_ERR_INVALID, "31");
    d.cluster_key = key;
    d.address = NULL;
    refused(&d, FRANCIS_ERR_INVALID, "address");
    d = host_desc(address);
    d.cluster_key = NULL;
    d.bind_address = "127.0.0.1:1";
    refused(&d, FRANCIS_ERR_INVALID, "bind_address");
    d = host_desc(address);
    (void)memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    refused(&d, FRANCIS_ERR_EXISTS, address);       /* and nothing is registered under it */
    (void)close(fd);
    hosts[0] = host_start(&d);
    close_hosts();
}

/* ---- kill -9 ---- */

typedef struct {
    uint16_t id;
    uint16_t outcome;
    uint32_t ms;
} record;

typedef struct {
    const char *path, *address;
    int         fd;
    unsigned    seed;
} member;

static void member_body(void **state)
{
    const member     *m = (const member *)*state;
    francis_host_desc d = { .database = m->path, .workers = 2, .address = m->address,
                            .cluster_key = key, .log_level = FRANCIS_LOG_ERROR };
    francis_host     *host = host_start(&d);
    unsigned          x = m->seed;
    for (;;) {
        francis_call call = { .timeout_ms = 20000 };
        record       r;
        char         id[16];
        int64_t      begin = t_ms();
        x = x * 1103515245u + 12345u;
        r.id = (uint16_t)((x >> 16) % IDS);
        (void)snprintf(id, sizeof id, "a%u", (unsigned)r.id);
        r.outcome = (uint16_t)francis_outcome(francis_invoke(francis_host_ctx(host), "counter", id,
                                                             "add", NULL, 0, &call));
        if (r.outcome != FRANCIS_OUTCOME_DONE && r.outcome != FRANCIS_OUTCOME_UNKNOWN)
            (void)fprintf(stderr, "add: %s\n", call.error);
        francis_call_free(&call);
        r.ms = (uint32_t)(t_ms() - begin);
        child_write(m->fd, &r, sizeof r);
    }
}

static int64_t stored(const char *id)
{
    sqlite3      *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t       n = 0;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT actor_state_data FROM francis_actor_state"
                                            " WHERE actor_id = ?1", -1, &stmt, NULL), SQLITE_OK);
    (void)sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        (void)memcpy(&n, sqlite3_column_blob(stmt, 0), sizeof n);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    return n;
}

/* Every acknowledged increment is there, and no more than those whose outcome was unknown, or that
 * were under way in a process that was killed. Every id answers at once after each kill. */
static void test_kill(void **state)
{
    int         fds[2], kills = t_slow() ? 4 : 8;
    member      members[HOSTS];
    pid_t       pids[HOSTS];
    char        addresses[HOSTS][40];
    int64_t     done[IDS] = { 0 }, maybe[IDS] = { 0 }, total = 0, unknown = 0;
    uint32_t    slowest = 0;
    record      r;
    (void)state;
    path = t_database();
    assert_int_equal(pipe(fds), 0);
    for (unsigned i = 0; i < HOSTS; i++) {
        free_address(addresses[i]);
        members[i].path = path;
        members[i].address = addresses[i];
        members[i].fd = fds[1];
        members[i].seed = i + 1;
        pids[i] = child_start(member_body, &members[i]);
    }
    for (int k = 0; k <= kills; k++) {
        int64_t until = total + 300;
        while (total < until) {
            struct pollfd p = { fds[0], POLLIN, 0 };
            if (poll(&p, 1, 60000) <= 0)
                fail_msg("nobody answers any more after %d kills", k);
            assert_true(child_read(fds[0], &r, sizeof r));
            assert_in_range(r.id, 0, IDS - 1);
            done[r.id] += r.outcome == FRANCIS_OUTCOME_DONE;
            maybe[r.id] += r.outcome == FRANCIS_OUTCOME_UNKNOWN;
            unknown += r.outcome == FRANCIS_OUTCOME_UNKNOWN;
            total++;
            if (r.ms > slowest)
                slowest = r.ms;
        }
        if (k < kills) {
            unsigned victim = (unsigned)k % HOSTS;
            child_kill(pids[victim]);
            members[victim].seed += 100;
            pids[victim] = child_start(member_body, &members[victim]);
        }
    }
    for (unsigned i = 0; i < HOSTS; i++)
        child_kill(pids[i]);
    (void)close(fds[1]);
    while (child_read(fds[0], &r, sizeof r)) {
        done[r.id] += r.outcome == FRANCIS_OUTCOME_DONE;
        maybe[r.id] += r.outcome == FRANCIS_OUTCOME_UNKNOWN;
    }
    (void)close(fds[0]);
    for (int i = 0; i < IDS; i++) {
        char    id[16];
        int64_t n;
        (void)snprintf(id, sizeof id, "a%d", i);
        n = stored(id);
        if (n < done[i] || n > done[i] + maybe[i] + kills + HOSTS)
            fail_msg("%s: %lld were acknowledged, %lld may have happened, %lld are there", id,
                     (long long)done[i], (long long)maybe[i], (long long)n);
    }
    print_message("%d kills, %lld calls, %lld unknown, the slowest took %u ms\n", kills,
                  (long long)total, (long long)unknown, (unsigned)slowest);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill), /* first: it forks */
        cmocka_unit_test(test_options),     cmocka_unit_test(test_spread),
        cmocka_unit_test(test_answers),     cmocka_unit_test(test_request_ids),
        cmocka_unit_test(test_chains),      cmocka_unit_test(test_from_afar),
        cmocka_unit_test(test_leaving),     cmocka_unit_test(test_other_key),
        cmocka_unit_test(test_garbage),     cmocka_unit_test(test_spread_again),
        cmocka_unit_test(test_clock_is_set),
    };
    int failed;
    (void)pthread_mutex_init(&logs.lock, NULL);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
    t_clean();
    return failed;
}
