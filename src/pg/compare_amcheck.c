#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "pg/compare.h"
#include "pg/conn.h"
#include "pg/conn_private.h"
#include "pg/quote.h"

#define PROBLEMS_MOST 100

/* Several connections take the next index from one list. */
struct amcheck {
	const struct pg_target *target;
	const char *dbname;
	char *schema;                   /* of the extension, quoted */
	const struct rows *indexes;
	pthread_mutex_t lock;           /* guards all below */
	size_t next;
	json_t *problems;
	struct err failed;              /* the first failure to look */
	bool over;                      /* the rest will not be looked at */
};

static bool
take_next(struct amcheck *a, size_t *i)
{
	bool more;

	pthread_mutex_lock(&a->lock);
	/* What failed at one index says nothing about the next, and a problem there must not be missed. */
	more = !a->over && a->next < conn_rows(a->indexes);
	if (more)
		*i = a->next++;
	pthread_mutex_unlock(&a->lock);
	return more;
}

/* Only what PostgreSQL calls corrupt is (src/backend/utils/errcodes.txt); no memory, or a deadline, says nothing about an index. */
static void
add_problem(struct amcheck *a, const char *index, const char *sqlstate, const struct err *what)
{
	bool corrupt = strcmp(sqlstate, "XX001") == 0 || strcmp(sqlstate, "XX002") == 0;
	char *sentence = mem_printf("database \"%s\", index %s: %s", a->dbname, index, what->msg);

	pthread_mutex_lock(&a->lock);
	if (!corrupt) {
		a->over = a->over || what->kind == ERR_DATABASE || what->kind == ERR_STOPPED || what->kind == ERR_TIMEOUT;
		if (a->failed.kind == ERR_NONE) {
			a->failed = *what;
			if (index[0] != '\0')
				err_wrap(&a->failed, "index %s", index);
		}
	} else if (json_array_size(a->problems) < PROBLEMS_MOST) {
		json_add(a->problems, json_str(sentence));
	}
	pthread_mutex_unlock(&a->lock);
	free(sentence);
}

static void *
check_some(void *arg)
{
	struct amcheck *a = arg;
	struct err e = ERR_INIT;
	struct conn *c = conn_open(a->target, a->dbname, &e);
	size_t i;

	if (c == NULL)
		add_problem(a, "", "", &e);
	while (c != NULL && take_next(a, &i)) {
		char *index = quote_name(conn_cell(a->indexes, i, 0), conn_cell(a->indexes, i, 1));
		const char *const params[] = { index, NULL };
		char *sql = mem_printf("SELECT %s.bt_index_check($1::pg_catalog.regclass, true)", a->schema), *nothing = NULL;

		err_clear(&e);
		if (conn_value(&nothing, c, sql, params, &e))
			add_problem(a, index, conn_sqlstate(c), &e);
		free(nothing);
		free(sql);
		free(index);
	}
	conn_close(c);
	return NULL;
}

/* Where amcheck is, made if need be; NULL with the reason. */
static char *
find_amcheck(struct conn *c, struct err *e)
{
	static const char where[] =
	    "SELECT n.nspname FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace WHERE x.extname = 'amcheck'";
	struct buf quoted = BUF_INIT;
	char *schema = NULL;

	if (conn_value(&schema, c, where, NULL, e))
		return NULL;
	/* In a schema of its own: the restored database may not even have "public". */
	if (schema == NULL && (conn_exec(c, "CREATE SCHEMA holdfast_amcheck; CREATE EXTENSION amcheck SCHEMA holdfast_amcheck", e) ||
	    conn_value(&schema, c, where, NULL, e)))
		return NULL;
	quote_ident(&quoted, schema);
	free(schema);
	return buf_take(&quoted);
}

static int
run_checks(struct amcheck *a, unsigned jobs, struct err *e)
{
	pthread_t threads[16];
	unsigned n = 0;

	if (jobs > 16)
		jobs = 16;
	/* This thread is one of them. */
	while (n + 1 < jobs && n + 1 < conn_rows(a->indexes) && pthread_create(&threads[n], NULL, check_some, a) == 0)
		n++;
	check_some(a);
	while (n > 0)
		pthread_join(threads[--n], NULL);
	if (a->failed.kind == ERR_NONE)
		return 0;
	*e = a->failed;
	return err_wrap(e, "amcheck");
}

int
compare_amcheck(const struct pg_target *target, const char *dbname, unsigned jobs, json_t *result, struct err *e)
{
	static const char indexes[] =
	    "SELECT n.nspname, c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
	    "  JOIN pg_catalog.pg_am m ON m.oid = c.relam JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE m.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND i.indisready AND c.relpersistence = 'p'"
	    "   AND n.nspname !~ '^pg_toast' ORDER BY c.relpages DESC";
	struct amcheck a = { .target = target, .dbname = dbname, .lock = PTHREAD_MUTEX_INITIALIZER, .failed = ERR_INIT };
	struct conn *c = conn_open(target, dbname, e);
	struct rows *list = NULL;
	struct err why = ERR_INIT;
	int rc = -1;

	if (c == NULL)
		return -1;
	a.problems = json_object_get(result, "problems");
	if (a.problems == NULL) {
		json_put(result, "problems", json_array());
		a.problems = json_object_get(result, "problems");
	}
	a.schema = find_amcheck(c, &why);
	if (a.schema == NULL) {
		if (conn_is_over(&why)) {
			*e = why;
			goto out;
		}
		json_put_bool(result, "ran", false);
		json_put_str(result, "why_not", why.msg);
		rc = 0;
		goto out;
	}
	a.indexes = list = conn_query(c, indexes, NULL, e);
	if (list == NULL || run_checks(&a, jobs, e))
		goto out;
	json_put_bool(result, "ran", json_object_get(result, "why_not") == NULL || json_is_null(json_object_get(result, "why_not")));
	json_put_int(result, "indexes", json_opt_int(result, "indexes", 0) + (int64_t)conn_rows(list));
	if (json_object_get(result, "why_not") == NULL)
		json_put_str(result, "why_not", NULL);
	rc = 0;
out:
	conn_rows_free(list);
	free(a.schema);
	conn_close(c);
	return rc;
}
