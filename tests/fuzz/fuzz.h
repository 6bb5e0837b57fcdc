/* What strangers, members, users and damaged files may bring, as functions of bytes that somebody
 * else makes up: a fuzzer (./build.sh fuzz) or the corpora (tests/test_fuzz.c). fuzz_targets lists
 * them, each is in a file of its own beside this one. The bytes decide all that happens: clocks
 * stand still unless they move them, and what should be random follows from nothing else.
 *
 * A fault traps; so do the assertions of the library, which are compiled in. */
#ifndef FUZZ_H
#define FUZZ_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1
#endif
#include <mbedtls/ssl.h>
#include <time.h>

typedef enum fuzz_name {
    FUZZ_NONE, FUZZ_FRAMES, FUZZ_CODEC, FUZZ_HANDSHAKE, FUZZ_KEYS, FUZZ_SCHEDULE, FUZZ_ROWS,
    FUZZ_CALLS
} fuzz_name;

static fuzz_name fuzz_running;      /* which of them */

/* Of the planted bugs (canaries.txt), so that each is there for its own target only. */
#define FUZZ_IN(name) (fuzz_running == FUZZ_##name)

/* mbedTLS mixes the time into its random numbers. */
time_t time(time_t *out)
{
    const time_t now = 1893456000;  /* 2030 */
    if (out != NULL)
        *out = now;
    return now;
}

/* Of TLS some targets leave out all but the bytes. */
static int         fuzz_ssl_read(mbedtls_ssl_context *ssl, unsigned char *data, size_t size);
static int         fuzz_ssl_write(mbedtls_ssl_context *ssl, const unsigned char *data, size_t size);
static int         fuzz_ssl_bye(mbedtls_ssl_context *ssl);
static const char *fuzz_ssl_protocol(const mbedtls_ssl_context *ssl);

static int real_ssl_read(mbedtls_ssl_context *ssl, unsigned char *data, size_t size)
{
    return FUZZ_IN(FRAMES) ? fuzz_ssl_read(ssl, data, size) : mbedtls_ssl_read(ssl, data, size);
}

static int real_ssl_write(mbedtls_ssl_context *ssl, const unsigned char *data, size_t size)
{
    return FUZZ_IN(FRAMES) ? fuzz_ssl_write(ssl, data, size) : mbedtls_ssl_write(ssl, data, size);
}

static int real_ssl_bye(mbedtls_ssl_context *ssl)
{
    return FUZZ_IN(FRAMES) ? fuzz_ssl_bye(ssl) : mbedtls_ssl_close_notify(ssl);
}

static const char *real_ssl_protocol(const mbedtls_ssl_context *ssl)
{
    return FUZZ_IN(KEYS) ? fuzz_ssl_protocol(ssl) : mbedtls_ssl_get_alpn_protocol(ssl);
}

#define mbedtls_ssl_read real_ssl_read
#define mbedtls_ssl_write real_ssl_write
#define mbedtls_ssl_close_notify real_ssl_bye
#define mbedtls_ssl_get_alpn_protocol real_ssl_protocol

#undef FRANCIS_DEBUG
#define FRANCIS_DEBUG 1
#define FRANCIS_SIM
#include "../support/layers.h"

#define fuzz_must(c) ((c) ? (void)0 : __builtin_trap())

/* ---- the input ---- */

static struct {                     /* what is still to be made something of */
    const uint8_t *at, *end;
} fuzz_in;

static size_t fuzz_left(void) { return (size_t)(fuzz_in.end - fuzz_in.at); }

static unsigned fuzz_byte(void) { return fuzz_in.at < fuzz_in.end ? *fuzz_in.at++ : 0u; }

static unsigned fuzz_16(void)
{
    unsigned high = fuzz_byte();
    return high << 8 | fuzz_byte();
}

static int64_t fuzz_64(void)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | fuzz_byte();
    return (int64_t)v;
}

/* At most so many bytes of what is left. */
static const uint8_t *fuzz_take(size_t want, size_t *size)
{
    const uint8_t *at = fuzz_in.at;

    *size = want < fuzz_left() ? want : fuzz_left();
    fuzz_in.at += *size;
    return at;
}

/* A text of at most so many bytes, without NUL, in memory of just its size. The caller frees it. */
static char *fuzz_text(size_t want)
{
    size_t         size;
    const uint8_t *at = fuzz_take(want, &size);
    char          *text = (char *)malloc(size + 1);

    fuzz_must(text != NULL);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)(at[i] != 0 ? at[i] : ' ');
    text[size] = '\0';
    return text;
}

/* ---- a world without time and chance ---- */

enum { FUZZ_BOOT_S = 100000 };

static uint64_t fuzz_chance;

static int64_t fuzz_now_ns(void *user)
{
    return FUZZ_BOOT_S * 1000 * FRN_MS + FRN_LOAD(&((base *)user)->ahead_ns);
}

static int64_t fuzz_wall_ms(void *user)
{
    const base *b = (const base *)user;
    return INT64_C(1893456000000) + b->ahead_ms;
}

static int fuzz_random(void *data, size_t size, void *user)
{
    unsigned char *out = (unsigned char *)data;

    (void)user;
    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)(frn_sim_next(&fuzz_chance) >> 32);
    return 0;
}

/* One for a run with this input. */
static base *fuzz_base_new(const uint8_t *data, size_t size)
{
    base *b = base_new();

    b->plat.hooks.monotonic_ns = fuzz_now_ns;
    b->plat.hooks.wall_ms = fuzz_wall_ms;
    b->plat.hooks.random = fuzz_random;
    fuzz_chance = 1;
    fuzz_in.at = data;
    fuzz_in.end = data + size;
    return b;
}

#include "identities.h"

#include "frames.h"

#include "codec.h"

#include "handshake.h"

#include "keys.h"

#include "rows.h"

#include "calls.h"

#include "schedule.h"

/* ---- all of them ---- */

static const struct fuzz_target {
    const char *name;
    fuzz_name   number;
    void      (*run)(const uint8_t *data, size_t size);
} fuzz_targets[] = {
    { "frames", FUZZ_FRAMES, fuzz_frames },
    { "codec", FUZZ_CODEC, fuzz_codec },
    { "handshake", FUZZ_HANDSHAKE, fuzz_handshake },
    { "keys", FUZZ_KEYS, fuzz_keys },
    { "schedule", FUZZ_SCHEDULE, fuzz_schedule },
    { "rows", FUZZ_ROWS, fuzz_rows },
    { "calls", FUZZ_CALLS, fuzz_calls },
};

static const struct fuzz_target *fuzz_find(const char *name)
{
    for (size_t i = 0; i < FRN_COUNT(fuzz_targets); i++)
        if (strcmp(fuzz_targets[i].name, name) == 0)
            return &fuzz_targets[i];
    return NULL;
}

static void fuzz_run(const struct fuzz_target *t, const uint8_t *data, size_t size)
{
    static uint8_t none[1];

    fuzz_running = t->number;
    t->run(size == 0 ? none : data, size);
    fuzz_running = FUZZ_NONE;
}

#endif
