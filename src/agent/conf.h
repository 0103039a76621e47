#ifndef HF_AGENT_CONF_H
#define HF_AGENT_CONF_H

#include <stddef.h>

#include "base/err.h"
#include "base/json.h"
#include "ops/settings.h"

/*
 * The configuration: built-in defaults, then a libconfig file, then environment variables, each over the one before.  Every
 * value passes through one table of keys (conf_keys.c), which knows its type, range, default and meaning; what the table does
 * not know is an error, never ignored (R11).  Secrets are named by files and never stand in it.
 *
 * All that is wrong is found in one go: each problem is an err of kind ERR_USAGE that begins with where it stands
 * ("\"/etc/holdfast/holdfast.cfg\" line 12: backup.level: ..." or "HOLDFAST_BACKUP_LEVEL: ...").
 */
#define CONF_DEFAULT_PATH "/etc/holdfast/holdfast.cfg"

struct conf;

/*
 * `path` NULL: what HOLDFAST_CONFIG names, else CONF_DEFAULT_PATH, which alone may be missing, so that a container can do with
 * environment variables.  `env` is a NULL-terminated environment.  Gives a conf in any case; -1 with the first problem in `e`
 * when it cannot be used.
 */
int conf_load(struct conf **c, const char *path, char *const *env, struct err *e) MUST_USE;

/* The same for text in memory, called `path` in messages; @include is refused. */
int conf_load_text(struct conf **c, const char *text, size_t bytes, const char *path, char *const *env, struct err *e) MUST_USE;

/* What the command line says of how to open the repository: a key file or a passphrase file, at most one of them, takes the
 * place of what both keys had.  Borrows the strings; both NULL changes nothing. */
void conf_open_with(struct conf *c, const char *key_file, const char *passphrase_file);

/* Valid until conf_free; only after a successful load. */
const struct settings *conf_settings(const struct conf *c);

/* Problem number `i`, or NULL after the last one. */
const struct err *conf_problem(const struct conf *c, size_t i);

/* Every key in the order of the table: an array of `key`, `value`, `from` (`default`, `file`, `environment`, `option`), `where`
 * ("<file>:<line>", the name of the variable or option, or null), `type`, `range`, `default`, `meaning`. */
json_t *conf_effective(const struct conf *c);

void conf_free(struct conf *c);                 /* NULL is nothing */

#endif
