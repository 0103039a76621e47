#ifndef HF_AGENT_CONF_PRIVATE_H
#define HF_AGENT_CONF_PRIVATE_H

#include <libconfig.h>

#include "agent/conf.h"
#include "agent/conf_keys.h"

/* Inside of conf alone: where each value came from, and what was found wrong on the way. */
enum { CONF_PROBLEMS_MAX = 50, CONF_FILE_MAX = 1 << 20 };

struct conf_origin {
	const char *value;              /* as text; NULL: not set */
	const char *file;               /* of the configuration, or NULL */
	unsigned line;
	char *variable;                 /* of the environment, or NULL */
	const char *option;             /* of the command line, or NULL */
};

struct conf {
	struct settings settings;
	struct conf_arena arena;
	char *path;
	struct conf_origin *origins;    /* one for each key */
	struct err *problems;
	size_t problem_count;
};

/* Adds a problem: "<where>: <text>". */
void conf_complain(struct conf *c, const char *where, const char *hint, const char *format, ...) PRINTF_LIKE(4, 5);

/* Names a place in a file, or the place where a key was set; kept in the arena. */
const char *conf_place(struct conf *c, const char *file, unsigned line);
const char *conf_place_of(struct conf *c, const char *key);

/*
 * Looks at the text before libconfig does, for what libconfig 1.5 gets wrong: an unclosed string leaks, a number that is
 * too large is cut without a word, @include takes any relative path.  Follows includes; `dir` NULL refuses them.  False when
 * something was found.
 */
bool conf_scan(struct conf *c, const char *file, const char *text, size_t bytes, const char *dir, unsigned depth);

/* Takes every setting of a parsed file. */
void conf_walk(struct conf *c, const config_setting_t *group, const char *path);

/* Derives what depends on the machine, and checks values against each other. */
void conf_finish(struct conf *c);

#endif
