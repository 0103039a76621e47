/*
 * What lies in a store and is JSON once it is opened: reports and their signatures, holds, sweeps, markers of runs, manifests, key
 * objects, `format`.  Somebody with an agent's key can seal any text, so each is sealed here and read by those who read it in life.  The first
 * byte chooses; a zero byte ends the first section.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "repo/catalog.h"
#include "repo/index.h"
#include "repo/mark.h"
#include "repo/runs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char dir[64];
static struct store *store;
static struct repo *repo;
static struct repo_options options;
static struct buf format;
static uint8_t id[ID_BYTES];
static char id_text[ID_TEXT];

static void
must(int rc, const struct err *e)
{
	if (rc != 0) {
		fprintf(stderr, "fuzz_stored: %s\n", e->msg);
		abort();
	}
}

static void
clean(void)
{
	struct err e = ERR_INIT;

	repo_free(repo);
	store_free(store);
	buf_free(&format);
	free((char *)(uintptr_t)options.key_file);
	must(file_remove_tree(dir, &e), &e);
}

/* A real repository in a folder, in memory where the machine has such a folder. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct identity *first = identity_new("recovery", KEY_RECOVERY);
	struct store_config config = { .kind = STORE_FOLDER };
	struct err e = ERR_INIT;
	char *path, uuid[37];

	(void)argc;
	(void)argv;
	log_set_level(LOG_ERROR);
	snprintf(dir, sizeof(dir), "%s/fuzz-stored-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(dir) == NULL)
		abort();
	path = mem_printf("%s/objects", dir);
	config.path = path;
	store = store_open(&config, true, &e);
	must(store == NULL, &e);
	must(repo_create(store, first, NULL, NULL, NULL, NULL, uuid, &e), &e);
	options = (struct repo_options){ .key_file = mem_printf("%s/key", dir), .workers = 1 };
	must(identity_write(first, options.key_file, &e), &e);
	repo = repo_open(store, &options, &e);
	must(repo == NULL, &e);
	must(store_get(store, "format", 0, 0, &format, &e), &e);
	/* Fixed, so that a manifest in the corpus can name itself. */
	memset(id, 0x11, sizeof(id));
	hex_encode(id_text, id, sizeof(id));
	identity_free(first);
	free(path);
	atexit(clean);
	return 0;
}

static void
reports(void)
{
	struct repo_report *list;
	struct err e = ERR_INIT;
	json_t *damaged = json_array();
	size_t count;

	if (repo_reports(repo, &list, &count, damaged, &e) == 0) {
		for (size_t i = 0; i < count; i++)
			if (list[i].valid || list[i].signer_name[KEY_NAME_MAX - 1] != '\0')
				abort();        /* nobody signed this */
		repo_reports_free(list, count);
	} else {
		abort();                /* a report that is no report stands in nobody's way */
	}
	json_decref(damaged);
}

static int
lost(void *ctx, const char *backup, const char *object, struct err *e)
{
	(void)ctx;
	(void)e;
	if (strcmp(backup, id_text) != 0 || object[0] == '\0')
		abort();
	return 0;
}

static void
manifest(void)
{
	json_t *backups, *summary, *detail, *stream;
	struct mark mark = { .lost = lost };
	struct err e = ERR_INIT;
	size_t i;

	if (repo_list(repo, &backups, &e) == 0)
		json_decref(backups);
	err_clear(&e);
	if (repo_load(repo, id_text, &summary, &detail, &e) != 0)
		return;
	must(index_load(repo, &e), &e);
	mark_begin(&mark, repo);
	(void)!mark_backup(&mark, id_text, detail, &e);
	mark_end(&mark);
	json_array_foreach(json_object_get(detail, "streams"), i, stream) {
		struct sink *to = sink_null_new();

		err_clear(&e);
		(void)!repo_read(repo, stream, to, &e);
		sink_free(to);
	}
	json_decref(summary);
	json_decref(detail);
}

static void
markers(enum catalog_type type)
{
	static const uint8_t own[RUN_ID_BYTES];
	struct err e = ERR_INIT;
	json_t *found = NULL;
	size_t count;

	if (type == CATALOG_HOLD)
		(void)!repo_holds(repo, &found, &e);
	else if (type == CATALOG_SWEEP)
		(void)!index_condemned(repo, &found, &e);
	else
		must(runs_others(repo, own, &count, &e) != 0 || runs_bury(repo, own, &e) != 0, &e);
	json_decref(found);
}

/* One name, `text` behind it, and a repository that still opens with its own key or says why not. */
static void
plain_object(const char *name, const struct buf *text)
{
	struct err e = ERR_INIT;
	struct holder *holders;
	struct repo *again;
	size_t count, foreign;

	must(store_remove(store, name, &e), &e);
	must(store_put(store, name, text->data, text->bytes, &e), &e);
	if (keys_list(repo, &holders, &count, &foreign, &e) == 0) {
		if (count != 1)
			abort();        /* no holder comes to be that none let in */
		free(holders);
	}
	err_clear(&e);
	again = repo_open(store, &options, &e);
	if (again == NULL && e.msg[0] == '\0')
		abort();
	repo_free(again);
	err_clear(&e);
	must(store_remove(store, name, &e), &e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const enum catalog_type types[] = { CATALOG_REPORT, CATALOG_HOLD, CATALOG_SWEEP, CATALOG_RUN, CATALOG_MANIFEST };
	static const char letters[] = "rhsum", *letter;
	struct buf sections[2] = { BUF_INIT, BUF_INIT };
	const uint8_t *cut;
	struct err e = ERR_INIT;
	size_t first;

	if (bytes < 1)
		return 0;
	data++;
	bytes--;
	cut = memchr(data, 0, bytes);
	first = cut != NULL ? (size_t)(cut - data) : bytes;
	buf_add(&sections[0], data, first);
	if (cut != NULL)
		buf_add(&sections[1], cut + 1, bytes - first - 1);
	letter = data[-1] != 0 ? strchr(letters, data[-1]) : NULL;
	if (letter != NULL) {
		enum catalog_type type = types[letter - letters];

		must(catalog_put(repo, type, id, sections, 2, &e), &e);
		if (type == CATALOG_REPORT)
			reports();
		else if (type == CATALOG_MANIFEST)
			manifest();
		else
			markers(type);
		must(catalog_remove(repo, type, id, &e), &e);
	} else if (data[-1] == 'f') {
		plain_object("format", &sections[0]);
		must(store_put(store, "format", format.data, format.bytes, &e), &e);
	} else {
		plain_object("keys/11111111111111111111111111111111", &sections[0]);
	}
	buf_free(&sections[0]);
	buf_free(&sections[1]);
	return 0;
}
