#include "pg/restore.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rand.h"
#include "pg/childenv.h"
#include "pg/conn_private.h"
#include "pg/restore_parts.h"

#define LISTING_MOST (256u << 20)

struct restore *
restore_new(const struct restore_options *o, struct err *e)
{
	struct restore *r = mem_zero(1, sizeof(*r));
	struct buf options = BUF_INIT, name = BUF_INIT;

	(void)e;
	r->o = *o;
	/* Timeouts of the role or the server are for applications.  No commit waits for the disk: restore_end does, for all. */
	buf_addstr(&options, "-c synchronous_commit=off -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
	    " -c default_transaction_read_only=off");
	if (o->sort_bytes > 0)
		buf_addf(&options, " -c maintenance_work_mem=%llukB", (unsigned long long)(o->sort_bytes / 1024));
	r->options = buf_take(&options);
	buf_addstr(&name, "dbname='");
	for (const char *p = o->database; *p != '\0'; p++) {
		if (*p == '\'' || *p == '\\')
			buf_addc(&name, '\\');
		buf_addc(&name, *p);
	}
	buf_addstr(&name, "'");
	r->conninfo = buf_take(&name);
	r->left_out = json_array();
	return r;
}

void
restore_free(struct restore *r)
{
	if (r == NULL)
		return;
	free(r->options);
	free(r->conninfo);
	json_decref(r->found);
	json_decref(r->left_out);
	free(r);
}

/* ---- one pg_restore ---- */

struct job {
	struct childenv *env;
	struct child *child;
};

static void
job_end(struct job *j)
{
	child_free(j->child);
	childenv_free(j->env);
	*j = (struct job){ .env = NULL };
}

/* Want of room is no fault of the archive (R10).  pg_restore ends with status 1 for all it does not like, and its words tell more. */
static int
job_failed(const struct job *j, struct err *e)
{
	if (e->kind == ERR_FAILED && conn_wants_room(child_stderr(j->child)))
		e->kind = ERR_SPACE;
	return -1;
}

/* Starts pg_restore with `more` arguments.  `listing`: it only reads the archive, and connects to nothing. */
static int
job_start(struct job *j, struct restore *r, const char *name, const char *const *more, bool in, bool listing, struct err *e)
{
	const char *argv[16] = { r->o.tools->pg_restore };
	struct pg_target target = *r->o.target;
	struct child_spec spec = { .name = name, .argv = argv, .pipe_in = in, .pipe_out = listing, .prepare = childenv_prepare,
		.prepare_what = CAGE_WHAT };
	size_t n = 1;

	target.cage = r->o.cage;
	if ((j->env = childenv_new(&target, NULL, r->options, e)) == NULL)
		return -1;
	if (listing) {
		argv[n++] = "--list";
	} else {
		argv[n++] = "--exit-on-error";
		argv[n++] = "--no-password";
		argv[n++] = "-d";
		argv[n++] = r->conninfo;
		if (r->o.no_owner)
			argv[n++] = "--no-owner";
		if (r->o.no_tablespaces)
			argv[n++] = "--no-tablespaces";
	}
	for (; more != NULL && *more != NULL && n < 15; more++)
		argv[n++] = *more;
	argv[n] = NULL;
	spec.env = childenv_list(j->env);
	spec.prepare_ctx = j->env;
	j->child = child_start(&spec, e);
	if (j->child == NULL)
		job_end(j);
	return j->child == NULL ? -1 : 0;
}

/* ---- a stream that pg_restore reads as it comes ---- */

struct piped {
	struct sink sink;
	struct restore *restore;
	struct job job;
	struct sink *in;
	enum dump_kind kind;
};

static int
piped_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	struct piped *p = (struct piped *)s;

	return sink_write(p->in, data, bytes, e) ? job_failed(&p->job, e) : 0;
}

static int
piped_finish(struct sink *s, struct err *e)
{
	struct piped *p = (struct piped *)s;

	if (sink_finish(p->in, e))
		return job_failed(&p->job, e);
	return p->kind == DUMP_PRE_DATA && restore_selects(p->restore) ? restore_find(p->restore, e) : 0;
}

static void
piped_free(struct sink *s)
{
	struct piped *p = (struct piped *)s;

	sink_free(p->in);
	job_end(&p->job);
	free(p);
}

static struct sink *
piped_new(struct restore *r, enum dump_kind kind, const char *name, struct err *e)
{
	static const struct sink_ops ops = { piped_write, piped_finish, piped_free };
	struct piped *p = mem_zero(1, sizeof(*p));
	char *title = mem_printf("pg_restore of %s", name);
	int rc = job_start(&p->job, r, title, NULL, true, false, e);

	free(title);
	if (rc != 0) {
		free(p);
		return NULL;
	}
	p->sink.ops = &ops;
	p->restore = r;
	p->kind = kind;
	p->in = child_sink_new(p->job.child);
	return &p->sink;
}

/* ---- a stream that is kept in a file first: several sessions work from it, or only a part of it is wanted ---- */

struct filed {
	struct sink sink;
	struct restore *restore;
	enum dump_kind kind;
	char *title;
	char *name;                     /* of the file, in what the cage is shown */
	char *path, *path_inside;
	int fd;
};

static int
filed_write(struct sink *s, const void *data, size_t bytes, struct err *e)
{
	struct filed *f = (struct filed *)s;

	return file_write_all(f->fd, data, bytes, f->path, e);
}

/* What pg_restore -l says of the file. */
static int
list_file(struct filed *f, struct buf *listing, struct err *e)
{
	const char *const more[] = { f->path_inside, NULL };
	struct sink *to = sink_buf_new(listing, LISTING_MOST);
	struct job job = { .env = NULL };
	int rc = -1;

	if (job_start(&job, f->restore, f->title, more, false, true, e) == 0)
		rc = child_pump(job.child, to, 0, e);
	job_end(&job);
	sink_free(to);
	return rc;
}

/* Writes the list of what is wanted beside the file; *list is its path from inside. */
static int
write_list(struct filed *f, char **list, struct err *e)
{
	struct buf listing = BUF_INIT;
	char *picked = NULL, *name = mem_printf("%s.list", f->name);
	int fd = -1, rc = -1;

	if (list_file(f, &listing, e) == 0 &&
	    (picked = restore_pick(f->restore, (const char *)listing.data, f->path, f->kind == DUMP_POST_DATA, e)) != NULL &&
	    (fd = cage_create(f->restore->o.cage, name, e)) >= 0)
		rc = file_write_all(fd, picked, strlen(picked), name, e);
	file_close(&fd);
	*list = mem_printf("%s.list", f->path_inside);
	buf_free(&listing);
	free(picked);
	free(name);
	return rc;
}

static int
filed_finish(struct sink *s, struct err *e)
{
	struct filed *f = (struct filed *)s;
	struct job job = { .env = NULL };
	const char *more[8] = { NULL };
	char jobs[16], *list = NULL;
	size_t n = 0;
	int rc = -1;

	file_close(&f->fd);
	snprintf(jobs, sizeof(jobs), "%u", f->restore->o.jobs > 0 ? f->restore->o.jobs : 1);
	more[n++] = "-j";
	more[n++] = jobs;
	if (restore_selects(f->restore)) {
		if (write_list(f, &list, e))
			goto out;
		more[n++] = "-L";
		more[n++] = list;
	}
	more[n++] = f->path_inside;
	if (job_start(&job, f->restore, f->title, more, false, false, e) == 0)
		rc = child_wait(job.child, 0, e) ? job_failed(&job, e) : 0;
out:
	job_end(&job);
	free(list);
	return rc;
}

static void
filed_free(struct sink *s)
{
	struct filed *f = (struct filed *)s;
	char *list = mem_printf("%s.list", f->path);

	file_close(&f->fd);
	unlink(f->path);
	unlink(list);
	free(list);
	free(f->title);
	free(f->name);
	free(f->path);
	free(f->path_inside);
	free(f);
}

static struct sink *
filed_new(struct restore *r, enum dump_kind kind, const char *name, struct err *e)
{
	static const struct sink_ops ops = { filed_write, filed_finish, filed_free };
	struct filed *f = mem_zero(1, sizeof(*f));
	char id[RAND_ID_TEXT];

	rand_id(id);
	f->sink.ops = &ops;
	f->restore = r;
	f->kind = kind;
	f->title = mem_printf("pg_restore of %s", name);
	f->name = mem_printf("archive-%s", id);
	f->path = mem_printf("%s/%s", cage_shown(r->o.cage), f->name);
	f->path_inside = mem_printf("%s/%s", cage_shown_inside(r->o.cage), f->name);
	f->fd = cage_create(r->o.cage, f->name, e);
	if (f->fd < 0) {
		filed_free(&f->sink);
		return NULL;
	}
	return &f->sink;
}

struct sink *
restore_stream(struct restore *r, enum dump_kind kind, const char *name, struct archive_digest *digest, struct err *e)
{
	struct sink *s;

	if (kind == DUMP_TABLE)
		return restore_copy_new(r, name, digest, e);
	s = kind == DUMP_POST_DATA || (kind == DUMP_REST && restore_selects(r)) ? filed_new(r, kind, name, e) : piped_new(r, kind, name, e);
	return s != NULL && digest != NULL ? archive_reader_new(digest, NULL, s) : s;
}
