/* When something that repeats is due again: what texts mean, what is refused and in which words,
 * the edges of months, years and daylight-saving time, and zone files that are not what they say.
 * What the tables of support/schedule_cases.h expect is computed by another program, without this
 * library. Cases of zones with a name need the zone files of the system; POSIX strings do not. */
#define FRANCIS_IMPLEMENTATION
#include "support/layers.h"

#include <sys/stat.h>

#include "support/schedule_cases.h"

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE };

#define DAY INT64_C(86400000)
#define Y2024 INT64_C(1704067200000)

typedef struct world {
    base     *b;
    frn_zones zones;
    size_t    skipped;              /* cases of zones that this system has no files of */
} world;

static void world_init(world *w)
{
    w->b = base_new();
    w->skipped = 0;
    frn_zones_init(&w->zones, &w->b->mem);
}

static void world_free(world *w)
{
    frn_zones_free(&w->zones);
    base_free(w->b);
    if (w->skipped > 0)
        print_message("skipped %zu cases: this system has no zone files\n", w->skipped);
}

static frn_schedule parsed(world *w, const char *repeat)
{
    frn_schedule s;
    char         error[400] = "";

    if (frn_schedule_parse(&w->zones, repeat, &s, error, sizeof error) != FRANCIS_OK)
        fail_msg("%s", error);
    return s;
}

/* False for a zone with a name where the system has none at all. */
static bool usable(world *w, const char *repeat)
{
    const frn_zone *rome;

    if (strncmp(repeat, "TZ=", 3) != 0 || strpbrk(repeat, "<,") != NULL ||
        frn_zones_find(&w->zones, "Europe/Rome", &rome) != FRANCIS_ERR_NOT_FOUND)
        return true;
    w->skipped++;
    return false;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 20;
}

static int64_t random_within(uint64_t *seed, int64_t least, int64_t most)
{
    return least + (int64_t)(next_random(seed) % (uint64_t)(most - least + 1));
}

/* ---- tables ---- */

static void durations(void **state)
{
    world  w;
    size_t i;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(duration_cases); i++) {
        frn_schedule s = parsed(&w, duration_cases[i].repeat);
        if (s.ms != duration_cases[i].ms || s.months != 0 || s.days != 0)
            fail_msg("%s is %lld ms", duration_cases[i].repeat, (long long)s.ms);
        assert_false(frn_schedule_is_cron(&s));
        assert_false(frn_schedule_is_none(&s));
    }
    world_free(&w);
}

static void occurrences(void **state)
{
    world  w;
    size_t i;
    int    k;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(next_cases); i++) {
        const char  *repeat = next_cases[i].repeat;
        int64_t      at = next_cases[i].after;
        frn_schedule s;

        if (!usable(&w, repeat))
            continue;
        s = parsed(&w, repeat);
        for (k = 0; k < 4; k++) {
            int64_t next = frn_schedule_next(&s, next_cases[i].anchor, at);
            if (next != next_cases[i].next[k])
                fail_msg("\"%s\": after %lld comes %lld, not %lld", repeat, (long long)at,
                         (long long)next_cases[i].next[k], (long long)next);
            at = next;
        }
    }
    world_free(&w);
}

static void ranges(void **state)
{
    world  w;
    size_t i;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(range_cases); i++) {
        const char  *repeat = range_cases[i].repeat;
        int64_t      anchor = range_cases[i].anchor, last;
        int64_t      from = range_cases[i].from, to = range_cases[i].to;
        uint64_t     count, wanted = range_cases[i].count;
        frn_schedule s;

        if (!usable(&w, repeat))
            continue;
        s = parsed(&w, repeat);
        count = frn_schedule_count(&s, anchor, from, to, UINT64_MAX);
        if (count != wanted)
            fail_msg("\"%s\": %llu in (%lld, %lld], not %llu", repeat, (unsigned long long)wanted,
                     (long long)from, (long long)to, (unsigned long long)count);
        assert_true(frn_schedule_count(&s, anchor, from, to, 2) == (wanted < 2 ? wanted : 2));
        last = range_cases[i].last;
        assert_true((wanted == 0) == (last == FRN_NEVER_DUE));
        if (wanted > 0 && (frn_schedule_next(&s, anchor, last - 1) != last ||
                           frn_schedule_count(&s, anchor, last, to, 9) != 0))
            fail_msg("\"%s\": the last in (%lld, %lld] is not %lld", repeat, (long long)from,
                     (long long)to, (long long)last);
    }
    world_free(&w);
}

/* What is refused, with a part of the words. */
static const char *const refused_cases[][2] = {
    { " ", "neither a duration" },
    { "abc", "neither a duration" },
    { "s", "neither a duration" },
    { ".5s", "neither a duration" },
    { "-5s", "sign" },
    { "+5", "sign" },
    { "0", "less than a millisecond" },
    { "0s", "less than a millisecond" },
    { "0.0009s", "less than a millisecond" },
    { "999us", "less than a millisecond" },
    { "999999ns", "less than a millisecond" },
    { "5x", "\"x\" where a unit" },
    { "5S", "\"S\" where a unit" },
    { "1.5", "where a unit is wanted" },
    { "1h30", "where a unit is wanted" },
    { "1h-30m", "no number at \"-30m\"" },
    { "1hm", "where a unit is wanted" },
    { "1.s", "fraction" },
    { "1..5s", "fraction" },
    { "1.0000000001s", "fraction" },
    { "1,5s", "where a unit is wanted" },
    { "5 s", "2 fields" },
    { "1e3s", "\"e3s\" where a unit" },
    { "0x10", "\"x10\" where a unit" },
    { "315569520000001", "too long" },
    { "99999999999999999999", "too long" },
    { "18446744073709551617s", "too long" },
    { "9223372036854775808ns", "too long" },
    { "1000000000000000000us", "too long" },
    { "521775.5w", "too long" },
    { "521775w1ms", "too long" },
    { "P", "not an ISO 8601" },
    { "PT", "not an ISO 8601" },
    { "P1DT", "not an ISO 8601" },
    { "P1", "not an ISO 8601" },
    { "P1D5", "not an ISO 8601" },
    { "PT5", "not an ISO 8601" },
    { "P5H", "not an ISO 8601" },
    { "P1S", "not an ISO 8601" },
    { "PT1D", "not an ISO 8601" },
    { "PT1Y", "not an ISO 8601" },
    { "P1D1D", "not an ISO 8601" },
    { "P1M1Y", "not an ISO 8601" },
    { "P1D1W", "not an ISO 8601" },
    { "PT1S1M", "not an ISO 8601" },
    { "PT1MT1S", "not an ISO 8601" },
    { "P1d", "not an ISO 8601" },
    { "PT1.5M", "not an ISO 8601" },
    { "PT1.000H", "not an ISO 8601" },
    { "P1.0D", "not an ISO 8601" },
    { "PT1.S", "not an ISO 8601" },
    { "PT.5S", "not an ISO 8601" },
    { "PT1.2345S", "not an ISO 8601" },
    { "PT1,5S", "not an ISO 8601" },
    { "P-1D", "not an ISO 8601" },
    { "P+1D", "not an ISO 8601" },
    { "P1Dx", "not an ISO 8601" },
    { "p1d", "neither a duration" },
    { "PT0S", "less than a millisecond" },
    { "P0Y0M0DT0H0M0.000S", "less than a millisecond" },
    { "P10001Y", "too long" },
    { "P120001M", "too long" },
    { "P10000Y1M", "too long" },
    { "P3652426D", "too long" },
    { "P521776W", "too long" },
    { "PT87658201H", "too long" },
    { "P9999999999999999999Y", "too long" },
    { "*", "1 field," },
    { "* * * *", "4 fields" },
    { "* * * * * *", "6 fields" },
    { "60 * * * *", "minute \"60\" that is out of range (0 to 59)" },
    { "* 24 * * *", "hour \"24\" that is out of range" },
    { "* * 0 * *", "day of month \"0\" that is out of range" },
    { "* * 32 * *", "day of month \"32\" that is out of range" },
    { "* * * 0 *", "month \"0\" that is out of range" },
    { "* * * 13 *", "month \"13\" that is out of range" },
    { "* * * * 8", "day of week \"8\" that is out of range" },
    { "18446744073709551616 * * * *", "out of range" },
    { "5-1 * * * *", "\"5-1\" that goes backwards" },
    { "* * * * sat-sun", "\"sat-sun\" that goes backwards" },
    { "1-60 * * * *", "\"1-60\" that is out of range" },
    { "*/0 * * * *", "\"*/0\" that has a step" },
    { "*/61 * * * *", "\"*/61\" that has a step" },
    { "1-5/0 * * * *", "\"1-5/0\" that has a step" },
    { "*/ * * * *", "not understood" },
    { "/5 * * * *", "not understood" },
    { "*/5/5 * * * *", "not understood" },
    { "*-5 * * * *", "not understood" },
    { "1-2-3 * * * *", "not understood" },
    { "1- * * * *", "not understood" },
    { "-1 * * * *", "not understood" },
    { "1, * * * *", "not understood" },
    { ",1 * * * *", "not understood" },
    { "1,,2 * * * *", "not understood" },
    { "1,99,2 * * * *", "\"99\" that is out of range" },
    { "1.5 * * * *", "not understood" },
    { "jan * * * *", "not understood" },
    { "* * * mon *", "not understood" },
    { "* * * january *", "not understood" },
    { "* * * ja *", "not understood" },
    { "* * L * *", "not understood" },
    { "* * * * 5#2", "not understood" },
    { "** * * * *", "not understood" },
    { "0 0 30 2 *", "never comes" },
    { "0 0 31 feb,apr,jun,sep,nov *", "never comes" },
    { "0 0 30-31 2 ?", "never comes" },
    { "TZ=AAA3BBB,J100/0,J200/0 0 */24 10 4 *", "never comes" },    /* always in the gap */
    { "@", "is not one of @yearly" },
    { "@Daily", "is not one of @yearly" },
    { "@reboot", "is not one of @yearly" },
    { "@daily ", NULL },
    { "@daily 5", "is not one of @yearly" },
    { "@every", "is not one of @yearly" },
    { "@every 0s", "less than a millisecond" },
    { "@every x", "neither a duration" },
    { "TZ=UTC", "nothing behind it" },
    { "TZ=UTC ", "nothing behind it" },
    { "TZ= 5m", "time zone of 0 bytes" },
    { "TZ", "neither a duration" },
    { "tz=UTC 5m", "2 fields" },
    { "TZ=../etc/passwd 5m", "no name of one" },
    { "TZ=/etc/localtime 5m", "no name of one" },
    { "TZ=Europe/../Rome 5m", "no name of one" },
    { "TZ=Europe//Rome 5m", "no name of one" },
    { "TZ=Europe/ 5m", "no name of one" },
    { "TZ=zone.tab 5m", "no name of one" },
    { "TZ=-Rome 5m", "no name of one" },
    { "TZ=Europe/Nowhere 5m", "\"Europe/Nowhere\", which this system does not know" },
    { "TZ=CET-1CEST 5m", "\"CET-1CEST\"" },
    { "TZ=CET-25 5m", "\"CET-25\"" },
    { "TZ=CE-1 5m", "\"CE-1\"" },
    { "TZ=<CET-1 5m", "no name of one" },
    { "TZ=CET-1CEST,M3.5.0 5m", "no name of one" },
    { "TZ=CET-1CEST,M3.5.0,M10.6.0 5m", "no name of one" },
    { "TZ=CET-1CEST,M3.5.0,M13.5.0 5m", "no name of one" },
    { "TZ=CET-1CEST,M3.5.7,M10.5.0 5m", "no name of one" },
    { "TZ=CET-1CEST,J0,J365 5m", "no name of one" },
    { "TZ=CET-1CEST,0,366 5m", "no name of one" },
    { "TZ=CET-1CEST,M3.5.0,M10.5.0/168 5m", "no name of one" },
    { "TZ=CET-1CEST,M3.5.0,M10.5.0/3x 5m", "no name of one" },
    { "TZ=CET-1:60CEST,M3.5.0,M10.5.0 5m", "no name of one" },
    { "TZ=AAA24BBB-24,M3.5.0,M10.5.0 5m", "no name of one" },
    { "\xff\xfe", "neither a duration" },
    { "5\n", "where a unit is wanted" },
};

static void refused(void **state)
{
    static const frn_schedule none;
    world                     w;
    frn_schedule              s;
    char                      error[400];
    size_t                    i;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(refused_cases); i++) {
        const char    *repeat = refused_cases[i][0], *words = refused_cases[i][1];
        francis_result r;

        memset(&s, 0x5a, sizeof s);
        error[0] = '\0';
        r = frn_schedule_parse(&w.zones, repeat, &s, error, sizeof error);
        if (words == NULL) {
            t_ok(r);
            continue;
        }
        if (r != FRANCIS_ERR_INVALID || strstr(error, words) == NULL)
            fail_msg("\"%s\" gave %s: %s", repeat, francis_result_name(r), error);
        assert_memory_equal(&s, &none, sizeof s);
        t_result(frn_schedule_parse(&w.zones, repeat, &s, NULL, 0), FRANCIS_ERR_INVALID);
    }
    world_free(&w);
}

static void lengths(void **state)
{
    world        w;
    frn_schedule s;
    char         text[600], error[400] = "";
    size_t       i;
    (void)state;

    world_init(&w);
    memset(text, ' ', sizeof text);
    memcpy(text, "5m", 2);
    text[FRN_REPEAT_MAX] = '\0';
    assert_true(parsed(&w, text).ms == 5 * MINUTE);
    text[FRN_REPEAT_MAX] = ' ';
    text[FRN_REPEAT_MAX + 1] = '\0';
    t_result(frn_schedule_parse(&w.zones, text, &s, error, sizeof error), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "longer than 255 bytes"));

    /* A list that a step writes in a few bytes, and that is long without it. */
    (void)snprintf(text, sizeof text, "TZ=%s %s",
                   "<+1030>-10:30:00<+1130>-11:30:00,M10.1.0/02:00:00,M4.1.0/03:00:00",
                   "0-59/3,1-59/3 0-23/3,1-23/3 1-31/3,2-31/3 1-12/3,2-12/3 0,1,3,4,6");
    t_result(frn_schedule_parse(&w.zones, text, &s, error, sizeof error), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "once it is written out"));

    memset(text, 'A', sizeof text);
    memcpy(text, "TZ=", 3);
    (void)snprintf(text + 3 + FRN_ZONE_NAME_MAX, 8, " 5m");
    t_result(frn_schedule_parse(&w.zones, text, &s, error, sizeof error), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "does not know"));
    (void)snprintf(text + 3 + FRN_ZONE_NAME_MAX, 8, "A 5m");
    t_result(frn_schedule_parse(&w.zones, text, &s, error, sizeof error), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "of 96 bytes"));

    for (i = 0; i < sizeof error; i++) {    /* words are cut, not written beyond their end */
        memset(error, 'x', sizeof error);
        t_result(frn_schedule_parse(&w.zones, "61 * * * *", &s, error, i), FRANCIS_ERR_INVALID);
        assert_true(i == 0 || memchr(error, 0, i) != NULL);
        assert_true(error[i] == 'x');
    }
    world_free(&w);
}

static void computed_intervals(void **state)
{
    frn_schedule s;
    char         error[200] = "", text[FRN_SCHEDULE_TEXT_MAX];
    (void)state;

    t_ok(frn_schedule_every(90000, &s, error, sizeof error));
    frn_schedule_text(&s, text, sizeof text);
    assert_string_equal(text, "PT1M30S");
    t_ok(frn_schedule_every(1, &s, error, sizeof error));
    t_ok(frn_schedule_every(FRN_INTERVAL_MAX, &s, error, sizeof error));
    t_result(frn_schedule_every(FRN_INTERVAL_MAX + 1, &s, error, sizeof error),
             FRANCIS_ERR_INVALID);
    assert_true(frn_schedule_is_none(&s));
    t_result(frn_schedule_every(INT64_MAX, &s, error, sizeof error), FRANCIS_ERR_INVALID);
    t_result(frn_schedule_every(0, &s, error, sizeof error), FRANCIS_ERR_INVALID);
    t_result(frn_schedule_every(-5, &s, error, sizeof error), FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "-5 ms"));
    t_result(frn_schedule_every(INT64_MIN, &s, NULL, 0), FRANCIS_ERR_INVALID);
}

static const char *const text_cases[][2] = {
    { "90s", "PT1M30S" },
    { "  90s\t", "PT1M30S" },
    { "1500", "PT1.500S" },
    { "1", "PT0.001S" },
    { "60000", "PT1M" },
    { "1h30m", "PT1H30M" },
    { "1d", "PT24H" },
    { "1w2d3h4m5s6ms", "PT219H4M5.006S" },
    { "@every 1.5h", "PT1H30M" },
    { "@every  P1D", "P1D" },
    { "P1W", "P7D" },
    { "P14M", "P1Y2M" },
    { "P12M", "P1Y" },
    { "P1Y2M10DT2H30M", "P1Y2M10DT2H30M" },
    { "P0Y1M", "P1M" },
    { "PT90M", "PT1H30M" },
    { "PT0.2S", "PT0.200S" },
    { "PT0.02S", "PT0.020S" },
    { "PT61.002S", "PT1M1.002S" },
    { "P10000YT87658200H", "P10000YT87658200H" },
    { "* * * * *", "* * * * *" },
    { "?  ?\t? ? ?", "* * * * *" },
    { "*/1 */1 */1 */1 */1", "* * * * *" },
    { "1,*,5 * * * *", "* * * * *" },
    { "0-59 * * * *", "0-59 * * * *" },
    { "*/15 */2 */3 */4 */5", "*/15 */2 */3 */4 */5" },
    { "*/15,7 * * * *", "0,7,15,30,45 * * * *" },
    { "5/20 9-17 1,2,3 jan-MAR,Dec mon-fri", "5,25,45 9-17 1-3 1-3,12 1-5" },
    { "0 0 * * 7", "0 0 * * 0" },
    { "0 0 * * 5-7", "0 0 * * 0,5,6" },
    { "0 0 * * 1-7", "0 0 * * 0-6" },
    { "03,02,01 00 1 1 *", "1-3 0 1 1 *" },
    { "1,2 0 1 1 *", "1,2 0 1 1 *" },
    { "@hourly", "0 * * * *" },
    { "@daily", "0 0 * * *" },
    { "@midnight", "0 0 * * *" },
    { "@weekly", "0 0 * * 0" },
    { "@monthly", "0 0 1 * *" },
    { "@yearly", "0 0 1 1 *" },
    { "@annually", "0 0 1 1 *" },
    { "TZ=UTC @daily", "0 0 * * *" },
    { "CRON_TZ=Z 5m", "PT5M" },
    { "CRON_TZ=CET-1CEST,M3.5.0,M10.5.0/3   @daily", "TZ=CET-1CEST,M3.5.0,M10.5.0/3 0 0 * * *" },
    { "TZ=<+03>-3 P1D", "TZ=<+03>-3 P1D" },
    { "TZ=EST5 @every 5m", "TZ=EST5 PT5M" },
};

static void texts(void **state)
{
    world        w;
    frn_schedule s;
    char         text[FRN_SCHEDULE_TEXT_MAX], cut[8];
    size_t       i;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(text_cases); i++) {
        s = parsed(&w, text_cases[i][0]);
        frn_schedule_text(&s, text, sizeof text);
        assert_string_equal(text, text_cases[i][1]);
    }
    memset(cut, 'x', sizeof cut);
    frn_schedule_text(&s, cut, 5);
    assert_memory_equal(cut, "TZ=E\0xxx", 8);
    memset(&s, 0, sizeof s);
    frn_schedule_text(&s, text, sizeof text);
    assert_string_equal(text, "");
    world_free(&w);
}

static void text_round_trip(world *w, const char *repeat)
{
    frn_schedule s, again;
    char         text[FRN_SCHEDULE_TEXT_MAX], second[FRN_SCHEDULE_TEXT_MAX];

    if (!usable(w, repeat))
        return;
    s = parsed(w, repeat);
    frn_schedule_text(&s, text, sizeof text);
    again = parsed(w, text);
    frn_schedule_text(&again, second, sizeof second);
    assert_string_equal(text, second);
    assert_memory_equal(&s, &again, sizeof s);
}

/* A field of a cron expression, of any form that there is. */
static void random_field(uint64_t *seed, int least, int most, char *out, size_t size)
{
    int     terms = (int)random_within(seed, 1, 4);
    int64_t low, high;
    size_t  used = 0;

    for (; terms > 0; terms--) {
        low = random_within(seed, least, most);
        high = random_within(seed, low, most);
        switch (next_random(seed) % 6) {
        case 0: used += (size_t)snprintf(out + used, size - used, "*"); break;
        case 1:
            low = low < least + 1 ? least + 1 : low;
            used += (size_t)snprintf(out + used, size - used, "*/%d", (int)low);
            break;
        case 2: used += (size_t)snprintf(out + used, size - used, "%d/2", (int)low); break;
        case 3:
            used += (size_t)snprintf(out + used, size - used, "%d-%d", (int)low, (int)high);
            break;
        case 4:
            used += (size_t)snprintf(out + used, size - used, "%d-%d/3", (int)low, (int)high);
            break;
        default: used += (size_t)snprintf(out + used, size - used, "%d", (int)low); break;
        }
        if (terms > 1)
            used += (size_t)snprintf(out + used, size - used, ",");
    }
}

static void random_cron(uint64_t *seed, const char *zone, char *out, size_t size)
{
    static const int least[] = { 0, 0, 1, 1, 0 }, most[] = { 59, 23, 28, 12, 6 };
    char             fields[5][64];
    int              i;

    for (i = 0; i < 5; i++) {
        if (next_random(seed) % 3 == 0)
            (void)snprintf(fields[i], sizeof fields[i], "*");
        else
            random_field(seed, least[i], most[i], fields[i], sizeof fields[i]);
    }
    (void)snprintf(out, size, "%s%s %s %s %s %s", zone, fields[0], fields[1], fields[2], fields[3],
                   fields[4]);
}

static void round_trips(void **state)
{
    world    w;
    uint64_t seed = 11;
    char     text[400];
    size_t   i;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(next_cases); i++)
        text_round_trip(&w, next_cases[i].repeat);
    for (i = 0; i < FRN_COUNT(duration_cases); i++)
        text_round_trip(&w, duration_cases[i].repeat);
    for (i = 0; i < 3000; i++) {
        random_cron(&seed, i % 2 == 0 ? "" : "TZ=CET-1CEST,M3.5.0,M10.5.0/3 ", text, sizeof text);
        text_round_trip(&w, text);
    }
    world_free(&w);
}

/* Days on which clocks change, in each of the forms, and one that is a leap day or is not. */
static void days_of_rules(void **state)
{
    static const struct {
        const char *rule;
        int64_t     year, month, day, hour;
    } cases[] = {
        { "J59/1", 2023, 2, 28, 1 },    { "J59/1", 2024, 2, 28, 1 },
        { "J60/1", 2023, 3, 1, 1 },     { "J60/1", 2024, 3, 1, 1 },
        { "J365", 2024, 12, 31, 2 },    { "J1/-1", 2024, 1, 1, -1 },
        { "0/0", 2024, 1, 1, 0 },       { "58", 2023, 2, 28, 2 },
        { "59/1", 2023, 3, 1, 1 },      { "59/1", 2024, 2, 29, 1 },
        { "60/1", 2024, 3, 1, 1 },      { "365", 2024, 12, 31, 2 },
        { "364", 2023, 12, 31, 2 },     { "365", 2023, 12, 32, 2 },
        { "M2.5.4", 2024, 2, 29, 2 },   { "M2.5.4", 2023, 2, 23, 2 },
        { "M2.4.4", 2024, 2, 22, 2 },   { "M9.1.0/167", 2024, 9, 1, 167 },
        { "M9.1.6/-167", 2024, 9, 7, -167 },
    };
    size_t i;
    (void)state;

    for (i = 0; i < FRN_COUNT(cases); i++) {
        char          text[60];
        frn_zone_rule rule;
        int64_t       day = frn_date_to_day(cases[i].year, cases[i].month, 1) + cases[i].day - 1;

        (void)snprintf(text, sizeof text, "AAA5BBB,%s,M1.1.1", cases[i].rule);
        assert_true(frn_posix_parse(text, &rule));
        if (frn_rule_change(&rule, 1, cases[i].year) != day * DAY + (cases[i].hour + 5) * HOUR)
            fail_msg("%s in %d", cases[i].rule, (int)cases[i].year);
    }
}

/* ---- what always holds ---- */

static const char *const zones_tried[] = {
    "", "TZ=CET-1CEST,M3.5.0,M10.5.0/3 ", "TZ=<+1030>-10:30<+11>-11,M10.1.0,M4.1.0 ",
    "TZ=EST5EDT,0/0,J365/25 ", "TZ=AAA-12BBB11,J100/0,J200/0 ", "TZ=AAA11BBB-12,J100/0,J200/0 ",
    "TZ=Europe/Rome ", "TZ=America/New_York ", "TZ=Australia/Lord_Howe ", "TZ=Pacific/Apia ",
    "TZ=Africa/Casablanca ", "TZ=America/Caracas ",
};

/* Of a chain of occurrences: each after the one before, with nothing in between, and counted. */
static void hold(const frn_schedule *s, const char *repeat, int64_t anchor, int64_t from)
{
    int64_t at = from, next;
    int     k;

    for (k = 0; k < 12; k++, at = next) {
        next = frn_schedule_next(s, anchor, at);
        if (next == FRN_NEVER_DUE)
            return;
        if (next <= at || frn_schedule_next(s, anchor, next - 1) != next ||
            frn_schedule_count(s, anchor, at, next - 1, 9) != 0 ||
            frn_schedule_count(s, anchor, from, next, UINT64_MAX) != (uint64_t)k + 1)
            fail_msg("\"%s\", anchor %lld: after %lld from %lld, next is %lld", repeat,
                     (long long)anchor, (long long)at, (long long)from, (long long)next);
    }
}

static void always_cron(void **state)
{
    world    w;
    uint64_t seed = 42;
    char     text[400];
    int      i;
    (void)state;

    world_init(&w);
    for (i = 0; i < 4000; i++) {
        frn_schedule s;
        random_cron(&seed, zones_tried[i % (int)FRN_COUNT(zones_tried)], text, sizeof text);
        if (!usable(&w, text) ||
            frn_schedule_parse(&w.zones, text, &s, NULL, 0) != FRANCIS_OK)
            continue;
        hold(&s, text, 0, random_within(&seed, -40 * 366 * DAY, 80 * 366 * DAY));
    }
    world_free(&w);
}

static void always_intervals(void **state)
{
    static const char *const repeats[] = { "P1D", "P1M", "P3M", "P1Y", "P2W", "P1DT1H", "P1MT1S",
                                           "P1M1D", "90s", "7", "1d" };
    world                    w;
    uint64_t                 seed = 43;
    char                     text[400];
    int                      i;
    (void)state;

    world_init(&w);
    for (i = 0; i < 4000; i++) {
        const char  *zone = zones_tried[i % (int)FRN_COUNT(zones_tried)];
        int64_t      anchor = random_within(&seed, -40 * 366 * DAY, 50 * 366 * DAY);
        frn_schedule s;

        if (i % 3 == 0)                     /* midnights and other edges are more than rare */
            anchor -= anchor % (HOUR / 2);
        (void)snprintf(text, sizeof text, "%s%s", zone,
                       repeats[next_random(&seed) % FRN_COUNT(repeats)]);
        if (!usable(&w, text))
            continue;
        s = parsed(&w, text);
        hold(&s, text, anchor, anchor - 1);
        hold(&s, text, anchor, anchor + random_within(&seed, 0, 60 * 366 * DAY));
    }
    world_free(&w);
}

/* Around every change of clocks, minute by minute. */
static void always_at_edges(void **state)
{
    static const char *const repeats[] = { "*/15 * * * *", "*/15 1,2 * * *", "0 */2 * * *",
                                           "30 2 * * *", "0 0 * * *", "* 0-3 * * *" };
    world                    w;
    size_t                   i, k, z;
    char                     text[400];
    (void)state;

    world_init(&w);
    for (z = 0; z < FRN_COUNT(zones_tried); z++)
        for (k = 0; k < FRN_COUNT(repeats); k++) {
            frn_schedule s;
            frn_span     span;
            (void)snprintf(text, sizeof text, "%s%s", zones_tried[z], repeats[k]);
            if (!usable(&w, text))
                continue;
            s = parsed(&w, text);
            for (span = frn_zone_span(s.zone, Y2024 - 20 * 366 * DAY), i = 0; i < 20; i++) {
                span = frn_zone_span(s.zone, span.end < Y2024 ? span.end : Y2024);
                if (span.start < 0)
                    break;
                hold(&s, text, 0, span.start - 2 * HOUR);
                hold(&s, text, 0, span.start - 1);
                hold(&s, text, 0, span.start);
                hold(&s, text, 0, span.start + 20 * MINUTE + 1);
            }
        }
    world_free(&w);
}

/* ---- far away ---- */

static void without_repetition(void **state)
{
    world        w;
    frn_schedule s;
    char         error[100] = "";
    (void)state;

    world_init(&w);
    t_ok(frn_schedule_parse(&w.zones, NULL, &s, error, sizeof error));
    assert_true(frn_schedule_is_none(&s) && !frn_schedule_is_cron(&s));
    t_ok(frn_schedule_parse(&w.zones, "", &s, error, sizeof error));
    assert_true(frn_schedule_is_none(&s));
    assert_true(frn_schedule_next(&s, Y2024, Y2024 - 1) == Y2024);
    assert_true(frn_schedule_next(&s, Y2024, Y2024) == FRN_NEVER_DUE);
    assert_true(frn_schedule_count(&s, Y2024, 0, Y2024, 9) == 1);
    assert_true(frn_schedule_count(&s, Y2024, Y2024, FRN_TIME_MAX, 9) == 0);
    world_free(&w);
}

static void far_away(void **state)
{
    static const char *const repeats[] = {
        "1ms", "P1D", "P1M", "P10000Y", "* * * * *", "0 0 1 1 *", "TZ=EST5EDT,M3.2.0,M11.1.0 P1D",
        "TZ=EST5EDT,M3.2.0,M11.1.0 0 2 * * *", "TZ=EST5EDT,M3.2.0,M11.1.0 0 * * * *"
    };
    static const int64_t ats[] = { INT64_MIN,        INT64_MIN + 1,    FRN_TIME_MIN - 1,
                                   FRN_TIME_MIN,     FRN_TIME_MIN + 1, -1,
                                   0,                FRN_TIME_MAX - 1, FRN_TIME_MAX,
                                   FRN_TIME_MAX + 1, INT64_MAX - 1,    INT64_MAX };
    world                w;
    size_t               i, a, b, c;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(repeats); i++) {
        frn_schedule s = parsed(&w, repeats[i]);
        size_t       anchors = frn_schedule_is_cron(&s) ? 1 : FRN_COUNT(ats);
        for (a = 0; a < anchors; a++)
            for (b = 0; b < FRN_COUNT(ats); b++) {
                int64_t next = frn_schedule_next(&s, ats[a], ats[b]);
                assert_true(next == FRN_NEVER_DUE || (next > ats[b] && next >= FRN_TIME_MIN &&
                                                      next <= FRN_TIME_MAX));
                for (c = 0; c < FRN_COUNT(ats); c++) {
                    uint64_t n = frn_schedule_count(&s, ats[a], ats[b], ats[c], UINT64_MAX);
                    assert_true((n > 0) == (next != FRN_NEVER_DUE && next <= ats[c]));
                }
            }
    }
    world_free(&w);
}

static void all_of_them(void **state)
{
    world        w;
    frn_schedule s;
    (void)state;

    world_init(&w);
    s = parsed(&w, "* * * * *");            /* 10,000 years, of which year 0 is not one */
    assert_true(frn_schedule_count(&s, 0, INT64_MIN, INT64_MAX, UINT64_MAX) ==
                (uint64_t)3652059 * 1440);
    s = parsed(&w, "0 0 29 2 *");
    assert_true(frn_schedule_count(&s, 0, INT64_MIN, INT64_MAX, UINT64_MAX) == 2424);
    s = parsed(&w, "P1D");
    assert_true(frn_schedule_count(&s, INT64_MIN, INT64_MIN, INT64_MAX, UINT64_MAX) == 3652059);
    assert_true(frn_schedule_count(&s, INT64_MIN, INT64_MIN, INT64_MAX, 10) == 10);
    s = parsed(&w, "P1M");
    assert_true(frn_schedule_count(&s, INT64_MIN, INT64_MIN, INT64_MAX, UINT64_MAX) == 9999 * 12);
    s = parsed(&w, "1ms");
    assert_true(frn_schedule_count(&s, INT64_MIN, INT64_MIN, INT64_MAX, UINT64_MAX) ==
                (uint64_t)(FRN_TIME_MAX - FRN_TIME_MIN) + 1);
    assert_true(frn_schedule_next(&s, INT64_MIN, Y2024) == Y2024 + 1);
    world_free(&w);
}

/* ---- zone files ---- */

/* Rome around 2023 by a list of changes, with what comes later by rule; or the first in 32 bits. */
typedef struct file {
    size_t        size;
    unsigned char bytes[2048];
} file;

static void file_number(file *f, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0)
        f->bytes[f->size++] = (unsigned char)(value >> (8 * bytes));
}

static void file_block(file *f, char version, unsigned width, size_t count, const int64_t *times,
                       uint32_t leaps)
{
    size_t i;

    file_number(f, 0x545a6966u, 4);
    file_number(f, (unsigned char)version, 1);
    for (i = 0; i < 15; i++)
        file_number(f, 0, 1);
    file_number(f, 2, 4);               /* isut, isstd, leap, times, types, chars */
    file_number(f, 2, 4);
    file_number(f, leaps, 4);
    file_number(f, count, 4);
    file_number(f, 2, 4);
    file_number(f, 9, 4);
    for (i = 0; i < count; i++)
        file_number(f, (uint64_t)times[i], width);
    for (i = 0; i < count; i++)
        file_number(f, (i + 1) % 2, 1);
    file_number(f, 3600, 4);
    file_number(f, 0, 2);
    file_number(f, 7200, 4);
    file_number(f, 0x0104, 2);
    memcpy(f->bytes + f->size, "CET\0CEST", 9);
    f->size += 9;
    for (i = 0; i < leaps; i++)
        file_number(f, 0, width + 4);
    file_number(f, 0, 4);               /* isstd, isut */
}

static const int64_t rome_changes[] = { 1648342800, 1667091600, 1679792400, 1698541200 };

static void file_rome(file *f, char version, const char *footer)
{
    f->size = 0;
    file_block(f, version, 4, version == 0 ? 4 : 0, rome_changes, 0);
    if (version == 0)
        return;
    file_block(f, version, 8, 4, rome_changes, 0);
    f->size += (size_t)snprintf((char *)f->bytes + f->size, sizeof f->bytes - f->size, "\n%s\n",
                                footer);
}

static frn_zone *file_zone(world *w, const file *f, francis_result expected)
{
    unsigned char *exact = (unsigned char *)malloc(f->size > 0 ? f->size : 1);
    frn_zone      *z = NULL;

    assert_non_null(exact);
    memcpy(exact, f->bytes, f->size);           /* sanitizers see what is read beyond the end */
    t_result(frn_tzif_read(&w->b->mem, "Test/Rome", exact, f->size, &z), expected);
    free(exact);
    return z;
}

static int64_t hours_at(const frn_zone *z, int64_t s)
{
    return frn_zone_span(z, s * 1000).offset / HOUR;
}

static void zone_files(void **state)
{
    static const char *const footers[] = { "CET-1CEST,M3.5.0,M10.5.0/3", "" };
    static const char        versions[] = { 0, '2', '3', '4' };
    world                    w;
    file                     f;
    frn_zone                *z;
    size_t                   i, k;
    (void)state;

    world_init(&w);
    for (i = 0; i < sizeof versions; i++)
        for (k = 0; k < 2; k++) {
            file_rome(&f, versions[i], footers[k]);
            z = file_zone(&w, &f, FRANCIS_OK);
            assert_int_equal(hours_at(z, 0), 1);
            assert_int_equal(hours_at(z, 1648342799), 1);
            assert_int_equal(hours_at(z, 1648342800), 2);
            assert_int_equal(hours_at(z, 1667091599), 2);
            assert_int_equal(hours_at(z, 1667091600), 1);
            assert_int_equal(hours_at(z, 1698541200), 1);
            /* 2040-07-01: by rule where there is one */
            assert_int_equal(hours_at(z, 2224972800), versions[i] != 0 && k == 0 ? 2 : 1);
            frn_mem_free(&w.b->mem, z, z->bytes);
        }
    world_free(&w);
}

static void zone_files_refused(void **state)
{
    static const char *const footers[] = { "CET", "CET-1CEST", "CET-1CEST,M3.5.0,M10.5.0/3 ", "\t",
                                           "CET-1CEST,M3.5.0,M10.5.0/3,M1.1.1" };
    static const int64_t     twice[] = { 1648342800, 1648342800 };
    static const int64_t     back[] = { 1667091600, 1648342800 };
    world                    w;
    file                     f, good;
    size_t                   i;
    char                     version;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(footers); i++) {
        file_rome(&f, '2', footers[i]);
        (void)file_zone(&w, &f, FRANCIS_ERR_CORRUPT);
    }
    for (version = '2';; version = 0) {                 /* every cut, of both forms */
        file_rome(&good, version, "CET-1CEST,M3.5.0,M10.5.0/3");
        for (i = 0; i < good.size; i++) {
            f = good;
            f.size = i;
            (void)file_zone(&w, &f, FRANCIS_ERR_CORRUPT);
        }
        if (version == 0)
            break;
    }
    f.size = 0;
    file_block(&f, 0, 4, 2, twice, 0);
    (void)file_zone(&w, &f, FRANCIS_ERR_CORRUPT);
    f.size = 0;
    file_block(&f, 0, 4, 2, back, 0);
    (void)file_zone(&w, &f, FRANCIS_ERR_CORRUPT);
    f.size = 0;
    file_block(&f, 0, 4, 4, rome_changes, 1);           /* counts leap seconds */
    (void)file_zone(&w, &f, FRANCIS_ERR_CORRUPT);
    file_rome(&f, '5', "");
    (void)file_zone(&w, &f, FRANCIS_ERR_CORRUPT);
    file_rome(&f, '1', "");
    (void)file_zone(&w, &f, FRANCIS_ERR_CORRUPT);
    world_free(&w);
}

/* A zone that is read in spite of a wrong byte is another zone, and all ends and agrees in it. */
static void check_zone(const frn_zone *z, uint64_t *seed)
{
    static const uint64_t all = ~UINT64_C(0);
    frn_schedule          s;
    int64_t               at = random_within(seed, 0, 80 * 366 * DAY), next;

    memset(&s, 0, sizeof s);
    s.zone = z;
    s.days = 1;
    next = frn_schedule_next(&s, at - 20 * DAY, at);
    assert_true(next > at);
    assert_true(frn_schedule_count(&s, at - 20 * DAY, at, next, 9) == 1);
    s.days = 0;
    s.cron[FRN_CRON_MINUTE] = 0xf;
    s.cron[FRN_CRON_HOUR] = 0x00ff0f;
    s.cron[FRN_CRON_DAY] = s.cron[FRN_CRON_MONTH] = all;
    s.cron[FRN_CRON_WEEKDAY] = 0x7f;
    s.star[FRN_CRON_DAY] = 1;
    hold(&s, "fixed, in a zone file with a wrong byte", 0, at);
    s.star[FRN_CRON_HOUR] = 1;
    hold(&s, "flowing, in a zone file with a wrong byte", 0, at);
}

static void wrong_bytes(world *w, const file *good)
{
    uint64_t seed = 44;
    size_t   i;
    int      bit, read_all_the_same = 0;

    for (i = 0; i < good->size; i++)
        for (bit = 0; bit < 9; bit++) {
            file           f = *good;
            frn_zone      *z = NULL;
            francis_result r;
            f.bytes[i] = bit < 8 ? (unsigned char)(f.bytes[i] ^ 1u << bit)
                                 : (unsigned char)next_random(&seed);
            r = frn_tzif_read(&w->b->mem, "Test/Rome", f.bytes, f.size, &z);
            assert_true(r == FRANCIS_OK || (r == FRANCIS_ERR_CORRUPT && z == NULL));
            if (r == FRANCIS_OK) {
                read_all_the_same++;
                check_zone(z, &seed);
                frn_mem_free(&w->b->mem, z, z->bytes);
            }
        }
    assert_true(read_all_the_same > 0);
}

static void zone_files_wrong(void **state)
{
    world w;
    file  f;
    (void)state;

    world_init(&w);
    file_rome(&f, '2', "CET-1CEST,M3.5.0,M10.5.0/3");
    wrong_bytes(&w, &f);
    file_rome(&f, 0, "");
    wrong_bytes(&w, &f);
    world_free(&w);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *out = fopen(path, "wb");

    assert_non_null(out);
    assert_true(fwrite(data, 1, size, out) == size);
    assert_int_equal(fclose(out), 0);
}

/* The directory of zone files is one of ours here. */
static void zone_directory(void **state)
{
    static unsigned char large[FRN_ZONE_FILE_MAX + 1];
    world                w;
    file                 f;
    frn_schedule         s;
    const frn_zone      *one, *again;
    char                 error[400] = "";
    (void)state;

    world_init(&w);
    file_rome(&f, '2', "CET-1CEST,M3.5.0,M10.5.0/3");
    assert_int_equal(mkdir(t_path("Area"), 0700), 0);
    write_file(t_path("Area/Rome"), f.bytes, f.size);
    write_file(t_path("Cut"), f.bytes, f.size - 1);
    write_file(t_path("Empty"), f.bytes, 0);
    memcpy(large, f.bytes, f.size);
    write_file(t_path("Large"), large, sizeof large);
    assert_int_equal(mkfifo(t_path("Pipe"), 0600), 0);
    w.zones.directory = t_dir();

    t_ok(frn_zones_find(&w.zones, "Area/Rome", &one));
    t_ok(frn_zones_find(&w.zones, "Area/Rome", &again));
    assert_ptr_equal(one, again);
    assert_int_equal(w.zones.count, 1);
    s = parsed(&w, "TZ=Area/Rome 30 2 * * *");
    assert_ptr_equal(s.zone, one);
    assert_true(frn_schedule_next(&s, 0, INT64_C(1679788800000)) == INT64_C(1679792400000));
    t_ok(frn_zones_find(&w.zones, "UTC", &again));
    assert_null(again);
    t_result(frn_zones_find(&w.zones, "Area", &one), FRANCIS_ERR_CORRUPT);
    t_result(frn_zones_find(&w.zones, "Cut", &one), FRANCIS_ERR_CORRUPT);
    t_result(frn_zones_find(&w.zones, "Empty", &one), FRANCIS_ERR_CORRUPT);
    t_result(frn_zones_find(&w.zones, "Large", &one), FRANCIS_ERR_CORRUPT);
    t_result(frn_zones_find(&w.zones, "Pipe", &one), FRANCIS_ERR_CORRUPT);
    t_result(frn_zones_find(&w.zones, "Area/Milan", &one), FRANCIS_ERR_NOT_FOUND);
    t_result(frn_zones_find(&w.zones, "Area/Rome/Trevi", &one), FRANCIS_ERR_NOT_FOUND);
    assert_null(one);
    t_result(frn_schedule_parse(&w.zones, "TZ=Cut 5m", &s, error, sizeof error),
             FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "\"Cut\", whose file is damaged"));
    assert_int_equal(w.zones.count, 1);
    world_free(&w);
}

/* All names that most systems have files of, at the instants where their clocks change. */
static void zones_of_the_system(void **state)
{
    static const char *const names[] = {
        "Africa/Cairo",       "Africa/Monrovia",    "America/Caracas",  "America/Nuuk",
        "America/Sao_Paulo",  "America/St_Johns",   "Antarctica/Troll", "Asia/Gaza",
        "Asia/Kathmandu",     "Asia/Manila",        "Asia/Pyongyang",   "Asia/Tehran",
        "Australia/Eucla",    "Europe/London",      "Europe/Dublin",    "Europe/Moscow",
        "Pacific/Kwajalein",  "Pacific/Kiritimati", "Pacific/Apia",     "Pacific/Norfolk",
        "America/Juneau",     "Europe/Istanbul",    "Etc/GMT+12",       "Etc/GMT-14",
    };
    world  w;
    size_t i;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_COUNT(names); i++) {
        char         text[100];
        frn_schedule days, cron;
        frn_span     span;

        (void)snprintf(text, sizeof text, "TZ=%s P1D", names[i]);
        if (!usable(&w, text))
            continue;
        days = parsed(&w, text);
        (void)snprintf(text, sizeof text, "TZ=%s */30 */3 * * *", names[i]);
        cron = parsed(&w, text);
        for (span = frn_zone_span(days.zone, -200 * 366 * DAY); span.end < 100 * 366 * DAY;
             span = frn_zone_span(days.zone, span.end)) {
            hold(&days, names[i], span.end - 3 * DAY, span.end - 3 * DAY);
            hold(&cron, names[i], 0, span.end - 3 * HOUR);
            hold(&cron, names[i], 0, span.end - 1);
        }
    }
    world_free(&w);
}

/* ---- the list of zones ---- */

static void too_many_zones(void **state)
{
    world        w;
    frn_schedule s;
    char         text[60], error[300] = "";
    int          i;
    (void)state;

    world_init(&w);
    for (i = 0; i < FRN_ZONES_MAX; i++) {
        (void)snprintf(text, sizeof text, "TZ=AAA%d:%d:%d 5m", i / 3600, i / 60 % 60, i % 60);
        (void)parsed(&w, text);
    }
    (void)parsed(&w, text);                 /* one of them again */
    t_result(frn_schedule_parse(&w.zones, "TZ=BBB1 5m", &s, error, sizeof error),
             FRANCIS_ERR_INVALID);
    assert_non_null(strstr(error, "1000 of them"));
    (void)parsed(&w, "TZ=UTC 5m");
    world_free(&w);
}

typedef struct seeker {
    pthread_t       thread;
    world          *w;
    const frn_zone *found[8];
} seeker;

static void *seek(void *arg)
{
    seeker *k = (seeker *)arg;
    char    name[16];
    int     i;

    for (i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof name, "AAA%d", i);
        (void)frn_zones_find(&k->w->zones, name, &k->found[i]);
    }
    return NULL;
}

static void zones_of_threads(void **state)
{
    world  w;
    seeker seekers[4];
    int    i, k;
    (void)state;

    world_init(&w);
    for (i = 0; i < 4; i++) {
        memset(&seekers[i], 0, sizeof seekers[i]);
        seekers[i].w = &w;
        assert_int_equal(pthread_create(&seekers[i].thread, NULL, seek, &seekers[i]), 0);
    }
    for (i = 0; i < 4; i++)
        assert_int_equal(pthread_join(seekers[i].thread, NULL), 0);
    for (i = 0; i < 4; i++)
        for (k = 0; k < 8; k++) {
            assert_non_null(seekers[i].found[k]);
            assert_ptr_equal(seekers[i].found[k], seekers[0].found[k]);
        }
    assert_int_equal(w.zones.count, 8);
    world_free(&w);
}

static void without_memory(void **state)
{
    static const char *const repeats[] = { "TZ=CET-1CEST,M3.5.0,M10.5.0/3 @daily",
                                           "TZ=Other/Rome @daily" };
    world                    w;
    file                     f;
    frn_schedule             s;
    char                     error[200];
    unsigned long            n;
    size_t                   i;
    (void)state;

    file_rome(&f, '2', "CET-1CEST,M3.5.0,M10.5.0/3");
    assert_int_equal(mkdir(t_path("Other"), 0700), 0);
    write_file(t_path("Other/Rome"), f.bytes, f.size);
    for (i = 0; i < 2; i++) {
        world_init(&w);
        w.zones.directory = t_dir();
        for (n = 1;; n++) {
            francis_result r;
            fault_alloc_fail(&w.b->memory, n, false);
            memset(&s, 0x5a, sizeof s);
            r = frn_schedule_parse(&w.zones, repeats[i], &s, error, sizeof error);
            if (r == FRANCIS_OK)
                break;
            t_result(r, FRANCIS_ERR_NOMEM);
            assert_string_equal(error, "out of memory");
            assert_true(frn_schedule_is_none(&s));
            assert_int_equal(w.zones.count, 0);
        }
        assert_int_equal(n, i == 0 ? 2 : 3);
        fault_alloc_fail(&w.b->memory, 0, false);
        world_free(&w);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(durations),
    cmocka_unit_test(occurrences),
    cmocka_unit_test(ranges),
    cmocka_unit_test(refused),
    cmocka_unit_test(lengths),
    cmocka_unit_test(computed_intervals),
    cmocka_unit_test(texts),
    cmocka_unit_test(round_trips),
    cmocka_unit_test(days_of_rules),
    cmocka_unit_test(always_cron),
    cmocka_unit_test(always_intervals),
    cmocka_unit_test(always_at_edges),
    cmocka_unit_test(without_repetition),
    cmocka_unit_test(far_away),
    cmocka_unit_test(all_of_them),
    cmocka_unit_test(zone_files),
    cmocka_unit_test(zone_files_refused),
    cmocka_unit_test(zone_files_wrong),
    cmocka_unit_test(zone_directory),
    cmocka_unit_test(zones_of_the_system),
    cmocka_unit_test(too_many_zones),
    cmocka_unit_test(zones_of_threads),
    cmocka_unit_test(without_memory),
};

int main(void)
{
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    t_clean();
    return failed;
}
