#!/usr/bin/env python3
"""When periodic jobs are due, by definition and not by search: what verk-cron is compared with.

    oracle.py FOLDER            every zone of the folder, from 2020 to 2029
    oracle.py FOLDER --golden   what is in the golden file: less of the schedules that repeat, and
                                what is due around two changes of the clocks, to be read

It uses the standard library only, and of that `zoneinfo` for one thing: the offset of a zone at an
instant. Everything else follows from the rule:

- The local time is the instant plus the offset.
- A schedule that repeats (with `*` or `/` in its minute or hour) is due at each instant whose local
  time fits.
- One that is fixed is due once for each local time that fits. If that is two instants, at the
  first. If it is none, at the first instant that has a later local time, unless the whole day does
  not exist.

The schedules are written down twice: as the text that verk-cron reads, and as sets here. This
program does not read expressions.

A line `zone NAME FROM TO` is followed by one `EXPRESSION|COUNT|HASH` for each schedule. The hash is
of all due times, in seconds of Unix: FNV-1a, by 64 bits at a time. `same NAME` repeats the zone
before under another name.
"""

import bisect
import calendar
import datetime
import os
import sys
import zoneinfo

DAY = 86400
MASK = (1 << 64) - 1
ANY = range(60), range(24)
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)


def last_day(day):
    return day.day == calendar.monthrange(day.year, day.month)[1]


def every_day(day):
    return True


def times(minutes, hours, second=0):
    return sorted(hour * 3600 + minute * 60 + second for hour in hours for minute in minutes)


# The expression, whether it is fixed, the times of a day in seconds, the days.
SCHEDULES = [
    ("30 2 * * *", True, times([30], [2]), every_day),
    ("0 0 * * *", True, times([0], [0]), every_day),
    ("@daily", True, times([0], [0]), every_day),
    ("0 2,3 * * *", True, times([0], [2, 3]), every_day),
    ("15,45 0-4 * * *", True, times([15, 45], range(0, 5)), every_day),
    ("59 59 23 * * *", True, times([59], [23], 59), every_day),
    ("0 7 * * MON-FRI", True, times([0], [7]), lambda day: day.weekday() <= FRI),
    ("30 23 * * SAT", True, times([30], [23]), lambda day: day.weekday() == SAT),
    ("20 1,2 * * SUN,WED", True, times([20], [1, 2]), lambda day: day.weekday() in (SUN, WED)),
    ("0 0 L * *", True, times([0], [0]), last_day),
    ("30 2 L * *", True, times([30], [2]), last_day),
    ("45 1 * * SUN#1", True, times([45], [1]), lambda day: day.weekday() == SUN and day.day <= 7),
    (
        "5 2 * * SUNL",
        True,
        times([5], [2]),
        lambda day: day.weekday() == SUN
        and day.day + 7 > calendar.monthrange(day.year, day.month)[1],
    ),
    (
        "30 2 29 3,10 SUN",
        True,
        times([30], [2]),
        lambda day: day.month in (3, 10) and (day.day == 29 or day.weekday() == SUN),
    ),
    ("0 12 29 2 *", True, times([0], [12]), lambda day: (day.month, day.day) == (2, 29)),
    ("*/15 * * * *", False, times(range(0, 60, 15), range(24)), every_day),
    ("30 * * * *", False, times([30], range(24)), every_day),
    ("@hourly", False, times([0], range(24)), every_day),
    ("*/20 2 * * *", False, times(range(0, 60, 20), [2]), every_day),
    ("0 */6 * * *", False, times([0], range(0, 24, 6)), every_day),
    ("10 0-23/5 * * SUN", False, times([10], range(0, 24, 5)), lambda day: day.weekday() == SUN),
    ("7-59/13 1-3 L * *", False, times(range(7, 60, 13), [1, 2, 3]), last_day),
]


def seconds(year, month=1, day=1):
    return calendar.timegm((year, month, day, 0, 0, 0))


def segments(zone, begin, end):
    """The parts of a time with one offset, as (begin, end, offset)."""

    def offset(instant):
        utc = datetime.datetime.fromtimestamp(instant, datetime.timezone.utc)
        return round(utc.astimezone(zone).utcoffset().total_seconds())

    parts = []
    since, now = begin, offset(begin)
    for hour in range(begin, end, 3600):
        after = offset(hour + 3600)
        if after == now:
            continue
        low, high = hour, hour + 3600
        while high - low > 1:
            middle = (low + high) // 2
            if offset(middle) == now:
                low = middle
            else:
                high = middle
        parts.append((since, high, now))
        since, now = high, after
    parts.append((since, end, now))
    return parts


def days(begin, end):
    """The days of the calendar that overlap a local time, with their first second."""
    for number in range(begin // DAY, -(-end // DAY)):
        yield datetime.date.fromordinal(719163 + number), number * DAY


def repeating(parts, wanted, fits):
    due = []
    for begin, end, offset in parts:
        for day, first in days(begin + offset, end + offset):
            if fits(day):
                for time in wanted:
                    instant = first + time - offset
                    if begin <= instant < end:
                        due.append(instant)
    return due


def fixed(parts, wanted, fits):
    due = set()
    local = [(begin + offset, end + offset) for begin, end, offset in parts]
    first_local = min(begin for begin, _ in local)
    last_local = max(end for _, end in local)
    for day, first in days(first_local, last_local):
        if not fits(day):
            continue
        near = [
            (part, span)
            for part, span in zip(parts, local)
            if span[0] < first + 4 * DAY and span[1] > first - 4 * DAY
        ]
        if not any(span[0] < first + DAY and span[1] > first for _, span in near):
            continue
        for time in wanted:
            wall = first + time
            instants = [wall - part[2] for part, span in near if span[0] <= wall < span[1]]
            if instants:
                due.add(min(instants))
            else:
                later = [part[0] for part, span in near if span[0] > wall]
                if later:
                    due.add(min(later))
    return sorted(due)


def hashed(due):
    value = 0xCBF29CE484222325
    for instant in due:
        value = ((value ^ instant) * 0x100000001B3) & MASK
    return f"{value:016x}"


def around(due, change):
    """What is due from a day before a change to a day after it, in seconds from it."""
    near = due[bisect.bisect_left(due, change - DAY) : bisect.bisect_right(due, change + DAY)]
    return " ".join(f"{instant - change:+}" for instant in near)


def report(parts, begin, end, kinds, golden):
    lines = []
    changes = [part[0] for part in parts[1:] if begin < part[0] < end]
    changes = [change for change in changes if change > seconds(2024) or end < seconds(2013)][:2]
    for expression, is_fixed, wanted, fits in SCHEDULES:
        if is_fixed not in kinds:
            continue
        due = (fixed if is_fixed else repeating)(parts, wanted, fits)
        due = [instant for instant in due if begin <= instant < end]
        lines.append(f"{expression}|{len(due)}|{hashed(due)}")
        if golden and len(due) < 40_000:
            lines += [f"  around {change}: {around(due, change)}" for change in changes]
    return lines


def version(folder):
    for name in ("+VERSION", "tzdata.zi"):
        try:
            with open(os.path.join(folder, name)) as file:
                return file.readline().split()[-1]
        except OSError:
            pass
    return "unknown"


def main():
    folder = sys.argv[1]
    golden = "--golden" in sys.argv
    zoneinfo.reset_tzpath([os.path.abspath(folder)])
    names = sorted(
        name
        for name in zoneinfo.available_timezones()
        if os.path.isfile(os.path.join(folder, name))
    )
    print(f"# Made by tests/oracle/oracle.py with the zones of tzdata {version(folder)}.")
    known, reports = {}, {}
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            known.setdefault(file.read(), []).append(name)
    for same in known.values():
        zone = zoneinfo.ZoneInfo(same[0])
        spans = [(seconds(2020), seconds(2030), {True, False})]
        if golden:
            spans = [
                (seconds(2020), seconds(2030), {True}),
                (seconds(2023), seconds(2026), {False}),
            ]
        if "Pacific/Apia" in same:
            spans.append((seconds(2011), seconds(2013), {True, False}))
        for begin, end, kinds in spans:
            parts = segments(zone, begin - 7 * DAY, end + 7 * DAY)
            # Many zones had the same offsets in these years.
            key = tuple(parts)
            if key not in reports:
                reports[key] = report(parts, begin, end, kinds, golden)
            print(f"zone {same[0]} {begin} {end}")
            print("\n".join(reports[key]))
        for other in same[1:]:
            print(f"same {other}")


main()
