"""Collections of two topic models in Milvus (Lite): which of them is read, when that changes, and when the
other is dropped."""

from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.purge import purge_news
from newslake.run.jobrun import JobRun
from newslake.serving.job import export_vectors
from newslake.serving.stores.milvus.alias import read_name
from newslake.serving.stores.milvus.client import default_uri, opened
from newslake.serving.stores.milvus.collection import collection_name, existing
from newslake.serving.stores.store import ARTICLES, KINDS, USERS, Kind, read_as
from newslake.switches.topic_model import activate, active_topic_model
from tests.calling import call
from tests.serving.rows import article_vectors, held, user_vectors
from tests.switches.test_topic_model import fitted
from tests.tables import put

TEXTS = [(f"N{n}", "2019-11-14", f"text {n}") for n in range(6)]
READERS = [("U1", 0, "p1", 1.0), ("U2", 0, "p1", 1.0)]


def vectors_by(lake: Lakehouse, model: str, *, articles: int = 6, users: bool = True) -> None:
    """Vectors of articles, and those of users of a day."""
    put(lake, "article_vectors", article_vectors(lake, TEXTS[:articles], topic_model=model))
    if users:
        put(lake, "user_vectors", user_vectors(lake, "2019-11-15", READERS, topic_model=model))


def export(lake: Lakehouse, **options: object) -> JobRun:
    """One export."""
    run = JobRun("export_vectors")
    call(export_vectors, lake, run, **options)
    return run


def reads(lake: Lakehouse) -> dict[str, str | None]:
    """Kind -> the collection that is read."""
    with opened(default_uri(lake)) as client:
        return {kind.name: read_name(client, kind, "newslake") for kind in KINDS}


def there(lake: Lakehouse, kind: Kind) -> set[str]:
    """The topic models that there are collections for."""
    with opened(default_uri(lake)) as client:
        return {each.topic_model for each in existing(client, kind, "newslake")}


def both(model: str) -> dict[str, str | None]:
    return {kind.name: collection_name(kind, "newslake", model) for kind in KINDS}


def test_both_aliases_move_to_the_active_model_at_once_and_purge_drops_what_was_left(lake: Lakehouse) -> None:
    fitted(lake, "lda.1")
    vectors_by(lake, "lda.1", articles=3)
    export(lake, which=("articles",))
    assert reads(lake) == {**both("lda.1"), "users": None}
    export(lake)
    assert reads(lake) == both("lda.1")

    fitted(lake, "lda.2")
    assert "nothing to do" in export(lake, topic_model="candidate").facts["candidate"]
    vectors_by(lake, "lda.2")
    export(lake, topic_model="candidate")
    assert reads(lake) == both("lda.1"), "what is not active is not read"
    assert len(held(default_uri(lake))) == 3

    activate(lake, "lda.2")
    assert (
        export(lake, which=("articles",))
        .facts["aliases"]
        .startswith("not switched yet: users are still those of lda.1")
    )
    assert reads(lake) == both("lda.1"), "articles and users of two models mean nothing to each other"
    export(lake)
    assert reads(lake) == both("lda.2")
    assert len(held(default_uri(lake))) == 6
    assert there(lake, ARTICLES) == there(lake, USERS) == {"lda.1", "lda.2"}

    purge(lake, "2019-11-01")
    assert there(lake, ARTICLES) == there(lake, USERS) == {"lda.2"}
    names = {row[0] for row in lake.read("vector_exports").select("collection").distinct().collect()}
    assert names == set(both("lda.2").values())
    assert export(lake).rows_written == {"vector_exports": 0}


def items(lake: Lakehouse, name: str | None) -> int:
    """Items in a collection."""
    assert name is not None
    with opened(default_uri(lake)) as client:
        client.load_collection(name)
        return int(
            client.query(name, filter="", output_fields=["count(*)"], consistency_level="Strong")[0][
                "count(*)"
            ]
        )


def test_purge_takes_old_articles_out_of_both_collections(lake: Lakehouse) -> None:
    fitted(lake, "a", "b")
    activate(lake, "a")
    for model in ("a", "b"):
        vectors_by(lake, model)
        put(
            lake,
            "article_vectors",
            article_vectors(lake, [("new", "2019-11-15", "text new")], topic_model=model),
        )
        export(lake, topic_model=model)
        assert items(lake, both(model)["articles"]) == 7
    purge(lake, "2019-11-15")
    assert there(lake, ARTICLES) == {"a", "b"}, "the active one and the candidate stay"
    assert items(lake, both("a")["articles"]) == items(lake, both("b")["articles"]) == 1
    assert set(held(default_uri(lake))) == {"new"}
    activate(lake, "b")
    export(lake)
    assert set(held(default_uri(lake))) == {"new"}
    assert len(held(default_uri(lake), USERS)) == 2


def test_vectors_of_articles_by_models_of_the_past_go_once_no_user_has_such(lake: Lakehouse) -> None:
    fitted(lake, "a", "b", "c", "d")
    activate(lake, "a")
    for model in ("a", "b", "c", "d"):
        vectors_by(lake, model, users=model != "b")
    activate(lake, "c")
    purge(lake, "2019-11-01")
    left = {row[0] for row in lake.read("article_vectors").select("topic_model").distinct().collect()}
    assert left == {"a", "c", "d"}


def test_a_collection_that_an_older_version_made_is_read_until_the_new_ones_are_filled(
    lake: Lakehouse,
) -> None:
    fitted(lake, "a")
    vectors_by(lake, "a")
    old = {}
    with opened(default_uri(lake)) as client:
        for kind in KINDS:
            old_collection(client, kind)
            old[kind.name] = read_as(kind, "newslake")
    assert active_topic_model(lake) == "a"
    assert reads(lake) == old
    export(lake, which=("articles",))  # of the same model: nothing stays behind
    assert reads(lake) == {"articles": both("a")["articles"], "users": old["users"]}
    export(lake)
    assert reads(lake) == both("a")
    assert (len(held(default_uri(lake))), len(held(default_uri(lake), USERS))) == (6, 2)


def old_collection(client: object, kind: Kind) -> None:
    """An empty collection under the name that all had before."""
    from newslake.serving.stores.milvus import collection

    holds = {"encoder_id": "e1", "topic_model": "a", "collection_id": f"old {kind.name}"}
    collection._create(client, kind, read_as(kind, "newslake"), holds, 4)


def test_the_alias_is_a_name_of_the_collection(lake: Lakehouse) -> None:
    fitted(lake, "a.1")
    vectors_by(lake, "a.1")
    export(lake)
    with opened(default_uri(lake)) as client:
        client.load_collection("newslake_articles")
        assert client.query("newslake_articles", filter="", output_fields=["count(*)"])[0]["count(*)"] == 6
        # A kill before the alias was made: the next export puts it right.
        client.drop_alias(alias="newslake_articles")
    export(lake, which=("articles",))
    assert reads(lake) == both("a.1")


def purge(lake: Lakehouse, older_than: str) -> None:
    """purge_news of the day after the articles'."""
    options = {"older_than": older_than, "as_of": "2019-11-16", "vacuum": False}
    call(purge_news, lake_with_news(lake), JobRun("purge_news"), **options)


def lake_with_news(lake: Lakehouse) -> Lakehouse:
    """The articles' rows of news, which the purge looks at."""

    put(
        lake,
        "news",
        [*({"news_id": i, "published_at": f"{day} 08:00:00", "content_hash": i} for i, day, _ in TEXTS)],
    )
    return lake


def test_names_of_models_become_names_that_milvus_takes() -> None:
    names = {
        collection_name(ARTICLES, "newslake", model)
        for model in ("lda100.ab", "lda100_ab", "lda100-ab", "x" * 300)
    }
    assert len(names) == 4
    assert all(len(name) < 255 and name.replace("_", "").isalnum() for name in names)
    assert "newslake_articles_lda100_ab" in names
