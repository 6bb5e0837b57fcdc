/* The figures of francis, each beside its limit, measured in the same run.
 *
 *     bench [--json] [--quick] [--verbose] [--dir DIRECTORY] [--list] [NAME...]
 *
 * NAME is a row or the beginning of one. Value and limit are measured in turns, several rounds, and
 * the medians compared (of calls without a write: the rounds that nothing disturbed). The exit code
 * says whether it could measure, not whether goals are met. */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"

#include "base.h"
#include "bare.h"
#include "bare_due.h"
#include "tls.h"

#include <fcntl.h>
#include <sys/times.h>
#include <sys/wait.h>

/* Calls in flight. Without workers a batch is as large as the largest of the limit then; with them
 * one is committed while the next is made, which takes twice as many. */
enum { WINDOW = 1024, WINDOW_WORKERS = 2 * WINDOW, STREAM_BYTES = 16384 };

typedef union {
    int64_t count;
    char    bytes[STATE_SIZE];
} counter_state;

// ---- actors

static francis_result on_increment(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    c->count++;
    return francis_reply(ctx, &c->count, sizeof c->count);
}

static francis_result on_get(francis_ctx *ctx)
{
    const counter_state *c = (const counter_state *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    return francis_reply(ctx, &c->count, sizeof c->count);
}

static francis_result on_nothing(francis_ctx *ctx)
{
    (void)ctx;
    return FRANCIS_OK;
}

static francis_result on_echo(francis_ctx *ctx)
{
    return francis_reply(ctx, ctx->input.data, ctx->input.size);
}

/* Reads a stream to its end, and answers how much it was. */
static francis_result on_swallow(francis_ctx *ctx)
{
    char           data[STREAM_BYTES];
    uint64_t      *sum = (uint64_t *)ctx->local;
    size_t         n = 0;
    francis_result r;
    if (sum == NULL && (sum = (uint64_t *)francis_alloc(ctx, sizeof *sum)) == NULL)
        return FRANCIS_ERR_NOMEM;
    while ((r = francis_stream_read(ctx, ctx->stream, data, sizeof data, &n)) == FRANCIS_OK)
        *sum += n;
    if (r == FRANCIS_PENDING)
        return francis_await(ctx, on_swallow, sum);
    return r == FRANCIS_DONE ? francis_stream_write(ctx, ctx->stream, sum, sizeof *sum) : r;
}

static const francis_method methods[] = {
    { "swallow",   on_swallow,   FRANCIS_STREAM, 0 },
    { "increment", on_increment, FRANCIS_INVOKE, 0 },
    { "get",       on_get,       FRANCIS_PEEK,   0 },
    { "nothing",   on_nothing,   FRANCIS_INVOKE, 0 },
    { "look",      on_nothing,   FRANCIS_PEEK,   0 },
    { "echo",      on_echo,      FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static void host_must(francis_host *host, francis_result r, const char *what)
{
    if (r != FRANCIS_OK)
        die("%s: %s: %s", what, francis_result_name(r), francis_host_error(host));
}

static francis_log_level log_level;  /* of hosts that are opened; 0 = as usual */

/* address: of a member of a cluster; NULL = it is none. */
static francis_host *host_open_at(const char *database, int workers, const char *address)
{
    francis_host      *host = NULL;
    francis_host_desc  desc = { 0 };
    francis_actor_desc actor = { 0 };
    francis_result     r;
    desc.database = database;
    desc.workers = workers;
    desc.log_level = log_level;
    desc.address = address;
    desc.cluster_key = address != NULL ? cluster_key : NULL;
    actor.placement = FRANCIS_PLACE_LOCAL;
    actor.type = "counter";
    actor.methods = methods;
    actor.state_size = sizeof(counter_state);
    actor.mailbox_max = WINDOW_WORKERS;
    r = francis_open(&host, &desc);
    if (r != FRANCIS_OK)
        die("open: %s: %s", francis_result_name(r), host != NULL ? francis_host_error(host) : "");
    host_must(host, francis_register(host, &actor), "register");
    actor.type = "quick";
    actor.nonblocking = true;
    host_must(host, francis_register(host, &actor), "register");
    host_must(host, francis_start(host), "start");
    return host;
}

static francis_host *host_open(const char *database, int workers)
{
    return host_open_at(database, workers, NULL);
}

static francis_host *host_open_scratch(const char *name, int workers)
{
    char path[PATH_SIZE];
    return host_open(scratch_path(path, name), workers);
}

static void call_must(const francis_call *call, francis_result r, const char *what)
{
    if (r != FRANCIS_OK)
        die("%s: %s: %s", what, francis_result_name(r),
            call->error != NULL ? call->error : "");
}

static void host_print_stats(francis_host *host, const char *name)
{
    francis_stats s;
    francis_stats_get(host, &s);
    if (opt.verbose)
        (void)fprintf(stderr,
                      "  %s: %.0f turns, %.0f commits, %.1f turns and %.1f rows per commit, "
                      "%.1f MB written, log of %.1f MB, memory at most %.1f MB\n",
                      name, (double)s.turns, (double)s.commits,
                      (double)s.commit_turns / (double)(s.commits != 0 ? s.commits : 1),
                      (double)s.commit_rows / (double)(s.commits != 0 ? s.commits : 1),
                      (double)s.bytes_written / 1e6, (double)s.wal_bytes / 1e6,
                      (double)s.memory_bytes_peak / 1e6);
}

// ---- calls without a write

/* Nanoseconds of a call of one actor that is active already. */
static double call_ns(francis_host *host, const char *type, bool peek, unsigned count)
{
    francis_ctx   *ctx = francis_host_ctx(host);
    francis_call   call = { 0 };
    francis_result r = FRANCIS_OK;
    double         start = now_s(), ns;
    unsigned       i;
    for (i = 0; i < count && r == FRANCIS_OK; i++)
        r = peek ? francis_peek(ctx, type, "user-1", "look", NULL, 0, &call)
                 : francis_invoke(ctx, type, "user-1", "nothing", NULL, 0, &call);
    ns = (now_s() - start) * 1e9 / count;
    call_must(&call, r, "a call without a write");
    francis_call_free(&call);
    check_interrupted();
    return ns;
}

static void measure_invoke(void)
{
    const unsigned rounds = opt.quick ? 5 : ROUNDS_MAX, count = opt.quick ? 4000 : 20000;
    samples        limit = { { 0 }, 0 }, plain = limit, peek = limit, quick = limit;
    samples        ordinary = limit, hand = limit;
    francis_host  *inline_host, *worker_host;
    double         l, goal;
    unsigned       i;
    if (!rows_wanted(ROW_invoke_inline, ROW_invoke_workers))
        return;
    inline_host = host_open_scratch("invoke-inline.db", FRANCIS_NO_WORKERS);
    worker_host = host_open_scratch("invoke-workers.db", 0);
    (void)call_ns(inline_host, "quick", false, 1000);
    (void)call_ns(inline_host, "counter", false, 1000);
    (void)call_ns(worker_host, "quick", false, 1000);
    (void)call_ns(worker_host, "counter", false, 1000);
    for (i = 0; i < rounds; i++) {
        sample_add(&limit, bare_call_ns(count));
        if (row_wanted(ROW_invoke_inline))
            sample_add(&plain, call_ns(inline_host, "quick", false, count));
        if (row_wanted(ROW_peek_inline))
            sample_add(&peek, call_ns(inline_host, "quick", true, count));
        if (row_wanted(ROW_invoke_nonblocking))
            sample_add(&quick, call_ns(worker_host, "quick", false, count));
        if (row_wanted(ROW_invoke_ordinary))
            sample_add(&ordinary, call_ns(inline_host, "counter", false, count));
        if (row_wanted(ROW_invoke_workers))
            sample_add(&hand, call_ns(worker_host, "counter", false, count / 20));
    }
    francis_close(inline_host);
    francis_close(worker_host);
    sample_print("limit", &limit);
    sample_print("invoke_inline", &plain);
    sample_print("peek_inline", &peek);
    sample_print("invoke_nonblocking", &quick);
    sample_print("invoke_ordinary", &ordinary);
    sample_print("invoke_workers", &hand);
    l = sample_low(&limit);
    goal = (l + 150) / l;           /* at most 150 ns over it */
    report(ROW_invoke_inline, sample_low(&plain), l, GOAL_AT_MOST, goal);
    report(ROW_peek_inline, sample_low(&peek), l, GOAL_AT_MOST, goal);
    report(ROW_invoke_nonblocking, sample_low(&quick), l, GOAL_AT_MOST, goal);
    report(ROW_invoke_ordinary, sample_low(&ordinary), l, GOAL_AT_MOST, goal);
    report(ROW_invoke_workers, sample_median(&hand), l, GOAL_NONE, 0);
}

// ---- many callers

/* So many calls are in flight all the time; the oldest is waited for, then made again. */
typedef struct {
    francis_host *host;
    const char   *method;
    unsigned      actors, window;
    uint64_t      random, done;
    francis_call  calls[WINDOW_WORKERS];
} load;

static unsigned window_of(int workers)
{
    return workers == FRANCIS_NO_WORKERS ? WINDOW : WINDOW_WORKERS;
}

static load *load_new(francis_host *host, const char *method, unsigned actors, unsigned window)
{
    load *l = (load *)calloc(1, sizeof *l);
    if (window == 0 || window > WINDOW_WORKERS)
        die("no load of %u calls", window);
    if (l == NULL)
        die("out of memory");
    l->host = host;
    l->method = method;
    l->actors = actors;
    l->window = window;
    l->random = 1;
    return l;
}

static void load_free(load *l)
{
    unsigned i;
    for (i = 0; i < WINDOW_WORKERS; i++)
        francis_call_free(&l->calls[i]);
    free(l);
}

static void load_call(load *l, francis_call *call, unsigned actor)
{
    francis_result r;
    call->async = true;
    r = francis_invoke(francis_host_ctx(l->host), "counter", actor_ids[actor], l->method, NULL, 0,
                       call);
    if (r != FRANCIS_PENDING)
        call_must(call, r, l->method);
}

static void load_wait(load *l, francis_call *call)
{
    call_must(call, francis_wait(francis_host_ctx(l->host), call), l->method);
    l->done++;
}

/* Calls per second, actors at random, for so long. */
static double load_run(load *l, double seconds)
{
    const double   start = now_s();
    const uint64_t before = l->done;
    unsigned       i, end;
    for (i = 0; i < l->window; i++)
        load_call(l, &l->calls[i], next_random(&l->random) % l->actors);
    for (i = 0; i % 64 != 0 || now_s() - start < seconds; i++) {
        francis_call *call = &l->calls[i % l->window];
        load_wait(l, call);
        load_call(l, call, next_random(&l->random) % l->actors);
    }
    for (end = i + l->window; i < end; i++)
        load_wait(l, &l->calls[i % l->window]);
    check_interrupted();
    return (double)(l->done - before) / (now_s() - start);
}

/* Calls per second, actors first to last once each. */
static double load_each(load *l, unsigned first, unsigned last)
{
    const double start = now_s();
    unsigned     i, n = last - first;
    for (i = 0; i < n; i++) {
        francis_call *call = &l->calls[i % l->window];
        if (i >= l->window)
            load_wait(l, call);
        load_call(l, call, first + i);
    }
    for (i = n > l->window ? n - l->window : 0; i < n; i++)
        load_wait(l, &l->calls[i % l->window]);
    check_interrupted();
    return n / (now_s() - start);
}

/* Every turn that was answered is there, no other is: the counts are summed up. */
static void check_counts(francis_host *host, uint64_t expected, const char *name)
{
    francis_list   list = { 0 };
    francis_result r;
    uint64_t       sum = 0;
    list.what = FRANCIS_LIST_STATES;
    list.with_data = true;
    while ((r = francis_list_next(francis_host_ctx(host), &list)) == FRANCIS_OK) {
        counter_state c;
        if (list.item.size != sizeof c)
            die("%s: %s has a state of %lu bytes", name, list.item.id,
                (unsigned long)list.item.size);
        (void)memcpy(&c, list.item.data, sizeof c);
        sum += (uint64_t)c.count;
    }
    if (r != FRANCIS_DONE)
        die("%s: list: %s: %s", name, francis_result_name(r),
            list.error != NULL ? list.error : "");
    francis_list_free(&list);
    if (sum != expected)
        die("%s: %.0f turns were answered, %.0f are stored", name, (double)expected, (double)sum);
}

/* As bare_warm; also activates the actors. */
static uint64_t host_warm(francis_host *host)
{
    load    *l = load_new(host, "increment", ACTORS, WINDOW);
    uint64_t done;
    (void)load_each(l, 0, ACTORS);
    (void)load_run(l, opt.quick ? 0.05 : 0.4);
    done = l->done;
    load_free(l);
    return done;
}

static const unsigned batches[] = { 64, 256, 1024 };
#define BATCHES (sizeof batches / sizeof batches[0])

typedef struct {                    /* a host with its two loads */
    const char   *name;
    francis_host *host;
    load         *many, *hot;
    uint64_t      warm;             /* turns before */
    samples       many_rate, hot_rate, cold_rate;
    int           workers;
} durable_side;

typedef struct {
    bare_db      bare;
    samples      limit[BATCHES];
    durable_side side[2];           /* with workers, without */
} durable;

static void durable_side_open(durable_side *s, const char *name, const char *file, int workers)
{
    (void)memset(s, 0, sizeof *s);
    s->name = name;
    s->workers = workers;
    s->host = host_open_scratch(file, workers);
    s->many = load_new(s->host, "increment", ACTORS, window_of(workers));
    s->hot = load_new(s->host, "increment", 1, window_of(workers));
    s->warm = host_warm(s->host);
}

static void durable_side_close(durable_side *s)
{
    uint64_t done = s->warm + s->many->done + s->hot->done;
    host_print_stats(s->host, s->name);
    load_free(s->many);
    load_free(s->hot);
    check_counts(s->host, done, s->name);
    francis_close(s->host);
    sample_print("  many", &s->many_rate);
    sample_print("  hot", &s->hot_rate);
    sample_print("  cold", &s->cold_rate);
}

/* Actors that are stored and nowhere active: a fresh host finds them. */
static double cold_round(const char *file, int workers)
{
    francis_host *host = host_open_scratch(file, workers);
    load         *l = load_new(host, "get", ACTORS, window_of(workers));
    francis_stats s;
    double        rate = load_each(l, 0, ACTORS);
    francis_stats_get(host, &s);
    if (s.activations != ACTORS)
        die("%.0f activations instead of %u", (double)s.activations, ACTORS);
    load_free(l);
    francis_close(host);
    return rate;
}

static void cold_make(const char *file)
{
    francis_host *host = host_open_scratch(file, 0);
    load         *l = load_new(host, "increment", ACTORS, WINDOW);
    (void)load_each(l, 0, ACTORS);
    load_free(l);
    francis_close(host);
}

static void durable_round(durable *d, double seconds)
{
    unsigned i;
    for (i = 0; i < BATCHES; i++)
        sample_add(&d->limit[i], bare_rows(&d->bare, batches[i], seconds / 2));
    for (i = 0; i < 2; i++) {
        durable_side *s = &d->side[i];
        if (row_wanted((row_id)(ROW_turns_many + i)))
            sample_add(&s->many_rate, load_run(s->many, seconds));
        if (row_wanted((row_id)(ROW_turns_hot + i)))
            sample_add(&s->hot_rate, load_run(s->hot, seconds / 2));
        if (row_wanted((row_id)(ROW_activations + i)))
            sample_add(&s->cold_rate, cold_round("cold.db", s->workers));
    }
}

static void measure_durable(void)
{
    static durable d;
    const unsigned rounds = opt.quick ? 1 : 7;
    double         limit = 0;
    unsigned       i;
    if (!rows_wanted(ROW_turns_many, ROW_activations_inline))
        return;
    bare_open(&d.bare, "durable-bare.db");
    bare_warm(&d.bare);
    durable_side_open(&d.side[0], "workers", "durable-workers.db", 0);
    durable_side_open(&d.side[1], "inline", "durable-inline.db", FRANCIS_NO_WORKERS);
    cold_make("cold.db");
    for (i = 0; i < rounds; i++)
        durable_round(&d, opt.quick ? 0.2 : 0.9);
    for (i = 0; i < BATCHES; i++) {
        double rate = sample_median(&d.limit[i]);
        sample_print("limit", &d.limit[i]);
        limit = rate > limit ? rate : limit;
    }
    for (i = 0; i < 2; i++)
        durable_side_close(&d.side[i]);
    bare_close(&d.bare);
    for (i = 0; i < 2; i++)
        report((row_id)(ROW_turns_many + i), sample_median(&d.side[i].many_rate), limit,
               GOAL_AT_LEAST, 0.6);
    for (i = 0; i < 2; i++)
        report((row_id)(ROW_turns_hot + i), sample_median(&d.side[i].hot_rate), limit,
               GOAL_AT_LEAST, 1.0);
    for (i = 0; i < 2; i++)
        report((row_id)(ROW_activations + i), sample_median(&d.side[i].cold_rate), limit,
               GOAL_AT_LEAST, 0.4);
}

// ---- one durable turn

/* Microseconds of the median durable turn of count. */
static double turn_us(francis_host *host, uint64_t *random, unsigned count)
{
    double       times[256];
    francis_call call = { 0 };
    unsigned     i;
    for (i = 0; i < count; i++) {
        const char    *id = actor_ids[next_random(random) % 100];
        double         start = now_s();
        francis_result r = francis_invoke(francis_host_ctx(host), "counter", id, "increment", NULL,
                                          0, &call);
        times[i] = (now_s() - start) * 1e6;
        call_must(&call, r, "a durable turn");
    }
    francis_call_free(&call);
    check_interrupted();
    return median_of(times, count);
}

static double bare_commit_us(bare_db *b, unsigned count)
{
    double   times[256];
    unsigned i;
    for (i = 0; i < count; i++) {
        double start = now_s();
        bare_step(b, b->begin);
        bare_put(b, next_random(&b->random) % 100);
        bare_step(b, b->commit);
        times[i] = (now_s() - start) * 1e6;
    }
    check_interrupted();
    return median_of(times, count);
}

static void measure_single(void)
{
    const unsigned rounds = opt.quick ? 3 : 25, count = opt.quick ? 20 : 40;
    samples        limit = { { 0 }, 0 }, worker = limit, plain = limit;
    bare_db        bare;
    francis_host  *worker_host, *inline_host;
    uint64_t       random = 1;
    unsigned       i;
    if (!rows_wanted(ROW_turn_single, ROW_turn_single_inline))
        return;
    bare_open(&bare, "single-bare.db");
    worker_host = host_open_scratch("single-workers.db", 0);
    inline_host = host_open_scratch("single-inline.db", FRANCIS_NO_WORKERS);
    bare_warm(&bare);
    host_warm(worker_host);
    host_warm(inline_host);
    for (i = 0; i < rounds; i++) {
        sample_add(&limit, bare_commit_us(&bare, count));
        if (row_wanted(ROW_turn_single))
            sample_add(&worker, turn_us(worker_host, &random, count));
        if (row_wanted(ROW_turn_single_inline))
            sample_add(&plain, turn_us(inline_host, &random, count));
    }
    host_print_stats(worker_host, "turn_single");
    host_print_stats(inline_host, "turn_single_inline");
    francis_close(worker_host);
    francis_close(inline_host);
    bare_close(&bare);
    sample_print("limit", &limit);
    sample_print("turn_single", &worker);
    sample_print("turn_single_inline", &plain);
    report(ROW_turn_single, sample_median(&worker), sample_median(&limit), GOAL_AT_MOST, 1.3);
    report(ROW_turn_single_inline, sample_median(&plain), sample_median(&limit), GOAL_AT_MOST,
           1.3);
}

// ---- size

/* Between 1,000 active actors and all; so what a host needs once and for the calls in flight does
 * not count, what its tables grow by does. They have written once and are durable. */
static void measure_memory(void)
{
    francis_host *host;
    load         *l;
    francis_stats before, after;
    double        known = 0, over;
    unsigned      i;
    if (!row_wanted(ROW_memory))
        return;
    host = host_open_scratch("memory.db", FRANCIS_NO_WORKERS);
    l = load_new(host, "increment", ACTORS, 256);
    (void)load_each(l, 0, 1000);
    for (i = 0; i < 5; i++)
        (void)francis_poll(host, 0);
    francis_stats_get(host, &before);
    (void)load_each(l, 1000, ACTORS);
    for (i = 0; i < 5; i++)
        (void)francis_poll(host, 0);
    francis_stats_get(host, &after);
    for (i = 1000; i < ACTORS; i++)
        known += (double)(strlen(actor_ids[i]) + sizeof(counter_state));
    if (after.active - before.active != ACTORS - 1000)
        die("%.0f activations instead of %u", (double)(after.active - before.active),
            ACTORS - 1000);
    load_free(l);
    francis_close(host);
    over = ((double)after.memory_bytes - (double)before.memory_bytes - known) / (ACTORS - 1000);
    report(ROW_memory, over, 256, GOAL_AT_MOST, 1);
}

/* The header beside which this file was compiled. */
static bool header_path(char out[PATH_SIZE])
{
    static const char here[] = __FILE__, tail[] = "tests/bench/bench.c";
    char              cwd[PATH_SIZE];
    size_t            size = sizeof here - 1, cut = sizeof tail - 1;
    const char       *slash = "/";
    if (getcwd(cwd, sizeof cwd) == NULL || size < cut || strcmp(here + size - cut, tail) != 0)
        return false;
    if (here[0] == '/')
        cwd[0] = '\0', slash = "";
    if (snprintf(out, PATH_SIZE, "%s%s%.*sfrancis.h", cwd, slash, (int)(size - cut), here) >=
        PATH_SIZE)
        return false;
    return access(out, R_OK) == 0;
}

static void measure_code(void)
{
    char        header[PATH_SIZE], source[PATH_SIZE], object[PATH_SIZE], command[4 * PATH_SIZE];
    const char *cc = getenv("CC");
    FILE       *f;
    double      text = 0;
    int         found = 0;
    if (!row_wanted(ROW_code_size))
        return;
    if (opt.quick) {
        skip(ROW_code_size, "it takes too long for --quick");
        return;
    }
    if (!header_path(header)) {
        skip(ROW_code_size, "francis.h not found; run it where it was built");
        return;
    }
    f = fopen(scratch_path(source, "size.c"), "w");
    if (f == NULL ||
        fprintf(f, "#define FRANCIS_IMPLEMENTATION\n#include \"%s\"\n", header) < 0 ||
        fclose(f) != 0)
        die("%s: %s", source, strerror(errno));
    if (cc == NULL || *cc == '\0')
        cc = "cc";
    (void)snprintf(command, sizeof command, "%s -Os -c -o '%s' '%s' 2>/dev/null && size '%s' "
                   "2>/dev/null | tail -n 1", cc, scratch_path(object, "size.o"), source, object);
    f = popen(command, "r");
    if (f != NULL) {
        found = fscanf(f, "%lf", &text);
        (void)pclose(f);
    }
    if (found != 1 || text < 1)
        skip(ROW_code_size, "no compiler or no size(1)");
    else
        report(ROW_code_size, text, 262144, GOAL_AT_MOST, 1);
}

// ---- idling

/* A process of its own that only hosts. SIGTERM ends francis_run. */
static int idle_child(const char *database, const char *workers)
{
    francis_host  *host = host_open(database, atoi(workers));
    francis_result r;
    if (write(STDOUT_FILENO, "r", 1) != 1)
        return 1;
    r = francis_run(host);
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}

/* A number in a status file; -1 = there is none. */
static double status_field(const char *path, const char *field)
{
    char   line[256];
    FILE  *f = fopen(path, "r");
    double v = -1;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            v = strtod(line + strlen(field), NULL);
    if (f != NULL)
        (void)fclose(f);
    return v;
}

static double switches_of(pid_t pid)
{
    char           path[PATH_SIZE + 300];
    DIR           *d;
    struct dirent *e;
    double         sum = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    d = opendir(path);
    while (d != NULL && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "/proc/%ld/task/%s/status", (long)pid, e->d_name);
        sum += status_field(path, "voluntary_ctxt_switches:");
    }
    if (d != NULL)
        (void)closedir(d);
    return sum;
}

/* This program once more, with a flag and up to three arguments; *ready is what it says first. */
static pid_t spawn(const char *flag, const char *a, const char *b, const char *c, void *ready,
                   size_t ready_size)
{
    char  name[] = "bench", texts[4][PATH_SIZE];
    char *args[6];
    int   fds[2];
    pid_t pid;
    (void)snprintf(texts[0], sizeof texts[0], "%s", flag);
    (void)snprintf(texts[1], sizeof texts[1], "%s", a != NULL ? a : "");
    (void)snprintf(texts[2], sizeof texts[2], "%s", b != NULL ? b : "");
    (void)snprintf(texts[3], sizeof texts[3], "%s", c != NULL ? c : "");
    args[0] = name;
    args[1] = texts[0];
    args[2] = a != NULL ? texts[1] : NULL;
    args[3] = b != NULL ? texts[2] : NULL;
    args[4] = c != NULL ? texts[3] : NULL;
    args[5] = NULL;
    if (pipe(fds) != 0 || (pid = fork()) < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)close(fds[0]);
        (void)close(fds[1]);
        (void)execv("/proc/self/exe", args);
        _exit(127);
    }
    (void)close(fds[1]);
    if (read(fds[0], ready, ready_size) != (ssize_t)ready_size)
        die("a process did not start");
    (void)close(fds[0]);
    return pid;
}

static pid_t idle_spawn(const char *file, int workers)
{
    char path[PATH_SIZE], number[16], ready;
    (void)snprintf(number, sizeof number, "%d", workers);
    return spawn("--idle-host", scratch_path(path, file), number, NULL, &ready, 1);
}

/* Ends a child of spawn that hosts. */
static void spawn_end(int which)
{
    pid_t pid = children[which];
    int   status;
    (void)kill(pid, SIGTERM);
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid: %s", strerror(errno));
    children[which] = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("a host did not end well");
}

static void spawn_kill(int which)
{
    (void)kill(children[which], SIGKILL);
    if (waitpid(children[which], NULL, 0) != children[which])
        die("waitpid: %s", strerror(errno));
    children[which] = 0;
}

static void measure_idle(void)
{
    const double seconds = opt.quick ? 1 : 6;
    double       before[2], after[2], rss[2], start, elapsed;
    char         path[64];
    int          i;
    if (!rows_wanted(ROW_idle_wakeups, ROW_idle_rss_inline))
        return;
    if (access("/proc/self/status", R_OK) != 0 || access("/proc/self/exe", X_OK) != 0) {
        for (i = 0; i < 4; i++)
            skip((row_id)(ROW_idle_wakeups + i), "no /proc here");
        return;
    }
    for (i = 0; i < 2; i++)
        children[i] = idle_spawn(i == 0 ? "idle-workers.db" : "idle-inline.db",
                             i == 0 ? 0 : FRANCIS_NO_WORKERS);
    sleep_s(opt.quick ? 0.5 : 1.5); /* until it is idle */
    start = now_s();
    for (i = 0; i < 2; i++) {
        before[i] = switches_of(children[i]);
        if (before[i] <= 0)
            die("/proc does not count the switches of a process");
    }
    sleep_s(seconds);
    for (i = 0; i < 2; i++) {
        after[i] = switches_of(children[i]);
        (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)children[i]);
        rss[i] = status_field(path, "VmRSS:") / 1024;
    }
    elapsed = now_s() - start;
    for (i = 0; i < 2; i++)
        spawn_end(i);
    for (i = 0; i < 2; i++)
        report((row_id)(ROW_idle_wakeups + i), (after[i] - before[i]) / elapsed, 1, GOAL_AT_MOST,
               1);
    for (i = 0; i < 2; i++)
        report((row_id)(ROW_idle_rss + i), rss[i], 6, GOAL_AT_MOST, 1);
}

// ---- several processes on one file

typedef struct {                    /* a process that makes calls, for so long as it is told */
    pid_t pid;
    int   tell, hear;
} neighbour;

static bool pipe_read(int fd, void *data, size_t size)
{
    return read(fd, data, size) == (ssize_t)size;
}

static void pipe_write(int fd, const void *data, size_t size)
{
    if (write(fd, data, size) != (ssize_t)size)
        die("a process has gone: %s", strerror(errno));
}

/* The process itself: actors of its own, all active; reads seconds, writes turns per second. */
static int neighbour_child(const char *database, const char *workers, const char *name)
{
    francis_host *host = host_open(database, atoi(workers));
    load         *l = load_new(host, "increment", ACTORS, window_of(atoi(workers)));
    double        v = 0;
    unsigned      i;
    for (i = 0; i < ACTORS; i++)
        (void)snprintf(actor_ids[i], sizeof actor_ids[i], "%.4s-%u", name, i);
    (void)load_each(l, 0, ACTORS);
    do {
        if (v > 0)
            v = load_run(l, v);
        pipe_write(STDOUT_FILENO, &v, sizeof v);
    } while (pipe_read(STDIN_FILENO, &v, sizeof v));
    load_free(l);
    francis_close(host);
    return 0;
}

static void neighbour_start(neighbour *n, unsigned which, const char *file, int workers)
{
    char   path[PATH_SIZE], number[16], id[16];
    char   name[] = "bench", flag[] = "--neighbour";
    char  *args[6];
    int    to[2], from[2];
    double zero;
    args[0] = name;
    args[1] = flag;
    args[2] = path;
    args[3] = number;
    args[4] = id;
    args[5] = NULL;
    (void)scratch_path(path, file);
    (void)snprintf(number, sizeof number, "%d", workers);
    (void)snprintf(id, sizeof id, "n%u", which);
    if (pipe(to) != 0 || pipe(from) != 0 || (n->pid = fork()) < 0)
        die("fork: %s", strerror(errno));
    if (n->pid == 0) {
        (void)dup2(to[0], STDIN_FILENO);
        (void)dup2(from[1], STDOUT_FILENO);
        (void)close(to[0]);
        (void)close(to[1]);
        (void)close(from[0]);
        (void)close(from[1]);
        (void)execv("/proc/self/exe", args);
        _exit(127);
    }
    children[which] = n->pid;
    (void)close(to[0]);
    (void)close(from[1]);
    n->tell = to[1];
    n->hear = from[0];
    (void)fcntl(n->tell, F_SETFD, FD_CLOEXEC);      /* the next one must not keep it open */
    (void)fcntl(n->hear, F_SETFD, FD_CLOEXEC);
    if (!pipe_read(n->hear, &zero, sizeof zero))
        die("a process did not start");
}

static void neighbour_ends(neighbour *n, unsigned which)
{
    int status;
    (void)close(n->tell);
    (void)close(n->hear);
    if (waitpid(n->pid, &status, 0) != n->pid)
        die("waitpid: %s", strerror(errno));
    children[which] = 0;
    if (!WIFSIGNALED(status) && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        die("a process did not end well");
}

static double neighbour_rate(const neighbour *n)
{
    double v;
    if (!pipe_read(n->hear, &v, sizeof v))
        die("a process has gone");
    check_interrupted();
    return v;
}

/* Two at a time against one of them alone: the file has one writer, and the disk is the same. */
static void measure_pair(row_id row, const char *file, int workers)
{
    const unsigned rounds = opt.quick ? 1 : 3;
    const double   seconds = opt.quick ? 0.2 : 0.4;
    samples        alone = { { 0 }, 0 }, both = alone;
    neighbour      n[2];
    unsigned       i;
    if (!row_wanted(row))
        return;
    neighbour_start(&n[0], 0, file, workers);
    neighbour_start(&n[1], 1, file, workers);
    for (i = 0; i < rounds; i++) {
        pipe_write(n[i % 2].tell, &seconds, sizeof seconds);
        sample_add(&alone, neighbour_rate(&n[i % 2]));
        pipe_write(n[0].tell, &seconds, sizeof seconds);
        pipe_write(n[1].tell, &seconds, sizeof seconds);
        sample_add(&both, neighbour_rate(&n[0]) + neighbour_rate(&n[1]));
    }
    neighbour_ends(&n[0], 0);
    neighbour_ends(&n[1], 1);
    sample_print("alone", &alone);
    sample_print("both", &both);
    report(row, sample_median(&both), sample_median(&alone), GOAL_NONE, 0);
}

static void measure_neighbour_wait(void)
{
    enum { WAITS = 4096 };
    static double waits[WAITS];
    const double  seconds = opt.quick ? 0.5 : 2.5;
    francis_host *host;
    francis_call  call = { 0 };
    uint64_t      random = 1;
    neighbour     n = { 0, -1, -1 };
    unsigned      count = 0;
    double        end;
    if (!row_wanted(ROW_neighbour_wait))
        return;
    neighbour_start(&n, 0, "neighbour.db", 0);
    host = host_open_scratch("neighbour.db", 0);
    (void)turn_us(host, &random, 20);
    pipe_write(n.tell, &seconds, sizeof seconds);
    end = now_s() + seconds;
    while (count < WAITS && now_s() < end) {
        double start;
        sleep_s(next_random(&random) % 2000 * 1e-6);
        start = now_s();
        call_must(&call,
                  francis_invoke(francis_host_ctx(host), "counter", "light", "increment", NULL, 0,
                                 &call),
                  "a turn beside others");
        waits[count++] = (now_s() - start) * 1e3;
    }
    (void)neighbour_rate(&n);
    neighbour_ends(&n, 0);
    francis_call_free(&call);
    francis_close(host);
    (void)median_of(waits, count);  /* sorts */
    if (opt.verbose)
        (void)fprintf(stderr, "  %u waits, p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", count,
                      waits[count / 2], waits[count * 99 / 100], waits[count - 1]);
    report(ROW_neighbour_wait, waits[count * 99 / 100], 50, GOAL_AT_MOST, 1);
}

/* One of its 10,000 actors, called by another host again and again from the moment of the kill. */
static double failover_ms(const char *file)
{
    francis_host  *host;
    francis_call   call = { 0 };
    francis_result r;
    neighbour      n = { 0, -1, -1 };
    double         start;
    neighbour_start(&n, 0, file, FRANCIS_NO_WORKERS);
    host = host_open_scratch(file, FRANCIS_NO_WORKERS);
    r = francis_invoke(francis_host_ctx(host), "counter", "n0-1", "get", NULL, 0, &call);
    if (r != FRANCIS_ERR_MOVED)
        die("an actor of another process: %s", francis_result_name(r));
    start = now_s();
    (void)kill(n.pid, SIGKILL);
    do
        r = francis_invoke(francis_host_ctx(host), "counter", "n0-1", "get", NULL, 0, &call);
    while (r == FRANCIS_ERR_MOVED && now_s() - start < 60);
    start = now_s() - start;
    call_must(&call, r, "the first call after a failover");
    neighbour_ends(&n, 0);
    francis_call_free(&call);
    francis_close(host);
    return start * 1e3;
}

static void measure_failover(void)
{
    const unsigned rounds = opt.quick ? 1 : 5;
    samples        times = { { 0 }, 0 };
    unsigned       i;
    if (!row_wanted(ROW_failover))
        return;
    log_level = FRANCIS_LOG_ERROR;  /* that a host was taken over is no news */
    for (i = 0; i < rounds; i++)
        sample_add(&times, failover_ms("failover.db"));
    log_level = FRANCIS_LOG_DEFAULT;
    sample_print("failover", &times);
    report(ROW_failover, sample_median(&times), 1000, GOAL_AT_MOST, 1);
}

static void measure_sharing(void)
{
    int i;
    if (access("/proc/self/exe", X_OK) != 0) {
        for (i = ROW_pair; i <= (int)ROW_failover; i++)
            skip((row_id)i, "no /proc here");
        return;
    }
    measure_pair(ROW_pair, "pair.db", 0);
    measure_pair(ROW_pair_inline, "pair-inline.db", FRANCIS_NO_WORKERS);
    measure_neighbour_wait();
    measure_failover();
}

// ---- calls between hosts

enum { REMOTE_ACTORS = 64, REMOTE_BYTES_MAX = 16384 };

static const uint32_t remote_sizes[] = { 64, REMOTE_BYTES_MAX };

static const char *remote_id(unsigned actor)
{
    return actor_ids[actor % REMOTE_ACTORS];
}

/* A process whose host has the actors of both types. SIGTERM ends francis_run. */
static int remote_child(const char *database, const char *workers, const char *address)
{
    francis_host  *host = host_open_at(database, atoi(workers), address);
    francis_call   call = { 0 };
    francis_result r;
    unsigned       i;
    actor_ids_init();
    for (i = 0; i < 2 * REMOTE_ACTORS; i++)
        call_must(&call,
                  francis_invoke(francis_host_ctx(host), i % 2 == 0 ? "counter" : "quick",
                                 remote_id(i / 2), "nothing", NULL, 0, &call),
                  "an activation");
    francis_call_free(&call);
    if (write(STDOUT_FILENO, "r", 1) != 1)
        return 1;
    r = francis_run(host);
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}

static void remote_address(char address[32], int *port)
{
    (void)close(bare_socket(port, false));
    (void)snprintf(address, 32, "127.0.0.1:%d", *port);
}

/* The child has the actors, the host of this process calls them. */
static francis_host *remote_open(const char *file, int workers, int *port)
{
    char path[PATH_SIZE], number[16], address[32], ready;
    int  own;
    (void)snprintf(number, sizeof number, "%d", workers);
    remote_address(address, port);
    children[0] = spawn("--remote-host", scratch_path(path, file), number, address, &ready, 1);
    remote_address(address, &own);
    return host_open_at(path, workers, address);
}

/* Microseconds of the median call of count. */
static double remote_us(francis_host *host, const char *type, uint32_t size, unsigned count)
{
    static char  data[REMOTE_BYTES_MAX];
    double       times[1024];
    francis_call call = { 0 };
    unsigned     i;
    for (i = 0; i < count; i++) {
        double         start = now_s();
        francis_result r = francis_invoke(francis_host_ctx(host), type, remote_id(i), "echo", data,
                                          size, &call);
        times[i] = (now_s() - start) * 1e6;
        call_must(&call, r, "a call to another host");
        if (call.size != size)
            die("a call to another host: %lu bytes came back", (unsigned long)call.size);
    }
    francis_call_free(&call);
    check_interrupted();
    return median_of(times, count);
}

static void remote_call(francis_host *host, francis_call *call, unsigned i, uint32_t size)
{
    static char    data[REMOTE_BYTES_MAX];
    francis_result r;
    call->async = true;
    r = francis_invoke(francis_host_ctx(host), "quick", remote_id(i), "echo", data, size, call);
    if (r != FRANCIS_PENDING)
        call_must(call, r, "a call to another host");
}

/* Calls per second: so many are in flight all the time. */
static double remote_rate(francis_host *host, uint32_t size, unsigned window, double seconds)
{
    static francis_call calls[WINDOW];
    double              start = now_s();
    unsigned            i, end;
    (void)memset(calls, 0, sizeof calls);
    for (i = 0; i < window; i++)
        remote_call(host, &calls[i], i, size);
    for (i = 0; i % 16 != 0 || now_s() - start < seconds; i++) {
        francis_call *call = &calls[i % window];
        call_must(call, francis_wait(francis_host_ctx(host), call), "a call to another host");
        remote_call(host, call, i, size);
    }
    for (end = i + window; i < end; i++)
        call_must(&calls[i % window],
                  francis_wait(francis_host_ctx(host), &calls[i % window]), "a call");
    for (i = 0; i < window; i++)
        francis_call_free(&calls[i]);
    check_interrupted();
    return end / (now_s() - start);
}

/* Megabytes per second of one stream, until all of it is there. */
static double stream_rate(francis_host *host, double seconds)
{
    static char         data[STREAM_BYTES];
    francis_ctx        *ctx = francis_host_ctx(host);
    francis_stream_desc d = { 0 };
    francis_stream     *s = NULL;
    double              start = now_s();
    uint64_t            sent = 0, there = 0;
    size_t              n = 0;
    francis_result      r;
    d.type = "counter";
    d.id = remote_id(0);
    d.method = "swallow";
    d.bytes_max = UINT64_MAX;
    r = francis_stream_open(ctx, &d, &s);
    for (; r == FRANCIS_OK && now_s() - start < seconds; sent += sizeof data)
        r = francis_stream_write(ctx, s, data, sizeof data);
    if (r == FRANCIS_OK)
        r = francis_stream_end(ctx, s);
    if (r == FRANCIS_OK)
        r = francis_stream_read(ctx, s, &there, sizeof there, &n);
    if (r != FRANCIS_OK || n != sizeof there || there != sent)
        die("a stream: %s: %s", francis_result_name(r), francis_stream_error(s));
    francis_stream_close(s);
    check_interrupted();
    return (double)sent / (now_s() - start) / 1e6;
}

typedef struct {                    /* both sizes */
    samples one_us[2], many_rate[2];    /* the limits */
    samples ordinary[2], quick[2], rate[2];
    samples stream, stream_limit;
} remote;

/* Of the bare server, which has one connection at a time. 64 messages per write; small ones several
 * writes at a time, of large ones one fills a socket. */
static void remote_round_bare(remote *r, bare_member *m, int port, int k, double seconds)
{
    bare_pipe p;
    bare_pipe_open(&p, m, port, remote_sizes[k], remote_sizes[k], 1);
    sample_add(&r->one_us[k], bare_pipe_us(&p, opt.quick ? 50 : 400));
    bare_pipe_close(&p);
    bare_pipe_open(&p, m, port, 64 * remote_sizes[k], 64 * remote_sizes[k], k == 0 ? 4 : 1);
    sample_add(&r->many_rate[k], 64 * bare_pipe_run(&p, seconds));
    bare_pipe_close(&p);
}

static void remote_round(remote *r, francis_host *host, int k, double seconds)
{
    const unsigned count = opt.quick ? 50 : 400;
    sample_add(&r->ordinary[k], remote_us(host, "counter", remote_sizes[k], count));
    sample_add(&r->quick[k], remote_us(host, "quick", remote_sizes[k], count));
    sample_add(&r->rate[k], remote_rate(host, remote_sizes[k], k == 0 ? WINDOW : 64, seconds));
}

/* Bare: blocks of 256 KiB, each confirmed by a byte, four under way. */
static void remote_round_stream(remote *r, bare_member *m, int port, francis_host *host,
                                double seconds)
{
    bare_pipe p;
    bare_pipe_open(&p, m, port, 262144, 1, 4);
    sample_add(&r->stream_limit, 0.262144 * bare_pipe_run(&p, seconds));
    bare_pipe_close(&p);
    sample_add(&r->stream, stream_rate(host, seconds));
}

static void remote_report(const remote *r, bool workers)
{
    int k;
    sample_print("bare, one way", &r->stream_limit);
    sample_print("  stream", &r->stream);
    report(workers ? ROW_stream : ROW_stream_inline, sample_median(&r->stream),
           sample_median(&r->stream_limit), GOAL_NONE, 0);
    for (k = 0; k < 2; k++) {
        double limit = sample_median(&r->one_us[k]);
        sample_print("bare", &r->one_us[k]);
        sample_print("  ordinary type", &r->ordinary[k]);
        sample_print("  nonblocking type", &r->quick[k]);
        sample_print("bare, 64 per write", &r->many_rate[k]);
        sample_print("  many callers", &r->rate[k]);
        report((row_id)((workers ? ROW_remote_workers : ROW_remote_inline) + k),
               sample_median(&r->ordinary[k]), limit, GOAL_AT_MOST, workers ? 2 : 1.3);
        if (workers)
            report((row_id)(ROW_remote_quick + k), sample_median(&r->quick[k]), limit,
                   GOAL_AT_MOST, 2);
        report((row_id)((workers ? ROW_remote_many : ROW_remote_many_inline) + k),
               sample_median(&r->rate[k]), sample_median(&r->many_rate[k]), GOAL_AT_LEAST, 0.5);
    }
}

static void measure_remote_calls(bare_member *m, bool workers)
{
    const unsigned rounds = opt.quick ? 1 : 9;
    const double   seconds = opt.quick ? 0.1 : 0.3;
    remote         r;
    francis_host  *host;
    unsigned       i;
    int            k, port, ignored;
    (void)memset(&r, 0, sizeof r);
    if (workers ? !rows_wanted(ROW_remote_workers, ROW_remote_quick_16k) &&
                      !rows_wanted(ROW_remote_many, ROW_remote_many_16k) && !row_wanted(ROW_stream)
                : !rows_wanted(ROW_remote_inline, ROW_remote_inline_16k) &&
                      !rows_wanted(ROW_remote_many_inline, ROW_remote_many_inline_16k) &&
                      !row_wanted(ROW_stream_inline))
        return;
    host = remote_open(workers ? "remote-workers.db" : "remote-inline.db",
                       workers ? 0 : FRANCIS_NO_WORKERS, &ignored);
    children[1] = spawn("--bare-server", NULL, NULL, NULL, &port, sizeof port);
    (void)remote_us(host, "counter", 64, 100);
    for (i = 0; i < rounds; i++) {
        for (k = 0; k < 2; k++) {
            remote_round_bare(&r, m, port, k, seconds);
            remote_round(&r, host, k, seconds);
        }
        remote_round_stream(&r, m, port, host, seconds);
    }
    spawn_kill(1);
    francis_close(host);
    spawn_end(0);
    remote_report(&r, workers);
}

static void measure_handshakes(bare_member *m)
{
    const unsigned rounds = opt.quick ? 1 : 5;
    const double   seconds = opt.quick ? 0.2 : 0.5;
    samples        limit = { { 0 }, 0 }, hosts = limit;
    francis_host  *host;
    unsigned       i;
    int            port, bare;
    if (!row_wanted(ROW_handshakes))
        return;
    host = remote_open("handshakes.db", FRANCIS_NO_WORKERS, &port);
    francis_close(host);
    children[1] = spawn("--bare-server", NULL, NULL, NULL, &bare, sizeof bare);
    for (i = 0; i < rounds; i++) {
        sample_add(&limit, bare_handshakes(m, bare, seconds));
        sample_add(&hosts, bare_handshakes(m, port, seconds));
    }
    spawn_kill(1);
    spawn_end(0);
    sample_print("bare", &limit);
    sample_print("host", &hosts);
    report(ROW_handshakes, sample_median(&hosts), sample_median(&limit), GOAL_NONE, 0);
}

/* An actor of a process, called through another one again and again from the moment of the kill. */
static double remote_failover_ms(void)
{
    francis_host  *host;
    francis_call   call = { 0 };
    francis_result r;
    double         start;
    int            port;
    host = remote_open("remote-failover.db", FRANCIS_NO_WORKERS, &port);
    (void)remote_us(host, "counter", 64, 10);
    start = now_s();
    spawn_kill(0);
    do
        r = francis_invoke(francis_host_ctx(host), "counter", remote_id(1), "get", NULL, 0, &call);
    while (r != FRANCIS_OK && now_s() - start < 60);
    start = now_s() - start;
    call_must(&call, r, "the first call after a failover");
    francis_call_free(&call);
    francis_close(host);
    return start * 1e3;
}

static void measure_remote_failover(void)
{
    const unsigned rounds = opt.quick ? 1 : 7;
    samples        times = { { 0 }, 0 };
    unsigned       i;
    if (!row_wanted(ROW_remote_failover))
        return;
    log_level = FRANCIS_LOG_ERROR;
    for (i = 0; i < rounds; i++)
        sample_add(&times, remote_failover_ms());
    log_level = FRANCIS_LOG_DEFAULT;
    sample_print("remote_failover", &times);
    report(ROW_remote_failover, sample_median(&times), 1000, GOAL_AT_MOST, 1);
}

static void measure_remote(void)
{
    bare_member m;
    int         i;
    if (!rows_wanted(ROW_remote_inline, ROW_remote_failover))
        return;
    if (access("/proc/self/exe", X_OK) != 0) {
        for (i = ROW_remote_inline; i <= (int)ROW_remote_failover; i++)
            skip((row_id)i, "no /proc here");
        return;
    }
    bare_member_open(&m, "bare-client");
    measure_remote_calls(&m, false);
    measure_remote_calls(&m, true);
    measure_handshakes(&m);
    measure_remote_failover();
    bare_member_close(&m);
}

// ---- alarms and jobs

enum {
    DUE_COUNT     = 1000000,        /* alarms in the file */
    DUE_COUNT_QUICK = 40000,
    DUE_LATE_MOST = 400000          /* that are timed */
};

static double  *due_late_ms;        /* of each alarm that ran, while somebody wants to know */
static unsigned due_late_count;

static double wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static francis_result on_ring(francis_ctx *ctx)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    unsigned       n;
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    c->count++;
    if (due_late_ms == NULL)
        return FRANCIS_OK;
    n = __atomic_fetch_add(&due_late_count, 1, __ATOMIC_RELAXED);
    if (n < DUE_LATE_MOST)
        due_late_ms[n] = wall_ms() - (double)ctx->due_ms;
    return FRANCIS_OK;
}

static const francis_method due_methods[] = {
    { "ring",    on_ring,      FRANCIS_ALARM,  0 },
    { "work",    on_increment, FRANCIS_JOB,    0 },
    { "nothing", on_nothing,   FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static francis_host *due_host_open(const char *path, int workers)
{
    francis_host      *host = NULL;
    francis_host_desc  desc = { 0 };
    francis_actor_desc actor = { 0 };
    francis_result     r;
    desc.database = path;
    desc.workers = workers;
    actor.placement = FRANCIS_PLACE_LOCAL;
    actor.type = DUE_TYPE;
    actor.methods = due_methods;
    actor.state_size = sizeof(counter_state);
    r = francis_open(&host, &desc);
    if (r != FRANCIS_OK)
        die("open: %s: %s", francis_result_name(r), host != NULL ? francis_host_error(host) : "");
    host_must(host, francis_register(host, &actor), "register");
    host_must(host, francis_start(host), "start");
    return host;
}

/* A file with the tables of a host, and SQLite beside it. */
static void due_make(due_db *d, char path[PATH_SIZE], const char *file)
{
    francis_close(due_host_open(scratch_path(path, file), FRANCIS_NO_WORKERS));
    due_open(d, path);
}

static uint64_t due_done(francis_host *host)
{
    francis_stats s;
    francis_stats_get(host, &s);
    return s.alarms_fired + s.jobs_done;
}

/* Until so many have run, or so many seconds are over; gives how many have run. */
static uint64_t due_wait(francis_host *host, int workers, uint64_t count, double seconds)
{
    const double end = now_s() + seconds;
    uint64_t     done = due_done(host);
    while (done < count && now_s() < end) {
        if (workers == FRANCIS_NO_WORKERS)
            (void)francis_poll(host, 1);
        else
            sleep_s(0.001);
        done = due_done(host);
    }
    check_interrupted();
    return done;
}

/* Alarms per second of a host that finds them overdue. */
static double due_host_rate(const char *path, int workers, double warm, double seconds)
{
    francis_host *host = due_host_open(path, workers);
    uint64_t      before = due_wait(host, workers, UINT64_MAX, warm), after;
    double        start = now_s(), rate;
    after = due_wait(host, workers, UINT64_MAX, seconds);
    rate = (double)(after - before) / (now_s() - start);
    host_print_stats(host, workers == 0 ? "alarms_fired" : "alarms_fired_inline");
    francis_close(host);
    return rate;
}

static const unsigned due_batches[] = { 128, 256, 1024, 4096 };
#define DUE_BATCHES (sizeof due_batches / sizeof due_batches[0])

typedef struct {
    samples limit[DUE_BATCHES], side[2];
} due_rates;

static double due_limit(const samples limit[DUE_BATCHES])
{
    double   most = 0;
    unsigned i;
    for (i = 0; i < DUE_BATCHES; i++) {
        double rate = sample_median(&limit[i]);
        sample_print("limit", &limit[i]);
        most = rate > most ? rate : most;
    }
    return most;
}

static void due_rates_report(const due_rates *r, row_id row, goal_kind kind, double goal)
{
    double   limit = due_limit(r->limit);
    unsigned i;
    for (i = 0; i < 2; i++)
        sample_print(i == 0 ? "  workers" : "  inline", &r->side[i]);
    for (i = 0; i < 2; i++)
        report((row_id)(row + i), sample_median(&r->side[i]), limit, kind, goal);
}

/* Each alarm was done once: by a host or by SQLite alone, whose states say so, too. */
static void due_check(due_db *d, unsigned count)
{
    int64_t left = due_number(d, "select count(*) from francis_alarms");
    int64_t done = due_number(d, "select count(*) from francis_actor_state");
    int64_t sum = due_number(d, "select sum(actor_state_data >= x'02') from francis_actor_state");
    if (left + done != count || sum != 0)
        die("of %u alarms %.0f are left and %.0f done", count, (double)left, (double)done);
}

/* All sides take their alarms out of the same file. */
static void due_round(due_db *d, due_rates *r, const char *path)
{
    const double seconds = opt.quick ? 0.04 : 0.4;
    unsigned     i;
    due_find(d, opt.quick ? 16000 : 100000);
    for (i = 0; i < DUE_BATCHES; i++)
        sample_add(&r->limit[i], due_alarms(d, due_batches[i], seconds));
    bare_exec(&d->b, "delete from francis_active_actors where host_id = 'bare'");
    for (i = 0; i < 2; i++)
        if (row_wanted((row_id)(ROW_alarms_fired + i)))
            sample_add(&r->side[i], due_host_rate(path, i == 0 ? 0 : FRANCIS_NO_WORKERS,
                                                  opt.quick ? 0.02 : 0.3, 2 * seconds));
}

static void measure_alarms(void)
{
    static due_rates r;
    const unsigned   rounds = opt.quick ? 1 : 5, count = opt.quick ? DUE_COUNT_QUICK : DUE_COUNT;
    due_db           d;
    char             path[PATH_SIZE];
    unsigned         i;
    if (!rows_wanted(ROW_alarms_fired, ROW_alarms_fired_inline))
        return;
    due_make(&d, path, "alarms.db");
    due_fill(&d, "ring", count, count, (int64_t)wall_ms() - 3600000, 1000);
    for (i = 0; i < rounds; i++)
        due_round(&d, &r, path);
    due_check(&d, count);
    due_close(&d);
    due_rates_report(&r, ROW_alarms_fired, GOAL_AT_LEAST, 0.6);
}

typedef struct {                    /* jobs that are dispatched, so many calls at a time */
    francis_host *host;
    uint64_t      random, dispatched;
    francis_call  calls[WINDOW];
} job_load;

static void job_dispatch(job_load *l, francis_call *call)
{
    francis_job    job = { 0 };
    francis_result r;
    job.type = DUE_TYPE;
    job.id = actor_ids[next_random(&l->random) % ACTORS];
    job.method = "work";
    call->async = true;
    r = francis_job_dispatch(francis_host_ctx(l->host), &job, call);
    if (r != FRANCIS_PENDING)
        call_must(call, r, "a dispatch");
    l->dispatched++;
}

static void job_activate(job_load *l, francis_call *call, const char *id)
{
    francis_result r;
    call->async = true;
    r = francis_invoke(francis_host_ctx(l->host), DUE_TYPE, id, "nothing", NULL, 0, call);
    if (r != FRANCIS_PENDING)
        call_must(call, r, "an activation");
}

/* Jobs per second, from the first dispatch until the last one is done. */
static double job_run(job_load *l, int workers, double seconds)
{
    const double   start = now_s();
    const uint64_t before = l->dispatched;
    unsigned       i, end;
    for (i = 0; i < WINDOW; i++)
        job_dispatch(l, &l->calls[i]);
    for (i = 0; i % 64 != 0 || now_s() - start < seconds; i++) {
        francis_call *call = &l->calls[i % WINDOW];
        call_must(call, francis_wait(francis_host_ctx(l->host), call), "a dispatch");
        job_dispatch(l, call);
    }
    for (end = i + WINDOW; i < end; i++)
        call_must(&l->calls[i % WINDOW],
                  francis_wait(francis_host_ctx(l->host), &l->calls[i % WINDOW]), "a dispatch");
    if (due_wait(l->host, workers, l->dispatched, 120) != l->dispatched)
        die("not all jobs were done");
    return (double)(l->dispatched - before) / (now_s() - start);
}

static job_load *job_load_new(const char *path, int workers)
{
    job_load *l = (job_load *)calloc(1, sizeof *l);
    unsigned  i;
    if (l == NULL)
        die("no memory");
    l->host = due_host_open(path, workers);
    l->random = 1;
    for (i = 0; i < ACTORS + WINDOW; i++) {
        francis_call *call = &l->calls[i % WINDOW];
        if (i >= WINDOW)
            call_must(call, francis_wait(francis_host_ctx(l->host), call), "an activation");
        if (i < ACTORS)
            job_activate(l, call, actor_ids[i]);
    }
    (void)job_run(l, workers, opt.quick ? 0.02 : 0.4);
    return l;
}

static void job_load_free(job_load *l, const char *name)
{
    unsigned i;
    host_print_stats(l->host, name);
    for (i = 0; i < WINDOW; i++)
        francis_call_free(&l->calls[i]);
    francis_close(l->host);
    free(l);
}

/* What they did is stored: each state is as many jobs as its actor has had. */
static void job_check(const char *path, uint64_t count)
{
    francis_host *host = due_host_open(path, FRANCIS_NO_WORKERS);
    check_counts(host, count, "jobs");
    francis_close(host);
}

static void measure_jobs(void)
{
    static due_rates r;
    const unsigned   rounds = opt.quick ? 1 : 7;
    const double     seconds = opt.quick ? 0.05 : 0.5;
    due_db           d;
    job_load        *l[2];
    uint64_t         done[2];
    char             bare[PATH_SIZE], path[2][PATH_SIZE];
    unsigned         i, k;
    if (!rows_wanted(ROW_jobs, ROW_jobs_inline))
        return;
    due_make(&d, bare, "jobs-bare.db");
    for (i = 0; i < 2; i++)
        l[i] = job_load_new(scratch_path(path[i], i == 0 ? "jobs-workers.db" : "jobs-inline.db"),
                            i == 0 ? 0 : FRANCIS_NO_WORKERS);
    (void)due_jobs(&d, 1024, seconds);
    for (k = 0; k < rounds; k++) {
        for (i = 0; i < DUE_BATCHES; i++)
            sample_add(&r.limit[i], due_jobs(&d, due_batches[i], seconds / 2));
        for (i = 0; i < 2; i++)
            if (row_wanted((row_id)(ROW_jobs + i)))
                sample_add(&r.side[i], job_run(l[i], i == 0 ? 0 : FRANCIS_NO_WORKERS, seconds));
    }
    for (i = 0; i < 2; i++) {
        done[i] = l[i]->dispatched;
        job_load_free(l[i], i == 0 ? "jobs" : "jobs_inline");
        job_check(path[i], done[i]);
    }
    due_close(&d);
    due_rates_report(&r, ROW_jobs, GOAL_NONE, 0);
}

// ---- a million alarms that wait

static void handle_signals(void);

/* A process of its own; says how many milliseconds passed until its first call was answered, and
 * hosts until SIGTERM. */
static int pending_child(const char *database, const char *workers)
{
    double         ms = now_s();
    francis_host  *host = due_host_open(database, atoi(workers));
    francis_call   call = { 0 };
    francis_result r = francis_invoke(francis_host_ctx(host), DUE_TYPE, "first", "nothing", NULL, 0,
                                      &call);
    call_must(&call, r, "the first call");
    ms = (now_s() - ms) * 1e3;
    francis_call_free(&call);
    handle_signals();               /* francis_run would have its own too late */
    if (write(STDOUT_FILENO, &ms, sizeof ms) != (ssize_t)sizeof ms)
        return 1;
    while (!interrupted && r == FRANCIS_OK)
        r = francis_poll(host, 50);
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}

/* Milliseconds to the first call. *rss: MiB, once it has looked around. */
static double pending_start(const char *path, int workers, double *rss)
{
    char   number[16], status[64];
    double ms;
    (void)snprintf(number, sizeof number, "%d", workers);
    children[0] = spawn("--pending-host", path, number, NULL, &ms, sizeof ms);
    if (rss != NULL) {
        sleep_s(opt.quick ? 0.5 : 2.5);
        (void)snprintf(status, sizeof status, "/proc/%ld/status", (long)children[0]);
        *rss = status_field(status, "VmRSS:") / 1024;
    }
    spawn_end(0);
    return ms;
}

static void measure_pending_of(const char *path, const char *empty, unsigned side)
{
    const unsigned rounds = opt.quick ? 1 : 7;
    const int      workers = side == 0 ? 0 : FRANCIS_NO_WORKERS;
    samples        times = { { 0 }, 0 };
    double         rss[2];
    unsigned       i;
    (void)pending_start(empty, workers, &rss[0]);
    (void)pending_start(path, workers, &rss[1]);
    for (i = 0; i < rounds; i++)
        sample_add(&times, pending_start(path, workers, NULL));
    sample_print("start", &times);
    report((row_id)(ROW_pending_start + side), sample_median(&times), 500, GOAL_AT_MOST, 1);
    report((row_id)(ROW_pending_rss + side), rss[1] - rss[0], 64, GOAL_AT_MOST, 1);
}

static void measure_pending(due_db *d, const char *path)
{
    const unsigned count = opt.quick ? DUE_COUNT_QUICK : DUE_COUNT;
    due_db         e;
    char           empty[PATH_SIZE];
    unsigned       i;
    due_fill(d, "later", count, DUE_COUNT, (int64_t)wall_ms() + 86400000, 1);
    if (!rows_wanted(ROW_pending_start, ROW_pending_rss_inline))
        return;
    if (access("/proc/self/status", R_OK) != 0 || access("/proc/self/exe", X_OK) != 0) {
        for (i = ROW_pending_start; i <= (unsigned)ROW_pending_rss_inline; i++)
            skip((row_id)i, "no /proc here");
        return;
    }
    due_make(&e, empty, "empty.db");
    for (i = 0; i < 2; i++)
        if (row_wanted((row_id)(ROW_pending_start + i)) ||
            row_wanted((row_id)(ROW_pending_rss + i)))
            measure_pending_of(path, empty, i);
    due_close(&e);
}

// ---- how late they are

static const double late_parts[] = { 0.25, 0.5, 1 };
#define LATE_PARTS (sizeof late_parts / sizeof late_parts[0])

static void late_print(const char *name, double rate, double *times, unsigned count)
{
    (void)median_of(times, count);  /* sorts */
    if (opt.verbose)
        (void)fprintf(stderr, "  %s: %.0f 1/s, late p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", name,
                      rate, times[count / 2], times[count * 99 / 100], times[count - 1]);
}

/* The same of SQLite alone, which tells what the disk and the neighbours add. */
static void late_bare(due_db *d, const char *name, double rate)
{
    static double times[DUE_LATE_MOST];
    const double  seconds = opt.quick ? 0.3 : 2;
    if (!opt.verbose)
        return;
    due_fill(d, "ring", (unsigned)(rate * seconds), DUE_COUNT, 1, 1000);
    due_find(d, (unsigned)(rate * seconds));
    due_paced(d, rate, times);
    bare_exec(&d->b, "delete from francis_active_actors where host_id = 'bare'");
    late_print(name, rate, times, d->found_count);
}

/* The 99th percentile, in ms, of alarms that come at this rate while a million wait. */
static double late_p99(due_db *d, const char *path, int workers, const char *name, double rate)
{
    static double times[DUE_LATE_MOST];
    const double  seconds = opt.quick ? 0.3 : 2;
    const double  wish = rate * seconds;
    unsigned      count = wish < DUE_LATE_MOST ? (unsigned)wish : DUE_LATE_MOST;
    francis_host *host;
    due_fill(d, "ring", count, DUE_COUNT, (int64_t)(wall_ms() + 500 + count / 20.0), rate / 1e3);
    due_late_count = 0;
    due_late_ms = times;
    host = due_host_open(path, workers);
    if (due_wait(host, workers, count, 120) != count || due_late_count != count)
        die("of %u alarms %u rang", count, due_late_count);
    francis_close(host);
    due_late_ms = NULL;
    late_print(name, rate, times, count);
    return times[count * 99 / 100];
}

/* SQLite's rate on this file, of rows that are deleted again. */
static double late_limit(due_db *d)
{
    samples  limit[DUE_BATCHES] = { { { 0 }, 0 } };
    unsigned i, k;
    due_fill(d, "ring", opt.quick ? 20000 : 200000, DUE_COUNT, 1, 1000);
    due_find(d, opt.quick ? 20000 : 200000);
    for (k = 0; k < (opt.quick ? 1 : 3); k++)
        for (i = 0; i < DUE_BATCHES; i++)
            sample_add(&limit[i], due_alarms(d, due_batches[i], opt.quick ? 0.04 : 0.4));
    bare_exec(&d->b, "delete from francis_active_actors where host_id = 'bare'");
    bare_exec(&d->b, "delete from francis_alarms where alarm_name = 'ring'");
    return due_limit(limit);
}

static void measure_late(due_db *d, const char *path)
{
    const unsigned rounds = opt.quick ? 1 : 3;
    samples        times[2 * LATE_PARTS] = { { { 0 }, 0 } };
    double         rate;
    unsigned       i, k;
    if (!rows_wanted(ROW_late_quarter, ROW_late_all_inline))
        return;
    for (k = 0; k < rounds; k++) {
        rate = late_limit(d);
        late_bare(d, "SQLite alone, a quarter", rate / 4);
        for (i = 0; i < 2 * LATE_PARTS; i++) {
            row_id row = (row_id)(ROW_late_quarter + (int)i);
            if (row_wanted(row))
                sample_add(&times[i], late_p99(d, path, i % 2 == 0 ? 0 : FRANCIS_NO_WORKERS,
                                               rows[row].name, rate * late_parts[i / 2]));
        }
    }
    for (i = 0; i < 2 * LATE_PARTS; i++)
        report((row_id)(ROW_late_quarter + (int)i), sample_median(&times[i]), 20,
               i < 2 ? GOAL_AT_MOST : GOAL_NONE, 1);
}

static void measure_many_waiting(void)
{
    due_db d;
    char   path[PATH_SIZE];
    if (!rows_wanted(ROW_pending_start, ROW_late_all_inline))
        return;
    due_make(&d, path, "pending.db");
    measure_pending(&d, path);
    measure_late(&d, path);
    due_close(&d);
}

/* One alarm after the other, of actors that are not active, on a host that is idle. */
static void measure_soon(unsigned side)
{
    const unsigned count = opt.quick ? 5 : 100;
    const int      workers = side == 0 ? 0 : FRANCIS_NO_WORKERS;
    static double  times[DUE_LATE_MOST];
    due_db         d;
    francis_host  *host;
    francis_alarm  alarm = { 0 };
    francis_call   call = { 0 };
    char           path[PATH_SIZE];
    unsigned       i;
    if (!row_wanted((row_id)(ROW_alarm_soon + side)))
        return;
    due_make(&d, path, side == 0 ? "soon.db" : "soon-inline.db");
    host = due_host_open(path, workers);
    due_late_count = 0;
    due_late_ms = times;
    for (i = 0; i < count; i++) {
        alarm.type = DUE_TYPE;
        alarm.id = actor_ids[i];
        alarm.name = "ring";
        alarm.due_ms = (int64_t)wall_ms() + 50;
        call_must(&call, francis_alarm_set(francis_host_ctx(host), &alarm, &call), "an alarm");
        if (due_wait(host, workers, i + 1, 60) != i + 1)
            die("an alarm did not ring");
    }
    francis_call_free(&call);
    francis_close(host);
    due_close(&d);
    due_late_ms = NULL;
    late_print(rows[ROW_alarm_soon + side].name, 20, times, count);
    report((row_id)(ROW_alarm_soon + side), times[count / 2], 20, GOAL_AT_MOST, 1);
}

// ---- the program

/* Seconds that the processors of this machine have worked, and that we have; 0 = not known. */
static void work_of(double *all, double *own)
{
    double     v[8] = { 0, 0, 0, 0, 0, 0, 0, 0 }, hz = (double)sysconf(_SC_CLK_TCK);
    struct tms t;
    FILE      *f = fopen("/proc/stat", "r");
    *all = *own = 0;
    if (f == NULL || times(&t) == (clock_t)-1)
        hz = 0;
    if (f != NULL && fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &v[0], &v[1], &v[2], &v[3],
                            &v[4], &v[5], &v[6], &v[7]) != 8)
        hz = 0;
    if (f != NULL)
        (void)fclose(f);
    if (hz <= 0)
        return;
    *all = (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / hz;     /* all but idle and waiting */
    *own = (double)(t.tms_utime + t.tms_stime + t.tms_cutime + t.tms_cstime) / hz;
}

static void measure_all(void)
{
    double start = now_s(), all[2], own[2], others;
    work_of(&all[0], &own[0]);
    measure_invoke();
    measure_durable();
    measure_single();
    measure_memory();
    measure_code();
    measure_idle();
    measure_sharing();
    measure_remote();
    measure_alarms();
    measure_jobs();
    measure_many_waiting();
    measure_soon(0);
    measure_soon(1);
    work_of(&all[1], &own[1]);
    others = (all[1] - all[0] - (own[1] - own[0])) / (now_s() - start);
    if (others > 0.15)
        (void)fprintf(stderr, "bench: others kept %.1f processors busy meanwhile: measure again in "
                              "peace\n", others);
}

static int list_rows(void)
{
    int i;
    for (i = 0; i < (int)ROW_COUNT; i++)
        (void)printf("%-22s %-8s %s\n", rows[i].name, rows[i].unit, rows[i].text);
    return 0;
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: bench [--json] [--quick] [--verbose] [--dir DIRECTORY] [--list] "
                          "[NAME...]\n");
    return 2;
}

static void handle_signals(void)
{
    struct sigaction action;
    (void)memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

int main(int argc, char **argv)
{
    const char *dir = NULL;
    int         i;
    if (argc == 4 && strcmp(argv[1], "--idle-host") == 0)
        return idle_child(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "--pending-host") == 0)
        return pending_child(argv[2], argv[3]);
    if (argc == 5 && strcmp(argv[1], "--neighbour") == 0)
        return neighbour_child(argv[2], argv[3], argv[4]);
    if (argc == 5 && strcmp(argv[1], "--remote-host") == 0)
        return remote_child(argv[2], argv[3], argv[4]);
    if (argc == 2 && strcmp(argv[1], "--bare-server") == 0)
        return bare_server_child();
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            opt.json = true;
        else if (strcmp(argv[i], "--quick") == 0)
            opt.quick = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            opt.verbose = true;
        else if (strcmp(argv[i], "--list") == 0)
            return list_rows();
        else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            dir = argv[++i];
        else if (argv[i][0] != '-' && opt.wanted_count < 32)
            opt.wanted[opt.wanted_count++] = argv[i];
        else
            return usage();
    }
    if (!rows_wanted((row_id)0, (row_id)(ROW_COUNT - 1)))
        return usage();
    handle_signals();
    actor_ids_init();
    scratch_make(dir);
    report_head();
    measure_all();
    scratch_remove();
    return 0;
}
