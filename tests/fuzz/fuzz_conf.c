/* The configuration loader: no text may break it, and what it accepts must keep every promise of its table. */
#include <stdint.h>
#include <stdlib.h>

#include "agent/conf.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static char *const no_environment[] = { NULL };
	struct buf text = BUF_INIT;
	struct conf *c;
	struct err e = ERR_INIT;

	buf_add(&text, data, bytes);
	if (conf_load_text(&c, (char *)text.data, text.bytes, "fuzz.cfg", no_environment, &e) == 0) {
		const struct settings *s = conf_settings(c);

		if (s->name == NULL || s->backup.jobs < 1 || s->backup.jobs > 64 || s->backup.workers < 1 || s->backup.level < 1 || s->backup.level > 19 ||
		    (s->store.kind == STORE_FOLDER ? s->store.path == NULL || s->store.path[0] != '/' : s->store.bucket == NULL) ||
		    s->keep.last + s->keep.daily + s->keep.weekly + s->keep.monthly + s->keep.yearly == 0 || s->backup.deadline_ms < 10000)
			abort();
		json_decref(conf_effective(c));
	} else if (e.kind != ERR_USAGE || conf_problem(c, 0) == NULL) {
		abort();
	}
	conf_free(c);
	buf_free(&text);
	return 0;
}

/* libconfig 1.5 forgets its buffers when it meets a syntax error. */
const char *__lsan_default_suppressions(void);

const char *
__lsan_default_suppressions(void)
{
	return "leak:libconfig.so\n";
}
