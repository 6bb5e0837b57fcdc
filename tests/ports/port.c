/* What must be the same on every machine, whatever its word size and order of bytes. The actors
 * take, store and answer text, so that nothing here depends on the machine itself.
 *
 *     port worlds N     N simulated worlds; prints a hash of all that happened in them, each byte
 *                       between hosts included
 *     port file F N     a database goes from machine to machine: number N adds to it, and finds
 *                       what those before it, from 0 up, have left */
#define FRANCIS_SIM
#define FRANCIS_IMPLEMENTATION
#include "francis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS = 3, ACTORS = 12, STEPS = 120 };

#define DUE_MS INT64_C(4102444800000)       /* 2100 */

/* ---- the actors ---- */

static long number_of(francis_bytes b)      /* francis has put a NUL behind it */
{
    return b.data != NULL ? strtol((const char *)b.data, NULL, 10) : 0;
}

static francis_result add(francis_ctx *ctx)
{
    char           text[32];
    francis_result r;
    (void)snprintf(text, sizeof text, "%ld",
                   number_of(francis_state_get(ctx)) + number_of(ctx->input));
    r = francis_state_set(ctx, text, strlen(text));
    return r != FRANCIS_OK ? r : francis_reply(ctx, text, strlen(text));
}

static const francis_actor_desc types[] = {
    { .type = "sum", .invoke = add, .alarm = add, .job = add, .requests_kept_ms = FRANCIS_DAYS(1) },
    { .type = NULL }
};

/* ---- a file that goes round ---- */

static int refuse(const char *what, const char *detail)
{
    (void)fprintf(stderr, "%s: %s\n", what, detail);
    return 1;
}

/* What one machine leaves: a part of a sum, an alarm and a job that are not due for long. */
static int leave(francis_ctx *ctx, int n)
{
    francis_call  call = { 0 };
    char          name[32], part[32];
    francis_alarm a = { .type = "sum", .id = "alarms", .name = name, .data = part, .due_ms = DUE_MS,
                        .repeat = "90s" };
    francis_job   j = { .type = "sum", .id = "jobs", .method = "later", .data = part,
                        .due_ms = DUE_MS, .request_id = name };
    int           bad = 0;
    (void)snprintf(name, sizeof name, "machine %d", n);
    (void)snprintf(part, sizeof part, "%d", 1 << n);
    a.size = j.size = strlen(part);
    call.request_id = name;
    if (francis_invoke(ctx, "sum", "all", "add", part, strlen(part), &call) != FRANCIS_OK ||
        number_of((francis_bytes){ call.data, call.size }) != (2 << n) - 1)
        bad = refuse("the sum", call.data != NULL ? (const char *)call.data : call.error);
    call.request_id = NULL;
    if (francis_alarm_set(ctx, &a, &call) != FRANCIS_OK)
        bad = refuse("an alarm", call.error);
    if (francis_job_dispatch(ctx, &j, &call) != FRANCIS_OK)
        bad = refuse("a job", call.error);
    francis_call_free(&call);
    return bad;
}

/* The answer of an earlier machine is that of its time; the same id with other work is refused. */
static int find_answer(francis_ctx *ctx, int n)
{
    francis_call call = { 0 };
    char         name[32], part[32];
    int          bad = 0;
    (void)snprintf(name, sizeof name, "machine %d", n);
    (void)snprintf(part, sizeof part, "%d", 1 << n);
    call.request_id = name;
    if (francis_invoke(ctx, "sum", "all", "add", part, strlen(part), &call) != FRANCIS_OK ||
        number_of((francis_bytes){ call.data, call.size }) != (2 << n) - 1)
        bad = refuse("an answer that is kept", call.error);
    if (francis_invoke(ctx, "sum", "all", "add", "7777", 4, &call) != FRANCIS_ERR_EXISTS)
        bad = refuse("a request id with other work", "not refused");
    francis_call_free(&call);
    return bad;
}

static int find_item(const francis_item *it, int n, bool job)
{
    char name[32], part[32];
    (void)snprintf(name, sizeof name, "machine %d", n);
    (void)snprintf(part, sizeof part, "%d", 1 << n);
    if (strcmp(job ? it->request_id : it->name, name) != 0 || it->due_ms != DUE_MS ||
        it->size != strlen(part) || memcmp(it->data, part, it->size) != 0 ||
        (!job && strcmp(it->repeat, "PT1M30S") != 0))
        return refuse(job ? "a job is not" : "an alarm is not", name);
    return 0;
}

/* Alarms come in the order of their names, jobs in that of when they were made. */
static int find_list(francis_ctx *ctx, int count, bool job)
{
    francis_list   list = { .what = job ? FRANCIS_LIST_JOBS : FRANCIS_LIST_ALARMS, .type = "sum",
                            .id = job ? "jobs" : "alarms", .with_data = true };
    francis_result r;
    int            n = 0, bad = 0;
    while ((r = francis_list_next(ctx, &list)) == FRANCIS_OK)
        bad |= find_item(&list.item, n++, job);
    if (r != FRANCIS_DONE || n != count)
        bad = refuse("a list", r != FRANCIS_DONE ? list.error : "not as long as it should be");
    francis_list_free(&list);
    return bad;
}

static int file(const char *path, int n)
{
    francis_host_desc desc = { .database = path, .workers = FRANCIS_NO_WORKERS };
    francis_host     *host = NULL;
    francis_ctx      *ctx;
    int               bad = 0;
    (void)francis_open(&host, &desc);
    (void)francis_register(host, types);
    if (francis_start(host) != FRANCIS_OK)
        return refuse("start", francis_host_error(host));
    ctx = francis_host_ctx(host);
    for (int i = 0; i < n; i++)
        bad |= find_answer(ctx, i);
    bad |= find_list(ctx, n, false) | find_list(ctx, n, true);
    bad |= leave(ctx, n);
    francis_close(host);
    return bad;
}

/* ---- worlds ---- */

typedef struct {
    francis_sim      *sim;
    francis_host_desc desc[HOSTS];
    char              address[HOSTS][24];
    int               host[HOSTS];
    long              acknowledged[ACTORS];
} world;

static uint32_t rate(francis_sim *w, uint64_t most)         /* often there is none */
{
    return francis_sim_random(w, 2) == 0 ? 0 : (uint32_t)francis_sim_random(w, most);
}

static void open_world(world *w, uint64_t seed)
{
    francis_sim_desc   desc = { .seed = seed, .trace_lines = 40 };
    francis_host_desc  host = { .database = "world.db", .workers = FRANCIS_NO_WORKERS,
                                .cluster_key = "a secret of thirty-two bytes, or more",
                                .timeout_ms = 5000 };
    francis_sim_faults faults = { .latency_us = 200 };
    int                disk;
    if (francis_sim_open(&w->sim, &desc) != FRANCIS_OK)
        abort();
    faults.jitter_us = rate(w->sim, 5000);
    faults.net_split = rate(w->sim, 200000);
    faults.net_loss = rate(w->sim, 20000);
    faults.net_reset = rate(w->sim, 2000);
    faults.sync_us = rate(w->sim, 3000);
    faults.write_error = rate(w->sim, 1000);
    faults.disk_full = rate(w->sim, 1000);
    faults.no_memory = rate(w->sim, 200);
    disk = francis_sim_disk(w->sim);
    for (int i = 0; i < HOSTS; i++) {
        (void)snprintf(w->address[i], sizeof w->address[i], "10.0.0.%d:7571", i + 1);
        w->desc[i] = host;
        w->desc[i].address = w->address[i];
        w->host[i] = francis_sim_host(w->sim, disk, &w->desc[i], types);
        (void)francis_sim_start(w->sim, w->host[i]);
        francis_sim_faults_set(w->sim, w->host[i], &faults);
    }
}

static void ask(world *w, francis_ctx *ctx)
{
    francis_call  call = { 0 };
    unsigned      actor = (unsigned)francis_sim_random(w->sim, ACTORS);
    char          id[16];
    francis_alarm a = { .type = "sum", .id = id, .name = "soon", .data = "1", .size = 1 };
    francis_job   j = { .type = "sum", .id = id, .method = "work", .data = "1", .size = 1 };
    (void)snprintf(id, sizeof id, "a%u", actor);
    a.delay_ms = j.delay_ms = (int64_t)francis_sim_random(w->sim, 2000);
    switch (francis_sim_random(w->sim, 6)) {
    case 0: (void)francis_alarm_set(ctx, &a, &call); break;
    case 1: (void)francis_job_dispatch(ctx, &j, &call); break;
    default:
        if (francis_invoke(ctx, "sum", id, "add", "1", 1, &call) == FRANCIS_OK)
            w->acknowledged[actor]++;
    }
    francis_sim_note(w->sim, "%s of %s", francis_result_name(call.result), id);
    francis_call_free(&call);
}

static void step(world *w)
{
    int          host = w->host[francis_sim_random(w->sim, HOSTS)];
    francis_ctx *ctx;
    if (francis_sim_running(w->sim, host) == NULL)
        (void)francis_sim_start(w->sim, host);
    if (francis_sim_running(w->sim, host) == NULL || (ctx = francis_sim_ctx(w->sim, host)) == NULL)
        return;
    switch (francis_sim_random(w->sim, 25)) {
    case 0: francis_sim_kill(w->sim, host); break;
    case 1: francis_sim_stop(w->sim, host); break;
    case 2: francis_sim_power_cut(w->sim, 0); break;
    case 3: francis_sim_run(w->sim, (int64_t)francis_sim_random(w->sim, 3000)); break;
    default: ask(w, ctx);
    }
}

/* Heals it, and looks at all actors: what was acknowledged must be there. */
static void judge_world(world *w)
{
    const francis_sim_faults none = { 0 };
    for (int i = 0; i < HOSTS; i++) {
        francis_sim_faults_set(w->sim, w->host[i], &none);
    }
    for (int i = 0; i < HOSTS; i++)
        for (int tries = 0; francis_sim_running(w->sim, w->host[i]) == NULL; tries++) {
            if (francis_sim_start(w->sim, w->host[i]) != FRANCIS_OK && tries == 60) {
                francis_sim_fail(w->sim, "host %d does not start", i);
                return;
            }
            francis_sim_run(w->sim, 1000);
        }
    francis_sim_run(w->sim, 60000);
    for (unsigned i = 0; i < ACTORS; i++) {
        francis_call   call = { .timeout_ms = 60000 };
        char           id[16];
        francis_result r;
        (void)snprintf(id, sizeof id, "a%u", i);
        r = francis_invoke(francis_sim_ctx(w->sim, w->host[0]), "sum", id, "add", "0", 1, &call);
        if (r != FRANCIS_OK)
            francis_sim_fail(w->sim, "%s cannot be read: %s", id, call.error);
        else if (number_of((francis_bytes){ call.data, call.size }) < w->acknowledged[i])
            francis_sim_fail(w->sim, "%s has lost what was acknowledged", id);
        francis_call_free(&call);
    }
}

static int worlds(int count)
{
    uint64_t all = 0;
    int      bad = 0;
    for (int seed = 1; seed <= count; seed++) {
        world w = { 0 };
        open_world(&w, (uint64_t)seed);
        for (int i = 0; i < STEPS && !francis_sim_failed(w.sim); i++)
            step(&w);
        judge_world(&w);
        all = all * 31 + francis_sim_hash(w.sim);
        bad |= francis_sim_failed(w.sim);
        francis_sim_close(w.sim);
    }
    (void)printf("%016llx\n", (unsigned long long)all);
    return bad;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "worlds") == 0)
        return worlds(atoi(argv[2]));
    if (argc == 4 && strcmp(argv[1], "file") == 0)
        return file(argv[2], atoi(argv[3]));
    return refuse("usage", "port worlds N, port file F N");
}
