CREATE TABLE IF NOT EXISTS {table} (
  news_id STRING NOT NULL COMMENT 'The article',
  encoder_id STRING NOT NULL COMMENT 'Weights, pooling, length, fields and long-text setting; vectors of two ids do not mix',
  content_hash STRING NOT NULL COMMENT 'content_hash of the text that was encoded; differs from news.content_hash where the vector is stale',
  token_count INT NOT NULL COMMENT 'Tokens that the model saw, special tokens counted',
  embedding ARRAY<FLOAT> NOT NULL COMMENT 'The vector; its size is that of the encoder'
)
USING DELTA
PARTITIONED BY (encoder_id)
COMMENT 'One row is the vector of an article by one encoder'
TBLPROPERTIES (
  'newslake.key' = 'news_id, encoder_id',
  'newslake.written_by' = 'encode_articles',
  'delta.constraints.embedding_not_empty' = 'size(embedding) > 0',
  'delta.enableDeletionVectors' = 'false'
)
