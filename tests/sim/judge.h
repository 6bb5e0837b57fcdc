/* What is asked of a world when all is over. */
#ifndef JUDGE_H
#define JUDGE_H

#include "mischief.h"
#include "witness.h"

/* A blocking read of an actor, from a host of chance. false = it has failed. */
static bool read_one(campaign *c, const char *type, unsigned actor, const void *in, size_t in_size,
                     void *out, size_t size)
{
    francis_call   call = { .timeout_ms = 60000 };
    char           id[16];
    francis_result r;
    id_of(actor, id);
    for (int tries = 0;; tries++) { /* others may have to hibernate before */
        r = francis_invoke(francis_sim_ctx(c->sim, (int)pick(c, c->hosts)), type, id, "read", in,
                           in_size, &call);
        if (!(francis_retryable(r) || r == FRANCIS_ERR_UNKNOWN) || tries == 100)
            break;
        francis_sim_run(c->sim, 100);
    }
    if (r != FRANCIS_OK || call.size != size)
        francis_sim_fail(c->sim, "%s %u cannot be read: %s: %.100s", type, actor,
                         francis_result_name(r), call.error);
    else
        (void)memcpy(out, call.data, size);
    francis_call_free(&call);
    return !francis_sim_failed(c->sim);
}

static void read_numbers(campaign *c)
{
    input in = { 0 };
    for (unsigned a = 0; a < c->actors; a++)
        if (!read_one(c, kinds[kind_of(c, a)], a, &in, sizeof in, &c->ended[a],
                      sizeof c->ended[a]))
            return;
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

static void judge_number(campaign *c, unsigned actor, linear_op *ops)
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
    sqlite3 *db = file_open(c);
    if (ask(c, db, "PRAGMA integrity_check", NULL, NULL) != 1)
        francis_sim_fail(c->sim, "the file is damaged");
    else if (ask(c, db, "SELECT count(*) FROM francis_hosts", NULL, NULL) != 0)
        francis_sim_fail(c->sim, "a host is left in the file");
    else if (ask(c, db, "SELECT count(*) FROM francis_active_actors", NULL, NULL) != 0)
        francis_sim_fail(c->sim, "a placement is left in the file");
    for (unsigned a = 0; a < c->actors && !francis_sim_failed(c->sim); a++) {
        char    id[16];
        int64_t n;
        id_of(a, id);
        n = ask(c, db, "SELECT substr(actor_state_data, 73, 8) FROM francis_actor_state"
                       " WHERE actor_type = ?1 AND actor_id = ?2", kinds[kind_of(c, a)], id);
        if ((n < 0 ? 0 : n) != c->ended[a])
            francis_sim_fail(c->sim, "actor %u is stored as %lld, and read as %lld", a,
                             (long long)n, (long long)c->ended[a]);
    }
    witness_end(c, db);
    (void)sqlite3_close(db);
}

/* Alarms and jobs that are not over. */
static int64_t file_pending(campaign *c)
{
    sqlite3 *db = file_open(c);
    int64_t  n = ask(c, db, "SELECT (SELECT count(*) FROM francis_alarms) + (SELECT count(*) FROM"
                            " francis_dead_jobs WHERE ext_hook_at IS NOT NULL)", NULL, NULL);
    (void)sqlite3_close(db);
    return n;
}

static void judge_numbers(campaign *c)
{
    linear_op *ops = (linear_op *)calloc(c->count + 1, sizeof *ops);
    for (unsigned a = 0; ops != NULL && a < c->actors && !francis_sim_failed(c->sim); a++)
        judge_number(c, a, ops);
    free(ops);
}

static void judge_books(campaign *c)
{
    static book_state s;
    for (unsigned b = 0; b < c->books; b++)
        if (read_one(c, "book", b, NULL, 0, &s, sizeof s))
            book_judge(c, b, &s);
}

/* How often each job is among the dead. */
static void count_dead(campaign *c, unsigned *dead)
{
    francis_list list = { .what = FRANCIS_LIST_DEAD_JOBS, .with_data = true };
    job          j;
    while (francis_list_next(francis_sim_ctx(c->sim, 0), &list) == FRANCIS_OK) {
        (void)memcpy(&j, list.item.data, sizeof j);
        dead[j.number]++;
    }
    if (list.result != FRANCIS_DONE)
        francis_sim_fail(c->sim, "the dead jobs cannot be listed: %.100s", list.error);
    francis_list_free(&list);
}

static void judge_due(campaign *c)
{
    static planner_state p[PLANNERS_MAX];
    static worker_state  w[WORKERS_MAX];
    unsigned             dead[JOBS_MAX] = { 0 };
    count_dead(c, dead);
    for (unsigned i = 0; i < c->planners; i++)
        if (read_one(c, "planner", i, NULL, 0, &p[i], sizeof p[i]))
            plans_judge(c, i, &p[i]);
    for (unsigned i = 0; i < c->workers; i++)
        if (read_one(c, "worker", i, NULL, 0, &w[i], sizeof w[i]) && w[i].twice != 0)
            francis_sim_fail(c->sim, "job %lld is done twice", (long long)w[i].twice - 1);
    for (unsigned i = 0; i < c->jobs_count && !francis_sim_failed(c->sim); i++)
        job_judge(c, &c->jobs[i], &p[c->jobs[i].planner], &w[c->jobs[i].worker], dead[i]);
}

/* ---- memory ---- */

/* Whether a host has nothing to do and nothing in hand. */
static bool at_rest(void *user)
{
    francis_stats s;
    francis_stats_get((francis_host *)user, &s);
    return s.active == 0 && s.queue_turns == 0 && s.queue_commits == 0 && s.calls_in_flight == 0 &&
           s.streams == 0 && s.queue_alarms == 0;
}

/* What a host needs with no actor that is active. */
static uint64_t rest(campaign *c, int host)
{
    francis_call  call = { .timeout_ms = 60000 };
    francis_stats s;
    if (francis_halt_all(francis_sim_ctx(c->sim, host), &call) != FRANCIS_OK)
        francis_sim_fail(c->sim, "not all can be halted: %.100s", call.error);
    francis_call_free(&call);
    francis_sim_run(c->sim, 2000);
    if (francis_sim_until(c->sim, at_rest, francis_sim_running(c->sim, host), 20000) != FRANCIS_OK)
        francis_sim_fail(c->sim, "a host with no actor does not come to rest");
    francis_stats_get(francis_sim_running(c->sim, host), &s);
    return s.memory_bytes;
}

/* The last host alone: whatever it has done, at rest it has what it had at rest before. */
static void judge_memory(campaign *c)
{
    uint64_t bytes[3] = { 0 };
    unsigned hosts = c->hosts;
    for (unsigned i = 1; i < hosts && !francis_sim_failed(c->sim); i++)
        francis_sim_stop(c->sim, (int)i);
    c->hosts = 1;
    for (int i = 0; i < 3 && !francis_sim_failed(c->sim); i++) {
        read_numbers(c);
        bytes[i] = rest(c, 0);
    }
    if (!francis_sim_failed(c->sim) && bytes[2] != bytes[1])
        francis_sim_fail(c->sim, "a host at rest has %llu bytes, and %llu when all is done again",
                         (unsigned long long)bytes[1], (unsigned long long)bytes[2]);
    c->hosts = hosts;
}

#endif
