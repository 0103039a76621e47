#ifndef HF_BASE_NEAR_H
#define HF_BASE_NEAR_H

#include <stddef.h>

/*
 * The word that somebody probably meant.  Offer each existing word in turn; `best` is the nearest so far, NULL while none is
 * near enough to be worth a suggestion (a third of its letters wrong, or two).  Borrowed from the caller.
 */
struct near {
	const char *wanted;
	const char *best;
	size_t distance;
};

void near_offer(struct near *n, const char *word);

#endif
