"""On a CI service that shows Markdown the results of a run stand on its page, each run's once."""


def test_a_run_appends_its_results_once_with_what_failed(bench, project, monkeypatch):
    place = project.root / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    project.edit("gates: {accuracy_drop_pp: 10.0, size_ratio: 0.2", "gates: {accuracy_drop_pp: 10.0, size_ratio: 99.0")
    bench("-q", "-k", "per_channel and (accuracy or size)")
    text = place.read_text()
    assert text.count("## quantbench") == 1
    assert "1 PASS, 1 FAIL" in text
    assert "- **FAIL** `tiny/ptq_static_int8_per_channel`: size_ratio: " in text
    assert "| tiny/ptq_static_int8_per_channel |" in text


def test_a_run_that_measures_nothing_appends_nothing(bench, project, monkeypatch):
    place = project.root / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    bench("-q", "--collect-only")
    assert not place.exists()
