/* What is seldom asked of the library: zone files and schedules that are broken in ways of their
 * own, databases that another program has changed or that the application has opened, calls that
 * are used wrongly. The program contains the library, so that a function whose answer depends on
 * the system can be asked by itself. */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"

#include <signal.h>
#include <sys/time.h>
#include <wchar.h>

#include "support/address.h"
#include "support/raw_sqlite.h"
#include "support/ta.h"

#include "support/layers.h"

#define HOUR_MS INT64_C(3600000)

/* Without syncs, which no test here is about. */
static void host_open(const francis_host_desc *wanted, const francis_actor_desc *types)
{
    francis_host_desc desc = { .durability = FRANCIS_SURVIVES_NOTHING };

    if (wanted != NULL)
        desc = *wanted;
    desc.durability = FRANCIS_SURVIVES_NOTHING;
    ta_open(&desc, types);
}

/* ---- zones ---- */

/* Would catch: a rule that is read in part, or with numbers that overflow. */
static void test_rules(void **state)
{
    static const char *const wrong[] = {
        "CE[-1", "CET1234", "CET-1CEST-2M3.5.0,M10.5.0", "AAA24BBB-24,M3.5.0,M10.5.0",
        "AAA-24BBB24,M3.5.0,M10.5.0", "CET-1CEST,M0.5.0,M10.5.0", "CET-1CEST,M3.5.0,M13.5.0",
    };
    frn_zone_rule rule;

    (void)state;
    for (size_t i = 0; i < FRN_COUNT(wrong); i++)
        if (frn_posix_parse(wrong[i], &rule))
            fail_msg("%s is taken", wrong[i]);
    assert_true(frn_posix_parse("CET-1CEST,M3.5.0,M10.5.0/3", &rule));
    assert_true(rule.offset[0] == HOUR_MS && rule.offset[1] == 2 * HOUR_MS);
}

typedef struct zone_file {
    size_t        size;
    unsigned char bytes[4096];
} zone_file;

static void zone_number(zone_file *f, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0)
        f->bytes[f->size++] = (unsigned char)(value >> (8 * bytes));
}

/* One change for each time, to the last type; types of these offsets, the second and all later ones
 * alike. */
static void zone_block(zone_file *f, char version, unsigned width, unsigned types, unsigned chars,
                       const int32_t offsets[2], unsigned times)
{
    zone_number(f, 0x545a6966u, 4);
    zone_number(f, (unsigned char)version, 1);
    zone_number(f, 0, 8);
    zone_number(f, 0, 7);
    zone_number(f, 0, 4);
    zone_number(f, 0, 4);
    zone_number(f, 0, 4);
    zone_number(f, times, 4);
    zone_number(f, types, 4);
    zone_number(f, chars, 4);
    for (unsigned i = 0; i < times; i++)
        zone_number(f, 1000000 + i, width);
    for (unsigned i = 0; i < times; i++)
        zone_number(f, types > 1 ? 1 : 0, 1);
    for (unsigned i = 0; i < types; i++) {
        zone_number(f, (uint32_t)offsets[i == 0 ? 0 : 1], 4);
        zone_number(f, 0, 2);
    }
    for (unsigned i = 0; i < chars; i++)
        zone_number(f, i + 1 < chars ? 'A' : 0, 1);
}

static void zone_text(zone_file *f, const char *text, size_t size)
{
    memcpy(f->bytes + f->size, text, size);
    f->size += size;
}

static void zone_is(base *b, const zone_file *f, francis_result expected)
{
    frn_zone *z = NULL;

    t_result(frn_tzif_read(&b->mem, "Test", f->bytes, f->size, &z), expected);
    if (z != NULL)
        frn_mem_free(&b->mem, z, z->bytes);
}

/* Would catch: a file that is read beyond its end or its tables, or believed in spite of what it
 * says. */
static void test_zone_files(void **state)
{
    static unsigned char large[FRN_ZONE_FILE_MAX + 1];
    static const int32_t same[2] = { 3600, 3600 }, up[2] = { -50400, 50400 };
    static const int32_t down[2] = { 50400, -50400 };
    base                *b = base_new();
    zone_file            f;
    frn_zone            *z;
    char                 long_text[200];

    (void)state;
#define ZONE(...)                         \
    do {                                  \
        f.size = 0;                       \
        zone_block(&f, 0, 4, __VA_ARGS__); \
    } while (0)
#define ZONE_2(text, length)                     \
    do {                                         \
        f.size = 0;                              \
        zone_block(&f, '2', 4, 1, 4, same, 0);   \
        zone_block(&f, '2', 8, 1, 4, same, 0);   \
        zone_text(&f, text, length);             \
    } while (0)
    ZONE(256, 4, same, 1);
    zone_is(b, &f, FRANCIS_OK);
    ZONE(257, 4, same, 1);
    zone_is(b, &f, FRANCIS_ERR_CORRUPT);
    ZONE(1, 0, same, 1);
    zone_is(b, &f, FRANCIS_ERR_CORRUPT);
    ZONE(2, 4, up, 1);                  /* 28 hours at once */
    zone_is(b, &f, FRANCIS_ERR_CORRUPT);
    ZONE(2, 4, down, 1);
    zone_is(b, &f, FRANCIS_ERR_CORRUPT);
    ZONE_2("\nCET-1\n", 7);
    zone_is(b, &f, FRANCIS_OK);
    ZONE_2("\nCET-1\0\n", 8);
    zone_is(b, &f, FRANCIS_ERR_CORRUPT);
    memset(long_text, 'A', sizeof long_text);
    long_text[0] = '\n';
    long_text[199] = '\n';
    ZONE_2(long_text, sizeof long_text);
    zone_is(b, &f, FRANCIS_ERR_CORRUPT);
    f.size = 0;
    zone_block(&f, '2', 4, 1, 4, same, 0);
    zone_block(&f, 0, 8, 1, 4, same, 0);    /* the second head denies that it is one */
    zone_text(&f, "\nCET-1\n", 7);
    zone_is(b, &f, FRANCIS_ERR_CORRUPT);
    ZONE(1, 4, same, 0);
    memcpy(large, f.bytes, f.size);
    t_result(frn_tzif_read(&b->mem, "Test", large, sizeof large, &z), FRANCIS_ERR_CORRUPT);
    assert_null(z);
    base_free(b);
}

static int ticks_pipe[2];
static volatile sig_atomic_t ticks;

static void on_tick(int sig)
{
    (void)sig;
    ticks = ticks + 1;
    if (ticks == 3 && write(ticks_pipe[1], "abc", 3) != 3)
        abort();
}

/* Would catch: a file that got shorter and is read for ever, or a signal that breaks a read. */
static void test_zone_reads(void **state)
{
    const struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
    base                  *b = base_new();
    struct sigaction       act, old;
    unsigned char          bytes[3];
    frn_zone              *z = NULL;
    frn_zones              zones;
    const frn_zone        *found = NULL;
    FILE                  *f = fopen(t_path("short"), "w+b");
    char                   far_away[600];

    (void)state;
    assert_non_null(f);
    assert_true(fwrite("TZif", 1, 4, f) == 4);
    assert_int_equal(fflush(f), 0);     /* its end is where it is read from */
    t_result(frn_zone_load_from(&b->mem, "short", fileno(f), &z), FRANCIS_ERR_CORRUPT);
    assert_null(z);
    (void)fclose(f);
    assert_false(frn_read_all(-1, bytes, sizeof bytes));
    assert_int_equal(pipe(ticks_pipe), 0);
    memset(&act, 0, sizeof act);
    act.sa_handler = on_tick;           /* a read is not begun anew behind it */
    assert_int_equal(sigaction(SIGALRM, &act, &old), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    assert_true(frn_read_all(ticks_pipe[0], bytes, sizeof bytes));
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
    assert_memory_equal(bytes, "abc", 3);
    (void)close(ticks_pipe[0]);
    (void)close(ticks_pipe[1]);
    memset(far_away, 'x', sizeof far_away);
    far_away[0] = '/';
    far_away[sizeof far_away - 1] = '\0';
    frn_zones_init(&zones, &b->mem);
    zones.directory = far_away;
    t_result(frn_zones_find(&zones, "Europe/Rome", &found), FRANCIS_ERR_NOT_FOUND);
    frn_zones_free(&zones);
    base_free(b);
}

/* Would catch: a duration one millisecond above the longest, a tab that is no blank, a text that is
 * written where there is no room. */
static void test_schedules(void **state)
{
    base        *b = base_new();
    frn_zones    zones;
    frn_schedule s;
    char         error[400] = "", text[64], none = 'x';
    size_t       size;

    (void)state;
    frn_zones_init(&zones, &b->mem);
    t_ok(frn_schedule_parse(&zones, "PT315569520000S", &s, error, sizeof error));
    t_result(frn_schedule_parse(&zones, "PT315569520000.001S", &s, error, sizeof error),
             FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "too long"));
    t_ok(frn_schedule_parse(&zones, "@every\t 5m", &s, error, sizeof error));
    assert_true(s.ms == INT64_C(300000));
    size = frn_schedule_line(&s, text, sizeof text);
    assert_true(size > 0 && size == strlen(text));
    assert_int_equal(frn_schedule_line(&s, &none, 0), 0);
    assert_true(none == 'x');
    t_ok(frn_schedule_parse(&zones, "P1M", &s, error, sizeof error));
    assert_true(frn_interval_at(&s, 12345, 0) == 12345);
    frn_zones_free(&zones);
    base_free(b);
}

/* ---- the system ---- */

static int64_t asked_for_ns;

static int note_poll(struct pollfd *fds, size_t count, int64_t timeout_ns, void *user)
{
    (void)fds;
    (void)count;
    (void)user;
    asked_for_ns = timeout_ns;
    return 0;
}

/* Would catch: a wait without end that is told to a platform as one of 292 years, numbers that are
 * not random behind the first 256 bytes, a process of somebody else's that would be killed. */
static void test_platform(void **state)
{
    static unsigned char bytes[2][300], zeroes[40];
    frn_plat             plat;
    pid_t                child;
    int                  status = 0;

    (void)state;
    memset(&plat, 0, sizeof plat);
    assert_true(frn_plat_random(&plat, bytes[0], sizeof bytes[0]));
    assert_true(frn_plat_random(&plat, bytes[1], sizeof bytes[1]));
    assert_memory_not_equal(bytes[0] + 260, bytes[1] + 260, 40);
    assert_memory_not_equal(bytes[0] + 260, zeroes, 40);
    assert_true(frn_plat_clock((clockid_t)12345) == 0);
    plat.hooks.poll = note_poll;
    assert_int_equal(frn_plat_poll(&plat, NULL, 0, FRN_NEVER), 0);
    assert_true(asked_for_ns == FRANCIS_FOREVER);
    assert_int_equal(frn_plat_poll(&plat, NULL, 0, 7), 0);
    assert_true(asked_for_ns == 7);
    assert_true(frn_same_user((int64_t)getpid()));
    assert_true(frn_same_user(INT64_C(4000000000)));    /* nobody: a signal says so, too */
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(geteuid() != 0 || access("/proc/self", F_OK) != 0 || seteuid(65534) != 0
              || !frn_same_user((int64_t)getppid()) ? 0 : 1);
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- the database, function by function ---- */

/* Would catch: an error of SQLite that is taken for another one. */
static void test_results(void **state)
{
    (void)state;
    assert_int_equal(frn_sqlite_result(SQLITE_ROW), FRANCIS_OK);
    assert_int_equal(frn_sqlite_result(SQLITE_DONE), FRANCIS_OK);
    assert_int_equal(frn_sqlite_result(SQLITE_BUSY | (2 << 8)), FRANCIS_ERR_LOCKED);
    assert_int_equal(frn_sqlite_result(SQLITE_LOCKED), FRANCIS_ERR_LOCKED);
    assert_int_equal(frn_sqlite_result(SQLITE_PROTOCOL), FRANCIS_ERR_LOCKED);
    assert_int_equal(frn_sqlite_result(SQLITE_NOTADB), FRANCIS_ERR_CORRUPT);
    assert_int_equal(frn_sqlite_result(SQLITE_IOERR | (12 << 8)), FRANCIS_ERR_NOMEM);
    assert_int_equal(frn_sqlite_result(SQLITE_IOERR | (1 << 8)), FRANCIS_ERR_STORAGE);
    assert_int_equal(frn_sqlite_result(SQLITE_MISUSE), FRANCIS_ERR_STORAGE);
}

#ifdef __linux__
/* Would catch: a mount point that is not seen, or a file that is taken for one. */
static void test_mount_lines(void **state)
{
    static const char line[] = "36 35 98:0 /root /mnt/with\\040blank rw - ext3 /dev/root rw\n";

    (void)state;
    assert_true(frn_mount_line_is(line, "/mnt/with blank"));
    assert_false(frn_mount_line_is(line, "/mnt/with"));
    assert_false(frn_mount_line_is(line, "/mnt/with blank/file"));
    assert_false(frn_mount_line_is(line, "/mnt/else"));
    assert_false(frn_mount_line_is("36 35 98:0 /root", "/root"));
    assert_false(frn_mount_line_is("36 35 98:0 / \\04", "\\"));
    assert_false(frn_mount_line_is("36 35 98:0 / /mnt", "/mnt"));     /* cut off */
}
#endif

/* A store of which only the path is used. */
static void store_at(frn_sqlite *s, base *b, francis_host_desc *desc, char *path)
{
    memset(s, 0, sizeof *s);
    s->base.mem = &b->mem;
    s->base.plat = &b->plat;
    s->base.log = &b->log;
    s->desc = desc;
    s->path = path;
}

/* Would catch: a writer, a lock or a place that is looked for where there is no file. */
static void test_paths(void **state)
{
    static francis_host_desc desc;
    base                    *b = base_new();
    frn_sqlite               s;
    char                     none[] = "", nowhere[] = "/no/such/directory/file", root[] = "/file";
    char                     too_long[FRN_PATH_MAX + 1];

    (void)state;
    memset(&desc, 0, sizeof desc);
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[0] = '/';
    too_long[sizeof too_long - 1] = '\0';
    store_at(&s, b, &desc, none);
    assert_true(frn_sqlite_writer(&s) == 0);
    assert_int_equal(frn_sqlite_proof_take(&s, "a host"), SQLITE_OK);
    assert_null(s.proof.file);
    assert_false(frn_sqlite_seems_dead(&s, "a host"));
    assert_false(frn_sqlite_never_happened(&s, SQLITE_FULL));
    store_at(&s, b, &desc, nowhere);
    assert_true(frn_sqlite_writer(&s) == 0);
    store_at(&s, b, &desc, too_long);
    assert_true(frn_sqlite_writer(&s) == 0);
    store_at(&s, b, &desc, root);
    t_ok(frn_sqlite_check_place(&s));
    desc.busy_timeout_ms = FRANCIS_FOREVER;
    assert_int_equal(frn_sqlite_busy_ms(&s), INT_MAX);
    desc.busy_timeout_ms = (int64_t)INT_MAX + 1;
    assert_int_equal(frn_sqlite_busy_ms(&s), INT_MAX);
    desc.busy_timeout_ms = 7;
    assert_int_equal(frn_sqlite_busy_ms(&s), 7);
    base_free(b);
}

/* Would catch: a host of ours without an address that is refused, one of others beside it. */
static void test_beside(void **state)
{
    static francis_host_desc desc;
    base                    *b = base_new();
    frn_sqlite               s;
    frn_incumbent            h;
    char                     none[] = "";

    (void)state;
    store_at(&s, b, &desc, none);
    memset(&h, 0, sizeof h);
    (void)snprintf(h.id, sizeof h.id, "other");
    (void)snprintf(h.address, sizeof h.address, "127.0.0.1:1");
    h.seen_ms = 1000000;
    t_result(frn_sqlite_admit_beside(&s, &h, "127.0.0.1:2"), FRANCIS_ERR_LOCKED);
    assert_true(frn_sqlite_host_lives(&s, &h, 1000001));
    assert_false(frn_sqlite_host_lives(&s, &h, 999999));    /* it says so in the future */
    assert_false(frn_sqlite_host_lives(&s, &h, 1000000 + FRN_GO_DEADLINE_MS));
    h.ours = true;
    t_ok(frn_sqlite_admit_beside(&s, &h, NULL));
    t_ok(frn_sqlite_admit_beside(&s, &h, "127.0.0.1:2"));
    t_result(frn_sqlite_admit_beside(&s, &h, "127.0.0.1:1"), FRANCIS_ERR_EXISTS);
    assert_false(frn_sqlite_host_lives(&s, &h, 1000001));   /* memory has one host: this one */
    base_free(b);
}

/* ---- databases as others have left them ---- */

/* What a host says that does not open, or does not start. */
static void refuses(const francis_host_desc *desc, francis_result expected, const char *words)
{
    francis_host  *h = NULL;
    francis_result r;

    ta_desc(desc);
    r = francis_open(&h, &ta->desc);
    if (r == FRANCIS_OK)
        r = francis_start(h);
    t_result(r, expected);
    if (strstr(francis_host_error(h), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, francis_host_error(h));
    francis_close(h);
}

static francis_result opens_nothing(sqlite3 **out, const char *database, int flags, void *user)
{
    (void)database;
    (void)flags;
    (void)user;
    *out = NULL;
    return FRANCIS_OK;
}

/* Would catch: no connection at all that is used, a journal that is no log. */
static void test_openings(void **state)
{
    const francis_platform platform = { .version = 1, .sqlite_vfs = "unix-dotfile" };
    francis_host_desc      desc = { .on_database = opens_nothing };
    sqlite3               *db = NULL;

    (void)state;
    refuses(&desc, FRANCIS_ERR_STORAGE, "cannot open the database");
    desc.on_database = NULL;
    if (sqlite3_vfs_find(platform.sqlite_vfs) != NULL) {
        desc.platform = &platform;
        refuses(&desc, FRANCIS_ERR_STORAGE, "");
    }
    memset(&desc, 0, sizeof desc);
    db = raw_open(ta->path);
    (void)sqlite3_close(db);
    db = NULL;
    assert_int_equal(sqlite3_open_v2(ta->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    desc.sqlite = db;
    desc.workers = FRANCIS_NO_WORKERS;
    refuses(&desc, FRANCIS_ERR_LOCKED, "is read only");
    (void)sqlite3_close(db);
}

/* Would catch: a level that nobody has written, a lock of an administrator that is not heeded, or
 * that holds for ever. */
static void test_levels_and_locks(void **state)
{
    static const francis_host_desc desc;
    sqlite3                       *db;
    int64_t                        level;

    (void)state;
    host_open(NULL, ta_both);
    ta_close();
    db = raw_open(ta->path);
    level = raw_int(db, "SELECT value FROM francis_metadata WHERE key = 'ext-version'", NULL, NULL);
    assert_true(level > 0);
    raw_exec(db, "UPDATE francis_cluster_config SET exclusive_owner = 'somebody',"
                 " exclusive_expires_at = 9000000000000");
    assert_int_equal(sqlite3_changes(db), 1);
    refuses(&desc, FRANCIS_ERR_LOCKED, "locked for maintenance");
    raw_exec(db, "UPDATE francis_cluster_config SET exclusive_expires_at = 1000");
    host_open(&desc, ta_both);
    ta_close();
    raw_exec(db, "UPDATE francis_metadata SET value = '-1' WHERE key = 'ext-version'");
    refuses(&desc, FRANCIS_ERR_SCHEMA, "newer version");
    raw_exec(db, "UPDATE francis_metadata SET value = '99' WHERE key = 'ext-version'");
    refuses(&desc, FRANCIS_ERR_SCHEMA, "newer version");
    raw_exec(db, "UPDATE francis_metadata SET value = '-1' WHERE key = 'migrations-version'");
    refuses(&desc, FRANCIS_ERR_SCHEMA, "newer version");
    (void)sqlite3_close(db);
}

/* ---- the store, asked by itself ---- */

static bool read_is_over;

static void on_read(frn_read *read)
{
    (void)read;
    read_is_over = true;
}

static francis_result read_one(francis_host *h, frn_read *read, frn_read_kind kind, const char *id)
{
    memset(read, 0, sizeof *read);
    read->kind = kind;
    read->type = "num";
    read->id = id;
    read->done = on_read;
    read_is_over = false;
    h->store->ops->read(h->store, read);
    assert_true(read_is_over);
    return read->result;
}

/* Would catch: an answer that nobody hears of, a kind of question that is answered with nothing. */
static void test_reads(void **state)
{
    frn_read read;

    (void)state;
    host_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_add, NULL));
    t_ok(read_one(ta->host, &read, FRN_READ_STATE, "a"));
    assert_non_null(read.state);
    frn_buf_drop(&ta->host->mem, read.state);
    t_ok(read_one(ta->host, &read, FRN_READ_STATE, "b"));
    assert_null(read.state);
    t_result(read_one(ta->host, &read, (frn_read_kind)99, "a"), FRANCIS_ERR_STORAGE);
    t_ok(read_one(ta->host, &read, FRN_READ_STANDING, ta->host->id));
    assert_false(read.challenged);
    t_result(read_one(ta->host, &read, FRN_READ_STANDING, "nobody"), FRANCIS_ERR_EVICTED);
    ta_close();
}

/* The handle of the application. Would catch: a host that reads or writes in the middle of the
 * application's own transaction, or that does not go on behind it. */
static void test_own_handle(void **state)
{
    sqlite3          *db = NULL;
    francis_host_desc desc = { .workers = FRANCIS_NO_WORKERS };
    frn_read          read;

    (void)state;
    (void)snprintf(ta->path, sizeof ta->path, "%s", t_database());
    db = raw_open(ta->path);
    desc.sqlite = db;
    host_open(&desc, ta_both);
    t_ok(ta_do("num", "a", ta_add, NULL));
    t_ok(read_one(ta->host, &read, FRN_READ_STANDING, ta->host->id));
    raw_exec(db, "BEGIN");
    t_result(read_one(ta->host, &read, FRN_READ_STANDING, ta->host->id), FRANCIS_ERR_LOCKED);
    t_result(ta_do("num", "a", ta_add, NULL), FRANCIS_ERR_LOCKED);
    raw_exec(db, "COMMIT");
    t_ok(read_one(ta->host, &read, FRN_READ_STANDING, ta->host->id));
    t_ok(ta_do("num", "a", ta_add, NULL));
    ta_num_is("num", "a", 2);
    ta_close();
    raw_check(db);
    (void)sqlite3_close(db);
}

/* One in memory that outlives its host. Would catch: a second host that finds the traces of the
 * first one and is refused. */
static void test_own_memory(void **state)
{
    sqlite3          *db = NULL;
    francis_host_desc desc = { .workers = FRANCIS_NO_WORKERS };

    (void)state;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    desc.sqlite = db;
    for (int i = 1; i <= 2; i++) {
        host_open(&desc, ta_both);
        t_ok(ta_do("num", "a", ta_add, NULL));
        ta_num_is("num", "a", i);
        assert_false(frn_sqlite_never_happened((frn_sqlite *)ta->host->store, SQLITE_FULL));
        ta_close();
    }
    (void)sqlite3_close(db);
}

/* Where the disk tears what is beside a sector that is written, frames are padded. Would catch: a
 * full disk that is taken for a commit that did not happen there. */
static void test_full_disk(void **state)
{
    char              name[600];
    francis_host_desc desc = { .database = name };

    (void)state;
    host_open(NULL, ta_both);
    assert_true(frn_sqlite_never_happened((frn_sqlite *)ta->host->store, SQLITE_FULL));
    assert_false(frn_sqlite_never_happened((frn_sqlite *)ta->host->store, SQLITE_IOERR));
    ta_close();
    (void)snprintf(name, sizeof name, "file:%s?psow=0", t_database());
    ta->path[0] = '\0';
    host_open(&desc, ta_both);
    assert_false(frn_sqlite_never_happened((frn_sqlite *)ta->host->store, SQLITE_FULL));
    ta_close();
}

/* Would catch: a page without an end, a cursor of one list that goes for another. */
static void test_cursors(void **state)
{
    char         long_key[600];
    francis_list list;
    frn_page     page;

    (void)state;
    memset(long_key, 'x', sizeof long_key);
    long_key[sizeof long_key - 1] = '\0';
    memset(&page, 0, sizeof page);
    assert_false(frn_cursor_parse(FRANCIS_LIST_STATES, "type", &page));
    assert_false(frn_cursor_parse(FRANCIS_LIST_ALARMS, "type/id", &page));
    assert_false(frn_cursor_parse(FRANCIS_LIST_HOSTS, long_key, &page));
    assert_false(frn_cursor_parse(FRANCIS_LIST_STATES, "type/id/name", &page));
    assert_true(frn_cursor_parse(FRANCIS_LIST_ALARMS, "type/id/name", &page));
    host_open(NULL, ta_both);
    memset(&list, 0, sizeof list);
    list.what = FRANCIS_LIST_HOSTS;
    list.type = "num";                  /* hosts have no type: no matter */
    list.id = "a";
    list.name = "b";
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.host, ta->host->id);
    francis_list_free(&list);
    memset(&list, 0, sizeof list);
    list.what = FRANCIS_LIST_HOSTS;
    list.after = "0";
    t_ok(francis_list_next(ta->ctx, &list));
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);
    ta_close();
}

/* ---- hosts ---- */

/* Would catch: a prefix that breaks the SQL, questions to a host that has no database. */
static void test_descs(void **state)
{
    static const char *const wrong[] = { "a{", "a[", "a-", "1a", "a:", "@" };
    francis_host_desc        desc;
    francis_host            *h;
    francis_health           health;
    francis_list             list;
    francis_call             call;

    (void)state;
    for (size_t i = 0; i < FRN_COUNT(wrong); i++) {
        memset(&desc, 0, sizeof desc);
        desc.table_prefix = wrong[i];
        refuses(&desc, FRANCIS_ERR_INVALID, "table_prefix");
    }
    assert_true(frn_prefix_valid("aZ_09"));
    memset(&desc, 0, sizeof desc);
    desc.table_prefix = "-";
    ta_desc(&desc);
    t_result(francis_open(&h, &ta->desc), FRANCIS_ERR_INVALID);
    francis_health_get(h, &health);
    assert_false(health.ready || health.draining || health.lease_age_ms != 0);
    francis_close(h);
    assert_true(frn_age_ms(5, 10) == 0 && frn_age_ms(5, 0) == 0);
    assert_true(frn_age_ms(5 * FRN_MS, 2 * FRN_MS) == 3);

    memset(&desc, 0, sizeof desc);
    ta_desc(&desc);
    t_ok(francis_open(&h, &ta->desc));
    memset(&list, 0, sizeof list);
    t_result(francis_list_next(francis_host_ctx(h), &list), FRANCIS_ERR_USAGE);
    francis_list_free(&list);
    memset(&call, 0, sizeof call);
    t_result(francis_state_read(francis_host_ctx(h), "num", "a", &call), FRANCIS_ERR_USAGE);
    assert_non_null(strstr(call.error, "not started"));
    francis_call_free(&call);
    francis_close(h);
}

/* Would catch: a type that is known from the middle on, words that are missing. */
static void test_late_types(void **state)
{
    static const francis_actor_desc none;

    (void)state;
    host_open(NULL, ta_both);
    t_result(francis_register(ta->host, &none), FRANCIS_ERR_USAGE);
    assert_non_null(strstr(francis_host_error(ta->host), "before start"));
    t_ok(ta_do("num", "a", ta_add, NULL));
    ta_close();
}

/* Without types. Would catch: a host that looks for the first one. */
static void test_no_types(void **state)
{
    static const francis_actor_desc none[] = { TA_END };

    (void)state;
    host_open(NULL, none);
    frn_lock(ta->host);
    frn_boot_begin(ta->host);
    assert_null(ta->host->boot);
    frn_unlock(ta->host);
    t_result(ta_do("num", "a", ta_add, NULL), FRANCIS_ERR_UNKNOWN_TYPE);
    ta_close();
}

/* Would catch: a host that listens at the address which others use, and not at its own. */
static void test_bind_address(void **state)
{
    char               public_address[40], own_address[40];
    francis_host_desc  desc = { .address = public_address, .bind_address = own_address,
                                .cluster_key = cluster_key };
    struct sockaddr_in in;
    const char        *port;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    free_address(public_address);
    free_address(own_address);
    host_open(&desc, ta_both);
    if (ta_inline())
        assert_true(francis_pollfds(ta->host, NULL, 0) >= 2);
    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    port = strchr(own_address, ':') + 1;
    in.sin_port = htons((uint16_t)atoi(port));
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&in, sizeof in), 0);
    (void)close(fd);
    ta_close();
}

static void *run_it(void *arg)
{
    t_ok(francis_run((francis_host *)arg));
    return NULL;
}

/* Two that run in one process, and a third that cannot. Would catch: one that takes the signals
 * from the other, or leaves its handler behind. */
static void test_runs(void **state)
{
    char              address[40];
    francis_host_desc desc = { .address = address, .cluster_key = cluster_key, .workers = 1,
                               .on_log = t_log_sink, .log_user = &ta->log };
    francis_host     *hosts[3];
    struct sigaction  before, after;
    pthread_t         thread;

    (void)state;
    free_address(address);
    assert_int_equal(sigaction(SIGTERM, NULL, &before), 0);
    for (unsigned i = 0; i < 3; i++) {
        desc.database = t_database();
        if (i == 2)
            desc.address = desc.cluster_key = NULL;
        t_ok(francis_open(&hosts[i], &desc));
    }
    assert_int_equal(pthread_create(&thread, NULL, run_it, hosts[0]), 0);
    t_until(frn_host_phase_now(hosts[0]) == FRN_HOST_RUNNING);
    assert_int_not_equal(francis_run(hosts[1]), FRANCIS_OK);    /* the address is in use */
    assert_ptr_equal(frn_run_signal_host, hosts[0]);
    t_ok(francis_start(hosts[2]));
    francis_stop(hosts[2]);
    t_ok(francis_run(hosts[2]));
    assert_ptr_equal(frn_run_signal_host, hosts[0]);
    francis_stop(hosts[0]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_null(frn_run_signal_host);
    assert_int_equal(sigaction(SIGTERM, NULL, &after), 0);
    assert_true(before.sa_handler == after.sa_handler);
    for (unsigned i = 0; i < 3; i++)
        francis_close(hosts[i]);
}

/* ---- turns that are used wrongly ---- */

static francis_result replies_wrongly(francis_ctx *ctx, void *arg)
{
    switch (*(const int *)arg) {
    case 0: ta_check(francis_reply(ctx, NULL, 5) == FRANCIS_ERR_INVALID); break;
    case 1: ta_check(francis_replyf(ctx, "%5000d", 1) == FRANCIS_ERR_TOO_LARGE); break;
    case 2: {
        static const wchar_t letter[] = { 0x3042, 0 };  /* which the locale "C" does not have */
        ta_check(francis_replyf(ctx, "%ls", letter) == FRANCIS_ERR_INVALID);
        break;
    }
    case 3: return francis_fail_text(ctx, FRANCIS_ERR_INVALID, NULL);
    default: break;
    }
    return FRANCIS_OK;
}

/* Would catch: a reply that is half of what was meant, and a turn that commits with it. */
static void test_replies(void **state)
{
    static const francis_result expected[] = { FRANCIS_ERR_INVALID, FRANCIS_ERR_TOO_LARGE,
                                               FRANCIS_ERR_INVALID, FRANCIS_ERR_INVALID };
    francis_host_desc           desc = { .message_bytes_max = 4096 };

    (void)state;
    host_open(&desc, ta_both);
    for (int i = 0; i < 4; i++)
        t_result(ta_do("num", "a", replies_wrongly, &i), expected[i]);
    ta_close();
}

static francis_result wrong_in_turn(francis_ctx *ctx, void *arg)
{
    francis_result without = ta_inline() ? FRANCIS_ERR_WOULD_BLOCK : FRANCIS_ERR_INVALID;
    francis_call   call;

    (void)arg;
    memset(&call, 0, sizeof call);
    call.async = true;
    ta_check(francis_flush(ctx, &call) == FRANCIS_ERR_USAGE);
    ta_check(francis_alloc(ctx, SIZE_MAX) == NULL);
    ta_check(francis_expect(ctx, NULL) == 0);
    ta_check(francis_halt_all(ctx, NULL) == (ta_inline() ? FRANCIS_ERR_WOULD_BLOCK
                                                         : FRANCIS_ERR_USAGE));
    ta_check(francis_purge(ctx, NULL, "x", NULL) == without);
    ta_check(francis_purge(ctx, "num", NULL, NULL) == without);
    ta_check(francis_state_write(ctx, "num", NULL, "x", 1, 0, NULL) == without);
    ta_check(francis_state_write(ctx, NULL, "x", "x", 1, 0, NULL) == without);
    ta_check(francis_reply(ctx, NULL, 5) == FRANCIS_ERR_INVALID);
    ta_check(francis_flush(ctx, NULL) == FRANCIS_ERR_INVALID);      /* it has failed already */
    return francis_await(ctx, ta_gate_on, NULL);                    /* and does not go on */
}

/* Would catch: a turn that is told that all is well, and one that goes on after it was refused. */
static void test_wrong_in_turn(void **state)
{
    (void)state;
    host_open(NULL, ta_both);
    t_result(ta_do("num", "a", wrong_in_turn, NULL), FRANCIS_ERR_INVALID);
    assert_int_equal(ta_stored_n("num", "a"), TA_NONE);
    ta_close();
}

static francis_result writes_itself(francis_ctx *ctx, void *arg)
{
    static char  large[5000];
    francis_call call;
    int          what = *(const int *)arg;

    memset(&call, 0, sizeof call);
    if (what == 0) {
        ta_check(francis_state_write(ctx, NULL, NULL, "forever", 7, 0, &call) == FRANCIS_OK);
        ta_check(call.result == FRANCIS_OK && strcmp(call.error, "") == 0);
    } else if (what == 1) {
        ta_check(francis_state_write(ctx, "blob", ctx->id, "a while", 7, 5000, NULL)
                 == FRANCIS_OK);
    } else if (what == 2) {
        ta_check(francis_state_write(ctx, NULL, NULL, large, sizeof large, 0, &call)
                 == FRANCIS_ERR_TOO_LARGE);
    } else {
        ta_check(francis_state_write(ctx, NULL, NULL, NULL, 0, 0, NULL) == FRANCIS_OK);
    }
    return FRANCIS_OK;
}

/* Would catch: an expiry that is not the one of the last write, a state that is too large. */
static void test_writes_itself(void **state)
{
    static const francis_result expected[] = { FRANCIS_OK, FRANCIS_OK, FRANCIS_ERR_TOO_LARGE };
    francis_host_desc           desc = { .state_bytes_max = 4096 };
    int                         last = 3;

    (void)state;
    host_open(&desc, ta_both);
    for (int i = 0; i < 3; i++)
        t_result(ta_do("blob", "a", writes_itself, &i), expected[i]);
    assert_true(ta_stored_expiry("blob", "a") != TA_NONE);
    t_ok(francis_state_read(ta->ctx, "blob", "a", NULL));
    t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
    assert_int_equal(ta->last.size, 7);
    t_result(francis_state_read(ta->ctx, NULL, NULL, &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_read(ta->ctx, "blob", "b", NULL), FRANCIS_ERR_NOT_FOUND);
    t_ok(ta_do("blob", "a", writes_itself, &last));
    ta_blob_is("a", NULL);
    ta_close();
}

static francis_result defers_and_answers(francis_ctx *ctx, void *arg)
{
    uint64_t ticket = francis_defer(ctx);

    (void)arg;
    ta_check(ticket != 0);
    ta_check(francis_answer(ta->ctx, ticket, FRANCIS_PENDING, NULL, 0) == FRANCIS_ERR_INVALID);
    ta_check(francis_answer(ta->ctx, ticket, FRANCIS_DONE, NULL, 0) == FRANCIS_ERR_INVALID);
    ta_check(francis_answer(ta->ctx, ticket, (francis_result)-4711, NULL, 0)
             == FRANCIS_ERR_INVALID);
    ta_check(francis_answer(ta->ctx, ticket, FRANCIS_OK, NULL, 5) == FRANCIS_ERR_INVALID);
    ta_check(francis_answer(ta->ctx, ticket, FRANCIS_ERR_USER, "no", 2) == FRANCIS_OK);
    ta_check(francis_answer(ta->ctx, ticket, FRANCIS_OK, "yes", 3) == FRANCIS_ERR_STALE);
    return FRANCIS_OK;
}

/* Would catch: a second answer that replaces the first one, an answer that is none. */
static void test_answers(void **state)
{
    (void)state;
    host_open(NULL, ta_both);
    t_result(ta_do("num", "a", defers_and_answers, NULL), FRANCIS_ERR_USER);
    ta_close();
}

static francis_result expects_much(francis_ctx *ctx, void *arg)
{
    francis_call *calls = (francis_call *)arg;

    ta_check(francis_expect(ctx, &calls[0]) != 0);
    ta_check(francis_expect(ctx, &calls[0]) == 0);          /* it is under way */
    ta_check(francis_flush(ctx, &calls[0]) == FRANCIS_ERR_USAGE);
    ta_check(francis_expect(ctx, &calls[1]) != 0);
    ta_check(francis_expect(ctx, &calls[2]) == 0);
    ta_check(calls[2].result == FRANCIS_ERR_BUSY && strstr(calls[2].error, "calls_max") != NULL);
    return FRANCIS_OK;
}

/* Would catch: more calls than are allowed, a struct that is used twice at once. */
static void test_expects(void **state)
{
    francis_host_desc desc = { .calls_max = 3 };
    francis_call      calls[3];

    (void)state;
    memset(calls, 0, sizeof calls);
    host_open(&desc, ta_both);
    t_ok(ta_do("num", "a", expects_much, calls));
    assert_int_equal(ta_stats().calls_in_flight, 0);
    ta_close();
}

static bool is_doomed(francis_ctx *ctx)
{
    bool is;

    frn_lock(ctx->host);
    is = FRN_TURN(ctx)->doom != FRANCIS_OK;
    frn_unlock(ctx->host);
    return is;
}

/* What has no more time does not begin anything. */
static francis_result too_late(francis_ctx *ctx, void *arg)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    int64_t       end = t_ms() + 60000;

    (void)arg;
    ta_check(call != NULL && francis_expect(ctx, call) != 0);
    while (!is_doomed(ctx) && t_ms() < end)
        t_yield();
    ta_check(francis_interrupted(ctx) == FRANCIS_ERR_DEADLINE);
    ta_check(francis_defer(ctx) == 0);
    ta_check(francis_flush(ctx, NULL) == FRANCIS_ERR_DEADLINE);
    return francis_await(ctx, ta_gate_on, NULL);
}

/* Would catch: a turn that goes on, or is deferred, after its caller was told that it failed. */
static void test_too_late(void **state)
{
    (void)state;
    host_open(NULL, ta_both);
    ta->last.timeout_ms = 50;
    t_result(ta_do("num", "a", too_late, NULL), FRANCIS_ERR_DEADLINE);
    ta->last.timeout_ms = 0;
    t_ok(ta_do("num", "a", ta_add, NULL));
    ta_close();
}

/* ---- calls, callbacks, tickets ---- */

static francis_ctx *asking;
static atomic_int   told;

static void is_told(francis_call *call)
{
    (void)call;
    (void)atomic_fetch_add(&told, 1);
}

/* Inside a callback of its turn: one more call, which is waited for as well. */
static void asks_again(francis_call *call)
{
    ta_job job = { ta_add, NULL };

    is_told(call);
    ta_check(francis_invoke(asking, "num", "third", "do", &job, sizeof job,
                            (francis_call *)call->user) == FRANCIS_PENDING);
}

static francis_result asked_twice(francis_ctx *ctx)
{
    francis_call *calls = (francis_call *)ctx->local;

    ta_check(atomic_load(&told) == 1);
    ta_check(calls[0].result == FRANCIS_OK && calls[1].result == FRANCIS_OK);
    return francis_reply(ctx, calls[1].data, calls[1].size);
}

static francis_result asks_twice(francis_ctx *ctx, void *arg)
{
    francis_call *calls = (francis_call *)francis_alloc(ctx, 2 * sizeof *calls);
    ta_job        job = { ta_add, NULL };

    (void)arg;
    if (calls == NULL)
        return FRANCIS_ERR_NOMEM;
    asking = ctx;
    calls[0].on_done = asks_again;
    calls[0].user = &calls[1];
    calls[1].async = true;
    ta_check(francis_invoke(ctx, "num", "second", "do", &job, sizeof job, &calls[0])
             == FRANCIS_PENDING);
    return francis_await(ctx, asked_twice, calls);
}

/* Would catch: a turn that goes on before what its callback has begun is over. */
static void test_call_of_a_callback(void **state)
{
    (void)state;
    atomic_store(&told, 0);
    host_open(NULL, ta_both);
    t_ok(ta_do("num", "third", ta_add, NULL));
    t_ok(ta_do("num", "first", asks_twice, NULL));
    assert_int_equal(ta_int(&ta->last), 2);
    ta_close();
}

static uint64_t second_ticket;

static void lets_on(francis_call *call)
{
    is_told(call);
    ta_check(francis_answer(ta->ctx, second_ticket, FRANCIS_OK, "on", 2) == FRANCIS_OK);
}

static francis_result all_told(francis_ctx *ctx)
{
    const francis_call *calls = (const francis_call *)ctx->local;

    ta_check(atomic_load(&told) == 1);
    return francis_reply(ctx, calls[1].data, calls[1].size);
}

/* One is answered before the turn awaits, the other one by the callback of that. */
static francis_result answered_early(francis_ctx *ctx, void *arg)
{
    francis_call *calls = (francis_call *)francis_alloc(ctx, 2 * sizeof *calls);
    uint64_t      first;

    if (calls == NULL)
        return FRANCIS_ERR_NOMEM;
    if (arg == NULL)
        calls[0].on_done = lets_on;
    first = francis_expect(ctx, &calls[0]);
    second_ticket = francis_expect(ctx, &calls[1]);
    ta_check(first != 0 && second_ticket != 0);
    ta_check(francis_answer(ta->ctx, first, FRANCIS_OK, NULL, 0) == FRANCIS_OK);
    if (arg != NULL) {
        (void)atomic_fetch_add(&told, 1);
        ta_check(francis_answer(ta->ctx, second_ticket, FRANCIS_OK, "on", 2) == FRANCIS_OK);
    }
    return francis_await(ctx, all_told, calls);
}

/* Would catch: a turn that sleeps although nothing is left to wait for, or over a callback that is
 * due. */
static void test_answered_early(void **state)
{
    int all = 1;

    (void)state;
    host_open(NULL, ta_both);
    for (int i = 0; i < 2; i++) {
        atomic_store(&told, 0);
        t_ok(ta_do("num", "a", answered_early, i == 0 ? NULL : &all));
        assert_int_equal(ta->last.size, 2);
        assert_memory_equal(ta->last.data, "on", 2);
    }
    ta_close();
}

/* Waits for a call that has a callback. */
static francis_result waits_for_told(francis_ctx *ctx, void *arg)
{
    francis_call call;
    ta_job       job = { ta_add, NULL };

    (void)arg;
    memset(&call, 0, sizeof call);
    call.on_done = is_told;
    ta_check(francis_invoke(ctx, "num", "other", "do", &job, sizeof job, &call)
             == FRANCIS_PENDING);
    ta_check(francis_wait(ctx, &call) == FRANCIS_OK);
    ta_check(atomic_load(&told) == 1);
    return francis_reply(ctx, call.data, call.size);
}

/* Would catch: a callback that does not come, or comes again at the end of the turn. */
static void test_wait_with_callback(void **state)
{
    (void)state;
    atomic_store(&told, 0);
    host_open(NULL, ta_both);
    t_ok(ta_do("num", "a", waits_for_told, NULL));
    assert_int_equal(ta_int(&ta->last), 1);
    assert_int_equal(atomic_load(&told), 1);
    ta_close();
}

static _Atomic uint64_t blocked_ticket;

static francis_result blocks(francis_ctx *ctx, void *arg)
{
    francis_call   call;
    francis_result r;
    uint64_t       ticket;

    memset(&call, 0, sizeof call);
    ticket = francis_expect(ctx, &call);
    ta_check(ticket != 0);
    if (arg == NULL)
        atomic_store(&blocked_ticket, ticket);
    r = francis_wait(ctx, &call);
    francis_call_free(&call);
    return r;
}

/* Would catch: more threads than are allowed, a turn that waits where it cannot. */
static void test_blocked_max(void **state)
{
    francis_host_desc desc = { .blocked_max = 1 };
    francis_call     *call;
    int               second = 2;

    (void)state;
    atomic_store(&blocked_ticket, 0);
    host_open(&desc, ta_both);
    call = ta_begin("num", "a", blocks, NULL);
    ta_until(ta_stats().threads_blocked == 1);
    t_result(ta_do("num", "b", blocks, &second), FRANCIS_ERR_WOULD_BLOCK);
    t_ok(francis_answer(ta->ctx, atomic_load(&blocked_ticket), FRANCIS_OK, NULL, 0));
    t_ok(ta_end(call));
    ta_close();
}

static void *waits_outside(void *arg)
{
    ta_check(francis_wait(ta->ctx, (francis_call *)arg) == FRANCIS_ERR_CANCELLED);
    return NULL;
}

/* Would catch: somebody who waits for ever for a call that is freed meanwhile. */
static void test_freed_while_waited_for(void **state)
{
    static ta_gate gate;
    francis_call  *call;
    pthread_t      thread;
    bool           waits = false;

    (void)state;
    ta_gate_init(&gate, NULL);
    host_open(NULL, ta_both);
    call = ta_begin("num", "a", ta_hold, &gate);
    ta_until(atomic_load(&gate.arrived) == 1);
    assert_int_equal(pthread_create(&thread, NULL, waits_outside, call), 0);
    while (!waits) {
        frn_lock(ta->host);
        waits = frn_user_call(ta->host, call)->pins > 0;
        frn_unlock(ta->host);
        t_yield();
    }
    francis_call_free(call);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)francis_answer(ta->ctx, atomic_load(&gate.tickets[0]), FRANCIS_OK, NULL, 0);
    t_ok(ta_do("num", "a", ta_nothing, NULL));
    ta_close();
}

/* Would catch: a ticket that is 0, which means none, after four billion calls; a struct full of
 * anything that is taken for a call. */
static void test_records(void **state)
{
    francis_call call;
    frn_call     c;
    frn_list    *l;
    unsigned     records = 0;

    (void)state;
    memset(&c, 0, sizeof c);
    c.result = FRANCIS_PENDING;
    assert_string_equal(frn_call_text(&c), "");
    c.result = FRANCIS_ERR_BUSY;
    assert_string_equal(frn_call_text(&c), francis_strerror(FRANCIS_ERR_BUSY));
    memset(&call, 0x55, sizeof call);
    francis_call_free(&call);
    memset(&call, 0, sizeof call);
    host_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_add, NULL));
    francis_call_free(&ta->last);
    frn_lock(ta->host);
    for (l = ta->host->calls_free.next; l != &ta->host->calls_free; l = l->next, records++)
        FRN_OF(frn_call, link, l)->handle |= UINT64_C(0xffffffff) << 32;
    frn_unlock(ta->host);
    assert_true(records > 0);
    for (unsigned i = 0; i < 2; i++) {
        t_ok(ta_do("num", "a", ta_add, NULL));
        francis_call_free(&ta->last);
    }
    frn_lock(ta->host);
    for (l = ta->host->calls_free.next; l != &ta->host->calls_free; l = l->next)
        assert_true(FRN_OF(frn_call, link, l)->handle >> 32 != 0);
    frn_unlock(ta->host);
    ta_num_is("num", "a", 3);
    ta_close();
}

/* Would catch: a message that is refused loudly although nobody listens, or lost silently although
 * nobody is meant. */
static void test_sends(void **state)
{
    (void)state;
    host_open(NULL, ta_both);
    t_result(francis_send(ta->ctx, NULL, NULL, "do", NULL, 0), FRANCIS_ERR_INVALID);
    t_ok(francis_send(ta->ctx, "num", "a", "do", "short", 5));
    t_ok(francis_send(ta->ctx, "num", "a", "no such", NULL, 0));
    assert_int_equal(t_logged(&ta->log, FRN_LOG_send_dropped), 2);
    ta_close();
}

/* Would catch: a child that answers for its parent. */
static void test_child(void **state)
{
    pid_t child;
    int   status = 0;

    (void)state;
    host_open(NULL, ta_both);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(francis_answer(ta->ctx, 1, FRANCIS_OK, NULL, 0) == FRANCIS_ERR_USAGE
              && francis_wait(ta->ctx, &ta->last) == FRANCIS_ERR_USAGE
              && francis_state_read(ta->ctx, "num", "a", NULL) == FRANCIS_ERR_USAGE ? 0 : 1);
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    t_ok(ta_do("num", "a", ta_add, NULL));
    ta_close();
}

/* ---- singletons whose host is gone ---- */

static struct {
    const frn_store_ops *real;
    frn_store_ops        ops;
    unsigned             reads;
    francis_result       owner, former;
    const char          *owner_id;
} look;

static void look_read(frn_store *store, frn_read *read)
{
    (void)store;
    look.reads++;
    if (read->kind == FRN_READ_OWNER) {
        read->result = look.owner;
        (void)snprintf(read->owner.id, sizeof read->owner.id, "%s", look.owner_id);
    } else {
        read->result = look.former;
    }
}

/* What a look finds if these are the answers; 0 = it does not read at all. */
static unsigned looked(frn_type *type, francis_result owner, const char *owner_id,
                       francis_result former)
{
    francis_host *h = ta->host;

    look.reads = 0;
    look.owner = owner;
    look.former = former;
    look.owner_id = owner_id;
    (void)snprintf(type->owner, sizeof type->owner, "former");
    type->boot_due = false;
    frn_boot_look(h);
    return look.reads;
}

/* Would catch: a singleton that is bootstrapped although its host may live, or never again. */
static void test_boot_look(void **state)
{
    francis_host *h;
    frn_type     *one;

    (void)state;
    host_open(NULL, ta_both);
    h = ta->host;
    frn_lock(h);
    one = frn_type_find(h, "num");
    one->desc.bootstrap = ta_handler;
    look.real = h->store->ops;
    look.ops = *look.real;
    look.ops.read = look_read;
    h->store->ops = &look.ops;
    assert_int_equal(looked(one, FRANCIS_ERR_STORAGE, "", FRANCIS_ERR_EVICTED), 2);
    assert_string_equal(one->owner, "former");      /* it will look again */
    assert_int_equal(looked(one, FRANCIS_OK, "", FRANCIS_ERR_STORAGE), 2);
    assert_string_equal(one->owner, "former");
    assert_int_equal(looked(one, FRANCIS_OK, h->id, FRANCIS_OK), 2);
    assert_string_equal(one->owner, h->id);
    assert_int_equal(looked(one, FRANCIS_OK, "another", FRANCIS_ERR_EVICTED), 1);
    assert_string_equal(one->owner, "another");
    assert_false(one->boot_due);
    h->looking = true;
    assert_int_equal(looked(one, FRANCIS_OK, "", FRANCIS_OK), 0);
    h->looking = false;
    h->rejoin = true;
    assert_int_equal(looked(one, FRANCIS_OK, "", FRANCIS_OK), 0);
    h->rejoin = false;
    assert_int_equal(looked(one, FRANCIS_OK, "", FRANCIS_ERR_EVICTED), 2);
    assert_string_equal(one->owner, "");
    assert_true(one->boot_due && h->boot != NULL);
    one->boot_due = false;
    one->desc.bootstrap = NULL;
    h->store->ops = look.real;
    frn_unlock(h);
    ta_close();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rules),       cmocka_unit_test(test_zone_files),
    cmocka_unit_test(test_zone_reads),  cmocka_unit_test(test_schedules),
    cmocka_unit_test(test_platform),    cmocka_unit_test(test_results),
#ifdef __linux__
    cmocka_unit_test(test_mount_lines),
#endif
    cmocka_unit_test(test_paths),       cmocka_unit_test(test_beside),
    TA_INLINE(test_openings),           TA_INLINE(test_levels_and_locks),
    TA_INLINE(test_reads),              TA_INLINE(test_own_handle),
    TA_INLINE(test_own_memory),         TA_INLINE(test_full_disk),
    TA_INLINE(test_cursors),            TA_INLINE(test_descs),
    TA_BOTH(test_late_types),           TA_INLINE(test_no_types),
    TA_BOTH(test_bind_address),         TA_WORKERS(test_runs),
    TA_BOTH(test_replies),              TA_BOTH(test_wrong_in_turn),
    TA_BOTH(test_writes_itself),        TA_BOTH(test_answers),
    TA_BOTH(test_expects),              TA_WORKERS(test_too_late),
    TA_BOTH(test_call_of_a_callback),   TA_BOTH(test_answered_early),
    TA_WORKERS(test_wait_with_callback), TA_WORKERS(test_blocked_max),
    TA_WORKERS(test_freed_while_waited_for), TA_INLINE(test_records),
    TA_INLINE(test_sends),              TA_INLINE(test_child),
    TA_INLINE(test_boot_look),
};

TA_MAIN(tests)
