#ifndef HF_PG_CHILDENV_H
#define HF_PG_CHILDENV_H

#include "base/err.h"
#include "pg/target.h"

/*
 * The whole environment of a pg_dump, pg_dumpall or pg_restore that connects to `target`: built from nothing, never
 * inherited (R49).  A password lives in memory that only the child is given (a memfd that PGPASSFILE names): not in the
 * environment, not on a disk, not in argv.
 *
 *	spec.env = childenv_list(env); spec.prepare = childenv_prepare; spec.prepare_ctx = env;
 *
 * Without that `prepare` the child has no password.  Where the target has a cage (R46) it enters that first, and all names here are
 * those from inside: start and wait in one thread.
 */
struct childenv;

/* `dbname` NULL: none is set.  `options` is PGOPTIONS ("-c lock_timeout=0"), NULL none. */
struct childenv *childenv_new(const struct pg_target *target, const char *dbname, const char *options, struct err *e) MUST_USE;

/* Adds or replaces one more variable. */
void childenv_set(struct childenv *env, const char *name, const char *value);

const char *const *childenv_list(const struct childenv *env);   /* valid until the next childenv_set and the free */
int childenv_prepare(void *env);                                /* for struct child_spec */
void childenv_free(struct childenv *env);                       /* NULL is nothing */

#endif
