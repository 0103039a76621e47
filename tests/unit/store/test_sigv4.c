#include "unit/store/check.h"

#include "base/hash.h"
#include "store/sigv4.h"

/* The values are AWS's own: "Signature Calculations for the Authorization Header" of the S3 API reference, and the
 * Signature Version 4 test suite. */

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct sigv4_key s3_key = {
	"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", "s3",
};
static const struct sigv4_key suite_key = {
	"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service",
};

static void
assert_signature(const struct sigv4_request *r, const struct sigv4_key *k, const char *date, const char *expected)
{
	struct buf to = BUF_INIT;

	sigv4_authorization(&to, r, k, date);
	assert_string_equal((char *)to.data, expected);
	buf_free(&to);
}

static void
get_of_an_object_with_a_range(void **state)
{
	static const struct sigv4_header h[] = {
		{ "host", "examplebucket.s3.amazonaws.com" }, { "range", "bytes=0-9" }, { "x-amz-content-sha256", EMPTY },
		{ "x-amz-date", "20130524T000000Z" },
	};

	(void)state;
	assert_signature(&(struct sigv4_request){ "GET", "/test.txt", "", h, 4, EMPTY }, &s3_key, "20130524T000000Z",
		"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void
put_of_an_object(void **state)
{
	static const char body[] = "Welcome to Amazon S3.";
	uint8_t digest[SHA256_BYTES];
	char payload[SHA256_HEX];
	struct buf path = BUF_INIT;
	struct sigv4_header h[] = {
		{ "date", "Fri, 24 May 2013 00:00:00 GMT" }, { "host", "examplebucket.s3.amazonaws.com" },
		{ "x-amz-content-sha256", payload }, { "x-amz-date", "20130524T000000Z" }, { "x-amz-storage-class",
		    "REDUCED_REDUNDANCY" },
	};

	(void)state;
	hash_sha256(digest, body, strlen(body));
	hex_encode(payload, digest, sizeof(digest));
	sigv4_encode(&path, "/test$file.text", true);
	assert_string_equal((char *)path.data, "/test%24file.text");
	assert_signature(&(struct sigv4_request){ "PUT", (char *)path.data, "", h, 5, payload }, &s3_key, "20130524T000000Z",
		"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
		"SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
		"Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	buf_free(&path);
}

static void
queries_with_and_without_a_value(void **state)
{
	static const struct sigv4_header h[] = {
		{ "host", "examplebucket.s3.amazonaws.com" }, { "x-amz-content-sha256", EMPTY }, { "x-amz-date",
		    "20130524T000000Z" },
	};
	static const char credential[] = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
		"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=";
	char *expected;

	(void)state;
	expected = mem_printf("%s%s", credential, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	assert_signature(&(struct sigv4_request){ "GET", "/", "lifecycle=", h, 3, EMPTY }, &s3_key, "20130524T000000Z", expected);
	free(expected);
	expected = mem_printf("%s%s", credential, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
	assert_signature(&(struct sigv4_request){ "GET", "/", "max-keys=2&prefix=J", h, 3, EMPTY }, &s3_key, "20130524T000000Z",
	    expected);
	free(expected);
}

static void
test_suite_get_vanilla_and_query_order(void **state)
{
	static const struct sigv4_header h[] = { { "host", "example.amazonaws.com" }, { "x-amz-date", "20150830T123600Z" } };
	static const char credential[] = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
		"SignedHeaders=host;x-amz-date, Signature=";
	char *expected;

	(void)state;
	expected = mem_printf("%s%s", credential, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	assert_signature(&(struct sigv4_request){ "GET", "/", "", h, 2, EMPTY }, &suite_key, "20150830T123600Z", expected);
	free(expected);
	expected = mem_printf("%s%s", credential, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
	assert_signature(&(struct sigv4_request){ "GET", "/", "Param1=value1&Param2=value2", h, 2, EMPTY }, &suite_key,
	    "20150830T123600Z", expected);
	free(expected);
}

static void
only_unreserved_characters_stay_as_they_are(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	sigv4_encode(&b, "azAZ09-._~ +/=&?%\x7f\xc3\xbc", false);
	assert_string_equal((char *)b.data, "azAZ09-._~%20%2B%2F%3D%26%3F%25%7F%C3%BC");
	buf_clear(&b);
	sigv4_encode(&b, "a/b", true);
	assert_string_equal((char *)b.data, "a/b");
	buf_free(&b);
}

static void
date_is_utc_without_separators(void **state)
{
	char date[SIGV4_DATE];

	(void)state;
	sigv4_date(date, INT64_C(1440938160) * 1000000 + 999999);
	assert_string_equal(date, "20150830T123600Z");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_of_an_object_with_a_range),
		cmocka_unit_test(put_of_an_object),
		cmocka_unit_test(queries_with_and_without_a_value),
		cmocka_unit_test(test_suite_get_vanilla_and_query_order),
		cmocka_unit_test(only_unreserved_characters_stay_as_they_are),
		cmocka_unit_test(date_is_utc_without_separators),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
