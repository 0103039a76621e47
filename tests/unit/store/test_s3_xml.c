#include "unit/store/check.h"

#include "store/s3_error.h"
#include "store/s3_xml.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define WHOLE "<IsTruncated>false</IsTruncated>"
#define LIST HEAD "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"

static int
read_list(struct s3_page *p, const char *xml, struct err *e)
{
	memset(p, 0, sizeof(*p));
	return s3_xml_list(p, xml, strlen(xml), e);
}

static const char *
key(const struct s3_page *p, size_t i)
{
	return (const char *)p->text.data + p->objects[i].key;
}

static void
page_of_a_listing_is_read(void **state)
{
	struct s3_page p;
	struct err e = ERR_INIT;

	(void)state;
	OK(read_list(&p, LIST "<Name>b</Name><Prefix/><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>"
		"<NextContinuationToken>a&amp;b/+=</NextContinuationToken>"
		"<Contents><Key>packs%2Faa/1</Key><LastModified>2026-11-24T02:15:00.000Z</LastModified><ETag>&quot;x&quot;</ETag>"
		"<Size>33554432</Size>"
		"<Owner><ID>o</ID><Key>not this</Key></Owner><Type>Normal</Type></Contents>"
		"<Contents><Size>0</Size><Key>a+%2B&lt;</Key></Contents>"
		"<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes><EncodingType>url</EncodingType></ListBucketResult>", &e));
	assert_int_equal(p.count, 2);
	assert_string_equal(key(&p, 0), "packs/aa/1");
	assert_int_equal(p.objects[0].bytes, 33554432);
	assert_int_equal(p.objects[0].changed_us, INT64_C(1795486500) * 1000000);
	assert_string_equal(key(&p, 1), "a +<");
	assert_int_equal(p.objects[1].bytes, 0);
	assert_int_equal(p.objects[1].changed_us, 0);
	assert_true(p.truncated);
	assert_string_equal(p.token, "a&b/+=");
	s3_xml_page_clear(&p);
}

static void
keys_are_taken_as_they_are_where_the_store_does_not_encode(void **state)
{
	struct s3_page p;
	struct err e = ERR_INIT;

	(void)state;
	OK(read_list(&p, LIST WHOLE "<Contents><Key>a+%2B</Key><Size>1</Size></Contents></ListBucketResult>", &e));
	assert_string_equal(key(&p, 0), "a+%2B");
	assert_false(p.truncated);
	assert_null(p.token);
	s3_xml_page_clear(&p);
	OK(read_list(&p, LIST WHOLE "</ListBucketResult>", &e));
	assert_int_equal(p.count, 0);
	s3_xml_page_clear(&p);
}

/* R24: half a listing must never look like a whole one. */
static void
what_is_no_whole_listing_is_refused(void **state)
{
	static const char *const wrong[] = {
		"", " ", "not xml", HEAD, LIST, "<html><body>busy</body></html>",
		LIST WHOLE,
		LIST WHOLE "<Contents><Key>a</Key>",
		LIST "</ListBucketResult>",
		LIST "<Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>",
		LIST "<IsTruncated>true</IsTruncated></ListBucketResult>",
		LIST "<IsTruncated>true</IsTruncated><NextContinuationToken/></ListBucketResult>",
		LIST WHOLE "<Contents><Key>a</Key></Contents></ListBucketResult>",
		LIST WHOLE "<Contents><Size>1</Size></Contents></ListBucketResult>",
		LIST WHOLE "<Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
		LIST WHOLE "<Contents><Key>a</Key><Size>99999999999999999999</Size></Contents></ListBucketResult>",
		LIST WHOLE "<EncodingType>url</EncodingType><Contents><Key>a%2</Key><Size>1</Size></Contents></ListBucketResult>",
		LIST WHOLE "<EncodingType>url</EncodingType><Contents><Key>%zz</Key><Size>1</Size></Contents></ListBucketResult>",
		HEAD "<!DOCTYPE a [<!ENTITY x \"y\">]><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
		LIST WHOLE "<Contents><Key>&unknown;</Key><Size>1</Size></Contents></ListBucketResult>",
		LIST WHOLE "</ListBucketResult><more/>",
		"<Error><Code>SlowDown</Code></Error>",
	};
	struct s3_page p;
	struct err e = ERR_INIT;
	struct buf deep = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (read_list(&p, wrong[i], &e) == 0)
			fail_msg("taken for a listing: %s", wrong[i]);
		assert_int_equal(e.kind, ERR_STORE);
		s3_xml_page_clear(&p);
	}
	buf_addstr(&deep, LIST WHOLE);
	for (int i = 0; i < 40; i++)
		buf_addstr(&deep, "<a>");
	FAILS(ERR_STORE, read_list(&p, (char *)deep.data, &e));
	s3_xml_page_clear(&p);
	buf_free(&deep);
}

static void
errors_words_are_read_and_made_harmless(void **state)
{
	struct s3_error_text t;
	const char *xml = HEAD "<Error><Code>NoSuchKey</Code><Message>not \x1b[31mhere\n</Message></Error>";
	const char *good = HEAD "<Error><Code>NoSuchKey</Code><Message>not\there \xc3\xbc</Message><Region>eu-1</Region></Error>";
	char *huge;

	(void)state;
	assert_false(s3_xml_error(&t, xml, strlen(xml)));       /* an escape is no XML */
	assert_string_equal(t.code, "");
	assert_true(s3_xml_error(&t, good, strlen(good)));
	assert_string_equal(t.code, "NoSuchKey");
	assert_string_equal(t.message, "not?here ??");
	assert_string_equal(t.region, "eu-1");
	assert_false(s3_xml_error(&t, NULL, 0));
	assert_false(s3_xml_error(&t, "<html>404</html>", 16));
	assert_false(s3_xml_error(&t, "<Error></Error>", 15));
	assert_false(s3_xml_error(&t, good, strlen(good) - 1));
	huge = mem_printf("<Error><Code>%04000d</Code></Error>", 0);
	assert_true(s3_xml_error(&t, huge, strlen(huge)));
	assert_int_equal(strlen(t.code), sizeof(t.code) - 1);
	free(huge);
}

static void
every_refusal_has_its_kind_and_its_hint(void **state)
{
	static const struct { long status; const char *code, *region; enum err_kind kind; const char *hint; } cases[] = {
		{ 404, "NoSuchKey", "", ERR_NOT_FOUND, "" },
		{ 404, "NoSuchBucket", "", ERR_USAGE, "Make the bucket" },
		{ 404, "NoSuchUpload", "", ERR_FAILED, "" },
		{ 404, "", "", ERR_STORE, "S3 server" },
		{ 403, "AccessDenied", "", ERR_DENIED, "policy" },
		{ 403, "InvalidAccessKeyId", "", ERR_DENIED, "access key" },
		{ 403, "SignatureDoesNotMatch", "", ERR_DENIED, "secret key" },
		{ 403, "RequestTimeTooSkewed", "", ERR_DENIED, "clock" },
		{ 400, "ExpiredToken", "", ERR_DENIED, "expired" },
		{ 403, "", "", ERR_DENIED, "" },
		{ 401, "", "", ERR_DENIED, "" },
		{ 503, "SlowDown", "", ERR_STORE, "" },
		{ 503, "SlowDownWrite", "", ERR_STORE, "" },
		{ 500, "InternalError", "", ERR_STORE, "" },
		{ 400, "RequestTimeout", "", ERR_STORE, "" },
		{ 400, "BadDigest", "", ERR_STORE, "" },
		{ 400, "XAmzContentSHA256Mismatch", "", ERR_STORE, "" },
		{ 409, "ConditionalRequestConflict", "", ERR_STORE, "" },
		{ 429, "", "", ERR_STORE, "" },
		{ 502, "", "", ERR_STORE, "" },
		{ 507, "XMinioStorageFull", "", ERR_SPACE, "full" },
		{ 507, "", "", ERR_SPACE, "" },
		{ 403, "QuotaExceeded", "", ERR_SPACE, "quota" },
		{ 412, "PreconditionFailed", "", ERR_EXISTS, "" },
		{ 416, "InvalidRange", "", ERR_CORRUPT, "" },
		{ 301, "PermanentRedirect", "eu-central-1", ERR_USAGE, "\"eu-central-1\"" },
		{ 307, "", "", ERR_USAGE, "us-east-1" },
		{ 400, "AuthorizationHeaderMalformed", "eu-west-1", ERR_USAGE, "\"eu-west-1\"" },
		{ 400, "InvalidArgument", "", ERR_FAILED, "" },
		{ 0, "SlowDown", "", ERR_STORE, "" },
	};
	char bucket[] = "bucket", endpoint[] = "https://s3.example", prefix[] = "p/", region[] = "us-east-1";
	struct s3_site site = { .bucket = bucket, .endpoint = endpoint, .prefix = prefix, .region = region };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct s3_failure f = { .status = cases[i].status };
		struct err e = ERR_INIT;

		snprintf(f.text.code, sizeof(f.text.code), "%s", cases[i].code);
		snprintf(f.text.region, sizeof(f.text.region), "%s", cases[i].region);
		snprintf(f.text.message, sizeof(f.text.message), "words of the store");
		s3_error_set(&e, &site, "put of", "name", &f);
		if (e.kind != cases[i].kind)
			fail_msg("%ld %s is %s", cases[i].status, cases[i].code, err_kind_name(e.kind));
		SAYS(e.hint, cases[i].hint);
		SAYS(e.msg, "put of \"p/name\" in bucket \"bucket\" at https://s3.example");
		SAYS(e.msg, cases[i].code);
		SAYS(e.msg, "words of the store");
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_of_a_listing_is_read),
		cmocka_unit_test(keys_are_taken_as_they_are_where_the_store_does_not_encode),
		cmocka_unit_test(what_is_no_whole_listing_is_refused),
		cmocka_unit_test(errors_words_are_read_and_made_harmless),
		cmocka_unit_test(every_refusal_has_its_kind_and_its_hint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
