#include "report/clean.h"

#include <stdbool.h>
#include <string.h>

#define BAD 0xfffdu
#define FIRST_STRONG_ISOLATE 0x2068u
#define POP_ISOLATE 0x2069u
#define ELLIPSIS "\xe2\x80\xa6"

struct range {
	uint32_t first, last;
};

static bool
within(uint32_t c, const struct range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

#define WITHIN(c, ranges) within(c, ranges, sizeof(ranges) / sizeof((ranges)[0]))

/* Reads one character; anything that is no UTF-8 (RFC 3629) is U+FFFD and one byte long. */
static uint32_t
next_char(const char **p)
{
	const unsigned char *s = (const unsigned char *)*p;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
	uint32_t c = n < 2 ? s[0] : s[0] & (0xffu >> (n + 1));

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			n = 0;
			break;
		}
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (n == 0 || (n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c <= 0xdfff)) {
		(*p)++;
		return BAD;
	}
	*p += n;
	return c;
}

static void
add_char(struct buf *to, uint32_t c)
{
	if (c < 0x80) {
		buf_addc(to, (char)c);
	} else if (c < 0x800) {
		buf_u8(to, (uint8_t)(0xc0 | c >> 6));
		buf_u8(to, (uint8_t)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		buf_u8(to, (uint8_t)(0xe0 | c >> 12));
		buf_u8(to, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
		buf_u8(to, (uint8_t)(0x80 | (c & 0x3f)));
	} else {
		buf_u8(to, (uint8_t)(0xf0 | c >> 18));
		buf_u8(to, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
		buf_u8(to, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
		buf_u8(to, (uint8_t)(0x80 | (c & 0x3f)));
	}
}

/* Characters that are not seen but change how others are: marks, embeddings, overrides and isolates of direction, invisible
 * spaces and operators, separators that break a line.  Joiners stay: names in Persian or Hindi, and emoji, need them. */
static bool
hidden(uint32_t c)
{
	static const struct range ranges[] = {
		{ 0x00ad, 0x00ad }, { 0x061c, 0x061c }, { 0x180e, 0x180e }, { 0x200b, 0x200b }, { 0x200e, 0x200f },
		{ 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe0fff },
	};

	return WITHIN(c, ranges);
}

static bool
right_to_left(uint32_t c)
{
	static const struct range ranges[] = {
		{ 0x0590, 0x08ff }, { 0xfb1d, 0xfdff }, { 0xfe70, 0xfefc }, { 0x10800, 0x10fff }, { 0x1e800, 0x1efff },
	};

	return WITHIN(c, ranges);
}

static void
add_clean(struct buf *to, uint32_t c)
{
	if (c < 0x20)
		add_char(to, 0x2400 + c);
	else if (c == 0x7f)
		add_char(to, 0x2421);
	else if ((c >= 0x80 && c < 0xa0) || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef))
		add_char(to, BAD);
	else if (hidden(c))
		buf_addf(to, "\xe2\x80\xb9U+%04X\xe2\x80\xba", (unsigned)c);
	else
		add_char(to, c);
}

static size_t
count_chars(const char *text, bool *rtl)
{
	size_t n = 0;

	for (const char *p = text; *p != '\0'; n++)
		if (right_to_left(next_char(&p)))
			*rtl = true;
	return n;
}

void
clean_line(struct buf *to, const char *text, size_t limit)
{
	bool rtl = false;
	size_t all, head, tail;

	if (text == NULL)
		return;
	all = count_chars(text, &rtl);
	/* The end of a long name often tells more than its middle: a partition's date, the last word of an error. */
	tail = all > limit ? limit / 3 : 0;
	head = all > limit ? limit - tail : all;
	if (rtl)
		add_char(to, FIRST_STRONG_ISOLATE);
	for (size_t i = 0; *text != '\0'; i++) {
		uint32_t c = next_char(&text);

		if (i < head || i >= all - tail)
			add_clean(to, c);
		else if (i == head)
			buf_addstr(to, ELLIPSIS);
	}
	if (rtl)
		add_char(to, POP_ISOLATE);
}

void
clean_lines(struct buf *to, const char *text, size_t lines, size_t limit)
{
	struct buf line = BUF_INIT;
	size_t n = 0, left_out = 0;

	for (const char *end; text != NULL && *text != '\0'; text = *end == '\0' ? end : end + 1) {
		end = strchrnul(text, '\n');
		if (n++ >= lines) {
			left_out++;
			continue;
		}
		buf_clear(&line);
		/* A tab is worth keeping in shape: schema text is indented with it. */
		for (const char *p = text; p < end; p++)
			if (*p == '\t')
				buf_addstr(&line, "    ");
			else
				buf_addc(&line, *p);
		if (line.bytes > 0)
			clean_line(to, (const char *)line.data, limit);
		buf_addc(to, '\n');
	}
	if (left_out > 0)
		buf_addf(to, ELLIPSIS " and %zu more lines\n", left_out);
	buf_free(&line);
}

void
clean_without_isolates(struct buf *to, const char *text)
{
	while (*text != '\0') {
		uint32_t c = next_char(&text);

		if (c != FIRST_STRONG_ISOLATE && c != POP_ISOLATE)
			add_char(to, c);
	}
}
