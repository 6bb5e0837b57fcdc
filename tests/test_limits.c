/* Limits: each at its edge, which must do, and one past it, which must be refused with words, harm
 * nobody and be over as soon as there is room again. */
#include "support/ta.h"

static char *filled(char *buffer, size_t length, char c)
{
    (void)memset(buffer, c, length);
    buffer[length] = '\0';
    return buffer;
}

/* -- names ------------------------------------------------------------------------------------- */

static francis_result name_reply(francis_ctx *ctx)
{
    return francis_replyf(ctx, "%zu %zu %zu", strlen(ctx->type), strlen(ctx->id),
                          strlen(ctx->method));
}

/* Catches: a name of 255 bytes that is refused or cut, one of 256 that is taken or overruns a
 * buffer. */
static void test_names(void **state)
{
    static char              n255[256], n256[257], n5000[5001], other[256];
    const francis_actor_desc types[] = {
        { .type = filled(n255, 255, 't'), .invoke = name_reply, .peek = name_reply }, TA_NUM, TA_END
    };
    static const francis_result bad = FRANCIS_ERR_INVALID;
    francis_ctx                *ctx;
    francis_call               *call = &ta->last;
    (void)state;
    (void)filled(n256, 256, 't');
    (void)filled(n5000, 5000, 't');
    (void)filled(other, 255, 't');
    other[254] = 'u';
    ta_open(NULL, types);
    ctx = ta->ctx;
    t_ok(francis_invoke(ctx, n255, n255, n255, NULL, 0, call));
    assert_string_equal((const char *)call->data, "255 255 255");
    t_ok(francis_peek(ctx, n255, n255, n255, NULL, 0, call));
    t_ok(francis_invoke(ctx, n255, other, "m", NULL, 0, call));
    assert_int_equal(ta_stats().active, 2);                 /* told apart by their last byte */
    t_ok(francis_invoke(ctx, n255, "i", "m", NULL, 0, call));
    assert_string_equal((const char *)call->data, "255 1 1");
    t_result(francis_invoke(ctx, n256, "a", "m", NULL, 0, call), bad);
    assert_non_null(strstr(call->error, "255"));
    t_result(francis_invoke(ctx, n255, n256, "m", NULL, 0, call), bad);
    assert_non_null(strstr(call->error, "255"));
    t_result(francis_invoke(ctx, n255, "a", n256, NULL, 0, call), bad);
    assert_non_null(strstr(call->error, "255"));
    t_result(francis_peek(ctx, n255, n5000, "m", NULL, 0, call), bad);
    t_result(francis_invoke(ctx, n255, "", "m", NULL, 0, call), bad);
    t_result(francis_invoke(ctx, "", "a", "m", NULL, 0, call), bad);
    t_result(francis_invoke(ctx, n255, "a", "", NULL, 0, call), bad);
    t_result(francis_invoke(ctx, n255, "a", NULL, NULL, 0, call), bad);
    t_result(francis_invoke(ctx, n255, NULL, "m", NULL, 0, call), bad);
    t_result(francis_invoke(ctx, NULL, "a", "m", NULL, 0, call), bad);
    t_result(francis_invoke(ctx, n255, "a/b", "m", NULL, 0, call), bad);
    t_result(francis_invoke(ctx, "a/b", "a", "m", NULL, 0, call), bad);
    t_result(francis_send(ctx, n255, n256, "m", NULL, 0), bad);
    t_result(francis_send(ctx, n256, "a", "m", NULL, 0), bad);
    t_result(francis_send(ctx, n255, "a", n256, NULL, 0), bad);
    t_result(francis_halt(ctx, n255, n256, call), bad);
    t_result(francis_purge(ctx, n255, n256, call), bad);
    t_ok(francis_state_write(ctx, n255, n255, "x", 1, 0, call));
    t_result(francis_state_write(ctx, n255, n256, "x", 1, 0, call), bad);
    t_result(francis_state_write(ctx, n256, n255, "x", 1, 0, call), bad);
    t_ok(francis_state_read(ctx, n255, n255, call));
    t_result(francis_state_read(ctx, n256, n255, call), bad);
    t_result(francis_invoke(ctx, "francis.x", "a", "m", NULL, 0, call), FRANCIS_ERR_RESERVED);
    assert_non_null(strstr(call->error, "francis.x"));
    t_result(francis_send(ctx, "francis.x", "a", "m", NULL, 0), FRANCIS_ERR_RESERVED);
    t_result(francis_halt(ctx, "francis.x", "a", call), FRANCIS_ERR_RESERVED);
    call->timeout_ms = -2;
    t_result(francis_invoke(ctx, n255, "a", "m", NULL, 0, call), bad);
    assert_non_null(strstr(call->error, "timeout_ms"));
    call->timeout_ms = 0;
    assert_int_equal(ta_stats().active, 3);                 /* no more than those */
    {
        francis_list list = { .what = FRANCIS_LIST_STATES, .type = n255, .id = n255 };
        t_ok(francis_list_next(ctx, &list));
        assert_string_equal(list.item.type, n255);
        assert_string_equal(list.item.id, n255);
        francis_list_free(&list);
        (void)memset(&list, 0, sizeof list);
        list.type = n256;
        t_result(francis_list_next(ctx, &list), bad);
        francis_list_free(&list);
    }
    ta_close();
}

/* -- bytes ------------------------------------------------------------------------------------- */

static francis_result set_size(francis_ctx *ctx, void *arg)
{
    size_t         size = *(const size_t *)arg;
    void          *p = francis_alloc(ctx, size);
    francis_result r;
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    r = francis_state_set(ctx, p, size);
    (void)francis_reply(ctx, &r, sizeof r);
    return FRANCIS_OK;              /* even if it was refused */
}

static void edge_of_state(uint32_t max)
{
    static size_t     size;
    francis_host_desc desc = { .state_bytes_max = max == 1 << 20 ? 0 : max };
    char             *bytes = (char *)calloc(1, (size_t)max + 1), limit[16];
    assert_non_null(bytes);
    (void)snprintf(limit, sizeof limit, "%u", max);
    ta->path[0] = '\0';
    ta_open(&desc, ta_both);
    size = max;
    t_ok(ta_do("blob", "a", set_size, &size));
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), max);
    size = (size_t)max + 1;
    t_result(ta_do("blob", "a", set_size, &size), FRANCIS_ERR_TOO_LARGE);
    assert_true(ta->last.error[0] != '\0');
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), max);
    t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
    assert_int_equal(ta->last.size, max);
    t_ok(francis_state_write(ta->ctx, "blob", "b", bytes, max, 0, &ta->last));
    t_result(francis_state_write(ta->ctx, "blob", "b", bytes, (size_t)max + 1, 0, &ta->last),
             FRANCIS_ERR_TOO_LARGE);
    assert_non_null(strstr(ta->last.error, limit));         /* says what it is */
    t_ok(francis_state_write(ta->ctx, "nobody", "b", bytes, max, 0, &ta->last));
    t_result(francis_state_write(ta->ctx, "nobody", "b", bytes, (size_t)max + 1, 0, &ta->last),
             FRANCIS_ERR_TOO_LARGE);
    t_ok(francis_state_write(ta->ctx, "num", "b", bytes, sizeof(ta_number), 0, &ta->last));
    t_result(francis_state_write(ta->ctx, "num", "b", bytes, sizeof(ta_number) + 1, 0, &ta->last),
             FRANCIS_ERR_TOO_LARGE);
    ta_close();
    free(bytes);
}

/* Catches: a state of the largest size that is refused, one that is a byte larger and is stored, by
 * any door; a refusal that the handler ignores and that does not fail its turn. */
static void test_state_bytes(void **state)
{
    (void)state;
    edge_of_state(100);
    edge_of_state(4096);
    edge_of_state(1 << 20);         /* the default */
}

/* Catches: a struct as large as it may be that is refused, or a byte more that is not. */
static void test_state_size(void **state)
{
    francis_actor_desc type = { .type = "struct", .methods = ta_methods, .state_size = 1001 };
    francis_host_desc  desc = { .state_bytes_max = 1000 };
    (void)state;
    ta_desc(&desc);
    t_ok(francis_open(&ta->host, &ta->desc));
    t_result(francis_register(ta->host, &type), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(francis_host_error(ta->host), "state_size"));
    ta_close();
    type.state_size = 1000;
    t_ok(francis_open(&ta->host, &ta->desc));
    t_ok(francis_register(ta->host, &type));
    t_ok(francis_start(ta->host));
    ta->ctx = francis_host_ctx(ta->host);
    t_ok(ta_do("struct", "a", ta_add, NULL));
    ta_close();
}

static francis_result reply_size(francis_ctx *ctx, void *arg)
{
    size_t size = *(const size_t *)arg;
    void  *p = francis_alloc(ctx, size);
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)francis_reply(ctx, p, size);
    return FRANCIS_OK;
}

static francis_result input_size(francis_ctx *ctx)
{
    return francis_replyf(ctx, "%zu", ctx->input.size);
}

static francis_result answered(francis_ctx *ctx)
{
    const ta_gate_turn *turn = (const ta_gate_turn *)ctx->local;
    int64_t             size = turn->call.result == FRANCIS_OK ? (int64_t)turn->call.size : -1;
    return francis_reply(ctx, &size, sizeof size);
}

static _Atomic uint64_t ticket;

static francis_result expect_bytes(francis_ctx *ctx, void *arg)
{
    ta_gate_turn *turn = (ta_gate_turn *)francis_alloc(ctx, sizeof *turn);
    (void)arg;
    if (turn == NULL)
        return FRANCIS_ERR_NOMEM;
    atomic_store(&ticket, francis_expect(ctx, &turn->call));
    return francis_await(ctx, answered, turn);
}

static francis_result defer_bytes(francis_ctx *ctx, void *arg)
{
    (void)arg;
    atomic_store(&ticket, francis_defer(ctx));
    return FRANCIS_OK;
}

static void edge_of_message(uint32_t max)
{
    const francis_actor_desc types[] = {
        { .type = "echo", .invoke = input_size, .peek = input_size }, TA_NUM, TA_END
    };
    static size_t     size;
    francis_host_desc desc = { .message_bytes_max = max == 4 << 20 ? 0 : max };
    char             *bytes = (char *)calloc(1, (size_t)max + 1), expected[32];
    francis_call     *call;
    assert_non_null(bytes);
    ta->path[0] = '\0';
    ta_open(&desc, types);
    (void)snprintf(expected, sizeof expected, "%u", max);
    t_ok(francis_invoke(ta->ctx, "echo", "a", "m", bytes, max, &ta->last));
    assert_string_equal((const char *)ta->last.data, expected);
    t_ok(francis_peek(ta->ctx, "echo", "a", "m", bytes, max, &ta->last));
    t_ok(francis_send(ta->ctx, "echo", "a", "m", bytes, max));
    t_result(francis_invoke(ta->ctx, "echo", "a", "m", bytes, (size_t)max + 1, &ta->last),
             FRANCIS_ERR_TOO_LARGE);
    assert_non_null(strstr(ta->last.error, expected));      /* says what the limit is */
    assert_false(ta->last.from_handler);
    t_result(francis_peek(ta->ctx, "echo", "a", "m", bytes, (size_t)max + 1, &ta->last),
             FRANCIS_ERR_TOO_LARGE);
    t_result(francis_send(ta->ctx, "echo", "a", "m", bytes, (size_t)max + 1),
             FRANCIS_ERR_TOO_LARGE);
    size = max;
    t_ok(ta_do("num", "a", reply_size, &size));
    assert_int_equal(ta->last.size, max);
    t_ok(ta_look("num", "a", reply_size, &size));
    size = (size_t)max + 1;
    t_result(ta_do("num", "a", reply_size, &size), FRANCIS_ERR_TOO_LARGE);  /* it fails the turn */
    assert_null(ta->last.data);
    t_result(ta_look("num", "a", reply_size, &size), FRANCIS_ERR_TOO_LARGE);

    atomic_store(&ticket, 0);                               /* an answer to a turn that awaits */
    call = ta_begin("num", "a", expect_bytes, NULL);
    ta_until(atomic_load(&ticket) != 0);
    t_result(francis_answer(ta->ctx, atomic_load(&ticket), FRANCIS_OK, bytes, (size_t)max + 1),
             FRANCIS_ERR_TOO_LARGE);
    ta_settle("num");
    assert_int_equal(call->result, FRANCIS_PENDING);        /* that was none */
    t_ok(francis_answer(ta->ctx, atomic_load(&ticket), FRANCIS_OK, bytes, max));
    t_ok(ta_end(call));
    assert_int_equal(ta_int(call), max);
    t_result(francis_answer(ta->ctx, atomic_load(&ticket), FRANCIS_OK, bytes, 1),
             FRANCIS_ERR_STALE);

    atomic_store(&ticket, 0);                               /* and to a caller who is parked */
    call = ta_begin("num", "a", defer_bytes, NULL);
    ta_until(atomic_load(&ticket) != 0);
    t_result(francis_answer(ta->ctx, atomic_load(&ticket), FRANCIS_OK, bytes, (size_t)max + 1),
             FRANCIS_ERR_TOO_LARGE);
    t_result(francis_answer(ta->ctx, atomic_load(&ticket), FRANCIS_PENDING, bytes, 1),
             FRANCIS_ERR_INVALID);
    t_ok(francis_answer(ta->ctx, atomic_load(&ticket), FRANCIS_OK, bytes, max));
    t_ok(ta_end(call));
    assert_int_equal(call->size, max);
    ta_close();
    free(bytes);
}

/* Catches: a message of the largest size that is refused, one that is a byte larger and gets
 * through, in either direction. */
static void test_message_bytes(void **state)
{
    (void)state;
    edge_of_message(64);
    edge_of_message(100000);
    edge_of_message(4 << 20);       /* the default */
}

/* Catches: text that overruns its place, is cut too early, or not at all. */
static francis_result fail_length(francis_ctx *ctx, void *arg)
{
    size_t length = *(const size_t *)arg;
    char  *text = (char *)francis_alloc(ctx, length + 1);
    if (text == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)filled(text, length, 'e');
    return francis_fail_text(ctx, FRANCIS_ERR_USER, text);
}

static francis_result fail_length_formatted(francis_ctx *ctx, void *arg)
{
    size_t length = *(const size_t *)arg;
    char  *text = (char *)francis_alloc(ctx, length + 1);
    if (text == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)filled(text, length, 'e');
    return francis_fail(ctx, FRANCIS_ERR_USER, "%s", text);
}

static void test_error_text(void **state)
{
    static size_t lengths[] = { 1, 1000, 1022, 1023, 1024, 1025, 5000, 100000 };
    size_t        i;
    (void)state;
    ta_open(NULL, ta_both);
    for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t expected = lengths[i] < 1023 ? lengths[i] : 1023;
        t_result(ta_do("num", "a", fail_length, &lengths[i]), FRANCIS_ERR_USER);
        assert_int_equal(strlen(ta->last.error), expected);
        assert_int_equal(strspn(ta->last.error, "e"), expected);
        t_result(ta_do("num", "a", fail_length_formatted, &lengths[i]), FRANCIS_ERR_USER);
        assert_int_equal(strlen(ta->last.error), expected);
        assert_int_equal(strspn(ta->last.error, "e"), expected);
    }
    ta_close();
}

/* -- queues ------------------------------------------------------------------------------------ */

static void edge_of_mailbox(uint32_t max)
{
    const francis_actor_desc types[] = {
        { .type = "box", .methods = ta_methods, .state_size = sizeof(ta_number),
          .mailbox_max = max == 1024 ? 0 : max },
        TA_NUM, TA_END
    };
    static ta_gate gate;
    francis_call **calls = (francis_call **)calloc(max + 1, sizeof *calls), *extra;
    uint64_t       refused;
    uint32_t       i;
    assert_non_null(calls);
    ta_gate_init(&gate, NULL);
    ta->path[0] = '\0';
    ta_open(NULL, types);
    calls[max] = ta_begin("box", "a", ta_hold, &gate);
    ta_until(atomic_load(&gate.arrived) == 1);
    for (i = 0; i < max; i++) {
        calls[i] = i % 7 == 3 ? ta_begin_look("box", "a", ta_get, NULL)
                              : ta_begin("box", "a", ta_add, NULL);
        t_result(calls[i]->result, FRANCIS_PENDING);
    }
    refused = ta_stats().calls_refused;
    extra = ta_begin("box", "a", ta_add, NULL);             /* one past it */
    if (extra->result == FRANCIS_PENDING)
        (void)ta_end(extra);
    t_result(extra->result, FRANCIS_ERR_BUSY);
    assert_true(francis_retryable(extra->result));
    assert_non_null(strstr(extra->error, "mailbox_max"));
    extra = ta_begin_look("box", "a", ta_get, NULL);        /* a peek is a call, too */
    if (extra->result == FRANCIS_PENDING)
        (void)ta_end(extra);
    t_result(extra->result, FRANCIS_ERR_BUSY);
    {
        ta_job job = { ta_add, NULL };
        t_result(francis_send(ta->ctx, "box", "a", "do", &job, sizeof job), FRANCIS_ERR_BUSY);
    }
    assert_true(ta_stats().calls_refused > refused);
    t_ok(ta_do("box", "b", ta_add, NULL));                  /* each actor has its own */
    ta_let(&gate, 0);
    for (i = 0; i <= max; i++)
        t_ok(ta_end(calls[i]));
    t_ok(ta_do("box", "a", ta_add, NULL));                  /* and room again */
    ta_close();
    free(calls);
}

/* Catches: a queue without an end, or one that is a place shorter than promised. */
static void test_mailbox(void **state)
{
    (void)state;
    edge_of_mailbox(1);
    edge_of_mailbox(4);
    edge_of_mailbox(1024);          /* the default */
}

/* Catches: more calls in flight than the host may hold, or places that are never given back. */
static atomic_int release_them;

static francis_result spin(francis_ctx *ctx, void *arg)
{
    int64_t end = t_ms() + 60000;
    (void)ctx;
    (void)arg;
    while (atomic_load(&release_them) == 0 && t_ms() < end)
        t_yield();
    return FRANCIS_OK;
}

static void test_calls_max(void **state)
{
    francis_host_desc desc = { .calls_max = 8 };
    francis_call     *calls[8], *extra;
    int               i, round;
    (void)state;
    ta_open(&desc, ta_both);
    for (round = 0; round < 3; round++) {
        atomic_store(&release_them, ta_inline());           /* there nothing runs before the poll */
        for (i = 0; i < 8; i++) {
            calls[i] = ta_begin("num", i % 2 == 0 ? "a" : "b", spin, NULL);
            t_result(calls[i]->result, FRANCIS_PENDING);
        }
        assert_int_equal(ta_stats().calls_in_flight, 8);
        extra = ta_begin("num", "c", ta_nothing, NULL);
        if (extra->result == FRANCIS_PENDING) {
            atomic_store(&release_them, 1);
            (void)ta_end(extra);
        }
        t_result(extra->result, FRANCIS_ERR_BUSY);
        assert_non_null(strstr(extra->error, "calls_max"));
        extra = ta_begin_look("num", "c", ta_nothing, NULL);
        t_result(extra->result, FRANCIS_ERR_BUSY);
        atomic_store(&release_them, 1);
        for (i = 0; i < 8; i++)
            t_ok(ta_end(calls[i]));
        ta_until(ta_stats().calls_in_flight == 0);
        t_ok(ta_do("num", "c", ta_nothing, NULL));
    }
    ta_close();
}

/* Catches: a flush, a halt or an answer that needs the place of a call and fails where there is
 * none. */
static francis_result add_and_flush(francis_ctx *ctx, void *arg)
{
    francis_result r;
    (void)ta_add(ctx, arg);
    r = francis_flush(ctx, NULL);
    ta_check(r == FRANCIS_OK);
    ta_check(ta_stored_n("num", ctx->id) == 1);
    return ta_add(ctx, arg);
}

static void test_calls_max_one(void **state)
{
    francis_host_desc desc = { .calls_max = 1 };
    (void)state;
    ta_open(&desc, ta_both);
    t_ok(ta_do("num", "a", add_and_flush, NULL));
    assert_int_equal(ta_int(&ta->last), 2);
    t_ok(francis_halt(ta->ctx, "num", "a", NULL));
    t_ok(ta_look("num", "a", ta_get, NULL));
    assert_int_equal(ta_int(&ta->last), 2);
    t_ok(francis_state_write(ta->ctx, "blob", "a", "x", 1, 0, NULL));
    t_ok(francis_halt_all(ta->ctx, NULL));
    ta_num_is("num", "a", 2);
    ta_close();
}

/* Catches: a chain of calls that grows until memory ends, or ends a call too early. */
typedef struct {
    francis_call call;
    ta_job       job;
} nested;

static atomic_int      deepest;
static _Atomic int64_t last_result;

static francis_result chain_next(francis_ctx *ctx)
{
    const nested *n = (const nested *)ctx->local;
    return n->call.result;
}

static francis_result chain(francis_ctx *ctx, void *arg)
{
    intptr_t       depth = (intptr_t)arg;   /* calls until here, with the one from outside */
    nested        *n = (nested *)francis_alloc(ctx, sizeof *n);
    char           id[16];
    francis_result r;
    if (n == NULL)
        return FRANCIS_ERR_NOMEM;
    if ((int)depth > atomic_load(&deepest))
        atomic_store(&deepest, (int)depth);
    n->job.fn = chain;
    n->job.arg = (void *)(depth + 1);
    n->call.async = true;
    (void)snprintf(id, sizeof id, "%d", (int)depth);
    r = francis_invoke(ctx, "num", id, "do", &n->job, sizeof n->job, &n->call);
    if (r != FRANCIS_PENDING) {
        atomic_store(&last_result, r);
        ta_check(n->call.error[0] != '\0');
        return FRANCIS_OK;
    }
    return francis_await(ctx, chain_next, n);
}

static void test_chain_depth(void **state)
{
    (void)state;
    atomic_store(&deepest, 0);
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "0", chain, (void *)1));
    assert_int_equal(atomic_load(&deepest), FRANCIS_CHAIN_MAX);
    assert_int_equal(atomic_load(&last_result), FRANCIS_ERR_BUSY);
    t_ok(ta_do("num", "0", ta_add, NULL));
    ta_close();
}

/* Catches: turns that wait in their threads until no thread is left, and a refusal that does not
 * say how to do without. */
static ta_gate blocked_gate;

static francis_result block(francis_ctx *ctx, void *arg)
{
    francis_call   call = { 0 };
    ta_job         job = { ta_hold, NULL };
    francis_result r;
    job.arg = &blocked_gate;
    r = francis_invoke(ctx, "num", (const char *)arg, "do", &job, sizeof job, &call);
    if (r != FRANCIS_OK)
        r = francis_fail(ctx, r, "%s", call.error);
    francis_call_free(&call);
    return r;
}

static void edge_of_blocked(uint32_t max)
{
    static const char *const ids[] = { "b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7" };
    static const char *const callers[] = { "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7" };
    francis_host_desc        desc = { .blocked_max = max };
    francis_call            *calls[8];
    uint32_t                 i;
    ta_gate_init(&blocked_gate, NULL);
    ta->path[0] = '\0';
    ta_open(&desc, ta_both);
    for (i = 0; i < max; i++) {
        calls[i] = ta_begin("num", callers[i], block, (void *)(uintptr_t)ids[i]);
        ta_until(atomic_load(&blocked_gate.arrived) == (int)i + 1);
    }
    assert_int_equal(ta_stats().threads_blocked, max);
    t_ok(ta_do("num", "free", ta_add, NULL));               /* others run beside them */
    t_result(ta_do("num", "one more", block, (void *)(uintptr_t)ids[max]), FRANCIS_ERR_BUSY);
    assert_non_null(strstr(ta->last.error, "async"));       /* the form that needs no thread */
    assert_int_equal(atomic_load(&blocked_gate.arrived), max);      /* refused before it was sent */
    t_ok(ta_do("num", "free", ta_add, NULL));
    for (i = 0; i < max; i++)
        ta_let(&blocked_gate, (int)i);
    for (i = 0; i < max; i++)
        t_ok(ta_end(calls[i]));
    ta_until(ta_stats().threads_blocked == 0);
    calls[0] = ta_begin("num", "one more", block, (void *)(uintptr_t)ids[max]);
    ta_let(&blocked_gate, (int)max);
    t_ok(ta_end(calls[0]));
    ta_close();
}

static void test_blocked_max(void **state)
{
    (void)state;
    edge_of_blocked(1);
    edge_of_blocked(2);
    edge_of_blocked(5);
}

/* -- actors ------------------------------------------------------------------------------------ */

static francis_result do_with_room(const char *type, const char *id)
{
    int64_t        end = t_ms() + 60000;
    francis_result r;
    while ((r = ta_do(type, id, ta_add, NULL)) == FRANCIS_ERR_NO_HOST && t_ms() < end)
        ta_step();
    return r;
}

/* Catches: an actor too many, a place that is not given back by a halt, or by hibernation. */
static void test_concurrency(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "two", .methods = ta_methods, .state_size = sizeof(ta_number),
          .concurrency_max = 2 },
        { .type = "idle", .methods = ta_methods, .state_size = sizeof(ta_number),
          .concurrency_max = 1, .idle_timeout_ms = 50 },
        TA_NUM, TA_END
    };
    static ta_gate gate;
    francis_call  *hold;
    int            i;
    (void)state;
    ta_gate_init(&gate, NULL);
    ta_open(NULL, types);
    t_ok(ta_do("two", "a", ta_add, NULL));
    t_ok(ta_look("two", "b", ta_get, NULL));                /* a peek takes a place, too */
    t_result(ta_do("two", "c", ta_add, NULL), FRANCIS_ERR_NO_HOST);
    assert_true(francis_retryable(ta->last.result));
    assert_false(ta->last.from_handler);
    assert_non_null(strstr(ta->last.error, "concurrency_max"));
    t_result(ta_look("two", "c", ta_get, NULL), FRANCIS_ERR_NO_HOST);
    t_ok(ta_do("two", "a", ta_add, NULL));                  /* who is in stays in */
    t_ok(ta_do("two", "b", ta_add, NULL));
    for (i = 0; i < 5; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(ta_do("num", id, ta_add, NULL));               /* other types are not counted */
    }
    t_ok(francis_halt(ta->ctx, "two", "a", NULL));
    t_ok(ta_do("two", "c", ta_add, NULL));
    t_result(ta_do("two", "a", ta_add, NULL), FRANCIS_ERR_NO_HOST);
    assert_int_equal(ta_stored_n("two", "a"), 2);
    t_ok(francis_halt_all(ta->ctx, NULL));
    t_ok(ta_do("two", "a", ta_add, NULL));
    t_ok(ta_do("two", "d", ta_add, NULL));
    t_result(ta_do("two", "c", ta_add, NULL), FRANCIS_ERR_NO_HOST);

    hold = ta_begin("idle", "a", ta_hold, &gate);
    ta_until(atomic_load(&gate.arrived) == 1);
    t_result(ta_do("idle", "b", ta_add, NULL), FRANCIS_ERR_NO_HOST);
    ta_let(&gate, 0);
    t_ok(ta_end(hold));
    t_ok(do_with_room("idle", "b"));
    ta_close();
}

/* Catches: places that are counted for an activation that failed. */
static atomic_int refuse_activation;

static francis_result activate_or_not(francis_ctx *ctx)
{
    return atomic_load(&refuse_activation) ? francis_fail(ctx, FRANCIS_ERR_USER + 1, "not today")
                                           : FRANCIS_OK;
}

static void test_concurrency_failed_activation(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "one", .methods = ta_methods, .state_size = sizeof(ta_number),
          .concurrency_max = 1, .activate = activate_or_not },
        TA_END
    };
    int i;
    (void)state;
    ta_open(NULL, types);
    atomic_store(&refuse_activation, 1);
    for (i = 0; i < 5; i++) {                               /* the place is free a moment later */
        t_result(do_with_room("one", i % 2 == 0 ? "a" : "b"), FRANCIS_ERR_USER + 1);
        assert_string_equal(ta->last.error, "not today");
    }
    atomic_store(&refuse_activation, 0);
    t_ok(do_with_room("one", "c"));
    t_result(ta_do("one", "a", ta_add, NULL), FRANCIS_ERR_NO_HOST);
    ta_close();
}

/* Catches: answers that are forgotten before their time to make room for new ones. */
static void test_requests_kept(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "kept", .methods = ta_methods, .state_size = sizeof(ta_number),
          .requests_kept_max = 3, .requests_kept_ms = 1000 },
        TA_END
    };
    francis_host_desc desc = { .platform = &ta_wall, .sweep_interval_ms = 20 };
    static const char *const ids[] = { "r0", "r1", "r2", "r3" };
    francis_call  call = { 0 };
    ta_job        job = { ta_add, NULL };
    int64_t       end;
    francis_result r;
    int           i;
    (void)state;
    ta_clock_init();
    ta_open(&desc, types);
    for (i = 0; i < 3; i++) {
        call.request_id = ids[i];
        t_ok(francis_invoke(ta->ctx, "kept", "a", "do", &job, sizeof job, &call));
        assert_int_equal(ta_int(&call), i + 1);
    }
    call.request_id = ids[3];
    call.timeout_ms = 100;                                  /* it asks again until then */
    t_result(francis_invoke(ta->ctx, "kept", "a", "do", &job, sizeof job, &call), FRANCIS_ERR_BUSY);
    assert_non_null(strstr(call.error, "3"));
    call.timeout_ms = 0;
    for (i = 0; i < 3; i++) {                               /* none was forgotten for it */
        call.request_id = ids[i];
        t_ok(francis_invoke(ta->ctx, "kept", "a", "do", &job, sizeof job, &call));
        assert_int_equal(ta_int(&call), i + 1);
    }
    t_ok(ta_do("kept", "a", ta_add, NULL));                 /* calls without an id go on */
    assert_int_equal(ta_int(&ta->last), 4);
    call.request_id = ids[3];
    t_ok(francis_invoke(ta->ctx, "kept", "b", "do", &job, sizeof job, &call));  /* its own */
    (void)atomic_fetch_add(&ta_wall_now, 1000);             /* their time is up */
    end = t_ms() + 60000;
    do {
        call.timeout_ms = 100;
        r = francis_invoke(ta->ctx, "kept", "a", "do", &job, sizeof job, &call);
    } while (r == FRANCIS_ERR_BUSY && t_ms() < end);
    t_ok(r);
    assert_int_equal(ta_int(&call), 5);
    francis_call_free(&call);
    ta_close();
}

/* Catches: a default that is not 64. */
static void test_requests_kept_default(void **state)
{
    francis_call call = { 0 };
    ta_job       job = { ta_add, NULL };
    int          i;
    (void)state;
    ta_open(NULL, ta_both);
    for (i = 0; i <= 64; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        call.request_id = id;
        call.timeout_ms = i < 64 ? 0 : 100;
        t_result(francis_invoke(ta->ctx, "num", "a", "do", &job, sizeof job, &call),
                 i < 64 ? FRANCIS_OK : FRANCIS_ERR_BUSY);
    }
    francis_call_free(&call);
    ta_num_is("num", "a", 64);
    ta_close();
}

/* -- memory ------------------------------------------------------------------------------------ */

/* Catches: a host that takes more than it may, dies of being refused, or stays refused afterwards.
 * */
static void test_memory_bytes(void **state)
{
    enum { MAX = 8 << 20 };
    francis_host_desc desc = { .memory_bytes_max = MAX };
    static char       input[1 << 20];
    const francis_actor_desc types[] = {
        { .type = "echo", .invoke = input_size }, TA_BLOB, TA_NUM, TA_END
    };
    francis_call *calls[40];
    int           i, round, refused = 0, done = 0;
    (void)state;
    ta_open(&desc, types);
    t_ok(ta_do("num", "a", ta_add, NULL));
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 40; i++) {
            calls[i] = ta_new();
            calls[i]->async = true;
            (void)francis_invoke(ta->ctx, "echo", "a", "m", input, sizeof input, calls[i]);
        }
        for (i = 0; i < 40; i++) {
            francis_result r = ta_end(calls[i]);
            if (r != FRANCIS_OK && r != FRANCIS_ERR_NOMEM)
                fail_msg("%s: %s", francis_result_name(r), calls[i]->error);
            if (r == FRANCIS_OK) {
                assert_string_equal((const char *)calls[i]->data, "1048576");
                done++;
            } else {
                assert_non_null(calls[i]->error);
                refused++;
            }
            francis_call_free(calls[i]);
        }
        assert_true(ta_stats().memory_bytes_peak <= MAX);
        t_ok(ta_do("num", "a", ta_add, NULL));              /* it lives */
        assert_int_equal(ta_int(&ta->last), round + 2);
    }
    assert_true(done > 0);
    if (ta_inline())
        assert_true(refused > 0);                           /* there all forty wait at once */
    assert_true(ta->memory.peak <= MAX);
    {
        francis_stats stats = ta_stats();
        assert_true(stats.memory_bytes > 0 && stats.memory_bytes <= stats.memory_bytes_peak);
    }
    ta_close();
    assert_int_equal(ta_stored_n("num", "a"), 4);
}

/* Catches: a count of memory that is not what was handed out. */
static void test_memory_counted(void **state)
{
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_add, NULL));
    ta_settle("num");
    if (ta_inline()) {
        assert_int_equal(ta_stats().memory_bytes, ta->memory.bytes);
        assert_int_equal(ta_stats().memory_bytes_peak, ta->memory.peak);
    } else {
        assert_true(ta_stats().memory_bytes > 0);
    }
    ta_close();
}

static const struct CMUnitTest tests[] = {
    TA_BOTH(test_names),
    TA_BOTH(test_state_bytes),
    TA_BOTH(test_state_size),
    TA_BOTH(test_message_bytes),
    TA_BOTH(test_error_text),
    TA_BOTH(test_mailbox),
    TA_BOTH(test_calls_max),
    TA_BOTH(test_calls_max_one),
    TA_BOTH(test_chain_depth),
    TA_WORKERS(test_blocked_max),
    TA_BOTH(test_concurrency),
    TA_BOTH(test_concurrency_failed_activation),
    TA_BOTH(test_requests_kept),
    TA_BOTH(test_requests_kept_default),
    TA_BOTH(test_memory_bytes),
    TA_BOTH(test_memory_counted),
};

TA_MAIN(tests)
