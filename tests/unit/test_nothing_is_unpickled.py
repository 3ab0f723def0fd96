"""Nothing that is loaded from disk or network can run: no reader in the product executes what it reads."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
# Modules that run what they load, and functions that do.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "jsonpickle", "torch.package"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {"load_module", "exec_module", "read_pickle", "load_from_checkpoint", "load_state_dict_from_url"}


def suspicious(source: str) -> list[str]:
    """What in this text could run data, by line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{line}: import {name}" for name in names if name.split(".")[0] in MODULES or name in MODULES]
        if not isinstance(node, ast.Call):
            continue
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        if called in CALLS or last in METHODS:
            found.append(f"{line}: {called}")
        elif called in ("torch.load", "torch.hub.load", "torch.jit.load") and options.get("weights_only") != "True":
            found.append(f"{line}: {called} without weights_only=True")
        elif called in ("np.load", "numpy.load", "np.fromfile") and options.get("allow_pickle", "False") != "False":
            found.append(f"{line}: {called} with allow_pickle")
        elif options.get("shell") == "True" or called in ("os.system", "os.popen"):
            found.append(f"{line}: {called} by a shell")
        elif last in ("fromstring", "parse", "XMLParser") and "etree" in called and options.get("resolve_entities") != "False":
            found.append(f"{line}: {called} resolves entities")
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "subprocess.run(line, shell=True)",
        "lxml.etree.fromstring(text)",
        "Model.load_from_checkpoint(path)",
    ],
)
def test_what_could_run_data_is_noticed(text: str) -> None:
    assert suspicious(text)


def test_no_module_of_the_product_could_run_what_it_loads() -> None:
    modules = [file for package in ("cameras", "inspection", "training") for file in (TOP / package).rglob("*.py")]
    assert len(modules) > 150
    found = {str(file.relative_to(TOP)): lines for file in modules if (lines := suspicious(file.read_text(encoding="utf-8")))}
    assert found == {}
