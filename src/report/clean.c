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
uint32_t
clean_next(const char **p)
{
	const unsigned char *s = (const unsigned char *)*p;
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
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
		{ 0x00ad, 0x00ad }, { 0x061c, 0x061c }, { 0x180e, 0x180e }, { 0x200b, 0x200b }, { 0x200e, 0x200f }, { 0x2028, 0x202e },
		{ 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe0fff },
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
		if (right_to_left(clean_next(&p)))
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
		uint32_t c = clean_next(&text);

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

/* Good enough for a table on a terminal: combining marks take no column, East Asian wide characters and emoji two. */
static size_t
char_width(uint32_t c)
{
	static const struct range none[] = {
		{ 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd }, { 0x064b, 0x065f }, { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff },
		{ 0x200c, 0x200d }, { 0x2066, 0x2069 }, { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f },
	};
	static const struct range two[] = {
		{ 0x1100, 0x115f }, { 0x2e80, 0x303e }, { 0x3041, 0xa4cf }, { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff }, { 0xfe30, 0xfe6f },
		{ 0xff00, 0xff60 }, { 0xffe0, 0xffe6 }, { 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1faff }, { 0x20000, 0x3fffd },
	};

	return WITHIN(c, none) ? 0 : WITHIN(c, two) ? 2 : 1;
}

size_t
clean_width(const char *text)
{
	size_t columns = 0;

	while (*text != '\0')
		columns += char_width(clean_next(&text));
	return columns;
}

void
clean_fit(struct buf *to, const char *text, size_t columns)
{
	bool isolated = false;
	size_t used = 0;

	if (clean_width(text) <= columns) {
		buf_addstr(to, text);
		return;
	}
	while (*text != '\0') {
		uint32_t c = clean_next(&text);

		if (used + char_width(c) + 1 > columns)
			break;
		used += char_width(c);
		isolated = c == FIRST_STRONG_ISOLATE || (isolated && c != POP_ISOLATE);
		add_char(to, c);
	}
	if (isolated)
		add_char(to, POP_ISOLATE);
	if (columns > 0)
		buf_addstr(to, ELLIPSIS);
}
