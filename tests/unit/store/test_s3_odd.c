#include "unit/store/canned.h"

#include "base/stop.h"

/* Answers that no healthy store gives, to both transports.  None may become a success, and none a proved "not found". */

static char *scratch, *access_file, *secret_file;

static struct store *
open_at(const struct canned *c, const char *signature, unsigned attempts)
{
	char *endpoint = mem_printf("http://127.0.0.1:%u", (unsigned)c->port);
	struct store_config config = {
		.kind = STORE_S3, .endpoint = endpoint, .bucket = "bucket", .prefix = "p/", .signature = signature,
		    .access_key_file = access_file,
		.secret_key_file = secret_file, .attempts = attempts, .stall_timeout_ms = 3000,
	};
	struct err e = ERR_INIT;
	struct store *s = store_open(&config, false, &e);

	if (s == NULL)
		fail_msg("%s", e.msg);
	free(endpoint);
	return s;
}

#define CLOSE "Connection: close\r\n"
#define OK200(length) "HTTP/1.1 200 OK\r\nContent-Length: " #length "\r\n" CLOSE "\r\n"
#define R206(range, length)                                                                                     \
	"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " range "\r\nContent-Length: " #length "\r\n" CLOSE "\r\n"
#define SAID(status, code)                                                                                      \
	"HTTP/1.1 " status "\r\nContent-Type: application/xml\r\n" CLOSE "\r\n"                                 \
	"<Error><Code>" code "</Code><Message>m</Message></Error>"

/* One get of [offset, bytes], answered by `answer`. */
static void
assert_get(const char *signature, const char *answer, uint64_t offset, size_t bytes, enum err_kind kind)
{
	const char *answers[] = { answer, NULL };
	struct canned c;
	struct store *s;
	struct buf to = BUF_INIT;
	struct err e = ERR_INIT;
	int rc;

	canned_begin(&c, answers);
	s = open_at(&c, signature, 1);
	rc = store_get(s, "x", offset, bytes, &to, &e);
	if ((rc == 0) != (kind == ERR_NONE) || e.kind != kind)
		fail_msg("%s: %s (%s) for %s", signature, err_kind_name(e.kind), e.msg, answer);
	assert_int_equal(to.bytes, rc == 0 ? 5 : 0);
	buf_free(&to);
	store_free(s);
	canned_end(&c);
}

static void
get_takes_the_whole_answer_to_its_question_and_no_other(void **state)
{
	static const struct { const char *answer; uint64_t offset; size_t bytes; enum err_kind kind; } cases[] = {
		{ OK200(5) "12345", 0, 0, ERR_NONE },
		{ OK200(6) "12345", 0, 0, ERR_STORE },                          /* broke off */
		{ OK200(6), 0, 0, ERR_STORE },
		{ "HTTP/1.1 200 OK\r\n" CLOSE "\r\n12345", 0, 0, ERR_STORE },    /* no length: was that all? */
		{ OK200(33554433) "12345", 0, 0, ERR_STORE },
		{ R206("10-14/100", 5) "12345", 10, 5, ERR_NONE },
		{ R206("10-13/100", 4) "1234", 10, 5, ERR_CORRUPT },
		{ R206("95-99/100", 5) "12345", 95, 0, ERR_NONE },
		{ R206("10-14/100", 6) "12345", 10, 5, ERR_STORE },
		{ "HTTP/1.1 204 No Content\r\n" CLOSE "\r\n", 0, 0, ERR_FAILED },
		{ "", 0, 0, ERR_STORE },
		{ "HTTP/1.1 200 OK\r\nConte", 0, 0, ERR_STORE },
		{ "SSH-2.0-OpenSSH\r\n", 0, 0, ERR_STORE },
		{ SAID("404 Not Found", "NoSuchKey"), 0, 0, ERR_NOT_FOUND },
		{ SAID("404 Not Found", "NoSuchBucket"), 0, 0, ERR_USAGE },
		{ "HTTP/1.1 404 Not Found\r\n" CLOSE "\r\n<html>no backend</html>", 0, 0, ERR_STORE },
		{ "HTTP/1.1 404 Not Found\r\n" CLOSE "\r\n", 0, 0, ERR_STORE },
		{ SAID("503 Slow Down", "SlowDown"), 0, 0, ERR_STORE },
		{ "HTTP/1.1 502 Bad Gateway\r\n" CLOSE "\r\n", 0, 0, ERR_STORE },
		{ SAID("403 Forbidden", "AccessDenied"), 0, 0, ERR_DENIED },
		{ "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\n" CLOSE "\r\n", 0, 0, ERR_USAGE },
	}, only_v4[] = {
		{ R206("0-4/100", 5) "12345", 10, 5, ERR_CORRUPT },
		{ R206("10-14/100", 5) "12345", 10, 0, ERR_CORRUPT },
		{ R206("x", 5) "12345", 10, 5, ERR_CORRUPT },
		{ OK200(5) "12345", 10, 5, ERR_CORRUPT },
		{ R206("10-15/100", 6) "123456", 10, 5, ERR_CORRUPT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_get("v4", cases[i].answer, cases[i].offset, cases[i].bytes, cases[i].kind);
	for (size_t i = 0; i < sizeof(only_v4) / sizeof(only_v4[0]); i++)
		assert_get("v4", only_v4[i].answer, only_v4[i].offset, only_v4[i].bytes, only_v4[i].kind);
}

/* libs3 tells less, so kinds may be coarser; what must hold holds. */
static void
libs3_turns_no_half_answer_into_a_success(void **state)
{
	static const struct { const char *answer; uint64_t offset; size_t bytes; enum err_kind kind; } cases[] = {
		{ OK200(5) "12345", 0, 0, ERR_NONE },
		{ OK200(6) "12345", 0, 0, ERR_STORE },
		{ OK200(6), 0, 0, ERR_STORE },
		{ "HTTP/1.1 200 OK\r\n" CLOSE "\r\n12345", 0, 0, ERR_STORE },
		{ R206("10-14/100", 5) "12345", 10, 5, ERR_NONE },
		{ R206("10-13/100", 4) "1234", 10, 5, ERR_CORRUPT },
		{ R206("10-15/100", 6) "123456", 10, 5, ERR_CORRUPT },
		{ R206("10-14/100", 6) "12345", 10, 5, ERR_STORE },
		{ SAID("404 Not Found", "NoSuchKey"), 0, 0, ERR_NOT_FOUND },
		{ SAID("404 Not Found", "NoSuchBucket"), 0, 0, ERR_USAGE },
		{ "HTTP/1.1 404 Not Found\r\n" CLOSE "\r\n", 0, 0, ERR_STORE },
		{ SAID("403 Forbidden", "AccessDenied"), 0, 0, ERR_DENIED },
		{ SAID("503 Slow Down", "SlowDown"), 0, 0, ERR_STORE },
		{ SAID("507 Full", "XMinioStorageFull"), 0, 0, ERR_STORE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_get("v2", cases[i].answer, cases[i].offset, cases[i].bytes, cases[i].kind);
}

/* R13: HEAD's 404 has no words; the question is asked again in a way that has. */
static void
head_that_says_404_is_asked_for_its_reason(void **state)
{
	static const struct { const char *second; enum err_kind kind; } cases[] = {
		{ SAID("404 Not Found", "NoSuchKey"), ERR_NOT_FOUND },
		{ SAID("404 Not Found", "NoSuchBucket"), ERR_USAGE },
		{ "HTTP/1.1 404 Not Found\r\n" CLOSE "\r\n", ERR_STORE },
		{ R206("0-0/1", 1) "x", ERR_STORE },
		{ SAID("503 Slow Down", "SlowDown"), ERR_STORE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (unsigned v = 0; v < 2; v++) {
			const char *answers[] = { "HTTP/1.1 404 Not Found\r\n" CLOSE "\r\n", cases[i].second, NULL };
			struct canned c;
			struct store *s;
			struct store_object o;
			struct err e = ERR_INIT;

			canned_begin(&c, answers);
			s = open_at(&c, v == 0 ? "v4" : "v2", 1);
			FAILS(cases[i].kind, store_stat(s, "x", &o, &e));
			store_free(s);
			canned_end(&c);
		}
}

static void
put_is_sent_with_its_sums_and_its_condition(void **state)
{
	static const char *const answers[] = { OK200(0), NULL };
	struct canned c;
	struct store *s;
	struct err e = ERR_INIT;
	const char *seen;

	(void)state;
	canned_begin(&c, answers);
	s = open_at(&c, "v4", 1);
	OK(store_put(s, "a/b", "hello", 5, &e));
	seen = (char *)c.requests.data;
	SAYS(seen, "PUT /bucket/p/a/b HTTP/1.1\r\n");
	SAYS(seen, "content-md5: XUFAKrxLKna5cZ2REBfFkg==\r\n");
	SAYS(seen, "x-amz-content-sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\r\n");
	SAYS(seen, "if-none-match: *\r\n");
	SAYS(seen, "SignedHeaders=content-md5;host;if-none-match;x-amz-content-sha256;x-amz-date, Signature=");
	SAYS(seen, "Content-Length: 5\r\n");
	assert_null(strcasestr(seen, "Expect:"));
	assert_null(strcasestr(seen, "Transfer-Encoding"));
	assert_null(strstr(seen, "canary"));
	store_free(s);
	canned_end(&c);
}

/* R26, R27: a store that does not know the condition is asked with HEAD instead, from then on. */
static void
store_without_conditions_is_looked_at_before_each_put(void **state)
{
	static const char *const answers[] = {
		SAID("501 Not Implemented", "NotImplemented"),
		"HTTP/1.1 404 Not Found\r\n" CLOSE "\r\n", SAID("404 Not Found", "NoSuchKey"), OK200(0),
		OK200(5), OK200(5) "other", NULL,
	};
	struct canned c;
	struct store *s;
	struct err e = ERR_INIT;

	(void)state;
	canned_begin(&c, answers);
	s = open_at(&c, "v4", 1);
	OK(store_put(s, "x", "hello", 5, &e));
	FAILS(ERR_EXISTS, store_put(s, "x", "hello", 5, &e));
	store_free(s);
	canned_end(&c);
}

static void
retry_gets_through_what_passes(void **state)
{
	static const char *const answers[] = { SAID("503 Slow Down", "SlowDown"), OK200(6) "12", "", OK200(5) "12345", NULL };
	struct canned c;
	struct store *s;

	(void)state;
	canned_begin(&c, answers);
	s = open_at(&c, "v4", 4);
	assert_object(s, "x", "12345", 5);
	store_free(s);
	canned_end(&c);
}

#define PAGE(more, keys) "HTTP/1.1 200 OK\r\n" CLOSE "\r\n<ListBucketResult>" more keys "</ListBucketResult>"
#define LAST "<IsTruncated>false</IsTruncated>"
#define MORE(token) "<IsTruncated>true</IsTruncated><NextContinuationToken>" token "</NextContinuationToken>"
#define KEY(key) "<Contents><Key>" key "</Key><Size>1</Size></Contents>"

static void
assert_list(const char *const *answers, enum err_kind kind, size_t count)
{
	struct canned c;
	struct store *s;
	struct err e = ERR_INIT;
	size_t n = 0;

	canned_begin(&c, answers);
	s = open_at(&c, "v4", 1);
	if (kind == ERR_NONE)
		OK(store_list(s, "w/", count_each, &n, &e));
	else
		FAILS(kind, store_list(s, "w/", count_each, &n, &e));
	assert_int_equal(n, count);
	store_free(s);
	canned_end(&c);
}

/* R24: no listing that ended early, and none that never ends. */
static void
listing_is_complete_or_an_error(void **state)
{
	(void)state;
	assert_list((const char *[]){ PAGE(MORE("t1"), KEY("p/w/1")), PAGE(LAST, KEY("p/w/2")), NULL }, ERR_NONE, 2);
	assert_list((const char *[]){ PAGE(MORE("t1"), KEY("p/w/1")), "HTTP/1.1 503 x\r\n" CLOSE "\r\n", NULL }, ERR_STORE, 0);
	assert_list((const char *[]){ PAGE(MORE("t1"), KEY("p/w/1")), PAGE(MORE("t1"), KEY("p/w/1")), NULL }, ERR_STORE, 0);
	assert_list((const char *[]){ PAGE("", KEY("p/w/1")), NULL }, ERR_STORE, 0);
	assert_list((const char *[]){ "HTTP/1.1 200 OK\r\n" CLOSE "\r\n<html/>", NULL }, ERR_STORE, 0);
	assert_list((const char *[]){ "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n" CLOSE "\r\n<ListBucketResult>" LAST, NULL },
	    ERR_STORE, 0);
	/* What was not asked for is no object of ours, whatever it is. */
	assert_list((const char *[]){ PAGE(LAST, KEY("q/w/1")), NULL }, ERR_CORRUPT, 0);
	assert_list((const char *[]){ PAGE(LAST, KEY("p/v/1")), NULL }, ERR_CORRUPT, 0);
	assert_list((const char *[]){ PAGE(LAST, KEY("p/w/") KEY("p/w/README") KEY("p/w/../x") KEY("p/w/1")), NULL }, ERR_NONE,
	    1);
}

static int
begin(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	scratch = scratch_new();
	access_file = mem_printf("%s/access", scratch);
	secret_file = mem_printf("%s/secret", scratch);
	OK(file_write_replace(access_file, "AKIA", 4, 0600, &e));
	OK(file_write_replace(secret_file, "canary", 6, 0600, &e));
	return 0;
}

static int
end(void **state)
{
	(void)state;
	free(access_file);
	free(secret_file);
	scratch_remove(scratch);
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_takes_the_whole_answer_to_its_question_and_no_other),
		cmocka_unit_test(libs3_turns_no_half_answer_into_a_success),
		cmocka_unit_test(head_that_says_404_is_asked_for_its_reason),
		cmocka_unit_test(put_is_sent_with_its_sums_and_its_condition),
		cmocka_unit_test(store_without_conditions_is_looked_at_before_each_put),
		cmocka_unit_test(retry_gets_through_what_passes),
		cmocka_unit_test(listing_is_complete_or_an_error),
	};

	stop_install();
	setenv("no_proxy", "*", 1);
	return cmocka_run_group_tests(tests, begin, end);
}
