/* Keys and certificates of all runs, since they take long to make: the same ones each time. */
#ifndef FUZZ_IDENTITIES_H
#define FUZZ_IDENTITIES_H

typedef enum fuzz_who {
    FUZZ_HOST,                      /* who is talked to */
    FUZZ_PEER,                      /* a member */
    FUZZ_TWIN,                      /* one that says to be the host itself */
    FUZZ_STRANGER,                  /* has the key of another cluster */
    FUZZ_PAST,                      /* its certificate has run out */
    FUZZ_WHO
} fuzz_who;

static base         *fuzz_base;
static frn_identity *fuzz_identities[FUZZ_WHO];
static uint64_t      fuzz_base_used;    /* when nothing runs */

static void fuzz_identities_make(void)
{
    static const char *const ids[] = { "host", "peer", "host", "peer", "peer" };
    static const uint8_t     none[1] = { 0 };

    if (fuzz_base != NULL)
        return;
    fuzz_base = fuzz_base_new(none, 0);
    for (int i = 0; i < FUZZ_WHO; i++) {
        fuzz_base->ahead_ms = i == FUZZ_PAST ? -FRANCIS_DAYS(30) : 0;
        fuzz_identities[i] = base_identity(fuzz_base, i == FUZZ_STRANGER ? other_key : cluster_key,
                                           NULL, ids[i]);
    }
    fuzz_base->ahead_ms = 0;
    fuzz_base_used = fuzz_base->mem.used;
}

/* Nothing of a run is left in it. */
static void fuzz_identities_check(void)
{
    fuzz_base->ahead_ms = 0;
    frn_log_flush(&fuzz_base->log);
    fuzz_must(fuzz_base->mem.used == fuzz_base_used);
}

T_UNUSED static void fuzz_identities_free(void)
{
    if (fuzz_base == NULL)
        return;
    for (int i = 0; i < FUZZ_WHO; i++)
        frn_identity_drop(fuzz_identities[i]);
    base_free(fuzz_base);
    fuzz_base = NULL;
}

#endif
