CREATE TABLE IF NOT EXISTS {table} (
  news_date DATE NOT NULL COMMENT 'Day of published_at, UTC; 1970-01-01 for an article without one',
  news_id STRING NOT NULL COMMENT 'The article',
  encoder_id STRING NOT NULL COMMENT 'The encoder of the embedding; vectors of two ids do not mix',
  topic_model STRING NOT NULL COMMENT 'The topic model of the topic part; vectors of two models do not mix',
  vector ARRAY<FLOAT> NOT NULL COMMENT 'Embedding joined with the topic vector, each part scaled, unit length as a whole',
  inputs_hash STRING NOT NULL COMMENT 'Hash of the content, the topics and the weights it was made from: differs where it is stale'
)
USING DELTA
PARTITIONED BY (news_date)
COMMENT 'One row is the vector of an article that the newsfeed searches'
TBLPROPERTIES (
  'newslake.key' = 'news_date, news_id, encoder_id, topic_model',
  'newslake.written_by' = 'build_article_vectors',
  'delta.constraints.vector_not_empty' = 'size(vector) > 0',
  'delta.enableDeletionVectors' = 'false'
)
