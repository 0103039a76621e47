#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "pg/archive.h"

/* Archives that pg_dumps of other majors wrote, of the database of tests/data/archives/features.sql. */
#define PIECE 777

static void
read_archive(struct archive_digest *d, const char *name)
{
	char *path = mem_printf("%s/archives/%s.dump", TESTS_DATA, name);
	struct buf archive = BUF_INIT, passed = BUF_INIT;
	struct err e = ERR_INIT;
	struct sink *s = archive_reader_new(d, NULL, sink_buf_new(&passed, (size_t)1 << 20));
	int rc = file_read(&archive, path, (size_t)1 << 20, &e);

	for (size_t at = 0; rc == 0 && at < archive.bytes; at += PIECE)
		rc = sink_write(s, archive.data + at, archive.bytes - at < PIECE ? archive.bytes - at : PIECE, &e);
	if (rc != 0 || sink_finish(s, &e) != 0)
		fail_msg("%s: %s", path, e.msg);
	assert_int_equal(passed.bytes, archive.bytes);
	assert_memory_equal(passed.data, archive.data, archive.bytes);
	sink_free(s);
	buf_free(&archive);
	buf_free(&passed);
	free(path);
}

static const struct archive_entry *
entry_of(const struct archive_digest *d, enum archive_type type, const char *name)
{
	for (size_t i = 0; i < d->n_entries; i++)
		if (d->entries[i].type == type && strcmp(d->entries[i].name, name) == 0)
			return &d->entries[i];
	fail_msg("no %s %s", archive_type_name(type), name);
	return NULL;
}

static const struct archive_item *
item_of(const struct archive_digest *d, const char *desc, const char *tag)
{
	for (size_t i = 0; i < d->n_items; i++)
		if (strcmp(d->items[i].desc, desc) == 0 && strcmp(d->items[i].tag, tag) == 0)
			return &d->items[i];
	fail_msg("no %s %s", desc, tag);
	return NULL;
}

/* What is in the archives of all majors from `since` on; `text` is what COPY, lo_get or setval say. */
static const struct {
	int since;
	enum archive_type type;
	const char *name;
	uint64_t rows;
	const char *text;
} expected[] = {
	{ 15, ARCHIVE_TABLE, "public.plain", 3, "1\tone\t\\\\x00ff\n2\ttwo\\n\\\\.\\ttab\t\\N\n3\t\\N\t\\\\x\n" },
	{ 15, ARCHIVE_TABLE, "\"odd \"\" name\".\"Tab'le\"", 2, "1\tünï\n2\t\\\\N\n" },
	{ 15, ARCHIVE_TABLE, "public.parted_1", 1, "2026-01-05\t1\n" },
	{ 15, ARCHIVE_TABLE, "public.parted_rest", 1, "2026-02-05\t2\n" },
	{ 15, ARCHIVE_TABLE, "public.columnless", 3, "\n\n\n" },
	{ 15, ARCHIVE_TABLE, "public.empty", 0, "" },
	{ 15, ARCHIVE_TABLE, "public.multirange", 1, "{[1,3),[5,8)}\n" },
	{ 15, ARCHIVE_TABLE, "public.compressed", 1, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" },
	{ 15, ARCHIVE_TABLE, "public.nulls", 1, "\\N\n" },
	{ 15, ARCHIVE_BLOB, "70001", 0, "a large object" },
	{ 15, ARCHIVE_BLOB, "70002", 0, "" },
	{ 15, ARCHIVE_SEQUENCE, "public.alone", 0, "SELECT pg_catalog.setval('public.alone', 42, true);\n" },
	{ 15, ARCHIVE_SEQUENCE, "public.plain_id_seq", 0, "SELECT pg_catalog.setval('public.plain_id_seq', 3, true);\n" },
	{ 17, ARCHIVE_TABLE, "public.collated", 2, "a\nB\n" },
	{ 18, ARCHIVE_TABLE, "public.named", 1, "1\t2\n" },
	{ 18, ARCHIVE_TABLE, "public.stays", 1, "[2026-01-01,2026-01-05)\t7\n" },
};

static void
check_entries(const struct archive_digest *d, int major)
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct archive_entry *entry;
		uint8_t sha256[SHA256_BYTES];

		if (expected[i].since > major)
			continue;
		n++;
		entry = entry_of(d, expected[i].type, expected[i].name);
		if (entry->rows != expected[i].rows || entry->bytes != strlen(expected[i].text))
			fail_msg("%s: %zu rows, %zu bytes", entry->name, (size_t)entry->rows, (size_t)entry->bytes);
		hash_sha256(sha256, expected[i].text, strlen(expected[i].text));
		assert_memory_equal(entry->sha256, sha256, SHA256_BYTES);
	}
	assert_int_equal(d->n_entries, n);
}

static void
check_items(const struct archive_digest *d)
{
	assert_non_null(strstr(item_of(d, "TABLE", "plain")->defn, "twice text GENERATED ALWAYS AS ((t || t)) STORED"));
	assert_string_equal(item_of(d, "TABLE", "plain")->tableam, "heap");
	assert_string_equal(item_of(d, "TABLE", "Tab'le")->namespace, "odd \" name");
	assert_non_null(strstr(item_of(d, "STATISTICS", "plain_statistics")->defn, "(ndistinct)"));
	assert_non_null(strstr(item_of(d, "PUBLICATION TABLE", "part_of_it plain")->defn, "WHERE ((id > 1))"));
	assert_non_null(strstr(item_of(d, "TABLE ATTACH", "parted_1")->defn, "FOR VALUES FROM ('2026-01-01')"));
	assert_non_null(strstr(item_of(d, "COMMENT", "LARGE OBJECT 70001")->defn, "large as it is"));
	assert_non_null(strstr(item_of(d, "POLICY", "plain all_of_it")->defn, "USING (true)"));
	assert_non_null(strstr(item_of(d, "CONSTRAINT", "nulls nulls_a_key")->defn, "NULLS NOT DISTINCT"));
}

static void
an_archive_of_pg_dump_15_is_read(void **state)
{
	struct archive_digest d = ARCHIVE_DIGEST_INIT;

	(void)state;
	read_archive(&d, "pg15");
	assert_int_equal(d.format_minor, 14);
	assert_non_null(strstr(d.dump_version, "15.20"));
	check_entries(&d, 15);
	check_items(&d);
	archive_digest_free(&d);
}

static void
an_archive_of_pg_dump_16_is_read(void **state)
{
	struct archive_digest d = ARCHIVE_DIGEST_INIT;

	(void)state;
	read_archive(&d, "pg16");
	assert_int_equal(d.format_minor, 15);
	assert_non_null(strstr(d.dump_version, "16.2"));
	assert_non_null(strstr(d.server_version, "16.14"));
	check_entries(&d, 16);
	check_items(&d);
	archive_digest_free(&d);
}

static void
an_archive_of_pg_dump_17_is_read(void **state)
{
	struct archive_digest d = ARCHIVE_DIGEST_INIT;

	(void)state;
	read_archive(&d, "pg17");
	assert_int_equal(d.format_minor, 16);
	assert_non_null(strstr(d.dump_version, "17.12"));
	check_entries(&d, 17);
	check_items(&d);
	assert_non_null(strstr(item_of(&d, "ACL", "TABLE plain")->defn, "GRANT SELECT,MAINTAIN ON TABLE public.plain TO PUBLIC"));
	assert_non_null(strstr(item_of(&d, "COLLATION", "built_in")->defn, "provider = builtin"));
	archive_digest_free(&d);
}

static void
an_archive_of_pg_dump_18_is_read(void **state)
{
	struct archive_digest d = ARCHIVE_DIGEST_INIT;

	(void)state;
	read_archive(&d, "pg18");
	assert_int_equal(d.format_minor, 16);
	assert_non_null(strstr(d.dump_version, "18.6"));
	check_entries(&d, 18);
	check_items(&d);
	assert_non_null(strstr(item_of(&d, "TABLE", "named")->defn, "a integer CONSTRAINT a_is_there NOT NULL"));
	assert_non_null(strstr(item_of(&d, "TABLE", "named")->defn, "thrice integer GENERATED ALWAYS AS ((a * 3))"));
	assert_non_null(strstr(item_of(&d, "CHECK CONSTRAINT", "named b_is_small")->defn, "NOT ENFORCED"));
	assert_non_null(strstr(item_of(&d, "CONSTRAINT", "stays stays_id_at_key")->defn, "WITHOUT OVERLAPS"));
	assert_non_null(strstr(item_of(&d, "STATISTICS DATA", "plain")->defn, "pg_restore_relation_stats"));
	archive_digest_free(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_archive_of_pg_dump_15_is_read),
		cmocka_unit_test(an_archive_of_pg_dump_16_is_read),
		cmocka_unit_test(an_archive_of_pg_dump_17_is_read),
		cmocka_unit_test(an_archive_of_pg_dump_18_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
