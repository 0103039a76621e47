#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/conf_private.h"
#include "base/file.h"
#include "base/mem.h"

enum { INCLUDE_DEPTH = 5, NESTING_MAX = 16 };

struct scan {
	struct conf *conf;
	const char *file, *dir;
	const char *p, *end;
	unsigned line, depth, nesting;
	bool fine;
};

static void
bad(struct scan *s, unsigned line, const char *hint, const char *what)
{
	conf_complain(s->conf, conf_place(s->conf, s->file, line), hint, "%s", what);
	s->fine = false;
}

static void
skip_string(struct scan *s)
{
	unsigned from = s->line;

	for (s->p++; s->p < s->end && *s->p != '"'; s->p++) {
		if (*s->p == '\n')
			s->line++;
		if (*s->p == '\\' && s->p + 1 < s->end)
			s->p++;
	}
	if (s->p == s->end)
		bad(s, from, NULL, "the string that begins here is not closed");
	else
		s->p++;
}

static void
skip_comment(struct scan *s)
{
	unsigned from = s->line;

	if (s->p[0] == '#' || s->p[1] == '/') {
		while (s->p < s->end && *s->p != '\n')
			s->p++;
		return;
	}
	for (s->p += 2; s->end - s->p >= 2 && (s->p[0] != '*' || s->p[1] != '/'); s->p++)
		if (*s->p == '\n')
			s->line++;
	if (s->end - s->p < 2) {
		bad(s, from, NULL, "the comment that begins here is not closed");
		s->p = s->end;
	} else {
		s->p += 2;
	}
}

/* libconfig cuts what does not fit into an int without a word; with an L behind it, it has 64 bits. */
static void
scan_number(struct scan *s)
{
	const char *from = s->p;
	bool hex = s->end - s->p > 1 && (s->p[1] == 'x' || s->p[1] == 'X');
	uint64_t v = 0;

	if (hex)
		s->p += 2;
	for (; s->p < s->end && (hex ? isxdigit((unsigned char)*s->p) : isdigit((unsigned char)*s->p)); s->p++) {
		unsigned digit = isdigit((unsigned char)*s->p) ? (unsigned)(*s->p - '0') : (unsigned)(tolower((unsigned char)*s->p) - 'a' + 10);

		v = v > INT64_MAX / 16 - 1 ? (uint64_t)INT64_MAX + 1 : v * (hex ? 16 : 10) + digit;
	}
	if (v > INT64_MAX || (v > INT32_MAX && (s->p == s->end || *s->p != 'L')))
		bad(s, s->line, "Sizes and durations are strings with a unit: \"64 MiB\", \"12h\".", "the number is too large");
	/* What is glued to it, as in 1e5 or 10L. */
	while (s->p < s->end && (isalnum((unsigned char)*s->p) || *s->p == '.'))
		s->p++;
	if (s->p == from)
		s->p++;
}

static void
follow_include(struct scan *s, const char *name, size_t bytes)
{
	char *path;
	struct buf text = BUF_INIT;
	struct err e = ERR_INIT;

	if (s->dir == NULL || s->depth >= INCLUDE_DEPTH) {
		bad(s, s->line, NULL, s->dir == NULL ? "@include is not allowed here" : "@include is nested too deeply");
		return;
	}
	if (bytes == 0 || (name[0] != '/' && memchr(name, '/', bytes) != NULL)) {
		bad(s, s->line, NULL, "@include takes an absolute path or the name of a file in the same folder");
		return;
	}
	path = name[0] == '/' ? mem_strndup(name, bytes) : mem_printf("%s/%.*s", s->dir, (int)bytes, name);
	if (file_read(&text, path, CONF_FILE_MAX, &e)) {
		bad(s, s->line, NULL, e.msg);
	} else if (!conf_scan(s->conf, conf_arena_keep(&s->conf->arena, mem_strdup(path)), (char *)text.data, text.bytes, s->dir, s->depth + 1)) {
		s->fine = false;
	}
	buf_free(&text);
	free(path);
}

static void
scan_include(struct scan *s)
{
	const char *name = memchr(s->p, '"', (size_t)(s->end - s->p)), *newline = memchr(s->p, '\n', (size_t)(s->end - s->p)), *close;

	if (newline == NULL)
		newline = s->end;
	close = name == NULL || name > newline ? NULL : memchr(name + 1, '"', (size_t)(newline - name - 1));
	if (close == NULL) {
		bad(s, s->line, NULL, "@include must be followed by a file name in quotes");
		s->p = newline;
		return;
	}
	follow_include(s, name + 1, (size_t)(close - name - 1));
	s->p = close + 1;
}

static void
step(struct scan *s)
{
	char c = *s->p, next = s->p + 1 < s->end ? s->p[1] : '\0';

	if (c == '"') {
		skip_string(s);
	} else if (c == '#' || (c == '/' && (next == '/' || next == '*'))) {
		skip_comment(s);
	} else if (c == '@') {
		scan_include(s);
	} else if (isdigit((unsigned char)c)) {
		scan_number(s);
	} else if (isalpha((unsigned char)c)) {
		/* A name may hold digits; they are no number. */
		while (s->p < s->end && (isalnum((unsigned char)*s->p) || *s->p == '_' || *s->p == '-'))
			s->p++;
	} else {
		if (c == '(' || c == '{' || c == '[') {
			if (++s->nesting > NESTING_MAX) {
				bad(s, s->line, NULL, "is nested too deeply");
				s->p = s->end;
				return;
			}
		} else if ((c == ')' || c == '}' || c == ']') && s->nesting > 0) {
			s->nesting--;
		} else if (c == '\n') {
			s->line++;
		}
		s->p++;
	}
}

bool
conf_scan(struct conf *c, const char *file, const char *text, size_t bytes, const char *dir, unsigned depth)
{
	struct scan s = { .conf = c, .file = file, .dir = dir, .p = text, .end = text + bytes, .line = 1, .depth = depth, .fine = true };

	if (bytes > 0 && memchr(text, 0, bytes) != NULL)
		bad(&s, 1, NULL, "holds a zero byte: this is no configuration file");
	else
		while (s.p < s.end)
			step(&s);
	return s.fine;
}
