/* A small device: an allocator with a cap and an account, a log sink, a watchdog, counters.
 * Usage: allocator [DATABASE] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct { size_t used, peak, max; } budget;

static void *budget_alloc(void *old, size_t size_old, size_t size_new, void *user)
{
    budget *b = (budget *)user;                 /* never called from two threads at once */
    void   *p = NULL;

    if (size_new > size_old && size_new - size_old > b->max - b->used)
        return NULL;                            /* francis answers NOMEM, and goes on */
    if (size_new == 0)
        free(old);
    else if ((p = realloc(old, size_new)) == NULL)
        return NULL;
    b->used = b->used - size_old + size_new;
    if (b->used > b->peak)
        b->peak = b->used;
    return p;
}

static void log_line(const francis_log *record, void *user)
{
    fprintf((FILE *)user, "<%d> %s %s: %s\n", (int)record->level, record->area, record->name,
            record->message);
}

static francis_result ping(francis_ctx *ctx)
{
    return francis_reply(ctx, "pong", 4);
}

static francis_result keep(francis_ctx *ctx)    /* a refused write fails the turn by itself */
{
    return francis_state_set(ctx, ctx->input.data, ctx->input.size);
}

static const francis_method device_methods[] = {
    { "ping", ping, FRANCIS_PEEK,   0 },
    { "keep", keep, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static bool healthy(francis_host *host)         /* then the watchdog may be fed */
{
    francis_health health;

    francis_health_get(host, &health);
    return health.ready && health.turn_age_ms < FRANCIS_SECONDS(10) &&
           health.commit_age_ms < FRANCIS_SECONDS(10) &&
           health.overdue_age_ms < FRANCIS_SECONDS(10);
}

static void show(const char *what, francis_result r)
{
    printf("%s: %s\n", what, r == FRANCIS_OK ? "ok" : francis_result_name(r));
}

int main(int argc, char **argv)
{
    static char        block[262144];
    budget             memory = { 0, 0, (size_t)4 << 20 };
    francis_host      *host   = NULL;
    francis_host_desc  desc   = { .database = argc > 1 ? argv[1] : "device.db",
                                  .workers  = FRANCIS_NO_WORKERS,
                                  .profile  = FRANCIS_PROFILE_FLASH,
                                  .on_alloc = budget_alloc, .alloc_user = &memory,
                                  .on_log   = log_line, .log_user = stderr,
                                  .log_level = FRANCIS_LOG_INFO };
    francis_actor_desc actor  = { .type = "device", .methods = device_methods };
    francis_stats      stats;

    francis_open(&host, &desc);
    francis_register(host, &actor);
    if (francis_start(host) != FRANCIS_OK) {
        fprintf(stderr, "allocator: %s\n", francis_host_error(host));
        francis_close(host);
        return 1;
    }
    francis_ctx *ctx = francis_host_ctx(host);
    show("ping", francis_peek(ctx, "device", "lamp", "ping", NULL, 0, NULL));
    show("keep", francis_invoke(ctx, "device", "lamp", "keep", block, sizeof block, NULL));
    memory.max = memory.used + 65536;           /* no threads: nobody else looks at it now */
    show("keep, little memory",
         francis_invoke(ctx, "device", "radio", "keep", block, sizeof block, NULL));
    memory.max = (size_t)4 << 20;
    show("keep, again", francis_invoke(ctx, "device", "radio", "keep", block, sizeof block, NULL));
    (void)francis_poll(host, 0);
    printf("watchdog: %s\n", healthy(host) ? "fed" : "left hungry");
    francis_stats_get(host, &stats);
    fprintf(stderr, "%llu turns, %llu commits, %llu bytes written, %lu bytes of memory at most\n",
            (unsigned long long)stats.turns, (unsigned long long)stats.commits,
            (unsigned long long)stats.bytes_written, (unsigned long)memory.peak);
    francis_close(host);
    printf("left over: %lu bytes\n", (unsigned long)memory.used);
    return memory.used == 0 ? 0 : 1;
}
