/* What comes to a host that listens, before and while TLS finds out from whom: bytes of strangers,
 * and the flights of a real TLS client, whole, cut, changed or left out. Only the member gets in;
 * nobody keeps others out. */
#ifndef FUZZ_HANDSHAKE_H
#define FUZZ_HANDSHAKE_H

#include "identities.h"

enum { FUZZ_SOCKETS = 5, FUZZ_PIPE = 65536, FUZZ_SHAKING_MAX = 3 };

typedef struct fuzz_pipe {
    size_t        size;
    unsigned char data[FUZZ_PIPE];
} fuzz_pipe;

typedef struct fuzz_socket {
    bool      used, accepted, eof;
    bool      failed;               /* the client has given up */
    bool      in;                   /* it is authenticated */
    int64_t   ahead_ms;             /* of the time of day, when it began */
    fuzz_who  who;
    frn_tls  *tls;                  /* the client's */
    fuzz_pipe said, to_host, from_host;     /* said: not delivered yet */
} fuzz_socket;

static struct {
    base       *b;
    frn_net    *net;
    fuzz_socket sockets[FUZZ_SOCKETS + 1];      /* by number; 0 listens */
    unsigned    now;                /* whose turn it is */
} shake;

/* ---- pipes ---- */

static void fuzz_pipe_put(fuzz_pipe *p, const void *data, size_t size)
{
    if (size > sizeof p->data - p->size)
        size = sizeof p->data - p->size;
    if (size > 0)
        memcpy(p->data + p->size, data, size);
    p->size += size;
}

static size_t fuzz_pipe_get(fuzz_pipe *p, void *data, size_t size)
{
    if (size > p->size)
        size = p->size;
    if (data != NULL && size > 0)
        memcpy(data, p->data, size);
    memmove(p->data, p->data + size, p->size - size);
    p->size -= size;
    return size;
}

static int fuzz_client_send(void *io, const unsigned char *data, size_t size)
{
    fuzz_socket *s = (fuzz_socket *)io;

    if (s->said.size + size > sizeof s->said.data)
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    fuzz_pipe_put(&s->said, data, size);
    return (int)size;
}

static int fuzz_client_recv(void *io, unsigned char *data, size_t size)
{
    fuzz_socket *s = (fuzz_socket *)io;
    size_t       n = fuzz_pipe_get(&s->from_host, data, size);

    return n > 0 ? (int)n : MBEDTLS_ERR_SSL_WANT_READ;
}

/* ---- the platform of the host ---- */

static int fuzz_net_listen(const char *address, void *user)
{
    (void)address;
    (void)user;
    return 0;
}

static int fuzz_net_accept(int listener, void *user)
{
    (void)user;
    fuzz_must(listener == 0);
    for (int i = 1; i <= FUZZ_SOCKETS; i++)
        if (shake.sockets[i].used && !shake.sockets[i].accepted) {
            shake.sockets[i].accepted = true;
            return i;
        }
    return -EAGAIN;
}

static int fuzz_net_connect(const char *address, void *user)
{
    (void)address;
    (void)user;
    return -ECONNREFUSED;
}

static fuzz_socket *fuzz_socket_at(int number)
{
    fuzz_must(number > 0 && number <= FUZZ_SOCKETS && shake.sockets[number].used);
    return &shake.sockets[number];
}

static int fuzz_net_read(int number, void *data, size_t size, void *user)
{
    fuzz_socket *s = fuzz_socket_at(number);
    size_t       n = fuzz_pipe_get(&s->to_host, data, size);

    (void)user;
    fuzz_must(size > 0);
    return n > 0 ? (int)n : s->eof ? 0 : -EAGAIN;
}

static int fuzz_net_write(int number, const void *data, size_t size, void *user)
{
    fuzz_socket *s = fuzz_socket_at(number);

    (void)user;
    if (s->from_host.size + size > sizeof s->from_host.data)
        return -EAGAIN;
    fuzz_pipe_put(&s->from_host, data, size);
    return (int)size;
}

static void fuzz_socket_free(fuzz_socket *s)
{
    frn_tls_free(s->tls);
    memset(s, 0, offsetof(fuzz_socket, said));
    s->said.size = s->to_host.size = s->from_host.size = 0;
}

static void fuzz_net_close(int number, void *user)
{
    (void)user;
    if (number != 0)
        fuzz_socket_free(fuzz_socket_at(number));
}

static int fuzz_net_poll(struct pollfd *fds, size_t count, int64_t timeout_ns, void *user)
{
    int ready = 0;

    (void)timeout_ns;
    (void)user;
    for (size_t i = 0; i < count; i++) {
        fuzz_socket *s = fuzz_socket_at(fds[i].fd);
        if (s->to_host.size > 0 || s->eof)
            fds[i].revents = (short)(fds[i].revents | POLLIN);
        if (s->from_host.size < FUZZ_PIPE / 2)
            fds[i].revents = (short)(fds[i].revents | POLLOUT);
        fds[i].revents = (short)(fds[i].revents & fds[i].events);
        ready += fds[i].revents != 0;
    }
    return ready;
}

/* ---- what holds at any time ---- */

static void fuzz_shake_check(void)
{
    frn_net *n = shake.net;

    fuzz_must(n->shaking <= FUZZ_SHAKING_MAX && shake.b->mem.used < 4u << 20);
    for (frn_list *l = n->links.next; l != &n->links; l = l->next) {
        const frn_link *c = FRN_OF(frn_link, all, l);
        fuzz_socket    *s = fuzz_socket_at(c->fd);
        if (c->state == FRN_LINK_SHAKING) {
            fuzz_must(c->peer == NULL && c->part == NULL && !c->hello_due);
            fuzz_must(c->tls->received <= FRN_STRANGER_BYTES_MAX);
            continue;
        }
        fuzz_must(s->who == FUZZ_PEER && c->peer != NULL && strcmp(c->peer->id, "peer") == 0);
        fuzz_must(s->in || s->ahead_ms != fuzz_base->ahead_ms ||
                  s->ahead_ms <= FRANCIS_HOURS(24) + FRN_CLOCK_SLACK_MS);
        s->in = true;
    }
}

static void fuzz_client_pump(fuzz_socket *s)
{
    unsigned char data[256];
    int           r;

    if (s->tls == NULL || s->failed)
        return;
    r = frn_mbed_open(s->tls->ssl) ? frn_tls_read(s->tls, data, sizeof data)
                                   : frn_tls_handshake(s->tls);
    s->failed = r < 0 && r != MBEDTLS_ERR_SSL_WANT_READ && r != MBEDTLS_ERR_SSL_WANT_WRITE;
}

static void fuzz_shake_step(void)
{
    frn_net_event *e, *next;

    frn_net_step(shake.net, NULL, 0);
    for (e = frn_net_events(shake.net); e != NULL; e = next) {
        next = e->next;
        frn_net_event_free(shake.net, e);
    }
    frn_log_flush(&shake.b->log);
    fuzz_shake_check();
    for (int i = 1; i <= FUZZ_SOCKETS; i++)
        fuzz_client_pump(&shake.sockets[i]);
}

/* ---- what strangers do ---- */

static void fuzz_dial(unsigned number, fuzz_who who)
{
    fuzz_socket *s = &shake.sockets[number];

    shake.now = number;
    if (s->used)
        return;
    s->used = true;
    s->who = who;
    s->ahead_ms = fuzz_base->ahead_ms;
    s->tls = frn_tls_new(fuzz_identities[who], false, "host", s, fuzz_client_send,
                         fuzz_client_recv);
    fuzz_must(s->tls != NULL);
    fuzz_client_pump(s);
}

static void fuzz_deliver(fuzz_socket *s, size_t size)
{
    unsigned char data[FUZZ_PIPE];
    size_t        n = fuzz_pipe_get(&s->said, data, size);

    fuzz_pipe_put(&s->to_host, data, n);
}

/* So many bytes of it, one of them changed. */
static void fuzz_deliver_changed(fuzz_socket *s, size_t size, size_t which, unsigned mask)
{
    if (which < size && which < s->said.size)
        s->said.data[which] ^= (unsigned char)mask;
    fuzz_deliver(s, size);
}

static void fuzz_raw(fuzz_socket *s, size_t want)
{
    size_t         size;
    const uint8_t *data = fuzz_take(want, &size);

    fuzz_pipe_put(&s->to_host, data, size);
}

/* A record of TLS: of its size some bytes are given, the rest are zeroes. */
static void fuzz_record(fuzz_socket *s)
{
    static const unsigned char zeroes[65536];
    unsigned char              head[5] = { 22, 3, 3, 0, 0 };
    unsigned                   type = fuzz_byte(), size = fuzz_16();
    size_t                     given = fuzz_byte();

    if (type < 8)
        head[0] = (unsigned char)(19 + type);
    head[3] = (unsigned char)(size >> 8);
    head[4] = (unsigned char)size;
    fuzz_pipe_put(&s->to_host, head, sizeof head);
    if (given > size)
        given = size;
    if (given > fuzz_left())
        given = fuzz_left();
    fuzz_raw(s, given);
    fuzz_pipe_put(&s->to_host, zeroes, size - given);
}

static void fuzz_client_says(fuzz_socket *s)
{
    size_t         size;
    const uint8_t *data = fuzz_take(fuzz_byte(), &size);

    if (size > 0 && s->tls != NULL && !s->failed && frn_mbed_open(s->tls->ssl))
        (void)frn_tls_write(s->tls, data, size);
}

static void fuzz_all_goes(int rounds)
{
    while (rounds-- > 0) {
        for (int i = 1; i <= FUZZ_SOCKETS; i++)
            fuzz_deliver(&shake.sockets[i], FUZZ_PIPE);
        fuzz_shake_step();
    }
}

static void fuzz_time(void)
{
    unsigned unit = fuzz_byte();
    int64_t  n = (int64_t)fuzz_byte();

    if (unit % 4 == 3)
        fuzz_base->ahead_ms += n * FRANCIS_HOURS(1);
    else
        FRN_STORE(&shake.b->ahead_ns, shake.b->ahead_ns + n * (unit % 4 == 0 ? 10 : 500) * FRN_MS);
}

static void fuzz_shake_do(unsigned what)
{
    fuzz_socket *s = &shake.sockets[shake.now];
    unsigned     size, which;

    if (what % 12 == 0) {
        which = fuzz_byte();
        fuzz_dial(1 + which % (FUZZ_SOCKETS - 1), (fuzz_who)(1 + which / 8 % (FUZZ_WHO - 1)));
        return;
    }
    if (!s->used)
        return;
    switch (what % 12) {
    case 1:
    case 2: fuzz_deliver(s, fuzz_16()); break;
    case 3:
    case 4:
        size = fuzz_16();
        which = fuzz_16();
        fuzz_deliver_changed(s, size, which, fuzz_byte());
        break;
    case 5: (void)fuzz_pipe_get(&s->said, NULL, fuzz_byte()); break;
    case 6: fuzz_raw(s, fuzz_byte()); break;
    case 7: fuzz_record(s); break;
    case 8: fuzz_client_says(s); break;
    case 9: fuzz_time(); break;
    case 10: s->eof = true; break;
    case 11: fuzz_all_goes(2); break;
    default: break;
    }
}

/* Whatever has been tried: a member gets in. */
static void fuzz_member_comes(void)
{
    bool in = false;

    fuzz_base->ahead_ms = 0;
    FRN_STORE(&shake.b->ahead_ns, shake.b->ahead_ns + 1500 * FRN_MS);
    fuzz_shake_step();
    fuzz_dial(FUZZ_SOCKETS, FUZZ_PEER);
    for (int i = 0; i < 30 && !in; i++) {
        FRN_STORE(&shake.b->ahead_ns, shake.b->ahead_ns + 50 * FRN_MS);
        fuzz_deliver(&shake.sockets[FUZZ_SOCKETS], FUZZ_PIPE);
        fuzz_shake_step();
        for (frn_list *l = shake.net->links.next; l != &shake.net->links; l = l->next) {
            const frn_link *c = FRN_OF(frn_link, all, l);
            in = in || (c->fd == FUZZ_SOCKETS && c->state >= FRN_LINK_GREETING);
        }
    }
    fuzz_must(in);
}

static void fuzz_shake_open(void)
{
    francis_platform *p = &shake.b->plat.hooks;
    frn_net_desc      d;
    char              error[100];

    p->poll = fuzz_net_poll;
    p->net_listen = fuzz_net_listen;
    p->net_accept = fuzz_net_accept;
    p->net_connect = fuzz_net_connect;
    p->net_read = fuzz_net_read;
    p->net_write = fuzz_net_write;
    p->net_close = fuzz_net_close;
    memset(&d, 0, sizeof d);
    d.mem = &shake.b->mem;
    d.plat = &shake.b->plat;
    d.log = &shake.b->log;
    d.bind_address = "x:1";
    d.handshakes_max = FUZZ_SHAKING_MAX;
    fuzz_must(frn_net_open(&shake.net, &d, error, sizeof error) == FRANCIS_OK);
    frn_net_identity(shake.net, fuzz_identities[FUZZ_HOST], "host");
}

static void fuzz_handshake(const uint8_t *data, size_t size)
{
    unsigned mode;

    fuzz_identities_make();
    for (int i = 0; i <= FUZZ_SOCKETS; i++)
        fuzz_socket_free(&shake.sockets[i]);
    shake.b = fuzz_base_new(data, size);
    shake.b->log.level = FRANCIS_LOG_WARNING;
    fuzz_shake_open();
    mode = fuzz_byte();
    fuzz_base->ahead_ms = mode / 4 * FRANCIS_HOURS(1);      /* certificates are valid for 24 */
    fuzz_dial(1, FUZZ_PEER);
    while (fuzz_in.at < fuzz_in.end) {
        unsigned what = fuzz_byte();
        fuzz_shake_do(what);
        if (what < 128)
            fuzz_shake_step();
    }
    fuzz_shake_step();
    if (mode % 4 == 0)
        fuzz_member_comes();
    frn_net_close(shake.net);
    for (int i = 0; i <= FUZZ_SOCKETS; i++)
        fuzz_socket_free(&shake.sockets[i]);
    base_free(shake.b);
    fuzz_identities_check();
}

#endif
