#ifndef HF_BASE_JSON_H
#define HF_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

/*
 * JSON by jansson, with our errors.  This header is the only one that includes jansson's; a json_t may pass through any room.
 *
 * Text from outside is not always UTF-8 (a database can be SQL_ASCII), and jansson refuses what is not: json_put_str
 * replaces each wrong byte by U+FFFD, so that a report is never lost to a strange name.
 */

/* Parses one value of at most `depth`-limited JSON, nothing after it.  NULL with ERR_CORRUPT, `what` names the text. */
json_t *json_parse(const void *text, size_t bytes, const char *what, struct err *e) MUST_USE;

/* The text of a value, keys sorted; flags as JSON_COMPACT or JSON_INDENT(2).  Owned by the caller. */
char *json_text(const json_t *value, size_t flags);

/* Sets a member; numbers above INT64_MAX do not occur. */
void json_put_str(json_t *object, const char *key, const char *value);          /* NULL writes null */
void json_put_int(json_t *object, const char *key, int64_t value);
void json_put_bool(json_t *object, const char *key, bool value);
void json_put(json_t *object, const char *key, json_t *value);                  /* takes `value` */
void json_add(json_t *array, json_t *value);                                    /* takes `value` */
json_t *json_str(const char *value);                                            /* repaired UTF-8 */

/*
 * The name of a table as text, for what is looked up or compared by it: two names never become one.  UTF-8 stays as it is; a byte
 * that is none (the database may have any encoding) is written \xNN, in upper case, and a backslash before what would read as such
 * is written \x5C.  Owned by the caller.
 */
char *json_name(const char *name);

/*
 * Typed reading of members.  A member that is missing or of another type is ERR_CORRUPT with its name, in `e`, and gives ""
 * or 0 or NULL.  The first error stays, so that a reader asks for all members and looks at e->kind once.  The strings are
 * borrowed from the object.
 */
const char *json_need_str(const json_t *object, const char *key, struct err *e);
int64_t json_need_int(const json_t *object, const char *key, int64_t low, int64_t high, struct err *e);
json_t *json_need_array(const json_t *object, const char *key, struct err *e);

/* The string, or `otherwise` when it is missing or null. */
const char *json_opt_str(const json_t *object, const char *key, const char *otherwise);
int64_t json_opt_int(const json_t *object, const char *key, int64_t otherwise);

#endif
