#ifndef HF_TESTS_REPORT_OUTCOME_H
#define HF_TESTS_REPORT_OUTCOME_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

/* Outcomes for the tests of this room, as an operation would give them. */

static const char *const outcome_text =
"{ 'command': 'report', 'time': '2026-11-24T08:00:00Z', 'warnings': ['roles were dumped without passwords'],"
"  'signature': { 'signer': '9d61b19d', 'valid': true, 'report_id': 'r1' },"
"  'history': [ { 'time': '2026-11-23T03:00:00Z', 'backup': 'aaaa1111', 'verdict': 'proven', 'rto_ms': 60000, 'bytes': 1000 },"
"               { 'time': '2026-11-24T03:00:00Z', 'backup': 'bbbb2222', 'verdict': 'proven', 'rto_ms': 61000, 'bytes': 1100 } ],"
"  'backups': [ { 'id': 'aaaa1111', 'time': '2026-11-23T02:00:00Z', 'source': 'langfuse', 'bytes': 1000, 'new_bytes': 1000,"
"                 'stored_bytes': 300, 'rows': 10, 'duration_ms': 2000, 'proven': '2026-11-23T03:00:00Z', 'last_verdict': 'proven' },"
"               { 'id': 'bbbb2222', 'time': '2026-11-24T02:00:00Z', 'source': 'langfuse', 'bytes': 1100, 'new_bytes': 100,"
"                 'stored_bytes': 30, 'rows': 12, 'duration_ms': 1500, 'proven': '2026-11-24T03:00:00Z', 'last_verdict': 'proven' } ],"
"  'drill': { 'command': 'drill', 'verdict': 'proven', 'reason': null, 'started': '2026-11-24T02:58:00Z',"
"    'finished': '2026-11-24T03:00:00Z', 'host': 'verify', 'holder': 'verifier', 'rto_ms': 61000, 'warnings': [],"
"    'backup': { 'id': 'bbbb2222', 'time': '2026-11-24T02:00:00Z', 'source': 'langfuse', 'server_version': '15.19' },"
"    'phases': [ { 'name': 'scratch', 'ms': 900 }, { 'name': 'restore', 'ms': 60000, 'bytes': 1100 }, { 'name': 'compare', 'ms': 5 } ],"
"    'scratch': { 'kind': 'throw-away cluster', 'server_version': '15.19', 'cage': ["
"      { 'measure': 'no network', 'enforced': true, 'note': '' }, { 'measure': 'landlock', 'enforced': false, 'note': 'old kernel' } ] },"
"    'databases': [ { 'name': 'langfuse', 'entries': 5, 'equal': 5, 'rows': 12, 'bytes': 1100, 'schema': 'equal', 'schema_diff': '-a\\n+b\\n',"
"      'reordered': ['public.b_star'], 'objects': [ { 'class': 'tables', 'source': 5, 'restored': 5 } ] } ],"
"    'differences': [], 'checks': [ { 'name': 'recent', 'database': 'langfuse', 'ok': true, 'value': '1', 'expected': '1' } ],"
"    'amcheck': { 'ran': true, 'indexes': 9, 'problems': [] }, 'not_covered': ['ClickHouse'] } }";

/* JSON with ' for ", so that it can be read in C. */
static json_t *
outcome_parse(const char *text)
{
	char *copy = strdup(text);
	struct err e = ERR_INIT;
	json_t *value;

	for (char *c = copy; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	value = json_parse(copy, strlen(copy), "the test's outcome", &e);
	if (value == NULL)
		fail_msg("%s", e.msg);
	free(copy);
	return value;
}

static inline json_t *
outcome_report(void)
{
	return outcome_parse(outcome_text);
}

static inline json_t *
outcome_drill_of(json_t *report)
{
	return json_object_get(report, "drill");
}

/* Sets a member to a value given as JSON. */
static inline void
outcome_set(json_t *object, const char *key, const char *value)
{
	json_t *wrapped;
	char text[4096];

	snprintf(text, sizeof(text), "[%s]", value);
	wrapped = outcome_parse(text);
	json_put(object, key, json_incref(json_array_get(wrapped, 0)));
	json_decref(wrapped);
}

/* Replaces every string whose meaning is free (no verdict, no time) by `name`. */
static inline void
outcome_rename(json_t *value, const char *name)
{
	const char *key;
	json_t *member;
	void *next;
	size_t i;

	json_array_foreach(value, i, member) {
		if (json_is_string(member))
			json_array_set_new(value, i, json_string(name));
		else
			outcome_rename(member, name);
	}
	json_object_foreach_safe(value, next, key, member) {
		if (json_is_string(member) && strstr(key, "verdict") == NULL && strcmp(key, "time") != 0)
			json_put_str(value, key, name);
		else
			outcome_rename(member, name);
	}
}

#define HOSTILE_NAME "\x1b[2J\x07</td></table><script>alert(1)</script>\"'><img src=x onerror=alert(1)>|`*_[a](javascript:x)\r\n# h\t]]>&amp;" \
	"\xe2\x80\xaegpj.exe\xe2\x81\xa9 \xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xf0\x9f\x90\x88 \xc2\x9b\x33\x31m"

#endif
