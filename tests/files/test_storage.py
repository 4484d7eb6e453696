"""Spark's settings of object storage as pyarrow's: the mapping, and what is refused."""

import pyarrow.fs as pafs
import pytest
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.files.storage import Storage, azure_options, gcs_options, s3_options, setting_names, storage_of

KEYS = {"fs.s3a.access.key": "AK", "fs.s3a.secret.key": "SK"}
PROVIDER, ROLE = (
    "fs.s3a.aws.credentials.provider",
    "org.apache.hadoop.fs.s3a.auth.AssumedRoleCredentialProvider",
)
ACCOUNT = "news.dfs.core.windows.net"


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {}),
        (KEYS, {"access_key": "AK", "secret_key": "SK"}),
        (
            {**KEYS, "fs.s3a.session.token": "T"},
            {"access_key": "AK", "secret_key": "SK", "session_token": "T"},
        ),
        (
            {"fs.s3a.endpoint.region": "eu-west-1", "fs.s3a.endpoint": "s3.amazonaws.com"},
            {"region": "eu-west-1"},
        ),
        (
            {"fs.s3a.endpoint": "http://127.0.0.1:9000", "fs.s3a.path.style.access": "true"},
            {"endpoint_override": "127.0.0.1:9000", "scheme": "http", "force_virtual_addressing": False},
        ),
        (
            {"fs.s3a.endpoint": "store:9000"},
            {"endpoint_override": "store:9000", "scheme": "https", "force_virtual_addressing": True},
        ),
        (
            {"fs.s3a.endpoint": "store:9000", "fs.s3a.connection.ssl.enabled": "false"},
            {"endpoint_override": "store:9000", "scheme": "http", "force_virtual_addressing": True},
        ),
        (
            {**KEYS, "fs.s3a.bucket.lake.access.key": "OWN", "fs.s3a.bucket.other.secret.key": "X"},
            {"access_key": "OWN", "secret_key": "SK"},
        ),
        ({**KEYS, PROVIDER: "org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider"}, {"anonymous": True}),
        ({**KEYS, PROVIDER: "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"}, {}),
        ({PROVIDER: f"{ROLE}", "fs.s3a.assumed.role.arn": "arn:r"}, {"role_arn": "arn:r"}),
        (
            {"fs.s3a.proxy.host": "proxy", "fs.s3a.proxy.port": "3128"},
            {"proxy_options": {"scheme": "http", "host": "proxy", "port": 3128}},
        ),
    ],
)
def test_s3_settings_are_those_of_hadoop(settings: dict[str, str], wanted: dict[str, object]) -> None:
    assert s3_options(settings, "lake") == wanted


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({PROVIDER: "com.example.OwnProvider"}, "OwnProvider"),
        ({PROVIDER: ROLE}, "fs.s3a.assumed.role.arn"),
        ({"fs.s3a.encryption.algorithm": "SSE-C"}, "fs.s3a.encryption.algorithm"),
        ({"fs.s3a.encryption.algorithm": "CSE-KMS"}, "fs.s3a.encryption.algorithm"),
    ],
)
def test_s3_settings_that_pyarrow_has_nothing_for_are_refused_by_name(
    settings: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        s3_options(settings, "lake")


OAUTH = "fs.azure.account.oauth.provider.type"


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {}),
        ({f"fs.azure.account.key.{ACCOUNT}": "K"}, {"account_key": "K"}),
        (
            {"fs.azure.account.auth.type": "SAS", f"fs.azure.sas.fixed.token.{ACCOUNT}": "S"},
            {"sas_token": "S"},
        ),
        (
            {
                f"fs.azure.account.auth.type.{ACCOUNT}": "OAuth",
                OAUTH: "org.apache.hadoop.fs.azurebfs.oauth2.ClientCredsTokenProvider",
                "fs.azure.account.oauth2.client.id": "app",
                "fs.azure.account.oauth2.client.secret": "hush",
                "fs.azure.account.oauth2.client.endpoint": "https://login.microsoftonline.com/tenant-7/oauth2/token",
            },
            {"tenant_id": "tenant-7", "client_id": "app", "client_secret": "hush"},
        ),
        (
            {
                "fs.azure.account.auth.type": "OAuth",
                OAUTH: "org.apache.hadoop.fs.azurebfs.oauth2.MsiTokenProvider",
            },
            {},
        ),
    ],
)
def test_azure_settings_are_those_of_hadoop(settings: dict[str, str], wanted: dict[str, object]) -> None:
    assert azure_options(settings, ACCOUNT) == {"account_name": "news", **wanted}


def test_an_azure_account_of_another_cloud_keeps_its_hosts() -> None:
    found = azure_options({"fs.azure.account.key": "K"}, "news.dfs.core.chinacloudapi.cn")
    assert found["dfs_storage_authority"] == ".dfs.core.chinacloudapi.cn"
    assert found["blob_storage_authority"] == ".blob.core.chinacloudapi.cn"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fs.azure.account.auth.type": "Custom"}, "fs.azure.account.auth.type custom"),
        ({"fs.azure.account.auth.type": "SAS"}, "fs.azure.sas.fixed.token"),
        (
            {"fs.azure.account.auth.type": "OAuth", OAUTH: "a.b.RefreshTokenBasedTokenProvider"},
            "RefreshTokenBased",
        ),
        ({"fs.azure.account.auth.type": "OAuth", OAUTH: "a.b.ClientCredsTokenProvider"}, "client.id"),
    ],
)
def test_azure_settings_that_pyarrow_has_nothing_for_are_refused_by_name(
    settings: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        azure_options(settings, ACCOUNT)


def test_gcs_settings_are_those_of_hadoop() -> None:
    assert gcs_options({}, {}) == {}
    assert gcs_options({"fs.gs.auth.type": "UNAUTHENTICATED"}, {}) == {"anonymous": True}
    assert gcs_options({"fs.gs.project.id": "p", "fs.gs.storage.root.url": "http://127.0.0.1:4443/"}, {}) == {
        **{"project_id": "p", "scheme": "http"},
        "endpoint_override": "127.0.0.1:4443",
    }
    file = {"fs.gs.auth.service.account.json.keyfile": "/etc/key.json"}
    assert gcs_options(file, {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/key.json"}) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"fs.gs.auth.service.account.json.keyfile": "/etc/key.json"},
            "GOOGLE_APPLICATION_CREDENTIALS=/etc/key.json",
        ),
        ({"fs.gs.auth.type": "USER_CREDENTIALS"}, "USER_CREDENTIALS"),
    ],
)
def test_gcs_settings_that_pyarrow_has_nothing_for_are_refused_by_name(
    settings: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        gcs_options(settings, {})


def test_the_settings_of_a_place_are_read_from_the_session(spark: SparkSession) -> None:
    names = {
        "fs.s3a.access.key": "AK",
        "fs.s3a.bucket.lake.secret.key": "of the bucket",
        "fs.s3a.endpoint": "http://127.0.0.1:1",
    }
    for name, value in names.items():
        spark.conf.set(name, value)
    try:
        found = storage_of(spark, ["s3a://lake/news/part-0.parquet", "/tmp/here", "file:///tmp/there"])
        assert {name: found.settings[name] for name in names} == names
        assert "of the bucket" not in repr(found), "what is logged shows no credentials"
        assert storage_of(spark, ["/tmp/here", "file:///tmp/there"]) == Storage()
    finally:
        for name in names:
            spark.conf.unset(name)


def test_places_open_as_pyarrow_names_them() -> None:
    keys = Storage({**KEYS, "fs.s3a.endpoint.region": "us-east-1", f"fs.azure.account.key.{ACCOUNT}": "a2V5"})
    system, path = keys.opened("s3a://lake/news/as_of%3D2019/part%20a.parquet")
    assert isinstance(system, pafs.S3FileSystem)
    assert system.region == "us-east-1"
    assert path == "lake/news/as_of=2019/part a.parquet"
    assert keys.opened("s3a://lake/other")[0] is system, "one file system for all files of the same settings"
    _, path = keys.opened(f"abfss://tables@{ACCOUNT}/news/part.parquet")
    assert path == "tables/news/part.parquet"
    system, path = keys.opened("file:///tmp/my%20lake")
    assert isinstance(system, pafs.LocalFileSystem)
    assert path == "/tmp/my lake"


def test_a_file_system_that_pyarrow_has_not_is_refused() -> None:
    with pytest.raises(UserError, match="wasbs://"):
        Storage().opened("wasbs://tables@account.blob.core.windows.net/news")


def test_a_bucket_has_settings_of_its_own() -> None:
    assert {"fs.s3a.access.key", "fs.s3a.bucket.lake.access.key"} <= set(setting_names("s3a", "lake"))
    assert f"fs.azure.account.key.{ACCOUNT}" in setting_names("abfss", f"tables@{ACCOUNT}")
    assert setting_names("hdfs", "host") == []
