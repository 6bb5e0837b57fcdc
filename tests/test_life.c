/* The life of an activation and of a host: how they begin, how they end, what is left of them. */
#define _POSIX_C_SOURCE 200809L
#include "tb.h"

#include <sched.h>
#include <signal.h>

#define OPTIONS(...) ((francis_call){ __VA_ARGS__ })

/* -- an actor that writes a diary -------------------------------------------------------------- */

static void note_type(const char *what, const francis_ctx *ctx)
{
    char word[64];
    (void)snprintf(word, sizeof word, "%s:%s", what, ctx->type);
    tb_note(word);
}

static francis_result up(francis_ctx *ctx)
{
    tb_check(ctx->kind == FRANCIS_ACTIVATE);
    tb_check(strcmp(ctx->method, "") == 0 && strcmp(ctx->request_id, "") == 0);
    note_type("up", ctx);
    return FRANCIS_OK;
}

static francis_result down(francis_ctx *ctx)
{
    tb_check(ctx->kind == FRANCIS_DEACTIVATE);
    tb_check(strcmp(ctx->method, "") == 0);
    note_type("down", ctx);
    return FRANCIS_OK;
}

#define LIFE(name) TB_TYPE(name), .activate = up, .deactivate = down

static void open_types(const francis_actor_desc *types)
{
    francis_host_desc d = tb_desc();
    tb_start(&d, types);
}

static const francis_actor_desc plain[] = { { LIFE("a") }, { LIFE("b") }, { TB_TYPE("c") },
                                            { .type = NULL } };

static void until_stopped(void)
{
    while (francis_poll(tb->host, 1000) == FRANCIS_OK) {}
    t_result(francis_poll(tb->host, 0), FRANCIS_ERR_STOPPED);
}

/* -- activate and deactivate ------------------------------------------------------------------- */

/* Would catch: a hook that is skipped, called twice, or at the wrong moment. */
static void order(void **state)
{
    (void)state;
    open_types(plain);
    t_ok(tb_invoke("a", "1", tb_say, "x"));
    t_ok(tb_peek("a", "1", tb_say, "y"));
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));
    tb_diary("up:a x y down:a");
    t_ok(tb_peek("a", "1", tb_say, "z"));
    assert_int_equal(tb_stats().activations, 2);
    assert_int_equal(tb_stats().deactivations, 1);
    assert_int_equal(tb_stats().active, 1);
    tb_stop();
    tb_diary("up:a z down:a");
}

/* Would catch: instance memory that is dirty, shared, moved, or forgotten between turns. */
enum { INSTANCE = 512 };

static francis_result clean_instance(francis_ctx *ctx)
{
    const unsigned char *p = (const unsigned char *)ctx->instance;
    for (int i = 0; i < INSTANCE; i++)
        tb_check(p[i] == 0);
    tb_check((uintptr_t)p % _Alignof(max_align_t) == 0);
    tb_note("clean");
    return FRANCIS_OK;
}

static francis_result dirty_instance(francis_ctx *ctx)
{
    unsigned char *p = (unsigned char *)ctx->instance;
    for (int i = 0; i < INSTANCE; i++)
        tb_check(p[i] == p[0]);
    memset(p, p[0] + 1, INSTANCE);
    return tb_reply(ctx, p[0]);
}

static void instance_memory(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .activate = clean_instance, .instance_size = INSTANCE }, { .type = NULL }
    };
    (void)state;
    open_types(types);
    for (int round = 0; round < 10; round++) {
        for (int i = 1; i <= 3; i++) {
            t_ok(tb_invoke("a", "1", dirty_instance, NULL));
            assert_int_equal(tb->value, i);
            t_result(tb_invoke("a", "2", tb_refuse, NULL), FRANCIS_ERR_USER + 7);
        }
        t_ok(francis_halt(tb->ctx, "a", "1", NULL));
        t_ok(francis_halt(tb->ctx, "a", "2", NULL));
    }
    assert_int_equal(tb_noted("clean"), 20);
    tb_stop();
}

/* Would catch: a failed activation whose reason is lost, that leaves a half-made actor or what it
 * wrote, or that is not tried again. */
static atomic_int refusals;

static francis_result up_later(francis_ctx *ctx)
{
    ++*(int64_t *)francis_state(ctx);
    note_type("try", ctx);
    if (atomic_fetch_sub(&refusals, 1) > 0)
        return francis_fail(ctx, FRANCIS_ERR_USER + 3, "closed until %s", "noon");
    return FRANCIS_OK;
}

static void activate_fails(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .activate = up_later, .deactivate = down }, { .type = NULL }
    };
    (void)state;
    atomic_store(&refusals, 2);
    open_types(types);
    t_result(tb_invoke("a", "1", tb_say, "ran"), FRANCIS_ERR_USER + 3);
    assert_string_equal(tb->error, "closed until noon");
    t_result(tb_peek("a", "1", tb_say, "ran"), FRANCIS_ERR_USER + 3);
    assert_int_equal(t_logged(&tb->log, 300), 2);
    assert_int_equal(tb_stored("a", "1"), -1);
    tb_until(tb_stats().active == 0);
    t_result(francis_halt(tb->ctx, "a", "1", NULL), FRANCIS_ERR_NOT_ACTIVE);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    assert_int_equal(tb->value, 2);
    tb_diary("try:a try:a try:a");
    tb_stop();
}

/* Would catch: what activate wrote being invisible, lost, or answered before it is durable. */
static void activate_writes(void **state)
{
    static const francis_actor_desc types[] = { { TB_TYPE("a"), .activate = up_later },
                                                { .type = NULL } };
    (void)state;
    atomic_store(&refusals, 0);
    open_types(types);
    assert_int_equal(tb_value("a", "1"), 1);
    assert_int_equal(tb_stored("a", "1"), 1);
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));
    assert_int_equal(tb_value("a", "1"), 2);
    tb_stop();
    open_types(types);
    assert_int_equal(tb_value("a", "1"), 3);
    tb_stop();
}

/* Would catch: calls that get in beside an activation which waits for something, or that are lost
 * when it fails. */
static tb_gate up_gate;

static francis_result up_held(francis_ctx *ctx)
{
    tb_note("got");
    return up_gate.call.result == FRANCIS_OK
               ? FRANCIS_OK
               : francis_fail(ctx, up_gate.call.result, "nobody home");
}

static francis_result up_hold(francis_ctx *ctx)
{
    memset(&up_gate.call, 0, sizeof up_gate.call);
    atomic_store(&up_gate.ticket, francis_expect(ctx, &up_gate.call));
    tb_check(atomic_load(&up_gate.ticket) != 0);
    atomic_fetch_add(&up_gate.entered, 1);
    return francis_await(ctx, up_held, NULL);
}

/* Each of the callers may try anew. */
static bool refuse_activation(void)
{
    if (atomic_exchange(&up_gate.entered, 0) > 0)
        (void)francis_answer(tb->ctx, atomic_load(&up_gate.ticket), FRANCIS_ERR_USER + 9, NULL, 0);
    return true;
}

static void activate_waits(void **state)
{
    static const francis_actor_desc types[] = { { TB_TYPE("a"), .activate = up_hold },
                                                { TB_TYPE("c") }, { .type = NULL } };
    static tb_seen seen[3];
    francis_call  *call[3];
    (void)state;
    open_types(types);
    tb_gate_reset(&up_gate);
    for (int i = 0; i < 3; i++)
        call[i] = tb_begin("a", "1", tb_add, NULL);
    tb_until(atomic_load(&up_gate.entered) == 1);
    t_ok(tb_invoke("c", "1", tb_add, NULL));
    t_ok(francis_answer(tb->ctx, atomic_load(&up_gate.ticket), FRANCIS_OK, NULL, 0));
    for (int i = 0; i < 3; i++) {
        t_ok(tb_join(call[i]));
        assert_int_equal(tb_number(call[i]), i + 1);
    }
    tb_diary("got");
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));

    tb_gate_reset(&up_gate);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 3; i++) {
        call[i]          = tb_new();
        call[i]->on_done = tb_on_done;
        call[i]->user    = &seen[i];
        t_result(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, call[i]), FRANCIS_PENDING);
    }
    for (int i = 0; i < 3; i++)
        tb_until(refuse_activation() && atomic_load(&seen[i].count) == 1);
    for (int i = 0; i < 3; i++) {
        t_result(call[i]->result, FRANCIS_ERR_USER + 9);
        assert_string_equal(call[i]->error, "nobody home");
    }
    tb_stop();
}

/* Would catch: the last writes of an actor that are lost, made by a deactivate that failed, or made
 * after the actor was released. */
static atomic_int down_fails;

static francis_result down_writes(francis_ctx *ctx)
{
    *(int64_t *)francis_state(ctx) += 1000;
    note_type("down", ctx);
    if (atomic_load(&down_fails) != 0)
        return francis_fail(ctx, FRANCIS_ERR_USER + 1, "%s", "not that way");
    return FRANCIS_OK;
}

static void deactivate_writes(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .deactivate = down_writes }, { .type = NULL }
    };
    (void)state;
    atomic_store(&down_fails, 0);
    open_types(types);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));
    assert_int_equal(tb_stored("a", "1"), 1001);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    assert_int_equal(tb->value, 1002);
    atomic_store(&down_fails, 1);
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));
    assert_int_equal(t_logged(&tb->log, 302), 1);
    assert_int_equal(tb_stored("a", "1"), 1002);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    atomic_store(&down_fails, 0);
    tb_stop();                                      /* close deactivates, too */
    tb_diary("down:a down:a down:a");
    open_types(types);
    assert_int_equal(tb_stored("a", "1"), 2003);
    tb_stop();
}

/* Would catch: a deactivate that never ends and keeps the actor for ever, or that commits after its
 * time; one that may not wait for another actor. */
static francis_result down_spins(francis_ctx *ctx)
{
    int64_t        begin = t_ms();
    francis_result r     = FRANCIS_OK;
    *(int64_t *)francis_state(ctx) += 1000;
    while (t_ms() - begin < 60000 &&
           (r = francis_interrupted(ctx)) != FRANCIS_ERR_DEADLINE)
        t_yield();
    tb_check(r == FRANCIS_ERR_DEADLINE);
    tb_check(t_ms() - begin >= 90);
    tb_note("late");
    return FRANCIS_OK;
}

static tb_gate down_gate;

static francis_result down_held(francis_ctx *ctx)
{
    *(int64_t *)francis_state(ctx) += 1000;
    return FRANCIS_OK;
}

static francis_result down_hangs(francis_ctx *ctx)
{
    memset(&down_gate.call, 0, sizeof down_gate.call);
    atomic_store(&down_gate.ticket, francis_expect(ctx, &down_gate.call));
    atomic_fetch_add(&down_gate.entered, 1);
    return francis_await(ctx, down_held, NULL);
}

static void deactivate_timeout(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .deactivate = down_spins, .deactivate_timeout_ms = 100 },
        { TB_TYPE("b"), .deactivate = down_hangs, .deactivate_timeout_ms = 100 },
        { .type = NULL }
    };
    static const char *const names[] = { "a", "b" };
    (void)state;
    tb_gate_reset(&down_gate);
    open_types(types);
    for (unsigned i = 0; i < 2; i++) {
        int64_t begin;
        t_ok(tb_invoke(names[i], "1", tb_add, NULL));
        begin = t_ms();
        t_ok(francis_halt(tb->ctx, names[i], "1", NULL));
        assert_true(t_ms() - begin >= 90);
        assert_int_equal(t_logged(&tb->log, 302), i + 1);
        assert_int_equal(tb_stored(names[i], "1"), 1);
        assert_int_equal(tb_value(names[i], "1"), 1);
    }
    tb_diary("late");
    tb_stop();
}

static tb_relay down_relay;

static francis_result down_calls(francis_ctx *ctx)
{
    return tb_relay_go(ctx, &down_relay);
}

static void deactivate_calls(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .deactivate = down_calls }, { TB_TYPE("b") }, { .type = NULL }
    };
    (void)state;
    memset(&down_relay, 0, sizeof down_relay);
    down_relay.type = "b";
    down_relay.id   = "1";
    down_relay.run  = tb_add;
    open_types(types);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));
    assert_int_equal(tb_value("b", "1"), 1);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    tb_stop();                      /* while the host goes down it may be refused, not forgotten */
    assert_int_equal(atomic_load(&down_relay.done), 2);
    assert_true(down_relay.result == FRANCIS_OK || down_relay.result == FRANCIS_ERR_STOPPED);
}

/* -- idle -------------------------------------------------------------------------------------- */

static const francis_actor_desc idle_types[] = {
    { LIFE("i"), .idle_timeout_ms = 100 },
    { LIFE("tick"), .idle_timeout_ms = 100 },
    { LIFE("never"), .idle_timeout_ms = FRANCIS_FOREVER },
    { .type = NULL }
};

/* Lets several idle time-outs pass, as another actor with the same one sees them. */
static void idle_time(int times)
{
    for (int i = 0; i < times; i++) {
        int before = tb_noted("down:tick");
        t_ok(tb_invoke("tick", "1", tb_add, NULL));
        tb_until(tb_noted("down:tick") == before + 1);
    }
}

/* Would catch: an actor that stays for ever, sleeps too early, or loses its state in its sleep. */
static void idle(void **state)
{
    int64_t begin;
    (void)state;
    open_types(idle_types);
    t_ok(tb_invoke("never", "1", tb_add, NULL));
    for (int i = 1; i <= 3; i++) {
        begin = t_ms();
        t_ok(tb_invoke("i", "1", tb_add, NULL));
        assert_int_equal(tb->value, i);
        tb_until(tb_noted("down:i") == i);
        assert_true(t_ms() - begin >= 100);
    }
    t_ok(tb_peek("i", "1", tb_get, NULL));
    tb_until(tb_noted("down:i") == 4);
    idle_time(3);
    assert_int_equal(tb_noted("down:never"), 0);
    tb_until(tb_stats().active == 1);
    tb_stop();
    assert_int_equal(tb_noted("down:never"), 1);
}

/* Would catch: an actor that sleeps in its turn, or with a caller parked; an idle time that counts
 * from the beginning of the last turn and not from its end. */
typedef struct parking {
    _Atomic uint64_t ticket;
    atomic_int       parked;
} parking;

static francis_result park(francis_ctx *ctx)
{
    parking *p = (parking *)tb_arg(ctx);
    atomic_store(&p->ticket, francis_defer(ctx));
    atomic_fetch_add(&p->parked, 1);
    return FRANCIS_OK;
}

static void idle_not_while_used(void **state)
{
    static tb_gate gate;
    static parking parked;
    (void)state;
    open_types(idle_types);
    for (int form = 0; form < 3; form++) {
        francis_call *call, *queued = NULL;
        int64_t       end;
        tb_gate_reset(&gate);
        memset(&parked, 0, sizeof parked);
        if (form == 0) {
            call   = tb_begin_hold("i", "1", &gate);
            queued = tb_begin("i", "1", tb_nothing, NULL);
        } else if (form == 1) {
            call = tb_begin_peek("i", "1", tb_hold, &gate);
            tb_until(atomic_load(&gate.entered) == 1);
        } else {
            call = tb_begin("i", "1", park, &parked);
            tb_until(atomic_load(&parked.parked) == 1);
        }
        idle_time(3);
        assert_int_equal(tb_noted("down:i"), form);
        end = t_ms();
        t_ok(form == 2 ? francis_answer(tb->ctx, atomic_load(&parked.ticket), FRANCIS_OK, NULL, 0)
                       : tb_release(&gate));
        t_ok(tb_join(call));
        if (queued != NULL)
            t_ok(tb_join(queued));
        tb_until(tb_noted("down:i") == form + 1);
        assert_true(form == 2 || t_ms() - end >= 100);      /* to be answered is not to be used */
    }
    tb_stop();
}

/* Would catch: the same where the turn does not await but takes its time, and nothing else
 * happens on the host that would show it how late it is. */
static _Atomic int64_t turn_end_ms, down_ms;

static francis_result take_time(francis_ctx *ctx)
{
    int64_t begin = t_ms();
    while (t_ms() - begin < 250)
        t_yield();
    (void)ctx;
    atomic_store(&turn_end_ms, t_ms());
    return FRANCIS_OK;              /* not even a commit */
}

static francis_result down_at(francis_ctx *ctx)
{
    (void)ctx;
    atomic_store(&down_ms, t_ms());
    tb_note("down");
    return FRANCIS_OK;
}

static void idle_after_long_turn(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("i"), .idle_timeout_ms = 100, .deactivate = down_at },
        { TB_TYPE("n"), .idle_timeout_ms = 100, .deactivate = down_at, .nonblocking = true },
        { .type = NULL }
    };
    (void)state;
    open_types(types);
    for (int i = 0; i < 4; i++) {
        const char *type = i % 2 == 0 ? "i" : "n";
        if (i >= 2)
            t_ok(tb_invoke(type, "1", tb_nothing, NULL));   /* it is awake already */
        if (i == 3)
            t_ok(tb_join(tb_begin(type, "1", take_time, NULL)));
        else
            t_ok(tb_invoke(type, "1", take_time, NULL));
        tb_until(tb_noted("down") == i + 1);
        if (atomic_load(&down_ms) - atomic_load(&turn_end_ms) < 100)
            fail_msg("round %d: asleep %d ms after its turn", i,
                     (int)(atomic_load(&down_ms) - atomic_load(&turn_end_ms)));
    }
    tb_stop();
}

/* Would catch: a call that meets an actor just as it falls asleep and is lost, runs on the old
 * memory, or finds an older state. */
static atomic_int awake;

static francis_result up_alone(francis_ctx *ctx)
{
    (void)ctx;
    tb_check(atomic_fetch_add(&awake, 1) == 0);
    return FRANCIS_OK;
}

static francis_result down_alone(francis_ctx *ctx)
{
    (void)ctx;
    tb_check(atomic_fetch_sub(&awake, 1) == 1);
    return FRANCIS_OK;
}

static void idle_races_with_calls(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("i"), .idle_timeout_ms = 3, .activate = up_alone, .deactivate = down_alone },
        { .type = NULL }
    };
    int rounds = tb_times(400, 100), value = 0;
    (void)state;
    atomic_store(&awake, 0);
    open_types(types);
    for (int i = 0; i < rounds; i++) {
        int64_t end = t_ms() + i % 6;
        if (i % 4 == 3) {
            francis_result r =
                tb_invoke_opt("i", "1", tb_add, NULL, OPTIONS(.active_only = true));
            assert_true(r == FRANCIS_OK || r == FRANCIS_ERR_NOT_ACTIVE);
            value += r == FRANCIS_OK;
        } else {
            t_ok(tb_invoke("i", "1", tb_add, NULL));
            assert_int_equal(tb->value, ++value);
        }
        while (t_ms() < end) {
            if (tb_inline())
                (void)francis_poll(tb->host, 1);
            else
                t_yield();
        }
    }
    assert_int_equal(tb_value("i", "1"), value);
    tb_stop();
    assert_int_equal(atomic_load(&awake), 0);
}

/* -- halt -------------------------------------------------------------------------------------- */

/* Would catch: a halt that does nothing, answers before it is done, or takes a wrong name. */
static void halt(void **state)
{
    francis_call *call;
    (void)state;
    open_types(plain);
    t_result(francis_halt(tb->ctx, "a", "1", NULL), FRANCIS_ERR_NOT_ACTIVE);
    t_result(francis_halt(tb->ctx, "nosuch", "1", NULL), FRANCIS_ERR_UNKNOWN_TYPE);
    t_result(francis_halt(tb->ctx, "a", "", NULL), FRANCIS_ERR_INVALID);
    t_result(francis_halt(tb->ctx, "a/", "1", NULL), FRANCIS_ERR_INVALID);
    t_result(francis_halt(tb->ctx, NULL, NULL, NULL), FRANCIS_ERR_INVALID);
    t_result(francis_halt(tb->ctx, "francis.x", "1", NULL), FRANCIS_ERR_RESERVED);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    t_ok(tb_invoke("a", "2", tb_add, NULL));
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));
    tb_diary("up:a up:a down:a");
    assert_int_equal(tb_stats().active, 1);
    t_result(francis_halt(tb->ctx, "a", "1", NULL), FRANCIS_ERR_NOT_ACTIVE);
    call        = tb_new();
    call->async = true;
    t_result(francis_halt(tb->ctx, "a", "2", call), FRANCIS_PENDING);
    t_ok(tb_join(call));
    tb_diary("down:a");
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    assert_int_equal(tb->value, 2);
    tb_stop();
}

/* Would catch: a halt from a turn that waits for itself, is refused, or is taken in a peek. */
static francis_result halted(francis_ctx *ctx)
{
    const francis_call *call = (const francis_call *)ctx->local;
    tb_note(francis_result_name(call->result));
    return tb_add(ctx);
}

static francis_result halt_other(francis_ctx *ctx)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    call->async        = true;
    (void)francis_halt(ctx, "a", "1", call);
    return francis_await(ctx, halted, call);
}

static francis_result halt_blocking(francis_ctx *ctx)
{
    tb_note(francis_result_name(francis_halt(ctx, "a", "1", NULL)));
    return tb_add(ctx);
}

static francis_result halt_in_peek(francis_ctx *ctx)
{
    tb_check(francis_halt(ctx, NULL, NULL, NULL) == FRANCIS_ERR_READ_ONLY);
    tb_check(francis_halt(ctx, "a", "1", NULL) == FRANCIS_ERR_READ_ONLY);
    tb_check(francis_halt_all(ctx, NULL) == FRANCIS_ERR_READ_ONLY);
    return FRANCIS_OK;
}

static void halt_from_turn(void **state)
{
    (void)state;
    open_types(plain);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    (void)tb_peek("b", "1", halt_in_peek, NULL);    /* a refused write may fail the peek */
    t_ok(tb_invoke("b", "1", halt_other, NULL));
    t_ok(tb_invoke("b", "1", halt_other, NULL));
    tb_diary("up:a up:b down:a ok not_active");
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    t_ok(tb_invoke("b", "1", halt_blocking, NULL));
    tb_diary(tb_inline() ? "up:a would_block" : "up:a down:a ok");
    tb_stop();
}

/* Would catch: halting oneself before the turn is over, or not at all. */
static francis_result halt_self(francis_ctx *ctx)
{
    tb_check(francis_halt(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    tb_check(francis_halt(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    tb_note("asked");
    return tb_add(ctx);
}

static francis_result halt_by_own_name(francis_ctx *ctx)
{
    francis_result r = francis_halt(ctx, "a", "1", NULL);
    tb_check(r == FRANCIS_OK || r == FRANCIS_ERR_DEADLOCK || r == FRANCIS_ERR_WOULD_BLOCK);
    return tb_add(ctx);
}

static void halt_own(void **state)
{
    int64_t begin = t_ms();
    (void)state;
    open_types(plain);
    t_ok(tb_invoke("a", "1", halt_self, NULL));
    assert_int_equal(tb->value, 1);
    tb_until(tb_stats().active == 0);
    tb_diary("up:a asked down:a");
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    assert_int_equal(tb->value, 2);
    t_ok(tb_invoke("a", "1", halt_by_own_name, NULL));
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    assert_int_equal(tb->value, 4);
    assert_true(t_ms() - begin < 25000);
    tb_stop();
}

/* Would catch: a halt beside a running turn, a turn that is not told of it, two halts that call
 * deactivate twice or of which one answers before the other is done. */
static francis_result note_interrupted(francis_ctx *ctx)
{
    tb_note(francis_result_name(francis_interrupted(ctx)));
    return tb_add(ctx);
}

static void halt_waits(void **state)
{
    static tb_gate gate;
    francis_call  *held, *halts[3];
    (void)state;
    open_types(plain);
    held      = tb_begin_hold("a", "1", &gate);
    gate.then = note_interrupted;
    for (int i = 0; i < 3; i++) {
        halts[i]        = tb_new();
        halts[i]->async = true;
        t_result(francis_halt(tb->ctx, "a", "1", halts[i]), FRANCIS_PENDING);
    }
    for (int i = 0; i < 5; i++)
        t_ok(tb_invoke("c", "1", tb_add, NULL));
    t_result(halts[0]->result, FRANCIS_PENDING);
    tb_diary("up:a");
    t_ok(tb_release(&gate));
    t_ok(tb_join(held));
    assert_int_equal(tb_number(held), 1);
    for (int i = 0; i < 3; i++)
        t_ok(tb_join(halts[i]));
    tb_diary("moved down:a");
    assert_int_equal(tb_stats().active, 1);         /* c */
    tb_stop();
}

/* Would catch: callers who find their actor going down and are turned away, served by the old
 * activation after its end, or served twice. */
static francis_result down_slow(francis_ctx *ctx)
{
    note_type("down", ctx);
    if (atomic_load(&down_gate.entered) > 0)
        return FRANCIS_OK;
    return down_hangs(ctx);
}

static void calls_during_halt(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .activate = up, .deactivate = down_slow, .deactivate_timeout_ms = 60000 },
        { TB_TYPE("c") }, { .type = NULL }
    };
    static tb_gate gate;
    francis_call  *held, *call[6], *halt_call = tb_new();
    (void)state;
    tb_gate_reset(&down_gate);
    open_types(types);
    held = tb_begin_hold("a", "1", &gate);
    for (int i = 0; i < 2; i++)
        call[i] = tb_begin("a", "1", tb_add, NULL);
    halt_call->async = true;
    t_result(francis_halt(tb->ctx, "a", "1", halt_call), FRANCIS_PENDING);
    for (int i = 2; i < 4; i++)
        call[i] = tb_begin("a", "1", tb_add, NULL);
    t_ok(tb_release(&gate));
    t_ok(tb_join(held));
    tb_until(atomic_load(&down_gate.entered) == 1);
    for (int i = 4; i < 6; i++)
        call[i] = tb_begin("a", "1", tb_add, NULL);
    for (int i = 0; i < 5; i++)
        t_ok(tb_invoke("c", "1", tb_add, NULL));
    for (int i = 0; i < 6; i++)
        t_result(call[i]->result, FRANCIS_PENDING);
    tb_diary("up:a down:a");
    t_ok(francis_answer(tb->ctx, atomic_load(&down_gate.ticket), FRANCIS_OK, NULL, 0));
    t_ok(tb_join(halt_call));
    for (int i = 0; i < 6; i++) {
        t_ok(tb_join(call[i]));
        assert_int_equal(tb_number(call[i]), 1002 + i);     /* deactivate added 1000 */
    }
    tb_diary("up:a");
    tb_stop();
}

/* Would catch: a halt without a deadline, or one that is forgotten at its deadline. */
static void halt_deadline(void **state)
{
    static tb_gate gate;
    francis_call  *held, call;
    int64_t        begin;
    (void)state;
    open_types(plain);
    held = tb_begin_hold("a", "1", &gate);
    memset(&call, 0, sizeof call);
    call.timeout_ms = 80;
    begin           = t_ms();
    t_result(francis_halt(tb->ctx, "a", "1", &call), FRANCIS_ERR_DEADLINE);
    assert_true(t_ms() - begin >= 80);
    assert_true(strlen(call.error) > 0);
    francis_call_free(&call);
    t_ok(tb_release(&gate));
    t_ok(tb_join(held));
    tb_until(tb_noted("down:a") == 1);
    tb_until(tb_stats().active == 0);
    tb_stop();
}

/* Would catch: an actor that halt_all forgets, hooks that run one after the other. */
static atomic_int        all_entered;
static _Atomic uint64_t  all_ticket[5];
static francis_call      all_call[5];

static francis_result down_together(francis_ctx *ctx)
{
    int i = atoi(ctx->id);
    memset(&all_call[i], 0, sizeof all_call[i]);
    atomic_store(&all_ticket[i], francis_expect(ctx, &all_call[i]));
    atomic_fetch_add(&all_entered, 1);
    return francis_await(ctx, down_held, NULL);
}

static void halt_all(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .deactivate = down_together, .deactivate_timeout_ms = 60000 },
        { LIFE("b") }, { .type = NULL }
    };
    francis_call *call = tb_new();
    (void)state;
    atomic_store(&all_entered, 0);
    open_types(types);
    t_ok(francis_halt_all(tb->ctx, NULL));
    for (int i = 0; i < 5; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(tb_invoke("a", id, tb_add, NULL));
        t_ok(tb_invoke("b", id, tb_add, NULL));
    }
    call->async = true;
    t_result(francis_halt_all(tb->ctx, call), FRANCIS_PENDING);
    tb_until(atomic_load(&all_entered) == 5);
    t_result(call->result, FRANCIS_PENDING);
    for (int i = 0; i < 5; i++)
        t_ok(francis_answer(tb->ctx, atomic_load(&all_ticket[i]), FRANCIS_OK, NULL, 0));
    t_ok(tb_join(call));
    assert_int_equal(tb_stats().active, 0);
    assert_int_equal(tb_noted("down:b"), 5);
    for (int i = 0; i < 5; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        assert_int_equal(tb_stored("a", id), 1001);
    }
    t_ok(francis_halt_all(tb->ctx, NULL));
    tb_stop();
}

/* Would catch: an actor of which two activations are alive while halts and calls race. */
static void *halt_often(void *arg)
{
    atomic_bool *end = (atomic_bool *)arg;
    while (!atomic_load(end)) {
        francis_result r = francis_halt(tb->ctx, "a", "1", NULL);
        tb_check(r == FRANCIS_OK || r == FRANCIS_ERR_NOT_ACTIVE);
        (void)sched_yield();
    }
    return NULL;
}

static void halt_races(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .activate = up_alone, .deactivate = down_alone }, { .type = NULL }
    };
    static atomic_bool end;
    pthread_t          thread[2];
    int                rounds = tb_times(300, 60);
    (void)state;
    atomic_store(&awake, 0);
    atomic_store(&end, false);
    open_types(types);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, halt_often, &end), 0);
    for (int i = 1; i <= rounds; i++) {
        t_ok(tb_invoke("a", "1", tb_add, NULL));
        assert_int_equal(tb->value, i);
    }
    atomic_store(&end, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    tb_stop();
    assert_int_equal(atomic_load(&awake), 0);
}

/* -- limits and singletons --------------------------------------------------------------------- */

/* Would catch: a limit that is off by one, counts sleeping actors, or hits actors that are
 * active. */
static void concurrency(void **state)
{
    static const francis_actor_desc types[] = {
        { LIFE("a"), .concurrency_max = 2 },
        { LIFE("i"), .concurrency_max = 1, .idle_timeout_ms = 50 },
        { LIFE("b") },
        { .type = NULL }
    };
    francis_call *call[20];
    int           ok = 0;
    (void)state;
    open_types(types);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    t_ok(tb_invoke("a", "2", tb_add, NULL));
    t_result(tb_invoke_opt("a", "3", tb_say, "ran", OPTIONS(.timeout_ms = 500)),
             FRANCIS_ERR_NO_HOST);
    assert_true(strlen(tb->error) > 0);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    t_ok(tb_invoke("b", "3", tb_add, NULL));
    t_ok(francis_halt(tb->ctx, "a", "1", NULL));
    t_ok(tb_invoke("a", "3", tb_add, NULL));
    t_result(tb_invoke_opt("a", "1", tb_say, "ran", OPTIONS(.timeout_ms = 500)),
             FRANCIS_ERR_NO_HOST);
    t_ok(tb_invoke("i", "1", tb_add, NULL));
    tb_until(tb_noted("down:i") == 1 && tb_stats().active == 3);
    t_ok(tb_invoke("i", "2", tb_add, NULL));
    t_ok(francis_halt_all(tb->ctx, NULL));
    for (int i = 0; i < 20; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "x%d", i);
        call[i]             = tb_new();
        call[i]->async      = true;
        call[i]->timeout_ms = 1000;
        (void)tb_invoke_with(tb->ctx, "a", id, tb_add, NULL, call[i]);
    }
    for (int i = 0; i < 20; i++) {
        francis_result r = tb_join(call[i]);
        if (r == FRANCIS_OK)
            ok++;
        else
            t_result(r, FRANCIS_ERR_NO_HOST);
    }
    assert_int_equal(ok, 2);
    assert_int_equal(tb_noted("ran"), 0);
    tb_stop();
}

/* Would catch: a second singleton; a bootstrap that is left out, gets other data, or runs only the
 * first time the host is started. */
static francis_result boot(francis_ctx *ctx)
{
    tb_check(ctx->kind == FRANCIS_BOOTSTRAP);
    tb_check(strcmp(ctx->id, "singleton") == 0);
    tb_check(ctx->input.size == 6 && memcmp(ctx->input.data, "seed 1", 6) == 0);
    tb_note("boot");
    ++*(int64_t *)francis_state(ctx);
    return FRANCIS_OK;
}

static void singleton(void **state)
{
    (void)state;
    for (int round = 1; round <= 3; round++) {
        char               data[]  = "seed 1";
        francis_host_desc  d       = tb_desc();
        francis_actor_desc types[] = {
            { TB_TYPE("s"), .singleton = true, .bootstrap = boot, .bootstrap_data = data,
              .bootstrap_size = 6 },
            { TB_TYPE("bare"), .singleton = true }
        };
        francis_result r;
        tb->desc = d;
        t_ok(francis_open(&tb->host, &d));
        t_ok(francis_register(tb->host, &types[0]));
        t_ok(francis_register(tb->host, &types[1]));
        memset(data, 'x', sizeof data);
        t_ok(francis_start(tb->host));
        tb->ctx = francis_host_ctx(tb->host);
        tb_until(tb_noted("boot") == round);
        assert_int_equal(tb_value("s", "singleton"), round);
        t_ok(tb_invoke("bare", "singleton", tb_add, NULL));
        r = tb_invoke("s", "other", tb_say, "ran");
        assert_true(r != FRANCIS_OK && francis_outcome(r) == FRANCIS_OUTCOME_NOT_RUN);
        assert_true(strlen(tb->error) > 0);
        t_ok(francis_halt(tb->ctx, "s", "singleton", NULL));
        assert_int_equal(tb_value("s", "singleton"), round);    /* not at each activation */
        assert_int_equal(tb_stats().bootstraps_failed, 0);
        tb_stop();
        assert_int_equal(tb_noted("boot"), round);
    }
    assert_int_equal(tb_noted("ran"), 0);
}

/* Would catch: a bootstrap that is given up too early, tried for ever, or whose failure stops the
 * host or goes unseen. */
static int boot_failures, boots;

static francis_result boot_later(francis_ctx *ctx)
{
    boots++;
    ++*(int64_t *)francis_state(ctx);
    if (boot_failures-- > 0)
        return francis_fail(ctx, FRANCIS_ERR_USER + 1, "%s", "not yet");
    return FRANCIS_OK;
}

static void bootstrap_retried(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("s"), .singleton = true, .bootstrap = boot_later }, { .type = NULL }
    };
    (void)state;
    for (int failures = 2; failures <= 100; failures += 98) {
        static tb_clock   clock;
        francis_host_desc d;
        int64_t           begin;
        tb->path[0] = '\0';
        d           = tb_desc();
        tb_clock_set(&clock, &d);
        boot_failures = failures;
        boots         = 0;
        begin         = clock.monotonic_ns;
        tb_start(&d, types);
        tb_until(failures == 2 ? boots == 3 : t_logged(&tb->log, 306) > 0 && boots == 5);
        assert_true(clock.monotonic_ns - begin >= INT64_C(100000000));  /* not all at once */
        tb_clock_run(&clock, 120000);
        assert_int_equal(boots, failures == 2 ? 3 : 5);
        if (failures == 2)
            assert_int_equal(tb_stored("s", "singleton"), 1);
        else
            assert_int_equal(tb_stored("s", "singleton"), -1);
        assert_true(failures == 2 || tb_stats().bootstraps_failed > 0);
        t_ok(tb_invoke("s", "singleton", tb_add, NULL));
        assert_true(tb_health().ready);
        tb_stop();
    }
}

/* -- stopping ---------------------------------------------------------------------------------- */

/* Would catch: a stop that breaks off a turn or the calls it makes, leaves waiting callers hanging,
 * or takes new ones. */
static tb_relay stop_relay;

static francis_result then_call(francis_ctx *ctx)
{
    ++*(int64_t *)francis_state(ctx);
    tb_note(francis_result_name(francis_interrupted(ctx)));
    return tb_relay_go(ctx, &stop_relay);
}

static void stop_graceful(void **state)
{
    static tb_gate gate;
    static parking parked;
    francis_call  *held, *call[3], *waiting;
    francis_result r;
    (void)state;
    memset(&stop_relay, 0, sizeof stop_relay);
    memset(&parked, 0, sizeof parked);
    stop_relay.type = "b";
    stop_relay.id   = "asleep";
    stop_relay.run  = tb_add;
    open_types(plain);
    waiting = tb_begin("c", "1", park, &parked);
    tb_until(atomic_load(&parked.parked) == 1);
    held      = tb_begin_hold("a", "1", &gate);
    gate.then = then_call;
    for (int i = 0; i < 3; i++)
        call[i] = tb_begin("a", "1", tb_say, "ran");
    assert_false(tb_health().draining);
    francis_stop(tb->host);
    francis_stop(tb->host);
    for (int i = 0; i < 3; i++) {
        t_result(tb_join(call[i]), FRANCIS_ERR_STOPPED);
        assert_true(strlen(call[i]->error) > 0);
    }
    tb_until(tb_health().draining);
    t_result(tb_invoke("b", "1", tb_say, "ran"), FRANCIS_ERR_STOPPED);
    t_result(tb_invoke("a", "1", tb_say, "ran"), FRANCIS_ERR_STOPPED);
    t_result(tb_send(tb->ctx, "b", "1", tb_say, "ran"), FRANCIS_ERR_STOPPED);
    assert_int_equal(atomic_load(&gate.left), 0);
    t_ok(tb_release(&gate));
    t_ok(tb_join(held));
    assert_int_equal(tb_number(held), 1);
    r = tb_join(waiting);
    assert_true(r == FRANCIS_ERR_STOPPED || r == FRANCIS_ERR_MOVED);
    until_stopped();
    assert_int_equal(tb_noted("ran"), 0);
    assert_int_equal(tb_noted("stopped") + tb_noted("moved"), 1);
    assert_int_equal(tb_noted("down:a"), 1);
    assert_int_equal(tb_noted("down:b"), 1);
    assert_int_equal(t_logged(&tb->log, 106), 0);
    assert_true(t_logged(&tb->log, 102) == 1 && t_logged(&tb->log, 103) == 1);
    tb_stop();
    open_types(plain);
    assert_int_equal(tb_value("a", "1"), 1);
    assert_int_equal(tb_value("b", "asleep"), 1);
    tb_stop();
}

/* Would catch: a stop that waits for ever for a turn that does not end, or lets it commit. */
static void stop_timeout(void **state)
{
    static tb_gate    gate;
    francis_host_desc d = tb_desc();
    francis_call     *held;
    francis_result    r;
    int64_t           begin;
    (void)state;
    d.stop_timeout_ms = 200;
    tb_start(&d, plain);
    t_ok(tb_invoke("b", "1", tb_add, NULL));
    held  = tb_begin_timeout("a", "1", tb_hold, (tb_gate_reset(&gate), &gate), FRANCIS_FOREVER);
    tb_until(atomic_load(&gate.entered) == 1);
    begin = t_ms();
    francis_stop(tb->host);
    r = tb_join(held);
    assert_true(r != FRANCIS_OK && r != FRANCIS_PENDING);
    assert_true(francis_outcome(r) != FRANCIS_OUTCOME_DONE);
    assert_true(t_ms() - begin >= 200);
    until_stopped();
    assert_true(t_logged(&tb->log, 106) >= 1);
    assert_int_equal(tb_noted("down:b"), 1);
    tb_stop();
    open_types(plain);
    assert_int_equal(tb_stored("a", "1"), -1);
    assert_int_equal(tb_stored("b", "1"), 1);
    tb_stop();
}

/* Would catch: a host that leaves while deactivate still runs for the actors it has waited for, so
 * that their last words are lost. */
static francis_result down_takes_time(francis_ctx *ctx)
{
    for (int i = 0; i < 200; i++)
        t_yield();
    return down_writes(ctx);
}

static void stop_timeout_deactivates(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .deactivate = down_takes_time }, { .type = NULL }
    };
    static tb_gate    gate;
    francis_host_desc d = tb_desc();
    francis_call     *held;
    (void)state;
    atomic_store(&down_fails, 0);
    d.stop_timeout_ms = 100;
    tb_start(&d, types);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    held = tb_begin_hold("a", "1", &gate);
    francis_stop(tb->host);
    assert_true(tb_join(held) != FRANCIS_OK);
    until_stopped();
    assert_int_equal(t_logged(&tb->log, 106), 1);
    assert_int_equal(tb_noted("down:a"), 1);
    tb_stop();
    open_types(types);
    assert_int_equal(tb_stored("a", "1"), 1001);
    tb_stop();
}

/* Would catch: the same for a handler that has the processor; a close that does not wait for it. */
static tb_latch stuck_latch;

static void *open_latch_when_late(void *arg)
{
    (void)arg;
    tb_wait_for(t_logged(&tb->log, 106) >= 1);
    tb_note("opened");
    atomic_store(&stuck_latch.open, true);
    return NULL;
}

static void stop_timeout_running(void **state)
{
    francis_host_desc d = tb_desc();
    francis_call     *call;
    pthread_t         thread;
    tb_seen           seen;
    (void)state;
    memset(&stuck_latch, 0, sizeof stuck_latch);
    memset(&seen, 0, sizeof seen);
    d.stop_timeout_ms = 100;
    tb_start(&d, plain);
    call          = tb_new();
    call->on_done = tb_on_done;
    call->user    = &seen;
    t_result(tb_invoke_with(tb->ctx, "a", "1", tb_block, &stuck_latch, call), FRANCIS_PENDING);
    t_until(atomic_load(&stuck_latch.entered) == 1);
    assert_int_equal(pthread_create(&thread, NULL, open_latch_when_late, NULL), 0);
    tb_stop();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&stuck_latch.left), 1);
    assert_int_equal(tb_noted("opened"), 1);
    assert_int_equal(atomic_load(&seen.count), 1);
    assert_true(seen.result != FRANCIS_OK);
    open_types(plain);
    assert_int_equal(tb_stored("a", "1"), -1);
    tb_stop();
}

/* Would catch: a stop that is not told when the last turn ends on a thread of the application's. */
static void *visit_nonblocking(void *arg)
{
    francis_call *call = (francis_call *)arg;
    tb_check(tb_invoke_with(tb->ctx, "n", "1", tb_block, &stuck_latch, call) == FRANCIS_OK);
    tb_check(tb_number(call) == 2);
    return NULL;
}

static void stop_while_inline(void **state)
{
    static const francis_actor_desc types[] = { { LIFE("n"), .nonblocking = true },
                                                { .type = NULL } };
    static francis_call             call;
    pthread_t                       thread;
    int64_t                         begin;
    (void)state;
    memset(&stuck_latch, 0, sizeof stuck_latch);
    memset(&call, 0, sizeof call);
    open_types(types);
    t_ok(tb_invoke("n", "1", tb_add, NULL));
    assert_int_equal(pthread_create(&thread, NULL, visit_nonblocking, &call), 0);
    t_until(atomic_load(&stuck_latch.entered) == 1);
    francis_stop(tb->host);
    t_until(tb_health().draining);
    begin = t_ms();
    atomic_store(&stuck_latch.open, true);
    while (francis_poll(tb->host, FRANCIS_FOREVER) == FRANCIS_OK) {}
    assert_true(t_ms() - begin < 15000);            /* not by stop_timeout_ms */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(t_logged(&tb->log, 106), 0);
    tb_stop();
    tb_diary("up:n down:n");
}

/* Would catch: an actor that is not asked at the end, or whose last words are lost. */
static void stop_deactivates(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .deactivate = down_writes }, { .type = NULL }
    };
    (void)state;
    atomic_store(&down_fails, 0);
    open_types(types);
    for (int i = 0; i < 20; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(i % 2 == 0 ? tb_invoke("a", id, tb_add, NULL) : tb_peek("a", id, tb_get, NULL));
    }
    francis_stop(tb->host);
    until_stopped();
    assert_int_equal(tb_noted("down:a"), 20);
    tb_stop();
    assert_int_equal(tb_noted("down:a"), 20);
    open_types(types);
    for (int i = 0; i < 20; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        assert_int_equal(tb_stored("a", id), i % 2 == 0 ? 1001 : 1000);
    }
    tb_stop();
}

/* Would catch: a stop that does not wake the host when a signal handler, a turn or another thread
 * asks for it. */
static francis_host *signal_host;

static void on_signal(int number)
{
    (void)number;
    francis_stop(signal_host);
}

static francis_result stop_in_turn(francis_ctx *ctx)
{
    francis_stop(ctx->host);
    return tb_add(ctx);
}

static void *stop_thread(void *arg)
{
    francis_stop((francis_host *)arg);
    return NULL;
}

static void stop_from_anywhere(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        pthread_t thread;
        bool      joined = true;
        open_types(plain);
        t_ok(tb_invoke("a", "1", tb_add, NULL));
        if (way == 0) {
            struct sigaction action, before;
            memset(&action, 0, sizeof action);
            action.sa_handler = on_signal;
            signal_host       = tb->host;
            assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
            assert_int_equal(raise(SIGUSR1), 0);
            assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
        } else if (way == 1) {
            t_ok(tb_invoke("a", "1", stop_in_turn, NULL));
            assert_int_equal(tb->value, 4);
        } else {
            assert_int_equal(pthread_create(&thread, NULL, stop_thread, tb->host), 0);
            joined = false;
        }
        while (francis_poll(tb->host, FRANCIS_FOREVER) == FRANCIS_OK) {}
        if (!joined)
            assert_int_equal(pthread_join(thread, NULL), 0);
        t_result(tb_invoke("a", "1", tb_add, NULL), FRANCIS_ERR_STOPPED);
        tb_stop();
        open_types(plain);
        t_ok(tb_invoke("a", "1", tb_add, NULL));
        assert_int_equal(tb->value, way == 0 ? 2 : way == 1 ? 5 : 7);
        tb_stop();
    }
}

/* -- open, start, run, close ------------------------------------------------------------------- */

/* Would catch: a crash on what failed or was never there, an order of calls that is not refused. */
static void odd_lives(void **state)
{
    francis_host     *host = NULL;
    francis_host_desc d    = tb_desc(), bad;
    (void)state;
    francis_close(NULL);
    francis_stop(NULL);
    t_result(francis_start(NULL), FRANCIS_ERR_NOMEM);
    t_result(francis_run(NULL), FRANCIS_ERR_NOMEM);
    assert_null(francis_host_ctx(NULL));

    tb->desc = d;                                   /* opened, never started */
    t_ok(francis_open(&tb->host, &d));
    t_ok(francis_register(tb->host, &tb_types[0]));
    assert_string_equal(francis_host_error(tb->host), "");
    t_result(francis_poll(tb->host, 0), FRANCIS_ERR_USAGE);
    tb_stop();
    t_ok(francis_open(&tb->host, &d));
    tb_stop();

    t_ok(francis_open(&tb->host, &d));              /* stopped before it was started */
    francis_stop(tb->host);
    t_result(francis_start(tb->host), FRANCIS_ERR_USAGE);
    tb_stop();

    tb_start(&d, tb_types);
    t_result(francis_start(tb->host), FRANCIS_ERR_USAGE);
    t_result(francis_register(tb->host, &tb_types[0]), FRANCIS_ERR_USAGE);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    francis_stop(tb->host);
    until_stopped();
    t_result(francis_start(tb->host), FRANCIS_ERR_USAGE);
    tb_stop();

    bad          = d;                               /* the first failure sticks */
    bad.database = NULL;
    bad.on_alloc = NULL;
    t_result(francis_open(&host, &bad), FRANCIS_ERR_INVALID);
    assert_non_null(host);
    assert_true(strlen(francis_host_error(host)) > 0);
    (void)francis_register(host, &tb_types[0]);
    t_result(francis_start(host), FRANCIS_ERR_INVALID);
    t_result(francis_run(host), FRANCIS_ERR_INVALID);
    francis_close(host);
    host = NULL;
    bad  = d;
    bad.on_alloc = NULL;
    t_ok(francis_open(&host, &bad));
    t_ok(francis_register(host, &tb_types[0]));
    t_result(francis_register(host, &tb_types[0]), FRANCIS_ERR_EXISTS);
    assert_true(strlen(francis_host_error(host)) > 0);
    t_result(francis_run(host), FRANCIS_ERR_EXISTS);
    francis_close(host);
}

/* Would catch: a host whose acknowledged work is gone when it is opened again. */
static void reopened(void **state)
{
    (void)state;
    for (int round = 1; round <= 4; round++) {
        open_types(plain);
        for (int i = 0; i < 20; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%d", i);
            t_ok(tb_invoke("a", id, tb_add, NULL));
            assert_int_equal(tb->value, round);
        }
        if (round % 2 == 0)
            francis_stop(tb->host);
        tb_stop();
    }
    assert_int_equal(tb_noted("up:a"), 80);
    assert_int_equal(tb_noted("down:a"), 80);
}

/* Would catch: a run that does not start the host, does not serve while it runs, or does not
 * end. */
static tb_seen run_seen;

static void *run_visitor(void *arg)
{
    static francis_call call;
    (void)arg;
    memset(&call, 0, sizeof call);
    call.on_done = tb_on_done;
    call.user    = &run_seen;
    tb_wait_for(tb_health().ready);
    tb_check(tb_invoke_with(tb->ctx, "a", "1", tb_add, NULL, &call) == FRANCIS_PENDING);
    tb_wait_for(atomic_load(&run_seen.count) == 1);
    francis_stop(tb->host);
    return NULL;
}

static void run(void **state)
{
    (void)state;
    for (int started = 0; started <= 1; started++) {
        francis_host_desc d = tb_desc();
        pthread_t         thread;
        memset(&run_seen, 0, sizeof run_seen);
        d.no_signal_handlers = true;
        tb->desc             = d;
        t_ok(francis_open(&tb->host, &d));
        t_ok(francis_register(tb->host, &plain[0]));
        tb->ctx = francis_host_ctx(tb->host);
        if (started == 1)
            t_ok(francis_start(tb->host));
        assert_int_equal(pthread_create(&thread, NULL, run_visitor, NULL), 0);
        t_ok(francis_run(tb->host));
        assert_int_equal(pthread_join(thread, NULL), 0);
        t_ok(run_seen.result);
        assert_int_equal(run_seen.value, started + 1);
        t_result(tb_invoke("a", "1", tb_add, NULL), FRANCIS_ERR_STOPPED);
        t_result(francis_run(tb->host), FRANCIS_ERR_USAGE);
        tb_stop();
    }
    tb_diary("up:a down:a up:a down:a");
}

/* -- run and signals, each in a process of its own --------------------------------------------- */

static int                   child_pipe = -1;
static volatile sig_atomic_t own_handler;
static francis_host         *child_host;

static void child_own_handler(int number)
{
    (void)number;
    own_handler = 1;
    francis_stop(child_host);
}

static francis_result child_boot(francis_ctx *ctx)
{
    ++*(int64_t *)francis_state(ctx);
    if (ctx->kind == FRANCIS_BOOTSTRAP && write(child_pipe, "b", 1) != 1)
        _exit(9);
    return FRANCIS_OK;
}

static francis_result child_down(francis_ctx *ctx)
{
    *(int64_t *)francis_state(ctx) += 1000;
    return FRANCIS_OK;
}

static const francis_actor_desc child_types[] = {
    { TB_TYPE("s"), .singleton = true, .bootstrap = child_boot, .activate = child_boot,
      .deactivate = child_down },
    { .type = NULL }
};

/* Runs a host; what is wrong is the exit code. */
static void child(const char *path, int workers, bool no_handlers, int number)
{
    francis_host_desc d;
    struct sigaction  action, found;
    (void)alarm(60);
    memset(&d, 0, sizeof d);
    d.database           = path;
    d.workers            = workers;
    d.no_signal_handlers = no_handlers;
    memset(&action, 0, sizeof action);
    action.sa_handler = no_handlers ? child_own_handler : SIG_DFL;
    if (sigaction(number, &action, NULL) != 0)
        _exit(2);
    if (francis_open(&child_host, &d) != FRANCIS_OK)
        _exit(3);
    if (francis_register(child_host, &child_types[0]) != FRANCIS_OK)
        _exit(4);
    if (francis_run(child_host) != FRANCIS_OK)
        _exit(5);
    if ((own_handler != 0) != no_handlers)
        _exit(6);
    francis_close(child_host);
    child_host = NULL;
    if (sigaction(number, NULL, &found) != 0 || found.sa_handler != action.sa_handler)
        _exit(7);                                   /* run leaves what it found */
    _exit(0);
}

/* Whether the process catches this signal, or has a thread that waits for it. */
static bool child_listens(pid_t pid, int number)
{
    char  line[256], path[64];
    FILE *file;
    bool  listens = false;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    file = fopen(path, "r");
    if (file == NULL)
        return true;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "SigCgt:", 7) == 0 || strncmp(line, "SigBlk:", 7) == 0)
            listens = listens || (strtoull(line + 7, NULL, 16) >> (number - 1) & 1) != 0;
    }
    (void)fclose(file);
    return listens;
}

/* Would catch: SIGTERM or SIGINT that kills the host instead of stopping it, that a program which
 * wants it for itself does not get, or that stays bent after run. */
static void run_and_signals(void **state)
{
    static const int numbers[] = { SIGTERM, SIGINT };
    (void)state;
    for (int way = 0; way < 4; way++) {
        int   fds[2], status = -1;
        int   number = numbers[way % 2];
        char  c;
        pid_t pid;
        tb->path[0] = '\0';
        tb->desc    = tb_desc();
        assert_int_equal(pipe(fds), 0);
        (void)fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            child_pipe = fds[1];
            child(tb->path, tb_workers, way >= 2, number);
        }
        (void)close(fds[1]);
        assert_int_equal(read(fds[0], &c, 1), 1);   /* it has work to lose */
        t_until(child_listens(pid, number));
        assert_int_equal(kill(pid, number), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        (void)close(fds[0]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        open_types(&child_types[1]);
        assert_int_equal(tb_stored("s", "singleton"), 1002);
        tb_stop();
    }
}

/* -- a turn that does not come back ------------------------------------------------------------ */

/* Would catch: an actor that is lost with a stuck handler; one that goes on with the memory the
 * handler still uses; what the handler does later having any effect. */
static tb_latch stuck;

static francis_result stuck_handler(francis_ctx *ctx)
{
    unsigned char *instance = (unsigned char *)ctx->instance;
    int64_t       *value    = (int64_t *)francis_state(ctx);
    francis_call   call;
    *value = 100;
    memset(instance, 7, INSTANCE);
    tb_latch_wait(&stuck);
    tb_note(francis_result_name(francis_interrupted(ctx)));
    tb_check(instance[0] == 7 && instance[INSTANCE - 1] == 7 && *value == 100);
    *value = 200;
    memset(instance, 9, INSTANCE);
    memset(&call, 0, sizeof call);
    tb_check(tb_invoke_with(ctx, "b", "1", tb_add, NULL, &call) != FRANCIS_OK);
    (void)francis_state_expire(ctx, 1);
    (void)tb_send(ctx, "b", "1", tb_add, NULL);
    (void)tb_reply(ctx, 200);
    tb_note("end");
    return FRANCIS_OK;
}

static francis_result fresh(francis_ctx *ctx)
{
    const unsigned char *instance = (const unsigned char *)ctx->instance;
    tb_check(instance[0] == 0 && instance[INSTANCE - 1] == 0);
    return tb_add(ctx);
}

static void turn_stuck(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .turn_timeout_ms = 100, .instance_size = INSTANCE, .activate = up,
          .deactivate = down },
        { TB_TYPE("b") },
        { .type = NULL }
    };
    int64_t begin;
    (void)state;
    memset(&stuck, 0, sizeof stuck);
    open_types(types);
    begin = t_ms();
    t_result(tb_invoke_opt("a", "1", stuck_handler, NULL, OPTIONS(.timeout_ms = 100)),
             FRANCIS_ERR_DEADLINE);
    assert_true(t_ms() - begin >= 100);
    t_ok(tb_invoke("a", "1", fresh, NULL));
    assert_true(t_ms() - begin >= 200);
    assert_int_equal(tb->value, 1);
    assert_int_equal(atomic_load(&stuck.left), 0);
    assert_int_equal(tb_stats().turns_stuck, 1);
    assert_int_equal(t_logged(&tb->log, 304), 1);
    t_ok(tb_invoke("a", "1", fresh, NULL));
    tb_diary("up:a up:a");
    atomic_store(&stuck.open, true);
    tb_until(tb_noted("end") == 1);
    tb_diary("deadline end");
    t_ok(tb_invoke("a", "1", fresh, NULL));
    assert_int_equal(tb->value, 3);
    assert_int_equal(tb_stored("a", "1"), 3);
    assert_int_equal(tb_value("b", "1"), 0);
    tb_stop();
    tb_diary("down:a");
}

/* Would catch: an actor that goes on beside a handler that still runs, although no turn_timeout
 * allows it. */
static void turn_not_given_up(void **state)
{
    (void)state;
    memset(&stuck, 0, sizeof stuck);
    open_types(plain);
    t_result(tb_invoke_opt("a", "1", tb_block, &stuck, OPTIONS(.timeout_ms = 50)),
             FRANCIS_ERR_DEADLINE);
    t_result(tb_invoke_opt("a", "1", tb_say, "ran", OPTIONS(.timeout_ms = 200)),
             FRANCIS_ERR_DEADLINE);
    assert_int_equal(atomic_load(&stuck.left), 0);
    assert_int_equal(tb_noted("ran"), 0);
    atomic_store(&stuck.open, true);
    t_ok(tb_invoke("a", "1", tb_add, NULL));
    assert_int_equal(tb->value, 1);
    assert_int_equal(tb_stats().turns_stuck, 0);
    tb_stop();
}

/* Would catch: a host that cannot be closed, or is closed under its feet, while a given-up handler
 * still runs. */
static void *open_stuck(void *arg)
{
    (void)arg;
    tb_wait_for(tb_health().draining);
    for (int i = 0; i < 50; i++)
        t_yield();
    tb_note("opened");
    atomic_store(&stuck.open, true);
    return NULL;
}

static void close_while_stuck(void **state)
{
    static const francis_actor_desc types[] = {
        { TB_TYPE("a"), .turn_timeout_ms = 50, .instance_size = INSTANCE }, { TB_TYPE("b") },
        { .type = NULL }
    };
    francis_host_desc d = tb_desc();
    pthread_t         thread;
    (void)state;
    memset(&stuck, 0, sizeof stuck);
    d.stop_timeout_ms = 100;
    tb_start(&d, types);
    t_result(tb_invoke_opt("a", "1", stuck_handler, NULL, OPTIONS(.timeout_ms = 50)),
             FRANCIS_ERR_DEADLINE);
    t_ok(tb_invoke("a", "1", fresh, NULL));
    francis_stop(tb->host);
    assert_int_equal(pthread_create(&thread, NULL, open_stuck, NULL), 0);
    tb_stop();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(tb_noted("end"), 1);
    assert_int_equal(atomic_load(&stuck.left), 1);
    open_types(types);
    assert_int_equal(tb_stored("a", "1"), 1);
    tb_stop();
}

static const struct CMUnitTest tests[] = {
    TB_BOTH(order),
    TB_BOTH(instance_memory),
    TB_BOTH(activate_fails),
    TB_BOTH(activate_writes),
    TB_BOTH(activate_waits),
    TB_BOTH(deactivate_writes),
    TB_BOTH(deactivate_timeout),
    TB_BOTH(deactivate_calls),
    TB_BOTH(idle),
    TB_BOTH(idle_not_while_used),
    TB_BOTH(idle_after_long_turn),
    TB_BOTH(idle_races_with_calls),
    TB_BOTH(halt),
    TB_BOTH(halt_from_turn),
    TB_BOTH(halt_own),
    TB_BOTH(halt_waits),
    TB_BOTH(calls_during_halt),
    TB_BOTH(halt_deadline),
    TB_BOTH(halt_all),
    TB_WORKERS(halt_races),
    TB_BOTH(concurrency),
    TB_BOTH(singleton),
    TB_INLINE(bootstrap_retried),
    TB_BOTH(stop_graceful),
    TB_BOTH(stop_timeout),
    TB_BOTH(stop_timeout_deactivates),
    TB_WORKERS(stop_timeout_running),
    TB_WORKERS(stop_while_inline),
    TB_BOTH(stop_deactivates),
    TB_BOTH(stop_from_anywhere),
    TB_BOTH(odd_lives),
    TB_BOTH(reopened),
    TB_BOTH(run),
    TB_BOTH(run_and_signals),
    TB_WORKERS(turn_stuck),
    TB_WORKERS(turn_not_given_up),
    TB_WORKERS(close_while_stuck),
};

TB_MAIN(tests)
