"""The only file that knows Delta: tables made from schemas/, and the writes that a rerun does not repeat.

Every write is one Delta commit, so a job killed at any moment leaves each table as it was before or after the
write.
"""

import copy
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.errors import UserError
from newslake.lake.bookmarks import (
    CHANGE_FEED,
    NOTHING,
    VersionsGone,
    bookmark_of,
    is_earlier,
    net_changes,
    version_in,
    versions_needed,
)
from newslake.lake.error_texts import TABLE_NOT_YET
from newslake.lake.evolution import add_columns, missing_columns, refuse_unknown_columns, with_missing
from newslake.lake.merging import Clause, merge_statement
from newslake.lake.retry import retrying
from newslake.lake.sqltext import differs, literal, quoted
from newslake.lake.tablespec import check_schema, table_spec
from newslake.lake.written import Written
from newslake.spark.connect import is_connect, parallelism
from newslake.spark.frames import frame_of
from newslake.spark.session import session_settings

SAFE_HOURS = 168
"""How long files stay that no version needs any more: Delta's own limit, longer than any run reads what it
found at its start."""
_IS_OLD, _IS_GONE = "__is_old", "__is_gone"
_EMPTY_IS_NULL = "spark.databricks.delta.convertEmptyToNullForStringPartitionCol"
_WRITES, _EARLIER_COMMITS = ("WRITE", "MERGE", "UPDATE"), 100
_MERGED = ("numTargetRowsInserted", "numTargetRowsUpdated")
# Delta lists the folders of a table in so many tasks, however few they are: Spark's default is 10,000.
_LISTING_TASKS, _TASKS_A_CORE = "spark.sql.sources.parallelPartitionDiscovery.parallelism", 4
_RECENT_COMMITS = 20  # how far back to look for our own commit among those of runs beside us


class Lakehouse:
    """The tables, under a folder or URI (`root`), or as names in a metastore or Unity Catalog (`catalog`,
    `schema`)."""

    def __init__(
        self,
        spark: SparkSession,
        root: str | None = None,
        *,
        catalog: str | None = None,
        schema: str | None = None,
        work_folder: str | None = None,
    ) -> None:
        if catalog is not None and schema is None:
            raise UserError("--catalog needs --schema too")
        if (root is None) == (schema is None):
            raise UserError(
                "say where the tables live: either --lakehouse FOLDER or --schema NAME (and --catalog NAME)"
            )
        self.spark = spark
        self.root = root.rstrip("/") if root is not None else None
        self.work = work_folder.rstrip("/") if work_folder is not None else self.root  # see files/work.py
        self._names = [quoted(part) for part in (catalog, schema) if part is not None]
        self._current: set[str] = set()  # tables whose columns were seen to be the contract's
        self._read: set[str] = set()  # tables that were read since noting_reads
        self._unwritten: set[str] = set()  # tables that were made by this object, and not written by it yet

    def in_session(self, spark: SparkSession) -> "Lakehouse":
        """The same tables by another session, such as that of a stream's batch: a frame belongs to one, and
        writes by its settings."""
        other = copy.copy(self)
        other.spark = spark
        return other

    @contextmanager
    def noting_reads(self) -> Iterator[set[str]]:
        """The tables that are read meanwhile, also in other sessions; a set that grows."""
        before, self._read = self._read, set()
        try:
            yield self._read
        finally:
            self._read = before

    def exists(self, table: str) -> bool:
        """Whether the table has been created."""
        if self.root is not None and not is_connect(self.spark):
            return DeltaTable.isDeltaTable(self.spark, f"{self.root}/{table}")
        try:
            return self.spark.catalog.tableExists(self._identifier(table))
        except AnalysisException as error:
            if TABLE_NOT_YET.search(str(error)):  # what a folder that is none, or not there, is told as
                return False
            raise

    def read(self, table: str) -> DataFrame:
        """The table's rows, now; columns that an older version did not know are NULL.

        Raises:
            UserError: the table is not there yet, or cannot be read as its contract says; says which job
                builds it.
        """
        spec = table_spec(table)
        if not self.exists(table):
            raise UserError(
                f"table {table} is not there yet (looked in {self}); it is built by: {spec.written_by}"
            )
        self._read.add(table)
        rows = self.spark.table(self._identifier(table))
        return with_missing(rows, missing_columns(spec, rows.schema, str(self)))

    def read_or_empty(self, table: str) -> DataFrame:
        """The table's rows, or none where it is not there yet: for a table that not every lakehouse has, such
        as click_history, which files bring and streams do not.
        """
        return (
            self.read(table) if self.exists(table) else frame_of(self.spark, [], table_spec(table).schema())
        )

    def bookmark(self, table: str) -> str:
        """Where the table stands now, for `read_at` and `changes`; NOTHING where it is not there yet."""
        if not self.exists(table):
            return NOTHING
        last = self._history(table, 1).select("version").head()
        assert last is not None
        return bookmark_of(last["version"], self._id(table))

    def written_at(self, table: str) -> datetime | None:
        """When a job last put rows into the table, new or changed, UTC without a zone; None where none did
        within the last commits.

        Deleting, vacuuming and rewriting files leave it as it is, and so does a write that found nothing to
        do.
        """
        history = self._history(table, _EARLIER_COMMITS).where(F.col("operation").isin(*_WRITES))
        counts = {
            name: F.col("operationMetrics")[name].try_cast("bigint")
            for name in (*_MERGED, "numUpdatedRows", "numOutputRows")
        }
        merged = F.try_add(*(counts[name] for name in _MERGED))
        rows = F.coalesce(merged, counts["numUpdatedRows"], counts["numOutputRows"])
        row = history.where(rows > 0).agg(F.max("timestamp")).head()
        return None if row is None else row[0]

    def read_at(self, table: str, bookmark: str) -> DataFrame:
        """The table's rows at a bookmark. Files that are gone show when the rows are computed: do that under
        `versions_needed`.

        Raises:
            VersionsGone: the version is not in the table's log any more.
        """
        spec = table_spec(table)
        self._read.add(table)
        if bookmark == NOTHING:
            return frame_of(self.spark, [], spec.schema())
        with versions_needed():
            rows = self.spark.read.option("versionAsOf", str(version_in(bookmark, self._id(table)))).table(
                self._identifier(table)
            )
        return with_missing(rows, missing_columns(spec, rows.schema, str(self)))

    def changes(self, table: str, since: str, until: str) -> DataFrame:
        """What was written after one bookmark and up to another: the key's columns, `before` and `after` (see
        net_changes).

        Rewritten files, such as OPTIMIZE leaves, are no change; rows that were deleted and written again in
        between are one, with an equal `before` and `after`. Costs what was written, not what the table holds.

        Raises:
            VersionsGone: the versions are not in the log, the table had no change feed yet, or the table is
                another one now.
        """
        spec = table_spec(table)
        if NOTHING in (since, until) or is_earlier(self.bookmark(table), until):
            raise VersionsGone("the table has no such version")
        self._read.add(table)
        table_id = self._id(table)
        first, last = (version_in(bookmark, table_id) for bookmark in (since, until))
        if first >= last:
            rows = frame_of(self.spark, [], spec.schema())
            feed = rows.select("*", F.lit("insert").alias("_change_type"), F.lit(0).alias("_commit_version"))
        else:
            reader = self.spark.read.option("readChangeFeed", "true").option(
                "startingVersion", str(first + 1)
            )
            with versions_needed():
                feed = reader.option("endingVersion", str(last)).table(self._identifier(table))
            feed = with_missing(feed, missing_columns(spec, feed.schema, str(self)))
        return net_changes(feed, spec.key, spec.schema().names)

    def create(self, table: str) -> bool:
        """Create the table from schemas/<table>.sql where it is not there yet; whether it was not. Two runs
        may do so at once.

        A table that an older version made gets the columns that came later.

        Raises:
            UserError: the table that is there is another version's, and cannot be written.
        """
        if table in self._current and self.exists(table):
            return False
        # Racing runs can meet after each saw no table: one of them fails, and finds the table when it tries
        # again.
        made = retrying(lambda: self._create_or_evolve(table))
        self._current.add(table)
        if made:
            self._unwritten.add(table)
        return made

    def merge(
        self, table: str, rows: DataFrame, *, update: bool = True, gone: DataFrame | None = None
    ) -> Written:
        """Insert the rows whose key is new; with `update`, change those whose other columns differ.

        Args:
            table: whose contract names the key.
            rows: the contract's columns; no key twice (Delta refuses to update one row by two).
            update: False leaves rows whose key is there already as they are.
            gone: the key's columns: rows to delete in the same commit, such as those that a changed key
                leaves behind; none of their keys is in `rows`.

        Raises:
            SchemaMismatch: the columns are not the contract's.
        """
        rows = self._as_contract(table, rows)
        self.create(table)
        key = table_spec(table).key
        match = _match(table)
        others = [field for field in rows.schema if field.name not in key]
        differ = " OR ".join(differs(field) for field in others)

        def write() -> DataFrame:
            new = rows.alias("new")
            if update and others and table not in self._unwritten:
                # Only rows that are new or differ take part: Delta rewrites every file that holds a matching
                # key, so without this a rerun on the same input would rewrite the table.
                old = self.spark.table(self._identifier(table)).withColumn(_IS_OLD, F.lit(True)).alias("old")
                changed = new.join(old, on=F.expr(match), how="left").where(
                    F.expr(f"old.{_IS_OLD} IS NULL OR {differ}")
                )
                new = changed.select("new.*").alias("new")
            if gone is not None:
                leaving = gone.select(*key).withColumn(_IS_GONE, F.lit(True))
                new = new.unionByName(leaving, allowMissingColumns=True).alias("new")
            # Where rows go too, the source has a column more than the table.
            stays = None if gone is None else f"new.{_IS_GONE} IS NULL"
            columns = () if gone is None else tuple(quoted(field.name) for field in rows.schema)
            clauses = [] if gone is None else [Clause("delete", f"new.{_IS_GONE}")]
            clauses += [Clause("update", stays, columns)] if update and others else []
            return self._merge(table, new, [*clauses, Clause("insert", stays, columns)])

        return self._merged(table, write)

    def update(self, table: str, rows: DataFrame) -> Written:
        """Put the rows in place of those with their keys, all of which are there and differ. A row with a new
        key is left out.

        Takes about half of what `merge` does, which has to look for what is new and what differs: Delta then
        goes through each file once, beside a small set of rows, without sorting what it holds.

        Raises:
            SchemaMismatch: the columns are not the contract's.
        """
        rows = self._as_contract(table, rows)
        self.create(table)
        return self._merged(table, lambda: self._merge(table, rows, [Clause("update")]))

    def replace(self, table: str, rows: DataFrame, *, where: Mapping[str, str | Sequence[str]]) -> Written:
        """Put `rows` in place of one slice of the table, such as `{"split": "train"}`, in one commit; several
        values are one slice too.

        Raises:
            SchemaMismatch: the columns are not the contract's.
            ValueError: the slice names no column, or one that the table lacks.
        """
        contract = table_spec(table).schema().names
        if not where or not set(where) <= set(contract):
            raise ValueError(f"table {table}: a slice names columns of the table, not {dict(where)}")
        rows = self._as_contract(table, rows)
        condition = " AND ".join(_slice(name, value) for name, value in where.items())
        self.create(table)
        # Delta copies every row once to make NULL of an empty text that names a partition, lest it slip past
        # NOT NULL. It cannot where the slice says which partition it is: Delta compares every row with that.
        settings = {_EMPTY_IS_NULL: "false"} if set(table_spec(table).partitions) <= set(where) else {}
        return self._saved(table, rows, settings, mode="overwrite", replaceWhere=condition)

    def append(self, table: str, rows: DataFrame) -> Written:
        """Add rows whose keys nobody can have written yet, such as that of a run which begins now: a third of
        what `replace` costs.

        Raises:
            SchemaMismatch: the columns are not the contract's.
        """
        rows = self._as_contract(table, rows)
        self.create(table)
        return self._saved(table, rows, {}, mode="append")

    def delete(self, table: str, condition: str) -> int:
        """Delete the rows for which the SQL condition is true; returns how many."""
        self.create(table)
        [did] = retrying(
            lambda: self.spark.sql(f"DELETE FROM {self._identifier(table)} WHERE {condition}")
        ).collect()
        self._unwritten.discard(table)
        return int(did["num_affected_rows"])

    def remove(self, table: str, rows: DataFrame) -> int:
        """Delete the rows that agree with one of `rows` in all of its columns, such as news_id alone; returns
        how many.

        Raises:
            ValueError: `rows` has no column, or one that the table lacks.
        """
        spec = table_spec(table)
        if not rows.columns or not set(rows.columns) <= set(spec.schema().names):
            raise ValueError(
                f"table {table}: rows are removed by columns of the table, not by {rows.columns}"
            )
        self.create(table)
        gone = self.read(table).join(rows.distinct(), on=rows.columns, how="left_semi").select(*spec.key)
        return self.merge(table, frame_of(self.spark, [], spec.schema()), gone=gone).deleted

    def vacuum(self, table: str, *, hours: float) -> None:
        """Delete files in the table's folder that no version of the last `hours` holds and no write of that
        time left behind.

        Raises:
            ValueError: fewer hours than SAFE_HOURS: a run that began before may still read those files.
        """
        if hours < SAFE_HOURS:
            raise ValueError(f"table {table}: files are kept for {SAFE_HOURS} hours at least, not {hours}")
        self.create(table)
        with session_settings(self.spark, {_LISTING_TASKS: str(_TASKS_A_CORE * parallelism(self.spark))}):
            self.spark.sql(f"VACUUM {self._identifier(table)} RETAIN {float(hours)} HOURS")

    def files(self, table: str, *, where: Mapping[str, str] | None = None) -> list[str]:
        """The Parquet files that make up the table now, or the slice of it, for readers that go past
        Spark."""
        rows = self.read(table)
        for name, value in (where or {}).items():
            rows = rows.where(F.col(name) == value)
        return sorted(rows.inputFiles())

    def location(self, table: str) -> str:
        """Folder or URI of the table's data."""
        self.create(table)
        return str(self._detail(table, "location"))

    def sql_name(self, table: str) -> str:
        """The table, or a view beside it, as SQL names it."""
        return self._identifier(table)

    def schema(self, table: str) -> T.StructType:
        """The contract of the table, whether it has been created or not."""
        return table_spec(table).schema()

    def __str__(self) -> str:
        return self.root if self.root is not None else ".".join(self._names)

    def _identifier(self, table: str) -> str:
        if self.root is not None:
            return f"delta.{quoted(f'{self.root}/{table}')}"
        return ".".join([*self._names, quoted(table)])

    def _create_or_evolve(self, table: str) -> bool:
        if self.exists(table):
            try:
                self._evolve(table)
                return False
            except PySparkException as error:
                # Its log has begun, and holds no commit yet: by a run at the same time, or by one that was
                # killed right there.
                if not TABLE_NOT_YET.search(str(error)):
                    raise
        self.spark.sql(table_spec(table).ddl.replace("{table}", self._identifier(table)))
        return True

    def _evolve(self, table: str) -> None:
        spec, there = table_spec(table), self.spark.table(self._identifier(table)).schema
        missing = missing_columns(spec, there, str(self))
        refuse_unknown_columns(spec, there, str(self))
        if missing:
            self.spark.sql(add_columns(self._identifier(table), missing))
        if spec.has_change_feed and self._property(table, CHANGE_FEED) != "true":
            self.spark.sql(
                f"ALTER TABLE {self._identifier(table)} SET TBLPROPERTIES ('{CHANGE_FEED}' = 'true')"
            )

    def _property(self, table: str, name: str) -> str | None:
        return self._detail(table, "properties").get(name)

    def _id(self, table: str) -> str:
        return str(self._detail(table, "id"))

    def _detail(self, table: str, what: str) -> Any:
        row = retrying(
            lambda: self.spark.sql(f"DESCRIBE DETAIL {self._identifier(table)}").select(what).head(),
            on=TABLE_NOT_YET,
        )
        assert row is not None
        return row[0]

    def _history(self, table: str, commits: int) -> DataFrame:
        """The latest commits, the last one first."""
        self.create(table)
        if is_connect(self.spark):
            return retrying(
                lambda: self.spark.sql(f"DESCRIBE HISTORY {self._identifier(table)} LIMIT {commits}"),
                on=TABLE_NOT_YET,
            )
        return self._delta(table).history(commits)

    def _delta(self, table: str) -> DeltaTable:
        if self.root is None:
            return DeltaTable.forName(self.spark, self._identifier(table))
        path = f"{self.root}/{table}"
        # Created by another run at this moment, its log may have begun and show no commit yet.
        return retrying(lambda: DeltaTable.forPath(self.spark, path), on=TABLE_NOT_YET)

    def _as_contract(self, table: str, rows: DataFrame) -> DataFrame:
        contract = table_spec(table).schema()
        check_schema(table, contract, rows.schema)
        return rows.select(*contract.names)

    def _saved(
        self, table: str, rows: DataFrame, settings: Mapping[str, str], *, mode: str, **options: str
    ) -> Written:
        """Write the rows under some settings of the session, and say how many they were."""
        mark = f"newslake write {uuid.uuid4()}"

        def save() -> Observation:
            counted = Observation()
            writer = (
                rows.observe(counted, F.count(F.lit(1)).alias("rows"))
                .write.format("delta")
                .mode(mode)
                .options(**options)
            )
            if self.root is not None:
                writer.save(f"{self.root}/{table}")
            else:
                writer.option("userMetadata", mark).saveAsTable(self._identifier(table))
            return counted

        with session_settings(self.spark, settings):
            counted = retrying(save)
        self._unwritten.discard(table)
        if self.root is not None:  # counted on their way, which costs no query of its own
            return Written(inserted=int(counted.get["rows"]))
        # By name, the catalog writes by a query of its own that nobody can watch. Another run may have
        # written meanwhile.
        own = self._history(table, _RECENT_COMMITS).where(F.col("userMetadata") == mark)
        row = own.select(F.col("operationMetrics")["numOutputRows"].cast("bigint")).head()
        return Written(inserted=0 if row is None else row[0] or 0)

    def _merge(self, table: str, rows: DataFrame, clauses: Sequence[Clause]) -> DataFrame:
        """Run one merge, once; Delta answers with what it did."""
        if is_connect(self.spark):
            statement = merge_statement(self._identifier(table), _match(table), clauses)
            return self.spark.sql(statement, rows=rows)
        merge = self._delta(table).alias("old").merge(rows.alias("new"), _match(table))
        for clause in clauses:
            every: dict[str, str | Column] = {**clause.values}
            if clause.does == "delete":
                merge = merge.whenMatchedDelete(clause.where)
            elif clause.does == "update":
                merge = (
                    merge.whenMatchedUpdate(clause.where, set=every)
                    if every
                    else merge.whenMatchedUpdateAll(clause.where)
                )
            else:
                merge = (
                    merge.whenNotMatchedInsert(clause.where or "true", values=every)
                    if every
                    else merge.whenNotMatchedInsertAll(clause.where)
                )
        return merge.execute()

    def _merged(self, table: str, merge: Callable[[], DataFrame]) -> Written:
        """Run one merge, and again where another run was first; counts from Delta's answer."""
        [did] = retrying(merge).collect()
        self._unwritten.discard(table)
        return Written(
            inserted=did["num_inserted_rows"],
            updated=did["num_updated_rows"],
            deleted=did["num_deleted_rows"],
        )


def _slice(name: str, value: str | Sequence[str]) -> str:
    """The SQL condition that a column has the value, or one of the values."""
    values = [value] if isinstance(value, str) else value
    alternatives = " OR ".join(f"{quoted(name)} = {literal(one)}" for one in values)
    return f"({alternatives})" if len(values) > 1 else alternatives


def _match(table: str) -> str:
    """The SQL condition that two rows, `old` and `new`, have the same key."""
    return " AND ".join(f"old.{quoted(name)} = new.{quoted(name)}" for name in table_spec(table).key)
