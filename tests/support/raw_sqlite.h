/* Looking at a database behind the library's back, with plain SQLite and its default VFS. */
#ifndef RAW_SQLITE_H
#define RAW_SQLITE_H

#include "t.h"

#include <sqlite3.h>

#define RAW_NONE INT64_MIN          /* no row, or NULL */

T_UNUSED static sqlite3 *raw_open(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        fail_msg("%s: %s", path, db != NULL ? sqlite3_errmsg(db) : "no memory");
    (void)sqlite3_busy_timeout(db, 10000);
    return db;
}

/* The test fails if the statements fail. */
T_UNUSED static void raw_exec(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error != NULL ? error : sqlite3_errmsg(db));
}

/* The first column of the first row. Names in the SQL may be bound as ?1 and ?2. */
T_UNUSED static int64_t raw_int(sqlite3 *db, const char *sql, const char *a, const char *b)
{
    sqlite3_stmt *s = NULL;
    int64_t       value = RAW_NONE;
    int           rc;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    if (a != NULL)
        (void)sqlite3_bind_text(s, 1, a, -1, SQLITE_STATIC);
    if (b != NULL)
        (void)sqlite3_bind_text(s, 2, b, -1, SQLITE_STATIC);
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL)
        value = sqlite3_column_int64(s, 0);
    else if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    (void)sqlite3_finalize(s);
    return value;
}

/* The first column of the first row, or false. */
T_UNUSED static bool raw_text(sqlite3 *db, const char *sql, char *text, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    bool          found;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    found = sqlite3_step(stmt) == SQLITE_ROW;
    if (found)
        (void)snprintf(text, size, "%s", (const char *)sqlite3_column_text(stmt, 0));
    (void)sqlite3_finalize(stmt);
    return found;
}

T_UNUSED static bool raw_table(sqlite3 *db, const char *name)
{
    return raw_int(db, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1", name,
                   NULL) == 1;
}

/* The stored state of an actor as a struct; false if there is none. Shorter states are padded with
 * zeroes. */
T_UNUSED static bool raw_state(sqlite3 *db, const char *type, const char *id, void *data,
                               size_t size)
{
    sqlite3_stmt *s = NULL;
    bool          found = false;
    (void)memset(data, 0, size);
    if (sqlite3_prepare_v2(db,
                           "SELECT actor_state_data FROM francis_actor_state"
                           " WHERE actor_type = ?1 AND actor_id = ?2",
                           -1, &s, NULL) != SQLITE_OK)
        fail_msg("francis_actor_state: %s", sqlite3_errmsg(db));
    (void)sqlite3_bind_text(s, 1, type, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(s, 2, id, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW) {
        size_t stored = (size_t)sqlite3_column_bytes(s, 0);
        if (stored > 0)
            (void)memcpy(data, sqlite3_column_blob(s, 0), stored < size ? stored : size);
        found = true;
    }
    (void)sqlite3_finalize(s);
    return found;
}

/* The test fails unless PRAGMA integrity_check says ok. */
T_UNUSED static void raw_check(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        fail_msg("integrity_check: %s", sqlite3_errmsg(db));
    if (strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
        fail_msg("integrity_check: %s", (const char *)sqlite3_column_text(s, 0));
    (void)sqlite3_finalize(s);
}

T_UNUSED static int64_t raw_file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* PATH + SUFFIX in a buffer of the caller's. */
T_UNUSED static const char *raw_beside(char buffer[600], const char *path, const char *suffix)
{
    (void)snprintf(buffer, 600, "%s%s", path, suffix);
    return buffer;
}

T_UNUSED static void raw_remove(const char *path)
{
    char other[600];
    (void)unlink(path);
    (void)unlink(raw_beside(other, path, "-wal"));
    (void)unlink(raw_beside(other, path, "-shm"));
    (void)unlink(raw_beside(other, path, "-journal"));
}

/* Whether the programs run under a sanitizer or another thing that makes them slow. */
T_UNUSED static bool t_slow(void)
{
    const char *slow = getenv("T_SLOW");
    return slow != NULL && slow[0] == '1';
}

#endif
