#ifndef HF_OPS_COMMON_H
#define HF_OPS_COMMON_H

#include "ops/ops.h"
#include "repo/repo.h"

/*
 * What several operations need.
 */

/* A store and the repository in it, opened as the settings say. */
struct opened {
	struct store *store;
	struct repo *repo;
};

enum { OPEN_UNCACHED = 1 };             /* judge the store's bytes, not the cache's copies */

int ops_open(struct opened *o, const struct settings *s, int flags, struct err *e) MUST_USE;
void ops_close(struct opened *o);

/* An outcome with its command and no warnings yet. */
json_t *ops_outcome(const char *command);
void ops_warn(json_t *outcome, const char *format, ...) PRINTF_LIKE(2, 3);

/* R43, R44: warns where PostgreSQL's programs that did the work ("dumped", "restored") have a known hole.  No refusal: a night without
 * a backup is worse, and what a pg_restore can be made to do in its cage, the dump's own functions may do there anyway. */
struct tools;
void ops_warn_floor(json_t *outcome, const struct tools *t, const char *did);

void ops_phase(json_t *outcome, const char *name, int64_t since_ms, uint64_t bytes);        /* bytes 0: without */

/* For a name that does not exist: the hint says which one is near, or a few of those that there are, between two sentences of the
 * caller's.  `names`: array of strings, any order, twice the same is once.  Returns -1. */
int ops_hint_names(struct err *e, const char *before, const char *wanted, const json_t *names, const char *after);

/* The databases to back up: those asked for, each known to exist, or (NULL) all.  *names is owned by the caller. */
struct conn;
int ops_databases(struct conn *c, const char *const *asked, json_t **names, struct err *e) MUST_USE;

/*
 * Summaries of all backups, newest first, each with `hold`, `proven` and `last_verdict` as the repository's holds and reports have them.
 * `whole`: what is damaged is an error, for who decides what goes.  Otherwise it is warned of and passed over: one damaged object
 * must not stand between anybody and the others.
 */
int ops_backups(struct repo *r, bool whole, json_t **backups, struct err *e) MUST_USE;

/* repo_reports in the same two ways. */
struct repo_report;
int ops_reports(struct repo *r, bool whole, struct repo_report **reports, size_t *count, struct err *e) MUST_USE;

/* One backup, by what the operator called it: its judged summary and detail. */
int backup_find(struct repo *r, const char *name, json_t **summary, json_t **detail, struct err *e) MUST_USE;

/* Groups of backups that retention and R6 compare: same source, same databases.  Owned by the caller. */
char *backup_group(const json_t *summary);

/* Runs task(ctx, i) for i in [0, count), `jobs` at a time, in that order.  The first error ends the rest: tasks that have not begun
 * do not begin, sinks behind parallel_guard fail with ERR_STOPPED. */
struct parallel;
int parallel_run(unsigned jobs, size_t count, int (*task)(void *ctx, struct parallel *p, size_t i, struct err *e), void *ctx, struct err *e)
    MUST_USE;
struct sink *parallel_guard(struct parallel *p, struct sink *next);

/* The archive digests as `entries` of a manifest, behind what is there. */
struct archive_digest;
void ops_add_entries(json_t *entries, const char *database, const struct archive_digest *d, uint64_t *rows);

#endif
