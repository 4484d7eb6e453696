"""Articles have one prompt, tags and tag phrases the other, and both stand in one encoder_id, whichever job
writes it."""

from pathlib import Path

import numpy as np
import pytest

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import job_options
from newslake.run.jobrun import JobRun
from newslake.streaming.articles import stream_articles
from newslake.text.articles import encode_articles
from newslake.users.encode import encode_tag_phrases
from newslake.users.phrases import build_phrases
from tests.calling import call
from tests.tables import put
from tests.text.folders import save_folder, theirs

DAY = "2019-11-15"
TAGS = ("market", "storm goal", "mayor")


def test_articles_and_tags_each_have_their_prompt(lake: Lakehouse, tmp_path: Path) -> None:
    """As the folder names them, and by sentence-transformers' own reckoning."""
    prompts = {"query": "find the market: ", "document": "goal: ", "topic": "vote: "}
    folder = save_folder(tmp_path / "asymmetric", "bert", prompts=prompts, unit=True)
    put(lake, "news", [{"news_id": "N1", "title": "Storm ferry", "abstract": "", "content_hash": "h"}])
    put(
        lake,
        "user_tags",
        [{"user_id": "u1", "as_of": np.datetime64(DAY).item(), "tag": tag, "weight": 1.0} for tag in TAGS],
    )
    for given, query in (({}, prompts["query"]), ({"tag_prompt_name": "topic"}, prompts["topic"])):
        runs = [JobRun(name) for name in ("encode_articles", "build_phrases", "encode_tag_phrases")]
        call(encode_articles, lake, runs[0], encoder=str(folder), partitions=1, **given)
        call(
            build_phrases,
            lake,
            runs[1],
            as_of=DAY,
            encoder=str(folder),
            group_cosine=-1.0,
            phrase_size=2,
            **given,
        )
        call(encode_tag_phrases, lake, runs[2], as_of=DAY, encoder=str(folder), **given)
        assert len({run.facts["encoder_id"] for run in runs}) == 1
        mine = f"encoder_id = '{runs[0].facts['encoder_id']}'"
        found = [
            ("goal: ", row["embedding"], "Storm ferry")
            for row in lake.read("article_embeddings").where(mine).collect()
        ]
        found += [
            (query, row["embedding"], row["tag"]) for row in lake.read("tag_embeddings").where(mine).collect()
        ]
        found += [
            (query, row["embedding"], row["text"]) for row in lake.read("tag_phrases").where(mine).collect()
        ]
        assert len(found) == 1 + 3 + 3
        peer = theirs(folder)
        for prompt, vector, text in found:
            np.testing.assert_allclose(
                vector, peer.encode(text, prompt=prompt), rtol=1e-3, atol=1e-4, err_msg=text
            )
    assert lake.read("article_embeddings").count() == 2, "another prompt is another encoder"


@pytest.mark.parametrize("job", [encode_articles, stream_articles, build_phrases, encode_tag_phrases])
def test_every_job_that_encodes_takes_the_same_options(job: object) -> None:
    needed = ["--as-of", DAY] if job in (build_phrases, encode_tag_phrases) else []
    texts = {"pooling": "weightedmean", "prompt": "a: ", "tag-prompt": "b: ", "dimensions": 8}
    names = {"prompt-name": "document", "tag-prompt-name": "query"}
    for given, further in ((texts, []), (names, ["--no-unit", "--fields", "title", "abstract"])):
        arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        found = job_options(job, [*needed, *arguments, *further])  # type: ignore[arg-type]
        assert {name: found[name.replace("-", "_")] for name in given} == given
    assert found["unit"] is False
    assert tuple(found["fields"]) == ("title", "abstract")
    with pytest.raises(UserError, match="pooling"):
        job_options(job, [*needed, "--pooling", "sum"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--prompt and --prompt-name: give one of them"):
        job_options(job, [*needed, "--prompt", "a: ", "--prompt-name", "document"])  # type: ignore[arg-type]


def test_a_refusal_costs_nothing(lake: Lakehouse, tmp_path: Path) -> None:
    """No table is made by a job whose encoder cannot be."""
    folder = save_folder(tmp_path / "none", "bert")
    (folder / "tokenizer.json").unlink()
    put(lake, "news", [{"news_id": "N1", "title": "Storm ferry", "abstract": "", "content_hash": "h"}])
    with pytest.raises(UserError, match="no tokenizer in"):
        call(encode_articles, lake, JobRun("encode_articles"), encoder=str(folder))
    assert not lake.exists("article_embeddings")
