#ifndef HF_AGENT_ARGS_H
#define HF_AGENT_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "ops/ops.h"

/*
 * The command line, read by tables.  An option is a row that says how it is written, what it takes and where in struct args
 * its value goes; help, completion and the parser are made of the same rows.
 */
struct args_list {
	const char **items;             /* ends with NULL once there is one */
	size_t count;
};

struct args {
	/* Of every command. */
	const char *config, *log_format;
	bool json, quiet, verbose, no_progress, help, version;

	/* Of every command that opens the repository: over the configuration's. */
	const char *key_file, *passphrase_file;

	const char *operands[2];
	size_t operand_count;

	struct init_request init;
	struct keys_request keys;
	struct backup_request backup;
	struct restore_request restore;
	struct verify_request verify;
	struct args_list databases, tables, schemas;
	const char *database, *compare_with, *format, *output;
	bool release, effective, plan;
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_FILE, OPTION_WORD, OPTION_NUMBER, OPTION_LIST };

struct option_row {
	const char *name;               /* without "--"; NULL ends a table */
	char letter;                    /* or 0 */
	enum option_kind kind;          /* bool, const char * (three of them), unsigned, struct args_list */
	const char *argument;           /* what it takes: "FILE", or the words of an OPTION_WORD: "text|json"; NULL for a flag */
	size_t at;                      /* offset in struct args */
	bool required;
	const char *help;
};

enum {
	COMMAND_BARE = 1,               /* needs no configuration */
	COMMAND_ASKS = 2,               /* its output was asked for and is printed in spite of --quiet */
	COMMAND_OPENS = 4,              /* opens the repository, and takes args_opening */
};

struct run;

struct command {
	const char *name;               /* one word, or two: "keys add" */
	const char *summary;            /* one line, no full stop */
	const char *operands;           /* "BACKUP [STREAM]" or "" */
	size_t least, most;             /* how many of them */
	const struct option_row *options;
	const char *about;              /* paragraphs for --help */
	const char *examples;           /* lines for --help */
	const char *exits;              /* its exit codes: digits of args_exit_words */
	unsigned traits;
	int (*run)(struct run *r, json_t **outcome, struct err *e);
};

/* commands.c */
extern const struct option_row args_common[];
extern const struct option_row args_opening[];
extern const struct command args_commands[];    /* ends with a NULL name */
extern const char *const args_exit_words[9];    /* what exit codes 0 to 8 mean */

/*
 * Reads a command line.  *command is NULL when none was named (then args->help or args->version is set, or it is an error).
 * *group is the first word of a two-word command when only its help is asked for.  ERR_USAGE suggests the nearest word.
 */
int args_parse(struct args *a, const struct command **command, const char **group, int argc, char **argv, struct err *e) MUST_USE;
void args_free(struct args *a);

/* Help of the program (both NULL), of a group, or of a command; usage of a command in one line.  Owned by the caller. */
char *args_help(const struct command *command, const char *group);

/* A script for bash that completes commands, options and their words. */
char *args_completion_bash(void);

/* Whether `name` begins some two-word command. */
bool args_is_group(const char *name);

#endif
