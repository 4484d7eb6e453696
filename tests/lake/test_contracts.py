"""The contracts in schemas/: each one parses, names a key, and can be read by every reader that people
use."""

import re

import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_names, table_spec


@pytest.mark.parametrize("table", table_names())
def test_contract_is_complete(spark: SparkSession, table: str) -> None:
    spec = table_spec(table)
    schema = spec.schema()
    assert set(spec.key) <= set(schema.names)
    assert all(not schema[name].nullable for name in spec.key), "a key is never NULL"
    assert set(spec.partitions) <= set(spec.key), "a merge by key prunes by partition"
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in schema.names)
    assert all(field.metadata.get("comment") for field in schema), "every column says what it holds"
    assert "'delta.enableDeletionVectors' = 'false'" in spec.ddl, (
        "deltalake and others do not read deletion vectors"
    )


@pytest.mark.parametrize("table", table_names())
def test_created_table_is_what_the_contract_says(lake: Lakehouse, table: str) -> None:
    lake.create(table)
    created = lake.read(table).schema
    contract = lake.schema(table)
    assert [(f.name, f.dataType.simpleString(), f.nullable) for f in created] == [
        (f.name, f.dataType.simpleString(), f.nullable) for f in contract
    ]
    assert {f.name: f.metadata.get("comment") for f in created} == {
        f.name: f.metadata["comment"] for f in contract
    }


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no contract for table 'nope'"):
        table_spec("nope")
