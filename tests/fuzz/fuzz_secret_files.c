/*
 * The files with secrets that come from outside: key files and the credentials file of the AWS tools.  The first byte chooses.  What
 * is taken must be whole; what is not must be refused as what it is.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "repo/keys.h"
#include "store/s3_credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
key_file(const char *path)
{
	struct err e = ERR_INIT;
	struct identity *i = identity_read(path, &e), *again;
	char one[KEY_PUBLIC_TEXT], two[KEY_PUBLIC_TEXT], copy[] = "/tmp/fuzz-key-XXXXXX";
	int fd;

	if (i == NULL) {
		if (e.kind != ERR_KEY && e.kind != ERR_USAGE && e.kind != ERR_CORRUPT)
			abort();
		return;
	}
	/* Written again, it is the same identity. */
	fd = mkstemp(copy);
	file_close(&fd);
	unlink(copy);
	if (!key_name_valid(identity_name(i)) || identity_write(i, copy, &e) != 0 || (again = identity_read(copy, &e)) == NULL)
		abort();
	unlink(copy);
	identity_public(i, one);
	identity_public(again, two);
	if (strcmp(one, two) != 0 || strcmp(identity_name(i), identity_name(again)) != 0 || identity_role(i) != identity_role(again))
		abort();
	identity_free(again);
	identity_free(i);
}

static void
check_word(const char *word)
{
	if (word[0] == '\0')
		abort();
	for (; *word != '\0'; word++)
		if (!isgraph((unsigned char)*word))
			abort();        /* it would become a line of its own in a request's header */
}

static void
credentials_file(const char *path)
{
	const struct store_config config = { .kind = STORE_S3, .credentials_file = path, .profile = "work" };
	struct s3_credentials c;
	struct err e = ERR_INIT;

	if (s3_credentials_read(&c, &config, &e) == 0) {
		check_word(c.access);
		check_word(c.secret);
		if (c.session_token != NULL)
			check_word(c.session_token);
	} else if (e.kind != ERR_USAGE && e.kind != ERR_CORRUPT) {
		abort();
	}
	s3_credentials_clear(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct err e = ERR_INIT;
	char *path;
	int fd;

	if (bytes < 1)
		return 0;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || fchmod(fd, S_IRUSR | S_IWUSR) != 0 || file_write_all(fd, data + 1, bytes - 1, "fuzz", &e) != 0)
		abort();
	path = mem_printf("/proc/self/fd/%d", fd);
	if (data[0] == 'k')
		key_file(path);
	else
		credentials_file(path);
	free(path);
	file_close(&fd);
	return 0;
}
