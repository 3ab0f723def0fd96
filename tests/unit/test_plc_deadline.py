"""The deadline for an accept, from the conveyor's geometry; and a configuration that cannot hold says what to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspection import config as configuration
from inspection.config import Config, PlcConfig
from inspection.errors import ConfigError
from inspection.plc.deadline import accept_deadline_ms

STATION = """
[[cameras]]
name = "top"
serial = "1"

[[products]]
part_number = "p"
camera = "top"
deadline_ms = 500

[plc]
camera = "top"
rejector_distance_mm = 600
accept_window_mm = 40
max_speed_mm_per_s = 1000
actuator_ms = 30
"""


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "station.toml"
    path.write_text(text)
    return configuration.load(path)


def test_the_deadline_is_when_the_fastest_part_comes_to_the_rejector() -> None:
    assert accept_deadline_ms(600, 40, 1_000, 30) == pytest.approx(530)
    assert accept_deadline_ms(600, 40, 500, 30) == pytest.approx(1_090)


def test_a_station_is_without_plc_unless_it_is_configured(tmp_path: Path) -> None:
    assert load(tmp_path, STATION.split("[plc]")[0]).plc is None
    plc = load(tmp_path, STATION).plc
    assert plc is not None
    assert plc.deadline_ms == pytest.approx(530)
    assert (plc.host, plc.port) == ("127.0.0.1", 1502), "nobody else is let in by default"
    assert [str(network) for network in plc.allowed_clients] == ["127.0.0.1/32"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "max_speed_mm_per_s = 1000",
            "max_speed_mm_per_s = 1100",
            r"product p may take 500 ms.*after 479 ms; lower its deadline_ms",
        ),
        ("actuator_ms = 30", "actuator_ms = 600", r"40 ms before an accept could move it; raise plc\.rejector_distance_mm"),
        ("accept_window_mm = 40", "accept_window_mm = 600", "before an accept could move it"),
        ('[plc]\ncamera = "top"', '[plc]\ncamera = "side"', "plc names camera 'side'; there are top"),
        ("actuator_ms = 30", 'actuator_ms = 30\nallowed_clients = ["plc"]', r"plc\.allowed_clients"),
        ("actuator_ms = 30", "actuator_ms = 30\nallowed_clients = []", r"plc\.allowed_clients"),
        ("actuator_ms = 30", "", r"plc\.actuator_ms: Field required"),
    ],
)
def test_a_geometry_that_leaves_no_time_says_what_to_change(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in STATION
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, STATION.replace(old, new))


def test_only_products_of_its_camera_matter(tmp_path: Path) -> None:
    other = '\n[[cameras]]\nname = "side"\nserial = "2"\n\n[[products]]\npart_number = "q"\ncamera = "side"\ndeadline_ms = 9000\n'
    assert load(tmp_path, STATION + other).plc is not None


def test_clients_may_be_given_as_networks(tmp_path: Path) -> None:
    plc = load(tmp_path, STATION + 'allowed_clients = ["192.168.7.0/24", "fd00::1"]\n').plc
    assert isinstance(plc, PlcConfig)
    assert [str(network) for network in plc.allowed_clients] == ["192.168.7.0/24", "fd00::1/128"]
