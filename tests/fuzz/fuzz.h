/* What strangers and members may send, as functions of bytes that somebody else makes up: a fuzzer
 * (./build.sh fuzz) or the corpus (tests/test_fuzz.c).
 *
 *   fuzz_frames  the frames of a connection, whatever is under way on it, TLS replaced by the bytes
 *   fuzz_codec   heads of calls and answers, HELLO, addresses; and that what is packed is unpacked
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

static int fuzz_ssl_read(mbedtls_ssl_context *ssl, unsigned char *data, size_t size);
static int fuzz_ssl_write(mbedtls_ssl_context *ssl, const unsigned char *data, size_t size);
static int fuzz_ssl_bye(mbedtls_ssl_context *ssl);

#define mbedtls_ssl_read fuzz_ssl_read
#define mbedtls_ssl_write fuzz_ssl_write
#define mbedtls_ssl_close_notify fuzz_ssl_bye

#undef FRANCIS_DEBUG
#define FRANCIS_DEBUG 1
#include "../support/layers.h"

#define fuzz_must(c) ((c) ? (void)0 : __builtin_trap())

enum { FUZZ_HANDLES = 64, FUZZ_TOKENS = 32, FUZZ_STREAMS = 8 };

typedef struct fuzz_in {            /* what is still to be made something of */
    const uint8_t *at, *end;
} fuzz_in;

typedef struct fuzz_state {
    base         *b;
    frn_net      *net;
    frn_link     *link;             /* NULL: it is over */
    fuzz_in       in;
    unsigned char feed[2 * FRN_FRAME_MAX];  /* bytes that TLS gives next */
    size_t        feed_at, feed_size;
    bool          blocked, eof;
    uint64_t      handles;          /* given out so far */
    bool          ended[FUZZ_HANDLES + 1];
    uint64_t      tokens[FUZZ_TOKENS];
    size_t        tokens_count;
    uint64_t      theirs;           /* tokens must rise */
} fuzz_state;

static fuzz_state    fuzz;
static base         *fuzz_base;     /* of all runs: keys take long */
static frn_identity *fuzz_identity;

static int fuzz_ssl_read(mbedtls_ssl_context *ssl, unsigned char *data, size_t size)
{
    size_t n = fuzz.feed_size - fuzz.feed_at;

    (void)ssl;
    fuzz_must(size > 0);
    if (n == 0)
        return fuzz.eof ? MBEDTLS_ERR_SSL_CONN_EOF : MBEDTLS_ERR_SSL_WANT_READ;
    if (n > size)
        n = size;
    memcpy(data, fuzz.feed + fuzz.feed_at, n);
    fuzz.feed_at += n;
    return (int)n;
}

/* What the host says is whole frames that it would take itself. */
static int fuzz_ssl_write(mbedtls_ssl_context *ssl, const unsigned char *data, size_t size)
{
    (void)ssl;
    if (fuzz.blocked)
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    fuzz_must(size > 0 && size <= FRN_FRAME_MAX);
    for (size_t at = 0; at < size;) {
        frn_frame f;
        fuzz_must(size - at >= FRN_FRAME_HEADER);
        frn_wire_frame(data + at, &f);
        fuzz_must(frn_wire_known(f.type) && frn_wire_fault(&f) == NULL);
        fuzz_must(f.size <= size - at - FRN_FRAME_HEADER);
        at += FRN_FRAME_HEADER + f.size;
    }
    return (int)size;
}

static int fuzz_ssl_bye(mbedtls_ssl_context *ssl)
{
    (void)ssl;
    return 0;
}

static unsigned fuzz_byte(void) { return fuzz.in.at < fuzz.in.end ? *fuzz.in.at++ : 0u; }

static unsigned fuzz_16(void)
{
    unsigned high = fuzz_byte();
    return high << 8 | fuzz_byte();
}

static frn_buf *fuzz_buf(size_t size)
{
    frn_buf *b = frn_buf_new(&fuzz.b->mem, size);
    fuzz_must(b != NULL);
    memset(FRN_BYTES(b), 'x', size);
    return b;
}

/* What holds at any time of a connection and its lanes. */
static void fuzz_check(void)
{
    frn_link *c = fuzz.link;
    size_t    count = 0, unread = 0;

    fuzz_must(fuzz.b->mem.used < (24u << 20));   /* of 64 calls, 8 lanes of the peer */
    if (c == NULL || c->state == FRN_LINK_OVER)
        return;
    fuzz_must(c->credit >= 0 && c->in_credit >= 0);
    fuzz_must(c->theirs <= fuzz.net->d.streams_max);
    for (frn_list *l = c->lanes.next; l != &c->lanes; l = l->next) {
        const frn_lane *lane = FRN_OF(frn_lane, all, l);
        count++;
        unread += lane->unread;
        fuzz_must(lane->link == c && lane->credit >= 0 && lane->in_credit >= 0);
        fuzz_must(lane->at <= lane->size && lane->chunks_size <= FRN_CHUNKS_BYTES);
        fuzz_must(lane->stream || lane->in_at <= lane->in_head_size + lane->in_body_size);
        fuzz_must(!lane->reset || !lane->named);
    }
    fuzz_must(count == c->ours + c->theirs && unread == c->unread && c->kept <= c->unread);
}

static void fuzz_event(frn_net_event *e)
{
    bool ours = (e->handle & FRN_NET_TOKEN) == 0;

    if (ours && e->handle != 0) {
        fuzz_must(e->handle <= fuzz.handles && !fuzz.ended[e->handle]);
        fuzz.ended[e->handle] = e->kind == FRN_NET_REPLY || e->kind == FRN_NET_FAILED ||
                                e->kind == FRN_NET_RESET;
        fuzz_must(e->kind != FRN_NET_FAILED || e->result != FRANCIS_OK);
    } else if (!ours && (e->kind == FRN_NET_REQUEST || e->kind == FRN_NET_STREAM)) {
        fuzz_must(e->handle > fuzz.theirs);
        fuzz.theirs = e->handle;
        fuzz.tokens[fuzz.tokens_count++ % FUZZ_TOKENS] = e->handle;
    }
    frn_net_event_free(fuzz.net, e);
}

static void fuzz_step(void)
{
    frn_net_event *e, *next;

    if (fuzz.feed_at == fuzz.feed_size)
        fuzz.feed_at = fuzz.feed_size = 0;
    frn_net_step(fuzz.net, NULL, 0);
    if (frn_list_empty(&fuzz.net->links) && frn_list_empty(&fuzz.net->over))
        fuzz.link = NULL;
    for (e = frn_net_events(fuzz.net); e != NULL; e = next) {
        next = e->next;
        fuzz_event(e);
    }
    frn_log_flush(&fuzz.b->log);
    fuzz_check();
}

static void fuzz_feed(const void *data, size_t given, size_t size)
{
    if (sizeof fuzz.feed - fuzz.feed_size < size)
        return;
    memset(fuzz.feed + fuzz.feed_size, 0, size);
    if (given > 0)
        memcpy(fuzz.feed + fuzz.feed_size, data, given);
    fuzz.feed_size += size;
}

/* A frame whose header is well-formed: its first bytes come from the input, the rest are zeroes. */
static void fuzz_feed_frame(void)
{
    unsigned char header[FRN_FRAME_HEADER];
    unsigned      type = fuzz_byte(), flags = fuzz_byte(), lane = fuzz_byte();
    size_t        size = fuzz_16() % (FRN_PAYLOAD_MAX + 2), given = (size_t)fuzz_byte();

    if (given > size)
        given = size;
    if (given > (size_t)(fuzz.in.end - fuzz.in.at))
        given = (size_t)(fuzz.in.end - fuzz.in.at);
    frn_wire_header(header, type, flags, size, lane);
    if (sizeof fuzz.feed - fuzz.feed_size >= size + sizeof header) {
        fuzz_feed(header, sizeof header, sizeof header);
        fuzz_feed(fuzz.in.at, given, size);
    }
    fuzz.in.at += given;
}

static void fuzz_feed_raw(void)
{
    size_t size = (size_t)fuzz_byte();

    if (size > (size_t)(fuzz.in.end - fuzz.in.at))
        size = (size_t)(fuzz.in.end - fuzz.in.at);
    fuzz_feed(fuzz.in.at, size, size);
    fuzz.in.at += size;
}

static void fuzz_begin(bool stream)
{
    frn_buf *head = fuzz_buf(fuzz_16()), *body = stream ? NULL : fuzz_buf(fuzz_16());
    unsigned ms = fuzz_16();
    int64_t  until = ms == 0 ? FRN_NEVER : base_now_ns(fuzz.b) + (int64_t)ms * FRN_MS;

    if (fuzz.handles < FUZZ_HANDLES) {
        uint64_t       h = ++fuzz.handles;
        francis_result r = stream ? frn_net_stream_open(fuzz.net, "peer", "x:1", h, head)
                                  : frn_net_call(fuzz.net, "peer", "x:1", h, head, body,
                                                 (ms & 1) != 0, until);
        fuzz.ended[h] = r != FRANCIS_OK;
    }
    frn_buf_drop(&fuzz.b->mem, head);
    frn_buf_drop(&fuzz.b->mem, body);
}

/* One of the owner's functions, of a lane of ours or theirs. */
static void fuzz_own(void)
{
    static const unsigned char some[65536];
    unsigned pick = fuzz_byte(), size = fuzz_16();
    uint64_t handle = (pick & 8) != 0 ? fuzz.tokens[(pick >> 4) % FUZZ_TOKENS] : pick >> 4;
    frn_buf *b = fuzz_buf(size);
    size_t   taken;

    switch (pick & 7) {
    case 0: frn_net_answer(fuzz.net, handle, b, b); break;
    case 1: (void)frn_net_stream_write(fuzz.net, handle, some, size, &taken); break;
    case 2: frn_net_stream_end(fuzz.net, handle); break;
    case 3: frn_net_stream_consumed(fuzz.net, handle, size); break;
    case 4: frn_net_stream_head(fuzz.net, handle, b); break;
    case 5: frn_net_stream_reset(fuzz.net, handle, FRANCIS_ERR_STORAGE, b); break;
    case 6: (void)frn_net_cancel(fuzz.net, handle); break;
    case 7: frn_net_ping(fuzz.net, "peer", "x:1"); break;
    default: break;
    }
    if ((pick & 7) >= 5 && (handle & FRN_NET_TOKEN) == 0 && handle <= fuzz.handles &&
        (pick & 7) != 7)
        fuzz.ended[handle] = true;  /* nothing of it comes any more */
    frn_buf_drop(&fuzz.b->mem, b);
}

static void fuzz_do(unsigned what)
{
    switch (what % 12) {
    case 0: fuzz_feed_raw(); break;
    case 1:
    case 2:
    case 3: fuzz_feed_frame(); break;
    case 4: fuzz_begin(false); break;
    case 5: fuzz_begin(true); break;
    case 6:
    case 7: fuzz_own(); break;
    case 8: fuzz.blocked = !fuzz.blocked; break;
    case 9: FRN_STORE(&fuzz.b->ahead_ns, fuzz.b->ahead_ns + fuzz_16() * 10 * FRN_MS); break;
    case 10: fuzz.eof = fuzz_byte() == 77; break;
    case 11: (fuzz_byte() == 78 ? frn_net_drain : frn_net_flush)(fuzz.net); break;
    default: break;
    }
}

static void fuzz_open(unsigned mode)
{
    frn_net_desc  d;
    frn_net_peer *p;
    frn_hello     hello;
    char          error[100];

    memset(&d, 0, sizeof d);
    d.mem = &fuzz.b->mem;
    d.plat = &fuzz.b->plat;
    d.log = &fuzz.b->log;
    d.message_bytes_max = 100000;
    d.streams_max = 8;
    fuzz_must(frn_net_open(&fuzz.net, &d, error, sizeof error) == FRANCIS_OK);
    (void)snprintf(fuzz.net->id, sizeof fuzz.net->id, "host");     /* dials nobody: no identity */
    fuzz.link = frn_link_new(fuzz.net, open("/dev/null", O_RDWR), (mode & 1) != 0);
    p = frn_net_peer_get(fuzz.net, "peer", "x:1");
    fuzz_must(fuzz.link != NULL && p != NULL);
    fuzz.link->tls = frn_tls_new(fuzz_identity, (mode & 1) == 0, NULL, NULL, NULL, NULL);
    fuzz_must(fuzz.link->tls != NULL);
    frn_link_set_peer(fuzz.link, p);
    fuzz.link->state = FRN_LINK_GREETING;
    fuzz.link->record_max = FRN_FRAME_MAX;
    fuzz.link->read = true;
    if (fuzz.link->dialled)
        p->dial = fuzz.link;
    else
        frn_link_answer_hello(fuzz.link);
    if ((mode & 2) != 0)
        return;                     /* HELLO is still to come */
    memset(&hello, 0, sizeof hello);
    hello.version = 1;
    hello.streams_max = (mode & 4) != 0 ? 2 : 100;
    hello.message_max = 50000;
    hello.lane_credit = hello.link_credit = (mode & 8) != 0 ? 4096 : 1u << 20;
    hello.frame_max = (mode & 16) != 0 ? FRN_FRAME_MIN : 65536;
    memcpy(hello.id, "peer", 5);
    frn_link_open(fuzz.link, &hello);
}

static void fuzz_start(void)
{
    if (fuzz_base != NULL)
        return;
    fuzz_base = base_new();
    fuzz_identity = base_identity(fuzz_base, cluster_key, NULL, "host");
}

static void fuzz_frames(const uint8_t *data, size_t size)
{
    fuzz_start();
    memset(&fuzz, 0, sizeof fuzz);
    fuzz.b = base_new();
    fuzz.b->log.level = FRANCIS_LOG_WARNING;
    fuzz.in.at = data;
    fuzz.in.end = data + size;
    fuzz_open(fuzz_byte());
    while (fuzz.in.at < fuzz.in.end && fuzz.link != NULL) {
        unsigned what = fuzz_byte();
        fuzz_do(what);
        if (what < 128)             /* else more comes before anybody looks */
            fuzz_step();
    }
    fuzz.blocked = false;
    fuzz_step();
    frn_net_close(fuzz.net);
    base_free(fuzz.b);
}

/* ---- codec ---- */

static void fuzz_unpack(const uint8_t *data, size_t size)
{
    frn_unpack u = { data, data + size, false };
    char       text[40];
    bool       bad;

    for (int i = 0; i < 64; i++) {
        int64_t  n = 0;
        uint64_t v = 0;
        memset(text, 'x', sizeof text);
        bad = u.bad;
        switch (size > 0 ? (data[(size_t)i % size] + i) % 4 : 0) {
        case 0: n = frn_unpack_int(&u); break;
        case 1: v = frn_unpack_uint(&u); break;
        case 2: v = frn_unpack_array(&u, 20); break;
        default: frn_unpack_text(&u, text, sizeof text); break;
        }
        fuzz_must(u.at >= data && u.at <= data + size);
        fuzz_must(!bad || u.bad);
        fuzz_must(!u.bad || ((text[0] == '\0' || text[0] == 'x') && n == 0 && v == 0));
        fuzz_must(text[0] == 'x' || memchr(text, 0, sizeof text) != NULL);
    }
}

/* What is packed comes back, and nothing else. */
static void fuzz_pack(const uint8_t *data, size_t size)
{
    frn_pack   p;
    frn_unpack u;
    frn_buf   *b;
    uint64_t   v = 0;
    char       text[600], back[600];
    size_t     length = size < sizeof text ? size : sizeof text - 1;

    for (size_t i = 0; i < size && i < 8; i++)
        v = v << 8 | data[i];
    memcpy(text, data, length);
    text[length] = '\0';
    memset(&p, 0, sizeof p);
    p.mem = &fuzz.b->mem;
    frn_pack_array(&p, length);
    frn_pack_uint(&p, v);
    frn_pack_int(&p, (int64_t)v);
    frn_pack_text(&p, text);
    frn_pack_text(&p, NULL);
    b = frn_pack_end(&p);
    fuzz_must(b != NULL);
    u.at = (const unsigned char *)FRN_BYTES(b);
    u.end = u.at + b->size;
    u.bad = false;
    fuzz_must(frn_unpack_array(&u, length) == length);
    fuzz_must(frn_unpack_uint(&u) == v);
    fuzz_must(frn_unpack_int(&u) == (int64_t)v);
    frn_unpack_text(&u, back, sizeof back);
    fuzz_must(strcmp(back, text) == 0);
    frn_unpack_text(&u, back, sizeof back);
    fuzz_must(back[0] == '\0' && !u.bad && u.at == u.end);
    frn_buf_drop(&fuzz.b->mem, b);
}

static void fuzz_heads(const uint8_t *data, size_t size)
{
    static francis_host host;       /* only its memory is asked for */
    static frn_head     call;
    frn_answer_head     answer;
    frn_buf            *b = frn_buf_copy(&fuzz.b->mem, data, size);

    memset(&host, 0, sizeof host);
    host.mem = fuzz.b->mem;
    fuzz_must(b != NULL);
    if (frn_answer_unpack(b, &answer))
        fuzz_must(frn_result_known(answer.result));
    if (frn_head_unpack(&host, b, &call) == FRANCIS_OK)
        fuzz_must(call.left_ms >= FRANCIS_FOREVER && call.expire_ms >= 0);
    frn_chain_drop(&host, call.chain);
    fuzz.b->mem.used = host.mem.used;
    frn_buf_drop(&fuzz.b->mem, b);
}

static void fuzz_hello(const uint8_t *data, size_t size)
{
    unsigned char out[FRN_HELLO_FIXED + FRN_HOST_ID_SIZE];
    frn_frame     f;
    frn_hello     h, again;

    memset(&f, 0, sizeof f);
    f.type = FRN_FRAME_HELLO;
    f.size = size;
    f.data = data;
    if (frn_wire_fault(&f) != NULL || frn_wire_get_hello(&f, &h) != NULL)
        return;
    f.size = frn_wire_put_hello(out, &h);
    f.data = out;
    fuzz_must(frn_wire_get_hello(&f, &again) == NULL && strcmp(h.id, again.id) == 0);
    fuzz_must(f.size <= size && memcmp(out, data, f.size) == 0);
}

static void fuzz_address(const uint8_t *data, size_t size)
{
    char address[300], host[FRANCIS_NAME_SIZE], port[6], again[400];

    if (size >= sizeof address)
        return;
    memcpy(address, data, size);
    address[size] = '\0';
    if (!frn_addr_split(address, host, port))
        return;
    (void)snprintf(again, sizeof again, address[0] == '[' ? "[%s]:%s" : "%s:%s", host, port);
    fuzz_must(strcmp(again, address) == 0 && atoi(port) <= 65535);
}

static void fuzz_codec(const uint8_t *data, size_t size)
{
    static uint8_t none[1];

    if (size == 0)
        data = none;
    memset(&fuzz, 0, sizeof fuzz);
    fuzz.b = base_new();
    fuzz_unpack(data, size);
    fuzz_pack(data, size);
    fuzz_heads(data, size);
    fuzz_hello(data, size);
    fuzz_address(data, size);
    base_free(fuzz.b);
}

#endif
