/* The layouts of the read models' files. */
#include "catalog_file.h"

/* key: of the bucket.  record: as stored, JSON.  revision: of a head, for compare-and-set.  owners: how many functions each has. */
static const char functions[] =
    "CREATE TABLE functions (key TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL,"
    "    name TEXT NOT NULL, record TEXT NOT NULL, revision INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX functions_by_name ON functions (tenant, name);"
    "CREATE TABLE owners (tenant TEXT NOT NULL PRIMARY KEY, functions INTEGER NOT NULL);"
    "CREATE TRIGGER function_added AFTER INSERT ON functions BEGIN"
    "    INSERT INTO owners VALUES (new.tenant, 1)"
    "        ON CONFLICT (tenant) DO UPDATE SET functions = functions + 1;"
    "END;"
    "CREATE TRIGGER function_removed AFTER DELETE ON functions BEGIN"
    "    UPDATE owners SET functions = functions - 1 WHERE tenant = old.tenant;"
    "    DELETE FROM owners WHERE tenant = old.tenant AND functions = 0;"
    "END;"
    "CREATE TABLE versions (key TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL,"
    "    id TEXT NOT NULL, version INTEGER NOT NULL, record TEXT NOT NULL);"
    "CREATE UNIQUE INDEX versions_by_number ON versions (tenant, id, version);"
    "CREATE TABLE feed (bucket TEXT NOT NULL PRIMARY KEY, applied INTEGER NOT NULL);"
    "INSERT INTO feed VALUES ('functions', 0);";
const struct catalog_layout catalog_functions = {
    .version = "4", .schema = functions, .writer = "", .is_read_whole = true};

/* n: in order of arrival.  tenant, id: the bytes of the UUIDs, so that ids sort by time.  ord: of
 * the note that record was made of (PROTOCOL.md section 8).  record: JSON, without the log.
 * log: base64.  owners, sums: how many there are, kept by triggers. */
static const char calls[] =
    "CREATE TABLE calls (n INTEGER PRIMARY KEY, tenant BLOB NOT NULL, id BLOB NOT NULL,"
    "    function TEXT NOT NULL, status TEXT NOT NULL, ord INTEGER NOT NULL, record TEXT NOT NULL);"
    "CREATE UNIQUE INDEX calls_by_id ON calls (tenant, id);"
    "CREATE INDEX calls_by_function ON calls (tenant, function, id);"
    "CREATE INDEX calls_by_status ON calls (tenant, status, id);"
    "CREATE INDEX calls_by_both ON calls (tenant, function, status, id);"
    "CREATE INDEX calls_open ON calls (n) WHERE status IN ('queued', 'running');"
    "CREATE TABLE logs (n INTEGER PRIMARY KEY, log TEXT NOT NULL);"
    "CREATE TABLE owners (tenant BLOB NOT NULL PRIMARY KEY, calls INTEGER NOT NULL);"
    "CREATE INDEX owners_by_calls ON owners (calls);"
    "CREATE TABLE sums (calls INTEGER NOT NULL, log_bytes INTEGER NOT NULL);"
    "INSERT INTO sums VALUES (0, 0);"
    "CREATE TRIGGER call_added AFTER INSERT ON calls BEGIN"
    "    UPDATE sums SET calls = calls + 1;"
    "    INSERT INTO owners VALUES (new.tenant, 1)"
    "        ON CONFLICT (tenant) DO UPDATE SET calls = calls + 1;"
    "END;"
    "CREATE TRIGGER call_removed AFTER DELETE ON calls BEGIN"
    "    UPDATE sums SET calls = calls - 1;"
    "    UPDATE owners SET calls = calls - 1 WHERE tenant = old.tenant;"
    "    DELETE FROM owners WHERE tenant = old.tenant AND calls = 0;"
    "    DELETE FROM logs WHERE n = old.n;"
    "END;"
    "CREATE TRIGGER log_added AFTER INSERT ON logs BEGIN"
    "    UPDATE sums SET log_bytes = log_bytes + length(new.log);"
    "END;"
    "CREATE TRIGGER log_removed AFTER DELETE ON logs BEGIN"
    "    UPDATE sums SET log_bytes = log_bytes - length(old.log);"
    "END;"
    "CREATE TABLE feed (bucket TEXT NOT NULL PRIMARY KEY, applied INTEGER NOT NULL);"
    "INSERT INTO feed VALUES ('records', 0);";

/* A record touches a page of each index, the newest ones of each user and function: these should stay
 * in memory, and be written to the file once for many records. */
const struct catalog_layout catalog_calls = {
    .version = "1",
    .schema = calls,
    .writer = "PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 8000;"};
