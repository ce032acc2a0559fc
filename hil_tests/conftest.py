"""Fixtures that several files of tests use."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from hil_tests.command_line import VARIABLES, Ran, Run
from hil_tests.elements import EmbeddedBench, MakeBench, TpmBench
from hil_tests.ending import SIGNALS
from hil_tests.logical_units import NativeUnit, PlainUnit
from hil_tests.swtpm import Swtpm, missing
from host_driver.__main__ import main

KERNEL = Path(__file__).parent / "kernel"

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("sedlab", deadline=None)
settings.load_profile("sedlab")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--need-tpm", action="store_true", help="fail where a test with a TPM can't run, not skip"
    )
    parser.addoption("--kernel", action="store_true", help="collect the tests that boot a kernel")


def pytest_configure(config: pytest.Config) -> None:
    """Hand no signal that is ignored down to the programs that tests start.

    Whoever runs tests in the background, by nohup or by a shell's `&`, has the tests ignore them.
    """
    for each in SIGNALS:
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, lambda *_: None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what `make test-kernel` runs, as it takes more than pip."""
    is_left_out = collection_path == KERNEL and not config.getoption("--kernel", default=False)
    return True if is_left_out else None


@pytest.fixture(scope="session")
def swtpm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Swtpm]:
    """A TPM in software, running; tests that need one are skipped where it can't be had."""
    lacking = missing()
    if lacking and request.config.getoption("--need-tpm"):
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)
    tpm = Swtpm(tmp_path_factory.mktemp("tpm"))
    yield tpm
    tpm.cut_power()


@pytest.fixture
def tpm_bench(swtpm: Swtpm) -> Iterator[TpmBench]:
    """An element with a TPM, as it leaves the factory."""
    bench = TpmBench(swtpm)
    yield bench
    bench.close()


@pytest.fixture(params=["embedded", "tpm"])
def make_element(request: pytest.FixtureRequest) -> Iterator[MakeBench]:
    """Makes elements of one kind as they leave the factory, one at a time."""
    if request.param == "embedded":
        yield EmbeddedBench
        return
    swtpm: Swtpm = request.getfixturevalue("swtpm")
    made: list[TpmBench] = []

    def make_tpm() -> TpmBench:
        while made:
            made.pop().close()
        made.append(TpmBench(swtpm))
        return made[-1]

    yield make_tpm
    while made:
        made.pop().close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command in an empty folder, with an environment of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*arguments: str, **environment: str) -> Ran:
        for name in VARIABLES:
            monkeypatch.delenv(f"SEDLAB_{name}", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(f"SEDLAB_{name}", value)
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def locked() -> NativeUnit:
    """The logical unit of a locked drive, whose unit attentions were heard."""
    return NativeUnit().own()


@pytest.fixture
def opened(locked: NativeUnit) -> NativeUnit:
    """The logical unit of an open drive."""
    return locked.open()


@pytest.fixture
def plain() -> PlainUnit:
    """The logical unit of an ordinary stick."""
    return PlainUnit()
