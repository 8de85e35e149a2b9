"""The load of the machine between two moments, from the files in which Linux tells it."""

import os

import pytest

from quantbench.measure.load import Load, Moment, disturbances, moment

TICKS = os.sysconf("SC_CLK_TCK")
QUIET = Moment(0.0, 0.0, busy_s=0.0, stolen_s=0.0, waited_s=0.0)


@pytest.fixture
def root(tmp_path):
    """A root with the files of a machine of two cores."""

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("proc/stat", "cpu  100 20 30 4000 7 5 6 50 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    write("proc/pressure/cpu", "some avg10=1.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 total=7\n")
    for core, khz in enumerate((2_400_000, 2_600_000)):
        write(f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{khz}\n")
        write(f"sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count", f"{core + 1}\n")
    write("sys/class/power_supply/BAT0/status", "Discharging\n")
    write("sys/fs/cgroup/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 4\nthrottled_usec 6\n")
    return tmp_path


def test_a_moment_is_read_from_the_kernels_files(root):
    now = moment(root)
    assert now.busy_s == pytest.approx((100 + 20 + 30 + 5 + 6) / TICKS), "neither idle nor waiting for a disk"
    assert now.stolen_s == pytest.approx(50 / TICKS)
    assert now.waited_s == 2.5
    assert (now.throttled, now.limited, now.on_battery) == (3, 4, True)
    assert now.frequencies_khz == (2_400_000, 2_600_000)


def test_the_limit_of_an_older_control_group_is_read_too(root):
    (root / "sys/fs/cgroup/cpu.stat").unlink()
    (root / "sys/fs/cgroup/cpu").mkdir()
    (root / "sys/fs/cgroup/cpu/cpu.stat").write_text("nr_periods 0\nnr_throttled 11\n")
    assert moment(root).limited == 11


@pytest.mark.parametrize("content", [None, "", "cpu\n", "cpu one two three four five six seven eight\n", "\x00"])
def test_a_system_that_does_not_tell_leaves_it_unknown(tmp_path, content):
    if content is not None:
        for path in ("proc/stat", "proc/pressure/cpu"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)
    now = moment(tmp_path)
    assert (now.busy_s, now.stolen_s, now.waited_s) == (None, None, None)
    load = Load.between(now, now)
    assert load == Load()
    assert load.words() == ""
    assert not load.is_shared(2, 2)
    assert disturbances(now, now, 2) == []


def test_the_work_of_others_is_all_that_is_not_this_processs():
    load = Load.between(QUIET, Moment(10.0, own_s=9.0, busy_s=21.0, stolen_s=0.5, waited_s=4.0))
    assert load == Load(others_cores=pytest.approx(1.2), stolen=pytest.approx(0.05), pressure=pytest.approx(0.4))
    assert load.words() == (
        "others kept 1.2 cores busy, something waited for a core 40 % of the time, the hypervisor took 5 % of a core"
    )


def test_more_of_our_own_work_than_the_kernel_has_counted_yet_is_no_negative_load():
    assert Load.between(QUIET, Moment(10.0, own_s=9.0, busy_s=8.9)).others_cores == 0.0


@pytest.mark.parametrize(
    ("load", "threads", "is_shared"),
    [
        (Load(others_cores=1.0), 1, False),
        (Load(others_cores=1.2), 1, True),
        (Load(others_cores=0.05), 2, False),
        (Load(others_cores=0.3), 2, True),
        (Load(pressure=0.2), 1, True),
        (Load(pressure=0.05, stolen=0.01), 2, False),
        (Load(stolen=0.03), 1, True),
    ],
)
def test_cores_are_shared_where_the_work_of_others_overlaps_with_ours(load, threads, is_shared):
    assert load.is_shared(threads, cores=2) is is_shared


def test_a_quiet_machine_disturbs_nothing():
    assert disturbances(QUIET, Moment(10.0, 9.0, 9.5, 0.0, 0.1, frequencies_khz=(3_000_000,)), 2) == []


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (
            Moment(10.0, 9.0, 28.0, waited_s=9.0),
            "it was busy (others kept 1.9 cores busy, something waited for a core 90 % of the time)",
        ),
        (Moment(10.0, 9.0, on_battery=True), "it runs on battery"),
        (Moment(10.0, 9.0, throttled=3), "its cores were slowed down by heat 3 times"),
        (Moment(10.0, 9.0, limited=2), "a limit of processor time stopped this process 2 times"),
        (
            Moment(10.0, 9.0, frequencies_khz=(3_000_000, 2_000_000)),
            "its frequency scaling moves (a core went from 3.00 to 2.00 GHz)",
        ),
    ],
)
def test_whatever_disturbed_timings_has_a_line(after, line):
    before = Moment(0.0, 0.0, 0.0, 0.0, 0.0, frequencies_khz=(3_000_000, 3_000_000))
    assert disturbances(before, after, 2) == [line]
