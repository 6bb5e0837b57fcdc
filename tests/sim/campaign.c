/* Random worlds of francis, one for each seed: 1 to 9 hosts on one file and 1 to 200 actors, under
 * calls and everything that can go wrong. First comes a phase in which hosts are killed, paused,
 * halted and restarted, the power fails, links are cut, disks fail and memory runs out, at rates of
 * the world's own; what clients saw is written down. Then all is healed, and what is still open has
 * to be settled in bounded time. At the end
 *   - what happened to each actor can be explained by an order of one after the other that keeps to
 *     the clock (support/linear.h): so what was acknowledged is there, also after a power cut, what
 *     failed has left nothing, and no piece of work was done twice;
 *   - a piece of work that has an answer is answered the same when it is asked for again;
 *   - alarms and jobs were never early, none is lost, and each had its effect once (plans.h,
 *     jobs.h);
 *   - lists have what was answered, and streams brought what was committed (books.h);
 *   - each state in the file was written by the host that had its actor then (witness.h);
 *   - no state is half a state, no host has leaked memory or grows at rest, the file is sound, and
 *     no host and no placement is left in it.
 *
 *     campaign --seed S [--verbose]     one world; prints the hash of all that happened
 *     --seconds N                       of processor time for one world, then it is broken off
 *     campaign --seeds N [--first F] [--step K]
 *     campaign --minutes M [--first F] [--step K] */
#define FRANCIS_SIM
#define FRANCIS_IMPLEMENTATION
#include "support/t.h"

#include "judge.h"

#include <signal.h>
#include <sys/time.h>

/* ---- what agents have done ---- */

/* In the healed world: what is still open, and then alarms, jobs and streams that have to be as
 * they should. */
static bool errand_calm(agent *a)
{
    campaign *c = a->world;
    if (job_send_again(a))
        return true;
    if (c->calm_left <= 0)
        return false;
    a->errand = ERRAND_POUR;
    switch (pick(c, 5)) {
    case 0: return book_pour(a);
    case 1:
    case 2: a->errand = ERRAND_SET; return plan_set_calm(a);
    default: a->errand = ERRAND_SEND; return job_send(a, true);
    }
}

static bool errand_due(agent *a)
{
    switch (a->errand) {
    case ERRAND_SET: return plan_set(a);
    case ERRAND_TOUCH: return plan_change(a);
    case ERRAND_SET_OUTSIDE: return plan_set_outside(a);
    case ERRAND_DELETE_OUTSIDE: return plan_delete_outside(a);
    case ERRAND_SEND: return job_send(a, false);
    case ERRAND_SEND_OUTSIDE: return pick(a->world, 3) == 0 ? job_send_again(a)
                                                            : job_send_outside(a);
    case ERRAND_CANCEL: return job_cancel(a);
    default: return job_retry(a);
    }
}

static bool errand_book(agent *a)
{
    switch (a->errand) {
    case ERRAND_APPEND: return book_call(a, true);
    case ERRAND_LOOK: return book_call(a, false);
    case ERRAND_POUR: return book_pour(a);
    case ERRAND_FILL: return book_fill(a);
    default: return book_follow(a);
    }
}

static bool errand_any(agent *a)
{
    static const int due[] = { ERRAND_SET, ERRAND_SET, ERRAND_SET, ERRAND_TOUCH, ERRAND_SET_OUTSIDE,
                               ERRAND_DELETE_OUTSIDE, ERRAND_SEND, ERRAND_SEND,
                               ERRAND_SEND_OUTSIDE, ERRAND_SEND_OUTSIDE, ERRAND_CANCEL,
                               ERRAND_RETRY };
    static const int book[] = { ERRAND_APPEND, ERRAND_APPEND, ERRAND_LOOK, ERRAND_LOOK, ERRAND_POUR,
                                ERRAND_FILL, ERRAND_FOLLOW };
    unsigned which = pick(a->world, 2), d = pick(a->world, sizeof due / sizeof due[0]);
    unsigned b = pick(a->world, sizeof book / sizeof book[0]);
    a->errand = which == 0 ? due[d] : book[b];
    return which == 0 ? errand_due(a) : errand_book(a);
}

static void agent_go(void *user)
{
    agent    *a = (agent *)user;
    campaign *c = a->world;
    bool      begun = false;
    if (a->busy)
        return;
    if (francis_sim_running(c->sim, a->host) != NULL && !c->member[a->host].paused)
        begun = c->settling ? errand_calm(a) : errand_any(a);
    if (begun)
        agent_begun(a);
    else
        agent_think(a);
}

static void agent_think(agent *a)
{
    campaign *c = a->world;
    if (francis_sim_at(c->sim, a->host, 1 + (int64_t)pick(c, c->agent_ms), agent_go, a) !=
        FRANCIS_OK)
        francis_sim_fail(c->sim, "no memory");
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
        t->state_size = sizeof(number_state);
        t->idle_timeout_ms = pick(c, 2) == 0 ? 1 + (int64_t)pick(c, 3000) : 0;
        t->requests_kept_ms = FRANCIS_HOURS(24);
        t->requests_kept_max = OPS_MAX;
        if (t->idle_timeout_ms != 0 && pick(c, 2) == 0)
            t->concurrency_max = 1 + pick(c, c->actors);
    }
}

/* Those that have alarms, do jobs, or are books. */
static void draw_more_types(campaign *c)
{
    francis_actor_desc *t = &c->types[KINDS];
    for (int i = 0; i < 3; i++) {
        t[i].user = c;
        t[i].idle_timeout_ms = pick(c, 2) == 0 ? 1 + (int64_t)pick(c, 3000) : 0;
        t[i].retry_delay_ms = i == 0 ? 1 + spread(c, 3000) : t[0].retry_delay_ms;
        t[i].requests_kept_ms = FRANCIS_HOURS(24);
        t[i].requests_kept_max = OPS_MAX;
        t[i].crashes_max = 100000;          /* it is the world that kills */
    }
    t[0].type = "planner";
    t[0].methods = planner_methods;
    t[0].state_size = sizeof(planner_state);
    t[0].alarm = on_alarm;
    t[1].type = "worker";
    t[1].methods = worker_methods;
    t[1].state_size = sizeof(worker_state);
    if (pick(c, 3) == 0) {
        t[1].capacity_group = "workers";
        t[1].capacity_max = 1 + pick(c, 3);
    }
    t[2].type = "book";
    t[2].methods = book_methods;
    t[2].instance_size = sizeof(book_instance);
}

static void draw_hosts(campaign *c)
{
    unsigned most = pick(c, 2) == 0 ? 20000 : 1000;
    c->deadline_ms = 400 + (int64_t)spread(c, most);
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
        d->health_deadline_ms = c->deadline_ms;
        d->timeout_ms = 5000;
        d->stop_timeout_ms = 3000;
        d->busy_timeout_ms = 200 + (int64_t)pick(c, 5000);
        d->wal_bytes_max = pick(c, 3) == 0 ? 65536 : 0;
        d->commit_window_ms = pick(c, 4) == 0 ? 5 : 0;
        d->sweep_interval_ms = 1000 + (int64_t)pick(c, 20000);
        d->stream_buffer_bytes = pick(c, 2) == 0 ? 1024 + pick(c, 20000) : 0;
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
    c->safety_ms = 2000 + (int64_t)spread(c, 60000);
    c->think_ms = 5 + spread(c, 500);
    if (pick(c, 2) == 0)            /* so that there is something to do all the time */
        c->think_ms += (unsigned)c->safety_ms * 2 * c->clients / c->ops_max;
    c->slow_turns = pick(c, 3) == 0;
    c->agents = c->hosts * (1 + pick(c, 2));
    c->agent_ms = 5 + spread(c, 400);
    c->planners = 1 + pick(c, PLANNERS_MAX);
    c->workers = 1 + pick(c, WORKERS_MAX);
    c->books = 1 + pick(c, BOOKS_MAX);
    c->clocks_step = pick(c, 2) == 0;
    c->calm_left = 2 + (int)pick(c, 10);
    draw_types(c);
    draw_more_types(c);
    draw_hosts(c);
    for (unsigned i = 0; i < c->hosts; i++)
        c->member[i].desc.on_log = on_nothing;
    for (unsigned i = 0; i < c->clients; i++) {
        c->client[i].world = c;
        c->client[i].number = (int)i;
        c->client[i].host = (int)(i % c->hosts);
    }
    for (unsigned i = 0; i < c->agents; i++) {
        c->agent[i].world = c;
        c->agent[i].number = (int)i;
        c->agent[i].host = (int)(i % c->hosts);
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

/* Whether all that somebody has asked for is answered. */
static bool settled(void *user)
{
    campaign *c = (campaign *)user;
    for (size_t i = 0; i < c->count; i++)
        if (c->ops[i].under_way || (c->ops[i].keyed && c->ops[i].maybe))
            return false;
    for (unsigned i = 0; i < c->agents; i++)
        if (c->agent[i].busy)
            return false;
    return jobs_settled(c) && c->calm_left <= 0;
}

/* Everything works again. */
static void heal(campaign *c)
{
    francis_sim_faults none = { .latency_us = 200, .jitter_us = 200, .sync_us = 500 };
    francis_sim_note(c->sim, "all is healed");
    francis_sim_faults_set(c->sim, FRANCIS_SIM_ALL, &none);
    francis_sim_link(c->sim, FRANCIS_SIM_ALL, FRANCIS_SIM_ALL, true);
    francis_sim_disk_room(c->sim, 0, FRANCIS_FOREVER);
    for (unsigned i = 0; i < c->hosts; i++) {
        for (int e = 0; e < FRANCIS_SIM_EVENTS; e++)
            francis_sim_after(c->sim, (int)i, (francis_sim_event)e, 0, FRANCIS_SIM_FAIL);
        resume(&c->member[i]);
        clock_set(c, &c->member[i], 0, 0);
    }
}

static void start_all(campaign *c)
{
    int64_t end = francis_sim_now_ms(c->sim) + SETTLE_MS;
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
}

/* What is open comes to an end, while hosts are replaced one by one. */
static void settle(campaign *c)
{
    int64_t end = francis_sim_now_ms(c->sim) + SETTLE_MS;
    c->settling = true;
    francis_sim_run(c->sim, 1 + (int64_t)pick(c, 3000));
    if (pick(c, 2) == 0)
        roll(c);
    while (!francis_sim_failed(c->sim) && francis_sim_now_ms(c->sim) < end) {
        if (francis_sim_until(c->sim, settled, c, 1000) == FRANCIS_OK && file_pending(c) == 0)
            return;
        francis_sim_run(c->sim, 200);
    }
    francis_sim_fail(c->sim, "not all is settled after %d s: %lld alarms and jobs are left",
                     SETTLE_MS / 1000, (long long)file_pending(c));
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

static void begin(campaign *c)
{
    bool drifting = pick(c, 2) == 0;
    for (unsigned i = 0; i < c->hosts; i++) {
        if (drifting)
            clock_wrong(c, (int)i);
        (void)host_start(c, (int)i);
        if (i == 0)
            witness_begin(c);
    }
    francis_sim_faults_set(c->sim, FRANCIS_SIM_ALL, &c->faults);
    for (unsigned i = 0; i < c->clients; i++)
        client_think(&c->client[i]);
    for (unsigned i = 0; i < c->agents; i++)
        agent_think(&c->agent[i]);
}

static void stop_all(campaign *c)
{
    for (unsigned i = 0; i < c->hosts && !francis_sim_failed(c->sim); i++)
        francis_sim_stop(c->sim, (int)i);
}

/* One after the other, until something is found. */
static void live(campaign *c)
{
    static void (*const stages[])(campaign *) = {
        begin, safety, heal, start_all, settle, read_numbers, judge_numbers, judge_books, judge_due,
        judge_memory, stop_all, look_into
    };
    for (size_t i = 0; i < sizeof stages / sizeof stages[0] && !francis_sim_failed(c->sim); i++)
        stages[i](c);
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
    live(&c);
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

static int64_t seed_seconds = SEED_SECONDS;

static void watch(int64_t seconds)
{
    struct itimerval timer = { { 0, 0 }, { (time_t)seconds, 0 } };
    (void)setitimer(ITIMER_PROF, &timer, NULL);
}

static outcome run_watched(uint64_t seed, bool verbose)
{
    outcome out;
    running_seed = seed;
    watch(seed_seconds);
    out = run(seed, verbose);
    watch(0);
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
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seed_seconds = (int64_t)value;
        } else {
            (void)fprintf(stderr, "what is %s?\n", argv[i]);
            return 2;
        }
        i++;
    }
    (void)signal(SIGPROF, too_long);
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
