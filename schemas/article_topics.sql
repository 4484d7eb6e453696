CREATE TABLE IF NOT EXISTS {table} (
  news_id STRING NOT NULL COMMENT 'The article',
  topic_model STRING NOT NULL COMMENT 'The fitted version that topic_id belongs to',
  rank INT NOT NULL COMMENT '1 for the most relevant topic, 2 for the next; every article has both rows',
  topic_id INT COMMENT 'The topic; NULL where the article holds no word that the model knows',
  weight DOUBLE NOT NULL COMMENT 'Share of the topic in the article, 0 to 1; 0 where topic_id is NULL',
  content_hash STRING NOT NULL COMMENT 'content_hash of the text that was read; differs from news.content_hash where the row is stale'
)
USING DELTA
PARTITIONED BY (topic_model)
COMMENT 'One row is one of the two most relevant topics of an article'
TBLPROPERTIES (
  'newslake.key' = 'news_id, topic_model, rank',
  'newslake.written_by' = 'assign_topics',
  'delta.constraints.rank_from_one' = 'rank >= 1',
  'delta.enableDeletionVectors' = 'false'
)
