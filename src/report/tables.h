#ifndef HF_REPORT_TABLES_H
#define HF_REPORT_TABLES_H

#include "report/doc.h"
#include "report/facts.h"

/*
 * The tables of a report, filled from an outcome.  Each holds at most `limit` rows and knows how many it left out.  They may
 * be empty; the caller frees them, or gives them to doc_table.
 */
struct table *tables_phases(const struct facts *f, size_t limit);
struct table *tables_losses(const struct facts *f);
struct table *tables_databases(const struct facts *f, size_t limit);
struct table *tables_objects(const struct facts *f, bool differing, size_t limit);    /* `differing`: those alone */
struct table *tables_differences(const struct facts *f, size_t limit);
struct table *tables_checks(const struct facts *f, size_t limit);
struct table *tables_cage(const struct facts *f, size_t limit);
struct table *tables_backups(const struct facts *f, size_t limit);     /* newest first */

enum tone tables_tone(enum verdict verdict);

#endif
