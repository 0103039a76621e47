#include "ops/common.h"
#include "repo/verify.h"

int
ops_verify(const struct ops *o, const struct verify_request *r, json_t **outcome, struct err *e)
{
	struct opened opened;
	json_t *problems = json_array();
	uint64_t packs;
	size_t count;
	int rc = 0;

	*outcome = ops_outcome("verify");
	if (ops_open(&opened, o->settings, OPEN_UNCACHED, e)) {
		json_decref(problems);
		return -1;
	}
	if (r->rebuild_index) {
		rc = verify_rebuild_index(opened.repo, &packs, problems, e);
		if (rc == 0)
			json_put_int(*outcome, "rebuilt_packs", (int64_t)packs);
	}
	if (rc == 0)
		rc = verify_run(opened.repo, r->data, o->progress, *outcome, e);
	if (rc == 0) {
		json_array_extend(json_object_get(*outcome, "problems"), problems);
		if (r->data && !repo_can_read(opened.repo))
			ops_warn(*outcome, "the key of \"%s\" is an agent's: packs were compared with their digests, but not opened",
			    repo_holder_name(opened.repo));
		count = json_array_size(json_object_get(*outcome, "problems"));
		if (count > 0) {
			rc = err_set(e, ERR_NOT_PROVEN, "%zu problem%s found in %s", count, count == 1 ? "" : "s", repo_label(opened.repo));
			err_hint(e, "Each is named above with the backups that it affects; the other backups are whole. Move a damaged pack away, run `holdfast verify --rebuild-index`, then `holdfast backup`: docs/operations.md.");
		}
	}
	json_decref(problems);
	ops_close(&opened);
	return rc;
}
