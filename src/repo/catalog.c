#include "repo/catalog.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/aead.h"
#include "codec/kdf.h"
#include "codec/zst.h"

#define HEAD_BYTES 48
static const uint8_t magic[8] = { 'H', 'F', 'c', 'a', 't', 0, 0, 1 };

static const char *const folders[] = {
	[CATALOG_INDEX] = "index/",
	[CATALOG_MANIFEST] = "backups/",
	[CATALOG_REPORT] = "reports/",
	[CATALOG_RUN] = "runs/",
	[CATALOG_SWEEP] = "sweeps/",
	[CATALOG_HOLD] = "holds/",
};

static size_t
named_bytes(enum catalog_type type)
{
	return type == CATALOG_RUN ? 8 : ID_BYTES;
}

char *
catalog_name(enum catalog_type type, const uint8_t id[ID_BYTES])
{
	char hex[ID_TEXT];

	hex_encode(hex, id, named_bytes(type));
	return mem_printf("%s%s", folders[type], hex);
}

/* The id in a listed name; false for a name that is not ours (it is left alone). */
static bool
catalog_id(enum catalog_type type, const char *name, uint8_t id[ID_BYTES])
{
	size_t folder = strlen(folders[type]);

	memset(id, 0, ID_BYTES);
	return strncmp(name, folders[type], folder) == 0 && strlen(name + folder) == 2 * named_bytes(type) &&
	    hex_decode(id, named_bytes(type), name + folder);
}

static struct aead *
object_key(const uint8_t uuid[16], const uint8_t catalog_key[32], enum catalog_type type, const uint8_t id[ID_BYTES])
{
	uint8_t key[32], info[17];
	struct aead *aead;

	memcpy(info, uuid, 16);
	info[16] = (uint8_t)type;
	kdf_hkdf(key, catalog_key, 32, id, ID_BYTES, "holdfast 1 catalog", info, sizeof(info));
	aead = aead_new(key);
	mem_wipe(key, sizeof(key));
	return aead;
}

static void
seal(const struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], const struct buf *sections, unsigned count, struct buf *object)
{
	struct buf frames[CATALOG_SECTIONS] = { BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT };
	struct zst *z = zst_new(9);     /* written once, read for years; small beside the packs */
	struct aead *aead = object_key(r->uuid, r->secrets.catalog, type, id);
	size_t head;

	buf_add(object, magic, sizeof(magic));
	buf_add(object, r->uuid, 16);
	buf_add(object, id, ID_BYTES);
	buf_u8(object, (uint8_t)type);
	buf_u8(object, (uint8_t)count);
	buf_add(object, "\0\0\0\0\0", 6);
	for (unsigned i = 0; i < count; i++) {
		buf_reserve(&frames[i], zst_bound(sections[i].bytes));
		frames[i].bytes = zst_pack(z, sections[i].data != NULL ? sections[i].data : (const uint8_t *)"", sections[i].bytes, frames[i].data);
		buf_u32(object, (uint32_t)(frames[i].bytes + AEAD_TAG_BYTES));
		buf_u32(object, (uint32_t)sections[i].bytes);
	}
	head = object->bytes;
	for (unsigned i = 0; i < count; i++) {
		size_t at = object->bytes;

		buf_reserve(object, frames[i].bytes + AEAD_TAG_BYTES);
		aead_seal(aead, i, object->data, head, frames[i].data, frames[i].bytes, object->data + at);
		object->bytes += frames[i].bytes + AEAD_TAG_BYTES;
		buf_free(&frames[i]);
	}
	aead_free(aead);
	zst_free(z);
}

/* Reads the lengths out of a head that is not yet authenticated; the first section that opens proves it. */
static int
read_head(const uint8_t uuid[16], enum catalog_type type, const uint8_t id[ID_BYTES], const struct buf *object, unsigned *count,
    uint32_t stored[CATALOG_SECTIONS], uint32_t plain[CATALOG_SECTIONS], struct err *e)
{
	struct cursor c = cursor_over(object->data, object->bytes);
	const uint8_t *head = cursor_take(&c, HEAD_BYTES);
	uint64_t total;

	if (head == NULL || memcmp(head, magic, sizeof(magic)) != 0)
		return err_set(e, ERR_CORRUPT, "it does not begin like an object of this format");
	if (memcmp(head + 8, uuid, 16) != 0)
		return err_set(e, ERR_CORRUPT, "it belongs to another repository");
	if (memcmp(head + 24, id, ID_BYTES) != 0 || head[40] != (uint8_t)type)
		return err_set(e, ERR_CORRUPT, "it is another object than its name says");
	*count = head[41];
	if (*count == 0 || *count > CATALOG_SECTIONS)
		return err_set(e, ERR_CORRUPT, "it claims %u sections", *count);
	total = HEAD_BYTES + 8 * (uint64_t)*count;
	for (unsigned i = 0; i < *count; i++) {
		stored[i] = cursor_u32(&c);
		plain[i] = cursor_u32(&c);
		total += stored[i];
		if (c.short_read || stored[i] < AEAD_TAG_BYTES || plain[i] > CATALOG_SECTION_MAX)
			return err_set(e, ERR_CORRUPT, "the lengths of its sections are impossible");
	}
	if (total != object->bytes)
		return err_set(e, ERR_CORRUPT, "it has %zu bytes where its head says %llu", object->bytes, (unsigned long long)total);
	return 0;
}

int
catalog_open(const uint8_t uuid[16], const uint8_t catalog_key[32], enum catalog_type type, const uint8_t id[ID_BYTES],
    const struct buf *object, struct buf *out, unsigned wanted, struct err *e)
{
	uint32_t stored[CATALOG_SECTIONS], plain[CATALOG_SECTIONS];
	struct aead *aead;
	struct zst *z;
	size_t head, at;
	unsigned count = 0;
	int rc = -1;

	if (read_head(uuid, type, id, object, &count, stored, plain, e))
		return -1;
	if (count < wanted)
		return err_set(e, ERR_CORRUPT, "it has %u sections where %u belong", count, wanted);
	aead = object_key(uuid, catalog_key, type, id);
	z = zst_new(1);
	head = at = HEAD_BYTES + 8 * (size_t)count;
	for (unsigned i = 0; i < wanted; i++) {
		struct buf frame = BUF_INIT;

		rc = -1;
		buf_reserve(&frame, stored[i]);
		if (aead_open(aead, i, object->data, head, object->data + at, stored[i], frame.data, e)) {
			buf_free(&frame);
			goto out;
		}
		/* Authenticated: the plain length is the writer's own, and its memory may be asked for. */
		buf_clear(&out[i]);
		buf_reserve(&out[i], plain[i]);
		rc = zst_unpack(z, frame.data, stored[i] - AEAD_TAG_BYTES, out[i].data, plain[i], e);
		out[i].bytes = plain[i];
		out[i].data[plain[i]] = 0;
		buf_free(&frame);
		if (rc != 0)
			goto out;
		at += stored[i];
	}
	rc = 0;
out:
	zst_free(z);
	aead_free(aead);
	return rc;
}

static char *
cached_path(const struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES])
{
	char *name, *path;

	/* Markers and sweeps come and go; only what is read again and again is kept. */
	if (r->cache == NULL || (type != CATALOG_INDEX && type != CATALOG_MANIFEST && type != CATALOG_REPORT))
		return NULL;
	name = catalog_name(type, id);
	path = mem_printf("%s/%s", r->cache, name);
	free(name);
	return path;
}

/* A cache that cannot be written loses speed only, so it is said at the lowest level and forgotten. */
static void
keep_copy(const char *path, const struct buf *object)
{
	struct err ignored = ERR_INIT;
	char *folder;

	if (path == NULL)
		return;
	folder = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
	if (file_mkdirs(folder, S_IRWXU, &ignored) || file_write_cached(path, object->data, object->bytes, S_IRUSR | S_IWUSR, &ignored))
		log_debug("cache: %s", ignored.msg);
	free(folder);
}

/* R1: what makes a backup one is a success only when the store gives it back as it was put. */
static int
read_back(struct repo *r, const char *name, const struct buf *object, struct err *e)
{
	struct buf seen = BUF_INIT;
	int rc = store_get(r->store, name, 0, 0, &seen, e);

	if (rc == 0 && (seen.bytes != object->bytes || memcmp(seen.data, object->data, seen.bytes) != 0))
		rc = err_set(e, ERR_CORRUPT, "the store gives back other bytes than were put");
	buf_free(&seen);
	return rc == 0 ? 0 : err_wrap(e, "read \"%s\" back", name);
}

int
catalog_put(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], const struct buf *sections, unsigned count, struct err *e)
{
	struct buf object = BUF_INIT;
	char *name = catalog_name(type, id), *path = cached_path(r, type, id);
	int rc;

	assert(count >= 1 && count <= CATALOG_SECTIONS);
	seal(r, type, id, sections, count, &object);
	if (object.bytes > STORE_OBJECT_MAX)
		rc = err_set(e, ERR_FAILED, "\"%s\" would have %zu bytes, more than the %u that an object may have", name, object.bytes, STORE_OBJECT_MAX);
	else
		rc = store_put(r->store, name, object.data, object.bytes, e);
	if (rc == 0 && type == CATALOG_MANIFEST) {
		struct err ignored = ERR_INIT;

		rc = read_back(r, name, &object, e);
		/* No backup, so nobody shall find it in a list; a store that lets nobody remove keeps it. */
		if (rc != 0 && e->kind == ERR_CORRUPT && store_remove(r->store, name, &ignored) != 0)
			log_debug("withdraw: %s", ignored.msg);
	}
	if (rc == 0)
		keep_copy(path, &object);
	buf_free(&object);
	free(path);
	free(name);
	return rc;
}

int
catalog_get(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], struct buf *out, unsigned wanted, struct err *e)
{
	struct buf object = BUF_INIT;
	struct err stale = ERR_INIT;
	char *name = catalog_name(type, id), *path = cached_path(r, type, id);
	int rc = -1;

	if (path != NULL && file_read(&object, path, STORE_OBJECT_MAX, &stale) == 0 &&
	    catalog_open(r->uuid, r->secrets.catalog, type, id, &object, out, wanted, &stale) == 0) {
		rc = 0;
		goto out;
	}
	buf_clear(&object);
	if (store_get(r->store, name, 0, 0, &object, e))
		goto out;
	if (catalog_open(r->uuid, r->secrets.catalog, type, id, &object, out, wanted, e)) {
		err_wrap(e, "\"%s\"", name);
		if (type != CATALOG_INDEX)
			err_hint(e, "The store gave other bytes than were put. `holdfast verify` says what else is damaged.");
		goto out;
	}
	keep_copy(path, &object);
	rc = 0;
out:
	buf_free(&object);
	free(path);
	free(name);
	return rc;
}

int
catalog_get_json(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], json_t **value, struct err *e)
{
	struct buf section = BUF_INIT;
	char *name = catalog_name(type, id);
	int rc = catalog_get(r, type, id, &section, 1, e);

	*value = NULL;
	if (rc == 0) {
		*value = json_parse(section.data, section.bytes, name, e);
		rc = *value == NULL ? -1 : 0;
	}
	free(name);
	buf_free(&section);
	return rc;
}

struct listing {
	enum catalog_type type;
	uint8_t (*ids)[ID_BYTES];
	int64_t *changed_us;
	size_t count, room;
};

static int
collect(void *ctx, const struct store_object *o, struct err *e)
{
	struct listing *l = ctx;
	uint8_t id[ID_BYTES];

	(void)e;
	if (!catalog_id(l->type, o->name, id))
		return 0;
	if (l->count == l->room) {
		l->room = l->room == 0 ? 64 : 2 * l->room;
		l->ids = mem_grow(l->ids, l->room, sizeof(*l->ids));
		l->changed_us = mem_grow(l->changed_us, l->room, sizeof(*l->changed_us));
	}
	memcpy(l->ids[l->count], id, ID_BYTES);
	l->changed_us[l->count] = o->changed_us;
	l->count++;
	return 0;
}

int
catalog_list(struct repo *r, enum catalog_type type, uint8_t (**ids)[ID_BYTES], int64_t **changed_us, size_t *count, struct err *e)
{
	struct listing l = { .type = type };

	if (store_list(r->store, folders[type], collect, &l, e)) {
		free(l.ids);
		free(l.changed_us);
		return -1;
	}
	*ids = l.ids;
	*count = l.count;
	if (changed_us != NULL)
		*changed_us = l.changed_us;
	else
		free(l.changed_us);
	return 0;
}

int
catalog_remove(struct repo *r, enum catalog_type type, const uint8_t id[ID_BYTES], struct err *e)
{
	char *name = catalog_name(type, id), *path = cached_path(r, type, id);
	int rc = store_remove(r->store, name, e);

	if (rc == 0 && path != NULL)
		unlink(path);
	free(path);
	free(name);
	return rc;
}
