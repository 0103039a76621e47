#ifndef HF_PG_COMPARE_H
#define HF_PG_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "pg/archive.h"
#include "pg/target.h"
#include "pg/tools.h"

/*
 * Whether what came back is what was dumped.  The source's side is read from its archives as they are restored, the other side
 * from a dump of the restored database by the same code, given the source's column orders (archive_columns).  A difference is a
 * result, not an error: the functions fail only when they could not look.  JSON is in the shapes of docs/outcomes.md, "drill".
 */

/* The column orders of the source's tables, for the reader of the second dump. */
struct archive_columns *compare_columns(const struct archive_digest *source);

/*
 * Fills `database` (an object: `name`, `entries`, `equal`, `rows`, `bytes`, `schema`, `schema_diff`, `reordered`) and adds to
 * `differences`.  Inherited tables come back with their columns in another physical order; that counts as equal, and is told in
 * `schema` and `reordered`.  So do the same rows in another order, where both sides have their row set, told in `row_order`.  Rights
 * and settings of the database itself are compared only where it was restored under its own name.  True when nothing differs.
 */
bool compare_digests(json_t *database, json_t *differences, const char *name, const struct archive_digest *source,
    const struct archive_digest *restored);

/*
 * Row sets cost time, and are seldom needed.  compare_unclear gives the names of tables with as many rows and bytes on both sides, another
 * digest, and no row set on one of them: for these the caller reads both sides again with row sets, and compare_settle puts what was
 * found into the first digests.  NULL-terminated, the names borrowed from `source`; NULL when there is none.
 */
const char **compare_unclear(const struct archive_digest *source, const struct archive_digest *restored);
void compare_settle(struct archive_digest *to, const struct archive_digest *again);

/* R36: both as facts_objects gives them.  Puts `objects` into `database`; true when all counts are equal. */
bool compare_objects(json_t *database, const json_t *source, const json_t *restored);

/*
 * R32: roles, memberships, settings of roles, tablespaces: the backup's globals (`source`, the text of pg_dumpall) against a dump of the
 * target's by the same code, statement by statement, whatever their order.  Puts `statements` and `equal` into `globals`; what is
 * missing, extra or of other content becomes an entry of `differences` without a database, by name and without its text.  What differs by
 * rule is left out and told in `not_covered`: the target's own superuser, where tablespaces lie.  For a throw-away cluster.
 */
int compare_globals(json_t *globals, json_t *differences, json_t *not_covered, const struct pg_target *target, const struct tools *tools,
    const void *source, size_t bytes, int64_t idle_timeout_ms, struct err *e) MUST_USE;

/*
 * R35: each sequence that a column owns has reached that column's largest value; if not, the next insert fails.  The dump holds the
 * source's own value, so a sequence that is behind was so before: it becomes a sentence in `warnings`, no difference.
 */
int compare_sequences(const struct pg_target *target, const char *dbname, json_t *warnings, struct err *e) MUST_USE;

/*
 * amcheck over every valid B-tree index, each row of its table looked for in it, `jobs` indexes at a time.  Adds to `result`, the
 * drill's `amcheck`: `ran`, `indexes`, `problems`, `why_not`; may be called for several databases.  Installs the extension in the
 * restored database: call it after the second dump.
 */
int compare_amcheck(const struct pg_target *target, const char *dbname, unsigned jobs, json_t *result, struct err *e) MUST_USE;

/*
 * A check that the operator configured: one statement, read-only, whose single value must be `expect` (NULL: anything but null and
 * false).  Gives an object for `checks`; a statement that fails is a check that is not ok, with the server's words as value.
 * NULL when the connection was lost.
 */
json_t *compare_check(const struct pg_target *target, const char *dbname, const char *name, const char *sql, const char *expect,
    int64_t timeout_ms, struct err *e) MUST_USE;

#endif
