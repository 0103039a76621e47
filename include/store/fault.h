#ifndef HF_STORE_FAULT_H
#define HF_STORE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

/*
 * A store that fails on purpose, for tests of the rooms above.  What goes wrong is said in a struct store_faults that the
 * test owns and that outlives the store; with all of it 0 the store is its inner one.
 *
 * Calls are counted from 1, for each verb and over all of them.  The plan is changed only while no call is under way; the
 * counts are safe to read then, too.
 */
enum store_verb { STORE_PUT, STORE_GET, STORE_STAT, STORE_LIST, STORE_REMOVE, STORE_VERBS };

struct store_faults {
	/* Counted by the store. */
	unsigned calls[STORE_VERBS];
	unsigned all_calls;

	/* The fail_at-th call of a verb fails with `kind`, and `times - 1` that follow it, too [0 is 1]; 0: none fails. */
	struct {
		unsigned fail_at;
		unsigned times;
		enum err_kind kind;
		bool after;             /* it is done, and fails afterwards: an answer that got lost on its way back */
	} verb[STORE_VERBS];

	/* The die_at-th call of any verb fails with ERR_STORE, and all that follow, as if the process or the store had died.
	 * A loop over this number shows what every possible crash leaves behind. */
	unsigned die_at;

	/* What a get brings: in the get_at-th [0: none], bit 0 of byte `flip` [-1: none] is flipped, and with `cut` the last
	 * `cut` bytes are missing.  The get succeeds: this is a store that lies. */
	unsigned get_at;
	int64_t flip;
	size_t cut;

	/* Leaves every object whose name contains this out of listings (R24); NULL: none. */
	const char *hide;
};

/* Takes `inner`, borrows `f`. */
struct store *store_fault_new(struct store *inner, struct store_faults *f);

#endif
