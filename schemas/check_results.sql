CREATE TABLE IF NOT EXISTS {table} (
  run_id STRING NOT NULL COMMENT 'The run of check_lakehouse, see job_runs',
  check_name STRING NOT NULL COMMENT 'Name of the check in the settings file',
  kind STRING NOT NULL COMMENT 'What it measures: freshness, row_count, quarantine_share, stream_lag, feed_coverage, feed_rows or calibration',
  table_name STRING NOT NULL COMMENT 'The table that was looked at',
  value DOUBLE COMMENT 'What was measured, in the unit of the kind; NULL where there was nothing to measure',
  at_least DOUBLE COMMENT 'Lower threshold; NULL: none',
  at_most DOUBLE COMMENT 'Upper threshold; NULL: none',
  passed BOOLEAN COMMENT 'Whether the thresholds were kept; false also where there was nothing to measure and the check is required; NULL where it is not',
  told STRING NOT NULL COMMENT 'The finding in words',
  checked_at TIMESTAMP NOT NULL COMMENT 'The moment that it holds for, UTC'
)
USING DELTA
COMMENT 'One row is what one check found in one run'
TBLPROPERTIES (
  'newslake.key' = 'run_id, check_name',
  'newslake.written_by' = 'check_lakehouse',
  'delta.enableDeletionVectors' = 'false'
)
