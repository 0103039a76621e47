#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pg/archive_parts.h"

struct archive_entry *
archive_digest_entry(struct archive_digest *d, enum archive_type type)
{
	struct archive_entry *entry;

	if (d->n_entries == d->room_entries) {
		d->room_entries = d->room_entries == 0 ? 16 : 2 * d->room_entries;
		d->entries = mem_grow(d->entries, d->room_entries, sizeof(*d->entries));
	}
	entry = &d->entries[d->n_entries++];
	memset(entry, 0, sizeof(*entry));
	entry->type = type;
	return entry;
}

struct archive_item *
archive_digest_item(struct archive_digest *d)
{
	struct archive_item *item;

	if (d->n_items == d->room_items) {
		d->room_items = d->room_items == 0 ? 16 : 2 * d->room_items;
		d->items = mem_grow(d->items, d->room_items, sizeof(*d->items));
	}
	item = &d->items[d->n_items++];
	memset(item, 0, sizeof(*item));
	return item;
}

static void
free_strings(char **strings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(strings[i]);
	free(strings);
}

static void
free_item(struct archive_item *t)
{
	char *all[] = { t->desc, t->namespace, t->tag, t->owner, t->tablespace, t->tableam, t->defn };

	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
		free(all[k]);
	free(t->depends);
}

void
archive_digest_free(struct archive_digest *d)
{
	for (size_t i = 0; i < d->n_entries; i++) {
		free(d->entries[i].name);
		free_strings(d->entries[i].columns, d->entries[i].n_columns);
	}
	for (size_t i = 0; i < d->n_items; i++)
		free_item(&d->items[i]);
	free(d->entries);
	free(d->items);
	free(d->server_version);
	free(d->dump_version);
	*d = (struct archive_digest)ARCHIVE_DIGEST_INIT;
}

/* What pg_dump writes into every archive, whatever section it was asked for. */
static bool
is_in_every_archive(const struct archive_item *t)
{
	static const char *const always[] = { "ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES" };

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (strcmp(t->desc, always[i]) == 0)
			return true;
	return strncmp(t->tag, "DATABASE ", 9) == 0;            /* its comment, ACL, security label */
}

static bool
has_item(const struct archive_digest *d, const struct archive_item *t)
{
	for (size_t i = 0; i < d->n_items; i++)
		if (strcmp(d->items[i].desc, t->desc) == 0 && strcmp(d->items[i].tag, t->tag) == 0 && strcmp(d->items[i].defn, t->defn) == 0)
			return true;
	return false;
}

void
archive_digest_merge(struct archive_digest *to, struct archive_digest *from)
{
	for (size_t i = 0; i < from->n_entries; i++)
		*archive_digest_entry(to, ARCHIVE_TABLE) = from->entries[i];
	for (size_t i = 0; i < from->n_items; i++) {
		if (is_in_every_archive(&from->items[i]) && has_item(to, &from->items[i]))
			free_item(&from->items[i]);
		else
			*archive_digest_item(to) = from->items[i];
	}
	if (to->dump_version == NULL) {
		to->format_minor = from->format_minor;
		to->server_version = from->server_version;
		to->dump_version = from->dump_version;
		from->server_version = from->dump_version = NULL;
	}
	from->n_entries = from->n_items = 0;
	archive_digest_free(from);
}

static const char *const type_names[] = {
	[ARCHIVE_TABLE] = "table",
	[ARCHIVE_BLOB] = "blob",
	[ARCHIVE_SEQUENCE] = "sequence",
};
#define N_TYPES (sizeof(type_names) / sizeof(type_names[0]))

const char *
archive_type_name(enum archive_type type)
{
	assert((size_t)type < N_TYPES);
	return type_names[type];
}

struct expected {
	char *name;
	char **columns;
	size_t n;
};

struct archive_columns {
	struct expected *tables;
	size_t n, room;
};

struct archive_columns *
archive_columns_new(void)
{
	return mem_zero(1, sizeof(struct archive_columns));
}

void
archive_columns_add(struct archive_columns *c, const char *name, const char *const *columns, size_t n)
{
	struct expected *t;

	if (c->n == c->room) {
		c->room = c->room == 0 ? 16 : 2 * c->room;
		c->tables = mem_grow(c->tables, c->room, sizeof(*c->tables));
	}
	/* Kept sorted as it is filled, since it is read by several streams' threads at once; what fills it is sorted already,
	 * as a rule, and then nothing moves. */
	t = &c->tables[c->n++];
	for (; t > c->tables && strcmp(t[-1].name, name) > 0; t--)
		*t = t[-1];
	t->name = mem_strdup(name);
	t->columns = mem_zero(n + 1, sizeof(*t->columns));
	t->n = n;
	for (size_t i = 0; i < n; i++)
		t->columns[i] = mem_strdup(columns[i]);
}

void
archive_columns_free(struct archive_columns *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n; i++) {
		free(c->tables[i].name);
		free_strings(c->tables[i].columns, c->tables[i].n);
	}
	free(c->tables);
	free(c);
}

static int
name_order(const void *key, const void *table)
{
	return strcmp(key, ((const struct expected *)table)->name);
}

const char *const *
archive_columns_find(const struct archive_columns *c, const char *name, size_t *n)
{
	const struct expected *t = c == NULL || c->n == 0 ? NULL : bsearch(name, c->tables, c->n, sizeof(*c->tables), name_order);

	if (t == NULL)
		return NULL;
	*n = t->n;
	return (const char *const *)t->columns;
}

/* One identifier at *at, quoted or bare; NULL when there is none. */
static char *
take_ident(const char **at)
{
	struct buf name = BUF_INIT;
	const char *p = *at;

	if (*p != '"') {
		size_t n = strcspn(p, " ,.()\"");

		*at = p + n;
		return n > 0 ? mem_strndup(p, n) : NULL;
	}
	for (p++; *p != '\0' && (*p != '"' || p[1] == '"'); p++) {
		if (*p == '"')
			p++;
		buf_addc(&name, *p);
	}
	if (*p != '"' || name.bytes == 0) {
		buf_free(&name);
		return NULL;
	}
	*at = p + 1;
	return buf_take(&name);
}

static bool
skip_qualified_name(const char **at)
{
	for (;;) {
		char *part = take_ident(at);

		if (part == NULL)
			return false;
		free(part);
		if (**at != '.')
			return true;
		++*at;
	}
}

bool
archive_copy_columns(char ***columns, size_t *n, const char *statement)
{
	const char *at = statement;
	size_t room = 0;

	*columns = NULL;
	*n = 0;
	if (strncmp(at, "COPY ", 5) != 0)
		return false;
	at += 5;
	if (!skip_qualified_name(&at) || *at++ != ' ')
		return false;
	if (*at == '(') {
		do {
			at += *n == 0 ? 1 : 2;          /* "(" before the first, ", " before each other */
			if (*n == room) {
				room = room == 0 ? 16 : 2 * room;
				*columns = mem_grow(*columns, room, sizeof(**columns));
			}
			if (((*columns)[*n] = take_ident(&at)) == NULL)
				goto no;
			++*n;
		} while (at[0] == ',' && at[1] == ' ');
		if (*at++ != ')')
			goto no;
	}
	/* A table without columns has "COPY a.b  FROM stdin;", with two spaces. */
	if (strncmp(at, " FROM stdin;", 12) == 0)
		return true;
no:
	free_strings(*columns, *n);
	*columns = NULL;
	*n = 0;
	return false;
}
