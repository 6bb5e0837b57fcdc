/* What an operator's tool needs: hosts, types, active actors, states, alarms, jobs; a state that is
 * read, written, deleted; an actor forgotten; a job dispatched, cancelled, tried again; errors with
 * their outcome.
 * Usage: admin [DATABASE [COMMAND [TYPE [ID [DATA]]]]]
 *   hosts | types | active [TYPE] | states [TYPE] | alarms [TYPE] | jobs [TYPE] | dead [TYPE]
 *   get TYPE ID | set TYPE ID DATA | delete TYPE ID | halt TYPE ID | forget TYPE ID
 *   dispatch TYPE ID METHOD | cancel JOBID | retry JOBID */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>
#include <string.h>

static void print_error(const char *name, francis_result r, const char *text)
{
    static const char *const outcome[] = { "done", "not_run", "failed", "unknown" };

    fprintf(stderr, "%s: %s, %s: %s\n", name, francis_result_name(r), outcome[francis_outcome(r)],
            text);
}

static francis_result list_all(francis_ctx *ctx, francis_list_kind what, const char *type)
{
    francis_list   list = { .what = what, .type = type, .with_data = true };
    francis_result r;

    while ((r = francis_list_next(ctx, &list)) == FRANCIS_OK) {
        const francis_item *i = &list.item;
        if (what == FRANCIS_LIST_STATES)
            printf("%s %s %lu\n", i->type, i->id, (unsigned long)i->size);
        else if (what == FRANCIS_LIST_ALARMS || what == FRANCIS_LIST_JOBS ||
                 what == FRANCIS_LIST_DEAD_JOBS)
            printf("%s %s %s %s due %lld, %u attempts %s\n", i->type, i->id, i->name, i->job_id,
                   (long long)i->due_ms, i->attempts, i->error);
        else                                        /* "" where it does not apply */
            printf("%s %s %s\n", i->host, i->type, i->id);
    }
    if (r == FRANCIS_DONE)
        r = FRANCIS_OK;
    else
        print_error("list", r, list.error);
    francis_list_free(&list);
    return r;
}

static francis_result one(francis_ctx *ctx, const char *command, const char *type, const char *id,
                          const char *data)
{
    francis_call   call = { 0 };
    francis_result r;

    if (strcmp(command, "get") == 0)
        r = francis_state_read(ctx, type, id, &call);
    else if (strcmp(command, "set") == 0 && data != NULL)
        r = francis_state_write(ctx, type, id, data, strlen(data), FRANCIS_FOREVER, &call);
    else if (strcmp(command, "delete") == 0)
        r = francis_state_write(ctx, type, id, NULL, 0, 0, &call);
    else if (strcmp(command, "halt") == 0)
        r = francis_halt(ctx, type, id, &call);
    else if (strcmp(command, "forget") == 0)
        r = francis_purge(ctx, type, id, &call);
    else if (strcmp(command, "dispatch") == 0) {
        francis_job job = { .type = type, .id = id, .method = data };
        r = francis_job_dispatch(ctx, &job, &call);
    } else if (strcmp(command, "cancel") == 0)
        r = francis_job_cancel(ctx, type, &call);           /* that is the job's id */
    else if (strcmp(command, "retry") == 0)
        r = francis_job_retry(ctx, type, &call);
    else
        r = FRANCIS_ERR_INVALID;
    if (r != FRANCIS_OK)
        print_error(command, r, call.result == r ? call.error : "see the usage in admin.c");
    else if (call.data != NULL)
        printf("%.*s\n", (int)call.size, (const char *)call.data);
    francis_call_free(&call);
    return r;
}

static const struct { const char *command; francis_list_kind what; } lists[] = {
    { "hosts",  FRANCIS_LIST_HOSTS },  { "types",  FRANCIS_LIST_TYPES },
    { "active", FRANCIS_LIST_ACTIVE }, { "states", FRANCIS_LIST_STATES },
    { "alarms", FRANCIS_LIST_ALARMS }, { "jobs",   FRANCIS_LIST_JOBS },
    { "dead",   FRANCIS_LIST_DEAD_JOBS },
};

static francis_result command(francis_ctx *ctx, const char *name, const char *type, const char *id,
                              const char *data)
{
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (strcmp(name, lists[i].command) == 0)
            return list_all(ctx, lists[i].what, type);
    return one(ctx, name, type, id, data);
}

int main(int argc, char **argv)
{
    francis_host     *host = NULL;
    francis_host_desc desc = { .database = argc > 1 ? argv[1] : "counter.db",
                               .workers  = FRANCIS_NO_WORKERS };
    francis_result    r;

    francis_open(&host, &desc);                 /* without a type of its own it still can call */
    if ((r = francis_start(host)) != FRANCIS_OK)
        print_error("admin", r, francis_host_error(host));
    else
        r = command(francis_host_ctx(host), argc > 2 ? argv[2] : "states",
                    argc > 3 ? argv[3] : NULL, argc > 4 ? argv[4] : NULL,
                    argc > 5 ? argv[5] : NULL);
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
