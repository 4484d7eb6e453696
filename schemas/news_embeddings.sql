CREATE TABLE IF NOT EXISTS {table} (
  news_id STRING NOT NULL COMMENT 'The article',
  model STRING NOT NULL COMMENT 'Name of the model, such as mf or content',
  run_id STRING NOT NULL COMMENT 'The training run; vectors of two runs do not mix',
  embedding ARRAY<FLOAT> NOT NULL COMMENT 'The vector of the best epoch; inner product with the other side gives the ranking of the model'
)
USING DELTA
PARTITIONED BY (model, run_id)
COMMENT 'One row is the vector of an article by one trained model'
TBLPROPERTIES (
  'newslake.key' = 'news_id, model, run_id',
  'newslake.written_by' = 'train_recommender, or encode_users',
  'delta.constraints.embedding_not_empty' = 'size(embedding) > 0',
  'delta.enableDeletionVectors' = 'false'
)
