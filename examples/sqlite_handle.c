/* An application that has its database open already: one file, its own table beside the actors.
 * Usage: sqlite_handle [DATABASE] */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <sqlite3.h>
#include <stdio.h>

static francis_result hit(francis_ctx *ctx)
{
    uint64_t *hits = (uint64_t *)francis_state(ctx);
    ++*hits;
    return francis_reply(ctx, hits, sizeof *hits);
}

static const francis_method page_methods[] = {
    { "hit", hit, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static int print_row(void *what, int columns, char **value, char **name)
{
    (void)columns;
    (void)name;
    printf("%s %s\n", (const char *)what, value[0]);
    return 0;
}

/* The application's own SQL. francis is at rest here: without workers it uses the handle inside its
 * calls only. A transaction that stays open over a francis call would make that LOCKED. */
static int count_visit(sqlite3 *db)
{
    static char label[] = "visits";
    return sqlite3_exec(db,
                        "create table if not exists visits (n integer not null);"
                        "insert into visits select 0 where not exists (select 1 from visits);"
                        "update visits set n = n + 1; select n from visits;",
                        print_row, label, NULL);
}

int main(int argc, char **argv)
{
    sqlite3           *db   = NULL;
    francis_host      *host = NULL;
    francis_actor_desc page = { .type = "page", .methods = page_methods,
                                .state_size = sizeof(uint64_t) };
    francis_host_desc  desc = { .table_prefix = "site_actors", .workers = FRANCIS_NO_WORKERS };
    francis_call       call = { 0 };
    francis_result     r;

    if (sqlite3_open(argc > 1 ? argv[1] : "site.db", &db) != SQLITE_OK) {
        fprintf(stderr, "sqlite_handle: %s\n", sqlite3_errmsg(db));
        (void)sqlite3_close(db);
        return 1;
    }
    desc.sqlite = db;                                       /* not closed by francis */
    francis_open(&host, &desc);
    francis_register(host, &page);
    r = francis_start(host);
    if (r != FRANCIS_OK) {
        fprintf(stderr, "sqlite_handle: %s\n", francis_host_error(host));
    } else {
        r = francis_invoke(francis_host_ctx(host), "page", "index.html", "hit", NULL, 0, &call);
        if (r != FRANCIS_OK)
            fprintf(stderr, "sqlite_handle: %s\n", call.error);
        else
            printf("hits %llu\n", (unsigned long long)*(const uint64_t *)call.data);
        francis_call_free(&call);
        if (count_visit(db) != SQLITE_OK)
            fprintf(stderr, "sqlite_handle: %s\n", sqlite3_errmsg(db));
    }
    francis_close(host);                                    /* the handle is free again */
    (void)sqlite3_close(db);
    return r == FRANCIS_OK ? 0 : 1;
}
