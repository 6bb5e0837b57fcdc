/* Alarms: what may be set, by whom and when, what is kept of it, when it runs, how often, and what
 * happens to it when its handler fails, the clock jumps, the host stops or the database is not what
 * it should be. */
#include "support/due.h"

#include "support/fault_vfs.h"

#define A(...)          (&(const francis_alarm){ .type = "num", __VA_ARGS__ })
#define A_OF(t, ...)    (&(const francis_alarm){ .type = t, __VA_ARGS__ })
#define RUN(fn, arg)    .data = &(const ta_job){ fn, arg }, .size = sizeof(ta_job)
#define COUNT(table)    ((unsigned)(sizeof(table) / sizeof(table)[0]))

enum { GIVEN_UP = 501 };            /* log record */

static const francis_actor_desc types[] = {
    { DUE_TYPE("num"), .retry_delay_ms = 1000 },
    { DUE_TYPE("quick"), .retry_delay_ms = 20 },
    { DUE_TYPE("brief"), .retry_delay_ms = 20, .idle_timeout_ms = 20 },
    TA_END
};

static francis_result set(const francis_alarm *a)
{
    return francis_alarm_set(ta->ctx, a, &ta->last);
}

static francis_result drop(const char *id, const char *name)
{
    return francis_alarm_delete(ta->ctx, A(.id = id, .name = name), &ta->last);
}

static bool has(const char *id, const char *name)
{
    return due_find(FRANCIS_LIST_ALARMS, "num", id, name, NULL);
}

static due_item get(const char *type, const char *id, const char *name)
{
    due_item i;
    if (!due_find(FRANCIS_LIST_ALARMS, type, id, name, &i))
        fail_msg("there is no alarm %s/%s/%s", type, id, name);
    return i;
}

static unsigned rows(const char *type, const char *id)
{
    return due_rows(FRANCIS_LIST_ALARMS, type, id);
}

static void says(const char *text, const char *word)
{
    if (text == NULL || strstr(text, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text != NULL ? text : "(NULL)", word);
}

/* -- what is kept of an alarm ------------------------------------------------------------------ */

/* Would catch: a property that is lost, mixed up with another one, or invented. */
static void test_properties(void **state)
{
    static const char data[] = "hello\0there";
    int64_t           before;
    due_item          i;
    (void)state;
    due_open(types);
    before = due_now();
    t_ok(set(A(.id = "a", .name = "full", .data = data, .size = sizeof data, .due_ms = DUE_FAR,
               .repeat = "90s", .until_ms = DUE_FAR + FRANCIS_DAYS(1),
               .missed = FRANCIS_MISSED_ALL, .missed_max = 7, .wait_for_clock = true)));
    i = get("num", "a", "full");
    assert_string_equal(i.type, "num");
    assert_string_equal(i.id, "a");
    assert_string_equal(i.name, "full");
    assert_int_equal(i.size, sizeof data);
    assert_memory_equal(i.text, data, sizeof data);
    assert_true(i.due_ms == DUE_FAR);
    assert_true(i.until_ms == DUE_FAR + FRANCIS_DAYS(1));
    assert_true(i.created_ms >= before && i.created_ms <= due_now());
    assert_string_equal(i.repeat, "PT1M30S");
    assert_string_equal(i.job_id, "");
    assert_string_equal(i.request_id, "");
    assert_string_equal(i.error, "");
    assert_int_equal(i.attempts, 0);
    assert_int_equal(i.failed_ms, 0);
    assert_int_equal(i.status, FRANCIS_STATUS_WAITING);

    t_ok(set(A(.id = "a", .name = "bare", .due_ms = DUE_FAR)));
    i = get("num", "a", "bare");
    assert_true(i.due_ms == DUE_FAR);
    assert_int_equal(i.until_ms, 0);
    assert_int_equal(i.size, 0);
    assert_string_equal(i.repeat, "");

    before = due_now();
    t_ok(set(A(.id = "a", .name = "later", .delay_ms = FRANCIS_HOURS(1))));
    i = get("num", "a", "later");
    assert_true(i.due_ms >= before + FRANCIS_HOURS(1));
    assert_true(i.due_ms <= due_now() + FRANCIS_HOURS(1));
    assert_int_equal(rows("num", "a"), 3);
    assert_int_equal(due_count(), 0);
    assert_int_equal(ta_stats().activations, 0);            /* nobody was waked for it */
    ta_close();
}

/* Would catch: a text that is kept as it was written, so that equal ones are not equal. */
static void test_repeat_text(void **state)
{
    static const struct {
        const char *repeat;
        int64_t     repeat_ms;
        const char *plain;
    } list[] = {
        { "90s", 0, "PT1M30S" },     { "PT90S", 0, "PT1M30S" }, { "1h30m", 0, "PT1H30M" },
        { "250ms", 0, "PT0.250S" },  { NULL, 250, "PT0.250S" }, { NULL, 60000, "PT1M" },
        { "P1M", 0, "P1M" },         { "P1W", 0, "P7D" },       { "PT5M", 0, "PT5M" },
        { "0 9 * * 1-5", 0, "0 9 * * 1-5" },                    { "@daily", 0, "0 0 * * *" },
        { "@every 1h", 0, "PT1H" },  { "", 0, "" },             { NULL, 0, "" },
    };
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(list); i++) {
        due_item item;
        t_ok(set(A(.id = "a", .name = "x", .due_ms = DUE_FAR, .repeat = list[i].repeat,
                   .repeat_ms = list[i].repeat_ms)));
        item = get("num", "a", "x");
        if (strcmp(item.repeat, list[i].plain) != 0)
            fail_msg("%s is listed as %s", list[i].repeat, item.repeat);
    }
    assert_int_equal(rows(NULL, NULL), 1);
    ta_close();
}

/* Would catch: a second row, an option of the old one that survives. */
static void test_replace(void **state)
{
    due_item i;
    (void)state;
    due_open(types);
    t_ok(set(A(.id = "a", .name = "x", .data = "old", .size = 3, .due_ms = DUE_FAR, .repeat = "1h",
               .until_ms = DUE_FAR + 5000, .missed = FRANCIS_MISSED_ALL)));
    t_ok(set(A(.id = "a", .name = "x", .due_ms = DUE_FAR + 1)));
    i = get("num", "a", "x");
    assert_true(i.due_ms == DUE_FAR + 1);
    assert_int_equal(i.until_ms, 0);
    assert_int_equal(i.size, 0);
    assert_string_equal(i.repeat, "");
    assert_int_equal(rows(NULL, NULL), 1);
    t_ok(set(A(.id = "a", .name = "x", .data = "new", .size = 3, .delay_ms = 1)));
    due_until(due_count() == 1);
    assert_string_equal(due_at(0).text, "new");             /* never the old one */
    due_until(rows(NULL, NULL) == 0);
    due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 1);
    ta_close();
}

/* Would catch: a deletion of more, less, or something else than was named. */
static void test_delete(void **state)
{
    (void)state;
    due_open(types);
    t_result(drop("a", "x"), FRANCIS_ERR_NOT_FOUND);
    for (int n = 0; n < 3; n++) {
        const char *names[] = { "x", "y", "z" };
        t_ok(set(A(.id = "a", .name = names[n], .due_ms = DUE_FAR)));
        t_ok(set(A(.id = "b", .name = names[n], .due_ms = DUE_FAR)));
        t_ok(set(A_OF("quick", .id = "a", .name = names[n], .due_ms = DUE_FAR)));
    }
    t_ok(drop("a", "y"));
    t_result(drop("a", "y"), FRANCIS_ERR_NOT_FOUND);
    assert_true(has("a", "x") && !has("a", "y") && has("a", "z"));
    assert_int_equal(rows("num", "b"), 3);
    assert_int_equal(rows("quick", "a"), 3);
    /* the other options are not looked at */
    t_ok(francis_alarm_delete(ta->ctx, A(.id = "a", .name = "x", .repeat = "garbage", .due_ms = -1,
                                         .delay_ms = 5), NULL));
    assert_int_equal(rows("num", "a"), 1);
    t_result(francis_alarm_delete(ta->ctx, A(.id = "a", .name = ""), &ta->last),
             FRANCIS_ERR_INVALID);
    t_result(francis_alarm_delete(ta->ctx, A_OF("francis.x", .id = "a", .name = "x"), &ta->last),
             FRANCIS_ERR_RESERVED);
    t_result(drop("a", NULL), FRANCIS_ERR_INVALID);
    /* one that is about to run */
    t_ok(set(A(.id = "a", .name = "soon", .delay_ms = 400)));
    t_ok(drop("a", "soon"));
    if (due_by_hand())
        due_pass(2000);
    else
        due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 0);
    ta_close();
}

/* Would catch: an option that only counts in a synchronous call. */
static void test_async(void **state)
{
    francis_call *one = NULL, *two = NULL;
    (void)state;
    due_open(types);
    one = ta_new();
    two = ta_new();
    one->async = two->async = true;
    t_result(francis_alarm_set(ta->ctx, A(.id = "a", .name = "x", .due_ms = DUE_FAR), one),
             FRANCIS_PENDING);
    t_result(francis_alarm_delete(ta->ctx, A(.id = "a", .name = "y"), two), FRANCIS_PENDING);
    t_ok(ta_end(one));
    t_result(ta_end(two), FRANCIS_ERR_NOT_FOUND);
    assert_true(has("a", "x"));
    one->async = true;
    t_result(francis_alarm_set(ta->ctx, A(.id = "a", .name = "x", .repeat = "nonsense"), one),
             FRANCIS_ERR_INVALID);                          /* at once, and nothing follows */
    ta_close();
}

/* -- what is not accepted ---------------------------------------------------------------------- */

enum { MESSAGE_MAX = 100000 };

#define YEAR_9999 INT64_C(253402300799999)  /* its end */

static char name_255[256], name_256[257];
static char bytes[MESSAGE_MAX + 1];

static const struct refusal {
    francis_alarm  a;
    francis_result result;
    const char    *word;            /* the text has it */
} refusals[] = {
    { { .type = "num", .id = "a" }, FRANCIS_ERR_INVALID, "name" },
    { { .type = "num", .id = "a", .name = "" }, FRANCIS_ERR_INVALID, "name" },
    { { .type = "num", .id = "a", .name = "a/b" }, FRANCIS_ERR_INVALID, "name" },
    { { .type = "num", .id = "a", .name = name_256 }, FRANCIS_ERR_INVALID, "name" },
    { { .type = "num", .id = "", .name = "x" }, FRANCIS_ERR_INVALID, "id" },
    { { .type = "num", .id = "a/b", .name = "x" }, FRANCIS_ERR_INVALID, "id" },
    { { .type = "num", .id = name_256, .name = "x" }, FRANCIS_ERR_INVALID, "id" },
    { { .type = "", .id = "a", .name = "x" }, FRANCIS_ERR_INVALID, "type" },
    { { .type = "n/m", .id = "a", .name = "x" }, FRANCIS_ERR_INVALID, "type" },
    { { .type = "num", .name = "x" }, FRANCIS_ERR_INVALID, "id" },
    { { .id = "a", .name = "x" }, FRANCIS_ERR_INVALID, "type" },
    { { .type = "francis.x", .id = "a", .name = "x" }, FRANCIS_ERR_RESERVED, "francis." },
    { { .type = "num", .id = "a", .name = "x", .size = 3 }, FRANCIS_ERR_INVALID, "data" },
    { { .type = "num", .id = "a", .name = "x", .data = bytes, .size = MESSAGE_MAX + 1 },
      FRANCIS_ERR_TOO_LARGE, "100001" },
    { { .type = "num", .id = "a", .name = "x", .due_ms = -1 }, FRANCIS_ERR_INVALID, "due_ms" },
    { { .type = "num", .id = "a", .name = "x", .due_ms = INT64_MIN }, FRANCIS_ERR_INVALID,
      "due_ms" },
    { { .type = "num", .id = "a", .name = "x", .due_ms = YEAR_9999 + 1 }, FRANCIS_ERR_INVALID,
      "due_ms" },
    { { .type = "num", .id = "a", .name = "x", .delay_ms = INT64_MAX }, FRANCIS_ERR_INVALID,
      "delay_ms" },
    { { .type = "num", .id = "a", .name = "x", .delay_ms = YEAR_9999 }, FRANCIS_ERR_INVALID,
      "9999" },
    { { .type = "num", .id = "a", .name = "x", .delay_ms = -2 }, FRANCIS_ERR_INVALID, "delay_ms" },
    { { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .delay_ms = 5 },
      FRANCIS_ERR_INVALID, "delay_ms" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "often" }, FRANCIS_ERR_INVALID, "often" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "PT0S" }, FRANCIS_ERR_INVALID, "PT0S" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "-5s" }, FRANCIS_ERR_INVALID, "-5s" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "61 * * * *" }, FRANCIS_ERR_INVALID,
      "61" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "0 0 30 2 *" }, FRANCIS_ERR_INVALID,
      "0 0 30 2 *" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "TZ=No/Where 0 9 * * *" },
      FRANCIS_ERR_INVALID, "No/Where" },
    { { .type = "num", .id = "a", .name = "x", .repeat_ms = -1 }, FRANCIS_ERR_INVALID,
      "repeat_ms" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "1h", .repeat_ms = 5 },
      FRANCIS_ERR_INVALID, "repeat_ms" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "1h", .until_ms = -1 },
      FRANCIS_ERR_INVALID, "until_ms" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "1h", .missed = (francis_missed)3 },
      FRANCIS_ERR_INVALID, "missed" },
    { { .type = "num", .id = "a", .name = "x", .repeat = "1h", .missed = (francis_missed)-1 },
      FRANCIS_ERR_INVALID, "missed" },
    { { .type = "deaf", .id = "a", .name = "x" }, FRANCIS_ERR_UNKNOWN_METHOD, "x" },
    { { .type = "hears", .id = "a", .name = "x" }, FRANCIS_ERR_UNKNOWN_METHOD, "x" },
};

/* The far ends of what is accepted. */
static const francis_alarm accepted[] = {
    { .type = "num", .id = "a", .name = "x", .due_ms = YEAR_9999 },
    { .type = "num", .id = "a", .name = "x", .delay_ms = YEAR_9999 - DUE_FAR },
    { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .repeat_ms = 1 },
    { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .repeat_ms = YEAR_9999 },
    { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .repeat = "" },
    { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .repeat = "1h", .until_ms = 1 },
    { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .until_ms = DUE_FAR - 1 },
    { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .data = bytes,
      .size = MESSAGE_MAX },
    { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .data = bytes, .size = 0 },
    { .type = "num", .id = "a", .name = "x", .due_ms = DUE_FAR, .missed = FRANCIS_MISSED_ALL,
      .missed_max = UINT32_MAX, .repeat = "1h" },
    { .type = "num", .id = name_255, .name = name_255, .due_ms = DUE_FAR },
    { .type = "num", .id = "a", .name = "%s'\"; DROP TABLE x; \\ \n\xc3\xa9", .due_ms = DUE_FAR },
    { .type = "nobody serves it", .id = "a", .name = "x", .due_ms = DUE_FAR },
    { .type = "hears", .id = "a", .name = "bell", .due_ms = DUE_FAR },
};

static const francis_method hears_methods[] = {
    { "bell", due_handler, FRANCIS_ALARM, 0 },
    { "x", due_handler, FRANCIS_JOB, 0 },                   /* that is no alarm */
    FRANCIS_METHODS_END
};

static const francis_actor_desc strict[] = {
    { DUE_TYPE("num") },
    { .type = "deaf", .methods = ta_methods, .state_size = sizeof(ta_number),
      .job = due_handler },
    { .type = "hears", .methods = hears_methods, .state_size = sizeof(ta_number) },
    TA_END
};

static void open_strict(void)
{
    francis_host_desc desc = { .message_bytes_max = MESSAGE_MAX };
    (void)memset(name_255, 'n', 255);
    (void)memset(name_256, 'n', 256);
    due_open_with(desc, strict);
}

/* Would catch: a check that is missing, too strict by one, or that does not say what is wrong. */
static void test_validation(void **state)
{
    (void)state;
    open_strict();
    for (unsigned i = 0; i < COUNT(refusals); i++) {
        francis_result r = set(&refusals[i].a);
        if (r != refusals[i].result)
            fail_msg("refusal %u (%s): %s, not %s", i, refusals[i].word, francis_result_name(r),
                     francis_result_name(refusals[i].result));
        if (strstr(ta->last.error, refusals[i].word) == NULL)
            fail_msg("refusal %u: \"%s\" does not say \"%s\"", i, ta->last.error,
                     refusals[i].word);
    }
    assert_int_equal(rows(NULL, NULL), 0);
    for (unsigned i = 0; i < COUNT(accepted); i++) {
        const francis_alarm *a = &accepted[i];
        due_item             item;
        if (set(a) != FRANCIS_OK)
            fail_msg("%u is not accepted: %s", i, ta->last.error);
        if (!due_find(FRANCIS_LIST_ALARMS, a->type, a->id, a->name, &item))
            fail_msg("%u is not there", i);
        assert_string_equal(item.id, a->id);
        assert_string_equal(item.name, a->name);
        assert_int_equal(item.size, a->size);
        assert_true(a->due_ms == 0 || item.due_ms == a->due_ms);
    }
    assert_int_equal(due_count(), 0);
    ta_close();
}

/* -- lists ------------------------------------------------------------------------------------- */

enum { LISTED = 4 * 5 * 13 };

typedef struct {
    char part[3][32];               /* type, id, name */
} key;

static key listed[LISTED];

static int by_key(const void *a, const void *b)
{
    for (int i = 0; i < 3; i++) {
        int c = strcmp(((const key *)a)->part[i], ((const key *)b)->part[i]);
        if (c != 0)
            return c;
    }
    return 0;
}

static francis_result set_for_list(francis_ctx *ctx, void *arg)
{
    static const char *const list_types[] = { "num", "quick", "Other", "\xc3\xa9tude" };
    static const char *const ids[] = { "a", "a b", "B", "\xc3\xa4", "~" };
    unsigned                 n = 0;
    (void)arg;
    for (unsigned t = 0; t < COUNT(list_types); t++)
        for (unsigned i = 0; i < COUNT(ids); i++)
            for (unsigned k = 0; k < 13; k++, n++) {
                key          *l = &listed[n];
                francis_alarm a = { .type = l->part[0], .id = l->part[1], .name = l->part[2],
                                    .due_ms = DUE_FAR, .data = l->part[2] };
                (void)snprintf(l->part[0], 32, "%s", list_types[t]);
                (void)snprintf(l->part[1], 32, "%s", ids[i]);
                (void)snprintf(l->part[2], 32, "%s%u", k % 3 == 0 ? "n" : k % 3 == 1 ? "N" : "!",
                               k * 7 % 13);
                a.size = strlen(a.data);
                if (francis_alarm_set(ctx, &a, NULL) != FRANCIS_OK)
                    return FRANCIS_ERR_USER;
            }
    return n == LISTED ? FRANCIS_OK : FRANCIS_ERR_USER + 1;
}

static bool fits(const francis_list *filter, unsigned n)
{
    return (filter->type == NULL || strcmp(filter->type, listed[n].part[0]) == 0) &&
           (filter->id == NULL || strcmp(filter->id, listed[n].part[1]) == 0) &&
           (filter->name == NULL || strcmp(filter->name, listed[n].part[2]) == 0);
}

/* The list gives what fits, from here on, in order; and each cursor leads on from its item. */
static void list_is(francis_list filter, unsigned from)
{
    static char    cursors[LISTED][200];
    francis_list   list = filter;
    unsigned       n, found = 0;
    francis_result r;
    list.what = FRANCIS_LIST_ALARMS;
    list.with_data = true;
    for (n = from; n < LISTED && (filter.limit == 0 || found < filter.limit); n++) {
        if (!fits(&filter, n))
            continue;
        t_ok(francis_list_next(ta->ctx, &list));
        assert_string_equal(list.item.type, listed[n].part[0]);
        assert_string_equal(list.item.id, listed[n].part[1]);
        assert_string_equal(list.item.name, listed[n].part[2]);
        assert_int_equal(list.item.size, strlen(listed[n].part[2]));
        assert_memory_equal(list.item.data, listed[n].part[2], list.item.size);
        (void)snprintf(cursors[n], sizeof cursors[n], "%s", list.cursor);
        found++;
    }
    r = francis_list_next(ta->ctx, &list);
    t_result(r, FRANCIS_DONE);
    francis_list_free(&list);
    if (filter.after != NULL || filter.limit != 0)
        return;
    for (n = from; n < LISTED; n += 7) {
        if (!fits(&filter, n))
            continue;
        filter.after = cursors[n];
        list_is(filter, n + 1);
    }
}

/* Would catch: an item that is left out or comes twice at the end of a page, a filter that is not
 * one, an order that is not that of the bytes. */
static void test_list(void **state)
{
    static const francis_list filters[] = {
        { .limit = 0 }, { .limit = 1 }, { .limit = 99 }, { .limit = 100 }, { .limit = 101 },
        { .type = "num" }, { .type = "quick", .limit = 3 }, { .type = "nothing" },
        { .type = "num", .id = "a" }, { .type = "num", .id = "a b", .limit = 5 },
        { .type = "num", .id = "none" }, { .type = "num", .id = "a", .name = "n0" },
        { .type = "num", .id = "a", .name = "none" }, { .type = "\xc3\xa9tude", .id = "\xc3\xa4" },
        { .id = "a" }, { .name = "N7" }, { .id = "B", .name = "!1" }, { .id = "a", .limit = 20 },
    };
    static const char *const bad[] = { "x", "x/y", "num/a" };
    francis_list list = { .what = FRANCIS_LIST_ALARMS };
    (void)state;
    due_open(types);
    t_ok(ta_do("num", "setter", set_for_list, NULL));
    qsort(listed, LISTED, sizeof listed[0], by_key);
    for (unsigned i = 0; i < COUNT(filters); i++)
        list_is(filters[i], 0);
    for (unsigned i = 0; i < COUNT(bad); i++) {
        francis_list wrong = { .what = FRANCIS_LIST_ALARMS, .after = bad[i] };
        francis_result r = francis_list_next(ta->ctx, &wrong);
        if (r != FRANCIS_ERR_INVALID)
            fail_msg("the cursor \"%s\": %s", bad[i], francis_result_name(r));
        assert_true(wrong.error[0] != '\0');
        francis_list_free(&wrong);
    }
    list.type = "a/b";
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_ERR_INVALID);
    francis_list_free(&list);
    list.type = "num";
    list.name = name_256;
    (void)memset(name_256, 'n', 256);
    t_result(francis_list_next(ta->ctx, &list), FRANCIS_ERR_INVALID);
    francis_list_free(&list);
    /* without data none is read */
    list = (francis_list){ .what = FRANCIS_LIST_ALARMS, .limit = 1 };
    t_ok(francis_list_next(ta->ctx, &list));
    assert_null(list.item.data);
    francis_list_free(&list);
    assert_int_equal(due_rows(FRANCIS_LIST_JOBS, NULL, NULL), 0);
    assert_int_equal(due_rows(FRANCIS_LIST_DEAD_JOBS, NULL, NULL), 0);
    ta_close();
}

/* Would catch: a list that skips or repeats because others set and delete beside it. */
static void test_list_beside_changes(void **state)
{
    francis_list list = { .what = FRANCIS_LIST_ALARMS, .type = "num" };
    unsigned     n = 0;
    (void)state;
    due_open(types);
    t_ok(ta_do("num", "setter", set_for_list, NULL));
    while (francis_list_next(ta->ctx, &list) == FRANCIS_OK) {
        char id[32], name[32];
        (void)snprintf(id, sizeof id, "%s", list.item.id);
        (void)snprintf(name, sizeof name, "%s", list.item.name);
        t_ok(drop(id, name));                             /* behind it */
        if (++n % 5 == 0)
            t_ok(set(A(.id = "\x01", .name = name, .due_ms = DUE_FAR)));
    }
    t_result(list.result, FRANCIS_DONE);
    francis_list_free(&list);
    assert_int_equal(n, 5 * 13);
    assert_int_equal(rows("num", NULL), 13);
    ta_close();
}

/* -- inside of turns --------------------------------------------------------------------------- */

typedef struct {
    char                 op;        /* s set, d delete, + add, f flush, l list (.expect OK: there),
                                       p purge, h halt; 0 = the end */
    const francis_alarm *a;
    francis_result       expect;
} step;

typedef struct {
    step           steps[10];
    francis_result end;             /* what the handler returns */
    int            times;           /* plays so often, then only adds; 0 = always */
    atomic_int     played;
} script;

static bool listed_in(francis_ctx *ctx, const francis_alarm *a)
{
    francis_list   list = { .what = FRANCIS_LIST_ALARMS, .name = a->name,
                            .type = a->type != NULL ? a->type : ctx->type,
                            .id = a->id != NULL ? a->id : ctx->id };
    francis_result r = francis_list_next(ctx, &list);
    francis_list_free(&list);
    return r == FRANCIS_OK;
}

static francis_result play_step(francis_ctx *ctx, const step *s)
{
    switch (s->op) {
    case 's': return francis_alarm_set(ctx, s->a, NULL);
    case 'd': return francis_alarm_delete(ctx, s->a, NULL);
    case '+': return ta_add(ctx, NULL);
    case 'f': return francis_flush(ctx, NULL);
    case 'l': return listed_in(ctx, s->a) ? FRANCIS_OK : FRANCIS_ERR_NOT_FOUND;
    case 'p': return francis_purge(ctx, NULL, NULL, NULL);
    case 'h': return francis_halt(ctx, NULL, NULL, NULL);
    default:  return FRANCIS_ERR_INTERNAL;
    }
}

static francis_result play(francis_ctx *ctx, void *arg)
{
    script *p = (script *)arg;
    if (atomic_fetch_add(&p->played, 1) >= p->times && p->times != 0)
        return ta_add(ctx, NULL);
    for (const step *s = p->steps; s->op != 0; s++) {
        francis_result r = play_step(ctx, s);
        if (r != s->expect)
            print_error("step %d '%c' is %s\n", (int)(s - p->steps), s->op,
                        francis_result_name(r));
        ta_check(r == s->expect);
    }
    return p->end;
}

static const francis_alarm own_x = { .name = "x", .due_ms = DUE_FAR };
static const francis_alarm own_y = { .name = "y", .due_ms = DUE_FAR };
static const francis_alarm of_b = { .type = "num", .id = "b", .name = "x", .due_ms = DUE_FAR };
static const francis_alarm wrong = { .name = "x", .repeat = "garbage" };

/* Would catch: an alarm that outlives its failed turn, one that is lost although the turn
 * succeeded, one that is seen before the commit, an order within a turn that does not count. */
static void test_turns(void **state)
{
    static struct {
        const char    *what;
        script         p;
        francis_result result;
        bool           x, y, b;     /* are there afterwards */
        int64_t        n;
    } list[] = {
        { "all together", { { { 's', &own_x, 0 }, { 's', &of_b, 0 }, { '+', NULL, 0 } },
                            .end = FRANCIS_OK },
          FRANCIS_OK, true, false, true, 1 },
        { "a failure", { { { 's', &own_y, 0 }, { 'd', &own_x, 0 }, { 'd', &of_b, 0 },
                           { '+', NULL, 0 } }, .end = FRANCIS_ERR_USER },
          FRANCIS_ERR_USER, true, false, true, 1 },
        { "set, then delete", { { { 's', &own_y, 0 }, { 'd', &own_y, 0 } }, .end = FRANCIS_OK },
          FRANCIS_OK, true, false, true, 1 },
        { "delete, then set", { { { 'd', &own_x, 0 }, { 's', &own_x, 0 } }, .end = FRANCIS_OK },
          FRANCIS_OK, true, false, true, 1 },
        { "delete twice", { { { 'd', &own_x, 0 }, { 'd', &own_x, FRANCIS_ERR_NOT_FOUND },
                              { '+', NULL, 0 } }, .end = FRANCIS_OK },
          FRANCIS_OK, false, false, true, 2 },
        { "not there", { { { 'd', &own_y, FRANCIS_ERR_NOT_FOUND }, { '+', NULL, 0 } },
                         .end = FRANCIS_OK },
          FRANCIS_OK, false, false, true, 3 },
        { "what is committed", { { { 's', &own_x, 0 }, { 'l', &own_x, FRANCIS_ERR_NOT_FOUND },
                                   { 'l', &of_b, 0 }, { 'd', &of_b, 0 }, { 'l', &of_b, 0 } },
                                 .end = FRANCIS_OK },
          FRANCIS_OK, true, false, false, 3 },
        { "flush keeps", { { { 's', &own_y, 0 }, { '+', NULL, 0 }, { 'f', NULL, 0 },
                             { 'l', &own_y, 0 }, { 'd', &own_x, 0 }, { 's', &of_b, 0 },
                             { '+', NULL, 0 } }, .end = FRANCIS_ERR_USER },
          FRANCIS_ERR_USER, true, true, false, 4 },
        { "a refused one", { { { 'd', &own_y, 0 }, { 's', &wrong, FRANCIS_ERR_INVALID },
                               { '+', NULL, 0 } }, .end = FRANCIS_OK },
          FRANCIS_ERR_INVALID, true, true, false, 4 },
        { "a purge", { { { 's', &of_b, 0 }, { 'p', NULL, 0 } }, .end = FRANCIS_OK },
          FRANCIS_OK, false, false, true, 0 },
        { "a purge, then set", { { { 's', &own_y, 0 }, { 'p', NULL, 0 }, { 's', &own_x, 0 },
                                   { '+', NULL, 0 } },
                            .end = FRANCIS_OK },
          FRANCIS_OK, true, false, true, 1 },
        { "a purge that fails", { { { 'p', NULL, 0 } }, .end = FRANCIS_ERR_USER },
          FRANCIS_ERR_USER, true, false, true, 1 },
    };
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(list); i++) {
        t_result(ta_do("num", "a", play, &list[i].p), list[i].result);
        if (has("a", "x") != list[i].x || has("a", "y") != list[i].y || has("b", "x") != list[i].b)
            fail_msg("%s: x %d, y %d, b %d", list[i].what, has("a", "x"), has("a", "y"),
                     has("b", "x"));
        ta_num_is("num", "a", list[i].n);
    }
    assert_int_equal(due_count(), 0);
    ta_close();
}

/* Would catch: a check of outside that a turn goes around, and a peek that sets. */
static francis_result set_refused(francis_ctx *ctx, void *arg)
{
    const struct refusal *x = (const struct refusal *)arg;
    francis_call          call = { 0 };
    (void)ta_add(ctx, NULL);
    ta_check(francis_alarm_set(ctx, &x->a, &call) == x->result);
    ta_check(call.result == x->result && strstr(call.error, x->word) != NULL);
    return FRANCIS_OK;
}

static francis_result set_in_peek(francis_ctx *ctx, void *arg)
{
    ta_check(francis_alarm_set(ctx, (const francis_alarm *)arg, NULL) == FRANCIS_ERR_READ_ONLY);
    return FRANCIS_OK;
}

static francis_result delete_in_peek(francis_ctx *ctx, void *arg)
{
    ta_check(francis_alarm_delete(ctx, (const francis_alarm *)arg, NULL) == FRANCIS_ERR_READ_ONLY);
    return FRANCIS_OK;
}

static void test_turn_refusals(void **state)
{
    static const francis_alarm b = { .type = "num", .id = "b", .name = "x", .due_ms = DUE_FAR };
    (void)state;
    open_strict();
    for (unsigned i = 0; i < COUNT(refusals); i++) {
        francis_result r;
        if (refusals[i].a.type == NULL || refusals[i].a.id == NULL)
            continue;
        r = ta_do("num", "a", set_refused, (void *)(uintptr_t)&refusals[i]);
        if (r != refusals[i].result)
            fail_msg("refusal %u in a turn: %s", i, francis_result_name(r));
    }
    ta_num_is("num", "a", 0);
    t_ok(set(&b));
    t_result(ta_look("num", "a", set_in_peek, (void *)(uintptr_t)&own_x), FRANCIS_ERR_READ_ONLY);
    t_result(ta_look("num", "a", set_in_peek, (void *)(uintptr_t)&b), FRANCIS_ERR_READ_ONLY);
    t_result(ta_look("num", "a", delete_in_peek, (void *)(uintptr_t)&b), FRANCIS_ERR_READ_ONLY);
    assert_int_equal(rows(NULL, NULL), 1);
    ta_close();
}

/* Would catch: alarms of a turn that are lost over an await, or that are there before its end. */
static francis_result set_and_hold(francis_ctx *ctx, void *arg)
{
    ta_check(francis_alarm_set(ctx, &own_x, NULL) == FRANCIS_OK);
    return ta_hold(ctx, arg);
}

static francis_result set_y(francis_ctx *ctx, void *arg)
{
    ta_check(francis_alarm_set(ctx, &own_y, NULL) == FRANCIS_OK);
    return arg != NULL ? FRANCIS_ERR_USER : FRANCIS_OK;
}

static void test_turn_that_awaits(void **state)
{
    static ta_gate gate;
    francis_call  *call;
    (void)state;
    due_open(types);
    for (int failing = 1; failing >= 0; failing--) {
        ta_gate_init(&gate, NULL);
        gate.then = set_y;
        gate.then_arg = failing ? &gate : NULL;
        call = ta_begin("num", "a", set_and_hold, &gate);
        ta_until(atomic_load(&gate.arrived) == 1);
        assert_int_equal(rows(NULL, NULL), 0);
        ta_let(&gate, 0);
        t_result(ta_end(call), failing ? FRANCIS_ERR_USER : FRANCIS_OK);
        assert_int_equal(rows(NULL, NULL), failing ? 0 : 2);
    }
    ta_close();
}

/* -- how it runs ------------------------------------------------------------------------------- */

/* Would catch: an alarm that comes early, twice, not at all, to somebody else, or without its data;
 * a ctx that is not filled in. */
static void test_fires(void **state)
{
    int64_t due;
    due_run r;
    (void)state;
    due_open(types);
    due = due_now() + 300;
    t_ok(set(A(.id = "a", .name = "wake", .due_ms = due, .data = "hello", .size = 5)));
    t_ok(set(A(.id = "b", .name = "bare", .delay_ms = 1)));
    due_until(due_count_of("a", NULL) == 1 && due_count_of("b", NULL) == 1);
    r = due_at(1);
    assert_string_equal(r.id, "a");                         /* the later one came later */
    assert_string_equal(r.type, "num");
    assert_string_equal(r.name, "wake");
    assert_string_equal(r.text, "hello");
    assert_int_equal(r.size, 5);
    assert_int_equal(r.kind, FRANCIS_ALARM);
    assert_int_equal(r.attempt, 1);
    assert_int_equal(r.attempts_max, 3);
    assert_true(r.due_ms == due);
    assert_true(r.now_ms >= due);
    assert_true(r.request_id[0] != '\0');
    assert_string_equal(r.job_id, "");
    assert_string_equal(r.error, "");
    assert_int_equal(due_at(0).size, 0);
    assert_string_equal(due_at(0).name, "bare");
    assert_string_not_equal(due_at(0).request_id, r.request_id);
    due_until(ta_stats().alarms_fired == 2);
    assert_int_equal(rows(NULL, NULL), 0);
    due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 1);
    assert_int_equal(due_count_of("b", NULL), 1);
    ta_num_is("num", "a", 1);
    assert_int_equal(ta_stats().alarms_failed, 0);
    assert_int_equal(ta_stats().alarms_given_up, 0);
    ta_close();
    assert_int_equal(ta_stored_n("num", "a"), 1);
}

/* Would catch: a millisecond too early. */
static void test_not_before(void **state)
{
    static const int64_t dues[] = { 1, 2, 49, 50, 999, 1000, 1999, 2000, 2001, 5000, 61000 };
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < 2 * COUNT(dues); i++) {
        const int64_t ms = dues[i / 2];
        t_ok(i % 2 == 0 ? set(A(.id = "a", .name = "x", .due_ms = due_now() + ms))
                        : set(A(.id = "a", .name = "x", .delay_ms = ms)));
        due_pass(ms - 1);
        assert_int_equal(due_count(), i);
        due_pass(1);
        assert_int_equal(due_count(), i + 1);
        t_result(drop("a", "x"), FRANCIS_ERR_NOT_FOUND);
    }
    ta_close();
}

/* Would catch: one that is set for an instant that has passed, and waits for ever. */
static void test_past(void **state)
{
    static const int64_t dues[] = { 1, 1000000, DUE_START - FRANCIS_DAYS(3650), DUE_START - 1,
                                    DUE_START, 0 };
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(dues); i++) {
        due_forget();
        t_ok(set(A(.id = "a", .name = "x", .due_ms = dues[i])));
        due_rest();
        due_pass(1);
        assert_int_equal(due_count(), 1);
        assert_true(due_at(0).due_ms == (dues[i] != 0 ? dues[i] : due_now() - 1));
    }
    ta_num_is("num", "a", COUNT(dues));
    ta_close();
}

/* Would catch: a turn's alarm that waits for the next look at the database, a look that sees only
 * so many, an order that is not that of time. */
static francis_result set_many(francis_ctx *ctx, void *arg)
{
    const int count = *(const int *)arg;
    for (int i = 0; i < count; i++) {
        char          name[16];
        francis_alarm a = { .name = name, .due_ms = francis_now(ctx) + 1 + (i * 7919) % count };
        (void)snprintf(name, sizeof name, "%d", i);
        if (francis_alarm_set(ctx, &a, NULL) != FRANCIS_OK)
            return FRANCIS_ERR_USER;
    }
    return FRANCIS_OK;
}

static void test_order(void **state)
{
    static int count = 1000;
    int64_t    last = 0;
    (void)state;
    due_open(types);
    t_ok(ta_do("num", "a", set_many, &count));
    due_until(due_count() == (unsigned)count);
    for (int i = 0; i < count; i++) {
        due_run r = due_at((unsigned)i);
        assert_true(r.now_ms >= r.due_ms);
        if (due_by_hand())
            assert_true(r.due_ms >= last);
        last = r.due_ms;
    }
    due_until(rows(NULL, NULL) == 0);
    ta_num_is("num", "a", count);
    ta_close();
}

static francis_result set_for_others(francis_ctx *ctx, void *arg)
{
    const int count = *(const int *)arg;
    for (int i = 0; i < count; i++) {
        char          id[16];
        francis_alarm a = { .type = "num", .id = id, .name = "x" };
        (void)snprintf(id, sizeof id, "other%d", i);
        if (francis_alarm_set(ctx, &a, NULL) != FRANCIS_OK)
            return FRANCIS_ERR_USER;
    }
    return FRANCIS_OK;
}

static void test_many_actors(void **state)
{
    static int count = 700;
    (void)state;
    due_open(types);
    t_ok(ta_do("num", "a", set_for_others, &count));
    due_until(due_count() == (unsigned)count && rows(NULL, NULL) == 0);
    for (int i = 0; i < count; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "other%d", i);
        assert_int_equal(due_count_of(id, "x"), 1);
    }
    due_until(ta_stats().alarms_fired == (uint64_t)count);
    ta_close();
}

/* Would catch: an alarm that is set sooner than another and waits for that one. */
static void test_sooner(void **state)
{
    (void)state;
    due_open(types);
    for (int i = 0; i < 20; i++) {
        unsigned before = due_count();
        t_ok(set(A(.id = "a", .name = "late", .delay_ms = FRANCIS_HOURS(1))));
        t_ok(set(A(.id = "a", .name = "soon", .delay_ms = 50)));
        due_until(due_count() == before + 1);
        assert_string_equal(due_at(before).name, "soon");
        assert_true(due_at(before).now_ms >= due_at(before).due_ms);
    }
    /* and one that is moved nearer, or away */
    t_ok(set(A(.id = "a", .name = "late", .delay_ms = 20)));
    due_until(due_count() == 21);
    t_ok(set(A(.id = "a", .name = "x", .delay_ms = 100)));
    t_ok(set(A(.id = "a", .name = "x", .due_ms = DUE_FAR)));
    if (due_by_hand())
        due_pass(3000);
    else
        due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 21);
    ta_close();
}

/* -- repetitions ------------------------------------------------------------------------------- */

/* Would catch: a series that is counted from when the handler ran, that loses its day, that goes on
 * after its end. Times are counted from DUE_START, a Friday, eight o'clock. */
static void test_repeat(void **state)
{
    enum { S = 1000, M = 60 * S, H = 60 * M };
    static const int64_t D = INT64_C(24) * H;
    static const struct {
        const char *what, *repeat;
        int64_t     repeat_ms, due, until;      /* due: 0 = none */
        int64_t     pass, step;
        unsigned    count;
        int64_t     times[12];
    } list[] = {
        { "seconds", "10s", 0, 1000, 0, 35000, 50, 4, { 1000, 11000, 21000, 31000 } },
        { "milliseconds", NULL, 250, 1000, 0, 1999, 10, 4, { 1000, 1250, 1500, 1750 } },
        { "until", "PT10S", 0, 1000, 20999, 60000, 50, 2, { 1000, 11000 } },
        { "until the very instant", "PT10S", 0, 1000, 21000, 60000, 50, 3,
          { 1000, 11000, 21000 } },
        { "until before the first", "PT10S", 0, 1000, 500, 60000, 50, 1, { 1000 } },
        { "until for one", NULL, 0, 1000, 500, 60000, 50, 1, { 1000 } },
        { "cron", "*/5 * * * *", 0, 0, 0, 16 * M, S, 3, { 5 * M, 10 * M, 15 * M } },
        { "cron at", "0 * * * *", 0, 7 * M, 0, 3 * H, S, 4,
          { 7 * M, 1 * H, 2 * H, 3 * H } },
        { "weekdays", "0 9 * * 1-5", 0, 0, 0, 98 * H, M, 3,
          { 1 * H, 1 * H + 3 * INT64_C(24) * H, 1 * H + 4 * INT64_C(24) * H } },
        { "every", "@every 1h", 0, 0, 0, 3 * H, M, 3, { 1 * H, 2 * H, 3 * H } },
    };
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(list); i++) {
        int64_t base = due_now();
        t_ok(set(A(.id = "a", .name = "x", .repeat = list[i].repeat,
                   .repeat_ms = list[i].repeat_ms,
                   .due_ms = list[i].due > 0 ? base + list[i].due : 0,
                   .until_ms = list[i].until > 0 ? base + list[i].until : 0)));
        due_pass_by(list[i].pass, list[i].step);
        due_were(list[i].what, base, list[i].times, list[i].count);
        (void)drop("a", "x");
        due_pass_by(7 * D - list[i].pass, H);               /* a Friday at eight again */
        assert_int_equal(due_count(), 0);
    }
    ta_close();
}

/* Would catch: a month that is thirty days, a day that once cut stays cut, a 29 February. */
static void test_repeat_calendar(void **state)
{
    static const int64_t D = FRANCIS_DAYS(1);
    /* from 2027-01-31 12:00; 2028 is a leap year */
    static const int64_t months[] = { 0, 28, 59, 89, 120, 150, 181, 212, 242, 273, 303, 334, 365,
                                      394, 425 };
    int64_t times[COUNT(months)], base = DUE_START + FRANCIS_DAYS(16) + FRANCIS_HOURS(4);
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(months); i++)
        times[i] = months[i] * D;
    t_ok(set(A(.id = "a", .name = "x", .repeat = "P1M", .due_ms = base)));
    due_pass_by(FRANCIS_DAYS(16) + 425 * D + FRANCIS_HOURS(5), FRANCIS_HOURS(1));
    due_were("P1M from the 31st", base, times, COUNT(months));
    ta_close();
}

/* Would catch: a policy that is another, a cap that is not one. In each case the host is away from
 * 1500 to .back. */
static void test_missed(void **state)
{
    enum { ONCE = FRANCIS_MISSED_ONCE, SKIP = FRANCIS_MISSED_SKIP, ALL = FRANCIS_MISSED_ALL };
    static const struct {
        const char *what, *repeat;
        int         missed;
        uint32_t    missed_max;
        int64_t     due, until, back;
        unsigned    count;
        int64_t     times[8];
    } list[] = {
        { "once", "10s", ONCE, 0, 1000, 0, 55500, 3, { 1000, 11000, 61000 } },
        { "once, one missed", "10s", ONCE, 0, 1000, 0, 15000, 3, { 1000, 11000, 21000 } },
        { "once, at the instant", "10s", ONCE, 0, 1000, 0, 21000, 3, { 1000, 11000, 31000 } },
        { "once, until", "10s", ONCE, 0, 1000, 30000, 55500, 2, { 1000, 11000 } },
        { "skip", "10s", SKIP, 0, 1000, 0, 55500, 2, { 1000, 61000 } },
        { "skip, one missed", "10s", SKIP, 0, 1000, 0, 15000, 3, { 1000, 11000, 21000 } },
        { "skip, until", "10s", SKIP, 0, 1000, 30000, 55500, 1, { 1000 } },
        { "skip, not repeated", NULL, SKIP, 0, 11000, 0, 55500, 1, { 11000 } },
        { "once, not repeated", NULL, ONCE, 0, 11000, 0, 55500, 1, { 11000 } },
        { "all, not repeated", NULL, ALL, 0, 11000, 0, 55500, 1, { 11000 } },
        { "all", "10s", ALL, 0, 1000, 0, 55500, 7,
          { 1000, 11000, 21000, 31000, 41000, 51000, 61000 } },
        { "all, the last two", "10s", ALL, 2, 1000, 0, 55500, 4, { 1000, 41000, 51000, 61000 } },
        { "all, as many as the cap", "10s", ALL, 5, 1000, 0, 55500, 7,
          { 1000, 11000, 21000, 31000, 41000, 51000, 61000 } },
        { "all, until", "10s", ALL, 0, 1000, 30000, 55500, 3, { 1000, 11000, 21000 } },
        { "all, the last before until", "10s", ALL, 1, 1000, 30000, 55500, 2, { 1000, 21000 } },
        { "all, a late first", "10s", ALL, 0, 11000, 0, 35500, 4, { 11000, 21000, 31000, 41000 } },
        { "cron, all", "* * * * *", ALL, 0, 0, 0, 200000, 4, { 60000, 120000, 180000, 240000 } },
        { "cron, once", "* * * * *", ONCE, 0, 0, 0, 200000, 2, { 60000, 240000 } },
        { "cron, skip", "* * * * *", SKIP, 0, 0, 0, 200000, 1, { 240000 } },
    };
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(list); i++) {
        int64_t base = due_now();
        t_ok(set(A(.id = "a", .name = "x", .repeat = list[i].repeat,
                   .due_ms = list[i].due > 0 ? base + list[i].due : 0,
                   .until_ms = list[i].until > 0 ? base + list[i].until : 0,
                   .missed = (francis_missed)list[i].missed, .missed_max = list[i].missed_max)));
        due_pass(1500);
        ta_close();
        due_away(list[i].back - 1500);
        due_open(types);
        due_pass_by(list[i].back > 100000 ? 40000 : list[i].back > 50000 ? 6000 : 10500, 50);
        due_were(list[i].what, base, list[i].times, list[i].count);
        (void)drop("a", "x");
        due_pass_by(60000 - (due_now() - DUE_START) % 60000, 1000);     /* a full minute */
    }
    ta_close();
}

/* Would catch: occurrences that overlap, or that are counted from the end of the slow one. */
static francis_result take_long(francis_ctx *ctx, void *arg)
{
    atomic_int *times = (atomic_int *)arg;
    if (atomic_fetch_sub(times, 1) > 0)
        due_away(25000);
    return ta_add(ctx, NULL);
}

static void test_slow_handler(void **state)
{
    static const struct {
        francis_missed missed;
        unsigned       count;
        int64_t        times[6];
    } list[] = {
        { FRANCIS_MISSED_ONCE, 4, { 1000, 11000, 31000, 41000 } },
        { FRANCIS_MISSED_SKIP, 3, { 1000, 31000, 41000 } },
        { FRANCIS_MISSED_ALL, 5, { 1000, 11000, 21000, 31000, 41000 } },
    };
    static atomic_int times;
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(list); i++) {
        int64_t base = due_now();
        atomic_store(&times, 1);
        t_ok(set(A(.id = "a", .name = "x", .repeat = "10s", .due_ms = base + 1000,
                   .missed = list[i].missed, RUN(take_long, &times))));
        while (due_now() < base + 45000)
            due_pass(100);
        due_were("a slow handler", base, list[i].times, list[i].count);
        t_ok(drop("a", "x"));
    }
    ta_close();
}

/* Would catch: an occurrence that has the number of another, so that its work seems done. */
static void test_request_ids(void **state)
{
    (void)state;
    due_open(types);
    t_ok(set(A(.id = "a", .name = "x", .repeat_ms = 100, .due_ms = due_now() + 100)));
    t_ok(set(A(.id = "a", .name = "y", .repeat_ms = 100, .due_ms = due_now() + 100)));
    due_pass(1000);
    assert_int_equal(due_count(), 20);
    for (unsigned i = 0; i < 20; i++)
        for (unsigned k = i + 1; k < 20; k++)
            assert_string_not_equal(due_at(i).request_id, due_at(k).request_id);
    ta_num_is("num", "a", 20);
    ta_close();
}

/* -- an own alarm inside its handler ----------------------------------------------------------- */

/* Would catch: a completion that deletes what the handler has set, that arms what the handler has
 * deleted, that takes the same alarm for a new one. The alarm that runs is x, due at 1000. */
static void test_own_alarm(void **state)
{
    enum { NEVER = -1 };
    static const struct own {
        const char    *what, *repeat;
        char           ops[4];      /* of what the handler does: s later, S sooner and once,
                                       i identically, d delete, o another one; ! = and fails */
        int64_t        next;        /* x runs again then */
        int64_t        n;           /* and by then so many have counted */
        bool           other;       /* there is another one */
    } list[] = {
        { "done", NULL, "", NEVER, 1, false },
        { "later", NULL, "s", 8000, 2, false },
        { "later, repeated", "5s", "s", 8000, 2, false },
        { "deleted", NULL, "d", NEVER, 1, false },
        { "deleted, repeated", "5s", "d", NEVER, 1, false },
        { "identically", NULL, "i", NEVER, 1, false },
        { "identically, repeated", "5s", "i", 6000, 2, false },
        { "deleted, then later", NULL, "ds", 8000, 2, false },
        { "later, then deleted", "5s", "sd", NEVER, 1, false },
        { "another one", NULL, "o", NEVER, 1, true },
        { "another one, repeated", "5s", "o", 6000, 2, true },
        { "later, and fails", NULL, "s!", 2000, 1, false },
        { "deleted, and fails", NULL, "d!", 2000, 1, false },
        { "another one, and fails", "5s", "o!", 2000, 1, false },
    };
    (void)state;
    due_open(types);
    for (unsigned i = 0; i < COUNT(list); i++) {
        static francis_alarm same, later, other;
        static script        p;
        static ta_job        job;
        char                 id[16];
        int64_t              base = due_now();
        unsigned             at = 0;
        due_run              r;
        (void)snprintf(id, sizeof id, "a%u", i);
        job = (ta_job){ play, &p };
        same = *A(.id = id, .name = "x", .due_ms = base + 1000, .repeat = list[i].repeat,
                  .data = &job, .size = sizeof job);
        later = (francis_alarm){ .name = "x", .due_ms = base + 8000 };
        other = (francis_alarm){ .name = "other", .due_ms = DUE_FAR };
        (void)memset(&p, 0, sizeof p);
        p.times = 1;
        p.steps[at++] = (step){ '+', NULL, FRANCIS_OK };
        for (const char *op = list[i].ops; *op != '\0'; op++) {
            if (*op == '!')
                p.end = FRANCIS_ERR_USER;
            else
                p.steps[at++] = (step){ *op == 'd' ? 'd' : 's',
                                        *op == 'o' ? &other : *op == 'i' ? &same : &later,
                                        FRANCIS_OK };
        }
        t_ok(set(&same));
        due_pass(1000);
        assert_int_equal(due_count(), 1);
        if (list[i].next == NEVER) {
            assert_false(has(id, "x"));
            due_pass(20000);
            if (due_count() != 1)
                fail_msg("%s: it runs again", list[i].what);
        } else {
            due_until(due_count() == 2);
            r = due_at(1);
            /* a repeated attempt comes within a tenth of its time, but has the due time of old */
            if (list[i].next == 2000)
                assert_true(r.due_ms == base + 1000 && r.attempt == 2 &&
                            r.now_ms >= base + 1900 && r.now_ms <= base + 2150);
            else if (r.due_ms != base + list[i].next)
                fail_msg("%s: it runs again at %lld", list[i].what, (long long)(r.due_ms - base));
        }
        ta_num_is("num", id, list[i].n);
        assert_true(has(id, "other") == list[i].other);
        (void)drop(id, "x");
        (void)drop(id, "other");
        due_forget();
    }
    ta_close();
}

/* Would catch: alarms that wake each other and lose one. */
static francis_result pass_on(francis_ctx *ctx, void *arg)
{
    atomic_int   *left = (atomic_int *)arg;
    ta_job        job = { pass_on, arg };
    char          next[16];
    francis_alarm a = { .type = "num", .id = next, .name = "ball", .data = &job,
                        .size = sizeof job };
    if (atomic_fetch_sub(left, 1) <= 1)
        return ta_add(ctx, NULL);
    (void)snprintf(next, sizeof next, "p%d", atomic_load(left) % 7);
    ta_check(francis_alarm_set(ctx, &a, NULL) == FRANCIS_OK);
    return ta_add(ctx, NULL);
}

static void test_chain(void **state)
{
    static atomic_int left;
    int64_t           sum = 0;
    (void)state;
    due_open(types);
    atomic_store(&left, 200);
    t_ok(set(A(.id = "p0", .name = "ball", RUN(pass_on, &left))));
    due_until(due_count() == 200 && rows(NULL, NULL) == 0);
    for (int i = 0; i < 7; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "p%d", i);
        t_ok(ta_do("num", id, ta_get, NULL));
        sum += ta_int(&ta->last);
    }
    assert_int_equal(sum, 200);
    ta_close();
}

/* -- attempts ---------------------------------------------------------------------------------- */

/* Would catch: a first retry that comes at once, a delay that is cut to whole numbers, that has no
 * spread, that grows without end; an attempt too many or too few. */
static void test_back_off(void **state)
{
    static const double      factors[] = { 1, 1.5, 2.25, 3.375, 5.0625, 7.59375, 10, 10, 10 };
    static const unsigned    actors = 24, attempts = COUNT(factors) + 1;
    const francis_actor_desc patient[] = {
        { DUE_TYPE("num"), .retry_delay_ms = 1000, .attempts_max = attempts }, TA_END
    };
    static due_failure f;
    int64_t            last[24], least[COUNT(factors)], most[COUNT(factors)];
    (void)state;
    due_open(patient);
    atomic_store(&f.left, 1000000);
    (void)memset(last, 0, sizeof last);
    for (unsigned i = 0; i < actors; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%u", i);
        t_ok(set(A(.id = id, .name = "x", .due_ms = DUE_START + 1000, RUN(due_fail, &f))));
    }
    due_pass_by(80000, 10);
    assert_int_equal(due_count(), actors * attempts);
    for (unsigned k = 0; k < COUNT(factors); k++) {
        least[k] = INT64_MAX;
        most[k] = 0;
    }
    for (unsigned i = 0; i < due_count(); i++) {
        due_run  r = due_at(i);
        unsigned actor = (unsigned)atoi(r.id);
        int64_t  delay = r.now_ms - last[actor];
        assert_true(r.due_ms == DUE_START + 1000);
        assert_int_equal(r.attempts_max, attempts);
        if (r.attempt > 1) {
            unsigned k = r.attempt - 2;
            if ((double)delay < 900 * factors[k] - 11 || (double)delay > 1100 * factors[k] + 11)
                fail_msg("attempt %u comes after %lld ms", r.attempt, (long long)delay);
            if (delay < least[k])
                least[k] = delay;
            if (delay > most[k])
                most[k] = delay;
        }
        last[actor] = r.now_ms;
    }
    for (unsigned k = 0; k < COUNT(factors); k++)           /* there is a spread */
        if ((double)(most[k] - least[k]) < 50 * factors[k])
            fail_msg("attempt %u comes after %lld to %lld ms", k + 2, (long long)least[k],
                     (long long)most[k]);
    assert_int_equal(rows(NULL, NULL), 0);
    assert_int_equal(ta_stats().alarms_given_up, actors);
    assert_int_equal(ta_stats().alarms_failed, actors * attempts);
    assert_int_equal(ta_stats().alarms_fired, 0);
    ta_num_is("num", "0", 0);
    ta_close();
}

/* Would catch: attempts that are counted from one again after a restart, a retry that comes at once
 * then, an error text that is lost. */
static void test_attempts_last(void **state)
{
    static due_failure f;
    due_item           i;
    (void)state;
    due_open(types);
    atomic_store(&f.left, 2);
    t_ok(set(A(.id = "a", .name = "x", .due_ms = DUE_START + 100, RUN(due_fail, &f))));
    due_pass(100);
    assert_int_equal(due_count(), 1);
    i = get("num", "a", "x");
    assert_int_equal(i.attempts, 1);
    assert_int_equal(i.status, FRANCIS_STATUS_RETRYING);
    assert_string_equal(i.error, "attempt 1 of a");
    assert_int_equal(ta_stats().alarms_failed, 1);
    assert_int_equal(t_logged(&ta->log, 500), 1);
    ta_close();
    due_open(types);
    i = get("num", "a", "x");
    assert_int_equal(i.attempts, 1);
    assert_string_equal(i.error, "attempt 1 of a");
    due_pass(800);
    assert_int_equal(due_count(), 1);
    due_pass(300);
    assert_int_equal(due_count(), 2);
    ta_close();
    due_away(60000);
    due_open(types);
    due_pass(100);
    assert_int_equal(due_count(), 3);
    for (unsigned k = 0; k < 3; k++) {
        assert_int_equal(due_at(k).attempt, k + 1);
        assert_true(due_at(k).due_ms == DUE_START + 100);
        assert_string_equal(due_at(k).request_id, due_at(0).request_id);
    }
    assert_int_equal(rows(NULL, NULL), 0);
    assert_int_equal(ta_stats().alarms_fired, 1);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Would catch: an alarm that runs for ever, one execution too many, a repetition that dies of one
 * bad occurrence, or that takes its attempts along. */
static void test_exhausted(void **state)
{
    static due_failure f;
    static const int64_t once[] = { 1000, 1000, 1000 };
    static const int64_t series[] = { 1000, 1000, 1000, 21000, 41000 };
    int64_t              base;
    due_item             i;
    (void)state;
    due_open(types);
    atomic_store(&f.left, 3);
    t_ok(set(A(.id = "a", .name = "x", .due_ms = DUE_START + 1000, RUN(due_fail, &f))));
    due_pass(15000);
    due_were("exhausted", DUE_START, once, COUNT(once));
    assert_false(has("a", "x"));
    assert_int_equal(t_logged(&ta->log, GIVEN_UP), 1);
    says(ta->log.last[GIVEN_UP], "attempt 3 of a");
    assert_int_equal(ta_stats().alarms_given_up, 1);
    assert_int_equal(ta_stats().alarms_failed, 3);

    atomic_store(&f.left, 3);
    base = due_now();
    t_ok(set(A(.id = "b", .name = "x", .due_ms = base + 1000, .repeat = "20s",
               RUN(due_fail, &f))));
    due_pass(2200);
    i = get("num", "b", "x");
    assert_int_equal(i.attempts, 2);
    due_pass(41000 - 2200);
    i = get("num", "b", "x");
    assert_int_equal(i.attempts, 0);
    assert_string_equal(i.error, "");
    due_were("exhausted, repeated", base, series, COUNT(series));
    assert_int_equal(ta_stats().alarms_given_up, 2);
    ta_num_is("num", "b", 2);
    ta_num_is("num", "a", 0);
    ta_close();
}

/* Would catch: an identical set that begins the attempts anew, or one that differs and does not. */
static void test_identical(void **state)
{
    static due_failure   f;
    static const ta_job  job = { due_fail, &f };
    static const ta_job  other_job = { ta_add, NULL };
    const francis_alarm  base = { .type = "num", .id = "a", .name = "x", .due_ms = DUE_START + 100,
                                  .data = &job, .size = sizeof job, .repeat = "1h",
                                  .until_ms = DUE_START + FRANCIS_DAYS(1) };
    francis_alarm        others[9];
    due_item             i;
    (void)state;
    for (unsigned k = 0; k < COUNT(others); k++)
        others[k] = base;
    others[0].repeat = "60m";                               /* the same, said otherwise */
    others[1].due_ms++;
    others[2].repeat = "2h";
    others[3].until_ms++;
    others[4].data = &other_job;
    others[5].size--;
    others[6].missed = FRANCIS_MISSED_ALL;
    others[7].repeat = NULL;
    others[8].wait_for_clock = true;
    due_open(types);
    for (unsigned k = 0; k < COUNT(others); k++) {
        francis_alarm a = base;
        a.due_ms = due_now() + 100;
        others[k].due_ms += a.due_ms - base.due_ms;
        atomic_store(&f.left, 1);
        t_ok(set(&a));
        due_pass(100);
        i = get("num", "a", "x");
        assert_int_equal(i.attempts, 1);
        t_ok(set(&a));
        i = get("num", "a", "x");
        assert_int_equal(i.attempts, 1);
        assert_int_equal(i.status, FRANCIS_STATUS_RETRYING);
        assert_string_equal(i.error, "attempt 1 of a");
        t_ok(set(&others[k]));
        if (due_find(FRANCIS_LIST_ALARMS, "num", "a", "x", &i) &&
            i.attempts != (k == 0 ? 1u : 0u))
            fail_msg("difference %u: %u attempts", k, i.attempts);
        t_ok(drop("a", "x"));
        due_pass(3000);
    }
    ta_close();
}

/* Would catch: a repetition that is set again as it was at each start, and each time runs anew. */
static void test_identical_later(void **state)
{
    const francis_alarm a = { .type = "num", .id = "a", .name = "x", .due_ms = DUE_START + 1000,
                              .repeat = "10s" };
    static const int64_t times[] = { 1000, 11000, 21000 };
    (void)state;
    due_open(types);
    for (int i = 0; i < 25; i++) {
        t_ok(set(&a));
        due_pass(1000);
    }
    due_were("the same again", DUE_START, times, COUNT(times));
    ta_close();
}

/* Would catch: an alarm whose handler is gone that runs for ever, or takes others along. */
static void test_no_handler_any_more(void **state)
{
    static const francis_actor_desc deaf[] = {
        { .type = "num", .methods = ta_methods, .state_size = sizeof(ta_number),
          .job = due_handler },     /* it has none for alarms */
        { DUE_TYPE("quick") }, TA_END
    };
    (void)state;
    due_open(types);
    t_ok(set(A(.id = "a", .name = "x", .due_ms = due_now() + 1000)));
    t_ok(set(A(.id = "a", .name = "y", .due_ms = due_now() + 1000, .repeat = "1h")));
    t_ok(set(A_OF("quick", .id = "a", .name = "x", .due_ms = due_now() + 1000)));
    ta_close();
    due_away(5000);
    due_open(deaf);
    due_pass(2000);
    assert_int_equal(due_count(), 1);
    assert_string_equal(due_at(0).type, "quick");
    assert_false(has("a", "x"));
    assert_true(has("a", "y"));                             /* goes on with the next */
    assert_true(get("num", "a", "y").due_ms == DUE_START + 1000 + FRANCIS_HOURS(1));
    assert_int_equal(ta_stats().alarms_given_up, 2);
    assert_int_equal(t_logged(&ta->log, GIVEN_UP), 2);
    ta_close();
}

/* Would catch: alarms of a type that is not served here and are lost, or run nevertheless. */
static void test_not_served(void **state)
{
    static const francis_actor_desc quick_only[] = { { DUE_TYPE("quick") }, TA_END };
    (void)state;
    due_open(quick_only);
    t_ok(set(A(.id = "a", .name = "x")));
    t_ok(set(A_OF("quick", .id = "a", .name = "x")));
    due_until(due_count() == 1);
    due_quiet("quick");
    assert_int_equal(due_count_of("a", NULL), 1);
    assert_int_equal(rows("num", NULL), 1);
    ta_close();
    due_open(types);
    due_until(due_count_of("a", NULL) == 2 && rows(NULL, NULL) == 0);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* -- what the actor is doing ------------------------------------------------------------------- */

/* Would catch: an actor that is not waked, waked twice, or that loses the alarm as it goes. */
static francis_result up(francis_ctx *ctx)
{
    (void)ctx;
    ta_note("up");
    return FRANCIS_OK;
}

static francis_result down(francis_ctx *ctx)
{
    (void)ctx;
    ta_note("down");
    return FRANCIS_OK;
}

static francis_result ring(francis_ctx *ctx)
{
    ta_note("ring");
    return due_handler(ctx);
}

static const francis_actor_desc lives[] = {
    { .type = "num", .methods = ta_methods, .state_size = sizeof(ta_number), .alarm = ring,
      .activate = up, .deactivate = down, .retry_delay_ms = 20 },
    TA_END
};

static void test_lives(void **state)
{
    static script halting = { .steps = { { '+', NULL, 0 }, { 'h', NULL, 0 } } };
    (void)state;
    due_open(lives);
    t_ok(set(A(.id = "a", .name = "x", .delay_ms = 20)));   /* inactive */
    due_until(due_count() == 1 && rows(NULL, NULL) == 0);
    ta_diary_is("up ring");
    t_ok(set(A(.id = "a", .name = "x", .delay_ms = 20)));   /* active */
    due_until(due_count() == 2 && rows(NULL, NULL) == 0);
    ta_diary_is("ring");
    t_ok(set(A(.id = "a", .name = "x", .delay_ms = 20)));   /* goes to sleep meanwhile */
    t_ok(francis_halt(ta->ctx, "num", "a", NULL));
    due_until(due_count() == 3 && rows(NULL, NULL) == 0);
    ta_diary_is("down up ring");
    t_ok(set(A(.id = "a", .name = "x", RUN(play, &halting))));  /* and sends itself to sleep */
    due_until(ta_noted("down") && rows(NULL, NULL) == 0);
    ta_diary_is("ring down");
    ta_num_is("num", "a", 4);
    due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 4);
    assert_int_equal(ta_stats().alarms_failed, 0);
    ta_close();
}

/* Would catch: an alarm that is lost or runs twice between two lives of its actor. */
static void test_hibernation(void **state)
{
    const int rounds = ta_times(150, 40);
    (void)state;
    due_open(types);
    for (int i = 0; i < rounds; i++) {
        t_ok(set(A_OF("brief", .id = "a", .name = "x", .delay_ms = 15 + i % 10)));
        if (i % 3 == 0)
            (void)francis_halt(ta->ctx, "brief", "a", NULL);
        due_until(due_count() == (unsigned)i + 1 && rows(NULL, NULL) == 0);
    }
    ta_num_is("brief", "a", rounds);
    assert_true(ta_stats().deactivations > 0);
    ta_close();
}

/* Would catch: a failed activation that costs an alarm, or loses it. */
static atomic_int bad_days;

static francis_result up_later(francis_ctx *ctx)
{
    return atomic_fetch_sub(&bad_days, 1) > 0 ? francis_fail(ctx, FRANCIS_ERR_USER + 1, "not yet")
                                              : FRANCIS_OK;
}

static void test_failed_activation(void **state)
{
    static const francis_actor_desc slow[] = {
        { DUE_TYPE("num"), .activate = up_later, .retry_delay_ms = 20, .attempts_max = 10 }, TA_END
    };
    (void)state;
    due_open(slow);
    atomic_store(&bad_days, 3);
    t_ok(set(A(.id = "a", .name = "x")));
    due_until(due_count() == 1 && rows(NULL, NULL) == 0);
    ta_num_is("num", "a", 1);
    ta_close();
}

/* Would catch: capacity that alarms go around; alarms that wait for it and are forgotten. */
static void test_concurrency(void **state)
{
    static const francis_actor_desc few[] = {
        { DUE_TYPE("num"), .concurrency_max = 2, .idle_timeout_ms = 10 }, TA_END
    };
    static due_crowd crowd;
    (void)state;
    (void)memset(&crowd, 0, sizeof crowd);
    due_open(few);
    for (int i = 0; i < 12; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(set(A(.id = id, .name = "x", RUN(due_join_crowd, &crowd))));
    }
    due_until(atomic_load(&crowd.inside) == 2);
    due_until((due_let_crowd(&crowd), ta_stats().alarms_fired == 12));
    assert_int_equal(atomic_load(&crowd.most), 2);
    assert_int_equal(rows(NULL, NULL), 0);
    assert_int_equal(due_count(), 12);
    assert_int_equal(ta_stats().alarms_failed, 0);
    ta_close();
}

/* Would catch: a type that can run nothing and keeps all others waiting behind its alarms. */
static francis_result fill_full(francis_ctx *ctx, void *arg)
{
    const int count = *(const int *)arg;
    for (int i = 0; i < count; i++) {
        char          id[16];
        francis_alarm a = { .type = "full", .id = id, .name = "x", .due_ms = 1 + i };
        (void)snprintf(id, sizeof id, "%d", i);
        if (francis_alarm_set(ctx, &a, NULL) != FRANCIS_OK)
            return FRANCIS_ERR_USER;
    }
    return FRANCIS_OK;
}

static void test_fairness(void **state)
{
    static const francis_actor_desc two[] = {
        { DUE_TYPE("num") },
        { DUE_TYPE("full"), .concurrency_max = 1 },         /* and the one place is taken */
        TA_END
    };
    static ta_gate gate;
    static int     count = 3000;
    francis_call  *call;
    (void)state;
    due_open(two);
    ta_gate_init(&gate, NULL);
    call = ta_begin("full", "sitting", ta_hold, &gate);
    ta_until(atomic_load(&gate.arrived) == 1);
    t_ok(ta_do("num", "setter", fill_full, &count));
    for (int i = 0; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(set(A(.id = id, .name = "x")));
    }
    due_until(due_count() == 100 && rows("num", NULL) == 0);
    assert_int_equal(rows("full", NULL), count);
    ta_let(&gate, 0);
    t_ok(ta_end(call));
    t_ok(francis_halt(ta->ctx, "full", "sitting", NULL));
    due_until(due_count() > 100);                           /* now they come */
    ta_close();
}

/* Would catch: an alarm of a singleton that has no actor. */
static void test_singleton(void **state)
{
    static const francis_actor_desc one[] = { { DUE_TYPE("one"), .singleton = true }, TA_END };
    (void)state;
    due_open(one);
    t_ok(set(A_OF("one", .id = "singleton", .name = "x", .delay_ms = 10)));
    t_result(set(A_OF("one", .id = "another", .name = "x")), FRANCIS_ERR_INVALID);
    due_until(due_count() == 1 && rows(NULL, NULL) == 0);
    ta_num_is("one", "singleton", 1);
    ta_close();
}

/* Would catch: what a purge from outside leaves behind, and a running one that counts after it. */
static void test_purge(void **state)
{
    (void)state;
    due_open(types);
    t_ok(ta_do("num", "a", ta_add, NULL));
    for (int i = 0; i < 5; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "x%d", i);
        t_ok(set(A(.id = "a", .name = name, .due_ms = i == 0 ? DUE_FAR : due_now() + 500,
                   .repeat = i % 2 ? "1h" : NULL)));
        t_ok(set(A(.id = "b", .name = name, .due_ms = DUE_FAR)));
    }
    t_ok(francis_purge(ta->ctx, "num", "a", NULL));
    assert_int_equal(rows("num", "a"), 0);
    assert_int_equal(rows("num", "b"), 5);
    if (due_by_hand())
        due_pass(2000);
    else
        due_quiet("num");
    assert_int_equal(due_count_of("a", NULL), 0);
    ta_num_is("num", "a", 0);
    ta_close();
}

/* Would catch: a purge of its own that the completion undoes. */
static void test_purge_inside(void **state)
{
    static const francis_alarm y = { .name = "y", .due_ms = DUE_FAR };
    static script purging = { .steps = { { '+', NULL, 0 }, { 's', &y, 0 }, { 'p', NULL, 0 } } };
    (void)state;
    due_open(types);
    t_ok(set(A(.id = "a", .name = "z", .due_ms = DUE_FAR)));
    t_ok(set(A(.id = "a", .name = "x", .repeat = "1h", .due_ms = 1, RUN(play, &purging))));
    due_until(due_count() == 1 && rows(NULL, NULL) == 0);
    ta_num_is("num", "a", 0);
    due_until(ta_stats().alarms_fired == 1);
    ta_close();
}

/* -- turns that take their time ---------------------------------------------------------------- */

/* Would catch: what is flushed in a turn that fails and is lost, or taken for its completion. */
static void test_flush(void **state)
{
    static script twice = { .steps = { { '+', NULL, 0 }, { 'f', NULL, 0 }, { '+', NULL, 0 } },
                            .end = FRANCIS_ERR_USER, .times = 1 };
    static script well = { .steps = { { '+', NULL, 0 }, { 'f', NULL, 0 }, { '+', NULL, 0 },
                                      { 'f', NULL, 0 } } };
    (void)state;
    atomic_store(&twice.played, 0);
    due_open(types);
    t_ok(set(A_OF("quick", .id = "a", .name = "x", RUN(play, &twice))));
    due_until(due_count() == 2 && rows(NULL, NULL) == 0);
    ta_num_is("quick", "a", 2);                             /* one flushed, one of the retry */
    assert_int_equal(due_at(1).attempt, 2);
    t_ok(set(A_OF("quick", .id = "b", .name = "x", RUN(play, &well))));
    due_until(due_count() == 3 && rows(NULL, NULL) == 0);
    ta_num_is("quick", "b", 2);
    ta_close();
}

/* Would catch: an alarm that cannot call others, or whose time is not kept while it awaits. */
typedef struct {
    francis_call call;
} asking;

static francis_result has_asked(francis_ctx *ctx)
{
    asking *a = (asking *)ctx->local;
    return a->call.result == FRANCIS_OK ? ta_add(ctx, NULL) : a->call.result;
}

static francis_result asks(francis_ctx *ctx, void *arg)
{
    asking *a = (asking *)francis_alloc(ctx, sizeof *a);
    ta_job  job = { ta_add, NULL };
    (void)arg;
    if (a == NULL)
        return FRANCIS_ERR_NOMEM;
    a->call.async = true;
    (void)francis_invoke(ctx, "num", "asked", "do", &job, sizeof job, &a->call);
    return francis_await(ctx, has_asked, a);
}

/* A caller whose turn has ended without an answer, which an alarm gives later. */
static _Atomic uint64_t parked;

static francis_result park(francis_ctx *ctx, void *arg)
{
    francis_alarm a = { .name = "answer", .data = arg, .size = sizeof(ta_job), .delay_ms = 20 };
    uint64_t      ticket = francis_defer(ctx);
    ta_check(ticket != 0);
    atomic_store(&parked, ticket);
    return francis_alarm_set(ctx, &a, NULL);
}

static francis_result answer_parked(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_answer(ctx, atomic_load(&parked), FRANCIS_OK, "here", 4) == FRANCIS_OK);
    return ta_add(ctx, NULL);
}

static francis_result defers(francis_ctx *ctx, void *arg)
{
    (void)arg;
    ta_check(francis_defer(ctx) == 0);                      /* there is no caller */
    return FRANCIS_OK;
}

static void test_await_and_answers(void **state)
{
    static ta_job answering = { answer_parked, NULL };
    francis_call *call;
    (void)state;
    due_open(types);
    t_ok(set(A_OF("quick", .id = "a", .name = "x", RUN(asks, NULL))));
    due_until(due_count() == 1 && rows(NULL, NULL) == 0);
    ta_num_is("quick", "a", 1);
    ta_num_is("num", "asked", 1);
    call = ta_begin("num", "a", park, &answering);
    due_until(due_count() == 2 && rows(NULL, NULL) == 0);
    t_ok(ta_end(call));
    assert_int_equal(call->size, 4);
    ta_num_is("num", "a", 1);
    t_ok(set(A_OF("quick", .id = "b", .name = "x", RUN(defers, NULL))));
    due_until(rows(NULL, NULL) == 0);
    due_until(ta_stats().alarms_given_up == 1);             /* USAGE, three times */
    ta_close();
}

/* Would catch: an occurrence that was taken away from its turn and counts nevertheless. The alarm
 * is replaced, deleted or set identically from outside while its handler runs. */
static void test_changed_meanwhile(void **state)
{
    enum { REPLACE, DELETE, SAME, SOONER, ANOTHER };
    static ta_gate      gate;
    static const ta_job held = { ta_hold, &gate };
    (void)state;
    due_open(types);
    gate.then = ta_add;
    for (int how = REPLACE; how <= ANOTHER; how++) {
        char          id[16];
        francis_alarm a = { .type = "quick", .id = id, .name = "x", .due_ms = due_now(),
                            .data = &held, .size = sizeof held };
        int64_t       expected = how == REPLACE || how == DELETE ? 0 : 1;
        francis_stats before = ta_stats();
        (void)snprintf(id, sizeof id, "a%d", how);
        due_forget();
        ta_gate_init(&gate, NULL);
        gate.then = ta_add;
        t_ok(set(&a));
        due_until(atomic_load(&gate.arrived) == 1);
        assert_int_equal(get("quick", id, "x").status, FRANCIS_STATUS_RUNNING);
        if (how == REPLACE)
            t_ok(set(A_OF("quick", .id = id, .name = "x", .due_ms = DUE_FAR)));
        else if (how == DELETE)
            t_ok(francis_alarm_delete(ta->ctx, &a, NULL));
        else if (how == SAME)
            t_ok(set(&a));
        else if (how == SOONER)
            t_ok(set(A_OF("quick", .id = id, .name = "x")));    /* now, and it only adds one */
        else
            t_ok(set(A_OF("quick", .id = id, .name = "y", .due_ms = DUE_FAR)));
        (void)francis_answer(ta->ctx, atomic_load(&gate.tickets[0]), FRANCIS_OK, NULL, 0);
        if (how == SOONER)
            due_until(due_count() == 2);
        due_quiet("quick");
        ta_num_is("quick", id, expected);
        assert_int_equal(due_count_of(id, NULL), how == SOONER ? 2 : 1);
        assert_int_equal(rows("quick", id), how == REPLACE || how == ANOTHER ? 1 : 0);
        assert_int_equal(ta_stats().alarms_given_up, before.alarms_given_up);
    }
    ta_close();
}

/* Would catch: a handler that hangs for ever and is waited for, or whose late effect counts. */
static void test_turn_timeout(void **state)
{
    static const francis_actor_desc bounded[] = {
        { DUE_TYPE("num"), .turn_timeout_ms = 200, .retry_delay_ms = 20, .attempts_max = 2 }, TA_END
    };
    static due_crowd crowd;
    (void)state;
    (void)memset(&crowd, 0, sizeof crowd);
    due_open(bounded);
    t_ok(set(A(.id = "a", .name = "x", RUN(due_join_crowd, &crowd))));
    due_until(due_count() == 2);
    assert_int_equal(due_at(1).attempt, 2);
    due_until(ta_stats().alarms_given_up == 1);
    assert_int_equal(rows(NULL, NULL), 0);
    assert_int_equal(ta_stats().alarms_failed, 2);
    ta_num_is("num", "a", 0);
    ta_close();
}

/* Would catch: a handler without a limit that is cut off nevertheless. */
static void test_no_turn_timeout(void **state)
{
    static due_crowd crowd;
    (void)state;
    (void)memset(&crowd, 0, sizeof crowd);
    due_open(types);
    t_ok(set(A(.id = "a", .name = "x", .repeat = "1s", .due_ms = 1, RUN(due_join_crowd, &crowd))));
    due_until(atomic_load(&crowd.inside) == 1);
    due_pass_by(FRANCIS_HOURS(2), 1000);
    assert_int_equal(due_count(), 1);                       /* never two at once */
    due_let_crowd(&crowd);
    due_pass(1);
    assert_int_equal(atomic_load(&crowd.most), 1);
    assert_int_equal(due_count(), 2);                       /* one for all that were missed */
    due_let_crowd(&crowd);
    ta_num_is("num", "a", 2);
    ta_close();
}

/* -- stopping ---------------------------------------------------------------------------------- */

static francis_result give_up(francis_ctx *ctx, void *arg)
{
    francis_result r = francis_interrupted(ctx);
    (void)arg;
    ta_check(r == FRANCIS_ERR_STOPPED || r == FRANCIS_ERR_MOVED);
    return r;
}

static void until_stopped(void)
{
    int64_t end = t_ms() + 60000;
    while (francis_poll(ta->host, 1) != FRANCIS_ERR_STOPPED)
        if (t_ms() > end)
            fail_msg("the host does not stop");
}

/* Would catch: an alarm that is cut off by a stop although it could finish, one that is lost by it,
 * an attempt that is counted for it, one that begins while the host goes down. */
static void test_stop(void **state)
{
    static ta_gate      gate;
    static const ta_job held = { ta_hold, &gate };
    (void)state;
    for (int finishing = 1; finishing >= 0; finishing--) {
        due_forget();
        due_open(types);
        ta_gate_init(&gate, NULL);
        gate.then = finishing ? ta_add : give_up;
        t_ok(set(A(.id = "a", .name = "x", .data = &held, .size = sizeof held)));
        due_until(atomic_load(&gate.arrived) == 1);
        t_ok(set(A(.id = "a", .name = "behind")));          /* due, but the actor is busy */
        francis_stop(ta->host);
        due_until(due_draining());
        ta_let(&gate, 0);
        until_stopped();
        assert_int_equal(due_count(), 1);
        ta_close();
        assert_int_equal(ta_stored_n("num", "a"), finishing ? 1 : 2);
        gate.then = ta_add;
        due_open(types);
        if (!finishing) {
            due_until(atomic_load(&gate.arrived) == 2);
            ta_let(&gate, 1);
        }
        due_until(rows(NULL, NULL) == 0);
        assert_int_equal(due_count(), finishing ? 2 : 3);
        for (unsigned i = 0; i < due_count(); i++)
            assert_int_equal(due_at(i).attempt, 1);
        ta_num_is("num", "a", finishing ? 2 : 4);
        ta_close();
    }
}

/* Would catch: the same of an actor that is sent to sleep. */
static void test_halt_while_running(void **state)
{
    static ta_gate      gate;
    static const ta_job held = { ta_hold, &gate };
    francis_call       *call;
    (void)state;
    due_open(types);
    ta_gate_init(&gate, NULL);
    gate.then = give_up;
    call = ta_new();
    call->async = true;
    t_ok(set(A(.id = "a", .name = "x", .data = &held, .size = sizeof held)));
    due_until(atomic_load(&gate.arrived) == 1);
    t_result(francis_halt(ta->ctx, "num", "a", call), FRANCIS_PENDING);
    ta_let(&gate, 0);
    t_ok(ta_end(call));
    gate.then = ta_add;
    due_until(atomic_load(&gate.arrived) == 2);
    assert_int_equal(due_at(1).attempt, 1);
    ta_let(&gate, 1);
    due_until(rows(NULL, NULL) == 0);
    ta_num_is("num", "a", 1);
    assert_int_equal(ta_stats().alarms_failed, 0);
    ta_close();
}

/* Would catch: what was set at the last moment and is gone with the host. */
static void test_restart(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        due_open(types);
        t_ok(set(A(.id = "a", .name = i % 2 ? "x" : "y", .delay_ms = 5)));
        ta_close();
        due_away(10);
        due_open(types);
        due_until(rows(NULL, NULL) == 0);
        ta_num_is("num", "a", i + 1);
        ta_close();
    }
    assert_int_equal(due_count(), 5);
}

/* -- the clock --------------------------------------------------------------------------------- */

static void open_on_wall(void)
{
    francis_host_desc desc = { .platform = ta_inline() ? &ta_clocks : &ta_wall };
    due_open_with(desc, types);
}

enum { CROWD = 1300, MOST_AT_ONCE = 1024 };

/* Would catch: a jump ahead that starts all at once, or that keeps calls waiting behind it. */
static francis_result set_crowd(francis_ctx *ctx, void *arg)
{
    for (int i = 0; i < CROWD; i++) {
        ta_job        job = { due_join_crowd, arg };
        char          id[16];
        francis_alarm a = { .type = i % 2 ? "num" : "quick", .id = id, .name = "x", .data = &job,
                            .size = sizeof job, .due_ms = DUE_START + FRANCIS_HOURS(1) + i };
        (void)snprintf(id, sizeof id, "%d", i);
        if (francis_alarm_set(ctx, &a, NULL) != FRANCIS_OK)
            return FRANCIS_ERR_USER;
    }
    return FRANCIS_OK;
}

static void test_clock_forward(void **state)
{
    static due_crowd crowd;
    (void)state;
    (void)memset(&crowd, 0, sizeof crowd);
    open_on_wall();
    t_ok(ta_do("num", "setter", set_crowd, &crowd));
    (void)atomic_fetch_add(&ta_wall_now, FRANCIS_DAYS(365));
    due_until(atomic_load(&crowd.inside) == MOST_AT_ONCE);
    for (int i = 0; i < 50; i++) {
        t_ok(ta_do("num", "caller", ta_add, NULL));         /* calls are served meanwhile */
        due_moves();
    }
    if (due_by_hand())
        due_pass(5000);
    assert_int_equal(atomic_load(&crowd.inside), MOST_AT_ONCE);
    due_until((due_let_crowd(&crowd), ta_stats().alarms_fired == CROWD));
    assert_int_equal(atomic_load(&crowd.most), MOST_AT_ONCE);
    assert_int_equal(due_count(), CROWD);
    assert_int_equal(rows(NULL, NULL), 0);
    ta_num_is("num", "1", 1);
    ta_num_is("quick", "598", 1);
    ta_close();
}

/* Would catch: an occurrence that comes a second time when its time does, a series that begins
 * anew, one that waits for a time which the clock has passed before. */
static void test_clock_backward(void **state)
{
    int64_t base = DUE_START;
    (void)state;
    open_on_wall();
    t_ok(set(A(.id = "a", .name = "x", .due_ms = base + 1000)));
    t_ok(set(A(.id = "a", .name = "r", .due_ms = base + 1000, .repeat = "1s",
               .missed = FRANCIS_MISSED_ALL)));
    t_ok(set(A(.id = "a", .name = "far", .due_ms = base + FRANCIS_HOURS(2))));
    due_pass(5000);
    assert_int_equal(due_count_of("a", "x"), 1);
    assert_int_equal(due_count_of("a", "r"), 5);
    (void)atomic_fetch_sub(&ta_wall_now, 3600000);
    due_pass(10000);
    assert_int_equal(due_count_of("a", "x"), 1);
    assert_int_equal(due_count_of("a", "r"), 5);
    t_ok(set(A(.id = "a", .name = "new", .delay_ms = 500)));        /* from the clock of now */
    due_pass(500);
    assert_int_equal(due_count_of("a", "new"), 1);
    due_pass_by(3600000 - 10500, 100);
    due_pass(1000);                                         /* it is as late as it was */
    assert_int_equal(due_count_of("a", "x"), 1);
    assert_int_equal(due_count_of("a", "r"), 6);
    assert_int_equal(due_count_of("a", "far"), 0);
    for (unsigned i = 0; i < due_count(); i++)
        for (unsigned k = i + 1; k < due_count(); k++)
            assert_false(strcmp(due_at(i).name, due_at(k).name) == 0 &&
                         due_at(i).due_ms == due_at(k).due_ms);
    ta_num_is("num", "a", 8);
    ta_close();
}

/* Would catch: an alarm that is woken by a clock which nobody can believe; one without that wish
 * that is not. */
static void test_boot_in_1970(void **state)
{
    (void)state;
    due_open(types);
    t_ok(set(A(.id = "a", .name = "careful", .due_ms = DUE_START + 60000, .wait_for_clock = true)));
    t_ok(set(A(.id = "a", .name = "late", .due_ms = DUE_START + 60000)));
    ta_close();
    atomic_store(&ta_wall_now, 5000);                       /* five seconds after the epoch */
    due_open(types);
    t_ok(set(A(.id = "a", .name = "now, careful", .wait_for_clock = true)));
    t_ok(set(A(.id = "a", .name = "old, careful", .due_ms = 1, .wait_for_clock = true)));
    t_ok(set(A(.id = "a", .name = "soon", .delay_ms = 1000)));
    due_pass(999);
    assert_int_equal(due_count(), 0);
    due_pass(1);
    assert_int_equal(due_count(), 1);
    assert_string_equal(due_at(0).name, "soon");
    due_pass(10000);
    assert_int_equal(due_count(), 1);
    atomic_store(&ta_wall_now, DUE_START + 30000);          /* now it knows */
    due_pass(2000);
    assert_int_equal(due_count(), 3);
    assert_int_equal(due_count_of("a", "now, careful"), 1);
    assert_int_equal(due_count_of("a", "old, careful"), 1);
    due_pass_by(40000, 100);
    assert_int_equal(due_count(), 5);
    assert_int_equal(rows(NULL, NULL), 0);
    ta_close();
}

/* -- the database ------------------------------------------------------------------------------ */

static fault_vfs disk;
static francis_platform faulty = { .version = 1, .sqlite_vfs = "alarms" };

typedef struct {
    atomic_int left;                /* so many turns break the disk before they end */
    int        calls, files, how, code;
} breaking;

static francis_result break_disk(francis_ctx *ctx, void *arg)
{
    breaking *b = (breaking *)arg;
    if (atomic_fetch_sub(&b->left, 1) > 0)
        fault_vfs_fail(&disk, (unsigned)b->calls, (unsigned)b->files, 1, b->how, b->code);
    return ta_add(ctx, NULL);
}

/* Would catch: an attempt that is counted for the database's fault; an alarm that is lost or counts
 * twice over it. */
static void test_database_fails(void **state)
{
    static breaking list[] = {
        { 2, FAULT_WRITE, FAULT_WAL, FAULT_ONCE, SQLITE_FULL },
        { 2, FAULT_WRITE, FAULT_WAL, FAULT_ONCE, SQLITE_IOERR_WRITE },
        { 2, FAULT_SYNC, FAULT_WAL, FAULT_ONCE, SQLITE_IOERR_FSYNC },
        { 2, FAULT_SHM, FAULT_ANY_FILE, FAULT_ONCE, SQLITE_BUSY },
    };
    (void)state;
    for (unsigned i = 0; i < COUNT(list); i++) {
        francis_host_desc desc = { .platform = &faulty, .durability = FRANCIS_SURVIVES_POWER_CUT };
        char              id[16];
        (void)snprintf(id, sizeof id, "a%u", i);
        due_forget();
        fault_vfs_heal(&disk);
        ta_open(&desc, types);
        t_ok(ta_do("quick", id, ta_nothing, NULL));
        t_ok(set(A_OF("quick", .id = id, .name = "x", .delay_ms = 50, RUN(break_disk, &list[i]))));
        due_until(ta_stats().alarms_fired == 1);
        fault_vfs_heal(&disk);
        assert_int_equal(rows("quick", NULL), 0);
        for (unsigned k = 0; k < due_count(); k++)
            assert_int_equal(due_at(k).attempt, 1);
        ta_num_is("quick", id, 1);
        assert_int_equal(ta_stats().alarms_given_up, 0);
        ta_close();
        assert_int_equal(ta_stored_n("quick", id), 1);
    }
}

/* Would catch: the same where somebody else has the database for longer than we wait. */
typedef struct {
    sqlite3   *db;
    atomic_int left;
} locker;

static francis_result lock_database(francis_ctx *ctx, void *arg)
{
    locker *l = (locker *)arg;
    if (atomic_fetch_sub(&l->left, 1) > 0)
        ta_check(sqlite3_exec(l->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
    return ta_add(ctx, NULL);
}

static void test_database_busy(void **state)
{
    static locker     l;
    francis_host_desc desc = { .busy_timeout_ms = 200, .durability = FRANCIS_SURVIVES_CRASH };
    int64_t           end;
    (void)state;
    atomic_store(&l.left, 1);
    ta_open(&desc, types);
    assert_int_equal(sqlite3_open_v2(ta->path, &l.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX,
                                     NULL), SQLITE_OK);
    (void)sqlite3_busy_timeout(l.db, 10000);
    t_ok(ta_do("quick", "a", ta_nothing, NULL));
    t_ok(set(A_OF("quick", .id = "a", .name = "x", .delay_ms = 50, RUN(lock_database, &l))));
    due_until(due_count() >= 1);
    end = t_ms() + 1000;            /* for so long it is locked */
    while (t_ms() < end)
        due_moves();
    assert_int_equal(ta_stored_n("quick", "a"), TA_NONE);
    assert_int_equal(sqlite3_exec(l.db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    due_until(rows(NULL, NULL) == 0);
    for (unsigned k = 0; k < due_count(); k++)
        assert_int_equal(due_at(k).attempt, 1);
    ta_num_is("quick", "a", 1);
    assert_int_equal(ta_stats().alarms_given_up, 0);
    (void)sqlite3_close(l.db);
    ta_close();
}

/* Would catch: a row that cannot be read and stops all others, runs for ever, or ends the host. */
static void test_corrupt_row(void **state)
{
    (void)state;
    due_open(types);
    t_ok(set(A(.id = "a", .name = "bad", .due_ms = DUE_START + 5000, .repeat = "1h")));
    t_ok(set(A(.id = "a", .name = "good", .due_ms = DUE_START + 5000, .repeat = "1h")));
    ta_close();
    assert_int_equal(ta_sql(ta->path, "UPDATE francis_alarms SET alarm_interval = 'garbage'"
                                      " WHERE alarm_name = 'bad' RETURNING 1"), 1);
    due_open(types);
    due_pass_by(FRANCIS_HOURS(3) + 6000, 1000);
    assert_int_equal(due_count_of("a", "good"), 4);
    assert_true(due_count_of("a", "bad") <= 1);
    assert_true(t_logged(&ta->log, 506) >= 1);
    ta_num_is("num", "a", due_count());
    ta_close();
}

/* -- what can be seen of it -------------------------------------------------------------------- */

static francis_health health(void)
{
    francis_health h;
    francis_health_get(ta->host, &h);
    return h;
}

/* Would catch: an age that does not grow, that stays, or that counts what cannot run yet. */
static void test_health_and_stats(void **state)
{
    francis_stats before;
    (void)state;
    due_open(types);
    t_ok(ta_do("num", "a", ta_nothing, NULL));
    before = ta_stats();
    assert_int_equal(health().overdue_age_ms, 0);
    t_ok(set(A(.id = "a", .name = "x", .delay_ms = 1000)));
    t_ok(set(A(.id = "a", .name = "far", .delay_ms = FRANCIS_DAYS(1))));
    due_pass(10);
    assert_int_equal(health().overdue_age_ms, 0);
    assert_int_equal(ta_stats().queue_alarms, before.queue_alarms + 1);
    due_away(5990);                                         /* nobody lets the host do anything */
    assert_true(health().overdue_age_ms == 5000);
    due_pass(1);
    assert_int_equal(health().overdue_age_ms, 0);
    assert_int_equal(ta_stats().alarms_fired, before.alarms_fired + 1);
    assert_int_equal(ta_stats().queue_alarms, before.queue_alarms);
    ta_close();
}

/* Would catch: threads that get in each other's way: alarms are set, replaced, deleted and run at
 * once, and afterwards nothing is left and nothing is lost. */
enum { HAMMERS = 4, HAMMERED = 6 };

static atomic_int hammer_done[HAMMERS];

static void *hammer(void *arg)
{
    const int me = *(const int *)arg;
    unsigned  random = (unsigned)me * 7919 + 1;
    for (int i = 0; i < ta_times(400, 80); i++) {
        char           id[16], name[16];
        francis_alarm  a = { .type = "brief", .id = id, .name = name };
        francis_result r;
        random = random * 1103515245u + 12345u;
        (void)snprintf(id, sizeof id, "%u", random >> 16 & 3);
        (void)snprintf(name, sizeof name, "%u", random >> 18 & 3);
        a.delay_ms = (random >> 20 & 7) * 3;
        a.repeat_ms = (random >> 23 & 3) == 0 ? 5 : 0;
        r = (random >> 25 & 3) == 0 ? francis_alarm_delete(ta->ctx, &a, NULL)
                                    : francis_alarm_set(ta->ctx, &a, NULL);
        ta_check(r == FRANCIS_OK || r == FRANCIS_ERR_NOT_FOUND);
        if ((random >> 27 & 7) == 0)
            (void)francis_halt(ta->ctx, "brief", id, NULL);
    }
    (void)atomic_fetch_add(&hammer_done[me], 1);
    return NULL;
}

static void test_hammer(void **state)
{
    static int me[HAMMERS];
    pthread_t  threads[HAMMERS];
    int64_t    sum = 0;
    (void)state;
    due_open(types);
    for (int i = 0; i < HAMMERS; i++) {
        me[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &me[i]), 0);
    }
    for (int i = 0; i < HAMMERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 16; i++) {                          /* what repeats, ends */
        char          id[16], name[16];
        francis_alarm a = { .type = "brief", .id = id, .name = name };
        (void)snprintf(id, sizeof id, "%d", i & 3);
        (void)snprintf(name, sizeof name, "%d", i >> 2);
        (void)francis_alarm_delete(ta->ctx, &a, NULL);
    }
    assert_int_equal(rows(NULL, NULL), 0);
    for (int i = 0; i < 4; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        t_ok(ta_do("brief", id, ta_get, NULL));
        sum += ta_int(&ta->last);
    }
    due_until(ta_stats().alarms_fired == (uint64_t)sum);    /* each that counted, counted once */
    due_quiet("brief");
    due_until(ta_stats().alarms_fired == (uint64_t)sum + 1);
    assert_true(sum > 0);
    assert_int_equal(ta_stats().alarms_failed, 0);
    ta_close();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DUE_BOTH(test_properties),
        DUE_INLINE(test_repeat_text),
        DUE_BOTH(test_replace),
        DUE_BOTH(test_delete),
        DUE_BOTH(test_async),
        DUE_BOTH(test_validation),
        DUE_INLINE(test_list),
        DUE_BOTH(test_list_beside_changes),
        DUE_BOTH(test_turns),
        DUE_BOTH(test_turn_refusals),
        DUE_BOTH(test_turn_that_awaits),
        DUE_BOTH(test_fires),
        DUE_INLINE(test_not_before),
        DUE_INLINE(test_past),
        DUE_BOTH(test_order),
        DUE_BOTH(test_many_actors),
        DUE_BOTH(test_sooner),
        DUE_INLINE(test_repeat),
        DUE_INLINE(test_repeat_calendar),
        DUE_INLINE(test_missed),
        DUE_INLINE(test_slow_handler),
        DUE_INLINE(test_request_ids),
        DUE_INLINE(test_own_alarm),
        DUE_BOTH(test_chain),
        DUE_INLINE(test_back_off),
        DUE_INLINE(test_attempts_last),
        DUE_INLINE(test_exhausted),
        DUE_INLINE(test_identical),
        DUE_INLINE(test_identical_later),
        DUE_INLINE(test_no_handler_any_more),
        DUE_BOTH(test_not_served),
        DUE_BOTH(test_lives),
        DUE_BOTH(test_hibernation),
        DUE_BOTH(test_failed_activation),
        DUE_BOTH(test_concurrency),
        DUE_BOTH(test_fairness),
        DUE_BOTH(test_singleton),
        DUE_BOTH(test_purge),
        DUE_BOTH(test_purge_inside),
        DUE_BOTH(test_flush),
        DUE_BOTH(test_await_and_answers),
        DUE_BOTH(test_changed_meanwhile),
        DUE_BOTH(test_turn_timeout),
        DUE_INLINE(test_no_turn_timeout),
        DUE_BOTH(test_stop),
        DUE_BOTH(test_halt_while_running),
        DUE_BOTH(test_restart),
        DUE_BOTH(test_clock_forward),
        DUE_INLINE(test_clock_backward),
        DUE_INLINE(test_boot_in_1970),
        DUE_BOTH(test_database_fails),
        DUE_BOTH(test_database_busy),
        DUE_INLINE(test_corrupt_row),
        DUE_INLINE(test_health_and_stats),
        DUE_WORKERS(test_hammer),
    };
    int failed;
    if (fault_vfs_register(&disk, "alarms") != SQLITE_OK)
        return 2;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("alarms", tests, NULL, NULL);
    t_clean();
    return failed == 0 ? 0 : 1;
}
