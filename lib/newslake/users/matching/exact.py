"""The exact matcher: an equi-join on hashes of subsets. It finds every match, and each is verified."""

from dataclasses import dataclass, replace
from functools import partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.spark.frames import Frames
from newslake.users.matching.candidates import meetings, verified
from newslake.users.matching.keys import SIZE_BITS, Family, KeyPlan, key_plan, keys_of_batches, least_shared
from newslake.users.matching.matcher import Matcher, check_threshold, named
from newslake.users.sets import as_sets

KEYS_SCHEMA = "key bigint, set_hash bigint, shape int"
COMMON_TAGS = 10_000
"""So many of the commonest tags come last in the order that prefix keys take tags in."""
_SETS_PER_TASK = 500_000
_KEYS_PER_TASK = 2_500_000
_FEW_SETS, _FEW_KEYS = 100_000, 1_000_000
"""New sets and keys up to these numbers travel to the stored ones, which are then read in place, without a
shuffle."""


@dataclass(frozen=True)
class Side:
    """The sets of one side (set_hash, hashes), how many there are by number of tags, and their partitions by
    set_hash."""

    sets: DataFrame
    sizes: dict[int, int]
    tasks: int = 0

    @property
    def few(self) -> bool:
        """Whether they are few enough to be sent to the other side."""
        return sum(self.sizes.values()) <= _FEW_SETS


class ExactMatcher(Matcher):
    """Equal sets first, by their hash; then sets that share a subset of the size that their sizes and the
    threshold ask for.

    See keys.py for the method. All stored sets of one size under one subset key have at least that many tags
    in common with a new set that has the key. So for the best match one of them, that of the lowest id,
    stands for all: the join has at most one row for a new key and a size, however common the key.
    """

    def __init__(self, key_bits: int = 64) -> None:
        self.key_bits = key_bits

    def pairs(self, new: DataFrame, stored: DataFrame, threshold: float, frames: Frames) -> DataFrame:
        """Every pair at the threshold or over."""
        check_threshold(threshold)
        ours, theirs = _side(new, frames), _side(stored, frames)
        found = self._pairs(ours, theirs, threshold, ("subset", "prefix"), with_equal=True)
        return named(found if found is not None else _none(ours))

    def best(self, new: DataFrame, stored: DataFrame, threshold: float, frames: Frames) -> DataFrame:
        """The best match of each new set that has one."""
        check_threshold(threshold)
        given = _side(new, frames)
        theirs = _in_place(stored, given, threshold) if given.few else _side(stored, frames)
        flagged = frames.keep(_flag_stored(given, theirs))
        equal = flagged.where("is_stored").select(
            F.col("hashes").alias("new_hashes"),
            F.col("hashes").alias("stored_hashes"),
            F.lit(1.0).alias("jaccard"),
        )
        rest = flagged.where("NOT is_stored").select("set_hash", "hashes")
        ours = Side(rest, _sizes(rest), given.tasks)
        return (
            named(equal.unionByName(self._best_unequal(ours, theirs, threshold, frames)))
            if ours.sizes
            else named(equal)
        )

    def _best_unequal(self, ours: Side, theirs: Side, threshold: float, frames: Frames) -> DataFrame:
        """The best match of each new set that is not itself stored: new_hashes, stored_hashes, jaccard."""
        columns = ("new_hash", "new_hashes", "stored_hash", "stored_hashes", "jaccard")
        claims = self._claims(ours, theirs, threshold)
        others = self._pairs(ours, theirs, threshold, ("prefix",), with_equal=False)
        if claims is None:
            return _best(others) if others is not None else _none(ours)
        checked = frames.keep(verified(claims, ours.sets, theirs.sets, few=ours.few))
        right = checked.where(F.col("jaccard") >= F.col("claimed")).select(*columns)
        # Different subsets of one hash, about once in 2^64 pairs of keys: a false claim may have hidden a
        # true one.
        wrong = checked.where(F.col("jaccard") < F.col("claimed"))
        if wrong.count():  # in all tasks at once, where isEmpty would begin with one
            deceived = frames.keep(
                wrong.select(
                    F.col("new_hash").alias("set_hash"), F.col("new_hashes").alias("hashes")
                ).distinct()
            )
            again = self._pairs(
                Side(deceived, _sizes(deceived), 1), theirs, threshold, ("subset",), with_equal=False
            )
            if again is not None:
                others = again if others is None else others.unionByName(again)
        if others is None:
            return right.select("new_hashes", "stored_hashes", "jaccard")
        return _best(right.unionByName(others.select(*columns)))

    def _claims(self, ours: Side, theirs: Side, threshold: float) -> DataFrame | None:
        """What subset keys promise each new set at best: new_hash, stored_hash, claimed (a lower bound of the
        Jaccard similarity).

        Where the two sets share just the tags of the key, as the best match does under one of its keys, the
        bound is the value.
        """
        own, other = self._plans("subset", ours, theirs, threshold)
        if not own.levels or not other.levels:
            return None
        new_keys, stored_keys = _keys("subset", ours, own), _keys("subset", theirs, other)
        if ours.few and own.keys(ours.sizes) <= _FEW_KEYS:
            stored_keys = stored_keys.join(
                F.broadcast(new_keys.select("key").distinct()), on="key", how="left_semi"
            )
        else:
            tasks = _tasks(max(own.keys(ours.sizes), other.keys(theirs.sizes)), _KEYS_PER_TASK)
            new_keys, stored_keys = new_keys.repartition(tasks, "key"), stored_keys.repartition(tasks, "key")
        lowest = stored_keys.groupBy("key", F.col("shape").alias("stored_shape")).agg(
            F.min("set_hash").alias("stored_hash")
        )
        met = new_keys.join(lowest, on="key", how="inner").where(_shared("shape") == _shared("stored_shape"))
        shared = _shared("shape")
        claimed = shared.cast("double") / (_size("shape") + _size("stored_shape") - shared)
        promised = met.select(
            F.col("set_hash").alias("new_hash"), "stored_hash", claimed.alias("claimed")
        ).where(F.col("claimed") >= threshold)
        best = F.min(F.struct((-F.col("claimed")).alias("order"), "stored_hash")).alias("best")
        by_set = promised.repartition(ours.tasks, "new_hash") if ours.tasks else promised
        grouped = by_set.groupBy("new_hash").agg(best)
        return grouped.select(
            "new_hash",
            F.col("best.stored_hash").alias("stored_hash"),
            (-F.col("best.order")).alias("claimed"),
        )

    def _pairs(
        self, ours: Side, theirs: Side, threshold: float, families: tuple[Family, ...], *, with_equal: bool
    ) -> DataFrame | None:
        """All pairs that these families find: new_hash, new_hashes, stored_hash, stored_hashes, jaccard.
        None: they can find none."""
        found = [_equal(ours, theirs)] if with_equal else []
        for family in families:
            own, other = self._plans(family, ours, theirs, threshold)
            if own.levels and other.levels:
                new_keys = _keys(family, ours, own).withColumnRenamed("shape", "new_shape")
                stored_keys = _keys(family, theirs, other).withColumnRenamed("shape", "stored_shape")
                a, b = _size("new_shape"), _size("stored_shape")
                reachable = F.least(a, b) / F.greatest(a, b) >= threshold
                found.append(
                    meetings(new_keys, stored_keys, "key").where(reachable).select("new_hash", "stored_hash")
                )
        if not found:
            return None
        met = found[0]
        for more in found[1:]:
            met = met.unionByName(more)
        return verified(met.distinct(), ours.sets, theirs.sets).where(F.col("jaccard") >= threshold)

    def _plans(self, family: Family, ours: Side, theirs: Side, threshold: float) -> tuple[KeyPlan, KeyPlan]:
        own = replace(key_plan(family, threshold, ours.sizes, theirs.sizes), bits=self.key_bits)
        other = replace(key_plan(family, threshold, theirs.sizes, ours.sizes), bits=self.key_bits)
        if family == "prefix" and own.levels and other.levels:
            common = _common_tags(theirs, other)
            return replace(own, common=common), replace(other, common=common)
        return own, other


def _side(phrases: DataFrame, frames: Frames) -> Side:
    """One side's sets: kept, and partitioned by their hash."""
    tasks = _tasks(phrases.count(), _SETS_PER_TASK)
    sets = frames.keep(as_sets(phrases).repartition(tasks, "set_hash"))
    return Side(sets, _sizes(sets), tasks)


def _in_place(stored: DataFrame, ours: Side, threshold: float) -> Side:
    """The stored sets as they lie. Nobody counts them: of each size that could match there may be some."""
    reachable = {
        b
        for a in ours.sizes
        for b in range(int(a * threshold), int(a / threshold) + 2)
        if least_shared(a, b, threshold)
    }
    return Side(as_sets(stored), dict.fromkeys(sorted(reachable - {0}), 1))


def _none(side: Side) -> DataFrame:
    """No match at all, with the columns that matches have."""
    hashes = F.col("hashes")
    return side.sets.limit(0).select(
        hashes.alias("new_hashes"), hashes.alias("stored_hashes"), F.lit(0.0).alias("jaccard")
    )


def _sizes(sets: DataFrame) -> dict[int, int]:
    return {int(row[0]): int(row[1]) for row in sets.groupBy(F.size("hashes")).count().collect()}


def _tasks(rows: int, per_task: int) -> int:
    return max(1, -(-rows // per_task))


def _size(shape: str) -> Column:
    return F.shiftright(shape, SIZE_BITS)


def _shared(shape: str) -> Column:
    return F.col(shape).bitwiseAND((1 << SIZE_BITS) - 1)


def _keys(family: Family, side: Side, plan: KeyPlan) -> DataFrame:
    return side.sets.select("set_hash", "hashes").mapInArrow(
        partial(keys_of_batches, plan, family), KEYS_SCHEMA
    )


def _equal(ours: Side, theirs: Side) -> DataFrame:
    both = ours.sets.select("set_hash").join(theirs.sets.select("set_hash"), on="set_hash", how="inner")
    return both.select(F.col("set_hash").alias("new_hash"), F.col("set_hash").alias("stored_hash"))


def _flag_stored(ours: Side, theirs: Side) -> DataFrame:
    """Each new set, and whether the very set is stored: set_hash, hashes, is_stored."""
    stored = theirs.sets.select("set_hash", F.col("hashes").alias("stored_hashes"))
    if ours.few:
        stored = F.broadcast(
            stored.join(F.broadcast(ours.sets.select("set_hash")), on="set_hash", how="left_semi")
        )
    # Joined on the hash alone, by which both sides are partitioned already; the tags decide.
    both = ours.sets.join(stored, on="set_hash", how="left")
    return both.select(
        "set_hash",
        "hashes",
        F.coalesce(F.col("hashes") == F.col("stored_hashes"), F.lit(False)).alias("is_stored"),
    )


def _common_tags(side: Side, plan: KeyPlan) -> tuple[int, ...]:
    """Hashes of the commonest tags among the sets that get prefix keys, the commonest last. At most
    COMMON_TAGS."""
    touched = side.sets.where(F.size("hashes").isin(list(plan.levels)))
    counted = touched.select(F.explode("hashes").alias("tag")).groupBy("tag").agg(F.count("*").alias("sets"))
    most = counted.orderBy(F.desc("sets"), "tag").limit(COMMON_TAGS).collect()
    return tuple(int(row["tag"]) for row in reversed(most))


def _best(pairs: DataFrame) -> DataFrame:
    first = F.min(F.struct((-F.col("jaccard")).alias("order"), "stored_hash", "stored_hashes")).alias("best")
    best = pairs.groupBy("new_hash", "new_hashes").agg(first)
    return best.select(
        "new_hashes",
        F.col("best.stored_hashes").alias("stored_hashes"),
        (-F.col("best.order")).alias("jaccard"),
    )
