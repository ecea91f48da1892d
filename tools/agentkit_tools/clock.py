"""`Clock`: the time and arithmetic with dates, in any time zone."""

from __future__ import annotations

import calendar
import difflib
import zoneinfo
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from agentkit import tool
from agentkit.errors import ConfigError, ModelRetry
from agentkit.tools import ToolResult, Toolset

__all__ = ["Clock"]

_Zone = Annotated[str, "A time zone such as 'Europe/Paris' or 'UTC'; empty for the user's own."]


class Clock(Toolset):
    """Tools for the current time, conversions between zones, and date arithmetic.

    Args:
        timezone: The user's own zone, by its IANA name.
        now: Returns the time instead of the system's clock; it must have a time zone.

    Raises:
        ConfigError: There is no such zone.
    """

    def __init__(self, timezone: str = "UTC", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        try:
            self._own = zoneinfo.ZoneInfo(timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ConfigError(
                f"Clock({timezone!r}): there is no such time zone on this system; give an IANA name such as "
                "'Europe/Paris', and install the package tzdata if the system has no zones"
            ) from None
        self._now = now
        super().__init__(
            tool(self.current_time, thread=False),  # not read_only: an early call would return an early time
            *(tool(each, read_only=True) for each in (self.convert_time, self.shift_date, self.time_between)),
        )

    def current_time(self, timezone: _Zone = "") -> ToolResult:
        """Get the current date, weekday and time."""
        return _result(self._now().astimezone(self._zone(timezone)))

    def convert_time(
        self,
        time: Annotated[datetime, "A date and time in ISO format, such as 2026-03-29T14:30."],
        to_timezone: _Zone,
        from_timezone: Annotated[
            str, "The zone that the time is in, if it has no offset; empty for the user's own."
        ] = "",
    ) -> ToolResult:
        """Convert a date and time from one time zone to another."""
        if time.tzinfo is None:
            zone = self._zone(from_timezone)
            time = time.replace(tzinfo=zone)
            if time.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != time.replace(tzinfo=None):
                raise ModelRetry(f"{time:%Y-%m-%d %H:%M} does not exist in {zone.key}: the clocks are put forward then")
        return _result(time.astimezone(self._zone(to_timezone)))

    def shift_date(
        self,
        start: Annotated[date, "The date to count from, such as 2026-01-31; use current_time for today."],
        years: Annotated[int, "Years to add; negative to go back."] = 0,
        months: Annotated[int, "Months to add; negative to go back."] = 0,
        weeks: Annotated[int, "Weeks to add; negative to go back."] = 0,
        days: Annotated[int, "Days to add; negative to go back."] = 0,
    ) -> ToolResult:
        """Add years, months, weeks and days to a date, or subtract them. A month after 31 January ends February."""
        year, month = divmod(start.year * 12 + start.month - 1 + years * 12 + months, 12)
        try:
            last = calendar.monthrange(year, month + 1)[1]
            shifted = date(year, month + 1, min(start.day, last)) + timedelta(weeks=weeks, days=days)
        except (ValueError, OverflowError):
            raise ModelRetry("the date is outside the years 1 to 9999") from None
        return ToolResult(f"{shifted:%A}, {shifted.isoformat()}", shifted, metadata={"source": "clock"})

    def time_between(
        self,
        start: Annotated[datetime, "A date, or a date and time, in ISO format."],
        end: Annotated[datetime, "A date, or a date and time, in ISO format."],
    ) -> ToolResult:
        """Count the days, hours and minutes from one time to another; without offsets, in the user's zone."""
        aware = [each if each.tzinfo else each.replace(tzinfo=self._own) for each in (start, end)]
        between = aware[1].astimezone(UTC) - aware[0].astimezone(UTC)
        seconds = abs(int(between.total_seconds()))
        words = f"{seconds // 86400} days, {seconds % 86400 // 3600} hours and {seconds % 3600 // 60} minutes"
        if all(each.tzinfo is None for each in (start, end)) and start.time() == end.time():
            words = f"{abs((end.date() - start.date()).days)} days"  # regardless of clock changes in between
        direction = "the end is before the start, by " if between < timedelta(0) else ""
        return ToolResult(direction + words, between.total_seconds(), metadata={"source": "clock"})

    def _zone(self, name: str) -> zoneinfo.ZoneInfo:
        if not name:
            return self._own
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            known = {each.rpartition("/")[2].lower(): each for each in sorted(zoneinfo.available_timezones())}
            near = difflib.get_close_matches(name.rpartition("/")[2].replace(" ", "_").lower(), known, n=3)
            hint = f"; did you mean {' or '.join(known[each] for each in near)}?" if near else ""
            raise ModelRetry(f"there is no time zone {name!r}{hint}") from None


def _result(time: datetime) -> ToolResult:
    zone = getattr(time.tzinfo, "key", "")
    return ToolResult(f"{time:%A}, {time.isoformat(timespec='seconds')} ({zone})", time, metadata={"source": "clock"})
