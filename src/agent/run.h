#ifndef HF_AGENT_RUN_H
#define HF_AGENT_RUN_H

#include "agent/args.h"
#include "agent/conf.h"
#include "base/err.h"
#include "base/json.h"
#include "ops/ops.h"

/* One run of one command.  A run function gives an outcome, or writes to stdout itself and gives none. */
struct run {
	const struct command *command;
	struct args *args;
	struct conf *conf;              /* NULL for a bare command */
	struct ops ops;
	bool printed;                   /* the run function has printed the outcome in its own way */
};

int run_init(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_keys_list(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_keys_add(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_keys_identity(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_keys_rotate(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_keys_remove(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_backup(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_list(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_show(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_hold(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_restore(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_cat(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_drill(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_verify(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_check(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_expire(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_report(struct run *r, json_t **outcome, struct err *e) MUST_USE;
int run_completion_bash(struct run *r, json_t **outcome, struct err *e) MUST_USE;

/* Writes to stdout all at once; a full disk and a closed pipe are errors. */
int run_print(const char *text, struct err *e) MUST_USE;

#endif
