/* Cluster keys that a user gives, and certificates that a peer shows: bytes that nobody has signed,
 * bytes that the cluster's authority has, and certificates whose parts are chosen, of which it is
 * known whether they will do. */
#ifndef FUZZ_KEYS_H
#define FUZZ_KEYS_H

#include "identities.h"

static struct {
    base *b;
    bool  no_protocol;              /* the peer has not agreed to ours */
} keys;

static const char *fuzz_ssl_protocol(const mbedtls_ssl_context *ssl)
{
    (void)ssl;
    return keys.no_protocol ? NULL : FRN_ALPN_PEER;
}

/* ---- keys of a cluster ---- */

static bool fuzz_secret_fits(const char *secret, size_t size)
{
    return size >= 32 && memchr(secret, '\n', size) == NULL && memchr(secret, '\r', size) == NULL;
}

/* Whether each line is a key, and they are not too many. */
static bool fuzz_secrets_fit(const char *key, const char *old)
{
    char   seen[FRN_KEYS_MAX][600];
    size_t count = 1, i;

    if (!fuzz_secret_fits(key, strlen(key)))
        return false;
    (void)snprintf(seen[0], sizeof seen[0], "%s", key);
    while (*old != '\0') {
        size_t size = strcspn(old, "\r\n");
        if (size == 0) {
            old++;
            continue;
        }
        if (count == FRN_KEYS_MAX || !fuzz_secret_fits(old, size))
            return false;
        for (i = 0; i < count && (strlen(seen[i]) != size || memcmp(seen[i], old, size) != 0); i++)
            continue;
        if (i == count)
            (void)snprintf(seen[count++], sizeof seen[0], "%.*s", (int)size, old);
        old += size;
    }
    return true;
}

static void fuzz_pem(const char *key)
{
    char             pem[1024], small[600];
    size_t           size = fuzz_16() % sizeof small;
    francis_result   r = francis_ca_pem(key, pem, sizeof pem);
    mbedtls_x509_crt crt;

    fuzz_must(r == (fuzz_secret_fits(key, strlen(key)) ? FRANCIS_OK : FRANCIS_ERR_INVALID));
    if (r != FRANCIS_OK) {
        fuzz_must(pem[0] == '\0');
        return;
    }
    mbedtls_x509_crt_init(&crt);
    fuzz_must(mbedtls_x509_crt_parse(&crt, (unsigned char *)pem, strlen(pem) + 1) == 0);
    mbedtls_x509_crt_free(&crt);
    memset(small, 'x', sizeof small);
    r = francis_ca_pem(key, small, size);
    fuzz_must(r == (size == 0 ? FRANCIS_ERR_INVALID : strlen(pem) < size ? FRANCIS_OK
                                                                        : FRANCIS_ERR_TOO_LARGE));
    if (size > 0)
        fuzz_must(strcmp(small, r == FRANCIS_OK ? pem : "") == 0);
    fuzz_must(small[size] == 'x');
}

static void fuzz_secrets(void)
{
    char           error[200] = "";
    unsigned       what = fuzz_byte();
    char          *key = fuzz_text(what % 64), *old = NULL;
    frn_trust     *t = NULL;
    francis_result r;

    if (what >= 128)
        fuzz_pem(key);
    old = fuzz_text(500);
    r = frn_trust_new(&keys.b->mem, &keys.b->plat, key, old, &t, error, sizeof error);
    fuzz_must(r == (fuzz_secrets_fit(key, old) ? FRANCIS_OK : FRANCIS_ERR_INVALID));
    fuzz_must((r == FRANCIS_OK) == (t != NULL) && (r == FRANCIS_OK) == (error[0] == '\0'));
    frn_trust_free(t);
    free(old);
    free(key);
}

/* ---- certificates ---- */

static bool fuzz_id_fits(const char *id)
{
    size_t size = strlen(id);

    for (const char *c = id; *c != '\0'; c++)
        if (!((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
              *c == '-' || *c == '.' || *c == '_'))
            return false;
    return size >= 1 && size <= 63;
}

/* Whether a host takes it, as TLS asks that; peer: by which name. */
static bool fuzz_judge(mbedtls_x509_crt *chain, unsigned how, char peer[FRN_HOST_ID_SIZE])
{
    frn_tls *t = frn_tls_new(fuzz_identities[FUZZ_HOST], (how & 1) != 0,
                             (how & 2) != 0 ? "peer" : NULL, NULL, NULL, NULL);
    uint32_t flags = 0;
    int      rc;

    fuzz_must(t != NULL);
    keys.no_protocol = (how & 12) == 12;
    rc = mbedtls_x509_crt_verify_with_profile(chain, &fuzz_identities[FUZZ_HOST]->trust->roots,
                                              NULL, &mbedtls_x509_crt_profile_suiteb, NULL, &flags,
                                              frn_tls_verify, t);
    fuzz_must(strlen(t->fault) < sizeof t->fault && strlen(t->peer) < sizeof t->peer);
    fuzz_must(rc == 0 || flags != 0);
    fuzz_must(rc != 0 || (t->fault[0] == '\0' && t->peer[0] != '\0'));
    fuzz_must(rc != 0 || !t->pinned || strcmp(t->peer, "peer") == 0);
    (void)snprintf(peer, FRN_HOST_ID_SIZE, "%s", t->peer);
    frn_tls_free(t);
    return rc == 0 && !keys.no_protocol;
}

/* A chain that nobody has signed who could: what is taken is the certificate of a member. */
static void fuzz_chain(unsigned how)
{
    mbedtls_x509_crt        chain;
    const mbedtls_x509_crt *known = &fuzz_identities[FUZZ_PEER]->cert;
    char                    peer[FRN_HOST_ID_SIZE];

    mbedtls_x509_crt_init(&chain);
    for (int i = 0; i < 3 && fuzz_left() > 0; i++) {
        size_t         size;
        const uint8_t *data = fuzz_take(fuzz_16(), &size);
        (void)mbedtls_x509_crt_parse_der(&chain, data, size);
    }
    if (chain.version != 0 && fuzz_judge(&chain, how, peer)) {
        fuzz_must(chain.tbs.len == known->tbs.len || strcmp(peer, "peer") != 0);
        if (strcmp(peer, "peer") == 0)
            fuzz_must(memcmp(chain.tbs.p, known->tbs.p, known->tbs.len) == 0);
        else
            fuzz_must(strcmp(peer, "host") == 0);
    }
    mbedtls_x509_crt_free(&chain);
}

static bool fuzz_parse(mbedtls_x509_crt *crt, const frn_der *der)
{
    return mbedtls_x509_crt_parse_der(crt, der->bytes + der->at, sizeof der->bytes - der->at) == 0;
}

/* Bytes that the authority has signed, whatever they are. */
static void fuzz_signed(unsigned how)
{
    frn_identity    *host = fuzz_identities[FUZZ_HOST];
    frn_key          authority;
    frn_der          body, der;
    mbedtls_x509_crt crt;
    char             peer[FRN_HOST_ID_SIZE], uri[200];
    size_t           size;
    const uint8_t   *data = fuzz_take(800, &size);

    frn_key_init(&authority);
    fuzz_must(frn_key_derive(&authority, cluster_key, strlen(cluster_key), &keys.b->plat) == 0);
    frn_der_init(&body);
    frn_der_put(&body, data, size);
    fuzz_must(frn_cert_sign(&der, &body, &authority, &keys.b->plat) == 0);
    mbedtls_x509_crt_init(&crt);
    if (fuzz_parse(&crt, &der) && fuzz_judge(&crt, how, peer)) {
        int64_t now = frn_plat_wall_ms(host->trust->plat);
        int     n = snprintf(uri, sizeof uri, "spiffe://francis/host/%s", peer);
        bool    named = false;
        for (size_t i = 0; i + (size_t)n <= size; i++)
            named = named || memcmp(data + i, uri, (size_t)n) == 0;
        fuzz_must(named && fuzz_id_fits(peer));
        fuzz_must(frn_x509_ms(&crt.valid_from) <= now && now <= frn_x509_ms(&crt.valid_to));
    }
    mbedtls_x509_crt_free(&crt);
    frn_key_free(&authority);
}

static void fuzz_made(unsigned how)
{
    bool             member = fuzz_byte() % 4 != 0, fits;
    int64_t          now = frn_plat_wall_ms(fuzz_identities[FUZZ_HOST]->trust->plat);
    int64_t          from = now + ((int64_t)fuzz_16() - 60000) * 1000;
    int64_t          to = now + ((int64_t)fuzz_16() - 5000) * 1000;
    char            *id = fuzz_text(FRN_HOST_ID_SIZE - 1);
    frn_key          authority;
    frn_der          der;
    mbedtls_x509_crt crt;
    char             peer[FRN_HOST_ID_SIZE];
    const char      *secret = member ? cluster_key : other_key;

    frn_key_init(&authority);
    fuzz_must(frn_key_derive(&authority, secret, strlen(secret), &keys.b->plat) == 0);
    fuzz_must(frn_cert_of_host(&der, &fuzz_identities[FUZZ_PEER]->key, &authority, id, from, to,
                               &keys.b->plat) == 0);
    mbedtls_x509_crt_init(&crt);
    fits = fuzz_parse(&crt, &der);
    fuzz_must(fits);
    fits = member && from <= now && now <= to && fuzz_id_fits(id) &&
           (how & 12) != 12 && ((how & 2) == 0 || strcmp(id, "peer") == 0);
    fuzz_must(fuzz_judge(&crt, how, peer) == fits);
    fuzz_must(!fits || strcmp(peer, id) == 0);
    mbedtls_x509_crt_free(&crt);
    frn_key_free(&authority);
    free(id);
}

static void fuzz_keys(const uint8_t *data, size_t size)
{
    unsigned how;

    fuzz_identities_make();
    keys.b = fuzz_base_new(data, size);
    keys.no_protocol = false;
    how = fuzz_byte();
    switch (how % 4) {
    case 0: fuzz_secrets(); break;
    case 1: fuzz_chain(how / 4); break;
    case 2: fuzz_signed(how / 4); break;
    default: fuzz_made(how / 4); break;
    }
    base_free(keys.b);
    fuzz_identities_check();
}

#endif
