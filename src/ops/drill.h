#ifndef HF_SRC_OPS_DRILL_H
#define HF_SRC_OPS_DRILL_H

#include "ops/bring.h"
#include "pg/scratch.h"

/*
 * A drill, in three parts: drill.c has the place and the order of things, drill_database.c what is done with one database,
 * drill_verdict.c what is said of it all.
 */
enum { SCRATCH, GLOBALS, RESTORE, DUMP_AGAIN, COMPARE, AMCHECK, CHECKS, PHASES };

struct drill {
	const struct ops *ops;
	const struct settings *settings;
	struct opened opened;
	json_t *summary, *detail;
	struct scratch *scratch;
	struct tools dump_tools;
	struct buf globals;             /* the backup's, with password verifiers */
	json_t *outcome, *databases, *differences, *checks, *amcheck, *not_covered, *notes;
	int64_t phase_ms[PHASES];       /* summed over databases, by phase */
	bool differs, looked;           /* looked: the backup itself was asked for */
	const char *unverifiable;       /* not NULL: why; its text is in the error */
};

/* Adds the time since `since` to a phase. */
void drill_spent(struct drill *d, int phase, int64_t since);

/* Restores one database, dumps it again, compares; what differs is in the outcome.  An error may be one about the backup. */
int drill_database(struct drill *d, const char *name, struct err *e) MUST_USE;

/* Puts the verdict, its reason, the phases and what is not covered into the outcome; `e` is looked at when `rc` is not 0.  NULL when
 * what kept the drill from looking says nothing about the backup (R10). */
const char *drill_judge(struct drill *d, int rc, const struct err *e);

#endif
