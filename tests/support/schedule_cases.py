"""What the test of schedules expects, computed by other means: Python's datetime and zoneinfo, and
by trying one minute, day or occurrence after the other.

    python3 tests/support/schedule_cases.py > tests/support/schedule_cases.h

The instants of zones with a name are of the past, so that no later edition of the zone database
changes them. Years to come are those of POSIX strings, without days of the form n (0 to 365): Python
3.11 takes them for the day before.
"""
import io
import struct
from calendar import monthrange
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
NEVER = "INT64_MAX"
NAMES = {
    3: {n: i + 1 for i, n in enumerate(
        "jan feb mar apr may jun jul aug sep oct nov dec".split())},
    4: {n: i for i, n in enumerate("sun mon tue wed thu fri sat".split())},
}
LEAST, MOST = (0, 0, 1, 1, 0), (59, 23, 31, 12, 6)
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def ms_of(at):
    return (at - EPOCH) // timedelta(milliseconds=1)


def at_of(ms):
    return EPOCH + timedelta(milliseconds=ms)


def zone_of(name):
    """A POSIX string becomes a zone file that has nothing but its last line."""
    if name == "UTC":
        return timezone.utc
    if not any(c in name for c in ",<0123456789") or name.startswith("Etc/"):
        return ZoneInfo(name)
    block = struct.pack(">4sc15x6L", b"TZif", b"2", 0, 0, 0, 0, 1, 4) + struct.pack(
        ">lBB4s", 0, 0, 0, b"LMT\0")
    return ZoneInfo.from_file(io.BytesIO(block + block + b"\n" + name.encode() + b"\n"), key=name)


def local_of(at, zone):
    return at.astimezone(zone).replace(tzinfo=None)


def instant_of(local, zone):
    """The first instant at which clocks show this, or, if they never do, what follows it."""
    at = local.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
    if local_of(at, zone) == local:
        return at
    low = local.replace(tzinfo=timezone.utc) - timedelta(hours=30)
    high = low + timedelta(hours=60)
    while high - low > timedelta(milliseconds=1):
        middle = low + (high - low) // timedelta(milliseconds=2) * timedelta(milliseconds=1)
        if local_of(middle, zone) >= local:
            high = middle
        else:
            low = middle
    return high


# ---- cron ----


def value_of(text, field):
    return NAMES.get(field, {}).get(text.lower(), None) if text.isalpha() else int(text)


def field_of(text, field):
    values = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        if span in "*?":
            low, high = LEAST[field], MOST[field]
        elif "-" in span:
            low, high = (value_of(t, field) for t in span.split("-"))
        else:
            low = value_of(span, field)
            high = MOST[field] if step else low
        values |= set(range(low, high + 1, int(step or 1)))
    return {v % 7 for v in values} if field == 4 else values


class Cron:
    def __init__(self, text, zone):
        self.zone = zone
        texts = DESCRIPTORS.get(text, text).split()
        self.fields = [field_of(t, i) for i, t in enumerate(texts)]
        self.either = texts[2] not in "*?" and texts[4] not in "*?"
        self.flows = texts[1][0] in "*?" and "," not in texts[1]

    def day(self, date):
        by_month = date.day in self.fields[2]
        by_week = date.isoweekday() % 7 in self.fields[4]
        return date.month in self.fields[3] and (
            by_month or by_week if self.either else by_month and by_week)

    def flowing(self, after):
        """Each minute that comes, read from the clocks."""
        at = after.replace(second=0, microsecond=0) + MINUTE
        while at.year < 2300:
            local = local_of(at, self.zone)
            if not self.day(local) and not self.day(local + timedelta(hours=6)):
                at += 60 * MINUTE
                continue
            if (self.day(local) and local.hour in self.fields[1]
                    and local.minute in self.fields[0]):
                yield at
            at += MINUTE

    def fixed(self, after):
        """Each date and time of day that is meant, then when that is."""
        date = local_of(after, self.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        date -= timedelta(days=2)
        last = after
        while date.year < 2300:
            for hour in sorted(self.fields[1]) if self.day(date) else ():
                for minute in sorted(self.fields[0]):
                    at = instant_of(date.replace(hour=hour, minute=minute), self.zone)
                    if at > last:
                        last = at
                        yield at
            date += timedelta(days=1)

    def occurrences(self, anchor, after):
        return self.flowing(after) if self.flows else self.fixed(after)


# ---- intervals ----


class Interval:
    def __init__(self, months, days, ms, zone):
        self.months, self.days, self.ms, self.zone = months, days, ms, zone

    def number(self, anchor, k):
        if k == 0 or self.months == self.days == 0:
            return anchor + k * timedelta(milliseconds=self.ms)
        local = local_of(anchor, self.zone)
        month = local.year * 12 + local.month - 1 + k * self.months
        year, month = month // 12, month % 12 + 1
        local = local.replace(year=year, month=month,
                              day=min(local.day, monthrange(year, month)[1]))
        local += timedelta(days=k * self.days)
        return instant_of(local, self.zone) + k * timedelta(milliseconds=self.ms)

    def occurrences(self, anchor, after):
        k = 0
        if self.months == self.days == 0 and after > anchor:
            k = (ms_of(after) - ms_of(anchor)) // self.ms
        last = after
        while True:
            try:
                at = self.number(anchor, k)
            except (OverflowError, ValueError):
                return
            if at > last:
                last = at
                yield at
            k += 1


def schedule_of(repeat):
    name = "UTC"
    if "TZ=" in repeat.split()[0]:
        first, repeat = repeat.split(None, 1)
        name = first.split("TZ=", 1)[1]
    zone = zone_of(name)
    if repeat in INTERVALS:
        return Interval(*INTERVALS[repeat], zone)
    return Cron(repeat, zone)


# What the texts of intervals below mean: months, days, ms.
INTERVALS = {
    "90s": (0, 0, 90000), "1h30m": (0, 0, 5400000), "250ms": (0, 0, 250), "1": (0, 0, 1),
    "7": (0, 0, 7), "1d": (0, 0, 86400000), "1w": (0, 0, 604800000), "PT5M": (0, 0, 300000),
    "PT24H": (0, 0, 86400000), "P1D": (0, 1, 0), "P2D": (0, 2, 0), "P1W": (0, 7, 0),
    "P2W": (0, 14, 0), "P1M": (1, 0, 0), "P2M": (2, 0, 0), "P3M": (3, 0, 0), "P1Y": (12, 0, 0),
    "P4Y": (48, 0, 0), "P1M1D": (1, 1, 0), "P1DT1H": (0, 1, 3600000),
    "P1Y2M10DT2H30M": (14, 10, 9000000), "P1MT0.5S": (1, 0, 500), "P1000Y": (12000, 0, 0),
    "@every 10m": (0, 0, 600000),
}
ROME, YORK, HOWE = "TZ=Europe/Rome ", "TZ=America/New_York ", "TZ=Australia/Lord_Howe "
CET, EST = "TZ=CET-1CEST,M3.5.0,M10.5.0/3 ", "TZ=EST5EDT,M3.2.0,M11.1.0 "
HALF = "TZ=<+1030>-10:30<+11>-11,M10.1.0,M4.1.0 "

# Zones, with instants around which their clocks change.
EDGES = {
    ROME: ["2023-03-26T01:00", "2023-10-29T01:00"],
    YORK: ["2024-03-10T07:00", "2024-11-03T06:00"],
    HOWE: ["2023-09-30T15:30", "2024-04-06T15:00"],
    CET: ["2052-03-31T01:00", "2052-10-27T01:00"],
    EST: ["2060-03-14T07:00", "2060-11-07T06:00"],
    HALF: ["2055-10-02T15:30", "2055-04-03T15:00"],
    "TZ=America/Sao_Paulo ": ["2018-11-04T03:00", "2018-02-18T02:00"],
    "TZ=Africa/Casablanca ": ["2022-03-27T02:00", "2022-05-08T02:00"],
    "TZ=Europe/Dublin ": ["2021-03-28T01:00", "2021-10-31T01:00"],
    "TZ=Pacific/Apia ": ["2011-12-30T10:00", "2010-09-26T11:00"],
    "TZ=Asia/Kolkata ": ["2024-02-28T18:30"],
    "TZ=Asia/Tokyo ": ["1951-09-07T15:00"],
    "TZ=Pacific/Chatham ": ["2023-09-23T14:00", "2024-04-06T14:00"],
    "TZ=<-03>3 ": ["2048-02-29T02:00"],
    "TZ=AAA3BBB,J60/0,J300/0 ": ["2044-03-01T03:00", "2044-10-27T02:00"],
    "TZ=EST5EDT,0/0,J365/25 ": ["2049-12-31T05:00"],
    "TZ=<-02>2<-01>,M3.5.0/-1,M10.5.0/0 ": ["2045-03-26T01:00", "2045-10-29T01:00"],
}
EDGE_REPEATS = [
    "30 2 * * *", "*/20 2 * * *", "0 * * * *", "15,45 */2 * * *", "0 0 * * *", "10 1-3 * * *",
    "P1D", "P1M",
]
PLAIN = [
    ("* * * * *", "2024-02-28T23:58"), ("0 0 29 2 *", "2023-01-01T00:00"),
    ("0 0 29 2 *", "2096-02-29T00:00"), ("0 12 31 * *", "2023-01-15T00:00"),
    ("0 0 30 * *", "2024-01-30T00:00"), ("5 4 * * sun", "2024-05-01T00:00"),
    ("5 4 * * 7", "2024-05-01T00:00"), ("5 4 * * 5-7", "2024-05-01T00:00"),
    ("0 22 * * 1-5", "2024-05-03T22:00"), ("0 0 13 * 5", "2024-09-01T00:00"),
    ("0 0 */2 * 5", "2024-09-01T00:00"), ("0 0 * * */2", "2024-09-01T00:00"),
    ("0 0 1-31 * 5", "2024-09-01T00:00"), ("0 0 13 * 0-6", "2024-09-01T00:00"),
    ("0 0 13 * ?", "2024-09-01T00:00"), ("? ? ? ? ?", "2024-09-01T00:00"),
    ("10/15 3/7 * * *", "2024-12-31T17:54"), ("1-59/2 * * * *", "1999-12-31T23:59"),
    ("0 0 1 1 *", "1999-12-31T23:59"), ("0 0 1 JAN-mar/2 *", "2024-01-01T00:00"),
    ("0 0 * feb MON", "2024-01-01T00:00"), ("0 0 29 2 1", "2021-03-01T00:00"),
    ("0,30,15 8,20 1,15 6,12 *", "2024-06-15T20:15"), ("59 23 31 12 *", "2024-12-31T23:59"),
    ("0 0 31 4,6,9,11,12 *", "2024-01-01T00:00"), ("*/7 */5 */10 */5 *", "2024-01-01T00:00"),
    ("0 */24 1 * *", "2024-01-02T00:00"), ("0 0 28-31 * 1", "2023-02-20T00:00"),
    ("0 1 2 3 4", "2000-01-01T00:00"), ("0\t0  1   *\t*", "2000-02-01T00:00"),
    ("@yearly", "2024-02-29T12:00"), ("@annually", "1969-12-31T23:59"),
    ("@monthly", "2023-12-31T00:00"), ("@weekly", "2024-02-25T00:00"),
    ("@daily", "2024-02-28T12:00"), ("@midnight", "1970-01-01T00:00"),
    ("@hourly", "2024-02-29T23:30"), ("0 0 1 1 *", "1900-01-01T00:00"),
    ("0 0 29 2 *", "1896-03-01T00:00"), ("30 6 * * mon,wed,fri", "1950-06-01T00:00"),
]
# Intervals: anchor, after.
STEPS = [
    ("90s", "2024-01-01T00:00:30", "2024-01-01T00:00:30"),
    ("90s", "2024-01-01T00:00:30", "2023-01-01T00:00:30"),
    ("1h30m", "1969-12-31T22:10:00", "2024-02-29T12:00:00"),
    ("250ms", "2024-01-01T00:00:00.125", "2031-01-01T00:00:00"),
    ("1", "1970-01-01T00:00:00", "2999-01-01T00:00:00"),
    ("7", "1907-03-04T05:06:07.008", "2107-03-04T05:06:07.008"),
    ("1d", "2023-03-20T00:00:00", "2023-03-27T05:00:00"),
    ("1w", "2023-03-20T00:00:00", "2024-03-27T05:00:00"),
    ("PT5M", "2024-01-01T00:02:00", "2024-05-01T00:02:00"),
    ("@every 10m", "2024-01-01T00:02:00", "2024-05-01T00:12:00"),
    ("PT24H", "2023-10-25T00:30:00", "2023-10-28T05:00:00"),
    ("P1D", "1960-02-28T23:59:59.999", "2024-02-28T23:59:59.998"),
    ("P2D", "2024-02-27T10:00:00", "2024-02-27T10:00:00"),
    ("P1W", "2023-03-19T02:30:00", "2023-03-26T00:30:00"),
    ("P2W", "2023-03-12T01:30:00", "2023-10-08T01:30:00"),
    ("P1M", "2023-01-31T12:00:00", "2023-01-31T12:00:00"),
    ("P1M", "2023-01-31T12:00:00", "2024-01-31T12:00:00"),
    ("P1M", "2024-01-30T02:30:00", "2024-02-01T02:30:00"),
    ("P1M", "1904-08-31T23:59:59", "2024-02-01T00:00:00"),
    ("P2M", "2023-12-31T00:00:00", "2023-12-31T00:00:00"),
    ("P3M", "2023-11-30T00:00:00", "2024-01-31T00:00:00"),
    ("P1Y", "2020-02-29T08:00:00", "2022-03-01T00:00:00"),
    ("P4Y", "1896-02-29T08:00:00", "1896-02-29T08:00:00"),
    ("P1M1D", "2024-01-31T09:00:00", "2024-01-31T09:00:00"),
    ("P1DT1H", "2023-03-24T02:30:00", "2023-03-24T02:30:00"),
    ("P1Y2M10DT2H30M", "2000-12-31T23:45:00", "2010-01-01T00:00:00"),
    ("P1MT0.5S", "2023-08-31T23:59:59.999", "2024-02-01T00:00:00"),
    ("P1000Y", "2024-02-29T00:00:00", "2024-02-29T00:00:00"),
    ("P1Y", "9990-06-01T00:00:00", "9996-06-01T00:00:00"),
]
DURATIONS = {
    "90s": "90", "1h30m": "5400", "1.5h": "5400", "250ms": "0.25", "2d": "172800",
    "1w": "604800", "1.25d": "108000", "0.001s": "0.001", "1500us": "0.001",
    "2000000ns": "0.002", "999999us1000ns": "1", "1m0.5s": "60.5", "1h1m1s1ms": "3661.001",
    "0.5w": "302400", "1.000000001h": "3600.0000036", "0.333333333m": "19.99999998",
    "1s1s": "2", "00010s": "10", "0h1m": "60", "1000": "1", "86400000": "86400",
    "315569520000000": "315569520000", "521774.5w": "315569217600", "1.999999999ms": "0.001",
    "0.9999s": "0.9999",
}


def text_of(repeat):
    return '"' + repeat.replace("\t", "\\t") + '"'


def parse_time(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def emit_case(repeat, anchor, after):
    found = []
    occurrences = schedule_of(repeat).occurrences(anchor, after)
    for at in occurrences:
        found.append(str(ms_of(at)))
        if len(found) == 4:
            break
    found += [NEVER] * (4 - len(found))
    print(f"    {{ {text_of(repeat)},")
    print(f"      {ms_of(anchor)}, {ms_of(after)},")
    print(f"      {{ {', '.join(found)} }} }},")


def emit_range(repeat, anchor, low, high):
    count, last = 0, None
    for at in schedule_of(repeat).occurrences(anchor, low):
        if at > high:
            break
        count, last = count + 1, at
    print(f"    {{ {text_of(repeat)},")
    print(f"      {ms_of(anchor)}, {ms_of(low)}, {ms_of(high)},")
    print(f"      {count}, {ms_of(last) if last else NEVER} }},")


def cases():
    for repeat, after in PLAIN:
        yield repeat, parse_time(after), parse_time(after)
    for zone, edges in EDGES.items():
        for edge in map(parse_time, edges):
            for repeat in EDGE_REPEATS:
                if repeat[0] == "P":
                    anchor = edge - timedelta(days=58, minutes=20)
                    yield zone + repeat, anchor, edge - timedelta(days=1)
                else:
                    yield zone + repeat, edge, edge - timedelta(minutes=95)
            yield zone + "*/15 1-2 * * *", edge, edge
            yield zone + "*/30 * * * *", edge, edge - timedelta(milliseconds=1)
            # In the second of two hours that have one name, the first has been.
            yield zone + "*/10 1,2 * * *", edge, edge + timedelta(minutes=25)
    for repeat, anchor, after in STEPS:
        anchor, after = parse_time(anchor), parse_time(after)
        yield repeat, anchor, after
        if after.year <= 2024 and anchor.year >= 1900:
            for zone in (ROME, YORK, HOWE):
                yield zone + repeat, anchor, after


def ranges():
    for zone, edges in EDGES.items():
        edge = parse_time(edges[0])
        for repeat in EDGE_REPEATS + ["*/5 0-4 * * *", "*/10 * * * 0"]:
            anchor = edge - timedelta(days=40, minutes=7)
            yield zone + repeat, anchor, edge - timedelta(days=1), edge + timedelta(hours=30)
            yield zone + repeat, anchor, edge - timedelta(days=200), edge + timedelta(days=90)
    # A day that was left out: Apia had no 30 December. Both days begin at one instant.
    anchor = parse_time("2011-12-27T10:00")
    for repeat in ("P1D", "P2D", "PT24H"):
        yield "TZ=Pacific/Apia " + repeat, anchor, anchor, anchor + timedelta(days=30)
    low, high = parse_time("1999-01-31T12:00"), parse_time("2024-03-01T00:00")
    for repeat in ("P1M", "P1D", "P1Y", "0 0 29 2 *", "15 3 13 * 5", "@monthly"):
        yield ROME + repeat, low, low, high
        yield repeat, low, low, high


def main():
    print("/* Made by schedule_cases.py, which says how. */")
    print("#ifndef SCHEDULE_CASES_H\n#define SCHEDULE_CASES_H\n\n#include <stdint.h>\n")
    print("static const struct {\n    const char *repeat;\n    int64_t     ms;")
    print("} duration_cases[] = {")
    for text, seconds in DURATIONS.items():
        print(f"    {{ {text_of(text)}, {int(Fraction(seconds) * 1000)} }},")
    print("};\n\n/* The four occurrences that follow an instant. */")
    print("static const struct {\n    const char *repeat;")
    print("    int64_t     anchor, after, next[4];\n} next_cases[] = {")
    for case in cases():
        emit_case(*case)
    print("};\n\n/* What lies in (from, to]. */\nstatic const struct {\n    const char *repeat;")
    print("    int64_t     anchor, from, to;\n    uint64_t    count;\n    int64_t     last;")
    print("} range_cases[] = {")
    for case in ranges():
        emit_range(*case)
    print("};\n\n#endif")


main()
