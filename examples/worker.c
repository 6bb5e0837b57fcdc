/* A host of a cluster, driven over HTTP. Start several with different addresses, the same -db and
 * the same key: each one answers for all actors. libmicrohttpd has one thread, and no request keeps
 * it: the call is asynchronous, and its connection sleeps until the answer has come.
 * cc worker.c -o worker -lmicrohttpd -lsqlite3 -lmbedtls -lmbedx509 -lmbedcrypto -lpthread
 * Usage: FRANCIS_CLUSTER_KEY=... worker [-worker-address HOST:PORT] [-actor-host-address HOST:PORT]
 *                                       [-db FILE] [-wait-ms N] [-health-deadline-ms N]
 *   POST /invoke/myactor/ID/METHOD  increment, reset, increment-wait, reset-wait; {"In": 1} is
 *                                   answered {"Out": COUNT}. In is a number, and goes unused.
 *                                   schedule-job: dispatches the job increment in its turn
 *   POST /peek/myactor/ID/METHOD    any method: the count as it is; with -wait at the end later;
 *                                   occurrences: how often the alarm increment has gone off
 *   POST /halt/myactor/ID           POST /halt-all     GET /status     GET /healthz
 *   POST /alarm/myactor/ID/NAME     sets it: {"dueTime", "delay", "interval", "ttl", "missed",
 *                                   "data"}. increment counts; all others do nothing
 *   DELETE /alarm/myactor/ID/NAME   GET /alarms/myactor/ID: at most 1000; ?after=NAME has the next
 *   POST /job/myactor/ID/METHOD     dispatches one, answered {"jobId"}: the same body, without
 *                                   missed; "cron", "idempotencyKey". increment counts; fail always
 *                                   fails; reject is rejected once, and then counts
 *   GET /job/JOBID                  DELETE /job/myactor/ID/JOBID     POST /job/JOBID/retry
 * All fields of a body may be left out. dueTime and ttl: RFC 3339, or Unix time in ms; delay: ms;
 * interval: what repeat of francis_alarm may be, or ms; missed: once, skip or all; data: any JSON.
 * An error is {"code", "message", "outcome"}. Header Idempotency-Key: a request that is repeated
 * with the same one is done once. */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE "myactor"
enum { BODY_MAX = 1023, PARTS_MAX = 4, LIST_MAX = 1000, RETRY_DELAY_MS = 500, STUCK_MS = 10000,
       DRAIN_SECONDS = 5 };

typedef struct {                                                /* durable */
    int64_t count;
    int64_t runs, again;                                        /* of the alarm; out of order */
    int64_t first_due_ms, last_due_ms;
} counter;

typedef struct {                                                /* of a client */
    struct MHD_Connection *connection;
    francis_call           call;
    bool                   called;                              /* the answer is in call, */
    bool                   of_job;                              /* and is the id of a job */
    size_t                 size;
    char                   body[BODY_MAX + 1];
} request;

typedef struct {                                                /* a body that says when */
    int64_t due_ms, delay_ms, until_ms, repeat_ms, missed;
    char    repeat[BODY_MAX + 1], cron[BODY_MAX + 1], key[BODY_MAX + 1], data[BODY_MAX + 1];
} when;

static struct { const char *name, *value; } options[] = {
    { "worker-address",     "127.0.0.1:8081" },
    { "actor-host-address", "127.0.0.1:7571" },
    { "db",                 "worker.db" },
    { "wait-ms",            "25000" },
    { "health-deadline-ms", "0" },                              /* 0 = francis's default */
};
enum { WORKER_ADDRESS, HOST_ADDRESS, DB, WAIT_MS, HEALTH_DEADLINE_MS, OPTIONS };

static francis_host   *host;
static sqlite3        *json;                                    /* the reader and writer of JSON */
static pthread_mutex_t lock  = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  ended = PTHREAD_COND_INITIALIZER;
static int             requests;                                /* under way; guarded by lock */

/* -- the actor --------------------------------------------------------------------------------- */
static francis_result peek(francis_ctx *ctx)
{
    const counter *c = (const counter *)francis_state(ctx);

    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    return francis_replyf(ctx, "{\"Out\":%lld}", (long long)c->count);
}

static francis_result increment(francis_ctx *ctx)
{
    counter *c = (counter *)francis_state(ctx);

    if (c != NULL)
        c->count++;
    return peek(ctx);
}

static francis_result reset(francis_ctx *ctx)
{
    counter *c = (counter *)francis_state(ctx);

    if (c != NULL)
        c->count = 0;
    return peek(ctx);
}

/* Each occurrence has a due time of its own, so that it can be told whether one was lost. */
static francis_result increment_alarm(francis_ctx *ctx)
{
    counter *c = (counter *)francis_state(ctx);

    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (c->runs == 0)
        c->first_due_ms = ctx->due_ms;
    else if (ctx->due_ms <= c->last_due_ms)
        c->again++;
    c->runs++;
    c->last_due_ms = ctx->due_ms;
    return increment(ctx);
}

static francis_result occurrences(francis_ctx *ctx)
{
    const counter *c = (const counter *)francis_state(ctx);

    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    return francis_replyf(ctx, "{\"runs\":%lld,\"again\":%lld,\"firstDue\":%lld,\"lastDue\":%lld}",
                          (long long)c->runs, (long long)c->again, (long long)c->first_due_ms,
                          (long long)c->last_due_ms);
}

static francis_result schedule_job(francis_ctx *ctx)
{
    const counter *c = (const counter *)francis_state(ctx);
    francis_job    job = { .method = "increment" };             /* for this actor */
    francis_call   call = { 0 };

    if (c == NULL || francis_job_dispatch(ctx, &job, &call) != FRANCIS_OK)
        return c == NULL ? FRANCIS_ERR_NOMEM : call.result;
    return francis_replyf(ctx, "{\"Out\":%lld,\"jobId\":\"%s\"}", (long long)c->count,
                          (const char *)call.data);
}

static francis_result fail(francis_ctx *ctx)
{
    return francis_fail(ctx, FRANCIS_ERR_USER, "attempt %u of %u fails, as it was asked to",
                        ctx->attempt, ctx->attempts_max);
}

/* A turn that fails leaves nothing behind, so another actor keeps in mind that it did. */
static francis_result reject_once(francis_ctx *ctx)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(ctx, TYPE, ctx->job_id, "increment", NULL, 0, &call);

    if (r != FRANCIS_OK)
        return r;
    if (strcmp((const char *)call.data, "{\"Out\":1}") == 0)
        return francis_fail(ctx, FRANCIS_ERR_REJECTED, "another host may do it");
    return increment(ctx);
}

/* The turn goes on later. Nobody answers what it expects, so that ends by its deadline; meanwhile
 * no thread waits, and only this actor is busy. */
static francis_result later(francis_ctx *ctx, francis_handler next)
{
    francis_call *pause = (francis_call *)francis_alloc(ctx, sizeof *pause);

    if (pause == NULL)
        return FRANCIS_ERR_NOMEM;
    pause->timeout_ms = atoll(options[WAIT_MS].value);
    return francis_expect(ctx, pause) != 0 ? francis_await(ctx, next, NULL) : pause->result;
}

static francis_result increment_wait(francis_ctx *ctx) { return later(ctx, increment); }
static francis_result reset_wait(francis_ctx *ctx) { return later(ctx, reset); }

static francis_result peek_any(francis_ctx *ctx)
{
    size_t length = strlen(ctx->method);

    return length >= 5 && strcmp(ctx->method + length - 5, "-wait") == 0 ? later(ctx, peek)
                                                                         : peek(ctx);
}

static francis_result invoke_any(francis_ctx *ctx)
{
    return francis_fail(ctx, FRANCIS_ERR_UNKNOWN_METHOD, "there is no method '%s'", ctx->method);
}

static francis_result alarm_any(francis_ctx *ctx)
{
    (void)ctx;
    return FRANCIS_OK;
}

static const francis_method methods[] = {
    { "increment",      increment,       FRANCIS_INVOKE, 0 },
    { "increment-wait", increment_wait,  FRANCIS_INVOKE, 0 },
    { "reset",          reset,           FRANCIS_INVOKE, 0 },
    { "reset-wait",     reset_wait,      FRANCIS_INVOKE, 0 },
    { "schedule-job",   schedule_job,    FRANCIS_INVOKE, 0 },
    { "occurrences",    occurrences,     FRANCIS_PEEK,   0 },
    { "increment",      increment_alarm, FRANCIS_ALARM,  0 },
    { "increment",      increment,       FRANCIS_JOB,    0 },
    { "fail",           fail,            FRANCIS_JOB,    0 },
    { "reject",         reject_once,     FRANCIS_JOB,    0 },
    FRANCIS_METHODS_END
};

/* -- JSON, by SQLite --------------------------------------------------------------------------- */
/* The text that a SELECT has, for sqlite3_free; NULL: no memory, no JSON. %Q is a quoted text. */
static char *json_select(const char *format, ...)
{
    sqlite3_stmt *select = NULL;
    char         *text = NULL;
    va_list       args;

    va_start(args, format);
    char *sql = sqlite3_vmprintf(format, args);
    va_end(args);
    if (sql != NULL && sqlite3_prepare_v2(json, sql, -1, &select, NULL) == SQLITE_OK &&
        sqlite3_step(select) == SQLITE_ROW)
        text = sqlite3_mprintf("%s", sqlite3_column_text(select, 0));
    sqlite3_finalize(select);
    sqlite3_free(sql);
    return text;
}

/* No body is as good as {"In": 0}. */
static bool json_has_in(const char *body)
{
    char *type = json_select("SELECT CASE json_type(%Q) WHEN 'object' THEN"
                             " ifnull(json_type(%Q, '$.In'), 'integer') END", body, body);
    bool  is_integer = type != NULL && strcmp(type, "integer") == 0;

    sqlite3_free(type);
    return body[0] == '\0' || is_integer;
}

static const char *json_bool(bool value) { return value ? "true" : "false"; }

/* The fields of a body: name, value. What two paths find is the array of both: the text of data. */
static const char fields_sql[] =
    "SELECT key, CASE"
    " WHEN key = 'data' THEN (SELECT substr(both, 2, (length(both) - 3) / 2)"
    "   FROM (SELECT json_extract(?1, '$.data', '$.data') AS both))"
    " WHEN key = 'missed' THEN CASE value WHEN 'once' THEN 0 WHEN 'skip' THEN 1"
    "   WHEN 'all' THEN 2 END"
    " WHEN key IN ('dueTime', 'ttl') AND type = 'text' THEN CASE WHEN value LIKE '____-__-__T%'"
    "   THEN CAST(round((julianday(value) - 2440587.5) * 86400000) AS INTEGER) END"
    " WHEN type IN ('text', 'integer') THEN value END"
    " FROM json_each(?1) WHERE type <> 'null'";

static const struct { const char *name; int type; size_t at; } fields[] = {
    { "dueTime",        SQLITE_INTEGER, offsetof(when, due_ms) },
    { "delay",          SQLITE_INTEGER, offsetof(when, delay_ms) },
    { "ttl",            SQLITE_INTEGER, offsetof(when, until_ms) },
    { "missed",         SQLITE_INTEGER, offsetof(when, missed) },
    { "interval",       SQLITE_INTEGER, offsetof(when, repeat_ms) },
    { "interval",       SQLITE_TEXT,    offsetof(when, repeat) },
    { "cron",           SQLITE_TEXT,    offsetof(when, cron) },
    { "idempotencyKey", SQLITE_TEXT,    offsetof(when, key) },
    { "data",           SQLITE_TEXT,    offsetof(when, data) },
};

/* Whether the field may be what it is. Others than those above are skipped. */
static bool when_field(when *w, sqlite3_stmt *row)
{
    const char *name = (const char *)sqlite3_column_text(row, 0);
    int         type = sqlite3_column_type(row, 1);
    bool        is_known = false;

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char   *at = (char *)w + fields[i].at;
        int64_t number = sqlite3_column_int64(row, 1);
        if (strcmp(fields[i].name, name) != 0)
            continue;
        is_known = true;
        if (fields[i].type != type)
            continue;
        if (type == SQLITE_INTEGER)
            (void)memcpy(at, &number, sizeof number);
        else
            (void)snprintf(at, BODY_MAX + 1, "%s", (const char *)sqlite3_column_text(row, 1));
        return true;
    }
    return !is_known;
}

/* No body is as good as {}. */
static bool when_read(when *w, const char *body)
{
    sqlite3_stmt *each = NULL;
    char         *type = json_select("SELECT json_type(%Q)", body[0] != '\0' ? body : "{}");
    bool          is_good = type != NULL && strcmp(type, "object") == 0;
    int           r = SQLITE_DONE;

    sqlite3_free(type);
    (void)memset(w, 0, sizeof *w);
    if (!is_good || body[0] == '\0')
        return is_good;
    if (sqlite3_prepare_v2(json, fields_sql, -1, &each, NULL) != SQLITE_OK ||
        sqlite3_bind_text(each, 1, body, -1, SQLITE_STATIC) != SQLITE_OK)
        r = SQLITE_ERROR;
    while (r != SQLITE_ERROR && (r = sqlite3_step(each)) == SQLITE_ROW)
        if (!when_field(w, each))
            r = SQLITE_ERROR;
    sqlite3_finalize(each);
    return r == SQLITE_DONE;
}

#define UTC(ms) "CASE WHEN " ms " <> 0 THEN" \
    " strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', " ms " / 1000.0, 'unixepoch') END"

/* An alarm, or a job. */
static char *item_text(const francis_item *it)
{
    static const char *const status[] = { "waiting", "running", "retrying", "dead" };

    return json_select("WITH i(due, ttl, failed, job_id, data)"
                       " AS (SELECT %lld, %lld, %lld, %Q, %Q),"
                       " j(text) AS (SELECT json_object('dueTime', " UTC("due") ","
                       " 'interval', nullif(%Q, ''), 'ttl', " UTC("ttl") ","
                       " 'data', CASE json_valid(data) WHEN 1 THEN json(data) ELSE data END,"
                       " 'status', %Q, 'attempts', %u, 'error', nullif(%Q, '')) FROM i)"
                       " SELECT CASE job_id WHEN '' THEN json_insert(text, '$.name', %Q)"
                       " ELSE json_insert(text, '$.jobId', job_id, '$.method', %Q, '$.type', %Q,"
                       " '$.id', %Q, '$.idempotencyKey', nullif(%Q, ''),"
                       " '$.failedTime', " UTC("failed") ") END FROM i, j",
                       it->due_ms, it->until_ms, it->failed_ms, it->job_id,
                       it->size > 0 ? (const char *)it->data : NULL, it->repeat, status[it->status],
                       it->attempts, it->error, it->name, it->name, it->type, it->id,
                       it->request_id);
}

/* -- answers ----------------------------------------------------------------------------------- */
static enum MHD_Result respond(request *q, unsigned status, char *text, const char *header,
                               const char *value)
{
    struct MHD_Response *response = NULL;
    enum MHD_Result      sent = MHD_NO;             /* out of memory: the connection is closed */

    if (text != NULL && (text = sqlite3_mprintf("%z\n", text)) != NULL)
        response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
    sqlite3_free(text);
    if (response == NULL)
        return MHD_NO;
    if (MHD_add_response_header(response, "Content-Type", "application/json") == MHD_YES &&
        (header == NULL || MHD_add_response_header(response, header, value) == MHD_YES))
        sent = MHD_queue_response(q->connection, status, response);
    MHD_destroy_response(response);
    return sent;
}

static char *error_text(const char *code, const char *message, const char *outcome)
{
    return json_select("SELECT json_object('code', %Q, 'message', %Q, 'outcome', %Q)", code,
                       message, outcome);
}

/* A request that did not become a call. */
static enum MHD_Result refuse(request *q, unsigned status, const char *code, const char *message)
{
    return respond(q, status, error_text(code, message, "not_run"), NULL, NULL);
}

static enum MHD_Result refuse_path(request *q)
{
    return refuse(q, MHD_HTTP_NOT_FOUND, "not_found", "there is no such path, see worker.c");
}

static unsigned status_of(francis_result r)
{
    switch (r) {
    case FRANCIS_OK: return MHD_HTTP_OK;
    case FRANCIS_ERR_INVALID:
    case FRANCIS_ERR_RESERVED:
    case FRANCIS_ERR_BAD_INPUT: return MHD_HTTP_BAD_REQUEST;
    case FRANCIS_ERR_UNKNOWN_TYPE:
    case FRANCIS_ERR_UNKNOWN_METHOD:
    case FRANCIS_ERR_NOT_FOUND:
    case FRANCIS_ERR_NOT_ACTIVE: return MHD_HTTP_NOT_FOUND;
    case FRANCIS_ERR_EXISTS: return MHD_HTTP_CONFLICT;
    case FRANCIS_ERR_TOO_LARGE: return 413;
    case FRANCIS_ERR_DEADLINE:
    case FRANCIS_ERR_UNKNOWN: return MHD_HTTP_GATEWAY_TIMEOUT;
    case FRANCIS_ERR_FULL: return MHD_HTTP_INSUFFICIENT_STORAGE;
    }
    return francis_retryable(r) ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* Something that is no call has failed. */
static enum MHD_Result refuse_as(request *q, francis_result r)
{
    return refuse(q, status_of(r), francis_result_name(r), francis_strerror(r));
}

static enum MHD_Result answer_error(request *q)
{
    static const char *const outcome[] = { "done", "not_run", "failed", "unknown" };
    francis_result           r = q->call.result;
    char                     seconds[24];

    (void)snprintf(seconds, sizeof seconds, "%lld",
                   (long long)(q->call.retry_after_ms + 999) / 1000);
    return respond(q, status_of(r),
                   error_text(francis_result_name(r), q->call.error, outcome[francis_outcome(r)]),
                   q->call.retry_after_ms > 0 ? "Retry-After" : NULL, seconds);
}

static enum MHD_Result answer(request *q)
{
    const char *data = (const char *)q->call.data;
    char       *text;

    if (q->call.result != FRANCIS_OK)
        return answer_error(q);
    if (q->of_job)
        text = json_select("SELECT json_object('jobId', nullif(%Q, ''))", data);
    else
        text = sqlite3_mprintf("%s", q->call.size > 0 ? data : "{}");
    return respond(q, MHD_HTTP_OK, text, NULL, NULL);
}

/* -- calls ------------------------------------------------------------------------------------- */
static void call_done(francis_call *call)           /* in a thread of francis */
{
    MHD_resume_connection(((const request *)call->user)->connection);
}

/* The connection sleeps before the call begins: its answer may be there before that returns. */
static francis_ctx *call_begin(request *q)
{
    q->call.on_done = call_done;                    /* that makes it asynchronous */
    q->call.user = q;
    q->call.request_id = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND,
                                                     "Idempotency-Key");
    q->called = true;
    MHD_suspend_connection(q->connection);
    return francis_host_ctx(host);
}

static enum MHD_Result call_begun(request *q, francis_result r)
{
    if (r != FRANCIS_PENDING)                       /* refused at once: call_done does not come */
        call_done(&q->call);
    return MHD_YES;
}

static enum MHD_Result bad_body(request *q)
{
    return refuse(q, MHD_HTTP_BAD_REQUEST, "bad_input", "the body is not {\"In\": number}");
}

static enum MHD_Result post_invoke(request *q, char **part)
{
    return !json_has_in(q->body) ? bad_body(q)
                                 : call_begun(q, francis_invoke(call_begin(q), part[1], part[2],
                                                                part[3], NULL, 0, &q->call));
}

static enum MHD_Result post_peek(request *q, char **part)
{
    return !json_has_in(q->body) ? bad_body(q)
                                 : call_begun(q, francis_peek(call_begin(q), part[1], part[2],
                                                              part[3], NULL, 0, &q->call));
}

static enum MHD_Result post_halt(request *q, char **part)
{
    return call_begun(q, francis_halt(call_begin(q), part[1], part[2], &q->call));
}

static enum MHD_Result post_halt_all(request *q, char **part)
{
    (void)part;
    return call_begun(q, francis_halt_all(call_begin(q), &q->call));
}

/* -- alarms and jobs --------------------------------------------------------------------------- */
static const char *text_or_null(const char *text) { return text[0] != '\0' ? text : NULL; }

static enum MHD_Result bad_when(request *q)
{
    return refuse(q, MHD_HTTP_BAD_REQUEST, "bad_input", "the body is not as worker.c says");
}

static enum MHD_Result post_alarm(request *q, char **part)
{
    when w;

    if (!when_read(&w, q->body) || w.cron[0] != '\0' || w.key[0] != '\0')
        return bad_when(q);
    francis_alarm alarm = { .type = part[1], .id = part[2], .name = part[3], .data = w.data,
                            .size = strlen(w.data), .due_ms = w.due_ms, .delay_ms = w.delay_ms,
                            .repeat = text_or_null(w.repeat), .repeat_ms = w.repeat_ms,
                            .until_ms = w.until_ms, .missed = (francis_missed)w.missed };
    return call_begun(q, francis_alarm_set(call_begin(q), &alarm, &q->call));
}

static enum MHD_Result delete_alarm(request *q, char **part)
{
    francis_alarm alarm = { .type = part[1], .id = part[2], .name = part[3] };

    return call_begun(q, francis_alarm_delete(call_begin(q), &alarm, &q->call));
}

static enum MHD_Result post_job(request *q, char **part)
{
    when w;

    if (!when_read(&w, q->body) || w.missed != 0 || (w.cron[0] != '\0' && w.repeat[0] != '\0'))
        return bad_when(q);
    francis_job job = { .type = part[1], .id = part[2], .method = part[3], .data = w.data,
                        .size = strlen(w.data), .due_ms = w.due_ms, .delay_ms = w.delay_ms,
                        .repeat = text_or_null(w.cron[0] != '\0' ? w.cron : w.repeat),
                        .repeat_ms = w.repeat_ms, .until_ms = w.until_ms };
    francis_ctx *ctx = call_begin(q);
    job.request_id = w.key[0] != '\0' ? w.key : q->call.request_id;
    q->of_job = true;
    return call_begun(q, francis_job_dispatch(ctx, &job, &q->call));
}

static enum MHD_Result post_retry(request *q, char **part)
{
    if (strcmp(part[2], "retry") != 0)
        return refuse_path(q);
    q->of_job = true;
    return call_begun(q, francis_job_retry(call_begin(q), part[1], &q->call));
}

/* What a list has, with commas between; NULL: nothing. It is read in the thread of HTTP: a read of
 * the database waits for nobody who writes. */
static char *list_text(francis_list *list)
{
    sqlite3_str *text = sqlite3_str_new(json);

    list->with_data = true;
    while (francis_list_next(francis_host_ctx(host), list) == FRANCIS_OK) {
        char *item = item_text(&list->item);
        sqlite3_str_appendf(text, "%s%s", sqlite3_str_length(text) > 0 ? "," : "", item);
        sqlite3_free(item);
    }
    francis_list_free(list);                        /* but for its result */
    return sqlite3_str_finish(text);
}

static enum MHD_Result get_alarms(request *q, char **part)
{
    francis_list list = { .what = FRANCIS_LIST_ALARMS, .type = part[1], .id = part[2],
                          .limit = LIST_MAX };
    const char  *after = MHD_lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, "after");
    char         cursor[3 * FRANCIS_NAME_SIZE];

    (void)snprintf(cursor, sizeof cursor, "%s/%s/%s", part[1], part[2], after != NULL ? after : "");
    if (after != NULL)
        list.after = cursor;
    char *text = sqlite3_mprintf("[%z]", list_text(&list));
    if (list.result == FRANCIS_DONE)
        return respond(q, MHD_HTTP_OK, text, NULL, NULL);
    sqlite3_free(text);
    return refuse_as(q, list.result);
}

/* The job of an id, if it is that actor's; type and id may be NULL. NULL: see the result. */
static char *job_text(const char *type, const char *id, const char *job_id, francis_result *r_out)
{
    static const francis_list_kind kinds[] = { FRANCIS_LIST_JOBS, FRANCIS_LIST_DEAD_JOBS };
    char                          *text = NULL;

    *r_out = FRANCIS_DONE;
    for (int i = 0; i < 2 && *r_out == FRANCIS_DONE && text == NULL; i++) {
        francis_list list = { .what = kinds[i], .type = type, .id = id, .name = job_id };
        text = list_text(&list);
        *r_out = list.result;
    }
    if (*r_out == FRANCIS_DONE)
        *r_out = text != NULL ? FRANCIS_OK : FRANCIS_ERR_NOT_FOUND;
    return text;
}

static enum MHD_Result get_job(request *q, char **part)
{
    francis_result r;
    char          *text = job_text(NULL, NULL, part[1], &r);

    return r == FRANCIS_OK ? respond(q, MHD_HTTP_OK, text, NULL, NULL) : refuse_as(q, r);
}

static enum MHD_Result delete_job(request *q, char **part)
{
    francis_result r;

    sqlite3_free(job_text(part[1], part[2], part[3], &r));
    if (r != FRANCIS_OK)
        return refuse_as(q, r);
    return call_begun(q, francis_job_cancel(call_begin(q), part[3], &q->call));
}

/* -- what the host tells ----------------------------------------------------------------------- */
#define COUNTER(name) { #name, offsetof(francis_stats, name) }
static const struct { const char *name; size_t at; } counters[] = {
    COUNTER(activations), COUNTER(deactivations), COUNTER(turns), COUNTER(turns_failed),
    COUNTER(peeks), COUNTER(calls_local), COUNTER(calls_out), COUNTER(calls_in),
    COUNTER(calls_refused), COUNTER(calls_in_flight), COUNTER(replays), COUNTER(commits),
    COUNTER(commits_failed), COUNTER(commits_unknown), COUNTER(commit_turns),
    COUNTER(commit_rows), COUNTER(bytes_written), COUNTER(reconnects), COUNTER(evictions),
    COUNTER(lives), COUNTER(wal_bytes), COUNTER(memory_bytes), COUNTER(alarms_fired),
    COUNTER(alarms_failed), COUNTER(alarms_given_up), COUNTER(jobs_done), COUNTER(jobs_retried),
    COUNTER(jobs_dead), COUNTER(queue_alarms),
};

static char *counters_text(const francis_stats *stats)
{
    sqlite3_str *text = sqlite3_str_new(json);

    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        sqlite3_str_appendf(text, "%c\"%s\":%llu", i == 0 ? '{' : ',', counters[i].name,
                            *(const uint64_t *)(const void *)((const char *)stats
                                                              + counters[i].at));
    sqlite3_str_appendchar(text, 1, '}');
    return sqlite3_str_finish(text);
}

static enum MHD_Result get_status(request *q, char **part)
{
    francis_stats stats;

    (void)part;
    francis_stats_get(host, &stats);
    char *numbers = counters_text(&stats);
    char *text = json_select("SELECT json_object('host_id', %Q, 'address', %Q, 'activations',"
                             " json_object('" TYPE "', %llu), 'connections', %llu,"
                             " 'counters', json(%Q))",
                             stats.host_id, options[HOST_ADDRESS].value, stats.active,
                             stats.connections, numbers);
    sqlite3_free(numbers);
    return respond(q, MHD_HTTP_OK, text, NULL, NULL);
}

static enum MHD_Result get_healthz(request *q, char **part)
{
    francis_health h;

    (void)part;
    francis_health_get(host, &h);
    bool healthy = h.ready && !h.draining && h.step_age_ms < STUCK_MS && h.commit_age_ms < STUCK_MS;
    return respond(q, healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                   json_select("SELECT json_object('healthy', json(%Q), 'ready', json(%Q),"
                               " 'draining', json(%Q), 'step_age_ms', %lld, 'commit_age_ms', %lld,"
                               " 'overdue_age_ms', %lld, 'busy_age_ms', %lld,"
                               " 'busy_process', %lld)",
                               json_bool(healthy), json_bool(h.ready), json_bool(h.draining),
                               h.step_age_ms, h.commit_age_ms, h.overdue_age_ms, h.busy_age_ms,
                               h.busy_process),
                   NULL, NULL);
}

/* -- requests ---------------------------------------------------------------------------------- */
static const struct {
    const char        *name, *method;
    int                parts;
    enum MHD_Result (*run)(request *q, char **part);
} routes[] = {
    { "invoke",   "POST", 4, post_invoke },
    { "peek",     "POST", 4, post_peek },
    { "halt",     "POST", 3, post_halt },
    { "halt-all", "POST", 1, post_halt_all },
    { "alarm",    "POST", 4, post_alarm },
    { "alarm",  "DELETE", 4, delete_alarm },
    { "alarms",   "GET",  3, get_alarms },
    { "job",      "POST", 4, post_job },
    { "job",    "DELETE", 4, delete_job },
    { "job",      "POST", 3, post_retry },
    { "job",      "GET",  2, get_job },
    { "status",   "GET",  1, get_status },
    { "healthz",  "GET",  1, get_healthz },
};

/* The parts of /a/b/c, which become strings; how many, or -1: too many. */
static int split(char *path, char **part)
{
    int n = 0;

    for (char *at = path; at != NULL; at = strchr(at, '/')) {
        if (n == PARTS_MAX)
            return -1;
        *at++ = '\0';
        part[n++] = at;
    }
    return n;
}

static enum MHD_Result route(request *q, const char *method, const char *url)
{
    char  path[PARTS_MAX * FRANCIS_NAME_SIZE];      /* what is cut has a name that is too long */
    char *part[PARTS_MAX], allow[32] = "";

    (void)snprintf(path, sizeof path, "%s", url);
    int parts = url[0] == '/' ? split(path, part) : -1;
    if (q->size > BODY_MAX)
        return refuse(q, 413, "too_large", "the body is larger than 1023 bytes");
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (parts != routes[i].parts || strcmp(part[0], routes[i].name) != 0)
            continue;
        if (strcmp(method, routes[i].method) == 0)
            return routes[i].run(q, part);
        size_t size = strlen(allow);
        (void)snprintf(allow + size, sizeof allow - size, ", %s", routes[i].method);
    }
    if (allow[0] == '\0')
        return refuse_path(q);
    return respond(q, MHD_HTTP_METHOD_NOT_ALLOWED,
                   error_text("invalid", "this path takes another method", "not_run"), "Allow",
                   allow + 2);
}

static enum MHD_Result request_begin(struct MHD_Connection *connection, void **state)
{
    request *q = (request *)calloc(1, sizeof *q);

    if (q == NULL)
        return MHD_NO;
    q->connection = connection;
    *state = q;
    (void)pthread_mutex_lock(&lock);
    requests++;
    (void)pthread_mutex_unlock(&lock);
    return MHD_YES;
}

static void request_body(request *q, const char *data, size_t size)
{
    if (size <= BODY_MAX && q->size <= BODY_MAX - size)
        (void)memcpy(q->body + q->size, data, size);
    q->size += size;
}

/* Called for the head, for pieces of the body, for its end, and once more when the call is done. */
static enum MHD_Result request_next(void *user, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version, const char *data,
                                    size_t *size, void **state)
{
    request *q = (request *)*state;

    (void)user;
    (void)version;
    if (q == NULL)
        return request_begin(connection, state);
    if (q->called)
        return answer(q);
    if (*size == 0)
        return route(q, method, url);
    request_body(q, data, *size);
    *size = 0;
    return MHD_YES;
}

static void request_end(void *user, struct MHD_Connection *connection, void **state,
                        enum MHD_RequestTerminationCode why)
{
    request *q = (request *)*state;

    (void)user;
    (void)connection;
    (void)why;
    if (q == NULL)
        return;
    francis_call_free(&q->call);
    free(q);
    (void)pthread_mutex_lock(&lock);
    if (--requests == 0)
        (void)pthread_cond_signal(&ended);
    (void)pthread_mutex_unlock(&lock);
}

/* -- start and end ----------------------------------------------------------------------------- */
/* "-name value" or "-name=value"; a second '-' is allowed. */
static bool read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i] + (argv[i][0] == '-') + (argv[i][0] == '-' && argv[i][1] == '-');
        size_t      length = strcspn(name, "="), o = 0;
        while (o < OPTIONS && (strncmp(options[o].name, name, length) != 0 ||
                               options[o].name[length] != '\0'))
            o++;
        if (argv[i][0] != '-' || o == OPTIONS || (name[length] == '\0' && i + 1 == argc))
            return false;
        options[o].value = name[length] == '=' ? name + length + 1 : argv[++i];
    }
    return true;
}

static struct addrinfo *resolve(const char *address)
{
    char             node[FRANCIS_NAME_SIZE];
    struct addrinfo  want = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *found = NULL;
    const char      *colon = strrchr(address, ':');

    if (colon == NULL || (size_t)(colon - address) >= sizeof node)
        return NULL;
    bool brackets = address[0] == '[' && colon > address + 1 && colon[-1] == ']';
    (void)snprintf(node, sizeof node, "%.*s", (int)(colon - address) - 2 * brackets,
                   address + brackets);
    return getaddrinfo(node[0] != '\0' ? node : NULL, colon + 1, &want, &found) == 0 ? found : NULL;
}

static struct MHD_Daemon *serve(const char *address)
{
    struct addrinfo   *at = resolve(address);
    struct MHD_Daemon *http = NULL;
    unsigned           flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;

    if (at == NULL)
        return NULL;
    if (at->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    http = MHD_start_daemon(flags, 0, NULL, NULL, request_next, NULL,
                            MHD_OPTION_SOCK_ADDR, at->ai_addr,
                            MHD_OPTION_NOTIFY_COMPLETED, request_end, NULL,
                            MHD_OPTION_CONNECTION_TIMEOUT, 60u, MHD_OPTION_END);
    freeaddrinfo(at);
    return http;
}

/* The host has stopped, so every call has been answered; the answers are still on their way. */
static void serve_end(struct MHD_Daemon *http)
{
    struct timespec until;
    int             r = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DRAIN_SECONDS;
    (void)pthread_mutex_lock(&lock);
    while (requests > 0 && r == 0)
        r = pthread_cond_timedwait(&ended, &lock, &until);
    (void)pthread_mutex_unlock(&lock);
    MHD_stop_daemon(http);
}

static francis_result run(void)
{
    struct MHD_Daemon *http;
    francis_result     r = francis_start(host);

    if (r != FRANCIS_OK) {
        fprintf(stderr, "worker: %s\n", francis_host_error(host));
        return r;
    }
    if ((http = serve(options[WORKER_ADDRESS].value)) == NULL) {
        fprintf(stderr, "worker: cannot listen on %s\n", options[WORKER_ADDRESS].value);
        return FRANCIS_ERR_INVALID;
    }
    printf("worker: http://%s\n", options[WORKER_ADDRESS].value);
    (void)fflush(stdout);
    if ((r = francis_run(host)) != FRANCIS_OK)      /* until SIGINT or SIGTERM */
        fprintf(stderr, "worker: %s\n", francis_host_error(host));
    serve_end(http);
    return r;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        fprintf(stderr, "worker: see the usage in worker.c\n");
        return 2;
    }
    francis_host_desc  desc  = { .database = options[DB].value,
                                 .address = options[HOST_ADDRESS].value,
                                 .cluster_key = getenv("FRANCIS_CLUSTER_KEY"),
                                 .health_deadline_ms = atoll(options[HEALTH_DEADLINE_MS].value) };
    francis_actor_desc actor = { .type = TYPE, .methods = methods, .invoke = invoke_any,
                                 .peek = peek_any, .alarm = alarm_any,
                                 .state_size = sizeof(counter),
                                 .retry_delay_ms = RETRY_DELAY_MS,
                                 .idle_timeout_ms = FRANCIS_SECONDS(10) };
    if (desc.cluster_key == NULL) {
        fprintf(stderr, "worker: FRANCIS_CLUSTER_KEY is not set: openssl rand -base64 48\n");
        return 2;
    }
    if (sqlite3_open(":memory:", &json) != SQLITE_OK ||
        sqlite3_exec(json, "SELECT json('{}')", NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "worker: %s\n", sqlite3_errmsg(json));
        return 1;
    }
    francis_open(&host, &desc);
    francis_register(host, &actor);
    francis_result r = run();
    francis_close(host);
    sqlite3_close(json);
    return r == FRANCIS_OK ? 0 : 1;
}
