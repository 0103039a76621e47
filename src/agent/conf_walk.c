#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/conf_private.h"
#include "base/mem.h"
#include "base/near.h"

static const char *
place_of(struct conf *c, const config_setting_t *s)
{
	const char *file = config_setting_source_file(s);

	return conf_place(c, file != NULL ? file : c->path, config_setting_source_line(s));
}

static const char *
type_words(const config_setting_t *s)
{
	static const char *const words[] = {
		[CONFIG_TYPE_NONE] = "nothing", [CONFIG_TYPE_GROUP] = "a group", [CONFIG_TYPE_INT] = "a number", [CONFIG_TYPE_INT64] = "a number",
		[CONFIG_TYPE_FLOAT] = "a fraction", [CONFIG_TYPE_STRING] = "a string", [CONFIG_TYPE_BOOL] = "true or false",
		[CONFIG_TYPE_ARRAY] = "an array", [CONFIG_TYPE_LIST] = "a list",
	};

	return words[config_setting_type(s)];
}

static bool
is_number(const config_setting_t *s)
{
	return config_setting_type(s) == CONFIG_TYPE_INT || config_setting_type(s) == CONFIG_TYPE_INT64;
}

/* The value as it would stand in an environment variable, so that all sources are read by the same code; NULL when its type
 * is not the one that the key wants (*wanted says which). */
static char *
scalar_text(const struct conf_key *k, const config_setting_t *s, const char **wanted)
{
	int type = config_setting_type(s);

	switch (k->type) {
	case CONF_FLAG:
		*wanted = "true or false, without quotes";
		return type == CONFIG_TYPE_BOOL ? mem_strdup(config_setting_get_bool(s) ? "true" : "false") : NULL;
	case CONF_PORT:
	case CONF_NUMBER:
		*wanted = "a number, without quotes";
		return is_number(s) ? mem_printf("%lld", config_setting_get_int64(s)) : NULL;
	case CONF_SIZE:
		*wanted = "a size, as \"64 MiB\"";
		if (is_number(s))
			return mem_printf("%lld", config_setting_get_int64(s));
		break;
	case CONF_SPAN:
		*wanted = "a duration, as \"30s\"";
		break;
	default:
		*wanted = "a string";
		break;
	}
	return type == CONFIG_TYPE_STRING ? mem_strdup(config_setting_get_string(s)) : NULL;
}

static void
record(struct conf *c, const struct conf_key *k, const config_setting_t *s, char *value)
{
	struct conf_origin *o = &c->origins[k - conf_keys];
	const char *file = config_setting_source_file(s);

	o->value = conf_arena_keep(&c->arena, value);
	o->file = file == NULL ? c->path : conf_arena_keep(&c->arena, mem_strdup(file));
	o->line = config_setting_source_line(s);
}

static void
take_scalar(struct conf *c, const struct conf_key *k, const config_setting_t *s)
{
	const char *wanted;
	char *text = scalar_text(k, s, &wanted);
	struct err e = ERR_INIT;

	if (text == NULL) {
		conf_complain(c, place_of(c, s), NULL, "%s: is %s, and must be %s", k->path, type_words(s), wanted);
	} else if (conf_key_set(k, &c->settings, &c->arena, text, &e)) {
		conf_complain(c, place_of(c, s), e.hint, "%s: %s", k->path, e.msg);
		free(text);
	} else {
		record(c, k, s, text);
	}
}

static void
take_list(struct conf *c, const struct conf_key *k, const config_setting_t *s)
{
	int count = config_setting_length(s);
	char **words = mem_zero((size_t)count, sizeof(*words));
	struct buf value = BUF_INIT;
	struct err e = ERR_INIT;

	for (int i = 0; i < count; i++) {
		const char *word = config_setting_get_string_elem(s, i);

		if (word == NULL) {
			conf_complain(c, place_of(c, s), NULL, "%s: element %d is %s, and must be a string", k->path, i + 1,
				type_words(config_setting_get_elem(s, (unsigned)i)));
			goto out;
		}
		words[i] = conf_arena_keep(&c->arena, mem_strdup(word));
		buf_addf(&value, "%s%s", i > 0 ? "," : "", word);
	}
	if (conf_key_set_list(k, &c->settings, &c->arena, words, (size_t)count, &e))
		conf_complain(c, place_of(c, s), e.hint, "%s: %s", k->path, e.msg);
	else
		record(c, k, s, buf_take(&value));
out:
	buf_free(&value);
	free(words);
}

/* One member of a group of drill.checks. */
static void
take_check_member(struct conf *c, struct check_sql *check, const config_setting_t *m)
{
	const struct { const char *name; const char **place; } members[] = {
		{ "name", &check->name }, { "sql", &check->sql }, { "expect", &check->expect }, { "database", &check->database },
	};
	struct near near = { .wanted = config_setting_name(m) };
	const char *text = config_setting_get_string(m);

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		near_offer(&near, members[i].name);
		if (strcmp(near.wanted, members[i].name) != 0)
			continue;
		if (members[i].place == &check->expect && is_number(m))
			*members[i].place = conf_arena_keep(&c->arena, mem_printf("%lld", config_setting_get_int64(m)));
		else if (text == NULL)
			conf_complain(c, place_of(c, m), NULL, "drill.checks: \"%s\" is %s, and must be a string%s", near.wanted, type_words(m),
				members[i].place == &check->expect ? " or a number" : "");
		else if (text[0] == '\0')
			conf_complain(c, place_of(c, m), NULL, "drill.checks: \"%s\" is empty", near.wanted);
		else
			*members[i].place = conf_arena_keep(&c->arena, mem_strdup(text));
		return;
	}
	conf_complain(c, place_of(c, m), near.best == NULL ? "A check has name, sql, expect and database." : NULL,
		"drill.checks: unknown member \"%s\"%s%s%s", near.wanted, near.best != NULL ? ": is \"" : "",
		near.best != NULL ? near.best : "", near.best != NULL ? "\" meant?" : "");
}

static void
take_check(struct conf *c, const config_setting_t *s, const struct check_sql *before, struct check_sql *check)
{
	if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
		conf_complain(c, place_of(c, s), NULL, "drill.checks: is %s, and must be a group: { name = \"...\"; sql = \"...\"; }", type_words(s));
		return;
	}
	for (int i = 0; i < config_setting_length(s); i++)
		take_check_member(c, check, config_setting_get_elem(s, (unsigned)i));
	if (check->name == NULL || check->sql == NULL)
		conf_complain(c, place_of(c, s), NULL, "drill.checks: a check needs a name and sql");
	for (; check->name != NULL && before < check; before++)
		if (before->name != NULL && strcmp(before->name, check->name) == 0)
			conf_complain(c, place_of(c, s), NULL, "drill.checks: two checks are called \"%s\"", check->name);
}

static void
take_checks(struct conf *c, const struct conf_key *k, const config_setting_t *s)
{
	int count = config_setting_length(s);
	struct check_sql *checks = conf_arena_keep(&c->arena, mem_zero((size_t)count + 1, sizeof(*checks)));
	struct buf names = BUF_INIT;

	for (int i = 0; i < count; i++) {
		take_check(c, config_setting_get_elem(s, (unsigned)i), checks, &checks[i]);
		buf_addf(&names, "%s%s", i > 0 ? ", " : "", checks[i].name != NULL ? checks[i].name : "?");
	}
	c->settings.drill.checks = checks;
	record(c, k, s, buf_take(&names));
}

static void
take(struct conf *c, const struct conf_key *k, const config_setting_t *s)
{
	bool list = config_setting_type(s) == CONFIG_TYPE_ARRAY || config_setting_type(s) == CONFIG_TYPE_LIST;

	if (k->type == CONF_CHECKS && list)
		take_checks(c, k, s);
	else if ((k->type == CONF_LIST || k->type == CONF_ALL_OR_LIST) && list)
		take_list(c, k, s);
	else if (k->type == CONF_LIST || k->type == CONF_CHECKS)
		conf_complain(c, place_of(c, s), NULL, "%s: is %s, and must be a list: %s", k->path, type_words(s),
			k->type == CONF_LIST ? "[ \"...\", \"...\" ]" : "( { name = \"...\"; sql = \"...\"; } )");
	else if (k->type == CONF_ALL_OR_LIST && (config_setting_type(s) != CONFIG_TYPE_STRING || strcmp(config_setting_get_string(s), "all") != 0))
		conf_complain(c, place_of(c, s), NULL, "%s: is %s, and must be \"all\" or a list: [ \"...\", \"...\" ]", k->path, type_words(s));
	else
		take_scalar(c, k, s);
}

/* A key whose name belongs to a secret is told so; its value is never repeated (R49). */
static void
refuse(struct conf *c, const config_setting_t *s, const char *path)
{
	const char *name = config_setting_name(s), *file_key = conf_key_secret(name);
	struct near near = { .wanted = path };
	size_t group = strlen(path) - strlen(name);

	if (file_key != NULL) {
		conf_complain(c, place_of(c, s), "A configuration is copied, printed and kept in version control; a secret belongs into a file of its own.",
			"%s: secrets do not stand in the configuration: put it into a file and name that in \"%.*s%s\"", path, (int)group, path, file_key);
		return;
	}
	for (size_t i = 0; i < conf_keys_count; i++) {
		const char *last = strrchr(conf_keys[i].path, '.');

		near_offer(&near, conf_keys[i].path);
		/* The right name in the wrong group. */
		if (last != NULL && strcmp(last + 1, name) == 0 && near.best == NULL)
			near.best = conf_keys[i].path, near.distance = 3;
	}
	if (near.best != NULL)
		conf_complain(c, place_of(c, s), NULL, "unknown key \"%s\": is \"%s\" meant?", path, near.best);
	else
		conf_complain(c, place_of(c, s), "`man holdfast.cfg` lists all keys.", "unknown key \"%s\"", path);
}

void
conf_walk(struct conf *c, const config_setting_t *group, const char *path)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
		char *below = mem_printf("%s%s%s", path, path[0] != '\0' ? "." : "", config_setting_name(s));
		int key = conf_key_find(below);

		if (key >= 0)
			take(c, &conf_keys[key], s);
		else if (!conf_key_is_group(below))
			refuse(c, s, below);
		else if (config_setting_type(s) == CONFIG_TYPE_GROUP)
			conf_walk(c, s, below);
		else
			conf_complain(c, place_of(c, s), NULL, "%s: is %s, and must be a group: { ... }", below, type_words(s));
		free(below);
	}
}
