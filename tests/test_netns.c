/* Hosts on one file whose network breaks: each in a network namespace, with a link to a bridge. A
 * cut is silent: frames go to an address that nobody has. And a host whose process stands still for
 * longer than the others wait.
 *
 * The namespaces have no names. They and all that is in them end with the last process inside, and
 * the processes end with this one, however it ends. */
#define _GNU_SOURCE
#include "support/hosts.h"

#if defined(__linux__)
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

enum {
    NODES = 3,
    DEADLINE_MS = 10000,
    WIDE = 300000,
    CHALLENGED = 108                /* the number of that log record */
};

static const char key[] = "a key of the cluster, long enough to be one";

/* ---- the actors ---- */

static francis_result wide_increment(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    int64_t       *reply = (int64_t *)calloc(1, WIDE);
    francis_result r;
    if (c == NULL || reply == NULL) {
        free(reply);
        return FRANCIS_ERR_NOMEM;
    }
    counter_put(c, c->n + 1);
    reply[0] = c->n;
    r = francis_reply(ctx, reply, WIDE);
    free(reply);
    return r;
}

static const francis_method methods[] = { { "increment", counter_increment, FRANCIS_INVOKE, 0 },
                                          FRANCIS_METHODS_END };
static const francis_method wide_methods[] = { { "increment", wide_increment, FRANCIS_INVOKE, 0 },
                                               FRANCIS_METHODS_END };

/* They live where they were called first, or, "any", wherever it is. */
static const francis_actor_desc types[] = {
    { .type = "counter",
      .methods = methods,
      .state_size = sizeof(counter_state),
      .placement = FRANCIS_PLACE_LOCAL },
    { .type = "wide",
      .methods = wide_methods,
      .state_size = sizeof(counter_state),
      .placement = FRANCIS_PLACE_LOCAL },
    { .type = "any", .methods = methods, .state_size = sizeof(counter_state) },
    { .type = NULL }
};

/* ---- the network ---- */

static int         net_own = -1;    /* the namespace of this process: it has the bridge */
static const char *net_why;         /* why there is none */

static void net_go(int ns)
{
    if (setns(ns, CLONE_NEWNET) != 0)
        fail_msg("setns: %s", strerror(errno));
}

static bool net_try(int ns, const char *format, ...)
{
    char    command[300];
    size_t  length;
    va_list args;
    int     code;
    va_start(args, format);
    length = (size_t)snprintf(command, sizeof command, "exec > /dev/null 2>&1; ");
    (void)vsnprintf(command + length, sizeof command - length, format, args);
    va_end(args);
    net_go(ns);
    code = system(command);
    net_go(net_own);
    return code == 0;
}

#define net_do(ns, ...)                             \
    do {                                            \
        if (!net_try(ns, __VA_ARGS__))              \
            fail_msg("it fails: %s", #__VA_ARGS__); \
    } while (0)

static bool put(const char *file, const char *text)
{
    int  fd = open(file, O_WRONLY);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* Without root: as the root of a user namespace. */
static bool net_unshare(void)
{
    char uid[40], gid[40];
    if (unshare(CLONE_NEWNET) == 0)
        return true;
    (void)snprintf(uid, sizeof uid, "0 %u 1", (unsigned)getuid());
    (void)snprintf(gid, sizeof gid, "0 %u 1", (unsigned)getgid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && put("/proc/self/setgroups", "deny")
        && put("/proc/self/uid_map", uid) && put("/proc/self/gid_map", gid);
}

/* Without a tool: what needs no more than this runs in any case. */
static bool net_loopback(void)
{
    struct ifreq request;
    int          fd = socket(AF_INET, SOCK_DGRAM, 0);
    bool         ok;
    (void)memset(&request, 0, sizeof request);
    (void)strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    ok = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static void net_make(void)
{
    if (!net_unshare())
        net_why = "network namespaces are not permitted";
    net_own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (net_own < 0) {
        net_why = "there are no network namespaces";
        return;
    }
    if (net_why == NULL && !net_loopback())
        net_why = "the loopback device of a namespace cannot be used";
    if (net_why == NULL && !net_try(net_own, "ip link show lo"))
        net_why = "there is no 'ip' that works";
    if (net_why == NULL
        && !net_try(net_own, "ip link add br0 type bridge && ip link set br0 up"
                             " && ip link add v0 type veth peer name e0 && ip link del v0"))
        net_why = "there is no bridge or no veth";
}

static void skip_because(const char *why)
{
    print_message("skipped: %s\n", why);
    skip();
}

/* ---- hosts ---- */

typedef struct {
    hosts_far far;
    int       ns;
    unsigned  number;               /* of its link, in this process; 1 to 254 */
    char      address[40];
} node;

static node        nodes[NODES];
static unsigned    nodes_made;
static const char *path;

static void die_together(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == 1)
        _exit(3);
}

static void node_body(void **state)
{
    die_together();
    hosts_far_body(state);
}

static void node_link(node *n)
{
    unsigned i = n->number;
    net_do(net_own, "ip link add v%u type veth peer name e%u address 02:00:00:00:00:%02x", i, i, i);
    net_do(net_own, "ip link set v%u master br0 up", i);
    net_do(net_own, "ip link set e%u netns %d", i, (int)n->far.pid);
    net_do(n->ns, "ip addr add 10.77.0.%u/24 dev e%u && ip link set lo up && ip link set e%u up", i,
           i, i);
}

static void node_start(node *n, int64_t timeout_ms)
{
    (void)memset(n, 0, sizeof *n);
    n->number = ++nodes_made;
    (void)snprintf(n->address, sizeof n->address, "10.77.0.%u:7571", n->number);
    n->far.types = types;
    n->far.body = node_body;
    n->far.desc = hosts_desc(path, 2);
    n->far.desc.address = n->address;
    n->far.desc.cluster_key = key;
    n->far.desc.timeout_ms = timeout_ms;
    n->far.desc.health_deadline_ms = DEADLINE_MS;
    if (unshare(CLONE_NEWNET) != 0)
        fail_msg("unshare: %s", strerror(errno));
    n->ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    hosts_far_start(&n->far);       /* it stays there */
    net_go(net_own);
    node_link(n);
}

/* What one node sends to another arrives, or is lost without a word. */
static void arrives(const node *from, const node *to, bool yes)
{
    net_do(from->ns, "ip neigh replace 10.77.0.%u lladdr 02:00:00:00:%s:%02x dev e%u nud permanent",
           to->number, yes ? "00" : "ff", to->number, from->number);
}

static void cut(const node *a, const node *b)
{
    arrives(a, b, false);
    arrives(b, a, false);
}

static void heal(const node *a, const node *b)
{
    arrives(a, b, true);
    arrives(b, a, true);
}

static void open_nodes(int64_t timeout_ms)
{
    if (net_why != NULL)
        skip_because(net_why);
    path = t_database();
    for (int i = 0; i < NODES; i++)
        node_start(&nodes[i], timeout_ms);
    for (int i = 0; i < NODES; i++)
        for (int k = 0; k < i; k++)
            heal(&nodes[i], &nodes[k]);
    for (int i = 0; i < NODES; i++)
        t_ok(hosts_order(&nodes[i].far, HOSTS_OPEN, NULL, NULL));
}

static void close_nodes(void)
{
    for (int i = 0; i < NODES; i++) {
        hosts_far_end(&nodes[i].far);
        (void)close(nodes[i].ns);
    }
}

static void agrees(counter_model *m, const char *type)
{
    sqlite3 *db = raw_open(path);
    model_stored(m, db, type);
    (void)sqlite3_close(db);
}

/* Nobody was evicted, nobody had to join again. */
static void all_stand(void)
{
    for (int i = 0; i < NODES; i++) {
        t_ok(hosts_order(&nodes[i].far, HOSTS_LOOK, NULL, NULL));
        assert_int_equal(nodes[i].far.report.evictions, 0);
        assert_int_equal(nodes[i].far.report.lives, 1);
    }
}

static francis_outcome_kind add(node *n, counter_model *m)
{
    return francis_outcome(hosts_order_add(&n->far, "counter", m));
}

/* Until one is done. */
static void add_done(node *n, counter_model *m)
{
    t_until(add(n, m) == FRANCIS_OUTCOME_DONE);
}

static unsigned logged(node *n, unsigned id)
{
    t_ok(hosts_order(&n->far, HOSTS_LOOK, NULL, NULL));
    return n->far.report.logged[id];
}

/* Two actors: one of the first node, one of the second. */
static void place_two(counter_model *a, counter_model *b)
{
    model_init(a, "a", 0);
    model_init(b, "b", 0);
    add_done(&nodes[0], a);
    add_done(&nodes[1], b);
    add_done(&nodes[0], b);
    add_done(&nodes[1], a);
    add_done(&nodes[2], a);
    add_done(&nodes[2], b);
}

/* ---- links ---- */

/* A call over a link that is cut. It may have been sent, or has done nothing; and once the
 * connection is gone no further one can have been sent. */
static void add_cut(node *n, counter_model *m, bool *gone)
{
    francis_outcome_kind outcome = add(n, m);
    if (outcome == FRANCIS_OUTCOME_DONE || (outcome == FRANCIS_OUTCOME_UNKNOWN && *gone))
        fail_msg("%s: %s: %s", m->id, francis_result_name(n->far.report.result),
                 n->far.report.error);
    *gone = *gone || outcome == FRANCIS_OUTCOME_NOT_RUN;
}

/* One round of calls while the first two nodes are cut off from each other. */
static void cut_round(counter_model *a, counter_model *b, bool gone[2])
{
    add_cut(&nodes[0], b, &gone[0]);
    add_cut(&nodes[1], a, &gone[1]);
    add_done(&nodes[0], a);
    add_done(&nodes[1], b);
    add_done(&nodes[2], a);
    add_done(&nodes[2], b);
}

/* Would catch: an eviction for a broken link, an answer that is not true, calls that do not come
 * back with the link, a cut that harms who is not cut off. It lasts until both have been asked to
 * show that they stand, and for as long as they had time for that. */
static void test_cut(void **state)
{
    counter_model a, b;
    int64_t       begin = t_ms();
    unsigned      rounds = 0;
    bool          gone[2] = { false, false };
    (void)state;
    open_nodes(2000);
    place_two(&a, &b);
    cut(&nodes[0], &nodes[1]);
    while (logged(&nodes[0], CHALLENGED) == 0 || logged(&nodes[1], CHALLENGED) == 0) {
        cut_round(&a, &b, gone);
        rounds++;
        if (t_ms() - begin > 120000)
            fail_msg("nobody suspects anybody");
    }
    for (begin = t_ms(); t_ms() - begin < 2 * DEADLINE_MS; rounds++)
        cut_round(&a, &b, gone);
    assert_true(gone[0] && gone[1]);
    all_stand();
    heal(&nodes[0], &nodes[1]);
    add_done(&nodes[0], &b);
    add_done(&nodes[1], &a);
    all_stand();
    print_message("%u rounds, %lld unknown, %lld not done\n", rounds,
                  (long long)(a.unknown + b.unknown), (long long)(a.refused + b.refused));
    close_nodes();
    agrees(&a, "counter");
    agrees(&b, "counter");
}

/* Requests arrive, answers do not: the outcome is unknown, and the turn has happened. */
static void test_cut_answers(void **state)
{
    counter_model a, b;
    int           ran = 0;
    (void)state;
    open_nodes(2000);
    place_two(&a, &b);
    for (int i = 0; i < 10 && ran == 0; i++) {
        int64_t before;
        add_done(&nodes[0], &b);
        before = b.hi;
        arrives(&nodes[1], &nodes[0], false);
        assert_int_not_equal(add(&nodes[0], &b), FRANCIS_OUTCOME_DONE);
        if (b.hi > before) {
            add_done(&nodes[1], &b);    /* says which of both it was */
            ran += b.lo == before + 2;
        }
        arrives(&nodes[1], &nodes[0], true);
        add_done(&nodes[0], &b);
        add_done(&nodes[1], &a);
    }
    assert_true(ran > 0);
    all_stand();
    close_nodes();
    agrees(&b, "counter");
}

/* Requests do not arrive: nothing happens, and no one says it did. */
static void test_cut_requests(void **state)
{
    counter_model a, b;
    (void)state;
    open_nodes(2000);
    place_two(&a, &b);
    for (int i = 0; i < 3; i++) {
        int64_t before = b.lo;
        arrives(&nodes[0], &nodes[1], false);
        assert_int_not_equal(add(&nodes[0], &b), FRANCIS_OUTCOME_DONE);
        add_done(&nodes[1], &b);
        assert_int_equal(b.lo, before + 1);
        arrives(&nodes[0], &nodes[1], true);
        add_done(&nodes[0], &b);
        add_done(&nodes[1], &a);
    }
    all_stand();
    close_nodes();
    agrees(&b, "counter");
}

/* Long replies over a slow link, and short ones beside them. */
static void test_slow(void **state)
{
    counter_model wide, a, b;
    unsigned      i;
    (void)state;
    open_nodes(60000);
    place_two(&a, &b);
    model_init(&wide, "w", 0);
    t_ok(hosts_order_add(&nodes[1].far, "wide", &wide));
    i = nodes[1].number;
    if (!net_try(net_own, "tc qdisc add dev v%u root netem delay 50ms rate 4mbit", i)
        && !net_try(net_own, "tc qdisc add dev v%u root tbf rate 4mbit burst 8k latency 1s", i)) {
        close_nodes();
        skip_because("there is neither netem nor tbf");
    }
    net_do(nodes[1].ns,
           "tc qdisc add dev e%u root netem delay 50ms rate 4mbit"
           " || tc qdisc add dev e%u root tbf rate 4mbit burst 8k latency 1s", i, i);
    for (int k = 0; k < 5; k++) {
        hosts_tell(&nodes[0].far, HOSTS_ADD, "wide", wide.id, 1);
        for (int short_ones = 0; short_ones < 5; short_ones++) {
            assert_int_equal(add(&nodes[2], &b), FRANCIS_OUTCOME_DONE);
            assert_int_equal(add(&nodes[1], &a), FRANCIS_OUTCOME_DONE);
        }
        assert_true(hosts_hear(&nodes[0].far));
        model_answer(&wide, nodes[0].far.report.result, &nodes[0].far.report.value,
                     sizeof(int64_t));
    }
    assert_int_equal(wide.done, 6);
    all_stand();
    close_nodes();
    agrees(&a, "counter");
    agrees(&b, "counter");
    agrees(&wide, "wide");
}

static void flip(bool *is_cut)
{
    *is_cut = !*is_cut;
    if (*is_cut)
        cut(&nodes[0], &nodes[1]);
    else
        heal(&nodes[0], &nodes[1]);
}

/* One call, and what becomes of the link until it has an answer. Returns the number of changes. */
static unsigned flapping_call(counter_model *m, unsigned *random, bool *is_cut)
{
    hosts_far    *far = &nodes[0].far;
    struct pollfd p = { far->from, POLLIN, 0 };
    unsigned      changes = 0;
    hosts_tell(far, HOSTS_ADD, "counter", m->id, 1);
    do {
        *random = *random * 1103515245u + 12345u;
        if ((*random >> 28 & 3) == 0) {
            flip(is_cut);
            changes++;
        }
    } while (poll(&p, 1, (int)(*random >> 16) % 200) == 0);
    assert_true(hosts_hear(far));
    model_answer(m, far->report.result, &far->report.value, sizeof far->report.value);
    return changes;
}

/* The link comes and goes while calls are under way. */
static void test_flapping(void **state)
{
    counter_model a, b;
    unsigned      random = 1, changes = 0;
    bool          is_cut = false;
    int64_t       end = t_ms() + 150000;
    (void)state;
    open_nodes(2000);
    place_two(&a, &b);
    while (changes < 40 || b.done < 30) {
        changes += flapping_call(&b, &random, &is_cut);
        if (t_ms() > end)
            fail_msg("%u changes, %lld done", changes, (long long)b.done);
    }
    heal(&nodes[0], &nodes[1]);
    add_done(&nodes[0], &b);
    add_done(&nodes[1], &a);
    add_done(&nodes[2], &b);
    all_stand();
    print_message("%u changes, %lld done, %lld unknown, %lld not done\n", changes,
                  (long long)b.done, (long long)b.unknown, (long long)b.refused);
    close_nodes();
    agrees(&b, "counter");
}

/* ---- a process that stands still ---- */

enum { IDS = 20, VALUES = 100000, STOP_DEADLINE_MS = 3000 };

typedef struct {
    int     member, id, outcome;
    int64_t value;                  /* of the reply, if it is done */
} record;

typedef struct {
    int      number, fd;
    unsigned seed;
    char     address[40];
    pid_t    pid;
} member;

static member  members[NODES];
static int     records;             /* the end of the pipe from which they are read */
static bool    seen[IDS][VALUES];   /* replies */
static int64_t done[IDS], maybe[IDS], served[NODES];

static void member_body(void **state)
{
    member           *m = (member *)*state;
    francis_host_desc d = hosts_desc(path, 2);
    hosts_near        n;
    die_together();
    d.address = m->address;
    d.cluster_key = key;
    d.timeout_ms = 4000;
    d.health_deadline_ms = STOP_DEADLINE_MS;
    hosts_near_open(&n, &d, types);
    for (;;) {
        record       r = { .member = m->number };
        francis_call call = { 0 };
        char         id[16];
        m->seed = m->seed * 1103515245u + 12345u;
        r.id = (int)(m->seed >> 16) % IDS;
        (void)snprintf(id, sizeof id, "s%d", r.id);
        r.outcome = (int)francis_outcome(francis_invoke(n.ctx, "any", id, "increment", NULL, 0,
                                                        &call));
        if (r.outcome == FRANCIS_OUTCOME_DONE)
            r.value = *(const int64_t *)call.data;
        francis_call_free(&call);
        child_write(m->fd, &r, sizeof r);
    }
}

/* Takes one record, if one comes in time. Would catch: one increment that is acknowledged twice. */
static bool next_record(record *r, int timeout_ms)
{
    struct pollfd p = { records, POLLIN, 0 };
    if (poll(&p, 1, timeout_ms) <= 0 || !child_read(records, r, sizeof *r))
        return false;
    assert_in_range(r->id, 0, IDS - 1);
    maybe[r->id] += r->outcome == FRANCIS_OUTCOME_UNKNOWN;
    if (r->outcome != FRANCIS_OUTCOME_DONE)
        return true;
    assert_in_range(r->value, 1, VALUES - 1);
    if (seen[r->id][r->value])
        fail_msg("s%d: %lld was the answer to two calls", r->id, (long long)r->value);
    seen[r->id][r->value] = true;
    done[r->id]++;
    served[r->member]++;
    return true;
}

/* Until a member has done so much more. */
static void serves(int who, int64_t more)
{
    int64_t until = served[who] + more, end = t_ms() + 60000;
    record  r;
    while (served[who] < until)
        if (!next_record(&r, 60000) || t_ms() > end)
            fail_msg("host %d serves no more", who);
}

/* Whether all actors answer calls of others while a member stands still. They cannot if it holds
 * the lock of the database: then nothing is done at all. */
static bool others_have_all(int stopped)
{
    bool    has[IDS] = { false };
    int     missing = IDS;
    int64_t last = t_ms(), end = t_ms() + 90000;
    record  r;
    while (missing > 0) {
        if (t_ms() - last > 12000)
            return false;
        if (t_ms() > end)
            fail_msg("%d actors do not answer while host %d stands still", missing, stopped);
        if (!next_record(&r, 1000) || r.outcome != FRANCIS_OUTCOME_DONE || r.member == stopped)
            continue;
        last = t_ms();
        missing -= !has[r.id];
        has[r.id] = true;
    }
    return true;
}

static void members_start(void)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    records = fds[0];
    for (int i = 0; i < NODES; i++) {
        members[i].number = i;
        members[i].fd = fds[1];
        members[i].seed = (unsigned)i + 1;
        free_address(members[i].address);
        members[i].pid = child_start(member_body, &members[i]);
        hosts_pid_keep(members[i].pid, true);
    }
    (void)close(fds[1]);
}

static void members_kill(void)
{
    record r;
    for (int i = 0; i < NODES; i++) {
        child_kill(members[i].pid);
        hosts_pid_keep(members[i].pid, false);
    }
    while (next_record(&r, 0))
        continue;
    (void)close(records);
}

/* Would catch: what a host that was given up writes when it goes on, or acknowledges though it is
 * not kept; two hosts with one actor; a host that does not come back. */
static void test_standstill(void **state)
{
    sqlite3 *db;
    int      given_up = 0;
    (void)state;
    path = t_database();
    members_start();
    for (int i = 0; i < NODES; i++)
        serves(i, 100);
    for (int i = 0; i < 20 && given_up < NODES; i++) {
        int who = given_up;
        (void)kill(members[who].pid, SIGSTOP);
        given_up += others_have_all(who);
        (void)kill(members[who].pid, SIGCONT);
        serves(who, 50);
    }
    assert_int_equal(given_up, NODES);
    members_kill();
    db = raw_open(path);
    for (int i = 0; i < IDS; i++) {
        counter_state c;
        char          id[16];
        (void)snprintf(id, sizeof id, "s%d", i);
        (void)raw_state(db, "any", id, &c, sizeof c);
        assert_true(counter_whole(&c));
        if (c.n < done[i] || c.n > done[i] + maybe[i] + NODES)
            fail_msg("%s: %lld were acknowledged, %lld may have happened, %lld are there", id,
                     (long long)done[i], (long long)maybe[i], (long long)c.n);
        for (int64_t n = c.n + 1; n < VALUES; n++)
            assert_false(seen[i][n]);
    }
    (void)sqlite3_close(db);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standstill),   cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cut_answers),  cmocka_unit_test(test_cut_requests),
        cmocka_unit_test(test_slow),         cmocka_unit_test(test_flapping),
    };
    int failed;
    net_make();
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("netns", tests, NULL, NULL);
    hosts_far_clear();
    t_clean();
    return failed;
}

#else

static void test_none(void **state)
{
    (void)state;
    print_message("skipped: network namespaces are of Linux\n");
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_none) };
    return cmocka_run_group_tests_name("netns", tests, NULL, NULL);
}

#endif
