"""Nothing that the product reads can be a program: no pickle and its kin, no eval, no shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("batch", "charts", "cli", "demo", "server", "slates", "source")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
RUN_WHAT_THEY_READ = {"cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve", "skops", "yaml"}
RUN_TEXT = {"compile", "eval", "exec", "__import__"}
OF_A_SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
"""Two processes of the product talk by pickle, over a pipe of their own or Dask's connections: docs/security.md."""


def flaws(tree: ast.AST) -> Iterator[str]:
    """Give what a file does that could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {name.name}" for name in node.names if name.name.split(".")[0] in RUN_WHAT_THEY_READ)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in RUN_WHAT_THEY_READ:
            yield f"imports from {node.module}"
        elif isinstance(node, ast.Call):
            yield from flaws_of_call(node)


def flaws_of_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
    last = name.rpartition(".")[2]
    if name in RUN_TEXT | OF_A_SHELL or given.get("shell", "False") != "False":
        yield f"calls {name}"
    is_numpy = name.startswith("np.") and last in {"load", "save", "savez", "savez_compressed", "write_array"}
    if is_numpy and given.get("allow_pickle") != "False":
        yield f"calls {name} without allow_pickle=False"
    if name == "torch.load":
        yield "calls torch.load, which reads pickle"
    if last in {"read_pickle", "to_pickle"}:
        yield f"calls {name}"
    if last == "from_pretrained" and "safe" not in ast.unparse(node):
        yield f"calls {name} without what forbids it code and pickle"


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_that_is_read_is_run(room: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {flaw}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] == room
        for flaw in flaws(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "subprocess.run(words, shell=True)",
        "torch.load(path)",
        "AutoModel.from_pretrained(name)",
        "pd.read_pickle(path)",
        "os.system(command)",
    ],
)
def test_the_rule_sees_what_it_should(code: str) -> None:
    assert list(flaws(ast.parse(code)))


def test_lightgbms_own_parser_reads_only_what_is_trained_here_or_written_anew() -> None:
    """It is C++ that trusts its input: a stranger's trees go through batch.trees and batch.plain_trees first."""
    calls = {
        (path.name, ast.unparse(node))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"as_booster", "lgb.Booster"}
    }
    assert calls == {
        ("train.py", "lgb.Booster(model_str=trees)"),  # as_booster itself
        ("why.py", "as_booster(plain_trees(model.trees, len(columns)))"),
        ("evaluate.py", "as_booster(model.trees)"),  # a model that a replay has trained
        ("grow_dask.py", "lgb.Booster(model_str=text)"),  # from workers, who talk by pickle in any case
    }
