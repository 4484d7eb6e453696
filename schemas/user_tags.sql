CREATE TABLE IF NOT EXISTS {table} (
  as_of DATE NOT NULL COMMENT 'The day at whose start, 00:00 UTC, the profile holds: nothing that arrived later is in it',
  user_id STRING NOT NULL COMMENT 'The user',
  tag STRING NOT NULL COMMENT 'In lower case: a label of an entity, a category, a subcategory, a keyword, an interest or a search query',
  weight DOUBLE NOT NULL COMMENT 'Sum over events of weight times 0.5 to the power of (age / half-life), as of the day'
)
USING DELTA
PARTITIONED BY (as_of)
COMMENT 'One row is one tag of the profile of a user on a day'
TBLPROPERTIES (
  'newslake.key' = 'as_of, user_id, tag',
  'newslake.written_by' = 'build_profiles',
  'delta.constraints.weight_positive' = 'weight > 0',
  'delta.enableDeletionVectors' = 'false'
)
