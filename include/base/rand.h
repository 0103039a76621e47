#ifndef HF_BASE_RAND_H
#define HF_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

/* Random bytes from the kernel (getrandom); fit for keys.  Does not fail: a kernel without it ends the process. */
void rand_bytes(void *to, size_t bytes);

/* A number in [0, below), for jitter. */
uint64_t rand_below(uint64_t below);

/* 128 random bits in lower-case hex, 32 characters and a 0: names of objects and temporaries. */
#define RAND_ID_TEXT 33
void rand_id(char to[RAND_ID_TEXT]);

/* A version 4 UUID (RFC 9562) in its usual text form, 36 characters and a 0. */
#define RAND_UUID_TEXT 37
void rand_uuid(char to[RAND_UUID_TEXT]);

#endif
