/* Hosts of nothing but the transport, in one process and one thread, and peers that know the key
 * but keep to no protocol.
 *
 *     host *a = host_new("a", NULL), *b = host_new("b", NULL);
 *     call(a, b, 1, body, FRN_NEVER);
 *     e = await(b, FRN_NET_REQUEST, 0);        steps all hosts until there is one
 *     nets_end();                              closes all; everything was given back, or it fails
 *
 * Clocks are moved for all of them at once: nets_later(). */
#ifndef NETS_H
#define NETS_H

#include "layers.h"

enum { HOSTS_MAX = 8, FDS_MAX = 4096 };

typedef struct host {
    base          *base;
    frn_net       *net;
    frn_identity  *identity;
    char           id[FRN_HOST_ID_SIZE], address[80];
    frn_net_event *first, **last;   /* what has come and was not looked at */
    bool           echo;            /* requests are answered with their own head and body */
    bool           reads;           /* chunks are consumed at once */
    uint64_t       chunk_bytes, chunk_sum;  /* that have come; a sum that knows their order */
    size_t         echoed;
} host;

static host   *hosts[HOSTS_MAX];
static int     hosts_count;
static int64_t nets_ahead_ns;

static void host_take_event(host *h, frn_net_event *e)
{
    if (e->kind == FRN_NET_REQUEST && h->echo) {
        frn_net_answer(h->net, e->handle, e->head, e->body);
        frn_net_event_free(h->net, e);
        h->echoed++;
        return;
    }
    if (e->kind == FRN_NET_CHUNK && h->reads) {
        const unsigned char *p = (const unsigned char *)FRN_BYTES(e->body);
        for (size_t i = 0; i < e->body->size; i++)
            h->chunk_sum = h->chunk_sum * 31 + p[i];
        h->chunk_bytes += e->body->size;
        frn_net_stream_consumed(h->net, e->handle, e->body->size);
        frn_net_event_free(h->net, e);
        return;
    }
    e->next = NULL;
    *h->last = e;
    h->last = &e->next;
}

static void host_events(host *h)
{
    frn_net_event *e = frn_net_events(h->net), *next;

    for (; e != NULL; e = next) {
        next = e->next;
        host_take_event(h, e);
    }
    frn_log_flush(&h->base->log);
}

/* One round of all hosts; waits a millisecond at most. */
static void nets_step(void)
{
    static struct pollfd fds[FDS_MAX];
    int                  at[HOSTS_MAX + 1], wait_ms = 1;

    at[0] = 0;
    for (int i = 0; i < hosts_count; i++) {
        int n = frn_net_pollfds(hosts[i]->net, fds + at[i], FDS_MAX - at[i]);
        assert_true(n <= FDS_MAX - at[i]);
        at[i + 1] = at[i] + n;
        if (frn_net_next_ns(hosts[i]->net) <= base_now_ns(hosts[i]->base))
            wait_ms = 0;
    }
    assert_true(poll(fds, (nfds_t)at[hosts_count], wait_ms) >= 0 || errno == EINTR);
    for (int i = 0; i < hosts_count; i++) {
        frn_net_step(hosts[i]->net, fds + at[i], at[i + 1] - at[i]);
        host_events(hosts[i]);
    }
}

#define nets_until(condition)                                                      \
    do {                                                                           \
        int64_t nets_end_ = t_ms() + 60000;                                        \
        while (!(condition)) {                                                     \
            if (t_ms() > nets_end_)                                                \
                fail_msg("never came true: %s", #condition);                       \
            nets_step();                                                           \
        }                                                                          \
    } while (0)

static void nets_later(int64_t ms)
{
    nets_ahead_ns += ms * FRN_MS;
    for (int i = 0; i < hosts_count; i++)
        FRN_STORE(&hosts[i]->base->ahead_ns, nets_ahead_ns);
}

/* The port that it listens on. */
static int net_port(const frn_net *n)
{
    struct sockaddr_storage sa;
    socklen_t               size = (socklen_t)sizeof sa;
    char                    text[64];
    assert_int_equal(getsockname(n->fd, (struct sockaddr *)(void *)&sa, &size), 0);
    frn_addr_text(&sa, size, text, sizeof text);
    return atoi(strrchr(text, ':') + 1);
}

/* Time passes, and all that is due in it happens. */
static void nets_pass(int64_t ms, int64_t each_ms)
{
    for (; ms > 0; ms -= each_ms) {
        nets_later(each_ms < ms ? each_ms : ms);
        for (int i = 0; i < 20; i++)
            nets_step();
    }
}

static host *host_new(const char *id, const frn_net_desc *desc)
{
    host          *h = (host *)calloc(1, sizeof *h);
    frn_net_desc   d;
    char           error[200] = "";
    francis_result r;

    assert_non_null(h);
    memset(&d, 0, sizeof d);
    if (desc != NULL)
        d = *desc;
    h->base = base_new();
    h->base->ahead_ns = nets_ahead_ns;
    h->last = &h->first;
    (void)snprintf(h->id, sizeof h->id, "%s", id);
    d.mem = &h->base->mem;
    d.plat = &h->base->plat;
    d.log = &h->base->log;
    if (d.bind_address == NULL)
        d.bind_address = "127.0.0.1:0";
    r = frn_net_open(&h->net, &d, error, sizeof error);
    if (r != FRANCIS_OK)
        fail_msg("no net: %s", error);
    h->identity = base_identity(h->base, cluster_key, NULL, id);
    frn_net_identity(h->net, h->identity, id);
    (void)snprintf(h->address, sizeof h->address,
                   strchr(d.bind_address, '[') != NULL ? "[::1]:%d" : "127.0.0.1:%d",
                   net_port(h->net));
    assert_true(hosts_count < HOSTS_MAX);
    hosts[hosts_count++] = h;
    return h;
}

static void host_drop_events(host *h)
{
    while (h->first != NULL) {
        frn_net_event *e = h->first;
        h->first = e->next;
        frn_net_event_free(h->net, e);
    }
    h->last = &h->first;
}

static void host_end(host *h)
{
    for (int i = 0; i < hosts_count; i++)
        if (hosts[i] == h)
            hosts[i] = hosts[--hosts_count];
    host_drop_events(h);
    frn_net_close(h->net);
    frn_identity_drop(h->identity);
    base_free(h->base);
    free(h);
}

static void nets_end(void)
{
    while (hosts_count > 0)
        host_end(hosts[0]);
}

/* Of a test that failed: what it left behind has nothing to do with the next one. */
static int nets_setup(void **state)
{
    (void)state;
    hosts_count = 0;
    nets_ahead_ns = 0;
    return 0;
}

static frn_net_stats stats(host *h)
{
    frn_net_stats s;

    frn_net_stats_get(h->net, &s);
    return s;
}

/* The oldest event of a kind, taken out; handle 0 = of any. */
static frn_net_event *take(host *h, frn_net_kind kind, uint64_t handle)
{
    frn_net_event **at = &h->first;

    while (*at != NULL && ((*at)->kind != kind || (handle != 0 && (*at)->handle != handle)))
        at = &(*at)->next;
    if (*at != NULL) {
        frn_net_event *e = *at;
        *at = e->next;
        if (h->last == &e->next)
            h->last = at;
        return e;
    }
    return NULL;
}

static frn_net_event *await_at(host *h, frn_net_kind kind, uint64_t handle, int line)
{
    int64_t        end = t_ms() + 60000;
    frn_net_event *e;

    while ((e = take(h, kind, handle)) == NULL) {
        if (t_ms() > end) {
            for (e = h->first; e != NULL; e = e->next)
                print_error("there is: kind %d of %llx: %s\n", (int)e->kind,
                            (unsigned long long)e->handle, e->text);
            fail_msg("line %d: no event of kind %d", line, (int)kind);
        }
        nets_step();
    }
    return e;
}

#define await(h, kind, handle) await_at((h), (kind), (handle), __LINE__)

static void done(host *h, frn_net_event *e) { frn_net_event_free(h->net, e); }

/* Bytes that tell where they belong. */
static unsigned char pattern(uint64_t seed, size_t i)
{
    return (unsigned char)((i * 131 + (i >> 8) * 29 + seed * 17) & 0xff);
}

static frn_buf *bytes(host *h, size_t size, uint64_t seed)
{
    frn_buf       *b = frn_buf_new(&h->base->mem, size);
    unsigned char *p;

    assert_non_null(b);
    p = (unsigned char *)FRN_BYTES(b);
    for (size_t i = 0; i < size; i++)
        p[i] = pattern(seed, i);
    return b;
}

static bool same(const frn_buf *b, size_t size, uint64_t seed)
{
    const unsigned char *p;

    if (b == NULL || b->size != size)
        return false;
    p = (const unsigned char *)FRN_BYTES(b);
    for (size_t i = 0; i < size; i++)
        if (p[i] != pattern(seed, i))
            return false;
    return true;
}

enum { NO_BYTES = -1 };

/* With a head and a body of so many bytes of pattern; the handle is their seed. */
static francis_result call(host *from, host *to, uint64_t handle, int64_t head, int64_t body,
                           int64_t deadline_ns)
{
    frn_buf       *h = head >= 0 ? bytes(from, (size_t)head, handle + 1) : NULL;
    frn_buf       *b = body >= 0 ? bytes(from, (size_t)body, handle) : NULL;
    francis_result r = frn_net_call(from->net, to->id, to->address, handle, h, b, false,
                                    deadline_ns);

    frn_buf_drop(&from->base->mem, h);
    frn_buf_drop(&from->base->mem, b);
    return r;
}

static bool is_answer(const frn_net_event *e, int64_t head, int64_t body)
{
    return (head <= 0 ? e->head == NULL || e->head->size == 0
                      : same(e->head, (size_t)head, e->handle + 1)) &&
           (body < 0 ? e->body == NULL : same(e->body, (size_t)body, e->handle));
}

/* A call that is answered by the other host's echo. */
static void works(host *from, host *to)
{
    static uint64_t number = 1000000;
    bool            echo = to->echo;
    frn_net_event  *e;

    to->echo = true;
    number++;
    t_ok(call(from, to, number, 10, 100, FRN_NEVER));
    e = await(from, FRN_NET_REPLY, number);
    assert_true(is_answer(e, 10, 100));
    done(from, e);
    to->echo = echo;
}

/* ---- peers that do as the test wants ---- */

typedef struct raw {
    base         *base;
    frn_identity *identity;
    frn_tls      *tls;
    int           fd;
    bool          server, over;     /* over: the other side has closed it */
    size_t        size;
    unsigned char in[65536];
    size_t        payload;          /* of DATA, REPLY, OPEN seen so far, without what is fixed */
} raw;

static int raw_send_bytes(void *io, const unsigned char *data, size_t size)
{
    ssize_t n = send(((raw *)io)->fd, data, size, MSG_NOSIGNAL);
    return n >= 0 ? (int)n : errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : -1;
}

static int raw_recv_bytes(void *io, unsigned char *data, size_t size)
{
    ssize_t n = recv(((raw *)io)->fd, data, size, 0);
    return n >= 0 ? (int)n : errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : -1;
}

static int raw_socket(host *h, int receive_bytes)
{
    frn_addr a;
    char     why[100];
    int      fd;

    assert_int_equal(frn_addr_resolve(h->address, 0, &a, 1, why, sizeof why), 1);
    fd = socket(a.sa.ss_family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    if (receive_bytes > 0)
        frn_socket_set(fd, SOL_SOCKET, SO_RCVBUF, receive_bytes);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    if (connect(fd, (struct sockaddr *)&a.sa, a.size) != 0)
        assert_int_equal(errno, EINPROGRESS);
    frn_socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return fd;
}

static bool raw_fill(raw *r)        /* what has come; false = nothing */
{
    int n = mbedtls_ssl_read(r->tls->ssl, r->in + r->size, sizeof r->in - r->size);

    if (n > 0)
        r->size += (size_t)n;
    else if (n != MBEDTLS_ERR_SSL_WANT_READ && n != MBEDTLS_ERR_SSL_WANT_WRITE &&
             !FRN_LINK_AGAIN(n))
        r->over = true;
    return n > 0;
}

/* The next frame, or false: the connection is over. */
static bool raw_frame(raw *r, frn_frame *f)
{
    static unsigned char keep[FRN_FRAME_MAX];
    int64_t              end = t_ms() + 60000;

    for (;;) {
        if (r->size >= FRN_FRAME_HEADER) {
            frn_wire_frame(r->in, f);
            if (r->size >= FRN_FRAME_HEADER + f->size) {
                size_t all = FRN_FRAME_HEADER + f->size;
                memcpy(keep, r->in, all);
                r->size -= all;
                memmove(r->in, r->in + all, r->size);
                f->data = keep + FRN_FRAME_HEADER;
                r->payload += f->type == FRN_FRAME_DATA    ? f->size
                              : f->type == FRN_FRAME_REPLY ? f->size - FRN_REPLY_FIXED
                              : f->type == FRN_FRAME_OPEN  ? f->size - FRN_OPEN_FIXED
                                                           : 0;
                return true;
            }
        }
        if (raw_fill(r))
            continue;
        if (r->over)
            return false;
        if (t_ms() > end)
            fail_msg("no frame");
        nets_step();
    }
}

/* The next frame of a type; others are passed over. */
static void raw_expect(raw *r, unsigned type, frn_frame *f)
{
    do {
        if (!raw_frame(r, f))
            fail_msg("closed, and no frame of type %u", type);
    } while (f->type != type);
}

static void raw_write(raw *r, const unsigned char *data, size_t size)
{
    int64_t end = t_ms() + 60000;

    while (size > 0 && !r->over) {
        int n = mbedtls_ssl_write(r->tls->ssl, data, size);
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        } else if (n != MBEDTLS_ERR_SSL_WANT_WRITE && n != MBEDTLS_ERR_SSL_WANT_READ) {
            r->over = true;
        } else {
            nets_step();
        }
        if (t_ms() > end)
            fail_msg("it takes nothing");
    }
}

/* A frame with the size that it says, filled up with zeroes. */
static void raw_put(raw *r, unsigned type, unsigned flags, uint32_t lane, const void *data,
                    size_t given, size_t size)
{
    static unsigned char out[FRN_FRAME_HEADER + 65536];

    frn_wire_header(out, type, flags, size, lane);
    memset(out + FRN_FRAME_HEADER, 0, size);
    if (given > 0)
        memcpy(out + FRN_FRAME_HEADER, data, given);
    raw_write(r, out, FRN_FRAME_HEADER + size);
}

static void raw_put_hello(raw *r, const char *id, uint32_t lane_credit, uint32_t link_credit)
{
    unsigned char out[200];
    frn_hello     h;

    memset(&h, 0, sizeof h);
    h.version = FRN_WIRE_VERSION;
    h.streams_max = 100;
    h.message_max = 64u << 20;
    h.lane_credit = lane_credit;
    h.link_credit = link_credit;
    h.frame_max = FRN_FRAME_MAX;
    (void)snprintf(h.id, sizeof h.id, "%s", id);
    raw_put(r, FRN_FRAME_HELLO, 0, 0, out, frn_wire_put_hello(out, &h),
            frn_wire_put_hello(out, &h));
}

static void raw_put_open(raw *r, unsigned flags, uint32_t lane, uint32_t body, uint32_t head,
                         uint32_t ms, size_t bytes_now)
{
    unsigned char p[FRN_OPEN_FIXED];

    frn_wire_put32(p, body);
    frn_wire_put16(p + 4, head);
    frn_wire_put32(p + 6, ms);
    raw_put(r, FRN_FRAME_OPEN, flags, lane, p, sizeof p, sizeof p + bytes_now);
}

static void raw_put_window(raw *r, uint32_t lane, uint32_t more)
{
    unsigned char p[4];

    frn_wire_put32(p, more);
    raw_put(r, FRN_FRAME_WINDOW, 0, lane, p, sizeof p, sizeof p);
}

static bool raw_shake_step(raw *r)  /* true = it has ended, well or not */
{
    int n = mbedtls_ssl_handshake(r->tls->ssl);

    if (n == 0)
        return true;
    if (n != MBEDTLS_ERR_SSL_WANT_READ && n != MBEDTLS_ERR_SSL_WANT_WRITE)
        r->over = true;
    return r->over;
}

static raw *raw_on(int fd, const char *id, bool server, const char *key)
{
    raw *r = (raw *)calloc(1, sizeof *r);

    assert_non_null(r);
    r->base = base_new();
    r->identity = base_identity(r->base, key, NULL, id);
    r->fd = fd;
    r->server = server;
    r->tls = frn_tls_new(r->identity, server, NULL, r, raw_send_bytes, raw_recv_bytes);
    assert_non_null(r->tls);
    nets_until(raw_shake_step(r));
    return r;
}

/* Connected and authenticated; nothing has been said yet. */
static raw *raw_dial(host *h, const char *id, int receive_bytes)
{
    return raw_on(raw_socket(h, receive_bytes), id, false, cluster_key);
}

/* And a connection like any other. */
static raw *raw_connect(host *h, const char *id, uint32_t lane_credit, uint32_t link_credit,
                        int receive_bytes)
{
    raw      *r = raw_dial(h, id, receive_bytes);
    uint64_t  before = stats(h).connected;
    frn_frame f;

    raw_expect(r, FRN_FRAME_HELLO, &f);
    raw_put_hello(r, id, lane_credit, link_credit);
    nets_until(stats(h).connected > before);
    return r;
}

static void raw_end(raw *r)
{
    if (r->fd >= 0)
        (void)close(r->fd);
    frn_tls_free(r->tls);
    frn_identity_drop(r->identity);
    base_free(r->base);
    free(r);
}

/* Reads until the other side has closed. */
static void raw_until_over(raw *r)
{
    frn_frame f;

    while (!r->over)
        (void)raw_frame(r, &f);
}

/* A socket for hosts to dial; its address as that of a host that is only written down. */
static int raw_listen(host *as, const char *id)
{
    struct sockaddr_in in;
    socklen_t          size = (socklen_t)sizeof in;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, size), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    memset(as, 0, sizeof *as);
    (void)snprintf(as->id, sizeof as->id, "%s", id);
    (void)snprintf(as->address, sizeof as->address, "127.0.0.1:%d", ntohs(in.sin_port));
    return fd;
}

static raw *raw_accept(int listener, const char *id)
{
    int fd = -1;

    nets_until((fd = accept(listener, NULL, NULL)) >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    frn_socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return raw_on(fd, id, true, cluster_key);
}

#endif
