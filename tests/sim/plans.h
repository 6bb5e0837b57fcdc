/* Alarms. A planner sets, replaces and deletes its alarms in turns that write down what they did,
 * and the turns of its alarms write down that they were. So its state says by itself whether each
 * occurrence had its effect once: what is set and not replaced has to come, what is replaced must
 * not, and nothing comes twice. Some alarms are set from outside of turns. */
#ifndef PLANS_H
#define PLANS_H

#include "agents.h"

enum { ERRAND_SET = 1, ERRAND_DROP, ERRAND_TOUCH, ERRAND_SET_OUTSIDE, ERRAND_DELETE_OUTSIDE };

typedef enum {
    FAULT_OTHER = 1,                /* an alarm came that was replaced, deleted or never set */
    FAULT_ORDER,                    /* an occurrence came again, or behind a later one */
    FAULT_TIME,                     /* an occurrence came that the plan does not have */
    FAULT_GAP                       /* one was left out */
} plan_fault;

typedef struct {
    int64_t number;                 /* of the plan, from 1 on; 0 = none */
    int64_t last_ms;                /* due time of the last occurrence */
} planner_slot;

typedef struct {
    stamp        stamp;
    int64_t      fault, fault_plan;
    planner_slot slot[SLOTS];
    uint8_t      set[PLANS_MAX], closed[PLANS_MAX];
    uint8_t      came[PLANS_MAX];   /* occurrences */
    uint8_t      sent[JOBS_MAX];    /* jobs that its turns have dispatched */
} planner_state;

typedef struct {
    int64_t errand, fails;
    plan    p;
    job     j;
    int64_t worker;
} planner_input;

static void planner_fault(planner_state *s, plan_fault fault, int64_t number)
{
    if (s->fault == 0) {
        s->fault = fault;
        s->fault_plan = number;
    }
}

static void alarm_name(const plan *p, char name[32])
{
    if (p->slot >= 0)
        (void)snprintf(name, 32, "slot %lld", (long long)p->slot);
    else
        (void)snprintf(name, 32, "outside %lld", (long long)p->number);
}

static francis_alarm alarm_of(const plan *p, const char *name)
{
    francis_alarm alarm = { .name = name, .data = p, .size = sizeof *p, .due_ms = p->first_ms };
    if (p->every_ms != 0 && !p->chain) {
        alarm.repeat_ms = p->every_ms;
        alarm.until_ms = p->first_ms + p->every_ms * (p->times - 1);
        alarm.missed = (francis_missed)p->missed;
    }
    return alarm;
}

/* ---- the planner ---- */

static void planner_close(planner_state *s, int64_t slot)
{
    if (s->slot[slot].number != 0)
        s->closed[s->slot[slot].number - 1] = 1;
    (void)memset(&s->slot[slot], 0, sizeof s->slot[slot]);
}

static void planner_set(francis_ctx *ctx, planner_state *s, const plan *p)
{
    char          name[32];
    francis_alarm alarm;
    alarm_name(p, name);
    alarm = alarm_of(p, name);
    planner_close(s, p->slot);
    s->slot[p->slot].number = p->number + 1;
    s->set[p->number] = 1;
    (void)francis_alarm_set(ctx, &alarm, NULL);
}

static void planner_drop(francis_ctx *ctx, planner_state *s, const plan *p)
{
    char          name[32];
    francis_alarm alarm;
    alarm_name(p, name);
    alarm = alarm_of(p, name);
    planner_close(s, p->slot);
    (void)francis_alarm_delete(ctx, &alarm, NULL);
}

/* Sets what is set already: nothing changes. */
static void planner_touch(francis_ctx *ctx, planner_state *s, const plan *p)
{
    char          name[32];
    francis_alarm alarm;
    alarm_name(p, name);
    alarm = alarm_of(p, name);
    if (s->slot[p->slot].number == p->number + 1 && s->came[p->number] == 0)
        (void)francis_alarm_set(ctx, &alarm, NULL);
}

static void planner_send(francis_ctx *ctx, planner_state *s, const planner_input *in)
{
    char        id[16];
    francis_job jd = { .type = "worker", .id = id, .method = "work", .data = &in->j,
                       .size = sizeof in->j };
    id_of((unsigned)in->worker, id);
    s->sent[in->j.number] = 1;
    (void)francis_job_dispatch(ctx, &jd, NULL);
}

static francis_result on_plan(francis_ctx *ctx)
{
    planner_state *s = (planner_state *)francis_state(ctx);
    planner_input  in;
    (void)memcpy(&in, ctx->input.data, sizeof in);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    switch (in.errand) {
    case ERRAND_SET: planner_set(ctx, s, &in.p); break;
    case ERRAND_DROP: planner_drop(ctx, s, &in.p); break;
    case ERRAND_TOUCH: planner_touch(ctx, s, &in.p); break;
    default: planner_send(ctx, s, &in); break;
    }
    stamp_put(ctx, &s->stamp);
    if (in.p.spend_ms > 0)
        francis_sim_spend(ctx, in.p.spend_ms);
    if (in.fails)
        return francis_fail(ctx, FRANCIS_ERR_USER, "refused after it has planned");
    return francis_reply(ctx, NULL, 0);
}

/* Whether it is the turn of this occurrence, as far as the state knows. */
static void planner_judge(planner_state *s, const plan *p, int64_t due_ms)
{
    planner_slot *slot = &s->slot[p->slot];
    int64_t       late = due_ms - p->first_ms;
    bool          all = p->every_ms != 0 && (p->chain || p->missed == FRANCIS_MISSED_ALL);
    if (slot->number != p->number + 1) {
        planner_fault(s, FAULT_OTHER, p->number);
        return;
    }
    if (due_ms <= slot->last_ms || s->came[p->number] >= p->times)
        planner_fault(s, FAULT_ORDER, p->number);
    if (late < 0 || (p->every_ms == 0 ? late != 0 : late % p->every_ms != 0))
        planner_fault(s, FAULT_TIME, p->number);
    if (all && late != p->every_ms * s->came[p->number])
        planner_fault(s, FAULT_GAP, p->number);
    slot->last_ms = due_ms;
}

/* The handler of a chain sets the next one by itself, and that stands. */
static void planner_go_on(francis_ctx *ctx, const planner_state *s, const plan *p)
{
    char          name[32];
    francis_alarm alarm;
    alarm_name(p, name);
    alarm = alarm_of(p, name);
    alarm.due_ms = p->first_ms + p->every_ms * s->came[p->number];
    if (s->came[p->number] < p->times)
        (void)francis_alarm_set(ctx, &alarm, NULL);
}

static francis_result on_alarm(francis_ctx *ctx)
{
    campaign      *c = (campaign *)ctx->user;
    member        *m = member_of(c, ctx);
    planner_state *s = (planner_state *)francis_state(ctx);
    plan           p;
    (void)memcpy(&p, ctx->input.data, sizeof p);
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    if (m != NULL) {
        clock_check(c, ctx, m, francis_now(ctx));
        c->plans[p.number].runs++;
        c->occurrences++;
    }
    if (p.spend_ms > 0)
        francis_sim_spend(ctx, p.spend_ms);
    stamp_put(ctx, &s->stamp);
    if ((int64_t)ctx->attempt <= p.failing) {
        s->came[p.number] += 100;
        return francis_fail(ctx, FRANCIS_ERR_USER, "attempt %u fails", ctx->attempt);
    }
    if (p.slot >= 0)
        planner_judge(s, &p, ctx->due_ms);
    s->came[p.number]++;
    if (p.chain)
        planner_go_on(ctx, s, &p);
    return FRANCIS_OK;
}

static francis_result on_planner_read(francis_ctx *ctx)
{
    const planner_state *s = (const planner_state *)francis_state(ctx);
    return s == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, s, sizeof *s);
}

static const francis_method planner_methods[] = {
    { "plan", on_plan, FRANCIS_INVOKE, sizeof(planner_input) },
    { "read", on_planner_read, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

/* ---- who has something planned ---- */

static void plan_set_over(agent *a, francis_result r)
{
    plan_known *k = &a->world->plans[a->subject];
    k->set = was_of(r);
    if (k->calm && k->set == WAS_DONE)
        a->world->calm_left--;
}

static void plan_delete_over(agent *a, francis_result r)
{
    plan_known *k = &a->world->plans[a->subject];
    was         now = was_of(r);
    if (now > k->deleted)
        k->deleted = now;
}

static void plan_draw(campaign *c, agent *a, plan *p)
{
    francis_ctx *ctx = francis_sim_ctx(c->sim, a->host);
    unsigned     kind = pick(c, 6), far = pick(c, 4), soon = pick(c, 3000), every = pick(c, 3000);
    p->slot = pick(c, SLOTS);
    p->first_ms = francis_now(ctx) + (far == 0 ? (int64_t)soon * 10 : (int64_t)soon);
    p->times = 1;
    p->failing = pick(c, 4) == 0 ? pick(c, 4) : 0;
    p->spend_ms = c->slow_turns && pick(c, 8) == 0 ? 1 + (int64_t)pick(c, 60) : 0;
    if (kind < 2)
        return;
    p->times = 2 + pick(c, 9);
    p->every_ms = 20 + (int64_t)every;
    p->missed = pick(c, 3);
    p->chain = kind == 2;
    if (p->chain && p->failing > 2)
        p->failing = 2;             /* it would break */
}

static plan_known *plan_new(campaign *c, agent *a)
{
    plan_known *k = &c->plans[c->plans_count];
    if (c->plans_count >= PLANS_MAX)
        return NULL;
    (void)memset(k, 0, sizeof *k);
    k->planner = pick(c, c->planners);
    plan_draw(c, a, &k->p);
    k->p.number = (int64_t)c->plans_count;
    a->subject = c->plans_count++;
    k->set = WAS_MAYBE;
    return k;
}

static void planner_call(agent *a, unsigned planner, const planner_input *in)
{
    char id[16];
    id_of(planner, id);
    (void)francis_invoke(francis_sim_ctx(a->world->sim, a->host), "planner", id, "plan", in,
                         sizeof *in, &a->call);
}

static bool plan_set(agent *a)
{
    campaign     *c = a->world;
    plan_known   *k = plan_new(c, a);
    planner_input in = { .errand = ERRAND_SET };
    if (k == NULL)
        return false;
    in.p = k->p;
    in.fails = pick(c, 8) == 0;
    agent_begin(a, plan_set_over);
    planner_call(a, k->planner, &in);
    return true;
}

/* One in the healed world: it has to run as often as it says, and not once more. */
static bool plan_set_calm(agent *a)
{
    campaign     *c = a->world;
    plan_known   *k = plan_new(c, a);
    planner_input in = { .errand = ERRAND_SET };
    if (k == NULL) {
        c->calm_left--;
        return false;
    }
    k->calm = true;
    in.p = k->p;
    agent_begin(a, plan_set_over);
    planner_call(a, k->planner, &in);
    return true;
}

/* What is planned is deleted, or set again as it is. */
static bool plan_change(agent *a)
{
    campaign     *c = a->world;
    planner_input in = { .errand = pick(c, 2) == 0 ? ERRAND_DROP : ERRAND_TOUCH };
    unsigned      i = pick(c, c->plans_count);
    plan_known   *k = &c->plans[i];
    if (c->plans_count == 0 || k->p.slot < 0 || k->calm)
        return false;
    if (in.errand == ERRAND_TOUCH && (k->p.every_ms != 0 || k->p.failing != 0))
        return false;               /* it may be over, and would begin anew */
    in.p = k->p;
    in.fails = pick(c, 8) == 0;
    agent_begin(a, NULL);
    planner_call(a, k->planner, &in);
    return true;
}

static francis_alarm plan_outside(const plan_known *k, char id[16], char name[32])
{
    francis_alarm alarm;
    id_of(k->planner, id);
    alarm_name(&k->p, name);
    alarm = alarm_of(&k->p, name);
    alarm.type = "planner";
    alarm.id = id;
    return alarm;
}

static bool plan_set_outside(agent *a)
{
    campaign     *c = a->world;
    plan_known   *k = plan_new(c, a);
    char          id[16], name[32];
    francis_alarm alarm;
    if (k == NULL)
        return false;
    k->p.slot = -1;
    k->p.every_ms = k->p.chain = 0;
    k->p.times = 1;
    alarm = plan_outside(k, id, name);
    agent_begin(a, plan_set_over);
    (void)francis_alarm_set(francis_sim_ctx(c->sim, a->host), &alarm, &a->call);
    return true;
}

static bool plan_delete_outside(agent *a)
{
    campaign     *c = a->world;
    unsigned      i = pick(c, c->plans_count);
    plan_known   *k = &c->plans[i];
    char          id[16], name[32];
    francis_alarm alarm;
    if (c->plans_count == 0 || k->p.slot >= 0 || k->set != WAS_DONE)
        return false;
    alarm = plan_outside(k, id, name);
    a->subject = i;
    agent_begin(a, plan_delete_over);
    (void)francis_alarm_delete(francis_sim_ctx(c->sim, a->host), &alarm, &a->call);
    return true;
}

/* ---- what has become of it ---- */

static void plan_wrong(campaign *c, const plan_known *k, const planner_state *s, const char *what)
{
    francis_sim_fail(c->sim, "alarm %lld of planner %u (%s, %s, %lld times, %lld attempts fail): "
                             "%s; it came %d times, its handler ran %u times",
                     (long long)k->p.number, k->planner,
                     k->p.slot < 0 ? "from outside" : "a turn's",
                     k->set == WAS_DONE ? "set" : k->set == WAS_NOT ? "not set" : "perhaps set",
                     (long long)k->p.times, (long long)k->p.failing, what, s->came[k->p.number],
                     k->runs);
}

static bool plan_runs_all(const plan *p)        /* none is left out, however late */
{
    return p->every_ms == 0 || p->chain || p->missed == FRANCIS_MISSED_ALL;
}

/* How often it has to have come, at least and at most, if it was left alone. */
static void plan_bounds(const plan *p, int64_t *least, int64_t *most)
{
    bool all = plan_runs_all(p);
    *most = p->failing >= 3 ? 0 : p->times;
    *least = all ? *most : p->missed == FRANCIS_MISSED_ONCE && *most > 0 ? 1 : 0;
}

static void plan_judge_outside(campaign *c, const plan_known *k, const planner_state *s)
{
    int64_t least, most, came = s->came[k->p.number];
    plan_bounds(&k->p, &least, &most);
    if (k->set == WAS_NOT)
        most = 0;
    if (k->set != WAS_DONE || k->deleted != WAS_NOT)
        least = 0;
    if (came > most)
        plan_wrong(c, k, s, "it came too often");
    else if (came < least)
        plan_wrong(c, k, s, "it is lost");
}

static void plan_judge(campaign *c, const plan_known *k, const planner_state *s)
{
    int64_t  least, most, number = k->p.number, came = s->came[number];
    unsigned runs = (unsigned)((k->p.failing < 3 ? k->p.failing + 1 : 3) * k->p.times);
    if (k->p.slot < 0) {
        plan_judge_outside(c, k, s);
        return;
    }
    plan_bounds(&k->p, &least, &most);
    if (k->set == WAS_DONE && !s->set[number])
        plan_wrong(c, k, s, "it was set, and its turn is not there");
    else if (k->set == WAS_NOT && s->set[number])
        plan_wrong(c, k, s, "it was refused, and its turn is there");
    else if (came > (s->set[number] ? most : 0))
        plan_wrong(c, k, s, "it came too often");
    else if (s->set[number] && !s->closed[number] && came < least)
        plan_wrong(c, k, s, "it is lost");
    else if (k->calm && s->set[number] && !s->closed[number] && plan_runs_all(&k->p)
             && k->runs != runs)
        plan_wrong(c, k, s, "it has run too often, or not often enough");
}

static void plans_judge(campaign *c, unsigned planner, const planner_state *s)
{
    static const char *const faults[] = {
        "", "came, and was replaced, deleted or never set", "came again", "came at a wrong time",
        "left one out"
    };
    if (s->fault != 0)
        francis_sim_fail(c->sim, "planner %u: alarm %lld %s", planner, (long long)s->fault_plan,
                         faults[s->fault]);
    for (unsigned i = 0; i < c->plans_count && !francis_sim_failed(c->sim); i++)
        if (c->plans[i].planner == planner)
            plan_judge(c, &c->plans[i], s);
}

#endif
