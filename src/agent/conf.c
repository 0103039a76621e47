#include "agent/conf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/conf_private.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/near.h"

void
conf_complain(struct conf *c, const char *where, const char *hint, const char *format, ...)
{
	char text[900];
	struct err *e;
	va_list args;

	if (c->problem_count == CONF_PROBLEMS_MAX)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	c->problems = mem_grow(c->problems, c->problem_count + 1, sizeof(*c->problems));
	e = &c->problems[c->problem_count++];
	err_set(e, ERR_USAGE, "%s: %s", where, text);
	if (hint != NULL && hint[0] != '\0')
		err_hint(e, "%s", hint);
}

const char *
conf_place(struct conf *c, const char *file, unsigned line)
{
	return conf_arena_keep(&c->arena, line > 0 ? mem_printf("\"%s\" line %u", file, line) : mem_printf("\"%s\"", file));
}

const char *
conf_place_of(struct conf *c, const char *key)
{
	const struct conf_origin *o = &c->origins[conf_key_find(key)];

	if (o->variable != NULL)
		return o->variable;
	return conf_place(c, o->file != NULL ? o->file : c->path, o->line);
}

static struct conf *
conf_new(const char *path)
{
	struct conf *c = mem_zero(1, sizeof(*c));

	c->path = mem_strdup(path);
	c->origins = mem_zero(conf_keys_count, sizeof(*c->origins));
	for (size_t i = 0; i < conf_keys_count; i++) {
		struct err e = ERR_INIT;

		c->origins[i].value = conf_keys[i].initial;
		if (conf_keys[i].initial != NULL && conf_key_set(&conf_keys[i], &c->settings, &c->arena, conf_keys[i].initial, &e))
			assert(!"a default is no value of its own key");
	}
	return c;
}

void
conf_free(struct conf *c)
{
	if (c == NULL)
		return;
	conf_arena_free(&c->arena);
	free(c->path);
	free(c->origins);
	free(c->problems);
	free(c);
}

static void
read_text(struct conf *c, const char *text, size_t bytes, const char *dir)
{
	config_t config;

	if (!conf_scan(c, c->path, text, bytes, dir, 0))
		return;
	config_init(&config);
	if (dir != NULL)
		config_set_include_dir(&config, dir);
	if (config_read_string(&config, text) == CONFIG_TRUE) {
		conf_walk(c, config_root_setting(&config), "");
	} else {
		const char *file = config_error_file(&config);

		conf_complain(c, conf_place(c, file != NULL ? file : c->path, (unsigned)config_error_line(&config)),
			"Settings look like  name = value;  and groups like  name: { ... };", "%s", config_error_text(&config));
	}
	config_destroy(&config);
}

/* Kubernetes puts the addresses of services into every pod's environment; a Service called "holdfast" or "holdfast-..." makes
 * names that begin like ours. */
static bool
made_by_kubernetes(const char *name, const char *value)
{
	const char *port = strstr(name, "_PORT");

	if (strstr(name, "_SERVICE_HOST") != NULL || strstr(name, "_SERVICE_PORT") != NULL)
		return true;
	return port != NULL && (strstr(value, "://") != NULL || (port[5] == '_' && port[6] >= '0' && port[6] <= '9'));
}

static void
refuse_variable(struct conf *c, const char *name)
{
	struct near near = { .wanted = name };

	for (size_t i = 0; i < conf_keys_count; i++) {
		const char *last = strrchr(conf_keys[i].path, '.');
		char *variable = conf_arena_keep(&c->arena, conf_key_variable(conf_keys[i].path));
		size_t bytes = strlen(variable);

		/* HOLDFAST_SOURCE_PASSWORD beside HOLDFAST_SOURCE_PASSWORD_FILE: a secret in the environment is in /proc, in
		 * `docker inspect` and in every child (R49). */
		if (last != NULL && bytes > 5 && strcmp(variable + bytes - 5, "_FILE") == 0 && strlen(name) == bytes - 5 &&
		    strncmp(name, variable, bytes - 5) == 0) {
			conf_complain(c, name, NULL, "secrets do not stand in the environment: put it into a file and name that in %s", variable);
			return;
		}
		near_offer(&near, variable);
	}
	if (near.best != NULL)
		conf_complain(c, name, NULL, "unknown variable: is %s meant?", near.best);
	else
		conf_complain(c, name, "All variables that begin with HOLDFAST_ are settings; `man holdfast.cfg` lists them.", "unknown variable");
}

static void
read_variable(struct conf *c, const char *name, const char *value)
{
	for (size_t i = 0; i < conf_keys_count; i++) {
		char *variable = conf_key_variable(conf_keys[i].path);
		bool same = strcmp(variable, name) == 0;
		struct err e = ERR_INIT;

		free(variable);
		if (!same)
			continue;
		if (conf_key_set(&conf_keys[i], &c->settings, &c->arena, value, &e)) {
			conf_complain(c, name, e.hint, "%s", e.msg);
		} else {
			c->origins[i].value = conf_arena_keep(&c->arena, mem_strdup(value));
			c->origins[i].variable = conf_arena_keep(&c->arena, mem_strdup(name));
		}
		return;
	}
	if (!made_by_kubernetes(name, value))
		refuse_variable(c, name);
}

static void
read_environment(struct conf *c, char *const *env)
{
	static const char prefix[] = "HOLDFAST_";

	for (; *env != NULL; env++) {
		const char *equals = strchr(*env, '=');
		char *name;

		if (equals == NULL || strncmp(*env, prefix, strlen(prefix)) != 0)
			continue;
		name = mem_strndup(*env, (size_t)(equals - *env));
		if (strcmp(name, "HOLDFAST_CONFIG") != 0)
			read_variable(c, name, equals + 1);
		free(name);
	}
}

static int
conclude(struct conf *c, char *const *env, struct err *e)
{
	read_environment(c, env);
	/* What is compared must have been read; complaints that only follow from others help nobody. */
	if (c->problem_count == 0)
		conf_finish(c);
	if (c->problem_count == 0)
		return 0;
	*e = c->problems[0];
	return -1;
}

int
conf_load_text(struct conf **c, const char *text, size_t bytes, const char *path, char *const *env, struct err *e)
{
	*c = conf_new(path);
	read_text(*c, text, bytes, NULL);
	return conclude(*c, env, e);
}

#define CONF_BEGIN \
	"Begin with a copy of holdfast.cfg.example, which is in etc/ of the source and in share/doc/holdfast where that is installed; another file is " \
	"named by --config FILE."

/* Whether the environment sets anything: then no file is needed. */
static bool
is_set_by(char *const *env)
{
	for (; *env != NULL; env++)
		for (size_t i = 0; i < conf_keys_count; i++) {
			char *variable = conf_key_variable(conf_keys[i].path);
			size_t n = strlen(variable);
			bool same = strncmp(*env, variable, n) == 0 && (*env)[n] == '=';

			free(variable);
			if (same)
				return true;
		}
	return false;
}

/* False when there is no file where there need be none. */
static bool
read_file(struct conf *c, struct buf *text, bool may_be_missing)
{
	struct err e = ERR_INIT;
	struct stat st;

	if (file_read(text, c->path, CONF_FILE_MAX, &e)) {
		if (e.kind != ERR_NOT_FOUND || !may_be_missing)
			conf_complain(c, "configuration", e.kind == ERR_NOT_FOUND ? CONF_BEGIN : NULL, "%s", e.msg);
		return false;
	}
	/* It names programs to run and users to run them as. */
	if (stat(c->path, &st) == 0 && (st.st_mode & S_IWOTH) != 0)
		conf_complain(c, conf_place(c, c->path, 0), "chmod o-w on it.", "everybody may write to it");
	return true;
}

static const char *
variable_of(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; *env != NULL; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

int
conf_load(struct conf **c, const char *path, char *const *env, struct err *e)
{
	struct buf text = BUF_INIT;
	const char *slash;
	char *dir;
	bool named;
	int rc;

	if (path == NULL)
		path = variable_of(env, "HOLDFAST_CONFIG");
	named = path != NULL && path[0] != '\0';
	*c = conf_new(named ? path : CONF_DEFAULT_PATH);
	slash = strrchr((*c)->path, '/');
	dir = slash == NULL ? mem_strdup(".") : mem_strndup((*c)->path, slash == (*c)->path ? 1 : (size_t)(slash - (*c)->path));
	if (read_file(*c, &text, !named && is_set_by(env)))
		read_text(*c, (char *)text.data, text.bytes, dir);
	rc = conclude(*c, env, e);
	free(dir);
	buf_free(&text);
	return rc;
}

static void
put_option(struct conf *c, const char *key, const char **setting, const char *value, const char *option)
{
	struct conf_origin *o = &c->origins[conf_key_find(key)];

	*setting = o->value = value;
	o->option = option;
}

void
conf_open_with(struct conf *c, const char *key_file, const char *passphrase_file)
{
	const char *option = key_file != NULL ? "--key-file" : "--passphrase-file";

	if (key_file == NULL && passphrase_file == NULL)
		return;
	put_option(c, "repository.key_file", &c->settings.key_file, key_file, option);
	put_option(c, "repository.passphrase_file", &c->settings.passphrase_file, passphrase_file, option);
}

const struct settings *
conf_settings(const struct conf *c)
{
	return &c->settings;
}

const struct err *
conf_problem(const struct conf *c, size_t i)
{
	return i < c->problem_count ? &c->problems[i] : NULL;
}

json_t *
conf_effective(const struct conf *c)
{
	json_t *all = json_array();

	for (size_t i = 0; i < conf_keys_count; i++) {
		const struct conf_key *k = &conf_keys[i];
		const struct conf_origin *o = &c->origins[i];
		struct buf range = BUF_INIT;
		json_t *one = json_object();
		char *where = o->option != NULL ? mem_strdup(o->option) : o->variable != NULL ? mem_strdup(o->variable) :
			o->file != NULL ? mem_printf("%s:%u", o->file, o->line) : NULL;

		conf_key_range(k, &range);
		json_put_str(one, "key", k->path);
		json_put_str(one, "value", o->value);
		json_put_str(one, "from", o->option != NULL ? "option" : o->variable != NULL ? "environment" : o->file != NULL ? "file" : "default");
		json_put_str(one, "where", where);
		json_put_str(one, "type", conf_type_name(k->type));
		json_put_str(one, "range", (char *)range.data);
		json_put_str(one, "default", k->initial);
		json_put_str(one, "meaning", k->meaning);
		json_add(all, one);
		free(where);
		buf_free(&range);
	}
	return all;
}
