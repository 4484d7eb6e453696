CREATE TABLE IF NOT EXISTS {table} (
  kind STRING NOT NULL COMMENT 'What the model is for: ranker or recommender',
  run_id STRING NOT NULL COMMENT 'The training run that was judged or asked for; none: what is used without any',
  decided_by STRING NOT NULL COMMENT 'The job that decided: train_ranker or train_recommender, or promote where somebody asked',
  decided_at TIMESTAMP NOT NULL COMMENT 'When, UTC; of a kind, the promoted row with the latest is in use',
  promoted BOOLEAN NOT NULL COMMENT 'Whether it came into use',
  name STRING COMMENT 'Which model it is, such as trees or nrms',
  reason STRING NOT NULL COMMENT 'Why it was promoted, or was not',
  in_use STRING NOT NULL COMMENT 'The run that was in use then; none where there was none',
  metric STRING COMMENT 'What both were judged by, on the same test impressions; NULL where nothing was judged',
  value DOUBLE COMMENT 'The metric of the run',
  in_use_value DOUBLE COMMENT 'The metric of what was in use',
  difference DOUBLE COMMENT 'value less in_use_value',
  low DOUBLE COMMENT 'The difference is at least this in 97.5 % of the resamples of a paired bootstrap over impressions',
  high DOUBLE COMMENT 'The difference is at most this in 97.5 % of them',
  impressions BIGINT COMMENT 'Test impressions that the metric is a mean over'
)
USING DELTA
COMMENT 'One row is a decision whether a trained model came into use'
TBLPROPERTIES (
  'newslake.key' = 'kind, run_id, decided_by, decided_at',
  'newslake.written_by' = 'train_ranker, train_recommender, promote',
  'delta.enableDeletionVectors' = 'false'
)
