/* What is done again and again, so that the instructions of it can be counted (build.sh
 * instructions): in a simulated world, where the same happens each time.
 *
 *     instructions           prints the names of the operations, and how often each is done
 *     instructions NAME      does it; what is counted is done in measured() */
#define FRANCIS_SIM
#define FRANCIS_IMPLEMENTATION
#include "francis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS = 2 };

typedef struct { int64_t n; } number;

typedef struct {
    francis_sim      *sim;
    francis_host_desc desc[HOSTS];
    int               host[HOSTS];
    francis_ctx      *ctx, *other;  /* of the first host, where the actors live, and of the other */
    francis_call      call;
    int64_t           fired;
} world;

static world w;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, w.call.error != NULL ? w.call.error : "");
    exit(1);
}

/* ---- the actors ---- */

static francis_result on_read(francis_ctx *ctx)
{
    const number *s = (const number *)francis_state(ctx);
    return s == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, &s->n, sizeof s->n);
}

static francis_result on_add(francis_ctx *ctx)
{
    number *s = (number *)francis_state(ctx);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->n++;
    return francis_reply(ctx, &s->n, sizeof s->n);
}

static francis_result on_due(francis_ctx *ctx)
{
    w.fired++;
    return on_add(ctx);
}

static const francis_method methods[] = {
    { "read", on_read, FRANCIS_INVOKE, 0 },
    { "read", on_read, FRANCIS_PEEK, 0 },
    { "add", on_add, FRANCIS_INVOKE, 0 },
    { "soon", on_due, FRANCIS_ALARM, 0 },
    { "work", on_due, FRANCIS_JOB, 0 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc types[] = {
    { .type = "number", .methods = methods, .state_size = sizeof(number),
      .placement = FRANCIS_PLACE_LOCAL, .idle_timeout_ms = FRANCIS_FOREVER },
    { .type = NULL }
};

static void make_world(void)
{
    const francis_sim_desc desc = { .seed = 1 };
    int                    disk;
    must(francis_sim_open(&w.sim, &desc) == FRANCIS_OK, "a world");
    disk = francis_sim_disk(w.sim);
    for (int i = 0; i < HOSTS; i++) {
        w.desc[i].database = "world.db";
        w.desc[i].address = i == 0 ? "10.0.0.1:7571" : "10.0.0.2:7571";
        w.desc[i].cluster_key = "a secret of thirty-two bytes, or more";
        w.desc[i].timeout_ms = 60000;
        w.host[i] = francis_sim_host(w.sim, disk, &w.desc[i], types);
        must(francis_sim_start(w.sim, w.host[i]) == FRANCIS_OK, "a host");
    }
    w.ctx = francis_sim_ctx(w.sim, w.host[0]);
    w.other = francis_sim_ctx(w.sim, w.host[1]);
}

/* ---- the operations ---- */

static void invoke(francis_ctx *ctx, const char *id, const char *method)
{
    must(francis_invoke(ctx, "number", id, method, NULL, 0, &w.call) == FRANCIS_OK, method);
}

static void once_invoke(int i)
{
    (void)i;
    invoke(w.ctx, "a", "read");
}

static void once_peek(int i)
{
    (void)i;
    must(francis_peek(w.ctx, "number", "a", "read", NULL, 0, &w.call) == FRANCIS_OK, "peek");
}

static void once_durable(int i)
{
    (void)i;
    invoke(w.ctx, "a", "add");
}

static void once_activate(int i)
{
    char id[16];
    (void)snprintf(id, sizeof id, "new%d", i);
    invoke(w.ctx, id, "read");
}

static void once_remote(int i)
{
    (void)i;
    invoke(w.other, "a", "read");
}

static void until_fired(int64_t before)
{
    for (int i = 0; w.fired == before && i < 10000; i++)
        francis_sim_run(w.sim, 1);
    must(w.fired == before + 1, "nothing was due");
}

static void once_alarm(int i)
{
    const francis_alarm a = { .type = "number", .id = "a", .name = "soon", .delay_ms = 2 };
    int64_t             before = w.fired;
    (void)i;
    must(francis_alarm_set(w.ctx, &a, &w.call) == FRANCIS_OK, "alarm");
    until_fired(before);
}

static void once_job(int i)
{
    const francis_job j = { .type = "number", .id = "a", .method = "work" };
    int64_t           before = w.fired;
    (void)i;
    must(francis_job_dispatch(w.ctx, &j, &w.call) == FRANCIS_OK, "job");
    until_fired(before);
}

static void once_cron(int i)
{
    const int64_t  start = INT64_C(1893456000000);
    frn_schedule   schedule;
    char           error[200];
    francis_result r = frn_schedule_parse(NULL, "*/5 8-18 * * MON-FRI", &schedule, error,
                                          sizeof error);
    must(r == FRANCIS_OK, error);
    must(frn_schedule_next(&schedule, start, start + i * FRANCIS_DAYS(1)) > start, "cron");
}

static const struct {
    const char *name;
    void      (*once)(int i);
    int         times;
} operations[] = {
    { "invoke", once_invoke, 500 },     /* of an idle actor that writes nothing */
    { "peek", once_peek, 500 },
    { "durable", once_durable, 200 },   /* a turn that writes, committed alone */
    { "activate", once_activate, 100 }, /* of an actor that has no state yet */
    { "remote", once_remote, 200 },     /* the call of another host, plain frames */
    { "alarm", once_alarm, 100 },       /* set, found, run, forgotten */
    { "job", once_job, 100 },           /* the same of a job */
    { "cron", once_cron, 200 }          /* read, and its next time */
};

/* The only one in which instructions are counted. */
__attribute__((noinline)) void measured(void (*once)(int i), int times);

void measured(void (*once)(int i), int times)
{
    for (int i = 0; i < times; i++)
        once(i);
}

int main(int argc, char **argv)
{
    size_t n = 0;
    if (argc < 2) {
        for (size_t i = 0; i < FRN_COUNT(operations); i++)
            (void)printf("%s %d\n", operations[i].name, operations[i].times);
        return 0;
    }
    while (n < FRN_COUNT(operations) && strcmp(operations[n].name, argv[1]) != 0)
        n++;
    must(n < FRN_COUNT(operations), "no such operation");
    make_world();
    invoke(w.ctx, "a", "add");
    if (operations[n].once == once_remote)
        invoke(w.other, "a", "read");   /* which connects the two */
    measured(operations[n].once, operations[n].times);
    francis_call_free(&w.call);
    francis_sim_close(w.sim);
    return 0;
}
