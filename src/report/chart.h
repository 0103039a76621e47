#ifndef HF_REPORT_CHART_H
#define HF_REPORT_CHART_H

#include "report/facts.h"
#include "report/html.h"

/*
 * Charts as inline SVG.  Only shapes are in the SVG, which stretches to the width there is; words stand beside it in HTML and
 * keep their size on a phone.  Each has a title and a description for those who do not see it, and none depends on
 * colour alone.  Colours are classes of style.c.
 */
void chart_phases(struct html *h, const struct facts *f);      /* one bar, stacked by phase */
void chart_strip(struct html *h, const struct facts *f);       /* a mark for each backup: what its newest drill said */
void chart_trends(struct html *h, const struct facts *f);      /* sizes and durations over time */

/* The sign of a verdict, beside its headline. */
void chart_sign(struct html *h, enum verdict verdict);

#endif
