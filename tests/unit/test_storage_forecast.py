"""What becomes of the disk: the simulation against what can be worked out by hand."""

from __future__ import annotations

import pytest

from inspection.retention import GB, Limits
from inspection.storage_forecast import Use, forecast

# A hundred gigabytes of images of passed parts in ten days; one of others, and a tenth of that of records.
USE = Use(passes=0, rejects=0, database=0, passes_a_day=10 * GB, rejects_a_day=0.1 * GB, database_a_day=0.01 * GB)


def test_where_there_is_room_for_the_whole_time_nothing_goes_early() -> None:
    found = forecast(USE, 2_000 * GB, Limits(pass_days=90, min_free_bytes=2 * GB))
    assert found.short is None, "passes take 900 GB, and the others need 27 years for the rest"
    assert found.pass_days == pytest.approx(90)


def test_a_small_disk_holds_passes_as_long_as_it_can() -> None:
    found = forecast(USE, 202 * GB, Limits(pass_days=90, min_free_bytes=2 * GB))
    assert found.short == pytest.approx(200 / 10.11, abs=0.1)
    assert found.pass_days == pytest.approx(19.8, abs=1)
    # 200 GB, of which the others take 0.11 a day.
    assert found.no_passes == pytest.approx(200 / 0.11, abs=15)
    assert found.course[0].free == 202 * GB
    assert found.course[-1].day >= found.no_passes
    for point in found.course:
        assert point.free >= (2 * GB if point.day < found.no_passes else 0)
        assert point.passes + point.rejects + point.database + point.free == pytest.approx(202 * GB)


def test_the_quota_of_images_counts_where_it_is_less_than_the_disk() -> None:
    found = forecast(USE, 2_000 * GB, Limits(pass_days=90, max_bytes=50 * GB, min_free_bytes=2 * GB))
    assert found.short == pytest.approx(50 / 10.1, abs=0.1)
    assert found.no_passes == pytest.approx(50 / 0.1, abs=5)


def test_rejects_that_have_an_age_limit_end_growing() -> None:
    found = forecast(USE, 2_000 * GB, Limits(pass_days=90, reject_days=365, min_free_bytes=2 * GB))
    assert (found.short, found.no_passes, found.full) == (None, None, None)


def test_records_alone_fill_a_disk_at_last() -> None:
    use = Use(0, 0, 0, 0, 0, 1 * GB)
    found = forecast(use, 100 * GB, Limits(min_free_bytes=2 * GB))
    assert found.full == pytest.approx(100)
    assert found.pass_days is None
    assert found.in_words() == ["In 100 days the disk is full, and every part is rejected."]


def test_a_station_that_stands_still_has_no_end() -> None:
    found = forecast(Use(0, GB, GB, 0, 0, 0), 100 * GB, Limits())
    assert (found.short, found.pass_days, found.no_passes, found.full) == (None, None, None, None)
    assert found.in_words() == ["No end is in sight."]
