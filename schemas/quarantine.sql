CREATE TABLE IF NOT EXISTS {table} (
  quarantine_id STRING NOT NULL COMMENT 'SHA-256 of job, source, line_number, record_id, reason and raw, so that a rerun adds nothing',
  job STRING NOT NULL COMMENT 'The job that rejected the input',
  source STRING NOT NULL COMMENT 'File, topic or table that the input came from',
  line_number BIGINT COMMENT 'Line in the source file, or row of a Parquet file, from 1; in a partition of a Kafka topic the offset; NULL where the source has neither',
  record_id STRING COMMENT 'The key of the record, such as a news_id, where it is known',
  raw BINARY COMMENT 'The input as it came, byte for byte; a row of a table or of a Parquet file as JSON',
  reason STRING NOT NULL COMMENT 'Why it was rejected, for people to read and to group by',
  ingested_at TIMESTAMP NOT NULL COMMENT 'When the input arrived, UTC; from files, the modification time of the file'
)
USING DELTA
COMMENT 'One row is an input that a job could not use'
TBLPROPERTIES (
  'newslake.key' = 'quarantine_id',
  'newslake.written_by' = 'every job that reads input',
  'delta.enableDeletionVectors' = 'false'
)
