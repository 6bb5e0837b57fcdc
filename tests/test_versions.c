/* Hosts that were built with different versions of mbedTLS are one cluster. This program starts
 * itself, built with the other one (T_OTHER), as a process with a host, and has another such
 * process of its own build: they call each other, take over from each other, change the key. */
#include "support/hosts.h"

#include <mbedtls/version.h>

enum { IDS = 40, WIDE = 300000 };

static const char key_a[] = "the first key of the cluster, long enough to be one";
static const char key_b[] = "the second key of the cluster, long enough to be one";

/* ---- the actors ---- */

/* The reply of many records. */
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

static const francis_actor_desc types[] = {
    { .type = "counter", .methods = methods, .state_size = sizeof(counter_state) },
    { .type = "wide", .methods = wide_methods, .state_size = sizeof(counter_state) },
    { .type = NULL }
};

/* ---- the two processes ---- */

typedef struct {
    hosts_far   far;
    bool        other;              /* built with the other mbedTLS */
    char        address[40];
    const char *key, *old;
} member;

static member        members[2];
static const char   *path;
static counter_model counters[IDS], wide;

static francis_host_desc member_desc(const char *database, const char *address, const char *key,
                                     const char *old)
{
    francis_host_desc d = hosts_desc(database, 2);
    d.address = address;
    d.cluster_key = key;
    d.cluster_keys_old = old[0] != '\0' ? old : NULL;
    return d;
}

/* What a process does first: it says what it was built with. */
static void member_body(void **state)
{
    hosts_far *far = (hosts_far *)*state;
    unsigned   version = mbedtls_version_get_number();
    child_write(far->from, &version, sizeof version);
    hosts_far_body(state);
}

/* In the child: becomes the other program, which comes back to main with these arguments. */
static void member_exec(void **state)
{
    hosts_far  *far = (hosts_far *)*state;
    const char *program = getenv("T_OTHER"), *old = far->desc.cluster_keys_old;
    char        to[16], from[16];
    hosts_pipes_close();
    (void)snprintf(to, sizeof to, "%d", far->to);
    (void)snprintf(from, sizeof from, "%d", far->from);
    (void)execl(program, program, "far", to, from, far->desc.database, far->desc.address,
                far->desc.cluster_key, old != NULL ? old : "", (char *)NULL);
    fail_msg("%s: %s", program, strerror(errno));
}

static void member_main(char **args)
{
    hosts_far far = { .types = types, .to = atoi(args[0]), .from = atoi(args[1]) };
    far.desc = member_desc(args[2], args[3], args[4], args[5]);
    child_main(member_body, &far);
}

static void member_start(member *m)
{
    unsigned version = 0;
    m->far.desc = member_desc(path, m->address, m->key, m->old);
    m->far.types = types;
    m->far.body = m->other ? member_exec : member_body;
    hosts_far_start(&m->far);
    assert_true(child_read(m->far.from, &version, sizeof version));
    if (m->other == (version == mbedtls_version_get_number()))
        fail_msg("a process has mbedTLS %x, this one %x", version, mbedtls_version_get_number());
    t_ok(hosts_order(&m->far, HOSTS_OPEN, NULL, NULL));
}

static void members_start(void)
{
    if (getenv("T_OTHER") == NULL) {
        print_message("skipped: there is no program with another mbedTLS (see ./build.sh"
                      " deps-mbedtls36)\n");
        skip();
    }
    path = t_database();
    (void)memset(members, 0, sizeof members);
    for (int i = 0; i < 2; i++) {
        members[i].other = i == 1;
        members[i].key = key_a;
        members[i].old = "";
        free_address(members[i].address);
        member_start(&members[i]);
    }
    for (unsigned i = 0; i < IDS; i++)
        model_init(&counters[i], "c", i);
    model_init(&wide, "w", 0);
}

static void member_add(member *m, const char *type, counter_model *model)
{
    francis_result r = hosts_order_add(&m->far, type, model);
    if (r != FRANCIS_OK)
        fail_msg("%s through the %s host: %s: %s", model->id, m->other ? "other" : "own",
                 francis_result_name(r), m->far.report.error);
}

/* The same after a kill: a call that was sent to the dead host has an unknown outcome. */
static void member_take(member *m, counter_model *model)
{
    if (hosts_order_add(&m->far, "counter", model) != FRANCIS_ERR_UNKNOWN)
        t_ok(m->far.report.result);
    member_add(m, "counter", model);
}

/* Everything through each of them. */
static void add_all(void)
{
    for (unsigned i = 0; i < 2 * IDS; i++)
        member_add(&members[i % 2], "counter", &counters[i / 2]);
}

/* Each of them has called the other since it was started. */
static void both_called(void)
{
    for (int i = 0; i < 2; i++) {
        t_ok(hosts_order(&members[i].far, HOSTS_LOOK, NULL, NULL));
        assert_true(members[i].far.report.calls_in > 0);
        assert_true(members[i].far.report.calls_out > 0);
    }
}

static void members_end(void)
{
    sqlite3 *db;
    for (int i = 0; i < 2; i++)
        hosts_far_end(&members[i].far);
    db = raw_open(path);
    for (unsigned i = 0; i < IDS; i++)
        model_stored(&counters[i], db, "counter");
    model_stored(&wide, db, "wide");
    (void)sqlite3_close(db);
}

/* ---- tests ---- */

/* Would catch: an authority that differs, a suite or an extension that one of them does not know,
 * records that one of them takes for too long. */
static void test_call(void **state)
{
    (void)state;
    members_start();
    add_all();
    both_called();
    for (int i = 0; i < 4; i++)         /* wherever it lives, one of them gets it from afar */
        member_add(&members[i % 2], "wide", &wide);
    members_end();
}

/* One is killed: the other one has its actors at once, and shares them with its successor. */
static void test_takeover(void **state)
{
    (void)state;
    members_start();
    add_all();
    for (int i = 0; i < 2; i++) {
        hosts_far_kill(&members[i].far);
        for (unsigned k = 0; k < IDS; k++)
            member_take(&members[1 - i], &counters[k]);
        member_start(&members[i]);
        for (unsigned k = 0; k < IDS; k++)  /* so that the successor gets some as well */
            (void)hosts_order(&members[1 - i].far, HOSTS_HALT, "counter", counters[k].id);
        add_all();
        both_called();
    }
    members_end();
}

static void member_again(member *m, const char *key, const char *old)
{
    hosts_far_end(&m->far);
    m->key = key;
    m->old = old;
    member_start(m);
    for (unsigned k = 0; k < IDS; k++)
        (void)hosts_order(&members[m == &members[0]].far, HOSTS_HALT, "counter", counters[k].id);
    add_all();
    both_called();
}

/* The key is changed one host after the other; after each step both call each other. */
static void test_rotation(void **state)
{
    (void)state;
    members_start();
    add_all();
    for (int i = 0; i < 2; i++)
        member_again(&members[i], key_a, key_b);
    for (int i = 1; i >= 0; i--)
        member_again(&members[i], key_b, key_a);
    for (int i = 0; i < 2; i++)
        member_again(&members[i], key_b, "");
    members_end();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_takeover),
        cmocka_unit_test(test_rotation),
    };
    int failed;
    if (argc == 8 && strcmp(argv[1], "far") == 0)
        member_main(argv + 2);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("versions", tests, NULL, NULL);
    hosts_far_clear();
    t_clean();
    return failed;
}
