#ifndef HF_REPO_RETAIN_H
#define HF_REPO_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which backups stay.  Pure: it looks at times and proofs, and touches nothing.  Order is by time alone, never by name
 * (R22).  Days, weeks (ISO 8601), months and years are those of UTC.
 *
 * Backups of the same group (same source and databases) compete with each other; the newest in each of the last `daily` days
 * that have one is kept, and so on.  Nothing of a group is deleted unless a newer backup of it is proven, nothing that
 * would leave fewer than min_proven proven ones, nothing on hold (R5), and nothing at all while its newest is suspect (R6).
 */
enum retain_reason {
	RETAIN_LAST = 1, RETAIN_DAILY = 2, RETAIN_WEEKLY = 4, RETAIN_MONTHLY = 8, RETAIN_YEARLY = 16,
	RETAIN_HOLD = 32,
	RETAIN_PROVEN = 64,             /* one of the last min_proven that are proven */
	RETAIN_UNPROVEN = 128,          /* nothing newer of its group is proven */
	RETAIN_FROZEN = 256,            /* the newest of its group is suspect */
};

struct retain_rule {
	unsigned last, daily, weekly, monthly, yearly, min_proven;
};

struct retain_item {
	const char *id, *group;
	int64_t order_us;               /* what orders them */
	int64_t time_us;                /* what day, week, month and year they belong to */
	bool hold, proven, suspect;
	unsigned keep;                  /* filled in: reasons; 0: it may go */
};

/* Sorts the items newest first and fills in `keep`. */
void retain_apply(struct retain_item *items, size_t count, const struct retain_rule *rule);

/* The word for one reason: "last", "daily", ..., as in a plan. */
const char *retain_word(enum retain_reason reason);

#endif
