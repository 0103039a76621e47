#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "ops/common.h"

static json_t *
holder_json(const struct holder *h)
{
	json_t *o = json_object();

	json_put_str(o, "id", h->id);
	json_put_str(o, "name", h->name);
	json_put_str(o, "kind", h->passphrase ? "passphrase" : "x25519");
	json_put_str(o, "role", key_role_name(h->role));
	json_put_int(o, "epoch", h->epoch);
	json_put_str(o, "created", h->created);
	json_put_int(o, "superseded", (int64_t)h->objects - 1);
	json_put_bool(o, "self", h->self);
	json_put_str(o, "public_key", h->public_key);
	return o;
}

/* What a key file must say to know this repository again, as `init` writes it; a key that is let in later is made without. */
static void
put_key_file(struct repo *r, json_t *outcome)
{
	json_t *members = json_object();
	char pin[65];

	repo_pin(r, pin);
	json_put_str(members, "pin", pin);
	json_put_str(members, "repository", repo_uuid(r));
	json_put(outcome, "key_file", members);
}

static int
put_holders(struct repo *r, json_t *outcome, struct err *e)
{
	struct holder *holders;
	size_t count, foreign, readers = 0;
	json_t *array = json_array(), *others;

	json_put(outcome, "holders", array);
	json_put_str(outcome, "repository", repo_uuid(r));
	put_key_file(r, outcome);
	if (keys_foreign(r, &others, e))
		return -1;
	json_put(outcome, "foreign", others);
	if (keys_list(r, &holders, &count, &foreign, e))
		return -1;
	for (size_t i = 0; i < count; i++) {
		json_add(array, holder_json(&holders[i]));
		readers += holders[i].role == KEY_RECOVERY;
	}
	free(holders);
	if (foreign > 0)
		ops_warn(outcome, "%zu object%s under keys/ %s not written by a holder that can read, or damaged, and let%s nobody in: find out who "
		    "wrote to the store, then `holdfast keys remove keys/<id>`", foreign, foreign == 1 ? "" : "s", foreign == 1 ? "was" : "were",
		    foreign == 1 ? "s" : "");
	if (readers < 2)
		ops_warn(outcome, "only one holder can read the backups: if its key is lost, so are they"); /* R50 */
	return 0;
}

static void
note_written(json_t *outcome, const char *path)
{
	json_t *written = json_object_get(outcome, "written");

	if (written == NULL) {
		written = json_array();
		json_put(outcome, "written", written);
	}
	json_add(written, json_str(path));
}

static int
must_not_exist(const char *path, struct err *e)
{
	if (path == NULL || access(path, F_OK) != 0)
		return 0;
	err_set(e, ERR_EXISTS, "key file \"%s\" is there already", path);
	return err_hint(e, "Nothing was changed. It may be the only key of another repository: move it away, or name another file.");
}

static int
check_request(const struct init_request *r, const char *key_out, struct err *e)
{
	if (r->holder != NULL && !key_name_valid(r->holder))
		return err_set(e, ERR_USAGE, "\"%s\" is not a name for a holder: 1 to 63 printable characters without spaces", r->holder);
	if (key_out == NULL) {
		err_set(e, ERR_USAGE, "there is no file to write the key to");
		return err_hint(e, "Set `repository.key_file` in the configuration, or give --key-out.");
	}
	if (r->agent_key_out != NULL && strcmp(r->agent_key_out, key_out) == 0)
		return err_set(e, ERR_USAGE, "--key-out and --agent-key-out name the same file");
	if (must_not_exist(key_out, e) || must_not_exist(r->agent_key_out, e))
		return -1;
	/* R50: a single key is a single point of loss. */
	if (r->passphrase_file == NULL && !r->accept_single_key) {
		err_set(e, ERR_REFUSED, "one key alone would open this repository: if it is lost, so is every backup"); /* R50 */
		return err_hint(e, "Give --passphrase-file FILE (a second way in, to be kept elsewhere), or --accept-single-key and `keys add` another soon.");
	}
	return 0;
}

struct key_files {
	struct identity *first, *agent;
	const char *key_out, *agent_key_out;
};

static int
write_keys(void *ctx, struct err *e)
{
	struct key_files *k = ctx;

	return identity_write(k->first, k->key_out, e) || (k->agent != NULL && identity_write(k->agent, k->agent_key_out, e)) ? -1 : 0;
}

/* A new way in; it is asked for a length because nothing else stands before whoever has the bucket. */
static char *
read_new_passphrase(const char *path, struct err *e)
{
	char *passphrase = file_read_secret(path, e);

	if (passphrase != NULL && strlen(passphrase) < 12) {
		err_set(e, ERR_USAGE, "the passphrase in \"%s\" has fewer than 12 characters", path);
		err_hint(e, "It alone will open every backup: take six random words or more.");
		mem_free_secret(passphrase, strlen(passphrase));
		return NULL;
	}
	return passphrase;
}

/* The keys are on disk before the repository is: a repository that nobody can open is worse than a key to nothing. */
static int
create(struct store *store, const struct init_request *r, const char *key_out, json_t *outcome, struct err *e)
{
	struct identity *first = identity_new(r->holder != NULL ? r->holder : "recovery", KEY_RECOVERY);
	struct identity *agent = r->agent_key_out != NULL ? identity_new("agent", KEY_AGENT) : NULL;
	struct key_files files = { first, agent, key_out, r->agent_key_out };
	char *passphrase = NULL, uuid[37];
	int rc = -1;

	if (r->passphrase_file != NULL && (passphrase = read_new_passphrase(r->passphrase_file, e)) == NULL)
		goto out;
	if (repo_create(store, first, agent, passphrase, write_keys, &files, uuid, e))
		goto out;
	json_put_str(outcome, "repository", uuid);
	note_written(outcome, key_out);
	if (agent != NULL)
		note_written(outcome, r->agent_key_out);
	rc = 0;
out:
	if (passphrase != NULL)
		mem_free_secret(passphrase, strlen(passphrase));
	identity_free(first);
	identity_free(agent);
	return rc;
}

int
ops_init(const struct ops *o, const struct init_request *r, json_t **outcome, struct err *e)
{
	const char *key_out = r->key_out != NULL ? r->key_out : o->settings->key_file;
	struct settings opened_as = *o->settings;
	struct opened opened = { NULL, NULL };
	struct store *store;
	int rc;

	*outcome = ops_outcome("init");
	if (check_request(r, key_out, e))
		return -1;
	store = store_open(&o->settings->store, true, e);
	if (store == NULL)
		return -1;
	json_put_str(*outcome, "store", store_label(store));
	rc = create(store, r, key_out, *outcome, e);
	store_free(store);
	if (rc != 0)
		return -1;
	/* Opened the way every later command will: what was just made is proven to open. */
	opened_as.key_file = key_out;
	opened_as.passphrase_file = NULL;
	rc = ops_open(&opened, &opened_as, 0, e);
	if (rc == 0)
		rc = put_holders(opened.repo, *outcome, e);
	ops_close(&opened);
	return rc;
}

static int
make_identity(const struct keys_request *r, json_t *outcome, struct err *e)
{
	struct identity *i;
	char public_key[KEY_PUBLIC_TEXT];
	int rc;

	if (!key_name_valid(r->holder))
		return err_set(e, ERR_USAGE, "\"%s\" is not a name for a holder: 1 to 63 printable characters without spaces", r->holder);
	i = identity_new(r->holder, KEY_RECOVERY);
	identity_public(i, public_key);
	rc = identity_write(i, r->key_out, e);
	if (rc == 0) {
		json_put_str(outcome, "public_key", public_key);
		note_written(outcome, r->key_out);
	}
	identity_free(i);
	return rc;
}

static int
add(struct repo *repo, const struct keys_request *r, json_t *outcome, struct err *e)
{
	char *passphrase = NULL, id[33];
	int rc;

	if (!key_name_valid(r->holder))
		return err_set(e, ERR_USAGE, "\"%s\" is not a name for a holder: 1 to 63 printable characters without spaces", r->holder);
	if ((r->public_key == NULL) == (r->passphrase_file == NULL))
		return err_set(e, ERR_USAGE, "give either --public-key or --new-passphrase-file");
	if (r->passphrase_file != NULL && r->agent_only)
		return err_set(e, ERR_USAGE, "a passphrase is for recovery: --agent-only goes with --public-key");
	if (r->passphrase_file != NULL && (passphrase = read_new_passphrase(r->passphrase_file, e)) == NULL)
		return -1;
	rc = keys_add(repo, r->holder, r->agent_only ? KEY_AGENT : KEY_RECOVERY, r->public_key, passphrase, id, e);
	if (passphrase != NULL)
		mem_free_secret(passphrase, strlen(passphrase));
	if (rc == 0)
		json_put_str(outcome, "holder", id);
	return rc;
}

/* Removes a holder and says which one it was: it may be named by a part of its id. */
static int
remove_holder(struct repo *repo, const struct keys_request *r, json_t *outcome, struct err *e)
{
	struct holder *before = NULL, *after = NULL;
	size_t n_before = 0, n_after = 0, foreign;
	int rc = -1;

	if (keys_list(repo, &before, &n_before, &foreign, e) == 0 && keys_remove(repo, r->holder, r->yes, e) == 0 &&
	    keys_list(repo, &after, &n_after, &foreign, e) == 0)
		rc = 0;
	if (before != NULL && e->kind == ERR_NOT_FOUND) {
		json_t *names = json_array();

		for (size_t i = 0; i < n_before; i++)
			json_add(names, json_str(before[i].name));
		e->hint[0] = '\0';
		ops_hint_names(e, "", r->holder, names, "`holdfast keys list` shows the holders.");
		json_decref(names);
	}
	for (size_t i = 0; rc == 0 && i < n_before; i++) {
		bool left = false;

		for (size_t k = 0; k < n_after; k++)
			left = left || strcmp(before[i].id, after[k].id) == 0;
		if (!left)
			json_put(outcome, "removed", holder_json(&before[i]));
	}
	free(before);
	free(after);
	return rc;
}

static int
act(struct repo *repo, const struct keys_request *r, json_t *outcome, struct err *e)
{
	struct err tidy = ERR_INIT;
	unsigned removed = 0;
	uint32_t epoch;

	switch (r->what) {
	case KEYS_ADD:
		return add(repo, r, outcome, e);
	case KEYS_ROTATE:
		if (keys_rotate(repo, &epoch, e))
			return -1;
		json_put_int(outcome, "epoch", epoch);
		/* R29: what an earlier rotation superseded may go now; what this one supersedes stays until the next.  A key to the store that may
		 * not delete is a good one, and what stays is in nobody's way. */
		if (keys_tidy(repo, &removed, &tidy))
			ops_warn(outcome, "key objects that an earlier rotation superseded could not be removed: %s", tidy.msg);
		return 0;
	case KEYS_REMOVE:
		return remove_holder(repo, r, outcome, e);
	default:
		return 0;
	}
}

int
ops_keys(const struct ops *o, const struct keys_request *r, json_t **outcome, struct err *e)
{
	struct opened opened;
	int rc;

	*outcome = ops_outcome("keys");
	if (r->what == KEYS_IDENTITY)
		return make_identity(r, *outcome, e);
	if (ops_open(&opened, o->settings, 0, e))
		return -1;
	rc = act(opened.repo, r, *outcome, e);
	if (rc == 0)
		rc = put_holders(opened.repo, *outcome, e);
	ops_close(&opened);
	return rc;
}
