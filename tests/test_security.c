/* Who belongs to a cluster and who does not: the authority that a key stands for, the certificates
 * of hosts, and what each of two ends says of the other in a handshake over memory.
 *
 * The authority of a known key is fixed here down to the last byte. Its numbers come from a
 * program of their own (HKDF, P-256 and RFC 6979 written anew), not from this library: whatever
 * version of mbedTLS a host has, it must verify what the others have signed. */
#define FRANCIS_IMPLEMENTATION
#include "support/layers.h"

#ifndef MBEDTLS_PRIVATE
#define MBEDTLS_PRIVATE(member) member /* before mbedTLS 3 */
#endif

/* ---- two ends, joined by memory ---- */

typedef struct pipe_bytes {
    size_t        at, size;
    unsigned char bytes[32768];
} pipe_bytes;

typedef struct end {
    pipe_bytes *in, *out;
    frn_tls    *tls;
    int         rc;                 /* of its handshake, or of the byte that it waits for */
    bool        open, heard;
} end;

static int end_send(void *io, const unsigned char *data, size_t size)
{
    pipe_bytes *p = ((end *)io)->out;

    if (p->size + size > sizeof p->bytes)
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    memcpy(p->bytes + p->size, data, size);
    p->size += size;
    return (int)size;
}

static int end_recv(void *io, unsigned char *data, size_t size)
{
    pipe_bytes *p = ((end *)io)->in;

    if (p->at == p->size)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (size > p->size - p->at)
        size = p->size - p->at;
    memcpy(data, p->bytes + p->at, size);
    p->at += size;
    return (int)size;
}

static bool end_waits(int rc)
{
    return rc == 0 || rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE;
}

/* Its handshake, then a byte each way: who is refused in TLS 1.3 learns of it only then. */
static void end_step(end *e)
{
    unsigned char byte = 7;

    if (!end_waits(e->rc) || e->heard)
        return;
    if (!e->open) {
        e->rc = mbedtls_ssl_handshake(e->tls->ssl);
        e->open = e->rc == 0;
        if (e->open && mbedtls_ssl_write(e->tls->ssl, &byte, 1) != 1)
            e->rc = -1;
        return;
    }
    e->rc = mbedtls_ssl_read(e->tls->ssl, &byte, 1);
    if (FRN_LINK_AGAIN(e->rc))
        e->rc = 0;
    e->heard = e->rc == 1 && byte == 7;
    e->rc = e->heard ? 0 : e->rc;
}

typedef struct meeting {
    bool client, server;            /* it took the other one, and heard a byte of it */
    char client_says[160], server_says[160];
    char client_of[FRN_HOST_ID_SIZE], server_of[FRN_HOST_ID_SIZE];
    char version[16], suite[64];
    end  ends[2];
    pipe_bytes pipes[2];
} meeting;

static meeting met;

static void meet_begin(frn_identity *client, frn_identity *server, const char *expected)
{
    memset(&met, 0, sizeof met);
    met.ends[0].in = met.ends[1].out = &met.pipes[0];
    met.ends[0].out = met.ends[1].in = &met.pipes[1];
    met.ends[0].tls = frn_tls_new(client, false, expected, &met.ends[0], end_send, end_recv);
    met.ends[1].tls = frn_tls_new(server, true, NULL, &met.ends[1], end_send, end_recv);
    assert_non_null(met.ends[0].tls);
    assert_non_null(met.ends[1].tls);
}

static void meet_go(void)
{
    for (int i = 0; i < 100; i++)
        end_step(&met.ends[i % 2]);
    met.client = met.ends[0].heard;
    met.server = met.ends[1].heard;
    (void)snprintf(met.client_says, sizeof met.client_says, "%s", frn_tls_fault(met.ends[0].tls));
    (void)snprintf(met.server_says, sizeof met.server_says, "%s", frn_tls_fault(met.ends[1].tls));
    (void)snprintf(met.client_of, sizeof met.client_of, "%s", frn_tls_peer(met.ends[0].tls));
    (void)snprintf(met.server_of, sizeof met.server_of, "%s", frn_tls_peer(met.ends[1].tls));
    (void)snprintf(met.version, sizeof met.version, "%s",
                   mbedtls_ssl_get_version(met.ends[0].tls->ssl));
    if (met.client)
        (void)snprintf(met.suite, sizeof met.suite, "%s",
                       mbedtls_ssl_get_ciphersuite(met.ends[0].tls->ssl));
}

static void meet_end(void)
{
    frn_tls_free(met.ends[0].tls);
    frn_tls_free(met.ends[1].tls);
}

static void meet(frn_identity *client, frn_identity *server, const char *expected)
{
    meet_begin(client, server, expected);
    meet_go();
    meet_end();
}

static void friends(frn_identity *client, frn_identity *server)
{
    meet(client, server, NULL);
    if (!met.client || !met.server)
        fail_msg("strangers: \"%s\", \"%s\"", met.client_says, met.server_says);
}

/* One of them says so of the other; the other one gets nothing that could be called accepted. */
static void refuses(bool server_does, const char *says)
{
    const char *said = server_does ? met.server_says : met.client_says;

    assert_false(server_does ? met.server : met.client);
    assert_string_equal(server_does ? met.server_of : met.client_of, "");
    if (strstr(said, says) == NULL)
        fail_msg("said \"%s\", not \"%s\"", said, says);
}

/* ---- the authority ---- */

static void hex(char *out, const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        (void)sprintf(out + 2 * i, "%02x", data[i]);
}

static const char golden_point[] =
    "04f37bd106aebe2b48facc44c29420cab46cb9500900511f8b9abbea05cdbd213b"
    "697152074d7ad0e7d01b2fcb588e1d58e85d39c85ef85ce95c97cc3c03684434";
static const char golden_id[] = "6d6593fde573c1ac7e71bf7ef1439acc67ea83cf";
static const char golden_sha256[] =
    "a762fba1988bb6332f5a5cd84872b49226c0e04c3a484f7bcc2d2aea97d1b8e3";

static void authority_text(char point[140], char id[48], char sha256[72])
{
    frn_plat      plat;
    frn_key       key;
    frn_der       der;
    unsigned char hash[32];

    memset(&plat, 0, sizeof plat);
    frn_key_init(&key);
    assert_int_equal(frn_mbed_start(), 0);
    assert_int_equal(frn_key_derive(&key, cluster_key, strlen(cluster_key), &plat), 0);
    assert_int_equal(frn_cert_of_authority(&der, &key, &plat), 0);
    assert_int_equal(
        frn_mbed_sha256(der.bytes + der.at, sizeof der.bytes - der.at, hash), 0);
    hex(point, key.info + FRN_PUBLIC_BYTES - FRN_POINT_BYTES, FRN_POINT_BYTES);
    hex(id, key.id, sizeof key.id);
    hex(sha256, hash, sizeof hash);
    frn_key_free(&key);
}

/* Would catch: a derivation, a field or a signature that depends on anything but the key. */
static void authority_is_fixed(void **state)
{
    char point[140], id[48], sha256[72];
    (void)state;

    for (int i = 0; i < 3; i++) {
        authority_text(point, id, sha256);
        assert_string_equal(point, golden_point);
        assert_string_equal(id, golden_id);
        assert_string_equal(sha256, golden_sha256);
    }
}

/* Would catch: a part of it that a process keeps for itself. */
static void authority_in_another_process(void **state)
{
    int   fds[2];
    char  point[140], id[48], sha256[72], other[72] = "";
    pid_t pid;
    (void)state;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        authority_text(point, id, sha256);
        _exit(write(fds[1], sha256, 64) == 64 ? 0 : 1);
    }
    assert_int_equal(close(fds[1]), 0);
    assert_int_equal(read(fds[0], other, 64), 64);
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_string_equal(other, golden_sha256);
}

/* Would catch: an authority that is not one for other implementations. */
static void authority_as_others_read_it(void **state)
{
    base             *b = base_new();
    frn_trust        *t = base_trust(b, cluster_key, NULL);
    mbedtls_x509_crt *ca = &t->roots;
    char              name[100];
    uint32_t          flags = 0;
    (void)state;

    assert_int_equal(ca->version, 3);
    assert_true(mbedtls_x509_dn_gets(name, sizeof name, &ca->subject) > 0);
    assert_string_equal(name, "CN=Francis CA");
    assert_true(mbedtls_x509_dn_gets(name, sizeof name, &ca->issuer) > 0);
    assert_string_equal(name, "CN=Francis CA");
    assert_int_equal(mbedtls_x509_crt_check_key_usage(ca, MBEDTLS_X509_KU_KEY_CERT_SIGN), 0);
    assert_int_equal(ca->valid_from.year, 2020);
    assert_int_equal(ca->valid_to.year, 2100);
    assert_int_equal(mbedtls_x509_crt_verify(ca, ca, NULL, NULL, &flags, NULL, NULL), 0);
    frn_trust_free(t);
    base_free(b);
}

/* Would catch: a file that openssl could not read, or one that is not the authority. */
static void authority_as_pem(void **state)
{
    char             pem[2000], small[20];
    unsigned char    hash[32];
    char             text[72];
    mbedtls_x509_crt crt;
    (void)state;

    t_ok(francis_ca_pem(cluster_key, pem, sizeof pem));
    mbedtls_x509_crt_init(&crt);
    assert_int_equal(
        mbedtls_x509_crt_parse(&crt, (const unsigned char *)pem, strlen(pem) + 1), 0);
    assert_int_equal(frn_mbed_sha256(crt.raw.p, crt.raw.len, hash), 0);
    hex(text, hash, sizeof hash);
    assert_string_equal(text, golden_sha256);
    mbedtls_x509_crt_free(&crt);
    t_result(francis_ca_pem(cluster_key, small, sizeof small), FRANCIS_ERR_TOO_LARGE);
    assert_string_equal(small, "");
    t_result(francis_ca_pem("too short", pem, sizeof pem), FRANCIS_ERR_INVALID);
    assert_string_equal(pem, "");
    t_result(francis_ca_pem(NULL, pem, sizeof pem), FRANCIS_ERR_INVALID);
}

/* ---- keys of the cluster ---- */

typedef struct key_case {
    const char *key, *old;
    uint32_t    keys;               /* 0 = refused */
    const char *says;
} key_case;

#define A31 "0123456789012345678901234567890"
#define A32 A31 "1"
#define OLD(n) A31 "_old_" n "\n"

static const key_case key_cases[] = {
    { NULL, NULL, 0, "cluster_key is missing" },
    { "", NULL, 0, "cluster_key has 0 bytes, 32 is the least" },
    { A31, NULL, 0, "cluster_key has 31 bytes, 32 is the least" },
    { A32, NULL, 1, "" },
    { A32, "", 1, "" },
    { A32, "\n\r\n\n", 1, "" },
    { A32 "\n", NULL, 0, "cluster_key has a line break in it" },
    { A32 "\r", NULL, 0, "cluster_key has a line break in it" },
    { "\n" A32, NULL, 0, "cluster_key has a line break in it" },
    { A32, A32, 1, "" },
    { A32, A32 "2", 2, "" },
    { A32, A32 "2\n" A32 "3", 3, "" },
    { A32, "\n\n" A32 "2\r\n\r\n" A32 "3\r\n", 3, "" },
    { A32, A32 "2\n" A32 "2\n" A32 "\n", 2, "" },
    { A32, A31, 0, "cluster_keys_old: key 1 has 31 bytes, 32 is the least" },
    { A32, A32 "2\n" A31 "\n", 0, "cluster_keys_old: key 2 has 31 bytes, 32 is the least" },
    { A32, A32 " \n ", 0, "cluster_keys_old: key 2 has 1 bytes, 32 is the least" },
    { A32, OLD("1") OLD("2") OLD("3") OLD("4") OLD("5") OLD("6") OLD("7"), 8, "" },
    { A32, OLD("1") OLD("2") OLD("3") OLD("4") OLD("5") OLD("6") OLD("7") OLD("8"), 0,
      "cluster_keys_old: key 8 is one too many" },
};

/* Would catch: a key that can be guessed, one that could never be listed as an old one, one that
 * is silently left out. */
static void keys(void **state)
{
    base *b = base_new();
    (void)state;

    for (size_t i = 0; i < FRN_COUNT(key_cases); i++) {
        const key_case *c = &key_cases[i];
        frn_trust      *t = NULL;
        char            error[200] = "";
        francis_result  r = frn_trust_new(&b->mem, &b->plat, c->key, c->old, &t, error,
                                          sizeof error);
        if (strstr(error, c->says) == NULL || (t == NULL ? 0 : t->keys) != c->keys)
            fail_msg("case %zu: \"%s\", %u keys", i, error, t == NULL ? 0u : t->keys);
        t_result(r, c->keys > 0 ? FRANCIS_OK : FRANCIS_ERR_INVALID);
        frn_trust_free(t);
    }
    base_free(b);
}

/* Would catch: a new key that cannot be brought in without a moment in which hosts are strangers
 * to each other; and a rotation that looks done before it is. */
static void rotation(void **state)
{
    base         *b = base_new();
    frn_identity *i[4];
    (void)state;

    i[0] = base_identity(b, cluster_key, NULL, "host-0");
    i[1] = base_identity(b, cluster_key, other_key, "host-1");
    i[2] = base_identity(b, other_key, cluster_key, "host-2");
    i[3] = base_identity(b, other_key, NULL, "host-3");
    for (int from = 0; from < 4; from++)
        for (int to = 0; to < 4; to++) {
            if (from - to <= 1 && to - from <= 1) {
                friends(i[from], i[to]);
                continue;
            }
            meet(i[from], i[to], NULL);
            assert_false(met.client && met.server);
        }
    for (int n = 0; n < 4; n++)
        frn_identity_drop(i[n]);
    base_free(b);
}

/* ---- certificates ---- */

#if MBEDTLS_VERSION_NUMBER >= 0x03000000        /* it is there, but not in the public headers */
int mbedtls_x509_get_time(unsigned char **p, const unsigned char *end, mbedtls_x509_time *t);
#endif

/* Would catch: dates that others read otherwise, over the whole range that can be written. */
static void times(void **state)
{
    static const int64_t  edges[] = { 0, 951782399000, 951782400000, 951868800000, 2524607999000,
                                      2524608000000, 4107542400000, 253402300799000 };
    base                 *b = base_new();
    uint64_t              random = 88172645463325252u;
    (void)state;

    for (size_t n = 0; n < 2000 + FRN_COUNT(edges); n++) {
        struct tm         tm;
        time_t            t;
        frn_der           d;
        mbedtls_x509_time x;
        unsigned char    *p;
        int64_t           ms;
        random = random * UINT64_C(6364136223846793005) + 1;
        ms = n < FRN_COUNT(edges) ? edges[n] : (int64_t)((random >> 11) % 253402300800000u);
        if (sizeof t == 4)
            ms %= INT64_C(2147483648000);           /* after 2037 gmtime_r would have no answer */
        ms -= ms % 1000;
        t = (time_t)(ms / 1000);
        assert_non_null(gmtime_r(&t, &tm));
        frn_der_init(&d);
        frn_der_time(&d, ms);
        p = d.bytes + d.at;
        assert_int_equal(mbedtls_x509_get_time(&p, d.bytes + sizeof d.bytes, &x), 0);
        assert_int_equal(x.year, tm.tm_year + 1900);
        assert_int_equal(x.mon, tm.tm_mon + 1);
        assert_int_equal(x.day, tm.tm_mday);
        assert_int_equal(x.hour, tm.tm_hour);
        assert_int_equal(x.min, tm.tm_min);
        assert_int_equal(x.sec, tm.tm_sec);
        assert_true(frn_x509_ms(&x) == ms);
    }
    base_free(b);
}

/* What is wrong with a certificate, or with its holder. */
typedef enum fault {
    FAULT_NONE, FAULT_FOREIGN, FAULT_SELF, FAULT_AUTHORITY, FAULT_OTHER_AUTHORITY, FAULT_CHAIN,
    FAULT_BELOW, FAULT_BY_HOST, FAULT_DATES, FAULT_ALTERED
} fault;

enum { USE_BOTH, USE_SERVER, USE_CLIENT, USE_CODE, USE_ABSENT };
enum { KU_SIGNS = 0x80, KU_ENCIPHERS = 0x20, KU_CERTS = 0x06, KU_ABSENT = -1 };

typedef struct name {
    unsigned    tag;                /* 0x86 URI, 0x82 DNS, 0x81 mail */
    const char *text;
    size_t      size;
} name;

#define URI(t) { 0x86, t, sizeof(t) - 1 }
#define DNS(t) { 0x82, t, sizeof(t) - 1 }
#define MAIL(t) { 0x81, t, sizeof(t) - 1 }

typedef struct bad_case {
    const char *what;
    fault       fault;
    name        names[3];
    int         use, usage;
    int64_t     from_s, to_s;       /* from now */
    const char *to_server, *to_client;  /* what these say; NULL = they take it */
} bad_case;

#define GOOD_NAMES { URI("spiffe://francis/host/host-2") }
#define GOOD_TIMES -60, 3600
#define NO_TRUST "signed with no key of this cluster"
#define NO_NAME "does not name exactly one host"
#define NO_ID "names a host by no valid id"
#define NO_CLIENT "not one for a client"
#define NO_SERVER "not one for a server"

static const bad_case bad_cases[] = {
    { "good", FAULT_NONE, GOOD_NAMES, USE_BOTH, KU_SIGNS, GOOD_TIMES, NULL, NULL },
    { "a URI beside names of other kinds", FAULT_NONE,
      { DNS("localhost"), URI("spiffe://francis/host/host-2"), MAIL("a@b") }, USE_BOTH, KU_SIGNS,
      GOOD_TIMES, NULL, NULL },
    { "of another cluster", FAULT_FOREIGN, GOOD_NAMES, USE_BOTH, KU_SIGNS, GOOD_TIMES, NO_TRUST,
      NO_TRUST },
    { "self-signed", FAULT_SELF, GOOD_NAMES, USE_BOTH, KU_SIGNS, GOOD_TIMES, NO_TRUST, NO_TRUST },
    { "the authority itself", FAULT_AUTHORITY, { { 0, NULL, 0 } }, USE_BOTH, KU_SIGNS, GOOD_TIMES,
      NO_CLIENT, NO_SERVER },
    { "the authority of another key", FAULT_OTHER_AUTHORITY, { { 0, NULL, 0 } }, USE_BOTH, KU_SIGNS,
      GOOD_TIMES, NO_TRUST, NO_TRUST },
    { "with its unrelated root", FAULT_CHAIN, GOOD_NAMES, USE_BOTH, KU_SIGNS, GOOD_TIMES, NO_TRUST,
      NO_TRUST },
    { "of an authority below ours", FAULT_BELOW, GOOD_NAMES, USE_BOTH, KU_SIGNS, GOOD_TIMES,
      NO_TRUST, NO_TRUST },
    { "signed by a host", FAULT_BY_HOST, GOOD_NAMES, USE_BOTH, KU_SIGNS, GOOD_TIMES, NO_TRUST,
      NO_TRUST },
    { "altered", FAULT_ALTERED, GOOD_NAMES, USE_BOTH, KU_SIGNS, GOOD_TIMES, NO_TRUST, NO_TRUST },
    { "expired", FAULT_DATES, GOOD_NAMES, USE_BOTH, KU_SIGNS, -3600, -10, "ran out", "ran out" },
    { "not valid yet", FAULT_DATES, GOOD_NAMES, USE_BOTH, KU_SIGNS, 60, 3600, "begins in",
      "begins in" },
    { "without a name", FAULT_NONE, { { 0, NULL, 0 } }, USE_BOTH, KU_SIGNS, GOOD_TIMES, NO_NAME,
      NO_NAME },
    { "with names of other kinds only", FAULT_NONE, { DNS("spiffe://francis/host/host-2") },
      USE_BOTH, KU_SIGNS, GOOD_TIMES, NO_NAME, NO_NAME },
    { "with two identities", FAULT_NONE,
      { URI("spiffe://francis/host/host-2"), URI("spiffe://francis/host/host-3") }, USE_BOTH,
      KU_SIGNS, GOOD_TIMES, NO_NAME, NO_NAME },
    { "with one identity twice", FAULT_NONE,
      { URI("spiffe://francis/host/host-2"), URI("spiffe://francis/host/host-2") }, USE_BOTH,
      KU_SIGNS, GOOD_TIMES, NO_NAME, NO_NAME },
    { "with a URI of somebody else's beside it", FAULT_NONE,
      { URI("spiffe://francis/host/host-2"), URI("https://example.org/") }, USE_BOTH, KU_SIGNS,
      GOOD_TIMES, NO_NAME, NO_NAME },
    { "of no host", FAULT_NONE, { URI("spiffe://francis/host/") }, USE_BOTH, KU_SIGNS, GOOD_TIMES,
      NO_NAME, NO_NAME },
    { "of the cluster", FAULT_NONE, { URI("spiffe://francis") }, USE_BOTH, KU_SIGNS, GOOD_TIMES,
      NO_NAME, NO_NAME },
    { "of another role", FAULT_NONE, { URI("spiffe://francis/user/host-2") }, USE_BOTH, KU_SIGNS,
      GOOD_TIMES, NO_NAME, NO_NAME },
    { "of another domain", FAULT_NONE, { URI("spiffe://francis.example/host/host-2") }, USE_BOTH,
      KU_SIGNS, GOOD_TIMES, NO_NAME, NO_NAME },
    { "with a path for an id", FAULT_NONE, { URI("spiffe://francis/host/host-2/a") }, USE_BOTH,
      KU_SIGNS, GOOD_TIMES, NO_ID, NO_ID },
    { "with a NUL in its id", FAULT_NONE, { URI("spiffe://francis/host/host-2\0x") }, USE_BOTH,
      KU_SIGNS, GOOD_TIMES, NO_ID, NO_ID },
    { "with an id that is too long", FAULT_NONE,
      { URI("spiffe://francis/host/"
            "0123456789012345678901234567890123456789012345678901234567890123") },
      USE_BOTH, KU_SIGNS, GOOD_TIMES, NO_ID, NO_ID },
    { "with the longest id", FAULT_NONE,
      { URI("spiffe://francis/host/"
            "012345678901234567890123456789012345678901234567890123456789012") },
      USE_BOTH, KU_SIGNS, GOOD_TIMES, NULL, NULL },
    { "for servers", FAULT_NONE, GOOD_NAMES, USE_SERVER, KU_SIGNS, GOOD_TIMES, NO_CLIENT, NULL },
    { "for clients", FAULT_NONE, GOOD_NAMES, USE_CLIENT, KU_SIGNS, GOOD_TIMES, NULL, NO_SERVER },
    { "for signing code", FAULT_NONE, GOOD_NAMES, USE_CODE, KU_SIGNS, GOOD_TIMES, NO_CLIENT,
      NO_SERVER },
    { "for anything", FAULT_NONE, GOOD_NAMES, USE_ABSENT, KU_SIGNS, GOOD_TIMES, NO_CLIENT,
      NO_SERVER },
    { "whose key only enciphers", FAULT_NONE, GOOD_NAMES, USE_BOTH, KU_ENCIPHERS, GOOD_TIMES,
      NO_CLIENT, NO_SERVER },
    { "whose key signs certificates", FAULT_NONE, GOOD_NAMES, USE_BOTH, KU_CERTS, GOOD_TIMES,
      NO_CLIENT, NO_SERVER },
    { "whose key does anything", FAULT_NONE, GOOD_NAMES, USE_BOTH, KU_ABSENT, GOOD_TIMES, NO_CLIENT,
      NO_SERVER },
};

static void bad_uses(frn_der *d, int use)
{
    static const unsigned char ids[3][10] = {
        { 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01 },
        { 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02 },
        { 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03 },
    };
    size_t at = d->at;

    if (use == USE_ABSENT)
        return;
    if (use == USE_BOTH || use == USE_CLIENT)
        frn_der_put(d, ids[1], sizeof ids[1]);
    if (use == USE_BOTH || use == USE_SERVER)
        frn_der_put(d, ids[0], sizeof ids[0]);
    if (use == USE_CODE)
        frn_der_put(d, ids[2], sizeof ids[2]);
    frn_der_wrap(d, 0x30, at);
    frn_der_extension(d, 37, false, at);
}

static void bad_names(frn_der *d, const name *names, size_t count)
{
    size_t at = d->at;

    for (size_t i = count; i-- > 0;) {
        size_t one = d->at;
        if (names[i].text == NULL)
            continue;
        frn_der_put(d, names[i].text, names[i].size);
        frn_der_wrap(d, names[i].tag, one);
    }
    if (d->at == at)
        return;
    frn_der_wrap(d, 0x30, at);
    frn_der_extension(d, 17, true, at);
}

static void bad_usage(frn_der *d, int usage)
{
    const unsigned char bits[] = { 0x03, 0x02, 0x00, (unsigned char)usage };
    size_t              at = d->at;

    if (usage == KU_ABSENT)
        return;
    frn_der_put(d, bits, sizeof bits);
    frn_der_extension(d, 15, true, at);
}

/* A certificate as the case wants it. */
static void bad_certificate(frn_der *out, const bad_case *b, const frn_key *subject,
                            frn_key *issuer, frn_plat *plat)
{
    static const unsigned char ca[] = { 0x30, 0x03, 0x01, 0x01, 0xff }, leaf[] = { 0x30, 0x00 };
    int64_t  now = frn_plat_wall_ms(plat);
    frn_cert c;
    frn_der  body;
    frn_key  other = *subject;      /* another pointer: else it is written as an authority's */
    size_t   at;

    memset(&c, 0, sizeof c);
    c.subject = subject == issuer ? &other : subject;
    c.issuer = issuer;
    c.from_ms = now + b->from_s * 1000;
    c.to_ms = now + b->to_s * 1000;
    memset(c.serial, 5, sizeof c.serial);
    frn_der_init(&body);
    frn_cert_key_id(&body, &c);
    bad_names(&body, b->names, FRN_COUNT(b->names));
    bad_uses(&body, b->use);
    bad_usage(&body, b->usage);
    at = body.at;
    if (b->usage == KU_CERTS)
        frn_der_put(&body, ca, sizeof ca);
    else
        frn_der_put(&body, leaf, sizeof leaf);
    frn_der_extension(&body, 19, true, at);
    frn_cert_body(&body, &c);
    assert_int_equal(frn_cert_sign(out, &body, issuer, plat), 0);
}

static void bad_parse(frn_identity *i, const frn_der *der)
{
    assert_int_equal(mbedtls_x509_crt_parse_der(&i->cert, der->bytes + der->at,
                                                sizeof der->bytes - der->at), 0);
}

/* An authority below the cluster's, with the name of one: frn_cert_body writes it for nobody else,
 * so its subject is put in by hand. */
static void bad_below(frn_der *out, frn_key *key, frn_key *issuer, frn_plat *plat)
{
    static const unsigned char is_ca[] = { 0x30, 0x03, 0x01, 0x01, 0xff };
    static const unsigned char certs[] = { 0x03, 0x02, 0x01, 0x06 };
    frn_cert c;
    frn_der  body;
    frn_key  mixed = *key;          /* to be written as an authority, and signed by another one */
    size_t   at;

    memset(&c, 0, sizeof c);
    c.subject = c.issuer = &mixed;
    c.from_ms = frn_plat_wall_ms(plat) - 60000;
    c.to_ms = c.from_ms + 3600000;
    frn_der_init(&body);
    frn_cert_key_id(&body, &c);
    at = body.at;
    frn_der_put(&body, certs, sizeof certs);
    frn_der_extension(&body, 15, true, at);
    at = body.at;
    frn_der_put(&body, is_ca, sizeof is_ca);
    frn_der_extension(&body, 19, true, at);
    frn_cert_body(&body, &c);
    assert_int_equal(frn_cert_sign(out, &body, issuer, plat), 0);
}

/* The identity that shows the certificate of a case, and that itself takes anybody. */
static frn_identity *bad_identity(base *b, const bad_case *c)
{
    bool          foreign = c->fault == FAULT_FOREIGN || c->fault == FAULT_CHAIN ||
                   c->fault == FAULT_OTHER_AUTHORITY;
    frn_trust    *t = base_trust(b, foreign ? other_key : cluster_key, NULL);
    frn_identity *i = NULL;
    frn_der       der, above;
    frn_key       key, *issuer = &t->signer;
    char          error[200];

    t_ok(frn_identity_new(t, "host-2", FRANCIS_HOURS(24), &i, error, sizeof error));
    frn_key_init(&key);
    assert_int_equal(frn_key_generate(&key, &b->plat), 0);
    if (c->fault == FAULT_SELF)
        issuer = &i->key;
    if (c->fault == FAULT_BELOW || c->fault == FAULT_BY_HOST)
        issuer = &key;
    if (c->fault == FAULT_AUTHORITY || c->fault == FAULT_OTHER_AUTHORITY) {
        frn_key_free(&i->key);
        frn_key_init(&i->key);
        assert_int_equal(frn_key_derive(&i->key, foreign ? other_key : cluster_key,
                                        strlen(foreign ? other_key : cluster_key), &b->plat), 0);
        assert_int_equal(frn_cert_of_authority(&der, &i->key, &b->plat), 0);
    } else {
        bad_certificate(&der, c, &i->key, issuer, &b->plat);
    }
    if (c->fault == FAULT_ALTERED)
        der.bytes[sizeof der.bytes - 1] ^= 1;
    mbedtls_x509_crt_free(&i->cert);
    mbedtls_x509_crt_init(&i->cert);
    bad_parse(i, &der);
    i->cert.MBEDTLS_PRIVATE(ext_types) = 0; /* so that its own mbedTLS does not hold it back */
    if (c->fault == FAULT_CHAIN) {
        assert_int_equal(frn_cert_of_authority(&above, &t->signer, &b->plat), 0);
        bad_parse(i, &above);
    } else if (c->fault == FAULT_BELOW) {
        bad_below(&above, &key, &t->signer, &b->plat);
        bad_parse(i, &above);
    } else if (c->fault == FAULT_BY_HOST) {
        assert_int_equal(frn_cert_of_host(&above, &key, &t->signer, "host-7",
                                          frn_plat_wall_ms(&b->plat) - 1000,
                                          frn_plat_wall_ms(&b->plat) + 100000, &b->plat), 0);
        bad_parse(i, &above);
    }
    mbedtls_ssl_conf_authmode(&i->client, MBEDTLS_SSL_VERIFY_OPTIONAL);
    mbedtls_ssl_conf_authmode(&i->server, MBEDTLS_SSL_VERIFY_OPTIONAL);
    frn_key_free(&key);
    frn_trust_free(t);
    return i;
}

static void bad_one(const bad_case *c)
{
    base         *b = base_new();
    frn_identity *good = base_identity(b, cluster_key, NULL, "host-1");
    frn_identity *bad = bad_identity(b, c);

    meet(bad, good, NULL);
    if (c->to_server != NULL)
        refuses(true, c->to_server);
    else
        assert_true(met.server);
    meet(good, bad, NULL);
    if (c->to_client != NULL)
        refuses(false, c->to_client);
    else
        assert_true(met.client);
    frn_identity_drop(bad);
    frn_identity_drop(good);
    base_free(b);
}

/* Would catch: whoever gets in without a certificate for just what he is. */
static void certificates(void **state)
{
    (void)state;
    for (size_t i = 0; i < FRN_COUNT(bad_cases); i++) {
        print_message("# a certificate %s\n", bad_cases[i].what);
        bad_one(&bad_cases[i]);
    }
}

/* Would catch: a host that speaks for another one. */
static void another_host(void **state)
{
    static const char *const wrong[] = { "host-1", "host-22", "host-", "host-3", "HOST-2", "" };
    char          long_id[200];
    base         *b = base_new();
    frn_identity *one = base_identity(b, cluster_key, NULL, "host-1");
    frn_identity *two = base_identity(b, cluster_key, NULL, "host-2");
    (void)state;

    meet(one, two, "host-2");
    assert_true(met.client && met.server);
    assert_string_equal(met.client_of, "host-2");
    assert_string_equal(met.server_of, "host-1");
    for (size_t i = 0; i < FRN_COUNT(wrong); i++) {
        meet(one, two, wrong[i]);
        refuses(false, "it is host host-2, expected was ");
        assert_false(met.server);
    }
    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    meet(one, two, long_id);
    refuses(false, "it is host host-2, expected was x");
    frn_identity_drop(one);
    frn_identity_drop(two);
    base_free(b);
}

/* As mbedTLS has it, without protocol and certificate. */
static void weak_config(frn_identity *i)
{
    mbedtls_ssl_config_free(&i->client);
    mbedtls_ssl_config_init(&i->client);
    assert_int_equal(mbedtls_ssl_config_defaults(&i->client, MBEDTLS_SSL_IS_CLIENT,
                                                 MBEDTLS_SSL_TRANSPORT_STREAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT), 0);
    mbedtls_ssl_conf_rng(&i->client, frn_mbed_random, i->trust->plat);
    mbedtls_ssl_conf_authmode(&i->client, MBEDTLS_SSL_VERIFY_NONE);
}

/* Would catch: a client that shows nothing, one that speaks something else, old or weak TLS. */
static void weak_clients(void **state)
{
    static const int   cbc[] = { MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
                                 MBEDTLS_TLS_RSA_WITH_AES_128_CBC_SHA, 0 };
    static const char *other[] = { "h2", NULL };
    base              *b = base_new();
    frn_identity      *good = base_identity(b, cluster_key, NULL, "host-1"), *weak;
    (void)state;

    for (int i = 0; i < 4; i++) {
        weak = base_identity(b, cluster_key, NULL, "host-2");
        switch (i) {
        case 0:                     /* no certificate */
            weak_config(weak);
            assert_int_equal(mbedtls_ssl_conf_alpn_protocols(&weak->client, weak->protocols), 0);
            break;
        case 1: weak->protocols[0] = other[0]; break;
        case 2:
            weak_config(weak);
            assert_int_equal(mbedtls_ssl_conf_own_cert(&weak->client, &weak->cert, &weak->key.pk),
                             0);
            break;
        case 3:
            mbedtls_ssl_conf_ciphersuites(&weak->client, cbc);
#if FRN_MBED3
            mbedtls_ssl_conf_max_tls_version(&weak->client, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
            break;
        default: break;
        }
        meet(weak, good, NULL);
        assert_false(met.server);
        assert_string_equal(met.server_of, "");
        if (i == 0 && strstr(met.server_says, "no certificate") == NULL)
            fail_msg("said \"%s\"", met.server_says);
        if (i == 2 && strstr(met.server_says, "does not speak") == NULL)
            fail_msg("said \"%s\"", met.server_says);
        frn_identity_drop(weak);
    }
    weak = base_identity(b, cluster_key, NULL, "host-2");
    friends(weak, good);
    assert_non_null(strstr(met.suite, FRN_AES_FIRST ? "GCM" : "CHACHA20"));
    assert_string_equal(met.version, FRN_TLS13 ? "TLSv1.3" : "TLSv1.2");
    frn_identity_drop(weak);
    frn_identity_drop(good);
    base_free(b);
}

#if !FRN_MBED3
/* Would catch: what is older than 1.2 being spoken after all. */
static void old_versions(void **state)
{
    base         *b = base_new();
    frn_identity *good = base_identity(b, cluster_key, NULL, "host-1");
    frn_identity *old = base_identity(b, cluster_key, NULL, "host-2");
    (void)state;

    mbedtls_ssl_conf_min_version(&old->client, MBEDTLS_SSL_MAJOR_VERSION_3,
                                 MBEDTLS_SSL_MINOR_VERSION_2);
    mbedtls_ssl_conf_max_version(&old->client, MBEDTLS_SSL_MAJOR_VERSION_3,
                                 MBEDTLS_SSL_MINOR_VERSION_2);
    meet(old, good, NULL);
    assert_false(met.server || met.client);
    frn_identity_drop(old);
    frn_identity_drop(good);
    base_free(b);
}
#endif

/* Would catch: strangers who make a host hold or compare as much as they like. */
static void strangers_are_brief(void **state)
{
    base         *b = base_new();
    frn_identity *good = base_identity(b, cluster_key, NULL, "host-1");
    frn_identity *bad = base_identity(b, other_key, NULL, "host-2");
    frn_trust    *t = base_trust(b, other_key, NULL);
    frn_der       der;
    (void)state;

    assert_int_equal(frn_cert_of_authority(&der, &t->signer, &b->plat), 0);
    for (int i = 0; i < 12; i++)
        bad_parse(bad, &der);
    mbedtls_ssl_conf_authmode(&bad->client, MBEDTLS_SSL_VERIFY_NONE);
    meet_begin(bad, good, NULL);
    meet_go();
    refuses(true, "it sent more than 4096 bytes before it had shown who it is");
    assert_true(met.pipes[1].at <= FRN_STRANGER_BYTES_MAX + 4096);
    meet_end();
    frn_trust_free(t);
    frn_identity_drop(bad);
    frn_identity_drop(good);
    base_free(b);
}

/* ---- clocks and lifetimes ---- */

/* Whether the host takes a peer whose clock was shifted when it made its certificate. */
static bool clock_takes(int64_t peer_ms, int64_t host_ms)
{
    base         *b = base_new(), *o = base_new();
    frn_identity *host, *peer;
    bool          taken;

    o->wall_ms = peer_ms;
    peer = base_identity(o, cluster_key, NULL, "host-2");
    b->wall_ms = host_ms;
    host = base_identity(b, cluster_key, NULL, "host-1");
    mbedtls_ssl_conf_authmode(&peer->client, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_authmode(&peer->server, MBEDTLS_SSL_VERIFY_OPTIONAL);
    meet(peer, host, NULL);
    taken = met.server;
    meet(host, peer, NULL);
    assert_int_equal(taken, met.client);
    frn_identity_drop(host);
    frn_identity_drop(peer);
    base_free(b);
    base_free(o);
    return taken;
}

/* Would catch: a judgement by a clock that is not the platform's, slack in one direction only, and
 * devices whose clock was never set being strangers to each other. */
static void clocks(void **state)
{
    const int64_t now = INT64_C(1800000000000), day = FRANCIS_HOURS(24), slack = FRN_CLOCK_SLACK_MS;
    const int64_t unset = 20000;
    (void)state;

    assert_true(clock_takes(now, now));
    assert_true(clock_takes(now, now - slack));
    assert_false(clock_takes(now, now - slack - 1000));
    assert_true(clock_takes(now, now + day));
    assert_true(clock_takes(now, now + day + slack));
    assert_false(clock_takes(now, now + day + slack + 1000));
    assert_true(clock_takes(unset, unset));     /* just after the beginning of time */
    assert_true(clock_takes(unset, unset + day));
    assert_false(clock_takes(now, unset));
    assert_false(clock_takes(unset, now));
    assert_true(clock_takes(INT64_C(2524607999000), INT64_C(2524607999000)));   /* end of 2049 */
    assert_true(clock_takes(INT64_C(4200000000000), INT64_C(4200000000000)));   /* after 2100 */
}

/* Would catch: a certificate that is renewed too late, or a lifetime that is none. */
static void lifetimes(void **state)
{
    static const int64_t bad[] = { 0, -1, FRANCIS_DAYS(365) + 1 };
    base                *b = base_new();
    frn_trust           *t = base_trust(b, cluster_key, NULL);
    frn_identity        *i = NULL;
    char                 error[200];
    (void)state;

    b->wall_ms = INT64_C(1800000000000);
    t_ok(frn_identity_new(t, "host-1", FRANCIS_HOURS(24), &i, error, sizeof error));
    assert_true(frn_identity_renew_at_ms(i) > b->wall_ms);
    assert_true(frn_identity_renew_at_ms(i) < b->wall_ms + FRANCIS_HOURS(12));
    assert_true(frn_x509_ms(&i->cert.valid_from) == b->wall_ms - FRN_CLOCK_SLACK_MS);
    assert_true(frn_x509_ms(&i->cert.valid_to) ==
                b->wall_ms + FRANCIS_HOURS(24) + FRN_CLOCK_SLACK_MS);
    frn_identity_drop(i);
    for (size_t n = 0; n < FRN_COUNT(bad); n++) {
        t_result(frn_identity_new(t, "host-1", bad[n], &i, error, sizeof error),
                 FRANCIS_ERR_INVALID);
        assert_null(i);
    }
    t_result(frn_identity_new(t, "", 1, &i, error, sizeof error), FRANCIS_ERR_INVALID);
    t_result(frn_identity_new(t, "a/b", 1, &i, error, sizeof error), FRANCIS_ERR_INVALID);
    frn_trust_free(t);
    base_free(b);
}

/* Would catch: two certificates of one cluster that share a key or a serial number. */
static void each_its_own(void **state)
{
    base         *b = base_new();
    frn_identity *one = base_identity(b, cluster_key, NULL, "host-1");
    frn_identity *two = base_identity(b, cluster_key, NULL, "host-1");
    (void)state;

    assert_memory_not_equal(one->key.info, two->key.info, sizeof one->key.info);
    assert_int_equal(one->cert.serial.len, FRN_SERIAL_BYTES);
    assert_memory_not_equal(one->cert.serial.p, two->cert.serial.p, FRN_SERIAL_BYTES);
    frn_identity_drop(one);
    frn_identity_drop(two);
    base_free(b);
}

/* Would catch: a connection that ends, or that reads freed memory, when the host renews. */
static void renewal(void **state)
{
    base         *b = base_new();
    frn_trust    *t = base_trust(b, cluster_key, NULL);
    frn_identity *old = NULL, *new = NULL, *two = base_identity(b, cluster_key, NULL, "host-2");
    char          error[200], text[8] = "";
    (void)state;

    t_ok(frn_identity_new(t, "host-1", FRANCIS_HOURS(24), &old, error, sizeof error));
    meet_begin(old, two, "host-2");
    meet_go();
    assert_true(met.client && met.server);
    b->ahead_ms = FRANCIS_HOURS(10);
    t_ok(frn_identity_new(t, "host-1", FRANCIS_HOURS(24), &new, error, sizeof error));
    frn_identity_drop(old);         /* its connection has it still */
    frn_trust_free(t);              /* and so has the new one */
    b->ahead_ms = FRANCIS_HOURS(30);
    assert_int_equal(mbedtls_ssl_write(met.ends[0].tls->ssl,
                                       (const unsigned char *)"ping", 4), 4);
    assert_int_equal(mbedtls_ssl_read(met.ends[1].tls->ssl, (unsigned char *)text,
                                      sizeof text), 4);
    assert_string_equal(text, "ping");
    assert_string_equal(frn_tls_peer(met.ends[1].tls), "host-1");
    meet_end();
    b->ahead_ms = FRANCIS_HOURS(20);
    friends(new, two);
    friends(two, new);
    frn_identity_drop(new);
    frn_identity_drop(two);
    base_free(b);
}

/* ---- secrets ---- */

typedef struct searcher {
    fault_alloc          books;
    const unsigned char *secret[6];
    size_t               size[6];
    int                  secrets, found;
    bool                 live;          /* blocks that are still held count as well */
} searcher;

static bool search_in(const searcher *s, const void *data, size_t size)
{
    const unsigned char *p = (const unsigned char *)data;

    for (int k = 0; k < s->secrets; k++)
        for (size_t i = 0; i + s->size[k] <= size; i++)
            if (memcmp(p + i, s->secret[k], s->size[k]) == 0)
                return true;
    return false;
}

static void *search_alloc(void *old, size_t size_old, size_t size_new, void *user)
{
    searcher *s = (searcher *)user;

    if (old != NULL && search_in(s, old, size_old))
        s->found++;
    return fault_alloc_fn(old, size_old, size_new, &s->books);
}

static int search_live(searcher *s)
{
    int          found = 0;
    fault_block *f;

    for (f = s->books.blocks.next; f != &s->books.blocks; f = f->next)
        found += search_in(s, (char *)f + FAULT_BLOCK_ROOM, f->size) ? 1 : 0;
    return found;
}

static void search_add(searcher *s, const void *secret, size_t size)
{
    s->secret[s->secrets] = (const unsigned char *)secret;
    s->size[s->secrets++] = size;
}

/* The number that is the secret of a key, both ways round, for the limbs of a number in memory lie
 * the other way. */
static void secret_number(const unsigned char seed[FRN_SEED_BYTES], unsigned char number[64])
{
    assert_int_equal(frn_key_number(seed, number), 0);
    for (int i = 0; i < 32; i++)
        number[32 + i] = number[31 - i];
}

static void secret_of_cluster(unsigned char number[64])
{
    static const char salt[] = "francis-ca-salt-v1", info[] = "francis-ca-p256-v1";
    unsigned char     seed[FRN_SEED_BYTES];

    assert_int_equal(mbedtls_hkdf(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256),
                                  (const unsigned char *)salt, strlen(salt),
                                  (const unsigned char *)cluster_key, strlen(cluster_key),
                                  (const unsigned char *)info, strlen(info), seed,
                                  sizeof seed), 0);
    secret_number(seed, number);
}

/* Would catch: a secret in memory that is given back, through whatever error or success. */
static void secrets_are_wiped(void **state)
{
    static unsigned char of_cluster[64], of_host[64];
    base                *b = base_new();
    searcher             s;
    frn_trust           *t = NULL;
    frn_identity        *i = NULL, *other;
    void                *block;
    char                 error[200];
    (void)state;

    memset(&s, 0, sizeof s);
    fault_alloc_init(&s.books);
    memset(b->next_random, 0x5c, sizeof b->next_random);
    secret_of_cluster(of_cluster);
    secret_number(b->next_random, of_host);
    search_add(&s, of_cluster, 32);
    search_add(&s, of_cluster + 32, 32);
    search_add(&s, of_host, 32);
    search_add(&s, of_host + 32, 32);
    search_add(&s, b->next_random, sizeof b->next_random);
    search_add(&s, cluster_key, strlen(cluster_key));
    b->mem.fn = search_alloc;
    b->mem.user = &s;
    block = frn_mem_alloc(&b->mem, 500);        /* the search itself finds what there is */
    assert_non_null(block);
    if (block != NULL)
        memcpy((char *)block + 300, of_host, 32);
    frn_mem_free(&b->mem, block, 500);
    assert_int_equal(s.found, 1);
    s.found = 0;
    b->use_next = true;
    t_ok(frn_trust_new(&b->mem, &b->plat, cluster_key, other_key, &t, error, sizeof error));
    t_ok(frn_identity_new(t, "host-1", FRANCIS_HOURS(24), &i, error, sizeof error));
    assert_false(b->use_next);
    other = base_identity(b, cluster_key, NULL, "host-2");
    friends(i, other);
    assert_int_equal(search_live(&s), 0);       /* only mbedTLS has them */
    frn_trust_free(t);
    assert_true(mbedtls_pk_get_type(&i->trust->signer.pk) == MBEDTLS_PK_NONE);
    frn_identity_drop(i);
    frn_identity_drop(other);
    assert_int_equal(s.found, 0);
    assert_null(fault_alloc_check(&s.books));
    base_free(b);
}

/* Would catch: a host that keeps its cluster's key in words. */
static void key_is_not_kept(void **state)
{
    searcher          s;
    francis_host     *host = NULL;
    francis_host_desc d;
    (void)state;

    memset(&s, 0, sizeof s);
    fault_alloc_init(&s.books);
    search_add(&s, cluster_key, strlen(cluster_key));
    search_add(&s, other_key, strlen(other_key));
    memset(&d, 0, sizeof d);
    d.database = ":memory:";
    d.address = "127.0.0.1:7571";         /* not listened on: it is not started */
    d.cluster_key = cluster_key;
    d.cluster_keys_old = other_key;
    d.workers = FRANCIS_NO_WORKERS;
    d.on_alloc = search_alloc;
    d.alloc_user = &s;
    if (francis_open(&host, &d) != FRANCIS_OK)
        fail_msg("%s", francis_host_error(host));
    assert_int_equal(search_live(&s), 0);
    francis_close(host);
    assert_int_equal(s.found, 0);
    assert_null(fault_alloc_check(&s.books));
}

/* ---- what fails ---- */

/* Would catch: a key of all zeroes because there was no randomness, or a leak on the way back. */
static void without_randomness(void **state)
{
    base         *b = base_new();
    frn_trust    *t = base_trust(b, cluster_key, NULL);
    frn_identity *i = NULL;
    char          error[200] = "";
    (void)state;

    b->no_random = true;
    t_result(frn_identity_new(t, "host-1", FRANCIS_HOURS(24), &i, error, sizeof error),
             FRANCIS_ERR_INTERNAL);
    assert_null(i);
    assert_string_equal(error, "the system has no randomness for keys");
    b->no_random = false;
    t_ok(frn_identity_new(t, "host-1", FRANCIS_HOURS(24), &i, error, sizeof error));
    frn_identity_drop(i);
    frn_trust_free(t);
    base_free(b);
}

static void without_memory(void **state)
{
    base         *b = base_new();
    frn_trust    *t = NULL;
    frn_identity *i = NULL;
    char          error[200] = "";
    (void)state;

    fault_alloc_fail(&b->memory, 1, false);
    t_result(frn_trust_new(&b->mem, &b->plat, cluster_key, NULL, &t, error, sizeof error),
             FRANCIS_ERR_NOMEM);
    assert_null(t);
    t = base_trust(b, cluster_key, NULL);
    fault_alloc_fail(&b->memory, 1, false);
    t_result(frn_identity_new(t, "host-1", FRANCIS_HOURS(24), &i, error, sizeof error),
             FRANCIS_ERR_NOMEM);
    assert_null(i);
    t_ok(frn_identity_new(t, "host-1", FRANCIS_HOURS(24), &i, error, sizeof error));
    fault_alloc_fail(&b->memory, 1, false);
    assert_null(frn_tls_new(i, true, NULL, NULL, end_send, end_recv));
    frn_identity_drop(i);
    frn_trust_free(t);
    base_free(b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(authority_is_fixed),
    cmocka_unit_test(authority_in_another_process),
    cmocka_unit_test(authority_as_others_read_it),
    cmocka_unit_test(authority_as_pem),
    cmocka_unit_test(keys),
    cmocka_unit_test(rotation),
    cmocka_unit_test(times),
    cmocka_unit_test(certificates),
    cmocka_unit_test(another_host),
    cmocka_unit_test(weak_clients),
#if !FRN_MBED3
    cmocka_unit_test(old_versions),
#endif
    cmocka_unit_test(strangers_are_brief),
    cmocka_unit_test(clocks),
    cmocka_unit_test(lifetimes),
    cmocka_unit_test(each_its_own),
    cmocka_unit_test(renewal),
    cmocka_unit_test(secrets_are_wiped),
    cmocka_unit_test(key_is_not_kept),
    cmocka_unit_test(without_randomness),
    cmocka_unit_test(without_memory),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
