#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/args.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/width.h"

enum { HELP_COLUMNS = 79, OPTION_COLUMN = 30 };

/* Breaks text at spaces to `HELP_COLUMNS`, each line `indent` columns in; the first one begins at column `at`. */
static void
wrap(struct buf *to, const char *text, size_t indent, size_t at)
{
	while (*text != '\0') {
		size_t n = strcspn(text, " ");

		if (at > indent && at + 1 + n > HELP_COLUMNS) {
			buf_addf(to, "\n%*s", (int)indent, "");
			at = indent;
		} else if (at > indent) {
			buf_addc(to, ' ');
			at++;
		}
		buf_add(to, text, n);
		at += n;
		text += n;
		text += strspn(text, " ");
	}
	buf_addc(to, '\n');
}

static void
add_options(struct buf *to, const struct option_row *row)
{
	for (; row != NULL && row->name != NULL; row++) {
		size_t start = to->bytes, used;

		if (row->letter != 0)
			buf_addf(to, "  -%c, --%s", row->letter, row->name);
		else
			buf_addf(to, "      --%s", row->name);
		if (row->argument != NULL)
			buf_addf(to, "=%s", row->argument);
		used = to->bytes - start;
		if (used + 2 > OPTION_COLUMN) {
			buf_addc(to, '\n');
			used = 0;
		}
		buf_addf(to, "%*s", (int)(OPTION_COLUMN - used), "");
		wrap(to, row->help, OPTION_COLUMN, OPTION_COLUMN);
	}
}

static void
add_examples(struct buf *to, const char *lines)
{
	buf_addstr(to, "\nExamples:\n");
	for (; *lines != '\0'; lines += strspn(lines, "\n")) {
		size_t n = strcspn(lines, "\n");

		buf_addf(to, "  %.*s\n", (int)n, lines);
		lines += n;
	}
}

static void
add_exits(struct buf *to, const char *digits)
{
	buf_addstr(to, "\nExit codes:\n");
	for (; *digits != '\0'; digits++) {
		buf_addf(to, "  %c  ", *digits);
		wrap(to, args_exit_words[*digits - '0'], 5, 5);
	}
	buf_addstr(to, "  130, 143  stopped by SIGINT, SIGTERM\n");
}

static void
help_command(struct buf *to, const struct command *c)
{
	buf_addf(to, "Usage: holdfast %s [OPTION]...%s%s\n\n", c->name, c->operands[0] != '\0' ? " " : "", c->operands);
	wrap(to, c->about, 0, 0);
	if (c->options != NULL) {
		buf_addstr(to, "\nOptions:\n");
		add_options(to, c->options);
	}
	if ((c->traits & COMMAND_OPENS) != 0) {
		buf_addstr(to, "\nThe repository is opened:\n");
		add_options(to, args_opening);
	}
	buf_addstr(to, "\nCommon options:\n");
	add_options(to, args_common);
	add_examples(to, c->examples);
	add_exits(to, c->exits);
}

static void
add_commands(struct buf *to, const char *group)
{
	for (const struct command *c = args_commands; c->name != NULL; c++)
		if (group == NULL || (strncmp(c->name, group, strlen(group)) == 0 && c->name[strlen(group)] == ' '))
			buf_addf(to, "  %-17s %s\n", c->name, c->summary);
}

static void
help_program(struct buf *to)
{
	buf_addstr(to, "Usage: holdfast [OPTION]... COMMAND [OPTION]...\n\n"
		"Backs up PostgreSQL, and proves that the backup can be restored.\n\nCommands:\n");
	add_commands(to, NULL);
	buf_addstr(to, "\nOptions:\n");
	add_options(to, args_common);
	add_examples(to, "holdfast check\nholdfast backup\nholdfast drill\nholdfast report --format html --output report.html");
	add_exits(to, "012345678");
	buf_addstr(to, "\nholdfast help COMMAND says more; man holdfast, man holdfast.cfg say all.\n");
}

char *
args_help(const struct command *command, const char *group)
{
	struct buf text = BUF_INIT;

	if (command != NULL) {
		help_command(&text, command);
	} else if (group != NULL) {
		buf_addf(&text, "Usage: holdfast %s COMMAND [OPTION]...\n\nCommands:\n", group);
		add_commands(&text, group);
		buf_addf(&text, "\nholdfast %s COMMAND --help says more.\n", group);
	} else {
		help_program(&text);
	}
	return buf_take(&text);
}
