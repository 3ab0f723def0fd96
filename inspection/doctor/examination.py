"""The whole examination, in order: configuration, cameras, processor, memory, disk, records, clock, network, system, speed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from inspection.config import Config, parse, read
from inspection.doctor import clock, disk, links, memory, network, processor, producers, records, speed, system
from inspection.doctor.findings import Finding, Outcome, failure, not_checked, ok
from inspection.doctor.producers import ProducerFacts
from inspection.doctor.running import NOTHING, Running, running
from inspection.errors import ConfigError

_CONFIGURATION = "configuration"


def examine(path: Path | None, seconds: float, progress: Callable[[str], None]) -> Iterator[Finding]:
    """Everything that can be looked at, with or without a configuration file. What runs of the station is left alone, and then
    parts per second are not measured; nor are they with ``seconds`` 0.
    """
    offset = clock.offset()
    config, runs = None, NOTHING
    if path is not None:
        try:
            config = parse(read(path), path.resolve())
            runs = running(config)
            yield ok(_CONFIGURATION, path.name, _said(config, runs))
        except ConfigError as error:
            yield failure(_CONFIGURATION, path.name, str(error), "correct it; what it names was not looked at")
    progress("cameras")
    features: dict[str, dict[str, str]] = {}
    yield from _cameras(config, runs, features)
    progress("processor and memory")
    yield from processor.judge(processor.probe())
    payloads = {name: size for name, each in features.items() if (size := producers.numbers(each, "PayloadSize")) is not None}
    yield from memory.judge(memory.probe(config, payloads))
    progress("disk")
    data_dir = config.data_dir if config is not None else Path.cwd()
    kept = int(config.images.min_free_gb * 1e9) if config is not None else 0
    found = disk.probe(data_dir, thorough=not runs, keep_free_bytes=kept)
    yield from disk.judge(found)
    if config is not None:
        progress("records")
        yield from _records(config)
        progress("network")
        yield from _network(config, runs)
    progress("system")
    yield from system.judge(system.probe(config.data_dir if config is not None else None))
    yield from _speed(config, runs, features, found, seconds, progress)
    progress("clock")
    yield from clock.judge(clock.probe(offset))


def _said(config: Config, runs: Running) -> str:
    said = f"cameras: {len(config.cameras)}, products: {len(config.products)}, receivers: {len(config.receivers)}"
    if not runs:
        return f"{said}; the station does not run"
    return f"{said}; the station runs: its cameras are not opened, and speed is what it recorded"


def _cameras(config: Config | None, runs: Running, features: dict[str, dict[str, str]]) -> Iterator[Finding]:
    """Fills ``features`` by the names of the cameras that could be opened."""
    folders = producers.gentl_folders()
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    files = sum(len(list(folder.glob("*.cti"))) for folder in folders)
    yield producers.judge_gentl_path(os.environ.get(producers.GENTL_PATH, ""), missing, files)
    machine = links.probe()
    kinds, payloads = [], []
    for producer, cameras in producers.producers(config).items():
        # A simulated camera is made anew for this; a real one that the station holds is not opened.
        simulated = any(camera.producer == "simulator" for camera in cameras)
        held = {camera.name: judged for camera in cameras if (judged := producers.judge_held(camera, runs)) is not None}
        wanted = cameras if simulated else [camera for camera in cameras if camera.name not in held]
        facts = producers.probe(producer, wanted, simulated)
        yield producers.judge_producer(producer, facts, configured=bool(cameras))
        for camera in cameras:
            opened = facts.cameras.get(camera.name)
            if opened is not None and opened.features:
                features[camera.name] = opened.features
            if camera.name in held:
                yield held[camera.name]
                continue
            yield from producers.judge_camera(camera, facts)
            if camera.name in features:
                kind = _link_of(facts, camera.serial)
                kinds.append(kind)
                payloads.append(producers.numbers(features[camera.name], "PayloadSize") or 0.0)
                yield from links.judge_link(camera.name, kind, features[camera.name], machine)
    yield from links.judge_buffers(kinds, payloads, machine)


def _link_of(facts: ProducerFacts, serial: str) -> str:
    devices = facts.survey.devices if facts.survey is not None else []
    return next((device["tl_type"] for device in devices if device["serial_number"] == serial), "")


def _records(config: Config) -> Iterator[Finding]:
    for facts in records.probe_files(config):
        yield records.judge_file(facts)
    yield from records.judge_database(records.probe_database(config))


def _network(config: Config, runs: Running) -> Iterator[Finding]:
    for what, host, port, process in network.served(config):
        yield network.judge_port(network.probe_port(what, host, port), process, runs)
    now = network.utc_now()
    for peer in network.peers(config):
        yield from network.judge_peer(network.probe_peer(*peer), now)
    if config.opcua is not None:
        from inspection.opcua.nodes import check_nodeset

        try:
            check_nodeset(config.data_dir / config.opcua.nodeset_dir)
        except ConfigError as error:
            yield failure(network.AREA, "OPC UA: NodeSet", str(error), "put it there")
        expires = network.own_certificate(config)
        if expires is not None:
            yield network.judge_expiry("OPC UA: certificate", expires, now)


def _speed(
    config: Config | None,
    runs: Running,
    features: dict[str, dict[str, str]],
    place: disk.DiskFacts,
    seconds: float,
    progress: Callable[[str], None],
) -> Iterator[Finding]:
    deadlines = {}
    for product in config.products if config is not None else ():
        exposure_us = producers.numbers(features.get(product.camera, {}), "ExposureTime") or 0.0
        deadlines[product.part_number] = (product.deadline_ms, exposure_us / 1e3)
    if runs:
        assert config is not None
        yield from speed.judge(speed.recorded(config), deadlines)
        return
    if not seconds or place.trouble is not None:
        yield not_checked(speed.AREA, "parts per second", "left out: --seconds 0" if not seconds else "nothing can be written")
        return
    sensors = [speed.sensor_of(each) for each in features.values()] or [speed.sensor_of({})]
    largest = max(sensors, key=lambda each: each.width * each.height)
    model = None
    if config is not None and records.probe_database(config).there:
        model = speed.deployed(config)
    cameras = len(config.cameras) if config is not None else 1
    facts = speed.measure(place.folder, model, largest, cameras, seconds, progress)
    yield from speed.judge(facts, deadlines)


def failed(findings: list[Finding]) -> bool:
    return any(each.outcome is Outcome.FAILURE for each in findings)
