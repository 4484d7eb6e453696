CREATE TABLE IF NOT EXISTS {table} (
  comparison_id STRING NOT NULL COMMENT 'The comparison: a hash of its data, runs and settings',
  model STRING NOT NULL COMMENT 'Name of the model, such as nrms; zero-shot is the mean of the history by cosine',
  run_id STRING NOT NULL COMMENT 'The training run; zero-shot for the baseline that has none',
  users STRING NOT NULL COMMENT 'Whose impressions: all, at_least_5_clicks or no_clicks (before the impression), new_users (no click in training)',
  metric STRING NOT NULL COMMENT 'auc, mrr, ndcg_at_5 or ndcg_at_10',
  value DOUBLE NOT NULL COMMENT 'Mean over the impressions',
  low DOUBLE NOT NULL COMMENT 'Lower end of the 95 % confidence interval, bootstrap over impressions',
  high DOUBLE NOT NULL COMMENT 'Upper end of it',
  over_reference DOUBLE NOT NULL COMMENT 'value less that of the reference on the same impressions',
  over_reference_low DOUBLE NOT NULL COMMENT 'Lower end of its 95 % confidence interval, from paired resamples',
  over_reference_high DOUBLE NOT NULL COMMENT 'Upper end of it',
  reference STRING NOT NULL COMMENT 'run_id of the reference',
  impressions BIGINT NOT NULL COMMENT 'Impressions that the mean is over: those with both a click and a skip',
  compared_at TIMESTAMP NOT NULL COMMENT 'When, UTC',
  split STRING COMMENT 'The impressions: test, or valid where there was no test; NULL: before this column was there'
)
USING DELTA
COMMENT 'One row is one metric of one trained model on the impressions of one comparison'
TBLPROPERTIES (
  'newslake.key' = 'comparison_id, run_id, users, metric',
  'newslake.written_by' = 'compare_models',
  'delta.enableDeletionVectors' = 'false'
)
