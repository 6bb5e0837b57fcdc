/* A file that is not what francis has written: values of any type and size in any column of any
 * table, tables that hold to no type, tables and indexes that are gone, bytes of the file changed
 * or cut off. A host opens it, is called, fires what is due, lists, changes and leaves, twice.
 * Whatever it finds, it says what it could not do; and what is wrong with an alarm is nobody
 * else's matter. */
#ifndef FUZZ_ROWS_H
#define FUZZ_ROWS_H

enum { FUZZ_TABLES = 24, FUZZ_COLUMNS = 32, FUZZ_IMAGES = 2, FUZZ_LISTED = 40 };

typedef struct fuzz_table {
    char     name[64];
    char     columns[FUZZ_COLUMNS][48];
    unsigned count;
} fuzz_table;

typedef struct fuzz_image {         /* a file: 0 as it should be, 1 without types of columns */
    unsigned char *data;
    size_t         size;
} fuzz_image;

static struct {
    fuzz_table  tables[FUZZ_TABLES];
    unsigned    tables_count;
    fuzz_image  images[FUZZ_IMAGES];
    francis_sim *sim;
    bool        alarms_only;        /* nothing but alarms, jobs, dead ones has been touched */
    bool        state_touched;
    bool        checked;            /* what counts as acknowledged */
    int64_t     count;
} rows;

static const char fuzz_database[] = "rows.db";

/* ---- actors ---- */

typedef struct fuzz_count {
    int64_t n;
} fuzz_count;

static francis_result fuzz_on_increment(francis_ctx *ctx)
{
    fuzz_count *c = (fuzz_count *)francis_state(ctx);

    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    c->n = (int64_t)((uint64_t)c->n + 1);
    return francis_reply(ctx, &c->n, sizeof c->n);
}

static francis_result fuzz_on_read(francis_ctx *ctx)
{
    const fuzz_count *c = (const fuzz_count *)francis_state(ctx);
    return c == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, &c->n, sizeof c->n);
}

/* Reads all that it is given, lest it is not there. */
static francis_result fuzz_on_due(francis_ctx *ctx)
{
    unsigned sum = 0;

    for (size_t i = 0; i < ctx->input.size; i++)
        sum += ((const unsigned char *)ctx->input.data)[i];
    fuzz_must(strlen(ctx->method) < FRANCIS_NAME_SIZE && strlen(ctx->error) < 2000);
    fuzz_must(ctx->type != NULL && ctx->id != NULL && ctx->job_id != NULL && ctx->error != NULL);
    fuzz_must((ctx->kind == FRANCIS_ALARM) == (ctx->job_id[0] == '\0'));
    return sum % 3 == 0 && sum > 0 ? francis_fail(ctx, FRANCIS_ERR_USER, "refused") : FRANCIS_OK;
}

static francis_result fuzz_on_upgrade(francis_ctx *ctx)
{
    fuzz_count *c = (fuzz_count *)francis_state(ctx);

    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (ctx->input.size >= sizeof *c)
        memcpy(c, ctx->input.data, sizeof *c);
    return FRANCIS_OK;
}

static francis_result fuzz_on_blob(francis_ctx *ctx)
{
    francis_bytes b = francis_state_get(ctx);

    return francis_reply(ctx, b.data, b.size);
}

static francis_result fuzz_on_bootstrap(francis_ctx *ctx)
{
    francis_alarm alarm;

    memset(&alarm, 0, sizeof alarm);
    alarm.name = "tick";
    alarm.repeat = "1s";
    return francis_alarm_set(ctx, &alarm, NULL);
}

static const francis_method fuzz_count_methods[] = {
    { "increment", fuzz_on_increment, FRANCIS_INVOKE, 0 },
    { "read", fuzz_on_read, FRANCIS_PEEK, 0 },
    FRANCIS_METHODS_END
};

static const francis_actor_desc fuzz_row_types[] = {
    { .type = "counter", .methods = fuzz_count_methods, .state_size = sizeof(fuzz_count),
      .alarm = fuzz_on_due, .job = fuzz_on_due, .job_failed = fuzz_on_due, .state_version = 2,
      .upgrade = fuzz_on_upgrade, .retry_delay_ms = 300 },
    { .type = "blob", .invoke = fuzz_on_blob, .peek = fuzz_on_blob, .alarm = fuzz_on_due,
      .job = fuzz_on_due, .capacity_group = "few", .capacity_max = 2 },
    { .type = "once", .singleton = true, .bootstrap = fuzz_on_bootstrap, .alarm = fuzz_on_due },
    { .type = NULL }
};

/* ---- files ---- */

static void fuzz_world_report(const char *line, void *user)
{
    (void)user;
    if (getenv("FUZZ_VERBOSE") != NULL)
        fprintf(stderr, "%s\n", line);
}

static francis_sim *fuzz_world_open(uint64_t seed)
{
    francis_sim_desc desc;
    francis_sim     *w = NULL;

    memset(&desc, 0, sizeof desc);
    desc.seed = seed;
    desc.on_report = fuzz_world_report;
    desc.verbose = getenv("FUZZ_VERBOSE") != NULL;
    fuzz_must(francis_sim_open(&w, &desc) == FRANCIS_OK);
    return w;
}

static void fuzz_world_close(francis_sim *w)
{
    bool failed = francis_sim_failed(w);

    francis_sim_close(w);
    fuzz_must(!failed);
}

static void fuzz_known(francis_result r)
{
    fuzz_must(strcmp(francis_result_name(r), "internal") != 0);
}

static void fuzz_file_put(francis_sim *w, const fuzz_image *image)
{
    frn_sim_disk *d = frn_sim_disk_at(w, 0);
    frn_sim_file *f = frn_sim_file_new(w, d, fuzz_database);

    fuzz_must(f != NULL && frn_sim_file_grow(w, f, image->size));
    frn_sim_file_resize(d, f, image->size);
    frn_sim_file_put(f, 0, image->data, image->size);
    frn_sim_file_sync(w, f, false, false);
}

static void fuzz_file_get(francis_sim *w, fuzz_image *image)
{
    const frn_sim_file *f = frn_sim_file_find(frn_sim_disk_at(w, 0), fuzz_database);

    fuzz_must(f != NULL && f->size > 0);
    image->data = (unsigned char *)malloc(f->size);
    fuzz_must(image->data != NULL);
    memcpy(image->data, f->data, f->size);
    image->size = f->size;
}

static sqlite3 *fuzz_db_open(francis_sim *w, const char *name)
{
    sqlite3 *db = NULL;

    fuzz_must(sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                              francis_sim_vfs(w, 0)) == SQLITE_OK);
    return db;
}

/* ---- the two files that all begins with ---- */

static void fuzz_image_fill(francis_ctx *ctx)
{
    static const char *const ids[] = { "a", "b" };
    francis_call  call;
    francis_alarm alarm;
    francis_job   job;

    memset(&call, 0, sizeof call);
    call.request_id = "r1";
    memset(&alarm, 0, sizeof alarm);
    memset(&job, 0, sizeof job);
    alarm.type = job.type = "counter";
    job.method = "work";
    for (int i = 0; i < 2; i++) {
        alarm.id = job.id = ids[i];
        fuzz_must(francis_invoke(ctx, "counter", ids[i], "increment", NULL, 0, &call) ==
                  FRANCIS_OK);
        alarm.name = "daily";
        alarm.repeat = "TZ=CET-1CEST,M3.5.0,M10.5.0/3 0 3 * * *";
        fuzz_must(francis_alarm_set(ctx, &alarm, NULL) == FRANCIS_OK);
        alarm.name = "soon";
        alarm.repeat = "PT1S";
        alarm.delay_ms = 1000;
        fuzz_must(francis_alarm_set(ctx, &alarm, NULL) == FRANCIS_OK);
        job.request_id = i == 0 ? NULL : "key";
        job.data = "rows";              /* its handler refuses that */
        job.size = 4;
        fuzz_must(francis_job_dispatch(ctx, &job, NULL) == FRANCIS_OK);
        job.delay_ms = 20000;
        job.request_id = "later";
        fuzz_must(francis_job_dispatch(ctx, &job, NULL) == FRANCIS_OK);
    }
    francis_call_free(&call);
}

static void fuzz_tables_read(sqlite3 *db)
{
    sqlite3_stmt *tables = NULL, *columns = NULL;

    fuzz_must(sqlite3_prepare_v2(db, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY"
                                     " name", -1, &tables, NULL) == SQLITE_OK);
    fuzz_must(sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_info(?1)", -1, &columns,
                                 NULL) == SQLITE_OK);
    while (sqlite3_step(tables) == SQLITE_ROW) {
        fuzz_table *t = &rows.tables[rows.tables_count++];
        fuzz_must(rows.tables_count <= FUZZ_TABLES);
        (void)snprintf(t->name, sizeof t->name, "%s", sqlite3_column_text(tables, 0));
        (void)sqlite3_bind_text(columns, 1, t->name, -1, SQLITE_STATIC);
        while (sqlite3_step(columns) == SQLITE_ROW) {
            fuzz_must(t->count < FUZZ_COLUMNS);
            (void)snprintf(t->columns[t->count++], sizeof t->columns[0], "%s",
                           sqlite3_column_text(columns, 0));
        }
        (void)sqlite3_reset(columns);
    }
    (void)sqlite3_finalize(tables);
    (void)sqlite3_finalize(columns);
}

/* Takes words out of the SQL of a table. */
static void fuzz_loosen(char *sql)
{
    static const char *const words[] = {
        " TEXT NOT NULL", " INTEGER NOT NULL", " BLOB NOT NULL", " TEXT", " INTEGER", " BLOB",
        " WITHOUT ROWID", ", STRICT", " STRICT"
    };

    for (size_t i = 0; i < FRN_COUNT(words); i++)
        for (char *at = sql; (at = strstr(at, words[i])) != NULL;)
            memmove(at, at + strlen(words[i]), strlen(at + strlen(words[i])) + 1);
}

/* The same tables and rows in another file, without any types. */
static void fuzz_image_loose(francis_sim *w, sqlite3 *from)
{
    sqlite3      *to = fuzz_db_open(w, "loose.db");
    sqlite3_stmt *stmt = NULL;
    char          sql[4096];

    fuzz_must(sqlite3_exec(to, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) == SQLITE_OK);
    fuzz_must(sqlite3_prepare_v2(from, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
                                       " ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1"
                                       " ELSE 2 END, rowid", -1, &stmt, NULL) == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        (void)snprintf(sql, sizeof sql, "%s", sqlite3_column_text(stmt, 0));
        fuzz_loosen(sql);
        fuzz_must(sqlite3_exec(to, sql, NULL, NULL, NULL) == SQLITE_OK);
    }
    (void)sqlite3_finalize(stmt);
    for (unsigned i = 0; i < rows.tables_count; i++) {
        sqlite3_stmt *insert = NULL;
        const fuzz_table *t = &rows.tables[i];
        int           n = snprintf(sql, sizeof sql, "INSERT INTO %s VALUES(?", t->name);
        for (unsigned c = 1; c < t->count; c++)
            n += snprintf(sql + n, sizeof sql - (size_t)n, ",?");
        (void)snprintf(sql + n, sizeof sql - (size_t)n, ")");
        fuzz_must(sqlite3_prepare_v2(to, sql, -1, &insert, NULL) == SQLITE_OK);
        (void)snprintf(sql, sizeof sql, "SELECT * FROM %s", t->name);
        fuzz_must(sqlite3_prepare_v2(from, sql, -1, &stmt, NULL) == SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            for (unsigned c = 0; c < t->count; c++)
                (void)sqlite3_bind_value(insert, (int)c + 1, sqlite3_column_value(stmt, (int)c));
            fuzz_must(sqlite3_step(insert) == SQLITE_DONE);
            (void)sqlite3_reset(insert);
        }
        (void)sqlite3_finalize(stmt);
        (void)sqlite3_finalize(insert);
    }
    fuzz_must(sqlite3_close(to) == SQLITE_OK);
}

static void fuzz_images_make(void)
{
    static francis_host_desc desc;
    francis_sim             *w;
    sqlite3                 *db;
    frn_sim_file            *f;

    if (rows.images[0].data != NULL)
        return;
    desc.database = fuzz_database;
    w = fuzz_world_open(2);     /* its host has another id */
    fuzz_must(francis_sim_host(w, 0, &desc, fuzz_row_types) == 0);
    fuzz_must(francis_sim_start(w, 0) == FRANCIS_OK);
    fuzz_image_fill(francis_sim_ctx(w, 0));
    francis_sim_run(w, 4000);       /* jobs die of it */
    francis_sim_kill(w, 0);
    francis_sim_run(w, 1);
    db = fuzz_db_open(w, fuzz_database);
    fuzz_tables_read(db);
    fuzz_image_loose(w, db);
    fuzz_must(sqlite3_close(db) == SQLITE_OK);      /* the log is in the file then */
    fuzz_file_get(w, &rows.images[0]);
    f = frn_sim_file_find(frn_sim_disk_at(w, 0), fuzz_database);
    f->name[0] = '-';
    f = frn_sim_file_find(frn_sim_disk_at(w, 0), "loose.db");
    fuzz_must(f != NULL);
    rows.images[1].size = f->size;
    rows.images[1].data = (unsigned char *)malloc(f->size);
    fuzz_must(rows.images[1].data != NULL);
    memcpy(rows.images[1].data, f->data, f->size);
    fuzz_world_close(w);
}

T_UNUSED static void fuzz_images_free(void)
{
    for (int i = 0; i < FUZZ_IMAGES; i++)
        free(rows.images[i].data);
    memset(&rows, 0, sizeof rows);
}

/* ---- what is done to one of them ---- */

static const char *fuzz_usual_text(void)
{
    static const char *const texts[] = {
        "counter", "blob", "once", "a", "b", "singleton", "x", "/key", "//x", "/", "", "alarm",
        "job", "PT1S", "P1M", "* * * * *", "TZ=UTC 0 0 29 2 *", "P1YT", "increment", "work", "soon",
        "01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-00000000000",
        "10.0.0.1:7571", "migrations-version", "ext-version", "last-cleanup", "4",
        "999999999999999999999", "-1", "r1", "nobody"
    };
    return texts[fuzz_byte() % FRN_COUNT(texts)];
}

static void fuzz_bind(sqlite3_stmt *stmt, int at)
{
    static const int64_t now_ms = INT64_C(1893456000000);
    unsigned             kind = fuzz_byte();
    size_t               size;
    const uint8_t       *data;
    double               real;
    int64_t              bits;

    switch (kind % 10) {
    case 0: (void)sqlite3_bind_null(stmt, at); break;
    case 1: (void)sqlite3_bind_int64(stmt, at, fuzz_64()); break;
    case 2: (void)sqlite3_bind_int(stmt, at, (int)fuzz_byte() - 8); break;
    case 3: (void)sqlite3_bind_int64(stmt, at, now_ms + (int64_t)fuzz_16() - 5000); break;
    case 4:
        data = fuzz_take(fuzz_byte(), &size);
        (void)sqlite3_bind_text(stmt, at, (const char *)data, (int)size, SQLITE_TRANSIENT);
        break;
    case 5:
        data = fuzz_take(fuzz_byte(), &size);
        (void)sqlite3_bind_blob(stmt, at, data, (int)size, SQLITE_TRANSIENT);
        break;
    case 6: (void)sqlite3_bind_zeroblob(stmt, at, (int)fuzz_byte() * 8000); break;
    case 7:
        bits = fuzz_64();
        memcpy(&real, &bits, sizeof real);
        (void)sqlite3_bind_double(stmt, at, real);
        break;
    default: (void)sqlite3_bind_text(stmt, at, fuzz_usual_text(), -1, SQLITE_STATIC); break;
    }
}

static const fuzz_table *fuzz_table_pick(void)
{
    const fuzz_table *t = &rows.tables[fuzz_byte() % rows.tables_count];

    if (strstr(t->name, "_alarms") == NULL && strstr(t->name, "_dead_jobs") == NULL)
        rows.alarms_only = false;
    if (strstr(t->name, "state") != NULL || strstr(t->name, "active") != NULL)
        rows.state_touched = true;
    return t;
}

static void fuzz_sql(sqlite3 *db, const char *format, ...) FRANCIS_PRINTF(2, 3);

static void fuzz_sql(sqlite3 *db, const char *format, ...)
{
    char          sql[2000];
    sqlite3_stmt *stmt = NULL;
    va_list       args;

    va_start(args, format);
    (void)vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        for (int i = 1; i <= sqlite3_bind_parameter_count(stmt); i++)
            fuzz_bind(stmt, i);
        (void)sqlite3_step(stmt);
    }
    (void)sqlite3_finalize(stmt);
}

static void fuzz_row_insert(sqlite3 *db)
{
    const fuzz_table *t = fuzz_table_pick();
    char              marks[2 * FUZZ_COLUMNS + 1] = "?";

    for (unsigned i = 1; i < t->count; i++)
        (void)snprintf(marks + strlen(marks), 3, ",?");
    fuzz_sql(db, "INSERT OR REPLACE INTO %s VALUES(%s)", t->name, marks);
}

static void fuzz_row_update(sqlite3 *db)
{
    const fuzz_table *t = fuzz_table_pick();
    const char       *column = t->columns[fuzz_byte() % t->count];

    fuzz_sql(db, "UPDATE OR IGNORE %s SET %s = ?1", t->name, column);
}

/* What tables are there, and what they do, is data of the file as well. */
static void fuzz_schema_change(sqlite3 *db)
{
    unsigned          what = fuzz_byte();
    const fuzz_table *t = fuzz_table_pick();
    const char       *column = t->columns[what / 8 % t->count];

    rows.alarms_only = false;
    rows.state_touched = true;
    switch (what % 8) {
    case 0: fuzz_sql(db, "DROP TABLE %s", t->name); break;
    case 1: fuzz_sql(db, "ALTER TABLE %s DROP COLUMN %s", t->name, column); break;
    case 2: fuzz_sql(db, "DROP INDEX %s_%s", "francis", "ext_alarms_look_idx"); break;
    case 3:
        fuzz_sql(db, "CREATE TRIGGER no BEFORE INSERT ON %s BEGIN SELECT RAISE(ABORT, 'no'); END",
                 t->name);
        break;
    case 4:
        fuzz_sql(db, "CREATE TRIGGER gone AFTER INSERT ON %s BEGIN DELETE FROM %s; END", t->name,
                 t->name);
        break;
    case 5:
        fuzz_sql(db, "CREATE TRIGGER other AFTER UPDATE ON %s BEGIN DELETE FROM %s; END", t->name,
                 rows.tables[what / 8 % rows.tables_count].name);
        break;
    case 6: fuzz_sql(db, "ALTER TABLE %s RENAME COLUMN %s TO other", t->name, column); break;
    default: fuzz_sql(db, "ALTER TABLE %s RENAME TO other", t->name); break;
    }
}

static void fuzz_bytes_change(frn_sim_file *f)
{
    size_t         at = (size_t)fuzz_byte() << 16 | fuzz_16(), size;
    const uint8_t *data = fuzz_take(1 + fuzz_byte() % 16, &size);

    rows.alarms_only = false;
    rows.state_touched = true;
    if (f->size == 0)
        return;
    at %= f->size;
    if (size > f->size - at)
        size = f->size - at;
    if (size > 0)
        memcpy(f->data + at, data, size);
}

static void fuzz_damage(francis_sim *w, unsigned count)
{
    sqlite3      *db = fuzz_db_open(w, fuzz_database);
    frn_sim_file *f;

    (void)sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    for (unsigned i = 0; i < count % 8; i++)
        switch (fuzz_byte() % 8) {
        case 0:
        case 1:
        case 2:
        case 3: fuzz_row_insert(db); break;
        case 4:
        case 5: fuzz_row_update(db); break;
        case 6: fuzz_sql(db, "DELETE FROM %s", fuzz_table_pick()->name); break;
        default: fuzz_schema_change(db); break;
        }
    (void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    fuzz_must(sqlite3_close(db) == SQLITE_OK);
    f = frn_sim_file_find(frn_sim_disk_at(w, 0), fuzz_database);
    for (unsigned i = 0; i < count / 8 % 4; i++)
        fuzz_bytes_change(f);
    if (count >= 192 && f->size > 0) {
        frn_sim_file_resize(frn_sim_disk_at(w, 0), f, (size_t)fuzz_16() * 3 % f->size);
        rows.alarms_only = false;
        rows.state_touched = true;
    }
}

/* ---- what a host does with it ---- */

static void fuzz_count_on(francis_ctx *ctx)
{
    francis_call   call;
    int64_t        value;
    francis_result r;

    memset(&call, 0, sizeof call);
    r = francis_invoke(ctx, "counter", "clean", "increment", NULL, 0, &call);
    fuzz_known(r);
    fuzz_must(!rows.alarms_only || r == FRANCIS_OK);
    if (r == FRANCIS_OK && !rows.state_touched) {
        fuzz_must(call.size == sizeof value);
        memcpy(&value, call.data, sizeof value);
        fuzz_must(!rows.checked || value == rows.count + 1);
        rows.checked = true;
        rows.count = value;
    } else if (r != FRANCIS_OK) {
        rows.checked = false;
    }
    francis_call_free(&call);
}

static void fuzz_call_all(francis_ctx *ctx)
{
    static const char *const types[] = { "counter", "blob", "once", "other" };
    static const char *const ids[] = { "a", "b", "singleton", "x" };
    francis_call             call;

    memset(&call, 0, sizeof call);
    for (size_t i = 0; i < FRN_COUNT(types); i++)
        for (size_t j = 0; j < FRN_COUNT(ids); j++) {
            call.request_id = j == 0 ? "r1" : NULL;
            fuzz_known(francis_invoke(ctx, types[i], ids[j], "increment", NULL, 0, &call));
            fuzz_known(francis_peek(ctx, types[i], ids[j], "read", NULL, 0, &call));
            fuzz_known(francis_state_read(ctx, types[i], ids[j], &call));
        }
    francis_call_free(&call);
}

/* Each item is looked at as a whole; what it names is changed. */
static void fuzz_list_item(francis_ctx *ctx, const francis_list *l)
{
    const francis_item *item = &l->item;
    francis_alarm       alarm;
    francis_list        behind;
    unsigned            sum = 0;

    for (size_t i = 0; i < item->size; i++)
        sum += ((const unsigned char *)item->data)[i];
    sum += (unsigned)(strlen(item->type) + strlen(item->id) + strlen(item->name));
    sum += (unsigned)(strlen(item->host) + strlen(item->repeat) + strlen(item->error));
    sum += (unsigned)(strlen(item->job_id) + strlen(item->request_id) + strlen(l->cursor));
    fuzz_must(item->status <= FRANCIS_STATUS_DEAD);
    memset(&behind, 0, sizeof behind);
    behind.what = l->what;
    behind.after = l->cursor;
    behind.limit = 1;
    fuzz_known(francis_list_next(ctx, &behind));
    francis_list_free(&behind);
    if (item->job_id[0] != '\0')
        fuzz_known(sum % 2 == 0 ? francis_job_cancel(ctx, item->job_id, NULL)
                                : francis_job_retry(ctx, item->job_id, NULL));
    if (l->what != FRANCIS_LIST_ALARMS)
        return;
    memset(&alarm, 0, sizeof alarm);
    alarm.type = item->type;
    alarm.id = item->id;
    alarm.name = item->name;
    alarm.delay_ms = 500;
    fuzz_known(sum % 2 == 0 ? francis_alarm_set(ctx, &alarm, NULL)
                            : francis_alarm_delete(ctx, &alarm, NULL));
}

static void fuzz_list_all(francis_ctx *ctx)
{
    francis_list   list;
    francis_result r;

    for (int what = FRANCIS_LIST_STATES; what <= FRANCIS_LIST_TYPES; what++) {
        memset(&list, 0, sizeof list);
        list.what = (francis_list_kind)what;
        list.with_data = true;
        for (int i = 0; i < FUZZ_LISTED; i++) {
            r = francis_list_next(ctx, &list);
            fuzz_known(r);
            if (r != FRANCIS_OK)
                break;
            fuzz_list_item(ctx, &list);
        }
        francis_list_free(&list);
    }
}

/* Once: whatever comes of it, the host has ended. */
static void fuzz_live(francis_sim *w, bool again)
{
    francis_result r = francis_sim_start(w, 0);

    fuzz_known(r);
    fuzz_must(!rows.alarms_only || r == FRANCIS_OK);
    if (r != FRANCIS_OK)
        return;
    fuzz_count_on(francis_sim_ctx(w, 0));
    if (!again) {
        fuzz_call_all(francis_sim_ctx(w, 0));
        francis_sim_run(w, 2500);
        fuzz_list_all(francis_sim_ctx(w, 0));
        francis_sim_run(w, 2500);
        fuzz_count_on(francis_sim_ctx(w, 0));
        fuzz_known(francis_purge(francis_sim_ctx(w, 0), "counter", "a", NULL));
        fuzz_known(francis_halt_all(francis_sim_ctx(w, 0), NULL));
    }
    francis_sim_stop(w, 0);
    fuzz_must(francis_sim_running(w, 0) == NULL);
}

static void fuzz_rows(const uint8_t *data, size_t size)
{
    francis_host_desc desc;
    francis_sim      *w;

    fuzz_images_make();
    fuzz_in.at = data;
    fuzz_in.end = data + size;
    rows.alarms_only = true;
    rows.state_touched = rows.checked = false;
    memset(&desc, 0, sizeof desc);
    desc.database = fuzz_database;
    desc.sweep_interval_ms = 2000;
    desc.timeout_ms = 3000;
    desc.log_level = FRANCIS_LOG_ERROR;
    w = fuzz_world_open(1);
    fuzz_file_put(w, &rows.images[fuzz_byte() % FUZZ_IMAGES]);
    fuzz_damage(w, fuzz_byte());
    fuzz_must(francis_sim_host(w, 0, &desc, fuzz_row_types) == 0);
    fuzz_live(w, false);
    fuzz_live(w, true);
    fuzz_world_close(w);
}

#endif
