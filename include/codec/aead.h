#ifndef HF_CODEC_AEAD_H
#define HF_CODEC_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * AES-256-GCM (NIST SP 800-38D).  The nonce is a counter: the caller never uses one twice with the same key.  Sealed bytes
 * are plain bytes followed by the 16-byte tag.
 */
#define AEAD_KEY_BYTES 32
#define AEAD_TAG_BYTES 16

/* Keeps a key's schedule between messages.  One thread at a time. */
struct aead;

struct aead *aead_new(const uint8_t key[AEAD_KEY_BYTES]);
void aead_free(struct aead *a);         /* wipes; NULL is nothing */

/* Writes plain_bytes + AEAD_TAG_BYTES to `sealed`, which may be `plain` itself. */
void aead_seal(struct aead *a, uint32_t nonce, const void *aad, size_t aad_bytes, const void *plain, size_t plain_bytes, uint8_t *sealed);

/* Writes sealed_bytes - AEAD_TAG_BYTES to `plain`, which may be `sealed` itself.  ERR_CORRUPT when key, nonce, associated
 * data or any sealed byte is not what it was; nothing of `plain` may be used then. */
int aead_open(struct aead *a, uint32_t nonce, const void *aad, size_t aad_bytes, const void *sealed, size_t sealed_bytes,
    uint8_t *plain, struct err *e) MUST_USE;

#endif
