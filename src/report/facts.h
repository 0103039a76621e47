#ifndef HF_REPORT_FACTS_H
#define HF_REPORT_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

/*
 * What an outcome says, read once, with every number that a report derives from others worked out here and nowhere else.
 * All pointers are borrowed from the outcome; a member that is missing or of a wrong type is NULL, -1 or an empty array.
 */
enum verdict { VERDICT_NO_DRILL, VERDICT_PROVEN, VERDICT_DIFFERS, VERDICT_FAILED, VERDICT_UNVERIFIABLE };

struct facts {
	const json_t *outcome;
	const json_t *drill;            /* NULL when nothing was drilled */
	const json_t *backup;           /* summary of the drilled backup, else of the newest; may be NULL */
	const json_t *history;          /* drills, oldest first; never NULL, perhaps no array */
	const json_t *backups;          /* summaries, oldest first; likewise */
	const json_t *signature;        /* NULL: this outcome was not read back from the repository */

	enum verdict verdict;           /* as a reader should take it: see facts_read */
	const char *reason;             /* one sentence, or NULL */
	bool contradicts;               /* the outcome says proven and lists what is not */
	bool forged;                    /* there is a signature, and it is not valid */

	const char *source, *id;        /* "" when unknown */
	int64_t rto_ms;
	int64_t snapshot_us;            /* of the drilled backup */
	int64_t finished_us;            /* of the drill */
	int64_t now_us;                 /* when the report was made, else when the drill ended */

	int64_t entries, equal, rows, bytes;    /* over all databases of the drill */
	int64_t differences, checks, checks_passed;
	int64_t moved;                  /* tables whose rows are the same and came back in another order: equal, and worth a note */

	int64_t newest_us, proven_us;   /* snapshots of the newest backup, and of the newest proven one */
	const char *newest_id, *proven_id;
	int64_t gap_ms;                 /* longest time from one snapshot to the next */
	int64_t rto_worst_ms, rto_runs; /* over the history's drills that have a time */
};

/*
 * Nothing unknown passes for good: a verdict that is not one of the four, or none, is "failed", and so is a "proven" beside
 * differences, a failed check, a schema that differs or an index with problems.
 */
void facts_read(struct facts *f, const json_t *outcome);

enum verdict facts_verdict(const char *word);           /* NULL: VERDICT_NO_DRILL; a strange word: VERDICT_FAILED */
const char *facts_verdict_name(enum verdict verdict);
int64_t facts_time(const json_t *object, const char *key);      /* microseconds, or -1 */
int64_t facts_int(const json_t *object, const char *key);       /* or -1; a negative number is none either */
int64_t facts_age_ms(const struct facts *f, int64_t wall_us);   /* at now_us; -1 when either is unknown */

/* Whether a phase is a part of a real restore: its own member `rto`, else by its name. */
bool facts_phase_counts(const json_t *phase);

#endif
