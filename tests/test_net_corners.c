/* The transport where it seldom gets: calls that cannot be, answers that come twice or too late,
 * events that nobody takes, peers that break the rules in ways of their own, sockets of a platform
 * that fail, and times that are for ever. */
#define FRANCIS_IMPLEMENTATION
#include "support/nets.h"

/* ---- what is asked of it ---- */

static francis_result calls(host *h, const char *id, const char *address, uint64_t handle)
{
    return frn_net_call(h->net, id, address, handle, NULL, NULL, false, FRN_NEVER);
}

/* Would catch: a call to oneself or to nobody, which waits for ever; a handle that is taken for a
 * token. */
static void calls_that_cannot_be(void **state)
{
    host *a = host_new("a", NULL), *b = host_new("b", NULL);
    char  longest[FRN_HOST_ID_SIZE + 1];
    (void)state;

    memset(longest, 'x', FRN_HOST_ID_SIZE);
    longest[FRN_HOST_ID_SIZE] = '\0';
    t_result(calls(a, "", b->address, 1), FRANCIS_ERR_INVALID);
    t_result(calls(a, longest, b->address, 1), FRANCIS_ERR_INVALID);
    t_result(calls(a, "a", b->address, 1), FRANCIS_ERR_INVALID);
    t_result(calls(a, "b", b->address, FRN_NET_TOKEN | 1), FRANCIS_ERR_INVALID);
    t_result(calls(a, "b", "nowhere", 1), FRANCIS_ERR_INVALID);
    t_result(frn_net_stream_open(a->net, "b", "nowhere", 1, NULL), FRANCIS_ERR_INVALID);
    t_result(call(a, b, 1, FRN_HEAD_MAX + 1, 0, FRN_NEVER), FRANCIS_ERR_TOO_LARGE);
    frn_net_ping(a->net, "a", a->address);
    assert_int_equal(a->net->lanes.count + a->net->peers.count, 0);
    works(a, b);
    frn_net_close(NULL);            /* of a host that never had one */
    nets_end();
}

/* Would catch: an answer that is sent although nobody could take its head, a caller who waits for
 * it in vain; an answer to what has not come whole, or is no call. */
static void answers_that_cannot_be(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    raw           *r;
    frn_buf       *head = bytes(b, FRN_HEAD_MAX + 1, 1);
    frn_net_event *e;
    frn_frame      f;
    (void)state;

    t_ok(call(a, b, 1, 10, 10, FRN_NEVER));
    e = await(b, FRN_NET_REQUEST, 0);
    frn_net_answer(b->net, e->handle, head, NULL);
    done(b, e);
    e = await(a, FRN_NET_FAILED, 1);
    t_result(e->result, FRANCIS_ERR_TOO_LARGE);
    done(a, e);

    t_ok(frn_net_stream_open(a->net, b->id, b->address, 2, NULL));
    e = await(b, FRN_NET_STREAM, 0);
    frn_net_answer(b->net, e->handle, NULL, NULL);          /* that is none: it goes on */
    frn_net_stream_head(b->net, e->handle, head);           /* nor is that a head */
    frn_buf_drop(&b->base->mem, head);
    head = bytes(b, 20, 7);
    frn_net_stream_head(b->net, e->handle, head);
    frn_net_stream_head(b->net, e->handle, NULL);           /* there is one already */
    frn_net_stream_end(b->net, e->handle);
    frn_net_stream_end(b->net, e->handle);
    frn_net_stream_head(b->net, e->handle, NULL);
    t_result(frn_net_stream_write(b->net, e->handle, "x", 1, &(size_t){ 0 }), FRANCIS_ERR_STALE);
    frn_buf_drop(&b->base->mem, head);
    done(b, e);
    e = await(a, FRN_NET_HEAD, 2);
    assert_true(same(e->head, 20, 7));
    done(a, e);
    done(a, await(a, FRN_NET_END, 2));
    frn_net_stream_end(a->net, 2);
    nets_until(a->net->lanes.count == 0 && b->net->lanes.count == 0);
    done(b, await(b, FRN_NET_END, 0));
    assert_null(a->first);
    assert_null(b->first);

    t_ok(frn_net_stream_open(a->net, b->id, b->address, 3, NULL));
    e = await(b, FRN_NET_STREAM, 0);
    frn_net_stream_end(b->net, e->handle);                  /* without a head */
    frn_net_stream_head(b->net, e->handle, NULL);
    done(a, await(a, FRN_NET_END, 3));
    frn_net_stream_reset(a->net, 3, FRANCIS_ERR_CANCELLED, NULL);
    done(b, await(b, FRN_NET_RESET, e->handle));
    done(b, e);
    host_drop_events(a);

    r = raw_connect(b, "raw", 65536, 65536, 0);
    raw_put_open(r, 0, 1, 100, 0, 0, 50);
    nets_until(b->net->lanes.count == 1);
    frn_net_answer(b->net, FRN_NET_TOKEN | b->net->next_token, NULL, NULL); /* it is not whole */
    raw_put(r, FRN_FRAME_DATA, FRN_FLAG_END, 1, NULL, 0, 50);
    e = await(b, FRN_NET_REQUEST, 0);
    frn_net_answer(b->net, e->handle, NULL, NULL);
    done(b, e);
    raw_expect(r, FRN_FRAME_REPLY, &f);
    assert_int_equal(f.lane, 1);
    raw_end(r);
    nets_end();
}

/* Would catch: two answers to a ping, none, or none for whoever does not answer in time. */
static void pings(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event *e;
    (void)state;

    for (int round = 0; round < 2; round++) {
        frn_net_ping(a->net, "b", b->address);
        frn_net_ping(a->net, "b", b->address);
        e = await(a, FRN_NET_PEER_UP, 0);
        assert_string_equal(e->peer, "b");
        done(a, e);
        works(a, b);
        assert_null(a->first);
    }
    nets_end();
}

/* Of a host that has no identity yet nothing begins, and nothing is lost.
 * Would catch: a peer that is forgotten with what waits for it. */
static void without_identity(void **state)
{
    host          *b = host_new("b", NULL), *a = host_new("a", NULL);
    frn_net       *net;
    frn_net_desc   d = { .mem = &a->base->mem, .plat = &a->base->plat, .log = &a->base->log,
                         .bind_address = "127.0.0.1:0" };
    frn_net_event *e = NULL;
    char           error[200];
    int64_t        end = t_ms() + 60000;
    (void)state;

    t_ok(frn_net_open(&net, &d, error, sizeof error));
    frn_net_step(net, NULL, 0);
    assert_int_equal(frn_net_pollfds(net, NULL, 0), 0);     /* it does not listen */
    t_ok(frn_net_call(net, "b", b->address, 1, NULL, NULL, false, FRN_NEVER));
    frn_net_ping(net, "b", b->address);
    for (int i = 0; i < 10; i++) {
        nets_later(2000);
        frn_net_step(net, NULL, 0);
    }
    e = frn_net_events(net);
    assert_non_null(e);
    assert_int_equal(e->kind, FRN_NET_PEER_DOWN);
    assert_null(e->next);
    frn_net_event_free(net, e);
    b->echo = true;
    frn_net_identity(net, a->identity, "a");
    nets_later(2000);               /* it is looked after by itself */
    while ((e = frn_net_events(net)) == NULL) {
        assert_true(t_ms() < end);
        frn_net_step(net, NULL, 0);
        nets_step();
    }
    assert_int_equal(e->kind, FRN_NET_REPLY);
    assert_null(e->next);
    frn_net_event_free(net, e);
    frn_net_close(net);
    nets_end();
}

/* ---- events that nobody takes ---- */

/* Steps until so many events of a host wait; they are not taken. */
static void gather_events(host *a, host *b, size_t many)
{
    int64_t end = t_ms() + 60000;

    while (a->net->events < many) {
        if (t_ms() > end)
            fail_msg("%zu events", a->net->events);
        frn_net_step(a->net, NULL, 0);
        frn_net_step(b->net, NULL, 0);
        host_events(b);
    }
}

/* Would catch: a call that is cancelled and takes other people's events with it, or leaves its
 * own. */
static void cancelled_among_others(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event *e;
    (void)state;

    works(a, b);
    b->echo = true;
    for (uint64_t i = 1; i <= 3; i++)
        t_ok(call(a, b, i, 5, 5, FRN_NEVER));
    frn_net_ping(a->net, "b", b->address);
    gather_events(a, b, 4);
    assert_true(frn_net_cancel(a->net, 2));
    (void)frn_net_cancel(a->net, 0);        /* that of pings, which are nobody's calls */
    assert_int_equal(a->net->events, 3);
    t_ok(call(a, b, 4, 5, 5, FRN_NEVER));   /* the queue ends where it should */
    gather_events(a, b, 4);
    host_events(a);
    for (uint64_t i = 1; i <= 4; i++) {
        e = take(a, FRN_NET_REPLY, i);
        assert_true((e != NULL) == (i != 2));
        if (e != NULL)
            done(a, e);
    }
    done(a, await(a, FRN_NET_PEER_UP, 0));
    assert_null(a->first);
    nets_end();
}

/* Would catch: a host that takes more and more from a peer while nobody looks at it, and one that
 * does not take up again; a descriptor that is polled for nothing. */
static void events_are_full(void **state)
{
    host    *b = host_new("b", NULL);
    raw     *r = raw_connect(b, "raw", 65536, 65536, 0);
    uint64_t in;
    (void)state;

    b->net->events += FRN_NET_EVENTS;       /* as if there were so many */
    in = stats(b).frames_in;
    raw_put_open(r, FRN_FLAG_END, 1, FRN_BODY_ABSENT, 0, 0, 0);
    for (int i = 0; i < 20; i++) {
        struct pollfd fds[4];
        frn_net_step(b->net, NULL, 0);
        assert_int_equal(frn_net_pollfds(b->net, fds, 4), 1);   /* it listens, no more */
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(stats(b).frames_in, in);
    host_events(b);
    assert_int_equal(frn_net_pollfds(b->net, NULL, 0), 2);
    done(b, await(b, FRN_NET_REQUEST, 0));
    raw_end(r);
    nets_end();
}

/* Would catch: hold counted twice, after which nothing goes out. */
static void held_twice(void **state)
{
    host *a = host_new("a", NULL), *b = host_new("b", NULL);
    (void)state;

    works(a, b);
    frn_net_hold(a->net);
    frn_net_hold(a->net);
    t_ok(call(a, b, 1, 5, 5, FRN_NEVER));
    assert_int_equal(a->net->hold, 1);
    frn_net_flush(a->net);
    assert_int_equal(a->net->hold, 0);
    frn_net_flush(a->net);
    assert_int_equal(a->net->hold, 0);
    done(b, await(b, FRN_NET_REQUEST, 0));
    nets_end();
}

/* ---- times, numbers ---- */

/* Would catch: times for ever that overflow; a deadline that becomes another on its way. */
static void long_times(void **state)
{
    frn_net_desc   d = { .keepalive_ms = FRANCIS_FOREVER, .idle_close_ms = -1,
                         .handshake_timeout_ms = FRANCIS_DAYS(40), .connect_timeout_ms = 70000 };
    host          *a = host_new("a", &d), *b = host_new("b", NULL);
    frn_net_event *e;
    int64_t        now;
    (void)state;

    assert_true(a->net->d.keepalive_ms == FRANCIS_DAYS(30));
    assert_true(a->net->d.idle_close_ms == FRANCIS_DAYS(30));
    assert_true(a->net->d.handshake_timeout_ms == FRANCIS_DAYS(30));
    assert_int_equal(a->net->d.connect_timeout_ms, 70000);
    works(a, b);
    now = base_now_ns(a->base);
    t_ok(call(a, b, 1, 5, 5, now + FRANCIS_DAYS(40) * FRN_MS));
    e = await(b, FRN_NET_REQUEST, 0);
    assert_true(e->deadline_ns >= now + INT64_C(2147483647) * FRN_MS);
    assert_true(e->deadline_ns <= base_now_ns(b->base) + INT64_C(2147483647) * FRN_MS);
    done(b, e);
    nets_end();
}

/* Would catch: a connection whose numbers run out, on which nothing begins any more. */
static void numbers_run_out(void **state)
{
    host *a = host_new("a", NULL), *b = host_new("b", NULL);
    (void)state;

    works(a, b);
    assert_false(frn_list_empty(&a->net->links));
    FRN_OF(frn_link, all, a->net->links.next)->next_id = FRN_LANE_LAST + 1;
    works(a, b);
    works(a, b);
    assert_int_equal(stats(a).connected, 2);
    nets_until(stats(a).connections == 1 && stats(b).connections == 1);
    nets_end();
}

/* Would catch: pauses that grow without bound. */
static void pauses(void **state)
{
    host          *a = host_new("a", NULL);
    host           nobody;
    frn_net_event *e;
    int            fd = raw_listen(&nobody, "nobody");
    (void)state;

    (void)close(fd);
    for (uint64_t i = 1; i <= 12; i++) {
        frn_net_peer *p;
        t_ok(call(a, &nobody, i, 5, 5, FRN_NEVER));
        e = await(a, FRN_NET_FAILED, i);
        assert_false(e->sent);
        done(a, e);
        p = frn_net_peer_by_id(a->net, "nobody");
        assert_non_null(p);
        assert_true(p->retry_ns - base_now_ns(a->base) <= 6400 * FRN_MS);
        if (i > 8) {                /* with seconds to go nobody waits for the next attempt */
            t_ok(call(a, &nobody, 100 + i, 5, 5, FRN_NEVER));
            e = await(a, FRN_NET_FAILED, 100 + i);
            t_result(e->result, FRANCIS_ERR_MOVED);
            done(a, e);
        }
        nets_later(6401);
    }
    nets_end();
}

/* connections_max counts both ways.
 * Would catch: a host that goes beyond it, or that keeps those waiting whom it cannot serve. */
static void no_more_connections(void **state)
{
    frn_net_desc   d = { .connections_max = 1 };
    host          *b = host_new("b", &d), *a = host_new("a", NULL), *c = host_new("c", NULL);
    frn_net_event *e;
    (void)state;

    works(a, b);
    t_ok(call(c, b, 1, 5, 5, FRN_NEVER));
    e = await(c, FRN_NET_FAILED, 1);
    assert_false(e->sent);
    done(c, e);
    t_ok(call(b, c, 1, 5, 5, FRN_NEVER));
    e = await(b, FRN_NET_FAILED, 1);
    assert_false(e->sent);
    t_result(e->result, FRANCIS_ERR_BUSY);
    done(b, e);
    works(a, b);
    assert_int_equal(stats(b).connections, 1);
    nets_end();
}

/* A clock that only the test moves from now on. */
static int64_t still_since_ns;

static int64_t still_ns(void *user)
{
    return still_since_ns + FRN_LOAD(&((base *)user)->ahead_ns);
}

static void stand_still(host *h)
{
    still_since_ns = frn_plat_clock(CLOCK_MONOTONIC);
    h->base->plat.hooks.monotonic_ns = still_ns;
}

/* A connection where something waits for an answer, with times that are shorter than those of
 * pings.
 * Would catch: one that is closed as idle, or pinged more than twice. */
static void waits_in_silence(void **state)
{
    frn_net_desc d = { .keepalive_ms = 2000, .idle_close_ms = 100 };
    host        *b = host_new("b", &d);
    raw         *r = raw_connect(b, "raw", 65536, 65536, 0);
    frn_frame    f;
    int          pings = 0;
    (void)state;

    raw_put_open(r, FRN_FLAG_END, 1, FRN_BODY_ABSENT, 0, 0, 0);
    done(b, await(b, FRN_NET_REQUEST, 0));
    stand_still(b);
    raw_put(r, FRN_FRAME_PONG, 0, 0, NULL, 0, 8);
    nets_until(FRN_OF(frn_link, all, b->net->links.next)->in_ns == still_ns(b->base));
    for (int i = 0; i < 49; i++) {
        nets_later(100);
        for (int k = 0; k < 4; k++)
            nets_step();
        assert_int_equal(stats(b).connections, 1);
    }
    nets_later(100);
    nets_until(stats(b).connections == 0);
    while (raw_frame(r, &f))
        pings += f.type == FRN_FRAME_PING ? 1 : 0;
    assert_int_equal(pings, 2);
    raw_end(r);
    nets_end();
}

/* Who has begun a handshake has a second when others wait.
 * Would catch: one that begins and goes no further, which keeps everybody out. */
static void half_a_handshake(void **state)
{
    static const unsigned char begin[] = { 22, 3, 1, 2 };
    frn_net_desc               d = { .handshakes_max = 1 };
    host                      *b = host_new("b", &d), *a;
    int                        fd = raw_socket(b, 0);
    (void)state;

    stand_still(b);
    nets_until(b->net->shaking == 1);
    nets_until(send(fd, begin, sizeof begin, MSG_NOSIGNAL) == (ssize_t)sizeof begin);
    nets_until(FRN_OF(frn_link, all, b->net->links.next)->heard);
    a = host_new("a", NULL);
    t_ok(call(a, b, 1, 5, 5, FRN_NEVER));
    nets_pass(1000, 200);
    assert_null(b->first);
    assert_int_equal(stats(b).handshakes_failed, 0);
    nets_later(200);
    done(b, await(b, FRN_NET_REQUEST, 0));
    assert_int_equal(stats(b).handshakes_failed, 1);
    (void)close(fd);
    nets_end();
}

/* ---- peers that do as they want ---- */

static void raw_cut(raw *r)         /* so that the other side's next write fails */
{
    struct linger l = { 1, 0 };
    assert_int_equal(setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &l, (socklen_t)sizeof l), 0);
    (void)close(r->fd);
    r->fd = -1;
}

/* Between two steps it is found out that a peer is gone; what is asked of it then, large or small,
 * is nobody's.
 * Would catch: frames that are formed for a connection that is over. */
static void gone_meanwhile(void **state)
{
    host          *b = host_new("b", NULL);
    raw           *r = raw_connect(b, "raw", 65536, 65536, 0);
    frn_buf       *body = bytes(b, 20000, 1);
    frn_net_event *e;
    uint64_t       out;
    (void)state;

    raw_put_open(r, FRN_FLAG_END, 1, FRN_BODY_ABSENT, 0, 0, 0);
    e = await(b, FRN_NET_REQUEST, 0);
    raw_cut(r);
    frn_net_ping(b->net, "raw", "127.0.0.1:1");
    assert_false(frn_list_empty(&b->net->over));
    out = stats(b).frames_out;
    frn_net_answer(b->net, e->handle, NULL, body);
    assert_int_equal(stats(b).frames_out, out);
    done(b, e);
    nets_until(stats(b).connections == 0);
    done(b, await(b, FRN_NET_PEER_DOWN, 0));
    frn_buf_drop(&b->base->mem, body);
    raw_end(r);
    nets_end();
}

/* The same by a timer, when silence asks for a ping, or for the end.
 * Would catch: a timer that is set for what is over. */
static void gone_when_pinged(void **state)
{
    for (int idle = 0; idle < 2; idle++) {
        frn_net_desc   d = { .keepalive_ms = 1000, .idle_close_ms = idle ? 500 : 60000 };
        host          *b = host_new("b", &d);
        raw           *r = raw_connect(b, "raw", 65536, 65536, 0);
        struct pollfd  none = { 0 };
        raw_cut(r);
        nets_later(1100);
        frn_net_step(b->net, &none, 0);     /* timers, and no look at the connection */
        assert_int_equal(stats(b).connections, 0);
        assert_true(frn_list_empty(&b->net->links));
        raw_end(r);
        nets_end();
    }
    (void)state;
}

static void raw_put_goaway(raw *r, uint32_t last, uint32_t code)
{
    unsigned char p[8];

    frn_wire_put32(p, last);
    frn_wire_put32(p + 4, code);
    raw_put(r, FRN_FRAME_GOAWAY, 0, 0, p, sizeof p, sizeof p);
}

/* Who takes no more calls, and nothing is open: idle, it is closed at once; with another id as
 * well.
 * Would catch: a goodbye that waits for one that was said already. */
static void closed_after_goaway(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        frn_net_desc d = { .keepalive_ms = 60000, .idle_close_ms = 1000 };
        host        *b = host_new("b", &d);
        raw         *r = raw_connect(b, "raw", 65536, 65536, 0);
        frn_frame    f;
        raw_put_goaway(r, 0, FRN_GOAWAY_DRAIN);
        nets_until(FRN_OF(frn_link, all, b->net->links.next)->goaway_got);
        if (how == 0)
            nets_later(1100);
        else
            frn_net_identity(b->net, b->identity, "other");
        raw_expect(r, FRN_FRAME_GOAWAY, &f);
        assert_int_equal(frn_wire_get32(f.data + 4), FRN_GOAWAY_CLOSE);
        nets_until(stats(b).connections == 0);
        raw_until_over(r);
        raw_end(r);
        nets_end();
    }
}

static void raw_put_small_hello(raw *r, const char *id)
{
    unsigned char out[200];
    size_t        size;
    frn_hello     h = { FRN_WIRE_VERSION, 100, 64u << 20, 65536, 65536, FRN_FRAME_MIN, "" };

    (void)snprintf(h.id, sizeof h.id, "%s", id);
    size = frn_wire_put_hello(out, &h);
    raw_put(r, FRN_FRAME_HELLO, 0, 0, out, size, size);
}

/* Opens of lanes in one record. */
static void raw_put_opens(raw *r, uint32_t first, size_t many, unsigned flags)
{
    static unsigned char out[FRN_FRAME_MAX];
    const size_t         one = FRN_FRAME_HEADER + FRN_OPEN_FIXED;

    memset(out, 0, sizeof out);
    assert_true(many * one <= sizeof out);
    for (size_t i = 0; i < many; i++) {
        frn_wire_header(out + i * one, FRN_FRAME_OPEN, flags, FRN_OPEN_FIXED,
                        first + 2 * (uint32_t)i);
        frn_wire_put32(out + i * one + FRN_FRAME_HEADER, FRN_BODY_ABSENT);
    }
    raw_write(r, out, many * one);
}

/* What is owed to a peer that takes small frames only: why streams were broken off, at length, and
 * refusals of more than are kept at a time.
 * Would catch: a record that is larger than the peer takes, an answer that is left out. */
static void owed_in_small_frames(void **state)
{
    frn_net_desc   d = { .streams_max = 8 };
    host          *b = host_new("b", &d);
    raw           *r = raw_dial(b, "raw", 0);
    frn_net_event *e[8];
    frn_buf       *why = bytes(b, FRN_RESET_WHY_MAX, 3);
    frn_frame      f;
    int            cancelled = 0, refused = 0;
    (void)state;

    raw_expect(r, FRN_FRAME_HELLO, &f);
    raw_put_small_hello(r, "raw");
    raw_put_opens(r, 1, 8, FRN_FLAG_STREAM);
    for (int i = 0; i < 8; i++)
        e[i] = await(b, FRN_NET_STREAM, 0);
    frn_net_hold(b->net);
    for (int i = 0; i < 8; i++)
        frn_net_stream_reset(b->net, e[i]->handle, FRANCIS_ERR_BUSY, why);
    frn_net_flush(b->net);
    for (int i = 0; i < 8; i++) {
        raw_expect(r, FRN_FRAME_RESET, &f);
        cancelled += f.size == FRN_RESET_FIXED + FRN_RESET_WHY_MAX ? 1 : 0;
        done(b, e[i]);
    }
    assert_int_equal(cancelled, 8);
    raw_put_opens(r, 17, 8, FRN_FLAG_STREAM);
    for (int i = 0; i < 8; i++)
        done(b, await(b, FRN_NET_STREAM, 0));
    raw_put_opens(r, 33, 200, FRN_FLAG_STREAM);
    for (uint32_t i = 0; i < 200; i++) {
        raw_expect(r, FRN_FRAME_RESET, &f);
        refused += f.data[0] == FRN_RESET_REFUSED &&
                           frn_wire_get32(f.data + 1) == FRANCIS_ERR_BUSY ? 1 : 0;
    }
    assert_int_equal(refused, 200);
    frn_buf_drop(&b->base->mem, why);
    raw_end(r);
    nets_end();
}

/* A peer that begins more and more and reads no answer.
 * Would catch: memory that grows with what it begins. */
static void begins_and_does_not_read(void **state)
{
    frn_net_desc d = { .streams_max = 1 };
    host        *b = host_new("b", &d), *a;
    raw         *r = raw_connect(b, "raw", 65536, 65536, 4096);
    uint32_t     lane = 1;
    int64_t      end = t_ms() + 60000;
    (void)state;

    while (stats(b).connections == 1) {
        if (t_ms() > end)
            fail_msg("it takes %u and more", (unsigned)lane);
        if (!r->over)
            raw_put_opens(r, lane, 800, FRN_FLAG_STREAM);
        lane += 1600;
        nets_step();
        host_drop_events(b);
    }
    a = host_new("a", NULL);
    works(a, b);
    raw_end(r);
    nets_end();
}

/* Would catch: an answer that is believed although the question is still on its way. */
static void answered_too_early(void **state)
{
    host           peer;
    host          *a = host_new("a", NULL);
    int            listener = raw_listen(&peer, "raw");
    raw           *r;
    frn_net_event *e;
    frn_frame      f;
    unsigned char  p[FRN_REPLY_FIXED] = { 0xff, 0xff, 0xff, 0xff, 0, 0 };
    (void)state;

    t_ok(call(a, &peer, 1, 0, 20000, FRN_NEVER));
    r = raw_accept(listener, "raw");
    raw_put_hello(r, "raw", FRN_FRAME_MIN, 65536);
    raw_expect(r, FRN_FRAME_OPEN, &f);
    raw_put(r, FRN_FRAME_REPLY, FRN_FLAG_END, f.lane, p, sizeof p, sizeof p);
    e = await(a, FRN_NET_FAILED, 1);
    assert_non_null(strstr(e->text, "answers what was not asked yet"));
    done(a, e);
    raw_end(r);
    (void)close(listener);
    nets_end();
}

/* Two dial each other; the one that has to wait does not.
 * Would catch: a connection of the wrong direction that is used. */
static void greets_too_early(void **state)
{
    host           peer;
    host          *a = host_new("a", NULL);
    int            listener = raw_listen(&peer, "z");
    raw           *r, *other;
    frn_net_event *e;
    (void)state;

    t_ok(call(a, &peer, 1, 5, 5, FRN_NEVER));
    r = raw_dial(a, "z", 0);        /* is held as long as ours may come to something */
    raw_put_hello(r, "z", 65536, 65536);
    raw_until_over(r);
    assert_int_equal(stats(a).frames_refused, 1);
    assert_int_equal(stats(a).connected, 0);
    other = raw_accept(listener, "z");
    raw_put_hello(other, "z", 65536, 65536);
    nets_until(stats(a).connected == 1);
    frn_net_cancel(a->net, 1);
    e = take(a, FRN_NET_FAILED, 1);
    assert_null(e);
    raw_end(other);
    raw_end(r);
    (void)close(listener);
    nets_end();
}

/* Two that agree on a protocol, and it is another one.
 * Would catch: a program of the same cluster that is taken for a host. */
static void another_protocol(void **state)
{
    host          *a = host_new("a", NULL), *b = host_new("b", NULL);
    frn_net_event *e;
    (void)state;

    a->identity->protocols[0] = b->identity->protocols[0] = "other/1";
    t_ok(call(a, b, 1, 5, 5, FRN_NEVER));
    e = await(a, FRN_NET_FAILED, 1);
    assert_false(e->sent);
    assert_non_null(strstr(e->text, "it does not speak " FRN_ALPN_PEER));
    done(a, e);
    assert_int_equal(stats(a).connected + stats(b).connected, 0);
    nets_end();
}

/* Would catch: a second connection to one who is about to have one. */
static void called_while_greeting(void **state)
{
    host      *a = host_new("a", NULL);
    host       peer;
    raw       *r = raw_dial(a, "raw", 0);
    frn_frame  f;
    int        listener = raw_listen(&peer, "raw");
    (void)state;

    raw_expect(r, FRN_FRAME_HELLO, &f);
    t_ok(call(a, &peer, 1, 5, 5, FRN_NEVER));
    assert_int_equal(a->net->links_count, 1);
    raw_put_hello(r, "raw", 65536, 65536);
    raw_expect(r, FRN_FRAME_OPEN, &f);
    assert_int_equal(a->net->links_count, 1);
    raw_end(r);
    (void)close(listener);
    nets_end();
}

/* A host of two addresses, of which the first does not answer.
 * Would catch: a host that is given up with it. */
static void the_next_address(void **state)
{
    host         *a = host_new("a", NULL), *b = host_new("b", NULL);
    host          nobody;
    frn_net_peer *p;
    char          why[100];
    (void)state;

    (void)close(raw_listen(&nobody, "nobody"));
    p = frn_net_peer_get(a->net, "b", b->address);
    assert_non_null(p);
    assert_int_equal(frn_addr_resolve(nobody.address, 0, &p->addrs[0], 1, why, sizeof why), 1);
    assert_int_equal(frn_addr_resolve(b->address, 0, &p->addrs[1], 1, why, sizeof why), 1);
    p->addrs_count = 2;
    p->resolved = true;
    works(a, b);
    assert_int_equal(p->fails, 0);
    nets_end();
}

/* Would catch: a host that takes somebody else for itself. */
static void who_says_it_is_me(void **state)
{
    host *a = host_new("a", NULL);
    raw  *r = raw_dial(a, "a", 0);
    (void)state;

    raw_until_over(r);
    assert_int_equal(stats(a).connected, 0);
    assert_int_equal(a->net->peers.count, 0);
    raw_end(r);
    nets_end();
}

/* ---- sockets of a platform ---- */

typedef struct fake {
    int listen, accept, accepts;    /* what they answer; how often it was asked */
    int reads, read_fails;          /* so many reads fail with that first */
} fake;

static fake faked;

static int fake_listen(const char *address, void *user)
{
    (void)address;
    (void)user;
    return faked.listen;
}

static int fake_accept(int listener, void *user)
{
    (void)listener;
    (void)user;
    faked.accepts++;
    return faked.accept;
}

static int fake_connect(const char *address, void *user)
{
    struct sockaddr_in in;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)user;

    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&in, (socklen_t)sizeof in), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static int fake_read(int fd, void *data, size_t size, void *user)
{
    ssize_t n;
    (void)user;

    if (faked.reads > 0) {
        faked.reads--;
        return faked.read_fails;
    }
    n = recv(fd, data, size, 0);
    return n >= 0 ? (int)n : -errno;
}

static int fake_write(int fd, const void *data, size_t size, void *user)
{
    ssize_t n;
    (void)user;

    if (size == 0)
        return 0;
    n = send(fd, data, size, MSG_NOSIGNAL);
    return n >= 0 ? (int)n : -errno;
}

static void fake_close(int fd, void *user)
{
    (void)user;
    if (fd < 1000)
        (void)close(fd);
}

static void fake_hooks(base *b)
{
    b->plat.hooks.net_listen = fake_listen;
    b->plat.hooks.net_accept = fake_accept;
    b->plat.hooks.net_connect = fake_connect;
    b->plat.hooks.net_read = fake_read;
    b->plat.hooks.net_write = fake_write;
    b->plat.hooks.net_close = fake_close;
    memset(&faked, 0, sizeof faked);
}

/* Would catch: a host that believes to listen. */
static void cannot_listen(void **state)
{
    base        *b = base_new();
    frn_net     *net;
    frn_net_desc d = { .mem = &b->mem, .plat = &b->plat, .log = &b->log,
                       .bind_address = "somewhere:1" };
    char         error[200];
    (void)state;

    d.bind_address = "nowhere";
    t_result(frn_net_open(&net, &d, error, sizeof error), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "not host:port"));
    d.bind_address = "somewhere:1";
    fake_hooks(b);
    faked.listen = -EADDRINUSE;
    t_result(frn_net_open(&net, &d, error, sizeof error), FRANCIS_ERR_EXISTS);
    assert_non_null(strstr(error, "somewhere:1"));
    faked.listen = -EACCES;
    t_result(frn_net_open(&net, &d, error, sizeof error), FRANCIS_ERR_INVALID);
    assert_null(net);
    base_free(b);
}

/* Would catch: connections that somebody gave up meanwhile, after which nobody is accepted for a
 * while; and a descriptor that is wanted again and again when there are none. */
static void cannot_accept(void **state)
{
    static const struct {
        int  error;
        bool pauses;
    } list[] = { { EAGAIN, false }, { ECONNABORTED, false }, { EINTR, false }, { EMFILE, true } };
    base         *b = base_new();
    frn_identity *i = base_identity(b, cluster_key, NULL, "b");
    frn_net      *net;
    frn_net_desc  d = { .mem = &b->mem, .plat = &b->plat, .log = &b->log,
                        .bind_address = "somewhere:1" };
    char          error[200];
    (void)state;

    fake_hooks(b);
    faked.listen = 1000;
    t_ok(frn_net_open(&net, &d, error, sizeof error));
    frn_net_identity(net, i, "b");
    for (size_t n = 0; n < FRN_COUNT(list); n++) {
        faked.accepts = 0;
        faked.accept = -list[n].error;
        frn_net_step(net, NULL, 0);
        frn_net_step(net, NULL, 0);
        assert_int_equal(faked.accepts, list[n].pauses ? 1 : 2);
        assert_int_equal(frn_net_pollfds(net, NULL, 0), list[n].pauses ? 0 : 1);
    }
    frn_net_close(net);
    frn_identity_drop(i);
    base_free(b);
}

/* Would catch: a connection that ends because a signal came. */
static void interrupted(void **state)
{
    host        *b = host_new("b", NULL), *a = (host *)calloc(1, sizeof *a);
    frn_net_desc d = { 0 };
    char         error[200];
    (void)state;

    assert_non_null(a);
    a->base = base_new();
    fake_hooks(a->base);
    a->last = &a->first;
    (void)snprintf(a->id, sizeof a->id, "a");
    (void)snprintf(a->address, sizeof a->address, "127.0.0.1:1");
    d.mem = &a->base->mem;
    d.plat = &a->base->plat;
    d.log = &a->base->log;
    t_ok(frn_net_open(&a->net, &d, error, sizeof error));
    a->identity = base_identity(a->base, cluster_key, NULL, "a");
    frn_net_identity(a->net, a->identity, "a");
    hosts[hosts_count++] = a;
    faked.reads = 1;
    faked.read_fails = -EINTR;
    works(a, b);
    faked.reads = 3;
    works(a, b);
    assert_int_equal(faked.reads, 0);
    assert_int_equal(stats(a).connected, 1);
    faked.reads = 1;
    faked.read_fails = -EIO;        /* that is no signal */
    t_ok(call(b, a, 1, 5, 5, FRN_NEVER));
    done(b, await(b, FRN_NET_FAILED, 1));
    assert_int_equal(faked.reads, 0);
    works(a, b);
    assert_int_equal(stats(a).connected, 2);
    nets_end();
}

#define TEST(f) cmocka_unit_test_setup(f, nets_setup)

static const struct CMUnitTest tests[] = {
    TEST(calls_that_cannot_be),
    TEST(answers_that_cannot_be),
    TEST(pings),
    TEST(without_identity),
    TEST(cancelled_among_others),
    TEST(events_are_full),
    TEST(held_twice),
    TEST(long_times),
    TEST(numbers_run_out),
    TEST(pauses),
    TEST(no_more_connections),
    TEST(waits_in_silence),
    TEST(half_a_handshake),
    TEST(gone_meanwhile),
    TEST(gone_when_pinged),
    TEST(closed_after_goaway),
    TEST(owed_in_small_frames),
    TEST(begins_and_does_not_read),
    TEST(answered_too_early),
    TEST(greets_too_early),
    TEST(another_protocol),
    TEST(called_while_greeting),
    TEST(the_next_address),
    TEST(who_says_it_is_me),
    TEST(cannot_listen),
    TEST(cannot_accept),
    TEST(interrupted),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
