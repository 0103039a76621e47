#include "store/s3_site.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"

#define PREFIX_MAX 500                  /* and a name of 512 stay below the 1024 bytes that a key may have */

static int
bad_endpoint(const char *endpoint, const char *why, struct err *e)
{
	/* Not the endpoint's text where it may hold a password. */
	if (strchr(endpoint, '@') != NULL)
		err_set(e, ERR_USAGE, "endpoint %s", why);
	else
		err_set(e, ERR_USAGE, "endpoint \"%s\" %s", endpoint, why);
	return err_hint(e, "Write scheme, host and, where it is not the usual one, port: https://minio.example:9000.");
}

/* The host and ":port" of an authority: letters, digits, '.', '-', '_' or an IPv6 address in brackets, then digits. */
static bool
authority_valid(const char *p)
{
	size_t n;

	if (*p == '[') {
		n = strspn(p + 1, "0123456789abcdef:.");
		if (n == 0 || p[1 + n] != ']')
			return false;
		p += n + 2;
	} else {
		n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789.-_");
		if (n == 0)
			return false;
		p += n;
	}
	if (*p == '\0')
		return true;
	if (*p++ != ':')
		return false;
	n = strspn(p, "0123456789");
	return n > 0 && p[n] == '\0' && n <= 5 && atoi(p) > 0 && atoi(p) < 65536;
}

static int
set_endpoint(struct s3_site *s, const char *endpoint, struct err *e)
{
	const char *p;
	const char *usual;
	size_t n;

	if (endpoint == NULL || endpoint[0] == '\0')
		return err_set(e, ERR_USAGE, "the store is S3, and its endpoint is not set");
	s->secure = strncasecmp(endpoint, "https://", 8) == 0;
	if (!s->secure && strncasecmp(endpoint, "http://", 7) != 0)
		return bad_endpoint(endpoint, "begins with neither https:// nor http://", e);
	p = strchr(endpoint, ':') + 3;
	n = strlen(p);
	if (n > 0 && p[n - 1] == '/')
		n--;
	s->authority = mem_strndup(p, n);
	for (char *c = s->authority; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	if (strchr(s->authority, '@') != NULL)
		return bad_endpoint(endpoint, "must not hold a user or a password", e);
	if (strchr(s->authority, '/') != NULL)
		return bad_endpoint(endpoint, "must not have a path: bucket and prefix have settings of their own", e);
	if (!authority_valid(s->authority))
		return bad_endpoint(endpoint, "is not a host with an optional port", e);

	/* HTTP leaves the usual port out of the Host header, and the Host header is signed. */
	usual = s->secure ? ":443" : ":80";
	n = strlen(s->authority);
	if (n > strlen(usual) && strcmp(s->authority + n - strlen(usual), usual) == 0)
		s->authority[n - strlen(usual)] = '\0';
	s->endpoint = mem_printf("%s://%s", s->secure ? "https" : "http", s->authority);
	return 0;
}

static int
set_bucket(struct s3_site *s, const char *bucket, struct err *e)
{
	size_t n = bucket == NULL ? 0 : strlen(bucket);

	if (n == 0)
		return err_set(e, ERR_USAGE, "the store is S3, and its bucket is not set");
	/* Wider than AWS allows today: older and other stores have buckets with capitals and '_'. */
	if (n < 3 || n > 63 || strspn(bucket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != n ||
	    !isalnum((unsigned char)bucket[0]) || strstr(bucket, "..") != NULL) {
		err_set(e, ERR_USAGE, "bucket \"%s\" is not a name that a bucket can have", bucket);
		return err_hint(e, "What comes after the bucket's name belongs into prefix.");
	}
	s->bucket = mem_strdup(bucket);
	return 0;
}

static int
set_prefix(struct s3_site *s, const char *prefix, struct err *e)
{
	size_t n = prefix == NULL ? 0 : strlen(prefix);

	s->prefix = n == 0 ? mem_strdup("") : mem_printf("%s%s", prefix, prefix[n - 1] == '/' ? "" : "/");
	if (store_prefix_valid(s->prefix) && n <= PREFIX_MAX)
		return 0;
	err_set(e, ERR_USAGE, "prefix \"%.200s\" cannot be used", prefix);
	return err_hint(e, "It is made of a-z 0-9 . _ - in segments divided by '/', begins with none, and has at most %d bytes.",
	                PREFIX_MAX);
}

static int
set_region(struct s3_site *s, const char *region, struct err *e)
{
	if (region == NULL || region[0] == '\0')
		region = "us-east-1";
	if (strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(region) ||
	    strlen(region) > 64)
		return err_set(e, ERR_USAGE, "region \"%.80s\" is not a name that a region can have", region);
	s->region = mem_strdup(region);
	return 0;
}

int
s3_site_init(struct s3_site *s, const struct store_config *c, struct err *e)
{
	memset(s, 0, sizeof(*s));
	s->connect_ms = c->connect_timeout_ms > 0 ? c->connect_timeout_ms : 10000;
	s->stall_ms = c->stall_timeout_ms > 0 ? c->stall_timeout_ms : 30000;
	s->total_ms = c->total_timeout_ms > 0 ? c->total_timeout_ms : 600000;
	s->virtual_host = c->virtual_host;
	if (set_endpoint(s, c->endpoint, e) || set_bucket(s, c->bucket, e) || set_prefix(s, c->prefix, e) ||
	    set_region(s, c->region, e))
		goto fail;
	if (c->ca_file != NULL && access(c->ca_file, R_OK) != 0) {
		err_sys(e, "ca_file \"%s\"", c->ca_file);
		e->kind = ERR_USAGE;
		goto fail;
	}
	s->ca_file = mem_strdup(c->ca_file);
	if (s3_credentials_read(&s->credentials, c, e))
		goto fail;
	return 0;
fail:
	s3_site_clear(s);
	return -1;
}

void
s3_site_clear(struct s3_site *s)
{
	free(s->authority);
	free(s->endpoint);
	free(s->bucket);
	free(s->prefix);
	free(s->region);
	free(s->ca_file);
	s3_credentials_clear(&s->credentials);
	memset(s, 0, sizeof(*s));
}

char *
s3_site_label(const struct s3_site *s)
{
	return mem_printf("s3 %s/%s at %s", s->bucket, s->prefix, s->endpoint);
}
