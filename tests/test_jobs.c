/* Jobs: what is dispatched and what is kept of it, work that is done once, repetition, failure and
 * what becomes of it, cancelling and retrying, limits, and who has to wait for whom. */
#include "support/due.h"

#include <ctype.h>

#define J(...)          (&(const francis_job){ .type = "num", .method = "work", __VA_ARGS__ })
#define J_OF(t, ...)    (&(const francis_job){ .type = t, .method = "work", __VA_ARGS__ })
#define J_TO(m, ...)    (&(const francis_job){ .type = "num", .method = m, __VA_ARGS__ })
#define RUN(fn, arg)    .data = &(const ta_job){ fn, arg }, .size = sizeof(ta_job)
#define COUNT(table)    ((unsigned)(sizeof(table) / sizeof(table)[0]))

enum { JOB_FAILED = 502, JOB_DEAD = 503 };          /* log records */

static const francis_actor_desc types[] = {
    { DUE_TYPE("num"), .retry_delay_ms = 1000 },
    { DUE_TYPE("quick"), .retry_delay_ms = 20 },
    TA_END
};

typedef struct {
    char text[64];
} job_id;

/* The id that a dispatch or retry has brought; "" where the work is done already. */
static job_id id_of(const francis_call *call)
{
    job_id id = { "" };
    assert_non_null(call->data);
    assert_true(call->size == 0 || call->size == 36);
    (void)memcpy(id.text, call->data, call->size);
    return id;
}

static francis_result try(const francis_job *job)
{
    return francis_job_dispatch(ta->ctx, job, &ta->last);
}

static job_id dispatch(const francis_job *job)
{
    francis_result r = try(job);
    if (r != FRANCIS_OK)
        fail_msg("dispatch: %s: %s", francis_result_name(r), ta->last.error);
    return id_of(&ta->last);
}

static francis_result cancel(job_id id)
{
    return francis_job_cancel(ta->ctx, id.text, &ta->last);
}

static bool live(job_id id, due_item *out)
{
    return due_find(FRANCIS_LIST_JOBS, NULL, NULL, id.text, out);
}

static bool dead(job_id id, due_item *out)
{
    return due_find(FRANCIS_LIST_DEAD_JOBS, NULL, NULL, id.text, out);
}

static unsigned rows(const char *id)
{
    return due_rows(FRANCIS_LIST_JOBS, NULL, id);
}

static unsigned dead_rows(const char *id)
{
    return due_rows(FRANCIS_LIST_DEAD_JOBS, NULL, id);
}

/* Runs of this kind so far. */
static unsigned runs_of(francis_turn_kind kind)
{
    unsigned n = 0, count = due_count();
    for (unsigned i = 0; i < count; i++)
        n += due_at(i).kind == kind;
    return n;
}

static due_run last_run(void)
{
    return due_at(due_count() - 1);
}

static void says(const char *text, const char *word)
{
    if (strstr(text, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, word);
}

/* -- dispatch ---------------------------------------------------------------------------------- */

/* Milliseconds since 1970 in the first 48 bits of a UUIDv7, or the test fails. */
static int64_t time_of(const char *id)
{
    char hex[13];
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? id[i] != '-' : !isdigit((unsigned char)id[i]) && (id[i] < 'a' || id[i] > 'f'))
            fail_msg("%s is no UUID", id);
    }
    if (id[36] != '\0' || id[14] != '7' || strchr("89ab", id[19]) == NULL)
        fail_msg("%s is no UUIDv7", id);
    (void)memcpy(hex, id, 8);
    (void)memcpy(hex + 8, id + 9, 4);
    hex[12] = '\0';
    return (int64_t)strtoll(hex, NULL, 16);
}

/* Would catch: an option that is lost or mixed up; an id that is not what it should be. */
static void test_properties(void **state)
{
    static const char data[] = "a\0b";
    int64_t           before;
    due_item          i;
    job_id            id;
    (void)state;
    due_open(types);
    before = due_now();
    id = dispatch(J_TO("send", .id = "a", .data = data, .size = sizeof data,
                    .due_ms = DUE_FAR, .repeat = "90s", .until_ms = DUE_FAR + 600000,
                    .request_id = "order 7"));
    assert_true(live(id, &i));
    assert_string_equal(i.type, "num");
    assert_string_equal(i.id, "a");
    assert_string_equal(i.name, "send");
    assert_string_equal(i.job_id, id.text);
    assert_string_equal(i.request_id, "order 7");
    assert_string_equal(i.repeat, "PT1M30S");
    assert_int_equal(i.size, sizeof data);
    assert_memory_equal(i.text, data, sizeof data);
    assert_true(i.due_ms == DUE_FAR);
    assert_true(i.until_ms == DUE_FAR + 600000);
    assert_true(i.created_ms >= before && i.created_ms <= due_now());
    assert_true(time_of(id.text) >= before && time_of(id.text) <= due_now());
    assert_int_equal(i.status, FRANCIS_STATUS_WAITING);
    assert_int_equal(i.attempts, 0);
    assert_int_equal(i.failed_ms, 0);
    assert_string_equal(i.error, "");

    before = due_now();
    id = dispatch(J(.id = "a", .delay_ms = FRANCIS_HOURS(1)));
    assert_true(live(id, &i));
    assert_string_equal(i.request_id, "");
    assert_string_equal(i.name, "work");
    assert_string_equal(i.repeat, "");
    assert_int_equal(i.size, 0);
    assert_int_equal(i.until_ms, 0);
    assert_true(i.due_ms >= before + FRANCIS_HOURS(1) && i.due_ms <= due_now() + FRANCIS_HOURS(1));
    assert_int_equal(rows("a"), 2);
    assert_int_equal(due_rows(FRANCIS_LIST_ALARMS, NULL, NULL), 0);
    assert_int_equal(ta_stats().activations, 0);
    ta_close();
}

/* Would catch: a job that comes early, twice, not at all, or without what belongs to it. */
static void test_runs(void **state)
{
    int64_t due;
    job_id  id;
    due_run r;
    (void)state;
    due_open(types);
    due = due_now() + 300;
    id = dispatch(J_TO("send", .id = "a", .due_ms = due, .data = "hello", .size = 5));
    (void)dispatch(J(.id = "b"));
    due_until(due_count() == 2 && rows(NULL) == 0);
    assert_string_equal(due_at(0).id, "b");
    assert_int_equal(due_at(0).size, 0);
    r = due_at(1);
    assert_string_equal(r.type, "num");
    assert_string_equal(r.id, "a");
    assert_string_equal(r.name, "send");
    assert_string_equal(r.text, "hello");
    assert_int_equal(r.size, 5);
    assert_int_equal(r.kind, FRANCIS_JOB);
    assert_int_equal(r.attempt, 1);
    assert_int_equal(r.attempts_max, 3);
    assert_true(r.due_ms == due);
    assert_true(r.now_ms >= due);
    assert_string_equal(r.job_id, id.text);
    assert_true(r.request_id[0] != '\0');
    assert_string_not_equal(r.request_id, due_at(0).request_id);
    assert_string_equal(r.error, "");
    due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 1);
    due_until(ta_stats().jobs_done == 2);
    assert_int_equal(ta_stats().jobs_retried + ta_stats().jobs_dead, 0);
    assert_int_equal(dead_rows(NULL), 0);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Would catch: ids that are the same, or out of order, also when the clock goes back. */
static int by_text(const void *a, const void *b)
{
    return strcmp((const char *)a, (const char *)b);
}

static void test_ids(void **state)
{
    enum { BURST = 1000 };
    static job_id     ids[BURST];
    francis_host_desc desc = { .platform = ta_inline() ? &ta_clocks : &ta_wall };
    (void)state;
    due_open_with(desc, types);
    for (int i = 0; i < BURST; i++) {
        if (i == BURST / 2)
            (void)atomic_fetch_sub(&ta_wall_now, 5000);
        ids[i] = dispatch(J(.id = "a", .due_ms = DUE_FAR));
        (void)time_of(ids[i].text);
    }
    qsort(ids, BURST, sizeof ids[0], by_text);
    for (int i = 1; i < BURST; i++)
        assert_string_not_equal(ids[i - 1].text, ids[i].text);
    assert_int_equal(rows("a"), BURST);
    ta_close();
}

enum { MESSAGE_MAX = 100000 };

static char name_256[257];
static char bytes[MESSAGE_MAX + 1];

static const struct refusal {
    francis_job    j;
    francis_result result;
    const char    *word;
} refusals[] = {
    { { .type = "num", .id = "a" }, FRANCIS_ERR_INVALID, "method" },
    { { .type = "num", .id = "a", .method = name_256 }, FRANCIS_ERR_INVALID, "method" },
    { { .type = "num", .id = "", .method = "m" }, FRANCIS_ERR_INVALID, "id" },
    { { .type = "num", .id = "a/b", .method = "m" }, FRANCIS_ERR_INVALID, "id" },
    { { .type = "", .id = "a", .method = "m" }, FRANCIS_ERR_INVALID, "type" },
    { { .type = "num", .method = "m" }, FRANCIS_ERR_INVALID, "id" },
    { { .type = "francis.x", .id = "a", .method = "m" }, FRANCIS_ERR_RESERVED, "francis." },
    { { .type = "num", .id = "a", .method = "m", .size = 3 }, FRANCIS_ERR_INVALID, "data" },
    { { .type = "num", .id = "a", .method = "m", .data = bytes, .size = MESSAGE_MAX + 1 },
      FRANCIS_ERR_TOO_LARGE, "100001" },
    { { .type = "num", .id = "a", .method = "m", .due_ms = -1 }, FRANCIS_ERR_INVALID, "due_ms" },
    { { .type = "num", .id = "a", .method = "m", .delay_ms = -1 }, FRANCIS_ERR_INVALID,
      "delay_ms" },
    { { .type = "num", .id = "a", .method = "m", .due_ms = DUE_FAR, .delay_ms = 5 },
      FRANCIS_ERR_INVALID, "delay_ms" },
    { { .type = "num", .id = "a", .method = "m", .repeat = "often" }, FRANCIS_ERR_INVALID,
      "often" },
    { { .type = "num", .id = "a", .method = "m", .repeat = "PT0S" }, FRANCIS_ERR_INVALID, "PT0S" },
    { { .type = "num", .id = "a", .method = "m", .repeat = "0 0 30 2 *" }, FRANCIS_ERR_INVALID,
      "0 0 30 2 *" },
    { { .type = "num", .id = "a", .method = "m", .repeat_ms = -1 }, FRANCIS_ERR_INVALID,
      "repeat_ms" },
    { { .type = "num", .id = "a", .method = "m", .repeat = "1h", .repeat_ms = 5 },
      FRANCIS_ERR_INVALID, "repeat_ms" },
    { { .type = "num", .id = "a", .method = "m", .repeat = "1h", .until_ms = -1 },
      FRANCIS_ERR_INVALID, "until_ms" },
    { { .type = "num", .id = "a", .method = "m", .request_id = name_256 }, FRANCIS_ERR_INVALID,
      "request_id" },
    { { .type = "deaf", .id = "a", .method = "m" }, FRANCIS_ERR_UNKNOWN_METHOD, "m" },
    { { .type = "hears", .id = "a", .method = "m" }, FRANCIS_ERR_UNKNOWN_METHOD, "m" },
};

static const francis_job accepted[] = {
    { .type = "num", .id = "a", .method = "m", .due_ms = INT64_C(253402300799999) },
    { .type = "num", .id = "a", .method = "m", .due_ms = DUE_FAR, .repeat_ms = 1 },
    { .type = "num", .id = "a", .method = "m", .due_ms = DUE_FAR, .data = bytes,
      .size = MESSAGE_MAX },
    { .type = "num", .id = "a", .method = "m", .due_ms = DUE_FAR, .until_ms = 1, .repeat = "1h" },
    { .type = "nobody serves it", .id = "a", .method = "m", .due_ms = DUE_FAR },
    { .type = "hears", .id = "a", .method = "bell", .due_ms = DUE_FAR },
    { .type = "num", .id = "a", .method = "'; DROP TABLE x; \xc3\xa9", .due_ms = DUE_FAR,
      .request_id = "100% 'sure'\n" },
};

static const francis_method hears_methods[] = {
    { "bell", due_handler, FRANCIS_JOB, 0 },
    { "m", due_handler, FRANCIS_ALARM, 0 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc strict[] = {
    { DUE_TYPE("num") },
    { .type = "deaf", .methods = ta_methods, .state_size = sizeof(ta_number),
      .alarm = due_handler },
    { .type = "hears", .methods = hears_methods, .state_size = sizeof(ta_number) },
    TA_END
};

static void open_strict(void)
{
    francis_host_desc desc = { .message_bytes_max = MESSAGE_MAX };
    (void)memset(name_256, 'n', 256);
    due_open_with(desc, strict);
}

static francis_result dispatch_refused(francis_ctx *ctx, void *arg)
{
    const struct refusal *x = (const struct refusal *)arg;
    francis_call          call = { 0 };
    (void)ta_add(ctx, NULL);
    ta_check(francis_job_dispatch(ctx, &x->j, &call) == x->result);
    ta_check(strstr(call.error, x->word) != NULL);
    return FRANCIS_OK;
}

/* Would catch: a check that is missing, outside or in a turn, or does not say what is wrong. */
static void test_validation(void **state)
{
    (void)state;
    open_strict();
    for (unsigned i = 0; i < COUNT(refusals); i++) {
        francis_result r = try(&refusals[i].j);
        if (r != refusals[i].result)
            fail_msg("refusal %u (%s): %s", i, refusals[i].word, francis_result_name(r));
        says(ta->last.error, refusals[i].word);
        if (refusals[i].j.id == NULL)
            continue;
        r = ta_do("num", "a", dispatch_refused, (void *)(uintptr_t)&refusals[i]);
        if (r != refusals[i].result)
            fail_msg("refusal %u in a turn: %s", i, francis_result_name(r));
    }
    assert_int_equal(rows(NULL), 0);
    ta_num_is("num", "a", 0);
    for (unsigned i = 0; i < COUNT(accepted); i++) {
        due_item item;
        job_id   id = dispatch(&accepted[i]);
        assert_true(live(id, &item));
        assert_string_equal(item.name, accepted[i].method);
        assert_string_equal(item.request_id,
                            accepted[i].request_id != NULL ? accepted[i].request_id : "");
        assert_true(item.due_ms == accepted[i].due_ms);
        assert_int_equal(item.size, accepted[i].size);
    }
    assert_int_equal(due_count(), 0);
    ta_close();
}

static void test_async(void **state)
{
    francis_call *call;
    (void)state;
    due_open(types);
    call = ta_new();
    call->async = true;
    t_result(francis_job_dispatch(ta->ctx, J(.id = "a", .due_ms = DUE_FAR), call), FRANCIS_PENDING);
    t_ok(ta_end(call));
    assert_true(live(id_of(call), NULL));
    ta_close();
}

/* -- out of turns ------------------------------------------------------------------------------ */

typedef struct {
    const char    *ops;             /* s own, b of b, + add, f flush, c cancel the first of them,
                                       ! fails */
    job_id         ids[4];
    unsigned       count;
} sending;

static francis_result send_jobs(francis_ctx *ctx, void *arg)
{
    sending *s = (sending *)arg;
    s->count = 0;
    for (const char *op = s->ops; *op != '\0'; op++) {
        francis_job    own = { .method = "own", .due_ms = DUE_FAR };
        francis_call   call = { 0 };
        francis_result r = FRANCIS_OK;
        if (*op == 'b') {
            own.type = "quick";
            own.id = "b";
        }
        switch (*op) {
        case 's':
        case 'b':
            r = francis_job_dispatch(ctx, &own, &call);
            ta_check(call.size == 36);
            if (call.size == 36)
                (void)memcpy(s->ids[s->count++].text, call.data, 36);
            break;
        case '+': r = ta_add(ctx, NULL); break;
        case 'f': r = francis_flush(ctx, NULL); break;
        case 'c': r = francis_job_cancel(ctx, s->ids[0].text, NULL); break;
        default:  return FRANCIS_ERR_USER;
        }
        ta_check(r == FRANCIS_OK);
    }
    return FRANCIS_OK;
}

/* Would catch: a message that is sent although its turn has failed, or is lost although it has not:
 * state and job are one. */
static void test_outbox(void **state)
{
    static const struct {
        const char *ops;
        unsigned    own, b;         /* how many there are of them then */
        int64_t     n;
    } list[] = {
        { "s+b", 1, 1, 1 }, { "s+b!", 1, 1, 1 }, { "!", 1, 1, 1 }, { "+sb", 2, 2, 2 },
        { "+sf+b!", 3, 2, 3 }, { "s+c", 3, 2, 4 }, { "ss+fc", 4, 2, 5 }, { "sfc!", 5, 2, 5 },
    };
    static sending s;
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(list); i++) {
        bool fails = strchr(list[i].ops, '!') != NULL;
        s.ops = list[i].ops;
        t_result(ta_do("num", "a", send_jobs, &s), fails ? FRANCIS_ERR_USER : FRANCIS_OK);
        if (rows("a") != list[i].own || rows("b") != list[i].b)
            fail_msg("%s: %u, %u", list[i].ops, rows("a"), rows("b"));
        ta_num_is("num", "a", list[i].n);
        if (i == 0) {               /* the ids of inside are those */
            due_item item;
            assert_true(live(s.ids[0], &item));
            assert_string_equal(item.id, "a");
            assert_true(live(s.ids[1], &item));
            assert_string_equal(item.type, "quick");
        }
    }
    ta_close();
}

static francis_result dispatch_in_peek(francis_ctx *ctx, void *arg)
{
    const job_id *id = (const job_id *)arg;
    ta_check(francis_job_dispatch(ctx, J(.id = "b"), NULL) == FRANCIS_ERR_READ_ONLY);
    ta_check(francis_job_cancel(ctx, id->text, NULL) == FRANCIS_ERR_READ_ONLY);
    ta_check(francis_job_retry(ctx, id->text, NULL) == FRANCIS_ERR_READ_ONLY);
    return FRANCIS_OK;
}

static void test_peek(void **state)
{
    job_id id;
    (void)state;
    due_open(types);
    id = dispatch(J(.id = "a", .due_ms = DUE_FAR));
    t_result(ta_look("num", "a", dispatch_in_peek, &id), FRANCIS_ERR_READ_ONLY);
    assert_int_equal(rows(NULL), 1);
    ta_close();
}

/* Would catch: a chain of jobs, each of which is sent by the last one's turn, that breaks or
 * branches. */
static francis_result hop(francis_ctx *ctx, void *arg)
{
    atomic_int *left = (atomic_int *)arg;
    ta_job      job = { hop, arg };
    char        id[16];
    int         n = atomic_fetch_sub(left, 1);
    (void)snprintf(id, sizeof id, "h%d", n % 5);
    if (n > 1)
        ta_check(francis_job_dispatch(ctx, J(.id = id, .data = &job, .size = sizeof job), NULL) ==
                 FRANCIS_OK);
    return ta_add(ctx, NULL);
}

static void test_chain(void **state)
{
    static atomic_int left;
    (void)state;
    due_open(types);
    atomic_store(&left, 200);
    (void)dispatch(J(.id = "h0", RUN(hop, &left)));
    due_until(due_count() == 200 && rows(NULL) == 0);
    due_until(ta_stats().jobs_done == 200);
    ta_close();
}

/* -- request ids ------------------------------------------------------------------------------- */

static francis_result call_with_id(const char *id, const char *request_id, ta_fn fn, void *arg)
{
    ta_job job = { fn, arg };
    ta->last.request_id = request_id;
    return francis_invoke(ta->ctx, "num", id, "do", &job, sizeof job, &ta->last);
}

/* Would catch: work that is done twice, or not at all, under one id; other work taken for it. */
static void test_request_ids(void **state)
{
    const francis_job one = { .type = "num", .id = "a", .method = "work", .data = "x", .size = 1,
                              .request_id = "r", .due_ms = DUE_FAR };
    francis_job       other = one;
    job_id            id, again;
    (void)state;
    due_open(types);
    id = dispatch(&one);
    again = dispatch(&one);
    assert_string_equal(id.text, again.text);
    other.due_ms = 0;                                       /* the first one wins */
    other.repeat = "1h";
    again = dispatch(&other);
    assert_string_equal(id.text, again.text);
    other = one;
    other.method = "play";
    t_result(try(&other), FRANCIS_ERR_EXISTS);
    other = one;
    other.data = "y";
    t_result(try(&other), FRANCIS_ERR_EXISTS);
    other = one;
    other.id = "b";                                         /* another actor's */
    again = dispatch(&other);
    assert_string_not_equal(id.text, again.text);
    assert_int_equal(rows("a"), 1);
    assert_int_equal(rows("b"), 1);
    /* free again when it is cancelled */
    t_ok(cancel(id));
    again = dispatch(&one);
    assert_string_not_equal(id.text, again.text);
    t_ok(cancel(again));
    /* done: never again */
    other = one;
    other.due_ms = 0;
    (void)dispatch(&other);
    due_until(due_count() == 1 && rows("a") == 0);
    assert_string_equal(due_at(0).request_id, "r");
    assert_string_equal(dispatch(&other).text, "");
    assert_string_equal(dispatch(&one).text, "");
    other.data = "y";
    t_result(try(&other), FRANCIS_ERR_EXISTS);
    due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 1);
    ta_num_is("num", "a", 1);
    ta_close();
    due_open(types);                                        /* nor after a restart */
    assert_string_equal(dispatch(&one).text, "");
    assert_int_equal(rows("a"), 0);
    ta_close();
}

/* Would catch: a call and a job of the same id and work that both do it. */
static void test_request_id_of_call(void **state)
{
    static const ta_job job = { ta_add, NULL };
    const francis_job   same = { .type = "num", .id = "a", .method = "do", .data = &job,
                                 .size = sizeof job, .request_id = "r" };
    francis_job         later = same;
    (void)state;
    due_open(types);
    /* the call first */
    t_ok(call_with_id("a", "r", ta_add, NULL));
    assert_string_equal(dispatch(&same).text, "");
    /* the job first: its reply is the call's */
    later.id = "b";
    (void)dispatch(&later);
    due_until(due_count() == 1 && rows(NULL) == 0);
    t_ok(call_with_id("b", "r", ta_add, NULL));
    assert_int_equal(ta_int(&ta->last), 1);
    t_result(call_with_id("b", "r", ta_get, NULL), FRANCIS_ERR_EXISTS);
    /* the call while the job waits: the job finds it done */
    later.id = "c";
    later.delay_ms = 500;
    (void)dispatch(&later);
    t_ok(call_with_id("c", "r", ta_add, NULL));
    due_until(rows(NULL) == 0);
    ta->last.request_id = NULL;
    due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 0);
    assert_int_equal(due_count_of("c", NULL), 0);
    ta_num_is("num", "a", 1);
    ta_num_is("num", "b", 1);
    ta_num_is("num", "c", 1);
    assert_int_equal(dead_rows(NULL), 0);
    ta_close();
}

static francis_result dispatch_twice(francis_ctx *ctx, void *arg)
{
    francis_call one = { 0 }, two = { 0 };
    (void)arg;
    ta_check(francis_job_dispatch(ctx, J(.id = "b", .request_id = "t"), &one) == FRANCIS_OK);
    ta_check(francis_job_dispatch(ctx, J(.id = "b", .request_id = "t"), &two) == FRANCIS_OK);
    ta_check(one.size == 36 && two.size == 36 && memcmp(one.data, two.data, 36) == 0);
    return FRANCIS_OK;
}

/* Would catch: two jobs of one id in a turn; a repetition whose second time seems done already; an
 * id that a dead job keeps. */
static void test_request_id_cases(void **state)
{
    static due_failure f = { 1, FRANCIS_ERR_PERMANENT };
    const francis_job  failing = { .type = "num", .id = "d", .method = "work", .request_id = "r",
                                   RUN(due_fail, &f) };
    job_id             id, again;
    (void)state;
    atomic_store(&f.left, 1);
    due_open(types);
    t_ok(ta_do("num", "a", dispatch_twice, NULL));
    due_until(due_count() == 1 && rows(NULL) == 0);
    t_ok(ta_do("num", "a", ta_nothing, NULL));
    ta_num_is("num", "b", 1);

    id = dispatch(J(.id = "c", .repeat_ms = 100, .request_id = "r"));
    due_until(due_count_of("c", NULL) >= 4);
    assert_string_equal(dispatch(J(.id = "c", .repeat_ms = 100, .request_id = "r")).text, id.text);
    t_ok(cancel(id));
    t_ok(ta_do("num", "c", ta_get, NULL));
    assert_true(ta_int(&ta->last) >= 4);

    id = dispatch(&failing);
    due_until(dead(id, NULL));
    again = dispatch(&failing);
    assert_string_not_equal(again.text, id.text);
    due_until(rows(NULL) == 0);
    ta_num_is("num", "d", 1);
    assert_true(dead(id, NULL));
    ta_close();
}

/* Would catch: a race of many who dispatch the same that more than one wins. */
enum { RACERS = 4, RACES = 60 };

static job_id raced[RACERS][RACES];

static void *race(void *arg)
{
    const int me = *(const int *)arg;
    for (int i = 0; i < RACES; i++) {
        char         request_id[16];
        francis_call call = { 0 };
        (void)snprintf(request_id, sizeof request_id, "r%d", i);
        ta_check(francis_job_dispatch(ta->ctx, J(.id = "a", .request_id = request_id,
                                                 .delay_ms = 50), &call) == FRANCIS_OK);
        if (call.size == 36)
            (void)memcpy(raced[me][i].text, call.data, 36);
        francis_call_free(&call);
    }
    return NULL;
}

static void test_request_id_race(void **state)
{
    static const francis_actor_desc remembering[] = {
        { DUE_TYPE("num"), .requests_kept_max = 1000 }, TA_END
    };
    static int me[RACERS];
    pthread_t  threads[RACERS];
    (void)state;
    (void)memset(raced, 0, sizeof raced);
    due_open(remembering);
    for (int i = 0; i < RACERS; i++) {
        me[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &me[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    due_until(rows(NULL) == 0);
    for (int i = 0; i < RACES; i++) {
        const char *first = NULL;
        for (int k = 0; k < RACERS; k++) {
            if (raced[k][i].text[0] == '\0')                /* it was done by then */
                continue;
            if (first == NULL)
                first = raced[k][i].text;
            assert_string_equal(raced[k][i].text, first);
        }
        assert_non_null(first);
    }
    ta_num_is("num", "a", RACES);
    assert_int_equal(due_count(), RACES);
    ta_close();
}

/* -- repetition -------------------------------------------------------------------------------- */

/* Would catch: a series that does not begin, drifts, or does not end. */
static void test_repeat(void **state)
{
    enum { S = 1000, M = 60 * S };
    static const struct {
        const char *repeat;
        int64_t     repeat_ms, due, delay, until, pass;
        unsigned    count;
        int64_t     times[6];
    } list[] = {
        { "10s", 0, 0, 0, 0, 25000, 3, { 0, 10000, 20000 } },   /* the first one at once */
        { NULL, 10000, 5000, 0, 0, 25000, 3, { 5000, 15000, 25000 } },
        { "PT10S", 0, 0, 5000, 15000, 60000, 2, { 5000, 15000 } },
        { "PT10S", 0, 5000, 0, 14999, 60000, 1, { 5000 } },
        { "*/5 * * * *", 0, 0, 0, 0, 11 * M, 2, { 5 * M, 10 * M } },
        { "*/5 * * * *", 0, 0, 1000, 0, 6 * M, 2, { 1000, 5 * M } },
        { "@every 90s", 0, 1000, 0, 0, 3 * M, 2, { 1000, 91000 } },
    };
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(list); i++) {
        int64_t  base = due_now();
        job_id   id = dispatch(J(.id = "a", .repeat = list[i].repeat, .delay_ms = list[i].delay,
                                 .repeat_ms = list[i].repeat_ms,
                                 .due_ms = list[i].due > 0 ? base + list[i].due : 0,
                                 .until_ms = list[i].until > 0 ? base + list[i].until : 0));
        char     what[32];
        unsigned n;
        (void)snprintf(what, sizeof what, "case %u", i);
        due_pass_by(list[i].pass, 100);
        for (n = 0; n < due_count(); n++) {
            assert_string_equal(due_at(n).job_id, id.text);
            assert_int_equal(due_at(n).attempt, 1);
        }
        due_were(what, base, list[i].times, list[i].count);
        assert_true(live(id, NULL) == (list[i].until == 0));
        if (list[i].until == 0) {
            t_ok(cancel(id));
            due_pass_by(10 * M, 1000);
            assert_int_equal(due_count(), 0);
        }
        due_pass_by(60 * M - (due_now() - DUE_START) % (60 * M), 1000);     /* a full hour */
    }
    ta_close();
}

/* -- failure ----------------------------------------------------------------------------------- */

/* Would catch: attempts that are lost in a restart, that have other names, that come at once. */
static void test_retries(void **state)
{
    static due_failure f;
    due_item           i;
    job_id             id;
    (void)state;
    due_open(types);
    atomic_store(&f.left, 2);
    id = dispatch(J(.id = "a", .due_ms = DUE_START + 100, RUN(due_fail, &f)));
    due_pass(100);
    assert_true(live(id, &i));
    assert_int_equal(i.attempts, 1);
    assert_int_equal(i.status, FRANCIS_STATUS_RETRYING);
    assert_string_equal(i.error, "attempt 1 of a");
    assert_int_equal(ta_stats().jobs_retried, 1);
    assert_int_equal(t_logged(&ta->log, JOB_FAILED), 1);
    ta_close();
    due_open(types);
    assert_true(live(id, &i));
    assert_int_equal(i.attempts, 1);
    due_pass(899);
    assert_int_equal(due_count(), 1);
    due_until(due_count() == 2);
    due_pass(1349);
    assert_int_equal(due_count(), 2);
    due_pass(302);
    assert_int_equal(due_count(), 3);
    for (unsigned k = 0; k < 3; k++) {
        assert_int_equal(due_at(k).attempt, k + 1);
        assert_true(due_at(k).due_ms == DUE_START + 100);
        assert_string_equal(due_at(k).request_id, due_at(0).request_id);
        assert_string_equal(due_at(k).job_id, id.text);
    }
    assert_false(live(id, NULL) || dead(id, NULL));
    assert_int_equal(ta_stats().jobs_done, 1);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Would catch: one execution too many or too few, a dead letter without what is needed to judge it,
 * a hook that does not come or does not know. */
static void test_death(void **state)
{
    static const struct {
        francis_result with;
        uint32_t       attempts;
    } list[] = { { FRANCIS_ERR_USER + 3, 3 }, { FRANCIS_ERR_PERMANENT, 1 },
                 { FRANCIS_ERR_NOT_FOUND, 3 } };
    static due_failure f;
    (void)state;
    due_open(types);
    for (unsigned k = 0; k < COUNT(list); k++) {
        francis_stats before = ta_stats();
        int64_t       began = due_now();
        char          error[32];
        due_item      i;
        due_run       r;
        job_id        id;
        due_forget();
        atomic_store(&f.left, 100);
        f.with = list[k].with;
        (void)snprintf(error, sizeof error, "attempt %u of a", list[k].attempts);
        id = dispatch(&(const francis_job){ .type = "quick", .id = "a", .method = "send",
                                             RUN(due_fail, &f) });
        due_until(runs_of(FRANCIS_JOB_FAILED) == 1);
        assert_false(live(id, NULL));
        assert_true(dead(id, &i));
        assert_string_equal(i.type, "quick");
        assert_string_equal(i.id, "a");
        assert_string_equal(i.name, "send");
        assert_string_equal(i.job_id, id.text);
        assert_string_equal(i.error, error);
        assert_int_equal(i.attempts, list[k].attempts);
        assert_int_equal(i.status, FRANCIS_STATUS_DEAD);
        assert_int_equal(i.size, sizeof(ta_job));
        assert_true(i.failed_ms >= began && i.failed_ms <= due_now());
        assert_true(i.created_ms >= began && i.created_ms <= i.failed_ms);
        assert_int_equal(due_count(), list[k].attempts + 1);
        r = last_run();
        assert_int_equal(r.kind, FRANCIS_JOB_FAILED);
        assert_string_equal(r.name, "send");
        assert_string_equal(r.job_id, id.text);
        assert_int_equal(r.result, list[k].with);
        assert_string_equal(r.error, error);
        assert_int_equal(r.size, sizeof(ta_job));
        assert_true(r.due_ms == due_at(0).due_ms);
        assert_int_equal(ta_stats().jobs_dead, before.jobs_dead + 1);
        assert_int_equal(ta_stats().jobs_retried, before.jobs_retried + list[k].attempts - 1);
        assert_int_equal(ta_stats().jobs_done, before.jobs_done);
        due_until(t_logged(&ta->log, JOB_DEAD) == k + 1);
        due_quiet("quick");
        assert_int_equal(due_count_of("a", NULL), list[k].attempts + 1);
        ta_num_is("quick", "a", 0);
        t_ok(cancel(id));                                   /* a dead one is forgotten */
        assert_false(dead(id, NULL));
        t_result(cancel(id), FRANCIS_ERR_NOT_FOUND);
    }
    ta_close();
}

/* Would catch: a hook that is chosen wrongly, that fails and is forgotten, that goes on for ever,
 * or whose writes are lost. */
static atomic_int bad_hooks;

static francis_result hook(francis_ctx *ctx)
{
    due_write_down(ctx);
    if (atomic_fetch_sub(&bad_hooks, 1) > 0)
        return francis_fail(ctx, FRANCIS_ERR_USER, "not now");
    ((ta_number *)francis_state(ctx))->m += 100;
    return FRANCIS_OK;
}

static francis_result get_m(francis_ctx *ctx, void *arg)
{
    const ta_number *s = (const ta_number *)francis_state(ctx);
    (void)arg;
    return s == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, &s->m, sizeof s->m);
}

static const francis_method hook_methods[] = {
    { "do", ta_handler, FRANCIS_INVOKE, sizeof(ta_job) },
    { "special", hook, FRANCIS_JOB_FAILED, 0 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc hooked[] = {
    { .type = "num", .methods = hook_methods, .state_size = sizeof(ta_number), .alarm = due_handler,
      .job = due_handler, .job_failed = due_failed, .retry_delay_ms = 20 },
    { .type = "bare", .methods = ta_methods, .state_size = sizeof(ta_number), .job = due_handler,
      .retry_delay_ms = 20 },
    TA_END
};

static void test_hook(void **state)
{
    static due_failure f = { 1000, FRANCIS_ERR_PERMANENT };
    unsigned           n;
    job_id             id;
    (void)state;
    due_open(hooked);
    atomic_store(&f.left, 1000);
    atomic_store(&bad_hooks, 0);
    (void)dispatch(J_TO("plain", .id = "a", RUN(due_fail, &f)));
    due_until(runs_of(FRANCIS_JOB_FAILED) == 1);
    (void)dispatch(J_TO("special", .id = "a", RUN(due_fail, &f)));
    due_until(runs_of(FRANCIS_JOB_FAILED) == 2);
    due_until((t_ok(ta_do("num", "a", get_m, NULL)), ta_int(&ta->last) == 100));
    /* it fails twice, then it is done */
    atomic_store(&bad_hooks, 2);
    due_forget();
    (void)dispatch(J_TO("special", .id = "b", RUN(due_fail, &f)));
    due_until(runs_of(FRANCIS_JOB_FAILED) == 3);
    for (n = 1; n <= 3; n++) {
        assert_int_equal(due_at(n).attempt, n);
        assert_string_equal(due_at(n).request_id, due_at(1).request_id);
    }
    due_until((t_ok(ta_do("num", "b", get_m, NULL)), ta_int(&ta->last) == 100));
    /* it always fails: so often, and no more; the dead letter stays */
    atomic_store(&bad_hooks, 1000);
    due_forget();
    id = dispatch(J_TO("special", .id = "c", RUN(due_fail, &f)));
    due_until(runs_of(FRANCIS_JOB_FAILED) == 3);
    due_quiet("num");
    assert_int_equal(due_count_of("c", NULL), 4);
    assert_true(dead(id, NULL));
    assert_int_equal(rows(NULL), 0);
    /* a type without */
    due_forget();
    id = dispatch(J_OF("bare", .id = "a", RUN(due_fail, &f)));
    due_until(dead(id, NULL));
    due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 1);
    ta_close();
}

/* Would catch: a hook that was due when the host ended, and never comes. */
static void test_hook_after_restart(void **state)
{
    static due_failure f = { 1000, FRANCIS_ERR_PERMANENT };
    (void)state;
    due_open(hooked);
    atomic_store(&f.left, 1000);
    atomic_store(&bad_hooks, 1);
    (void)dispatch(J_TO("special", .id = "a", RUN(due_fail, &f)));
    due_until(runs_of(FRANCIS_JOB_FAILED) == 1);
    ta_close();
    due_away(10000);
    due_open(hooked);
    due_until((t_ok(ta_do("num", "a", get_m, NULL)), ta_int(&ta->last) == 100));
    assert_int_equal(last_run().attempt, 2);                /* the host may have ended in one */
    assert_int_equal(last_run().result, FRANCIS_ERR_PERMANENT);
    assert_string_equal(last_run().error, "attempt 1 of a");
    due_quiet("num");
    assert_in_range(runs_of(FRANCIS_JOB_FAILED), 2, due_by_hand() ? 2 : 3);
    t_ok(ta_do("num", "a", get_m, NULL));
    assert_int_equal(ta_int(&ta->last), 100);
    ta_close();
}

/* Would catch: a hook that cannot bring its job back. */
static francis_result revive(francis_ctx *ctx)
{
    due_write_down(ctx);
    return francis_job_retry(ctx, ctx->job_id, NULL);
}

static void test_hook_revives(void **state)
{
    static const francis_actor_desc reviving[] = {
        { .type = "num", .methods = ta_methods, .state_size = sizeof(ta_number),
          .job = due_handler, .job_failed = revive }, TA_END
    };
    static due_failure f = { 2, FRANCIS_ERR_PERMANENT };
    (void)state;
    atomic_store(&f.left, 2);
    due_open(reviving);
    (void)dispatch(J(.id = "a", RUN(due_fail, &f)));
    due_until(ta_stats().jobs_done == 1);
    assert_int_equal(runs_of(FRANCIS_JOB_FAILED), 2);
    assert_int_equal(rows(NULL) + dead_rows(NULL), 0);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Would catch: a repetition that ends with one bad job, or a job that is both dead and alive. */
static void test_death_of_repeated(void **state)
{
    static due_failure f;
    due_item           i, next;
    job_id             id, id2;
    (void)state;
    due_open(types);
    for (int permanent = 0; permanent < 2; permanent++) {
        int64_t base = due_now();
        due_forget();
        atomic_store(&f.left, permanent ? 1 : 3);
        f.with = permanent ? FRANCIS_ERR_PERMANENT : FRANCIS_ERR_USER;
        id = dispatch(J(.id = "a", .due_ms = base + 1000, .repeat = "20s", RUN(due_fail, &f)));
        due_pass(15000);
        assert_false(live(id, NULL));
        assert_true(dead(id, &i));
        assert_int_equal(i.attempts, permanent ? 1 : 3);
        assert_string_equal(i.repeat, "PT20S");
        assert_true(i.due_ms == base + 1000);
        assert_int_equal(rows("a"), 1);
        assert_true(due_find(FRANCIS_LIST_JOBS, "num", "a", NULL, &next));
        assert_string_not_equal(next.job_id, id.text);
        assert_true(next.due_ms == base + 21000);
        assert_int_equal(next.attempts, 0);
        assert_string_equal(next.error, "");
        assert_string_equal(next.repeat, "PT20S");
        due_pass(27000);
        assert_true(last_run().due_ms == base + 41000);
        assert_string_equal(last_run().job_id, next.job_id);
        (void)strcpy(id2.text, next.job_id);
        t_ok(cancel(id2));
        t_ok(cancel(id));
    }
    ta_num_is("num", "a", 4);
    /* the last one of a repetition */
    due_forget();
    atomic_store(&f.left, 1);
    id = dispatch(J(.id = "b", .due_ms = due_now() + 1000, .repeat = "20s",
                    .until_ms = due_now() + 20000, RUN(due_fail, &f)));
    due_pass(30000);
    assert_true(dead(id, NULL));
    assert_int_equal(rows("b"), 0);
    ta_close();
}

/* Would catch: a rejection that costs an attempt, that comes back at once, or that ends the job. */
static void test_rejected(void **state)
{
    static due_failure f = { 5, FRANCIS_ERR_REJECTED };
    francis_stats      before;
    due_item           i;
    job_id             id;
    (void)state;
    due_open(types);
    before = ta_stats();
    atomic_store(&f.left, 5);
    id = dispatch(J(.id = "a", RUN(due_fail, &f)));
    due_pass(1);
    assert_int_equal(due_count(), 1);
    assert_true(live(id, &i));
    assert_int_equal(i.attempts, 0);
    assert_int_equal(ta_stats().active, 0);                 /* it was sent away */
    due_pass(1498);
    assert_int_equal(due_count(), 1);
    due_pass(60000);
    assert_int_equal(due_count(), 6);
    for (unsigned k = 0; k < 6; k++) {
        assert_int_equal(due_at(k).attempt, 1);
        assert_string_equal(due_at(k).job_id, id.text);
        if (k > 0)
            assert_true(due_at(k).now_ms - due_at(k - 1).now_ms >= 1500);
    }
    assert_false(live(id, NULL) || dead(id, NULL));
    assert_int_equal(ta_stats().jobs_done, before.jobs_done + 1);
    assert_int_equal(ta_stats().jobs_dead, 0);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Would catch: a handler that sends its actor to sleep and fails, and whose job is then lost or
 * runs again. */
static francis_result halt_and_fail(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_halt(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    return francis_fail(ctx, FRANCIS_ERR_PERMANENT, "no");
}

static francis_result halt_and_add(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_halt(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    return ta_add(ctx, NULL);
}

static void test_halt_inside(void **state)
{
    job_id id;
    (void)state;
    due_open(types);
    id = dispatch(J(.id = "a", RUN(halt_and_fail, NULL)));
    due_until(dead(id, NULL) && runs_of(FRANCIS_JOB_FAILED) == 1);
    assert_int_equal(runs_of(FRANCIS_JOB), 1);
    (void)dispatch(J(.id = "a", RUN(halt_and_add, NULL)));
    due_until(ta_stats().jobs_done == 1);
    due_quiet("num");
    assert_int_equal(runs_of(FRANCIS_JOB), 2);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Would catch: a job whose method is gone and that is tried for ever. */
static void test_no_handler_any_more(void **state)
{
    static const francis_actor_desc deaf[] = {
        { .type = "num", .methods = ta_methods, .state_size = sizeof(ta_number),
          .alarm = due_handler },   /* it has none for jobs */
        TA_END
    };
    static const francis_actor_desc others[] = { { DUE_TYPE("other") }, TA_END };
    due_item i;
    job_id   id;
    (void)state;
    due_open(others);
    id = dispatch(J(.id = "a"));                            /* nobody serves it */
    due_quiet("other");
    assert_true(live(id, NULL));
    ta_close();
    due_open(deaf);
    due_until(dead(id, &i));
    assert_true(i.error[0] != '\0');
    assert_false(live(id, NULL));
    assert_int_equal(ta_stats().jobs_dead, 1);
    /* and when there is one again it can be brought back */
    ta_close();
    due_open(types);
    t_ok(francis_job_retry(ta->ctx, id.text, &ta->last));
    due_until(ta_stats().jobs_done == 1);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* -- cancel and retry -------------------------------------------------------------------------- */

static francis_result ask_and_add(francis_ctx *ctx, void *arg)
{
    francis_result r = francis_interrupted(ctx);
    (void)arg;
    ta_check(r == FRANCIS_ERR_CANCELLED);
    (void)ta_add(ctx, NULL);
    return FRANCIS_OK;              /* it does not care, and does not count */
}

/* Would catch: a cancelled job that runs, whose effect counts, that comes back, or that is among
 * the dead. */
static void test_cancel(void **state)
{
    static ta_gate      gate;
    static due_failure  f;
    static const ta_job held = { ta_hold, &gate };
    job_id              id;
    (void)state;
    due_open(types);
    t_result(francis_job_cancel(ta->ctx, "01890a5d-ac96-774b-bcce-b302099a8057", &ta->last),
             FRANCIS_ERR_NOT_FOUND);
    t_result(francis_job_cancel(ta->ctx, NULL, &ta->last), FRANCIS_ERR_INVALID);
    /* it waits */
    id = dispatch(J(.id = "a", .delay_ms = 400));
    t_ok(cancel(id));
    assert_false(live(id, NULL));
    t_result(cancel(id), FRANCIS_ERR_NOT_FOUND);
    if (due_by_hand())
        due_pass(1000);
    else
        due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 0);
    /* it runs, or repeats and runs */
    for (int i = 0; i < 2; i++) {
        ta_gate_init(&gate, NULL);
        gate.then = ask_and_add;
        due_forget();
        id = dispatch(J_OF("quick", .id = "b", .data = &held, .size = sizeof held,
                           .repeat = i == 0 ? NULL : "1s"));
        due_until(atomic_load(&gate.arrived) == 1);
        t_ok(cancel(id));
        t_result(cancel(id), FRANCIS_ERR_NOT_FOUND);
        (void)francis_answer(ta->ctx, atomic_load(&gate.tickets[0]), FRANCIS_OK, NULL, 0);
        due_quiet("quick");
        assert_int_equal(due_count_of("b", NULL), 1);
        assert_false(live(id, NULL) || dead(id, NULL));
        ta_num_is("quick", "b", 0);
    }
    assert_int_equal(ta_stats().jobs_dead, 0);
    /* its next attempt waits */
    due_forget();
    atomic_store(&f.left, 5);
    id = dispatch(J(.id = "c", RUN(due_fail, &f)));
    due_until(ta_stats().jobs_retried == 1);
    t_ok(cancel(id));
    if (due_by_hand())
        due_pass(5000);
    else
        due_quiet("num");
    assert_int_equal(due_count_of("c", NULL), 1);
    assert_false(dead(id, NULL));
    ta_close();
}

/* Would catch: an actor that does not serve others after a cancelled turn. */
typedef struct {
    atomic_int  inside;
    atomic_bool told;
} stubborn;

static francis_result wait_for_cancel(francis_ctx *ctx, void *arg)
{
    stubborn *s = (stubborn *)arg;
    int64_t   end = t_ms() + 60000;
    (void)atomic_fetch_add(&s->inside, 1);
    while (francis_interrupted(ctx) == FRANCIS_OK && t_ms() < end)
        t_yield();
    atomic_store(&s->told, francis_interrupted(ctx) == FRANCIS_ERR_CANCELLED);
    return ta_add(ctx, NULL);
}

static void test_cancel_tells(void **state)
{
    static stubborn s;
    job_id          id;
    (void)state;
    due_open(types);
    id = dispatch(J(.id = "a", RUN(wait_for_cancel, &s)));
    due_until(atomic_load(&s.inside) == 1);
    t_ok(cancel(id));
    due_until(atomic_load(&s.told));
    ta_num_is("num", "a", 0);
    t_ok(ta_do("num", "a", ta_add, NULL));
    ta_num_is("num", "a", 1);
    due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 1);
    ta_close();
}

typedef struct {
    job_id         id;
    bool           retry;
    francis_result end, expect;
} managing;

static francis_result manage(francis_ctx *ctx, void *arg)
{
    managing      *m = (managing *)arg;
    francis_result r = m->retry ? francis_job_retry(ctx, m->id.text, NULL)
                                : francis_job_cancel(ctx, m->id.text, NULL);
    (void)ta_add(ctx, NULL);
    ta_check(r == m->expect);
    return m->end;
}

/* Would catch: a retry that loses what the job was, one of a job that is not dead, two of one; and
 * turns that fail and have cancelled or retried nevertheless. */
static void test_retry(void **state)
{
    static due_failure f = { 1, FRANCIS_ERR_PERMANENT };
    static managing    m;
    due_item           i, was;
    job_id             id, again;
    (void)state;
    due_open(types);
    atomic_store(&f.left, 1);
    id = dispatch(J_TO("send", .id = "a", .request_id = "r", .due_ms = due_now() + 10,
                    RUN(due_fail, &f)));
    t_result(francis_job_retry(ta->ctx, id.text, &ta->last), FRANCIS_ERR_NOT_FOUND);
    due_until(dead(id, &was));
    /* in turns */
    m = (managing){ .id = id, .retry = true, .end = FRANCIS_ERR_USER };
    t_result(ta_do("num", "b", manage, &m), FRANCIS_ERR_USER);
    assert_true(dead(id, NULL) && rows(NULL) == 0);
    m.retry = false;
    t_result(ta_do("num", "b", manage, &m), FRANCIS_ERR_USER);
    assert_true(dead(id, NULL));
    /* from outside */
    due_forget();
    t_ok(francis_job_retry(ta->ctx, id.text, &ta->last));
    again = id_of(&ta->last);
    assert_string_not_equal(again.text, id.text);
    (void)time_of(again.text);
    t_result(francis_job_retry(ta->ctx, id.text, &ta->last), FRANCIS_ERR_NOT_FOUND);
    t_result(cancel(id), FRANCIS_ERR_NOT_FOUND);
    due_until(runs_of(FRANCIS_JOB) == 1 && rows(NULL) == 0);
    assert_int_equal(dead_rows(NULL), 0);
    assert_string_equal(last_run().name, "send");
    assert_string_equal(last_run().job_id, again.text);
    assert_string_equal(last_run().request_id, "r");
    assert_int_equal(last_run().attempt, 1);
    ta_num_is("num", "a", 1);
    /* a repeated one is repeated again */
    atomic_store(&f.left, 1);
    id = dispatch(J(.id = "c", .repeat = "1h", .until_ms = due_now() + 1, RUN(due_fail, &f)));
    due_until(dead(id, &was));
    assert_string_equal(was.repeat, "PT1H");
    m = (managing){ .id = id, .retry = true, .end = FRANCIS_OK };
    t_ok(ta_do("num", "b", manage, &m));
    assert_false(dead(id, NULL));
    due_until(due_count_of("c", "work") == 3);              /* two runs, one hook */
    ta_num_is("num", "c", 1);
    ta_num_is("num", "b", 1);
    /* a waiting one is not dead; one that is cancelled in a turn is gone with it */
    id = dispatch(J(.id = "d", .due_ms = DUE_FAR));
    m = (managing){ .id = id, .retry = true, .expect = FRANCIS_ERR_NOT_FOUND };
    t_ok(ta_do("num", "b", manage, &m));
    assert_true(live(id, &i));
    m = (managing){ .id = id };
    t_ok(ta_do("num", "b", manage, &m));
    assert_false(live(id, NULL));
    ta_num_is("num", "b", 3);
    ta_close();
}

/* -- lists ------------------------------------------------------------------------------------- */

static francis_result send_many(francis_ctx *ctx, void *arg)
{
    const int *count = (const int *)arg;
    for (int i = 0; i < *count; i++) {
        char        id[16];
        francis_job j = { .type = i % 2 ? "num" : "quick", .id = id, .method = "work",
                          .due_ms = DUE_FAR + i };
        (void)snprintf(id, sizeof id, "%d", i % 3);
        if (francis_job_dispatch(ctx, &j, NULL) != FRANCIS_OK)
            return FRANCIS_ERR_USER;
    }
    return FRANCIS_OK;
}

/* How many the list gives, going on from its cursor after each page of so many. */
static unsigned walk(francis_list filter, unsigned page)
{
    char           after[1000] = "", type[64] = "", id[64] = "";
    unsigned       n = 0, in_page;
    francis_result r;
    do {
        francis_list list = filter;
        list.limit = page;
        list.after = after[0] != '\0' ? after : NULL;
        in_page = 0;
        while ((r = francis_list_next(ta->ctx, &list)) == FRANCIS_OK) {
            int order = strcmp(type, list.item.type);
            assert_true(order < 0 || (order == 0 && strcmp(id, list.item.id) <= 0));
            (void)snprintf(type, sizeof type, "%s", list.item.type);
            (void)snprintf(id, sizeof id, "%s", list.item.id);
            if (++in_page == page || page == 0)
                (void)snprintf(after, sizeof after, "%s", list.cursor);
        }
        t_result(r, FRANCIS_DONE);
        francis_list_free(&list);
        n += in_page;
    } while (page != 0 && in_page == page);
    return n;
}

/* Would catch: jobs that are left out or come twice between pages; filters that are none. */
static void test_lists(void **state)
{
    static int          count = 600;
    static due_failure  f = { 1000000, FRANCIS_ERR_PERMANENT };
    static const struct {
        const char *type, *id;
        unsigned    live, dead;
    } list[] = {
        { NULL, NULL, 600, 150 }, { "num", NULL, 300, 150 }, { "quick", NULL, 300, 0 },
        { "num", "1", 100, 50 }, { NULL, "0", 200, 50 }, { "none", NULL, 0, 0 },
        { "num", "9", 0, 0 },
    };
    due_item i;
    (void)state;
    due_open(types);
    t_ok(ta_do("num", "setter", send_many, &count));
    for (int k = 0; k < 150; k++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", k % 3);
        (void)dispatch(J(.id = id, RUN(due_fail, &f)));
    }
    due_until(ta_stats().jobs_dead == 150);
    for (unsigned k = 0; k < COUNT(list); k++) {
        francis_list filter = { .what = FRANCIS_LIST_JOBS, .type = list[k].type, .id = list[k].id };
        for (unsigned page = 0; page < 130; page = page == 0 ? 7 : page == 7 ? 100 : page + 28) {
            filter.what = FRANCIS_LIST_JOBS;
            assert_int_equal(walk(filter, page), list[k].live);
            filter.what = FRANCIS_LIST_DEAD_JOBS;
            assert_int_equal(walk(filter, page), list[k].dead);
        }
    }
    /* one by its id; with another filter that does not fit it is not there */
    assert_true(due_find(FRANCIS_LIST_JOBS, "num", "1", NULL, &i));
    assert_true(due_find(FRANCIS_LIST_JOBS, "num", NULL, i.job_id, NULL));
    assert_true(due_find(FRANCIS_LIST_JOBS, NULL, "1", i.job_id, NULL));
    assert_false(due_find(FRANCIS_LIST_JOBS, "quick", NULL, i.job_id, NULL));
    assert_false(due_find(FRANCIS_LIST_JOBS, NULL, "2", i.job_id, NULL));
    assert_false(due_find(FRANCIS_LIST_DEAD_JOBS, NULL, NULL, i.job_id, NULL));
    ta_close();
}

/* Would catch: a status that is not what the job is doing. */
static void test_status(void **state)
{
    static ta_gate      gate;
    static const ta_job held = { ta_hold, &gate };
    due_item            i;
    job_id              one, two;
    (void)state;
    due_open(types);
    ta_gate_init(&gate, NULL);
    one = dispatch(J(.id = "a", .data = &held, .size = sizeof held));
    due_until(atomic_load(&gate.arrived) == 1);
    two = dispatch(J(.id = "a"));
    assert_true(live(one, &i));
    assert_int_equal(i.status, FRANCIS_STATUS_RUNNING);
    due_pass(1000);
    assert_true(live(two, &i));
    assert_int_equal(i.status, FRANCIS_STATUS_WAITING);
    ta_let(&gate, 0);
    due_until(rows(NULL) == 0);
    ta_close();
}

/* -- names, purge ------------------------------------------------------------------------------ */

/* Would catch: an alarm and a job of one name that are taken for each other. */
static void test_name_spaces(void **state)
{
    francis_alarm a = { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR };
    job_id        id, again;
    (void)state;
    due_open(types);
    t_ok(francis_alarm_set(ta->ctx, &a, NULL));
    id = dispatch(J(.id = "a", .request_id = "x", .due_ms = DUE_FAR));
    assert_int_equal(rows("a"), 1);
    assert_int_equal(due_rows(FRANCIS_LIST_ALARMS, "num", "a"), 1);
    t_ok(francis_alarm_delete(ta->ctx, &a, NULL));
    assert_true(live(id, NULL));
    t_result(francis_alarm_delete(ta->ctx, &a, NULL), FRANCIS_ERR_NOT_FOUND);
    a.name = id.text;
    t_result(francis_alarm_delete(ta->ctx, &a, NULL), FRANCIS_ERR_NOT_FOUND);
    t_ok(francis_alarm_set(ta->ctx, &a, NULL));             /* a name like any other */
    t_ok(cancel(id));
    assert_int_equal(due_rows(FRANCIS_LIST_ALARMS, "num", "a"), 1);
    t_result(cancel(id), FRANCIS_ERR_NOT_FOUND);
    again = dispatch(J(.id = "a", .request_id = "x", .due_ms = DUE_FAR));
    assert_string_not_equal(again.text, id.text);
    ta_close();
}

/* Would catch: jobs of an actor that is forgotten, and that live on. */
static francis_result purge_inside(francis_ctx *ctx, void *arg)
{
    (void)arg;
    return francis_purge(ctx, NULL, NULL, NULL);
}

static void test_purge(void **state)
{
    static due_failure f = { 1000, FRANCIS_ERR_PERMANENT };
    (void)state;
    due_open(types);
    for (int how = 0; how < 2; how++) {
        job_id id = dispatch(J(.id = "a", RUN(due_fail, &f)));
        due_until(dead(id, NULL));
        (void)dispatch(J(.id = "a", .due_ms = DUE_FAR));
        (void)dispatch(J(.id = "a", .delay_ms = 100, .repeat = "1s"));
        (void)dispatch(J(.id = "b", .due_ms = DUE_FAR));
        if (how == 0)
            t_ok(francis_purge(ta->ctx, "num", "a", NULL));
        else
            t_ok(ta_do("num", "a", purge_inside, NULL));
        assert_int_equal(rows("a"), 0);
        assert_int_equal(dead_rows("a"), 0);
        assert_int_equal(rows("b"), how + 1);
        due_quiet("num");
        ta_num_is("num", "a", 0);
    }
    /* by a job of its own: it is done, and nothing is left */
    (void)dispatch(J(.id = "a", .repeat = "1s", RUN(purge_inside, NULL)));
    due_until(rows("a") == 0);
    due_quiet("num");
    assert_int_equal(rows("a") + dead_rows("a"), 0);
    ta_close();
}

typedef struct {
    job_id dead, kept;              /* a dead job; one that was dispatched */
    bool   purges;
} changes;

/* A job's id as a change in a turn has brought it. */
static void change_id(francis_call *call, francis_result r, job_id *out)
{
    (void)memset(out, 0, sizeof *out);
    ta_check(r == FRANCIS_OK && call->size == 36);
    if (r == FRANCIS_OK && call->size == 36)
        (void)memcpy(out->text, call->data, 36);
}

/* One turn that looks at its own changes. */
static francis_result change_and_look(francis_ctx *ctx, void *arg)
{
    changes      *c = (changes *)arg;
    francis_call  call = { 0 };
    francis_alarm alarm = { .name = "once", .due_ms = DUE_FAR };
    job_id        first, second;
    change_id(&call, francis_job_dispatch(ctx, J(.id = "a", .due_ms = DUE_FAR, .request_id = "k"),
                                          &call), &first);
    change_id(&call, francis_job_dispatch(ctx, J(.id = "a", .due_ms = DUE_FAR, .request_id = "k"),
                                          &call), &second);
    ta_check(strcmp(first.text, second.text) == 0);
    ta_check(francis_job_retry(ctx, first.text, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_job_cancel(ctx, first.text, NULL) == FRANCIS_OK);
    ta_check(francis_job_cancel(ctx, first.text, &call) == FRANCIS_ERR_NOT_FOUND);
    ta_check(call.error[0] != '\0');

    change_id(&call, francis_job_retry(ctx, c->dead.text, &call), &second);
    ta_check(francis_job_retry(ctx, c->dead.text, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_job_cancel(ctx, second.text, NULL) == FRANCIS_OK);

    ta_check(francis_alarm_set(ctx, &alarm, NULL) == FRANCIS_OK);
    ta_check(francis_alarm_delete(ctx, &alarm, NULL) == FRANCIS_OK);
    ta_check(francis_alarm_delete(ctx, &alarm, NULL) == FRANCIS_ERR_NOT_FOUND);
    ta_check(francis_job_cancel(ctx, "a name that is longer than any id of a job", NULL) ==
             FRANCIS_ERR_NOT_FOUND);
    francis_call_free(&call);
    return ta_add(ctx, NULL);       /* none of it has failed the turn */
}

/* Would catch: a turn that does not see what it has changed itself, or fails because there is
 * nothing to be changed. */
static void test_own_changes(void **state)
{
    static due_failure f = { 1000, FRANCIS_ERR_PERMANENT };
    static changes     c;
    (void)state;
    due_open(types);
    c.dead = dispatch(J(.id = "a", RUN(due_fail, &f)));
    due_until(dead(c.dead, NULL));
    t_ok(ta_do("num", "b", change_and_look, &c));
    ta_num_is("num", "b", 1);
    assert_int_equal(rows(NULL), 0);
    assert_false(dead(c.dead, NULL));
    assert_int_equal(due_rows(FRANCIS_LIST_ALARMS, NULL, NULL), 0);
    ta_close();
}

/* The first of two turns that go into one commit: changes. */
static francis_result change(francis_ctx *ctx, void *arg)
{
    changes      *c = (changes *)arg;
    francis_call  call = { 0 };
    francis_alarm alarm = { .type = "num", .id = "a", .name = "once", .due_ms = DUE_FAR };
    change_id(&call, francis_job_dispatch(ctx, J(.id = "a", .due_ms = DUE_FAR, .request_id = "k"),
                                          &call), &c->kept);
    ta_check(francis_alarm_set(ctx, &alarm, NULL) == FRANCIS_OK);
    change_id(&call, francis_job_retry(ctx, c->dead.text, &call), &c->dead);
    if (c->purges)
        ta_check(francis_purge(ctx, NULL, NULL, NULL) == FRANCIS_OK);
    francis_call_free(&call);
    return c->purges ? FRANCIS_OK : ta_add(ctx, NULL);
}

/* The second one: sees what the first one has changed, before it is in the file. */
static francis_result look(francis_ctx *ctx, void *arg)
{
    changes      *c = (changes *)arg;
    francis_call  call = { 0 };
    francis_alarm alarm = { .type = "num", .id = "a", .name = "once" };
    francis_alarm purged = { .type = "num", .id = "b", .name = "far" };
    job_id        again;
    ta_check(due_rows(FRANCIS_LIST_JOBS, NULL, NULL) == 0);     /* not there yet */
    change_id(&call, francis_job_dispatch(ctx, J(.id = "a", .due_ms = DUE_FAR, .request_id = "k"),
                                          &call), &again);
    ta_check(strcmp(again.text, c->kept.text) == 0);
    ta_check(francis_job_cancel(ctx, c->kept.text, NULL) == FRANCIS_OK);
    ta_check(francis_job_cancel(ctx, c->dead.text, NULL) == FRANCIS_OK);    /* its new id */
    ta_check(francis_alarm_delete(ctx, &alarm, NULL) == FRANCIS_OK);
    ta_check(francis_alarm_delete(ctx, &purged, NULL) ==
             (c->purges ? FRANCIS_ERR_NOT_FOUND : FRANCIS_OK));
    francis_call_free(&call);
    return ta_add(ctx, NULL);
}

/* Its key stands for something else already. */
static francis_result look_and_fail(francis_ctx *ctx, void *arg)
{
    (void)arg;
    return francis_job_dispatch(ctx, J_TO("other", .id = "a", .due_ms = DUE_FAR, .request_id = "k"),
                                NULL);
}

/* Would catch: what is sealed, and not yet committed, that is invisible to the next turn: a key
 * that stands for two jobs, a job that cannot be cancelled, an alarm that comes back. */
static void test_changes_on_their_way(void **state)
{
    static due_failure f = { 1000, FRANCIS_ERR_PERMANENT };
    static changes     c;
    (void)state;
    due_open(types);
    for (int how = 0; how < 2; how++) {
        ta_job        jobs[3] = { { change, &c }, { look, &c }, { look_and_fail, NULL } };
        francis_call  calls[3];
        francis_alarm far = { .type = "num", .id = "b", .name = "far", .due_ms = DUE_FAR };
        (void)memset(calls, 0, sizeof calls);
        c.purges = how == 1;
        c.dead = dispatch(J(.id = "a", RUN(due_fail, &f)));
        due_until(dead(c.dead, NULL));
        t_ok(francis_alarm_set(ta->ctx, &far, NULL));
        t_ok(ta_do("num", "b", ta_nothing, NULL));          /* all are active: no claim between */
        t_ok(ta_do("num", "c", ta_nothing, NULL));
        t_ok(ta_do("num", "d", ta_nothing, NULL));
        for (int i = 0; i < 3; i++) {
            static const char *const ids[] = { "b", "c", "d" };
            static const int         order[] = { 0, 2, 1 };
            int                      k = order[i];
            calls[k].async = true;
            t_result(francis_invoke(ta->ctx, "num", ids[k], "do", &jobs[k], sizeof jobs[k],
                                    &calls[k]), FRANCIS_PENDING);
        }
        t_ok(francis_wait(ta->ctx, &calls[0]));
        t_ok(francis_wait(ta->ctx, &calls[1]));
        t_result(francis_wait(ta->ctx, &calls[2]), FRANCIS_ERR_EXISTS);
        for (int i = 0; i < 3; i++)
            francis_call_free(&calls[i]);
        ta_num_is("num", "c", how + 1);
        assert_int_equal(rows(NULL), 0);
        assert_int_equal(due_rows(FRANCIS_LIST_ALARMS, NULL, NULL), 0);
        assert_int_equal(dead_rows(NULL), 0);
    }
    ta_close();
}

/* -- limits and fairness ----------------------------------------------------------------------- */

/* Would catch: jobs above the capacity of their group, or that are forgotten because of it; groups
 * that count alarms, or each other. */
static void test_capacity(void **state)
{
    static const francis_actor_desc grouped[] = {
        { DUE_TYPE("x"), .capacity_group = "printer", .capacity_max = 3 },
        { DUE_TYPE("y"), .capacity_group = "printer", .capacity_max = 3 },
        { DUE_TYPE("z"), .capacity_group = "scanner", .capacity_max = 1 },
        { DUE_TYPE("num") }, TA_END
    };
    static due_crowd printer, scanner, free_ones;
    static const struct {
        const char *type;
        due_crowd  *crowd;
        int         count;
    } list[] = { { "x", &printer, 15 }, { "y", &printer, 15 }, { "z", &scanner, 5 },
                 { "num", &free_ones, 20 } };
    (void)state;
    (void)memset(&printer, 0, sizeof printer);
    (void)memset(&scanner, 0, sizeof scanner);
    (void)memset(&free_ones, 0, sizeof free_ones);
    due_open(grouped);
    for (unsigned t = 0; t < COUNT(list); t++)
        for (int i = 0; i < list[t].count; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%d", i);
            (void)dispatch(J_OF(list[t].type, .id = id, RUN(due_join_crowd, list[t].crowd)));
        }
    due_until(atomic_load(&printer.inside) == 3 && atomic_load(&scanner.inside) == 1 &&
              atomic_load(&free_ones.inside) == 20);
    t_ok(ta_do("x", "caller", ta_add, NULL));               /* calls are not limited, */
    t_ok(francis_alarm_set(ta->ctx, &(francis_alarm){ .type = "x", .id = "alarm", .name = "x" },
                           NULL));
    due_until(due_count_of("alarm", NULL) == 1);            /* nor alarms */
    due_until((due_let_crowd(&printer), due_let_crowd(&scanner), due_let_crowd(&free_ones),
               ta_stats().jobs_done == 55));
    assert_int_equal(atomic_load(&printer.most), 3);
    assert_int_equal(atomic_load(&scanner.most), 1);
    assert_int_equal(rows(NULL), 0);
    assert_int_equal(ta_stats().jobs_retried + ta_stats().jobs_dead, 0);
    for (unsigned i = 0; i < due_count(); i++)
        assert_int_equal(due_at(i).attempt, 1);
    ta_close();
}

/* Would catch: two opinions on one group. */
static void test_capacity_mismatch(void **state)
{
    const francis_actor_desc x = { DUE_TYPE("x"), .capacity_group = "g", .capacity_max = 3 };
    const francis_actor_desc y = { DUE_TYPE("y"), .capacity_group = "g", .capacity_max = 4 };
    const francis_actor_desc none = { DUE_TYPE("none"), .capacity_group = "h" };
    francis_host            *host = NULL;
    (void)state;
    ta_desc(&(francis_host_desc){ .workers = 0 });
    for (int i = 0; i < 2; i++) {
        (void)francis_open(&host, &ta->desc);
        if (i == 0) {
            t_ok(francis_register(host, &x));
            t_result(francis_register(host, &y), FRANCIS_ERR_INVALID);
            says(francis_host_error(host), "capacity_max");
        } else {
            t_result(francis_register(host, &none), FRANCIS_ERR_INVALID);
            says(francis_host_error(host), "capacity_max");
        }
        francis_close(host);
    }
}

/* Would catch: a flood of one type that keeps the jobs of another waiting. */
static francis_result flood(francis_ctx *ctx, void *arg)
{
    const int *count = (const int *)arg;
    for (int i = 0; i < *count; i++) {
        char        id[16];
        francis_job j = { .type = "full", .id = id, .method = "work", .due_ms = 1 + i };
        (void)snprintf(id, sizeof id, "%d", i);
        if (francis_job_dispatch(ctx, &j, NULL) != FRANCIS_OK)
            return FRANCIS_ERR_USER;
    }
    return FRANCIS_OK;
}

static void test_fairness(void **state)
{
    static const francis_actor_desc two[] = {
        { DUE_TYPE("num") },
        { DUE_TYPE("full"), .capacity_group = "g", .capacity_max = 1 }, TA_END
    };
    static ta_gate gate;
    static int     count = 3000;
    (void)state;
    due_open(two);
    ta_gate_init(&gate, NULL);
    (void)dispatch(J_OF("full", .id = "sitting", RUN(ta_hold, &gate)));
    due_until(atomic_load(&gate.arrived) == 1);
    t_ok(ta_do("num", "setter", flood, &count));
    for (int i = 0; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        (void)dispatch(J(.id = id));
    }
    due_until(ta_stats().jobs_done == 100);
    assert_int_equal(due_rows(FRANCIS_LIST_JOBS, "full", NULL), count + 1);
    ta_let(&gate, 0);
    due_until(ta_stats().jobs_done > 101);
    ta_close();
}

/* Would catch: jobs that are lost or lose attempts because their actor's mailbox is full. */
static void test_mailbox(void **state)
{
    static const francis_actor_desc small[] = {
        { DUE_TYPE("num"), .mailbox_max = 4, .retry_delay_ms = 20 }, TA_END
    };
    static ta_gate gate;
    francis_call  *call;
    (void)state;
    due_open(small);
    ta_gate_init(&gate, NULL);
    call = ta_begin("num", "a", ta_hold, &gate);
    ta_until(atomic_load(&gate.arrived) == 1);
    for (int i = 0; i < 50; i++)
        (void)dispatch(J(.id = "a"));
    (void)dispatch(J(.id = "b"));
    due_until(due_count() == 1);
    assert_string_equal(due_at(0).id, "b");
    ta_let(&gate, 0);
    t_ok(ta_end(call));
    due_until(ta_stats().jobs_done == 51);
    for (unsigned i = 0; i < due_count(); i++)
        assert_int_equal(due_at(i).attempt, 1);
    assert_int_equal(due_count(), 51);
    ta_num_is("num", "a", 50);
    assert_int_equal(ta_stats().jobs_retried + ta_stats().jobs_dead, 0);
    ta_close();
}

/* Would catch: a hanging job that is waited for for ever, or that is never given up. */
static void test_turn_timeout(void **state)
{
    static const francis_actor_desc bounded[] = {
        { DUE_TYPE("num"), .turn_timeout_ms = 200, .retry_delay_ms = 20, .attempts_max = 2 }, TA_END
    };
    static due_crowd crowd;
    due_item         i;
    job_id           id;
    (void)state;
    (void)memset(&crowd, 0, sizeof crowd);
    due_open(bounded);
    id = dispatch(J(.id = "a", RUN(due_join_crowd, &crowd)));
    due_until(dead(id, &i));
    assert_int_equal(i.attempts, 2);
    assert_true(i.error[0] != '\0');
    due_until(runs_of(FRANCIS_JOB_FAILED) == 1);
    assert_int_equal(runs_of(FRANCIS_JOB), 2);
    assert_int_equal(last_run().result, FRANCIS_ERR_DEADLINE);
    ta_num_is("num", "a", 0);
    ta_close();
}

/* Would catch: a job that a stop costs an attempt, or that it loses. */
static francis_result give_up(francis_ctx *ctx, void *arg)
{
    francis_result r = francis_interrupted(ctx);
    (void)arg;
    ta_check(r == FRANCIS_ERR_STOPPED || r == FRANCIS_ERR_MOVED);
    return r;
}

static void test_stop(void **state)
{
    static ta_gate      gate;
    static const ta_job held = { ta_hold, &gate };
    int64_t             end;
    job_id              id;
    due_item            i;
    (void)state;
    due_open(types);
    ta_gate_init(&gate, NULL);
    gate.then = give_up;
    id = dispatch(J(.id = "a", .data = &held, .size = sizeof held));
    due_until(atomic_load(&gate.arrived) == 1);
    francis_stop(ta->host);
    due_until(due_draining());
    ta_let(&gate, 0);
    end = t_ms() + 60000;
    while (francis_poll(ta->host, 1) != FRANCIS_ERR_STOPPED)
        if (t_ms() > end)
            fail_msg("the host does not stop");
    ta_close();
    gate.then = ta_add;
    due_open(types);
    due_until(atomic_load(&gate.arrived) == 2);
    assert_true(live(id, &i));
    assert_int_equal(i.attempts, 0);
    assert_int_equal(due_at(1).attempt, 1);
    ta_let(&gate, 1);
    due_until(rows(NULL) == 0);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Would catch: a race between the end of a job and those who cancel, retry or repeat it, after
 * which it is dead and alive, runs after it was cancelled, or its hook comes twice. */
enum { JUGGLED = 120 };

static job_id     juggled[JUGGLED];
static atomic_int cancelled;

static void *juggle(void *arg)
{
    (void)arg;
    for (int i = 0; i < JUGGLED; i++) {
        francis_result r;
        if (i % 3 == 0)
            t_yield();
        r = francis_job_cancel(ta->ctx, juggled[i].text, NULL);
        ta_check(r == FRANCIS_OK || r == FRANCIS_ERR_NOT_FOUND);
        (void)atomic_fetch_add(&cancelled, r == FRANCIS_OK);
        r = francis_job_retry(ta->ctx, juggled[i].text, NULL);
        ta_check(r == FRANCIS_ERR_NOT_FOUND);
    }
    return NULL;
}

static void test_cancel_race(void **state)
{
    static due_failure f = { 0, 0 };
    pthread_t          thread;
    int64_t            sum = 0;
    (void)state;
    due_open(types);
    atomic_store(&cancelled, 0);
    for (int round = 0; round < ta_times(5, 2); round++) {
        int64_t soon = due_now() + 30;
        for (int i = 0; i < JUGGLED; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%d", i % 7);
            juggled[i] = dispatch(J_OF("quick", .id = id, .due_ms = soon + i / 2,
                                       RUN(due_fail, &f)));
        }
        assert_int_equal(pthread_create(&thread, NULL, juggle, NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        due_until(rows(NULL) == 0);
    }
    for (int i = 0; i < 7; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(ta_do("quick", id, ta_get, NULL));
        sum += ta_int(&ta->last);
    }
    due_until(ta_stats().jobs_done == (uint64_t)sum);
    assert_int_equal(sum + atomic_load(&cancelled), ta_times(5, 2) * JUGGLED);
    assert_int_equal(dead_rows(NULL), 0);
    ta_close();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DUE_BOTH(test_properties),
        DUE_BOTH(test_runs),
        DUE_BOTH(test_ids),
        DUE_BOTH(test_validation),
        DUE_BOTH(test_async),
        DUE_BOTH(test_outbox),
        DUE_BOTH(test_peek),
        DUE_BOTH(test_chain),
        DUE_BOTH(test_request_ids),
        DUE_BOTH(test_request_id_of_call),
        DUE_BOTH(test_request_id_cases),
        DUE_WORKERS(test_request_id_race),
        DUE_INLINE(test_repeat),
        DUE_INLINE(test_retries),
        DUE_BOTH(test_death),
        DUE_BOTH(test_hook),
        DUE_BOTH(test_hook_after_restart),
        DUE_BOTH(test_hook_revives),
        DUE_INLINE(test_death_of_repeated),
        DUE_INLINE(test_rejected),
        DUE_BOTH(test_halt_inside),
        DUE_BOTH(test_no_handler_any_more),
        DUE_BOTH(test_cancel),
        DUE_WORKERS(test_cancel_tells),
        DUE_BOTH(test_retry),
        DUE_BOTH(test_own_changes),
        DUE_INLINE(test_changes_on_their_way),
        DUE_BOTH(test_lists),
        DUE_INLINE(test_status),
        DUE_BOTH(test_name_spaces),
        DUE_BOTH(test_purge),
        DUE_BOTH(test_capacity),
        DUE_INLINE(test_capacity_mismatch),
        DUE_BOTH(test_fairness),
        DUE_BOTH(test_mailbox),
        DUE_BOTH(test_turn_timeout),
        DUE_BOTH(test_stop),
        DUE_WORKERS(test_cancel_race),
    };
    int failed;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
    t_clean();
    return failed == 0 ? 0 : 1;
}
