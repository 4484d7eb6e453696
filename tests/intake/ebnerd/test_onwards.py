"""What comes after the intake works on a lakehouse that parse_ebnerd or import_table filled."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from newslake.intake.sources.ebnerd.parse import parse_ebnerd
from newslake.intake.sources.tables.importing import import_table
from newslake.lake.lakehouse import Lakehouse
from newslake.reports.report import write_report
from newslake.run.cli import run_job
from newslake.text.articles import encode_articles
from newslake.users.profiles import build_profiles
from tests.intake.ebnerd.made import world
from tests.text.conftest import save_bert


def test_articles_are_encoded_profiles_built_and_a_report_written(lake: Lakehouse, tmp_path: Path) -> None:
    made = world(8, users=6, articles=12, impressions=10)
    run_job(parse_ebnerd, lake, made.write(tmp_path / "ebnerd"))
    own = tmp_path / "own.parquet"
    pq.write_table(pa.table({"id": [1, 2], "headline": ["the city storm", "team wins"]}), own)
    (tmp_path / "news.yaml").write_text("news_id: id\ntitle: headline\n")
    run_job(
        import_table, lake, {"target": "news", "source": str(own), "mapping": str(tmp_path / "news.yaml")}
    )
    model = save_bert(tmp_path / "model", layers=1, width=16, heads=2, seed=1)
    encoded = run_job(
        encode_articles, lake, {"encoder": str(model), "fields": ("title", "abstract"), "partitions": 1}
    )
    assert encoded.rows_written == {"article_embeddings": 14}
    assert encoded.rows_rejected == 0
    # What occurred by then of train: a profile for each user who clicked, tagged by what the articles are
    # about.
    run_job(build_profiles, lake, {"as_of": "2023-05-25", "clock": "occurrence", "keywords": 0})
    before = [row for row in made.splits["train"].behaviors if row["impression_time"].day < 25]
    tags = {row.user_id for row in lake.read("user_tags").collect()}
    assert {f"EB{row['user_id']}" for row in before} <= tags
    run_job(write_report, lake, {})
    html = (Path(str(lake.work)) / "_report" / "report.html").read_text(encoding="utf-8")
    assert "parse_ebnerd" in html
    assert "import_table" in html
