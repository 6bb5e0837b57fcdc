/* A host of a cluster, driven over HTTP. Start several with different addresses, the same -db and
 * the same key: each one answers for all actors. libmicrohttpd has one thread, and no request keeps
 * it: the call is asynchronous, and its connection sleeps until the answer has come.
 * cc worker.c -o worker -lmicrohttpd -lsqlite3 -lmbedtls -lmbedx509 -lmbedcrypto -lpthread
 * Usage: FRANCIS_CLUSTER_KEY=... worker [-worker-address HOST:PORT] [-actor-host-address HOST:PORT]
 *                                       [-db FILE] [-wait-ms N] [-health-deadline-ms N]
 *   POST /invoke/myactor/ID/METHOD  increment, reset, increment-wait, reset-wait; {"In": 1} is
 *                                   answered {"Out": COUNT}. In is a number, and goes unused
 *   POST /peek/myactor/ID/METHOD    any method: the count as it is; with -wait at the end later
 *   POST /halt/myactor/ID           POST /halt-all     GET /status     GET /healthz
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
enum { BODY_MAX = 1023, PARTS_MAX = 4, STUCK_MS = 10000, DRAIN_SECONDS = 5 };

typedef struct { int64_t count; } counter;                      /* durable */

typedef struct {                                                /* of a client */
    struct MHD_Connection *connection;
    francis_call           call;
    bool                   called;                              /* the answer is in call */
    size_t                 size;
    char                   body[BODY_MAX + 1];
} request;

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

    return c != NULL ? francis_reply(ctx, &c->count, sizeof c->count) : FRANCIS_ERR_NOMEM;
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

static const francis_method methods[] = {
    { "increment",      increment,      FRANCIS_INVOKE, 0 },
    { "increment-wait", increment_wait, FRANCIS_INVOKE, 0 },
    { "reset",          reset,          FRANCIS_INVOKE, 0 },
    { "reset-wait",     reset_wait,     FRANCIS_INVOKE, 0 },
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
        text = sqlite3_mprintf("%s\n", sqlite3_column_text(select, 0));
    sqlite3_finalize(select);
    sqlite3_free(sql);
    return text;
}

/* No body is as good as {"In": 0}. */
static bool json_has_in(const char *body)
{
    char *type = json_select("SELECT CASE json_type(%Q) WHEN 'object' THEN"
                             " ifnull(json_type(%Q, '$.In'), 'integer') END", body, body);
    bool  is_integer = type != NULL && strcmp(type, "integer\n") == 0;

    sqlite3_free(type);
    return body[0] == '\0' || is_integer;
}

static const char *json_bool(bool value) { return value ? "true" : "false"; }

/* -- answers ----------------------------------------------------------------------------------- */
static enum MHD_Result respond(request *q, unsigned status, char *text, const char *header,
                               const char *value)
{
    struct MHD_Response *response = NULL;
    enum MHD_Result      sent = MHD_NO;             /* out of memory: the connection is closed */

    if (text != NULL)
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
    int64_t count;

    if (q->call.result != FRANCIS_OK)
        return answer_error(q);
    if (q->call.size != sizeof count)               /* of a halt */
        return respond(q, MHD_HTTP_OK, sqlite3_mprintf("{}\n"), NULL, NULL);
    (void)memcpy(&count, q->call.data, sizeof count);
    return respond(q, MHD_HTTP_OK, sqlite3_mprintf("{\"Out\":%lld}\n", count), NULL, NULL);
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

/* -- what the host tells ----------------------------------------------------------------------- */
#define COUNTER(name) { #name, offsetof(francis_stats, name) }
static const struct { const char *name; size_t at; } counters[] = {
    COUNTER(activations), COUNTER(deactivations), COUNTER(turns), COUNTER(turns_failed),
    COUNTER(peeks), COUNTER(calls_local), COUNTER(calls_out), COUNTER(calls_in),
    COUNTER(calls_refused), COUNTER(calls_in_flight), COUNTER(replays), COUNTER(commits),
    COUNTER(commits_failed), COUNTER(commits_unknown), COUNTER(commit_turns),
    COUNTER(commit_rows), COUNTER(bytes_written), COUNTER(reconnects), COUNTER(evictions),
    COUNTER(lives), COUNTER(wal_bytes), COUNTER(memory_bytes),
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
                               " 'busy_age_ms', %lld, 'busy_process', %lld)",
                               json_bool(healthy), json_bool(h.ready), json_bool(h.draining),
                               h.step_age_ms, h.commit_age_ms, h.busy_age_ms, h.busy_process),
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
    char *part[PARTS_MAX];

    (void)snprintf(path, sizeof path, "%s", url);
    int parts = url[0] == '/' ? split(path, part) : -1;
    if (q->size > BODY_MAX)
        return refuse(q, 413, "too_large", "the body is larger than 1023 bytes");
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (parts != routes[i].parts || strcmp(part[0], routes[i].name) != 0)
            continue;
        if (strcmp(method, routes[i].method) != 0)
            return respond(q, MHD_HTTP_METHOD_NOT_ALLOWED,
                           error_text("invalid", "this path takes another method", "not_run"),
                           "Allow", routes[i].method);
        return routes[i].run(q, part);
    }
    return refuse(q, MHD_HTTP_NOT_FOUND, "not_found", "there is no such path, see worker.c");
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
                                 .peek = peek_any, .state_size = sizeof(counter),
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
