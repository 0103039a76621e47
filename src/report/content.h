#ifndef HF_REPORT_CONTENT_H
#define HF_REPORT_CONTENT_H

#include "report/doc.h"
#include "report/facts.h"

/* Writes the whole report that Markdown and HTML share.  Free with doc_free. */
void content_write(struct doc *d, const struct facts *f);

/* The verdict alone: title, headline, subject, tone and figures of an empty doc; and the sentence under it. */
void content_verdict(struct doc *d, const struct facts *f);
char *content_sentence(const struct facts *f);

/* How the content was shown to be equal, who held the key, the signature, and the loss of data: each one sentence. */
char *content_key(const struct facts *f);
char *content_signature(const struct facts *f);
char *content_loss(const struct facts *f);

#endif
