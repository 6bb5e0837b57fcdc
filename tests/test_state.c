/* Durable state: structs that grow, versions, bytes, expiry, reading and writing from outside,
 * lists, and the places where the database may be. */
#include "support/ta.h"

#include <dirent.h>

/* -- structs that grow ------------------------------------------------------------------------- */

static francis_result count_bytes(francis_ctx *ctx, void *arg)
{
    const unsigned char *p = (const unsigned char *)francis_state(ctx);
    size_t               i, size = *(const size_t *)arg;
    int64_t              sum = 0;
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    for (i = 0; i < size; i++)
        sum += p[i];
    return francis_reply(ctx, &sum, sizeof sum);
}

static francis_result ones(francis_ctx *ctx, void *arg)
{
    void *p = francis_state(ctx);
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)memset(p, 1, *(const size_t *)arg);
    return FRANCIS_OK;
}

static void open_sized(size_t size)
{
    const francis_actor_desc types[] = {
        { .type = "sized", .methods = ta_methods, .state_size = size }, TA_END
    };
    ta_open(NULL, types);
}

/* Catches: a struct that loses its old bytes when it grows, gets rubbish for the new ones, or is
 * written anew although nothing has changed. */
static void test_struct_grows(void **state)
{
    static size_t s8 = 8, s16 = 16, s5000 = 5000;
    unsigned char bytes[16];
    uint64_t      rows;
    (void)state;
    open_sized(8);
    t_ok(ta_do("sized", "a", ones, &s8));
    t_ok(ta_do("sized", "b", ones, &s8));
    assert_int_equal(ta_stored(ta->path, "sized", "a", NULL, 0), 8);
    ta_close();
    open_sized(16);
    t_ok(ta_do("sized", "a", count_bytes, &s16));
    assert_int_equal(ta_int(&ta->last), 8);
    t_ok(ta_look("sized", "b", count_bytes, &s16));
    assert_int_equal(ta_int(&ta->last), 8);
    rows = ta_stats().commit_rows;
    t_ok(ta_do("sized", "a", count_bytes, &s16));
    t_ok(ta_do("sized", "b", ones, &s8));                   /* the same bytes once more */
    assert_int_equal(ta_stats().commit_rows, rows);
    assert_int_equal(ta_stored(ta->path, "sized", "a", NULL, 0), 8);
    t_ok(ta_do("sized", "a", ones, &s16));
    assert_int_equal(ta_stored(ta->path, "sized", "a", bytes, sizeof bytes), 16);
    assert_int_equal(bytes[7], 1);
    assert_int_equal(bytes[15], 1);
    ta_close();
    assert_int_equal(ta_stored(ta->path, "sized", "b", NULL, 0), 8);
    open_sized(5000);
    t_ok(ta_do("sized", "a", count_bytes, &s5000));
    assert_int_equal(ta_int(&ta->last), 16);
    t_ok(ta_do("sized", "b", count_bytes, &s5000));
    assert_int_equal(ta_int(&ta->last), 8);
    ta_close();
}

/* Catches: a state that is cut off to fit a smaller struct. */
static void test_struct_shrinks(void **state)
{
    static size_t s8 = 8, s16 = 16;
    unsigned char bytes[16];
    (void)state;
    open_sized(16);
    t_ok(ta_do("sized", "a", ones, &s16));
    ta_close();
    open_sized(8);
    t_result(ta_do("sized", "a", ones, &s8), FRANCIS_ERR_CORRUPT);
    assert_false(ta->last.from_handler);
    assert_non_null(strstr(ta->last.error, "16"));          /* says how large each is */
    assert_non_null(strstr(ta->last.error, "8"));
    t_result(ta_look("sized", "a", count_bytes, &s8), FRANCIS_ERR_CORRUPT);
    t_ok(ta_do("sized", "b", ones, &s8));                   /* the others are well */
    t_ok(francis_state_read(ta->ctx, "sized", "a", &ta->last));
    assert_int_equal(ta->last.size, 16);
    ta_close();
    (void)memset(bytes, 0, sizeof bytes);
    assert_int_equal(ta_stored(ta->path, "sized", "a", bytes, sizeof bytes), 16);
    assert_int_equal(bytes[15], 1);
    open_sized(16);
    t_ok(ta_do("sized", "a", count_bytes, &s16));
    assert_int_equal(ta_int(&ta->last), 16);
    ta_close();
}

/* -- versions ---------------------------------------------------------------------------------- */

static struct {
    atomic_int        calls;
    _Atomic uint32_t  version;
    atomic_size_t     size;
    francis_result    answer;       /* set while nothing runs */
} upgrades;

/* From version 0 (n) to 2 (n * 100, marked). */
static francis_result upgrade_struct(francis_ctx *ctx)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    int64_t    old = -1;
    ta_check(ctx->kind == FRANCIS_UPGRADE);
    (void)atomic_fetch_add(&upgrades.calls, 1);
    atomic_store(&upgrades.version, ctx->state_version);
    atomic_store(&upgrades.size, ctx->input.size);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    ta_check(s->n == 0 && s->m == 0 && s->text[0] == '\0'); /* zeroed; input has the old bytes */
    if (ctx->input.size >= sizeof old)
        (void)memcpy(&old, ctx->input.data, sizeof old);
    s->n = old * 100;
    (void)strcpy(s->text, "upgraded");
    if (upgrades.answer != FRANCIS_OK)
        return francis_fail(ctx, upgrades.answer, "cannot upgrade %s", ctx->id);
    return FRANCIS_OK;
}

static void open_version(uint32_t version, francis_handler upgrade, size_t size)
{
    const francis_actor_desc types[] = {
        { .type = "num", .methods = ta_methods, .state_size = size, .state_version = version,
          .upgrade = upgrade },
        TA_END
    };
    atomic_store(&upgrades.calls, 0);
    upgrades.answer = FRANCIS_OK;
    ta_open(NULL, types);
}

/* Catches: bytes of another version that are taken for the struct of this one; an upgrade that runs
 * twice, for nothing, or is not stored. */
static void test_upgrade(void **state)
{
    int64_t five = 5;
    (void)state;
    open_version(0, NULL, sizeof(ta_number));
    t_ok(ta_do("num", "a", ta_add, &five));
    t_ok(ta_do("num", "b", ta_add, &five));
    t_ok(ta_do("num", "c", ta_add, &five));
    ta_close();

    open_version(2, NULL, sizeof(ta_number));               /* nobody can read it */
    t_result(ta_do("num", "a", ta_get, NULL), FRANCIS_ERR_SCHEMA);
    assert_false(ta->last.from_handler);
    assert_true(ta->last.error[0] != '\0');
    t_result(ta_look("num", "a", ta_get, NULL), FRANCIS_ERR_SCHEMA);
    t_ok(ta_do("num", "new", ta_add, &five));               /* that has no other version */
    ta_close();
    assert_int_equal(ta_stored_n("num", "a"), 5);

    open_version(2, upgrade_struct, sizeof(ta_number));
    upgrades.answer = FRANCIS_ERR_USER + 9;
    t_result(ta_do("num", "a", ta_get, NULL), FRANCIS_ERR_USER + 9);
    assert_string_equal(ta->last.error, "cannot upgrade a");
    assert_int_equal(atomic_load(&upgrades.calls), 1);
    assert_int_equal(ta_stored_n("num", "a"), 5);
    upgrades.answer = FRANCIS_OK;
    ta_num_is("num", "a", 500);                             /* it is tried again */
    assert_int_equal(atomic_load(&upgrades.version), 0);
    assert_int_equal(atomic_load(&upgrades.size), sizeof(ta_number));
    assert_int_equal(ta_stored_n("num", "a"), 500);
    t_ok(ta_do("num", "a", ta_add, &five));
    assert_int_equal(ta_int(&ta->last), 505);
    t_ok(ta_look("num", "b", ta_get, NULL));                /* a peek activates as well */
    assert_int_equal(ta_int(&ta->last), 500);
    assert_int_equal(ta_stored_n("num", "b"), 500);
    assert_int_equal(atomic_load(&upgrades.calls), 3);
    ta_num_is("num", "new", 5);
    t_ok(ta_do("num", "fresh", ta_add, NULL));              /* nothing stored, nothing to upgrade */
    t_ok(francis_halt(ta->ctx, "num", "a", NULL));
    ta_num_is("num", "a", 505);
    assert_int_equal(atomic_load(&upgrades.calls), 3);
    ta_close();

    open_version(2, NULL, sizeof(ta_number));               /* the new version is stored with it */
    ta_num_is("num", "a", 505);
    ta_num_is("num", "b", 500);
    ta_num_is("num", "fresh", 1);
    t_result(ta_do("num", "c", ta_get, NULL), FRANCIS_ERR_SCHEMA);  /* which was not touched */
    ta_close();

    open_version(1, NULL, sizeof(ta_number));               /* back to an older program */
    t_result(ta_do("num", "a", ta_get, NULL), FRANCIS_ERR_SCHEMA);
    t_result(ta_do("num", "fresh", ta_get, NULL), FRANCIS_ERR_SCHEMA);
    ta_close();

    open_version(0, upgrade_struct, sizeof(ta_number));     /* or one that can go back */
    ta_num_is("num", "a", 50500);
    assert_int_equal(atomic_load(&upgrades.version), 2);
    ta_num_is("num", "c", 5);
    ta_close();
}

/* Catches: an upgrade whose old state is larger than the new struct, and is refused or cut before
 * the handler has seen it. */
typedef struct {
    int64_t n;
} small_number;

static francis_result upgrade_smaller(francis_ctx *ctx)
{
    small_number *s = (small_number *)francis_state(ctx);
    ta_number     old;
    ta_check(ctx->input.size == sizeof old);
    if (s == NULL || ctx->input.size != sizeof old)
        return FRANCIS_ERR_USER;
    (void)memcpy(&old, ctx->input.data, sizeof old);
    s->n = -old.n;
    return FRANCIS_OK;
}

static void test_upgrade_smaller(void **state)
{
    int64_t five = 5;
    (void)state;
    open_version(0, NULL, sizeof(ta_number));
    t_ok(ta_do("num", "a", ta_add, &five));
    ta_close();
    {
        const francis_actor_desc types[] = {
            { .type = "num", .methods = ta_methods, .state_size = sizeof(small_number),
              .state_version = 1, .upgrade = upgrade_smaller },
            TA_END
        };
        small_number stored = { 0 };
        ta_open(NULL, types);
        t_ok(ta_do("num", "a", ta_nothing, NULL));
        assert_int_equal(ta_stored(ta->path, "num", "a", &stored, sizeof stored), sizeof stored);
        assert_int_equal(stored.n, -5);
        ta_close();
    }
}

/* Catches: versions that are only kept for structs. */
static francis_result upgrade_bytes(francis_ctx *ctx)
{
    char text[64];
    ta_check(ctx->kind == FRANCIS_UPGRADE);
    (void)atomic_fetch_add(&upgrades.calls, 1);
    (void)snprintf(text, sizeof text, "%u<%s>", ctx->state_version, (const char *)ctx->input.data);
    return francis_state_set(ctx, text, strlen(text));
}

static void test_upgrade_bytes(void **state)
{
    const francis_actor_desc v0[] = { TA_BLOB, TA_END };
    const francis_actor_desc v7[] = {
        { .type = "blob", .methods = ta_methods, .state_version = 7, .upgrade = upgrade_bytes },
        TA_END
    };
    const francis_actor_desc v9[] = {
        { .type = "blob", .methods = ta_methods, .state_version = 9, .upgrade = upgrade_bytes },
        TA_END
    };
    (void)state;
    atomic_store(&upgrades.calls, 0);
    ta_open(NULL, v0);
    t_ok(ta_do("blob", "a", ta_put, "old"));
    ta_close();
    ta_open(NULL, v7);
    ta_blob_is("a", "0<old>");
    ta_blob_is("b", NULL);
    ta_close();
    ta_open(NULL, v9);
    ta_blob_is("a", "7<0<old>>");
    t_ok(ta_do("blob", "a", ta_put, "plain"));
    ta_blob_is("b", NULL);
    ta_close();
    ta_open(NULL, v9);
    ta_blob_is("a", "plain");
    ta_close();
    assert_int_equal(atomic_load(&upgrades.calls), 2);
}

/* -- bytes ------------------------------------------------------------------------------------- */

typedef struct {
    const char *steps;              /* s: set "s", t: "two", e: empty, d: delete, x: expire */
} writes;

static francis_result write_steps(francis_ctx *ctx, void *arg)
{
    const char *p;
    for (p = ((const writes *)arg)->steps; *p != '\0'; p++) {
        francis_result r = *p == 's' ? francis_state_set(ctx, "s", 1)
                         : *p == 't' ? francis_state_set(ctx, "two", 3)
                         : *p == 'e' ? francis_state_set(ctx, NULL, 0)
                         : *p == 'x' ? francis_state_expire(ctx, 1000000)
                                     : francis_state_delete(ctx);
        francis_bytes b = francis_state_get(ctx);
        ta_check(r == FRANCIS_OK);
        ta_check(*p == 'x' || (b.data == NULL) == (*p == 'd'));     /* reads its own writes */
        ta_check(*p == 'x' || b.size == (*p == 's' ? 1u : *p == 't' ? 3u : 0u));
    }
    return FRANCIS_OK;
}

/* Catches: empty and absent that are confused, and a last write of a turn that is not the one that
 * counts. */
static void test_bytes(void **state)
{
    static const struct {
        const char *steps, *then;   /* NULL = none */
    } list[] = {
        { "s", "s" }, { "t", "two" }, { "e", "" }, { "d", NULL }, { "d", NULL },
        { "sd", NULL }, { "ds", "s" }, { "dsd", NULL }, { "sdt", "two" }, { "de", "" },
        { "ed", NULL }, { "tse", "" }, { "est", "two" }, { "stst", "two" }, { "d", NULL },
        { "se", "" }, { "ds", "s" }, { "sdx", NULL },
    };
    static writes w;
    size_t        i;
    (void)state;
    ta_open(NULL, ta_both);
    for (i = 0; i < sizeof list / sizeof list[0]; i++) {
        int64_t expected = list[i].then == NULL ? -1 : (int64_t)strlen(list[i].then);
        w.steps = list[i].steps;
        t_ok(ta_do("blob", "a", write_steps, &w));
        ta_blob_is("a", list[i].then);
        if (ta_stored(ta->path, "blob", "a", NULL, 0) != expected)
            fail_msg("after %s: %lld bytes are stored", list[i].steps,
                     (long long)ta_stored(ta->path, "blob", "a", NULL, 0));
        if (expected < 0) {
            t_result(francis_state_read(ta->ctx, "blob", "a", &ta->last), FRANCIS_ERR_NOT_FOUND);
        } else {
            t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
            assert_non_null(ta->last.data);
            assert_int_equal(ta->last.size, expected);
        }
        t_ok(francis_halt(ta->ctx, "blob", "a", NULL));
        ta_blob_is("a", list[i].then);                      /* and the file says the same */
    }
    ta_close();
}

/* Catches: a struct that is not zero after its state has been deleted, in the same turn or later.
 * */
static francis_result delete_struct(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    ta_check(s != NULL && s->n == 5);
    ta_check(francis_state_delete(ctx) == FRANCIS_OK);
    s = (ta_number *)francis_state(ctx);
    ta_check(s != NULL && s->n == 0 && s->m == 0);
    if (s != NULL && arg != NULL)
        s->m = 3;                                           /* after the deletion: a new state */
    return FRANCIS_OK;
}

static void test_delete_struct(void **state)
{
    int64_t five = 5;
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_add, &five));
    t_ok(ta_do("num", "a", delete_struct, NULL));
    assert_int_equal(ta_stored_n("num", "a"), TA_NONE);
    ta_num_is("num", "a", 0);
    assert_int_equal(ta_stored_n("num", "a"), TA_NONE);
    t_ok(ta_do("num", "a", ta_add, &five));
    assert_int_equal(ta_int(&ta->last), 5);
    t_ok(ta_do("num", "a", delete_struct, &five));
    assert_int_equal(ta_stored_n("num", "a"), 0);           /* a row again, with m only */
    ta_num_is("num", "a", 0);
    t_ok(ta_do("num", "none", ta_drop, NULL));              /* nothing there: no error */
    ta_close();
}

/* Catches: bytes that are cut at a NUL, a page or a power of two. */
static francis_result put_many(francis_ctx *ctx, void *arg)
{
    size_t         i, size = *(const size_t *)arg;
    unsigned char *p = (unsigned char *)francis_alloc(ctx, size);
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    for (i = 0; i < size; i++)
        p[i] = (unsigned char)(i * 31 + size);
    return francis_state_set(ctx, p, size);
}

static void test_bytes_sizes(void **state)
{
    static size_t sizes[] = { 1, 2, 100, 255, 256, 1023, 1024, 4000, 4096, 5000, 65536, 1000000,
                              1 };
    size_t        i, k;
    (void)state;
    ta_open(NULL, ta_both);
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        t_ok(ta_do("blob", "a", put_many, &sizes[i]));
        t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
        assert_int_equal(ta->last.size, sizes[i]);
        for (k = 0; k < sizes[i]; k++)
            if (((const unsigned char *)ta->last.data)[k] != (unsigned char)(k * 31 + sizes[i]))
                fail_msg("byte %zu of %zu is another", k, sizes[i]);
    }
    ta_close();
}

/* -- expiry ------------------------------------------------------------------------------------ */

static int64_t wall_start;

static void open_expiry(void)
{
    francis_host_desc desc = { .platform = &ta_wall };
    ta_clock_init();
    wall_start = atomic_load(&ta_wall_now);
    ta_open(&desc, ta_both);
}

static void wall_at(int64_t after)
{
    atomic_store(&ta_wall_now, wall_start + after);
}

static francis_result expire(francis_ctx *ctx, void *arg)
{
    return francis_state_expire(ctx, *(const int64_t *)arg);
}

static francis_result put_and_expire(francis_ctx *ctx, void *arg)
{
    (void)francis_state_set(ctx, "short lived", 11);
    return francis_state_expire(ctx, *(const int64_t *)arg);
}

/* Catches: a state that is visible at its expiry or gone before it, inside a live activation, in a
 * new one, in reads and in lists. */
static void listed_is(const char *type, const char *id, bool expected)
{
    francis_list   list = { .what = FRANCIS_LIST_STATES, .type = type, .id = id };
    francis_result r = francis_list_next(ta->ctx, &list);
    t_result(r, expected ? FRANCIS_OK : FRANCIS_DONE);
    francis_list_free(&list);
}

static void test_expiry(void **state)
{
    static int64_t ms = 1000, five = 5;
    (void)state;
    open_expiry();
    t_ok(ta_do("blob", "a", put_and_expire, &ms));
    t_ok(ta_do("num", "a", ta_add, &five));
    t_ok(ta_do("num", "a", expire, &ms));
    assert_int_equal(ta_stored_expiry("blob", "a"), wall_start + 1000);
    assert_int_equal(ta_stored_expiry("num", "a"), wall_start + 1000);
    wall_at(999);
    ta_blob_is("a", "short lived");
    ta_num_is("num", "a", 5);
    t_ok(ta_look("num", "a", ta_get, NULL));
    assert_int_equal(ta_int(&ta->last), 5);
    t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
    listed_is("blob", "a", true);
    wall_at(1000);
    t_ok(ta_look("num", "a", ta_get, NULL));
    assert_int_equal(ta_int(&ta->last), 0);
    ta_blob_is("a", NULL);
    ta_num_is("num", "a", 0);
    t_result(francis_state_read(ta->ctx, "blob", "a", &ta->last), FRANCIS_ERR_NOT_FOUND);
    t_result(francis_state_read(ta->ctx, "num", "a", &ta->last), FRANCIS_ERR_NOT_FOUND);
    listed_is("blob", "a", false);
    t_result(francis_state_write(ta->ctx, "blob", "a", NULL, 0, 0, &ta->last),
             FRANCIS_ERR_NOT_FOUND);
    t_ok(francis_halt_all(ta->ctx, NULL));
    ta_blob_is("a", NULL);
    ta_num_is("num", "a", 0);
    t_ok(ta_do("num", "a", ta_add, NULL));                  /* from nothing, and to stay */
    assert_int_equal(ta_int(&ta->last), 1);
    assert_int_equal(ta_stored_expiry("num", "a"), TA_NONE);
    t_ok(ta_do("blob", "a", ta_put, "new"));
    assert_int_equal(ta_stored_expiry("blob", "a"), TA_NONE);
    wall_at(1000000);
    ta_blob_is("a", "new");
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Catches: an expiry that a later write loses, or that survives a deletion. */
static void test_expiry_stays(void **state)
{
    static int64_t ms = 1000, later = 5000, forever = FRANCIS_FOREVER;
    (void)state;
    open_expiry();
    t_ok(ta_do("blob", "a", put_and_expire, &ms));
    wall_at(500);
    t_ok(ta_do("blob", "a", ta_put, "other"));              /* does not touch it */
    assert_int_equal(ta_stored_expiry("blob", "a"), wall_start + 1000);
    t_ok(ta_do("num", "a", ta_add, NULL));
    t_ok(ta_do("num", "a", expire, &ms));
    t_ok(ta_do("num", "a", ta_add, NULL));
    assert_int_equal(ta_stored_expiry("num", "a"), wall_start + 1500);
    t_ok(ta_do("num", "a", expire, &later));                /* a change of it alone is stored */
    assert_int_equal(ta_stored_expiry("num", "a"), wall_start + 5500);
    t_ok(ta_do("num", "a", expire, &forever));
    assert_int_equal(ta_stored_expiry("num", "a"), TA_NONE);
    t_ok(francis_halt(ta->ctx, "blob", "a", NULL));         /* it is part of the state */
    t_ok(ta_do("blob", "a", ta_put, "third"));
    assert_int_equal(ta_stored_expiry("blob", "a"), wall_start + 1000);
    t_ok(ta_do("blob", "a", ta_drop, NULL));
    t_ok(ta_do("blob", "a", ta_put, "fourth"));
    assert_int_equal(ta_stored_expiry("blob", "a"), TA_NONE);
    wall_at(1000);
    ta_blob_is("a", "fourth");
    ta_close();
}

/* Catches: a clock that was ahead for a moment, and an activation that then lives without the state
 * that is stored and that everybody else sees. */
static void test_expiry_clock_goes_back(void **state)
{
    static int64_t ms = 1000;
    (void)state;
    open_expiry();
    t_ok(ta_do("blob", "a", put_and_expire, &ms));
    wall_at(5000);
    ta_blob_is("a", NULL);
    wall_at(500);
    t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
    assert_string_equal((const char *)ta->last.data, "short lived");
    ta_blob_is("a", "short lived");
    ta_close();
}

/* Catches: an expiry within a turn that is deleted and set again in it, or that a failed turn
 * leaves. */
static francis_result expire_and_fail(francis_ctx *ctx, void *arg)
{
    (void)francis_state_expire(ctx, *(const int64_t *)arg);
    return FRANCIS_ERR_USER;
}

static francis_result drop_and_put(francis_ctx *ctx, void *arg)
{
    (void)francis_state_expire(ctx, *(const int64_t *)arg);
    (void)francis_state_delete(ctx);
    return francis_state_set(ctx, "again", 5);
}

static francis_result renew_and_flush(francis_ctx *ctx, void *arg)
{
    (void)francis_state_delete(ctx);
    (void)francis_state_set(ctx, "flushed", 7);
    (void)francis_state_expire(ctx, *(const int64_t *)arg);
    ta_check(francis_flush(ctx, NULL) == FRANCIS_OK);
    ta_check(ta_stored_expiry("blob", ctx->id) == wall_start + 1000);
    return francis_state_set(ctx, "and more", 8);
}

static void test_expiry_in_turn(void **state)
{
    static int64_t ms = 1000;
    (void)state;
    open_expiry();
    t_ok(ta_do("blob", "f", renew_and_flush, &ms));
    assert_int_equal(ta_stored_expiry("blob", "f"), wall_start + 1000);
    t_ok(ta_do("blob", "f", renew_and_flush, &ms));
    assert_int_equal(ta_stored_expiry("blob", "f"), wall_start + 1000);
    ta_blob_is("f", "and more");
    t_ok(ta_do("blob", "a", ta_put, "text"));
    t_result(ta_do("blob", "a", expire_and_fail, &ms), FRANCIS_ERR_USER);
    assert_int_equal(ta_stored_expiry("blob", "a"), TA_NONE);
    t_ok(ta_do("blob", "a", drop_and_put, &ms));
    assert_int_equal(ta_stored_expiry("blob", "a"), TA_NONE);
    wall_at(2000);
    ta_blob_is("a", "again");
    ta_close();
}

/* Catches: an expiry given with francis_state_write that is not from now, or not replaced. */
static void test_expiry_from_outside(void **state)
{
    (void)state;
    open_expiry();
    wall_at(100);
    t_ok(francis_state_write(ta->ctx, "blob", "a", "x", 1, 1000, NULL));
    assert_int_equal(ta_stored_expiry("blob", "a"), wall_start + 1100);
    wall_at(600);
    t_ok(francis_state_write(ta->ctx, "blob", "a", "y", 1, 2000, NULL));
    assert_int_equal(ta_stored_expiry("blob", "a"), wall_start + 2600);
    wall_at(1500);
    ta_blob_is("a", "y");
    t_ok(francis_state_write(ta->ctx, "blob", "a", "z", 1, 0, NULL));
    assert_int_equal(ta_stored_expiry("blob", "a"), TA_NONE);
    t_ok(francis_state_write(ta->ctx, "blob", "a", "z", 1, 10, NULL));
    assert_int_equal(ta_stored_expiry("blob", "a"), wall_start + 1510);
    t_ok(francis_state_write(ta->ctx, "blob", "a", "z", 1, FRANCIS_FOREVER, NULL));
    assert_int_equal(ta_stored_expiry("blob", "a"), TA_NONE);
    t_result(francis_state_write(ta->ctx, "blob", "a", "z", 1, -5, &ta->last), FRANCIS_ERR_INVALID);
    t_ok(francis_state_write(ta->ctx, "nobody", "a", "z", 1, 10, NULL));
    assert_int_equal(ta_stored_expiry("nobody", "a"), wall_start + 1510);
    wall_at(1510);
    t_result(francis_state_read(ta->ctx, "nobody", "a", &ta->last), FRANCIS_ERR_NOT_FOUND);
    t_result(francis_state_write(ta->ctx, "nobody", "a", NULL, 0, 0, &ta->last),
             FRANCIS_ERR_NOT_FOUND);
    ta_close();
}

/* Catches: expired rows that stay in the file, rows that are swept although they live, and an
 * activation that still thinks it has a row to change. */
static int64_t wall_offset_ms(void *user)
{
    (void)user;
    return INT64_C(1800000000000) + t_ms();
}

static void test_sweep(void **state)
{
    static const francis_platform platform = { .version = 1, .wall_ms = wall_offset_ms };
    static int64_t                ms = 60, hour = 3600000;
    francis_host_desc             desc = { .platform = &platform, .sweep_interval_ms = 20 };
    int                           i;
    (void)state;
    ta_open(&desc, ta_both);
    for (i = 0; i < 20; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(ta_do("blob", id, put_and_expire, i % 2 == 0 ? &ms : &hour));
    }
    t_ok(ta_do("blob", "stays", ta_put, "for ever"));
    t_ok(francis_halt(ta->ctx, "blob", "2", NULL));
    ta_until(ta_sql(ta->path, "SELECT count(*) FROM francis_actor_state") == 11);
    ta_blob_is("0", NULL);
    ta_blob_is("1", "short lived");
    ta_blob_is("2", NULL);
    ta_blob_is("stays", "for ever");
    t_ok(ta_do("blob", "0", ta_put, "once more"));
    t_ok(ta_do("blob", "0", expire, &hour));
    ta_blob_is("0", "once more");
    assert_int_equal(ta_stored(ta->path, "blob", "0", NULL, 0), 9);
    ta_close();
    assert_int_equal(ta_sql(ta->path, "SELECT count(*) FROM francis_actor_state"), 12);
}

/* Catches: a purge of half the database by a clock that was wrong for a moment. */
static void test_sweep_after_clock_step(void **state)
{
    static int64_t    hour = 3600000;
    francis_host_desc desc = { .platform = &ta_clocks, .sweep_interval_ms = 1000 };
    int               i;
    (void)state;
    ta_clock_init();
    ta_open(&desc, ta_both);
    t_ok(ta_do("blob", "a", put_and_expire, &hour));
    for (i = 0; i < 5; i++) {                               /* both clocks run, nothing is due */
        (void)atomic_fetch_add(&ta_wall_now, 1000);
        (void)atomic_fetch_add(&ta_mono_now, 1000);
        t_ok(francis_poll(ta->host, 0));
    }
    (void)atomic_fetch_add(&ta_wall_now, INT64_C(10) * 365 * 86400000);     /* ten years ahead */
    for (i = 0; i < 3; i++) {
        (void)atomic_fetch_add(&ta_wall_now, 1000);
        (void)atomic_fetch_add(&ta_mono_now, 1000);
        t_ok(francis_poll(ta->host, 0));
        assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), 11);
    }
    ta_blob_is("a", NULL);                                  /* invisible all the same */
    (void)atomic_fetch_sub(&ta_wall_now, INT64_C(10) * 365 * 86400000);     /* it was wrong */
    for (i = 0; i < 3; i++) {
        (void)atomic_fetch_add(&ta_wall_now, 1000);
        (void)atomic_fetch_add(&ta_mono_now, 1000);
        t_ok(francis_poll(ta->host, 0));
    }
    t_ok(francis_halt(ta->ctx, "blob", "a", NULL));
    ta_blob_is("a", "short lived");
    for (i = 0; i < 100 && ta_stored(ta->path, "blob", "a", NULL, 0) >= 0; i++) {
        (void)atomic_fetch_add(&ta_wall_now, 120000);       /* time that really passes */
        (void)atomic_fetch_add(&ta_mono_now, 120000);
        t_ok(francis_poll(ta->host, 0));
        t_ok(francis_poll(ta->host, 0));
    }
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), -1);
    assert_true(i >= 29);                                   /* but not before the hour is over */
    ta_close();
}

/* Catches: a device that boots in 1970, gets its time from the network, and never deletes anything
 * again. */
static void test_sweep_after_boot(void **state)
{
    static int64_t    hour = 3600000;
    const int         week = 7 * 24 * 60;
    francis_host_desc desc = { .platform = &ta_clocks, .sweep_interval_ms = 60000 };
    int64_t           now;
    int               i;
    (void)state;
    ta_clock_init();
    now = atomic_load(&ta_wall_now);
    atomic_store(&ta_wall_now, 20000);                      /* twenty seconds after the epoch */
    ta_open(&desc, ta_both);
    for (i = 0; i < 10; i++) {
        (void)atomic_fetch_add(&ta_wall_now, 60000);
        (void)atomic_fetch_add(&ta_mono_now, 60000);
        t_ok(francis_poll(ta->host, 0));
    }
    atomic_store(&ta_wall_now, now);
    t_ok(francis_poll(ta->host, 0));
    t_ok(ta_do("blob", "a", put_and_expire, &hour));
    t_ok(ta_do("blob", "b", ta_put, "stays"));
    assert_int_equal(ta_stored_expiry("blob", "a"), now + hour);
    for (i = 0; i < week && ta_stored(ta->path, "blob", "a", NULL, 0) >= 0; i++) {
        (void)atomic_fetch_add(&ta_wall_now, 60000);
        (void)atomic_fetch_add(&ta_mono_now, 60000);
        t_ok(francis_poll(ta->host, 0));
    }
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), -1);
    assert_true(i >= 60);
    ta_blob_is("b", "stays");
    ta_close();
}

/* Catches: a sweep although it is switched off. */
static void test_sweep_off(void **state)
{
    static int64_t    ms = 10;
    francis_host_desc desc = { .platform = &ta_clocks, .sweep_interval_ms = FRANCIS_FOREVER };
    int               i;
    (void)state;
    ta_clock_init();
    ta_open(&desc, ta_both);
    t_ok(ta_do("blob", "a", put_and_expire, &ms));
    for (i = 0; i < 50; i++) {
        (void)atomic_fetch_add(&ta_wall_now, 60000);
        (void)atomic_fetch_add(&ta_mono_now, 60000);
        t_ok(francis_poll(ta->host, 0));
    }
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), 11);
    ta_close();
}

/* -- from outside ------------------------------------------------------------------------------ */

/* Catches: a read that activates, sees what is not committed, or finds what is not there. */
static francis_result read_in_turn(francis_ctx *ctx, void *arg)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    (void)arg;
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)francis_state_set(ctx, "not yet", 7);
    ta_check(francis_state_read(ctx, "blob", ctx->id, call) == FRANCIS_OK);
    ta_check(call->size == 9 && memcmp(call->data, "committed", 9) == 0);
    ta_check(francis_state_read(ctx, "blob", "other", call) == FRANCIS_OK);
    ta_check(call->size == 5 && memcmp(call->data, "other", 5) == 0);
    ta_check(francis_state_read(ctx, "blob", "missing", call) == FRANCIS_ERR_NOT_FOUND);
    ta_check(call->data == NULL && call->size == 0 && call->error[0] != '\0');
    ta_check(francis_state_read(ctx, NULL, NULL, call) == FRANCIS_OK);  /* the own */
    ta_check(call->size == 9);
    return FRANCIS_OK;
}

static void test_read(void **state)
{
    static char long_name[257];
    (void)state;
    (void)memset(long_name, 'x', 256);
    ta_open(NULL, ta_both);
    t_result(francis_state_read(ta->ctx, "blob", "a", &ta->last), FRANCIS_ERR_NOT_FOUND);
    assert_null(ta->last.data);
    assert_true(ta->last.error[0] != '\0');
    t_result(francis_state_read(ta->ctx, "nobody", "a", &ta->last), FRANCIS_ERR_NOT_FOUND);
    assert_int_equal(ta_stats().activations, 0);
    t_ok(ta_do("blob", "a", ta_put, "committed"));
    t_ok(ta_do("blob", "other", ta_put, "other"));
    t_ok(ta_do("num", "zero", ta_nothing, NULL));
    t_result(francis_state_read(ta->ctx, "num", "zero", &ta->last), FRANCIS_ERR_NOT_FOUND);
    t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
    assert_int_equal(ta->last.size, 9);
    assert_string_equal((const char *)ta->last.data, "committed");
    t_result(francis_state_read(ta->ctx, "Blob", "a", &ta->last), FRANCIS_ERR_NOT_FOUND);
    t_result(francis_state_read(ta->ctx, "blob", "A", &ta->last), FRANCIS_ERR_NOT_FOUND);
    t_ok(ta_do("blob", "a", read_in_turn, NULL));
    t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
    assert_string_equal((const char *)ta->last.data, "not yet");
    t_result(francis_state_read(ta->ctx, "", "a", &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_read(ta->ctx, "blob", "", &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_read(ta->ctx, "blob", "a/b", &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_read(ta->ctx, "b/c", "a", &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_read(ta->ctx, "blob", long_name, &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_read(ta->ctx, NULL, NULL, &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_read(ta->ctx, "blob", NULL, &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_read(ta->ctx, "francis.x", "a", &ta->last), FRANCIS_ERR_RESERVED);
    ta_close();
}

/* Catches: a state that is changed from outside under an activation which goes on with the old one.
 * */
static void test_write(void **state)
{
    ta_number n = { 7, 8, "nine" };
    int64_t   five = 5;
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(francis_state_write(ta->ctx, "blob", "a", "outside", 7, 0, &ta->last));
    ta_blob_is("a", "outside");
    t_ok(francis_state_write(ta->ctx, "blob", "a", "live", 4, 0, NULL));
    ta_blob_is("a", "live");
    t_ok(francis_state_write(ta->ctx, "blob", "a", "", 0, 0, NULL));
    ta_blob_is("a", "");
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), 0);
    t_ok(francis_state_write(ta->ctx, "blob", "a", NULL, 0, 0, NULL));
    ta_blob_is("a", NULL);
    t_result(francis_state_write(ta->ctx, "blob", "a", NULL, 0, 0, &ta->last),
             FRANCIS_ERR_NOT_FOUND);
    assert_true(ta->last.error[0] != '\0');
    t_result(francis_state_write(ta->ctx, "blob", "never", NULL, 0, 0, &ta->last),
             FRANCIS_ERR_NOT_FOUND);

    t_ok(ta_do("num", "a", ta_add, &five));
    t_ok(francis_state_write(ta->ctx, "num", "a", &n, sizeof n, 0, NULL));
    assert_int_equal(ta_stored_n("num", "a"), 7);
    t_ok(ta_do("num", "a", ta_add, &five));
    assert_int_equal(ta_int(&ta->last), 12);
    n.n = 100;
    t_ok(francis_state_write(ta->ctx, "num", "a", &n, sizeof n.n, 0, NULL));
    ta_num_is("num", "a", 100);                             /* shorter: padded */
    t_result(francis_state_write(ta->ctx, "num", "a", "0123456789012345678901234567890123456789",
                                 sizeof n + 1, 0, &ta->last), FRANCIS_ERR_TOO_LARGE);
    ta_num_is("num", "a", 100);
    t_ok(francis_state_write(ta->ctx, "num", "a", NULL, 0, 0, NULL));
    ta_num_is("num", "a", 0);
    t_ok(ta_do("num", "a", ta_add, &five));
    assert_int_equal(ta_int(&ta->last), 5);

    t_result(francis_state_write(ta->ctx, "", "a", "x", 1, 0, &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_write(ta->ctx, "blob", "a/b", "x", 1, 0, &ta->last),
             FRANCIS_ERR_INVALID);
    t_result(francis_state_write(ta->ctx, "blob", NULL, "x", 1, 0, &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_write(ta->ctx, "blob", "a", NULL, 3, 0, &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_state_write(ta->ctx, "francis.x", "a", "x", 1, 0, &ta->last),
             FRANCIS_ERR_RESERVED);
    ta_close();
    assert_int_equal(ta_stored_n("num", "a"), 5);
}

/* Catches: a write from outside that overtakes the turn that runs, or the calls before it, or is
 * overtaken by those after it. */
static void test_write_is_a_turn(void **state)
{
    static ta_gate gate;
    francis_call  *hold, *before, *write = ta_new(), *after;
    int64_t        five = 5;
    ta_number      n = { 1000, 0, "" };
    (void)state;
    ta_gate_init(&gate, NULL);
    gate.then = ta_add;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_add, &five));
    hold = ta_begin("num", "a", ta_hold, &gate);
    ta_until(atomic_load(&gate.arrived) == 1);
    before = ta_begin("num", "a", ta_add, NULL);
    write->async = true;
    t_result(francis_state_write(ta->ctx, "num", "a", &n, sizeof n, 0, write), FRANCIS_PENDING);
    after = ta_begin("num", "a", ta_add, NULL);
    ta_settle("blob");
    assert_int_equal(write->result, FRANCIS_PENDING);
    assert_int_equal(ta_stored_n("num", "a"), 5);
    ta_let(&gate, 0);
    t_ok(ta_end(hold));
    assert_int_equal(ta_int(hold), 6);
    t_ok(ta_end(before));
    assert_int_equal(ta_int(before), 7);
    t_ok(ta_end(write));
    t_ok(ta_end(after));
    assert_int_equal(ta_int(after), 1001);
    assert_int_equal(ta_stored_n("num", "a"), 1001);
    ta_close();
}

/* Catches: a write out of a turn that is part of it when it should not be, or the other way round.
 * */
typedef struct {
    francis_call call;
} pending_call;

static francis_result written_other(francis_ctx *ctx)
{
    const pending_call *p = (const pending_call *)ctx->local;
    ta_check(p->call.result == FRANCIS_OK);
    ta_check(ta_stored(ta->path, "blob", "b", NULL, 0) == 5);
    return FRANCIS_ERR_USER;                                /* the other's write stays */
}

static francis_result write_other(francis_ctx *ctx, void *arg)
{
    pending_call *p = (pending_call *)francis_alloc(ctx, sizeof *p);
    (void)arg;
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    p->call.async = true;
    ta_check(francis_state_write(ctx, "blob", "b", "other", 5, 0, &p->call) == FRANCIS_PENDING);
    return francis_await(ctx, written_other, p);
}

static francis_result write_own(francis_ctx *ctx, void *arg)
{
    ta_check(francis_state_write(ctx, NULL, NULL, "own", 3, 1000, NULL) == FRANCIS_OK);
    ta_check(francis_state_get(ctx).size == 3);
    ta_check(ta_stored(ta->path, "blob", "a", NULL, 0) == -1);      /* with the turn */
    return arg != NULL ? FRANCIS_ERR_USER : FRANCIS_OK;
}

static francis_result delete_own(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_state_write(ctx, NULL, NULL, NULL, 0, 0, NULL) == FRANCIS_OK);
    ta_check(francis_state_get(ctx).data == NULL);
    return FRANCIS_OK;
}

static void test_write_in_turn(void **state)
{
    (void)state;
    open_expiry();
    t_result(ta_do("blob", "a", write_other, NULL), FRANCIS_ERR_USER);
    ta_blob_is("b", "other");
    t_result(ta_do("blob", "a", write_own, &wall_start), FRANCIS_ERR_USER);
    ta_blob_is("a", NULL);
    t_ok(ta_do("blob", "a", write_own, NULL));
    ta_blob_is("a", "own");
    assert_int_equal(ta_stored_expiry("blob", "a"), wall_start + 1000);
    t_ok(ta_do("blob", "a", delete_own, NULL));
    ta_blob_is("a", NULL);
    ta_close();
}

/* Catches: states of a type that this program does not know and therefore cannot touch. */
static void test_unserved(void **state)
{
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(francis_state_write(ta->ctx, "nobody", "a", "text", 4, 0, &ta->last));
    assert_int_equal(ta_stored(ta->path, "nobody", "a", NULL, 0), 4);
    t_ok(francis_state_read(ta->ctx, "nobody", "a", &ta->last));
    assert_string_equal((const char *)ta->last.data, "text");
    t_ok(francis_state_write(ta->ctx, "nobody", "a", "other text", 10, 0, NULL));
    assert_int_equal(ta_stored(ta->path, "nobody", "a", NULL, 0), 10);
    t_ok(francis_state_write(ta->ctx, "nobody", "a", NULL, 0, 0, NULL));
    t_result(francis_state_write(ta->ctx, "nobody", "a", NULL, 0, 0, &ta->last),
             FRANCIS_ERR_NOT_FOUND);
    t_result(francis_state_read(ta->ctx, "nobody", "a", &ta->last), FRANCIS_ERR_NOT_FOUND);
    t_ok(francis_state_write(ta->ctx, "nobody", "b", "x", 1, 0, NULL));
    t_ok(francis_purge(ta->ctx, "nobody", "b", NULL));
    t_result(francis_state_read(ta->ctx, "nobody", "b", &ta->last), FRANCIS_ERR_NOT_FOUND);
    assert_int_equal(ta_stats().activations, 0);
    ta_close();
}

/* Catches: a purge that leaves something, that takes the answers that repeats still need, or that
 * happens although its turn failed. */
static francis_result purge_own(francis_ctx *ctx, void *arg)
{
    ta_check(francis_purge(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    {
        const ta_number *s = (const ta_number *)francis_state(ctx);
        ta_check(s != NULL && s->n == 0);
    }
    return arg != NULL ? FRANCIS_ERR_USER : FRANCIS_OK;
}

static francis_result purge_and_set(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_purge(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    ta_check(francis_state_get(ctx).data == NULL);
    return francis_state_set(ctx, "afterwards", 10);
}

static void test_purge(void **state)
{
    francis_call keyed = { .request_id = "once" };
    ta_job       job = { ta_add, NULL };
    int64_t      five = 5;
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(francis_purge(ta->ctx, "num", "nothing", &ta->last));
    t_ok(ta_do("num", "a", ta_add, &five));
    t_ok(francis_invoke(ta->ctx, "num", "a", "do", &job, sizeof job, &keyed));
    assert_int_equal(ta_int(&keyed), 6);
    t_ok(francis_purge(ta->ctx, "num", "a", &ta->last));
    assert_int_equal(ta_stored_n("num", "a"), TA_NONE);
    ta_num_is("num", "a", 0);
    t_ok(francis_invoke(ta->ctx, "num", "a", "do", &job, sizeof job, &keyed));
    assert_int_equal(ta_int(&keyed), 6);                    /* the first answer */
    ta_num_is("num", "a", 0);
    assert_int_equal(ta_stats().replays, 1);
    t_ok(ta_do("num", "a", ta_add, &five));
    t_result(ta_do("num", "a", purge_own, &five), FRANCIS_ERR_USER);
    ta_num_is("num", "a", 5);
    assert_int_equal(ta_stored_n("num", "a"), 5);
    t_ok(ta_do("num", "a", purge_own, NULL));
    ta_num_is("num", "a", 0);
    assert_int_equal(ta_stored_n("num", "a"), TA_NONE);
    t_ok(ta_do("blob", "a", ta_put, "before"));
    t_ok(ta_do("blob", "a", purge_and_set, NULL));
    ta_blob_is("a", "afterwards");
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), 10);
    t_result(francis_purge(ta->ctx, "num", "a/b", &ta->last), FRANCIS_ERR_INVALID);
    t_result(francis_purge(ta->ctx, "francis.x", "a", &ta->last), FRANCIS_ERR_RESERVED);
    francis_call_free(&keyed);
    ta_close();
}

/* -- lists ------------------------------------------------------------------------------------- */

/* Fills "blob" through the library's own door; ids are "0000", "0001", ... */
static void fill(const char *type, int count)
{
    francis_call *calls[64];
    unsigned      first = ta->calls_count;
    int           i, k;
    for (i = 0; i < count; i += 64) {
        for (k = 0; k < 64 && i + k < count; k++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%04d", i + k);
            calls[k] = ta_new();
            calls[k]->async = true;
            t_result(francis_state_write(ta->ctx, type, id, id, strlen(id), 0, calls[k]),
                     FRANCIS_PENDING);
        }
        while (k-- > 0)
            t_ok(ta_end(calls[k]));
        while (ta->calls_count > first) {
            francis_call_free(ta->calls[--ta->calls_count]);
            free(ta->calls[ta->calls_count]);
        }
    }
}

/* Catches: a list that skips or repeats where one page ends and the next begins. */
static void test_list_pages(void **state)
{
    static const uint32_t limits[] = { 0, 1, 99, 100, 101, 999, 1000, 1001, 1049, 1050, 1051,
                                       5000 };
    const int             count = 1050;
    size_t                i;
    int                   n, got;
    char                  id[16], cursor[1024];
    (void)state;
    ta_open(NULL, NULL);
    fill("blob", count);
    for (i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        francis_list   list = { .what = FRANCIS_LIST_STATES, .type = "blob", .limit = limits[i],
                                .with_data = i % 2 == 0 };
        int            expected = limits[i] == 0 || limits[i] > (uint32_t)count ? count
                                                                                : (int)limits[i];
        francis_result r;
        n = 0;
        while ((r = francis_list_next(ta->ctx, &list)) == FRANCIS_OK) {
            (void)snprintf(id, sizeof id, "%04d", n);
            assert_string_equal(list.item.type, "blob");
            assert_string_equal(list.item.id, id);
            assert_non_null(list.cursor);
            assert_int_equal(list.result, FRANCIS_OK);
            if (list.with_data) {
                assert_int_equal(list.item.size, strlen(id));
                assert_string_equal((const char *)list.item.data, id);
            } else {
                assert_null(list.item.data);
                assert_int_equal(list.item.size, 0);
            }
            n++;
        }
        t_result(r, FRANCIS_DONE);
        t_result(list.result, FRANCIS_DONE);
        t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);      /* and remains so */
        assert_int_equal(n, expected);
        francis_list_free(&list);
    }
    cursor[0] = '\0';                                       /* by cursor: 100, then 3 at a time */
    n = 0;
    do {
        francis_list list = { .what = FRANCIS_LIST_STATES, .type = "blob",
                              .limit = n < 700 ? 100 : 3 };
        char         next[1024] = "";
        if (cursor[0] != '\0')
            list.after = cursor;
        got = 0;
        while (francis_list_next(ta->ctx, &list) == FRANCIS_OK) {
            (void)snprintf(id, sizeof id, "%04d", n++);
            assert_string_equal(list.item.id, id);
            (void)snprintf(next, sizeof next, "%s", list.cursor);
            got++;
        }
        t_result(list.result, FRANCIS_DONE);
        francis_list_free(&list);
        if (got > 0)
            (void)memcpy(cursor, next, sizeof cursor);
    } while (got > 0);
    assert_int_equal(n, count);
    ta_close();
}

/* Catches: an order that follows a collation, or the insertion, instead of the bytes; filters that
 * let too much or too little through. */
static const char *const odd_ids[] = { "\x01", " ", "!", "0", "00", "1", "10", "2", "A", "Z", "a",
                                       "a ", "a!", "aa", "b", "z", "\xc3\xa4", "\xc3\xbc",
                                       "\xe2\x82\xac", "\xff" };

static void test_list_order(void **state)
{
    const int    count = (int)(sizeof odd_ids / sizeof odd_ids[0]);
    int          i;
    francis_list list = { .what = FRANCIS_LIST_STATES, .with_data = true };
    (void)state;
    ta_open(NULL, NULL);
    for (i = count; i-- > 0;) {
        t_ok(francis_state_write(ta->ctx, "b", odd_ids[i], "x", 1, 0, NULL));
        if (i % 3 == 0)
            t_ok(francis_state_write(ta->ctx, "B", odd_ids[i], "", 0, 0, NULL));
    }
    t_ok(francis_state_write(ta->ctx, "b!", "a", "y", 1, 0, NULL));
    t_ok(francis_state_write(ta->ctx, "ba", "a", "y", 1, 0, NULL));
    for (i = 0; i < count; i += 3) {                        /* 'B' comes first, with empty states */
        t_ok(francis_list_next(ta->ctx, &list));
        assert_string_equal(list.item.type, "B");
        assert_string_equal(list.item.id, odd_ids[i]);
        assert_int_equal(list.item.size, 0);
    }
    for (i = 0; i < count; i++) {
        t_ok(francis_list_next(ta->ctx, &list));
        assert_string_equal(list.item.type, "b");
        assert_string_equal(list.item.id, odd_ids[i]);
        assert_int_equal(list.item.size, 1);
        assert_string_equal(list.item.host, "");            /* where it does not apply */
        assert_string_equal(list.item.name, "");
        assert_int_equal(list.item.expires_ms, 0);
    }
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.type, "b!");
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.type, "ba");
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);

    (void)memset(&list, 0, sizeof list);
    list.type = "b";
    for (i = 0; francis_list_next(ta->ctx, &list) == FRANCIS_OK; i++)
        assert_string_equal(list.item.id, odd_ids[i]);
    t_result(list.result, FRANCIS_DONE);
    assert_int_equal(i, count);
    francis_list_free(&list);

    (void)memset(&list, 0, sizeof list);
    list.id = "a";                                          /* of all types */
    for (i = 0; francis_list_next(ta->ctx, &list) == FRANCIS_OK; i++)
        assert_string_equal(list.item.id, "a");
    t_result(list.result, FRANCIS_DONE);
    assert_int_equal(i, 3);                                 /* b, b!, ba: "a" is not a third of B */
    francis_list_free(&list);

    (void)memset(&list, 0, sizeof list);
    list.type = "b";
    list.id = "a";
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.type, "b");
    assert_string_equal(list.item.id, "a");
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);

    (void)memset(&list, 0, sizeof list);
    list.type = "unknown";                                  /* empty, not an error */
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);
    ta_close();
}

/* Catches: changes beside a list that shift what is not read yet; a cursor that needs its row. */
static void test_list_beside_changes(void **state)
{
    francis_list list = { .what = FRANCIS_LIST_STATES, .type = "blob" };
    char         id[16], cursor[1024];
    int          i, n = 0;
    (void)state;
    ta_open(NULL, NULL);
    fill("blob", 300);
    for (i = 0; i < 40; i++) {
        t_ok(francis_list_next(ta->ctx, &list));
        n++;
    }
    (void)snprintf(cursor, sizeof cursor, "%s", list.cursor);
    assert_string_equal(list.item.id, "0039");
    for (i = 0; i < 40; i++) {                              /* what is read already goes away, */
        (void)snprintf(id, sizeof id, "%04d", i);
        t_ok(francis_state_write(ta->ctx, "blob", id, NULL, 0, 0, NULL));
    }
    t_ok(francis_state_write(ta->ctx, "blob", "0000", "x", 1, 0, NULL));   /* comes back, */
    t_ok(francis_state_write(ta->ctx, "blob", "!", "x", 1, 0, NULL));           /* appears before */
    t_ok(francis_state_write(ta->ctx, "blob", "0299z", "x", 1, 0, NULL));       /* and behind */
    t_ok(francis_state_write(ta->ctx, "blob", "0250", NULL, 0, 0, NULL));
    while (francis_list_next(ta->ctx, &list) == FRANCIS_OK) {
        if (strcmp(list.item.id, "0299z") != 0) {
            if (n == 250 && strcmp(list.item.id, "0251") == 0)
                n++;
            (void)snprintf(id, sizeof id, "%04d", n++);
            assert_string_equal(list.item.id, id);
        }
    }
    t_result(list.result, FRANCIS_DONE);
    assert_int_equal(n, 300);
    francis_list_free(&list);
    (void)memset(&list, 0, sizeof list);
    list.type = "blob";
    list.after = cursor;                                    /* of a row that is no more */
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.id, "0040");
    francis_list_free(&list);                               /* midway */
    francis_list_free(&list);
    francis_list_free(NULL);
    ta_close();
}

/* Catches: a cursor that cannot be read, an option that makes no sense, or a name that no actor can
 * have, and a list that answers all the same; lists of two threads that disturb each other. */
static void test_list_refusals(void **state)
{
    static char  large[5000];
    static const struct {
        const char       *what;
        francis_list      list;
    } refused[] = {
        { "kind", { .what = (francis_list_kind)99 } },
        { "kind", { .what = (francis_list_kind)7 } },
        { "a/b", { .type = "a/b" } },
        { "type", { .type = "" } },
        { "a/b", { .type = "blob", .id = "a/b" } },
        { "cursor", { .type = "blob", .after = large } },
    };
    size_t i;
    (void)state;
    (void)memset(large, 'x', sizeof large - 1);
    ta_open(NULL, NULL);
    fill("blob", 3);
    for (i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        francis_list   list = refused[i].list;
        francis_result r = francis_list_next(ta->ctx, &list);
        if (r != FRANCIS_ERR_INVALID || list.error == NULL || list.error[0] == '\0' ||
            list.result != FRANCIS_ERR_INVALID)
            fail_msg("case %zu (%s): %s: %s", i, refused[i].what, francis_result_name(r),
                     list.error != NULL ? list.error : "NULL");
        t_result(francis_list_next(ta->ctx, &list), FRANCIS_ERR_INVALID);
        francis_list_free(&list);
    }
    ta_close();
}

/* Catches: what is active that is not listed, or still is when it no longer is; rows without host.
 * */
static void test_list_active_hosts_types(void **state)
{
    francis_list  list = { .what = FRANCIS_LIST_ACTIVE };
    francis_stats stats;
    int64_t       before = (int64_t)time(NULL) * 1000 - 1000;
    (void)state;
    ta_open(NULL, ta_both);
    stats = ta_stats();
    assert_true(stats.host_id[0] != '\0');
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);
    t_ok(ta_do("num", "b", ta_add, NULL));
    t_ok(ta_do("num", "a", ta_nothing, NULL));              /* active, although it has no state */
    t_ok(ta_do("blob", "z", ta_nothing, NULL));
    t_ok(francis_state_write(ta->ctx, "nobody", "x", "x", 1, 0, NULL));
    (void)memset(&list, 0, sizeof list);
    list.what = FRANCIS_LIST_ACTIVE;
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.type, "blob");
    assert_string_equal(list.item.id, "z");
    assert_string_equal(list.item.host, stats.host_id);
    assert_true(list.item.created_ms >= before && list.item.created_ms <= before + 600000);
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.type, "num");
    assert_string_equal(list.item.id, "a");
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.id, "b");
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);
    t_ok(francis_halt(ta->ctx, "num", "a", NULL));
    (void)memset(&list, 0, sizeof list);
    list.what = FRANCIS_LIST_ACTIVE;
    list.type = "num";
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.id, "b");
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);

    (void)memset(&list, 0, sizeof list);
    list.what = FRANCIS_LIST_HOSTS;
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.host, stats.host_id);
    assert_string_equal(list.item.type, "");
    assert_string_equal(list.item.id, "");
    assert_non_null(list.item.name);
    assert_true(list.item.created_ms >= before && list.item.created_ms <= before + 600000);
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);

    (void)memset(&list, 0, sizeof list);
    list.what = FRANCIS_LIST_TYPES;
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.type, "blob");
    assert_string_equal(list.item.host, stats.host_id);
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.type, "num");
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);
    (void)memset(&list, 0, sizeof list);
    list.what = FRANCIS_LIST_TYPES;
    list.type = "num";
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.type, "num");
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_DONE);
    francis_list_free(&list);
    ta_close();
}

/* Catches: a list in a turn that sees what is not committed, and an expiry that is not told. */
static francis_result list_in_turn(francis_ctx *ctx, void *arg)
{
    francis_list *list = (francis_list *)francis_alloc(ctx, sizeof *list);
    (void)arg;
    if (list == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)francis_state_set(ctx, "changed", 7);
    list->type = "blob";
    list->with_data = true;
    ta_check(francis_list_next(ctx, list) == FRANCIS_OK);
    ta_check(strcmp(list->item.id, "a") == 0 && list->item.size == 11);
    ta_check(list->item.expires_ms == wall_start + 1000);
    ta_check(francis_list_next(ctx, list) == FRANCIS_DONE);
    francis_list_free(list);
    return FRANCIS_OK;
}

static void test_list_in_turn(void **state)
{
    static int64_t ms = 1000;
    (void)state;
    open_expiry();
    t_ok(ta_do("blob", "a", put_and_expire, &ms));
    t_ok(ta_do("blob", "a", list_in_turn, NULL));
    t_ok(ta_do("blob", "b", ta_put, "x"));
    wall_at(1000);
    listed_is("blob", "a", false);
    listed_is("blob", "b", true);
    listed_is("blob", NULL, true);
    ta_close();
}

/* -- where the database is --------------------------------------------------------------------- */

/* Catches: anything that is lost between two lives of the program. */
static void test_reopen(void **state)
{
    int i, round, n = ta_times(50, 20);
    (void)state;
    for (round = 0; round < 4; round++) {
        ta_open(NULL, ta_both);
        for (i = 0; i < n; i++) {
            char id[16], text[32];
            (void)snprintf(id, sizeof id, "%d", i);
            (void)snprintf(text, sizeof text, "round %d", round);
            t_ok(ta_do("num", id, ta_add, NULL));
            assert_int_equal(ta_int(&ta->last), round + 1);
            t_ok(ta_do("blob", id, ta_put, text));
        }
        ta_close();
        assert_int_equal(ta_sql(ta->path, "SELECT count(*) FROM francis_active_actors"), 0);
        assert_int_equal(ta_sql(ta->path, "SELECT count(*) FROM francis_hosts"), 0);
        assert_int_equal(ta_sql(ta->path, "SELECT count(*) FROM francis_actor_state"), 2 * n);
    }
}

/* Catches: a database in memory that is another one for each connection, or a file after all. */
static void test_memory(void **state)
{
    francis_host_desc desc = { .database = ":memory:" };
    francis_list      list = { .what = FRANCIS_LIST_STATES };
    int               i;
    (void)state;
    ta_open(&desc, ta_both);
    for (i = 1; i <= 20; i++) {
        t_ok(ta_do("num", "a", ta_add, NULL));
        assert_int_equal(ta_int(&ta->last), i);
    }
    t_ok(francis_halt(ta->ctx, "num", "a", NULL));
    ta_num_is("num", "a", 20);
    t_ok(francis_state_read(ta->ctx, "num", "a", &ta->last));
    assert_int_equal(ta->last.size, sizeof(ta_number));
    t_ok(francis_list_next(ta->ctx, &list));
    assert_string_equal(list.item.id, "a");
    francis_list_free(&list);
    ta_close();
    assert_int_equal(access(":memory:", F_OK), -1);
    ta_open(&desc, ta_both);
    ta_num_is("num", "a", 0);                               /* it died with its host */
    ta_close();
}

/* Catches: a table that does not carry the prefix, and hosts that find each other's tables. */
static int64_t foreign_tables(const char *path, const char *prefix)
{
    return ta_sql(path,
                  "SELECT count(*) FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_'"
                  " AND substr(name, 1, %d) <> %Q",
                  (int)strlen(prefix), prefix);
}

static void test_prefix(void **state)
{
    francis_host_desc one = { .table_prefix = "one" }, two = { .table_prefix = "Two_2" };
    char              path[512];
    (void)state;
    ta_open(&one, ta_both);
    t_ok(ta_do("num", "a", ta_add, NULL));
    (void)snprintf(path, sizeof path, "%s", ta->path);
    assert_true(ta_sql(path, "SELECT count(*) FROM sqlite_master WHERE type = 'table'") >= 5);
    assert_int_equal(foreign_tables(path, "one_"), 0);
    assert_int_equal(ta_sql(path, "SELECT count(*) FROM one_actor_state"), 1);
    {                                                       /* a second host, beside the first */
        francis_host     *host = NULL;
        francis_host_desc desc = two;
        ta_job            job = { ta_add, NULL };
        char              other[512];
        (void)snprintf(other, sizeof other, "%s", t_database());
        desc.database = other;
        desc.workers = ta_workers;
        host = t_start(&desc, ta_both);
        t_ok(francis_invoke(francis_host_ctx(host), "num", "a", "do", &job, sizeof job, NULL));
        t_ok(francis_invoke(francis_host_ctx(host), "num", "a", "do", &job, sizeof job, NULL));
        assert_int_equal(foreign_tables(other, "Two_2_"), 0);
        assert_int_equal(ta_sql(other, "SELECT count(*) FROM Two_2_actor_state"), 1);
        francis_close(host);
    }
    ta_num_is("num", "a", 1);
    ta_close();
    ta_open(&two, ta_both);                                 /* the same file under another prefix */
    ta_num_is("num", "a", 0);
    ta_close();
    ta_open(&one, ta_both);
    ta_num_is("num", "a", 1);
    ta_close();
    ta->path[0] = '\0';
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_add, NULL));
    assert_int_equal(foreign_tables(ta->path, "francis_"), 0);
    ta_close();
}

/* Catches: a handle of the user's that is closed, changed under his feet, or used when it is not
 * ours. */
static int count_row(void *user, int columns, char **values, char **names)
{
    (void)columns;
    (void)names;
    *(int64_t *)user = values[0] != NULL ? atoll(values[0]) : TA_NONE;
    return 0;
}

static int64_t on_handle(sqlite3 *db, const char *sql)
{
    int64_t value = TA_NONE;
    char   *error = NULL;
    if (sqlite3_exec(db, sql, count_row, &value, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
    return value;
}

static void test_user_handle(void **state)
{
    francis_host_desc desc = { .database = NULL };
    sqlite3          *db = NULL;
    char              path[512];
    int               round;
    (void)state;
    (void)snprintf(path, sizeof path, "%s", t_database());
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                                    SQLITE_OPEN_FULLMUTEX, NULL), SQLITE_OK);
    (void)on_handle(db, "CREATE TABLE visits (n INTEGER)");
    (void)on_handle(db, "INSERT INTO visits VALUES (0)");
    desc.sqlite = db;
    for (round = 1; round <= 3; round++) {
        ta_open(&desc, ta_both);
        t_ok(ta_do("num", "a", ta_add, NULL));
        assert_int_equal(ta_int(&ta->last), round);
        t_ok(ta_do("blob", "a", ta_put, "text"));
        t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
        if (ta_inline()) {                                  /* used inside of francis calls only */
            (void)on_handle(db, "UPDATE visits SET n = n + 1");
            assert_int_equal(on_handle(db, "SELECT count(*) FROM francis_actor_state"),
                             round == 1 ? 2 : 3);
            assert_int_equal(sqlite3_get_autocommit(db), 1);
        }
        t_ok(ta_do("num", "b", ta_add, NULL));
        ta_close();
        assert_int_equal(sqlite3_get_autocommit(db), 1);
        assert_null(sqlite3_next_stmt(db, NULL));           /* nothing of ours is left on it */
    }
    assert_int_equal(on_handle(db, "SELECT n FROM visits"), ta_inline() ? 3 : 0);
    assert_int_equal(on_handle(db, "SELECT count(*) FROM francis_active_actors"), 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    (void)snprintf(ta->path, sizeof ta->path, "%s", path);
    ta_open(NULL, ta_both);                                 /* and it is a file like any other */
    ta_num_is("num", "a", 3);
    ta_close();
}

/* Catches: a commit that becomes part of a transaction of the application's, and is undone with it;
 * a transaction of the application's that is undone by us. */
static void test_user_handle_in_transaction(void **state)
{
    francis_host_desc desc = { .busy_timeout_ms = 50 };
    sqlite3          *db = NULL;
    francis_result    r;
    (void)state;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    desc.sqlite = db;
    ta_open(&desc, ta_both);
    t_ok(ta_do("num", "a", ta_add, NULL));
    (void)on_handle(db, "CREATE TABLE own (n INTEGER)");
    (void)on_handle(db, "BEGIN");
    (void)on_handle(db, "INSERT INTO own VALUES (1)");
    r = ta_do("num", "a", ta_add, NULL);
    assert_int_equal(sqlite3_get_autocommit(db), 0);        /* it goes on, */
    t_result(r, FRANCIS_ERR_LOCKED);
    assert_true(ta->last.error[0] != '\0');
    (void)on_handle(db, "INSERT INTO own VALUES (2)");
    (void)on_handle(db, "ROLLBACK");
    ta_num_is("num", "a", 1);
    (void)on_handle(db, "BEGIN");
    (void)on_handle(db, "INSERT INTO own VALUES (3)");
    t_result(ta_do("num", "cold", ta_add, NULL), FRANCIS_ERR_LOCKED);
    t_result(francis_state_write(ta->ctx, "nobody", "a", "x", 1, 0, NULL), FRANCIS_ERR_LOCKED);
    (void)on_handle(db, "COMMIT");                          /* one way or the other */
    assert_int_equal(on_handle(db, "SELECT n FROM own"), 3);
    t_ok(ta_do("num", "a", ta_add, NULL));
    assert_int_equal(ta_int(&ta->last), 2);
    ta_num_is("num", "cold", 0);
    (void)on_handle(db, "BEGIN");
    (void)on_handle(db, "INSERT INTO own VALUES (4)");
    ta_close();                                             /* takes nothing with it */
    assert_int_equal(sqlite3_get_autocommit(db), 0);
    (void)on_handle(db, "COMMIT");
    assert_int_equal(on_handle(db, "SELECT count(*) FROM own"), 2);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Catches: the same between open and start. */
static void test_user_handle_start_in_transaction(void **state)
{
    francis_host_desc desc = { .busy_timeout_ms = 50 };
    sqlite3          *db = NULL;
    francis_result    r;
    (void)state;
    assert_int_equal(sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                                          SQLITE_OPEN_FULLMUTEX, NULL), SQLITE_OK);
    (void)on_handle(db, "CREATE TABLE own (n INTEGER)");
    desc.sqlite = db;
    ta_desc(&desc);
    t_ok(francis_open(&ta->host, &ta->desc));
    (void)on_handle(db, "BEGIN");
    (void)on_handle(db, "INSERT INTO own VALUES (1)");
    r = francis_start(ta->host);
    assert_int_equal(sqlite3_get_autocommit(db), 0);        /* it goes on */
    t_result(r, FRANCIS_ERR_LOCKED);
    (void)on_handle(db, "COMMIT");
    assert_int_equal(on_handle(db, "SELECT count(*) FROM own"), 1);
    ta_close();
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Catches: a handle in the middle of something that is taken all the same. */
static void test_user_handle_busy(void **state)
{
    sqlite3          *db = NULL;
    sqlite3_stmt     *statement = NULL;
    francis_host     *host = NULL;
    francis_host_desc desc = { .on_log = t_log_sink };
    francis_result    r;
    (void)state;
    desc.log_user = &ta->log;
    desc.workers = ta_workers;
    assert_int_equal(sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                                          SQLITE_OPEN_FULLMUTEX, NULL), SQLITE_OK);
    desc.sqlite = db;
    (void)on_handle(db, "CREATE TABLE own (n INTEGER); INSERT INTO own VALUES (1), (2)");
    (void)on_handle(db, "BEGIN");
    r = francis_open(&host, &desc);
    assert_int_not_equal(r, FRANCIS_OK);
    assert_non_null(strstr(francis_host_error(host), "transaction"));
    t_result(francis_start(host), r);
    francis_close(host);
    (void)on_handle(db, "COMMIT");
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT n FROM own", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    r = francis_open(&host, &desc);
    assert_int_not_equal(r, FRANCIS_OK);
    assert_non_null(strstr(francis_host_error(host), "statement"));
    francis_close(host);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);  /* which it left alone */
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    t_ok(francis_open(&host, &desc));
    francis_close(host);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Catches: a connection that is opened past the user's function, or with flags that are none; a
 * failure of his that is taken for a success, or loses its code. */
static struct {
    atomic_int     calls;
    francis_result answer;
    const char    *path;
} opener;

static francis_result open_database(sqlite3 **db_out, const char *database, int flags, void *user)
{
    ta_check(user == &opener);
    ta_check(database != NULL && strcmp(database, opener.path) == 0);
    ta_check((flags & (SQLITE_OPEN_READWRITE | SQLITE_OPEN_READONLY)) != 0);
    (void)atomic_fetch_add(&opener.calls, 1);
    if (opener.answer != FRANCIS_OK)
        return opener.answer;
    if (sqlite3_open_v2(database, db_out, flags, NULL) != SQLITE_OK)
        return FRANCIS_ERR_STORAGE;
    (void)sqlite3_exec(*db_out, "PRAGMA user_version = 4711", NULL, NULL, NULL);
    return FRANCIS_OK;
}

static void test_on_database(void **state)
{
    francis_host_desc desc = { .on_database = open_database, .database_user = &opener };
    francis_host     *host = NULL;
    char              path[512];
    (void)state;
    (void)snprintf(path, sizeof path, "%s", t_database());
    desc.database = path;
    opener.path = path;
    opener.answer = FRANCIS_OK;
    atomic_store(&opener.calls, 0);
    ta_open(&desc, ta_both);
    assert_true(atomic_load(&opener.calls) >= 1);
    t_ok(ta_do("num", "a", ta_add, NULL));
    t_ok(francis_state_read(ta->ctx, "num", "a", &ta->last));
    ta_close();
    assert_int_equal(ta_sql(path, "PRAGMA user_version"), 4711);
    assert_int_equal(ta_stored_n("num", "a"), 1);

    desc.on_log = t_log_sink;
    desc.log_user = &ta->log;
    desc.workers = ta_workers;
    opener.answer = FRANCIS_ERR_USER + 3;                   /* wrong key, say */
    t_result(francis_open(&host, &desc), FRANCIS_ERR_USER + 3);
    assert_true(francis_host_error(host)[0] != '\0');
    t_result(francis_start(host), FRANCIS_ERR_USER + 3);
    francis_close(host);
}

static const struct CMUnitTest tests[] = {
    TA_BOTH(test_struct_grows),
    TA_BOTH(test_struct_shrinks),
    TA_BOTH(test_upgrade),
    TA_BOTH(test_upgrade_smaller),
    TA_BOTH(test_upgrade_bytes),
    TA_BOTH(test_bytes),
    TA_BOTH(test_delete_struct),
    TA_BOTH(test_bytes_sizes),
    TA_BOTH(test_expiry),
    TA_BOTH(test_expiry_stays),
    TA_BOTH(test_expiry_clock_goes_back),
    TA_BOTH(test_expiry_in_turn),
    TA_BOTH(test_expiry_from_outside),
    TA_BOTH(test_sweep),
    TA_INLINE(test_sweep_after_clock_step),
    TA_INLINE(test_sweep_after_boot),
    TA_INLINE(test_sweep_off),
    TA_BOTH(test_read),
    TA_BOTH(test_write),
    TA_BOTH(test_write_is_a_turn),
    TA_BOTH(test_write_in_turn),
    TA_BOTH(test_unserved),
    TA_BOTH(test_purge),
    TA_BOTH(test_list_pages),
    TA_BOTH(test_list_order),
    TA_BOTH(test_list_beside_changes),
    TA_BOTH(test_list_refusals),
    TA_BOTH(test_list_active_hosts_types),
    TA_BOTH(test_list_in_turn),
    TA_BOTH(test_reopen),
    TA_BOTH(test_memory),
    TA_BOTH(test_prefix),
    TA_BOTH(test_user_handle),
    TA_INLINE(test_user_handle_in_transaction),
    TA_BOTH(test_user_handle_start_in_transaction),
    TA_BOTH(test_user_handle_busy),
    TA_BOTH(test_on_database),
};

TA_MAIN(tests)
