#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/conf_keys.h"
#include "base/clock.h"
#include "base/mem.h"

void *
conf_arena_keep(struct conf_arena *a, void *block)
{
	a->blocks = mem_grow(a->blocks, a->count + 1, sizeof(void *));
	a->blocks[a->count++] = block;
	return block;
}

void
conf_arena_free(struct conf_arena *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->blocks[i]);
	free(a->blocks);
	*a = (struct conf_arena){ 0 };
}

static int
in_range(const struct conf_key *k, int64_t v, const char *text, struct err *e)
{
	struct buf range = BUF_INIT;

	if (v >= k->low && v <= k->high)
		return 0;
	conf_key_range(k, &range);
	err_set(e, ERR_USAGE, "%.64s is out of range: %s", text, (char *)range.data);
	buf_free(&range);
	return -1;
}

/* Which of "a|b|c" the text is; -1 with the whole choice in the error. */
static int
choice(const struct conf_key *k, const char *text, struct err *e)
{
	struct buf all = BUF_INIT;
	size_t bytes = strlen(text);
	int which = 0;

	for (const char *p = k->words; *p != '\0'; p += strspn(p, "|"), which++) {
		size_t n = strcspn(p, "|");

		if (n == bytes && strncmp(p, text, n) == 0)
			return which;
		p += n;
	}
	conf_key_range(k, &all);
	err_set(e, ERR_USAGE, "\"%.64s\" is none of %s", text, (char *)all.data);
	buf_free(&all);
	return -1;
}

static int
whole_number(int64_t *v, const char *text, struct err *e)
{
	char *end;

	errno = 0;
	*v = strtoll(text, &end, 10);
	if (!isdigit((unsigned char)(text[0] == '-' ? text[1] : text[0])) || *end != '\0' || errno != 0)
		return err_set(e, ERR_USAGE, "\"%.64s\" is not a whole number", text);
	return 0;
}

static int
set_number(const struct conf_key *k, void *place, const char *text, struct err *e)
{
	uint64_t bytes;
	int64_t v;
	unsigned small;

	if (k->type == CONF_SIZE) {
		if (bytes_parse(&bytes, text, e) || in_range(k, (int64_t)bytes, text, e))
			return -1;
		memcpy(place, &bytes, sizeof(bytes));
	} else if (k->type == CONF_SPAN) {
		if (clock_parse_duration(&v, text, e) || in_range(k, v, text, e))
			return -1;
		memcpy(place, &v, sizeof(v));
	} else {
		if (whole_number(&v, text, e) || in_range(k, v, text, e))
			return -1;
		small = (unsigned)v;
		memcpy(place, &small, sizeof(small));
	}
	return 0;
}

static int
set_flag(void *place, const char *text, struct err *e)
{
	bool yes = strcmp(text, "true") == 0;

	if (!yes && strcmp(text, "false") != 0)
		return err_set(e, ERR_USAGE, "\"%.64s\" is neither true nor false", text);
	memcpy(place, &yes, sizeof(yes));
	return 0;
}

/* What every string must be: something, of sane length, without control characters (it goes into messages and reports). */
static int
fit_text(const char *text, struct err *e)
{
	if (text[0] == '\0')
		return err_set(e, ERR_USAGE, "is empty");
	if (strlen(text) > 4096)
		return err_set(e, ERR_USAGE, "has more than 4096 characters");
	for (const char *p = text; *p != '\0'; p++)
		if (iscntrl((unsigned char)*p))
			return err_set(e, ERR_USAGE, "holds a control character");
	return 0;
}

static int
fit_name(const char *text, struct err *e)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	if (text[n] != '\0')
		return err_set(e, ERR_USAGE, "\"%.64s\" may hold letters, digits, \".\", \"_\" and \"-\" only", text);
	if (n > 64 || !isalnum((unsigned char)text[0]))
		return err_set(e, ERR_USAGE, "\"%.64s\" must begin with a letter or digit and have at most 64 characters", text);
	return 0;
}

static int
set_text(const struct conf_key *k, void *place, struct conf_arena *a, const char *text, struct err *e)
{
	const char *kept = NULL;
	int64_t port;

	if (k->type == CONF_PATH_OR_NONE && text[0] == '\0') {
		memcpy(place, &kept, sizeof(kept));
		return 0;
	}
	if (fit_text(text, e))
		return -1;
	if (k->type == CONF_NAME && fit_name(text, e))
		return -1;
	if (k->type == CONF_WORD && choice(k, text, e) < 0)
		return -1;
	if (k->type == CONF_PORT && (whole_number(&port, text, e) || in_range(k, port, text, e)))
		return -1;
	if ((k->type == CONF_PATH || k->type == CONF_PATH_OR_NONE) && text[0] != '/')
		return err_set(e, ERR_USAGE, "\"%.200s\" is not an absolute path", text);
	kept = conf_arena_keep(a, mem_strdup(text));
	memcpy(place, &kept, sizeof(kept));
	return 0;
}

int
conf_key_set_list(const struct conf_key *k, struct settings *s, struct conf_arena *a, char *const *words, size_t count, struct err *e)
{
	char *place = (char *)s + k->at;
	const char **list;

	if (count == 0 && k->type == CONF_ALL_OR_LIST)
		return err_set(e, ERR_USAGE, "is an empty list: write \"all\" to mean all");
	for (size_t i = 0; i < count; i++) {
		if (fit_text(words[i], e))
			return err_wrap(e, "element %zu", i + 1);
		for (size_t j = 0; j < i; j++)
			if (strcmp(words[i], words[j]) == 0)
				return err_set(e, ERR_USAGE, "\"%.64s\" stands twice in the list", words[i]);
	}
	list = conf_arena_keep(a, mem_zero(count + 1, sizeof(*list)));
	for (size_t i = 0; i < count; i++)
		list[i] = conf_arena_keep(a, mem_strdup(words[i]));
	memcpy(place, &list, sizeof(list));
	return 0;
}

/* A list in one string, as an environment variable or a default has it: "a,b". */
static int
set_split(const struct conf_key *k, struct settings *s, struct conf_arena *a, const char *text, struct err *e)
{
	const char *const *none = NULL;
	char *copy, *rest, *word, **words = NULL;
	size_t count = 0;
	int rc;

	if (k->type == CONF_ALL_OR_LIST && strcmp(text, "all") == 0) {
		memcpy((char *)s + k->at, &none, sizeof(none));
		return 0;
	}
	rest = copy = mem_strdup(text);
	while (text[0] != '\0' && (word = strsep(&rest, ",")) != NULL) {
		words = mem_grow(words, count + 1, sizeof(*words));
		words[count++] = word + strspn(word, " ");
	}
	rc = conf_key_set_list(k, s, a, words, count, e);
	free(words);
	free(copy);
	return rc;
}

int
conf_key_set(const struct conf_key *k, struct settings *s, struct conf_arena *a, const char *text, struct err *e)
{
	char *place = (char *)s + k->at;
	unsigned which;

	switch (k->type) {
	case CONF_FLAG:
		return set_flag(place, text, e);
	case CONF_NUMBER:
	case CONF_SIZE:
	case CONF_SPAN:
		return set_number(k, place, text, e);
	case CONF_CHOICE:
		if (choice(k, text, e) < 0)
			return -1;
		which = (unsigned)choice(k, text, e);
		memcpy(place, &which, sizeof(which));
		return 0;
	case CONF_LIST:
	case CONF_ALL_OR_LIST:
		return set_split(k, s, a, text, e);
	case CONF_CHECKS:
		err_set(e, ERR_USAGE, "cannot be set by an environment variable");
		return err_hint(e, "Write drill.checks into the configuration file.");
	case CONF_TEXT:
	case CONF_NAME:
	case CONF_PATH:
	case CONF_PATH_OR_NONE:
	case CONF_PORT:
	case CONF_WORD:
		break;
	}
	return set_text(k, place, a, text, e);
}
