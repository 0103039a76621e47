#ifndef HF_OPS_OPS_H
#define HF_OPS_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/sink.h"
#include "ops/settings.h"

/*
 * One function for each thing that an operator can ask for.  Each returns 0 or -1, and gives its result as an outcome: a
 * JSON object whose members docs/outcomes.md lists, the same that --json prints, that reports are made of, and that is
 * stored in the repository.  An outcome may be given beside an error (a drill that ran and proved nothing has both).
 * *outcome is owned by the caller, NULL when there is none.
 *
 * "Warnings" in an outcome (an array of strings, not empty) make exit code 3 of an otherwise good run.
 */
struct ops {
	const struct settings *settings;
	struct progress *progress;      /* never NULL; shows nothing when it was made silent */
};

/* `passphrase_file` or NULL; `recovery_out` NULL keeps both roles in one key file. */
struct init_request {
	const char *holder;             /* name of the first holder ["recovery"] */
	const char *key_out;            /* file for the key of a holder with both roles; must not exist */
	const char *agent_key_out;      /* file for an agent-only key; NULL: none is made */
	const char *passphrase_file;    /* additional passphrase holder; NULL: none */
	bool accept_single_key;         /* R50: one holder only, knowingly */
};
int ops_init(const struct ops *o, const struct init_request *r, json_t **outcome, struct err *e) MUST_USE;

/* `what`: list, add, identity, rotate, remove. */
struct keys_request {
	enum { KEYS_LIST, KEYS_ADD, KEYS_IDENTITY, KEYS_ROTATE, KEYS_REMOVE } what;
	const char *holder;             /* name (add, identity) or id (remove) */
	const char *public_key;         /* add: X25519 public key, as `keys identity` prints it */
	const char *passphrase_file;    /* add: a passphrase instead */
	bool agent_only;                /* add: may back up, list and expire, and cannot read */
	const char *key_out;            /* identity: file for the new private key */
	bool yes;                       /* remove: the last recovery holder too */
};
int ops_keys(const struct ops *o, const struct keys_request *r, json_t **outcome, struct err *e) MUST_USE;

struct backup_request {
	const char *const *databases;   /* NULL: as configured */
	const char *label;              /* free text, kept in the manifest; NULL: none */
	bool hold;                      /* never expire (legal hold) */
};
int ops_backup(const struct ops *o, const struct backup_request *r, json_t **outcome, struct err *e) MUST_USE;

/* A backup is named by its id, a unique beginning of it (4 characters at least), or "latest". */
int ops_list(const struct ops *o, const char *database, json_t **outcome, struct err *e) MUST_USE;
int ops_show(const struct ops *o, const char *backup, const char *compare_with, json_t **outcome, struct err *e) MUST_USE;
int ops_hold(const struct ops *o, const char *backup, bool hold, json_t **outcome, struct err *e) MUST_USE;

struct restore_request {
	const char *backup;             /* as above */
	const char *database;           /* which database of the backup; NULL when it holds one only */
	struct pg_target target;        /* the server to restore to */
	const char *into;               /* new database [<database>_<backup time>], or an existing empty one when `existing` */
	bool existing;
	const char *const *tables;      /* "schema.table" patterns; NULL: everything */
	const char *const *schemas;
	bool globals;                   /* roles and tablespaces first */
	const char *system_id;          /* R3: the operator names the source's system identifier to restore to the source server */
	unsigned jobs;
};
int ops_restore(const struct ops *o, const struct restore_request *r, json_t **outcome, struct err *e) MUST_USE;

/* Writes one stream as it was dumped; `stream` by its name as `show` lists it.  Finishes `out`, only when every byte was right. */
int ops_cat(const struct ops *o, const char *backup, const char *stream, struct sink *out, struct err *e) MUST_USE;

int ops_drill(const struct ops *o, const char *backup, json_t **outcome, struct err *e) MUST_USE;

struct verify_request {
	bool data;                      /* read, open and check every chunk, not the structure alone */
	bool rebuild_index;             /* write the index anew from the packs' own directories */
};
int ops_verify(const struct ops *o, const struct verify_request *r, json_t **outcome, struct err *e) MUST_USE;

int ops_check(const struct ops *o, json_t **outcome, struct err *e) MUST_USE;
int ops_expire(const struct ops *o, bool plan_only, json_t **outcome, struct err *e) MUST_USE;

/* The newest stored drill report (backup NULL or "latest"), or the newest of one backup, with the history that its charts need: what
 * the report room's renderers take. */
int ops_report(const struct ops *o, const char *backup, json_t **outcome, struct err *e) MUST_USE;

#endif
