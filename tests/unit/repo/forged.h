#ifndef TEST_REPO_FORGED_H
#define TEST_REPO_FORGED_H

/* What somebody can put who has stolen an agent's key: it seals the catalog, and signs nothing. */
#include "base/rand.h"
#include "codec/curve.h"
#include "repo/catalog.h"
#include "unit/repo/world.h"

/* A report with this outcome and a made-up signature, said to be of `signer` (64 hex).  `id` gets its id. */
static inline void
forged_report(struct world *w, const char *outcome, const char *signer, char id_text[33])
{
	struct err e = ERR_INIT;
	struct repo *agent = world_open(w, w->agent_key, false, &e);
	struct buf sections[2] = { BUF_INIT, BUF_INIT };
	uint8_t id[ID_BYTES], made_up[CURVE_SIGNATURE_BYTES];
	char hex[2 * CURVE_SIGNATURE_BYTES + 1];

	if (agent == NULL)
		fail_msg("%s", e.msg);
	rand_bytes(id, sizeof(id));
	hex_encode(id_text, id, sizeof(id));
	rand_bytes(made_up, sizeof(made_up));
	hex_encode(hex, made_up, sizeof(made_up));
	buf_addstr(&sections[0], outcome);
	buf_addf(&sections[1], "{\"signer\":\"%s\",\"holder\":\"recovery\",\"signature\":\"%s\"}", signer, hex);
	must(catalog_put(agent, CATALOG_REPORT, id, sections, 2, &e));
	buf_free(&sections[0]);
	buf_free(&sections[1]);
	repo_free(agent);
}

#endif
