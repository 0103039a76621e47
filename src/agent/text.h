#ifndef HF_AGENT_TEXT_H
#define HF_AGENT_TEXT_H

#include "agent/grid.h"
#include "base/json.h"

/*
 * The outcome of a command for a terminal: docs/outcomes.md says what is in it.  Whatever is missing is left out; times are
 * UTC, sizes and durations are rounded for people.  Warnings are not in it: they go to stderr, behind it.
 *
 * What a command that failed had found out so far reads like a success.  Its text is "", unless what it found is what was asked
 * for: a drill's verdict, the problems of a verify, the lines of a check.
 */
char *text_render(const char *command, const json_t *outcome, bool failed, const struct grid_look *look);

/* Cells of the kinds that outcomes have; a member that is missing gives an empty cell. */
void text_size(struct grid *t, const json_t *object, const char *key);
void text_number(struct grid *t, const json_t *object, const char *key);
void text_duration(struct grid *t, const json_t *object, const char *key);
void text_time(struct grid *t, const json_t *object, const char *key);        /* "2026-11-24 02:15" */

/* "1 backup", "1,204 backups". */
void text_count(struct buf *to, int64_t n, const char *one, const char *many);

/* The renderers of text_repo.c: what concerns the repository more than one backup. */
void text_keys(struct buf *to, const json_t *o, const struct grid_look *look);
void text_verify(struct buf *to, const json_t *o, const struct grid_look *look);
void text_check(struct buf *to, const json_t *o, const struct grid_look *look);
void text_expire(struct buf *to, const json_t *o, const struct grid_look *look);

#endif
