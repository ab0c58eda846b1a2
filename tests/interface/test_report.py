from __future__ import annotations

import re

from interface.progress import duration
from interface.report import Bars, Chart, Report, write_report


def example() -> Report:
    return Report(
        title="A <run>",
        summary="of something",
        headlines={"bits a byte": "2.540"},
        charts=[
            Bars("Scores", "bits", {"base": 2.6, "tuned": 2.5}),
            Chart("Loss", "nats", {"train": [(1, 5.0), (2, 4.0)]}),
        ],
        tables={"Table": [{"model": "base", "value": "2.6"}]},
        samples={"at step 2": [("def f(x):\n", "    return x < 3 </pre>")]},
        command="python train.py --seed 42",
        configuration={"seed": 42},
    )


def test_a_report_loads_nothing_from_elsewhere_and_escapes_what_a_model_wrote(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, example())
    page = path.read_text()
    assert not re.search(r"<(script|link|img|iframe)\b|url\((?!#)|@import|src=", page)
    assert "A &lt;run&gt;" in page and "return x &lt; 3 &lt;/pre&gt;" in page
    assert page.count("<svg") == 2 and "2.540" in page and "&#34;seed&#34;: 42" in page


def test_the_same_numbers_give_the_same_page(tmp_path):
    for name in ("one", "two"):
        write_report(tmp_path / name, example())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_durations_are_spelt_for_people():
    assert [duration(s) for s in (0.4, 59.4, 60, 185, 7620)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "3 min 05 s",
        "2 h 07 min",
    ]
