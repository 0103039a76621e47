#ifndef HF_CODEC_CUT_H
#define HF_CODEC_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Content-defined cuts: where a stream is split depends on the bytes near the cut alone, so that an insertion moves no cut
 * but the next few.  Gear hash with normalised chunking (Xia et al., "FastCDC", USENIX ATC 2016); docs/repository-format.md,
 * section 6.  The gear table is keyed, so that chunk sizes do not betray known files.
 */
struct cut_rule {
	uint64_t gear[256];
	size_t min_bytes, avg_bytes, max_bytes;
	unsigned strict_bits, loose_bits;       /* zeros wanted before and after avg_bytes */
};

void cut_rule_init(struct cut_rule *r, const uint8_t chunk_id_key[32], size_t min_bytes, size_t avg_bytes, size_t max_bytes);

/* Where in the chunk the scan is: {0, 0} at its start. */
struct cut_state {
	uint64_t h;
	size_t at;                      /* bytes of this chunk seen so far */
};

/* Looks at the next bytes of the stream.  Returns how many of them still belong to this chunk; *ends tells whether the chunk
 * ends behind them (then the state is at its start again). */
size_t cut_scan(const struct cut_rule *r, struct cut_state *s, const uint8_t *data, size_t bytes, bool *ends);

#endif
