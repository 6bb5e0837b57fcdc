/* Registration and set-up: defaults, refusals and their words, errors that stick, the result list.
 * */
#include "support/ta.h"

#include <poll.h>

#include <limits.h>

/* -- the list of results ----------------------------------------------------------------------- */

/* Catches: a code without text, or whose text, name, outcome or retry advice is another one's. */
static void test_results(void **state)
{
    static const struct {
        francis_result       number;
        const char          *name, *text;
        francis_outcome_kind outcome;
        bool                 retry;
    } list[] = {
#define X(name_, number_, wire_, outcome_, retry_, text_) \
        { number_, wire_, text_, FRANCIS_OUTCOME_##outcome_, (retry_) != 0 },
        FRANCIS_RESULTS(X)
#undef X
    };
    const size_t count = sizeof list / sizeof list[0];
    size_t       i, k;
    (void)state;
    for (i = 0; i < count; i++) {
        assert_string_equal(francis_strerror(list[i].number), list[i].text);
        assert_string_equal(francis_result_name(list[i].number), list[i].name);
        assert_int_equal(francis_outcome(list[i].number), list[i].outcome);
        assert_int_equal(francis_retryable(list[i].number), list[i].retry);
        for (k = 0; k < i; k++) {
            assert_true(list[i].number != list[k].number);
            assert_string_not_equal(list[i].name, list[k].name);
        }
    }
    assert_true(count >= 33);
}

/* Catches: a NULL or a crash for a number that is in no list, and an application's code that is
 * taken for a defect of the library (or for something worth a retry). */
static void test_results_beyond(void **state)
{
    static const francis_result inside[] = { 3, 4, 99, 100, 111, 200, 205, 309, 500, 506, 900, 903,
                                             9999, -1, -101, INT_MIN };
    static const francis_result above[] = { 10001, 10007, 65535, 65536, 1000000, INT_MAX };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        assert_string_equal(francis_result_name(inside[i]), "internal");
        assert_string_equal(francis_strerror(inside[i]), francis_strerror(FRANCIS_ERR_INTERNAL));
        assert_int_equal(francis_outcome(inside[i]), FRANCIS_OUTCOME_UNKNOWN);
        assert_false(francis_retryable(inside[i]));
    }
    for (i = 0; i < sizeof above / sizeof above[0]; i++) {
        assert_string_equal(francis_result_name(above[i]), "application");
        assert_string_equal(francis_strerror(above[i]), francis_strerror(FRANCIS_ERR_USER));
        assert_int_equal(francis_outcome(above[i]), FRANCIS_OUTCOME_FAILED);
        assert_false(francis_retryable(above[i]));
    }
}

/* Catches: an implementation that is linked with other declarations without anybody noticing. */
static void test_version(void **state)
{
    const char *info = francis_build_info(), *p = info;
    int         words = 0;
    (void)state;
    assert_int_equal(francis_version_number(), FRANCIS_VERSION_NUMBER);
    assert_int_equal(FRANCIS_VERSION_NUMBER / 1000000, FRANCIS_VERSION_MAJOR);
    assert_int_equal(FRANCIS_VERSION_NUMBER / 1000 % 1000, FRANCIS_VERSION_MINOR);
    assert_int_equal(FRANCIS_VERSION_NUMBER % 1000, FRANCIS_VERSION_PATCH);
    assert_non_null(info);
    while (*p != '\0') {                                    /* NAME=value, NAME=value, ... */
        size_t length = strcspn(p, " ");
        assert_true(length > 0);
        assert_non_null(memchr(p, '=', length));
        assert_int_not_equal(*p, '=');
        words++;
        p += length;
        while (*p == ' ')
            p++;
    }
    assert_true(words > 0);
    assert_ptr_equal(info, francis_build_info());
}

/* -- the desc of the host ---------------------------------------------------------------------- */

static bool has_words(const char *text, const char *words)
{
    char  copy[600], *word, *rest = copy;
    (void)snprintf(copy, sizeof copy, "%s", words);
    while ((word = strtok_r(rest, "|", &rest)) != NULL)
        if (strstr(text, word) == NULL)
            return false;
    return true;
}

/* Catches: a default that is not the documented one, or one that francis_desc_get does not show. */
static void test_host_defaults(void **state)
{
    francis_host      *host = NULL;
    char               path[512];
    francis_host_desc  desc = { .on_alloc = NULL }, got;
    (void)state;
    (void)snprintf(path, sizeof path, "%s", t_database());
    desc.database = path;
    t_ok(francis_open(&host, &desc));
    assert_string_equal(francis_host_error(host), "");
    (void)memset(&got, 0x5a, sizeof got);
    francis_desc_get(host, &got);
    assert_string_equal(got.database, path);
    assert_ptr_not_equal(got.database, path);               /* copied */
    assert_null(got.sqlite);
    assert_string_equal(got.table_prefix, "francis");
    assert_null(got.on_database);
    assert_int_equal(got.workers, sysconf(_SC_NPROCESSORS_ONLN));
    assert_int_equal(got.blocked_max, 64);
    assert_int_equal(got.profile, FRANCIS_PROFILE_SERVER);
    assert_int_equal(got.durability, FRANCIS_SURVIVES_POWER_CUT);
    assert_false(got.no_signal_handlers);
    assert_int_equal(got.timeout_ms, 30000);
    assert_int_equal(got.stop_timeout_ms, 30000);
    assert_int_equal(got.busy_timeout_ms, 5000);
    assert_int_equal(got.commit_window_ms, 0);
    assert_int_equal(got.sweep_interval_ms, 600000);
    assert_int_equal(got.calls_max, 65536);
    assert_int_equal(got.state_bytes_max, 1 << 20);
    assert_int_equal(got.message_bytes_max, 4 << 20);
    assert_int_equal(got.wal_bytes_max, 16 << 20);
    assert_int_equal(got.log_level, FRANCIS_LOG_WARNING);
    francis_close(host);
}

/* Catches: a flash profile that is the server's under another name. */
static void test_host_defaults_flash(void **state)
{
    francis_host     *host = NULL;
    francis_host_desc desc = { .database = ":memory:", .profile = FRANCIS_PROFILE_FLASH,
                               .workers = FRANCIS_NO_WORKERS }, got;
    (void)state;
    t_ok(francis_open(&host, &desc));
    francis_desc_get(host, &got);
    assert_int_equal(got.commit_window_ms, 20);
    assert_int_equal(got.wal_bytes_max, 1 << 20);
    assert_int_equal(got.workers, FRANCIS_NO_WORKERS);
    francis_close(host);
}

/* Catches: an option that is replaced by its default although it was set. */
static void test_host_values(void **state)
{
    francis_host     *host = NULL;
    francis_host_desc desc = { .database = ":memory:", .table_prefix = "My_9", .workers = 3,
                               .blocked_max = 5, .durability = FRANCIS_SURVIVES_CRASH,
                               .no_signal_handlers = true, .timeout_ms = FRANCIS_FOREVER,
                               .stop_timeout_ms = 7, .busy_timeout_ms = 8, .commit_window_ms = 9,
                               .sweep_interval_ms = FRANCIS_FOREVER, .calls_max = 11,
                               .state_bytes_max = 12, .message_bytes_max = 13,
                               .wal_bytes_max = 1 << 21, .memory_bytes_max = 1 << 26,
                               .log_level = FRANCIS_LOG_ERROR, .name = "tester" }, got;
    (void)state;
    t_ok(francis_open(&host, &desc));
    francis_desc_get(host, &got);
    assert_string_equal(got.table_prefix, "My_9");
    assert_int_equal(got.workers, 3);
    assert_int_equal(got.blocked_max, 5);
    assert_int_equal(got.durability, FRANCIS_SURVIVES_CRASH);
    assert_true(got.no_signal_handlers);
    assert_int_equal(got.timeout_ms, FRANCIS_FOREVER);
    assert_int_equal(got.stop_timeout_ms, 7);
    assert_int_equal(got.busy_timeout_ms, 8);
    assert_int_equal(got.commit_window_ms, 9);
    assert_int_equal(got.sweep_interval_ms, FRANCIS_FOREVER);
    assert_int_equal(got.calls_max, 11);
    assert_int_equal(got.state_bytes_max, 12);
    assert_int_equal(got.message_bytes_max, 13);
    assert_int_equal(got.wal_bytes_max, 1 << 21);
    assert_int_equal(got.memory_bytes_max, 1 << 26);
    assert_int_equal(got.log_level, FRANCIS_LOG_ERROR);
    assert_string_equal(got.name, "tester");
    francis_close(host);
}

#define KEY "a key of at least thirty-two bytes"

static francis_result database_of_nobody(struct sqlite3 **db_out, const char *database, int flags,
                                         void *user)
{
    (void)database;
    (void)flags;
    (void)user;
    *db_out = NULL;
    return FRANCIS_OK;
}

/* Of a platform: they are looked at, and not called. */
static int polls_nothing(struct pollfd *fds, size_t count, int64_t timeout_ns, void *user)
{
    (void)fds;
    (void)count;
    (void)timeout_ns;
    (void)user;
    return 0;
}

static int reaches_nothing(const char *address, void *user)
{
    (void)address;
    (void)user;
    return -EAGAIN;
}

static int accepts_nothing(int listener, void *user)
{
    (void)listener;
    (void)user;
    return -EAGAIN;
}

static int reads_nothing(int socket, void *data, size_t size, void *user)
{
    (void)socket;
    (void)data;
    (void)size;
    (void)user;
    return -EAGAIN;
}

static int writes_nothing(int socket, const void *data, size_t size, void *user)
{
    (void)socket;
    (void)data;
    (void)size;
    (void)user;
    return -EAGAIN;
}

static void closes_nothing(int socket, void *user)
{
    (void)socket;
    (void)user;
}

/* Catches: a desc that makes no sense and is accepted, or refused with words that do not help. */
static void test_host_refusals(void **state)
{
    static const francis_platform strange = { .version = 77 };
    static const francis_platform half_of_sockets = {
        .version = 1, .poll = polls_nothing, .net_listen = reaches_nothing,
        .net_accept = accepts_nothing, .net_connect = reaches_nothing
    };
    static const francis_platform sockets_without_poll = {
        .version = 1, .net_listen = reaches_nothing, .net_accept = accepts_nothing,
        .net_connect = reaches_nothing, .net_read = reads_nothing, .net_write = writes_nothing,
        .net_close = closes_nothing
    };
    static const francis_platform sockets = {
        .version = 1, .poll = polls_nothing, .net_listen = reaches_nothing,
        .net_accept = accepts_nothing, .net_connect = reaches_nothing, .net_read = reads_nothing,
        .net_write = writes_nothing, .net_close = closes_nothing
    };
    static const struct {
        const char       *what;                             /* must all be in the text */
        francis_host_desc desc;
    } list[] = {
        { "database|sqlite", { .workers = FRANCIS_NO_WORKERS } },
        { "database|sqlite", { .database = ":memory:", .sqlite = (struct sqlite3 *)&strange } },
        { "table_prefix|bad-prefix", { .database = ":memory:", .table_prefix = "bad-prefix" } },
        { "table_prefix|a b", { .database = ":memory:", .table_prefix = "a b" } },
        { "table_prefix|a;b", { .database = ":memory:", .table_prefix = "a;b" } },
        { "table_prefix|a\"b", { .database = ":memory:", .table_prefix = "a\"b" } },
        { "table_prefix|a'b", { .database = ":memory:", .table_prefix = "a'b" } },
        { "table_prefix|\xc3\xa4", { .database = ":memory:", .table_prefix = "\xc3\xa4" } },
        { "workers|-2", { .database = ":memory:", .workers = -2 } },
        { "workers|-77", { .database = ":memory:", .workers = -77 } },
        { "timeout_ms|-5", { .database = ":memory:", .timeout_ms = -5 } },
        { "stop_timeout_ms|-5", { .database = ":memory:", .stop_timeout_ms = -5 } },
        { "busy_timeout_ms|-5", { .database = ":memory:", .busy_timeout_ms = -5 } },
        { "commit_window_ms|-5", { .database = ":memory:", .commit_window_ms = -5 } },
        { "sweep_interval_ms|-5", { .database = ":memory:", .sweep_interval_ms = -5 } },
        { "timeout_ms|-9223372036854775808", { .database = ":memory:", .timeout_ms = INT64_MIN } },
        { "profile|9", { .database = ":memory:", .profile = (francis_profile)9 } },
        { "durability|9", { .database = ":memory:", .durability = (francis_durability)9 } },
        { "log_level|9", { .database = ":memory:", .log_level = (francis_log_level)9 } },
        { "platform|77", { .database = ":memory:", .platform = &strange } },
        { "platform|poll|listen", { .database = ":memory:", .workers = FRANCIS_NO_WORKERS,
                                    .platform = &half_of_sockets } },
        { "platform|poll|listen", { .database = ":memory:", .workers = FRANCIS_NO_WORKERS,
                                    .platform = &sockets_without_poll } },
        { "platform|workers", { .database = ":memory:", .workers = 2, .platform = &sockets } },
        { "database|empty", { .database = "" } },
        { "on_database|database", { .sqlite = (struct sqlite3 *)&strange,
                                    .on_database = database_of_nobody } },
        { "table_prefix|a123456789012345678901234567890123|32",
          { .database = ":memory:", .table_prefix = "a123456789012345678901234567890123" } },
        { "table_prefix|1a", { .database = ":memory:", .table_prefix = "1a" } },
        { "cluster_key|address", { .database = ":memory:", .cluster_key = KEY } },
        { "bind_address|cluster_key", { .database = ":memory:", .bind_address = "a:1" } },
        { "cluster_keys_old|cluster_key", { .database = ":memory:", .cluster_keys_old = KEY } },
        { "address|a b:1|blank", { .database = ":memory:", .address = "a b:1" } },
        { "address|\x7f:1|blank", { .database = ":memory:", .address = "\x7f:1" } },
        { "address|-a:1", { .database = ":memory:", .address = "-a:1" } },
        { "address|:1", { .database = ":memory:", .address = ":1" } },
        { "address|[::1:1|brackets", { .database = ":memory:", .address = "[::1:1" } },
        { "address|[]:1|brackets", { .database = ":memory:", .address = "[]:1" } },
        { "address|::1:1|brackets", { .database = ":memory:", .address = "::1:1" } },
        { "address|a:0|port", { .database = ":memory:", .address = "a:0" } },
        { "address|a:|port", { .database = ":memory:", .address = "a:" } },
        { "address|a:65536|port", { .database = ":memory:", .address = "a:65536" } },
        { "address|a:1234567|port", { .database = ":memory:", .address = "a:1234567" } },
        { "address|a:1b|port", { .database = ":memory:", .address = "a:1b" } },
    };
    size_t i;
    int    failed = 0;
    (void)state;
    for (i = 0; i < sizeof list / sizeof list[0]; i++) {
        francis_host     *host = NULL;
        francis_host_desc desc = list[i].desc;
        francis_result    r;
        desc.on_log = t_log_sink;                           /* nothing on stderr */
        desc.log_user = &ta->log;
        r = francis_open(&host, &desc);
        assert_non_null(host);                              /* set even on failure */
        if (r != FRANCIS_ERR_INVALID || francis_start(host) != r || francis_run(host) != r ||
            !has_words(francis_host_error(host), list[i].what)) {
            print_error("case %zu (%s): %s: \"%s\"\n", i, list[i].what, francis_result_name(r),
                        francis_host_error(host));
            failed++;
        }
        francis_close(host);
    }
    assert_int_equal(failed, 0);
}

/* Catches: a crash where a program passes on what it has not got. */
static void test_null(void **state)
{
    static const francis_actor_desc type = TA_NUM;
    francis_host_desc desc = { .database = ":memory:" }, got;
    francis_host     *host = NULL;
    francis_stats     stats;
    francis_health    health;
    struct pollfd     fds[2];
    char              byte;
    size_t            size;
    (void)state;
    t_result(francis_start(NULL), FRANCIS_ERR_NOMEM);
    t_result(francis_run(NULL), FRANCIS_ERR_NOMEM);
    (void)francis_register(NULL, &type);                    /* between open and start, unchecked */
    assert_non_null(francis_host_error(NULL));
    francis_stop(NULL);
    francis_close(NULL);
    assert_null(francis_host_ctx(NULL));
    francis_call_free(NULL);
    francis_list_free(NULL);
    t_result(francis_open(&host, NULL), FRANCIS_ERR_INVALID);
    assert_true(francis_host_error(host)[0] != '\0');
    francis_close(host);
    t_result(francis_open(NULL, &desc), FRANCIS_ERR_INVALID);

    t_result(francis_poll(NULL, 0), FRANCIS_ERR_USAGE);
    assert_int_equal(francis_fd(NULL), -1);
    assert_int_equal(francis_pollfds(NULL, fds, 2), 0);
    assert_int_equal(francis_timeout(NULL), FRANCIS_FOREVER);
    (void)memset(&stats, 1, sizeof stats);
    francis_stats_get(NULL, &stats);
    assert_int_equal(stats.lives, 0);
    (void)memset(&health, 1, sizeof health);
    francis_health_get(NULL, &health);
    assert_false(health.ready);
    (void)memset(&got, 1, sizeof got);
    francis_desc_get(NULL, &got);
    assert_null(got.database);

    francis_stream_close(NULL);
    francis_stream_keep(NULL);
    assert_string_equal(francis_stream_type(NULL), "");
    assert_string_equal(francis_stream_error(NULL), "");
    t_result(francis_stream_set_type(NULL, "a/b"), FRANCIS_ERR_USAGE);
    desc.workers = FRANCIS_NO_WORKERS;
    host = t_start(&desc, NULL);
    t_result(francis_stream_read(francis_host_ctx(host), NULL, &byte, 1, &size), FRANCIS_ERR_USAGE);
    t_result(francis_stream_write(francis_host_ctx(host), NULL, "x", 1), FRANCIS_ERR_USAGE);
    t_result(francis_stream_end(francis_host_ctx(host), NULL), FRANCIS_ERR_USAGE);
    francis_close(host);
}

/* Catches: figures of a host that does not run that are those of one that does. */
static void test_watch_at_rest(void **state)
{
    francis_host_desc desc = { .database = ":memory:" };
    francis_health    health;
    struct pollfd     fds[2];
    (void)state;
    ta_desc(&desc);
    t_ok(francis_open(&ta->host, &ta->desc));
    francis_health_get(ta->host, &health);
    assert_false(health.ready);
    assert_int_equal(health.lease_age_ms, 0);
    assert_int_equal(francis_timeout(ta->host), FRANCIS_FOREVER);
    assert_int_equal(francis_pollfds(ta->host, fds, 2), 0);
    t_ok(francis_start(ta->host));
    francis_health_get(ta->host, &health);
    assert_true(health.ready);
    if (ta_inline()) {
        assert_int_equal(francis_pollfds(ta->host, fds, 2), 1);
        assert_true(fds[0].fd >= 0);
        assert_int_equal(francis_pollfds(ta->host, NULL, 0), 1);    /* how many there are */
    } else {
        assert_int_equal(francis_pollfds(ta->host, fds, 2), 0);
    }
    francis_stop(ta->host);
    ta_until(francis_poll(ta->host, 0) == FRANCIS_ERR_STOPPED);
    assert_int_equal(francis_timeout(ta->host), ta_inline() ? 0 : FRANCIS_FOREVER);
    francis_health_get(ta->host, &health);
    assert_false(health.ready);
    t_result(francis_run(ta->host), FRANCIS_ERR_USAGE);
    ta_close();
}

/* -- sticking ---------------------------------------------------------------------------------- */

/* Catches: a program that checks nothing but start, and runs on without the type that failed. */
static void test_first_failure_sticks(void **state)
{
    static const francis_actor_desc good = TA_NUM;
    francis_actor_desc first = TA_NUM, second = TA_BLOB;
    francis_host_desc  desc = { .database = ":memory:" };
    francis_call       call = { .timeout_ms = 5000 };
    (void)state;
    ta_desc(&desc);
    t_ok(francis_open(&ta->host, &ta->desc));
    first.type = "first/type";
    second.idle_timeout_ms = -55;
    t_ok(francis_register(ta->host, &good));
    assert_string_equal(francis_host_error(ta->host), "");
    t_result(francis_register(ta->host, &first), FRANCIS_ERR_INVALID);
    assert_true(has_words(francis_host_error(ta->host), "first/type"));
    (void)francis_register(ta->host, &second);
    (void)francis_register(ta->host, &good);                /* EXISTS, but not the first */
    t_result(francis_start(ta->host), FRANCIS_ERR_INVALID);
    assert_true(has_words(francis_host_error(ta->host), "first/type"));
    t_result(francis_run(ta->host), FRANCIS_ERR_INVALID);
    t_result(francis_invoke(francis_host_ctx(ta->host), "num", "a", "do", NULL, 0, &call),
             FRANCIS_ERR_USAGE);
    francis_call_free(&call);
    t_result(francis_poll(ta->host, 0), FRANCIS_ERR_USAGE);
    assert_int_equal(francis_fd(ta->host), -1);
    ta_close();
}

/* Catches: EXISTS that does not stick like every other refusal. */
static void test_twice(void **state)
{
    static const francis_actor_desc good = TA_NUM;
    francis_host_desc desc = { .database = ":memory:" };
    (void)state;
    ta_desc(&desc);
    t_ok(francis_open(&ta->host, &ta->desc));
    t_ok(francis_register(ta->host, &good));
    t_result(francis_register(ta->host, &good), FRANCIS_ERR_EXISTS);
    assert_true(has_words(francis_host_error(ta->host), "num"));
    t_result(francis_start(ta->host), FRANCIS_ERR_EXISTS);
    ta_close();
}

/* Whether a log record has the words. */
static bool logged_words(const char *words)
{
    bool     found = false;
    unsigned i;
    (void)pthread_mutex_lock(&ta->log.lock);
    for (i = 0; i < sizeof ta->log.last / sizeof ta->log.last[0]; i++)
        found = found || strstr(ta->log.last[i], words) != NULL;
    (void)pthread_mutex_unlock(&ta->log.lock);
    return found;
}

/* Catches: a type that appears while calls are served, and a refusal that harms the running host.
 * */
static void test_after_start(void **state)
{
    static const francis_actor_desc late = TA_BLOB;
    static const francis_actor_desc types[] = { TA_NUM, TA_END };
    int i;
    (void)state;
    ta_open(NULL, types);
    t_result(francis_register(ta->host, &late), FRANCIS_ERR_USAGE);
    if (!has_words(francis_host_error(ta->host), "blob") && !logged_words("blob")) {
        print_error("nothing says which type was too late\n");
        (void)atomic_fetch_add(&ta_wrong, 1);               /* found at the end */
    }
    t_ok(ta_do("num", "a", ta_add, NULL));
    t_result(ta_do("blob", "a", ta_nothing, NULL), FRANCIS_ERR_UNKNOWN_TYPE);
    t_result(francis_start(ta->host), FRANCIS_ERR_USAGE);   /* started before */
    t_ok(ta_do("num", "a", ta_add, NULL));
    assert_int_equal(ta_int(&ta->last), 2);
    francis_stop(ta->host);
    for (i = 0; i < 50; i++) {                              /* on its way down, and there */
        t_result(francis_start(ta->host), FRANCIS_ERR_USAGE);
        t_result(francis_register(ta->host, &late), FRANCIS_ERR_USAGE);
        ta_step();
    }
    ta_until(francis_poll(ta->host, 0) == FRANCIS_ERR_STOPPED);
    t_result(francis_start(ta->host), FRANCIS_ERR_USAGE);
    ta_close();
}

/* -- the desc of a type ------------------------------------------------------------------------ */

static francis_result nothing(francis_ctx *ctx)
{
    (void)ctx;
    return FRANCIS_OK;
}

static char name_255[256], name_256[257];

static void fill_names(void)
{
    (void)memset(name_255, 'n', 255);
    (void)memset(name_256, 'n', 256);
}

static const francis_method methods_none[] = { FRANCIS_METHODS_END };
static const francis_method methods_unnamed[] = { { "", nothing, FRANCIS_INVOKE, 0 },
                                                  FRANCIS_METHODS_END };
static const francis_method methods_long[] = { { name_256, nothing, FRANCIS_INVOKE, 0 },
                                               FRANCIS_METHODS_END };
static const francis_method methods_empty[] = { { "ok", nothing, FRANCIS_INVOKE, 0 },
                                                { "hollow", NULL, FRANCIS_INVOKE, 0 },
                                                FRANCIS_METHODS_END };
static const francis_method methods_kind[] = { { "odd", nothing, FRANCIS_ACTIVATE, 0 },
                                               FRANCIS_METHODS_END };
static const francis_method methods_below[] = { { "below", nothing, (francis_turn_kind)-1, 0 },
                                                FRANCIS_METHODS_END };
static const francis_method methods_large[] = { { "large", nothing, FRANCIS_INVOKE, (4 << 20) + 1 },
                                                FRANCIS_METHODS_END };
static const francis_method methods_twice[] = { { "same", nothing, FRANCIS_PEEK, 0 },
                                                { "same", nothing, FRANCIS_INVOKE, 0 },
                                                { "same", nothing, FRANCIS_PEEK, 0 },
                                                FRANCIS_METHODS_END };

/* Catches: a desc that can only be a mistake and is accepted, a code that is not the documented
 * one, and a text that leaves the reader to guess which type, which field and which value was
 * meant. */
static void test_type_refusals(void **state)
{
    static const struct {
        francis_result     result;
        const char        *what;                            /* must all be in the text */
        francis_actor_desc desc;
    } list[] = {
        { FRANCIS_ERR_INVALID, "type", { .type = NULL, .methods = ta_methods } },
        { FRANCIS_ERR_INVALID, "type", { .type = "", .methods = ta_methods } },
        { FRANCIS_ERR_INVALID, "nnnnnnnn|255", { .type = name_256, .methods = ta_methods } },
        { FRANCIS_ERR_INVALID, "a/b", { .type = "a/b", .methods = ta_methods } },
        { FRANCIS_ERR_INVALID, "/", { .type = "/", .methods = ta_methods } },
        { FRANCIS_ERR_RESERVED, "francis.mine", { .type = "francis.mine", .methods = ta_methods } },
        { FRANCIS_ERR_RESERVED, "francis.", { .type = "francis.", .methods = ta_methods } },
        { FRANCIS_ERR_INVALID, "mute", { .type = "mute" } },
        { FRANCIS_ERR_INVALID, "mute", { .type = "mute", .methods = methods_none } },
        { FRANCIS_ERR_INVALID, "t1|method", { .type = "t1", .methods = methods_unnamed } },
        { FRANCIS_ERR_INVALID, "t2|nnnnnnnn", { .type = "t2", .methods = methods_long } },
        { FRANCIS_ERR_INVALID, "t3|hollow", { .type = "t3", .methods = methods_empty } },
        { FRANCIS_ERR_INVALID, "t4|odd", { .type = "t4", .methods = methods_kind } },
        { FRANCIS_ERR_INVALID, "t5|same", { .type = "t5", .methods = methods_twice } },
        { FRANCIS_ERR_INVALID, "t6|idle_timeout_ms|-2",
          { .type = "t6", .methods = ta_methods, .idle_timeout_ms = -2 } },
        { FRANCIS_ERR_INVALID, "t7|deactivate_timeout_ms|-2",
          { .type = "t7", .methods = ta_methods, .deactivate_timeout_ms = -2 } },
        { FRANCIS_ERR_INVALID, "t8|turn_timeout_ms|-2",
          { .type = "t8", .methods = ta_methods, .turn_timeout_ms = -2 } },
        { FRANCIS_ERR_INVALID, "t9|retry_delay_ms|-2",
          { .type = "t9", .methods = ta_methods, .retry_delay_ms = -2 } },
        { FRANCIS_ERR_INVALID, "ta|requests_kept_ms|-2",
          { .type = "ta", .methods = ta_methods, .requests_kept_ms = -2 } },
        { FRANCIS_ERR_INVALID, "tb|concurrency_max|3000000000",
          { .type = "tb", .methods = ta_methods, .concurrency_max = 3000000000u } },
        { FRANCIS_ERR_INVALID, "tc|state_size|1048577",     /* above state_bytes_max */
          { .type = "tc", .methods = ta_methods, .state_size = (1 << 20) + 1 } },
        { FRANCIS_ERR_INVALID, "td|bootstrap|singleton",
          { .type = "td", .methods = ta_methods, .bootstrap = nothing } },
        { FRANCIS_ERR_INVALID, "te|bootstrap_data",
          { .type = "te", .methods = ta_methods, .singleton = true, .bootstrap = nothing,
            .bootstrap_data = NULL, .bootstrap_size = 4 } },
        { FRANCIS_ERR_INVALID, "tg|below", { .type = "tg", .methods = methods_below } },
        { FRANCIS_ERR_INVALID, "th|bootstrap|singleton",
          { .type = "th", .methods = ta_methods, .bootstrap_data = "x", .bootstrap_size = 1 } },
        { FRANCIS_ERR_INVALID, "ti|bootstrap_data|handler",
          { .type = "ti", .methods = ta_methods, .singleton = true, .bootstrap_data = "x",
            .bootstrap_size = 1 } },
        { FRANCIS_ERR_INVALID, "tj|capacity_group|capacity_max",
          { .type = "tj", .methods = ta_methods, .capacity_group = "g" } },
        { FRANCIS_ERR_INVALID, "tk|capacity_group|capacity_max",
          { .type = "tk", .methods = ta_methods, .capacity_max = 3 } },
        { FRANCIS_ERR_INVALID, "tl|capacity_group|name",
          { .type = "tl", .methods = ta_methods, .capacity_group = "a/b", .capacity_max = 3 } },
        { FRANCIS_ERR_INVALID, "tf|input_size|4194305",     /* no input can be as large */
          { .type = "tf", .methods = methods_large } },
    };
    size_t i;
    int    failed = 0;
    (void)state;
    fill_names();
    for (i = 0; i < sizeof list / sizeof list[0]; i++) {
        francis_host     *host = NULL;
        francis_host_desc desc = { .database = ":memory:", .on_log = t_log_sink };
        francis_result    r;
        desc.workers = ta_workers;
        desc.log_user = &ta->log;
        t_ok(francis_open(&host, &desc));
        r = francis_register(host, &list[i].desc);
        if (r != list[i].result || francis_start(host) != r ||
            !has_words(francis_host_error(host), list[i].what)) {
            print_error("case %zu (%s): %s: \"%s\"\n", i, list[i].what, francis_result_name(r),
                        francis_host_error(host));
            failed++;
        }
        francis_close(host);
    }
    assert_int_equal(failed, 0);
}

/* Catches: a NULL desc that is read. */
static void test_type_null(void **state)
{
    francis_host_desc desc = { .database = ":memory:" };
    (void)state;
    ta_desc(&desc);
    t_ok(francis_open(&ta->host, &ta->desc));
    t_result(francis_register(ta->host, NULL), FRANCIS_ERR_INVALID);
    t_result(francis_start(ta->host), FRANCIS_ERR_INVALID);
    ta_close();
}

/* Catches: an edge that is refused although it is allowed. */
static void test_type_accepted(void **state)
{
    static const francis_method same[] = { { "same", ta_handler, FRANCIS_PEEK, 0 },
                                           { "same", ta_handler, FRANCIS_INVOKE, 0 },
                                           FRANCIS_METHODS_END };
    const francis_actor_desc types[] = {
        { .type = name_255, .methods = ta_methods },
        { .type = "francis", .methods = ta_methods },       /* the prefix ends with its dot */
        { .type = "Francis.x", .methods = ta_methods },
        { .type = "a b\t\xff\xc3", .methods = ta_methods },
        { .type = "only invoke", .invoke = ta_handler },
        { .type = "only peek", .peek = ta_handler },
        { .type = "same", .methods = same },
        { .type = "forever", .methods = ta_methods, .idle_timeout_ms = FRANCIS_FOREVER,
          .turn_timeout_ms = FRANCIS_FOREVER },
        { .type = "full", .methods = ta_methods, .state_size = 1 << 20 },
        { .type = "versioned", .methods = ta_methods, .state_size = 8, .state_version = 3 },
        { .type = "upgraded", .methods = ta_methods, .state_version = 3, .upgrade = nothing },
        { .type = "single", .methods = ta_methods, .singleton = true, .bootstrap = nothing,
          .bootstrap_data = "", .bootstrap_size = 0 },
        { .type = "plain single", .methods = ta_methods, .singleton = true },
        { .type = "large limits", .methods = ta_methods, .concurrency_max = INT32_MAX,
          .mailbox_max = UINT32_MAX, .attempts_max = UINT32_MAX, .requests_kept_max = 1 << 20 },
        TA_END
    };
    size_t i;
    (void)state;
    fill_names();
    ta_open(NULL, types);
    for (i = 0; types[i].type != NULL; i++) {
        ta_job         job = { ta_nothing, NULL };
        const char    *id = types[i].singleton ? "singleton" : "a";
        francis_result r = i == 5 ? francis_peek(ta->ctx, types[i].type, id, "do", &job, sizeof job,
                                                 &ta->last)
                         : i == 6 ? francis_invoke(ta->ctx, types[i].type, id, "same", &job,
                                                   sizeof job, &ta->last)
                                  : ta_do(types[i].type, id, ta_nothing, NULL);
        if (r != FRANCIS_OK)
            fail_msg("type %s: %s: %s", types[i].type, francis_result_name(r), ta->last.error);
    }
    ta_close();
}

/* Catches: a type that can do one thing, and is refused for want of another one. */
static void test_one_handler(void **state)
{
    const francis_actor_desc types[] = {
        { .type = "invoke", .invoke = nothing },
        { .type = "peek", .peek = nothing },
        { .type = "stream", .stream = nothing },
        { .type = "peek_stream", .peek_stream = nothing },
        { .type = "alarm", .alarm = nothing },
        { .type = "job", .job = nothing },
        { .type = "job_failed", .job_failed = nothing },
        { .type = "activate", .activate = nothing },
        { .type = "deactivate", .deactivate = nothing },
        { .type = "upgrade", .upgrade = nothing },
        { .type = "bootstrap", .singleton = true, .bootstrap = nothing },
        TA_END
    };
    francis_alarm alarm = { .id = "a", .name = "n", .delay_ms = 3600000 };
    francis_job   job = { .id = "a", .method = "m", .delay_ms = 3600000 };
    (void)state;
    ta_open(&(francis_host_desc){ .table_prefix = "" }, types);
    for (size_t i = 0; types[i].type != NULL; i++) {
        const char *id = types[i].singleton ? "singleton" : "a";
        t_result(francis_invoke(ta->ctx, types[i].type, id, "m", NULL, 0, NULL),
                 types[i].invoke != NULL ? FRANCIS_OK : FRANCIS_ERR_UNKNOWN_METHOD);
        t_result(francis_peek(ta->ctx, types[i].type, id, "m", NULL, 0, NULL),
                 types[i].peek != NULL ? FRANCIS_OK : FRANCIS_ERR_UNKNOWN_METHOD);
        alarm.type = job.type = types[i].type;
        alarm.id = job.id = id;
        t_result(francis_alarm_set(ta->ctx, &alarm, NULL),
                 types[i].alarm != NULL ? FRANCIS_OK : FRANCIS_ERR_UNKNOWN_METHOD);
        t_result(francis_job_dispatch(ta->ctx, &job, NULL),
                 types[i].job != NULL ? FRANCIS_OK : FRANCIS_ERR_UNKNOWN_METHOD);
    }
    ta_close();
}

/* Catches: a desc, a method table, a name or bootstrap data of the caller's that is used after
 * francis_register has returned. */
static char bootstrapped[16];

static francis_result keep_input(francis_ctx *ctx)
{
    ta_check(ctx->kind == FRANCIS_BOOTSTRAP);
    ta_check(ctx->input.size == 9);
    if (ctx->input.size < sizeof bootstrapped) {
        (void)pthread_mutex_lock(&ta->lock);
        (void)memcpy(bootstrapped, ctx->input.data, ctx->input.size + 1);
        (void)pthread_mutex_unlock(&ta->lock);
    }
    ta_note("bootstrap");
    return FRANCIS_OK;
}

static void test_copied(void **state)
{
    char              *type = (char *)malloc(16), *method = (char *)malloc(16);
    char              *data = (char *)malloc(16);
    francis_method    *methods = (francis_method *)calloc(3, sizeof *methods);
    francis_actor_desc *desc = (francis_actor_desc *)calloc(1, sizeof *desc);
    francis_host_desc  host = { .database = ":memory:" };
    ta_job             job = { ta_add, NULL };
    (void)state;
    assert_true(type != NULL && method != NULL && data != NULL && methods != NULL && desc != NULL);
    (void)memset(bootstrapped, 0, sizeof bootstrapped);
    (void)strcpy(type, "copied");
    (void)strcpy(method, "method");
    (void)strcpy(data, "the data");
    methods[0].name = method;
    methods[0].run = ta_handler;
    methods[1].name = method;
    methods[1].run = ta_handler;
    methods[1].kind = FRANCIS_PEEK;
    desc->type = type;
    desc->methods = methods;
    desc->state_size = sizeof(ta_number);
    desc->singleton = true;
    desc->bootstrap = keep_input;
    desc->bootstrap_data = data;
    desc->bootstrap_size = 9;
    ta_desc(&host);
    t_ok(francis_open(&ta->host, &ta->desc));
    t_ok(francis_register(ta->host, desc));
    (void)memset(type, '?', 16);
    (void)memset(method, '?', 16);
    (void)memset(data, '?', 16);
    (void)memset(methods, 0x3f, 3 * sizeof *methods);
    (void)memset(desc, 0x3f, sizeof *desc);
    free(type);
    free(method);
    free(data);
    free(methods);
    free(desc);
    t_ok(francis_start(ta->host));
    ta->ctx = francis_host_ctx(ta->host);
    t_ok(francis_invoke(ta->ctx, "copied", "singleton", "method", &job, sizeof job, &ta->last));
    assert_int_equal(ta_int(&ta->last), 1);
    ta_until(ta_noted("bootstrap"));
    assert_string_equal(bootstrapped, "the data");
    ta_close();
}

/* Catches: a desc of the host that is used after francis_open has returned. */
static void test_host_copied(void **state)
{
    static const francis_actor_desc types[] = { TA_NUM, TA_END };
    francis_platform  *platform = (francis_platform *)calloc(1, sizeof *platform);
    francis_host_desc *desc = (francis_host_desc *)calloc(1, sizeof *desc);
    char              *path = (char *)malloc(512), *prefix = (char *)malloc(16);
    (void)state;
    assert_true(platform != NULL && desc != NULL && path != NULL && prefix != NULL);
    (void)snprintf(path, 512, "%s", t_database());
    (void)snprintf(ta->path, sizeof ta->path, "%s", path);
    (void)strcpy(prefix, "copied");
    platform->version = 1;
    desc->database = path;
    desc->table_prefix = prefix;
    desc->platform = platform;
    desc->workers = ta_workers;
    desc->on_alloc = ta_alloc;
    desc->alloc_user = &ta->memory;
    t_ok(francis_open(&ta->host, desc));
    (void)memset(path, '?', 511);
    (void)memset(prefix, '?', 15);
    (void)memset(desc, 0x3f, sizeof *desc);
    free(path);
    free(prefix);
    free(desc);
    t_ok(francis_register(ta->host, types));
    t_ok(francis_start(ta->host));
    ta->ctx = francis_host_ctx(ta->host);
    t_ok(ta_do("num", "a", ta_add, NULL));
    assert_int_equal(ta_sql(ta->path, "SELECT count(*) FROM copied_actor_state"), 1);
    ta_close();
    free(platform);
}

/* Catches: defaults of a type that are not the documented ones, and "never" that is stored as a
 * number of milliseconds. */
static void test_type_defaults(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "plain", .methods = ta_methods },
        { .type = "never", .methods = ta_methods, .idle_timeout_ms = FRANCIS_FOREVER },
        { .type = "set", .methods = ta_methods, .idle_timeout_ms = 12345, .concurrency_max = 7 },
        TA_END
    };
    (void)state;
    ta_open(NULL, types);
    assert_int_equal(ta_sql(ta->path, "SELECT count(*) FROM francis_host_actor_types"), 3);
    assert_int_equal(ta_sql(ta->path, "SELECT actor_idle_timeout FROM francis_host_actor_types"
                                      " WHERE actor_type = 'plain'"), 300000);
    assert_int_equal(ta_sql(ta->path, "SELECT actor_concurrency_limit FROM francis_host_actor_types"
                                      " WHERE actor_type = 'plain'"), 0);
    assert_int_equal(ta_sql(ta->path, "SELECT actor_idle_timeout FROM francis_host_actor_types"
                                      " WHERE actor_type = 'never'"), 0);
    assert_int_equal(ta_sql(ta->path, "SELECT actor_idle_timeout FROM francis_host_actor_types"
                                      " WHERE actor_type = 'set'"), 12345);
    assert_int_equal(ta_sql(ta->path, "SELECT actor_concurrency_limit FROM francis_host_actor_types"
                                      " WHERE actor_type = 'set'"), 7);
    ta_close();
}

/* Catches: a host that cannot run without types of its own, and a host row that outlives it. */
static void test_no_types(void **state)
{
    (void)state;
    ta_open(NULL, NULL);
    assert_int_equal(ta_sql(ta->path, "SELECT count(*) FROM francis_hosts"), 1);
    t_result(ta_do("num", "a", ta_nothing, NULL), FRANCIS_ERR_UNKNOWN_TYPE);
    assert_non_null(strstr(ta->last.error, "num"));
    ta_close();
    assert_int_equal(ta_sql(ta->path, "SELECT count(*) FROM francis_hosts"), 0);
}

/* Catches: a second actor of a type that has only one. */
static void test_singleton(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "one", .methods = ta_methods, .state_size = sizeof(ta_number),
          .singleton = true },
        TA_NUM, TA_END
    };
    (void)state;
    ta_open(NULL, types);
    t_ok(ta_do("one", "singleton", ta_add, NULL));
    t_result(ta_do("one", "other", ta_add, NULL), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(ta->last.error, "singleton"));
    t_result(ta_look("one", "Singleton", ta_get, NULL), FRANCIS_ERR_INVALID);
    t_ok(ta_do("num", "singleton", ta_add, NULL));          /* a name like any other elsewhere */
    ta_close();
}

/* Catches: a bootstrap that runs for a type that has none, twice, or in another order. */
static francis_result bootstrap_note(francis_ctx *ctx)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    ta_check(ctx->kind == FRANCIS_BOOTSTRAP);
    ta_check(strcmp(ctx->id, "singleton") == 0);
    ta_check(ctx->input.size == 0);
    if (s != NULL)
        s->n += 100;
    ta_note(ctx->type);
    return FRANCIS_OK;
}

static void test_bootstrap(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "first", .methods = ta_methods, .state_size = sizeof(ta_number),
          .singleton = true, .bootstrap = bootstrap_note },
        { .type = "plain", .methods = ta_methods, .state_size = sizeof(ta_number),
          .singleton = true },
        { .type = "second", .methods = ta_methods, .state_size = sizeof(ta_number),
          .singleton = true, .bootstrap = bootstrap_note },
        TA_END
    };
    (void)state;
    ta_open(NULL, types);
    ta_until(ta_noted("first") && ta_noted("second"));
    ta_num_is("first", "singleton", 100);
    ta_num_is("second", "singleton", 100);
    ta_num_is("plain", "singleton", 0);
    t_ok(francis_halt(ta->ctx, "first", "singleton", NULL));
    ta_num_is("first", "singleton", 100);                   /* not at each activation */
    ta_close();
    ta_diary_is("first second");
    ta_open(NULL, types);
    ta_until(ta_noted("first") && ta_noted("second"));
    ta_num_is("first", "singleton", 200);
    ta_num_is("second", "singleton", 200);
    ta_close();
    ta_diary_is("first second");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_results),
    cmocka_unit_test(test_results_beyond),
    cmocka_unit_test(test_version),
    cmocka_unit_test(test_host_defaults),
    cmocka_unit_test(test_host_defaults_flash),
    cmocka_unit_test(test_host_values),
    TA_INLINE(test_host_refusals),
    cmocka_unit_test(test_null),
    TA_BOTH(test_watch_at_rest),
    TA_BOTH(test_first_failure_sticks),
    TA_BOTH(test_twice),
    TA_BOTH(test_after_start),
    TA_BOTH(test_type_refusals),
    TA_BOTH(test_type_null),
    TA_BOTH(test_type_accepted),
    TA_BOTH(test_one_handler),
    TA_BOTH(test_copied),
    TA_BOTH(test_host_copied),
    TA_BOTH(test_type_defaults),
    TA_BOTH(test_no_types),
    TA_BOTH(test_singleton),
    TA_BOTH(test_bootstrap),
};

TA_MAIN(tests)
