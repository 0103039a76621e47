#include "store/sigv4.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/mem.h"

void
sigv4_date(char to[SIGV4_DATE], int64_t wall_us)
{
	time_t s = (time_t)(wall_us / 1000000);
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(to, SIGV4_DATE, "%Y%m%dT%H%M%SZ", &tm);
}

void
sigv4_encode(struct buf *to, const char *text, bool keep_slash)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *text != '\0'; text++) {
		if (strchr(plain, *text) != NULL || (keep_slash && *text == '/'))
			buf_addc(to, *text);
		else
			buf_addf(to, "%%%02X", (unsigned)(unsigned char)*text);
	}
}

static void
add_names(struct buf *to, const struct sigv4_request *r)
{
	for (size_t i = 0; i < r->header_count; i++)
		buf_addf(to, "%s%s", i > 0 ? ";" : "", r->headers[i].name);
}

/* SHA-256 of the canonical request, in hex. */
static void
hash_request(char hex[SHA256_HEX], const struct sigv4_request *r)
{
	struct buf canonical = BUF_INIT;
	uint8_t digest[SHA256_BYTES];

	buf_addf(&canonical, "%s\n%s\n%s\n", r->method, r->path, r->query);
	for (size_t i = 0; i < r->header_count; i++)
		buf_addf(&canonical, "%s:%s\n", r->headers[i].name, r->headers[i].value);
	buf_addc(&canonical, '\n');
	add_names(&canonical, r);
	buf_addf(&canonical, "\n%s", r->payload_sha256);
	hash_sha256(digest, canonical.data, canonical.bytes);
	hex_encode(hex, digest, sizeof(digest));
	/* A session token is among the headers. */
	mem_wipe(canonical.data, canonical.bytes);
	buf_free(&canonical);
}

/* The key is derived from the secret by date, region and service, so that what is used on the wire is good for a day only. */
static void
derive(uint8_t key[SHA256_BYTES], const struct sigv4_key *k, const char *date)
{
	char *first = mem_printf("AWS4%s", k->secret);
	uint8_t step[SHA256_BYTES];

	hash_hmac(key, first, strlen(first), date, 8);
	hash_hmac(step, key, SHA256_BYTES, k->region, strlen(k->region));
	hash_hmac(key, step, SHA256_BYTES, k->service, strlen(k->service));
	hash_hmac(step, key, SHA256_BYTES, "aws4_request", strlen("aws4_request"));
	memcpy(key, step, SHA256_BYTES);
	mem_wipe(step, sizeof(step));
	mem_free_secret(first, strlen(first));
}

void
sigv4_authorization(struct buf *to, const struct sigv4_request *r, const struct sigv4_key *k, const char date[SIGV4_DATE])
{
	char request[SHA256_HEX], signature[SHA256_HEX];
	uint8_t key[SHA256_BYTES], mac[SHA256_BYTES];
	char *scope = mem_printf("%.8s/%s/%s/aws4_request", date, k->region, k->service), *to_sign;

	hash_request(request, r);
	to_sign = mem_printf("AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, request);
	derive(key, k, date);
	hash_hmac(mac, key, sizeof(key), to_sign, strlen(to_sign));
	hex_encode(signature, mac, sizeof(mac));

	buf_addf(to, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=", k->access, scope);
	add_names(to, r);
	buf_addf(to, ", Signature=%s", signature);
	mem_wipe(key, sizeof(key));
	free(to_sign);
	free(scope);
}
