/* The fuzzer's entry: FUZZ_TARGET=frames fuzz -runs=1000 */
#define FRANCIS_IMPLEMENTATION
#include "fuzz.h"

const char *__asan_default_options(void);
int         LLVMFuzzerInitialize(int *argc, char ***argv);
int         LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_target *target;

/* Each run frees all that it has: there is no use in keeping it for long. */
const char *__asan_default_options(void) { return "quarantine_size_mb=8:malloc_context_size=8"; }

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("FUZZ_TARGET");

    (void)argc;
    (void)argv;
    target = name != NULL ? fuzz_find(name) : NULL;
    if (target != NULL)
        return 0;
    fprintf(stderr, "FUZZ_TARGET: there is no such target\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_run(target, data, size);
    return 0;
}
