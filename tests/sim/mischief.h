/* What goes wrong: hosts are killed, stopped, paused, also in the midst of a write; the power
 * fails, links are cut, disks are full, clocks are wrong, at rates of each world's own. */
#ifndef MISCHIEF_H
#define MISCHIEF_H

#include "books.h"
#include "jobs.h"
#include "numbers.h"

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
    for (unsigned i = 0; i < c->agents; i++)
        if (c->agent[i].host == host)
            agent_end(&c->agent[i], FRANCIS_ERR_UNKNOWN);
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
    c->member[host].high_ms = 0;
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
    for (int e = 0; e < FRANCIS_SIM_EVENTS; e++)    /* it is not paused by an aim any more */
        francis_sim_after(m->world->sim, m->number, (francis_sim_event)e, 0, FRANCIS_SIM_FAIL);
    francis_sim_resume(m->world->sim, m->number);
    for (unsigned i = 0; i < m->world->clients; i++)    /* before it has had a look at anything */
        if (m->world->client[i].host == m->number)
            (void)francis_sim_at(m->world->sim, m->number, 0, client_go, &m->world->client[i]);
}

/* For a moment, or until others may have taken it for dead. */
static int64_t pause_ms(campaign *c)
{
    unsigned how = pick(c, 3), least = how == 0 ? 0 : (unsigned)c->deadline_ms;
    unsigned most = how == 0 ? 1500 : how == 1 ? 2 * least : 4 * least;
    return (int64_t)least + (int64_t)pick(c, most);
}

static void host_pause(campaign *c, int host, int64_t ms)
{
    if (!c->member[host].up || c->member[host].paused)
        return;
    c->member[host].paused = true;
    francis_sim_pause(c->sim, host);
    (void)francis_sim_at(c->sim, FRANCIS_SIM_ALL, ms, resume, &c->member[host]);
}

/* In the midst of what it does, which may be a turn that it then wants to commit, until others have
 * taken it for dead. */
static void host_pause_inside(campaign *c, int host)
{
    int64_t  ms = 3 * c->deadline_ms + (int64_t)pick(c, 2000);
    unsigned n = 1 + pick(c, 40);
    if (!c->member[host].up || c->member[host].paused)
        return;
    francis_sim_after(c->sim, host, FRANCIS_SIM_ALLOC, n, FRANCIS_SIM_PAUSE);
    (void)francis_sim_at(c->sim, FRANCIS_SIM_ALL, ms, resume, &c->member[host]);
}

static void room(void *user)
{
    francis_sim_disk_room(((campaign *)user)->sim, 0, FRANCIS_FOREVER);
}

static void halt_all(campaign *c, int host)
{
    francis_ctx *ctx = francis_sim_ctx(c->sim, host);
    if (ctx == NULL || c->member[host].paused || c->member[host].halt.result == FRANCIS_PENDING)
        return;
    francis_call_free(&c->member[host].halt);
    c->member[host].halt.async = true;
    (void)francis_halt_all(ctx, &c->member[host].halt);
}

/* Any actor of any kind. */
static void halt_one(campaign *c, int host)
{
    static const char *const others[] = { "planner", "worker", "book" };
    unsigned     other = pick(c, 5), actor = pick(c, other < 3 ? 3 : c->actors);
    char         id[16];
    francis_ctx *ctx = francis_sim_ctx(c->sim, host);
    id_of(actor, id);
    if (ctx == NULL || c->member[host].paused || c->member[host].halt.result == FRANCIS_PENDING)
        return;
    francis_call_free(&c->member[host].halt);
    c->member[host].halt.async = true;
    (void)francis_halt(ctx, other < 3 ? others[other] : kinds[kind_of(c, actor)], id,
                       &c->member[host].halt);
}

/* One after the other, as when a program is replaced. */
static void roll(campaign *c)
{
    for (unsigned i = 0; i < c->hosts; i++) {
        host_stop(c, (int)i);
        (void)host_start(c, (int)i);
        francis_sim_run(c->sim, 1 + (int64_t)pick(c, 400));
        notice_dead(c);
    }
}

static void aim(campaign *c, int host)
{
    static const francis_sim_event at[] = { FRANCIS_SIM_WRITE, FRANCIS_SIM_SYNC, FRANCIS_SIM_SEND,
                                            FRANCIS_SIM_READ, FRANCIS_SIM_ALLOC };
    static const francis_sim_action how[] = { FRANCIS_SIM_KILL, FRANCIS_SIM_KILL, FRANCIS_SIM_KILL,
                                              FRANCIS_SIM_POWER_CUT, FRANCIS_SIM_FAIL,
                                              FRANCIS_SIM_FAIL, FRANCIS_SIM_FAIL,
                                              FRANCIS_SIM_PAUSE, FRANCIS_SIM_PAUSE };
    unsigned what = pick(c, 5), n = 1 + pick(c, what % 2 == 0 ? 60 : 8);    /* few syncs, reads */
    unsigned action = pick(c, sizeof how / sizeof how[0]);
    int64_t  ms = pause_ms(c);
    if (!c->member[host].up || c->member[host].paused)
        return;
    francis_sim_after(c->sim, host, at[what], n, how[action]);
    if (how[action] == FRANCIS_SIM_PAUSE)
        (void)francis_sim_at(c->sim, FRANCIS_SIM_ALL, ms, resume, &c->member[host]);
}

static void cut(campaign *c, int host, int other)
{
    unsigned how = pick(c, 3);
    if (how == 0)
        francis_sim_link(c->sim, FRANCIS_SIM_ALL, FRANCIS_SIM_ALL, true);
    else
        francis_sim_link(c->sim, host, how == 1 ? FRANCIS_SIM_ALL : other, false);
}

/* Clocks are wrong, and go too fast or too slowly; in some worlds they are set as well. */
static void clock_wrong(campaign *c, int host)
{
    unsigned off = pick(c, 2 * CLOCK_OFF_MS), drift = pick(c, 2000);
    member  *m = &c->member[host];
    clock_set(c, m, c->clocks_step ? (int64_t)off - CLOCK_OFF_MS : clock_wrong_ms(c, m),
              (int64_t)drift - 1000);
}

static void narrow(campaign *c)
{
    unsigned bytes = pick(c, 400000), ms = pick(c, 2000);
    francis_sim_disk_room(c->sim, 0, (int64_t)bytes);
    (void)francis_sim_at(c->sim, FRANCIS_SIM_ALL, (int64_t)ms, room, c);
}

static void mischief(campaign *c)
{
    int      host = (int)pick(c, c->hosts), other = (int)pick(c, c->hosts);
    unsigned what = pick(c, 21);
    bool     rarely = pick(c, 3) == 0;
    c->acts++;                      /* chance is asked in an order that each compiler keeps to */
    switch (what) {
    case 0:
    case 1: francis_sim_kill(c->sim, host); break;
    case 2:
        if (rarely)
            francis_sim_power_cut(c->sim, 0);
        break;
    case 3: host_stop(c, host); break;
    case 4:
    case 5: host_pause(c, host, pause_ms(c)); break;
    case 6:
    case 7:
    case 8: cut(c, host, other); break;
    case 9:
    case 10:
    case 11:
    case 12: aim(c, host); break;
    case 13: clock_wrong(c, host); break;
    case 14:
        if (rarely)
            narrow(c);
        break;
    case 15:
        if (rarely)
            roll(c);
        break;
    case 16: halt_all(c, host); break;
    case 17:
    case 18:
    case 19: host_pause_inside(c, host); break;
    default: break;                 /* nothing, for once */
    }
    halt_one(c, host);
}

#endif
