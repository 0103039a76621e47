#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "codec/aead.h"
#include "codec/curve.h"
#include "codec/cut.h"
#include "codec/kdf.h"
#include "codec/zst.h"

static void
from_hex(uint8_t *to, const char *hex)
{
	assert_true(hex_decode(to, strlen(hex) / 2, hex));
}

static void
assert_hex(const uint8_t *data, size_t bytes, const char *hex)
{
	char *seen = malloc(2 * bytes + 1);

	hex_encode(seen, data, bytes);
	assert_string_equal(seen, hex);
	free(seen);
}

/* FIPS 180-4 and RFC 4231, test case 2. */
static void
hashes_give_the_published_values(void **state)
{
	uint8_t d[SHA256_BYTES], m[MD5_BYTES];

	(void)state;
	hash_sha256(d, "abc", 3);
	assert_hex(d, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	hash_hmac(d, "Jefe", 4, "what do ya want for nothing?", 28);
	assert_hex(d, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	hash_md5(m, "abc", 3);
	assert_hex(m, 16, "900150983cd24fb0d6963f7d28e17f72");
}

/* RFC 5869, test case 1, first 32 of its 42 bytes; RFC 7914, section 12, the third vector's first 32 bytes. */
static void
key_derivation_gives_the_published_values(void **state)
{
	uint8_t ikm[22], salt[13], info[10], key[32];
	struct err e = ERR_INIT;

	(void)state;
	memset(ikm, 0x0b, sizeof(ikm));
	from_hex(salt, "000102030405060708090a0b0c");
	from_hex(info, "f0f1f2f3f4f5f6f7f8f9");
	kdf_hkdf(key, ikm, sizeof(ikm), salt, sizeof(salt), "", info, sizeof(info));
	assert_hex(key, 32, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
	assert_int_equal(kdf_scrypt(key, "pleaseletmein", 13, (const uint8_t *)"SodiumChloride", 14, 14, 8, 1, &e), 0);
	assert_hex(key, 32, "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

/* RFC 7748, section 6.1; RFC 8032, section 7.1, test 2. */
static void
curves_give_the_published_values(void **state)
{
	uint8_t a[32], b[32], pub_a[32], pub_b[32], shared[32], sig[64], msg = 0x72, zero[32] = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	from_hex(a, "77076d0a7318a57d3c16c17251b26645c64b0f5d2d4b0a2f2f8b27ff88e0eb00");
	curve_x25519_public(pub_a, a);
	from_hex(b, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
	curve_x25519_public(pub_b, b);
	assert_hex(pub_b, 32, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	assert_int_equal(curve_x25519(shared, a, pub_b, &e), 0);
	{
		uint8_t other[32];

		assert_int_equal(curve_x25519(other, b, pub_a, &e), 0);
		assert_memory_equal(shared, other, 32);
	}
	assert_int_equal(curve_x25519(shared, a, zero, &e), -1);
	assert_int_equal(e.kind, ERR_KEY);

	from_hex(a, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
	curve_ed25519_public(pub_a, a);
	assert_hex(pub_a, 32, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
	curve_sign(sig, a, &msg, 1);
	assert_hex(sig, 64, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
	err_clear(&e);
	assert_int_equal(curve_verify(sig, pub_a, &msg, 1, &e), 0);
	msg ^= 1;
	assert_int_equal(curve_verify(sig, pub_a, &msg, 1, &e), -1);
}

static void
sealed_bytes_open_only_as_they_were_sealed(void **state)
{
	uint8_t key[32] = { 7 }, plain[1000], sealed[1016], back[1016];
	struct aead *a = aead_new(key);
	struct err e = ERR_INIT;

	(void)state;
	memset(plain, 'x', sizeof(plain));
	for (size_t n = 0; n <= 33; n++) {
		aead_seal(a, 5, "head", 4, plain, n, sealed);
		assert_int_equal(aead_open(a, 5, "head", 4, sealed, n + AEAD_TAG_BYTES, back, &e), 0);
		assert_memory_equal(back, plain, n);
		assert_int_equal(aead_open(a, 6, "head", 4, sealed, n + AEAD_TAG_BYTES, back, &e), -1);
		assert_int_equal(aead_open(a, 5, "heac", 4, sealed, n + AEAD_TAG_BYTES, back, &e), -1);
		for (size_t at = 0; at < n + AEAD_TAG_BYTES; at++) {
			sealed[at] ^= 0x40;
			assert_int_equal(aead_open(a, 5, "head", 4, sealed, n + AEAD_TAG_BYTES, back, &e), -1);
			sealed[at] ^= 0x40;
		}
		assert_int_equal(aead_open(a, 5, "head", 4, sealed, n + AEAD_TAG_BYTES - 1, back, &e), -1);
	}
	assert_int_equal(aead_open(a, 5, "head", 4, sealed, 3, back, &e), -1);
	aead_free(a);
}

/* R47: what a frame claims about itself is not believed. */
static void
a_frame_unpacks_to_what_was_recorded_or_not_at_all(void **state)
{
	static uint8_t data[300000], frame[400000], back[300000];
	struct zst *z = zst_new(3);
	struct err e = ERR_INIT;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i >> 7);
	n = zst_pack(z, data, sizeof(data), frame);
	assert_int_equal(zst_unpack(z, frame, n, back, sizeof(data), &e), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(zst_unpack(z, frame, n, back, sizeof(data) - 1, &e), -1);
	assert_int_equal(zst_unpack(z, frame, n - 1, back, sizeof(data), &e), -1);
	assert_int_equal(zst_unpack(z, (const uint8_t *)"junk", 4, back, sizeof(data), &e), -1);
	assert_int_equal(e.kind, ERR_CORRUPT);
	zst_free(z);
}

#define STREAM 8000000

static size_t
cuts_of(const struct cut_rule *r, const uint8_t *data, size_t bytes, size_t piece, size_t *cuts)
{
	struct cut_state s = { 0, 0 };
	size_t count = 0, chunk = 0;

	for (size_t at = 0; at < bytes;) {
		size_t n = bytes - at < piece ? bytes - at : piece, used;
		bool ends;

		used = cut_scan(r, &s, data + at, n, &ends);
		at += used;
		chunk += used;
		assert_true(chunk <= r->max_bytes);
		if (ends) {
			assert_true(chunk > r->min_bytes || chunk == r->max_bytes);
			cuts[count++] = at;
			chunk = 0;
		}
	}
	return count;
}

static void
cuts_depend_on_content_alone(void **state)
{
	static uint8_t data[STREAM + 1];
	static size_t whole[1000], pieces[1000], moved[1000];
	uint8_t key[32] = { 1 };
	struct cut_rule rule;
	size_t n, m, same = 0;
	uint64_t x = 88172645463325252u;

	(void)state;
	for (size_t i = 0; i < STREAM; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		data[i] = (uint8_t)x;
	}
	cut_rule_init(&rule, key, 4096, 16384, 65536);
	n = cuts_of(&rule, data, STREAM, STREAM, whole);
	assert_in_range(STREAM / n, 12000, 24000);
	/* However the stream is fed. */
	assert_int_equal(cuts_of(&rule, data, STREAM, 777, pieces), n);
	assert_memory_equal(whole, pieces, n * sizeof(whole[0]));
	/* One byte in front moves every cut by one, but for the first few. */
	memmove(data + 1, data, STREAM);
	m = cuts_of(&rule, data, STREAM + 1, STREAM + 1, moved);
	for (size_t i = 0, k = 0; i < n && k < m;) {
		if (whole[i] + 1 == moved[k])
			same++, i++, k++;
		else if (whole[i] + 1 < moved[k])
			i++;
		else
			k++;
	}
	assert_true(same > n - 10);
	/* Another key cuts elsewhere. */
	key[0] = 2;
	cut_rule_init(&rule, key, 4096, 16384, 65536);
	m = cuts_of(&rule, data, STREAM + 1, STREAM + 1, pieces);
	same = 0;
	for (size_t i = 0; i < (n < m ? n : m); i++)
		same += pieces[i] == moved[i];
	assert_true(same < 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_give_the_published_values),
		cmocka_unit_test(key_derivation_gives_the_published_values),
		cmocka_unit_test(curves_give_the_published_values),
		cmocka_unit_test(sealed_bytes_open_only_as_they_were_sealed),
		cmocka_unit_test(a_frame_unpacks_to_what_was_recorded_or_not_at_all),
		cmocka_unit_test(cuts_depend_on_content_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
