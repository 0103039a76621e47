#include "report/html.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void
escape(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++)
		switch (*text) {
		case '&': buf_addstr(out, "&amp;"); break;
		case '<': buf_addstr(out, "&lt;"); break;
		case '>': buf_addstr(out, "&gt;"); break;
		case '"': buf_addstr(out, "&quot;"); break;
		case '\'': buf_addstr(out, "&#39;"); break;
		default: buf_addc(out, *text);
		}
}

static void
start(struct html *h, const char *tag, va_list args)
{
	const char *name;

	buf_addf(&h->out, "<%s", tag);
	while ((name = va_arg(args, const char *)) != NULL) {
		const char *value = va_arg(args, const char *);

		if (value == NULL)
			continue;
		buf_addf(&h->out, " %s=\"", name);
		escape(&h->out, value);
		buf_addc(&h->out, '"');
	}
}

void
html_open(struct html *h, const char *tag, ...)
{
	va_list args;

	if (h->depth == HTML_DEPTH)
		abort();
	va_start(args, tag);
	start(h, tag, args);
	va_end(args);
	buf_addc(&h->out, '>');
	h->open[h->depth++] = tag;
}

void
html_close(struct html *h)
{
	if (h->depth == 0)
		abort();
	buf_addf(&h->out, "</%s>\n", h->open[--h->depth]);
}

void
html_close_to(struct html *h, unsigned depth)
{
	while (h->depth > depth)
		html_close(h);
}

void
html_text(struct html *h, const char *text)
{
	escape(&h->out, text);
}

void
html_leaf(struct html *h, const char *tag, const char *text, ...)
{
	va_list args;

	va_start(args, text);
	start(h, tag, args);
	va_end(args);
	buf_addc(&h->out, '>');
	if (text != NULL)
		escape(&h->out, text);
	buf_addf(&h->out, "</%s>", tag);
}

void
html_void(struct html *h, const char *tag, ...)
{
	va_list args;

	va_start(args, tag);
	start(h, tag, args);
	va_end(args);
	buf_addstr(&h->out, " />");
}

const char *
html_number(char *to, int64_t n)
{
	snprintf(to, 24, "%" PRId64, n);
	return to;
}
