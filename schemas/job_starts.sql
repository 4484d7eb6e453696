CREATE TABLE IF NOT EXISTS {table} (
  run_id STRING NOT NULL COMMENT 'This run of the job, see job_runs, which has it once it has ended',
  job STRING NOT NULL COMMENT 'Name of the job, such as parse_behaviors',
  settings MAP<STRING, STRING> NOT NULL COMMENT 'Every option with the value that it had; NULL where it was not given',
  started_at TIMESTAMP NOT NULL COMMENT 'UTC',
  rows_in BIGINT COMMENT 'Input rows or lines that a stream has read so far; NULL for other jobs',
  rows_out MAP<STRING, BIGINT> COMMENT 'Rows that a stream has written so far, by table',
  rows_quarantined BIGINT COMMENT 'Rows that a stream has put into quarantine so far',
  facts MAP<STRING, STRING> COMMENT 'What a stream found worth saying so far, such as its last sign of life'
)
USING DELTA
COMMENT 'One row is one run of one job that has begun; one without a row in job_runs still runs, or was killed'
TBLPROPERTIES (
  'newslake.key' = 'run_id',
  'newslake.written_by' = 'every job',
  'delta.enableDeletionVectors' = 'false'
)
