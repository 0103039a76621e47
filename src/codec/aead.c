#include "codec/aead.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

#define NONCE_BYTES 12

struct aead {
	EVP_CIPHER_CTX *seal, *open;
	uint8_t key[AEAD_KEY_BYTES];
};

static _Noreturn void
broken(void)
{
	fprintf(stderr, "holdfast: libcrypto cannot do AES-256-GCM: is the OpenSSL installation broken?\n");
	exit(1);
}

struct aead *
aead_new(const uint8_t key[AEAD_KEY_BYTES])
{
	struct aead *a = mem_zero(1, sizeof(*a));

	a->seal = EVP_CIPHER_CTX_new();
	a->open = EVP_CIPHER_CTX_new();
	if (a->seal == NULL || a->open == NULL || EVP_EncryptInit_ex(a->seal, EVP_aes_256_gcm(), NULL, key, NULL) != 1 ||
	    EVP_DecryptInit_ex(a->open, EVP_aes_256_gcm(), NULL, key, NULL) != 1)
		broken();
	memcpy(a->key, key, sizeof(a->key));
	return a;
}

void
aead_free(struct aead *a)
{
	if (a == NULL)
		return;
	EVP_CIPHER_CTX_free(a->seal);
	EVP_CIPHER_CTX_free(a->open);
	mem_free_secret(a, sizeof(*a));
}

static void
nonce_of(uint8_t nonce[NONCE_BYTES], uint32_t counter)
{
	memset(nonce, 0, NONCE_BYTES);
	bytes_put_u32(nonce, counter);
}

void
aead_seal(struct aead *a, uint32_t counter, const void *aad, size_t aad_bytes, const void *plain, size_t plain_bytes, uint8_t *sealed)
{
	uint8_t nonce[NONCE_BYTES];
	int n, last;

	nonce_of(nonce, counter);
	if (aad_bytes > INT_MAX || plain_bytes > INT_MAX - AEAD_TAG_BYTES || EVP_EncryptInit_ex(a->seal, NULL, NULL, NULL, nonce) != 1 ||
	    EVP_EncryptUpdate(a->seal, NULL, &n, aad, (int)aad_bytes) != 1 ||
	    EVP_EncryptUpdate(a->seal, sealed, &n, plain, (int)plain_bytes) != 1 || EVP_EncryptFinal_ex(a->seal, sealed + n, &last) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_GCM_GET_TAG, AEAD_TAG_BYTES, sealed + plain_bytes) != 1)
		broken();
}

int
aead_open(struct aead *a, uint32_t counter, const void *aad, size_t aad_bytes, const void *sealed, size_t sealed_bytes, uint8_t *plain, struct err *e)
{
	uint8_t nonce[NONCE_BYTES], tag[AEAD_TAG_BYTES];
	size_t plain_bytes = sealed_bytes - AEAD_TAG_BYTES;
	int n, last;

	if (sealed_bytes < AEAD_TAG_BYTES || sealed_bytes > INT_MAX || aad_bytes > INT_MAX)
		return err_set(e, ERR_CORRUPT, "%zu sealed bytes are too few or too many", sealed_bytes);
	nonce_of(nonce, counter);
	memcpy(tag, (const uint8_t *)sealed + plain_bytes, sizeof(tag));
	if (EVP_DecryptInit_ex(a->open, NULL, NULL, NULL, nonce) != 1 || EVP_DecryptUpdate(a->open, NULL, &n, aad, (int)aad_bytes) != 1 ||
	    EVP_DecryptUpdate(a->open, plain, &n, sealed, (int)plain_bytes) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_GCM_SET_TAG, AEAD_TAG_BYTES, tag) != 1)
		broken();
	if (EVP_DecryptFinal_ex(a->open, plain + n, &last) != 1) {
		/* Unauthenticated bytes are in `plain` by now: nobody shall use them by mistake. */
		mem_wipe(plain, plain_bytes);
		return err_set(e, ERR_CORRUPT, "it is not what was sealed: changed bytes, another object, or another key");
	}
	return 0;
}
