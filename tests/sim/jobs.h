/* Jobs. They are dispatched by turns of planners, which write that down, or from outside, with or
 * without a request id; some fail, some for good, some are cancelled or brought back from the dead.
 * The worker writes down which it has done, and of which it was told that they died. In the end
 * each that was dispatched is done, dead or cancelled, one of them and once. */
#ifndef JOBS_H
#define JOBS_H

#include "plans.h"

enum { ERRAND_SEND = 10, ERRAND_SEND_OUTSIDE, ERRAND_CANCEL, ERRAND_RETRY };

typedef struct {
    stamp   stamp;
    int64_t twice;                  /* a job that was done again, from 1 on; 0 = none */
    uint8_t done[JOBS_MAX];
    uint8_t told[JOBS_MAX];         /* of its death, so often */
} worker_state;

/* ---- the worker ---- */

static francis_result on_work(francis_ctx *ctx)
{
    campaign     *c = (campaign *)ctx->user;
    member       *m = member_of(c, ctx);
    worker_state *s = (worker_state *)francis_state(ctx);
    job           j;
    bool          hopeless;
    (void)memcpy(&j, ctx->input.data, sizeof j);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    if (m != NULL) {
        clock_check(c, ctx, m, francis_now(ctx));
        c->jobs[j.number].runs++;
    }
    if (j.spend_ms > 0)
        francis_sim_spend(ctx, j.spend_ms);
    hopeless = j.permanent && s->told[j.number] == 0;
    if (s->done[j.number] && s->twice == 0)
        s->twice = j.number + 1;
    s->done[j.number] = 1;
    stamp_put(ctx, &s->stamp);
    if (hopeless)
        return francis_fail(ctx, FRANCIS_ERR_PERMANENT, "it will never be done");
    if ((int64_t)ctx->attempt <= j.failing)
        return francis_fail(ctx, FRANCIS_ERR_USER, "attempt %u fails", ctx->attempt);
    if (m != NULL)
        c->jobs_done++;
    return FRANCIS_OK;
}

static francis_result on_work_failed(francis_ctx *ctx)
{
    worker_state *s = (worker_state *)francis_state(ctx);
    job           j;
    (void)memcpy(&j, ctx->input.data, sizeof j);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->told[j.number]++;
    stamp_put(ctx, &s->stamp);
    return FRANCIS_OK;
}

static francis_result on_worker_read(francis_ctx *ctx)
{
    const worker_state *s = (const worker_state *)francis_state(ctx);
    return s == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, s, sizeof *s);
}

static const francis_method worker_methods[] = {
    { "work", on_work, FRANCIS_JOB, sizeof(job) },
    { "work", on_work_failed, FRANCIS_JOB_FAILED, sizeof(job) },
    { "read", on_worker_read, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

/* ---- who dispatches ---- */

static void job_sent(agent *a, francis_result r)
{
    campaign  *c = a->world;
    job_known *k = &c->jobs[a->subject];
    was        now = was_of(r);
    k->asked = false;
    if (k->sent == WAS_DONE)
        return;
    if (now == WAS_DONE || !k->keyed || k->sent == WAS_NOT)
        k->sent = now;
    if (now == WAS_DONE && k->outside && a->call.size < sizeof k->id) {
        (void)memcpy(k->id, a->call.data, a->call.size);
        k->id[a->call.size] = '\0';
    }
    if (k->calm && now == WAS_DONE)
        c->calm_left--;
}

static job_known *job_new(agent *a)
{
    campaign  *c = a->world;
    job_known *k = &c->jobs[c->jobs_count];
    unsigned   kind = pick(c, 8), fails = pick(c, 4), ms = pick(c, 60);
    if (c->jobs_count >= JOBS_MAX)
        return NULL;
    (void)memset(k, 0, sizeof *k);
    k->planner = pick(c, c->planners);
    k->worker = pick(c, c->workers);
    k->j.number = (int64_t)c->jobs_count;
    k->j.permanent = kind == 0;
    k->j.failing = kind < 3 ? fails : 0;
    k->j.spend_ms = c->slow_turns && kind == 3 ? 1 + (int64_t)ms : 0;
    (void)snprintf(k->request_id, sizeof k->request_id, "j%u", c->jobs_count);
    a->subject = c->jobs_count++;
    return k;
}

static bool job_send(agent *a, bool calm)
{
    campaign     *c = a->world;
    job_known    *k = job_new(a);
    planner_input in = { .errand = ERRAND_SEND };
    if (k == NULL) {
        c->calm_left -= calm;
        return false;
    }
    k->calm = calm;
    in.j = k->j;
    in.worker = (int64_t)k->worker;
    in.fails = !calm && pick(c, 8) == 0;
    agent_begin(a, job_sent);
    planner_call(a, k->planner, &in);
    return true;
}

static void job_ask(agent *a, job_known *k, int64_t delay_ms)
{
    char        id[16];
    francis_job jd = { .type = "worker", .id = id, .method = "work", .data = &k->j,
                       .size = sizeof k->j, .delay_ms = delay_ms,
                       .request_id = k->keyed ? k->request_id : NULL };
    id_of(k->worker, id);
    k->asked = true;
    agent_begin(a, job_sent);
    (void)francis_job_dispatch(francis_sim_ctx(a->world->sim, a->host), &jd, &a->call);
}

static bool job_send_outside(agent *a)
{
    campaign  *c = a->world;
    job_known *k = job_new(a);
    unsigned   delayed = pick(c, 3), ms = pick(c, 5000);
    if (k == NULL)
        return false;
    k->outside = true;
    k->keyed = pick(c, 3) != 0;
    if (k->keyed) {                 /* once it is dead its id stands for another job */
        k->j.permanent = 0;
        k->j.failing = k->j.failing < 3 ? k->j.failing : 2;
    }
    job_ask(a, k, delayed == 0 ? (int64_t)ms : 0);
    return true;
}

/* One of which nobody knows: with its id it may be asked for again. */
static bool job_send_again(agent *a)
{
    campaign *c = a->world;
    for (unsigned i = 0; i < c->jobs_count; i++)
        if (c->jobs[i].keyed && c->jobs[i].sent == WAS_MAYBE && !c->jobs[i].asked) {
            a->subject = i;
            job_ask(a, &c->jobs[i], 0);
            return true;
        }
    return false;
}

static void job_cancelled(agent *a, francis_result r)
{
    job_known *k = &a->world->jobs[a->subject];
    was        now = was_of(r);
    k->asked = false;
    if (now > k->cancelled)
        k->cancelled = now;
}

static void job_retried(agent *a, francis_result r)
{
    job_known *k = &a->world->jobs[a->subject];
    was        now = was_of(r);
    k->asked = false;
    if (now == WAS_NOT)
        return;
    k->retries++;
    k->id[0] = '\0';                /* it has another one, which may have come */
    if (now == WAS_DONE && a->call.size < sizeof k->id) {
        (void)memcpy(k->id, a->call.data, a->call.size);
        k->id[a->call.size] = '\0';
    }
}

/* One of those whose id is known, from anywhere on. */
static job_known *job_with_id(agent *a)
{
    campaign *c = a->world;
    unsigned  from = c->jobs_count > 0 ? pick(c, c->jobs_count) : 0;
    for (unsigned i = from; i < c->jobs_count; i++)
        if (c->jobs[i].id[0] != '\0' && !c->jobs[i].asked) {
            a->subject = i;
            c->jobs[i].asked = true;
            return &c->jobs[i];
        }
    return NULL;
}

static bool job_cancel(agent *a)
{
    job_known *k = job_with_id(a);
    if (k == NULL)
        return false;
    agent_begin(a, job_cancelled);
    (void)francis_job_cancel(francis_sim_ctx(a->world->sim, a->host), k->id, &a->call);
    return true;
}

static bool job_retry(agent *a)
{
    job_known *k = job_with_id(a);
    if (k == NULL)
        return false;
    agent_begin(a, job_retried);
    (void)francis_job_retry(francis_sim_ctx(a->world->sim, a->host), k->id, &a->call);
    return true;
}

static bool jobs_settled(const campaign *c)
{
    for (unsigned i = 0; i < c->jobs_count; i++)
        if (c->jobs[i].asked || (c->jobs[i].keyed && c->jobs[i].sent == WAS_MAYBE))
            return false;
    return true;
}

/* ---- what has become of it ---- */

static void job_wrong(campaign *c, const job_known *k, const char *what, const worker_state *w,
                      unsigned dead)
{
    francis_sim_fail(c->sim, "job %lld of worker %u (%s%s%s, fails %lld times%s): %s; done %d, "
                             "dead %u, told %d times, cancelled %d, brought back %u times, "
                             "run %u times",
                     (long long)k->j.number, k->worker,
                     k->outside ? "from outside" : "a turn's", k->keyed ? ", with an id" : "",
                     k->sent == WAS_DONE  ? ", dispatched"
                     : k->sent == WAS_NOT ? ", refused"
                                          : ", perhaps dispatched",
                     (long long)k->j.failing, k->j.permanent ? ", for good" : "", what,
                     w->done[k->j.number], dead, w->told[k->j.number], (int)k->cancelled,
                     k->retries, k->runs);
}

/* p: the state of the planner that has dispatched it; dead: how often it is among the dead. */
static void job_judge(campaign *c, const job_known *k, const planner_state *p,
                      const worker_state *w, unsigned dead)
{
    int64_t  n = k->j.number;
    unsigned ends = w->done[n] + dead;
    bool     dies = k->j.permanent || k->j.failing >= 3;
    was      sent = k->outside ? k->sent : p->sent[n] ? WAS_DONE : WAS_NOT;
    if (!k->outside && k->sent != WAS_MAYBE && k->sent != sent)
        job_wrong(c, k, "what its planner says is something else", w, dead);
    else if (sent == WAS_NOT && (ends > 0 || w->told[n] > 0))
        job_wrong(c, k, "it was never dispatched", w, dead);
    else if (ends > 1)
        job_wrong(c, k, "it has two ends", w, dead);
    else if (k->cancelled == WAS_DONE && ends > 0)
        job_wrong(c, k, "it was cancelled", w, dead);
    else if (sent == WAS_DONE && k->cancelled == WAS_NOT && ends == 0)
        job_wrong(c, k, "it is lost", w, dead);
    else if (!dies && (dead > 0 || w->told[n] > 0))
        job_wrong(c, k, "it has died without reason", w, dead);
    else if (w->told[n] > 1 + k->retries || (dead > 0 && k->retries == 0 && w->told[n] != 1))
        job_wrong(c, k, "its death was not told once", w, dead);
    else if (k->calm && sent == WAS_DONE
             && k->runs != (k->j.permanent ? 1 : dies ? 3 : k->j.failing + 1))
        job_wrong(c, k, "it has run too often, or not often enough", w, dead);
}

#endif
