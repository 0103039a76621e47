#ifndef HF_CODEC_KDF_H
#define HF_CODEC_KDF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* HKDF-SHA256 (RFC 5869), 32 bytes out.  `info` is text ‖ bytes, as the repository format writes it; either may be empty. */
void kdf_hkdf(uint8_t key[32], const void *ikm, size_t ikm_bytes, const void *salt, size_t salt_bytes, const char *info_text,
    const void *info, size_t info_bytes);

/* scrypt (RFC 7914), 32 bytes out; needs 128 * r * 2^log_n bytes of memory.  ERR_FAILED when they are not to be had. */
int kdf_scrypt(uint8_t key[32], const char *passphrase, size_t passphrase_bytes, const uint8_t *salt, size_t salt_bytes, unsigned log_n,
    unsigned r, unsigned p, struct err *e) MUST_USE;

#endif
