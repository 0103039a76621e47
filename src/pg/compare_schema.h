#ifndef HF_SRC_PG_COMPARE_SCHEMA_H
#define HF_SRC_PG_COMPARE_SCHEMA_H

#include <stdbool.h>

#include "base/json.h"
#include "pg/archive.h"

/* Puts `schema` and `schema_diff` into `database`, and names of reordered tables that had no data entry to tell it into
 * `reordered`.  True unless it differs. */
bool compare_schema(json_t *database, json_t *reordered, const struct archive_digest *source, const struct archive_digest *restored);

#endif
