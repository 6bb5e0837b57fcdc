/* A world of the campaign: its hosts and clients, chance, and what is known of what happened. */
#ifndef WORLD_H
#define WORLD_H

#include "support/counters.h"
#include "support/linear.h"

enum {
    HOSTS_MAX = 9, ACTORS_MAX = 200, OPS_MAX = 6000, CLIENTS_MAX = 36, AGENTS_MAX = 18,
    KINDS = 3,                      /* of numbers: counters, registers, and those that pass on */
    PLANNERS_MAX = 6, SLOTS = 3,    /* actors with alarms, and alarms of each */
    PLANS_MAX = 240,                /* of all of them, */
    WORKERS_MAX = 6, JOBS_MAX = 320,
    BOOKS_MAX = 4, PAGES_MAX = 240, /* lists, and entries of each */
    NOTES_MAX = 1200,               /* what clients did with them */
    CLOCK_OFF_MS = 40000,           /* so wrong a clock may be */
    SETTLE_MS = 300000,             /* in which all has to be settled once the world is healed */
    SEED_SECONDS = 100              /* of processor time for one world, at most */
};

/* Each state begins with it: the life of the host that wrote it, and how often it was written.
 * Triggers of the file look at both, see witness.h. */
typedef struct {
    char    host[40];
    char    version[24];
    int64_t turns;
} stamp;

/* ---- numbers: see numbers.h ---- */

typedef struct {
    linear_op    op;
    unsigned     actor;
    bool         keyed, maybe;      /* maybe: an attempt may have done it */
    bool         under_way;
    bool         again;             /* it is asked for once more */
    bool         peek, passes;
    int64_t      spend_ms, fails;
    francis_call call;
    char         request_id[24];
    struct campaign *world;
} op;

typedef struct {
    struct campaign *world;
    int      number, host;
    op      *now;                   /* NULL = it thinks */
} client;

/* ---- alarms, jobs, books: see plans.h, jobs.h, books.h ---- */

typedef enum { WAS_NOT, WAS_MAYBE, WAS_DONE } was;

typedef struct {                    /* an alarm that was set once */
    int64_t number, slot;           /* slot: of a planner's turn; -1: set from outside */
    int64_t first_ms, every_ms, times;      /* every_ms 0: once */
    int64_t missed;
    int64_t failing;                /* so many attempts at each occurrence fail */
    int64_t chain;                  /* its handler sets it for the next time */
    int64_t spend_ms;
} plan;

typedef struct {
    plan     p;
    unsigned planner;
    was      set, deleted;
    bool     calm;                  /* set when the world was healed */
    unsigned runs;                  /* of its handler */
} plan_known;

typedef struct {
    int64_t number, failing, permanent, spend_ms;
} job;

typedef struct {
    job      j;
    unsigned worker, planner;       /* planner: whose turn dispatches it */
    bool     outside, keyed, calm;
    was      sent, cancelled, busy; /* busy: somebody asks for it, or about it */
    bool     asked;                 /* a dispatch is under way */
    unsigned retries, runs;
    char     id[40];                /* "" = not known */
    char     request_id[24];
} job_known;

typedef struct {                    /* of a book: an entry, or a look */
    unsigned book;
    bool     appends;
    was      outcome;
    int64_t  value, begin, end, count;
    uint64_t hash;
} book_note;

/* Somebody who has one thing done after the other. */
typedef struct agent {
    struct campaign *world;
    int          number, host;
    bool         busy;
    void       (*over)(struct agent *a, francis_result r);
    unsigned     subject;           /* number of a plan, job or note */
    int          errand;
    francis_call call;
    francis_stream *stream;         /* of streams: */
    size_t       sent, to_send, got, expected;
    int64_t      last;
    bool         ended;
    unsigned char answer[16];
} agent;

/* ---- the world ---- */

typedef struct {
    bool     up, paused;
    unsigned life;
    char     address[32];
    int64_t  off_ms, drift_ppm, drift_from_ms;      /* of its clock */
    int64_t  high_ms;               /* which it has shown at most, in this life */
    francis_call      halt;
    francis_host_desc desc;
    struct campaign  *world;
    int      number;
} member;

typedef struct campaign {
    francis_sim       *sim;
    uint64_t           seed;
    unsigned           hosts, actors, clients, agents, ops_max, think_ms, agent_ms;
    unsigned           planners, workers, books;
    int64_t            safety_ms, deadline_ms;
    bool               settling, slow_turns, clocks_step;
    francis_sim_faults faults;
    francis_actor_desc types[KINDS + 4];
    member             member[HOSTS_MAX];
    client             client[CLIENTS_MAX];
    agent              agent[AGENTS_MAX];
    op                *ops;
    size_t             count;
    int64_t            last[ACTORS_MAX];    /* about the number that it has */
    int64_t            ended[ACTORS_MAX];   /* what was read when all was over */
    int64_t            moment;      /* counts what clients do: the clock of histories */
    plan_known         plans[PLANS_MAX];
    job_known          jobs[JOBS_MAX];
    book_note          notes[NOTES_MAX];
    unsigned           plans_count, jobs_count, notes_count;
    int                calm_left;   /* what is still to be tried in the healed world */
    int64_t            seen[BOOKS_MAX][PAGES_MAX + 1];  /* entries that came over streams */
    uint64_t           results[64], acts, done, unknown, hard, occurrences, jobs_done, streams;
} campaign;

static unsigned pick(campaign *c, unsigned below)
{
    return (unsigned)francis_sim_random(c->sim, below);
}

/* One of a few that are far apart. */
static unsigned spread(campaign *c, unsigned most)
{
    unsigned n = 1 + pick(c, most), shift = pick(c, 8);
    return (n >> shift) > 0 ? n >> shift : 1;
}

static void id_of(unsigned actor, char id[16])
{
    (void)snprintf(id, 16, "a%u", actor);
}

/* What a call of the campaign may end with. */
static void result_count(campaign *c, francis_result r, const char *what, const char *text)
{
    static const francis_result expected[] = {
        FRANCIS_OK, FRANCIS_DONE, FRANCIS_ERR_NO_HOST, FRANCIS_ERR_BUSY, FRANCIS_ERR_MOVED,
        FRANCIS_ERR_DEADLINE, FRANCIS_ERR_STOPPED, FRANCIS_ERR_EVICTED, FRANCIS_ERR_UNKNOWN,
        FRANCIS_ERR_STORAGE, FRANCIS_ERR_FULL, FRANCIS_ERR_LOCKED, FRANCIS_ERR_TRANSPORT,
        FRANCIS_ERR_NOMEM, FRANCIS_ERR_USER, FRANCIS_ERR_USER + 1, FRANCIS_ERR_CANCELLED,
        FRANCIS_ERR_NOT_FOUND, FRANCIS_ERR_STALE
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (expected[i] == r) {
            c->results[i]++;
            return;
        }
    francis_sim_fail(c->sim, "%s: %s: %.100s", what, francis_result_name(r), text);
}

/* The host that a handler runs on; NULL: of a process that is dead, its turns do not count. */
static member *member_of(campaign *c, const francis_ctx *ctx)
{
    for (unsigned i = 0; i < c->hosts; i++)
        if (francis_sim_running(c->sim, (int)i) == ctx->host)
            return &c->member[i];
    return NULL;
}

/* Whoever changes his state signs. */
static void stamp_put(francis_ctx *ctx, stamp *s)
{
    francis_stats stats;
    francis_stats_get(ctx->host, &stats);
    (void)memset(s->host, 0, sizeof s->host);
    (void)snprintf(s->host, sizeof s->host, "%s", stats.host_id);
    (void)memset(s->version, 0, sizeof s->version);
    (void)snprintf(s->version, sizeof s->version, "%020lld", (long long)++s->turns);
}

/* ---- clocks ---- */

static int64_t clock_wrong_ms(const campaign *c, const member *m)
{
    int64_t since = francis_sim_now_ms(c->sim) - m->drift_from_ms;
    return m->off_ms + since * m->drift_ppm / 1000000;
}

/* Sets a clock so that it is wrong by that, and goes so fast. */
static void clock_set(campaign *c, member *m, int64_t off_ms, int64_t drift_ppm)
{
    int64_t      wrong = clock_wrong_ms(c, m);
    francis_ctx *ctx = francis_sim_ctx(c->sim, m->number);
    int64_t      now = ctx != NULL ? francis_now(ctx) : 0;
    if (now > m->high_ms)
        m->high_ms = now;
    francis_sim_clock(c->sim, m->number, off_ms - wrong, drift_ppm);
    m->off_ms = off_ms;
    m->drift_ppm = drift_ppm;
    m->drift_from_ms = francis_sim_now_ms(c->sim);
}

/* Nothing is early, nor is it tried again too early, by the clock of the host that runs it. */
static void clock_check(campaign *c, const francis_ctx *ctx, const member *m, int64_t now_ms)
{
    int64_t pause_ms = c->types[KINDS].retry_delay_ms * 9 / 10 * ((int64_t)ctx->attempt - 1);
    int64_t high = (now_ms > m->high_ms ? now_ms : m->high_ms) - pause_ms;
    if (ctx->attempt > 1 && c->clocks_step)
        return;                     /* it was due before, by a clock that was set back since */
    if (ctx->due_ms > high)
        francis_sim_fail(c->sim, "'%s' of %s/%s runs %lld ms too early", ctx->method, ctx->type,
                         ctx->id, (long long)(ctx->due_ms - high));
}

#endif
