#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/text.h"
#include "base/width.h"

enum { STATE = 9 };                     /* columns of "WARNING  " */

static void
list_holders(struct buf *to, const json_t *holders, const struct grid_look *look)
{
	struct grid *t = grid_new(look, "HOLDER|NAME|KIND|ROLE|>EPOCH|CREATED (UTC)|NOTE");
	json_t *x;
	size_t i;
	char id[13];

	json_array_foreach(holders, i, x) {
		struct buf note = BUF_INIT;

		/* R29: what a rotation superseded stays until the next one. */
		if (json_is_true(json_object_get(x, "self")))
			buf_addstr(&note, "this key");
		if (json_opt_int(x, "superseded", 0) > 0) {
			buf_addstr(&note, note.bytes > 0 ? ", " : "");
			text_count(&note, json_opt_int(x, "superseded", 0), "older object kept", "older objects kept");
		}
		buf_add(&note, NULL, 0);
		snprintf(id, sizeof(id), "%s", json_opt_str(x, "id", "?"));
		grid_cell(t, GRID_PLAIN, id);
		grid_cell(t, GRID_PLAIN, json_opt_str(x, "name", ""));
		grid_cell(t, GRID_PLAIN, json_opt_str(x, "kind", ""));
		grid_cell(t, GRID_PLAIN, json_opt_str(x, "role", ""));
		text_number(t, x, "epoch");
		text_time(t, x, "created");
		grid_cell(t, GRID_DIM, (char *)note.data);
		buf_free(&note);
	}
	if (!grid_is_empty(t) && to->bytes > 0)
		buf_addc(to, '\n');
	grid_end(t, to);
}

/* What somebody put below keys/, and what it claims to be. */
static void
list_foreign(struct buf *to, const json_t *foreign)
{
	json_t *x;
	size_t i;

	json_array_foreach(foreign, i, x) {
		buf_addstr(to, i == 0 ? "\nforeign    " : "           ");
		width_add(to, json_opt_str(x, "object", "?"), 64);
		if (json_opt_str(x, "role", NULL) != NULL) {
			buf_addstr(to, " says it is \"");
			width_add(to, json_opt_str(x, "name", "?"), 64);
			buf_addstr(to, "\" (");
			width_add(to, json_opt_str(x, "role", "?"), 16);
			buf_addstr(to, ")");
		}
		buf_addc(to, '\n');
	}
}

static const json_t *
holder_of(const json_t *o, const char *id)
{
	json_t *x;
	size_t i;

	json_array_foreach(json_object_get(o, "holders"), i, x)
		if (strcmp(json_opt_str(x, "id", ""), id) == 0)
			return x;
	return NULL;
}

/* "\"nightly\" (agent, 5c0d9a21f00d)" */
static void
add_holder(struct buf *to, const json_t *holder)
{
	buf_addc(to, '"');
	width_add(to, json_opt_str(holder, "name", "?"), 64);
	buf_addf(to, "\" (%.16s, %.12s)", json_opt_str(holder, "role", "?"), json_opt_str(holder, "id", "?"));
}

/* Who gets the new key is what somebody who rotates must look at. */
static void
say_rotated(struct buf *to, const json_t *o)
{
	const json_t *holders = json_object_get(o, "holders");
	json_t *x;
	size_t i;

	buf_addf(to, "Epoch %" PRId64 " has begun: what comes from now on is sealed to a new key, which ", json_opt_int(o, "epoch", 0));
	text_count(to, (int64_t)json_array_size(holders), "holder has:\n", "holders have:\n");
	json_array_foreach(holders, i, x) {
		buf_addstr(to, "  ");
		add_holder(to, x);
		buf_addf(to, ", public key %.32s\n", json_opt_str(x, "public_key", "?"));
	}
	buf_addstr(to, "If you do not know one of them: `holdfast keys remove`, then rotate again.\n");
}

static void
say_added(struct buf *to, const json_t *o, const json_t *holder)
{
	const json_t *members = json_object_get(o, "key_file");

	add_holder(to, holder);
	buf_addstr(to, strcmp(json_opt_str(holder, "role", ""), "agent") == 0 ? " can back up now, and not read.\n" : " can back up now, and read every backup.\n");
	if (strcmp(json_opt_str(holder, "kind", ""), "passphrase") == 0)
		return;
	buf_addstr(to, "\nSo that its key knows this repository again, and no other put in its place: paste these two lines behind the first \"{\" of its\n"
	    "key file, the one that `holdfast keys identity` wrote on its machine:\n\n  \"pin\": \"");
	width_add(to, json_opt_str(members, "pin", ""), 64);
	buf_addstr(to, "\",\n  \"repository\": \"");
	width_add(to, json_opt_str(members, "repository", ""), 36);
	buf_addstr(to, "\",\n");
}

static void
say_written(struct buf *to, const json_t *o)
{
	json_t *x;
	size_t i;

	if (json_opt_str(o, "repository", NULL) != NULL) {
		buf_addstr(to, "repository ");
		width_add(to, json_opt_str(o, "repository", ""), 80);
		buf_addc(to, '\n');
	}
	if (json_opt_str(o, "public_key", NULL) != NULL) {
		buf_addstr(to, "public key ");
		width_add(to, json_opt_str(o, "public_key", ""), 200);
		buf_addc(to, '\n');
	}
	json_array_foreach(json_object_get(o, "written"), i, x) {
		buf_addstr(to, "written    ");
		width_add(to, json_string_value(x) != NULL ? json_string_value(x) : "?", 4096);
		buf_addc(to, '\n');
	}
}

static void
say_made(struct buf *to, const json_t *o)
{
	json_t *holder;
	size_t i;

	json_array_foreach(json_object_get(o, "holders"), i, holder) {
		buf_addstr(to, i == 0 ? "opened by  " : ", ");
		add_holder(to, holder);
	}
	buf_addstr(to, "\n\nKeep a copy of the first key, and the passphrase if there is one, away from this machine and from the repository:\n"
	    "without one of them nobody can ever read a backup. The repository needs nothing else to be restored from.\n"
	    "Next: `holdfast check`, then `holdfast backup`.\n");
}

/* One outcome has what each of these did; a table of all holders is for whoever asks for it. */
void
text_keys(struct buf *to, const json_t *o, const struct grid_look *look)
{
	const json_t *removed = json_object_get(o, "removed"), *added = holder_of(o, json_opt_str(o, "holder", ""));

	if (added != NULL) {
		say_added(to, o, added);
	} else if (removed != NULL) {
		add_holder(to, removed);
		buf_addstr(to, " was removed. `holdfast keys rotate` should follow: it may have kept a copy of what it could open.\n");
	} else if (json_opt_int(o, "epoch", 0) > 0) {
		say_rotated(to, o);
	} else {
		say_written(to, o);
		if (strcmp(json_opt_str(o, "command", ""), "init") == 0)
			say_made(to, o);
		else
			list_holders(to, json_object_get(o, "holders"), look);
		list_foreign(to, json_object_get(o, "foreign"));
	}
}

void
text_verify(struct buf *to, const json_t *o, const struct grid_look *look)
{
	struct grid *t = grid_new(look, "OBJECT|WHAT|BACKUPS HIT");
	const json_t *problems = json_object_get(o, "problems");
	char human[32], id[14];
	json_t *p, *b;
	size_t i, j;

	json_array_foreach(problems, i, p) {
		struct buf hit = BUF_INIT;

		grid_cell(t, GRID_RED, json_opt_str(p, "object", "?"));
		grid_cell(t, GRID_PLAIN, json_opt_str(p, "what", ""));
		json_array_foreach(json_object_get(p, "affects"), j, b) {
			snprintf(id, sizeof(id), "%.12s", json_string_value(b) != NULL ? json_string_value(b) : "?");
			buf_addf(&hit, "%s%s", j > 0 ? ", " : "", id);
		}
		buf_add(&hit, NULL, 0);
		grid_cell(t, GRID_PLAIN, (char *)hit.data);
		buf_free(&hit);
	}
	grid_end(t, to);
	if (json_array_size(problems) == 0)
		grid_paint(to, look, GRID_GREEN, "all there");
	else
		text_count(to, (int64_t)json_array_size(problems), "problem", "problems");
	buf_addstr(to, ": ");
	text_count(to, json_opt_int(o, "backups", 0), "backup", "backups");
	buf_addstr(to, ", ");
	text_count(to, json_opt_int(o, "chunks", 0), "chunk", "chunks");
	buf_addstr(to, " in ");
	text_count(to, json_opt_int(o, "packs", 0), "pack", "packs");
	buf_addstr(to, ", ");
	text_count(to, json_opt_int(o, "objects", 0), "object", "objects");
	buf_addstr(to, "\n");
	if (json_is_true(json_object_get(o, "data")))
		buf_addf(to, "every byte was read (%s)\n", bytes_human(human, (uint64_t)json_opt_int(o, "bytes_read", 0)));
	else
		buf_addstr(to, "only the structure was looked at: --data reads every byte\n");
	if (json_opt_int(o, "unreferenced_bytes", 0) > 0)
		buf_addf(to, "%s belong to no backup; expire will sweep them\n", bytes_human(human, (uint64_t)json_opt_int(o, "unreferenced_bytes", 0)));
}

static void
add_effective(struct buf *to, const json_t *effective, const struct grid_look *look)
{
	struct grid *t = grid_new(look, "KEY|VALUE|FROM");
	json_t *x;
	size_t i;

	json_array_foreach(effective, i, x) {
		const char *value = json_opt_str(x, "value", NULL);
		bool set = strcmp(json_opt_str(x, "from", "default"), "default") != 0;

		grid_cell(t, set ? GRID_BOLD : GRID_PLAIN, json_opt_str(x, "key", "?"));
		grid_cell(t, value == NULL ? GRID_DIM : GRID_PLAIN, value == NULL ? "(not set)" : value[0] == '\0' ? "(none)" : value);
		grid_cell(t, set ? GRID_PLAIN : GRID_DIM, json_opt_str(x, "where", json_opt_str(x, "from", "")));
	}
	grid_end(t, to);
}

/* What is found: at column `at` where all of it fits there, else in whole lines below. */
static void
add_detail(struct buf *to, const char *detail, size_t at, const struct grid_look *look)
{
	if (look->columns == 0 || at + width_of(detail) <= look->columns || look->columns < 40) {
		width_add(to, detail, SIZE_MAX);
		buf_addc(to, '\n');
		return;
	}
	while (to->data[to->bytes - 1] == ' ')
		to->bytes--;
	while (*detail != '\0') {
		char *line = width_line(&detail, look->columns - STATE);

		buf_addf(to, "\n%*s", STATE, "");
		width_add(to, line, SIZE_MAX);
		free(line);
	}
	buf_addc(to, '\n');
}

void
text_check(struct buf *to, const json_t *o, const struct grid_look *look)
{
	static const struct { const char *state, *shown; enum grid_colour colour; } states[] = {
		{ "ok", "ok", GRID_GREEN }, { "warning", "WARNING", GRID_YELLOW }, { "skipped", "-", GRID_DIM }, { "error", "ERROR", GRID_RED },
	};
	const json_t *lines = json_object_get(o, "lines");
	size_t area = 4, what = 4, i;
	json_t *x;

	if (json_is_array(json_object_get(o, "effective"))) {
		add_effective(to, json_object_get(o, "effective"), look);
		return;
	}
	json_array_foreach(lines, i, x) {
		size_t a = width_of(json_opt_str(x, "area", "")), w = width_of(json_opt_str(x, "what", ""));

		area = a > area && a <= 30 ? a : area;
		what = w > what && w <= 40 ? w : what;
	}
	/* No table: the fix stands beneath its line, in one piece, so that it can be copied. */
	json_array_foreach(lines, i, x) {
		const char *detail = json_opt_str(x, "detail", "");
		size_t s = 0, used, at = STATE + area + 2 + what + 2;

		while (s < 3 && strcmp(states[s].state, json_opt_str(x, "state", "error")) != 0)
			s++;
		grid_paint(to, look, states[s].colour, states[s].shown);
		buf_addf(to, "%*s", (int)(STATE - strlen(states[s].shown)), "");
		used = width_add(to, json_opt_str(x, "area", ""), area);
		buf_addf(to, "%*s", (int)(area + 2 - used), "");
		used = width_add(to, json_opt_str(x, "what", ""), what);
		buf_addf(to, "%*s", (int)(what + 2 - used), "");
		add_detail(to, detail, at, look);
		if (json_opt_str(x, "fix", "")[0] != '\0') {
			buf_addf(to, "%*s", STATE, "");
			width_add(to, json_opt_str(x, "fix", ""), SIZE_MAX);
			buf_addc(to, '\n');
		}
	}
}

/* What was condemned earlier and is still there, and why. */
static void
add_waiting(struct buf *to, const json_t *o)
{
	if (json_opt_int(o, "waiting_packs", 0) == 0)
		return;
	text_count(to, json_opt_int(o, "waiting_packs", 0), "pack", "packs");
	if (json_opt_str(o, "held_up", NULL) != NULL)
		buf_addf(to, " condemned earlier will be deleted by a later run: %s\n", json_opt_str(o, "held_up", ""));
	else
		buf_addstr(to, " condemned earlier will be deleted when keep.grace is over\n");
}

void
text_expire(struct buf *to, const json_t *o, const struct grid_look *look)
{
	struct grid *t = grid_new(look, "BACKUP|TIME (UTC)|ACTION|WHY");
	char human[32], id[13];
	size_t deletions = 0;
	json_t *x, *w;
	size_t i, j;

	json_array_foreach(json_object_get(o, "plan"), i, x) {
		bool goes = strcmp(json_opt_str(x, "action", ""), "delete") == 0;
		struct buf why = BUF_INIT;

		deletions += goes;

		snprintf(id, sizeof(id), "%s", json_opt_str(x, "backup", "?"));
		grid_cell(t, GRID_PLAIN, id);
		text_time(t, x, "time");
		grid_cell(t, goes ? GRID_YELLOW : GRID_PLAIN, json_opt_str(x, "action", "?"));
		json_array_foreach(json_object_get(x, "why"), j, w)
			buf_addf(&why, "%s%s", j > 0 ? ", " : "", json_string_value(w) != NULL ? json_string_value(w) : "?");
		buf_add(&why, NULL, 0);
		grid_cell(t, GRID_PLAIN, (char *)why.data);
		buf_free(&why);
	}
	grid_end(t, to);
	/* A plan has swept nothing. */
	if (json_object_get(o, "deleted_packs") == NULL) {
		buf_addf(to, "\nThis is the plan; nothing was deleted.%s\n", deletions > 0 ? " `holdfast expire` does it." : "");
		return;
	}
	buf_addc(to, '\n');
	if (json_opt_int(o, "deleted_backups", 0) + json_opt_int(o, "deleted_packs", 0) + json_opt_int(o, "condemned_packs", 0) == 0) {
		buf_addstr(to, "Nothing was deleted now.\n");
		add_waiting(to, o);
		return;
	}
	text_count(to, json_opt_int(o, "deleted_backups", 0), "backup", "backups");
	buf_addstr(to, " deleted; ");
	text_count(to, json_opt_int(o, "deleted_packs", 0), "pack", "packs");
	buf_addf(to, " (%s) deleted, ", bytes_human(human, (uint64_t)json_opt_int(o, "deleted_bytes", 0)));
	text_count(to, json_opt_int(o, "condemned_packs", 0), "pack", "packs");
	buf_addf(to, " (%s) condemned, to be deleted after keep.grace\n", bytes_human(human, (uint64_t)json_opt_int(o, "condemned_bytes", 0)));
	add_waiting(to, o);
}
