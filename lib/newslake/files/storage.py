"""Object storage read and written past Spark: pyarrow's file systems with the endpoint, region and
credentials of Spark's own settings.

`storage_of` takes from the session's Hadoop configuration (spark.hadoop.fs.s3a.*, fs.azure.*, fs.gs.*) what
the places at hand need; what it returns goes to the Python workers with the work. What pyarrow cannot do as
Hadoop does it is refused, with the setting's name.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.files.paths import local_path
from newslake.spark.connect import is_connect

Settings = Mapping[str, str]

_S3 = (
    *(
        "access.key",
        "secret.key",
        "session.token",
        "endpoint",
        "endpoint.region",
        "path.style.access",
        "connection.ssl.enabled",
    ),
    *(
        "aws.credentials.provider",
        "assumed.role.arn",
        "assumed.role.session.name",
        "assumed.role.external.id",
    ),
    *(
        "proxy.host",
        "proxy.port",
        "proxy.username",
        "proxy.password",
        "encryption.algorithm",
        "server-side-encryption-algorithm",
    ),
)
_AZURE = (
    *("account.auth.type", "account.key", "sas.fixed.token", "account.oauth.provider.type"),
    *("account.oauth2.client.id", "account.oauth2.client.secret", "account.oauth2.client.endpoint"),
)
_GCS = (
    *(
        "auth.type",
        "auth.service.account.enable",
        "auth.service.account.json.keyfile",
        "auth.impersonation.service.account",
    ),
    *("project.id", "storage.root.url"),
)
# Hadoop's providers that take the keys of the settings, and those that look where AWS's own chain looks, as
# pyarrow does by itself.
_BY_KEYS = {"SimpleAWSCredentialsProvider", "TemporaryAWSCredentialsProvider"}
_BY_CHAIN = {
    *(
        "EnvironmentVariableCredentialsProvider",
        "EnvironmentVariablesCredentialsProvider",
        "SystemPropertiesCredentialsProvider",
    ),
    *(
        "DefaultCredentialsProvider",
        "DefaultAWSCredentialsProviderChain",
        "IAMInstanceCredentialsProvider",
        "ProfileCredentialsProvider",
    ),
    *(
        "InstanceProfileCredentialsProvider",
        "ContainerCredentialsProvider",
        "WebIdentityTokenFileCredentialsProvider",
    ),
    *(
        "EC2ContainerCredentialsProviderWrapper",
        "WebIdentityTokenCredentialsProvider",
        "ProfileAWSCredentialsProvider",
    ),
}


@dataclass(frozen=True)
class Storage:
    """What Hadoop's configuration says of some places; goes to Python workers with their tasks.

    Attributes:
        settings: by Hadoop's names; credentials among them, which its text does not show.
    """

    settings: Settings = field(default_factory=dict, repr=False)

    def opened(self, place: str) -> tuple[pafs.FileSystem, str]:
        """File system and path of a URI, percent-escaped as URIs are.

        Raises:
            UserError: pyarrow cannot read there, or not as Hadoop's settings say.
        """
        if (local := local_path(place)) is not None:
            return pafs.LocalFileSystem(), local
        parts = urlsplit(place)
        path = unquote(parts.path)
        if parts.scheme in ("s3", "s3a", "s3n"):
            return _made("s3", _key(s3_options(self.settings, parts.netloc))), parts.netloc + path
        if parts.scheme in ("abfs", "abfss"):
            container, _, host = parts.netloc.partition("@")
            return _made("azure", _key(azure_options(self.settings, host))), container + path
        if parts.scheme == "gs":
            return _made("gcs", _key(gcs_options(self.settings, os.environ))), parts.netloc + path
        try:
            system, path = pafs.FileSystem.from_uri(place)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            said = " ".join(str(error).split())
            raise UserError(
                f"{parts.scheme}:// cannot be read past Spark ({said}): keep tables and work on s3a, abfss"
                " or gs"
            ) from None
        return system, unquote(path)


def storage_of(spark: SparkSession, places: Iterable[str]) -> Storage:
    """What the session's Hadoop configuration says of these places: nothing of local ones, which costs
    nothing to find out.

    Args:
        spark: the session.
        places: URIs; of those in one bucket or account the first is enough.
    """
    roots = {
        (parts.scheme, parts.netloc)
        for parts in map(urlsplit, places)
        if parts.scheme not in ("", "file", "dbfs")
    }
    names = sorted({name for scheme, host in roots for name in setting_names(scheme, host)})
    if not names:
        return Storage()
    if is_connect(spark):  # what Spark was told; Hadoop's own files and credential stores are the server's
        told = spark.conf.getAll
        return Storage(
            {name: told[f"spark.hadoop.{name}"] for name in names if f"spark.hadoop.{name}" in told}
        )
    session: Any = spark
    conf = session._jsparkSession.sessionState().newHadoopConf()
    found = {}
    for name in names:
        # Of a credential store (hadoop.security.credential.provider.path) where there is one, else of the
        # configuration.
        value = conf.getPassword(name) if _is_secret(name) else conf.getTrimmed(name)
        if value is not None:
            found[name] = value if isinstance(value, str) else "".join(value)
    return Storage(found)


def setting_names(scheme: str, host: str) -> list[str]:
    """The settings of Hadoop's that bear on a bucket or account, by their full names.

    Args:
        scheme: such as s3a.
        host: the bucket, or container@account for abfss.
    """
    if scheme in ("s3", "s3a", "s3n"):
        return [f"fs.s3a.{of}{name}" for name in _S3 for of in ("", f"bucket.{host}.")]
    if scheme in ("abfs", "abfss"):
        account = host.partition("@")[2]
        return [f"fs.azure.{name}{of}" for name in _AZURE for of in ("", f".{account}")]
    return [f"fs.gs.{name}" for name in _GCS] if scheme == "gs" else []


def s3_options(settings: Settings, bucket: str) -> dict[str, Any]:
    """fs.s3a.* -> the arguments of pyarrow's S3FileSystem; a setting of the bucket (fs.s3a.bucket.NAME.*)
    wins.

    Raises:
        UserError: a setting that pyarrow has nothing equal to.
    """

    def of(name: str) -> str | None:
        return settings.get(f"fs.s3a.bucket.{bucket}.{name}") or settings.get(f"fs.s3a.{name}") or None

    algorithm = of("encryption.algorithm") or of("server-side-encryption-algorithm") or ""
    if algorithm.upper().startswith(("SSE-C", "CSE")):
        raise UserError(
            f"fs.s3a.encryption.algorithm {algorithm}: what reads past Spark has no such key; use SSE-S3 or"
            " SSE-KMS"
        )
    options: dict[str, Any] = {"region": of("endpoint.region")}
    endpoint = of("endpoint")
    if endpoint is not None and endpoint.split("://")[-1] != "s3.amazonaws.com":
        secure = (of("connection.ssl.enabled") or "true").lower() == "true"
        scheme, _, rest = endpoint.rpartition("://")
        options |= {
            "endpoint_override": rest.rstrip("/"),
            "scheme": scheme or ("https" if secure else "http"),
        }
        # By default pyarrow writes the bucket into the path, and Hadoop into the host's name.
        options["force_virtual_addressing"] = (of("path.style.access") or "false").lower() != "true"
    if (host := of("proxy.host")) is not None:
        login = {"username": of("proxy.username"), "password": of("proxy.password")}
        named = {name: value for name, value in login.items() if value is not None}
        options["proxy_options"] = {
            "scheme": "http",
            "host": host,
            "port": int(of("proxy.port") or "80"),
            **named,
        }
    options |= _s3_credentials(of)
    return {name: value for name, value in options.items() if value is not None}


def _s3_credentials(of: Callable[[str], str | None]) -> dict[str, Any]:
    given = of("aws.credentials.provider") or ""
    providers = [name.strip().rsplit(".", 1)[-1] for name in given.split(",") if name.strip()]
    if "AssumedRoleCredentialProvider" in providers:
        named = {
            "session_name": of("assumed.role.session.name"),
            "external_id": of("assumed.role.external.id"),
        }
        if (role := of("assumed.role.arn")) is None:
            raise UserError(
                "fs.s3a.aws.credentials.provider assumes a role: say which with fs.s3a.assumed.role.arn"
            )
        return {"role_arn": role, **named}
    if "AnonymousAWSCredentialsProvider" in providers:
        return {"anonymous": True}
    if unknown := [name for name in providers if name not in _BY_KEYS | _BY_CHAIN]:
        raise UserError(
            f"fs.s3a.aws.credentials.provider {unknown[0]}: what reads past Spark does not know it; give keys"
            " (fs.s3a.access.key), a role (AssumedRoleCredentialProvider), or leave it to AWS's default"
            " chain"
        )
    by_keys = not providers or any(name in _BY_KEYS for name in providers)
    if not by_keys or (key := of("access.key")) is None:
        return {}  # AWS's default chain
    return {"access_key": key, "secret_key": of("secret.key"), "session_token": of("session.token")}


def azure_options(settings: Settings, host: str) -> dict[str, Any]:
    """fs.azure.* -> the arguments of pyarrow's AzureFileSystem; a setting of the account (its name ends in
    the host's) wins.

    Args:
        settings: by Hadoop's names.
        host: such as account.dfs.core.windows.net.

    Raises:
        UserError: a setting that pyarrow has nothing equal to.
    """

    def of(name: str) -> str | None:
        return settings.get(f"fs.azure.{name}.{host}") or settings.get(f"fs.azure.{name}") or None

    account, _, domain = host.partition(".")
    options: dict[str, Any] = {"account_name": account}
    if domain not in ("dfs.core.windows.net", ""):
        options |= {
            "dfs_storage_authority": f".{domain}",
            "blob_storage_authority": f".{domain.replace('dfs.', 'blob.', 1)}",
        }
    kind = (of("account.auth.type") or "SharedKey").lower()
    if kind == "sharedkey":
        return options | ({"account_key": key} if (key := of("account.key")) is not None else {})
    if kind == "sas" and (token := of("sas.fixed.token")) is not None:
        return options | {"sas_token": token}
    if kind == "oauth":
        return options | _azure_oauth(of)
    raise UserError(
        f"fs.azure.account.auth.type {kind}: what reads past Spark takes SharedKey, OAuth, and SAS with"
        " fs.azure.sas.fixed.token"
    )


def _azure_oauth(of: Callable[[str], str | None]) -> dict[str, Any]:
    provider = (of("account.oauth.provider.type") or "").rsplit(".", 1)[-1]
    client = of("account.oauth2.client.id")
    if provider == "ClientCredsTokenProvider":
        # https://login.microsoftonline.com/<tenant>/oauth2/token
        path = urlsplit(of("account.oauth2.client.endpoint") or "").path.strip("/")
        secret = of("account.oauth2.client.secret")
        if not path or client is None or secret is None:
            raise UserError(
                "ClientCredsTokenProvider needs fs.azure.account.oauth2.client.id, .secret and .endpoint"
            )
        return {"tenant_id": path.split("/")[0], "client_id": client, "client_secret": secret}
    if provider == "MsiTokenProvider":
        return {} if client is None else {"client_id": client}
    if provider == "WorkloadIdentityTokenProvider":
        return {}  # of the environment, which pyarrow's default credential reads too
    raise UserError(
        f"fs.azure.account.oauth.provider.type {provider or '(none)'}: what reads past Spark takes"
        " ClientCredsTokenProvider, MsiTokenProvider and WorkloadIdentityTokenProvider"
    )


def gcs_options(settings: Settings, environment: Settings) -> dict[str, Any]:
    """fs.gs.* -> the arguments of pyarrow's GcsFileSystem.

    Args:
        settings: by Hadoop's names.
        environment: of this process: pyarrow finds a key file only by GOOGLE_APPLICATION_CREDENTIALS.

    Raises:
        UserError: a setting that pyarrow has nothing equal to.
    """
    of = {name: settings.get(f"fs.gs.{name}") or None for name in _GCS}
    file = of["auth.service.account.json.keyfile"]
    by_default = "UNAUTHENTICATED" if of["auth.service.account.enable"] == "false" else "COMPUTE_ENGINE"
    kind = (of["auth.type"] or ("SERVICE_ACCOUNT_JSON_KEYFILE" if file else by_default)).upper()
    if kind == "SERVICE_ACCOUNT_JSON_KEYFILE" and environment.get("GOOGLE_APPLICATION_CREDENTIALS") != file:
        raise UserError(
            "fs.gs.auth.service.account.json.keyfile: what reads past Spark finds the key file by its"
            f" environment alone; set GOOGLE_APPLICATION_CREDENTIALS={file} for driver and executors"
            " (spark.executorEnv.GOOGLE_APPLICATION_CREDENTIALS)"
        )
    if kind not in (
        "SERVICE_ACCOUNT_JSON_KEYFILE",
        "COMPUTE_ENGINE",
        "APPLICATION_DEFAULT",
        "UNAUTHENTICATED",
    ):
        raise UserError(
            f"fs.gs.auth.type {kind}: what reads past Spark takes key files, COMPUTE_ENGINE,"
            " APPLICATION_DEFAULT and none"
        )
    options: dict[str, Any] = {
        "project_id": of["project.id"],
        "target_service_account": of["auth.impersonation.service.account"],
    }
    if kind == "UNAUTHENTICATED":
        options["anonymous"] = True
    if (url := of["storage.root.url"]) is not None and url.rstrip("/") != "https://storage.googleapis.com":
        options |= {"scheme": urlsplit(url).scheme, "endpoint_override": urlsplit(url).netloc}
    return {name: value for name, value in options.items() if value is not None}


def _is_secret(name: str) -> bool:
    return any(part in name for part in (".key", "secret", "token", "password")) and not name.endswith(
        "keyfile"
    )


def _key(options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (name, tuple(value.items()) if isinstance(value, dict) else value)
        for name, value in sorted(options.items())
    )


@lru_cache(maxsize=16)
def _made(kind: str, options: tuple[tuple[str, Any], ...]) -> pafs.FileSystem:
    """A file system; one for all files that have the same settings, since each holds connections of its
    own."""
    given = {name: dict(value) if isinstance(value, tuple) else value for name, value in options}
    maker = {"s3": "S3FileSystem", "azure": "AzureFileSystem", "gcs": "GcsFileSystem"}[kind]
    try:
        return getattr(pafs, maker)(**given)
    except AttributeError:  # a build of pyarrow without it
        raise UserError(
            f"this pyarrow has no {maker}: install one that has, or keep tables and work elsewhere"
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"pyarrow's {maker} does not take the settings ({' '.join(str(error).split())})"
        ) from None
