"""How errors of Spark, Delta, Kafka and the operating system read: what newslake looks for in their texts, in
one table.

These texts are no contract: a newer version may say the same in other words, which tests of the faults show.
"""

import re

DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|\[Errno 28\]|\[Errno 122\]")
WRITE_REFUSED = re.compile(
    r"Read-only file system|Permission denied|AccessDeniedException|AccessControlException|Mkdirs failed to"
    r" create|"
    r"DELTA_CANNOT_CREATE_LOG_PATH"
)
# What could not be written, as the same texts name it.
REFUSED_PATHS = (
    re.compile(
        r"(?:Mkdirs failed to create|Cannot create|AccessDeniedException:|\[Errno \d+\][^:\n]*:)"
        r"\s*'?(?:file:/*)?(?P<path>/[^\s,'\")]+)"
    ),
    re.compile(r"(?P<path>/[^\s,'\"(]+) \((?:Read-only|Permission)"),
)
FILE_DAMAGED = re.compile(
    r"is not a Parquet file|CANNOT_READ_FILE_FOOTER|FAILED_READ_FILE|ParquetDecodingException|Could not read"
    r" footer|"
    r"Expected \d+ bytes? .* footer|corrupted file|ChecksumException|Checksum error|Parquet magic bytes not"
    r" found"
)
READING_PATH = re.compile(r"FAILED_READ_FILE[^\n]*? reading file (?P<path>[^\n]+?)\.\s*(?:SQLSTATE|$|\n)")
PARQUET_PATH = re.compile(r"file:/[^\n'\"]*?\.parquet|/[^\s,'\"]*?\.parquet")
FILE_GONE = re.compile(r"FILE_NOT_EXIST|FileNotFoundException.*\.parquet|DELTA_FILE_NOT_FOUND")
OUT_OF_MEMORY = re.compile(r"java\.lang\.OutOfMemoryError|Java heap space|GC overhead limit exceeded")
TABLE_BUSY = re.compile(
    r"DELTA_CONCURRENT_\w+|Concurrent(Append|DeleteRead|DeleteDelete|Transaction|Write)Exception|DELTA_METADATA_CHANGED"
)
# What Delta raises where another run got there first; the write is tried again on the newer version.
WRITE_CONFLICT = re.compile(
    r"DELTA_(CONCURRENT|METADATA_CHANGED|PROTOCOL_CHANGED|CREATE_TABLE|TABLE_ALREADY)|ProtocolChanged|Concurrent\w*Exception|already"
    r" exists"
)
# A table whose log has begun and has no commit yet, or none at all.
TABLE_NOT_YET = re.compile(r"DELTA_(TABLE_NOT_FOUND|MISSING_DELTA_TABLE|PATH_DOES_NOT_EXIST|SCHEMA_NOT_SET)")
# A version of a table that cannot be read any more: its files, its log or its change feed are gone.
VERSION_GONE = re.compile(
    r"FILE_NOT_EXIST|FileNotFoundException|DELTA_FILE_NOT_FOUND|DELTA_CHANGE_DATA_FILE_NOT_FOUND|DELTA_LOG_FILE_NOT_FOUND|DELTA_EMPTY_DIRECTORY|"
    r"DELTA_TRUNCATED_TRANSACTION_LOG|DELTA_NO_RECREATABLE_HISTORY_FOUND|DELTA_VERSIONS_NOT_CONTIGUOUS|VersionNotFound|"
    r"DELTA_(VERSION|TIMESTAMP)\w*_NOT_FOUND|[Cc]annot time"
    r" travel|DELTA_MISSING_CHANGE_DATA|DELTA_CHANGE_TABLE_FEED_DISABLED|"
    r"DELTA_CHANGE_DATA_FEED_INCOMPATIBLE|DELTA_INVALID_CDC_RANGE|after the latest version"
)
KAFKA_FAILED = re.compile(r"org\.apache\.kafka\.common\.(?:errors\.)?(?P<what>\w+Exception)")
