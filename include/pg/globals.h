#ifndef HF_PG_GLOBALS_H
#define HF_PG_GLOBALS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/json.h"
#include "pg/target.h"

/*
 * Roles, memberships and tablespaces come as the plain SQL of pg_dumpall.  It is never fed to psql, which takes commands of its
 * own from it (R43): it is cut into statements here, and each goes to the server by itself, where a backslash is
 * nothing but a syntax error.
 */
struct globals_list {
	char **statements;              /* without comments and without the ';' */
	size_t n;
};

#define GLOBALS_LIST_INIT { .statements = NULL, .n = 0 }

/* ERR_CORRUPT for a backslash command (but \restrict and \unrestrict, which guard psql and are left out), an open quote or
 * comment at the end, a 0 byte. */
int globals_split(struct globals_list *out, const void *text, size_t bytes, struct err *e) MUST_USE;
void globals_list_free(struct globals_list *l);         /* and empties it */

/* The name at the beginning of `text`, unquoted, owned by the caller; *after is behind it. */
char *globals_name(const char *text, const char **after);

/*
 * Runs them.  A role that was there before is left as it is, and so is the one that we connect as: it gets no membership, setting or comment
 * either (the one that we connect as does on a throw-away cluster); on a throw-away cluster tablespaces are
 * made inside its own folder, elsewhere they are left out.  A statement that fails does not end the restore: each
 * deviation becomes a sentence in `notes` (an array), which never holds a password.  Fails when the text is not to be trusted or
 * the connection is lost.
 */
int globals_restore(const struct pg_target *target, const void *text, size_t bytes, bool throw_away, json_t *notes, struct err *e)
    MUST_USE;

#endif
