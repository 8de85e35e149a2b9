"""Facts of the machine: which int8 kernels a runtime has for a processor, and what could disturb timings."""

import pytest

from quantbench.measure import machine
from quantbench.measure.machine import this_machine

CORE = "processor\t: {}\nmodel name\t: Made Up\nflags\t\t: fpu {}\n"
QUIET = {"proc/stat": "cpu  0 0 0 0 0 0 0 0\n"}


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes files of a made-up system, and looks at it."""
    monkeypatch.setattr(machine, "LOOK_S", 0.0)
    for name in machine.THREADS:
        monkeypatch.delenv(name, raising=False)

    def look(flags="avx2", files=QUIET):
        for name, text in {**files, "proc/cpuinfo": "\n".join(CORE.format(core, flags) for core in (0, 1))}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return this_machine(tmp_path)

    return look


@pytest.mark.parametrize(
    ("flags", "isa", "kernels"),
    [
        ("avx2 avx512f avx512_vnni", ("avx2", "avx512f", "avx512_vnni"), "avx512_vnni"),
        ("avx2 avx512vnni amx_int8", ("avx2", "avx512_vnni", "amx_int8"), "amx_int8"),
        ("avx2 avx_vnni", ("avx2", "avx_vnni"), "avx_vnni"),
        ("sse4_2", (), None),
    ],
)
def test_a_runtime_has_its_fastest_kernels_for_the_processor(system, flags, isa, kernels):
    found = system(flags)
    assert (found.processor, found.isa) == ("Made Up", isa)
    assert {each.kernels for each in found.runtimes if each.name in ("torch", "onnxruntime")} == {kernels}


def test_a_processor_without_vnni_is_told_that_a_bit_is_left_free(system):
    torch = next(each for each in system("avx2").runtimes if each.name == "torch")
    assert "no VNNI" in torch.note
    torch = next(each for each in system("avx2 avx512_vnni").runtimes if each.name == "torch")
    assert torch.note == ""


def test_what_is_not_installed_is_told_with_how_to_get_it(system, monkeypatch):
    monkeypatch.setattr(machine, "_version", lambda name: None if name == "nncf" else "1.0")
    openvino = next(each for each in system().runtimes if each.name == "openvino")
    assert not openvino.is_installed
    assert openvino.note == "pip install 'quantbench-suite[openvino]'"


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n"}, "frequency scaling: powersave"),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, "a control group limits this process to 1.5 cores"),
        ({"sys/class/power_supply/BAT0/status": "Discharging\n"}, "it runs on battery"),
    ],
)
def test_what_could_disturb_timings_is_told(system, files, line):
    assert any(each.startswith(line) for each in system(files={**QUIET, **files}).disturbs)


def test_a_number_of_threads_in_the_environment_is_told(system, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert any(each.startswith("OMP_NUM_THREADS=3: ") for each in system().disturbs)


def test_nothing_is_told_of_a_quiet_machine(system):
    # Whatever cores this test may use are the machine's own matter.
    told = system(files={**QUIET, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n"}).disturbs
    assert [each for each in told if "this process may use" not in each] == []
