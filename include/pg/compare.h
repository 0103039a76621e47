#ifndef HF_PG_COMPARE_H
#define HF_PG_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "pg/archive.h"
#include "pg/target.h"

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
 * `schema` and `reordered`.  So do the same rows in another order, where both digests have row_sets, told in `row_order`.  Rights
 * and settings of the database itself are compared only where it was restored under its own name.  True when nothing differs.
 */
bool compare_digests(json_t *database, json_t *differences, const char *name, const struct archive_digest *source,
    const struct archive_digest *restored);

/* R36: both as facts_objects gives them.  Puts `objects` into `database`; true when all counts are equal. */
bool compare_objects(json_t *database, const json_t *source, const json_t *restored);

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
