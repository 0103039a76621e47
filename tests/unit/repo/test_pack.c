/* What a pack's directory and a record of the index may say is the same. */
#include "unit/repo/world.h"

#include "repo/index.h"
#include "repo/pack.h"

static int
nothing(void *ctx, const struct pack_info *info, const struct pack_entry *entries, struct err *e)
{
	(void)ctx, (void)info, (void)entries, (void)e;
	return 0;
}

/* Opens the directory of a pack with one chunk that claims so many plain bytes, then the index's record of it: 0 or -1 of each. */
static void
open_both(struct world *w, size_t plain_bytes, int *directory, int *record)
{
	const uint8_t run_id[8] = { 1 }, id[CHUNK_ID_BYTES] = { 2 };
	struct pack_info info = { .kind = PACK_DATA, .chunks = 1 };
	struct pack_entry *entries = NULL;
	struct buf section = BUF_INIT;
	struct err e = ERR_INIT;
	struct pack p = { .count = 0 };
	uint32_t directory_bytes, count;
	const uint8_t *foot;

	must(pack_begin(&p, w->repo, run_id, PACK_DATA, &e));
	pack_add(&p, id, PACKING_NONE, "plain", 5, plain_bytes);
	info.bytes = (uint32_t)pack_size_with(&p, 0);
	index_record(&section, &info, p.entries);
	*record = index_parse(&section, nothing, NULL, &e);
	assert_true(*record == 0 || e.kind == ERR_CORRUPT);
	pack_close(&p, w->repo);
	err_clear(&e);
	foot = p.bytes.data + p.bytes.bytes - PACK_FOOT_BYTES;
	must(pack_read_foot(foot, p.bytes.bytes, &directory_bytes, &count, &e));
	*directory = pack_open_directory(w->repo->uuid, w->repo->secrets.catalog, p.bytes.data, foot - directory_bytes, directory_bytes, foot,
	    p.bytes.bytes, &entries, &count, &e);
	assert_true(*directory == 0 || e.kind == ERR_CORRUPT);
	free(entries);
	buf_free(&section);
	pack_free(&p);
}

static void
a_pack_that_the_index_would_refuse_is_refused_as_well(void **state)
{
	struct world *w = world_new();
	int directory, record;

	(void)state;
	open_both(w, 5, &directory, &record);
	assert_int_equal(directory, 0);
	assert_int_equal(record, 0);
	open_both(w, 0, &directory, &record);
	assert_int_equal(directory, -1);
	assert_int_equal(record, -1);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pack_that_the_index_would_refuse_is_refused_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
