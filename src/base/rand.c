#include "base/rand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/bytes.h"

void
rand_bytes(void *to, size_t bytes)
{
	uint8_t *p = to;

	while (bytes > 0) {
		ssize_t n = getrandom(p, bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			perror("holdfast: getrandom");
			exit(1);
		}
		p += n;
		bytes -= (size_t)n;
	}
}

uint64_t
rand_below(uint64_t below)
{
	uint64_t v;

	rand_bytes(&v, sizeof(v));
	return below == 0 ? 0 : v % below;      /* the bias of the remainder does not matter to a jitter */
}

void
rand_id(char to[RAND_ID_TEXT])
{
	uint8_t id[16];

	rand_bytes(id, sizeof(id));
	hex_encode(to, id, sizeof(id));
}

void
rand_uuid(char to[RAND_UUID_TEXT])
{
	uint8_t u[16];
	char hex[RAND_ID_TEXT];

	rand_bytes(u, sizeof(u));
	u[6] = (uint8_t)((u[6] & 0x0f) | 0x40);
	u[8] = (uint8_t)((u[8] & 0x3f) | 0x80);
	hex_encode(hex, u, sizeof(u));
	snprintf(to, RAND_UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}
