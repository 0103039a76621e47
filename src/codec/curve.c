#include "codec/curve.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void
broken(const char *what)
{
	fprintf(stderr, "holdfast: libcrypto cannot do %s: is the OpenSSL installation (or its FIPS mode) broken?\n", what);
	exit(1);
}

static void
public_of(int type, const char *what, uint8_t public_key[CURVE_KEY_BYTES], const uint8_t private_key[CURVE_KEY_BYTES])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(type, NULL, private_key, CURVE_KEY_BYTES);
	size_t n = CURVE_KEY_BYTES;

	if (key == NULL || EVP_PKEY_get_raw_public_key(key, public_key, &n) != 1 || n != CURVE_KEY_BYTES)
		broken(what);
	EVP_PKEY_free(key);
}

void
curve_x25519_public(uint8_t public_key[CURVE_KEY_BYTES], const uint8_t private_key[CURVE_KEY_BYTES])
{
	public_of(EVP_PKEY_X25519, "X25519", public_key, private_key);
}

void
curve_ed25519_public(uint8_t public_key[CURVE_KEY_BYTES], const uint8_t seed[CURVE_KEY_BYTES])
{
	public_of(EVP_PKEY_ED25519, "Ed25519", public_key, seed);
}

int
curve_x25519(uint8_t shared[CURVE_KEY_BYTES], const uint8_t private_key[CURVE_KEY_BYTES], const uint8_t public_key[CURVE_KEY_BYTES],
    struct err *e)
{
	EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, CURVE_KEY_BYTES);
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, CURVE_KEY_BYTES);
	EVP_PKEY_CTX *ctx = own != NULL ? EVP_PKEY_CTX_new(own, NULL) : NULL;
	size_t n = CURVE_KEY_BYTES;
	int rc = -1;

	if (own == NULL || peer == NULL || ctx == NULL || EVP_PKEY_derive_init(ctx) != 1)
		broken("X25519");
	/* libcrypto refuses an all-zero result (RFC 7748, section 6.1). */
	if (EVP_PKEY_derive_set_peer(ctx, peer) != 1 || EVP_PKEY_derive(ctx, shared, &n) != 1 || n != CURVE_KEY_BYTES)
		err_set(e, ERR_KEY, "X25519 public key is not a usable point");
	else
		rc = 0;
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(peer);
	EVP_PKEY_free(own);
	return rc;
}

void
curve_sign(uint8_t signature[CURVE_SIGNATURE_BYTES], const uint8_t seed[CURVE_KEY_BYTES], const void *data, size_t bytes)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, CURVE_KEY_BYTES);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = CURVE_SIGNATURE_BYTES;

	if (key == NULL || ctx == NULL || EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) != 1 ||
	    EVP_DigestSign(ctx, signature, &n, data, bytes) != 1 || n != CURVE_SIGNATURE_BYTES)
		broken("Ed25519");
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
}

int
curve_verify(const uint8_t signature[CURVE_SIGNATURE_BYTES], const uint8_t public_key[CURVE_KEY_BYTES], const void *data, size_t bytes,
    struct err *e)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, CURVE_KEY_BYTES);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int rc = -1;

	if (ctx == NULL)
		broken("Ed25519");
	if (key == NULL || EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) != 1 ||
	    EVP_DigestVerify(ctx, signature, CURVE_SIGNATURE_BYTES, data, bytes) != 1)
		err_set(e, ERR_CORRUPT, "the signature does not belong to these bytes and this signer");
	else
		rc = 0;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return rc;
}
