#ifndef HF_BASE_MULTISET_H
#define HF_BASE_MULTISET_H

#include <stddef.h>
#include <stdint.h>

/*
 * A digest of a collection of byte strings that does not depend on their order: the sum, modulo 2^128, of a keyed 128-bit hash of
 * each (SipHash-2-4, Aumasson and Bernstein 2012; the sum is MSet-Add-Hash of Clarke et al., ASIACRYPT 2003).  The key is
 * random and this process's own, so nobody can prepare strings that collide, and two digests can be compared only
 * within the process that made both.
 */
#define MULTISET_BYTES 16

struct multiset {
	uint64_t v[4];                  /* of the member that is being hashed */
	uint64_t tail, length;
	uint64_t sum_low, sum_high;
};

void multiset_begin(struct multiset *m);                                        /* empty */
void multiset_part(struct multiset *m, const void *data, size_t bytes);         /* more of the current member */
void multiset_end_member(struct multiset *m);
void multiset_sum(const struct multiset *m, uint8_t digest[MULTISET_BYTES]);    /* of the members that were ended */

#endif
