#ifndef HF_BASE_HASH_H
#define HF_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32
#define SHA256_HEX 65           /* with the 0 */
#define MD5_BYTES 16

/*
 * SHA-256 (FIPS 180-4), HMAC-SHA-256 (RFC 2104) and, for Content-MD5 alone, MD5 (RFC 1321).  A failure in the library
 * underneath is a broken installation, not an event: the process says so and exits.
 */
struct hash;

struct hash *hash_sha256_new(void);
void hash_update(struct hash *h, const void *data, size_t bytes);
void hash_final(struct hash *h, uint8_t digest[SHA256_BYTES]);  /* and starts anew */
void hash_free(struct hash *h);                                 /* NULL is nothing */

void hash_sha256(uint8_t digest[SHA256_BYTES], const void *data, size_t bytes);
void hash_md5(uint8_t digest[MD5_BYTES], const void *data, size_t bytes);

/* HMAC-SHA-256 of one run of bytes. */
void hash_hmac(uint8_t mac[SHA256_BYTES], const void *key, size_t key_bytes, const void *data, size_t bytes);

#endif
