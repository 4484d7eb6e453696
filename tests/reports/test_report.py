"""write_report: what the page says of tables with known content, of none, and of hostile text; and that a
browser agrees."""

import re
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.reports.page import clean
from newslake.reports.readers import _clicked
from newslake.reports.report import gather, write_report
from newslake.run.jobrun import JobRun
from tests.reports.lakes import HOSTILE, HOUR, fill
from tests.tables import put

VOID = {"meta", "link", "br", "img", "input", "line", "circle", "path", "rect", "wbr"}


class Page(HTMLParser):
    """The page's text and tags, and whether every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader reads, blanks as one."""
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def full(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """The lakehouse of tests/reports/lakes.py, with its report written."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("full") / "lakehouse"))
    fill(lake)
    write_report(lake, JobRun("write_report"))
    return lake


@pytest.fixture(scope="module")
def html(full: Lakehouse) -> str:
    """The page."""
    return Path(f"{full.root}/_report/report.html").read_text()


def test_the_page_says_what_the_tables_hold(html: str) -> None:
    page = Page(html)
    assert page.open == []
    for said in (
        "11 articles, ranked for 2 readers",
        "The content model ranks news of days it has not seen at AUC 0.630, the mf model at 0.490.",
        "On 15 November, 60\u00a0% of 10 tag phrases took a stored vector instead of a new one.".replace(
            "\u00a0", " "
        ),
        "corrected the class of 3 of 5 short texts",
        "What reader U1 is shown",
        "4 articles shown out of the newsfeeds of 15 November 2019, 08:00 to 15 November 2019, 08:00 UTC",
        "15 November 2019, 08:00 2 0.625 50 % 25 % 3.25 0.500 0.1",
        "1 of them stand in no newsfeed of that hour and reader",
        "<i>formula</i> 4 25.00 % 13.33 %",
        "The first 10 of 12 articles for the hour of 15 November 2019, 08:00 UTC",
        "<b>dssm</b> promotedrecommender, AUC, in use now 0.6951 0.6052zero-shot +0.0899+0.070 to +0.110",
        (
            "nrms not promotedrecommender, AUC: worse, or too few to tell 0.6800 0.6900<b>dssm</b>"
            " -0.0100-0.020 to +0.000"
        ),
        "trees promotedranker, nDCG@10, replaced since 0.6951 0.6052formula +0.0899+0.070 to +0.110",
        "formula promotedranker, in use now \u2013 \u2013trees \u2013",
        "9 vectors that did not have to be computed",
        "3 of 5 classes corrected by their neighbours",
        "4 inputs set aside, 2 reasons",
        "Title of article 7",
        "word2 other2",
        "19 of 20",
    ):
        assert said in page.text, said
    assert "stale" not in page.text, "topics of an older model"
    assert "0.95" not in page.text, "metrics of an older run"


def test_runs_that_did_not_end_well_are_told(html: str) -> None:
    text = Page(html).text
    assert "encode_articles failed at 15 November 2019, 09:00: OutOfMemoryError: <b>heap</b>" in text
    assert "reclassify_short_text began 15 November 2019, 09:00 and has not ended" in text
    assert "run_pipeline" not in text, "it is running while the report is made as its last job"


def test_rows_are_those_of_the_latest_run_that_wrote_any(full: Lakehouse) -> None:
    runs = gather(full, JobRun("write_report"))["runs"].content
    [parse] = [flow for flow in runs.flows if flow.name == "parse_behaviors"]
    assert (parse.read, parse.rows, parse.rejected, parse.written) == (
        1_000,
        940,
        3,
        {"news": 40, "impressions": 900},
    )
    assert parse.checked_at is not None
    [timing] = [timing for timing in runs.timings if timing.name == "parse_behaviors"]
    assert (timing.seconds, timing.earlier) == (10.0, [30.0])
    assert [(flow.name, flow.variant) for flow in runs.flows if flow.variant] == [
        ("train_recommender", "content"),
        ("train_recommender", "mf"),
    ]


def test_what_is_not_known_has_no_label(full: Lakehouse, html: str) -> None:
    runs = gather(full, JobRun("write_report"))["runs"].content
    variants = {flow.name: flow.variant for flow in runs.flows}
    assert (variants["export_vectors"], variants["write_feeds"]) == ("", "")
    assert clean(None) == ""
    tips = [
        value or ""
        for _, attributes in Page(html).tags
        for name, value in attributes.items()
        if name in ("data-tip", "aria-label", "style")
    ]
    for text in (Page(html).text, *tips):
        assert not re.search(r"\bNone\b|\bnan\b", text), text


def test_what_was_clicked_last_comes_by_time(lake: Lakehouse) -> None:
    put(
        lake,
        "news",
        [
            {"news_id": f"N{n}", "title": f"Title {n}", "content_hash": str(n), "abstract": "", "body": ""}
            for n in range(6)
        ],
    )
    clicked = {"split": "dev", "position": 0, "user_id": "U1", "ingested_at": HOUR, "clicked": True}
    days = {"N1": 14, "N2": 13, "N5": 10, "N9": 9}
    shown = [
        {**clicked, "impression_id": name, "occurred_at": datetime(2019, 11, day), "news_id": name}
        for name, day in days.items()
    ]
    put(lake, "impressions", shown)
    histories = [
        # N2 is in the later history, where it was clicked before N3; N5 and N9 were clicked before that was
        # first seen.
        {
            "split": "dev",
            "impression_id": name,
            "user_id": "U1",
            "occurred_at": datetime(2019, 11, day, 12),
            "news_ids": news.split(),
        }
        for name, day, news in (("1", 9, "N4"), ("2", 13, "N4 N2 N3"), ("3", 14, "N4 N2 N3"))
    ]
    put(lake, "click_history", histories)
    titles = lake.read("news").select("news_id", "title", "category")
    found = [title for title, _ in _clicked(lake, titles, "U1", HOUR)]
    assert found == ["Title 1", "Title 3", "Title 2", "Title 4", "Title 5", "N9 (no longer in table news)"]


def test_text_of_strangers_stays_text(html: str) -> None:
    page = Page(html)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [tag for tag, _ in page.tags if tag in ("img", "u", "iframe", "object", "base")]
    assert clean(HOSTILE) in page.text
    assert "\u202e" not in html
    assert "<script>alert(1)</script> x\ufffd" in page.text, "what was set aside is shown as text"
    assert not [
        value for _, attributes in page.tags for name, value in attributes.items() if name.startswith("on")
    ]


def test_the_page_loads_nothing(html: str) -> None:
    page = Page(html)
    links = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "action") and value
    ]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"@import|url\(", html)
    [policy] = [
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert len(html.encode()) < 200_000


def test_the_same_tables_give_the_same_page(full: Lakehouse, tmp_path: Path, html: str) -> None:
    write_report(full, JobRun("write_report"), out=str(tmp_path / "again.html"))
    again = (tmp_path / "again.html").read_text()
    time = re.compile(r"\d+ \w+ \d{4}, \d\d:\d\d UTC")
    assert time.sub("", again) == time.sub("", html)


def test_an_empty_lakehouse_has_a_calm_page(
    lake: Lakehouse, run: JobRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.create("newsfeed")
    lake.create("quarantine")
    write_report(lake, run, out=str(tmp_path / "deep" / "er" / "page.html"))
    assert capsys.readouterr().out.strip() == str(tmp_path / "deep" / "er" / "page.html")
    page = Page((tmp_path / "deep" / "er" / "page.html").read_text())
    assert page.open == []
    assert "An empty lakehouse" in page.text
    assert "Not built yet: table model_metrics is written by train_recommender." in page.text
    assert "Nothing was set aside" in page.text
    assert not Path(f"{lake.root}/news").exists(), "looking makes no table"


@pytest.mark.parametrize(
    "options", [{"out": "gopher://bucket/report.html"}, {"out": "."}, {"user": "nobody"}]
)
def test_what_cannot_be_done_is_the_users_mistake(
    options: dict[str, str], full: Lakehouse, run: JobRun
) -> None:
    with pytest.raises(UserError, match=r"--out|--user nobody: no newsfeed"):
        write_report(full, run, **options)


def test_a_mistyped_lakehouse_is_not_made(lake: Lakehouse, run: JobRun) -> None:
    with pytest.raises(UserError, match="there is no lakehouse in"):
        write_report(lake, run)
    assert lake.root is not None
    assert not Path(lake.root).exists()


def test_tables_by_name_want_a_place_for_the_page(spark: SparkSession, run: JobRun) -> None:
    with pytest.raises(UserError, match="--out"):
        write_report(Lakehouse(spark, schema="nowhere"), run)


# In a browser: what a parser cannot see.

CHROMIUM = [Path("/usr/bin/chromium"), Path("/usr/bin/chromium-browser"), Path("/usr/bin/google-chrome")]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium; skips where none is found."""
    found = next((path for path in CHROMIUM if path.exists()), None)
    if found is None:
        pytest.skip(f"no Chromium is installed (looked for {', '.join(map(str, CHROMIUM))})")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(found), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("width", [1280, 768, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_whole_at_every_width_without_a_word_of_complaint(
    width: int, scheme: str, browser: object, full: Lakehouse, html: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[attr-defined]
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
    )
    page.goto(f"file://{full.root}/_report/report.html")
    assert page.title() == "newslake: 11 articles, ranked for 2 readers"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no scrolling sideways"
    outside = """[...document.querySelectorAll('h1, h2, p, li, td, .title, .counts, .what')].filter(
        e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.textContent.slice(0, 60))"""
    assert page.evaluate(outside) == []
    contrast = page.evaluate(
        "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color"
    )
    assert contrast == (
        "rgb(17, 24, 27)rgb(232, 237, 237)" if scheme == "dark" else "rgb(251, 250, 246)rgb(27, 36, 40)"
    )
    page.locator(".bubble").first.hover()
    assert "articles" in page.locator(".tip").inner_text()
    assert said == []
    context.close()
