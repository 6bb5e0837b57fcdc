/* Agents: each has one thing done after the other, from a host, and hears what became of it. */
#ifndef AGENTS_H
#define AGENTS_H

#include "world.h"

static void agent_think(agent *a);

static was was_of(francis_result r)
{
    francis_outcome_kind k = francis_outcome(r);
    return k == FRANCIS_OUTCOME_DONE ? WAS_DONE : k == FRANCIS_OUTCOME_UNKNOWN ? WAS_MAYBE
                                                                              : WAS_NOT;
}

static void agent_end(agent *a, francis_result r)
{
    if (!a->busy)
        return;
    a->busy = false;
    a->stream = NULL;
    if (a->over != NULL)
        a->over(a, r);
    agent_think(a);
}

static void agent_on_done(francis_call *call)
{
    agent      *a = (agent *)call->user;
    const char *error = call->error != NULL ? call->error : "";
    if (!a->busy || call != &a->call)
        return;                     /* it was given up when its host died */
    result_count(a->world, call->result, "agent", error);
    francis_sim_note(a->world->sim, "agent %d: errand %d, %u: %s %.90s", a->number, a->errand,
                     a->subject, francis_result_name(call->result), error);
    agent_end(a, call->result);
    francis_call_free(call);
}

/* Before the call is made. */
static void agent_begin(agent *a, void (*over)(agent *, francis_result))
{
    a->busy = true;
    a->over = over;
    (void)memset(&a->call, 0, sizeof a->call);
    a->call.on_done = agent_on_done;
    a->call.user = a;
    a->call.timeout_ms = pick(a->world, 6) == 0 ? 20 + (int64_t)pick(a->world, 300) : 5000;
}

/* After it. */
static void agent_begun(agent *a)
{
    if (a->busy && a->stream == NULL && a->call.result != FRANCIS_PENDING)
        agent_on_done(&a->call);    /* refused at once */
}

#endif
