#ifndef HF_PG_FACTS_H
#define HF_PG_FACTS_H

#include "base/err.h"
#include "base/json.h"
#include "pg/conn.h"

/*
 * What is known of a server and of a database, as JSON for the manifest and for reports (R32 to R36, R40).  Works on
 * PostgreSQL 13 to 18; what a version does not have is left out or null.
 *
 * facts_cluster: `system_identifier`, `server_version`, `server_version_num`, `in_recovery`, `timeline`, `data_checksums`,
 * `wal_segment_bytes`, `role`, `role_superuser`, `role_bypassrls`, `can_read_passwords`, `settings` (object, those that change the
 * text of a dump or the meaning of one), `tablespaces`, `databases` (array of `name`, `owner`, `encoding`, `collate`, `ctype`, `provider`,
 * `icu_locale`, `icu_rules`, `collation_version`, `collation_version_now`, `allow_connections`, `template`, `connection_limit`,
 * `tablespace`, `acl`, `settings` (ALTER DATABASE SET and ALTER ROLE IN DATABASE SET, each with `role`), `bytes`, `comment`).
 */
json_t *facts_cluster(struct conn *c, struct err *e) MUST_USE;

/*
 * Of the database that `c` is connected to (the leader of a dump, so that it is the snapshot's truth): `name`,
 * `extensions` (array of `name`, `version`, `schema`), `objects` (facts_objects), `unlogged_tables`, `large_objects`,
 * `foreign_tables`, `row_security` (tables whose rows our role might not see, R36), `collations` (those whose version is not the one
 * recorded), `largest_tables` (array of `name`, `bytes`, `estimated_rows`),
 * `prisma_migration` (null, or object of `name`, `started`, `finished`, `migrations`), `bytes`.
 */
json_t *facts_database(struct conn *c, struct err *e) MUST_USE;

/* Objects by class, { "table": 12, "index": 30, ... }, members of extensions and system objects left out: the same query
 * on a source and on what was restored from it gives the same numbers (R36). */
json_t *facts_objects(struct conn *c, struct err *e) MUST_USE;

/* Names of the databases that accept connections, templates excepted: an array of strings. */
json_t *facts_databases(struct conn *c, struct err *e) MUST_USE;

#endif
