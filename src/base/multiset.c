#include "base/multiset.h"

#include <pthread.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rand.h"

static uint64_t key[2];
static pthread_once_t keyed = PTHREAD_ONCE_INIT;

static void
make_key(void)
{
	rand_bytes(key, sizeof(key));
}

static inline uint64_t
rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static inline void
rounds(uint64_t v[4], int n)
{
	for (int i = 0; i < n; i++) {
		v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
		v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
	}
}

static inline void
absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	rounds(v, 2);
	v[0] ^= word;
}

/* The state at the start of a member, for 128 bits of output. */
static void
start(struct multiset *m)
{
	m->v[0] = 0x736f6d6570736575u ^ key[0];
	m->v[1] = 0x646f72616e646f6du ^ key[1] ^ 0xee;
	m->v[2] = 0x6c7967656e657261u ^ key[0];
	m->v[3] = 0x7465646279746573u ^ key[1];
	m->tail = m->length = 0;
}

void
multiset_begin(struct multiset *m)
{
	pthread_once(&keyed, make_key);
	memset(m, 0, sizeof(*m));
	start(m);
}

void
multiset_part(struct multiset *m, const void *data, size_t bytes)
{
	const uint8_t *p = data;

	/* Fill the word that an earlier part began, then go on by whole words. */
	while (bytes > 0 && m->length % 8 != 0) {
		m->tail |= (uint64_t)*p++ << 8 * (m->length++ % 8);
		bytes--;
		if (m->length % 8 == 0) {
			absorb(m->v, m->tail);
			m->tail = 0;
		}
	}
	for (; bytes >= 8; p += 8, bytes -= 8, m->length += 8)
		absorb(m->v, bytes_get_u64(p));
	for (; bytes > 0; bytes--)
		m->tail |= (uint64_t)*p++ << 8 * (m->length++ % 8);
}

void
multiset_end_member(struct multiset *m)
{
	uint64_t low, high;

	absorb(m->v, m->tail | m->length << 56);
	m->v[2] ^= 0xee;
	rounds(m->v, 4);
	low = m->v[0] ^ m->v[1] ^ m->v[2] ^ m->v[3];
	m->v[1] ^= 0xdd;
	rounds(m->v, 4);
	high = m->v[0] ^ m->v[1] ^ m->v[2] ^ m->v[3];
	m->sum_low += low;
	m->sum_high += high + (m->sum_low < low);
	start(m);
}

void
multiset_sum(const struct multiset *m, uint8_t digest[MULTISET_BYTES])
{
	bytes_put_u64(digest, m->sum_low);
	bytes_put_u64(digest + 8, m->sum_high);
}
