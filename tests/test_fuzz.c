/* What the fuzzers have found worth keeping, replayed without one: each input of the corpus, each
 * beginning of it, and each with one byte changed. A line of hexadecimal digits is an input. */
#define FRANCIS_IMPLEMENTATION
#include "fuzz/fuzz.h"

typedef void fuzz_target(const uint8_t *data, size_t size);

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
static void run(fuzz_target *target, const uint8_t *data, size_t size)
{
    uint8_t *copy = (uint8_t *)malloc(size + (size == 0));

    assert_non_null(copy);
    memcpy(copy, data, size);
    target(copy, size);
    free(copy);
}

static void run_around(fuzz_target *target, uint8_t *data, size_t size)
{
    run(target, data, size);
    for (size_t i = 0; i < size; i++)
        run(target, data, i);
    for (size_t i = 0; i < size; i++) {
        uint8_t was = data[i];
        data[i] = (uint8_t)(was ^ (1u << i % 8));
        run(target, data, size);
        data[i] = (uint8_t)(0xff - was);
        run(target, data, size);
        data[i] = was;
    }
}

static void replay(const char *path, fuzz_target *target, size_t least)
{
    static char line[2 * INPUT_MAX + 2];
    uint8_t     data[INPUT_MAX];
    FILE       *f = fopen(path, "r");
    size_t      count = 0;

    if (f == NULL) {
        fail_msg("%s: %s (run from the top of the project)", path, strerror(errno));
        return;
    }
    for (; fgets(line, sizeof line, f) != NULL; count++)
        run_around(target, data, input_of(line, data));
    (void)fclose(f);
    if (count < least)
        fail_msg("%s has %zu inputs", path, count);
}

static void frames(void **state)
{
    (void)state;
    replay("tests/fuzz/corpus/frames.hex", fuzz_frames, 20);
    frn_identity_drop(fuzz_identity);
    base_free(fuzz_base);
}

static void codec(void **state)
{
    (void)state;
    replay("tests/fuzz/corpus/codec.hex", fuzz_codec, 15);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(frames),
    cmocka_unit_test(codec),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
