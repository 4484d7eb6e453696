CREATE TABLE IF NOT EXISTS {table} (
  as_of DATE NOT NULL COMMENT 'The day at whose start, 00:00 UTC, the profile holds',
  user_id STRING NOT NULL COMMENT 'The user',
  topic_model STRING NOT NULL COMMENT 'The fitted version that topic_id belongs to',
  topic_id INT NOT NULL COMMENT 'The topic',
  weight DOUBLE NOT NULL COMMENT 'Sum over the articles of user_articles of their weight times the share of the topic in them'
)
USING DELTA
PARTITIONED BY (as_of)
COMMENT 'One row is one topic of the profile of a user on a day'
TBLPROPERTIES (
  'newslake.key' = 'as_of, user_id, topic_model, topic_id',
  'newslake.written_by' = 'build_profiles',
  'delta.constraints.weight_positive' = 'weight > 0',
  'delta.enableDeletionVectors' = 'false'
)
