/* Who runs what: everything inside francis_poll without workers, a pool that cannot lock up with
 * them, and a host that costs nothing while nothing happens. */
#define _POSIX_C_SOURCE 200809L
#include "tb.h"

#include <poll.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#define OPTIONS(...) ((francis_call){ __VA_ARGS__ })

/* -- without workers --------------------------------------------------------------------------- */

/* Would catch: a thread that is created although none is allowed, or that outlives its host. */
static void *no_thread(void *arg)
{
    return arg;
}

static void threads(void **state)
{
    static tb_relay relay;
    pthread_t       thread;
    int             before;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, no_thread, NULL), 0);    /* a sanitizer adds */
    assert_int_equal(pthread_join(thread, NULL), 0);                        /* one of its own */
    before = tb_threads();
    memset(&relay, 0, sizeof relay);
    relay.type = "b";
    relay.id   = "1";
    relay.run  = tb_add;
    tb_open();
    for (int i = 0; i < 20; i++) {
        t_ok(tb_invoke("a", "1", tb_relay_run, &relay));
        t_ok(tb_send(tb->ctx, "a", "2", tb_add, NULL));
        if (tb_inline())
            assert_true(tb_threads() <= before);
    }
    if (!tb_inline())
        assert_true(tb_threads() >= before + 2);
    t_ok(francis_halt_all(tb->ctx, NULL));
    if (tb_inline())
        assert_true(tb_threads() <= before);
    tb_stop();
    t_until(tb_threads() <= before);
}

/* Would catch: a handler or callback that runs anywhere but inside francis_poll or a blocking
 * call. */
static pthread_t owner;
static bool      inside;

static francis_result run_inside(francis_ctx *ctx)
{
    (void)ctx;
    tb_check(pthread_equal(pthread_self(), owner));
    tb_check(inside);
    tb_note("ran");
    return tb_add(ctx);
}

static void done_inside(francis_call *call)
{
    (void)call;
    tb_check(pthread_equal(pthread_self(), owner));
    tb_check(inside);
    tb_note("done");
}

static void only_inside_poll(void **state)
{
    francis_call *call;
    (void)state;
    owner  = pthread_self();
    inside = false;
    tb_open();
    call          = tb_new();
    call->on_done = done_inside;
    t_result(tb_invoke_with(tb->ctx, "a", "1", run_inside, NULL, call), FRANCIS_PENDING);
    t_ok(tb_send(tb->ctx, "a", "1", run_inside, NULL));
    (void)tb_stats();
    (void)tb_health();
    (void)francis_timeout(tb->host);
    tb_diary("");
    inside = true;
    while (tb_noted("done") == 0 || tb_noted("ran") < 2)
        t_ok(francis_poll(tb->host, 1000));
    t_ok(tb_invoke("a", "1", run_inside, NULL));
    assert_int_equal(tb->value, 3);
    inside = false;
    tb_stop();
}

/* Would catch: a wait inside a turn or a callback that blocks the only thread, or one that is
 * refused without saying what to do instead. */
static void blocked(francis_result r, const francis_call *call, const char *what)
{
    if (r != FRANCIS_ERR_WOULD_BLOCK || (call != NULL && strstr(call->error, "async") == NULL)) {
        print_error("%s: %s, %s\n", what, francis_result_name(r),
                    call != NULL ? call->error : "no call");
        tb_check(false);
    }
}

static void try_to_wait(francis_ctx *ctx, francis_call *under_way)
{
    francis_call call;
    memset(&call, 0, sizeof call);
    blocked(tb_invoke_with(ctx, "b", "1", tb_add, NULL, &call), &call, "invoke");
    blocked(tb_peek_with(ctx, "b", "1", tb_get, NULL, &call), &call, "peek");
    blocked(francis_state_write(ctx, "b", "1", "12345678", 8, 0, &call), &call, "state_write");
    blocked(francis_purge(ctx, "b", "1", &call), &call, "purge");
    blocked(francis_halt(ctx, "b", "1", &call), &call, "halt");
    blocked(francis_halt_all(ctx, &call), &call, "halt_all");
    blocked(tb_invoke_with(ctx, "b", "1", tb_add, NULL, NULL), NULL, "invoke without a call");
    if (under_way != NULL)
        blocked(francis_wait(ctx, under_way), NULL, "wait");
    francis_call_free(&call);
}

static francis_call waiting_call;

static francis_result waited(francis_ctx *ctx)
{
    tb_check(waiting_call.result == FRANCIS_OK);
    tb_check(tb_number(&waiting_call) == 1);
    return tb_reply(ctx, 77);
}

static francis_result wait_in_turn(francis_ctx *ctx)
{
    memset(&waiting_call, 0, sizeof waiting_call);
    waiting_call.async = true;
    tb_check(tb_invoke_with(ctx, "c", "1", tb_add, NULL, &waiting_call) == FRANCIS_PENDING);
    try_to_wait(ctx, &waiting_call);
    tb_check(francis_poll(ctx->host, 0) == FRANCIS_ERR_WOULD_BLOCK);
    tb_check(francis_flush(ctx, NULL) == FRANCIS_OK);   /* the one wait that works everywhere */
    return francis_await(ctx, waited, NULL);
}

static void waiting_refused(void **state)
{
    (void)state;
    tb_open();
    t_ok(tb_invoke("b", "1", tb_add, NULL));
    t_ok(tb_invoke("a", "1", wait_in_turn, NULL));
    assert_int_equal(tb->value, 77);
    assert_int_equal(tb_value("b", "1"), 1);
    tb_stop();
}

/* Would catch: waiting in an on_done, or with the host's ctx inside a handler, where it would
 * hold up the thread that has to bring the answer. */
static francis_call other_call;

static void wait_in_done(francis_call *call)
{
    atomic_int *count = (atomic_int *)call->user;
    try_to_wait(tb->ctx, other_call.result == FRANCIS_PENDING ? &other_call : NULL);
    if (tb_inline())
        tb_check(francis_poll(tb->host, 0) == FRANCIS_ERR_WOULD_BLOCK);
    atomic_fetch_add(count, 1);
}

static francis_result wait_on_host(francis_ctx *ctx)
{
    static francis_call call;
    try_to_wait(francis_host_ctx(ctx->host), NULL);
    memset(&call, 0, sizeof call);                  /* what does not wait is allowed */
    call.on_done = tb_on_done;
    call.user    = tb_arg(ctx);
    tb_check(tb_invoke_with(francis_host_ctx(ctx->host), "c", "1", tb_add, NULL, &call) ==
             FRANCIS_PENDING);
    return FRANCIS_OK;
}

static void waiting_in_callbacks(void **state)
{
    static tb_gate    gate;
    static tb_seen    seen;
    static atomic_int count;
    francis_call     *held, *call;
    (void)state;
    tb_open();
    t_ok(tb_invoke("b", "1", tb_add, NULL));
    held = tb_begin_hold("c", "2", &gate);
    memset(&other_call, 0, sizeof other_call);
    other_call.async = true;
    t_result(tb_invoke_with(tb->ctx, "c", "2", tb_add, NULL, &other_call), FRANCIS_PENDING);
    atomic_store(&count, 0);
    call          = tb_new();
    call->on_done = wait_in_done;
    call->user    = &count;
    t_result(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, call), FRANCIS_PENDING);
    tb_until(atomic_load(&count) == 1);
    t_ok(tb_release(&gate));
    t_ok(tb_join(&other_call));
    t_ok(tb_join(held));
    memset(&seen, 0, sizeof seen);
    t_ok(tb_invoke("a", "1", wait_on_host, &seen));
    tb_until(atomic_load(&seen.count) == 1);
    assert_int_equal(tb_value("b", "1"), 1);
    francis_call_free(&other_call);
    tb_stop();
}

/* Would catch: a call from another thread that does not wake the poll, runs there, or is allowed to
 * wait there. */
typedef struct stranger {
    tb_seen      seen, seen_send;
    francis_call call;
    atomic_int   finished;
} stranger;

static francis_result by_owner(francis_ctx *ctx)
{
    tb_check(pthread_equal(pthread_self(), owner));
    return tb_add(ctx);
}

static void *strange_thread(void *arg)
{
    stranger    *s = (stranger *)arg;
    francis_call call, async;
    memset(&call, 0, sizeof call);
    blocked(tb_invoke_with(tb->ctx, "a", "1", by_owner, NULL, &call), &call, "invoke");
    blocked(tb_peek_with(tb->ctx, "a", "1", by_owner, NULL, &call), &call, "peek");
    blocked(francis_halt(tb->ctx, "a", "1", &call), &call, "halt");
    francis_call_free(&call);
    memset(&async, 0, sizeof async);
    async.async = true;
    tb_check(tb_invoke_with(tb->ctx, "a", "1", by_owner, NULL, &async) == FRANCIS_PENDING);
    tb_check(francis_wait(tb->ctx, &async) == FRANCIS_ERR_WOULD_BLOCK ||
             async.result == FRANCIS_OK);
    s->call.on_done = tb_on_done;
    s->call.user    = &s->seen;
    tb_check(tb_invoke_with(tb->ctx, "a", "1", by_owner, NULL, &s->call) == FRANCIS_PENDING);
    tb_wait_for(atomic_load(&s->seen.count) == 1);
    tb_check(tb_send(tb->ctx, "a", "1", by_owner, NULL) == FRANCIS_OK);
    francis_call_free(&async);
    atomic_store(&s->finished, 1);
    return NULL;
}

static void other_threads(void **state)
{
    static stranger s;
    pthread_t       thread;
    int64_t         begin;
    (void)state;
    tb_open();
    owner = pthread_self();
    memset(&s, 0, sizeof s);
    t_ok(tb_invoke("a", "1", by_owner, NULL));
    assert_int_equal(pthread_create(&thread, NULL, strange_thread, &s), 0);
    begin = t_ms();
    while (atomic_load(&s.seen.count) == 0) {
        t_ok(francis_poll(tb->host, 30000));
        assert_true(t_ms() - begin < 25000);        /* woken, not timed out */
    }
    assert_true(pthread_equal(s.seen.thread, owner));
    tb_until(atomic_load(&s.finished) == 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    tb_until(tb_value("a", "1") == 4);
    tb_stop();
}

/* -- in somebody else's loop ------------------------------------------------------------------- */

/* One round of a loop that knows the descriptor only: how often it was readable. */
static int epoll_round(int ep, int timeout_ms)
{
    struct epoll_event event;
    int                n = epoll_wait(ep, &event, 1, timeout_ms);
    assert_true(n >= 0 || errno == EINTR);
    if (n > 0) {
        tb_polling = true;
        (void)francis_poll(tb->host, 0);
        tb_polling = false;
    }
    return n > 0 ? 1 : 0;
}

static int epoll_of(int fd)
{
    struct epoll_event event;
    int                ep = epoll_create1(0);
    assert_true(ep >= 0);
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event), 0);
    return ep;
}

/* Lets the loop run for a while in which nothing is due, and counts its rounds. */
static int idle_rounds(int ep, int64_t ms)
{
    int64_t end   = t_ms() + ms;
    int     count = 0;
    while (t_ms() < end)
        count += epoll_round(ep, (int)(end - t_ms()) + 1);
    return count;
}

static void *late_caller(void *arg)
{
    francis_call *call = (francis_call *)arg;
    tb_check(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, call) == FRANCIS_PENDING);
    return NULL;
}

/* Would catch: work that the descriptor does not show, a descriptor that stays readable although
 * nothing is to be done. */
static void fd_shows_work(void **state)
{
    static tb_relay  relay[20];
    static tb_seen   seen;
    francis_host_desc d = tb_desc();
    pthread_t        thread;
    francis_call    *call;
    int              ep;
    (void)state;
    tb->desc = d;
    t_ok(francis_open(&tb->host, &d));
    for (int i = 0; i < 3; i++)
        t_ok(francis_register(tb->host, &tb_types[i]));
    assert_int_equal(francis_fd(tb->host), -1);
    t_ok(francis_start(tb->host));
    tb->ctx = francis_host_ctx(tb->host);
    assert_true(francis_fd(tb->host) >= 0);
    ep = epoll_of(francis_fd(tb->host));
    memset(relay, 0, sizeof relay);
    memset(&seen, 0, sizeof seen);
    for (int i = 0; i < 20; i++) {
        relay[i].type = "b";
        relay[i].id   = i % 2 == 0 ? "1" : "2";
        relay[i].run  = tb_add;
        call          = tb_new();
        call->on_done = tb_on_done;
        call->user    = &seen;
        t_result(tb_invoke_with(tb->ctx, "a", i % 3 == 0 ? "1" : "2", tb_relay_run, &relay[i],
                                call),
                 FRANCIS_PENDING);
    }
    while (atomic_load(&seen.count) < 20)
        assert_int_equal(epoll_round(ep, 20000), 1);
    assert_true(seen.polling);
    (void)idle_rounds(ep, 50);
    assert_in_range(idle_rounds(ep, 1500), 0, 10);
    call          = tb_new();
    call->on_done = tb_on_done;
    call->user    = &seen;
    assert_int_equal(pthread_create(&thread, NULL, late_caller, call), 0);
    while (atomic_load(&seen.count) < 21)
        assert_int_equal(epoll_round(ep, 20000), 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    francis_stop(tb->host);
    while (francis_poll(tb->host, 0) != FRANCIS_ERR_STOPPED)
        assert_int_equal(epoll_round(ep, 20000), 1);
    assert_int_equal(close(ep), 0);
    tb_stop();
}

/* Would catch: a timer that the descriptor does not show, or shows by being readable all the
 * time. */
static void fd_shows_timers(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a") }, { TB_TYPE("i"), .idle_timeout_ms = 200 }, { .type = NULL }
    };
    static tb_gate    gate;
    static tb_seen    seen;
    francis_host_desc d = tb_desc();
    francis_call     *held, *call;
    int64_t           begin;
    int               ep, rounds = 0;
    (void)state;
    tb_start(&d, types);
    ep            = epoll_of(francis_fd(tb->host));
    held          = tb_begin_hold("a", "1", &gate);
    call          = tb_new();
    call->on_done = tb_on_done;
    call->user    = &seen;
    call->timeout_ms = 200;
    memset(&seen, 0, sizeof seen);
    begin = t_ms();
    t_result(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, call), FRANCIS_PENDING);
    while (atomic_load(&seen.count) == 0) {
        assert_int_equal(epoll_round(ep, 20000), 1);
        assert_true(++rounds < 30);
    }
    t_result(seen.result, FRANCIS_ERR_DEADLINE);
    assert_true(t_ms() - begin >= 200);
    t_ok(tb_release(&gate));
    t_ok(tb_join(held));
    begin = t_ms();
    t_ok(tb_invoke("i", "1", tb_add, NULL));
    for (rounds = 0; tb_stats().deactivations == 0; rounds++) {
        assert_int_equal(epoll_round(ep, 20000), 1);
        assert_true(rounds < 30);
    }
    assert_true(t_ms() - begin >= 200);
    assert_int_equal(close(ep), 0);
    tb_stop();
}

/* Would catch: a loop of descriptors and time-outs that sleeps although something is due. */
static void pollfds_and_timeout(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a") }, { TB_TYPE("i"), .idle_timeout_ms = 150 }, { .type = NULL }
    };
    static tb_gate    gate;
    static tb_seen    seen, late;
    francis_host_desc d = tb_desc();
    francis_call     *held, *call;
    int64_t           timeout;
    int               rounds = 0;
    (void)state;
    tb_start(&d, types);
    memset(&seen, 0, sizeof seen);
    memset(&late, 0, sizeof late);
    held             = tb_begin_hold("a", "1", &gate);
    call             = tb_new();
    call->on_done    = tb_on_done;
    call->user       = &late;
    call->timeout_ms = 10000;
    t_result(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, call), FRANCIS_PENDING);
    call          = tb_new();
    call->on_done = tb_on_done;
    call->user    = &seen;
    t_result(tb_invoke_with(tb->ctx, "i", "1", tb_add, NULL, call), FRANCIS_PENDING);
    assert_int_equal(francis_timeout(tb->host), 0);
    while (tb_stats().deactivations == 0) {
        struct pollfd fds[4];
        int           n = francis_pollfds(tb->host, fds, 4);
        assert_in_range(n, 0, 4);
        timeout = francis_timeout(tb->host);
        assert_in_range(timeout, 0, 10000);         /* the waiting call's deadline at the latest */
        (void)poll(fds, (nfds_t)n, (int)timeout);
        tb_polling = true;
        t_ok(francis_poll(tb->host, 0));
        tb_polling = false;
        assert_true(++rounds < 60);
    }
    assert_int_equal(atomic_load(&seen.count), 1);
    t_ok(seen.result);
    assert_int_equal(atomic_load(&late.count), 0);
    t_ok(tb_release(&gate));
    t_ok(tb_join(held));
    tb_until(atomic_load(&late.count) == 1);
    timeout = francis_timeout(tb->host);
    assert_true(timeout == FRANCIS_FOREVER || timeout >= 0);
    tb_stop();
}

/* Would catch: a poll that does not wait, waits too long, or does not tell that the host is at
 * rest. */
static void poll_results(void **state)
{
    int64_t begin;
    (void)state;
    tb_open();
    assert_true(tb_inline() || francis_fd(tb->host) == -1);
    begin = t_ms();
    for (int i = 0; i < 100; i++)
        t_ok(francis_poll(tb->host, 0));
    t_ok(francis_poll(tb->host, 30));
    assert_true(t_ms() - begin < 20000);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    francis_stop(tb->host);
    begin = t_ms();
    while (francis_poll(tb->host, FRANCIS_FOREVER) == FRANCIS_OK) {}
    assert_true(t_ms() - begin < 20000);
    for (int i = 0; i < 3; i++)
        t_result(francis_poll(tb->host, 1000), FRANCIS_ERR_STOPPED);
    tb_stop();
}

/* -- with workers ------------------------------------------------------------------------------ */

/* Would catch: turns that wait for a call and take all workers with them. */
static void blocked_turns_are_compensated(void **state)
{
    enum { CHAINS = 10 };
    static tb_gate  gate[CHAINS];
    static tb_relay relay[CHAINS];
    static char     id[CHAINS][16];
    francis_call   *call[CHAINS];
    (void)state;
    tb_open();
    for (int round = 0; round < 3; round++) {
        memset(relay, 0, sizeof relay);
        for (int i = 0; i < CHAINS; i++) {
            tb_gate_reset(&gate[i]);
            (void)snprintf(id[i], sizeof id[i], "%d", i);
            relay[i].type = "b";
            relay[i].id   = id[i];
            relay[i].run  = tb_hold;
            relay[i].arg  = &gate[i];
            call[i]       = tb_begin("a", id[i], tb_relay_block, &relay[i]);
        }
        for (int i = 0; i < CHAINS; i++)
            t_until(atomic_load(&gate[i].entered) == 1);
        t_until(tb_stats().threads_blocked == CHAINS);
        t_ok(tb_invoke("c", "1", tb_add, NULL));    /* others are served */
        for (int i = 0; i < CHAINS; i++)
            t_ok(tb_release(&gate[i]));
        for (int i = 0; i < CHAINS; i++) {
            t_ok(tb_join(call[i]));
            assert_int_equal(tb_number(call[i]), round + 1);
        }
        t_until(tb_stats().threads_blocked == 0);
    }
    tb_stop();
}

/* Would catch: more blocked threads than allowed, a refusal that hangs or does not tell the way
 * out, places that are not given back. */
static void blocked_max(void **state)
{
    static tb_gate    gate[4];
    static tb_relay   relay[4];
    static const char *const id[] = { "0", "1", "2", "3" };
    francis_host_desc d = tb_desc();
    francis_call     *call[3];
    (void)state;
    d.blocked_max = 3;
    tb_start(&d, tb_types);
    for (int round = 0; round < 2; round++) {
        memset(relay, 0, sizeof relay);
        for (int i = 0; i < 4; i++) {
            tb_gate_reset(&gate[i]);
            relay[i].type = "b";
            relay[i].id   = id[i];
            relay[i].run  = i < 3 ? tb_hold : tb_say;
            relay[i].arg  = i < 3 ? (void *)&gate[i] : "ran";
            if (i < 3)
                call[i] = tb_begin("a", id[i], tb_relay_block, &relay[i]);
        }
        for (int i = 0; i < 3; i++)
            t_until(atomic_load(&gate[i].entered) == 1);
        t_until(tb_stats().threads_blocked == 3);
        t_result(tb_invoke("a", id[3], tb_relay_block, &relay[3]), FRANCIS_ERR_BUSY);
        t_result(relay[3].result, FRANCIS_ERR_BUSY);
        assert_non_null(strstr(relay[3].error, "async"));
        t_ok(tb_invoke("a", id[3], tb_relay_run, &(tb_relay){ .type = "c", .id = "1",
                                                              .run = tb_add }));
        for (int i = 0; i < 3; i++)
            t_ok(tb_release(&gate[i]));
        for (int i = 0; i < 3; i++)
            t_ok(tb_join(call[i]));
        t_until(tb_stats().threads_blocked == 0);
    }
    assert_int_equal(tb_noted("ran"), 0);
    tb_stop();
}

/* Would catch: a full house in which nobody moves again: everybody waits for somebody who waits. */
typedef struct crossing {
    tb_gate  gate;
    tb_relay relay;
} crossing;

static francis_result cross(francis_ctx *ctx)
{
    crossing    *c = (crossing *)tb_arg(ctx);
    francis_call call;
    memset(&call, 0, sizeof call);
    call.timeout_ms = c->relay.timeout_ms;
    c->relay.result = tb_invoke_with(ctx, "a", c->relay.id, tb_nothing, NULL, &call);
    return FRANCIS_OK;
}

static void crosswise(void **state)
{
    enum { ACTORS = 12 };
    static const uint32_t blocked_at_most[] = { 5, 64 };
    static crossing       c[ACTORS];
    static char           id[ACTORS][16];
    francis_call         *call[ACTORS];
    (void)state;
    for (int round = 0; round < 2; round++) {
        francis_host_desc d = tb_desc();
        int               late = 0;
        int64_t           begin;
        d.blocked_max = blocked_at_most[round];
        tb_start(&d, tb_types);
        memset(c, 0, sizeof c);
        for (int i = 0; i < ACTORS; i++) {
            (void)snprintf(id[i], sizeof id[i], "%d", i);
            c[i].gate.then        = cross;
            c[i].relay.id         = id[(i + 1) % ACTORS];
            c[i].relay.timeout_ms = 400;
        }
        for (int i = 0; i < ACTORS; i++)
            call[i] = tb_begin("a", id[i], tb_hold, &c[i]);
        for (int i = 0; i < ACTORS; i++)
            t_until(atomic_load(&c[i].gate.entered) == 1);
        begin = t_ms();
        for (int i = 0; i < ACTORS; i++)
            t_ok(tb_release(&c[i].gate));
        for (int i = 0; i < ACTORS; i++) {
            francis_result r;
            t_ok(tb_join(call[i]));
            r = c[i].relay.result;
            if (r == FRANCIS_ERR_DEADLINE)
                late++;
            else if (r != FRANCIS_OK)
                t_result(r, FRANCIS_ERR_BUSY);
        }
        assert_true(late >= round);         /* with room for all only time can break such a ring */
        assert_true(t_ms() - begin < 30000);
        for (int i = 0; i < ACTORS; i++)
            t_ok(tb_invoke("a", id[i], tb_add, NULL));
        tb_stop();
    }
}

/* Would catch: a type that promised not to wait and is handed to another thread all the same, or
 * one whose turns overlap because of it. */
static pthread_t ran_on;

static francis_result where(francis_ctx *ctx)
{
    ran_on = pthread_self();
    return tb_add(ctx);
}

static void nonblocking(void **state)
{
    static const francis_actor_desc types[] = { { TB_TYPE("n"), .nonblocking = true },
                                                { TB_TYPE("a") }, { .type = NULL } };
    static tb_relay                 relay;
    francis_host_desc               d = tb_desc();
    (void)state;
    tb_start(&d, types);
    t_ok(tb_invoke("n", "1", where, NULL));         /* it may have to be loaded first */
    for (int i = 2; i < 20; i++) {
        t_ok(tb_invoke("n", "1", where, NULL));
        assert_int_equal(tb->value, i);
        assert_true(pthread_equal(ran_on, pthread_self()));
    }
    memset(&relay, 0, sizeof relay);
    relay.type = "n";
    relay.id   = "1";
    relay.run  = tb_add;
    t_ok(tb_invoke("a", "1", tb_relay_run, &relay));
    assert_int_equal(tb->value, 20);
    tb_stop();
}

/* Would catch: an update that is lost or made twice when many threads call many actors in every
 * way; a value that goes back. */
enum { HAMMERS = 6, ANVILS = 16 };

typedef struct hammer {
    int      number, strokes;
    unsigned seed;
} hammer;

static atomic_int   struck[ANVILS];
static const char  *anvil_id[ANVILS] = { "0", "1", "2", "3", "4", "5", "6", "7",
                                         "8", "9", "10", "11", "12", "13", "14", "15" };
static const char *const anvil_type[] = { "a", "n", "b" };

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

static void *hammer_thread(void *arg)
{
    hammer      *h = (hammer *)arg;
    int64_t      seen[ANVILS];
    francis_call call;
    memset(&call, 0, sizeof call);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < h->strokes; i++) {
        unsigned    k    = next_random(&h->seed) % ANVILS;
        const char *type = anvil_type[k % 3];
        switch (next_random(&h->seed) % 8) {
        case 0:
            tb_check(tb_peek_with(tb->ctx, type, anvil_id[k], tb_get, NULL, &call) == FRANCIS_OK);
            tb_check(tb_number(&call) >= seen[k]);
            seen[k] = tb_number(&call);
            break;
        case 1:
            if (tb_send(tb->ctx, type, anvil_id[k], tb_add, NULL) == FRANCIS_OK)
                atomic_fetch_add(&struck[k], 1);
            break;
        case 2:
            tb_check(tb_invoke_with(tb->ctx, type, anvil_id[k], tb_refuse, NULL, &call) ==
                     FRANCIS_ERR_USER + 7);
            break;
        case 3:
            call.async = true;
            tb_check(tb_invoke_with(tb->ctx, type, anvil_id[k], tb_add, NULL, &call) ==
                     FRANCIS_PENDING);
            call.async = false;
            tb_check(francis_wait(tb->ctx, &call) == FRANCIS_OK);
            atomic_fetch_add(&struck[k], 1);
            break;
        default:
            tb_check(tb_invoke_with(tb->ctx, type, anvil_id[k], tb_add, NULL, &call) ==
                     FRANCIS_OK);
            tb_check(tb_number(&call) > seen[k]);
            seen[k] = tb_number(&call);
            atomic_fetch_add(&struck[k], 1);
            break;
        }
    }
    francis_call_free(&call);
    return NULL;
}

static const francis_actor_desc hammer_types[] = {
    { TB_TYPE("a") }, { TB_TYPE("n"), .nonblocking = true },
    { TB_TYPE("b"), .idle_timeout_ms = 2 }, { .type = NULL }
};

static void hammering(void **state)
{
    francis_host_desc d = tb_desc();
    pthread_t         thread[HAMMERS];
    hammer            h[HAMMERS];
    (void)state;
    tb_start(&d, hammer_types);
    for (int i = 0; i < ANVILS; i++)
        atomic_store(&struck[i], 0);
    for (int i = 0; i < HAMMERS; i++) {
        h[i].number  = i;
        h[i].strokes = tb_times(3000, 400);
        h[i].seed    = 17u + (unsigned)i;
        assert_int_equal(pthread_create(&thread[i], NULL, hammer_thread, &h[i]), 0);
    }
    for (int i = 0; i < HAMMERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int i = 0; i < ANVILS; i++)
        tb_until(tb_value(anvil_type[i % 3], anvil_id[i]) == atomic_load(&struck[i]));
    tb_stop();
    tb_start(&d, hammer_types);
    for (int i = 0; i < ANVILS; i++)
        assert_int_equal(tb_stored(anvil_type[i % 3], anvil_id[i]), atomic_load(&struck[i]));
    tb_stop();
}

/* Would catch: the same where one thread does all the work and others only ask. */
static void *asking_thread(void *arg)
{
    hammer             *h = (hammer *)arg;
    static francis_call calls[HAMMERS];
    static tb_seen      seen[HAMMERS];
    francis_call       *call = &calls[h->number];
    memset(call, 0, sizeof *call);
    memset(&seen[h->number], 0, sizeof seen[0]);
    call->on_done = tb_on_done;
    call->user    = &seen[h->number];
    for (int i = 0; i < h->strokes; i++) {
        unsigned k = next_random(&h->seed) % ANVILS;
        tb_check(tb_invoke_with(tb->ctx, anvil_type[k % 3], anvil_id[k], tb_add, NULL, call) ==
                 FRANCIS_PENDING);
        tb_wait_for(atomic_load(&seen[h->number].count) == i + 1);
        tb_check(seen[h->number].result == FRANCIS_OK);
        atomic_fetch_add(&struck[k], 1);
        francis_call_free(call);                    /* on_done may not have returned yet */
    }
    return NULL;
}

static atomic_int asking;

static void *asking_thread_counted(void *arg)
{
    (void)asking_thread(arg);
    atomic_fetch_sub(&asking, 1);
    return NULL;
}

static void asked_from_threads(void **state)
{
    francis_host_desc d = tb_desc();
    pthread_t         thread[HAMMERS];
    hammer            h[HAMMERS];
    (void)state;
    tb_start(&d, hammer_types);
    for (int i = 0; i < ANVILS; i++)
        atomic_store(&struck[i], 0);
    atomic_store(&asking, HAMMERS);
    for (int i = 0; i < HAMMERS; i++) {
        h[i].number  = i;
        h[i].strokes = tb_times(300, 60);
        h[i].seed    = 99u + (unsigned)i;
        assert_int_equal(pthread_create(&thread[i], NULL, asking_thread_counted, &h[i]), 0);
    }
    while (atomic_load(&asking) > 0)
        t_ok(francis_poll(tb->host, 20));
    for (int i = 0; i < HAMMERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int i = 0; i < ANVILS; i++)
        assert_int_equal(tb_value(anvil_type[i % 3], anvil_id[i]), atomic_load(&struck[i]));
    tb_stop();
}

/* -- hosts ------------------------------------------------------------------------------------- */

/* Would catch: descriptors, threads or memory that each host leaves behind. */
static void open_and_close(void **state)
{
    int           rounds = tb_times(200, 25);
    int           descriptors = 0, running = 0;
    sqlite3_int64 memory = 0;
    (void)state;
    for (int i = 0; i < rounds; i++) {
        if (i == 5) {
            descriptors = tb_descriptors();
            running     = tb_threads();
            memory      = sqlite3_memory_used();
        }
        tb_open();
        t_ok(tb_invoke("a", "1", tb_add, NULL));
        assert_int_equal(tb->value, i + 1);
        if (i % 3 == 0)
            (void)tb_begin("a", "1", tb_get, NULL);
        tb_stop();
    }
    assert_int_equal(tb_descriptors(), descriptors);
    t_until(tb_threads() <= running);
    assert_int_equal(sqlite3_memory_used(), memory);
}

/* Would catch: hosts of one process that share what they must not share. */
static void two_hosts(void **state)
{
    francis_host_desc d     = tb_desc();
    francis_host     *other = NULL, *third = NULL;
    francis_call      call;
    francis_stats     stats;
    char              path[512];
    static t_log      third_log;
    (void)state;
    (void)pthread_mutex_init(&third_log.lock, NULL);
    tb_start(&d, tb_types);
    (void)snprintf(path, sizeof path, "%s", t_database());
    d.database   = path;
    d.on_alloc   = NULL;
    d.alloc_user = NULL;
    other        = t_start(&d, tb_types);
    memset(&call, 0, sizeof call);
    for (int i = 1; i <= 20; i++) {
        t_ok(tb_invoke("a", "1", tb_add, NULL));
        assert_int_equal(tb->value, i);
        if (i % 2 == 0) {
            t_ok(tb_invoke_with(francis_host_ctx(other), "a", "1", tb_add, NULL, &call));
            assert_int_equal(tb_number(&call), i / 2);
        }
    }
    d.log_user = &third_log;        /* the same file twice: two hosts that share it */
    third      = t_start(&d, tb_types);
    t_result(tb_invoke_with(francis_host_ctx(third), "a", "1", tb_add, NULL, &call),
             FRANCIS_ERR_MOVED);
    francis_stats_get(other, &stats);
    assert_non_null(strstr(call.error, stats.host_id));
    t_ok(tb_invoke_with(francis_host_ctx(third), "a", "2", tb_add, NULL, &call));
    assert_int_equal(tb_number(&call), 1);
    francis_close(third);
    t_ok(tb_invoke_with(francis_host_ctx(other), "a", "2", tb_add, NULL, &call));
    assert_int_equal(tb_number(&call), 2);
    t_ok(tb_invoke_with(francis_host_ctx(other), "a", "1", tb_add, NULL, &call));
    francis_call_free(&call);
    francis_close(other);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    assert_int_equal(tb->value, 21);
    tb_stop();

    tb->path[0] = '\0';                             /* what is in memory is each host's own */
    d           = tb_desc();
    d.database  = ":memory:";
    tb_start(&d, tb_types);
    d.on_alloc   = NULL;
    d.alloc_user = NULL;
    other        = t_start(&d, tb_types);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    t_ok(tb_invoke_with(francis_host_ctx(other), "a", "1", tb_add, NULL, &call));
    assert_int_equal(tb_number(&call), 1);
    francis_call_free(&call);
    francis_close(other);
    tb_stop();
}

/* Would catch: a host that wakes up for nothing: a battery that is empty by morning. */
static long switches(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_nvcsw;
}

static long switches_in(int64_t ms)
{
    long    before = switches();
    int64_t end    = t_ms() + ms;
    int     rounds = 0;
    while (t_ms() < end) {
        int64_t left = end - t_ms() + 1;
        if (tb->host != NULL) {
            t_ok(francis_poll(tb->host, left));
            rounds++;
        } else {
            struct timespec t = { (time_t)(left / 1000), (long)(left % 1000) * 1000000 };
            (void)nanosleep(&t, NULL);
        }
    }
    assert_true(rounds <= 30);
    return switches() - before;
}

static void idle_is_quiet(void **state)
{
    long alone, with_host;
    (void)state;
    alone = switches_in(2500);
    tb_open();
    for (int i = 0; i < 20; i++)
        t_ok(tb_invoke("a", i % 2 == 0 ? "1" : "2", tb_add, NULL));
    for (int i = 0; i < 20; i++)
        tb_pump();
    with_host = switches_in(2500);
    if (with_host > alone + 40)
        fail_msg("%ld voluntary context switches in 2.5 idle seconds, %ld without a host",
                 with_host, alone);
    tb_stop();
}

static const struct CMUnitTest tests[] = {
    TB_BOTH(threads),
    TB_INLINE(only_inside_poll),
    TB_INLINE(waiting_refused),
    TB_BOTH(waiting_in_callbacks),
    TB_INLINE(other_threads),
    TB_INLINE(fd_shows_work),
    TB_INLINE(fd_shows_timers),
    TB_INLINE(pollfds_and_timeout),
    TB_BOTH(poll_results),
    TB_WORKERS(blocked_turns_are_compensated),
    TB_WORKERS(blocked_max),
    TB_WORKERS(crosswise),
    TB_WORKERS(nonblocking),
    TB_WORKERS(hammering),
    TB_INLINE(asked_from_threads),
    TB_BOTH(open_and_close),
    TB_BOTH(two_hosts),
    TB_BOTH(idle_is_quiet),
};

TB_MAIN(tests)
