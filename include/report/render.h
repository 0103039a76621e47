#ifndef HF_REPORT_RENDER_H
#define HF_REPORT_RENDER_H

#include <stdbool.h>

#include "base/json.h"

/*
 * What people read.  Each function takes the outcome of a drill or of `report` (docs/outcomes.md) and gives a text that the
 * caller frees; none fails, and none changes the outcome.  All three are made of the same sentences and the same tables.
 *
 * An outcome is material from outside: names in it were chosen by whoever may create a table in the source, members may be
 * missing, lists may be endless.  Whatever is in it, the text stays well-formed, bounded (long lists end in "and N more"),
 * free of control characters, and never calls proven what the outcome itself contradicts.
 *
 * The same outcome gives the same bytes: no clock is read.  Ages are those at the outcome's `time`, or at the end of the drill
 * where it has none.
 */

/* For a terminal that shows UTF-8, `width` columns wide (0: 80; held between 48 and 132); `colour`: with ANSI colours. */
char *report_text(const json_t *outcome, bool colour, unsigned width);

/* GitHub-flavoured Markdown: for a change log, a ticket, an ops review; readable as it is. */
char *report_markdown(const json_t *outcome);

/* One page that needs nothing else: no script, no font, no link to fetch.  Valid as HTML and as XML; forbids scripts by its
 * own policy, so that it can be served or mailed. */
char *report_html(const json_t *outcome);

#endif
