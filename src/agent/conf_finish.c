#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/conf_private.h"
#include "base/mem.h"

/* Values that depend on the machine, and values that contradict each other.  All of it runs on a file that is right in each
 * single key. */

static void
need(struct conf *c, const char *key, bool set, const char *why)
{
	char *variable;

	if (set)
		return;
	variable = conf_arena_keep(&c->arena, conf_key_variable(key));
	conf_complain(c, conf_place(c, c->path, 0), conf_arena_keep(&c->arena, mem_printf("Set it in the file, or set %s.", variable)),
		"%s is not set%s", key, why);
}

static void
show_value(struct conf *c, const char *key, char *value)
{
	c->origins[conf_key_find(key)].value = conf_arena_keep(&c->arena, value);
}

static bool
was_set(const struct conf *c, const char *key)
{
	const struct conf_origin *o = &c->origins[conf_key_find(key)];

	return o->file != NULL || o->variable != NULL;
}

static bool
is_local(const char *host)
{
	return host == NULL || host[0] == '/' || host[0] == '@' || strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
	       strcmp(host, "::1") == 0;
}

static void
finish_endpoint(struct conf *c)
{
	struct store_config *s = &c->settings.store;
	const char *where = conf_place_of(c, "repository.s3.endpoint"), *host = strstr(s->endpoint, "://");
	char *trimmed;

	if (strncmp(s->endpoint, "https://", 8) != 0 && strncmp(s->endpoint, "http://", 7) != 0) {
		conf_complain(c, where, NULL, "repository.s3.endpoint: must begin with https:// or http://");
		return;
	}
	host += 3;
	/* Not repeated in the message: what stands before the @ is a secret. */
	if (strchr(host, '@') != NULL) {
		conf_complain(c, where, "Name files in repository.s3.access_key_file and secret_key_file.", "repository.s3.endpoint: credentials do not stand in it");
		return;
	}
	trimmed = conf_arena_keep(&c->arena, mem_strdup(s->endpoint));
	if (trimmed[strlen(trimmed) - 1] == '/')
		trimmed[strlen(trimmed) - 1] = '\0';
	host = strstr(trimmed, "://") + 3;
	if (host[0] == '\0' || host[strcspn(host, "/?# ")] != '\0')
		conf_complain(c, where, NULL, "repository.s3.endpoint: \"%.200s\" must be a host alone: bucket and prefix are keys of their own", s->endpoint);
	s->endpoint = trimmed;
	if (strcmp(s->signature, "v2") == 0 && strncmp(trimmed, "https://", 8) == 0 && !s->v2_unverified_tls)
		conf_complain(c, conf_place_of(c, "repository.s3.signature"),
			"Use \"v4\"; or accept that anybody in between can read and change requests: v2_unverified_tls = true.",
			"repository.s3.signature: the v2 transport cannot verify the server's certificate");
}

static bool
segments_fit(const char *prefix)
{
	for (const char *p = prefix; *p != '\0'; p += strcspn(p, "/"), p += *p == '/') {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
	}
	return prefix[strspn(prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-")] == '\0';
}

static void
finish_s3(struct conf *c)
{
	struct store_config *s = &c->settings.store;

	need(c, "repository.s3.endpoint", s->endpoint != NULL, ", and repository.kind is \"s3\"");
	need(c, "repository.s3.bucket", s->bucket != NULL, ", and repository.kind is \"s3\"");
	if (s->endpoint != NULL)
		finish_endpoint(c);
	if (s->prefix != NULL && (!segments_fit(s->prefix) || strlen(s->prefix) > 200))
		conf_complain(c, conf_place_of(c, "repository.s3.prefix"), NULL,
			"repository.s3.prefix: \"%.200s\" must be names of letters, digits, \".\", \"_\", \"-\" with a / between them", s->prefix);
	else if (s->prefix != NULL && s->prefix[strlen(s->prefix) - 1] != '/')
		s->prefix = conf_arena_keep(&c->arena, mem_printf("%s/", s->prefix));
	if ((s->access_key_file == NULL) != (s->secret_key_file == NULL))
		conf_complain(c, conf_place_of(c, s->access_key_file != NULL ? "repository.s3.access_key_file" : "repository.s3.secret_key_file"), NULL,
			"repository.s3: access_key_file and secret_key_file go together");
	if (s->access_key_file != NULL && s->credentials_file != NULL)
		conf_complain(c, conf_place_of(c, "repository.s3.credentials_file"), NULL,
			"repository.s3: either access_key_file and secret_key_file or credentials_file");
}

/* Whether `path` is the folder `dir` or lies in it. */
static bool
within(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static void
finish_repository(struct conf *c)
{
	struct settings *s = &c->settings;

	need(c, "name", s->name != NULL, "");
	need(c, "repository.kind", was_set(c, "repository.kind"), "");
	if (was_set(c, "repository.kind") && s->store.kind == STORE_FOLDER) {
		need(c, "repository.folder.path", s->store.path != NULL, ", and repository.kind is \"folder\"");
		if (s->store.path != NULL && s->cache_dir != NULL && within(s->cache_dir, s->store.path))
			conf_complain(c, conf_place_of(c, "repository.cache_dir"), NULL, "repository.cache_dir: lies inside the repository");
		if (s->store.path != NULL && within(s->drill.dir, s->store.path))
			conf_complain(c, conf_place_of(c, "drill.dir"), NULL, "drill.dir: lies inside the repository");
	} else if (was_set(c, "repository.kind")) {
		finish_s3(c);
	}
	if (s->passphrase_file != NULL && was_set(c, "repository.key_file"))
		conf_complain(c, conf_place_of(c, "repository.passphrase_file"), NULL, "repository: either key_file or passphrase_file");
	if (s->passphrase_file != NULL) {
		s->key_file = NULL;
		c->origins[conf_key_find("repository.key_file")].value = NULL;
	}
}

static void
finish_server(struct conf *c, struct pg_target *t, const char *group)
{
	const char *sslmode = conf_arena_keep(&c->arena, mem_printf("%s.sslmode", group));
	const char *passfile = conf_arena_keep(&c->arena, mem_printf("%s.passfile", group));
	const char *sslcert = conf_arena_keep(&c->arena, mem_printf("%s.sslcert", group));

	/* R49: on the way to another host, whoever answers must prove to be it.  Only shown here: pg/conn.c does it, and can say so
	 * when it was nobody's wish. */
	if (t->sslmode == NULL && (t->host != NULL || strcmp(group, "source") == 0))
		show_value(c, sslmode, mem_strdup(is_local(t->host) ? "prefer" : "verify-full"));
	if (t->password_file != NULL && t->passfile != NULL)
		conf_complain(c, conf_place_of(c, passfile), NULL, "%s: either password_file or passfile", group);
	if ((t->sslcert == NULL) != (t->sslkey == NULL))
		conf_complain(c, conf_place_of(c, sslcert), NULL, "%s: sslcert and sslkey go together", group);
}

/* R48: a drill on the server that it is to protect runs the dump's code where the real data is.  This finds what can be seen
 * from the configuration; the drill itself compares system identifiers. */
static void
finish_drill(struct conf *c)
{
	struct settings *s = &c->settings;
	struct pg_target *t = &s->drill.server;

	s->drill.use_server = t->host != NULL;
	for (size_t i = 0; i < conf_keys_count && !s->drill.use_server; i++)
		if (strncmp(conf_keys[i].path, "drill.server.", 13) == 0 && was_set(c, conf_keys[i].path)) {
			conf_complain(c, conf_place_of(c, conf_keys[i].path), NULL, "%s: is set, but drill.server.host is not", conf_keys[i].path);
			break;
		}
	finish_server(c, t, "drill.server");
	if (s->drill.use_server && strcmp(t->port, s->source.port) == 0 &&
	    ((is_local(t->host) && is_local(s->source.host)) || (s->source.host != NULL && strcasecmp(t->host, s->source.host) == 0)))
		conf_complain(c, conf_place_of(c, "drill.server.host"), "Leave drill.server out to drill in a throw-away cluster.",
			"drill.server: is the source itself, and a drill never restores there");
	if (s->drill.user != NULL && strcmp(s->drill.user, "root") == 0)
		conf_complain(c, conf_place_of(c, "drill.user"), NULL, "drill.user: root is no unprivileged user");
}

static void
finish_workers(struct conf *c)
{
	cpu_set_t ours;
	int processors;

	if (c->settings.backup.workers > 0)
		return;
	/* Those that we may run on: a container with two of sixty-four must not start sixty-four threads. */
	processors = sched_getaffinity(0, sizeof(ours), &ours) == 0 ? CPU_COUNT(&ours) : 1;
	c->settings.backup.workers = processors < 1 ? 1 : processors > 64 ? 64 : (unsigned)processors;
	show_value(c, "backup.workers", mem_printf("%u", c->settings.backup.workers));
}

void
conf_finish(struct conf *c)
{
	struct settings *s = &c->settings;

	finish_repository(c);
	finish_server(c, &s->source, "source");
	finish_drill(c);
	finish_workers(c);
	if (s->keep.last + s->keep.daily + s->keep.weekly + s->keep.monthly + s->keep.yearly == 0)
		conf_complain(c, conf_place_of(c, "keep.last"), NULL, "keep: last, daily, weekly, monthly and yearly are all 0: every backup would expire");
	if (s->store.stall_timeout_ms > s->store.total_timeout_ms)
		conf_complain(c, conf_place_of(c, "repository.s3.stall_timeout"), NULL,
			"repository.s3.stall_timeout: is longer than request_timeout, and could never take effect");
}
