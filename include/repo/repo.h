#ifndef HF_REPO_REPO_H
#define HF_REPO_REPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/sink.h"
#include "repo/keys.h"
#include "store/store.h"

/*
 * A repository: named streams go in, backups come out.  Nobody above knows of chunks, packs, keys or threads.
 * docs/repository-format.md says what lies in the store.
 *
 * Writing: repo_begin, then any number of streams (several at once, each in its own thread) with repo_write, then
 * repo_commit, which is the only moment at which a backup comes to exist; repo_abandon at any time before leaves objects
 * that nothing refers to and that the next run finds again.
 *
 * Reading: repo_load gives a backup's manifest, repo_read one of its streams; every byte is authenticated, identified and
 * counted before the sink's finish is called.
 */
struct repo;

struct repo_options {
	const char *cache_dir;          /* a folder of the repository's own is made in it; NULL: no cache */
	const char *key_file;           /* either this ... */
	const char *passphrase_file;    /* ... or this */
	unsigned workers;               /* threads that hash, compress and seal; 0: as many as processors */
	int level;                      /* zstd level; 0: 3 */
};

/*
 * Makes a repository: its secrets, wrapped for `first` (a recovery holder) and, where not NULL, for an agent and a
 * passphrase; `format` is written last.  Before that `keep` is called, with the pins of both identities filled in: it writes their
 * key files, so that no repository comes to exist that nobody can open.  When it fails, what was put is taken away again.
 * ERR_EXISTS where anything of a repository lies in the store.  `uuid` gets the repository's id.
 */
int repo_create(struct store *s, struct identity *first, struct identity *agent, const char *passphrase, int (*keep)(void *ctx, struct err *e),
    void *ctx, char uuid[37], struct err *e) MUST_USE;

/* Opens; borrows the store.  ERR_NOT_FOUND: no repository there.  ERR_KEY: this key is not a holder's. */
struct repo *repo_open(struct store *s, const struct repo_options *o, struct err *e) MUST_USE;
void repo_free(struct repo *r);         /* NULL is nothing */

const char *repo_uuid(const struct repo *r);
const char *repo_label(const struct repo *r);           /* the store's */
const char *repo_holder_name(const struct repo *r);      /* as the repository calls it, whatever its key file says */
void repo_pin(const struct repo *r, char hex[65]);      /* what a key file's member "pin" must be to know this repository again */
bool repo_can_read(const struct repo *r);               /* a recovery holder opened it */
bool repo_pin_known(const struct repo *r);              /* the key file carries a pin */

/* Totals of the index, and how many of its chunks came from the local cache's map. */
struct repo_totals {
	uint64_t packs, chunks, stored_bytes, index_objects;
	bool mapped;
};
int repo_totals(struct repo *r, struct repo_totals *t, struct err *e) MUST_USE;

/* ---- writing ---- */

struct repo_run;

/* Writes the run's marker, loads the index, takes up what killed runs left behind. `command` is for the marker. */
struct repo_run *repo_begin(struct repo *r, const char *command, struct err *e) MUST_USE;

/*
 * A stream of the backup.  `kind` is "dump" or "sql"; `database` may be NULL.  Its finish completes the stream within the run;
 * free without finish makes the run unfit for commit, unless the stream is begun anew.  A name that was written before is
 * begun anew: what it held is forgotten (and its chunks are known).
 */
struct sink *repo_write(struct repo_run *run, const char *name, const char *kind, const char *database);

/* Forgets all streams of a database, before another try at it: not every stream of the first is one of the second. */
void repo_forget(struct repo_run *run, const char *database);

/* What a run did so far; safe from any thread. */
struct repo_stats {
	uint64_t bytes;                 /* plain bytes of the streams that are complete, as the manifest will count them: nothing that was forgotten */
	uint64_t new_bytes;             /* plain bytes that were not in the repository before, those of forgotten streams with them */
	uint64_t stored_bytes;          /* packs put, this run, with their directories */
	uint64_t packs, resumed_packs;
};
void repo_run_stats(struct repo_run *run, struct repo_stats *st);

/* Called by the workers with each chunk that is dealt with: its plain bytes, and how many of those were known. */
void repo_run_watch(struct repo_run *run, void (*seen)(void *ctx, uint64_t bytes, uint64_t known), void *ctx);

/*
 * Makes everything durable, then writes the manifest.  Takes (and completes) `summary` and `detail` as
 * docs/repository-format.md, section 8, says: id, previous, known, bytes, new_bytes, stored_bytes, streams are filled in here.
 * Always ends the run, which is freed.  `id` gets the backup's id.
 */
int repo_commit(struct repo_run *run, json_t *summary, json_t *detail, char id[33], struct err *e) MUST_USE;
void repo_abandon(struct repo_run *run);                /* NULL is nothing */

/* ---- reading ---- */

/* The summaries of all backups, newest first; `backups` is owned by the caller.  The order is that of the snapshots' times, except that
 * a backup always comes after its `previous`, so that a clock that was set back changes nothing (R22); `order_time` is put into each.  An object that
 * cannot be read is an error that names it: a list that silently lacks a backup would be a lie. */
int repo_list(struct repo *r, json_t **backups, struct err *e) MUST_USE;

/* The same, but an object that is damaged is warned of and left out: for who wants one of the others, or adds to them. */
int repo_list_readable(struct repo *r, json_t **backups, struct err *e) MUST_USE;

/* Resolves an id, a unique beginning of at least 4 digits, or "latest" to an id.  ERR_NOT_FOUND, or ERR_USAGE for an ambiguous one. */
int repo_resolve(struct repo *r, const char *name, char id[33], struct err *e) MUST_USE;

/* Both sections of a manifest, checked for shape. */
int repo_load(struct repo *r, const char id[33], json_t **summary, json_t **detail, struct err *e) MUST_USE;

/*
 * Reads one stream (an element of detail's "streams") into `to` (borrowed).  Chunks are fetched several at a time, opened,
 * unpacked and compared with their ids; count and SHA-256 of the whole with the manifest.  Only then is `to` finished.
 * ERR_KEY for an agent.
 */
int repo_read(struct repo *r, const json_t *stream, struct sink *to, struct err *e) MUST_USE;

/* ---- legal hold ---- */

/* Puts a backup on hold, or takes all its holds away.  While it is on hold nothing lets it expire. */
int repo_hold(struct repo *r, const char id[33], const char *by, struct err *e) MUST_USE;
int repo_release(struct repo *r, const char id[33], struct err *e) MUST_USE;

/* An object with a member (true) for each id on hold. */
int repo_holds(struct repo *r, json_t **held, struct err *e) MUST_USE;

/* ---- reports ---- */

/* ERR_KEY for an agent, and for a holder that was let in without its signing key (by 64 digits): nobody would believe its reports. */
int repo_can_sign(const struct repo *r, struct err *e) MUST_USE;

/* Stores a drill's outcome, signed by the holder in use; fills in `id`.  ERR_KEY when the holder cannot sign. */
int repo_put_report(struct repo *r, const json_t *outcome, char id[33], struct err *e) MUST_USE;

struct repo_report {
	char id[33];
	json_t *outcome;                /* owned; json_decref */
	char signer[65];                /* Ed25519 public key, hex */
	char signer_name[KEY_NAME_MAX]; /* "" when no recovery holder has it */
	bool valid;                     /* signature right, and of a recovery holder */
};

/* All reports, oldest first; free with repo_reports_free.  One that is damaged is not among them: `damaged` gets an object with its
 * name (`object`) and what is wrong (`what`). */
int repo_reports(struct repo *r, struct repo_report **reports, size_t *count, json_t *damaged, struct err *e) MUST_USE;
void repo_reports_free(struct repo_report *reports, size_t count);

#endif
