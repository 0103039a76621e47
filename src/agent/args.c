#include "agent/args.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/near.h"

enum { OPTIONS_MAX = 48, LONG_BASE = 256 };

/* What getopt_long wants, made from the rows of a command. */
struct spec {
	const struct option_row *rows[OPTIONS_MAX];
	bool seen[OPTIONS_MAX];
	struct option longs[OPTIONS_MAX + 1];
	char letters[2 * OPTIONS_MAX + 3];
	size_t count;
};

static void
add_rows(struct spec *s, const struct option_row *row)
{
	size_t n = strlen(s->letters);

	for (; row != NULL && row->name != NULL && s->count < OPTIONS_MAX; row++) {
		s->rows[s->count] = row;
		s->longs[s->count] = (struct option){ row->name, row->argument != NULL ? required_argument : no_argument, NULL, LONG_BASE + (int)s->count };
		s->count++;
		if (row->letter == 0)
			continue;
		s->letters[n++] = row->letter;
		if (row->argument != NULL)
			s->letters[n++] = ':';
	}
}

static const struct option_row *
row_of(struct spec *s, int value, bool **seen)
{
	for (size_t i = 0; i < s->count; i++)
		if (value == LONG_BASE + (int)i || (s->rows[i]->letter != 0 && value == s->rows[i]->letter)) {
			*seen = &s->seen[i];
			return s->rows[i];
		}
	return NULL;
}

static bool
is_word(const char *words, const char *text)
{
	size_t bytes = strlen(text);

	for (const char *p = words; *p != '\0'; p += strspn(p, "|")) {
		size_t n = strcspn(p, "|");

		if (n == bytes && strncmp(p, text, n) == 0)
			return true;
		p += n;
	}
	return false;
}

static void
append(struct args_list *list, const char *item)
{
	list->items = mem_grow(list->items, list->count + 2, sizeof(*list->items));
	list->items[list->count++] = item;
	list->items[list->count] = NULL;
}

static int
store(struct args *a, const struct option_row *row, bool *seen, const char *text, struct err *e)
{
	char *place = (char *)a + row->at, *end;
	unsigned long v;
	unsigned small;

	/* The last of two would win in silence, and a script would do what its reader does not see. */
	if (*seen && row->kind != OPTION_FLAG && row->kind != OPTION_LIST)
		return err_set(e, ERR_USAGE, "option \"--%s\" is given twice", row->name);
	*seen = true;
	if (row->kind == OPTION_FLAG) {
		memcpy(place, &(bool){ true }, sizeof(bool));
		return 0;
	}
	if (text[0] == '\0')
		return err_set(e, ERR_USAGE, "option \"--%s\" is given an empty value", row->name);
	if (row->kind == OPTION_WORD && !is_word(row->argument, text))
		return err_set(e, ERR_USAGE, "option \"--%s\" takes %s, not \"%.64s\"", row->name, row->argument, text);
	if (row->kind == OPTION_LIST) {
		struct args_list list;

		memcpy(&list, place, sizeof(list));
		append(&list, text);
		memcpy(place, &list, sizeof(list));
		return 0;
	}
	if (row->kind == OPTION_NUMBER) {
		errno = 0;
		v = strtoul(text, &end, 10);
		if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || v < 1 || v > 64)
			return err_set(e, ERR_USAGE, "option \"--%s\" takes a number from 1 to 64, not \"%.64s\"", row->name, text);
		small = (unsigned)v;
		memcpy(place, &small, sizeof(small));
		return 0;
	}
	memcpy(place, &text, sizeof(text));
	return 0;
}

/* getopt_long found something that it does not know: says what, and what may have been meant. */
static int
refuse(struct spec *s, int found, const char *word, const char *command, struct err *e)
{
	char name[64];
	struct near near = { .wanted = name };
	bool *seen;
	const struct option_row *row = optopt != 0 ? row_of(s, optopt, &seen) : NULL;

	if (row != NULL && found == ':')
		return err_set(e, ERR_USAGE, "option \"--%s\" needs a value: %s", row->name, row->argument);
	if (row != NULL)
		return err_set(e, ERR_USAGE, "option \"--%s\" takes no value", row->name);
	if (optopt != 0 && optopt < LONG_BASE) {
		err_set(e, ERR_USAGE, "unknown option \"-%c\"", optopt);
		return err_hint(e, "holdfast %s --help lists the options.", command);
	}
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	for (size_t i = 0; i < s->count; i++)
		near_offer(&near, s->rows[i]->name);
	if (near.best != NULL)
		err_set(e, ERR_USAGE, "unknown option \"--%s\": is \"--%s\" meant?", name, near.best);
	else
		err_set(e, ERR_USAGE, "unknown option \"--%s\"", name);
	return err_hint(e, command[0] != '\0' ? "holdfast %s --help lists the options." : "holdfast --help lists them%s.", command);
}

/* One pass of getopt_long over options of `s`. */
static int
read_options(struct args *a, struct spec *s, const char *command, int argc, char **argv, struct err *e)
{
	int found;

	optind = 0;                     /* glibc: begin anew */
	opterr = 0;
	while ((found = getopt_long(argc, argv, s->letters, s->longs, NULL)) != -1) {
		bool *seen;
		const struct option_row *row = found == '?' || found == ':' ? NULL : row_of(s, found, &seen);

		if (row == NULL)
			return refuse(s, found, argv[optind - 1], command, e);
		if (store(a, row, seen, optarg, e))
			return -1;
	}
	return 0;
}

bool
args_is_group(const char *name)
{
	size_t n = strlen(name);

	for (const struct command *c = args_commands; c->name != NULL; c++)
		if (strncmp(c->name, name, n) == 0 && c->name[n] == ' ')
			return true;
	return false;
}

static const struct command *
find(const char *name)
{
	for (const struct command *c = args_commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static int
unknown_command(const char *name, const char *group, struct err *e)
{
	struct near near = { .wanted = name };
	size_t skip = group == NULL ? 0 : strlen(group) + 1;
	char first[64];

	for (const struct command *c = args_commands; c->name != NULL; c++) {
		if (group != NULL && (strncmp(c->name, group, skip - 1) != 0 || c->name[skip - 1] != ' '))
			continue;
		near_offer(&near, c->name + skip);
		/* "key" is meant to be "keys", not "keys add". */
		if (group == NULL && strchr(c->name, ' ') != NULL) {
			struct near whole = { .wanted = name };

			snprintf(first, sizeof(first), "%.*s", (int)strcspn(c->name, " "), c->name);
			near_offer(&whole, first);
			if (whole.best != NULL && (near.best == NULL || strchr(near.best, ' ') != NULL || whole.distance < near.distance)) {
				err_set(e, ERR_USAGE, "unknown command \"%.64s\": is \"%s\" meant?", name, first);
				return err_hint(e, "holdfast --help lists the commands.");
			}
		}
	}
	if (near.best != NULL)
		err_set(e, ERR_USAGE, "unknown command \"%s%s%.64s\": is \"%s\" meant?", group != NULL ? group : "", group != NULL ? " " : "", name, near.best);
	else
		err_set(e, ERR_USAGE, "unknown command \"%s%s%.64s\"", group != NULL ? group : "", group != NULL ? " " : "", name);
	return err_hint(e, "holdfast %s%s--help lists the commands.", group != NULL ? group : "", group != NULL ? " " : "");
}

/* Finds the command at argv[0]; *used words make its name. */
static int
read_command(struct args *a, const struct command **command, const char **group, int argc, char **argv, int *used, struct err *e)
{
	char name[64];

	*used = 1;
	if (!args_is_group(argv[0])) {
		*command = find(argv[0]);
		return *command != NULL ? 0 : unknown_command(argv[0], NULL, e);
	}
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		a->help = true;
		*group = argv[0];
		return 0;
	}
	if (argc < 2 || argv[1][0] == '-') {
		err_set(e, ERR_USAGE, "\"%s\" needs a word more", argv[0]);
		return err_hint(e, "holdfast %s --help lists them.", argv[0]);
	}
	*used = 2;
	snprintf(name, sizeof(name), "%.30s %.30s", argv[0], argv[1]);
	*command = find(name);
	return *command != NULL ? 0 : unknown_command(argv[1], argv[0], e);
}

static int
read_operands(struct args *a, const struct command *c, int argc, char **argv, struct err *e)
{
	for (int i = optind; i < argc; i++) {
		if (a->operand_count == c->most) {
			err_set(e, ERR_USAGE, "\"%s\" does not take \"%.64s\"", c->name, argv[i]);
			return err_hint(e, "Usage: holdfast %s [OPTION]... %s", c->name, c->operands);
		}
		if (argv[i][0] == '\0')
			return err_set(e, ERR_USAGE, "\"%s\" is given an empty word", c->name);
		a->operands[a->operand_count++] = argv[i];
	}
	if (a->operand_count < c->least) {
		err_set(e, ERR_USAGE, "\"%s\" needs %s", c->name, c->operands);
		return err_hint(e, "Usage: holdfast %s [OPTION]... %s", c->name, c->operands);
	}
	return 0;
}

static int
read_rest(struct args *a, const struct command *c, int argc, char **argv, struct err *e)
{
	struct spec s = { .letters = ":" };

	add_rows(&s, args_common);
	add_rows(&s, c->options);
	if ((c->traits & COMMAND_OPENS) != 0)
		add_rows(&s, args_opening);
	if (read_options(a, &s, c->name, argc, argv, e))
		return -1;
	if (a->help)
		return 0;
	for (size_t i = 0; i < s.count; i++)
		if (s.rows[i]->required && !s.seen[i])
			return err_set(e, ERR_USAGE, "\"%s\" needs the option \"--%s %s\"", c->name, s.rows[i]->name, s.rows[i]->argument);
	return read_operands(a, c, argc, argv, e);
}

int
args_parse(struct args *a, const struct command **command, const char **group, int argc, char **argv, struct err *e)
{
	struct spec s = { .letters = "+:" };
	int used;

	*command = NULL;
	*group = NULL;
	/* First what stands before the command, up to the first word that is no option. */
	add_rows(&s, args_common);
	if (read_options(a, &s, "", argc, argv, e))
		return -1;
	argc -= optind;
	argv += optind;
	if (a->help || a->version)
		return 0;
	if (argc < 1) {
		err_set(e, ERR_USAGE, "no command is given");
		return err_hint(e, "holdfast --help lists the commands.");
	}
	/* "holdfast help backup", as half of all programs have it. */
	if (strcmp(argv[0], "help") == 0) {
		a->help = true;
		if (argc == 1)
			return 0;
		argc--;
		argv++;
		if (argc == 1 && args_is_group(argv[0])) {
			*group = argv[0];
			return 0;
		}
		return read_command(a, command, group, argc, argv, &used, e);
	}
	if (read_command(a, command, group, argc, argv, &used, e))
		return -1;
	if (*command != NULL && read_rest(a, *command, argc - used + 1, argv + used - 1, e))
		return -1;
	if (a->quiet && a->verbose)
		return err_set(e, ERR_USAGE, "--quiet and --verbose contradict each other");
	if (a->key_file != NULL && a->passphrase_file != NULL)
		return err_set(e, ERR_USAGE, "either --key-file or --passphrase-file opens the repository, not both");
	return 0;
}

void
args_free(struct args *a)
{
	free(a->databases.items);
	free(a->tables.items);
	free(a->schemas.items);
}
