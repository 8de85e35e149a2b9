"""The page in a real browser: its script sorts, filters and unfolds, nothing overflows a phone, axe finds nothing."""

import os
from pathlib import Path

import pytest
from headless import VARIABLE, Page, browser
from page_records import verdict, whole

from quantbench.report.html.content import Content
from quantbench.report.html.page import page

# axe-core's `axe.min.js`.
AXE = "QUANTBENCH_AXE"
pytestmark = pytest.mark.skipif(not browser(), reason=f"no Chromium on the path; install one, or set ${VARIABLE}")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    made = Page(browser(), tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture
def path(tmp_path, two_workloads, two_layer_workloads):
    first, *others = two_workloads
    failing = whole(first, verdicts=[verdict(outcome="FAIL", estimate=2.0, interval=(1.5, 2.5))])
    (tmp_path / "page.html").write_text(page(Content([failing, *others, *two_layer_workloads])))
    return tmp_path / "page.html"


def test_the_table_is_filtered_and_sorted(opened, path):
    opened.show(path)
    said = "document.getElementById('filter-count').textContent"
    assert opened.says(said) == "36 of 36 shown"
    filtering = "const n = document.getElementById('filter-name'); n.value = 'x'; n.dispatchEvent(new Event('input'))"
    opened.says(f"{{{filtering.replace('x', 'qat_int8')}}}")
    assert opened.says(said) == "4 of 36 shown"
    opened.says(f"{{{filtering.replace(chr(39) + 'x' + chr(39), chr(39) * 2)}}}")
    click = "[...document.querySelectorAll('table.sortable thead button')].find((b) => /^accuracy/.test(b.textContent))"
    column = "[...document.querySelectorAll('table.sortable tbody tr')].map((r) => r.cells[3].textContent)"
    opened.says(f"{click}.click()")
    upwards = [float(each) for each in opened.says(column)]
    assert upwards == sorted(upwards)
    opened.says(f"{click}.click()")
    assert [float(each) for each in opened.says(column)] == sorted(upwards, reverse=True)
    assert opened.says(f"{click}.closest('th').getAttribute('aria-sort')") == "descending"


def test_a_link_unfolds_what_it_leads_to(opened, path):
    opened.show(path)
    assert opened.says("document.querySelector('details.experiment').open")
    target = "document.querySelectorAll('details.experiment')[5]"
    assert not opened.says(f"{target}.open")
    opened.says(f"{{location.hash = {target}.id; new Promise((done) => setTimeout(done, 100))}}")
    assert opened.says(f"{target}.open")


def test_scripts_of_others_are_not_run(opened, path):
    path.write_text(path.read_text().replace("</body>", "<script>window.theirs = true</script></body>"))
    opened.show(path)
    assert opened.says("typeof window.theirs") == "undefined"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(opened, path, width):
    opened.show(path, width)
    opened.says("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    assert opened.says("document.documentElement.scrollWidth") <= width


@pytest.mark.skipif(not os.environ.get(AXE), reason=f"no axe-core; set ${AXE} to its axe.min.js")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_axe_finds_nothing(opened, path, width, scheme):
    opened.show(path, width, scheme, free=True)
    opened.says("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    opened.says(Path(os.environ[AXE]).read_text(encoding="utf-8") + "; true")
    found = opened.says("axe.run().then((found) => found.violations.map((e) => `${e.id}: ${e.nodes[0].html}`))")
    assert found == []
