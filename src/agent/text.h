#ifndef HF_AGENT_TEXT_H
#define HF_AGENT_TEXT_H

#include "agent/grid.h"
#include "base/json.h"

/*
 * The outcome of a command for a terminal: docs/outcomes.md says what is in it.  Whatever is missing is left out; times are
 * UTC, sizes and durations are rounded for people.  Warnings are not in it: they went to stderr.
 */
char *text_render(const char *command, const json_t *outcome, const struct grid_look *look);

/* Cells of the kinds that outcomes have; a member that is missing gives an empty cell. */
void text_size(struct grid *t, const json_t *object, const char *key);
void text_number(struct grid *t, const json_t *object, const char *key);
void text_duration(struct grid *t, const json_t *object, const char *key);
void text_time(struct grid *t, const json_t *object, const char *key);        /* "2026-11-24 02:15" */

/* The renderers of text_repo.c: what concerns the repository more than one backup. */
void text_keys(struct buf *to, const json_t *o, const struct grid_look *look);
void text_verify(struct buf *to, const json_t *o, const struct grid_look *look);
void text_check(struct buf *to, const json_t *o, const struct grid_look *look);
void text_expire(struct buf *to, const json_t *o, const struct grid_look *look);

#endif
