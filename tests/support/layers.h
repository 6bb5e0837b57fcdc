/* For tests of the layers below the runtime, in programs that contain the implementation: a world
 * whose clocks the test moves, an account of its memory, what it logs, and identities.
 *
 *     #define FRANCIS_IMPLEMENTATION
 *     #include "support/layers.h"
 *     base *b = base_new();
 *     frn_identity *i = base_identity(b, key, NULL, "host-1");
 *     ...
 *     base_free(b);                everything given back, or the test fails */
#ifndef LAYERS_H
#define LAYERS_H

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function" /* no program uses all of a layer */
#endif

#include "francis.h"

#include "t.h"

#include "fault_alloc.h"

static const char cluster_key[] = "a key of the cluster, long enough to be one";
static const char other_key[] = "another key that is also long enough to be one";

typedef struct base {
    fault_alloc memory;
    frn_mem     mem;
    frn_plat    plat;
    frn_logger  log;
    t_log       seen;
    int64_t     ahead_ns, ahead_ms;     /* of the real clocks */
    int64_t     wall_ms;                /* if not 0: stands still there */
    bool        no_random;
    unsigned char next_random[FRN_SEED_BYTES];
    bool        use_next;               /* the next such many bytes are these */
} base;

static int64_t base_now_ns(void *user)
{
    return frn_plat_clock(CLOCK_MONOTONIC) + FRN_LOAD(&((base *)user)->ahead_ns);
}

static int64_t base_wall_ms(void *user)
{
    base *b = (base *)user;
    return b->wall_ms != 0 ? b->wall_ms : frn_plat_clock(CLOCK_REALTIME) / FRN_MS + b->ahead_ms;
}

static int base_random(void *data, size_t size, void *user)
{
    base    *b = (base *)user;
    frn_plat real;

    if (b->no_random)
        return -1;
    if (b->use_next && size == sizeof b->next_random) {
        memcpy(data, b->next_random, size);
        b->use_next = false;
        return 0;
    }
    memset(&real, 0, sizeof real);
    return frn_plat_random(&real, data, size) ? 0 : -1;
}

static base *base_new(void)
{
    base *b = (base *)calloc(1, sizeof *b);

    assert_non_null(b);
    fault_alloc_init(&b->memory);
    b->mem.fn = fault_alloc_fn;
    b->mem.user = &b->memory;
    (void)pthread_mutex_init(&b->mem.lock, NULL);
    b->plat.hooks.version = 1;
    b->plat.hooks.monotonic_ns = base_now_ns;
    b->plat.hooks.wall_ms = base_wall_ms;
    b->plat.hooks.random = base_random;
    b->plat.hooks.user = b;
    b->log.mem = &b->mem;
    b->log.plat = &b->plat;
    b->log.sink = t_log_sink;
    b->log.user = &b->seen;
    b->log.level = FRANCIS_LOG_DEBUG;
    b->log.name = "";
    b->log.last = &b->log.first;
    (void)pthread_mutex_init(&b->log.lock, NULL);
    (void)pthread_mutex_init(&b->seen.lock, NULL);
    return b;
}

static void base_free(base *b)
{
    const char *wrong;

    frn_log_flush(&b->log);
    wrong = fault_alloc_check(&b->memory);
    if (wrong != NULL)
        fail_msg("%s", wrong);
    assert_true(b->mem.used == 0);
    free(b);
}

static frn_trust *base_trust(base *b, const char *key, const char *old)
{
    frn_trust     *t = NULL;
    char           error[200] = "";
    francis_result r = frn_trust_new(&b->mem, &b->plat, key, old, &t, error, sizeof error);

    if (r != FRANCIS_OK)
        fail_msg("no trust: %s", error);
    return t;
}

/* Of one that keeps its trust alone. */
static frn_identity *base_identity(base *b, const char *key, const char *old, const char *id)
{
    frn_trust     *t = base_trust(b, key, old);
    frn_identity  *i = NULL;
    char           error[200] = "";
    francis_result r = frn_identity_new(t, id, FRANCIS_HOURS(24), &i, error, sizeof error);

    if (r != FRANCIS_OK)
        fail_msg("no identity: %s", error);
    frn_trust_free(t);
    return i;
}

#endif
