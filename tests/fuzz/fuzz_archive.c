#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/sink.h"
#include "pg/archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* An archive comes from the server, which may be hostile (R46), and from a repository (R47). */
static int
read_in_steps(struct archive_digest *d, const struct archive_columns *expect, const uint8_t *data, size_t bytes, size_t step)
{
	struct err e = ERR_INIT;
	struct sink *s = archive_reader_new(d, expect, sink_null_new());
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < bytes; at += step)
		rc = sink_write(s, data + at, bytes - at < step ? bytes - at : step, &e);
	if (rc == 0)
		rc = sink_finish(s, &e);
	if (rc != 0 && e.kind != ERR_CORRUPT)
		abort();
	sink_free(s);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const char *const order[] = { "b", "a" };
	struct archive_columns *expect = archive_columns_new();
	struct archive_digest whole = ARCHIVE_DIGEST_INIT, pieces = ARCHIVE_DIGEST_INIT;
	int rc;

	archive_columns_add(expect, "public.t", order, 2);
	rc = read_in_steps(&whole, expect, data, bytes, bytes + 1);
	if (read_in_steps(&pieces, expect, data, bytes, 1 + bytes % 7) != rc)
		abort();
	if (rc == 0) {
		if (whole.n_entries != pieces.n_entries || whole.n_items != pieces.n_items)
			abort();
		for (size_t i = 0; i < whole.n_entries; i++)
			if (whole.entries[i].rows != pieces.entries[i].rows || whole.entries[i].bytes != pieces.entries[i].bytes ||
			    memcmp(whole.entries[i].sha256, pieces.entries[i].sha256, SHA256_BYTES) != 0)
				abort();
	}
	archive_digest_free(&whole);
	archive_digest_free(&pieces);
	archive_columns_free(expect);
	return 0;
}
