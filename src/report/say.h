#ifndef HF_REPORT_SAY_H
#define HF_REPORT_SAY_H

#include <stdint.h>

/*
 * Numbers as people read them, the same in every report.  What is not known is a negative number and reads "unknown".  Each
 * writes into `to`, SAY_TEXT characters, and returns it; the macros bring memory that lives as long as the block around.
 */
#define SAY_TEXT 48

const char *say_count(char *to, int64_t n);             /* 12,345,678 */
const char *say_bytes(char *to, int64_t bytes);         /* 1.4 GiB */
const char *say_ms(char *to, int64_t ms);               /* 4 min 12 s; 3 d 07 h */
const char *say_time(char *to, int64_t wall_us);        /* 2026-11-24 02:15:00 UTC */
const char *say_day(char *to, int64_t wall_us);         /* 2026-11-24 */
const char *say_percent(char *to, int64_t part, int64_t whole);

#define COUNT(n) say_count((char[SAY_TEXT]){ 0 }, n)
#define BYTES(n) say_bytes((char[SAY_TEXT]){ 0 }, n)
#define MS(n) say_ms((char[SAY_TEXT]){ 0 }, n)
#define TIME(n) say_time((char[SAY_TEXT]){ 0 }, n)
#define DAY(n) say_day((char[SAY_TEXT]){ 0 }, n)
#define PERCENT(part, whole) say_percent((char[SAY_TEXT]){ 0 }, part, whole)
#define PLURAL(n, one, many) ((n) == 1 ? one : many)

#endif
