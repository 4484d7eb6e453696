CREATE TABLE IF NOT EXISTS {table} (
  run_id STRING NOT NULL COMMENT 'The training run: a hash of its data and settings',
  model STRING NOT NULL COMMENT 'Name of the model, such as mf or content',
  epoch INT NOT NULL COMMENT 'Epoch, from 1; 0 is the model before training, where it begins as zero-shot',
  split STRING NOT NULL COMMENT 'The impressions that were ranked: train, valid, or test (of the epoch that was kept alone)',
  best BOOLEAN NOT NULL COMMENT 'Whether this is the epoch whose vectors were kept',
  loss DOUBLE COMMENT 'Mean loss per example of that epoch; NULL where none is computed',
  auc DOUBLE COMMENT 'Area under the ROC curve, mean over impressions',
  mrr DOUBLE COMMENT 'Mean reciprocal rank as MIND defines it, mean over impressions',
  ndcg_at_5 DOUBLE COMMENT 'nDCG@5, mean over impressions',
  ndcg_at_10 DOUBLE COMMENT 'nDCG@10, mean over impressions',
  impressions BIGINT NOT NULL COMMENT 'Impressions that the means are over',
  impressions_left_out BIGINT NOT NULL COMMENT 'Impressions without both a click and a skip, which have no AUC',
  trained_at TIMESTAMP COMMENT 'When the run was trained, UTC; NULL in rows of older releases'
)
USING DELTA
COMMENT 'One row is the quality of one model on one split after one epoch'
TBLPROPERTIES (
  'newslake.key' = 'run_id, epoch, split',
  'newslake.written_by' = 'train_recommender',
  'delta.enableDeletionVectors' = 'false'
)
