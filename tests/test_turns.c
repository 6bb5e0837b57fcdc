/* Turns: who runs when and beside whom, what a turn may write, what of it stays, and when its
 * caller hears of it. */
#include "support/ta.h"

#include <sched.h>

/* -- order and exclusion ----------------------------------------------------------------------- */

static ta_gate    gate_a, gate_b, gate_c;
static atomic_int inside, overlaps, order_next;

/* Catches: calls that overtake each other in the mailbox. */
static francis_result in_order(francis_ctx *ctx, void *arg)
{
    (void)ctx;
    ta_check(atomic_fetch_add(&inside, 1) == 0);
    ta_check(atomic_fetch_add(&order_next, 1) == (int)(intptr_t)arg);
    (void)sched_yield();
    (void)atomic_fetch_sub(&inside, 1);
    return FRANCIS_OK;
}

static void test_fifo(void **state)
{
    const int     n = ta_times(500, 100);
    francis_call *calls[500];
    int           i;
    (void)state;
    atomic_store(&order_next, 0);
    atomic_store(&inside, 0);
    ta_gate_init(&gate_a, NULL);
    ta_open(NULL, ta_both);
    calls[0] = ta_begin("num", "a", ta_hold, &gate_a);
    ta_until(atomic_load(&gate_a.arrived) == 1);
    for (i = 1; i < n; i++)
        calls[i] = ta_begin("num", "a", in_order, (void *)(intptr_t)(i - 1));
    ta_settle("blob");
    assert_int_equal(atomic_load(&order_next), 0);
    ta_let(&gate_a, 0);
    for (i = 0; i < n; i++)
        t_ok(ta_end(calls[i]));
    assert_int_equal(atomic_load(&order_next), n - 1);
    ta_close();
}

/* Catches: two exclusive turns of an actor at once, a lost update, a call that is never answered;
 * with threads that call in at the same time, and without. */
static francis_result add_alone(francis_ctx *ctx, void *arg)
{
    francis_result r;
    if (atomic_fetch_add(&inside, 1) != 0)
        (void)atomic_fetch_add(&overlaps, 1);
    (void)sched_yield();
    r = ta_add(ctx, arg);
    (void)atomic_fetch_sub(&inside, 1);
    return r;
}

static void *add_thread(void *arg)
{
    int          i, n = *(const int *)arg;
    francis_call call = { 0 };
    ta_job       job = { add_alone, NULL };
    for (i = 0; i < n; i++)
        ta_check(francis_invoke(ta->ctx, "num", "a", "do", &job, sizeof job, &call) == FRANCIS_OK);
    francis_call_free(&call);
    return NULL;
}

static void test_exclusive(void **state)
{
    int           n = ta_times(200, 40), i;
    francis_call *calls[800];
    pthread_t     threads[4];
    (void)state;
    atomic_store(&inside, 0);
    atomic_store(&overlaps, 0);
    ta_open(NULL, ta_both);
    if (ta_inline()) {
        for (i = 0; i < 4 * n; i++)
            calls[i] = ta_begin("num", "a", add_alone, NULL);
        for (i = 0; i < 4 * n; i++)
            t_ok(ta_end(calls[i]));
    } else {
        for (i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, add_thread, &n), 0);
        for (i = 0; i < 4; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&overlaps), 0);
    ta_num_is("num", "a", 4 * n);
    assert_int_equal(ta_stored_n("num", "a"), 4 * n);
    ta_close();
}

/* Catches: a turn that awaits and lets another turn of its actor in. */
static void test_exclusive_await(void **state)
{
    francis_call *first, *second, *look;
    (void)state;
    ta_gate_init(&gate_a, "1");
    ta_gate_init(&gate_b, "2");
    ta_gate_init(&gate_c, "look");
    ta_open(NULL, ta_both);
    first = ta_begin("num", "a", ta_hold, &gate_a);
    second = ta_begin("num", "a", ta_hold, &gate_b);
    look = ta_begin_look("num", "a", ta_hold, &gate_c);
    ta_until(atomic_load(&gate_a.arrived) == 1);
    ta_settle("blob");
    assert_int_equal(atomic_load(&gate_b.arrived), 0);
    assert_int_equal(atomic_load(&gate_c.arrived), 0);
    ta_let(&gate_a, 0);
    t_ok(ta_end(first));
    ta_until(atomic_load(&gate_b.arrived) == 1);
    ta_settle("blob");
    assert_int_equal(atomic_load(&gate_c.arrived), 0);
    ta_let(&gate_b, 0);
    ta_let(&gate_c, 0);
    t_ok(ta_end(second));
    t_ok(ta_end(look));
    ta_diary_is("1< 1> 2< 2> look< look>");
    ta_close();
}

/* Catches: peeks that wait for each other. */
static void test_peeks_overlap(void **state)
{
    francis_call *calls[8];
    int           i;
    (void)state;
    ta_gate_init(&gate_a, NULL);
    ta_open(NULL, ta_both);
    for (i = 0; i < 8; i++)
        calls[i] = ta_begin_look("num", "a", ta_hold, &gate_a);
    ta_until(atomic_load(&gate_a.arrived) == 8);
    assert_int_equal(atomic_load(&gate_a.most), 8);
    for (i = 8; i-- > 0;)
        ta_let(&gate_a, i);
    for (i = 0; i < 8; i++)
        t_ok(ta_end(calls[i]));
    ta_close();
}

/* Catches: peeks of one actor, or turns of two, that never really run at the same time although
 * there are threads for both. Each handler waits in its thread until the other one is there. */
static atomic_int met;

static francis_result meet(francis_ctx *ctx, void *arg)
{
    int64_t end = t_ms() + 60000;
    (void)ctx;
    (void)arg;
    (void)atomic_fetch_add(&met, 1);
    while (atomic_load(&met) < 2 && t_ms() < end)
        t_yield();
    return atomic_load(&met) >= 2 ? FRANCIS_OK : FRANCIS_ERR_USER;
}

static void test_threads_overlap(void **state)
{
    francis_call *one, *two;
    (void)state;
    ta_open(NULL, ta_both);
    atomic_store(&met, 0);
    one = ta_begin("num", "a", meet, NULL);
    two = ta_begin("num", "b", meet, NULL);
    t_ok(ta_end(one));
    t_ok(ta_end(two));
    atomic_store(&met, 0);
    one = ta_begin_look("num", "a", meet, NULL);
    two = ta_begin_look("num", "a", meet, NULL);
    t_ok(ta_end(one));
    t_ok(ta_end(two));
    atomic_store(&met, 0);
    one = ta_begin("num", "a", meet, NULL);
    two = ta_begin_look("blob", "a", meet, NULL);
    t_ok(ta_end(one));
    t_ok(ta_end(two));
    ta_close();
}

/* Catches: an actor that waits for another actor's turn. */
static void test_actors_overlap(void **state)
{
    francis_call *a, *b;
    (void)state;
    ta_gate_init(&gate_a, NULL);
    ta_open(NULL, ta_both);
    a = ta_begin("num", "a", ta_hold, &gate_a);
    b = ta_begin("num", "b", ta_hold, &gate_a);
    ta_until(atomic_load(&gate_a.arrived) == 2);
    t_ok(ta_do("num", "c", ta_add, NULL));
    ta_let(&gate_a, 1);
    ta_let(&gate_a, 0);
    t_ok(ta_end(a));
    t_ok(ta_end(b));
    ta_close();
}

/* Catches: readers that keep a waiting writer out for as long as they follow each other. */
static void test_writer_not_starved(void **state)
{
    francis_call *reader, *writer, *late[4];
    int           i;
    (void)state;
    ta_gate_init(&gate_a, "r");
    ta_gate_init(&gate_b, "w");
    ta_gate_init(&gate_c, "late");
    ta_open(NULL, ta_both);
    reader = ta_begin_look("num", "a", ta_hold, &gate_a);
    ta_until(atomic_load(&gate_a.arrived) == 1);
    writer = ta_begin("num", "a", ta_hold, &gate_b);
    for (i = 0; i < 4; i++)
        late[i] = ta_begin_look("num", "a", ta_hold, &gate_c);
    ta_settle("blob");
    assert_int_equal(atomic_load(&gate_b.arrived), 0);
    assert_int_equal(atomic_load(&gate_c.arrived), 0);
    ta_let(&gate_a, 0);
    ta_until(atomic_load(&gate_b.arrived) == 1);
    ta_settle("blob");
    assert_int_equal(atomic_load(&gate_c.arrived), 0);
    ta_let(&gate_b, 0);
    ta_until(atomic_load(&gate_c.arrived) == 4);
    assert_int_equal(atomic_load(&gate_c.most), 4);         /* those behind the writer, together */
    for (i = 0; i < 4; i++)
        ta_let(&gate_c, i);
    t_ok(ta_end(reader));
    t_ok(ta_end(writer));
    for (i = 0; i < 4; i++)
        t_ok(ta_end(late[i]));
    ta_diary_is("r< r> w< w> late< late< late< late< late> late> late> late>");
    ta_close();
}

/* Catches: a batch of readers that goes on beyond the next writer in the queue. */
static void test_queue_reader_reader_writer_reader(void **state)
{
    static ta_gate writer, readers, second, last;
    francis_call  *calls[5];
    int            i;
    (void)state;
    ta_gate_init(&writer, "w1");
    ta_gate_init(&readers, "r");
    ta_gate_init(&second, "w2");
    ta_gate_init(&last, "last");
    ta_open(NULL, ta_both);
    calls[0] = ta_begin("num", "a", ta_hold, &writer);
    ta_until(atomic_load(&writer.arrived) == 1);
    calls[1] = ta_begin_look("num", "a", ta_hold, &readers);
    calls[2] = ta_begin_look("num", "a", ta_hold, &readers);
    calls[3] = ta_begin("num", "a", ta_hold, &second);
    calls[4] = ta_begin_look("num", "a", ta_hold, &last);
    ta_let(&writer, 0);
    ta_until(atomic_load(&readers.arrived) == 2);
    ta_let(&readers, 0);
    ta_until(atomic_load(&readers.inside) == 1);
    ta_settle("blob");
    assert_int_equal(atomic_load(&second.arrived), 0);      /* one reader is still there */
    ta_let(&readers, 1);
    ta_until(atomic_load(&second.arrived) == 1);
    ta_settle("blob");
    assert_int_equal(atomic_load(&last.arrived), 0);
    ta_let(&second, 0);
    ta_let(&last, 0);
    for (i = 0; i < 5; i++)
        t_ok(ta_end(calls[i]));
    ta_diary_is("w1< w1> r< r< r> r> w2< w2> last< last>");
    ta_close();
}

/* Catches: a call that is waited for and takes a short cut past the writers that wait. Another
 * actor opens the gate, since the test itself is in its call. */
static francis_result open_gate(francis_ctx *ctx, void *arg)
{
    const ta_gate *gate = (const ta_gate *)arg;
    uint64_t       ticket = atomic_load(&gate->tickets[0]);
    ta_check(francis_answer(ctx, ticket, FRANCIS_OK, NULL, 0) == FRANCIS_OK);
    return FRANCIS_OK;
}

static francis_result note_peek(francis_ctx *ctx, void *arg)
{
    (void)ctx;
    ta_note((const char *)arg);
    return FRANCIS_OK;
}

static void test_waiting_call_keeps_its_place(void **state)
{
    francis_call *reader, *writer, *opener;
    int           peek;
    (void)state;
    ta_open(NULL, ta_both);
    for (peek = 0; peek < 2; peek++) {
        ta_gate_init(&gate_a, "r");
        reader = ta_begin_look("num", "a", ta_hold, &gate_a);
        ta_until(atomic_load(&gate_a.arrived) == 1);
        writer = ta_begin("num", "a", note_peek, "writer");
        opener = ta_begin("blob", "opener", open_gate, &gate_a);
        t_ok((peek ? ta_look : ta_do)("num", "a", note_peek, "last"));
        t_ok(ta_end(reader));
        t_ok(ta_end(writer));
        t_ok(ta_end(opener));
        ta_diary_is("r< r> writer last");
    }
    ta_close();
}

/* Catches: a writer that gives up its place (its time is over) and leaves the readers behind it
 * waiting although only readers hold the actor. */
static void test_writer_leaves_queue(void **state)
{
    static ta_gate readers, never;
    francis_call  *reader, *writer, *late;
    ta_job         job;
    int64_t        begun;
    (void)state;
    ta_gate_init(&readers, NULL);
    ta_gate_init(&never, NULL);
    ta_open(NULL, ta_both);
    reader = ta_begin_look("num", "a", ta_hold, &readers);
    ta_until(atomic_load(&readers.arrived) == 1);
    writer = ta_new();
    writer->async = true;
    writer->timeout_ms = 100;
    job.fn = ta_hold;
    job.arg = &never;
    begun = t_ms();
    t_result(francis_invoke(ta->ctx, "num", "a", "do", &job, sizeof job, writer), FRANCIS_PENDING);
    late = ta_begin_look("num", "a", ta_hold, &readers);
    t_result(ta_end(writer), FRANCIS_ERR_DEADLINE);
    assert_true(t_ms() - begun >= 99);                      /* not before its time */
    ta_until(atomic_load(&readers.arrived) == 2);
    ta_let(&readers, 0);
    ta_let(&readers, 1);
    t_ok(ta_end(reader));
    t_ok(ta_end(late));
    assert_int_equal(atomic_load(&never.arrived), 0);       /* it never ran */
    ta_close();
}

/* Catches: several activations for several callers who find the actor asleep. */
static atomic_int activations;

static francis_result activate_count(francis_ctx *ctx)
{
    ta_check(ctx->kind == FRANCIS_ACTIVATE);
    (void)atomic_fetch_add(&activations, 1);
    (void)sched_yield();
    return FRANCIS_OK;
}

static void test_cold_callers(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "num", .methods = ta_methods, .state_size = sizeof(ta_number),
          .activate = activate_count },
        TA_END
    };
    francis_call *calls[16];
    int           round, i, rounds = ta_times(40, 10);
    (void)state;
    atomic_store(&activations, 0);
    ta_open(NULL, types);
    for (round = 0; round < rounds; round++) {
        char id[32];
        (void)snprintf(id, sizeof id, "cold %d", round);
        for (i = 0; i < 16; i++)
            calls[i] = i % 4 == 3 ? ta_begin_look("num", id, ta_get, NULL)
                                  : ta_begin("num", id, ta_add, NULL);
        for (i = 0; i < 16; i++)
            t_ok(ta_end(calls[i]));
        assert_int_equal(atomic_load(&activations), round + 1);
        ta_num_is("num", id, 12);
    }
    ta_close();
}

/* -- inside a peek ----------------------------------------------------------------------------- */

typedef francis_result (*write_fn)(francis_ctx *ctx, francis_call *call);

static francis_result w_set(francis_ctx *ctx, francis_call *call)
{
    (void)call;
    return francis_state_set(ctx, "new", 3);
}

static francis_result w_delete(francis_ctx *ctx, francis_call *call)
{
    (void)call;
    return francis_state_delete(ctx);
}

static francis_result w_expire(francis_ctx *ctx, francis_call *call)
{
    (void)call;
    return francis_state_expire(ctx, 1000);
}

static francis_result w_write_other(francis_ctx *ctx, francis_call *call)
{
    return francis_state_write(ctx, "blob", "other", "new", 3, 0, call);
}

static francis_result w_delete_other(francis_ctx *ctx, francis_call *call)
{
    return francis_state_write(ctx, "blob", "other", NULL, 0, 0, call);
}

static francis_result w_write_unserved(francis_ctx *ctx, francis_call *call)
{
    return francis_state_write(ctx, "nobody", "other", "new", 3, 0, call);
}

static francis_result w_write_self(francis_ctx *ctx, francis_call *call)
{
    return francis_state_write(ctx, NULL, NULL, "new", 3, 0, call);
}

static francis_result w_purge_other(francis_ctx *ctx, francis_call *call)
{
    return francis_purge(ctx, "blob", "other", call);
}

static francis_result w_purge_self(francis_ctx *ctx, francis_call *call)
{
    return francis_purge(ctx, NULL, NULL, call);
}

static francis_result w_halt_other(francis_ctx *ctx, francis_call *call)
{
    return francis_halt(ctx, "blob", "other", call);
}

static francis_result w_halt_self(francis_ctx *ctx, francis_call *call)
{
    return francis_halt(ctx, NULL, NULL, call);
}

static francis_result w_halt_all(francis_ctx *ctx, francis_call *call)
{
    return francis_halt_all(ctx, call);
}

static francis_result w_flush(francis_ctx *ctx, francis_call *call)
{
    return francis_flush(ctx, call);
}

static const struct {
    const char *name;
    write_fn    run;
    bool        own;                /* part of the turn: a refused one fails it */
    bool        async;              /* has that form */
} write_forms[] = {
    { "state_set", w_set, true, false },
    { "state_delete", w_delete, true, false },
    { "state_expire", w_expire, true, false },
    { "state_write of another", w_write_other, false, true },
    { "state_write of another, delete", w_delete_other, false, true },
    { "state_write of a type that nobody serves", w_write_unserved, false, true },
    { "state_write of the own", w_write_self, true, false },
    { "purge of another", w_purge_other, false, true },
    { "purge of the own", w_purge_self, true, false },
    { "halt of another", w_halt_other, false, true },
    { "halt of the own", w_halt_self, false, false },
    { "halt_all", w_halt_all, false, true },
    { "flush", w_flush, false, false },
};

typedef struct {
    write_fn       run;
    bool           async, no_call;
    francis_result result;
} write_try;

static francis_result try_write(francis_ctx *ctx, void *arg)
{
    write_try    *t = (write_try *)arg;
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    call->async = t->async;
    t->result = t->run(ctx, t->no_call ? NULL : call);
    return FRANCIS_OK;              /* as if nothing had happened */
}

/* Catches: a write that finds a way out of a peek, and a refused one that is passed over. */
static void test_peek_writes_nothing(void **state)
{
    size_t i, k;
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("blob", "other", ta_put, "old"));
    t_ok(ta_do("blob", "a", ta_put, "old"));
    for (i = 0; i < sizeof write_forms / sizeof write_forms[0]; i++) {
        for (k = 0; k < (write_forms[i].async ? 3u : 2u); k++) {
            static write_try t;
            francis_result   r;
            t.run = write_forms[i].run;
            t.no_call = k == 1;
            t.async = k == 2;
            t.result = FRANCIS_OK;
            r = ta_look("blob", "a", try_write, &t);
            if (t.result != FRANCIS_ERR_READ_ONLY)
                fail_msg("%s, form %zu: %s", write_forms[i].name, k, francis_result_name(t.result));
            if (write_forms[i].own && r != FRANCIS_ERR_READ_ONLY)
                fail_msg("%s, form %zu: the peek ended with %s", write_forms[i].name, k,
                         francis_result_name(r));
        }
    }
    ta_blob_is("other", "old");
    ta_blob_is("a", "old");
    t_result(francis_state_read(ta->ctx, "nobody", "other", &ta->last), FRANCIS_ERR_NOT_FOUND);
    assert_int_equal(ta_stats().active, 2);
    assert_int_equal(ta_stats().deactivations, 0);
    assert_int_equal(ta_stored_expiry("blob", "a"), TA_NONE);
    ta_close();
}

/* Catches: a struct that is changed in a peek, and stays changed, is shared with other peeks, or is
 * not noticed. */
static francis_result change_in_place(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    (void)arg;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    ta_check(s->n == 5);
    s->n = 6;
    return francis_reply(ctx, &s->n, sizeof s->n);
}

static francis_result change_and_change_back(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    (void)arg;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->n = 6;
    s->n = 5;
    return francis_reply(ctx, &s->n, sizeof s->n);
}

static void test_peek_in_place(void **state)
{
    int64_t  five = 5;
    uint64_t rows;
    (void)state;
    ta_gate_init(&gate_a, NULL);
    gate_a.then = ta_get;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_add, &five));
    rows = ta_stats().commit_rows;
    {
        francis_call *beside = ta_begin_look("num", "a", ta_hold, &gate_a);
        ta_until(atomic_load(&gate_a.arrived) == 1);
        t_result(ta_look("num", "a", change_in_place, NULL), FRANCIS_ERR_READ_ONLY);
        assert_null(ta->last.data);
        assert_true(ta->last.error[0] != '\0');
        t_result(ta_look("num", "a", change_in_place, NULL), FRANCIS_ERR_READ_ONLY);
        ta_let(&gate_a, 0);
        t_ok(ta_end(beside));
        assert_int_equal(ta_int(beside), 5);
    }
    t_ok(ta_look("num", "a", ta_get, NULL));
    assert_int_equal(ta_int(&ta->last), 5);
    t_ok(ta_look("num", "a", change_and_change_back, NULL));
    ta_num_is("num", "a", 5);
    assert_int_equal(ta_stored_n("num", "a"), 5);
    assert_int_equal(ta_stats().commit_rows, rows);
    ta_close();
}

/* Catches: the read-only mark of a peek that leaks into the calls it makes. */
typedef struct {
    francis_call call;
    ta_job       job;
} nested;

static francis_result nested_reply(francis_ctx *ctx)
{
    const nested *n = (const nested *)ctx->local;
    if (n->call.result != FRANCIS_OK)
        return francis_fail(ctx, n->call.result, "nested: %s", n->call.error);
    return francis_reply(ctx, n->call.data, n->call.size);
}

static francis_result nested_add(francis_ctx *ctx, void *arg)
{
    nested        *n = (nested *)francis_alloc(ctx, sizeof *n);
    francis_result r;
    if (n == NULL)
        return FRANCIS_ERR_NOMEM;
    n->job.fn = ta_add;
    n->call.async = arg == NULL;
    r = francis_invoke(ctx, "num", "b", "do", &n->job, sizeof n->job, &n->call);
    if (arg != NULL)
        return r == FRANCIS_OK ? francis_reply(ctx, n->call.data, n->call.size) : r;
    return francis_await(ctx, nested_reply, n);
}

static void test_peek_nested_invoke(void **state)
{
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_look("num", "a", nested_add, NULL));
    assert_int_equal(ta_int(&ta->last), 1);
    assert_int_equal(ta_stored_n("num", "b"), 1);
    if (!ta_inline()) {
        t_ok(ta_look("num", "a", nested_add, &gate_a));     /* waits in its thread */
        assert_int_equal(ta_int(&ta->last), 2);
    }
    ta_close();
}

/* Catches: a peek that must not read, list, or make news of what it saw. */
static francis_result read_around(francis_ctx *ctx, void *arg)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    francis_list *list = (francis_list *)francis_alloc(ctx, sizeof *list);
    ta_job        job = { ta_add, NULL };
    (void)arg;
    if (call == NULL || list == NULL)
        return FRANCIS_ERR_NOMEM;
    ta_check(francis_state_read(ctx, "blob", "other", call) == FRANCIS_OK);
    ta_check(call->size == 3 && memcmp(call->data, "old", 3) == 0);
    list->what = FRANCIS_LIST_STATES;
    list->type = "blob";
    ta_check(francis_list_next(ctx, list) == FRANCIS_OK);
    ta_check(list->item.id != NULL && strcmp(list->item.id, "other") == 0);
    ta_check(francis_list_next(ctx, list) == FRANCIS_DONE);
    francis_list_free(list);
    ta_check(francis_send(ctx, "num", "news", "do", &job, sizeof job) == FRANCIS_OK);
    return FRANCIS_OK;
}

static francis_result get_news(francis_ctx *ctx, void *arg)
{
    const ta_number *s = (const ta_number *)francis_state(ctx);
    atomic_store((atomic_int *)arg, s != NULL ? (int)s->n : -1);
    return FRANCIS_OK;
}

static void test_peek_reads(void **state)
{
    static atomic_int news;
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("blob", "other", ta_put, "old"));
    t_ok(ta_look("num", "a", read_around, NULL));
    atomic_store(&news, 0);
    do
        t_ok(ta_do("num", "news", get_news, &news));
    while (atomic_load(&news) == 0);
    assert_int_equal(atomic_load(&news), 1);
    ta_close();
}

/* -- failed turns ------------------------------------------------------------------------------ */

static francis_result change_and_fail(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    (void)arg;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->n = -1;
    s->m++;
    (void)strcpy(s->text, "no trace");
    ta_check(francis_state(ctx) == (void *)s);
    (void)memset(s, 0x77, sizeof *s);
    (void)francis_reply(ctx, "never seen", 10);
    return francis_fail(ctx, FRANCIS_ERR_USER + 7, "refused: %s, %d", "because", 42);
}

/* Catches: a failed handler that leaves a trace in memory or in the file, and a refusal that loses
 * its code or its text on the way. */
static void test_failed_struct(void **state)
{
    int64_t  n = 3;
    uint64_t failed;
    (void)state;
    ta_open(NULL, ta_both);
    t_result(ta_do("num", "fresh", change_and_fail, NULL), FRANCIS_ERR_USER + 7);
    ta_num_is("num", "fresh", 0);                           /* it was never stored: zeroes */
    assert_int_equal(ta_stored_n("num", "fresh"), TA_NONE);
    t_ok(ta_do("num", "a", ta_add, &n));
    t_ok(ta_do("num", "a", ta_add, &n));
    failed = ta_stats().turns_failed;
    t_result(ta_do("num", "a", change_and_fail, NULL), FRANCIS_ERR_USER + 7);
    assert_string_equal(ta->last.error, "refused: because, 42");
    assert_true(ta->last.from_handler);
    assert_int_equal(ta->last.result, FRANCIS_ERR_USER + 7);
    assert_null(ta->last.data);
    assert_int_equal(ta->last.size, 0);
    assert_int_equal(ta_stats().turns_failed, failed + 1);
    t_result(ta_do("num", "a", change_and_fail, NULL), FRANCIS_ERR_USER + 7);
    ta_num_is("num", "a", 6);
    assert_int_equal(ta_stored_n("num", "a"), 6);
    t_ok(ta_do("num", "a", ta_add, &n));
    assert_int_equal(ta_int(&ta->last), 9);
    assert_string_equal(ta->last.error, "");                /* and no longer has that of before */
    assert_false(ta->last.from_handler);
    t_ok(francis_halt(ta->ctx, "num", "a", NULL));
    ta_num_is("num", "a", 9);
    ta_close();
}

/* Catches: a struct of which only some bytes come back. */
static francis_result fill_and_fail(francis_ctx *ctx, void *arg)
{
    unsigned char *p = (unsigned char *)francis_state(ctx);
    size_t         i, size = *(const size_t *)arg;
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    for (i = 0; i < size; i++)
        p[i] = (unsigned char)(p[i] + 1 + i);
    return FRANCIS_ERR_USER;
}

static francis_result fill(francis_ctx *ctx, void *arg)
{
    unsigned char *p = (unsigned char *)francis_state(ctx);
    size_t         i, size = *(const size_t *)arg;
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    for (i = 0; i < size; i++)
        p[i] = (unsigned char)(i * 7);
    return FRANCIS_OK;
}

static francis_result verify_fill(francis_ctx *ctx, void *arg)
{
    const unsigned char *p = (const unsigned char *)francis_state(ctx);
    size_t               i, size = *(const size_t *)arg;
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    for (i = 0; i < size; i++)
        if (p[i] != (unsigned char)(i * 7))
            return francis_fail(ctx, FRANCIS_ERR_USER, "byte %zu is %u", i, p[i]);
    return FRANCIS_OK;
}

static void test_failed_struct_sizes(void **state)
{
    static size_t sizes[] = { 1, 2, 3, 7, 8, 9, 63, 64, 65, 4095, 4096, 4097, 100000 };
    size_t        i;
    (void)state;
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const francis_actor_desc types[] = {
            { .type = "sized", .methods = ta_methods, .state_size = sizes[i] }, TA_END
        };
        ta_open(NULL, types);
        ta->path[0] = '\0';                                 /* another database the next time */
        t_ok(ta_do("sized", "a", fill, &sizes[i]));
        t_result(ta_do("sized", "a", fill_and_fail, &sizes[i]), FRANCIS_ERR_USER);
        t_ok(ta_do("sized", "a", verify_fill, &sizes[i]));
        t_result(ta_look("sized", "a", fill_and_fail, &sizes[i]), FRANCIS_ERR_USER);
        t_ok(ta_look("sized", "a", verify_fill, &sizes[i]));
        ta_close();
    }
}

/* Catches: bytes, a deletion or an expiry of a failed turn that stay. */
static francis_result many_writes_and_fail(francis_ctx *ctx, void *arg)
{
    ta_check(francis_state_set(ctx, "first", 5) == FRANCIS_OK);
    ta_check(francis_state_get(ctx).size == 5);
    ta_check(francis_state_delete(ctx) == FRANCIS_OK);
    ta_check(francis_state_get(ctx).data == NULL);
    ta_check(francis_state_set(ctx, NULL, 0) == FRANCIS_OK);
    ta_check(francis_state_get(ctx).data != NULL && francis_state_get(ctx).size == 0);
    ta_check(francis_state_set(ctx, "second one", 10) == FRANCIS_OK);
    ta_check(francis_state_expire(ctx, 1) == FRANCIS_OK);
    if (arg != NULL)
        ta_check(francis_state_delete(ctx) == FRANCIS_OK);
    return FRANCIS_ERR_USER + 1;
}

static void test_failed_bytes(void **state)
{
    (void)state;
    ta_open(NULL, ta_both);
    t_result(ta_do("blob", "a", many_writes_and_fail, NULL), FRANCIS_ERR_USER + 1);
    ta_blob_is("a", NULL);
    t_ok(ta_do("blob", "a", ta_put, "kept"));
    t_result(ta_do("blob", "a", many_writes_and_fail, NULL), FRANCIS_ERR_USER + 1);
    ta_blob_is("a", "kept");
    t_result(ta_do("blob", "a", many_writes_and_fail, &gate_a), FRANCIS_ERR_USER + 1);
    ta_blob_is("a", "kept");
    assert_int_equal(ta_stored_expiry("blob", "a"), TA_NONE);
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), 4);
    ta_close();
}

/* Catches: a refused write that is passed over when the handler ignores it. */
static francis_result refused_write(francis_ctx *ctx, void *arg)
{
    switch ((int)(intptr_t)arg) {
    case 0: ta_check(francis_state_expire(ctx, 0) == FRANCIS_ERR_INVALID); break;
    case 1: ta_check(francis_state_expire(ctx, -7) == FRANCIS_ERR_INVALID); break;
    default: ta_check(francis_state_set(ctx, NULL, 5) == FRANCIS_ERR_INVALID); break;
    }
    (void)francis_state_set(ctx, "afterwards", 10);
    return FRANCIS_OK;
}

static francis_result set_of_struct(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    (void)arg;
    if (s != NULL)
        s->n = 99;
    ta_check(francis_state_set(ctx, "bytes", 5) == FRANCIS_ERR_USAGE);
    return FRANCIS_OK;
}

static void test_refused_write_fails_turn(void **state)
{
    int i;
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("blob", "a", ta_put, "kept"));
    for (i = 0; i < 3; i++) {
        t_result(ta_do("blob", "a", refused_write, (void *)(intptr_t)i), FRANCIS_ERR_INVALID);
        assert_true(ta->last.error[0] != '\0');
        ta_blob_is("a", "kept");
    }
    t_result(ta_do("num", "a", set_of_struct, NULL), FRANCIS_ERR_USAGE);
    assert_true(ta->last.error[0] != '\0');
    ta_num_is("num", "a", 0);
    ta_close();
}

/* Catches: a code of the library's own list that the handler returned and that is then mistaken for
 * the library's: repeated, reworded, or without from_handler. */
static atomic_int ran;

static francis_result return_code(francis_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)atomic_fetch_add(&ran, 1);
    return (francis_result)(intptr_t)arg;
}

static francis_result fail_other_code(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_fail(ctx, FRANCIS_ERR_USER + 1, "the text") == FRANCIS_ERR_USER + 1);
    return FRANCIS_ERR_USER + 2;
}

static francis_result fail_and_go_on(francis_ctx *ctx, void *arg)
{
    (void)francis_fail(ctx, FRANCIS_ERR_USER + 1, "changed my mind");
    return ta_add(ctx, arg);
}

static francis_result fail_text(francis_ctx *ctx, void *arg)
{
    return francis_fail_text(ctx, FRANCIS_ERR_USER + 3, (const char *)arg);
}

static void test_codes_pass(void **state)
{
    static const francis_result codes[] = {
        FRANCIS_ERR_INVALID, FRANCIS_ERR_UNKNOWN_METHOD, FRANCIS_ERR_READ_ONLY,
        FRANCIS_ERR_NOT_FOUND, FRANCIS_ERR_NOT_ACTIVE, FRANCIS_ERR_NO_HOST, FRANCIS_ERR_BUSY,
        FRANCIS_ERR_MOVED, FRANCIS_ERR_DEADLINE, FRANCIS_ERR_STOPPED, FRANCIS_ERR_UNKNOWN,
        FRANCIS_ERR_STORAGE, FRANCIS_ERR_NOMEM, FRANCIS_ERR_INTERNAL, FRANCIS_ERR_USER,
        FRANCIS_ERR_USER + 1, 65535, 1000000000
    };
    size_t i;
    (void)state;
    ta_open(NULL, ta_both);
    for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        atomic_store(&ran, 0);
        t_result(ta_do("num", "a", return_code, (void *)(intptr_t)codes[i]), codes[i]);
        assert_true(ta->last.from_handler);
        assert_true(ta->last.error[0] != '\0');             /* something to print in any case */
        t_result(ta_look("num", "a", return_code, (void *)(intptr_t)codes[i]), codes[i]);
        assert_true(ta->last.from_handler);
        assert_int_equal(atomic_load(&ran), 2);             /* each ran once */
    }
    t_result(ta_do("num", "a", fail_other_code, NULL), FRANCIS_ERR_USER + 2);
    assert_string_equal(ta->last.error, "the text");
    t_result(ta_do("num", "a", fail_text, "100 %s %n percent"), FRANCIS_ERR_USER + 3);
    assert_string_equal(ta->last.error, "100 %s %n percent");
    t_ok(ta_do("num", "a", fail_and_go_on, NULL));
    assert_string_equal(ta->last.error, "");
    assert_int_equal(ta_int(&ta->last), 1);
    ta_close();
}

/* Catches: refusals of the library's own that look as if the actor had spoken, and handlers that
 * run although the method, its kind or its input is not theirs. */
static francis_result method_count(francis_ctx *ctx)
{
    (void)atomic_fetch_add(&ran, 1);
    return francis_replyf(ctx, "%s", ctx->method);
}

static francis_result method_peek(francis_ctx *ctx)
{
    return francis_replyf(ctx, "peek %s", ctx->method);
}

static francis_result any_invoke(francis_ctx *ctx)
{
    return francis_replyf(ctx, "any %s", ctx->method);
}

static francis_result any_peek(francis_ctx *ctx)
{
    return francis_replyf(ctx, "any peek %s", ctx->method);
}

static francis_result ask(bool peek, const char *type, const char *method, size_t size)
{
    static const char input[] = "12345678";
    return peek ? francis_peek(ta->ctx, type, "a", method, input, size, &ta->last)
                : francis_invoke(ta->ctx, type, "a", method, input, size, &ta->last);
}

static void replies(bool peek, const char *type, const char *method, size_t size,
                    const char *expected)
{
    francis_result r = ask(peek, type, method, size);
    if (r != FRANCIS_OK)
        fail_msg("%s %s: %s: %s", type, method, francis_result_name(r), ta->last.error);
    assert_non_null(ta->last.data);
    assert_string_equal((const char *)ta->last.data, expected);
    assert_int_equal(ta->last.size, strlen(expected));
}

static void refuses(bool peek, const char *type, const char *method, size_t size,
                    francis_result expected)
{
    t_result(ask(peek, type, method, size), expected);
    assert_false(ta->last.from_handler);
    assert_non_null(strstr(ta->last.error, method));        /* says which */
    assert_int_equal(atomic_load(&ran), 0);
}

static void test_methods(void **state)
{
    static const francis_method methods[] = {
        { "write", method_count, FRANCIS_INVOKE, 0 },
        { "eight", method_count, FRANCIS_INVOKE, 8 },
        { "read", method_peek, FRANCIS_PEEK, 0 },
        { "both", method_peek, FRANCIS_PEEK, 0 },
        { "both", any_invoke, FRANCIS_INVOKE, 0 },
        FRANCIS_METHODS_END
    };
    static const francis_actor_desc types[] = {
        { .type = "table", .methods = methods },
        { .type = "all", .methods = methods, .invoke = any_invoke, .peek = any_peek },
        { .type = "invoke only", .invoke = any_invoke },
        { .type = "peek only", .peek = any_peek },
        TA_END
    };
    (void)state;
    ta_open(NULL, types);
    atomic_store(&ran, 0);
    refuses(false, "table", "nothing", 0, FRANCIS_ERR_UNKNOWN_METHOD);
    refuses(true, "table", "nothing", 0, FRANCIS_ERR_UNKNOWN_METHOD);
    refuses(true, "table", "write", 0, FRANCIS_ERR_UNKNOWN_METHOD); /* not its invoke */
    refuses(false, "table", "Write", 0, FRANCIS_ERR_UNKNOWN_METHOD);
    refuses(false, "table", "writ", 0, FRANCIS_ERR_UNKNOWN_METHOD);
    refuses(false, "table", "eight", 7, FRANCIS_ERR_BAD_INPUT);
    refuses(false, "table", "eight", 0, FRANCIS_ERR_BAD_INPUT);
    refuses(false, "all", "eight", 7, FRANCIS_ERR_BAD_INPUT);       /* nor the catch-all */
    refuses(true, "invoke only", "x", 0, FRANCIS_ERR_UNKNOWN_METHOD);
    replies(false, "table", "write", 3, "write");
    replies(false, "table", "eight", 8, "eight");
    replies(true, "table", "read", 0, "peek read");
    replies(false, "table", "read", 0, "peek read");        /* invoke finds a peek, too */
    replies(true, "table", "both", 0, "peek both");
    replies(false, "table", "both", 0, "any both");
    replies(false, "all", "write", 0, "write");
    replies(false, "all", "other", 0, "any other");
    replies(true, "all", "other", 0, "any peek other");
    replies(true, "all", "write", 0, "any peek write");
    replies(false, "invoke only", "x", 0, "any x");
    replies(true, "peek only", "x", 0, "any peek x");
    ta_close();
}

/* -- what is stored, and when ------------------------------------------------------------------ */

static francis_result write_same(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    ta_number  copy;
    (void)arg;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    copy = *s;
    (void)memset(s, 0x11, sizeof *s);
    *s = copy;
    return FRANCIS_OK;
}

static francis_result set_often(francis_ctx *ctx, void *arg)
{
    int i;
    for (i = 0; i < 10; i++)
        (void)francis_state_set(ctx, "in between", (size_t)i);
    return francis_state_set(ctx, arg, strlen((const char *)arg));
}

static francis_result set_and_drop(francis_ctx *ctx, void *arg)
{
    (void)francis_state_set(ctx, arg, 3);
    return francis_state_delete(ctx);
}

/* Catches: a row that is written although nothing has changed, and a change that is not written. */
static void test_rows(void **state)
{
    francis_stats before, after;
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_nothing, NULL));              /* no rows of activation later */
    t_ok(ta_do("blob", "a", ta_nothing, NULL));
    before = ta_stats();
    t_ok(ta_do("num", "a", ta_get, NULL));
    t_ok(ta_do("num", "a", write_same, NULL));
    t_ok(ta_look("num", "a", ta_get, NULL));
    t_ok(ta_do("blob", "a", set_and_drop, "xyz"));          /* there was none, and there is none */
    t_result(ta_do("num", "a", change_and_fail, NULL), FRANCIS_ERR_USER + 7);
    after = ta_stats();
    assert_int_equal(after.commit_rows, before.commit_rows);
    assert_int_equal(after.bytes_written, before.bytes_written);
    assert_int_equal(ta_stored_n("num", "a"), TA_NONE);     /* zeroes that nobody touched */
    before = after;
    t_ok(ta_do("num", "a", ta_add, NULL));
    after = ta_stats();
    assert_int_equal(after.commit_rows, before.commit_rows + 1);
    assert_true(after.bytes_written > before.bytes_written);
    assert_int_equal(ta_stored_n("num", "a"), 1);
    before = after;
    t_ok(ta_do("num", "a", write_same, NULL));
    assert_int_equal(ta_stats().commit_rows, before.commit_rows);
    t_ok(ta_do("blob", "a", set_often, "at last"));         /* many writes of a turn are one row */
    after = ta_stats();
    assert_int_equal(after.commit_rows, before.commit_rows + 1);
    before = after;
    t_ok(ta_do("blob", "a", set_often, "at last"));         /* the same bytes again */
    assert_int_equal(ta_stats().commit_rows, before.commit_rows);
    ta_blob_is("a", "at last");
    t_ok(ta_do("blob", "a", ta_drop, NULL));
    assert_int_equal(ta_stats().commit_rows, before.commit_rows + 1);
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), -1);
    ta_close();
}

/* Catches: a reply that arrives before the state is in the file. */
static void test_reply_is_durable(void **state)
{
    int i, n = ta_times(60, 15);
    (void)state;
    ta_open(NULL, ta_both);
    for (i = 1; i <= n; i++) {
        char text[32];
        t_ok(ta_do("num", "a", ta_add, NULL));
        assert_int_equal(ta_int(&ta->last), i);
        assert_int_equal(ta_stored_n("num", "a"), i);
        (void)snprintf(text, sizeof text, "text number %d", i);
        t_ok(ta_do("blob", "a", ta_put, text));
        assert_int_equal(ta_stored(ta->path, "blob", "a", text, 0), (int64_t)strlen(text));
    }
    ta_close();
}

/* Catches: the same in the asynchronous form, where the callback comes from another thread. */
static atomic_int answered;

static void look_into_file(francis_call *call)
{
    int64_t n = 0;
    ta_check(call->result == FRANCIS_OK && call->size == sizeof n);
    if (call->size == sizeof n)
        (void)memcpy(&n, call->data, sizeof n);
    ta_check(ta_stored_n("num", (const char *)call->user) >= n);
    (void)atomic_fetch_add(&answered, 1);
}

static void test_callback_is_durable(void **state)
{
    static const char *ids[] = { "a", "b", "c" };
    int i, n = ta_times(60, 15);
    (void)state;
    atomic_store(&answered, 0);
    ta_open(NULL, ta_both);
    for (i = 0; i < n; i++) {
        francis_call *call = ta_new();
        ta_job        job = { ta_add, NULL };
        call->on_done = look_into_file;
        call->user = (void *)(uintptr_t)ids[i % 3];
        t_result(francis_invoke(ta->ctx, "num", ids[i % 3], "do", &job, sizeof job, call),
                 FRANCIS_PENDING);
        if (i % 5 == 0)
            ta_step();
    }
    ta_until(atomic_load(&answered) == n);
    assert_int_equal(ta_stored_n("num", "a"), (n + 2) / 3);
    assert_int_equal(ta_stored_n("num", "b"), (n + 1) / 3);
    assert_int_equal(ta_stored_n("num", "c"), n / 3);
    ta_close();
}

/* Catches: a peek that tells of a state which a power cut could still take back. Commits are
 * gathered for a while, so that the peek finds the state sealed and not yet stored; that it did is
 * checked. */
static _Atomic int64_t seen, stored_then, stored_later;

static francis_result get_and_look(francis_ctx *ctx, void *arg)
{
    const ta_number *s = (const ta_number *)francis_state(ctx);
    int64_t          n;
    (void)arg;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    atomic_store(&seen, s->n);
    n = ta_stored_n("num", "a");
    atomic_store(&stored_then, n == TA_NONE ? 0 : n);
    return francis_reply(ctx, &s->n, sizeof s->n);
}

static void look_later(francis_call *call)
{
    int64_t n = ta_stored_n("num", "a");
    ta_check(call->result == FRANCIS_OK);
    atomic_store(&stored_later, n == TA_NONE ? 0 : n);
    (void)atomic_fetch_add(&answered, 1);
}

static void test_peek_waits_for_commit(void **state)
{
    francis_host_desc desc = { .commit_window_ms = 60 };
    int               i, proved = 0;
    (void)state;
    ta_open(&desc, ta_both);
    for (i = 1; i <= 40 && proved < 2; i++) {
        francis_call *call, *look = ta_new();
        ta_job        job = { get_and_look, NULL };
        atomic_store(&answered, 0);
        call = ta_begin("num", "a", ta_add, NULL);
        look->on_done = look_later;
        t_result(francis_peek(ta->ctx, "num", "a", "look", &job, sizeof job, look),
                 FRANCIS_PENDING);
        t_ok(ta_end(call));
        ta_until(atomic_load(&answered) == 1);
        assert_int_equal(atomic_load(&seen), i);            /* the sealed image */
        assert_true(atomic_load(&stored_later) >= i);
        if (atomic_load(&stored_then) < i)
            proved++;
    }
    assert_int_equal(proved, 2);
    ta_close();
}

/* Catches: a turn that changes nothing, but answers from what an earlier turn has not stored yet.
 * */
static void test_read_only_turn_waits_for_commit(void **state)
{
    francis_host_desc desc = { .commit_window_ms = 60 };
    int               i, proved = 0;
    (void)state;
    ta_open(&desc, ta_both);
    for (i = 1; i <= 40 && proved < 2; i++) {
        francis_call *call, *look = ta_new();
        ta_job        job = { get_and_look, NULL };
        atomic_store(&answered, 0);
        call = ta_begin("num", "a", ta_add, NULL);
        look->on_done = look_later;
        t_result(francis_invoke(ta->ctx, "num", "a", "do", &job, sizeof job, look),
                 FRANCIS_PENDING);
        t_ok(ta_end(call));
        ta_until(atomic_load(&answered) == 1);
        assert_int_equal(atomic_load(&seen), i);
        assert_true(atomic_load(&stored_later) >= i);
        if (atomic_load(&stored_then) < i)
            proved++;
    }
    assert_int_equal(proved, 2);
    ta_close();
}

/* Catches: a call out of a turn that overtakes the commit of what the actor did before. */
static francis_result look_from_callee(francis_ctx *ctx, void *arg)
{
    int64_t n = ta_stored_n("num", "a");
    (void)arg;
    if (n == TA_NONE)
        n = 0;
    return francis_reply(ctx, &n, sizeof n);
}

static francis_result add_and_call(francis_ctx *ctx, void *arg)
{
    nested    *n = (nested *)francis_alloc(ctx, sizeof *n);
    ta_number *s = (ta_number *)francis_state(ctx);
    int64_t    now;
    (void)arg;
    if (n == NULL || s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->n++;
    now = ta_stored_n("num", "a");
    atomic_store(&stored_then, now == TA_NONE ? 0 : now);
    n->job.fn = look_from_callee;
    n->call.async = true;
    (void)francis_invoke(ctx, "num", "b", "do", &n->job, sizeof n->job, &n->call);
    return francis_await(ctx, nested_reply, n);
}

static void test_call_waits_for_earlier_turns(void **state)
{
    francis_host_desc desc = { .commit_window_ms = 60 };
    int               i, proved = 0;
    int64_t           n = 0;
    (void)state;
    ta_open(&desc, ta_both);
    for (i = 0; i < 40 && proved < 2; i++) {
        francis_call *call = ta_begin("num", "a", ta_add, NULL), *outer;
        outer = ta_begin("num", "a", add_and_call, NULL);
        t_ok(ta_end(call));
        n = ta_int(call);
        t_ok(ta_end(outer));
        assert_int_equal(ta_int(outer), n);                 /* the earlier turn, not this one */
        assert_int_equal(ta_stored_n("num", "a"), n + 1);
        if (atomic_load(&stored_then) < n)
            proved++;
    }
    assert_int_equal(proved, 2);
    ta_close();
}

/* -- flush ------------------------------------------------------------------------------------- */

static francis_result flush_steps(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    ta_check(francis_flush(ctx, NULL) == FRANCIS_OK);       /* nothing to do */
    s->n = 10;
    ta_check(ta_stored_n("num", ctx->id) != 10);
    ta_check(francis_flush(ctx, NULL) == FRANCIS_OK);
    ta_check(ta_stored_n("num", ctx->id) == 10);
    ta_check(francis_state(ctx) == (void *)s && s->n == 10);
    s->n = 20;
    s->m = 20;
    {
        francis_call call = { 0 };
        ta_check(francis_flush(ctx, &call) == FRANCIS_OK);
        ta_check(call.result == FRANCIS_OK);
        francis_call_free(&call);
    }
    ta_check(ta_stored_n("num", ctx->id) == 20);
    s->n = 30;
    s->m = 30;
    return arg != NULL ? *(const francis_result *)arg : FRANCIS_OK;
}

/* Catches: a flush that does not flush, and a later failure that goes back too far or not at all.
 * */
static void test_flush(void **state)
{
    static francis_result fail = FRANCIS_ERR_USER + 5;
    (void)state;
    ta_open(NULL, ta_both);
    t_result(ta_do("num", "a", flush_steps, &fail), FRANCIS_ERR_USER + 5);
    assert_true(ta->last.from_handler);
    ta_num_is("num", "a", 20);
    assert_int_equal(ta_stored_n("num", "a"), 20);
    t_ok(ta_do("num", "b", flush_steps, NULL));
    ta_num_is("num", "b", 30);
    assert_int_equal(ta_stored_n("num", "b"), 30);
    t_ok(francis_halt(ta->ctx, "num", "a", NULL));
    ta_num_is("num", "a", 20);
    ta_close();
}

static francis_result flush_bytes(francis_ctx *ctx, void *arg)
{
    (void)francis_state_set(ctx, "one", 3);
    ta_check(francis_flush(ctx, NULL) == FRANCIS_OK);
    ta_check(ta_stored(ta->path, "blob", ctx->id, NULL, 0) == 3);
    (void)francis_state_delete(ctx);
    if (arg != NULL) {
        ta_check(francis_flush(ctx, NULL) == FRANCIS_OK);
        ta_check(ta_stored(ta->path, "blob", ctx->id, NULL, 0) == -1);
        ta_check(francis_state_get(ctx).data == NULL);
        (void)francis_state_set(ctx, "other", 5);
    }
    return FRANCIS_ERR_USER;
}

static void test_flush_bytes(void **state)
{
    (void)state;
    ta_open(NULL, ta_both);
    t_result(ta_do("blob", "a", flush_bytes, NULL), FRANCIS_ERR_USER);
    ta_blob_is("a", "one");
    t_result(ta_do("blob", "a", flush_bytes, &gate_a), FRANCIS_ERR_USER);
    ta_blob_is("a", NULL);
    assert_int_equal(ta_stored(ta->path, "blob", "a", NULL, 0), -1);
    ta_close();
}

/* Catches: a flush that waits for nothing when only an earlier turn has something to store. */
static francis_result flush_earlier(francis_ctx *ctx, void *arg)
{
    int64_t n = ta_stored_n("num", "a");
    (void)arg;
    atomic_store(&stored_then, n == TA_NONE ? 0 : n);
    ta_check(francis_flush(ctx, NULL) == FRANCIS_OK);
    n = ta_stored_n("num", "a");
    return francis_reply(ctx, &n, sizeof n);
}

static void test_flush_waits_for_earlier_turns(void **state)
{
    francis_host_desc desc = { .commit_window_ms = 60 };
    int               i, proved = 0;
    (void)state;
    ta_open(&desc, ta_both);
    for (i = 1; i <= 40 && proved < 2; i++) {
        francis_call *call = ta_begin("num", "a", ta_add, NULL), *flush;
        flush = ta_begin("num", "a", flush_earlier, NULL);
        t_ok(ta_end(call));
        t_ok(ta_end(flush));
        assert_int_equal(ta_int(flush), i);
        if (atomic_load(&stored_then) < i)
            proved++;
    }
    assert_int_equal(proved, 2);
    ta_close();
}

/* -- what a handler knows ---------------------------------------------------------------------- */

typedef struct {
    int  count;
    char rest[20];
} instance;

static int  user_data;
static char traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

static void check_ctx(francis_ctx *ctx, francis_turn_kind kind)
{
    instance *memory = (instance *)ctx->instance;
    size_t    i;
    ta_check(ctx->kind == kind);
    ta_check(strcmp(ctx->type, "fields") == 0);
    ta_check(strcmp(ctx->id, "an id") == 0);
    ta_check(ctx->user == &user_data);
    ta_check(ctx->host == ta->host || ta->host == NULL);
    ta_check(ctx->request_id != NULL && ctx->trace != NULL && ctx->method != NULL);
    ta_check(ctx->local == NULL);
    ta_check(memory != NULL && (uintptr_t)memory % alignof(max_align_t) == 0);
    if (memory != NULL && kind == FRANCIS_ACTIVATE) {
        ta_check(memory->count == 0);
        for (i = 0; i < sizeof memory->rest; i++)
            ta_check(memory->rest[i] == 0);
        (void)memset(memory->rest, 'x', sizeof memory->rest);
    }
    if (memory != NULL && kind != FRANCIS_PEEK)
        memory->count++;
    if (kind != FRANCIS_INVOKE && kind != FRANCIS_PEEK) {
        ta_check(ctx->input.size == 0);
        ta_check(ctx->method[0] == '\0');
        ta_check(ctx->request_id[0] == '\0');
    }
}

static francis_result fields_activate(francis_ctx *ctx)
{
    check_ctx(ctx, FRANCIS_ACTIVATE);
    ta_note("activate");
    return FRANCIS_OK;
}

static francis_result fields_deactivate(francis_ctx *ctx)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    check_ctx(ctx, FRANCIS_DEACTIVATE);
    if (s != NULL)
        s->m++;                                             /* may write */
    ta_note("deactivate");
    return FRANCIS_OK;
}

static francis_result fields_invoke(francis_ctx *ctx)
{
    ta_check(strcmp(ctx->method, "any method") == 0);
    ta_check(ctx->input.size == 5 && memcmp(ctx->input.data, "input", 6) == 0);
    check_ctx(ctx, FRANCIS_INVOKE);
    return francis_replyf(ctx, "%d|%s|%s|%lld", ((instance *)ctx->instance)->count, ctx->request_id,
                          ctx->trace, (long long)ctx->timeout_ms);
}

static francis_result fields_peek(francis_ctx *ctx)
{
    const ta_number *s = (const ta_number *)francis_state(ctx);
    check_ctx(ctx, FRANCIS_PEEK);
    return francis_replyf(ctx, "%lld|%s", s != NULL ? (long long)s->m : -1LL, ctx->request_id);
}

/* Catches: a field that is NULL, wrong, left from another turn, or lost with the activation. */
static void test_ctx_fields(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "fields", .state_size = sizeof(ta_number), .instance_size = sizeof(instance),
          .invoke = fields_invoke, .peek = fields_peek, .activate = fields_activate,
          .deactivate = fields_deactivate, .user = &user_data },
        TA_END
    };
    francis_call call = { 0 };
    long long    left = 0;
    char         expected[128];
    int          i;
    (void)state;
    ta_open(NULL, types);
    assert_null(ta->ctx->type);
    assert_null(ta->ctx->id);
    assert_ptr_equal(ta->ctx->host, ta->host);
    for (i = 0; i < 2; i++) {
        call.request_id = NULL;
        call.trace = NULL;
        call.timeout_ms = FRANCIS_FOREVER;
        t_ok(francis_invoke(ta->ctx, "fields", "an id", "any method", "input", 5, &call));
        (void)snprintf(expected, sizeof expected, "2|||-1");    /* activate was the first */
        assert_string_equal((const char *)call.data, expected);
        call.request_id = i == 0 ? "a request" : "another";
        call.trace = traceparent;
        call.timeout_ms = 5000;
        t_ok(francis_invoke(ta->ctx, "fields", "an id", "any method", "input", 5, &call));
        (void)snprintf(expected, sizeof expected, "3|%s|%s|", call.request_id, traceparent);
        assert_int_equal(strncmp((const char *)call.data, expected, strlen(expected)), 0);
        left = atoll((const char *)call.data + strlen(expected));
        assert_true(left > 0 && left <= 5000);
        call.trace = NULL;
        t_ok(francis_peek(ta->ctx, "fields", "an id", "any", NULL, 0, &call));
        (void)snprintf(expected, sizeof expected, "%d|", i);    /* peeks ignore request ids */
        assert_int_equal(strncmp((const char *)call.data, expected, strlen(expected)), 0);
        t_ok(francis_halt(ta->ctx, "fields", "an id", NULL));
    }
    francis_call_free(&call);
    ta_close();
    ta_diary_is("activate deactivate activate deactivate");
}

/* Catches: time that passes within a turn, and time that stands still between turns. */
static francis_result two_times(francis_ctx *ctx, void *arg)
{
    int64_t before = francis_now(ctx);
    (void)arg;
    (void)atomic_fetch_add(&ta_wall_now, 12345);
    ta_check(francis_now(ctx) == before);
    return francis_reply(ctx, &before, sizeof before);
}

static francis_result time_awaited(francis_ctx *ctx)
{
    const int64_t *before = (const int64_t *)ctx->local;
    ta_check(francis_now(ctx) == *before);
    return FRANCIS_OK;
}

static francis_result time_await(francis_ctx *ctx, void *arg)
{
    int64_t *before = (int64_t *)francis_alloc(ctx, sizeof *before);
    (void)arg;
    if (before == NULL)
        return FRANCIS_ERR_NOMEM;
    *before = francis_now(ctx);
    (void)atomic_fetch_add(&ta_wall_now, 777);
    return francis_await(ctx, time_awaited, before);        /* for nothing: goes on at once */
}

static void test_now(void **state)
{
    francis_host_desc desc = { .platform = &ta_wall };
    int64_t           before;
    (void)state;
    ta_clock_init();
    ta_open(&desc, ta_both);
    before = atomic_load(&ta_wall_now);
    t_ok(ta_do("num", "a", two_times, NULL));
    assert_int_equal(ta_int(&ta->last), before);
    t_ok(ta_do("num", "a", two_times, NULL));
    assert_int_equal(ta_int(&ta->last), before + 12345);
    t_ok(ta_do("num", "a", time_await, NULL));
    assert_int_equal(francis_now(ta->ctx), before + 2 * 12345 + 777);   /* outside it runs */
    (void)atomic_fetch_add(&ta_wall_now, 1);
    assert_int_equal(francis_now(ta->ctx), before + 2 * 12345 + 778);
    ta_close();
    ta->path[0] = '\0';
    ta_open(NULL, ta_both);
    before = (int64_t)time(NULL) * 1000;
    assert_true(francis_now(ta->ctx) >= before - 2000 && francis_now(ta->ctx) <= before + 60000);
    ta_close();
}

/* Catches: a handler that is told to stop too late, for the wrong reason, or never. */
static francis_result work_until(francis_ctx *ctx, void *arg)
{
    ta_number     *s = (ta_number *)francis_state(ctx);
    int64_t        end = t_ms() + 60000;
    francis_result r;
    if (s != NULL)
        s->n = 1;
    ta_check(arg == NULL || francis_interrupted(ctx) == FRANCIS_OK);
    atomic_store(&ran, 1);
    do {
        r = francis_interrupted(ctx);
        t_yield();
    } while (r == FRANCIS_OK && t_ms() < end);
    atomic_store(&met, r);
    return arg != NULL ? FRANCIS_OK : r;
}

static void test_interrupted_deadline(void **state)
{
    ta_job  job = { work_until, NULL };
    int64_t begun;
    (void)state;
    atomic_store(&met, 0);
    ta_open(NULL, ta_both);
    ta->last.timeout_ms = 200;
    begun = t_ms();
    t_result(francis_invoke(ta->ctx, "num", "a", "do", &job, sizeof job, &ta->last),
             FRANCIS_ERR_DEADLINE);
    assert_true(t_ms() - begun >= 199);
    ta->last.timeout_ms = 0;
    ta_num_is("num", "a", 0);
    assert_int_equal(atomic_load(&met), FRANCIS_ERR_DEADLINE);
    assert_int_equal(ta_stored_n("num", "a"), TA_NONE);
    ta_close();
}

static void test_interrupted_stop(void **state)
{
    francis_call *call;
    (void)state;
    atomic_store(&met, 0);
    atomic_store(&ran, 0);
    ta_open(NULL, ta_both);
    call = ta_begin("num", "a", work_until, &gate_a);
    ta_until(atomic_load(&ran) == 1);
    francis_stop(ta->host);
    t_ok(ta_end(call));                                     /* it may still commit */
    assert_int_equal(atomic_load(&met), FRANCIS_ERR_STOPPED);
    ta_close();
    assert_int_equal(ta_stored_n("num", "a"), 1);
}

static void test_interrupted_cancel(void **state)
{
    francis_call *call;
    (void)state;
    atomic_store(&met, 0);
    atomic_store(&ran, 0);
    ta_open(NULL, ta_both);
    call = ta_begin("num", "a", work_until, NULL);
    ta_until(atomic_load(&ran) == 1);
    francis_call_free(call);
    ta_num_is("num", "a", 0);
    assert_int_equal(atomic_load(&met), FRANCIS_ERR_CANCELLED);
    ta_close();
}

/* Without threads the handler asks when it is let on: the actor is about to be halted by then. */
static francis_result tell_interrupted(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    (void)arg;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->n = 7;
    atomic_store(&met, francis_interrupted(ctx));
    return FRANCIS_OK;
}

static void test_interrupted_halt(void **state)
{
    francis_call *call, *halt = ta_new();
    (void)state;
    atomic_store(&met, 0);
    ta_gate_init(&gate_a, NULL);
    gate_a.then = tell_interrupted;
    ta_open(NULL, ta_both);
    call = ta_begin("num", "a", ta_hold, &gate_a);
    ta_until(atomic_load(&gate_a.arrived) == 1);
    halt->async = true;
    t_result(francis_halt(ta->ctx, "num", "a", halt), FRANCIS_PENDING);
    ta_settle("blob");
    assert_int_equal(halt->result, FRANCIS_PENDING);        /* the running turn finishes first */
    ta_let(&gate_a, 0);
    t_ok(ta_end(call));
    t_ok(ta_end(halt));
    assert_int_equal(atomic_load(&met), FRANCIS_ERR_MOVED);
    assert_int_equal(ta_stored_n("num", "a"), 7);
    ta_close();
}

/* Catches: memory of a turn that is not zeroed, not aligned, overlaps, or is gone after an await.
 * */
enum { CHUNKS = 40 };

typedef struct {
    unsigned char *p[CHUNKS];
    size_t         size[CHUNKS];
} chunks;

static void check_chunks(const chunks *c, unsigned char offset)
{
    size_t i, k;
    for (i = 0; i < CHUNKS; i++)
        for (k = 0; k < c->size[i]; k++)
            if (c->p[i][k] != (unsigned char)(i + offset)) {
                ta_check(!"a byte of the turn's memory has changed");
                return;
            }
}

static francis_result chunks_awaited(francis_ctx *ctx)
{
    check_chunks((const chunks *)ctx->local, 1);
    return FRANCIS_OK;
}

static francis_result take_chunks(francis_ctx *ctx, void *arg)
{
    chunks *c = (chunks *)francis_alloc(ctx, sizeof *c);
    size_t  i, k;
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    for (i = 0; i < CHUNKS; i++) {
        c->size[i] = i < 30 ? i * i : (size_t)1 << (i - 24);
        c->p[i] = (unsigned char *)francis_alloc(ctx, c->size[i]);
        if (c->p[i] == NULL) {
            ta_check(c->size[i] == 0);
            continue;
        }
        ta_check((uintptr_t)c->p[i] % alignof(max_align_t) == 0);
        for (k = 0; k < c->size[i]; k++)
            ta_check(c->p[i][k] == 0);
        (void)memset(c->p[i], (int)(i + 1), c->size[i]);
    }
    check_chunks(c, 1);
    if (arg != NULL)
        return francis_await(ctx, chunks_awaited, c);
    return FRANCIS_ERR_USER;
}

static void test_alloc(void **state)
{
    int i;
    (void)state;
    ta_open(NULL, ta_both);
    for (i = 0; i < 5; i++) {
        t_result(ta_do("num", "a", take_chunks, NULL), FRANCIS_ERR_USER);
        t_ok(ta_do("num", "a", take_chunks, &gate_a));
        t_ok(ta_look("num", "a", take_chunks, &gate_a));
    }
    assert_null(francis_alloc(ta->ctx, 16));                /* no turn */
    ta_close();                                             /* and all has come back */
}

/* Catches: bytes that cannot be cast to a struct or printed as a string without being copied first.
 * */
static bool neat(const void *data, size_t size)
{
    return data != NULL && (uintptr_t)data % alignof(max_align_t) == 0 &&
           ((const char *)data)[size] == '\0';
}

static francis_result check_input(francis_ctx *ctx)
{
    if (ctx->input.size > 0)
        ta_check(neat(ctx->input.data, ctx->input.size));
    return francis_reply(ctx, ctx->input.data, ctx->input.size);
}

static francis_result check_state(francis_ctx *ctx, void *arg)
{
    francis_bytes b = francis_state_get(ctx);
    size_t        size = *(const size_t *)arg;
    ta_check(b.size == size && neat(b.data, b.size));
    ta_check(memcmp(b.data, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", size) == 0);
    return FRANCIS_OK;
}

static francis_result set_and_check_state(francis_ctx *ctx, void *arg)
{
    size_t size = *(const size_t *)arg;
    (void)francis_state_set(ctx, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", size);
    return check_state(ctx, arg);
}

static void test_alignment(void **state)
{
    static const francis_actor_desc types[] = {
        { .type = "echo", .invoke = check_input, .peek = check_input },
        TA_BLOB, TA_NUM, TA_END
    };
    static size_t size;
    static char   data[70000];
    (void)state;
    (void)memset(data, 'd', sizeof data);
    ta_open(NULL, types);
    for (size = 0; size < sizeof data; size = size < 70 ? size + 1 : size * 3) {
        t_ok(francis_invoke(ta->ctx, "echo", "a", "m", data + 1, size, &ta->last));
        assert_int_equal(ta->last.size, size);
        assert_true(neat(ta->last.data, size));
        assert_memory_equal(ta->last.data, data, size);
        t_ok(francis_peek(ta->ctx, "echo", "a", "m", data + 1, size, &ta->last));
        assert_true(neat(ta->last.data, size));
        if (size > 0 && size <= 52) {
            t_ok(ta_do("blob", "a", set_and_check_state, &size));
            t_ok(ta_do("blob", "a", check_state, &size));
            t_ok(francis_state_read(ta->ctx, "blob", "a", &ta->last));
            assert_int_equal(ta->last.size, size);
            assert_true(neat(ta->last.data, size));
            t_ok(francis_halt(ta->ctx, "blob", "a", NULL));
            t_ok(ta_look("blob", "a", check_state, &size));
        }
    }
    ta_close();
}

/* Catches: "no reply" and "an empty reply" that are the same, and a reply that is not the last one.
 * */
static francis_result replies_of_all_kinds(francis_ctx *ctx, void *arg)
{
    switch ((int)(intptr_t)arg) {
    case 0: return FRANCIS_OK;
    case 1: return francis_reply(ctx, NULL, 0);
    case 2: return francis_reply(ctx, "x", 0);
    case 3:
        (void)francis_reply(ctx, "first, and longer", 17);
        return francis_reply(ctx, "second", 6);
    case 4:
        (void)francis_reply(ctx, "first", 5);
        return francis_replyf(ctx, "%s %d%%", "fifty", 50);
    case 5: return francis_replyf(ctx, "%s", "");
    default: return francis_replyf(ctx, "%0*d", 5000, 7);
    }
}

static void test_replies(void **state)
{
    ta_job job = { ta_add, NULL };
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", replies_of_all_kinds, (void *)4));
    assert_string_equal((const char *)ta->last.data, "fifty 50%");
    assert_int_equal(ta->last.size, 9);
    t_ok(ta_do("num", "a", replies_of_all_kinds, (void *)0));
    assert_null(ta->last.data);
    assert_int_equal(ta->last.size, 0);
    t_ok(ta_do("num", "a", replies_of_all_kinds, (void *)1));
    assert_non_null(ta->last.data);
    assert_int_equal(ta->last.size, 0);
    t_ok(ta_do("num", "a", replies_of_all_kinds, (void *)2));
    assert_non_null(ta->last.data);
    assert_int_equal(ta->last.size, 0);
    t_ok(ta_do("num", "a", replies_of_all_kinds, (void *)3));
    assert_string_equal((const char *)ta->last.data, "second");
    assert_int_equal(ta->last.size, 6);
    t_ok(ta_do("num", "a", replies_of_all_kinds, (void *)5));
    assert_non_null(ta->last.data);
    assert_int_equal(ta->last.size, 0);
    t_ok(ta_do("num", "a", replies_of_all_kinds, (void *)6));
    assert_int_equal(ta->last.size, 5000);
    assert_int_equal(((const char *)ta->last.data)[4999], '7');
    t_ok(ta_look("num", "a", replies_of_all_kinds, (void *)3));
    assert_string_equal((const char *)ta->last.data, "second");
    t_ok(francis_invoke(ta->ctx, "num", "a", "do", &job, sizeof job, NULL));
    ta_num_is("num", "a", 1);                               /* as well without a call struct */
    ta_close();
}

/* Catches: bytes that two turns or the caller share: the input is a copy, and so is the reply. */
static francis_result scribble(francis_ctx *ctx, void *arg)
{
    char *p = (char *)francis_alloc(ctx, 8);
    (void)arg;
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)memcpy(p, "original", 8);
    (void)francis_reply(ctx, p, 8);
    (void)memset(p, '?', 8);
    return FRANCIS_OK;
}

static francis_result scribble_state(francis_ctx *ctx, void *arg)
{
    char *p = (char *)arg;
    (void)memcpy(p, "original", 8);
    (void)francis_state_set(ctx, p, 8);
    (void)memset(p, '?', 8);
    return FRANCIS_OK;
}

static void test_copies(void **state)
{
    static char   buffer[16];
    francis_call *call = ta_new();
    ta_job       *job = (ta_job *)malloc(sizeof *job);
    char         *id = (char *)malloc(8), *method = (char *)malloc(8), *type = (char *)malloc(8);
    (void)state;
    assert_true(job != NULL && id != NULL && method != NULL && type != NULL);
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", scribble, NULL));
    assert_string_equal((const char *)ta->last.data, "original");
    t_ok(ta_do("blob", "a", scribble_state, buffer));
    ta_blob_is("a", "original");
    (void)strcpy(id, "id");
    (void)strcpy(method, "do");
    (void)strcpy(type, "num");
    job->fn = ta_add;
    job->arg = NULL;
    call->async = true;
    t_result(francis_invoke(ta->ctx, type, id, method, job, sizeof *job, call), FRANCIS_PENDING);
    (void)memset(id, '?', 8);
    (void)memset(method, '?', 8);
    (void)memset(type, '?', 8);
    (void)memset(job, '?', sizeof *job);
    free(id);
    free(method);
    free(type);
    free(job);
    t_ok(ta_end(call));
    ta_num_is("num", "id", 1);
    ta_close();
}

/* -- misuse ------------------------------------------------------------------------------------ */

static francis_result change_and_return(francis_ctx *ctx, void *arg)
{
    ta_number *s = (ta_number *)francis_state(ctx);
    if (s != NULL)
        s->n += 1000;
    return (francis_result)(intptr_t)arg;
}

static francis_result await_and_return_ok(francis_ctx *ctx, void *arg)
{
    nested *n = (nested *)francis_alloc(ctx, sizeof *n);
    if (n == NULL)
        return FRANCIS_ERR_NOMEM;
    n->job.fn = ta_nothing;
    n->call.async = true;
    (void)francis_invoke(ctx, "num", "b", "do", &n->job, sizeof n->job, &n->call);
    (void)francis_await(ctx, nested_reply, n);
    return (francis_result)(intptr_t)arg;
}

static francis_result await_badly(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_await(ctx, NULL, NULL) == FRANCIS_ERR_INVALID);
    return FRANCIS_OK;
}

/* Catches: a handler that returns what it must not, and a caller who then waits for ever, or hears
 * that something was done (or stored) that was not. */
static void test_bad_results(void **state)
{
    static const francis_result odd[] = { FRANCIS_PENDING, FRANCIS_DONE, 3, 99, 100, 998, 9999, -1,
                                          -12345 };
    size_t i;
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", ta_add, NULL));
    for (i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        unsigned       logged = t_logged(&ta->log, 305);
        francis_result r = ta_do("num", "a", change_and_return, (void *)(intptr_t)odd[i]);
        if (r == FRANCIS_OK || r == FRANCIS_PENDING || francis_outcome(r) == FRANCIS_OUTCOME_DONE)
            fail_msg("%d becomes %s (%d)", odd[i], francis_result_name(r), r);
        assert_true(ta->last.error[0] != '\0');
        if (t_logged(&ta->log, 305) <= logged)
            fail_msg("%d is not logged", odd[i]);
        r = ta_look("num", "a", return_code, (void *)(intptr_t)odd[i]);
        if (r == FRANCIS_OK || r == FRANCIS_PENDING || francis_outcome(r) == FRANCIS_OUTCOME_DONE)
            fail_msg("peek: %d becomes %s (%d)", odd[i], francis_result_name(r), r);
        ta_num_is("num", "a", 1);
    }
    (void)ta_do("num", "a", await_and_return_ok, (void *)(intptr_t)FRANCIS_OK);
    (void)ta_do("num", "a", await_and_return_ok, (void *)(intptr_t)FRANCIS_ERR_USER);
    t_ok(ta_do("num", "a", await_badly, NULL));
    ta_num_is("num", "a", 1);
    assert_int_equal(ta_stored_n("num", "a"), 1);
    ta_close();
}

/* Catches: functions for turns that do something, or crash, outside of them. */
static void test_outside_of_turns(void **state)
{
    static const francis_actor_desc *types = ta_both;
    francis_call                     call = { 0 };
    (void)state;
    ta_open(NULL, types);
    assert_null(francis_state(ta->ctx));
    assert_null(francis_state_get(ta->ctx).data);
    t_result(francis_state_set(ta->ctx, "x", 1), FRANCIS_ERR_USAGE);
    t_result(francis_state_delete(ta->ctx), FRANCIS_ERR_USAGE);
    t_result(francis_state_expire(ta->ctx, 5), FRANCIS_ERR_USAGE);
    t_result(francis_reply(ta->ctx, "x", 1), FRANCIS_ERR_USAGE);
    t_result(francis_replyf(ta->ctx, "x%d", 1), FRANCIS_ERR_USAGE);
    t_result(francis_fail(ta->ctx, FRANCIS_ERR_USER + 1, "x%d", 1), FRANCIS_ERR_USER + 1);
    t_result(francis_fail_text(ta->ctx, FRANCIS_ERR_USER + 2, "x"), FRANCIS_ERR_USER + 2);
    t_result(francis_flush(ta->ctx, &call), FRANCIS_ERR_USAGE);
    t_result(francis_await(ta->ctx, fields_invoke, NULL), FRANCIS_ERR_USAGE);
    assert_int_equal(francis_defer(ta->ctx), 0);
    assert_int_equal(francis_expect(ta->ctx, &call), 0);
    t_result(call.result, FRANCIS_ERR_USAGE);
    assert_true(francis_interrupted(ta->ctx) == FRANCIS_OK ||
                francis_interrupted(ta->ctx) == FRANCIS_ERR_USAGE);
    t_result(francis_invoke(ta->ctx, NULL, NULL, "do", NULL, 0, &call), FRANCIS_ERR_INVALID);
    assert_true(call.error[0] != '\0');
    t_result(francis_state_write(ta->ctx, NULL, NULL, "x", 1, 0, &call), FRANCIS_ERR_INVALID);
    t_result(francis_purge(ta->ctx, NULL, NULL, &call), FRANCIS_ERR_INVALID);
    t_result(francis_halt(ta->ctx, NULL, NULL, &call), FRANCIS_ERR_INVALID);
    francis_call_free(&call);
    t_ok(ta_do("num", "a", ta_add, NULL));
    ta_close();
}

/* Catches: functions for one kind of state that are used with the other. */
static francis_result wrong_kind_struct(francis_ctx *ctx, void *arg)
{
    void *p = francis_state(ctx);
    (void)arg;
    ta_check(p != NULL && p == francis_state(ctx));
    ta_check((uintptr_t)p % alignof(max_align_t) == 0);
    return FRANCIS_OK;
}

static francis_result wrong_kind_bytes(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_state(ctx) == NULL);
    return FRANCIS_OK;
}

static void test_state_kinds(void **state)
{
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", wrong_kind_struct, NULL));
    t_ok(ta_look("num", "a", wrong_kind_struct, NULL));
    t_ok(ta_do("blob", "a", wrong_kind_bytes, NULL));
    t_ok(ta_look("blob", "a", wrong_kind_bytes, NULL));
    ta_close();
}

/* Catches: randomness that is none, or that does not come from the platform. */
static int counting_random(void *data, size_t size, void *user)
{
    (void)user;
    (void)memset(data, 0x42, size);
    return 0;
}

static francis_result draw(francis_ctx *ctx, void *arg)
{
    unsigned char a[32], b[32];
    (void)arg;
    (void)memset(a, 0, sizeof a);
    (void)memset(b, 0, sizeof b);
    ta_check(francis_random(ctx, a, sizeof a) == FRANCIS_OK);
    ta_check(francis_random(ctx, b, sizeof b) == FRANCIS_OK);
    ta_check(memcmp(a, b, sizeof a) != 0);
    return FRANCIS_OK;
}

static void test_random(void **state)
{
    static const francis_platform platform = { .version = 1, .random = counting_random };
    francis_host_desc             desc = { .platform = &platform };
    unsigned char                 a[8];
    (void)state;
    ta_open(NULL, ta_both);
    t_ok(ta_do("num", "a", draw, NULL));
    t_ok(ta_look("num", "a", draw, NULL));
    t_ok(francis_random(ta->ctx, a, 0));
    ta_close();
    ta->path[0] = '\0';
    ta_open(&desc, ta_both);
    t_ok(francis_random(ta->ctx, a, sizeof a));
    assert_memory_equal(a, "\x42\x42\x42\x42\x42\x42\x42\x42", 8);
    ta_close();
}

static const struct CMUnitTest tests[] = {
    TA_BOTH(test_fifo),
    TA_BOTH(test_exclusive),
    TA_BOTH(test_exclusive_await),
    TA_BOTH(test_peeks_overlap),
    TA_WORKERS(test_threads_overlap),
    TA_BOTH(test_actors_overlap),
    TA_BOTH(test_writer_not_starved),
    TA_BOTH(test_queue_reader_reader_writer_reader),
    TA_BOTH(test_waiting_call_keeps_its_place),
    TA_BOTH(test_writer_leaves_queue),
    TA_BOTH(test_cold_callers),
    TA_BOTH(test_peek_writes_nothing),
    TA_BOTH(test_peek_in_place),
    TA_BOTH(test_peek_nested_invoke),
    TA_BOTH(test_peek_reads),
    TA_BOTH(test_failed_struct),
    TA_BOTH(test_failed_struct_sizes),
    TA_BOTH(test_failed_bytes),
    TA_BOTH(test_refused_write_fails_turn),
    TA_BOTH(test_codes_pass),
    TA_BOTH(test_methods),
    TA_BOTH(test_rows),
    TA_BOTH(test_reply_is_durable),
    TA_BOTH(test_callback_is_durable),
    TA_BOTH(test_peek_waits_for_commit),
    TA_BOTH(test_read_only_turn_waits_for_commit),
    TA_BOTH(test_call_waits_for_earlier_turns),
    TA_BOTH(test_flush),
    TA_BOTH(test_flush_bytes),
    TA_BOTH(test_flush_waits_for_earlier_turns),
    TA_BOTH(test_ctx_fields),
    TA_BOTH(test_now),
    TA_BOTH(test_interrupted_deadline),
    TA_WORKERS(test_interrupted_stop),
    TA_WORKERS(test_interrupted_cancel),
    TA_BOTH(test_interrupted_halt),
    TA_BOTH(test_alloc),
    TA_BOTH(test_alignment),
    TA_BOTH(test_replies),
    TA_BOTH(test_copies),
    TA_BOTH(test_bad_results),
    TA_BOTH(test_outside_of_turns),
    TA_BOTH(test_state_kinds),
    TA_BOTH(test_random),
};

TA_MAIN(tests)
