"""Shards of a run: the same verdicts as the whole, and none missing, twice or of another run when they are merged."""

import json

import pytest

from quantbench.config.reading import load_experiments
from quantbench.errors import ConfigError
from quantbench.session import revision as module
from quantbench.session.revision import differing, revision
from quantbench.session.shard import Shard

IDS = ["tiny/fp32_baseline", "tiny/ptq_dynamic_int8", "tiny/ptq_static_int8_per_channel"]


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "01/2", "1/99999"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match=r"is no part; write 1/8 to 8/8"):
        Shard.read(text)


def test_parts_share_all_experiments_out(project):
    experiments = load_experiments(project.configs)
    parts = [[each.id for each in Shard(i, 3).of(experiments)] for i in (1, 2, 3)]
    assert parts == [[IDS[0], "tiny/qat_int8"], [IDS[1]], [IDS[2]]]
    facts = Shard(2, 3).facts(experiments, {"commit": "a"})
    assert facts.planned == [*IDS, "tiny/qat_int8"]
    assert facts.revision["commit"] == "a"


def test_more_parts_than_experiments_are_refused(project):
    with pytest.raises(ConfigError, match=r"--shard 5/5: 4 experiments are chosen; take that many parts or fewer"):
        Shard(5, 5).of(load_experiments(project.configs))


@pytest.fixture
def shards(quantbench, project):
    """Both halves of a run, and the whole, as files of records."""
    for name, options in {"1": ("--shard", "1/2"), "2": ("--shard", "2/2"), "whole": ()}.items():
        status, _, err = quantbench("run", "tiny/*[!8]", *options, "--json", f"{name}.json")
        assert status in (0, 1), err
        assert ("shard " in err) is bool(options)
    return project.root


def judged(path):
    found = json.loads(path.read_text())
    return [(r["experiment"], v["quantity"], v["outcome"]) for r in found["records"] for v in r["verdicts"]]


def test_merged_shards_say_what_the_whole_says(quantbench, shards):
    status, out, err = quantbench("merge", "2.json", "1.json", "--json", "merged.json")
    assert (status, err) == (1, "")
    assert "tiny/ptq_static_int8_per_channel" in out
    assert judged(shards / "merged.json") == judged(shards / "whole.json")
    assert "shard" not in json.loads((shards / "merged.json").read_text())


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (["1.json"], "shard 2 of 2 is missing; name the files of all shards"),
        (["1.json", "2.json", "1.json"], "1.json: shard 1 is 1.json already; name each shard once"),
        (["1.json", "whole.json"], "whole.json: is the whole of a run, and no shard; write shards with: --shard 1/8"),
        (["absent.json"], "absent.json: cannot be read"),
    ],
)
def test_shards_that_are_no_run_are_one_line(quantbench, shards, files, line):
    status, out, err = quantbench("merge", *files, "--json", "merged.json")
    assert (status, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1
    assert not (shards / "merged.json").exists()


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda file: file["shard"].update(count=3),
            "2.json: is shard 2 of 3 over 2 experiments, but 1.json is of 2 over 2",
        ),
        (lambda file: file["shard"].update(planned=["a/b", "a/c"]), "or of others; run all shards of one revision"),
        (
            lambda file: file.update(records=[]),
            "2.json: says nothing of tiny/ptq_static_int8_per_channel; it was cut short",
        ),
        (
            lambda file: file["records"][0].update(experiment="tiny/x"),
            "2.json: holds tiny/x, which shard 2 does not have",
        ),
        (
            lambda file: file["records"].append(file["records"][0]),
            "2.json: its record has two records of tiny/ptq_static_int8_per_channel; measure it again",
        ),
        (
            lambda file: file["records"][0].update(test_sha256="0" * 64),
            "2.json: tiny/ptq_static_int8_per_channel was measured with another test split (000000000) than ",
        ),
        (
            lambda file: file["records"][0].update(baseline_sha256="0" * 64),
            "was measured with another reference (000000000) than tiny/fp32_baseline in 1.json (",
        ),
        (lambda file: file["shard"].update(index=0), "its record has shard 0 of 2"),
    ],
)
def test_shards_of_other_runs_are_one_line(quantbench, shards, change, line):
    changed(shards / "2.json", change)
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 2
    assert line in err
    assert err.count("\n") == 1


def of_other(**hashes):
    """A change of what the second shard says of its revision."""
    return lambda file: file["shard"]["revision"].update(hashes)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            of_other(goldens="0"),
            "2.json: is of another revision than 1.json, and differs in goldens; run all shards of",
        ),
        (
            of_other(**{"workload files": "0", "code of tiny_model": "0"}),
            "and differs in workload files, code of tiny_model; run all shards of one revision",
        ),
        (
            lambda file: file["shard"].pop("revision"),
            "2.json: does not say of which revision it is, as 1.json does; run all shards with one version of",
        ),
    ],
)
def test_shards_of_two_revisions_with_one_plan_are_one_line(quantbench, shards, change, line):
    changed(shards / "2.json", change)
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 2
    assert line in err
    assert err.count("\n") == 1


def test_shards_of_before_revisions_were_noted_are_merged(quantbench, shards):
    for name in ("1.json", "2.json"):
        changed(shards / name, lambda file: file["shard"].pop("revision"))
    assert quantbench("merge", "1.json", "2.json", "--json", "merged.json")[0] == 1


CHANGES = {
    "workload files": lambda project: project.edit("10.0, size_ratio: 0.2", "11.0, size_ratio: 0.2"),
    "goldens": lambda project: (project.golden / "more.json").write_text("{}"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_revision_follows_what_decides_its_verdicts(project, what):
    before = revision(load_experiments(project.configs), project.golden)
    assert revision(load_experiments(project.configs), project.golden) == before
    CHANGES[what](project)
    assert differing(before, revision(load_experiments(project.configs), project.golden)) == [what]


def test_a_revision_follows_the_commit_and_not_what_a_run_has_changed(project, monkeypatch):
    told = iter(["abc", "abc, with changes", "def"])
    monkeypatch.setattr(module, "revision_of", lambda _: next(told))
    first, changed_since, other = (revision(load_experiments(project.configs), project.golden) for _ in range(3))
    assert (differing(first, changed_since), differing(first, other)) == ([], ["commit"])


def test_a_revision_follows_the_user_s_code_and_not_when_a_distribution_was_installed(monkeypatch):
    loaded = {"mine": ("/a/mine.py", "1"), "bought": ("/b/site-packages/bought.py", "2"), "made_up": ("", None)}
    monkeypatch.setattr(module, "loaded_code", lambda: loaded)
    assert module.code() == {"code of mine": "1"}


def test_a_shard_that_was_judged_by_another_bound_fails_the_whole(quantbench, shards, project):
    for name in ("1.json", "2.json"):
        changed(shards / name, lambda file: [
            record["verdicts"].remove(each)
            for record in file["records"] for each in list(record["verdicts"]) if each["outcome"] != "PASS"
        ])  # fmt: skip
    assert quantbench("merge", "1.json", "2.json", "--json", "merged.json")[0] == 0
    project.edit("gates: {accuracy_drop_pp: 10.0, size_ratio", "gates: {accuracy_drop_pp: 0.1, size_ratio")
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 1
    assert err == (
        "quantbench: tiny/ptq_static_int8_per_channel: accuracy_drop_pp was judged by 10, and 0.1 is configured; run "
        "its shard again at this revision\n"
    )


def test_a_shard_is_not_written_over(quantbench, shards):
    before = (shards / "1.json").read_bytes()
    status, out, err = quantbench("merge", "1.json", "2.json", "--json", "./1.json")
    assert (status, out) == (2, "")
    assert err == "quantbench: --json 1.json: is read here, and would be written over; name another file\n"
    assert (shards / "1.json").read_bytes() == before


def test_control_characters_of_a_shard_reach_no_terminal(quantbench, shards):
    error = {"experiment": "tiny/ptq_static_int8_per_channel", "reason": "\x1b[31mred"}
    changed(shards / "2.json", lambda file: file.update(records=[], errors=[error], premises=["a\x07\nb"]))
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 2
    assert "quantbench: a\\x07\\nb\n" in err
    assert "error: \\x1b[31mred\n" in err


def test_shards_of_several_machines_are_told(quantbench, shards):
    changed(shards / "2.json", lambda file: file["records"][0]["environment"].update(processor="Other CPU"))
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 1
    assert "shards ran on 2 machines or versions; speeds of one are not those of another" in err
    assert "1 experiments: Other CPU" in err


BASE = {"revision": "main", "commit": "a" * 40, "head_only": ["tiny/x"]}


def test_a_base_that_all_shards_were_measured_against_is_that_of_the_whole(quantbench, shards):
    changed(shards / "1.json", lambda file: file.update(base=BASE))
    changed(shards / "2.json", lambda file: file.update(base={**BASE, "head_only": ["tiny/y"]}))
    quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert json.loads((shards / "merged.json").read_text())["base"]["head_only"] == ["tiny/x", "tiny/y"]


@pytest.mark.parametrize(
    ("base", "words"),
    [(None, "against no revision"), ({**BASE, "commit": "b" * 40}, "against main (bbbbbbbbbb)")],
)
def test_shards_of_several_bases_are_one_line(quantbench, shards, base, words):
    changed(shards / "1.json", lambda file: file.update(base=BASE))
    changed(shards / "2.json", lambda file: file.update(base=base))
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 2
    assert err == (
        f"quantbench: 2.json: was measured {words}, but 1.json against main (aaaaaaaaaa); run all shards with the same "
        "--against\n"
    )


def test_an_error_of_a_shard_is_an_error_of_the_whole(quantbench, shards):
    error = {"experiment": "tiny/ptq_static_int8_per_channel", "reason": "no such layer"}
    changed(shards / "2.json", lambda file: file.update(records=[], errors=[error]))
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 2
    assert "tiny/ptq_static_int8_per_channel: error: no such layer" in err


def test_the_whole_is_audited(quantbench, shards, project):
    orphan = project.golden / "checkpoints" / "tiny" / "gone.json"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_text("{}")
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 2
    assert "orphan golden, claimed by no experiment" in err
    orphan.unlink()
    project.edit("  ptq_static_int8_per_channel:", "  renamed:")
    status, _, err = quantbench("merge", "1.json", "2.json", "--json", "merged.json")
    assert status == 2
    assert "is in a shard, but not in configs; merge with the revision that was measured" in err


def edited(path, edit):
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))


def test_what_a_shard_rests_on_and_lacks_fails_the_whole(quantbench, shards):
    for name in ("1.json", "2.json"):
        # Without what fails of itself.
        edited(shards / name, lambda found: [
            record["verdicts"].remove(each)
            for record in found["records"] for each in list(record["verdicts"]) if each["outcome"] != "PASS"
        ])  # fmt: skip
    command = "merge", "1.json", "2.json", "--json", "merged.json"
    assert quantbench(*command)[0] == 0
    edited(shards / "2.json", lambda found: found.update(premises=["tiny/a: claims are skipped"]))
    status, _, err = quantbench(*command)
    assert (status, "quantbench: tiny/a: claims are skipped\n" in err) == (1, True)
    assert json.loads((shards / "merged.json").read_text())["premises"] == ["tiny/a: claims are skipped"]


def test_gates_that_no_shard_judged_are_told_and_strictly_fail(quantbench, shards):
    edited(shards / "2.json", lambda found: [record["verdicts"].clear() for record in found["records"]])
    edited(shards / "1.json", lambda found: [
        record["verdicts"].remove(each)
        for record in found["records"] for each in list(record["verdicts"]) if each["outcome"] != "PASS"
    ])  # fmt: skip
    command = "merge", "1.json", "2.json", "--json", "merged.json"
    status, _, err = quantbench(*command)
    assert status == 0
    assert " gates were judged by no shard: tiny/ptq_static_int8_per_channel: accuracy_drop_pp, " in err
    assert quantbench(*command, "--strict-verdicts")[0] == 1


def test_a_part_is_judged_with_the_gates_of_all_parts(quantbench, project, monkeypatch):
    from quantbench.cli import running

    families = []
    monkeypatch.setattr(running, "show_session", lambda runs, *_, **__: families.append(runs.settings.family) or 0)
    for options in ((), ("--shard", "1/2"), ("--shard", "2/2")):
        quantbench("run", "tiny/*", *options)
    assert len({family.gates for family in families}) == 1
    assert families[0].gates > 1


def test_a_gate_that_was_loosened_is_noted_in_the_records(quantbench, project):
    quantbench("gates", "tiny/ptq_dynamic_int8", "--accept", "--reason", "as measured")
    project.edit("recipe: {name: dynamic_int8}\n    gates: {accuracy_drop_pp: 10.0}",
                 "recipe: {name: dynamic_int8}\n    gates: {accuracy_drop_pp: 12.0}")  # fmt: skip
    assert quantbench("run", "tiny/ptq_dynamic_int8", "--json", "records.json")[0] == 1
    (line,) = json.loads((project.root / "records.json").read_text())["premises"]
    assert line.startswith("tiny/ptq_dynamic_int8: gate accuracy_drop_pp: 10.0 → 12.0; ")
