#ifndef HF_PG_FACTS_PARTS_H
#define HF_PG_FACTS_PARTS_H

#include "base/json.h"
#include "pg/conn.h"

/*
 * The rows of a query as an array of objects: columns become members, by their names; boolean, integer and json columns are
 * what they are, all else is text.  Text comes in the database's encoding, and what is no UTF-8 is repaired.
 */
json_t *facts_rows(struct conn *c, const char *sql, const char *const *params, struct err *e) MUST_USE;

#endif
