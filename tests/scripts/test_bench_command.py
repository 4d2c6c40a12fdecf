"""scripts/bench/common/command.py: what is wrong is said in one line, with the right exit code."""

from collections.abc import Callable

import pytest

from embeddings.errors import SynthtraceError
from tests.helpers import loading


def failing(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code", "told"),
    [
        (lambda: None, 0, ""),
        (lambda: 3, 3, ""),
        (failing(SynthtraceError("x.png: no such file")), 2, "bench/x.py: x.png: no such file\n"),
        (failing(FileNotFoundError("gone")), 2, "bench/x.py: gone\n"),
        (failing(KeyboardInterrupt()), 130, "bench/x.py: stopped\n"),
    ],
)
def test_a_script_ends_in_one_line(main: Callable[[], int], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with loading.script("bench/common/command") as module, pytest.raises(SystemExit) as ended:
        module.run("bench/x.py", main)
    assert ended.value.code == code
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(("name", "given"), [("crops", ["CT"]), ("unseen", [])])
def test_a_wrong_argument_is_told_in_one_line(name: str, given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with loading.script(f"bench/{name}") as module, pytest.raises(SystemExit) as ended:
        module.main(given)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"bench/{name}.py: ")
