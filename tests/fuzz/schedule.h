/* How something repeats: durations, ISO 8601, cron, zones by rule and by file. A text that is taken
 * is written in its plain form and read again; occurrences rise, are counted as they come, and are
 * those that a slow look at each minute finds. */
#ifndef FUZZ_SCHEDULE_H
#define FUZZ_SCHEDULE_H

enum { FUZZ_OCCURRENCES = 6, FUZZ_MINUTES = 400 };

/* A wide choice, or about our time. */
static int64_t fuzz_instant(void)
{
    const int64_t year_2000 = INT64_C(946684800000);
    unsigned      kind = fuzz_byte();
    int64_t       n = 0;

    if (kind < 32)
        return fuzz_64();
    for (int i = 0; i < 4; i++)
        n = n * 256 + (int64_t)fuzz_byte();
    return year_2000 + (kind < 128 ? n * 1000 : n % 36525 * FRN_DAY) + (int64_t)(kind % 3) - 1;
}

/* ---- zones ---- */

static void fuzz_zone_at(const frn_zone *z, int64_t ms)
{
    frn_span span = frn_zone_span(z, ms), next;
    int64_t  local, at;

    fuzz_must(span.start <= ms && ms < span.end);
    fuzz_must(span.offset >= -(int64_t)FRN_OFFSET_MAX && span.offset <= FRN_OFFSET_MAX);
    fuzz_must(frn_zone_seen(z, ms) >= ms + span.offset);
    if (span.end < FRN_FAR) {
        next = frn_zone_span(z, span.end);
        fuzz_must(next.start == span.end && next.end > next.start);
    }
    local = ms + span.offset;
    at = frn_zone_instant(z, local);
    fuzz_must(at <= ms && at + frn_zone_span(z, at).offset >= local);
    fuzz_must(frn_zone_seen(z, at - 1) < local);
}

/* A zone that is called Zone, if that is what the bytes are. */
static const frn_zone *fuzz_zone_add(frn_zones *zones)
{
    frn_zone      *z = NULL;
    size_t         size;
    const uint8_t *data = fuzz_take(fuzz_16(), &size);
    unsigned char *copy = (unsigned char *)malloc(size + 1);
    francis_result r;

    fuzz_must(copy != NULL);
    memcpy(copy, data, size);
    r = frn_tzif_read(zones->mem, "Zone", copy, size, &z);
    free(copy);
    fuzz_must(r == FRANCIS_OK || (r == FRANCIS_ERR_CORRUPT && z == NULL));
    if (z == NULL)
        return NULL;
    z->next = zones->first;
    zones->first = z;
    zones->count++;
    for (size_t i = 1; i < z->count; i++)
        fuzz_must(z->at[i - 1] < z->at[i]);
    return z;
}

/* At an instant, and about some of its changes. */
static void fuzz_zone_check(const frn_zone *z, int64_t ms)
{
    int64_t within = ms > FRN_TIME_MAX ? FRN_TIME_MAX : ms < FRN_TIME_MIN ? FRN_TIME_MIN : ms;

    fuzz_zone_at(z, within);
    for (size_t i = 0; i < z->count; i += 1 + z->count / 4)
        if (z->at[i] > FRN_TIME_MIN && z->at[i] < FRN_TIME_MAX) {
            fuzz_zone_at(z, z->at[i]);
            fuzz_zone_at(z, z->at[i] - 1);
        }
}

/* ---- cron, slowly ---- */

static bool fuzz_bit(uint64_t bits, int n) { return (bits >> n & 1) != 0; }

static bool fuzz_cron_matches(const frn_schedule *s, int64_t minute)    /* since 1970, in UTC */
{
    time_t    seconds = (time_t)(minute * 60);
    struct tm t;
    bool      day, weekday;

    fuzz_must(gmtime_r(&seconds, &t) != NULL);
    day = fuzz_bit(s->cron[FRN_CRON_DAY], t.tm_mday);
    weekday = fuzz_bit(s->cron[FRN_CRON_WEEKDAY], t.tm_wday);
    if (s->star[FRN_CRON_DAY] == 1 || s->star[FRN_CRON_WEEKDAY] == 1)
        day = day && weekday;
    else
        day = day || weekday;
    return day && fuzz_bit(s->cron[FRN_CRON_MINUTE], t.tm_min) &&
           fuzz_bit(s->cron[FRN_CRON_HOUR], t.tm_hour) &&
           fuzz_bit(s->cron[FRN_CRON_MONTH], t.tm_mon + 1);
}

/* The first after an instant, which is one of those that can be written. */
static void fuzz_cron_check(const frn_schedule *s, int64_t after, int64_t next)
{
    int64_t from = frn_floor_div(after, FRN_MINUTE) + 1, to;

    to = next == FRN_NEVER_DUE ? frn_floor_div(FRN_TIME_MAX, FRN_MINUTE) + 1 : next / FRN_MINUTE;
    if (next != FRN_NEVER_DUE)
        fuzz_must(next % FRN_MINUTE == 0 && fuzz_cron_matches(s, to));
    for (int64_t i = 0; i < FUZZ_MINUTES && from + i < to; i++)
        fuzz_must(!fuzz_cron_matches(s, from + i) && !fuzz_cron_matches(s, to - 1 - i));
}

/* ---- schedules ---- */

static bool fuzz_schedule_same(const frn_schedule *a, const frn_schedule *b)
{
    return a->zone == b->zone && a->ms == b->ms && a->months == b->months && a->days == b->days &&
           memcmp(a->cron, b->cron, sizeof a->cron) == 0 &&
           memcmp(a->star, b->star, sizeof a->star) == 0;
}

static void fuzz_schedule_again(frn_zones *zones, const frn_schedule *s)
{
    char         text[FRN_SCHEDULE_TEXT_MAX], again[FRN_SCHEDULE_TEXT_MAX], error[300];
    frn_schedule back;

    frn_schedule_text(s, text, sizeof text);
    fuzz_must(strlen(text) < sizeof text - 1 || strlen(text) == FRN_REPEAT_MAX);
    fuzz_must(frn_schedule_parse(zones, text, &back, error, sizeof error) == FRANCIS_OK);
    fuzz_must(fuzz_schedule_same(s, &back));
    frn_schedule_text(&back, again, sizeof again);
    fuzz_must(strcmp(text, again) == 0);
    fuzz_must(frn_repeat_is_cron(text) == frn_schedule_is_cron(s));
}

static void fuzz_schedule_next(const frn_schedule *s, int64_t anchor, int64_t after)
{
    int64_t  from = frn_time_within(after, FRN_TIME_MIN - 1), at = from, next, look;
    uint64_t count = 0;

    for (int i = 0; i < FUZZ_OCCURRENCES; i++, at = next) {
        next = frn_schedule_next(s, anchor, at);
        if (frn_schedule_is_cron(s) && s->zone == NULL && at > FRN_TIME_MIN)
            fuzz_cron_check(s, at, next);
        if (next == FRN_NEVER_DUE)
            break;
        fuzz_must(next > at && next <= FRN_TIME_MAX);
        fuzz_must(frn_schedule_count(s, anchor, at, next - 1, 9) == 0);
        fuzz_must(frn_schedule_count(s, anchor, at, next, 9) == 1);
        count++;
        look = frn_alarm_look_ms(s, next);
        fuzz_must(look <= next && (next <= 0 || next - look < FRN_LOOK_BUCKET_MS));
    }
    fuzz_must(frn_schedule_count(s, anchor, from, at, 9) == count);
}

/* Without months and zones an interval is arithmetic. */
static void fuzz_interval_check(const frn_schedule *s, int64_t anchor, int64_t after)
{
    int64_t period = s->ms + s->days * (int64_t)FRN_DAY, next = frn_schedule_next(s, anchor, after);

    if (s->zone != NULL || s->months != 0 || period == 0 || next == FRN_NEVER_DUE ||
        anchor < FRN_TIME_MIN || after < FRN_TIME_MIN)
        return;
    fuzz_must((next - anchor) % period == 0);
    fuzz_must(next == anchor || next - period <= after);
}

static void fuzz_schedule_text(frn_zones *zones, const char *text, int64_t anchor, int64_t after)
{
    char           error[300] = "";
    frn_schedule   s;
    francis_result r = frn_schedule_parse(zones, text, &s, error, sizeof error);

    fuzz_must(r == FRANCIS_OK || (r == FRANCIS_ERR_INVALID && error[0] != '\0'));
    fuzz_must(r == FRANCIS_OK || frn_schedule_is_none(&s));
    if (r != FRANCIS_OK || frn_schedule_is_none(&s))
        return;
    fuzz_schedule_again(zones, &s);
    fuzz_schedule_next(&s, anchor, after);
    if (!frn_schedule_is_cron(&s))
        fuzz_interval_check(&s, anchor, after);
    if (s.zone != NULL)
        fuzz_zone_check(s.zone, after);
}

static void fuzz_every(int64_t ms, int64_t anchor, int64_t after)
{
    char           error[300] = "";
    frn_schedule   s;
    francis_result r = frn_schedule_every(ms, &s, error, sizeof error);

    fuzz_must((r == FRANCIS_OK) == (ms > 0 && ms <= FRN_INTERVAL_MAX));
    if (r == FRANCIS_OK)
        fuzz_interval_check(&s, anchor, after);
    else
        fuzz_must(error[0] != '\0');
}

static void fuzz_schedule(const uint8_t *data, size_t size)
{
    base           *b = fuzz_base_new(data, size);
    unsigned        mode = fuzz_byte();
    int64_t         anchor = fuzz_instant(), after = fuzz_instant();
    const frn_zone *z = NULL;
    frn_zones       zones;
    char           *text, with[400];

    frn_zones_init(&zones, &b->mem);
    zones.directory = "/nonexistent";
    if ((mode & 1) != 0)
        z = fuzz_zone_add(&zones);
    if (z != NULL)
        fuzz_zone_check(z, after);
    if ((mode & 2) != 0)
        fuzz_every(fuzz_64(), anchor, after);
    text = fuzz_text(300);
    if ((mode & 4) != 0) {
        (void)snprintf(with, sizeof with, "TZ=Zone %s", text);
        fuzz_schedule_text(&zones, with, anchor, after);
    } else {
        fuzz_schedule_text(&zones, text, anchor, after);
    }
    free(text);
    frn_zones_free(&zones);
    base_free(b);
}

#endif
