#ifndef HF_BASE_BYTES_H
#define HF_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * A growing run of bytes, and a cursor that reads one without ever running over its end.
 *
 * struct buf: `data` holds `bytes` bytes and is always followed by a 0 byte once anything was added, so that text in it
 * is a C string.  BUF_INIT makes an empty one; buf_free empties it again.
 */
struct buf {
	uint8_t *data;
	size_t bytes;
	size_t room;
};

#define BUF_INIT { .data = NULL, .bytes = 0, .room = 0 }

void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *data, size_t bytes);
void buf_addstr(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_addc(struct buf *b, char c);
void buf_u8(struct buf *b, uint8_t v);
void buf_u32(struct buf *b, uint32_t v);        /* little-endian, as every number of the repository format */
void buf_u64(struct buf *b, uint64_t v);
void buf_clear(struct buf *b);                  /* empties, keeps the room */
char *buf_take(struct buf *b);                  /* hands over the memory as a C string; `b` is empty afterwards */
void buf_free(struct buf *b);

uint16_t bytes_get_u16(const uint8_t *p);
uint32_t bytes_get_u32(const uint8_t *p);
uint64_t bytes_get_u64(const uint8_t *p);
void bytes_put_u16(uint8_t *p, uint16_t v);
void bytes_put_u32(uint8_t *p, uint32_t v);
void bytes_put_u64(uint8_t *p, uint64_t v);

/* A reader over borrowed bytes.  A read over the end gives zeros and sets `short_read`; look at it once, at the end. */
struct cursor {
	const uint8_t *at;
	size_t left;
	bool short_read;
};

struct cursor cursor_over(const void *data, size_t bytes);
uint8_t cursor_u8(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
const uint8_t *cursor_take(struct cursor *c, size_t bytes);     /* NULL when fewer are left */

/* Lower-case hex.  hex_encode writes 2 * bytes characters and a 0; hex_decode takes exactly 2 * bytes characters of
 * either case and returns false for anything else. */
void hex_encode(char *to, const void *data, size_t bytes);
bool hex_decode(void *to, size_t bytes, const char *hex);

/* Standard base64 with padding (RFC 4648), as Content-MD5 wants it. */
char *base64_encode(const void *data, size_t bytes);

/* Equal, in time that does not depend on where they differ. */
bool bytes_equal_secret(const void *a, const void *b, size_t bytes);

/* A whole number and a unit, "64 MiB", "10GiB", "512 bytes", or a bare number of bytes.  Anything else is ERR_USAGE: 64 MB too,
 * since half of the world reads 64 MiB there (R30). */
int bytes_parse(uint64_t *bytes, const char *text, struct err *e);

/* "1.4 GiB", "512 KiB", "17 bytes": for people.  `to` needs 32 characters. */
const char *bytes_human(char *to, uint64_t bytes);

#endif
