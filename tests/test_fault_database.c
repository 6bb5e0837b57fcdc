/* The database is not what it should be, or somebody else lays hands on it: read-only, missing, not
 * a database, cut off, locked, of a newer version, on a full disk, deleted, shared with a second
 * host, handed over in the wrong condition; the host's own row or a placement changed from outside.
 * Each gets a clear answer, and nothing that was acknowledged is lost. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE                 /* unshare */
#endif
#include "support/t.h"

#include "support/child.h"
#include "support/counters.h"

#include <fcntl.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#endif

static t_log logs;

static francis_result memo_put(francis_ctx *ctx)
{
    return francis_state_set(ctx, ctx->input.data, ctx->input.size);
}

static francis_result memo_get(francis_ctx *ctx)
{
    francis_bytes b = francis_state_get(ctx);
    return b.data == NULL ? FRANCIS_ERR_NOT_FOUND : francis_reply(ctx, b.data, b.size);
}

static const francis_method counter_methods[] = {
    { "increment", counter_increment, FRANCIS_INVOKE, 0 },
    { "get", counter_get, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};
static const francis_method memo_methods[] = {
    { "put", memo_put, FRANCIS_INVOKE, 0 },
    { "get", memo_get, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};
static const francis_actor_desc types[] = {
    { .type = "counter", .methods = counter_methods, .state_size = sizeof(counter_state) },
    { .type = "memo", .methods = memo_methods },
    { .type = NULL }
};

static francis_host_desc plain_desc(const char *path, bool workers)
{
    francis_host_desc desc = { .database = path,
                               .workers = workers ? 2 : FRANCIS_NO_WORKERS,
                               .timeout_ms = FRANCIS_SECONDS(60),
                               .busy_timeout_ms = 300,
                               .on_log = t_log_sink,
                               .log_user = &logs };
    return desc;
}

/* Open, register, start; what start says. The host is there for its error text, and to be closed.
 */
static francis_result try_start(francis_host **host, const francis_host_desc *desc)
{
    *host = NULL;
    (void)francis_open(host, desc);
    for (const francis_actor_desc *t = types; t->type != NULL; t++)
        (void)francis_register(*host, t);
    return francis_start(*host);
}

/* The start fails with this, and says something with this word in it. */
static void start_refused(const francis_host_desc *desc, francis_result expected, const char *word)
{
    francis_host  *host;
    francis_result r = try_start(&host, desc);
    if (r != expected)
        print_error("the host says: %s\n", francis_host_error(host));
    t_result(r, expected);
    if (francis_host_error(host)[0] == '\0')
        fail_msg("the start fails and does not say why");
    if (word != NULL && strstr(francis_host_error(host), word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", francis_host_error(host), word);
    francis_close(host);
}

/* A database with some counters, made by a host that has left. */
static const char *made_database(counter_model *models, unsigned count)
{
    const char       *path = t_database();
    francis_host_desc desc = plain_desc(path, false);
    francis_host     *host = t_start(&desc, types);
    for (unsigned i = 0; i < count; i++) {
        model_init(&models[i], "c", i);
        t_ok(model_increment(&models[i], francis_host_ctx(host), "counter"));
    }
    francis_close(host);
    return path;
}

/* A good host goes on where the last one was. */
static void goes_on(const char *path, counter_model *models, unsigned count)
{
    francis_host_desc desc = plain_desc(path, false);
    francis_host     *host = t_start(&desc, types);
    sqlite3          *db;
    for (unsigned i = 0; i < count; i++)
        t_ok(model_increment(&models[i], francis_host_ctx(host), "counter"));
    francis_close(host);
    db = raw_open(path);
    for (unsigned i = 0; i < count; i++)
        model_stored(&models[i], db, "counter");
    raw_check(db);
    (void)sqlite3_close(db);
}

/* ---- cannot be opened ---- */

/* Root may write what is read-only; from now on this process may not. */
static void obey_permissions(void)
{
#if defined(__linux__) && defined(SYS_capset)
    if (geteuid() == 0) {
        struct {
            uint32_t version;
            int      pid;
        } header = { 0x20080522, 0 };   /* version 3 */
        uint32_t none[2][3] = { { 0 } };
        (void)syscall(SYS_capset, &header, none);
    }
#endif
}

static void read_only_body(void **state)
{
    const char       *path = (const char *)*state;
    francis_host_desc desc = plain_desc(path, false);
    obey_permissions();
    if (access(path, W_OK) == 0)
        child_skip("permissions do not count here");
    start_refused(&desc, FRANCIS_ERR_STORAGE, "read");
}

/* Would catch: a host that starts and finds out at its first commit, or that waits for a lock. */
static void test_read_only_file(void **state)
{
    counter_model models[2];
    const char   *path = made_database(models, 2);
    char          copy[512];
    (void)state;
    (void)snprintf(copy, sizeof copy, "%s", path);
    assert_int_equal(chmod(copy, 0444), 0);
    child_run(read_only_body, copy);
    assert_int_equal(chmod(copy, 0644), 0);
    goes_on(copy, models, 2);
}

static void unwritable_directory_body(void **state)
{
    const char       *path = (const char *)*state;
    francis_host_desc desc = plain_desc(path, false);
    obey_permissions();
    if (access(t_path("closed"), W_OK) == 0)
        child_skip("permissions do not count here");
    start_refused(&desc, FRANCIS_ERR_STORAGE, NULL);
}

/* The file may be written, its directory not, so that there can be no log. Would catch: a fall-back
 * to a rollback journal, or no answer at all. */
static void test_unwritable_directory(void **state)
{
    char path[600];
    (void)state;
    assert_int_equal(mkdir(t_path("closed"), 0755), 0);
    (void)snprintf(path, sizeof path, "%s/x.db", t_path("closed"));
    raw_remove(path);
    {
        sqlite3 *db = raw_open(path);
        raw_exec(db, "CREATE TABLE mine (a)");
        (void)sqlite3_close(db);
    }
    assert_int_equal(chmod(t_path("closed"), 0555), 0);
    child_run(unwritable_directory_body, path);
    assert_int_equal(chmod(t_path("closed"), 0755), 0);
}

/* Would catch: a directory created silently, a text without the name. */
static void test_missing_directory(void **state)
{
    char              path[600];
    francis_host_desc desc;
    (void)state;
    (void)snprintf(path, sizeof path, "%s/nowhere/x.db", t_dir());
    desc = plain_desc(path, false);
    start_refused(&desc, FRANCIS_ERR_STORAGE, "nowhere/x.db");
    assert_int_equal(access(t_path("nowhere"), F_OK), -1);
    /* A directory in the place of the file. */
    desc = plain_desc(t_dir(), false);
    start_refused(&desc, FRANCIS_ERR_STORAGE, NULL);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Would catch: somebody's file overwritten because it is not a database. */
static void test_not_a_database(void **state)
{
    /* one byte is as good as none: SQLite itself makes such files */
    static const size_t sizes[] = { 2, 99, 100, 512, 4096, 8192, 100000 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char       *path = t_database();
        francis_host_desc desc = plain_desc(path, false);
        uint8_t          *bytes = (uint8_t *)malloc(sizes[i]), *again = (uint8_t *)malloc(sizes[i]);
        uint32_t          x = 12345;
        FILE             *f;
        assert_non_null(bytes);
        assert_non_null(again);
        for (size_t k = 0; k < sizes[i]; k++) {
            x = x * 1664525u + 1013904223u;
            bytes[k] = (uint8_t)(x >> 24);
        }
        write_file(path, bytes, sizes[i]);
        start_refused(&desc, FRANCIS_ERR_CORRUPT, NULL);
        f = fopen(path, "rb");
        assert_non_null(f);
        assert_int_equal(fread(again, 1, sizes[i], f), sizes[i]);
        assert_int_equal(fgetc(f), EOF);
        (void)fclose(f);
        assert_memory_equal(bytes, again, sizes[i]);
        free(bytes);
        free(again);
    }
}

/* A file without a byte is a new database, for that is how it begins; another program's tables
 * stay. */
static void test_empty_and_foreign_files(void **state)
{
    const char       *path = t_database();
    francis_host_desc desc = plain_desc(path, false);
    counter_model     m;
    francis_host     *host;
    sqlite3          *db;
    (void)state;
    model_init(&m, "c", 0);
    write_file(path, "", 0);
    host = t_start(&desc, types);
    t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
    francis_close(host);

    path = t_database();
    desc = plain_desc(path, false);
    db = raw_open(path);
    raw_exec(db, "CREATE TABLE mine (a); INSERT INTO mine VALUES (7); PRAGMA user_version = 12");
    (void)sqlite3_close(db);
    model_init(&m, "c", 0);
    host = t_start(&desc, types);
    t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
    francis_close(host);
    db = raw_open(path);
    assert_int_equal(raw_int(db, "SELECT a FROM mine", NULL, NULL), 7);
    assert_int_equal(raw_int(db, "PRAGMA user_version", NULL, NULL), 12);
    model_stored(&m, db, "counter");
    (void)sqlite3_close(db);
}

/* The file has been cut off at any length. Would catch: OK with a state that is not the stored one,
 * a zero where there was a count, a crash, an answer that never comes. */
static void test_truncated_database(void **state)
{
    enum { COUNT = 400 };
    counter_model *models = (counter_model *)calloc(COUNT, sizeof *models);
    const char    *path;
    char           original[512], damaged[512], command[2200];
    int64_t        size;
    (void)state;
    assert_non_null(models);
    path = made_database(models, COUNT);
    (void)snprintf(original, sizeof original, "%s", path);
    (void)snprintf(damaged, sizeof damaged, "%s", t_database());
    size = raw_file_size(original);
    assert_true(size >= 8 * 4096);
    for (int cut = 0; cut < 24; cut++) {
        /* whole pages and parts of them; from only the header left to only one page missing */
        int64_t           length = cut % 2 == 0 ? (size / 4096 * (cut + 1) / 25) * 4096
                                                : size * (cut + 1) / 25 + cut;
        francis_host_desc desc = plain_desc(damaged, false);
        francis_host     *host;
        francis_result    r;
        if (length == 0)
            length = 100;
        (void)snprintf(command, sizeof command, "cp '%s' '%s' && rm -f '%s-wal' '%s-shm'", original,
                       damaged, damaged, damaged);
        assert_int_equal(system(command), 0);
        assert_int_equal(truncate(damaged, (off_t)length), 0);
        r = try_start(&host, &desc);
        if (r != FRANCIS_OK) {
            if (r != FRANCIS_ERR_CORRUPT)
                fail_msg("cut to %lld: %s: %s", (long long)length, francis_result_name(r),
                         francis_host_error(host));
            assert_true(francis_host_error(host)[0] != '\0');
        }
        for (int i = 0; i < COUNT && r == FRANCIS_OK; i++) {
            francis_call   call = { 0 };
            francis_result p = francis_peek(francis_host_ctx(host), "counter", models[i].id, "get",
                                            NULL, 0, &call);
            if (p == FRANCIS_OK)
                assert_int_equal(*(const int64_t *)call.data, models[i].lo);
            else
                t_result(p, FRANCIS_ERR_CORRUPT);
            francis_call_free(&call);
        }
        francis_close(host);
    }
    free(models);
}

/* ---- locked ---- */

/* Would catch: BUSY told as a broken disk, a wait without end, a wait that is none, an open that
 * leaves the other one's work in pieces. */
static void test_locked_at_open(void **state)
{
    counter_model models[2];
    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        const char       *path = variant == 0 ? t_database() : made_database(models, 2);
        francis_host_desc desc = plain_desc(path, false);
        sqlite3          *db = raw_open(path);
        int64_t           begin;
        if (variant == 0) {         /* not yet in WAL mode */
            raw_exec(db, "CREATE TABLE mine (a)");
            raw_exec(db, "BEGIN EXCLUSIVE; INSERT INTO mine VALUES (1)");
        } else if (variant == 1) {  /* in WAL mode, another writer */
            raw_exec(db, "BEGIN IMMEDIATE; CREATE TABLE mine (a)");
        } else {                    /* in WAL mode, for one connection only */
            raw_exec(db, "PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE mine (a)");
        }
        begin = t_ms();
        start_refused(&desc, FRANCIS_ERR_LOCKED, NULL);
        assert_in_range(t_ms() - begin, 200, 20000);
        if (variant != 2)
            raw_exec(db, "COMMIT");
        (void)sqlite3_close(db);
        if (variant == 0) {
            model_init(&models[0], "c", 0);
            model_init(&models[1], "c", 1);
        }
        goes_on(path, models, 2);
        db = raw_open(path);
        assert_int_equal(raw_int(db, "SELECT count(*) FROM mine", NULL, NULL), variant == 0);
        (void)sqlite3_close(db);
    }
}

static void *unlock_soon(void *arg)
{
    sqlite3 *db = (sqlite3 *)arg;
    int64_t  end = t_ms() + 100;    /* of the 5 s that the host has */
    while (t_ms() < end)
        t_yield();
    raw_exec(db, "COMMIT");
    return NULL;
}

/* A lock that goes away within the time is no error. Would catch: an open or a commit that does not
 * wait, as SQLite itself does not for PRAGMA journal_mode. */
static void test_locked_for_a_while(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = plain_desc(path, variant != 0);
        sqlite3          *db = raw_open(path);
        counter_model     m;
        francis_host     *host;
        pthread_t         thread;
        model_init(&m, "c", 0);
        desc.busy_timeout_ms = 5000;
        raw_exec(db, "CREATE TABLE mine (a)");
        raw_exec(db, "BEGIN EXCLUSIVE");
        assert_int_equal(pthread_create(&thread, NULL, unlock_soon, db), 0);
        host = t_start(&desc, types);
        (void)pthread_join(thread, NULL);
        raw_exec(db, "BEGIN IMMEDIATE");
        assert_int_equal(pthread_create(&thread, NULL, unlock_soon, db), 0);
        t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
        (void)pthread_join(thread, NULL);
        francis_close(host);
        model_stored(&m, db, "counter");
        (void)sqlite3_close(db);
    }
}

/* Another connection holds the write lock while the host runs. Would catch: a commit reported as
 * failed that happens later, reads that wait for the lock, a host that does not come back. */
static void test_locked_while_running(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = plain_desc(path, variant != 0);
        francis_host     *host = t_start(&desc, types);
        francis_ctx      *ctx = francis_host_ctx(host);
        francis_call      call = { 0 };
        sqlite3          *db;
        counter_model     warm, cold, still;
        int64_t           begin;
        model_init(&warm, "warm", 0);
        model_init(&cold, "cold", 0);
        model_init(&still, "still", 0);
        t_ok(model_increment(&warm, ctx, "counter"));
        t_ok(model_increment(&still, ctx, "counter"));
        db = raw_open(path);
        raw_exec(db, "BEGIN EXCLUSIVE");
        begin = t_ms();
        t_result(model_increment(&warm, ctx, "counter"), FRANCIS_ERR_LOCKED);
        assert_in_range(t_ms() - begin, 200, 20000);
        t_result(model_increment(&cold, ctx, "counter"), FRANCIS_ERR_LOCKED);
        /* What is active can be read, and what is stored: the file is locked for writers only. */
        t_ok(francis_peek(ctx, "counter", still.id, "get", NULL, 0, &call));
        assert_int_equal(*(const int64_t *)call.data, still.lo);
        t_ok(francis_state_read(ctx, "counter", warm.id, &call));
        francis_call_free(&call);
        raw_exec(db, "ROLLBACK");
        t_ok(model_increment(&warm, ctx, "counter"));
        t_ok(model_increment(&cold, ctx, "counter"));
        assert_int_equal(warm.lo, 2);
        assert_int_equal(cold.lo, 1);
        francis_close(host);
        model_stored(&warm, db, "counter");
        model_stored(&cold, db, "counter");
        (void)sqlite3_close(db);
    }
}

/* ---- of another version ---- */

/* Would catch: a newer file that is opened, or even taken back to the older version. */
static void test_newer_schema(void **state)
{
    static const char *const levels[] = { "99", "5", "1000000000000", "-1", "four" };
    counter_model            models[2];
    const char              *path = made_database(models, 2);
    sqlite3                 *db = raw_open(path);
    int64_t                  level, tables;
    char                     sql[200];
    (void)state;
    level = raw_int(db, "SELECT value FROM francis_metadata WHERE key = 'migrations-version'", NULL,
                    NULL);
    assert_true(level > 0);
    (void)sqlite3_close(db);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        francis_host_desc desc = plain_desc(path, false);
        francis_host     *host;
        francis_result    r;
        db = raw_open(path);
        tables = raw_int(db, "SELECT count(*) FROM sqlite_master", NULL, NULL);
        (void)snprintf(sql, sizeof sql,
                       "UPDATE francis_metadata SET value = '%s' WHERE key = 'migrations-version'",
                       levels[i]);
        raw_exec(db, sql);
        (void)sqlite3_close(db);
        r = try_start(&host, &desc);
        assert_true(francis_host_error(host)[0] != '\0');
        if (levels[i][0] == '-' || levels[i][0] == 'f') {
            if (r != FRANCIS_ERR_CORRUPT)   /* not a level at all */
                t_result(r, FRANCIS_ERR_SCHEMA);
        } else {
            t_result(r, FRANCIS_ERR_SCHEMA);
        }
        francis_close(host);
        db = raw_open(path);
        assert_int_equal(raw_int(db, "SELECT value = ?1 FROM francis_metadata"
                                     " WHERE key = 'migrations-version'",
                                 levels[i], NULL),
                         1);
        assert_int_equal(raw_int(db, "SELECT count(*) FROM sqlite_master", NULL, NULL), tables);
        assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts", NULL, NULL), 0);
        (void)sqlite3_close(db);
    }
    db = raw_open(path);
    (void)snprintf(sql, sizeof sql,
                   "UPDATE francis_metadata SET value = '%d' WHERE key = 'migrations-version'",
                   (int)level);
    raw_exec(db, sql);
    (void)sqlite3_close(db);
    goes_on(path, models, 2);

    /* Only the metadata are there. */
    path = t_database();
    db = raw_open(path);
    raw_exec(db, "CREATE TABLE francis_metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
                 " STRICT, WITHOUT ROWID;"
                 "INSERT INTO francis_metadata VALUES ('migrations-version', '99')");
    (void)sqlite3_close(db);
    {
        francis_host_desc desc = plain_desc(path, false);
        start_refused(&desc, FRANCIS_ERR_SCHEMA, "99");
    }
}

/* ---- a disk that is really full ---- */

#if defined(__linux__)
enum { FULL_BYTES = 6 * 1024 * 1024, BALLAST = 1536 * 1024, MEMO = 20000 };

static void memo_fill(uint8_t *bytes, unsigned n, unsigned version)
{
    for (size_t i = 0; i < MEMO; i++)
        bytes[i] = (uint8_t)(n * 31 + version * 7 + i * (n + 1));
}

static void make_ballast(const char *path, size_t size)
{
    static uint8_t block[4096];
    int            fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0644);
    assert_true(fd >= 0);
    (void)memset(block, 1, sizeof block);
    while (size > 0) {
        size_t  part = size < sizeof block ? size : sizeof block;
        ssize_t n = write(fd, block, part);
        if (n <= 0)
            break;                  /* full: that is what it is for */
        size -= (size_t)n;
    }
    (void)close(fd);
}

static void full_disk_body(void **state)
{
    bool              workers = *(bool *)*state;
    char              dir[300], path[400], ballast[400], fresh[400], options[40];
    francis_host_desc desc;
    francis_host     *host;
    francis_ctx      *ctx;
    uint8_t          *bytes = (uint8_t *)malloc(MEMO);
    unsigned          put = 0, refused = 0;
    char              id[20];
    francis_result    r;
    francis_call      call = { 0 };
    sqlite3          *db;

    assert_non_null(bytes);
    (void)snprintf(dir, sizeof dir, "%s/full", t_dir());
    (void)mkdir(dir, 0755);
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        child_skip("no mount namespace of our own");
    (void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    (void)snprintf(options, sizeof options, "size=%d", FULL_BYTES);
    if (mount("none", dir, "tmpfs", 0, options) != 0)
        child_skip("mounting is not permitted");
    (void)snprintf(path, sizeof path, "%s/x.db", dir);
    (void)snprintf(fresh, sizeof fresh, "%s/y.db", dir);
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", dir);
    make_ballast(ballast, BALLAST);
    desc = plain_desc(path, workers);
    desc.wal_bytes_max = 512 * 1024;
    host = t_start(&desc, types);
    ctx = francis_host_ctx(host);

    for (;; put++) {                /* until there is no room */
        memo_fill(bytes, put, 0);
        (void)snprintf(id, sizeof id, "m%u", put);
        r = francis_invoke(ctx, "memo", id, "put", bytes, MEMO, &call);
        if (r != FRANCIS_OK)
            break;
        assert_true(put < 2 * FULL_BYTES / MEMO);
    }
    if (r != FRANCIS_ERR_FULL)
        print_error("%s\n", call.error);
    t_result(r, FRANCIS_ERR_FULL);
    assert_true(put > 10);
    for (int i = 0; i < 20; i++) {  /* and it stays so, without harm */
        memo_fill(bytes, put, 0);
        r = francis_invoke(ctx, "memo", id, "put", bytes, MEMO, &call);
        if (r == FRANCIS_OK)
            break;                  /* a checkpoint has made room */
        t_result(r, FRANCIS_ERR_FULL);
        refused++;
    }
    if (r == FRANCIS_OK)
        put++;
    for (unsigned i = 0; i < put; i++) {    /* what was acknowledged can be read */
        (void)snprintf(id, sizeof id, "m%u", i);
        memo_fill(bytes, i, 0);
        t_ok(francis_state_read(ctx, "memo", id, &call));
        assert_int_equal(call.size, MEMO);
        assert_memory_equal(call.data, bytes, MEMO);
    }
    assert_int_equal(unlink(ballast), 0);   /* room again */
    for (unsigned i = 0; i < 5; i++) {
        memo_fill(bytes, i, 1);
        (void)snprintf(id, sizeof id, "m%u", i);
        t_until((r = francis_invoke(ctx, "memo", id, "put", bytes, MEMO, &call)) !=
                FRANCIS_ERR_FULL);
        t_ok(r);
    }
    francis_call_free(&call);
    francis_close(host);

    /* Full when it is opened, with and without a file. */
    make_ballast(ballast, FULL_BYTES);
    desc = plain_desc(fresh, workers);
    r = try_start(&host, &desc);
    if (r != FRANCIS_ERR_STORAGE)   /* SQLite tells the want of room for the shared memory so */
        t_result(r, FRANCIS_ERR_FULL);
    assert_true(francis_host_error(host)[0] != '\0');
    francis_close(host);
    desc = plain_desc(path, workers);
    r = try_start(&host, &desc);
    if (r != FRANCIS_OK && r != FRANCIS_ERR_STORAGE)
        t_result(r, FRANCIS_ERR_FULL);
    francis_close(host);
    assert_int_equal(unlink(ballast), 0);
    host = t_start(&desc, types);
    ctx = francis_host_ctx(host);
    for (unsigned i = 0; i < put; i++) {
        (void)snprintf(id, sizeof id, "m%u", i);
        memo_fill(bytes, i, i < 5 ? 1 : 0);
        t_ok(francis_peek(ctx, "memo", id, "get", NULL, 0, &call));
        assert_int_equal(call.size, MEMO);
        assert_memory_equal(call.data, bytes, MEMO);
    }
    francis_call_free(&call);
    francis_close(host);
    db = raw_open(path);
    raw_check(db);
    (void)sqlite3_close(db);
    free(bytes);
    (void)refused;
    (void)umount(dir);
}
#endif

/* A file system of a few megabytes runs full. Would catch: STORAGE instead of FULL, an acknowledged
 * state that is not there, a host that does not recover when there is room, a bus error. */
static void test_full_disk(void **state)
{
    (void)state;
#if defined(__linux__)
    for (int variant = 0; variant < 2; variant++) {
        bool workers = variant != 0;
        child_run(full_disk_body, &workers);
    }
#else
    skip();
#endif
}

/* ---- deleted or replaced while it runs ---- */

static bool is_ready(francis_host *host)
{
    francis_health    health;
    francis_host_desc desc;
    francis_desc_get(host, &desc);
    if (desc.workers == FRANCIS_NO_WORKERS)
        (void)francis_poll(host, 0);
    francis_health_get(host, &health);
    return health.ready;
}

/* The file is unlinked, perhaps another one put into its place. The connection goes on writing to a
 * file that nobody will ever open again. Would catch: OK for what is gone with the process; a host
 * that calls itself ready and can never write again, also if nobody has tried. */
static void test_deleted_while_running(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = plain_desc(path, (variant & 1) != 0);
        francis_host     *host;
        francis_ctx      *ctx;
        counter_model     warm, cold;
        francis_result    r;
        desc.lease_ms = (variant & 4) != 0 ? 300 : FRANCIS_HOURS(1);
        desc.health_deadline_ms = FRANCIS_HOURS(4);
        host = t_start(&desc, types);
        ctx = francis_host_ctx(host);
        model_init(&warm, "warm", 0);
        model_init(&cold, "cold", 0);
        t_ok(model_increment(&warm, ctx, "counter"));
        assert_true(is_ready(host));
        assert_int_equal(unlink(path), 0);
        if ((variant & 2) != 0) {
            sqlite3 *db = raw_open(path);
            raw_exec(db, "CREATE TABLE mine (a)");
            (void)sqlite3_close(db);
        }
        if ((variant & 4) != 0)     /* it looks at its row now and then */
            t_until(!is_ready(host));
        for (int i = 0; i < 3; i++) {
            r = model_increment(&warm, ctx, "counter");
            if (francis_outcome(r) == FRANCIS_OUTCOME_DONE)
                fail_msg("variant %d: OK, but the database has been deleted", variant);
            r = model_increment(&cold, ctx, "counter");
            if (francis_outcome(r) == FRANCIS_OUTCOME_DONE)
                fail_msg("variant %d: OK, but the database has been deleted", variant);
        }
        assert_false(is_ready(host));
        francis_close(host);
        raw_remove(path);
    }
}

/* ---- a second host ---- */

typedef struct {
    const char *path;
    int         begin[2], done[2];
} other_process;

/* Comes and goes beside another host that has c0. */
static void second_host(const francis_host_desc *desc)
{
    francis_host *host = t_start(desc, types);
    francis_call  call = { 0 };
    francis_stats stats;
    counter_model own;
    model_init(&own, "own", (unsigned)getpid());
    t_result(francis_invoke(francis_host_ctx(host), "counter", "c0", "increment", NULL, 0, &call),
             FRANCIS_ERR_MOVED);
    assert_non_null(strstr(call.error, "counter/c0 lives on host "));
    francis_call_free(&call);
    own.hi = 100;                   /* whatever it was the last time */
    t_ok(model_increment(&own, francis_host_ctx(host), "counter"));
    francis_stats_get(host, &stats);
    assert_int_equal(stats.evictions, 0);
    francis_close(host);
}

static void other_process_body(void **state)
{
    other_process    *o = (other_process *)*state;
    francis_host_desc desc = plain_desc(o->path, false);
    char              c;
    (void)close(o->begin[1]);
    (void)close(o->done[0]);
    while (child_read(o->begin[0], &c, 1)) {    /* once for each time that we are asked */
        second_host(&desc);
        child_write(o->done[1], "x", 1);
    }
}

/* Hosts come and go beside one that stays. Would catch: a lock that does not see hosts of the same
 * process, one that is dropped when the other host closes its descriptors (POSIX locks are), a host
 * that takes the other one's row, lock file or placements away when it leaves. */
static void test_second_host(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = plain_desc(path, variant != 0);
        other_process     o = { path, { -1, -1 }, { -1, -1 } };
        francis_host     *host;
        francis_ctx      *ctx;
        francis_stats     stats;
        counter_model     m;
        pid_t             pid;
        char              c;
        int               status;
        model_init(&m, "c", 0);
        assert_int_equal(pipe(o.begin), 0);
        assert_int_equal(pipe(o.done), 0);
        pid = child_start(other_process_body, &o);
        (void)close(o.begin[0]);
        (void)close(o.done[1]);
        host = t_start(&desc, types);
        ctx = francis_host_ctx(host);
        t_ok(model_increment(&m, ctx, "counter"));
        for (int i = 0; i < 3; i++) {
            second_host(&desc);                     /* in this process */
            t_ok(model_increment(&m, ctx, "counter"));
            child_write(o.begin[1], "x", 1);        /* in another one, at any moment of it */
            t_ok(model_increment(&m, ctx, "counter"));
            if (!child_read(o.done[0], &c, 1))
                fail_msg("the other process has ended, see above");
            t_ok(model_increment(&m, ctx, "counter"));
        }
        (void)close(o.begin[1]);
        status = child_wait(pid);
        assert_int_equal(status, 0);
        (void)close(o.done[0]);
        t_ok(model_increment(&m, ctx, "counter"));
        francis_stats_get(host, &stats);
        assert_int_equal(stats.lives, 1);           /* nobody took it for dead */
        francis_close(host);
        goes_on(path, &m, 1);
    }
}

/* Another prefix is another set of tables in the same file, but the file has one host all the same
 * or two that do not disturb each other; never a mixture. */
static void test_two_prefixes(void **state)
{
    const char       *path = t_database();
    francis_host_desc desc = plain_desc(path, false);
    counter_model     m, n;
    francis_host     *host;
    (void)state;
    model_init(&m, "c", 0);
    model_init(&n, "c", 0);
    host = t_start(&desc, types);
    t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
    francis_close(host);
    desc.table_prefix = "other";
    host = t_start(&desc, types);
    t_ok(model_increment(&n, francis_host_ctx(host), "counter"));   /* begins at 1 */
    francis_close(host);
    goes_on(path, &m, 1);
}

/* ---- the user's handle ---- */

static sqlite3 *user_handle(const char *path, int flags)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | flags, NULL),
                     SQLITE_OK);
    return db;
}

static void handle_refused(const francis_host_desc *desc, const char *word)
{
    francis_host  *host;
    francis_result r = try_start(&host, desc);
    if (r != FRANCIS_ERR_LOCKED && r != FRANCIS_ERR_USAGE)
        t_result(r, FRANCIS_ERR_INVALID);
    if (strstr(francis_host_error(host), word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", francis_host_error(host), word);
    francis_close(host);
}

/* Would catch: a host that joins the application's transaction and loses with its rollback what it
 * acknowledged; a handle closed or changed by close. */
static void test_handle_conditions(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        const char       *path = t_database();
        sqlite3          *db = user_handle(path, SQLITE_OPEN_FULLMUTEX);
        francis_host_desc desc = plain_desc(NULL, variant != 0);
        sqlite3_stmt     *stmt = NULL;
        counter_model     m;
        francis_host     *host;
        model_init(&m, "c", 0);
        raw_exec(db, "CREATE TABLE mine (a); INSERT INTO mine VALUES (1), (2), (3)");
        desc.sqlite = db;

        raw_exec(db, "BEGIN");
        handle_refused(&desc, "transaction");
        raw_exec(db, "ROLLBACK");

        assert_int_equal(sqlite3_prepare_v2(db, "SELECT a FROM mine", -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        handle_refused(&desc, "statement");
        (void)sqlite3_finalize(stmt);

        for (int round = 0; round < 2; round++) {   /* and again, with the same handle */
            host = t_start(&desc, types);
            for (int i = 0; i < 10; i++)
                t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
            francis_close(host);
            assert_int_equal(sqlite3_get_autocommit(db), 1);
            assert_int_equal(raw_int(db, "SELECT count(*) FROM mine", NULL, NULL), 3);
        }
        model_stored(&m, db, "counter");
        assert_int_equal(sqlite3_close(db), SQLITE_OK); /* nothing of ours is left on it */

        db = user_handle(path, SQLITE_OPEN_NOMUTEX);    /* threads, and no mutex */
        desc.sqlite = db;
        if (variant != 0)
            handle_refused(&desc, "");
        (void)sqlite3_close(db);
        goes_on(path, &m, 1);
    }
}

/* The application uses its handle between the polls, as it may. Would catch: a turn that is
 * committed with the application's transaction, or undone with it. */
static void test_handle_in_use(void **state)
{
    const char       *path = t_database();
    sqlite3          *db = user_handle(path, SQLITE_OPEN_FULLMUTEX);
    francis_host_desc desc = plain_desc(NULL, false);
    sqlite3_stmt     *stmt = NULL;
    francis_host     *host;
    francis_ctx      *ctx;
    francis_result    r;
    counter_model     m, cold;
    (void)state;
    raw_exec(db, "CREATE TABLE mine (a); INSERT INTO mine VALUES (1), (2), (3)");
    desc.sqlite = db;
    host = t_start(&desc, types);
    ctx = francis_host_ctx(host);
    model_init(&m, "c", 0);
    model_init(&cold, "cold", 0);
    t_ok(model_increment(&m, ctx, "counter"));

    raw_exec(db, "BEGIN; INSERT INTO mine VALUES (4)");
    t_result(model_increment(&m, ctx, "counter"), FRANCIS_ERR_LOCKED);
    t_result(model_increment(&cold, ctx, "counter"), FRANCIS_ERR_LOCKED);
    raw_exec(db, "ROLLBACK");
    assert_int_equal(raw_int(db, "SELECT count(*) FROM mine", NULL, NULL), 3);
    t_ok(model_increment(&m, ctx, "counter"));
    t_ok(model_increment(&cold, ctx, "counter"));

    raw_exec(db, "BEGIN; INSERT INTO mine VALUES (5)");
    t_result(model_increment(&m, ctx, "counter"), FRANCIS_ERR_LOCKED);
    raw_exec(db, "COMMIT");
    assert_int_equal(raw_int(db, "SELECT count(*) FROM mine", NULL, NULL), 4);

    /* A reader of the application's that is half through: either way, but the truth. */
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT a FROM mine", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    r = model_increment(&m, ctx, "counter");
    if (r != FRANCIS_OK)
        t_result(r, FRANCIS_ERR_LOCKED);
    (void)sqlite3_finalize(stmt);
    t_ok(model_increment(&m, ctx, "counter"));

    /* Its own commits go beside ours. */
    raw_exec(db, "INSERT INTO mine VALUES (6)");
    t_ok(model_increment(&m, ctx, "counter"));
    francis_close(host);
    model_stored(&m, db, "counter");
    model_stored(&cold, db, "counter");
    raw_check(db);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static francis_result database_refuses(struct sqlite3 **db_out, const char *database, int flags,
                                       void *user)
{
    (void)database;
    (void)flags;
    *db_out = NULL;
    (*(int *)user)++;
    return FRANCIS_ERR_USER + 17;
}

static francis_result database_opens(struct sqlite3 **db_out, const char *database, int flags,
                                     void *user)
{
    (*(int *)user)++;
    return sqlite3_open_v2(database, db_out, flags, NULL) == SQLITE_OK ? FRANCIS_OK
                                                                      : FRANCIS_ERR_STORAGE;
}

/* Would catch: a function of the user's that is asked once and not for each connection, an error of
 * its that is replaced, a connection that is not closed. */
static void test_function_that_opens(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = plain_desc(path, variant != 0);
        int               asked = 0;
        counter_model     m;
        francis_host     *host;
        francis_result    r;
        model_init(&m, "c", 0);
        desc.on_database = database_refuses;
        desc.database_user = &asked;
        r = try_start(&host, &desc);
        assert_true(asked > 0);
        if (r != FRANCIS_ERR_STORAGE)
            t_result(r, FRANCIS_ERR_USER + 17);
        assert_true(francis_host_error(host)[0] != '\0');
        francis_close(host);
        asked = 0;
        desc.on_database = database_opens;
        host = t_start(&desc, types);
        t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
        assert_true(asked > 0);
        francis_close(host);
        goes_on(path, &m, 1);
    }
}

/* ---- eviction and forged rows ---- */

static void own_id(francis_host *host, char id[40])
{
    francis_stats stats;
    francis_stats_get(host, &stats);
    (void)snprintf(id, 40, "%s", stats.host_id);
    assert_true(id[0] != '\0');
}

/* The ways in which somebody may declare a host dead. */
static bool evict(sqlite3 *db, const char *id, int how)
{
    char sql[400];
    bool ext = raw_table(db, "francis_ext_hosts");
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts WHERE host_id = ?1", id, NULL),
                     1);
    raw_exec(db, "PRAGMA foreign_keys = ON");
    switch (how) {
    case 0:                         /* the row is gone, and all that hangs on it */
        (void)snprintf(sql, sizeof sql, "DELETE FROM francis_hosts WHERE host_id = '%s'", id);
        raw_exec(db, sql);
        if (ext) {
            (void)snprintf(sql, sizeof sql, "DELETE FROM francis_ext_hosts WHERE host_id = '%s'",
                           id);
            raw_exec(db, sql);
        }
        return true;
    case 1:                         /* marked */
        if (!ext)
            return false;
        (void)snprintf(sql, sizeof sql,
                       "UPDATE francis_ext_hosts SET evicted = 1 WHERE host_id = '%s'", id);
        raw_exec(db, sql);
        return true;
    default:                        /* as the other implementation does: only its own table */
        raw_exec(db, "PRAGMA foreign_keys = OFF");
        (void)snprintf(sql, sizeof sql, "DELETE FROM francis_hosts WHERE host_id = '%s'", id);
        raw_exec(db, sql);
        return true;
    }
}

/* The host's row is taken away: the next batch must find that, whatever is in it. A turn is lost
 * with it; a call whose actor was still to be claimed has not begun: it is served in the next life.
 * Would catch: a fence that is read outside of the transaction, only now and then, or not for
 * claims. */
static void test_evicted(void **state)
{
    (void)state;
    for (int variant = 0; variant < 12; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = plain_desc(path, (variant & 1) != 0);
        francis_host     *host = t_start(&desc, types);
        francis_ctx      *ctx = francis_host_ctx(host);
        int               first = variant >> 1 & 1, how = variant >> 2;
        unsigned          logged = t_logged(&logs, 104);
        counter_model     warm, cold;
        counter_state     c;
        francis_result    r;
        sqlite3          *db;
        char              id[40];
        model_init(&warm, "warm", 0);
        model_init(&cold, "cold", 0);
        for (int i = 0; i < 3; i++)
            t_ok(model_increment(&warm, ctx, "counter"));
        own_id(host, id);
        db = raw_open(path);
        if (evict(db, id, how)) {
            if (first == 0)
                t_result(model_increment(&warm, ctx, "counter"), FRANCIS_ERR_EVICTED);
            else
                t_ok(model_increment(&cold, ctx, "counter"));
            t_until(((void)francis_poll(host, 0), t_logged(&logs, 104) > logged));
            /* Nothing more is written under that id: the host is new, or refuses. */
            for (int i = 0; i < 4; i++) {
                r = model_increment((i & 1) != 0 ? &warm : &cold, ctx, "counter");
                if (r == FRANCIS_OK) {
                    char now[40];
                    own_id(host, now);
                    assert_string_not_equal(now, id);
                } else if (r != FRANCIS_ERR_EVICTED) {
                    t_result(r, FRANCIS_ERR_STOPPED);
                }
            }
            assert_true(raw_state(db, "counter", warm.id, &c, sizeof c));
            assert_int_equal(c.n, warm.lo);
        }
        francis_close(host);
        model_stored(&warm, db, "counter");
        model_stored(&cold, db, "counter");
        (void)sqlite3_close(db);
        goes_on(path, &warm, 1);
    }
}

/* A host that was evicted must not, when it leaves, take away what belongs to its successor. */
static void test_evicted_host_leaves(void **state)
{
    const char       *path = t_database();
    francis_host_desc desc = plain_desc(path, false);
    francis_host     *host = t_start(&desc, types);
    counter_model     m;
    sqlite3          *db;
    char              id[40];
    (void)state;
    model_init(&m, "c", 0);
    t_ok(model_increment(&m, francis_host_ctx(host), "counter"));
    own_id(host, id);
    db = raw_open(path);
    (void)evict(db, id, 0);
    raw_exec(db, "INSERT INTO francis_hosts (host_id, host_address, host_last_health_check)"
                 " VALUES ('successor', 'other:1', 1)");
    raw_exec(db, "INSERT INTO francis_active_actors"
                 " (actor_type, actor_id, host_id, actor_idle_timeout, actor_activation)"
                 " VALUES ('counter', 'c0', 'successor', 0, 1)");
    francis_close(host);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_hosts WHERE host_id = ?1",
                             "successor", NULL),
                     1);
    assert_int_equal(raw_int(db, "SELECT count(*) FROM francis_active_actors WHERE host_id = ?1",
                             "successor", NULL),
                     1);
    (void)sqlite3_close(db);
}

/* The name of a lock file beside the database, as SQLite's VFS wants it, and its lock, held. */
static sqlite3_file *hold_host_lock(const char *database, const char *id, const char **name_out)
{
    sqlite3_vfs  *vfs = sqlite3_vfs_find(NULL);
    sqlite3_file *file = (sqlite3_file *)calloc(1, (size_t)vfs->szOsFile);
    char          path[700], full[1200];
    int           flags = 0;
    assert_non_null(file);
    (void)snprintf(path, sizeof path, "%s-host-%s", database, id);
    assert_int_equal(vfs->xFullPathname(vfs, path, (int)sizeof full, full), SQLITE_OK);
    *name_out = sqlite3_create_filename(full, "", "", 0, NULL);
    assert_int_equal(vfs->xOpen(vfs, *name_out, file,
                                SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                &flags),
                     SQLITE_OK);
    assert_int_equal(file->pMethods->xWrite(file, "", 1, 0), SQLITE_OK);
    assert_int_equal(file->pMethods->xLock(file, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_int_equal(file->pMethods->xLock(file, SQLITE_LOCK_RESERVED), SQLITE_OK);
    return file;
}

/* A host of somebody else's that lives: rows like ours, and a lock. */
static void forge_host(sqlite3 *db, const char *ours, const char *forged)
{
    char          sql[2000], columns[600] = "";
    sqlite3_stmt *stmt = NULL;
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO francis_hosts (host_id, host_address, host_last_health_check)"
                   " SELECT '%s', 'forged:1', host_last_health_check FROM francis_hosts"
                   " WHERE host_id = '%s'",
                   forged, ours);
    raw_exec(db, sql);
    if (!raw_table(db, "francis_ext_hosts"))
        return;
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT name FROM pragma_table_info('francis_ext_hosts')"
                                        " WHERE name <> 'host_id'",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        (void)strncat(columns, ", ", sizeof columns - strlen(columns) - 1);
        (void)strncat(columns, (const char *)sqlite3_column_text(stmt, 0),
                      sizeof columns - strlen(columns) - 1);
    }
    (void)sqlite3_finalize(stmt);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO francis_ext_hosts (host_id%s) SELECT '%s'%s FROM francis_ext_hosts"
                   " WHERE host_id = '%s'",
                   columns, forged, columns, ours);
    raw_exec(db, sql);
}

/* One actor's placement names another host. Would catch: a turn that is written nevertheless (the
 * host's own row still stands), or one that takes its neighbours in the batch with it; an
 * activation that goes on from its old state afterwards. */
static void test_forged_placement(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        const char       *path = t_database();
        francis_host_desc desc = plain_desc(path, variant != 0);
        francis_host     *host = t_start(&desc, types);
        francis_ctx      *ctx = francis_host_ctx(host);
        counter_model     models[5];
        francis_call      calls[5];
        counter_state     c;
        const char       *name;
        sqlite3_file     *lock;
        sqlite3          *db;
        char              id[40], sql[300];
        for (unsigned i = 0; i < 5; i++) {
            model_init(&models[i], "a", i);
            t_ok(model_increment(&models[i], ctx, "counter"));
        }
        own_id(host, id);
        db = raw_open(path);
        lock = hold_host_lock(path, "forged", &name);
        forge_host(db, id, "forged");
        raw_exec(db, "INSERT OR REPLACE INTO francis_active_actors"
                     " (actor_type, actor_id, host_id, actor_idle_timeout, actor_activation)"
                     " VALUES ('counter', 'a2', 'forged', 0, 1)");
        /* The other one has written, too. */
        counter_put(&c, 100);
        {
            sqlite3_stmt *stmt = NULL;
            assert_int_equal(sqlite3_prepare_v2(db, "UPDATE francis_actor_state"
                                                    " SET actor_state_data = ?1"
                                                    " WHERE actor_type = 'counter'"
                                                    " AND actor_id = 'a2'",
                                                -1, &stmt, NULL),
                             SQLITE_OK);
            (void)sqlite3_bind_blob(stmt, 1, &c, sizeof c, SQLITE_STATIC);
            assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
            (void)sqlite3_finalize(stmt);
            assert_int_equal(sqlite3_changes(db), 1);
        }
        (void)memset(calls, 0, sizeof calls);
        for (int i = 0; i < 5; i++) {   /* without workers: one batch */
            calls[i].async = true;
            t_result(francis_invoke(ctx, "counter", models[i].id, "increment", NULL, 0, &calls[i]),
                     FRANCIS_PENDING);
        }
        for (int i = 0; i < 5; i++) {
            t_result(francis_wait(ctx, &calls[i]), i == 2 ? FRANCIS_ERR_EVICTED : FRANCIS_OK);
            model_answer(&models[i], calls[i].result, calls[i].data, calls[i].size);
            francis_call_free(&calls[i]);
        }
        assert_true(raw_state(db, "counter", "a2", &c, sizeof c));
        assert_int_equal(c.n, 100);
        /* It is not ours, so it is not activated here either. */
        {
            francis_result r = model_increment(&models[2], ctx, "counter");
            assert_int_equal(francis_outcome(r), FRANCIS_OUTCOME_NOT_RUN);
        }
        assert_true(raw_state(db, "counter", "a2", &c, sizeof c));
        assert_int_equal(c.n, 100);

        /* The other one has let go: our next activation takes the state that is stored. */
        raw_exec(db, "DELETE FROM francis_active_actors WHERE host_id = 'forged'");
        (void)snprintf(sql, sizeof sql, "DELETE FROM francis_hosts WHERE host_id = 'forged'");
        raw_exec(db, sql);
        if (raw_table(db, "francis_ext_hosts"))
            raw_exec(db, "DELETE FROM francis_ext_hosts WHERE host_id = 'forged'");
        (void)lock->pMethods->xUnlock(lock, SQLITE_LOCK_NONE);
        (void)lock->pMethods->xClose(lock);
        (void)unlink(name);
        sqlite3_free_filename(name);
        free(lock);
        models[2].lo = models[2].hi = 100;
        for (int i = 0; i < 5; i++)
            t_ok(model_increment(&models[i], ctx, "counter"));
        francis_close(host);
        for (int i = 0; i < 5; i++)
            model_stored(&models[i], db, "counter");
        raw_check(db);
        (void)sqlite3_close(db);
    }
}

/* State of a type that this host does not serve is written directly, but only if the actor is
 * active nowhere, which is proved in the same transaction. Would catch: a write under the owner's
 * cache. */
static void test_state_of_a_foreign_actor(void **state)
{
    const char       *path = t_database();
    francis_host_desc desc = plain_desc(path, false);
    francis_host     *host = t_start(&desc, types);
    francis_ctx      *ctx = francis_host_ctx(host);
    const char       *name;
    sqlite3_file     *lock;
    francis_result    r;
    sqlite3          *db;
    char              id[40], bytes[8];
    (void)state;
    own_id(host, id);
    db = raw_open(path);
    t_ok(francis_state_write(ctx, "elsewhere", "x", "first", 5, 0, NULL));
    lock = hold_host_lock(path, "forged", &name);
    forge_host(db, id, "forged");
    raw_exec(db, "INSERT INTO francis_active_actors"
                 " (actor_type, actor_id, host_id, actor_idle_timeout, actor_activation)"
                 " VALUES ('elsewhere', 'x', 'forged', 0, 1)");
    r = francis_state_write(ctx, "elsewhere", "x", "second", 6, 0, NULL);
    assert_int_not_equal(r, FRANCIS_OK);
    assert_int_not_equal(francis_outcome(r), FRANCIS_OUTCOME_UNKNOWN);
    assert_true(raw_state(db, "elsewhere", "x", bytes, sizeof bytes));
    assert_memory_equal(bytes, "first\0\0", 8);
    {                               /* with a request id it may be tried again, not done */
        francis_call call = { .request_id = "again", .timeout_ms = 300 };
        r = francis_state_write(ctx, "elsewhere", "x", "second", 6, 0, &call);
        assert_int_not_equal(francis_outcome(r), FRANCIS_OUTCOME_DONE);
        assert_int_not_equal(francis_outcome(r), FRANCIS_OUTCOME_UNKNOWN);
        francis_call_free(&call);
    }
    assert_true(raw_state(db, "elsewhere", "x", bytes, sizeof bytes));
    assert_memory_equal(bytes, "first\0\0", 8);
    raw_exec(db, "DELETE FROM francis_active_actors WHERE host_id = 'forged'");
    t_ok(francis_state_write(ctx, "elsewhere", "x", "third", 5, 0, NULL));
    assert_true(raw_state(db, "elsewhere", "x", bytes, sizeof bytes));
    assert_memory_equal(bytes, "third\0\0", 8);
    (void)lock->pMethods->xUnlock(lock, SQLITE_LOCK_NONE);
    (void)lock->pMethods->xClose(lock);
    (void)unlink(name);
    sqlite3_free_filename(name);
    free(lock);
    francis_close(host);
    (void)sqlite3_close(db);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_only_file),
        cmocka_unit_test(test_unwritable_directory),
        cmocka_unit_test(test_missing_directory),
        cmocka_unit_test(test_not_a_database),
        cmocka_unit_test(test_empty_and_foreign_files),
        cmocka_unit_test(test_truncated_database),
        cmocka_unit_test(test_locked_at_open),
        cmocka_unit_test(test_locked_for_a_while),
        cmocka_unit_test(test_locked_while_running),
        cmocka_unit_test(test_newer_schema),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_deleted_while_running),
        cmocka_unit_test(test_second_host),
        cmocka_unit_test(test_two_prefixes),
        cmocka_unit_test(test_handle_conditions),
        cmocka_unit_test(test_handle_in_use),
        cmocka_unit_test(test_function_that_opens),
        cmocka_unit_test(test_evicted),
        cmocka_unit_test(test_evicted_host_leaves),
        cmocka_unit_test(test_forged_placement),
        cmocka_unit_test(test_state_of_a_foreign_actor),
    };
    int failed;
    (void)pthread_mutex_init(&logs.lock, NULL);
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("fault_database", tests, NULL, NULL);
    t_clean();
    return failed;
}
