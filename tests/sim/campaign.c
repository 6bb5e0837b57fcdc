/* Random worlds of francis, one for each seed: 1 to 9 hosts on one file and 1 to 200 actors, under
 * calls and everything that can go wrong. First comes a phase in which hosts are killed, paused,
 * halted and restarted, the power fails, links are cut, disks fail and memory runs out, at rates of
 * the world's own; what clients saw is written down. Then all is healed, and what is still open has
 * to be settled in bounded time. At the end
 *   - what happened to each actor can be explained by an order of one after the other that keeps to
 *     the clock (support/linear.h): so what was acknowledged is there, also after a power cut, what
 *     failed has left nothing, and no piece of work was done twice;
 *   - a piece of work that has an answer is answered the same when it is asked for again;
 *   - no state is half a state, no host has leaked memory, the file is sound, and no host and no
 *     placement is left in it.
 *
 *     campaign --seed S [--verbose]     one world; prints the hash of all that happened
 *     campaign --seeds N [--first F] [--step K]
 *     campaign --minutes M [--first F] [--step K] */
#define FRANCIS_SIM
#define FRANCIS_IMPLEMENTATION
#include "support/t.h"

#include "support/counters.h"
#include "support/linear.h"

#include <signal.h>

enum {
    HOSTS_MAX = 9, ACTORS_MAX = 200, OPS_MAX = 6000, CLIENTS_MAX = 36,
    KINDS = 3,                      /* of actors: counters, registers, and those that pass on */
    SETTLE_MS = 180000,             /* in which all has to be settled once the world is healed */
    SEED_SECONDS = 300              /* of real time for one world */
};

/* ---- the actors ---- */

typedef struct {
    int64_t arg, expected;
    int64_t spend_ms;               /* how long the turn takes */
    int64_t fails;                  /* the handler refuses in the end */
} input;

static francis_result turn_begin(francis_ctx *ctx, input *in, counter_state **out)
{
    counter_state *c = (counter_state *)francis_state(ctx);
    (void)memcpy(in, ctx->input.data, sizeof *in);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (!counter_whole(c))
        return francis_fail(ctx, FRANCIS_ERR_CORRUPT, "half a state: %lld", (long long)c->n);
    if (in->spend_ms > 0)
        francis_sim_spend(ctx, in->spend_ms);
    *out = c;
    return FRANCIS_OK;
}

/* What was written before a refusal must never be seen. */
static francis_result turn_end(francis_ctx *ctx, const input *in, int64_t value)
{
    if (in->fails)
        return francis_fail(ctx, FRANCIS_ERR_USER, "refused after it has written");
    return francis_reply(ctx, &value, sizeof value);
}

static francis_result on_increment(francis_ctx *ctx)
{
    input          in;
    counter_state *c = NULL;
    francis_result r = turn_begin(ctx, &in, &c);
    if (r != FRANCIS_OK)
        return r;
    counter_put(c, c->n + 1);
    return turn_end(ctx, &in, c->n);
}

static francis_result on_read(francis_ctx *ctx)
{
    input          in;
    counter_state *c = NULL;
    francis_result r = turn_begin(ctx, &in, &c);
    return r != FRANCIS_OK ? r : francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result on_write(francis_ctx *ctx)
{
    input          in;
    counter_state *c = NULL;
    francis_result r = turn_begin(ctx, &in, &c);
    if (r != FRANCIS_OK)
        return r;
    counter_put(c, in.arg);
    return turn_end(ctx, &in, c->n);
}

static francis_result on_swap(francis_ctx *ctx)
{
    input          in;
    counter_state *c = NULL;
    int64_t        before;
    francis_result r = turn_begin(ctx, &in, &c);
    if (r != FRANCIS_OK)
        return r;
    before = c->n;
    if (before == in.expected)
        counter_put(c, in.arg);
    return turn_end(ctx, &in, before);
}

/* Counts, once it has read an actor of another kind, wherever that lives. */
static francis_result on_passed(francis_ctx *ctx)
{
    francis_call  *call = (francis_call *)ctx->local;
    input          in;
    counter_state *c = NULL;
    francis_result r;
    if (call->result != FRANCIS_OK)
        return francis_fail(ctx, FRANCIS_ERR_USER + 1, "it cannot be read: %.200s", call->error);
    r = turn_begin(ctx, &in, &c);
    if (r != FRANCIS_OK)
        return r;
    counter_put(c, c->n + 1);
    return turn_end(ctx, &in, c->n);
}

static francis_result on_pass(francis_ctx *ctx)
{
    francis_call *call = (francis_call *)francis_alloc(ctx, sizeof *call);
    input         in;
    char          id[16];
    if (call == NULL)
        return FRANCIS_ERR_NOMEM;
    (void)memset(call, 0, sizeof *call);
    (void)memcpy(&in, ctx->input.data, sizeof in);
    (void)snprintf(id, sizeof id, "a%lld", (long long)in.expected);
    call->async = true;
    call->timeout_ms = 2000;
    (void)francis_invoke(ctx, "counter", id, "read", &in, sizeof in, call);
    return francis_await(ctx, on_passed, call);
}

static const char *const method_names[] = { "increment", "read", "write", "swap" };

static const francis_method methods[] = {
    { "increment", on_increment, FRANCIS_INVOKE, sizeof(input) },
    { "pass", on_pass, FRANCIS_INVOKE, sizeof(input) },
    { "read", on_read, FRANCIS_INVOKE, sizeof(input) },
    { "read", on_read, FRANCIS_PEEK, sizeof(input) },
    { "write", on_write, FRANCIS_INVOKE, sizeof(input) },
    { "swap", on_swap, FRANCIS_INVOKE, sizeof(input) },
    FRANCIS_METHODS_END
};

/* ---- a world, and what is known of it ---- */

typedef struct {
    linear_op    op;
    unsigned     actor;
    bool         keyed, maybe;      /* maybe: an attempt may have done it */
    bool         under_way;
    int          host;              /* of the attempt, in one of its lives */
    unsigned     life;
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

typedef struct {
    bool     up, paused;
    unsigned life;
    char     address[32];
    francis_call      halt;
    francis_host_desc desc;
    struct campaign  *world;
    int      number;
} member;

typedef struct campaign {
    francis_sim       *sim;
    uint64_t           seed;
    unsigned           hosts, actors, clients, ops_max, think_ms;
    int64_t            safety_ms;
    bool               settling, slow_turns;
    francis_sim_faults faults;
    francis_actor_desc types[KINDS + 1];
    member             member[HOSTS_MAX];
    client             client[CLIENTS_MAX];
    op                *ops;
    size_t             count;
    int64_t            last[ACTORS_MAX];    /* about the number that it has */
    int64_t            ended[ACTORS_MAX];   /* what was read when all was over */
    int64_t            moment;      /* counts what clients do: the clock of histories */
    uint64_t           results[32], acts, done, unknown, hard;
} campaign;

static const char *const kinds[KINDS] = { "counter", "register", "passer" };

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

static unsigned kind_of(const campaign *c, unsigned actor)
{
    return c->actors < KINDS ? 0 : actor % KINDS;
}

static void id_of(unsigned actor, char id[16])
{
    (void)snprintf(id, 16, "a%u", actor);
}

/* ---- calls ---- */

static void client_think(client *k);

static const francis_result expected[] = {
    FRANCIS_OK, FRANCIS_ERR_NO_HOST, FRANCIS_ERR_BUSY, FRANCIS_ERR_MOVED, FRANCIS_ERR_DEADLINE,
    FRANCIS_ERR_STOPPED, FRANCIS_ERR_EVICTED, FRANCIS_ERR_UNKNOWN, FRANCIS_ERR_STORAGE,
    FRANCIS_ERR_FULL, FRANCIS_ERR_LOCKED, FRANCIS_ERR_TRANSPORT, FRANCIS_ERR_NOMEM,
    FRANCIS_ERR_USER, FRANCIS_ERR_USER + 1, FRANCIS_ERR_CANCELLED
};

static void op_count(campaign *c, const op *o, francis_result r, const char *text)
{
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (expected[i] == r) {
            c->results[i]++;
            return;
        }
    francis_sim_fail(c->sim, "operation %zu on actor %u: %s: %.100s", (size_t)(o - c->ops),
                     o->actor, francis_result_name(r), text);
}

static void op_done(op *o, int64_t value)
{
    campaign *c = o->world;
    if (o->fails)
        francis_sim_fail(c->sim, "operation %zu was to be refused, and is done",
                         (size_t)(o - c->ops));
    if (o->op.outcome == LINEAR_DONE) {
        if (value != o->op.value)
            francis_sim_fail(c->sim, "operation %zu on actor %u was answered with %lld, now %lld",
                             (size_t)(o - c->ops), o->actor, (long long)o->op.value,
                             (long long)value);
        return;
    }
    o->op.outcome = LINEAR_DONE;
    o->op.end = ++c->moment;
    o->op.value = value;
    o->maybe = false;
    c->done++;
    c->last[o->actor] = o->op.kind == LINEAR_WRITE ? o->op.arg : value;
}

/* An attempt has come to nothing, or perhaps not. */
static void op_failed(op *o, francis_outcome_kind outcome)
{
    if (o->op.outcome == LINEAR_DONE)
        return;
    if (outcome == FRANCIS_OUTCOME_UNKNOWN && !o->fails)    /* that is never done */
        o->maybe = true;
    o->world->unknown += outcome == FRANCIS_OUTCOME_UNKNOWN;
    o->op.outcome = o->maybe ? LINEAR_MAYBE : LINEAR_NOT;
    o->op.end = ++o->world->moment;
}

static void on_done(francis_call *call)
{
    client   *k = (client *)call->user;
    op       *o = k->now;
    campaign *c = k->world;
    int64_t   value = 0;
    francis_result r = call->result;
    if (o == NULL || call != &o->call)
        return;                     /* it was given up when its host died */
    op_count(c, o, r, call->error != NULL ? call->error : "");
    francis_sim_note(c->sim, "client %d: %s on actor %u: %s %.90s", k->number,
                     method_names[o->op.kind], o->actor, francis_result_name(r),
                     call->error != NULL ? call->error : "");
    if (r == FRANCIS_OK && call->size == sizeof value) {
        (void)memcpy(&value, call->data, sizeof value);
        op_done(o, value);
    } else {
        if (o->again && o->op.outcome == LINEAR_DONE && call->from_handler)
            francis_sim_fail(c->sim, "what was done is refused when it is asked for again");
        op_failed(o, r == FRANCIS_OK ? FRANCIS_OUTCOME_UNKNOWN : francis_outcome(r));
    }
    francis_call_free(call);
    o->under_way = false;
    k->now = NULL;
    client_think(k);
}

static op *op_new(campaign *c, client *k)
{
    op      *o = &c->ops[c->count];
    unsigned chance = pick(c, 100), kind;
    if (c->count >= c->ops_max || c->settling)
        return NULL;
    (void)memset(o, 0, sizeof *o);
    o->world = c;
    o->actor = pick(c, 3) == 0 ? pick(c, c->actors < 3 ? c->actors : 3) : pick(c, c->actors);
    kind = kind_of(c, o->actor);
    o->op.kind = chance < 35 ? LINEAR_READ : kind != 1 ? LINEAR_INCREMENT
                             : chance < 70             ? LINEAR_WRITE
                                                       : LINEAR_SWAP;
    o->passes = kind == 2 && o->op.kind == LINEAR_INCREMENT;
    o->peek = o->op.kind == LINEAR_READ && pick(c, 2) == 0;
    o->keyed = o->op.kind != LINEAR_READ && pick(c, 2) == 0;
    o->fails = o->op.kind != LINEAR_READ && pick(c, 12) == 0;
    if (c->slow_turns && pick(c, 10) == 0)
        o->spend_ms = 1 + (int64_t)pick(c, 40);
    o->op.client = k->number;
    o->op.arg = (int64_t)c->count + 1;      /* nobody else writes this */
    o->op.expected = c->last[o->actor];
    if (o->passes)
        o->op.expected = pick(c, c->actors / KINDS) * KINDS;
    o->op.begin = ++c->moment;
    o->op.outcome = LINEAR_MAYBE;
    (void)snprintf(o->request_id, sizeof o->request_id, "w%zu", c->count);
    c->count++;
    return o;
}

/* One that is perhaps done, or that was answered: to be asked for again. */
static op *op_old(campaign *c)
{
    size_t from = c->count > 200 ? c->count - 200 : 0, i;
    if (c->settling) {
        for (i = 0; i < c->count; i++)
            if (c->ops[i].keyed && c->ops[i].maybe && !c->ops[i].under_way)
                return &c->ops[i];
        return NULL;
    }
    if (c->count == 0)
        return NULL;
    i = from + pick(c, (unsigned)(c->count - from));
    return c->ops[i].keyed && !c->ops[i].under_way && !c->ops[i].fails &&
                   (c->ops[i].maybe || c->ops[i].op.outcome == LINEAR_DONE)
               ? &c->ops[i]
               : NULL;
}

static void op_begin(client *k, op *o)
{
    campaign    *c = k->world;
    francis_ctx *ctx = francis_sim_ctx(c->sim, k->host);
    input        in = { o->op.arg, o->op.expected, o->spend_ms, o->fails };
    char         id[16];
    id_of(o->actor, id);
    (void)memset(&o->call, 0, sizeof o->call);
    o->call.on_done = on_done;
    o->call.user = k;
    o->call.timeout_ms = pick(c, 6) == 0 ? 20 + (int64_t)pick(c, 300) : 5000;
    o->call.request_id = o->keyed ? o->request_id : NULL;
    o->under_way = true;
    o->host = k->host;
    o->life = c->member[k->host].life;
    k->now = o;
    if (o->peek)
        (void)francis_peek(ctx, kinds[kind_of(c, o->actor)], id, "read", &in, sizeof in, &o->call);
    else
        (void)francis_invoke(ctx, kinds[kind_of(c, o->actor)], id,
                             o->passes ? "pass" : method_names[o->op.kind], &in, sizeof in,
                             &o->call);
    if (k->now == o && o->call.result != FRANCIS_PENDING)
        on_done(&o->call);          /* refused at once */
}

static void client_go(void *user)
{
    client   *k = (client *)user;
    campaign *c = k->world;
    op       *o = NULL;
    if (k->now != NULL)
        return;
    if (francis_sim_running(c->sim, k->host) == NULL || c->member[k->host].paused) {
        client_think(k);            /* a client of a host that is stopped is stopped as well */
        return;
    }
    if (c->settling || pick(c, 5) == 0)
        o = op_old(c);
    if (o != NULL)
        o->again = true;
    else
        o = op_new(c, k);
    if (o != NULL)
        op_begin(k, o);
    else
        client_think(k);
}

static void client_think(client *k)
{
    campaign *c = k->world;
    if (francis_sim_at(c->sim, k->host, 1 + (int64_t)pick(c, c->think_ms), client_go, k) !=
        FRANCIS_OK)
        francis_sim_fail(c->sim, "no memory");
}

/* The calls of a host that is no more. */
static void host_lost(campaign *c, int host)
{
    c->member[host].life++;
    c->member[host].up = c->member[host].paused = false;
    for (unsigned i = 0; i < c->clients; i++) {
        client *k = &c->client[i];
        if (k->host != host || k->now == NULL)
            continue;
        op_failed(k->now, FRANCIS_OUTCOME_UNKNOWN);
        k->now->under_way = false;
        k->now = NULL;
        client_think(k);
    }
}

/* ---- what goes wrong ---- */

static void notice_dead(campaign *c)
{
    for (unsigned i = 0; i < c->hosts; i++)
        if (c->member[i].up && francis_sim_running(c->sim, (int)i) == NULL)
            host_lost(c, (int)i);
}

static bool host_start(campaign *c, int host)
{
    if (c->member[host].up)
        return true;
    (void)memset(&c->member[host].halt, 0, sizeof c->member[host].halt);
    c->member[host].up = francis_sim_start(c->sim, host) == FRANCIS_OK;
    return c->member[host].up;
}

static void host_stop(campaign *c, int host)
{
    francis_sim_stop(c->sim, host);
    if (c->member[host].up)
        host_lost(c, host);
}

static void resume(void *user)
{
    member *m = (member *)user;
    m->paused = false;
    francis_sim_resume(m->world->sim, m->number);
}

static void host_pause(campaign *c, int host)
{
    int64_t ms = pick(c, 3) == 0 ? (int64_t)pick(c, 30000) : (int64_t)pick(c, 1500);
    if (!c->member[host].up || c->member[host].paused)
        return;
    c->member[host].paused = true;
    francis_sim_pause(c->sim, host);
    (void)francis_sim_at(c->sim, FRANCIS_SIM_ALL, ms, resume, &c->member[host]);
}

static void room(void *user)
{
    francis_sim_disk_room(((campaign *)user)->sim, 0, FRANCIS_FOREVER);
}

static void halt_one(campaign *c, int host)
{
    char         id[16];
    unsigned     actor = pick(c, c->actors);
    francis_ctx *ctx = francis_sim_ctx(c->sim, host);
    id_of(actor, id);
    if (ctx == NULL || c->member[host].paused || c->member[host].halt.result == FRANCIS_PENDING)
        return;
    francis_call_free(&c->member[host].halt);
    c->member[host].halt.async = true;
    (void)francis_halt(ctx, kinds[kind_of(c, actor)], id, &c->member[host].halt);
}

static void mischief(campaign *c)
{
    static const francis_sim_event at[] = { FRANCIS_SIM_WRITE, FRANCIS_SIM_SYNC, FRANCIS_SIM_SEND,
                                            FRANCIS_SIM_READ };
    int      host = (int)pick(c, c->hosts), other = (int)pick(c, c->hosts);
    unsigned what = pick(c, 4), n = 1 + pick(c, 60), a = pick(c, 200000), b = pick(c, 2000);
    c->acts++;                      /* chance is asked in an order that each compiler keeps to */
    switch (pick(c, 14)) {
    case 0:
    case 1:
        francis_sim_kill(c->sim, host);
        break;
    case 2:
        if (pick(c, 3) == 0)
            francis_sim_power_cut(c->sim, 0);
        break;
    case 3:
        host_stop(c, host);
        break;
    case 4:
    case 5:
        host_pause(c, host);
        break;
    case 6:
    case 7:
        francis_sim_link(c->sim, host, pick(c, 3) == 0 ? FRANCIS_SIM_ALL : other, false);
        break;
    case 8:
        francis_sim_link(c->sim, FRANCIS_SIM_ALL, FRANCIS_SIM_ALL, true);
        break;
    case 9:
    case 10:
        francis_sim_after(c->sim, host, at[what], n,
                          a % 8 == 0 ? FRANCIS_SIM_POWER_CUT : FRANCIS_SIM_KILL);
        break;
    case 11:
        francis_sim_after(c->sim, host, at[what], n, FRANCIS_SIM_FAIL);
        break;
    case 12:
        francis_sim_clock(c->sim, host, (int64_t)a - 100000, (int64_t)b - 1000);
        break;
    case 13:
        if (pick(c, 3) == 0) {
            francis_sim_disk_room(c->sim, 0, (int64_t)a * 2);
            (void)francis_sim_at(c->sim, FRANCIS_SIM_ALL, (int64_t)b, room, c);
        }
        break;
    }
    halt_one(c, host);
}

/* ---- one world ---- */

static uint32_t rate(campaign *c, unsigned most)    /* often none at all */
{
    return pick(c, 3) != 0 ? 0 : spread(c, most);
}

static void draw_faults(campaign *c, francis_sim_faults *f)
{
    (void)memset(f, 0, sizeof *f);
    f->latency_us = spread(c, 20000);
    f->jitter_us = spread(c, 20000);
    f->bytes_per_ms = pick(c, 4) == 0 ? 20 + pick(c, 2000) : 0;
    f->net_split = rate(c, 300000);
    f->net_loss = rate(c, 200000);
    f->net_stall = rate(c, 20000);
    f->net_reset = rate(c, 20000);
    f->sync_us = spread(c, 20000);
    f->disk_stall = rate(c, 10000);
    f->read_error = rate(c, 3000);
    f->write_error = rate(c, 10000);
    f->sync_error = rate(c, 30000);
    f->sync_forgets = pick(c, 2) == 0;
    f->disk_full = rate(c, 5000);
    f->step_us = spread(c, 1000);
    f->no_memory = rate(c, 3000);
}

static void draw_types(campaign *c)
{
    for (int i = 0; i < KINDS; i++) {
        francis_actor_desc *t = &c->types[i];
        t->type = kinds[i];
        t->methods = methods;
        t->state_size = sizeof(counter_state);
        t->idle_timeout_ms = pick(c, 2) == 0 ? 1 + (int64_t)pick(c, 3000) : 0;
        t->requests_kept_ms = FRANCIS_HOURS(24);
        t->requests_kept_max = OPS_MAX;
        if (t->idle_timeout_ms != 0 && pick(c, 2) == 0)
            t->concurrency_max = 1 + pick(c, c->actors);
    }
}

static void draw_hosts(campaign *c)
{
    int64_t deadline = 400 + (int64_t)spread(c, 20000);
    for (unsigned i = 0; i < c->hosts; i++) {
        member            *m = &c->member[i];
        francis_host_desc *d = &m->desc;
        m->world = c;
        m->number = (int)i;
        (void)snprintf(m->address, sizeof m->address, "10.0.0.%u:7571", i + 1);
        d->database = "world.db";
        d->address = m->address;
        d->cluster_key = "the key of a cluster that is made up";
        d->log_level = FRANCIS_LOG_ERROR;
        d->on_log = NULL;
        d->health_deadline_ms = deadline;
        d->timeout_ms = 5000;
        d->stop_timeout_ms = 3000;
        d->busy_timeout_ms = 200 + (int64_t)pick(c, 5000);
        d->wal_bytes_max = pick(c, 3) == 0 ? 65536 : 0;
        d->commit_window_ms = pick(c, 4) == 0 ? 5 : 0;
        d->sweep_interval_ms = 1000 + (int64_t)pick(c, 20000);
        d->profile = pick(c, 4) == 0 ? FRANCIS_PROFILE_FLASH : FRANCIS_PROFILE_SERVER;
        if (francis_sim_host(c->sim, 0, d, c->types) != (int)i)
            francis_sim_fail(c->sim, "no memory");
    }
}

static void on_nothing(const francis_log *record, void *user)
{
    (void)record;
    (void)user;
}

static void draw(campaign *c)
{
    c->hosts = pick(c, 4) == 0 ? 1 + pick(c, HOSTS_MAX) : 1 + pick(c, 3);
    c->actors = spread(c, ACTORS_MAX);
    c->clients = c->hosts * (1 + pick(c, 4));
    c->ops_max = 200 + pick(c, 1200);
    if (c->ops_max > 300 * c->actors)
        c->ops_max = 300 * c->actors;       /* longer histories of one are hard to judge */
    c->think_ms = 5 + spread(c, 500);
    c->safety_ms = 2000 + (int64_t)spread(c, 60000);
    c->slow_turns = pick(c, 3) == 0;
    draw_types(c);
    draw_hosts(c);
    for (unsigned i = 0; i < c->hosts; i++)
        c->member[i].desc.on_log = on_nothing;
    for (unsigned i = 0; i < c->clients; i++) {
        c->client[i].world = c;
        c->client[i].number = (int)i;
        c->client[i].host = (int)(i % c->hosts);
    }
    draw_faults(c, &c->faults);
    francis_sim_note(c->sim, "%u hosts, %u actors, %u clients, %u operations", c->hosts, c->actors,
                     c->clients, c->ops_max);
}

static void safety(campaign *c)
{
    int64_t  end = francis_sim_now_ms(c->sim) + c->safety_ms;
    unsigned every = 50 + spread(c, 4000);
    while (francis_sim_now_ms(c->sim) < end && !francis_sim_failed(c->sim) &&
           c->count < c->ops_max) {
        for (unsigned i = 0; i < c->hosts; i++)
            if (!c->member[i].up && pick(c, 2) == 0)
                (void)host_start(c, (int)i);
        for (unsigned i = 0, n = 1 + pick(c, 4); i < n; i++) {
            francis_sim_run(c->sim, 1 + (int64_t)pick(c, every));
            notice_dead(c);
        }
        mischief(c);
        notice_dead(c);
    }
}

static bool settled(void *user)
{
    campaign *c = (campaign *)user;
    for (size_t i = 0; i < c->count; i++)
        if (c->ops[i].under_way || (c->ops[i].keyed && c->ops[i].maybe))
            return false;
    return true;
}

/* Everything works again. */
static void heal(campaign *c)
{
    francis_sim_faults none = { .latency_us = 200, .jitter_us = 200, .sync_us = 500 };
    int64_t            end;
    francis_sim_note(c->sim, "all is healed");
    francis_sim_faults_set(c->sim, FRANCIS_SIM_ALL, &none);
    francis_sim_link(c->sim, FRANCIS_SIM_ALL, FRANCIS_SIM_ALL, true);
    francis_sim_disk_room(c->sim, 0, FRANCIS_FOREVER);
    for (unsigned i = 0; i < c->hosts; i++) {
        for (int e = 0; e < FRANCIS_SIM_EVENTS; e++)
            francis_sim_after(c->sim, (int)i, (francis_sim_event)e, 0, FRANCIS_SIM_FAIL);
        resume(&c->member[i]);
    }
    end = francis_sim_now_ms(c->sim) + SETTLE_MS;
    c->settling = true;
    for (unsigned i = 0; i < c->hosts;) {
        notice_dead(c);
        i = host_start(c, (int)i) ? i + 1 : i;
        if (francis_sim_now_ms(c->sim) > end) {
            francis_sim_fail(c->sim, "host %u cannot start in a world that is healed", i);
            return;
        }
        if (i < c->hosts)
            francis_sim_run(c->sim, 100);
    }
    if (francis_sim_until(c->sim, settled, c, SETTLE_MS) != FRANCIS_OK)
        francis_sim_fail(c->sim, "not all is settled after %d s", SETTLE_MS / 1000);
}

/* A blocking read of each actor, from a host of chance. */
static void read_all(campaign *c)
{
    for (unsigned a = 0; a < c->actors && !francis_sim_failed(c->sim); a++) {
        francis_call   call = { .timeout_ms = 60000 };
        input          in = { 0 };
        char           id[16];
        francis_result r;
        id_of(a, id);
        for (int tries = 0;; tries++) {     /* others may have to hibernate before */
            r = francis_invoke(francis_sim_ctx(c->sim, (int)pick(c, c->hosts)),
                               kinds[kind_of(c, a)], id, "read", &in, sizeof in, &call);
            if (!(francis_retryable(r) || r == FRANCIS_ERR_UNKNOWN) || tries == 100)
                break;
            francis_sim_run(c->sim, 100);
        }
        if (r != FRANCIS_OK)
            francis_sim_fail(c->sim, "actor %u cannot be read: %s: %.100s", a,
                             francis_result_name(r), call.error);
        else
            (void)memcpy(&c->ended[a], call.data, sizeof c->ended[a]);
        francis_call_free(&call);
    }
}

/* Of a counter whose history is too hard for a search: each increment has a number of its own, and
 * what ends before something begins is no more than that. */
static bool counts_up(const linear_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            const linear_op *a = &ops[i], *b = &ops[k];
            bool             more = b->kind == LINEAR_INCREMENT;
            if (i == k || a->outcome != LINEAR_DONE || b->outcome != LINEAR_DONE)
                continue;
            if (a->kind == LINEAR_INCREMENT && more && a->value == b->value)
                return false;
            if (a->end < b->begin && (more ? b->value <= a->value : b->value < a->value))
                return false;
        }
    return true;
}

static void judge(campaign *c, unsigned actor, linear_op *ops)
{
    size_t         n = 0;
    linear_verdict v;
    for (size_t i = 0; i < c->count; i++)
        if (c->ops[i].actor == actor && c->ops[i].op.outcome != LINEAR_NOT)
            ops[n++] = c->ops[i].op;
    for (size_t i = 0; i < n; i++)
        if (ops[i].kind == LINEAR_INCREMENT)
            ops[i].arg = ops[i].expected = 0;
    (void)memset(&ops[n], 0, sizeof ops[n]);
    ops[n].kind = LINEAR_READ;
    ops[n].begin = ops[n].end = c->moment + 1;
    ops[n].value = c->ended[actor];
    ops[n++].client = -1;
    v = linear_check(ops, n, 0, LINEAR_MEMORY);
    c->hard += v == LINEAR_TOO_HARD;
    if (v == LINEAR_TOO_HARD && kind_of(c, actor) != 1 && !counts_up(ops, n))
        v = LINEAR_NO;
    if (v == LINEAR_NO) {
        linear_report(ops, n, 0, LINEAR_MEMORY);
        francis_sim_fail(c->sim, "what happened to actor %u cannot be explained", actor);
    }
}

static int64_t ask(campaign *c, sqlite3 *db, const char *sql, const char *type, const char *id)
{
    sqlite3_stmt *stmt = NULL;
    int64_t       n = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        francis_sim_fail(c->sim, "%s", sqlite3_errmsg(db));
    if (type != NULL) {
        (void)sqlite3_bind_text(stmt, 1, type, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(stmt, 2, id, -1, SQLITE_STATIC);
    }
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        if (sqlite3_column_type(stmt, 0) == SQLITE_TEXT)
            n = strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0;
        else if (sqlite3_column_type(stmt, 0) == SQLITE_BLOB)
            (void)memcpy(&n, sqlite3_column_blob(stmt, 0), sizeof n);
        else
            n = sqlite3_column_int64(stmt, 0);
    }
    (void)sqlite3_finalize(stmt);
    return n;
}

/* What is in the file when all hosts have left. */
static void look_into(campaign *c)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2("world.db", &db, SQLITE_OPEN_READWRITE, francis_sim_vfs(c->sim, 0)) !=
        SQLITE_OK)
        francis_sim_fail(c->sim, "the file cannot be opened");
    else if (ask(c, db, "PRAGMA integrity_check", NULL, NULL) != 1)
        francis_sim_fail(c->sim, "the file is damaged");
    else if (ask(c, db, "SELECT count(*) FROM francis_hosts", NULL, NULL) != 0)
        francis_sim_fail(c->sim, "a host is left in the file");
    else if (ask(c, db, "SELECT count(*) FROM francis_active_actors", NULL, NULL) != 0)
        francis_sim_fail(c->sim, "a placement is left in the file");
    for (unsigned a = 0; a < c->actors && !francis_sim_failed(c->sim); a++) {
        char    id[16];
        int64_t n;
        id_of(a, id);
        n = ask(c, db, "SELECT actor_state_data FROM francis_actor_state WHERE actor_type = ?1"
                       " AND actor_id = ?2", kinds[kind_of(c, a)], id);
        if ((n < 0 ? 0 : n) != c->ended[a])
            francis_sim_fail(c->sim, "actor %u is stored as %lld, and read as %lld", a,
                             (long long)n, (long long)c->ended[a]);
    }
    (void)sqlite3_close(db);
}

static void judge_all(campaign *c)
{
    linear_op *ops = (linear_op *)calloc(c->count + 1, sizeof *ops);
    for (unsigned a = 0; ops != NULL && a < c->actors && !francis_sim_failed(c->sim); a++)
        judge(c, a, ops);
    free(ops);
}

typedef struct {
    uint64_t hash, done, unknown, acts, hard;
    int64_t  virtual_ms;
    bool     failed;
} outcome;

static void seed_line(const char *line, void *user)
{
    (void)user;
    (void)fprintf(stderr, "%s\n", line);
}

static outcome run(uint64_t seed, bool verbose)
{
    static campaign  c;
    francis_sim_desc desc = { .seed = seed, .verbose = verbose, .on_report = seed_line,
                              .replay = "./build.sh sim --seed" };
    outcome          out = { .failed = true };
    (void)memset(&c, 0, sizeof c);
    c.seed = seed;
    c.ops = (op *)calloc(OPS_MAX, sizeof *c.ops);
    if (c.ops == NULL || francis_sim_open(&c.sim, &desc) != FRANCIS_OK)
        return out;
    draw(&c);
    for (unsigned i = 0; i < c.hosts; i++)
        (void)host_start(&c, (int)i);
    francis_sim_faults_set(c.sim, FRANCIS_SIM_ALL, &c.faults);
    for (unsigned i = 0; i < c.clients; i++)
        client_think(&c.client[i]);
    safety(&c);
    if (!francis_sim_failed(c.sim))
        heal(&c);
    if (!francis_sim_failed(c.sim))
        read_all(&c);
    if (!francis_sim_failed(c.sim))
        judge_all(&c);
    for (unsigned i = 0; i < c.hosts && !francis_sim_failed(c.sim); i++)
        francis_sim_stop(c.sim, (int)i);
    if (!francis_sim_failed(c.sim))
        look_into(&c);
    out.hash = francis_sim_hash(c.sim);
    out.virtual_ms = francis_sim_now_ms(c.sim);
    out.done = c.done;
    out.unknown = c.unknown;
    out.acts = c.acts;
    out.hard = c.hard;
    out.failed = francis_sim_failed(c.sim);
    francis_sim_close(c.sim);
    free(c.ops);
    return out;
}

/* ---- many worlds ---- */

static volatile uint64_t running_seed;

static void too_long(int sig)
{
    char line[100];
    int  n = snprintf(line, sizeof line, "seed %llu does not end\n",
                      (unsigned long long)running_seed);
    (void)sig;
    if (write(2, line, (size_t)n) < 0)
        _exit(4);
    _exit(3);
}

static outcome run_watched(uint64_t seed, bool verbose)
{
    outcome out;
    running_seed = seed;
    (void)alarm(SEED_SECONDS);
    out = run(seed, verbose);
    (void)alarm(0);
    return out;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 0, first = 1, step = 1, one = 0, n = 0, failed = 0, sum = 0;
    int64_t  minutes = 0, begin = t_ms(), virtual_ms = 0, ms;
    bool     has_one = false, verbose = false;
    outcome  total = { 0 };
    for (int i = 1; i < argc; i++) {
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;
        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0) {
            has_one = true;
            one = value;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            seeds = value;
        } else if (strcmp(argv[i], "--minutes") == 0) {
            minutes = (int64_t)value;
        } else if (strcmp(argv[i], "--first") == 0) {
            first = value;
        } else if (strcmp(argv[i], "--step") == 0) {
            step = value;
        } else {
            (void)fprintf(stderr, "what is %s?\n", argv[i]);
            return 2;
        }
        i++;
    }
    (void)signal(SIGALRM, too_long);
    if (has_one) {
        outcome out = run_watched(one, verbose);
        (void)printf("%016llx\n", (unsigned long long)out.hash);
        return out.failed;
    }
    for (uint64_t seed = first; minutes > 0 ? t_ms() - begin < minutes * 60000
                                            : n < seeds; seed += step, n++) {
        outcome out = run_watched(seed, false);
        if (n % 50 == 0 && !out.failed && run_watched(seed, false).hash != out.hash) {
            (void)fprintf(stderr, "seed %llu: another hash the second time\n",
                          (unsigned long long)seed);
            out.failed = true;
        }
        failed += out.failed;
        total.done += out.done;
        total.unknown += out.unknown;
        total.acts += out.acts;
        total.hard += out.hard;
        virtual_ms += out.virtual_ms;
        sum += out.hash;
    }
    ms = t_ms() - begin + 1;
    (void)printf("%llu seeds, %llu failed; %llu operations done, %llu unknown, %llu mischiefs, "
                 "%llu histories too hard; %.1f seeds/s, %.0f times as fast as time; %016llx\n",
                 (unsigned long long)n, (unsigned long long)failed, (unsigned long long)total.done,
                 (unsigned long long)total.unknown, (unsigned long long)total.acts,
                 (unsigned long long)total.hard, (double)n * 1000 / (double)ms,
                 (double)virtual_ms / (double)ms, (unsigned long long)sum);
    return failed != 0;
}
