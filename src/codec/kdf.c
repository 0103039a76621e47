#include "codec/kdf.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

void
kdf_hkdf(uint8_t key[32], const void *ikm, size_t ikm_bytes, const void *salt, size_t salt_bytes, const char *info_text, const void *info,
    size_t info_bytes)
{
	static const uint8_t no_salt[SHA256_BYTES];
	uint8_t prk[SHA256_BYTES], block[256];
	size_t text_bytes = strlen(info_text);

	/* 32 bytes are one round of the expansion: HMAC(prk, info ‖ 1). */
	assert(text_bytes + info_bytes < sizeof(block));
	hash_hmac(prk, salt_bytes > 0 ? salt : no_salt, salt_bytes > 0 ? salt_bytes : sizeof(no_salt), ikm, ikm_bytes);
	memcpy(block, info_text, text_bytes);
	if (info_bytes > 0)
		memcpy(block + text_bytes, info, info_bytes);
	block[text_bytes + info_bytes] = 1;
	hash_hmac(key, prk, sizeof(prk), block, text_bytes + info_bytes + 1);
	mem_wipe(prk, sizeof(prk));
}

int
kdf_scrypt(uint8_t key[32], const char *passphrase, size_t passphrase_bytes, const uint8_t *salt, size_t salt_bytes, unsigned log_n, unsigned r,
    unsigned p, struct err *e)
{
	uint64_t n = (uint64_t)1 << log_n, memory = 128 * (uint64_t)r * (n + p + 2) + (1 << 20);

	if (EVP_PBE_scrypt(passphrase, passphrase_bytes, salt, salt_bytes, n, r, p, memory, key, 32) != 1)
		return err_set(e, ERR_FAILED, "scrypt with N = 2^%u, r = %u needs %llu MiB of memory, which could not be had", log_n, r,
		    (unsigned long long)(memory >> 20));
	return 0;
}
