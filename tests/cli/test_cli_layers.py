"""`quantbench run` of experiments that quantize some layers prints their tables below its own."""

from tiny_layers import add_layer_experiments

from quantbench.records.run import RecordFile


def test_run_ranks_the_layers_below_its_table(quantbench, project):
    add_layer_experiments(project)
    _, out, _ = quantbench("run", "tiny/ptq_[fc]*", "--json", "records.json")
    results, _, layers = out.partition("\n\n")
    assert [line.split()[0] for line in results.splitlines()[1:3]] == ["tiny/ptq_features", "tiny/ptq_classifier"]
    assert results.splitlines()[3].startswith("4 gates judged by intervals: ")
    title, _, first, second, total, whole = layers.splitlines()
    assert title == "tiny, layer by layer (n = 150)"
    records = RecordFile.model_validate_json((project.root / "records.json").read_text()).records
    ranked = sorted(records, key=lambda record: -record.accuracy.drop_pp)
    for line, record in zip((first, second), ranked, strict=True):
        low, high = record.accuracy.drop_interval_pp
        assert line.startswith(record.recipe["layers"][0])
        assert f"{record.accuracy.drop_pp:+z.2f} [{low:+.2f}, {high:+.2f}]" in line
    assert total.split()[:5] == ["sum", "of", "the", "2", "layers"]
    assert whole.split() == ["all", "layers", "–", "–", "–", "–"]
    assert not (project.root / "out").exists(), "the chart is the report's and the test suite's"


def test_run_without_layers_prints_its_table_and_what_it_says_of_the_run_only(quantbench, project):
    _, out, _ = quantbench("run", "tiny/ptq_dynamic_int8")
    _, row, family, control = out.splitlines()
    assert row.startswith("tiny/ptq_dynamic_int8 ")
    assert family.startswith("2 gates judged by intervals: a FAIL needs its whole ")
    assert control.startswith("A/A control ")


def test_run_appends_its_results_to_the_page_of_a_ci_service(quantbench, project, monkeypatch):
    place = project.root / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    quantbench("run", "tiny/ptq_dynamic_int8")
    assert "| tiny/ptq_dynamic_int8 |" in place.read_text()
    assert "- 2 gates judged by intervals: " in place.read_text()
    assert "- A/A control " in place.read_text()
