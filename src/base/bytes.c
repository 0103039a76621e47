#include "base/bytes.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void
buf_reserve(struct buf *b, size_t more)
{
	size_t need = b->bytes + more + 1, room = b->room;

	if (need <= room)
		return;
	if (room < 64)
		room = 64;
	while (room < need)
		room += room / 2;
	b->data = mem_grow(b->data, room, 1);
	b->room = room;
}

void
buf_add(struct buf *b, const void *data, size_t bytes)
{
	buf_reserve(b, bytes);
	if (bytes > 0)
		memcpy(b->data + b->bytes, data, bytes);
	b->bytes += bytes;
	b->data[b->bytes] = 0;
}

void
buf_addstr(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void
buf_addf(struct buf *b, const char *format, ...)
{
	va_list args, again;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n > 0) {
		buf_reserve(b, (size_t)n);
		vsnprintf((char *)b->data + b->bytes, (size_t)n + 1, format, again);
		b->bytes += (size_t)n;
	}
	va_end(again);
}

void
buf_u8(struct buf *b, uint8_t v)
{
	buf_add(b, &v, 1);
}

void
buf_u32(struct buf *b, uint32_t v)
{
	uint8_t p[4];

	bytes_put_u32(p, v);
	buf_add(b, p, sizeof(p));
}

void
buf_u64(struct buf *b, uint64_t v)
{
	uint8_t p[8];

	bytes_put_u64(p, v);
	buf_add(b, p, sizeof(p));
}

void
buf_clear(struct buf *b)
{
	b->bytes = 0;
	if (b->data != NULL)
		b->data[0] = 0;
}

char *
buf_take(struct buf *b)
{
	char *text;

	buf_reserve(b, 0);
	b->data[b->bytes] = 0;
	text = (char *)b->data;
	*b = (struct buf)BUF_INIT;
	return text;
}

void
buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

uint16_t
bytes_get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t
bytes_get_u32(const uint8_t *p)
{
	return (uint32_t)bytes_get_u16(p) | (uint32_t)bytes_get_u16(p + 2) << 16;
}

uint64_t
bytes_get_u64(const uint8_t *p)
{
	return (uint64_t)bytes_get_u32(p) | (uint64_t)bytes_get_u32(p + 4) << 32;
}

void
bytes_put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void
bytes_put_u32(uint8_t *p, uint32_t v)
{
	bytes_put_u16(p, (uint16_t)v);
	bytes_put_u16(p + 2, (uint16_t)(v >> 16));
}

void
bytes_put_u64(uint8_t *p, uint64_t v)
{
	bytes_put_u32(p, (uint32_t)v);
	bytes_put_u32(p + 4, (uint32_t)(v >> 32));
}

struct cursor
cursor_over(const void *data, size_t bytes)
{
	return (struct cursor){ .at = data, .left = bytes, .short_read = false };
}

const uint8_t *
cursor_take(struct cursor *c, size_t bytes)
{
	const uint8_t *p = c->at;

	if (bytes > c->left) {
		c->short_read = true;
		c->left = 0;
		return NULL;
	}
	if (bytes > 0)
		c->at += bytes;
	c->left -= bytes;
	return p;
}

uint8_t
cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p == NULL ? 0 : p[0];
}

uint32_t
cursor_u32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);

	return p == NULL ? 0 : bytes_get_u32(p);
}

uint64_t
cursor_u64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);

	return p == NULL ? 0 : bytes_get_u64(p);
}

void
hex_encode(char *to, const void *data, size_t bytes)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < bytes; i++) {
		to[2 * i] = digits[p[i] >> 4];
		to[2 * i + 1] = digits[p[i] & 15];
	}
	to[2 * bytes] = '\0';
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
hex_decode(void *to, size_t bytes, const char *hex)
{
	uint8_t *p = to;

	for (size_t i = 0; i < bytes; i++) {
		int high = hex_value(hex[2 * i]);
		int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);

		if (low < 0)
			return false;
		p[i] = (uint8_t)(high << 4 | low);
	}
	return hex[2 * bytes] == '\0';
}

char *
base64_encode(const void *data, size_t bytes)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;
	char *text = mem_alloc((bytes + 2) / 3 * 4 + 1), *to = text;

	for (size_t i = 0; i < bytes; i += 3) {
		size_t n = bytes - i < 3 ? bytes - i : 3;
		uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? (uint32_t)p[i + 2] : 0);

		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = n > 1 ? digits[v >> 6 & 63] : '=';
		*to++ = n > 2 ? digits[v & 63] : '=';
	}
	*to = '\0';
	return text;
}

bool
bytes_equal_secret(const void *a, const void *b, size_t bytes)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t differ = 0;

	for (size_t i = 0; i < bytes; i++)
		differ |= (uint8_t)(x[i] ^ y[i]);
	return differ == 0;
}

int
bytes_parse(uint64_t *bytes, const char *text, struct err *e)
{
	static const struct { const char *unit; unsigned shift; } units[] = {
		{ "", 0 }, { "bytes", 0 }, { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "TiB", 40 },
	};
	unsigned long long v;
	char *end;

	if (isdigit((unsigned char)text[0])) {
		errno = 0;
		v = strtoull(text, &end, 10);
		if (end[0] == ' ' && end[1] != '\0')
			end++;
		for (size_t i = 0; errno == 0 && i < sizeof(units) / sizeof(units[0]); i++)
			if (strcmp(end, units[i].unit) == 0 && v <= (uint64_t)INT64_MAX >> units[i].shift) {
				*bytes = v << units[i].shift;
				return 0;
			}
	}
	err_set(e, ERR_USAGE, "\"%.64s\" is not a size", text);
	return err_hint(e, "Write a whole number and a binary unit: 512 KiB, 64 MiB, 10 GiB or 2 TiB.");
}

const char *
bytes_human(char *to, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes;
	size_t u = 0;

	if (bytes < 1024) {
		snprintf(to, 32, "%" PRIu64 " byte%s", bytes, bytes == 1 ? "" : "s");
		return to;
	}
	for (v /= 1024; v >= 1000 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		v /= 1024;
	snprintf(to, 32, v < 10 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return to;
}
