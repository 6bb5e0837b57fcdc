/* Witnesses in the file itself: triggers that look at each state when it is written. It has to be
 * signed by the life of a host that has the actor and stands, at that very moment; and it must not
 * be older than what it replaces. */
#ifndef WITNESS_H
#define WITNESS_H

#include "world.h"

static sqlite3 *file_open(campaign *c)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2("world.db", &db, SQLITE_OPEN_READWRITE, francis_sim_vfs(c->sim, 0)) !=
        SQLITE_OK)
        francis_sim_fail(c->sim, "the file cannot be opened");
    return db;
}

static void witness_begin(campaign *c)
{
    static const char *const sql[] = {
        "CREATE TABLE sim_witness(what TEXT)",
        "CREATE TRIGGER sim_insert AFTER INSERT ON francis_actor_state BEGIN INSERT INTO"
        " sim_witness SELECT NEW.actor_type || '/' || NEW.actor_id || ' is written by a host that"
        " does not have it' WHERE NOT EXISTS(SELECT 1 FROM francis_active_actors a JOIN"
        " francis_ext_hosts e ON e.host_id = a.host_id WHERE a.actor_type = NEW.actor_type"
        " AND a.actor_id = NEW.actor_id AND e.evicted = 0"
        " AND a.host_id = CAST(substr(NEW.actor_state_data, 1, 36) AS TEXT)); END",
        "CREATE TRIGGER sim_update AFTER UPDATE ON francis_actor_state BEGIN INSERT INTO"
        " sim_witness SELECT NEW.actor_type || '/' || NEW.actor_id || ' is written by a host that"
        " does not have it' WHERE NOT EXISTS(SELECT 1 FROM francis_active_actors a JOIN"
        " francis_ext_hosts e ON e.host_id = a.host_id WHERE a.actor_type = NEW.actor_type"
        " AND a.actor_id = NEW.actor_id AND e.evicted = 0"
        " AND a.host_id = CAST(substr(NEW.actor_state_data, 1, 36) AS TEXT));"
        " INSERT INTO sim_witness SELECT NEW.actor_type || '/' || NEW.actor_id || ' goes back'"
        " WHERE substr(NEW.actor_state_data, 41, 20) <= substr(OLD.actor_state_data, 41, 20); END",
    };
    sqlite3 *db = file_open(c);
    for (size_t i = 0; i < sizeof sql / sizeof sql[0]; i++)
        if (sqlite3_exec(db, sql[i], NULL, NULL, NULL) != SQLITE_OK)
            francis_sim_fail(c->sim, "no witness: %s", sqlite3_errmsg(db));
    (void)sqlite3_close(db);
}

static void witness_end(campaign *c, sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, "SELECT what FROM sim_witness", -1, &stmt, NULL) != SQLITE_OK)
        francis_sim_fail(c->sim, "the witness is gone: %s", sqlite3_errmsg(db));
    else if (sqlite3_step(stmt) == SQLITE_ROW)
        francis_sim_fail(c->sim, "%s", (const char *)sqlite3_column_text(stmt, 0));
    (void)sqlite3_finalize(stmt);
}

#endif
