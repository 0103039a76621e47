#include "unit/store/proxy.h"
#include "unit/store/s3_env.h"

#include "base/clock.h"
#include "base/stop.h"

/* What a real gateway does when it hangs, dies and is asked the wrong thing, and what we make of it. */

#define BIG (32u << 20)
#define SMALL_STALL_MS 2000

static const char *const signatures[] = { "v4", "v2" };

static uint16_t
gateway_port(void)
{
	return (uint16_t)strtoul(strrchr(s3_env("ENDPOINT"), ':') + 1, NULL, 10);
}

static void
kill_gateway(void)
{
	s3_signal(SIGKILL);
}

/* As a supervisor would. */
static void
restart_gateway(void)
{
	s3_signal(SIGKILL);
	s3_up();
}

/* R12: a hung server costs what was configured, and not for ever. */
static void
server_that_hangs_is_given_up_in_bounded_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct store_config c = s3_config(false, signatures[i], "hang/");
		uint8_t *data = noise(BIG, 1);
		char *name = mem_printf("%s/new", signatures[i]), *old = mem_printf("%s/old", signatures[i]);
		struct store_object o;
		struct buf to = BUF_INIT;
		struct err e = ERR_INIT;
		struct store *s;
		size_t n = 0;
		int64_t began;

		c.stall_timeout_ms = SMALL_STALL_MS;
		s = s3_open(&c);
		OK(store_put(s, old, data, 1000, &e));
		s3_signal(SIGSTOP);
		began = clock_mono_ms();
		FAILS(ERR_STORE, store_stat(s, old, &o, &e));
		FAILS(ERR_STORE, store_get(s, old, 0, 0, &to, &e));
		FAILS(ERR_STORE, store_put(s, name, data, BIG, &e));
		FAILS(ERR_STORE, store_list(s, "", count_each, &n, &e));
		FAILS(ERR_STORE, store_remove(s, old, &e));
		SAYS(e.msg, old);
		SAYS(e.msg, s3_env("ENDPOINT"));
		assert_in_range(clock_mono_ms() - began, 5 * SMALL_STALL_MS, 5 * SMALL_STALL_MS + 5000);
		s3_signal(SIGCONT);
		/* The remove may be done late, as it wakes up; a name of its own shows that all is well again. */
		OK(store_put(s, "after", data, 1000, &e));
		assert_object(s, "after", data, 1000);
		OK(store_remove(s, "after", &e));
		store_free(s);
		buf_free(&to);
		free(data);
		free(name);
		free(old);
	}
}

static void
server_that_hangs_in_the_tls_handshake_is_given_up_too(void **state)
{
	struct store_config c = s3_config(true, "v4", "hang-tls/");
	struct store_object o;
	struct err e = ERR_INIT;
	struct store *s;
	int64_t began;

	(void)state;
	c.connect_timeout_ms = 1500;
	s = s3_open(&c);
	s3_signal(SIGSTOP);
	began = clock_mono_ms();
	FAILS(ERR_STORE, store_stat(s, "x", &o, &e));
	assert_in_range(clock_mono_ms() - began, 1400, 4000);
	s3_signal(SIGCONT);
	store_free(s);
}

static void
request_to_stop_ends_a_hanging_transfer_at_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct store_config c = s3_config(false, signatures[i], "stop/");
		struct store *s = s3_open(&c);
		struct store_object o;
		struct err e = ERR_INIT;
		int64_t began = clock_mono_ms();
		pid_t other;

		s3_signal(SIGSTOP);
		other = fork();
		if (other == 0) {
			usleep(500000);
			kill(getppid(), SIGTERM);
			_exit(0);
		}
		FAILS(ERR_STOPPED, store_stat(s, "x", &o, &e));
		assert_in_range(clock_mono_ms() - began, 400, 2500);
		/* And what comes after it does not even begin. */
		FAILS(ERR_STOPPED, store_stat(s, "x", &o, &e));
		stop_clear();
		s3_signal(SIGCONT);
		FAILS(ERR_NOT_FOUND, store_stat(s, "x", &o, &e));
		store_free(s);
	}
}

static struct store *
open_through(struct proxy *p, const char *signature, const char *prefix, unsigned attempts, void (*act)(void))
{
	struct store_config c = s3_config(false, signature, prefix);
	struct store *s;
	char *endpoint;

	proxy_begin(p, gateway_port(), act);
	endpoint = mem_printf("http://127.0.0.1:%u", (unsigned)p->port);
	c.endpoint = endpoint;
	c.attempts = attempts;
	s = s3_open(&c);
	free(endpoint);
	return s;
}

static struct store *
open_directly(const char *signature, const char *prefix)
{
	struct store_config c = s3_config(false, signature, prefix);

	return s3_open(&c);
}

/* libs3 calls this a success (7 of 64 MiB); it must never be one. */
static void
server_killed_in_the_middle_of_a_get_is_an_error_and_gives_no_bytes(void **state)
{
	uint8_t *data = noise(BIG, 2);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct store *direct = open_directly(signatures[i], "kill-get/"), *s;
		struct proxy p = { .down_limit = BIG / 4 };
		struct buf to = BUF_INIT;
		struct err e = ERR_INIT;

		OK(store_put(direct, signatures[i], data, BIG, &e));
		s = open_through(&p, signatures[i], "kill-get/", 1, kill_gateway);
		FAILS(ERR_STORE, store_get(s, signatures[i], 0, 0, &to, &e));
		assert_int_equal(to.bytes, 0);
		assert_true(atomic_load(&p.acted));
		s3_up();
		assert_object(s, signatures[i], data, BIG);
		store_free(s);
		store_free(direct);
		proxy_end(&p);
		buf_free(&to);
	}
	free(data);
}

static void
server_killed_in_the_middle_of_a_put_leaves_no_object(void **state)
{
	uint8_t *data = noise(BIG, 3);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct proxy p = { .up_limit = BIG / 4 };
		struct store *s = open_through(&p, signatures[i], "kill-put/", 1, kill_gateway);
		struct store_object o;
		struct err e = ERR_INIT;

		FAILS(ERR_STORE, store_put(s, signatures[i], data, BIG, &e));
		assert_true(atomic_load(&p.acted));
		s3_up();
		FAILS(ERR_NOT_FOUND, store_stat(s, signatures[i], &o, &e));
		assert_int_equal(count_objects(s, ""), i);
		OK(store_put(s, signatures[i], data, BIG, &e));
		assert_object(s, signatures[i], data, BIG);
		store_free(s);
		proxy_end(&p);
	}
	free(data);
}

static void
retry_outlives_a_restart_of_the_server(void **state)
{
	uint8_t *data = noise(BIG, 4);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct proxy up = { .up_limit = BIG / 2 }, down = { .down_limit = BIG / 2 };
		struct store *s = open_through(&up, signatures[i], "restart/", 8, restart_gateway);
		struct err e = ERR_INIT;

		OK(store_put(s, signatures[i], data, BIG, &e));
		assert_true(atomic_load(&up.acted));
		store_free(s);
		proxy_end(&up);
		s = open_through(&down, signatures[i], "restart/", 8, restart_gateway);
		assert_object(s, signatures[i], data, BIG);
		assert_true(atomic_load(&down.acted));
		store_free(s);
		proxy_end(&down);
	}
	free(data);
}

/* Every verb, against a configuration that is wrong in one way. */
static void
every_verb_fails(const struct store_config *c, enum err_kind kind, const char *hint)
{
	struct store *s = s3_open(c);
	struct store_object o;
	struct buf to = BUF_INIT;
	struct err e = ERR_INIT;
	size_t n = 0;

	FAILS(kind, store_stat(s, "x", &o, &e));
	SAYS(e.hint, hint);
	FAILS(kind, store_get(s, "x", 0, 0, &to, &e));
	SAYS(e.hint, hint);
	FAILS(kind, store_put(s, "x", "x", 1, &e));
	SAYS(e.hint, hint);
	FAILS(kind, store_list(s, "", count_each, &n, &e));
	SAYS(e.hint, hint);
	FAILS(kind, store_remove(s, "x", &e));
	SAYS(e.hint, hint);
	if (strstr(e.msg, s3_env("SECRET_KEY")) != NULL || strstr(e.hint, s3_env("SECRET_KEY")) != NULL)
		fail_msg("the secret key is in a message");
	buf_free(&to);
	store_free(s);
}

static void
wrong_keys_and_missing_buckets_are_told_apart(void **state)
{
	char *access = s3_secret_file("wrong-access", "nobody-knows-this");
	char *secret = s3_secret_file("wrong-secret", "canary0123456789");

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct store_config c = s3_config(false, signatures[i], "");

		c.access_key_file = access;
		every_verb_fails(&c, ERR_DENIED, "does not know this access key");
		c = s3_config(false, signatures[i], "");
		c.secret_key_file = secret;
		every_verb_fails(&c, ERR_DENIED, "secret key");
		c = s3_config(false, signatures[i], "");
		c.bucket = "no-such-bucket";
		every_verb_fails(&c, ERR_USAGE, "Make the bucket");
	}
	free(access);
	free(secret);
}

static void
server_that_is_not_there_is_unreachable(void **state)
{
	uint16_t port = 0;
	int fd = proxy_socket(0, true, &port);
	char *endpoint = mem_printf("http://127.0.0.1:%u", (unsigned)port);

	(void)state;
	close(fd);
	for (size_t i = 0; i < 2; i++) {
		struct store_config c = s3_config(false, signatures[i], "");

		c.endpoint = endpoint;
		every_verb_fails(&c, ERR_STORE, "Is the store running");
	}
	free(endpoint);
}

static void
certificate_of_another_authority_is_refused(void **state)
{
	struct store_config c = s3_config(true, "v4", "");
	char *other = mem_printf("%s/other.crt", s3_secrets), *key = mem_printf("%s/other.key", s3_secrets);
	const char *argv[] = { "/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
	    "-nodes", "-days", "2",
		"-subj", "/CN=another authority", "-keyout", key, "-out", other, NULL };
	struct err e = ERR_INIT;

	(void)state;
	OK(child_run(&(struct child_spec){ .name = "openssl", .argv = argv }, NULL, 30000, &e));
	c.ca_file = other;
	every_verb_fails(&c, ERR_USAGE, "ca_file");
	/* The system's authorities do not know the server's either. */
	c.ca_file = NULL;
	every_verb_fails(&c, ERR_USAGE, "Set ca_file");
	free(other);
	free(key);
}

static void
http_and_https_on_the_wrong_port_say_so(void **state)
{
	struct store_config c = s3_config(true, "v4", "");
	char *endpoint = mem_printf("https://%s", s3_env("ENDPOINT") + strlen("http://"));

	(void)state;
	c.endpoint = endpoint;
	every_verb_fails(&c, ERR_STORE, "Does this port speak TLS");
	free(endpoint);
}

static int
begin(void **state)
{
	(void)state;
	s3_env_begin();
	return 0;
}

static int
end(void **state)
{
	(void)state;
	s3_env_end();
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_keys_and_missing_buckets_are_told_apart),
		cmocka_unit_test(server_that_is_not_there_is_unreachable),
		cmocka_unit_test(certificate_of_another_authority_is_refused),
		cmocka_unit_test(http_and_https_on_the_wrong_port_say_so),
		cmocka_unit_test(server_that_hangs_is_given_up_in_bounded_time),
		cmocka_unit_test(server_that_hangs_in_the_tls_handshake_is_given_up_too),
		cmocka_unit_test(request_to_stop_ends_a_hanging_transfer_at_once),
		cmocka_unit_test(server_killed_in_the_middle_of_a_get_is_an_error_and_gives_no_bytes),
		cmocka_unit_test(server_killed_in_the_middle_of_a_put_leaves_no_object),
		cmocka_unit_test(retry_outlives_a_restart_of_the_server),
	};

	s3_env_need();
	stop_install();
	return cmocka_run_group_tests(tests, begin, end);
}
