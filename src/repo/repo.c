#include "repo/repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/kdf.h"
#include "repo/index.h"
#include "repo/inner.h"

#define FORMAT_MAX 4096
#define CHUNK_MIN (128u << 10)
#define CHUNK_AVG (512u << 10)
#define CHUNK_MAX (2u << 20)

bool
repo_id_parse(uint8_t id[ID_BYTES], const char *hex)
{
	return strlen(hex) == 2 * ID_BYTES && hex_decode(id, ID_BYTES, hex);
}

int
repo_uuid_parse(uint8_t uuid[16], const char *text)
{
	char hex[33];
	size_t n = 0;

	if (strlen(text) != 36)
		return -1;
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash != (text[i] == '-'))
			return -1;
		if (!dash)
			hex[n++] = text[i];
	}
	hex[n] = '\0';
	return hex_decode(uuid, 16, hex) ? 0 : -1;
}

bool
repo_json_is_canonical(const json_t *value, const struct buf *text)
{
	char *own = json_text(value, JSON_COMPACT);
	bool same = strlen(own) == text->bytes && memcmp(own, text->data, text->bytes) == 0;

	free(own);
	return same;
}

/* The authenticator of "format": over its text without the member "mac". */
static void
format_mac(char hex[65], const json_t *format, const struct secrets *secrets)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)format);
	uint8_t key[32], mac[SHA256_BYTES];
	char *text;

	json_object_del(copy, "mac");
	text = json_text(copy, JSON_COMPACT);
	kdf_hkdf(key, secrets->catalog, 32, NULL, 0, "holdfast 1 format", NULL, 0);
	hash_hmac(mac, key, sizeof(key), text, strlen(text));
	hex_encode(hex, mac, sizeof(mac));
	mem_wipe(key, sizeof(key));
	free(text);
	json_decref(copy);
}

/* ---- create ---- */

static int
anything(void *ctx, const struct store_object *o, struct err *e)
{
	(void)ctx;
	return err_set(e, ERR_EXISTS, "\"%s\" lies there already", o->name);
}

/* A half-made repository is refused as well: it may hold somebody's keys. */
static int
must_be_empty(struct store *s, struct err *e)
{
	static const char *const folders[] = { "keys/", "backups/", "packs/", "index/" };
	struct store_object o;

	if (store_stat(s, "format", &o, e) == 0)
		err_set(e, ERR_EXISTS, "a repository lies there already");
	else if (e->kind == ERR_NOT_FOUND)
		err_clear(e);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && e->kind == ERR_NONE; i++)
		if (store_list(s, folders[i], anything, NULL, e) != 0)
			break;
	if (e->kind == ERR_NONE)
		return 0;
	if (e->kind == ERR_EXISTS) {
		err_wrap(e, "%s", store_label(s));
		err_hint(e, "Nothing was changed. Choose another folder or prefix; `holdfast keys list` shows who can open what is there.");
	}
	return -1;
}

static int
let_in(struct store *s, const uint8_t uuid[16], const char *uuid_text, const struct secrets *secrets, struct identity *i, json_t *names, struct err *e)
{
	char public_hex[KEY_PUBLIC_TEXT], holder[RAND_ID_TEXT];

	rand_id(holder);
	identity_public(i, public_hex);
	identity_pin(i->pin, uuid, secrets);
	i->pinned = true;
	memcpy(i->repository, uuid_text, sizeof(i->repository));
	return holder_put(s, uuid, secrets, holder, i->name, i->role, public_hex, NULL, names, e);
}

/* By name: another `init` may be at work in the same place. */
static void
take_keys_away(struct store *s, const json_t *names)
{
	struct err e = ERR_INIT;

	if (holder_take_away(s, names, &e) != 0)
		log_warning("what `init` had put into %s could not be removed: %s", store_label(s), e.msg);
}

int
repo_create(struct store *s, struct identity *first, struct identity *agent, const char *passphrase, int (*keep)(void *ctx, struct err *e),
    void *ctx, char uuid_text[37], struct err *e)
{
	struct secrets secrets;
	char holder[RAND_ID_TEXT], now[CLOCK_TEXT], mac[65], *text;
	uint8_t uuid[16];
	json_t *format, *names;
	bool begun = false;
	int rc = -1;

	if (must_be_empty(s, e))
		return -1;
	names = json_object();
	rand_uuid(uuid_text);
	repo_uuid_parse(uuid, uuid_text);
	holder_secrets_new(&secrets);
	rand_id(holder);
	format = json_object();
	json_put_int(format, "holdfast", 1);
	json_put_str(format, "repository", uuid_text);
	json_put_str(format, "created", clock_format_s(now, clock_wall_us()));
	json_put_int(format, "chunk_min", CHUNK_MIN);
	json_put_int(format, "chunk_avg", CHUNK_AVG);
	json_put_int(format, "chunk_max", CHUNK_MAX);
	format_mac(mac, format, &secrets);
	json_put_str(format, "mac", mac);
	text = json_text(format, JSON_COMPACT);
	if (let_in(s, uuid, uuid_text, &secrets, first, names, e) || (agent != NULL && let_in(s, uuid, uuid_text, &secrets, agent, names, e)) ||
	    (passphrase != NULL && holder_put_passphrase(s, uuid, &secrets, holder, "passphrase", passphrase, names, e)) ||
	    (keep != NULL && keep(ctx, e)))
		goto out;
	rc = store_put(s, "format", text, strlen(text), e);
	/* It may be there after a failure, and then it needs its keys; but not where another's is. */
	begun = rc == 0 || e->kind != ERR_EXISTS;
out:
	if (!begun)
		take_keys_away(s, names);
	free(text);
	json_decref(names);
	json_decref(format);
	holder_secrets_wipe(&secrets);
	return rc;
}

/* ---- open ---- */

static int
read_format(struct repo *r, struct err *e)
{
	struct buf text = BUF_INIT;
	json_t *format = NULL;
	int64_t number;
	int rc = -1;

	if (store_get(r->store, "format", 0, 0, &text, e)) {
		if (e->kind == ERR_NOT_FOUND) {
			err_set(e, ERR_NOT_FOUND, "no repository in %s", store_label(r->store));
			err_hint(e, "`holdfast init` makes one; or check `repository` in the configuration.");
		}
		goto out;
	}
	format = text.bytes <= FORMAT_MAX ? json_parse(text.data, text.bytes, "\"format\"", e) : NULL;
	r->format = format;
	if (format == NULL || !repo_json_is_canonical(format, &text)) {
		err_set(e, ERR_CORRUPT, "\"format\" in %s is not what a repository begins with", store_label(r->store));
		goto out;
	}
	number = json_need_int(format, "holdfast", 1, INT32_MAX, e);
	if (e->kind == ERR_NONE && number != 1) {
		err_set(e, ERR_USAGE, "%s has repository format %lld; this holdfast reads format 1", store_label(r->store), (long long)number);
		err_hint(e, "Use a newer holdfast.");
		goto out;
	}
	r->chunk_min = (size_t)json_need_int(format, "chunk_min", 4096, 4 << 20, e);
	r->chunk_avg = (size_t)json_need_int(format, "chunk_avg", 4096, 4 << 20, e);
	r->chunk_max = (size_t)json_need_int(format, "chunk_max", 4096, 4 << 20, e);
	snprintf(r->uuid_text, sizeof(r->uuid_text), "%s", json_need_str(format, "repository", e));
	if (e->kind != ERR_NONE || repo_uuid_parse(r->uuid, r->uuid_text) != 0 || r->chunk_min >= r->chunk_avg || r->chunk_avg >= r->chunk_max ||
	    (r->chunk_avg & (r->chunk_avg - 1)) != 0) {
		err_set(e, ERR_CORRUPT, "\"format\" in %s holds impossible values", store_label(r->store));
		goto out;
	}
	rc = 0;
out:
	buf_free(&text);
	return rc;
}

const char repo_pin_hint[] =
    "Somebody replaced the repository's keys, or this is another repository. Do not back up into it before you know which.";

/* For a holder without a pin of its own: what was seen first is kept in the cache, and must stay. */
static int
check_first_seen(const struct repo *r, const uint8_t pin[32], struct err *e)
{
	char hex[65], *path;
	struct buf kept = BUF_INIT;
	struct err none = ERR_INIT;
	int rc = 0;

	if (r->cache == NULL)
		return 0;
	hex_encode(hex, pin, 32);
	path = mem_printf("%s/pin", r->cache);
	if (file_read(&kept, path, 64, &none) == 0) {
		if (strcmp((char *)kept.data, hex) != 0)
			rc = err_set(e, ERR_KEY, "the secrets of this repository are others than \"%s\" remembers", path);
	} else if (none.kind == ERR_NOT_FOUND && file_write_new(path, hex, 64, S_IRUSR | S_IWUSR, &none) != 0) {
		err_clear(&none);       /* a read-only cache remembers nothing */
	}
	buf_free(&kept);
	free(path);
	return rc;
}

/* The newest vault key that this holder ever had here: "EPOCH PUBLIC" in a file of its own, since another holder's rotation may have come to us
 * and not yet to that one. */
static void
remember_newest(const char *path, const struct vault *newest)
{
	char hex[65], *text;
	struct err none = ERR_INIT;

	hex_encode(hex, newest->public_key, 32);
	text = mem_printf("%u %s", newest->epoch, hex);
	if (file_write_replace(path, text, strlen(text), S_IRUSR | S_IWUSR, &none) != 0)
		err_clear(&none);       /* a read-only cache remembers nothing */
	free(text);
}

static bool
recall_newest(const char *path, struct vault *seen)
{
	struct buf kept = BUF_INIT;
	struct err none = ERR_INIT;
	char hex[65];
	bool good = file_read(&kept, path, 128, &none) == 0 && sscanf((char *)kept.data, "%u %64[0-9a-f]", &seen->epoch, hex) == 2 &&
	    strlen(hex) == 64 && hex_decode(seen->public_key, 32, hex);

	buf_free(&kept);
	return good;
}

/* Who writes the bucket can take our newest object away and bring an older one back: we would seal to a key that somebody has who is out. */
static int
check_newest_seen(const struct repo *r, struct err *e)
{
	const struct secrets *s = &r->secrets;
	const struct vault *newest = &s->vaults[s->vault_count - 1];
	struct vault seen = { .epoch = 0 };
	char own[65], *path;
	bool known;
	int rc = 0;

	if (r->cache == NULL)
		return 0;
	hex_encode(own, r->self->x_public, 32);
	path = mem_printf("%s/newest-%.16s", r->cache, own);
	known = recall_newest(path, &seen);
	if (known && !secrets_have(s, &seen)) {
		rc = err_set(e, ERR_KEY, "the repository has gone back to vault epoch %u; \"%s\" remembers epoch %u", newest->epoch, path, seen.epoch);
		err_hint(e, "Somebody took this key's newest object away or brought an older one back: `holdfast keys rotate` elsewhere mends that. "
		    "If you brought the repository back from a copy, remove that file.");
	} else if (!known || seen.epoch != newest->epoch || memcmp(seen.public_key, newest->public_key, 32) != 0) {
		remember_newest(path, newest);
	}
	free(path);
	return rc;
}

/* The pin of a key file was compared when its object was opened: here is the rest. */
static int
check_pin(const struct repo *r, struct err *e)
{
	uint8_t pin[32];
	char mac[65];

	format_mac(mac, r->format, &r->secrets);
	if (strcmp(mac, json_opt_str(r->format, "mac", "")) != 0)
		return err_set(e, ERR_CORRUPT, "\"format\" in %s was changed by somebody without the catalog key", store_label(r->store));
	identity_pin(pin, r->uuid, &r->secrets);
	if (!r->self->pinned && check_first_seen(r, pin, e))
		return err_hint(e, "%s", repo_pin_hint);
	return check_newest_seen(r, e);
}

static int
unlock(struct repo *r, const struct repo_options *o, struct err *e)
{
	char *passphrase = NULL;
	int rc = -1;

	if (o->passphrase_file != NULL) {
		passphrase = file_read_secret(o->passphrase_file, e);
		if (passphrase == NULL)
			return err_wrap(e, "passphrase");
		r->self = identity_new("passphrase", KEY_RECOVERY);
	} else if (o->key_file != NULL) {
		r->self = identity_read(o->key_file, e);
		if (r->self == NULL)
			return -1;
		if (r->self->repository[0] != '\0' && strcmp(r->self->repository, r->uuid_text) != 0) {
			err_set(e, ERR_KEY, "\"%s\" is the key of repository %s; %s holds repository %s", o->key_file, r->self->repository,
			    store_label(r->store), r->uuid_text);
			return err_hint(e, "Check `repository` and `repository.key_file` in the configuration.");
		}
	} else {
		err_set(e, ERR_USAGE, "no key: neither a key file nor a passphrase file is configured");
		return err_hint(e, "Set `repository.key_file`, or name one with --key-file or --passphrase-file.");
	}
	rc = holder_open(r->store, r->key_objects, r->uuid, r->self, passphrase, &r->secrets, r->self_holder, e);
	if (passphrase != NULL)
		mem_free_secret(passphrase, strlen(passphrase));
	return rc == 0 ? check_pin(r, e) : -1;
}

struct repo *
repo_open(struct store *s, const struct repo_options *o, struct err *e)
{
	struct repo *r = mem_zero(1, sizeof(*r));
	struct err none = ERR_INIT;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	r->store = s;
	r->key_objects = json_object();
	r->workers = o->workers != 0 ? o->workers : processors > 0 ? (unsigned)processors : 1;
	r->level = o->level != 0 ? o->level : 3;
	if (read_format(r, e))
		goto fail;
	if (o->cache_dir != NULL) {
		r->cache = mem_printf("%s/%s", o->cache_dir, r->uuid_text);
		if (file_mkdirs(r->cache, S_IRWXU, &none) != 0) {
			free(r->cache);
			r->cache = NULL;        /* only a cache */
		}
	}
	if (unlock(r, o, e))
		goto fail;
	cut_rule_init(&r->cuts, r->secrets.chunk_id, r->chunk_min, r->chunk_avg, r->chunk_max);
	return r;
fail:
	repo_free(r);
	return NULL;
}

void
repo_free(struct repo *r)
{
	if (r == NULL)
		return;
	index_free(r->index);
	json_decref(r->format);
	json_decref(r->key_objects);
	holder_secrets_wipe(&r->secrets);
	identity_free(r->self);
	free(r->cache);
	mem_wipe(&r->cuts, sizeof(r->cuts));
	free(r);
}

const char *
repo_uuid(const struct repo *r)
{
	return r->uuid_text;
}

const char *
repo_label(const struct repo *r)
{
	return store_label(r->store);
}

const char *
repo_holder_name(const struct repo *r)
{
	return r->self->name;
}

bool
repo_can_read(const struct repo *r)
{
	return r->self->role == KEY_RECOVERY;
}

void
repo_pin(const struct repo *r, char hex[65])
{
	uint8_t pin[32];

	identity_pin(pin, r->uuid, &r->secrets);
	hex_encode(hex, pin, sizeof(pin));
}

bool
repo_pin_known(const struct repo *r)
{
	return r->self->pinned;
}

int
repo_totals(struct repo *r, struct repo_totals *t, struct err *e)
{
	const uint8_t (*ids)[ID_BYTES];
	uint32_t packs;

	memset(t, 0, sizeof(*t));
	if (r->index == NULL && index_load(r, e))
		return -1;
	packs = index_packs(r->index);
	t->packs = packs;
	t->chunks = index_chunks(r->index);
	t->index_objects = index_objects(r->index, &ids);
	t->mapped = index_mapped(r->index);
	for (uint32_t i = 0; i < packs; i++)
		t->stored_bytes += index_pack(r->index, i).bytes;
	return 0;
}
