/* The limits of calls between hosts: mbedTLS over blocking sockets, with the certificates and the
 * suite of the hosts, and nothing around it. The server is a process of its own. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include "base.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static const char cluster_key[] = "the key of a cluster that is measured";

typedef struct {                    /* a member of the cluster without a host */
    frn_mem       mem;
    frn_plat      plat;
    frn_trust    *trust;
    frn_identity *identity;
} bare_member;

typedef struct {
    mbedtls_ssl_context ssl;
    int                 fd;
} bare_tls;

static void bare_member_open(bare_member *m, const char *name)
{
    char error[200] = "";
    (void)memset(m, 0, sizeof *m);
    if (frn_trust_new(&m->mem, &m->plat, cluster_key, NULL, &m->trust, error, sizeof error) !=
            FRANCIS_OK ||
        frn_identity_new(m->trust, name, FRANCIS_DAYS(1), &m->identity, error, sizeof error) !=
            FRANCIS_OK)
        die("a certificate: %s", error);
}

static void bare_member_close(bare_member *m)
{
    frn_identity_drop(m->identity);
    frn_trust_drop(m->trust);
}

static int bare_tls_send(void *user, const unsigned char *data, size_t size)
{
    ssize_t n = send(((bare_tls *)user)->fd, data, size, MSG_NOSIGNAL);
    return n < 0 ? MBEDTLS_ERR_SSL_WANT_WRITE - 1 : (int)n;
}

static int bare_tls_recv(void *user, unsigned char *data, size_t size)
{
    ssize_t n = recv(((bare_tls *)user)->fd, data, size, 0);
    return n < 0 ? MBEDTLS_ERR_SSL_WANT_WRITE - 1 : (int)n;
}

/* Of a socket that is connected, which it closes. False: the other end has gone. */
static bool bare_tls_open(bare_tls *t, bare_member *m, int fd, bool server)
{
    int one = 1;
    t->fd = fd;
    mbedtls_ssl_init(&t->ssl);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (mbedtls_ssl_setup(&t->ssl, server ? &m->identity->server : &m->identity->client) != 0 ||
        (!server && mbedtls_ssl_set_hostname(&t->ssl, NULL) != 0))
        die("a connection: no memory");
    mbedtls_ssl_set_bio(&t->ssl, t, bare_tls_send, bare_tls_recv, NULL);
    return mbedtls_ssl_handshake(&t->ssl) == 0;
}

static void bare_tls_close(bare_tls *t)
{
    mbedtls_ssl_free(&t->ssl);
    (void)close(t->fd);
}

static bool bare_tls_write(bare_tls *t, const unsigned char *data, size_t size)
{
    while (size > 0) {
        int n = mbedtls_ssl_write(&t->ssl, data, size);
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static bool bare_tls_read(bare_tls *t, unsigned char *data, size_t size)
{
    while (size > 0) {
        int n = mbedtls_ssl_read(&t->ssl, data, size);
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static int bare_connect(int port)
{
    struct sockaddr_in in;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons((uint16_t)port);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&in, sizeof in) != 0)
        die("connect: %s", strerror(errno));
    return fd;
}

/* A socket of this machine, and its port; it listens if that is wanted. */
static int bare_socket(int *port, bool listens)
{
    struct sockaddr_in in;
    socklen_t          size = sizeof in;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&in, sizeof in) != 0 ||
        (listens && listen(fd, 64) != 0) || getsockname(fd, (struct sockaddr *)&in, &size) != 0)
        die("a socket: %s", strerror(errno));
    *port = ntohs(in.sin_port);
    return fd;
}

enum { BARE_BYTES_MAX = 1 << 20 };  /* of a write */

/* Each write of the size that comes first is answered with as many bytes as comes second. */
static void bare_serve(bare_tls *t)
{
    static unsigned char data[BARE_BYTES_MAX];
    uint32_t             sizes[2];
    if (!bare_tls_read(t, (unsigned char *)sizes, sizeof sizes) || sizes[0] > sizeof data ||
        sizes[1] > sizeof data)
        return;
    while (bare_tls_read(t, data, sizes[0]))
        if (!bare_tls_write(t, data, sizes[1]))
            return;
}

/* The process: one connection after the other, until it is killed. */
static int bare_server_child(void)
{
    bare_member m;
    int         port, fd = bare_socket(&port, true);
    bare_member_open(&m, "bare-server");
    if (write(STDOUT_FILENO, &port, sizeof port) != (ssize_t)sizeof port)
        return 1;
    for (;;) {
        bare_tls t;
        int      peer = accept(fd, NULL, NULL);
        if (peer < 0)
            continue;
        if (bare_tls_open(&t, &m, peer, true))
            bare_serve(&t);
        bare_tls_close(&t);
    }
}

typedef struct {                    /* a connection that is used again and again */
    bare_tls tls;
    uint32_t sizes[2];              /* of a write and its answer */
    unsigned depth;                 /* writes under way at a time */
} bare_pipe;

static void bare_pipe_open(bare_pipe *p, bare_member *m, int port, uint32_t size, uint32_t answer,
                           unsigned depth)
{
    p->sizes[0] = size;
    p->sizes[1] = answer;
    p->depth = depth;
    if (!bare_tls_open(&p->tls, m, bare_connect(port), false) ||
        !bare_tls_write(&p->tls, (const unsigned char *)p->sizes, sizeof p->sizes))
        die("bare TLS: no connection");
}

static void bare_pipe_close(bare_pipe *p)
{
    (void)mbedtls_ssl_close_notify(&p->tls.ssl);
    bare_tls_close(&p->tls);
}

/* Writes and their answers per second. */
static double bare_pipe_run(bare_pipe *p, double seconds)
{
    static unsigned char data[BARE_BYTES_MAX];
    double               start = now_s(), end = start + seconds, t = start;
    uint64_t             n = 0;
    unsigned             i;
    bool                 ok = true;
    for (i = 0; i + 1 < p->depth; i++)
        ok = ok && bare_tls_write(&p->tls, data, p->sizes[0]);
    for (; ok && t < end; n++, t = now_s())
        ok = bare_tls_write(&p->tls, data, p->sizes[0]) &&
             bare_tls_read(&p->tls, data, p->sizes[1]);
    for (i = 0; i + 1 < p->depth; i++)
        ok = ok && bare_tls_read(&p->tls, data, p->sizes[1]);
    if (!ok)
        die("bare TLS: the other end has gone");
    check_interrupted();
    return (double)n / (t - start);
}

/* Microseconds of the median write and its answer. */
static double bare_pipe_us(bare_pipe *p, unsigned count)
{
    static unsigned char data[BARE_BYTES_MAX];
    double               times[1024];
    unsigned             i;
    for (i = 0; i < count; i++) {
        double start = now_s();
        if (!bare_tls_write(&p->tls, data, p->sizes[0]) ||
            !bare_tls_read(&p->tls, data, p->sizes[1]))
            die("bare TLS: the other end has gone");
        times[i] = (now_s() - start) * 1e6;
    }
    check_interrupted();
    return median_of(times, count);
}

/* Handshakes per second, one after the other: both sides' work. */
static double bare_handshakes(bare_member *m, int port, double seconds)
{
    double   start = now_s(), t = start;
    unsigned n = 0;
    for (; t < start + seconds; n++, t = now_s()) {
        bare_tls tls;
        if (!bare_tls_open(&tls, m, bare_connect(port), false))
            die("handshake %u came to nothing", n);
        (void)mbedtls_ssl_close_notify(&tls.ssl);
        bare_tls_close(&tls);
    }
    check_interrupted();
    return n / (t - start);
}

#endif /* BENCH_TLS_H */
