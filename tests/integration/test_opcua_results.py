"""Results over OPC UA, read by a client of another making: npm's node-opcua."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from filelock import FileLock
from opcua_station import MODEL, PASSWORD, USER, OpcUaStation, need_nodesets

from inspection.domain import Verdict
from inspection.opcua.security import own_identity

CLIENT = Path(__file__).parents[1] / "support" / "opcua_client.cjs"
PACKAGE = "node-opcua-client@2.182.2"
POLICIES = ("Aes256_Sha256_RsaPss", "Aes128_Sha256_RsaOaep", "Basic256Sha256")


@pytest.fixture(scope="session")
def node_modules(request: pytest.FixtureRequest) -> Path:
    """A folder into which npm has installed the client; kept for the next run."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not installed; it brings the client that these tests use")
    folder: Path = request.config.cache.mkdir("node-opcua")
    with FileLock(folder / "lock"):
        if not (folder / "node_modules" / "node-opcua-client" / "package.json").is_file():
            command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--no-save", PACKAGE]
            result = subprocess.run(command, capture_output=True, text=True, timeout=280)
            if result.returncode:
                pytest.skip(f"npm could not install {PACKAGE}: {result.stderr[-300:]}")
    return folder


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, seeder_class: Any) -> Iterator[OpcUaStation]:
    need_nodesets()
    station = OpcUaStation(tmp_path_factory.mktemp("opcua"), seeder_class)
    with station.running():
        yield station


class Client:
    """The node process. ``said`` are its lines, as they come."""

    def __init__(self, station: OpcUaStation, modules: Path, folder: Path, **wanted: Any) -> None:
        identity_dir = wanted.pop("identity_dir", station.directory / "client")
        identity = own_identity(identity_dir, "client")
        pem = folder / "client.pem"
        pem.write_bytes(x509.load_der_x509_certificate(identity.certificate).public_bytes(Encoding.PEM))
        arguments = {
            "url": station.url,
            "pki": str(folder / "pki"),
            "uri": identity.uri,
            "certificate": str(pem),
            "key": str(identity_dir / "own-key.pem"),
            "mode": "SignAndEncrypt",
            "policy": POLICIES[0],
            "user": USER,
            "password": PASSWORD,
        } | wanted
        command = ["node", str(CLIENT), str(modules), json.dumps(arguments)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def next(self) -> dict[str, Any]:
        """What it says next; waits for it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # the rest is node-opcua's own talk
                return json.loads(line)
        raise AssertionError(f"the client ended: {self._process.wait()}")


def test_a_lot_of_300_is_listed_page_by_page(station: OpcUaStation, node_modules: Path, tmp_path: Path) -> None:
    verdicts = [Verdict.PASS, Verdict.FAIL, Verdict.REVIEW, Verdict.NOT_INSPECTED]
    with station.seeding() as seeder:
        seeder.lot("L300")
        seeder.lot("other")
        seqs = []
        for number in range(300):
            seqs.append(seeder.inspection("L300", f"S{number}", verdicts[number % 4], camera="top"))
            seeder.inspection("other", f"S{number}")
    with Client(station, node_modules, tmp_path, list="L300") as client:
        assert client.next() == {"connected": True}
        pages = [client.next() for _ in range(3)]
    assert [page["count"] for page in pages] == [100, 100, 100]
    assert [page["complete"] for page in pages] == [False, False, True]
    assert [page["error"] for page in pages] == [0, 0, 0]
    results = [result for page in pages for result in page["page"]]
    assert [result["resultId"]["id"] for result in results] == [f"cell/{seq}" for seq in seqs]
    assert [result["partId"]["id"] for result in results] == [f"S{number}" for number in range(300)]
    for number, result in enumerate(results):
        verdict = verdicts[number % 4]
        content = result["resultContent"][0]["value"]
        assert content["verdict"] == verdict
        assert content["evaluation"] == {"pass": 1, "fail": 2}.get(verdict, 3)
        assert result["resultState"] == (4 if verdict is Verdict.NOT_INSPECTED else 1)
        assert result["measId"]["id"] == "L300"
        assert result["jobId"]["id"] == "cell/lot/L300"
        assert result["productId"]["id"] == "plate"
        assert result["isSimulated"] is True
        assert result["isPartial"] is False
        inspected = verdict is not Verdict.NOT_INSPECTED
        assert result["internalRecipeId"]["id"] == (MODEL if inspected else "")
        assert content.get("reason") == (None if inspected else "frame_lost")


def test_each_part_recorded_while_a_client_listens_is_an_event(station: OpcUaStation, node_modules: Path, tmp_path: Path) -> None:
    with Client(station, node_modules, tmp_path, events=250) as client:
        assert client.next() == {"connected": True}
        assert client.next() == {"listening": True}
        seqs = []
        for batch in range(25):
            with station.seeding() as seeder:
                if batch == 0:
                    seeder.lot("live")
                seqs += [seeder.inspection("live", f"P{batch}-{part}", Verdict.FAIL) for part in range(10)]
        events = [client.next()["event"] for _ in range(250)]
    assert [event["ResultId"]["id"] for event in events] == [f"cell/{seq}" for seq in seqs]
    last = events[-1]
    assert (last["MeasId"]["id"], last["PartId"]["id"], last["JobId"]["id"]) == ("live", "P24-9", "cell/lot/live")
    assert last["ResultState"] == 1
    assert last["IsSimulated"] is False
    assert last["InternalRecipeId"]["id"] == MODEL
    assert last["ResultContent"][0]["evaluation"] == 2


@pytest.mark.parametrize("policy", POLICIES)
def test_each_current_policy_connects(station: OpcUaStation, node_modules: Path, tmp_path: Path, policy: str) -> None:
    with Client(station, node_modules, tmp_path, policy=policy) as client:
        assert client.next() == {"connected": True}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"user": None}, "ANONYMOUS"),
        ({"password": "correct horse staple"}, "BadUserAccessDenied"),
        ({"user": "nobody"}, "BadUserAccessDenied"),
        ({"mode": "None", "policy": "None"}, ""),
        ({"mode": "Sign"}, ""),
    ],
    ids=["anonymous", "wrong password", "unknown user", "no security", "signed only"],
)
def test_who_may_not_connect_is_refused(
    station: OpcUaStation, node_modules: Path, tmp_path: Path, wanted: dict[str, Any], said: str
) -> None:
    with Client(station, node_modules, tmp_path, **wanted) as client:
        assert said in client.next()["failed"]


def test_a_client_whose_certificate_is_not_trusted_is_refused_and_its_certificate_kept(
    station: OpcUaStation, node_modules: Path, tmp_path: Path
) -> None:
    stranger = own_identity(tmp_path / "stranger", "client")
    with Client(station, node_modules, tmp_path, identity_dir=tmp_path / "stranger") as client:
        assert "BadCertificateUntrusted" in client.next()["failed"]
    kept = [path for path in (station.home / "rejected").iterdir() if path.read_bytes() == stranger.certificate]
    assert len(kept) == 1
    # What the administrator does, without a restart.
    trusted = kept[0].rename(station.home / "trusted" / "stranger.der")
    with Client(station, node_modules, tmp_path, identity_dir=tmp_path / "stranger") as client:
        assert client.next() == {"connected": True}
    trusted.unlink()
    with Client(station, node_modules, tmp_path, identity_dir=tmp_path / "stranger") as client:
        assert "BadCertificateUntrusted" in client.next()["failed"]
