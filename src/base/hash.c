#include "base/hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct hash {
	EVP_MD_CTX *ctx;
};

static _Noreturn void
broken(const char *what)
{
	fprintf(stderr, "holdfast: libcrypto cannot compute %s: is the OpenSSL installation (or its FIPS mode) broken?\n", what);
	exit(1);
}

/* Fetched once: an implicit fetch at each EVP_DigestInit takes a lock and costs more than hashing a small chunk. */
static EVP_MD *sha256, *md5;
static EVP_MAC *hmac;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void
fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	md5 = EVP_MD_fetch(NULL, "MD5", NULL);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (sha256 == NULL || hmac == NULL)
		broken("SHA-256");
}

struct hash *
hash_sha256_new(void)
{
	struct hash *h = mem_alloc(sizeof(*h));

	pthread_once(&fetched, fetch);
	h->ctx = EVP_MD_CTX_new();
	if (h->ctx == NULL || EVP_DigestInit_ex2(h->ctx, sha256, NULL) != 1)
		broken("SHA-256");
	return h;
}

void
hash_update(struct hash *h, const void *data, size_t bytes)
{
	if (EVP_DigestUpdate(h->ctx, data, bytes) != 1)
		broken("SHA-256");
}

void
hash_final(struct hash *h, uint8_t digest[SHA256_BYTES])
{
	if (EVP_DigestFinal_ex(h->ctx, digest, NULL) != 1 || EVP_DigestInit_ex2(h->ctx, sha256, NULL) != 1)
		broken("SHA-256");
}

void
hash_free(struct hash *h)
{
	if (h == NULL)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void
hash_sha256(uint8_t digest[SHA256_BYTES], const void *data, size_t bytes)
{
	pthread_once(&fetched, fetch);
	if (EVP_Digest(data, bytes, digest, NULL, sha256, NULL) != 1)
		broken("SHA-256");
}

void
hash_md5(uint8_t digest[MD5_BYTES], const void *data, size_t bytes)
{
	pthread_once(&fetched, fetch);
	if (md5 == NULL || EVP_Digest(data, bytes, digest, NULL, md5, NULL) != 1)
		broken("MD5");
}

void
hash_hmac(uint8_t mac[SHA256_BYTES], const void *key, size_t key_bytes, const void *data, size_t bytes)
{
	char name[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("digest", name, 0), OSSL_PARAM_construct_end() };
	EVP_MAC_CTX *ctx;
	size_t n;

	pthread_once(&fetched, fetch);
	ctx = EVP_MAC_CTX_new(hmac);
	if (ctx == NULL || EVP_MAC_init(ctx, key, key_bytes, params) != 1 || EVP_MAC_update(ctx, data, bytes) != 1 ||
	    EVP_MAC_final(ctx, mac, &n, SHA256_BYTES) != 1 || n != SHA256_BYTES)
		broken("HMAC-SHA-256");
	EVP_MAC_CTX_free(ctx);
}
