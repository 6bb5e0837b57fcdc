/* What the fuzzers have found worth keeping, replayed without one: each input of the corpora, and
 * beginnings of it, and some with one byte changed. A line of hexadecimal digits is an input. */
#define FRANCIS_IMPLEMENTATION
#include "fuzz/fuzz.h"

enum { INPUT_MAX = 4096 };

static size_t input_of(const char *line, uint8_t *out)
{
    size_t   size = 0;
    unsigned byte;

    while (size < INPUT_MAX && sscanf(line + 2 * size, "%2x", &byte) == 1)
        out[size++] = (uint8_t)byte;
    return size;
}

/* In memory of just its size, so that a sanitizer sees what is read beyond it. */
static void run(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    uint8_t *copy = (uint8_t *)malloc(size + (size == 0));

    assert_non_null(copy);
    memcpy(copy, data, size);
    fuzz_run(target, copy, size);
    free(copy);
}

/* Also one of so many beginnings, and of so many bytes one that is changed; which ones, the number
 * of the input decides. 0 = none. */
static void run_around(const struct fuzz_target *target, uint8_t *data, size_t size, size_t number,
                       size_t every)
{
    run(target, data, size);
    for (size_t i = every > 0 ? number % every : size; i < size; i += every) {
        uint8_t was = data[i];
        run(target, data, i);
        data[i] = (uint8_t)(was ^ (1u << i % 8));
        run(target, data, size);
        data[i] = (uint8_t)(0xff - was);
        run(target, data, size);
        data[i] = was;
    }
}

static void replay(const char *name, size_t least, size_t every)
{
    static char line[2 * INPUT_MAX + 2];
    uint8_t     data[INPUT_MAX];
    char        path[100];
    FILE       *f;
    size_t      count = 0;

    (void)snprintf(path, sizeof path, "tests/fuzz/corpus/%s.hex", name);
    f = fopen(path, "r");
    if (f == NULL) {
        fail_msg("%s: %s (run from the top of the project)", path, strerror(errno));
        return;
    }
    for (; fgets(line, sizeof line, f) != NULL; count++)
        run_around(fuzz_find(name), data, input_of(line, data), count, every);
    (void)fclose(f);
    if (count < least)
        fail_msg("%s has %zu inputs", path, count);
}

static void frames(void **state)
{
    (void)state;
    replay("frames", 100, 2);
}

static void codec(void **state)
{
    (void)state;
    replay("codec", 50, 2);
}

static void handshake(void **state)
{
    (void)state;
    replay("handshake", 40, 200);
}

static void keys_of(void **state)
{
    (void)state;
    replay("keys", 30, 500);
}

static void schedule(void **state)
{
    (void)state;
    replay("schedule", 150, 4);
}

static void stored_rows(void **state)
{
    (void)state;
    replay("rows", 50, 200);
}

static void public_calls(void **state)
{
    (void)state;
    replay("calls", 150, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(frames),   cmocka_unit_test(codec),    cmocka_unit_test(handshake),
    cmocka_unit_test(keys_of),  cmocka_unit_test(schedule), cmocka_unit_test(stored_rows),
    cmocka_unit_test(public_calls),
};

static int free_all(void **state)
{
    (void)state;
    fuzz_identities_free();
    fuzz_images_free();
    return 0;
}

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, free_all);
}
