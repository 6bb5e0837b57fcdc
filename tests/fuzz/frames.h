/* The frames of a connection, whatever is under way on it. TLS is replaced by the bytes. */
#ifndef FUZZ_FRAMES_H
#define FUZZ_FRAMES_H

#include "identities.h"

enum { FUZZ_HANDLES = 64, FUZZ_TOKENS = 32, FUZZ_STREAMS = 8 };

typedef struct fuzz_state {
    base         *b;
    frn_net      *net;
    frn_link     *link;             /* NULL: it is over */
    unsigned char feed[2 * FRN_FRAME_MAX];  /* bytes that TLS gives next */
    size_t        feed_at, feed_size;
    bool          blocked, eof;
    uint64_t      handles;          /* given out so far */
    bool          ended[FUZZ_HANDLES + 1];
    uint64_t      tokens[FUZZ_TOKENS];
    size_t        tokens_count;
    uint64_t      theirs;           /* tokens must rise */
} fuzz_state;

static fuzz_state fuzz;

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
    if (given > (size_t)(fuzz_in.end - fuzz_in.at))
        given = (size_t)(fuzz_in.end - fuzz_in.at);
    frn_wire_header(header, type, flags, size, lane);
    if (sizeof fuzz.feed - fuzz.feed_size >= size + sizeof header) {
        fuzz_feed(header, sizeof header, sizeof header);
        fuzz_feed(fuzz_in.at, given, size);
    }
    fuzz_in.at += given;
}

static void fuzz_feed_raw(void)
{
    size_t size = (size_t)fuzz_byte();

    if (size > (size_t)(fuzz_in.end - fuzz_in.at))
        size = (size_t)(fuzz_in.end - fuzz_in.at);
    fuzz_feed(fuzz_in.at, size, size);
    fuzz_in.at += size;
}

static void fuzz_begin(bool stream)
{
    frn_buf *head = fuzz_buf(fuzz_16()), *body = stream ? NULL : fuzz_buf(fuzz_16());
    unsigned ms = fuzz_16();
    int64_t  until = ms == 0 ? FRN_NEVER : fuzz_now_ns(fuzz.b) + (int64_t)ms * FRN_MS;

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
    fuzz.link->tls = frn_tls_new(fuzz_identities[FUZZ_HOST], (mode & 1) == 0, NULL, NULL, NULL,
                                 NULL);
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

static void fuzz_frames(const uint8_t *data, size_t size)
{
    fuzz_identities_make();
    memset(&fuzz, 0, sizeof fuzz);
    fuzz.b = fuzz_base_new(data, size);
    fuzz.b->log.level = FRANCIS_LOG_WARNING;
    fuzz_open(fuzz_byte());
    while (fuzz_in.at < fuzz_in.end && fuzz.link != NULL) {
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

#endif
