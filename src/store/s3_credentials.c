#include "store/s3_credentials.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static void
free_secret(char **text)
{
	if (*text != NULL)
		mem_free_secret(*text, strlen(*text));
	*text = NULL;
}

void
s3_credentials_clear(struct s3_credentials *c)
{
	free_secret(&c->access);
	free_secret(&c->secret);
	free_secret(&c->session_token);
}

/* A key goes into a header: one word of printable ASCII.  The text itself is never put into a message. */
static int
check_word(const char *text, const char *what, const char *source, struct err *e)
{
	if (text[0] == '\0')
		return err_set(e, ERR_USAGE, "%s from %s is empty", what, source);
	for (const char *p = text; *p != '\0'; p++)
		if (!isgraph((unsigned char)*p))
			return err_set(e, ERR_USAGE, "%s from %s holds a blank or a character that no key has", what, source);
	return 0;
}

static int
check_pair(const struct s3_credentials *c, const char *source, struct err *e)
{
	if (c->access == NULL || c->secret == NULL)
		return err_set(e, ERR_USAGE, "%s has no %s", source, c->access == NULL ? "access key" : "secret key");
	if (check_word(c->access, "access key", source, e) || check_word(c->secret, "secret key", source, e))
		return -1;
	return c->session_token == NULL ? 0 : check_word(c->session_token, "session token", source, e);
}

static int
from_two_files(struct s3_credentials *c, const struct store_config *config, struct err *e)
{
	if (config->access_key_file == NULL || config->secret_key_file == NULL)
		return err_set(e, ERR_USAGE, "access_key_file and secret_key_file belong together, and only one is set");
	c->access = file_read_secret(config->access_key_file, e);
	if (c->access == NULL)
		return -1;
	c->secret = file_read_secret(config->secret_key_file, e);
	if (c->secret == NULL)
		return -1;
	return check_pair(c, "its file", e);
}

/* Cuts blanks off both ends, in place. */
static char *
trim(char *p)
{
	size_t n;

	while (isspace((unsigned char)*p))
		p++;
	n = strlen(p);
	while (n > 0 && isspace((unsigned char)p[n - 1]))
		p[--n] = '\0';
	return p;
}

/* One line "name = value" of the right section. */
static void
take_setting(struct s3_credentials *c, char *line)
{
	char *value = strchr(line, '='), *name, **where;

	if (value == NULL)
		return;
	*value++ = '\0';
	name = trim(line);
	if (strcasecmp(name, "aws_access_key_id") == 0)
		where = &c->access;
	else if (strcasecmp(name, "aws_secret_access_key") == 0)
		where = &c->secret;
	else if (strcasecmp(name, "aws_session_token") == 0)
		where = &c->session_token;
	else
		return;
	free_secret(where);
	*where = mem_strdup(trim(value));
}

/* The file of the AWS tools: sections in brackets, settings, lines that begin with '#' or ';'. */
static int
from_shared_file(struct s3_credentials *c, const char *path, const char *profile, struct err *e)
{
	char *text = file_read_secret(path, e), *at, *line;
	size_t bytes;
	bool inside = false, seen = false;
	int rc;

	if (text == NULL)
		return -1;
	bytes = strlen(text);
	for (at = text; (line = strsep(&at, "\n")) != NULL;) {
		size_t n;

		line = trim(line);
		n = strlen(line);
		if (line[0] == '#' || line[0] == ';')
			continue;
		if (line[0] == '[' && line[n - 1] == ']') {
			line[n - 1] = '\0';
			inside = strcmp(trim(line + 1), profile) == 0;
			seen = seen || inside;
		} else if (inside) {
			take_setting(c, line);
		}
	}
	mem_free_secret(text, bytes);
	if (!seen)
		return err_set(e, ERR_USAGE, "credentials file \"%s\" has no profile \"%s\"", path, profile);
	rc = check_pair(c, "the profile", e);
	return rc == 0 ? 0 : err_wrap(e, "credentials file \"%s\", profile \"%s\"", path, profile);
}

static const char *
environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

/* The file that the AWS tools would read. */
static int
from_usual_file(struct s3_credentials *c, const char *profile, struct err *e)
{
	const char *named = environment("AWS_SHARED_CREDENTIALS_FILE"), *home = environment("HOME");
	char *path;
	int rc;

	if (profile == NULL)
		profile = environment("AWS_PROFILE");
	if (profile == NULL)
		profile = "default";
	if (named != NULL)
		return from_shared_file(c, named, profile, e);
	path = home != NULL ? mem_printf("%s/.aws/credentials", home) : NULL;
	if (path == NULL || access(path, F_OK) != 0) {
		err_set(e, ERR_USAGE, "no credentials for the S3 store");
		rc = err_hint(e, "Set access_key_file and secret_key_file, or credentials_file (and profile), or "
		              "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or write ~/.aws/credentials.");
	} else {
		rc = from_shared_file(c, path, profile, e);
	}
	free(path);
	return rc;
}

static int
from_somewhere(struct s3_credentials *c, const struct store_config *config, struct err *e)
{
	const char *access_key = environment("AWS_ACCESS_KEY_ID"), *secret = environment("AWS_SECRET_ACCESS_KEY");

	if (config->access_key_file != NULL || config->secret_key_file != NULL)
		return from_two_files(c, config, e);
	if (config->credentials_file != NULL)
		return from_shared_file(c, config->credentials_file, config->profile != NULL ? config->profile : "default", e);
	if (access_key != NULL || secret != NULL) {
		c->access = mem_strdup(access_key);
		c->secret = mem_strdup(secret);
		c->session_token = mem_strdup(environment("AWS_SESSION_TOKEN"));
		return check_pair(c, "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)", e);
	}
	return from_usual_file(c, config->profile, e);
}

int
s3_credentials_read(struct s3_credentials *c, const struct store_config *config, struct err *e)
{
	memset(c, 0, sizeof(*c));
	if (from_somewhere(c, config, e) == 0)
		return 0;
	/* A file that is not there is a wrong setting, not a missing object. */
	if (e->kind == ERR_NOT_FOUND)
		e->kind = ERR_USAGE;
	s3_credentials_clear(c);
	return -1;
}
