#include "codec/zst.h"

#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/mem.h"

struct zst {
	ZSTD_CCtx *pack;
	ZSTD_DCtx *unpack;
};

static _Noreturn void
broken(const char *what)
{
	fprintf(stderr, "holdfast: zstd: %s; nothing was committed by this run\n", what);
	exit(1);
}

/*
 * Level 3, the default, has tables of 768 KiB for a chunk of half a megabyte: more than a core's cache holds, and filled anew
 * for each chunk.  With 192 KiB a dump of Langfuse is packed in 0.85 of the time, to 2.5 % more bytes.
 */
static const struct {
	ZSTD_cParameter name;
	int value;
} level3[] = { { ZSTD_c_hashLog, 15 }, { ZSTD_c_chainLog, 14 }, { ZSTD_c_minMatch, 6 } };

struct zst *
zst_new(int level)
{
	struct zst *z = mem_zero(1, sizeof(*z));

	z->pack = ZSTD_createCCtx();
	z->unpack = ZSTD_createDCtx();
	if (z->pack == NULL || z->unpack == NULL)
		broken("out of memory");
	if (ZSTD_isError(ZSTD_CCtx_setParameter(z->pack, ZSTD_c_compressionLevel, level)))
		broken("unknown level");
	for (size_t i = 0; level == 3 && i < sizeof(level3) / sizeof(level3[0]); i++)
		if (ZSTD_isError(ZSTD_CCtx_setParameter(z->pack, level3[i].name, level3[i].value)))
			broken("unknown parameter");
	return z;
}

void
zst_free(struct zst *z)
{
	if (z == NULL)
		return;
	ZSTD_freeCCtx(z->pack);
	ZSTD_freeDCtx(z->unpack);
	free(z);
}

size_t
zst_bound(size_t bytes)
{
	return ZSTD_compressBound(bytes);
}

size_t
zst_pack(struct zst *z, const void *data, size_t bytes, uint8_t *to)
{
	size_t n = ZSTD_compress2(z->pack, to, ZSTD_compressBound(bytes), data, bytes);

	/* With room for the bound, only a lack of memory is left as a reason. */
	if (ZSTD_isError(n))
		broken(ZSTD_getErrorName(n));
	return n;
}

int
zst_unpack(struct zst *z, const void *frame, size_t frame_bytes, uint8_t *to, size_t bytes, struct err *e)
{
	size_t n = ZSTD_decompressDCtx(z->unpack, to, bytes, frame, frame_bytes);

	if (ZSTD_isError(n))
		return err_set(e, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(n));
	if (n != bytes)
		return err_set(e, ERR_CORRUPT, "zstd frame holds %zu bytes where %zu were recorded", n, bytes);
	return 0;
}
