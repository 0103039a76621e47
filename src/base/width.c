#include "base/width.h"

#include <locale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "base/mem.h"

static locale_t utf8;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void
make_locale(void)
{
	utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* Decodes one character and steps over it; U+FFFD for a byte that is none. */
static uint32_t
decode(const unsigned char **p)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = *(*p)++;
	size_t n = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
	uint32_t c = n == 1 ? first : first & (0x7fu >> n);

	if (n == 0)
		return 0xfffd;
	for (size_t i = 1; i < n; i++) {
		if (((*p)[i - 1] & 0xc0) != 0x80)
			return 0xfffd;
		c = c << 6 | ((*p)[i - 1] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0xfffd;
	*p += n - 1;
	return c;
}

/* Steps over one character: its columns, and in *shown whether it may be sent as it is. */
static size_t
step(const unsigned char **p, bool *shown)
{
	const unsigned char *from = *p;
	uint32_t c = decode(p);
	int columns = 1;

	/* Bidirectional overrides and isolates would let a table name rearrange the line that it stands in. */
	*shown = c != 0xfffd && c >= 0x20 && (c < 0x7f || c >= 0xa0) && !(c >= 0x202a && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
	if (!*shown || *p == from + 1)
		return 1;
	if (utf8 != (locale_t)0) {
		locale_t before = uselocale(utf8);

		columns = wcwidth((wchar_t)c);
		uselocale(before);
	}
	if (columns < 0)
		*shown = false;
	return columns < 0 ? 1 : (size_t)columns;
}

size_t
width_of(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t columns = 0;
	bool shown;

	pthread_once(&made, make_locale);
	while (*p != '\0')
		columns += step(&p, &shown);
	return columns;
}

/* At most `limit` columns from the front, without a mark where it is cut. */
static size_t
add_front(struct buf *to, const char *text, size_t limit)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t used = 0;

	while (*p != '\0') {
		const unsigned char *from = p;
		bool shown;
		size_t w = step(&p, &shown);

		if (used + w > limit)
			break;
		if (shown)
			buf_add(to, from, (size_t)(p - from));
		else
			buf_addstr(to, "\xef\xbf\xbd");
		used += w;
	}
	return used;
}

size_t
width_add(struct buf *to, const char *text, size_t columns)
{
	bool cut = width_of(text) > columns;
	size_t used = add_front(to, text, cut && columns > 0 ? columns - 1 : columns);

	if (cut && columns > 0) {
		buf_addstr(to, "…");
		used++;
	}
	return used;
}

size_t
width_add_middle(struct buf *to, const char *text, size_t columns)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t all = width_of(text), used, behind;
	bool shown;

	if (all <= columns || columns < 3)
		return width_add(to, text, columns);
	behind = columns / 2;
	used = add_front(to, text, columns - 1 - behind);
	buf_addstr(to, "…");
	/* Forward to where no more than `behind` columns are left, and past what combines with a letter that is cut off. */
	while (*p != '\0' && all > behind)
		all -= step(&p, &shown);
	while (*p != '\0') {
		const unsigned char *from = p;

		if (step(&p, &shown) > 0) {
			p = from;
			break;
		}
	}
	return used + 1 + add_front(to, (const char *)p, behind);
}

char *
width_line(const char **text, size_t columns)
{
	const unsigned char *start = (const unsigned char *)*text, *p = start, *end = NULL, *from;
	size_t used = 0;
	bool shown;

	pthread_once(&made, make_locale);
	for (; *p != '\0'; end = *from == ' ' ? from : end) {
		size_t w;

		from = p;
		w = step(&p, &shown);
		if (used + w > columns && from > start) {
			/* A space at the very end of a full line is where it ends. */
			if (end == NULL || *from == ' ')
				end = from;
			*text = (const char *)end + strspn((const char *)end, " ");
			return mem_strndup((const char *)start, (size_t)(end - start));
		}
		used += w;
	}
	*text = (const char *)p;
	return mem_strdup((const char *)start);
}

size_t
width_terminal(int fd, size_t otherwise)
{
	struct winsize w;

	return ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : otherwise;
}
