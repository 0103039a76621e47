#include "cluster.h"

#include <inttypes.h>

#include "base/hash.h"
#include "base/sink.h"
#include "pg/archive.h"

static struct cluster cluster;

static const char odd_content[] =
    "CREATE SCHEMA \"od.d \"\"sch\"\"ema\";"
    "CREATE TABLE empty (a int);"
    "CREATE TABLE columnless ();"
    "INSERT INTO columnless SELECT FROM generate_series(1, 3);"
    "CREATE TABLE plain (id bigserial PRIMARY KEY, b bytea, j jsonb, t text);"
    "INSERT INTO plain (b, j, t) SELECT decode(md5(i::text), 'hex'), jsonb_build_object('i', i, 'tab', E'\\t'), "
    " repeat(E'line\\nand\\ttab\\\\ \\\\.' || i, i % 7) FROM generate_series(1, 500) i;"
    "INSERT INTO plain (t) VALUES (NULL), (E'\\\\.'), (E'\\n\\\\.\\n'), (repeat('x', 300000));"
    "CREATE TABLE \"od.d \"\"sch\"\"ema\".\"new\nline, \"\"quoted\"\" ünï\" (\"a,\nb\" int, \"from\" text, \"(\" int);"
    "INSERT INTO \"od.d \"\"sch\"\"ema\".\"new\nline, \"\"quoted\"\" ünï\" VALUES (1, 'one', 2), (3, NULL, 4);"
    "CREATE TABLE generated (a int, twice int GENERATED ALWAYS AS (a * 2) STORED, z int);"
    "INSERT INTO generated (a, z) VALUES (1, 2);"
    "CREATE SEQUENCE \"Seq\" START 42; SELECT nextval('\"Seq\"');"
    "CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM plain;"
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
    "COMMENT ON TABLE plain IS 'of the plain kind';"
    "SELECT lo_from_bytea(70001, 'a large object'), lo_from_bytea(70002, ''), lo_from_bytea(4000000001, decode(repeat('00ff0a', 100000), 'hex'));";

static int
start(void **state)
{
	(void)state;
	cluster_start(&cluster, NULL);
	cluster_sql(&cluster, "postgres", "CREATE DATABASE odd");
	cluster_sql(&cluster, "odd", odd_content);
	cluster_sql(&cluster, "postgres", "CREATE DATABASE small");
	cluster_sql(&cluster, "small", "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
	    " SELECT lo_from_bytea(70001, 'a large object')");
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	cluster_stop(&cluster);
	return 0;
}

static void
dump(const char *dbname, struct buf *to)
{
	static const char *const options[] = { "-Fc", "-Z0", NULL };

	cluster_dump(&cluster, dbname, options, to);
}

/* Feeds an archive in pieces of `step` bytes. */
static int
read_archive(struct archive_digest *out, const struct archive_columns *expect, const void *data, size_t bytes, size_t step,
    struct buf *passed, struct err *e)
{
	struct sink *s = archive_reader_new(out, expect, passed != NULL ? sink_buf_new(passed, (size_t)1 << 30) : sink_null_new());
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < bytes; at += step)
		rc = sink_write(s, (const char *)data + at, bytes - at < step ? bytes - at : step, e);
	if (rc == 0)
		rc = sink_finish(s, e);
	sink_free(s);
	return rc;
}

static const struct archive_entry *
entry_of(const struct archive_digest *d, const char *name)
{
	for (size_t i = 0; i < d->n_entries; i++)
		if (strcmp(d->entries[i].name, name) == 0)
			return &d->entries[i];
	fail_msg("no entry %s", name);
	return NULL;
}

/* The truth about a table: COPY TO STDOUT by psql. */
static void
copy_out(const char *what, struct buf *to)
{
	char *psql = mem_printf("%s/psql", cluster.tools.dir), *sql = mem_printf("COPY %s TO STDOUT", what);
	const char *const argv[] = { psql, "-X", "-h", cluster.dir, "-U", "postgres", "-d", "odd", "-c", sql, NULL };
	struct child_spec spec = { .name = "psql", .argv = argv };
	struct sink *s = sink_buf_new(to, (size_t)1 << 30);
	struct err e = ERR_INIT;

	assert_good(child_run(&spec, s, 30000, &e), &e);
	sink_free(s);
	free(psql);
	free(sql);
}

static void
assert_is_copy_of(const struct archive_digest *d, const char *name, const char *columns, uint64_t rows)
{
	const struct archive_entry *entry = entry_of(d, name);
	char *what = mem_printf("%s%s", name, columns);
	struct buf text = BUF_INIT;
	uint8_t sha256[SHA256_BYTES];

	copy_out(what, &text);
	hash_sha256(sha256, text.data, text.bytes);
	assert_int_equal(entry->type, ARCHIVE_TABLE);
	assert_int_equal(entry->rows, rows);
	assert_int_equal(entry->bytes, text.bytes);
	assert_memory_equal(entry->sha256, sha256, SHA256_BYTES);
	buf_free(&text);
	free(what);
}

static void
a_table_is_known_by_the_hash_of_its_copy_text(void **state)
{
	struct archive_digest d = ARCHIVE_DIGEST_INIT;
	struct buf archive = BUF_INIT, passed = BUF_INIT;
	struct err e = ERR_INIT;
	const struct archive_entry *entry;
	uint8_t sha256[SHA256_BYTES];

	(void)state;
	dump("odd", &archive);
	assert_good(read_archive(&d, NULL, archive.data, archive.bytes, 65536, &passed, &e), &e);
	assert_int_equal(passed.bytes, archive.bytes);
	assert_memory_equal(passed.data, archive.data, archive.bytes);
	assert_is_copy_of(&d, "public.empty", "", 0);
	assert_is_copy_of(&d, "public.columnless", "", 3);
	assert_is_copy_of(&d, "public.plain", "", 504);
	assert_is_copy_of(&d, "public.generated", "", 1);
	assert_is_copy_of(&d, "\"od.d \"\"sch\"\"ema\".\"new\nline, \"\"quoted\"\" ünï\"", "", 2);

	entry = entry_of(&d, "\"od.d \"\"sch\"\"ema\".\"new\nline, \"\"quoted\"\" ünï\"");
	assert_int_equal(entry->n_columns, 3);
	assert_string_equal(entry->columns[0], "a,\nb");
	assert_string_equal(entry->columns[1], "from");
	assert_string_equal(entry->columns[2], "(");
	assert_int_equal(entry_of(&d, "public.generated")->n_columns, 2);
	assert_int_equal(entry_of(&d, "public.columnless")->n_columns, 0);

	entry = entry_of(&d, "70001");
	assert_int_equal(entry->type, ARCHIVE_BLOB);
	hash_sha256(sha256, "a large object", 14);
	assert_memory_equal(entry->sha256, sha256, SHA256_BYTES);
	assert_int_equal(entry_of(&d, "70002")->bytes, 0);
	assert_int_equal(entry_of(&d, "4000000001")->bytes, 300000);
	assert_int_equal(entry_of(&d, "public.\"Seq\"")->type, ARCHIVE_SEQUENCE);
	assert_int_equal(d.n_entries, 5 + 3 + 2);
	archive_digest_free(&d);
	buf_free(&archive);
	buf_free(&passed);
}

static void
assert_same(const struct archive_digest *a, const struct archive_digest *b)
{
	assert_int_equal(a->n_entries, b->n_entries);
	for (size_t i = 0; i < a->n_entries; i++) {
		assert_string_equal(a->entries[i].name, b->entries[i].name);
		assert_int_equal(a->entries[i].rows, b->entries[i].rows);
		assert_int_equal(a->entries[i].bytes, b->entries[i].bytes);
		assert_memory_equal(a->entries[i].sha256, b->entries[i].sha256, SHA256_BYTES);
	}
	assert_int_equal(a->n_items, b->n_items);
	for (size_t i = 0; i < a->n_items; i++) {
		assert_string_equal(a->items[i].desc, b->items[i].desc);
		assert_string_equal(a->items[i].tag, b->items[i].tag);
		assert_string_equal(a->items[i].owner, b->items[i].owner);
		assert_string_equal(a->items[i].defn, b->items[i].defn);
	}
}

static void
pieces_of_any_size_give_the_same_digest(void **state)
{
	static const size_t steps[] = { 1, 2, 3, 5, 4093, 131072, 262144 };
	struct archive_digest whole = ARCHIVE_DIGEST_INIT;
	struct buf archive = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	dump("odd", &archive);
	assert_good(read_archive(&whole, NULL, archive.data, archive.bytes, archive.bytes, NULL, &e), &e);
	assert_true(whole.n_items > 10);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct archive_digest d = ARCHIVE_DIGEST_INIT;

		assert_good(read_archive(&d, NULL, archive.data, archive.bytes, steps[i], NULL, &e), &e);
		assert_same(&whole, &d);
		archive_digest_free(&d);
	}
	archive_digest_free(&whole);
	buf_free(&archive);
}

/* R4: wherever an archive was cut, it is no archive. */
static void
an_archive_cut_at_any_byte_is_refused(void **state)
{
	struct buf archive = BUF_INIT;

	(void)state;
	dump("small", &archive);
	for (size_t bytes = 0; bytes < archive.bytes; bytes++) {
		struct archive_digest d = ARCHIVE_DIGEST_INIT;
		struct err e = ERR_INIT;

		assert_int_equal(read_archive(&d, NULL, archive.data, bytes, 512, NULL, &e), -1);
		assert_int_equal(e.kind, ERR_CORRUPT);
		archive_digest_free(&d);
	}
	buf_free(&archive);
}

static void
bytes_behind_the_end_are_refused(void **state)
{
	struct archive_digest d = ARCHIVE_DIGEST_INIT;
	struct buf archive = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	dump("small", &archive);
	buf_addc(&archive, '\0');
	assert_int_equal(read_archive(&d, NULL, archive.data, archive.bytes, 512, NULL, &e), -1);
	assert_int_equal(e.kind, ERR_CORRUPT);
	archive_digest_free(&d);
	buf_free(&archive);
}

static void
no_changed_byte_does_harm(void **state)
{
	struct buf archive = BUF_INIT;

	(void)state;
	dump("small", &archive);
	for (size_t i = 0; i < archive.bytes; i++)
		for (unsigned bit = 1; bit < 256; bit *= 8) {
			struct archive_digest d = ARCHIVE_DIGEST_INIT;
			struct err e = ERR_INIT;

			archive.data[i] ^= (uint8_t)bit;
			(void)!read_archive(&d, NULL, archive.data, archive.bytes, 4096, NULL, &e);
			archive.data[i] ^= (uint8_t)bit;
			archive_digest_free(&d);
		}
	buf_free(&archive);
}

static void
a_compressed_archive_is_refused_with_a_hint(void **state)
{
	static const char *const options[] = { "-Fc", NULL };
	struct archive_digest d = ARCHIVE_DIGEST_INIT;
	struct buf archive = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	cluster_dump(&cluster, "small", options, &archive);
	assert_int_equal(read_archive(&d, NULL, archive.data, archive.bytes, 4096, NULL, &e), -1);
	assert_int_equal(e.kind, ERR_CORRUPT);
	assert_non_null(strstr(e.msg, "compressed"));
	assert_non_null(strstr(e.hint, "-Z0"));
	archive_digest_free(&d);
	buf_free(&archive);
}

static void
plain_sql_is_no_archive(void **state)
{
	static const char *const options[] = { "-Fp", NULL };
	struct archive_digest d = ARCHIVE_DIGEST_INIT;
	struct buf archive = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	cluster_dump(&cluster, "small", options, &archive);
	assert_int_equal(read_archive(&d, NULL, archive.data, archive.bytes, 4096, NULL, &e), -1);
	assert_int_equal(e.kind, ERR_CORRUPT);
	archive_digest_free(&d);
	buf_free(&archive);
}

/* An inherited table can come back with its columns in another order; its rows are the same all the same. */
static void
a_table_is_hashed_in_the_order_of_its_source(void **state)
{
	static const char *const order[] = { "t", "id", "j", "b" }, *const others[] = { "t", "id", "j", "x" }, *const same[] = { "id", "b", "j", "t" };
	struct archive_columns *expect = archive_columns_new();
	struct archive_digest d = ARCHIVE_DIGEST_INIT;
	struct buf archive = BUF_INIT, text = BUF_INIT;
	struct err e = ERR_INIT;
	uint8_t sha256[SHA256_BYTES];

	(void)state;
	dump("odd", &archive);
	archive_columns_add(expect, "public.plain", order, 4);
	archive_columns_add(expect, "public.generated", others, 4);
	for (size_t step = 7; step < 200000; step *= 20) {
		assert_good(read_archive(&d, expect, archive.data, archive.bytes, step, NULL, &e), &e);
		buf_clear(&text);
		copy_out("public.plain (t, id, j, b)", &text);
		hash_sha256(sha256, text.data, text.bytes);
		assert_memory_equal(entry_of(&d, "public.plain")->sha256, sha256, SHA256_BYTES);
		assert_int_equal(entry_of(&d, "public.plain")->rows, 504);
		assert_int_equal(entry_of(&d, "public.plain")->bytes, text.bytes);
		assert_true(entry_of(&d, "public.plain")->reordered);
		assert_false(entry_of(&d, "public.generated")->reordered);
		assert_is_copy_of(&d, "public.generated", "", 1);
		archive_digest_free(&d);
	}
	archive_columns_free(expect);

	/* The source's order itself, and one with other columns, change nothing. */
	expect = archive_columns_new();
	archive_columns_add(expect, "public.plain", same, 4);
	assert_good(read_archive(&d, expect, archive.data, archive.bytes, 4096, NULL, &e), &e);
	assert_false(entry_of(&d, "public.plain")->reordered);
	archive_digest_free(&d);
	archive_columns_free(expect);
	buf_free(&archive);
	buf_free(&text);
}

static void
schema_text_of_every_object_is_kept(void **state)
{
	static const char *const wanted[][2] = { { "TABLE", "plain" }, { "FUNCTION", "f()" }, { "MATERIALIZED VIEW", "mv" }, { "COMMENT", "TABLE plain" },
		{ "CONSTRAINT", "plain plain_pkey" }, { "BLOB", "70001" }, { "ENCODING", "ENCODING" } };
	struct archive_digest d = ARCHIVE_DIGEST_INIT;
	struct buf archive = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	dump("odd", &archive);
	assert_good(read_archive(&d, NULL, archive.data, archive.bytes, 4096, NULL, &e), &e);
	for (size_t k = 0; k < sizeof(wanted) / sizeof(wanted[0]); k++) {
		size_t i = 0;

		while (i < d.n_items && (strcmp(d.items[i].desc, wanted[k][0]) != 0 || strcmp(d.items[i].tag, wanted[k][1]) != 0))
			i++;
		if (i == d.n_items)
			fail_msg("no item %s %s", wanted[k][0], wanted[k][1]);
		assert_true(d.items[i].defn[0] != '\0');
	}
	for (size_t i = 0; i < d.n_items; i++)
		assert_string_not_equal(d.items[i].desc, "TABLE DATA");
	archive_digest_free(&d);
	buf_free(&archive);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_is_known_by_the_hash_of_its_copy_text),
		cmocka_unit_test(pieces_of_any_size_give_the_same_digest),
		cmocka_unit_test(an_archive_cut_at_any_byte_is_refused),
		cmocka_unit_test(bytes_behind_the_end_are_refused),
		cmocka_unit_test(no_changed_byte_does_harm),
		cmocka_unit_test(a_compressed_archive_is_refused_with_a_hint),
		cmocka_unit_test(plain_sql_is_no_archive),
		cmocka_unit_test(a_table_is_hashed_in_the_order_of_its_source),
		cmocka_unit_test(schema_text_of_every_object_is_kept),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
