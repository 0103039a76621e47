#include "store/s3_xml.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <libxml/xmlreader.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define VALUE_MAX 4096                  /* the longest text of one element that means something to us */
#define DEPTH_MAX 16

/*
 * A walk over a document: `path` is the names of the open elements, each after a '/'; `leaf` is called with it and the text
 * of every element that ends, whatever it is, and `open` when one begins.
 */
struct walker {
	void (*open)(void *ctx, const char *path);
	void (*leaf)(void *ctx, const char *path, const char *text);
	void *ctx;
};

static void
quiet(void *ctx, const char *msg, xmlParserSeverities severity, xmlTextReaderLocatorPtr where)
{
	(void)ctx;
	(void)msg;
	(void)severity;
	(void)where;
}

static void
end_element(const struct walker *w, struct buf *path, struct buf *text)
{
	char *slash = strrchr((char *)path->data, '/');

	w->leaf(w->ctx, (char *)path->data, text->bytes > 0 ? (char *)text->data : "");
	path->bytes = (size_t)(slash - (char *)path->data);
	*slash = '\0';
	buf_clear(text);
}

/* One node of the document; false ends the walk as failed. */
static bool
take_node(const struct walker *w, xmlTextReaderPtr r, struct buf *path, struct buf *text)
{
	const char *value;
	size_t n;

	switch (xmlTextReaderNodeType(r)) {
	case XML_READER_TYPE_DOCUMENT_TYPE:
	case XML_READER_TYPE_ENTITY_REFERENCE:
		return false;
	case XML_READER_TYPE_ELEMENT:
		if (xmlTextReaderDepth(r) >= DEPTH_MAX || path->bytes > VALUE_MAX)
			return false;
		buf_addf(path, "/%s", (const char *)xmlTextReaderConstLocalName(r));
		buf_clear(text);
		w->open(w->ctx, (char *)path->data);
		if (xmlTextReaderIsEmptyElement(r))
			end_element(w, path, text);
		return true;
	case XML_READER_TYPE_END_ELEMENT:
		end_element(w, path, text);
		return true;
	case XML_READER_TYPE_TEXT:
	case XML_READER_TYPE_CDATA:
		value = (const char *)xmlTextReaderConstValue(r);
		n = value == NULL ? 0 : strlen(value);
		if (n > VALUE_MAX - text->bytes)
			return false;
		buf_add(text, value, n);
		return true;
	default:
		return true;
	}
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool
walk(const struct walker *w, const void *xml, size_t bytes)
{
	struct buf path = BUF_INIT, text = BUF_INIT;
	xmlTextReaderPtr r = NULL;
	bool ok = false;

	/* Before the parser has read a line of it: its internal subset would be worked through before we see the node. */
	if (bytes == 0 || bytes > INT_MAX || memmem(xml, bytes, "<!DOCTYPE", 9) != NULL)
		return false;
	pthread_once(&once, xmlInitParser);
	r = xmlReaderForMemory(xml, (int)bytes, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (r != NULL) {
		int more;

		xmlTextReaderSetErrorHandler(r, quiet, NULL);
		while ((more = xmlTextReaderRead(r)) == 1)
			if (!take_node(w, r, &path, &text))
				break;
		ok = more == 0;
		xmlFreeTextReader(r);
	}
	buf_free(&path);
	buf_free(&text);
	return ok;
}

static bool
parse_size(uint64_t *value, const char *text)
{
	char *end;
	unsigned long long v;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	*value = v;
	return errno == 0 && *end == '\0';
}

/* Undoes encoding-type=url, in place.  A key with a 0 in it is no name of ours; it ends there, and is none. */
static bool
decode(char *text)
{
	char *to = text;

	for (const char *p = text; *p != '\0'; p++) {
		uint8_t c = (uint8_t)*p;

		if (*p == '%') {
			char hex[3] = { p[1], p[1] == '\0' ? '\0' : p[2], '\0' };

			if (!hex_decode(&c, 1, hex))
				return false;
			p += 2;
		} else if (*p == '+') {
			c = ' ';
		}
		*to++ = (char)c;
	}
	*to = '\0';
	return true;
}

struct listing {
	struct s3_page *page;
	bool root, complete, wrong;
	bool encoded;
	struct s3_listed now;
	bool has_key, has_bytes;
};

static void
list_open(void *ctx, const char *path)
{
	struct listing *l = ctx;

	if (strcmp(path, "/ListBucketResult") == 0)
		l->root = true;
	if (strcmp(path, "/ListBucketResult/Contents") == 0) {
		memset(&l->now, 0, sizeof(l->now));
		l->has_key = l->has_bytes = false;
	}
}

static void
list_leaf(void *ctx, const char *path, const char *text)
{
	static const char top[] = "/ListBucketResult/", object[] = "Contents/";
	struct listing *l = ctx;
	struct s3_page *p = l->page;
	struct err ignored = ERR_INIT;

	if (strncmp(path, top, strlen(top)) != 0)
		return;
	path += strlen(top);
	if (strcmp(path, "IsTruncated") == 0) {
		l->complete = true;
		p->truncated = strcmp(text, "true") == 0;
	} else if (strcmp(path, "NextContinuationToken") == 0) {
		free(p->token);
		p->token = mem_strdup(text);
	} else if (strcmp(path, "EncodingType") == 0) {
		l->encoded = strcmp(text, "url") == 0;
	} else if (strcmp(path, "Contents") == 0) {
		if (!l->has_key || !l->has_bytes) {
			l->wrong = true;
			return;
		}
		p->objects = mem_grow(p->objects, p->count + 1, sizeof(*p->objects));
		p->objects[p->count++] = l->now;
	} else if (strncmp(path, object, strlen(object)) == 0) {
		path += strlen(object);
		if (strcmp(path, "Key") == 0) {
			l->now.key = p->text.bytes;
			buf_add(&p->text, text, strlen(text) + 1);
			l->has_key = true;
		} else if (strcmp(path, "Size") == 0) {
			l->has_bytes = parse_size(&l->now.bytes, text);
		} else if (strcmp(path, "LastModified") == 0 && clock_parse(&l->now.changed_us, text, &ignored) != 0) {
			l->now.changed_us = 0;
		}
	}
}

int
s3_xml_list(struct s3_page *p, const void *xml, size_t bytes, struct err *e)
{
	struct listing l = { .page = p };
	struct walker w = { .open = list_open, .leaf = list_leaf, .ctx = &l };

	if (!walk(&w, xml, bytes) || !l.root || !l.complete || l.wrong)
		return err_set(e, ERR_STORE, "the answer of %zu bytes is not a whole listing of S3", bytes);
	/* EncodingType may come after the keys. */
	for (size_t i = 0; l.encoded && i < p->count; i++)
		if (!decode((char *)p->text.data + p->objects[i].key))
			return err_set(e, ERR_STORE, "the listing holds a key with a broken %%-code");
	if (p->truncated && (p->token == NULL || p->token[0] == '\0'))
		return err_set(e, ERR_STORE, "the listing is not complete and does not say how to go on");
	return 0;
}

void
s3_xml_page_clear(struct s3_page *p)
{
	buf_free(&p->text);
	free(p->objects);
	free(p->token);
	memset(p, 0, sizeof(*p));
}

/* These words end up on somebody's terminal. */
static void
copy_printable(char *to, size_t room, const char *text)
{
	size_t n = 0;

	for (; *text != '\0' && n + 1 < room; text++)
		to[n++] = isprint((unsigned char)*text) ? *text : '?';
	to[n] = '\0';
}

struct failing {
	struct s3_error_text *text;
	bool root;
};

static void
error_open(void *ctx, const char *path)
{
	struct failing *f = ctx;

	if (strcmp(path, "/Error") == 0)
		f->root = true;
}

static void
error_leaf(void *ctx, const char *path, const char *text)
{
	struct failing *f = ctx;

	if (strcmp(path, "/Error/Code") == 0)
		copy_printable(f->text->code, sizeof(f->text->code), text);
	else if (strcmp(path, "/Error/Message") == 0)
		copy_printable(f->text->message, sizeof(f->text->message), text);
	else if (strcmp(path, "/Error/Region") == 0)
		copy_printable(f->text->region, sizeof(f->text->region), text);
}

bool
s3_xml_error(struct s3_error_text *t, const void *xml, size_t bytes)
{
	struct failing f = { .text = t };
	struct walker w = { .open = error_open, .leaf = error_leaf, .ctx = &f };

	memset(t, 0, sizeof(*t));
	if (walk(&w, xml, bytes) && f.root && t->code[0] != '\0')
		return true;
	memset(t, 0, sizeof(*t));
	return false;
}
