#ifndef HF_REPORT_HTML_H
#define HF_REPORT_HTML_H

#include <stdint.h>

#include "base/bytes.h"

/*
 * Writes elements, of HTML and of the SVG in it.  Every text and every attribute value is escaped here, so that nothing else
 * in this room knows how; tags and attribute names are literals of ours.  What it writes is XML too: each element is closed.
 *
 * Attributes are pairs of name and value, ended by NULL; a pair whose value is NULL is left out:
 *     html_open(h, "td", "class", "number", NULL);
 */
#define HTML_DEPTH 24

struct html {
	struct buf out;
	const char *open[HTML_DEPTH];
	unsigned depth;
	unsigned ids;                   /* given out so far */
};

void html_open(struct html *h, const char *tag, ...) __attribute__((sentinel));
void html_close(struct html *h);
void html_text(struct html *h, const char *text);

/* An element with text (NULL: an empty one). */
void html_leaf(struct html *h, const char *tag, const char *text, ...) __attribute__((sentinel));

/* An element that never has content, as meta. */
void html_void(struct html *h, const char *tag, ...) __attribute__((sentinel));

/* Closes elements until `depth` are open. */
void html_close_to(struct html *h, unsigned depth);

/* A whole number as an attribute value: no decimal point, so that no locale can turn it into a comma. */
const char *html_number(char *to, int64_t n);
#define NUMBER(n) html_number((char[24]){ 0 }, n)

#endif
