#include "codec/cut.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"

void
cut_rule_init(struct cut_rule *r, const uint8_t chunk_id_key[32], size_t min_bytes, size_t avg_bytes, size_t max_bytes)
{
	unsigned bits = 0;

	while (((size_t)1 << (bits + 1)) <= avg_bytes)
		bits++;
	for (int b = 0; b < 256; b++) {
		uint8_t in[5] = { 'g', 'e', 'a', 'r', (uint8_t)b }, mac[SHA256_BYTES];

		hash_hmac(mac, chunk_id_key, 32, in, sizeof(in));
		r->gear[b] = bytes_get_u64(mac);
	}
	r->min_bytes = min_bytes;
	r->avg_bytes = avg_bytes;
	r->max_bytes = max_bytes;
	r->strict_bits = bits + 2;
	r->loose_bits = bits - 2;
}

/* Scans data[from, to) for a hash with `bits` zeros on top; returns the position behind the hit, or 0. */
static size_t
find(const uint64_t *gear, uint64_t *hash, const uint8_t *data, size_t from, size_t to, unsigned bits)
{
	uint64_t h = *hash, mask = ~(uint64_t)0 << (64 - bits);

	for (size_t i = from; i < to; i++) {
		h = (h << 1) + gear[data[i]];
		if ((h & mask) == 0)
			return i + 1;
	}
	*hash = h;
	return 0;
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t
cut_scan(const struct cut_rule *r, struct cut_state *s, const uint8_t *data, size_t bytes, bool *ends)
{
	size_t take = 0, hit;

	*ends = false;
	if (s->at < r->min_bytes)
		take = least(bytes, r->min_bytes - s->at);
	/* First the part where a cut is hard to find, then the part where it is easy. */
	for (int easy = 0; easy < 2 && take < bytes; easy++) {
		size_t limit = easy ? r->max_bytes : r->avg_bytes, at = s->at + take, to;

		if (at >= limit)
			continue;
		to = least(bytes, take + (limit - at));
		hit = find(r->gear, &s->h, data, take, to, easy ? r->loose_bits : r->strict_bits);
		if (hit > 0) {
			*ends = true;
			*s = (struct cut_state){ 0, 0 };
			return hit;
		}
		take = to;
	}
	s->at += take;
	if (s->at == r->max_bytes) {
		*ends = true;
		*s = (struct cut_state){ 0, 0 };
	}
	return take;
}
