CREATE TABLE IF NOT EXISTS {table} (
  run_id STRING NOT NULL COMMENT 'This run of the job',
  job STRING NOT NULL COMMENT 'Name of the job, such as parse_behaviors',
  settings MAP<STRING, STRING> NOT NULL COMMENT 'Every option with the value that it had; NULL where it was not given',
  started_at TIMESTAMP NOT NULL COMMENT 'UTC',
  ended_at TIMESTAMP COMMENT 'UTC; NULL only with the outcome running',
  rows_in BIGINT COMMENT 'Input rows or lines that the job read',
  rows_out MAP<STRING, BIGINT> COMMENT 'Rows written, by table',
  rows_quarantined BIGINT COMMENT 'Rows that went to quarantine',
  facts MAP<STRING, STRING> COMMENT 'What else the run found worth saying, such as candidates without an article',
  outcome STRING NOT NULL COMMENT 'done, mistake (of the user) or failed; running only in rows of older releases: see job_starts',
  message STRING COMMENT 'What went wrong, where something did'
)
USING DELTA
COMMENT 'One row is one run of one job that has ended'
TBLPROPERTIES (
  'newslake.key' = 'run_id',
  'newslake.written_by' = 'every job',
  'delta.enableDeletionVectors' = 'false'
)
