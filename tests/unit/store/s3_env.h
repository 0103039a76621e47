#ifndef HF_TESTS_STORE_S3_ENV_H
#define HF_TESTS_STORE_S3_ENV_H

#include <dirent.h>
#include <signal.h>

#include "base/child.h"
#include "unit/store/check.h"

/* The real server that tests/with-s3 started, as it told us in the environment. */

static inline const char *
s3_env(const char *name)
{
	char *full = mem_printf("HOLDFAST_TEST_S3_%s", name);
	const char *value = getenv(full);

	free(full);
	return value;
}

/* Without a server these tests are skipped aloud, or fail where nothing may be skipped. */
static inline void
s3_env_need(void)
{
	const char *strict = getenv("HOLDFAST_NO_SKIP");

	if (s3_env("ENDPOINT") != NULL && s3_env("ENDPOINT_TLS") != NULL && s3_env("ACCESS_KEY") != NULL &&
	    s3_env("SECRET_KEY") != NULL &&
	    s3_env("CA_FILE") != NULL && s3_env("BUCKET") != NULL && s3_env("DIR") != NULL && s3_env("UP") != NULL)
		return;
	fprintf(stderr, "SKIPPED: no S3 server: HOLDFAST_TEST_S3_ENDPOINT and its companions are not set; "
	        "run this with tests/with-s3\n");
	exit(strict != NULL && strcmp(strict, "1") == 0 ? 1 : 77);
}

static char *s3_secrets;                /* a folder with the two key files */

static inline char *
s3_secret_file(const char *name, const char *content)
{
	char *path = mem_printf("%s/%s", s3_secrets, name);
	struct err e = ERR_INIT;

	OK(file_write_replace(path, content, strlen(content), 0600, &e));
	return path;
}

/* A configuration for the server, with one attempt and short deadlines; s3_env_end frees what it points to. */
static char *s3_access_file, *s3_secret_file_path;

static inline void
s3_env_begin(void)
{
	s3_secrets = scratch_new();
	s3_access_file = s3_secret_file("access", s3_env("ACCESS_KEY"));
	s3_secret_file_path = s3_secret_file("secret", s3_env("SECRET_KEY"));
}

static inline void
s3_env_end(void)
{
	free(s3_access_file);
	free(s3_secret_file_path);
	scratch_remove(s3_secrets);
}

static inline struct store_config
s3_config(bool tls, const char *signature, const char *prefix)
{
	return (struct store_config){
		.kind = STORE_S3,
		.endpoint = s3_env(tls ? "ENDPOINT_TLS" : "ENDPOINT"),
		.bucket = s3_env("BUCKET"),
		.prefix = prefix,
		.signature = signature,
		.ca_file = tls ? s3_env("CA_FILE") : NULL,
		.v2_unverified_tls = true,
		.access_key_file = s3_access_file,
		.secret_key_file = s3_secret_file_path,
		.connect_timeout_ms = 5000,
		.stall_timeout_ms = 30000,
		.attempts = 1,
	};
}

static inline struct store *
s3_open(const struct store_config *c)
{
	struct err e = ERR_INIT;
	struct store *s = store_open(c, false, &e);

	if (s == NULL)
		fail_msg("store_open: %s", e.msg);
	return s;
}

/* Whether every thread of the process stands still. */
static inline bool
s3_stopped(pid_t pid)
{
	char *path = mem_printf("/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	struct dirent *d;
	bool all = dir != NULL;

	while (all && (d = readdir(dir)) != NULL) {
		char *stat = mem_printf("%s/%s/stat", path, d->d_name), *end;
		struct buf text = BUF_INIT;
		struct err e = ERR_INIT;

		if (d->d_name[0] != '.' && file_read(&text, stat, 4096, &e) == 0) {
			end = strrchr((char *)text.data, ')');
			all = end != NULL && end[1] == ' ' && end[2] == 'T';
		}
		buf_free(&text);
		free(stat);
	}
	if (dir != NULL)
		closedir(dir);
	free(path);
	return all;
}

/* Sends the gateway a signal.  One that is told to stop has stopped afterwards: until then it may answer. */
static inline void
s3_signal(int signo)
{
	char *path = mem_printf("%s/rgw.pid", s3_env("DIR"));
	struct buf text = BUF_INIT;
	struct err e = ERR_INIT;
	pid_t pid;

	OK(file_read(&text, path, 64, &e));
	pid = (pid_t)strtol((char *)text.data, NULL, 10);
	assert_int_equal(kill(pid, signo), 0);
	for (int i = 0; signo == SIGSTOP && !s3_stopped(pid); i++) {
		assert_in_range(i, 0, 5000);
		usleep(1000);
	}
	buf_free(&text);
	free(path);
}

/* Brings the gateway back. */
static inline void
s3_up(void)
{
	char *path = mem_printf("PATH=%s", getenv("PATH"));
	const char *argv[] = { "/bin/bash", "-c", s3_env("UP"), NULL }, *env[] = { path, NULL };
	struct err e = ERR_INIT;

	OK(child_run(&(struct child_spec){ .name = "the S3 server", .argv = argv, .env = env }, NULL, 60000, &e));
	free(path);
}

#endif
