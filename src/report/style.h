#ifndef HF_REPORT_STYLE_H
#define HF_REPORT_STYLE_H

/* The style sheet of the HTML report.  Holds neither '<' nor '&', so that the page is XML too. */
extern const char style_sheet[];

#endif
