#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/curve.h"
#include "repo/catalog.h"

/* docs/repository-format.md, section 9. */
static const char signed_text[] = "holdfast 1 report";
#define SIGNED_BYTES (sizeof(signed_text) - 1 + 16 + ID_BYTES + SHA256_BYTES)

static void
signed_bytes(uint8_t to[SIGNED_BYTES], const struct repo *r, const uint8_t id[ID_BYTES], const struct buf *outcome)
{
	uint8_t *p = to;

	memcpy(p, signed_text, sizeof(signed_text) - 1);
	p += sizeof(signed_text) - 1;
	memcpy(p, r->uuid, 16);
	p += 16;
	memcpy(p, id, ID_BYTES);
	p += ID_BYTES;
	hash_sha256(p, outcome->data, outcome->bytes);
}

int
repo_can_sign(const struct repo *r, struct err *e)
{
	if (r->self->role != KEY_RECOVERY) {
		err_set(e, ERR_KEY, "an agent's key cannot sign a report: it can read nothing that it could prove");
		return err_hint(e, "Use the key file of a recovery holder (--key-file) or its passphrase (--passphrase-file).");
	}
	if (r->self->signs)
		return 0;
	err_set(e, ERR_KEY, "holder \"%s\" cannot sign a report: the repository has only one half of its public key", r->self->name);
	return err_hint(e, "Remove it and add it again with all 128 digits, as `holdfast keys identity` printed them.");
}

int
repo_put_report(struct repo *r, const json_t *outcome, char id_text[33], struct err *e)
{
	struct buf sections[2] = { BUF_INIT, BUF_INIT };
	uint8_t id[ID_BYTES], in[SIGNED_BYTES], signature[CURVE_SIGNATURE_BYTES];
	char hex[2 * CURVE_SIGNATURE_BYTES + 1], *text;
	json_t *signer;
	int rc;

	if (repo_can_sign(r, e))
		return err_wrap(e, "store the report");
	text = json_text(outcome, JSON_COMPACT);
	signer = json_object();
	rand_bytes(id, sizeof(id));
	hex_encode(id_text, id, sizeof(id));
	buf_addstr(&sections[0], text);
	free(text);
	signed_bytes(in, r, id, &sections[0]);
	curve_sign(signature, r->self->sign_seed, in, sizeof(in));
	hex_encode(hex, signature, sizeof(signature));
	json_put_str(signer, "signature", hex);
	hex_encode(hex, r->self->sign_public, sizeof(r->self->sign_public));
	json_put_str(signer, "signer", hex);
	json_put_str(signer, "holder", r->self->name);
	text = json_text(signer, JSON_COMPACT);
	buf_addstr(&sections[1], text);
	free(text);
	json_decref(signer);
	rc = catalog_put(r, CATALOG_REPORT, id, sections, 2, e);
	buf_free(&sections[0]);
	buf_free(&sections[1]);
	return rc == 0 ? 0 : err_wrap(e, "store the report");
}

/* Fills signer and valid: the signature must be right, and its key that of a holder who can read.  An agent proves nothing, and who stole its
 * key could say so all the same. */
static void
judge(const struct repo *r, const uint8_t id[ID_BYTES], const struct buf *sections, const struct holder *holders, size_t count, struct repo_report *to)
{
	struct err ignored = ERR_INIT;
	json_t *signer = json_parse(sections[1].data, sections[1].bytes, "signature", &ignored);
	uint8_t in[SIGNED_BYTES], key[CURVE_KEY_BYTES], signature[CURVE_SIGNATURE_BYTES];
	const char *hex = json_opt_str(signer, "signature", ""), *key_hex = json_opt_str(signer, "signer", "");

	if (strlen(hex) == 2 * sizeof(signature) && hex_decode(signature, sizeof(signature), hex) && strlen(key_hex) == 2 * sizeof(key) &&
	    hex_decode(key, sizeof(key), key_hex)) {
		signed_bytes(in, r, id, &sections[0]);
		hex_encode(to->signer, key, sizeof(key));
		for (size_t i = 0; i < count; i++)
			if (holders[i].role == KEY_RECOVERY && strlen(holders[i].public_key) == 128 && strcmp(holders[i].public_key + 64, to->signer) == 0)
				snprintf(to->signer_name, sizeof(to->signer_name), "%s", holders[i].name);
		to->valid = curve_verify(signature, key, in, sizeof(in), &ignored) == 0 && to->signer_name[0] != '\0';
	}
	json_decref(signer);
}

static int
oldest_first(const void *a, const void *b)
{
	const struct repo_report *x = a, *y = b;

	/* RFC 3339 in UTC sorts as text. */
	return strcmp(json_opt_str(x->outcome, "finished", ""), json_opt_str(y->outcome, "finished", ""));
}

static void
note_damage(json_t *damaged, const uint8_t id[ID_BYTES], struct err *e)
{
	json_t *d = json_object();
	char *name = catalog_name(CATALOG_REPORT, id);

	json_put_str(d, "object", name);
	json_put_str(d, "what", e->msg);
	json_add(damaged, d);
	free(name);
	err_clear(e);
}

int
repo_reports(struct repo *r, struct repo_report **reports, size_t *count, json_t *damaged, struct err *e)
{
	uint8_t (*ids)[ID_BYTES] = NULL;
	struct holder *holders = NULL;
	size_t listed, holder_count, foreign, n = 0;
	int rc = -1;

	*reports = NULL;
	*count = 0;
	if (catalog_list(r, CATALOG_REPORT, &ids, NULL, &listed, e))
		return -1;
	if (keys_list(r, &holders, &holder_count, &foreign, e))
		goto out;
	*reports = mem_zero(listed, sizeof(**reports));
	for (size_t i = 0; i < listed; i++) {
		struct buf sections[2] = { BUF_INIT, BUF_INIT };
		struct repo_report *to = &(*reports)[n];
		int got = catalog_get(r, CATALOG_REPORT, ids[i], sections, 2, e);

		if (got == 0)
			to->outcome = json_parse(sections[0].data, sections[0].bytes, "a report", e);
		if (to->outcome != NULL) {
			hex_encode(to->id, ids[i], ID_BYTES);
			judge(r, ids[i], sections, holders, holder_count, to);
			n++;
		}
		buf_free(&sections[0]);
		buf_free(&sections[1]);
		if (got != 0 && e->kind == ERR_NOT_FOUND)
			err_clear(e);
		else if (e->kind == ERR_CORRUPT)
			note_damage(damaged, ids[i], e);
		else if (e->kind != ERR_NONE)
			goto out;
	}
	qsort(*reports, n, sizeof(**reports), oldest_first);
	*count = n;
	rc = 0;
out:
	if (rc != 0) {
		repo_reports_free(*reports, n);
		*reports = NULL;
	}
	free(holders);
	free(ids);
	return rc;
}

void
repo_reports_free(struct repo_report *reports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_decref(reports[i].outcome);
	free(reports);
}
