/* The transport alone: hosts that speak to each other over loopback in one thread, and peers that
 * have the key and keep to nothing else, or have no key at all.
 *
 * What strangers cost a host, measured on x86-64 with mbedTLS 2.28 (work of the accepting side, as
 * a part of that of a handshake that is accepted, which is 2 to 5 ms of one core):
 *   who connects and says nothing, or something that is no TLS      less than 0.001
 *   who speaks TLS and shows no certificate                         0.3
 *   who shows one that is signed with another key                   0.6, and 0.3 more for each of
 *                                                                   cluster_keys_old: 2.6 with 7
 * and 40 KiB of memory for as long as his handshake goes on (of which mbedTLS has 38), whatever he
 * sends: after 4 KiB it is over. The bounds: of at most handshakes_max (64) at a time, so 2.5 MiB;
 * each for at most handshake_timeout_ms, or for a fifth of a second if it has said nothing and
 * others wait, for one second if it has; and one step of one handshake in each pass of the loop, so
 * that open connections have their turn in between. Who floods a host with handshakes keeps one
 * core busy and may keep newcomers waiting in the kernel's queue, but nobody who is connected. */
#define FRANCIS_IMPLEMENTATION
#include "support/nets.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#if defined(__linux__)
#include <linux/sockios.h>
#endif

/* ---- calls ---- */

enum { MESSAGE_MAX = 4 << 20 };

/* Sizes around everything that is a boundary somewhere: frames, credit, buffers that grow. */
static size_t size_of(size_t i)
{
    static const size_t edges[] = { FRN_FRAME_MAX, 2 * FRN_FRAME_MAX, FRN_HEAD_MAX, FRN_NET_WIRE,
                                    FRN_LANE_CREDIT, FRN_LINK_CREDIT, 1 << 20 };
    size_t              edge;

    if (i < 300)
        return i;
    i -= 300;
    edge = i / 64;
    if (edge < FRN_COUNT(edges))
        return edges[edge] + i % 64 - 48;
    i -= 64 * FRN_COUNT(edges);
    return i < 4 ? MESSAGE_MAX - i : SIZE_MAX;
}

/* Would catch: a byte that is lost, doubled or out of place at the boundary of a frame, a buffer or
 * a credit; absent and empty bodies that become each other. */
static void sizes(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event *e;
    size_t         size;
    (void)state;

    b->echo = true;
    for (uint64_t i = 0; (size = size_of(i)) != SIZE_MAX; i++) {
        int64_t head = i % 3 == 0 ? NO_BYTES : (int64_t)(i * 7919 % 3000);
        t_ok(call(a, b, i + 1, head, (int64_t)size, FRN_NEVER));
        e = await(a, FRN_NET_REPLY, i + 1);
        if (!is_answer(e, head, (int64_t)size))
            fail_msg("a body of %zu bytes", size);
        done(a, e);
    }
    t_ok(call(a, b, 9000, FRN_HEAD_MAX, NO_BYTES, FRN_NEVER));
    e = await(a, FRN_NET_REPLY, 9000);
    assert_true(is_answer(e, FRN_HEAD_MAX, NO_BYTES));
    done(a, e);
    t_ok(call(a, b, 9001, NO_BYTES, NO_BYTES, FRN_NEVER));
    e = await(a, FRN_NET_REPLY, 9001);
    assert_true(is_answer(e, NO_BYTES, NO_BYTES));
    done(a, e);
    t_result(call(a, b, 9002, 0, MESSAGE_MAX + 1, FRN_NEVER), FRANCIS_ERR_TOO_LARGE);
    t_result(call(a, b, 9003, FRN_HEAD_MAX + 1, 0, FRN_NEVER), FRANCIS_ERR_TOO_LARGE);
    assert_int_equal(stats(a).connected, 1);
    assert_null(a->first);
    nets_end();
}

/* Would catch: a limit of the other side that is met with anything but a clear answer. */
static void sizes_that_the_other_refuses(void **state)
{
    frn_net_desc   small = { .message_bytes_max = 1000 };
    host          *a = host_new("a", NULL), *b = host_new("b", &small);
    frn_net_event *e, *q;
    frn_buf       *body;
    (void)state;

    b->echo = true;
    for (int64_t size = 999; size <= 1001; size++) {
        t_ok(call(a, b, (uint64_t)size, 5, size, FRN_NEVER));
        if (size <= 1000) {
            e = await(a, FRN_NET_REPLY, (uint64_t)size);
            assert_true(is_answer(e, 5, size));
        } else {
            e = await(a, FRN_NET_FAILED, (uint64_t)size);
            t_result(e->result, FRANCIS_ERR_TOO_LARGE);
            assert_false(e->sent);
        }
        done(a, e);
    }
    t_ok(call(b, a, 5, 5, 1000, FRN_NEVER));    /* and an answer that the caller cannot take */
    q = await(a, FRN_NET_REQUEST, 0);
    body = bytes(a, 1001, 1);
    frn_net_answer(a->net, q->handle, NULL, body);
    frn_buf_drop(&a->base->mem, body);
    done(a, q);
    e = await(b, FRN_NET_FAILED, 5);
    t_result(e->result, FRANCIS_ERR_TOO_LARGE);
    assert_true(e->sent);
    done(b, e);
    works(a, b);
    works(b, a);
    assert_int_equal(stats(a).connected, 1);
    nets_end();
}

enum { MANY = 1500 };

static int64_t many_size(uint64_t i) { return (int64_t)(i * 2654435761u % 50000 * (i % 5) / 4); }

/* Would catch: answers that go to another call, or never come, when thousands are under way in both
 * directions and are answered in another order than asked. */
static void many_at_once(void **state)
{
    host          *h[2] = { host_new("a", NULL), host_new("b", NULL) };
    frn_net_event *held[64], *e;
    uint64_t       asked[2] = { 0, 0 }, answered[2] = { 0, 0 }, random = 1;
    size_t         count = 0;
    (void)state;

    while (answered[0] + answered[1] < 2 * (uint64_t)MANY) {
        for (int s = 0; s < 2; s++) {
            for (int n = 0; n < 20 && asked[s] < MANY && asked[s] - answered[s] < 300; n++) {
                asked[s]++;
                t_ok(call(h[s], h[1 - s], asked[s], 3, many_size(asked[s]), FRN_NEVER));
            }
            while ((e = take(h[s], FRN_NET_REPLY, 0)) != NULL) {
                assert_true(is_answer(e, 3, many_size(e->handle)));
                answered[s]++;
                done(h[s], e);
            }
        }
        nets_step();
        for (int s = 0; s < 2; s++) {
            while (count < FRN_COUNT(held) && (e = take(h[s], FRN_NET_REQUEST, 0)) != NULL)
                held[count++] = e;
            while (count > 0) {
                size_t pick;
                random = random * UINT64_C(6364136223846793005) + 1;
                pick = (size_t)(random >> 33) % count;
                e = held[pick];
                held[pick] = held[--count];
                frn_net_answer(h[s]->net, e->handle, e->head, e->body);
                done(h[s], e);
            }
        }
    }
    for (int s = 0; s < 2; s++) {
        assert_null(h[s]->first);
        assert_int_equal(stats(h[s]).connected, 1);
        assert_int_equal(stats(h[s]).frames_refused, 0);
    }
    nets_end();
}

/* What the kernel still has of what a host has sent to a peer that does not read. */
static size_t kernel_has(const frn_link *c, const raw *r)
{
    int out = 0, in = 0;

    assert_int_equal(ioctl(c->fd, TIOCOUTQ, &out), 0);
    assert_int_equal(ioctl(r->fd, FIONREAD, &in), 0);
    return (size_t)out + (size_t)in;
}

static frn_link *only_link(host *h)
{
    assert_false(frn_list_empty(&h->net->links));
    assert_true(h->net->links.next->next == &h->net->links);
    return FRN_OF(frn_link, all, h->net->links.next);
}

/* Would catch: a small answer that waits for a large one; a kernel that is given more than it can
 * send soon. Counted in bytes: when the small answer is given, what may still come before it is
 * what the kernel has, the record that TLS has formed, and one more. */
static void small_passes_large(void **state)
{
    frn_net_desc   large = { .message_bytes_max = 16u << 20 };
    host          *b = host_new("b", &large);
    raw           *r = raw_connect(b, "raw", INT32_MAX, INT32_MAX, 32768);
    frn_net_event *big, *small;
    frn_buf       *body;
    frn_link      *c = only_link(b);
    frn_frame      f;
    size_t         queued, before, read = 0;
    (void)state;

    raw_put_open(r, FRN_FLAG_END, 1, 0, 0, 0, 0);
    raw_put_open(r, FRN_FLAG_END, 3, 0, 0, 0, 0);
    big = await(b, FRN_NET_REQUEST, 0);
    small = await(b, FRN_NET_REQUEST, 0);
    body = bytes(b, 16u << 20, 1);
    frn_net_answer(b->net, big->handle, NULL, body);
    frn_buf_drop(&b->base->mem, body);
    nets_until(c->record > 0 && c->blocked_ns != 0);
    for (int i = 0; i < 50; i++)
        nets_step();
#if defined(SIOCOUTQNSD)
    {
        int unsent = 0;
        assert_int_equal(ioctl(c->fd, SIOCOUTQNSD, &unsent), 0);
        assert_true(unsent <= 3 * FRN_FRAME_MAX);
    }
#endif
    while (read < 300000) {         /* in the midst of it */
        assert_true(raw_frame(r, &f));
        read += f.size;
    }
    nets_until(c->record > 0 && c->blocked_ns != 0);
    queued = kernel_has(c, r) + r->size + c->record + FRN_FRAME_MAX;
    before = r->payload;
    body = bytes(b, 10, 2);
    frn_net_answer(b->net, small->handle, NULL, body);
    frn_buf_drop(&b->base->mem, body);
    do {
        assert_true(raw_frame(r, &f));
    } while (f.lane != 3);
    assert_int_equal(f.type, FRN_FRAME_REPLY);
    if (r->payload - before > queued)
        fail_msg("%zu bytes before it, %zu are the most", r->payload - before, queued);
    assert_true(r->payload < 8u << 20); /* the large one was far from its end */
    done(b, big);
    done(b, small);
    raw_end(r);
    nets_end();
}

/* Would catch: a deadline that is not known to whoever works for it. */
static void deadlines(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    int64_t        now = base_now_ns(a->base), left;
    frn_net_event *q, *e;
    (void)state;

    t_ok(call(a, b, 1, 0, 0, now + 5000 * FRN_MS));
    q = await(b, FRN_NET_REQUEST, 0);
    left = q->deadline_ns - base_now_ns(b->base);
    assert_true(left <= 5000 * FRN_MS);
    assert_true(q->deadline_ns >= now + 4999 * FRN_MS);
    t_ok(call(a, b, 2, 0, 0, FRN_NEVER));
    e = await(b, FRN_NET_REQUEST, 0);
    assert_true(e->deadline_ns == FRN_NEVER);
    frn_net_answer(b->net, e->handle, NULL, NULL);
    done(b, e);
    done(a, await(a, FRN_NET_REPLY, 2));
    nets_later(5001);
    e = await(a, FRN_NET_FAILED, 1);
    t_result(e->result, FRANCIS_ERR_DEADLINE);
    assert_true(e->sent);
    done(a, e);
    e = await(b, FRN_NET_CANCELLED, q->handle);
    t_result(e->result, FRANCIS_ERR_DEADLINE);
    frn_net_answer(b->net, q->handle, NULL, NULL);  /* too late: nothing happens */
    done(b, e);
    done(b, q);
    works(a, b);
    assert_null(a->first);
    nets_end();
}

/* Would catch: work that goes on for nobody, or a call that is answered after it was given up. */
static void cancelling(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event *q, *e;
    uint64_t       frames;
    (void)state;

    t_ok(call(a, b, 1, 0, 100, FRN_NEVER));
    q = await(b, FRN_NET_REQUEST, 0);
    frn_net_cancel(a->net, 1);
    e = await(b, FRN_NET_CANCELLED, q->handle);
    t_result(e->result, FRANCIS_ERR_CANCELLED);
    done(b, e);
    frn_net_answer(b->net, q->handle, NULL, NULL);
    done(b, q);
    works(a, b);
    assert_null(a->first);
    frames = stats(b).frames_in;
    frn_net_hold(a->net);           /* before a byte of it has left */
    t_ok(call(a, b, 2, 0, 100, FRN_NEVER));
    frn_net_cancel(a->net, 2);
    frn_net_flush(a->net);
    works(a, b);
    assert_null(b->first);
    assert_int_equal(stats(b).frames_in, frames + 1);
    t_ok(call(a, b, 3, 0, 3 << 20, FRN_NEVER));  /* in the midst of its body */
    frn_net_cancel(a->net, 3);
    works(a, b);
    assert_null(b->first);
    nets_until(frn_list_empty(&only_link(b)->lanes));
    t_ok(call(a, b, 4, 0, 5, FRN_NEVER));       /* and when the answer was there already */
    e = await(b, FRN_NET_REQUEST, 0);
    frn_net_answer(b->net, e->handle, NULL, NULL);
    done(b, e);
    frn_net_cancel(a->net, 4);
    works(a, b);
    assert_null(a->first);
    frn_net_cancel(a->net, 77);     /* nobody's */
    nets_end();
}

/* Would catch: a peer who opens more than he may, and is not told so; calls of ours that are not
 * held back until there is room. */
static void lanes_limit(void **state)
{
    frn_net_desc   few = { .streams_max = 4 };
    host          *a = host_new("a", NULL), *b = host_new("b", &few);
    raw           *r = raw_connect(b, "raw", 65536, 65536, 0);
    frn_frame      f;
    frn_net_event *e;
    (void)state;

    for (uint32_t i = 0; i < 6; i++)
        raw_put_open(r, FRN_FLAG_END, 2 * i + 1, 0, 0, 0, 0);
    for (uint32_t i = 0; i < 2; i++) {
        raw_expect(r, FRN_FRAME_RESET, &f);
        assert_true(f.lane == 9 || f.lane == 11);
        assert_int_equal(f.data[0], FRN_RESET_REFUSED);
        assert_int_equal(frn_wire_get32(f.data + 1), FRANCIS_ERR_BUSY);
    }
    for (int i = 0; i < 4; i++) {
        e = await(b, FRN_NET_REQUEST, 0);
        frn_net_answer(b->net, e->handle, NULL, NULL);
        done(b, e);
        raw_expect(r, FRN_FRAME_REPLY, &f);
    }
    assert_null(b->first);
    for (uint64_t i = 1; i <= 100; i++)
        t_ok(call(a, b, i, 0, 1000, FRN_NEVER));
    for (uint64_t i = 1; i <= 100; i++) {
        e = await(b, FRN_NET_REQUEST, 0);
        assert_true(b->net->lanes.count <= 4);
        frn_net_answer(b->net, e->handle, e->head, e->body);
        done(b, e);
        e = await(a, FRN_NET_REPLY, i);
        done(a, e);
    }
    assert_int_equal(stats(b).frames_refused, 0);
    raw_end(r);
    nets_end();
}

/* ---- streams ---- */

static francis_result stream(host *from, host *to, uint64_t handle, size_t head)
{
    frn_buf       *b = bytes(from, head, handle);
    francis_result r = frn_net_stream_open(from->net, to->id, to->address, handle, b);

    frn_buf_drop(&from->base->mem, b);
    return r;
}

/* Writes until so many bytes are taken. Its sum is that of the reader. */
static uint64_t stream_write(host *h, uint64_t handle, size_t size)
{
    unsigned char p[5000];
    uint64_t      sum = 0;
    size_t        at = 0, taken, part;

    while (at < size) {
        part = size - at < sizeof p ? size - at : sizeof p;
        for (size_t i = 0; i < part; i++)
            p[i] = pattern(3, at + i);
        if (frn_net_stream_write(h->net, handle, p, part, &taken) == FRANCIS_PENDING)
            done(h, await(h, FRN_NET_WRITABLE, handle));
        for (size_t i = 0; i < taken; i++)
            sum = sum * 31 + p[i];
        at += taken;
    }
    return sum;
}

/* Would catch: chunks out of order or lost, an end before the last of them, a lane that stays when
 * both sides have ended. */
static void streams(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event *s, *e;
    frn_buf       *head;
    uint64_t       sum;
    (void)state;

    a->reads = b->reads = true;
    t_ok(stream(a, b, 1, 70));
    s = await(b, FRN_NET_STREAM, 0);
    assert_true(same(s->head, 70, 1));
    sum = stream_write(a, 1, 2000000);
    frn_net_stream_end(a->net, 1);
    done(b, await(b, FRN_NET_END, s->handle));
    assert_int_equal(b->chunk_bytes, 2000000);
    assert_true(b->chunk_sum == sum);
    head = bytes(b, 50, 9);
    frn_net_stream_head(b->net, s->handle, head);
    frn_buf_drop(&b->base->mem, head);
    sum = stream_write(b, s->handle, 3000000);
    frn_net_stream_end(b->net, s->handle);
    e = await(a, FRN_NET_HEAD, 1);
    assert_true(same(e->head, 50, 9));
    done(a, e);
    done(a, await(a, FRN_NET_END, 1));
    assert_int_equal(a->chunk_bytes, 3000000);
    assert_true(a->chunk_sum == sum);
    nets_until(a->net->lanes.count == 0 && b->net->lanes.count == 0);
    assert_int_equal(frn_net_stream_write(a->net, 1, "x", 1, &(size_t){ 0 }), FRANCIS_ERR_STALE);
    done(b, s);
    t_ok(stream(a, b, 2, 0));       /* nothing in it at all */
    s = await(b, FRN_NET_STREAM, 0);
    frn_net_stream_end(a->net, 2);
    frn_net_stream_end(b->net, s->handle);
    done(a, await(a, FRN_NET_END, 2));
    done(b, await(b, FRN_NET_END, s->handle));
    done(b, s);
    assert_null(a->first);
    assert_null(b->first);
    nets_end();
}

/* Would catch: a stream broken off that looks ended, or whose other side writes on. */
static void stream_resets(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event *s, *e;
    frn_buf       *why;
    size_t         taken;
    (void)state;

    for (uint64_t i = 1; i <= 4; i++) {
        host *who = i % 2 == 0 ? a : b, *other = i % 2 == 0 ? b : a;
        t_ok(stream(a, b, i, 10));
        s = await(b, FRN_NET_STREAM, 0);
        t_ok(frn_net_stream_write(a->net, i, "chunk", 5, &taken));
        done(b, await(b, FRN_NET_CHUNK, s->handle));
        why = bytes(who, i < 3 ? 30 : FRN_RESET_WHY_MAX + 1, i);
        frn_net_stream_reset(who->net, who == a ? i : s->handle, FRANCIS_ERR_CANCELLED,
                             why);
        frn_buf_drop(&who->base->mem, why);
        e = await(other, FRN_NET_RESET, other == a ? i : s->handle);
        t_result(e->result, FRANCIS_ERR_CANCELLED);
        assert_true(i < 3 ? same(e->head, 30, i) : e->head == NULL);
        done(other, e);
        t_result(frn_net_stream_write(other->net, other == a ? i : s->handle, "x", 1, &taken),
                 FRANCIS_ERR_STALE);
        done(b, s);
        works(a, b);
        assert_null(a->first);
        assert_null(b->first);
    }
    assert_int_equal(stats(a).connected, 1);
    nets_end();
}

/* Would catch: a stream whose connection broke, taken for one that ended. */
static void truncation(void **state)
{
    host           peer;
    host          *b = host_new("b", NULL);
    raw           *r;
    frn_net_event *s, *e;
    frn_frame      f;
    int            listener = raw_listen(&peer, "raw");
    (void)state;

    b->reads = true;
    for (int how = 0; how < 3; how++) {
        r = raw_connect(b, "raw2", 65536, 65536, 0);
        raw_put_open(r, FRN_FLAG_STREAM, 1, FRN_BODY_ABSENT, 4, 0, 4);
        s = await(b, FRN_NET_STREAM, 0);
        raw_put(r, FRN_FRAME_DATA, 0, 1, NULL, 0, 100);
        nets_until(b->chunk_bytes == 100 * (uint64_t)(how + 1));
        if (how == 0)               /* TLS says goodbye, nobody else */
            (void)mbedtls_ssl_close_notify(r->tls->ssl);
        if (how == 1)
            (void)shutdown(r->fd, SHUT_WR);
        if (how != 1) {
            (void)close(r->fd);
            r->fd = -1;
        }
        e = await(b, FRN_NET_RESET, s->handle);
        t_result(e->result, FRANCIS_ERR_UNKNOWN);
        assert_null(take(b, FRN_NET_END, 0));
        done(b, e);
        done(b, s);
        raw_end(r);
    }
    t_ok(frn_net_stream_open(b->net, peer.id, peer.address, 2, NULL));
    r = raw_accept(listener, "raw");
    raw_put_hello(r, "raw", 65536, 65536);
    raw_expect(r, FRN_FRAME_OPEN, &f);
    raw_put(r, FRN_FRAME_REPLY, FRN_FLAG_STREAM, f.lane, "\xff\xff\xff\xff\0\0", 6, 6);
    done(b, await(b, FRN_NET_HEAD, 2));
    raw_put(r, FRN_FRAME_DATA, 0, f.lane, NULL, 0, 50);
    raw_end(r);
    e = await(b, FRN_NET_FAILED, 2);
    assert_true(e->sent);
    assert_null(take(b, FRN_NET_END, 0));
    done(b, e);
    (void)close(listener);
    nets_end();
}

/* Would catch: a byte more than was granted, or credit that is not used up; memory that grows with
 * what a slow reader does not take. */
static void credit_of_a_lane(void **state)
{
    static unsigned char some[200000];
    host                *b = host_new("b", NULL);
    raw                 *r = raw_connect(b, "raw", 8192, 1 << 20, 0);
    frn_net_event       *s;
    frn_frame            f;
    size_t               taken, got = 0;
    (void)state;

    raw_put_open(r, FRN_FLAG_STREAM, 1, FRN_BODY_ABSENT, 0, 0, 0);
    s = await(b, FRN_NET_STREAM, 0);
    t_result(frn_net_stream_write(b->net, s->handle, some, sizeof some, &taken), FRANCIS_PENDING);
    assert_int_equal(taken, 8192 + FRN_CHUNKS_BYTES);
    while (got < 8192) {
        assert_true(raw_frame(r, &f));
        got += f.size;
    }
    assert_int_equal(got, 8192);
    for (int i = 0; i < 5; i++) {   /* after each grant just as much, and then no more */
        raw_put_window(r, 1, 1000);
        for (got = 0; got < 1000; got += f.size)
            raw_expect(r, FRN_FRAME_DATA, &f);
        raw_put(r, FRN_FRAME_PING, 0, 0, "12345678", 8, 8);
        assert_true(raw_frame(r, &f));
        assert_int_equal(f.type, FRN_FRAME_PONG);
        assert_int_equal(got, 1000);
    }
    assert_null(take(b, FRN_NET_WRITABLE, 0));
    raw_put_window(r, 1, 50000);
    done(b, await(b, FRN_NET_WRITABLE, s->handle));
    done(b, s);
    raw_end(r);
    nets_end();
}

/* Would catch: streams that use up the connection's credit, so that no call passes any more. The
 * reserve is for what is not a chunk. */
static void credit_of_a_connection(void **state)
{
    static unsigned char some[200000];
    host                *b = host_new("b", NULL);
    raw                 *r = raw_connect(b, "raw", INT32_MAX, 100000, 0);
    frn_net_event       *s, *q;
    frn_frame            f;
    size_t               taken, got = 0;
    frn_buf             *body;
    (void)state;

    raw_put_open(r, FRN_FLAG_STREAM, 1, FRN_BODY_ABSENT, 0, 0, 0);
    s = await(b, FRN_NET_STREAM, 0);
    t_result(frn_net_stream_write(b->net, s->handle, some, sizeof some, &taken), FRANCIS_PENDING);
    while (got < 100000 - FRN_LINK_RESERVE) {
        assert_true(raw_frame(r, &f));
        got += f.size;
    }
    assert_int_equal(got, 100000 - FRN_LINK_RESERVE);
    raw_put_open(r, FRN_FLAG_END, 3, 0, 0, 0, 0);
    q = await(b, FRN_NET_REQUEST, 0);
    body = bytes(b, 200000, 1);     /* an answer uses the reserve, and no more than that */
    frn_net_answer(b->net, q->handle, NULL, body);
    frn_buf_drop(&b->base->mem, body);
    got = 0;
    while (got < FRN_LINK_RESERVE) {
        assert_true(raw_frame(r, &f));
        assert_int_equal(f.lane, 3);
        got += f.size - (f.type == FRN_FRAME_REPLY ? FRN_REPLY_FIXED : 0);
    }
    assert_int_equal(got, FRN_LINK_RESERVE);
    raw_put(r, FRN_FRAME_PING, 0, 0, "12345678", 8, 8);
    assert_true(raw_frame(r, &f));
    assert_int_equal(f.type, FRN_FRAME_PONG);
    raw_put_window(r, 0, 1000000);
    while (got < 200000) {
        assert_true(raw_frame(r, &f));
        got += f.lane == 3 ? f.size : 0;
    }
    done(b, s);
    done(b, q);
    raw_end(r);
    nets_end();
}

/* Would catch: readers that do not read, and fill the host's memory, or hold up everybody else. */
static void slow_readers(void **state)
{
    static unsigned char some[1 << 20];
    enum { SLOW = 48 };
    host                *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event       *s[SLOW], *e;
    uint64_t             sent[SLOW], used, all = 0;
    size_t               taken;
    (void)state;

    for (uint64_t i = 0; i < SLOW; i++) {
        t_ok(stream(a, b, i + 1, 0));
        s[i] = await(b, FRN_NET_STREAM, 0);
        (void)frn_net_stream_write(a->net, i + 1, some, sizeof some, &taken);
        sent[i] = taken;
    }
    for (int i = 0; i < 200; i++)
        nets_step();
    works(a, b);
    used = b->base->mem.used;
    assert_true(used < FRN_HELD_MAX + FRN_LINK_CREDIT + (4 << 20));
    assert_true(used > FRN_HELD_MAX / 2);       /* the bound is what held it */
    assert_true(a->base->mem.used < SLOW * (FRN_CHUNKS_BYTES + 8192) + (4 << 20));
    b->reads = true;
    while ((e = take(b, FRN_NET_CHUNK, 0)) != NULL)
        host_take_event(b, e);
    for (uint64_t i = 0; i < SLOW; i++) {
        frn_net_stream_end(a->net, i + 1);
        frn_net_stream_end(b->net, s[i]->handle);
        done(b, await(b, FRN_NET_END, s[i]->handle));
        done(b, s[i]);
        all += sent[i];
    }
    assert_true(b->chunk_bytes == all);
    works(a, b);
    assert_int_equal(stats(a).connected, 1);
    nets_end();
}

/* ---- connections ---- */

/* Would catch: two connections where one is to be, or calls lost with the one that is given up. */
static void both_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 12; round++) {
        host          *a = host_new("a", NULL), *b = host_new("b", NULL);
        frn_net_event *e;
        a->echo = b->echo = true;
        for (uint64_t i = 1; i <= 5; i++) {
            t_ok(call(a, b, i, 1, 1000, FRN_NEVER));
            if (i == 1 && round % 3 == 1)
                frn_net_step(a->net, NULL, 0);
            if (i == 1 && round % 3 == 2)
                frn_net_step(b->net, NULL, 0);
            t_ok(call(b, a, i, 1, 1000, FRN_NEVER));
        }
        for (uint64_t i = 1; i <= 5; i++) {
            e = await(a, FRN_NET_REPLY, i);
            done(a, e);
            e = await(b, FRN_NET_REPLY, i);
            done(b, e);
        }
        nets_until(a->net->links_count == 1 && b->net->links_count == 1);
        assert_int_equal(stats(a).connected, 1);
        assert_int_equal(stats(b).connected, 1);
        assert_int_equal(stats(a).handshakes_failed + stats(b).handshakes_failed, 0);
        works(a, b);
        works(b, a);
        assert_int_equal(stats(b).connected, 1);
        nets_end();
    }
}

/* Would catch: connections that stay for ever, or whose close looks like a failure. */
static void idle_close(void **state)
{
    host *a = host_new("a", NULL), *b = host_new("b", NULL);
    (void)state;

    works(a, b);
    nets_pass(55000, 5000);
    assert_int_equal(stats(a).connections, 1);
    nets_pass(20000, 5000);
    nets_until(stats(a).connections == 0 && stats(b).connections == 0);
    nets_until(a->net->links_count == 0 && b->net->links_count == 0);
    assert_int_equal(t_logged(&a->base->seen, FRN_LOG_net_lost), 0);
    assert_int_equal(t_logged(&b->base->seen, FRN_LOG_net_lost), 0);
    assert_int_equal(t_logged(&a->base->seen, FRN_LOG_net_closed), 1);
    works(b, a);
    assert_int_equal(stats(b).connected, 2);
    nets_end();
}

/* Would catch: a silent connection that nobody asks, one that is given up though it answers, one
 * that is kept though it does not. */
static void keepalive(void **state)
{
    frn_net_desc   slow = { .idle_close_ms = FRANCIS_HOURS(24) };
    host          *a = host_new("a", &slow), *b = host_new("b", &slow);
    raw           *r;
    frn_frame      f;
    uint64_t       frames;
    int            pings = 0;
    (void)state;

    works(a, b);
    frames = stats(a).frames_in;
    nets_pass(300000, 5000);
    assert_int_equal(stats(a).connected, 1);
    assert_int_equal(stats(a).connections, 1);
    assert_true(stats(a).frames_in >= frames + 20);
    host_end(a);
    r = raw_connect(b, "raw", 65536, 65536, 0);     /* hears and says nothing */
    for (int i = 0; i < 12; i++) {
        nets_pass(2500, 2500);
        while (raw_fill(r))
            continue;
    }
    while (raw_frame(r, &f))
        pings += f.type == FRN_FRAME_PING ? 1 : 0;
    assert_int_equal(pings, 2);
    nets_until(t_logged(&b->base->seen, FRN_LOG_net_lost) > 0);
    assert_non_null(strstr(b->base->seen.last[FRN_LOG_net_lost], "it is silent for too long"));
    raw_end(r);
    nets_end();
}

/* Would catch: a peer who lives, but takes nothing, and is waited for without end. */
static void takes_nothing(void **state)
{
    host          *b = host_new("b", NULL);
    raw           *r = raw_connect(b, "raw", INT32_MAX, INT32_MAX, 16384);
    frn_link      *c = only_link(b);
    frn_net_event *q;
    frn_buf       *body = bytes(b, MESSAGE_MAX, 1);
    (void)state;

    raw_put_open(r, FRN_FLAG_END, 1, 0, 0, 0, 0);
    q = await(b, FRN_NET_REQUEST, 0);
    frn_net_answer(b->net, q->handle, NULL, body);
    frn_buf_drop(&b->base->mem, body);
    nets_until(c->blocked_ns != 0);
    for (int i = 0; i < 12; i++) {
        if (b->net->links_count > 0 && !r->over)
            raw_put(r, FRN_FRAME_PING, 0, 0, "12345678", 8, 8);
        nets_pass(2500, 2500);
    }
    nets_until(t_logged(&b->base->seen, FRN_LOG_net_lost) > 0);
    assert_non_null(strstr(b->base->seen.last[FRN_LOG_net_lost], "it takes nothing for too long"));
    done(b, q);
    raw_end(r);
    nets_end();
}

/* Would catch: a host that leaves and breaks what runs, or takes what is new. */
static void draining(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event *q, *e;
    raw           *r;
    frn_frame      f;
    (void)state;

    t_ok(call(a, b, 1, 0, 10, FRN_NEVER));
    q = await(b, FRN_NET_REQUEST, 0);
    frn_net_drain(b->net);
    nets_until(only_link(a)->goaway_got);
    t_ok(call(a, b, 2, 0, 10, FRN_NEVER));
    e = await(a, FRN_NET_FAILED, 2);
    t_result(e->result, FRANCIS_ERR_STOPPED);
    assert_false(e->sent);
    done(a, e);
    works(b, a);                    /* it may still ask */
    frn_net_answer(b->net, q->handle, q->head, q->body);
    done(b, q);
    e = await(a, FRN_NET_REPLY, 1);
    done(a, e);
    r = raw_dial(b, "raw", 0);
    raw_expect(r, FRN_FRAME_GOAWAY, &f);
    assert_int_equal(frn_wire_get32(f.data + 4), FRN_GOAWAY_DRAIN);
    raw_end(r);
    nets_until(b->net->links_count == 1);
    host_end(b);
    nets_until(stats(a).connections == 0);
    assert_int_equal(t_logged(&a->base->seen, FRN_LOG_net_lost), 0);
    nets_end();
}

/* Would catch: a renewed certificate that costs a connection, and one that is never used. */
static void renewal(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_identity  *fresh = base_identity(b->base, cluster_key, NULL, "b");
    frn_net_event *q, *e;
    (void)state;

    t_ok(call(a, b, 1, 0, 100000, FRN_NEVER));
    q = await(b, FRN_NET_REQUEST, 0);
    frn_net_identity(b->net, fresh, "b");
    frn_identity_drop(b->identity);     /* the connection has it still */
    b->identity = fresh;
    works(a, b);
    works(b, a);
    frn_net_answer(b->net, q->handle, q->head, q->body);
    done(b, q);
    e = await(a, FRN_NET_REPLY, 1);
    assert_true(is_answer(e, 0, 100000));
    done(a, e);
    assert_int_equal(stats(a).connected, 1);
    assert_int_equal(stats(a).connections, 1);
    {
        host                   *c = host_new("c", NULL);
        const mbedtls_x509_crt *seen;
        works(c, b);
        seen = mbedtls_ssl_get_peer_cert(only_link(c)->tls->ssl);
        assert_non_null(seen);
        assert_int_equal(seen->raw.len, fresh->cert.raw.len);
        assert_memory_equal(seen->raw.p, fresh->cert.raw.p, seen->raw.len);
    }
    nets_end();
}

/* Would catch: a host under a new id that is still spoken to under the old one. */
static void another_id(void **state)
{
    host         *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_identity *fresh = base_identity(b->base, cluster_key, NULL, "b2");
    frn_net_event *e;
    (void)state;

    works(a, b);
    frn_net_identity(b->net, fresh, "b2");
    frn_identity_drop(b->identity);
    b->identity = fresh;
    nets_until(stats(a).connections == 0);
    t_ok(call(a, b, 7, 0, 0, FRN_NEVER));
    e = await(a, FRN_NET_FAILED, 7);
    assert_false(e->sent);
    assert_non_null(strstr(e->text, "it is host b2, expected was b"));
    done(a, e);
    (void)snprintf(b->id, sizeof b->id, "b2");
    works(a, b);
    nets_end();
}

/* ---- what a lost connection means ---- */

/* Would catch: "has not run" of a call that may have, which would make it run twice; and the other
 * way round, which would make nobody dare to repeat it. */
static void lost_connections(void **state)
{
    static const char *const what[] = { "before HELLO", "call received", "half of a call received",
                                        "answer half", "refused", "failed", "goaway before",
                                        "goaway after" };
    (void)state;

    for (int how = 0; how < 8; how++) {
        host           peer;
        host          *a = host_new("a", NULL);
        int            listener = raw_listen(&peer, "raw");
        int64_t        size = how == 2 ? 200000 : 100;
        raw           *r, *again = NULL;
        frn_net_event *e;
        frn_frame      f;
        unsigned char  p[FRN_RESET_FIXED] = { 0 };
        print_message("# %s\n", what[how]);
        t_ok(call(a, &peer, 1, 0, size, FRN_NEVER));
        r = raw_accept(listener, "raw");
        if (how > 0) {
            raw_put_hello(r, "raw", how == 2 ? 5000 : 65536, 65536);
            raw_expect(r, FRN_FRAME_OPEN, &f);
            assert_int_equal(f.lane, 1);
        }
        frn_wire_put32(p + 1, FRANCIS_ERR_BUSY);
        p[0] = how == 4 ? FRN_RESET_REFUSED : FRN_RESET_FAILED;
        if (how == 3)
            raw_put(r, FRN_FRAME_REPLY, 0, 1, "\0\0\0\144\0\0", 6, 50);
        if (how == 4 || how == 5)
            raw_put(r, FRN_FRAME_RESET, 0, 1, p, sizeof p, sizeof p);
        if (how == 6 || how == 7)   /* the last one that it has accepted */
            raw_put(r, FRN_FRAME_GOAWAY, 0, 0, how == 6 ? "\0\0\0\0\0\0\0\0" : "\0\0\0\1\0\0\0\0",
                    8, 8);
        if (how == 6) {             /* so it comes again on another connection */
            again = raw_accept(listener, "raw");
            raw_put_hello(again, "raw", 65536, 65536);
            raw_expect(again, FRN_FRAME_OPEN, &f);
            raw_put(again, FRN_FRAME_REPLY, FRN_FLAG_END, f.lane, "\xff\xff\xff\xff\0\0", 6, 6);
            e = await(a, FRN_NET_REPLY, 1);
        } else {
            if (how != 4 && how != 5) {
                (void)close(r->fd);
                r->fd = -1;
            }
            e = await(a, FRN_NET_FAILED, 1);
            if (e->sent != (how == 1 || how == 3 || how == 5 || how == 7))
                fail_msg("%s: sent is %d", what[how], e->sent);
            t_result(e->result, how == 4 || how == 5 ? FRANCIS_ERR_BUSY
                                : e->sent            ? FRANCIS_ERR_UNKNOWN
                                                     : FRANCIS_ERR_MOVED);
        }
        done(a, e);
        assert_null(a->first);
        raw_end(r);
        if (again != NULL)
            raw_end(again);
        (void)close(listener);
        nets_end();
    }
}

/* Would catch: a failure that calls itself success, or by a number that nobody knows. */
static void failures_are_failures(void **state)
{
    static const struct { uint32_t number; francis_result result; } cases[] = {
        { FRANCIS_OK, FRANCIS_ERR_INTERNAL },
        { FRANCIS_DONE, FRANCIS_ERR_INTERNAL },
        { FRANCIS_PENDING, FRANCIS_ERR_INTERNAL },
        { 50, FRANCIS_ERR_INTERNAL },
        { 0xffffffff, FRANCIS_ERR_INTERNAL },
        { FRANCIS_ERR_BUSY, FRANCIS_ERR_BUSY },
        { FRANCIS_ERR_USER + 7, FRANCIS_ERR_USER + 7 },
    };
    host           peer;
    host          *a = host_new("a", NULL);
    int            listener = raw_listen(&peer, "raw");
    raw           *r;
    frn_net_event *e;
    frn_frame      f;
    unsigned char  p[FRN_RESET_FIXED] = { FRN_RESET_FAILED };
    (void)state;

    frn_net_ping(a->net, peer.id, peer.address);
    r = raw_accept(listener, "raw");
    raw_put_hello(r, "raw", 65536, 65536);
    done(a, await(a, FRN_NET_PEER_UP, 0));
    for (size_t i = 0; i < FRN_COUNT(cases); i++) {
        t_ok(call(a, &peer, i + 1, 0, 0, FRN_NEVER));
        raw_expect(r, FRN_FRAME_OPEN, &f);
        frn_wire_put32(p + 1, cases[i].number);
        raw_put(r, FRN_FRAME_RESET, 0, f.lane, p, sizeof p, sizeof p);
        e = await(a, FRN_NET_FAILED, i + 1);
        t_result(e->result, cases[i].result);
        assert_true(e->sent);
        done(a, e);
    }
    raw_end(r);
    (void)close(listener);
    nets_end();
}

/* Would catch: a peer that is not there, or not the right one, being waited for. */
static void nobody_there(void **state)
{
    host           peer;
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    int            listener = raw_listen(&peer, "raw");
    frn_net_event *e;
    (void)state;

    (void)close(listener);
    t_ok(call(a, &peer, 1, 0, 0, FRN_NEVER));
    e = await(a, FRN_NET_FAILED, 1);
    t_result(e->result, FRANCIS_ERR_MOVED);
    assert_false(e->sent);
    done(a, e);
    frn_net_ping(a->net, peer.id, peer.address);
    done(a, await(a, FRN_NET_PEER_DOWN, 0));
    frn_net_ping(a->net, b->id, b->address);
    done(a, await(a, FRN_NET_PEER_UP, 0));
    frn_net_ping(a->net, b->id, b->address);    /* and when there is a connection */
    done(a, await(a, FRN_NET_PEER_UP, 0));
    (void)snprintf(peer.address, sizeof peer.address, "%s", b->address);
    t_ok(call(a, &peer, 2, 0, 0, FRN_NEVER));   /* another one answers there */
    e = await(a, FRN_NET_FAILED, 2);
    assert_false(e->sent);
    assert_non_null(strstr(e->text, "it is host b, expected was raw"));
    done(a, e);
    t_result(call(a, a, 3, 0, 0, FRN_NEVER), FRANCIS_ERR_INVALID);
    works(a, b);
    nets_end();
}

/* ---- addresses ---- */

typedef struct split_case {
    const char *address, *host, *port;  /* host NULL = refused */
} split_case;

static const split_case split_cases[] = {
    { "127.0.0.1:7571", "127.0.0.1", "7571" },
    { "[::1]:7571", "::1", "7571" },
    { "[fe80::1%eth0]:1", "fe80::1%eth0", "1" },
    { "host.example:0", "host.example", "0" },
    { ":65535", "", "65535" },
    { "[]:1", "", "1" },
    { "", NULL, NULL },
    { "host", NULL, NULL },
    { "host:", NULL, NULL },
    { "host:65536", NULL, NULL },
    { "host:123456", NULL, NULL },
    { "host:-1", NULL, NULL },
    { "host:+1", NULL, NULL },
    { "host: 1", NULL, NULL },
    { "host:http", NULL, NULL },
    { "::1:7571", NULL, NULL },
    { "[::1:7571", NULL, NULL },
    { "[::1]7571", NULL, NULL },
    { "[:1", NULL, NULL },
    { "[", NULL, NULL },
    { "a:b:1", NULL, NULL },
};

/* Would catch: an address that is read as another one. */
static void addresses(void **state)
{
    char address[400], name[FRANCIS_NAME_SIZE], port[6];
    (void)state;

    for (size_t i = 0; i < FRN_COUNT(split_cases); i++) {
        const split_case *c = &split_cases[i];
        bool              ok = frn_addr_split(c->address, name, port);
        if (ok != (c->host != NULL) || (ok && (strcmp(name, c->host) != 0 ||
                                               strcmp(port, c->port) != 0)))
            fail_msg("\"%s\"", c->address);
    }
    memset(address, 'x', sizeof address);
    memcpy(address + 253, ":1", 3);
    assert_true(frn_addr_split(address, name, port));
    assert_int_equal(strlen(name), 253);
    address[253] = 'x';
    memcpy(address + 254, ":1", 3);
    assert_false(frn_addr_split(address, name, port));
}

/* Would catch: a family or a kind of address that does not work at all. */
static void families(void **state)
{
    frn_net_desc   six = { .bind_address = "[::1]:0" }, all = { .bind_address = ":0" };
    frn_net_desc   helped = { .threads = true };
    host          *a = host_new("a", NULL), *t = host_new("t", &helped), *b = host_new("b", &all);
    frn_net_event *e;
    int            port = net_port(b->net), fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 in;
    (void)state;

    works(a, b);
    (void)snprintf(b->address, sizeof b->address, "localhost:%d", port);
    works(t, b);                    /* by the thread that resolves */
    host_end(a);
    a = host_new("a2", NULL);
    works(a, b);                    /* and by whoever calls */
    for (int i = 0; i < 2; i++) {
        host *h = i == 0 ? a : t;
        memset(b->address, 'x', 70);    /* no name has a part of this length */
        (void)snprintf(b->address + 70, sizeof b->address - 70, ":%d", port);
        (void)snprintf(b->id, sizeof b->id, "nobody");
        t_ok(call(h, b, 5, 0, 0, FRN_NEVER));
        e = await(h, FRN_NET_FAILED, 5);
        t_result(e->result, FRANCIS_ERR_MOVED);
        assert_false(e->sent);
        done(h, e);
    }
    memset(&in, 0, sizeof in);
    in.sin6_family = AF_INET6;
    in.sin6_addr = in6addr_loopback;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0) {
        host *c = host_new("c", &six);
        works(a, c);
        works(c, a);
        assert_non_null(strstr(only_link(c)->remote, "[::1]:"));
    } else {
        print_message("# no IPv6 here\n");
    }
    (void)close(fd);
    nets_end();
}

/* ---- peers that keep to no rule ---- */

typedef enum when {
    WHEN_GREETING,                  /* authenticated, HELLO was heard and is owed */
    WHEN_OPEN,                      /* nothing is under way */
    WHEN_ASKED,                     /* its call 1 is being worked on; 3 to 5 are its next */
    WHEN_HALF,                      /* of its call 1 100 of 200 bytes have come */
    WHEN_STREAM,                    /* its stream 1 has begun */
    WHEN_STREAM_ENDED,              /* and its direction is over */
    WHEN_WAITED,                    /* it has been asked by us: lane 2 */
    WHEN_WAITED_HALF,               /* and has answered 100 of 200 bytes */
    WHEN_COUNT
} when;

typedef struct bad_frame {
    when        when;
    unsigned    type, flags;
    uint32_t    lane;
    const char *data;
    size_t      given, size;        /* of data, and of the payload: the rest is zeroes */
    const char *says;               /* NULL = it is no fault */
} bad_frame;

#define BYTES(s) s, sizeof(s) - 1
#define NOTHING "", 0
#define HELLO_OF(id, n)                                                             \
    BYTES("FRN1\0\0\0\1\0\0\0\144\0\1\0\0\0\1\0\0\0\1\0\0\0\0\100\0" n id)
#define OPEN_OF(body, head) BYTES(body head "\0\0\0\0")
#define REPLY_OF(body, head) BYTES(body head)
#define ABSENT "\xff\xff\xff\xff"

static const bad_frame bad_frames[] = {
    /* what belongs to the beginning */
    { WHEN_GREETING, 0, 0, 0, NOTHING, 0, "of an unknown type" },
    { WHEN_GREETING, 2, 1, 1, OPEN_OF(ABSENT, "\0\0"), 10, "comes before HELLO" },
    { WHEN_GREETING, 3, 1, 1, REPLY_OF(ABSENT, "\0\0"), 6, "comes before HELLO" },
    { WHEN_GREETING, 4, 0, 1, NOTHING, 5, "comes before HELLO" },
    { WHEN_GREETING, 5, 0, 1, BYTES("\1\0\0\0\0"), 5, "comes before HELLO" },
    { WHEN_GREETING, 6, 0, 0, BYTES("\0\0\0\1"), 4, "comes before HELLO" },
    { WHEN_GREETING, 7, 0, 0, NOTHING, 8, "comes before HELLO" },
    { WHEN_GREETING, 8, 0, 0, NOTHING, 8, "comes before HELLO" },
    { WHEN_GREETING, 9, 0, 0, NOTHING, 8, "comes before HELLO" },
    { WHEN_GREETING, 99, 128, 0, NOTHING, 8, "comes before HELLO" },
    { WHEN_GREETING, 1, 0, 0, NOTHING, 28, "HELLO (type 1, 28 bytes) is too short" },
    { WHEN_GREETING, 1, 0, 0, NOTHING, 29, "does not begin as it should" },
    { WHEN_GREETING, 1, 0, 0, NOTHING, 1025, "HELLO (type 1, 1025 bytes) is too large" },
    { WHEN_GREETING, 1, 0, 0, BYTES("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 40,
      "does not begin as it should" },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("raw", "\3"), 32, NULL },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("raw", "\3"), 1024, NULL },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("raw", "\2"), 32, "names another host" },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("raw", "\4"), 33, "has a damaged id" },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("b", "\1"), 30, "names another host than the certificate" },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("raw", "\0"), 32, "has a damaged id" },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("raw", "\4"), 32, "has a damaged id" },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("raw", "\100"), 200, "has a damaged id" },
    { WHEN_GREETING, 1, 0, 0, HELLO_OF("raw", "\377"), 1024, "has a damaged id" },
    { WHEN_GREETING, 1, 0, 1, HELLO_OF("raw", "\3"), 32, "belongs to the wrong lane" },
    { WHEN_GREETING, 1, 1, 0, HELLO_OF("raw", "\3"), 32, "has unknown flags" },
    { WHEN_GREETING, 1, 128, 0, HELLO_OF("raw", "\3"), 32, NULL },
    { WHEN_GREETING, 1, 0, 0,
      BYTES("FRN1\0\0\0\0\0\0\0\144\0\1\0\0\0\1\0\0\0\1\0\0\0\0\100\0\3raw"), 32,
      "is of an unknown version" },
    { WHEN_GREETING, 1, 0, 0,
      BYTES("FRN1\0\0\0\2\0\0\0\144\0\1\0\0\0\1\0\0\0\1\0\0\0\0\100\0\3raw"), 32, NULL },
    { WHEN_GREETING, 1, 0, 0,
      BYTES("FRN1\0\0\0\1\0\0\0\144\0\1\0\0\0\0\x0f\xff\0\1\0\0\0\0\100\0\3raw"), 32,
      "has impossible limits" },
    { WHEN_GREETING, 1, 0, 0,
      BYTES("FRN1\0\0\0\1\0\0\0\144\0\1\0\0\0\1\0\0\x80\0\0\0\0\0\100\0\3raw"), 32,
      "has impossible limits" },
    { WHEN_GREETING, 1, 0, 0,
      BYTES("FRN1\0\0\0\1\0\0\0\144\0\1\0\0\0\1\0\0\0\1\0\0\0\0\x0f\xff\3raw"), 32,
      "has impossible limits" },
    { WHEN_OPEN, 1, 0, 0, HELLO_OF("raw", "\3"), 32, "comes at the wrong moment" },
    /* sizes, flags, lanes */
    { WHEN_OPEN, 0, 0, 0, NOTHING, 0, "of an unknown type" },
    { WHEN_OPEN, 10, 0, 0, NOTHING, 0, "of an unknown type" },
    { WHEN_OPEN, 255, 127, 7, NOTHING, 100, "of an unknown type" },
    { WHEN_OPEN, 10, 128, 0, NOTHING, 0, NULL },
    { WHEN_OPEN, 255, 255, 8, NOTHING, 16376, NULL },
    { WHEN_OPEN, 255, 128, 8, NOTHING, 16377, "is too large" },
    { WHEN_OPEN, 255, 128, 8, NOTHING, 65535, "is too large" },
    { WHEN_OPEN, 2, 1, 1, NOTHING, 9, "is too short" },
    { WHEN_OPEN, 2, 1, 1, NOTHING, 16377, "is too large" },
    { WHEN_OPEN, 2, 5, 1, OPEN_OF(ABSENT, "\0\0"), 10, "has unknown flags" },
    { WHEN_OPEN, 2, 1, 0, OPEN_OF(ABSENT, "\0\0"), 10, "belongs to the wrong lane" },
    { WHEN_WAITED, 3, 1, 2, NOTHING, 5, "is too short" },
    { WHEN_WAITED, 3, 1, 2, NOTHING, 16377, "is too large" },
    { WHEN_WAITED, 3, 9, 2, REPLY_OF(ABSENT, "\0\0"), 6, "has unknown flags" },
    { WHEN_WAITED, 3, 1, 0, REPLY_OF(ABSENT, "\0\0"), 6, "belongs to the wrong lane" },
    { WHEN_STREAM, 4, 0, 0, NOTHING, 5, "belongs to the wrong lane" },
    { WHEN_STREAM, 4, 2, 1, NOTHING, 5, "has unknown flags" },
    { WHEN_STREAM, 4, 0, 1, NOTHING, 16377, "is too large" },
    { WHEN_ASKED, 5, 0, 1, NOTHING, 4, "is too short" },
    { WHEN_ASKED, 5, 0, 1, NOTHING, 5 + 2049, "is too large" },
    { WHEN_ASKED, 5, 1, 1, NOTHING, 5, "has unknown flags" },
    { WHEN_ASKED, 5, 0, 0, NOTHING, 5, "belongs to the wrong lane" },
    { WHEN_OPEN, 6, 0, 0, NOTHING, 3, "is too short" },
    { WHEN_OPEN, 6, 0, 0, BYTES("\0\0\0\1"), 5, "is too large" },
    { WHEN_OPEN, 6, 1, 0, BYTES("\0\0\0\1"), 4, "has unknown flags" },
    { WHEN_OPEN, 7, 0, 0, NOTHING, 7, "is too short" },
    { WHEN_OPEN, 7, 0, 0, NOTHING, 9, "is too large" },
    { WHEN_OPEN, 7, 2, 0, NOTHING, 8, "has unknown flags" },
    { WHEN_OPEN, 7, 0, 1, NOTHING, 8, "belongs to the wrong lane" },
    { WHEN_OPEN, 8, 0, 0, NOTHING, 7, "is too short" },
    { WHEN_OPEN, 8, 0, 0, NOTHING, 9, "is too large" },
    { WHEN_OPEN, 8, 0, 2, NOTHING, 8, "belongs to the wrong lane" },
    { WHEN_OPEN, 8, 0, 0, NOTHING, 8, NULL },       /* of nobody's PING: harmless */
    { WHEN_OPEN, 9, 0, 0, NOTHING, 7, "is too short" },
    { WHEN_OPEN, 9, 0, 0, NOTHING, 9, "is too large" },
    { WHEN_OPEN, 9, 0, 1, NOTHING, 8, "belongs to the wrong lane" },
    { WHEN_OPEN, 9, 0, 0, BYTES("\0\0\0\0\0\0\0\2"), 8, "has an unknown code" },
    /* OPEN */
    { WHEN_OPEN, 2, 1, 2, OPEN_OF(ABSENT, "\0\0"), 10, "opens a lane that is not its own" },
    { WHEN_ASKED, 2, 1, 1, OPEN_OF(ABSENT, "\0\0"), 10, "not its own, or again" },
    { WHEN_STREAM, 2, 3, 1, OPEN_OF(ABSENT, "\0\0"), 10, "not its own, or again" },
    { WHEN_OPEN, 2, 1, 1, OPEN_OF("\0\0\0\4", "\0\1"), 14, "ends too early" },
    { WHEN_OPEN, 2, 1, 1, OPEN_OF("\0\0\0\4", "\0\1"), 16, "is longer than it said" },
    { WHEN_OPEN, 2, 1, 1, OPEN_OF(ABSENT, "\0\0"), 11, "is longer than it said" },
    { WHEN_OPEN, 2, 3, 1, OPEN_OF(ABSENT, "\0\5"), 14, "ends too early" },
    { WHEN_OPEN, 2, 1, 0xffffffff, OPEN_OF(ABSENT, "\0\0"), 10, NULL },
    /* REPLY */
    { WHEN_OPEN, 3, 1, 2, REPLY_OF(ABSENT, "\0\0"), 6, "belongs to a lane that was never opened" },
    { WHEN_OPEN, 3, 1, 1, REPLY_OF(ABSENT, "\0\0"), 6, "belongs to a lane that was never opened" },
    { WHEN_ASKED, 3, 1, 1, REPLY_OF(ABSENT, "\0\0"), 6, "is not an answer" },
    { WHEN_STREAM, 3, 3, 1, REPLY_OF(ABSENT, "\0\0"), 6, "is not an answer" },
    { WHEN_WAITED, 3, 3, 2, REPLY_OF(ABSENT, "\0\0"), 6, "is not an answer" },
    { WHEN_WAITED, 3, 1, 4, REPLY_OF(ABSENT, "\0\0"), 6, "to a lane that was never opened" },
    { WHEN_WAITED, 3, 1, 2, REPLY_OF("\0\100\0\1", "\0\0"), 6, "is larger than the limit of this" },
    { WHEN_WAITED, 3, 1, 2, REPLY_OF("\0\0\0\4", "\0\0"), 9, "ends too early" },
    { WHEN_WAITED, 3, 1, 2, REPLY_OF("\0\0\0\4", "\0\0"), 11, "is longer than it said" },
    { WHEN_WAITED_HALF, 3, 1, 2, REPLY_OF(ABSENT, "\0\0"), 6, "is not an answer" },
    /* DATA */
    { WHEN_OPEN, 4, 0, 1, NOTHING, 5, "belongs to a lane that was never opened" },
    { WHEN_OPEN, 4, 0, 2, NOTHING, 5, "belongs to a lane that was never opened" },
    { WHEN_ASKED, 4, 0, 1, NOTHING, 0, "comes before its lane has begun, or after its end" },
    { WHEN_WAITED, 4, 0, 2, NOTHING, 5, "comes before its lane has begun, or after its end" },
    { WHEN_STREAM_ENDED, 4, 0, 1, NOTHING, 1, "comes before its lane has begun, or after its end" },
    { WHEN_STREAM_ENDED, 4, 1, 1, NOTHING, 0, "comes before its lane has begun, or after its end" },
    { WHEN_HALF, 4, 1, 1, NOTHING, 99, "ends too early" },
    { WHEN_HALF, 4, 1, 1, NOTHING, 101, "is longer than it said" },
    { WHEN_HALF, 4, 0, 1, NOTHING, 101, "is longer than it said" },
    { WHEN_HALF, 4, 0, 1, NOTHING, 0, NULL },
    { WHEN_WAITED_HALF, 4, 1, 2, NOTHING, 99, "ends too early" },
    { WHEN_WAITED_HALF, 4, 1, 2, NOTHING, 101, "is longer than it said" },
    { WHEN_STREAM, 4, 0, 1, NOTHING, 0, NULL },
    /* RESET */
    { WHEN_OPEN, 5, 0, 1, BYTES("\1\0\0\0\0"), 5, "belongs to a lane that was never opened" },
    { WHEN_OPEN, 5, 0, 2, BYTES("\1\0\0\0\0"), 5, "belongs to a lane that was never opened" },
    { WHEN_ASKED, 5, 0, 1, BYTES("\xff\xff\xff\xff\xff"), 5 + 2048, NULL },
    { WHEN_WAITED, 5, 0, 2, BYTES("\3\xff\xff\xff\xff"), 5, NULL },
    /* WINDOW */
    { WHEN_OPEN, 6, 0, 0, BYTES("\0\0\0\0"), 4, "gives impossible credit" },
    { WHEN_OPEN, 6, 0, 0, BYTES("\xff\xff\xff\xff"), 4, "gives impossible credit" },
    { WHEN_OPEN, 6, 0, 0, BYTES("\x7f\xff\xff\xff"), 4, "gives impossible credit" },
    { WHEN_OPEN, 6, 0, 0, BYTES("\x7f\xfe\xff\xff"), 4, NULL },
    { WHEN_ASKED, 6, 0, 1, BYTES("\0\0\0\0"), 4, "gives impossible credit" },
    { WHEN_ASKED, 6, 0, 1, BYTES("\x7f\xff\xff\xff"), 4, "gives impossible credit" },
    { WHEN_OPEN, 6, 0, 1, BYTES("\0\0\0\1"), 4, "belongs to a lane that was never opened" },
    { WHEN_OPEN, 6, 0, 2, BYTES("\0\0\0\1"), 4, "belongs to a lane that was never opened" },
};

static void bad_prepare(raw *r, host *b, when at)
{
    static host peer;
    frn_frame   f;

    switch (at) {
    case WHEN_ASKED:
        raw_put_open(r, FRN_FLAG_END, 1, 0, 0, 0, 0);
        done(b, await(b, FRN_NET_REQUEST, 0));
        break;
    case WHEN_HALF:
        raw_put_open(r, 0, 1, 200, 0, 0, 100);
        break;
    case WHEN_STREAM:
    case WHEN_STREAM_ENDED:
        raw_put_open(r, FRN_FLAG_STREAM | (at == WHEN_STREAM ? 0 : FRN_FLAG_END), 1,
                     FRN_BODY_ABSENT, 0, 0, 0);
        done(b, await(b, FRN_NET_STREAM, 0));
        break;
    case WHEN_WAITED:
    case WHEN_WAITED_HALF:
        (void)snprintf(peer.id, sizeof peer.id, "raw");
        (void)snprintf(peer.address, sizeof peer.address, "127.0.0.1:1");
        t_ok(call(b, &peer, 5, 0, 0, FRN_NEVER));
        raw_expect(r, FRN_FRAME_OPEN, &f);
        assert_int_equal(f.lane, 2);
        if (at == WHEN_WAITED_HALF)
            raw_put(r, FRN_FRAME_REPLY, 0, 2, "\0\0\0\310\0\0", 6, 106);
        break;
    case WHEN_GREETING:
    case WHEN_OPEN:
    case WHEN_COUNT: break;
    }
}

static void bad_one(const bad_frame *c, host *a, host *b)
{
    uint64_t  refused = stats(b).frames_refused, connected = stats(a).connected;
    raw      *r;
    frn_frame f;
    size_t    n = (size_t)(c - bad_frames);

    if (c->when == WHEN_GREETING) {
        r = raw_dial(b, "raw", 0);
        raw_expect(r, FRN_FRAME_HELLO, &f);
    } else {
        r = raw_connect(b, "raw", 65536, 65536, 0);
    }
    bad_prepare(r, b, c->when);
    raw_put(r, c->type, c->flags, c->lane, c->data, c->given, c->size);
    if (c->says != NULL) {
        raw_until_over(r);
        frn_log_flush(&b->base->log);
        if (stats(b).frames_refused != refused + 1 ||
            strstr(b->base->seen.last[FRN_LOG_net_frame_refused], c->says) == NULL)
            fail_msg("case %zu: \"%s\", not \"%s\"", n,
                     b->base->seen.last[FRN_LOG_net_frame_refused], c->says);
    } else if (c->when == WHEN_GREETING) {
        nets_until(stats(b).connections == 2);
    } else {
        raw_put(r, FRN_FRAME_PING, 0, 0, "abcdefgh", 8, 8);
        raw_expect(r, FRN_FRAME_PONG, &f);
        assert_memory_equal(f.data, "abcdefgh", 8);
    }
    raw_end(r);
    nets_until(b->net->links_count == 1);
    works(a, b);                    /* on the connection that was there before */
    assert_int_equal(stats(a).connected, connected);
    host_drop_events(b);
}

/* Would catch: a frame that is taken where it makes no sense, that is refused without a word, or
 * that harms others. */
static void malformed_frames(void **state)
{
    host *a = host_new("a", NULL), *b = host_new("b", NULL);
    (void)state;

    works(a, b);
    for (size_t i = 0; i < FRN_COUNT(bad_frames); i++)
        bad_one(&bad_frames[i], a, b);
    nets_end();
}

/* Would catch: a peer who sends more than his credit, which is all that bounds memory. */
static void overdrawn_credit(void **state)
{
    host *a = host_new("a", NULL), *b = host_new("b", NULL);
    (void)state;

    works(a, b);
    for (uint32_t lanes = 1; lanes <= 40; lanes += 39) {    /* of a lane; of the connection */
        raw     *r = raw_connect(b, "raw", 65536, 65536, 0);
        uint64_t refused = stats(b).frames_refused;
        for (uint32_t i = 0; i < lanes; i++)
            raw_put_open(r, FRN_FLAG_STREAM, 2 * i + 1, FRN_BODY_ABSENT, 0, 0, 0);
        for (uint32_t i = 0; i < 1400 && stats(b).frames_refused == refused; i++)
            raw_put(r, FRN_FRAME_DATA, 0, 2 * (i % lanes) + 1, NULL, 0, 16000);
        nets_until(stats(b).frames_refused == refused + 1);
        nets_until(b->net->links_count == 1);
        assert_non_null(strstr(b->base->seen.last[FRN_LOG_net_frame_refused],
                               lanes == 1 ? "exceeds the credit of its lane"
                                          : "exceeds the credit of the connection"));
        assert_true(b->base->mem.peak < FRN_HELD_MAX + FRN_LINK_CREDIT + (4u << 20));
        raw_end(r);
        works(a, b);
        host_drop_events(b);
    }
    assert_int_equal(stats(a).connected, 1);
    nets_end();
}

/* Would catch: bytes that only look like a frame cut in two at any place. */
static void cut_anywhere(void **state)
{
    unsigned char  out[200];
    host          *b = host_new("b", NULL);
    raw           *r = raw_connect(b, "raw", 65536, 65536, 0);
    frn_frame      f;
    frn_net_event *q;
    uint32_t       lane = 1;
    (void)state;

    for (size_t cut = 1; cut < 38; cut++, lane += 2) {
        memset(out, 0, sizeof out);
        frn_wire_header(out, FRN_FRAME_OPEN, FRN_FLAG_END, 30, lane);
        frn_wire_put32(out + 8, 15);
        frn_wire_put16(out + 12, 5);
        for (size_t i = 0; i < 15; i++)
            out[8 + 10 + 5 + i] = pattern(lane, i);
        raw_write(r, out, cut);
        for (int i = 0; i < 5; i++)
            nets_step();
        raw_write(r, out + cut, 38 - cut);
        q = await(b, FRN_NET_REQUEST, 0);
        assert_true(same(q->body, 15, lane));
        assert_int_equal(q->head->size, 5);
        frn_net_answer(b->net, q->handle, q->head, q->body);
        done(b, q);
        raw_expect(r, FRN_FRAME_REPLY, &f);
        assert_int_equal(f.lane, lane);
    }
    frn_wire_header(out, FRN_FRAME_OPEN, FRN_FLAG_END, 30, lane);
    raw_write(r, out, 20);
    raw_end(r);                     /* in the midst of one */
    nets_until(t_logged(&b->base->seen, FRN_LOG_net_lost) > 0);
    assert_non_null(strstr(b->base->seen.last[FRN_LOG_net_lost], "in the midst of a frame"));
    assert_null(b->first);
    nets_end();
}

/* Would catch: one who opens and gives up as fast as he can, and is held in memory for it. */
static void rapid_resets(void **state)
{
    unsigned char p[FRN_RESET_FIXED] = { FRN_RESET_CANCELLED };
    host         *a = host_new("a", NULL), *b = host_new("b", NULL);
    raw          *r = raw_connect(b, "raw", 65536, 65536, 0);
    uint64_t      used;
    (void)state;

    works(a, b);
    used = b->base->mem.used;
    for (uint32_t i = 0; i < 3000; i++) {
        raw_put_open(r, FRN_FLAG_END, 2 * i + 1, 0, 0, 0, 0);
        raw_put(r, FRN_FRAME_RESET, 0, 2 * i + 1, p, sizeof p, sizeof p);
        if (i % 100 == 0)
            nets_step();
        host_drop_events(b);
    }
    works(a, b);
    nets_until(b->net->lanes.count == 0);
    host_drop_events(b);
    assert_true(b->base->mem.used < used + (1u << 20));
    raw_end(r);
    nets_end();
}

/* ---- strangers ---- */

static void descriptors(size_t *most)
{
    struct rlimit l;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
    if (l.rlim_cur < 6000 && l.rlim_max > l.rlim_cur) {
        l.rlim_cur = l.rlim_max < 6000 ? l.rlim_max : 6000;
        (void)setrlimit(RLIMIT_NOFILE, &l);
        (void)getrlimit(RLIMIT_NOFILE, &l);
    }
    *most = l.rlim_cur > 2600 ? 2000 : l.rlim_cur / 2;
}

/* Would catch: half-open connections that use up memory or room, or keep members out. */
static void half_open(void **state)
{
    frn_net_desc few = { .handshakes_max = 16, .connections_max = 40 };
    host        *a = host_new("a", NULL), *b = host_new("b", &few), *c;
    size_t       most, used, count = 0;
    int         *fd;
    (void)state;

    descriptors(&most);
    fd = (int *)calloc(most, sizeof *fd);
    assert_non_null(fd);
    works(a, b);
    used = b->base->mem.used;
    b->base->mem.peak = used;
    for (; count < most; count++) {
        fd[count] = raw_socket(b, 0);
        if (count % 10 == 0) {
            nets_later(250);        /* those before are given up for these */
            nets_step();
        }
        if (count % 200 == 0)
            works(a, b);
        assert_true(b->net->shaking <= 16);
        assert_true(b->net->links_count <= 17);
    }
    assert_int_equal(stats(a).connected, 1);
    assert_true(b->base->mem.peak < used + 16 * 16384);
    nets_until(b->net->shaking == 16);
    c = host_new("c", NULL);        /* a member gets in while they are there */
    works(c, b);
    for (size_t i = 0; i < count; i++)
        (void)close(fd[i]);
    free(fd);
    nets_until(b->net->shaking == 0);
    works(a, b);
    assert_int_equal(stats(a).connected, 1);
    nets_until(b->net->links_count == 2);
    nets_until(stats(b).handshakes_failed == most);
    assert_true(t_logged(&b->base->seen, FRN_LOG_net_handshake_failed) < most / 2);
    nets_end();
}

/* Would catch: a handshake without an end. */
static void handshake_deadline(void **state)
{
    static const unsigned char hello[] = { 0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3 };
    host                      *a = host_new("a", NULL), *b = host_new("b", NULL);
    int                        silent, slow;
    size_t                     at = 0;
    char                       byte;
    (void)state;

    works(a, b);
    silent = raw_socket(b, 0);
    slow = raw_socket(b, 0);
    nets_until(b->net->shaking == 2);
    for (int i = 0; i < 9; i++) {   /* a byte in a second */
        if (at < sizeof hello)
            assert_int_equal(send(slow, hello + at++, 1, MSG_NOSIGNAL), 1);
        nets_pass(1000, 1000);
        assert_int_equal(b->net->shaking, 2);
    }
    nets_pass(2000, 1000);
    nets_until(b->net->shaking == 0);
    assert_true(recv(silent, &byte, 1, 0) <= 0);
    assert_true(recv(slow, &byte, 1, 0) <= 0);
    assert_int_equal(stats(b).handshakes_failed, 2);
    assert_non_null(strstr(b->base->seen.last[FRN_LOG_net_handshake_failed], "in time"));
    works(a, b);
    assert_int_equal(stats(a).connected, 1);
    (void)close(silent);
    (void)close(slow);
    nets_end();
}

/* A peer who is authenticated, and then says nothing, has the same deadline. */
static void greeting_deadline(void **state)
{
    host     *b = host_new("b", NULL);
    raw      *r = raw_dial(b, "raw", 0);
    frn_frame f;
    (void)state;

    raw_expect(r, FRN_FRAME_HELLO, &f);
    nets_pass(9000, 1000);
    assert_int_equal(b->net->links_count, 1);
    nets_pass(2000, 1000);
    raw_until_over(r);
    assert_int_equal(stats(b).handshakes_failed, 1);
    raw_end(r);
    nets_end();
}

/* Would catch: bytes that are no TLS and do harm, or that fill the log. */
static void garbage(void **state)
{
    unsigned char bytes_in[3000];
    host         *a = host_new("a", NULL), *b = host_new("b", NULL);
    uint64_t      random = 12345, used;
    size_t        last;
    (void)state;

    works(a, b);
    used = b->base->mem.used;
    for (int i = 0; i < 300; i++) {
        int fd = raw_socket(b, 0);
        for (size_t k = 0; k < sizeof bytes_in; k++) {
            random = random * UINT64_C(6364136223846793005) + 1;
            bytes_in[k] = (unsigned char)(random >> 40);
        }
        if (i % 3 == 1)             /* looks like TLS from outside */
            memcpy(bytes_in, "\x16\x03\x03\x0b\x00", 5);
        if (i % 3 == 2)
            memcpy(bytes_in, "GET / HTTP/1.1\r\n\r\n", 18);
        last = 1 + (size_t)(random >> 33) % sizeof bytes_in;
        nets_until(send(fd, bytes_in, last, MSG_NOSIGNAL) > 0 || errno != EAGAIN);
        if (i % 20 == 0)
            works(a, b);
        (void)close(fd);
    }
    nets_until(b->net->shaking == 0 && stats(b).handshakes_failed == 300);
    works(a, b);
    assert_int_equal(stats(a).connected, 1);
    assert_true(b->base->mem.used < used + 65536);
    assert_true(t_logged(&b->base->seen, FRN_LOG_net_handshake_failed) < 150);
    nets_end();
}

/* Would catch: somebody with another key who gets as much as a HELLO, or who disturbs. */
static void without_the_key(void **state)
{
    host     *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_frame f;
    (void)state;

    works(a, b);
    for (int i = 0; i < 10; i++) {
        raw *r = (raw *)calloc(1, sizeof *r);
        assert_non_null(r);
        r->base = base_new();
        r->identity = base_identity(r->base, other_key, NULL, "a");
        mbedtls_ssl_conf_authmode(&r->identity->client, MBEDTLS_SSL_VERIFY_NONE);
        r->fd = raw_socket(b, 0);
        r->tls = frn_tls_new(r->identity, false, NULL, r, raw_send_bytes, raw_recv_bytes);
        nets_until(raw_shake_step(r));
        if (!r->over)
            assert_false(raw_frame(r, &f));
        raw_end(r);
        works(a, b);
    }
    nets_until(stats(b).handshakes_failed == 10);
    assert_non_null(strstr(b->base->seen.last[FRN_LOG_net_handshake_failed],
                           "signed with no key of this cluster"));
    assert_int_equal(stats(a).connected, 1);
    nets_end();
}

/* ---- several threads ---- */

enum { THREADS = 3, EACH = 150 };

typedef struct loop {
    host     *h;
    int       wake[2];
    pthread_t thread;
    bool      stop;
    frn_count answered;
} loop;

static loop loops[2];

static void loop_wake(void *user) { (void)!write(((loop *)user)->wake[1], "w", 1); }

static void *loop_run(void *arg)
{
    loop          *l = (loop *)arg;
    struct pollfd  fds[64];
    frn_net_event *e, *next;
    char           bytes_in[64];

    while (!FRN_LOAD(&l->stop)) {
        int64_t until;
        int     n = frn_net_pollfds(l->h->net, fds + 1, 63), ms = 100;
        fds[0].fd = l->wake[0];
        fds[0].events = POLLIN;
        until = frn_net_next_ns(l->h->net);
        if (until <= base_now_ns(l->h->base))
            ms = 0;
        (void)poll(fds, (nfds_t)n + 1, ms);
        (void)!read(l->wake[0], bytes_in, sizeof bytes_in);
        frn_net_step(l->h->net, fds + 1, n);
        for (e = frn_net_events(l->h->net); e != NULL; e = next) {
            next = e->next;
            if (e->kind == FRN_NET_REQUEST)
                frn_net_answer(l->h->net, e->handle, e->head, e->body);
            else if (e->kind == FRN_NET_REPLY && is_answer(e, 2, (int64_t)(e->handle % 20000)))
                (void)__atomic_add_fetch(&l->answered, 1u, __ATOMIC_RELAXED);
            done(l->h, e);
        }
    }
    return NULL;
}

static void *loop_call(void *arg)
{
    uintptr_t n = (uintptr_t)arg;
    host     *from = loops[n % 2].h, *to = loops[1 - n % 2].h;

    for (uint64_t i = 0; i < EACH; i++) {
        uint64_t handle = n * 10000 + i + 1;
        if (call(from, to, handle, 2, (int64_t)(handle % 20000), FRN_NEVER) != FRANCIS_OK)
            return NULL;
    }
    return NULL;
}

/* Would catch: what only one thread may do, done by two. */
static void threads(void **state)
{
    pthread_t    callers[2 * THREADS];
    frn_net_desc d;
    (void)state;

    for (int i = 0; i < 2; i++) {
        loop *l = &loops[i];
        memset(l, 0, sizeof *l);
        assert_int_equal(pipe(l->wake), 0);
        for (int k = 0; k < 2; k++)
            assert_int_equal(fcntl(l->wake[k], F_SETFL, O_NONBLOCK), 0);
        memset(&d, 0, sizeof d);
        d.wake = loop_wake;
        d.user = l;
        d.threads = true;
        l->h = host_new(i == 0 ? "a" : "b", &d);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&loops[i].thread, NULL, loop_run, &loops[i]), 0);
    for (uintptr_t i = 0; i < 2 * THREADS; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, loop_call, (void *)i), 0);
    for (int i = 0; i < 2 * THREADS; i++)
        (void)pthread_join(callers[i], NULL);
    for (int i = 0; i < 2; i++)
        t_until(__atomic_load_n(&loops[i].answered, __ATOMIC_RELAXED) == THREADS * EACH);
    for (int i = 0; i < 2; i++) {
        FRN_STORE(&loops[i].stop, true);
        (void)pthread_join(loops[i].thread, NULL);
    }
    assert_int_equal(stats(loops[0].h).connections, 1);
    nets_end();
    for (int i = 0; i < 2; i++) {
        (void)close(loops[i].wake[0]);
        (void)close(loops[i].wake[1]);
    }
}

#define TEST(f) cmocka_unit_test_setup(f, nets_setup)

static const struct CMUnitTest tests[] = {
    TEST(sizes),
    TEST(sizes_that_the_other_refuses),
    TEST(many_at_once),
    TEST(small_passes_large),
    TEST(deadlines),
    TEST(cancelling),
    TEST(lanes_limit),
    TEST(streams),
    TEST(stream_resets),
    TEST(truncation),
    TEST(credit_of_a_lane),
    TEST(credit_of_a_connection),
    TEST(slow_readers),
    TEST(both_at_once),
    TEST(idle_close),
    TEST(keepalive),
    TEST(takes_nothing),
    TEST(draining),
    TEST(renewal),
    TEST(another_id),
    TEST(lost_connections),
    TEST(failures_are_failures),
    TEST(nobody_there),
    TEST(addresses),
    TEST(families),
    TEST(malformed_frames),
    TEST(overdrawn_credit),
    TEST(cut_anywhere),
    TEST(rapid_resets),
    TEST(half_open),
    TEST(handshake_deadline),
    TEST(greeting_deadline),
    TEST(garbage),
    TEST(without_the_key),
    TEST(threads),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
