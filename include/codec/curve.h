#ifndef HF_CODEC_CURVE_H
#define HF_CODEC_CURVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* X25519 (RFC 7748) for agreeing on a key, Ed25519 (RFC 8032) for signing.  Private keys are 32 bytes each. */
#define CURVE_KEY_BYTES 32
#define CURVE_SIGNATURE_BYTES 64

void curve_x25519_public(uint8_t public_key[CURVE_KEY_BYTES], const uint8_t private_key[CURVE_KEY_BYTES]);

/* ERR_KEY for a public key of low order, with which everybody would share the same secret. */
int curve_x25519(uint8_t shared[CURVE_KEY_BYTES], const uint8_t private_key[CURVE_KEY_BYTES], const uint8_t public_key[CURVE_KEY_BYTES],
    struct err *e) MUST_USE;

void curve_ed25519_public(uint8_t public_key[CURVE_KEY_BYTES], const uint8_t seed[CURVE_KEY_BYTES]);
void curve_sign(uint8_t signature[CURVE_SIGNATURE_BYTES], const uint8_t seed[CURVE_KEY_BYTES], const void *data, size_t bytes);

/* ERR_CORRUPT when the signature is not one of `public_key` over these bytes. */
int curve_verify(const uint8_t signature[CURVE_SIGNATURE_BYTES], const uint8_t public_key[CURVE_KEY_BYTES], const void *data, size_t bytes,
    struct err *e) MUST_USE;

#endif
