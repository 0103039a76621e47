#ifndef HF_PG_QUOTE_H
#define HF_PG_QUOTE_H

#include "base/bytes.h"

/*
 * Names as SQL wants them.  A name that is lower-case, starts with a letter and is no reserved word stays bare; any other
 * is put in double quotes.  The same name always gives the same text, so that it serves as a key too.
 */
void quote_ident(struct buf *to, const char *name);

/* "schema.name"; owned by the caller.  `schema` NULL or "": the name alone. */
char *quote_name(const char *schema, const char *name);

/* Always in quotes: as a pattern of pg_dump (-t, --exclude-table-data) it matches this very table and no other. */
char *quote_pattern(const char *schema, const char *name);

/* 'text', as a literal that does not depend on standard_conforming_strings. */
void quote_literal(struct buf *to, const char *text);

#endif
