#include <stdio.h>
#include <string.h>

#include "agent/args.h"
#include "base/bytes.h"

/* The words of "a|b|c" with spaces. */
static void
add_words(struct buf *to, const char *words)
{
	for (; *words != '\0'; words++)
		buf_addc(to, *words == '|' ? ' ' : *words);
}

/* "    --format) words="text md" ;;" for each option whose value can be completed. */
static void
add_values(struct buf *to, const char *command, const struct option_row *row)
{
	for (; row != NULL && row->name != NULL; row++) {
		if (row->argument == NULL)
			continue;
		buf_addf(to, "\t\"%s --%s\"", command, row->name);
		if (row->letter != 0)
			buf_addf(to, "|\"%s -%c\"", command, row->letter);
		buf_addstr(to, ") ");
		if (row->kind == OPTION_FILE)
			buf_addstr(to, "COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null; return ;;\n");
		else if (row->kind == OPTION_WORD) {
			buf_addstr(to, "COMPREPLY=($(compgen -W \"");
			add_words(to, row->argument);
			buf_addstr(to, "\" -- \"$cur\")); return ;;\n");
		} else
			buf_addstr(to, "return ;;\n");
	}
}

static void
add_options(struct buf *to, const struct option_row *row)
{
	for (; row != NULL && row->name != NULL; row++)
		buf_addf(to, " --%s%s", row->name, row->argument != NULL ? "=" : "");
}

/* First words, each once; a group's name stands for its commands. */
static void
add_first_words(struct buf *to)
{
	for (const struct command *c = args_commands; c->name != NULL; c++) {
		size_t n = strcspn(c->name, " ");

		if (c > args_commands && strncmp(c[-1].name, c->name, n) == 0 && (c[-1].name[n] == ' ' || c[-1].name[n] == '\0'))
			continue;
		buf_addf(to, " %.*s", (int)n, c->name);
	}
}

static void
add_groups(struct buf *to)
{
	for (const struct command *c = args_commands; c->name != NULL; c++) {
		size_t n = strcspn(c->name, " ");

		if (c->name[n] == '\0' || (c > args_commands && strncmp(c[-1].name, c->name, n + 1) == 0))
			continue;
		buf_addf(to, "\t%.*s) COMPREPLY=($(compgen -W \"", (int)n, c->name);
		for (const struct command *d = c; d->name != NULL && strncmp(d->name, c->name, n + 1) == 0; d++)
			buf_addf(to, "%s%s", d == c ? "" : " ", d->name + n + 1);
		buf_addstr(to, "\" -- \"$cur\")); return ;;\n");
	}
}

/* Words of the line up to the cursor, less options and their values: they are the command. */
static const char prologue[] =
	"# bash completion for holdfast; made by `holdfast completion bash`\n"
	"_holdfast()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= word i\n"
	"\tCOMPREPLY=()\n"
	"\t# \"--format=md\" arrives as three words.\n"
	"\tif [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tcase $word in\n"
	"\t\t-c|--config|--log-format) ((i++)); [[ ${COMP_WORDS[i]} == = ]] && ((i++)) ;;\n"
	"\t\t-*|=) ;;\n"
	"\t\t*) if [[ -z $command ]]; then command=$word\n"
	"\t\t   elif [[ \" $groups \" == *\" $command \"* ]]; then command+=\" $word\"; break\n"
	"\t\t   else break; fi ;;\n"
	"\t\tesac\n"
	"\tdone\n";

static void
add_group_names(struct buf *to)
{
	buf_addstr(to, "\tlocal groups=\"");
	for (const struct command *c = args_commands; c->name != NULL; c++) {
		size_t n = strcspn(c->name, " ");

		if (c->name[n] == ' ' && (c == args_commands || strncmp(c[-1].name, c->name, n + 1) != 0))
			buf_addf(to, " %.*s", (int)n, c->name);
	}
	buf_addstr(to, "\"\n");
}

char *
args_completion_bash(void)
{
	struct buf text = BUF_INIT;
	const char *body = strstr(prologue, "\tCOMPREPLY=()");

	buf_add(&text, prologue, (size_t)(body - prologue));
	add_group_names(&text);
	buf_addstr(&text, body);
	/* A value: of a common option, whatever the command, or of one of the command's own. */
	buf_addstr(&text, "\tcase \"- $prev\" in\n");
	add_values(&text, "-", args_common);
	buf_addstr(&text, "\tesac\n\tcase \"$command $prev\" in\n");
	for (const struct command *c = args_commands; c->name != NULL; c++) {
		add_values(&text, c->name, c->options);
		if ((c->traits & COMMAND_OPENS) != 0)
			add_values(&text, c->name, args_opening);
	}
	buf_addstr(&text, "\tesac\n\tcase $command in\n\t\"\") COMPREPLY=($(compgen -W \"");
	add_first_words(&text);
	buf_addstr(&text, " help");
	add_options(&text, args_common);
	buf_addstr(&text, "\" -- \"$cur\")) ;;\n\thelp) COMPREPLY=($(compgen -W \"");
	add_first_words(&text);
	buf_addstr(&text, "\" -- \"$cur\")) ;;\n");
	add_groups(&text);
	for (const struct command *c = args_commands; c->name != NULL; c++) {
		buf_addf(&text, "\t\"%s\") [[ $cur == -* ]] && COMPREPLY=($(compgen -W \"", c->name);
		add_options(&text, c->options);
		if ((c->traits & COMMAND_OPENS) != 0)
			add_options(&text, args_opening);
		add_options(&text, args_common);
		buf_addstr(&text, "\" -- \"$cur\")) ;;\n");
	}
	buf_addstr(&text, "\tesac\n"
		"\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null\n"
		"\treturn 0\n"
		"}\n"
		"complete -F _holdfast holdfast\n");
	return buf_take(&text);
}
