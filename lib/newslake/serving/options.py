"""Options of the jobs that serve, each once: where a store is, and which files are written."""

from newslake.errors import UserError
from newslake.run.options import option_group
from newslake.serving.feeds.vespa import FeedForm
from newslake.serving.stores.store import DEFAULT_PREFIX


@option_group
class StoreOptions:
    """Where Milvus is, and what newslake's collections are called there.

    Attributes:
        uri: Milvus: a server's address, or a local file that ends in .db (default: _milvus/newslake.db in the
            work folder; where that is no local one, in ~/.newslake of the driver).
        token: Of the Milvus server, such as user:password (default: MILVUS_TOKEN of the environment, which no
            list of processes shows).
        prefix: What the names of the collections begin with.
    """

    uri: str | None = None
    token: str | None = None
    prefix: str = DEFAULT_PREFIX


@option_group
class FileOptions:
    """Which training run's vectors are written to files, where, and how.

    Attributes:
        model: Whose vectors the files hold, such as content (default: the run's, or the recommender in use,
            by table promotions, and no files are written where none of those judged is; where none was
            judged, the only model there is).
        run_id: The training run that the files are of (default: the one in use, or the latest of another
            --model).
        out: Folder for the files (default: _feeds in the work folder).
        feed: Form of Vespa's feed: one operation a line (lines, .jsonl), or one JSON array (array, .json).
        files: Files that each feed is split into, written in parallel.
    """

    model: str | None = None
    run_id: str | None = None
    out: str | None = None
    feed: tuple[FeedForm, ...] = ("lines",)
    files: int = 1

    def __post_init__(self) -> None:
        if self.files < 1:
            raise UserError("--files takes 1 or more")


STORE, FILES = StoreOptions(), FileOptions()
"""What a job takes where nothing is given."""
