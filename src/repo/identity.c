#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/curve.h"
#include "codec/kdf.h"
#include "repo/inner.h"

void
identity_from_seed(struct identity *i)
{
	kdf_hkdf(i->x_private, i->seed, sizeof(i->seed), NULL, 0, "holdfast 1 x25519", NULL, 0);
	kdf_hkdf(i->sign_seed, i->seed, sizeof(i->seed), NULL, 0, "holdfast 1 ed25519", NULL, 0);
	curve_x25519_public(i->x_public, i->x_private);
	curve_ed25519_public(i->sign_public, i->sign_seed);
}

void
identity_pin(uint8_t pin[32], const uint8_t uuid[16], const struct secrets *s)
{
	static const char text[] = "holdfast 1 pin";
	uint8_t in[sizeof(text) - 1 + 16 + 32 + 32];

	memcpy(in, text, sizeof(text) - 1);
	memcpy(in + sizeof(text) - 1, uuid, 16);
	memcpy(in + sizeof(text) - 1 + 16, s->chunk_id, 32);
	memcpy(in + sizeof(text) - 1 + 16 + 32, s->authority_public, 32);
	hash_hmac(pin, s->catalog, sizeof(s->catalog), in, sizeof(in));
	mem_wipe(in, sizeof(in));
}

bool
key_name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= KEY_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] <= ' ' || name[i] > '~')
			return false;
	return true;
}

const char *
key_role_name(enum key_role role)
{
	return role == KEY_AGENT ? "agent" : "recovery";
}

struct identity *
identity_new(const char *name, enum key_role role)
{
	struct identity *i = mem_zero(1, sizeof(*i));

	memcpy(i->name, name, strlen(name) < KEY_NAME_MAX ? strlen(name) : KEY_NAME_MAX - 1);
	i->role = role;
	rand_bytes(i->seed, sizeof(i->seed));
	identity_from_seed(i);
	return i;
}

void
identity_free(struct identity *i)
{
	mem_free_secret(i, i != NULL ? sizeof(*i) : 0);
}

void
identity_public(const struct identity *i, char to[KEY_PUBLIC_TEXT])
{
	hex_encode(to, i->x_public, 32);
	hex_encode(to + 64, i->sign_public, 32);
}

const char *
identity_name(const struct identity *i)
{
	return i->name;
}

enum key_role
identity_role(const struct identity *i)
{
	return i->role;
}

/* Fills `i` from the members of a key file; false when one is missing or wrong. */
static bool
from_json(struct identity *i, const json_t *file, struct err *e)
{
	const char *role = json_need_str(file, "role", e), *name = json_need_str(file, "name", e);
	const char *repository = json_opt_str(file, "repository", ""), *pin = json_opt_str(file, "pin", NULL);
	uint8_t uuid[16];

	json_need_int(file, "holdfast_key", 1, 1, e);
	if (e->kind != ERR_NONE || !hex_decode(i->seed, sizeof(i->seed), json_need_str(file, "seed", e)) || !key_name_valid(name))
		return false;
	if (strcmp(role, "agent") != 0 && strcmp(role, "recovery") != 0)
		return false;
	if (repository[0] != '\0' && repo_uuid_parse(uuid, repository) != 0)
		return false;
	if (pin != NULL && !hex_decode(i->pin, sizeof(i->pin), pin))
		return false;
	i->pinned = pin != NULL;
	i->role = strcmp(role, "agent") == 0 ? KEY_AGENT : KEY_RECOVERY;
	memcpy(i->name, name, strlen(name) + 1);
	memcpy(i->repository, repository, strlen(repository) + 1);
	identity_from_seed(i);
	return true;
}

struct identity *
identity_read(const char *path, struct err *e)
{
	char *text = file_read_secret(path, e);
	struct identity *i = NULL;
	struct err ignored = ERR_INIT;
	json_t *file;

	if (text == NULL) {
		err_wrap(e, "key file");
		return NULL;
	}
	file = json_parse(text, strlen(text), "key file", &ignored);
	i = mem_zero(1, sizeof(*i));
	if (file == NULL || !from_json(i, file, &ignored)) {
		err_set(e, ERR_KEY, "\"%s\" is not a holdfast key file", path);
		err_hint(e, "`holdfast init` and `holdfast keys identity` write key files; check `repository.key_file` in the configuration.");
		identity_free(i);
		i = NULL;
	}
	json_decref(file);
	mem_free_secret(text, strlen(text));
	return i;
}

int
identity_write(const struct identity *i, const char *path, struct err *e)
{
	char seed[65], pin[65];
	json_t *file = json_object();
	char *text;
	int rc;

	hex_encode(seed, i->seed, sizeof(i->seed));
	json_put_int(file, "holdfast_key", 1);
	json_put_str(file, "name", i->name);
	json_put_str(file, "role", key_role_name(i->role));
	json_put_str(file, "seed", seed);
	if (i->pinned) {
		hex_encode(pin, i->pin, sizeof(i->pin));
		json_put_str(file, "pin", pin);
		json_put_str(file, "repository", i->repository);
	}
	text = json_text(file, JSON_INDENT(2));
	rc = file_write_new(path, text, strlen(text), S_IRUSR | S_IWUSR, e);
	mem_free_secret(text, strlen(text));
	mem_wipe(seed, sizeof(seed));
	json_decref(file);
	return rc == 0 ? 0 : err_wrap(e, "key file");
}
