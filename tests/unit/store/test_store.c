#include "unit/store/check.h"

#include <signal.h>
#include <sys/wait.h>

#include "store/s3_credentials.h"
#include "store/s3_site.h"

static char *scratch;

static void
names_follow_the_strictest_store(void **state)
{
	static const char *const good[] = { "a", "a/b", "wal/7000000000000000001/00000001/000000010000000000000001", "...",
	    "a/.b", "-", "_", "0.9" };
	static const char *const bad[] = {
		"", "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/..", "../a", "a/../b", "./a", "A", "a b", "a+b", "a%2f",
		    "a\\b", "\xc3\xbc", "a\n", "a:b",
	};
	char text[STORE_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!store_name_valid(good[i]))
			fail_msg("\"%s\" is refused", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (store_name_valid(bad[i]))
			fail_msg("\"%s\" is accepted", bad[i]);
	memset(text, 'x', sizeof(text));
	text[255] = '\0';
	assert_true(store_name_valid(text));
	text[255] = 'x';
	text[256] = '\0';
	assert_false(store_name_valid(text));
	text[255] = text[511] = '/';
	text[256] = 'x';
	text[511] = 'x';
	text[510] = '/';
	text[512] = '\0';
	assert_true(store_name_valid(text));
	text[512] = 'x';
	text[513] = '\0';
	assert_false(store_name_valid(text));
	assert_true(store_prefix_valid(""));
	assert_true(store_prefix_valid("a/"));
	assert_true(store_prefix_valid("a/b.c/"));
	assert_false(store_prefix_valid("a"));
	assert_false(store_prefix_valid("/"));
	assert_false(store_prefix_valid("a//"));
	assert_false(store_prefix_valid("../"));
}

#ifndef NDEBUG
/* A bad name is a bug of ours; it must not get as far as a path or a URL. */
static void
bad_name_ends_the_process_before_it_reaches_a_store(void **state)
{
	struct store_config c = { .kind = STORE_FOLDER, .path = scratch };

	(void)state;
	for (int verb = 0; verb < 5; verb++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			struct err e = ERR_INIT;
			struct store *s = store_open(&c, false, &e);
			struct store_object o;
			struct buf to = BUF_INIT;
			size_t n = 0;
			int rc = 0;

			freopen("/dev/null", "w", stderr);
			signal(SIGABRT, SIG_DFL);
			switch (verb) {
			case 0: rc = store_put(s, "../x", "x", 1, &e); break;
			case 1: rc = store_get(s, "../x", 0, 0, &to, &e); break;
			case 2: rc = store_stat(s, "../x", &o, &e); break;
			case 3: rc = store_list(s, "../", count_each, &n, &e); break;
			default: rc = store_remove(s, "../x", &e); break;
			}
			_exit(rc == 0 ? 0 : 1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
	}
}
#endif

static char *
file_with(const char *name, const char *content, mode_t mode)
{
	char *path = mem_printf("%s/%s", scratch, name);
	struct err e = ERR_INIT;

	OK(file_write_replace(path, content, strlen(content), mode, &e));
	return path;
}

static struct store_config
base_config(void)
{
	static char access[200], secret[200];

	snprintf(access, sizeof(access), "%s/access", scratch);
	snprintf(secret, sizeof(secret), "%s/secret", scratch);
	free(file_with("access", "AKIA\n", 0600));
	free(file_with("secret", "canary+/=\n", 0600));
	return (struct store_config){ .kind = STORE_S3, .endpoint = "https://minio.example:9000", .bucket = "sm-backups",
	    .prefix = "langfuse/",
	                              .access_key_file = access, .secret_key_file = secret };
}

static void
assert_site(const char *endpoint, const char *authority, const char *full)
{
	struct store_config c = base_config();
	struct s3_site site;
	struct err e = ERR_INIT;

	c.endpoint = endpoint;
	OK(s3_site_init(&site, &c, &e));
	assert_string_equal(site.authority, authority);
	assert_string_equal(site.endpoint, full);
	s3_site_clear(&site);
}

static void
assert_refused(const struct store_config *c, const char *words)
{
	struct s3_site site;
	struct err e = ERR_INIT;

	FAILS(ERR_USAGE, s3_site_init(&site, c, &e));
	SAYS(e.msg, words);
}

static void
endpoints_are_scheme_host_and_port(void **state)
{
	static const char *const bad[] = {
		"minio.example", "ftp://minio.example", "https://", "https:///", "https://a:0", "https://a:65536", "https://a:",
		    "https://a:9000x",
		"https://a/path", "https://a?x=1", "https://a b", "https://[::1", "https://[xyz]", "https://a\r\nEvil: 1",
		    "https://\xc3\xbc.example",
	};

	(void)state;
	assert_site("https://Minio.Example:9000", "minio.example:9000", "https://minio.example:9000");
	assert_site("https://minio.example/", "minio.example", "https://minio.example");
	assert_site("HTTPS://minio.example:443", "minio.example", "https://minio.example");
	assert_site("http://minio.example:80", "minio.example", "http://minio.example");
	assert_site("http://minio.example:443", "minio.example:443", "http://minio.example:443");
	assert_site("http://[::1]:9000", "[::1]:9000", "http://[::1]:9000");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct store_config c = base_config();

		c.endpoint = bad[i];
		assert_refused(&c, "endpoint");
	}
}

static void
password_in_an_endpoint_is_refused_without_being_repeated(void **state)
{
	struct store_config c = base_config();
	struct s3_site site;
	struct err e = ERR_INIT;

	(void)state;
	c.endpoint = "https://user:canary@minio.example";
	FAILS(ERR_USAGE, s3_site_init(&site, &c, &e));
	assert_null(strstr(e.msg, "canary"));
	assert_null(strstr(e.hint, "canary"));
}

static void
bucket_prefix_region_and_ca_file_are_checked(void **state)
{
	static const char *const buckets[] = { NULL, "", "ab", "a/b", "bucket/", "a..b", "-ab", "b\xc3\xbc" "cket", "a b c" };
	static const char *const prefixes[] = { "/a", "a//b", "Upper/", "a b/", "../", "a/./b", "/" };
	struct store_config c;
	struct s3_site site;
	struct err e = ERR_INIT;
	char *long_prefix;

	(void)state;
	for (size_t i = 0; i < sizeof(buckets) / sizeof(buckets[0]); i++) {
		c = base_config();
		c.bucket = buckets[i];
		assert_refused(&c, "bucket");
	}
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		c = base_config();
		c.prefix = prefixes[i];
		assert_refused(&c, "prefix");
	}
	c = base_config();
	long_prefix = mem_printf("%0250d/%0250d", 0, 0);
	c.prefix = long_prefix;
	assert_refused(&c, "prefix");
	free(long_prefix);
	c = base_config();
	c.region = "us east";
	assert_refused(&c, "region");
	c = base_config();
	c.ca_file = "/nowhere/ca.crt";
	assert_refused(&c, "ca_file");

	c = base_config();
	c.prefix = "langfuse";
	OK(s3_site_init(&site, &c, &e));
	assert_string_equal(site.prefix, "langfuse/");
	assert_string_equal(site.region, "us-east-1");
	assert_int_equal(site.connect_ms, 10000);
	assert_int_equal(site.stall_ms, 30000);
	assert_int_equal(site.total_ms, 600000);
	s3_site_clear(&site);
	c.prefix = NULL;
	OK(s3_site_init(&site, &c, &e));
	assert_string_equal(site.prefix, "");
	s3_site_clear(&site);
}

/* libs3 verifies nothing, and has no session tokens: refused, not dropped. */
static void
v2_refuses_what_it_cannot_do(void **state)
{
	struct store_config c = base_config();
	struct err e = ERR_INIT;
	struct store *s;

	(void)state;
	c.signature = "v2";
	assert_null(store_open(&c, false, &e));
	assert_int_equal(e.kind, ERR_USAGE);
	SAYS(e.hint, "v2_unverified_tls");
	c.v2_unverified_tls = true;
	s = store_open(&c, false, &e);
	assert_non_null(s);
	SAYS(store_label(s), "s3 sm-backups/langfuse/ at https://minio.example:9000");
	store_free(s);
	c.signature = "v3";
	assert_null(store_open(&c, false, &e));
	assert_int_equal(e.kind, ERR_USAGE);
	c.signature = "v2";
	c.access_key_file = c.secret_key_file = NULL;
	c.credentials_file = file_with("token", "[default]\naws_access_key_id=a\n"
	    "aws_secret_access_key=b\naws_session_token=c\n", 0600);
	assert_null(store_open(&c, false, &e));
	SAYS(e.msg, "session token");
	free((char *)(uintptr_t)c.credentials_file);
}

static void
credentials_come_from_the_first_source_that_is_set(void **state)
{
	struct store_config c = base_config();
	struct s3_credentials k;
	struct err e = ERR_INIT;
	char *shared = file_with("shared", "# comment\n[default]\naws_access_key_id = D\naws_secret_access_key = d/+=x\n\n"
		"[ night ]\r\nAWS_ACCESS_KEY_ID=N\r\n;aws_access_key_id=no\n"
		" aws_secret_access_key =n = n\r\naws_session_token=t\nregion=eu\n", 0600);

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "E", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "e", 1);
	setenv("AWS_SESSION_TOKEN", "s", 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", shared, 1);
	c.credentials_file = shared;
	OK(s3_credentials_read(&k, &c, &e));
	assert_string_equal(k.access, "AKIA");
	assert_string_equal(k.secret, "canary+/=");
	assert_null(k.session_token);
	s3_credentials_clear(&k);

	c.access_key_file = c.secret_key_file = NULL;
	OK(s3_credentials_read(&k, &c, &e));
	assert_string_equal(k.access, "D");
	assert_string_equal(k.secret, "d/+=x");
	assert_null(k.session_token);
	s3_credentials_clear(&k);

	c.credentials_file = NULL;
	OK(s3_credentials_read(&k, &c, &e));
	assert_string_equal(k.access, "E");
	assert_string_equal(k.secret, "e");
	assert_string_equal(k.session_token, "s");
	s3_credentials_clear(&k);

	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_SESSION_TOKEN");
	setenv("AWS_PROFILE", "default", 1);
	OK(s3_credentials_read(&k, &c, &e));
	assert_string_equal(k.access, "D");
	s3_credentials_clear(&k);
	/* The setting goes before the environment.  A secret with blanks in it is none. */
	c.profile = "night";
	FAILS(ERR_USAGE, s3_credentials_read(&k, &c, &e));
	SAYS(e.msg, "secret key");
	unsetenv("AWS_SHARED_CREDENTIALS_FILE");
	unsetenv("AWS_PROFILE");
	free(shared);
}

static void
home_is_the_last_place_to_look(void **state)
{
	struct store_config c = base_config();
	struct s3_credentials k;
	struct err e = ERR_INIT;
	char *folder = mem_printf("%s/.aws", scratch);

	(void)state;
	c.access_key_file = c.secret_key_file = NULL;
	setenv("HOME", scratch, 1);
	FAILS(ERR_USAGE, s3_credentials_read(&k, &c, &e));
	SAYS(e.hint, "access_key_file");
	OK(file_mkdirs(folder, 0700, &e));
	free(file_with(".aws/credentials", "[default]\naws_access_key_id=H\naws_secret_access_key=h\naws_session_token=t\n",
	    0600));
	OK(s3_credentials_read(&k, &c, &e));
	assert_string_equal(k.access, "H");
	assert_string_equal(k.session_token, "t");
	s3_credentials_clear(&k);
	free(folder);
}

/* A source that is set and wrong is never skipped for the next, which may be somebody else's; no message holds a key. */
static void
source_that_is_wrong_is_an_error_and_tells_no_secret(void **state)
{
	static const struct { const char *content; mode_t mode; enum err_kind kind; } files[] = {
		{ "[default]\naws_access_key_id=canary\n", 0600, ERR_USAGE },
		{ "[default]\naws_secret_access_key=canary\n", 0600, ERR_USAGE },
		{ "[default]\naws_access_key_id=\naws_secret_access_key=canary\n", 0600, ERR_USAGE },
		{ "[default]\naws_access_key_id=a\naws_secret_access_key=canary\x01\n", 0600, ERR_USAGE },
		{ "[other]\naws_access_key_id=a\naws_secret_access_key=canary\n", 0600, ERR_USAGE },
		{ "canary\n", 0600, ERR_USAGE },
		{ "", 0600, ERR_USAGE },
		{ "[default]\naws_access_key_id=a\naws_secret_access_key=canary\n", 0644, ERR_DENIED },
	};
	struct store_config c = base_config();
	struct s3_credentials k;
	struct err e = ERR_INIT;
	char *path;

	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "E", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "e", 1);
	c.secret_key_file = NULL;
	FAILS(ERR_USAGE, s3_credentials_read(&k, &c, &e));
	c.secret_key_file = "/nowhere/secret";
	FAILS(ERR_USAGE, s3_credentials_read(&k, &c, &e));
	SAYS(e.msg, "/nowhere/secret");
	c.access_key_file = c.secret_key_file = NULL;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		path = file_with("wrong", files[i].content, files[i].mode);
		c.credentials_file = path;
		FAILS(files[i].kind, s3_credentials_read(&k, &c, &e));
		if (strstr(e.msg, "canary") != NULL || strstr(e.hint, "canary") != NULL)
			fail_msg("a key is in \"%s\"", e.msg);
		free(path);
	}
	c.credentials_file = NULL;
	unsetenv("AWS_SECRET_ACCESS_KEY");
	FAILS(ERR_USAGE, s3_credentials_read(&k, &c, &e));
	unsetenv("AWS_ACCESS_KEY_ID");
}

static int
begin(void **state)
{
	static const char *const names[] = { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
	    "AWS_SHARED_CREDENTIALS_FILE" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	scratch = scratch_new();
	return 0;
}

static int
end(void **state)
{
	(void)state;
	scratch_remove(scratch);
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_follow_the_strictest_store),
#ifndef NDEBUG
		cmocka_unit_test(bad_name_ends_the_process_before_it_reaches_a_store),
#endif
		cmocka_unit_test(endpoints_are_scheme_host_and_port),
		cmocka_unit_test(password_in_an_endpoint_is_refused_without_being_repeated),
		cmocka_unit_test(bucket_prefix_region_and_ca_file_are_checked),
		cmocka_unit_test(v2_refuses_what_it_cannot_do),
		cmocka_unit_test(credentials_come_from_the_first_source_that_is_set),
		cmocka_unit_test(home_is_the_last_place_to_look),
		cmocka_unit_test(source_that_is_wrong_is_an_error_and_tells_no_secret),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
