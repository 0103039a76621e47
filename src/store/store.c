#include "store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "store/folder.h"
#include "store/retry.h"
#include "store/s3_v2.h"
#include "store/s3_v4.h"
#include "store/throttle.h"

#define SEGMENT_MAX 255
#define FIRST_PAUSE_MS 250
#define LONGEST_PAUSE_MS 20000

/* One segment that ends at '/' or 0; its length, or 0 when it breaks the rules. */
static size_t
segment(const char *p)
{
	size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789._-");

	if ((p[n] != '\0' && p[n] != '/') || n > SEGMENT_MAX)
		return 0;
	if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
		return 0;
	return n;
}

bool
store_name_valid(const char *name)
{
	if (strlen(name) > STORE_NAME_MAX)
		return false;
	for (;;) {
		size_t n = segment(name);

		if (n == 0)
			return false;
		if (name[n] == '\0')
			return true;
		name += n + 1;
	}
}

bool
store_prefix_valid(const char *prefix)
{
	size_t n = strlen(prefix);
	char name[STORE_NAME_MAX + 1];

	if (n == 0)
		return true;
	if (n > STORE_NAME_MAX || prefix[n - 1] != '/')
		return false;
	memcpy(name, prefix, n - 1);
	name[n - 1] = '\0';
	return store_name_valid(name);
}

int
store_put(struct store *s, const char *name, const void *data, size_t bytes, struct err *e)
{
	assert(store_name_valid(name));
	assert(bytes <= STORE_OBJECT_MAX);
	if (stop_check(e))
		return -1;
	return s->ops->put(s, name, data, bytes, e);
}

int
store_get(struct store *s, const char *name, uint64_t offset, size_t bytes, struct buf *to, struct err *e)
{
	size_t before = to->bytes;

	assert(store_name_valid(name));
	/* Offsets and lengths come from an index, which comes from outside. */
	if (bytes > STORE_OBJECT_MAX || offset > STORE_OBJECT_MAX)
		return err_set(e, ERR_CORRUPT, "get of \"%s\": %zu bytes at %llu lie outside of any object", name, bytes,
		               (unsigned long long)offset);
	if (stop_check(e))
		return -1;
	if (s->ops->get(s, name, offset, bytes, to, e) == 0)
		return 0;
	/* Nobody may take half an object for one. */
	if (to->bytes > before) {
		to->bytes = before;
		to->data[before] = '\0';
	}
	return -1;
}

int
store_stat(struct store *s, const char *name, struct store_object *o, struct err *e)
{
	assert(store_name_valid(name));
	if (stop_check(e))
		return -1;
	return s->ops->stat(s, name, o, e);
}

int
store_list(struct store *s, const char *prefix, store_each *each, void *ctx, struct err *e)
{
	assert(store_prefix_valid(prefix));
	if (stop_check(e))
		return -1;
	return s->ops->list(s, prefix, each, ctx, e);
}

int
store_remove(struct store *s, const char *name, struct err *e)
{
	assert(store_name_valid(name));
	if (stop_check(e))
		return -1;
	return s->ops->remove(s, name, e);
}

const char *
store_label(const struct store *s)
{
	return s->label;
}

void
store_free(struct store *s)
{
	char *label;

	if (s == NULL)
		return;
	label = s->label;
	s->ops->free(s);
	free(label);
}

static struct store *
open_bare(const struct store_config *c, bool create, struct err *e)
{
	if (c->kind == STORE_FOLDER)
		return folder_open(c->path, create, e);
	if (c->signature == NULL || strcmp(c->signature, "v4") == 0)
		return s3_v4_open(c, e);
	if (strcmp(c->signature, "v2") == 0)
		return s3_v2_open(c, e);
	err_set(e, ERR_USAGE, "signature \"%s\" is neither \"v4\" nor \"v2\"", c->signature);
	return NULL;
}

struct store *
store_open(const struct store_config *config, bool create, struct err *e)
{
	struct store *s = open_bare(config, create, e);

	if (s == NULL)
		return NULL;
	/* The throttle is inside, so that what is sent again is counted again. */
	if (config->bytes_per_second > 0)
		s = throttle_new(s, config->bytes_per_second);
	return retry_new(s, config->attempts > 0 ? config->attempts : 12, FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
}
