/* Certificates and ends of connections where they seldom get: dates beyond what a certificate can
 * say, one that is too large, flags that mbedTLS has of its own, and the records of a simulation,
 * which come in pieces. */
#define FRANCIS_SIM
#define FRANCIS_IMPLEMENTATION
#include "support/layers.h"

/* ---- certificates ---- */

static void is_time(int64_t ms, unsigned tag, const char *text)
{
    frn_der d;

    frn_der_init(&d);
    frn_der_time(&d, ms);
    assert_int_equal(sizeof d.bytes - d.at, 2 + strlen(text));
    assert_int_equal(d.bytes[d.at], tag);
    assert_int_equal(d.bytes[d.at + 1], strlen(text));
    assert_memory_equal(d.bytes + d.at + 2, text, strlen(text));
}

/* Would catch: a date that wraps around, after which nobody or everybody is trusted. */
static void dates(void **state)
{
    (void)state;
    is_time(INT64_MIN, 0x17, "700101000000Z");
    is_time(-1, 0x17, "700101000000Z");
    is_time(0, 0x17, "700101000000Z");
    is_time(INT64_C(2524607999999), 0x17, "491231235959Z");
    is_time(INT64_C(2524608000000), 0x18, "20500101000000Z");
    is_time(INT64_C(253402300799000), 0x18, "99991231235959Z");
    is_time(INT64_C(253402300799001), 0x18, "99991231235959Z");
    is_time(INT64_MAX, 0x18, "99991231235959Z");
}

/* Would catch: a certificate that is cut off, and signed. */
static void too_large(void **state)
{
    static const unsigned char filler[FRN_DER_BYTES + 1];
    base                      *b = base_new();
    frn_trust                 *t = base_trust(b, cluster_key, NULL);
    frn_der                    body, out;
    (void)state;

    frn_der_init(&body);
    frn_der_put(&body, filler, sizeof filler);
    assert_true(body.full);
    assert_int_equal(body.at, FRN_DER_BYTES);
    assert_int_equal(frn_cert_sign(&out, &body, &t->signer, &b->plat),
                     MBEDTLS_ERR_X509_BUFFER_TOO_SMALL);
    frn_der_init(&body);
    frn_der_put(&body, filler, FRN_DER_BYTES);      /* fits, but not with what belongs to it */
    assert_false(body.full);
    assert_int_equal(frn_cert_sign(&out, &body, &t->signer, &b->plat),
                     MBEDTLS_ERR_X509_BUFFER_TOO_SMALL);
    frn_der_init(&body);
    frn_der_put(&body, filler, FRN_DER_BYTES / 2);
    assert_int_equal(frn_cert_sign(&out, &body, &t->signer, &b->plat), 0);
    frn_trust_free(t);
    base_free(b);
}

/* Would catch: a certificate with a number that can be guessed. */
static void no_number(void **state)
{
    base         *b = base_new();
    frn_identity *i = base_identity(b, cluster_key, NULL, "a");
    frn_der       out;
    (void)state;

    b->no_random = true;
    assert_int_equal(frn_cert_of_host(&out, &i->key, &i->trust->signer, "a", 0, 1000, &b->plat),
                     MBEDTLS_ERR_ENTROPY_SOURCE_FAILED);
    frn_identity_drop(i);
    frn_identity_drop(NULL);        /* of one that was never made */
    base_free(b);
}

static int no_send(void *io, const unsigned char *data, size_t size)
{
    (void)io;
    (void)data;
    (void)size;
    return MBEDTLS_ERR_SSL_WANT_WRITE;
}

static int no_recv(void *io, unsigned char *data, size_t size)
{
    (void)io;
    (void)data;
    (void)size;
    return MBEDTLS_ERR_SSL_WANT_READ;
}

/* Would catch: who is trusted although mbedTLS says something of him that is not known here, or
 * through somebody in between. */
static void flags_of_others(void **state)
{
    base         *b = base_new();
    frn_identity *i = base_identity(b, cluster_key, NULL, "a");
    frn_tls      *t = frn_tls_new(i, true, NULL, NULL, no_send, no_recv);
    uint32_t      flags = 0;
    (void)state;

    assert_non_null(t);
    assert_int_equal(frn_tls_verify(t, &i->cert, 2, &flags), 0);
    assert_true((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0);
    assert_non_null(strstr(frn_tls_fault(t), "signed with no key of this cluster"));
    flags = MBEDTLS_X509_BADCERT_BAD_KEY;
    assert_int_equal(frn_tls_verify(t, &i->cert, 0, &flags), 0);
    assert_true((flags & MBEDTLS_X509_BADCERT_OTHER) != 0);
    assert_non_null(strstr(frn_tls_fault(t), "of another kind"));
    flags = 0;                      /* fine, but no protocol was agreed on */
    assert_int_equal(frn_tls_verify(t, &i->cert, 0, &flags), 0);
    assert_true((flags & MBEDTLS_X509_BADCERT_OTHER) != 0);
    assert_non_null(strstr(frn_tls_fault(t), "does not speak " FRN_ALPN_PEER));
    frn_tls_free(t);
    frn_identity_drop(i);
    base_free(b);
}

/* Would catch: a byte that is written where there is room for none. */
static void authority_without_room(void **state)
{
    char out[1] = { 'x' };
    (void)state;

    t_result(francis_ca_pem(cluster_key, NULL, 1000), FRANCIS_ERR_INVALID);
    t_result(francis_ca_pem(cluster_key, out, 0), FRANCIS_ERR_INVALID);
    assert_int_equal(out[0], 'x');
    t_result(francis_ca_pem(cluster_key, out, 1), FRANCIS_ERR_TOO_LARGE);
    assert_int_equal(out[0], '\0');
}

/* ---- records of a simulation ---- */

typedef struct wire {
    size_t        at, size;
    unsigned char bytes[1024];
} wire;

typedef struct plain_end {
    wire *in, *out;
    int   takes;                    /* of bytes, from now on */
} plain_end;

static int plain_send(void *io, const unsigned char *data, size_t size)
{
    plain_end *e = (plain_end *)io;
    int        n = (int)size < e->takes ? (int)size : e->takes;

    assert_true(e->out->size + (size_t)n <= sizeof e->out->bytes);
    memcpy(e->out->bytes + e->out->size, data, (size_t)n);
    e->out->size += (size_t)n;
    e->takes -= n;
    return n;
}

static int plain_recv(void *io, unsigned char *data, size_t size)
{
    wire  *w = ((plain_end *)io)->in;
    size_t n = w->size - w->at < size ? w->size - w->at : size;

    if (n == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(data, w->bytes + w->at, n);
    w->at += n;
    return (int)n;
}

/* Would catch: a record of which a part was taken that begins anew, or is lost; one that is read
 * in pieces and ends early; one that is larger than any buffer. */
static void plain_records(void **state)
{
    static const unsigned char huge[] = { 0xff, 0xff };
    static wire                up, down;
    base                      *b = base_new();
    plain_end                  ends[2] = { { &down, &up, 1000 }, { &up, &down, 0 } };
    frn_identity              *i[2];
    frn_tls                   *t[2];
    unsigned char              data[20];
    (void)state;

    b->plat.plain = true;
    memset(&up, 0, sizeof up);
    memset(&down, 0, sizeof down);
    i[0] = base_identity(b, cluster_key, NULL, "client");
    i[1] = base_identity(b, cluster_key, NULL, "server");
    t[0] = frn_tls_new(i[0], false, "server", &ends[0], plain_send, plain_recv);
    t[1] = frn_tls_new(i[1], true, NULL, &ends[1], plain_send, plain_recv);
    assert_non_null(t[0]);
    assert_non_null(t[1]);
    assert_int_equal(frn_tls_handshake(t[1]), MBEDTLS_ERR_SSL_WANT_READ);
    assert_int_equal(frn_tls_handshake(t[0]), MBEDTLS_ERR_SSL_WANT_READ);
    assert_int_equal(frn_tls_handshake(t[1]), MBEDTLS_ERR_SSL_WANT_WRITE);
    ends[1].takes = 3;
    assert_int_equal(frn_tls_handshake(t[1]), MBEDTLS_ERR_SSL_WANT_WRITE);
    assert_int_equal(frn_tls_handshake(t[0]), MBEDTLS_ERR_SSL_WANT_READ);
    ends[1].takes = 1000;
    assert_int_equal(frn_tls_handshake(t[1]), 0);
    assert_int_equal(frn_tls_handshake(t[0]), 0);
    assert_string_equal(frn_tls_peer(t[0]), "server");
    assert_string_equal(frn_tls_peer(t[1]), "client");

    assert_int_equal(frn_tls_write(t[1], (const unsigned char *)"hello world", 11), 11);
    assert_int_equal(frn_tls_read(t[0], data, 4), 4);
    assert_int_equal(frn_tls_read(t[0], data + 4, 4), 4);
    assert_int_equal(frn_tls_read(t[0], data + 8, 12), 3);
    assert_memory_equal(data, "hello world", 11);
    assert_int_equal(frn_tls_read(t[0], data, 4), MBEDTLS_ERR_SSL_WANT_READ);
    assert_int_equal(plain_send(&ends[1], huge, sizeof huge), 2);
    assert_int_equal(frn_tls_read(t[0], data, 4), MBEDTLS_ERR_SSL_INVALID_RECORD);
    for (int k = 0; k < 2; k++) {
        frn_tls_free(t[k]);
        frn_identity_drop(i[k]);
    }
    base_free(b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(dates),
    cmocka_unit_test(too_large),
    cmocka_unit_test(no_number),
    cmocka_unit_test(flags_of_others),
    cmocka_unit_test(authority_without_room),
    cmocka_unit_test(plain_records),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
