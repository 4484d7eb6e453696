"""The topics of each group of a user's tags: what the saved topic model makes of the group's tags, read as
one text."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.topics.inference import TopicModel, top_topics
from newslake.topics.words import terms

TOPICS_OF_GROUP = 2
_FOUND = "user_id string, tag_group int, topic_id int, weight double"
_ARROW = pa.schema(
    [("user_id", pa.string()), ("tag_group", pa.int32()), ("topic_id", pa.int32()), ("weight", pa.float64())]
)


def group_topics(phrases: DataFrame, model: TopicModel) -> DataFrame:
    """The most relevant topics of each tag group: user_id, tag_group, topic_id, weight (the topic's share).

    Args:
        phrases: one day's rows of user_phrases: a group's tags are those of its phrases, each once.
        model: a saved model; travels to the workers with the step.

    Returns:
        Up to two rows a group; none where the model knows no word of its tags.
    """
    tags = F.array_sort(F.array_distinct(F.flatten(F.collect_list("tags"))))
    groups = phrases.groupBy("user_id", "tag_group").agg(F.array_join(tags, "\n").alias("text"))
    return groups.mapInArrow(partial(_topics, model), _FOUND)


def _topics(model: TopicModel, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        ids, weights = top_topics(
            model.shares([terms(text) for text in batch.column("text").to_pylist()]), TOPICS_OF_GROUP
        )
        known = (ids >= 0) & (weights > 0.0)
        group = pa.array(np.nonzero(known)[0])
        columns = [
            batch.column("user_id").take(group),
            batch.column("tag_group").take(group),
            pa.array(ids[known], pa.int32()),
            pa.array(weights[known], pa.float64()),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_ARROW)
