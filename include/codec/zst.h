#ifndef HF_CODEC_ZST_H
#define HF_CODEC_ZST_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/*
 * zstd, one frame at a time (RFC 8878).  A context is reused over many frames by one thread.
 */
struct zst;

struct zst *zst_new(int level);         /* 1 to 19; zstd's own, but for smaller tables at 3 */
void zst_free(struct zst *z);           /* NULL is nothing */

/* The most bytes that a frame of `bytes` plain bytes can have. */
size_t zst_bound(size_t bytes);

/* Compresses into `to`, which has zst_bound(bytes) bytes; returns the frame's length. */
size_t zst_pack(struct zst *z, const void *data, size_t bytes, uint8_t *to);

/* Unpacks one frame of exactly `frame_bytes` into exactly `bytes` bytes at `to`; anything else is ERR_CORRUPT.  The output
 * is bounded by `bytes`, whatever the frame claims (R47). */
int zst_unpack(struct zst *z, const void *frame, size_t frame_bytes, uint8_t *to, size_t bytes, struct err *e) MUST_USE;

#endif
