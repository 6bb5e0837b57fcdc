/* The lowest layers, each function by itself: memory with a limit, the codec at the edges of its
 * forms, waiting for ever and for no time, and what of two alarms is compared. */
#define FRANCIS_IMPLEMENTATION
#include "support/layers.h"

#include <poll.h>

/* ---- memory ---- */

/* Would catch: a limit that forbids to shrink, a size that wraps around to a small block. */
static void test_memory_limit(void **state)
{
    base *b = base_new();
    void *p, *q;
    (void)state;
    assert_null(frn_buf_new(&b->mem, SIZE_MAX));
    assert_null(frn_buf_new(&b->mem, SIZE_MAX - sizeof(frn_buf)));
    assert_int_equal(b->mem.used, 0);
    b->mem.max = 1000;
    p = frn_mem_alloc(&b->mem, 900);
    assert_non_null(p);
    assert_null(frn_mem_alloc(&b->mem, 200));
    assert_int_equal(b->mem.used, 900);
    q = frn_mem_resize(&b->mem, p, 900, 800);   /* both count while it is copied */
    assert_non_null(q);
    assert_int_equal(b->mem.used, 800);
    assert_null(frn_mem_resize(&b->mem, q, 800, 1001));
    assert_int_equal(b->mem.used, 800);
    frn_mem_free(&b->mem, q, 800);
    assert_int_equal(b->mem.used, 0);
    base_free(b);
}

/* ---- the codec ---- */

static frn_unpack opened(const frn_buf *b)
{
    frn_unpack u = { (const unsigned char *)FRN_BYTES(b), NULL, false };
    u.end = u.at + b->size;
    return u;
}

/* Would catch: a number that changes on its way, or takes more bytes than the protocol says. */
static void test_numbers(void **state)
{
    static const struct {
        int64_t value;
        size_t  size;
    } list[] = { { 0, 1 }, { 127, 1 }, { 128, 2 }, { 255, 2 }, { 256, 3 }, { 65535, 3 },
                 { 65536, 5 }, { UINT32_MAX, 5 }, { INT64_C(4294967296), 9 }, { INT64_MAX, 9 },
                 { -1, 1 }, { -32, 1 }, { -33, 9 }, { INT64_MIN, 9 } };
    base *b = base_new();
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        frn_pack   p;
        frn_buf   *buf;
        frn_unpack u;
        frn_pack_init(&p, &b->mem);
        frn_pack_int(&p, list[i].value);
        buf = frn_pack_end(&p);
        assert_int_equal(buf->size, list[i].size);
        u = opened(buf);
        assert_true(frn_unpack_int(&u) == list[i].value);
        assert_false(u.bad);
        for (size_t cut = 0; cut < buf->size; cut++) {
            u = opened(buf);
            u.end = u.at + cut;
            (void)frn_unpack_int(&u);
            assert_true(u.bad);
        }
        frn_buf_drop(&b->mem, buf);
    }
    base_free(b);
}

/* Would catch: a number above INT64_MAX that becomes a negative one. */
static void test_large_numbers(void **state)
{
    static const unsigned char text[] = { 0xa1, 'x' };
    base      *b = base_new();
    frn_pack   p;
    frn_buf   *buf;
    frn_unpack u;
    (void)state;
    frn_pack_init(&p, &b->mem);
    frn_pack_uint(&p, UINT64_MAX);
    buf = frn_pack_end(&p);
    u = opened(buf);
    assert_true(frn_unpack_uint(&u) == UINT64_MAX);
    assert_false(u.bad);
    u = opened(buf);
    assert_true(frn_unpack_int(&u) == 0);
    assert_true(u.bad);
    assert_true(frn_unpack_uint(&u) == 0);      /* once bad, always bad */
    assert_true(u.bad);
    u.at = text;
    u.end = text + sizeof text;
    u.bad = false;
    assert_true(frn_unpack_uint(&u) == 0);
    assert_true(u.bad);
    frn_buf_drop(&b->mem, buf);
    base_free(b);
}

/* Would catch: a text of one of the forms that is cut, or runs over its buffer; a NUL inside. */
static void test_texts(void **state)
{
    static const size_t sizes[] = { 0, 1, 31, 32, 255, 256, 257, 1000, 5000 };
    static char         text[5001], out[5001];
    base *b = base_new();
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t     n = sizes[i];
        frn_pack   p;
        frn_buf   *buf;
        frn_unpack u;
        memset(text, 'x', n);
        text[n] = '\0';
        frn_pack_init(&p, &b->mem);
        frn_pack_text(&p, text);
        frn_pack_text(&p, NULL);
        buf = frn_pack_end(&p);
        u = opened(buf);
        frn_unpack_text(&u, out, n + 1);
        assert_string_equal(out, text);
        memset(out, 'y', 5);
        frn_unpack_text(&u, out, 5);
        assert_string_equal(out, "");
        assert_false(u.bad);
        assert_true(u.at == u.end);
        u = opened(buf);                        /* no room for the NUL */
        frn_unpack_text(&u, out, n > 0 ? n : 1);
        assert_int_equal(u.bad, n > 0);
        u = opened(buf);
        u.end -= 2;                             /* not all of it is there */
        frn_unpack_text(&u, out, n + 1);
        assert_true(u.bad || n == 0);
        if (n > 0) {
            u = opened(buf);
            ((unsigned char *)FRN_BYTES(buf))[buf->size - 2] = '\0';
            frn_unpack_text(&u, out, n + 1);
            assert_true(u.bad);
            assert_string_equal(out, "");
        }
        frn_buf_drop(&b->mem, buf);
    }
    base_free(b);
}

/* Would catch: a number of items that nobody wanted to allow, another tag taken for an array. */
static void test_arrays(void **state)
{
    static const size_t counts[] = { 0, 15, 16, 65535 };
    base *b = base_new();
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        frn_pack   p;
        frn_buf   *buf;
        frn_unpack u;
        frn_pack_init(&p, &b->mem);
        frn_pack_array(&p, counts[i]);
        frn_pack_text(&p, "x");
        buf = frn_pack_end(&p);
        u = opened(buf);
        assert_int_equal(frn_unpack_array(&u, 65535), counts[i]);
        assert_false(u.bad);
        assert_int_equal(frn_unpack_array(&u, 65535), 0);
        assert_true(u.bad);
        if (counts[i] > 0) {
            u = opened(buf);
            assert_int_equal(frn_unpack_array(&u, counts[i] - 1), 0);
            assert_true(u.bad);
        }
        frn_buf_drop(&b->mem, buf);
    }
    base_free(b);
}

/* What is packed grows beyond the first piece in steps, or in one that is larger than a step; when
 * there is no memory for that, the end says so and nothing is left. */
static void test_pack_grows(void **state)
{
    static char bytes[10000];
    base    *b = base_new();
    frn_pack p;
    frn_buf *buf;
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    frn_pack_init(&p, &b->mem);
    for (size_t i = 0; i < sizeof bytes; i += 100)
        frn_pack_bytes(&p, bytes + i, 100);
    buf = frn_pack_end(&p);
    assert_int_equal(buf->size, sizeof bytes);
    assert_memory_equal(FRN_BYTES(buf), bytes, sizeof bytes);
    frn_buf_drop(&b->mem, buf);

    frn_pack_bytes(&p, bytes, 10);
    frn_pack_bytes(&p, bytes + 10, sizeof bytes - 10);
    buf = frn_pack_end(&p);
    assert_memory_equal(FRN_BYTES(buf), bytes, sizeof bytes);
    frn_buf_drop(&b->mem, buf);

    b->mem.max = 600;
    frn_pack_bytes(&p, bytes, 500);
    frn_pack_bytes(&p, bytes, 500);             /* fails */
    frn_pack_bytes(&p, bytes, 1);
    assert_null(frn_pack_end(&p));
    assert_int_equal(b->mem.used, 0);
    base_free(b);
}

/* ---- waiting ---- */

/* Would catch: a wait for ever that is one for no time, or one that does not see what is ready. */
static void test_poll(void **state)
{
    static const int64_t times[] = { 0, 1, FRN_MS, INT64_C(86400000) * FRN_MS,
                                     INT64_C(86400001) * FRN_MS, FRN_NEVER };
    base         *b = base_new();
    int           fds[2];
    struct pollfd ready;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        ready.fd = fds[0];
        ready.events = POLLIN;
        ready.revents = 0;
        assert_int_equal(frn_plat_poll(&b->plat, &ready, 1, times[i]), 1);
        assert_int_equal(ready.revents, POLLIN);
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
    base_free(b);
}

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t  cond;
    bool            waits, told;
} meeting;

static void *tell(void *arg)
{
    meeting *m = (meeting *)arg;
    (void)pthread_mutex_lock(&m->lock);
    while (!m->waits) {
        (void)pthread_mutex_unlock(&m->lock);
        t_yield();
        (void)pthread_mutex_lock(&m->lock);
    }
    m->told = true;
    (void)pthread_cond_signal(&m->cond);
    (void)pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* Would catch: a wait of no time, or of a negative one, that hangs; one of almost for ever that is
 * over at once. */
static void test_cond_wait(void **state)
{
    static const int64_t long_times[] = { FRN_NEVER, FRN_NEVER - 1 };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        meeting   m = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false };
        pthread_t thread;
        assert_true(frn_cond_init(&m.cond));
        (void)pthread_mutex_lock(&m.lock);
        frn_cond_wait(&m.cond, &m.lock, 0);
        frn_cond_wait(&m.cond, &m.lock, -5);
        assert_int_equal(pthread_create(&thread, NULL, tell, &m), 0);
        m.waits = true;
        while (!m.told)
            frn_cond_wait(&m.cond, &m.lock, long_times[i]);
        (void)pthread_mutex_unlock(&m.lock);
        (void)pthread_join(thread, NULL);
        (void)pthread_cond_destroy(&m.cond);
    }
}

/* ---- alarms ---- */

/* Would catch: an alarm that is taken for unchanged although one of its properties is another. */
static void test_alarm_same(void **state)
{
    static const char *const texts[] = { "type", "actor", "name", "method", "PT1S" };
    static const char *const other[] = { "type", "actor", "name", "method", "PT2S" };
    base     *b = base_new();
    frn_alarm x, y;
    (void)state;
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    assert_true(frn_alarm_set_texts(&b->mem, &x, texts));
    assert_true(frn_alarm_set_texts(&b->mem, &y, texts));
    assert_true(frn_alarm_same(&x, &y));
    y.anchor_ms = 1;
    assert_false(frn_alarm_same(&x, &y));
    y.anchor_ms = 0;
    y.until_ms = 1;
    assert_false(frn_alarm_same(&x, &y));
    y.until_ms = 0;
    y.missed = FRANCIS_MISSED_SKIP;
    assert_false(frn_alarm_same(&x, &y));
    y.missed = FRANCIS_MISSED_ONCE;
    y.missed_max = 1;
    assert_false(frn_alarm_same(&x, &y));
    y.missed_max = 0;
    y.wait_for_clock = true;
    assert_false(frn_alarm_same(&x, &y));
    y.wait_for_clock = false;
    y.data = frn_buf_copy(&b->mem, "", 0);
    assert_true(frn_alarm_same(&x, &y));        /* no bytes are like none */
    x.data = frn_buf_copy(&b->mem, "ab", 2);
    assert_false(frn_alarm_same(&x, &y));
    frn_buf_drop(&b->mem, y.data);
    y.data = frn_buf_copy(&b->mem, "ac", 2);
    assert_false(frn_alarm_same(&x, &y));
    frn_buf_drop(&b->mem, y.data);
    y.data = frn_buf_copy(&b->mem, "ab", 2);
    assert_true(frn_alarm_same(&x, &y));
    frn_buf_drop(&b->mem, y.texts);
    assert_true(frn_alarm_set_texts(&b->mem, &y, other));
    assert_false(frn_alarm_same(&x, &y));
    frn_alarm_clear(&b->mem, &x);
    frn_alarm_clear(&b->mem, &y);
    base_free(b);
}

/* Would catch: two alarms of different actors, types or names that are taken for one. */
static void test_alarm_key(void **state)
{
    static const char *const texts[] = { "a", "b", "c", "", "" };
    base     *b = base_new();
    frn_alarm x, y;
    (void)state;
    memset(&x, 0, sizeof x);
    assert_true(frn_alarm_set_texts(&b->mem, &x, texts));
    for (int i = 0; i < FRN_TEXTS; i++) {
        const char *changed[FRN_TEXTS];
        bool        key = i == FRN_TEXT_TYPE || i == FRN_TEXT_ACTOR || i == FRN_TEXT_NAME;
        memcpy(changed, texts, sizeof changed);
        changed[i] = "z";
        memset(&y, 0, sizeof y);
        assert_true(frn_alarm_set_texts(&b->mem, &y, changed));
        assert_int_equal(frn_alarm_same_key(&x, &y), !key);
        frn_alarm_clear(&b->mem, &y);
    }
    frn_alarm_clear(&b->mem, &x);
    base_free(b);
}

/* Would catch: a name that somebody else has given, and that is taken for a request id. */
static void test_names_and_ids(void **state)
{
    (void)state;
    assert_true(frn_job_is_keyed("/key"));
    assert_false(frn_job_is_keyed("//019c0000"));
    assert_false(frn_job_is_keyed("/"));
    assert_false(frn_job_is_keyed("key"));
    assert_false(frn_job_is_keyed(""));

    assert_true(frn_repeat_is_cron("0 9 * * 1-5"));
    assert_true(frn_repeat_is_cron("TZ=Europe/Rome 0 9 * * *"));
    assert_false(frn_repeat_is_cron("TZ=Europe/Rome P1D"));
    assert_true(frn_repeat_is_cron("TZ=Europe/Rome"));
    assert_false(frn_repeat_is_cron("PT1S"));
    assert_false(frn_repeat_is_cron(""));

    assert_int_equal(frn_uuid_time("0199a8b4-c5d6-7abc-8def-0123456789ab"), 0x0199a8b4c5d6);
    assert_int_equal(frn_uuid_time("0199a8b4-c5d6-4abc-8def-0123456789ab"), 0);     /* random */
    assert_int_equal(frn_uuid_time("0199a8b4-c5dx-7abc-8def-0123456789ab"), 0);
    assert_int_equal(frn_uuid_time("0199a8b4-c5d6-7abc-8def-0123456789a"), 0);
    assert_int_equal(frn_uuid_time("0199a8b4-c5d6-7abc-8def-0123456789abc"), 0);
    assert_int_equal(frn_uuid_time(""), 0);
}

/* Would catch: an id made of what the random source left in the buffer when it failed. */
static void test_uuid_without_random(void **state)
{
    base *b = base_new();
    char  id[FRN_UUID_SIZE];
    (void)state;
    assert_true(frn_uuid_make(&b->plat, id));
    assert_int_equal(strlen(id), FRN_UUID_SIZE - 1);
    b->no_random = true;
    assert_false(frn_uuid_make(&b->plat, id));
    base_free(b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_large_numbers),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_pack_grows),
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_cond_wait),
        cmocka_unit_test(test_alarm_same),
        cmocka_unit_test(test_alarm_key),
        cmocka_unit_test(test_names_and_ids),
        cmocka_unit_test(test_uuid_without_random),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
