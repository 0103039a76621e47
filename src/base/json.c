#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

json_t *
json_parse(const void *text, size_t bytes, const char *what, struct err *e)
{
	json_error_t error;
	json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);

	if (value == NULL)
		err_set(e, ERR_CORRUPT, "%s is not valid JSON: %s at line %d, column %d", what, error.text, error.line, error.column);
	return value;
}

char *
json_text(const json_t *value, size_t flags)
{
	char *text = json_dumps(value, flags | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	if (text == NULL) {
		fprintf(stderr, "holdfast: out of memory while writing JSON\n");
		exit(1);
	}
	return text;
}

/* How many bytes the UTF-8 character at `p` has (RFC 3629), or 0 where it is none. */
static size_t
utf8_length(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what lies above U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

json_t *
json_str(const char *value)
{
	json_t *text = json_string(value);
	struct buf repaired = BUF_INIT;
	const unsigned char *p = (const unsigned char *)value;

	if (text != NULL)
		return text;
	while (*p != '\0') {
		size_t n = utf8_length(p);

		if (n == 0)
			buf_addstr(&repaired, "\xef\xbf\xbd");
		else
			buf_add(&repaired, p, n);
		p += n == 0 ? 1 : n;
	}
	buf_add(&repaired, NULL, 0);
	text = json_string((const char *)repaired.data);
	buf_free(&repaired);
	return text;
}

/* "\xE7", "\x5C": what json_name writes, and no other. */
static bool
reads_as_escape(const char *p)
{
	static const char hex[] = "0123456789ABCDEF";

	if (p[0] != '\\' || p[1] != 'x' || p[2] == '\0' || p[3] == '\0' || strchr(hex, p[3]) == NULL)
		return false;
	return strchr(hex + 8, p[2]) != NULL || (p[2] == '5' && p[3] == 'C');
}

char *
json_name(const char *name)
{
	struct buf text = BUF_INIT;

	buf_addstr(&text, "");
	while (*name != '\0') {
		size_t n = utf8_length((const unsigned char *)name);

		if (n == 0)
			buf_addf(&text, "\\x%02X", (unsigned char)*name);
		else if (reads_as_escape(name))
			buf_addstr(&text, "\\x5C");
		else
			buf_add(&text, name, n);
		name += n == 0 ? 1 : n;
	}
	return buf_take(&text);
}

void
json_put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) != 0) {
		fprintf(stderr, "holdfast: out of memory while building JSON\n");
		exit(1);
	}
}

void
json_add(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) != 0) {
		fprintf(stderr, "holdfast: out of memory while building JSON\n");
		exit(1);
	}
}

void
json_put_str(json_t *object, const char *key, const char *value)
{
	json_put(object, key, value == NULL ? json_null() : json_str(value));
}

void
json_put_int(json_t *object, const char *key, int64_t value)
{
	json_put(object, key, json_integer(value));
}

void
json_put_bool(json_t *object, const char *key, bool value)
{
	json_put(object, key, json_boolean(value));
}

static void
wrong(struct err *e, const char *key, const char *wanted)
{
	if (e->kind == ERR_NONE)
		err_set(e, ERR_CORRUPT, "member \"%s\" is not %s", key, wanted);
}

const char *
json_need_str(const json_t *object, const char *key, struct err *e)
{
	const char *s = json_string_value(json_object_get(object, key));

	if (s == NULL)
		wrong(e, key, "a string");
	return s == NULL ? "" : s;
}

int64_t
json_need_int(const json_t *object, const char *key, int64_t low, int64_t high, struct err *e)
{
	const json_t *v = json_object_get(object, key);
	int64_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < low || n > high) {
		wrong(e, key, "a whole number in its range");
		return low > 0 ? low : 0;
	}
	return n;
}

json_t *
json_need_array(const json_t *object, const char *key, struct err *e)
{
	json_t *v = json_object_get(object, key);

	if (!json_is_array(v)) {
		wrong(e, key, "an array");
		return NULL;
	}
	return v;
}

const char *
json_opt_str(const json_t *object, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s == NULL ? otherwise : s;
}

int64_t
json_opt_int(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}
